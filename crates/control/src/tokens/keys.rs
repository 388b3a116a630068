//! The keys that sign tokens: which one signs now, which ones are published, and which are forgotten.
//!
//! A new key is published before it signs, and an old one for as long as something that it signed may be valid. Which is which follows from the instants
//! alone, so that processes that read the keys at different times agree.

use std::time::Duration;

use serde_json::Value;
use warrantor_model::Timestamp;
use warrantor_tokens::{KeySet, Signer, SignerError, SigningAlgorithm, key_set};
use zeroize::Zeroizing;

/// How long before it signs a key is published: longer than anybody keeps our keys.
pub const OVERLAP: Duration = Duration::from_secs(60 * 60);
/// How long a key is published after the next one has begun to sign: longer than any token is valid.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// A key, and from when on it signs.
pub struct TokenKey {
    pub(crate) signer: Signer,
    pub(crate) seed: Zeroizing<[u8; 32]>,
    pub(crate) from: Timestamp,
}

impl TokenKey {
    pub(crate) fn new(
        algorithm: SigningAlgorithm,
        seed: Zeroizing<[u8; 32]>,
        from: Timestamp,
    ) -> Result<Self, SignerError> {
        Ok(Self { signer: Signer::from_seed(algorithm, &seed)?, seed, from })
    }

    /// What it signs with.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// From when on it signs.
    #[must_use]
    pub fn from(&self) -> Timestamp {
        self.from
    }
}

/// The keys, in the order in which they were made.
#[derive(Default)]
pub struct TokenKeys(Vec<TokenKey>);

impl TokenKeys {
    pub(crate) fn add(&mut self, key: TokenKey) {
        self.0.push(key);
    }

    pub(crate) fn drop_all(&mut self, algorithm: SigningAlgorithm) {
        self.0.retain(|key| key.signer.algorithm() != algorithm);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &TokenKey> {
        self.0.iter()
    }

    /// The key that signs now.
    #[must_use]
    pub fn signing(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&TokenKey> {
        let of = |key: &&TokenKey| key.signer.algorithm() == algorithm && key.from <= now;
        self.0.iter().filter(of).max_by_key(|key| key.from)
    }

    /// The key of an algorithm that was made last, whether it signs already or not.
    #[must_use]
    pub fn newest(&self, algorithm: SigningAlgorithm) -> Option<&TokenKey> {
        self.0.iter().filter(|key| key.signer.algorithm() == algorithm).max_by_key(|key| key.from)
    }

    /// Whether something that a key signed may still be valid, or it signs now or later.
    fn counts(&self, key: &TokenKey, now: Timestamp) -> bool {
        let next = self.0.iter().filter(|next| {
            next.signer.algorithm() == key.signer.algorithm() && next.from > key.from && next.from <= now
        });
        next.map(|next| next.from).min().is_none_or(|since| now < since.plus(KEPT))
    }

    /// What others are told (RFC 7517).
    #[must_use]
    pub fn published(&self, now: Timestamp) -> Value {
        key_set(self.0.iter().filter(|key| self.counts(key, now)).map(TokenKey::signer))
    }

    /// What tokens of ours are checked with; none where there is no key.
    #[must_use]
    pub fn verifying(&self, now: Timestamp) -> Option<KeySet> {
        let counting = self.0.iter().filter(|key| self.counts(key, now));
        KeySet::of_all(counting.map(|key| key.signer.verifier().clone()).collect())
    }

    pub(crate) fn forget(&mut self, now: Timestamp) {
        let counting: Vec<bool> = self.0.iter().map(|key| self.counts(key, now)).collect();
        let mut counting = counting.into_iter();
        self.0.retain(|_| counting.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8, from: Timestamp) -> TokenKey {
        TokenKey::new(SigningAlgorithm::EdDsa, Zeroizing::new([seed; 32]), from).unwrap()
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_nothing_that_it_signed_is_valid() {
        let begin: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let mut keys = TokenKeys::default();
        keys.add(key(1, begin));
        let change = begin.plus(Duration::from_secs(86_400));
        keys.add(key(2, change));
        let (old, new) = (keys.0[0].signer.id().to_owned(), keys.0[1].signer.id().to_owned());
        let second = Duration::from_secs(1);
        for (now, signs, published) in [
            (begin, &old, vec![&old, &new]),
            (change.minus(second), &old, vec![&old, &new]),
            (change, &new, vec![&old, &new]),
            (change.plus(KEPT).minus(second), &new, vec![&old, &new]),
            (change.plus(KEPT), &new, vec![&new]),
        ] {
            assert_eq!(keys.signing(SigningAlgorithm::EdDsa, now).unwrap().signer.id(), signs, "{now}");
            let told = keys.published(now);
            let ids: Vec<&str> =
                told["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
            assert_eq!(ids, published, "{now}");
        }
        assert!(keys.signing(SigningAlgorithm::EdDsa, begin.minus(second)).is_none());
        assert!(keys.signing(SigningAlgorithm::Es256, change).is_none());
        keys.forget(change.plus(KEPT));
        assert_eq!(keys.0.len(), 1);
    }
}
