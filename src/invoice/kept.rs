//! The texts of the documents that books are kept in.
//!
//! Instants and quantities are written as people read them; what a document names by number is a document too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::books::{Carried, Kept, MetricUse, MetricUses, PlanState, Unbillable, UnbillableKey};
use super::instant::{Instant, SECOND};
use super::keep::Unreadable;
use super::quantity::Quantity;
use super::waiting::WaitingRecord;
use crate::catalog::{Kind, Record};

/// Whole seconds since 1970, or as people write it where they aren't whole.
impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % SECOND {
            0 => serializer.serialize_i64(self.0 / SECOND),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        deserializer.deserialize_any(InstantText)
    }
}

pub(super) struct InstantText;

impl Visitor<'_> for InstantText {
    type Value = Instant;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an instant")
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Instant, E> {
        seconds.checked_mul(SECOND).map(Instant).ok_or_else(|| E::custom("no instant"))
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Instant, E> {
        self.visit_i64(i64::try_from(seconds).map_err(E::custom)?)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Instant, E> {
        Instant::parse_rfc3339(text).ok_or_else(|| E::custom(format!("no instant: {text}")))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        deserializer.deserialize_str(QuantityText)
    }
}

pub(super) struct QuantityText;

impl Visitor<'_> for QuantityText {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Quantity, E> {
        read_quantity(text).ok_or_else(|| E::custom(format!("no quantity: {text}")))
    }
}

/// A sum may have more digits than a single reading of usage.
fn read_quantity(text: &str) -> Option<Quantity> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    let digits = fraction.len();
    if digits > Quantity::FRACTION_DIGITS as usize || fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    let scale = 10i128.checked_pow(Quantity::FRACTION_DIGITS - digits as u32)?;
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()?.checked_mul(scale)? };
    let whole = whole.parse::<i128>().ok()?.checked_mul(Quantity::ONE.0)?;
    Some(Quantity(if is_negative { whole.checked_sub(part)? } else { whole.checked_add(part)? }))
}

/// A thing of a small kind: its record as it came, and whether it was removed.
#[derive(Serialize, Deserialize)]
pub(super) struct ShelfText {
    record: String,
    #[serde(default, skip_serializing_if = "is_false")]
    removed: bool,
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

impl ShelfText {
    pub(super) fn of<T>(kept: &Kept<T>) -> ShelfText {
        ShelfText { record: String::from_utf8_lossy(&kept.source).into_owned(), removed: kept.is_removed }
    }

    pub(super) fn read(self, key: &str) -> Result<(Record, Arc<[u8]>, bool), Unreadable> {
        let record = Record::read(None, Some(self.record.as_bytes())).map_err(|fault| {
            Unreadable(format!("document {key} holds no record: {} {}", fault.reason, fault.pointer))
        })?;
        Ok((record, Arc::from(self.record.into_bytes()), self.removed))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PlanText {
    #[serde(flatten)]
    pub shelf: ShelfText,
    pub next_charge: u32,
    pub generation: u8,
    pub prices: u32,
}

impl PlanText {
    pub(super) fn of(kept: &Kept<PlanState>) -> PlanText {
        let PlanState { next_charge, generation, prices } = &kept.thing;
        let (next_charge, generation, prices) = (*next_charge, *generation, prices.version);
        PlanText { shelf: ShelfText::of(kept), next_charge, generation, prices }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct PricesText {
    pub plan: String,
    pub metrics: Vec<String>,
    /// Of each charge its number, its metric's, and the generation that brought it.
    pub lines: Vec<(u32, u32, u8)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WaitingText {
    pub key: Option<String>,
    pub value: String,
    missing: String,
    pub missing_code: String,
}

impl WaitingText {
    pub(super) fn of((waiting, missing): &(WaitingRecord, crate::catalog::Name)) -> WaitingText {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        WaitingText {
            key: waiting.key.as_deref().map(text),
            value: text(&waiting.value),
            missing: missing.kind.name().to_owned(),
            missing_code: missing.code.clone(),
        }
    }

    pub(super) fn missing_kind(&self, key: &str) -> Result<Kind, Unreadable> {
        Kind::named(&self.missing)
            .ok_or_else(|| Unreadable(format!("document {key} waits for an unknown kind")))
    }
}

pub(super) fn raw(text: Vec<u8>) -> Box<RawValue> {
    let text = String::from_utf8(text).expect("JSON is text");
    RawValue::from_string(text).expect("what was written is JSON")
}

// --- Usage that couldn't be billed ------------------------------------------------------------------------------------

/// There are many of them where usage comes late: they are written from where they are.
#[derive(Serialize, Deserialize)]
pub(super) struct CarriedText<'a> {
    from: Instant,
    to: Instant,
    metrics: Cow<'a, MetricUses>,
}

impl CarriedText<'_> {
    pub(super) fn of(carried: &Carried) -> CarriedText<'_> {
        CarriedText { from: carried.from, to: carried.to, metrics: Cow::Borrowed(&carried.metrics) }
    }

    pub(super) fn read(self) -> Carried {
        Carried { from: self.from, to: self.to, metrics: self.metrics.into_owned() }
    }
}

impl Serialize for MetricUses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(code, used)| (code.as_str(), used)))
    }
}

impl<'de> Deserialize<'de> for MetricUses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MetricUses, D::Error> {
        let by_code = BTreeMap::<String, MetricUse>::deserialize(deserializer)?;
        Ok(MetricUses(by_code.into_iter().map(|(code, used)| (code.into(), used)).collect()))
    }
}

/// Events, and units where they can be told.
impl Serialize for MetricUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.events, self.units).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MetricUse {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MetricUse, D::Error> {
        Deserialize::deserialize(deserializer).map(|(events, units)| MetricUse { events, units })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct UnbillableText<'a> {
    subscription: u32,
    since: Instant,
    carried: CarriedText<'a>,
}

impl<'a> UnbillableText<'a> {
    pub(super) fn of((key, unbillable): (&UnbillableKey, &'a Unbillable)) -> UnbillableText<'a> {
        UnbillableText {
            subscription: key.subscription,
            since: unbillable.since,
            carried: CarriedText::of(&unbillable.carried),
        }
    }

    pub(super) fn read(self) -> (UnbillableKey, Unbillable) {
        let carried = self.carried.read();
        let key = UnbillableKey { subscription: self.subscription, from: carried.from };
        (key, Unbillable { since: self.since, carried })
    }
}
