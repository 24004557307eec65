//! Room for what is nearly never there: it takes a pointer's worth of memory until something is in it.

use std::ops::{Deref, DerefMut};

/// A thing that is read as a blank one until somebody reaches for it to change it.
#[derive(Clone, Debug)]
pub struct Rare<T>(Option<Box<T>>);

/// What can be read where there is nothing.
pub trait Blank: Default + 'static {
    const BLANK: &'static Self;
}

impl<T> Rare<T> {
    pub fn new(thing: T) -> Rare<T> {
        Rare(Some(Box::new(thing)))
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T: Blank> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::BLANK)
    }
}

impl<T: Blank> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
