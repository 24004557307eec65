//! Exact fractions: what stands between a metered value and the one rounding to the minor unit.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::period::Share;
use super::quantity::{Quantity, write_decimal};

/// A rational number of any size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(Ratio<BigInt>);

impl Exact {
    pub fn zero() -> Exact {
        Exact(Ratio::zero())
    }

    pub fn whole(number: i128) -> Exact {
        Exact(Ratio::from_integer(BigInt::from(number)))
    }

    pub fn fraction(part: BigInt, whole: BigInt) -> Exact {
        Exact(Ratio::new(part, whole))
    }

    pub fn of_share(share: Share) -> Exact {
        Exact::fraction(BigInt::from(share.part), BigInt::from(share.whole))
    }

    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn plus(&self, other: &Exact) -> Exact {
        Exact(&self.0 + &other.0)
    }

    pub fn minus(&self, other: &Exact) -> Exact {
        Exact(&self.0 - &other.0)
    }

    pub fn times(&self, other: &Exact) -> Exact {
        Exact(&self.0 * &other.0)
    }

    pub fn divided_by(&self, other: &Exact) -> Exact {
        Exact(&self.0 / &other.0)
    }

    /// The next whole number that isn't below this one.
    pub fn ceiling(&self) -> Exact {
        Exact(self.0.ceil())
    }

    pub fn at_least_zero(self) -> Exact {
        if self.is_negative() { Exact::zero() } else { self }
    }

    /// The next whole number that isn't above this one.
    pub fn floor(&self) -> Exact {
        Exact(self.0.floor())
    }

    /// Moves the point: times ten to that power.
    pub fn shifted(&self, digits: i32) -> Exact {
        let power = BigInt::from(10u8).pow(digits.unsigned_abs());
        Exact(if digits >= 0 { &self.0 * power } else { &self.0 / power })
    }

    /// The nearest whole number, half away from zero (R5). What doesn't fit 128 bits stays at their end.
    pub fn rounded(&self) -> i128 {
        let limit = if self.is_negative() { i128::MIN } else { i128::MAX };
        self.nearest().to_i128().unwrap_or(limit)
    }

    fn nearest(&self) -> BigInt {
        if self.0.is_integer() {
            return self.0.to_integer();
        }
        let doubled = self.0.numer().abs() * 2u8 + self.0.denom();
        let magnitude = doubled.div_floor(&(self.0.denom() * 2u8));
        if self.is_negative() { -magnitude } else { magnitude }
    }

    /// Appends the number as a decimal, rounded to twelve places for display (R3).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let scaled = self.shifted(Quantity::FRACTION_DIGITS as i32).nearest();
        match scaled.to_i128() {
            Some(scaled) => write_decimal(out, scaled),
            None => write_long_decimal(out, &scaled),
        }
    }

    /// Numerator and denominator as text, to be kept.
    pub fn to_text(&self) -> String {
        self.0.to_string()
    }

    pub fn from_text(text: &str) -> Option<Exact> {
        text.parse().ok().map(Exact)
    }
}

/// Adds amounts up. What doesn't fit 128 bits stays at their end.
pub fn add_up(amounts: impl IntoIterator<Item = i128>) -> i128 {
    amounts.into_iter().fold(0, i128::saturating_add)
}

impl From<Quantity> for Exact {
    fn from(quantity: Quantity) -> Exact {
        if quantity.0 % Quantity::ONE.0 == 0 {
            return Exact::whole(quantity.0 / Quantity::ONE.0);
        }
        Exact(Ratio::new(BigInt::from(quantity.0), BigInt::from(Quantity::ONE.0)))
    }
}

impl Default for Exact {
    fn default() -> Exact {
        Exact::zero()
    }
}

/// An amount that fits 128 bits in the minor unit needn't do so as a multiple of 10⁻¹².
fn write_long_decimal(out: &mut Vec<u8>, scaled: &BigInt) {
    let (whole, fraction) = scaled.div_rem(&BigInt::from(Quantity::ONE.0));
    out.extend_from_slice(whole.to_string().as_bytes());
    let digits = format!("{:012}", fraction.magnitude());
    let digits = digits.trim_end_matches('0');
    if !digits.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits.as_bytes());
    }
}

/// A percentage as a fraction of one.
pub fn percent(rate: &Exact) -> Exact {
    Exact(&rate.0 / (BigInt::one() * 100u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(part: i64, whole: i64) -> Exact {
        Exact::fraction(BigInt::from(part), BigInt::from(whole))
    }

    #[test]
    fn half_is_rounded_away_from_zero() {
        assert_eq!(
            [of(5, 2), of(-5, 2), of(49, 20), of(-7, 3), of(0, 1)].map(|n| n.rounded()),
            [3, -3, 2, -2, 0]
        );
    }

    #[test]
    fn twelve_places_are_shown() {
        let shown = |number: Exact| {
            let mut out = Vec::new();
            number.write_to(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(of(2, 3)), "0.666666666667");
        assert_eq!(shown(of(-1, 2_000_000_000_000)), "-0.000000000001");
        assert_eq!(shown(of(1, 3_000_000_000_000)), "0");
        assert_eq!(shown(of(-5, 2)), "-2.5");
        let long = Exact::whole(-(10_i128.pow(33)));
        assert_eq!(shown(long.clone()), "-1000000000000000000000000000000000");
        assert_eq!(shown(long.minus(&of(1, 4))), "-1000000000000000000000000000000000.25");
    }
}
