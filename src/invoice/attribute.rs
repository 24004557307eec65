//! Where usage goes: its one fate, and the line it is counted on.
//!
//! The checks stand in the order in which the first failure wins (R50). Time comes before the id, so that a fate never
//! depends on how long ids are kept.

use std::borrow::Cow;
use std::sync::Arc;

use super::aggregate::{Buckets, Group, LineKey, Reading, Use};
use super::books::{
    Books, Carried, Due, Held, MetricUse, PriceList, Subscription, Unbillable, UnbillableKey, UsageRecord,
    Window,
};
use super::ids::{HeldId, IdState, LateAs, PLACES};
use super::instant::Instant;
use super::notice::{Notice, Topic};
use super::quantity::Quantity;
use super::usage::{EventId, UsageEvent, Value, Whose, id_hash};
use crate::catalog::entity::LatePricing;
use crate::catalog::metric::{Aggregation, Metric};
use crate::catalog::plan::{Charge, FreePart, Price, Tariff};

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

enum Fate {
    Billed,
    Late,
    Duplicate,
    Parked,
    Rejected(Refusal),
}

/// Whose usage it turned out to be.
enum Owner<'a> {
    Subscription(u32),
    /// More than one subscription could be meant.
    Several,
    /// Nobody yet: the name it is parked under, and whose id it holds meanwhile.
    Nobody {
        name: Cow<'a, str>,
        scope: Cow<'a, str>,
    },
}

/// An event that has passed the checks which need nothing but itself and its metric.
struct Checked<'a> {
    event: &'a UsageEvent<'a>,
    metric: Arc<Metric>,
    reading: Reading,
    happened_at: Instant,
}

impl Books {
    pub(super) fn take_usage(&mut self, record: &UsageRecord<'_>) {
        match self.fate(record) {
            Fate::Billed => self.fates.billed += 1,
            Fate::Late => self.fates.late += 1,
            Fate::Duplicate => self.fates.duplicate += 1,
            Fate::Parked => self.fates.parked += 1,
            Fate::Rejected(reason) => {
                self.fates.rejected += 1;
                self.reject(reason, record.key.map(<[u8]>::to_vec), record.value.to_vec());
            }
        }
    }

    /// Sends a dead letter: what came in, and why it can't be billed (R20).
    fn reject(&mut self, reason: Refusal, key: Option<Vec<u8>>, value: Vec<u8>) {
        let headers = vec![("graceline-reason".to_owned(), reason.name().as_bytes().to_vec())];
        self.notices.push(Notice {
            at: self.now,
            topic: Topic::UsageRejected,
            key,
            headers,
            value: Some(value),
        });
    }

    fn fate(&mut self, record: &UsageRecord<'_>) -> Fate {
        if record.value.len() > self.settings.max_event_bytes {
            return Fate::Rejected(Refusal::TooLarge);
        }
        let Ok(event) = &record.event else { return Fate::Rejected(Refusal::Malformed) };
        let checked = match self.check(event) {
            Ok(checked) => checked,
            Err(reason) => return Fate::Rejected(reason),
        };
        let happened_at = checked.happened_at;
        let owner = self.owner(event, happened_at);
        if let Some(reason) = self.check_dynamic_price(&checked, &owner) {
            return Fate::Rejected(reason);
        }
        if happened_at > self.now.plus(self.settings.future_limit.exact()) {
            return Fate::Rejected(Refusal::InFuture);
        }
        if happened_at < self.horizon() {
            if let Owner::Subscription(number) = owner {
                self.note_unbillable(number, &checked);
            }
            return Fate::Rejected(Refusal::TooLate);
        }
        let scope: &str = match &owner {
            Owner::Subscription(number) => &self.subscriptions.get(*number).external_id,
            Owner::Nobody { scope, .. } => scope,
            Owner::Several => return Fate::Rejected(Refusal::UnknownSubscription),
        };
        let hash = hash_in(scope, event, record);
        if let Some(held) = self.ids.get(hash, self.horizon()) {
            let is_same = held.content == short(event.content);
            return if is_same { Fate::Duplicate } else { Fate::Rejected(Refusal::IdConflict) };
        }
        match owner {
            Owner::Subscription(number) => self.bill(number, &checked, hash, record),
            Owner::Nobody { name, scope } => {
                let held = hold(event, self.now, happened_at, hash, &scope, record);
                self.park(&name, held);
                Fate::Parked
            }
            Owner::Several => unreachable!("several subscriptions were refused above"),
        }
    }

    /// The checks on metric and value, in their order.
    fn check<'a>(&self, event: &'a UsageEvent<'a>) -> Result<Checked<'a>, Refusal> {
        let metric = self.known_metric(&event.code).ok_or(Refusal::UnknownMetric)?;
        let reading = read(&metric, event)?;
        Ok(Checked { event, metric, reading, happened_at: event.happened_at.unwrap_or(self.now) })
    }

    /// A removed metric is known as long as a plan names it (R102).
    fn known_metric(&self, code: &str) -> Option<Arc<Metric>> {
        let kept = self.metrics.get(self.metrics.find(code)?);
        let is_known = !kept.is_removed
            || self.plans.iter().any(|(place, plan)| {
                plan.thing.prices.plan.prices(code) && (!plan.is_removed || self.is_used(place))
            });
        is_known.then(|| kept.thing.clone())
    }

    /// Whether a subscription has the plan, or will have it.
    fn is_used(&self, plan: u32) -> bool {
        self.subscriptions.iter().any(|subscription| {
            let will_have = subscription.change.is_some_and(|change| change.plan == plan);
            will_have || (subscription.plan == plan && !subscription.has_ended(self.now))
        })
    }

    /// R54: an event for a charge with dynamic prices has to bring its own.
    fn check_dynamic_price(&self, checked: &Checked<'_>, owner: &Owner<'_>) -> Option<Refusal> {
        let Owner::Subscription(number) = owner else { return None };
        let plan = self.subscriptions.get(*number).plan_at(checked.happened_at);
        let is_dynamic = self
            .prices_of(plan)
            .plan
            .charges
            .iter()
            .any(|charge| charge.is_dynamic() && charge.metric == checked.metric.code);
        if !is_dynamic {
            return None;
        }
        match &checked.event.precise_amount {
            Value::Null => Some(Refusal::MissingField),
            amount => amount.as_quantity().is_none().then_some(Refusal::InvalidValue),
        }
    }

    fn owner<'a>(&self, event: &'a UsageEvent<'a>, happened_at: Instant) -> Owner<'a> {
        match &event.whose {
            Whose::Subscription(name) => match self.subscriptions.find(name) {
                Some(number) => Owner::Subscription(number),
                None => Owner::Nobody { name: Cow::Borrowed(name), scope: Cow::Borrowed(name) },
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
            self.customers.find(name).map(|customer| self.customers.get(customer).subscriptions.as_slice());
        let mut fitting = numbers.unwrap_or_default().iter().copied().filter(|number| {
            let subscription = self.subscriptions.get(*number);
            subscription.is_active(happened_at)
                && self.prices_of(subscription.plan_at(happened_at)).plan.prices(code)
        });
        match (fitting.next(), fitting.next()) {
            (Some(number), None) => Owner::Subscription(number),
            (Some(_), Some(_)) => Owner::Several,
            (None, _) => Owner::Nobody {
                name: Cow::Borrowed(name),
                scope: Cow::Owned(format!("{CUSTOMER_MARK}{name}")),
            },
        }
    }

    /// Finds the invoice that a known subscription's usage goes on.
    fn bill(&mut self, number: u32, checked: &Checked<'_>, hash: u64, record: &UsageRecord<'_>) -> Fate {
        let at = checked.happened_at;
        let subscription = self.subscriptions.get(number);
        if at < subscription.anchor.started_at {
            return Fate::Rejected(Refusal::BeforeStart);
        }
        if subscription.ends_at.is_some_and(|end| at >= end) {
            return Fate::Rejected(Refusal::AfterEnd);
        }
        let Some(ordinal) = subscription.holder(at) else {
            if at <= self.now {
                return Fate::Rejected(Refusal::TooLate);
            }
            let held = hold(checked.event, self.now, at, hash, &subscription.external_id.clone(), record);
            self.keep_id(hash, &held.event, at, None, 0, 0);
            self.subscriptions.get_mut(number).ahead.push(held);
            return Fate::Billed;
        };
        let window = subscription.window(ordinal).expect("the window was just found");
        if window.is_sealed() {
            return self.bill_late(number, ordinal, checked, hash);
        }
        if window.period.from == self.now {
            let held = hold(checked.event, self.now, at, hash, &subscription.external_id.clone(), record);
            let window = self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is there");
            window.fresh.push(held);
        } else if !window.fresh.is_empty() {
            self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is there").fresh =
                Vec::new();
        }
        self.count_in(number, ordinal, checked, hash);
        Fate::Billed
    }

    /// Counts usage on its own period's invoice, and keeps its id.
    fn count_in(&mut self, number: u32, ordinal: u32, checked: &Checked<'_>, hash: u64) {
        let prices =
            self.prices_of(self.subscriptions.get(number).window(ordinal).expect("the window is there").plan);
        let (prices, generation) = (prices.clone(), self.generation_of(prices));
        let window =
            self.subscriptions.get_usage_mut(number).window_mut(ordinal).expect("the window is there");
        let stands_from = window.period.from;
        // Usage stamped after a period that was cut short under it stood for no time of it.
        let happened_at = if window.contains(checked.happened_at) { checked.happened_at } else { window.to };
        add(&mut window.usage, &prices, checked, happened_at, stands_from);
        let bill = window.bill;
        self.keep_id(hash, checked.event, checked.happened_at, None, ordinal, generation);
        if let Some(bill) = bill {
            self.note_usage_on(bill);
        }
    }

    fn generation_of(&self, prices: &PriceList) -> u8 {
        let place = self.plans.find(&prices.plan.code).expect("a plan in use is known");
        self.plans.get(place).thing.generation
    }

    /// Usage of a sealed period goes to the subscription's next invoice that isn't (R60, R61, R64).
    fn bill_late(&mut self, number: u32, ordinal: u32, checked: &Checked<'_>, hash: u64) -> Fate {
        let subscription = self.subscriptions.get(number);
        let Some(carrier) = subscription.carrier() else {
            self.note_unbillable(number, checked);
            return Fate::Rejected(Refusal::NoOpenInvoice);
        };
        let pricing = self.entity_of(subscription.customer).late_pricing;
        let carrier_prices =
            self.prices_of(subscription.window(carrier).expect("the carrier is a window").plan).clone();
        let generation = self.generation_of(&carrier_prices);
        let subscription = self.subscriptions.get_mut(number);
        let original = subscription.window_mut(ordinal).expect("the window is there");
        let (from, to) = (original.period.from, original.to);
        let late = match pricing {
            LatePricing::Increment => {
                let sealing = original.sealed.as_deref_mut().expect("late usage is of a sealed period");
                let prices = sealing.prices.clone();
                let usage = sealing.with_late.get_or_insert_with(|| sealing.billed.clone());
                add(usage, &prices, checked, checked.happened_at, from);
                sealing.carrier = Some(carrier);
                LateAs::Increment
            }
            LatePricing::NextPeriod => {
                let window = subscription.window_mut(carrier).expect("the carrier is a window");
                let stands_from = window.period.from;
                add(&mut window.usage, &carrier_prices, checked, checked.happened_at, stands_from);
                LateAs::NextPeriod
            }
        };
        let window = subscription.window_mut(carrier).expect("the carrier is a window");
        window.carried(from, to).count(checked, 1);
        let bill = window.bill;
        self.keep_id(hash, checked.event, checked.happened_at, Some(late), carrier, generation);
        if let Some(bill) = bill {
            self.note_usage_on(bill);
        }
        Fate::Late
    }

    fn keep_id(
        &mut self,
        hash: u64,
        event: &UsageEvent<'_>,
        happened_at: Instant,
        late: Option<LateAs>,
        on: u32,
        generation: u8,
    ) {
        let id = HeldId {
            happened_at,
            content: short(event.content),
            state: IdState::Held,
            late,
            on: (on % PLACES) as u8,
            generation,
        };
        self.put_id(hash, &id);
    }

    pub(super) fn put_id(&mut self, hash: u64, id: &HeldId) {
        let horizon = self.horizon();
        self.ids.put(hash, id, horizon);
        self.keeping.note_id(hash, id);
    }

    /// Counts usage that waited for its window.
    pub(super) fn bill_held(&mut self, number: u32, ordinal: u32, held: Held) {
        let Some(metric) =
            self.metrics.find(&held.event.code).map(|place| self.metrics.get(place).thing.clone())
        else {
            return;
        };
        let Ok(reading) = read(&metric, &held.event) else { return };
        let checked = Checked { event: &held.event, metric, reading, happened_at: held.happened_at };
        self.count_in(number, ordinal, &checked, held.id_hash);
        let window = self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is there");
        if window.period.from == self.now {
            window.fresh.push(held);
        }
    }

    // --- Parking ------------------------------------------------------------------------------------------------------

    fn park(&mut self, name: &str, held: Held) {
        self.keep_id(held.id_hash, &held.event, held.happened_at, None, 0, 0);
        let number = self.next_parked;
        self.next_parked += 1;
        let until = held.arrived_at.plus(self.settings.parking_limit.exact());
        self.keeping.mark_parked(number);
        self.parked.insert(number, held);
        self.parked_for.entry(name.to_owned()).or_default().push(number);
        self.schedule(until, Due::ParkingOver(number));
    }

    pub(super) fn end_parking(&mut self, number: u64) {
        if let Some(held) = self.unpark(number) {
            self.refuse_parked(held, Refusal::UnknownSubscription);
        }
    }

    /// Gives up usage that is parked for a subscription which turns out to be another shard's.
    pub fn release_parked(&mut self, subscription: &str) -> Vec<Held> {
        let numbers = self.parked_for.get(subscription).cloned().unwrap_or_default();
        let mut released = Vec::with_capacity(numbers.len());
        for number in numbers {
            let held = self.unpark(number).expect("what is listed as parked is parked");
            self.free_id(held.id_hash);
            self.fates.parked -= 1;
            released.push(held);
        }
        released
    }

    fn unpark(&mut self, number: u64) -> Option<Held> {
        let held = self.parked.remove(&number)?;
        self.keeping.mark_parked(number);
        let name = match &held.event.whose {
            Whose::Subscription(name) | Whose::Customer(name) | Whose::Either(name) => name.as_ref(),
        };
        if let Some(numbers) = self.parked_for.get_mut(name) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.parked_for.remove(name);
            }
        }
        Some(held)
    }

    /// Refuses usage that was parked.
    fn refuse_parked(&mut self, held: Held, reason: Refusal) {
        self.fates.parked -= 1;
        self.refuse_held(held, reason);
    }

    /// Refuses usage that waited for a period which will never come.
    pub(super) fn refuse_ahead(&mut self, held: Held) {
        self.fates.billed -= 1;
        self.refuse_held(held, Refusal::AfterEnd);
    }

    /// Usage that is refused after all frees its id (R51).
    fn refuse_held(&mut self, held: Held, reason: Refusal) {
        self.free_id(held.id_hash);
        self.fates.rejected += 1;
        self.reject(reason, held.key, held.value);
    }

    pub(super) fn free_id(&mut self, hash: u64) {
        if let Some(id) = self.ids.get(hash, Instant::MIN) {
            self.put_id(hash, &HeldId { state: IdState::Freed, ..id });
        }
    }

    /// Decides usage that was parked for a subscription or its customer, in the order of its arrival.
    pub(super) fn attribute_parked(&mut self, subscription: &str, customer: &str) {
        let mut numbers: Vec<u64> = Vec::new();
        for name in [subscription, customer] {
            numbers.extend(self.parked_for.get(name).into_iter().flatten());
        }
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            self.attribute_one_parked(number);
        }
    }

    fn attribute_one_parked(&mut self, number: u64) {
        let Some(held) = self.parked.get(&number) else { return };
        let owner = match self.owner(&held.event, held.happened_at) {
            Owner::Subscription(owner) => Ok(owner),
            Owner::Several => Err(Refusal::UnknownSubscription),
            Owner::Nobody { .. } => return,
        };
        let held = self.unpark(number).expect("it was just seen");
        let owner = match owner {
            Ok(owner) => owner,
            Err(reason) => return self.refuse_parked(held, reason),
        };
        let Some(metric) =
            self.metrics.find(&held.event.code).map(|place| self.metrics.get(place).thing.clone())
        else {
            return self.refuse_parked(held, Refusal::UnknownMetric);
        };
        let reading = match read(&metric, &held.event) {
            Ok(reading) => reading,
            Err(reason) => return self.refuse_parked(held, reason),
        };
        let event = held.event.clone();
        let checked = Checked { event: &event, metric, reading, happened_at: held.happened_at };
        if let Some(reason) = self.check_dynamic_price(&checked, &Owner::Subscription(owner)) {
            return self.refuse_parked(held, reason);
        }
        self.decide_parked(owner, held, &checked);
    }

    fn decide_parked(&mut self, owner: u32, held: Held, checked: &Checked<'_>) {
        let at = checked.happened_at;
        let subscription = self.subscriptions.get(owner);
        if at < subscription.anchor.started_at {
            return self.refuse_parked(held, Refusal::BeforeStart);
        }
        if subscription.ends_at.is_some_and(|end| at >= end) {
            return self.refuse_parked(held, Refusal::AfterEnd);
        }
        let hash = self.move_id(&held, owner);
        let subscription = self.subscriptions.get(owner);
        match subscription.holder(at) {
            None if at <= self.now => self.refuse_parked(Held { id_hash: hash, ..held }, Refusal::TooLate),
            None => {
                self.fates.parked -= 1;
                self.fates.billed += 1;
                let held = Held { id_hash: hash, scope: subscription.external_id.to_string(), ..held };
                self.subscriptions.get_mut(owner).ahead.push(held);
            }
            Some(ordinal) if subscription.window(ordinal).is_some_and(Window::is_sealed) => {
                match self.bill_late(owner, ordinal, checked, hash) {
                    Fate::Late => {
                        self.fates.parked -= 1;
                        self.fates.late += 1;
                    }
                    _ => self.refuse_parked(Held { id_hash: hash, ..held }, Refusal::NoOpenInvoice),
                }
            }
            Some(ordinal) => {
                self.fates.parked -= 1;
                self.fates.billed += 1;
                self.count_in(owner, ordinal, checked, hash);
            }
        }
    }

    /// An id that was held under its customer's name is the subscription's from now on.
    fn move_id(&mut self, held: &Held, owner: u32) -> u64 {
        let scope = &self.subscriptions.get(owner).external_id;
        let Some(id) = &held.event.id else { return held.id_hash };
        let hash = id_hash(scope, id);
        if hash != held.id_hash {
            let known = self.ids.get(held.id_hash, Instant::MIN);
            self.free_id(held.id_hash);
            if let Some(known) = known {
                self.put_id(hash, &known);
            }
        }
        hash
    }

    // --- What nobody can be billed for --------------------------------------------------------------------------------

    fn note_unbillable(&mut self, number: u32, checked: &Checked<'_>) {
        let Some((from, to)) = self.period_at(number, checked.happened_at) else { return };
        let key = UnbillableKey { subscription: number, from };
        let since = self.now;
        let is_new = !self.unbillable.contains_key(&key);
        let entry = self.unbillable.entry(key).or_insert_with(|| Unbillable {
            since,
            carried: Carried { from, to, metrics: Default::default() },
        });
        entry.carried.count(checked, 1);
        if is_new {
            let at = since.plus(self.settings.refresh_interval.exact());
            self.schedule(at, Due::Unbillable(number, from));
        }
    }

    // --- Taking usage back --------------------------------------------------------------------------------------------

    /// `event.cancel` (R96): the reason it is refused for, or the draft whose document it may change.
    pub(super) fn cancel(&mut self, event: &UsageEvent<'_>) -> Result<Option<u32>, &'static str> {
        let Whose::Subscription(name) = &event.whose else { return Err("malformed") };
        let Some(id) = &event.id else { return Err("malformed") };
        let hash = id_hash(name, id);
        let held = self
            .ids
            .get(hash, self.horizon())
            .filter(|held| held.state == IdState::Held)
            .ok_or("unknown_event")?;
        if held.content != short(event.content) {
            return Err("content_mismatch");
        }
        let known = self.known_metric(&event.code);
        let metric = known.or_else(|| Some(self.metrics.get(self.metrics.find(&event.code)?).thing.clone()));
        let metric = metric.ok_or("unknown_event")?;
        let reading = read(&metric, event).map_err(|_| "content_mismatch")?;
        let checked = Checked { event, metric, reading, happened_at: held.happened_at };
        let cancelled = HeldId { state: IdState::Cancelled, ..held };
        if let Some(number) = self.parked_number(hash, name) {
            self.refuse_uncancellable(&checked, None)?;
            self.unpark(number);
            self.fates.parked -= 1;
            self.fates.cancelled += 1;
            self.put_id(hash, &cancelled);
            return Ok(None);
        }
        let number = self.subscriptions.find(name).ok_or("unknown_event")?;
        let subscription = self.subscriptions.get(number);
        if let Some(place) = subscription.ahead.iter().position(|ahead| ahead.id_hash == hash) {
            let plan = subscription.plan_at(held.happened_at);
            self.refuse_uncancellable(&checked, Some(plan))?;
            self.subscriptions.get_mut(number).ahead.remove(place);
            self.fates.billed -= 1;
            self.fates.cancelled += 1;
            self.put_id(hash, &cancelled);
            return Ok(None);
        }
        let open = subscription
            .windows
            .iter()
            .find(|window| !window.is_sealed() && window.ordinal % PLACES == u32::from(held.on));
        let Some(ordinal) = open.map(|window| window.ordinal) else { return Err("invoice_not_draft") };
        let plan = open.map(|window| window.plan);
        self.refuse_uncancellable(&checked, plan)?;
        self.take_back(number, ordinal, &checked, &held);
        match held.late {
            None => self.fates.billed -= 1,
            Some(_) => self.fates.late -= 1,
        }
        self.fates.cancelled += 1;
        self.put_id(hash, &cancelled);
        let window = self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is there");
        window.fresh.retain(|fresh| fresh.id_hash != hash);
        Ok(window.bill)
    }

    fn parked_number(&self, hash: u64, name: &str) -> Option<u64> {
        let numbers = self.parked_for.get(name)?;
        numbers.iter().copied().find(|number| self.parked[number].id_hash == hash)
    }

    fn refuse_uncancellable(&self, checked: &Checked<'_>, plan: Option<u32>) -> Result<(), &'static str> {
        let is_fleeting = matches!(checked.metric.aggregation, Aggregation::Max | Aggregation::Latest);
        let is_percentage = plan.is_some_and(|plan| {
            let charges = &self.prices_of(plan).plan.charges;
            charges.iter().any(|charge| charge.is_percentage() && charge.metric == checked.metric.code)
        });
        if is_fleeting || is_percentage { Err("not_supported") } else { Ok(()) }
    }

    fn take_back(&mut self, number: u32, ordinal: u32, checked: &Checked<'_>, held: &HeldId) {
        let at = checked.happened_at;
        let prices = self
            .prices_of(self.subscriptions.get(number).window(ordinal).expect("the window is open").plan)
            .clone();
        let subscription = self.subscriptions.get_mut(number);
        if held.late.is_none() {
            let window = subscription.window_mut(ordinal).expect("the window is open");
            let happened_at = if window.contains(at) { at } else { window.to };
            let stands_from = window.period.from;
            remove(&mut window.usage, &prices, Some(held.generation), checked, happened_at, stands_from);
            return;
        }
        let Some(original) = subscription.holder(at) else { return };
        let window = subscription.window_mut(original).expect("the window was just found");
        let (from, to) = (window.period.from, window.to);
        if held.late == Some(LateAs::Increment) {
            let sealing = window.sealed.as_deref_mut().expect("late usage is of a sealed period");
            let prices = sealing.prices.clone();
            if let Some(usage) = &mut sealing.with_late {
                remove(usage, &prices, None, checked, at, from);
            }
        }
        let window = subscription.window_mut(ordinal).expect("the window is open");
        if held.late == Some(LateAs::NextPeriod) {
            let stands_from = window.period.from;
            remove(&mut window.usage, &prices, Some(held.generation), checked, at, stands_from);
        }
        window.carried(from, to).count(checked, -1);
    }
}

/// Tells the names of customers apart from those of subscriptions where ids are held.
const CUSTOMER_MARK: char = '\u{0}';

fn short(content: u64) -> u32 {
    (content >> 32) as u32
}

fn hash_in(scope: &str, event: &UsageEvent<'_>, record: &UsageRecord<'_>) -> u64 {
    match &event.id {
        Some(id) => id_hash(scope, id),
        None => {
            let place = record.place;
            let text = format!("{}/{}/{}", place.topic, place.partition, place.offset);
            id_hash(scope, &EventId::One(Cow::Owned(text)))
        }
    }
}

/// What the event adds to its metric.
fn read(metric: &Metric, event: &UsageEvent<'_>) -> Result<Reading, Refusal> {
    if metric.aggregation == Aggregation::Count {
        return Ok(Reading::Count);
    }
    let field = metric.field.as_ref().expect("only a count has no field");
    let value = event.property(field).filter(|value| **value != Value::Null).ok_or(Refusal::MissingField)?;
    if metric.aggregation == Aggregation::UniqueCount {
        return match value.as_text() {
            Some(text) => Ok(Reading::Value(text.into())),
            None => Err(Refusal::InvalidValue),
        };
    }
    value.as_quantity().map(Reading::Quantity).ok_or(Refusal::InvalidValue)
}

fn hold(
    event: &UsageEvent<'_>,
    arrived_at: Instant,
    happened_at: Instant,
    id_hash: u64,
    scope: &str,
    record: &UsageRecord<'_>,
) -> Held {
    Held {
        event: event.to_owned_event(),
        arrived_at,
        happened_at,
        id_hash,
        scope: scope.to_owned(),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.to_vec(),
        headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        place: (record.place.topic.to_owned(), record.place.partition, record.place.offset),
    }
}

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
            let tariff = match filter {
                0 => &charge.tariff,
                place => &charge.filters[place - 1].tariff,
            };
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

fn add(
    usage: &mut Buckets,
    prices: &PriceList,
    checked: &Checked<'_>,
    happened_at: Instant,
    stands_from: Instant,
) {
    for (key, charge, tariff, _) in lines(prices, checked) {
        let used = used_by(checked, charge, happened_at, stands_from);
        usage.entry(key, checked.metric.aggregation).add(&used, free_part(tariff));
    }
}

/// Takes usage back from the lines that counted it: those of charges that were there when it was counted.
fn remove(
    usage: &mut Buckets,
    prices: &PriceList,
    generation: Option<u8>,
    checked: &Checked<'_>,
    happened_at: Instant,
    stands_from: Instant,
) {
    for (key, charge, _, added_in) in lines(prices, checked) {
        if generation.is_none_or(|counted_in| added_in <= counted_in)
            && let Some(bucket) = usage.get_mut(&key)
        {
            bucket.remove(&used_by(checked, charge, happened_at, stands_from));
        }
    }
}

fn used_by<'a>(
    checked: &'a Checked<'_>,
    charge: &Charge,
    happened_at: Instant,
    stands_from: Instant,
) -> Use<'a> {
    let precise = if charge.is_dynamic() { checked.event.precise_amount.as_quantity() } else { None };
    Use { reading: &checked.reading, precise_cents: precise.unwrap_or_default(), happened_at, stands_from }
}

fn free_part(tariff: &Tariff) -> Option<FreePart> {
    match tariff.price {
        Price::Percentage { free, .. } => Some(free),
        _ => None,
    }
}

impl Carried {
    fn count(&mut self, checked: &Checked<'_>, sign: i64) {
        let metric = &checked.metric;
        let used = self.metrics.entry(metric.code.clone()).or_insert_with(|| MetricUse {
            events: 0,
            units: matches!(metric.aggregation, Aggregation::Count | Aggregation::Sum)
                .then(Quantity::default),
        });
        used.events = used.events.saturating_add_signed(sign);
        if let Some(units) = &mut used.units {
            let value = match &checked.reading {
                Reading::Quantity(value) => value.0,
                _ => Quantity::ONE.0,
            };
            units.0 += value * i128::from(sign);
        }
    }
}

impl Window {
    /// What this window's invoice carries of an earlier period.
    fn carried(&mut self, from: Instant, to: Instant) -> &mut Carried {
        let place = match self.carries.iter().position(|carried| carried.from == from) {
            Some(place) => place,
            None => {
                self.carries.push(Carried { from, to, metrics: Default::default() });
                self.carries.len() - 1
            }
        };
        &mut self.carries[place]
    }
}

impl Subscription {
    /// The invoice that takes late usage: the earliest that isn't sealed.
    fn carrier(&self) -> Option<u32> {
        self.windows.iter().find(|window| !window.is_sealed()).map(|window| window.ordinal)
    }

    fn is_active(&self, at: Instant) -> bool {
        self.anchor.started_at <= at && self.ends_at.is_none_or(|end| at < end)
    }
}

impl UsageEvent<'_> {
    pub fn property(&self, name: &str) -> Option<&Value<'_>> {
        self.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl UsageEvent<'_> {
    /// The same event, independent of the record it was read from.
    fn to_owned_event(&self) -> UsageEvent<'static> {
        UsageEvent {
            id: self.id.as_ref().map(EventId::to_owned_id),
            whose: match &self.whose {
                Whose::Subscription(name) => Whose::Subscription(owned(name)),
                Whose::Customer(name) => Whose::Customer(owned(name)),
                Whose::Either(name) => Whose::Either(owned(name)),
            },
            code: owned(&self.code),
            happened_at: self.happened_at,
            properties: self
                .properties
                .iter()
                .map(|(name, value)| (owned(name), value.to_owned_value()))
                .collect(),
            precise_amount: self.precise_amount.to_owned_value(),
            content: self.content,
        }
    }
}

impl EventId<'_> {
    fn to_owned_id(&self) -> EventId<'static> {
        match self {
            EventId::One(id) => EventId::One(owned(id)),
            EventId::Sourced { source, id } => EventId::Sourced { source: owned(source), id: owned(id) },
        }
    }
}

impl Value<'_> {
    fn to_owned_value(&self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(*value),
            Value::Number(text) => Value::Number(owned(text)),
            Value::Text(text) => Value::Text(owned(text)),
            Value::Nested => Value::Nested,
        }
    }
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
