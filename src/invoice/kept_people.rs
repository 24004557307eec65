//! The texts of customers and subscriptions. Several share a document; what is as it usually is isn't written.

use std::collections::BTreeMap;
use std::sync::Arc;

use ecow::EcoString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bills::Bills;
use super::books::{
    Asked, Bill, BillKind, Books, Coupon, CouponValue, Customer, Era, Frame, Life, Money, PlanChange,
    Prepaid, PriceList, Sealing, Stage, Subscription, Window,
};
use super::calendar::Date;
use super::digest::invoice_id;
use super::document::Reason;
use super::few::Few;
use super::instant::{DAY, Instant};
use super::keep::{Opened, Unreadable};
use super::kept::{is_false, raw};
use super::kept_bills::DraftText;
use super::kept_held::HeldText;
use super::kept_usage::{BucketText, bucket_texts, read_buckets};
use super::period::{Anchor, End, Period, Share};
use super::rare::Rare;
use super::shared::Shared;
use super::write::Object;
use crate::catalog::Record;
use crate::catalog::customer::{BillingTime, CustomerTerms};

/// How many customers, or subscriptions, share a document.
pub(super) const TOGETHER: u32 = 8;

// --- Customers ----------------------------------------------------------------------------------------------------------

/// External id, name, entity, and what only some have.
#[derive(Serialize, Deserialize)]
pub(super) struct CustomerText(
    String,
    Option<String>,
    u32,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<CustomerRestText>,
);

#[derive(Default, Serialize, Deserialize)]
struct CustomerRestText {
    /// The record, where it says more than a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    money: Option<MoneyText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<(u32, u32)>,
}

#[derive(Serialize, Deserialize)]
struct MoneyText {
    coupons: Vec<CouponText>,
    credit_notes: Vec<i128>,
    wallet: i128,
}

#[derive(Serialize, Deserialize)]
struct CouponText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    balance: Option<i128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amount: Option<i128>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<super::quantity::Quantity>,
    invoices_left: Option<u32>,
}

impl CustomerText {
    pub(super) fn of(customer: &Customer) -> CustomerText {
        let rest = CustomerRestText {
            record: has_terms(&customer.terms).then(|| raw(customer_record(customer))),
            removed: customer.is_removed,
            money: customer.money.as_deref().map(MoneyText::of),
            numbers: customer.numbers.to_vec(),
        };
        let is_plain =
            rest.record.is_none() && !rest.removed && rest.money.is_none() && rest.numbers.is_empty();
        let name = customer.name.as_deref().map(str::to_owned);
        let rest = (!is_plain).then_some(rest);
        CustomerText(customer.external_id.to_string(), name, customer.entity, rest)
    }

    pub(super) fn external_id(&self) -> &str {
        &self.0
    }

    pub(super) fn read(self, key: &str, terms: &mut Shared<CustomerTerms>) -> Opened<Customer> {
        let CustomerText(external_id, name, entity, rest) = self;
        let rest = rest.unwrap_or_default();
        let own = match rest.record {
            None => NO_TERMS,
            Some(record) => match Record::read(None, Some(record.get().as_bytes())) {
                Ok(Record::Customer(record)) => record.terms,
                _ => return Err(Unreadable(format!("document {key} holds no customer"))),
            },
        };
        Ok(Customer {
            external_id: external_id.into(),
            name: name.map(EcoString::from),
            terms: terms.share(own),
            entity,
            is_removed: rest.removed,
            subscriptions: Few::default(),
            money: rest.money.map(|money| Box::new(money.read())),
            numbers: rest.numbers.into(),
        })
    }
}

const NO_TERMS: CustomerTerms = CustomerTerms {
    entity: None,
    zone: None,
    currency: None,
    grace: None,
    net_payment_term: None,
    charged_automatically: false,
    tax_codes: None,
};

fn has_terms(terms: &CustomerTerms) -> bool {
    *terms != NO_TERMS
}

/// A customer's record with what is known of it.
fn customer_record(customer: &Customer) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.text("kind", "customer");
    object.text("external_id", &customer.external_id);
    let mut text = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            object.text(name, &value);
        }
    };
    let terms = &customer.terms;
    text("billing_entity_code", terms.entity.clone());
    text("timezone", terms.zone.map(|zone| zone.name().to_owned()));
    text("currency", terms.currency.map(|currency| currency.to_string()));
    text("invoice_grace_period", terms.grace.map(|grace| grace.to_string()));
    text("net_payment_term", terms.net_payment_term.map(|term| format!("P{term}D")));
    text("collection_method", terms.charged_automatically.then(|| "charge_automatically".to_owned()));
    if let Some(codes) = &terms.tax_codes {
        let out = object.member("tax_codes");
        serde_json::to_writer(out, codes).expect("codes are plain data");
    }
    object.close();
    out
}

impl MoneyText {
    fn of(money: &Money) -> MoneyText {
        let coupon = |coupon: &Coupon| {
            let mut text = CouponText {
                balance: None,
                amount: None,
                percent: None,
                invoices_left: coupon.invoices_left,
            };
            match coupon.value {
                CouponValue::Balance(cents) => text.balance = Some(cents),
                CouponValue::AmountEach(cents) => text.amount = Some(cents),
                CouponValue::Percent(rate) => text.percent = Some(rate),
            }
            text
        };
        MoneyText {
            coupons: money.coupons.iter().map(coupon).collect(),
            credit_notes: money.credit_notes.clone(),
            wallet: money.wallet,
        }
    }

    fn read(self) -> Money {
        let coupon = |text: CouponText| Coupon {
            value: match (text.balance, text.amount, text.percent) {
                (Some(cents), _, _) => CouponValue::Balance(cents),
                (_, Some(cents), _) => CouponValue::AmountEach(cents),
                (_, _, rate) => CouponValue::Percent(rate.unwrap_or_default()),
            },
            invoices_left: text.invoices_left,
        };
        Money {
            coupons: self.coupons.into_iter().map(coupon).collect(),
            credit_notes: self.credit_notes,
            wallet: self.wallet,
        }
    }
}

// --- Subscriptions ------------------------------------------------------------------------------------------------------

/// External id, customer, plan, start, eras, windows, and what only some have.
#[derive(Serialize, Deserialize)]
pub(super) struct SubscriptionText(
    String,
    u32,
    u32,
    Instant,
    Vec<EraText>,
    Vec<WindowText>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<SubscriptionRestText>,
);

#[derive(Default, Serialize, Deserialize)]
struct SubscriptionRestText {
    /// The local date of the start, in days since 1970, where it isn't the one in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_date: Option<i32>,
    #[serde(default, skip_serializing_if = "is_false")]
    anniversary: bool,
    /// `begins` or `ended`; it is running otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<LifeText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<(Instant, u32)>,
    #[serde(default, skip_serializing_if = "is_false")]
    wants_opening: bool,
    /// The next window's number, where it isn't the one after the last window's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reports: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<AskedText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opening: Option<OpeningText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<HeldText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LifeText {
    Begins,
    Ended,
}

/// Plan, whether it says when it starts, billing time, end, and when its plan is to take effect.
#[derive(Serialize, Deserialize)]
struct AskedText(u32, bool, Option<bool>, Option<Instant>, Option<Instant>);

/// The invoice that opens the subscription while it is a draft: its number, the window that it bills in advance, itself.
#[derive(Serialize, Deserialize)]
struct OpeningText(u32, u32, DraftText);

/// Start and boundary; where dates are others than in UTC, how many days, and the start of the whole interval.
type PeriodText = (Instant, Instant, Option<([i64; 4], Instant)>);

fn period_text(period: &Period) -> PeriodText {
    let [from, boundary, whole_from, dates @ ..] = period.parts();
    let usual = usual_dates(Instant(from), Instant(boundary));
    let is_usual = dates == usual && whole_from == from;
    let shifts = [0, 1, 2, 3].map(|place: usize| dates[place] - usual[place]);
    (Instant(from), Instant(boundary), (!is_usual).then_some((shifts, Instant(whole_from))))
}

fn read_period((from, boundary, others): PeriodText) -> Period {
    let usual = usual_dates(from, boundary);
    let (shifts, whole_from) = others.unwrap_or(([0; 4], from));
    let [a, b, c, d] = [0, 1, 2, 3].map(|place: usize| usual[place] + shifts[place]);
    Period::from_parts([from.0, boundary.0, whole_from.0, a, b, c, d])
}

/// The dates of a period that starts on midnights of UTC: its own, its boundary's, the whole interval's, the first that
/// counts.
fn usual_dates(from: Instant, boundary: Instant) -> [i64; 4] {
    let from = from.0.div_euclid(DAY);
    [from, boundary.0.div_euclid(DAY), from, from]
}

/// First period, plan, zone.
#[derive(Serialize, Deserialize)]
struct EraText(PeriodText, u32, String);

/// Number, period, and what only some have.
#[derive(Serialize, Deserialize)]
struct WindowText(
    u32,
    PeriodText,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<WindowRestText>,
);

#[derive(Default, Serialize, Deserialize)]
struct WindowRestText {
    /// Where it ends, if not at its boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Instant>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<EndText>,
    /// Its plan, if it isn't the subscription's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<u32>,
    /// The number of its invoice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bill: Option<u32>,
    /// The invoice, while it is a draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    draft: Option<DraftText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    planned: Option<(Instant, Option<EndText>)>,
    /// Cents that were paid in advance, or none if nothing was; otherwise the draft says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    advance: Option<AdvanceText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<SealingText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fresh: Vec<HeldText>,
}

/// A change of plan, or the end of the subscription, at an instant.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndText {
    Change(Instant),
    End(Instant),
}

fn end_text(end: End) -> Option<EndText> {
    match end {
        End::Boundary => None,
        End::PlanChange(at) => Some(EndText::Change(at)),
        End::Termination(at) => Some(EndText::End(at)),
    }
}

fn read_end(text: Option<EndText>) -> End {
    match text {
        Some(EndText::Change(at)) => End::PlanChange(at),
        Some(EndText::End(at)) => End::Termination(at),
        None => End::Boundary,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AdvanceText {
    Nothing,
    Cents(i128),
}

fn advance_text(prepaid: Prepaid) -> Option<AdvanceText> {
    match prepaid {
        Prepaid::Nothing => Some(AdvanceText::Nothing),
        Prepaid::OnDraft => None,
        Prepaid::Cents(cents) => Some(AdvanceText::Cents(cents)),
    }
}

fn read_advance(text: Option<AdvanceText>) -> Prepaid {
    match text {
        Some(AdvanceText::Nothing) => Prepaid::Nothing,
        None => Prepaid::OnDraft,
        Some(AdvanceText::Cents(cents)) => Prepaid::Cents(cents),
    }
}

#[derive(Serialize, Deserialize)]
struct SealingText {
    prices: u32,
    exponent: u32,
    share: (i64, i64),
    base_fee_cents: i128,
    billed: Vec<BucketText>,
}

/// A subscription as it was kept, and its drafts.
pub(super) struct ReadSubscription {
    /// Without its eras.
    pub subscription: Subscription,
    pub drafts: Vec<(u32, Bill)>,
    pub eras: Vec<Era>,
}

impl SubscriptionText {
    pub(super) fn of(
        subscription: &Subscription,
        eras: &[Era],
        opening: Option<u32>,
        bills: &Bills,
    ) -> SubscriptionText {
        let Subscription { anchor, .. } = subscription;
        let usual_next = subscription.windows.last().map_or(0, |last| last.ordinal + 1);
        let is_anniversary = anchor.billing_time == BillingTime::Anniversary;
        let rest = SubscriptionRestText {
            start_date: Some(anchor.date.0).filter(|date| *date != utc_date(anchor.started_at)),
            anniversary: is_anniversary,
            life: match subscription.life {
                Life::NotBegun => Some(LifeText::Begins),
                Life::Running => None,
                Life::Ended => Some(LifeText::Ended),
            },
            ends_at: subscription.rare.ends_at,
            removed: subscription.is_removed,
            change: subscription.rare.change.map(|change| (change.at, change.plan)),
            wants_opening: subscription.wants_opening,
            next: Some(subscription.next_ordinal).filter(|next| *next != usual_next),
            reports: Some(subscription.rare.unbillable_reports).filter(|reports| *reports > 0),
            asked: AskedText::of(subscription),
            opening: opening.and_then(|number| OpeningText::of(number, bills)),
            ahead: subscription.rare.ahead.iter().map(HeldText::of).collect(),
        };
        let era_text = |era: &Era| EraText(period_text(&era.first), era.plan, era.zone.name().to_owned());
        let eras = eras.iter().map(era_text).collect();
        let windows = subscription.windows.iter();
        SubscriptionText(
            subscription.external_id.to_string(),
            subscription.customer,
            subscription.plan,
            anchor.started_at,
            eras,
            windows.map(|window| WindowText::of(window, subscription.plan, bills)).collect(),
            Some(rest).filter(SubscriptionRestText::says_something),
        )
    }

    pub(super) fn external_id(&self) -> &str {
        &self.0
    }

    pub(super) fn customer(&self) -> u32 {
        self.1
    }

    /// The ids of the invoices that aren't sealed: drafts, and those that running periods will have.
    pub(super) fn open_invoices(&self) -> Vec<super::document::InvoiceId> {
        let is_open = |rest: &Option<WindowRestText>| {
            rest.as_ref().is_none_or(|rest| rest.bill.is_none() || rest.draft.is_some())
        };
        let windows = self.5.iter().filter(|WindowText(_, _, rest)| is_open(rest));
        let mut ids: Vec<_> =
            windows.map(|WindowText(_, period, _)| invoice_id(&self.0, period.0, false)).collect();
        if self.6.as_ref().is_some_and(|rest| rest.opening.is_some()) {
            ids.push(invoice_id(&self.0, self.3, true));
        }
        ids
    }

    pub(super) fn read(
        self,
        number: u32,
        key: &str,
        prices: &BTreeMap<u32, Arc<PriceList>>,
    ) -> Opened<ReadSubscription> {
        let SubscriptionText(external_id, customer, plan, started_at, era_texts, window_texts, rest) = self;
        let rest = rest.unwrap_or_default();
        let mut eras = Vec::with_capacity(era_texts.len());
        for EraText(first, plan, zone) in era_texts {
            let zone = zone
                .parse()
                .map_err(|_| Unreadable(format!("document {key} names the unknown zone {zone}")))?;
            eras.push(Era { first: read_period(first), plan, zone });
        }
        let mut drafts = Vec::new();
        let draft = |id, kind, text: DraftText| text.read(id, customer, kind);
        if let Some(OpeningText(bill, ordinal, text)) = rest.opening {
            let kind = BillKind::Opening { subscription: number, ordinal };
            drafts.push((bill, draft(invoice_id(&external_id, started_at, true), kind, text)));
        }
        let mut windows = Vec::with_capacity(window_texts.len());
        for text in window_texts {
            let (window, text) = text.read(key, plan, prices)?;
            if let (Some(bill), Some(text)) = (window.bill, text) {
                let reason = match window.end {
                    End::Boundary => Reason::Periodic,
                    End::PlanChange(_) | End::Termination(_) => Reason::Terminating,
                };
                let kind = BillKind::Period { subscription: number, ordinal: window.ordinal, reason };
                drafts.push((bill, draft(invoice_id(&external_id, window.period.from, false), kind, text)));
            }
            windows.push(window);
        }
        let usual_next = windows.last().map_or(0, |last: &Window| last.ordinal + 1);
        let date = Date(rest.start_date.unwrap_or(utc_date(started_at)));
        let billing_time = if rest.anniversary { BillingTime::Anniversary } else { BillingTime::Calendar };
        let usual = AskedText(plan, true, None, None, None);
        let (asked, asked_dates) = rest.asked.unwrap_or(usual).read();
        let mut subscription = Subscription {
            asked,
            external_id: external_id.into(),
            customer,
            anchor: Anchor { started_at, date, billing_time },
            life: match rest.life {
                Some(LifeText::Begins) => Life::NotBegun,
                None => Life::Running,
                Some(LifeText::Ended) => Life::Ended,
            },
            is_removed: rest.removed,
            plan,
            wants_opening: rest.wants_opening,
            windows: windows.into(),
            next_ordinal: rest.next.unwrap_or(usual_next),
            first_rule: None,
            rare: Rare::default(),
        };
        let change = rest.change.map(|(at, plan)| PlanChange { at, plan });
        subscription.ask(asked_dates, rest.ends_at, change);
        if let Some(reports) = rest.reports {
            subscription.rare.unbillable_reports = reports;
        }
        if !rest.ahead.is_empty() {
            subscription.rare.ahead = rest.ahead.into_iter().map(HeldText::read).collect();
        }
        Ok(ReadSubscription { subscription, drafts, eras })
    }
}

impl SubscriptionRestText {
    fn says_something(&self) -> bool {
        let flags = self.anniversary || self.removed || self.wants_opening;
        let life = self.life.is_some() || self.ends_at.is_some() || self.change.is_some();
        let counts = self.start_date.is_some() || self.next.is_some() || self.reports.is_some();
        let others = self.asked.is_some() || self.opening.is_some() || !self.ahead.is_empty();
        flags || life || counts || others
    }
}

fn utc_date(at: Instant) -> i32 {
    at.0.div_euclid(DAY) as i32
}

impl AskedText {
    /// `None`: nothing but the plan that is in force, and the start.
    fn of(subscription: &Subscription) -> Option<AskedText> {
        let Asked { plan, billing_time, says_start } = subscription.asked;
        let dates @ (ended_at, effective_at) = subscription.rare.asked_dates;
        let is_usual =
            plan == subscription.plan && billing_time.is_none() && says_start && dates == (None, None);
        let is_anniversary = billing_time.map(|billing_time| billing_time == BillingTime::Anniversary);
        (!is_usual).then_some(AskedText(plan, says_start, is_anniversary, ended_at, effective_at))
    }

    fn read(self) -> (Asked, (Option<Instant>, Option<Instant>)) {
        let AskedText(plan, says_start, is_anniversary, ended_at, effective_at) = self;
        let billing_time = is_anniversary.map(|is_anniversary| match is_anniversary {
            true => BillingTime::Anniversary,
            false => BillingTime::Calendar,
        });
        (Asked { plan, billing_time, says_start }, (ended_at, effective_at))
    }
}

impl OpeningText {
    fn of(number: u32, bills: &Bills) -> Option<OpeningText> {
        let bill = bills.get(number)?;
        match (&bill.kind, &bill.stage) {
            (BillKind::Opening { ordinal, .. }, Stage::Draft(draft)) => {
                Some(OpeningText(number, *ordinal, DraftText::of(draft)))
            }
            _ => None,
        }
    }
}

impl WindowText {
    fn of(window: &Window, plan: u32, bills: &Bills) -> WindowText {
        let draft = window.bill.and_then(|number| match &bills.get(number)?.stage {
            Stage::Draft(draft) => Some(DraftText::of(draft)),
            Stage::Sealed(_) => None,
        });
        let rest = WindowRestText {
            to: Some(window.to).filter(|to| *to != window.period.boundary),
            end: end_text(window.end),
            plan: Some(window.plan).filter(|own| *own != plan),
            bill: window.bill,
            draft,
            planned: window.planned.map(|(to, end)| (to, end_text(end))),
            advance: advance_text(window.prepaid()),
            sealed: window.rare.sealed.as_ref().map(SealingText::of),
            fresh: window.rare.fresh.iter().map(HeldText::of).collect(),
        };
        WindowText(
            window.ordinal,
            period_text(&window.period),
            Some(rest).filter(WindowRestText::says_something),
        )
    }

    fn read(
        self,
        key: &str,
        plan: u32,
        prices: &BTreeMap<u32, Arc<PriceList>>,
    ) -> Opened<(Window, Option<DraftText>)> {
        let WindowText(ordinal, period, rest) = self;
        let (period, rest) = (read_period(period), rest.unwrap_or_default());
        let sealed = match rest.sealed {
            None => None,
            Some(text) => {
                let list = prices.get(&text.prices);
                let list = list.ok_or_else(|| {
                    Unreadable(format!("document {key} names unknown prices {}", text.prices))
                })?;
                Some(text.read(list.clone()))
            }
        };
        let frame = Frame {
            period,
            to: rest.to.unwrap_or(period.boundary),
            end: read_end(rest.end),
            plan: rest.plan.unwrap_or(plan),
            planned: rest.planned.map(|(to, end)| (to, read_end(end))),
        };
        let mut window = Window::new(ordinal, Arc::new(frame));
        window.bill = rest.bill;
        window.prepay(read_advance(rest.advance));
        if sealed.is_some() || !rest.fresh.is_empty() {
            window.rare.sealed = sealed;
            window.rare.fresh = rest.fresh.into_iter().map(HeldText::read).collect();
        }
        Ok((window, rest.draft))
    }
}

impl WindowRestText {
    fn says_something(&self) -> bool {
        let bounds = self.to.is_some() || self.end.is_some() || self.planned.is_some();
        let billing = self.bill.is_some() || self.advance.is_some() || self.sealed.is_some();
        bounds || billing || self.plan.is_some() || !self.fresh.is_empty()
    }
}

impl SealingText {
    fn of(sealing: &Sealing) -> SealingText {
        SealingText {
            prices: sealing.prices.version,
            exponent: sealing.exponent,
            share: (sealing.share.part, sealing.share.whole),
            base_fee_cents: sealing.base_fee_cents,
            billed: bucket_texts(&sealing.billed),
        }
    }

    fn read(self, prices: Arc<PriceList>) -> Sealing {
        Sealing {
            prices,
            exponent: self.exponent,
            share: Share { part: self.share.0, whole: self.share.1 },
            base_fee_cents: self.base_fee_cents,
            billed: read_buckets(self.billed),
            with_late: None,
            carrier: None,
        }
    }
}

impl Books {
    /// Puts a subscription's drafts back.
    pub(super) fn open_drafts(&mut self, drafts: Vec<(u32, Bill)>) {
        for (number, bill) in drafts {
            self.bills.put(number, bill);
            self.drafts.insert(number);
        }
    }
}
