//! What is counted: billable metrics.

use super::fault::{Fault, Place};
use super::json::Json;
use crate::invoice::quantity::Quantity;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub code: String,
    pub name: Option<String>,
    pub aggregation: Aggregation,
    /// The property that is aggregated; a count reads none.
    pub field: Option<String>,
    pub rounding: Option<Rounding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    Count,
    Sum,
    Max,
    UniqueCount,
    Latest,
    WeightedSum,
}

/// How a metric's value is rounded before it is priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    pub direction: Direction,
    /// Fraction digits that stay; below 0 whole tens, hundreds and so on.
    pub digits: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    HalfUp,
    Up,
    Down,
}

impl Aggregation {
    fn named(name: &str) -> Option<Aggregation> {
        match name {
            "count_agg" => Some(Aggregation::Count),
            "sum_agg" => Some(Aggregation::Sum),
            "max_agg" => Some(Aggregation::Max),
            "unique_count_agg" => Some(Aggregation::UniqueCount),
            "latest_agg" => Some(Aggregation::Latest),
            "weighted_sum_agg" => Some(Aggregation::WeightedSum),
            _ => None,
        }
    }
}

impl Metric {
    pub fn read(json: &Json) -> Result<Metric, Fault> {
        let place = Place::root(json);
        let code = place.code("code")?;
        let name = place.text("name")?;
        let aggregation = place.required("aggregation_type", |value| Aggregation::named(value.as_text()?))?;
        let field = match aggregation {
            Aggregation::Count => place.text("field_name")?,
            _ => Some(place.code("field_name")?),
        };
        // A metric that carries over from period to period doesn't exist here: it must not pass for one that doesn't.
        place.optional("recurring", |value| (!value.as_bool()?).then_some(()))?;
        let direction = place.optional("rounding_function", |value| match value.as_text()? {
            "round" => Some(Direction::HalfUp),
            "ceil" => Some(Direction::Up),
            "floor" => Some(Direction::Down),
            _ => None,
        })?;
        let digits = place.optional("rounding_precision", |value| {
            i32::try_from(value.as_integer()?).ok().filter(|digits| (-15..=12).contains(digits))
        })?;
        let rounding = direction.map(|direction| Rounding { direction, digits: digits.unwrap_or(0) });
        Ok(Metric { code, name, aggregation, field, rounding })
    }

    /// What can't change under the same code (R101), named by its pointer.
    pub fn immutable_change(&self, before: &Metric) -> Option<String> {
        if self.aggregation != before.aggregation {
            return Some("/aggregation_type".to_owned());
        }
        (self.field != before.field).then(|| "/field_name".to_owned())
    }
}

impl Rounding {
    /// Rounds a whole number of 10⁻¹² in its direction; half up is half away from zero (R5).
    pub fn apply(self, value: Quantity) -> Quantity {
        let dropped = Quantity::FRACTION_DIGITS as i32 - self.digits;
        if dropped <= 0 {
            return value;
        }
        let unit = 10i128.pow(dropped as u32);
        let below = value.0.div_euclid(unit) * unit;
        let rest = value.0 - below;
        let up = match self.direction {
            Direction::Down => false,
            Direction::Up => rest > 0,
            Direction::HalfUp => rest * 2 > unit || (rest * 2 == unit && value.0 >= 0),
        };
        Quantity(if up { below + unit } else { below })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(direction: Direction, digits: i32, text: &str) -> String {
        Rounding { direction, digits }.apply(Quantity::parse_text(text).unwrap()).to_string()
    }

    #[test]
    fn half_up_is_half_away_from_zero() {
        assert_eq!(rounded(Direction::HalfUp, 2, "2.345"), "2.35");
        assert_eq!(rounded(Direction::HalfUp, 2, "-2.345"), "-2.35");
        assert_eq!(rounded(Direction::HalfUp, 2, "-2.344"), "-2.34");
        assert_eq!(rounded(Direction::HalfUp, -2, "150"), "200");
        assert_eq!(rounded(Direction::HalfUp, 0, "0.4"), "0");
    }

    #[test]
    fn up_and_down_follow_the_number_line() {
        assert_eq!(rounded(Direction::Up, 0, "1.000000000001"), "2");
        assert_eq!(rounded(Direction::Up, 0, "-1.5"), "-1");
        assert_eq!(rounded(Direction::Down, 0, "-1.5"), "-2");
        assert_eq!(rounded(Direction::Down, 15, "1.5"), "1.5");
    }
}
