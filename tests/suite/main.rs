//! All suites, one binary.

mod contract;
