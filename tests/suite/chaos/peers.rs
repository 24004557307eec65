//! What was seen to go wrong in other billing systems.

use super::clock::{Stopwatch, now_ms, pause, pause_ms};
use super::crowd::{Crowd, Volume};
use super::run::{Plan, Run, Session};
use super::servers::Server;
use super::story::{self, Subscription, instant};
use super::{alone, short, wish};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Fills the usage topic while nobody reads it, on the settings that an installation has by default.
fn with_backlog(name: &'static str, events: u64) -> Run {
    let volume = Volume { events, events_a_second: 1_000_000 };
    let mut run = Run::prepare(Plan { volume, session: Session::Default, ..short(name) });
    // Topics are made by whoever comes first.
    run.start();
    for instance in &mut run.instances {
        instance.finish();
    }
    run.while_busy(|_| {});
    run
}

#[test]
fn a_backlog_on_default_settings_drains_fast() {
    let _alone = alone();
    let events = wish("CHAOS_BACKLOG", 60_000);
    let mut run = with_backlog("backlog", events);
    let watch = Stopwatch::start();
    run.instances.iter_mut().for_each(|instance| instance.start_again());
    run.recover("a backlog");
    let rate = events as f64 / watch.passed().as_secs_f64();
    run.figures.tried("K8");
    println!("  {events} records of usage in {:?}, {rate:.0} a second", watch.passed());
    assert!(rate > 1500.0, "a backlog of {events} drains at {rate:.0} a second, starts included");
    run.conclude();
}

#[test]
fn a_store_that_restarts_in_the_middle_of_a_backlog_loses_nothing() {
    let _alone = alone();
    let mut run = with_backlog("drain", 60_000);
    run.instances.iter_mut().for_each(|instance| instance.start_again());
    run.await_read(5_000);
    run.servers.kill(Server::Redis);
    let read = run.read_count();
    assert!(read < 60_000, "the backlog was to last longer");
    pause(Duration::from_secs(3));
    run.servers.start_again(Server::Redis);
    run.figures.tried("R1");
    run.recover(&format!("3 s without the store, {read} of 60,000 read"));
    run.conclude();
}

/// The store says of each write when it has it; the process that wrote it is killed in that moment, before it can tell
/// anybody what it has written.
#[test]
fn a_process_that_dies_right_after_its_write_is_counted_once() {
    let _alone = alone();
    let mut run = Run::prepare(Plan { instances: 1, ..short("written") });
    run.orders.more.push(("GRACELINE__KAFKA__PROPERTIES__GROUP_INSTANCE_ID", "the-one".to_owned()));
    run.start();
    run.while_busy(|run| {
        for number in 0..10 {
            let mut writes = Writes::watch(&run.orders.redis);
            pause_ms(700 + 37 * number);
            writes.next();
            run.instances[0].kill();
            run.instances[0].start_again();
            run.recover("a death right after a write");
            run.figures.tried("P1w");
        }
    });
    run.conclude();
}

/// The commands that a store carries out, as it tells them.
struct Writes(BufReader<TcpStream>);

impl Writes {
    fn watch(redis: &str) -> Writes {
        let mut stream = TcpStream::connect(redis.trim_start_matches("redis://")).expect("the store answers");
        stream.write_all(b"MONITOR\r\n").expect("the store listens");
        Writes(BufReader::new(stream))
    }

    /// Waits for a write that happens from now on.
    fn next(&mut self) {
        let from_ms = now_ms();
        let mut line = Vec::new();
        loop {
            line.clear();
            self.0.read_until(b'\n', &mut line).expect("the store tells what it does");
            let text = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            let at = text.strip_prefix('+').and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
            if text.contains("\"MSET\"") && at.is_some_and(|at| at * 1000.0 >= from_ms as f64) {
                return;
            }
        }
    }
}

#[test]
fn ids_and_sources_that_join_to_the_same_text_are_different_events() {
    let _alone = alone();
    let mut run = Run::prepare(Plan { instances: 1, ..short("joined") });
    run.start();
    let pen = run.pen();
    // A shard where nothing is due says nothing of the time.
    Crowd::new(run.plan.seed, run.plan.customers).move_in(&pen);
    let subscription = Subscription {
        id: "s".into(),
        customer: "c".into(),
        plan: 0,
        started_ms: now_ms() - 1000,
        is_known: true,
    };
    let (_, mut customer) = story::customer(0, chrono_tz::Tz::UTC, 0);
    customer["external_id"] = "c".into();
    pen.catalog([("customer/c".to_owned(), customer), subscription.record()]);
    pen.flush();
    pause_ms(500);
    let pairs = [("a", "bc"), ("ab", "c"), ("a/b", "c"), ("a", "b/c"), ("a b", "c"), ("a", "b c")];
    for (source, id) in pairs {
        let event = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"{source}\",\"type\":\"calls\",\"subject\":\"s\",\
             \"time\":\"{}\",\"data\":{{\"calls\":\"1\"}}}}",
            instant(now_ms())
        );
        pen.write("usage.events", Some("c"), Some(&event));
        pen.write("usage.events", Some("c"), Some(&event));
    }
    pen.flush();
    run.figures.tried("I1");
    let run_fates = run.conclude();
    assert_eq!((run_fates["billed"], run_fates["duplicate"]), (6, 6), "{run_fates:?}");
}
