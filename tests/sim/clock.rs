//! Time as the brokers keep it, and as a process believes it to be.

use graceline::shard::world::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::time::Instant;

/// The brokers' time: it flows while everybody waits.
pub(super) struct Time {
    begun: Instant,
    base_ms: i64,
    /// Where it stands still, if it does.
    stopped_ms: AtomicI64,
}

const FLOWS: i64 = i64::MIN;

impl Time {
    pub(super) fn from(base_ms: i64) -> Time {
        let stopped_ms = AtomicI64::new(FLOWS);
        Time { begun: Instant::now(), base_ms, stopped_ms }
    }

    pub(super) fn now_ms(&self) -> i64 {
        match self.stopped_ms.load(Ordering::Relaxed) {
            FLOWS => self.base_ms + self.begun.elapsed().as_millis() as i64,
            stopped => stopped,
        }
    }

    pub(super) fn stop_at(&self, at_ms: i64) {
        self.stopped_ms.store(at_ms, Ordering::Relaxed);
    }
}

/// A process's own clock, which may be wrong.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) skew_ms: AtomicI64,
    /// What it shows for ever, if it is broken.
    pub(super) stopped_ms: AtomicI64,
}

impl Watch {
    pub(super) fn right() -> Arc<Watch> {
        let watch = Watch::default();
        watch.stopped_ms.store(FLOWS, Ordering::Relaxed);
        Arc::new(watch)
    }

    pub(super) fn set_right(&self) {
        self.skew_ms.store(0, Ordering::Relaxed);
        self.stopped_ms.store(FLOWS, Ordering::Relaxed);
    }

    pub(super) fn stop_at(&self, at_ms: i64) {
        self.stopped_ms.store(at_ms, Ordering::Relaxed);
    }

    pub(super) fn clock(self: &Arc<Watch>, time: &Arc<Time>) -> Clock {
        let (watch, time) = (self.clone(), time.clone());
        Arc::new(move || match watch.stopped_ms.load(Ordering::Relaxed) {
            FLOWS => time.now_ms() + watch.skew_ms.load(Ordering::Relaxed),
            stopped => stopped,
        })
    }
}
