//! What people look at and type at.

pub mod check;
pub mod demo;
pub mod dev;
pub mod envelope;
pub mod event;
pub mod http;
mod incoming;
mod lag;
mod live_view;
pub mod look;
mod outgoing;
mod reach;
pub mod replay;
pub mod run;
pub mod send;
pub mod settings_apply;
pub mod show;
pub mod simulate;
pub mod start;
pub mod topics;

use std::io::Write as _;

/// A line to whoever typed the command. That he has stopped reading is his affair.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", crate::telemetry::escaped(line));
}
