//! Usage added up: one bucket for each line of a period.

use std::collections::BTreeMap;

use num_bigint::BigInt;

use super::exact::Exact;
use super::instant::Instant;
use super::period::Period;
use super::quantity::Quantity;
use crate::catalog::metric::{Aggregation, Direction, Metric, Rounding};
use crate::catalog::plan::FreePart;
use crate::planted::{self, Bug};

/// Which line of a period usage belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    /// The charge's lasting number within its plan.
    pub charge: u32,
    /// 0 for the default bucket, else the filter's place, counted from 1.
    pub filter: u32,
    pub group: Group,
}

/// The same, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineName<'a> {
    pub charge: u32,
    pub filter: u32,
    pub group: Option<&'a [Option<Box<str>>]>,
}

impl LineName<'_> {
    pub fn to_key(self) -> LineKey {
        LineKey { charge: self.charge, filter: self.filter, group: self.group.map(Box::from) }
    }
}

impl LineKey {
    pub fn name(&self) -> LineName<'_> {
        LineName { charge: self.charge, filter: self.filter, group: self.group.as_deref() }
    }
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
    pub time: UseTime,
}

/// When one event happened, for what is weighed by time or told apart by it.
#[derive(Clone, Copy, Debug)]
pub struct UseTime {
    pub happened_at: Instant,
    /// From when on it stands.
    pub stands_at: Instant,
    /// The start of the period, where all time is measured from.
    pub period_from: Instant,
    /// The period can't end before this instant any more.
    pub settled_until: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    charge: u32,
    filter: u32,
    pub events: u64,
    pub total: Total,
    /// What only some lines have: a group, and what only some charges need.
    special: Option<Box<(Group, Option<Extra>)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Total {
    Count,
    Sum(Quantity),
    Max(Option<Quantity>),
    /// Each value, and how many events have it: a value stays until the last of them is taken back.
    Unique(Box<BTreeMap<Box<str>, u32>>),
    Latest(Option<Box<(Instant, Quantity)>>),
    Weighted(Box<Weighed>),
}

/// Values that count by the time they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weighed {
    pub sum: Quantity,
    /// Σ value × nanoseconds from the period's start until it stands, without what is ahead.
    pub moment: BigInt,
    /// What stands only later than now: the period may yet end before, and then it hasn't stood at all.
    pub ahead: Vec<(Instant, Quantity)>,
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
            Aggregation::UniqueCount => Total::Unique(Box::default()),
            Aggregation::Latest => Total::Latest(None),
            Aggregation::WeightedSum => Total::Weighted(Box::default()),
        };
        Bucket::of(key, 0, total, None)
    }

    pub fn of(key: LineKey, events: u64, total: Total, extra: Option<Extra>) -> Bucket {
        let LineKey { charge, filter, group } = key;
        let is_special = group.is_some() || extra.is_some();
        Bucket { charge, filter, events, total, special: is_special.then(|| Box::new((group, extra))) }
    }

    pub fn line(&self) -> LineName<'_> {
        let group = self.special.as_ref().and_then(|special| special.0.as_deref());
        LineName { charge: self.charge, filter: self.filter, group }
    }

    pub fn extra(&self) -> Option<&Extra> {
        self.special.as_ref()?.1.as_ref()
    }

    fn extra_mut(&mut self) -> &mut Extra {
        self.special.get_or_insert_default().1.get_or_insert_default()
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
                if latest.as_ref().is_none_or(|latest| usage.time.happened_at >= latest.0) =>
            {
                *latest = Some(Box::new((usage.time.happened_at, *value)));
            }
            (Total::Weighted(weighed), Reading::Quantity(value)) => weighed.add(*value, usage.time),
            _ => {}
        }
        if usage.precise_cents.0 != 0 {
            let extra = self.extra_mut();
            extra.precise_cents.0 = extra.precise_cents.0.saturating_add(usage.precise_cents.0);
        }
        if let (Some(free), Some(before)) = (free, before) {
            let added = Quantity(self.plain_value().0.saturating_sub(before.0));
            self.extra_mut().free.pass(added, free);
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
            (Total::Weighted(weighed), Reading::Quantity(value)) => weighed.remove(*value, usage.time),
            _ => {}
        }
        if usage.precise_cents.0 != 0 {
            let extra = self.extra_mut();
            extra.precise_cents.0 = extra.precise_cents.0.saturating_sub(usage.precise_cents.0);
        }
    }

    /// What the metric makes of it at `to`, the period's end: rounded as the metric says, then to twelve digits (R4).
    pub fn units(&self, metric: &Metric, period: &Period, to: Instant) -> Quantity {
        let Total::Weighted(weighed) = &self.total else {
            let value = self.plain_value();
            return metric.rounding.map_or(value, |rounding| rounding.apply(value));
        };
        let stood = weighed.stood(period.from, to);
        let whole = period.whole_length() * Quantity::ONE.0;
        let exact = Exact::fraction(stood, whole);
        let rounded = metric.rounding.map_or(exact.clone(), |rounding| round(&exact, rounding));
        Quantity(rounded.shifted(Quantity::FRACTION_DIGITS as i32).rounded())
    }

    /// The value of everything that isn't weighed by time; of that the plain sum.
    fn plain_value(&self) -> Quantity {
        match &self.total {
            Total::Count => Quantity(i128::from(self.events) * Quantity::ONE.0),
            Total::Sum(sum) => *sum,
            Total::Weighted(weighed) => weighed.sum,
            Total::Max(max) => max.unwrap_or_default(),
            Total::Unique(values) if planted::is(Bug::UniqueCountSummed) => {
                Quantity(values.values().map(|count| i128::from(*count)).sum::<i128>() * Quantity::ONE.0)
            }
            Total::Unique(values) => Quantity(values.len() as i128 * Quantity::ONE.0),
            Total::Latest(latest) => latest.as_ref().map_or(Quantity(0), |latest| latest.1),
        }
    }
}

impl Weighed {
    fn add(&mut self, value: Quantity, time: UseTime) {
        self.settle(time);
        self.sum.0 = self.sum.0.saturating_add(value.0);
        if time.stands_at < time.settled_until {
            self.moment += moment(value, time.period_from, time.stands_at);
        } else {
            self.ahead.push((time.stands_at, value));
        }
    }

    fn remove(&mut self, value: Quantity, time: UseTime) {
        self.sum.0 = self.sum.0.saturating_sub(value.0);
        match self.ahead.iter().position(|entry| *entry == (time.stands_at, value)) {
            Some(place) => {
                self.ahead.remove(place);
            }
            None => self.moment -= moment(value, time.period_from, time.stands_at),
        }
    }

    /// What was ahead and has come is added to the rest.
    fn settle(&mut self, time: UseTime) {
        let settled = &mut self.moment;
        self.ahead.retain(|(stands_at, value)| {
            let is_ahead = *stands_at >= time.settled_until;
            if !is_ahead {
                *settled += moment(*value, time.period_from, *stands_at);
            }
            is_ahead
        });
    }

    /// Σ value × nanoseconds that it has stood at `to`.
    fn stood(&self, from: Instant, to: Instant) -> BigInt {
        let ahead: BigInt =
            self.ahead.iter().map(|(stands_at, value)| moment(*value, from, (*stands_at).min(to))).sum();
        moment(self.sum, from, to) - &self.moment - ahead
    }
}

fn moment(value: Quantity, from: Instant, to: Instant) -> BigInt {
    BigInt::from(value.0) * (i128::from(to.0) - i128::from(from.0))
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
        let room = free.amount.map(|all| Quantity(all.0.saturating_sub(self.amount.0)));
        match room {
            Some(room) if amount > room => {
                self.amount.0 = self.amount.0.saturating_add(room.0);
                self.is_over = true;
            }
            _ => {
                self.amount.0 = self.amount.0.saturating_add(amount.0);
                self.events += 1;
                self.is_over =
                    room == Some(amount) || free.events.is_some_and(|events| self.events >= events);
            }
        }
    }
}

/// The buckets of one period, in the order of their keys. Most periods that are kept have several, or none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Buckets(Box<[Bucket]>);

impl Buckets {
    pub fn get(&self, line: LineName<'_>) -> Option<&Bucket> {
        self.place_of(line).ok().map(|place| &self.0[place])
    }

    pub fn entry(&mut self, key: LineKey, aggregation: Aggregation) -> &mut Bucket {
        let place = match self.place_of(key.name()) {
            Ok(place) => place,
            Err(place) => {
                let mut buckets = std::mem::take(&mut self.0).into_vec();
                buckets.reserve_exact(1);
                buckets.insert(place, Bucket::empty(key, aggregation));
                self.0 = buckets.into();
                place
            }
        };
        &mut self.0[place]
    }

    /// Where a line is, or would be.
    fn place_of(&self, line: LineName<'_>) -> Result<usize, usize> {
        self.0.binary_search_by(|bucket| bucket.line().cmp(&line))
    }

    /// Takes an event back. A bucket goes with its last event: it is as if that had never come.
    pub fn remove(&mut self, key: &LineKey, usage: &Use<'_>) {
        let Ok(place) = self.place_of(key.name()) else { return };
        self.0[place].remove(usage);
        if self.0[place].events == 0 {
            let mut buckets = std::mem::take(&mut self.0).into_vec();
            buckets.remove(place);
            self.0 = buckets.into();
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Bucket> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The groups that usage has opened on one line, in their order.
    pub fn groups(&self, charge: u32, filter: u32) -> impl Iterator<Item = &Bucket> {
        self.0.iter().filter(move |bucket| bucket.charge == charge && bucket.filter == filter)
    }

    /// Builds the buckets from what was kept of them, in any order.
    pub fn from_kept(mut kept: Vec<Bucket>) -> Buckets {
        kept.sort_by(|a, b| a.line().cmp(&b.line()));
        Buckets(kept.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_one_line_takes_less_than_a_line_of_a_cache() {
        assert_eq!(size_of::<Bucket>(), 48);
    }
}
