//! How an invoice came to be, in sentences: its period, its grace and dates, and each fee step by step.

use super::books::{Bill, BillKind, Books, PriceList, Sealed, Stage, Window};
use super::calendar::Date;
use super::document::{Document, Status};
use super::excerpt::accruing;
use super::figures::exact_shown;
use super::grace::{self, Source};
use super::period::End;
use super::price::{Usage, price, steps};
use super::quantity::Quantity;
use crate::catalog::currency::Currency;
use crate::catalog::json::Json;
use crate::catalog::metric::Aggregation;
use crate::catalog::plan::{Charge, Interval, Price};

impl Books {
    /// Explains the invoice of that id or number, with `fee` only that charge's or that type's fees. `None` if it isn't
    /// there.
    pub fn explain(&self, name: &str, fee: Option<&str>) -> Option<Vec<String>> {
        let is_meant = |bill: &&Bill| bill.id.to_string() == name || bill.number() == Some(name);
        let bills = self.bills.in_order();
        if let Some(bill) = bills.into_iter().map(|(_, bill)| bill).find(is_meant) {
            return Some(self.explain_bill(bill, false, fee));
        }
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            let open = |window: &&Window| window.bill().is_none() && !window.is_sealed();
            for window in subscription.windows.iter().filter(open) {
                let bill = accruing(number as u32, &subscription.external_id, window);
                if is_meant(&&bill) {
                    return Some(self.explain_bill(&bill, true, fee));
                }
            }
        }
        None
    }

    fn explain_bill(&self, bill: &Bill, is_accruing: bool, wanted: Option<&str>) -> Vec<String> {
        let standing = self.standing(bill);
        let document = &standing.document;
        let mut lines = Vec::new();
        if wanted.is_none() {
            lines.push(self.heading(bill, is_accruing, document));
            lines.extend(self.about_period(bill));
            lines.push(self.about_grace(bill, is_accruing, document));
            lines.extend(self.about_dates(bill, document));
        }
        let fees = Json::read(&document.figures.fees);
        for fee in fees.as_ref().and_then(Json::as_list).unwrap_or_default() {
            let text = |name: &str| fee.get(name).and_then(Json::as_text);
            if wanted.is_none_or(|wanted| text("charge_code") == Some(wanted) || text("type") == Some(wanted))
            {
                lines.extend(self.about_fee(bill, document, fee));
            }
        }
        if wanted.is_none() {
            lines.extend(self.about_late(bill));
            lines.extend(self.about_amounts(bill, document));
        }
        lines
    }

    fn heading(&self, bill: &Bill, is_accruing: bool, document: &Document) -> String {
        let status = match (is_accruing, document.status) {
            (true, _) => "accruing: its period still runs",
            (false, Status::Draft) => "a draft",
            (false, status) => status.name(),
        };
        let announced = match bill.version {
            0 => "nobody was told of it yet".to_owned(),
            1 => "it was announced once".to_owned(),
            count => format!("it was announced {count} times"),
        };
        let of = document.subscription.as_deref().map_or(String::new(), |subscription| {
            format!(" for {subscription}, plan {}", document.plan.as_deref().unwrap_or("unknown"))
        });
        let number = document.number.as_deref().map_or(String::new(), |number| format!(" ({number})"));
        let by = bill.created_by().map_or(String::new(), |by| format!(", made by the command {by}"));
        format!(
            "{}{number} is {}'s invoice{of}{by}; it is {status}; {announced}",
            document.id, document.customer
        )
    }

    // --- The period ---------------------------------------------------------------------------------------------------

    fn about_period(&self, bill: &Bill) -> Option<String> {
        let (subscription, window) = self.window_of(bill)?;
        let plan = &self.prices_of(window.plan).plan;
        let eras = self.eras_of(subscription);
        let era = eras.iter().rev().find(|era| era.first.from <= window.period.from);
        let zone = era.map_or(self.zone_of(bill.customer), |era| era.zone);
        let begins = match window.period.from == subscription.anchor.started_at {
            true => "the subscription's start",
            false => "the end of the one before",
        };
        let ends = match window.end {
            End::Boundary => format!("its {} boundary", interval_name(plan.interval)),
            End::PlanChange(at) => format!("the change of plan at {at}"),
            End::Termination(at) => format!("the subscription's end at {at}"),
        };
        let (from, to) = (window.period.from, window.to);
        Some(match bill.kind {
            BillKind::Opening { .. } => format!(
                "period: it opens the subscription and bills the base fee of {from} to {to} in advance, midnights in \
                 {zone}"
            ),
            _ => format!("period: {from} to {to}, from {begins} to {ends}, midnights in {zone}"),
        })
    }

    // --- Grace and dates ----------------------------------------------------------------------------------------------

    fn about_grace(&self, bill: &Bill, is_accruing: bool, document: &Document) -> String {
        if let Some(at) = document.finalized_at {
            let expected = document.expected_finalization_at;
            let how = if at == expected { "as expected" } else { "other than expected" };
            return format!(
                "grace: {}, so it was to be finalized at {expected}; it was at {at}, {how}",
                document.grace
            );
        }
        let entity = self.entity_of(bill.customer);
        let source = match grace::with_source(self, bill).1 {
            Source::None => "for such an invoice has none".to_owned(),
            Source::ChargedAtOnce => {
                "for it opens the subscription of a customer who is charged automatically".to_owned()
            }
            Source::Customer => "the customer's own".to_owned(),
            Source::Rule => format!("the longest of {}'s rules that holds and fits the plan", entity.code),
            Source::Entity => format!("{}'s: the customer has none, and no rule holds and fits", entity.code),
            Source::Settings => {
                format!("the settings' default: neither the customer nor {} has one that fits", entity.code)
            }
            Source::NothingFits => {
                "for none that is set is shorter than the plan's period: billing.default_grace may be too long"
                    .to_owned()
            }
        };
        let when =
            if is_accruing { "it will be a draft when its period ends, and" } else { "it is a draft and" };
        format!(
            "grace: {}, {source}; {when} is finalized at {}",
            document.grace, document.expected_finalization_at
        )
    }

    fn about_dates(&self, bill: &Bill, document: &Document) -> Option<String> {
        let due = document.payment_due_date?;
        let (customer, entity) = (&self.customers.get(bill.customer).terms, self.entity_of(bill.customer));
        let term = document.net_payment_term;
        let whose = match (&bill.stage, customer.net_payment_term, entity.net_payment_term) {
            (Stage::Sealed(_), ..) => "in force when it was finalized".to_owned(),
            (_, Some(_), _) => "the customer's".to_owned(),
            (_, None, Some(_)) => format!("{}'s", entity.code),
            (_, None, None) => "the settings' default".to_owned(),
        };
        let overdue = due.plus_days(1).midnight(document.zone);
        Some(format!(
            "dates: issued {} in {}, due {} after a term of {term} days, {whose}; overdue from {overdue}, if it isn't \
             paid by then",
            date(document.issuing_date),
            document.zone,
            date(due)
        ))
    }

    // --- Fees ---------------------------------------------------------------------------------------------------------

    fn about_fee(&self, bill: &Bill, document: &Document, fee: &Json) -> Vec<String> {
        let text = |name: &str| fee.get(name).and_then(Json::as_text).unwrap_or_default();
        let digits = document.currency.map_or(2, Currency::exponent);
        let currency = document.currency.map_or(String::new(), |currency| format!(" {currency}"));
        let cents = fee.get("amount_cents").and_then(Json::as_integer).unwrap_or_default();
        let amount = format!("{}{currency}", money(cents, digits));
        let events = fee.get("events_count").and_then(Json::as_integer).unwrap_or_default();
        let (precise, from) = (text("precise_amount"), text("period_from"));
        let window = self.window_starting(bill, from);
        match text("type") {
            "subscription" => {
                vec![format!("base fee: {amount}, {}", self.about_base_fee(bill, window, from))]
            }
            "commitment" => {
                let what = match fee.get("charge_code").and_then(Json::as_text) {
                    Some(code) => format!("what the charge {code} lacks of its minimum"),
                    None => "what the period lacks of the plan's commitment".to_owned(),
                };
                vec![format!("commitment: {amount}, {what} in the period from {from}")]
            }
            "one_off" => vec![format!("one-off: {} for {amount}", text("invoice_display_name"))],
            kind => {
                let mut name = format!(
                    "{}: {}",
                    if kind == "charge" { "charge" } else { "late usage" },
                    text("charge_code")
                );
                name.push_str(&narrowed(fee));
                let metric = text("billable_metric_code");
                let mut lines = vec![format!(
                    "{name}, {} units of {metric} in {}: {amount}",
                    text("units"),
                    counted_events(events)
                )];
                lines.extend(self.about_units(window, fee, kind == "late_usage", digits));
                if !is_round(precise, digits) {
                    lines.push(format!("  exactly {precise}, rounded half up to {}", money(cents, digits)));
                }
                lines
            }
        }
    }

    fn about_base_fee(&self, bill: &Bill, window: Option<&Window>, from: &str) -> String {
        let Some(window) = window else { return format!("for the period from {from}") };
        let plan = &self.prices_of(window.plan).plan;
        let is_own = self.window_of(bill).is_some_and(|(_, own)| own.ordinal == window.ordinal);
        let is_opening = matches!(bill.kind, BillKind::Opening { .. });
        if !is_own || is_opening {
            return format!("in advance for the period from {from}");
        }
        let share = window.period.share(plan.interval, window.end, self.zone_of(bill.customer));
        let prepaid = match self.prepaid_cents(bill.customer, window) {
            Some(cents) => {
                let digits = self.exponent_of(bill.customer, plan);
                format!(", less {} that was billed in advance", money(cents, digits))
            }
            None => String::new(),
        };
        let whole = money(plan.amount_cents, self.exponent_of(bill.customer, plan));
        match (share.part == share.whole, plan.interval) {
            (true, _) => format!("{whole} for the whole {} period{prepaid}", interval_name(plan.interval)),
            (false, Interval::Exact(_)) => {
                format!("{whole} × {}/{} of the period's length{prepaid}", share.part, share.whole)
            }
            (false, _) => format!("{whole} × {} of {} days{prepaid}", share.part, share.whole),
        }
    }

    /// How units became money.
    fn about_units(&self, window: Option<&Window>, fee: &Json, is_late: bool, digits: u32) -> Vec<String> {
        const GONE: &str = "  its period's prices aren't kept any more";
        let text = |name: &str| fee.get(name).and_then(Json::as_text);
        let Some(window) = window else { return vec![GONE.to_owned()] };
        let prices = self.prices_in(window);
        let Some((charge, aggregation)) = text("charge_code").and_then(|code| charge_of(prices, code)) else {
            return vec![GONE.to_owned()];
        };
        let mut lines = vec![format!("  the units are {}", counted(aggregation))];
        if is_late {
            lines.push(format!(
                "  what the usage of {} to {} costs with the late events, less what it cost without them, at that \
                 period's prices",
                window.period.from, window.to
            ));
            return lines;
        }
        if fee.get("edited").and_then(Json::as_bool) == Some(true) {
            lines.push(
                "  somebody edited it: it stays like this until fee.reset, whatever usage comes".to_owned(),
            );
        }
        let tariff = tariff_of(charge, fee);
        let units = text("units").and_then(Quantity::parse_text).unwrap_or_default();
        if units.0 < 0 {
            lines.push("  negative units cost nothing".to_owned());
            return lines;
        }
        let told = steps(tariff, units);
        let sum = price(tariff, &Usage::of_units(units), digits);
        let is_known_otherwise = matches!(tariff, Price::Percentage { .. } | Price::Dynamic);
        if !is_known_otherwise && Some(exact_shown(&sum).as_str()) != text("precise_amount") {
            let why = match fee.get("edited").and_then(Json::as_bool) {
                Some(true) => "the amount was set by hand, whatever the units cost",
                _ => "it stands as it was when the draft was last refreshed; prices have changed since",
            };
            lines.push(format!("  {why}"));
            return lines;
        }
        lines.extend(told.iter().map(|step| format!("  {step}")));
        if told.len() > 1 && !is_known_otherwise {
            lines.push(format!("  together {}", exact_shown(&sum)));
        }
        lines
    }

    /// The prices of a period: as sealed, else as the catalog has them.
    fn prices_in<'a>(&'a self, window: &'a Window) -> &'a PriceList {
        window.rare.sealed.as_ref().map_or(self.prices_of(window.plan), |sealing| &sealing.prices)
    }

    fn window_starting(&self, bill: &Bill, from: &str) -> Option<&Window> {
        let (subscription, _) = self.window_of(bill)?;
        subscription.windows.iter().find(|window| window.period.from.to_string() == from)
    }

    fn about_late(&self, bill: &Bill) -> Vec<String> {
        let Some((_, window)) = self.window_of(bill) else { return Vec::new() };
        let carries = window.rare.carries.iter().filter(|carried| carried.events() > 0);
        let line = |carried: &super::books::Carried| {
            format!(
                "late: it takes {} of the period from {}, whose invoice was finalized before they came",
                counted_events(carried.events().into()),
                carried.from
            )
        };
        carries.map(line).collect()
    }

    // --- Amounts ------------------------------------------------------------------------------------------------------

    fn about_amounts(&self, bill: &Bill, document: &Document) -> Vec<String> {
        let digits = document.currency.map_or(2, Currency::exponent);
        let shown = |cents: i128| money(cents, digits);
        let amounts = &document.figures.amounts;
        let mut lines = vec![format!("fees: {} together", shown(amounts.fees))];
        match &bill.stage {
            Stage::Draft(_) => {
                lines.push(format!("taxes: {}, {}", shown(amounts.taxes), self.about_taxes(bill)));
                lines.push("coupons, credit notes and the wallet count when it is finalized".to_owned());
            }
            Stage::Sealed(sealed) => lines.extend(about_deductions(sealed, &shown)),
        }
        let currency = document.currency.map_or("no currency".to_owned(), |currency| currency.to_string());
        lines.push(format!("total: {} {currency}", shown(amounts.total())));
        lines
    }

    fn about_taxes(&self, bill: &Bill) -> String {
        let (customer, entity) = (&self.customers.get(bill.customer).terms, self.entity_of(bill.customer));
        let whose = if customer.tax_codes.is_some() { "the customer's" } else { "the entity's" };
        let codes = customer.tax_codes.as_ref().unwrap_or(&entity.tax_codes);
        let rates = codes.iter().filter_map(|code| {
            let tax = &self.taxes.get(self.taxes.find(code)?).thing;
            Some(format!("{code} {} %", tax.rate))
        });
        match rates.collect::<Vec<_>>() {
            rates if rates.is_empty() => "nobody has set any".to_owned(),
            rates => format!("on each fee {whose} {}", rates.join(" and ")),
        }
    }
}

fn about_deductions(sealed: &Sealed, shown: &impl Fn(i128) -> String) -> Vec<String> {
    let amounts = &sealed.document.figures.amounts;
    let lines = [
        ("coupons", amounts.coupons, "taken off before tax, the oldest first"),
        (
            "taxes",
            amounts.taxes,
            "on each fee without its share of the coupons, at the rates of its finalization",
        ),
        ("credit notes", amounts.credit_notes, "paid with them, the oldest first"),
        ("wallet", amounts.prepaid_credit, "paid with credits"),
    ];
    let told = lines.into_iter().filter(|(_, cents, _)| *cents != 0);
    told.map(|(name, cents, how)| format!("{name}: {}, {how}", shown(cents))).collect()
}

impl Bill {
    fn number(&self) -> Option<&str> {
        match &self.stage {
            Stage::Sealed(sealed) => sealed.document.number.as_deref(),
            Stage::Draft(_) => None,
        }
    }
}

fn charge_of<'a>(prices: &'a PriceList, code: &str) -> Option<(&'a Charge, Aggregation)> {
    let place = prices.plan.charges.iter().position(|charge| charge.code == code)?;
    Some((&prices.plan.charges[place], prices.lines[place].metric.aggregation))
}

/// The prices of the filter that a fee names, else of the charge.
fn tariff_of<'a>(charge: &'a Charge, fee: &Json) -> &'a Price {
    let values = fee.get("filter");
    let is_meant = |filter: &&crate::catalog::plan::Filter| {
        filter.values.iter().all(|(key, allowed)| {
            let found =
                values.and_then(|values| values.member(key)).and_then(Json::as_list).unwrap_or_default();
            found.iter().filter_map(Json::as_text).eq(allowed.iter().map(String::as_str))
        })
    };
    let filter = values.filter(|json| matches!(json, Json::Object(_)));
    let found = filter.and_then(|_| charge.filters.iter().find(is_meant));
    found.map_or(&charge.tariff.price, |filter| &filter.tariff.price)
}

/// By which properties a fee is told apart from others of its charge.
fn narrowed(fee: &Json) -> String {
    let mut parts = Vec::new();
    if let Some(Json::Object(members)) = fee.get("filter") {
        for (key, values) in members {
            let values: Vec<&str> =
                values.as_list().unwrap_or_default().iter().filter_map(Json::as_text).collect();
            parts.push(format!("{key}={}", values.join("|")));
        }
    }
    if let Some(Json::Object(members)) = fee.get("grouped_by") {
        let shown = |(key, value): &(String, Json)| format!("{key}={}", value.as_text().unwrap_or("null"));
        parts.extend(members.iter().map(shown));
    }
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn counted_events(count: i128) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

fn counted(aggregation: Aggregation) -> &'static str {
    match aggregation {
        Aggregation::Count => "the number of events",
        Aggregation::Sum => "the sum of the events' values",
        Aggregation::Max => "the largest of the events' values",
        Aggregation::UniqueCount => "the number of different values",
        Aggregation::Latest => "the value of the latest event",
        Aggregation::WeightedSum => "the events' values, each by the share of the period it stood",
    }
}

fn interval_name(interval: Interval) -> String {
    match interval {
        Interval::Daily => "daily".to_owned(),
        Interval::Weekly => "weekly".to_owned(),
        Interval::Months(1) => "monthly".to_owned(),
        Interval::Months(3) => "quarterly".to_owned(),
        Interval::Months(6) => "semiannual".to_owned(),
        Interval::Months(12) => "yearly".to_owned(),
        Interval::Months(count) => format!("{count} months'"),
        Interval::Exact(length) => format!("{} s", length.0 / super::instant::SECOND),
    }
}

/// Minor units as people write them.
pub fn money(cents: i128, digits: u32) -> String {
    let scale = 10u128.pow(digits);
    let sign = if cents < 0 { "-" } else { "" };
    let (whole, rest) = (cents.unsigned_abs() / scale, cents.unsigned_abs() % scale);
    match digits {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:0width$}", width = digits as usize),
    }
}

fn is_round(precise: &str, digits: u32) -> bool {
    precise.split_once('.').is_none_or(|(_, fraction)| fraction.len() <= digits as usize)
}

fn date(date: Date) -> String {
    let mut text = Vec::new();
    date.write_to(&mut text);
    String::from_utf8(text).expect("a date is text")
}
