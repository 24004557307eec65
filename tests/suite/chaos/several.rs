//! The same proof where there is more than one server of a kind.

use super::crowd::Volume;
use super::faults::Menu;
use super::run::{Plan, Run};
use super::servers::Fleet;
use super::{alone, short};

#[test]
fn three_brokers_lose_one_after_the_other_and_nothing_else_is_lost() {
    let _alone = alone();
    Run::prove(Plan {
        volume: Volume { events: 4_000, events_a_second: 200 },
        menu: Menu { kills: 1, broker_crashes: 2, ..Menu::default() },
        fleet: Fleet::ThreeBrokers,
        ..short("brokers")
    });
}

#[test]
fn shards_in_a_cluster_of_stores_go_on_as_their_nodes_do() {
    let _alone = alone();
    Run::prove(Plan {
        volume: Volume { events: 4_000, events_a_second: 200 },
        menu: Menu { kills: 1, store_crashes: 1, ..Menu::default() },
        fleet: Fleet::ThreeStores,
        ..short("cluster")
    });
}
