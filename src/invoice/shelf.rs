//! Where the books keep what has a name: a few kinds of things on shelves, many people in rosters.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::marked::Marked;

/// Things of one small kind, each known by its code; a removed one keeps its last version.
#[derive(Clone)]
pub struct Shelf<T> {
    places: BTreeMap<String, u32>,
    things: Vec<Kept<T>>,
}

#[derive(Clone)]
pub struct Kept<T> {
    pub thing: T,
    pub is_removed: bool,
    /// The record it came in.
    pub source: Arc<[u8]>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { places: BTreeMap::new(), things: Vec::new() }
    }
}

impl<T> Shelf<T> {
    pub fn find(&self, code: &str) -> Option<u32> {
        self.places.get(code).copied()
    }

    pub fn get(&self, place: u32) -> &Kept<T> {
        &self.things[place as usize]
    }

    pub fn get_mut(&mut self, place: u32) -> &mut Kept<T> {
        &mut self.things[place as usize]
    }

    /// The version in force.
    pub fn in_force(&self, code: &str) -> Option<&T> {
        self.find(code).map(|place| self.get(place)).filter(|kept| !kept.is_removed).map(|kept| &kept.thing)
    }

    /// Whether a record may name it.
    pub fn offers(&self, code: &str) -> bool {
        self.in_force(code).is_some()
    }

    pub fn put(&mut self, code: &str, thing: T, source: &Arc<[u8]>) -> u32 {
        let kept = Kept { thing, is_removed: false, source: source.clone() };
        if let Some(place) = self.find(code) {
            self.things[place as usize] = kept;
            return place;
        }
        let place = self.things.len() as u32;
        self.places.insert(code.to_owned(), place);
        self.things.push(kept);
        place
    }

    pub fn count(&self) -> u32 {
        self.things.len() as u32
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Kept<T>)> {
        self.things.iter().enumerate().map(|(place, kept)| (place as u32, kept))
    }
}

/// People and contracts: many, each with an external id and a number of its own.
pub struct Roster<T> {
    pub(super) numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    pub(super) entries: Marked<T>,
}

pub trait Named {
    fn external_id(&self) -> &str;
}

impl<T> Default for Roster<T> {
    fn default() -> Roster<T> {
        Roster {
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            entries: Marked::default(),
        }
    }
}

impl<T: Named> Roster<T> {
    pub(super) fn hash(&self, external_id: &str) -> u64 {
        self.hasher.hash_one(external_id)
    }

    pub fn find(&self, external_id: &str) -> Option<u32> {
        let hash = self.hash(external_id);
        self.numbers.find(hash, |number| self.entries[*number].external_id() == external_id).copied()
    }

    /// Makes room for so many.
    pub(super) fn reserve(&mut self, count: usize) {
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.numbers.reserve(count, |number| hasher.hash_one(entries[*number].external_id()));
        self.entries.reserve(count);
    }

    pub fn add(&mut self, entry: T) -> u32 {
        let hash = self.hasher.hash_one(entry.external_id());
        let number = self.entries.push(entry);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.numbers.insert_unique(hash, number, |number| hasher.hash_one(entries[*number].external_id()));
        number
    }

    /// Makes the name free again; the number stays taken.
    pub fn forget_name(&mut self, external_id: &str) {
        let hash = self.hasher.hash_one(external_id);
        if let Ok(found) =
            self.numbers.find_entry(hash, |number| self.entries[*number].external_id() == external_id)
        {
            found.remove();
        }
    }

    pub fn get(&self, number: u32) -> &T {
        &self.entries[number]
    }

    pub fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.entries[number]
    }

    /// Reaches for what usage changes, and nothing else.
    pub fn get_usage_mut(&mut self, number: u32) -> &mut T {
        self.entries.used_mut(number)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }
}
