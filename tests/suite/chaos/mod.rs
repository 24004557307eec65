//! The proof, on a real Kafka and a real Redis, that an invoice is a pure function of the log: whatever is killed, frozen,
//! cut off or restarted, in the end the topics hold what `simulate` says of the same records.

mod bad_network;
mod broken_log;
mod broken_store;
mod clock;
mod commands;
mod crowd;
mod dump;
mod faults;
mod figures;
mod instance;
#[cfg(feature = "fail-points")]
mod kill_points;
mod numbers;
mod peers;
mod pen;
mod proxy;
mod random;
mod recovery;
mod replay;
mod run;
mod servers;
mod several;
mod story;
mod usage;
mod verdict;
#[cfg(feature = "fail-points")]
mod zombies;

use clock::Stopwatch;
use crowd::Volume;
use faults::Menu;
use run::{Plan, Run, Session};
use servers::Fleet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One run at a time: they share the machine.
fn alone() -> MutexGuard<'static, ()> {
    static RUNS: Mutex<()> = Mutex::new(());
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number from the environment, or the default.
fn wish(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number: {text}")))
}

fn seed() -> u64 {
    wish("SEED", clock::now_ms() as u64 % 1_000_000)
}

/// A crowd that stays for as long as a test needs it.
fn short(name: &'static str) -> Plan {
    Plan {
        name,
        seed: seed(),
        instances: 2,
        shards: 4,
        customers: 12,
        volume: Volume { events: 0, events_a_second: 200 },
        menu: Menu::default(),
        fleet: Fleet::One,
        session: Session::Short,
        is_whole_story: false,
    }
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
        volume: Volume { events: 12_000, events_a_second: 300 },
        menu: Menu::default(),
        fleet: Fleet::One,
        session: Session::Short,
        is_whole_story: true,
    });
}

/// The short form is for every day. The long one: `CHAOS_EVENTS=300000`, or `CHAOS_MINUTES=5`, which does it again and
/// again for so long.
#[test]
fn whatever_breaks_the_invoices_are_the_same() {
    let _alone = alone();
    let watch = Stopwatch::start();
    let length = Duration::from_secs(60 * wish("CHAOS_MINUTES", 0));
    for seed in seed().. {
        break_everything(seed);
        if watch.passed() >= length {
            break;
        }
    }
}

fn break_everything(seed: u64) {
    let minutes = wish("CHAOS_MINUTES", 0).min(5);
    let (events, events_a_second, menu) = match wish("CHAOS_EVENTS", minutes * 60_000) {
        0 => (20_000, 250, Menu { kills: 6, freezes: 1, store_crashes: 2, drains: 1, broker_crashes: 1 }),
        events => {
            // 300,000 events: 24 kills, 5 freezes, 5 crashes of the store (3 with its file cut), 2 drains without it, 2 crashes of the broker.
            let part = |of_many: u64| (events * of_many).div_ceil(300_000) as usize;
            let menu = Menu {
                kills: part(24),
                freezes: part(5),
                store_crashes: part(5),
                drains: part(2),
                broker_crashes: part(2),
            };
            (events, wish("CHAOS_EVENTS_A_SECOND", 1000), menu)
        }
    };
    Run::prove(Plan {
        name: "breaking",
        seed,
        instances: 3,
        shards: 4,
        customers: 30,
        volume: Volume { events, events_a_second },
        menu,
        fleet: Fleet::One,
        session: Session::Short,
        is_whole_story: true,
    });
}
