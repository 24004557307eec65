//! Usage: the reasons of the contract, each with usage that is only just taken.

use serde_json::{Value, json};

use super::super::{catalog, entity, metric, minute, plan, storage, subscription, usage, with, world};
use super::{Row, check, row};

const REASONS: [&str; 12] = [
    "malformed",
    "unknown_metric",
    "unknown_subscription",
    "missing_field",
    "invalid_value",
    "id_conflict",
    "too_late",
    "in_future",
    "before_start",
    "after_end",
    "no_open_invoice",
    "too_large",
];

/// 20 March, when nothing is final yet but the invoice of a subscription that ended on the 5th.
const NOW: &str = "2024-03-20T00:00:00Z";

fn event() -> Value {
    json!({"transaction_id": "e1", "external_subscription_id": "mia-cloud", "code": "gb",
           "timestamp": "2024-03-19T00:00:00Z", "properties": {"amount": "1"}})
}

/// One member otherwise: so, and so.
fn apart(reason: &'static str, refused: Value, accepted: Value) -> Row {
    let log = |more| vec![usage(NOW, &with(event(), more))];
    row(reason, log(refused), log(accepted))
}

/// Usage stamped at one instant that arrives at another: so, and so.
fn stamped(reason: &'static str, whose: &str, refused: [&str; 2], accepted: [&str; 2]) -> Row {
    let log = |[at, when]: [&str; 2]| {
        vec![usage(at, &with(event(), json!({"external_subscription_id": whose, "timestamp": when})))]
    };
    row(reason, log(refused), log(accepted))
}

/// The very bytes of a value: so, and so.
fn written(reason: &'static str, refused: &str, accepted: &str) -> Row {
    let log = |text: &str| {
        vec![json!({"at": NOW, "topic": "usage.events", "key": "mia", "text": text}).to_string()]
    };
    row(reason, log(refused), log(accepted))
}

fn nested(levels: usize) -> String {
    let inner = format!("{}{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    with(event(), json!({"deep": "HERE"})).to_string().replace(r#""HERE""#, &inner)
}

fn sized(bytes: usize) -> String {
    let bare = with(event(), json!({"pad": ""})).to_string().len();
    with(event(), json!({"pad": "z".repeat(bytes - bare)})).to_string()
}

fn by_customer(when: &str) -> Vec<String> {
    let value = json!({"event_name": "gb", "identifier": "e1", "timestamp": when,
                       "payload": {"stripe_customer_id": "mia", "amount": "1"}});
    vec![usage(NOW, &value)]
}

fn rows() -> Vec<Row> {
    let plain = event().to_string();
    let mut rows = vec![
        written("malformed", "{}", &plain),
        written("malformed", "hello", &plain),
        written("malformed", &format!("{plain} {{}}"), &format!(" {plain}\n")),
        written("malformed", &plain.replace(r#""1""#, r#""1","amount":"1""#), &plain),
        written("malformed", &plain.replace("e1", r"\ud800"), &plain.replace("e1", r"\ud83e\udd8a")),
        written("malformed", &nested(129), &nested(128)),
        written("too_large", &sized(1001), &sized(1000)),
        apart("malformed", json!({"code": null}), json!({"note": null})),
        apart(
            "malformed",
            json!({"external_subscription_id": ""}),
            json!({"external_subscription_id": "nobody"}),
        ),
        apart("malformed", json!({"transaction_id": ""}), json!({"transaction_id": " "})),
        apart("malformed", json!({"transaction_id": 7}), json!({"transaction_id": null})),
        apart("malformed", json!({"properties": []}), json!({"properties": {"amount": 1, "more": []}})),
        apart("malformed", json!({"timestamp": "2024-03-19"}), json!({"timestamp": "1710806400.5"})),
        apart("malformed", json!({"timestamp": "2024-02-30T00:00:00Z"}), json!({"timestamp": 1_710_806_400})),
        apart("unknown_metric", json!({"code": "seats"}), json!({"code": "gb"})),
        apart("missing_field", json!({"properties": {}}), json!({"properties": {"amount": "0"}})),
        apart("missing_field", json!({"properties": {"amount": null}}), json!({"properties": {"amount": 0}})),
        apart(
            "invalid_value",
            json!({"properties": {"amount": true}}),
            json!({"properties": {"amount": -1}}),
        ),
        stamped(
            "in_future",
            "mia-cloud",
            [NOW, "2024-03-20T00:05:00.000000001Z"],
            [NOW, "2024-03-20T00:05:00Z"],
        ),
        stamped(
            "too_late",
            "mia-cloud",
            ["2024-04-14T00:00:00.000000001Z", "2024-03-10T00:00:00Z"],
            ["2024-04-14T00:00:00Z", "2024-03-10T00:00:00Z"],
        ),
        stamped(
            "before_start",
            "mia-cloud",
            [NOW, "2024-02-29T23:59:59.999999999Z"],
            [NOW, "2024-03-01T00:00:00Z"],
        ),
        stamped(
            "after_end",
            "mia-old",
            ["2024-03-06T00:00:00Z", "2024-03-05T00:00:00Z"],
            ["2024-03-06T00:00:00Z", "2024-03-04T23:59:59.999999999Z"],
        ),
        stamped(
            "no_open_invoice",
            "mia-old",
            ["2024-03-07T00:00:00Z", "2024-03-04T00:00:00Z"],
            ["2024-03-06T23:59:59.999999999Z", "2024-03-04T00:00:00Z"],
        ),
        // On the 4th Mia has two subscriptions that price it, on the 6th one.
        row("unknown_subscription", by_customer("2024-03-04T00:00:00Z"), by_customer("2024-03-06T00:00:00Z")),
    ];
    for (wrong, right) in
        [(r#""1e3""#, "1e3"), (r#"".5""#, r#""0.5""#), (r#""1.""#, r#""1.0""#), (r#""+1""#, r#""-1""#)]
            .into_iter()
            .chain([
                (r#""1000000000000000""#, r#""0999999999999999""#),
                ("1e-13", "1e-12"),
                (r#"" 1""#, r#""1""#),
            ])
    {
        rows.push(written("invalid_value", &plain.replace(r#""1""#, wrong), &plain.replace(r#""1""#, right)));
    }
    let again = |value: Value| vec![usage(NOW, &event()), usage(NOW, &with(event(), value))];
    rows.push(row(
        "id_conflict",
        again(json!({"properties": {"amount": 1}})),
        again(json!({"note": "again"})),
    ));
    rows.push(row(
        "id_conflict",
        again(json!({"timestamp": "2024-03-19T00:00:01Z"})),
        again(json!({"transaction_id": "e2"})),
    ));
    rows
}

#[test]
fn usage_is_refused_for_each_reason_and_its_neighbour_is_not() {
    let mut lines = vec![json!({"config": {"max_event_bytes": 1000}}).to_string()];
    lines.extend(world(entity(), metric("sum_agg"), plan(&storage())));
    let old = json!({"external_id": "mia-old", "ended_at": "2024-03-05T00:00:00Z"});
    lines.push(catalog(&minute(0), &with(subscription("mia"), old)));
    check(&lines, &rows(), "usage.rejected", &REASONS);
}
