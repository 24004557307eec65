//! Open drafts follow the catalog: after a record each is dated anew, and told again where its document changed (R17, R33).
//!
//! A record that many drafts may follow is in force at once, and they follow by and by, in the order of their numbers, so
//! that whoever keeps the books can keep them in between. Until the last has followed it stays known what was in force
//! before; usage of a subscription whose draft is still to follow waits. So it makes no difference when each follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::books::{Books, Due, PlanState, Shelf};
use super::grace;
use crate::catalog::entity::{Entity, Tax};
use crate::catalog::metric::Metric;
use crate::catalog::settings::{Refresh, Settings};
use crate::catalog::{Kind, Record};
use crate::planted::{self, Bug};

/// Drafts that are still to follow a record.
pub(super) struct Following {
    /// What was in force before it.
    pub before: Before,
    /// Drafts of lower numbers have followed, and those that did at once.
    pub next: u32,
    pub at_once: BTreeSet<u32>,
}

/// The small kinds and the settings, as a record found them.
pub(super) struct Before {
    pub settings: Settings,
    pub entities: Shelf<Arc<Entity>>,
    pub taxes: Shelf<Tax>,
    pub metrics: Shelf<Arc<Metric>>,
    pub plans: Shelf<PlanState>,
}

impl Books {
    /// The drafts that follow a record at once, for it may change more than the small kinds, and what they say before it.
    pub(super) fn following_at_once(&self, record: &Record) -> BTreeMap<u32, u64> {
        let mut customers = BTreeSet::new();
        match record {
            Record::Customer(record) => customers.extend(self.customers.find(&record.external_id)),
            Record::Subscription(record) => customers.extend(self.customers.find(&record.customer)),
            Record::Removed(name) if name.kind == Kind::Customer => {
                customers.extend(self.customers.find(&name.code));
            }
            Record::Removed(name) if name.kind == Kind::Subscription => {
                let number = self.subscriptions.find(&name.code);
                customers.extend(number.map(|number| self.subscriptions.get(number).customer));
            }
            // Usage that is parked may find its place.
            Record::Plan(_) => customers.extend(self.customers_of_parked()),
            _ => {}
        }
        if self.waiting.is_awaited(&record.name()) {
            customers.extend(self.waiting.customers().filter_map(|name| self.customers.find(name)));
            customers.extend(self.customers_of_parked());
        }
        let drafts = customers.into_iter().flat_map(|customer| self.drafts_of(customer));
        drafts.map(|number| (number, self.shown_digest(number))).collect()
    }

    fn customers_of_parked(&self) -> impl Iterator<Item = u32> {
        let owner = move |name: &String| {
            let of_subscription =
                self.subscriptions.find(name).map(|number| self.subscriptions.get(number).customer);
            self.customers.find(name).into_iter().chain(of_subscription)
        };
        self.parked_for.keys().flat_map(owner)
    }

    /// What the other drafts are to follow; `None` if none does.
    pub(super) fn following_by_and_by(
        &self,
        record: &Record,
        at_once: &BTreeMap<u32, u64>,
    ) -> Option<Following> {
        let concerns_all = match record {
            // What is removed stays as it was for all that names it.
            Record::Customer(_) | Record::Subscription(_) | Record::Removed(_) => false,
            Record::Entity(_) => !planted::is(Bug::RedatingIgnoresEntity),
            Record::Settings(_) | Record::Tax(_) | Record::Metric(_) | Record::Plan(_) => true,
        };
        let is_to_be_followed = concerns_all || self.waiting.is_awaited(&record.name());
        (is_to_be_followed && self.drafts.len() > at_once.len()).then(|| Following {
            before: self.in_force(),
            next: 0,
            at_once: at_once.keys().copied().collect(),
        })
    }

    pub(super) fn in_force(&self) -> Before {
        Before {
            settings: self.settings.clone(),
            entities: self.entities.clone(),
            taxes: self.taxes.clone(),
            metrics: self.metrics.clone(),
            plans: self.plans.clone(),
        }
    }

    /// Puts in force what was before, and the other way round.
    pub(super) fn swap_catalog(&mut self, before: &mut Before) {
        std::mem::swap(&mut self.settings, &mut before.settings);
        std::mem::swap(&mut self.entities, &mut before.entities);
        std::mem::swap(&mut self.taxes, &mut before.taxes);
        std::mem::swap(&mut self.metrics, &mut before.metrics);
        std::mem::swap(&mut self.plans, &mut before.plans);
    }

    fn drafts_of(&self, customer: u32) -> BTreeSet<u32> {
        let subscriptions = &self.customers.get(customer).subscriptions;
        let windows = subscriptions.iter().flat_map(|number| self.subscriptions.get(*number).windows.iter());
        let mut drafts: BTreeSet<u32> = windows.filter_map(|window| window.bill()).collect();
        for number in subscriptions.iter() {
            drafts.extend(self.opening_of(*number));
        }
        drafts.retain(|number| self.drafts.contains(*number));
        drafts
    }

    /// Lets those drafts follow that do so at once.
    pub(super) fn follow_at_once(&mut self, before: BTreeMap<u32, u64>) {
        for (number, digest) in before {
            self.follow(number, digest);
        }
    }

    /// Lets the next draft follow that is still to; says which.
    pub(super) fn follow_next(&mut self) -> Option<u32> {
        let mut following = self.following.take()?;
        let number = self.drafts.from(following.next).find(|number| following.is_to_follow(*number))?;
        let digest = self.digest_before(number, &mut following.before);
        if following.before.settings.refresh != self.settings.refresh {
            match self.settings.refresh {
                Refresh::AtFinalization => self.freeze(number),
                Refresh::Continuous => self.draft_mut(number).expect("a draft is a draft").rare.frozen = None,
            }
        }
        self.follow(number, digest);
        following.next = number + 1;
        self.following = Some(following);
        Some(number)
    }

    /// Whether a draft is still to follow.
    pub(super) fn is_to_follow(&self, number: u32) -> bool {
        self.following.as_ref().is_some_and(|following| following.is_to_follow(number))
    }

    fn digest_before(&mut self, number: u32, before: &mut Before) -> u64 {
        let draft = self.draft(number).expect("only drafts follow");
        // Where nothing waits to be told, it says what it said last.
        let told = (draft.refresh_at().is_none() && !draft.is_to_be_told).then_some(draft.announced);
        if !cfg!(debug_assertions)
            && let Some(told) = told
        {
            return told;
        }
        self.swap_catalog(before);
        let digest = self.shown_digest(number);
        self.swap_catalog(before);
        debug_assert!(told.is_none_or(|told| told == digest), "what changes a draft has it told");
        digest
    }

    /// Dates a draft anew, and has it announced if its document isn't what it was before.
    fn follow(&mut self, number: u32, before: u64) {
        if self.draft(number).is_none() {
            return;
        }
        self.redate(number);
        if self.shown_digest(number) != before {
            self.told_mut(number).expect("only drafts are told again").is_to_be_told = true;
            self.schedule(self.now, Due::Tell(number));
        }
    }

    fn redate(&mut self, number: u32) {
        let finalizes_at = grace::finalizes_at(self, &self.bills[number]);
        if self.draft(number).is_some_and(|draft| draft.finalizes_at != finalizes_at) {
            self.draft_mut(number).expect("it was just seen").finalizes_at = finalizes_at;
            self.schedule(finalizes_at, Due::Finalize(number));
        }
    }
}

impl Following {
    fn is_to_follow(&self, number: u32) -> bool {
        number >= self.next && !self.at_once.contains(&number)
    }
}
