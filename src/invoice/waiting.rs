//! Catalog records that name something unknown, and wait for it (R100).

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Name, Record};

/// A record that waits, with the bytes it came in: it may still be refused when what it names is there.
#[derive(Clone, Debug)]
pub struct WaitingRecord {
    pub record: Record,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Waiting {
    next: u64,
    records: BTreeMap<u64, WaitingRecord>,
    by_name: BTreeMap<Name, u64>,
    /// Each record stands under one of the names that it misses.
    by_missing: BTreeMap<Name, BTreeSet<u64>>,
}

impl Waiting {
    /// Lets a record wait for `missing`, in place of an older one of its name.
    pub fn put(&mut self, waiting: WaitingRecord, missing: Name) {
        self.remove(&waiting.record.name());
        let number = self.next;
        self.next += 1;
        self.by_name.insert(waiting.record.name(), number);
        self.records.insert(number, waiting);
        self.by_missing.entry(missing).or_default().insert(number);
    }

    /// A newer record of the same name has come: the one that waited is forgotten.
    pub fn remove(&mut self, name: &Name) {
        let Some(number) = self.by_name.remove(name) else { return };
        self.records.remove(&number);
        for numbers in self.by_missing.values_mut() {
            numbers.remove(&number);
        }
        self.by_missing.retain(|_, numbers| !numbers.is_empty());
    }

    /// The records that waited for this name, by their order of arrival.
    pub fn for_name(&mut self, name: &Name) -> BTreeSet<u64> {
        self.by_missing.remove(name).unwrap_or_default()
    }

    pub fn get(&self, number: u64) -> Option<&WaitingRecord> {
        self.records.get(&number)
    }

    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.records.keys().copied()
    }

    /// A record that waits, and what it stands under.
    pub fn entry(&self, number: u64) -> Option<(&WaitingRecord, &Name)> {
        let missing = self.by_missing.iter().find(|(_, numbers)| numbers.contains(&number))?.0;
        Some((self.records.get(&number)?, missing))
    }

    /// Lets a record wait again under the number it had.
    pub fn put_back(&mut self, number: u64, waiting: WaitingRecord, missing: Name) {
        self.next = self.next.max(number + 1);
        self.by_name.insert(waiting.record.name(), number);
        self.records.insert(number, waiting);
        self.by_missing.entry(missing).or_default().insert(number);
    }

    /// The record still misses something else.
    pub fn move_to(&mut self, number: u64, missing: Name) {
        self.by_missing.entry(missing).or_default().insert(number);
    }

    pub fn take(&mut self, number: u64) -> Option<WaitingRecord> {
        let waiting = self.records.remove(&number)?;
        self.by_name.remove(&waiting.record.name());
        Some(waiting)
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
