//! Invoices that are at hand, by number, by id, and by the command that made them: drafts, and of the sealed ones those
//! that somebody needs.
//!
//! Numbers are given once and never again, whether the invoice is at hand or not.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use hashbrown::{HashMap, HashTable};

use super::books::{Bill, Stage};
use super::document::InvoiceId;

#[derive(Default)]
pub(super) struct Bills {
    slots: HashMap<u32, Slot>,
    by_id: HashTable<u32>,
    /// The last invoice that a command made, by what that is found under.
    ordered: BTreeMap<InvoiceId, u32>,
    next: u32,
    changed: Vec<u32>,
    used: Vec<u32>,
}

/// An invoice, and whether it was changed since somebody last asked. What changes with usage is marked apart.
struct Slot {
    bill: Bill,
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
        let slots = &self.slots;
        self.by_id.insert_unique(hash(bill.id), number, |number| hash(slots[number].bill.id));
        self.slots.insert(number, Slot { bill, is_changed: false, is_used: false });
    }

    /// Lets the last invoice that a command made be found by it.
    pub(super) fn put_order(&mut self, order: InvoiceId, number: u32) {
        self.ordered.insert(order, number);
    }

    /// Lets go of an invoice.
    pub(super) fn remove(&mut self, number: u32) -> Option<Bill> {
        let Slot { bill, .. } = self.slots.remove(&number)?;
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
        self.slots.get(&number).map(|slot| &slot.bill)
    }

    /// The invoice of that id, or the last one that was ordered under it.
    pub(super) fn find(&self, id: InvoiceId) -> Option<u32> {
        let found = self.by_id.find(hash(id), |number| self.slots[number].bill.id == id);
        found.or_else(|| self.ordered.get(&id)).copied()
    }

    /// Reaches for what of a draft changes with usage.
    pub(super) fn used_mut(&mut self, number: u32) -> Option<&mut Bill> {
        self.mark_used(number);
        self.slots.get_mut(&number).map(|slot| &mut slot.bill)
    }

    pub(super) fn is_changed(&self, number: u32) -> bool {
        self.slots.get(&number).is_some_and(|slot| slot.is_changed)
    }

    /// How many numbers have been given.
    pub(super) fn given(&self) -> u32 {
        self.next
    }

    pub(super) fn note_given(&mut self, count: u32) {
        self.next = self.next.max(count);
    }

    pub(super) fn sealed_count(&self) -> usize {
        self.slots.values().filter(|slot| !slot.bill.is_draft()).count()
    }

    /// What is at hand, in the order of numbers.
    pub(super) fn in_order(&self) -> Vec<(u32, &Bill)> {
        let mut all: Vec<(u32, &Bill)> =
            self.slots.iter().map(|(number, slot)| (*number, &slot.bill)).collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// The numbers of what has changed since this was last asked, in order.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.retain(|number| match self.slots.get_mut(number) {
            Some(slot) => std::mem::take(&mut slot.is_changed),
            None => false,
        });
        changed.sort_unstable();
        changed
    }

    /// The same for what changes with usage.
    pub(super) fn take_used(&mut self) -> Vec<u32> {
        let mut used = std::mem::take(&mut self.used);
        used.retain(|number| match self.slots.get_mut(number) {
            Some(slot) => std::mem::take(&mut slot.is_used),
            None => false,
        });
        used.sort_unstable();
        used
    }

    fn mark(&mut self, number: u32) {
        if let Some(slot) = self.slots.get_mut(&number).filter(|slot| !slot.is_changed) {
            slot.is_changed = true;
            self.changed.push(number);
        }
        self.mark_used(number);
    }

    fn mark_used(&mut self, number: u32) {
        if let Some(slot) = self.slots.get_mut(&number).filter(|slot| !slot.is_used) {
            slot.is_used = true;
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
        &mut self.slots.get_mut(&number).expect("an invoice that is asked for is at hand").bill
    }
}

impl Bill {
    pub(super) fn is_draft(&self) -> bool {
        matches!(self.stage, Stage::Draft(_))
    }

    /// It was sealed, and nothing but its number is still to come.
    pub(super) fn awaits_number(&self) -> bool {
        matches!(&self.stage, Stage::Sealed(sealed) if sealed.awaits.is_some())
    }
}
