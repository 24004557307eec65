//! The customers of a run, what they use and what is done to their invoices: one long, seeded stream of records.

use super::clock::{now_ms, pause_ms};
use super::commands::command;
use super::pen::Pen;
use super::random::Random;
use super::story::{self, PLANS, Subscription};
use super::usage::Usage;
use chrono_tz::Tz;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Crowd {
    random: Random,
    usage: Usage,
    zone: Tz,
    customers: usize,
    /// Those that are in the catalog.
    subscriptions: Vec<Subscription>,
    /// Those that are used already and come to the catalog later.
    expected: Vec<Subscription>,
    commands: u64,
    editions: u64,
}

/// How much is sent, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Volume {
    /// At least.
    pub(super) events: u64,
    pub(super) events_a_second: u64,
}

impl Crowd {
    pub(super) fn new(seed: u64, customers: usize) -> Crowd {
        Crowd {
            random: Random::new(seed),
            usage: Usage::new(seed ^ 0x75),
            zone: story::zone_of_next_midnight(now_ms() + 30_000),
            customers,
            subscriptions: Vec::new(),
            expected: Vec::new(),
            commands: 0,
            editions: 0,
        }
    }

    /// Fills the catalog.
    pub(super) fn move_in(&mut self, pen: &Pen) {
        pen.catalog(story::small_kinds());
        for number in 0..self.customers {
            pen.catalog([story::customer(number, self.zone_of(number), 0)]);
            for place in 0..1 + number % 2 {
                let mut subscription = Subscription {
                    id: format!("sub_{number}_{place}"),
                    customer: story::customer_id(number),
                    plan: (number + place) % PLANS.len(),
                    started_ms: now_ms() - self.random.below(20_000) as i64,
                    is_known: false,
                };
                if number % 6 == 5 {
                    self.expected.push(subscription);
                } else {
                    pen.catalog([subscription.record()]);
                    subscription.is_known = true;
                    self.subscriptions.push(subscription);
                }
            }
        }
        pen.flush();
        pause_ms(500);
    }

    fn zone_of(&self, number: usize) -> Tz {
        if number.is_multiple_of(2) { self.zone } else { Tz::UTC }
    }

    /// Sends usage at an even pace, with an intermission every few seconds, until as much is sent as is `wanted` by then.
    pub(super) fn carry_on(&mut self, pen: &Pen, events_a_second: u64, wanted: &AtomicU64) -> u64 {
        let begun_ms = now_ms();
        let mut intermission_ms = begun_ms + 4000;
        let mut number = 0;
        while number < wanted.load(Ordering::Relaxed) {
            let due_ms = begun_ms + (number * 1000 / events_a_second) as i64;
            while now_ms() < due_ms {
                pause_ms(5);
            }
            if now_ms() >= intermission_ms {
                self.intermission(pen);
                intermission_ms = now_ms() + 4000;
            }
            let all = self.subscriptions.len() as u64;
            let awaited = self.expected.len() as u64;
            let chosen =
                if self.random.below(20) == 0 && awaited > 0 { &self.expected } else { &self.subscriptions };
            debug_assert!(all > 0, "somebody is there");
            let record = self.usage.next(chosen, now_ms());
            pen.write("usage.events", record.key.as_deref(), Some(&record.value));
            number += 1;
        }
        pen.flush();
        number
    }

    /// What isn't usage: each kind as soon as the brokers have what was sent before, so that a test knows its order. Then
    /// nothing for a while.
    fn intermission(&mut self, pen: &Pen) {
        pen.flush();
        for _ in 0..3 {
            self.change_catalog(pen);
        }
        pen.flush();
        let mut astray = Vec::new();
        for _ in 0..12 {
            self.commands += 1;
            let subscription = self.random.one_of(&self.subscriptions).clone();
            let event = self.usage.one_to_cancel(&subscription.id);
            let (key, value) = command(&mut self.random, self.commands, &subscription, now_ms(), event);
            if key != subscription.customer {
                astray.push((key, value));
                continue;
            }
            pen.write("billing.commands", Some(&key), Some(&value.to_string()));
            if self.random.below(8) == 0 {
                pen.write("billing.commands", Some(&key), Some(&value.to_string()));
            }
        }
        pen.flush();
        for (key, value) in astray {
            pen.write("billing.commands", Some(&key), Some(&value.to_string()));
        }
        pen.flush();
        // Long enough for time to pass without any record: what is due meanwhile is due by the clock.
        pause_ms(1600);
    }

    fn change_catalog(&mut self, pen: &Pen) {
        self.editions += 1;
        let edition = self.editions;
        match self.random.below(8) {
            0 => {
                let plans = story::plans(edition);
                pen.catalog([self.random.one_of(&plans).clone()]);
            }
            1 => {
                let number = self.random.below(self.customers as u64) as usize;
                pen.catalog([story::customer(number, self.zone_of(number), edition)]);
            }
            2 | 3 if !self.expected.is_empty() => {
                let mut subscription =
                    self.expected.swap_remove(self.random.below(self.expected.len() as u64) as usize);
                subscription.is_known = true;
                pen.catalog([subscription.record()]);
                self.subscriptions.push(subscription);
            }
            4 if self.subscriptions.len() > self.customers / 2 => {
                let place = self.random.below(self.subscriptions.len() as u64) as usize;
                let (key, mut value) = self.subscriptions[place].record();
                // Half of those that end are still used, and their usage is refused.
                if self.random.below(2) == 0 {
                    value["ended_at"] = json!(story::instant(now_ms() + 3000));
                    self.subscriptions.swap_remove(place);
                } else {
                    let plan = (self.subscriptions[place].plan + 1) % PLANS.len();
                    value["plan_code"] = json!(PLANS[plan].0);
                }
                pen.catalog([(key, value)]);
            }
            5 => {
                let key = format!("plan/bad_{edition}");
                pen.catalog([(key, json!({"kind": "plan", "code": "bad", "interval": "sometimes"}))]);
            }
            6 => {
                let id = format!("sub_new_{edition}");
                let number = self.random.below(self.customers as u64) as usize;
                let plan = self.random.below(PLANS.len() as u64) as usize;
                let customer = story::customer_id(number);
                let started_ms = now_ms() - self.random.below(15_000) as i64;
                let subscription = Subscription { id, customer, plan, started_ms, is_known: true };
                pen.catalog([subscription.record()]);
                self.subscriptions.push(subscription);
            }
            _ => self.change_grace(pen, edition),
        }
    }

    fn change_grace(&mut self, pen: &Pen, edition: u64) {
        let whose = *self.random.one_of(&["billing_entity/acme", "billing_entity/cord"]);
        let mut records: Vec<(String, Value)> = story::small_kinds();
        records.retain(|(key, _)| key == whose);
        let (key, mut entity) = records.remove(0);
        entity["invoice_grace_period"] = json!(format!("PT{}S", 2 + edition % 5));
        pen.catalog([(key, entity)]);
    }
}
