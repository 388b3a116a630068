//! Nonces that a client has to repeat in its proofs (RFC 9449, section 8): a code over a slot of time, so that nothing is kept for any of them.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use warrantor_model::Timestamp;

/// How long a slot lasts. A nonce is taken in its own slot and in the next one.
const SLOT: Duration = Duration::from_secs(120);
/// How many bytes of the code are told: more than anybody guesses within two slots.
const BYTES: usize = 16;

/// Makes and knows nonces.
pub struct Nonces(hmac::Key);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// Nonces under this key. What was made under another key is not taken.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The nonce of now.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> String {
        self.of(Self::slot(now))
    }

    /// Whether a nonce is of now or of just before.
    pub(crate) fn knows(&self, nonce: &str, now: Timestamp) -> bool {
        let slot = Self::slot(now);
        // Whoever measures how long a comparison takes learns a nonce that is told to everybody who asks.
        [slot, slot.saturating_sub(1)].into_iter().any(|slot| self.of(slot) == nonce)
    }

    /// The slot of time that an instant is in. A nonce counts in its own and in the next one.
    #[must_use]
    pub fn slot(now: Timestamp) -> i64 {
        let slot = i64::try_from(SLOT.as_micros()).unwrap_or(i64::MAX);
        now.as_micros().div_euclid(slot)
    }

    fn of(&self, slot: i64) -> String {
        let code = hmac::sign(&self.0, &slot.to_be_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(code.as_ref().get(..BYTES).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_holds_for_its_slot_and_the_next_under_its_key_alone() {
        let nonces = Nonces::new(&[1; 32]);
        let now = Timestamp::from_micros(1_893_499_200_000_000);
        let nonce = nonces.current(now);
        for (later, known) in [(Duration::ZERO, true), (SLOT, true), (SLOT * 2, false), (SLOT * 2000, false)]
        {
            assert_eq!(nonces.knows(&nonce, now.plus(later)), known, "{later:?}");
        }
        assert!(!nonces.knows(&nonce, now.minus(SLOT)), "one of the future is not known");
        assert!(!Nonces::new(&[2; 32]).knows(&nonce, now));
        assert!(!nonces.knows("", now));
    }
}
