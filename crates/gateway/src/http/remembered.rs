//! Tokens whose signature held, remembered so that it need not be looked at for each request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use warrantor_model::{Digest, Timestamp};
use warrantor_tokens::KeySet;

use crate::exchange::lock;

/// Most tokens that are remembered.
const MAX: usize = 16_384;

/// Tokens whose signature held under the keys that their issuer has now. Under others they are verified again.
pub(super) struct Remembered<T>(Mutex<HashMap<Digest, Verified<T>>>);

struct Verified<T> {
    keys: Arc<KeySet>,
    token: Arc<T>,
    expires_at: Timestamp,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Remembered<T> {
    /// What the token of this digest says, if it was verified with these keys.
    pub(super) fn get(&self, digest: &Digest, keys: &Arc<KeySet>) -> Option<Arc<T>> {
        let known = lock(&self.0);
        let known = known.get(digest).filter(|known| Arc::ptr_eq(&known.keys, keys))?;
        Some(Arc::clone(&known.token))
    }

    /// Remembers a token until it ends, its keys change, or there is no room.
    pub(super) fn put(
        &self,
        digest: Digest,
        keys: Arc<KeySet>,
        token: Arc<T>,
        expires_at: Timestamp,
        now: Timestamp,
    ) {
        let mut all = lock(&self.0);
        if all.len() >= MAX {
            all.retain(|_, known| now < known.expires_at);
            if all.len() >= MAX {
                all.clear();
            }
        }
        all.insert(digest, Verified { keys, token, expires_at });
    }

    /// Forgets what has ended.
    pub(super) fn tidy(&self, now: Timestamp) {
        lock(&self.0).retain(|_, known| now < known.expires_at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warrantor_tokens::{Signer, SigningAlgorithm, key_set};

    use super::*;

    fn keys() -> Arc<KeySet> {
        let signer = Signer::from_seed(SigningAlgorithm::EdDsa, &[3; 32]).unwrap();
        Arc::new(KeySet::parse(key_set([&signer]).to_string().as_bytes()).unwrap())
    }

    #[test]
    fn a_token_is_remembered_under_its_keys_until_it_ends_and_there_is_an_end_to_all_of_them() {
        let begin = Timestamp::from_micros(0);
        let (one, other) = (keys(), keys());
        let remembered: Remembered<u32> = Remembered::default();
        let digest = |nth: usize| Digest::of(&nth.to_be_bytes());
        let put = |nth, ends: u64| {
            let ends = begin.plus(Duration::from_secs(ends));
            remembered.put(digest(nth), Arc::clone(&one), Arc::new(7), ends, begin);
        };
        put(0, 10);
        assert_eq!(remembered.get(&digest(0), &one).as_deref(), Some(&7));
        assert!(remembered.get(&digest(0), &other).is_none(), "other keys, though they say the same");
        assert!(remembered.get(&digest(1), &one).is_none());
        remembered.tidy(begin.plus(Duration::from_secs(10)));
        assert!(remembered.get(&digest(0), &one).is_none());
        (0..MAX + 1).for_each(|nth| put(nth, 10));
        assert_eq!(lock(&remembered.0).len(), 1);
    }
}
