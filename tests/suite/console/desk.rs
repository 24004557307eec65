//! An operator's desk: the program itself, a broker, and what has come to its topics.

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// The program with a broker, and topics under a prefix that nobody else has.
pub(super) struct Desk {
    pub(super) brokers: String,
    pub(super) prefix: String,
    env: Vec<(String, String)>,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// A record, as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) partition: i32,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

pub(super) fn prefix() -> String {
    format!("t{:x}.", RandomState::new().hash_one(0))
}

impl Desk {
    pub(super) fn at(brokers: &str, prefix: &str) -> Desk {
        Desk { brokers: brokers.to_owned(), prefix: prefix.to_owned(), env: Vec::new() }
    }

    /// The same with one more variable.
    pub(super) fn with(&self, name: &str, value: &str) -> Desk {
        let mut env = self.env.clone();
        env.push((name.to_owned(), value.to_owned()));
        Desk { brokers: self.brokers.clone(), prefix: self.prefix.clone(), env }
    }

    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Runs the program to its end. It sees no variables but the path and ours.
    pub(super) fn run(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graceline"));
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
            .env("GRACELINE__KAFKA__BROKERS", &self.brokers)
            .env("GRACELINE__TOPICS__PREFIX", &self.prefix);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().expect("the program can be started");
        let mut stdin = child.stdin.take().expect("its input is ours");
        // A program that reads nothing hangs up, which is fine.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it says text");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What succeeds says nothing but on its standard output.
    #[track_caller]
    pub(super) fn does(&self, arguments: &[&str], input: &str) -> String {
        let said = self.run(arguments, input);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
        said.out
    }

    #[track_caller]
    pub(super) fn fails(&self, arguments: &[&str], input: &str) -> String {
        let said = self.run(arguments, input);
        assert_eq!(said.code, Some(1), "{said:?}");
        said.err
    }

    /// Every record of a topic, partition by partition.
    pub(super) fn records(&self, topic: &str) -> Vec<Found> {
        (0..self.partitions(topic) as i32).flat_map(|partition| self.records_of(topic, partition)).collect()
    }

    fn records_of(&self, topic: &str, partition: i32) -> Vec<Found> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", "reader");
        let consumer: BaseConsumer = config.create().expect("settings are sound");
        let (low, high) = consumer.fetch_watermarks(topic, partition, PATIENCE).expect("the broker answers");
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(low)).expect("an offset is one");
        consumer.assign(&list).expect("a partition can be assigned");
        let next = || consumer.poll(PATIENCE).expect("a record comes in time").expect("it can be read");
        (low..high).map(|_| found(&next())).collect()
    }

    /// How many partitions a topic has; 0 if it isn't there.
    pub(super) fn partitions(&self, topic: &str) -> usize {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("allow.auto.create.topics", "false");
        let consumer: BaseConsumer = config.create().expect("settings are sound");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
        metadata.topics().iter().find(|one| one.name() == topic).map_or(0, |found| found.partitions().len())
    }

    /// Writes a record as somebody else would.
    pub(super) fn write(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&str>,
        value: &str,
        headers: &[(&str, &str)],
    ) {
        let producer: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("settings are sound");
        let mut record = BaseRecord::<str, str>::to(topic).partition(partition).payload(value);
        record.key = key;
        record.headers =
            Some(headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key, value: Some(*value) })
            }));
        producer.send(record).expect("there is room");
        producer.flush(PATIENCE).expect("the broker takes it");
    }
}

fn found(message: &impl Message) -> Found {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect()
    });
    Found {
        partition: message.partition(),
        key: message.key().map(text),
        value: message.payload().map(text),
        headers: headers.unwrap_or_default(),
    }
}
