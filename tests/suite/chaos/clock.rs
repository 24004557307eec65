//! The clock on the wall, for tests that live in the real world: servers start, sessions end, periods pass.

use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far ahead of this machine's clock the run lives.
static AHEAD_MS: AtomicI64 = AtomicI64::new(0);

const DAY_MS: i64 = 86_400_000;

pub(super) fn now_ms() -> i64 {
    machine_ms() + AHEAD_MS.load(Ordering::Relaxed)
}

#[expect(clippy::disallowed_methods, reason = "real servers keep this time")]
fn machine_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}

/// From now on the run lives in this machine's time.
pub(super) fn keep_time() {
    AHEAD_MS.store(0, Ordering::Relaxed);
}

/// From now on the run lives in a time in which UTC's midnight comes so soon; says when that is.
pub(super) fn live_before_midnight(soon: Duration) -> i64 {
    let now_ms = machine_ms();
    let midnight_ms = now_ms - now_ms.rem_euclid(DAY_MS) + DAY_MS;
    AHEAD_MS.store(midnight_ms - soon.as_millis() as i64 - now_ms, Ordering::Relaxed);
    midnight_ms
}

/// What makes a program live in the run's time.
pub(super) fn environment() -> Vec<(&'static str, String)> {
    let ahead_ms = AHEAD_MS.load(Ordering::Relaxed);
    if ahead_ms == 0 {
        return Vec::new();
    }
    let root = super::servers::root();
    let library = root.join("target/services/ahead.so");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(root.join("tests/suite/chaos/ahead.c"));
    static COMPILED: std::sync::Once = std::sync::Once::new();
    COMPILED.call_once(|| {
        std::fs::create_dir_all(library.parent().expect("it lies in a folder"))
            .expect("a folder can be made");
        assert!(compiler.status().expect("there is a C compiler").success(), "it compiles");
    });
    vec![("LD_PRELOAD", library.display().to_string()), ("CLOCK_AHEAD_MS", ahead_ms.to_string())]
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
