//! Sealed invoices leave memory. What time still needs of them stays, and they come back when somebody names them.
//!
//! The books say which invoices they lack ([`Books::lacked_by`], [`Books::lacked_by_duties`]); whoever keeps them brings
//! the documents ([`Books::bring`]) before he lets a command or a duty be decided. Books that nobody keeps have everything
//! at hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::books::{Bill, BillKind, Books, CommandRecord, Stage};
use super::digest::last_invoice_of;
use super::document::InvoiceId;
use super::instant::Instant;
use super::keep::{Changes, Opened, parse, unreadable};
use super::kept_bills::{InvoiceText, invoice_text};

/// What time still needs of a sealed invoice.
pub(super) struct Filed {
    pub id: InvoiceId,
    pub customer: u32,
    pub subscription: Option<u32>,
    pub period_from: Option<Instant>,
    pub is_periodic: bool,
    pub will_be_due_at: Option<Instant>,
    pub overdue_at: Instant,
}

/// What a document of an invoice is found under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InvoiceKey {
    Own(InvoiceId),
    /// The last one that a command made.
    Order(InvoiceId),
}

impl InvoiceKey {
    fn id(self) -> InvoiceId {
        match self {
            InvoiceKey::Own(id) | InvoiceKey::Order(id) => id,
        }
    }
}

/// The key of the document of a sealed invoice.
pub fn invoice_key(id: InvoiceId) -> String {
    format!("invoice:{:032x}", { id.0 })
}

/// The invoice whose document has this key.
pub fn invoice_with_key(key: &str) -> Option<InvoiceId> {
    InvoiceId::of_digits(key.strip_prefix("invoice:")?)
}

/// The invoice in its document, as its webhooks have it.
pub fn text_in(document: &[u8]) -> Option<&[u8]> {
    #[derive(Deserialize)]
    struct Text<'a> {
        #[serde(borrow)]
        invoice: &'a RawValue,
    }
    let text: Text<'_> = serde_json::from_slice(document).ok()?;
    Some(text.invoice.get().as_bytes())
}

fn key_text(key: InvoiceKey) -> String {
    match key {
        InvoiceKey::Own(id) => invoice_key(id),
        InvoiceKey::Order(id) => format!("order:{:032x}", { id.0 }),
    }
}

fn read_key(key: &str) -> Option<InvoiceKey> {
    let (kind, id) = key.split_once(':')?;
    let id = InvoiceId::of_digits(id)?;
    match kind {
        "invoice" => Some(InvoiceKey::Own(id)),
        "order" => Some(InvoiceKey::Order(id)),
        _ => None,
    }
}

/// The register of all sealed invoices, in documents of so many entries. The first ones aren't needed to open the books.
pub(super) const ENTRIES: u64 = 64;

/// What is kept of sealed invoices beside their documents.
#[derive(Default)]
pub(super) struct Filing {
    /// Sealed since the last commit.
    sealed: Vec<u32>,
    /// Sealed and kept: they may go when that is durable.
    leaving: Vec<u32>,
    /// Asked for, and nowhere.
    absent: BTreeSet<InvoiceId>,
    /// Invoices that are to be found under the command that made them, as soon as they are here.
    orders: BTreeMap<InvoiceId, InvoiceId>,
    /// The first document of the register that time still needs.
    first: u64,
    needed: VecDeque<Needed>,
    /// How many entries there are.
    entries: u64,
    /// Those of the last document.
    open: Vec<FiledText>,
    /// Which document the entry of an invoice is in that awaits its number.
    awaiting: BTreeMap<u32, (InvoiceId, u64)>,
}

/// For how long a document of the register is needed.
struct Needed {
    until: Instant,
    awaiting: u32,
}

/// Number, id, customer, subscription, whether it is no opening invoice, start of its period, when it is told that it will
/// be due and when it is overdue if nobody pays, whether its number is still to come, and its number.
#[derive(Serialize, Deserialize)]
pub struct FiledText(
    u32,
    String,
    u32,
    Option<u32>,
    bool,
    Option<Instant>,
    Option<Instant>,
    Option<Instant>,
    bool,
    Option<String>,
);

impl FiledText {
    pub fn id(&self) -> Option<InvoiceId> {
        InvoiceId::of_digits(&self.1)
    }

    /// Whose it is.
    pub fn customer(&self) -> u32 {
        self.2
    }

    /// Whether it may be the invoice with that number.
    pub fn may_bear(&self, number: &str) -> bool {
        self.8 || self.9.as_deref() == Some(number)
    }
}

impl Filing {
    pub(super) fn note_sealed(&mut self, number: u32) {
        self.sealed.push(number);
    }

    /// An invoice has its number.
    fn note_number(&mut self, number: u32) {
        if let Some((_, document)) = self.awaiting.remove(&number) {
            self.needed[(document - self.first) as usize].awaiting -= 1;
        }
    }

    /// The first document of the register that time needs, and how many entries there are.
    pub(super) fn register(&self) -> (u64, u64) {
        (self.first, self.entries)
    }

    pub(super) fn reopen(&mut self, (first, entries): (u64, u64)) {
        (self.first, self.entries) = (first, entries);
    }

    /// What awaited its number when the books were kept.
    pub(super) fn awaited(&self) -> impl Iterator<Item = InvoiceId> {
        self.awaiting.values().map(|(id, _)| *id)
    }

    fn add(&mut self, entry: FiledText) {
        if self.entries.is_multiple_of(ENTRIES) {
            self.open.clear();
        }
        self.note_needed(&entry, self.entries / ENTRIES);
        self.open.push(entry);
        self.entries += 1;
    }

    fn note_needed(&mut self, entry: &FiledText, document: u64) {
        let place = (document - self.first) as usize;
        if place == self.needed.len() {
            self.needed.push_back(Needed { until: Instant::MIN, awaiting: 0 });
        }
        let needed = &mut self.needed[place];
        needed.until = needed.until.max(entry.7.unwrap_or(Instant::MIN));
        if let (true, Some(id)) = (entry.8, entry.id()) {
            needed.awaiting += 1;
            self.awaiting.insert(entry.0, (id, document));
        }
    }

    fn write_open(&self, changes: &mut Changes) {
        changes.put(format!("sealed:{}", (self.entries - 1) / ENTRIES), &self.open);
    }

    fn forget_what_is_over(&mut self, now: Instant) {
        let is_over = |needed: &mut Needed| needed.until < now && needed.awaiting == 0;
        while self.needed.len() > 1 && self.needed.pop_front_if(is_over).is_some() {
            self.first += 1;
        }
    }
}

impl Books {
    /// What time needs of an invoice that was just sealed.
    pub(super) fn filed(&self, number: u32, will_be_due_at: Option<Instant>, overdue_at: Instant) -> Filed {
        let bill = &self.bills[number];
        let document = &self.sealed(number).expect("only a sealed invoice is filed").document;
        Filed {
            id: bill.id,
            customer: bill.customer,
            subscription: bill.subscription(),
            period_from: document.period.map(|period| period.0),
            is_periodic: bill.is_periodic(),
            will_be_due_at,
            overdue_at,
        }
    }

    pub(super) fn note_number_of(&mut self, number: u32) {
        self.keeping.filing.note_number(number);
    }

    /// Writes sealed invoices that have changed, and enters those that are new.
    pub(super) fn keep_bills(&mut self, changes: &mut Changes) {
        for number in self.bills.take_changed() {
            let bill = &self.bills[number];
            if bill.is_draft() {
                self.subscriptions.entries.mark(bill.subscription().expect("only a subscription has drafts"));
                continue;
            }
            changes.writes.push((invoice_key(bill.id), invoice_text(number, bill)));
            if !bill.awaits_number() {
                self.keeping.filing.leaving.push(number);
            }
        }
        for number in self.bills.take_used() {
            let bill = &self.bills[number];
            if let (true, Some(subscription)) = (bill.is_draft(), bill.subscription()) {
                self.subscriptions.entries.mark_used(subscription);
            }
        }
        self.enter_sealed(changes);
    }

    fn enter_sealed(&mut self, changes: &mut Changes) {
        let mut has_new = false;
        for number in std::mem::take(&mut self.keeping.filing.sealed) {
            let bill = &self.bills[number];
            if let Some(subscription) = bill.subscription() {
                self.subscriptions.entries.mark(subscription);
            }
            if let Some(command) = bill.created_by() {
                let order = last_invoice_of(&self.customers.get(bill.customer).external_id, command);
                changes.put(key_text(InvoiceKey::Order(order)), &bill.id.to_string());
            }
            let entry = self.entry_of(number, bill);
            let filing = &mut self.keeping.filing;
            filing.add(entry);
            has_new = !filing.entries.is_multiple_of(ENTRIES);
            if !has_new {
                filing.write_open(changes);
            }
        }
        let filing = &mut self.keeping.filing;
        if has_new {
            filing.write_open(changes);
        }
        filing.forget_what_is_over(self.now);
    }

    fn entry_of(&self, number: u32, bill: &Bill) -> FiledText {
        let Stage::Sealed(sealed) = &bill.stage else { panic!("only sealed invoices are entered") };
        let filed = self.unpaid.get(&number);
        FiledText(
            number,
            format!("{:032x}", { bill.id.0 }),
            bill.customer,
            bill.subscription(),
            bill.is_periodic(),
            sealed.document.period.map(|period| period.0),
            filed.and_then(|filed| filed.will_be_due_at),
            filed.map(|filed| filed.overdue_at),
            bill.awaits_number(),
            sealed.document.number.clone(),
        )
    }

    /// An entry of the register, when the books are opened again.
    pub(super) fn open_register(&mut self, key: &str, bytes: &[u8], document: u64) -> Opened<()> {
        let entries: Vec<FiledText> = parse(key, bytes)?;
        for entry in &entries {
            self.keeping.filing.note_needed(entry, document);
            let FiledText(number, _, customer, subscription, is_periodic, period_from, ..) = *entry;
            // What is over by now has been done; of this instant's duties some may not.
            let Some(overdue_at) = entry.7.filter(|at| *at >= self.now) else { continue };
            let will_be_due_at = entry.6.filter(|at| *at >= self.now);
            let id = entry.id().ok_or_else(|| unreadable(key, "an entry has no id"))?;
            let filed =
                Filed { id, customer, subscription, period_from, is_periodic, will_be_due_at, overdue_at };
            self.unpaid.insert(number, filed);
        }
        self.keeping.filing.open = entries;
        Ok(())
    }

    // --- Coming back --------------------------------------------------------------------------------------------------

    /// The keys of the invoices that a command names and that aren't at hand.
    pub fn lacked_by(&self, command: &CommandRecord<'_>) -> Vec<String> {
        let is_lacked = |key: &InvoiceKey| {
            self.bills.find(key.id()).is_none() && !self.keeping.filing.absent.contains(&key.id())
        };
        self.named_by(command).into_iter().filter(is_lacked).map(key_text).collect()
    }

    /// The same for what is due now, so many at most.
    pub fn lacked_by_duties(&self, most: usize) -> Vec<String> {
        self.lacked_ids(most).into_iter().map(invoice_key).collect()
    }

    /// The same for books that were just opened: what awaits its number stays at hand.
    pub fn lacked_by_opening(&self) -> Vec<String> {
        self.keeping.filing.awaited().map(invoice_key).collect()
    }

    /// Takes a document that was lacked; says which one is lacked next. `None`: there is no such document.
    pub fn bring(&mut self, key: &str, bytes: Option<&[u8]>) -> Opened<Option<String>> {
        let name = read_key(key).ok_or_else(|| unreadable(key, "it is no invoice"))?;
        let Some(bytes) = bytes else {
            self.keeping.filing.absent.insert(name.id());
            return Ok(None);
        };
        match name {
            InvoiceKey::Own(id) => self.bring_invoice(key, bytes, id).map(|()| None),
            InvoiceKey::Order(order) => {
                let id: String = parse(key, bytes)?;
                let id = InvoiceId::parse(&id).ok_or_else(|| unreadable(key, "it names no invoice"))?;
                if let Some(number) = self.bills.find(id) {
                    self.bills.put_order(order, number);
                    return Ok(None);
                }
                self.keeping.filing.orders.insert(id, order);
                Ok(Some(invoice_key(id)))
            }
        }
    }

    fn bring_invoice(&mut self, key: &str, bytes: &[u8], id: InvoiceId) -> Opened<()> {
        let (number, bill) = parse::<InvoiceText<'_>>(key, bytes)?.read(key)?;
        // What is at hand may be newer.
        if self.bills.get(number).is_none() {
            if !bill.awaits_number() {
                self.keeping.filing.leaving.push(number);
                self.keeping.filing.note_number(number);
            }
            self.bills.put(number, bill);
        }
        if let Some(order) = self.keeping.filing.orders.remove(&id) {
            self.bills.put_order(order, number);
        }
        Ok(())
    }

    /// How many sealed invoices are in memory.
    pub fn sealed_at_hand(&self) -> usize {
        self.bills.sealed_count()
    }

    /// What was sealed or brought needn't be at hand any more, unless it has changed since it was last kept: for whoever
    /// keeps the books, when all that was kept is durable.
    pub fn let_go_of_sealed(&mut self) {
        for number in std::mem::take(&mut self.keeping.filing.leaving) {
            if self.bills.is_changed(number) {
                continue;
            }
            let Some(bill) = self.bills.remove(number) else { continue };
            if let Some(command) = bill.created_by() {
                let customer = &self.customers.get(bill.customer).external_id;
                self.bills.remove_order(last_invoice_of(customer, command), number);
            }
        }
        self.keeping.filing.absent.clear();
    }
}

impl Bill {
    pub(super) fn subscription(&self) -> Option<u32> {
        match self.kind {
            BillKind::Period { subscription, .. } | BillKind::Opening { subscription, .. } => {
                Some(subscription)
            }
            BillKind::OneOff | BillKind::Credit => None,
        }
    }
}
