//! Who issues invoices: billing entities, and the taxes they charge.

use chrono_tz::Tz;

use super::currency::Currency;
use super::duration::Duration;
use super::fault::{Fault, Place};
use super::json::Json;
use super::settings::read_term;
use crate::invoice::quantity::Quantity;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    pub code: String,
    pub name: Option<String>,
    pub zone: Option<Tz>,
    pub currency: Option<Currency>,
    pub grace: Option<Duration>,
    pub net_payment_term: Option<u32>,
    pub document_prefix: String,
    pub numbering: Numbering,
    pub finalizes_zero_amounts: bool,
    pub tax_codes: Vec<String>,
    pub grace_rules: Vec<GraceRule>,
    pub late_pricing: LatePricing,
}

/// Where numbers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    PerCustomer,
    PerEntity,
}

/// What late usage costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatePricing {
    /// What it adds to the price of its own period.
    Increment,
    /// What it costs together with the usage of the period that carries it.
    NextPeriod,
}

/// A delay that counts where all of its conditions hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraceRule {
    pub delay: Duration,
    pub cycle_only: bool,
    pub metered_only: bool,
}

impl Entity {
    /// The entity of customers that name none (R103).
    pub const DEFAULT: &str = "default";

    pub fn unnamed() -> Entity {
        Entity {
            code: Entity::DEFAULT.to_owned(),
            name: None,
            zone: None,
            currency: None,
            grace: None,
            net_payment_term: None,
            document_prefix: "INV".to_owned(),
            numbering: Numbering::PerCustomer,
            finalizes_zero_amounts: true,
            tax_codes: Vec::new(),
            grace_rules: Vec::new(),
            late_pricing: LatePricing::Increment,
        }
    }

    pub fn read(json: &Json) -> Result<Entity, Fault> {
        let place = Place::root(json);
        let code = place.code("code")?;
        let name = place.text("name")?;
        let zone = place.optional("timezone", read_zone)?;
        let currency = place.optional("currency", Currency::from_json)?;
        let grace = place.optional("invoice_grace_period", Duration::from_json)?;
        let net_payment_term = place.optional("net_payment_term", read_term)?;
        let prefix = place.optional_code("document_prefix")?;
        let numbering = place.optional("document_numbering", |value| match value.as_text()? {
            "per_customer" => Some(Numbering::PerCustomer),
            "per_billing_entity" => Some(Numbering::PerEntity),
            _ => None,
        })?;
        let finalizes_zero_amounts = place.flag("finalize_zero_amount_invoice")?.unwrap_or(true);
        let tax_codes = place.codes("tax_codes")?.unwrap_or_default();
        let grace_rules = read_rules(&place)?;
        let late_pricing = place.optional("late_usage_pricing", |value| match value.as_text()? {
            "increment" => Some(LatePricing::Increment),
            "next_period" => Some(LatePricing::NextPeriod),
            _ => None,
        })?;
        Ok(Entity {
            document_prefix: prefix.unwrap_or_else(|| code.to_uppercase()),
            code,
            name,
            zone,
            currency,
            grace,
            net_payment_term,
            numbering: numbering.unwrap_or(Numbering::PerCustomer),
            finalizes_zero_amounts,
            tax_codes,
            grace_rules,
            late_pricing: late_pricing.unwrap_or(LatePricing::Increment),
        })
    }
}

fn read_rules(place: &Place<'_>) -> Result<Vec<GraceRule>, Fault> {
    let items = place.optional("grace_rules", Json::as_list)?.unwrap_or_default();
    items.iter().enumerate().map(|(index, item)| read_rule(item, &format!("/grace_rules/{index}"))).collect()
}

fn read_rule(json: &Json, path: &str) -> Result<GraceRule, Fault> {
    if !matches!(json, Json::Object(_)) {
        return Err(Fault::invalid(path));
    }
    let place = Place::at(json, path);
    let delay = place.required("delay", Duration::from_json)?;
    let mut rule = GraceRule { delay, cycle_only: false, metered_only: false };
    for (index, condition) in place.optional("when", Json::as_list)?.unwrap_or_default().iter().enumerate() {
        match condition.as_text() {
            Some("subscription_cycle") => rule.cycle_only = true,
            Some("metered_price") => rule.metered_only = true,
            _ => return Err(Fault::invalid(format!("{path}/when/{index}"))),
        }
    }
    Ok(rule)
}

pub fn read_zone(json: &Json) -> Option<Tz> {
    json.as_text()?.parse().ok()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tax {
    pub code: String,
    pub name: Option<String>,
    /// In percent.
    pub rate: Quantity,
}

impl Tax {
    pub fn read(json: &Json) -> Result<Tax, Fault> {
        let place = Place::root(json);
        Ok(Tax {
            code: place.code("code")?,
            name: place.text("name")?,
            rate: place.required("rate", Json::as_price)?,
        })
    }
}
