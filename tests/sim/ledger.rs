//! The port `Ledger` in memory, as one process reaches it.

use super::life::Life;
use graceline::persist::memory::{MemoryLedger, MemoryStore};
use graceline::persist::{Claim, CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write};
use graceline::planted::{self, Bug};
use std::sync::Arc;

#[derive(Clone)]
pub(super) struct LivingStore {
    pub(super) store: MemoryStore,
    pub(super) life: Arc<Life>,
}

impl Store for LivingStore {
    type Ledger = LivingLedger;

    fn ledger(&self, shard: ShardId) -> LivingLedger {
        let ledger = self.store.ledger(shard);
        LivingLedger { ledger, life: self.life.clone(), more: 0, last: Vec::new() }
    }
}

/// Before and behind every step its process may stand still or die.
pub(super) struct LivingLedger {
    ledger: MemoryLedger,
    life: Arc<Life>,
    /// So many commits more than its owner knows of: a planted bug makes two of one.
    more: u64,
    /// The record as it was last seen.
    last: Vec<u8>,
}

impl LivingLedger {
    /// Writes in two steps what is to be written in one.
    async fn commit_apart(
        &mut self,
        expected: CommitNo,
        first: (&[u8], &[Write]),
        then: (&[u8], &[Write]),
    ) -> Result<(), LedgerError> {
        self.ledger.commit(expected, first.0, first.1).await?;
        self.life.pass().await;
        self.more += 1;
        self.ledger.commit(expected.next(), then.0, then.1).await
    }
}

impl Ledger for LivingLedger {
    async fn claim(&mut self, token: Token) -> Result<Claim, LedgerError> {
        self.life.pass().await;
        let answer = self.ledger.claim(token).await;
        self.more = 0;
        if let Ok(claim) = &answer {
            self.last = claim.record.clone().unwrap_or_default();
        }
        self.life.pass().await;
        answer
    }

    async fn read(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        self.life.pass().await;
        let answer = self.ledger.read(keys).await;
        self.life.pass().await;
        answer
    }

    async fn commit(
        &mut self,
        expected: CommitNo,
        record: &[u8],
        writes: &[Write],
    ) -> Result<(), LedgerError> {
        self.life.pass().await;
        let expected = CommitNo(expected.0 + self.more);
        let last = std::mem::replace(&mut self.last, record.to_vec());
        let answer = if planted::is(Bug::PositionBeforeState) {
            self.commit_apart(expected, (record, &[]), (record, writes)).await
        } else if planted::is(Bug::PositionApartFromState) && !last.is_empty() {
            self.commit_apart(expected, (&last, writes), (record, &[])).await
        } else {
            self.ledger.commit(expected, record, writes).await
        };
        self.life.pass().await;
        answer
    }

    async fn forget(&mut self, keys: &[String]) -> Result<(), LedgerError> {
        self.life.pass().await;
        let answer = self.ledger.forget(keys).await;
        self.life.pass().await;
        answer
    }
}
