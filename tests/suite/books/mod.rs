//! The books from outside: laws that hold whatever comes in, and a test for every reason to refuse.

mod ahead;
mod customers;
mod duplicates;
mod late;
mod periods;
mod refusals;
mod units;

use std::collections::BTreeMap;

use graceline::console::simulate::{SimulateError, simulate};
use proptest::prelude::ProptestConfig;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Quick enough to be run with everything else.
fn quick(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Everything the books say to a log, the counts of fates last.
fn told(lines: &[String]) -> Vec<Value> {
    let mut output = Vec::new();
    match simulate(lines.join("\n").as_bytes(), &mut output, None, true) {
        Ok(()) => {}
        Err(SimulateError::BadLine(line)) => panic!("line {}: {}", line.number, line.problem),
        Err(SimulateError::Io(error)) => panic!("{error}"),
    }
    let text = String::from_utf8(output).expect("records are text");
    text.lines().map(read_record).collect()
}

/// What was refused may be something that only few readers take; it isn't looked into then.
fn read_record(line: &str) -> Value {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(line).expect("a record is JSON");
    let read =
        |(name, value): (String, &RawValue)| (name, serde_json::from_str(value.get()).unwrap_or_default());
    Value::Object(members.into_iter().map(read).collect())
}

/// An instant so many minutes after midnight of 1 March 2024.
fn minute(minutes: i64) -> String {
    let (days, rest) = (minutes.div_euclid(1440), minutes.rem_euclid(1440));
    let date = graceline::invoice::calendar::Date(19_783).plus_days(days);
    let mut text = Vec::new();
    date.write_to(&mut text);
    let date = String::from_utf8(text).expect("a date is text");
    format!("{date}T{:02}:{:02}:00Z", rest / 60, rest % 60)
}

fn line(at: &str, topic: &str, key: &str, value: &Value) -> String {
    json!({"at": at, "topic": topic, "key": key, "value": value}).to_string()
}

fn tick(at: &str) -> String {
    json!({"at": at}).to_string()
}

fn catalog(at: &str, value: &Value) -> String {
    line(at, "billing.catalog", "any/key", value)
}

fn usage(at: &str, value: &Value) -> String {
    line(at, "usage.events", "mia", value)
}

fn command(at: &str, value: &Value) -> String {
    line(at, "billing.commands", "mia", value)
}

/// Two days of grace and a year to pay, so that nothing falls due in a story of some months.
fn entity() -> Value {
    json!({"kind": "billing_entity", "code": "north", "timezone": "UTC", "currency": "EUR",
           "invoice_grace_period": 2, "net_payment_term": 365})
}

fn metric(aggregation: &str) -> Value {
    json!({"kind": "billable_metric", "code": "gb", "aggregation_type": aggregation, "field_name": "amount"})
}

fn plan(charge: &Value) -> Value {
    json!({"kind": "plan", "code": "cloud", "interval": "monthly", "amount_cents": 1500,
           "amount_currency": "EUR", "charges": [charge]})
}

fn storage() -> Value {
    json!({"code": "storage", "billable_metric_code": "gb", "charge_model": "standard",
           "properties": {"amount": "0.25"}})
}

fn customer(name: &str) -> Value {
    json!({"kind": "customer", "external_id": name, "billing_entity_code": "north"})
}

fn subscription(name: &str) -> Value {
    json!({"kind": "subscription", "external_id": format!("{name}-cloud"), "external_customer_id": name,
           "plan_code": "cloud", "started_at": "2024-03-01T00:00:00Z"})
}

/// Mia and her subscription, entered as March begins.
fn world(entity: Value, metric: Value, plan: Value) -> Vec<String> {
    [entity, metric, plan, customer("mia"), subscription("mia")]
        .iter()
        .map(|record| catalog(&minute(0), record))
        .collect()
}

/// With what its members don't say taken from the other.
fn with(mut value: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut value, more) else {
        panic!("only objects have members")
    };
    members.extend(more);
    value
}

/// What went to topics whose name ends so.
fn of_topic<'a>(records: &'a [Value], end: &str) -> Vec<&'a Value> {
    records
        .iter()
        .filter(|record| record["topic"].as_str().is_some_and(|topic| topic.ends_with(end)))
        .collect()
}

/// The lines of all invoices that became final.
fn final_fees(records: &[Value]) -> Vec<&Value> {
    let invoices = of_topic(records, "invoice.finalized").into_iter();
    invoices
        .flat_map(|record| record["value"]["invoice"]["fees"].as_array().expect("fees are a list"))
        .collect()
}
