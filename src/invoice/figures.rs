//! What an invoice's fees are and add up to: the period's own, and those of late usage.

use super::aggregate::{Bucket, Buckets, LineKey, LineName};
use super::books::{
    Bill, BillKind, Books, Edit, Prepaid, PriceList, PricedCharge, Stage, Subscription, Window,
};
use super::document::{
    Amounts, Document, Fee, FeeType, Figures, GroupedBy, InvoiceType, Payment, Status, WrittenFees,
};
use super::exact::{Exact, add_up, percent};
use super::grace;
use super::instant::Instant;
use super::period::{Period, Share};
use super::price::{Usage, price};
use super::quantity::Quantity;
use crate::catalog::plan::{Charge, Plan, Tariff};
use crate::planted::{self, Bug};

use std::collections::BTreeMap;

pub(super) type Edits = BTreeMap<LineKey, Edit>;

/// One line of a charge, priced.
pub(super) struct Line<'a> {
    name: LineName<'a>,
    units: Quantity,
    events: u64,
    cents: i128,
    /// In the major unit.
    precise: Exact,
    is_edited: bool,
    display_name: Option<&'a str>,
}

/// What the lines of a period are made from.
pub(super) struct Basis<'a> {
    pub prices: &'a PriceList,
    pub usage: &'a Buckets,
    pub edits: Option<&'a Edits>,
    pub period: &'a Period,
    pub to: Instant,
    pub share: Share,
    pub base_fee_cents: i128,
    pub exponent: u32,
}

/// A charge's lines, shown or not, and what lifts them to its minimum.
struct ChargeFees<'a> {
    lines: Vec<Line<'a>>,
    minimum: Option<Amount>,
}

/// An amount before and after it is rounded to the minor unit.
#[derive(Clone)]
pub(super) struct Amount {
    pub cents: i128,
    pub precise: Exact,
}

impl Amount {
    /// Cents that have been shared out or computed, to be rounded.
    fn of_cents(exact: &Exact, exponent: u32) -> Amount {
        Amount { cents: exact.rounded(), precise: exact.shifted(-(exponent as i32)) }
    }

    fn plain(cents: i128, exponent: u32) -> Amount {
        Amount { cents, precise: Exact::whole(cents).shifted(-(exponent as i32)) }
    }

    /// The fee of a plan for a whole: one unit of it, named by the plan.
    fn fee<'a>(&self, fee_type: FeeType, plan: &'a Plan, period: (Instant, Instant)) -> Fee<'a> {
        Fee {
            fee_type,
            charge_code: None,
            metric_code: None,
            display_name: plan.display_name.as_deref().or(plan.name.as_deref()),
            filter: None,
            grouped_by: None,
            period: Some(period),
            units: Quantity::ONE,
            events: 0,
            amount_cents: self.cents,
            precise: self.precise.clone(),
            edited: false,
        }
    }

    fn minus(&self, other: &Amount) -> Amount {
        Amount { cents: self.cents.saturating_sub(other.cents), precise: self.precise.minus(&other.precise) }
    }
}

/// A plan's base fee for a part of a whole interval.
pub(super) fn base_fee(plan: &Plan, share: Share, exponent: u32) -> Amount {
    Amount::of_cents(&Exact::whole(plan.amount_cents).times(&Exact::of_share(share)), exponent)
}

impl<'a> Basis<'a> {
    fn charges(&self) -> Vec<ChargeFees<'a>> {
        let places = self.prices.plan.charges.iter().zip(&self.prices.lines);
        places.map(|(charge, priced)| self.charge_fees(charge, priced)).collect()
    }

    fn charge_fees(&self, charge: &Charge, priced: &PricedCharge) -> ChargeFees<'a> {
        let mut lines = Vec::new();
        let tariffs =
            std::iter::once(&charge.tariff).chain(charge.filters.iter().map(|filter| &filter.tariff));
        for (filter, tariff) in tariffs.enumerate() {
            let names = self.names(priced.number, filter as u32, tariff);
            lines.extend(names.into_iter().map(|name| self.line(name, tariff, priced)));
        }
        let minimum = (charge.minimum_cents > 0).then(|| {
            let least = Exact::whole(charge.minimum_cents).times(&Exact::of_share(self.share));
            let billed = add_up(lines.iter().map(|line| line.cents));
            lifted(&least, billed, self.exponent)
        });
        ChargeFees { lines, minimum }
    }

    /// The lines of one tariff: the single one, or one for each group that usage or an edit has opened.
    fn names(&self, charge: u32, filter: u32, tariff: &Tariff) -> Vec<LineName<'a>> {
        if tariff.group_keys.is_empty() {
            return vec![LineName { charge, filter, group: None }];
        }
        let mut names: Vec<LineName<'a>> =
            self.usage.groups(charge, filter).map(|bucket| bucket.line()).collect();
        let edited = self.edits.into_iter().flat_map(Edits::keys).map(LineKey::name);
        names.extend(edited.filter(|name| name.charge == charge && name.filter == filter));
        names.sort();
        names.dedup();
        names
    }

    fn line(&self, name: LineName<'a>, tariff: &Tariff, priced: &PricedCharge) -> Line<'a> {
        let empty;
        let bucket = match self.usage.get(name) {
            Some(bucket) => bucket,
            None => {
                empty = Bucket::empty(name.to_key(), priced.metric.aggregation);
                &empty
            }
        };
        let used = bucket.units(&priced.metric, self.period, self.to);
        let edits = self.edits.filter(|edits| !edits.is_empty());
        let edit = edits.and_then(|edits| edits.get(&name.to_key()));
        let units = edit.and_then(|edit| edit.units);
        let usage = match units {
            Some(units) => Usage::of_units(units),
            None => Usage::of(bucket, used),
        };
        let mut precise = price(&tariff.price, &usage, self.exponent);
        let mut cents = precise.shifted(self.exponent as i32).rounded();
        if let Some(amount) = edit.and_then(|edit| edit.amount_cents) {
            Amount { cents, precise } = Amount::plain(amount, self.exponent);
        }
        Line {
            name,
            units: units.unwrap_or(used),
            events: bucket.events,
            cents,
            precise,
            is_edited: edit.is_some_and(Edit::changes_amount),
            display_name: edit.and_then(|edit| edit.display_name.as_deref()),
        }
    }

    /// What lifts the whole period to the plan's commitment (R79).
    fn commitment(&self, charges: &[ChargeFees<'_>]) -> Option<Amount> {
        let plan = &self.prices.plan;
        if plan.commitment_cents == 0 {
            return None;
        }
        let least = Exact::whole(plan.commitment_cents).times(&Exact::of_share(self.share));
        let lines = charges.iter().flat_map(|fees| &fees.lines).map(|line| line.cents);
        let minimums = charges.iter().filter_map(|fees| fees.minimum.as_ref()).map(|amount| amount.cents);
        let billed = add_up([self.base_fee_cents].into_iter().chain(lines).chain(minimums));
        Some(lifted(&least, billed, self.exponent))
    }

    fn minimum_fee(&self, charge: &'a Charge, priced: &'a PricedCharge, amount: &Amount) -> Option<Fee<'a>> {
        (amount.cents != 0).then(|| Fee {
            charge_code: Some(&charge.code),
            metric_code: Some(&charge.metric),
            display_name: charge.display_name.as_deref().or(priced.metric.name.as_deref()),
            ..amount.fee(FeeType::Commitment, &self.prices.plan, self.window())
        })
    }

    fn commitment_fee(&self, amount: &Amount) -> Option<Fee<'a>> {
        (amount.cents != 0).then(|| amount.fee(FeeType::Commitment, &self.prices.plan, self.window()))
    }

    fn window(&self) -> (Instant, Instant) {
        (self.period.from, self.to)
    }

    /// The fees of the period's own charges, minimums and commitment.
    fn fees(&self) -> Vec<Fee<'a>> {
        let charges = self.charges();
        let mut fees = Vec::new();
        for (place, found) in charges.iter().enumerate() {
            let charge = &self.prices.plan.charges[place];
            let priced = &self.prices.lines[place];
            for line in found.lines.iter().filter(|line| line.is_shown()) {
                fees.push(line_fee(FeeType::Charge, charge, priced, line, self.window()));
            }
            let minimum = found.minimum.as_ref();
            fees.extend(minimum.and_then(|amount| self.minimum_fee(charge, priced, amount)));
        }
        fees.extend(self.commitment(&charges).and_then(|amount| self.commitment_fee(&amount)));
        fees
    }

    /// What late usage adds to `before`, line by line (R61, R63).
    fn increments(&self, before: &Basis<'_>) -> Vec<Fee<'a>> {
        let (with, without) = (self.charges(), before.charges());
        let mut fees = Vec::new();
        for (place, found) in with.iter().enumerate() {
            let charge = &self.prices.plan.charges[place];
            let priced = &self.prices.lines[place];
            let earlier = &without[place];
            for line in &found.lines {
                let same = earlier.lines.iter().find(|other| other.name == line.name);
                let added = line.minus(same);
                if added.events > 0 {
                    fees.push(line_fee(FeeType::LateUsage, charge, priced, &added, self.window()));
                }
            }
            let minimum = difference(found.minimum.as_ref(), earlier.minimum.as_ref());
            fees.extend(minimum.and_then(|amount| self.minimum_fee(charge, priced, &amount)));
        }
        let (with, without) = (self.commitment(&with), before.commitment(&without));
        let commitment = difference(with.as_ref(), without.as_ref());
        fees.extend(commitment.and_then(|amount| self.commitment_fee(&amount)));
        fees
    }
}

/// What is missing to `least`; nothing if it is reached.
fn lifted(least: &Exact, billed: i128, exponent: u32) -> Amount {
    Amount::plain(least.rounded().saturating_sub(billed).max(0), exponent)
}

fn difference(with: Option<&Amount>, without: Option<&Amount>) -> Option<Amount> {
    Some(with?.minus(without?))
}

impl<'a> Line<'a> {
    /// Whether it stands on its period's own invoice (R71).
    fn is_shown(&self) -> bool {
        self.units.0 != 0 || self.cents != 0 || self.events > 0 || self.is_edited
    }

    fn minus(&self, other: Option<&Line<'_>>) -> Line<'a> {
        let Some(other) = other else {
            return Line { display_name: None, precise: self.precise.clone(), ..*self };
        };
        Line {
            name: self.name,
            units: Quantity(self.units.0.saturating_sub(other.units.0)),
            events: self.events - other.events,
            cents: self.cents.saturating_sub(other.cents),
            precise: self.precise.minus(&other.precise),
            is_edited: false,
            display_name: None,
        }
    }
}

fn line_fee<'a>(
    fee_type: FeeType,
    charge: &'a Charge,
    priced: &'a PricedCharge,
    line: &Line<'a>,
    period: (Instant, Instant),
) -> Fee<'a> {
    let filter = (line.name.filter > 0).then(|| &charge.filters[line.name.filter as usize - 1]);
    let tariff = filter.map_or(&charge.tariff, |filter| &filter.tariff);
    let named = line.display_name.or(filter.and_then(|filter| filter.display_name.as_deref()));
    Fee {
        fee_type,
        charge_code: Some(&charge.code),
        metric_code: Some(&charge.metric),
        display_name: named.or(charge.display_name.as_deref()).or(priced.metric.name.as_deref()),
        filter: filter.map(|filter| &*filter.values),
        grouped_by: line.name.group.map(|values| GroupedBy { keys: &tariff.group_keys, values }),
        period: Some(period),
        units: line.units,
        events: line.events,
        amount_cents: line.cents,
        precise: line.precise.clone(),
        edited: line.is_edited,
    }
}

fn subscription_fee<'a>(plan: &'a Plan, amount: &Amount, period: (Instant, Instant)) -> Option<Fee<'a>> {
    (plan.amount_cents != 0).then(|| amount.fee(FeeType::Subscription, plan, period))
}

impl Books {
    /// A draft's figures as the catalog has them now.
    pub(super) fn live_figures(&self, bill: &Bill) -> Figures {
        self.figures(bill, self.fees(bill), 0)
    }

    /// Adds fees up; `coupons` cents are shared out over them before tax (R80, R81).
    pub(super) fn figures(&self, bill: &Bill, fees: WrittenFees, coupons: i128) -> Figures {
        let sum = fees.sum();
        let rate = match bill.kind {
            BillKind::Credit => Exact::zero(),
            _ => percent(&self.tax_rate(bill.customer)),
        };
        let taxes = if rate.is_zero() {
            0
        } else {
            let kept = match coupons {
                0 => Exact::whole(1),
                _ => Exact::whole(sum.saturating_sub(coupons)).divided_by(&Exact::whole(sum)),
            };
            let rate = rate.times(&kept);
            add_up(fees.cents.iter().map(|cents| Exact::whole(*cents).times(&rate).rounded()))
        };
        let amounts = Amounts { fees: sum, coupons, taxes, ..Amounts::default() };
        Figures { fees: fees.text, amounts }
    }

    /// The sum of the customer's tax rates, in percent.
    fn tax_rate(&self, customer: u32) -> Exact {
        let entity = self.entity_of(customer);
        let codes = self.customers.get(customer).terms.tax_codes.as_ref().unwrap_or(&entity.tax_codes);
        let rates = codes
            .iter()
            .filter_map(|code| self.taxes.find(code))
            .map(|place| self.taxes.get(place).thing.rate);
        rates.fold(Exact::zero(), |sum, rate| sum.plus(&rate.into()))
    }

    pub(super) fn fees(&self, bill: &Bill) -> WrittenFees {
        match bill.kind {
            BillKind::Period { subscription, ordinal, .. } => {
                let subscription = self.subscriptions.get(subscription);
                let window = subscription.window(ordinal).expect("a draft has its window");
                WrittenFees::of(&self.period_fees(bill, subscription, window))
            }
            BillKind::Opening { subscription, ordinal } => {
                let subscription = self.subscriptions.get(subscription);
                let window = subscription.window(ordinal).expect("a draft has its window");
                let exponent = self.exponent_of(bill.customer, &self.prices_of(window.plan).plan);
                WrittenFees::of(self.advance_fee(bill.customer, window, exponent).as_slice())
            }
            BillKind::OneOff | BillKind::Credit => WrittenFees::of(&[]),
        }
    }

    fn period_fees<'a>(
        &'a self,
        bill: &'a Bill,
        subscription: &'a Subscription,
        window: &'a Window,
    ) -> Vec<Fee<'a>> {
        let (own, basis) = self.basis(bill.customer, window, bill.edits());
        let mut fees = Vec::from_iter(own);
        let next = subscription.window(window.ordinal + 1);
        fees.extend(next.and_then(|next| self.advance_fee(bill.customer, next, basis.exponent)));
        fees.extend(basis.fees());
        for original in subscription.originals_on(window) {
            fees.extend(late_fees(original, basis.exponent));
        }
        fees
    }

    /// The base fee that stands on the window's own invoice, and what its lines are made from.
    pub(super) fn basis<'a>(
        &'a self,
        customer: u32,
        window: &'a Window,
        edits: Option<&'a Edits>,
    ) -> (Option<Fee<'a>>, Basis<'a>) {
        let prices = self.prices_of(window.plan);
        let exponent = self.exponent_of(customer, &prices.plan);
        let share = window.period.share(prices.plan.interval, window.end, self.zone_of(customer));
        let (own, base_fee_cents) = self.own_base_fee(customer, window, share, exponent);
        let basis = Basis {
            prices,
            usage: &window.usage,
            edits,
            period: &window.period,
            to: window.to,
            share,
            base_fee_cents,
            exponent,
        };
        (own, basis)
    }

    /// The base fee that stands on the window's own invoice, in arrears or as what a cut changes of one paid in advance;
    /// and what all invoices together bill of it.
    fn own_base_fee<'a>(
        &'a self,
        customer: u32,
        window: &Window,
        share: Share,
        exponent: u32,
    ) -> (Option<Fee<'a>>, i128) {
        let plan = &self.prices_of(window.plan).plan;
        let used = base_fee(plan, share, exponent);
        let period = (window.period.from, window.to);
        let Some(prepaid) = self.prepaid_cents(customer, window) else {
            return (subscription_fee(plan, &used, period), used.cents);
        };
        if plan.amount_cents == 0 || (plan.pay_in_advance && !window.is_cut()) {
            return (None, prepaid);
        }
        (subscription_fee(plan, &used.minus(&Amount::plain(prepaid, exponent)), period), used.cents)
    }

    /// The fee of a window that is billed before it runs, on the draft that was made when it started. The minor unit is
    /// that draft's: the plan before may be in another currency.
    fn advance_fee(&self, customer: u32, window: &Window, exponent: u32) -> Option<Fee<'_>> {
        let plan = &self.prices_of(window.plan).plan;
        if !plan.pay_in_advance || window.prepaid() != Prepaid::OnDraft {
            return None;
        }
        let (to, end) = window.planned();
        let share = window.period.share(plan.interval, end, self.zone_of(customer));
        subscription_fee(plan, &base_fee(plan, share, exponent), (window.period.from, to))
    }

    /// What is paid of a window's base fee before its own invoice; `None` if it was never to be paid in advance.
    pub(super) fn prepaid_cents(&self, customer: u32, window: &Window) -> Option<i128> {
        match window.prepaid() {
            Prepaid::Nothing => None,
            Prepaid::Cents(cents) => Some(cents),
            Prepaid::OnDraft => self
                .prices_of(window.plan)
                .plan
                .pay_in_advance
                .then(|| self.advance_fee(customer, window, 0).map_or(0, |fee| fee.amount_cents)),
        }
    }

    /// The document of an invoice that isn't sealed, as everything stands now.
    pub(super) fn draft_document(&self, bill: &Bill, finalizes_at: Instant, figures: Figures) -> Document {
        let customer = self.customers.get(bill.customer);
        let entity = self.entity_of(bill.customer);
        let zone = self.zone_of(bill.customer);
        let window = self.window_of(bill);
        let plan = window.map(|(_, window)| &self.prices_of(window.plan).plan);
        let issuing_date = super::calendar::Date::of(finalizes_at, zone);
        let term = customer.terms.net_payment_term.or(entity.net_payment_term);
        let term = term.unwrap_or(self.settings.default_net_payment_term);
        Document {
            id: bill.id,
            number: None,
            sequential_id: None,
            status: Status::Draft,
            invoice_type: match bill.kind {
                BillKind::Period { .. } | BillKind::Opening { .. } => InvoiceType::Subscription,
                BillKind::OneOff => InvoiceType::OneOff,
                BillKind::Credit => InvoiceType::Credit,
            },
            reason: bill.reason(),
            entity: entity.code.clone(),
            customer: customer.external_id.to_string(),
            customer_name: customer.name().map(|name| name.to_string()),
            zone,
            subscription: window.map(|(subscription, _)| subscription.external_id.to_string()),
            plan: plan.map(|plan| plan.code.clone()),
            currency: self.currency_of(bill.customer, plan.map(|plan| &**plan)),
            period: window.map(|(_, window)| bill.shown_period(window)),
            grace: grace::of_bill(self, bill),
            expected_finalization_at: finalizes_at,
            finalized_at: None,
            issuing_date,
            net_payment_term: term,
            payment_due_date: Some(issuing_date.plus_days(i64::from(term))),
            payment: Payment::Pending,
            payment_overdue: false,
            dispute_lost_at: None,
            voided_at: None,
            figures,
        }
    }

    /// The window that an invoice of a subscription is about.
    pub(super) fn window_of(&self, bill: &Bill) -> Option<(&Subscription, &Window)> {
        match bill.kind {
            BillKind::Period { subscription, ordinal, .. } | BillKind::Opening { subscription, ordinal } => {
                let subscription = self.subscriptions.get(subscription);
                Some((subscription, subscription.window(ordinal)?))
            }
            BillKind::OneOff | BillKind::Credit => None,
        }
    }
}

/// An amount as `precise_amount` shows it.
pub(super) fn exact_shown(amount: &Exact) -> String {
    let mut text = Vec::new();
    amount.write_to(&mut text);
    String::from_utf8(text).expect("a number is text")
}

/// What late usage adds to a sealed period, at the prices it was sealed with. Its minor units stay what they are on an
/// invoice whose currency has another exponent.
fn late_fees(window: &Window, exponent: u32) -> Vec<Fee<'_>> {
    let sealing = window.rare.sealed.as_ref().expect("late usage is of a sealed period");
    let Some(with_late) = &sealing.with_late else { return Vec::new() };
    let basis = |usage| Basis {
        prices: &sealing.prices,
        usage,
        edits: None,
        period: &window.period,
        to: window.to,
        share: sealing.share,
        base_fee_cents: sealing.base_fee_cents,
        exponent: sealing.exponent,
    };
    if planted::is(Bug::IncrementPricedAlone) {
        let nothing = Buckets::default();
        return basis(with_late).increments(&Basis { usage: &nothing, ..basis(with_late) });
    }
    let mut fees = basis(with_late).increments(&basis(&sealing.billed));
    for fee in &mut fees {
        fee.precise = fee.precise.shifted(sealing.exponent as i32 - exponent as i32);
    }
    fees
}

impl Subscription {
    /// The periods whose late usage a window's invoice bills as increments, oldest first (R70).
    pub fn originals_on(&self, carrier: &Window) -> Vec<&Window> {
        let of = |from: Instant| {
            self.windows.get(self.windows.partition_point(|window| window.period.from < from))
        };
        let is_carried = |window: &&Window| {
            window.rare.sealed.as_ref().is_some_and(|sealing| sealing.carrier == Some(carrier.ordinal))
        };
        let mut originals: Vec<&Window> =
            carrier.rare.carries.iter().filter_map(|carried| of(carried.from)).filter(is_carried).collect();
        originals.sort_by_key(|window| window.period.from);
        originals
    }

    pub fn window(&self, ordinal: u32) -> Option<&Window> {
        let first = self.windows.first()?.ordinal;
        self.windows.get(ordinal.checked_sub(first)? as usize)
    }

    pub fn window_mut(&mut self, ordinal: u32) -> Option<&mut Window> {
        let first = self.windows.first()?.ordinal;
        self.windows.get_mut(ordinal.checked_sub(first)? as usize)
    }
}

impl Bill {
    pub fn edits(&self) -> Option<&Edits> {
        match &self.stage {
            Stage::Draft(draft) => Some(&draft.rare.edits),
            Stage::Sealed(_) => None,
        }
    }

    pub fn reason(&self) -> Option<super::document::Reason> {
        match self.kind {
            BillKind::Period { reason, .. } => Some(reason),
            BillKind::Opening { .. } => Some(super::document::Reason::Starting),
            BillKind::OneOff | BillKind::Credit => None,
        }
    }

    /// The period on the invoice's face: an opening invoice names the one it bills in advance.
    fn shown_period(&self, window: &Window) -> (Instant, Instant) {
        let to = match self.kind {
            BillKind::Opening { .. } => window.planned().0,
            _ => window.to,
        };
        (window.period.from, to)
    }
}
