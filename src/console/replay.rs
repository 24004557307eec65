//! `graceline replay-rejected`: sends rejected usage back to where it came from, once.
//!
//! What was there when it began is read, and nothing behind: usage that is rejected again isn't read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::outgoing::{Outbound, Outgoing, Undelivered, partitions};
use super::say;
use crate::config::Config;
use crate::ingest::kafka::client::{Plain, is_transient};
use crate::ingest::kafka::{KafkaSettings, record};
use crate::ingest::log::{Arena, LogName, Record, Run};
use crate::invoice::instant::Instant;
use crate::publish::REASON_HEADER;

/// Which of the rejected events are meant.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Those with one of these reasons; all, if there is none.
    pub reasons: Vec<String>,
    /// Those that were rejected then or later.
    pub since: Option<Instant>,
    /// None is sent, they are only counted.
    pub dry_run: bool,
}

/// Sends them, and says how many there were of each reason.
pub fn replay(config: &Config, choice: &Choice) -> Result<(), String> {
    let names = config.topic_names(config.settings().dialect);
    let mut letters = DeadLetters::open(&config.kafka, &names.usage_rejected, choice.since)?;
    let mut outgoing = match choice.dry_run {
        true => None,
        false => Some(Outgoing::to(&config.kafka, &names.usage)?),
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = 0;
    let in_letter = |undelivered: Undelivered| {
        let Undelivered { number, taken, why } = undelivered;
        format!("rejected event {number}: {why}. {taken} others were sent; to replay them again does no harm")
    };
    while let Some((reason, letter)) = letters.next()? {
        seen += 1;
        if !choice.reasons.is_empty() && !choice.reasons.contains(&reason) {
            continue;
        }
        *counts.entry(reason).or_default() += 1;
        if let Some(outgoing) = &mut outgoing {
            outgoing.give(seen, &letter).map_err(in_letter)?;
        }
    }
    if let Some(outgoing) = outgoing {
        outgoing.finish().map_err(in_letter)?;
    }
    for (reason, count) in &counts {
        say(&format!("{count:>9}  {reason}"));
    }
    let (chosen, usage) = (counts.values().sum::<usize>(), &names.usage);
    say(&match choice.dry_run {
        true => format!("Of {seen} rejected events {chosen} would be sent to {usage}."),
        false => format!("Of {seen} rejected events {chosen} were sent to {usage}."),
    });
    Ok(())
}

/// The rejected events there are, partition by partition in their order.
struct DeadLetters {
    consumer: BaseConsumer<Plain>,
    topic: String,
    /// Where each partition that isn't done ends.
    ends: BTreeMap<i32, i64>,
    since_ms: i64,
}

const ASK_MAX: Duration = Duration::from_secs(10);

/// How often brokers may stay silent for a second, one time after another.
const SILENCES_MAX: u32 = 30;

impl DeadLetters {
    fn open(kafka: &KafkaSettings, topic: &str, since: Option<Instant>) -> Result<DeadLetters, String> {
        let partitions = partitions(kafka, topic)?;
        let mut config = kafka.consumer("replay");
        config.set("enable.partition.eof", "true");
        let since_ms = since.map_or(i64::MIN, |since| since.0.div_euclid(1_000_000));
        let open = || -> KafkaResult<DeadLetters> {
            let consumer: BaseConsumer<Plain> = config.create_with_context(Plain::new("replay"))?;
            let mut from = TopicPartitionList::new();
            for partition in 0..partitions as i32 {
                from.add_partition_offset(topic, partition, Offset::Offset(since_ms.max(0)))?;
            }
            // It gives the first offset at or after the time; the end, if there is none.
            let starts = consumer.offsets_for_times(from, ASK_MAX)?;
            let mut ends = BTreeMap::new();
            let mut assigned = TopicPartitionList::new();
            for start in starts.elements() {
                let (begin, end) = consumer.fetch_watermarks(topic, start.partition(), ASK_MAX)?;
                let first = match (since, start.offset()) {
                    (Some(_), Offset::Offset(offset)) => offset,
                    (Some(_), _) => end,
                    (None, _) => begin,
                };
                if first < end {
                    assigned.add_partition_offset(topic, start.partition(), Offset::Offset(first))?;
                    ends.insert(start.partition(), end);
                }
            }
            consumer.assign(&assigned)?;
            Ok(DeadLetters { consumer, topic: topic.to_owned(), ends, since_ms })
        };
        open().map_err(|error| format!("{topic} can't be read: {error}"))
    }

    /// The next one's reason, and the event as it first came.
    fn next(&mut self) -> Result<Option<(String, Outbound)>, String> {
        let mut silences = 0;
        while !self.ends.is_empty() {
            match self.consumer.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => {
                    silences = 0;
                    let (place, end) = (message.partition(), self.ends.get(&message.partition()).copied());
                    let Some(end) = end.filter(|end| message.offset() < *end) else {
                        self.ends.remove(&place);
                        continue;
                    };
                    let letter = (message.timestamp().to_millis().unwrap_or(i64::MAX) >= self.since_ms)
                        .then(|| original(&message));
                    if message.offset() + 1 >= end {
                        self.ends.remove(&place);
                    }
                    if letter.is_some() {
                        return Ok(letter);
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

/// The event without what was written on it when it was rejected.
fn original(message: &BorrowedMessage<'_>) -> (String, Outbound) {
    let mut arena = Arena::default();
    record::push(&mut arena, message, record::stamp(message));
    let run = Run::whole(LogName::Usage, Arc::new(arena));
    run.first().map(without_marks).expect("an arena holds what was pushed")
}

fn without_marks(record: Record<'_>) -> (String, Outbound) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let reason = record.headers.get(REASON_HEADER).map_or("unknown".to_owned(), text);
    let headers = record.headers.into_iter().filter(|(name, _)| !name.starts_with(b"graceline-"));
    let outbound = Outbound {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: headers.map(|(name, value)| (text(name), value.unwrap_or_default().to_vec())).collect(),
    };
    (reason, outbound)
}
