//! What has to hold before the first shard is opened: the store, the topics, and settings that all instances share.
//!
//! Servers that are away are waited for; those that can't serve stop the start, with a line for each reason.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::{BorrowedMessage, Message};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::incoming::Incoming;
use super::reach::reach;
use super::run::Plant;
use crate::catalog::json::Json;
use crate::catalog::settings::Settings;
use crate::ingest::kafka::KafkaSettings;
use crate::ingest::kafka::admin::TopicAdmin;
use crate::ingest::kafka::progress::Progress;
use crate::persist::health::{self as redis_health, Finding, Severity};
use crate::persist::settings::RedisSettings;
use crate::publish::kafka::KafkaNotices;
use crate::publish::{Notice, NoticeLog};
use crate::shard::crew::new_token;
use crate::shard::health::Health;

const PAUSE: Duration = Duration::from_millis(500);

/// Waits until Redis is there, and says what is wrong with it. `Err` if shards can't be kept in it.
pub async fn prepare_redis(redis: &RedisSettings, health: &Health) -> Result<(), String> {
    // What is wrong while a server is still starting isn't wrong for good.
    const LOOKS: usize = 4;
    let mut has_said = false;
    let mut looks = 0;
    loop {
        if let Err(why) = reach(&redis.url).await {
            if !has_said {
                warn!(why, "Redis can't be reached; trying again.");
                health.wait_for(format!("redis: {why}"));
                has_said = true;
            }
            looks = 0;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let findings = redis_health::check(redis, new_token()).await;
        looks += 1;
        let errors: Vec<&Finding> =
            findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        if let Some(first) = errors.first()
            && errors.iter().all(|finding| finding.may_pass())
        {
            if !std::mem::replace(&mut has_said, true) {
                warn!("{first}");
            }
            health.wait_for(format!("redis {}", first.line));
            looks = 0;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let errors = errors.len();
        if errors > 0 && looks < LOOKS {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        for finding in &findings {
            match finding.severity {
                Severity::Error => error!("{finding}"),
                Severity::Warning => warn!("{finding}"),
                Severity::Note => info!("{finding}"),
            }
        }
        return match errors {
            0 => Ok(()),
            _ => Err("redis can't keep what it is given; see above, and docs/REDIS.md".to_owned()),
        };
    }
}

/// Makes what is missing, and says what is wrong with the rest; the number of shards is the usage topic's.
pub(super) async fn prepare_topics<S>(plant: &Plant<S>) -> Result<u32, String> {
    if plant.has_topics {
        return Ok(plant.kafka.partitions);
    }
    let admin = TopicAdmin::new(&plant.kafka)?;
    let topics = plant.topics.all();
    let mut has_said = false;
    let findings = loop {
        match admin.prepare(&topics, &plant.rules).await {
            Ok(findings) => break findings,
            Err(why) if !has_said => {
                warn!(why, "The brokers can't be asked about topics; trying again.");
                plant.health.wait_for(format!("the brokers: {why}"));
                has_said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    };
    let mut errors = 0;
    for finding in findings {
        if finding.error {
            errors += 1;
            error!("{}", finding.line);
        } else {
            warn!("{}", finding.line);
        }
    }
    if errors > 0 {
        return Err(format!("{errors} of the topics can't serve; see above"));
    }
    admin.shards(&plant.topics.usage).await
}

// --- Settings ---------------------------------------------------------------------------------------------------------

const SETTINGS_KEY: &[u8] = b"settings/settings";

/// At the first start what decides invoices is written to the catalog; from then on the topic counts.
pub(super) async fn put_settings<S>(plant: &Plant<S>, notices: &KafkaNotices) {
    if plant.are_settings_known {
        return;
    }
    let (kafka, catalog) = (plant.kafka.clone(), plant.topics.catalog.clone());
    let looked = tokio::task::spawn_blocking(move || has_settings(&kafka, &catalog)).await;
    match looked.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(false) => {}
        Ok(true) => return,
        Err(why) => return warn!(why, "Nobody can say whether the catalog has settings."),
    }
    let record = Notice {
        topic: Arc::from(plant.topics.catalog.as_str()),
        partition: 0,
        key: Some(SETTINGS_KEY.to_vec()),
        value: Some(plant.settings.to_record()),
        headers: Vec::new(),
    };
    match notices.append(Arc::from([record])).await {
        Ok(()) => info!("Wrote the settings to the catalog."),
        Err(error) => warn!(%error, "The settings could not be written to the catalog."),
    }
}

fn has_settings(kafka: &KafkaSettings, catalog: &str) -> Result<bool, String> {
    if Progress::start(kafka)?.is_empty(catalog) {
        return Ok(false);
    }
    let mut records = Incoming::open(kafka, catalog, None)?;
    let is_settings =
        |record: &BorrowedMessage<'_>| record.key() == Some(SETTINGS_KEY) && record.payload().is_some();
    while let Some(found) = records.next(is_settings)? {
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says it when what is in force isn't what the file says, once for each such settings.
pub(super) async fn compare_settings(file: Settings, mut in_force: watch::Receiver<Option<Settings>>) {
    let mut said = None;
    loop {
        let found = in_force.borrow_and_update().clone().filter(|found| *found != file);
        // Shards that are just opened still have the file's, so that the same ones may be found again.
        if found.is_some() && found != said {
            let differ = found.as_ref().map_or(Vec::new(), |found| differences(&file, found)).join("; ");
            warn!(
                differ,
                "The catalog's settings are in force, not the configuration's; `graceline settings apply` changes them."
            );
            said = found;
        }
        if in_force.changed().await.is_err() {
            return;
        }
    }
}

/// What two settings don't agree on, as people read it.
fn differences(file: &Settings, in_force: &Settings) -> Vec<String> {
    let read = |settings: &Settings| Json::read(&settings.to_record()).expect("a record is JSON");
    let (file, in_force) = (read(file), read(in_force));
    let shown = |json: Option<&Json>| match json {
        Some(Json::Text(text) | Json::Number(text)) => text.clone(),
        _ => "none".to_owned(),
    };
    let differs = |name: &&&str| file.get(name) != in_force.get(name);
    let line = |name: &&str| {
        let (file, in_force) = (shown(file.get(name)), shown(in_force.get(name)));
        format!("{name} is {in_force}, the configuration says {file}")
    };
    Settings::MEMBERS.iter().filter(differs).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::duration::Duration;

    #[test]
    fn settings_that_differ_are_named_with_both_values() {
        let file = Settings { default_grace: Duration::of_days(5), ..Settings::default() };
        let in_force = Settings { will_be_due_days: Some(3), ..Settings::default() };
        assert_eq!(
            differences(&file, &in_force),
            [
                "default_grace is P3D, the configuration says P5D",
                "will_be_due_days is 3, the configuration says none"
            ]
        );
        assert!(differences(&file, &file).is_empty());
    }
}
