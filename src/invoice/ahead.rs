//! Usage that is decided before duties that are due are all done.
//!
//! Where a great many drafts are due at one instant they are finalized by and by, and usage goes on meanwhile. Its
//! arrival decides, not how far the work has come: it is taken where nothing of its own subscription is still to be done
//! by then, and nobody is to be told of it. So it makes no difference whether it is decided now or in its turn.

use super::attribute::{Fate, Owner};
use super::books::{Books, CommandRecord, Draft, Life, UsageRecord};
use super::document::InvoiceId;
use super::instant::{Instant, Span};
use crate::catalog::json::Json;
use crate::planted::{self, Bug};

/// What becomes of usage ahead of its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// It is decided.
    Taken,
    /// It waits for something of this subscription, and what follows of the subscription waits with it.
    Waits(u32),
    /// It waits, and what follows under the same name does too: nobody knows whose it is.
    Unowned,
    /// It is refused in its turn, whatever else comes.
    Refused,
}

impl Books {
    /// Decides usage that arrives at `at`, if it can be decided by now. `is_held_up` says of a subscription and its
    /// customer whether something that came before and touches it waits.
    pub fn decide_ahead(
        &mut self,
        at: Instant,
        record: &UsageRecord<'_>,
        is_held_up: impl Fn(u32, u32) -> bool,
    ) -> Ahead {
        let told = self.notices.len();
        let now = std::mem::replace(&mut self.now, at);
        let ahead = self.look_ahead(record, is_held_up);
        if ahead == Ahead::Taken {
            self.take_usage(record);
        }
        self.now = now;
        assert_eq!(self.notices.len(), told, "usage that is decided ahead of its turn sends nothing");
        ahead
    }

    /// The customers whose usage a command may touch; `None` if nobody knows before all that is due has been done.
    pub fn touched_by(&self, record: &CommandRecord<'_>) -> Option<Vec<u32>> {
        let Some(json) = &record.command.json else { return Some(Vec::new()) };
        let invoice = json.get("invoice_id").and_then(Json::as_text).and_then(InvoiceId::parse);
        if invoice.is_some_and(|id| self.bills.find(id).is_none()) {
            return None;
        }
        let of_event = match &record.command.event {
            Some(Ok(event)) => self.subscriptions.find(event.whose_name()),
            _ => None,
        };
        let (customer, _) = self.customer_of(json, record);
        let of_event = of_event.map(|number| self.subscriptions.get(number).customer);
        Some(self.customers.find(&customer).into_iter().chain(of_event).collect())
    }

    fn look_ahead(&self, record: &UsageRecord<'_>, is_held_up: impl Fn(u32, u32) -> bool) -> Ahead {
        let Ok(event) = &record.event else { return Ahead::Refused };
        let is_too_large = record.value.is_some_and(|value| value.len() > self.settings.max_event_bytes);
        let metric = self.metrics.find(&event.code).map(|place| self.metrics.get(place));
        let Some(metric) = metric.filter(|_| !is_too_large) else { return Ahead::Refused };
        let happened_at = event.happened_at.unwrap_or(self.now);
        let is_in_time =
            (self.horizon()..=self.now.plus(self.settings.future_limit.exact())).contains(&happened_at);
        if !is_in_time {
            return Ahead::Refused;
        }
        let owner = self.owner(event, happened_at);
        let is_sound = self.check_values(event, &metric.thing, &owner, happened_at).is_ok();
        let Owner::Subscription(number) = owner else { return Ahead::Unowned };
        // Whether a plan still names a metric that was removed, and asks for a price, depends on what is still to be done.
        if metric.is_removed || !is_sound {
            return Ahead::Waits(number);
        }
        let customer = self.subscriptions.get(number).customer;
        if is_held_up(number, customer) || self.has_due(number) || self.refuses(number, happened_at) {
            return Ahead::Waits(number);
        }
        // What it makes due at once would come before what has been due for longer.
        if self.settings.refresh_interval.exact() == Span(0) {
            return Ahead::Waits(number);
        }
        let hash = self.hash_of(record, event, &owner).expect("it is known whose it is");
        match self.fate_by_id(hash, event) {
            None | Some(Fate::Duplicate) => Ahead::Taken,
            Some(_) => Ahead::Waits(number),
        }
    }

    /// Whether anything of a subscription that matters to its usage is still to be done by now.
    fn has_due(&self, number: u32) -> bool {
        if planted::is(Bug::AheadByState) {
            return false;
        }
        let subscription = self.subscriptions.get(number);
        let begins = subscription.life == Life::NotBegun && subscription.anchor.started_at <= self.now;
        begins
            || subscription.wants_opening
            || subscription.windows.iter().any(|window| match window.bill() {
                None => !window.is_sealed() && window.to <= self.now,
                Some(bill) => {
                    self.draft(bill).is_some_and(|draft| draft.has_due(self.now) || self.is_to_follow(bill))
                }
            })
    }

    /// Whether a subscription that has nothing to be done takes no usage of that time.
    fn refuses(&self, number: u32, at: Instant) -> bool {
        let subscription = self.subscriptions.get(number);
        if at < subscription.anchor.started_at || subscription.rare.ends_at.is_some_and(|end| at >= end) {
            return true;
        }
        let window = subscription.holder(at).and_then(|ordinal| subscription.window(ordinal));
        match window {
            None => at <= self.now,
            Some(window) => window.is_sealed() && subscription.carrier().is_none(),
        }
    }
}

impl Draft {
    fn has_due(&self, now: Instant) -> bool {
        self.is_to_be_told || self.finalizes_at <= now || self.refresh_at().is_some_and(|at| at <= now)
    }
}
