//! How the shards of this process are: what `readyz` and `metrics` show.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::settings::Settings;
use crate::ingest::log::{LogName, Offset, PerLog, Positions};
use crate::invoice::books::{Books, Fates};
use crate::invoice::instant::Instant;
use crate::persist::ShardId;
use crate::telemetry::{Histogram, Kind, Labelled, Page, seconds};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Opening,
    Running,
    /// It can't go on by itself, or waits for something that is away.
    Stopped(String),
}

impl State {
    pub fn name(&self) -> &'static str {
        match self {
            State::Opening => "opening",
            State::Running => "running",
            State::Stopped(_) => "stopped",
        }
    }
}

/// The shards of this process.
pub struct Health {
    /// What the process waits for before it can have shards.
    waits_for: Mutex<Option<String>>,
    shards: Mutex<BTreeMap<ShardId, (State, Arc<Gauges>)>>,
    settings: watch::Sender<Option<Settings>>,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            waits_for: Mutex::new(Some("the start".to_owned())),
            shards: Mutex::default(),
            settings: watch::Sender::default(),
        }
    }
}

impl Health {
    /// No shard can be had until this has come.
    pub fn wait_for(&self, what: impl Into<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.into());
    }

    /// Shards come as the group gives them; an instance may well have none.
    pub fn is_member(&self) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn waits_for(&self) -> Option<String> {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, shard: ShardId, state: State) {
        self.known().entry(shard).or_insert_with(|| (State::Opening, Arc::default())).0 = state;
    }

    pub fn remove(&self, shard: ShardId) {
        self.known().remove(&shard);
    }

    pub fn gauges(&self, shard: ShardId) -> Arc<Gauges> {
        self.known().entry(shard).or_insert_with(|| (State::Opening, Arc::default())).1.clone()
    }

    pub fn shards(&self) -> Vec<(ShardId, State)> {
        self.known().iter().map(|(shard, (state, _))| (*shard, state.clone())).collect()
    }

    /// How many records of a log all shards of this process have taken together.
    pub fn taken(&self, log: LogName) -> u64 {
        self.known().values().map(|(_, gauges)| gauges.records[log].load(Ordering::Relaxed)).sum()
    }

    /// What decides invoices, as the shard that looked last has it from the catalog.
    pub fn note_settings(&self, settings: &Settings) {
        self.settings.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(settings);
            if is_new {
                *known = Some(settings.clone());
            }
            is_new
        });
    }

    pub fn settings_in_force(&self) -> watch::Receiver<Option<Settings>> {
        self.settings.subscribe()
    }

    /// Where a log of a shard ends, as of now.
    pub fn note_end(&self, shard: ShardId, log: LogName, end: Offset) {
        if let Some((_, gauges)) = self.known().get(&shard) {
            gauges.ends[log].store(end.0, Ordering::Relaxed);
        }
    }

    /// The figures in Prometheus' text form.
    pub fn metrics(&self) -> String {
        let shards = self.known();
        let all: Vec<(ShardId, &State, &Gauges)> =
            shards.iter().map(|(shard, (state, gauges))| (*shard, state, &**gauges)).collect();
        let mut page = Page::default();
        page.family("shards", Kind::Gauge, "Shards of this instance.");
        for name in ["opening", "running", "stopped"] {
            let count = all.iter().filter(|(_, state, _)| state.name() == name).count();
            page.figure("shards", &[("state", &name)], count);
        }
        write_logs(&mut page, &all);
        write_outcomes(&mut page, &all);
        for family in FAMILIES {
            page.family(family.name, family.kind, family.help);
            for (shard, _, gauges) in &all {
                page.figure(family.name, &[("shard", shard)], (family.read)(gauges));
            }
        }
        let commits =
            all.iter().map(|(shard, _, gauges)| (vec![("shard", shard as &dyn Display)], &gauges.commits));
        page.histograms("commit_seconds", "How long commits took.", commits);
        page.into_text()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ShardId, (State, Arc<Gauges>)>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_logs(page: &mut Page, all: &[(ShardId, &State, &Gauges)]) {
    page.family("records_total", Kind::Counter, "Records taken, by log.");
    for (shard, _, gauges) in all {
        for (log, count) in gauges.records.iter() {
            page.figure("records_total", &[("shard", shard), ("log", &log)], count.load(Ordering::Relaxed));
        }
    }
    page.family(
        "lag",
        Kind::Gauge,
        "Records between what was read and the end of the log, as of some seconds ago.",
    );
    for (shard, _, gauges) in all {
        for log in LogName::ALL {
            if let Some(lag) = gauges.lag(log) {
                page.figure("lag", &[("shard", shard), ("log", &log)], lag);
            }
        }
    }
}

fn write_outcomes(page: &mut Page, all: &[(ShardId, &State, &Gauges)]) {
    page.family("fates_total", Kind::Counter, "Usage by its fate, since the shard's first day.");
    for (shard, _, gauges) in all {
        for (fate, count) in FATES.iter().zip(&gauges.fates) {
            page.figure("fates_total", &[("shard", shard), ("fate", fate)], count.load(Ordering::Relaxed));
        }
    }
    page.family("rejected_total", Kind::Counter, "Records that were refused, by reason.");
    for (shard, _, gauges) in all {
        for (reason, count) in gauges.rejected.counted() {
            page.figure("rejected_total", &[("shard", shard), ("reason", &reason)], count);
        }
    }
}

/// The figures of one shard.
pub struct Gauges {
    records: PerLog<AtomicU64>,
    /// The next records to be read; [`UNKNOWN`] before the first batch.
    read_to: PerLog<AtomicU64>,
    ends: PerLog<AtomicU64>,
    forwarded: AtomicU64,
    rejected: Labelled<{ REASONS.len() }>,
    commits: Histogram,
    commits_count: AtomicU64,
    /// Every record of before that instant should have come before it passed.
    passed_ms: AtomicI64,
    skew_breaches: AtomicU64,
    out_of_turn: AtomicU64,
    shard_time_ms: AtomicI64,
    drafts: AtomicU64,
    parked: AtomicU64,
    outbox: AtomicU64,
    overdue_ms: AtomicI64,
    fates: [AtomicU64; FATES.len()],
}

const UNKNOWN: u64 = u64::MAX;

const FATES: [&str; 6] = ["billed", "late", "duplicate", "parked", "rejected", "cancelled"];

/// Why usage, commands and catalog records are refused.
const REASONS: [&str; 29] = [
    "too_large",
    "malformed",
    "unknown_metric",
    "missing_field",
    "invalid_value",
    "in_future",
    "too_late",
    "id_conflict",
    "unknown_subscription",
    "before_start",
    "after_end",
    "no_open_invoice",
    "unknown_command",
    "unknown_customer",
    "unknown_invoice",
    "unknown_charge",
    "unknown_event",
    "content_mismatch",
    "invoice_not_draft",
    "invoice_not_finalized",
    "already_paid",
    "already_disputed",
    "not_edited",
    "not_supported",
    "unknown_kind",
    "immutable",
    "subscription_ended",
    "currency_mismatch",
    "grace_not_shorter_than_period",
];

impl Default for Gauges {
    fn default() -> Gauges {
        let unknown = || PerLog::from_fn(|_| AtomicU64::new(UNKNOWN));
        Gauges {
            records: PerLog::default(),
            read_to: unknown(),
            ends: unknown(),
            forwarded: AtomicU64::default(),
            rejected: Labelled::new(&REASONS),
            commits: Histogram::default(),
            commits_count: AtomicU64::default(),
            passed_ms: AtomicI64::new(i64::MIN),
            skew_breaches: AtomicU64::default(),
            out_of_turn: AtomicU64::default(),
            shard_time_ms: AtomicI64::default(),
            drafts: AtomicU64::default(),
            parked: AtomicU64::default(),
            outbox: AtomicU64::default(),
            overdue_ms: AtomicI64::default(),
            fates: Default::default(),
        }
    }
}

impl Gauges {
    /// The shard is opened, maybe again: what comes may have been seen before.
    pub fn opened(&self) {
        self.passed_ms.store(i64::MIN, Ordering::Relaxed);
    }

    /// A record was taken. One from before an instant that has passed tells of clocks that are too far apart.
    pub fn took(&self, log: LogName, appended_ms: i64) {
        self.records[log].fetch_add(1, Ordering::Relaxed);
        if appended_ms < self.passed_ms.load(Ordering::Relaxed) {
            self.skew_breaches.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records were taken behind others that they belong before: a replay from the beginning takes them in their turn.
    pub fn out_of_turn(&self, records: usize) {
        self.out_of_turn.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Time was let pass, after everything from before had been read.
    pub fn passed(&self, until: Instant) {
        self.passed_ms.store(until.0 / NANOS_PER_MS, Ordering::Relaxed);
    }

    pub fn read(&self, read_to: &Positions) {
        for (log, offset) in read_to.iter() {
            self.read_to[log].store(offset.0, Ordering::Relaxed);
        }
    }

    pub fn forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    pub fn rejected(&self, reason: &[u8]) {
        self.rejected.add(std::str::from_utf8(reason).unwrap_or_default(), 1);
    }

    pub fn committed(&self, took: Duration) {
        self.commits_count.fetch_add(1, Ordering::Relaxed);
        self.commits.observe(took);
    }

    pub fn note(&self, books: &Books, outbox: u64) {
        let (drafts, parked) = books.open_counts();
        let now_ms = books.now().0 / NANOS_PER_MS;
        self.shard_time_ms.store(now_ms, Ordering::Relaxed);
        self.drafts.store(drafts as u64, Ordering::Relaxed);
        self.parked.store(parked as u64, Ordering::Relaxed);
        self.outbox.store(outbox, Ordering::Relaxed);
        let overdue_ms = books.next_deadline().map_or(0, |due| (now_ms - due.0 / NANOS_PER_MS).max(0));
        self.overdue_ms.store(overdue_ms, Ordering::Relaxed);
        let Fates { billed, late, duplicate, parked, rejected, cancelled } = books.fates();
        for (gauge, count) in self.fates.iter().zip([billed, late, duplicate, parked, rejected, cancelled]) {
            gauge.store(count, Ordering::Relaxed);
        }
    }

    fn lag(&self, log: LogName) -> Option<u64> {
        let known =
            |place: &AtomicU64| Some(place.load(Ordering::Relaxed)).filter(|offset| *offset != UNKNOWN);
        Some(known(&self.ends[log])?.saturating_sub(known(&self.read_to[log])?))
    }
}

const NANOS_PER_MS: i64 = 1_000_000;

struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    read: fn(&Gauges) -> String,
}

fn count(of: &AtomicU64) -> String {
    of.load(Ordering::Relaxed).to_string()
}

fn seconds_of_ms(of: &AtomicI64) -> String {
    seconds(u64::try_from(of.load(Ordering::Relaxed)).unwrap_or(0).saturating_mul(1000))
}

const FAMILIES: [Family; 9] = [
    Family {
        name: "forwarded_total",
        kind: Kind::Counter,
        help: "Records that were sent on to their own shard.",
        read: |gauges| count(&gauges.forwarded),
    },
    Family {
        name: "commits_total",
        kind: Kind::Counter,
        help: "Commits made.",
        read: |gauges| count(&gauges.commits_count),
    },
    Family {
        name: "skew_breaches_total",
        kind: Kind::Counter,
        help: "Records from before an instant that had passed: clocks are further apart than billing.clock_skew_limit.",
        read: |gauges| count(&gauges.skew_breaches),
    },
    Family {
        name: "out_of_turn_total",
        kind: Kind::Counter,
        help: "Records that came too late to be taken in the order of append times.",
        read: |gauges| count(&gauges.out_of_turn),
    },
    Family {
        name: "shard_time_seconds",
        kind: Kind::Gauge,
        help: "The shard's clock, in seconds since 1970.",
        read: |gauges| seconds_of_ms(&gauges.shard_time_ms),
    },
    Family { name: "drafts", kind: Kind::Gauge, help: "Open drafts.", read: |gauges| count(&gauges.drafts) },
    Family {
        name: "parked",
        kind: Kind::Gauge,
        help: "Usage that waits for its subscription.",
        read: |gauges| count(&gauges.parked),
    },
    Family {
        name: "outbox_depth",
        kind: Kind::Gauge,
        help: "Commits whose notices aren't out.",
        read: |gauges| count(&gauges.outbox),
    },
    Family {
        name: "deadlines_overdue_seconds",
        kind: Kind::Gauge,
        help: "How long the oldest deadline has been due.",
        read: |gauges| seconds_of_ms(&gauges.overdue_ms),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_by_shard_log_and_reason() {
        let health = Health::default();
        let gauges = health.gauges(ShardId(2));
        health.set(ShardId(2), State::Running);
        gauges.took(LogName::Usage, 1000);
        gauges.passed(Instant(2000 * NANOS_PER_MS));
        gauges.took(LogName::Usage, 1999);
        gauges.took(LogName::Usage, 2000);
        gauges.read(&PerLog::from_fn(|_| Offset(7)));
        health.note_end(ShardId(2), LogName::Usage, Offset(10));
        health.note_end(ShardId(3), LogName::Usage, Offset(10));
        gauges.rejected(b"too_late");
        gauges.rejected(b"a customer's name");
        gauges.committed(Duration::from_millis(3));
        let page = health.metrics();
        for line in [
            "graceline_shards{state=\"running\"} 1",
            "graceline_records_total{shard=\"2\",log=\"usage\"} 3",
            "graceline_lag{shard=\"2\",log=\"usage\"} 3",
            "graceline_rejected_total{shard=\"2\",reason=\"too_late\"} 1",
            "graceline_rejected_total{shard=\"2\",reason=\"other\"} 1",
            "graceline_skew_breaches_total{shard=\"2\"} 1",
            "graceline_commit_seconds_bucket{shard=\"2\",le=\"0.005\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} isn't in\n{page}");
        }
        assert!(
            !page.contains("shard=\"3\"") && !page.contains("lag{shard=\"2\",log=\"catalog\"}"),
            "{page}"
        );
    }
}
