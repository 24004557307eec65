//! Questions about logs that reading them doesn't answer: where they begin and end, and what stands at a place.
//!
//! A probe has one client and two threads: one asks for bounds, one reads. So a read that takes its time holds up no
//! question about an end. Questions that come in while others are being answered are answered together.

use super::client::{Plain, Trouble};
use super::record;
use super::settings::KafkaSettings;
use super::timer::{Duration, Instant, now, since};
use crate::ingest::log::Arena;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::sync::oneshot;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: u32,
}

/// The offset of the first record there is, and of the next one to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

/// Whether records of open transactions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// All that is there.
    Uncommitted,
    /// Up to the first transaction that is still open.
    Committed,
}

/// A stretch of a partition.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    pub(crate) place: Place,
    pub(crate) from: u64,
    /// Where it stops: at the first record that reaches or passes the one before this.
    pub(crate) to: u64,
}

/// What a stretch holds.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) arena: Arena,
    /// The first record past the stretch, if one was seen.
    pub(crate) beyond: Option<u64>,
}

/// A handle; clones ask the same threads, which end with the last of them.
#[derive(Clone)]
pub(crate) struct Probe {
    consumer: Arc<BaseConsumer<Plain>>,
    limit: Duration,
    bounds: mpsc::Sender<BoundsAsk>,
    scans: mpsc::Sender<ScanAsk>,
}

struct BoundsAsk {
    places: Vec<Place>,
    begin_too: bool,
    reply: oneshot::Sender<Vec<Result<Bounds, Trouble>>>,
}

struct ScanAsk {
    stretch: Stretch,
    reply: oneshot::Sender<Result<Scanned, Trouble>>,
}

const LOST: &str = "the thread that asks the brokers has ended";

impl Probe {
    pub(crate) fn start(settings: &KafkaSettings, isolation: Isolation) -> KafkaResult<Probe> {
        // The tails of many partitions are wanted at once, a record behind a gap alone. A batch always comes whole.
        let (role, level, fetch_bytes) = match isolation {
            Isolation::Uncommitted => ("ends", "read_uncommitted", "1048576"),
            Isolation::Committed => ("stable", "read_committed", "16384"),
        };
        let mut config = settings.consumer(role);
        config
            .set("isolation.level", level)
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", settings.fetch_wait_ms.min(10).to_string())
            .set("fetch.message.max.bytes", fetch_bytes)
            .set("queued.min.messages", "1000");
        let consumer: Arc<BaseConsumer<Plain>> = Arc::new(config.create_with_context(Plain::new(role))?);
        let limit = Duration::from_millis(settings.ends_ms_max);
        let (bounds, bounds_asks) = mpsc::channel();
        let (scans, scan_asks) = mpsc::channel();
        let surveyor = Surveyor { consumer: consumer.clone(), limit, sick: HashMap::new() };
        spawn(format!("{role}-bounds"), move || surveyor.run(&bounds_asks));
        let scanner = Scanner { consumer: consumer.clone(), limit };
        spawn(format!("{role}-scan"), move || scanner.run(&scan_asks));
        Ok(Probe { consumer, limit, bounds, scans })
    }

    /// Whether more than one broker has what is in a partition, as far as anybody says.
    pub(crate) async fn is_replicated(&self, place: &Place) -> Option<bool> {
        let Probe { consumer, limit, .. } = self.clone();
        let place = place.clone();
        let ask = move || {
            let metadata = consumer.fetch_metadata(Some(&place.topic), limit).ok()?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == &*place.topic)?;
            let partition = topic.partitions().iter().find(|one| one.id() as u32 == place.partition)?;
            Some(partition.replicas().len() > 1)
        };
        tokio::task::spawn_blocking(ask).await.ok().flatten()
    }

    /// Beginnings and ends, asked for after this call began.
    pub(crate) async fn bounds(&self, places: &[Place]) -> Vec<Result<Bounds, Trouble>> {
        self.survey(places, true).await
    }

    /// Ends, asked for after this call began.
    pub(crate) fn ends(&self, places: &[Place]) -> impl Future<Output = Vec<Result<u64, Trouble>>> + use<> {
        let bounds = self.survey(places, false);
        async { bounds.await.into_iter().map(|one| one.map(|bounds| bounds.end)).collect() }
    }

    /// [`Probe::bounds`], for a thread that has nothing else to do.
    pub(crate) fn bounds_blocking(&self, places: &[Place]) -> Vec<Result<Bounds, Trouble>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.bounds.send(BoundsAsk { places: places.to_vec(), begin_too: true, reply });
        answer.blocking_recv().unwrap_or_else(|_| vec![Err(Trouble::Unavailable(LOST.into())); places.len()])
    }

    /// Asks at once; the answer can be waited for later.
    fn survey(
        &self,
        places: &[Place],
        begin_too: bool,
    ) -> impl Future<Output = Vec<Result<Bounds, Trouble>>> + use<> {
        let (reply, answer) = oneshot::channel();
        let count = places.len();
        let _ = self.bounds.send(BoundsAsk { places: places.to_vec(), begin_too, reply });
        async move { answer.await.unwrap_or_else(|_| vec![Err(Trouble::Unavailable(LOST.into())); count]) }
    }

    /// The records of a stretch, those that are visible.
    pub(crate) async fn scan(&self, stretch: Stretch) -> Result<Scanned, Trouble> {
        let (reply, answer) = oneshot::channel();
        let _ = self.scans.send(ScanAsk { stretch, reply });
        answer.await.unwrap_or_else(|_| Err(Trouble::Unavailable(LOST.into())))
    }

    /// Several of them, read together.
    pub(crate) async fn scan_all(
        &self,
        stretches: impl Iterator<Item = Stretch>,
    ) -> Vec<Result<Scanned, Trouble>> {
        let asked: Vec<_> = stretches
            .map(|stretch| {
                let (reply, answer) = oneshot::channel();
                let _ = self.scans.send(ScanAsk { stretch, reply });
                answer
            })
            .collect();
        let mut scanned = Vec::with_capacity(asked.len());
        for answer in asked {
            scanned.push(answer.await.unwrap_or_else(|_| Err(Trouble::Unavailable(LOST.into()))));
        }
        scanned
    }

    /// [`Probe::scan`], for a thread that has nothing else to do.
    pub(crate) fn scan_blocking(&self, stretch: Stretch) -> Result<Scanned, Trouble> {
        let (reply, answer) = oneshot::channel();
        let _ = self.scans.send(ScanAsk { stretch, reply });
        answer.blocking_recv().unwrap_or_else(|_| Err(Trouble::Unavailable(LOST.into())))
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(name).spawn(run).expect("a process can start a thread");
}

/// Asks for bounds.
struct Surveyor {
    consumer: Arc<BaseConsumer<Plain>>,
    limit: Duration,
    /// Leaders that didn't answer, and when. They are left alone for a while, so that the others' partitions don't
    /// wait for them.
    sick: HashMap<i32, Instant>,
}

const SICK: Duration = Duration::from_secs(3);

type Found = HashMap<Place, Result<u64, Trouble>>;

impl Surveyor {
    fn run(mut self, asks: &mpsc::Receiver<BoundsAsk>) {
        while let Ok(first) = asks.recv() {
            let round: Vec<BoundsAsk> = std::iter::once(first).chain(asks.try_iter()).collect();
            let all: BTreeSet<Place> = round.iter().flat_map(|ask| ask.places.iter().cloned()).collect();
            let ends = self.query(&all, Offset::End);
            let some: BTreeSet<Place> =
                round.iter().filter(|ask| ask.begin_too).flat_map(|ask| ask.places.iter().cloned()).collect();
            let begins = if some.is_empty() { Found::new() } else { self.query(&some, Offset::Beginning) };
            for ask in round {
                let answers =
                    ask.places.iter().map(|place| bounds_of(place, &begins, &ends, ask.begin_too)).collect();
                let _ = ask.reply.send(answers);
            }
        }
    }

    fn query(&mut self, places: &BTreeSet<Place>, what: Offset) -> Found {
        self.sick.retain(|_, failed_at| since(*failed_at) < SICK);
        if self.sick.is_empty()
            && let Ok(found) = self.ask(places.iter(), what)
        {
            return found;
        }
        // One partition without a leader, or that isn't there, fails the call for all of them.
        self.query_by_leader(places, what)
    }

    fn query_by_leader(&mut self, places: &BTreeSet<Place>, what: Offset) -> Found {
        let mut found = Found::new();
        let mut led: BTreeMap<i32, Vec<&Place>> = BTreeMap::new();
        for (place, leader) in self.leaders(places) {
            match leader {
                Ok(leader) => led.entry(leader).or_default().push(place),
                Err(trouble) => {
                    found.insert(place.clone(), Err(trouble));
                }
            }
        }
        let is_alone = led.len() == 1;
        for (leader, places) in led {
            let answer = if self.sick.contains_key(&leader) && !is_alone {
                Err(Trouble::Unavailable(format!("broker {leader} did not answer")))
            } else {
                self.ask(places.iter().copied(), what).map_err(|error| Trouble::of(&error))
            };
            match answer {
                Ok(some) => found.extend(some),
                Err(trouble) => {
                    self.sick.entry(leader).or_insert_with(now);
                    found.extend(places.into_iter().map(|place| (place.clone(), Err(trouble.clone()))));
                }
            }
        }
        found
    }

    /// One request to each leader, for all partitions it has.
    fn ask<'a>(&self, places: impl Iterator<Item = &'a Place>, what: Offset) -> KafkaResult<Found> {
        let mut list = TopicPartitionList::new();
        for place in places {
            list.add_partition_offset(&place.topic, place.partition as i32, what)?;
        }
        let answer = self.consumer.offsets_for_times(list, self.limit)?;
        let elements = answer.elements();
        let found = elements.iter().map(|one| {
            let place = Place { topic: one.topic().into(), partition: one.partition() as u32 };
            let offset = match (one.error(), one.offset()) {
                (Err(error), _) => Err(Trouble::of(&error)),
                (Ok(()), Offset::Offset(offset)) => Ok(offset as u64),
                (Ok(()), _) => Err(Trouble::Unavailable("the broker named no offset".into())),
            };
            (place, offset)
        });
        Ok(found.collect())
    }

    fn leaders<'a>(&self, places: &'a BTreeSet<Place>) -> Vec<(&'a Place, Result<i32, Trouble>)> {
        let topics: BTreeSet<&str> = places.iter().map(|place| &*place.topic).collect();
        let known: HashMap<&str, _> =
            topics.into_iter().map(|topic| (topic, self.leaders_of(topic))).collect();
        places
            .iter()
            .map(|place| {
                let leader = known[&*place.topic].as_ref().map_err(Trouble::clone).and_then(|leaders| {
                    let gone =
                        || Trouble::Gone(format!("{} has no partition {}", place.topic, place.partition));
                    leaders.get(&place.partition).cloned().ok_or_else(gone)?
                });
                (place, leader)
            })
            .collect()
    }

    fn leaders_of(&self, topic: &str) -> Result<HashMap<u32, Result<i32, Trouble>>, Trouble> {
        let metadata =
            self.consumer.fetch_metadata(Some(topic), self.limit).map_err(|error| Trouble::of(&error))?;
        let found = metadata.topics().iter().find(|one| one.name() == topic);
        let found = found.ok_or_else(|| Trouble::Gone(format!("there is no topic {topic}")))?;
        if let Some(error) = found.error() {
            return Err(Trouble::of_code(error.into()));
        }
        let leader = |one: &rdkafka::metadata::MetadataPartition| match (one.error(), one.leader()) {
            (_, leader) if leader >= 0 => Ok(leader),
            (Some(error), _) => Err(Trouble::of_code(error.into())),
            (None, _) => Err(Trouble::Unavailable(format!("{topic}/{} has no leader", one.id()))),
        };
        Ok(found.partitions().iter().map(|one| (one.id() as u32, leader(one))).collect())
    }
}

fn bounds_of(place: &Place, begins: &Found, ends: &Found, begin_too: bool) -> Result<Bounds, Trouble> {
    let of = |found: &Found| {
        found
            .get(place)
            .cloned()
            .unwrap_or_else(|| Err(Trouble::Unavailable("the broker gave no answer".into())))
    };
    let begin = if begin_too { of(begins)? } else { 0 };
    Ok(Bounds { begin, end: of(ends)? })
}

/// Reads stretches.
struct Scanner {
    consumer: Arc<BaseConsumer<Plain>>,
    limit: Duration,
}

/// A stretch that is being read.
struct Reading {
    ask: ScanAsk,
    scanned: Scanned,
    done: bool,
}

/// How often an idle client is listened to.
const IDLE: Duration = Duration::from_secs(1);

/// How long nothing may come before a round counts as read as far as it goes.
const LULL: Duration = Duration::from_millis(20);

impl Scanner {
    fn run(self, asks: &mpsc::Receiver<ScanAsk>) {
        loop {
            let first = match asks.recv_timeout(IDLE) {
                Ok(first) => first,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.drain();
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            let mut round = Vec::new();
            let mut later = Vec::new();
            for ask in std::iter::once(first).chain(asks.try_iter()) {
                let twice = round.iter().any(|one: &Reading| one.ask.stretch.place == ask.stretch.place);
                if twice { later.push(Reading::new(ask)) } else { round.push(Reading::new(ask)) }
            }
            later.extend(self.together(round));
            for reading in later {
                self.alone(reading);
            }
        }
    }

    /// Reads all of them at once. What comes back has to be read alone: it ends in a gap, or something is wrong, and
    /// the client doesn't say which partition it means.
    fn together(&self, mut round: Vec<Reading>) -> Vec<Reading> {
        if round.len() < 2 || self.assign(&round).is_err() {
            return round;
        }
        let deadline = now() + self.limit;
        let (mut heard, mut ended) = (now(), false);
        let mut by_partition: HashMap<i32, Vec<usize>> = HashMap::new();
        for (n, reading) in round.iter().enumerate() {
            by_partition.entry(reading.ask.stretch.place.partition as i32).or_default().push(n);
        }
        let mut open_count = round.iter().filter(|one| !one.done).count();
        while open_count > 0 && now() < deadline && !(ended && since(heard) > LULL) {
            match self.consumer.poll(Duration::from_millis(5)) {
                Some(Ok(message)) => {
                    heard = now();
                    let candidates = by_partition.get(&message.partition()).map_or(&[][..], Vec::as_slice);
                    let named = |n: &&usize| *round[**n].ask.stretch.place.topic == *message.topic();
                    if let Some(n) = candidates.iter().find(named).copied() {
                        open_count -= usize::from(round[n].take(&message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended = true,
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(super::client::is_transient) => {}
                Some(Err(_)) => break,
                None => {}
            }
        }
        self.unassign();
        let (done, rest): (Vec<Reading>, Vec<Reading>) = round.into_iter().partition(|one| one.done);
        done.into_iter().for_each(Reading::finish);
        rest.into_iter().map(|one| Reading::new(one.ask)).collect()
    }

    fn alone(&self, mut reading: Reading) {
        let outcome = self.read_alone(&mut reading);
        self.unassign();
        match outcome {
            Ok(()) => reading.finish(),
            Err(trouble) => {
                let _ = reading.ask.reply.send(Err(trouble));
            }
        }
    }

    fn read_alone(&self, reading: &mut Reading) -> Result<(), Trouble> {
        self.assign(std::slice::from_ref(reading)).map_err(|error| Trouble::of(&error))?;
        let deadline = now() + self.limit;
        while !reading.done {
            if now() >= deadline {
                return Err(Trouble::Unavailable("the broker did not answer".into()));
            }
            match self.consumer.poll(Duration::from_millis(20)) {
                Some(Ok(message)) => drop(reading.take(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => reading.done = true,
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(super::client::is_transient) => {}
                Some(Err(error)) => return Err(Trouble::of(&error)),
                None => {}
            }
        }
        Ok(())
    }

    fn assign(&self, round: &[Reading]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for Reading { ask: ScanAsk { stretch, .. }, .. } in round {
            let Place { topic, partition } = &stretch.place;
            list.add_partition_offset(topic, *partition as i32, Offset::Offset(stretch.from as i64))?;
        }
        self.consumer.assign(&list)
    }

    fn unassign(&self) {
        let _ = self.consumer.unassign();
        self.drain();
    }

    /// Takes what the client wants to say. It keeps its messages until someone does, and an error that is left over
    /// would be taken for the next partition's.
    fn drain(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }
}

impl Reading {
    fn new(ask: ScanAsk) -> Reading {
        let done = ask.stretch.from >= ask.stretch.to;
        Reading { ask, scanned: Scanned { arena: Arena::default(), beyond: None }, done }
    }

    /// `true` if this was the record it waited for.
    fn take(&mut self, message: &rdkafka::message::BorrowedMessage<'_>) -> bool {
        let offset = message.offset() as u64;
        if self.done || offset < self.ask.stretch.from {
            return false;
        }
        if offset < self.ask.stretch.to {
            record::push(&mut self.scanned.arena, message, record::stamp(message));
        } else {
            self.scanned.beyond = Some(offset);
        }
        self.done = offset + 1 >= self.ask.stretch.to;
        self.done
    }

    fn finish(self) {
        let _ = self.ask.reply.send(Ok(self.scanned));
    }
}
