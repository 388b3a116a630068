//! Tokens and keys of others: taken as what they are, or refused.

use std::time::Duration;

use warrantor_model::Timestamp;
use warrantor_tokens::{ALGORITHMS, Expected, KeySet, Nonce, PublicKey, Purpose, verify};

use crate::Reading;

/// The key that the seeds are signed with: the public one of RFC 8037, appendix A.2.
const KEYS: &[u8] =
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A token that is taken is for us, of the issuer, and valid at the instant.
pub(crate) fn token(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let Ok(keys) = KeySet::parse(KEYS) else { return Reading::Refused };
    let audiences = ["warrantor".to_owned()];
    let algorithms: Vec<_> = ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect();
    let expected = Expected {
        issuer: "https://login.example.com",
        audiences: &audiences,
        algorithms: &algorithms,
        purpose: Purpose::Id,
        nonce: Nonce::Exactly("n"),
        leeway: Duration::from_secs(30),
        max_age: None,
    };
    let now = Timestamp::from_micros(1_893_499_200_000_000);
    let verified = verify(text, &keys, &expected, now);
    if let Ok(claims) = &verified {
        assert_eq!(claims.issuer(), "https://login.example.com");
        assert!(!claims.subject().is_empty() && claims.expires_at().plus(expected.leeway) > now);
        assert_eq!(text.matches('.').count(), 2, "a token of other than three parts was taken");
    }
    Reading::of(&verified)
}

/// A key that is taken says no secret and reads back from what is kept of it as the same key.
pub(crate) fn key(bytes: &[u8]) -> Reading {
    let read = PublicKey::parse(bytes);
    if let Ok(key) = &read {
        let again = PublicKey::parse(key.canonical().as_bytes());
        let again = again.as_ref().map(PublicKey::thumbprint);
        assert_eq!(again.ok(), Some(key.thumbprint()), "what is kept of a key reads otherwise");
    }
    let _ = KeySet::parse(bytes);
    Reading::of(&read)
}
