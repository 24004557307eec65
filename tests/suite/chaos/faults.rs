//! What goes wrong in a run, chosen by its seed.

use super::random::Random;
use super::servers::Fleet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// kill -9 of an instance, which comes back after a while.
    Kill { instance: usize, back_after_ms: u64 },
    /// An instance stands still for longer than its session lasts, and then goes on as if nothing had been.
    Freeze { instance: usize },
    /// kill -9 of the store; its file loses so many bytes at the end, at most.
    StoreCrash { bytes_cut_max: u64, away_ms: u64 },
    /// The store is away for 3 s while an instance finishes.
    StoreAwayInDrain { instance: usize },
    /// kill -9 of the broker.
    BrokerCrash { away_ms: u64 },
}

impl Fault {
    /// What it is called in the page of figures.
    pub(super) fn ids(self, fleet: Fleet) -> &'static [&'static str] {
        match self {
            Fault::StoreCrash { .. } if fleet == Fleet::ThreeStores => &["R1c"],
            Fault::BrokerCrash { .. } if fleet == Fleet::ThreeBrokers => &["K1r"],
            Fault::Kill { .. } => &["P1"],
            Fault::Freeze { .. } => &["P2"],
            Fault::StoreCrash { bytes_cut_max: 0, .. } => &["R1"],
            Fault::StoreCrash { .. } => &["R1", "R2"],
            Fault::StoreAwayInDrain { .. } => &["P7", "R1"],
            Fault::BrokerCrash { .. } => &["K1"],
        }
    }
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Menu {
    pub(super) kills: usize,
    pub(super) freezes: usize,
    pub(super) store_crashes: usize,
    pub(super) drains: usize,
    pub(super) broker_crashes: usize,
}

/// All of them, in an order and at places that the random numbers choose.
pub(super) fn choose(menu: Menu, instances: usize, random: &mut Random) -> Vec<Fault> {
    let mut faults = Vec::new();
    let one = |random: &mut Random| random.below(instances as u64) as usize;
    for _ in 0..menu.kills {
        faults.push(Fault::Kill { instance: one(random), back_after_ms: random.below(2500) });
    }
    for _ in 0..menu.freezes {
        faults.push(Fault::Freeze { instance: one(random) });
    }
    for place in 0..menu.store_crashes {
        // Once nothing is lost, then more and more.
        let bytes_cut_max = [0, 1 + random.below(400), 1 + random.below(200_000)][place % 3];
        faults.push(Fault::StoreCrash { bytes_cut_max, away_ms: random.below(3000) });
    }
    for _ in 0..menu.drains {
        faults.push(Fault::StoreAwayInDrain { instance: one(random) });
    }
    for _ in 0..menu.broker_crashes {
        faults.push(Fault::BrokerCrash { away_ms: random.below(3000) });
    }
    for place in (1..faults.len()).rev() {
        faults.swap(place, random.below(place as u64 + 1) as usize);
    }
    faults
}
