//! The proof, on a real Kafka and a real Redis, that an invoice is a pure function of the log: whatever is killed, frozen,
//! cut off or restarted, in the end the topics hold what `simulate` says of the same records.

mod clock;
mod commands;
mod crowd;
mod dump;
mod faults;
mod instance;
mod pen;
mod random;
mod replay;
mod run;
mod servers;
mod story;
mod usage;
mod verdict;

use crowd::Volume;
use faults::Menu;
use run::{Plan, Run};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One run at a time: they share the machine.
fn alone() -> MutexGuard<'static, ()> {
    static RUNS: Mutex<()> = Mutex::new(());
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from the environment, or the default.
fn wish(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number: {text}")))
}

fn seed() -> u64 {
    wish("SEED", clock::now_ms() as u64 % 1_000_000)
}

#[test]
fn a_calm_run_says_what_simulate_says() {
    let _alone = alone();
    Run::prove(Plan {
        name: "calm",
        seed: seed(),
        instances: 2,
        shards: 4,
        customers: 20,
        volume: Volume { events: wish("CHAOS_EVENTS", 12_000), events_a_second: 300 },
        menu: Menu::default(),
    });
}
