//! What is told of usage that came late: what an invoice carried of earlier periods, and what nobody can be billed for.

use super::aggregate::Reading;
use super::attribute::Checked;
use super::books::{
    BillKind, Books, Carried, Due, MetricUse, MetricUses, News, Unbillable, UnbillableKey, Window,
};
use super::digest::invoice_id;
use super::instant::Instant;
use super::notice::{Event, Notice};
use super::quantity::Quantity;
use super::write::Object;
use crate::catalog::metric::{Aggregation, Metric};

impl Books {
    /// Tells of the late usage that an invoice carried, once for each original period (R65).
    pub(super) fn report_late(&mut self, number: u32) {
        let bill = &self.bills[number];
        let Some((_, window)) = self.window_of(bill) else { return };
        if !matches!(bill.kind, BillKind::Period { .. }) {
            return;
        }
        let mut carries: Vec<Carried> =
            window.rare.carries.iter().filter(|carried| carried.events() > 0).cloned().collect();
        carries.sort_by_key(|carried| carried.from);
        let document =
            &self.sealed(number).expect("late usage is reported when its invoice is sealed").document;
        let (customer, subscription) = (document.customer.clone(), document.subscription.clone());
        let id = bill.id;
        for carried in carries {
            let notice_id = format!("{id}_late_{}", carried.from.0);
            let write = |out: &mut Vec<u8>| {
                carried.write_to(
                    Some(&id.to_string()),
                    &customer,
                    subscription.as_deref().unwrap_or_default(),
                    out,
                );
            };
            let notice = Notice::webhook(
                self.now,
                Event::UsageLate,
                self.settings.dialect,
                notice_id,
                &customer,
                write,
            );
            match self.sealed_mut(number).and_then(|sealed| sealed.awaits.as_mut()) {
                Some(awaits) => awaits.news.push(News::Usage(notice)),
                None => self.notices.push(notice),
            }
        }
    }

    pub(super) fn report_unbillable(&mut self, key: UnbillableKey) {
        if self.unbillable.get(&key).is_none_or(|unbillable| self.report_is_due_at(unbillable) > self.now) {
            return;
        }
        let Unbillable { mut carried, .. } = self.unbillable.remove(&key).expect("it was just seen");
        // The period may have been cut since.
        carried.to = self.period_at(key.subscription, key.from).map_or(carried.to, |(_, to)| to);
        let subscription = self.subscriptions.get_mut(key.subscription);
        subscription.rare.unbillable_reports += 1;
        let of_period = invoice_id(&subscription.external_id, key.from, false);
        let id = format!("{of_period}_unbillable_{}", subscription.rare.unbillable_reports);
        let customer = self.customers.get(subscription.customer).external_id.clone();
        let name = subscription.external_id.clone();
        let write = |out: &mut Vec<u8>| carried.write_to(None, &customer, &name, out);
        let notice =
            Notice::webhook(self.now, Event::UsageUnbillable, self.settings.dialect, id, &customer, write);
        self.notices.push(notice);
    }

    /// Usage was refused that lies in a period of a known subscription (R65).
    pub(super) fn note_unbillable(&mut self, number: u32, checked: &Checked<'_>) {
        let Some((from, to)) = self.period_at(number, checked.happened_at) else { return };
        let key = UnbillableKey { subscription: number, from };
        if !self.unbillable.contains_key(&key) {
            let carried = Carried { from, to, metrics: Default::default() };
            let unbillable = Unbillable { since: checked.arrived_at, carried };
            self.schedule(self.report_is_due_at(&unbillable), Due::Unbillable(number, from));
            self.unbillable.insert(key, unbillable);
        }
        self.unbillable.get_mut(&key).expect("it is there by now").carried.count(checked, 1);
    }

    /// The interval that is in force now counts, also for what was noted before it was set.
    pub(super) fn report_is_due_at(&self, unbillable: &Unbillable) -> Instant {
        unbillable.since.plus(self.settings.refresh_interval.exact())
    }
}

impl Carried {
    pub(super) fn count(&mut self, checked: &Checked<'_>, sign: i64) {
        let used = self.metrics.of(&checked.metric);
        used.events = used.events.saturating_add_signed(sign);
        if let Some(units) = &mut used.units {
            let value = match &checked.reading {
                Reading::Quantity(value) => value.0,
                _ => Quantity::ONE.0,
            };
            units.0 = units.0.saturating_add(value * i128::from(sign));
        }
    }

    pub(super) fn events(&self) -> u64 {
        self.metrics.0.iter().map(|(_, used)| used.events).sum()
    }

    fn write_to(&self, invoice: Option<&str>, customer: &str, subscription: &str, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        object.optional_text("invoice_id", invoice);
        object.text("external_customer_id", customer);
        object.text("external_subscription_id", subscription);
        object.instant("period_from", Some(self.from));
        object.instant("period_to", Some(self.to));
        object.number("events_count", self.events());
        let out = object.member("charges");
        out.push(b'[');
        for (index, (code, used)) in self.metrics.0.iter().filter(|(_, used)| used.events > 0).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let mut charge = Object::open(out);
            charge.text("billable_metric_code", code);
            charge.number("events_count", used.events);
            match used.units {
                None => charge.optional_text("units", None),
                Some(units) => charge.quoted("units", |out| units.write_to(out)),
            }
            charge.close();
        }
        out.push(b']');
        object.close();
    }
}

impl MetricUses {
    fn of(&mut self, metric: &Metric) -> &mut MetricUse {
        let code = metric.code.as_str();
        let place = match self.0.binary_search_by(|(other, _)| other.as_str().cmp(code)) {
            Ok(place) => place,
            Err(place) => {
                let is_summed = matches!(metric.aggregation, Aggregation::Count | Aggregation::Sum);
                let unused = MetricUse { events: 0, units: is_summed.then(Quantity::default) };
                self.0.reserve_exact(1);
                self.0.insert(place, (code.into(), unused));
                place
            }
        };
        &mut self.0[place].1
    }
}

impl Window {
    /// What this window's invoice carries of an earlier period.
    pub(super) fn carried(&mut self, from: Instant, to: Instant) -> &mut Carried {
        let place = match self.rare.carries.iter().position(|carried| carried.from == from) {
            Some(place) => place,
            None => {
                self.rare.carries.reserve_exact(1);
                self.rare.carries.push(Carried { from, to, metrics: Default::default() });
                self.rare.carries.len() - 1
            }
        };
        &mut self.rare.carries[place]
    }
}
