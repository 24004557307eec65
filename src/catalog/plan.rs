//! What usage costs: plans and their charges.

use super::currency::Currency;
use super::duration::Duration;
use super::fault::{Fault, Place};
use super::json::Json;
use crate::invoice::instant::{DAY, Span};
use crate::invoice::quantity::Quantity;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub code: String,
    pub name: Option<String>,
    pub display_name: Option<String>,
    pub interval: Interval,
    pub amount_cents: i128,
    pub currency: Option<Currency>,
    pub pay_in_advance: bool,
    pub commitment_cents: i128,
    pub charges: Vec<Charge>,
}

/// How long a period lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    Daily,
    Weekly,
    /// One month, a quarter's three, half a year's six, a year's twelve.
    Months(u32),
    Exact(Span),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    pub code: String,
    pub metric: String,
    pub display_name: Option<String>,
    pub minimum_cents: i128,
    pub tariff: Tariff,
    pub filters: Vec<Filter>,
}

/// Usage whose properties have certain values, at prices of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub values: Vec<(String, Vec<String>)>,
    pub display_name: Option<String>,
    pub tariff: Tariff,
}

/// How units become money, and by which properties they are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff {
    pub price: Price,
    pub group_keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    Standard {
        amount: Quantity,
    },
    Graduated(Vec<Tier>),
    Volume(Vec<Tier>),
    Package {
        amount: Quantity,
        free_units: Quantity,
        size: Quantity,
    },
    Percentage {
        rate: Quantity,
        fixed_amount: Quantity,
        free: FreePart,
    },
    /// The tiers' prices are rates in percent.
    GraduatedPercentage(Vec<Tier>),
    Dynamic,
}

/// Units above the tier before, up to and including `up_to`; the last tier has no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    pub up_to: Option<Quantity>,
    pub per_unit: Quantity,
    pub flat: Quantity,
}

/// What a percentage charge lets pass: it ends at the first of so many events or so much of an amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreePart {
    pub events: Option<u64>,
    pub amount: Option<Quantity>,
}

impl Interval {
    fn from_json(json: &Json) -> Option<Interval> {
        match json.as_text()? {
            "daily" => Some(Interval::Daily),
            "weekly" => Some(Interval::Weekly),
            "monthly" => Some(Interval::Months(1)),
            "quarterly" => Some(Interval::Months(3)),
            "semiannual" => Some(Interval::Months(6)),
            "yearly" => Some(Interval::Months(12)),
            text => Duration::parse(text)
                .map(|length| length.exact())
                .filter(|span| span.0 > 0)
                .map(Interval::Exact),
        }
    }

    /// The least time that a period of this interval lasts (R43).
    pub fn least(self) -> Span {
        let days = match self {
            Interval::Exact(span) => return span,
            Interval::Daily => 1,
            Interval::Weekly => 7,
            Interval::Months(1) => 28,
            Interval::Months(3) => 90,
            Interval::Months(6) => 181,
            Interval::Months(_) => 365,
        };
        Span(days * DAY)
    }

    /// Whether a grace of this length leaves a period time to be over before the next one (R43).
    pub fn fits(self, grace: Duration) -> bool {
        grace.exact() < self.least()
    }
}

impl Plan {
    pub fn read(json: &Json) -> Result<Plan, Fault> {
        let place = Place::root(json);
        let code = place.code("code")?;
        let name = place.text("name")?;
        let display_name = place.text("invoice_display_name")?;
        let interval = place.required("interval", Interval::from_json)?;
        let amount_cents = place.cents("amount_cents")?;
        let currency = place.optional("amount_currency", Currency::from_json)?;
        let pay_in_advance = place.flag("pay_in_advance")?.unwrap_or(false);
        let commitment_cents = place.cents("minimum_commitment_cents")?;
        let mut charges: Vec<Charge> = Vec::new();
        for (index, item) in place.optional("charges", Json::as_list)?.unwrap_or_default().iter().enumerate()
        {
            let path = format!("/charges/{index}");
            let charge = Charge::read(item, &path)?;
            if charges.iter().any(|other| other.code == charge.code) {
                return Err(Fault::invalid(format!("{path}/code")));
            }
            charges.push(charge);
        }
        Ok(Plan {
            code,
            name,
            display_name,
            interval,
            amount_cents,
            currency,
            pay_in_advance,
            commitment_cents,
            charges,
        })
    }

    /// What can't change under the same code (R39, R101), named by its pointer.
    pub fn immutable_change(&self, before: &Plan) -> Option<String> {
        if self.interval != before.interval {
            return Some("/interval".to_owned());
        }
        if self.currency != before.currency {
            return Some("/amount_currency".to_owned());
        }
        self.charges.iter().enumerate().find_map(|(index, charge)| {
            let before = before.charges.iter().find(|other| other.code == charge.code)?;
            charge.immutable_change(before).map(|member| format!("/charges/{index}{member}"))
        })
    }

    pub fn is_metered(&self) -> bool {
        !self.charges.is_empty()
    }

    pub fn prices(&self, metric: &str) -> bool {
        self.charges.iter().any(|charge| charge.metric == metric)
    }
}

impl Charge {
    fn read(json: &Json, path: &str) -> Result<Charge, Fault> {
        if !matches!(json, Json::Object(_)) {
            return Err(Fault::invalid(path));
        }
        let place = Place::at(json, path);
        let metric = place.code("billable_metric_code")?;
        let code = place.optional_code("code")?.unwrap_or_else(|| metric.clone());
        let model = place.required("charge_model", |value| Model::named(value.as_text()?))?;
        let display_name = place.text("invoice_display_name")?;
        let minimum_cents = place.cents("min_amount_cents")?;
        let own = place.optional("properties", as_object)?;
        let tariff = Tariff::read(model, own, None, &format!("{path}/properties"))?;
        let mut filters = Vec::new();
        for (index, item) in place.optional("filters", Json::as_list)?.unwrap_or_default().iter().enumerate()
        {
            filters.push(Filter::read(item, model, own, &format!("{path}/filters/{index}"))?);
        }
        Ok(Charge { code, metric, display_name, minimum_cents, tariff, filters })
    }

    fn immutable_change(&self, before: &Charge) -> Option<String> {
        if self.metric != before.metric {
            return Some("/billable_metric_code".to_owned());
        }
        if let Some(member) = self.tariff.immutable_change(&before.tariff) {
            return Some(format!("/properties{member}"));
        }
        if self.filters.len() != before.filters.len() {
            return Some("/filters".to_owned());
        }
        self.filters.iter().zip(&before.filters).enumerate().find_map(|(index, (filter, before))| {
            if filter.values != before.values {
                return Some(format!("/filters/{index}/values"));
            }
            let member = filter.tariff.immutable_change(&before.tariff)?;
            Some(format!("/filters/{index}/properties{member}"))
        })
    }

    /// The prices of the default bucket, 0, or of a filter, counted from 1.
    pub fn tariff_at(&self, filter: usize) -> &Tariff {
        match filter {
            0 => &self.tariff,
            place => &self.filters[place - 1].tariff,
        }
    }

    pub fn is_dynamic(&self) -> bool {
        self.tariff.price == Price::Dynamic
    }

    pub fn is_percentage(&self) -> bool {
        matches!(self.tariff.price, Price::Percentage { .. })
    }
}

impl Filter {
    fn read(json: &Json, model: Model, charge: Option<&Json>, path: &str) -> Result<Filter, Fault> {
        if !matches!(json, Json::Object(_)) {
            return Err(Fault::invalid(path));
        }
        let place = Place::at(json, path);
        let named = place.required("values", as_object)?;
        let Json::Object(members) = named else { unreachable!("as_object") };
        let path_of_values = place.pointer("values");
        if members.is_empty() {
            return Err(Fault::invalid(path_of_values));
        }
        let place_of_values = Place::at(named, &path_of_values);
        let mut values = Vec::with_capacity(members.len());
        for (key, _) in members {
            let texts = place_of_values.codes(key)?.filter(|texts| !texts.is_empty());
            values.push((key.clone(), texts.ok_or_else(|| Fault::invalid(place_of_values.pointer(key)))?));
        }
        values.sort();
        let display_name = place.text("invoice_display_name")?;
        let own = place.optional("properties", as_object)?;
        let tariff = Tariff::read(model, own, charge, &format!("{path}/properties"))?;
        Ok(Filter { values, display_name, tariff })
    }
}

#[derive(Clone, Copy)]
enum Model {
    Standard,
    Graduated,
    Volume,
    Package,
    Percentage,
    GraduatedPercentage,
    Dynamic,
}

impl Model {
    fn named(name: &str) -> Option<Model> {
        match name {
            "standard" => Some(Model::Standard),
            "graduated" => Some(Model::Graduated),
            "volume" => Some(Model::Volume),
            "package" => Some(Model::Package),
            "percentage" => Some(Model::Percentage),
            "graduated_percentage" => Some(Model::GraduatedPercentage),
            "dynamic" => Some(Model::Dynamic),
            _ => None,
        }
    }
}

/// The properties of a charge, or of a filter over those of its charge, member by member (R76).
struct Properties<'a> {
    own: Place<'a>,
    under: Option<&'a Json>,
}

impl<'a> Properties<'a> {
    fn optional<T>(&self, name: &str, read: impl FnOnce(&'a Json) -> Option<T>) -> Result<Option<T>, Fault> {
        let below = self.under.and_then(|json| json.get(name));
        match self.own.json.get(name).or(below) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| Fault::invalid(self.own.pointer(name))),
        }
    }

    fn required<T>(&self, name: &str, read: impl FnOnce(&'a Json) -> Option<T>) -> Result<T, Fault> {
        self.optional(name, read)?.ok_or_else(|| Fault::invalid(self.own.pointer(name)))
    }

    fn price(&self, name: &str) -> Result<Quantity, Fault> {
        Ok(self.optional(name, Json::as_price)?.unwrap_or_default())
    }
}

static NOTHING: Json = Json::Null;

impl Tariff {
    fn read(model: Model, own: Option<&Json>, under: Option<&Json>, path: &str) -> Result<Tariff, Fault> {
        let properties = Properties { own: Place::at(own.unwrap_or(&NOTHING), path), under };
        let price = match model {
            Model::Standard => Price::Standard { amount: properties.required("amount", Json::as_price)? },
            Model::Graduated => {
                Price::Graduated(read_tiers(&properties, "graduated_ranges", "per_unit_amount")?)
            }
            Model::Volume => Price::Volume(read_tiers(&properties, "volume_ranges", "per_unit_amount")?),
            Model::Package => Price::Package {
                amount: properties.required("amount", Json::as_price)?,
                free_units: properties.price("free_units")?,
                size: properties
                    .optional("package_size", |json| json.as_price().filter(|size| size.0 > 0))?
                    .unwrap_or(Quantity::ONE),
            },
            Model::Percentage => read_percentage(&properties)?,
            Model::GraduatedPercentage => {
                Price::GraduatedPercentage(read_tiers(&properties, "graduated_percentage_ranges", "rate")?)
            }
            Model::Dynamic => Price::Dynamic,
        };
        let group_keys = match (properties.own.codes("pricing_group_keys")?, under) {
            (Some(keys), _) => keys,
            (None, Some(below)) => Place::at(below, path).codes("pricing_group_keys")?.unwrap_or_default(),
            (None, None) => Vec::new(),
        };
        Ok(Tariff { price, group_keys })
    }

    fn immutable_change(&self, before: &Tariff) -> Option<String> {
        if self.group_keys != before.group_keys {
            return Some("/pricing_group_keys".to_owned());
        }
        let free = |tariff: &Tariff| match tariff.price {
            Price::Percentage { free, .. } => free,
            _ => FreePart::default(),
        };
        let (free, before) = (free(self), free(before));
        if free.events != before.events {
            return Some("/free_units_per_events".to_owned());
        }
        (free.amount != before.amount).then(|| "/free_units_per_total_aggregation".to_owned())
    }
}

fn read_percentage(properties: &Properties<'_>) -> Result<Price, Fault> {
    for name in ["per_transaction_min_amount", "per_transaction_max_amount"] {
        properties.optional(name, |_| None::<()>)?;
    }
    let rate = properties.required("rate", Json::as_price)?;
    let fixed_amount = properties.price("fixed_amount")?;
    let events =
        properties.optional("free_units_per_events", |json| u64::try_from(json.as_integer()?).ok())?;
    let amount = properties.optional("free_units_per_total_aggregation", Json::as_price)?;
    let (events, amount) = (events.filter(|events| *events > 0), amount.filter(|amount| amount.0 > 0));
    Ok(Price::Percentage { rate, fixed_amount, free: FreePart { events, amount } })
}

fn read_tiers(properties: &Properties<'_>, name: &str, per_unit: &str) -> Result<Vec<Tier>, Fault> {
    let items = properties.required(name, |json| json.as_list().filter(|items| !items.is_empty()))?;
    let path = properties.own.pointer(name);
    let mut tiers: Vec<Tier> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}/{index}");
        if !matches!(item, Json::Object(_)) {
            return Err(Fault::invalid(path));
        }
        let place = Place::at(item, &path);
        let floor = tiers.last().and_then(|tier| tier.up_to).unwrap_or_default();
        place.optional("from_value", Json::as_quantity)?;
        let up_to = place.optional("to_value", |json| json.as_quantity().filter(|end| *end > floor))?;
        // Only the last tier is open, and it has to be: units beyond a closed one would have no price.
        if up_to.is_none() != (index + 1 == items.len()) {
            return Err(Fault::invalid(format!("{path}/to_value")));
        }
        let price = place.optional(per_unit, Json::as_price)?;
        let flat = place.optional("flat_amount", Json::as_price)?;
        // A tier that names neither is a misspelt one.
        if price.is_none() && flat.is_none() {
            return Err(Fault::invalid(place.pointer(per_unit)));
        }
        tiers.push(Tier { up_to, per_unit: price.unwrap_or_default(), flat: flat.unwrap_or_default() });
    }
    Ok(tiers)
}

fn as_object(json: &Json) -> Option<&Json> {
    matches!(json, Json::Object(_)).then_some(json)
}
