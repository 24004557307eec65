//! The real shard over memory, with a clock that is driven: stories first, then random histories in which everything goes
//! wrong that can, each of them the same again for the same seed.

mod broker;
#[cfg(feature = "planted-bugs")]
mod bugs;
mod clock;
#[path = "../suite/chaos/commands.rs"]
mod commands;
mod crowd;
#[path = "../suite/chaos/dump.rs"]
#[expect(dead_code, reason = "the suite takes its dumps from real topics")]
mod dump;
mod feed;
mod history;
mod ledger;
mod life;
mod model;
mod notices;
mod process;
#[path = "../suite/chaos/random.rs"]
mod random;
#[path = "../suite/chaos/replay.rs"]
mod replay;
mod rest;
mod shrink;
mod sim;
mod stories;
#[path = "../suite/chaos/story.rs"]
#[expect(dead_code, reason = "the suite's stories have settings and a midnight of their own")]
mod story;
mod town;
#[path = "../suite/chaos/usage.rs"]
mod usage;
#[path = "../suite/chaos/verdict.rs"]
mod verdict;

use graceline::invoice::instant::Instant;
use tokio::runtime::{Builder, Runtime};

/// One thread, and a clock that goes on as soon as everybody waits for it.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime can be made")
}

fn replay_instant(text: &str) -> Option<Instant> {
    Instant::parse_rfc3339(text)
}

/// How far a shard has read, as its record says.
fn positions(record: &[u8]) -> [u64; 5] {
    #[derive(serde::Deserialize)]
    struct Standing {
        positions: [u64; 5],
    }
    serde_json::from_slice::<Standing>(record).expect("a shard's record can be read").positions
}
