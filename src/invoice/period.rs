//! Periods: which stretch of time an invoice bills.
//!
//! Boundary *dates* are counted from the day a subscription starts; each becomes an instant in the zone that is in force
//! when its period begins (R32). Periods are half-open and follow each other without gap or overlap.

use chrono_tz::Tz;
use num_bigint::BigInt;

use super::calendar::Date;
use super::instant::{Instant, Span};
use crate::catalog::customer::BillingTime;
use crate::catalog::plan::Interval;

/// What boundaries are counted from, the same for all of a subscription's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub started_at: Instant,
    /// The local date of the start, in the zone at the subscription's arrival.
    pub date: Date,
    pub billing_time: BillingTime,
}

/// One period as its interval would have it: where it starts, and the boundary it runs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    pub from: Instant,
    pub boundary: Instant,
    /// Where the whole interval starts, of which this may be a part.
    whole_from: Instant,
    dates: Dates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Dates {
    /// The date the period starts on; the next boundary is a later one.
    from: Date,
    boundary: Date,
    /// The date the whole interval starts on.
    whole_from: Date,
    /// The first date that counts.
    covered_from: Date,
}

/// How a period ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Boundary,
    /// The day of the change belongs to the new plan.
    PlanChange(Instant),
    /// The day of termination counts in full.
    Termination(Instant),
}

/// A part of a whole interval, in days or in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub part: i64,
    pub whole: i64,
}

impl Share {
    pub const FULL: Share = Share { part: 1, whole: 1 };
}

impl Period {
    /// The first period of a subscription.
    pub fn first(anchor: &Anchor, interval: Interval, zone: Tz) -> Period {
        Period::build(anchor, interval, anchor.started_at, anchor.date, false, zone)
    }

    /// The period that follows a cut of this one, under another plan's interval.
    pub fn after_cut(&self, anchor: &Anchor, interval: Interval, at: Instant, zone: Tz) -> Period {
        let date = Date::of(at, zone);
        let next = Period::build(anchor, interval, at, date.max(self.dates.from), false, zone);
        next.covering_from(date)
    }

    /// The period after this one; its interval may be another plan's.
    pub fn following(&self, anchor: &Anchor, interval: Interval, zone: Tz) -> Period {
        if !self.ends_on_a_date() {
            return self.after_cut(anchor, interval, self.boundary, zone);
        }
        Period::build(anchor, interval, self.boundary, self.dates.boundary, true, zone)
    }

    /// The same start under another plan's interval.
    pub fn replanned(&self, anchor: &Anchor, interval: Interval, zone: Tz) -> Period {
        if !self.ends_on_a_date() {
            return self.after_cut(anchor, interval, self.from, zone);
        }
        let starts_whole = self.whole_from == self.from;
        let period = Period::build(anchor, interval, self.from, self.dates.from, starts_whole, zone);
        period.covering_from(self.dates.covered_from)
    }

    /// The zone may have moved west since the period before began: then the first date is earlier than that one's.
    fn covering_from(mut self, date: Date) -> Period {
        self.dates.covered_from = date;
        self
    }

    /// An interval that is a duration has no boundary dates, so its bounds mean nothing to one that has.
    fn ends_on_a_date(&self) -> bool {
        self.dates.boundary > self.dates.from
    }

    /// This period or a later one that starts no later than `at`, not long before it: boundaries needn't be gone through
    /// one by one from the start.
    pub fn near(&self, anchor: &Anchor, interval: Interval, at: Instant, zone: Tz) -> Period {
        if let Interval::Exact(length) = interval {
            return self.exact_at(anchor, length, at);
        }
        // A day or two, so that no zone can make the boundary come after `at`.
        let date = Date::of(at, zone).plus_days(-2);
        if date <= self.dates.boundary {
            return *self;
        }
        let start = date_before(anchor, interval, next_date(anchor, interval, date));
        Period::build(anchor, interval, start.midnight(zone), start, true, zone)
    }

    fn exact_at(&self, anchor: &Anchor, length: Span, at: Instant) -> Period {
        let count =
            (i128::from(at.0) - i128::from(anchor.started_at.0)).div_euclid(i128::from(length.0)).max(0);
        let from = Instant((i128::from(anchor.started_at.0) + count * i128::from(length.0)) as i64);
        if from <= self.from {
            return *self;
        }
        let boundary = next_exact(anchor.started_at, length, from);
        Period { from, boundary, whole_from: from, dates: self.dates }
    }

    fn build(
        anchor: &Anchor,
        interval: Interval,
        from: Instant,
        date: Date,
        continues: bool,
        zone: Tz,
    ) -> Period {
        if let Interval::Exact(length) = interval {
            let boundary = next_exact(anchor.started_at, length, from);
            let dates = Dates { from: date, boundary: date, whole_from: date, covered_from: date };
            return Period {
                from,
                boundary,
                whole_from: Instant(boundary.0.saturating_sub(length.0)),
                dates,
            };
        }
        let mut boundary = next_date(anchor, interval, date);
        // A boundary that isn't after the start (a skipped day, a zone far to the east) is passed over. Behind the end of
        // time there is none.
        while boundary.midnight(zone) <= from && from < Instant::MAX {
            boundary = next_date(anchor, interval, boundary);
        }
        let whole_date = date_before(anchor, interval, boundary);
        let starts_whole = continues && date <= whole_date;
        let whole_from = if starts_whole { from } else { whole_date.midnight(zone).min(from) };
        let dates = Dates { from: date, boundary, whole_from: whole_date, covered_from: date };
        Period { from, boundary: boundary.midnight(zone), whole_from, dates }
    }

    /// The part of its whole interval that this period covers if it ends so (R72).
    pub fn share(&self, interval: Interval, end: End, zone: Tz) -> Share {
        if let Interval::Exact(length) = interval {
            let to = match end {
                End::Boundary => self.boundary,
                End::PlanChange(at) | End::Termination(at) => at,
            };
            return Share { part: to.0 - self.from.0, whole: length.0 };
        }
        let covered_to = match end {
            End::Boundary => self.dates.boundary,
            // Nothing is cut off, wherever the zone has moved since.
            End::Termination(at) if at >= self.boundary => self.dates.boundary,
            End::PlanChange(at) => Date::of(at, zone),
            End::Termination(at) => Date::of(at.minus(Span(1)), zone).plus_days(1),
        };
        let whole = self.dates.boundary.0 - self.dates.whole_from.0;
        let covered_from = self.dates.covered_from.max(self.dates.whole_from);
        let covered = covered_to.min(self.dates.boundary).0 - covered_from.0;
        Share { part: i64::from(covered.clamp(0, whole)), whole: i64::from(whole) }
    }

    /// The length of the whole interval in nanoseconds, for what is weighed by time (R77).
    pub fn whole_length(&self) -> BigInt {
        BigInt::from(i128::from(self.boundary.0) - i128::from(self.whole_from.0))
    }

    /// The numbers that bring the period back, to be kept with it.
    pub fn parts(&self) -> [i64; 7] {
        let Dates { from, boundary, whole_from, covered_from } = self.dates;
        let day = |date: Date| i64::from(date.0);
        [
            self.from.0,
            self.boundary.0,
            self.whole_from.0,
            day(from),
            day(boundary),
            day(whole_from),
            day(covered_from),
        ]
    }

    pub fn from_parts(parts: [i64; 7]) -> Period {
        let day = |number: i64| Date(number as i32);
        let [from, boundary, whole_start, dates @ ..] = parts;
        let [from_date, boundary_date, whole_from, covered_from] = dates.map(day);
        let dates = Dates { from: from_date, boundary: boundary_date, whole_from, covered_from };
        Period { from: Instant(from), boundary: Instant(boundary), whole_from: Instant(whole_start), dates }
    }
}

/// The first multiple of `length` after `from`, counted from the start.
fn next_exact(started_at: Instant, length: Span, from: Instant) -> Instant {
    let gone = (i128::from(from.0) - i128::from(started_at.0)).div_euclid(i128::from(length.0));
    let next = i128::from(started_at.0) + (gone + 1) * i128::from(length.0);
    Instant(next.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

/// The first boundary date after `date`.
fn next_date(anchor: &Anchor, interval: Interval, date: Date) -> Date {
    match (interval, anchor.billing_time) {
        (Interval::Daily, _) => Date(date.0 + 1),
        (Interval::Weekly, BillingTime::Calendar) => Date(date.0 + 7 - date.weekday()),
        (Interval::Weekly, BillingTime::Anniversary) => {
            Date(date.0 + 7 - (date.0 - anchor.date.0).rem_euclid(7))
        }
        (Interval::Months(step), BillingTime::Calendar) => {
            let month = date.month0() / step * step + step;
            Date::first_of_month(date.year() + (month / 12) as i32, month % 12)
        }
        (Interval::Months(step), BillingTime::Anniversary) => {
            let mut count = months_since(anchor.date, date) / step * step;
            while anchor.date.plus_months(count) <= date {
                count += step;
            }
            anchor.date.plus_months(count)
        }
        (Interval::Exact(_), _) => unreachable!("exact intervals have no boundary dates"),
    }
}

/// The last boundary date before `boundary`, itself one.
fn date_before(anchor: &Anchor, interval: Interval, boundary: Date) -> Date {
    match (interval, anchor.billing_time) {
        (Interval::Daily, _) => Date(boundary.0 - 1),
        (Interval::Weekly, _) => Date(boundary.0 - 7),
        (Interval::Months(step), BillingTime::Calendar) => {
            let months = boundary.year() * 12 + boundary.month0() as i32 - step as i32;
            Date::first_of_month(months.div_euclid(12), months.rem_euclid(12) as u32)
        }
        (Interval::Months(step), BillingTime::Anniversary) => {
            let count = months_since(anchor.date, boundary) / step * step;
            anchor.date.plus_months(if anchor.date.plus_months(count) < boundary {
                count
            } else {
                count - step
            })
        }
        (Interval::Exact(_), _) => unreachable!("exact intervals have no boundary dates"),
    }
}

/// Calendar months from one date's month to the other's; 0 for dates before the start.
fn months_since(start: Date, date: Date) -> u32 {
    let months = |date: Date| date.year() * 12 + date.month0() as i32;
    (months(date) - months(start)).max(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{America, Pacific, UTC};

    fn at(text: &str) -> Instant {
        Instant::parse_rfc3339(text).unwrap()
    }

    fn boundaries(
        start: &str,
        billing_time: BillingTime,
        interval: Interval,
        zone: Tz,
        count: usize,
    ) -> Vec<String> {
        let started_at = at(start);
        let anchor = Anchor { started_at, date: Date::of(started_at, zone), billing_time };
        let mut period = Period::first(&anchor, interval, zone);
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(period.boundary.to_string());
            period = period.following(&anchor, interval, zone);
        }
        found
    }

    #[test]
    fn anniversaries_are_counted_from_the_start_each_time() {
        let found = boundaries("2024-01-31T01:00:00Z", BillingTime::Anniversary, Interval::Months(1), UTC, 4);
        assert_eq!(
            found,
            ["2024-02-29T00:00:00Z", "2024-03-31T00:00:00Z", "2024-04-30T00:00:00Z", "2024-05-31T00:00:00Z"]
        );
    }

    #[test]
    fn a_skipped_day_has_no_period() {
        let found =
            boundaries("2011-12-29T10:00:00Z", BillingTime::Calendar, Interval::Daily, Pacific::Apia, 3);
        assert_eq!(found, ["2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", "2012-01-01T10:00:00Z"]);
    }

    #[test]
    fn calendar_intervals_start_on_their_own_days() {
        let first =
            |interval| boundaries("2023-05-17T12:00:00Z", BillingTime::Calendar, interval, UTC, 1).remove(0);
        assert_eq!(first(Interval::Daily), "2023-05-18T00:00:00Z");
        assert_eq!(first(Interval::Weekly), "2023-05-22T00:00:00Z");
        assert_eq!(first(Interval::Months(3)), "2023-07-01T00:00:00Z");
        assert_eq!(first(Interval::Months(6)), "2023-07-01T00:00:00Z");
        assert_eq!(first(Interval::Months(12)), "2024-01-01T00:00:00Z");
    }

    #[test]
    fn a_zone_to_the_west_makes_no_short_period() {
        let started_at = at("2023-01-31T15:00:00Z");
        let anchor = Anchor {
            started_at,
            date: Date::of(started_at, chrono_tz::Asia::Tokyo),
            billing_time: BillingTime::Calendar,
        };
        let monthly = Interval::Months(1);
        let february = Period::first(&anchor, monthly, chrono_tz::Asia::Tokyo);
        assert_eq!(february.boundary, at("2023-02-28T15:00:00Z"));
        let march = february.following(&anchor, monthly, America::Los_Angeles);
        assert_eq!(march.boundary, at("2023-04-01T07:00:00Z"));
        assert_eq!(march.share(monthly, End::Boundary, America::Los_Angeles), Share { part: 31, whole: 31 });
    }

    #[test]
    fn an_end_that_a_zone_to_the_east_reads_as_next_month_covers_no_more_than_this_one() {
        let started_at = at("2024-02-02T00:00:00Z");
        let anchor =
            Anchor { started_at, date: Date::of(started_at, UTC), billing_time: BillingTime::Calendar };
        let monthly = Interval::Months(1);
        let february = Period::first(&anchor, monthly, UTC);
        let end = End::Termination(at("2024-02-29T20:00:00Z"));
        for zone in [UTC, chrono_tz::Asia::Tokyo] {
            assert_eq!(february.share(monthly, end, zone), Share { part: 28, whole: 29 });
        }
    }

    #[test]
    fn a_month_behind_hours_began_on_its_first() {
        let started_at = at("2024-03-10T00:00:00Z");
        let anchor =
            Anchor { started_at, date: Date::of(started_at, UTC), billing_time: BillingTime::Calendar };
        let (hours, month) = (Interval::Exact(Span(6 * 3_600_000_000_000)), Interval::Months(1));
        let last_hours =
            Period::first(&anchor, hours, UTC).near(&anchor, hours, at("2024-03-15T18:00:00Z"), UTC);
        let rest = Share { part: 16, whole: 31 };
        for (from, period) in [
            ("2024-03-16T00:00:00Z", last_hours.following(&anchor, month, UTC)),
            ("2024-03-15T18:00:00Z", last_hours.replanned(&anchor, month, UTC)),
        ] {
            assert_eq!((period.from, period.boundary), (at(from), at("2024-04-01T00:00:00Z")));
            assert_eq!(period.whole_length(), BigInt::from(31 * 86_400_000_000_000_i64));
            let days = rest.part + i64::from(from < "2024-03-16");
            assert_eq!(period.share(month, End::Boundary, UTC), Share { part: days, ..rest });
        }
    }

    #[test]
    fn exact_intervals_run_from_the_start() {
        let minute = Interval::Exact(Span(60_000_000_000));
        let found = boundaries("2023-01-01T00:00:30Z", BillingTime::Calendar, minute, UTC, 2);
        assert_eq!(found, ["2023-01-01T00:01:30Z", "2023-01-01T00:02:30Z"]);
    }
}
