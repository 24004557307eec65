//! `graceline run`: the processor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

use super::{lag, start};
use crate::catalog::settings::{Dialect, Settings};
use crate::config::{Config, ShardSettings};
use crate::ingest::kafka::KafkaLog;
use crate::ingest::kafka::membership::Membership;
use crate::ingest::kafka::progress::Progress;
use crate::ingest::kafka::settings::KafkaSettings;
use crate::ingest::log::Offset;
use crate::invoice::notice::Event;
use crate::persist::{ShardId, Store};
use crate::publish::kafka::KafkaNotices;
use crate::shard::crew::Crew;
use crate::shard::health::Health;
use crate::shard::outbox::Destinations;
use crate::shard::topics::{Rules, TopicNames};
use crate::shard::world::{Clock, Group, Pace, World};

/// What a processor is made of, whichever broker and store it works with.
pub struct Plant<S> {
    pub kafka: KafkaSettings,
    pub topics: TopicNames,
    pub to: Destinations,
    pub rules: Rules,
    pub store: S,
    pub settings: Settings,
    /// The store remembers which settings are in force, so the catalog needn't be asked.
    pub are_settings_known: bool,
    pub pace: Pace,
    pub health: Arc<Health>,
    /// The broker has no topics to be made or looked at: it was started with them.
    pub has_topics: bool,
    pub clock: Clock,
}

/// Where the notices of this configuration go.
pub fn destinations(config: &Config) -> Destinations {
    let mut webhooks = BTreeMap::new();
    for dialect in [Dialect::Graceline, Dialect::Lago, Dialect::Stripe, Dialect::Hyperline] {
        for event in Event::ALL {
            let name = event.name(dialect);
            webhooks.insert(name.to_owned(), Arc::from(config.webhook_topic(name)));
        }
    }
    let names = config.topic_names(config.settings().dialect);
    Destinations {
        webhooks,
        usage_rejected: Arc::from(names.usage_rejected),
        billing_rejected: Arc::from(names.billing_rejected),
    }
}

pub fn pace(settings: &ShardSettings) -> Pace {
    Pace {
        records_max: settings.batch_records_max,
        bytes_max: settings.batch_bytes_max,
        wait_max: Duration::from_millis(settings.batch_wait_ms),
        ..Pace::default()
    }
}

/// How long a processor takes at most to finish what it has begun.
const DRAIN_MAX: Duration = Duration::from_secs(8);

/// Works until a signal or `stop` ends it.
pub async fn run<S: Store>(plant: Plant<S>, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let shards = tokio::select! {
        shards = start::prepare_topics(&plant) => shards?,
        _ = stop.changed() => return Ok(()),
    };
    let usage = KafkaLog::start(&plant.kafka, &plant.topics.logs(), plant.clock.clone())?;
    let notices = KafkaNotices::start(&plant.kafka, &plant.topics.outputs())?;
    let names = plant.topics.logs();
    start::put_settings(&plant, &notices).await;
    let (membership, mut changes) = Membership::join(&plant.kafka, &plant.topics.usage)?;
    let membership = Arc::new(membership);
    let group = KafkaGroup {
        membership: membership.clone(),
        progress: Progress::start(&plant.kafka)?,
        topic: plant.topics.usage.clone(),
    };
    let world = World {
        group: Arc::new(group),
        store: plant.store,
        usage: Arc::new(usage),
        notices: Arc::new(notices),
        clock: plant.clock,
        settings: plant.settings.clone(),
        topics: crate::ingest::log::PerLog::from_fn(|log| Arc::from(names[log].as_str())),
        to: plant.to,
        health: plant.health,
        pace: plant.pace,
    };
    world.health.is_member();
    let lag = tokio::spawn(lag::watch(plant.kafka.clone(), world.topics.clone(), world.health.clone()));
    let comparison = tokio::spawn(start::compare_settings(plant.settings, world.health.settings_in_force()));
    let mut crew = Crew::new(Arc::new(world), shards);
    info!(shards, group = plant.kafka.group, "Joined the group.");
    crew.work(&mut changes, stop).await;
    lag.abort();
    comparison.abort();
    info!("Finishing what was begun.");
    crew.finish(DRAIN_MAX).await;
    drop(crew);
    // Whoever is told now to give shards up has none.
    drop(changes);
    if let Ok(membership) = Arc::try_unwrap(membership) {
        let _ = tokio::time::timeout(Duration::from_secs(2), membership.leave()).await;
    }
    Ok(())
}

/// The group as a shard sees it.
struct KafkaGroup {
    membership: Arc<Membership>,
    progress: Progress,
    topic: String,
}

impl Group for KafkaGroup {
    fn report(&self, shard: ShardId, next: Offset) {
        self.membership.report(&self.topic, shard, next);
    }

    fn last_reported(&self, shard: ShardId) -> Result<Option<Offset>, String> {
        tokio::task::block_in_place(|| self.progress.committed(&self.topic, shard))
    }
}

/// The wall clock; the only place where the processor looks at it.
#[allow(clippy::disallowed_methods, reason = "time comes into the program here, and nowhere else")]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// The second signal means it: whatever is under way is read again by the next owner.
#[allow(clippy::disallowed_methods, reason = "nothing is left to be finished")]
fn exit_at_once() -> ! {
    std::process::exit(130)
}

/// Becomes true at the first SIGTERM or interrupt; the second one ends the process at once.
pub fn stop_at_signals() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let mut terminate = signal(SignalKind::terminate()).expect("a process can watch signals");
        let mut interrupt = signal(SignalKind::interrupt()).expect("a process can watch signals");
        for count in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if count > 0 {
                exit_at_once();
            }
            let _ = sender.send(true);
        }
    });
    receiver
}
