//! Records on their way to a topic, from an operator's hand.

use std::sync::mpsc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::client::{Journal, Plain, Reporting};
use crate::shard::topics::NOTICE_BYTES_MAX;

/// A record as it is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Sends records to one topic. Each goes to its key's partition as Java's clients find it; without a key, to any.
pub(super) struct Outgoing {
    producer: BaseProducer<Reporting>,
    reports: mpsc::Receiver<(usize, Result<(), Code>)>,
    topic: String,
    taken: usize,
    /// The first one that didn't get through.
    refused: Option<(usize, Code)>,
}

/// A record didn't get through, nor perhaps others that were sent with it.
#[derive(Debug)]
pub(super) struct Undelivered {
    /// The number it was given with.
    pub(super) number: usize,
    /// How many others are in the topic for certain.
    pub(super) taken: usize,
    pub(super) why: String,
}

/// How long brokers may take to say what they have, and to take a record.
const ASK_MAX: Duration = Duration::from_secs(10);
const SEND_MAX_MS: u32 = 60_000;

impl Outgoing {
    /// Makes sure that the topic is there.
    pub(super) fn to(kafka: &KafkaSettings, topic: &str) -> Result<Outgoing, String> {
        partitions(kafka, topic)?;
        let mut config = kafka.client("send");
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "zstd")
            .set("linger.ms", "20")
            .set("message.max.bytes", NOTICE_BYTES_MAX.to_string())
            .set("message.timeout.ms", SEND_MAX_MS.to_string());
        let (reporter, reports) = mpsc::channel();
        let context = Reporting { journal: Journal::new("send"), reports: reporter };
        let producer = config.create_with_context(context).map_err(|error| format!("kafka: {error}"))?;
        Ok(Outgoing { producer, reports, topic: topic.to_owned(), taken: 0, refused: None })
    }

    /// Sends a record; `number` is the caller's name for it. While there is no room it waits.
    pub(super) fn give(&mut self, number: usize, record: &Outbound) -> Result<(), Undelivered> {
        loop {
            self.hear(Duration::ZERO)?;
            let mut next = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, number);
            (next.key, next.payload) = (record.key.as_deref(), record.value.as_deref());
            if !record.headers.is_empty() {
                next.headers = Some(headers(record));
            }
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), _)) => {
                    self.hear(Duration::from_millis(50))?;
                }
                Err((error, _)) => return Err(self.undelivered(number, error.to_string())),
            }
        }
    }

    /// Waits until every record is in the topic; says how many there were.
    pub(super) fn finish(mut self) -> Result<usize, Undelivered> {
        while self.producer.in_flight_count() > 0 {
            self.hear(Duration::from_millis(50))?;
        }
        self.hear(Duration::ZERO)?;
        Ok(self.taken)
    }

    /// Takes what the client has to tell.
    fn hear(&mut self, wait: Duration) -> Result<(), Undelivered> {
        self.producer.poll(wait);
        for (number, outcome) in self.reports.try_iter() {
            match outcome {
                Ok(()) => self.taken += 1,
                Err(code) => drop(self.refused.get_or_insert((number, code))),
            }
        }
        match self.refused {
            Some((number, code)) => Err(self.undelivered(number, code.to_string())),
            None => Ok(()),
        }
    }

    fn undelivered(&self, number: usize, why: String) -> Undelivered {
        Undelivered { number, taken: self.taken, why: format!("{} does not take it: {why}", self.topic) }
    }
}

fn headers(record: &Outbound) -> OwnedHeaders {
    let empty = OwnedHeaders::new_with_capacity(record.headers.len());
    record
        .headers
        .iter()
        .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }))
}

/// How many partitions a topic has. It isn't made by asking.
pub(super) fn partitions(kafka: &KafkaSettings, topic: &str) -> Result<u32, String> {
    let client: BaseConsumer<Plain> = kafka
        .consumer("look")
        .create_with_context(Plain::new("look"))
        .map_err(|error| format!("kafka: {error}"))?;
    let metadata = client.fetch_metadata(Some(topic), ASK_MAX).map_err(|error| {
        format!(
            "the brokers at {} do not answer ({error}): see that they run, and that kafka.brokers names them",
            kafka.brokers
        )
    })?;
    let found = metadata.topics().iter().find(|one| one.name() == topic);
    match found.map(|found| (found.error(), found.partitions().len())) {
        Some((None, partitions)) if partitions > 0 => Ok(partitions as u32),
        Some((Some(error), _)) if Code::from(error) == Code::TopicAuthorizationFailed => {
            Err(format!("{topic}: we may not look at it: allow us to describe it"))
        }
        _ => Err(format!("{topic} is not there: make it with `graceline topics create`")),
    }
}
