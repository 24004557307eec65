//! Periods follow each other without gap or overlap, in every zone, whatever changes.

use chrono_tz::{TZ_VARIANTS, Tz};
use graceline::catalog::customer::BillingTime;
use graceline::catalog::plan::Interval;
use graceline::invoice::calendar::Date;
use graceline::invoice::instant::{DAY, Instant, SECOND, Span};
use graceline::invoice::period::{Anchor, Period};
use proptest::prelude::*;
use serde_json::json;

use super::{
    catalog, customer, entity, final_fees, metric, minute, of_topic, plan, quick, storage, subscription,
    tick, told, usage, with, world,
};

const PERIODS: usize = 9;

fn intervals() -> impl Strategy<Value = Interval> {
    prop_oneof![
        Just(Interval::Daily),
        Just(Interval::Weekly),
        prop::sample::select(vec![1, 3, 6, 12]).prop_map(Interval::Months),
        (1..400_000_i64).prop_map(|seconds| Interval::Exact(Span(seconds * SECOND))),
    ]
}

/// From 1892, when zones were odder than they are, to 2072.
fn starts() -> impl Strategy<Value = Instant> {
    (-682_000..900_000_i64, 0..24 * 3600_i64, prop_oneof![Just(0), 0..SECOND])
        .prop_map(|(hours, seconds, nanos)| Instant(hours * (DAY / 24) + seconds * SECOND + nanos))
}

fn billing_times() -> impl Strategy<Value = BillingTime> {
    prop::sample::select(vec![BillingTime::Calendar, BillingTime::Anniversary])
}

fn anchor(started_at: Instant, billing_time: BillingTime, zone: Tz) -> Anchor {
    Anchor { started_at, date: Date::of(started_at, zone), billing_time }
}

proptest! {
    #![proptest_config(quick(12))]

    #[test]
    fn periods_tile_time_in_every_zone(
        started_at in starts(), billing_time in billing_times(), interval in intervals(), moves in 0..600_usize,
    ) {
        for (place, zone) in TZ_VARIANTS.iter().copied().enumerate() {
            // Half-way the customer moves to another zone.
            let other = TZ_VARIANTS[(place + moves) % TZ_VARIANTS.len()];
            let anchor = anchor(started_at, billing_time, zone);
            let mut period = Period::first(&anchor, interval, zone);
            prop_assert_eq!(period.from, started_at);
            for number in 1..=PERIODS {
                prop_assert!(period.boundary > period.from, "{} is empty in {}", period.from, zone);
                let next = period.following(&anchor, interval, if number > PERIODS / 2 { other } else { zone });
                prop_assert_eq!(next.from, period.boundary, "in {}", zone);
                period = next;
            }
        }
    }

    #[test]
    fn a_named_interval_ends_as_a_local_day_begins(
        started_at in starts(), billing_time in billing_times(), months in prop::sample::select(vec![1_u32, 3, 6, 12]),
    ) {
        for zone in TZ_VARIANTS {
            for interval in [Interval::Daily, Interval::Weekly, Interval::Months(months)] {
                let first = Period::first(&anchor(started_at, billing_time, zone), interval, zone);
                let boundary = first.boundary;
                prop_assert_eq!(Date::of(boundary, zone).midnight(zone), boundary, "in {}", zone);
            }
        }
    }

    #[test]
    fn a_period_jumped_to_is_the_one_walked_to(
        started_at in starts(), billing_time in billing_times(), interval in intervals(), days in 0..40_i64,
    ) {
        let at = Instant(started_at.0 + days * DAY);
        let walk = |mut period: Period, anchor: &Anchor, zone| {
            while period.boundary <= at {
                period = period.following(anchor, interval, zone);
            }
            (period.from, period.boundary)
        };
        prop_assume!(!matches!(interval, Interval::Exact(length) if length.0 < DAY / 24));
        for zone in TZ_VARIANTS.iter().copied().step_by(7) {
            let anchor = anchor(started_at, billing_time, zone);
            let first = Period::first(&anchor, interval, zone);
            let jumped = first.near(&anchor, interval, at, zone);
            prop_assert_eq!(walk(jumped, &anchor, zone), walk(first, &anchor, zone), "in {}", zone);
        }
    }

    /// Zones and plans change while the subscription runs; its invoices still cover its life once.
    #[test]
    fn invoices_tile_the_life_of_a_subscription(
        changes in prop::collection::vec((1..120_000_i64, 0..7_usize), 0..6),
        zones in prop::collection::vec(0..TZ_VARIANTS.len(), 3),
        life in 120_000..140_000_i64,
        anniversary in any::<bool>(),
    ) {
        let plans = ["monthly", "weekly", "P10D", "PT100H"];
        let mut lines = vec![catalog(&minute(0), &with(entity(), json!({"invoice_grace_period": 0})))];
        lines.extend(plans.iter().map(|interval| {
            catalog(&minute(0), &json!({"kind": "plan", "code": interval, "interval": interval, "amount_cents": 100}))
        }));
        lines.push(catalog(&minute(0), &with(customer("mia"), json!({"currency": "EUR"}))));
        let billing_time = if anniversary { "anniversary" } else { "calendar" };
        let of_plan = |plan: &str| with(subscription("mia"), json!({"plan_code": plan, "billing_time": billing_time}));
        lines.push(catalog(&minute(0), &of_plan("monthly")));
        let mut changes = changes;
        changes.sort();
        for (at, change) in changes {
            lines.push(catalog(&minute(at), &match change {
                0..4 => of_plan(plans[change]),
                _ => with(customer("mia"), json!({"timezone": TZ_VARIANTS[zones[change - 4]].name()})),
            }));
        }
        lines.push(format!(r#"{{"at":"{}","topic":"billing.catalog","key":"subscription/mia-cloud","value":null}}"#,
            minute(life)));
        lines.push(tick(&minute(life + 100_000)));
        let records = told(&lines);
        prop_assert!(of_topic(&records, ".rejected").is_empty());
        prop_assert!(!final_fees(&records).is_empty());
        let mut covered_to = minute(0);
        for record in of_topic(&records, "invoice.finalized") {
            let invoice = &record["value"]["invoice"];
            prop_assert_eq!(&invoice["period_from"], &json!(covered_to));
            prop_assert!(invoice["period_to"].as_str() > Some(&covered_to));
            covered_to = invoice["period_to"].as_str().expect("a period has an end").to_owned();
        }
        prop_assert_eq!(covered_to, minute(life));
    }
}

#[test]
fn usage_at_the_end_of_time_lies_in_no_period() {
    let end = "9999-12-31T00:00:00Z";
    for interval in ["yearly", "P5000W"] {
        let mut lines =
            world(entity(), metric("sum_agg"), with(plan(&storage()), json!({"interval": interval})));
        lines.push(usage(
            end,
            &json!({"external_subscription_id": "mia-cloud", "code": "gb", "properties": {"amount": 1}}),
        ));
        let records = told(&lines);
        assert_eq!(of_topic(&records, "usage.rejected")[0]["headers"]["graceline-reason"], "too_late");
    }
}
