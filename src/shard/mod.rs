//! The wheel: what carries a batch through the stages, and who owns what.

pub mod crew;
pub mod health;
mod letters;
pub mod opening;
pub mod outbox;
mod post;
mod reading;
mod standing;
pub mod territory;
pub mod topics;
pub mod view;
pub mod wheel;
pub mod world;
