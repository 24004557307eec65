//! Exact decimal quantities, as usage carries them and prices are written.

/// A decimal with up to twelve fraction digits, held as a whole number of 10⁻¹².
///
/// One reading of usage has at most 15 integer digits, so 10¹¹ of them add up before 128 bits are full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(pub i128);

impl Quantity {
    pub const ONE: Quantity = Quantity(1_000_000_000_000);
    pub const FRACTION_DIGITS: u32 = 12;
}
