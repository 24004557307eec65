//! Which lines of a period count an event, and what it adds to each.

use super::aggregate::{Buckets, Group, LineKey, Use, UseTime};
use super::attribute::Checked;
use super::books::{PriceList, Window};
use super::instant::Instant;
use super::usage::{UsageEvent, Value};
use crate::catalog::plan::{Charge, FreePart, Price, Tariff};

/// The charges that count an event, each with the line it counts on.
fn lines<'a>(
    prices: &'a PriceList,
    checked: &'a Checked<'_>,
) -> impl Iterator<Item = (LineKey, &'a Charge, &'a Tariff, u8)> {
    prices
        .plan
        .charges
        .iter()
        .zip(&prices.lines)
        .filter(|(charge, _)| charge.metric == checked.metric.code)
        .map(|(charge, priced)| {
            let filter = filter_of(charge, checked.event);
            let tariff = charge.tariff_at(filter);
            let group = group_of(tariff, checked.event);
            (
                LineKey { charge: priced.number, filter: filter as u16, group },
                charge,
                tariff,
                priced.generation,
            )
        })
}

/// The filter with the most keys that all match, the first of equals; 0 is the default bucket (R76).
fn filter_of(charge: &Charge, event: &UsageEvent<'_>) -> usize {
    let mut best = (0, 0);
    for (place, filter) in charge.filters.iter().enumerate() {
        let matches = filter.values.iter().all(|(key, wanted)| {
            event
                .property(key)
                .and_then(Value::as_text)
                .is_some_and(|text| wanted.iter().any(|value| *value == text))
        });
        if matches && filter.values.len() > best.1 {
            best = (place + 1, filter.values.len());
        }
    }
    best.0
}

fn group_of(tariff: &Tariff, event: &UsageEvent<'_>) -> Group {
    if tariff.group_keys.is_empty() {
        return None;
    }
    let text =
        |key: &String| event.property(key).and_then(Value::as_text).map(|text| Box::from(text.as_ref()));
    Some(tariff.group_keys.iter().map(text).collect())
}

pub(super) fn add(usage: &mut Buckets, prices: &PriceList, checked: &Checked<'_>, time: UseTime) {
    for (key, charge, tariff, _) in lines(prices, checked) {
        let used = used_by(checked, charge, time);
        usage.entry(key, checked.metric.aggregation).add(&used, free_part(tariff));
    }
}

/// Takes usage back from the lines that counted it: those of charges that were there when it was counted.
pub(super) fn remove(
    usage: &mut Buckets,
    prices: &PriceList,
    generation: Option<u8>,
    checked: &Checked<'_>,
    time: UseTime,
) {
    for (key, charge, _, added_in) in lines(prices, checked) {
        if generation.is_none_or(|counted_in| added_in <= counted_in) {
            usage.remove(&key, &used_by(checked, charge, time));
        }
    }
}

fn used_by<'a>(checked: &'a Checked<'_>, charge: &Charge, time: UseTime) -> Use<'a> {
    let precise = if charge.is_dynamic() { checked.event.precise_amount.as_quantity() } else { None };
    Use { reading: &checked.reading, precise_cents: precise.unwrap_or_default(), time }
}

fn free_part(tariff: &Tariff) -> Option<FreePart> {
    match tariff.price {
        Price::Percentage { free, .. } => Some(free),
        _ => None,
    }
}

impl Window {
    /// When usage on this window begins to stand, seen from `now`. Late usage of an earlier period stands from the start.
    pub(super) fn time(&self, happened_at: Instant, now: Instant) -> UseTime {
        let stands_at = happened_at.max(self.period.from);
        UseTime { happened_at, stands_at, period_from: self.period.from, settled_until: now.min(self.to) }
    }
}
