//! The texts of periods. One that follows from the one before it is its start alone.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::instant::{DAY, Instant};
use super::kept::InstantText;
use super::period::Period;

/// Start and boundary; where dates are others than in UTC, how many days, and the start of the whole interval.
pub(super) type PeriodText = (Instant, Instant, Option<([i64; 4], Instant)>);

pub(super) fn period_text(period: &Period) -> PeriodText {
    let [from, boundary, whole_from, dates @ ..] = period.parts();
    let usual = usual_dates(Instant(from), Instant(boundary));
    let is_usual = dates == usual && whole_from == from;
    let shifts = [0, 1, 2, 3].map(|place: usize| dates[place] - usual[place]);
    (Instant(from), Instant(boundary), (!is_usual).then_some((shifts, Instant(whole_from))))
}

pub(super) fn read_period((from, boundary, others): PeriodText) -> Period {
    let usual = usual_dates(from, boundary);
    let (shifts, whole_from) = others.unwrap_or(([0; 4], from));
    let [a, b, c, d] = [0, 1, 2, 3].map(|place: usize| usual[place] + shifts[place]);
    Period::from_parts([from.0, boundary.0, whole_from.0, a, b, c, d])
}

/// The dates of a period that starts on midnights of UTC: its own, its boundary's, the whole interval's, the first that
/// counts.
fn usual_dates(from: Instant, boundary: Instant) -> [i64; 4] {
    let from = from.0.div_euclid(DAY);
    [from, boundary.0.div_euclid(DAY), from, from]
}

/// A period: its start alone, where it is the first by the first era or follows the one before it by the last.
pub(super) enum StretchText {
    Usual(Instant),
    Other(PeriodText),
}

impl StretchText {
    pub(super) fn of(period: &Period, usual: Option<Period>) -> StretchText {
        match usual == Some(*period) {
            true => StretchText::Usual(period.from),
            false => StretchText::Other(period_text(period)),
        }
    }

    pub(super) fn from(&self) -> Instant {
        match self {
            StretchText::Usual(from) | StretchText::Other((from, ..)) => *from,
        }
    }

    pub(super) fn read(self, usual: Option<Period>) -> Option<Period> {
        match self {
            StretchText::Usual(from) => usual.filter(|usual| usual.from == from),
            StretchText::Other(text) => Some(read_period(text)),
        }
    }
}

impl Serialize for StretchText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            StretchText::Usual(from) => from.serialize(serializer),
            StretchText::Other(period) => period.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for StretchText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StretchText, D::Error> {
        deserializer.deserialize_any(AnyStretch)
    }
}

struct AnyStretch;

impl<'de> Visitor<'de> for AnyStretch {
    type Value = StretchText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a period, or the start of one")
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<StretchText, E> {
        InstantText.visit_i64(seconds).map(StretchText::Usual)
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<StretchText, E> {
        InstantText.visit_u64(seconds).map(StretchText::Usual)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StretchText, E> {
        InstantText.visit_str(text).map(StretchText::Usual)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<StretchText, A::Error> {
        PeriodText::deserialize(SeqAccessDeserializer::new(parts)).map(StretchText::Other)
    }
}
