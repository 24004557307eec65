//! An invoice as the world sees it: its fields, its fees, and their JSON text.

use std::ops::Range;

use chrono_tz::Tz;

use super::calendar::Date;
use super::exact::{Exact, add_up};
use super::instant::Instant;
use super::quantity::Quantity;
use super::write::{Object, push_number, push_optional_text, push_plain_text, push_text};
use crate::catalog::currency::Currency;
use crate::catalog::duration::Duration;

/// An invoice's number of its own: the same invoice has it in every replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(8))]
pub struct InvoiceId(pub u128);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Draft,
    Finalized,
    /// Its fees add up to nothing, and its entity doesn't number such invoices.
    Closed,
    Voided,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceType {
    Subscription,
    OneOff,
    Credit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Starting,
    Periodic,
    Terminating,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payment {
    Pending,
    Succeeded,
    Failed,
}

/// Everything an invoice's webhook says but its version.
#[derive(Clone, Debug)]
pub struct Document {
    pub id: InvoiceId,
    pub number: Option<String>,
    pub sequential_id: Option<u64>,
    pub status: Status,
    pub invoice_type: InvoiceType,
    pub reason: Option<Reason>,
    pub entity: String,
    pub customer: String,
    pub customer_name: Option<String>,
    pub zone: Tz,
    pub subscription: Option<String>,
    pub plan: Option<String>,
    /// `None` where nobody says which.
    pub currency: Option<Currency>,
    pub period: Option<(Instant, Instant)>,
    pub grace: Duration,
    pub expected_finalization_at: Instant,
    pub finalized_at: Option<Instant>,
    pub issuing_date: Date,
    pub net_payment_term: u32,
    pub payment_due_date: Option<Date>,
    pub payment: Payment,
    pub payment_overdue: bool,
    pub dispute_lost_at: Option<Instant>,
    pub voided_at: Option<Instant>,
    pub figures: Figures,
}

/// The fees, as JSON text, and what they add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub fees: Vec<u8>,
    pub amounts: Amounts,
}

/// The amounts at the foot of an invoice, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub fees: i128,
    pub coupons: i128,
    pub taxes: i128,
    pub credit_notes: i128,
    pub prepaid_credit: i128,
}

impl Amounts {
    pub fn excluding_taxes(&self) -> i128 {
        self.fees.saturating_sub(self.coupons)
    }

    pub fn including_taxes(&self) -> i128 {
        self.excluding_taxes().saturating_add(self.taxes)
    }

    /// What is to be paid; never less than nothing (R62).
    pub fn total(&self) -> i128 {
        self.including_taxes().max(0) - self.credit_notes - self.prepaid_credit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeType {
    Subscription,
    Charge,
    LateUsage,
    Commitment,
    OneOff,
}

/// A fee, named by the catalog it comes from.
#[derive(Clone, Debug)]
pub struct Fee<'a> {
    pub fee_type: FeeType,
    pub charge_code: Option<&'a str>,
    pub metric_code: Option<&'a str>,
    pub display_name: Option<&'a str>,
    pub filter: Option<&'a [(String, Vec<String>)]>,
    pub grouped_by: Option<GroupedBy<'a>>,
    pub period: Option<(Instant, Instant)>,
    pub units: Quantity,
    pub events: u64,
    pub amount_cents: i128,
    /// In the currency's major unit.
    pub precise: Exact,
    pub edited: bool,
}

/// The properties by which a fee's usage is told apart, and their values.
#[derive(Clone, Copy, Debug)]
pub struct GroupedBy<'a> {
    pub keys: &'a [String],
    pub values: &'a [Option<Box<str>>],
}

/// Fees as they are written on an invoice, and the amount of each.
pub struct WrittenFees {
    pub text: Vec<u8>,
    pub cents: Vec<i128>,
}

impl Document {
    /// Appends the invoice's JSON; with the version left out it is what two documents are compared by. Says where the
    /// version stands.
    pub fn write_to(&self, version: Option<u32>, out: &mut Vec<u8>) -> Range<usize> {
        let mut object = Object::open(out);
        object.quoted("id", |out| self.id.write_to(out));
        object.optional_text("number", self.number.as_deref());
        object.optional("sequential_id", self.sequential_id, push_number);
        let version_from = object.bytes();
        if let Some(version) = version {
            object.number("version", version);
        }
        let version_to = object.bytes();
        object.text("status", self.status.name());
        object.text("invoice_type", self.invoice_type.name());
        object.optional_text("invoicing_reason", self.reason.map(Reason::name));
        object.text("billing_entity_code", &self.entity);
        self.write_customer(object.member("customer"));
        object.optional_text("external_subscription_id", self.subscription.as_deref());
        object.optional_text("plan_code", self.plan.as_deref());
        object.optional("currency", self.currency, push_plain_text);
        object.instant("period_from", self.period.map(|period| period.0));
        object.instant("period_to", self.period.map(|period| period.1));
        push_plain_text(object.member("grace_period"), self.grace);
        object.instant("expected_finalization_at", Some(self.expected_finalization_at));
        object.instant("finalized_at", self.finalized_at);
        object.date("issuing_date", Some(self.issuing_date));
        object.number("net_payment_term", self.net_payment_term);
        object.date("payment_due_date", self.payment_due_date);
        object.text("payment_status", self.payment.name());
        object.flag("payment_overdue", self.payment_overdue);
        object.instant("payment_dispute_lost_at", self.dispute_lost_at);
        object.instant("voided_at", self.voided_at);
        object.member("fees").extend_from_slice(&self.figures.fees);
        self.figures.amounts.write_to(&mut object);
        object.close();
        version_from..version_to
    }

    fn write_customer(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        object.text("external_id", &self.customer);
        object.optional_text("name", self.customer_name.as_deref());
        object.text("timezone", self.zone.name());
        object.close();
    }
}

impl Amounts {
    fn write_to(&self, object: &mut Object<'_>) {
        object.number("fees_amount_cents", self.fees);
        object.number("coupons_amount_cents", self.coupons);
        object.number("sub_total_excluding_taxes_amount_cents", self.excluding_taxes());
        object.number("taxes_amount_cents", self.taxes);
        object.number("sub_total_including_taxes_amount_cents", self.including_taxes());
        object.number("credit_notes_amount_cents", self.credit_notes);
        object.number("prepaid_credit_amount_cents", self.prepaid_credit);
        object.number("total_amount_cents", self.total());
    }
}

impl WrittenFees {
    pub fn of(fees: &[Fee<'_>]) -> WrittenFees {
        const FEE_BYTES: usize = 400;
        let mut text = Vec::with_capacity(fees.len() * FEE_BYTES + 2);
        text.push(b'[');
        for (index, fee) in fees.iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            fee.write_to(&mut text);
        }
        text.push(b']');
        WrittenFees { text, cents: fees.iter().map(|fee| fee.amount_cents).collect() }
    }

    pub fn sum(&self) -> i128 {
        add_up(self.cents.iter().copied())
    }
}

impl Fee<'_> {
    fn write_to(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        object.text("type", self.fee_type.name());
        object.optional_text("charge_code", self.charge_code);
        object.optional_text("billable_metric_code", self.metric_code);
        object.optional_text("invoice_display_name", self.display_name);
        object.optional("filter", self.filter, push_filter);
        object.optional("grouped_by", self.grouped_by, push_group);
        object.instant("period_from", self.period.map(|period| period.0));
        object.instant("period_to", self.period.map(|period| period.1));
        object.quoted("units", |out| self.units.write_to(out));
        object.number("events_count", self.events);
        object.number("amount_cents", self.amount_cents);
        object.quoted("precise_amount", |out| self.precise.write_to(out));
        object.flag("edited", self.edited);
        object.close();
    }
}

fn push_filter(out: &mut Vec<u8>, filter: &[(String, Vec<String>)]) {
    let mut object = Object::open(out);
    for (key, values) in filter {
        let out = object.named_member(key);
        out.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_text(out, value);
        }
        out.push(b']');
    }
    object.close();
}

fn push_group(out: &mut Vec<u8>, group: GroupedBy<'_>) {
    let mut object = Object::open(out);
    for (key, value) in group.keys.iter().zip(group.values) {
        push_optional_text(object.named_member(key), value.as_deref());
    }
    object.close();
}

impl std::fmt::Display for InvoiceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in_{:032x}", { self.0 })
    }
}

impl InvoiceId {
    /// Appends the id as its webhook writes it.
    pub fn write_to(self, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        out.extend_from_slice(b"in_");
        out.extend(
            { self.0 }
                .to_be_bytes()
                .into_iter()
                .flat_map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        );
    }

    pub fn parse(text: &str) -> Option<InvoiceId> {
        InvoiceId::of_digits(text.strip_prefix("in_")?)
    }

    pub(super) fn of_digits(digits: &str) -> Option<InvoiceId> {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let is_whole = plain && digits.len() == 32;
        is_whole.then(|| u128::from_str_radix(digits, 16).ok().map(InvoiceId))?
    }
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Draft => "draft",
            Status::Finalized => "finalized",
            Status::Closed => "closed",
            Status::Voided => "voided",
        }
    }

    pub fn named(name: &str) -> Option<Status> {
        match name {
            "draft" => Some(Status::Draft),
            "finalized" => Some(Status::Finalized),
            "closed" => Some(Status::Closed),
            "voided" => Some(Status::Voided),
            _ => None,
        }
    }
}

impl InvoiceType {
    pub fn name(self) -> &'static str {
        match self {
            InvoiceType::Subscription => "subscription",
            InvoiceType::OneOff => "one_off",
            InvoiceType::Credit => "credit",
        }
    }

    pub fn named(name: &str) -> Option<InvoiceType> {
        match name {
            "subscription" => Some(InvoiceType::Subscription),
            "one_off" => Some(InvoiceType::OneOff),
            "credit" => Some(InvoiceType::Credit),
            _ => None,
        }
    }
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Starting => "subscription_starting",
            Reason::Periodic => "subscription_periodic",
            Reason::Terminating => "subscription_terminating",
        }
    }

    pub fn named(name: &str) -> Option<Reason> {
        match name {
            "subscription_starting" => Some(Reason::Starting),
            "subscription_periodic" => Some(Reason::Periodic),
            "subscription_terminating" => Some(Reason::Terminating),
            _ => None,
        }
    }
}

impl Payment {
    pub fn name(self) -> &'static str {
        match self {
            Payment::Pending => "pending",
            Payment::Succeeded => "succeeded",
            Payment::Failed => "failed",
        }
    }

    pub fn named(name: &str) -> Option<Payment> {
        match name {
            "pending" => Some(Payment::Pending),
            "succeeded" => Some(Payment::Succeeded),
            "failed" => Some(Payment::Failed),
            _ => None,
        }
    }
}

impl FeeType {
    pub fn name(self) -> &'static str {
        match self {
            FeeType::Subscription => "subscription",
            FeeType::Charge => "charge",
            FeeType::LateUsage => "late_usage",
            FeeType::Commitment => "commitment",
            FeeType::OneOff => "one_off",
        }
    }
}
