//! Things by number, and which of them have changed since somebody last asked.
//!
//! Whoever reaches for a thing to change it marks it, so no change can be forgotten when the books are kept.

use std::ops::{Index, IndexMut};

/// A list that remembers what was changed. Two marks are kept apart: the thing, and what of it changes with usage.
pub(super) struct Marked<T> {
    things: Vec<T>,
    marks: Vec<Marks>,
    changed: Vec<u32>,
    used: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Marks {
    is_changed: bool,
    is_used: bool,
}

impl<T> Default for Marked<T> {
    fn default() -> Marked<T> {
        Marked { things: Vec::new(), marks: Vec::new(), changed: Vec::new(), used: Vec::new() }
    }
}

impl<T> Marked<T> {
    pub(super) fn reserve(&mut self, count: usize) {
        self.things.reserve_exact(count);
        self.marks.reserve_exact(count);
    }

    /// Adds a thing, changed as it is new; says its number.
    pub(super) fn push(&mut self, thing: T) -> u32 {
        let number = self.things.len() as u32;
        self.things.push(thing);
        self.marks.push(Marks::default());
        self.mark(number);
        self.mark_used(number);
        number
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.things.iter()
    }

    /// Reads a thing's marks, so that they are at hand.
    pub(super) fn touch(&self, number: u32) -> usize {
        usize::from(self.marks[number as usize].is_used)
    }

    /// Reaches for what of a thing changes with usage.
    pub(super) fn used_mut(&mut self, number: u32) -> &mut T {
        self.mark_used(number);
        &mut self.things[number as usize]
    }

    /// The numbers of what has changed since this was last asked, in order.
    pub(super) fn take_changed(&mut self) -> Vec<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        for number in &changed {
            self.marks[*number as usize].is_changed = false;
        }
        changed
    }

    /// The same for what changes with usage.
    pub(super) fn take_used(&mut self) -> Vec<u32> {
        let mut used = std::mem::take(&mut self.used);
        used.sort_unstable();
        for number in &used {
            self.marks[*number as usize].is_used = false;
        }
        used
    }

    pub(super) fn mark(&mut self, number: u32) {
        let marks = &mut self.marks[number as usize];
        if !marks.is_changed {
            marks.is_changed = true;
            self.changed.push(number);
        }
    }

    pub(super) fn mark_used(&mut self, number: u32) {
        let marks = &mut self.marks[number as usize];
        if !marks.is_used {
            marks.is_used = true;
            self.used.push(number);
        }
    }
}

impl<T> Index<u32> for Marked<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.things[number as usize]
    }
}

impl<T> IndexMut<u32> for Marked<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.mark(number);
        self.mark_used(number);
        &mut self.things[number as usize]
    }
}
