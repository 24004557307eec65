//! Who is billed in a history, what they use, what is done to their invoices, and how the catalog changes under them.

use super::commands::command;
use super::history::{Deed, Event};
use super::random::Random;
use super::story::{self, PLANS, Subscription, instant};
use super::usage::{Sent, Usage, lago};
use chrono::{NaiveDate, TimeZone};
use chrono_tz::Tz;
use graceline::shard::territory::partition_of;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CURRENCIES: [&str; 4] = ["EUR", "EUR", "JPY", "KWD"];

const NUMBERINGS: [&str; 3] = ["per_customer", "per_customer", "per_billing_entity"];

const ZONES: [Tz; 4] = [Tz::UTC, Tz::Europe__Paris, Tz::America__New_York, Tz::Asia__Kolkata];

/// What a history tells of besides usage.
#[derive(Clone, Debug)]
pub(super) struct Traits {
    pub(super) customers: u64,
    pub(super) events: u64,
    pub(super) length_ms: i64,
    pub(super) begins_ms: i64,
    pub(super) currency: &'static str,
    pub(super) numbering: &'static str,
    pub(super) has_commands: bool,
    pub(super) has_changes: bool,
    pub(super) closes_empty_invoices: bool,
    /// Everybody's periods end together, and usage comes in rushes about then.
    pub(super) is_in_step: bool,
}

impl Traits {
    pub(super) fn choose(random: &mut Random) -> Traits {
        let length_ms = 15_000 + random.below(60_000) as i64;
        let zone = *random.one_of(&ZONES);
        Traits {
            customers: 1 + random.below(6),
            events: 20 + random.below(160),
            length_ms,
            // Somebody's midnight comes while it lasts.
            begins_ms: midnight_ms(random, zone) - 5000 - random.below(length_ms as u64) as i64,
            currency: random.one_of::<&str>(&CURRENCIES),
            numbering: random.one_of::<&str>(&NUMBERINGS),
            has_commands: random.below(3) > 0,
            has_changes: random.below(3) > 0,
            closes_empty_invoices: random.below(4) == 0,
            is_in_step: random.below(3) == 0,
        }
    }
}

fn midnight_ms(random: &mut Random, zone: Tz) -> i64 {
    let day = NaiveDate::from_ymd_opt(2023, 1, 1).expect("a date") + chrono::Days::new(random.below(700));
    let midnight = day.and_hms_opt(0, 0, 0).expect("a time of day");
    zone.from_local_datetime(&midnight)
        .earliest()
        .expect("none of these zones skips a midnight")
        .timestamp_millis()
}

/// What decides invoices, as the members of a settings record.
pub(super) fn settings(random: &mut Random) -> Value {
    let mut seconds = |from: u64, to: u64| format!("PT{}S", from + random.below(to - from));
    let mut settings = json!({
        "default_grace": seconds(0, 8),
        "default_net_payment_term": 0,
        "lateness_limit": seconds(15, 90),
        "future_limit": seconds(1, 20),
        "parking_limit": seconds(2, 15),
        "refresh_interval": seconds(1, 5),
        "clock_skew_limit": seconds(0, 3),
    });
    if random.below(4) == 0 {
        settings["refresh"] = json!("at_finalization");
    }
    if random.below(4) == 0 {
        settings["will_be_due_days"] = json!(0);
    }
    settings
}

/// Usage at the very instant at which one period ends and the next begins.
fn on_the_edge(random: &mut Random, subscriptions: &[Subscription], at_ms: i64) -> Sent {
    let subscription = random.one_of(subscriptions);
    let edge_ms = subscription.period_from(at_ms, -(random.below(2) as i64));
    let id = format!("edge{}", random.next());
    lago(subscription, Some(&id), "calls", Some(edge_ms), "\"calls\":\"3.5\"")
}

pub(super) struct Crowd<'a> {
    traits: &'a Traits,
    shards: u32,
    random: Random,
    usage: Usage,
    /// Those that are in the catalog.
    subscriptions: Vec<Subscription>,
    /// Those that are used already and come to the catalog later.
    expected: Vec<Subscription>,
    settings: Value,
    commands: u64,
    editions: u64,
    events: Vec<Event>,
    /// The ids of usage that was sent, and of that which is parked where it doesn't belong.
    sent: BTreeSet<String>,
    astray: BTreeSet<String>,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(seed: u64, traits: &'a Traits, shards: u32, settings: &Value) -> Crowd<'a> {
        Crowd {
            traits,
            shards,
            random: Random::new(seed ^ 0x6372_6f77),
            usage: Usage::new(seed ^ 0x7573_6167),
            subscriptions: Vec::new(),
            expected: Vec::new(),
            settings: settings.clone(),
            commands: 0,
            editions: 0,
            events: Vec::new(),
            sent: BTreeSet::new(),
            astray: BTreeSet::new(),
        }
    }

    /// Everything that is written in the course of the history.
    pub(super) fn live(mut self) -> Vec<Event> {
        let mut at_ms = self.traits.begins_ms;
        self.move_in(at_ms);
        let pause_max_ms = (2 * self.traits.length_ms / self.traits.events as i64) as u64;
        let mut rush = 0;
        for _ in 0..self.traits.events {
            if rush > 0 {
                rush -= 1;
                at_ms += self.random.below(3) as i64;
            } else if let Some(edge_ms) = self.edge_behind(at_ms) {
                rush = 5 + self.random.below(20);
                at_ms = edge_ms + self.random.below(3) as i64;
            } else if self.random.below(4) > 0 {
                // Now and then many come in one millisecond.
                at_ms += self.random.below(pause_max_ms + 1) as i64;
            }
            if self.traits.has_changes && self.random.below(12) == 0 {
                self.change_catalog(at_ms);
            }
            if self.traits.has_commands && self.random.below(8) == 0 {
                self.command(at_ms);
            }
            let is_expected = self.random.below(8) == 0 && !self.expected.is_empty();
            let chosen = if is_expected { &self.expected } else { &self.subscriptions };
            if chosen.is_empty() {
                continue;
            }
            let sent = match self.random.below(20) {
                0 => on_the_edge(&mut self.random, chosen, at_ms),
                _ => self.usage.next(chosen, at_ms),
            };
            if !self.is_ambiguous(&sent) {
                self.write(at_ms, "usage.events", sent.key, Some(sent.value));
            }
        }
        self.events.sort_by_key(|event| event.at_ms);
        self.events
    }

    /// The next instant at which everybody's periods end, or their graces, if it is soon.
    fn edge_behind(&mut self, at_ms: i64) -> Option<i64> {
        if !self.traits.is_in_step || self.random.below(10) > 0 {
            return None;
        }
        let grace_ms = self.random.below(4) as i64 * 1000;
        let edge_ms = self.subscriptions.first()?.period_from(at_ms - grace_ms, 1) + grace_ms;
        (edge_ms - at_ms < 12_000).then_some(edge_ms)
    }

    /// Whether usage is sent a second time while one of the two may be parked on a shard where it doesn't belong: which
    /// of them is the repeat then depends on when that one is sent on.
    fn is_ambiguous(&mut self, sent: &Sent) -> bool {
        let text_behind = |name: &str| {
            let (_, rest) = sent.value.split_once(&format!("\"{name}\":\""))?;
            rest.split_once('"').map(|(text, _)| text.to_owned())
        };
        let Some(name) = text_behind("external_subscription_id") else { return false };
        let Some(id) = text_behind("transaction_id") else { return false };
        let known = self.subscriptions.iter().find(|subscription| subscription.id == name);
        let is_astray = known.is_none()
            && !sent.key.as_ref().is_some_and(|key| key.starts_with("cust_") || key.starts_with("ghost_"));
        let is_new = self.sent.insert(id.clone());
        if is_astray && is_new {
            self.astray.insert(id);
            return false;
        }
        is_astray || self.astray.contains(&id)
    }

    fn move_in(&mut self, at_ms: i64) {
        let settings = self.settings.clone();
        self.put_settings(at_ms, settings);
        let mut records = story::small_kinds();
        for (key, value) in &mut records {
            if key.starts_with("billing_entity/") {
                value["document_numbering"] = json!(self.traits.numbering);
                value["timezone"] = json!(self.random.one_of(&ZONES).name());
                if self.traits.closes_empty_invoices {
                    value["finalize_zero_amount_invoice"] = json!(false);
                }
            }
        }
        // A compacted topic keeps no order between keys.
        for place in (1..records.len()).rev() {
            if self.random.below(3) == 0 {
                records.swap(place, self.random.below(place as u64 + 1) as usize);
            }
        }
        for (key, value) in records {
            self.put(at_ms, key, &value);
        }
        let together = (self.random.below(PLANS.len() as u64) as usize, self.random.below(25_000) as i64);
        for number in 0..self.traits.customers as usize {
            self.put_customer(at_ms, number);
            for place in 0..1 + self.random.below(2) {
                let alone =
                    (self.random.below(PLANS.len() as u64) as usize, self.random.below(25_000) as i64);
                let (plan, age_ms) = if self.traits.is_in_step { together } else { alone };
                let subscription = Subscription {
                    id: format!("sub_{number}_{place}"),
                    customer: story::customer_id(number),
                    plan,
                    started_ms: at_ms - age_ms,
                    is_known: true,
                };
                if self.random.below(5) == 0 {
                    self.expected.push(subscription);
                } else {
                    self.put_subscription(at_ms, &subscription);
                    self.subscriptions.push(subscription);
                }
            }
        }
    }

    fn put_customer(&mut self, at_ms: i64, number: usize) {
        let zone = *self.random.one_of(&ZONES);
        let (key, mut value) = story::customer(number, zone, self.editions);
        match self.random.below(6) {
            0 => value["invoice_grace_period"] = json!(0),
            1 => value["invoice_grace_period"] = json!(format!("PT{}S", self.random.below(9))),
            2 => value["timezone"] = Value::Null,
            3 if self.editions > 0 => {
                value["billing_entity_code"] = json!(*self.random.one_of(&["acme", "brio"]));
            }
            _ => {}
        }
        self.put(at_ms, key, &value);
    }

    fn put_subscription(&mut self, at_ms: i64, subscription: &Subscription) {
        let (key, value) = subscription.record();
        self.put(at_ms, key, &value);
    }

    fn put_settings(&mut self, at_ms: i64, mut settings: Value) {
        settings["kind"] = json!("settings");
        self.put(at_ms, "settings/settings".to_owned(), &settings);
    }

    fn put(&mut self, at_ms: i64, key: String, value: &Value) {
        let currency = format!("\"{}\"", self.traits.currency);
        let value = value.to_string().replace("\"EUR\"", &currency);
        self.write(at_ms, "billing.catalog", Some(key), Some(value));
    }

    fn write(&mut self, at_ms: i64, topic: &'static str, key: Option<String>, value: Option<String>) {
        let partition = match &key {
            _ if topic == "billing.catalog" => 0,
            Some(key) => partition_of(key.as_bytes(), self.shards),
            None => self.random.below(u64::from(self.shards)) as u32,
        };
        self.events.push(Event { at_ms, deed: Deed::Write { topic, partition, key, value } });
    }

    fn command(&mut self, at_ms: i64) {
        if self.subscriptions.is_empty() {
            return;
        }
        self.commands += 1;
        let subscription = self.random.one_of(&self.subscriptions).clone();
        let event = self.usage.one_to_cancel(&subscription.id);
        let (key, value) = match self.random.below(4) {
            0 => self.payment(&subscription, at_ms),
            _ => command(&mut self.random, self.commands, &subscription, at_ms, event),
        };
        let times = 1 + u64::from(self.random.below(8) == 0);
        for _ in 0..times {
            self.write(at_ms, "billing.commands", Some(key.clone()), Some(value.to_string()));
        }
    }

    /// One of the last periods is paid.
    fn payment(&mut self, subscription: &Subscription, at_ms: i64) -> (String, Value) {
        let from_ms = subscription.period_from(at_ms, -1 - self.random.below(5) as i64);
        let value = json!({
            "command": "payment.record",
            "command_id": format!("k{}", self.commands),
            "external_subscription_id": subscription.id,
            "period_from": instant(from_ms),
            "status": self.random.one_of(&["succeeded", "succeeded", "failed"]),
        });
        (subscription.customer.clone(), value)
    }

    fn change_catalog(&mut self, at_ms: i64) {
        self.editions += 1;
        let edition = self.editions;
        match self.random.below(13) {
            0 => {
                let plans = story::plans(edition);
                let (key, value) = self.random.one_of(&plans).clone();
                self.put(at_ms, key, &value);
            }
            1 | 2 => {
                let number = self.random.below(self.traits.customers) as usize;
                self.put_customer(at_ms, number);
            }
            3 | 4 if !self.expected.is_empty() => {
                let place = self.random.below(self.expected.len() as u64) as usize;
                let subscription = self.expected.swap_remove(place);
                self.put_subscription(at_ms, &subscription);
                self.subscriptions.push(subscription);
            }
            5 if self.subscriptions.len() > 1 => self.change_subscription(at_ms),
            6 => {
                let bad = json!({"kind": "plan", "code": "bad", "interval": "sometimes"});
                self.put(at_ms, format!("plan/bad_{edition}"), &bad);
            }
            7 => {
                let customer = story::customer_id(self.random.below(self.traits.customers) as usize);
                let plan = self.random.below(PLANS.len() as u64) as usize;
                let started_ms = at_ms + 10_000 - self.random.below(30_000) as i64;
                let subscription = Subscription {
                    id: format!("sub_new_{edition}"),
                    customer,
                    plan,
                    started_ms,
                    is_known: true,
                };
                self.put_subscription(at_ms, &subscription);
                self.subscriptions.push(subscription);
            }
            8 => {
                let mut settings = self.settings.clone();
                settings["default_grace"] = json!(format!("PT{}S", self.random.below(9)));
                if self.random.below(3) == 0 {
                    settings["lateness_limit"] = json!(format!("PT{}S", 15 + self.random.below(75)));
                    settings["parking_limit"] = json!(format!("PT{}S", 2 + self.random.below(13)));
                }
                self.put_settings(at_ms, settings);
            }
            9 => {
                let number = self.random.below(self.traits.customers) as usize;
                if number > 0 && self.random.below(3) == 0 {
                    let key = format!("customer/{}", story::customer_id(number));
                    self.write(at_ms, "billing.catalog", Some(key), None);
                }
            }
            10 => self.remove_for_a_while(at_ms),
            _ => self.change_entity(at_ms),
        }
    }

    /// One of the small things goes, and comes again a little later.
    fn remove_for_a_while(&mut self, at_ms: i64) {
        let records = story::small_kinds();
        let (key, mut value) = self.random.one_of(&records).clone();
        if key.starts_with("billing_entity/") {
            value["document_numbering"] = json!(self.traits.numbering);
        }
        self.write(at_ms, "billing.catalog", Some(key.clone()), None);
        let back_ms = at_ms + self.random.below(5000) as i64;
        self.put(back_ms, key, &value);
    }

    fn change_subscription(&mut self, at_ms: i64) {
        let place = self.random.below(self.subscriptions.len() as u64) as usize;
        let (key, mut value) = self.subscriptions[place].record();
        match self.random.below(3) {
            // Those that end may still be used for a while.
            0 => value["ended_at"] = json!(instant(at_ms + self.random.below(6000) as i64)),
            1 => {
                let plan = (self.subscriptions[place].plan + 1) % PLANS.len();
                value["plan_code"] = json!(PLANS[plan].0);
            }
            _ => {
                self.subscriptions.swap_remove(place);
                return self.write(at_ms, "billing.catalog", Some(key), None);
            }
        }
        self.put(at_ms, key, &value);
    }

    fn change_entity(&mut self, at_ms: i64) {
        let code = *self.random.one_of(&["acme", "brio"]);
        let mut records = story::small_kinds();
        records.retain(|(key, _)| *key == format!("billing_entity/{code}"));
        let (key, mut entity) = records.remove(0);
        entity["document_numbering"] = json!(self.traits.numbering);
        entity["invoice_grace_period"] = match self.random.below(3) {
            0 => json!(0),
            _ => json!(format!("PT{}S", self.random.below(9))),
        };
        entity["timezone"] = json!(self.random.one_of(&ZONES).name());
        entity["late_usage_pricing"] = json!(*self.random.one_of(&["increment", "next_period"]));
        self.put(at_ms, key, &entity);
    }
}
