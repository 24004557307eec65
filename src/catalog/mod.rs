//! Who is billed how: what catalog records say, read strictly and checked whole.
//!
//! A record is accepted as it stands or refused with the reason and the place. Nothing here knows what the record
//! means for invoices that are open; that is decided in [`crate::invoice`].

pub mod currency;
pub mod customer;
pub mod duration;
pub mod entity;
pub mod fault;
pub mod json;
pub mod metric;
pub mod plan;
pub mod settings;

use customer::{CustomerRecord, SubscriptionRecord};
use entity::{Entity, Tax};
use fault::{Fault, Place};
use json::Json;
use metric::Metric;
use plan::Plan;
use settings::Settings;

/// The kinds of things that a catalog holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Settings,
    Entity,
    Tax,
    Metric,
    Plan,
    Customer,
    Subscription,
}

/// A thing in the catalog, as `<kind>/<code>` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    pub kind: Kind,
    pub code: String,
}

/// What a catalog record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Settings(Box<Settings>),
    Entity(Entity),
    Tax(Tax),
    Metric(Metric),
    Plan(Plan),
    Customer(CustomerRecord),
    Subscription(SubscriptionRecord),
    /// The thing of that name is no more.
    Removed(Name),
}

impl Kind {
    pub fn named(name: &str) -> Option<Kind> {
        match name {
            "settings" => Some(Kind::Settings),
            "billing_entity" => Some(Kind::Entity),
            "tax" => Some(Kind::Tax),
            "billable_metric" => Some(Kind::Metric),
            "plan" => Some(Kind::Plan),
            "customer" => Some(Kind::Customer),
            "subscription" => Some(Kind::Subscription),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Settings => "settings",
            Kind::Entity => "billing_entity",
            Kind::Tax => "tax",
            Kind::Metric => "billable_metric",
            Kind::Plan => "plan",
            Kind::Customer => "customer",
            Kind::Subscription => "subscription",
        }
    }
}

impl Name {
    pub fn new(kind: Kind, code: impl Into<String>) -> Name {
        Name { kind, code: code.into() }
    }

    /// Reads a tombstone's key.
    fn from_key(key: Option<&[u8]>) -> Result<Name, Fault> {
        let malformed = || Fault::new("malformed", "");
        let text = std::str::from_utf8(key.ok_or_else(malformed)?).map_err(|_| malformed())?;
        let (kind, code) = text.split_once('/').ok_or_else(malformed)?;
        Ok(Name::new(Kind::named(kind).ok_or_else(|| Fault::new("unknown_kind", ""))?, code))
    }
}

impl Record {
    /// Reads a record of the catalog topic. The key counts for tombstones alone (R105).
    pub fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Record, Fault> {
        let Some(value) = value.filter(|bytes| bytes.trim_ascii() != b"null") else {
            return Name::from_key(key).map(Record::Removed);
        };
        let json = Json::read(value).ok_or_else(|| Fault::new("malformed", ""))?;
        if !matches!(json, Json::Object(_)) {
            return Err(Fault::new("malformed", ""));
        }
        let kind = match Place::root(&json).json.get("kind") {
            Some(Json::Text(kind)) => Kind::named(kind).ok_or_else(|| Fault::new("unknown_kind", "/kind"))?,
            _ => return Err(Fault::new("malformed", "/kind")),
        };
        Ok(match kind {
            Kind::Settings => Record::Settings(Box::new(Settings::read(&json)?)),
            Kind::Entity => Record::Entity(Entity::read(&json)?),
            Kind::Tax => Record::Tax(Tax::read(&json)?),
            Kind::Metric => Record::Metric(Metric::read(&json)?),
            Kind::Plan => Record::Plan(Plan::read(&json)?),
            Kind::Customer => Record::Customer(CustomerRecord::read(&json)?),
            Kind::Subscription => Record::Subscription(SubscriptionRecord::read(&json)?),
        })
    }

    pub fn name(&self) -> Name {
        match self {
            Record::Settings(_) => Name::new(Kind::Settings, "settings"),
            Record::Entity(entity) => Name::new(Kind::Entity, &entity.code),
            Record::Tax(tax) => Name::new(Kind::Tax, &tax.code),
            Record::Metric(metric) => Name::new(Kind::Metric, &metric.code),
            Record::Plan(plan) => Name::new(Kind::Plan, &plan.code),
            Record::Customer(customer) => Name::new(Kind::Customer, &customer.external_id),
            Record::Subscription(subscription) => Name::new(Kind::Subscription, &subscription.external_id),
            Record::Removed(name) => name.clone(),
        }
    }

    /// What the record names (R100), each once.
    pub fn references(&self) -> Vec<Name> {
        let taxes =
            |codes: &[String]| -> Vec<Name> { codes.iter().map(|code| Name::new(Kind::Tax, code)).collect() };
        let mut names = match self {
            Record::Entity(entity) => taxes(&entity.tax_codes),
            Record::Plan(plan) => {
                plan.charges.iter().map(|charge| Name::new(Kind::Metric, &charge.metric)).collect()
            }
            Record::Customer(customer) => {
                let mut names = taxes(customer.terms.tax_codes.as_deref().unwrap_or_default());
                names.extend(customer.terms.entity.as_ref().map(|code| Name::new(Kind::Entity, code)));
                names
            }
            Record::Subscription(subscription) => vec![
                Name::new(Kind::Customer, &subscription.customer),
                Name::new(Kind::Plan, &subscription.plan),
            ],
            _ => Vec::new(),
        };
        names.sort();
        names.dedup();
        names
    }
}
