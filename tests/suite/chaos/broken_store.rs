//! The store isn't what it was: a shard stops and says why, tells the world nothing wrong, and goes on where it can.

use super::clock::pause_ms;
use super::run::{Plan, Run};
use super::{alone, short};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// A run at work, whose store takes commands from a test.
fn at_work(name: &'static str, work: impl FnOnce(&mut Run)) -> Run {
    let mut run = Run::prepare(Plan { instances: 1, ..short(name) });
    run.start();
    run.while_busy(|run| {
        pause_ms(4000);
        run.recover("the start");
        work(run);
    });
    run
}

fn tell(run: &Run, words: &[&str]) {
    let client = redis::Client::open(run.orders.redis.as_str()).expect("the address is sound");
    let mut connection = client.get_connection().expect("the store answers");
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.exec(&mut connection).unwrap_or_else(|error| panic!("{words:?}: {error}"));
}

/// What is refused for a while is done when it is allowed again, and nothing else comes of it.
#[track_caller]
fn check_passing(id: &str, name: &'static str, begin: &[&str], reason: &str, end: &[&str]) {
    let _alone = alone();
    let mut run = at_work(name, |run| {
        tell(run, begin);
        run.await_reason(&run.instances[0], 4, reason, SOON);
        pause_ms(1500);
        tell(run, end);
        let took = run.recover(name);
        assert!(took < Duration::from_secs(6), "{took:?} until shards went on");
        run.figures.tried(id);
    });
    run.conclude();
}

#[test]
fn a_full_store_is_waited_for() {
    let (begin, end) = (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]);
    check_passing("R8", "full", &begin, "OOM", &end);
}

#[test]
fn a_store_that_became_a_replica_is_waited_for() {
    check_passing("R6", "replica", &["REPLICAOF", "127.0.0.1", "1"], "READONLY", &["REPLICAOF", "NO", "ONE"]);
}

#[test]
fn a_store_that_cant_save_is_waited_for() {
    let (begin, end) =
        (["CONFIG", "SET", "min-replicas-to-write", "1"], ["CONFIG", "SET", "min-replicas-to-write", "0"]);
    check_passing("R7", "alone", &begin, "NOREPLICAS", &end);
}

#[test]
fn a_full_disk_is_waited_for() {
    let _alone = alone();
    let mut run = at_work("disk", |run| {
        run.servers.limit_store(Some(run.servers.length() + 10_000));
        run.await_reason(&run.instances[0], 4, "MISCONF", SOON);
        pause_ms(1500);
        run.servers.limit_store(None);
        let took = run.recover("a full disk");
        assert!(took < Duration::from_secs(6), "{took:?} until shards went on");
        run.figures.tried("R12");
    });
    run.conclude();
}

/// Whatever is done, nobody hears anything of it, also not from a process that comes later.
#[track_caller]
fn check_stop(id: &str, name: &'static str, spoil: &[&str], shards: usize, reason: &str) {
    let _alone = alone();
    let run = at_work(name, |run| {
        tell(run, spoil);
        run.await_reason(&run.instances[0], shards, reason, SOON);
        let told = run.webhooks_of(0);
        run.instances[0].kill();
        run.instances[0].start_again();
        run.await_reason(&run.instances[0], shards, reason, SOON);
        pause_ms(3000);
        assert_eq!(run.webhooks_of(0), told, "nothing is told of shard 0");
        run.figures.tried(id);
    });
    let said = run.instances[0].said(reason);
    assert!((shards..=3 * shards).contains(&said), "the log says it once for each start, not {said} times");
}

#[test]
fn an_emptied_store_stops_every_shard() {
    check_stop("R4", "emptied", &["FLUSHALL"], 4, "Redis has lost its data, or is another one");
}

#[test]
fn a_store_that_drops_what_it_is_given_is_not_begun_with() {
    let _alone = alone();
    at_work("evicts", |run| {
        tell(run, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb"]);
        run.instances[0].finish();
        run.instances[0].start_again();
        run.instances[0].await_end();
        assert!(run.instances[0].said("maxmemory-policy") > 0, "it says why it ended");
        tell(run, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        run.instances[0].start_again();
        run.recover("a promise to keep everything");
        run.figures.tried("R8e");
    });
}

#[test]
fn something_else_in_a_shards_place_stops_that_shard() {
    check_stop(
        "R13",
        "foreign",
        &["SET", "chaos:{0}:shard", "hello"],
        1,
        "holds something that no owner wrote",
    );
}

#[test]
fn another_kind_of_value_in_a_shards_place_stops_that_shard() {
    let spoil =
        ["EVAL", "redis.call('DEL', KEYS[1]); redis.call('LPUSH', KEYS[1], 'x')", "1", "chaos:{0}:shard"];
    check_stop("R13", "type", &spoil, 1, "holds something that no owner wrote");
}
