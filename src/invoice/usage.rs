//! One usage event as it was understood, whatever dialect it came in.

use std::borrow::Cow;

use super::instant::Instant;

/// A usage event, borrowed from the record it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageEvent<'a> {
    /// The producer's id. Without one the event is known by its place in the log.
    pub id: Option<EventId<'a>>,
    pub whose: Whose<'a>,
    /// The code of the metric.
    pub code: Cow<'a, str>,
    /// When it was used. Without it: when it arrived.
    pub happened_at: Option<Instant>,
    /// The members of `properties` (`payload`, `data`), each name once, in the order written.
    pub properties: Vec<(Cow<'a, str>, Value<'a>)>,
    /// `precise_total_amount_cents`, as written. `Value::Null` stands for none.
    pub precise_amount: Value<'a>,
    /// What R52 calls the content, condensed: equal content has an equal digest, other content another.
    pub content: u64,
}

/// How a producer names an event.
#[derive(Clone, Debug, PartialEq)]
pub enum EventId<'a> {
    One(Cow<'a, str>),
    /// CloudEvents: `source` and `id` together.
    Sourced { source: Cow<'a, str>, id: Cow<'a, str> },
}

/// Whose usage it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Whose<'a> {
    Subscription(Cow<'a, str>),
    Customer(Cow<'a, str>),
    /// CloudEvents: the subject names a subscription, or else a customer.
    Either(Cow<'a, str>),
}

/// A property's value. Numbers are kept as their text, never as floats.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    /// A list or an object: it can be carried, and counts in the content, but nothing is billed by it.
    Nested,
}

/// The record is no usage event in any dialect that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;
