//! What the operator says: defaults, then a file, then the environment.
//!
//! A key that nobody knows is refused, and all that is wrong is said at once. Secrets are read and never printed.

mod problem;
mod reader;
mod sources;
#[cfg(test)]
mod tests;
mod topics;

pub use problem::{Origin, Problem};
pub use topics::{TopicSettings, WebhookTopics};

use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::catalog::duration;
use crate::catalog::fault::Fault;
use crate::catalog::json::Json;
use crate::catalog::settings::{Dialect, Settings};
use crate::ingest::kafka::{GroupProtocol, KafkaSettings};
use crate::persist::redis::RedisStore;
use crate::persist::settings::RedisSettings;
use crate::shard::topics::{Rules, TopicNames};
use reader::Reader;
use sources::Sources;

/// Everything that can be said, as it was said.
#[derive(Clone, Debug)]
pub struct Config {
    /// Prefix, partitions and replication of `[topics]` are in here.
    pub kafka: KafkaSettings,
    pub redis: RedisSettings,
    pub topics: TopicSettings,
    pub webhooks: WebhookTopics,
    /// `host:port`; `None` if nobody is to listen.
    pub http_listen: Option<String>,
    pub shard: ShardSettings,
    pub log: LogSettings,
    settings: Settings,
}

/// How a shard goes about its work. No number here decides what is billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSettings {
    /// The most that a batch holds.
    pub batch_records_max: usize,
    pub batch_bytes_max: usize,
    /// How long a shard waits for the next record while it has something else to do.
    pub batch_wait_ms: u64,
}

/// What the program says while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    /// Which messages are let through, in the language of `RUST_LOG`, which goes before it.
    pub filter: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for ShardSettings {
    fn default() -> ShardSettings {
        ShardSettings { batch_records_max: 100_000, batch_bytes_max: 48 << 20, batch_wait_ms: 15 }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            kafka: KafkaSettings::default(),
            redis: RedisSettings::default(),
            topics: TopicSettings::default(),
            webhooks: WebhookTopics::default(),
            http_listen: Some("127.0.0.1:8080".to_owned()),
            shard: ShardSettings::default(),
            log: LogSettings { format: LogFormat::Text, filter: "info".to_owned() },
            settings: Settings::default(),
        }
    }
}

/// This process's variables. Those that aren't text are ours only by mistake, and are read as far as they are text.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

impl Config {
    /// Reads the file, if one is named, and the variables that begin with `GRACELINE__`; all others are left alone.
    ///
    /// `Err` holds everything that is wrong, in the order of the keys.
    pub fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, Vec<Problem>> {
        let mut reader = Reader::new(Sources::read(path, env));
        let config = Config::read(&mut reader);
        let problems = reader.end();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// What decides invoices: the members of `[billing]`, `usage.format`, `webhooks.dialect`. It is what this file would
    /// have; what is in force is in the catalog. `usage.max_event_bytes` is every instance's own.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All topics, with the names that webhooks have in `dialect`, the one in force.
    pub fn topic_names(&self, dialect: Dialect) -> TopicNames {
        self.topics.names(&self.kafka.prefix, self.webhooks.all(dialect))
    }

    /// The whole name of the topic for webhooks of this type, as the dialect in force calls it.
    pub fn webhook_topic(&self, webhook_type: &str) -> String {
        self.kafka.topic(&self.webhooks.topic(webhook_type))
    }

    /// What is asked of topics.
    pub fn topic_rules(&self) -> Rules {
        Rules {
            partitions: self.kafka.partitions,
            event_bytes_max: self.settings.max_event_bytes.try_into().unwrap_or(u32::MAX),
            retention_ms: self.topics.retention_ms,
        }
    }

    /// What can be used as it is, and may not be what was meant: a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for name in self.kafka.ignored_properties() {
            warnings.push(format!(
                "kafka.properties.{name} is not followed, because invoices would come out wrong: take it away"
            ));
        }
        warnings.extend(grace_warning(&self.settings));
        warnings
    }
}

/// A grace that can't collect usage to its end (R53), in words.
pub fn grace_warning(settings: &Settings) -> Option<String> {
    let Settings { default_grace: grace, lateness_limit: limit, .. } = settings;
    (grace.exact() > limit.exact()).then(|| {
        format!(
            "billing.default_grace ({grace}) is longer than billing.lateness_limit ({limit}): usage that comes in the \
             last part of the grace is rejected, too_late. Lengthen the limit or shorten the grace"
        )
    })
}

// --- The keys, section by section -------------------------------------------------------------------------------------

/// Milliseconds up to a day.
const MS_MAX: i128 = 86_400_000;
const BYTES_MAX: i128 = 1 << 40;

impl Config {
    fn read(reader: &mut Reader) -> Config {
        let mut config = Config::default();
        config.read_kafka(reader);
        config.read_redis(reader);
        config.topics.read(reader, &mut config.kafka);
        config.webhooks.read(reader);
        config.read_http(reader);
        config.read_billing(reader);
        config.read_shard(reader);
        config.read_log(reader);
        for (key, wanted) in topics::collisions(&config.topics, &config.webhooks, &config.kafka.prefix) {
            reader.refuse(&key, wanted);
        }
        config
    }

    fn read_kafka(&mut self, reader: &mut Reader) {
        let kafka = &mut self.kafka;
        let is_address =
            |text: &str| text.split(',').all(|host| is_host_and_port(without_protocol(host.trim())));
        reader.text(
            "kafka.brokers",
            &mut kafka.brokers,
            "host:port, several with commas between them",
            is_address,
        );
        reader.text("kafka.group", &mut kafka.group, "the name of a consumer group", |text| !text.is_empty());
        let protocols = "\"classic\", \"consumer\" or \"auto\"";
        reader.word("kafka.group_protocol", &mut kafka.group_protocol, protocols, group_protocol);
        reader.whole("kafka.fetch_wait_ms", &mut kafka.fetch_wait_ms, 1..=10_000);
        reader.whole("kafka.read_ahead_bytes_max", &mut kafka.read_ahead_bytes_max, 1 << 20..=BYTES_MAX);
        reader.whole(
            "kafka.catalog_window_bytes_max",
            &mut kafka.catalog_window_bytes_max,
            1 << 20..=BYTES_MAX,
        );
        reader.whole("kafka.handover_ms_max", &mut kafka.handover_ms_max, 1..=MS_MAX);
        reader.whole("kafka.ends_ms_max", &mut kafka.ends_ms_max, 1..=MS_MAX);
        kafka.properties = reader.open_table("kafka.properties");
        for (name, value) in &kafka.properties {
            if let Some(wanted) = refusal_of_property(name, value) {
                reader.refuse(&format!("kafka.properties.{name}"), wanted);
            }
        }
    }

    fn read_redis(&mut self, reader: &mut Reader) {
        let redis = &mut self.redis;
        reader.text("redis.url", &mut redis.url, "a text", |_| true);
        reader.text("redis.prefix", &mut redis.prefix, "a text", |_| true);
        reader.optional_text("redis.sentinel_master", &mut redis.sentinel_master, "a text");
        reader.optional_text("redis.sentinel_username", &mut redis.sentinel_username, "a text");
        reader.optional_text("redis.sentinel_password", &mut redis.sentinel_password, "a text");
        for (key, file) in [
            ("redis.ca_file", &mut redis.ca_file),
            ("redis.cert_file", &mut redis.cert_file),
            ("redis.key_file", &mut redis.key_file),
        ] {
            let mut path = None;
            reader.optional_text(key, &mut path, "the path of a PEM file");
            *file = path.map(Into::into);
        }
        reader.whole("redis.connect_timeout_ms", &mut redis.connect_timeout_ms, 1..=MS_MAX);
        reader.whole("redis.response_timeout_ms", &mut redis.response_timeout_ms, 1..=MS_MAX);
        if let Err(error) = RedisStore::new(redis) {
            let line = error.to_string();
            let (key, wanted) = line.split_once(' ').unwrap_or(("redis.url", &line));
            reader.refuse(key.trim_end_matches(','), wanted);
        }
    }

    fn read_http(&mut self, reader: &mut Reader) {
        let mut listen = self.http_listen.take().unwrap_or_default();
        let is_good = |text: &str| text.is_empty() || is_host_and_port(text);
        reader.text("http.listen", &mut listen, "host:port, or \"\" for none", is_good);
        self.http_listen = Some(listen).filter(|text| !text.is_empty());
    }

    /// Each key is read as the settings record in the catalog would be, so both take the same.
    fn read_billing(&mut self, reader: &mut Reader) {
        let mut members = Vec::new();
        for (key, member, wanted) in DECIDING {
            let Some(value) = reader.json(key) else { continue };
            let one = (member.to_owned(), value);
            match Settings::read(&Json::Object(vec![one.clone()])) {
                Ok(settings) if settings.max_event_bytes > EVENT_BYTES_MAX => {
                    reader.refuse(key, wanted_text(wanted))
                }
                Ok(_) => members.push(one),
                Err(_) => reader.refuse(key, wanted_text(wanted)),
            }
        }
        match Settings::read(&Json::Object(members)) {
            Ok(settings) => self.settings = settings,
            Err(Fault { reason, pointer }) => reader.refuse("billing", format!("{reason} at {pointer}")),
        }
    }

    fn read_shard(&mut self, reader: &mut Reader) {
        let shard = &mut self.shard;
        reader.whole("shard.batch_records_max", &mut shard.batch_records_max, 1..=10_000_000);
        reader.whole("shard.batch_bytes_max", &mut shard.batch_bytes_max, 1 << 16..=BYTES_MAX);
        reader.whole("shard.batch_wait_ms", &mut shard.batch_wait_ms, 1..=60_000);
    }

    fn read_log(&mut self, reader: &mut Reader) {
        let log = &mut self.log;
        reader.word("log.format", &mut log.format, "\"text\" or \"json\"", |name| match name {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let wanted = "a filter such as \"info\" or \"info,graceline::persist=debug\"";
        let is_good = |text: &str| tracing_subscriber::EnvFilter::try_new(text).is_ok();
        reader.text("log.filter", &mut log.filter, wanted, is_good);
    }
}

const EVENT_BYTES_MAX: usize = 100 << 20;

const DURATION: &str =
    "an ISO 8601 duration without years and months, such as \"P3D\" or \"PT72H\", or a number of days";

/// What decides invoices: the key, the settings record's name for it, and what is wanted.
const DECIDING: [(&str, &str, &str); 12] = [
    ("billing.default_grace", "default_grace", DURATION),
    ("billing.default_net_payment_term", "default_net_payment_term", "whole days, such as 30 or \"P30D\""),
    ("billing.lateness_limit", "lateness_limit", DURATION),
    ("billing.future_limit", "future_limit", DURATION),
    ("billing.parking_limit", "parking_limit", DURATION),
    ("billing.refresh", "refresh", "\"continuous\" or \"at_finalization\""),
    ("billing.refresh_interval", "refresh_interval", DURATION),
    ("billing.will_be_due_days", "will_be_due_days", "a number of days up to 36600"),
    ("billing.clock_skew_limit", "clock_skew_limit", DURATION),
    ("usage.format", "format", "\"lago\", \"stripe\", \"cloudevents\" or \"auto\""),
    ("usage.max_event_bytes", "max_event_bytes", "a number of bytes from 1 to 104857600 (100 MiB)"),
    ("webhooks.dialect", "dialect", "\"graceline\", \"lago\", \"stripe\" or \"hyperline\""),
];

fn wanted_text(wanted: &str) -> String {
    format!("wanted is {wanted}")
}

/// A length of time as catalog records have it.
fn read_duration(json: &Json) -> Option<duration::Duration> {
    duration::Duration::from_json(json)
}

fn group_protocol(name: &str) -> Option<GroupProtocol> {
    match name {
        "classic" => Some(GroupProtocol::Classic),
        "consumer" => Some(GroupProtocol::Consumer),
        "auto" => Some(GroupProtocol::Auto),
        _ => None,
    }
}

/// Brokers may be written as `PLAINTEXT://host:port`.
fn without_protocol(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, address)| address)
}

/// `host:port`, `[::1]:port`. Whether the host is there is another question.
fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains([' ', '/']) && port.parse::<u16>().is_ok()
    })
}

/// What the Kafka client has against a property; `None` if it takes it. The value is left out, which may be a secret.
fn refusal_of_property(name: &str, value: &str) -> Option<String> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Err(KafkaError::ClientConfig(_, why, ..)) if !why.contains(value) => {
            Some(format!("the Kafka client refuses it: {why}"))
        }
        Err(_) => Some("the Kafka client takes the property, but not with this value".to_owned()),
        Ok(_) => None,
    }
}
