//! Usage that is taken back (R96).

use super::attribute::{Checked, short};
use super::books::{Books, Window};
use super::command::{CONTENT_MISMATCH, INVOICE_NOT_DRAFT, MALFORMED, NOT_SUPPORTED, Reason, UNKNOWN_EVENT};
use super::counting;
use super::ids::{HeldId, IdState, LateAs};
use super::usage::{UsageEvent, Whose, id_hash};
use crate::catalog::metric::Aggregation;

impl Books {
    /// Takes an event back as if it had never come; its id stays held. The draft whose document that may change, or why
    /// it can't be done.
    pub(super) fn cancel(&mut self, event: &UsageEvent<'_>) -> Result<Option<u32>, Reason> {
        let (Some(id), Whose::Subscription(name)) = (&event.id, &event.whose) else { return Err(MALFORMED) };
        let hash = id_hash(name, id);
        let held = self
            .ids
            .get(hash, self.horizon())
            .filter(|held| held.state == IdState::Held)
            .ok_or(UNKNOWN_EVENT)?;
        if held.content != short(event.content) {
            return Err(CONTENT_MISMATCH);
        }
        let checked = self.checked_again(event, &held).ok_or(UNKNOWN_EVENT)?;
        let bill = if let Some(number) = self.parked_number(hash, name) {
            checked.refuse_fleeting()?;
            self.unpark(number);
            self.fates.parked -= 1;
            None
        } else {
            let number = self.subscriptions.find(name).ok_or(UNKNOWN_EVENT)?;
            self.cancel_billed(number, hash, &held, &checked)?
        };
        self.fates.cancelled += 1;
        self.put_id(hash, &held.turned(IdState::Cancelled));
        Ok(bill)
    }

    fn checked_again<'a>(&self, event: &'a UsageEvent<'a>, held: &HeldId) -> Option<Checked<'a>> {
        let metric = self.metrics.get(self.metrics.find(&event.code)?).thing.clone();
        let nobody = super::attribute::Owner::Several;
        let reading = self.check_values(event, &metric, &nobody, held.happened_at).ok()?;
        Some(Checked { event, metric, reading, happened_at: held.happened_at, arrived_at: self.now })
    }

    fn parked_number(&self, hash: u64, name: &str) -> Option<u64> {
        let numbers = self.parked_for.get(name)?;
        numbers.iter().copied().find(|number| self.parked[number].id_hash == hash)
    }

    fn cancel_billed(
        &mut self,
        number: u32,
        hash: u64,
        held: &HeldId,
        checked: &Checked<'_>,
    ) -> Result<Option<u32>, Reason> {
        let subscription = self.subscriptions.get(number);
        if let Some(place) = subscription.rare.ahead.iter().position(|ahead| ahead.id_hash == hash) {
            self.refuse_percentage(checked, subscription.plan_at(held.happened_at))?;
            self.subscriptions.get_mut(number).rare.ahead.remove(place);
            self.fates.billed -= 1;
            return Ok(None);
        }
        let ordinal = self.open_place(number, held).ok_or(INVOICE_NOT_DRAFT)?;
        match held.late {
            None => {
                self.refuse_percentage(checked, self.plan_of(number, ordinal))?;
                self.remove_from(number, ordinal, checked, held);
                self.fates.billed -= 1;
            }
            Some(late) => {
                self.cancel_late(number, ordinal, late, held, checked)?;
                self.fates.late -= 1;
            }
        }
        let window = self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is open");
        if !window.rare.fresh.is_empty() {
            window.rare.fresh.retain(|fresh| fresh.id_hash != hash);
        }
        Ok(window.bill())
    }

    /// The place of the window whose invoice the event is on, if that can still change.
    fn open_place(&self, number: u32, held: &HeldId) -> Option<u32> {
        let subscription = self.subscriptions.get(number);
        let holder = subscription.holder(held.happened_at);
        let is_open = |window: &&Window| !window.is_sealed();
        let Some(late) = held.late else {
            // A period may have been cut under it: then it is on an earlier one than the one that holds its time.
            let last = holder.or(subscription.windows.last().map(|last| last.ordinal))?;
            return subscription
                .window(held.last_place_up_to(last)?)
                .filter(is_open)
                .map(|window| window.ordinal);
        };
        let from = subscription.window(holder?)?.period.from;
        let carries = |window: &&Window| {
            window.rare.carries.iter().any(|carried| carried.from == from && carried.events() > 0)
        };
        let is_on = |window: &&Window| held.is_on(window.ordinal, late);
        subscription.windows.iter().filter(is_open).filter(carries).find(is_on).map(|window| window.ordinal)
    }

    fn cancel_late(
        &mut self,
        number: u32,
        carrier: u32,
        late: LateAs,
        held: &HeldId,
        checked: &Checked<'_>,
    ) -> Result<(), Reason> {
        let subscription = self.subscriptions.get(number);
        let original =
            subscription.holder(held.happened_at).expect("late usage is of a period that is known");
        match late {
            LateAs::Increment => {
                let sealing = subscription.window(original).and_then(|window| window.rare.sealed.as_ref());
                let charges = &sealing.expect("late usage is of a sealed period").prices.plan.charges;
                checked.refuse_percentage_among(charges)?;
                self.remove_increment(number, original, checked);
            }
            LateAs::NextPeriod => {
                self.refuse_percentage(checked, self.plan_of(number, carrier))?;
                self.remove_from(number, carrier, checked, held);
            }
        }
        let subscription = self.subscriptions.get_usage_mut(number);
        let original = subscription.window(original).expect("it was just seen");
        let (from, to) = (original.period.from, original.to);
        subscription.window_mut(carrier).expect("the carrier is open").carried(from, to).count(checked, -1);
        Ok(())
    }

    fn plan_of(&self, number: u32, ordinal: u32) -> u32 {
        self.subscriptions.get(number).window(ordinal).expect("the window is open").plan
    }

    fn refuse_percentage(&self, checked: &Checked<'_>, plan: u32) -> Result<(), Reason> {
        checked.refuse_percentage_among(&self.prices_of(plan).plan.charges)
    }

    fn remove_from(&mut self, number: u32, ordinal: u32, checked: &Checked<'_>, held: &HeldId) {
        let prices = self.prices_of(self.plan_of(number, ordinal)).clone();
        let now = self.now;
        let window =
            self.subscriptions.get_usage_mut(number).window_mut(ordinal).expect("the window is open");
        let time = window.time(checked.happened_at, now);
        counting::remove(&mut window.usage, &prices, Some(held.generation), checked, time);
    }

    fn remove_increment(&mut self, number: u32, original: u32, checked: &Checked<'_>) {
        let now = self.now;
        let window =
            self.subscriptions.get_usage_mut(number).window_mut(original).expect("the window is known");
        let time = window.time(checked.happened_at, now);
        let sealing = window.rare.sealed.as_mut().expect("late usage is of a sealed period");
        let prices = sealing.prices.clone();
        if let Some(usage) = &mut sealing.with_late {
            counting::remove(usage, &prices, None, checked, time);
        }
    }
}

impl Checked<'_> {
    /// What came before a maximum or a latest value isn't known any more.
    fn refuse_fleeting(&self) -> Result<(), Reason> {
        let is_fleeting = matches!(self.metric.aggregation, Aggregation::Max | Aggregation::Latest);
        if is_fleeting { Err(NOT_SUPPORTED) } else { Ok(()) }
    }

    /// The free part of a percentage charge was used up in the order of arrival.
    fn refuse_percentage_among(&self, charges: &[crate::catalog::plan::Charge]) -> Result<(), Reason> {
        self.refuse_fleeting()?;
        let is_percentage =
            charges.iter().any(|charge| charge.is_percentage() && charge.metric == self.metric.code);
        if is_percentage { Err(NOT_SUPPORTED) } else { Ok(()) }
    }
}
