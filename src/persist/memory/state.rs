//! What a store in memory holds, and the rules by which it is written.

use super::{Entry, Fault, Step};
use crate::persist::fence::{not_a_record, refusal};
use crate::persist::schema::{self, Header, Keyspace, ShardRecord};
use crate::persist::{Claim, CommitNo, LedgerError, ShardId, Token};
use crate::planted::{self, Bug};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct State {
    /// Raised with every restart: connections that were made before are broken.
    pub(super) epoch: u64,
    /// Raised whenever a record is written, by whomever.
    version: u64,
    pub(super) shards: BTreeMap<ShardId, Shard>,
    pub(super) faults: Vec<(ShardId, Step, Fault)>,
    /// Writes whose owners have given up on them.
    pub(super) late: Vec<Late>,
    pub(super) history: Option<History>,
}

#[derive(Clone, Default)]
pub(super) struct Shard {
    /// The record as text; empty if there is none.
    record: Vec<u8>,
    /// The store's version when the record was last written. An owner writes only what nobody else wrote since: by
    /// its text alone, a record that went back would pass for the one that its owner left.
    version: u64,
    pub(super) documents: HashMap<String, Arc<[u8]>>,
}

#[derive(Default)]
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    pub(super) undo: Vec<Undo>,
}

type Late = Box<dyn FnOnce(&mut State) + Send>;
type Documents = Vec<(String, Option<Arc<[u8]>>)>;

/// What stood where a write went.
pub(super) struct Undo {
    shard: ShardId,
    record: Vec<u8>,
    documents: Documents,
}

/// What an owner holds: the record as its own last write left it, on a connection of its own.
#[derive(Clone, Copy)]
pub(super) struct Held {
    epoch: u64,
    version: u64,
    pub(super) header: Header,
}

impl State {
    pub(super) fn take_fault(&mut self, shard: ShardId, step: Step) -> Option<Fault> {
        let at = self.faults.iter().position(|waiting| (waiting.0, waiting.1) == (shard, step))?;
        Some(self.faults.remove(at).2)
    }

    pub(super) fn record(&self, shard: ShardId) -> &[u8] {
        self.shards.get(&shard).map_or(&[], |shard| &shard.record)
    }

    pub(super) fn claim(
        &mut self,
        shard: ShardId,
        epoch: u64,
        token: Token,
    ) -> Result<(Held, Claim), LedgerError> {
        self.check_connection(epoch)?;
        let before = self.record(shard).to_vec();
        let claim = match before.as_slice() {
            [] => Claim { previous: None, commit: CommitNo(0), record: None },
            bytes => {
                let found = ShardRecord::parse(bytes).map_err(|_| not_a_record(&key_of(shard)))?;
                Claim { previous: Some(found.token), commit: found.commit, record: found.record }
            }
        };
        let commit = claim.commit;
        let epoch_after = Token(claim.previous.map_or(1, |token| token.0 + 1));
        let token = if planted::is(Bug::NumericEpochOnly) { epoch_after } else { token };
        self.put_record(shard, ShardRecord { token, commit, record: claim.record.clone() }.to_bytes());
        self.remember(Some(Entry::Claimed { shard, token, commit }), shard, before, Vec::new());
        Ok((Held { epoch, version: self.version, header: Header { token, commit } }, claim))
    }

    pub(super) fn read(
        &self,
        shard: ShardId,
        held: Held,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        self.check_held(shard, held)?;
        let documents = &self.shards[&shard].documents;
        Ok(keys.iter().map(|key| documents.get(key).map(|bytes| bytes.to_vec())).collect())
    }

    pub(super) fn commit(
        &mut self,
        shard: ShardId,
        held: Held,
        record: &[u8],
        documents: Vec<(String, Arc<[u8]>)>,
    ) -> Result<Held, LedgerError> {
        self.check_held(shard, held)?;
        let header = Header { commit: held.header.commit.next(), ..held.header };
        let Header { token, commit } = header;
        let entry = Entry::Committed { shard, token, commit, hash: hash_of(record, &documents) };
        let before = self.record(shard).to_vec();
        self.put_record(shard, schema::shard_bytes(token, commit, record));
        let replaced =
            self.put_documents(shard, documents.into_iter().map(|(key, bytes)| (key, Some(bytes))));
        self.remember(Some(entry), shard, before, replaced);
        Ok(Held { version: self.version, header, ..held })
    }

    pub(super) fn forget(
        &mut self,
        shard: ShardId,
        held: Held,
        keys: Vec<String>,
    ) -> Result<Held, LedgerError> {
        self.check_held(shard, held)?;
        let before = self.record(shard).to_vec();
        let replaced = self.put_documents(shard, keys.into_iter().map(|key| (key, None)));
        self.remember(None, shard, before, replaced);
        Ok(held)
    }

    pub(super) fn put_record(&mut self, shard: ShardId, record: Vec<u8>) {
        self.version += 1;
        let shard = self.shards.entry(shard).or_default();
        (shard.version, shard.record) = (self.version, record);
    }

    pub(super) fn rewind(&mut self, writes: usize) {
        let history = self.history.as_mut().expect("only a store with history goes back");
        let kept = history.undo.len().saturating_sub(writes);
        let undone = history.undo.split_off(kept);
        let touched = undone.iter().map(|undo| undo.shard).collect();
        for Undo { shard, record, documents } in undone.into_iter().rev() {
            self.put_record(shard, record);
            self.put_documents(shard, documents.into_iter().rev());
        }
        self.went_back(touched);
    }

    /// Makes sure that no owner mistakes these shards for what it left, and notes where they are now.
    pub(super) fn went_back(&mut self, touched: BTreeSet<ShardId>) {
        for shard in touched {
            let record = self.record(shard).to_vec();
            let to = Header::of(&record).ok().map(|header| (header.token, header.commit));
            self.put_record(shard, record);
            if let Some(history) = &mut self.history {
                history.entries.push(Entry::WentBack { shard, to });
            }
        }
    }

    fn check_connection(&self, epoch: u64) -> Result<(), LedgerError> {
        if epoch != self.epoch {
            return Err(LedgerError::Unavailable("the connection is broken".to_owned()));
        }
        Ok(())
    }

    fn check_held(&self, shard: ShardId, held: Held) -> Result<(), LedgerError> {
        self.check_connection(held.epoch)?;
        if planted::is(Bug::NoFence) {
            return Ok(());
        }
        match self.shards.get(&shard) {
            Some(shard) if shard.version == held.version => Ok(()),
            Some(shard) if planted::is(Bug::NumericEpochOnly) && has_token(&shard.record, held) => Ok(()),
            _ => Err(refusal(&key_of(shard), held.header, self.record(shard))),
        }
    }

    /// Writes or removes documents, and answers what stood there.
    fn put_documents(
        &mut self,
        shard: ShardId,
        documents: impl Iterator<Item = (String, Option<Arc<[u8]>>)>,
    ) -> Documents {
        let shard = self.shards.entry(shard).or_default();
        let put = documents.map(|(key, bytes)| {
            let before = match bytes {
                Some(bytes) => shard.documents.insert(key.clone(), bytes),
                None => shard.documents.remove(&key),
            };
            (key, before)
        });
        put.collect()
    }

    fn remember(&mut self, entry: Option<Entry>, shard: ShardId, record: Vec<u8>, documents: Documents) {
        if let Some(history) = &mut self.history {
            history.entries.extend(entry);
            history.undo.push(Undo { shard, record, documents });
        }
    }
}

fn has_token(record: &[u8], held: Held) -> bool {
    Header::of(record).is_ok_and(|found| found.token == held.header.token)
}

fn hash_of(record: &[u8], documents: &[(String, Arc<[u8]>)]) -> u64 {
    let mut hasher = SipHasher13::new();
    (record, documents).hash(&mut hasher);
    hasher.finish()
}

/// The name of the shard's record in messages.
fn key_of(shard: ShardId) -> String {
    Keyspace::new("memory", shard).shard_key()
}
