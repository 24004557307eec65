//! Everything that is in the topics.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Without the prefix.
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) appended_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        std::str::from_utf8(value).ok()
    }
}

/// All records of all topics of a run, by topic and partition, in the order of their offsets.
pub(super) struct Dump {
    pub(super) logs: BTreeMap<(String, u32), Vec<Record>>,
    /// Where each partition ends.
    pub(super) ends: BTreeMap<(String, u32), u64>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Dump {
    pub(super) fn take(brokers: &str, prefix: &str) -> Dump {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", format!("{prefix}dump"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            .create()
            .expect("settings are sound");
        let metadata = consumer.fetch_metadata(None, PATIENCE).expect("the broker answers");
        let mut assignment = TopicPartitionList::new();
        let mut dump = Dump { logs: BTreeMap::new(), ends: BTreeMap::new() };
        let mut missing = 0;
        for topic in metadata.topics() {
            let Some(name) = topic.name().strip_prefix(prefix) else { continue };
            for partition in topic.partitions() {
                let (first, end) = consumer
                    .fetch_watermarks(topic.name(), partition.id(), PATIENCE)
                    .expect("the broker says where a topic ends");
                assignment
                    .add_partition_offset(topic.name(), partition.id(), Offset::Offset(first))
                    .expect("an offset can be assigned");
                missing += end - first;
                let place = (name.to_owned(), partition.id() as u32);
                dump.ends.insert(place.clone(), end as u64);
                dump.logs.insert(place, Vec::new());
            }
        }
        consumer.assign(&assignment).expect("partitions can be assigned");
        while missing > 0 {
            let message = consumer.poll(PATIENCE).expect("records keep coming").expect("records can be read");
            let record = read(&message, prefix);
            let place = (record.topic.clone(), record.partition);
            if record.offset < dump.ends[&place] {
                missing -= 1;
                dump.logs.get_mut(&place).expect("only what is assigned comes").push(record);
            }
        }
        dump
    }

    /// The records of all partitions of the topics whose names begin so.
    pub(super) fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Record> {
        self.logs
            .iter()
            .filter(move |((name, _), _)| name.starts_with(topic))
            .flat_map(|(_, records)| records)
    }
}

fn read(message: &BorrowedMessage<'_>, prefix: &str) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect()
    });
    Record {
        topic: message.topic().strip_prefix(prefix).unwrap_or(message.topic()).to_owned(),
        partition: message.partition() as u32,
        offset: message.offset() as u64,
        appended_ms: message.timestamp().to_millis().expect("records bear a time"),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}
