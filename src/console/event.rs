//! `graceline show usage SUBSCRIPTION --event ID`: what became of an event.

use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::incoming::Incoming;
use super::look;
use super::say;
use crate::catalog::json::Json;
use crate::config::Config;
use crate::invoice::excerpt::{IdFate, find_id};
use crate::invoice::instant::Instant;
use crate::invoice::usage::{EventId, id_hash};
use crate::persist::ShardId;
use crate::persist::reading::Reader;
use crate::persist::redis::RedisStore;
use crate::publish::REASON_HEADER;

/// Says the fate of the event with that id: from the ids that are held, else from the dead letters.
pub async fn fate(config: &Config, subscription: &str, id: &str, source: Option<&str>) -> Result<(), String> {
    let store = RedisStore::new(&config.redis).map_err(|error| error.to_string())?;
    let event = match source {
        None => EventId::One(id.into()),
        Some(source) => EventId::Sourced { source: source.into(), id: id.into() },
    };
    let hash = id_hash(subscription, &event).max(1);
    let count = look::shards(&store, config.kafka.partitions).await?.unwrap_or(config.kafka.partitions);
    for shard in (0..count).map(ShardId) {
        let mut reader = store.reader(shard);
        if let Some((fate, is_parked)) = held(&mut reader, shard, hash).await? {
            let name = if is_parked { "parked" } else { fate.fate };
            let why = match name {
                "billed" => "it is on the invoice of its period",
                "late" => "its period's invoice was finalized, so it is on a later one",
                "cancelled" => "it was taken back; sent again it is a duplicate",
                _ => "its subscription isn't known yet",
            };
            say(&format!("{name}: {id} of {subscription}, stamped {}: {why}", fate.happened_at));
            return Ok(());
        }
    }
    let usage_rejected = config.topic_names(config.settings().dialect).usage_rejected;
    let letters = rejections(config, &usage_rejected, id)?;
    for (at, reason) in &letters {
        say(&format!("rejected: {id}, refused at {at}: {reason}"));
    }
    match letters.is_empty() {
        false => Ok(()),
        true => Err(format!(
            "no shard holds the id {id} of {subscription}, nor does {usage_rejected}: it hasn't been read, or its \
             timestamp is longer ago than billing.lateness_limit"
        )),
    }
}

/// What a shard knows of the id, and whether the event is parked there.
async fn held(reader: &mut Reader, shard: ShardId, hash: u64) -> Result<Option<(IdFate, bool)>, String> {
    const CHUNK: usize = 200;
    let Some((_, view)) = look::view(reader, shard).await? else { return Ok(None) };
    let chunks: Vec<String> = view.contents.id_chunks().rev().map(|number| format!("ids:{number}")).collect();
    let mut found = None;
    for keys in chunks.chunks(CHUNK) {
        let documents = reader.documents(keys).await.map_err(look::unread)?;
        found = documents.iter().flatten().find_map(|chunk| find_id(chunk, hash));
        if found.is_some() {
            break;
        }
    }
    let Some(fate) = found.filter(|found| found.fate != "free") else { return Ok(None) };
    let keys: Vec<String> = view.contents.parked().iter().map(|number| format!("parked:{number}")).collect();
    for keys in keys.chunks(CHUNK) {
        let documents = reader.documents(keys).await.map_err(look::unread)?;
        let is_it = |bytes: &Vec<u8>| {
            let json = Json::read(bytes);
            json.as_ref().and_then(|json| json.get("id")).and_then(Json::as_integer) == Some(i128::from(hash))
        };
        if documents.iter().flatten().any(is_it) {
            return Ok(Some((fate, true)));
        }
    }
    Ok(Some((fate, false)))
}

/// When and why events with that id were refused.
fn rejections(config: &Config, topic: &str, id: &str) -> Result<Vec<(Instant, String)>, String> {
    let mut letters = Incoming::open(&config.kafka, topic, None)?;
    let mut found = Vec::new();
    let read = |message: &BorrowedMessage<'_>| {
        let json = message.payload().and_then(Json::read);
        let has =
            |name: &str| json.as_ref().and_then(|json| json.get(name)).and_then(Json::as_text) == Some(id);
        let header = |name: &str| {
            let headers = message.headers()?;
            let found = headers.iter().find(|header| header.key == name)?;
            Some(String::from_utf8_lossy(found.value?).into_owned())
        };
        let is_it =
            has("transaction_id") || has("identifier") || has("id") || header("ce_id").as_deref() == Some(id);
        let at = Instant(message.timestamp().to_millis().unwrap_or_default().saturating_mul(1_000_000));
        is_it.then(|| (at, header(REASON_HEADER).unwrap_or_else(|| "unknown".to_owned())))
    };
    while let Some(letter) = letters.next(read)? {
        found.extend(letter);
    }
    Ok(found)
}
