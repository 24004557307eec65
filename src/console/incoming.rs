//! What a topic holds at the moment somebody asks: read to that end, and nothing behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::outgoing::partitions;
use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::client::{Plain, is_transient};
use crate::invoice::instant::Instant;

/// The records there are, those of each partition in their order.
pub(super) struct Incoming {
    consumer: BaseConsumer<Plain>,
    topic: String,
    /// Where each partition that isn't done ends.
    ends: BTreeMap<i32, i64>,
    since_ms: i64,
}

const ASK_MAX: Duration = Duration::from_secs(10);

/// How often brokers may stay silent for a second, one time after another.
const SILENCES_MAX: u32 = 30;

impl Incoming {
    /// All records, or those that were appended at `since` or later.
    pub(super) fn open(
        kafka: &KafkaSettings,
        topic: &str,
        since: Option<Instant>,
    ) -> Result<Incoming, String> {
        let partitions = partitions(kafka, topic)?;
        let mut config = kafka.consumer("read");
        config.set("enable.partition.eof", "true");
        let since_ms = since.map_or(i64::MIN, |since| since.0.div_euclid(1_000_000));
        let open = || -> KafkaResult<Incoming> {
            let consumer: BaseConsumer<Plain> = config.create_with_context(Plain::new("read"))?;
            let mut ends = BTreeMap::new();
            let mut assigned = TopicPartitionList::new();
            for partition in 0..partitions as i32 {
                let (begin, end) = consumer.fetch_watermarks(topic, partition, ASK_MAX)?;
                let first = match since {
                    Some(_) => first_since(&consumer, topic, partition, since_ms)?.unwrap_or(end),
                    None => begin,
                };
                if first < end {
                    assigned.add_partition_offset(topic, partition, Offset::Offset(first))?;
                    ends.insert(partition, end);
                }
            }
            consumer.assign(&assigned)?;
            Ok(Incoming { consumer, topic: topic.to_owned(), ends, since_ms })
        };
        open().map_err(|error| format!("{topic} can't be read: {error}"))
    }

    /// What `take` makes of the next record; `None` behind the last one.
    pub(super) fn next<T>(&mut self, take: impl Fn(&BorrowedMessage<'_>) -> T) -> Result<Option<T>, String> {
        let mut silences = 0;
        while !self.ends.is_empty() {
            match self.consumer.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => {
                    silences = 0;
                    let place = message.partition();
                    let Some(end) = self.ends.get(&place).copied() else { continue };
                    let is_there = message.offset() < end;
                    let is_meant = message.timestamp().to_millis().unwrap_or(i64::MAX) >= self.since_ms;
                    let taken = (is_there && is_meant).then(|| take(&message));
                    if message.offset() + 1 >= end {
                        self.ends.remove(&place);
                    }
                    if taken.is_some() {
                        return Ok(taken);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    silences = 0;
                    self.ends.remove(&partition);
                }
                Some(Err(error)) if !error.rdkafka_error_code().is_some_and(is_transient) => {
                    return Err(format!("{} can't be read: {error}", self.topic));
                }
                _ if silences < SILENCES_MAX => silences += 1,
                _ => {
                    return Err(format!(
                        "{} can't be read to its end: the brokers have not answered for {SILENCES_MAX} s",
                        self.topic
                    ));
                }
            }
        }
        Ok(None)
    }
}

/// The first offset of a partition at or after the time; `None` if there is none.
fn first_since(
    consumer: &BaseConsumer<Plain>,
    topic: &str,
    partition: i32,
    since_ms: i64,
) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(since_ms.max(0)))?;
    let found = consumer.offsets_for_times(asked, ASK_MAX)?;
    Ok(found.elements().first().and_then(|found| match found.offset() {
        Offset::Offset(offset) if offset >= 0 => Some(offset),
        _ => None,
    }))
}
