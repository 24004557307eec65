//! Late usage costs what it would have cost in time: increments add up to the price of the whole.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{entity, final_fees, metric, minute, plan, quick, tick, told, usage, with, world};

/// When usage of March comes: in time, in its grace, and three times later.
const ARRIVALS: [i64; 6] = [44_639, 45_000, 50_000, 60_000, 89_000, 95_000];
/// By then March, April, May and June are final.
const THE_END: i64 = 180_000;

fn charges() -> impl Strategy<Value = (Value, Vec<&'static str>)> {
    let tiers = |price: &str| {
        json!([{"from_value": 0, "to_value": "10.5", price: "7", "flat_amount": "2"},
               {"from_value": "10.5", "to_value": 40, price: "3.333333333333", "flat_amount": "0"},
               {"from_value": 40, "to_value": null, price: "0.015", "flat_amount": "3.5"}])
    };
    let all = vec!["sum_agg", "count_agg", "max_agg", "unique_count_agg", "latest_agg", "weighted_sum_agg"];
    let events = vec!["sum_agg", "count_agg"];
    let percentage = json!({"rate": "2.9", "fixed_amount": "0.30", "free_units_per_events": 3,
                            "free_units_per_total_aggregation": "25"});
    prop::sample::select(vec![
        (json!({"charge_model": "standard", "properties": {"amount": "0.333333333333"}}), all.clone()),
        (
            json!({"charge_model": "graduated", "properties": {"graduated_ranges": tiers("per_unit_amount")}}),
            all.clone(),
        ),
        (
            json!({"charge_model": "volume", "properties": {"volume_ranges": tiers("per_unit_amount")}}),
            all.clone(),
        ),
        (
            json!({"charge_model": "package", "properties": {"amount": "3", "free_units": 5, "package_size": 10}}),
            all,
        ),
        (
            json!({"charge_model": "graduated_percentage",
                   "properties": {"graduated_percentage_ranges": tiers("rate")}}),
            events.clone(),
        ),
        (json!({"charge_model": "percentage", "properties": percentage}), events.clone()),
        (json!({"charge_model": "dynamic", "properties": {}}), events),
    ])
}

fn cents_of_march(lines: &[String]) -> i64 {
    let records = told(lines);
    let fees = final_fees(&records).into_iter().filter(|fee| fee["period_from"] == json!(minute(0)));
    fees.map(|fee| fee["amount_cents"].as_i64().expect("amounts are whole")).sum()
}

proptest! {
    #![proptest_config(quick(48))]

    #[test]
    fn increments_add_up_to_the_price_of_the_whole(
        (charge, aggregations) in charges(),
        which in any::<prop::sample::Index>(),
        events in prop::collection::vec((0..44_639_i64, -10..40_i64, 0..6_usize, 0..3_u8), 1..12),
        minimum in prop::sample::select(vec![0, 500, 20_000]),
        commitment in prop::sample::select(vec![0, 3_000, 50_000]),
        taxed_by_filter in any::<bool>(),
    ) {
        let filters = json!([{"values": {"region": ["1"]}, "properties": {}}]);
        let charge = with(charge, json!({"code": "storage", "billable_metric_code": "gb", "min_amount_cents": minimum,
            "filters": if taxed_by_filter { filters } else { json!([]) }}));
        let aggregation = aggregations[which.index(aggregations.len())];
        // Nothing but March's own is asked of any month, and nothing is too late.
        let mut lines = vec![json!({"config": {"lateness_limit": "P365D"}}).to_string()];
        lines.extend(world(
            entity(), metric(aggregation), with(plan(&charge), json!({"minimum_commitment_cents": commitment}))));
        let mut in_time = lines.clone();
        let mut arrivals: Vec<usize> = events.iter().map(|(.., arrival, _)| *arrival).collect();
        arrivals.sort_unstable();
        for (number, ((when, amount, _, region), arrival)) in events.into_iter().zip(arrivals).enumerate() {
            let event = json!({"transaction_id": format!("e{number}"), "code": "gb",
                "external_subscription_id": "mia-cloud", "timestamp": minute(when),
                "properties": {"amount": amount, "region": region},
                "precise_total_amount_cents": format!("{amount}.4")});
            lines.push(usage(&minute(ARRIVALS[arrival]), &event));
            in_time.push(usage(&minute(ARRIVALS[0]), &event));
        }
        lines.push(tick(&minute(THE_END)));
        in_time.push(tick(&minute(THE_END)));
        prop_assert_eq!(cents_of_march(&lines), cents_of_march(&in_time));
    }
}
