//! `graceline dev`: the real processor on a broker and a store inside this process.
//!
//! Any Kafka client can connect to it. Arrival is the moment a record is read, topics keep some megabytes, and nothing
//! survives the end.

use std::sync::Arc;

use tokio::sync::watch;

use super::run::{self, Plant};
use crate::config::Config;
use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::embedded::Embedded;
use crate::persist::memory::MemoryStore;
use crate::shard::health::Health;
use crate::shard::topics::Role;
use crate::shard::world::Clock;

/// A processor with everything it needs, in this process.
pub struct Dev {
    pub kafka: KafkaSettings,
    config: Config,
    pub health: Arc<Health>,
    broker: Embedded,
}

impl Dev {
    pub fn start(mut config: Config) -> Result<Dev, String> {
        let names = config.topic_names(config.settings().dialect);
        let partitions = config.kafka.partitions;
        let topics: Vec<(String, u32)> = names
            .all()
            .into_iter()
            .map(|topic| (topic.name, if topic.role == Role::Catalog { 1 } else { partitions }))
            .collect();
        let broker = Embedded::start(&topics)?;
        config.kafka = broker.settings(&config.kafka);
        Ok(Dev { kafka: config.kafka.clone(), config, health: Arc::default(), broker })
    }

    pub fn brokers(&self) -> &str {
        self.broker.brokers()
    }

    /// Works until `stop` says so, by the time that `clock` tells.
    pub async fn run(&self, clock: Clock, stop: watch::Receiver<bool>) -> Result<(), String> {
        let settings = self.config.settings().clone();
        let plant = Plant {
            topics: self.config.topic_names(settings.dialect),
            to: run::destinations(&self.config),
            rules: self.config.topic_rules(),
            pace: run::pace(&self.config.shard),
            kafka: self.kafka.clone(),
            store: MemoryStore::new(),
            settings,
            are_settings_known: false,
            health: self.health.clone(),
            has_topics: true,
            clock,
        };
        run::run(plant, stop).await
    }
}
