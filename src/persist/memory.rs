//! A ledger in memory: the same fencing as the real one, and every fault on demand.
//!
//! It serves `dev`, `simulate` and the simulator. Nothing in it depends on a clock or on chance, so what a seed finds
//! can be played again. A store that was made `with_history` can also go back, and tells what was written.

use super::fence::{Standing, not_a_record, refusal, unexpected};
use super::schema::{self, Header, Keyspace, SHARD_DOCUMENT, ShardRecord};
use super::{COMMIT_DOCUMENTS_MAX, Claim, CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
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

    /// Lets late steps arrive, in order, and stalled owners go on.
    pub fn release(&self) {
        let mut state = self.lock();
        for attempt in std::mem::take(&mut state.late) {
            // Whoever sent it has long been told that nobody knows.
            let _ = state.apply(attempt);
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
        ShardRecord::parse(self.lock().record(shard).1).ok()
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

    /// Carries a write out, or lets the fault that waits for it happen instead.
    async fn attempt(&self, step: Step, attempt: Attempt) -> Result<Seen, LedgerError> {
        let released = self.released.notified();
        let fault = self.lock().take_fault(attempt.shard, step);
        match fault {
            None => return self.lock().apply(attempt),
            Some(Fault::Stalled) => {
                released.await;
                return self.lock().apply(attempt);
            }
            Some(Fault::Lost) => {}
            Some(Fault::AnswerLost) => drop(self.lock().apply(attempt)),
            Some(Fault::Late) => self.lock().late.push(attempt),
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

#[derive(Default)]
struct State {
    /// Raised with every restart: what was begun before is void.
    epoch: u64,
    /// Raised whenever a record is written, by whomever.
    version: u64,
    shards: BTreeMap<ShardId, Shard>,
    faults: Vec<(ShardId, Step, Fault)>,
    late: Vec<Attempt>,
    history: Option<History>,
}

#[derive(Clone, Default)]
struct Shard {
    /// The record as text; empty if there is none.
    record: Vec<u8>,
    /// The store's version when the record was last written. An owner writes only what nobody wrote since it looked:
    /// by its text alone a record that went back would pass for the one that it left.
    version: u64,
    documents: HashMap<String, Arc<[u8]>>,
}

#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    undo: Vec<Undo>,
}

/// What stood where a write went.
struct Undo {
    shard: ShardId,
    record: Vec<u8>,
    documents: Vec<(String, Option<Arc<[u8]>>)>,
}

/// What an owner knows of a record, from its own connection.
#[derive(Clone, Copy)]
struct Seen {
    /// The restarts there had been when the connection was made.
    epoch: u64,
    /// The version of the record when the owner last looked or wrote.
    version: u64,
    /// What the record said then; `None` if there was none.
    header: Option<Header>,
}

/// A write on its way to the store.
struct Attempt {
    shard: ShardId,
    seen: Seen,
    write: Attempted,
}

enum Attempted {
    Claim(Token),
    Commit { record: Vec<u8>, documents: Vec<(String, Arc<[u8]>)> },
    Forget(Vec<String>),
}

impl State {
    fn take_fault(&mut self, shard: ShardId, step: Step) -> Option<Fault> {
        let at = self.faults.iter().position(|waiting| (waiting.0, waiting.1) == (shard, step))?;
        Some(self.faults.remove(at).2)
    }

    fn record(&self, shard: ShardId) -> (u64, &[u8]) {
        self.shards.get(&shard).map_or((0, &[]), |shard| (shard.version, &shard.record))
    }

    fn put_record(&mut self, shard: ShardId, record: Vec<u8>) {
        self.version += 1;
        let shard = self.shards.entry(shard).or_default();
        (shard.version, shard.record) = (self.version, record);
    }

    /// An owner may go on only if nobody wrote the record since it looked.
    fn check_untouched(&self, shard: ShardId, seen: Seen) -> Result<(), LedgerError> {
        if seen.epoch != self.epoch {
            return Err(LedgerError::Unavailable("the connection is broken".to_owned()));
        }
        match (self.record(shard), seen.header) {
            ((version, _), _) if version == seen.version => Ok(()),
            ((_, found), Some(held)) => Err(refusal(&key_of(shard), held, found)),
            ((_, _), None) => Err(LedgerError::Unavailable("another owner was faster".to_owned())),
        }
    }

    fn read(&self, shard: ShardId, seen: Seen, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        self.check_untouched(shard, seen)?;
        let documents = &self.shards[&shard].documents;
        Ok(keys.iter().map(|key| documents.get(key).map(|bytes| bytes.to_vec())).collect())
    }

    /// Answers what the owner has seen after its write.
    fn apply(&mut self, attempt: Attempt) -> Result<Seen, LedgerError> {
        let Attempt { shard, seen, write } = attempt;
        self.check_untouched(shard, seen)?;
        self.write(shard, seen.header, write);
        let (version, record) = self.record(shard);
        Ok(Seen { version, header: Header::of(record).ok(), ..seen })
    }

    fn write(&mut self, shard: ShardId, seen: Option<Header>, write: Attempted) {
        let mut undo = Undo { shard, record: self.record(shard).1.to_vec(), documents: Vec::new() };
        let entry = match write {
            Attempted::Claim(token) => {
                self.put_record(shard, claimed(&undo.record, token));
                Some(Entry::Claimed { shard, token, commit: seen.map_or(CommitNo(0), |seen| seen.commit) })
            }
            Attempted::Commit { record, documents } => {
                let Header { token, commit } = seen.expect("an owner commits what it has claimed");
                let (commit, hash) = (commit.next(), hash_of(&record, &documents));
                self.put_record(shard, schema::shard_bytes(token, commit, &record));
                undo.documents =
                    self.put_documents(shard, documents.into_iter().map(|(key, bytes)| (key, Some(bytes))));
                Some(Entry::Committed { shard, token, commit, hash })
            }
            Attempted::Forget(keys) => {
                undo.documents = self.put_documents(shard, keys.into_iter().map(|key| (key, None)));
                None
            }
        };
        if let Some(history) = &mut self.history {
            history.entries.extend(entry);
            history.undo.push(undo);
        }
    }

    /// Writes or removes documents, and answers what stood there.
    fn put_documents(
        &mut self,
        shard: ShardId,
        documents: impl Iterator<Item = (String, Option<Arc<[u8]>>)>,
    ) -> Vec<(String, Option<Arc<[u8]>>)> {
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

    fn rewind(&mut self, writes: usize) {
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
    fn went_back(&mut self, touched: BTreeSet<ShardId>) {
        for shard in touched {
            let record = self.record(shard).1.to_vec();
            let header = Header::of(&record).ok();
            if self.shards.contains_key(&shard) {
                self.put_record(shard, record);
            }
            if let Some(history) = &mut self.history {
                let to = header.map(|header| (header.token, header.commit));
                history.entries.push(Entry::WentBack { shard, to });
            }
        }
    }
}

/// The record with another owner's token, and nothing else changed.
fn claimed(record: &[u8], token: Token) -> Vec<u8> {
    let found = ShardRecord::parse(record).ok();
    let (commit, record) = found.map_or((CommitNo(0), None), |found| (found.commit, found.record));
    ShardRecord { token, commit, record }.to_bytes()
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

/// One owner's view of one shard in memory.
pub struct MemoryLedger {
    store: MemoryStore,
    shard: ShardId,
    standing: Standing<Seen>,
}

impl Ledger for MemoryLedger {
    async fn claim(&mut self, token: Token) -> Result<Claim, LedgerError> {
        self.standing = Standing::unclaimed();
        let looked = self.look();
        let (seen, found) = self.standing.after(looked)?;
        self.write(Step::Claim, seen, Attempted::Claim(token)).await?;
        Ok(match found {
            None => Claim { previous: None, commit: CommitNo(0), record: None },
            Some(ShardRecord { token, commit, record }) => Claim { previous: Some(token), commit, record },
        })
    }

    async fn read(&mut self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let seen = self.standing.take()?;
        let reached = self.store.reach(self.shard, Step::Read).await;
        let read = reached.and_then(|()| self.store.lock().read(self.shard, seen, keys));
        let documents = self.standing.after(read)?;
        self.standing = Standing::Held(seen);
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
        let seen = self.standing.take()?;
        let held = seen.header.expect("an owner has seen its own header");
        if expected != held.commit {
            return self.standing.after(Err(unexpected(expected, held)));
        }
        let documents = writes.iter().map(|write| (own(&write.key), write.bytes.as_slice().into())).collect();
        self.write(Step::Commit, seen, Attempted::Commit { record: record.to_vec(), documents }).await
    }

    async fn forget(&mut self, keys: &[String]) -> Result<(), LedgerError> {
        let seen = self.standing.take()?;
        self.write(Step::Forget, seen, Attempted::Forget(keys.iter().map(|key| own(key)).collect())).await
    }
}

impl MemoryLedger {
    fn look(&self) -> Result<(Seen, Option<ShardRecord>), LedgerError> {
        let state = self.store.lock();
        let (version, bytes) = state.record(self.shard);
        let found = match bytes {
            [] => None,
            bytes => Some(ShardRecord::parse(bytes).map_err(|_| not_a_record(&key_of(self.shard)))?),
        };
        let header = found.as_ref().map(|found| Header { token: found.token, commit: found.commit });
        Ok((Seen { epoch: state.epoch, version, header }, found))
    }

    /// Writes, and if that went well, holds the shard as the write left it.
    async fn write(&mut self, step: Step, seen: Seen, write: Attempted) -> Result<(), LedgerError> {
        let answer = self.store.attempt(step, Attempt { shard: self.shard, seen, write }).await;
        let seen = self.standing.after(answer)?;
        self.standing = Standing::Held(seen);
        Ok(())
    }
}

/// A document's key, which is never the record's.
fn own(key: &str) -> String {
    assert!(key != SHARD_DOCUMENT, "the key `shard` is the ledger's own");
    key.to_owned()
}
