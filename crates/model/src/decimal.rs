//! Exact decimals, for bounds, limits and sums: never a float.

use std::str::FromStr;

pub use rust_decimal::Decimal;

/// Reads a JSON number literal exactly. `None` when its value has more digits than a 96-bit decimal holds (28), so that
/// whoever compares must refuse: a rounded amount is another amount.
#[must_use]
pub fn exact(literal: &str) -> Option<Decimal> {
    // Longer literals cannot be exact in 28 digits unless they are padded with zeros; refusing them bounds the work.
    if literal.len() > 64 || !is_plain(literal) {
        return None;
    }
    let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, i32::from_str(exponent.strip_prefix('+').unwrap_or(exponent)).ok()?)
        }
        None => (literal, 0),
    };
    let mantissa = Decimal::from_str_exact(mantissa).ok()?;
    shift(mantissa, exponent)
}

/// JSON's own form: what other readers also take (`+5`, `1_000`, `007`, `.5`) is no number here.
fn is_plain(literal: &str) -> bool {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let mut bytes = digits.bytes();
    let (first, second) = (bytes.next(), bytes.next());
    first.is_some_and(|b| b.is_ascii_digit())
        && !(first == Some(b'0') && second.is_some_and(|b| b.is_ascii_digit()))
        && literal.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
}

fn shift(mut value: Decimal, exponent: i32) -> Option<Decimal> {
    if value.is_zero() {
        return Some(Decimal::ZERO);
    }
    if !(-28..=28).contains(&exponent) {
        return None;
    }
    for _ in 0..exponent.unsigned_abs() {
        if exponent > 0 {
            value = value.checked_mul(Decimal::TEN)?;
        } else {
            let scale = value.scale().checked_add(1)?;
            value.set_scale(scale).ok()?;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_exactly_or_not_at_all() {
        let cases = [
            ("0", Some("0")),
            ("-0", Some("0")),
            ("1.10", Some("1.1")),
            ("1e2", Some("100")),
            ("1.5E+3", Some("1500")),
            ("25e-2", Some("0.25")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("1e40", None),
            ("1e-40", None),
            ("0e99", Some("0")),
            ("123456789012345678901234567890123", None),
            ("0.1234567890123456789012345678901", None),
            ("1e99999999999", None),
            ("", None),
            ("nan", None),
            ("1_000", None),
            ("+5", None),
            ("007", None),
            (".5", None),
            ("-", None),
        ];
        for (literal, expected) in cases {
            assert_eq!(exact(literal), expected.map(|e| e.parse().unwrap()), "{literal}");
        }
    }
}
