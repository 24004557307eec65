//! What comes with time: periods end, drafts are finalized, invoices become overdue.
//!
//! Everything due at one instant happens in one order (R13), whatever made it due, and each duty is done once: an entry
//! whose duty has been done, or moved, finds nothing left to do.

use super::bills::Marks;
use super::books::{
    AwaitsNumber, Bill, BillKind, Books, Draft, Due, News, NumberRequest, Prepaid, Sealed, Sealing, Stage,
    UnbillableKey, Used, Window,
};
use super::calendar::Date;
use super::deadlines::Come;
use super::digest::{digest_of, invoice_id, write_and_digest};
use super::document::{Document, Figures, InvoiceId, InvoiceType, Payment, Reason, Status};
use super::filing::Filed;
use super::grace;
use super::instant::Instant;
use super::notice::{Event, Notice};
use super::order::SortName;
use super::turns::Turn;
use crate::catalog::entity::Numbering;
use crate::catalog::settings::Refresh;
use crate::planted::{self, Bug};

/// How far the clock has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// To where it was to come.
    All,
    /// As many duties were done as were to be done.
    Some,
    /// To a duty whose invoice isn't at hand.
    Lacking,
}

impl Books {
    /// Lets the clock run to `until`, doing what is due on the way, each at its own instant.
    pub(super) fn pass_time(&mut self, until: Instant) {
        let passed = self.pass_some_time(until, usize::MAX, |_| {});
        assert_eq!(passed, Passed::All, "a sealed invoice is brought before time touches it");
    }

    /// The same, but stops after so many duties, or before one whose invoice isn't at hand. However many are due at one
    /// instant, whoever keeps the books can keep them in between. `passed` hears whose duties were done.
    pub fn pass_some_time(
        &mut self,
        until: Instant,
        duties_max: usize,
        mut passed: impl FnMut(u32),
    ) -> Passed {
        let mut duties = 0;
        while let Some(at) = self.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            while let Some(draft) = self.follow_next() {
                self.bills[draft].subscription().map(&mut passed);
                duties += 1;
                if duties == duties_max {
                    return Passed::Some;
                }
            }
            self.gather();
            while let Some(turn) = self.turns.pop_first() {
                if self.lacks(turn.due) {
                    self.turns.insert(turn);
                    return Passed::Lacking;
                }
                self.fire(turn.due);
                self.subscription_of(turn.due).map(&mut passed);
                self.gather();
                duties += 1;
                if duties == duties_max {
                    return Passed::Some;
                }
            }
        }
        self.now = self.now.max(until);
        Passed::All
    }

    /// Puts everything that is due by now in its turn.
    fn gather(&mut self) {
        let mut turns = Vec::new();
        while let Some(come) = self.deadlines.pop(self.now) {
            match come {
                Come::Other(due) => turns.extend(self.turn(due)),
                Come::PeriodEnds { subscription, at } => {
                    let windows = self.subscriptions.get(subscription).windows.iter();
                    let ends = windows.filter(|window| window.to == at && window.is_to_be_billed());
                    let due = |window: &Window| Due::PeriodEnd { subscription, ordinal: window.ordinal };
                    turns.extend(ends.filter_map(|window| self.turn(due(window))));
                }
            }
        }
        if !turns.is_empty() {
            self.turns.put(turns);
        }
    }

    /// The invoices of the next duties that aren't at hand, so many at most.
    pub(super) fn lacked_ids(&self, most: usize) -> Vec<InvoiceId> {
        let lacked = self.turns.iter().filter(|turn| self.lacks(turn.due)).take(most);
        lacked.filter_map(|turn| Some(self.unpaid.get(&turn.due.touched()?)?.id)).collect()
    }

    fn lacks(&self, due: Due) -> bool {
        due.touched()
            .is_some_and(|number| self.unpaid.contains_key(&number) && self.bills.get(number).is_none())
    }

    /// `None`: the duty was done, or is none any more.
    fn turn(&self, due: Due) -> Option<Turn> {
        let of_window = |number: u32, ordinal: Option<u32>, from: Option<Instant>| {
            let subscription = self.subscriptions.get(number);
            let window = ordinal.and_then(|ordinal| subscription.window(ordinal));
            Turn {
                customer: SortName::of(&self.customers.get(subscription.customer).external_id),
                period_from: from.or(window.map(|window| window.period.from)),
                subscription: Some(SortName::of(&subscription.external_id)),
                is_periodic: true,
                due,
            }
        };
        Some(match due {
            Due::ParkingOver(_) => {
                let customer = SortName::of("");
                Turn { customer, period_from: None, subscription: None, is_periodic: false, due }
            }
            Due::Begin(number) => {
                let started_at = self.subscriptions.get(number).anchor.started_at;
                Turn { is_periodic: false, ..of_window(number, None, Some(started_at)) }
            }
            Due::PeriodEnd { subscription, ordinal } => of_window(subscription, Some(ordinal), None),
            Due::Unbillable(number, from) => of_window(number, None, Some(from)),
            Due::Finalize(number) | Due::Tell(number) | Due::Refresh(number) => {
                self.draft(number)?;
                let bill = &self.bills[number];
                let (subscription, window) = self.window_of(bill).expect("a draft has its window");
                Turn {
                    customer: SortName::of(&self.customers.get(bill.customer).external_id),
                    period_from: Some(window.period.from),
                    subscription: Some(SortName::of(&subscription.external_id)),
                    is_periodic: bill.is_periodic(),
                    due,
                }
            }
            Due::WillBeDue(number) | Due::Overdue(number) => {
                let filed = self.unpaid.get(&number)?;
                let name = |number: u32| SortName::of(&self.subscriptions.get(number).external_id);
                Turn {
                    customer: SortName::of(&self.customers.get(filed.customer).external_id),
                    period_from: filed.period_from,
                    subscription: filed.subscription.map(name),
                    is_periodic: filed.is_periodic,
                    due,
                }
            }
        })
    }

    fn subscription_of(&self, due: Due) -> Option<u32> {
        match due {
            Due::Begin(number) | Due::PeriodEnd { subscription: number, .. } => Some(number),
            Due::Finalize(bill) | Due::Tell(bill) | Due::Refresh(bill) => {
                self.bills.get(bill)?.subscription()
            }
            Due::ParkingOver(_) | Due::WillBeDue(_) | Due::Overdue(_) | Due::Unbillable(..) => None,
        }
    }

    fn fire(&mut self, due: Due) {
        match due {
            Due::ParkingOver(number) => self.end_parking(number),
            Due::Begin(number) => self.begin(number),
            Due::PeriodEnd { subscription, ordinal } => self.end_period(subscription, ordinal),
            Due::Finalize(number) => {
                if self.draft(number).is_some_and(|draft| draft.finalizes_at <= self.now) {
                    self.finalize(number);
                }
            }
            Due::Tell(number) => {
                if self.draft(number).is_some_and(|draft| draft.is_to_be_told) {
                    self.announce_draft(number, Event::Updated);
                }
            }
            Due::Refresh(number) => {
                if self.draft(number).is_some_and(|draft| draft.refresh_at().is_some_and(|at| at <= self.now))
                {
                    self.refresh_by_itself(number);
                }
            }
            Due::WillBeDue(number) => self.say_it_will_be_due(number),
            Due::Overdue(number) => self.become_overdue(number),
            Due::Unbillable(subscription, from) => {
                self.report_unbillable(UnbillableKey { subscription, from })
            }
        }
    }

    pub(super) fn draft(&self, number: u32) -> Option<&Draft> {
        match &self.bills.get(number)?.stage {
            Stage::Draft(draft) => Some(draft),
            Stage::Sealed(_) => None,
        }
    }

    /// Reaches for what of a draft changes with usage: the rest isn't kept for it.
    pub(super) fn told_mut(&mut self, number: u32) -> Option<&mut Draft> {
        match &mut self.bills.used_mut(number)?.stage {
            Stage::Draft(draft) => Some(draft),
            Stage::Sealed(_) => None,
        }
    }

    pub(super) fn draft_mut(&mut self, number: u32) -> Option<&mut Draft> {
        match &mut self.bills[number].stage {
            Stage::Draft(draft) => Some(draft),
            Stage::Sealed(_) => None,
        }
    }

    pub(super) fn sealed(&self, number: u32) -> Option<&Sealed> {
        match &self.bills.get(number)?.stage {
            Stage::Sealed(sealed) => Some(sealed),
            Stage::Draft(_) => None,
        }
    }

    pub(super) fn sealed_mut(&mut self, number: u32) -> Option<&mut Sealed> {
        match &mut self.bills[number].stage {
            Stage::Sealed(sealed) => Some(sealed),
            Stage::Draft(_) => None,
        }
    }

    /// A period is over: its invoice becomes a draft, or is finalized where there is no grace, and the next one runs.
    fn end_period(&mut self, number: u32, ordinal: u32) {
        let Some(window) = self.subscriptions.get(number).window(ordinal) else { return };
        if window.to > self.now || !window.is_to_be_billed() {
            return;
        }
        let is_last =
            self.subscriptions.get(number).windows.last().is_some_and(|last| last.ordinal == ordinal);
        if is_last {
            self.open_next_window(number);
        }
        let subscription = self.subscriptions.get(number);
        let window = subscription.window(ordinal).expect("a period that ends is the last to be dropped");
        if window.is_sealed() {
            return;
        }
        let reason = match window.end {
            super::period::End::Boundary => Reason::Periodic,
            _ => Reason::Terminating,
        };
        let id = invoice_id(&subscription.external_id, window.period.from, false);
        let kind = BillKind::Period { subscription: number, ordinal, reason };
        let customer = subscription.customer;
        let bill = self.add_bill(id, customer, kind);
        self.subscriptions.get_mut(number).window_mut(ordinal).expect("the window is there").bill_by(bill);
        self.make_draft(bill);
    }

    pub(super) fn add_bill(&mut self, id: InvoiceId, customer: u32, kind: BillKind) -> u32 {
        let stage = Stage::Draft(Draft::until(self.now));
        self.bills.push(Bill { id, customer, kind, version: 0, stage, marks: Marks::default() })
    }

    /// Dates a new invoice and announces it; one whose instant isn't later than now was never a draft (R16).
    pub(super) fn make_draft(&mut self, number: u32) {
        let finalizes_at = grace::finalizes_at(self, &self.bills[number]);
        self.draft_mut(number).expect("a new invoice is a draft").finalizes_at = finalizes_at;
        if finalizes_at <= self.now {
            self.finalize(number);
            return;
        }
        self.drafts.insert(number);
        self.schedule(finalizes_at, Due::Finalize(number));
        if self.settings.refresh == Refresh::AtFinalization {
            self.freeze(number);
        }
        self.announce_draft(number, Event::Drafted);
    }

    /// Takes the figures of now, to be shown until somebody asks for new ones (R19).
    pub(super) fn freeze(&mut self, number: u32) {
        let figures = self.live_figures(&self.bills[number]);
        self.draft_mut(number).expect("only a draft's figures can stand still").rare.frozen = Some(figures);
    }

    /// What a draft says now.
    pub(super) fn shown(&self, number: u32) -> Document {
        let bill = &self.bills[number];
        let draft = self.draft(number).expect("a sealed invoice doesn't change");
        let figures = draft.rare.frozen.clone().unwrap_or_else(|| self.live_figures(bill));
        self.draft_document(bill, draft.finalizes_at, figures)
    }

    pub(super) fn shown_digest(&self, number: u32) -> u64 {
        digest_of(&self.shown(number))
    }

    /// Sends a draft's webhook. Whatever usage waited to be announced is announced with it (R18).
    pub(super) fn announce_draft(&mut self, number: u32, event: Event) {
        let (notice, digest) = self.next_of_draft(number, event);
        self.tell_of_draft(number, notice, digest);
    }

    /// A draft's next webhook, and what it says condensed.
    fn next_of_draft(&self, number: u32, event: Event) -> (Notice, u64) {
        let version = self.bills[number].version + 1;
        let mut digest = 0;
        let notice = Notice::of_invoice(
            self.now,
            event,
            self.settings.dialect,
            version,
            &self.shown(number),
            |document, out| {
                digest = write_and_digest(document, version, out);
            },
        );
        (notice, digest)
    }

    fn tell_of_draft(&mut self, number: u32, notice: Notice, digest: u64) {
        self.bills.used_mut(number).expect("a draft is at hand").version += 1;
        let draft = self.told_mut(number).expect("a draft is announced as one");
        draft.announced = digest;
        draft.refresh_by(None);
        draft.is_to_be_told = false;
        self.notices.push(notice);
    }

    /// The number that an invoice has waited for is there: everything is told that happened to it since (R104).
    pub fn take_number(&mut self, invoice: InvoiceId, count: u64) {
        let Some(number) = self.bills.find(invoice) else { return };
        if self.sealed(number).is_none_or(|sealed| sealed.awaits.is_none()) {
            return;
        }
        let sealed = self.sealed_mut(number).expect("it was just seen");
        let awaits = sealed.awaits.take().expect("it was just seen");
        self.note_number_of(number);
        let sealed = self.sealed_mut(number).expect("it was just seen");
        let text = format!("{}-{count:03}", awaits.head);
        sealed.document.sequential_id = Some(count);
        sealed.document.number = Some(text.clone());
        for news in awaits.news {
            match news {
                News::Usage(notice) => self.notices.push(notice),
                News::Invoice { at, event, version, mut document } => {
                    document.sequential_id = Some(count);
                    document.number = Some(text.clone());
                    self.notices.push(Notice::of_sealed(
                        at,
                        event,
                        self.settings.dialect,
                        version,
                        &document,
                    ));
                }
            }
        }
    }

    pub(super) fn announce_sealed(&mut self, number: u32, event: Event) {
        let at = self.now;
        let bill = &mut self.bills[number];
        bill.version += 1;
        let version = bill.version;
        let Stage::Sealed(sealed) = &mut bill.stage else {
            unreachable!("a sealed invoice is announced as one");
        };
        match &mut sealed.awaits {
            Some(awaits) => {
                let document = Box::new(sealed.document.clone());
                awaits.news.push(News::Invoice { at, event, version, document });
            }
            None => {
                let dialect = self.settings.dialect;
                self.notices.push(Notice::of_sealed(at, event, dialect, version, &sealed.document));
            }
        }
    }

    fn refresh_by_itself(&mut self, number: u32) {
        let (notice, digest) = self.next_of_draft(number, Event::Updated);
        let draft = self.told_mut(number).expect("a draft is refreshed");
        draft.refresh_by(None);
        if draft.announced != digest {
            self.tell_of_draft(number, notice, digest);
        }
    }

    /// Usage has landed on a draft: it is announced within the refresh interval (R18).
    pub(super) fn note_usage_on(&mut self, number: u32, arrived_at: Instant) {
        if self.settings.refresh == Refresh::AtFinalization {
            return;
        }
        let at = arrived_at.plus(self.settings.refresh_interval.exact());
        if self.draft(number).is_some_and(|draft| draft.refresh_at().is_none()) {
            self.told_mut(number).expect("it is a draft").refresh_by(Some(at));
            self.schedule(at, Due::Refresh(number));
        }
    }

    /// Seals an invoice: numbered, dated, settled, and announced.
    pub(super) fn finalize(&mut self, number: u32) {
        let bill = &self.bills[number];
        let finalizes_at = self.draft(number).expect("only a draft can be finalized").finalizes_at;
        let fees = self.fees(bill);
        let sum = fees.sum();
        let entity = self.entity_of(bill.customer).clone();
        let was_draft = bill.version > 0;
        if sum == 0 && !entity.finalizes_zero_amounts && bill.is_of_subscription() {
            let figures = self.figures(bill, fees, 0);
            let document = self.draft_document(bill, finalizes_at, figures);
            self.close(number, document, was_draft);
            return;
        }
        let (figures, used) = self.settle(number, fees);
        self.seal(number, finalizes_at, figures, used, None);
    }

    /// The last step of every finalization: the document as it will stay, its number, and what follows from it.
    pub(super) fn seal(
        &mut self,
        number: u32,
        expected: Instant,
        figures: Figures,
        used: Used,
        credits: Option<i128>,
    ) {
        let bill = &self.bills[number];
        let mut document = self.draft_document(bill, expected, figures);
        let term = i64::from(document.net_payment_term);
        document.status = Status::Finalized;
        document.finalized_at = Some(self.now);
        document.issuing_date = Date::of(self.now, document.zone);
        document.payment_due_date = Some(document.issuing_date.plus_days(term));
        if document.figures.amounts.total() == 0 {
            document.payment = Payment::Succeeded;
        }
        self.keep_overpaid(number, &document);
        let awaits = self.give_number(number, &mut document);
        self.file(number, document, used, credits);
        self.sealed_mut(number).expect("it was just sealed").awaits = awaits;
        self.announce_sealed(number, Event::Finalized);
        self.report_late(number);
        self.schedule_payment(number);
    }

    /// An invoice of nothing, for an entity that doesn't number those (R84).
    fn close(&mut self, number: u32, mut document: Document, was_draft: bool) {
        document.status = Status::Closed;
        document.payment_due_date = None;
        document.finalized_at = Some(self.now);
        document.payment = Payment::Succeeded;
        document.issuing_date = Date::of(self.now, document.zone);
        self.file(number, document, Used::default(), None);
        if was_draft {
            self.announce_sealed(number, Event::Updated);
        }
        self.report_late(number);
    }

    /// R62: what an invoice is below nothing becomes a credit note.
    fn keep_overpaid(&mut self, number: u32, document: &Document) {
        let below = document.figures.amounts.including_taxes();
        if below < 0 {
            let customer = self.bills[number].customer;
            self.money_mut(customer).credit_notes.push(below.saturating_neg());
        }
    }

    /// Counts the invoice, or asks for its number where that is done.
    fn give_number(&mut self, number: u32, document: &mut Document) -> Option<Box<AwaitsNumber>> {
        let customer_number = self.bills[number].customer;
        let entity = self.entity_of(customer_number).clone();
        let count = match entity.numbering {
            Numbering::PerCustomer => {
                Some(u64::from(self.customers.get_mut(customer_number).count_invoice()))
            }
            Numbering::PerEntity => (self.counts_for)(&entity.code).then(|| self.next_number(&entity.code)),
        };
        let middle = match entity.numbering {
            Numbering::PerCustomer => document.customer.clone(),
            Numbering::PerEntity => {
                let date = Date::of(self.now, entity.zone.unwrap_or(chrono_tz::Tz::UTC));
                format!("{:04}{:02}", date.year(), date.month0() + 1)
            }
        };
        let head = format!("{}-{middle}", entity.document_prefix);
        let Some(count) = count else {
            self.number_requests.push(NumberRequest { invoice: document.id, entity: entity.code.clone() });
            return Some(Box::new(AwaitsNumber { head, news: Vec::new() }));
        };
        document.sequential_id = Some(count);
        document.number = Some(format!("{head}-{count:03}"));
        None
    }

    /// Puts the sealed document in its place, and seals the usage that it bills.
    fn file(&mut self, number: u32, document: Document, used: Used, credits: Option<i128>) {
        self.seal_usage(number);
        self.drafts.remove(number);
        self.keeping.note_sealed(number);
        self.bills[number].stage = Stage::Sealed(Box::new(Sealed {
            will_be_due_at: self.will_be_due_at(&document),
            document,
            created_by: None,
            awaits: None,
            used,
            credits,
        }));
    }

    fn seal_usage(&mut self, number: u32) {
        match self.bills[number].kind {
            BillKind::Period { subscription, ordinal, .. } => {
                let customer = self.bills[number].customer;
                let sealing = self.sealing(customer, subscription, ordinal);
                self.seal_advance(customer, subscription, ordinal + 1);
                let entry = self.subscriptions.get_mut(subscription);
                let carrier = entry.window(ordinal).expect("an invoice has its window until it is sealed");
                let originals: Vec<u32> =
                    entry.originals_on(carrier).iter().map(|window| window.ordinal).collect();
                for original in originals {
                    let window = entry.window_mut(original).expect("it was just seen");
                    let sealed = window.rare.sealed.as_mut().expect("late usage is of a sealed period");
                    sealed.carrier = None;
                    sealed.billed = sealed.with_late.take().unwrap_or_default();
                }
                let window = entry.window_mut(ordinal).expect("an invoice has its window until it is sealed");
                window.usage = Default::default();
                window.rare.sealed = Some(sealing);
            }
            BillKind::Opening { subscription, ordinal } => {
                self.seal_advance(self.bills[number].customer, subscription, ordinal);
            }
            BillKind::OneOff | BillKind::Credit => {}
        }
    }

    pub(super) fn sealing(&self, customer: u32, subscription: u32, ordinal: u32) -> Sealing {
        let window = self.subscriptions.get(subscription).window(ordinal).expect("an invoice has its window");
        let (_, basis) = self.basis(customer, window, None);
        Sealing {
            prices: self.prices_of(window.plan).clone(),
            exponent: basis.exponent,
            share: basis.share,
            base_fee_cents: basis.base_fee_cents,
            billed: window.usage.clone(),
            with_late: None,
            carrier: None,
        }
    }

    /// A base fee that was billed in advance stays as it is from now on.
    fn seal_advance(&mut self, customer: u32, subscription: u32, ordinal: u32) {
        let Some(window) = self.subscriptions.get(subscription).window(ordinal) else { return };
        let prepaid = self.prepaid_cents(customer, window).map_or(Prepaid::Nothing, Prepaid::Cents);
        let window =
            self.subscriptions.get_mut(subscription).window_mut(ordinal).expect("the window is there");
        window.prepay(prepaid);
    }

    /// When it is to be told that an invoice will be due, if ever (R48).
    fn will_be_due_at(&self, document: &Document) -> Option<Instant> {
        let (due, days) = (document.payment_due_date?, self.settings.will_be_due_days?);
        let at = due.plus_days(-i64::from(days)).midnight(document.zone);
        (at > self.now).then_some(at)
    }

    /// Dates what becomes of an invoice that isn't paid.
    pub(super) fn schedule_payment(&mut self, number: u32) {
        let sealed = self.sealed(number).expect("only a sealed invoice is due");
        let (document, will_be_due_at) = (&sealed.document, sealed.will_be_due_at);
        let Some(due) = document.payment_due_date else { return };
        if document.payment == Payment::Succeeded {
            return;
        }
        let zone = if planted::is(Bug::OverdueByUtc) { chrono_tz::Tz::UTC } else { document.zone };
        let overdue_at = due.plus_days(1).midnight(zone);
        let filed = self.filed(number, will_be_due_at, overdue_at);
        self.schedule_filed(number, filed);
    }

    /// When it is told that an unpaid invoice will be due, and when it is overdue (R46, R48).
    pub(super) fn schedule_filed(&mut self, number: u32, filed: Filed) {
        self.schedule(filed.overdue_at, Due::Overdue(number));
        if let Some(at) = filed.will_be_due_at {
            self.schedule(at, Due::WillBeDue(number));
        }
        self.unpaid.insert(number, filed);
    }

    /// It is said once: in the middle of an instant the books may be opened again, and its duties come again.
    fn say_it_will_be_due(&mut self, number: u32) {
        if self.is_unpaid(number) && self.sealed(number).is_some_and(|sealed| sealed.will_be_due_at.is_some())
        {
            self.sealed_mut(number).expect("it was just seen").will_be_due_at = None;
            self.announce_sealed(number, Event::WillBeDue);
        }
    }

    fn become_overdue(&mut self, number: u32) {
        self.unpaid.remove(&number);
        if self.is_unpaid(number) {
            self.sealed_mut(number).expect("an unpaid invoice is sealed").document.payment_overdue = true;
            self.announce_sealed(number, Event::Overdue);
        }
    }

    fn is_unpaid(&self, number: u32) -> bool {
        self.sealed(number).is_some_and(|sealed| {
            let document = &sealed.document;
            document.status == Status::Finalized
                && document.payment != Payment::Succeeded
                && document.dispute_lost_at.is_none()
                && !document.payment_overdue
        })
    }
}

impl Due {
    /// The sealed invoice that the duty touches.
    fn touched(self) -> Option<u32> {
        match self {
            Due::WillBeDue(number) | Due::Overdue(number) => Some(number),
            _ => None,
        }
    }
}

impl Bill {
    /// It is no opening invoice: those come first of a period's.
    pub(super) fn is_periodic(&self) -> bool {
        !matches!(self.kind, BillKind::Opening { .. })
    }

    pub fn is_of_subscription(&self) -> bool {
        matches!(self.kind, BillKind::Period { .. } | BillKind::Opening { .. })
    }

    pub fn invoice_type(&self) -> InvoiceType {
        match self.kind {
            BillKind::Period { .. } | BillKind::Opening { .. } => InvoiceType::Subscription,
            BillKind::OneOff => InvoiceType::OneOff,
            BillKind::Credit => InvoiceType::Credit,
        }
    }
}
