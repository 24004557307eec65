//! Numbers as JSON writes them: what their text is worth, without making it a float.
//!
//! `1000`, `1e3` and `1000.0` are one number. A [`Numeral`] is the form they share, read without ever
//! expanding an exponent: a text of ten bytes must not become a billion digits.

use std::borrow::Cow;

/// A number's value: its significant digits, times a power of ten. Equal numbers have the same sign, digits
/// and exponent, wherever the point was.
#[derive(Debug)]
pub(crate) struct Numeral<'a> {
    /// Never set for zero: `-0` is `0`.
    pub negative: bool,
    /// The significant digits before the point and those after it. Together they neither begin nor end with a
    /// zero; zero has none.
    whole: &'a str,
    fraction: &'a str,
    pub exponent: Exponent,
}

/// The power of ten that the last significant digit counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exponent {
    /// At most 18 digits: what can be counted with.
    Near(i64),
    /// 19 digits and more. No quantity and no instant lies there, but such a number is still equal to itself.
    Far { negative: bool, digits: String },
}

/// A number that takes more digits is written with an exponent.
const PLAIN_DIGITS_MAX: usize = 64;

const NEAR_DIGITS_MAX: usize = 18;
const NEAR_END: u64 = 1_000_000_000_000_000_000;

impl<'a> Numeral<'a> {
    /// Reads the text of a JSON number, by JSON's own grammar and no other.
    pub(crate) fn parse(text: &'a str) -> Option<Numeral<'a>> {
        let (negative, rest) = split_sign(text);
        let (whole, rest) = split_digits(rest)?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest)?,
            None => ("", rest),
        };
        let power = Power::parse(rest)?;
        let (whole, fraction, shift) = significant(whole, fraction);
        if whole.is_empty() && fraction.is_empty() {
            return Some(Numeral { negative: false, whole, fraction, exponent: Exponent::Near(0) });
        }
        Some(Numeral { negative, whole, fraction, exponent: power.plus(shift) })
    }

    pub(crate) fn digits_count(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// The significant digits, first to last.
    pub(crate) fn digits(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    /// The number written out without its sign, unless that takes too many digits.
    fn plain_digits(&self, power: i64) -> Option<String> {
        let count = self.digits_count() as i64;
        let whole = (count + power).max(1);
        if whole + (-power).max(0) > PLAIN_DIGITS_MAX as i64 {
            return None;
        }
        let zeros = |count: i64| std::iter::repeat_n(b'0', count.max(0) as usize);
        let mut out = String::new();
        for (place, digit) in
            zeros(whole - count - power).chain(self.digits()).chain(zeros(power)).enumerate()
        {
            if place as i64 == whole {
                out.push('.');
            }
            out.push(char::from(digit));
        }
        Some(out)
    }

    /// The number times 10^`places`, without its sign, if that is a whole number of at most `digits_max`
    /// digits.
    pub(crate) fn scaled(&self, places: i64, digits_max: i64) -> Scaled {
        if self.digits_count() == 0 {
            return Scaled::Whole(0);
        }
        let power = match self.exponent {
            Exponent::Near(power) => power + places,
            Exponent::Far { negative: true, .. } => return Scaled::Broken,
            Exponent::Far { negative: false, .. } => return Scaled::Large,
        };
        if power < 0 {
            return Scaled::Broken;
        }
        if power + self.digits_count() as i64 > digits_max {
            return Scaled::Large;
        }
        let digits = self.digits().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        Scaled::Whole(digits * 10u128.pow(power as u32))
    }
}

/// A number times a power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scaled {
    Whole(u128),
    /// It isn't whole.
    Broken,
    /// It is whole, and has too many digits.
    Large,
}

/// The one text of a number's value, whatever its spelling: plain where that is short, else the significant
/// digits and the power of ten of the last one. `None` if it is no number.
pub(crate) fn one_text(text: &str) -> Option<Cow<'_, str>> {
    if is_the_one(text) {
        return Some(Cow::Borrowed(text));
    }
    let numeral = Numeral::parse(text)?;
    let sign = if numeral.negative { "-" } else { "" };
    let far = |minus: &str, power: &str| {
        let digits: String = numeral.digits().map(char::from).collect();
        format!("{sign}{digits}e{minus}{power}")
    };
    Some(Cow::Owned(match &numeral.exponent {
        Exponent::Near(power) => match numeral.plain_digits(*power) {
            Some(plain) => format!("{sign}{plain}"),
            None => far("", &power.to_string()),
        },
        Exponent::Far { negative, digits } => far(if *negative { "-" } else { "" }, digits),
    }))
}

/// Whether a number is already written in the one way. Most are, and needn't be taken apart.
fn is_the_one(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits.len() <= PLAIN_DIGITS_MAX
        && is_plain(whole)
        && is_plain(fraction)
        && !fraction.ends_with('0')
        && (whole == "0" || !whole.starts_with('0'))
        && text != "-0"
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

/// One digit or more, and what follows them.
fn split_digits(text: &str) -> Option<(&str, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 { None } else { Some(text.split_at(count)) }
}

/// The digits without the zeros at either end, and the power of ten that the last one left counts.
fn significant<'a>(whole: &'a str, fraction: &'a str) -> (&'a str, &'a str, i64) {
    let first = whole.trim_start_matches('0');
    let last = fraction.trim_end_matches('0');
    if last.is_empty() {
        let kept = first.trim_end_matches('0');
        return (kept, "", (first.len() - kept.len()) as i64);
    }
    let power = -(last.len() as i64);
    (first, if first.is_empty() { last.trim_start_matches('0') } else { last }, power)
}

/// An exponent as it is written, without the zeros in front.
struct Power<'a> {
    negative: bool,
    digits: &'a str,
}

impl<'a> Power<'a> {
    /// Reads what stands behind the fraction: nothing, or an exponent and nothing more.
    fn parse(text: &'a str) -> Option<Power<'a>> {
        if text.is_empty() {
            return Some(Power { negative: false, digits: "" });
        }
        let text = text.strip_prefix(['e', 'E'])?;
        let (negative, text) = match text.strip_prefix('+') {
            Some(rest) => (false, rest),
            None => split_sign(text),
        };
        let (digits, rest) = split_digits(text)?;
        if !rest.is_empty() {
            return None;
        }
        Some(Power { negative, digits: digits.trim_start_matches('0') })
    }

    fn plus(&self, shift: i64) -> Exponent {
        if self.digits.len() > NEAR_DIGITS_MAX {
            return self.far_plus(shift);
        }
        let power = self.digits.bytes().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        let power = shift + if self.negative { -power } else { power };
        if power.unsigned_abs() < NEAR_END {
            return Exponent::Near(power);
        }
        Exponent::Far { negative: power < 0, digits: power.unsigned_abs().to_string() }
    }

    // The exponent has more digits than the text of any shift, so its sign stays, and at most a 1 is carried
    // out.
    fn far_plus(&self, shift: i64) -> Exponent {
        let mut digits = self.digits.as_bytes().to_vec();
        let mut carry = if self.negative { -shift } else { shift };
        for digit in digits.iter_mut().rev() {
            if carry == 0 {
                break;
            }
            let sum = i64::from(*digit - b'0') + carry;
            *digit = b'0' + sum.rem_euclid(10) as u8;
            carry = sum.div_euclid(10);
        }
        if carry == 1 {
            digits.insert(0, b'1');
        }
        let digits: String = digits.into_iter().map(char::from).collect();
        let digits = digits.trim_start_matches('0');
        if digits.len() > NEAR_DIGITS_MAX {
            return Exponent::Far { negative: self.negative, digits: digits.to_owned() };
        }
        Power { negative: self.negative, digits }.plus(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, negative: bool, digits: &str, power: i64) {
        let numeral = Numeral::parse(text).unwrap_or_else(|| panic!("{text} is a number"));
        assert_eq!(numeral.negative, negative, "{text}");
        assert_eq!(String::from_utf8(numeral.digits().collect()).unwrap(), digits, "{text}");
        assert_eq!(numeral.exponent, Exponent::Near(power), "{text}");
    }

    #[test]
    fn spellings_of_one_number_are_one_numeral() {
        for text in ["1000", "1e3", "1000.0", "1.0E+3", "0.1e4", "10000e-1", "0.001e06", "1000.000e-0"] {
            check(text, false, "1", 3);
        }
        for text in ["-0.0120", "-12e-3", "-0.00012e2", "-1.2e-0002"] {
            check(text, true, "12", -3);
        }
        check("10.01", false, "1001", -2);
        check("100200", false, "1002", 2);
    }

    #[test]
    fn zero_has_no_digits_no_sign_and_no_exponent() {
        for text in ["0", "-0", "0.000", "-0.0e5", "0e999999999999999999999999", "0E-7"] {
            check(text, false, "", 0);
        }
    }

    #[test]
    fn what_json_does_not_call_a_number_is_none() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1e1.5",
            "1_000",
            " 1",
            "1 ",
            "NaN",
            "Infinity",
            "0x10",
            "--1",
            "1e--1",
            "1.2.3",
            "\u{2212}1",
            "1e5x",
            "٣",
        ] {
            assert!(Numeral::parse(text).is_none(), "{text:?}");
        }
    }

    fn check_equal(one: &str, other: &str) {
        assert_eq!(value_of(one), value_of(other), "{one} is {other}");
    }

    fn value_of(text: &str) -> (bool, Vec<u8>, Exponent) {
        let numeral = Numeral::parse(text).unwrap();
        (numeral.negative, numeral.digits().collect(), numeral.exponent)
    }

    #[test]
    fn exponents_past_counting_are_still_compared_by_value() {
        check_equal("1e1000000000000000000000", "10e999999999999999999999");
        check_equal("1.5e-1000000000000000000000", "0.15e-999999999999999999999");
        check_equal("15e-1000000000000000000000", "1.5e-0999999999999999999999");
        check_equal("100e999999999999999998", "1e1000000000000000000");
        check_equal("0.01e1000000000000000001", "1e999999999999999999");
        check_equal("0.01e1000000000000000001", "1.0e999999999999999999");
        check_equal("100e-1000000000000000001", "1e-999999999999999999");
        for other in ["1e1000000000000000000001", "1e-1000000000000000000000", "-1e1000000000000000000000"] {
            assert_ne!(value_of("1e1000000000000000000000"), value_of(other), "{other}");
        }
    }

    #[test]
    fn scaling_tells_broken_from_large() {
        let scaled = |text| Numeral::parse(text).unwrap().scaled(2, 5);
        assert_eq!(scaled("999.99"), Scaled::Whole(99_999));
        assert_eq!(scaled("1000"), Scaled::Large);
        assert_eq!(scaled("0.001"), Scaled::Broken);
        assert_eq!(scaled("1e999999999999999999"), Scaled::Large);
        assert_eq!(scaled("1e-999999999999999999"), Scaled::Broken);
        assert_eq!(scaled("1e9999999999999999999"), Scaled::Large);
        assert_eq!(scaled("1e-9999999999999999999"), Scaled::Broken);
        assert_eq!(scaled("0e9999999999999999999"), Scaled::Whole(0));
    }
}
