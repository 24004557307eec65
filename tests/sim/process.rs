//! A processor: the real wheels over memory, one for each shard that it was given.

use super::broker::{Broker, LOGS, destinations};
use super::clock::Watch;
use super::feed::{Logs, SharedLogs};
use super::ledger::LivingStore;
use super::life::{Condition, Life};
use super::notices::{Producer, Witness};
use graceline::catalog::settings::Settings;
use graceline::ingest::log::{Offset, PerLog};
use graceline::persist::memory::MemoryStore;
use graceline::persist::{ShardId, Token};
use graceline::shard::health::Health;
use graceline::shard::territory::Territory;
use graceline::shard::wheel::Wheel;
use graceline::shard::world::{Group, Pace, Stop, World};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) struct Process {
    pub(super) life: Arc<Life>,
    pub(super) watch: Arc<Watch>,
    pub(super) logs: Arc<Logs>,
    pub(super) producer: Arc<Producer>,
    world: Arc<LivingWorld>,
    territory: u32,
    wheels: BTreeMap<ShardId, Working>,
    tokens: Arc<AtomicU64>,
    broken: Broken,
}

type LivingWorld = World<LivingStore, SharedLogs, Producer>;

/// Shards that stand still until someone has looked, and why.
pub(super) type Broken = Arc<Mutex<Vec<(ShardId, String)>>>;

struct Working {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What all processes of a seed have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) broker: Arc<Broker>,
    pub(super) store: MemoryStore,
    pub(super) shards: u32,
    pub(super) settings: Settings,
    pub(super) tokens: Arc<AtomicU64>,
    pub(super) broken: Broken,
}

/// How one process differs from others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) seed: u64,
    pub(super) dawdles_ms: u64,
    pub(super) pace: Pace,
}

impl Process {
    pub(super) fn start(common: &Common, habits: Habits, witness: Witness) -> Process {
        let life = Arc::new(Life::new(habits.seed, habits.dawdles_ms));
        let watch = Watch::right();
        let logs = Arc::new(Logs::new(common.broker.clone(), life.clone()));
        let producer = Arc::new(Producer::new(common.broker.clone(), life.clone(), witness));
        let world = World {
            store: LivingStore { store: common.store.clone(), life: life.clone() },
            usage: Arc::new(SharedLogs(logs.clone())),
            notices: producer.clone(),
            clock: watch.clock(&common.broker.time),
            settings: common.settings.clone(),
            topics: PerLog(LOGS.map(Arc::from)),
            to: destinations(),
            health: Arc::new(Health::default()),
            pace: habits.pace,
            group: Arc::new(Forgetful),
        };
        Process {
            life,
            watch,
            logs,
            producer,
            world: Arc::new(world),
            territory: common.shards,
            wheels: BTreeMap::new(),
            tokens: common.tokens.clone(),
            broken: common.broken.clone(),
        }
    }

    pub(super) fn has(&self, shard: ShardId) -> bool {
        self.wheels.contains_key(&shard)
    }

    /// Begins to work on a shard, or begins anew.
    pub(super) fn give(&mut self, shard: ShardId) {
        self.snatch(shard);
        let (stop, asked) = watch::channel(false);
        let territory = Territory { shard, shards: self.territory };
        let keeper = keep_turning(
            self.world.clone(),
            territory,
            self.tokens.clone(),
            asked,
            self.broken.clone(),
            self.life.clone(),
        );
        self.wheels.insert(shard, Working { stop, task: tokio::spawn(keeper) });
    }

    /// Asks for a shard back, and waits as long as a group would.
    pub(super) async fn hand_over(&mut self, shard: ShardId) {
        let Some(working) = self.wheels.remove(&shard) else { return };
        let _ = working.stop.send(true);
        let mut task = working.task;
        if tokio::time::timeout(Duration::from_secs(2), &mut task).await.is_err() {
            task.abort();
        }
    }

    /// The group gave the shard to somebody else: whatever is under way is dropped where it stands.
    pub(super) fn snatch(&mut self, shard: ShardId) {
        if let Some(working) = self.wheels.remove(&shard) {
            working.task.abort();
        }
    }

    /// Nothing of it moves any more, nor will.
    pub(super) fn kill(&mut self) {
        self.life.kill();
        self.wheels.clear();
    }

    pub(super) fn is_dead(&self) -> bool {
        self.life.condition() == Condition::Dead
    }
}

/// A group that remembers nothing.
struct Forgetful;

impl Group for Forgetful {
    fn report(&self, _: ShardId, _: Offset) {}

    fn last_reported(&self, _: ShardId) -> Result<Option<Offset>, String> {
        Ok(None)
    }
}

/// Tells when a wheel breaks in the middle of a turn.
struct Watchman {
    shard: ShardId,
    broken: Broken,
}

impl Drop for Watchman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panic = (self.shard, "its wheel panicked".to_owned());
            self.broken.lock().expect("no one panics here").push(panic);
        }
    }
}

/// Opens a shard and turns its wheel, again and again until it is asked to stop or something is wrong for good.
async fn keep_turning(
    world: Arc<LivingWorld>,
    territory: Territory,
    tokens: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
    broken: Broken,
    life: Arc<Life>,
) {
    let _watchman = Watchman { shard: territory.shard, broken: broken.clone() };
    while !*stop.borrow() {
        let token = Token(u128::from(tokens.fetch_add(1, Ordering::Relaxed)) << 64 | 0x51);
        let outcome = match Wheel::open(world.clone(), territory, token).await {
            Ok(wheel) => wheel.run(stop.clone()).await,
            Err(stop) => stop,
        };
        match outcome {
            Stop::Asked => return,
            Stop::Broken(why) => {
                broken.lock().expect("no one panics here").push((territory.shard, why));
                return;
            }
            Stop::Fenced | Stop::Unavailable(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        life.pass().await;
    }
}
