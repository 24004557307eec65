//! Whether what a run has said is what `simulate` says of the same log.

use super::dump::{Dump, Record};
use super::replay::{FATES, Outcome, Webhook};
use graceline::invoice::instant::Instant;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is wrong, a line each.
pub(super) type Faults = Vec<String>;

/// What a run said up to an instant, from its topics; `records` are what the shards keep of themselves.
pub(super) fn published(dump: &Dump, records: &[Value], until_ms: i64, faults: &mut Faults) -> Outcome {
    let mut outcome = Outcome::default();
    check_sequences(dump, faults);
    for record in dump.of("webhooks.") {
        let id = record.header("webhook-id").unwrap_or_default().to_owned();
        let webhook = webhook(record);
        if !is_by(&webhook.at, until_ms) {
            continue;
        }
        match outcome.webhooks.get(&id) {
            Some(known) if *known != webhook => faults.push(format!("webhook {id} has two contents")),
            Some(_) => {}
            None => drop(outcome.webhooks.insert(id, webhook)),
        }
    }
    count_refusals(dump, &mut outcome);
    for fate in FATES {
        outcome.fates.insert(fate.to_owned(), 0);
    }
    for record in records {
        for (fate, count) in
            FATES.iter().zip(record["record"]["books"]["fates"].as_array().into_iter().flatten())
        {
            *outcome.fates.get_mut(*fate).expect("all fates are there") += count.as_u64().unwrap_or_default();
        }
    }
    outcome
}

fn webhook(record: &Record) -> Webhook {
    let text =
        |bytes: &Option<Vec<u8>>| String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
    Webhook {
        at: record.header("webhook-timestamp").unwrap_or_default().to_owned(),
        topic: record.topic.clone(),
        key: text(&record.key),
        value: text(&record.value),
    }
}

fn is_by(at: &str, until_ms: i64) -> bool {
    Instant::parse_rfc3339(at).is_some_and(|at| i128::from(at.0) <= i128::from(until_ms) * 1_000_000)
}

/// Each shard's webhooks bear the numbers 0, 1, 2 …, in order, over all topics; a repeat is the same record again.
fn check_sequences(dump: &Dump, faults: &mut Faults) {
    let mut by_shard: BTreeMap<u32, BTreeMap<u64, &str>> = BTreeMap::new();
    for ((topic, shard), records) in dump.logs.iter().filter(|((topic, _), _)| topic.starts_with("webhooks."))
    {
        let mut highest = None;
        for record in records {
            let seq = record.header("graceline-seq").and_then(|seq| seq.parse::<u64>().ok());
            let (Some(seq), Some(id)) = (seq, record.header("webhook-id")) else {
                faults.push(format!("{topic}/{shard}/{} has no number or no id", record.offset));
                continue;
            };
            match by_shard.entry(*shard).or_default().insert(seq, id) {
                Some(other) if other != id => {
                    faults.push(format!("shard {shard}: number {seq} is {other} and {id}"))
                }
                Some(_) => {}
                None if highest.is_some_and(|highest| seq < highest) => {
                    faults.push(format!(
                        "{topic}/{shard}/{}: number {seq} comes after a higher one",
                        record.offset
                    ));
                }
                None => highest = Some(seq),
            }
        }
    }
    for (shard, numbers) in by_shard {
        let missing: Vec<u64> =
            (0..numbers.len() as u64).filter(|seq| !numbers.contains_key(seq)).take(5).collect();
        if !missing.is_empty() {
            faults.push(format!("shard {shard}: the numbers of webhooks have gaps, first at {missing:?}"));
        }
    }
}

/// Refusals may be there twice; where they come from tells them apart.
fn count_refusals(dump: &Dump, outcome: &mut Outcome) {
    let mut seen = BTreeSet::new();
    let refusals = dump.of("usage.rejected").chain(dump.of("billing.rejected"));
    for record in refusals {
        let number = record.header("graceline-outbox").unwrap_or_default();
        if !seen.insert((record.topic.clone(), record.partition, number)) {
            continue;
        }
        let webhook = webhook(record);
        let reason = record.header("graceline-reason").unwrap_or_default().to_owned();
        *outcome.refusals.entry([webhook.topic, webhook.key, webhook.value, reason]).or_default() += 1;
    }
}

/// What one has and the other hasn't, with a few examples.
pub(super) fn compare(run: &Outcome, simulated: &Outcome, faults: &mut Faults) {
    if run.fates != simulated.fates {
        faults.push(format!("fates: the run counts {:?}, simulate {:?}", run.fates, simulated.fates));
    }
    compare_invoices(run, simulated, faults);
    let ids: BTreeSet<&String> = run.webhooks.keys().chain(simulated.webhooks.keys()).collect();
    let mut counts = BTreeMap::new();
    for id in ids {
        let difference = match (run.webhooks.get(id), simulated.webhooks.get(id)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other)) => ("differs", format!("run {one:?}\n  simulate {other:?}")),
            (Some(one), None) => ("is in the run alone", format!("{one:?}")),
            (None, Some(other)) => ("is in simulate alone", format!("{other:?}")),
            (None, None) => unreachable!("every id is somebody's"),
        };
        let count = counts.entry(difference.0).or_insert(0);
        *count += 1;
        if *count <= 3 {
            faults.push(format!("webhook {id} {}: {}", difference.0, difference.1));
        }
    }
    for (what, count) in counts {
        faults.push(format!("webhooks: {count} {what}"));
    }
    compare_refusals(run, simulated, faults);
}

fn compare_refusals(run: &Outcome, simulated: &Outcome, faults: &mut Faults) {
    let all: BTreeSet<&[String; 4]> = run.refusals.keys().chain(simulated.refusals.keys()).collect();
    let mut wrong = 0;
    for refusal in all {
        let count = |outcome: &Outcome| outcome.refusals.get(refusal).copied().unwrap_or_default();
        if count(run) != count(simulated) {
            wrong += 1;
            if wrong <= 3 {
                let [topic, key, value, reason] = refusal;
                let value: String = value.chars().take(300).collect();
                let (one, other) = (count(run), count(simulated));
                faults
                    .push(format!("{topic} {key} {reason}: {one} in the run, {other} in simulate: {value}"));
            }
        }
    }
    if wrong > 0 {
        faults.push(format!("refusals: {wrong} differ"));
    }
}

/// The last document of each invoice.
fn compare_invoices(run: &Outcome, simulated: &Outcome, faults: &mut Faults) {
    let (ours, theirs) = (last_documents(run), last_documents(simulated));
    let ids: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let wrong: Vec<&&String> = ids.iter().filter(|id| ours.get(**id) != theirs.get(**id)).collect();
    if !wrong.is_empty() {
        faults.push(format!(
            "invoices: {} of {} end differently, first {:?}",
            wrong.len(),
            ids.len(),
            wrong[0]
        ));
    }
}

/// By their ids: the document with the highest version.
pub(super) fn last_documents(outcome: &Outcome) -> BTreeMap<String, Value> {
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for webhook in outcome.webhooks.values() {
        let Ok(mut value) = serde_json::from_str::<Value>(&webhook.value) else { continue };
        let invoice = value["invoice"].take();
        let (Some(id), Some(version)) = (invoice["id"].as_str(), invoice["version"].as_u64()) else {
            continue;
        };
        if last.get(id).is_none_or(|known| known["version"].as_u64() < Some(version)) {
            last.insert(id.to_owned(), invoice);
        }
    }
    last
}

/// Every record of usage has one fate, and every shard has read its logs to their ends.
pub(super) fn check_accounts(dump: &Dump, records: &[Value], run: &Outcome, faults: &mut Faults) {
    let usage = dump.of("usage.events").count() as u64;
    let fates: u64 = run.fates.values().sum();
    if usage != fates {
        faults.push(format!("{usage} records of usage have met {fates} fates"));
    }
    let logs =
        ["billing.catalog", "graceline.numbers", "billing.commands", "graceline.forwarded", "usage.events"];
    for (shard, record) in records.iter().enumerate() {
        for (place, log) in logs.iter().enumerate() {
            let partition = if place == 0 { 0 } else { shard as u32 };
            let end = dump.ends.get(&((*log).to_owned(), partition)).copied().unwrap_or_default();
            // The last invoices may still be asking for their numbers when the shards are stopped.
            let is_awaited = *log != "graceline.numbers";
            if is_awaited && record["record"]["positions"][place].as_u64() != Some(end) {
                let position = &record["record"]["positions"][place];
                faults.push(format!("shard {shard} has read {log} up to {position}, and it ends at {end}"));
            }
        }
    }
}
