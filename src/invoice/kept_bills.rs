//! The texts of invoices: drafts with what people did to them, and sealed invoices as they were announced.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::aggregate::LineKey;
use super::bills::Marks;
use super::books::{AwaitsNumber, Bill, BillKind, Draft, DraftRare, Edit, News, Sealed, Stage, Used};
use super::calendar::Date;
use super::document::{Amounts, Document, Figures, InvoiceId, InvoiceType, Payment, Reason, Status};
use super::instant::Instant;
use super::keep::Unreadable;
use super::kept::raw;
use super::kept_usage::{group_text, read_group};
use super::notice::{Event, Notice, Topic};
use super::quantity::Quantity;
use super::rare::Rare;
use super::write::Object;
use crate::catalog::currency::Currency;
use crate::catalog::duration::Duration;
use crate::catalog::json::Json;
use crate::catalog::settings::Dialect;

/// A sealed invoice as its webhooks have it, and what else is to be known of it, as it is read.
#[derive(Deserialize)]
pub(super) struct InvoiceText<'a> {
    /// Its number among all invoices of the shard.
    place: u32,
    customer: u32,
    kind: KindText,
    version: u32,
    created_by: Option<String>,
    #[serde(borrow)]
    invoice: &'a RawValue,
    used: Option<UsedText>,
    credits: Option<i128>,
    will_be_due_at: Option<Instant>,
    awaits: Option<AwaitsText>,
}

/// The head of a number, and what is told once it is there.
#[derive(Serialize, Deserialize)]
struct AwaitsText {
    head: String,
    news: Vec<NewsText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NewsText {
    Invoice { at: Instant, event: String, version: u32, invoice: Box<RawValue> },
    Usage { at: Instant, key: String, headers: Vec<(String, String)>, value: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindText {
    Period(u32, u32, u8),
    Opening(u32, u32),
    OneOff,
    Credit,
}

/// When a draft is finalized, and what somebody did to it.
#[derive(Serialize, Deserialize)]
pub(super) struct DraftText(
    Instant,
    #[serde(default, skip_serializing_if = "Option::is_none")] Option<EditsText>,
);

#[derive(Serialize, Deserialize)]
struct EditsText {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    edits: Vec<EditText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen: Option<(String, [i128; 5])>,
}

/// Charge, filter, group; units, amount, name.
#[derive(Serialize, Deserialize)]
struct EditText(u32, u32, Option<Vec<Option<String>>>, Option<Quantity>, Option<i128>, Option<String>);

#[derive(Serialize, Deserialize)]
struct UsedText {
    coupons: Vec<(usize, i128)>,
    credit_notes: Vec<(usize, i128)>,
    wallet: i128,
}

/// The same as it is written: the invoice goes in as its webhook has it, without being looked at again.
pub(super) fn invoice_text(number: u32, bill: &Bill) -> Vec<u8> {
    const INVOICE_BYTES: usize = 1500;
    let Stage::Sealed(sealed) = &bill.stage else { panic!("a draft is kept with its subscription") };
    let mut text = Vec::with_capacity(INVOICE_BYTES);
    let mut object = Object::open(&mut text);
    object.number("place", number);
    object.number("customer", bill.customer);
    put(&mut object, "kind", Some(KindText::of(bill.kind)));
    object.number("version", bill.version);
    put(&mut object, "created_by", sealed.created_by.as_deref());
    sealed.document.write_to(Some(bill.version), object.member("invoice"));
    put(&mut object, "used", UsedText::of(&sealed.used));
    put(&mut object, "credits", sealed.credits);
    put(&mut object, "will_be_due_at", sealed.will_be_due_at);
    put(&mut object, "awaits", sealed.awaits.as_deref().map(AwaitsText::of));
    object.close();
    text
}

/// Writes a member that is there.
fn put(object: &mut Object<'_>, name: &'static str, value: Option<impl Serialize>) {
    if let Some(value) = value {
        serde_json::to_writer(object.member(name), &value).expect("a document is plain data");
    }
}

impl KindText {
    fn of(kind: BillKind) -> KindText {
        match kind {
            BillKind::Period { subscription, ordinal, reason } => {
                KindText::Period(subscription, ordinal, u8::from(reason == Reason::Terminating))
            }
            BillKind::Opening { subscription, ordinal } => KindText::Opening(subscription, ordinal),
            BillKind::OneOff => KindText::OneOff,
            BillKind::Credit => KindText::Credit,
        }
    }
}

impl UsedText {
    fn of(used: &Used) -> Option<UsedText> {
        let Used { coupons, credit_notes, wallet } = used.clone();
        let is_used = !coupons.is_empty() || !credit_notes.is_empty() || wallet != 0;
        is_used.then_some(UsedText { coupons, credit_notes, wallet })
    }
}

impl InvoiceText<'_> {
    /// The invoice and its number.
    pub(super) fn read(self, key: &str) -> Result<(u32, Bill), Unreadable> {
        let missing = |what: &str| Unreadable(format!("document {key} has no readable {what}"));
        let json = Json::read(self.invoice.get().as_bytes()).ok_or_else(|| missing("invoice"))?;
        let fees = fees_of(self.invoice.get()).ok_or_else(|| missing("fees"))?;
        let document = read_document(&json, fees).ok_or_else(|| missing("invoice"))?;
        let used = self.used.map(|used| Used {
            coupons: used.coupons,
            credit_notes: used.credit_notes,
            wallet: used.wallet,
        });
        let awaits = match self.awaits {
            None => None,
            Some(text) => Some(Box::new(text.read().ok_or_else(|| missing("news"))?)),
        };
        let kind = match self.kind {
            KindText::Period(subscription, ordinal, reason) => {
                let reason = if reason == 1 { Reason::Terminating } else { Reason::Periodic };
                BillKind::Period { subscription, ordinal, reason }
            }
            KindText::Opening(subscription, ordinal) => BillKind::Opening { subscription, ordinal },
            KindText::OneOff => BillKind::OneOff,
            KindText::Credit => BillKind::Credit,
        };
        let bill = Bill {
            id: document.id,
            customer: self.customer,
            kind,
            version: self.version,
            stage: Stage::Sealed(Box::new(Sealed {
                document,
                created_by: self.created_by.map(String::into_boxed_str),
                will_be_due_at: self.will_be_due_at,
                awaits,
                used: used.unwrap_or_default(),
                credits: self.credits,
            })),
            marks: Marks::default(),
        };
        Ok((self.place, bill))
    }
}

impl AwaitsText {
    fn of(awaits: &AwaitsNumber) -> AwaitsText {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let news = awaits.news.iter().map(|news| match news {
            News::Invoice { at, event, version, document } => {
                let mut invoice = Vec::with_capacity(1200);
                document.write_to(Some(*version), &mut invoice);
                let event = event.name(Dialect::Graceline).to_owned();
                NewsText::Invoice { at: *at, event, version: *version, invoice: raw(invoice) }
            }
            News::Usage(notice) => NewsText::Usage {
                at: notice.at,
                key: text(notice.key.as_deref().unwrap_or_default()),
                headers: notice.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
                value: text(notice.value.as_deref().unwrap_or_default()),
            },
        });
        AwaitsText { head: awaits.head.clone(), news: news.collect() }
    }

    fn read(self) -> Option<AwaitsNumber> {
        let mut news = Vec::with_capacity(self.news.len());
        for text in self.news {
            news.push(match text {
                NewsText::Invoice { at, event, version, invoice } => {
                    let event =
                        Event::ALL.into_iter().find(|known| known.name(Dialect::Graceline) == event)?;
                    let document =
                        read_document(&Json::read(invoice.get().as_bytes())?, fees_of(invoice.get())?)?;
                    News::Invoice { at, event, version, document: Box::new(document) }
                }
                NewsText::Usage { at, key, headers, value } => News::Usage(Notice {
                    at,
                    topic: Topic::Webhook(Event::UsageLate.name(Dialect::Graceline)),
                    key: Some(key.into_bytes()),
                    headers: headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
                    value: Some(value.into_bytes()),
                }),
            });
        }
        Some(AwaitsNumber { head: self.head, news })
    }
}

impl DraftText {
    pub(super) fn of(draft: &Draft) -> DraftText {
        let edit = |(key, edit): (&LineKey, &Edit)| {
            let name = edit.display_name.clone();
            EditText(
                key.charge,
                key.filter,
                group_text(key.group.as_deref()),
                edit.units,
                edit.amount_cents,
                name,
            )
        };
        let frozen = draft.rare.frozen.as_ref().map(|figures| {
            let Amounts { fees, coupons, taxes, credit_notes, prepaid_credit } = figures.amounts;
            let text = String::from_utf8(figures.fees.clone()).expect("fees are text");
            (text, [fees, coupons, taxes, credit_notes, prepaid_credit])
        });
        let is_edited = frozen.is_some() || !draft.rare.edits.is_empty();
        let edits =
            is_edited.then(|| EditsText { edits: draft.rare.edits.iter().map(edit).collect(), frozen });
        DraftText(draft.finalizes_at, edits)
    }

    /// The draft before it is known what was told of it.
    pub(super) fn read(self, id: InvoiceId, customer: u32, kind: BillKind) -> Bill {
        let DraftText(finalizes_at, edits) = self;
        let EditsText { edits, frozen } = edits.unwrap_or(EditsText { edits: Vec::new(), frozen: None });
        let edit = |EditText(charge, filter, group, units, amount_cents, display_name): EditText| {
            (LineKey { charge, filter, group: read_group(group) }, Edit { units, amount_cents, display_name })
        };
        let frozen = frozen.map(|(fees, [sum, coupons, taxes, credit_notes, prepaid_credit])| {
            let amounts = Amounts { fees: sum, coupons, taxes, credit_notes, prepaid_credit };
            Figures { fees: fees.into_bytes(), amounts }
        });
        let mut draft = Draft::until(finalizes_at);
        if !edits.is_empty() || frozen.is_some() {
            draft.rare = Rare::new(DraftRare { edits: edits.into_iter().map(edit).collect(), frozen });
        }
        Bill { id, customer, kind, version: 0, stage: Stage::Draft(draft), marks: Marks::default() }
    }
}

#[derive(Deserialize)]
struct WithFees<'a> {
    #[serde(borrow)]
    fees: &'a RawValue,
}

fn fees_of(invoice: &str) -> Option<Vec<u8>> {
    let found: WithFees<'_> = serde_json::from_str(invoice).ok()?;
    Some(found.fees.get().as_bytes().to_vec())
}

/// A sealed invoice's document, from its own JSON.
fn read_document(json: &Json, fees: Vec<u8>) -> Option<Document> {
    let text = |name: &str| json.get(name).and_then(Json::as_text);
    let owned = |name: &str| text(name).map(str::to_owned);
    let instant = |name: &str| text(name).and_then(Instant::parse_rfc3339);
    let date = |name: &str| text(name).and_then(Date::parse);
    let cents = |name: &str| json.get(name).and_then(Json::as_integer);
    let customer = json.get("customer")?;
    let count = |name: &str| json.get(name).and_then(Json::as_integer);
    Some(Document {
        id: InvoiceId::parse(text("id")?)?,
        number: owned("number"),
        sequential_id: count("sequential_id").and_then(|count| u64::try_from(count).ok()),
        status: Status::named(text("status")?)?,
        invoice_type: InvoiceType::named(text("invoice_type")?)?,
        reason: text("invoicing_reason").and_then(Reason::named),
        entity: owned("billing_entity_code")?,
        customer: customer.get("external_id")?.as_text()?.to_owned(),
        customer_name: customer.get("name").and_then(Json::as_text).map(str::to_owned),
        zone: customer.get("timezone")?.as_text()?.parse().ok()?,
        subscription: owned("external_subscription_id"),
        plan: owned("plan_code"),
        currency: text("currency").and_then(Currency::parse),
        period: instant("period_from").zip(instant("period_to")),
        grace: Duration::parse(text("grace_period")?)?,
        expected_finalization_at: instant("expected_finalization_at")?,
        finalized_at: instant("finalized_at"),
        issuing_date: date("issuing_date")?,
        net_payment_term: count("net_payment_term").and_then(|days| u32::try_from(days).ok())?,
        payment_due_date: date("payment_due_date"),
        payment: Payment::named(text("payment_status")?)?,
        payment_overdue: json.get("payment_overdue")?.as_bool()?,
        dispute_lost_at: instant("payment_dispute_lost_at"),
        voided_at: instant("voided_at"),
        figures: Figures {
            fees,
            amounts: Amounts {
                fees: cents("fees_amount_cents")?,
                coupons: cents("coupons_amount_cents")?,
                taxes: cents("taxes_amount_cents")?,
                credit_notes: cents("credit_notes_amount_cents")?,
                prepaid_credit: cents("prepaid_credit_amount_cents")?,
            },
        },
    })
}
