//! What is wrong with a configuration: which key, where it came from, what is wanted instead.

use std::fmt;

/// One thing that has to be put right. It never holds the value of a key that may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As it is written in a file, `kafka.brokers`; empty where it is about the file as a whole.
    pub key: String,
    pub origin: Origin,
    /// What is wanted there, and what was found if it may be shown.
    pub wanted: String,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// Lines count from 1; 0 is the file as a whole.
    File { name: String, line: usize },
    /// The variable of the environment.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("the default"),
            Origin::File { name, line: 0 } => f.write_str(name),
            Origin::File { name, line } => write!(f, "{name}, line {line}"),
            Origin::Environment(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.wanted),
            key => write!(f, "{key} ({}): {}", self.origin, self.wanted),
        }
    }
}

impl std::error::Error for Problem {}
