//! Reaching for memory early: what the next events need is fetched for many at once, instead of one event after the
//! other waiting for it.
//!
//! Nothing is decided or changed here. An event's subscription, its newest period, its bucket and the place of its id lie
//! at random in far more memory than a processor caches; the steps are loops so short that many fetches are under way.

use std::hint::black_box;

use super::books::{Books, Named, Roster, Subscription, Window};
use super::ids::Ids;
use super::usage::{UsageEvent, id_hash};

/// How many events are reached for together: enough to be under way at once, too few to push each other out again.
pub const TOGETHER: usize = 32;

/// Whose usage comes, as far as it says so itself, and its id condensed.
pub type Coming<'a> = (&'a str, u64);

impl Books {
    /// Reaches for what at most [`TOGETHER`] events will need.
    pub fn warm(&self, coming: &[Coming<'_>]) {
        let mut touched = 0;
        let mut numbers = [u32::MAX; TOGETHER];
        for (number, (name, _)) in numbers.iter_mut().zip(coming) {
            *number = self.subscriptions.likely(name).unwrap_or(u32::MAX);
        }
        for (_, hash) in coming {
            touched += self.ids.touch(*hash);
        }
        let subscriptions = || numbers.iter().filter(|number| **number != u32::MAX);
        for number in subscriptions() {
            let subscription = self.subscriptions.get(*number);
            touched += subscription.next_ordinal as usize + subscription.external_id.len();
            touched += self.subscriptions.entries.touch(*number);
        }
        for number in subscriptions() {
            let newest = self.subscriptions.get(*number).windows.last();
            touched += newest.map_or(0, |window| window.ordinal as usize);
            let buckets = newest.map(|window| &window.usage);
            let ends =
                buckets.and_then(|buckets| Some((buckets.iter().next()?, buckets.iter().next_back()?)));
            touched += ends.map_or(0, |(first, last)| (first.events + last.events) as usize);
        }
        for number in subscriptions() {
            let draft = self.subscriptions.get(*number).windows.last().and_then(Window::bill);
            touched += draft.and_then(|bill| self.bills.get(bill)).map_or(0, |bill| bill.version as usize);
        }
        for number in subscriptions() {
            touched += self.subscriptions.get(*number).late_events();
        }
        black_box(touched);
    }
}

impl Subscription {
    /// Reads of late usage what more of it will change.
    fn late_events(&self) -> usize {
        let Some(carried) = self.windows.last().and_then(|newest| newest.rare.carries.last()) else {
            return 0;
        };
        let original = self.windows.iter().rev().find(|window| window.period.from == carried.from);
        let with_late = original.and_then(|window| window.rare.sealed.as_ref()?.with_late.as_ref());
        let line = with_late.and_then(|usage| usage.iter().next());
        carried.events() as usize + line.map_or(0, |bucket| bucket.events as usize)
    }
}

impl UsageEvent<'_> {
    /// What can be reached for before the books have said whose usage it is.
    pub fn coming(&self) -> Option<Coming<'_>> {
        Some((self.whose_name(), id_hash(self.whose_name(), self.id.as_ref()?)))
    }
}

impl<T: Named> Roster<T> {
    /// The number that a name most likely has; only looking at the entry tells.
    fn likely(&self, external_id: &str) -> Option<u32> {
        self.numbers.find(self.hash(external_id), |_| true).copied()
    }
}

impl Ids {
    /// Reads from the place where the id is, or would be.
    fn touch(&self, hash: u64) -> usize {
        let near = self.near(hash);
        [near.first(), near.last()].into_iter().flatten().map(|entry| usize::from(entry[0])).sum()
    }
}
