//! The notice log in Kafka.
//!
//! One idempotent producer for the process, on a thread of its own. A record that has been given to it is never given up
//! for the time it takes: with a time limit a later record could get through where an earlier one has not, and the tail
//! of the topic would hide the loss. A record that brokers refuse ends the producer before anything behind it is sent
//! (`enable.gapless.guarantee`); the others' records that had not got through then go out by a new one.

use super::{Notice, NoticeError, NoticeLog, OUTBOX_HEADER, Published, SEQ_HEADER};
use crate::fail_points::point;
use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::client::{Journal, Reporting, Trouble};
use crate::ingest::kafka::probe::{Isolation, Place, Probe, Scanned, Stretch};
use crate::ingest::kafka::timer::{Duration, Instant, now, since};
use crate::ingest::log::{LogName, Run};
use crate::persist::ShardId;
use crate::shard::topics::NOTICE_BYTES_MAX;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, mpsc};
use std::thread;
use tokio::sync::oneshot;
use tracing::{info, warn};

/// Notices of all shards, to Kafka.
pub struct KafkaNotices {
    jobs: mpsc::Sender<Job>,
    topics: Vec<Arc<str>>,
    latest: Probe,
}

struct Job {
    notices: Arc<[Notice]>,
    reply: oneshot::Sender<Result<(), NoticeError>>,
}

/// So many records of a topic's tail are looked at first. If none of them has a number, more are.
const TAIL: u64 = 16;

impl KafkaNotices {
    /// Makes the clients. `topics` are those that [`NoticeLog::last`] looks at, whole. An error is about the settings.
    pub fn start(settings: &KafkaSettings, topics: &[String]) -> Result<KafkaNotices, String> {
        let start = || {
            let press = Press::new(settings)?;
            let (jobs, inbound) = mpsc::channel();
            let thread = thread::Builder::new().name("producer".into());
            thread.spawn(move || press.run(&inbound)).expect("a process can start a thread");
            Ok((jobs, Probe::start(settings, Isolation::Uncommitted)?))
        };
        let (jobs, latest) = start().map_err(|error: KafkaError| format!("kafka: {error}"))?;
        Ok(KafkaNotices { jobs, latest, topics: topics.iter().map(|topic| topic.as_str().into()).collect() })
    }

    /// The highest numbers in a tail that is made longer until there are some, or nothing is left.
    async fn numbers(&self, places: &[Place]) -> Vec<Result<Numbers, Trouble>> {
        let bounds = self.latest.bounds(places).await;
        let mut found: Vec<Result<Numbers, Trouble>> =
            bounds.iter().map(|b| b.clone().map(|_| Numbers::default())).collect();
        let mut reach = TAIL;
        loop {
            let wanted = (0..places.len()).filter(|n| matches!(&found[*n], Ok(numbers) if !numbers.done));
            let wanted: Vec<(usize, Stretch, bool)> = wanted
                .filter_map(|n| {
                    let bounds = bounds[n].as_ref().ok()?;
                    let from = bounds.begin.max(bounds.end.saturating_sub(reach));
                    let stretch = Stretch { place: places[n].clone(), from, to: bounds.end };
                    Some((n, stretch, from == bounds.begin))
                })
                .collect();
            if wanted.is_empty() {
                return found;
            }
            let scanned = self.latest.scan_all(wanted.iter().map(|(_, stretch, _)| stretch.clone())).await;
            for ((n, _, whole), scanned) in wanted.into_iter().zip(scanned) {
                found[n] = scanned.map(|scanned| Numbers::highest(scanned, whole));
            }
            reach *= 16;
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Numbers {
    seq: Option<u64>,
    outbox: Option<u64>,
    done: bool,
}

impl Numbers {
    fn highest(scanned: Scanned, whole: bool) -> Numbers {
        let run = Run::whole(LogName::Usage, Arc::new(scanned.arena));
        let mut numbers = Numbers::default();
        for record in run.records() {
            let number = |name| {
                record.headers.get(name).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
            };
            numbers.seq = numbers.seq.max(number(SEQ_HEADER));
            numbers.outbox = numbers.outbox.max(number(OUTBOX_HEADER));
        }
        numbers.done = whole || numbers.seq.is_some() || numbers.outbox.is_some();
        numbers
    }
}

impl NoticeLog for KafkaNotices {
    async fn last(&self, shard: ShardId) -> Result<Vec<Published>, NoticeError> {
        let places: Vec<Place> =
            self.topics.iter().map(|topic| Place { topic: topic.clone(), partition: shard.0 }).collect();
        let found = self.numbers(&places).await;
        let published = places.into_iter().zip(found).map(|(place, numbers)| match numbers {
            Ok(Numbers { seq, outbox, .. }) => Ok(Published { topic: place.topic, seq, outbox }),
            Err(Trouble::Unavailable(why)) => {
                Err(NoticeError::Unavailable(format!("{}: {why}", place.topic)))
            }
            Err(trouble) => Err(NoticeError::Refused {
                topic: place.topic.to_string(),
                partition: shard.0,
                why: trouble.to_string(),
            }),
        });
        published.collect()
    }

    async fn append(&self, notices: Arc<[Notice]>) -> Result<(), NoticeError> {
        if notices.is_empty() {
            return Ok(());
        }
        let (reply, outcome) = oneshot::channel();
        let _ = self.jobs.send(Job { notices, reply });
        outcome.await.unwrap_or_else(|_| Err(NoticeError::Unavailable("the sending thread has ended".into())))
    }
}

/// The thread that sends.
struct Press {
    config: ClientConfig,
    producer: BaseProducer<Reporting>,
    reports: Reports,
    /// What is being sent, in the order in which it came.
    works: BTreeMap<u64, Work>,
    next_work: u64,
    /// Partitions that refused a record lately: to try them again would end the producer for everybody.
    closed: HashMap<(Arc<str>, u32), Closed>,
}

struct Work {
    notices: Arc<[Notice]>,
    state: Vec<State>,
    /// Those before have been given to the producer.
    given: usize,
    refused: Option<NoticeError>,
    reply: oneshot::Sender<Result<(), NoticeError>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not given to the producer, or given back by it.
    Waiting,
    Given,
    Durable,
}

struct Closed {
    why: String,
    since: Instant,
    pause: Duration,
}

/// How long a partition that refused a record is left alone at first; it doubles up to a minute.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often the producer is listened to while records are under way, and while none are.
const SOON: Duration = Duration::from_millis(1);
const AT_REST: Duration = Duration::from_millis(200);

/// How long records under way may take when the producer has failed, or the process ends.
const DRAIN: Duration = Duration::from_secs(5);

impl Press {
    fn new(settings: &KafkaSettings) -> KafkaResult<Press> {
        let mut config = ClientConfig::new();
        config
            .set("linger.ms", "5")
            .set("compression.type", settings.compression())
            // Invoices are so much alike that more thoroughness saves little.
            .set("compression.level", "1")
            .set("message.max.bytes", NOTICE_BYTES_MAX.to_string())
            .set("queue.buffering.max.kbytes", "65536")
            .set("retry.backoff.max.ms", "1000")
            // A topic that isn't there is refused after so long: one that was just made takes a moment to show.
            .set("topic.metadata.propagation.max.ms", "10000");
        for (name, value) in settings.client("producer").config_map() {
            config.set(name, value);
        }
        config
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0");
        let (producer, reports) = make(&config)?;
        Ok(Press { config, producer, reports, works: BTreeMap::new(), next_work: 0, closed: HashMap::new() })
    }

    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        let mut open = true;
        let mut ends_at: Option<Instant> = None;
        while open || !self.works.is_empty() {
            open = open && self.accept(jobs);
            if !open && now() > *ends_at.get_or_insert_with(|| now() + DRAIN) {
                return;
            }
            self.give();
            self.listen(open);
            if let Some((code, why)) = self.producer.client().fatal_error() {
                self.renew(code, &why);
            }
            self.finish();
        }
    }

    /// Takes new work in, if some comes soon. `false` when there will be none any more.
    fn accept(&mut self, jobs: &mpsc::Receiver<Job>) -> bool {
        match jobs.recv_timeout(if self.works.is_empty() { AT_REST } else { SOON }) {
            Ok(job) => self.begin(job),
            Err(mpsc::RecvTimeoutError::Timeout) => return true,
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        }
        loop {
            match jobs.try_recv() {
                Ok(job) => self.begin(job),
                Err(mpsc::TryRecvError::Empty) => return true,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Takes what the producer reports. It isn't waited for there: the client's library spins through the last
    /// millisecond of any wait for a producer.
    fn listen(&mut self, open: bool) {
        self.producer.poll(if open { Duration::ZERO } else { SOON });
        while self.hear() {
            self.producer.poll(Duration::ZERO);
        }
    }

    fn begin(&mut self, Job { notices, reply }: Job) {
        self.closed.retain(|_, closed| since(closed.since) < closed.pause * 2);
        let shut = |notice: &Notice| {
            let closed = self.closed.get(&(notice.topic.clone(), notice.partition))?;
            (since(closed.since) < closed.pause).then(|| refusal(notice, &closed.why))
        };
        let refused = if self.closed.is_empty() { None } else { notices.iter().find_map(shut) };
        let state = vec![State::Waiting; notices.len()];
        self.works.insert(self.next_work, Work { notices, state, given: 0, refused, reply });
        self.next_work += 1;
    }

    /// Gives the producer what it has room for.
    fn give(&mut self) {
        for (number, work) in &mut self.works {
            while work.refused.is_none() && work.given < work.notices.len() {
                let n = work.given;
                if work.state[n] == State::Waiting {
                    match self.producer.send(record(&work.notices[n], (*number, n))) {
                        Ok(()) => {
                            work.state[n] = State::Given;
                            point(if work.notices[n].topic.ends_with(".rejected") { "K27" } else { "K19" });
                        }
                        Err((KafkaError::MessageProduction(Code::QueueFull | Code::Fatal), _)) => return,
                        Err((error, _)) => work.refused = Some(refusal(&work.notices[n], &error.to_string())),
                    }
                }
                work.given += usize::from(work.refused.is_none());
            }
        }
    }

    /// Says whether there was something to hear.
    fn hear(&mut self) -> bool {
        let mut has_heard = false;
        for (opaque, outcome) in self.reports.try_iter() {
            has_heard = true;
            let (number, n) = unpack(opaque);
            let Some(work) = self.works.get_mut(&number) else { continue };
            match outcome {
                Ok(()) if self.closed.is_empty() => work.state[n] = State::Durable,
                Ok(()) => {
                    work.state[n] = State::Durable;
                    self.closed.remove(&(work.notices[n].topic.clone(), work.notices[n].partition));
                }
                Err(code) => {
                    work.state[n] = State::Waiting;
                    if !given_back(code) {
                        work.refused.get_or_insert_with(|| refusal(&work.notices[n], &code.to_string()));
                        close(&mut self.closed, &work.notices[n], code);
                    }
                }
            }
        }
        has_heard
    }

    /// Answers for work that is done, or can't be.
    fn finish(&mut self) {
        let done = |_: &u64, work: &mut Work| {
            let settled = work.state.iter().all(|state| *state != State::Given);
            settled && (work.refused.is_some() || work.state.iter().all(|state| *state == State::Durable))
        };
        for (_, work) in self.works.extract_if(.., done) {
            let _ = work.reply.send(work.refused.map_or(Ok(()), Err));
        }
    }

    /// Replaces a producer that has failed. What is under way still gets its report; the rest goes out again, each
    /// partition's records in their order.
    fn renew(&mut self, code: Code, why: &str) {
        warn!(%code, why, "Producer failed; making a new one.");
        let deadline = now() + DRAIN;
        while self.producer.in_flight_count() > 0 && now() < deadline {
            self.producer.poll(Duration::from_millis(1));
            self.hear();
        }
        self.hear();
        match make(&self.config) {
            Ok((producer, reports)) => {
                self.producer = producer;
                // What the old one says from now on is said to nobody.
                self.reports = reports;
                info!("New producer.");
            }
            Err(error) => {
                // The failed one is asked again, and fails again.
                warn!(%error, "Could not make a producer.");
            }
        }
        for work in self.works.values_mut() {
            work.given = 0;
            work.state
                .iter_mut()
                .filter(|state| **state == State::Given)
                .for_each(|state| *state = State::Waiting);
        }
    }
}

/// What became of each notice, by its place among those that were sent.
type Reports = mpsc::Receiver<(usize, Result<(), Code>)>;

fn make(config: &ClientConfig) -> KafkaResult<(BaseProducer<Reporting>, Reports)> {
    let (reports, inbound) = mpsc::channel();
    let context = Reporting { journal: Journal::new("producer"), reports };
    Ok((config.create_with_context(context)?, inbound))
}

/// Whether the producer gives a record back because of itself, not because of the record.
fn given_back(code: Code) -> bool {
    matches!(
        code,
        Code::PurgeQueue | Code::PurgeInflight | Code::Fatal | Code::GaplessGuarantee | Code::MessageTimedOut
    )
}

fn close(closed: &mut HashMap<(Arc<str>, u32), Closed>, notice: &Notice, code: Code) {
    let entry = closed.entry((notice.topic.clone(), notice.partition));
    let since = now();
    let entry = entry.or_insert_with(|| Closed { why: code.to_string(), since, pause: PAUSE / 2 });
    (entry.since, entry.pause) = (since, (entry.pause * 2).min(PAUSE_MAX));
}

fn refusal(notice: &Notice, why: &str) -> NoticeError {
    NoticeError::Refused { topic: notice.topic.to_string(), partition: notice.partition, why: why.to_owned() }
}

fn record(notice: &Notice, number: (u64, usize)) -> BaseRecord<'_, [u8], [u8], usize> {
    let mut headers = OwnedHeaders::new_with_capacity(notice.headers.len());
    for (key, value) in &notice.headers {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    let mut record = BaseRecord::with_opaque_to(&notice.topic, pack(number));
    record.partition = Some(notice.partition as i32);
    record.key = notice.key.as_deref();
    record.payload = notice.value.as_deref();
    record.headers = Some(headers);
    record
}

/// So many bits of a record's number say which of its work's records it is; the rest outlasts any process.
const WORK_BITS: u32 = 24;

fn pack((work, n): (u64, usize)) -> usize {
    assert!(n < 1 << WORK_BITS, "nobody appends millions of notices at once");
    (work as usize) << WORK_BITS | n
}

fn unpack(opaque: usize) -> (u64, usize) {
    ((opaque >> WORK_BITS) as u64, opaque & ((1 << WORK_BITS) - 1))
}
