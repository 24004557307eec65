//! Room for what is nearly never there: a list that takes a pointer's worth of memory until something is in it.

use std::ops::{Deref, DerefMut};

#[derive(Clone, Debug)]
#[expect(clippy::box_collection, reason = "an empty list is to take eight bytes, not twenty-four")]
pub struct Rare<T>(Option<Box<Vec<T>>>);

impl<T> Rare<T> {
    pub fn push(&mut self, thing: T) {
        self.0.get_or_insert_default().push(thing);
    }

    pub fn remove(&mut self, place: usize) -> T {
        self.0.as_mut().expect("there is something at the place").remove(place)
    }

    pub fn retain(&mut self, is_kept: impl FnMut(&T) -> bool) {
        if let Some(things) = &mut self.0 {
            things.retain(is_kept);
        }
    }

    /// Takes everything out.
    pub fn take(&mut self) -> Vec<T> {
        self.0.take().map(|things| *things).unwrap_or_default()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T> From<Vec<T>> for Rare<T> {
    fn from(things: Vec<T>) -> Rare<T> {
        Rare((!things.is_empty()).then(|| Box::new(things)))
    }
}

impl<T> FromIterator<T> for Rare<T> {
    fn from_iter<I: IntoIterator<Item = T>>(things: I) -> Rare<T> {
        Rare::from(Vec::from_iter(things))
    }
}

impl<T> Deref for Rare<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl<T> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.0.as_deref_mut().map_or(&mut [], Vec::as_mut_slice)
    }
}
