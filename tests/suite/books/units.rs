//! No unit is lost and none is billed twice: what invoices bill together is what was accepted and not taken back.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    catalog, command, entity, final_fees, metric, minute, of_topic, plan, quick, storage, subscription, tick,
    told, usage, with, world,
};

fn thousandths(amount: i64) -> String {
    format!("{}{}.{:03}", if amount < 0 { "-" } else { "" }, amount.abs() / 1000, amount.abs() % 1000)
}

fn read_thousandths(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    sign * format!("{whole}{fraction:0<3}").parse::<i64>().expect("units are a decimal")
}

/// The ids in what was refused.
fn refused(records: &[Value], topic: &str, member: &str) -> BTreeSet<String> {
    let of = of_topic(records, topic).into_iter();
    of.map(|record| record["value"][member].as_str().expect("it has an id").to_owned()).collect()
}

proptest! {
    #![proptest_config(quick(48))]

    #[test]
    fn billed_units_are_the_accepted_units(
        events in prop::collection::vec((0..90_000_i64, -10..50_000_i64, -5_000..20_000_i64), 1..25),
        taken_back in prop::collection::vec((any::<prop::sample::Index>(), 1..60_000_i64), 0..6),
        counts_with_next in any::<bool>(),
        ends_at in prop::option::of(20_000..80_000_i64),
        change_at in prop::option::of(1..90_000_i64),
    ) {
        let pricing = if counts_with_next { "next_period" } else { "increment" };
        let mut lines = world(
            with(entity(), json!({"late_usage_pricing": pricing})), metric("sum_agg"), plan(&storage()));
        lines.push(catalog(&minute(0), &with(plan(&storage()), json!({"code": "other", "interval": "weekly"}))));
        let mut log = BTreeMap::new();
        let mut sent = BTreeMap::new();
        for (number, (at, back, amount)) in events.iter().enumerate() {
            let id = format!("e{number}");
            let event = json!({"transaction_id": id, "code": "gb", "external_subscription_id": "mia-cloud",
                "timestamp": minute(at - back), "properties": {"amount": thousandths(*amount)}});
            log.insert((*at, 1, number), usage(&minute(*at), &event));
            sent.insert(id, (*amount, event));
        }
        let mut cancels = BTreeMap::new();
        for (number, (of, later)) in taken_back.iter().enumerate() {
            let (at, ..) = events[of.index(events.len())];
            let id = format!("e{}", of.index(events.len()));
            let value = json!({"command": "event.cancel", "command_id": format!("c{number}"), "event": sent[&id].1});
            log.insert((at + later, 2, number), command(&minute(at + later), &value));
            cancels.insert(format!("c{number}"), id);
        }
        if let Some(at) = change_at {
            let changed = with(subscription("mia"), json!({"plan_code": "other"}));
            log.insert((at, 0, 0), catalog(&minute(at), &changed));
        }
        if let Some(at) = ends_at {
            let plan = if change_at.is_some_and(|change| change <= at) { "other" } else { "cloud" };
            let ended = with(subscription("mia"), json!({"plan_code": plan, "ended_at": minute(at)}));
            log.insert((at, 0, 1), catalog(&minute(at), &ended));
        }
        lines.extend(log.into_values());
        lines.push(tick(&minute(250_000)));

        let records = told(&lines);
        let mut accepted = sent;
        for id in refused(&records, "usage.rejected", "transaction_id") {
            accepted.remove(&id);
        }
        let not_taken_back: BTreeSet<String> = of_topic(&records, "billing.rejected")
            .into_iter()
            .filter_map(|record| Some(record["value"]["command_id"].as_str()?.to_owned()))
            .collect();
        for (command_id, id) in cancels {
            if !not_taken_back.contains(&command_id) {
                accepted.remove(&id);
            }
        }
        let billed = final_fees(&records).into_iter().filter(|fee| fee["charge_code"] == "storage");
        let units: i64 = billed.map(|fee| read_thousandths(fee["units"].as_str().expect("units are text"))).sum();
        prop_assert_eq!(units, accepted.values().map(|(amount, _)| amount).sum::<i64>());
        let fates = &records.last().expect("the books come last")["books"]["fates"];
        let kept = fates["billed"].as_u64().unwrap_or(0) + fates["late"].as_u64().unwrap_or(0);
        prop_assert_eq!(kept, accepted.len() as u64);
    }
}
