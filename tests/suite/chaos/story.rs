//! Who is billed in a run, and how: short periods and graces, so that drafts, late usage, finalizations and, where a
//! midnight comes along, overdue invoices all happen within minutes.

use chrono::{Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

/// What decides invoices, as the members of a settings record.
pub(super) fn settings() -> Value {
    json!({
        "default_grace": "PT4S",
        "default_net_payment_term": 0,
        "lateness_limit": "PT2M",
        "future_limit": "PT20S",
        "parking_limit": "PT15S",
        "refresh_interval": "PT2S",
        "clock_skew_limit": "PT1S",
    })
}

/// The same for the environment of a processor.
pub(super) fn settings_in_environment() -> Vec<(&'static str, String)> {
    let settings = settings();
    let one = |variable, member: &str| {
        let value = &settings[member];
        (variable, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    vec![
        one("GRACELINE__BILLING__DEFAULT_GRACE", "default_grace"),
        one("GRACELINE__BILLING__DEFAULT_NET_PAYMENT_TERM", "default_net_payment_term"),
        one("GRACELINE__BILLING__LATENESS_LIMIT", "lateness_limit"),
        one("GRACELINE__BILLING__FUTURE_LIMIT", "future_limit"),
        one("GRACELINE__BILLING__PARKING_LIMIT", "parking_limit"),
        one("GRACELINE__BILLING__REFRESH_INTERVAL", "refresh_interval"),
        one("GRACELINE__BILLING__CLOCK_SKEW_LIMIT", "clock_skew_limit"),
    ]
}

/// A plan's code, and how long its periods last.
pub(super) const PLANS: [(&str, i64); 4] =
    [("ten", 10_000), ("twenty", 20_000), ("thirty", 30_000), ("sixty", 60_000)];

#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) plan: usize,
    pub(super) started_ms: i64,
    /// It is in the catalog.
    pub(super) is_known: bool,
}

impl Subscription {
    /// The start of the period that holds an instant, or of one so many periods away from it.
    pub(super) fn period_from(&self, at_ms: i64, away: i64) -> i64 {
        let length = PLANS[self.plan].1;
        self.started_ms + ((at_ms - self.started_ms).div_euclid(length) + away) * length
    }

    pub(super) fn record(&self) -> (String, Value) {
        let value = json!({
            "kind": "subscription",
            "external_id": self.id,
            "external_customer_id": self.customer,
            "plan_code": PLANS[self.plan].0,
            "started_at": instant(self.started_ms),
        });
        (format!("subscription/{}", self.id), value)
    }
}

/// An instant as records have it.
pub(super) fn instant(ms: i64) -> String {
    let at = Utc.timestamp_millis_opt(ms).single().expect("an instant of our time");
    at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The entity whose invoices are numbered over all its customers, wherever their shards are turned.
pub(super) const COUNTS_ALL: &str = "cord";

/// Entities, taxes, metrics and plans.
pub(super) fn small_kinds() -> Vec<(String, Value)> {
    let records = vec![
        ("tax/vat", json!({"kind": "tax", "code": "vat", "name": "VAT", "rate": "20"})),
        ("tax/city", json!({"kind": "tax", "code": "city", "name": "City", "rate": "1.75"})),
        (
            "billing_entity/acme",
            json!({"kind": "billing_entity", "code": "acme", "name": "Acme", "currency": "EUR",
                "invoice_grace_period": "PT3S", "document_prefix": "ACM", "document_numbering": "per_customer",
                "tax_codes": ["vat"], "late_usage_pricing": "increment"}),
        ),
        (
            "billing_entity/brio",
            json!({"kind": "billing_entity", "code": "brio", "name": "Brio", "currency": "EUR",
                "invoice_grace_period": "PT2S", "document_numbering": "per_customer", "tax_codes": ["vat", "city"],
                "late_usage_pricing": "next_period",
                "grace_rules": [{"delay": "PT6S", "when": ["metered_price", "subscription_cycle"]}]}),
        ),
        (
            "billing_entity/cord",
            json!({"kind": "billing_entity", "code": COUNTS_ALL, "name": "Cord", "currency": "EUR",
                "invoice_grace_period": "PT1S", "document_prefix": "CRD", "document_numbering": "per_billing_entity",
                "tax_codes": ["vat"], "late_usage_pricing": "increment"}),
        ),
        metric("calls", "sum_agg", "calls"),
        metric("requests", "count_agg", "requests"),
        metric("peak", "max_agg", "size"),
        metric("users", "unique_count_agg", "user"),
        metric("level", "latest_agg", "level"),
        metric("stored", "weighted_sum_agg", "gb"),
    ];
    let records = records.into_iter().map(|(key, value)| (key.to_owned(), value));
    records.chain(plans(0)).collect()
}

fn metric(code: &'static str, aggregation: &str, field: &str) -> (&'static str, Value) {
    let key = match code {
        "calls" => "billable_metric/calls",
        "requests" => "billable_metric/requests",
        "peak" => "billable_metric/peak",
        "users" => "billable_metric/users",
        "level" => "billable_metric/level",
        _ => "billable_metric/stored",
    };
    let value = json!({"kind": "billable_metric", "code": code, "name": code, "aggregation_type": aggregation,
        "field_name": field, "recurring": false});
    (key, value)
}

/// The plans, at prices that move with `edition`.
pub(super) fn plans(edition: u64) -> Vec<(String, Value)> {
    let price = |cents: u64| format!("0.{:02}", (cents + edition) % 100);
    let ten = json!([
        charge(
            "calls",
            "graduated",
            json!({"graduated_ranges": [
            {"from_value": 0, "to_value": 100, "per_unit_amount": price(7), "flat_amount": "1"},
            {"from_value": 100, "to_value": null, "per_unit_amount": price(3), "flat_amount": "0.5"}]})
        ),
        charge("requests", "standard", json!({"amount": price(1)})),
        charge("level", "standard", json!({"amount": "0.005"})),
    ]);
    let twenty = json!([
        charge(
            "calls",
            "volume",
            json!({"volume_ranges": [
            {"from_value": 0, "to_value": 500, "per_unit_amount": price(5), "flat_amount": "0"},
            {"from_value": 500, "to_value": null, "per_unit_amount": price(2), "flat_amount": "2"}]})
        ),
        charge("users", "standard", json!({"amount": price(11)})),
        charge("peak", "package", json!({"amount": price(9), "free_units": 10, "package_size": 7})),
    ]);
    let thirty = json!([
        charge(
            "calls",
            "percentage",
            json!({"rate": "1.5", "fixed_amount": price(2), "free_units_per_events": 3})
        ),
        charge("stored", "standard", json!({"amount": price(13)})),
        charge("requests", "package", json!({"amount": price(4), "free_units": 5, "package_size": 10})),
    ]);
    let sixty = json!([{
        "code": "calls", "billable_metric_code": "calls", "charge_model": "standard", "min_amount_cents": 700,
        "properties": {"amount": price(6), "pricing_group_keys": ["country"]},
        "filters": [{"values": {"region": ["us"]}, "invoice_display_name": "US", "properties": {"amount": price(8)}}]},
        charge("level", "standard", json!({"amount": price(1)})),
        charge("users", "graduated", json!({"graduated_ranges": [
            {"from_value": 0, "to_value": 3, "per_unit_amount": price(50), "flat_amount": "0"},
            {"from_value": 3, "to_value": null, "per_unit_amount": price(20), "flat_amount": "1"}]})),
    ]);
    let plan = |number: usize, amount: u64, advance: bool, commitment: u64, charges: Value| {
        let (code, length_ms) = PLANS[number];
        let value = json!({"kind": "plan", "code": code, "name": code, "interval": format!("PT{}S", length_ms / 1000),
            "amount_cents": amount + edition, "amount_currency": "EUR", "pay_in_advance": advance,
            "minimum_commitment_cents": commitment, "charges": charges});
        (format!("plan/{code}"), value)
    };
    vec![
        plan(0, 100, false, 0, ten),
        plan(1, 250, true, 0, twenty),
        plan(2, 0, false, 2000, thirty),
        plan(3, 900, true, 0, sixty),
    ]
}

fn charge(metric: &str, model: &str, properties: Value) -> Value {
    json!({"code": metric, "billable_metric_code": metric, "charge_model": model, "properties": properties})
}

pub(super) fn customer(number: usize, zone: Tz, edition: u64) -> (String, Value) {
    let id = customer_id(number);
    let entity = ["acme", "brio", COUNTS_ALL][number % 3];
    let mut value = json!({"kind": "customer", "external_id": id, "name": format!("{id} ({edition})"),
        "billing_entity_code": entity, "currency": "EUR", "timezone": zone.name()});
    if (number as u64 + edition).is_multiple_of(5) {
        value["invoice_grace_period"] = json!("PT5S");
    }
    if number.is_multiple_of(7) {
        value["collection_method"] = json!("charge_automatically");
    }
    (format!("customer/{id}"), value)
}

pub(super) fn customer_id(number: usize) -> String {
    format!("cust_{number}")
}

/// The zone whose midnight comes next after an instant.
pub(super) fn zone_of_next_midnight(after_ms: i64) -> Tz {
    let at = Utc.timestamp_millis_opt(after_ms).single().expect("an instant of our time");
    let until_midnight = |zone: &Tz| {
        let local = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        86_400 - at.with_timezone(&local).num_seconds_from_midnight()
    };
    chrono_tz::TZ_VARIANTS.into_iter().min_by_key(until_midnight).expect("there are zones")
}
