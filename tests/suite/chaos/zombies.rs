//! An owner stands still right before it commits, another one takes its shards over, and then the first goes on.

use super::clock::{await_that, pause_ms};
use super::run::{Plan, Run};
use super::servers::Server;
use super::{alone, short};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A run whose first instance stands still with a commit in its hands.
fn with_zombie(name: &'static str, work: impl FnOnce(&mut Run)) -> Run {
    let mut run = Run::prepare(Plan { instances: 2, ..short(name) });
    run.start();
    run.while_busy(|run| {
        run.instances[0].finish();
        run.instances[0].start_to_fail("K05 20 stop 0");
        await_that("a zombie", PATIENCE, || run.instances[0].is_stopped());
        work(run);
    });
    run
}

#[test]
fn what_an_owner_writes_after_another_one_has_committed_never_counts() {
    let _alone = alone();
    let mut run = with_zombie("zombie", |run| {
        let owned = run.commits();
        run.await_shards_of(1, 4);
        run.recover("a standstill");
        assert!(run.commits().iter().zip(&owned).all(|(now, then)| now > then), "others have committed");
        run.instances[0].signal("CONT");
        // It writes before it hears of anything, and is a member again later.
        run.await_shards_of(0, 1);
        run.recover("a zombie");
        run.figures.tried("P2");
    });
    run.conclude();
}

#[test]
fn nor_does_it_where_the_store_has_forgotten_the_other_owner() {
    let _alone = alone();
    let mut run = with_zombie("rewound", |run| {
        // Nobody has been told of the standstill yet, and everything before it is in the file for good.
        pause_ms(1500);
        let length = run.servers.length();
        run.await_shards_of(1, 4);
        run.recover("a standstill");
        run.servers.kill(Server::Redis);
        let cut = run.servers.cut_to(length);
        println!("  the store forgot {cut} bytes");
        assert!(cut > 0, "the other owner has written something");
        run.servers.start_again(Server::Redis);
        run.instances[0].signal("CONT");
        run.recover("a zombie that the store remembers");
        run.figures.tried("P3");
    });
    run.conclude();
}
