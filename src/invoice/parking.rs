//! Usage whose subscription isn't known yet: it is kept whole, and decided when the subscription arrives.

use super::attribute::{Checked, Fate, Owner, Refusal};
use super::books::{Books, Due, Held};
use super::instant::Instant;
use super::usage::{Whose, id_hash};

impl Books {
    pub(super) fn park(&mut self, name: &str, held: Held) {
        let number = self.next_parked;
        self.next_parked += 1;
        self.schedule(self.parking_ends_at(&held), Due::ParkingOver(number));
        self.keeping.mark_parked(number);
        self.keep_parked_id(&held);
        self.parked.insert(number, held);
        self.parked_for.entry(name.to_owned()).or_default().push(number);
    }

    fn keep_parked_id(&mut self, held: &Held) {
        let content = super::attribute::short(held.event.content);
        self.put_id(held.id_hash, &super::ids::HeldId::new(held.happened_at, content, None, 0, 0));
    }

    /// The limit that is in force now counts, also for what was parked before it was set.
    pub(super) fn parking_ends_at(&self, held: &Held) -> Instant {
        held.arrived_at.plus(self.settings.parking_limit.exact())
    }

    pub(super) fn end_parking(&mut self, number: u64) {
        if self.parked.get(&number).is_some_and(|held| self.parking_ends_at(held) <= self.now) {
            let held = self.unpark(number).expect("it was just seen");
            self.refuse_parked(held, Refusal::UnknownSubscription);
        }
    }

    /// Gives up usage that is parked for a subscription which turns out to be another shard's.
    pub fn release_parked(&mut self, subscription: &str) -> Vec<Held> {
        let numbers = self.parked_for.get(subscription).cloned().unwrap_or_default();
        let mut released = Vec::with_capacity(numbers.len());
        for number in numbers {
            let held = self.unpark(number).expect("what is listed as parked is parked");
            self.free_id(held.id_hash);
            self.fates.parked -= 1;
            released.push(held);
        }
        released
    }

    pub(super) fn unpark(&mut self, number: u64) -> Option<Held> {
        let held = self.parked.remove(&number)?;
        self.keeping.mark_parked(number);
        let name = match &held.event.whose {
            Whose::Subscription(name) | Whose::Customer(name) | Whose::Either(name) => name.as_ref(),
        };
        if let Some(numbers) = self.parked_for.get_mut(name) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.parked_for.remove(name);
            }
        }
        Some(held)
    }

    fn refuse_parked(&mut self, held: Held, reason: Refusal) {
        self.fates.parked -= 1;
        self.refuse_held(held, reason);
    }

    /// Refuses usage that waited for a period which will never come.
    pub(super) fn refuse_ahead(&mut self, held: Held) {
        self.fates.billed -= 1;
        self.refuse_held(held, Refusal::AfterEnd);
    }

    /// Usage that is refused after all frees its id (R51).
    fn refuse_held(&mut self, held: Held, reason: Refusal) {
        self.free_id(held.id_hash);
        self.count_fate(&Fate::Rejected(reason));
        self.reject(reason, held.key, held.value);
    }

    /// Decides usage that was parked for a subscription or its customer, in the order of its arrival.
    pub(super) fn attribute_parked(&mut self, subscription: &str, customer: &str) {
        let mut numbers: Vec<u64> = Vec::new();
        for name in [subscription, customer] {
            numbers.extend(self.parked_for.get(name).into_iter().flatten());
        }
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            self.attribute_one_parked(number);
        }
    }

    /// Decides what can be decided of all parked usage: a plan prices something new, and that may be what tells which of
    /// a customer's subscriptions is meant (R59).
    pub(super) fn attribute_all_parked(&mut self) {
        let numbers: Vec<u64> = self.parked.keys().copied().collect();
        for number in numbers {
            self.attribute_one_parked(number);
        }
    }

    fn attribute_one_parked(&mut self, number: u64) {
        let Some(held) = self.parked.get(&number) else { return };
        let owner = match self.owner(&held.event, held.happened_at) {
            Owner::Nobody { .. } => return,
            Owner::Subscription(owner) => Ok(owner),
            Owner::Several => Err(Refusal::UnknownSubscription),
        };
        let held = self.unpark(number).expect("it was just seen");
        match owner {
            Ok(owner) => self.decide_parked(owner, held),
            Err(reason) => self.refuse_parked(held, reason),
        }
    }

    fn decide_parked(&mut self, owner: u32, held: Held) {
        let metric = self.metrics.find(&held.event.code).expect("parked usage is of a known metric");
        let metric = self.metrics.get(metric).thing.clone();
        let reading =
            match self.check_values(&held.event, &metric, &Owner::Subscription(owner), held.happened_at) {
                Ok(reading) => reading,
                Err(reason) => return self.refuse_parked(held, reason),
            };
        let scope = self.subscriptions.get(owner).external_id.clone();
        let hash = held.event.id.as_ref().map_or(held.id_hash, |id| id_hash(&scope, id));
        let event = held.event.clone();
        let checked = Checked {
            event: &event,
            metric,
            reading,
            happened_at: held.happened_at,
            arrived_at: held.arrived_at,
        };
        let known = if hash == held.id_hash { None } else { self.leave_customers_id(&held, hash) };
        let again = || Held { id_hash: hash, scope: scope.to_string(), ..held.clone() };
        let fate = known.unwrap_or_else(|| self.bill(owner, &checked, hash, &again));
        match fate {
            Fate::Rejected(reason) => self.refuse_parked(held, reason),
            fate => {
                self.fates.parked -= 1;
                self.count_fate(&fate);
            }
        }
    }

    /// An id that was held under a customer's name is the subscription's from now on, unless somebody else has it there.
    fn leave_customers_id(&mut self, held: &Held, hash: u64) -> Option<Fate> {
        self.free_id(held.id_hash);
        self.fate_by_id(hash, &held.event)
    }
}
