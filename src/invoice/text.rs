//! Numbers as JSON writes them: what their text is worth, without making it a float.
//!
//! `1000`, `1e3` and `1000.0` are one number. A [`Numeral`] is the form they share, read without ever expanding an
//! exponent: a text of ten bytes must not become a billion digits.

/// A number's value: its significant digits, times a power of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numeral<'a> {
    /// Never set for zero: `-0` is `0`.
    pub negative: bool,
    /// The significant digits before the point and those after it. Together they neither begin nor end with a zero;
    /// zero has none.
    pub whole: &'a str,
    pub fraction: &'a str,
    pub exponent: Exponent<'a>,
}

/// The power of ten that the last significant digit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exponent<'a> {
    Near(i64),
    /// An exponent of more than 18 digits, kept as written, and what the place of the point adds to it. Two spellings
    /// of such a number may count as different; no quantity and no instant lies there.
    Far {
        negative: bool,
        digits: &'a str,
        shift: i64,
    },
}

/// How many digits of an exponent are counted with.
const NEAR_DIGITS_MAX: usize = 18;

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
        let (far, power) = parse_power(rest)?;
        Some(Numeral::condense(negative, whole, fraction, far, power))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.digits_count() == 0
    }

    pub(crate) fn digits_count(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    /// The significant digits, first to last.
    pub(crate) fn digits(&self) -> impl Iterator<Item = u8> + 'a {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    /// The number times 10^`places`, without its sign, if that is a whole number below 10^`digits_max` (at most 38).
    pub(crate) fn scaled(&self, places: i64, digits_max: i64) -> Scaled {
        if self.is_zero() {
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
        if power > digits_max || self.digits_count() as i64 + power > digits_max {
            return Scaled::Large;
        }
        let digits = self.digits().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
        Scaled::Whole(digits * 10u128.pow(power as u32))
    }

    fn condense(
        negative: bool,
        whole: &'a str,
        fraction: &'a str,
        far: Option<(bool, &'a str)>,
        power: i64,
    ) -> Numeral<'a> {
        let mut shift = -(fraction.len() as i64);
        let mut last = fraction.trim_end_matches('0');
        shift += (fraction.len() - last.len()) as i64;
        let mut first = whole.trim_start_matches('0');
        if first.is_empty() {
            last = last.trim_start_matches('0');
        }
        if last.is_empty() {
            let all = first.len();
            first = first.trim_end_matches('0');
            shift += (all - first.len()) as i64;
        }
        if first.is_empty() && last.is_empty() {
            return Numeral { negative: false, whole: "", fraction: "", exponent: Exponent::Near(0) };
        }
        let exponent = match far {
            None => Exponent::Near(power + shift),
            Some((negative, digits)) => Exponent::Far { negative, digits, shift },
        };
        Numeral { negative, whole: first, fraction: last, exponent }
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

/// What stands behind the fraction: nothing, or an exponent and nothing more.
fn parse_power(text: &str) -> Option<(Option<(bool, &str)>, i64)> {
    if text.is_empty() {
        return Some((None, 0));
    }
    let text = text.strip_prefix(['e', 'E'])?;
    let (negative, digits) = match text.strip_prefix('+') {
        Some(digits) => (false, digits),
        None => split_sign(text),
    };
    let (digits, rest) = split_digits(digits)?;
    if !rest.is_empty() {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > NEAR_DIGITS_MAX {
        return Some((Some((negative, digits)), 0));
    }
    let power = digits.bytes().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some((None, if negative { -power } else { power }))
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
            assert_eq!(Numeral::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_exponent_past_counting_is_kept_as_written() {
        let far = "1".repeat(40);
        for (text, minus) in [(format!("1.50e{far}"), false), (format!("15e-00{far}"), true)] {
            let numeral = Numeral::parse(&text).unwrap();
            let Exponent::Far { negative, digits, .. } = numeral.exponent else { panic!("{text}") };
            assert_eq!((negative, digits), (minus, far.as_str()));
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
