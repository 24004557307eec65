//! What people type and look at.

mod clients;
mod demo;
mod desk;
mod http;
mod manual;
mod operator;
mod prometheus;
mod servers;
mod showing;
