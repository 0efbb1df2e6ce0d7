//! JSON numbers, compared by all their digits.

/// How a number that was subtracted may be off by its binary form.
const ROUNDING: f64 = 1e-9;

/// `±digits × 10^exponent`.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at either end: empty for zero.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `None`: `text` isn't a number, or its exponent has more than 64 bits.
    fn parse(text: &str) -> Option<Decimal> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if all.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_end_matches('0');
        let zeros = all.len() - digits.len();
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits: String::new(), exponent: 0 });
        }
        let exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        let exponent = exponent.checked_add(i64::try_from(zeros).ok()?)?;
        Some(Decimal { negative, digits: digits.to_owned(), exponent })
    }

    /// How often 10^`exponent` it is, if that is a whole number of no more than 38 digits.
    fn in_units_of(&self, exponent: i64) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let scale = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        let value = self.digits.parse::<i128>().ok()?.checked_mul(10i128.checked_pow(scale)?)?;
        Some(if self.negative { -value } else { value })
    }
}

/// Whether two JSON numbers are the same.
pub(super) fn are_equal(a: &str, b: &str) -> bool {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Whether two JSON numbers are at least `min` apart: exactly, as long as 38 digits hold both, else by double precision.
pub(super) fn differ_by(a: &str, b: &str, min: f64) -> bool {
    let exact = || {
        let numbers = [Decimal::parse(a)?, Decimal::parse(b)?, Decimal::parse(&min.to_string())?];
        let unit = numbers.iter().filter(|number| !number.digits.is_empty()).map(|number| number.exponent).min()?;
        let [a, b, min] = numbers.map(|number| number.in_units_of(unit));
        Some(a?.checked_sub(b?)?.checked_abs()? >= min?)
    };
    exact().unwrap_or_else(|| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) if x.is_finite() && y.is_finite() => (x - y).abs() >= min * (1.0 - ROUNDING),
        _ => !are_equal(a, b),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spelling_makes_no_difference() {
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("100", "0.001e+5"),
            ("-0", "0.00"),
            ("0e999999999999999999999", "0"),
            ("1E400", "10e399"),
            ("1e999999999999999999999", "1e999999999999999999999"),
        ] {
            assert!(are_equal(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "-1"),
            ("1", "10"),
            ("1e400", "1e401"),
            ("1e-400", "0"),
            ("12345678901234567890123", "12345678901234567890124"),
        ] {
            assert!(!are_equal(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_distance_is_exact_as_long_as_the_digits_are_few() {
        for (a, b, min) in [
            ("0.2", "0.3", 0.1),
            ("9007199254740993", "9007199254740992", 1.0),
            ("12345678901234567890123", "12345678901234567890124", 1.0),
            ("-1", "1", 2.0),
            ("1e400", "1e401", 5.0),
            ("1e30", "0", 1e-7),
            ("0", "0.5", 0.5),
        ] {
            assert!(differ_by(a, b, min) && differ_by(b, a, min), "{a} {b} {min}");
        }
        for (a, b, min) in [
            ("0.2", "0.2999999999999999999", 0.1),
            ("9007199254740993", "9007199254740992", 1.5),
            ("5", "5", 0.1),
            ("1e400", "1e400", 5.0),
            ("1.00000000000000000000000000000000000000000000000001", "1", 0.1),
        ] {
            assert!(!differ_by(a, b, min) && !differ_by(b, a, min), "{a} {b} {min}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_are_compared_as_such(a in any::<i64>(), b in any::<i64>(), min in 1..u32::MAX, zeros in 0..5usize) {
            let spelled = format!("{a}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(are_equal(&spelled, &b.to_string()), a == b);
            let apart = (i128::from(a) - i128::from(b)).abs() >= i128::from(min);
            prop_assert_eq!(differ_by(&spelled, &b.to_string(), f64::from(min)), apart);
        }
    }
}
