//! The same books again, from the documents that were kept of them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use super::{Contents, IdStretch, Opened, parse, unreadable};
use crate::catalog::json::Json;
use crate::catalog::plan::Charge;
use crate::catalog::settings::Settings;
use crate::catalog::{Name, Record};
use crate::invoice::books::{Books, Due, Life, PlanState, PriceList, PricedCharge, Sources};
use crate::invoice::id_chunks::{CHUNK_BYTES_MAX, IdChunk, read_chunk};
use crate::invoice::instant::Instant;
use crate::invoice::kept::{PlanText, PricesText, ShelfText, UnbillableText, WaitingText};
use crate::invoice::kept_customers::CustomerText;
use crate::invoice::kept_following;
use crate::invoice::kept_held::HeldText;
use crate::invoice::kept_subscriptions::{ReadSubscription, SubscriptionText};
use crate::invoice::kept_terms::KnownTerms;
use crate::invoice::waiting::WaitingRecord;
use crate::invoice::warm::TOGETHER;
use crate::planted::{self, Bug};

/// What an id takes in a document, most of the time.
const USUAL_ID_BYTES: usize = 16;

/// Books that are being opened, document by document.
pub struct Opening {
    books: Books,
    contents: Contents,
}

impl Opening {
    pub fn begin(settings: Settings, contents: &Contents) -> Opened<Opening> {
        let mut books = Books::reopened(settings, contents)?;
        books.customers.reserve(contents.customers as usize);
        books.subscriptions.reserve(contents.subscriptions as usize);
        books.ids.reserve((contents.ids.1 - contents.ids.0) as usize * CHUNK_BYTES_MAX / USUAL_ID_BYTES);
        Ok(Opening { books, contents: contents.clone() })
    }

    /// Takes the next document of [`Books::keys`], in their order.
    pub fn take(&mut self, key: &str, bytes: Option<&[u8]>) -> Opened<()> {
        match bytes {
            Some(bytes) if key == kept_following::KEY => {
                let next = self.contents.follows.unwrap_or(0);
                self.books.open_following(next, bytes)
            }
            Some(bytes) => self.books.open_document(key, bytes),
            // The oldest commands may be forgotten already, and nobody may have changed the entity that needs no record.
            None if key.starts_with("command:") || key == "entity:0" => Ok(()),
            None => Err(unreadable(key, "it is missing")),
        }
    }

    pub fn finish(self) -> Books {
        let Opening { mut books, contents } = self;
        books.next_parked = contents.next_parked;
        // The oldest may be gone already: they are forgotten after the commit that could do without them.
        books.keeping.first_command = contents.commands.1 - books.command_order.len() as u64;
        books.keeping.next_command = contents.commands.1;
        books.keeping.waiting_known = books.waiting.numbers().collect();
        books.keeping.had_unbillable = contents.unbillable;
        books.keeping.had_following = contents.follows.is_some();
        if planted::is(Bug::FollowingForgotten) {
            books.following = None;
        }
        if !planted::is(Bug::DeadlineNotDerivedOnOpen) {
            books.schedule_everything();
        }
        books.settle_marks();
        books
    }
}

impl Books {
    /// The keys of the documents that make up books with these contents, in the order in which they are needed.
    pub fn keys(contents: &Contents) -> impl Iterator<Item = String> {
        contents.keys()
    }

    /// Books with these contents before any document was read.
    pub(in crate::invoice) fn reopened(settings: Settings, contents: &Contents) -> Opened<Books> {
        let mut books = Books::kept(settings);
        books.now = contents.now.unwrap_or(Instant::MIN);
        if let Some(source) = &contents.settings {
            let json = Json::read(source.as_bytes())
                .ok_or_else(|| unreadable("shard", "the settings are no JSON"))?;
            let known = Settings::read(&json).map_err(|fault| unreadable("shard", fault.pointer))?;
            books.settings = Settings { max_event_bytes: books.settings.max_event_bytes, ..known };
            books.keeping.settings = Some(Arc::from(source.as_bytes()));
        }
        books.longest_limit = contents.longest_limit.max(books.settings.lateness_limit.exact());
        books.keeping.next_prices = contents.next_prices;
        books.bills.note_given(contents.bills);
        books.keeping.filing.reopen(contents.sealed);
        books.keeping.next_chunk = contents.ids.1;
        books.keeping.id_cuts = contents.id_cuts.clone();
        books.entity_numbers = contents.entity_numbers.iter().cloned().collect();
        books.fates = contents.fates();
        Ok(books)
    }

    pub(in crate::invoice) fn price_lists(&self) -> &BTreeMap<u32, Arc<PriceList>> {
        &self.keeping.price_lists
    }

    pub(in crate::invoice) fn open_document(&mut self, key: &str, bytes: &[u8]) -> Opened<()> {
        let (kind, number) = key.split_once(':').unwrap_or((key, "0"));
        let number: u64 = number.parse().map_err(|_| unreadable(key, "its key has no number"))?;
        match kind {
            "entity" => self.open_entity(key, bytes),
            "tax" => {
                let (record, source, is_removed) = parse::<ShelfText>(key, bytes)?.read(key)?;
                let Record::Tax(tax) = record else { return Err(unreadable(key, "it is no tax")) };
                let place = self.taxes.put(&tax.code.clone(), tax, &source);
                self.taxes.get_mut(place).is_removed = is_removed;
                Ok(())
            }
            "metric" => {
                let (record, source, is_removed) = parse::<ShelfText>(key, bytes)?.read(key)?;
                let Record::Metric(metric) = record else { return Err(unreadable(key, "it is no metric")) };
                let place = self.metrics.put(&metric.code.clone(), Arc::new(metric), &source);
                self.metrics.get_mut(place).is_removed = is_removed;
                Ok(())
            }
            "plan" => self.open_plan(key, bytes),
            "prices" => self.open_prices(key, bytes, number as u32),
            "customers" => {
                for text in parse::<Vec<CustomerText<'_>>>(key, bytes)? {
                    let customer = text.read(key, &mut self.keeping.known_terms, &mut self.terms)?;
                    self.customers.add(customer);
                }
                Ok(())
            }
            "subscriptions" => {
                for text in parse::<Vec<SubscriptionText<'_>>>(key, bytes)? {
                    self.open_subscription(key, text)?;
                }
                Ok(())
            }
            "usage" => {
                self.open_usage(number as u32, parse(key, bytes)?);
                Ok(())
            }
            "sealed" => self.open_register(key, bytes, number),
            "waiting" => self.open_waiting(key, bytes, number),
            "parked" => {
                let held = parse::<HeldText>(key, bytes)?.read();
                self.parked_for.entry(held.name().to_owned()).or_default().push(number);
                self.parked.insert(number, held);
                Ok(())
            }
            "command" => {
                let (customer, id, at): (String, String, Instant) = parse(key, bytes)?;
                self.hold_command_since(at, (customer, id));
                Ok(())
            }
            "unbillable" => {
                for text in parse::<Vec<UnbillableText<'_>>>(key, bytes)? {
                    let (key, unbillable) = text.read();
                    self.unbillable.insert(key, unbillable);
                }
                Ok(())
            }
            "ids" => self.open_ids(key, bytes, number),
            _ => Err(unreadable(key, "its kind is unknown")),
        }
    }

    fn open_subscription(&mut self, key: &str, text: SubscriptionText<'_>) -> Opened<()> {
        let number = self.subscriptions.len() as u32;
        let ReadSubscription { mut subscription, drafts } =
            text.read(number, key, &self.plans, &self.keeping.price_lists)?;
        for window in &mut subscription.windows {
            window.frame = self.frames.share_again(window.frame.clone());
        }
        let is_gone =
            subscription.anchor.started_at == Instant::MAX && subscription.rare.ends_at == Some(Instant::MIN);
        let (customer, name) = (subscription.customer, is_gone.then(|| subscription.external_id.clone()));
        self.subscriptions.add(subscription);
        match name {
            Some(name) => self.subscriptions.forget_name(&name),
            None => self.customers.get_mut(customer).subscriptions.push(number),
        }
        self.open_drafts(drafts);
        Ok(())
    }

    fn open_entity(&mut self, key: &str, bytes: &[u8]) -> Opened<()> {
        let (record, source, is_removed) = parse::<ShelfText>(key, bytes)?.read(key)?;
        let Record::Entity(entity) = record else { return Err(unreadable(key, "it is no entity")) };
        let place = self.entities.put(&entity.code.clone(), Arc::new(entity), &source);
        self.entities.get_mut(place).is_removed = is_removed;
        Ok(())
    }

    fn open_plan(&mut self, key: &str, bytes: &[u8]) -> Opened<()> {
        let text = parse::<PlanText>(key, bytes)?;
        let (record, source, is_removed) = text.shelf.read(key)?;
        let Record::Plan(plan) = record else { return Err(unreadable(key, "it is no plan")) };
        let code = plan.code.clone();
        self.has_dynamic_charge |= plan.charges.iter().any(Charge::is_dynamic);
        // Most of the time price lists come after the plans.
        let known = self.keeping.price_lists.get(&text.prices).cloned();
        let prices = known.unwrap_or_else(|| {
            let (version, plan) = (text.prices, Arc::new(plan));
            Arc::new(PriceList { version, sources: Sources::default(), plan, lines: Vec::new() })
        });
        let state = PlanState { next_charge: text.next_charge, generation: text.generation, prices };
        let place = self.plans.put(&code, state, &source);
        self.plans.get_mut(place).is_removed = is_removed;
        Ok(())
    }

    /// A price list comes after its plan, which takes it if it is the one in force.
    fn open_prices(&mut self, key: &str, bytes: &[u8], version: u32) -> Opened<()> {
        let text = parse::<PricesText>(key, bytes)?;
        let Ok(Record::Plan(plan)) = Record::read(None, Some(text.plan.as_bytes())) else {
            return Err(unreadable(key, "its plan is no plan"));
        };
        let mut lines = Vec::with_capacity(text.lines.len());
        for ((number, metric_number, generation), source) in text.lines.into_iter().zip(&text.metrics) {
            let Ok(Record::Metric(metric)) = Record::read(None, Some(source.as_bytes())) else {
                return Err(unreadable(key, "its metric is no metric"));
            };
            lines.push(PricedCharge { number, metric: Arc::new(metric), metric_number, generation });
        }
        let place = self.plans.find(&plan.code).ok_or_else(|| unreadable(key, "its plan is unknown"))?;
        let sources = Sources {
            plan: Arc::from(text.plan.into_bytes()),
            metrics: text.metrics.into_iter().map(|source| Arc::from(source.into_bytes())).collect(),
        };
        let prices = Arc::new(PriceList { version, sources, plan: Arc::new(plan), lines });
        let state = &mut self.plans.get_mut(place).thing;
        if state.prices.version == version {
            state.prices = prices.clone();
        }
        self.keeping.price_lists.insert(version, prices);
        Ok(())
    }

    fn open_waiting(&mut self, key: &str, bytes: &[u8], number: u64) -> Opened<()> {
        let text = parse::<WaitingText>(key, bytes)?;
        let record = Record::read(text.key.as_deref().map(str::as_bytes), Some(text.value.as_bytes()))
            .map_err(|fault| unreadable(key, fault.pointer))?;
        // What it was waiting for first may be there by now, and something else still be missing.
        let noted = Name::new(text.missing_kind(key)?, text.missing_code);
        let missing = self.missing(&record).unwrap_or(noted);
        let waiting =
            WaitingRecord { record, key: text.key.map(String::into_bytes), value: text.value.into_bytes() };
        self.waiting.put_back(number, waiting, missing);
        Ok(())
    }

    fn open_ids(&mut self, key: &str, bytes: &[u8], number: u64) -> Opened<()> {
        let ids = read_chunk(bytes).ok_or_else(|| unreadable(key, "it isn't made of whole ids"))?;
        let reach = self.reach();
        let cut = self.keeping.cut_of(number);
        let mut last_happened_at = Instant::MIN;
        for some in ids.chunks(TOGETHER) {
            // Where they go lies anywhere in more memory than is at hand: it is reached for before the first is put.
            black_box(
                some.iter()
                    .fold(0, |sum, (hash, _)| sum ^ self.ids.near(*hash).first().map_or(0, |near| near[0])),
            );
            for (hash, id) in some {
                last_happened_at = last_happened_at.max(id.happened_at);
                if cut.is_none_or(|cut| id.happened_at >= cut) {
                    self.ids.put(*hash, id, reach);
                }
            }
        }
        self.keeping.chunks.push_back(IdStretch { number, last_happened_at });
        self.keeping.open_chunk = match IdChunk::reopen(bytes).filter(|chunk| !chunk.is_full()) {
            Some(chunk) if number + 1 == self.keeping.next_chunk && cut.is_none() => chunk,
            _ => IdChunk::default(),
        };
        Ok(())
    }

    /// Deadlines follow from what was kept.
    fn schedule_everything(&mut self) {
        let (mut found, mut ends) = (Vec::new(), Vec::with_capacity(self.subscriptions.len()));
        for number in 0..self.subscriptions.len() as u32 {
            let subscription = self.subscriptions.get(number);
            if subscription.life == Life::NotBegun || subscription.wants_opening {
                found.push((subscription.anchor.started_at, Due::Begin(number)));
            }
            let open = subscription.windows.iter().filter(|window| window.is_to_be_billed());
            ends.extend(open.map(|window| (number, window.ordinal, window.to)));
        }
        self.deadlines.reserve(ends.len() + self.drafts.len());
        for (number, ordinal, to) in ends {
            self.schedule_end(number, ordinal, to);
        }
        for number in self.drafts.from(0) {
            let draft = self.draft(number).expect("a draft is a draft");
            found.push((draft.finalizes_at, Due::Finalize(number)));
            found.extend(draft.refresh_at().map(|at| (at, Due::Refresh(number))));
            found.extend(draft.is_to_be_told.then_some((self.now, Due::Tell(number))));
        }
        for (at, due) in found {
            self.schedule(at, due);
        }
        self.schedule_by_settings();
        for (number, filed) in std::mem::take(&mut self.unpaid) {
            self.schedule_filed(number, filed);
        }
    }

    /// What was just opened needn't be written again.
    fn settle_marks(&mut self) {
        self.customers.entries.take_changed();
        self.customers.entries.take_used();
        self.subscriptions.entries.take_changed();
        self.subscriptions.entries.take_used();
        self.bills.take_changed();
        self.bills.take_used();
        self.keeping.new_ids.clear();
        self.keeping.parked.clear();
        self.keeping.known_terms = KnownTerms::default();
    }
}
