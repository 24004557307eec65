//! An excerpt of kept books: one customer with everything that is his, to be looked at.
//!
//! Customers, subscriptions and invoices are numbered within a shard; in an excerpt only a few of them are there, under
//! numbers of their own. Nothing is ever decided in an excerpt.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::bills::Marks;
use super::books::{Bill, BillKind, Books, Draft, Stage, Window};
use super::digest::invoice_id;
use super::document::{Document, InvoiceId, Reason};
use super::filing::{FiledText, invoice_key};
use super::grace;
use super::id_chunks::read_chunk;
use super::ids::{HeldId, IdState};
use super::instant::Instant;
use super::keep::{Contents, Opened, parse, unreadable};
use super::kept_bills::InvoiceText;
use super::kept_customers::CustomerText;
use super::kept_subscriptions::{ReadSubscription, SubscriptionText, TOGETHER};
use super::period::End;
use crate::catalog::settings::Settings;

/// Which of a shard's customers, subscriptions and sealed invoices are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    pub customer: u32,
    pub subscriptions: Vec<u32>,
    pub invoices: Vec<InvoiceId>,
}

/// How many subscriptions share a document.
pub const SUBSCRIPTIONS_TOGETHER: u32 = TOGETHER;

/// One of those who share a document: the number of the customer, and the external id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub customer: u32,
    pub name: String,
}

/// Who is in a document of customers.
pub fn customers_in(place: u32, key: &str, bytes: &[u8]) -> Opened<Vec<Label>> {
    let texts: Vec<CustomerText<'_>> = parse(key, bytes)?;
    let label =
        |(customer, text): (u32, CustomerText<'_>)| Label { customer, name: text.external_id().to_owned() };
    Ok((place * TOGETHER..).zip(texts).map(label).collect())
}

/// Which subscriptions are in a document of them, in the order of their numbers.
pub fn subscriptions_in(key: &str, bytes: &[u8]) -> Opened<Vec<Label>> {
    let texts: Vec<SubscriptionText<'_>> = parse(key, bytes)?;
    let label =
        |text: SubscriptionText<'_>| Label { customer: text.customer(), name: text.external_id().to_owned() };
    Ok(texts.into_iter().map(label).collect())
}

/// Whose invoices that aren't sealed a document of subscriptions has, and their ids.
pub fn open_invoices_in(key: &str, bytes: &[u8]) -> Opened<Vec<(u32, InvoiceId)>> {
    let texts: Vec<SubscriptionText<'_>> = parse(key, bytes)?;
    let all = texts.iter().flat_map(|text| text.open_invoices().into_iter().map(|id| (text.customer(), id)));
    Ok(all.collect())
}

#[derive(Deserialize)]
struct Numbered<'a> {
    #[serde(borrow)]
    number: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Owned<'a> {
    customer: u32,
    #[serde(borrow)]
    invoice: Numbered<'a>,
}

/// Whose a sealed invoice is, and its number if that is there.
pub fn owner_of(key: &str, bytes: &[u8]) -> Opened<(u32, Option<String>)> {
    let Owned { customer, invoice } = parse(key, bytes)?;
    Ok((customer, invoice.number.map(Cow::into_owned)))
}

/// The entries in a document of the register of sealed invoices.
pub fn register_in(key: &str, bytes: &[u8]) -> Opened<Vec<FiledText>> {
    parse(key, bytes)
}

impl Picked {
    /// The keys of all documents of the excerpt, in the order in which [`Books::excerpt`] takes them.
    pub fn keys(&self, contents: &Contents) -> Vec<String> {
        let mut keys = contents.catalog_keys();
        keys.push(format!("customers:{}", self.customer / TOGETHER));
        let mut documents: Vec<u32> = self.subscriptions.iter().map(|number| number / TOGETHER).collect();
        documents.dedup();
        keys.extend(documents.iter().map(|document| format!("subscriptions:{document}")));
        keys.extend(self.subscriptions.iter().map(|number| format!("usage:{number}")));
        keys.extend(self.invoices.iter().map(|id| invoice_key(*id)));
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
        let places: BTreeMap<u32, u32> = picked.subscriptions.iter().copied().zip(0..).collect();
        let mut books = Books::reopened(settings, contents)?;
        for (key, bytes) in documents {
            let Some(bytes) = bytes else { continue };
            let (kind, number) = key.split_once(':').unwrap_or((&key, "0"));
            let number = || number.parse::<u32>().map_err(|_| unreadable(&key, "its key has no number"));
            match kind {
                "customers" => {
                    let mut texts: Vec<CustomerText<'_>> = parse(&key, &bytes)?;
                    let customer = texts.swap_remove((picked.customer % TOGETHER) as usize);
                    let customer = customer.read(&key, &mut books.keeping.known_terms, &mut books.terms)?;
                    books.customers.add(customer);
                }
                "subscriptions" => {
                    let texts: Vec<SubscriptionText<'_>> = parse(&key, &bytes)?;
                    for (number, text) in (number()? * TOGETHER..).zip(texts) {
                        if let Some(place) = places.get(&number) {
                            books.excerpt_subscription(&key, *place, text)?;
                        }
                    }
                }
                "usage" => {
                    if let Some(place) = places.get(&number()?) {
                        books.open_usage(*place, parse(&key, &bytes)?);
                    }
                }
                "invoice" => {
                    let (number, mut bill) = parse::<InvoiceText<'_>>(&key, &bytes)?.read(&key)?;
                    bill.customer = 0;
                    if let BillKind::Period { subscription, .. } | BillKind::Opening { subscription, .. } =
                        &mut bill.kind
                    {
                        let place = places.get(subscription).copied();
                        *subscription = place
                            .ok_or_else(|| unreadable(&key, "its subscription is another customer's"))?;
                    }
                    books.bills.put(number, bill);
                }
                _ => books.open_document(&key, &bytes)?,
            }
        }
        Ok(books)
    }

    fn excerpt_subscription(&mut self, key: &str, place: u32, text: SubscriptionText<'_>) -> Opened<()> {
        let ReadSubscription { mut subscription, mut drafts } =
            text.read(place, key, &self.plans, self.price_lists())?;
        subscription.customer = 0;
        for (_, draft) in &mut drafts {
            draft.customer = 0;
        }
        self.subscriptions.add(subscription);
        self.customers.get_mut(0).subscriptions.push(place);
        self.open_drafts(drafts);
        Ok(())
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
            self.bills.in_order().into_iter().map(|(_, bill)| self.standing(bill)).collect();
        for (number, subscription) in self.subscriptions.iter().enumerate() {
            let open = |window: &&Window| window.bill().is_none() && !window.is_sealed();
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
                let figures = draft.rare.frozen.clone().unwrap_or_else(|| self.live_figures(bill));
                Standing {
                    status: "draft",
                    version: bill.version,
                    document: self.draft_document(bill, finalizes_at, figures),
                    edits: draft.rare.edits.len(),
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
        let sealing = window.rare.sealed.as_ref();
        let prices = sealing.map_or(self.prices_of(window.plan), |sealing| &sealing.prices);
        let usage =
            sealing.map_or(&window.usage, |sealing| sealing.with_late.as_ref().unwrap_or(&sealing.billed));
        let lines = usage.iter().filter_map(|bucket| {
            let place = prices.lines.iter().position(|line| line.number == bucket.line().charge)?;
            let (charge, metric) = (&prices.plan.charges[place], &prices.lines[place].metric);
            let filter = (bucket.line().filter as usize).checked_sub(1).map(|place| &charge.filters[place]);
            let shown = |(key, values): &(String, Vec<String>)| format!("{key}={}", values.join("|"));
            let group = bucket.line().group.map(|values| {
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
        let status = match (window.bill().and_then(|bill| Some(&self.bills.get(bill)?.stage)), sealing) {
            (Some(Stage::Sealed(sealed)), _) => sealed.document.status.name(),
            (Some(Stage::Draft(_)), _) => "draft",
            (None, Some(_)) => "sealed",
            (None, None) => "accruing",
        };
        let carries = window
            .rare
            .carries
            .iter()
            .map(|carried| (carried.from, carried.events()))
            .filter(|found| found.1 > 0);
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
        stage: Stage::Draft(Draft::until(Instant::MAX)),
        marks: Marks::default(),
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
    let (_, id) = read_chunk(chunk)?.into_iter().rev().find(|(found, _)| *found == hash)?;
    let HeldId { happened_at, state, late, .. } = id;
    let fate = match (state, late) {
        (IdState::Held, None) => "billed",
        (IdState::Held, Some(_)) => "late",
        (IdState::Cancelled, _) => "cancelled",
        (IdState::Freed, _) => "free",
    };
    Some(IdFate { happened_at, fate })
}
