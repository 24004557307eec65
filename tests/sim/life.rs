//! Whether a process lives: each of its calls to the outside passes here, and stops here when it may go no further.

use super::random::Random;
use std::future::pending;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// A process as the outside sees it.
pub(super) struct Life {
    state: Mutex<State>,
    thawed: Notify,
}

struct State {
    condition: Condition,
    /// So many more calls, and then it is so.
    fuse: Option<(u64, Condition)>,
    random: Random,
    /// The longest that a call may dawdle on its way.
    dawdles_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Alive,
    /// It stands still between two steps, and knows nothing of it.
    Frozen,
    Dead,
}

impl Life {
    pub(super) fn new(seed: u64, dawdles_ms: u64) -> Life {
        let state = State { condition: Condition::Alive, fuse: None, random: Random::new(seed), dawdles_ms };
        Life { state: Mutex::new(state), thawed: Notify::new() }
    }

    pub(super) fn condition(&self) -> Condition {
        self.lock().condition
    }

    /// Lets the process come into this condition when it has gone through so many more calls.
    pub(super) fn after_calls(&self, calls: u64, condition: Condition) {
        self.lock().fuse = Some((calls, condition));
    }

    pub(super) fn kill(&self) {
        let mut state = self.lock();
        (state.condition, state.fuse) = (Condition::Dead, None);
    }

    pub(super) fn thaw(&self) {
        let mut state = self.lock();
        state.fuse = None;
        if state.condition == Condition::Frozen {
            state.condition = Condition::Alive;
        }
        drop(state);
        self.thawed.notify_waiters();
    }

    /// Comes back as soon as the process may go on; of a dead one, never.
    pub(super) async fn pass(&self) {
        let dawdle_ms = {
            let mut state = self.lock();
            let longest = state.dawdles_ms;
            if longest > 0 && state.random.below(4) == 0 { state.random.below(longest) } else { 0 }
        };
        if dawdle_ms > 0 {
            tokio::time::sleep(Duration::from_millis(dawdle_ms)).await;
        }
        loop {
            let thawed = self.thawed.notified();
            match self.step() {
                Condition::Alive => return,
                Condition::Frozen => thawed.await,
                Condition::Dead => pending().await,
            }
        }
    }

    fn step(&self) -> Condition {
        let mut state = self.lock();
        if let Some((calls, condition)) = state.fuse {
            state.fuse = Some((calls.saturating_sub(1), condition));
            if calls == 0 && state.condition == Condition::Alive {
                (state.condition, state.fuse) = (condition, None);
            }
        }
        state.condition
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics here")
    }
}
