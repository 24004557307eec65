//! Exact decimal quantities, as usage carries them and prices are written.

use std::fmt;

use super::text::{Numeral, Scaled};

/// A decimal with up to twelve fraction digits, held as a whole number of 10⁻¹².
///
/// Eight bytes are alignment enough: with sixteen a bucket would be a quarter larger.
///
/// One reading of usage has at most 15 integer digits, so 10¹¹ of them add up before 128 bits are full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(8))]
pub struct Quantity(pub i128);

const TEXT_BYTES_MAX: usize = 64;
const WHOLE_DIGITS_MAX: usize = 15;
const PRICE_WHOLE_DIGITS_MAX: u32 = 12;

impl Quantity {
    pub const ONE: Quantity = Quantity(1_000_000_000_000);
    pub const FRACTION_DIGITS: u32 = 12;

    /// Reads a decimal string (R54): digits, a point only with digits after it, `-` the only sign, no
    /// exponent.
    pub fn parse_text(text: &str) -> Option<Quantity> {
        let bytes = text.as_bytes();
        if bytes.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (negative, bytes) = match bytes.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, bytes),
        };
        let point = bytes.iter().position(|&byte| byte == b'.');
        let magnitude = match point {
            None => whole_of(bytes)?,
            Some(at) => whole_of(&bytes[..at])? + fraction_of(&bytes[at + 1..])?,
        };
        Some(Quantity(if negative { -magnitude } else { magnitude }))
    }

    /// Reads the text of a JSON number, which may have an exponent. The range is that of a decimal string, by
    /// value.
    pub fn parse_number(text: &str) -> Option<Quantity> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let numeral = Numeral::parse(text)?;
        let digits_max = WHOLE_DIGITS_MAX as i64 + i64::from(Quantity::FRACTION_DIGITS);
        let Scaled::Whole(magnitude) = numeral.scaled(i64::from(Quantity::FRACTION_DIGITS), digits_max)
        else {
            return None;
        };
        let magnitude = magnitude as i128;
        Some(Quantity(if numeral.negative { -magnitude } else { magnitude }))
    }

    /// Reads a price or a rate (R106): a decimal that isn't negative, with at most 12 integer digits.
    pub fn parse_price(text: &str, is_number: bool) -> Option<Quantity> {
        let price = if is_number { Quantity::parse_number(text)? } else { Quantity::parse_text(text)? };
        let limit = Quantity::ONE.0 * 10i128.pow(PRICE_WHOLE_DIGITS_MAX);
        (0..limit).contains(&{ price.0 }).then_some(price)
    }

    /// Appends the plain decimal (R2).
    pub fn write_to(self, out: &mut Vec<u8>) {
        write_decimal(out, self.0);
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Plain::of(self.0);
        f.write_str(std::str::from_utf8(plain.bytes()).expect("a decimal is written in ASCII"))
    }
}

/// Appends `scaled` × 10⁻¹² as a plain decimal (R2): no exponent, no zeros that end a fraction, `0` never
/// `-0`.
pub fn write_decimal(out: &mut Vec<u8>, scaled: i128) {
    out.extend_from_slice(Plain::of(scaled).bytes());
}

/// Appends a whole number.
pub fn write_whole(out: &mut Vec<u8>, number: i128) {
    let Ok(magnitude) = u64::try_from(number.unsigned_abs()) else {
        return out.extend_from_slice(number.to_string().as_bytes());
    };
    let mut plain = Plain { room: [0; 42], from: 42 };
    plain.put_number(magnitude, 1);
    if number < 0 {
        plain.put(b'-');
    }
    out.extend_from_slice(plain.bytes());
}

/// The digits before the point, as a multiple of 10⁻¹².
fn whole_of(digits: &[u8]) -> Option<i128> {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let significant = &digits[zeros..];
    if digits.is_empty() || significant.len() > WHOLE_DIGITS_MAX {
        return None;
    }
    Some(i128::from(count(significant)?) * Quantity::ONE.0)
}

/// The digits after the point, as a multiple of 10⁻¹².
fn fraction_of(digits: &[u8]) -> Option<i128> {
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    let significant = &digits[..digits.len() - zeros];
    let missing = (Quantity::FRACTION_DIGITS as usize).checked_sub(significant.len())?;
    if digits.is_empty() {
        return None;
    }
    Some(i128::from(count(significant)? * 10u64.pow(missing as u32)))
}

/// The number that at most 18 digits make.
fn count(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0u64, |sum, &digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// A decimal as it is written: 39 digits, a point, a sign, and a zero before the point at most.
struct Plain {
    room: [u8; 42],
    from: usize,
}

impl Plain {
    fn of(scaled: i128) -> Plain {
        const CHUNK: u128 = 1_000_000_000_000_000_000;
        let magnitude = scaled.unsigned_abs();
        let mut plain = Plain { room: [0; 42], from: 42 };
        plain.put_fraction((magnitude % Quantity::ONE.0 as u128) as u64);
        let whole = magnitude / Quantity::ONE.0 as u128;
        match u64::try_from(whole) {
            Ok(whole) => plain.put_number(whole, 1),
            Err(_) => {
                plain.put_number((whole % CHUNK) as u64, 18);
                plain.put_number((whole / CHUNK) as u64, 1);
            }
        }
        if scaled < 0 {
            plain.put(b'-');
        }
        plain
    }

    fn bytes(&self) -> &[u8] {
        &self.room[self.from..]
    }

    fn put_fraction(&mut self, mut fraction: u64) {
        if fraction == 0 {
            return;
        }
        let mut places = Quantity::FRACTION_DIGITS;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            places -= 1;
        }
        self.put_number(fraction, places);
        self.put(b'.');
    }

    /// Puts `number` before what is already there, with zeros in front up to `places`.
    fn put_number(&mut self, mut number: u64, places: u32) {
        let mut put = 0;
        while number > 0 || put < places {
            self.put(b'0' + (number % 10) as u8);
            number /= 10;
            put += 1;
        }
    }

    fn put(&mut self, byte: u8) {
        self.from -= 1;
        self.room[self.from] = byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_text(text: &str, written: Option<&str>) {
        let read = Quantity::parse_text(text).map(|quantity| quantity.to_string());
        assert_eq!(read.as_deref(), written, "{text:?} as text");
    }

    fn check_number(text: &str, written: Option<&str>) {
        let read = Quantity::parse_number(text).map(|quantity| quantity.to_string());
        assert_eq!(read.as_deref(), written, "{text:?} as number");
    }

    #[test]
    fn plain_decimals_are_read_and_written_back() {
        for (text, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.000", "0"),
            ("12.34", "12.34"),
            ("-0.5", "-0.5"),
            ("007", "7"),
            ("1.500", "1.5"),
            ("999999999999999.999999999999", "999999999999999.999999999999"),
            ("-999999999999999.999999999999", "-999999999999999.999999999999"),
            ("0.000000000001", "0.000000000001"),
        ] {
            check_text(text, Some(written));
        }
    }

    #[test]
    fn leading_zeros_and_zeros_that_end_a_fraction_are_free_up_to_64_characters() {
        check_text(&format!("{}1.5{}", "0".repeat(40), "0".repeat(21)), Some("1.5"));
        check_text(&format!("{}1.5{}", "0".repeat(40), "0".repeat(22)), None);
        check_text(&format!("-{}1.5{}", "0".repeat(40), "0".repeat(20)), Some("-1.5"));
        check_number(&format!("1.5{}", "0".repeat(61)), Some("1.5"));
        check_number(&format!("1.5{}", "0".repeat(62)), None);
    }

    #[test]
    fn the_sixteenth_integer_digit_and_the_thirteenth_fraction_digit_are_out_of_range() {
        check_text("1000000000000000", None);
        check_text("0.1234567890123", None);
        check_number("1e15", None);
        check_number("1e14", Some("100000000000000"));
        check_number("1e-12", Some("0.000000000001"));
        check_number("1e-13", None);
        check_number("10e-13", Some("0.000000000001"));
        check_number("0.0000001234567890120e7", Some("1.23456789012"));
    }

    #[test]
    fn a_text_has_no_exponent_no_plus_no_blank_and_no_bare_point() {
        for text in [
            "",
            "-",
            "--1",
            "+1",
            "+5",
            " 1",
            "1 ",
            "1.",
            ".5",
            ".",
            "-.5",
            "1e5",
            "1E5",
            "1_000",
            "1,000",
            "0x10",
            "NaN",
            "nan",
            "Infinity",
            "1.2.3",
            "1.-2",
            "\u{2212}1",
            "٣",
            "1\0",
            "five",
            "1.5\n",
        ] {
            check_text(text, None);
        }
    }

    #[test]
    fn a_number_may_have_an_exponent_but_keeps_to_json() {
        check_number("1e3", Some("1000"));
        check_number("5E-1", Some("0.5"));
        check_number("1.5e+2", Some("150"));
        check_number("-0e5", Some("0"));
        for text in ["01", "+1", "1.", ".5", "1e", "", "-", "NaN", "1e400", "1e-400", "1e-28"] {
            check_number(text, None);
        }
    }

    #[test]
    fn a_huge_exponent_is_refused_at_once() {
        for text in
            ["1e999999999", "1e-999999999", "1e99999999999999999999999999", "-1e-99999999999999999999999999"]
        {
            check_number(text, None);
        }
        check_number("0e999999999999999999999999999", Some("0"));
    }

    #[test]
    fn nothing_is_rounded_on_the_way_in() {
        check_number("9007199254740993", None);
        check_number("900719925474099.3", Some("900719925474099.3"));
        check_text(&format!("0.{}1", "0".repeat(28)), None);
        check_number("0.1", Some("0.1"));
    }

    #[test]
    fn a_price_is_not_negative_and_has_twelve_integer_digits() {
        for (text, is_number, read) in [
            ("999999999999.999999999999", false, true),
            ("1000000000000", false, false),
            ("1e12", true, false),
            ("1e11", true, true),
            ("1e11", false, false),
            ("-0", false, true),
            ("-0.01", false, false),
            ("0", true, true),
        ] {
            assert_eq!(Quantity::parse_price(text, is_number).is_some(), read, "{text}");
        }
    }

    #[test]
    fn the_ends_of_128_bits_can_be_written() {
        assert_eq!(Quantity(i128::MAX).to_string(), "170141183460469231731687303.715884105727");
        assert_eq!(Quantity(i128::MIN).to_string(), "-170141183460469231731687303.715884105728");
        assert_eq!(Quantity(i128::from(u64::MAX) * Quantity::ONE.0).to_string(), "18446744073709551615");
        assert_eq!(Quantity(10i128.pow(37)).to_string(), "10000000000000000000000000");
    }

    proptest! {
        #[test]
        fn writing_then_reading_is_the_identity(
            scaled in -(10i128.pow(27) - 1)..10i128.pow(27),
            zeros in 0u32..27,
        ) {
            let quantity = Quantity(scaled / 10i128.pow(zeros) * 10i128.pow(zeros));
            let written = quantity.to_string();
            prop_assert_eq!(Quantity::parse_text(&written), Some(quantity));
            prop_assert_eq!(Quantity::parse_number(&written), Some(quantity));
            let mut bytes = Vec::new();
            quantity.write_to(&mut bytes);
            prop_assert_eq!(bytes, written.into_bytes());
        }

        #[test]
        fn moving_the_point_into_the_exponent_changes_nothing(scaled in -(10i128.pow(15))..10i128.pow(15)) {
            prop_assert_eq!(Quantity::parse_number(&format!("{scaled}e-12")), Some(Quantity(scaled)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,70}|[-+0-9.eE]{0,70}") {
            let (plain, number) = (Quantity::parse_text(&text), Quantity::parse_number(&text));
            if let (Some(plain), Some(number)) = (plain, number) {
                prop_assert_eq!(plain, number);
            }
        }
    }
}
