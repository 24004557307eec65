//! The clock on the wall, for tests that live in the real world: servers start, sessions end, periods pass.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "real servers keep this time")]
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}

/// Runs until it is asked; measures what it took.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "it measures real servers")]
    pub(super) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    #[expect(clippy::disallowed_methods, reason = "it measures real servers")]
    pub(super) fn passed(self) -> Duration {
        self.0.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "time has to pass for real")]
pub(super) fn pause(length: Duration) {
    std::thread::sleep(length);
}

pub(super) fn pause_ms(ms: u64) {
    pause(Duration::from_millis(ms));
}

/// Waits for something outside, and says how long it took.
pub(super) fn await_that(what: &str, longest: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let watch = Stopwatch::start();
    while !is_so() {
        assert!(watch.passed() < longest, "waited {longest:?} in vain: {what}");
        pause_ms(50);
    }
    watch.passed()
}
