//! Customers have nothing to do with each other: in which order their records come at one instant changes nothing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    catalog, customer, entity, line, metric, minute, plan, quick, storage, subscription, tick, told,
};

const NAMES: [&str; 3] = ["ben", "mia", "zoe"];

/// What one customer does at an instant.
#[derive(Clone, Debug)]
enum Deed {
    Use(i64),
    UseOfEarlier(i64),
    Rename,
    TopUp,
    Buy,
    Pay,
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..100_i64).prop_map(Deed::Use),
        2 => (1..100_i64).prop_map(Deed::UseOfEarlier),
        1 => Just(Deed::Rename),
        1 => Just(Deed::TopUp),
        1 => Just(Deed::Buy),
        1 => Just(Deed::Pay),
    ]
}

/// Ids are the same for all customers: nobody is disturbed by that.
fn record(name: &str, number: usize, at: i64, deed: &Deed) -> String {
    let event = |when: i64, amount: i64| {
        json!({"transaction_id": format!("e{number}"), "external_subscription_id": format!("{name}-cloud"),
               "code": "gb", "timestamp": minute(when), "properties": {"amount": amount}})
    };
    let command = |what: &str, more: Value| {
        let value =
            json!({"command": what, "command_id": format!("c{number}"), "external_customer_id": name});
        line(&minute(at), "billing.commands", name, &super::with(value, more))
    };
    match deed {
        Deed::Use(amount) => line(&minute(at), "usage.events", name, &event(at, *amount)),
        Deed::UseOfEarlier(amount) => {
            line(&minute(at), "usage.events", name, &event((at - 20 * 1440).max(0), *amount))
        }
        Deed::Rename => {
            catalog(&minute(at), &super::with(customer(name), json!({"name": format!("N{number}")})))
        }
        Deed::TopUp => command("wallet.top_up", json!({"credits_cents": 100 + number})),
        Deed::Buy => command(
            "invoice.create_one_off",
            json!({"fees": [{"invoice_display_name": "Work", "amount_cents": 100 + number}]}),
        ),
        Deed::Pay => command(
            "payment.record",
            json!({"status": "succeeded", "external_subscription_id": format!("{name}-cloud"),
                   "period_from": minute(0)}),
        ),
    }
}

/// What each customer hears, in order; only the counter over all of them is nobody's own.
fn heard(lines: &[String]) -> (BTreeMap<String, Vec<Value>>, Value) {
    let mut records = told(lines);
    let books = records.pop().expect("the books come last");
    let mut heard: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for mut record in records {
        if let Some(headers) = record["headers"].as_object_mut() {
            headers.remove("graceline-seq");
        }
        heard.entry(record["key"].to_string()).or_default().push(record);
    }
    (heard, books)
}

proptest! {
    #![proptest_config(quick(40))]

    #[test]
    fn the_order_of_independent_customers_changes_nothing(
        slots in prop::collection::btree_map(1..90_000_i64, prop::collection::vec((0..3_usize, deeds()), 1..5), 1..14),
        shuffles in prop::collection::vec(any::<u64>(), 14),
    ) {
        let mut first = vec![
            catalog(&minute(0), &entity()), catalog(&minute(0), &metric("sum_agg")), catalog(&minute(0), &plan(&storage())),
        ];
        for name in NAMES {
            first.extend([catalog(&minute(0), &customer(name)), catalog(&minute(0), &subscription(name))]);
        }
        let mut second = first.clone();
        let mut numbers = [0; NAMES.len()];
        for ((at, deeds), shuffle) in slots.iter().zip(&shuffles) {
            let mut records: Vec<(usize, String)> = Vec::new();
            for (who, deed) in deeds {
                numbers[*who] += 1;
                records.push((*who, record(NAMES[*who], numbers[*who], *at, deed)));
            }
            first.extend(records.iter().map(|(_, record)| record.clone()));
            // Each customer's own records stay in their order.
            records.sort_by_key(|(who, _)| shuffle.rotate_left(*who as u32 * 21) & 0xff);
            second.extend(records.into_iter().map(|(_, record)| record));
        }
        for lines in [&mut first, &mut second] {
            lines.push(tick(&minute(120_000)));
        }
        prop_assert_eq!(heard(&first), heard(&second));
    }
}
