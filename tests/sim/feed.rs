//! The port `UsageLog` over topics in memory.

use super::broker::Broker;
use super::life::Life;
use graceline::ingest::log::merge::{Asked, Merge};
use graceline::ingest::log::{
    Arena, Batch, Feed, Limits, LogError, LogName, Offset, PerLog, Positions, Run, Stamp, UsageLog,
};
use graceline::persist::ShardId;
use graceline::planted::{self, Bug};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The logs as one process reads them.
pub(super) struct Logs {
    pub(super) broker: Arc<Broker>,
    pub(super) life: Arc<Life>,
    /// How often each shard has been opened: only the last feed reads on.
    openings: Mutex<BTreeMap<ShardId, u64>>,
    /// So many calls will fail.
    failures: Arc<AtomicU64>,
    /// How often a shard has looked for something to take.
    looks: AtomicU64,
}

impl Logs {
    pub(super) fn new(broker: Arc<Broker>, life: Arc<Life>) -> Logs {
        Logs {
            broker,
            life,
            openings: Mutex::default(),
            failures: Arc::default(),
            looks: AtomicU64::default(),
        }
    }

    pub(super) fn fail(&self, calls: u64) {
        self.failures.store(calls, Ordering::Relaxed);
    }

    pub(super) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    fn opening(&self, shard: ShardId) -> u64 {
        self.openings.lock().expect("no one panics here").get(&shard).copied().unwrap_or_default()
    }
}

pub(super) struct MemoryFeed {
    logs: Arc<Logs>,
    shard: ShardId,
    opening: u64,
    merge: Merge,
}

/// The logs of a process, to be shared by its shards.
#[derive(Clone)]
pub(super) struct SharedLogs(pub(super) Arc<Logs>);

impl UsageLog for SharedLogs {
    type Feed = MemoryFeed;

    async fn open(&self, shard: ShardId, from: PerLog<Option<Offset>>) -> Result<MemoryFeed, LogError> {
        let logs = self.0.clone();
        logs.life.pass().await;
        let opening = {
            let mut openings = logs.openings.lock().expect("no one panics here");
            let opening = openings.entry(shard).or_default();
            *opening += 1;
            *opening
        };
        answer(&logs)?;
        let from = PerLog::from_fn(|log| from[log].unwrap_or_else(|| first(&logs.broker, log, shard)));
        for log in LogName::ALL {
            logs.broker.check_position(log, shard, from[log])?;
        }
        let merge = Merge::new(from, from, Asked::default());
        logs.life.pass().await;
        Ok(MemoryFeed { logs, shard, opening, merge })
    }
}

/// Where somebody begins who has never read the log.
fn first(broker: &Broker, log: LogName, shard: ShardId) -> Offset {
    if planted::is(Bug::LatestOnOffsetReset) { broker.end(log, shard) } else { Offset(0) }
}

/// Whether somebody answers for the topics.
fn answer(logs: &Logs) -> Result<(), LogError> {
    let fails =
        logs.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| calls.checked_sub(1));
    if fails.is_ok() || logs.broker.is_away() {
        return Err(LogError::Unavailable("no broker answers".to_owned()));
    }
    Ok(())
}

impl Feed for MemoryFeed {
    async fn next(&mut self, limits: Limits) -> Result<Batch, LogError> {
        let deadline = Instant::now() + limits.wait_max;
        self.logs.looks.fetch_add(1, Ordering::Relaxed);
        loop {
            self.logs.life.pass().await;
            if self.logs.opening(self.shard) != self.opening {
                return Err(LogError::Unavailable("the shard was opened again".to_owned()));
            }
            let broker = self.logs.broker.clone();
            let written = broker.written.notified();
            let comes_at = self.fetch();
            let taken = self.merge.take(&limits, Duration::MAX);
            let now = Instant::now();
            if !taken.runs.is_empty() || now >= deadline {
                let read_to = self.merge.read_to();
                return Ok(Batch { runs: taken.runs, read_to, out_of_turn: taken.out_of_turn });
            }
            let until = comes_at.map_or(deadline, |at| at.min(deadline));
            let _ = tokio::time::timeout_at(until, written).await;
        }
    }

    async fn ends(&mut self) -> Result<Positions, LogError> {
        self.logs.life.pass().await;
        answer(&self.logs)?;
        let ends = self.logs.broker.ends(self.shard);
        self.logs.life.pass().await;
        Ok(ends)
    }

    async fn fingerprints(&mut self, of: PerLog<Option<Offset>>) -> Result<PerLog<Option<u64>>, LogError> {
        self.logs.life.pass().await;
        answer(&self.logs)?;
        Ok(PerLog::from_fn(|log| {
            let at = of[log]?.0 as usize;
            let run = self
                .logs
                .broker
                .read(log, self.shard, |records| records.get(at..=at).map(|records| run_of(log, records)));
            run.and_then(|run| run.first().map(|record| record.fingerprint()))
        }))
    }
}

impl MemoryFeed {
    /// Reads what has been written, but for the current millisecond: another log may still get something that belongs
    /// before it. Says when that is over.
    fn fetch(&mut self) -> Option<Instant> {
        if self.logs.broker.is_away() {
            return None;
        }
        let now_ms = self.logs.broker.time.now_ms();
        let mut is_early = false;
        for log in LogName::ALL {
            let from = self.merge.come_to(log).0 as usize;
            let run = self.logs.broker.read(log, self.shard, |records| {
                let rest = &records[from.min(records.len())..];
                let settled = rest.iter().take_while(|record| record.appended_ms < now_ms).count();
                is_early |= settled < rest.len();
                (settled > 0).then(|| run_of(log, &rest[..settled]))
            });
            if let Some(run) = run {
                self.merge.add(run, Duration::ZERO);
            }
        }
        is_early.then(|| Instant::now() + Duration::from_millis(1))
    }
}

fn run_of(log: LogName, records: &[super::dump::Record]) -> Run {
    let mut arena = Arena::default();
    for record in records {
        let headers = record.headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_slice())));
        arena.push(
            Offset(record.offset),
            Stamp::Appended { ms: record.appended_ms },
            record.key.as_deref(),
            record.value.as_deref(),
            headers,
        );
    }
    Run::whole(log, Arc::new(arena))
}
