//! The operator's commands, on the embedded broker.

use super::desk::{Desk, Found, prefix};
use graceline::ingest::kafka::embedded::Embedded;
use graceline::persist::ShardId;
use graceline::shard::territory::Territory;

const SHARDS: u32 = 3;

/// A desk, and the broker that it needs as long as it is used.
fn desk() -> (Desk, Embedded) {
    let prefix = prefix();
    let topics = [
        ("usage.events", SHARDS),
        ("billing.catalog", 1),
        ("billing.commands", SHARDS),
        ("usage.rejected", SHARDS),
    ];
    let topics: Vec<(String, u32)> =
        topics.iter().map(|(name, count)| (format!("{prefix}{name}"), *count)).collect();
    let broker = Embedded::start(&topics).expect("a broker can be started");
    (Desk::at(broker.brokers(), &prefix), broker)
}

fn record(partition: i32, key: Option<&str>, value: &str, headers: &[(&str, &str)]) -> Found {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Found { partition, key: key.map(str::to_owned), value: Some(value.to_owned()), headers }
}

#[test]
fn usage_goes_to_its_customers_shard() {
    let (desk, _broker) = desk();
    let topic = desk.topic("usage.events");
    let keys = ["ann", "bob", "cus_4711", "zoë", "x"];
    let lines: String =
        keys.iter().map(|key| format!("{{\"key\":\"{key}\",\"value\":{{\"a\":\"1\"}}}}\n\n")).collect();
    assert_eq!(desk.does(&["send", "usage"], &lines), format!("Sent 5 to {topic}.\n"));
    let territory = Territory { shard: ShardId(0), shards: SHARDS };
    let mut expected: Vec<Found> = keys
        .iter()
        .map(|key| record(territory.home_of(key.as_bytes()).0 as i32, Some(key), "{\"a\":\"1\"}", &[]))
        .collect();
    expected.sort_by_key(|found| found.partition);
    assert_eq!(desk.records(&topic), expected);
}

#[test]
fn usage_without_a_key_is_said_to_be_forwarded() {
    let (desk, _broker) = desk();
    let said =
        desk.does(&["send", "usage"], "{\"code\":\"c\"}\n{\"payload\":{\"stripe_customer_id\":\"ann\"}}");
    assert!(said.contains("Sent 2 to ") && said.contains("\n1 of them had no key."), "{said}");
    let said = desk.does(&["send", "usage", "-", "--key", "ann"], "{\"code\":\"c\"}");
    assert!(said.starts_with("Sent 1 to ") && said.lines().count() == 1, "{said}");
}

#[test]
fn the_catalog_is_keyed_by_kind_and_code() {
    let (desk, _broker) = desk();
    let topic = desk.topic("billing.catalog");
    let tax = r#"{"kind":"tax","code":"vat","name":"VAT","rate":"20"}"#;
    desk.does(&["send", "catalog"], &format!("{tax}\n{{\"key\":\"tax/old\",\"value\":null}}\n"));
    let removed = Found { partition: 0, key: Some("tax/old".to_owned()), value: None, headers: Vec::new() };
    assert_eq!(desk.records(&topic), [record(0, Some("tax/vat"), tax, &[]), removed]);
}

#[test]
fn a_bad_line_ends_it_and_is_named() {
    let (desk, _broker) = desk();
    let topic = desk.topic("billing.catalog");
    let lines = "{\"kind\":\"tax\",\"code\":\"vat\",\"name\":\"VAT\",\"rate\":\"20\"}\n\n{\"kind\":\"tax\",\"code\":\"x\"}\n{\"kind\":\"tax\",\"code\":\"vat\",\"name\":\"VAT\",\"rate\":\"21\"}";
    let said = desk.fails(&["send", "catalog"], lines);
    let expected = format!(
        "graceline: -, line 3: it would be refused: invalid_value at /rate. The 1 before it were sent to {topic}, none behind it\n"
    );
    assert_eq!(said, expected);
    assert_eq!(desk.records(&topic).len(), 1);
    let said = desk.fails(&["send", "command"], "{\"command\":\"invoice.void\"}");
    assert!(said.contains("line 1: it names no external_customer_id"), "{said}");
    let said = desk.fails(&["send", "catalog", "--key", "x"], "");
    assert!(said.contains("leave --key out"), "{said}");
    let said = desk.fails(&["send", "usage", "no/such/file"], "");
    assert!(said.starts_with("graceline: no/such/file can't be read: "), "{said}");
}

#[test]
fn rejected_usage_goes_back_as_it_first_came() {
    let (desk, _broker) = desk();
    let (rejected, usage) = (desk.topic("usage.rejected"), desk.topic("usage.events"));
    let marks = |reason| {
        [
            ("ce_id", "1"),
            ("graceline-reason", reason),
            ("graceline-source", "usage.events/0/7"),
            ("graceline-outbox", "3"),
        ]
    };
    for (partition, key, value, reason) in [
        (0, Some("ann"), "{\"a\":1}", "unknown_metric"),
        (0, Some("ann"), "{\"a\":2}", "too_late"),
        (2, None, "no JSON", "malformed"),
        (2, Some("bob"), "{\"b\":1}", "unknown_metric"),
    ] {
        desk.write(&rejected, partition, key, value, &marks(reason));
    }
    let said = desk.does(&["replay-rejected", "--dry-run"], "");
    let expected = format!(
        "        1  malformed\n        1  too_late\n        2  unknown_metric\nOf 4 rejected events 4 would be sent to {usage}.\n"
    );
    assert_eq!(said, expected);
    assert_eq!(desk.records(&usage), []);
    let said = desk.does(&["replay-rejected", "--reason", "unknown_metric"], "");
    assert_eq!(said, format!("        2  unknown_metric\nOf 4 rejected events 2 were sent to {usage}.\n"));
    let territory = Territory { shard: ShardId(0), shards: SHARDS };
    let home = |key: &str| territory.home_of(key.as_bytes()).0 as i32;
    let mut expected = [
        record(home("ann"), Some("ann"), "{\"a\":1}", &[("ce_id", "1")]),
        record(home("bob"), Some("bob"), "{\"b\":1}", &[("ce_id", "1")]),
    ];
    expected.sort_by_key(|found| found.partition);
    assert_eq!(desk.records(&usage), expected);
}

#[test]
fn nothing_rejected_is_nothing_to_do() {
    let (desk, _broker) = desk();
    let usage = desk.topic("usage.events");
    assert_eq!(
        desk.does(&["replay-rejected"], ""),
        format!("Of 0 rejected events 0 were sent to {usage}.\n")
    );
}

#[test]
fn settings_are_a_record_of_the_catalog() {
    let (desk, _broker) = desk();
    let desk = desk
        .with("GRACELINE__BILLING__DEFAULT_GRACE", "P40D")
        .with("GRACELINE__BILLING__REFRESH", "at_finalization");
    let said = desk.does(&["settings", "apply"], "");
    assert!(said.contains("\nwarning: billing.default_grace (P40D) is longer than"), "{said}");
    let records = desk.records(&desk.topic("billing.catalog"));
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some("settings/settings"));
    let value = records[0].value.as_deref().expect("settings have a value");
    assert!(
        value.contains("\"default_grace\":\"P40D\"") && value.contains("\"refresh\":\"at_finalization\""),
        "{value}"
    );
}

#[test]
fn a_configuration_that_cant_be_used_says_everything() {
    let desk =
        Desk::at("nowhere", "").with("GRACELINE__KAFKA__BROKER", "x").with("GRACELINE__HTTP__LISTEN", "y");
    let said = desk.run(&["check"], "");
    assert_eq!((said.code, said.out.lines().count()), (Some(1), 3), "{said:?}");
    assert!(said.out.lines().all(|line| line.starts_with("error: ")), "{said:?}");
    let said = desk.run(&["send", "usage"], "");
    assert_eq!((said.code, said.err.lines().count()), (Some(2), 3), "{said:?}");
}
