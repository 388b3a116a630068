//! Pieces of JSON on their way out.
//!
//! A [`Fragment`] is one well-formed value without line breaks, so it can stand in a message on a newline-delimited
//! transport. In well-formed JSON a raw line feed or carriage return can only be white space between tokens (within
//! strings both must be escaped); a fragment turns these into spaces and touches nothing else. Refusing them instead would refuse every
//! pretty-printed body that arrives over HTTP.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// One well-formed JSON value on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment<'a>(Cow<'a, str>);

impl<'a> From<&'a RawValue> for Fragment<'a> {
    fn from(raw: &'a RawValue) -> Self {
        Self::well_formed(raw.get())
    }
}

impl<'a> Fragment<'a> {
    /// The caller knows the text to be one well-formed value.
    pub(crate) fn well_formed(text: &'a str) -> Self {
        if text.contains(['\n', '\r']) {
            Self(Cow::Owned(text.replace(['\n', '\r'], " ")))
        } else {
            Self(Cow::Borrowed(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, to be read again.
    ///
    /// # Errors
    /// [`serde_json::Error`], which well-formed text never gives.
    pub fn into_raw(self) -> serde_json::Result<Box<RawValue>> {
        RawValue::from_string(self.0.into_owned())
    }

    /// The bytes, for a transport.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_owned().into_bytes()
    }
}

impl Fragment<'static> {
    /// A string.
    #[must_use]
    pub fn text(text: &str) -> Self {
        // `Value`'s display cannot fail, and escapes what must be escaped.
        Self(Cow::Owned(serde_json::Value::from(text).to_string()))
    }

    /// An integer.
    #[must_use]
    pub fn integer(number: i64) -> Self {
        Self(Cow::Owned(number.to_string()))
    }

    /// An id or progress token of our own.
    #[must_use]
    pub fn count(number: u64) -> Self {
        Self(Cow::Owned(number.to_string()))
    }

    /// `{}`
    #[must_use]
    pub fn empty_object() -> Self {
        Self(Cow::Borrowed("{}"))
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(value: bool) -> Self {
        Self(Cow::Borrowed(if value { "true" } else { "false" }))
    }

    /// `null`
    #[must_use]
    pub fn null() -> Self {
        Self(Cow::Borrowed("null"))
    }

    /// An array of these, in this order.
    #[must_use]
    pub fn array<'f>(items: impl IntoIterator<Item = Fragment<'f>>) -> Self {
        let mut out = String::from("[");
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(item.as_str());
        }
        out.push(']');
        Self(Cow::Owned(out))
    }
}

/// Writes one object. The caller names no member twice.
#[derive(Debug)]
pub(crate) struct ObjectWriter {
    out: String,
}

impl ObjectWriter {
    pub(crate) fn new() -> Self {
        Self { out: String::from("{") }
    }

    pub(crate) fn member(mut self, name: &str, value: &Fragment<'_>) -> Self {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push_str(Fragment::text(name).as_str());
        self.out.push(':');
        self.out.push_str(value.as_str());
        self
    }

    /// Writes the member when there is a value.
    pub(crate) fn maybe(self, name: &str, value: Option<&Fragment<'_>>) -> Self {
        match value {
            Some(value) => self.member(name, value),
            None => self,
        }
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.member(name, &Fragment::text(value))
    }

    pub(crate) fn finish(mut self) -> Fragment<'static> {
        self.out.push('}');
        Fragment(Cow::Owned(self.out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_breaks_between_tokens_become_spaces() {
        for (raw, line) in [
            ("{\n  \"a\": \"x\\ny\",\r\n\t\"b\": 1.10\n}", "{   \"a\": \"x\\ny\",  \t\"b\": 1.10 }"),
            ("[ 1 , 2 ]", "[ 1 , 2 ]"),
            ("\"\u{2028}\u{85}\"", "\"\u{2028}\u{85}\""),
        ] {
            let raw: &RawValue = serde_json::from_str(raw).unwrap();
            assert_eq!(Fragment::from(raw).as_str(), line);
        }
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(Fragment::text("a\"\\\n\u{1}é").as_str(), r#""a\"\\\n\u0001é""#);
    }
}
