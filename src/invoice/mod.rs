//! What usage means. Pure: no clock, no I/O, one door.

pub mod instant;
pub mod quantity;
pub(crate) mod text;
pub mod usage;
