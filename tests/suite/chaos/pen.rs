//! Writes records to topics.

use super::clock::pause_ms;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use serde_json::Value;
use std::time::Duration;

/// A producer that never gives up, and the topics it writes to.
pub(super) struct Pen {
    producer: ThreadedProducer<DefaultProducerContext>,
    prefix: String,
}

impl Pen {
    pub(super) fn new(brokers: &str, prefix: &str) -> Pen {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "0")
            .set("reconnect.backoff.max.ms", "500")
            .set("linger.ms", "5");
        Pen { producer: config.create().expect("settings are sound"), prefix: prefix.to_owned() }
    }

    pub(super) fn write(&self, topic: &str, key: Option<&str>, value: Option<&str>) {
        let topic = format!("{}{topic}", self.prefix);
        loop {
            let mut record: BaseRecord<'_, str, str> = BaseRecord::to(&topic);
            (record.key, record.payload) = (key, value);
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => pause_ms(10),
                Err((error, _)) => panic!("{topic} can't be written: {error}"),
            }
        }
    }

    pub(super) fn catalog(&self, records: impl IntoIterator<Item = (String, Value)>) {
        for (key, value) in records {
            self.write("billing.catalog", Some(&key), Some(&value.to_string()));
        }
    }

    /// Waits until the broker has everything.
    pub(super) fn flush(&self) {
        self.producer.flush(Duration::from_secs(120)).expect("the broker comes back");
    }
}
