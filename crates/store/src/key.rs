//! Keys: the names under which the store holds entries, counters and members.

use std::fmt;

use thiserror::Error;

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The name of an entry, a counter or a member: segments joined by `/`, 1 to [`MAX_KEY_BYTES`] bytes of UTF-8, no segment empty and no
/// control character. Keys are ordered by their bytes. Which keys mean what is the business of whoever builds them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// More than [`MAX_KEY_BYTES`].
    #[error("a key of {bytes} bytes; at most {MAX_KEY_BYTES} are allowed: use a digest of the long part")]
    TooLong {
        /// How long it was.
        bytes: usize,
    },
    /// Two slashes in a row, one at an end, or nothing at all.
    #[error("{text:?} is no key: a segment is empty")]
    EmptySegment {
        /// What was given.
        text: String,
    },
    /// A control character, which databases and terminals may cut at.
    #[error("{text:?} is no key: it has a control character")]
    Control {
        /// What was given.
        text: String,
    },
}

impl Key {
    /// Parses a key.
    ///
    /// # Errors
    /// [`KeyError`] when the text is too long, has an empty segment or a control character.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: text.len() });
        }
        if text.split('/').any(str::is_empty) {
            return Err(KeyError::EmptySegment { text });
        }
        if text.chars().any(char::is_control) {
            return Err(KeyError::Control { text });
        }
        Ok(Self(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this key lies below `other`: `a/b/c` lies under `a/b`, and neither `a/b` nor `a/bc` does.
    #[must_use]
    pub fn is_under(&self, other: &Self) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_no_empty_segment_no_control_character_and_a_bound() {
        for bad in ["", "/", "a/", "/a", "a//b", "a\0b", "a\n", "\u{85}"] {
            assert!(Key::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(Key::new("x".repeat(MAX_KEY_BYTES + 1)).is_err());
        for good in ["a", "a/b", "task/t-1/limit/ä \"'", &"x".repeat(MAX_KEY_BYTES)] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn under_means_whole_segments() {
        let key = |text: &str| Key::new(text).unwrap();
        assert!(key("a/b/c").is_under(&key("a/b")));
        for other in ["a/b", "a/bc", "a", "b/a/b/c"] {
            assert!(!key(other).is_under(&key("a/b")), "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_refused(text in any::<String>()) {
            if let Ok(key) = Key::new(text.clone()) {
                prop_assert_eq!(key.as_str(), text);
            }
        }
    }
}
