//! What must hold of the house's own text, whatever it does: who may import what, where no float and no clock may be,
//! how long a file may get, what a link must lead to.
//!
//! Each rule says what to do instead. A rule that is in the way of something right is changed here, in the same commit,
//! with the reason.

mod core;
mod house;
mod scripts;
mod source;
mod tree;

use std::fmt;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    path: String,
    /// Counted from 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Fails with every breach at once, and with the way out.
#[track_caller]
fn assert_none(mut breaches: Vec<Breach>, instead: &str) {
    breaches.sort();
    let lines: Vec<String> = breaches.iter().map(|breach| format!("  {breach}")).collect();
    assert!(lines.is_empty(), "\n{}\n\n{instead}\n", lines.join("\n"));
}
