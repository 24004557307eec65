//! The catalog changes: records take effect, wait, or are refused; open drafts follow.

use std::collections::BTreeSet;
use std::sync::Arc;

use ecow::EcoString;

use super::books::{
    Asked, Books, Customer, Due, Life, Money, PlanChange, PlanState, PriceList, PricedCharge, Sources,
    Subscription,
};
use super::calendar::Date;
use super::instant::Instant;
use super::notice::{Notice, Topic};
use super::period::Anchor;
use super::rare::Rare;
use super::waiting::WaitingRecord;
use crate::catalog::customer::{BillingTime, CustomerRecord, CustomerTerms, SubscriptionRecord};
use crate::catalog::entity::Entity;
use crate::catalog::fault::Fault;
use crate::catalog::metric::Metric;
use crate::catalog::plan::{Charge, Plan};
use crate::catalog::settings::Settings;
use crate::catalog::{Kind, Name, Record};

impl Books {
    pub(super) fn take_catalog_record(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        _headers: super::books::Headers<'_>,
    ) {
        let record = match Record::read(key, value) {
            Ok(record) => record,
            Err(fault) => return self.refuse(&fault, key, value),
        };
        let name = record.name();
        if self.is_in_force(&record) {
            return self.waiting.remove(&name);
        }
        if let Err(fault) = self.check_in_hand(&record) {
            return self.refuse(&fault, key, value);
        }
        if let Some(missing) = self.missing(&record) {
            let waiting = WaitingRecord {
                record,
                key: key.map(<[u8]>::to_vec),
                value: value.unwrap_or_default().to_vec(),
            };
            return self.waiting.put(waiting, missing);
        }
        if let Err(fault) = self.check_whole(&record) {
            return self.refuse(&fault, key, value);
        }
        self.waiting.remove(&name);
        self.take_effect(record, value.unwrap_or_default());
    }

    fn refuse(&mut self, fault: &Fault, key: Option<&[u8]>, value: Option<&[u8]>) {
        let headers = vec![
            ("graceline-reason".to_owned(), fault.reason.as_bytes().to_vec()),
            ("graceline-pointer".to_owned(), fault.pointer.as_bytes().to_vec()),
        ];
        self.notices.push(Notice {
            at: self.now,
            topic: Topic::BillingRejected,
            key: key.map(<[u8]>::to_vec),
            headers,
            value: value.map(<[u8]>::to_vec),
        });
    }

    /// The first thing a record names that isn't there. What the version in force names already is never missing.
    pub(super) fn missing(&self, record: &Record) -> Option<Name> {
        let in_force = self.named_in_force(&record.name());
        record.references().into_iter().find(|name| !self.offers(name) && !in_force.contains(name))
    }

    fn offers(&self, name: &Name) -> bool {
        match name.kind {
            Kind::Settings => true,
            Kind::Entity => self.entities.offers(&name.code),
            Kind::Tax => self.taxes.offers(&name.code),
            Kind::Metric => self.metrics.offers(&name.code),
            Kind::Plan => self.plans.offers(&name.code),
            Kind::Customer => self
                .customers
                .find(&name.code)
                .is_some_and(|customer| !self.customers.get(customer).is_removed),
            Kind::Subscription => self.subscriptions.find(&name.code).is_some(),
        }
    }

    /// What the version in force names.
    fn named_in_force(&self, name: &Name) -> Vec<Name> {
        let in_force = match name.kind {
            Kind::Entity => {
                self.entities.in_force(&name.code).map(|entity| Record::Entity((**entity).clone()))
            }
            Kind::Plan => {
                self.plans.in_force(&name.code).map(|plan| Record::Plan((*plan.prices.plan).clone()))
            }
            Kind::Customer => {
                let customer = self.customers.find(&name.code).map(|number| self.customers.get(number));
                let in_force = customer.filter(|customer| !customer.is_removed);
                in_force.map(|customer| Record::Customer(customer.record()))
            }
            Kind::Subscription => {
                let subscription =
                    self.subscriptions.find(&name.code).map(|number| self.subscriptions.get(number));
                let in_force = subscription.filter(|subscription| !subscription.is_removed);
                in_force.map(|subscription| Record::Subscription(self.record_of(subscription)))
            }
            _ => None,
        };
        in_force.map(|record| record.references()).unwrap_or_default()
    }

    /// Whether the record says nothing new (R100).
    fn is_in_force(&self, record: &Record) -> bool {
        match record {
            // The first record counts even if it says what the processor was started with: it has to be kept, or the next
            // processor's own settings would count.
            Record::Settings(settings) => self.keeping.settings.is_some() && self.settings == **settings,
            Record::Entity(entity) => {
                self.entities.in_force(&entity.code).is_some_and(|known| **known == *entity)
            }
            Record::Tax(tax) => self.taxes.in_force(&tax.code) == Some(tax),
            Record::Metric(metric) => {
                self.metrics.in_force(&metric.code).is_some_and(|known| **known == *metric)
            }
            Record::Plan(plan) => {
                self.plans.in_force(&plan.code).is_some_and(|known| *known.prices.plan == *plan)
            }
            Record::Customer(record) => self.customers.find(&record.external_id).is_some_and(|number| {
                let customer = self.customers.get(number);
                !customer.is_removed && customer.record() == *record
            }),
            Record::Subscription(record) => {
                self.subscriptions.find(&record.external_id).is_some_and(|number| {
                    let subscription = self.subscriptions.get(number);
                    !subscription.is_removed && self.record_of(subscription) == *record
                })
            }
            Record::Removed(_) => false,
        }
    }

    // --- Checks -------------------------------------------------------------------------------------------------------

    /// What can be said against a record without what it names.
    fn check_in_hand(&self, record: &Record) -> Result<(), Fault> {
        match record {
            Record::Metric(metric) => {
                let Some(place) = self.metrics.find(&metric.code) else { return Ok(()) };
                immutable(metric.immutable_change(&self.metrics.get(place).thing))
            }
            Record::Plan(plan) => {
                let Some(place) = self.plans.find(&plan.code) else { return Ok(()) };
                let before = &self.plans.get(place).thing.prices.plan;
                immutable(plan.immutable_change(before))
            }
            Record::Subscription(record) => self.check_known_subscription(record),
            Record::Customer(record) => {
                let Some(number) = self.customers.find(&record.external_id) else { return Ok(()) };
                self.check_plans_of(number, record)
            }
            _ => Ok(()),
        }
    }

    /// What can be said once everything that the record names is there.
    fn check_whole(&self, record: &Record) -> Result<(), Fault> {
        self.check_in_hand(record)?;
        let Record::Subscription(record) = record else { return Ok(()) };
        let customer = self.customers.find(&record.customer).expect("a subscription's customer is there");
        let plan = self.plans.find(&record.plan).expect("a subscription's plan is there");
        check_together(
            &self.customers.get(customer).terms,
            &self.prices_of(plan).plan,
            "/plan_code",
            "/plan_code",
        )
    }

    fn check_known_subscription(&self, record: &SubscriptionRecord) -> Result<(), Fault> {
        let Some(number) = self.subscriptions.find(&record.external_id) else { return Ok(()) };
        let known = self.subscriptions.get(number);
        if record.ended_at.is_some_and(|end| end < known.anchor.started_at) && record.started_at.is_none() {
            return Err(Fault::invalid("/ended_at"));
        }
        if known.has_ended(self.now) {
            return Err(Fault::new("subscription_ended", ""));
        }
        let customer = &self.customers.get(known.customer).external_id;
        let started_at = record.started_at.unwrap_or(known.anchor.started_at);
        let billing_time = record.billing_time.unwrap_or(BillingTime::Calendar);
        let changed = [
            (record.customer != **customer, "/external_customer_id"),
            (started_at != known.anchor.started_at, "/started_at"),
            (billing_time != known.anchor.billing_time, "/billing_time"),
        ];
        if let Some((_, pointer)) = changed.iter().find(|(changed, _)| *changed) {
            return Err(Fault::new("immutable", *pointer));
        }
        Ok(())
    }

    /// A customer's currency and own grace against the plans of its subscriptions (R43, R85).
    fn check_plans_of(&self, number: u32, record: &CustomerRecord) -> Result<(), Fault> {
        let customer = self.customers.get(number);
        let running = customer.subscriptions.iter().map(|number| self.subscriptions.get(*number));
        let plans: Vec<u32> = running
            .filter(|subscription| !subscription.has_ended(self.now))
            .flat_map(|subscription| {
                [Some(subscription.plan), subscription.rare.change.map(|change| change.plan)]
            })
            .flatten()
            .collect();
        for check in [check_currency, check_grace] {
            for plan in &plans {
                check(&record.terms, &self.prices_of(*plan).plan)
                    .map_err(|(reason, member)| Fault::new(reason, member))?;
            }
        }
        Ok(())
    }

    // --- Taking effect ------------------------------------------------------------------------------------------------

    /// Puts a record in force, and after it those that waited for what it brings.
    fn take_effect(&mut self, record: Record, source: &[u8]) {
        let at_once = self.following_at_once(&record);
        let following = self.following_by_and_by(&record, &at_once);
        let mut waited = self.adopt_and_wake(record, source);
        // Of all that can take effect by now the record that came first.
        while let Some(number) = waited.pop_first() {
            let Some(waiting) = self.waiting.get(number) else { continue };
            if let Some(missing) = self.missing(&waiting.record) {
                self.waiting.move_to(number, missing);
                continue;
            }
            let waiting = self.waiting.take(number).expect("it was just seen");
            match self.check_whole(&waiting.record) {
                Ok(()) => waited.append(&mut self.adopt_and_wake(waiting.record, &waiting.value)),
                Err(fault) => self.refuse(&fault, waiting.key.as_deref(), Some(&waiting.value)),
            }
        }
        self.follow_at_once(at_once);
        if following.is_some() {
            self.keeping.note_following();
        }
        self.following = following;
    }

    /// Puts one record in force; says which records waited for it, by the order in which they came.
    fn adopt_and_wake(&mut self, record: Record, source: &[u8]) -> BTreeSet<u64> {
        let name = record.name();
        let offers = !matches!(record, Record::Removed(_));
        self.adopt(record, source);
        if offers { self.waiting.for_name(&name) } else { BTreeSet::new() }
    }

    fn adopt(&mut self, record: Record, source: &[u8]) {
        let source = Arc::from(source);
        match record {
            Record::Settings(settings) => {
                self.keeping.settings = Some(source);
                self.adopt_settings(*settings);
            }
            Record::Entity(entity) => {
                let place = self.entities.put(&entity.code.clone(), Arc::new(entity), &source);
                self.keeping.mark_entity(place);
            }
            Record::Tax(tax) => {
                let place = self.taxes.put(&tax.code.clone(), tax, &source);
                self.keeping.mark_tax(place);
            }
            Record::Metric(metric) => self.adopt_metric(metric, &source),
            Record::Plan(plan) => self.adopt_plan(plan, &source),
            Record::Customer(record) => self.adopt_customer(record),
            Record::Subscription(record) => self.adopt_subscription(record),
            Record::Removed(name) => self.remove(&name),
        }
    }

    fn adopt_settings(&mut self, mut settings: Settings) {
        // How large an event may be is the processor's own affair: it isn't among what the log says.
        settings.max_event_bytes = self.settings.max_event_bytes;
        self.reach_back(settings.lateness_limit.exact());
        self.settings = settings;
        self.schedule_by_settings();
    }

    /// Dates anew what the settings date, wherever it may be by now.
    pub(super) fn schedule_by_settings(&mut self) {
        let parked =
            self.parked.iter().map(|(number, held)| (self.parking_ends_at(held), Due::ParkingOver(*number)));
        let unbillable = self.unbillable.iter().map(|(key, unbillable)| {
            (self.report_is_due_at(unbillable), Due::Unbillable(key.subscription, key.from))
        });
        for (at, due) in parked.chain(unbillable).collect::<Vec<_>>() {
            self.schedule(at, due);
        }
    }

    fn adopt_metric(&mut self, metric: Metric, source: &Arc<[u8]>) {
        let code = metric.code.clone();
        let place = self.metrics.put(&code, Arc::new(metric), source);
        self.keeping.mark_metric(place);
        let users: Vec<u32> = self
            .plans
            .iter()
            .filter(|(_, plan)| plan.thing.prices.plan.prices(&code))
            .map(|(place, _)| place)
            .collect();
        for place in users {
            let state = &self.plans.get(place).thing;
            let charges: Vec<(u32, u8)> =
                state.prices.lines.iter().map(|line| (line.number, line.generation)).collect();
            let prices = self.price_list(state.prices.plan.clone(), &charges);
            self.set_prices(place, prices);
        }
    }

    fn adopt_plan(&mut self, plan: Plan, source: &Arc<[u8]>) {
        let plan = Arc::new(plan);
        let place = self.plans.find(&plan.code).unwrap_or_else(|| {
            let nothing = Arc::new(PriceList {
                version: 0,
                sources: Sources::default(),
                plan: plan.clone(),
                lines: Vec::new(),
            });
            self.plans.put(&plan.code, PlanState { next_charge: 0, generation: 0, prices: nothing }, source)
        });
        self.plans.get_mut(place).is_removed = false;
        self.plans.get_mut(place).source = source.clone();
        let state = &mut self.plans.get_mut(place).thing;
        let before = state.prices.clone();
        let known = |charge: &Charge| {
            let same =
                before.plan.charges.iter().zip(&before.lines).find(|(other, _)| other.code == charge.code);
            same.map(|(_, line)| (line.number, line.generation))
        };
        let has_new = plan.charges.iter().any(|charge| known(charge).is_none());
        if has_new {
            state.generation = state.generation.saturating_add(1);
        }
        let mut charges = Vec::with_capacity(plan.charges.len());
        for charge in &plan.charges {
            charges.push(known(charge).unwrap_or((state.next_charge, state.generation)));
            state.next_charge += u32::from(known(charge).is_none());
        }
        let prices = self.price_list(plan, &charges);
        let is_wider = prices.plan.charges.iter().any(|charge| !before.plan.prices(&charge.metric));
        self.set_prices(place, prices);
        if is_wider {
            self.attribute_all_parked();
        }
    }

    fn set_prices(&mut self, plan: u32, prices: PriceList) {
        self.has_dynamic_charge |= prices.plan.charges.iter().any(Charge::is_dynamic);
        let prices = self.keeping.keep_prices(prices);
        self.plans.get_mut(plan).thing.prices = prices;
        self.keeping.mark_plan(plan);
    }

    /// Puts a plan and its metrics together; `charges` are the charges' numbers and generations.
    fn price_list(&self, plan: Arc<Plan>, charges: &[(u32, u8)]) -> PriceList {
        let lines = plan.charges.iter().zip(charges).map(|(charge, (number, generation))| {
            let metric_number = self.metrics.find(&charge.metric).expect("a plan's metrics are there");
            let metric = self.metrics.get(metric_number).thing.clone();
            PricedCharge { number: *number, metric, metric_number, generation: *generation }
        });
        let lines: Vec<PricedCharge> = lines.collect();
        let metrics = lines.iter().map(|line| self.metrics.get(line.metric_number).source.clone()).collect();
        let place = self.plans.find(&plan.code).expect("a price list's plan is known");
        let sources = Sources { plan: self.plans.get(place).source.clone(), metrics };
        PriceList { version: 0, sources, lines, plan }
    }

    fn adopt_customer(&mut self, record: CustomerRecord) {
        let code = record.terms.entity.as_deref().unwrap_or(Entity::DEFAULT);
        let entity = self.entities.find(code).expect("a customer's entity is there");
        let CustomerRecord { external_id, name, terms } = record;
        let (name, terms) = (name.map(EcoString::from), self.terms.share(terms));
        match self.customers.find(&external_id) {
            Some(number) => {
                let customer = self.customers.get_mut(number);
                customer.belong_to(entity);
                customer.call(name);
                (customer.is_removed, customer.terms) = (false, terms);
            }
            None => {
                let mut customer = Customer::new(external_id.into(), terms, entity);
                customer.call(name);
                self.customers.add(customer);
            }
        }
    }

    fn adopt_subscription(&mut self, record: SubscriptionRecord) {
        match self.subscriptions.find(&record.external_id) {
            Some(number) => self.change_subscription(number, record),
            None => self.add_subscription(record),
        }
    }

    fn add_subscription(&mut self, record: SubscriptionRecord) {
        let customer = self.customers.find(&record.customer).expect("a subscription's customer is there");
        let plan = self.plans.find(&record.plan).expect("a subscription's plan is there");
        let started_at = record.started_at.unwrap_or(self.now);
        let anchor = Anchor {
            started_at,
            date: Date::of(started_at, self.zone_of(customer)),
            billing_time: record.billing_time.unwrap_or(BillingTime::Calendar),
        };
        let asked = Asked::of(&record, plan);
        let dates = (record.ended_at, record.effective_at);
        let (external_id, customer_id) = (record.external_id, record.customer);
        let mut subscription = Subscription {
            external_id: external_id.as_str().into(),
            customer,
            is_removed: false,
            asked,
            anchor,
            life: Life::NotBegun,
            plan,
            wants_opening: false,
            windows: Box::default(),
            next_ordinal: 0,
            first_rule: None,
            rare: Rare::default(),
        };
        subscription.ask(dates, dates.0, None);
        let number = self.subscriptions.add(subscription);
        self.customers.get_mut(customer).subscriptions.push(number);
        // Periods are opened first, then parked usage finds them, and only then is anything announced (R38).
        if started_at <= self.now {
            self.open_windows(number);
        }
        self.schedule(started_at, Due::Begin(number));
        self.attribute_parked(&external_id, &customer_id);
    }

    fn change_subscription(&mut self, number: u32, record: SubscriptionRecord) {
        let plan = self.plans.find(&record.plan).expect("a subscription's plan is there");
        let now = self.now;
        let subscription = self.subscriptions.get_mut(number);
        let at = record.effective_at.unwrap_or(now).max(now);
        subscription.asked = Asked::of(&record, plan);
        let change = (plan != subscription.plan).then_some(PlanChange { at, plan });
        subscription.ask(
            (record.ended_at, record.effective_at),
            record.ended_at.map(|end| end.max(now)),
            change,
        );
        if subscription.life == Life::NotBegun {
            // Before the beginning there is no period to cut: a change by then is the plan to begin with.
            if let Some(change) = change.filter(|change| change.at <= subscription.anchor.started_at) {
                subscription.plan = change.plan;
                subscription.rare.change = None;
            }
            self.refuse_ahead_of_end(number);
        } else {
            self.recut(number);
        }
        let subscription = self.subscriptions.get(number);
        let (name, customer) = (subscription.external_id.clone(), subscription.customer);
        let customer = self.customers.get(customer).external_id.clone();
        self.attribute_parked(&name, &customer);
    }

    /// Usage that was taken ahead of a subscription which will never reach it has no period.
    fn refuse_ahead_of_end(&mut self, number: u32) {
        let subscription = self.subscriptions.get_mut(number);
        if subscription.rare.ends_at.is_none_or(|end| end > subscription.anchor.started_at) {
            return;
        }
        for held in std::mem::take(&mut subscription.rare.ahead) {
            self.refuse_ahead(held);
        }
    }

    // --- Removal ------------------------------------------------------------------------------------------------------

    fn remove(&mut self, name: &Name) {
        match name.kind {
            Kind::Settings => {}
            Kind::Entity if name.code == Entity::DEFAULT => {}
            Kind::Entity => {
                if let Some(place) = self.entities.find(&name.code) {
                    self.entities.get_mut(place).is_removed = true;
                    self.keeping.mark_entity(place);
                }
            }
            Kind::Tax => {
                if let Some(place) = self.taxes.find(&name.code) {
                    self.taxes.get_mut(place).is_removed = true;
                    self.keeping.mark_tax(place);
                }
            }
            Kind::Metric => {
                if let Some(place) = self.metrics.find(&name.code) {
                    self.metrics.get_mut(place).is_removed = true;
                    self.keeping.mark_metric(place);
                }
            }
            Kind::Plan => {
                if let Some(place) = self.plans.find(&name.code) {
                    self.plans.get_mut(place).is_removed = true;
                    self.keeping.mark_plan(place);
                }
            }
            Kind::Customer => {
                let Some(number) = self.customers.find(&name.code) else { return };
                self.customers.get_mut(number).is_removed = true;
                let subscriptions = self.customers.get(number).subscriptions.clone();
                for subscription in subscriptions.iter().copied() {
                    self.end_now(subscription);
                }
            }
            Kind::Subscription => {
                if let Some(number) = self.subscriptions.find(&name.code) {
                    self.subscriptions.get_mut(number).is_removed = true;
                    self.end_now(number);
                }
            }
        }
    }

    fn end_now(&mut self, number: u32) {
        let now = self.now;
        let subscription = self.subscriptions.get_mut(number);
        if subscription.has_ended(now) {
            return;
        }
        if subscription.life == Life::NotBegun {
            return self.leave_nothing(number);
        }
        subscription.rare.ends_at = Some(now);
        subscription.rare.change = None;
        self.recut(number);
    }

    /// A subscription that hasn't begun goes without a trace; its name is free again.
    fn leave_nothing(&mut self, number: u32) {
        let subscription = self.subscriptions.get_mut(number);
        let (customer, external_id) = (subscription.customer, subscription.external_id.clone());
        subscription.anchor.started_at = Instant::MAX;
        subscription.rare.ends_at = Some(Instant::MIN);
        let ahead = std::mem::take(&mut subscription.rare.ahead);
        self.subscriptions.forget_name(&external_id);
        self.customers.get_mut(customer).subscriptions.retain(|other| *other != number);
        for held in ahead {
            self.refuse_ahead(held);
        }
    }

    pub(super) fn money_mut(&mut self, customer: u32) -> &mut Money {
        self.customers.get_mut(customer).rare.money.get_or_insert_default()
    }
}

fn immutable(pointer: Option<String>) -> Result<(), Fault> {
    pointer.map_or(Ok(()), |pointer| Err(Fault::new("immutable", pointer)))
}

type Misfit = (&'static str, &'static str);

/// A currency that both sides give has to be the same.
fn check_currency(customer: &CustomerTerms, plan: &Plan) -> Result<(), Misfit> {
    match (customer.currency, plan.currency) {
        (Some(own), Some(other)) if own != other => Err(("currency_mismatch", "/currency")),
        _ => Ok(()),
    }
}

/// A customer's own grace has to be shorter than the plan's period.
fn check_grace(customer: &CustomerTerms, plan: &Plan) -> Result<(), Misfit> {
    match customer.grace {
        Some(grace) if !plan.interval.fits(grace) => {
            Err(("grace_not_shorter_than_period", "/invoice_grace_period"))
        }
        _ => Ok(()),
    }
}

fn check_together(customer: &CustomerTerms, plan: &Plan, currency: &str, grace: &str) -> Result<(), Fault> {
    check_currency(customer, plan).map_err(|(reason, _)| Fault::new(reason, currency))?;
    check_grace(customer, plan).map_err(|(reason, _)| Fault::new(reason, grace))
}
