//! Usage comes in: what is read, and in which dialects.

pub mod command;
pub mod dialect;
pub mod json;
pub mod kafka;
pub mod log;

mod cloudevents;
mod content;
mod envelope;
mod lago;
mod stripe;
