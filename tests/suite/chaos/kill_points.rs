//! A process dies at each of the points that matter, again and again, and nobody can tell from the invoices.

use super::clock::{await_that, now_ms, pause_ms};
use super::random::Random;
use super::run::{Plan, Run};
use super::{alone, short, wish};
use std::time::Duration;

/// A point, how often it is passed at most before the process dies there, and how many microseconds later at most.
///
/// K06 and K07 are K05 a little later: while the commit is on its way, and while its answer is. K23 needs a midnight, K11
/// and K12 another instance. What is stored in an older form is read when a shard is opened, and written in the new one
/// by the next commit; K26 lies between.
const POINTS: [(&str, &str, u64, u64); 25] = [
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
    ("K26", "K26", 4, 0),
    ("K27", "K27", 3, 12_000),
    ("K28", "K28", 2, 0),
];

const PATIENCE: Duration = Duration::from_secs(60);

/// So long after its start a run comes to midnight: there are unpaid invoices by then.
const MIDNIGHT_IN: Duration = Duration::from_secs(100);

/// So long before midnight nothing else is begun.
const NEAR_MS: i64 = 15_000;

/// How often a process dies at each point.
fn times() -> u64 {
    wish("CHAOS_TIMES", wish("CHAOS_MINUTES", 0).div_ceil(4).max(5))
}

#[test]
fn a_process_may_die_at_any_point() {
    let _alone = alone();
    let plan = Plan { instances: 1, customers: 20, ..short("points") };
    let (mut run, midnight_ms) = Run::prepare_before_midnight(plan, MIDNIGHT_IN);
    // A member with a name has its shards again as soon as it is back.
    run.orders.more.push(("GRACELINE__KAFKA__PROPERTIES__GROUP_INSTANCE_ID", "the-one".to_owned()));
    run.start();
    let mut random = Random::new(run.plan.seed);
    run.while_busy(|run| {
        let mut is_before_midnight = true;
        for _ in 0..times() {
            for point in POINTS {
                if is_before_midnight && now_ms() + NEAR_MS > midnight_ms {
                    is_before_midnight = false;
                    die_at_midnight(run, midnight_ms, &mut random);
                }
                die(run, point, &mut random);
            }
            run.instances[0].kill();
            run.instances[0].start_again();
            run.recover("every kind of death");
        }
        if is_before_midnight {
            die_at_midnight(run, midnight_ms, &mut random);
        }
        run.instances[0].kill();
        run.instances[0].start_again();
        run.recover("midnight");
    });
    run.conclude();
}

/// Starts a process anew and waits until it has died where it was told to.
fn die(run: &mut Run, (name, point, hits, delay_us): (&str, &str, u64, u64), random: &mut Random) {
    let delay_us = random.below(delay_us.max(1));
    let instance = &mut run.instances[0];
    instance.kill();
    let deaths = instance.said(&announced(point));
    instance.start_to_fail(&format!("{point} {} die {delay_us}", 1 + random.below(hits)));
    match point {
        "K24" => {
            run.await_shards_of(0, 4);
            run.instances[0].signal("TERM");
        }
        "K25" => run.write_settings(),
        _ => {}
    }
    await_death(run, name, point, deaths);
}

/// Whatever isn't paid by then is overdue; nothing of it is durable when the process dies.
fn die_at_midnight(run: &mut Run, midnight_ms: i64, random: &mut Random) {
    let early_ms = midnight_ms - NEAR_MS - now_ms();
    pause_ms(early_ms.max(0) as u64);
    run.figures.tried("C1");
    for _ in 0..times() {
        die(run, ("K23", "K23", 2, 0), random);
    }
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
            let deaths = run.instances[0].said(&announced(point));
            run.instances[0].start_to_fail(&format!("{point} 1 die 0"));
            run.await_shards_of(0, 1);
            run.instances[1].finish();
            run.await_shards_of(0, 4);
            run.instances[1].start_again();
            await_death(run, point, point, deaths);
            run.instances[0].start_again();
            run.recover(point);
        }
    });
    run.conclude();
}

fn await_death(run: &mut Run, name: &str, point: &str, deaths_before: usize) {
    let instance = &mut run.instances[0];
    await_that(&format!("a death at {name}"), PATIENCE, || !instance.is_running());
    assert_eq!(instance.said(&announced(point)), deaths_before + 1, "it died at {name}");
    run.figures.tried(name);
}

/// What a process says that is about to die.
fn announced(point: &str) -> String {
    format!("Fail point {point}.")
}
