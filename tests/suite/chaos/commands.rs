//! What people do to invoices while usage comes in.

use super::random::Random;
use super::story::{Subscription, instant};
use serde_json::{Value, json};

/// A command about a subscription's customer, with the key it is written under.
pub(super) fn command(
    random: &mut Random,
    number: u64,
    subscription: &Subscription,
    now_ms: i64,
    event: Option<Value>,
) -> (String, Value) {
    let customer = &subscription.customer;
    let back = -(random.below(3) as i64);
    let period = instant(subscription.period_from(now_ms, back));
    let invoice = json!({"external_subscription_id": subscription.id, "period_from": period});
    let mut value = match random.below(13) {
        0 => invoice_command("invoice.finalize", &invoice),
        1 => invoice_command("invoice.refresh", &invoice),
        2 => invoice_command("invoice.void", &invoice),
        3 => {
            with(invoice_command("fee.edit", &invoice), json!({"charge_code": "calls", "amount_cents": 777}))
        }
        4 => with(invoice_command("fee.edit", &invoice), json!({"charge_code": "requests", "units": "12.5"})),
        5 => with(invoice_command("fee.reset", &invoice), json!({"charge_code": "calls"})),
        6 => with(
            invoice_command("payment.record", &invoice),
            json!({"status": *random.one_of(&["succeeded", "failed"])}),
        ),
        7 => {
            json!({"command": "coupon.apply", "coupon_code": format!("c{number}"), "percentage_rate": "12.5",
            "frequency": "once"})
        }
        8 => json!({"command": "wallet.top_up", "credits_cents": 250}),
        9 => json!({"command": "credit_note.create", "amount_cents": 120}),
        10 => json!({"command": "invoice.create_one_off", "fees": [
            {"invoice_display_name": "Set-up", "amount_cents": 1500}]}),
        11 => with(invoice_command("payment.dispute_lost", &invoice), json!({})),
        _ => match event {
            Some(event) => json!({"command": "event.cancel", "event": event}),
            None => json!({"command": "wallet.purchase", "credits_cents": 400}),
        },
    };
    value["command_id"] = json!(format!("k{number}"));
    // Where nothing in it says whose it is, the key does.
    if value.get("external_subscription_id").is_none() && value.get("event").is_none() {
        value["external_customer_id"] = json!(customer);
    }
    let is_astray = random.in_a_thousand(100) && value.get("event").is_none();
    let key = if is_astray { format!("other_{}", random.below(50)) } else { customer.clone() };
    (key, value)
}

fn invoice_command(name: &str, invoice: &Value) -> Value {
    with(json!({"command": name}), invoice.clone())
}

fn with(mut value: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut value, more) else {
        panic!("commands are objects")
    };
    members.extend(more);
    value
}
