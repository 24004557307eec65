//! What many have alike is kept once.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashSet;

pub(super) struct Shared<T>(HashSet<Arc<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Shared<T> {
        Shared(HashSet::default())
    }
}

impl<T: Eq + Hash> Shared<T> {
    /// The same thing as everybody's who has it.
    pub(super) fn share(&mut self, thing: T) -> Arc<T> {
        match self.0.get(&thing) {
            Some(known) => known.clone(),
            None => self.share_again(Arc::new(thing)),
        }
    }

    pub(super) fn share_again(&mut self, thing: Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.get(&thing) {
            return known.clone();
        }
        if self.0.len() == self.0.capacity() {
            self.make_room();
        }
        self.0.insert(thing.clone());
        thing
    }

    /// What nobody has any more goes. If that is little, there will be as much room again, or everything would be looked
    /// through too often.
    fn make_room(&mut self) {
        let capacity = self.0.capacity();
        self.0.retain(|known| Arc::strong_count(known) > 1);
        if self.0.len() > capacity / 2 {
            self.0.reserve(capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_kept_once_and_no_longer_than_somebody_has_it() {
        let mut shared = Shared::default();
        let held: Vec<Arc<u32>> = (0..100).map(|number| shared.share(number)).collect();
        assert!(held.iter().all(|one| Arc::ptr_eq(one, &shared.share(**one))));
        for number in 100..100_000 {
            shared.share(number);
        }
        assert!(shared.0.len() < 2_000, "{}", shared.0.len());
    }
}
