//! How long it takes until all is well again, on the settings that an installation has by default.

use super::clock::{Stopwatch, await_that, pause, pause_ms};
use super::instance::Instance;
use super::random::Random;
use super::run::{Plan, Run, Session};
use super::servers::Server;
use super::{alone, short};
use std::time::Duration;

fn default_settings(name: &'static str) -> Plan {
    Plan { session: Session::Default, ..short(name) }
}

#[test]
fn another_instance_has_the_shards_of_a_dead_one_in_time() {
    let _alone = alone();
    let mut run = Run::prepare(default_settings("dead"));
    run.start();
    run.while_busy(|run| {
        pause(Duration::from_secs(3));
        run.instances[0].kill();
        run.figures.tried("P1");
        let took = run.await_all_shards(Duration::from_secs(15));
        println!("  {took:?} until the other instance had all shards");
        run.recover("a death");
        run.instances[0].start_again();
        run.recover("a rebirth");
    });
    run.conclude();
}

#[test]
fn an_instance_that_ends_hands_its_shards_over_at_once() {
    let _alone = alone();
    let mut run = Run::prepare(default_settings("leaves"));
    run.start();
    run.while_busy(|run| {
        for leaver in [0, 1, 0] {
            pause(Duration::from_secs(2));
            let watch = Stopwatch::start();
            let drained = run.instances[leaver].finish();
            run.await_all_shards(Duration::from_secs(15));
            println!("  ended in {drained:?}, all shards run again after {:?}", watch.passed());
            assert!(watch.passed() < Duration::from_secs(5), "the group was not told");
            run.figures.tried("P7");
            run.instances[leaver].start_again();
            run.recover("an instance more");
        }
    });
    run.conclude();
}

#[test]
fn shards_go_on_soon_after_a_server_is_back() {
    let _alone = alone();
    let mut run = Run::prepare(default_settings("back"));
    run.start();
    run.while_busy(|run| {
        for (server, away) in
            [(Server::Redis, 4), (Server::Kafka, 3), (Server::Kafka, 25), (Server::Redis, 12)]
        {
            pause(Duration::from_secs(2));
            run.servers.kill(server);
            pause(Duration::from_secs(away));
            run.servers.start_again(server);
            let took = run.recover(&format!("{away} s without {server:?}"));
            assert!(took < Duration::from_secs(5) + SKEW, "{took:?} after {server:?} was back");
            run.figures.tried(match server {
                Server::Redis => "R1",
                Server::Kafka if away > SESSION.as_secs() => "K2",
                Server::Kafka => "K1",
            });
        }
    });
    run.conclude();
}

/// A shard's time stays so far behind the clock.
const SKEW: Duration = Duration::from_secs(1);

/// The default of the group.
const SESSION: Duration = Duration::from_secs(10);

#[test]
fn a_second_sigterm_ends_a_process_at_once() {
    let _alone = alone();
    let mut run = Run::prepare(default_settings("twice"));
    run.start();
    run.while_busy(|run| {
        pause(Duration::from_secs(1));
        // Without the store nothing can be finished.
        run.servers.kill(Server::Redis);
        let patient = run.instances[0].finish();
        println!("  {patient:?} until a process gave up waiting for the store");
        assert!(patient < Duration::from_secs(10), "it took {patient:?}");
        run.instances[1].signal("TERM");
        pause_ms(300);
        run.instances[1].signal("TERM");
        let watch = Stopwatch::start();
        await_that("it ends", Duration::from_secs(1), || !run.instances[1].is_running());
        println!("  {:?} after the second signal", watch.passed());
        run.figures.tried("P7");
        run.servers.start_again(Server::Redis);
        run.instances.iter_mut().for_each(|instance| instance.start_again());
        run.recover("two sudden ends");
    });
    run.conclude();
}

/// Each time the shards are shared anew.
#[test]
fn instances_that_come_and_go_all_the_time_change_nothing() {
    let _alone = alone();
    let mut run = Run::prepare(short("storm"));
    run.start();
    let mut random = Random::new(run.plan.seed);
    run.while_busy(|run| {
        let mut passer_by = Instance::start(&run.orders, "passer-by");
        for round in 0..16 {
            pause_ms(500 + random.below(1500));
            // One in four goes without a word, and the group waits for it.
            if round % 4 == 3 {
                passer_by.kill();
            } else {
                let took = passer_by.finish();
                assert!(took < Duration::from_secs(10), "it went after {took:?}");
            }
            passer_by.start_again();
            run.figures.tried("P4");
        }
        run.instances.push(passer_by);
        run.recover("many rebalances");
    });
    run.conclude();
}
