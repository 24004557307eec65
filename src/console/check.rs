//! `graceline check`: whether a configuration can be used, and whether what it names can serve.
//!
//! Servers that can't be reached are named. They are no fault of the configuration.

use std::path::Path;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::reach::reach;
use super::say;
use crate::config::{Config, Problem};
use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::admin::TopicAdmin;
use crate::ingest::kafka::client::Plain;
use crate::persist::health::{self, Severity};
use crate::persist::settings::RedisSettings;
use crate::shard::crew::new_token;
use crate::shard::topics::{self, Found, Topic};

/// What was found, a line each, and how many of the lines are errors.
#[derive(Default)]
struct Report {
    errors: usize,
}

impl Report {
    fn error(&mut self, line: &str) {
        self.errors += 1;
        say(&format!("error: {line}"));
    }

    fn warning(&mut self, line: &str) {
        say(&format!("warning: {line}"));
    }

    fn note(&mut self, line: &str) {
        say(&format!("note: {line}"));
    }

    fn ok(&mut self, line: &str) {
        say(&format!("ok: {line}"));
    }
}

/// Says everything that is wrong with a configuration that can't be used.
pub fn say_problems(problems: &[Problem]) {
    let mut report = Report::default();
    problems.iter().for_each(|problem| report.error(&problem.to_string()));
}

/// Checks a configuration that can be used, and the servers that it names. `Err` if something must be put right.
pub async fn check(config: &Config, path: Option<&Path>) -> Result<(), String> {
    let mut report = Report::default();
    let name = path.map_or("the configuration".to_owned(), |path| path.display().to_string());
    report.ok(&format!("{name} can be used"));
    config.warnings().iter().for_each(|warning| report.warning(warning));
    check_kafka(config, &mut report).await;
    check_redis(&config.redis, &mut report).await;
    match report.errors {
        0 => Ok(()),
        1 => Err("something must be put right before the start; see above".to_owned()),
        errors => Err(format!("{errors} things must be put right before the start; see above")),
    }
}

// --- Kafka ------------------------------------------------------------------------------------------------------------

async fn check_kafka(config: &Config, report: &mut Report) {
    let topics = config.topic_names(config.settings().dialect).all();
    let admin = match TopicAdmin::new(&config.kafka) {
        Ok(admin) => admin,
        Err(why) => return report.error(&format!("{why}: see [kafka]")),
    };
    let found = match admin.look(&topics).await {
        Ok(found) => found,
        Err(why) => {
            let brokers = &config.kafka.brokers;
            return report.note(&format!(
                "the brokers at {brokers} can't be reached, so nobody checked topics: {why}"
            ));
        }
    };
    let (missing, there): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(_, found)| *found == Found::Missing);
    for (topic, _) in &missing {
        report.note(&format!(
            "{} is not there: it is made at the start, or by `graceline topics create`",
            topic.name
        ));
    }
    let findings = topics::check(&there, &config.topic_rules());
    if findings.is_empty() && !there.is_empty() {
        report.ok(&format!("{} topics can serve", there.len()));
    }
    for finding in findings {
        if finding.error { report.error(&finding.line) } else { report.warning(&finding.line) }
    }
    check_group(&config.kafka, there.first().map(|(topic, _)| topic), report).await;
}

/// Whether we may use the group; it is asked for a position, and isn't joined.
async fn check_group(kafka: &KafkaSettings, topic: Option<&Topic>, report: &mut Report) {
    const ASK_MAX: Duration = Duration::from_secs(10);
    let Some(topic) = topic else { return };
    let (config, topic) = (kafka.consumer("check"), topic.name.clone());
    let ask = move || {
        let client: BaseConsumer<Plain> = config.create_with_context(Plain::new("check"))?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 0);
        client.committed_offsets(list, ASK_MAX).map(drop)
    };
    let group = &kafka.group;
    match tokio::task::spawn_blocking(ask)
        .await
        .map(|answer| answer.map_err(|error| error.rdkafka_error_code()))
    {
        Ok(Ok(())) => {}
        Ok(Err(Some(Code::GroupAuthorizationFailed))) => {
            report.error(&format!("the group {group} is not ours: allow us to read and describe it"));
        }
        Ok(Err(code)) => {
            let why = code.map_or("no reason given".to_owned(), |code| code.to_string());
            report.warning(&format!("the group {group} can't be asked for: {why}"));
        }
        Err(error) => report.warning(&format!("the group {group} can't be asked for: {error}")),
    }
}

// --- Redis ------------------------------------------------------------------------------------------------------------

async fn check_redis(redis: &RedisSettings, report: &mut Report) {
    if let Err(why) = reach(&redis.url).await {
        return report.note(&format!("redis can't be reached, so nobody checked it: {why}"));
    }
    let findings = health::check(redis, new_token()).await;
    if findings.iter().all(|finding| finding.severity == Severity::Note) {
        report.ok("redis can serve");
    }
    for finding in findings {
        let line = format!("redis {}", finding.line);
        match finding.severity {
            Severity::Error => report.error(&line),
            Severity::Warning => report.warning(&line),
            Severity::Note => report.note(&line),
        }
    }
}
