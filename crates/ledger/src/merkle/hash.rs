//! One SHA-256 value of the tree, and the three ways in which RFC 6962 makes one.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

/// Set before an entry is hashed, so that no entry can be written that hashes like a node.
const LEAF_PREFIX: &[u8] = &[0];
/// Set before two hashes are hashed to their parent.
const NODE_PREFIX: &[u8] = &[1];

/// A leaf's, a node's or a root's hash. Written as 64 lower-case hexadecimal digits; checkpoints and proofs use base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::LENGTH]);

/// Why a text is no hash. The writer's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashError {
    /// Not 64 lower-case hexadecimal digits.
    #[error("{found:?} is no hash: write 64 lower-case hexadecimal digits")]
    Hex {
        /// What stood there, at most 80 characters of it.
        found: String,
    },
    /// Not the canonical base64 of 32 bytes.
    #[error("{found:?} is no hash: write 32 bytes in padded standard base64, 44 characters")]
    Base64 {
        /// What stood there, at most 80 characters of it.
        found: String,
    },
}

impl Hash {
    /// The bytes in a hash.
    pub const LENGTH: usize = 32;

    /// Wraps 32 bytes that are a hash already.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Hash::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Hash::LENGTH] {
        &self.0
    }

    /// Padded standard base64, 44 characters.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads what [`Hash::to_base64`] writes and nothing else.
    ///
    /// # Errors
    /// [`HashError::Base64`] for another alphabet or padding, for set trailing bits, and for any other length.
    pub fn from_base64(text: &str) -> Result<Self, HashError> {
        let wrong = || HashError::Base64 { found: shown(text) };
        // 44 characters decode to at most 33 bytes; the length is looked at first so that nothing larger is allocated.
        if text.len() != 44 {
            return Err(wrong());
        }
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        Ok(Self(bytes.try_into().map_err(|_| wrong())?))
    }

    pub(crate) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; Hash::LENGTH];
        // SHA-256 is 32 bytes long; zip copies exactly these.
        for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

/// The start of a wrong text, for an error message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The hash of the leaf that holds this entry: SHA-256 over `0x00` and the entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash::of_parts(&[LEAF_PREFIX, entry])
}

/// The hash of the node over two others: SHA-256 over `0x01`, left, right.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of_parts(&[NODE_PREFIX, &left.0, &right.0])
}

/// The root of the tree without leaves: SHA-256 over nothing.
#[must_use]
pub fn empty_root() -> Hash {
    Hash::of_parts(&[])
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = HashError;
    fn from_str(text: &str) -> Result<Self, HashError> {
        let wrong = || HashError::Hex { found: shown(text) };
        if text.len() != 2 * Hash::LENGTH || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let bytes = hex::decode(text).map_err(|_| wrong())?;
        Ok(Self(bytes.try_into().map_err(|_| wrong())?))
    }
}

impl From<Hash> for [u8; Hash::LENGTH] {
    fn from(hash: Hash) -> Self {
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_from_both_written_forms() {
        let hash = leaf_hash(b"entry");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
    }

    #[test]
    fn a_hash_has_one_written_form() {
        let hash = leaf_hash(b"entry");
        let hex = hash.to_string();
        for bad in [
            hex.to_uppercase(),
            hex.chars().skip(1).collect(),
            format!("{hex}0"),
            hex.replace('a', "g"),
            String::new(),
        ] {
            assert!(bad.parse::<Hash>().is_err(), "{bad:?} was taken");
        }
        // 32 bytes leave four unused bits in the last base64 digit; `B` sets one of them.
        let zero = Hash::from_bytes([0; 32]).to_base64();
        for bad in [zero.replace("A=", "B="), zero.replace('=', ""), format!("{zero}\n"), "A".repeat(44)] {
            assert!(Hash::from_base64(&bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn an_entry_cannot_be_written_that_hashes_like_a_node() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        let forged = [left.as_bytes().as_slice(), right.as_bytes()].concat();
        assert_ne!(leaf_hash(&forged), node_hash(&left, &right));
    }
}
