//! Tokens and keys of others: taken as what they are, or refused.

use std::time::Duration;

use warrantor_model::Timestamp;
use warrantor_tokens::{
    ALGORITHMS, AccessToken, AssertionExpected, CROSSING_TYPE, Crossing, Expected, KeySet, MandateDetails,
    Nonce, ProofExpected, PublicKey, Purpose, Signer, SigningAlgorithm, SpiffeId, TrustBundle, WINDOW,
    key_set, verify, verify_assertion, verify_jwt_svid, verify_proof,
};

use crate::Reading;

/// The key that the seeds are signed with: the public one of RFC 8037, appendix A.2.
const KEYS: &[u8] =
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// The private half of it.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

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

/// The instant of the seeds.
fn now() -> Timestamp {
    Timestamp::from_micros(1_893_499_200_000_000)
}

/// A proof that is taken is of this request, has a key of its own, and counts for a while and no longer.
pub(crate) fn proof(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let url = "https://tools.example.com/bank";
    let expected = ProofExpected { method: "POST", url, token: None, nonces: None };
    let verified = verify_proof(text, &expected, now());
    if let Ok(proof) = &verified {
        assert_eq!(proof.thumbprint().len(), 43, "a thumbprint of no SHA-256");
        assert!(proof.once().until() > now() && proof.once().until() <= now().plus(WINDOW * 2));
        let other = ProofExpected { method: "GET", ..expected };
        assert!(verify_proof(text, &other, now()).is_err(), "a proof of another request was taken");
    }
    Reading::of(&verified)
}

/// An assertion that is taken is of this client for this service, and of no other client for it.
pub(crate) fn assertion(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let Ok(keys) = KeySet::parse(KEYS) else { return Reading::Refused };
    let audiences = ["https://control.example.com".to_owned()];
    let leeway = Duration::from_secs(30);
    let expected = AssertionExpected { client: "bot", audiences: &audiences, leeway };
    let verified = verify_assertion(text, &keys, &expected, now());
    if let Ok(assertion) = &verified {
        assert!(assertion.until() > now());
        let other = AssertionExpected { client: "other", ..expected };
        assert!(verify_assertion(text, &keys, &other, now()).is_err(), "another client's was taken");
    }
    Reading::of(&verified)
}

/// An access token that reads as one says the same when it is written again.
pub(crate) fn access(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let Ok(signer) = Signer::from_seed(SigningAlgorithm::EdDsa, &SEED) else { return Reading::Refused };
    let Ok(keys) = KeySet::parse(key_set([&signer]).to_string().as_bytes()) else { return Reading::Refused };
    let audiences = ["https://tools.example.com/bank".to_owned()];
    let expected = Expected {
        issuer: "https://control.example.com",
        audiences: &audiences,
        algorithms: &[warrantor_tokens::Algorithm::EdDSA],
        purpose: Purpose::Access,
        nonce: Nonce::Absent,
        leeway: Duration::ZERO,
        max_age: None,
    };
    // The claims are what is read here: whatever they are, they are signed.
    let signed = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .filter(serde_json::Value::is_object)
        .and_then(|claims| signer.sign("at+jwt", &claims).ok());
    let claims = signed.and_then(|token| verify(&token, &keys, &expected, now()).ok());
    let Some(claims) = claims else { return Reading::Refused };
    let read = AccessToken::read(&claims);
    if let Ok(token) = &read {
        let again = signer.sign("at+jwt", &token.claims(expected.issuer)).ok();
        let again = again.and_then(|again| verify(&again, &keys, &expected, now()).ok());
        let again = again.and_then(|claims| AccessToken::read(&claims).ok());
        assert_eq!(
            again.as_ref(),
            Some(&whole_seconds(token.clone())),
            "it is another token when it is written again"
        );
    }
    Reading::of(&read)
}

/// Tokens tell instants in seconds.
fn whole_seconds(token: AccessToken) -> AccessToken {
    let whole = |at: Timestamp| Timestamp::from_micros(at.as_micros().div_euclid(1_000_000) * 1_000_000);
    AccessToken { made: whole(token.made), expires_at: whole(token.expires_at), ..token }
}

/// Details that are taken name one mandate, and read back from what is written of them.
pub(crate) fn details(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let read = MandateDetails::parse(text);
    if let Ok(details) = &read {
        let again = MandateDetails::parse(&details.claim().to_string());
        assert!(again.as_ref() == Ok(details) || details.claim().to_string().len() > 4096);
    }
    Reading::of(&read)
}

/// A grant of another domain that reads as one says the same when it is written again.
pub(crate) fn crossing(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let Ok(signer) = Signer::from_seed(SigningAlgorithm::EdDsa, &SEED) else { return Reading::Refused };
    let Ok(keys) = KeySet::parse(key_set([&signer]).to_string().as_bytes()) else { return Reading::Refused };
    let audiences = ["https://control.bank.example".to_owned()];
    let expected = Expected {
        issuer: "https://control.acme.example",
        audiences: &audiences,
        algorithms: &[warrantor_tokens::Algorithm::EdDSA],
        purpose: Purpose::Crossing,
        nonce: Nonce::Absent,
        leeway: Duration::ZERO,
        max_age: None,
    };
    let signed = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .filter(serde_json::Value::is_object)
        .and_then(|claims| signer.sign(CROSSING_TYPE, &claims).ok());
    let claims = signed.and_then(|token| verify(&token, &keys, &expected, now()).ok());
    let Some(claims) = claims else { return Reading::Refused };
    let read = Crossing::read(&claims);
    if let Ok(grant) = &read {
        let again = grant.sign(&signer).ok();
        let again = again.and_then(|again| verify(&again, &keys, &expected, now()).ok());
        let again = again.and_then(|claims| Crossing::read(&claims).ok());
        let whole = |at: Timestamp| Timestamp::from_micros(at.as_micros().div_euclid(1_000_000) * 1_000_000);
        let same = Crossing { made: whole(grant.made), expires_at: whole(grant.expires_at), ..grant.clone() };
        assert_eq!(again, Some(same), "it is another grant when it is written again");
    }
    Reading::of(&read)
}

/// A bundle that is taken has keys, and its domain's name; of bytes that are a token, one that it lets pass is of that domain.
pub(crate) fn trust(bytes: &[u8]) -> Reading {
    let read = TrustBundle::parse("prod.example.com", bytes);
    if let Ok(bundle) = &read {
        assert!(
            bundle.jwt_keys().is_some() || !bundle.certificates().is_empty(),
            "a bundle of nothing was taken"
        );
        assert!(bundle.replaces(bundle));
        let forged = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.e30.AAAA";
        let audiences = ["https://control.example.com".to_owned()];
        assert!(verify_jwt_svid(forged, bundle, &audiences, Duration::ZERO, now()).is_err());
    }
    Reading::of(&read)
}

/// An id of a workload that is taken is written as it came.
pub(crate) fn workload(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let read = text.parse::<SpiffeId>();
    if let Ok(id) = &read {
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        assert!(
            !id.path().contains("/../") && !id.path().ends_with('/') && !text.contains(['%', '?', '#', '@'])
        );
    }
    Reading::of(&read)
}
