//! The books as documents: what a shard keeps of them.
//!
//! Each customer, subscription and invoice has a document of its own, as JSON text; what usage changes is apart from what
//! it doesn't. [`Books::take_changes`] says what has changed since it was last asked; [`Books::open`] brings the same
//! books back. Deadlines and indexes aren't kept: they follow from the documents.

mod opening;

pub use opening::Opening;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::books::{Books, Fates, PriceList};
use super::filing::{ENTRIES, Filing};
use super::id_chunks::IdChunk;
use super::ids::{Entry, HeldId, pack, unpack};
use super::instant::{Instant, Span};
use super::kept::{PlanText, PricesText, ShelfText, UnbillableText, WaitingText};
use super::kept_customers::CustomerText;
use super::kept_following::{self, FollowingText};
use super::kept_held::HeldText;
use super::kept_subscriptions::{SubscriptionText, TOGETHER};
use super::kept_terms::KnownTerms;
use super::kept_usage::usage_text;
use crate::catalog::settings::Settings;
use crate::planted::{self, Bug};

/// What has to be kept that no document of its own marks.
#[derive(Default)]
pub struct Keeping {
    is_on: bool,
    pub(super) settings: Option<Arc<[u8]>>,
    entities: BTreeSet<u32>,
    taxes: BTreeSet<u32>,
    metrics: BTreeSet<u32>,
    plans: BTreeSet<u32>,
    parked: BTreeSet<u64>,
    price_lists: BTreeMap<u32, Arc<PriceList>>,
    next_prices: u32,
    new_prices: BTreeSet<u32>,
    new_ids: Vec<Entry>,
    chunks: VecDeque<IdStretch>,
    next_chunk: u64,
    open_chunk: IdChunk,
    /// In documents before the one of that number, ids of usage before that instant are gone.
    id_cuts: Vec<(u64, Instant)>,
    new_commands: Vec<(String, String, Instant)>,
    first_command: u64,
    next_command: u64,
    /// How many of the commands that are kept can be forgotten.
    free_commands: u64,
    pub(super) filing: Filing,
    /// While books are being opened.
    pub(super) known_terms: KnownTerms,
    waiting_known: BTreeSet<u64>,
    had_unbillable: bool,
    /// Whether drafts have begun to follow a record since the books were last kept, and whether they did then.
    has_new_following: bool,
    had_following: bool,
}

/// A stretch of ids that lies in one document, and when the last of them is over.
struct IdStretch {
    number: u64,
    last_happened_at: Instant,
}

/// What is to be written, and what isn't needed any more.
#[derive(Default)]
pub struct Changes {
    pub writes: Vec<(String, Vec<u8>)>,
    pub forgets: Vec<String>,
}

/// How much of everything there is: which documents make up the books.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Contents {
    now: Option<Instant>,
    settings: Option<String>,
    entities: u32,
    taxes: u32,
    metrics: u32,
    plans: u32,
    prices: Vec<u32>,
    customers: u32,
    subscriptions: u32,
    bills: u32,
    /// The register of sealed invoices: the first document that time needs, and how many entries there are.
    sealed: (u64, u64),
    waiting: Vec<u64>,
    parked: Vec<u64>,
    next_parked: u64,
    commands: (u64, u64),
    ids: (u64, u64),
    id_cuts: Vec<(u64, Instant)>,
    longest_limit: Span,
    unbillable: bool,
    /// Where drafts are still to follow a record: those of lower numbers have.
    follows: Option<u32>,
    next_prices: u32,
    entity_numbers: Vec<(String, u64)>,
    fates: [u64; 6],
}

impl Keeping {
    pub(super) fn mark_entity(&mut self, place: u32) {
        self.entities.extend(self.is_on.then_some(place));
    }

    pub(super) fn mark_tax(&mut self, place: u32) {
        self.taxes.extend(self.is_on.then_some(place));
    }

    pub(super) fn mark_metric(&mut self, place: u32) {
        self.metrics.extend(self.is_on.then_some(place));
    }

    pub(super) fn mark_plan(&mut self, place: u32) {
        self.plans.extend(self.is_on.then_some(place));
    }

    pub(super) fn mark_parked(&mut self, number: u64) {
        self.parked.extend(self.is_on.then_some(number));
    }

    pub(super) fn note_following(&mut self) {
        self.has_new_following = self.is_on;
    }

    pub(super) fn note_sealed(&mut self, number: u32) {
        if self.is_on {
            self.filing.note_sealed(number);
        }
    }

    /// What was written stays as it is: nothing more is put behind it.
    pub(super) fn forget_ids_before(&mut self, reach: Instant) {
        if self.is_on {
            self.new_ids.retain(|entry| unpack(entry).1.happened_at >= reach);
            self.open_chunk = IdChunk::default();
            if !self.chunks.is_empty() {
                self.id_cuts.push((self.next_chunk, reach));
            }
        }
    }

    /// The first instant whose ids still count in that document.
    fn cut_of(&self, chunk: u64) -> Option<Instant> {
        self.id_cuts.iter().filter(|(behind, _)| chunk < *behind).map(|(_, reach)| *reach).max()
    }

    pub(super) fn note_id(&mut self, hash: u64, id: &HeldId) {
        if self.is_on && !planted::is(Bug::IdsNotKept) {
            self.new_ids.push(pack(hash, id));
        }
    }

    /// Gives a price list its version.
    pub(super) fn keep_prices(&mut self, mut prices: PriceList) -> Arc<PriceList> {
        prices.version = self.next_prices;
        self.next_prices += 1;
        let prices = Arc::new(prices);
        if self.is_on {
            self.price_lists.insert(prices.version, prices.clone());
            self.new_prices.insert(prices.version);
        }
        prices
    }
}

impl Books {
    /// Empty books whose changes are to be kept.
    pub fn kept(settings: Settings) -> Books {
        let mut books = Books::new(settings);
        books.keeping.is_on = true;
        books
    }

    /// Holds a command's id, and lets go of those that are free: that is when the log says so, not when a batch ends.
    pub(super) fn note_command(&mut self, key: (String, String)) {
        self.forget_commands_before(self.reach());
        if self.keeping.is_on {
            self.keeping.new_commands.push((key.0.clone(), key.1.clone(), self.now));
        }
        self.hold_command_since(self.now, key);
    }

    pub(super) fn forget_commands_before(&mut self, reach: Instant) {
        while let Some((at, key)) = self.command_order.pop_front_if(|(at, _)| *at < reach) {
            if self.commands.get(&key) == Some(&at) {
                self.commands.remove(&key);
            }
            self.keeping.free_commands += 1;
        }
    }

    fn hold_command_since(&mut self, at: Instant, key: (String, String)) {
        self.command_order.push_back((at, key.clone()));
        self.commands.insert(key, at);
    }

    /// The documents that have changed since this was last asked.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        self.keep_catalog(&mut changes);
        self.keep_bills(&mut changes);
        self.keep_people(&mut changes);
        self.keep_waiting(&mut changes);
        self.keep_parked(&mut changes);
        self.keep_commands(&mut changes);
        self.keep_unbillable(&mut changes);
        self.keep_following(&mut changes);
        self.keep_ids(&mut changes);
        changes
    }

    fn keep_catalog(&mut self, changes: &mut Changes) {
        let keeping = &mut self.keeping;
        for place in std::mem::take(&mut keeping.entities) {
            changes.put(format!("entity:{place}"), &ShelfText::of(self.entities.get(place)));
        }
        for place in std::mem::take(&mut keeping.taxes) {
            changes.put(format!("tax:{place}"), &ShelfText::of(self.taxes.get(place)));
        }
        for place in std::mem::take(&mut keeping.metrics) {
            changes.put(format!("metric:{place}"), &ShelfText::of(self.metrics.get(place)));
        }
        for place in std::mem::take(&mut keeping.plans) {
            changes.put(format!("plan:{place}"), &PlanText::of(self.plans.get(place)));
        }
        for version in std::mem::take(&mut keeping.new_prices) {
            let Some(prices) = keeping.price_lists.get(&version) else { continue };
            let lines =
                prices.lines.iter().map(|line| (line.number, line.metric_number, line.generation)).collect();
            let source = |bytes: &Arc<[u8]>| String::from_utf8_lossy(bytes).into_owned();
            let metrics = prices.sources.metrics.iter().map(source).collect();
            let plan = source(&prices.sources.plan);
            changes.put(format!("prices:{version}"), &PricesText { plan, metrics, lines });
        }
        // A list that only this index still knows was the last one of something sealed long ago.
        let unused: Vec<u32> = keeping
            .price_lists
            .iter()
            .filter(|(_, prices)| Arc::strong_count(prices) == 1)
            .map(|(version, _)| *version)
            .collect();
        for version in unused {
            keeping.price_lists.remove(&version);
            changes.forgets.push(format!("prices:{version}"));
        }
    }

    fn keep_people(&mut self, changes: &mut Changes) {
        for document in documents_of(self.customers.entries.take_changed()) {
            let numbers = together(document, self.customers.len());
            let texts: Vec<CustomerText<'_>> =
                numbers.map(|number| CustomerText::of(self.customers.get(number))).collect();
            changes.put(format!("customers:{document}"), &texts);
        }
        self.customers.entries.take_used();
        for document in documents_of(self.subscriptions.entries.take_changed()) {
            let numbers = together(document, self.subscriptions.len());
            let texts: Vec<SubscriptionText<'_>> =
                numbers.map(|number| self.subscription_text(number)).collect();
            changes.put(format!("subscriptions:{document}"), &texts);
        }
        let used = self.subscriptions.entries.take_used();
        changes.writes.reserve(used.len());
        for number in used {
            let subscription = self.subscriptions.get(number);
            let text = usage_text(subscription, self.opening_of(number), &self.bills);
            changes.writes.push((format!("usage:{number}"), text));
        }
    }

    fn subscription_text(&self, number: u32) -> SubscriptionText<'_> {
        let subscription = self.subscriptions.get(number);
        SubscriptionText::of(subscription, self.opening_of(number), &self.plans, &self.bills)
    }

    fn keep_waiting(&mut self, changes: &mut Changes) {
        let present: BTreeSet<u64> = self.waiting.numbers().collect();
        for number in present.difference(&self.keeping.waiting_known) {
            let waiting = self.waiting.entry(*number).expect("what waits misses something");
            changes.put(format!("waiting:{number}"), &WaitingText::of(waiting));
        }
        changes.forgets.extend(
            self.keeping.waiting_known.difference(&present).map(|number| format!("waiting:{number}")),
        );
        self.keeping.waiting_known = present;
    }

    fn keep_parked(&mut self, changes: &mut Changes) {
        for number in std::mem::take(&mut self.keeping.parked) {
            match self.parked.get(&number) {
                Some(held) => changes.put(format!("parked:{number}"), &HeldText::of(held)),
                None => changes.forgets.push(format!("parked:{number}")),
            }
        }
    }

    fn keep_commands(&mut self, changes: &mut Changes) {
        for command in std::mem::take(&mut self.keeping.new_commands) {
            changes.put(format!("command:{}", self.keeping.next_command), &command);
            self.keeping.next_command += 1;
        }
        for _ in 0..std::mem::take(&mut self.keeping.free_commands) {
            changes.forgets.push(format!("command:{}", self.keeping.first_command));
            self.keeping.first_command += 1;
        }
    }

    fn keep_unbillable(&mut self, changes: &mut Changes) {
        if !self.unbillable.is_empty() {
            let texts: Vec<UnbillableText<'_>> = self.unbillable.iter().map(UnbillableText::of).collect();
            changes.put("unbillable".to_owned(), &texts);
            self.keeping.had_unbillable = true;
        } else if std::mem::take(&mut self.keeping.had_unbillable) {
            changes.forgets.push("unbillable".to_owned());
        }
    }

    /// What was in force before is kept until the last draft has followed.
    fn keep_following(&mut self, changes: &mut Changes) {
        let is_new = std::mem::take(&mut self.keeping.has_new_following);
        match &self.following {
            Some(following) if is_new => {
                changes.put(kept_following::KEY.to_owned(), &FollowingText::of(following, self));
                self.keeping.had_following = true;
            }
            None if std::mem::take(&mut self.keeping.had_following) => {
                changes.forgets.push(kept_following::KEY.to_owned());
            }
            _ => {}
        }
    }

    /// Ids go into documents one behind the other; the last one grows until it is full.
    fn keep_ids(&mut self, changes: &mut Changes) {
        let reach = self.reach();
        let keeping = &mut self.keeping;
        let is_new = !keeping.new_ids.is_empty();
        // Its room is kept for the next commit.
        for entry in keeping.new_ids.drain(..) {
            if keeping.open_chunk.bytes.is_empty() {
                keeping
                    .chunks
                    .push_back(IdStretch { number: keeping.next_chunk, last_happened_at: Instant::MIN });
                keeping.next_chunk += 1;
            }
            let chunk = keeping.chunks.back_mut().expect("an open chunk is the last one");
            chunk.last_happened_at = chunk.last_happened_at.max(unpack(&entry).1.happened_at);
            keeping.open_chunk.push(&entry);
            if keeping.open_chunk.is_full() {
                let full = std::mem::take(&mut keeping.open_chunk);
                changes.writes.push((format!("ids:{}", chunk.number), full.bytes));
            }
        }
        if is_new && !keeping.open_chunk.bytes.is_empty() {
            let number = keeping.chunks.back().expect("an open chunk is the last one").number;
            changes.writes.push((format!("ids:{number}"), keeping.open_chunk.bytes.clone()));
        }
        while keeping.chunks.len() > 1
            && keeping.chunks.front().is_some_and(|chunk| chunk.last_happened_at < reach)
        {
            let chunk = keeping.chunks.pop_front().expect("it was just seen");
            changes.forgets.push(format!("ids:{}", chunk.number));
            keeping.id_cuts.retain(|(behind, _)| *behind > chunk.number + 1);
        }
    }

    /// Which documents make up the books as they stand.
    pub fn contents(&self) -> Contents {
        let keeping = &self.keeping;
        let Fates { billed, late, duplicate, parked, rejected, cancelled } = self.fates;
        let first_chunk = keeping.chunks.front().map_or(keeping.next_chunk, |chunk| chunk.number);
        Contents {
            now: Some(self.now),
            settings: keeping.settings.as_ref().map(|source| String::from_utf8_lossy(source).into_owned()),
            entities: self.entities.count(),
            taxes: self.taxes.count(),
            metrics: self.metrics.count(),
            plans: self.plans.count(),
            prices: keeping.price_lists.keys().copied().collect(),
            customers: self.customers.len() as u32,
            subscriptions: self.subscriptions.len() as u32,
            bills: self.bills.given(),
            sealed: keeping.filing.register(),
            waiting: self.waiting.numbers().collect(),
            parked: self.parked.keys().copied().collect(),
            next_parked: self.next_parked,
            commands: (keeping.first_command, keeping.next_command),
            ids: (first_chunk, keeping.next_chunk),
            id_cuts: keeping.id_cuts.clone(),
            longest_limit: self.longest_limit,
            unbillable: !self.unbillable.is_empty(),
            follows: self.following.as_ref().map(|following| following.next),
            next_prices: keeping.next_prices,
            entity_numbers: self.entity_numbers.iter().map(|(code, count)| (code.clone(), *count)).collect(),
            fates: [billed, late, duplicate, parked, rejected, cancelled],
        }
    }
}

/// The documents that hold those numbers, each once.
fn documents_of(numbers: Vec<u32>) -> Vec<u32> {
    let mut documents: Vec<u32> = numbers.into_iter().map(|number| number / TOGETHER).collect();
    documents.dedup();
    documents
}

/// The numbers that share a document.
fn together(document: u32, count: usize) -> Range<u32> {
    let first = document * TOGETHER;
    first..(first + TOGETHER).min(count as u32)
}

impl Changes {
    pub(super) fn put(&mut self, key: String, text: &impl Serialize) {
        self.writes.push((key, serde_json::to_vec(text).expect("a document is plain data")));
    }
}

impl Contents {
    /// The shard's clock; `None` before anything was read.
    pub fn now(&self) -> Option<Instant> {
        self.now
    }

    /// How many numbers of customers, subscriptions and invoices have been given.
    pub fn people(&self) -> (u32, u32, u32) {
        (self.customers, self.subscriptions, self.bills)
    }

    pub fn customer_documents(&self) -> u32 {
        self.customers.div_ceil(TOGETHER)
    }

    pub fn subscription_documents(&self) -> u32 {
        self.subscriptions.div_ceil(TOGETHER)
    }

    /// The documents of the register of sealed invoices.
    pub fn register_documents(&self) -> u32 {
        self.sealed.1.div_ceil(ENTRIES) as u32
    }

    /// How many invoices were ever sealed.
    pub fn sealed(&self) -> u64 {
        self.sealed.1
    }

    /// The settings record that is in force; `None` if the catalog has none.
    pub fn settings(&self) -> Option<&str> {
        self.settings.as_deref()
    }

    pub fn parked(&self) -> &[u64] {
        &self.parked
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The numbers of the documents that hold ids, the last one excluded.
    pub fn id_chunks(&self) -> Range<u64> {
        self.ids.0..self.ids.1
    }

    pub fn fates(&self) -> Fates {
        let [billed, late, duplicate, parked, rejected, cancelled] = self.fates;
        Fates { billed, late, duplicate, parked, rejected, cancelled }
    }

    /// The keys of what is small and concerns everybody.
    pub(super) fn catalog_keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut all =
            |kind: &str, count: u32| keys.extend((0..count).map(|number| format!("{kind}:{number}")));
        all("entity", self.entities);
        all("tax", self.taxes);
        all("metric", self.metrics);
        all("plan", self.plans);
        keys.extend(self.prices.iter().map(|version| format!("prices:{version}")));
        keys
    }

    /// The keys of all documents, in the order in which they are needed.
    fn keys(&self) -> impl Iterator<Item = String> {
        let all =
            |kind: &'static str, numbers: Range<u64>| numbers.map(move |number| format!("{kind}:{number}"));
        let some = |kind: &'static str, numbers: &'_ [u64]| -> Vec<String> {
            numbers.iter().map(|number| format!("{kind}:{number}")).collect()
        };
        let (first_entries, entries) = self.sealed;
        self.catalog_keys()
            .into_iter()
            .chain(all("customers", 0..self.customer_documents().into()))
            .chain(all("subscriptions", 0..self.subscription_documents().into()))
            .chain(all("usage", 0..self.subscriptions.into()))
            .chain(all("sealed", first_entries..entries.div_ceil(ENTRIES)))
            .chain(some("waiting", &self.waiting))
            .chain(some("parked", &self.parked))
            .chain(all("command", self.commands.0..self.commands.1))
            .chain(all("ids", self.id_chunks()))
            .chain(self.unbillable.then(|| "unbillable".to_owned()))
            .chain(self.follows.map(|_| kept_following::KEY.to_owned()))
    }
}

/// The documents can't be what was kept: which one, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

pub type Opened<T> = Result<T, Unreadable>;

pub(super) fn unreadable(key: &str, why: impl std::fmt::Display) -> Unreadable {
    Unreadable(format!("document {key} can't be read: {why}"))
}

pub(super) fn parse<'a, T: Deserialize<'a>>(key: &str, bytes: &'a [u8]) -> Opened<T> {
    serde_json::from_slice(bytes).map_err(|error| unreadable(key, error))
}
