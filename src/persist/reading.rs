//! Looks at a shard without owning it. Its owner doesn't notice.

use std::sync::Arc;

use redis::{Pipeline, Value};

use super::connect::{Connection, Nodes};
use super::fence::not_a_record;
use super::redis::{RedisStore, moved_to, unlike};
use super::schema::{Keyspace, ShardRecord};
use super::{LedgerError, ShardId};

/// Somebody who reads one shard's documents.
pub struct Reader {
    nodes: Arc<Nodes>,
    keys: Keyspace,
    connection: Option<Connection>,
}

/// A shard's record, and documents in the order asked for: all of it as one commit left it.
pub struct Seen {
    /// `None` if the shard has never had an owner.
    pub record: Option<ShardRecord>,
    pub documents: Vec<Option<Vec<u8>>>,
}

/// What one request may bring, as far as the time for it goes.
const REQUEST_BYTES: usize = 8 << 20;

impl RedisStore {
    /// Reads a shard; nothing is asked of Redis yet.
    pub fn reader(&self, shard: ShardId) -> Reader {
        let (nodes, keys) = self.place_of(shard);
        Reader { nodes, keys, connection: None }
    }
}

impl Reader {
    /// The record and these documents. It is one command, so no commit comes in between.
    pub async fn look(&mut self, keys: &[String]) -> Result<Seen, LedgerError> {
        let shard_key = self.keys.shard_key();
        let documents = keys.iter().map(|key| self.keys.document_key(key));
        let asked: Vec<String> = std::iter::once(shard_key.clone()).chain(documents).collect();
        let mut found = self.ask(&asked).await?.into_iter();
        let record = match found.next().flatten() {
            None => None,
            Some(bytes) => Some(ShardRecord::parse(&bytes).map_err(|_| not_a_record(&shard_key))?),
        };
        Ok(Seen { record, documents: found.collect() })
    }

    /// Documents alone.
    pub async fn documents(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<String> = keys.iter().map(|key| self.keys.document_key(key)).collect();
        self.ask(&asked).await
    }

    async fn ask(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        const REDIRECTIONS_MAX: usize = 5;
        let mut commands = Pipeline::new();
        commands.cmd("MGET").arg(keys);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.nodes.connect().await?,
        };
        for _ in 0..REDIRECTIONS_MAX {
            let answer = connection.ask(&commands, REQUEST_BYTES).await?.swap_remove(0);
            if let Some(place) = moved_to(&answer) {
                connection = self.nodes.connect_instead(&connection, place).await?;
                continue;
            }
            let Value::Array(values) = answer else { return Err(unlike(&connection, "MGET", &answer)) };
            self.connection = Some(connection);
            let bytes = |value| match value {
                Value::BulkString(bytes) => Some(bytes),
                _ => None,
            };
            return Ok(values.into_iter().map(bytes).collect());
        }
        let shard_key = self.keys.shard_key();
        Err(connection.unavailable(&format!("{shard_key} was moved more than {REDIRECTIONS_MAX} times")))
    }
}
