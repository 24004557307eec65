//! One usage event as it was understood, whatever dialect it came in.

use std::borrow::Cow;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use super::instant::Instant;
use super::quantity::Quantity;
use super::text::one_text;

/// A usage event, borrowed from the record it was read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

impl UsageEvent<'_> {
    /// The name by which it says whose it is.
    pub fn whose_name(&self) -> &str {
        match &self.whose {
            Whose::Subscription(name) | Whose::Customer(name) | Whose::Either(name) => name,
        }
    }
}

/// How a producer names an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EventId<'a> {
    One(Cow<'a, str>),
    /// CloudEvents: `source` and `id` together.
    Sourced {
        source: Cow<'a, str>,
        id: Cow<'a, str>,
    },
}

/// Whose usage it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Whose<'a> {
    Subscription(Cow<'a, str>),
    Customer(Cow<'a, str>),
    /// CloudEvents: the subject names a subscription, or else a customer.
    Either(Cow<'a, str>),
}

/// A property's value. Numbers are kept as their text, never as floats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// A list or an object: it can be carried, and counts in the content, but nothing is billed by it.
    Nested,
}

/// The record is no usage event in any dialect that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Value<'_> {
    /// The value as a quantity, if it is a decimal in range (R54).
    pub fn as_quantity(&self) -> Option<Quantity> {
        match self {
            Value::Text(text) => Quantity::parse_text(text),
            Value::Number(text) => Quantity::parse_number(text),
            Value::Null | Value::Bool(_) | Value::Nested => None,
        }
    }

    /// The value as filters, groups and unique counts see it (R76, R77): a number is the same in every
    /// spelling, and the same as its plain text.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(Cow::Borrowed(text)),
            Value::Number(text) => one_text(text),
            Value::Bool(true) => Some(Cow::Borrowed("true")),
            Value::Bool(false) => Some(Cow::Borrowed("false")),
            Value::Null | Value::Nested => None,
        }
    }
}

/// The id of an event among all of its subscription's, condensed. An event without an id is known by its
/// place in the log: `EventId::One("topic/partition/offset")`.
pub fn id_hash(subscription: &str, id: &EventId) -> u64 {
    let kind = match id {
        EventId::One(_) => Condensed::Id,
        EventId::Sourced { .. } => Condensed::SourcedId,
    };
    let mut digest = Digest::new(kind, subscription.len());
    digest.text(subscription);
    match id {
        EventId::One(id) => digest.text(id),
        EventId::Sourced { source, id } => {
            digest.count(source.len());
            digest.text(source);
            digest.text(id);
        }
    }
    digest.finish()
}

/// What is condensed, so that an id never looks like content, or a list like an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condensed {
    Id = 1,
    SourcedId,
    Content,
    Object,
    Member,
    List,
}

/// Condenses parts into 64 bits.
///
/// The parts run together, so whoever puts them in sees to it that other parts never make the same bytes: the
/// length of the first goes into the key, that of a later one in front of it, and the last needs none.
/// Digests are stored: what goes in can't be changed any more.
#[derive(Clone, Debug)]
pub(crate) struct Digest(SipHasher13);

impl Digest {
    pub(crate) fn new(what: Condensed, first_bytes: usize) -> Digest {
        Digest(SipHasher13::new_with_keys(what as u64, first_bytes as u64))
    }

    /// Puts in the only part that remains.
    #[inline]
    pub(crate) fn finish_with(self, text: &str) -> u64 {
        self.0.hash(text.as_bytes())
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.0.write(text.as_bytes());
    }

    pub(crate) fn word(&mut self, word: u64) {
        self.0.write_u64(word);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.word(count as u64);
    }

    pub(crate) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn number(text: &str) -> Value<'_> {
        Value::Number(Cow::Borrowed(text))
    }

    fn check_text(value: Value, text: Option<&str>) {
        assert_eq!(value.as_text().as_deref(), text, "{value:?}");
    }

    #[test]
    fn a_number_is_the_same_text_in_every_spelling() {
        for spelling in ["5", "5.0", "5.000", "0.5e1", "50E-1", "5e0"] {
            check_text(number(spelling), Some("5"));
        }
        for spelling in ["-0", "0.0", "-0.0e5", "0e99999999999999999999"] {
            check_text(number(spelling), Some("0"));
        }
        check_text(number("1e3"), Some("1000"));
        check_text(number("1000"), Some("1000"));
        check_text(number("-12.340"), Some("-12.34"));
        check_text(number("12.34"), Some("12.34"));
        check_text(number("1e-3"), Some("0.001"));
        check_text(number("-120e-3"), Some("-0.12"));
    }

    #[test]
    fn a_number_too_long_to_write_out_keeps_an_exponent() {
        check_text(number("1e63"), Some(&format!("1{}", "0".repeat(63))));
        check_text(number(&format!("1{}", "0".repeat(63))), Some(&format!("1{}", "0".repeat(63))));
        check_text(number("1e64"), Some("1e64"));
        check_text(number(&format!("1{}", "0".repeat(64))), Some("1e64"));
        check_text(number("-1.50e400"), Some("-15e399"));
        check_text(number("1e-63"), Some(&format!("0.{}1", "0".repeat(62))));
        check_text(number("1e-64"), Some("1e-64"));
        check_text(number("10e99999999999999999999"), Some("1e100000000000000000000"));
        check_text(number("1e-99999999999999999999"), Some("1e-99999999999999999999"));
    }

    #[test]
    fn texts_and_booleans_are_themselves_and_the_rest_is_no_text() {
        check_text(Value::Text("5.0".into()), Some("5.0"));
        check_text(Value::Text("".into()), Some(""));
        check_text(Value::Bool(true), Some("true"));
        check_text(Value::Bool(false), Some("false"));
        check_text(Value::Null, None);
        check_text(Value::Nested, None);
    }

    #[test]
    fn only_numbers_and_texts_are_quantities() {
        assert_eq!(Value::Text("1.5".into()).as_quantity(), Some(Quantity(1_500_000_000_000)));
        assert_eq!(number("15e-1").as_quantity(), Some(Quantity(1_500_000_000_000)));
        for value in [Value::Text("15e-1".into()), Value::Bool(true), Value::Null, Value::Nested] {
            assert_eq!(value.as_quantity(), None, "{value:?}");
        }
    }

    #[test]
    fn ids_that_join_to_one_text_are_kept_apart() {
        let one = |id: &'static str| EventId::One(id.into());
        let sourced = |source: &'static str, id: &'static str| EventId::Sourced {
            source: source.into(),
            id: id.into(),
        };
        let hashes = [
            id_hash("s", &one("ab")),
            id_hash("sa", &one("b")),
            id_hash("sab", &one("")),
            id_hash("", &one("sab")),
            id_hash("s", &one("ab\0")),
            id_hash("s", &sourced("", "ab")),
            id_hash("s", &sourced("a", "b")),
            id_hash("s", &sourced("ab", "")),
            id_hash("sa", &sourced("", "b")),
            id_hash("s", &one("a")),
        ];
        assert_eq!(BTreeSet::from(hashes).len(), hashes.len());
    }

    #[test]
    fn stored_id_hashes_stay_what_they_are() {
        assert_eq!(id_hash("sub_1", &EventId::One("usage.events/0/42".into())), 18_118_659_423_573_781_163);
        assert_eq!(
            id_hash("sub_1", &EventId::Sourced { source: "/gateway".into(), id: "1".into() }),
            11_831_851_056_431_001_582
        );
    }
}
