//! Keys that sign tokens: Ed25519 (RFC 8037), and P-256 for peers that know nothing newer.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::keys::PublicKey;

/// How a signer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SigningAlgorithm {
    /// Ed25519, named `EdDSA` in tokens: the name that every verifier of it knows.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::EdDsa, Self::Es256];

    /// Its name in tokens and metadata (RFC 7518, RFC 8037).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a signer cannot be made or does not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignerError {
    /// The bytes are no key of this algorithm. Of random bytes about one in 2³² is none for P-256.
    #[error("these bytes are no key for {}", .0.name())]
    Seed(SigningAlgorithm),
    /// The library refused to sign.
    #[error("the token could not be signed")]
    Signing,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// A key that signs tokens. Its name is the thumbprint of the public key (RFC 7638), so that two keys never have one name.
pub struct Signer {
    pair: Pair,
    id: String,
    public: Value,
    verifier: PublicKey,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Signer {
    /// A key from 32 secret bytes.
    ///
    /// # Errors
    /// [`SignerError::Seed`].
    pub fn from_seed(algorithm: SigningAlgorithm, seed: &[u8; 32]) -> Result<Self, SignerError> {
        let unfit = || SignerError::Seed(algorithm);
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let (pair, mut public) = match algorithm {
            SigningAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| unfit())?;
                let public =
                    json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref()) });
                (Pair::Ed25519(pair), public)
            }
            SigningAlgorithm::Es256 => {
                let der = sec1(seed);
                let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                    .map_err(|_| unfit())?;
                // An uncompressed point: 4, then both coordinates.
                let (x, y) = pair
                    .public_key()
                    .as_ref()
                    .get(1..)
                    .and_then(|both| both.split_at_checked(32))
                    .ok_or_else(unfit)?;
                let public = json!({ "kty": "EC", "crv": "P-256", "x": encoded(x), "y": encoded(y) });
                (Pair::P256(pair), public)
            }
        };
        let mut verifier = PublicKey::parse(public.to_string().as_bytes()).map_err(|_| unfit())?;
        let id = verifier.thumbprint().to_owned();
        verifier.id = Some(id.clone());
        for (name, value) in [("kid", id.as_str()), ("use", "sig"), ("alg", algorithm.name())] {
            if let Some(members) = public.as_object_mut() {
                members.insert(name.to_owned(), value.into());
            }
        }
        Ok(Self { pair, id, public, verifier })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.pair {
            Pair::Ed25519(_) => SigningAlgorithm::EdDsa,
            Pair::P256(_) => SigningAlgorithm::Es256,
        }
    }

    /// The public half, as a JSON Web Key.
    #[must_use]
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// The public half, as it checks what was signed.
    #[must_use]
    pub fn verifier(&self) -> &PublicKey {
        &self.verifier
    }

    /// Signs claims as a token of this type.
    ///
    /// # Errors
    /// [`SignerError::Signing`].
    pub fn sign(&self, kind: &str, claims: &Value) -> Result<String, SignerError> {
        let header = json!({ "alg": self.algorithm().name(), "kid": self.id, "typ": kind });
        self.sign_parts(&header, claims)
    }

    /// Signs claims under a header of the caller's own: for what carries more than a name of its key.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub fn sign_parts(&self, header: &Value, claims: &Value) -> Result<String, SignerError> {
        let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = match &self.pair {
            Pair::Ed25519(pair) => {
                pair.try_sign(signed.as_bytes()).map(|signature| BASE64_URL_SAFE_NO_PAD.encode(signature))
            }
            Pair::P256(pair) => pair
                .sign(&randomness(), signed.as_bytes())
                .map(|signature| BASE64_URL_SAFE_NO_PAD.encode(signature)),
        };
        Ok(format!("{signed}.{}", signature.map_err(|_| SignerError::Signing)?))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "ECDSA's number used once is the library's own business: it demands this argument and ignores it"
)]
fn randomness() -> SystemRandom {
    SystemRandom::new()
}

/// A private key of P-256 in the form of RFC 5915, with its curve and without its public half.
fn sec1(secret: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    const BEFORE: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    const CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let mut der = Zeroizing::new(Vec::with_capacity(51));
    der.extend_from_slice(&BEFORE);
    der.extend_from_slice(secret);
    der.extend_from_slice(&CURVE);
    der
}

/// The keys of an issuer as it publishes them (RFC 7517, section 5).
#[must_use]
pub fn key_set<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Value {
    let keys: Vec<&Value> = signers.into_iter().map(Signer::public).collect();
    json!({ "keys": keys })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Algorithm, Expected, KeySet, Nonce, Purpose, verify};

    #[test]
    fn what_is_signed_verifies_with_the_published_key_and_no_other() {
        for algorithm in SigningAlgorithm::ALL {
            let signer = Signer::from_seed(algorithm, &[7; 32]).unwrap();
            let other = Signer::from_seed(algorithm, &[8; 32]).unwrap();
            let claims =
                json!({ "iss": "https://i.example", "sub": "s", "aud": "a", "iat": 1000, "exp": 1060 });
            let token = signer.sign("at+jwt", &claims).unwrap();
            let audiences = ["a".to_owned()];
            let expected = Expected {
                issuer: "https://i.example",
                audiences: &audiences,
                algorithms: &[Algorithm::EdDSA, Algorithm::ES256],
                purpose: Purpose::Access,
                nonce: Nonce::Absent,
                leeway: Duration::ZERO,
                max_age: None,
            };
            let judged = |signers: &[&Signer]| {
                let set = key_set(signers.iter().copied()).to_string();
                let now = warrantor_model::Timestamp::from_micros(1_010_000_000);
                verify(&token, &KeySet::parse(set.as_bytes()).unwrap(), &expected, now)
            };
            assert!(judged(&[&other, &signer]).is_ok(), "{algorithm:?}");
            assert_eq!(judged(&[&other]), Err(crate::Refusal::UnknownKey), "{algorithm:?}");
            assert!(!format!("{signer:?}").contains("7, 7"));
        }
    }

    #[test]
    fn bytes_that_are_no_scalar_of_the_curve_make_no_key() {
        for seed in [[0; 32], [0xff; 32]] {
            let refused = Signer::from_seed(SigningAlgorithm::Es256, &seed).err();
            assert_eq!(refused, Some(SignerError::Seed(SigningAlgorithm::Es256)));
        }
    }
}
