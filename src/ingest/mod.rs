//! Usage comes in: what is read, and in which dialects.

mod cloudevents;
mod content;
pub mod dialect;
mod envelope;
pub mod json;
mod lago;
mod stripe;
