//! Proofs of possession (DPoP, RFC 9449, section 4.3).
//!
//! A proof says that whoever sends this request has the key that the token is bound to. Here it is judged whether it says so; whether it was
//! shown before is for whoever remembers ([`VerifiedProof::once`]).

use std::time::Duration;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use thiserror::Error;
use url::Url;
use warrantor_model::{Digest, Json, Timestamp};

use crate::{
    jose::Unverified,
    jwt::{Refusal, instant},
    keys::PublicKey,
    nonces::Nonces,
    once::Once,
};

/// The algorithms of proofs, as metadata names them.
pub const PROOF_ALGORITHMS: [&str; 5] = ["EdDSA", "Ed25519", "ES256", "ES384", "PS256"];
const ALLOWED: [Algorithm; 4] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::PS256];
/// How old a proof may be.
pub const WINDOW: Duration = Duration::from_secs(300);
/// How far a client's clock may be ahead.
const AHEAD: Duration = Duration::from_secs(10);
/// Shortest and longest `jti` (96 bits take 16 characters; some count, and are unique all the same).
const ID_BYTES: std::ops::RangeInclusive<usize> = 8..=256;

/// What a proof must be of.
#[derive(Debug, Clone, Copy)]
pub struct ProofExpected<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's address as the client knows it. Query and fragment do not count.
    pub url: &'a str,
    /// The access token that comes with it, if one does.
    pub token: Option<&'a str>,
    /// The nonces that have to be repeated, where they have to.
    pub nonces: Option<&'a Nonces>,
}

/// Why a proof is refused. Safe to tell whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofRefusal {
    /// As any token may be refused.
    #[error("the proof is refused: {0}")]
    Token(#[from] Refusal),
    /// The key in its header is none that counts.
    #[error("the proof is refused: the key in its header cannot be used")]
    Key,
    /// A claim does not fit.
    #[error("the proof is refused: its {0} is not that of this request")]
    Claim(&'static str),
    /// It has no nonce, or an old one: the client asks again with the present one.
    #[error("the proof has to repeat the nonce in `DPoP-Nonce`")]
    Nonce,
}

/// A proof that holds for this request. There is no way to one but [`verify_proof`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedProof {
    thumbprint: String,
    once: Once,
}

impl VerifiedProof {
    /// The thumbprint of its key (RFC 7638): what `cnf.jkt` of a token has to be.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// What must not have been seen before.
    #[must_use]
    pub fn once(&self) -> Once {
        self.once
    }
}

/// Checks a proof.
///
/// # Errors
/// [`ProofRefusal`].
pub fn verify_proof(
    proof: &str,
    expected: &ProofExpected<'_>,
    now: Timestamp,
) -> Result<VerifiedProof, ProofRefusal> {
    let token = Unverified::read(proof)?;
    if token.kind()?.as_deref() != Some("dpop+jwt") {
        return Err(Refusal::Type.into());
    }
    let algorithm = token.algorithm(&ALLOWED)?;
    let key = token.header().get("jwk").ok_or(ProofRefusal::Key)?;
    let key = PublicKey::of(key).map_err(|_| ProofRefusal::Key)?;
    let claims = token.signed_by(std::iter::once(&key), algorithm).map_err(|cause| match cause {
        Refusal::UnknownKey => ProofRefusal::Key,
        cause => cause.into(),
    })?;
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    if text("htm") != Some(expected.method) {
        return Err(ProofRefusal::Claim("htm"));
    }
    let target = normal(expected.url).ok_or(ProofRefusal::Claim("htu"))?;
    if text("htu").and_then(normal) != Some(target.clone()) {
        return Err(ProofRefusal::Claim("htu"));
    }
    if text("ath") != expected.token.map(token_hash).as_deref() {
        return Err(ProofRefusal::Claim("ath"));
    }
    let id = text("jti").filter(|id| ID_BYTES.contains(&id.len())).ok_or(ProofRefusal::Claim("jti"))?;
    let made = instant(&claims, "iat").ok_or(ProofRefusal::Claim("iat"))?;
    // Told before the clock: a client whose clock is wrong learns what to do all the same.
    if let Some(nonces) = expected.nonces
        && !text("nonce").is_some_and(|nonce| nonces.knows(nonce, now))
    {
        return Err(ProofRefusal::Nonce);
    }
    let until = made.plus(WINDOW);
    if now >= until || made > now.plus(AHEAD) {
        return Err(ProofRefusal::Claim("iat"));
    }
    let replay = Digest::of_parts(&[
        b"dpop\n",
        key.thumbprint().as_bytes(),
        b"\n",
        target.as_bytes(),
        b"\n",
        id.as_bytes(),
    ]);
    Ok(VerifiedProof { thumbprint: key.thumbprint().to_owned(), once: Once { replay, until } })
}

/// The hash by which a proof names its token (`ath`): SHA-256, base64url.
#[must_use]
pub fn token_hash(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()))
}

/// A target as it is compared (RFC 3986, sections 6.2.2 and 6.2.3): without query and fragment.
fn normal(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "https" | "http") || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_query(None);
    url.set_fragment(None);
    // Letters that need no escape are the same letters (RFC 3986, section 6.2.2.2); other escapes stay, in upper case.
    let mut path = String::new();
    let mut rest = url.path();
    while let Some((before, after)) = rest.split_once('%') {
        path.push_str(before);
        let (code, tail) = after.split_at_checked(2)?;
        let byte = u8::from_str_radix(code, 16).ok()?;
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if plain {
            path.push(char::from(byte))
        } else {
            path.push_str(&format!("%{byte:02X}"))
        }
        rest = tail;
    }
    path.push_str(rest);
    // Dots that were escaped are segments again.
    url.set_path(&path);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Signer, SigningAlgorithm};

    const AT: i64 = 1_893_499_200;
    const URL: &str = "https://tools.example.com/bank";

    fn signer(algorithm: SigningAlgorithm) -> Signer {
        Signer::from_seed(algorithm, &[3; 32]).unwrap()
    }

    fn key(signer: &Signer) -> Value {
        let mut key = signer.public().clone();
        for name in ["kid", "use", "alg"] {
            key.as_object_mut().unwrap().remove(name);
        }
        key
    }

    fn made(signer: &Signer, header: Value, claims: Value) -> String {
        let mut whole = json!({ "typ": "dpop+jwt", "alg": signer.algorithm().name(), "jwk": key(signer) });
        let mut said = json!({ "jti": "e1j3V_bKic8-LAEB", "htm": "POST", "htu": URL, "iat": AT });
        for (into, from) in [(&mut whole, header), (&mut said, claims)] {
            for (name, value) in from.as_object().unwrap() {
                match value {
                    Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
                    value => into[name] = value.clone(),
                }
            }
        }
        signer.sign_parts(&whole, &said).unwrap()
    }

    fn judged(
        proof: &str,
        token: Option<&str>,
        nonces: Option<&Nonces>,
    ) -> Result<VerifiedProof, ProofRefusal> {
        let expected = ProofExpected { method: "POST", url: URL, token, nonces };
        verify_proof(proof, &expected, Timestamp::from_micros(AT * 1_000_000))
    }

    #[test]
    fn a_proof_of_this_request_is_taken_under_either_name_of_its_algorithm() {
        for algorithm in SigningAlgorithm::ALL {
            let signer = signer(algorithm);
            let proof = judged(&made(&signer, json!({}), json!({})), None, None).unwrap();
            assert_eq!(proof.thumbprint(), signer.id());
        }
        let signer = signer(SigningAlgorithm::EdDsa);
        judged(&made(&signer, json!({ "alg": "Ed25519" }), json!({})), None, None).unwrap();
        for same in [
            "https://tools.example.com/bank?x=1#y",
            "HTTPS://TOOLS.example.com:443/bank",
            "https://tools.example.com/a/../bank",
            "https://tools.example.com/%62ank",
        ] {
            judged(&made(&signer, json!({}), json!({ "htu": same })), None, None).expect(same);
        }
    }

    #[test]
    fn what_a_proof_is_refused_for() {
        let signer = signer(SigningAlgorithm::Es256);
        let other = Signer::from_seed(SigningAlgorithm::Es256, &[4; 32]).unwrap();
        let mut private = key(&signer);
        private["d"] = "AAAA".into();
        let claim = ProofRefusal::Claim;
        for (header, claims, why) in [
            (json!({ "typ": "jwt" }), json!({}), Refusal::Type.into()),
            (json!({ "typ": null }), json!({}), Refusal::Type.into()),
            (json!({ "alg": "none" }), json!({}), Refusal::Algorithm.into()),
            (json!({ "alg": "HS256" }), json!({}), Refusal::Algorithm.into()),
            (json!({ "alg": "RS256" }), json!({}), Refusal::Algorithm.into()),
            (json!({ "alg": "EdDSA" }), json!({}), ProofRefusal::Key),
            (json!({ "jwk": null }), json!({}), ProofRefusal::Key),
            (json!({ "jwk": private }), json!({}), ProofRefusal::Key),
            (json!({ "jwk": key(&other) }), json!({}), Refusal::Signature.into()),
            (json!({ "jwk": { "kty": "oct", "k": "AAAA" } }), json!({}), ProofRefusal::Key),
            (json!({}), json!({ "htm": "GET" }), claim("htm")),
            (json!({}), json!({ "htm": "post" }), claim("htm")),
            (json!({}), json!({ "htu": "https://tools.example.com/files" }), claim("htu")),
            (json!({}), json!({ "htu": "http://tools.example.com/bank" }), claim("htu")),
            (json!({}), json!({ "htu": "https://tools.example.com/Bank" }), claim("htu")),
            (json!({}), json!({ "htu": "https://tools.example.com@evil.example/bank" }), claim("htu")),
            (json!({}), json!({ "htu": 7 }), claim("htu")),
            (json!({}), json!({ "jti": "short" }), claim("jti")),
            (json!({}), json!({ "jti": null }), claim("jti")),
            (json!({}), json!({ "iat": null }), claim("iat")),
            (json!({}), json!({ "iat": AT - 300 }), claim("iat")),
            (json!({}), json!({ "iat": AT + 11 }), claim("iat")),
            (json!({}), json!({ "ath": "AAAA" }), claim("ath")),
        ] {
            let proof = made(&signer, header.clone(), claims.clone());
            assert_eq!(judged(&proof, None, None), Err(why), "{header} {claims}");
        }
    }

    #[test]
    fn a_proof_with_a_token_names_that_token() {
        let signer = signer(SigningAlgorithm::EdDsa);
        // The token and its hash are those of RFC 9449, section 7.1.
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let hash = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
        judged(&made(&signer, json!({}), json!({ "ath": hash })), Some(token), None).unwrap();
        for ath in [json!(null), json!("AAAA")] {
            let refused = judged(&made(&signer, json!({}), json!({ "ath": ath })), Some(token), None);
            assert_eq!(refused, Err(ProofRefusal::Claim("ath")));
        }
    }

    #[test]
    fn a_nonce_is_demanded_where_there_are_nonces() {
        let signer = signer(SigningAlgorithm::EdDsa);
        let nonces = Nonces::new(&[9; 32]);
        let nonce = nonces.current(Timestamp::from_micros(AT * 1_000_000));
        judged(&made(&signer, json!({}), json!({ "nonce": nonce })), None, Some(&nonces)).unwrap();
        for old in [json!(null), json!("AAAA"), json!(nonces.current(Timestamp::from_micros(0)))] {
            let refused = judged(&made(&signer, json!({}), json!({ "nonce": old })), None, Some(&nonces));
            assert_eq!(refused, Err(ProofRefusal::Nonce));
        }
        // Whoever's clock is wrong is told the nonce first.
        let late = made(&signer, json!({}), json!({ "iat": AT - 4000 }));
        assert_eq!(judged(&late, None, Some(&nonces)), Err(ProofRefusal::Nonce));
    }

    #[test]
    fn what_is_remembered_of_a_proof_is_its_own() {
        let signer = signer(SigningAlgorithm::EdDsa);
        let one = judged(&made(&signer, json!({}), json!({})), None, None).unwrap();
        let same = judged(&made(&signer, json!({}), json!({ "iat": AT - 1 })), None, None).unwrap();
        let other =
            judged(&made(&signer, json!({}), json!({ "jti": "another-of-mine" })), None, None).unwrap();
        assert_eq!(one.once().replay(), same.once().replay());
        assert_ne!(one.once().replay(), other.once().replay());
        assert_eq!(one.once().until(), Timestamp::from_micros((AT + 300) * 1_000_000));
    }
}
