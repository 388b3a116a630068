//! Public keys as JSON Web Keys (RFC 7517), of an issuer or of an agent.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use thiserror::Error;
use warrantor_model::Json;

/// The algorithms that can be allowed, by their names (RFC 7518, RFC 8037). All are asymmetric: a public key must never do for a secret.
///
/// Ed25519 has two names: `EdDSA` (RFC 8037) and the fully specified `Ed25519` (RFC 9864).
pub const ALGORITHMS: [(&str, Algorithm); 10] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
];
/// Most bytes of a key set.
pub const MAX_KEY_SET_BYTES: usize = 256 << 10;
/// Most keys of a key set.
pub const MAX_KEYS: usize = 100;
/// Most bytes of one key that is registered by itself.
const MAX_KEY_BYTES: usize = 8 << 10;
/// Members of a JWK that belong to the owner of the private key alone (RFC 7518, section 6).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];
/// The shortest modulus that is taken, in bits (RFC 7518, section 3.3).
const LEAST_RSA_BITS: usize = 2048;

/// Why a key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// It is no JWK.
    #[error("it is no JSON Web Key: {0}")]
    Format(String),
    /// It has members that only its owner should have.
    #[error("it has the member {0:?} of a private key: whoever made it should make another one")]
    Private(&'static str),
    /// No allowed algorithm fits it.
    #[error(
        "no algorithm that is allowed fits it: use RSA of at least {LEAST_RSA_BITS} bits, P-256, P-384 or Ed25519"
    )]
    Unfit,
}

/// A public key that signatures can be checked with.
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) id: Option<String>,
    pub(crate) key: DecodingKey,
    pub(crate) fits: Vec<Algorithm>,
    thumbprint: String,
    canonical: String,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicKey").field("id", &self.id).field("thumbprint", &self.thumbprint).finish()
    }
}

impl PublicKey {
    /// Reads a key from its JSON form.
    ///
    /// # Errors
    /// [`PublicKeyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PublicKeyError> {
        let json = Json::parse_within(bytes, MAX_KEY_BYTES)
            .map_err(|cause| PublicKeyError::Format(cause.to_string()))?;
        Self::of(&json)
    }

    pub(crate) fn of(json: &Json) -> Result<Self, PublicKeyError> {
        let format = |cause: String| PublicKeyError::Format(cause);
        if json.as_object().is_none() {
            return Err(format("it is no object".to_owned()));
        }
        if let Some(member) = PRIVATE.into_iter().find(|member| json.get(member).is_some()) {
            return Err(PublicKeyError::Private(member));
        }
        let value = json.to_value().ok_or_else(|| format("a number is out of range".to_owned()))?;
        let jwk: Jwk = serde_json::from_value(value).map_err(|cause| format(cause.to_string()))?;
        if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
            return Err(PublicKeyError::Unfit);
        }
        let text = |member: &str| json.get(member).and_then(Json::as_str).unwrap_or_default();
        let fitting: &[Algorithm] = match (text("kty"), text("crv")) {
            ("RSA", _) => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            ("EC", "P-256") => &[Algorithm::ES256],
            ("EC", "P-384") => &[Algorithm::ES384],
            ("OKP", "Ed25519") => &[Algorithm::EdDSA],
            _ => return Err(PublicKeyError::Unfit),
        };
        // A key of another length verifies nothing, and whoever has registered it would never learn why.
        let octets: Option<usize> = match (text("kty"), text("crv")) {
            ("EC", "P-384") => Some(48),
            ("EC" | "OKP", _) => Some(32),
            _ => None,
        };
        let coordinates: &[&str] = if text("kty") == "EC" { &["x", "y"] } else { &["x"] };
        for name in coordinates.iter().filter(|_| octets.is_some()) {
            let length = BASE64_URL_SAFE_NO_PAD.decode(text(name)).map(|octets| octets.len()).ok();
            if length != octets {
                return Err(format(format!(
                    "`{name}` is not {} octets in base64url",
                    octets.unwrap_or_default()
                )));
            }
        }
        // Base64 has six bits a character; a leading zero octet would only make the key look longer by eight.
        if text("kty") == "RSA" && text("n").trim_start_matches('A').len().saturating_mul(6) < LEAST_RSA_BITS
        {
            return Err(PublicKeyError::Unfit);
        }
        let fits: Vec<Algorithm> = match json.get("alg") {
            None => fitting.to_vec(),
            Some(alg) => {
                let named = ALGORITHMS.iter().find(|(name, _)| Some(*name) == alg.as_str());
                named.map(|(_, alg)| *alg).filter(|alg| fitting.contains(alg)).into_iter().collect()
            }
        };
        if fits.is_empty() {
            return Err(PublicKeyError::Unfit);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|cause| format(cause.to_string()))?;
        Ok(Self {
            id: jwk.common.key_id.clone(),
            key,
            fits,
            thumbprint: jwk.thumbprint(ThumbprintHash::SHA256),
            canonical: canonical(json),
        })
    }

    /// The members that make the key (RFC 7638, section 3.2), and its name and algorithm, as JSON text: what is worth keeping.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The key's thumbprint (RFC 7638, SHA-256, base64url).
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

fn canonical(json: &Json) -> String {
    let kept = ["kty", "crv", "x", "y", "n", "e", "kid", "alg"];
    let members = kept.iter().filter_map(|name| Some(((*name).to_owned(), json.get(name)?.clone())));
    Json::Object(members.collect()).canonical()
}

/// Why a key set is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// It is no JWK set.
    #[error("it is no JSON Web Key Set: {0}")]
    Format(String),
    /// Too many keys.
    #[error("it has {0} keys, more than the {MAX_KEYS} that are read")]
    TooMany(usize),
    /// No key of it can be used.
    #[error("none of its {0} keys can be used to check signatures")]
    Unusable(usize),
}

/// The keys of an issuer.
#[derive(Debug, Clone)]
pub struct KeySet(Vec<PublicKey>);

impl KeySet {
    /// Reads a key set (RFC 7517, section 5). Keys that cannot be used are passed over, as it demands.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let json = Json::parse_within(bytes, MAX_KEY_SET_BYTES)
            .map_err(|cause| KeySetError::Format(cause.to_string()))?;
        let keys = json
            .get("keys")
            .and_then(Json::as_array)
            .ok_or_else(|| KeySetError::Format("it has no list `keys`".to_owned()))?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(keys.len()));
        }
        let usable: Vec<PublicKey> = keys.iter().filter_map(|key| PublicKey::of(key).ok()).collect();
        if usable.is_empty() { Err(KeySetError::Unusable(keys.len())) } else { Ok(Self(usable)) }
    }

    /// A set of these keys; none of no key.
    #[must_use]
    pub fn of_all(keys: Vec<PublicKey>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Whether a token that names this key could be checked: with a key of the name, or with any where it names none.
    #[must_use]
    pub fn has(&self, id: Option<&str>) -> bool {
        self.candidates(id).next().is_some()
    }

    pub(crate) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a PublicKey> {
        self.0.iter().filter(move |key| id.is_none_or(|id| key.id.as_deref() == Some(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_length_is_no_key() {
        let ed = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let (x, y) =
            ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        for (key, taken) in [
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ed}"}}"#), true),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"abc"}"#.to_owned(), false),
            (format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ed}AA"}}"#), false),
            (format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#), true),
            (format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"abc"}}"#), false),
            (format!(r#"{{"kty":"EC","crv":"P-384","x":"{x}","y":"{y}"}}"#), false),
        ] {
            assert_eq!(PublicKey::parse(key.as_bytes()).is_ok(), taken, "{key}");
        }
    }
}
