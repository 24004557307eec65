//! Graceline: usage comes in, is understood, made durable, announced.

pub mod catalog;
pub mod config;
pub mod console;
mod fail_points;
pub mod ingest;
pub mod invoice;
pub mod persist;
pub mod planted;
pub mod publish;
pub mod shard;
pub mod telemetry;
