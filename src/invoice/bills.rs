//! Invoices that are at hand, by number, by id, and by the command that made them: drafts, and of the sealed ones those
//! that somebody needs.
//!
//! Numbers are given once and never again, whether the invoice is at hand or not.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use hashbrown::HashTable;

use super::books::{Bill, Stage};
use super::document::InvoiceId;
use super::places::Places;

#[derive(Default)]
pub(super) struct Bills {
    places: Places,
    slots: Vec<Option<Bill>>,
    free: Vec<u32>,
    by_id: HashTable<u32>,
    /// The last invoice that a command made, by what that is found under.
    ordered: BTreeMap<InvoiceId, u32>,
    next: u32,
    changed: Vec<u32>,
    used: Vec<u32>,
}

/// Whether an invoice was changed since somebody last asked. What changes with usage is marked apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    is_changed: bool,
    is_used: bool,
}

impl Bills {
    /// Adds a new invoice; says its number.
    pub(super) fn push(&mut self, bill: Bill) -> u32 {
        let number = self.next;
        self.put(number, bill);
        self.mark(number);
        number
    }

    /// Puts an invoice where it was, as it was kept.
    pub(super) fn put(&mut self, number: u32, bill: Bill) {
        self.next = self.next.max(number + 1);
        let id = bill.id;
        let place = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(place as usize) {
            Some(slot) => *slot = Some(bill),
            None => self.slots.push(Some(bill)),
        }
        self.places.insert(number, place);
        let (places, slots) = (&self.places, &self.slots);
        let id_of = |number: &u32| slots.get(places.get(*number)? as usize)?.as_ref().map(|bill| bill.id);
        self.by_id.insert_unique(hash(id), number, |number| id_of(number).map_or(0, hash));
    }

    /// Lets the last invoice that a command made be found by it.
    pub(super) fn put_order(&mut self, order: InvoiceId, number: u32) {
        self.ordered.insert(order, number);
    }

    /// Lets go of an invoice.
    pub(super) fn remove(&mut self, number: u32) -> Option<Bill> {
        let place = self.places.remove(number)?;
        let bill = self.slots[place as usize].take()?;
        self.free.push(place);
        if let Ok(found) = self.by_id.find_entry(hash(bill.id), |found| *found == number) {
            found.remove();
        }
        Some(bill)
    }

    /// Lets go of what an invoice is found under, if it is still that one.
    pub(super) fn remove_order(&mut self, order: InvoiceId, number: u32) {
        if self.ordered.get(&order) == Some(&number) {
            self.ordered.remove(&order);
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&Bill> {
        self.slots[self.places.get(number)? as usize].as_ref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Bill> {
        self.slots[self.places.get(number)? as usize].as_mut()
    }

    /// The invoice of that id, or the last one that was ordered under it.
    pub(super) fn find(&self, id: InvoiceId) -> Option<u32> {
        let found = self.by_id.find(hash(id), |number| self.get(*number).is_some_and(|bill| bill.id == id));
        found.or_else(|| self.ordered.get(&id)).copied()
    }

    /// Reaches for what of a draft changes with usage.
    pub(super) fn used_mut(&mut self, number: u32) -> Option<&mut Bill> {
        self.mark_used(number);
        self.get_mut(number)
    }

    pub(super) fn is_changed(&self, number: u32) -> bool {
        self.get(number).is_some_and(|bill| bill.marks.is_changed)
    }

    /// How many numbers have been given.
    pub(super) fn given(&self) -> u32 {
        self.next
    }

    pub(super) fn note_given(&mut self, count: u32) {
        self.next = self.next.max(count);
    }

    pub(super) fn sealed_count(&self) -> usize {
        self.slots.iter().flatten().filter(|bill| !bill.is_draft()).count()
    }

    /// What is at hand, in the order of numbers.
    pub(super) fn in_order(&self) -> Vec<(u32, &Bill)> {
        let mut all: Vec<(u32, &Bill)> =
            self.places.numbers().filter_map(|number| Some((number, self.get(number)?))).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// The numbers of what has changed since this was last asked, in order.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|number| {
            self.get_mut(*number).is_some_and(|bill| std::mem::take(&mut bill.marks.is_changed))
        });
        changed.sort_unstable();
        changed
    }

    /// The same for what changes with usage.
    pub(super) fn take_used(&mut self) -> Vec<u32> {
        let mut used = std::mem::take(&mut self.used);
        used.retain(|number| {
            self.get_mut(*number).is_some_and(|bill| std::mem::take(&mut bill.marks.is_used))
        });
        used.sort_unstable();
        used
    }

    fn mark(&mut self, number: u32) {
        if let Some(bill) = self.get_mut(number).filter(|bill| !bill.marks.is_changed) {
            bill.marks.is_changed = true;
            self.changed.push(number);
        }
        self.mark_used(number);
    }

    fn mark_used(&mut self, number: u32) {
        if let Some(bill) = self.get_mut(number).filter(|bill| !bill.marks.is_used) {
            bill.marks.is_used = true;
            self.used.push(number);
        }
    }
}

/// An id is a hash already.
fn hash(id: InvoiceId) -> u64 {
    id.0 as u64
}

impl Index<u32> for Bills {
    type Output = Bill;

    fn index(&self, number: u32) -> &Bill {
        self.get(number).expect("an invoice that is asked for is at hand")
    }
}

impl IndexMut<u32> for Bills {
    fn index_mut(&mut self, number: u32) -> &mut Bill {
        self.mark(number);
        self.get_mut(number).expect("an invoice that is asked for is at hand")
    }
}

impl Bill {
    pub(super) fn is_draft(&self) -> bool {
        matches!(self.stage, Stage::Draft(_))
    }

    /// The command that made it.
    pub(super) fn created_by(&self) -> Option<&str> {
        match &self.stage {
            Stage::Sealed(sealed) => sealed.created_by.as_deref(),
            Stage::Draft(_) => None,
        }
    }

    /// It was sealed, and nothing but its number is still to come.
    pub(super) fn awaits_number(&self) -> bool {
        matches!(&self.stage, Stage::Sealed(sealed) if sealed.awaits.is_some())
    }
}
