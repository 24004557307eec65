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
    /// Each record stands under one of the names that it misses.
    records: BTreeMap<u64, (WaitingRecord, Name)>,
    by_name: BTreeMap<Name, u64>,
    by_missing: BTreeMap<Name, BTreeSet<u64>>,
}

impl Waiting {
    /// Lets a record wait for `missing`, in place of an older one of its name.
    pub fn put(&mut self, waiting: WaitingRecord, missing: Name) {
        self.remove(&waiting.record.name());
        self.put_back(self.next, waiting, missing);
    }

    /// Lets a record wait again under the number it had.
    pub fn put_back(&mut self, number: u64, waiting: WaitingRecord, missing: Name) {
        self.next = self.next.max(number + 1);
        self.by_name.insert(waiting.record.name(), number);
        self.by_missing.entry(missing.clone()).or_default().insert(number);
        self.records.insert(number, (waiting, missing));
    }

    /// A newer record of the same name has come: the one that waited is forgotten.
    pub fn remove(&mut self, name: &Name) {
        if let Some(number) = self.by_name.get(name).copied() {
            self.take(number);
        }
    }

    /// Whether a record waits for this name.
    pub fn is_awaited(&self, name: &Name) -> bool {
        self.by_missing.contains_key(name)
    }

    /// The records that waited for this name, by their order of arrival.
    pub fn for_name(&mut self, name: &Name) -> BTreeSet<u64> {
        self.by_missing.remove(name).unwrap_or_default()
    }

    pub fn get(&self, number: u64) -> Option<&WaitingRecord> {
        self.records.get(&number).map(|(waiting, _)| waiting)
    }

    /// The customers of people's records that wait.
    pub fn customers(&self) -> impl Iterator<Item = &str> {
        self.records.values().filter_map(|(waiting, _)| match &waiting.record {
            Record::Customer(record) => Some(record.external_id.as_str()),
            Record::Subscription(record) => Some(record.customer.as_str()),
            _ => None,
        })
    }

    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.records.keys().copied()
    }

    /// A record that waits, and what it stands under.
    pub fn entry(&self, number: u64) -> Option<&(WaitingRecord, Name)> {
        self.records.get(&number)
    }

    /// The record still misses something else.
    pub fn move_to(&mut self, number: u64, missing: Name) {
        if let Some((_, stands_under)) = self.records.get_mut(&number) {
            stands_under.clone_from(&missing);
            self.by_missing.entry(missing).or_default().insert(number);
        }
    }

    pub fn take(&mut self, number: u64) -> Option<WaitingRecord> {
        let (waiting, missing) = self.records.remove(&number)?;
        self.by_name.remove(&waiting.record.name());
        if let Some(numbers) = self.by_missing.get_mut(&missing) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_missing.remove(&missing);
            }
        }
        Some(waiting)
    }
}
