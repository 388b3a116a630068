//! Assertions by which clients prove who they are at a token service (RFC 7523, section 3, with the audience rule of its revision).

use std::time::Duration;

use jsonwebtoken::Algorithm;
use warrantor_model::{Digest, Json, Timestamp};

use crate::{
    jose::Unverified,
    jwt::{Refusal, instant, only_audience},
    keys::KeySet,
    once::Once,
};

/// The value of `client_assertion_type`.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far an assertion's end may lie ahead. It is made for one request, but what libraries write when nothing is said is an hour; it counts once in any case.
const LONGEST: Duration = Duration::from_secs(3600);
/// The algorithms of assertions, as metadata names them.
pub const ASSERTION_ALGORITHMS: [&str; 8] =
    ["EdDSA", "Ed25519", "ES256", "ES384", "PS256", "PS384", "PS512", "RS256"];
const ALLOWED: [Algorithm; 7] = [
    Algorithm::EdDSA,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
];

/// What an assertion must be.
#[derive(Debug, Clone, Copy)]
pub struct AssertionExpected<'a> {
    /// Who has to have made it, of itself.
    pub client: &'a str,
    /// The audiences of which it must have exactly one and nothing else.
    pub audiences: &'a [String],
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Checks an assertion against the keys of the client that it is to be of. One that holds counts once.
///
/// # Errors
/// [`Refusal`].
pub fn verify_assertion(
    assertion: &str,
    keys: &KeySet,
    expected: &AssertionExpected<'_>,
    now: Timestamp,
) -> Result<Once, Refusal> {
    let token = Unverified::read(assertion)?;
    if !matches!(token.kind()?.as_deref(), None | Some("jwt" | "client-authentication+jwt")) {
        return Err(Refusal::Type);
    }
    let algorithm = token.algorithm(&ALLOWED)?;
    let claims = token.signed_by(keys.candidates(token.key_id()?), algorithm)?;
    let text = |name: &str| claims.get(name).and_then(Json::as_str);
    if text("iss") != Some(expected.client) {
        return Err(Refusal::Issuer);
    }
    if text("sub") != Some(expected.client) {
        return Err(Refusal::Subject);
    }
    let audience = only_audience(&claims);
    if !audience.is_some_and(|audience| expected.audiences.iter().any(|ours| ours == audience)) {
        return Err(Refusal::Audience);
    }
    let end = instant(&claims, "exp").ok_or(Refusal::Time("it does not say when it ends"))?;
    let until = end.plus(expected.leeway);
    if now >= until {
        return Err(Refusal::Time("it has ended"));
    }
    if end > now.plus(LONGEST).plus(expected.leeway) {
        return Err(Refusal::Time("it lasts longer than one request needs"));
    }
    let latest = now.plus(expected.leeway);
    for (name, why) in [("nbf", "it does not begin before later"), ("iat", "it was made later than now")] {
        if claims.get(name).is_some() && instant(&claims, name).is_none_or(|at| at > latest) {
            return Err(Refusal::Time(why));
        }
    }
    let id =
        text("jti").filter(|id| (1..=256).contains(&id.len())).ok_or(Refusal::Format("it has no `jti`"))?;
    let replay = Digest::of_parts(&[b"assertion\n", expected.client.as_bytes(), b"\n", id.as_bytes()]);
    Ok(Once { replay, until })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Signer, SigningAlgorithm, key_set};

    const AT: i64 = 1_893_499_200;
    const SERVICE: &str = "https://control.example.com";

    fn judged(header: Value, claims: Value) -> Result<Once, Refusal> {
        let signer = Signer::from_seed(SigningAlgorithm::EdDsa, &[5; 32]).unwrap();
        let mut head = json!({ "alg": "EdDSA", "typ": "JWT", "kid": signer.id() });
        let mut said =
            json!({ "iss": "bot", "sub": "bot", "aud": SERVICE, "exp": AT + 60, "iat": AT, "jti": "c-1" });
        for (into, from) in [(&mut head, header), (&mut said, claims)] {
            for (name, value) in from.as_object().unwrap() {
                match value {
                    Value::Null => drop(into.as_object_mut().unwrap().remove(name)),
                    value => into[name] = value.clone(),
                }
            }
        }
        let keys = KeySet::parse(key_set([&signer]).to_string().as_bytes()).unwrap();
        let audiences = [SERVICE.to_owned(), format!("{SERVICE}/oauth/token")];
        let expected =
            AssertionExpected { client: "bot", audiences: &audiences, leeway: Duration::from_secs(10) };
        let token = signer.sign_parts(&head, &said).unwrap();
        verify_assertion(&token, &keys, &expected, Timestamp::from_micros(AT * 1_000_000))
    }

    #[test]
    fn an_assertion_of_this_client_for_this_service_is_taken() {
        for (header, claims) in [
            (json!({}), json!({})),
            (json!({ "typ": null, "kid": null }), json!({ "iat": null })),
            (json!({ "typ": "client-authentication+jwt" }), json!({ "aud": [SERVICE] })),
            (json!({}), json!({ "aud": format!("{SERVICE}/oauth/token") })),
            (json!({ "jku": "https://evil.example/keys", "x5u": "https://evil.example/c" }), json!({})),
        ] {
            judged(header, claims).unwrap();
        }
    }

    #[test]
    fn what_an_assertion_is_refused_for() {
        let time = Refusal::Time;
        for (header, claims, why) in [
            (json!({ "alg": "none" }), json!({}), Refusal::Algorithm),
            (json!({ "alg": "HS256" }), json!({}), Refusal::Algorithm),
            (json!({ "typ": "at+jwt" }), json!({}), Refusal::Type),
            (json!({ "typ": "dpop+jwt" }), json!({}), Refusal::Type),
            (json!({ "kid": "../../etc/passwd" }), json!({}), Refusal::UnknownKey),
            (json!({ "kid": "' OR 1=1 --" }), json!({}), Refusal::UnknownKey),
            (json!({}), json!({ "iss": "other" }), Refusal::Issuer),
            (json!({}), json!({ "sub": "other" }), Refusal::Subject),
            (json!({}), json!({ "aud": "https://evil.example" }), Refusal::Audience),
            (json!({}), json!({ "aud": [SERVICE, "https://evil.example"] }), Refusal::Audience),
            (json!({}), json!({ "aud": [] }), Refusal::Audience),
            (json!({}), json!({ "aud": null }), Refusal::Audience),
            (json!({}), json!({ "exp": null }), time("it does not say when it ends")),
            (json!({}), json!({ "exp": AT - 10 }), time("it has ended")),
            (json!({}), json!({ "exp": AT + 3611 }), time("it lasts longer than one request needs")),
            (json!({}), json!({ "nbf": AT + 11 }), time("it does not begin before later")),
            (json!({}), json!({ "iat": AT + 11 }), time("it was made later than now")),
            (json!({}), json!({ "jti": null }), Refusal::Format("it has no `jti`")),
            (json!({}), json!({ "jti": "" }), Refusal::Format("it has no `jti`")),
        ] {
            assert_eq!(judged(header.clone(), claims.clone()), Err(why), "{header} {claims}");
        }
    }
}
