//! JSON Web Tokens (RFC 7519), checked as RFC 8725 demands.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use thiserror::Error;
use warrantor_model::{Decimal, Json, Timestamp};

use crate::{access::ACCESS_TYPE, crossing::CROSSING_TYPE, jose::Unverified, keys::KeySet};

/// What a token was made for. One made for something else is refused, whoever signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An ID token (OpenID Connect Core 1.0, section 2): its `typ` is `JWT` or missing.
    Id,
    /// An access token (RFC 9068): its `typ` is `at+jwt`.
    Access,
    /// A grant of another domain ([`crate::Crossing`]): its `typ` is `oauth-id-jag+jwt`, and it has one audience.
    Crossing,
}

/// The nonce of an ID token (OpenID Connect Core 1.0, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonce<'a> {
    /// This one, which was sent.
    Exactly(&'a str),
    /// None, because none was sent: a token that was made for a nonce is no use to whoever does not know it. Tokens of other kinds may have what they want.
    Absent,
    /// Any: the token does not begin anything, and whoever shows it has other proofs.
    Any,
}

/// What a token must be.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// Its issuer, exactly.
    pub issuer: &'a str,
    /// Its audience: one of these must be among the token's.
    pub audiences: &'a [String],
    /// The algorithms that are allowed.
    pub algorithms: &'a [Algorithm],
    /// What it is for.
    pub purpose: Purpose,
    /// The nonce that it must carry.
    pub nonce: Nonce<'a>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// How old it may be at most, where that is bounded.
    pub max_age: Option<Duration>,
}

/// Why a token is refused. The words are safe to tell whoever presented it: they say nothing that is not in the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It is no token.
    #[error("it is no signed token: {0}")]
    Format(&'static str),
    /// Its algorithm is not allowed.
    #[error("its algorithm is not one of those that are allowed")]
    Algorithm,
    /// It was made for something else.
    #[error("it was not made for this: its type is another")]
    Type,
    /// No key of the issuer has its name. The keys may have changed since.
    #[error("the issuer has no such key")]
    UnknownKey,
    /// The signature is not the issuer's.
    #[error("its signature is not the issuer's")]
    Signature,
    /// Another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("it is for somebody else: its audience is another")]
    Audience,
    /// It has ended, is not valid yet, or says nothing of it.
    #[error("it is not valid now: {0}")]
    Time(&'static str),
    /// The nonce is another.
    #[error("it does not belong to this sign-in: its nonce is another")]
    Nonce,
    /// It names nobody.
    #[error("it does not say whom it speaks of")]
    Subject,
}

/// A verified token's claims. There is no way to one but [`verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    issuer: String,
    subject: String,
    expires_at: Timestamp,
    all: Json,
}

impl Claims {
    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// All of them.
    pub(crate) fn all(&self) -> &Json {
        &self.all
    }

    /// A claim, whatever it is.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.all.get(name)
    }

    /// A claim that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Json::as_str)
    }

    /// A claim that is a list of texts; of a list with anything else in it nothing.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let list = self.all.get(name).and_then(Json::as_array).unwrap_or_default();
        list.iter().map(Json::as_str).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// A claim that is `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.all.get(name), Some(Json::Bool(true)))
    }

    /// A claim that is an instant, such as `auth_time`.
    #[must_use]
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        instant(&self.all, name)
    }
}

/// Checks a token.
///
/// # Errors
/// [`Refusal`]. On [`Refusal::UnknownKey`] it may be worth asking the issuer for its keys again.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let token = Unverified::read(token)?;
    let algorithm = token.algorithm(expected.algorithms)?;
    let kind = token.kind()?;
    let fits = match expected.purpose {
        Purpose::Id => matches!(kind.as_deref(), None | Some("jwt")),
        Purpose::Access => kind.as_deref() == Some(ACCESS_TYPE),
        Purpose::Crossing => kind.as_deref() == Some(CROSSING_TYPE),
    };
    if !fits {
        return Err(Refusal::Type);
    }
    // Nothing of the payload is looked at before this.
    let claims = token.signed_by(keys.candidates(token.key_id()?), algorithm)?;
    check_claims(claims, expected, now)
}

fn check_claims(all: Json, expected: &Expected<'_>, now: Timestamp) -> Result<Claims, Refusal> {
    let text = |name: &str| all.get(name).and_then(Json::as_str);
    let issuer = text("iss").filter(|issuer| *issuer == expected.issuer).ok_or(Refusal::Issuer)?;
    let subject = text("sub").filter(|subject| !subject.is_empty()).ok_or(Refusal::Subject)?;
    let audiences: Vec<&str> = match all.get("aud") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(list)) => {
            list.iter().map(Json::as_str).collect::<Option<_>>().ok_or(Refusal::Audience)?
        }
        _ => return Err(Refusal::Audience),
    };
    let is_ours = |audience: &str| expected.audiences.iter().any(|ours| ours == audience);
    if !audiences.iter().any(|audience| is_ours(audience)) {
        return Err(Refusal::Audience);
    }
    if expected.purpose == Purpose::Crossing && audiences.len() != 1 {
        return Err(Refusal::Audience);
    }
    // OpenID Connect Core 1.0, section 3.1.3.7: of several audiences one asked for it, and that must be us.
    if expected.purpose == Purpose::Id {
        let asked_for = text("azp");
        if (audiences.len() > 1 && asked_for.is_none()) || asked_for.is_some_and(|party| !is_ours(party)) {
            return Err(Refusal::Audience);
        }
    }
    let expires_at = instant(&all, "exp").ok_or(Refusal::Time("it does not say when it ends"))?;
    if now >= expires_at.plus(expected.leeway) {
        return Err(Refusal::Time("it has ended"));
    }
    let latest = now.plus(expected.leeway);
    if all.get("nbf").is_some() && instant(&all, "nbf").is_none_or(|from| from > latest) {
        return Err(Refusal::Time("it does not begin before later"));
    }
    let issued = instant(&all, "iat").ok_or(Refusal::Time("it does not say when it was made"))?;
    if issued > latest {
        return Err(Refusal::Time("it was made later than now"));
    }
    if expected.max_age.is_some_and(|most| issued.plus(most).plus(expected.leeway) <= now) {
        return Err(Refusal::Time("it was made too long ago"));
    }
    let other_nonce = match expected.nonce {
        Nonce::Exactly(nonce) => text("nonce") != Some(nonce),
        Nonce::Absent => expected.purpose == Purpose::Id && all.get("nonce").is_some(),
        Nonce::Any => false,
    };
    if other_nonce {
        return Err(Refusal::Nonce);
    }
    let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
    Ok(Claims { issuer, subject, expires_at, all })
}

/// The audience, if there is one and no other: of a token for several, each could show it to the others as its own.
pub(crate) fn only_audience(all: &Json) -> Option<&str> {
    match all.get("aud")? {
        Json::String(one) => Some(one),
        Json::Array(list) => match list.as_slice() {
            [one] => one.as_str(),
            _ => None,
        },
        _ => None,
    }
}

/// A NumericDate (RFC 7519, section 2).
pub(crate) fn instant(all: &Json, name: &str) -> Option<Timestamp> {
    let seconds = all.get(name)?.as_decimal()?;
    let micros = seconds.checked_mul(Decimal::from(1_000_000))?.trunc();
    i64::try_from(micros.mantissa()).ok().filter(|micros| *micros >= 0).map(Timestamp::from_micros)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use jsonwebtoken::{EncodingKey, crypto, jwk::Jwk};
    use proptest::prelude::*;

    use super::*;

    const ISSUER: &str = "https://login.example.com";
    const NOW: &str = "2030-01-01T12:00:00Z";
    const AT: i64 = 1_893_499_200;

    /// A key pair of P-256, made anew for each test: (signing key, public JWK).
    #[expect(clippy::disallowed_methods, reason = "keys of a test are nobody's")]
    fn pair() -> (EncodingKey, serde_json::Value) {
        use aws_lc_rs::{rand::SystemRandom, signature};
        let der = signature::EcdsaKeyPair::generate_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &SystemRandom::new(),
        )
        .unwrap();
        let key = EncodingKey::from_ec_der(der.as_ref());
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).unwrap();
        jwk["kid"] = "k1".into();
        (key, jwk)
    }

    fn set(jwk: &serde_json::Value) -> KeySet {
        KeySet::parse(serde_json::json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap()
    }

    fn sealed(key: &EncodingKey, header: &str, payload: &str) -> String {
        let signed =
            format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
        let signature = crypto::sign(signed.as_bytes(), key, Algorithm::ES256).unwrap();
        format!("{signed}.{signature}")
    }

    fn payload(change: &str) -> String {
        let mut value = serde_json::json!({
            "iss": ISSUER, "sub": "u1", "aud": "warrantor", "exp": AT + 60, "iat": AT - 5, "nonce": "n", "groups": ["a"],
        });
        let change: serde_json::Value = serde_json::from_str(change).unwrap();
        for (name, new) in change.as_object().unwrap() {
            match new {
                serde_json::Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
                new => value[name] = new.clone(),
            }
        }
        value.to_string()
    }

    fn judged(token: &str, keys: &KeySet, purpose: Purpose) -> Result<Claims, Refusal> {
        let audiences = ["warrantor".to_owned()];
        let expected = Expected {
            issuer: ISSUER,
            audiences: &audiences,
            algorithms: &[Algorithm::ES256, Algorithm::RS256],
            purpose,
            nonce: Nonce::Exactly("n"),
            leeway: Duration::from_secs(10),
            max_age: Some(Duration::from_secs(300)),
        };
        verify(token, keys, &expected, NOW.parse().unwrap())
    }

    const HEADER: &str = r#"{"alg":"ES256","kid":"k1"}"#;

    #[test]
    fn a_token_that_is_all_it_should_be_is_taken() {
        let (key, jwk) = pair();
        let claims = judged(&sealed(&key, HEADER, &payload("{}")), &set(&jwk), Purpose::Id).unwrap();
        assert_eq!((claims.issuer(), claims.subject()), (ISSUER, "u1"));
        assert_eq!(claims.texts("groups"), ["a"]);
        for header in [
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256","typ":"JWT"}"#,
            r#"{"alg":"ES256","kid":"k1","jku":"https://evil.example"}"#,
        ] {
            assert!(
                judged(&sealed(&key, header, &payload("{}")), &set(&jwk), Purpose::Id).is_ok(),
                "{header}"
            );
        }
    }

    #[test]
    fn what_a_token_is_refused_for() {
        let (key, jwk) = pair();
        for (change, why) in [
            (r#"{"iss":"https://evil.example"}"#, Refusal::Issuer),
            (r#"{"iss":"https://login.example.com/"}"#, Refusal::Issuer),
            (r#"{"iss":null}"#, Refusal::Issuer),
            (r#"{"aud":"others"}"#, Refusal::Audience),
            (r#"{"aud":null}"#, Refusal::Audience),
            (r#"{"aud":[1]}"#, Refusal::Audience),
            (r#"{"aud":["warrantor","others"]}"#, Refusal::Audience),
            (r#"{"azp":"others"}"#, Refusal::Audience),
            (r#"{"sub":""}"#, Refusal::Subject),
            (r#"{"sub":7}"#, Refusal::Subject),
            (r#"{"exp":null}"#, Refusal::Time("it does not say when it ends")),
            (r#"{"exp":1893499190}"#, Refusal::Time("it has ended")),
            (r#"{"exp":"1893499260"}"#, Refusal::Time("it does not say when it ends")),
            (r#"{"iat":null}"#, Refusal::Time("it does not say when it was made")),
            (r#"{"iat":1893499211}"#, Refusal::Time("it was made later than now")),
            (r#"{"iat":1893498800}"#, Refusal::Time("it was made too long ago")),
            (r#"{"nbf":1893499211}"#, Refusal::Time("it does not begin before later")),
            (r#"{"nbf":"soon"}"#, Refusal::Time("it does not begin before later")),
            (r#"{"nonce":"m"}"#, Refusal::Nonce),
            (r#"{"nonce":null}"#, Refusal::Nonce),
        ] {
            let judged = judged(&sealed(&key, HEADER, &payload(change)), &set(&jwk), Purpose::Id);
            assert_eq!(judged, Err(why), "{change}");
        }
        for change in [
            r#"{"aud":["warrantor"]}"#,
            r#"{"aud":["a","warrantor"],"azp":"warrantor"}"#,
            r#"{"exp":1893499191}"#,
        ] {
            assert!(
                judged(&sealed(&key, HEADER, &payload(change)), &set(&jwk), Purpose::Id).is_ok(),
                "{change}"
            );
        }
    }

    #[test]
    fn a_token_made_for_a_nonce_is_refused_to_whoever_does_not_know_it() {
        let (key, jwk) = pair();
        let audiences = ["warrantor".to_owned()];
        let without = Expected {
            issuer: ISSUER,
            audiences: &audiences,
            algorithms: &[Algorithm::ES256],
            purpose: Purpose::Id,
            nonce: Nonce::Absent,
            leeway: Duration::ZERO,
            max_age: None,
        };
        let judged = |change: &str, expected: &Expected<'_>| {
            verify(&sealed(&key, HEADER, &payload(change)), &set(&jwk), expected, NOW.parse().unwrap())
        };
        assert_eq!(judged("{}", &without), Err(Refusal::Nonce));
        assert!(judged(r#"{"nonce":null}"#, &without).is_ok());
        assert!(judged("{}", &Expected { nonce: Nonce::Any, ..without }).is_ok());
    }

    #[test]
    fn no_header_chooses_its_own_algorithm_key_or_type() {
        let (key, jwk) = pair();
        let (other, other_jwk) = pair();
        for (header, why) in [
            (r#"{"alg":"none"}"#, Refusal::Algorithm),
            (r#"{"alg":"HS256","kid":"k1"}"#, Refusal::Algorithm),
            (r#"{"alg":"ES384","kid":"k1"}"#, Refusal::Algorithm),
            (r#"{"kid":"k1"}"#, Refusal::Algorithm),
            (r#"{"alg":"RS256","kid":"k1"}"#, Refusal::UnknownKey),
            (r#"{"alg":"ES256","kid":"k2"}"#, Refusal::UnknownKey),
            (r#"{"alg":"ES256","typ":"at+jwt"}"#, Refusal::Type),
            (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, Refusal::Type),
            (r#"{"alg":"ES256","crit":["x"]}"#, Refusal::Format("it demands extensions that are not known")),
            (
                r#"{"alg":"ES256","alg":"ES256"}"#,
                Refusal::Format("a part of it is no JSON, or names a member twice"),
            ),
        ] {
            let judged = judged(&sealed(&key, header, &payload("{}")), &set(&jwk), Purpose::Id);
            assert_eq!(judged, Err(why), "{header}");
        }
        // A key that comes with the token is nobody's.
        let embedded = format!(r#"{{"alg":"ES256","kid":"k1","jwk":{other_jwk}}}"#);
        let judged_embedded = judged(&sealed(&other, &embedded, &payload("{}")), &set(&jwk), Purpose::Id);
        assert_eq!(judged_embedded, Err(Refusal::Signature));
        let access = sealed(&key, r#"{"alg":"ES256","typ":"at+jwt"}"#, &payload("{}"));
        assert!(judged(&access, &set(&jwk), Purpose::Access).is_ok());
        assert_eq!(
            judged(&sealed(&key, HEADER, &payload("{}")), &set(&jwk), Purpose::Access),
            Err(Refusal::Type)
        );
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let (key, jwk) = pair();
        let token = sealed(&key, HEADER, &payload("{}"));
        let keys = set(&jwk);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(judged(&changed, &keys, Purpose::Id).is_err(), "at {at}");
        }
    }

    #[test]
    fn keys_that_should_not_be_used_are_not() {
        let (_, jwk) = pair();
        for (change, fits) in [
            (r#"{}"#, true),
            (r#"{"use":"sig"}"#, true),
            (r#"{"use":"enc"}"#, false),
            (r#"{"alg":"ES256"}"#, true),
            (r#"{"alg":"RS256"}"#, false),
            (r#"{"alg":"HS256"}"#, false),
            (r#"{"d":"AAAA"}"#, false),
            (r#"{"kty":"oct","k":"AAAA"}"#, false),
            (r#"{"crv":"P-521"}"#, false),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, false),
        ] {
            let mut jwk = jwk.clone();
            for (name, new) in serde_json::from_str::<serde_json::Value>(change).unwrap().as_object().unwrap()
            {
                jwk[name] = new.clone();
            }
            assert_eq!(crate::PublicKey::parse(jwk.to_string().as_bytes()).is_ok(), fits, "{change}");
        }
        assert!(matches!(KeySet::parse(b"{\"keys\":[]}"), Err(crate::KeySetError::Unusable(0))));
        assert!(matches!(KeySet::parse(b"[]"), Err(crate::KeySetError::Format(_))));
        let many = format!("{{\"keys\":[{}]}}", vec!["{}"; 101].join(","));
        assert!(matches!(KeySet::parse(many.as_bytes()), Err(crate::KeySetError::TooMany(101))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", header in ".{0,60}", body in ".{0,60}") {
            let (key, jwk) = pair();
            let keys = set(&jwk);
            prop_assert!(judged(&text, &keys, Purpose::Id).is_err());
            let made = sealed(&key, &header, &body);
            prop_assert!(judged(&made, &keys, Purpose::Id).is_err());
            let _ = KeySet::parse(text.as_bytes());
            let _ = crate::PublicKey::parse(body.as_bytes());
        }
    }
}
