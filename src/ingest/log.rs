//! The port [`UsageLog`]: what a shard reads, and in which order.
//!
//! A shard reads five logs at once. They come as one stream, merged by append time, in batches that borrow nothing:
//! the bytes of many records lie in one [`Arena`], which is handed over whole, so a record costs no allocation of
//! its own. What the bytes mean is none of this module's business.

pub mod merge;

use crate::persist::ShardId;
use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::Hasher;
use std::ops::{Index, IndexMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// A log that a shard reads. The order is the one that settles ties of append time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogName {
    /// Configuration: one partition that all shards read, each from its own position.
    Catalog,
    /// Invoice numbers, asked for and given; the shard's own partition of an internal topic.
    Numbers,
    /// Actions on the invoices of the shard's customers.
    Commands,
    /// Usage that was written to another shard's partition and sent on.
    Forwarded,
    /// Usage.
    Usage,
}

impl LogName {
    pub const ALL: [LogName; 5] =
        [LogName::Catalog, LogName::Numbers, LogName::Commands, LogName::Forwarded, LogName::Usage];

    /// The word for it in messages and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            LogName::Catalog => "catalog",
            LogName::Numbers => "numbers",
            LogName::Commands => "commands",
            LogName::Forwarded => "forwarded",
            LogName::Usage => "usage",
        }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place of a record in its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    pub fn next(self) -> Offset {
        Offset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of a thing for each log of a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerLog<T>(pub [T; 5]);

impl<T> PerLog<T> {
    pub fn from_fn(mut make: impl FnMut(LogName) -> T) -> PerLog<T> {
        PerLog(LogName::ALL.map(&mut make))
    }

    pub fn iter(&self) -> impl Iterator<Item = (LogName, &T)> {
        LogName::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<LogName> for PerLog<T> {
    type Output = T;
    fn index(&self, log: LogName) -> &T {
        &self.0[log as usize]
    }
}

impl<T> IndexMut<LogName> for PerLog<T> {
    fn index_mut(&mut self, log: LogName) -> &mut T {
        &mut self.0[log as usize]
    }
}

/// Offsets of the next records to read.
pub type Positions = PerLog<Offset>;

/// Opens shards for reading.
pub trait UsageLog: Send + Sync {
    type Feed: Feed;

    /// Starts to read a shard's logs, each exactly at its offset, or at its beginning for `None`.
    ///
    /// `Ok` means that every offset lies within its log. On an error nothing is read and nothing need be closed.
    /// Opening a shard that is open takes it from its former feed, which then ends with `Unavailable`.
    fn open(
        &self,
        shard: ShardId,
        from: PerLog<Option<Offset>>,
    ) -> impl Future<Output = Result<Self::Feed, LogError>> + Send;
}

/// The open logs of one shard. Dropping it closes them.
pub trait Feed: Send {
    /// What there is to read, in order. It comes at once if there is something, else within `limits.wait_max`, then
    /// with no records.
    ///
    /// Every record of every log is handed over exactly once, in the order of its log, with none left out, until an
    /// error comes. That is the last thing that comes: drop the feed, act on the error, open again where the last batch
    /// ended. While the brokers are away there is no error but silence: batches without records. Dropping the future
    /// loses nothing.
    fn next(&mut self, limits: Limits) -> impl Future<Output = Result<Batch, LogError>> + Send;

    /// The ends of all five logs, asked for after this call began. Records of transactions that are still open count.
    ///
    /// Once [`Batch::read_to`] has reached them, everything that was in the logs when this was called has been handed
    /// over. `Unavailable` means that nobody answered in time: then the time of the shard can't move either.
    fn ends(&mut self) -> impl Future<Output = Result<Positions, LogError>> + Send;

    /// The [`Record::fingerprint`]s of the records at these offsets, as far as there are (still) records.
    ///
    /// Whoever keeps the fingerprint of the last record applied can tell a log that was made anew, or lost its tail
    /// and grew again, from the one that was read.
    fn fingerprints(
        &mut self,
        of: PerLog<Option<Offset>>,
    ) -> impl Future<Output = Result<PerLog<Option<u64>>, LogError>> + Send;
}

/// How much a batch may hold, and how long an empty one may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub records_max: usize,
    /// Counts keys, values and headers. A record that is larger all by itself comes alone.
    pub bytes_max: usize,
    pub wait_max: Duration,
}

/// Records in the order in which a shard takes them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub runs: Vec<Run>,
    /// Everything below has been handed over, this batch included, or holds no record that will ever come:
    /// compaction, transaction markers and aborted transactions leave such places.
    pub read_to: Positions,
    /// So many of the records came so late that others, which belong behind them, had been handed over already.
    pub out_of_turn: usize,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub fn records_count(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.runs.iter().flat_map(Run::records)
    }
}

/// Consecutive records of one log that come before the next record of any other.
#[derive(Clone, Debug)]
pub struct Run {
    pub log: LogName,
    arena: Arc<Arena>,
    from: u32,
    to: u32,
}

impl Run {
    /// All records of an arena.
    pub fn whole(log: LogName, arena: Arc<Arena>) -> Run {
        let to = arena.entries.len() as u32;
        Run { log, arena, from: 0, to }
    }

    pub fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.arena.start_of(self.to) - self.arena.start_of(self.from)
    }

    /// What it weighs in memory: its bytes and its share of the index.
    pub fn weight_bytes(&self) -> usize {
        self.bytes() + self.len() * size_of::<Entry>()
    }

    /// Whether a record in the arena bears the time its producer gave it, not the time it was appended.
    pub fn has_producer_time(&self) -> bool {
        self.arena.producer_time
    }

    pub fn records(&self) -> impl Iterator<Item = Record<'_>> + Clone {
        (self.from..self.to).map(|n| self.arena.record(self.log, n))
    }

    /// The record at that place among [`Run::len`].
    pub fn record(&self, place: usize) -> Record<'_> {
        assert!(place < self.len(), "a run has so many records");
        self.arena.record(self.log, self.from + place as u32)
    }

    pub fn first(&self) -> Option<Record<'_>> {
        (!self.is_empty()).then(|| self.arena.record(self.log, self.from))
    }

    pub fn last(&self) -> Option<Record<'_>> {
        (!self.is_empty()).then(|| self.arena.record(self.log, self.to - 1))
    }

    /// Cuts off the first `count` records.
    pub fn split_front(&mut self, count: usize) -> Run {
        let middle = self.from + count.min(self.len()) as u32;
        let front = Run { to: middle, ..self.clone() };
        self.from = middle;
        front
    }
}

/// One record, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub log: LogName,
    pub offset: Offset,
    /// When it was appended, by the broker's clock, in milliseconds since 1970; see [`Run::has_producer_time`].
    pub appended_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl Record<'_> {
    /// Of key, value and headers.
    pub fn bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len) + self.headers.0.len()
    }

    /// The same for the same key, value and headers, whenever and wherever they were written.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(0x6772_6163_656c_696e, 0x6520_7265_636f_7264);
        for part in [self.key, self.value, Some(self.headers.0)] {
            hasher.write_u64(part.map_or(u64::MAX, |p| p.len() as u64));
            hasher.write(part.unwrap_or_default());
        }
        hasher.finish()
    }
}

/// The headers of a record, in their order. Names are bytes: whoever writes to a topic may put anything there.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first header of this name.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.into_iter().find(|(key, _)| *key == name.as_bytes()).and_then(|(_, value)| value)
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);
    type IntoIter = HeadersIter<'a>;
    fn into_iter(self) -> HeadersIter<'a> {
        HeadersIter(self.0)
    }
}

pub struct HeadersIter<'a>(&'a [u8]);

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.part()?.expect("a header has a name");
        let value = self.part().expect("a header's value follows its name");
        Some((key, value))
    }
}

impl<'a> HeadersIter<'a> {
    fn part(&mut self) -> Option<Option<&'a [u8]>> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len);
        let (part, rest) = if len == NONE { (None, rest) } else { cut(rest, len as usize) };
        self.0 = rest;
        Some(part)
    }
}

fn cut(bytes: &[u8], len: usize) -> (Option<&[u8]>, &[u8]) {
    let (part, rest) = bytes.split_at(len);
    (Some(part), rest)
}

/// The bytes of many records of one log, one after the other: key, value, headers.
#[derive(Debug, Default)]
pub struct Arena {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    producer_time: bool,
    /// Where its memory goes when it has been read.
    returns_to: Weak<Spares>,
}

/// The memory of arenas that were read, to be filled again: to get fresh memory costs more than to fill it.
#[derive(Debug)]
pub struct Spares {
    kept: Mutex<Vec<(Vec<u8>, Vec<Entry>)>>,
    count_max: usize,
    bytes_max: usize,
}

impl Spares {
    /// Keeps so many, but none that has room for more than so many bytes.
    pub fn new(count_max: usize, bytes_max: usize) -> Arc<Spares> {
        Arc::new(Spares { kept: Mutex::default(), count_max, bytes_max })
    }

    /// An empty arena that has been full before, if there is one.
    pub fn take(self: &Arc<Spares>) -> Arena {
        let (bytes, entries) = self.kept().pop().unwrap_or_default();
        Arena { bytes, entries, producer_time: false, returns_to: Arc::downgrade(self) }
    }

    /// Gives one of them up. `false` if there was none.
    pub fn shed(&self) -> bool {
        self.kept().pop().is_some()
    }

    fn put(&self, mut bytes: Vec<u8>, mut entries: Vec<Entry>) {
        let mut kept = self.kept();
        if kept.len() < self.count_max && bytes.capacity() <= self.bytes_max {
            bytes.clear();
            entries.clear();
            kept.push((bytes, entries));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Vec<u8>, Vec<Entry>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(spares) = self.returns_to.upgrade() {
            spares.put(std::mem::take(&mut self.bytes), std::mem::take(&mut self.entries));
        }
    }
}

/// Where a record lies in its arena: 32 bytes, so that two fit in a cache line.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    appended_ms: i64,
    start: u32,
    key_len: u32,
    value_len: u32,
    headers_len: u32,
}

/// Stands for the length of what isn't there; an empty value is not the same as none.
const NONE: u32 = u32::MAX;

/// An arena never holds more, so that 32 bits reach everywhere in it; Kafka's own limit for a record is half of it.
const ARENA_BYTES_MAX: usize = u32::MAX as usize - 1;

/// What a record's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// The broker appended it then.
    Appended { ms: i64 },
    /// Its producer says so; `None` if it says nothing.
    Produced { ms: Option<i64> },
}

impl Arena {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for records that are about to come.
    pub fn reserve(&mut self, bytes: usize, records: usize) {
        self.bytes.reserve(bytes);
        self.entries.reserve(records);
    }

    /// Adds a record. Offsets must grow.
    pub fn push<'a>(
        &mut self,
        offset: Offset,
        stamp: Stamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) {
        let start = self.bytes.len();
        for part in [key, value].into_iter().flatten() {
            self.bytes.extend_from_slice(part);
        }
        let headers_start = self.bytes.len();
        for (name, value) in headers {
            put(&mut self.bytes, Some(name));
            put(&mut self.bytes, value);
        }
        assert!(self.bytes.len() <= ARENA_BYTES_MAX, "an arena is handed over long before 4 GB");
        let appended_ms = self.time(stamp);
        self.entries.push(Entry {
            offset: offset.0,
            appended_ms,
            start: start as u32,
            key_len: key.map_or(NONE, |k| k.len() as u32),
            value_len: value.map_or(NONE, |v| v.len() as u32),
            headers_len: (self.bytes.len() - headers_start) as u32,
        });
    }

    fn time(&mut self, stamp: Stamp) -> i64 {
        match stamp {
            Stamp::Appended { ms } => ms,
            Stamp::Produced { ms } => {
                self.producer_time = true;
                ms.unwrap_or(0)
            }
        }
    }

    fn start_of(&self, n: u32) -> usize {
        self.entries.get(n as usize).map_or(self.bytes.len(), |e| e.start as usize)
    }

    fn record(&self, log: LogName, n: u32) -> Record<'_> {
        let entry = &self.entries[n as usize];
        let rest = &self.bytes[entry.start as usize..];
        let (key, rest) =
            if entry.key_len == NONE { (None, rest) } else { cut(rest, entry.key_len as usize) };
        let (value, rest) =
            if entry.value_len == NONE { (None, rest) } else { cut(rest, entry.value_len as usize) };
        Record {
            log,
            offset: Offset(entry.offset),
            appended_ms: entry.appended_ms,
            key,
            value,
            headers: Headers(&rest[..entry.headers_len as usize]),
        }
    }
}

fn put(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    bytes.extend_from_slice(&part.map_or(NONE, |p| p.len() as u32).to_le_bytes());
    bytes.extend_from_slice(part.unwrap_or_default());
}

/// What went wrong with a log, named for what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogError {
    /// Nobody answers, or nobody could say which log it was: open again after a pause.
    Unavailable(String),
    /// The log doesn't reach to that offset: stop and call someone. Below `begin`, records were deleted unread; above
    /// `end`, the log lost its tail or was made anew.
    OutOfRange { log: LogName, wanted: Offset, begin: Offset, end: Offset },
    /// The topic or the partition isn't there: stop and call someone.
    Gone { log: LogName, why: String },
    /// The brokers don't let us read it: stop and call someone, try again now and then.
    Denied { log: LogName, why: String },
    /// There is something in a log that can't be read (a wrong checksum, an unknown compression): stop and call someone.
    Broken { why: String },
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Unavailable(why) => write!(f, "the log does not answer: {why}"),
            LogError::OutOfRange { log, wanted, begin, end } if wanted < begin => {
                write!(
                    f,
                    "the {log} log begins at {begin}, but {wanted} has not been read yet: records were deleted unread"
                )
            }
            LogError::OutOfRange { log, wanted, end, .. } => {
                write!(
                    f,
                    "the {log} log ends at {end}, but was read up to {wanted}: it lost its tail or was made anew"
                )
            }
            LogError::Gone { log, why } => write!(f, "the {log} log is not there: {why}"),
            LogError::Denied { log, why } => write!(f, "the {log} log may not be read: {why}"),
            LogError::Broken { why } => write!(f, "a log holds something unreadable: {why}"),
        }
    }
}

impl std::error::Error for LogError {}
