//! What a crash may do to Redis, and what it must not do to a shard.

use super::ledger::{
    BreakableWorld, Owner, World, check_fenced, check_state, check_unavailable, owned, owner,
};
use super::ledger_in_redis::{OwnRedis, Redis, to};
use super::redis_server::{Accident, Server, ask_text, eventually};
use graceline::persist::redis::RedisStore;
use graceline::persist::settings::RedisSettings;
use graceline::persist::{CommitNo, Ledger, ShardId, Store, Token, Write};
use std::collections::BTreeMap;
use std::fs;
use std::task::Poll;

/// Numbers that look drawn and are the same every time.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

#[tokio::test]
async fn the_log_holds_one_command_a_commit() {
    let server = Server::durable().await;
    let redis = Redis::new(to(&server.url()), vec![server.url()]);
    let mut owner = owner(&redis, ShardId(7)).await;
    for _ in 0..3 {
        owner.commit("{}", &[("a", "1"), ("b", "2"), ("c", "3")]).await.unwrap();
    }
    owner.read(&["a"]).await.unwrap();
    owner.ledger.forget(&owned(&["a", "b"])).await.unwrap();

    let log = fs::read(server.log_tail()).unwrap();
    let count = |word: &str| log.windows(word.len()).filter(|bytes| bytes == &word.as_bytes()).count();
    let found = [count("MSET\r\n"), count("UNLINK\r\n"), count("MULTI\r\n"), count("EXEC\r\n")];
    assert_eq!(found, [4, 1, 0, 0], "a claim and three commits, one forget, and no transaction");
}

/// The shard's record in this story: the commit that wrote each document last.
type Versions = BTreeMap<String, u64>;

/// Commits that each write some documents, and the record that says which.
async fn work(owner: &mut Owner<impl Ledger>, versions: &mut Versions, drawn: &mut Drawn) {
    for _ in 0..1 + drawn.below(30) {
        let number = owner.at.next().0;
        let mut documents: Vec<String> =
            (0..1 + drawn.below(20)).map(|_| format!("draft:{}", drawn.below(60))).collect();
        let passing = format!("passing:{number}");
        documents.push(passing.clone());
        for document in &documents {
            versions.insert(document.clone(), number);
        }
        let text = |key: &String| Write { key: key.clone(), bytes: format!("{number:>80}").into_bytes() };
        let writes: Vec<Write> = documents.iter().map(text).collect();
        let record = serde_json::to_vec(versions).unwrap();
        owner.ledger.commit(owner.at, &record, &writes).await.unwrap();
        owner.at = owner.at.next();
        // What the record no longer names is forgotten, here as everywhere, after the commit that says so.
        versions.remove(&passing);
        if number.is_multiple_of(3) {
            let old = format!("passing:{}", number - 1);
            owner.ledger.forget(&[old]).await.unwrap();
        }
    }
}

/// Claims, and finds record and documents of one commit.
async fn check_whole<W: World>(world: &W, shard: ShardId) -> (Owner<<W::Store as Store>::Ledger>, Versions) {
    let (mut owner, claim) = super::ledger::claimed(world, shard).await;
    let Some(record) = claim.record else { return (owner, Versions::new()) };
    let mut versions: Versions = serde_json::from_slice(&record).unwrap();
    let keys: Vec<String> = versions.keys().cloned().collect();
    let found = owner.ledger.read(&keys).await.unwrap();
    let found: Vec<u64> = found
        .into_iter()
        .map(|bytes| String::from_utf8(bytes.expect("a document of the record is there")).unwrap())
        .map(|text| text.trim().parse().unwrap())
        .collect();
    let named: Vec<u64> = versions.values().copied().collect();
    assert_eq!(found, named, "record and documents stem from commit {}", claim.commit);
    assert_eq!(named.iter().copied().max(), Some(claim.commit.0));
    versions.retain(|key, _| !key.starts_with("passing:"));
    (owner, versions)
}

/// Redis 7 cuts a torn log inside a transaction of several writes, and at the restart after that plays half of it.
#[tokio::test]
async fn a_torn_log_never_parts_the_record_from_its_documents() {
    const RUNS: u64 = 12;
    const CRASHES: u64 = 4;
    let mut lost = 0;
    for run in 0..RUNS {
        let mut drawn = Drawn(run);
        let world = OwnRedis::new().await;
        let shard = world.fresh_shard();
        for crash in 0..CRASHES {
            let (mut owner, mut versions) = check_whole(&world, shard).await;
            work(&mut owner, &mut versions, &mut drawn).await;

            world.server.lock().await.kill();
            cut(&world, 1 + drawn.below(6_000)).await;
            world.server.lock().await.start_again().await;
            // A second restart at once would mend what the first one left torn.
            if drawn.below(4) == 0 {
                world.restart().await;
            }
            let (mut next, mut versions) = check_whole(&world, shard).await;
            assert!(next.at <= owner.at);
            lost += owner.at.0 - next.at.0;

            // What is written after a torn log is there after the next restart, all of it.
            work(&mut next, &mut versions, &mut drawn).await;
            world.restart().await;
            let (last, _) = check_whole(&world, shard).await;
            assert_eq!(last.at, next.at, "run {run}, crash {crash}");
        }
    }
    assert!(lost > RUNS * CRASHES, "the cuts reached into commits");
}

/// A log that ends anywhere in its last command comes back as the commit before, and goes on from there.
#[tokio::test]
async fn a_log_torn_at_any_byte_of_the_last_commit_is_without_all_of_it() {
    let world = OwnRedis::new().await;
    let shard = world.fresh_shard();
    let mut first = owner(&world, shard).await;
    first.commit("1", &[("a", "1"), ("b", "1")]).await.unwrap();
    let before: usize = world.backup().await.iter().map(|(_, bytes)| bytes.len()).sum();
    first.commit("2", &[("a", "2"), ("b", "2")]).await.unwrap();
    let whole = world.backup().await;
    let last_commit = whole.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() - before;
    for torn in 1..=last_commit {
        world.server.lock().await.kill();
        world.server.lock().await.put_log_files(&whole);
        cut(&world, torn as u64).await;
        world.server.lock().await.start_again().await;
        let (mut next, claim) = super::ledger::claimed(&world, shard).await;
        assert_eq!(claim.commit, CommitNo(1), "torn by {torn} bytes");
        next.commit("2", &[("b", "other")]).await.unwrap();
        world.restart().await;
        check_state(&world, shard, 2, "2", &[("a", "1"), ("b", "other")]).await;
    }
}

/// Takes bytes off the end of the server's log, as a crash of the machine does.
async fn cut(world: &OwnRedis, bytes: u64) {
    let path = world.server.lock().await.log_tail();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(bytes)).unwrap();
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_outcome_open() {
    let world = OwnRedis::new().await;
    let shard = world.fresh_shard();
    let settings = RedisSettings { response_timeout_ms: 200, ..to(&world.proxy.url()) };
    let mut ledger = RedisStore::new(&settings).unwrap().ledger(shard);
    ledger.claim(Token(1)).await.unwrap();
    world.proxy.next(Accident::Silence);
    let answer = ledger.commit(CommitNo(0), b"1", &[]).await;
    assert!(format!("{answer:?}").contains("no answer within 200 ms"), "{answer:?}");
    check_unavailable(ledger.commit(CommitNo(0), b"1", &[]).await);

    let claim = ledger.claim(Token(2)).await.unwrap();
    assert_eq!((claim.previous, claim.commit), (Some(Token(1)), CommitNo(1)));
}

#[tokio::test]
async fn half_a_request_writes_nothing() {
    let world = OwnRedis::new().await;
    let shard = world.fresh_shard();
    let mut owner = owner(&world, shard).await;
    let large = "x".repeat(3_000);
    owner.commit("1", &[("a", &large), ("b", &large)]).await.unwrap();
    let larger = "y".repeat(4_000);
    world.proxy.next(Accident::RequestTorn);
    check_unavailable(owner.commit("2", &[("a", &larger), ("b", &larger)]).await);
    check_state(&world, shard, 1, "1", &[("a", &large), ("b", &large)]).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_voids_the_token() {
    let world = OwnRedis::new().await;
    let shard = world.fresh_shard();
    let mut owner = owner(&world, shard).await;
    {
        let mut commit = std::pin::pin!(owner.ledger.commit(CommitNo(0), b"1", &[]));
        let polled = std::future::poll_fn(|cx| Poll::Ready(commit.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "the answer is still to come");
    }
    check_unavailable(owner.ledger.commit(CommitNo(0), b"1", &[]).await);
    let claim = owner.ledger.claim(Token(2)).await.unwrap();
    owner.at = claim.commit;
    owner.commit("next", &[]).await.unwrap();
}

/// The commit and the watch that guards the next one are two steps of the server: somebody may come in between.
#[tokio::test]
async fn an_owner_overtaken_right_after_its_commit_is_fenced_at_the_next() {
    let world = OwnRedis::new().await;
    let shard = world.fresh_shard();
    let url = world.server.lock().await.url();
    let direct = Redis::new(to(&url), Vec::new());
    let mut older = owner(&world, shard).await;
    world.proxy.next(Accident::PausedAfterExec);
    let commit = async {
        older.commit("1", &[("a", "1")]).await.unwrap();
        older
    };
    let overtake = async {
        eventually("the commit is there", async || {
            let record = ask_text(&url, &["GET", &format!("graceline:{{{shard}}}:shard")]).await;
            record.contains("\"commit\":1,").then_some(())
        })
        .await;
        let newer = owner(&direct, shard).await;
        world.proxy.resume();
        newer
    };
    let (mut older, mut newer) = tokio::join!(commit, overtake);
    check_fenced(older.commit("2", &[("a", "older 2")]).await);
    newer.commit("2", &[("b", "newer 2")]).await.unwrap();
    check_state(&world, shard, 2, "2", &[("a", "1"), ("b", "newer 2")]).await;
}
