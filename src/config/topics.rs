//! The names of topics, and which webhook goes to which.

use std::collections::BTreeMap;

use super::read_duration;
use super::reader::Reader;
use crate::catalog::settings::Dialect;
use crate::ingest::kafka::KafkaSettings;
use crate::invoice::instant::SECOND;
use crate::invoice::notice::Event;
use crate::shard::topics::TopicNames;

/// The names without the prefix, and how long records are kept in topics that have to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    pub usage: String,
    pub catalog: String,
    pub commands: String,
    pub forwarded: String,
    pub numbers: String,
    pub usage_rejected: String,
    pub billing_rejected: String,
    pub retention_ms: u64,
}

impl Default for TopicSettings {
    fn default() -> TopicSettings {
        let names = TopicNames::new("", []);
        TopicSettings {
            usage: names.usage,
            catalog: names.catalog,
            commands: names.commands,
            forwarded: names.forwarded,
            numbers: names.numbers,
            usage_rejected: names.usage_rejected,
            billing_rejected: names.billing_rejected,
            retention_ms: 7 * 86_400_000,
        }
    }
}

const NAME: &str = "a topic's name: up to 249 letters, digits, `.`, `_` or `-`";

impl TopicSettings {
    pub(super) fn read(&mut self, reader: &mut Reader, kafka: &mut KafkaSettings) {
        reader.text("topics.prefix", &mut kafka.prefix, NAME, |text| text.is_empty() || is_topic_name(text));
        reader.whole("topics.partitions", &mut kafka.partitions, 1..=100_000);
        reader.optional_whole("topics.replication", &mut kafka.replication, 1..=i128::from(i16::MAX));
        if let Some(json) = reader.json("topics.retention") {
            let ms =
                read_duration(&json).and_then(|kept| u64::try_from(kept.exact().0 / (SECOND / 1000)).ok());
            match ms.filter(|ms| *ms > 0) {
                Some(ms) => self.retention_ms = ms,
                None => reader.refuse("topics.retention", super::wanted_text(super::DURATION)),
            }
        }
        for (key, name) in self.named_mut() {
            reader.text(key, name, NAME, is_topic_name);
        }
    }

    pub(super) fn names(&self, prefix: &str, webhooks: Vec<String>) -> TopicNames {
        let name = |name: &str| format!("{prefix}{name}");
        TopicNames {
            usage: name(&self.usage),
            catalog: name(&self.catalog),
            commands: name(&self.commands),
            forwarded: name(&self.forwarded),
            numbers: name(&self.numbers),
            usage_rejected: name(&self.usage_rejected),
            billing_rejected: name(&self.billing_rejected),
            ..TopicNames::new(prefix, webhooks.iter().map(String::as_str))
        }
    }

    fn named_mut(&mut self) -> [(&'static str, &mut String); 7] {
        [
            ("topics.usage", &mut self.usage),
            ("topics.catalog", &mut self.catalog),
            ("topics.commands", &mut self.commands),
            ("topics.forwarded", &mut self.forwarded),
            ("topics.numbers", &mut self.numbers),
            ("topics.usage_rejected", &mut self.usage_rejected),
            ("topics.billing_rejected", &mut self.billing_rejected),
        ]
    }
}

/// Which type of webhook goes to which topic, where it isn't `webhooks.<type>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookTopics {
    /// By a type's own name or a dialect's, without the prefix.
    table: BTreeMap<String, String>,
}

impl WebhookTopics {
    pub(super) fn read(&mut self, reader: &mut Reader) {
        const TABLE: &str = "webhooks.topics";
        let key_of = |name: &str| format!("{TABLE}.{name}");
        let mut entries: Vec<(String, String)> = reader.open_table(TABLE).into_iter().collect();
        // The environment comes last, since it counts where the file says something else.
        entries.sort_by_key(|(name, _)| reader.is_from_environment(&key_of(name)));
        for (name, topic) in entries {
            let key = key_of(&name);
            // A variable can't tell a dot from an underscore.
            let is_dotted = reader.is_from_environment(&key);
            let fold = |name: &str| if is_dotted { name.replace('_', ".") } else { name.to_owned() };
            match types().into_iter().find(|known| fold(known) == fold(&name)) {
                None => reader.refuse(&key, format!("no such webhook; there are {}", types().join(", "))),
                Some(_) if !is_topic_name(&topic) => reader.refuse(&key, super::wanted_text(NAME)),
                Some(known) => drop(self.table.insert(known.to_owned(), topic)),
            }
        }
    }

    /// The topic of a type as a dialect calls it, without the prefix. The dialect's name goes before the type's own.
    pub(super) fn topic(&self, webhook_type: &str) -> String {
        let own = Event::ALL
            .into_iter()
            .find(|event| Dialect::ALL.into_iter().any(|dialect| event.name(dialect) == webhook_type));
        let own = own.and_then(|event| self.table.get(event.name(Dialect::Graceline)));
        match self.table.get(webhook_type).or(own) {
            Some(topic) => topic.clone(),
            None => format!("webhooks.{webhook_type}"),
        }
    }

    pub(super) fn all(&self, dialect: Dialect) -> Vec<String> {
        Event::ALL.into_iter().map(|event| self.topic(event.name(dialect))).collect()
    }
}

/// Every name a webhook can have, in any dialect.
fn types() -> Vec<&'static str> {
    let mut types: Vec<&str> =
        Event::ALL.into_iter().flat_map(|event| Dialect::ALL.map(|dialect| event.name(dialect))).collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// Topics that two things would write or read: each key with what to do about it.
pub(super) fn collisions(
    topics: &TopicSettings,
    webhooks: &WebhookTopics,
    prefix: &str,
) -> Vec<(String, String)> {
    let mut owners: BTreeMap<String, &'static str> = BTreeMap::new();
    let mut collisions = Vec::new();
    for (key, name) in topics.clone().named_mut() {
        if prefix.len() + name.len() > NAME_BYTES_MAX {
            collisions.push((key.to_owned(), format!("with topics.prefix, {}", super::wanted_text(NAME))));
        }
        if let Some(other) = owners.get(name.as_str()) {
            collisions.push((key.to_owned(), format!("{other} is the same topic: give each its own")));
        }
        owners.insert(name.clone(), key);
    }
    for (name, topic) in &webhooks.table {
        if let Some(other) = owners.get(topic.as_str()) {
            let key = format!("webhooks.topics.{name}");
            collisions.push((key, format!("{other} is the same topic: webhooks need topics of their own")));
        }
    }
    collisions
}

const NAME_BYTES_MAX: usize = 249;

fn is_topic_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_letter) && name != "." && name != ".."
}
