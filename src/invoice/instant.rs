//! A point on the time line, to the nanosecond.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::{Numeral, Scaled};

/// An instant in UTC: nanoseconds since 1970. It covers the years 1678 to 2261; what lies beyond is held at
/// the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

/// An exact length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span(pub i64);

pub const SECOND: i64 = 1_000_000_000;
pub const DAY: i64 = 86_400 * SECOND;

const DAY_SECONDS: i64 = 86_400;
const FRACTION_DIGITS_MAX: usize = 9;

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

    /// Reads RFC 3339 with any offset. `T` and `Z` are upper case, dates are real ones, and there is no
    /// second 60: a leap second has no place on a time line that is counted in seconds since 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Instant> {
        let (face, rest) = text.as_bytes().split_first_chunk::<19>()?;
        let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', i0, i1, b':', s0, s1] = *face
        else {
            return None;
        };
        let year = two(y0, y1)? * 100 + two(y2, y3)?;
        let (month, day) = (two(m0, m1)?, two(d0, d1)?);
        let (hour, minute, second) = (two(h0, h1)?, two(i0, i1)?, two(s0, s1)?);
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let (nanos, zone) = match rest.split_first()? {
            (b'.', rest) => split_fraction(rest)?,
            _ => (0, rest),
        };
        let offset_minutes = parse_offset(zone)?;
        let seconds = days_since_1970(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        Some(Instant::from_parts(i128::from(seconds - offset_minutes * 60), nanos))
    }

    /// Reads the timestamp of usage from a string: RFC 3339, or decimal seconds since 1970 with up to nine
    /// digits after the point.
    pub fn parse_timestamp_text(text: &str) -> Option<Instant> {
        match text.as_bytes() {
            [_, _, _, _, b'-', ..] => Instant::parse_rfc3339(text),
            bytes => parse_seconds(bytes),
        }
    }

    /// Reads the timestamp of usage from the text of a JSON number: seconds since 1970. It may have an
    /// exponent, but must be a whole number of nanoseconds.
    pub fn parse_timestamp_number(text: &str) -> Option<Instant> {
        let numeral = Numeral::parse(text)?;
        let magnitude = match numeral.scaled(9, 19) {
            Scaled::Whole(magnitude) => magnitude as i128,
            Scaled::Large => i128::MAX,
            Scaled::Broken => return None,
        };
        let nanos = if numeral.negative { -magnitude } else { magnitude };
        Some(Instant(nanos.clamp(i64::MIN as i128, i64::MAX as i128) as i64))
    }

    /// Appends RFC 3339 in UTC (R1).
    pub fn write_to(self, out: &mut Vec<u8>) {
        let (face, length) = self.face();
        out.extend_from_slice(&face[..length]);
    }

    /// The instant as it is written, and how many bytes of the room that takes.
    fn face(self) -> ([u8; 30], usize) {
        let seconds = self.0.div_euclid(SECOND);
        let nanos = self.0.rem_euclid(SECOND);
        let (year, month, day) = date_of(seconds.div_euclid(DAY_SECONDS));
        let clock = seconds.rem_euclid(DAY_SECONDS);
        let mut face = *b"0000-00-00T00:00:00.000000000Z";
        put_digits(&mut face[0..4], year);
        put_digits(&mut face[5..7], month);
        put_digits(&mut face[8..10], day);
        put_digits(&mut face[11..13], clock / 3600);
        put_digits(&mut face[14..16], clock / 60 % 60);
        put_digits(&mut face[17..19], clock % 60);
        let mut length = 19;
        if nanos != 0 {
            put_digits(&mut face[20..29], nanos);
            length = 29;
            while face[length - 1] == b'0' {
                length -= 1;
            }
        }
        face[length] = b'Z';
        (face, length + 1)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (face, length) = self.face();
        f.write_str(std::str::from_utf8(&face[..length]).expect("an instant is written in ASCII"))
    }
}

/// Decimal seconds: digits, optionally a point with 1 to 9 digits after it, optionally `-` in front.
fn parse_seconds(bytes: &[u8]) -> Option<Instant> {
    let (negative, bytes) = match bytes.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, bytes),
    };
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let mut seconds: i64 = 0;
    for digit in &bytes[..digits] {
        seconds = seconds.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    let nanos = match bytes[digits..].split_first() {
        None => 0,
        Some((b'.', rest)) => match split_fraction(rest)? {
            (nanos, []) => nanos,
            _ => return None,
        },
        Some(_) => return None,
    };
    let all = i128::from(seconds) * i128::from(SECOND) + i128::from(nanos);
    let all = if negative { -all } else { all };
    Some(Instant(all.clamp(i64::MIN as i128, i64::MAX as i128) as i64))
}

/// Nanoseconds from the 1 to 9 digits of a fraction, and what follows them.
fn split_fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut nanos = 0;
    let mut count = 0;
    while let Some(digit) = bytes.get(count).filter(|byte| byte.is_ascii_digit()) {
        if count == FRACTION_DIGITS_MAX {
            return None;
        }
        nanos = nanos * 10 + u32::from(digit - b'0');
        count += 1;
    }
    if count == 0 {
        return None;
    }
    Some((nanos * 10u32.pow((FRACTION_DIGITS_MAX - count) as u32), &bytes[count..]))
}

/// Minutes east of UTC.
fn parse_offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h0, h1, b':', m0, m1] => {
            let (hours, minutes) = (two(h0, h1)?, two(m0, m1)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = hours * 60 + minutes;
            Some(if sign == b'-' { -east } else { east })
        }
        _ => None,
    }
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { None } else { Some(i64::from(tens * 10 + ones)) }
}

/// Writes a number into its room, with zeros in front.
pub(super) fn put_digits(room: &mut [u8], mut number: i64) {
    for byte in room.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Years are counted from March, so that the leap day comes last; 400 such years are 146,097 days, and
// 1970-01-01 is day 719,468 from 0000-03-01.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

pub(super) fn date_of(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, nanos: Option<i64>) {
        assert_eq!(Instant::parse_rfc3339(text), nanos.map(Instant), "{text:?}");
    }

    fn check_written(text: &str, written: &str) {
        let read = Instant::parse_rfc3339(text).unwrap_or_else(|| panic!("{text} is an instant"));
        assert_eq!(read.to_string(), written);
    }

    #[test]
    fn instants_are_written_in_utc_with_a_fraction_only_when_there_is_one() {
        check_written("2023-02-02T10:00:00Z", "2023-02-02T10:00:00Z");
        check_written("2023-02-02T10:00:00.000Z", "2023-02-02T10:00:00Z");
        check_written("2023-02-02T10:00:00.120Z", "2023-02-02T10:00:00.12Z");
        check_written("2023-02-02T10:00:00.000000001Z", "2023-02-02T10:00:00.000000001Z");
        check_written("2023-02-01T00:30:00+01:00", "2023-01-31T23:30:00Z");
        check_written("2023-01-31T23:30:00-01:00", "2023-02-01T00:30:00Z");
        check_written("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z");
        check_written("2024-02-29T23:59:59.999999999-00:00", "2024-02-29T23:59:59.999999999Z");
    }

    #[test]
    fn years_beyond_the_time_line_are_held_at_its_ends() {
        check("9999-12-31T23:59:59.999999999Z", Some(i64::MAX));
        check("9999-12-31T23:59:59-23:59", Some(i64::MAX));
        check("0000-01-01T00:00:00Z", Some(i64::MIN));
        check("0000-01-01T00:00:00+23:59", Some(i64::MIN));
        check("2262-04-11T23:47:16.854775807Z", Some(i64::MAX));
        check("2262-04-11T23:47:16.854775806Z", Some(i64::MAX - 1));
        check("1677-09-21T00:12:43.145224192Z", Some(i64::MIN));
        check_written("1677-09-21T00:12:43.145224193Z", "1677-09-21T00:12:43.145224193Z");
        assert_eq!(Instant::MIN.to_string(), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(Instant::MAX.to_string(), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn only_days_that_exist_are_read() {
        for text in ["2024-02-29", "2000-02-29", "0000-02-29", "2023-12-31", "2023-04-30"] {
            assert!(Instant::parse_rfc3339(&format!("{text}T00:00:00Z")).is_some(), "{text}");
        }
        for text in [
            "2023-02-29",
            "1900-02-29",
            "2100-02-29",
            "2023-04-31",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "2023-01-32",
        ] {
            check(&format!("{text}T00:00:00Z"), None);
        }
    }

    #[test]
    fn what_other_readers_let_pass_is_refused() {
        for text in [
            "2023-01-11t17:15:00Z",
            "2023-01-11T17:15:00z",
            "2023-01-11 17:15:00Z",
            "2023-01-11T17:15:00\u{2212}01:00",
            "2023-01-11T17:15:60Z",
            "2023-01-11T24:00:00Z",
            "2023-01-11T17:60:00Z",
            "2023-01-11T17:15:00+24:00",
            "2023-01-11T17:15:00+01:60",
            "2023-01-11T17:15:00+0100",
            "2023-01-11T17:15:00+01",
            "2023-01-11T17:15:00",
            "2023-01-11T17:15Z",
            "2023-01-11T17:15:00.Z",
            "2023-01-11T17:15:00.1234567890Z",
            "2023-01-11T17:15:00,5Z",
            "2023-01-11T17:15:00.5",
            "2023-01-11T17:15:00Z ",
            " 2023-01-11T17:15:00Z",
            "2023-01-11T17:15:00ZZ",
            "+2023-01-11T17:15:00Z",
            "12023-01-11T17:15:00Z",
            "2023-1-11T17:15:00Z",
            "２023-01-11T17:15:00Z",
            "2023-01-11",
            "yesterday",
            "",
        ] {
            check(text, None);
            assert_eq!(Instant::parse_timestamp_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_timestamp_in_text_is_rfc_3339_or_seconds() {
        let read = |text: &str| Instant::parse_timestamp_text(text).map(|at| at.0);
        assert_eq!(read("2023-01-11T17:15:00Z"), Some(1_673_457_300 * SECOND));
        assert_eq!(read("1673457300"), Some(1_673_457_300 * SECOND));
        assert_eq!(read("1673457300.25"), Some(1_673_457_300_250_000_000));
        assert_eq!(read("1673457300.123456789"), Some(1_673_457_300_123_456_789));
        assert_eq!(read("-1.5"), Some(-1_500_000_000));
        assert_eq!(read("-0"), Some(0));
        assert_eq!(read("0001.000000000"), Some(SECOND));
        assert_eq!(read("99999999999999999999999"), Some(i64::MAX));
        assert_eq!(read("-9223372036.854775808"), Some(i64::MIN));
        assert_eq!(read(&"9".repeat(100_000)), Some(i64::MAX));
        for text in [
            "",
            "-",
            "+1",
            "1.",
            ".5",
            "1.1234567890",
            "1e9",
            "1673457300 ",
            "1_000",
            "0x10",
            "--1",
            "1.-5",
            "NaN",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_timestamp_in_a_number_is_a_whole_count_of_nanoseconds() {
        let read = |text: &str| Instant::parse_timestamp_number(text).map(|at| at.0);
        assert_eq!(read("1673457300"), Some(1_673_457_300 * SECOND));
        assert_eq!(read("1673457300.25"), Some(1_673_457_300_250_000_000));
        assert_eq!(read("1.6734573e9"), Some(1_673_457_300 * SECOND));
        assert_eq!(read("16734573002500e-4"), Some(1_673_457_300_250_000_000));
        assert_eq!(read("1.0000000000"), Some(SECOND));
        assert_eq!(read("-1e-9"), Some(-1));
        assert_eq!(read("1e-10"), None);
        assert_eq!(read("1.0000000001"), None);
        assert_eq!(read("1e-400"), None);
        assert_eq!(read("1e400"), Some(i64::MAX));
        assert_eq!(read("-1e999999999999999999999999"), Some(i64::MIN));
        assert_eq!(read("1e-999999999999999999999999"), None);
        assert_eq!(read("0e999999999999999999999999"), Some(0));
        assert_eq!(read("9223372036.854775807"), Some(i64::MAX));
        for text in ["", "+1", "01", "1.", "1e", "NaN", "2023-01-11T17:15:00Z"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_the_identity(nanos in any::<i64>(), zeros in 0u32..10) {
            let rounded = nanos / 10i64.pow(zeros) * 10i64.pow(zeros);
            let written = Instant(rounded).to_string();
            prop_assert_eq!(Instant::parse_rfc3339(&written), Some(Instant(rounded)), "{}", written);
            let mut bytes = Vec::new();
            Instant(rounded).write_to(&mut bytes);
            prop_assert_eq!(bytes, written.into_bytes());
        }

        #[test]
        fn chrono_reads_the_same_instant(nanos in any::<i64>(), minutes in -1439i32..1440) {
            let zone = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
            let text = DateTime::<Utc>::from_timestamp_nanos(nanos).with_timezone(&zone).to_rfc3339();
            prop_assert_eq!(Instant::parse_rfc3339(&text), Some(Instant(nanos)), "{}", text);
        }

        #[test]
        fn what_is_read_chrono_reads_too(
            date in "[0-9]{4}-[01][0-9]-[0-3][0-9]",
            clock in "[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?",
            zone in "Z|[+-][0-2][0-9]:[0-6][0-9]",
        ) {
            let text = format!("{date}T{clock}{zone}");
            if let Some(at) = Instant::parse_rfc3339(&text) {
                let other = DateTime::parse_from_rfc3339(&text).unwrap();
                let instant = Instant::from_parts(other.timestamp().into(), other.timestamp_subsec_nanos());
                prop_assert_eq!(at, instant);
            }
        }

        #[test]
        fn seconds_as_text_and_as_number_agree(
            seconds in -10_000_000_000i64..10_000_000_000,
            nanos in 0u32..1_000_000_000,
        ) {
            let text = format!("{seconds}.{nanos:09}");
            prop_assert_eq!(Instant::parse_timestamp_text(&text), Instant::parse_timestamp_number(&text));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}|[-+0-9.eETZ:]{0,40}") {
            let _ = Instant::parse_rfc3339(&text);
            let _ = Instant::parse_timestamp_number(&text);
            let _ = Instant::parse_timestamp_text(&text);
        }
    }
}
