//! Usage as the world sends it: most of it in order, some of it twice, late, early, wrong, or under another's key.

use super::random::Random;
use super::story::Subscription;
use serde_json::Value;
use std::ops::Range;

/// A record to be written.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) key: Option<String>,
    pub(super) value: String,
}

/// What has been sent, as far as it may be sent again.
pub(super) struct Usage {
    random: Random,
    number: u64,
    recent: Vec<Sent>,
}

const RECENT_MAX: usize = 3000;

/// How the names of those begin who never come.
const GHOST: &str = "ghost_";

impl Usage {
    pub(super) fn new(seed: u64) -> Usage {
        Usage { random: Random::new(seed), number: 0, recent: Vec::new() }
    }

    /// The next record, sent at `now_ms`.
    pub(super) fn next(&mut self, subscriptions: &[Subscription], now_ms: i64) -> Sent {
        let chance = self.random.below(1000);
        if let 0..30 = chance
            && !self.recent.is_empty()
        {
            return self.random.one_of(&self.recent).clone();
        }
        if let 30..40 = chance
            && !self.recent.is_empty()
        {
            let mut other = self.random.one_of(&self.recent).clone();
            other.value = other.value.replacen("\"properties\":{", "\"properties\":{\"more\":1,", 1);
            return other;
        }
        let subscription = self.random.one_of(subscriptions).clone();
        self.number += 1;
        let id = format!("e{}", self.number);
        let sent = match chance {
            40..52 => self.poison(&subscription),
            52..58 => lago(&subscription, Some(&id), "no_such_metric", Some(now_ms), "\"calls\":1"),
            58..66 => lago(&subscription, Some(&id), "calls", Some(now_ms), "\"other\":1"),
            66..70 => lago(&subscription, Some(&id), "calls", Some(now_ms), "\"calls\":\"many\""),
            70..74 => self.of_nobody(&id, now_ms),
            74..84 => self.plain(&subscription, None, None),
            84..92 => self.plain(&subscription, Some(&id), None),
            92..96 => self.plain_at(&subscription, &id, now_ms + 30_000..now_ms + 90_000),
            96..100 => self.plain_at(&subscription, &id, now_ms - 185_000..now_ms - 125_000),
            100..130 => self.plain_at(&subscription, &id, now_ms - 70_000..now_ms - 10_000),
            130..140 => self.plain_at(&subscription, &id, now_ms..now_ms + 18_000),
            140..160 => self.stripe(&subscription, &id, now_ms),
            _ => self.plain_at(&subscription, &id, now_ms - 1500..now_ms + 1),
        };
        let sent = self.misdirect(sent, &subscription);
        // Sent again without a time it would be another event where a copy bears its original's.
        if !sent.value.contains("\"timestamp\"") {
            return sent;
        }
        if self.recent.len() < RECENT_MAX {
            self.recent.push(sent.clone());
        } else {
            let place = self.random.below(RECENT_MAX as u64) as usize;
            self.recent[place] = sent.clone();
        }
        sent
    }

    /// An event of a subscription as `event.cancel` wants it, if one is at hand.
    pub(super) fn one_to_cancel(&self, subscription: &str) -> Option<Value> {
        let name = format!("\"external_subscription_id\":\"{subscription}\"");
        let is_its =
            |sent: &&Sent| sent.value.starts_with("{\"transaction_id\":\"e") && sent.value.contains(&name);
        serde_json::from_str(&self.recent.iter().rev().find(is_its)?.value).ok()
    }

    fn plain_at(&mut self, subscription: &Subscription, id: &str, between: Range<i64>) -> Sent {
        let at_ms = between.start + self.random.below((between.end - between.start) as u64) as i64;
        self.plain(subscription, Some(id), Some(at_ms))
    }

    /// Some records go to a partition that isn't their customer's. Not those of a subscription that will be known only
    /// later: such usage is parked where it came, and what is a repeat of it depends on when it is sent on. Without a key
    /// they go anywhere, and another time to another one: usage that nobody ever knows would be two events then.
    fn misdirect(&mut self, mut sent: Sent, subscription: &Subscription) -> Sent {
        let is_ghost = sent.value.contains(GHOST);
        match self.random.below(1000) {
            0..30 if subscription.is_known || is_ghost => {
                sent.key = Some(format!("other_{}", self.random.below(50)))
            }
            30..40 if subscription.is_known && !is_ghost => sent.key = None,
            _ => {}
        }
        sent
    }

    fn plain(&mut self, subscription: &Subscription, id: Option<&str>, at_ms: Option<i64>) -> Sent {
        let (code, properties) = match self.random.below(10) {
            0 => ("requests", String::new()),
            1 => ("peak", format!("\"size\":{}", self.random.below(500))),
            2 => ("users", format!("\"user\":\"u{}\"", self.random.below(20))),
            3 => ("level", format!("\"level\":\"{}.{}\"", self.random.below(90), self.random.below(10))),
            4 => ("stored", format!("\"gb\":{}", self.random.below(9) as i64 - 4)),
            _ => {
                let country = self.random.one_of(&["fr", "de", "it"]);
                let region = self.random.one_of(&["us", "eu"]);
                let (whole, part) = (self.random.below(40), self.random.below(1000));
                let text = format!(
                    "\"calls\":\"{whole}.{part:03}\",\"country\":\"{country}\",\"region\":\"{region}\""
                );
                ("calls", text)
            }
        };
        lago(subscription, id, code, at_ms, &properties)
    }

    fn stripe(&mut self, subscription: &Subscription, id: &str, now_ms: i64) -> Sent {
        let customer = &subscription.customer;
        let value = format!(
            "{{\"event_name\":\"calls\",\"identifier\":\"{id}\",\"timestamp\":{},\
             \"payload\":{{\"stripe_customer_id\":\"{customer}\",\"calls\":\"{}\"}}}}",
            now_ms / 1000,
            self.random.below(30)
        );
        Sent { key: Some(customer.clone()), value }
    }

    /// Its subscription never comes.
    fn of_nobody(&mut self, id: &str, now_ms: i64) -> Sent {
        let nobody = self.random.below(20);
        let stranger = Subscription {
            id: format!("{GHOST}{nobody}"),
            customer: format!("{GHOST}{nobody}"),
            plan: 0,
            started_ms: 0,
            is_known: false,
        };
        lago(&stranger, Some(id), "requests", Some(now_ms), "")
    }

    fn poison(&mut self, subscription: &Subscription) -> Sent {
        let value = match self.random.below(6) {
            0 => "{not json".to_owned(),
            1 => String::new(),
            2 => format!("{{\"a\":{}", "[".repeat(5000)),
            3 => "[1,2,3]".to_owned(),
            4 => format!("{{\"transaction_id\":\"p{0}\",\"transaction_id\":\"p{0}\"}}", self.number),
            _ => "{\"transaction_id\":\"x\",\"external_subscription_id\":7,\"code\":\"calls\"}".to_owned(),
        };
        Sent { key: Some(subscription.customer.clone()), value }
    }
}

/// An event in Lago's dialect.
pub(super) fn lago(
    subscription: &Subscription,
    id: Option<&str>,
    code: &str,
    at_ms: Option<i64>,
    properties: &str,
) -> Sent {
    let id = id.map_or(String::new(), |id| format!("\"transaction_id\":\"{id}\","));
    let time = at_ms.map_or(String::new(), |ms| format!(",\"timestamp\":\"{}.{:03}\"", ms / 1000, ms % 1000));
    let name = &subscription.id;
    let value = format!(
        "{{{id}\"external_subscription_id\":\"{name}\",\"code\":\"{code}\"{time},\"properties\":{{{properties}}}}}"
    );
    Sent { key: Some(subscription.customer.clone()), value }
}
