//! The contract of the ledger: facts that hold for every adapter.
//!
//! A fact is a function over a [`World`], or over a [`BreakableWorld`] where something has to go wrong. Each makes its
//! own owners, on a shard nobody else uses.

use graceline::persist::{
    COMMIT_DOCUMENTS_MAX, Claim, CommitNo, Ledger, LedgerError, ShardId, Store, Token, Write, key,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// An adapter and the store behind it.
pub(super) trait World: Sync {
    type Store: Store;
    /// What a shard held at one moment.
    type Mark: Send + Sync;

    fn store(&self) -> Self::Store;

    /// A shard that no fact has used.
    fn fresh_shard(&self) -> ShardId;

    /// Writes past the ledger: a document, or under `shard` the record.
    async fn plant(&self, shard: ShardId, document: &str, bytes: &[u8]);

    async fn mark(&self, shard: ShardId) -> Self::Mark;

    /// Puts a shard back to what it was, while all connections stay.
    async fn put_back(&self, shard: ShardId, mark: &Self::Mark);
}

/// A world that may be broken for the sake of a fact.
pub(super) trait BreakableWorld: World {
    type Backup: Send + Sync;

    /// Breaks all connections; nothing that was written is lost.
    async fn restart(&self);

    async fn backup(&self) -> Self::Backup;

    /// Restarts with the data of an earlier moment.
    async fn restart_from(&self, backup: &Self::Backup);

    /// The next commit of the shard doesn't reach the store, and its owner isn't told.
    async fn lose_next_commit(&self, shard: ShardId);

    /// The next commit of the shard happens, and its owner isn't told.
    async fn lose_next_answer(&self, shard: ShardId);
}

/// Names all facts of [`World`] to a macro.
macro_rules! facts {
    ($each:ident) => {
        $each! {
            the_first_claim_finds_nothing,
            a_commit_is_there_for_reads_and_the_next_claim,
            a_claim_changes_nothing_but_the_owner,
            a_commit_may_write_no_document,
            documents_come_in_the_order_asked_for,
            the_last_write_of_a_key_counts,
            shards_do_not_see_each_other,
            nothing_works_before_a_claim,
            a_commit_expects_the_number_it_found,
            an_older_owner_is_fenced,
            a_fenced_owner_stays_fenced_until_it_claims,
            a_paused_owner_is_fenced_after_the_new_owners_first_commit,
            of_many_claims_at_once_one_can_write,
            a_claim_loses_no_commit_of_a_busy_owner,
            a_store_that_goes_back_under_its_owner_refuses_it,
            a_paused_owner_is_fenced_though_numbers_repeat,
            a_paused_owner_is_refused_though_its_own_token_is_back,
            a_vanished_shard_refuses_its_owner,
            garbage_in_the_record_is_named,
            garbage_that_comes_later_is_named_too,
            documents_hold_any_bytes,
            hostile_ids_reach_no_other_document,
            forgetting_happens_once_or_twice,
            a_fenced_owner_forgets_nothing,
            one_commit_holds_a_hundred_thousand_documents,
            a_record_may_be_large,
            the_largest_commit_is_named,
        }
    };
}
pub(super) use facts;

/// Names all facts of [`BreakableWorld`] to a macro.
macro_rules! facts_of_breaking {
    ($each:ident) => {
        $each! {
            a_broken_connection_voids_the_token,
            an_owner_that_comes_back_finds_its_own_token,
            a_lost_commit_is_resolved_by_claiming_again,
            a_lost_answer_is_resolved_by_claiming_again,
            a_paused_owner_is_refused_after_the_store_went_back,
            a_paused_owner_is_refused_after_the_store_went_back_to_its_own_token,
            a_store_that_lost_everything_can_be_claimed,
        }
    };
}
pub(super) use facts_of_breaking;

/// An owner, the way the shard's loop is one.
pub(super) struct Owner<L> {
    pub(super) ledger: L,
    pub(super) token: Token,
    pub(super) at: CommitNo,
}

impl<L: Ledger> Owner<L> {
    pub(super) async fn commit(
        &mut self,
        record: &str,
        documents: &[(&str, &str)],
    ) -> Result<(), LedgerError> {
        self.ledger.commit(self.at, record.as_bytes(), &writes(documents)).await?;
        self.at = self.at.next();
        Ok(())
    }

    pub(super) async fn read(&mut self, keys: &[&str]) -> Result<Vec<Option<String>>, LedgerError> {
        let found = self.ledger.read(&owned(keys)).await?;
        Ok(found.into_iter().map(|bytes| bytes.map(|bytes| String::from_utf8(bytes).unwrap())).collect())
    }
}

/// Claims a shard as a new owner.
pub(super) async fn owner<W: World>(world: &W, shard: ShardId) -> Owner<<W::Store as Store>::Ledger> {
    claimed(world, shard).await.0
}

pub(super) async fn claimed<W: World>(
    world: &W,
    shard: ShardId,
) -> (Owner<<W::Store as Store>::Ledger>, Claim) {
    let mut ledger = world.store().ledger(shard);
    let token = fresh_token();
    let claim = ledger.claim(token).await.unwrap();
    (Owner { ledger, token, at: claim.commit }, claim)
}

pub(super) fn fresh_token() -> Token {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    Token(u128::from(DRAWN.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(std::process::id()))
}

pub(super) fn writes(documents: &[(&str, &str)]) -> Vec<Write> {
    documents
        .iter()
        .map(|(key, bytes)| Write { key: (*key).to_owned(), bytes: bytes.as_bytes().to_vec() })
        .collect()
}

pub(super) fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

pub(super) fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[track_caller]
pub(super) fn check_unavailable<T: std::fmt::Debug>(answer: Result<T, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
}

#[track_caller]
pub(super) fn check_fenced<T: std::fmt::Debug>(answer: Result<T, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::Fenced)), "{answer:?}");
}

/// An owner that is not to write must not, whichever way it learns of it.
#[track_caller]
pub(super) fn check_refused<T: std::fmt::Debug>(answer: Result<T, LedgerError>) {
    assert!(matches!(answer, Err(LedgerError::Fenced | LedgerError::Unavailable(_))), "{answer:?}");
}

/// What a claim finds, and what it and the documents say together.
pub(super) async fn check_state<W: World>(
    world: &W,
    shard: ShardId,
    commit: u64,
    record: &str,
    documents: &[(&str, &str)],
) {
    let (mut owner, claim) = claimed(world, shard).await;
    let found = claim.record.map(|record| String::from_utf8(record).unwrap());
    assert_eq!((claim.commit, found.as_deref()), (CommitNo(commit), Some(record)));
    let (keys, texts): (Vec<&str>, Vec<&str>) = documents.iter().copied().unzip();
    assert_eq!(owner.read(&keys).await.unwrap(), some(&texts));
}

pub(super) async fn the_first_claim_finds_nothing<W: World>(world: &W) {
    let (mut owner, claim) = claimed(world, world.fresh_shard()).await;
    assert_eq!(claim, Claim { previous: None, commit: CommitNo(0), record: None });
    assert_eq!(owner.read(&["draft:1"]).await.unwrap(), [None]);
}

pub(super) async fn a_commit_is_there_for_reads_and_the_next_claim<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut first = owner(world, shard).await;
    first.commit(r#"{"read":10}"#, &[("draft:1", "a"), ("draft:2", "b")]).await.unwrap();
    assert_eq!(first.read(&["draft:1", "draft:2"]).await.unwrap(), some(&["a", "b"]));
    first.commit(r#"{"read":20}"#, &[("draft:2", "c")]).await.unwrap();
    assert_eq!(first.read(&["draft:1", "draft:2"]).await.unwrap(), some(&["a", "c"]));

    check_state(world, shard, 2, r#"{"read":20}"#, &[("draft:1", "a"), ("draft:2", "c")]).await;
}

pub(super) async fn a_claim_changes_nothing_but_the_owner<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let first = owner(world, shard).await;
    let (mut second, claim) = claimed(world, shard).await;
    assert_eq!(claim, Claim { previous: Some(first.token), commit: CommitNo(0), record: None });

    second.commit(r#"{"read":10}"#, &[]).await.unwrap();
    let (_, claim) = claimed(world, shard).await;
    let record = Some(br#"{"read":10}"#.to_vec());
    assert_eq!(claim, Claim { previous: Some(second.token), commit: CommitNo(1), record });
}

pub(super) async fn a_commit_may_write_no_document<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    owner.commit("{}", &[]).await.unwrap();
    assert!(owner.read(&[]).await.unwrap().is_empty());
    owner.ledger.forget(&[]).await.unwrap();
    check_state(world, shard, 1, "{}", &[]).await;
}

pub(super) async fn documents_come_in_the_order_asked_for<W: World>(world: &W) {
    let mut owner = owner(world, world.fresh_shard()).await;
    owner.commit("{}", &[("a", "1"), ("b", "2"), ("c", "")]).await.unwrap();
    let found = owner.read(&["c", "none", "a", "b", "a"]).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(found, [text(""), None, text("1"), text("2"), text("1")]);
}

pub(super) async fn the_last_write_of_a_key_counts<W: World>(world: &W) {
    let mut owner = owner(world, world.fresh_shard()).await;
    owner.commit("{}", &[("a", "1"), ("a", "2")]).await.unwrap();
    assert_eq!(owner.read(&["a"]).await.unwrap(), some(&["2"]));
}

pub(super) async fn shards_do_not_see_each_other<W: World>(world: &W) {
    let (here, there) = (world.fresh_shard(), world.fresh_shard());
    let mut here = owner(world, here).await;
    let mut there = owner(world, there).await;
    here.commit("{}", &[("a", "here")]).await.unwrap();
    there.commit("{}", &[("a", "there")]).await.unwrap();
    assert_eq!(here.read(&["a"]).await.unwrap(), some(&["here"]));
    assert_eq!(there.read(&["a"]).await.unwrap(), some(&["there"]));
}

pub(super) async fn nothing_works_before_a_claim<W: World>(world: &W) {
    let mut ledger = world.store().ledger(world.fresh_shard());
    check_unavailable(ledger.commit(CommitNo(0), b"{}", &[]).await);
    check_unavailable(ledger.read(&owned(&["a"])).await);
    check_unavailable(ledger.forget(&owned(&["a"])).await);
}

pub(super) async fn a_commit_expects_the_number_it_found<W: World>(world: &W) {
    let shard = world.fresh_shard();
    for wrong in [0, 2, u64::MAX - 1] {
        let mut owner = owner(world, shard).await;
        if owner.at == CommitNo(0) {
            owner.commit("{}", &[("a", "1")]).await.unwrap();
        }
        owner.at = CommitNo(wrong);
        check_unavailable(owner.commit("{}", &[("a", "2")]).await);
        owner.at = CommitNo(1);
        check_unavailable(owner.commit("{}", &[("a", "3")]).await);
    }
    check_state(world, shard, 1, "{}", &[("a", "1")]).await;
}

pub(super) async fn an_older_owner_is_fenced<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let (mut reads, mut commits) = (owner(world, shard).await, owner(world, shard).await);
    commits.commit("{}", &[("a", "1")]).await.unwrap();
    let _newer = owner(world, shard).await;
    check_fenced(reads.read(&["a"]).await);
    check_fenced(commits.commit("{}", &[("a", "2")]).await);
    check_state(world, shard, 1, "{}", &[("a", "1")]).await;
}

pub(super) async fn a_fenced_owner_stays_fenced_until_it_claims<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut older = owner(world, shard).await;
    let mut newer = owner(world, shard).await;
    check_fenced(older.commit("{}", &[]).await);
    check_fenced(older.read(&["a"]).await);
    check_fenced(older.ledger.forget(&owned(&["a"])).await);

    let claim = older.ledger.claim(fresh_token()).await.unwrap();
    assert_eq!(claim.previous, Some(newer.token));
    older.commit("{}", &[("a", "1")]).await.unwrap();
    check_fenced(newer.commit("{}", &[("a", "2")]).await);
}

pub(super) async fn a_paused_owner_is_fenced_after_the_new_owners_first_commit<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut zombie = owner(world, shard).await;
    zombie.commit(r#"{"by":"zombie"}"#, &[("a", "zombie")]).await.unwrap();
    let mut newer = owner(world, shard).await;
    newer.commit(r#"{"by":"newer"}"#, &[("a", "newer")]).await.unwrap();

    check_fenced(zombie.commit(r#"{"by":"zombie"}"#, &[("a", "zombie"), ("b", "zombie")]).await);
    zombie.at = CommitNo(2);
    check_fenced(zombie.commit(r#"{"by":"zombie"}"#, &[("a", "zombie"), ("b", "zombie")]).await);
    assert_eq!(newer.read(&["b"]).await.unwrap(), [None]);
    check_state(world, shard, 2, r#"{"by":"newer"}"#, &[("a", "newer")]).await;
}

pub(super) async fn of_many_claims_at_once_one_can_write<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let claims: Vec<_> = (0..8)
        .map(|_| {
            let mut ledger = world.store().ledger(shard);
            tokio::spawn(async move {
                // Who is overtaken too often, or by the time it is ready, has just not become the owner.
                let claimed = ledger.claim(fresh_token()).await.is_ok();
                (claimed, ledger)
            })
        })
        .collect();
    let mut owners = 0;
    for claim in claims {
        let (claimed, mut ledger) = claim.await.unwrap();
        let committed = ledger.commit(CommitNo(0), b"{}", &writes(&[("a", "1")])).await;
        owners += usize::from(committed.is_ok());
        assert!(claimed || committed.is_err());
    }
    assert_eq!(owners, 1);
    check_state(world, shard, 1, "{}", &[("a", "1")]).await;
}

pub(super) async fn a_claim_loses_no_commit_of_a_busy_owner<W: World>(world: &W) {
    let shard = world.fresh_shard();
    for _ in 0..5 {
        let mut busy = owner(world, shard).await;
        let working = tokio::spawn(async move {
            for _ in 0..20_000 {
                let number = busy.at.next().to_string();
                if let Err(error) = busy.commit(&number, &[("number", &number)]).await {
                    return (error, busy.at);
                }
                tokio::task::yield_now().await;
            }
            panic!("nothing stops the former owner");
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let (mut next, claim) = claimed(world, shard).await;
        let (error, acknowledged) = working.await.unwrap();
        assert_eq!(error, LedgerError::Fenced);
        assert_eq!(claim.commit, acknowledged);
        if claim.commit > CommitNo(0) {
            let record = String::from_utf8(claim.record.unwrap()).unwrap();
            assert_eq!(record, claim.commit.to_string());
            assert_eq!(next.read(&["number"]).await.unwrap(), some(&[&record]));
        }
    }
}

pub(super) async fn a_store_that_goes_back_under_its_owner_refuses_it<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    owner.commit("1", &[("a", "1")]).await.unwrap();
    let mark = world.mark(shard).await;
    owner.commit("2", &[("a", "2"), ("b", "2")]).await.unwrap();
    world.put_back(shard, &mark).await;

    check_unavailable(owner.commit("3", &[("a", "3")]).await);
    check_unavailable(owner.read(&["a"]).await);
    let claim = owner.ledger.claim(fresh_token()).await.unwrap();
    assert_eq!((claim.previous, claim.commit), (Some(owner.token), CommitNo(1)));
    owner.at = claim.commit;
    assert_eq!(owner.read(&["a", "b"]).await.unwrap(), [Some("1".to_owned()), None]);
    owner.commit("2", &[("a", "2 again")]).await.unwrap();
    check_state(world, shard, 2, "2", &[("a", "2 again")]).await;
}

pub(super) async fn a_paused_owner_is_fenced_though_numbers_repeat<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut zombie = owner(world, shard).await;
    zombie.commit("1", &[("a", "zombie 1")]).await.unwrap();
    let mark = world.mark(shard).await;
    zombie.commit("2", &[("a", "zombie 2")]).await.unwrap();
    world.put_back(shard, &mark).await;
    let mut newer = owner(world, shard).await;
    newer.commit("2", &[("a", "newer 2")]).await.unwrap();

    check_fenced(zombie.commit("3", &[("a", "zombie 3")]).await);
    check_state(world, shard, 2, "2", &[("a", "newer 2")]).await;
}

pub(super) async fn a_paused_owner_is_refused_though_its_own_token_is_back<W: World>(world: &W) {
    for reads_first in [false, true] {
        let shard = world.fresh_shard();
        let mut zombie = owner(world, shard).await;
        zombie.commit("1", &[("a", "zombie 1")]).await.unwrap();
        let mark = world.mark(shard).await;
        let mut newer = owner(world, shard).await;
        newer.commit("2", &[("a", "newer 2")]).await.unwrap();
        world.put_back(shard, &mark).await;

        // The store is where the zombie left it. Still it has to claim first, as everybody.
        if reads_first {
            check_refused(zombie.read(&["a"]).await);
        }
        check_refused(zombie.commit("2", &[("a", "zombie 2")]).await);
        check_refused(newer.commit("3", &[("a", "newer 3")]).await);
        check_state(world, shard, 1, "1", &[("a", "zombie 1")]).await;
    }
}

pub(super) async fn a_vanished_shard_refuses_its_owner<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let nothing = world.mark(shard).await;
    let mut owner = owner(world, shard).await;
    owner.commit("1", &[("a", "1")]).await.unwrap();
    world.put_back(shard, &nothing).await;

    check_unavailable(owner.commit("2", &[("a", "2")]).await);
    let (_, claim) = claimed(world, shard).await;
    assert_eq!(claim, Claim { previous: None, commit: CommitNo(0), record: None });
}

#[track_caller]
pub(super) fn check_garbage<T: std::fmt::Debug>(answer: Result<T, LedgerError>, shard: ShardId) {
    let Err(LedgerError::Corrupt(why)) = answer else { panic!("{answer:?}") };
    assert!(why.contains(&format!(":{{{shard}}}:shard")), "{why}");
}

pub(super) async fn garbage_in_the_record_is_named<W: World>(world: &W) {
    for garbage in ["7", r#"{"token":"me"}"#, "\0", r#"{"token":"0","commit":1,"record":{}}"#] {
        let shard = world.fresh_shard();
        world.plant(shard, "shard", garbage.as_bytes()).await;
        let mut ledger = world.store().ledger(shard);
        check_garbage(ledger.claim(fresh_token()).await, shard);
        check_garbage(ledger.commit(CommitNo(0), b"{}", &[]).await, shard);
    }
}

pub(super) async fn garbage_that_comes_later_is_named_too<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    owner.commit("1", &[]).await.unwrap();
    world.plant(shard, "shard", b"garbage").await;
    check_garbage(owner.commit("2", &[]).await, shard);
    check_garbage(owner.read(&["a"]).await, shard);
}

pub(super) async fn documents_hold_any_bytes<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    let all: Vec<u8> = (0..=255).collect();
    let bytes =
        [all.clone(), b"\r\n$-1\r\n".to_vec(), vec![0; 3], Vec::new(), b"}".to_vec(), b"null".to_vec()];
    let keys: Vec<String> = (0..bytes.len()).map(|n| format!("bytes:{n}")).collect();
    for record in &bytes {
        let writes: Vec<Write> = keys
            .iter()
            .zip(&bytes)
            .map(|(key, bytes)| Write { key: key.clone(), bytes: bytes.clone() })
            .collect();
        owner.ledger.commit(owner.at, record, &writes).await.unwrap();
        owner.at = owner.at.next();
        let claim = owner.ledger.claim(fresh_token()).await.unwrap();
        assert_eq!(claim.record.as_ref(), Some(record));
        let found: Vec<Vec<u8>> = owner.ledger.read(&keys).await.unwrap().into_iter().flatten().collect();
        assert_eq!(found, bytes);
    }
}

pub(super) async fn hostile_ids_reach_no_other_document<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let ids = [
        "",
        "a",
        "A",
        "a:b",
        "a%3Ab",
        "{7}",
        "}{7}:shard",
        "shard",
        "..",
        "*",
        "a?[b]",
        "a b",
        "a\r\nDEL a",
        "a\0",
        "é",
        "e\u{301}",
        "\u{202e}a",
        "~",
        "a~b",
    ];
    let long: Vec<String> = (119..=122).flat_map(|n| ["a", ":"].map(|text| text.repeat(n))).collect();
    let ids: Vec<&str> = ids.into_iter().chain(long.iter().map(String::as_str)).collect();
    // Both as key text, as the core does it, and raw: the ledger is safe by itself.
    let keys = ids
        .iter()
        .map(|id| format!("draft:{}", key::text(id)))
        .chain(ids.iter().map(|id| format!("raw:{id}")));
    let keys: Vec<String> = keys.collect();
    let writes: Vec<Write> =
        keys.iter().map(|key| Write { key: key.clone(), bytes: key.clone().into() }).collect();

    let (other, mut owner) = (world.fresh_shard(), owner(world, shard).await);
    owner.ledger.commit(CommitNo(0), b"{}", &writes).await.unwrap();
    let found: Vec<Vec<u8>> = owner.ledger.read(&keys).await.unwrap().into_iter().flatten().collect();
    assert_eq!(found, keys.iter().map(|key| key.clone().into_bytes()).collect::<Vec<_>>());
    let (_, claim) = claimed(world, other).await;
    assert_eq!(claim.record, None);
    check_state(world, shard, 1, "{}", &[]).await;
}

pub(super) async fn forgetting_happens_once_or_twice<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    owner.commit("1", &[("a", "1"), ("b", "1"), ("c", "1")]).await.unwrap();
    owner.ledger.forget(&owned(&["a", "c", "never there"])).await.unwrap();
    owner.ledger.forget(&owned(&["a", "c"])).await.unwrap();
    assert_eq!(owner.read(&["a", "b", "c"]).await.unwrap(), [None, Some("1".to_owned()), None]);
    owner.commit("2", &[("a", "2")]).await.unwrap();
    check_state(world, shard, 2, "2", &[("a", "2"), ("b", "1")]).await;
}

pub(super) async fn a_fenced_owner_forgets_nothing<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut older = owner(world, shard).await;
    older.commit("1", &[("a", "1")]).await.unwrap();
    let mut newer = owner(world, shard).await;
    newer.commit("2", &[("a", "2")]).await.unwrap();
    check_fenced(older.ledger.forget(&owned(&["a"])).await);
    check_state(world, shard, 2, "2", &[("a", "2")]).await;
}

pub(super) async fn one_commit_holds_a_hundred_thousand_documents<W: World>(world: &W) {
    const DOCUMENTS: usize = 100_000;
    let shard = world.fresh_shard();
    let mut first = owner(world, shard).await;
    let keys: Vec<String> = (0..DOCUMENTS).map(|n| format!("draft:{n:06}")).collect();
    let writes: Vec<Write> = keys
        .iter()
        .map(|key| Write { key: key.clone(), bytes: format!("{key:>120}").into_bytes() })
        .collect();
    first.ledger.commit(CommitNo(0), b"{}", &writes).await.unwrap();

    let mut second = owner(world, shard).await;
    let found = second.ledger.read(&keys).await.unwrap();
    assert_eq!(found.len(), DOCUMENTS);
    for (write, found) in writes.iter().zip(found) {
        assert_eq!(Some(&write.bytes), found.as_ref());
    }
    second.ledger.forget(&keys).await.unwrap();
    assert!(second.ledger.read(&keys).await.unwrap().iter().all(Option::is_none));
}

pub(super) async fn a_record_may_be_large<W: World>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    let large = format!("\"{}\"", "x".repeat(5 << 20));
    owner.commit(&large, &[("a", &large)]).await.unwrap();
    owner.commit(&large, &[]).await.unwrap();
    check_state(world, shard, 2, &large, &[("a", &large)]).await;
}

pub(super) async fn the_largest_commit_is_named<W: World>(world: &W) {
    let mut owner = owner(world, world.fresh_shard()).await;
    let one = Write { key: "a".to_owned(), bytes: Vec::new() };
    owner.ledger.commit(CommitNo(0), b"{}", &vec![one; COMMIT_DOCUMENTS_MAX]).await.unwrap();
}

pub(super) async fn a_broken_connection_voids_the_token<W: BreakableWorld>(world: &W) {
    let shard = world.fresh_shard();
    let mut first = owner(world, shard).await;
    first.commit("1", &[("a", "1")]).await.unwrap();
    world.restart().await;

    check_unavailable(first.commit("2", &[("a", "2")]).await);
    // Nobody else has been there, and still the token is void.
    check_unavailable(first.commit("2", &[("a", "2")]).await);
    check_unavailable(first.read(&["a"]).await);
    check_unavailable(first.ledger.forget(&owned(&["a"])).await);
    check_state(world, shard, 1, "1", &[("a", "1")]).await;
}

pub(super) async fn an_owner_that_comes_back_finds_its_own_token<W: BreakableWorld>(world: &W) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    owner.commit("1", &[("a", "1")]).await.unwrap();
    world.restart().await;

    check_unavailable(owner.read(&["a"]).await);
    let claim = owner.ledger.claim(fresh_token()).await.unwrap();
    assert_eq!((claim.previous, claim.commit), (Some(owner.token), CommitNo(1)));
    owner.commit("2", &[("a", "2")]).await.unwrap();
    check_state(world, shard, 2, "2", &[("a", "2")]).await;
}

pub(super) async fn a_lost_commit_is_resolved_by_claiming_again<W: BreakableWorld>(world: &W) {
    check_unknown_outcome(world, false).await;
}

pub(super) async fn a_lost_answer_is_resolved_by_claiming_again<W: BreakableWorld>(world: &W) {
    check_unknown_outcome(world, true).await;
}

/// The owner hears the same whether its commit happened or not; only a claim tells.
async fn check_unknown_outcome<W: BreakableWorld>(world: &W, happened: bool) {
    let shard = world.fresh_shard();
    let mut owner = owner(world, shard).await;
    owner.commit("1", &[("a", "1"), ("b", "1")]).await.unwrap();
    match happened {
        true => world.lose_next_answer(shard).await,
        false => world.lose_next_commit(shard).await,
    }
    check_unavailable(owner.commit("2", &[("a", "2"), ("b", "2")]).await);
    check_unavailable(owner.commit("2", &[("a", "2"), ("b", "2")]).await);

    let claim = owner.ledger.claim(fresh_token()).await.unwrap();
    let (commit, text) = if happened { (CommitNo(2), "2") } else { (CommitNo(1), "1") };
    assert_eq!((claim.previous, claim.commit), (Some(owner.token), commit));
    assert_eq!(claim.record.as_deref(), Some(text.as_bytes()));
    assert_eq!(owner.read(&["a", "b"]).await.unwrap(), some(&[text, text]));
    owner.at = claim.commit;
    owner.commit("next", &[("a", "next")]).await.unwrap();
    check_state(world, shard, commit.0 + 1, "next", &[("a", "next"), ("b", text)]).await;
}

pub(super) async fn a_paused_owner_is_refused_after_the_store_went_back<W: BreakableWorld>(world: &W) {
    let shard = world.fresh_shard();
    let mut zombie = owner(world, shard).await;
    zombie.commit("1", &[("a", "zombie 1")]).await.unwrap();
    let backup = world.backup().await;
    zombie.commit("2", &[("a", "zombie 2"), ("b", "zombie 2")]).await.unwrap();
    world.restart_from(&backup).await;
    let mut newer = owner(world, shard).await;
    assert_eq!(newer.read(&["a", "b"]).await.unwrap(), [Some("zombie 1".to_owned()), None]);
    newer.commit("2", &[("a", "newer 2")]).await.unwrap();

    check_refused(zombie.commit("3", &[("a", "zombie 3")]).await);
    check_refused(zombie.commit("3", &[("a", "zombie 3")]).await);
    newer.commit("3", &[("c", "newer 3")]).await.unwrap();
    check_state(world, shard, 3, "3", &[("a", "newer 2"), ("c", "newer 3")]).await;
}

pub(super) async fn a_paused_owner_is_refused_after_the_store_went_back_to_its_own_token<
    W: BreakableWorld,
>(
    world: &W,
) {
    let shard = world.fresh_shard();
    let mut zombie = owner(world, shard).await;
    zombie.commit("1", &[("a", "zombie 1")]).await.unwrap();
    let backup = world.backup().await;
    let mut newer = owner(world, shard).await;
    newer.commit("2", &[("a", "newer 2")]).await.unwrap();
    world.restart_from(&backup).await;

    // Token and number are those the zombie knows. Its connection is not, and only that made the token good.
    check_refused(zombie.commit("2", &[("a", "zombie 2")]).await);
    check_refused(newer.commit("3", &[("a", "newer 3")]).await);
    check_state(world, shard, 1, "1", &[("a", "zombie 1")]).await;
}

pub(super) async fn a_store_that_lost_everything_can_be_claimed<W: BreakableWorld>(world: &W) {
    let shard = world.fresh_shard();
    let nothing = world.backup().await;
    let mut first = owner(world, shard).await;
    first.commit("1", &[("a", "1")]).await.unwrap();
    world.restart_from(&nothing).await;

    check_refused(first.commit("2", &[("a", "2")]).await);
    let claim = first.ledger.claim(fresh_token()).await.unwrap();
    assert_eq!(claim, Claim { previous: None, commit: CommitNo(0), record: None });
    assert_eq!(first.read(&["a"]).await.unwrap(), [None]);
}
