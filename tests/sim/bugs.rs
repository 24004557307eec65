//! Every planted bug is caught, each by a seed that is lived without a fault when the bug isn't there.
//!
//! ```sh
//! cargo sim-bugs                          # all of them, within SEEDS=0..2000
//! BUG=OverdueByUtc cargo sim-bugs
//! ```

use super::history::History;
use super::sim::{prove_with, seeds};
use graceline::planted::Bug;
use std::sync::Mutex;

/// The first seed that catches it, and how.
fn first_catch(bug: Bug) -> Option<(u64, String)> {
    seeds(0..2000).find_map(|seed| {
        let fault = prove_with(bug, &History::of(seed)).err()?;
        Some((seed, fault))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let chosen = std::env::var("BUG").ok();
    let bugs =
        Bug::ALL.into_iter().filter(|bug| chosen.as_ref().is_none_or(|name| *name == format!("{bug:?}")));
    let waiting: Mutex<Vec<Bug>> = Mutex::new(bugs.rev().collect());
    let missed = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some(bug) = waiting.lock().expect("no one panics here").pop() else { return };
                    match first_catch(bug) {
                        Some((seed, fault)) => {
                            let fault: String =
                                fault.lines().next().unwrap_or_default().chars().take(160).collect();
                            println!("{bug:?}: seed {seed}: {fault}");
                        }
                        None => missed.lock().expect("no one panics here").push(bug),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("no one panics here");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
