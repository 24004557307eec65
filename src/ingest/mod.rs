//! Usage comes in: what is read, and in which dialects.

pub mod kafka;
pub mod log;
