//! How long something has taken.
//!
//! Waiting for brokers goes by this machine's steady clock. Nothing that is decided depends on it.

pub(crate) use std::time::{Duration, Instant};

/// This moment.
#[expect(clippy::disallowed_methods, reason = "how long a broker is waited for is no shard's time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// How long ago that was.
pub(crate) fn since(then: Instant) -> Duration {
    now() - then
}
