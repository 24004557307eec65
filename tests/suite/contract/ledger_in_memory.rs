//! The ledger in memory keeps the contract, and its faults do what they say.

use super::ledger::{self, BreakableWorld, World, facts, facts_of_breaking};
use graceline::persist::memory::{Entry, Fault, MemoryStore, Snapshot, Step};
use graceline::persist::{CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write};
use std::sync::atomic::{AtomicU32, Ordering};

struct Memory {
    store: MemoryStore,
    used: AtomicU32,
}

impl Memory {
    fn new() -> Memory {
        Memory { store: MemoryStore::with_history(), used: AtomicU32::new(0) }
    }
}

impl World for Memory {
    type Store = MemoryStore;
    type Mark = Snapshot;

    fn store(&self) -> MemoryStore {
        self.store.clone()
    }

    fn fresh_shard(&self) -> ShardId {
        ShardId(self.used.fetch_add(1, Ordering::Relaxed))
    }

    async fn plant(&self, shard: ShardId, document: &str, bytes: &[u8]) {
        self.store.plant(shard, document, bytes);
    }

    async fn mark(&self, _: ShardId) -> Snapshot {
        self.store.snapshot()
    }

    async fn put_back(&self, _: ShardId, mark: &Snapshot) {
        self.store.restore(mark);
    }
}

impl BreakableWorld for Memory {
    type Backup = Snapshot;

    async fn restart(&self) {
        self.store.restart();
    }

    async fn backup(&self) -> Snapshot {
        self.store.snapshot()
    }

    async fn restart_from(&self, backup: &Snapshot) {
        self.store.restore(backup);
        self.store.restart();
    }

    async fn lose_next_commit(&self, shard: ShardId) {
        self.store.fail_next(shard, Step::Commit, Fault::Lost);
    }

    async fn lose_next_answer(&self, shard: ShardId) {
        self.store.fail_next(shard, Step::Commit, Fault::AnswerLost);
    }
}

macro_rules! as_tests {
    ($($fact:ident,)*) => {$(
        #[tokio::test]
        async fn $fact() {
            ledger::$fact(&Memory::new()).await;
        }
    )*};
}
facts!(as_tests);
facts_of_breaking!(as_tests);

const SHARD: ShardId = ShardId(0);

async fn owner(store: &MemoryStore, token: u128) -> impl Ledger + 'static {
    let mut ledger = store.ledger(SHARD);
    ledger.claim(Token(token)).await.unwrap();
    ledger
}

fn document(key: &str, text: &str) -> Vec<Write> {
    vec![Write { key: key.to_owned(), bytes: text.into() }]
}

fn text(store: &MemoryStore, key: &str) -> Option<String> {
    store.documents(SHARD).remove(key).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[tokio::test]
async fn a_late_commit_lands_after_its_owner_gave_up() {
    let store = MemoryStore::new();
    let mut owner = owner(&store, 1).await;
    store.fail_next(SHARD, Step::Commit, Fault::Late);
    let answer = owner.commit(CommitNo(0), b"{}", &document("a", "late")).await;
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))));
    assert_eq!(text(&store, "a"), None);
    store.release();
    assert_eq!(text(&store, "a").as_deref(), Some("late"));
}

#[tokio::test]
async fn a_late_commit_is_refused_once_its_owner_has_claimed_again() {
    let store = MemoryStore::new();
    let mut owner = owner(&store, 1).await;
    store.fail_next(SHARD, Step::Commit, Fault::Late);
    owner.commit(CommitNo(0), b"{}", &document("a", "late")).await.unwrap_err();
    owner.claim(Token(2)).await.unwrap();
    store.release();
    assert_eq!(text(&store, "a"), None);
    owner.commit(CommitNo(0), b"{}", &document("a", "again")).await.unwrap();
}

#[tokio::test]
async fn a_stalled_commit_is_fenced_if_the_shard_was_claimed_meanwhile() {
    let store = MemoryStore::new();
    let mut zombie = owner(&store, 1).await;
    store.fail_next(SHARD, Step::Commit, Fault::Stalled);
    let stalled =
        tokio::spawn(async move { zombie.commit(CommitNo(0), b"{}", &document("a", "zombie")).await });
    tokio::task::yield_now().await;
    let mut newer = owner(&store, 2).await;
    newer.commit(CommitNo(0), b"{}", &document("a", "newer")).await.unwrap();
    store.release();
    assert_eq!(stalled.await.unwrap(), Err(LedgerError::Fenced));
    assert_eq!(text(&store, "a").as_deref(), Some("newer"));
}

#[tokio::test]
async fn a_stalled_commit_happens_if_nobody_came() {
    let store = MemoryStore::new();
    let mut owner = owner(&store, 1).await;
    store.fail_next(SHARD, Step::Commit, Fault::Stalled);
    let stalled = tokio::spawn(async move { owner.commit(CommitNo(0), b"{}", &document("a", "1")).await });
    tokio::task::yield_now().await;
    assert_eq!(text(&store, "a"), None);
    store.release();
    assert_eq!(stalled.await.unwrap(), Ok(()));
    assert_eq!(text(&store, "a").as_deref(), Some("1"));
}

#[tokio::test]
async fn a_call_that_is_dropped_voids_the_token() {
    let store = MemoryStore::new();
    let mut owner = owner(&store, 1).await;
    store.fail_next(SHARD, Step::Commit, Fault::Stalled);
    let writes = document("a", "1");
    {
        let mut commit = std::pin::pin!(owner.commit(CommitNo(0), b"{}", &writes));
        let waiting = std::future::poll_fn(|cx| std::task::Poll::Ready(commit.as_mut().poll(cx))).await;
        assert!(waiting.is_pending());
    }
    store.release();
    let answer = owner.commit(CommitNo(0), b"{}", &document("a", "2")).await;
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
    assert_eq!(text(&store, "a"), None);
}

#[tokio::test]
async fn lost_reads_and_claims_void_the_token_too() {
    let store = MemoryStore::new();
    let mut owner = owner(&store, 1).await;
    store.fail_next(SHARD, Step::Read, Fault::Lost);
    owner.read(&[]).await.unwrap_err();
    owner.read(&[]).await.unwrap_err();
    store.fail_next(SHARD, Step::Claim, Fault::AnswerLost);
    owner.claim(Token(2)).await.unwrap_err();
    owner.read(&[]).await.unwrap_err();
    let claim = owner.claim(Token(3)).await.unwrap();
    assert_eq!(claim.previous, Some(Token(2)));
    owner.read(&[]).await.unwrap();
}

#[tokio::test]
async fn the_store_takes_back_its_last_writes_and_tells() {
    let store = MemoryStore::with_history();
    let mut older = owner(&store, 1).await;
    older.commit(CommitNo(0), b"1", &document("a", "1")).await.unwrap();
    older.commit(CommitNo(1), b"2", &document("a", "2")).await.unwrap();
    older.forget(&["a".to_owned()]).await.unwrap();
    let mut newer = owner(&store, 2).await;
    assert_eq!(text(&store, "a"), None);

    store.rewind(2);
    assert_eq!(text(&store, "a").as_deref(), Some("2"));
    assert_eq!(store.record(SHARD).unwrap().token, Token(1));
    assert_eq!(newer.commit(CommitNo(2), b"3", &[]).await, Err(LedgerError::Fenced));
    store.rewind(1);
    assert_eq!(text(&store, "a").as_deref(), Some("1"));
    store.rewind(usize::MAX);
    assert_eq!(store.record(SHARD), None);

    let shard = SHARD;
    let history = store.history();
    let hashes: Vec<u64> = history
        .iter()
        .filter_map(|entry| match entry {
            Entry::Committed { hash, .. } => Some(*hash),
            _ => None,
        })
        .collect();
    let (one, two) = (CommitNo(1), CommitNo(2));
    let expected = [
        Entry::Claimed { shard, token: Token(1), commit: CommitNo(0) },
        Entry::Committed { shard, token: Token(1), commit: one, hash: hashes[0] },
        Entry::Committed { shard, token: Token(1), commit: two, hash: hashes[1] },
        Entry::Claimed { shard, token: Token(2), commit: two },
        Entry::WentBack { shard, to: Some((Token(1), two)) },
        Entry::WentBack { shard, to: Some((Token(1), one)) },
        Entry::WentBack { shard, to: None },
    ];
    assert_eq!(history, expected);
    assert_ne!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn the_same_writes_give_the_same_history() {
    let mut histories = Vec::new();
    for _ in 0..2 {
        let store = MemoryStore::with_history();
        let mut owner = owner(&store, 1).await;
        owner.commit(CommitNo(0), b"{}", &document("a", "1")).await.unwrap();
        histories.push(store.history());
    }
    assert_eq!(histories[0], histories[1]);
}

#[tokio::test]
async fn a_late_claim_takes_the_shard_from_whoever_has_it() {
    let store = MemoryStore::new();
    let mut late = store.ledger(SHARD);
    store.fail_next(SHARD, Step::Claim, Fault::Late);
    late.claim(Token(1)).await.unwrap_err();
    let mut owner = owner(&store, 2).await;
    owner.commit(CommitNo(0), b"1", &document("a", "1")).await.unwrap();
    store.release();
    assert_eq!(owner.commit(CommitNo(1), b"2", &[]).await, Err(LedgerError::Fenced));
    assert_eq!(owner.claim(Token(3)).await.unwrap().previous, Some(Token(1)));
    owner.commit(CommitNo(1), b"2", &[]).await.unwrap();
}
