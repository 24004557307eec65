//! What Redis refuses: nothing is written, the reason is named, no secret shows, and all goes on when it's over.

use super::ledger::{World, check_garbage, check_state, claimed, owner};
use super::ledger_in_redis::{Redis, to};
use super::redis_server::{Server, ask};
use graceline::persist::redis::RedisStore;
use graceline::persist::settings::RedisSettings;
use graceline::persist::{Ledger, LedgerError, ShardId, Store, Token};

const SHARD: ShardId = ShardId(3);

#[track_caller]
fn check_reason<T: std::fmt::Debug>(answer: Result<T, LedgerError>, reason: &str) {
    match answer {
        Err(LedgerError::Unavailable(why)) => assert!(why.contains(reason), "{why}"),
        answer => panic!("{answer:?} is not for the reason {reason}"),
    }
}

/// Begins to refuse, and ends it, by commands to the server.
async fn check_refusal(server: &Server, begin: &[&str], reason: &str, end: &[&str]) {
    let redis = Redis::new(to(&server.url()), vec![server.url()]);
    let mut owner = owner(&redis, SHARD).await;
    owner.commit("1", &[("a", "1"), ("b", "1")]).await.unwrap();
    ask(&server.url(), begin).await;

    check_reason(owner.commit("2", &[("a", "2"), ("b", "2")]).await, reason);
    check_reason(owner.commit("2", &[("a", "2"), ("b", "2")]).await, reason);
    check_reason(owner.ledger.claim(Token(9)).await, reason);
    ask(&server.url(), end).await;
    check_state(&redis, SHARD, 1, "1", &[("a", "1"), ("b", "1")]).await;
}

#[tokio::test]
async fn a_full_redis_writes_nothing() {
    let server = Server::durable().await;
    let (begin, end) = (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
    check_refusal(&server, &begin, "OOM", &end).await;
}

#[tokio::test]
async fn a_replica_writes_nothing() {
    let server = Server::durable().await;
    check_refusal(&server, &["REPLICAOF", "127.0.0.1", "1"], "READONLY", &["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test]
async fn a_redis_without_enough_replicas_writes_nothing() {
    let server = Server::durable().await;
    let limit = |replicas| ["CONFIG", "SET", "min-replicas-to-write", replicas];
    check_refusal(&server, &limit("1"), "NOREPLICAS", &limit("0")).await;
}

#[tokio::test]
async fn a_redis_that_cant_save_writes_nothing() {
    let server = Server::start(&[]).await;
    ask(&server.url(), &["CONFIG", "SET", "save", "3600 1"]).await;
    let redis = Redis::new(to(&server.url()), vec![server.url()]);
    let mut owner = owner(&redis, SHARD).await;
    owner.commit("1", &[("a", "1")]).await.unwrap();

    // A directory that is gone fails a snapshot as a full disk does.
    std::fs::remove_dir_all(server.dir()).unwrap();
    ask(&server.url(), &["BGSAVE"]).await;
    super::redis_server::eventually("the snapshot fails", async || {
        let info = super::redis_server::ask_text(&server.url(), &["INFO", "persistence"]).await;
        info.contains("rdb_last_bgsave_status:err").then_some(())
    })
    .await;
    check_reason(owner.commit("2", &[("a", "2")]).await, "MISCONF");
    ask(&server.url(), &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]).await;
    check_state(&redis, SHARD, 1, "1", &[("a", "1")]).await;
}

/// The rights a ledger needs, for a user of its own.
async fn server_with_user() -> (Server, Redis) {
    let server = Server::durable().await;
    ask(&server.url(), &["ACL", "SETUSER", "ledger", "on", ">canary", "~*", "+@all"]).await;
    let url = server.url().replace("://", "://ledger:canary@");
    let redis = Redis::new(to(&url), vec![server.url()]);
    (server, redis)
}

/// A right that is taken away while an owner works stops it, and never lets a write through unguarded.
#[tokio::test]
async fn a_right_taken_away_lets_nothing_half_through() {
    for command in ["multi", "exec", "watch", "mset", "getrange"] {
        let (server, redis) = server_with_user().await;
        let mut owner = owner(&redis, SHARD).await;
        owner.commit("1", &[("a", "1")]).await.unwrap();
        ask(&server.url(), &["ACL", "SETUSER", "ledger", &format!("-{command}")]).await;

        // Where only the next transaction can't begin, the commit that is under way still counts.
        let mut acknowledged = 1;
        for number in ["2", "3"] {
            match owner.commit(number, &[("a", number)]).await {
                Ok(()) => acknowledged += 1,
                Err(LedgerError::Unavailable(why)) => assert!(why.contains("NOPERM"), "{command}: {why}"),
                Err(why) => panic!("{command}: {why}"),
            }
        }
        assert!(acknowledged < 3, "{command}");
        check_reason(owner.read(&["a"]).await, "NOPERM");
        ask(&server.url(), &["ACL", "SETUSER", "ledger", "+@all"]).await;
        let text = acknowledged.to_string();
        check_state(&redis, SHARD, acknowledged, &text, &[("a", &text)]).await;
    }
}

#[tokio::test]
async fn something_else_under_the_shards_key_is_named() {
    let server = Server::durable().await;
    let redis = Redis::new(to(&server.url()), vec![server.url()]);
    ask(&server.url(), &["RPUSH", "graceline:{3}:shard", "7"]).await;
    check_garbage(redis.store().ledger(SHARD).claim(Token(1)).await, SHARD);

    ask(&server.url(), &["DEL", "graceline:{3}:shard"]).await;
    let mut owner = owner(&redis, SHARD).await;
    owner.commit("1", &[]).await.unwrap();
    ask(&server.url(), &["DEL", "graceline:{3}:shard"]).await;
    ask(&server.url(), &["RPUSH", "graceline:{3}:shard", "7"]).await;
    check_garbage(owner.commit("2", &[]).await, SHARD);
}

#[tokio::test]
async fn a_document_of_another_type_is_as_good_as_none() {
    let server = Server::durable().await;
    let redis = Redis::new(to(&server.url()), vec![server.url()]);
    ask(&server.url(), &["RPUSH", "graceline:{3}:a", "7"]).await;
    let mut owner = owner(&redis, SHARD).await;
    assert_eq!(owner.read(&["a"]).await.unwrap(), [None]);
    owner.commit("1", &[("a", "1")]).await.unwrap();
    check_state(&redis, SHARD, 1, "1", &[("a", "1")]).await;
}

#[tokio::test]
async fn no_answer_shows_a_password() {
    let (server, redis) = server_with_user().await;
    let (_, claim) = claimed(&redis, SHARD).await;
    assert_eq!(claim.record, None);
    let wrong = server.url().replace("://", "://ledger:canary2@");
    let nowhere = "redis://ledger:canary2@127.0.0.1:1".to_owned();
    for (url, reason) in [(wrong, "AuthenticationFailed"), (nowhere, "127.0.0.1:1: Connection refused")] {
        let settings = to(&url);
        let answer = RedisStore::new(&settings).unwrap().ledger(SHARD).claim(Token(1)).await;
        let shown = format!("{answer:?} {} {settings:?}", answer.as_ref().unwrap_err());
        assert!(!shown.contains("canary"), "{shown}");
        check_reason(answer, reason);
    }
}

#[tokio::test]
async fn of_several_nodes_the_first_that_answers_is_asked() {
    let server = Server::durable().await;
    let url = format!("redis://127.0.0.1:1,{}", server.address());
    let settings = RedisSettings { url, ..RedisSettings::default() };
    let redis = Redis::new(settings, vec![server.url()]);
    owner(&redis, SHARD).await.commit("1", &[("a", "1")]).await.unwrap();
    check_state(&redis, SHARD, 1, "1", &[("a", "1")]).await;
}
