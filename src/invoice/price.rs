//! The seven charge models: units become money, exactly.

use super::aggregate::{Bucket, Extra};
use super::exact::{Exact, percent};
use super::quantity::Quantity;
use crate::catalog::plan::{Price, Tier};

/// What is priced: units, and what some models want to know beside them.
pub struct Usage<'a> {
    pub units: Quantity,
    pub events: u64,
    pub extra: Option<&'a Extra>,
}

impl<'a> Usage<'a> {
    pub fn of(bucket: &'a Bucket, units: Quantity) -> Usage<'a> {
        Usage { units, events: bucket.events, extra: bucket.extra() }
    }

    pub fn of_units(units: Quantity) -> Usage<'a> {
        Usage { units, events: 0, extra: None }
    }
}

/// The price in the currency's major unit. Negative units cost nothing.
pub fn price(price: &Price, usage: &Usage<'_>, currency_exponent: u32) -> Exact {
    if usage.units.0 < 0 {
        return Exact::zero();
    }
    let units = Exact::from(usage.units);
    match price {
        Price::Standard { amount } => units.times(&(*amount).into()),
        Price::Graduated(tiers) => graduated(tiers, usage.units, |rate| rate),
        Price::GraduatedPercentage(tiers) => graduated(tiers, usage.units, |rate| percent(&rate)),
        Price::Volume(tiers) => {
            let tier = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| usage.units <= end));
            let tier = tier.expect("the last tier has no end");
            units.times(&tier.per_unit.into()).plus(&tier.flat.into())
        }
        Price::Package { amount, free_units, size } => {
            let beyond = units.minus(&(*free_units).into()).at_least_zero();
            beyond.divided_by(&(*size).into()).ceiling().times(&(*amount).into())
        }
        Price::Percentage { rate, fixed_amount, .. } => {
            let free = usage.extra.map(|extra| extra.free).unwrap_or_default();
            let above = units.minus(&free.amount.into()).at_least_zero();
            let fixed = Exact::whole(i128::from(usage.events.saturating_sub(free.events)))
                .times(&(*fixed_amount).into());
            above.times(&percent(&(*rate).into())).plus(&fixed)
        }
        Price::Dynamic => {
            let cents = usage.extra.map(|extra| extra.precise_cents).unwrap_or_default();
            Exact::from(cents).shifted(-(currency_exponent as i32))
        }
    }
}

/// Each tier that is reached adds its units' price and its flat amount; the first is always reached.
fn graduated(tiers: &[Tier], units: Quantity, rate: impl Fn(Exact) -> Exact) -> Exact {
    let mut sum = Exact::zero();
    let mut floor = Quantity(0);
    for (index, tier) in tiers.iter().enumerate() {
        if index > 0 && units <= floor {
            break;
        }
        let end = tier.up_to.map_or(units, |end| end.min(units));
        let within = Exact::from(Quantity(end.0 - floor.0));
        sum = sum.plus(&within.times(&rate(tier.per_unit.into()))).plus(&tier.flat.into());
        floor = tier.up_to.unwrap_or(units);
    }
    sum
}

/// How units become money, step by step, in words and figures.
pub fn steps(price: &Price, units: Quantity) -> Vec<String> {
    match price {
        Price::Standard { amount } => vec![format!("{units} × {amount}")],
        Price::Graduated(tiers) => tier_steps(tiers, units, ""),
        Price::GraduatedPercentage(tiers) => tier_steps(tiers, units, " %"),
        Price::Volume(tiers) => {
            let tier = tiers.iter().find(|tier| tier.up_to.is_none_or(|end| units <= end));
            let tier = tier.expect("the last tier has no end");
            vec![format!("all {units} are in the tier {}: {}", range(tier), worth(tier, units, ""))]
        }
        Price::Package { amount, free_units, size } => {
            vec![format!("{units} less {free_units} free ones, in packages of {size}, {amount} each")]
        }
        Price::Percentage { rate, fixed_amount, free } => {
            let mut steps = vec![format!("{rate} % of what is above the free part of {units}")];
            if fixed_amount.0 != 0 {
                steps.push(format!("{fixed_amount} for each event that isn't wholly free"));
            }
            if let Some(events) = free.events {
                steps.push(format!("free are the first {events} events, in the order they came"));
            }
            if let Some(amount) = free.amount {
                steps.push(format!("free are the first {amount} units"));
            }
            steps
        }
        Price::Dynamic => vec!["the sum of the events' precise_total_amount_cents".to_owned()],
    }
}

fn tier_steps(tiers: &[Tier], units: Quantity, mark: &str) -> Vec<String> {
    let mut floor = Quantity(0);
    let mut steps = Vec::new();
    for (index, tier) in tiers.iter().enumerate() {
        if index > 0 && units <= floor {
            break;
        }
        let end = tier.up_to.map_or(units, |end| end.min(units));
        steps.push(format!("tier {}: {}", range(tier), worth(tier, Quantity(end.0 - floor.0), mark)));
        floor = tier.up_to.unwrap_or(units);
    }
    steps
}

fn range(tier: &Tier) -> String {
    tier.up_to.map_or("without end".to_owned(), |end| format!("up to {end}"))
}

fn worth(tier: &Tier, units: Quantity, mark: &str) -> String {
    let flat = if tier.flat.0 == 0 { String::new() } else { format!(" + {}", tier.flat) };
    format!("{units} × {}{mark}{flat}", tier.per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse_text(text).expect("a quantity")
    }

    fn tiers() -> Vec<Tier> {
        let tier = |up_to: Option<&str>, per_unit, flat| Tier {
            up_to: up_to.map(quantity),
            per_unit: quantity(per_unit),
            flat: quantity(flat),
        };
        vec![tier(Some("10"), "10", "2"), tier(None, "5", "0")]
    }

    #[track_caller]
    fn check(price: &Price, units: &str, expected: &[&str]) {
        assert_eq!(steps(price, quantity(units)), expected);
    }

    #[test]
    fn steps_say_what_is_priced() {
        check(&Price::Standard { amount: quantity("0.02") }, "7", &["7 × 0.02"]);
        let graduated = Price::Graduated(tiers());
        check(&graduated, "0", &["tier up to 10: 0 × 10 + 2"]);
        check(&graduated, "10", &["tier up to 10: 10 × 10 + 2"]);
        check(&graduated, "12.5", &["tier up to 10: 10 × 10 + 2", "tier without end: 2.5 × 5"]);
        check(&Price::GraduatedPercentage(tiers()), "4", &["tier up to 10: 4 × 10 % + 2"]);
        let volume = Price::Volume(tiers());
        check(&volume, "10", &["all 10 are in the tier up to 10: 10 × 10 + 2"]);
        check(&volume, "11", &["all 11 are in the tier without end: 11 × 5"]);
        let package =
            Price::Package { amount: quantity("3"), free_units: quantity("2"), size: quantity("5") };
        check(&package, "9", &["9 less 2 free ones, in packages of 5, 3 each"]);
    }
}
