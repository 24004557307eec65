//! What people look at and type at.

pub mod envelope;
pub mod simulate;
