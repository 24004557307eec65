//! What people look at and type at.

pub mod envelope;
pub mod http;
pub mod run;
pub mod simulate;
