//! A point on the time line, to the nanosecond.

/// An instant in UTC: nanoseconds since 1970. It covers the years 1678 to 2261; what lies beyond is held at the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

/// An exact length of time in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

pub const SECOND: i64 = 1_000_000_000;
pub const DAY: i64 = 86_400 * SECOND;

impl Instant {
    pub const MIN: Instant = Instant(i64::MIN);
    pub const MAX: Instant = Instant(i64::MAX);

    /// The instant `seconds` and `nanos` after 1970, held at the ends of the range.
    pub fn from_parts(seconds: i128, nanos: u32) -> Instant {
        let all = seconds * SECOND as i128 + nanos as i128;
        Instant(all.clamp(i64::MIN as i128, i64::MAX as i128) as i64)
    }

    pub fn plus(self, span: Span) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }

    pub fn minus(self, span: Span) -> Instant {
        Instant(self.0.saturating_sub(span.0))
    }
}
