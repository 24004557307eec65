//! Usage added up: one bucket for each line of a period.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_traits::Zero;

use super::exact::Exact;
use super::instant::Instant;
use super::period::Period;
use super::quantity::Quantity;
use crate::catalog::metric::{Aggregation, Direction, Metric, Rounding};
use crate::catalog::plan::FreePart;

/// Which line of a period usage belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    /// The charge's lasting number within its plan.
    pub charge: u16,
    /// 0 for the default bucket, else the filter's place, counted from 1.
    pub filter: u16,
    pub group: Group,
}

/// The values of the properties by which usage is told apart, in the order of their keys; `None` without such keys.
pub type Group = Option<Box<[Option<Box<str>>]>>;

/// What one event adds to its metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    Count,
    Quantity(Quantity),
    Value(Box<str>),
}

/// One event as far as a bucket is concerned.
#[derive(Clone, Debug)]
pub struct Use<'a> {
    pub reading: &'a Reading,
    /// The event's own price in cents, where the charge asks for it.
    pub precise_cents: Quantity,
    pub happened_at: Instant,
    /// Where its time is measured from, for what is weighed by time.
    pub stands_from: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub key: LineKey,
    pub events: u64,
    pub total: Total,
    pub extra: Option<Box<Extra>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Total {
    Count,
    Sum(Quantity),
    Max(Option<Quantity>),
    /// Each value, and how many events have it: a value stays until the last of them is taken back.
    Unique(BTreeMap<Box<str>, u32>),
    Latest(Option<(Instant, Quantity)>),
    /// Σ value and Σ value × nanoseconds since the period's start.
    Weighted(Quantity, BigInt),
}

/// What only some charges need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    pub precise_cents: Quantity,
    pub free: FreeUse,
}

/// How much of a percentage charge's free part is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeUse {
    pub events: u64,
    pub amount: Quantity,
    pub is_over: bool,
}

impl Bucket {
    pub fn empty(key: LineKey, aggregation: Aggregation) -> Bucket {
        let total = match aggregation {
            Aggregation::Count => Total::Count,
            Aggregation::Sum => Total::Sum(Quantity(0)),
            Aggregation::Max => Total::Max(None),
            Aggregation::UniqueCount => Total::Unique(BTreeMap::new()),
            Aggregation::Latest => Total::Latest(None),
            Aggregation::WeightedSum => Total::Weighted(Quantity(0), BigInt::zero()),
        };
        Bucket { key, events: 0, total, extra: None }
    }

    /// Counts an event in. `free` is the free part of a percentage charge.
    pub fn add(&mut self, usage: &Use<'_>, free: Option<FreePart>) {
        let before = free.map(|_| self.plain_value());
        self.events += 1;
        match (&mut self.total, usage.reading) {
            (Total::Sum(sum), Reading::Quantity(value)) => sum.0 = sum.0.saturating_add(value.0),
            (Total::Max(max), Reading::Quantity(value)) => {
                *max = Some(max.map_or(*value, |max| max.max(*value)))
            }
            (Total::Unique(values), Reading::Value(value)) => *values.entry(value.clone()).or_insert(0) += 1,
            (Total::Latest(latest), Reading::Quantity(value))
                if latest.is_none_or(|(at, _)| usage.happened_at >= at) =>
            {
                *latest = Some((usage.happened_at, *value));
            }
            (Total::Weighted(sum, moment), Reading::Quantity(value)) => {
                sum.0 = sum.0.saturating_add(value.0);
                *moment += BigInt::from(value.0) * (usage.happened_at.0 - usage.stands_from.0);
            }
            _ => {}
        }
        if usage.precise_cents.0 != 0 {
            let extra = self.extra.get_or_insert_default();
            extra.precise_cents.0 = extra.precise_cents.0.saturating_add(usage.precise_cents.0);
        }
        if let (Some(free), Some(before)) = (free, before) {
            let added = Quantity(self.plain_value().0 - before.0);
            self.extra.get_or_insert_default().free.pass(added, free);
        }
    }

    /// Takes an event back that was added before. A maximum and a latest value can't be.
    pub fn remove(&mut self, usage: &Use<'_>) {
        self.events = self.events.saturating_sub(1);
        match (&mut self.total, usage.reading) {
            (Total::Sum(sum), Reading::Quantity(value)) => sum.0 = sum.0.saturating_sub(value.0),
            (Total::Unique(values), Reading::Value(value)) => {
                if let Some(count) = values.get_mut(value) {
                    *count -= 1;
                    if *count == 0 {
                        values.remove(value);
                    }
                }
            }
            (Total::Weighted(sum, moment), Reading::Quantity(value)) => {
                sum.0 = sum.0.saturating_sub(value.0);
                *moment -= BigInt::from(value.0) * (usage.happened_at.0 - usage.stands_from.0);
            }
            _ => {}
        }
        if usage.precise_cents.0 != 0 {
            let extra = self.extra.get_or_insert_default();
            extra.precise_cents.0 = extra.precise_cents.0.saturating_sub(usage.precise_cents.0);
        }
    }

    /// What the metric makes of it at `to`, the period's end: rounded as the metric says, then to twelve digits (R4).
    pub fn units(&self, metric: &Metric, period: &Period, to: Instant) -> Quantity {
        let Total::Weighted(sum, moment) = &self.total else {
            let value = self.plain_value();
            return metric.rounding.map_or(value, |rounding| rounding.apply(value));
        };
        let stood = BigInt::from(sum.0) * (to.0 - period.from.0) - moment;
        let whole = BigInt::from(period.whole_length().0) * Quantity::ONE.0;
        let exact = Exact::fraction(stood, whole);
        let rounded = metric.rounding.map_or(exact.clone(), |rounding| round(&exact, rounding));
        Quantity(rounded.shifted(Quantity::FRACTION_DIGITS as i32).rounded())
    }

    /// The value of everything that isn't weighed by time; of that the plain sum.
    fn plain_value(&self) -> Quantity {
        match &self.total {
            Total::Count => Quantity(i128::from(self.events) * Quantity::ONE.0),
            Total::Sum(sum) | Total::Weighted(sum, _) => *sum,
            Total::Max(max) => max.unwrap_or_default(),
            Total::Unique(values) => Quantity(values.len() as i128 * Quantity::ONE.0),
            Total::Latest(latest) => latest.map_or(Quantity(0), |(_, value)| value),
        }
    }
}

fn round(exact: &Exact, rounding: Rounding) -> Exact {
    let scaled = exact.shifted(rounding.digits);
    let whole = match rounding.direction {
        Direction::HalfUp => Exact::whole(scaled.rounded()),
        Direction::Up => scaled.ceiling(),
        Direction::Down => scaled.floor(),
    };
    whole.shifted(-rounding.digits)
}

impl FreeUse {
    /// Lets an event of this amount through the free part, as far as something is left of it (R75).
    fn pass(&mut self, amount: Quantity, free: FreePart) {
        if self.is_over || (free.events.is_none() && free.amount.is_none()) {
            return;
        }
        if free.events.is_some_and(|events| self.events >= events) {
            self.is_over = true;
            return;
        }
        let room = free.amount.map(|all| Quantity(all.0 - self.amount.0));
        match room {
            Some(room) if amount > room => {
                self.amount.0 += room.0;
                self.is_over = true;
            }
            _ => {
                self.amount.0 += amount.0;
                self.events += 1;
                self.is_over =
                    room == Some(amount) || free.events.is_some_and(|events| self.events >= events);
            }
        }
    }
}

/// The buckets of one period, in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets(Vec<Bucket>);

impl Buckets {
    pub fn get(&self, key: &LineKey) -> Option<&Bucket> {
        self.0.binary_search_by(|bucket| bucket.key.cmp(key)).ok().map(|place| &self.0[place])
    }

    pub fn entry(&mut self, key: LineKey, aggregation: Aggregation) -> &mut Bucket {
        let place = match self.0.binary_search_by(|bucket| bucket.key.cmp(&key)) {
            Ok(place) => place,
            Err(place) => {
                self.0.reserve_exact(1);
                self.0.insert(place, Bucket::empty(key, aggregation));
                place
            }
        };
        &mut self.0[place]
    }

    pub fn get_mut(&mut self, key: &LineKey) -> Option<&mut Bucket> {
        self.0.binary_search_by(|bucket| bucket.key.cmp(key)).ok().map(|place| &mut self.0[place])
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The groups that usage has opened on one line, in their order.
    pub fn groups(&self, charge: u16, filter: u16) -> impl Iterator<Item = &Bucket> {
        self.0.iter().filter(move |bucket| bucket.key.charge == charge && bucket.key.filter == filter)
    }

    /// Builds the buckets from what was kept of them, in any order.
    pub fn from_kept(mut kept: Vec<Bucket>) -> Buckets {
        kept.sort_by(|a, b| a.key.cmp(&b.key));
        Buckets(kept)
    }
}
