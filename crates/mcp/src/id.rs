//! Request ids and progress tokens: strings or integers that one side chose and the other must give back.
//!
//! They are echoed as the slice that arrived, and compared by what they mean: `"a"` and `"\u0061"` are one id.

use std::borrow::Cow;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::{Fragment, members};

/// Longest id or progress token that is carried, in bytes as written.
pub const MAX_ID_BYTES: usize = 256;

/// A JSON-RPC request id.
#[derive(Debug, Clone)]
pub struct Id<'a> {
    raw: Cow<'a, str>,
    key: IdKey,
}

/// What an id means, for looking it up. A string is never equal to an integer: `"1"` is not `1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdKey {
    /// An integer of any size, as its digits (and `-0` as `0`).
    Integer(Box<str>),
    /// A string, unescaped.
    Text(Box<str>),
}

/// Why a value is no id. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdError {
    /// `null`, a boolean, a container, or a number that is no integer literal.
    #[error("an id is a string or an integer written without fraction and exponent")]
    WrongType,
    /// Longer than [`MAX_ID_BYTES`].
    #[error("an id has at most {MAX_ID_BYTES} bytes")]
    TooLong,
}

impl<'a> Id<'a> {
    /// Takes the value as an id.
    ///
    /// # Errors
    /// [`IdError`] for anything but a string or an integer literal within the bound. `1.0` and `1e3` are refused: peers
    /// disagree on whether they are integers, and would disagree on which request was answered.
    pub fn read(raw: &'a RawValue) -> Result<Self, IdError> {
        let text = raw.get();
        if text.len() > MAX_ID_BYTES {
            return Err(IdError::TooLong);
        }
        let key = match members::text(raw) {
            Some(string) => IdKey::Text(string.into()),
            None => IdKey::Integer(integer(text).ok_or(IdError::WrongType)?.into()),
        };
        Ok(Self { raw: Cow::Borrowed(text), key })
    }

    /// The slice that arrived.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What it means.
    #[must_use]
    pub fn key(&self) -> &IdKey {
        &self.key
    }

    /// The number, when this is an integer that fits; the ids that this gateway gives to its own requests do.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.key {
            IdKey::Integer(digits) => digits.parse().ok(),
            IdKey::Text(_) => None,
        }
    }

    /// The same id without a borrow, to be kept until the answer.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        Id { raw: Cow::Owned(self.raw.into_owned()), key: self.key }
    }

    pub(crate) fn fragment(&self) -> Fragment<'_> {
        Fragment::well_formed(&self.raw)
    }
}

/// A progress token: bounded and compared as an id, but never one.
#[derive(Debug, Clone)]
pub struct ProgressToken<'a>(Id<'a>);

impl<'a> ProgressToken<'a> {
    /// Takes the value as a progress token.
    ///
    /// # Errors
    /// As [`Id::read`].
    pub fn read(raw: &'a RawValue) -> Result<Self, IdError> {
        Id::read(raw).map(Self)
    }

    /// The slice that arrived.
    #[must_use]
    pub fn raw(&self) -> &str {
        self.0.raw()
    }

    /// What it means.
    #[must_use]
    pub fn key(&self) -> &IdKey {
        self.0.key()
    }

    /// The number, when this is an integer that fits; the tokens that this gateway gives out do.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }

    /// The same token without a borrow.
    #[must_use]
    pub fn into_owned(self) -> ProgressToken<'static> {
        ProgressToken(self.0.into_owned())
    }

    pub(crate) fn fragment(&self) -> Fragment<'_> {
        self.0.fragment()
    }
}

/// The digits when this is an integer literal. The lexer has seen to it that there are no leading zeros.
fn integer(literal: &str) -> Option<&str> {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then_some(if digits == "0" { digits } else { literal })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Id<'_>, IdError> {
        Id::read(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn strings_and_integers_are_ids_and_keep_their_spelling() {
        let long = format!("\"{}\"", "a".repeat(254));
        for json in ["1", "0", "-7", "12345678901234567890123", r#""""#, r#""\u0061""#, r#""a b""#, &long] {
            assert_eq!(read(json).unwrap().raw(), json);
        }
    }

    #[test]
    fn other_values_are_no_ids() {
        let long = format!("\"{}\"", "a".repeat(255));
        let digits = "9".repeat(257);
        for (json, error) in [
            ("null", IdError::WrongType),
            ("true", IdError::WrongType),
            ("1.0", IdError::WrongType),
            ("1e3", IdError::WrongType),
            ("[]", IdError::WrongType),
            ("{}", IdError::WrongType),
            (r#""\ud800""#, IdError::WrongType),
            (long.as_str(), IdError::TooLong),
            (digits.as_str(), IdError::TooLong),
        ] {
            assert_eq!(read(json).unwrap_err(), error, "{json}");
        }
    }

    #[test]
    fn ids_are_compared_by_meaning() {
        for (a, b, same) in [
            (r#""a""#, r#""\u0061""#, true),
            ("0", "-0", true),
            ("1", r#""1""#, false),
            ("1", "-1", false),
            ("12345678901234567890123", "12345678901234567890124", false),
        ] {
            assert_eq!(read(a).unwrap().key() == read(b).unwrap().key(), same, "{a} {b}");
        }
    }

    #[test]
    fn only_integers_that_fit_are_numbers_of_ours() {
        for (json, number) in [
            ("7", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            (r#""7""#, None),
        ] {
            assert_eq!(read(json).unwrap().as_u64(), number, "{json}");
        }
    }
}
