//! The records of customers and subscriptions, put together again from what is kept of them.

use super::books::{Asked, Books, Customer, PlanChange, Subscription};
use super::instant::Instant;
use crate::catalog::customer::{CustomerRecord, SubscriptionRecord};

impl Customer {
    /// The record in force.
    pub(super) fn record(&self) -> CustomerRecord {
        CustomerRecord {
            external_id: self.external_id.to_string(),
            name: self.name().map(|name| name.to_string()),
            terms: (*self.terms).clone(),
        }
    }
}

impl Asked {
    /// What a record asks for whose plan has that number.
    pub(super) fn of(record: &SubscriptionRecord, plan: u32) -> Asked {
        Asked { plan, billing_time: record.billing_time, says_start: record.started_at.is_some() }
    }
}

impl Subscription {
    /// Takes the dates that its record asks for, and what comes of them.
    pub(super) fn ask(
        &mut self,
        dates: (Option<Instant>, Option<Instant>),
        ends_at: Option<Instant>,
        change: Option<PlanChange>,
    ) {
        let known = (self.rare.asked_dates, self.rare.ends_at, self.rare.change);
        if known != (dates, ends_at, change) {
            (self.rare.asked_dates, self.rare.ends_at, self.rare.change) = (dates, ends_at, change);
        }
    }
}

impl Books {
    /// The record in force of a subscription.
    pub(super) fn record_of(&self, subscription: &Subscription) -> SubscriptionRecord {
        let asked = &subscription.asked;
        let (ended_at, effective_at) = subscription.rare.asked_dates;
        SubscriptionRecord {
            external_id: subscription.external_id.to_string(),
            customer: self.customers.get(subscription.customer).external_id.to_string(),
            plan: self.prices_of(asked.plan).plan.code.clone(),
            billing_time: asked.billing_time,
            started_at: asked.says_start.then_some(subscription.anchor.started_at),
            ended_at,
            effective_at,
        }
    }
}
