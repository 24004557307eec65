//! The port, put together from its parts.

use super::Clock;
use super::catalog::{Catalog, View};
use super::client::Trouble;
use super::inbox::Inbox;
use super::probe::{Bounds, Isolation, Place, Probe, Stretch};
use super::reader::{OWN_LOGS, Order, Orders, Reader};
use super::settings::KafkaSettings;
use super::timer::{Duration, Instant, now, since};
use crate::ingest::log::merge::{Asked, Merge};
use crate::ingest::log::{
    Batch, Feed, Limits, LogError, LogName, Offset, PerLog, Positions, Record, Run, UsageLog,
};
use crate::persist::ShardId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::time::sleep_until;

/// The logs of all shards, in Kafka.
pub struct KafkaLog {
    topics: PerLog<Arc<str>>,
    orders: Orders,
    catalog: Arc<Catalog>,
    clock: Clock,
    /// Sees everything that is there.
    latest: Probe,
    /// Sees what readers see.
    stable: Probe,
}

impl KafkaLog {
    /// Makes the clients. They reach for the brokers by themselves, for as long as it takes; an error is about the
    /// settings.
    pub fn start(
        settings: &KafkaSettings,
        topics: &PerLog<String>,
        clock: Clock,
    ) -> Result<KafkaLog, String> {
        let topics = PerLog::from_fn(|log| Arc::from(topics[log].as_str()));
        let start = || {
            let latest = Probe::start(settings, Isolation::Uncommitted)?;
            let stable = Probe::start(settings, Isolation::Committed)?;
            let catalog =
                Catalog::start(settings, place(&topics, LogName::Catalog, ShardId(0)), clock.clone())?;
            let reader =
                Reader::start(settings, topics.clone(), clock.clone(), latest.clone(), stable.clone());
            Ok((latest, stable, catalog, reader?))
        };
        let (latest, stable, catalog, orders) =
            start().map_err(|error: rdkafka::error::KafkaError| format!("kafka: {error}"))?;
        Ok(KafkaLog { topics, orders, catalog, clock, latest, stable })
    }

    fn places(&self, shard: ShardId) -> PerLog<Place> {
        PerLog::from_fn(|log| place(&self.topics, log, shard))
    }
}

fn place(topics: &PerLog<Arc<str>>, log: LogName, shard: ShardId) -> Place {
    let partition = if log == LogName::Catalog { 0 } else { shard.0 };
    Place { topic: topics[log].clone(), partition }
}

impl Bounds {
    /// Whether a log that goes from here to there can be read on at `next`.
    pub(crate) fn check(self, log: LogName, next: u64) -> Result<(), LogError> {
        let (begin, end) = (Offset(self.begin), Offset(self.end));
        if (self.begin..=self.end).contains(&next) {
            return Ok(());
        }
        Err(LogError::OutOfRange { log, wanted: Offset(next), begin, end })
    }
}

impl UsageLog for KafkaLog {
    type Feed = KafkaFeed;

    async fn open(&self, shard: ShardId, from: PerLog<Option<Offset>>) -> Result<KafkaFeed, LogError> {
        let places = self.places(shard);
        let epoch = now();
        let asked = Asked { at: Duration::ZERO, wall_ms: (self.clock)() };
        let usage = &places[LogName::Usage];
        let (found, is_replicated) =
            tokio::join!(self.latest.bounds(&places.0), self.latest.is_replicated(usage));
        let (mut positions, mut ends) = (Positions::default(), Positions::default());
        for (log, bounds) in LogName::ALL.into_iter().zip(found) {
            let bounds = bounds.map_err(|trouble| trouble.in_log(log))?;
            positions[log] = from[log].unwrap_or(Offset(bounds.begin));
            ends[log] = Offset(bounds.end);
            bounds.check(log, positions[log].0)?;
        }
        let inbox = Inbox::new();
        let catalog = self.catalog.view(positions[LogName::Catalog], inbox.bell.clone());
        let (done, opened) = tokio::sync::oneshot::channel();
        let closing = Closing { shard: shard.0, inbox: inbox.clone(), orders: self.orders.clone() };
        self.orders.send(Order::Open { shard: shard.0, inbox: inbox.clone(), from: positions, done });
        opened.await.map_err(|_| LogError::Unavailable("the reading thread has ended".into()))??;
        Ok(KafkaFeed {
            merge: Merge::new(positions, ends, asked),
            closing,
            catalog,
            clock: self.clock.clone(),
            places,
            latest: self.latest.clone(),
            stable: self.stable.clone(),
            epoch,
            gap: None,
            question: None,
            ask_again_at: Duration::ZERO,
            asks_at_rest: is_replicated != Some(false),
            asked_at: Duration::ZERO,
            patience: PerLog::from_fn(|_| PATIENCE_AT_FIRST),
            looked_at: PerLog::from_fn(|_| epoch),
        })
    }
}

/// The logs of one shard, in Kafka.
pub struct KafkaFeed {
    merge: Merge,
    closing: Closing,
    catalog: View,
    clock: Clock,
    places: PerLog<Place>,
    latest: Probe,
    stable: Probe,
    /// What the merge counts its time from.
    epoch: Instant,
    /// A look at what holds up a log that ends further on than anything comes from it.
    gap: Option<Looking>,
    /// How far the logs reach, asked so that records needn't wait for each other any longer.
    question: Option<(Asked, Answer)>,
    /// Not sooner than this, where nobody answered.
    ask_again_at: Duration,
    /// Whether the ends are asked for also while nothing waits: replicas may hide a record, and what it was not told of
    /// shows for how long.
    asks_at_rest: bool,
    asked_at: Duration,
    /// How long each log may stand still before such a look.
    patience: PerLog<Duration>,
    looked_at: PerLog<Instant>,
}

type Answer = Pin<Box<dyn Future<Output = Vec<Result<u64, Trouble>>> + Send>>;
type Looking = Pin<Box<dyn Future<Output = Option<(LogName, Offset)>> + Send>>;

/// It takes a while until the first records are fetched.
const PATIENCE_AT_FIRST: Duration = Duration::from_millis(250);

/// Later; it doubles each time nothing comes of it.
const PATIENCE: Duration = Duration::from_millis(50);
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// How often ends are asked for at rest.
const ASK_AT_REST: Duration = Duration::from_millis(500);

/// So much of the catalog a shard takes at a time. What it holds is kept in memory for it.
const CATALOG_BYTES: usize = 4 << 20;

/// Closes the shard when the feed, or the future that opens it, is dropped.
struct Closing {
    shard: u32,
    inbox: Arc<Inbox>,
    orders: Orders,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.orders.send(Order::Close { shard: self.shard, inbox: self.inbox.clone() });
    }
}

impl Feed for KafkaFeed {
    async fn next(&mut self, limits: Limits) -> Result<Batch, LogError> {
        let deadline = now() + limits.wait_max;
        // Also who can't wait hears what was answered meanwhile.
        let mut has_heard = false;
        loop {
            self.gather()?;
            let taken = self.merge.take(&limits, since(self.epoch));
            let at_rest = self.asks_at_rest.then(|| self.asked_at + ASK_AT_REST);
            let ask_at = self.ask(taken.ask_at.into_iter().chain(at_rest).min());
            if !taken.runs.is_empty() || has_heard && now() >= deadline {
                self.give_back(&taken.runs);
                let read_to = self.merge.read_to();
                return Ok(Batch { runs: taken.runs, read_to, out_of_turn: taken.out_of_turn });
            }
            let next = taken.wait_until.into_iter().chain(ask_at).min();
            let until = next.map_or(deadline, |next| deadline.min(self.epoch + next));
            self.wait(until).await;
            has_heard = true;
        }
    }

    async fn ends(&mut self) -> Result<Positions, LogError> {
        let asked = self.moment();
        let found = self.latest.ends(&self.places.0).await;
        let mut ends = Positions::default();
        for (log, end) in LogName::ALL.into_iter().zip(found) {
            let end = end.map_err(|trouble| trouble.in_log(log))?;
            let wanted = self.merge.come_to(log);
            if end < wanted.0 {
                return Err(LogError::OutOfRange { log, wanted, begin: Offset(0), end: Offset(end) });
            }
            ends[log] = Offset(end);
            self.merge.reaches(log, ends[log], asked, since(self.epoch));
        }
        Ok(ends)
    }

    async fn fingerprints(&mut self, of: PerLog<Option<Offset>>) -> Result<PerLog<Option<u64>>, LogError> {
        let found = self.latest.bounds(&self.places.0).await;
        let mut wanted = Vec::new();
        for (log, bounds) in LogName::ALL.into_iter().zip(found) {
            let Some(Offset(from)) = of[log] else { continue };
            let bounds = bounds.map_err(|trouble| trouble.in_log(log))?;
            if (bounds.begin..bounds.end).contains(&from) {
                wanted.push((log, Stretch { place: self.places[log].clone(), from, to: from + 1 }));
            }
        }
        let scanned = self.stable.scan_all(wanted.iter().map(|(_, stretch)| stretch.clone())).await;
        let mut prints = PerLog::from_fn(|_| None);
        for ((log, _), scanned) in wanted.into_iter().zip(scanned) {
            let scanned = scanned.map_err(|trouble| trouble.in_log(log))?;
            let run = Run::whole(log, Arc::new(scanned.arena));
            prints[log] = run.first().map(|record: Record<'_>| record.fingerprint());
        }
        Ok(prints)
    }
}

impl KafkaFeed {
    /// Takes in what has come.
    fn gather(&mut self) -> Result<(), LogError> {
        let at = since(self.epoch);
        for run in self.closing.inbox.take()? {
            self.patience[run.log] = PATIENCE;
            self.merge.add(run, at);
        }
        if self.merge.bytes(LogName::Catalog) < CATALOG_BYTES {
            for run in self.catalog.take(self.merge.come_to(LogName::Catalog), CATALOG_BYTES)? {
                self.patience[LogName::Catalog] = PATIENCE;
                self.merge.add(run, at);
            }
        }
        Ok(())
    }

    /// Lets the reader read on.
    fn give_back(&self, runs: &[Run]) {
        for log in OWN_LOGS {
            let bytes: usize = runs.iter().filter(|run| run.log == log).map(Run::weight_bytes).sum();
            if bytes > 0 && self.closing.inbox.give_back(log, bytes) {
                let Closing { shard, inbox, orders } = &self.closing;
                orders.send(Order::Resume { shard: *shard, inbox: inbox.clone(), log });
            }
        }
    }

    /// Asks for the ends of the logs if it is time to; else says when it will be.
    fn ask(&mut self, at: Option<Duration>) -> Option<Duration> {
        let at = at.filter(|_| self.question.is_none())?.max(self.ask_again_at);
        if since(self.epoch) < at {
            return Some(at);
        }
        let asked = self.moment();
        self.asked_at = asked.at;
        self.question = Some((asked, Box::pin(self.latest.ends(&self.places.0))));
        None
    }

    fn hear(&mut self, asked: Asked, ends: Vec<Result<u64, Trouble>>) {
        let at = since(self.epoch);
        if ends.iter().all(Result::is_ok) {
            self.merge.answered(at - asked.at, at);
        }
        for (log, end) in LogName::ALL.into_iter().zip(ends) {
            match end {
                Ok(end) => self.merge.reaches(log, Offset(end), asked, at),
                Err(_) => self.ask_again_at = at + PATIENCE,
            }
        }
    }

    fn moment(&self) -> Asked {
        Asked { at: since(self.epoch), wall_ms: (self.clock)() }
    }

    /// Waits until something has come or the time is over, and meanwhile looks why a log stands still.
    async fn wait(&mut self, until: Instant) {
        let stopped = LogName::ALL.into_iter().filter_map(|log| Some((log, self.merge.stopped(log)?)));
        let due = |log, since| self.looked_at[log].max(self.epoch + since) + self.patience[log];
        let look_at = stopped.map(|(log, (at, since))| (due(log, since), log, at)).min();
        let mut until = until;
        if self.gap.is_none()
            && let Some((time, log, at)) = look_at
        {
            if time <= now() {
                self.looked_at[log] = now();
                self.patience[log] = (self.patience[log] * 2).min(PATIENCE_MAX);
                self.gap = Some(Box::pin(look(self.stable.clone(), self.places[log].clone(), log, at)));
            } else {
                until = until.min(time);
            }
        }
        let bell = self.closing.inbox.bell.clone();
        tokio::select! {
            biased;
            () = bell.notified() => {}
            (asked, ends) = answer(&mut self.question) => {
                self.question = None;
                self.hear(asked, ends);
            }
            found = poll_some(&mut self.gap) => {
                self.gap = None;
                if let Some((log, offset)) = found {
                    self.patience[log] = PATIENCE;
                    self.merge.nothing_below(log, offset, since(self.epoch));
                }
            }
            () = sleep_until(until.into()) => {}
        }
    }
}

async fn answer(question: &mut Option<(Asked, Answer)>) -> (Asked, Vec<Result<u64, Trouble>>) {
    match question {
        Some((asked, answer)) => (*asked, answer.await),
        None => std::future::pending().await,
    }
}

async fn poll_some(looking: &mut Option<Looking>) -> Option<(LogName, Offset)> {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

/// Looks for the next record of a log that readers can see. Where there is none, the end of what they can see is told:
/// up to there nothing will ever come.
async fn look(stable: Probe, place: Place, log: LogName, at: Offset) -> Option<(LogName, Offset)> {
    let end = stable.ends(std::slice::from_ref(&place)).await.remove(0).ok()?;
    if end <= at.0 {
        return None;
    }
    let scanned = stable.scan(Stretch { place, from: at.0, to: at.0 + 1 }).await.ok()?;
    match (scanned.arena.is_empty(), scanned.beyond) {
        (true, beyond) => Some((log, Offset(beyond.unwrap_or(end)))),
        (false, _) => None,
    }
}
