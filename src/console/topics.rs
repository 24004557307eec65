//! `graceline topics create`: makes the topics that are missing, as `run` does at its start.

use super::say;
use crate::config::Config;
use crate::ingest::kafka::admin::TopicAdmin;
use crate::shard::topics::Found;

/// Makes them, and says of each topic what became of it.
pub async fn create(config: &Config) -> Result<(), String> {
    let admin = TopicAdmin::new(&config.kafka)?;
    let topics = config.topic_names(config.settings().dialect).all();
    let unanswered = |why| {
        format!(
            "the brokers at {} do not answer ({why}): see that they run, and that kafka.brokers names them",
            config.kafka.brokers
        )
    };
    let before = admin.look(&topics).await.map_err(unanswered)?;
    let findings = admin.prepare(&topics, &config.topic_rules()).await.map_err(unanswered)?;
    let after = admin.look(&topics).await.map_err(unanswered)?;
    for ((topic, before), (_, after)) in before.iter().zip(&after) {
        match (before, after) {
            (Found::Missing, Found::There { partitions, .. }) => {
                say(&format!("created: {} with {partitions} partitions", topic.name));
            }
            (Found::There { partitions, .. }, _) => {
                say(&format!("there: {} with {partitions} partitions", topic.name))
            }
            _ => {}
        }
    }
    let mut errors = 0;
    for finding in findings {
        errors += usize::from(finding.error);
        say(&format!("{}: {}", if finding.error { "error" } else { "warning" }, finding.line));
    }
    match errors {
        0 => Ok(()),
        1 => Err("one topic can't serve; see above".to_owned()),
        _ => Err(format!("{errors} things keep topics from serving; see above")),
    }
}
