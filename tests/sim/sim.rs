//! Random histories. A seed chooses who is billed and what goes wrong; whatever it is, in the end the topics hold what
//! `simulate` says of the same records.
//!
//! ```sh
//! cargo sim                       # SEEDS=0..200
//! SEEDS=0..50000 cargo sim
//! SEED=4711 cargo sim             # one of them, exactly as before, with what it is made of
//! ```

use super::history::History;
use super::shrink::shrink;
use super::town::{self, Remains};
use super::{replay, verdict};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a history came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) records: usize,
    pub(super) webhooks: usize,
    pub(super) faults: usize,
}

/// Lives a history and judges it. The fault is the first thing that isn't as it must be.
pub(super) fn prove(history: &History) -> Result<Sum, String> {
    judge_lived(history, live(history))
}

type Lived = std::thread::Result<Result<Remains, String>>;

fn live(history: &History) -> Lived {
    catch_unwind(AssertUnwindSafe(|| super::runtime().block_on(town::live(history))))
}

/// The same with a bug in what is lived, and none in what it is compared with.
#[cfg(feature = "planted-bugs")]
pub(super) fn prove_with(bug: graceline::planted::Bug, history: &History) -> Result<Sum, String> {
    graceline::planted::plant(Some(bug));
    let lived = live(history);
    graceline::planted::plant(None);
    judge_lived(history, lived)
}

fn judge_lived(history: &History, lived: Lived) -> Result<Sum, String> {
    let remains = lived.map_err(|panic| format!("panic: {}", message(panic.as_ref())))??;
    judge(history, &remains)
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("something")
}

fn judge(history: &History, remains: &Remains) -> Result<Sum, String> {
    let Remains { dump, records, until_ms } = remains;
    let mut faults = Vec::new();
    let mut lived = verdict::published(dump, records, *until_ms, &mut faults);
    let mut simulated = replay::simulated(&replay::input(dump, &history.settings), *until_ms);
    verdict::check_accounts(dump, records, &lived, &mut faults);
    if history.traits.numbering == "per_billing_entity" {
        check_numbers(&lived, &mut faults);
        forget_numbers(&mut lived);
        forget_numbers(&mut simulated);
    }
    verdict::compare(&lived, &simulated, &mut faults);
    if !faults.is_empty() {
        faults.truncate(12);
        return Err(faults.join("\n"));
    }
    let is_record = |topic: &str| !topic.starts_with("webhooks.") && !topic.ends_with(".rejected");
    let records = dump.logs.iter().filter(|((topic, _), _)| is_record(topic)).map(|(_, log)| log.len()).sum();
    let is_fault = |event: &&super::history::Event| !matches!(event.deed, super::history::Deed::Write { .. });
    let faults = history.events.iter().filter(is_fault).count();
    Ok(Sum { records, webhooks: lived.webhooks.len(), faults })
}

/// Which invoice gets which number of its entity is free where shards share it; that each is given once is not (R104).
fn check_numbers(outcome: &replay::Outcome, faults: &mut verdict::Faults) {
    let mut given: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for invoice in verdict::last_documents(outcome).into_values() {
        if let Some(number) = invoice["sequential_id"].as_u64() {
            given.entry(invoice["billing_entity_code"].to_string()).or_default().push(number);
        }
    }
    for (entity, mut numbers) in given {
        numbers.sort_unstable();
        // Invoices that are sealed behind the last instant have numbers too.
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            faults.push(format!("entity {entity} gives a number twice: {numbers:?}"));
        }
    }
}

fn forget_numbers(outcome: &mut replay::Outcome) {
    for webhook in outcome.webhooks.values_mut() {
        let Ok(mut value) = serde_json::from_str::<Value>(&webhook.value) else { continue };
        let Some(invoice) = value.get_mut("invoice") else { continue };
        if !invoice["number"].is_null() {
            (invoice["number"], invoice["sequential_id"]) = (Value::Null, Value::Null);
            webhook.value = value.to_string();
        }
    }
}

/// The seeds to be lived: `SEEDS=0..2000`, or `default`.
pub(super) fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("SEEDS") else { return default };
    let ends = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    ends.expect("SEEDS are given as 0..2000")
}

/// Lives all these seeds on all cores; the first fault ends it.
fn prove_all(seeds: Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicU64::new(u64::MAX);
    let sums = [const { AtomicU64::new(0) }; 3];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.load(Ordering::Relaxed) < seed {
                        return;
                    }
                    match prove(&History::of(seed)) {
                        Ok(sum) => {
                            for (total, more) in sums.iter().zip([sum.records, sum.webhooks, sum.faults]) {
                                total.fetch_add(more as u64, Ordering::Relaxed);
                            }
                        }
                        Err(_) => drop(failed.fetch_min(seed, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    if failed < u64::MAX {
        prove_one(failed);
        panic!("seed {failed} failed, and did not when it was lived again");
    }
    let [records, webhooks, faults] = sums.map(AtomicU64::into_inner);
    println!(
        "{} histories: {records} records, {webhooks} webhooks, {faults} faults",
        seeds.end - seeds.start
    );
}

/// Lives one seed, and says what it is made of if it fails.
fn prove_one(seed: u64) {
    let history = History::of(seed);
    match prove(&history) {
        Ok(sum) => println!("seed {seed}: {sum:?}"),
        Err(fault) => {
            println!("seed {seed} fails, of {} events:\n{fault}\n", history.events.len());
            let small = shrink(history, &fault);
            let fault = prove(&small).expect_err("what was shrunk still fails");
            println!("shrunk to {} events: {:?} {:?}", small.events.len(), small.traits, small.weather);
            println!(
                "{} shards, {} processes, {:?}, dawdling {} ms, settings {}",
                small.shards, small.processes, small.pace, small.dawdles_ms, small.settings
            );
            for event in &small.events {
                println!("  {} {:?}", super::story::instant(event.at_ms), event.deed);
            }
            panic!("SEED={seed} cargo sim: {fault}");
        }
    }
}

#[test]
fn histories_come_to_what_simulate_says() {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => prove_one(seed),
        None => prove_all(seeds(0..200)),
    }
}

/// A commit that ended between the question and the answer took an invoice out of memory that the next command named; and
/// usage was overtaken because its metric was removed; and another shard's subscription had the plan that knew a metric.
#[test]
fn seeds_that_once_found_something_find_nothing() {
    prove_one(4789);
    prove_one(32_103);
    prove_one(440_658);
}

#[test]
fn a_seed_is_the_same_history_again() {
    for seed in [3, 14, 159] {
        let (one, other) = (history_digest(seed), history_digest(seed));
        assert_eq!(one, other, "seed {seed}");
    }
}

/// Everything in the topics, where and when.
fn history_digest(seed: u64) -> Vec<String> {
    let history = History::of(seed);
    let remains = super::runtime().block_on(town::live(&history));
    let logs = remains.map(|remains| remains.dump.logs).unwrap_or_default();
    logs.into_values().flatten().map(|record| format!("{record:?}")).collect()
}
