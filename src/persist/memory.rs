//! A ledger in memory: the same fencing as the real one, and every fault on demand.
//!
//! It serves `dev`, `simulate` and the simulator. Nothing in it depends on a clock or on chance, so what a seed finds
//! can be played again. A store that was made `with_history` can also go back, and tells what was written.

mod state;

use self::state::{Held, History, Shard, State};
use super::fence::{Standing, unexpected};
use super::schema::{SHARD_DOCUMENT, ShardRecord};
use super::{COMMIT_DOCUMENTS_MAX, Claim, CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// The store that all owners share. A clone is another handle on the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    released: Arc<Notify>,
}

/// A step of an owner that a fault can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Claim,
    Read,
    Commit,
    Forget,
}

/// What can happen to a step. The owner hears `Unavailable`, unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The step never reaches the store.
    Lost,
    /// The step happens, only its answer is lost.
    AnswerLost,
    /// The step is still under way when the owner gives up: it reaches the store at the next `release`.
    Late,
    /// The step and its owner stand still until the next `release`, and then go on as if nothing had been.
    Stalled,
}

/// What was written, in order. Entries stay when the store goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Claimed {
        shard: ShardId,
        token: Token,
        commit: CommitNo,
    },
    /// `hash` is of the record and all documents of the commit.
    Committed {
        shard: ShardId,
        token: Token,
        commit: CommitNo,
        hash: u64,
    },
    /// The store went back, and this shard is now where this owner's commit had left it; `None`: it has no record.
    WentBack {
        shard: ShardId,
        to: Option<(Token, CommitNo)>,
    },
}

/// All that a store held at one moment.
#[derive(Clone)]
pub struct Snapshot(BTreeMap<ShardId, Shard>);

impl MemoryStore {
    /// A store that keeps only what is in force.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// A store that also remembers every write, so that it can tell them and take them back.
    pub fn with_history() -> MemoryStore {
        let store = MemoryStore::new();
        store.lock().history = Some(History::default());
        store
    }

    /// Lets `fault` happen to the next step of this kind in the shard. Several wait in line.
    pub fn fail_next(&self, shard: ShardId, step: Step, fault: Fault) {
        self.lock().faults.push((shard, step, fault));
    }

    /// Takes back the faults that haven't happened yet.
    pub fn spare(&self) {
        self.lock().faults.clear();
    }

    /// Lets late steps arrive, in order, and stalled owners go on.
    pub fn release(&self) {
        let mut state = self.lock();
        for write in std::mem::take(&mut state.late) {
            write(&mut state);
        }
        drop(state);
        self.released.notify_waiters();
    }

    /// Breaks all connections, as a restart does. What is on its way is lost, what is written stays.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        state.late.clear();
    }

    /// Takes back the last claims, commits and forgets of all shards, as a store does that loses its tail.
    ///
    /// Connections stay; a real loss comes with a `restart`.
    pub fn rewind(&self, writes: usize) {
        self.lock().rewind(writes);
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.lock().shards.clone())
    }

    /// Puts a backup in. Connections stay; a real restore comes with a `restart`. What was written before the
    /// restore can't be taken back any more.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.shards, snapshot.0.clone());
        if let Some(history) = &mut state.history {
            history.undo.clear();
        }
        state.went_back(before.keys().chain(snapshot.0.keys()).copied().collect());
    }

    /// Puts bytes where only an owner should write: a document's, or under `shard` the record's.
    pub fn plant(&self, shard: ShardId, document: &str, bytes: &[u8]) {
        let mut state = self.lock();
        match document {
            SHARD_DOCUMENT => state.put_record(shard, bytes.to_vec()),
            _ => {
                let documents = &mut state.shards.entry(shard).or_default().documents;
                documents.insert(document.to_owned(), bytes.into());
            }
        }
    }

    /// All that was written to a store `with_history`.
    pub fn history(&self) -> Vec<Entry> {
        self.lock().history.as_ref().map(|history| history.entries.clone()).unwrap_or_default()
    }

    /// The record of a shard, if it has a readable one.
    pub fn record(&self, shard: ShardId) -> Option<ShardRecord> {
        ShardRecord::parse(self.lock().record(shard)).ok()
    }

    /// All documents of a shard, in the order of their keys.
    pub fn documents(&self, shard: ShardId) -> BTreeMap<String, Vec<u8>> {
        let state = self.lock();
        let documents = state.shards.get(&shard).into_iter().flat_map(|shard| &shard.documents);
        documents.map(|(key, bytes)| (key.clone(), bytes.to_vec())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics in the middle of a write")
    }

    /// Lets a write happen, or the fault that waits for it instead.
    async fn attempt<T>(
        &self,
        shard: ShardId,
        step: Step,
        write: impl FnOnce(&mut State) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let released = self.released.notified();
        let fault = self.lock().take_fault(shard, step);
        match fault {
            None => return write(&mut self.lock()),
            Some(Fault::Stalled) => {
                released.await;
                return write(&mut self.lock());
            }
            Some(Fault::Lost) => {}
            Some(Fault::AnswerLost) => drop(write(&mut self.lock())),
            Some(Fault::Late) => self.lock().late.push(Box::new(|state| drop(write(state)))),
        }
        Err(injected(step))
    }

    /// Reaches the store for a step that writes nothing, or lets the fault that waits for it happen instead.
    async fn reach(&self, shard: ShardId, step: Step) -> Result<(), LedgerError> {
        let released = self.released.notified();
        let fault = self.lock().take_fault(shard, step);
        match fault {
            None => {}
            Some(Fault::Stalled) => released.await,
            Some(Fault::Lost | Fault::AnswerLost | Fault::Late) => return Err(injected(step)),
        }
        Ok(())
    }
}

fn injected(step: Step) -> LedgerError {
    LedgerError::Unavailable(format!("no answer to a {step:?}, as the test asked"))
}

impl Store for MemoryStore {
    type Ledger = MemoryLedger;

    fn ledger(&self, shard: ShardId) -> MemoryLedger {
        MemoryLedger { store: self.clone(), shard, standing: Standing::unclaimed() }
    }
}

/// One owner's view of one shard in memory.
pub struct MemoryLedger {
    store: MemoryStore,
    shard: ShardId,
    standing: Standing<Held>,
}

impl Ledger for MemoryLedger {
    async fn claim(&mut self, token: Token) -> Result<Claim, LedgerError> {
        self.standing = Standing::unclaimed();
        let (shard, epoch) = (self.shard, self.store.lock().epoch);
        let write = move |state: &mut State| state.claim(shard, epoch, token);
        let claimed = self.store.attempt(shard, Step::Claim, write).await;
        let (held, claim) = self.standing.after(claimed)?;
        self.standing = Standing::Held(held);
        Ok(claim)
    }

    async fn read(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let held = self.standing.take()?;
        let reached = self.store.reach(self.shard, Step::Read).await;
        let read = reached.and_then(|()| self.store.lock().read(self.shard, held, keys));
        let documents = self.standing.after(read)?;
        self.standing = Standing::Held(held);
        Ok(documents)
    }

    async fn commit(
        &mut self,
        expected: CommitNo,
        record: &[u8],
        writes: &[Write],
    ) -> Result<(), LedgerError> {
        assert!(
            writes.len() <= COMMIT_DOCUMENTS_MAX,
            "a commit holds at most {COMMIT_DOCUMENTS_MAX} documents"
        );
        let (shard, held) = (self.shard, self.standing.take()?);
        if expected != held.header.commit {
            return self.standing.after(Err(unexpected(expected, held.header)));
        }
        let document = |write: &Write| (own(&write.key), Arc::from(write.bytes.as_slice()));
        let documents: Vec<_> = writes.iter().map(document).collect();
        let record = record.to_vec();
        let write = move |state: &mut State| state.commit(shard, held, &record, documents);
        let committed = self.store.attempt(shard, Step::Commit, write).await;
        self.standing = Standing::Held(self.standing.after(committed)?);
        Ok(())
    }

    async fn forget(&mut self, keys: &[String]) -> Result<(), LedgerError> {
        let (shard, held) = (self.shard, self.standing.take()?);
        let keys: Vec<String> = keys.iter().map(|key| own(key)).collect();
        let write = move |state: &mut State| state.forget(shard, held, keys);
        let forgotten = self.store.attempt(shard, Step::Forget, write).await;
        self.standing = Standing::Held(self.standing.after(forgotten)?);
        Ok(())
    }
}

/// A document's key, which is never the record's.
fn own(key: &str) -> String {
    assert!(key != SHARD_DOCUMENT, "the key `shard` is the ledger's own");
    key.to_owned()
}
