//! Lengths of time as people write them: ISO 8601 text, or a number of days.

use std::fmt;

use super::json::Json;
use crate::invoice::instant::{DAY, SECOND, Span};

/// A duration in its parts. Weeks and days follow the calendar where a calendar is at hand; the rest is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Duration {
    weeks: u32,
    days: u32,
    hours: u32,
    minutes: u32,
    seconds: u32,
}

impl Duration {
    pub const ZERO: Duration = Duration::of_days(0);

    pub const fn of_days(days: u32) -> Duration {
        Duration { weeks: 0, days, hours: 0, minutes: 0, seconds: 0 }
    }

    pub const fn of_minutes(minutes: u32) -> Duration {
        Duration { weeks: 0, days: 0, hours: 0, minutes, seconds: 0 }
    }

    /// Reads `P1W`, `P3D`, `PT72H`, `P1DT12H30M5S`. Years, months, fractions and signs aren't taken (R40).
    pub fn parse(text: &str) -> Option<Duration> {
        let rest = text.strip_prefix('P')?;
        let (date, time) = match rest.split_once('T') {
            Some((_, "")) => return None,
            Some((date, time)) => (date, time),
            None => (rest, ""),
        };
        if rest.is_empty() {
            return None;
        }
        let mut duration = Duration::ZERO;
        read_parts(date, [(b'W', &mut duration.weeks), (b'D', &mut duration.days)])?;
        read_parts(
            time,
            [(b'H', &mut duration.hours), (b'M', &mut duration.minutes), (b'S', &mut duration.seconds)],
        )?;
        duration.is_in_range().then_some(duration)
    }

    /// An integer is days, a string an ISO 8601 duration.
    pub fn from_json(json: &Json) -> Option<Duration> {
        match json {
            Json::Text(text) => Duration::parse(text),
            _ => {
                let days = u32::try_from(json.as_integer()?).ok()?;
                Some(Duration::of_days(days)).filter(Duration::is_in_range)
            }
        }
    }

    /// Whole calendar days; weeks are seven of them.
    pub fn calendar_days(&self) -> i64 {
        i64::from(self.weeks) * 7 + i64::from(self.days)
    }

    /// What comes on top of the days.
    pub fn exact_part(&self) -> Span {
        let seconds = i64::from(self.hours) * 3600 + i64::from(self.minutes) * 60 + i64::from(self.seconds);
        Span(seconds * SECOND)
    }

    /// The whole with days of 24 hours.
    pub fn exact(&self) -> Span {
        Span(self.calendar_days() * DAY + self.exact_part().0)
    }

    /// The number of days, if it is nothing but days.
    pub fn as_whole_days(&self) -> Option<u32> {
        (self.exact_part().0 == 0).then(|| u32::try_from(self.calendar_days()).ok())?
    }

    fn is_in_range(&self) -> bool {
        const LONGEST_DAYS: i64 = 36_600;
        self.calendar_days() <= LONGEST_DAYS && self.exact_part().0 / DAY <= LONGEST_DAYS
    }
}

/// Reads numbers, each followed by its letter, the letters in their order.
fn read_parts<const N: usize>(text: &str, parts: [(u8, &mut u32); N]) -> Option<()> {
    let mut rest = text.as_bytes();
    for (letter, part) in parts {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 && rest.get(digits) == Some(&letter) {
            if digits > 9 {
                return None;
            }
            *part = rest[..digits].iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
            rest = &rest[digits + 1..];
        }
    }
    rest.is_empty().then_some(())
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Duration::ZERO {
            return f.write_str("P0D");
        }
        f.write_str("P")?;
        for (part, letter) in [(self.weeks, 'W'), (self.days, 'D')] {
            if part > 0 {
                write!(f, "{part}{letter}")?;
            }
        }
        if self.exact_part().0 > 0 {
            f.write_str("T")?;
        }
        for (part, letter) in [(self.hours, 'H'), (self.minutes, 'M'), (self.seconds, 'S')] {
            if part > 0 {
                write!(f, "{part}{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_as_they_were_set() {
        for text in ["P3D", "PT72H", "P1W", "P1DT12H", "PT1M", "P1DT1H1M1S", "P0D"] {
            assert_eq!(Duration::parse(text).map(|d| d.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Duration::parse("PT0S").unwrap().to_string(), "P0D");
    }

    #[test]
    fn what_has_no_fixed_length_is_not_read() {
        for text in [
            "", "P", "PT", "P1Y", "P1M", "P1.5D", "-P1D", "P-1D", "+P1D", "P1DT", "3D", "P1H", "PT1D", "p1d",
            "P1D ",
        ] {
            assert_eq!(Duration::parse(text), None, "{text}");
        }
        assert_eq!(Duration::parse("P9999999999D"), None);
    }
}
