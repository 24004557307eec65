//! The wheel: what carries a batch through the stages, and who owns what.

pub mod topics;
