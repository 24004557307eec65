//! What the group remembers of how far topics have been read, and whether a topic holds anything.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use super::client::Plain;
use super::settings::KafkaSettings;
use crate::ingest::log::Offset;
use crate::persist::ShardId;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A client that asks the group's coordinator, and is no member.
pub struct Progress {
    client: BaseConsumer<Plain>,
}

impl Progress {
    /// An error is about the settings.
    pub fn start(settings: &KafkaSettings) -> Result<Progress, String> {
        let mut config = settings.client("progress");
        config.set("group.id", &settings.group);
        let client =
            config.create_with_context(Plain::new("progress")).map_err(|error| format!("kafka: {error}"))?;
        Ok(Progress { client })
    }

    /// The offset that was last committed to the group, if any was. An error says why nobody can tell.
    pub fn committed(&self, topic: &str, shard: ShardId) -> Result<Option<Offset>, String> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, shard.0 as i32);
        let found = self.client.committed_offsets(list, TIMEOUT).map_err(|error| error.to_string())?;
        let elements = found.elements();
        let found = elements.first().ok_or("an answer without the partition")?;
        found.error().map_err(|error| error.to_string())?;
        Ok(match found.offset() {
            KafkaOffset::Offset(offset) => u64::try_from(offset).ok().map(Offset),
            _ => None,
        })
    }

    /// Whether the topic's only partition holds nothing; false if nobody answers.
    pub fn is_empty(&self, topic: &str) -> bool {
        self.client.fetch_watermarks(topic, 0, TIMEOUT).is_ok_and(|(low, high)| low == high)
    }
}
