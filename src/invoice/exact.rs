//! Exact fractions: what stands between a metered value and the one rounding to the minor unit.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{Signed, ToPrimitive};

use super::period::Share;
use super::quantity::{Quantity, write_decimal};

/// A rational number of any size.
#[derive(Clone, Debug)]
pub struct Exact(Number);

/// What fits 128 bits is held in them, and only what doesn't isn't.
#[derive(Clone, Debug)]
enum Number {
    Small(Fraction),
    Big(Ratio<BigInt>),
}

use Number::{Big, Small};

/// A fraction that needn't be in lowest terms: to find those takes longer than everything else that is reckoned here, so
/// it is done where there would be no room otherwise. The part is never the smallest number, whose magnitude doesn't fit.
#[derive(Clone, Copy, Debug)]
struct Fraction {
    part: i128,
    /// Above nothing.
    whole: i128,
}

impl Fraction {
    fn new(part: Option<i128>, whole: Option<i128>) -> Option<Fraction> {
        Some(Fraction { part: part.filter(|part| *part != i128::MIN)?, whole: whole? })
    }

    fn reduced(self) -> Fraction {
        let common = self.part.gcd(&self.whole);
        Fraction { part: self.part / common, whole: self.whole / common }
    }

    fn plus(self, other: Fraction) -> Option<Fraction> {
        if self.whole == other.whole {
            return Fraction::new(self.part.checked_add(other.part), Some(self.whole));
        }
        let part = self.part.checked_mul(other.whole)?.checked_add(other.part.checked_mul(self.whole)?);
        Fraction::new(part, self.whole.checked_mul(other.whole))
    }

    fn negative(self) -> Fraction {
        Fraction { part: -self.part, ..self }
    }

    fn times(self, other: Fraction) -> Option<Fraction> {
        Fraction::new(self.part.checked_mul(other.part), self.whole.checked_mul(other.whole))
    }

    fn divided_by(self, other: Fraction) -> Option<Fraction> {
        let turned = Fraction { part: other.whole * other.part.signum(), whole: other.part.abs() };
        if turned.part == 0 { None } else { self.times(turned) }
    }

    /// The nearest whole number, half away from zero.
    fn nearest(self) -> Option<i128> {
        if self.whole == 1 {
            return Some(self.part);
        }
        let doubled = self.part.abs().checked_mul(2)?.checked_add(self.whole)?;
        let magnitude = doubled / self.whole.checked_mul(2)?;
        Some(if self.part < 0 { -magnitude } else { magnitude })
    }
}

impl Exact {
    pub fn zero() -> Exact {
        Exact::whole(0)
    }

    pub fn whole(number: i128) -> Exact {
        match number {
            i128::MIN => Exact(Big(Ratio::from_integer(BigInt::from(number)))),
            _ => Exact(Small(Fraction { part: number, whole: 1 })),
        }
    }

    pub fn fraction(part: BigInt, whole: BigInt) -> Exact {
        Exact::of(Ratio::new(part, whole))
    }

    pub fn of_share(share: Share) -> Exact {
        Exact(Small(Fraction { part: share.part.into(), whole: share.whole.into() }))
    }

    fn of(ratio: Ratio<BigInt>) -> Exact {
        match (fitting(ratio.numer()), fitting(ratio.denom())) {
            (Some(part), Some(whole)) => Exact(Small(Fraction { part, whole })),
            _ => Exact(Big(ratio)),
        }
    }

    fn big(&self) -> Ratio<BigInt> {
        match &self.0 {
            Small(small) => Ratio::new(BigInt::from(small.part), BigInt::from(small.whole)),
            Big(ratio) => ratio.clone(),
        }
    }

    /// Reckons in 128 bits where that goes.
    fn with(
        &self,
        other: &Exact,
        small: impl Fn(Fraction, Fraction) -> Option<Fraction>,
        big: impl Fn(Ratio<BigInt>, Ratio<BigInt>) -> Ratio<BigInt>,
    ) -> Exact {
        if let (Small(one), Small(two)) = (&self.0, &other.0)
            && let Some(found) = small(*one, *two).or_else(|| small(one.reduced(), two.reduced()))
        {
            return Exact(Small(found));
        }
        Exact::of(big(self.big(), other.big()))
    }

    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Small(small) => small.part < 0,
            Big(ratio) => ratio.is_negative(),
        }
    }

    pub fn is_zero(&self) -> bool {
        matches!(&self.0, Small(small) if small.part == 0)
    }

    pub fn plus(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.plus(two), |one, two| one + two)
    }

    pub fn minus(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.plus(two.negative()), |one, two| one - two)
    }

    pub fn times(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.times(two), |one, two| one * two)
    }

    pub fn divided_by(&self, other: &Exact) -> Exact {
        self.with(other, |one, two| one.divided_by(two), |one, two| one / two)
    }

    /// The next whole number that isn't below this one.
    pub fn ceiling(&self) -> Exact {
        match &self.0 {
            Small(small) => Exact::whole(-(-small.part).div_euclid(small.whole)),
            Big(ratio) => Exact::of(ratio.ceil()),
        }
    }

    pub fn at_least_zero(self) -> Exact {
        if self.is_negative() { Exact::zero() } else { self }
    }

    /// The next whole number that isn't above this one.
    pub fn floor(&self) -> Exact {
        match &self.0 {
            Small(small) => Exact::whole(small.part.div_euclid(small.whole)),
            Big(ratio) => Exact::of(ratio.floor()),
        }
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
        if let Small(small) = &self.0
            && let Some(whole) = small.nearest()
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
}

/// The smallest number is left out: its magnitude doesn't fit.
fn fitting(number: &BigInt) -> Option<i128> {
    number.to_i128().filter(|number| *number != i128::MIN)
}

impl PartialEq for Exact {
    fn eq(&self, other: &Exact) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Exact {}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> Ordering {
        if let (Small(one), Small(two)) = (&self.0, &other.0)
            && let (Some(left), Some(right)) =
                (one.part.checked_mul(two.whole), two.part.checked_mul(one.whole))
        {
            return left.cmp(&right);
        }
        self.big().cmp(&other.big())
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
            number => Exact(Small(Fraction { part: number, whole: Quantity::ONE.0 })),
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
    use proptest::prelude::*;

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

    /// Fractions of every size, many of them close to what 128 bits hold.
    fn any_fraction() -> impl Strategy<Value = (i128, i128)> {
        (any::<i128>(), 0u32..127, any::<i128>(), 0u32..127).prop_map(|(part, less, whole, smaller)| {
            (part >> less, (whole >> smaller).saturating_abs().max(1))
        })
    }

    proptest! {
        #[test]
        fn it_reckons_as_numbers_of_any_size_do(one in any_fraction(), two in any_fraction(), digits in -15i32..15) {
            let big = |(part, whole)| Ratio::new(BigInt::from(part), BigInt::from(whole));
            let exact = |(part, whole)| match part {
                i128::MIN => Exact::of(big((part, whole))),
                _ => Exact(Small(Fraction { part, whole })),
            };
            let ((a, b), (c, d)) = ((exact(one), exact(two)), (big(one), big(two)));
            prop_assert_eq!(a.plus(&b), Exact::of(&c + &d));
            prop_assert_eq!(a.minus(&b), Exact::of(&c - &d));
            prop_assert_eq!(a.times(&b), Exact::of(&c * &d));
            if !b.is_zero() {
                prop_assert_eq!(a.divided_by(&b), Exact::of(&c / &d));
            }
            prop_assert_eq!(a.ceiling(), Exact::of(c.ceil()));
            prop_assert_eq!(a.floor(), Exact::of(c.floor()));
            prop_assert_eq!(a.cmp(&b), c.cmp(&d));
            prop_assert_eq!((a.is_negative(), a.is_zero()), (c.is_negative(), c.numer().sign() == num_bigint::Sign::NoSign));
            let nearest = |exact: &Exact| exact.nearest().unwrap_or_else(|big| big.to_i128().unwrap_or(i128::MAX));
            prop_assert_eq!(nearest(&a), nearest(&Exact(Big(c.clone()))));
            let ten = Ratio::from_integer(BigInt::from(10u8).pow(digits.unsigned_abs()));
            prop_assert_eq!(a.shifted(digits), Exact::of(if digits < 0 { c / ten } else { c * ten }));
        }
    }
}
