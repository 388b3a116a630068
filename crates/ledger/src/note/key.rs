//! Keys of signed notes: verifier keys as they are handed around, signing keys made from a seed.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KeyName, KeyNameError};
use crate::merkle::Hash;

/// The type byte of Ed25519 keys in the signed-note specification.
const ED25519_TYPE: u8 = 1;
const PUBLIC_BYTES: usize = 32;
const ID_BYTES: usize = 4;

/// Which of a name's keys signed: the first four bytes of SHA-256 over name, line feed, type and public key. A hint for
/// finding the key, no proof of anything. Written as eight lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

impl KeyId {
    pub(super) fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn of(name: &KeyName, public: &[u8; PUBLIC_BYTES]) -> Self {
        let hash = Hash::of_parts(&[name.as_str().as_bytes(), b"\n", &[ED25519_TYPE], public]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What checks a log's signatures; public, but to be had on a way that the log's host does not control.
/// Written `NAME+ID+BASE64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    public: [u8; PUBLIC_BYTES],
}

/// Why a text is no verifier key. The writer's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VerifierKeyError {
    /// Not three parts, or an id or key that is not of its form.
    #[error("this is no verifier key: write `NAME+ID+BASE64`, as the log's operator printed it")]
    Form,
    /// The first part is no key name.
    #[error("the verifier key's name is malformed")]
    Name(#[source] KeyNameError),
    /// A key of another type than Ed25519.
    #[error("the verifier key has type {found}: only Ed25519, type 1, is taken")]
    Algorithm {
        /// The type byte found.
        found: u8,
    },
    /// The id is not that of this name and key: a part was mistyped, or a key was put under another's name.
    #[error(
        "the verifier key has id {found}, its name and key make {computed}: copy it again from the operator"
    )]
    Id {
        /// The id written.
        found: KeyId,
        /// The id that name and key make.
        computed: KeyId,
    },
}

impl VerifierKey {
    fn new(name: KeyName, public: [u8; PUBLIC_BYTES]) -> Self {
        Self { id: KeyId::of(&name, &public), name, public }
    }

    /// The key's name, the origin of its log.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key's id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The Ed25519 public key.
    #[must_use]
    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;
    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let form = || VerifierKeyError::Form;
        // base64 may hold a `+` itself, so only the first two divide.
        let (name, rest) = text.split_once('+').ok_or_else(form)?;
        let (id, encoded) = rest.split_once('+').ok_or_else(form)?;
        let name = name.parse().map_err(VerifierKeyError::Name)?;
        if id.len() != 2 * ID_BYTES || id.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(form());
        }
        let mut found = [0; ID_BYTES];
        hex::decode_to_slice(id, &mut found).map_err(|_| form())?;
        let decoded = STANDARD.decode(encoded).map_err(|_| form())?;
        let (algorithm, public) = decoded.split_first().ok_or_else(form)?;
        if *algorithm != ED25519_TYPE {
            return Err(VerifierKeyError::Algorithm { found: *algorithm });
        }
        let key = Self::new(name, public.try_into().map_err(|_| form())?);
        if key.id != KeyId(found) {
            return Err(VerifierKeyError::Id { found: KeyId(found), computed: key.id });
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [[ED25519_TYPE].as_slice(), &self.public].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(typed))
    }
}

/// What makes a log's signatures. Neither printed nor compared nor copied.
pub struct SigningKey {
    verifier: VerifierKey,
    pair: Ed25519KeyPair,
}

/// The cryptographic library failed, which it does when it is out of memory.
#[derive(Debug, Clone, PartialEq, Error)]
#[error(
    "no signing key could be made from the seed: see that the process has memory left, then start it again"
)]
pub struct SigningKeyError(#[from] KeyRejected);

impl SigningKey {
    /// The key with this name that the seed makes; always the same one. The seed must be 32 bytes of good randomness.
    ///
    /// The seed is wiped when this returns; the library wipes its own copy when the key is dropped.
    ///
    /// # Errors
    /// [`SigningKeyError`] when the cryptographic library fails.
    #[expect(clippy::needless_pass_by_value, reason = "the seed is taken so that it is wiped here")]
    pub fn from_seed(name: KeyName, seed: Zeroizing<[u8; 32]>) -> Result<Self, SigningKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())?;
        let mut public = [0; PUBLIC_BYTES];
        // Ed25519 public keys are 32 bytes long; zip copies exactly these.
        for (to, from) in public.iter_mut().zip(pair.public_key().as_ref()) {
            *to = *from;
        }
        Ok(Self { verifier: VerifierKey::new(name, public), pair })
    }

    /// What checks this key's signatures.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Unspecified> {
        Ok(self.pair.try_sign(text)?.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}
