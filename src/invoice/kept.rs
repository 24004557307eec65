//! The texts of the documents that books are kept in.
//!
//! Instants and quantities are written as people read them; what a document names by number is a document too.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use num_bigint::BigInt;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::aggregate::{Bucket, Buckets, Extra, FreeUse, Group, LineKey, Total, Weighed};
use super::books::{
    Asked, Carried, Coupon, CouponValue, Customer, Era, Frame, Kept, Life, MetricUse, Money, PlanChange,
    Prepaid, PriceList, Sealing, Subscription, Unbillable, UnbillableKey, Window,
};
use super::calendar::Date;
use super::instant::Instant;
use super::keep::Unreadable;
use super::kept_held::HeldText;
use super::period::{Anchor, End, Period, Share};
use super::quantity::Quantity;
use super::shared::Shared;
use super::waiting::WaitingRecord;
use super::write::Object;
use crate::catalog::customer::{BillingTime, CustomerRecord, CustomerTerms, SubscriptionRecord};
use crate::catalog::{Kind, Record};

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Instant::parse_rfc3339(&text).ok_or_else(|| D::Error::custom(format!("no instant: {text}")))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        read_quantity(&text).ok_or_else(|| D::Error::custom(format!("no quantity: {text}")))
    }
}

/// A sum may have more digits than a single reading of usage.
fn read_quantity(text: &str) -> Option<Quantity> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let digits = fraction.len();
    if digits > Quantity::FRACTION_DIGITS as usize || fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    let scale = 10i128.checked_pow(Quantity::FRACTION_DIGITS - digits as u32)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()?.checked_mul(scale)? };
    let whole = whole.parse::<i128>().ok()?.checked_mul(Quantity::ONE.0)?;
    Some(Quantity(if is_negative { whole.checked_sub(part)? } else { whole.checked_add(part)? }))
}

/// A thing of a small kind: its record as it came, and whether it was removed.
#[derive(Serialize, Deserialize)]
pub(super) struct ShelfText {
    record: String,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl ShelfText {
    pub(super) fn of<T>(kept: &Kept<T>) -> ShelfText {
        ShelfText { record: String::from_utf8_lossy(&kept.source).into_owned(), removed: kept.is_removed }
    }

    pub(super) fn read(self, key: &str) -> Result<(Record, Arc<[u8]>, bool), Unreadable> {
        let record = Record::read(None, Some(self.record.as_bytes())).map_err(|fault| {
            Unreadable(format!("document {key} holds no record: {} {}", fault.reason, fault.pointer))
        })?;
        Ok((record, Arc::from(self.record.into_bytes()), self.removed))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PlanText {
    #[serde(flatten)]
    pub shelf: ShelfText,
    pub next_charge: u32,
    pub generation: u8,
    pub prices: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PricesText {
    pub plan: String,
    pub metrics: Vec<String>,
    /// Of each charge its number, its metric's, and the generation that brought it.
    pub lines: Vec<(u32, u32, u8)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WaitingText {
    pub key: Option<String>,
    pub value: String,
    missing: String,
    pub missing_code: String,
}

impl WaitingText {
    pub(super) fn of((waiting, missing): &(WaitingRecord, crate::catalog::Name)) -> WaitingText {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        WaitingText {
            key: waiting.key.as_deref().map(text),
            value: text(&waiting.value),
            missing: missing.kind.name().to_owned(),
            missing_code: missing.code.clone(),
        }
    }

    pub(super) fn missing_kind(&self, key: &str) -> Result<Kind, Unreadable> {
        Kind::named(&self.missing)
            .ok_or_else(|| Unreadable(format!("document {key} waits for an unknown kind")))
    }
}

// --- Customers ----------------------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
pub(super) struct CustomerText {
    record: Box<RawValue>,
    entity: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    money: Option<MoneyText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    numbers: Vec<(u32, u64)>,
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
    percent: Option<Quantity>,
    invoices_left: Option<u32>,
}

impl CustomerText {
    pub(super) fn of(customer: &Customer) -> CustomerText {
        CustomerText {
            record: raw(customer_record(&customer.record())),
            entity: customer.entity,
            removed: customer.is_removed,
            money: customer.money.as_deref().map(MoneyText::of),
            numbers: customer.numbers.to_vec(),
        }
    }

    pub(super) fn read(self, key: &str, terms: &mut Shared<CustomerTerms>) -> Result<Customer, Unreadable> {
        let Ok(Record::Customer(record)) = Record::read(None, Some(self.record.get().as_bytes())) else {
            return Err(Unreadable(format!("document {key} holds no customer")));
        };
        Ok(Customer {
            external_id: record.external_id.into(),
            name: record.name.map(String::into_boxed_str),
            terms: terms.share(record.terms),
            entity: self.entity,
            is_removed: self.removed,
            subscriptions: Vec::new(),
            money: self.money.map(|money| Box::new(money.read())),
            numbers: self.numbers.into(),
        })
    }
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

pub(super) fn raw(text: Vec<u8>) -> Box<RawValue> {
    let text = String::from_utf8(text).expect("JSON is text");
    RawValue::from_string(text).expect("what was written is JSON")
}

/// A customer's record with what is known of it.
fn customer_record(record: &CustomerRecord) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.text("kind", "customer");
    object.text("external_id", &record.external_id);
    let mut text = |name: &'static str, value: Option<String>| {
        if let Some(value) = value {
            object.text(name, &value);
        }
    };
    let terms = &record.terms;
    text("name", record.name.clone());
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

fn subscription_record(record: &SubscriptionRecord) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::open(&mut out);
    object.text("kind", "subscription");
    object.text("external_id", &record.external_id);
    object.text("external_customer_id", &record.customer);
    object.text("plan_code", &record.plan);
    match record.billing_time {
        Some(BillingTime::Calendar) => object.text("billing_time", "calendar"),
        Some(BillingTime::Anniversary) => object.text("billing_time", "anniversary"),
        None => {}
    }
    let instants = [
        ("started_at", record.started_at),
        ("ended_at", record.ended_at),
        ("effective_at", record.effective_at),
    ];
    for (name, at) in instants {
        if at.is_some() {
            object.instant(name, at);
        }
    }
    object.close();
    out
}

// --- Subscriptions ------------------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
pub(super) struct SubscriptionText {
    record: Box<RawValue>,
    customer: u32,
    started_at: Instant,
    start_date: i32,
    anniversary: bool,
    life: u8,
    ends_at: Option<Instant>,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
    plan: u32,
    change: Option<(Instant, u32)>,
    #[serde(default, skip_serializing_if = "is_false")]
    wants_opening: bool,
    next: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    reports: u32,
    eras: Vec<([i64; 7], u32, String)>,
    windows: Vec<WindowText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<HeldText>,
}

#[derive(Serialize, Deserialize)]
struct WindowText {
    ordinal: u32,
    period: [i64; 7],
    to: Instant,
    end: EndText,
    plan: u32,
    bill: Option<u32>,
    advance: (Instant, EndText, PrepaidText),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    carries: Vec<CarriedText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<SealingText>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fresh: Vec<HeldText>,
}

/// How a period ends, and at which instant a cut comes.
type EndText = (u8, Option<Instant>);

fn end_text(end: End) -> EndText {
    match end {
        End::Boundary => (0, None),
        End::PlanChange(at) => (1, Some(at)),
        End::Termination(at) => (2, Some(at)),
    }
}

fn read_end(text: EndText) -> End {
    match text {
        (1, Some(at)) => End::PlanChange(at),
        (2, Some(at)) => End::Termination(at),
        _ => End::Boundary,
    }
}

/// What is paid in advance: nothing, whatever the draft says, or so many cents.
type PrepaidText = (u8, i128);

fn prepaid_text(prepaid: &Prepaid) -> PrepaidText {
    match prepaid {
        Prepaid::Nothing => (0, 0),
        Prepaid::OnDraft => (1, 0),
        Prepaid::Cents(cents) => (2, **cents),
    }
}

fn read_prepaid(text: PrepaidText) -> Prepaid {
    match text {
        (2, cents) => Prepaid::Cents(Box::new(cents)),
        (1, _) => Prepaid::OnDraft,
        _ => Prepaid::Nothing,
    }
}

#[derive(Serialize, Deserialize)]
struct SealingText {
    prices: u32,
    exponent: u32,
    share: (i64, i64),
    base_fee_cents: i128,
    billed: Vec<BucketText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    with_late: Option<Vec<BucketText>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carrier: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct CarriedText {
    from: Instant,
    to: Instant,
    metrics: BTreeMap<String, (u64, Option<Quantity>)>,
}

impl CarriedText {
    fn of(carried: &Carried) -> CarriedText {
        let metrics =
            carried.metrics.iter().map(|(code, used)| (code.clone(), (used.events, used.units))).collect();
        CarriedText { from: carried.from, to: carried.to, metrics }
    }

    fn read(self) -> Carried {
        let used = |(code, (events, units))| (code, MetricUse { events, units });
        Carried { from: self.from, to: self.to, metrics: self.metrics.into_iter().map(used).collect() }
    }
}

impl SubscriptionText {
    pub(super) fn of(subscription: &Subscription, record: &SubscriptionRecord) -> SubscriptionText {
        SubscriptionText {
            record: raw(subscription_record(record)),
            customer: subscription.customer,
            started_at: subscription.anchor.started_at,
            start_date: subscription.anchor.date.0,
            anniversary: subscription.anchor.billing_time == BillingTime::Anniversary,
            life: match subscription.life {
                Life::NotBegun => 0,
                Life::Running => 1,
                Life::Ended => 2,
            },
            ends_at: subscription.ends_at,
            removed: subscription.is_removed,
            plan: subscription.plan,
            change: subscription.change.as_ref().map(|change| (change.at, change.plan)),
            wants_opening: subscription.wants_opening,
            next: subscription.next_ordinal,
            reports: subscription.unbillable_reports,
            eras: subscription
                .eras
                .iter()
                .map(|era| (era.first.parts(), era.plan, era.zone.name().to_owned()))
                .collect(),
            windows: subscription.windows.iter().map(WindowText::of).collect(),
            ahead: subscription.ahead.iter().map(HeldText::of).collect(),
        }
    }

    pub(super) fn read(
        self,
        key: &str,
        prices: &BTreeMap<u32, Arc<PriceList>>,
        plan_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<Subscription, Unreadable> {
        let Ok(Record::Subscription(record)) = Record::read(None, Some(self.record.get().as_bytes())) else {
            return Err(Unreadable(format!("document {key} holds no subscription")));
        };
        let plan = plan_of(&record.plan)
            .ok_or_else(|| Unreadable(format!("document {key} names the unknown plan {}", record.plan)))?;
        let billing_time = if self.anniversary { BillingTime::Anniversary } else { BillingTime::Calendar };
        let mut eras = Vec::with_capacity(self.eras.len());
        for (first, plan, zone) in self.eras {
            let zone = zone
                .parse()
                .map_err(|_| Unreadable(format!("document {key} names the unknown zone {zone}")))?;
            eras.push(Era { first: Period::from_parts(first), plan, zone });
        }
        let windows: Result<VecDeque<Window>, Unreadable> =
            self.windows.into_iter().map(|window| window.read(key, prices)).collect();
        Ok(Subscription {
            asked: Asked::of(&record, plan),
            external_id: record.external_id.into(),
            customer: self.customer,
            anchor: Anchor { started_at: self.started_at, date: Date(self.start_date), billing_time },
            life: match self.life {
                0 => Life::NotBegun,
                1 => Life::Running,
                _ => Life::Ended,
            },
            ends_at: self.ends_at,
            is_removed: self.removed,
            plan: self.plan,
            change: self.change.map(|(at, plan)| Box::new(PlanChange { at, plan })),
            wants_opening: self.wants_opening,
            windows: windows?,
            next_ordinal: self.next,
            unbillable_reports: self.reports,
            eras,
            ahead: self.ahead.into_iter().map(HeldText::read).collect(),
        })
    }
}

impl WindowText {
    fn of(window: &Window) -> WindowText {
        WindowText {
            ordinal: window.ordinal,
            period: window.period.parts(),
            to: window.to,
            end: end_text(window.end),
            plan: window.plan,
            bill: window.bill,
            advance: (window.planned().0, end_text(window.planned().1), prepaid_text(&window.prepaid)),
            carries: window.carries.iter().map(CarriedText::of).collect(),
            sealed: window.sealed.as_deref().map(SealingText::of),
            fresh: window.fresh.iter().map(HeldText::of).collect(),
        }
    }

    fn read(self, key: &str, prices: &BTreeMap<u32, Arc<PriceList>>) -> Result<Window, Unreadable> {
        let sealed = match self.sealed {
            None => None,
            Some(text) => {
                let list = prices.get(&text.prices);
                let list = list.ok_or_else(|| {
                    Unreadable(format!("document {key} names unknown prices {}", text.prices))
                })?;
                Some(Box::new(text.read(list.clone())))
            }
        };
        let (planned_to, planned_end, prepaid) = self.advance;
        let (end, planned) = (read_end(self.end), (planned_to, read_end(planned_end)));
        let frame = Frame {
            period: Period::from_parts(self.period),
            to: self.to,
            end,
            plan: self.plan,
            planned: (planned != (self.to, end)).then_some(planned),
        };
        Ok(Window {
            ordinal: self.ordinal,
            frame: Arc::new(frame),
            usage: Buckets::default(),
            bill: self.bill,
            prepaid: read_prepaid(prepaid),
            carries: self.carries.into_iter().map(CarriedText::read).collect(),
            sealed,
            fresh: self.fresh.into_iter().map(HeldText::read).collect(),
        })
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
            with_late: sealing.with_late.as_ref().map(bucket_texts),
            carrier: sealing.carrier,
        }
    }

    fn read(self, prices: Arc<PriceList>) -> Sealing {
        Sealing {
            prices,
            exponent: self.exponent,
            share: Share { part: self.share.0, whole: self.share.1 },
            base_fee_cents: self.base_fee_cents,
            billed: read_buckets(self.billed),
            with_late: self.with_late.map(read_buckets),
            carrier: self.carrier,
        }
    }
}

/// What usage changes of a subscription: the buckets of its windows that aren't sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct UsageText(Vec<(u32, Vec<BucketText>)>);

impl UsageText {
    pub(super) fn of(subscription: &Subscription) -> UsageText {
        let open = subscription.windows.iter().filter(|window| !window.usage.is_empty());
        UsageText(open.map(|window| (window.ordinal, bucket_texts(&window.usage))).collect())
    }

    pub(super) fn put_into(self, subscription: &mut Subscription) {
        for (ordinal, texts) in self.0 {
            if let Some(window) = subscription.window_mut(ordinal) {
                window.usage = read_buckets(texts);
            }
        }
    }
}

/// Charge, filter, group, events, total, and what only some charges need.
#[derive(Serialize, Deserialize)]
struct BucketText(
    u32,
    u32,
    Option<Vec<Option<String>>>,
    u64,
    TotalText,
    Option<(Quantity, u64, Quantity, bool)>,
);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TotalText {
    Count,
    Sum(Quantity),
    Max(Option<Quantity>),
    Unique(BTreeMap<String, u32>),
    Latest(Option<(Instant, Quantity)>),
    Weighted(Quantity, String, Vec<(Instant, Quantity)>),
}

fn bucket_texts(buckets: &Buckets) -> Vec<BucketText> {
    buckets.iter().map(BucketText::of).collect()
}

fn read_buckets(texts: Vec<BucketText>) -> Buckets {
    Buckets::from_kept(texts.into_iter().map(BucketText::read).collect())
}

pub(super) fn group_text(group: &Group) -> Option<Vec<Option<String>>> {
    group.as_ref().map(|values| values.iter().map(|value| value.as_deref().map(str::to_owned)).collect())
}

pub(super) fn read_group(text: Option<Vec<Option<String>>>) -> Group {
    text.map(|values| values.into_iter().map(|value| value.map(String::into_boxed_str)).collect())
}

impl BucketText {
    fn of(bucket: &Bucket) -> BucketText {
        let total = match &bucket.total {
            Total::Count => TotalText::Count,
            Total::Sum(sum) => TotalText::Sum(*sum),
            Total::Max(max) => TotalText::Max(*max),
            Total::Unique(values) => {
                TotalText::Unique(values.iter().map(|(value, count)| (value.to_string(), *count)).collect())
            }
            Total::Latest(latest) => TotalText::Latest(latest.as_deref().copied()),
            Total::Weighted(weighed) => {
                let Weighed { sum, moment, ahead } = &**weighed;
                TotalText::Weighted(*sum, moment.to_string(), ahead.clone())
            }
        };
        let extra = bucket
            .extra
            .as_deref()
            .map(|extra| (extra.precise_cents, extra.free.events, extra.free.amount, extra.free.is_over));
        let LineKey { charge, filter, group } = &bucket.key;
        BucketText(*charge, *filter, group_text(group), bucket.events, total, extra)
    }

    fn read(self) -> Bucket {
        let BucketText(charge, filter, group, events, total, extra) = self;
        let total = match total {
            TotalText::Count => Total::Count,
            TotalText::Sum(sum) => Total::Sum(sum),
            TotalText::Max(max) => Total::Max(max),
            TotalText::Unique(values) => {
                let values = values.into_iter().map(|(value, count)| (value.into_boxed_str(), count));
                Total::Unique(Box::new(values.collect()))
            }
            TotalText::Latest(latest) => Total::Latest(latest.map(Box::new)),
            TotalText::Weighted(sum, moment, ahead) => {
                let moment = moment.parse::<BigInt>().unwrap_or_default();
                Total::Weighted(Box::new(Weighed { sum, moment, ahead }))
            }
        };
        let extra = extra.map(|(precise_cents, events, amount, is_over)| {
            Box::new(Extra { precise_cents, free: FreeUse { events, amount, is_over } })
        });
        Bucket { key: LineKey { charge, filter, group: read_group(group) }, events, total, extra }
    }
}

// --- Usage that couldn't be billed ------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
pub(super) struct UnbillableText {
    subscription: u32,
    since: Instant,
    carried: CarriedText,
}

impl UnbillableText {
    pub(super) fn of((key, unbillable): (&UnbillableKey, &Unbillable)) -> UnbillableText {
        UnbillableText {
            subscription: key.subscription,
            since: unbillable.since,
            carried: CarriedText::of(&unbillable.carried),
        }
    }

    pub(super) fn read(self) -> (UnbillableKey, Unbillable) {
        let carried = self.carried.read();
        let key = UnbillableKey { subscription: self.subscription, from: carried.from };
        (key, Unbillable { since: self.since, carried })
    }
}
