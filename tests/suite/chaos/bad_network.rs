//! The ways to the servers are slow, or lose what is said, or break.

use super::clock::{pause, pause_ms};
use super::proxy::{Proxy, Way};
use super::run::Run;
use super::servers::Server;
use super::{alone, short};
use std::time::Duration;

#[test]
fn a_bad_way_to_the_store_changes_nothing() {
    prove("way-redis", Server::Redis);
}

#[test]
fn a_bad_way_to_the_brokers_changes_nothing() {
    prove("way-kafka", Server::Kafka);
}

fn prove(name: &'static str, server: Server) {
    let _alone = alone();
    let (mut run, proxy) = Run::prepare_behind_proxy(short(name), server);
    run.start();
    run.while_busy(|run| {
        pause(Duration::from_secs(3));
        let id = if server == Server::Redis { "N1r" } else { "N1k" };
        for way in [Way::There, Way::Back] {
            // Longer than a session lasts, and than anybody waits for an answer.
            for length_s in [1, 9] {
                proxy.hold(way, true);
                pause(Duration::from_secs(length_s));
                proxy.hold(way, false);
                run.recover(&format!("{length_s} s without a way {way:?}"));
                run.figures.tried(id);
            }
        }
        be_slow(run, &proxy);
        for _ in 0..20 {
            proxy.cut();
            pause_ms(200);
            run.figures.tried("N2r");
        }
        run.recover("20 resets");
        proxy.silence();
        run.recover("a silence");
        run.figures.tried("N1h");
    });
    run.conclude();
}

fn be_slow(run: &mut Run, proxy: &Proxy) {
    proxy.delay(200);
    pause(Duration::from_secs(8));
    proxy.delay(0);
    run.recover("slow ways");
    run.figures.tried("N2d");
}
