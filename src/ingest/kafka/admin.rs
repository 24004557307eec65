//! Looks at topics and makes those that are missing.

use super::client::{Plain, Trouble};
use super::settings::KafkaSettings;
use crate::shard::topics::{Finding, Found, Rules, Topic, check, recipe};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What may be asked of the brokers about topics.
pub struct TopicAdmin {
    client: Arc<AdminClient<Plain>>,
    replication: Option<u16>,
}

impl TopicAdmin {
    /// An error is about the settings.
    pub fn new(settings: &KafkaSettings) -> Result<TopicAdmin, String> {
        let client = settings.client("admin").create_with_context(Plain::new("admin"));
        let client = Arc::new(client.map_err(|error| format!("kafka: {error}"))?);
        Ok(TopicAdmin { client, replication: settings.replication })
    }

    /// Creates what is missing, and says what is still wrong with the topics. No finding: they can serve.
    ///
    /// The usage topic comes first in `topics`: if it is there, it says how many partitions the others get. `Err` means
    /// that the brokers don't answer, so nothing is known.
    pub async fn prepare(&self, topics: &[Topic], rules: &Rules) -> Result<Vec<Finding>, String> {
        let mut found = self.look(topics).await?;
        let shards = match found.first() {
            Some((_, Found::There { partitions, .. })) => *partitions,
            _ => rules.partitions,
        };
        let mut refused = Vec::new();
        for (topic, _) in found.iter().filter(|(_, found)| *found == Found::Missing) {
            refused.extend(self.create(topic, rules, shards).await);
        }
        let is_missing = |found: &[(Topic, Found)]| {
            found.iter().any(|(topic, found)| {
                *found == Found::Missing && !refused.iter().any(|(other, _)| *other == topic.name)
            })
        };
        // What was just created takes a moment to show up.
        for _ in 0..50 {
            if !is_missing(&found) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            found = self.look(topics).await?;
        }
        found.retain(|(topic, _)| !refused.iter().any(|(other, _)| *other == topic.name));
        let findings = refused.into_iter().map(|(_, finding)| finding);
        Ok(findings.chain(check(&found, rules)).collect())
    }

    /// Says what is wrong with the topics, and changes nothing.
    pub async fn check(&self, topics: &[Topic], rules: &Rules) -> Result<Vec<Finding>, String> {
        Ok(check(&self.look(topics).await?, rules))
    }

    async fn create(&self, topic: &Topic, rules: &Rules, shards: u32) -> Option<(String, Finding)> {
        let (partitions, settings) = recipe(topic, rules, shards);
        let replication = TopicReplication::Fixed(self.replication.map_or(-1, i32::from));
        let mut new = NewTopic::new(&topic.name, partitions as i32, replication);
        for (name, value) in &settings {
            new = new.set(name, value);
        }
        let why = match self.client.create_topics([&new], &options()).await {
            Ok(results) => match results.into_iter().next() {
                Some(Err((_, code))) if code != Code::TopicAlreadyExists => code.to_string(),
                _ => return None,
            },
            Err(error) => error.to_string(),
        };
        let line = format!(
            "{} is not there, and could not be created ({why}): create it, or allow us to",
            topic.name
        );
        Some((topic.name.clone(), Finding::error(line)))
    }

    async fn look(&self, topics: &[Topic]) -> Result<Vec<(Topic, Found)>, String> {
        let partitions = self.partitions(topics).await?;
        let mut all = Vec::new();
        for (topic, partitions) in topics.iter().zip(partitions) {
            let found = match partitions {
                Ok(partitions) => Found::There { partitions, settings: self.settings(&topic.name).await? },
                Err(Trouble::Gone(_)) => Found::Missing,
                Err(Trouble::Denied(why)) => Found::Denied(why),
                Err(trouble) => return Err(format!("{}: {trouble}", topic.name)),
            };
            all.push((topic.clone(), found));
        }
        Ok(all)
    }

    /// How many partitions each topic has. The client's call blocks, so it has a thread.
    async fn partitions(&self, topics: &[Topic]) -> Result<Vec<Result<u32, Trouble>>, String> {
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let client = self.client.clone();
        let ask =
            move || names.iter().map(|name| partitions_of(&client, name)).collect::<KafkaResult<Vec<_>>>();
        let answer = tokio::task::spawn_blocking(ask).await.map_err(|error| error.to_string())?;
        answer.map_err(|error| format!("kafka: {error}"))
    }

    /// `None` if we may not look.
    async fn settings(&self, topic: &str) -> Result<Option<BTreeMap<String, String>>, String> {
        let answer = self.client.describe_configs([&ResourceSpecifier::Topic(topic)], &options()).await;
        let answer = answer.map_err(|error| format!("{topic}: {error}"))?;
        match answer.into_iter().next() {
            Some(Ok(resource)) => Ok(Some(
                resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect(),
            )),
            Some(Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) | None => Ok(None),
            Some(Err(code)) => Err(format!("{topic}: {code}")),
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

fn partitions_of(client: &AdminClient<Plain>, topic: &str) -> KafkaResult<Result<u32, Trouble>> {
    let metadata = client.inner().fetch_metadata(Some(topic), TIMEOUT)?;
    let Some(found) = metadata.topics().iter().find(|one| one.name() == topic) else {
        return Ok(Err(Trouble::Gone("unknown topic".into())));
    };
    Ok(match found.error() {
        Some(error) => Err(Trouble::of_code(error.into())),
        None => Ok(found.partitions().len() as u32),
    })
}
