//! What `simulate` says of the same log: all topics merged into one file by append time.

use super::dump::{Dump, Record};
use super::story::instant;
use graceline::console::simulate::{SimulateError, simulate};
use graceline::invoice::instant::Instant;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// A line of the file, and its place among all.
struct Line<'a> {
    arrived: Arrival,
    rank: u8,
    record: &'a Record,
    /// The time that usage without one got from its original.
    original_ms: Option<i64>,
}

/// When and where a record came to its shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at_ms: i64,
    partition: u32,
    offset: u64,
}

/// Where a record that was sent on stood first: `log from partition offset at topic`.
fn origin(copy: &Record) -> (&str, u32, u32, u64) {
    let text = copy.header("graceline-origin").expect("a copy says where it is from");
    let parts: Vec<&str> = text.splitn(6, ' ').collect();
    let number = |place: usize| parts[place].parse::<u64>().expect("a number");
    (parts[0], number(1) as u32, number(2) as u32, number(3))
}

/// The lines of the file that the logs amount to; `settings` are those that the processors were started with.
pub(super) fn input(dump: &Dump, settings: &Value) -> Vec<u8> {
    let copies = first_copies(dump);
    let mut lines = Vec::new();
    for (topic, rank) in [("billing.catalog", 0), ("billing.commands", 2), ("usage.events", 4)] {
        for ((name, _), records) in dump.logs.iter().filter(|((name, _), _)| name == topic) {
            let mut reached_ms = i64::MIN;
            for record in records {
                // A broker's clock may step back; its log's order doesn't.
                reached_ms = reached_ms.max(record.appended_ms);
                let copy = copies.get(&(name.as_str(), record.partition, record.offset));
                let here = Arrival { at_ms: reached_ms, partition: record.partition, offset: record.offset };
                let (arrived, rank) = copy.map_or((here, rank), |copy| (*copy, 3));
                let original_ms = copy.map(|_| reached_ms);
                lines.push(Line { arrived, rank, record, original_ms });
            }
        }
    }
    lines.sort_by_key(|line| (line.arrived.at_ms, line.rank, line.arrived));
    let mut out = Vec::new();
    let config = serde_json::json!({ "config": settings });
    out.extend_from_slice(config.to_string().as_bytes());
    out.push(b'\n');
    for line in &lines {
        write_line(line, &mut out);
    }
    out
}

/// When and where the first copy of each record that was sent on arrived.
fn first_copies(dump: &Dump) -> BTreeMap<(&str, u32, u64), Arrival> {
    let mut copies = BTreeMap::new();
    for ((name, _), records) in &dump.logs {
        let mut reached_ms = i64::MIN;
        for copy in records.iter().filter(|_| name == "graceline.forwarded") {
            reached_ms = reached_ms.max(copy.appended_ms);
            let (log, _, partition, offset) = origin(copy);
            let topic = if log == "commands" { "billing.commands" } else { "usage.events" };
            let arrived = Arrival { at_ms: reached_ms, partition: copy.partition, offset: copy.offset };
            copies.entry((topic, partition, offset)).or_insert(arrived);
        }
    }
    copies
}

fn write_line(line: &Line<'_>, out: &mut Vec<u8>) {
    let record = line.record;
    let mut text = format!("{{\"at\":\"{}\",\"topic\":\"{}\"", instant(line.arrived.at_ms), record.topic);
    if let Some(key) = &record.key {
        text += &format!(",\"key\":{}", quoted(key));
    }
    match record.value.as_deref() {
        None => text += ",\"value\":null",
        Some(value) => match json_line(value) {
            Some(json) => text += &format!(",\"value\":{}", with_time(json, line.original_ms)),
            None => text += &format!(",\"text\":{}", quoted(value)),
        },
    }
    text += "}\n";
    out.extend_from_slice(text.as_bytes());
}

fn quoted(bytes: &[u8]) -> String {
    serde_json::to_string(std::str::from_utf8(bytes).expect("the run writes text"))
        .expect("text can be quoted")
}

fn json_line(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(['\n', '\r']))?;
    serde_json::from_str::<&RawValue>(text).ok().map(|_| text)
}

/// Usage that was sent on without a time has its original's.
fn with_time(json: &str, original_ms: Option<i64>) -> String {
    let is_timeless =
        json.starts_with("{\"transaction_id\"") || json.starts_with("{\"external_subscription_id\"");
    match original_ms {
        Some(ms) if is_timeless && !json.contains("\"timestamp\"") => {
            format!("{GIVEN}{}\",{}", instant(ms), &json[1..])
        }
        _ => json.to_owned(),
    }
}

/// Nobody else begins an event with its time.
const GIVEN: &str = "{\"timestamp\":\"";

fn without_given_time(value: &str) -> String {
    let rest = value.strip_prefix(GIVEN).and_then(|rest| rest.split_once("\","));
    rest.map_or_else(|| value.to_owned(), |(_, rest)| format!("{{{rest}"))
}

/// A webhook, however it was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Webhook {
    pub(super) at: String,
    pub(super) topic: String,
    pub(super) key: String,
    pub(super) value: String,
}

/// What came of a log.
#[derive(Default)]
pub(super) struct Outcome {
    /// By their ids.
    pub(super) webhooks: BTreeMap<String, Webhook>,
    /// How often each record was refused, by topic, key, value and reason.
    pub(super) refusals: BTreeMap<[String; 4], usize>,
    pub(super) fates: BTreeMap<String, u64>,
}

pub(super) const FATES: [&str; 6] = ["billed", "late", "duplicate", "parked", "rejected", "cancelled"];

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(default)]
    at: String,
    #[serde(default)]
    topic: String,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    text: Option<String>,
    books: Option<Value>,
}

/// Runs `simulate` over the file.
pub(super) fn simulated(input: &[u8], until_ms: i64) -> Outcome {
    let until = Instant::parse_rfc3339(&instant(until_ms));
    let mut output = Vec::new();
    match simulate(input, &mut output, until, true) {
        Ok(()) => {}
        Err(SimulateError::BadLine(bad)) => panic!("line {} of the merged dump: {}", bad.number, bad.problem),
        Err(SimulateError::Io(error)) => panic!("simulate: {error}"),
    }
    let mut outcome = Outcome::default();
    let mut seen = BTreeSet::new();
    for line in String::from_utf8(output).expect("output is text").lines() {
        let told: Told<'_> = serde_json::from_str(line).expect("a line of output is JSON");
        if let Some(books) = told.books {
            for fate in FATES {
                let count = books["fates"][fate].as_u64().expect("each fate is counted");
                outcome.fates.insert(fate.to_owned(), count);
            }
            continue;
        }
        let value = told.value.map(|value| value.get().to_owned()).or(told.text).unwrap_or_default();
        let key = told.key.unwrap_or_default();
        if let Some(id) = told.headers.get("webhook-id") {
            assert!(seen.insert(id.clone()), "simulate says {id} twice");
            outcome.webhooks.insert(id.clone(), Webhook { at: told.at, topic: told.topic, key, value });
        } else {
            let reason = told.headers.get("graceline-reason").cloned().unwrap_or_default();
            let value = without_given_time(&value);
            *outcome.refusals.entry([told.topic, key, value, reason]).or_default() += 1;
        }
    }
    outcome
}
