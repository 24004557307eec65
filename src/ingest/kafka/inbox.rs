//! Between the thread that reads and the shard that takes: what has been read of one shard's logs.

use crate::ingest::log::{Arena, LogError, LogName, PerLog, Run};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One opening of one shard.
pub(crate) struct Inbox {
    held: Mutex<Held>,
    /// Rung when something was put in, here or in the catalog's window.
    pub(crate) bell: Arc<Notify>,
}

#[derive(Default)]
struct Held {
    arrived: VecDeque<Run>,
    /// What came while the inbox was frozen.
    frozen: VecDeque<Run>,
    /// How many have frozen it and haven't thawed it yet.
    freezes: usize,
    /// What was put in and hasn't been given back, by log.
    bytes: PerLog<usize>,
    paused: PerLog<bool>,
    /// The most that a log may hold, as of when something was last put in.
    bytes_max: usize,
    failed: Option<LogError>,
}

impl Inbox {
    pub(crate) fn new() -> Arc<Inbox> {
        Arc::new(Inbox { held: Mutex::default(), bell: Arc::new(Notify::new()) })
    }

    /// Puts records in. `true` asks the reader to pause the log: more than `bytes_max` of it wait.
    pub(crate) fn put(&self, log: LogName, arena: Arena, bytes_max: usize) -> bool {
        let run = Run::whole(log, Arc::new(arena));
        let mut held = self.held();
        held.bytes[log] += run.weight_bytes();
        held.bytes_max = bytes_max;
        if held.freezes > 0 {
            held.frozen.push_back(run)
        } else {
            held.arrived.push_back(run)
        }
        let pause = held.bytes[log] > bytes_max && !held.paused[log];
        held.paused[log] |= pause;
        drop(held);
        self.bell.notify_one();
        pause
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.held().arrived.is_empty()
    }

    /// Takes everything out. It goes on counting until it is given back.
    pub(crate) fn take(&self) -> Result<VecDeque<Run>, LogError> {
        let mut held = self.held();
        match &held.failed {
            Some(error) => Err(error.clone()),
            None => Ok(std::mem::take(&mut held.arrived)),
        }
    }

    /// Gives bytes back that were taken and handed on. `true` asks to resume the log: less than half of what it may
    /// hold is left, so that it isn't paused again at once.
    pub(crate) fn give_back(&self, log: LogName, bytes: usize) -> bool {
        let mut held = self.held();
        held.bytes[log] -= bytes;
        let resume = held.paused[log] && held.bytes[log] < held.bytes_max / 2;
        held.paused[log] &= !resume;
        resume
    }

    /// Holds back what comes from now on: there may be something missing before it.
    pub(crate) fn freeze(&self) {
        self.held().freezes += 1;
    }

    /// Takes a freeze back: nothing is missing.
    pub(crate) fn thaw(&self) {
        let mut held = self.held();
        held.freezes -= 1;
        if held.freezes == 0 {
            let frozen = std::mem::take(&mut held.frozen);
            held.arrived.extend(frozen);
            drop(held);
            self.bell.notify_one();
        }
    }

    /// Nothing more comes: the next [`Inbox::take`] gives the error. The first one counts.
    pub(crate) fn fail(&self, error: LogError) {
        self.held().failed.get_or_insert(error);
        self.bell.notify_one();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
