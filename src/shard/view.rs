//! A shard's record as somebody reads it who doesn't own the shard.

use super::standing::{SCHEMA, Standing};
use crate::ingest::log::{Offset, PerLog, Positions};
use crate::invoice::keep::Contents;

/// What a shard says of itself.
#[derive(Clone, Debug)]
pub struct View {
    /// How many shards there are.
    pub shards: u32,
    /// The next records to be read.
    pub positions: Positions,
    /// How many webhooks have been numbered.
    pub webhooks: u64,
    /// Commits whose notices may not be out.
    pub outbox: u64,
    pub contents: Contents,
}

impl View {
    /// Reads the record that a commit left.
    pub fn read(record: &[u8]) -> Result<View, String> {
        let standing: Standing = serde_json::from_slice(record).map_err(|error| {
            format!("its record can't be read ({error}): was it written by another version?")
        })?;
        if standing.schema != SCHEMA {
            let found = standing.schema;
            return Err(format!("its record has schema {found}, this program knows {SCHEMA}"));
        }
        Ok(View {
            shards: standing.shards,
            positions: PerLog::from_fn(|log| Offset(standing.positions[log as usize])),
            webhooks: standing.numbers.webhook,
            outbox: standing.outbox.1 - standing.outbox.0,
            contents: standing.books,
        })
    }
}
