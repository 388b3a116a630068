//! Bodies: arguments, details and results kept for investigation, sealed per person.
//!
//! A record names a body by a salted commitment and never holds it. The body is encrypted under its person's key, and that key under the
//! deployment's; erasing a person's key makes the bodies unreadable and leaves every record and proof valid. AES-256-GCM throughout.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;
use warrantor_model::{Digest, Randomness, time::NoRandomness};
use warrantor_store::Body;
use zeroize::Zeroizing;

const SALT: usize = 32;

/// A 32-byte key, wiped when dropped.
#[derive(Clone)]
pub struct SealKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Why a body cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// No random bytes for salt and nonce.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The cipher refused, which it does for a wrong key or changed bytes.
    #[error("the sealed bytes do not open: they were changed, or sealed by another key")]
    Cipher,
    /// The opened bytes do not match the commitment in the record.
    #[error("the body is not the one the record commits to")]
    Commitment,
}

impl SealKey {
    /// A key from its bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A fresh key.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn generate(randomness: &dyn Randomness) -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; 32]);
        randomness.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&AES_256_GCM, self.0.as_ref()).map(LessSafeKey::new).map_err(|_| SealError::Cipher)
    }

    fn seal(&self, randomness: &dyn Randomness, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        // Random nonces: one key seals far fewer than the 2^32 messages up to which they may be.
        let mut nonce = [0; NONCE_LEN];
        randomness.fill(&mut nonce)?;
        let mut sealed = plain.to_vec();
        self.cipher()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut sealed)
            .map_err(|_| SealError::Cipher)?;
        let mut out = nonce.to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Cipher)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let length = self
            .cipher()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut bytes)
            .map_err(|_| SealError::Cipher)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Seals a value that is opened again in the same context only.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_value(
        &self,
        randomness: &dyn Randomness,
        context: &str,
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.seal(randomness, context.as_bytes(), plain)
    }

    /// Opens a value.
    ///
    /// # Errors
    /// [`SealError::Cipher`].
    pub fn open_value(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.open(context.as_bytes(), sealed)
    }

    /// Wraps a person's key under this one.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn wrap(&self, randomness: &dyn Randomness, owner: &str, key: &Self) -> Result<Vec<u8>, SealError> {
        self.seal(randomness, owner.as_bytes(), key.0.as_ref())
    }

    /// Unwraps a person's key.
    ///
    /// # Errors
    /// [`SealError::Cipher`].
    pub fn unwrap_key(&self, owner: &str, wrapped: &[u8]) -> Result<Self, SealError> {
        let bytes = self.open(owner.as_bytes(), wrapped)?;
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| SealError::Cipher)?;
        Ok(Self::new(key))
    }

    /// Seals a body for its owner.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_body(
        &self,
        randomness: &dyn Randomness,
        owner: &str,
        plain: &[u8],
    ) -> Result<Body, SealError> {
        let mut salted = Zeroizing::new(vec![0; SALT]);
        randomness.fill(&mut salted)?;
        salted.extend_from_slice(plain);
        let commitment = Digest::of(&salted);
        let sealed = self.seal(randomness, owner.as_bytes(), &salted)?;
        Ok(Body { commitment, owner: owner.to_owned(), sealed })
    }

    /// Opens a body and checks it against its commitment.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open_body(&self, body: &Body) -> Result<Vec<u8>, SealError> {
        let salted = self.open(body.owner.as_bytes(), &body.sealed)?;
        if Digest::of(&salted) != body.commitment {
            return Err(SealError::Commitment);
        }
        Ok(salted.get(SALT..).unwrap_or_default().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Randomness for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
            buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            Ok(())
        }
    }

    #[test]
    fn a_body_opens_with_its_owners_key_unchanged_and_otherwise_not() {
        let randomness = Counting(1.into());
        let (master, key) = (SealKey::new([9; 32]), SealKey::generate(&randomness).unwrap());
        let body = key.seal_body(&randomness, "alice", b"{\"amount\":5}").unwrap();
        assert!(!body.sealed.windows(6).any(|w| w == b"amount"), "the body stands in the clear");
        let wrapped = master.wrap(&randomness, "alice", &key).unwrap();
        let again = master.unwrap_key("alice", &wrapped).unwrap();
        assert_eq!(again.open_body(&body).unwrap(), b"{\"amount\":5}");
        assert!(master.unwrap_key("bob", &wrapped).is_err(), "another person's name opened the key");
        assert_eq!(master.open_body(&body), Err(SealError::Cipher));
        for at in 0..body.sealed.len() {
            let mut changed = body.clone();
            changed.sealed[at] ^= 1;
            assert!(key.open_body(&changed).is_err(), "byte {at} could be changed");
        }
        let moved = Body { owner: "bob".into(), ..body.clone() };
        assert_eq!(key.open_body(&moved), Err(SealError::Cipher));
        let other = Body { commitment: Digest::of(b"x"), ..body };
        assert_eq!(key.open_body(&other), Err(SealError::Commitment));
    }

    #[test]
    fn equal_bodies_have_different_commitments() {
        let randomness = Counting(1.into());
        let key = SealKey::new([9; 32]);
        let one = key.seal_body(&randomness, "alice", b"5").unwrap();
        let two = key.seal_body(&randomness, "alice", b"5").unwrap();
        assert_ne!(one.commitment, two.commitment, "a guess could be confirmed from the log");
    }
}
