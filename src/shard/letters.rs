//! What shards write to each other: records that were sent on, and invoice numbers.

use serde::{Deserialize, Serialize};

use crate::ingest::log::LogName;
use crate::invoice::books::Place;
use crate::invoice::instant::Instant;
use crate::persist::ShardId;

/// Asks an entity's shard for an invoice's number, or brings it.
#[derive(Serialize, Deserialize)]
pub(super) struct NumberLetter {
    pub(super) from: u32,
    pub(super) invoice: String,
    pub(super) entity: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
}

/// What shards send each other; each kind is numbered by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetterKind {
    Forward,
    NumberRequest,
    Number,
}

pub(super) const ORIGIN_HEADER: &str = "graceline-origin";

/// Where a record that was sent on stood first, and when it arrived there.
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) at: Instant,
}

impl Origin {
    pub(super) fn place(&self) -> Place<'_> {
        Place { topic: &self.topic, partition: self.partition, offset: self.offset }
    }

    pub(super) fn to_text(&self, log: LogName, from: ShardId) -> String {
        format!("{log} {from} {} {} {} {}", self.partition, self.offset, self.at, self.topic)
    }

    pub(super) fn read(text: &str) -> Option<(LogName, u32, Origin)> {
        let mut parts = text.splitn(6, ' ');
        let log = parts.next()?;
        let log = LogName::ALL.into_iter().find(|name| name.as_str() == log)?;
        let from = parts.next()?.parse().ok()?;
        let partition = parts.next()?.parse().ok()?;
        let offset = parts.next()?.parse().ok()?;
        let at = Instant::parse_rfc3339(parts.next()?)?;
        Some((log, from, Origin { topic: parts.next()?.to_owned(), partition, offset, at }))
    }
}
