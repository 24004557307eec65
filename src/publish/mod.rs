//! The world is told: the port [`NoticeLog`], and what promises to be behind it.

pub mod kafka;

use crate::persist::ShardId;
use std::fmt;
use std::sync::Arc;

/// The header that numbers a shard's webhooks, without gaps.
pub const SEQ_HEADER: &str = "graceline-seq";

/// The header that numbers what else a shard sends: rejections, and records for other shards.
pub const OUTBOX_HEADER: &str = "graceline-outbox";

/// The header that says why a record was refused (R20).
pub const REASON_HEADER: &str = "graceline-reason";

/// A record to be sent. Sent again it is the same, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whole, with the prefix.
    pub topic: Arc<str>,
    pub partition: u32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// One of them is [`SEQ_HEADER`] or [`OUTBOX_HEADER`], a decimal number that grows within topic and partition.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Notice {
    /// The value of its header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_slice())
    }
}

/// The highest numbers that a shard's partition of a topic holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub topic: Arc<str>,
    pub seq: Option<u64>,
    pub outbox: Option<u64>,
}

/// Where notices go.
pub trait NoticeLog: Send + Sync {
    /// What the shard's partition of each output topic already holds, in the order of the configured topics.
    ///
    /// A number that is reported is out for certain, and all below it that went to the same topic are too. One that is
    /// out may be missing from the report (an earlier owner's late repeat can hide it): sending it again is a repeat,
    /// not a mistake. It reads the tails only; a topic that isn't there is an error.
    fn last(&self, shard: ShardId) -> impl Future<Output = Result<Vec<Published>, NoticeError>> + Send;

    /// Sends the notices, each after the one before it within its topic and partition.
    ///
    /// `Ok`: all of them are durable, in order. `Refused`: one of them will never be taken as things stand, and nothing
    /// behind it in its topic and partition has been or will be sent; others may have been. `Unavailable`: nobody
    /// knows; send the same again.
    ///
    /// While the brokers are away it waits. If the future is dropped, the notices may still go out.
    fn append(&self, notices: Arc<[Notice]>) -> impl Future<Output = Result<(), NoticeError>> + Send;
}

/// What went wrong, named for what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeError {
    /// The outcome is unknown: the same notices again.
    Unavailable(String),
    /// It can't be sent until someone does something about it: keep it, stop, call someone.
    Refused { topic: String, partition: u32, why: String },
}

impl fmt::Display for NoticeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoticeError::Unavailable(why) => write!(f, "the notice log does not answer: {why}"),
            NoticeError::Refused { topic, partition, why } => {
                write!(f, "{topic}/{partition} takes no notice: {why}")
            }
        }
    }
}

impl std::error::Error for NoticeError {}
