//! The name of a log's key, which is also the log's origin.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::merkle::shown;

/// The most bytes in a name: cosignature formats give its length one byte.
pub const MAX_NAME_BYTES: usize = 255;

/// The name of a key and the origin of a log, by custom an URL without its scheme: `audit.example.com/tenant1`.
///
/// Kept true: 1 to [`MAX_NAME_BYTES`] bytes without Unicode white space, control characters and `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// A text is no key name. The writer's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{found:?} is no key name: write 1 to {MAX_NAME_BYTES} bytes without spaces, control characters and `+`"
)]
pub struct KeyNameError {
    found: String,
}

impl KeyName {
    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyNameError;
    fn from_str(text: &str) -> Result<Self, KeyNameError> {
        let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > MAX_NAME_BYTES || text.contains(bad) {
            return Err(KeyNameError { found: shown(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
