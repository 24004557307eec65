//! The wheel: what carries a batch through the stages, and who owns what.

pub mod crew;
pub mod health;
pub mod outbox;
pub mod territory;
pub mod topics;
pub mod wheel;
