//! What people type and look at.

mod desk;
mod http;
mod operator;
mod prometheus;
mod servers;
mod showing;
