//! What the world is told: webhooks, and records that were refused.

use super::document::Document;
use super::instant::Instant;
use super::write::Object;
use crate::catalog::settings::Dialect;

/// A record to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The transition's instant.
    pub at: Instant,
    pub topic: Topic,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// `None` where the refused record had none.
    pub value: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Webhook(&'static str),
    UsageRejected,
    BillingRejected,
}

/// What happened, as its webhook names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Drafted,
    Updated,
    Finalized,
    Overdue,
    OverdueCleared,
    PaymentStatusUpdated,
    DisputeLost,
    Voided,
    WillBeDue,
    UsageLate,
    UsageUnbillable,
}

impl Event {
    pub const ALL: [Event; 11] = [
        Event::Drafted,
        Event::Updated,
        Event::Finalized,
        Event::Overdue,
        Event::OverdueCleared,
        Event::PaymentStatusUpdated,
        Event::DisputeLost,
        Event::Voided,
        Event::WillBeDue,
        Event::UsageLate,
        Event::UsageUnbillable,
    ];

    /// The webhook's type; with it goes the default topic (R24).
    pub fn name(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Event::Finalized, Dialect::Lago) => "invoice.created",
            (Event::Finalized, Dialect::Hyperline) => "invoice.ready",
            (Event::Overdue, Dialect::Stripe) => "invoice.overdue",
            (Event::Drafted, _) => "invoice.drafted",
            (Event::Updated, _) => "invoice.updated",
            (Event::Finalized, _) => "invoice.finalized",
            (Event::Overdue, _) => "invoice.payment_overdue",
            (Event::OverdueCleared, _) => "invoice.payment_overdue_cleared",
            (Event::PaymentStatusUpdated, _) => "invoice.payment_status_updated",
            (Event::DisputeLost, _) => "invoice.payment_dispute_lost",
            (Event::Voided, _) => "invoice.voided",
            (Event::WillBeDue, _) => "invoice.will_be_due",
            (Event::UsageLate, _) => "usage.late",
            (Event::UsageUnbillable, _) => "usage.unbillable",
        }
    }

    fn object(self) -> &'static str {
        match self {
            Event::UsageLate | Event::UsageUnbillable => "usage",
            _ => "invoice",
        }
    }
}

impl Notice {
    /// A webhook about `customer`; `write` appends the object it is about.
    pub fn webhook(
        at: Instant,
        event: Event,
        dialect: Dialect,
        id: String,
        customer: &str,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Notice {
        let name = event.name(dialect);
        let mut value = Vec::with_capacity(2000);
        let mut object = Object::open(&mut value);
        object.text("webhook_type", name);
        object.text("object_type", event.object());
        write(object.member(event.object()));
        object.close();
        let mut timestamp = Vec::new();
        at.write_to(&mut timestamp);
        let headers =
            vec![("webhook-id".to_owned(), id.into_bytes()), ("webhook-timestamp".to_owned(), timestamp)];
        Notice {
            at,
            topic: Topic::Webhook(name),
            key: Some(customer.as_bytes().to_vec()),
            headers,
            value: Some(value),
        }
    }

    /// The webhook of an invoice's transition; `write` appends the invoice.
    pub(super) fn of_invoice(
        at: Instant,
        event: Event,
        dialect: Dialect,
        version: u32,
        document: &Document,
        write: impl FnOnce(&Document, &mut Vec<u8>),
    ) -> Notice {
        let id = format!("{}_{version}", document.id);
        Notice::webhook(at, event, dialect, id, &document.customer, |out| write(document, out))
    }

    pub(super) fn of_sealed(
        at: Instant,
        event: Event,
        dialect: Dialect,
        version: u32,
        document: &Document,
    ) -> Notice {
        Notice::of_invoice(at, event, dialect, version, document, |document, out| {
            document.write_to(Some(version), out);
        })
    }

    pub fn is_webhook(&self) -> bool {
        matches!(self.topic, Topic::Webhook(_))
    }
}

impl Topic {
    /// The topic's default name.
    pub fn default_name(self) -> String {
        match self {
            Topic::Webhook(name) => format!("webhooks.{name}"),
            Topic::UsageRejected => "usage.rejected".to_owned(),
            Topic::BillingRejected => "billing.rejected".to_owned(),
        }
    }
}
