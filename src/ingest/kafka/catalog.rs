//! The catalog's one partition, read once for all shards of the process.
//!
//! A client reads a partition at one position. So one thread follows the catalog and keeps the last stretch of it, the
//! window, in memory; every shard takes from there what lies at its own position. A shard that is behind the window
//! makes the thread go back; the others then wait until it has come to them again.

use super::bell::Bell;
use super::client::{Plain, Trouble, is_transient};
use super::probe::Place;
use super::record;
use super::settings::{Arrival, KafkaSettings};
use super::timer::{Duration, Instant, now, since};
use super::{Clock, arrival_stamp};
use crate::ingest::log::{Arena, LogError, LogName, Offset, Run};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use tokio::sync::Notify;

/// The window and those who look through it.
pub(crate) struct Catalog {
    window: Mutex<Window>,
    /// Wakes the thread that follows the catalog.
    bell: Bell,
}

#[derive(Default)]
struct Window {
    /// Whether the partition is being read.
    active: bool,
    /// What was read from `begin` on, without gaps but those of the log.
    segments: VecDeque<Run>,
    begin: u64,
    bytes: usize,
    viewers: HashMap<u64, Viewer>,
    next_viewer: u64,
    /// Where somebody needs it to begin.
    wanted: Option<u64>,
}

struct Viewer {
    next: u64,
    bell: Arc<Notify>,
    /// When it last asked: one that has stopped asking holds nobody up.
    asked_at: Instant,
    failed: Option<LogError>,
}

/// A shard's place in the catalog; dropping it gives the place up.
pub(crate) struct View {
    catalog: Arc<Catalog>,
    id: u64,
}

/// How long a viewer that hasn't asked still counts as reading.
const READING: Duration = Duration::from_secs(1);

/// A fetch that finds nothing stays so many times as long as others: only one log is read here, and another place of it is
/// seldom gone to.
const QUIET_FETCHES: u32 = 4;
const FETCH_WAIT_MS_MAX: u32 = 10_000;

/// How often the client is listened to where it doesn't ring.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// A segment is handed on at this size, or when nothing more is there.
const SEGMENT_BYTES: usize = 256 << 10;

impl Catalog {
    pub(crate) fn start(settings: &KafkaSettings, place: Place, clock: Clock) -> KafkaResult<Arc<Catalog>> {
        let bell = Bell::default();
        let catalog = Arc::new(Catalog { window: Mutex::default(), bell: bell.clone() });
        let wait_ms = (settings.fetch_wait_ms * QUIET_FETCHES).min(FETCH_WAIT_MS_MAX);
        let mut config = settings.consumer("catalog");
        config.set("fetch.wait.max.ms", wait_ms.to_string());
        let mut consumer = config.create_with_context(Plain::new("catalog"))?;
        bell.hang_on(&mut consumer);
        let follower = Follower {
            bell,
            consumer,
            place,
            clock,
            arrival: settings.arrival,
            bytes_max: settings.catalog_window_bytes_max,
            arena: Arena::default(),
            newest_ms: i64::MIN,
        };
        let weak = Arc::downgrade(&catalog);
        let thread = thread::Builder::new().name("catalog".into());
        thread.spawn(move || follower.run(&weak)).expect("a process can start a thread");
        Ok(catalog)
    }

    /// Takes a place at `from`. The bell rings whenever there is more.
    pub(crate) fn view(self: &Arc<Catalog>, from: Offset, bell: Arc<Notify>) -> View {
        let mut window = self.window();
        let id = window.next_viewer;
        window.next_viewer += 1;
        window.viewers.insert(id, Viewer { next: from.0, bell, asked_at: now(), failed: None });
        window.want(from.0);
        drop(window);
        self.bell.ring();
        View { catalog: self.clone(), id }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// What there is from `from` on, at least a segment if there is one, at most about `bytes_max`.
    pub(crate) fn take(&self, from: Offset, bytes_max: usize) -> Result<Vec<Run>, LogError> {
        let mut window = self.catalog.window();
        let viewer = window.viewers.get_mut(&self.id).expect("a view has its viewer");
        if let Some(error) = &viewer.failed {
            return Err(error.clone());
        }
        viewer.next = from.0;
        viewer.asked_at = now();
        if from.0 < window.begin {
            window.want(from.0);
            drop(window);
            self.catalog.bell.ring();
            return Ok(Vec::new());
        }
        Ok(window.from(from.0, bytes_max))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.catalog.window().viewers.remove(&self.id);
        self.catalog.bell.ring();
    }
}

impl Window {
    fn want(&mut self, from: u64) {
        if !self.active || from < self.begin {
            self.wanted = Some(self.wanted.map_or(from, |wanted| wanted.min(from)));
        }
    }

    fn from(&self, from: u64, bytes_max: usize) -> Vec<Run> {
        let ahead = self.segments.partition_point(|run| run.last().is_none_or(|last| last.offset.0 < from));
        let mut bytes = 0;
        let mut runs = Vec::new();
        for run in self.segments.range(ahead..) {
            if bytes >= bytes_max {
                break;
            }
            let mut run = run.clone();
            run.split_front(run.records().take_while(|record| record.offset.0 < from).count());
            bytes += run.weight_bytes();
            runs.push(run);
        }
        runs
    }

    /// Drops the oldest segments until there is room. `false` if someone is still reading them.
    fn make_room(&mut self, bytes_max: usize) -> bool {
        while self.bytes > bytes_max {
            let Some(end) = self.segments.front().and_then(Run::last).map(|last| last.offset.0 + 1) else {
                break;
            };
            if self.viewers.values().any(|viewer| viewer.next < end && since(viewer.asked_at) < READING) {
                return false;
            }
            let oldest = self.segments.pop_front().expect("there is a first segment");
            self.bytes -= oldest.weight_bytes();
            self.begin = end;
        }
        true
    }

    /// Empties it; it is filled from `begin` on, if at all.
    fn restart(&mut self, begin: Option<u64>) {
        self.segments.clear();
        (self.active, self.begin, self.bytes) = (begin.is_some(), begin.unwrap_or(0), 0);
    }

    fn ring(&self) {
        self.viewers.values().for_each(|viewer| viewer.bell.notify_one());
    }
}

/// The thread that reads.
struct Follower {
    bell: Bell,
    consumer: BaseConsumer<Plain>,
    place: Place,
    clock: Clock,
    arrival: Arrival,
    bytes_max: usize,
    arena: Arena,
    newest_ms: i64,
}

impl Follower {
    fn run(mut self, catalog: &Weak<Catalog>) {
        self.bell.is_heard_here();
        while let Some(catalog) = catalog.upgrade() {
            let mut window = catalog.window();
            if window.viewers.is_empty() && window.active {
                window.restart(None);
                self.stop();
            }
            if let Some(from) = window.wanted.take() {
                window.restart(Some(from));
                drop(window);
                self.stop();
                if let Err(error) = self.begin(from) {
                    self.fail(&catalog, &error);
                }
            } else if !window.active {
                drop(window);
                drop(catalog);
                self.wait();
            } else if window.make_room(self.bytes_max) {
                drop(window);
                if !self.read(&catalog) {
                    drop(catalog);
                    self.bell.wait(LISTEN_EVERY);
                }
            } else {
                drop(window);
                drop(catalog);
                self.bell.wait(Duration::from_millis(2));
            }
        }
    }

    /// Waits for someone to read for. The client is still listened to, or what it has to say would pile up.
    fn wait(&self) {
        self.bell.wait(LISTEN_EVERY);
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    fn begin(&self, from: u64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        let partition = self.place.partition as i32;
        list.add_partition_offset(&self.place.topic, partition, rdkafka::Offset::Offset(from as i64))?;
        self.consumer.assign(&list)
    }

    fn stop(&mut self) {
        let _ = self.consumer.unassign();
        self.arena = Arena::default();
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// Reads until nothing is there, or a segment is full. `true` if there may be more.
    fn read(&mut self, catalog: &Catalog) -> bool {
        let mut is_more = true;
        while is_more && self.arena.bytes() < SEGMENT_BYTES {
            match self.consumer.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    let stamp = arrival_stamp(&message, self.arrival, &self.clock, &mut self.newest_ms);
                    record::push(&mut self.arena, &message, stamp);
                }
                Some(Err(error)) if error.rdkafka_error_code().is_some_and(is_transient) => {}
                Some(Err(error)) => {
                    self.fail(catalog, &error);
                    break;
                }
                None => is_more = false,
            }
        }
        self.hand_on(catalog);
        is_more
    }

    fn hand_on(&mut self, catalog: &Catalog) {
        if self.arena.is_empty() {
            return;
        }
        let run = Run::whole(LogName::Catalog, Arc::new(std::mem::take(&mut self.arena)));
        let mut window = catalog.window();
        window.bytes += run.weight_bytes();
        window.segments.push_back(run);
        window.ring();
    }

    /// Ends every view. An offset out of range is told apart when a shard opens the catalog again.
    fn fail(&mut self, catalog: &Catalog, error: &KafkaError) {
        self.hand_on(catalog);
        self.stop();
        let error = Trouble::of(error).in_log(LogName::Catalog);
        let mut window = catalog.window();
        window.restart(None);
        window.viewers.values_mut().for_each(|viewer| viewer.failed = Some(error.clone()));
        window.ring();
    }
}
