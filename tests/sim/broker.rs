//! Topics in memory, for all processes of a seed.

use super::clock::Time;
use super::dump::{Dump, Record};
use graceline::ingest::log::{LogError, LogName, Offset, PerLog, Positions};
use graceline::persist::ShardId;
use graceline::publish::Notice;
use graceline::shard::outbox::Destinations;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

pub(super) const LOGS: [&str; 5] =
    ["billing.catalog", "graceline.numbers", "billing.commands", "graceline.forwarded", "usage.events"];

pub(super) struct Broker {
    pub(super) time: Arc<Time>,
    state: Mutex<State>,
    /// Something has been written.
    pub(super) written: Notify,
}

#[derive(Default)]
struct State {
    logs: BTreeMap<(String, u32), Vec<Record>>,
    is_away: bool,
    is_deaf: bool,
    /// Webhooks by shard and number: what was written first.
    webhooks: BTreeMap<u32, Vec<Notice>>,
    breaches: Vec<String>,
}

impl Broker {
    pub(super) fn new(time: Arc<Time>) -> Broker {
        Broker { time, state: Mutex::default(), written: Notify::new() }
    }

    pub(super) fn set_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
        self.written.notify_waiters();
    }

    pub(super) fn is_away(&self) -> bool {
        self.lock().is_away
    }

    /// Everything can be read, but what shards tell isn't taken.
    pub(super) fn set_deaf(&self, is_deaf: bool) {
        self.lock().is_deaf = is_deaf;
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.lock().is_deaf
    }

    /// Writes a record, stamped with the brokers' time, which never goes back within a log.
    pub(super) fn write(
        &self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(String, Vec<u8>)],
    ) {
        let now_ms = self.time.now_ms();
        let mut state = self.lock();
        let log = state.logs.entry((topic.to_owned(), partition)).or_default();
        let record = Record {
            topic: topic.to_owned(),
            partition,
            offset: log.len() as u64,
            appended_ms: now_ms,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: headers.to_vec(),
        };
        log.push(record);
        drop(state);
        self.written.notify_waiters();
    }

    /// Writes a notice, and looks whether it may be there.
    pub(super) fn announce(&self, notice: &Notice) {
        self.check(notice);
        self.write(
            &notice.topic,
            notice.partition,
            notice.key.as_deref(),
            notice.value.as_deref(),
            &notice.headers,
        );
    }

    /// Webhooks come without a gap, and a repeat is the same again; nothing is told before it happens.
    fn check(&self, notice: &Notice) {
        let header = |wanted: &str| {
            let (_, value) = notice.headers.iter().find(|(name, _)| name == wanted)?;
            std::str::from_utf8(value).ok()
        };
        let Some(number) = header("graceline-seq").and_then(|text| text.parse::<usize>().ok()) else {
            return;
        };
        let at = header("webhook-timestamp").unwrap_or_default().to_owned();
        let now = super::story::instant(self.time.now_ms() + 1);
        let mut state = self.lock();
        let shard = notice.partition;
        if super::replay_instant(&at) > super::replay_instant(&now) {
            state.breaches.push(format!("shard {shard} tells at {now} what happens at {at}"));
        }
        let told = state.webhooks.entry(shard).or_default();
        let breach = match told.get(number) {
            None if number == told.len() => {
                told.push(notice.clone());
                None
            }
            None => Some(format!("shard {shard}: webhook {number} comes after {} others", told.len())),
            Some(first) if first == notice => None,
            Some(first) => {
                let (first, then) = (text_of(first), text_of(notice));
                Some(format!("shard {shard}: webhook {number} is\n  {first}\nand\n  {then}"))
            }
        };
        state.breaches.extend(breach);
    }

    /// What was wrong with what was told, so far.
    pub(super) fn breaches(&self) -> Vec<String> {
        self.lock().breaches.clone()
    }

    /// Everything that is in the topics.
    pub(super) fn dump(&self) -> Dump {
        let logs = self.lock().logs.clone();
        let ends = logs.iter().map(|(place, log)| (place.clone(), log.len() as u64)).collect();
        Dump { logs, ends }
    }

    pub(super) fn records_count(&self) -> u64 {
        self.lock().logs.values().map(|log| log.len() as u64).sum()
    }

    pub(super) fn end(&self, log: LogName, shard: ShardId) -> Offset {
        Offset(self.read(log, shard, |records| records.len() as u64))
    }

    pub(super) fn ends(&self, shard: ShardId) -> Positions {
        PerLog::from_fn(|log| self.end(log, shard))
    }

    pub(super) fn read<T>(&self, log: LogName, shard: ShardId, look: impl FnOnce(&[Record]) -> T) -> T {
        let partition = if log == LogName::Catalog { 0 } else { shard.0 };
        self.read_topic(LOGS[log as usize], partition, look)
    }

    pub(super) fn read_topic<T>(&self, topic: &str, partition: u32, look: impl FnOnce(&[Record]) -> T) -> T {
        let state = self.lock();
        look(state.logs.get(&(topic.to_owned(), partition)).map_or(&[], Vec::as_slice))
    }

    /// The topics that a shard's notices are in.
    pub(super) fn outputs(&self, shard: ShardId) -> Vec<String> {
        let is_output = |topic: &str| !LOGS.contains(&topic);
        let state = self.lock();
        let of_shard =
            state.logs.keys().filter(|(topic, partition)| *partition == shard.0 && is_output(topic));
        of_shard.map(|(topic, _)| topic.clone()).collect()
    }

    pub(super) fn check_position(
        &self,
        log: LogName,
        shard: ShardId,
        wanted: Offset,
    ) -> Result<(), LogError> {
        let end = self.end(log, shard);
        if wanted > end {
            return Err(LogError::OutOfRange { log, wanted, begin: Offset(0), end });
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics here")
    }
}

fn text_of(notice: &Notice) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers: Vec<String> =
        notice.headers.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    format!("{} {} {}", notice.topic, headers.join(" "), text(notice.value.as_deref().unwrap_or_default()))
}

/// Where notices go: topics of the default names.
pub(super) fn destinations() -> Destinations {
    use graceline::catalog::settings::Dialect;
    use graceline::invoice::notice::Event;
    let mut webhooks = BTreeMap::new();
    for dialect in [Dialect::Graceline, Dialect::Lago, Dialect::Stripe, Dialect::Hyperline] {
        for event in Event::ALL {
            let name = event.name(dialect);
            webhooks.insert(name.to_owned(), Arc::from(format!("webhooks.{name}")));
        }
    }
    Destinations {
        webhooks,
        usage_rejected: Arc::from("usage.rejected"),
        billing_rejected: Arc::from("billing.rejected"),
    }
}
