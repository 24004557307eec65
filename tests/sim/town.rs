//! Lives a history: processes over one broker and one store, each event at its instant, and peace in the end.

use super::broker::Broker;
use super::clock::Time;
use super::dump::Dump;
use super::history::{Deed, History};
use super::life::Condition;
use super::notices::Witness;
use super::process::{Common, Habits, Process};
use graceline::catalog::json::Json;
use graceline::catalog::settings::Settings;
use graceline::ingest::log::LogName;
use graceline::persist::ShardId;
use graceline::persist::memory::{MemoryStore, Snapshot};
use graceline::publish::Notice;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is left of a history that was lived to its end.
pub(super) struct Remains {
    pub(super) dump: Dump,
    /// What each shard keeps of itself.
    pub(super) records: Vec<Value>,
    /// The last instant that is judged.
    pub(super) until_ms: i64,
}

pub(super) async fn live(history: &History) -> Result<Remains, String> {
    let mut town = Town::found(history);
    for event in &history.events {
        town.wait_until(event.at_ms).await;
        town.happen(&event.deed).await;
        town.check()?;
    }
    town.make_peace().await;
    let until_ms = town.come_to_rest(history).await?;
    Ok(town.remains(until_ms))
}

struct Town {
    common: Common,
    processes: Vec<Process>,
    habits: Vec<Habits>,
    durable: Arc<Durable>,
    backup: Option<Snapshot>,
    skew_limit_ms: i64,
    /// To whom the group has given each shard.
    owners: Vec<usize>,
    starts: u64,
}

/// How many webhooks the shards have ever committed.
struct Durable {
    store: MemoryStore,
    highest: Mutex<BTreeMap<u32, u64>>,
    breaches: Mutex<Vec<String>>,
}

impl Durable {
    fn look(&self, shard: u32) -> u64 {
        let record = self.store.record(ShardId(shard)).and_then(|record| record.record);
        let numbers = record.and_then(|record| serde_json::from_slice::<Value>(&record).ok());
        let committed = numbers.and_then(|record| record["numbers"]["webhook"].as_u64()).unwrap_or_default();
        let mut highest = self.highest.lock().expect("no one panics here");
        let known = highest.entry(shard).or_default();
        *known = committed.max(*known);
        *known
    }

    /// Nothing is announced before it is durable.
    fn witness(self: &Arc<Durable>) -> Witness {
        let durable = self.clone();
        Box::new(move |notice: &Notice| {
            let seq = notice.headers.iter().find(|(name, _)| name == "graceline-seq");
            let Some(seq) = seq.and_then(|(_, seq)| std::str::from_utf8(seq).ok()?.parse::<u64>().ok())
            else {
                return;
            };
            let shard = notice.partition;
            let known = durable.highest.lock().expect("no one panics here").get(&shard).copied();
            if known.is_none_or(|known| seq >= known) && seq >= durable.look(shard) {
                let breach = format!("shard {shard}: webhook {seq} is told and was never committed");
                durable.breaches.lock().expect("no one panics here").push(breach);
            }
        })
    }
}

impl Town {
    fn found(history: &History) -> Town {
        let json = Json::read(history.settings.to_string().as_bytes()).expect("settings are JSON");
        let store = MemoryStore::with_history();
        let common = Common {
            broker: Arc::new(Broker::new(Arc::new(Time::from(history.traits.begins_ms)))),
            store: store.clone(),
            shards: history.shards,
            settings: Settings::read(&json).expect("the settings can be used"),
            tokens: Arc::default(),
            broken: Arc::default(),
        };
        let durable = Arc::new(Durable { store, highest: Mutex::default(), breaches: Mutex::default() });
        let habits: Vec<Habits> = (0..history.processes)
            .map(|number| Habits {
                seed: history.seed ^ (number as u64) << 32,
                dawdles_ms: history.dawdles_ms,
                pace: history.pace,
            })
            .collect();
        let mut town = Town {
            common,
            processes: Vec::new(),
            habits,
            durable,
            backup: None,
            skew_limit_ms: history.skew_limit_ms(),
            owners: (0..history.shards as usize).map(|shard| shard % history.processes).collect(),
            starts: 0,
        };
        for number in 0..history.processes {
            let process = town.start(number);
            town.processes.push(process);
        }
        for shard in 0..history.shards {
            let owner = town.owners[shard as usize];
            town.processes[owner].give(ShardId(shard));
        }
        town
    }

    fn start(&mut self, number: usize) -> Process {
        self.starts += 1;
        let habits = Habits { seed: self.habits[number].seed ^ self.starts, ..self.habits[number] };
        Process::start(&self.common, habits, self.durable.witness())
    }

    async fn wait_until(&self, at_ms: i64) {
        let ahead = at_ms - self.common.broker.time.now_ms();
        if ahead > 0 {
            tokio::time::sleep(Duration::from_millis(ahead as u64)).await;
        }
    }

    // --- Deeds --------------------------------------------------------------------------------------------------------

    async fn happen(&mut self, deed: &Deed) {
        match deed {
            Deed::Write { topic, partition, key, value } => {
                let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
                let (key, value) = (bytes(key), bytes(value));
                self.common.broker.write(topic, *partition, key.as_deref(), value.as_deref(), &[]);
            }
            Deed::Crash { process, calls } => {
                self.processes[*process].life.after_calls(*calls, Condition::Dead);
            }
            Deed::Revive { process } => self.revive(*process),
            Deed::Freeze { process, calls } => {
                self.processes[*process].life.after_calls(*calls, Condition::Frozen);
            }
            Deed::Thaw { process } => self.processes[*process].life.thaw(),
            Deed::Move { shard, to } => self.move_shard(*shard, *to).await,
            Deed::Steal { shard, to } => self.give(*shard, *to),
            Deed::Tell { shard } => self.tell(*shard),
            Deed::Drop { shard } => self.give(*shard, self.owners[*shard as usize]),
            Deed::FailStep { shard, step, fault } => {
                self.common.store.fail_next(ShardId(*shard), *step, *fault);
            }
            Deed::Release => self.common.store.release(),
            Deed::RestartStore => self.common.store.restart(),
            Deed::LoseWrites { writes, breaks } => {
                self.note_durable();
                self.common.store.rewind(*writes);
                if *breaks {
                    self.common.store.restart();
                }
            }
            Deed::BackUp => self.backup = Some(self.common.store.snapshot()),
            Deed::PutBack => {
                if let Some(backup) = self.backup.take() {
                    self.note_durable();
                    self.common.store.restore(&backup);
                    self.common.store.restart();
                }
            }
            Deed::Produce { process, mishap } => self.processes[*process].producer.befall(*mishap),
            Deed::BrokerLeaves => self.common.broker.set_away(true),
            Deed::BrokerReturns => self.common.broker.set_away(false),
            Deed::FailReading { process, calls } => self.processes[*process].logs.fail(*calls),
            Deed::SkewClock { process, ms } => {
                let watch = &self.processes[*process].watch;
                watch.set_right();
                watch.skew_ms.store((*ms).min(self.skew_limit_ms), Ordering::Relaxed);
            }
            Deed::StopClock { process } => {
                self.processes[*process].watch.stop_at(self.common.broker.time.now_ms());
            }
        }
    }

    fn note_durable(&self) {
        for shard in 0..self.common.shards {
            self.durable.look(shard);
        }
    }

    /// A process that is to be started again is dead first, if its end hasn't come by itself.
    fn revive(&mut self, number: usize) {
        self.processes[number].kill();
        let process = self.start(number);
        self.processes[number] = process;
        for shard in 0..self.common.shards {
            if self.owners[shard as usize] == number {
                self.processes[number].give(ShardId(shard));
            }
        }
    }

    fn give(&mut self, shard: u32, to: usize) {
        self.owners[shard as usize] = to;
        if !self.processes[to].is_dead() {
            self.processes[to].give(ShardId(shard));
        }
    }

    async fn move_shard(&mut self, shard: u32, to: usize) {
        let from = self.owners[shard as usize];
        self.processes[from].hand_over(ShardId(shard)).await;
        self.give(shard, to);
    }

    fn tell(&mut self, shard: u32) {
        let owner = self.owners[shard as usize];
        for (number, process) in self.processes.iter_mut().enumerate() {
            if number != owner {
                process.snatch(ShardId(shard));
            }
        }
    }

    // --- The end ------------------------------------------------------------------------------------------------------

    /// What must hold at any moment. A shard may stand still only where somebody refuses its notices; then somebody
    /// looks, and it goes on.
    fn check(&mut self) -> Result<(), String> {
        let stopped = std::mem::take(&mut *self.common.broken.lock().expect("no one panics here"));
        for (shard, why) in stopped {
            if !why.contains("takes no notice") {
                return Err(format!("shard {shard} stands still: {why}"));
            }
            self.give(shard.0, self.owners[shard.0 as usize]);
        }
        let unfounded = self.durable.breaches.lock().expect("no one panics here");
        match self.common.broker.breaches().first().or(unfounded.first()) {
            Some(breach) => Err(breach.clone()),
            None => Ok(()),
        }
    }

    /// All faults end.
    async fn make_peace(&mut self) {
        self.common.broker.set_away(false);
        for number in 0..self.processes.len() {
            self.processes[number].life.thaw();
            self.processes[number].watch.set_right();
            self.processes[number].producer.spare();
            self.processes[number].logs.fail(0);
            if self.processes[number].is_dead() {
                self.revive(number);
            }
        }
        for shard in 0..self.common.shards {
            self.tell(shard);
            if !self.processes[self.owners[shard as usize]].has(ShardId(shard)) {
                self.give(shard, self.owners[shard as usize]);
            }
        }
        self.common.store.spare();
        self.common.store.release();
        // An owner with nothing to write doesn't see that its store went back: everybody gets something to write.
        self.common.broker.write("billing.catalog", 0, Some(b"plan/nobodys"), None, &[]);
    }

    /// Lets everything happen that is due, and says what didn't; answers the last instant that is judged.
    async fn come_to_rest(&mut self, history: &History) -> Result<i64, String> {
        // What is parked, or on its way to another shard, is decided by then.
        let until_ms = history.until_ms.max(self.common.broker.time.now_ms() + 25_000);
        let end_ms = until_ms + self.skew_limit_ms;
        while self.common.broker.time.now_ms() < end_ms {
            self.wait_until(end_ms.min(self.common.broker.time.now_ms() + 1000)).await;
            self.check()?;
        }
        self.processes.iter().for_each(|process| process.watch.stop_at(end_ms));
        // A tick takes two turns.
        let turn = history.pace.rest_max + Duration::from_millis(500);
        let (mut quiet, mut last) = (0, Vec::new());
        for _ in 0..200 {
            tokio::time::sleep(turn).await;
            self.check()?;
            let now = self.state();
            quiet = if self.is_read() && now == last { quiet + 1 } else { 0 };
            if quiet > 5 {
                return Ok(until_ms);
            }
            last = now;
        }
        Err(format!("liveness: not at rest after 200 turns without faults: {:?}", self.state()))
    }

    /// How far everybody is: commits, and records in the topics.
    fn state(&self) -> Vec<u64> {
        let commit = |shard| self.common.store.record(ShardId(shard)).map_or(0, |record| record.commit.0);
        let commits = (0..self.common.shards).map(commit);
        commits.chain([self.common.broker.records_count()]).collect()
    }

    fn is_read(&self) -> bool {
        (0..self.common.shards).map(ShardId).all(|shard| {
            let record = self.common.store.record(shard).and_then(|record| record.record);
            let positions = record.as_deref().map(super::positions).unwrap_or_default();
            let ends = self.common.broker.ends(shard);
            LogName::ALL.into_iter().all(|log| positions[log as usize] == ends[log].0)
        })
    }

    fn remains(&self, until_ms: i64) -> Remains {
        let record = |shard| {
            let record = self.common.store.record(ShardId(shard)).and_then(|record| record.record);
            let nothing = || serde_json::json!({ "positions": [0, 0, 0, 0, 0] });
            let record: Value =
                serde_json::from_slice(&record.unwrap_or_default()).unwrap_or_else(|_| nothing());
            serde_json::json!({ "record": record })
        };
        Remains {
            dump: self.common.broker.dump(),
            records: (0..self.common.shards).map(record).collect(),
            until_ms,
        }
    }
}
