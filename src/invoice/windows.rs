//! A subscription's periods as they open, are cut short, and follow each other.

use chrono_tz::Tz;

use super::books::{BillKind, Books, Era, Frame, Held, Life, PlanChange, Prepaid, Subscription, Window};
use super::digest::invoice_id;
use super::figures::base_fee;
use super::instant::{Instant, Span};
use super::period::{Anchor, End, Period};
use crate::planted::{self, Bug};

impl Books {
    /// The start of a subscription: its first period runs, and its opening invoice is made.
    pub(super) fn begin(&mut self, number: u32) {
        if self.subscriptions.get(number).life == Life::NotBegun {
            if self.subscriptions.get(number).anchor.started_at > self.now {
                return;
            }
            self.open_windows(number);
        }
        let subscription = self.subscriptions.get_mut(number);
        if !std::mem::take(&mut subscription.wants_opening) {
            return;
        }
        let (customer, first) = (subscription.customer, subscription.windows.first());
        let Some((ordinal, from)) = first.map(|window| (window.ordinal, window.period.from)) else { return };
        let id = invoice_id(&subscription.external_id, from, true);
        let bill = self.add_bill(id, customer, BillKind::Opening { subscription: number, ordinal });
        self.make_draft(bill);
    }

    /// Opens every period up to now that can still take usage (R37).
    pub(super) fn open_windows(&mut self, number: u32) {
        let horizon = self.horizon();
        let zone = self.zone_of(self.subscriptions.get(number).customer);
        let subscription = self.subscriptions.get_mut(number);
        subscription.life = Life::Running;
        let (anchor, plan) = (subscription.anchor, subscription.plan);
        if subscription.rare.ends_at.is_some_and(|end| end <= anchor.started_at) {
            subscription.life = Life::Ended;
            return;
        }
        let interval = self.prices_of(plan).plan.interval;
        let first = Period::first(&anchor, interval, zone);
        self.subscriptions.get_mut(number).first_rule = Some((plan, zone));
        let mut period = first.near(&anchor, interval, horizon.minus(Span(1)), zone);
        loop {
            let (to, end) = self.subscriptions.get(number).bounds(&period);
            if to >= horizon {
                self.push_window(number, period, plan);
            }
            let is_over = matches!(end, End::Termination(_)) || to > self.now;
            if is_over || to == Instant::MAX {
                break;
            }
            period = period.following(&anchor, interval, zone);
        }
        let Some(oldest) = self.subscriptions.get(number).windows.first() else {
            self.subscriptions.get_mut(number).life = Life::Ended;
            return;
        };
        let prepaid = self.first_prepaid(number, oldest);
        let subscription = self.subscriptions.get_mut(number);
        subscription.wants_opening = prepaid == Prepaid::OnDraft;
        subscription.windows.first_mut().expect("it was just seen").prepay(prepaid);
        self.place_ahead(number);
    }

    /// What is paid of the first window before its own invoice: the opening invoice bills it, if there is one. An imported
    /// subscription's base fee up to here was billed elsewhere, as it was planned (R37).
    fn first_prepaid(&self, number: u32, window: &Window) -> Prepaid {
        let subscription = self.subscriptions.get(number);
        let plan = &self.prices_of(window.plan).plan;
        if !plan.pay_in_advance {
            return Prepaid::Nothing;
        }
        if window.period.from == subscription.anchor.started_at {
            return Prepaid::OnDraft;
        }
        let share = window.period.share(plan.interval, window.end, self.zone_of(subscription.customer));
        Prepaid::Cents(base_fee(plan, share, self.exponent_of(subscription.customer, plan)).cents)
    }

    fn push_window(&mut self, number: u32, period: Period, plan: u32) {
        let subscription = self.subscriptions.get_mut(number);
        let (to, end) = subscription.bounds(&period);
        let ordinal = subscription.next_ordinal;
        subscription.next_ordinal += 1;
        let frame = self.frames.share(Frame { period, to, end, plan, planned: None });
        subscription.add_window(Window::new(ordinal, frame));
        self.schedule_end(number, ordinal, to);
    }

    /// Opens what follows the last window, or ends the subscription with it.
    pub(super) fn open_next_window(&mut self, number: u32) {
        self.drop_old_windows(number);
        let subscription = self.subscriptions.get(number);
        let last = subscription.windows.last().expect("a running subscription has a window");
        let (last_period, end, from) = (last.period, last.end, last.to);
        if let End::Termination(_) = end {
            self.end_life(number);
            return;
        }
        let change = subscription.rare.change.filter(|change| change.at <= from);
        let plan = change.map_or(last.plan, |change| change.plan);
        let zone = self.zone_of(subscription.customer);
        let anchor = subscription.anchor;
        let interval = self.prices_of(plan).plan.interval;
        let period = match end {
            End::PlanChange(at) => last_period.after_cut(&anchor, interval, at, zone),
            _ => last_period.following(&anchor, interval, zone),
        };
        let subscription = self.subscriptions.get_mut(number);
        if change.is_some() {
            subscription.plan = plan;
            subscription.rare.change = None;
        }
        subscription.note_era(period, plan, zone);
        self.push_window(number, period, plan);
        self.place_ahead(number);
    }

    fn end_life(&mut self, number: u32) {
        let subscription = self.subscriptions.get_mut(number);
        subscription.life = Life::Ended;
        let ahead = std::mem::take(&mut subscription.rare.ahead);
        let ordinal = subscription.windows.last().expect("an ending subscription has a window").ordinal;
        for held in ahead {
            self.count_held(number, ordinal, held);
        }
        let customer = self.subscriptions.get(number).customer;
        let last =
            self.subscriptions.get(number).windows.last().expect("an ending subscription has a window");
        if last.is_void() {
            let sealing = self.sealing(customer, number, ordinal);
            let last = self.subscriptions.get_mut(number).windows.last_mut().expect("it was just seen");
            last.rare.sealed = Some(sealing);
        }
    }

    /// Gives usage that waited for its period to the window that holds it.
    fn place_ahead(&mut self, number: u32) {
        let subscription = self.subscriptions.get_mut(number);
        if subscription.rare.ahead.is_empty() {
            return;
        }
        let (held, waiting): (Vec<Held>, Vec<Held>) = std::mem::take(&mut subscription.rare.ahead)
            .into_iter()
            .partition(|held| subscription.holder(held.happened_at).is_some());
        subscription.rare.ahead = waiting;
        for held in held {
            let ordinal = self.subscriptions.get(number).holder(held.happened_at).expect("it was just found");
            self.count_held(number, ordinal, held);
        }
    }

    /// Drops sealed windows that no usage can reach any more.
    fn drop_old_windows(&mut self, number: u32) {
        let reach = self.reach();
        let is_old = |window: &Window| {
            window.to < reach && window.rare.sealed.as_ref().is_some_and(|sealing| sealing.carrier.is_none())
        };
        let windows = &self.subscriptions.get(number).windows;
        let old =
            windows.iter().take(windows.len().saturating_sub(1)).take_while(|window| is_old(window)).count();
        // An opening invoice that is still a draft shows the first period.
        if old > 0 && self.opening_of(number).is_none_or(|opening| self.draft(opening).is_none()) {
            self.subscriptions.get_mut(number).drop_windows(old);
        }
    }

    /// Bounds the running window anew after a change or an end became known, or was taken back.
    pub(super) fn recut(&mut self, number: u32) {
        let now = self.now;
        let subscription = self.subscriptions.get_mut(number);
        let Some(last) = subscription.windows.last().filter(|last| last.bill().is_none() && last.to >= now)
        else {
            return;
        };
        if let Some(change) = subscription.rare.change.filter(|change| change.at <= last.period.from) {
            self.replan(number, change);
        }
        let subscription = self.subscriptions.get_mut(number);
        let last = subscription.windows.last().expect("a running subscription has a window");
        let (to, end) = subscription.bounds(&last.period);
        let last = subscription.windows.last_mut().expect("a running subscription has a window");
        if (last.to, last.end) != (to, end) {
            last.end_at(to, end);
            let ordinal = last.ordinal;
            self.schedule_end(number, ordinal, to);
        }
        self.place_ahead(number);
    }

    /// A change of plan at a period's first instant is in force for all of it (R35a).
    fn replan(&mut self, number: u32, change: PlanChange) {
        let zone = self.zone_of(self.subscriptions.get(number).customer);
        let interval = self.prices_of(change.plan).plan.interval;
        let subscription = self.subscriptions.get_mut(number);
        subscription.rare.change = None;
        subscription.plan = change.plan;
        let anchor = subscription.anchor;
        let last = subscription.windows.last_mut().expect("a running subscription has a window");
        let period = last.period.replanned(&anchor, interval, zone);
        let fresh = std::mem::take(&mut last.rare.fresh);
        last.usage = Default::default();
        let ordinal = last.ordinal;
        subscription.note_era(period, change.plan, zone);
        let (to, end) = subscription.bounds(&period);
        let last = subscription.windows.last_mut().expect("a running subscription has a window");
        last.frame = self.frames.share(Frame { period, to, end, plan: change.plan, planned: None });
        self.schedule_end(number, ordinal, to);
        for held in fresh {
            self.count_held(number, ordinal, held);
        }
    }

    /// The invoice that opened a subscription, if it is at hand.
    pub(super) fn opening_of(&self, number: u32) -> Option<u32> {
        let subscription = self.subscriptions.get(number);
        self.bills.find(invoice_id(&subscription.external_id, subscription.anchor.started_at, true))
    }
}

impl Subscription {
    /// Where a period ends: at its boundary, or at the change or the end that comes before.
    pub fn bounds(&self, period: &Period) -> (Instant, End) {
        let (mut to, mut end) = (period.boundary, End::Boundary);
        if let Some(change) = self.rare.change.filter(|change| change.at < to && change.at > period.from) {
            (to, end) = (change.at, End::PlanChange(change.at));
        }
        if let Some(at) = self.rare.ends_at.filter(|at| *at <= to) {
            let at = at.max(period.from);
            (to, end) = (at, End::Termination(at));
        }
        (to, end)
    }

    /// The window whose period contains that instant.
    pub fn holder(&self, at: Instant) -> Option<u32> {
        let begins = if planted::is(Bug::PeriodEndIsClosed) { at.minus(Span(1)) } else { at };
        let behind = self.windows.partition_point(|window| window.period.from <= begins);
        let window = self.windows.get(behind.checked_sub(1)?)?;
        window.contains(at).then_some(window.ordinal)
    }

    pub fn has_ended(&self, now: Instant) -> bool {
        self.rare.ends_at.is_some_and(|end| end <= now)
    }

    /// Windows take the room of what they are.
    fn add_window(&mut self, window: Window) {
        let mut windows = std::mem::take(&mut self.windows).into_vec();
        windows.reserve_exact(1);
        windows.push(window);
        self.windows = windows.into();
    }

    fn note_era(&mut self, first: Period, plan: u32, zone: Tz) {
        // One plan on both sides of a cut doesn't undo the cut.
        let is_again = self.rare.eras.pop_if(|era| era.first.from == first.from).is_some();
        if self.rare.eras.is_empty() && self.anchor.started_at == first.from {
            self.first_rule = None;
        }
        let rule = self.rare.eras.last().map(|era| (era.plan, era.zone)).or(self.first_rule);
        if is_again || rule != Some((plan, zone)) {
            self.rare.eras.push(Era { first, plan, zone });
        }
    }

    fn drop_windows(&mut self, count: usize) {
        let mut windows = std::mem::take(&mut self.windows).into_vec();
        windows.drain(..count);
        self.windows = windows.into();
    }

    /// The plan in force at an instant, as far as it is known.
    pub fn plan_at(&self, at: Instant) -> u32 {
        if let Some(change) = self.rare.change.filter(|change| change.at <= at) {
            return change.plan;
        }
        let eras = &self.rare.eras;
        let first = self.first_rule.map(|(plan, _)| plan).or(eras.first().map(|era| era.plan));
        let era = eras.iter().rev().find(|era| era.first.from <= at).map(|era| era.plan);
        era.or(first).unwrap_or(self.plan)
    }
}

impl Books {
    /// Where stretches of a subscription's periods begin that follow one rule.
    pub(super) fn eras_of(&self, subscription: &Subscription) -> Vec<Era> {
        let first = subscription.first_rule.map(|rule| self.first_era(&subscription.anchor, rule));
        first.into_iter().chain(subscription.rare.eras.iter().copied()).collect()
    }

    fn first_era(&self, anchor: &Anchor, (plan, zone): (u32, Tz)) -> Era {
        Era { first: Period::first(anchor, self.prices_of(plan).plan.interval, zone), plan, zone }
    }

    /// The bounds of the period of a subscription that contains an instant, however long ago.
    pub(super) fn period_at(&self, number: u32, at: Instant) -> Option<(Instant, Instant)> {
        let subscription = self.subscriptions.get(number);
        if let Some(window) = subscription.holder(at).and_then(|ordinal| subscription.window(ordinal)) {
            return Some((window.period.from, window.to));
        }
        let eras = self.eras_of(subscription);
        let place = eras.iter().rposition(|era| era.first.from <= at)?;
        let era = &eras[place];
        let until = eras.get(place + 1).map(|next| next.first.from).or(subscription.rare.ends_at);
        if until.is_some_and(|until| at >= until) {
            return None;
        }
        let interval = self.prices_of(era.plan).plan.interval;
        let mut period = era.first.near(&subscription.anchor, interval, at, era.zone);
        // Behind the end of time there is no boundary.
        while period.boundary <= at && period.boundary < Instant::MAX {
            period = period.following(&subscription.anchor, interval, era.zone);
        }
        Some((period.from, until.map_or(period.boundary, |until| until.min(period.boundary))))
    }
}
