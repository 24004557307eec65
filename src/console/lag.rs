//! How far shards are behind: asks now and then where their logs end. Nothing waits for the answer.

use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::probe::{Isolation, Place, Probe};
use crate::ingest::log::{LogName, Offset, PerLog};
use crate::persist::ShardId;
use crate::shard::health::Health;

const PAUSE: Duration = Duration::from_secs(5);

/// Notes the ends of the logs of all shards that this process has, for as long as it is polled.
pub(super) async fn watch(kafka: KafkaSettings, topics: PerLog<Arc<str>>, health: Arc<Health>) {
    let probe = match Probe::start(&kafka, Isolation::Uncommitted) {
        Ok(probe) => probe,
        Err(error) => return debug!(%error, "Nobody can say how far shards are behind."),
    };
    loop {
        let logs: Vec<(ShardId, LogName)> =
            health.shards().into_iter().flat_map(|(shard, _)| LogName::ALL.map(|log| (shard, log))).collect();
        let places: Vec<Place> = logs.iter().map(|(shard, log)| place(&topics, *shard, *log)).collect();
        for ((shard, log), end) in logs.into_iter().zip(probe.ends(&places).await) {
            if let Ok(end) = end {
                health.note_end(shard, log, Offset(end));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn place(topics: &PerLog<Arc<str>>, shard: ShardId, log: LogName) -> Place {
    let partition = if log == LogName::Catalog { 0 } else { shard.0 };
    Place { topic: topics[log].clone(), partition }
}
