//! What is due at one instant, in its order: mostly much at once, which is put in order once, and little that comes later.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::iter;

use super::books::Due;
use super::instant::Instant;
use super::order::SortName;

/// The place of a duty among those of one instant: customer, period, subscription, opening before periodic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub customer: SortName,
    pub period_from: Option<Instant>,
    pub subscription: Option<SortName>,
    pub is_periodic: bool,
    pub due: Due,
}

#[derive(Default)]
pub(super) struct Turns {
    /// The next one is the last.
    many: Vec<Turn>,
    more: BTreeSet<Turn>,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.many.is_empty() && self.more.is_empty()
    }

    pub(super) fn insert(&mut self, turn: Turn) {
        self.more.insert(turn);
    }

    pub(super) fn put(&mut self, mut turns: Vec<Turn>) {
        if !self.many.is_empty() {
            self.more.extend(turns);
            return;
        }
        turns.sort_unstable_by(|one, other| other.cmp(one));
        turns.dedup();
        self.many = turns;
    }

    pub(super) fn pop_first(&mut self) -> Option<Turn> {
        if is_before(self.more.first(), self.many.last()) {
            return self.more.pop_first();
        }
        let next = self.many.pop();
        if self.many.is_empty() {
            // Its room is large, and not needed again for a long time.
            self.many = Vec::new();
        }
        next
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Turn> {
        let (mut many, mut more) = (self.many.iter().rev().peekable(), self.more.iter().peekable());
        iter::from_fn(move || match is_before(more.peek().copied(), many.peek().copied()) {
            true => more.next(),
            false => many.next(),
        })
    }
}

/// Whether there is the first of two, and the other doesn't come before it.
fn is_before(one: Option<&Turn>, other: Option<&Turn>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.cmp(other) == Ordering::Less,
        (one, _) => one.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(number: u32) -> Turn {
        let customer = SortName::of(&format!("{number:03}"));
        Turn { customer, period_from: None, subscription: None, is_periodic: true, due: Due::Tell(number) }
    }

    #[test]
    fn what_comes_later_takes_its_turn_among_the_others() {
        let mut turns = Turns::default();
        turns.put([5, 3, 9, 3].map(turn).into());
        let first = turns.pop_first().expect("something is due");
        turns.put([1, 7].map(turn).into());
        turns.insert(first);
        let due = |turn: &Turn| turn.due;
        let expected = [1, 3, 5, 7, 9].map(Due::Tell);
        assert_eq!(turns.iter().map(due).collect::<Vec<_>>(), expected);
        let popped: Vec<Due> = iter::from_fn(|| turns.pop_first()).map(|turn| turn.due).collect();
        assert_eq!((popped.as_slice(), turns.is_empty()), (expected.as_slice(), true));
    }
}
