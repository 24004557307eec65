//! What the shards of a process share, and why one of them may stand still.

use std::sync::Arc;
use std::time::Duration;

use super::health::Health;
use super::outbox::Destinations;
use crate::catalog::settings::Settings;
use crate::ingest::log::{LogError, Offset, PerLog};
use crate::persist::{LedgerError, ShardId};
use crate::publish::NoticeError;

/// The wall clock, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What every shard of a process shares.
pub struct World<S, U, N> {
    pub store: S,
    pub usage: Arc<U>,
    pub notices: Arc<N>,
    pub clock: Clock,
    pub settings: Settings,
    pub topics: PerLog<Arc<str>>,
    pub to: Destinations,
    pub health: Arc<Health>,
    pub pace: Pace,
    pub group: Arc<dyn Group>,
}

/// What the consumer group is told, and knows, of how far shards have read. Only advice: nothing is read from there.
pub trait Group: Send + Sync {
    fn report(&self, shard: ShardId, next: Offset);

    /// The position that was last told, if any was. An error says why nobody can tell at the moment.
    fn last_reported(&self, shard: ShardId) -> Result<Option<Offset>, String>;
}

/// How much a batch may hold, how long the wheel waits for it, how long it rests where nothing is to be done, whatever
/// the clock says, and how many duties one commit holds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub records_max: usize,
    pub bytes_max: usize,
    pub wait_max: Duration,
    pub rest_max: Duration,
    pub duties_max: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            records_max: 150_000,
            bytes_max: 48 << 20,
            wait_max: Duration::from_millis(15),
            rest_max: Duration::from_secs(1),
            // Some megabytes of drafts and webhooks.
            duties_max: 2000,
        }
    }
}

/// Why a shard stands still.
#[derive(Debug)]
pub enum Stop {
    /// Somebody asked for it, and everything decided is committed.
    Asked,
    /// Another owner has it.
    Fenced,
    /// Something is away: try again.
    Unavailable(String),
    /// Something is wrong: stay stopped until someone has looked.
    Broken(String),
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Stop {
        match error {
            LedgerError::Unavailable(why) => Stop::Unavailable(format!("ledger: {why}")),
            LedgerError::Fenced => Stop::Fenced,
            LedgerError::Corrupt(why) => Stop::Broken(format!("ledger: {why}")),
        }
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Stop {
        match error {
            LogError::Unavailable(why) => Stop::Unavailable(why),
            // A broker that has just come back may not know yet what it has. A topic that was made anew is another error.
            gone @ LogError::Gone { .. } => Stop::Unavailable(gone.to_string()),
            other => Stop::Broken(other.to_string()),
        }
    }
}

impl From<NoticeError> for Stop {
    fn from(error: NoticeError) -> Stop {
        match error {
            NoticeError::Unavailable(why) => Stop::Unavailable(why),
            refused => Stop::Broken(refused.to_string()),
        }
    }
}
