//! Commands: the reasons of the contract, each with a command that is only just carried out.

use serde_json::{Value, json};

use super::super::{
    catalog, command, customer, entity, line, metric, minute, plan, storage, usage, with, world,
};
use super::{Row, check, row};

const REASONS: [&str; 13] = [
    "malformed",
    "unknown_command",
    "unknown_customer",
    "unknown_invoice",
    "unknown_charge",
    "unknown_event",
    "content_mismatch",
    "invoice_not_draft",
    "invoice_not_finalized",
    "already_paid",
    "already_disputed",
    "not_edited",
    "not_supported",
];

/// March is a draft, or final.
const DRAFT: &str = "2024-04-01T12:00:00Z";
const FINAL: &str = "2024-04-03T00:00:00Z";

/// On March's invoice.
fn of_march(name: &str, more: Value) -> Value {
    let named = json!({"command": name, "command_id": name, "external_subscription_id": "mia-cloud",
                       "period_from": "2024-03-01T00:00:00Z"});
    with(named, more)
}

/// On the customer.
fn of_mia(name: &str, more: Value) -> Value {
    with(json!({"command": name, "command_id": name}), more)
}

fn event() -> Value {
    json!({"transaction_id": "e1", "external_subscription_id": "mia-cloud", "code": "gb",
           "timestamp": "2024-03-20T00:00:00Z", "properties": {"amount": "4"}})
}

/// While March is a draft: so, and so.
fn drafted(reason: &'static str, refused: Value, accepted: Value) -> Row {
    row(reason, vec![command(DRAFT, &refused)], vec![command(DRAFT, &accepted)])
}

/// When March is final, one command behind another: so, and so.
fn paid(reason: &'static str, refused: [Value; 2], accepted: [Value; 2]) -> Row {
    let log = |commands: [Value; 2]| {
        commands
            .map(|value| command(FINAL, &with(value.clone(), json!({"command_id": value.to_string()}))))
            .into()
    };
    row(reason, log(refused), log(accepted))
}

fn malformed() -> Vec<Row> {
    let pairs = [
        (of_march("invoice.refresh", json!({"command_id": null})), of_march("invoice.refresh", json!({}))),
        (of_march("invoice.refresh", json!({"command": 5})), of_march("invoice.refresh", json!({"note": 5}))),
        (
            of_march("invoice.refresh", json!({"period_from": "March"})),
            of_march("invoice.refresh", json!({"period_from": "2024-03-01T01:00:00+01:00"})),
        ),
        (
            of_march("fee.edit", json!({"charge_code": "storage", "units": "1", "amount_cents": 1})),
            of_march("fee.edit", json!({"charge_code": "storage", "amount_cents": 1})),
        ),
        (
            of_march("fee.edit", json!({"charge_code": "storage"})),
            of_march("fee.edit", json!({"charge_code": "storage", "invoice_display_name": "Disks"})),
        ),
        (
            of_march("fee.reset", json!({"charge_code": 1})),
            of_march("invoice.finalize", json!({"charge_code": 1})),
        ),
        (
            of_mia("wallet.top_up", json!({"credits_cents": 0})),
            of_mia("wallet.top_up", json!({"credits_cents": 1})),
        ),
        (
            of_mia("wallet.purchase", json!({"credits_cents": "5"})),
            of_mia("wallet.purchase", json!({"credits_cents": 5})),
        ),
        (
            of_mia("credit_note.create", json!({"amount_cents": -5})),
            of_mia("credit_note.create", json!({"amount_cents": 5})),
        ),
        (
            of_mia(
                "coupon.apply",
                json!({"coupon_code": "a", "percentage_rate": "100.1", "frequency": "once"}),
            ),
            of_mia(
                "coupon.apply",
                json!({"coupon_code": "a", "percentage_rate": "100", "frequency": "once"}),
            ),
        ),
        (
            of_mia("coupon.apply", json!({"coupon_code": "a", "amount_cents": 5, "frequency": "recurring"})),
            of_mia(
                "coupon.apply",
                json!({"coupon_code": "a", "amount_cents": 5, "frequency": "recurring", "frequency_duration": 1}),
            ),
        ),
        (
            of_mia("invoice.create_one_off", json!({"fees": []})),
            of_mia(
                "invoice.create_one_off",
                json!({"fees": [{"invoice_display_name": "Work", "units": "0", "unit_amount_cents": 5}]}),
            ),
        ),
        (
            of_mia("event.cancel", json!({"event": with(event(), json!({"transaction_id": null}))})),
            of_mia("event.cancel", json!({"event": event()})),
        ),
    ];
    pairs.into_iter().map(|(refused, accepted)| drafted("malformed", refused, accepted)).collect()
}

fn rows() -> Vec<Row> {
    let storage = json!({"charge_code": "storage"});
    let edit = |more: Value| of_march("fee.edit", with(storage.clone(), more));
    let payment = |status: &str| of_march("payment.record", json!({"status": status}));
    let dispute = of_march("payment.dispute_lost", json!({}));
    let cancel = |more: Value| of_mia("event.cancel", json!({"event": with(event(), more)}));
    let top_up = |key: &str| {
        vec![line(DRAFT, "billing.commands", key, &of_mia("wallet.top_up", json!({"credits_cents": 5})))]
    };
    let mut rows = malformed();
    rows.extend([
        drafted(
            "unknown_command",
            of_march("invoice.frame", json!({})),
            of_march("invoice.finalize", json!({})),
        ),
        row("unknown_customer", top_up("zoe"), top_up("ben")),
        drafted(
            "unknown_invoice",
            of_march("invoice.refresh", json!({"period_from": "2024-03-02T00:00:00Z"})),
            of_march("invoice.refresh", json!({})),
        ),
        drafted(
            "unknown_invoice",
            of_march("invoice.refresh", json!({"external_customer_id": "ben"})),
            of_march("invoice.refresh", json!({"external_customer_id": "mia"})),
        ),
        drafted(
            "unknown_charge",
            edit(json!({"charge_code": "seats", "units": "1"})),
            edit(json!({"units": "1", "filter": null})),
        ),
        drafted(
            "unknown_charge",
            edit(json!({"units": "1", "filter": {"region": ["us"]}})),
            edit(json!({"units": "1", "filter": {"region": ["eu"]}})),
        ),
        drafted(
            "unknown_charge",
            edit(json!({"units": "1", "grouped_by": {"country": "fr"}})),
            edit(json!({"units": "1", "grouped_by": {}})),
        ),
        drafted("unknown_event", cancel(json!({"transaction_id": "e2"})), cancel(json!({}))),
        drafted(
            "content_mismatch",
            cancel(json!({"properties": {"amount": 4}})),
            cancel(json!({"timestamp": "2024-03-20T01:00:00+01:00"})),
        ),
        drafted(
            "invoice_not_draft",
            of_march("invoice.refresh", json!({"period_from": "2024-04-01T00:00:00Z"})),
            of_march("invoice.refresh", json!({})),
        ),
        row(
            "invoice_not_draft",
            vec![command(FINAL, &edit(json!({"units": "1"})))],
            vec![command("2024-04-02T23:59:59.999999999Z", &edit(json!({"units": "1"})))],
        ),
        row(
            "invoice_not_draft",
            vec![command(FINAL, &cancel(json!({})))],
            vec![command("2024-04-02T23:59:59.999999999Z", &cancel(json!({})))],
        ),
        row(
            "invoice_not_finalized",
            vec![command(DRAFT, &payment("failed"))],
            vec![command(FINAL, &payment("failed"))],
        ),
        paid(
            "invoice_not_finalized",
            [of_march("invoice.void", json!({})), dispute.clone()],
            [dispute.clone(), of_march("invoice.void", json!({}))],
        ),
        paid(
            "already_paid",
            [payment("succeeded"), payment("failed")],
            [payment("failed"), payment("succeeded")],
        ),
        paid(
            "already_disputed",
            [dispute.clone(), with(dispute.clone(), json!({"note": "again"}))],
            [payment("succeeded"), dispute],
        ),
        row(
            "not_edited",
            vec![command(DRAFT, &edit(json!({"invoice_display_name": "Disks"}))), reset(&storage)],
            vec![command(DRAFT, &edit(json!({"amount_cents": 0}))), reset(&storage)],
        ),
        drafted(
            "not_supported",
            edit(json!({"charge_code": "pay", "units": "1"})),
            edit(json!({"charge_code": "pay", "amount_cents": 1})),
        ),
        drafted(
            "not_supported",
            cancel(json!({"transaction_id": "e3", "code": "paid"})),
            cancel(json!({"transaction_id": "e1"})),
        ),
    ]);
    rows
}

fn reset(charge: &Value) -> String {
    command(DRAFT, &of_march("fee.reset", charge.clone()))
}

#[test]
fn commands_are_refused_for_each_reason_and_their_neighbours_are_not() {
    let filtered = with(storage(), json!({"filters": [{"values": {"region": ["eu"]}, "properties": {}}]}));
    let pay = json!({"code": "pay", "billable_metric_code": "paid", "charge_model": "percentage",
                     "properties": {"rate": "1"}});
    let paid = with(metric("sum_agg"), json!({"code": "paid"}));
    let mut lines =
        world(entity(), metric("sum_agg"), with(plan(&filtered), json!({"charges": [filtered, pay]})));
    lines.extend([catalog(&minute(0), &paid), catalog(&minute(0), &customer("ben"))]);
    lines.push(usage("2024-03-20T00:00:00Z", &event()));
    lines
        .push(usage("2024-03-20T00:00:00Z", &with(event(), json!({"transaction_id": "e3", "code": "paid"}))));
    check(&lines, &rows(), "billing.rejected", &REASONS);
}
