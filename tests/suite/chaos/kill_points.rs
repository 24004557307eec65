//! A process dies at each of the points that matter, again and again, and nobody can tell from the invoices.

use super::clock::await_that;
use super::random::Random;
use super::run::{Plan, Run};
use super::{alone, short, wish};
use std::collections::BTreeMap;
use std::time::Duration;

/// A point, how often it is passed at most before the process dies there, and how many microseconds later at most.
///
/// K06 and K07 are K05 a little later: while the commit is on its way, and while its answer is. K23 needs a midnight, and
/// K26, a change of what is stored, doesn't exist yet.
const POINTS: [(&str, &str, u64, u64); 24] = [
    ("K01", "K01", 8, 0),
    ("K02", "K02", 200, 0),
    ("K03", "K03", 200, 0),
    ("K04", "K04", 8, 0),
    ("K05", "K05", 8, 0),
    ("K06", "K05", 8, 150),
    ("K07", "K05", 8, 1500),
    ("K08", "K08", 8, 0),
    ("K09", "K09", 8, 0),
    ("K10", "K10", 2, 0),
    ("K13", "K13", 1, 0),
    ("K14", "K14", 1, 0),
    ("K15", "K15", 1, 0),
    ("K16", "K16", 1, 0),
    ("K17", "K17", 1, 0),
    ("K18", "K18", 3, 0),
    ("K19", "K19", 3, 12_000),
    ("K20", "K20", 3, 0),
    ("K21", "K21", 3, 0),
    ("K22", "K22", 2, 0),
    ("K24", "K24", 1, 0),
    ("K25", "K25", 1, 0),
    ("K27", "K27", 3, 12_000),
    ("K28", "K28", 2, 0),
];

const PATIENCE: Duration = Duration::from_secs(40);

/// How often a process dies at each point.
fn times() -> u64 {
    wish("CHAOS_TIMES", 4)
}

#[test]
fn a_process_may_die_at_any_point() {
    let _alone = alone();
    let mut run = Run::prepare(Plan { instances: 1, customers: 20, ..short("points") });
    // A member with a name has its shards again as soon as it is back.
    run.orders.more.push(("GRACELINE__KAFKA__PROPERTIES__GROUP_INSTANCE_ID", "the-one".to_owned()));
    run.start();
    let mut random = Random::new(run.plan.seed);
    let mut deaths: BTreeMap<&str, u64> = BTreeMap::new();
    run.while_busy(|run| {
        for _ in 0..times() {
            for (name, point, hits, delay_us) in POINTS {
                let delay_us = random.below(delay_us.max(1));
                run.instances[0].kill();
                run.instances[0].start_to_fail(&format!("{point} {} die {delay_us}", 1 + random.below(hits)));
                match point {
                    "K24" => run.await_shards_of(0, 4),
                    "K25" => run.write_settings(),
                    _ => {}
                }
                if point == "K24" {
                    run.instances[0].signal("TERM");
                }
                await_death(run, name);
                *deaths.entry(name).or_default() += 1;
            }
            run.instances[0].start_again();
            run.recover("every kind of death");
        }
    });
    println!("  {} deaths: {deaths:?}", deaths.values().sum::<u64>());
    run.conclude();
}

/// Another instance comes and wants its share, and the first dies before it has let go, or right after.
#[test]
fn a_process_may_die_while_it_hands_shards_over() {
    let _alone = alone();
    let mut run = Run::prepare(short("handover"));
    run.start();
    run.while_busy(|run| {
        for point in ["K11", "K12"].repeat(times() as usize) {
            run.instances[0].finish();
            run.instances[0].start_to_fail(&format!("{point} 1 die 0"));
            run.await_shards_of(0, 1);
            run.instances[1].finish();
            run.await_shards_of(0, 4);
            run.instances[1].start_again();
            await_death(run, point);
            run.instances[0].start_again();
            run.recover(point);
        }
    });
    run.conclude();
}

fn await_death(run: &mut Run, point: &str) {
    let instance = &mut run.instances[0];
    await_that(&format!("a death at {point}"), PATIENCE, || !instance.is_running());
    assert!(instance.said(&format!("Fail point {}", planted(point))) > 0, "it died at {point}");
}

/// The point that is passed.
fn planted(name: &str) -> &str {
    POINTS.iter().find(|(other, ..)| *other == name).map_or(name, |(_, point, ..)| point)
}
