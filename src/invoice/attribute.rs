//! Where usage goes: its one fate, and the line it is counted on.
//!
//! The checks stand in the order in which the first failure wins (R50). Time comes before the id, so that a fate never
//! depends on how long ids are kept.

use std::borrow::Cow;
use std::sync::Arc;

use super::aggregate::Reading;
use super::books::{Books, Held, Place, Subscription, UsageRecord, Window};
use super::counting;
use super::held::hold;
use super::ids::{HeldId, IdState, LateAs};
use super::instant::Instant;
use super::notice::{Notice, Topic};
use super::usage::{EventId, UsageEvent, Value, Whose, id_hash};
use crate::catalog::entity::LatePricing;
use crate::catalog::metric::{Aggregation, Metric};
use crate::planted::{self, Bug};

/// Why usage is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    TooLarge,
    Malformed,
    UnknownMetric,
    MissingField,
    InvalidValue,
    InFuture,
    TooLate,
    IdConflict,
    UnknownSubscription,
    BeforeStart,
    AfterEnd,
    NoOpenInvoice,
}

impl Refusal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Refusal::TooLarge => "too_large",
            Refusal::Malformed => "malformed",
            Refusal::UnknownMetric => "unknown_metric",
            Refusal::MissingField => "missing_field",
            Refusal::InvalidValue => "invalid_value",
            Refusal::InFuture => "in_future",
            Refusal::TooLate => "too_late",
            Refusal::IdConflict => "id_conflict",
            Refusal::UnknownSubscription => "unknown_subscription",
            Refusal::BeforeStart => "before_start",
            Refusal::AfterEnd => "after_end",
            Refusal::NoOpenInvoice => "no_open_invoice",
        }
    }
}

pub(super) enum Fate {
    Billed,
    Late,
    Duplicate,
    Parked,
    Rejected(Refusal),
}

/// Whose usage it turned out to be.
pub(super) enum Owner<'a> {
    Subscription(u32),
    /// More than one subscription could be meant.
    Several,
    /// Nobody yet: the name it is parked under, and whether that is a customer's.
    Nobody {
        name: &'a str,
        is_customer: bool,
    },
}

/// Where usage was added.
struct Added {
    /// The invoice that it is on.
    bill: Option<u32>,
    /// How many times charges had been added to the plan.
    generation: u8,
    /// It is kept whole, or what is kept whole can go.
    concerns_fresh: bool,
}

/// An event that has passed the checks which need nothing but itself and its metric.
pub(super) struct Checked<'a> {
    pub event: &'a UsageEvent<'a>,
    pub metric: Arc<Metric>,
    pub reading: Reading,
    pub happened_at: Instant,
    pub arrived_at: Instant,
}

impl Books {
    pub(super) fn take_usage(&mut self, record: &UsageRecord<'_>) {
        let fate = self.fate(record);
        self.count_fate(&fate);
        if let Fate::Rejected(reason) = fate {
            self.reject(reason, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        }
    }

    pub(super) fn count_fate(&mut self, fate: &Fate) {
        let fates = &mut self.fates;
        let count = match fate {
            Fate::Billed => &mut fates.billed,
            Fate::Late => &mut fates.late,
            Fate::Duplicate => &mut fates.duplicate,
            Fate::Parked => &mut fates.parked,
            Fate::Rejected(_) => &mut fates.rejected,
        };
        *count += 1;
    }

    /// Sends a dead letter: what came in, and why it can't be billed (R20).
    pub(super) fn reject(&mut self, reason: Refusal, key: Option<Vec<u8>>, value: Option<Vec<u8>>) {
        let headers = vec![("graceline-reason".to_owned(), reason.name().as_bytes().to_vec())];
        self.notices.push(Notice { at: self.now, topic: Topic::UsageRejected, key, headers, value });
    }

    fn fate(&mut self, record: &UsageRecord<'_>) -> Fate {
        if record.value.is_some_and(|value| value.len() > self.settings.max_event_bytes) {
            return Fate::Rejected(Refusal::TooLarge);
        }
        let Ok(event) = &record.event else { return Fate::Rejected(Refusal::Malformed) };
        let happened_at = event.happened_at.unwrap_or(self.now);
        let owner = self.owner(event, happened_at);
        let Some(metric) = self.known_metric(&event.code, &owner) else {
            return Fate::Rejected(Refusal::UnknownMetric);
        };
        let reading = match self.check_values(event, &metric, &owner, happened_at) {
            Ok(reading) => reading,
            Err(reason) => return Fate::Rejected(reason),
        };
        let checked = Checked { event, metric, reading, happened_at, arrived_at: self.now };
        if happened_at > self.now.plus(self.settings.future_limit.exact()) {
            return Fate::Rejected(Refusal::InFuture);
        }
        if happened_at < self.horizon() {
            if let Owner::Subscription(number) = owner {
                self.note_unbillable(number, &checked);
            }
            return Fate::Rejected(Refusal::TooLate);
        }
        let Some(hash) = self.hash_of(record, event, &owner) else {
            return Fate::Rejected(Refusal::UnknownSubscription);
        };
        let is_dropped = planted::is(Bug::IdsDroppedAtFinalization) && self.is_sealed_at(&owner, happened_at);
        if let Some(fate) = self.fate_by_id(hash, event).filter(|_| !is_dropped) {
            return fate;
        }
        let hold = || hold(&checked, hash, record);
        match owner {
            Owner::Subscription(number) => self.bill(number, &checked, hash, &hold),
            Owner::Nobody { name, .. } => {
                self.park(name, hold());
                Fate::Parked
            }
            Owner::Several => unreachable!("several subscriptions were refused above"),
        }
    }

    /// The event's id, condensed; `None` if more than one subscription could be meant.
    pub(super) fn hash_of(
        &self,
        record: &UsageRecord<'_>,
        event: &UsageEvent<'_>,
        owner: &Owner<'_>,
    ) -> Option<u64> {
        if let (Some(hash), Whose::Subscription(_)) = (record.id_hash, &event.whose) {
            return Some(hash);
        }
        match owner {
            Owner::Subscription(number) => {
                Some(hash_in(&self.subscriptions.get(*number).external_id, event, record.place))
            }
            Owner::Nobody { name, is_customer: false } => Some(hash_in(name, event, record.place)),
            Owner::Nobody { name, is_customer: true } => {
                Some(of_customer(hash_in(name, event, record.place)))
            }
            Owner::Several => None,
        }
    }

    /// The fate of an event whose id is held: it is the same again, or something else under the same id.
    pub(super) fn fate_by_id(&self, hash: u64, event: &UsageEvent<'_>) -> Option<Fate> {
        let mut horizon = self.horizon();
        if planted::is(Bug::IdWindowTooShort) {
            horizon = Instant(horizon.0.midpoint(self.now.0));
        }
        let held = self.ids.get(hash, horizon)?;
        let is_same = held.content == short(event.content);
        Some(if is_same { Fate::Duplicate } else { Fate::Rejected(Refusal::IdConflict) })
    }

    fn is_sealed_at(&self, owner: &Owner<'_>, at: Instant) -> bool {
        let Owner::Subscription(number) = owner else { return false };
        let subscription = self.subscriptions.get(*number);
        let window = subscription.holder(at).and_then(|ordinal| subscription.window(ordinal));
        window.is_some_and(Window::is_sealed)
    }

    /// What the metric needs, and the price where a charge asks for it: first whether they are there, then whether they
    /// can be used (R50, R54).
    pub(super) fn check_values(
        &self,
        event: &UsageEvent<'_>,
        metric: &Metric,
        owner: &Owner<'_>,
        happened_at: Instant,
    ) -> Result<Reading, Refusal> {
        let value = needed_value(metric, event)?;
        let needs_price = match owner {
            Owner::Subscription(number) if self.has_dynamic_charge => {
                self.asks_for_price(*number, happened_at, &metric.code)
            }
            Owner::Subscription(_) | Owner::Several | Owner::Nobody { .. } => false,
        };
        if needs_price && event.precise_amount == Value::Null {
            return Err(Refusal::MissingField);
        }
        let reading = read_value(metric, value)?;
        if needs_price && event.precise_amount.as_quantity().is_none() {
            return Err(Refusal::InvalidValue);
        }
        Ok(reading)
    }

    /// A removed metric is known as long as a plan names it (R102): one in force, or the subscription's own. What other
    /// subscriptions have doesn't matter, as not every shard knows them.
    fn known_metric(&self, code: &str, owner: &Owner<'_>) -> Option<Arc<Metric>> {
        let kept = self.metrics.get(self.metrics.find(code)?);
        let is_known = !kept.is_removed
            || self.plans.iter().any(|(place, plan)| {
                plan.thing.prices.plan.prices(code) && (!plan.is_removed || self.has(owner, place))
            });
        is_known.then(|| kept.thing.clone())
    }

    /// Whether it is a subscription that has the plan, or will have it.
    fn has(&self, owner: &Owner<'_>, plan: u32) -> bool {
        let Owner::Subscription(number) = owner else { return false };
        let subscription = self.subscriptions.get(*number);
        let will_have = subscription.rare.change.is_some_and(|change| change.plan == plan);
        will_have || (subscription.plan == plan && !subscription.has_ended(self.now))
    }

    /// Whether the subscription's plan prices the metric by what each event says it costs.
    fn asks_for_price(&self, number: u32, at: Instant, metric: &str) -> bool {
        let plan = &self.prices_of(self.subscriptions.get(number).plan_at(at)).plan;
        plan.charges.iter().any(|charge| charge.is_dynamic() && charge.metric == metric)
    }

    pub(super) fn owner<'a>(&self, event: &'a UsageEvent<'a>, happened_at: Instant) -> Owner<'a> {
        match &event.whose {
            Whose::Subscription(name) => match self.subscriptions.find(name) {
                Some(number) => Owner::Subscription(number),
                None => Owner::Nobody { name, is_customer: false },
            },
            Whose::Customer(name) => self.owner_by_customer(name, &event.code, happened_at),
            Whose::Either(name) => match self.subscriptions.find(name) {
                Some(number) => Owner::Subscription(number),
                None => self.owner_by_customer(name, &event.code, happened_at),
            },
        }
    }

    /// The customer's subscription that is active then and whose plan prices the metric (R59).
    fn owner_by_customer<'a>(&self, name: &'a str, code: &str, happened_at: Instant) -> Owner<'a> {
        let numbers =
            self.customers.find(name).map(|customer| &self.customers.get(customer).subscriptions[..]);
        let mut fitting = numbers.unwrap_or_default().iter().copied().filter(|number| {
            let subscription = self.subscriptions.get(*number);
            subscription.is_active(happened_at)
                && self.prices_of(subscription.plan_at(happened_at)).plan.prices(code)
        });
        match (fitting.next(), fitting.next()) {
            (Some(number), None) => Owner::Subscription(number),
            (Some(_), Some(_)) => Owner::Several,
            (None, _) => Owner::Nobody { name, is_customer: true },
        }
    }

    /// Finds the invoice that a known subscription's usage goes on. `hold` keeps the event whole, should that be needed.
    pub(super) fn bill(
        &mut self,
        number: u32,
        checked: &Checked<'_>,
        hash: u64,
        hold: &dyn Fn() -> Held,
    ) -> Fate {
        let at = checked.happened_at;
        let subscription = self.subscriptions.get(number);
        if at < subscription.anchor.started_at {
            return Fate::Rejected(Refusal::BeforeStart);
        }
        if subscription.rare.ends_at.is_some_and(|end| at >= end) {
            return Fate::Rejected(Refusal::AfterEnd);
        }
        let Some(ordinal) = subscription.holder(at) else {
            if at <= self.now {
                self.note_unbillable(number, checked);
                return Fate::Rejected(Refusal::TooLate);
            }
            self.keep_id(hash, checked, None, 0, 0);
            self.subscriptions.get_mut(number).rare.ahead.push(hold());
            return Fate::Billed;
        };
        let is_late = subscription.window(ordinal).is_some_and(Window::is_sealed);
        if is_late && !planted::is(Bug::LateUsageIntoSealed) {
            return self.bill_late(number, ordinal, checked, hash, hold);
        }
        self.count_in(number, ordinal, checked, hash, hold);
        Fate::Billed
    }

    /// Counts usage on its own period's invoice, and keeps its id.
    pub(super) fn count_in(
        &mut self,
        number: u32,
        ordinal: u32,
        checked: &Checked<'_>,
        hash: u64,
        hold: &dyn Fn() -> Held,
    ) {
        let added = self.add_to(number, ordinal, checked);
        if added.concerns_fresh {
            self.keep_fresh(number, ordinal, hold);
        }
        self.keep_id(hash, checked, None, ordinal, added.generation);
        if let Some(bill) = added.bill {
            self.note_usage_on(bill, checked.arrived_at);
        }
    }

    /// Counts usage that was kept whole. Late usage that is priced like the period's own stays what it is.
    pub(super) fn count_held(&mut self, number: u32, ordinal: u32, held: Held) {
        let metric = self.metrics.find(&held.event.code).expect("usage that is kept is of a known metric");
        let metric = self.metrics.get(metric).thing.clone();
        let value = needed_value(&metric, &held.event).expect("usage that is kept was checked");
        let reading = read_value(&metric, value).expect("usage that is kept was checked");
        let (happened_at, arrived_at) = (held.happened_at, held.arrived_at);
        let checked = Checked { event: &held.event, metric, reading, happened_at, arrived_at };
        let late = self.ids.get(held.id_hash, Instant::MIN).and_then(|id| id.late);
        let added = self.add_to(number, ordinal, &checked);
        self.keep_fresh(number, ordinal, &|| held.clone());
        self.keep_id(held.id_hash, &checked, late, ordinal, added.generation);
    }

    /// Adds usage to a window that isn't sealed.
    fn add_to(&mut self, number: u32, ordinal: u32, checked: &Checked<'_>) -> Added {
        let subscription = self.subscriptions.get_usage_mut(number);
        let window = subscription.window_mut(ordinal).expect("the window is there");
        let plan = &self.plans.get(window.plan).thing;
        let time = window.time(checked.happened_at, self.now);
        counting::add(&mut window.usage, &plan.prices, checked, time);
        Added {
            bill: window.bill(),
            generation: plan.generation,
            concerns_fresh: window.period.from == self.now || !window.rare.fresh.is_empty(),
        }
    }

    /// Keeps usage whole while the clock stands at its window's first instant: until it moves on, the plan may still
    /// change for all of the window (R35a).
    fn keep_fresh(&mut self, number: u32, ordinal: u32, hold: &dyn Fn() -> Held) {
        let window = self.subscriptions.get(number).window(ordinal).expect("the window is there");
        if window.period.from == self.now {
            self.subscriptions
                .get_mut(number)
                .window_mut(ordinal)
                .expect("the window is there")
                .rare
                .fresh
                .push(hold());
        } else if !window.rare.fresh.is_empty() {
            self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is there").rare.fresh =
                Vec::new();
        }
    }

    /// How many times charges have been added to the plan of a window.
    fn generation_of(&self, number: u32, ordinal: u32) -> u8 {
        let window = self.subscriptions.get(number).window(ordinal).expect("the window is there");
        self.plans.get(window.plan).thing.generation
    }

    /// Usage of a sealed period goes to the subscription's next invoice that isn't (R60, R61, R64).
    fn bill_late(
        &mut self,
        number: u32,
        ordinal: u32,
        checked: &Checked<'_>,
        hash: u64,
        hold: &dyn Fn() -> Held,
    ) -> Fate {
        let subscription = self.subscriptions.get(number);
        let Some(carrier) = subscription.carrier() else {
            self.note_unbillable(number, checked);
            return Fate::Rejected(Refusal::NoOpenInvoice);
        };
        let late = match self.entity_of(subscription.customer).late_pricing {
            LatePricing::Increment => {
                self.add_increment(number, ordinal, carrier, checked);
                LateAs::Increment
            }
            LatePricing::NextPeriod => {
                self.add_to(number, carrier, checked);
                self.keep_fresh(number, carrier, hold);
                LateAs::NextPeriod
            }
        };
        let subscription = self.subscriptions.get_usage_mut(number);
        let original = subscription.window(ordinal).expect("the window is there");
        let (from, to) = (original.period.from, original.to);
        let window = subscription.window_mut(carrier).expect("the carrier is a window");
        window.carried(from, to).count(checked, 1);
        let bill = window.bill();
        self.keep_id(hash, checked, Some(late), carrier, self.generation_of(number, carrier));
        if let Some(bill) = bill {
            self.note_usage_on(bill, checked.arrived_at);
        }
        Fate::Late
    }

    /// Adds usage to what a sealed period would have been with it; the carrier bills the difference.
    fn add_increment(&mut self, number: u32, ordinal: u32, carrier: u32, checked: &Checked<'_>) {
        let now = self.now;
        let original =
            self.subscriptions.get_usage_mut(number).window_mut(ordinal).expect("the window is there");
        let time = original.time(checked.happened_at, now);
        let sealing = original.rare.sealed.as_mut().expect("late usage is of a sealed period");
        let prices = sealing.prices.clone();
        let usage = sealing.with_late.get_or_insert_with(|| match planted::is(Bug::IncrementPricedAlone) {
            true => Default::default(),
            false => sealing.billed.clone(),
        });
        counting::add(usage, &prices, checked, time);
        sealing.carrier = Some(carrier);
    }

    pub(super) fn keep_id(
        &mut self,
        hash: u64,
        checked: &Checked<'_>,
        late: Option<LateAs>,
        on: u32,
        generation: u8,
    ) {
        let content = short(checked.event.content);
        self.put_id(hash, &HeldId::new(checked.happened_at, content, late, on, generation));
    }

    pub(super) fn put_id(&mut self, hash: u64, id: &HeldId) {
        let reach = self.reach();
        self.ids.put(hash, id, reach);
        self.keeping.note_id(hash, id);
    }

    pub(super) fn free_id(&mut self, hash: u64) {
        if let Some(id) = self.ids.get(hash, Instant::MIN) {
            self.put_id(hash, &id.turned(IdState::Freed));
        }
    }
}

/// Ids that a customer's name holds meanwhile are kept apart from those of a subscription of that name.
fn of_customer(hash: u64) -> u64 {
    !hash
}

pub(super) fn short(content: u64) -> u32 {
    (content >> 32) as u32
}

fn hash_in(scope: &str, event: &UsageEvent<'_>, place: Place<'_>) -> u64 {
    match &event.id {
        Some(id) => id_hash(scope, id),
        None => id_hash(
            scope,
            &EventId::One(Cow::Owned(format!("{}/{}/{}", place.topic, place.partition, place.offset))),
        ),
    }
}

/// The property that the metric aggregates, if it aggregates one.
fn needed_value<'a>(metric: &Metric, event: &'a UsageEvent<'_>) -> Result<Option<&'a Value<'a>>, Refusal> {
    if metric.aggregation == Aggregation::Count {
        return Ok(None);
    }
    let field = metric.field.as_ref().expect("only a count has no field");
    let value = event.property(field).filter(|value| **value != Value::Null);
    value.map(Some).ok_or(Refusal::MissingField)
}

/// What the event adds to its metric.
fn read_value(metric: &Metric, value: Option<&Value<'_>>) -> Result<Reading, Refusal> {
    let Some(value) = value else { return Ok(Reading::Count) };
    let reading = match metric.aggregation {
        Aggregation::UniqueCount => value.as_text().map(|text| Reading::Value(text.into())),
        _ => value.as_quantity().map(Reading::Quantity),
    };
    reading.ok_or(Refusal::InvalidValue)
}

impl Subscription {
    /// The invoice that takes late usage: the earliest that isn't sealed.
    pub(super) fn carrier(&self) -> Option<u32> {
        self.windows.iter().find(|window| !window.is_sealed()).map(|window| window.ordinal)
    }

    fn is_active(&self, at: Instant) -> bool {
        self.anchor.started_at <= at && self.rare.ends_at.is_none_or(|end| at < end)
    }
}

impl UsageEvent<'_> {
    pub fn property(&self, name: &str) -> Option<&Value<'_>> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}
