//! Usage that is kept whole, for it can't be decided yet.

use std::borrow::Cow;

use super::attribute::Checked;
use super::books::{Held, UsageRecord};
use super::usage::{EventId, UsageEvent, Value, Whose};

/// Keeps an event, and the record it came in: it may still be refused.
pub(super) fn hold(checked: &Checked<'_>, id_hash: u64, record: &UsageRecord<'_>) -> Held {
    Held {
        event: checked.event.to_owned_event(),
        arrived_at: checked.arrived_at,
        happened_at: checked.happened_at,
        id_hash,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
        place: (record.place.topic.to_owned(), record.place.partition, record.place.offset),
    }
}

impl UsageEvent<'_> {
    /// The same event, independent of the record it was read from.
    fn to_owned_event(&self) -> UsageEvent<'static> {
        UsageEvent {
            id: self.id.as_ref().map(EventId::to_owned_id),
            whose: match &self.whose {
                Whose::Subscription(name) => Whose::Subscription(owned(name)),
                Whose::Customer(name) => Whose::Customer(owned(name)),
                Whose::Either(name) => Whose::Either(owned(name)),
            },
            code: owned(&self.code),
            happened_at: self.happened_at,
            properties: self
                .properties
                .iter()
                .map(|(name, value)| (owned(name), value.to_owned_value()))
                .collect(),
            precise_amount: self.precise_amount.to_owned_value(),
            content: self.content,
        }
    }
}

impl EventId<'_> {
    fn to_owned_id(&self) -> EventId<'static> {
        match self {
            EventId::One(id) => EventId::One(owned(id)),
            EventId::Sourced { source, id } => EventId::Sourced { source: owned(source), id: owned(id) },
        }
    }
}

impl Value<'_> {
    fn to_owned_value(&self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(value) => Value::Bool(*value),
            Value::Number(text) => Value::Number(owned(text)),
            Value::Text(text) => Value::Text(owned(text)),
            Value::Nested => Value::Nested,
        }
    }
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
