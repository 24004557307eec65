//! The catalog: the reasons of the contract and the places that are wrong, each with a record that is only just taken.

use serde_json::{Value, json};

use super::super::{
    catalog, customer, entity, line, metric, minute, plan, storage, subscription, tick, with, world,
};
use super::{Row, check};

const REASONS: [&str; 7] = [
    "malformed",
    "unknown_kind",
    "invalid_value",
    "subscription_ended",
    "immutable",
    "currency_mismatch",
    "grace_not_shorter_than_period",
];

/// One record: so, and so.
fn apart(reason: &'static str, pointer: &'static str, refused: Value, accepted: Value) -> Row {
    let log = |value: Value| vec![catalog(&minute(1440), &value)];
    Row { reason, pointer: Some(pointer), refused: log(refused), accepted: log(accepted) }
}

/// One member of a record that would be taken: so, and so.
fn members(record: &Value, reason: &'static str, wrong: &[(&'static str, Value, Value)]) -> Vec<Row> {
    let set = |pointer: &str, value: &Value| {
        let mut record = record.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer has a slash");
        match record.pointer_mut(parent).expect("the member's parent is there") {
            Value::Object(members) => drop(members.insert(name.to_owned(), value.clone())),
            Value::Array(items) => items[name.parse::<usize>().expect("a place")] = value.clone(),
            _ => panic!("{parent} has no members"),
        }
        record
    };
    let rows = wrong.iter();
    rows.map(|(pointer, refused, accepted)| {
        apart(reason, pointer, set(pointer, refused), set(pointer, accepted))
    })
    .collect()
}

fn tiers() -> Value {
    json!({"code": "tiers", "billable_metric_code": "gb", "charge_model": "graduated", "properties": {
        "graduated_ranges": [{"from_value": 0, "to_value": 10, "per_unit_amount": "1"},
                             {"from_value": 10, "to_value": null, "per_unit_amount": "1"}]}})
}

fn pay() -> Value {
    json!({"code": "pay", "billable_metric_code": "gb", "charge_model": "percentage",
           "properties": {"rate": "1", "free_units_per_events": 2, "free_units_per_total_aggregation": "5"},
           "filters": [{"values": {"region": ["eu"]}, "properties": {}}]})
}

fn packs() -> Value {
    json!({"code": "packs", "billable_metric_code": "gb", "charge_model": "package",
           "properties": {"amount": "3", "package_size": 10, "pricing_group_keys": ["country"]}})
}

fn full_plan() -> Value {
    with(plan(&storage()), json!({"charges": [storage(), tiers(), pay(), packs()]}))
}

fn texts() -> Vec<Row> {
    let written = |text: &str| {
        vec![
            json!({"at": minute(1440), "topic": "billing.catalog", "key": "tax/vat", "text": text})
                .to_string(),
        ]
    };
    let tax = json!({"kind": "tax", "code": "vat", "rate": "20"});
    let twice = tax.to_string().replacen('{', r#"{"rate":"20","#, 1);
    let mut rows: Vec<Row> = ["", "[]", "hello", twice.as_str()]
        .map(|text| Row {
            reason: "malformed",
            pointer: Some(""),
            refused: written(text),
            accepted: written(&tax.to_string()),
        })
        .into();
    rows.push(apart("malformed", "/kind", with(tax.clone(), json!({"kind": null})), tax.clone()));
    rows.push(apart("unknown_kind", "/kind", with(tax.clone(), json!({"kind": "planet"})), tax.clone()));
    let gone = |key: &str| vec![line(&minute(1440), "billing.catalog", key, &Value::Null)];
    rows.push(Row {
        reason: "unknown_kind",
        pointer: Some(""),
        refused: gone("planet/vat"),
        accepted: gone("tax/vat"),
    });
    rows.extend(members(
        &tax,
        "invalid_value",
        &[
            ("/rate", json!("-1"), json!("0")),
            ("/rate", json!("1e1"), json!(1e1)),
            ("/rate", json!("1000000000000"), json!("999999999999.999999999999")),
            ("/code", json!(""), json!("é")),
        ],
    ));
    rows
}

fn values() -> Vec<Row> {
    let mut rows = members(
        &entity(),
        "invalid_value",
        &[
            ("/timezone", json!("Mars/Base"), json!("America/Argentina/Buenos_Aires")),
            ("/currency", json!("eur"), json!("KWD")),
            ("/invoice_grace_period", json!("P1M"), json!("P1W")),
            ("/invoice_grace_period", json!("P1.5D"), json!("P1DT12H")),
            ("/invoice_grace_period", json!(-1), json!(0)),
            ("/net_payment_term", json!("PT24H"), json!("P2W")),
            ("/document_numbering", json!("random"), json!("per_billing_entity")),
            ("/finalize_zero_amount_invoice", json!("no"), json!(false)),
            ("/late_usage_pricing", json!("free"), json!("next_period")),
            ("/tax_codes", json!("vat"), json!(["vat"])),
            ("/grace_rules", json!([7]).pointer("/0").cloned().unwrap_or_default(), json!([])),
        ],
    );
    let rules = with(entity(), json!({"grace_rules": [{"delay": "PT1H", "when": ["metered_price"]}]}));
    rows.extend(members(
        &rules,
        "invalid_value",
        &[
            ("/grace_rules/0/when/0", json!("always"), json!("subscription_cycle")),
            ("/grace_rules/0/delay", json!(null), json!(2)),
        ],
    ));
    let count = json!({"kind": "billable_metric", "code": "trips", "aggregation_type": "count_agg"});
    rows.extend(members(
        &count,
        "invalid_value",
        &[
            ("/aggregation_type", json!("median"), json!("count_agg")),
            ("/recurring", json!(true), json!(false)),
            ("/rounding_function", json!("up"), json!("ceil")),
        ],
    ));
    let sum = with(count, json!({"aggregation_type": "sum_agg", "field_name": "amount"}));
    rows.extend(members(&sum, "invalid_value", &[("/field_name", json!(null), json!("n"))]));
    rows.extend(members(
        &customer("mia"),
        "invalid_value",
        &[
            ("/collection_method", json!("cash"), json!("charge_automatically")),
            ("/net_payment_term", json!("P1Y"), json!(0)),
            ("/timezone", json!(""), json!("UTC")),
        ],
    ));
    rows.extend(members(
        &subscription("ben"),
        "invalid_value",
        &[
            ("/billing_time", json!("lunar"), json!("anniversary")),
            ("/started_at", json!("2024-03-01"), json!("2024-03-01T00:00:00.000000001+14:00")),
            ("/ended_at", json!("2024-02-29T23:59:59Z"), json!("2024-03-01T00:00:00Z")),
        ],
    ));
    let fresh = with(full_plan(), json!({"code": "fresh"}));
    rows.extend(members(
        &fresh,
        "invalid_value",
        &[
            ("/interval", json!("P1M"), json!("P28D")),
            ("/interval", json!("PT0S"), json!("PT1S")),
            ("/amount_cents", json!(-1), json!(0)),
            ("/amount_cents", json!("1"), json!(1)),
            ("/charges/0/charge_model", json!("guess"), json!("dynamic")),
            ("/charges/0/properties/amount", json!("-1"), json!("0")),
            ("/charges/0/code", json!(7), json!("disks")),
            ("/charges/1/code", json!("storage"), json!("stores")),
            ("/charges/1/properties/graduated_ranges/0/to_value", json!(null), json!("10.5")),
            ("/charges/1/properties/graduated_ranges/1/to_value", json!(20), json!(null)),
            ("/charges/2/properties/per_transaction_min_amount", json!("1"), json!(null)),
            ("/charges/2/properties/per_transaction_max_amount", json!("1"), json!(null)),
            ("/charges/2/filters/0/values", json!({}), json!({"region": ["us"]})),
            ("/charges/2/filters/0/values/region", json!([]), json!(["us", "eu"])),
            ("/charges/3/properties/package_size", json!(0), json!("0.5")),
            ("/charges/3/min_amount_cents", json!("100"), json!(100)),
        ],
    ));
    rows
}

fn what_stays() -> Vec<Row> {
    let mut rows = members(
        &full_plan(),
        "immutable",
        &[
            ("/interval", json!("weekly"), json!("monthly")),
            ("/amount_currency", json!("USD"), json!("EUR")),
            ("/charges/0/billable_metric_code", json!("calls"), json!("gb")),
            ("/charges/2/properties/free_units_per_events", json!(3), json!(2)),
            ("/charges/2/properties/free_units_per_total_aggregation", json!("6"), json!("5.0")),
            ("/charges/2/filters", json!([]), full_plan()["charges"][2]["filters"].clone()),
            ("/charges/2/filters/0/values", json!({"region": ["us"]}), json!({"region": ["eu"]})),
            ("/charges/3/properties/pricing_group_keys", json!([]), json!(["country"])),
        ],
    );
    rows.extend(members(
        &metric("sum_agg"),
        "immutable",
        &[
            ("/aggregation_type", json!("max_agg"), json!("sum_agg")),
            ("/field_name", json!("n"), json!("amount")),
        ],
    ));
    rows.extend(members(
        &subscription("mia"),
        "immutable",
        &[
            ("/external_customer_id", json!("ben"), json!("mia")),
            ("/started_at", json!("2024-03-02T00:00:00Z"), json!(null)),
            ("/billing_time", json!("anniversary"), json!("calendar")),
        ],
    ));
    rows
}

fn what_fits() -> Vec<Row> {
    let dollars = with(plan(&storage()), json!({"code": "dollars", "amount_currency": "USD"}));
    let week = with(plan(&storage()), json!({"code": "week", "interval": "weekly"}));
    let of_ben = |plan: &str| with(subscription("ben"), json!({"plan_code": plan}));
    let ben = |more: Value| with(customer("ben"), more);
    let log = |values: [Value; 3]| values.map(|value| catalog(&minute(1440), &value)).into();
    let pair = |reason, pointer, refused, accepted| Row {
        reason,
        pointer: Some(pointer),
        refused: log(refused),
        accepted: log(accepted),
    };
    let euros = json!({"currency": "EUR"});
    let days = |count: i64| json!({"invoice_grace_period": count});
    vec![
        pair(
            "currency_mismatch",
            "/plan_code",
            [dollars.clone(), ben(euros.clone()), of_ben("dollars")],
            [dollars.clone(), ben(euros.clone()), of_ben("cloud")],
        ),
        pair(
            "currency_mismatch",
            "/currency",
            [dollars.clone(), of_ben("dollars"), ben(euros)],
            [dollars, of_ben("dollars"), ben(json!({"currency": "USD"}))],
        ),
        pair(
            "grace_not_shorter_than_period",
            "/plan_code",
            [week.clone(), ben(days(7)), of_ben("week")],
            [week.clone(), ben(days(6)), of_ben("week")],
        ),
        pair(
            "grace_not_shorter_than_period",
            "/invoice_grace_period",
            [week.clone(), of_ben("week"), ben(days(7))],
            [week, of_ben("week"), ben(days(6))],
        ),
    ]
}

#[test]
fn records_are_refused_for_each_reason_and_their_neighbours_are_not() {
    let mut lines = world(entity(), metric("sum_agg"), full_plan());
    lines.extend([
        catalog(&minute(0), &json!({"kind": "tax", "code": "vat", "name": "VAT", "rate": "20"})),
        catalog(&minute(0), &with(metric("count_agg"), json!({"code": "calls"}))),
        catalog(&minute(0), &customer("ben")),
    ]);
    let ended = |at: i64| {
        let ending = with(subscription("mia"), json!({"ended_at": minute(2880)}));
        let more = with(subscription("mia"), json!({"ended_at": minute(4320)}));
        vec![catalog(&minute(1440), &ending), tick(&minute(at)), catalog(&minute(at), &more)]
    };
    let mut rows = texts();
    rows.extend(values());
    rows.extend(what_stays());
    rows.extend(what_fits());
    rows.push(Row {
        reason: "subscription_ended",
        pointer: Some(""),
        refused: ended(2880),
        accepted: ended(2879),
    });
    check(&lines, &rows, "billing.rejected", &REASONS);
}
