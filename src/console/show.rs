//! `graceline show` and `graceline explain`: what the store keeps, for people. Nothing is changed, and no shard notices.

use super::look::{self, Found, Wanted};
use super::say;
use crate::catalog::currency::Currency;
use crate::catalog::json::Json;
use crate::config::Config;
use crate::invoice::document::Document;
use crate::invoice::excerpt::{LineUse, PeriodUse, Standing};
use crate::invoice::explain::money;
use crate::persist::ShardId;
use crate::persist::redis::RedisStore;

/// Which invoices are meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Which {
    /// The invoice's id or number.
    pub invoice: Option<String>,
    /// All invoices of this customer.
    #[arg(long, conflicts_with_all = ["invoice", "subscription"])]
    pub customer: Option<String>,
    /// All invoices of this subscription, the one of the running period too.
    #[arg(long, conflicts_with = "invoice")]
    pub subscription: Option<String>,
}

fn store(config: &Config) -> Result<RedisStore, String> {
    RedisStore::new(&config.redis).map_err(|error| error.to_string())
}

async fn found(config: &Config, wanted: Wanted<'_>) -> Result<Found, String> {
    let found = look::find(&store(config)?, config.kafka.partitions, config.settings(), wanted).await?;
    found.ok_or_else(|| match wanted {
        Wanted::Customer(name) => format!("no shard knows the customer {name}"),
        Wanted::Subscription(name) => format!(
            "no shard knows the subscription {name}: it may wait for its customer or plan, or its record was refused"
        ),
        Wanted::Invoice(name) => {
            format!("no shard knows the invoice {name}: give its id, in_…, or its number; numbers come when it is finalized")
        }
    })
}

// --- Invoices ---------------------------------------------------------------------------------------------------------

/// One invoice whole, or a line for each of several.
pub async fn invoice(config: &Config, which: &Which, as_json: bool) -> Result<(), String> {
    let wanted = match which {
        Which { invoice: Some(name), .. } => Wanted::Invoice(name),
        Which { customer: Some(name), .. } => Wanted::Customer(name),
        Which { subscription: Some(name), .. } => Wanted::Subscription(name),
        _ => return Err("say which: an id or a number, --customer, or --subscription".to_owned()),
    };
    let found = found(config, wanted).await?;
    let mut standings = found.books.standings();
    match wanted {
        Wanted::Customer(_) => {}
        Wanted::Subscription(name) => {
            standings.retain(|standing| standing.document.subscription.as_deref() == Some(name));
        }
        Wanted::Invoice(name) => standings.retain(|standing| {
            standing.document.id.to_string() == name || standing.document.number.as_deref() == Some(name)
        }),
    }
    match (wanted, as_json) {
        (_, true) => standings.iter().for_each(|standing| say(&json_of(standing))),
        (Wanted::Invoice(_), false) => {
            standings.iter().for_each(say_invoice);
            say_source(&found);
        }
        (_, false) => say_list(&standings),
    }
    Ok(())
}

/// The invoice as its webhooks have it, but for a running period's status.
fn json_of(standing: &Standing) -> String {
    let mut out = Vec::new();
    standing.document.write_to(Some(standing.version), &mut out);
    let text = String::from_utf8(out).expect("a document is text");
    let draft = "\"status\":\"draft\"";
    match standing.status {
        "accruing" => text.replacen(draft, "\"status\":\"accruing\"", 1),
        _ => text,
    }
}

fn say_list(standings: &[Standing]) {
    let rows = standings.iter().map(|standing| {
        let document = &standing.document;
        let period = document.period.map_or("-".to_owned(), |(from, to)| format!("{from} to {to}"));
        vec![
            document.id.to_string(),
            document.number.clone().unwrap_or_else(|| "-".to_owned()),
            document.subscription.clone().unwrap_or_else(|| "-".to_owned()),
            standing.status.to_owned(),
            period,
            total(document),
            next(standing),
        ]
    });
    say_table(&["invoice", "number", "subscription", "status", "period", "total", "next"], rows.collect());
}

fn total(document: &Document) -> String {
    amount(document, document.figures.amounts.total())
}

fn amount(document: &Document, cents: i128) -> String {
    let digits = document.currency.map_or(2, Currency::exponent);
    let currency = document.currency.map_or(String::new(), |currency| format!(" {currency}"));
    format!("{}{currency}", money(cents, digits))
}

/// What will happen to it by itself.
fn next(standing: &Standing) -> String {
    let document = &standing.document;
    match (standing.status, document.payment_due_date) {
        ("accruing", _) => match document.period {
            Some((_, to)) => format!("draft {to}"),
            None => "-".to_owned(),
        },
        ("draft", _) => format!("finalized {}", document.expected_finalization_at),
        ("finalized", _) if standing.awaits_number => "its number".to_owned(),
        ("finalized", Some(due))
            if document.payment.name() != "succeeded" && document.dispute_lost_at.is_none() =>
        {
            match document.payment_overdue {
                true => "overdue".to_owned(),
                false => format!("overdue {}", due.plus_days(1).midnight(document.zone)),
            }
        }
        _ => "-".to_owned(),
    }
}

fn say_invoice(standing: &Standing) {
    let document = &standing.document;
    let json = Json::read(json_of(standing).as_bytes()).expect("a document is JSON");
    let text = |name: &str| json.get(name).and_then(Json::as_text).unwrap_or("-").to_owned();
    let name = document.customer_name.as_deref().map_or(String::new(), |name| format!(" ({name})"));
    let edits = match standing.edits {
        0 => String::new(),
        count => format!(", {count} fees edited"),
    };
    let number = if standing.awaits_number { "on its way".to_owned() } else { text("number") };
    let term = document.net_payment_term;
    let lines = [
        ("invoice", document.id.to_string()),
        ("number", number),
        ("status", format!("{}, version {}{edits}", standing.status, standing.version)),
        ("customer", format!("{}{name}, {}", document.customer, document.zone)),
        ("subscription", format!("{}, plan {}", text("external_subscription_id"), text("plan_code"))),
        ("reason", text("invoicing_reason")),
        ("period", format!("{} to {}", text("period_from"), text("period_to"))),
        ("grace", format!("{}, until {}", document.grace, document.expected_finalization_at)),
        ("finalized", text("finalized_at")),
        ("issued", format!("{}, due {}, term {term} days", text("issuing_date"), text("payment_due_date"))),
        (
            "payment",
            format!("{}{}", text("payment_status"), if document.payment_overdue { ", overdue" } else { "" }),
        ),
        ("next", next(standing)),
    ];
    lines.iter().for_each(|(name, value)| say(&format!("{name:<13} {value}")));
    say("");
    let fees = json.get("fees").and_then(Json::as_list).unwrap_or_default();
    let rows = fees.iter().map(|fee| {
        let text = |name: &str| fee.get(name).and_then(Json::as_text).unwrap_or("-").to_owned();
        let cents = fee.get("amount_cents").and_then(Json::as_integer).unwrap_or_default();
        let events = fee.get("events_count").and_then(Json::as_integer).unwrap_or_default();
        let edited = fee.get("edited").and_then(Json::as_bool) == Some(true);
        let kind = if edited { format!("{}, edited", text("type")) } else { text("type") };
        vec![
            kind,
            text("charge_code"),
            text("invoice_display_name"),
            text("units"),
            events.to_string(),
            amount(document, cents),
        ]
    });
    say_table(&["fee", "charge", "name", "units", "events", "amount"], rows.collect());
    say("");
    let sums = [
        ("fees", "fees_amount_cents"),
        ("coupons", "coupons_amount_cents"),
        ("taxes", "taxes_amount_cents"),
        ("credit notes", "credit_notes_amount_cents"),
        ("wallet", "prepaid_credit_amount_cents"),
        ("total", "total_amount_cents"),
    ];
    for (name, member) in sums {
        let cents = json.get(member).and_then(Json::as_integer).unwrap_or_default();
        if cents != 0 || name == "fees" || name == "total" {
            say(&format!("{name:<13} {}", amount(document, cents)));
        }
    }
    say("");
}

fn say_source(found: &Found) {
    let Found { shard, commit, now, .. } = found;
    say(&format!("as commit {commit} of shard {shard} left it; the shard's clock stands at {now}"));
}

/// Why the invoice is as it is.
pub async fn explain(config: &Config, name: &str, fee: Option<&str>) -> Result<(), String> {
    let found = found(config, Wanted::Invoice(name)).await?;
    let lines = found.books.explain(name, fee).unwrap_or_default();
    match (lines.is_empty(), fee) {
        (true, Some(fee)) => {
            return Err(format!(
                "the invoice {name} has no fee {fee}: `graceline show invoice {name}` lists them"
            ));
        }
        _ => lines.iter().for_each(|line| say(line)),
    }
    say_source(&found);
    Ok(())
}

// --- Usage ------------------------------------------------------------------------------------------------------------

/// What a subscription has used, period by period.
pub async fn usage(config: &Config, subscription: &str) -> Result<(), String> {
    let found = found(config, Wanted::Subscription(subscription)).await?;
    let periods = found.books.period_uses(subscription).unwrap_or_default();
    if periods.is_empty() {
        say(&format!("{subscription} has no period yet, or none that can still take usage"));
    }
    periods.iter().for_each(say_period);
    say_source(&found);
    Ok(())
}

fn say_period(period: &PeriodUse) {
    say(&format!("{} to {}, {}", period.from, period.to, period.status));
    let row = |line: &LineUse| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            line.charge.clone(),
            line.metric.clone(),
            or_none(&line.filter),
            or_none(&line.group),
            line.events.to_string(),
            line.units.clone(),
        ]
    };
    match period.lines.is_empty() {
        true => say("no usage"),
        false => say_table(
            &["charge", "metric", "filter", "group", "events", "units"],
            period.lines.iter().map(row).collect(),
        ),
    }
    for (from, events) in &period.carries {
        say(&format!("late: {events} events of the period from {from} are on this one's invoice"));
    }
    say("");
}

// --- Shards -----------------------------------------------------------------------------------------------------------

/// A line for each shard: how far it is, and what it has to do.
pub async fn shards(config: &Config) -> Result<(), String> {
    let store = store(config)?;
    let count = look::shards(&store, config.kafka.partitions).await?.unwrap_or(config.kafka.partitions);
    let mut rows = Vec::new();
    for shard in (0..count).map(ShardId) {
        let found = look::view(&mut store.reader(shard), shard).await?;
        let Some((commit, view)) = found else {
            rows.push(vec![shard.to_string(), "no commit yet".to_owned()]);
            continue;
        };
        let contents = &view.contents;
        let (customers, subscriptions, invoices) = contents.people();
        let fates = contents.fates();
        let now = contents.now().map_or("-".to_owned(), |now| now.to_string());
        let read = |log| view.positions[log].to_string();
        use crate::ingest::log::LogName;
        rows.push(
            [
                shard.to_string(),
                commit.to_string(),
                now,
                read(LogName::Usage),
                read(LogName::Commands),
                read(LogName::Catalog),
                customers.to_string(),
                subscriptions.to_string(),
                invoices.to_string(),
                view.webhooks.to_string(),
                view.outbox.to_string(),
                fates.billed.to_string(),
                fates.late.to_string(),
                fates.duplicate.to_string(),
                fates.parked.to_string(),
                fates.cancelled.to_string(),
                fates.rejected.to_string(),
            ]
            .into(),
        );
    }
    say_table(
        &[
            "shard",
            "commit",
            "clock",
            "usage",
            "commands",
            "catalog",
            "customers",
            "subscriptions",
            "invoices",
            "webhooks",
            "outbox",
            "billed",
            "late",
            "duplicate",
            "parked",
            "cancelled",
            "rejected",
        ],
        rows,
    );
    Ok(())
}

/// Columns as wide as what stands in them.
fn say_table(head: &[&str], rows: Vec<Vec<String>>) {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    say(&line(head.to_vec()));
    for row in &rows {
        say(&line(row.iter().map(String::as_str).collect()));
    }
}
