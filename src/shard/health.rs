//! How the shards of this process are: what `readyz` and `metrics` show.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::invoice::books::{Books, Fates};
use crate::persist::ShardId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Opening,
    Running,
    /// It can't go on by itself, or waits for something that is away.
    Stopped(String),
}

/// The shards of this process.
#[derive(Default)]
pub struct Health {
    shards: Mutex<BTreeMap<ShardId, (State, Arc<Gauges>)>>,
}

impl Health {
    pub fn set(&self, shard: ShardId, state: State) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.entry(shard).or_insert_with(|| (State::Opening, Arc::default())).0 = state;
    }

    pub fn remove(&self, shard: ShardId) {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).remove(&shard);
    }

    pub fn gauges(&self, shard: ShardId) -> Arc<Gauges> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.entry(shard).or_insert_with(|| (State::Opening, Arc::default())).1.clone()
    }

    pub fn shards(&self) -> Vec<(ShardId, State)> {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|(shard, (state, _))| (*shard, state.clone())).collect()
    }

    /// The figures in Prometheus' text form.
    pub fn metrics(&self) -> String {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        for metric in METRICS {
            let _ = writeln!(
                out,
                "# HELP graceline_{} {}\n# TYPE graceline_{} {}",
                metric.name, metric.help, metric.name, metric.kind
            );
            for (shard, (_, gauges)) in shards.iter() {
                for (labels, value) in (metric.read)(gauges) {
                    let _ = writeln!(out, "graceline_{}{{shard=\"{shard}\"{labels}}} {value}", metric.name);
                }
            }
        }
        out
    }
}

/// The figures of one shard.
#[derive(Default)]
pub struct Gauges {
    pub records: AtomicU64,
    pub forwarded: AtomicU64,
    pub rejected: AtomicU64,
    commits: AtomicU64,
    commit_micros: AtomicU64,
    shard_time_ms: AtomicI64,
    drafts: AtomicU64,
    parked: AtomicU64,
    outbox: AtomicU64,
    overdue_deadlines_ms: AtomicI64,
    fates: [AtomicU64; 6],
}

impl Gauges {
    pub fn committed(&self, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub fn note(&self, books: &Books, outbox: u64) {
        let (drafts, parked) = books.open_counts();
        let now_ms = books.now().0 / 1_000_000;
        self.shard_time_ms.store(now_ms, Ordering::Relaxed);
        self.drafts.store(drafts as u64, Ordering::Relaxed);
        self.parked.store(parked as u64, Ordering::Relaxed);
        self.outbox.store(outbox, Ordering::Relaxed);
        let due_ms = books.next_deadline().map_or(0, |due| (now_ms - due.0 / 1_000_000).max(0));
        self.overdue_deadlines_ms.store(due_ms, Ordering::Relaxed);
        let Fates { billed, late, duplicate, parked, rejected, cancelled } = books.fates();
        for (gauge, count) in self.fates.iter().zip([billed, late, duplicate, parked, rejected, cancelled]) {
            gauge.store(count, Ordering::Relaxed);
        }
    }
}

struct Metric {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    read: fn(&Gauges) -> Vec<(&'static str, f64)>,
}

fn one(value: &AtomicU64) -> Vec<(&'static str, f64)> {
    vec![("", value.load(Ordering::Relaxed) as f64)]
}

const FATES: [&str; 6] = [
    ",fate=\"billed\"",
    ",fate=\"late\"",
    ",fate=\"duplicate\"",
    ",fate=\"parked\"",
    ",fate=\"rejected\"",
    ",fate=\"cancelled\"",
];

const METRICS: [Metric; 11] = [
    Metric {
        name: "records_total",
        help: "Records taken.",
        kind: "counter",
        read: |gauges| one(&gauges.records),
    },
    Metric {
        name: "forwarded_total",
        help: "Records sent on to other shards.",
        kind: "counter",
        read: |gauges| one(&gauges.forwarded),
    },
    Metric {
        name: "rejected_total",
        help: "Records refused.",
        kind: "counter",
        read: |gauges| one(&gauges.rejected),
    },
    Metric {
        name: "commits_total",
        help: "Commits made.",
        kind: "counter",
        read: |gauges| one(&gauges.commits),
    },
    Metric {
        name: "commit_seconds_total",
        help: "Time that commits took.",
        kind: "counter",
        read: |gauges| vec![("", gauges.commit_micros.load(Ordering::Relaxed) as f64 / 1e6)],
    },
    Metric {
        name: "shard_time_seconds",
        help: "The shard's clock.",
        kind: "gauge",
        read: |gauges| vec![("", gauges.shard_time_ms.load(Ordering::Relaxed) as f64 / 1e3)],
    },
    Metric { name: "drafts", help: "Open drafts.", kind: "gauge", read: |gauges| one(&gauges.drafts) },
    Metric {
        name: "parked",
        help: "Records of usage that wait for their subscription.",
        kind: "gauge",
        read: |gauges| one(&gauges.parked),
    },
    Metric {
        name: "outbox_depth",
        help: "Commits whose notices aren't out.",
        kind: "gauge",
        read: |gauges| one(&gauges.outbox),
    },
    Metric {
        name: "deadlines_overdue_seconds",
        help: "How long the oldest deadline has been due.",
        kind: "gauge",
        read: |gauges| vec![("", gauges.overdue_deadlines_ms.load(Ordering::Relaxed) as f64 / 1e3)],
    },
    Metric {
        name: "fates_total",
        help: "Usage by its fate.",
        kind: "counter",
        read: |gauges| {
            FATES
                .iter()
                .zip(&gauges.fates)
                .map(|(label, count)| (*label, count.load(Ordering::Relaxed) as f64))
                .collect()
        },
    },
];
