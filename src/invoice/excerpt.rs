//! An excerpt of kept books: one customer with everything that is his, to be looked at.
//!
//! Customers, subscriptions and invoices are numbered within a shard; in an excerpt only a few of them are there, under
//! numbers of their own. Nothing is ever decided in an excerpt.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::books::{Bill, BillKind, Books, Draft, Stage, Window};
use super::digest::invoice_id;
use super::document::{Document, Reason};
use super::grace;
use super::ids::{ENTRY_BYTES, HeldId, IdState, unpack};
use super::instant::Instant;
use super::keep::{Contents, Opened, parse, unreadable};
use super::kept::{CustomerText, SubscriptionText, UsageText};
use super::kept_bills::BillText;
use super::period::{End, Period};
use crate::catalog::settings::Settings;

/// Which of a shard's customers, subscriptions and invoices are meant, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    pub customer: u32,
    pub subscriptions: Vec<u32>,
    pub bills: Vec<u32>,
}

/// What a document says of whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The customer's number.
    pub customer: u32,
    /// What it is found by: an external id, or an invoice's id and number.
    pub names: Vec<String>,
}

#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(borrow)]
    external_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Numbered<'a> {
    #[serde(borrow)]
    number: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Running {
    period: [i64; 7],
    bill: Option<u32>,
}

#[derive(Deserialize)]
struct RunningText<'a> {
    #[serde(borrow)]
    record: Identified<'a>,
    windows: Vec<Running>,
}

/// The ids that the invoices of a subscription's running periods will have.
pub fn coming_invoices(key: &str, subscription: &[u8]) -> Opened<Vec<String>> {
    let text: RunningText<'_> = parse(key, subscription)?;
    let running = text.windows.iter().filter(|window| window.bill.is_none());
    let from = running.map(|window| Period::from_parts(window.period).from);
    Ok(from.map(|from| invoice_id(&text.record.external_id, from, false).to_string()).collect())
}

#[derive(Deserialize)]
struct LabelText<'a> {
    #[serde(default)]
    customer: u32,
    #[serde(borrow)]
    record: Option<Identified<'a>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    invoice: Option<Numbered<'a>>,
}

impl Label {
    /// Reads as little as possible of a customer's, a subscription's or an invoice's document.
    pub fn read(key: &str, bytes: &[u8]) -> Opened<Label> {
        let text: LabelText<'_> = parse(key, bytes)?;
        let number = text.invoice.and_then(|invoice| invoice.number);
        let external_id = text.record.map(|record| record.external_id);
        let names = [external_id, text.id, number].into_iter().flatten().map(Cow::into_owned).collect();
        Ok(Label { customer: text.customer, names })
    }
}

impl Picked {
    /// The keys of all documents of the excerpt, in the order in which [`Books::excerpt`] takes them.
    pub fn keys(&self, contents: &Contents) -> Vec<String> {
        let mut keys = contents.catalog_keys();
        keys.push(format!("customer:{}", self.customer));
        keys.extend(self.subscriptions.iter().map(|number| format!("subscription:{number}")));
        keys.extend(self.subscriptions.iter().map(|number| format!("usage:{number}")));
        keys.extend(self.bills.iter().map(|number| format!("bill:{number}")));
        keys
    }
}

impl Books {
    /// Opens an excerpt from the documents of [`Picked::keys`].
    pub fn excerpt(
        settings: Settings,
        contents: &Contents,
        picked: &Picked,
        documents: impl Iterator<Item = (String, Option<Vec<u8>>)>,
    ) -> Opened<Books> {
        let places = |numbers: &[u32]| -> BTreeMap<u32, u32> { numbers.iter().copied().zip(0..).collect() };
        let (subscriptions, bills) = (places(&picked.subscriptions), places(&picked.bills));
        let mut books = Books::reopened(settings, contents)?;
        for (key, bytes) in documents {
            let Some(bytes) = bytes else { continue };
            let (kind, number) = key.split_once(':').unwrap_or((&key, "0"));
            let number: u32 = number.parse().map_err(|_| unreadable(&key, "its key has no number"))?;
            match kind {
                "customer" => {
                    let customer = parse::<CustomerText>(&key, &bytes)?.read(&key, &mut books.terms)?;
                    books.customers.add(customer);
                }
                "subscription" => {
                    let text = parse::<SubscriptionText>(&key, &bytes)?;
                    let mut subscription =
                        text.read(&key, books.price_lists(), |code| books.plans.find(code))?;
                    subscription.customer = 0;
                    for window in &mut subscription.windows {
                        window.bill = window.bill.and_then(|bill| bills.get(&bill).copied());
                    }
                    let place = books.subscriptions.add(subscription);
                    books.customers.get_mut(0).subscriptions.push(place);
                }
                "usage" => {
                    if let Some(place) = subscriptions.get(&number) {
                        parse::<UsageText>(&key, &bytes)?.put_into(books.subscriptions.get_mut(*place));
                    }
                }
                "bill" => {
                    let mut bill = parse::<BillText<'_>>(&key, &bytes)?.read(&key)?;
                    bill.customer = 0;
                    if let BillKind::Period { subscription, .. } | BillKind::Opening { subscription, .. } =
                        &mut bill.kind
                    {
                        let place = subscriptions.get(subscription).copied();
                        *subscription = place
                            .ok_or_else(|| unreadable(&key, "its subscription is another customer's"))?;
                    }
                    let place = books.bills.push(bill);
                    books.index_bill(place);
                }
                _ => books.open_document(&key, &bytes)?,
            }
        }
        Ok(books)
    }
}

// --- What there is to see ---------------------------------------------------------------------------------------------

/// An invoice as it stands.
pub struct Standing {
    /// `accruing` before it is a draft; then what the document says.
    pub status: &'static str,
    pub version: u32,
    pub document: Document,
    /// The customer's edits that a draft bears.
    pub edits: usize,
    /// Sealed, but its number hasn't come yet.
    pub awaits_number: bool,
}

/// One period of a subscription: what was used in it, and where it is billed.
pub struct PeriodUse {
    pub from: Instant,
    pub to: Instant,
    pub status: &'static str,
    pub lines: Vec<LineUse>,
    /// Late usage of earlier periods that this one's invoice bears: since when, and how many events.
    pub carries: Vec<(Instant, u64)>,
}

/// What is counted for one line of a charge.
pub struct LineUse {
    pub charge: String,
    pub metric: String,
    pub filter: Option<String>,
    pub group: Option<String>,
    pub events: u64,
    pub units: String,
}

impl Books {
    /// Every invoice of the excerpt, those of subscriptions first, by their periods.
    pub fn standings(&self) -> Vec<Standing> {
        let mut all: Vec<Standing> =
            (0..self.bills.len() as u32).map(|number| self.standing(&self.bills[number])).collect();
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            let open = |window: &&Window| window.bill.is_none() && !window.is_sealed();
            for window in subscription.windows.iter().filter(open) {
                let bill = accruing(number as u32, &subscription.external_id, window);
                all.push(Standing { status: "accruing", ..self.standing(&bill) });
            }
        }
        let order = |standing: &Standing| {
            let Document { subscription, period, reason, finalized_at, .. } = &standing.document;
            let is_periodic = *reason != Some(Reason::Starting);
            (subscription.is_none(), subscription.clone(), *period, is_periodic, *finalized_at)
        };
        all.sort_by_key(order);
        all
    }

    pub(super) fn standing(&self, bill: &Bill) -> Standing {
        match &bill.stage {
            Stage::Draft(draft) => {
                let finalizes_at = match draft.finalizes_at {
                    Instant::MAX => grace::finalizes_at(self, bill),
                    known => known,
                };
                let figures = draft.frozen.as_deref().cloned().unwrap_or_else(|| self.live_figures(bill));
                Standing {
                    status: "draft",
                    version: bill.version,
                    document: self.draft_document(bill, finalizes_at, figures),
                    edits: draft.edits.len(),
                    awaits_number: false,
                }
            }
            Stage::Sealed(sealed) => Standing {
                status: sealed.document.status.name(),
                version: bill.version,
                document: sealed.document.clone(),
                edits: 0,
                awaits_number: sealed.awaits.is_some(),
            },
        }
    }

    /// What a subscription has used, period by period, as far as it is kept; `None` if it isn't there.
    pub fn period_uses(&self, subscription: &str) -> Option<Vec<PeriodUse>> {
        let subscription = self.subscriptions.get(self.subscriptions.find(subscription)?);
        Some(subscription.windows.iter().map(|window| self.period_use(window)).collect())
    }

    fn period_use(&self, window: &Window) -> PeriodUse {
        let sealing = window.sealed.as_deref();
        let prices = sealing.map_or(self.prices_of(window.plan), |sealing| &sealing.prices);
        let usage =
            sealing.map_or(&window.usage, |sealing| sealing.with_late.as_ref().unwrap_or(&sealing.billed));
        let lines = usage.iter().filter_map(|bucket| {
            let place = prices.lines.iter().position(|line| line.number == bucket.key.charge)?;
            let (charge, metric) = (&prices.plan.charges[place], &prices.lines[place].metric);
            let filter = (bucket.key.filter as usize).checked_sub(1).map(|place| &charge.filters[place]);
            let shown = |(key, values): &(String, Vec<String>)| format!("{key}={}", values.join("|"));
            let group = bucket.key.group.as_ref().map(|values| {
                values.iter().map(|value| value.as_deref().unwrap_or("null")).collect::<Vec<_>>().join(", ")
            });
            Some(LineUse {
                charge: charge.code.clone(),
                metric: metric.code.clone(),
                filter: filter.map(|filter| filter.values.iter().map(shown).collect::<Vec<_>>().join(", ")),
                group,
                events: bucket.events,
                units: bucket.units(metric, &window.period, window.to).to_string(),
            })
        });
        let status = match (window.bill.map(|bill| &self.bills[bill].stage), sealing) {
            (Some(Stage::Sealed(sealed)), _) => sealed.document.status.name(),
            (Some(Stage::Draft(_)), _) => "draft",
            (None, Some(_)) => "sealed",
            (None, None) => "accruing",
        };
        let carries =
            window.carries.iter().map(|carried| (carried.from, carried.events())).filter(|found| found.1 > 0);
        PeriodUse {
            from: window.period.from,
            to: window.to,
            status,
            lines: lines.collect(),
            carries: carries.collect(),
        }
    }

    /// The period that holds an instant of a subscription, as far as it is kept.
    pub fn use_at(&self, subscription: &str, at: Instant) -> Option<PeriodUse> {
        let subscription = self.subscriptions.get(self.subscriptions.find(subscription)?);
        let window = subscription.windows.iter().find(|window| window.contains(at))?;
        Some(self.period_use(window))
    }
}

/// The invoice that a running period will have.
pub(super) fn accruing(subscription: u32, external_id: &str, window: &Window) -> Bill {
    let reason = if window.end == End::Boundary { Reason::Periodic } else { Reason::Terminating };
    Bill {
        id: invoice_id(external_id, window.period.from, false),
        customer: 0,
        kind: BillKind::Period { subscription, ordinal: window.ordinal, reason },
        version: 0,
        created_by: None,
        stage: Stage::Draft(Box::new(Draft {
            finalizes_at: Instant::MAX,
            refresh_at: None,
            is_to_be_told: false,
            announced: 0,
            edits: BTreeMap::new(),
            frozen: None,
        })),
    }
}

// --- Ids --------------------------------------------------------------------------------------------------------------

/// What became of an event whose id is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdFate {
    pub happened_at: Instant,
    pub fate: &'static str,
}

/// The last that a chunk of ids says of one.
pub fn find_id(chunk: &[u8], hash: u64) -> Option<IdFate> {
    let entries = chunk.as_chunks::<ENTRY_BYTES>().0;
    let (_, id) = entries.iter().rev().map(unpack).find(|(found, _)| *found == hash)?;
    let HeldId { happened_at, state, late, .. } = id;
    let fate = match (state, late) {
        (IdState::Held, None) => "billed",
        (IdState::Held, Some(_)) => "late",
        (IdState::Cancelled, _) => "cancelled",
        (IdState::Freed, _) => "free",
    };
    Some(IdFate { happened_at, fate })
}
