//! The thread that reads the logs that every shard has for itself: usage, forwarded usage, commands, numbers.
//!
//! One client, assigned by hand, one thread that polls it and sorts what comes by shard and log into arenas. An arena is
//! handed on when it is full or when nothing more is there; per record nothing is allocated or locked.

use super::bell::Bell;
use super::client::{Plain, Trouble, is_transient};
use super::inbox::Inbox;
use super::probe::{Bounds, Place, Probe, Stretch};
use super::settings::{Arrival, KafkaSettings};
use super::timer::{Duration, now, since};
use super::{Clock, arrival_stamp, record};
use crate::ingest::log::{Arena, LogError, LogName, PerLog, Positions, Spares};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::sync::oneshot;
use tracing::warn;

/// The logs this thread reads.
pub(crate) const OWN_LOGS: [LogName; 4] =
    [LogName::Usage, LogName::Forwarded, LogName::Commands, LogName::Numbers];

/// What the thread is told.
pub(crate) enum Order {
    Open { shard: u32, inbox: Arc<Inbox>, from: Positions, done: oneshot::Sender<Result<(), LogError>> },
    Close { shard: u32, inbox: Arc<Inbox> },
    Resume { shard: u32, inbox: Arc<Inbox>, log: LogName },
}

/// Tells the thread.
#[derive(Clone)]
pub(crate) struct Orders {
    to: mpsc::Sender<Order>,
    bell: Bell,
}

impl Orders {
    /// Nobody does it any more where the thread has ended.
    pub(crate) fn send(&self, order: Order) {
        let _ = self.to.send(order);
        self.bell.ring();
    }
}

pub(crate) struct Reader {
    bell: Bell,
    consumer: Arc<BaseConsumer<Plain>>,
    topics: PerLog<Arc<str>>,
    clock: Clock,
    arrival: Arrival,
    bytes_max: usize,
    usage_headers: bool,
    slots: Vec<Option<Slot>>,
    open_count: usize,
    /// Arenas that something is in.
    dirty: Vec<(u32, LogName)>,
    spares: Arc<Spares>,
    newest_ms: i64,
    latest: Probe,
    stable: Probe,
}

/// A shard that is open.
struct Slot {
    inbox: Arc<Inbox>,
    streams: PerLog<Stream>,
}

/// One log of a shard.
#[derive(Default)]
struct Stream {
    next: u64,
    arena: Arena,
    /// What the last arena held: the next one is made as large.
    last_bytes: usize,
    last_records: usize,
}

/// An arena is handed on at this size.
const ARENA_BYTES: usize = 256 << 10;

/// How many read arenas are kept to be filled again.
const SPARES_MAX: usize = 512;

/// How long a record may lie in an arena that isn't full while more is coming.
const LINGER: Duration = Duration::from_millis(1);

/// The same where the shard has something to take already.
const LINGER_BEHIND: Duration = Duration::from_millis(5);

/// How often the memory of a spare arena goes while nothing comes.
const SHED_EVERY: Duration = Duration::from_millis(5);

/// How often a client is listened to that doesn't ring.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// How many messages are taken between looks at the clock and at the orders.
const BURST: usize = 512;

/// The least that a log of a shard may have read ahead.
const LOG_BYTES_MIN: usize = 1 << 20;

impl Reader {
    pub(crate) fn start(
        settings: &KafkaSettings,
        topics: PerLog<Arc<str>>,
        clock: Clock,
        latest: Probe,
        stable: Probe,
    ) -> KafkaResult<Orders> {
        let bell = Bell::default();
        let mut consumer = settings.consumer("reader").create_with_context(Plain::new("reader"))?;
        bell.hang_on(&mut consumer);
        let reader = Reader {
            bell: bell.clone(),
            consumer: Arc::new(consumer),
            topics,
            clock,
            arrival: settings.arrival,
            bytes_max: settings.read_ahead_bytes_max,
            usage_headers: settings.usage_headers,
            slots: Vec::new(),
            open_count: 0,
            dirty: Vec::new(),
            spares: Spares::new(SPARES_MAX, 2 * ARENA_BYTES),
            newest_ms: i64::MIN,
            latest,
            stable,
        };
        let (to, inbound) = mpsc::channel();
        thread::Builder::new()
            .name("reader".into())
            .spawn(move || reader.run(&inbound))
            .expect("a process can start a thread");
        Ok(Orders { to, bell })
    }

    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        self.bell.is_heard_here();
        let (mut looked_at, mut flushed_at) = (now(), now());
        while self.obey(orders) {
            let idle = self.read_burst();
            if idle || since(flushed_at) >= LINGER_BEHIND {
                self.flush_all();
                (looked_at, flushed_at) = (now(), now());
            } else if since(looked_at) >= LINGER {
                self.flush_wanted();
                looked_at = now();
            }
            if idle {
                self.bell.wait(if self.spares.shed() { SHED_EVERY } else { LISTEN_EVERY });
            }
        }
    }

    /// Does what was ordered. `false` when nobody is left to order anything.
    fn obey(&mut self, orders: &mpsc::Receiver<Order>) -> bool {
        loop {
            let order = match orders.try_recv() {
                Ok(order) => order,
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            };
            match order {
                Order::Open { shard, inbox, from, done } => {
                    let _ = done.send(self.open(shard, inbox, from));
                }
                Order::Close { shard, inbox } => self.close(shard, &inbox),
                Order::Resume { shard, inbox, log } => self.resume(shard, &inbox, log),
            }
        }
    }

    /// Takes what is there, up to a burst. `true` if that was all.
    fn read_burst(&mut self) -> bool {
        let mut taken = 0;
        let consumer = self.consumer.clone();
        let trouble = loop {
            match consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => self.sort(&message),
                Some(Err(error)) => break Some(error),
                None => return true,
            }
            taken += 1;
            if taken == BURST {
                break None;
            }
        };
        if let Some(error) = trouble {
            self.meet(&error);
        }
        false
    }

    fn sort(&mut self, message: &BorrowedMessage<'_>) {
        let shard = message.partition() as u32;
        let Some(Some(slot)) = self.slots.get_mut(shard as usize) else { return };
        let topic = message.topic();
        let Some(log) = OWN_LOGS.into_iter().find(|log| *self.topics[*log] == *topic) else { return };
        let stream = &mut slot.streams[log];
        let offset = message.offset() as u64;
        if offset < stream.next {
            return;
        }
        stream.next = offset + 1;
        if stream.arena.is_empty() {
            // Memory for many is for many: what is read ahead is counted by what it holds.
            if stream.last_bytes >= ARENA_BYTES / 2 {
                stream.arena = self.spares.take();
            }
            stream.arena.reserve(stream.last_bytes, stream.last_records);
            self.dirty.push((shard, log));
        }
        let stamp = arrival_stamp(message, self.arrival, &self.clock, &mut self.newest_ms);
        if self.usage_headers || log != LogName::Usage {
            record::push(&mut stream.arena, message, stamp);
        } else {
            record::push_bare(&mut stream.arena, message, stamp);
        }
        if stream.arena.bytes() >= ARENA_BYTES {
            self.flush(shard, log);
        }
    }

    /// Hands on what shards would otherwise wait for.
    fn flush_wanted(&mut self) {
        let (wanted, rest) = std::mem::take(&mut self.dirty).into_iter().partition(|(shard, _)| {
            let slot = self.slots.get(*shard as usize).and_then(Option::as_ref);
            slot.is_none_or(|slot| slot.inbox.is_empty())
        });
        self.dirty = rest;
        let wanted: Vec<(u32, LogName)> = wanted;
        wanted.into_iter().for_each(|(shard, log)| self.flush(shard, log));
    }

    fn flush_all(&mut self) {
        for (shard, log) in std::mem::take(&mut self.dirty) {
            self.flush(shard, log);
        }
    }

    fn flush(&mut self, shard: u32, log: LogName) {
        let bytes_max = (self.bytes_max / self.open_count.max(1)).max(LOG_BYTES_MIN);
        let Some(Some(slot)) = self.slots.get_mut(shard as usize) else { return };
        let stream = &mut slot.streams[log];
        if stream.arena.is_empty() {
            return;
        }
        let arena = std::mem::take(&mut stream.arena);
        (stream.last_bytes, stream.last_records) = (arena.bytes(), arena.len());
        if slot.inbox.put(log, arena, bytes_max) {
            // The client throws away what it has fetched of the log, and fetches it again when it is resumed.
            self.pause(shard, log);
        }
    }

    fn open(&mut self, shard: u32, inbox: Arc<Inbox>, from: Positions) -> Result<(), LogError> {
        if self.slots.len() <= shard as usize {
            self.slots.resize_with(shard as usize + 1, || None);
        }
        if let Some(former) = self.slots[shard as usize].take() {
            former.inbox.fail(LogError::Unavailable("the shard was opened again".into()));
            self.unassign(shard);
        }
        let list = self.list(shard, OWN_LOGS, |log| Offset::Offset(from[log].0 as i64));
        let assigned = list.and_then(|list| self.consumer.incremental_assign(&list));
        assigned.map_err(|error| LogError::Unavailable(error.to_string()))?;
        let streams = PerLog::from_fn(|log| Stream { next: from[log].0, ..Stream::default() });
        self.slots[shard as usize] = Some(Slot { inbox, streams });
        self.open_count += 1;
        Ok(())
    }

    fn close(&mut self, shard: u32, inbox: &Arc<Inbox>) {
        if self.is_open(shard, inbox) {
            self.slots[shard as usize] = None;
            self.unassign(shard);
        }
    }

    fn unassign(&mut self, shard: u32) {
        self.open_count -= 1;
        let list = self.list(shard, OWN_LOGS, |_| Offset::Invalid);
        // A pause outlives the assignment: a log that is still paused wouldn't be read when its shard is opened again.
        let unassign =
            |list| self.consumer.resume(&list).and_then(|()| self.consumer.incremental_unassign(&list));
        if let Err(error) = list.and_then(unassign) {
            warn!(shard, %error, "Could not stop reading shard.");
        }
    }

    fn pause(&mut self, shard: u32, log: LogName) {
        let list = self.list(shard, [log], |_| Offset::Invalid);
        if let Err(error) = list.and_then(|list| self.consumer.pause(&list)) {
            warn!(shard, %log, %error, "Could not pause log.");
        }
    }

    fn resume(&mut self, shard: u32, inbox: &Arc<Inbox>, log: LogName) {
        if !self.is_open(shard, inbox) {
            return;
        }
        let list = self.list(shard, [log], |_| Offset::Invalid);
        if let Err(error) = list.and_then(|list| self.consumer.resume(&list)) {
            inbox.fail(LogError::Unavailable(format!("{log}: could not be resumed: {error}")));
        }
    }

    fn is_open(&self, shard: u32, inbox: &Arc<Inbox>) -> bool {
        self.slots
            .get(shard as usize)
            .is_some_and(|slot| slot.as_ref().is_some_and(|s| Arc::ptr_eq(&s.inbox, inbox)))
    }

    fn list<const N: usize>(
        &self,
        shard: u32,
        logs: [LogName; N],
        at: impl Fn(LogName) -> Offset,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for log in logs {
            list.add_partition_offset(&self.topics[log], shard as i32, at(log))?;
        }
        Ok(list)
    }

    /// An error comes without the partition it is about, so somebody has to find out.
    fn meet(&mut self, error: &KafkaError) {
        if error.rdkafka_error_code().is_some_and(is_transient) {
            return;
        }
        self.flush_all();
        let open =
            self.slots.iter().enumerate().filter_map(|(shard, slot)| Some((shard as u32, slot.as_ref()?)));
        let suspects = open.flat_map(|(shard, slot)| {
            OWN_LOGS.map(|log| Suspect {
                place: Place { topic: self.topics[log].clone(), partition: shard },
                log,
                next: slot.streams[log].next,
                inbox: slot.inbox.clone(),
            })
        });
        let suspects: Vec<Suspect> = suspects.collect();
        // The client passes over what it can't read: nobody gets what comes behind it until it is known whose it is.
        suspects.iter().for_each(|suspect| suspect.inbox.freeze());
        let (latest, stable) = (self.latest.clone(), self.stable.clone());
        let error = error.clone();
        thread::Builder::new()
            .name("examiner".into())
            .spawn(move || examine(&latest, &stable, &suspects, &error))
            .expect("a process can start a thread");
    }
}

/// A log that an error may be about, as far as it had been read then.
struct Suspect {
    place: Place,
    log: LogName,
    next: u64,
    inbox: Arc<Inbox>,
}

/// Finds the logs that an error can be about, and ends their shards. If it is none of them any more, it ends them all:
/// one of them isn't being read, and opening it again is the only way to know which.
fn examine(latest: &Probe, stable: &Probe, suspects: &[Suspect], error: &KafkaError) {
    let trouble = Trouble::of(error);
    let verdicts = match trouble {
        Trouble::Broken(_) => suspects.iter().map(|suspect| unreadable(stable, suspect)).collect(),
        _ => out_of_bounds(latest, suspects),
    };
    let found = verdicts.iter().any(Option::is_some);
    warn!(%error, found, "A log can't be read.");
    for (suspect, verdict) in suspects.iter().zip(verdicts) {
        match verdict {
            Some(verdict) => suspect.inbox.fail(verdict),
            None if !found => {
                suspect.inbox.fail(LogError::Unavailable(format!("one of the logs: {trouble}")))
            }
            None => suspect.inbox.thaw(),
        }
    }
}

/// What can't be read stands where the log was read up to: the client passes the error on in its place.
fn unreadable(stable: &Probe, suspect: &Suspect) -> Option<LogError> {
    let stretch = Stretch { place: suspect.place.clone(), from: suspect.next, to: suspect.next + 1 };
    match stable.scan_blocking(stretch) {
        Ok(_) | Err(Trouble::Unavailable(_)) => None,
        Err(trouble) => Some(trouble.in_log(suspect.log)),
    }
}

fn out_of_bounds(latest: &Probe, suspects: &[Suspect]) -> Vec<Option<LogError>> {
    let places: Vec<Place> = suspects.iter().map(|suspect| suspect.place.clone()).collect();
    let found = latest.bounds_blocking(&places);
    let verdict = |(suspect, bounds): (&Suspect, Result<Bounds, Trouble>)| match bounds {
        Ok(bounds) => bounds.check(suspect.log, suspect.next).err(),
        Err(Trouble::Unavailable(_)) => None,
        Err(trouble) => Some(trouble.in_log(suspect.log)),
    };
    suspects.iter().zip(found).map(verdict).collect()
}
