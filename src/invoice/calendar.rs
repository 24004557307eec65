//! Local dates and midnights, in the zone an invoice is written in.

use chrono::{
    DateTime, Datelike, Days, Duration as Delta, LocalResult, Months, NaiveDate, NaiveDateTime, Offset,
    TimeZone,
};
use chrono_tz::Tz;

use super::instant::{Instant, SECOND, date_of, put_digits};
use crate::catalog::duration::Duration;

/// A local date: days since 1 January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

const DAYS_TO_1970: i32 = 719_163;

impl Date {
    pub fn of(instant: Instant, zone: Tz) -> Date {
        Date::from_naive(local(instant, zone).date())
    }

    fn from_naive(date: NaiveDate) -> Date {
        Date(date.num_days_from_ce() - DAYS_TO_1970)
    }

    fn naive(self) -> NaiveDate {
        NaiveDate::from_num_days_from_ce_opt(self.0 + DAYS_TO_1970)
            .expect("a local date lies within chrono's years")
    }

    pub fn plus_days(self, days: i64) -> Date {
        Date(i32::try_from(i64::from(self.0) + days).expect("terms and graces are at most a hundred years"))
    }

    /// The first instant of the date (R30): a midnight that doesn't exist moves forward by the gap, of two the first counts.
    pub fn midnight(self, zone: Tz) -> Instant {
        resolve(self.naive().and_hms_opt(0, 0, 0).expect("midnight is a time"), zone)
    }

    /// The date so many months after this one, its day clamped to the month's length.
    pub fn plus_months(self, months: u32) -> Date {
        Date::from_naive(self.naive() + Months::new(months))
    }

    pub fn year(self) -> i32 {
        self.naive().year()
    }

    /// 0 for January.
    pub fn month0(self) -> u32 {
        self.naive().month0()
    }

    pub fn first_of_month(year: i32, month0: u32) -> Date {
        Date::from_naive(NaiveDate::from_ymd_opt(year, month0 + 1, 1).expect("every month has a first"))
    }

    /// 0 for Monday.
    pub fn weekday(self) -> i32 {
        (self.0 + 3).rem_euclid(7)
    }

    pub fn parse(text: &str) -> Option<Date> {
        text.parse().ok().map(Date::from_naive)
    }

    /// Appends `YYYY-MM-DD`.
    pub fn write_to(self, out: &mut Vec<u8>) {
        let (year, month, day) = date_of(i64::from(self.0));
        let mut face = *b"0000-00-00";
        put_digits(&mut face[0..4], year);
        put_digits(&mut face[5..7], month);
        put_digits(&mut face[8..10], day);
        out.extend_from_slice(&face);
    }
}

/// When a grace or another calendar length from `from` is over: days first, then what is exact (R40).
pub fn plus_duration(from: Instant, duration: Duration, zone: Tz) -> Instant {
    let days = duration.calendar_days();
    if days == 0 {
        return from.plus(duration.exact_part());
    }
    let date = Date::of(from, zone);
    let moved = if date.midnight(zone) == from {
        date.plus_days(days).midnight(zone)
    } else {
        let wall = local(from, zone);
        wall.checked_add_days(Days::new(days as u64)).map_or(Instant::MAX, |target| resolve(target, zone))
    };
    moved.plus(duration.exact_part())
}

fn utc(instant: Instant) -> NaiveDateTime {
    let seconds = instant.0.div_euclid(SECOND);
    let nanos = instant.0.rem_euclid(SECOND) as u32;
    DateTime::from_timestamp(seconds, nanos).expect("an instant lies within chrono's years").naive_utc()
}

fn local(instant: Instant, zone: Tz) -> NaiveDateTime {
    zone.from_utc_datetime(&utc(instant)).naive_local()
}

fn resolve(wall: NaiveDateTime, zone: Tz) -> Instant {
    let found = match zone.offset_from_local_datetime(&wall) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => wall - offset.fix(),
        LocalResult::None => {
            // In a gap the offset before it still counts: that moves the clock forward by the gap. No zone jumps twice
            // within the day and a half that lie between here and there.
            let before = zone.offset_from_utc_datetime(&(wall - Delta::hours(36)));
            wall - before.fix()
        }
    };
    let stamp = found.and_utc();
    Instant::from_parts(i128::from(stamp.timestamp()), stamp.timestamp_subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::from_naive(text.parse().unwrap())
    }

    fn midnight(text: &str, zone: Tz) -> String {
        date(text).midnight(zone).to_string()
    }

    #[test]
    fn a_midnight_in_a_gap_moves_forward() {
        assert_eq!(midnight("2018-11-04", chrono_tz::America::Sao_Paulo), "2018-11-04T03:00:00Z");
        assert_eq!(midnight("2011-12-30", chrono_tz::Pacific::Apia), "2011-12-30T10:00:00Z");
        assert_eq!(midnight("2011-12-31", chrono_tz::Pacific::Apia), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn of_two_midnights_the_first_counts() {
        assert_eq!(midnight("2022-10-30", chrono_tz::Asia::Beirut), "2022-10-29T22:00:00Z");
        assert_eq!(midnight("2023-11-05", chrono_tz::America::Havana), "2023-11-05T04:00:00Z");
    }

    #[test]
    fn days_from_a_midnight_lead_to_a_midnight() {
        let from = "2023-11-01T07:00:00Z";
        let grace = |text: &str| {
            let end = plus_duration(
                Instant::parse_rfc3339(from).unwrap(),
                Duration::parse(text).unwrap(),
                chrono_tz::America::Los_Angeles,
            );
            end.to_string()
        };
        assert_eq!(grace("P5D"), "2023-11-06T08:00:00Z");
        assert_eq!(grace("PT120H"), "2023-11-06T07:00:00Z");
        assert_eq!(grace("P1DT12H"), "2023-11-02T19:00:00Z");
    }
}
