//! A set of numbers that mostly lie close together: it takes little more than a bit for each.

use std::collections::BTreeMap;

const BITS: u32 = u64::BITS;

#[derive(Default)]
pub(super) struct NumberSet {
    words: BTreeMap<u32, u64>,
    count: usize,
}

impl NumberSet {
    pub(super) fn insert(&mut self, number: u32) {
        let word = self.words.entry(number / BITS).or_default();
        self.count += usize::from(*word & bit(number) == 0);
        *word |= bit(number);
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(word) = self.words.get_mut(&(number / BITS)) else { return };
        self.count -= usize::from(*word & bit(number) != 0);
        *word &= !bit(number);
        if *word == 0 {
            self.words.remove(&(number / BITS));
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.words.get(&(number / BITS)).is_some_and(|word| word & bit(number) != 0)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The numbers from `first` on, in their order.
    pub(super) fn from(&self, first: u32) -> impl Iterator<Item = u32> {
        let bits = |(place, word): (&u32, &u64)| {
            let (first, word) = (place * BITS, *word);
            (0..BITS).filter(move |bit| word & 1 << bit != 0).map(move |bit| first + bit)
        };
        self.words.range(first / BITS..).flat_map(bits).skip_while(move |number| *number < first)
    }
}

fn bit(number: u32) -> u64 {
    1 << (number % BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_any_other_set_would(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0u32..200, u32::MAX - 70..=u32::MAX]), 0..200),
            first in prop_oneof![0u32..200, Just(u32::MAX)],
        ) {
            let (mut set, mut other) = (NumberSet::default(), BTreeSet::new());
            for (is_new, number) in steps {
                if is_new {
                    set.insert(number);
                    other.insert(number);
                } else {
                    set.remove(number);
                    other.remove(&number);
                }
                prop_assert_eq!(set.len(), other.len());
                prop_assert_eq!(set.contains(number), is_new);
            }
            prop_assert!(set.from(first).eq(other.range(first..).copied()));
        }
    }
}
