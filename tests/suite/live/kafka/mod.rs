//! The Kafka side against a real broker, whose address is in `KAFKA_BROKERS`, and against the embedded one.

mod embedded;
mod membership;
mod notices;
mod outage;
mod reading;
mod topics;
mod wire;

use graceline::ingest::kafka::admin::TopicAdmin;
use graceline::ingest::kafka::{Clock, KafkaFeed, KafkaLog, KafkaSettings};
use graceline::ingest::log::{Batch, Feed, Limits, LogError, LogName, Offset, PerLog, UsageLog};
use graceline::persist::ShardId;
use graceline::shard::topics::{Rules, TopicNames};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{RwLock, RwLockReadGuard};

/// A broker that somebody else needs is not to be stopped.
static BROKER: RwLock<()> = RwLock::const_new(());

/// Longer than anything takes on a busy machine, so that only what never happens fails.
const PATIENCE: Duration = Duration::from_secs(120);

const LIMITS: Limits =
    Limits { records_max: 10_000, bytes_max: 64 << 20, wait_max: Duration::from_millis(100) };

const WEBHOOK: &str = "webhooks.invoice.finalized";

fn rules(partitions: u32) -> Rules {
    Rules { partitions, event_bytes_max: 1 << 20, retention_ms: 40 * 86_400_000 }
}

/// Topics of a test's own.
struct Desk {
    settings: KafkaSettings,
    names: TopicNames,
    broker: Option<RwLockReadGuard<'static, ()>>,
}

/// Settings under which no other test has any topic or group.
fn settings() -> KafkaSettings {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let brokers = std::env::var("KAFKA_BROKERS")
        .expect("KAFKA_BROKERS names the broker to test against: eval \"$(dev/services up kafka)\"");
    let prefix = format!("t{:x}.", RandomState::new().hash_one(0));
    KafkaSettings { brokers, group: format!("{prefix}group"), prefix, ..KafkaSettings::default() }
}

async fn desk(partitions: u32) -> Desk {
    let broker = BROKER.read().await;
    let settings = settings();
    let names = TopicNames::new(&settings.prefix, [WEBHOOK]);
    let admin = TopicAdmin::new(&settings).expect("settings are sound");
    let findings = admin.prepare(&names.all(), &rules(partitions)).await.expect("the broker answers");
    assert_eq!(findings, [], "topics that we make can serve");
    Desk { settings, names, broker: Some(broker) }
}

impl Drop for Desk {
    /// Takes the topics away again: a broker that is killed looks at every partition when it starts.
    fn drop(&mut self) {
        let (brokers, names) = (self.settings.brokers.clone(), self.names.all());
        let delete = async move {
            let mut config = ClientConfig::new();
            let admin: AdminClient<DefaultClientContext> =
                config.set("bootstrap.servers", brokers).create().expect("settings are sound");
            let names: Vec<&str> = names.iter().map(|topic| topic.name.as_str()).collect();
            let _ = admin.delete_topics(&names, &AdminOptions::new()).await;
        };
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _ = std::thread::spawn(move || runtime().block_on(delete)).join();
    }
}

/// A clock for logs that keep append times: it only says how old records are.
fn wall_clock() -> Clock {
    Arc::new(graceline::console::run::now_ms)
}

impl Desk {
    fn log(&self) -> KafkaLog {
        KafkaLog::start(&self.settings, &self.names.logs(), wall_clock()).expect("settings are sound")
    }

    fn writer(&self) -> Writer {
        Writer::new(&self.settings.brokers, &[])
    }
}

/// Somebody who writes to topics.
struct Writer(FutureProducer);

impl Writer {
    fn new(brokers: &str, properties: &[(&str, &str)]) -> Writer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("linger.ms", "1").set("compression.type", "lz4");
        properties.iter().for_each(|(name, value)| _ = config.set(*name, *value));
        Writer(config.create().expect("settings are sound"))
    }

    /// Writes values that are their own numbers, and returns the offset of the first.
    async fn numbers(&self, topic: &str, partition: u32, numbers: std::ops::Range<u64>) -> u64 {
        let values: Vec<String> = numbers.map(|n| n.to_string()).collect();
        let sent: Vec<_> = values
            .iter()
            .map(|value| {
                let record = FutureRecord::to(topic).partition(partition as i32).key(value).payload(value);
                self.0.send_result(record).expect("there is room")
            })
            .collect();
        let mut first = None;
        for one in sent {
            let delivery = one.await.expect("the producer lives").expect("the broker takes it");
            first.get_or_insert(delivery.offset as u64);
        }
        first.expect("something was written")
    }

    async fn one(
        &self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header: Option<(&str, Option<&[u8]>)>,
    ) {
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).partition(partition as i32);
        (record.key, record.payload) = (key, value);
        record.headers = header.map(|(key, value)| OwnedHeaders::new().insert(Header { key, value }));
        self.0.send(record, PATIENCE).await.expect("the broker takes it");
    }
}

/// A record, as tests compare it.
type Seen = (LogName, u64, String);

fn seen(batch: &Batch) -> Vec<Seen> {
    let text = |value: Option<&[u8]>| value.map_or("-".into(), |v| String::from_utf8_lossy(v).into_owned());
    batch.records().map(|record| (record.log, record.offset.0, text(record.value))).collect()
}

async fn in_time<T>(what: &str, doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, doing).await.unwrap_or_else(|_| panic!("in time: {what}"))
}

/// Reads until that many records have come.
async fn read(feed: &mut KafkaFeed, count: usize) -> Vec<Seen> {
    let mut all = Vec::new();
    let reading = async {
        while all.len() < count {
            all.extend(seen(&feed.next(LIMITS).await.expect("the log can be read")));
        }
    };
    in_time(&format!("{count} records"), reading).await;
    all
}

/// Reads until an error comes.
async fn read_to_error(feed: &mut KafkaFeed) -> LogError {
    let reading = async {
        loop {
            if let Err(error) = feed.next(LIMITS).await {
                return error;
            }
        }
    };
    in_time("an error", reading).await
}

/// Reads until everything that is there now has been read; what comes meanwhile is returned.
async fn read_to_end(feed: &mut KafkaFeed) -> Vec<Seen> {
    let mut all = Vec::new();
    let reading = async {
        let ends = feed.ends().await.expect("the broker answers");
        loop {
            let batch = feed.next(LIMITS).await.expect("the log can be read");
            all.extend(seen(&batch));
            if LogName::ALL.into_iter().all(|log| batch.read_to[log] >= ends[log]) {
                return;
            }
        }
    };
    in_time("the ends", reading).await;
    all
}

/// From the beginning of everything, but for some logs.
fn from(offsets: &[(LogName, u64)]) -> PerLog<Option<Offset>> {
    let mut all = PerLog::default();
    offsets.iter().for_each(|(log, offset)| all[*log] = Some(Offset(*offset)));
    all
}

async fn open(log: &KafkaLog, shard: u32, offsets: &[(LogName, u64)]) -> KafkaFeed {
    let opening = async {
        loop {
            match log.open(ShardId(shard), from(offsets)).await {
                // A broker that has just come back doesn't know yet what it leads.
                Err(LogError::Unavailable(_) | LogError::Gone { .. }) => tokio::task::yield_now().await,
                outcome => return outcome.expect("the shard can be read"),
            }
        }
    };
    in_time("a shard to open", opening).await
}
