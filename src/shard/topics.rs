//! Which topics there are, how they have to be set up, and what is wrong with those that aren't.
//!
//! Nothing here talks to a broker: somebody looks at the topics, [`check`] says what the look is worth.

use crate::ingest::log::{LogName, PerLog};
use std::collections::BTreeMap;

/// The names of all topics, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicNames {
    pub usage: String,
    pub catalog: String,
    pub commands: String,
    /// Usage on its way to another shard.
    pub forwarded: String,
    /// Invoice numbers, asked for and given.
    pub numbers: String,
    pub usage_rejected: String,
    pub billing_rejected: String,
    pub webhooks: Vec<String>,
}

impl TopicNames {
    /// The default names, with the prefix, and one webhook topic for each of `webhooks`, which come without it.
    pub fn new<'a>(prefix: &str, webhooks: impl IntoIterator<Item = &'a str>) -> TopicNames {
        let name = |name: &str| format!("{prefix}{name}");
        let mut webhooks: Vec<String> = webhooks.into_iter().map(name).collect();
        webhooks.sort_unstable();
        webhooks.dedup();
        TopicNames {
            usage: name("usage.events"),
            catalog: name("billing.catalog"),
            commands: name("billing.commands"),
            forwarded: name("graceline.forwarded"),
            numbers: name("graceline.numbers"),
            usage_rejected: name("usage.rejected"),
            billing_rejected: name("billing.rejected"),
            webhooks,
        }
    }

    /// What shards read.
    pub fn logs(&self) -> PerLog<String> {
        PerLog::from_fn(|log| match log {
            LogName::Catalog => self.catalog.clone(),
            LogName::Numbers => self.numbers.clone(),
            LogName::Commands => self.commands.clone(),
            LogName::Forwarded => self.forwarded.clone(),
            LogName::Usage => self.usage.clone(),
        })
    }

    /// Where shards write to their own partition.
    pub fn outputs(&self) -> Vec<String> {
        let rejected = [&self.usage_rejected, &self.billing_rejected];
        self.webhooks.iter().chain(rejected).cloned().collect()
    }

    /// Every topic and what it is for; the one that decides how many shards there are comes first.
    pub fn all(&self) -> Vec<Topic> {
        let named = |names: &[&String], role| -> Vec<Topic> {
            names.iter().map(|name| Topic { name: name.to_string(), role }).collect()
        };
        let mut all = named(&[&self.usage], Role::Usage);
        all.extend(named(&[&self.catalog], Role::Catalog));
        all.extend(named(&[&self.commands, &self.forwarded, &self.numbers], Role::Log));
        all.extend(named(&[&self.usage_rejected, &self.billing_rejected], Role::Rejected));
        all.extend(self.webhooks.iter().map(|name| Topic { name: name.clone(), role: Role::Notices }));
        all
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub role: Role,
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Usage. Its partitions are the shards.
    Usage,
    /// What shards read beside it.
    Log,
    /// The catalog: one partition, so that it has one order.
    Catalog,
    /// Dead letters, which carry the original.
    Rejected,
    /// Webhooks.
    Notices,
}

/// What the configuration asks of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Of a usage topic that has to be made.
    pub partitions: u32,
    /// The largest event that is taken.
    pub event_bytes_max: u32,
    /// How far back usage may have to be read again.
    pub retention_ms: u64,
}

/// Beside an event's bytes there are its key, its headers and the batch around it.
const OVERHEAD_BYTES: u32 = 64 << 10;

/// So large a batch the Kafka client makes of small records.
const OUR_BATCH_BYTES_MAX: u32 = 1_000_000;

/// An invoice with thousands of fees is one record.
pub const NOTICE_BYTES_MAX: u32 = 16 << 20;

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Missing,
    /// It may be there, but not for us.
    Denied(String),
    There {
        partitions: u32,
        /// `None` if we may not look.
        settings: Option<BTreeMap<String, String>>,
    },
}

impl Found {
    fn partitions(&self) -> Option<u32> {
        match self {
            Found::There { partitions, .. } => Some(*partitions),
            _ => None,
        }
    }
}

/// A shortcoming, in one line that says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the processor must not start like this.
    pub error: bool,
    pub line: String,
}

impl Finding {
    pub fn error(line: String) -> Finding {
        Finding { error: true, line }
    }

    pub fn warning(line: String) -> Finding {
        Finding { error: false, line }
    }
}

/// How a missing topic has to be made. `shards` is how many partitions usage has.
pub fn recipe(topic: &Topic, rules: &Rules, shards: u32) -> (u32, BTreeMap<&'static str, String>) {
    let bytes = (rules.event_bytes_max + OVERHEAD_BYTES).to_string();
    let rejected_bytes = (rules.event_bytes_max.max(OUR_BATCH_BYTES_MAX) + OVERHEAD_BYTES).to_string();
    let retention = rules.retention_ms.to_string();
    let append_time = ("message.timestamp.type", "LogAppendTime".to_string());
    let settings = match topic.role {
        Role::Usage | Role::Log => {
            vec![append_time, ("max.message.bytes", bytes), ("retention.ms", retention)]
        }
        Role::Catalog => vec![
            append_time,
            ("cleanup.policy", "compact".to_string()),
            ("min.compaction.lag.ms", retention.clone()),
            ("delete.retention.ms", retention),
            ("max.message.bytes", bytes),
        ],
        Role::Rejected => vec![("max.message.bytes", rejected_bytes)],
        Role::Notices => vec![("max.message.bytes", NOTICE_BYTES_MAX.to_string())],
    };
    (if topic.role == Role::Catalog { 1 } else { shards }, settings.into_iter().collect())
}

/// What is wrong with the topics, in their order. No finding: they can serve.
pub fn check(topics: &[(Topic, Found)], rules: &Rules) -> Vec<Finding> {
    let usage = topics.iter().find(|(topic, _)| topic.role == Role::Usage);
    let usage_name = usage.map_or("the usage topic", |(topic, _)| topic.name.as_str());
    let shards = usage.and_then(|(_, found)| found.partitions());
    let usage_retention = usage.and_then(|(_, found)| number(found, "retention.ms"));
    let mut findings = Vec::new();
    for (topic, found) in topics {
        let mut report = Report { topic, rules, findings: &mut findings };
        match found {
            Found::Missing => {
                report.error("is not there, and could not be created: create it, or allow us to")
            }
            Found::Denied(why) => report.error(&format!(
                "can't be looked at ({why}): allow us to describe it, and to {}",
                if matches!(topic.role, Role::Rejected | Role::Notices) { "write it" } else { "read it" }
            )),
            Found::There { partitions, settings } => {
                report.partitions(*partitions, shards, usage_name);
                match settings {
                    Some(settings) => report.settings(settings, usage_retention),
                    None => report
                        .warning("its settings can't be checked: allow us to describe its configuration"),
                }
            }
        }
    }
    findings
}

fn number(found: &Found, name: &str) -> Option<i64> {
    match found {
        Found::There { settings: Some(settings), .. } => settings.get(name)?.parse().ok(),
        _ => None,
    }
}

/// Collects what is wrong with one topic.
struct Report<'a> {
    topic: &'a Topic,
    rules: &'a Rules,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn partitions(&mut self, partitions: u32, shards: Option<u32>, usage: &str) {
        let wanted = if self.topic.role == Role::Catalog { Some(1) } else { shards };
        match wanted {
            Some(1) if self.topic.role == Role::Catalog && partitions != 1 => {
                self.error(&format!("has {partitions} partitions, but must have one, or it has no order: create it anew with 1"));
            }
            Some(wanted) if partitions < wanted => self.error(&format!(
                "has {partitions} partitions, {usage} has {wanted}: add partitions until it has {wanted}"
            )),
            Some(wanted) if partitions > wanted => self.error(&format!(
                "has {partitions} partitions, {usage} has {wanted}: create it anew with {wanted}"
            )),
            _ => {}
        }
    }

    fn settings(&mut self, settings: &BTreeMap<String, String>, usage_retention: Option<i64>) {
        let text = |name: &str| settings.get(name).map_or("", String::as_str);
        let number = |name: &str| text(name).parse::<i64>().ok();
        let input = matches!(self.topic.role, Role::Usage | Role::Log | Role::Catalog);
        if input && text("message.timestamp.type") != "LogAppendTime" {
            self.error(
                "stamps records with their producers' clocks: set message.timestamp.type=LogAppendTime",
            );
        }
        let compacts = text("cleanup.policy").split(',').any(|policy| policy.trim() == "compact");
        let deletes = text("cleanup.policy").split(',').any(|policy| policy.trim() == "delete");
        match self.topic.role {
            Role::Catalog => self.catalog(compacts, deletes, number, usage_retention),
            _ if compacts => self.error(
                "is compacted, so records that are still needed go missing: set cleanup.policy=delete",
            ),
            Role::Usage | Role::Log => self.retention(number("retention.ms")),
            _ => {}
        }
        self.bytes(number("max.message.bytes"));
        if input && text("unclean.leader.election.enable") == "true" {
            self.warning("may lose its tail when a leader fails: set unclean.leader.election.enable=false");
        }
    }

    fn catalog(
        &mut self,
        compacts: bool,
        deletes: bool,
        number: impl Fn(&str) -> Option<i64>,
        usage: Option<i64>,
    ) {
        if !compacts || deletes {
            self.error("must keep the last record of every key for ever: set cleanup.policy=compact");
        }
        // Usage that is kept for ever is read again no further back than the configuration says.
        let wanted = usage.filter(|ms| *ms >= 0).unwrap_or(self.rules.retention_ms as i64);
        for name in ["min.compaction.lag.ms", "delete.retention.ms"] {
            if number(name).is_some_and(|ms| ms < wanted) {
                self.warning(&format!(
                    "forgets records while usage from their time may still be read again: set {name}={wanted} or more"
                ));
            }
        }
    }

    fn bytes(&mut self, taken_max: Option<i64>) {
        let needed = match self.topic.role {
            Role::Notices => OUR_BATCH_BYTES_MAX,
            Role::Rejected => self.rules.event_bytes_max.max(OUR_BATCH_BYTES_MAX),
            _ => self.rules.event_bytes_max,
        };
        if taken_max.is_some_and(|max| max < i64::from(needed)) {
            let wanted = needed + OVERHEAD_BYTES;
            self.error(&format!("takes no batch of {needed} bytes: set max.message.bytes={wanted} or more"));
        }
    }

    fn retention(&mut self, kept_ms: Option<i64>) {
        let wanted = self.rules.retention_ms as i64;
        if kept_ms.is_some_and(|ms| (0..wanted).contains(&ms)) {
            self.warning(&format!(
                "is kept for a shorter time than it may have to be read again: set retention.ms={wanted}"
            ));
        }
    }

    fn error(&mut self, what: &str) {
        self.findings.push(Finding::error(format!("{} {what}", self.topic.name)));
    }

    fn warning(&mut self, what: &str) {
        self.findings.push(Finding::warning(format!("{} {what}", self.topic.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { partitions: 4, event_bytes_max: 1 << 20, retention_ms: 1000 };

    fn sound() -> Vec<(Topic, Found)> {
        let topics = TopicNames::new("p.", ["webhooks.invoice.finalized"]).all();
        topics
            .into_iter()
            .map(|topic| {
                let (partitions, settings) = recipe(&topic, &RULES, 4);
                let settings = settings.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
                (topic, Found::There { partitions, settings: Some(settings) })
            })
            .collect()
    }

    /// What is said when one topic is otherwise than it should be.
    fn said(name: &str, change: impl Fn(&mut u32, &mut BTreeMap<String, String>)) -> Vec<String> {
        let mut topics = sound();
        for (topic, found) in &mut topics {
            if let Found::There { partitions, settings: Some(settings) } = found
                && topic.name == name
            {
                change(partitions, settings);
            }
        }
        check(&topics, &RULES).into_iter().map(|finding| finding.line).collect()
    }

    fn set(name: &str, setting: &str, value: &str) -> Vec<String> {
        said(name, |_, settings| drop(settings.insert(setting.into(), value.into())))
    }

    #[test]
    fn topics_made_by_the_recipe_have_no_shortcomings() {
        assert_eq!(check(&sound(), &RULES), []);
    }

    #[test]
    fn each_shortcoming_is_one_line_that_says_what_to_do() {
        let lines = [
            (
                said("p.billing.commands", |n, _| *n = 3),
                "p.billing.commands has 3 partitions, p.usage.events has 4: add partitions until it has 4",
            ),
            (
                said("p.webhooks.invoice.finalized", |n, _| *n = 8),
                "p.webhooks.invoice.finalized has 8 partitions, p.usage.events has 4: create it anew with 4",
            ),
            (
                said("p.billing.catalog", |n, _| *n = 2),
                "p.billing.catalog has 2 partitions, but must have one, or it has no order: create it anew with 1",
            ),
            (
                set("p.usage.events", "message.timestamp.type", "CreateTime"),
                "p.usage.events stamps records with their producers' clocks: set message.timestamp.type=LogAppendTime",
            ),
            (
                set("p.usage.events", "cleanup.policy", "compact"),
                "p.usage.events is compacted, so records that are still needed go missing: set cleanup.policy=delete",
            ),
            (
                set("p.usage.events", "max.message.bytes", "1000"),
                "p.usage.events takes no batch of 1048576 bytes: set max.message.bytes=1114112 or more",
            ),
            (
                set("p.billing.commands", "retention.ms", "999"),
                "p.billing.commands is kept for a shorter time than it may have to be read again: set retention.ms=1000",
            ),
            (
                set("p.billing.catalog", "cleanup.policy", "compact,delete"),
                "p.billing.catalog must keep the last record of every key for ever: set cleanup.policy=compact",
            ),
            (
                set("p.billing.catalog", "min.compaction.lag.ms", "0"),
                "p.billing.catalog forgets records while usage from their time may still be read again: set min.compaction.lag.ms=1000 or more",
            ),
            (
                set("p.graceline.numbers", "unclean.leader.election.enable", "true"),
                "p.graceline.numbers may lose its tail when a leader fails: set unclean.leader.election.enable=false",
            ),
        ];
        for (said, line) in lines {
            assert_eq!(said, [line]);
        }
    }

    #[test]
    fn what_is_missing_or_hidden_is_named() {
        let mut topics = sound();
        topics[2].1 = Found::Missing;
        topics[5].1 = Found::Denied("not authorized".into());
        topics[7].1 = Found::There { partitions: 4, settings: None };
        let findings = check(&topics, &RULES);
        assert_eq!(findings.iter().map(|finding| finding.error).collect::<Vec<_>>(), [true, true, false]);
        assert!(findings[0].line.starts_with("p.billing.commands is not there"));
        assert!(findings[1].line.ends_with("allow us to describe it, and to write it"));
    }

    #[test]
    fn the_catalog_is_kept_as_long_as_usage_really_is() {
        let lines = set("p.usage.events", "retention.ms", "5000");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with("set min.compaction.lag.ms=5000 or more"));
        assert!(set("p.usage.events", "retention.ms", "-1").is_empty());
    }
}
