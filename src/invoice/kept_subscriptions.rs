//! The texts of subscriptions. Several share a document; what is as it usually is isn't written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;
use ecow::EcoString;
use serde::{Deserialize, Serialize};

use super::bills::Bills;
use super::books::{
    Asked, Bill, BillKind, Books, Era, Frame, Life, PlanChange, PlanState, Prepaid, PriceList, Sealing,
    Shelf, Stage, Subscription, Window,
};
use super::calendar::Date;
use super::digest::invoice_id;
use super::document::Reason;
use super::instant::{DAY, Instant};
use super::keep::{Opened, Unreadable};
use super::kept::is_false;
use super::kept_bills::DraftText;
use super::kept_held::HeldText;
use super::kept_periods::{PeriodText, StretchText, period_text, read_period};
use super::kept_usage::{BucketText, bucket_texts, read_buckets};
use super::period::{Anchor, End, Period, Share};
use super::rare::Rare;
use crate::catalog::customer::BillingTime;

/// How many customers, or subscriptions, share a document.
pub(super) const TOGETHER: u32 = 8;

/// External id, customer, plan, start, eras, windows, and what only some have.
#[derive(Serialize, Deserialize)]
pub(super) struct SubscriptionText<'a>(
    EcoString,
    u32,
    u32,
    Instant,
    #[serde(borrow)] Vec<EraText<'a>>,
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

/// Plan, whether it says when it starts, whether anniversaries count; its end, and when its plan is to take effect.
#[derive(Serialize, Deserialize)]
struct AskedText(
    u32,
    bool,
    Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<AskedDates>,
);

type AskedDates = (Option<Instant>, Option<Instant>);

/// The invoice that opens the subscription while it is a draft: its number, the window that it bills in advance, itself.
#[derive(Serialize, Deserialize)]
struct OpeningText(u32, u32, DraftText);

/// Plan, zone, and the first period, where it doesn't follow from these.
#[derive(Serialize, Deserialize)]
struct EraText<'a>(
    u32,
    Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<PeriodText>,
);

/// Number, period, and what only some have.
#[derive(Serialize, Deserialize)]
struct WindowText(
    u32,
    StretchText,
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
    pub subscription: Subscription,
    pub drafts: Vec<(u32, Bill)>,
}

impl SubscriptionText<'_> {
    pub(super) fn of<'a>(
        subscription: &'a Subscription,
        opening: Option<u32>,
        plans: &Shelf<PlanState>,
        bills: &Bills,
    ) -> SubscriptionText<'a> {
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
        let first = subscription.first_rule.map(|(plan, zone)| EraText(plan, zone.name().into(), None));
        let era_text = |era: &Era| EraText(era.plan, era.zone.name().into(), Some(period_text(&era.first)));
        let eras = first.into_iter().chain(subscription.rare.eras.iter().map(era_text)).collect();
        let mut windows = Vec::with_capacity(subscription.windows.len());
        let mut before = None;
        for window in &subscription.windows {
            let usual = subscription.usual_period(before, plans);
            windows.push(WindowText::of(window, usual, subscription.plan, bills));
            before = Some(&window.period);
        }
        SubscriptionText(
            subscription.external_id.clone(),
            subscription.customer,
            subscription.plan,
            anchor.started_at,
            eras,
            windows,
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
            windows.map(|WindowText(_, period, _)| invoice_id(&self.0, period.from(), false)).collect();
        if self.6.as_ref().is_some_and(|rest| rest.opening.is_some()) {
            ids.push(invoice_id(&self.0, self.3, true));
        }
        ids
    }

    pub(super) fn read(
        self,
        number: u32,
        key: &str,
        plans: &Shelf<PlanState>,
        prices: &BTreeMap<u32, Arc<PriceList>>,
    ) -> Opened<ReadSubscription> {
        let SubscriptionText(external_id, customer, plan, started_at, era_texts, window_texts, rest) = self;
        let rest = rest.unwrap_or_default();
        let date = Date(rest.start_date.unwrap_or(utc_date(started_at)));
        let billing_time = if rest.anniversary { BillingTime::Anniversary } else { BillingTime::Calendar };
        let usual = AskedText(plan, true, None, None);
        let (asked, asked_dates) = rest.asked.unwrap_or(usual).read();
        let mut subscription = Subscription {
            asked,
            external_id,
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
            windows: Box::default(),
            next_ordinal: 0,
            first_rule: None,
            rare: Rare::default(),
        };
        for text in era_texts {
            text.put_into(&mut subscription, key)?;
        }
        let mut drafts = Vec::new();
        let draft = |id, kind, text: DraftText| text.read(id, customer, kind);
        if let Some(OpeningText(bill, ordinal, text)) = rest.opening {
            let kind = BillKind::Opening { subscription: number, ordinal };
            drafts.push((bill, draft(invoice_id(&subscription.external_id, started_at, true), kind, text)));
        }
        let mut windows: Vec<Window> = Vec::with_capacity(window_texts.len());
        for text in window_texts {
            let usual = subscription.usual_period(windows.last().map(|before| &before.period), plans);
            let (window, text) = text.read(key, usual, plan, prices)?;
            if let (Some(bill), Some(text)) = (window.bill(), text) {
                let reason = match window.end {
                    End::Boundary => Reason::Periodic,
                    End::PlanChange(_) | End::Termination(_) => Reason::Terminating,
                };
                let kind = BillKind::Period { subscription: number, ordinal: window.ordinal, reason };
                let id = invoice_id(&subscription.external_id, window.period.from, false);
                drafts.push((bill, draft(id, kind, text)));
            }
            windows.push(window);
        }
        let usual_next = windows.last().map_or(0, |last| last.ordinal + 1);
        subscription.next_ordinal = rest.next.unwrap_or(usual_next);
        subscription.windows = windows.into();
        let change = rest.change.map(|(at, plan)| PlanChange { at, plan });
        subscription.ask(asked_dates, rest.ends_at, change);
        if let Some(reports) = rest.reports {
            subscription.rare.unbillable_reports = reports;
        }
        if !rest.ahead.is_empty() {
            subscription.rare.ahead = rest.ahead.into_iter().map(HeldText::read).collect();
        }
        Ok(ReadSubscription { subscription, drafts })
    }
}

impl EraText<'_> {
    fn put_into(self, subscription: &mut Subscription, key: &str) -> Opened<()> {
        let EraText(plan, zone, first) = self;
        let zone: Tz =
            zone.parse().map_err(|_| Unreadable(format!("document {key} names the unknown zone {zone}")))?;
        match first {
            None => subscription.first_rule = Some((plan, zone)),
            Some(first) => subscription.rare.eras.push(Era { first: read_period(first), plan, zone }),
        }
        Ok(())
    }
}

impl Subscription {
    /// The period that follows another by the last rule, or the first one by the first.
    fn usual_period(&self, before: Option<&Period>, plans: &Shelf<PlanState>) -> Option<Period> {
        let interval = |plan| plans.get(plan).thing.prices.plan.interval;
        let last = || self.rare.eras.last().map(|era| (era.plan, era.zone)).or(self.first_rule);
        match before {
            None => self.first_rule.map(|(plan, zone)| Period::first(&self.anchor, interval(plan), zone)),
            Some(before) => last().map(|(plan, zone)| before.following(&self.anchor, interval(plan), zone)),
        }
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
        let dates = Some(subscription.rare.asked_dates).filter(|dates| *dates != (None, None));
        let is_usual = plan == subscription.plan && billing_time.is_none() && says_start && dates.is_none();
        let is_anniversary = billing_time.map(|billing_time| billing_time == BillingTime::Anniversary);
        (!is_usual).then_some(AskedText(plan, says_start, is_anniversary, dates))
    }

    fn read(self) -> (Asked, AskedDates) {
        let AskedText(plan, says_start, is_anniversary, dates) = self;
        let billing_time = is_anniversary.map(|is_anniversary| match is_anniversary {
            true => BillingTime::Anniversary,
            false => BillingTime::Calendar,
        });
        (Asked { plan, billing_time, says_start }, dates.unwrap_or_default())
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
    fn of(window: &Window, usual: Option<Period>, plan: u32, bills: &Bills) -> WindowText {
        let draft = window.bill().and_then(|number| match &bills.get(number)?.stage {
            Stage::Draft(draft) => Some(DraftText::of(draft)),
            Stage::Sealed(_) => None,
        });
        let rest = WindowRestText {
            to: Some(window.to).filter(|to| *to != window.period.boundary),
            end: end_text(window.end),
            plan: Some(window.plan).filter(|own| *own != plan),
            bill: window.bill(),
            draft,
            planned: window.planned.map(|(to, end)| (to, end_text(end))),
            advance: advance_text(window.prepaid()),
            sealed: window.rare.sealed.as_ref().map(SealingText::of),
            fresh: window.rare.fresh.iter().map(HeldText::of).collect(),
        };
        WindowText(
            window.ordinal,
            StretchText::of(&window.period, usual),
            Some(rest).filter(WindowRestText::says_something),
        )
    }

    fn read(
        self,
        key: &str,
        usual: Option<Period>,
        plan: u32,
        prices: &BTreeMap<u32, Arc<PriceList>>,
    ) -> Opened<(Window, Option<DraftText>)> {
        let WindowText(ordinal, period, rest) = self;
        let period = period.read(usual);
        let period = period
            .ok_or_else(|| Unreadable(format!("document {key} has a period that follows from nothing")))?;
        let rest = rest.unwrap_or_default();
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
        if let Some(bill) = rest.bill {
            window.bill_by(bill);
        }
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
