//! `graceline settings apply`: puts the file's settings in force, by a record in the catalog.

use super::outgoing::{Outbound, Outgoing};
use super::say;
use crate::config::{Config, grace_warning};
use crate::ingest::kafka::admin::TopicAdmin;

/// The key that the settings have in the catalog.
const KEY: &[u8] = b"settings/settings";

/// Writes them. Topics for the names that webhooks will have are made first.
pub async fn apply(config: &Config) -> Result<(), String> {
    let names = config.topic_names(config.settings().dialect);
    // A broker that keeps no settings of topics, as the one in `dev`, has them already or can't have them.
    if let Ok(findings) = TopicAdmin::new(&config.kafka)?.prepare(&names.all(), &config.topic_rules()).await {
        for finding in findings.iter().filter(|finding| finding.error) {
            say(&format!("error: {}", finding.line));
        }
        if findings.iter().any(|finding| finding.error) {
            return Err("the settings were not written, because topics can't serve; see above".to_owned());
        }
    }
    let value = config.settings().to_record();
    let text = String::from_utf8_lossy(&value).into_owned();
    let record = Outbound { key: Some(KEY.to_vec()), value: Some(value), headers: Vec::new() };
    let mut outgoing = Outgoing::to(&config.kafka, &names.catalog)?;
    let undelivered = |undelivered: super::outgoing::Undelivered| undelivered.why;
    outgoing.give(1, &record).map_err(undelivered)?;
    outgoing.finish().map_err(undelivered)?;
    say(&format!("Written to {}: {text}", names.catalog));
    if let Some(warning) = grace_warning(config.settings()) {
        say(&format!("warning: {warning}"));
    }
    Ok(())
}
