//! What people look at and type at.

pub mod demo;
pub mod dev;
pub mod envelope;
pub mod http;
mod lag;
mod live_view;
pub mod run;
pub mod simulate;
