//! Exact fractions: what stands between a metered value and the one rounding to the minor unit.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{CheckedAdd, CheckedDiv, CheckedMul, CheckedSub, Signed, ToPrimitive, Zero};

use super::period::Share;
use super::quantity::{Quantity, write_decimal};

/// A rational number of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact(Number);

/// What fits 128 bits is held in them, and only what doesn't isn't: equal numbers look alike.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Number {
    Small(Ratio<i128>),
    Big(Ratio<BigInt>),
}

use Number::{Big, Small};

impl Exact {
    pub fn zero() -> Exact {
        Exact::whole(0)
    }

    pub fn whole(number: i128) -> Exact {
        match number {
            i128::MIN => Exact::of(Ratio::from_integer(BigInt::from(number))),
            _ => Exact(Small(Ratio::from_integer(number))),
        }
    }

    pub fn fraction(part: BigInt, whole: BigInt) -> Exact {
        Exact::of(Ratio::new(part, whole))
    }

    pub fn of_share(share: Share) -> Exact {
        Exact(Small(Ratio::new(share.part.into(), share.whole.into())))
    }

    fn of(ratio: Ratio<BigInt>) -> Exact {
        match (fitting(ratio.numer()), fitting(ratio.denom())) {
            (Some(part), Some(whole)) => Exact(Small(Ratio::new_raw(part, whole))),
            _ => Exact(Big(ratio)),
        }
    }

    fn big(&self) -> Ratio<BigInt> {
        match &self.0 {
            Small(ratio) => Ratio::new_raw(BigInt::from(*ratio.numer()), BigInt::from(*ratio.denom())),
            Big(ratio) => ratio.clone(),
        }
    }

    /// Reckons in 128 bits where that goes.
    fn with(
        &self,
        other: &Exact,
        small: impl Fn(&Ratio<i128>, &Ratio<i128>) -> Option<Ratio<i128>>,
        big: impl Fn(Ratio<BigInt>, Ratio<BigInt>) -> Ratio<BigInt>,
    ) -> Exact {
        if let (Small(one), Small(two)) = (&self.0, &other.0)
            && let Some(found) = small(one, two)
            && *found.numer() != i128::MIN
        {
            return Exact(Small(found));
        }
        Exact::of(big(self.big(), other.big()))
    }

    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Small(ratio) => ratio.is_negative(),
            Big(ratio) => ratio.is_negative(),
        }
    }

    pub fn is_zero(&self) -> bool {
        matches!(&self.0, Small(ratio) if ratio.is_zero())
    }

    pub fn plus(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.checked_add(two), |one, two| one + two)
    }

    pub fn minus(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.checked_sub(two), |one, two| one - two)
    }

    pub fn times(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.checked_mul(two), |one, two| one * two)
    }

    pub fn divided_by(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.checked_div(two), |one, two| one / two)
    }

    /// The next whole number that isn't below this one.
    pub fn ceiling(&self) -> Exact {
        Exact::of(self.big().ceil())
    }

    pub fn at_least_zero(self) -> Exact {
        if self.is_negative() { Exact::zero() } else { self }
    }

    /// The next whole number that isn't above this one.
    pub fn floor(&self) -> Exact {
        Exact::of(self.big().floor())
    }

    /// Moves the point: times ten to that power.
    pub fn shifted(&self, digits: i32) -> Exact {
        let power = match 10i128.checked_pow(digits.unsigned_abs()) {
            Some(power) => Exact::whole(power),
            None => Exact::of(Ratio::from_integer(BigInt::from(10u8).pow(digits.unsigned_abs()))),
        };
        if digits >= 0 { self.times(&power) } else { self.divided_by(&power) }
    }

    /// The nearest whole number, half away from zero (R5). What doesn't fit 128 bits stays at their end.
    pub fn rounded(&self) -> i128 {
        let limit = if self.is_negative() { i128::MIN } else { i128::MAX };
        match self.nearest() {
            Ok(whole) => whole,
            Err(whole) => whole.to_i128().unwrap_or(limit),
        }
    }

    /// The nearest whole number, half away from zero.
    fn nearest(&self) -> Result<i128, BigInt> {
        if let Small(ratio) = &self.0
            && let Some(whole) = nearest_small(*ratio.numer(), *ratio.denom())
        {
            return Ok(whole);
        }
        let ratio = self.big();
        let doubled = ratio.numer().abs() * 2u8 + ratio.denom();
        let magnitude = doubled.div_floor(&(ratio.denom() * 2u8));
        Err(if self.is_negative() { -magnitude } else { magnitude })
    }

    /// Appends the number as a decimal, rounded to twelve places for display (R3).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self.shifted(Quantity::FRACTION_DIGITS as i32).nearest() {
            Ok(scaled) => write_decimal(out, scaled),
            Err(scaled) => match scaled.to_i128() {
                Some(scaled) => write_decimal(out, scaled),
                None => write_long_decimal(out, &scaled),
            },
        }
    }

    /// Numerator and denominator as text, to be kept.
    pub fn to_text(&self) -> String {
        match &self.0 {
            Small(ratio) => ratio.to_string(),
            Big(ratio) => ratio.to_string(),
        }
    }

    pub fn from_text(text: &str) -> Option<Exact> {
        text.parse().ok().map(Exact::of)
    }
}

/// The smallest number is left out: its magnitude doesn't fit.
fn fitting(number: &BigInt) -> Option<i128> {
    number.to_i128().filter(|number| *number != i128::MIN)
}

fn nearest_small(part: i128, whole: i128) -> Option<i128> {
    if whole == 1 {
        return Some(part);
    }
    let doubled = part.checked_abs()?.checked_mul(2)?.checked_add(whole)?;
    let magnitude = doubled / whole.checked_mul(2)?;
    Some(if part < 0 { -magnitude } else { magnitude })
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> Ordering {
        match (&self.0, &other.0) {
            (Small(one), Small(two)) => one.cmp(two),
            _ => self.big().cmp(&other.big()),
        }
    }
}

/// Adds amounts up. What doesn't fit 128 bits stays at their end.
pub fn add_up(amounts: impl IntoIterator<Item = i128>) -> i128 {
    amounts.into_iter().fold(0, i128::saturating_add)
}

impl From<Quantity> for Exact {
    fn from(quantity: Quantity) -> Exact {
        match quantity.0 {
            // Its magnitude doesn't fit.
            i128::MIN => Exact::fraction(BigInt::from(quantity.0), BigInt::from(Quantity::ONE.0)),
            number => Exact(Small(Ratio::new(number, Quantity::ONE.0))),
        }
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
    rate.divided_by(&Exact::whole(100))
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
    fn what_outgrows_128_bits_goes_on_exactly() {
        let huge = Exact::whole(i128::MAX);
        let square = huge.times(&huge);
        assert_eq!(square.divided_by(&huge), huge);
        assert_eq!(square.minus(&square), Exact::zero());
        assert_eq!(square.rounded(), i128::MAX);
        assert_eq!(Exact::zero().minus(&square).rounded(), i128::MIN);
        assert!(square > huge && Exact::zero().minus(&square) < huge);
        assert_eq!(Exact::from_text(&square.to_text()), Some(square));
        let lowest = Exact::whole(-i128::MAX).minus(&Exact::whole(1));
        assert_eq!(lowest.rounded(), i128::MIN);
        assert_eq!(lowest.plus(&Exact::whole(1)), Exact::whole(-i128::MAX));
        assert!(Exact::from(Quantity(i128::MIN)).times(&Exact::whole(2)).is_negative());
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
