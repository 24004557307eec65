//! How to reach the brokers, and what every client is told whatever the user says.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// Everything the Kafka side wants to know.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Bootstrap addresses, with commas between them.
    pub brokers: String,
    /// The consumer group that shares the shards.
    pub group: String,
    pub group_protocol: GroupProtocol,
    /// Handed to every client as they are; see [`KafkaSettings::ignored_properties`] for those that can't be.
    pub properties: BTreeMap<String, String>,
    /// Put before every topic's name.
    pub prefix: String,
    /// Of topics that have to be made.
    pub partitions: u32,
    /// Of topics that have to be made; `None` leaves it to the brokers.
    pub replication: Option<u16>,
    pub arrival: Arrival,
    /// Whether headers of usage are wanted. The client allocates for each record that it is asked for them, even where
    /// there are none.
    pub usage_headers: bool,
    /// How long a broker may keep a fetch waiting that finds nothing. A newly opened or resumed log waits as long.
    pub fetch_wait_ms: u32,
    /// What all open shards together may have read and not yet taken. The client's own queue comes on top of it.
    pub read_ahead_bytes_max: usize,
    /// How much of the catalog is kept in memory for shards that haven't come to it yet.
    pub catalog_window_bytes_max: usize,
    /// How long a shard that has to go may take to finish.
    pub handover_ms_max: u64,
    /// How long brokers may take to say where logs end.
    pub ends_ms_max: u64,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        KafkaSettings {
            brokers: "127.0.0.1:9092".into(),
            group: "graceline".into(),
            group_protocol: GroupProtocol::default(),
            properties: BTreeMap::new(),
            prefix: String::new(),
            partitions: 8,
            replication: None,
            arrival: Arrival::default(),
            usage_headers: true,
            fetch_wait_ms: 50,
            read_ahead_bytes_max: 256 << 20,
            catalog_window_bytes_max: 64 << 20,
            handover_ms_max: 5_000,
            ends_ms_max: 2_000,
        }
    }
}

/// How the members of the group agree on who owns what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// By the members themselves, cooperative-sticky. Every broker knows it.
    #[default]
    Classic,
    /// By the brokers (KIP-848), from Kafka 4.0 on.
    Consumer,
    /// `Consumer` if the brokers know it, else `Classic`.
    Auto,
}

/// What counts as a record's arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// The broker's append time, the only one that is the same for every reader.
    #[default]
    AppendTime,
    /// The moment we read it, for a broker that keeps no append times. Reading it again gives another one.
    OnRead,
}

/// What correctness rests on. Users can't change these.
const OURS: [&str; 18] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.protocol",
    "isolation.level",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "retries",
    "transactional.id",
];

/// What only the member of the group may be told: the other clients read without a group.
const GROUP_ONLY: [&str; 6] = [
    "group.instance.id",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// What brokers decide under KIP-848; the client refuses to start with any of them set.
const CLASSIC_ONLY: [&str; 3] =
    ["heartbeat.interval.ms", "partition.assignment.strategy", "session.timeout.ms"];

impl KafkaSettings {
    /// The whole name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// How what we publish is compressed, if no property says it. Whoever tries the embedded broker may have a client
    /// that can't read this without more being installed.
    pub(crate) fn compression(&self) -> &'static str {
        match self.arrival {
            Arrival::AppendTime => "zstd",
            Arrival::OnRead => "none",
        }
    }

    /// Properties that users set and that are not followed, because the books would come out wrong.
    pub fn ignored_properties(&self) -> Vec<&str> {
        self.properties.keys().map(String::as_str).filter(|name| OURS.contains(name)).collect()
    }

    /// A client that belongs to no group; `role` tells it from the others in the brokers' logs.
    pub(crate) fn client(&self, role: &str) -> ClientConfig {
        let mut config = self.common(role);
        for (name, value) in &self.properties {
            if !OURS.contains(&name.as_str()) && !GROUP_ONLY.contains(&name.as_str()) {
                config.set(name, value);
            }
        }
        config
    }

    /// A client that reads what it is told to, from where it is told to. It names the group, which it never joins, so
    /// that it needs no other permission.
    pub(crate) fn consumer(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        // Beyond a full queue the client otherwise waits a second before it looks again.
        config
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.min.messages", "1000000")
            .set("queued.max.messages.kbytes", "65536")
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.error.backoff.ms", "50")
            .set("check.crcs", "true");
        for (name, value) in self.client(role).config_map() {
            config.set(name, value);
        }
        config
            .set("group.id", &self.group)
            .set("fetch.wait.max.ms", self.fetch_wait_ms.to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false");
        config.set_log_level(RDKafkaLogLevel::Notice);
        config
    }

    /// The member of the group that decides who owns which shard.
    pub(crate) fn member(&self, protocol: GroupProtocol) -> ClientConfig {
        let mut config = self.consumer("member");
        let classic = protocol == GroupProtocol::Classic;
        if classic {
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", "10000")
                .set("heartbeat.interval.ms", "100");
        }
        for (name, value) in &self.properties {
            if GROUP_ONLY.contains(&name.as_str()) && (classic || !CLASSIC_ONLY.contains(&name.as_str())) {
                config.set(name, value);
            }
        }
        // It reads nothing, so where it would begin if nobody had told it must not be an error.
        config
            .set("group.protocol", if classic { "classic" } else { "consumer" })
            .set("auto.offset.reset", "latest")
            .set("queued.min.messages", "1")
            // So soon a member hears that the shards are to be shared anew, and takes part: between its heartbeats, and
            // before it joins for the second time within a second, the client sleeps until there is something else to do.
            .set("topic.metadata.refresh.interval.ms", "200");
        config
    }

    fn common(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", format!("graceline-{role}"))
            .set("socket.nagle.disable", "true")
            // When a broker dies the client asks once who leads now, mostly too soon; next time would be in five minutes.
            .set("topic.metadata.refresh.interval.ms", "2000")
            .set("reconnect.backoff.max.ms", "1000");
        config.set_log_level(RDKafkaLogLevel::Notice);
        config
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&str, &str> =
            self.properties.iter().map(|(name, value)| (name.as_str(), shown(name, value))).collect();
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("group", &self.group)
            .field("group_protocol", &self.group_protocol)
            .field("properties", &properties)
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("arrival", &self.arrival)
            .field("usage_headers", &self.usage_headers)
            .field("fetch_wait_ms", &self.fetch_wait_ms)
            .field("read_ahead_bytes_max", &self.read_ahead_bytes_max)
            .field("catalog_window_bytes_max", &self.catalog_window_bytes_max)
            .field("handover_ms_max", &self.handover_ms_max)
            .field("ends_ms_max", &self.ends_ms_max)
            .finish()
    }
}

fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_ascii_lowercase();
    let secret = ["password", "secret", "key", "token", "jaas"].iter().any(|word| name.contains(word));
    if secret { "<redacted>" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaSettings {
        let properties = properties.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        KafkaSettings { properties, ..KafkaSettings::default() }
    }

    #[test]
    fn secrets_are_not_shown() {
        let names =
            ["sasl.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "sasl.jaas.config", "x.TOKEN"];
        for name in names {
            let text = format!("{:?}", with(&[(name, "canary")]));
            assert!(!text.contains("canary"), "{name} shows its value");
        }
        assert!(format!("{:?}", with(&[("sasl.username", "ann")])).contains("ann"));
    }

    #[test]
    fn what_correctness_rests_on_stays_ours() {
        let settings = with(&[
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "latest"),
            ("linger.ms", "9"),
        ]);
        assert_eq!(settings.ignored_properties(), ["auto.offset.reset", "isolation.level"]);
        let config = settings.consumer("reader");
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
        assert_eq!(config.get("linger.ms"), Some("9"));
    }

    #[test]
    fn group_properties_reach_the_member_alone() {
        let settings = with(&[("group.instance.id", "a"), ("session.timeout.ms", "45000")]);
        assert_eq!(settings.consumer("reader").get("group.instance.id"), None);
        let classic = settings.member(GroupProtocol::Classic);
        assert_eq!(
            (classic.get("group.instance.id"), classic.get("session.timeout.ms")),
            (Some("a"), Some("45000"))
        );
        let brokers_decide = settings.member(GroupProtocol::Consumer);
        assert_eq!(brokers_decide.get("session.timeout.ms"), None);
        assert_eq!(brokers_decide.get("partition.assignment.strategy"), None);
    }
}
