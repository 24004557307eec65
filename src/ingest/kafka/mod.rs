//! Usage comes in from Kafka.
//!
//! Who owns which shard is decided by a group ([`membership`]) whose member reads nothing. What is read, a second client
//! reads ([`reader`]), assigned by hand and exactly where each shard says, and a third for the catalog ([`catalog`]),
//! which all shards share. Questions about where logs begin and end have clients of their own ([`probe`]), so that no
//! answer waits behind data. [`KafkaLog`] puts them together as the port [`UsageLog`].

pub mod admin;
mod bell;
mod catalog;
pub(crate) mod client;
pub mod embedded;
mod feed;
mod front;
mod inbox;
pub mod membership;
pub(crate) mod probe;
pub mod progress;
mod reader;
pub(crate) mod record;
pub mod settings;
pub(crate) mod timer;

pub use feed::{KafkaFeed, KafkaLog};
pub use settings::{Arrival, GroupProtocol, KafkaSettings};

use crate::ingest::log::Stamp;
use rdkafka::message::BorrowedMessage;
use std::sync::Arc;

/// The time in milliseconds since 1970, from whoever knows it.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// When a record arrived, as the settings would have it. What we stamp ourselves never goes back.
fn arrival_stamp(
    message: &BorrowedMessage<'_>,
    arrival: Arrival,
    clock: &Clock,
    newest_ms: &mut i64,
) -> Stamp {
    match arrival {
        Arrival::AppendTime => record::stamp(message),
        Arrival::OnRead => {
            *newest_ms = clock().max(*newest_ms);
            Stamp::Appended { ms: *newest_ms }
        }
    }
}
