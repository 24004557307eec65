//! What people type and look at.

mod http;
