//! Who is billed: customers and their subscriptions.

use chrono_tz::Tz;

use super::currency::Currency;
use super::duration::Duration;
use super::entity::read_zone;
use super::fault::{Fault, Place};
use super::json::Json;
use super::settings::read_term;
use crate::invoice::instant::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerRecord {
    pub external_id: String,
    pub name: Option<String>,
    pub terms: CustomerTerms,
}

/// How a customer is billed. Many customers have the same terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomerTerms {
    /// `None`: the entity that needs no record.
    pub entity: Option<String>,
    pub zone: Option<Tz>,
    pub currency: Option<Currency>,
    pub grace: Option<Duration>,
    pub net_payment_term: Option<u32>,
    pub charged_automatically: bool,
    pub tax_codes: Option<Vec<String>>,
}

/// What a customer has whose record says nothing but a name.
pub const NO_TERMS: CustomerTerms = CustomerTerms {
    entity: None,
    zone: None,
    currency: None,
    grace: None,
    net_payment_term: None,
    charged_automatically: false,
    tax_codes: None,
};

impl CustomerRecord {
    pub fn read(json: &Json) -> Result<CustomerRecord, Fault> {
        let place = Place::root(json);
        let external_id = place.code("external_id")?;
        let name = place.text("name")?;
        Ok(CustomerRecord { external_id, name, terms: CustomerTerms::read(json)? })
    }
}

impl CustomerTerms {
    pub fn read(json: &Json) -> Result<CustomerTerms, Fault> {
        let place = Place::root(json);
        let entity = place.optional_code("billing_entity_code")?;
        let zone = place.optional("timezone", read_zone)?;
        let currency = place.optional("currency", Currency::from_json)?;
        let grace = place.optional("invoice_grace_period", Duration::from_json)?;
        let net_payment_term = place.optional("net_payment_term", read_term)?;
        let collection = place.optional("collection_method", |value| match value.as_text()? {
            "charge_automatically" => Some(true),
            "send_invoice" => Some(false),
            _ => None,
        })?;
        let tax_codes = place.codes("tax_codes")?;
        Ok(CustomerTerms {
            entity,
            zone,
            currency,
            grace,
            net_payment_term,
            charged_automatically: collection.unwrap_or(false),
            tax_codes,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    pub external_id: String,
    pub customer: String,
    pub plan: String,
    pub billing_time: Option<BillingTime>,
    /// Without it the subscription starts when its record arrives.
    pub started_at: Option<Instant>,
    pub ended_at: Option<Instant>,
    pub effective_at: Option<Instant>,
}

/// What periods are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillingTime {
    Calendar,
    Anniversary,
}

impl SubscriptionRecord {
    pub fn read(json: &Json) -> Result<SubscriptionRecord, Fault> {
        let place = Place::root(json);
        let instant = |name: &str| place.optional(name, |value| Instant::parse_rfc3339(value.as_text()?));
        let record = SubscriptionRecord {
            external_id: place.code("external_id")?,
            customer: place.code("external_customer_id")?,
            plan: place.code("plan_code")?,
            billing_time: place.optional("billing_time", |value| match value.as_text()? {
                "calendar" => Some(BillingTime::Calendar),
                "anniversary" => Some(BillingTime::Anniversary),
                _ => None,
            })?,
            started_at: instant("started_at")?,
            ended_at: instant("ended_at")?,
            effective_at: instant("effective_at")?,
        };
        match (record.started_at, record.ended_at) {
            (Some(start), Some(end)) if end < start => Err(Fault::invalid("/ended_at")),
            _ => Ok(record),
        }
    }
}
