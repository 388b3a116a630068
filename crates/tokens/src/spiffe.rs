//! Identities of workloads (SPIFFE): their names, the bundles of keys that trust domains publish, and the tokens that
//! prove such a name (JWT-SVID).
//!
//! A bundle is of one trust domain, and the name of that comes from whoever configured it, never from the bundle or
//! from where it was fetched (SPIFFE Federation). Its keys speak for identities of that domain and for no others,
//! whatever a token says.

use std::{fmt, str::FromStr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use jsonwebtoken::Algorithm;
use thiserror::Error;
use warrantor_model::{Digest, Json, Timestamp};

use crate::{
    jose::{Unverified, claimed, signed_digest},
    jwt::{Refusal, instant, only_audience},
    keys::{KeySet, MAX_KEY_SET_BYTES, MAX_KEYS, PublicKey},
    once::Once,
};

/// What every SPIFFE ID begins with.
const SCHEME: &str = "spiffe://";
/// Most bytes of a SPIFFE ID (SPIFFE-ID, section 2.3).
const MAX_ID_BYTES: usize = 2048;
/// Most bytes of a trust domain's name (SPIFFE-ID, section 2.3).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;
/// What a name may have apart from letters and digits.
const MARKS: [char; 3] = ['.', '-', '_'];
/// How far a token's end may lie ahead. The standard sets no limit and asks for a short life: whoever finds such a
/// token can use it until then.
const LONGEST: Duration = Duration::from_secs(3600);
/// All that a header may have (JWT-SVID, section 2).
const HEADER: [&str; 3] = ["alg", "kid", "typ"];
/// Those of JWT-SVID, section 2.1, that are known here. Ed25519 is not among them, and ES512 is not known.
const ALLOWED: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// Why a text is no SPIFFE ID, or no name of a trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpiffeIdError {
    /// Too many bytes.
    #[error("it has {0} bytes, more than the {MAX_ID_BYTES} of a SPIFFE ID")]
    TooLong(usize),
    /// Another scheme, or this one in other letters.
    #[error("it does not begin with `{SCHEME}`, in lower case")]
    Scheme,
    /// No trust domain.
    #[error("it names no trust domain: write {SCHEME}example.org/path")]
    NoTrustDomain,
    /// The trust domain's name has too many bytes.
    #[error("its trust domain has {0} bytes, more than the {MAX_TRUST_DOMAIN_BYTES} that are allowed")]
    LongTrustDomain(usize),
    /// A character that no trust domain has: also that of a port, of a user, of a query.
    #[error(
        "its trust domain has the character {0:?}: use a-z, digits, `.`, `-` and `_`, without a port or a user"
    )]
    TrustDomainCharacter(char),
    /// A character that no path has: also that of a percent-encoding, of a query, of a fragment.
    #[error("its path has the character {0:?}: use letters, digits, `.`, `-` and `_`, without a query")]
    PathCharacter(char),
    /// Two slashes in a row.
    #[error("its path has an empty segment: remove one of the two slashes")]
    EmptySegment,
    /// `.` or `..`.
    #[error("its path has a segment `.` or `..`: write the path that is meant")]
    DotSegment,
    /// A slash at the end.
    #[error("it ends with a slash: remove it")]
    TrailingSlash,
}

/// The name of a workload or of a trust domain (SPIFFE-ID, section 2). What is not in its one form is refused and never
/// brought into it, so two that are equal are so byte for byte; their order is that of their texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// The trust domain's name.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.parts().0
    }

    /// The path with its first slash; empty where it names a trust domain.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().1
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str) {
        let rest = self.0.strip_prefix(SCHEME).unwrap_or_default();
        rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, ""))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;
    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        match rest.split_once('/') {
            None => check_trust_domain(rest)?,
            Some((trust_domain, path)) => {
                check_trust_domain(trust_domain)?;
                check_path(path)?;
            }
        }
        Ok(Self(text.to_owned()))
    }
}

fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    if name.is_empty() {
        return Err(SpiffeIdError::NoTrustDomain);
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || MARKS.contains(&c);
    if let Some(found) = name.chars().find(|c| !fits(*c)) {
        return Err(SpiffeIdError::TrustDomainCharacter(found));
    }
    if name.len() > MAX_TRUST_DOMAIN_BYTES {
        return Err(SpiffeIdError::LongTrustDomain(name.len()));
    }
    Ok(())
}

/// A path without its first slash.
fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let fits = |c: char| c == '/' || c.is_ascii_alphanumeric() || MARKS.contains(&c);
    if let Some(found) = path.chars().find(|c| !fits(*c)) {
        return Err(SpiffeIdError::PathCharacter(found));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(SpiffeIdError::TrailingSlash);
    }
    for segment in path.split('/') {
        match segment {
            "" => return Err(SpiffeIdError::EmptySegment),
            "." | ".." => return Err(SpiffeIdError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// Why a trust bundle is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrustBundleError {
    /// What it is said to be of is no trust domain.
    #[error(transparent)]
    TrustDomain(#[from] SpiffeIdError),
    /// It is no bundle.
    #[error("it is no trust bundle: {0}")]
    Format(String),
    /// Too many entries.
    #[error("it has {0} entries, more than the {MAX_KEYS} that are read")]
    TooMany(usize),
    /// Nothing of it can be used.
    #[error(
        "none of its {0} entries is a key for JWT-SVIDs or a certificate for X509-SVIDs that can be used"
    )]
    Unusable(usize),
}

/// What a trust domain publishes so that others can verify its identities (SPIFFE Trust Domain and Bundle, section 4).
#[derive(Debug, Clone)]
pub struct TrustBundle {
    trust_domain: String,
    jwt_keys: Option<KeySet>,
    certificates: Vec<Vec<u8>>,
    sequence: Option<u64>,
    refresh_hint: Option<Duration>,
}

impl TrustBundle {
    /// Reads the bundle of this trust domain, of at most [`MAX_KEY_SET_BYTES`] and [`MAX_KEYS`] entries. Entries for
    /// uses that are not known, and those that cannot be used, are passed over, as the standard and RFC 7517, section
    /// 5, demand.
    ///
    /// # Errors
    /// [`TrustBundleError`].
    pub fn parse(trust_domain: &str, bytes: &[u8]) -> Result<Self, TrustBundleError> {
        check_trust_domain(trust_domain)?;
        let json = Json::parse_within(bytes, MAX_KEY_SET_BYTES)
            .map_err(|cause| TrustBundleError::Format(cause.to_string()))?;
        let entries = json
            .get("keys")
            .and_then(Json::as_array)
            .ok_or_else(|| TrustBundleError::Format("it has no list `keys`".to_owned()))?;
        if entries.len() > MAX_KEYS {
            return Err(TrustBundleError::TooMany(entries.len()));
        }
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.get("use").and_then(Json::as_str) {
                Some("jwt-svid") => keys.extend(jwt_key(entry)),
                Some("x509-svid") => certificates.extend(certificate(entry)),
                // A key is for its one use: those of another kind of identity must not do for this one.
                _ => {}
            }
        }
        let jwt_keys = KeySet::of_all(keys);
        if jwt_keys.is_none() && certificates.is_empty() {
            return Err(TrustBundleError::Unusable(entries.len()));
        }
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            jwt_keys,
            certificates,
            sequence: whole(&json, "spiffe_sequence")?,
            refresh_hint: whole(&json, "spiffe_refresh_hint")?.map(Duration::from_secs),
        })
    }

    /// The trust domain that it is of.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The keys that JWT-SVIDs are verified with, each with a name; none where the trust domain makes no such tokens.
    #[must_use]
    pub fn jwt_keys(&self) -> Option<&KeySet> {
        self.jwt_keys.as_ref()
    }

    /// The certificates that X509-SVIDs are verified with, in DER. That they are certificates has not been looked at.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// Its number (`spiffe_sequence`), which grows with every change.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How long to wait before asking for it again (`spiffe_refresh_hint`), as it was said: it may be nothing or
    /// centuries, and is for the caller to bound.
    #[must_use]
    pub fn refresh_hint(&self) -> Option<Duration> {
        self.refresh_hint
    }

    /// Whether it may stand in for the one that was held before: it is of the same trust domain and its number is no
    /// lower. A lower one would bring back keys that were withdrawn, and so could one without a number after one that
    /// had it.
    #[must_use]
    pub fn replaces(&self, older: &Self) -> bool {
        let is_later = older.sequence.is_none_or(|old| self.sequence.is_some_and(|new| new >= old));
        self.trust_domain == older.trust_domain && is_later
    }
}

/// A key that JWT-SVIDs are signed with. It has to have a name, for it is chosen by that.
fn jwt_key(entry: &Json) -> Option<PublicKey> {
    let key = PublicKey::of(entry).ok()?;
    let is_named = key.id.as_deref().is_some_and(|id| !id.is_empty());
    let fits = key.fits.iter().any(|algorithm| ALLOWED.contains(algorithm));
    (is_named && fits).then_some(key)
}

/// The one certificate of an entry. It is base64 with padding and not that of the rest of JOSE (RFC 7517, section 4.7).
fn certificate(entry: &Json) -> Option<Vec<u8>> {
    let [Json::String(encoded)] = entry.get("x5c")?.as_array()? else { return None };
    // DER begins a certificate with the tag of a sequence; other forms of it, such as PEM within base64, do not.
    BASE64_STANDARD.decode(encoded).ok().filter(|der| der.first() == Some(&0x30))
}

fn whole(json: &Json, name: &str) -> Result<Option<u64>, TrustBundleError> {
    let Some(said) = json.get(name) else { return Ok(None) };
    let number = match said {
        Json::Number(literal) => literal.parse::<u64>().ok(),
        _ => None,
    };
    number
        .map(Some)
        .ok_or_else(|| TrustBundleError::Format(format!("`{name}` is no whole number of 64 bits")))
}

/// What a verified JWT-SVID says. There is no way to one but [`verify_jwt_svid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svid {
    id: SpiffeId,
    expires_at: Timestamp,
    once: Once,
}

impl Svid {
    /// Whom it speaks of (`sub`): a workload, never a trust domain.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// `exp`.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// What is remembered of it where it counts once: its name (`jti`), or what was signed where it has none.
    ///
    /// Whether it counts once is the caller's choice. The standard does not ask for it (JWT-SVID, section 7.1), and the
    /// Workload API hands out the same token again while that is good for some time, so a workload that asks it before
    /// each request shows one token more than once and does nothing wrong. Where a token is a client assertion,
    /// counting it once keeps whoever copied it out, and such workloads too.
    #[must_use]
    pub fn once(&self) -> Once {
        self.once
    }
}

/// Checks a JWT-SVID (JWT-SVID, sections 2 to 4) with the bundle of a trust domain. Stricter than the standard in this:
/// the token names its key, has one audience, ends within an hour, and is not signed with ES512.
///
/// # Errors
/// [`Refusal`]: [`Refusal::Issuer`] for an identity of another trust domain than the bundle's, [`Refusal::Subject`] for
/// what is no identity of a workload. On [`Refusal::UnknownKey`] it may be worth asking the trust domain for its bundle
/// again.
pub fn verify_jwt_svid(
    token: &str,
    bundle: &TrustBundle,
    audiences: &[String],
    leeway: Duration,
    now: Timestamp,
) -> Result<Svid, Refusal> {
    let parts = Unverified::read(token)?;
    check_header(parts.header())?;
    let algorithm = parts.algorithm(&ALLOWED)?;
    // The standard leaves the name out of what a token must have, but has it with every key of a bundle, so that none
    // need be tried in turn.
    let key = parts.key_id()?.ok_or(Refusal::Format("it does not name its key"))?;
    let keys = bundle.jwt_keys().ok_or(Refusal::UnknownKey)?;
    // Nothing of the payload is looked at before this.
    let claims = parts.signed_by(keys.candidates(Some(key)), algorithm)?;
    let subject = claims.get("sub").and_then(Json::as_str);
    let id = subject.and_then(|subject| subject.parse::<SpiffeId>().ok());
    let id = id.filter(|id| !id.path().is_empty()).ok_or(Refusal::Subject)?;
    if id.trust_domain() != bundle.trust_domain() {
        return Err(Refusal::Issuer);
    }
    if !only_audience(&claims).is_some_and(|audience| audiences.iter().any(|ours| ours == audience)) {
        return Err(Refusal::Audience);
    }
    let expires_at = check_time(&claims, leeway, now)?;
    let once = Once { replay: remembered(token, &id, &claims)?, until: expires_at.plus(leeway) };
    Ok(Svid { id, expires_at, once })
}

fn check_header(header: &Json) -> Result<(), Refusal> {
    let members = header.as_object().unwrap_or_default();
    if members.iter().any(|(name, _)| !HEADER.contains(&name.as_str())) {
        return Err(Refusal::Format("its header has more than `alg`, `kid` and `typ`"));
    }
    // The standard names these two values and no other writing of them.
    match header.get("typ").map(Json::as_str) {
        None | Some(Some("JWT" | "JOSE")) => Ok(()),
        Some(_) => Err(Refusal::Type),
    }
}

/// When it ends, if it is valid now.
fn check_time(claims: &Json, leeway: Duration, now: Timestamp) -> Result<Timestamp, Refusal> {
    let end = instant(claims, "exp").ok_or(Refusal::Time("it does not say when it ends"))?;
    if now >= end.plus(leeway) {
        return Err(Refusal::Time("it has ended"));
    }
    if end > now.plus(LONGEST).plus(leeway) {
        return Err(Refusal::Time("it ends later than in an hour"));
    }
    let latest = now.plus(leeway);
    for (name, why) in [("nbf", "it does not begin before later"), ("iat", "it was made later than now")] {
        if claims.get(name).is_some() && instant(claims, name).is_none_or(|at| at > latest) {
            return Err(Refusal::Time(why));
        }
    }
    Ok(end)
}

/// What is remembered of a token whose signature holds.
fn remembered(token: &str, id: &SpiffeId, claims: &Json) -> Result<Digest, Refusal> {
    let Some(name) = claims.get("jti") else {
        // Without the signature: from one of ECDSA anybody can make a second that holds as well.
        return Ok(Digest::of_parts(&[b"svid token", signed_digest(token).as_bytes()]));
    };
    let name = name
        .as_str()
        .filter(|name| (1..=256).contains(&name.len()))
        .ok_or(Refusal::Format("its `jti` is no text of 1 to 256 bytes"))?;
    // No SPIFFE ID has a space, so one cannot end later than another and so pass for it.
    Ok(Digest::of_parts(&[b"svid", id.as_str().as_bytes(), b" ", name.as_bytes()]))
}

/// The identity that a token claims (`sub`), which nobody has verified: good for choosing the trust domain whose bundle
/// to verify it with, and for nothing else. None where the token claims no SPIFFE ID and so is no JWT-SVID.
///
/// # Errors
/// [`Refusal::Format`].
pub fn claimed_trust_domain(token: &str) -> Result<Option<SpiffeId>, Refusal> {
    Ok(claimed(token, "sub")?.and_then(|subject| subject.parse().ok()))
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Signer, SigningAlgorithm};

    const AT: i64 = 1_893_499_200;
    const SERVICE: &str = "https://control.example.com";
    const DOMAIN: &str = "example.org";
    const ID: &str = "spiffe://example.org/agent/b";
    /// No certificate, but a sequence in DER.
    const CERTIFICATE: &str = "MAMCAQE=";

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(SigningAlgorithm::Es256, &[seed; 32]).unwrap()
    }

    /// This value with some members changed; one of null is left out.
    fn changed(mut value: Value, change: &Value) -> Value {
        for (name, new) in change.as_object().unwrap() {
            match new {
                Value::Null => drop(value.as_object_mut().unwrap().remove(name)),
                new => value[name] = new.clone(),
            }
        }
        value
    }

    /// The entry of a signer's key in a bundle.
    fn entry(signer: &Signer) -> Value {
        changed(signer.public().clone(), &json!({ "use": "jwt-svid" }))
    }

    fn parsed(document: &Value) -> Result<TrustBundle, TrustBundleError> {
        TrustBundle::parse(DOMAIN, document.to_string().as_bytes())
    }

    fn bundle() -> TrustBundle {
        parsed(&json!({ "keys": [entry(&signer(5))] })).unwrap()
    }

    fn made(signer: &Signer, header: &Value, claims: &Value) -> String {
        let head = json!({ "alg": "ES256", "typ": "JWT", "kid": signer.id() });
        let said = json!({ "sub": ID, "aud": SERVICE, "exp": AT + 60, "iat": AT, "jti": "c-1" });
        signer.sign_parts(&changed(head, header), &changed(said, claims)).unwrap()
    }

    fn judged(token: &str, bundle: &TrustBundle) -> Result<Svid, Refusal> {
        let audiences = [SERVICE.to_owned(), format!("{SERVICE}/oauth/token")];
        let now = Timestamp::from_micros(AT * 1_000_000);
        verify_jwt_svid(token, bundle, &audiences, Duration::from_secs(10), now)
    }

    #[test]
    fn an_id_in_its_one_form_is_taken_apart() {
        let longest_domain = "a".repeat(MAX_TRUST_DOMAIN_BYTES);
        let longest_path = format!("/{}", "a".repeat(MAX_ID_BYTES - "spiffe://example.org/".len()));
        for (trust_domain, path) in [
            ("example.org", ""),
            ("example.org", "/agent/b"),
            ("example.org", "/Agent/B-1_2.x"),
            ("example.org", "/.../.a/b.."),
            ("10.0.0.1", "/a"),
            ("a_b-c.d9", "/a"),
            (longest_domain.as_str(), "/a"),
            ("example.org", longest_path.as_str()),
        ] {
            let text = format!("spiffe://{trust_domain}{path}");
            let id: SpiffeId = text.parse().unwrap();
            assert_eq!((id.trust_domain(), id.path(), id.as_str()), (trust_domain, path, text.as_str()));
            assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn an_id_in_another_form_is_refused_and_not_mended() {
        use SpiffeIdError as Error;
        let too_long = format!("{ID}{}", "a".repeat(MAX_ID_BYTES + 1 - ID.len()));
        let long_domain = format!("spiffe://{}/a", "a".repeat(MAX_TRUST_DOMAIN_BYTES + 1));
        for (text, why) in [
            (too_long.as_str(), Error::TooLong(2049)),
            ("", Error::Scheme),
            ("example.org/agent/b", Error::Scheme),
            ("https://example.org/agent/b", Error::Scheme),
            ("SPIFFE://example.org/agent/b", Error::Scheme),
            (" spiffe://example.org/agent/b", Error::Scheme),
            ("spiffe:/example.org", Error::Scheme),
            ("spiffe://", Error::NoTrustDomain),
            ("spiffe:///agent/b", Error::NoTrustDomain),
            (long_domain.as_str(), Error::LongTrustDomain(256)),
            ("spiffe://Example.org/agent/b", Error::TrustDomainCharacter('E')),
            ("spiffe://example.org:8443/agent/b", Error::TrustDomainCharacter(':')),
            ("spiffe://me@example.org/agent/b", Error::TrustDomainCharacter('@')),
            ("spiffe://ex%61mple.org/agent/b", Error::TrustDomainCharacter('%')),
            ("spiffe://example.org?a=b", Error::TrustDomainCharacter('?')),
            ("spiffe://example.org#a", Error::TrustDomainCharacter('#')),
            ("spiffe://[::1]/a", Error::TrustDomainCharacter('[')),
            ("spiffe://exämple.org/a", Error::TrustDomainCharacter('ä')),
            ("spiffe://example.org/agent/%62", Error::PathCharacter('%')),
            ("spiffe://example.org/agent/b?c=d", Error::PathCharacter('?')),
            ("spiffe://example.org/agent/b#c", Error::PathCharacter('#')),
            ("spiffe://example.org/agent/b:1", Error::PathCharacter(':')),
            ("spiffe://example.org/agent/b\n", Error::PathCharacter('\n')),
            ("spiffe://example.org/agent\\b", Error::PathCharacter('\\')),
            ("spiffe://example.org/agent//b", Error::EmptySegment),
            ("spiffe://example.org//agent", Error::EmptySegment),
            ("spiffe://example.org/./b", Error::DotSegment),
            ("spiffe://example.org/agent/..", Error::DotSegment),
            ("spiffe://example.org/", Error::TrailingSlash),
            ("spiffe://example.org/agent/", Error::TrailingSlash),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(why), "{text}");
        }
    }

    #[test]
    fn a_bundle_keeps_what_is_known_and_can_be_used() {
        let key = entry(&signer(5));
        let certificate = json!({ "use": "x509-svid", "kty": "EC", "x5c": [CERTIFICATE] });
        let ed25519 = Signer::from_seed(SigningAlgorithm::EdDsa, &[5; 32]).unwrap();
        let unknown = json!([
            { "use": "wit-svid", "kid": "w" }, { "use": "JWT-SVID", "kid": "j" }, { "kty": "EC" }, 7,
            signer(6).public(), changed(key.clone(), &json!({ "use": null })), key,
        ]);
        let unfit_keys = json!([
            changed(key.clone(), &json!({ "kid": null })),
            changed(key.clone(), &json!({ "kid": "" })),
            changed(key.clone(), &json!({ "kid": 7 })),
            changed(key.clone(), &json!({ "kty": "LMS" })),
            changed(key.clone(), &json!({ "d": "AAAA" })),
            changed(key.clone(), &json!({ "crv": "P-521" })),
            entry(&ed25519),
            key,
        ]);
        let unfit_certificates = json!([
            changed(certificate.clone(), &json!({ "x5c": null })),
            changed(certificate.clone(), &json!({ "x5c": [] })),
            changed(certificate.clone(), &json!({ "x5c": CERTIFICATE })),
            changed(certificate.clone(), &json!({ "x5c": [CERTIFICATE, CERTIFICATE] })),
            changed(certificate.clone(), &json!({ "x5c": [""] })),
            changed(certificate.clone(), &json!({ "x5c": ["MAMCAQE"] })),
            changed(certificate.clone(), &json!({ "x5c": ["LS0tLS1CRUdJTg=="] })),
            certificate,
        ]);
        for (document, keys, certificates, sequence, hint) in [
            (json!({ "keys": [key] }), 1, 0, None, None),
            (json!({ "keys": [certificate, certificate] }), 0, 2, None, None),
            (json!({ "keys": [certificate, key, entry(&signer(6))] }), 2, 1, None, None),
            (
                json!({ "keys": [key], "spiffe_sequence": 12, "spiffe_refresh_hint": 300 }),
                1,
                0,
                Some(12),
                Some(300),
            ),
            (json!({ "keys": [key], "spiffe_sequence": u64::MAX, "more": [] }), 1, 0, Some(u64::MAX), None),
            (json!({ "keys": unknown }), 1, 0, None, None),
            (json!({ "keys": unfit_keys }), 1, 0, None, None),
            (json!({ "keys": unfit_certificates }), 0, 1, None, None),
        ] {
            let bundle = parsed(&document).unwrap();
            assert_eq!(bundle.trust_domain(), DOMAIN);
            assert_eq!(bundle.jwt_keys().map_or(0, |set| set.candidates(None).count()), keys, "{document}");
            assert_eq!(bundle.certificates(), vec![vec![0x30_u8, 3, 2, 1, 1]; certificates], "{document}");
            assert_eq!(bundle.sequence(), sequence, "{document}");
            assert_eq!(bundle.refresh_hint(), hint.map(Duration::from_secs), "{document}");
        }
    }

    #[test]
    fn what_a_bundle_is_refused_for() {
        let key = entry(&signer(5));
        let no_list = TrustBundleError::Format("it has no list `keys`".to_owned());
        let no_number =
            |name: &str| TrustBundleError::Format(format!("`{name}` is no whole number of 64 bits"));
        for (document, why) in [
            (json!({}), no_list.clone()),
            (json!([key]), no_list.clone()),
            (json!({ "keys": { "k": key } }), no_list),
            (json!({ "keys": [] }), TrustBundleError::Unusable(0)),
            (json!({ "keys": [{ "use": "wit-svid" }, signer(5).public()] }), TrustBundleError::Unusable(2)),
            (json!({ "keys": vec![json!({}); 101] }), TrustBundleError::TooMany(101)),
            (json!({ "keys": [key], "spiffe_sequence": "12" }), no_number("spiffe_sequence")),
            (json!({ "keys": [key], "spiffe_sequence": -1 }), no_number("spiffe_sequence")),
            (json!({ "keys": [key], "spiffe_refresh_hint": 1.5 }), no_number("spiffe_refresh_hint")),
            (json!({ "keys": [key], "spiffe_refresh_hint": null }), no_number("spiffe_refresh_hint")),
        ] {
            assert_eq!(parsed(&document).err(), Some(why), "{document}");
        }
        let good = json!({ "keys": [key] }).to_string();
        let twice = good.replacen('{', r#"{"keys":[],"#, 1);
        let too_large = format!("{good}{}", " ".repeat(MAX_KEY_SET_BYTES));
        for text in ["", "no", &twice, &too_large] {
            let refused = TrustBundle::parse(DOMAIN, text.as_bytes());
            assert!(matches!(refused, Err(TrustBundleError::Format(_))), "{refused:?}");
        }
        for trust_domain in ["", "Example.org", "example.org:8443", "example.org/a", "spiffe://example.org"] {
            let refused = TrustBundle::parse(trust_domain, good.as_bytes());
            assert!(matches!(refused, Err(TrustBundleError::TrustDomain(_))), "{trust_domain}");
        }
    }

    #[test]
    fn a_bundle_does_not_replace_a_later_one_or_one_of_others() {
        let numbered = |trust_domain: &str, number: Option<u64>| {
            let document = json!({ "keys": [entry(&signer(5))] });
            let document = changed(document, &json!({ "spiffe_sequence": number }));
            TrustBundle::parse(trust_domain, document.to_string().as_bytes()).unwrap()
        };
        for (new, old, replaces) in [
            (Some(13), Some(12), true),
            (Some(12), Some(12), true),
            (Some(11), Some(12), false),
            (Some(0), None, true),
            (None, None, true),
            (None, Some(0), false),
        ] {
            assert_eq!(numbered(DOMAIN, new).replaces(&numbered(DOMAIN, old)), replaces, "{new:?} {old:?}");
            assert!(!numbered("other.org", new).replaces(&numbered(DOMAIN, old)), "{new:?} {old:?}");
        }
    }

    #[test]
    fn a_token_of_a_workload_for_this_service_is_taken() {
        for (header, claims, ends) in [
            (json!({}), json!({}), AT + 60),
            (json!({ "typ": null }), json!({ "iat": null, "jti": null }), AT + 60),
            (json!({ "typ": "JOSE" }), json!({ "aud": [SERVICE] }), AT + 60),
            (json!({}), json!({ "aud": format!("{SERVICE}/oauth/token") }), AT + 60),
            (json!({}), json!({ "iss": "https://oidc.example.org", "more": { "a": 1 } }), AT + 60),
            (json!({}), json!({ "exp": AT - 9 }), AT - 9),
            (json!({}), json!({ "exp": AT + 3610, "nbf": AT + 10, "iat": AT + 10 }), AT + 3610),
        ] {
            let svid = judged(&made(&signer(5), &header, &claims), &bundle()).unwrap();
            assert_eq!(svid.id().as_str(), ID, "{header} {claims}");
            assert_eq!(svid.expires_at(), Timestamp::from_micros(ends * 1_000_000), "{header} {claims}");
            let until = Timestamp::from_micros((ends + 10) * 1_000_000);
            assert_eq!(svid.once().until(), until, "{header} {claims}");
        }
    }

    #[test]
    fn what_a_header_is_refused_for() {
        let more = Refusal::Format("its header has more than `alg`, `kid` and `typ`");
        for (header, why) in [
            (json!({ "jku": "https://evil.example/keys" }), more.clone()),
            (json!({ "jwk": signer(6).public() }), more.clone()),
            (json!({ "x5c": [CERTIFICATE] }), more.clone()),
            (json!({ "cty": "JWT" }), more),
            (json!({ "crit": ["exp"] }), Refusal::Format("it demands extensions that are not known")),
            (json!({ "alg": "none" }), Refusal::Algorithm),
            (json!({ "alg": "HS256" }), Refusal::Algorithm),
            (json!({ "alg": "EdDSA" }), Refusal::Algorithm),
            (json!({ "alg": "Ed25519" }), Refusal::Algorithm),
            (json!({ "alg": "ES512" }), Refusal::Algorithm),
            (json!({ "alg": null }), Refusal::Algorithm),
            (json!({ "alg": "RS256" }), Refusal::UnknownKey),
            (json!({ "typ": "at+jwt" }), Refusal::Type),
            (json!({ "typ": "wit+jwt" }), Refusal::Type),
            (json!({ "typ": "jwt" }), Refusal::Type),
            (json!({ "typ": "application/JWT" }), Refusal::Type),
            (json!({ "typ": 7 }), Refusal::Type),
            (json!({ "kid": null }), Refusal::Format("it does not name its key")),
            (json!({ "kid": 7 }), Refusal::Format("the name of its key is no text")),
            (json!({ "kid": "" }), Refusal::UnknownKey),
            (json!({ "kid": "../../etc/passwd" }), Refusal::UnknownKey),
        ] {
            let judged = judged(&made(&signer(5), &header, &json!({})), &bundle());
            assert_eq!(judged, Err(why), "{header}");
        }
    }

    #[test]
    fn what_a_claim_is_refused_for() {
        let (time, name) = (Refusal::Time, Refusal::Format("its `jti` is no text of 1 to 256 bytes"));
        for (claims, why) in [
            (json!({ "sub": null }), Refusal::Subject),
            (json!({ "sub": 7 }), Refusal::Subject),
            (json!({ "sub": "bot" }), Refusal::Subject),
            (json!({ "sub": "spiffe://example.org" }), Refusal::Subject),
            (json!({ "sub": "spiffe://example.org/" }), Refusal::Subject),
            (json!({ "sub": "spiffe://Example.org/agent/b" }), Refusal::Subject),
            (json!({ "sub": "spiffe://other.org/agent/b" }), Refusal::Issuer),
            (json!({ "sub": "spiffe://a.example.org/agent/b" }), Refusal::Issuer),
            (json!({ "sub": "spiffe://example.org.evil.example/agent/b" }), Refusal::Issuer),
            (json!({ "aud": null }), Refusal::Audience),
            (json!({ "aud": [] }), Refusal::Audience),
            (json!({ "aud": 7 }), Refusal::Audience),
            (json!({ "aud": "https://evil.example" }), Refusal::Audience),
            (json!({ "aud": [SERVICE, "https://evil.example"] }), Refusal::Audience),
            (json!({ "aud": [SERVICE, SERVICE] }), Refusal::Audience),
            (json!({ "exp": null }), time("it does not say when it ends")),
            (json!({ "exp": "1893499260" }), time("it does not say when it ends")),
            (json!({ "exp": AT - 10 }), time("it has ended")),
            (json!({ "exp": AT + 3611 }), time("it ends later than in an hour")),
            (json!({ "nbf": AT + 11 }), time("it does not begin before later")),
            (json!({ "nbf": "soon" }), time("it does not begin before later")),
            (json!({ "iat": AT + 11 }), time("it was made later than now")),
            (json!({ "jti": "" }), name.clone()),
            (json!({ "jti": 7 }), name.clone()),
            (json!({ "jti": "c".repeat(257) }), name),
        ] {
            let judged = judged(&made(&signer(5), &json!({}), &claims), &bundle());
            assert_eq!(judged, Err(why), "{claims}");
        }
    }

    #[test]
    fn keys_speak_for_their_own_trust_domain_and_their_own_use() {
        let (own, other) = (signer(5), signer(6));
        let ed25519 = Signer::from_seed(SigningAlgorithm::EdDsa, &[5; 32]).unwrap();
        let key = entry(&own);
        let certificate = json!({ "use": "x509-svid", "x5c": [CERTIFICATE] });
        let of = |trust_domain: &str, keys: Value| {
            TrustBundle::parse(trust_domain, json!({ "keys": keys }).to_string().as_bytes()).unwrap()
        };
        let unchanged = json!({});
        for (what, token, bundle, why) in [
            ("another's key", made(&other, &unchanged, &unchanged), bundle(), Refusal::UnknownKey),
            (
                "another's key under this name",
                made(&other, &json!({ "kid": own.id() }), &unchanged),
                bundle(),
                Refusal::Signature,
            ),
            (
                "another domain's bundle",
                made(&own, &unchanged, &unchanged),
                of("other.org", json!([key])),
                Refusal::Issuer,
            ),
            (
                "a key for something else",
                made(&own, &unchanged, &unchanged),
                of(DOMAIN, json!([own.public(), certificate])),
                Refusal::UnknownKey,
            ),
            (
                "no keys for tokens",
                made(&own, &unchanged, &unchanged),
                of(DOMAIN, json!([certificate])),
                Refusal::UnknownKey,
            ),
            (
                "a key of Ed25519",
                made(&ed25519, &json!({ "alg": "EdDSA" }), &unchanged),
                of(DOMAIN, json!([key, entry(&ed25519)])),
                Refusal::Algorithm,
            ),
        ] {
            assert_eq!(judged(&token, &bundle), Err(why), "{what}");
        }
    }

    #[test]
    fn what_is_remembered_of_a_token_is_its_own() {
        let replay = |token: &str| judged(token, &bundle()).unwrap().once().replay();
        let said = |claims: Value| made(&signer(5), &json!({}), &claims);
        let named = replay(&said(json!({})));
        assert_eq!(replay(&said(json!({ "iat": AT - 1 }))), named, "its name says which it is");
        for claims in [
            json!({ "jti": "c-2" }),
            json!({ "jti": null }),
            json!({ "sub": "spiffe://example.org/agent/c" }),
            json!({ "sub": "spiffe://example.org/agent/bc", "jti": "-1" }),
        ] {
            assert_ne!(replay(&said(claims.clone())), named, "{claims}");
        }
        // Two signatures of one statement, as a second one could be made of the first.
        let (first, second) = (said(json!({ "jti": null })), said(json!({ "jti": null })));
        assert_ne!(first, second);
        assert_eq!(replay(&first), replay(&second));
        assert_ne!(replay(&first), replay(&said(json!({ "jti": null, "iat": AT - 1 }))));
    }

    #[test]
    fn whose_a_token_claims_to_be_is_read_without_a_key() {
        let claimed = |claims: Value| claimed_trust_domain(&made(&signer(6), &json!({}), &claims)).unwrap();
        for (claims, id) in [
            (json!({}), Some(ID)),
            (json!({ "sub": "spiffe://other.org/a" }), Some("spiffe://other.org/a")),
            (json!({ "sub": "spiffe://Other.org/a" }), None),
            (json!({ "sub": "bot" }), None),
            (json!({ "sub": 7 }), None),
            (json!({ "sub": null }), None),
        ] {
            assert_eq!(claimed(claims.clone()).as_ref().map(SpiffeId::as_str), id, "{claims}");
        }
        assert!(matches!(claimed_trust_domain("no token"), Err(Refusal::Format(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in ".{0,200}",
            id in "spiffe://[a-zA-Z0-9./%@:?#_-]{0,40}",
            header in ".{0,60}",
            body in ".{0,60}",
        ) {
            for text in [&text, &id] {
                if let Ok(id) = text.parse::<SpiffeId>() {
                    prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), id.as_str());
                }
            }
            let _ = TrustBundle::parse(DOMAIN, &bytes);
            let _ = TrustBundle::parse(&text, &bytes);
            let _ = parsed(&json!({ "keys": [
                { "use": "x509-svid", "x5c": [text] },
                { "use": "jwt-svid", "kid": text, "kty": "EC", "crv": "P-256", "x": header, "y": body },
            ] }));
            let encoded = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
            let unsigned = format!("{}.{}.{}", encoded(&header), encoded(&body), encoded(&text));
            let claims = json!({ "sub": id, "aud": text, "jti": body });
            let odd = made(&signer(5), &json!({ "kid": header }), &claims);
            for token in [&text, &unsigned, &odd] {
                prop_assert!(judged(token, &bundle()).is_err());
                let _ = claimed_trust_domain(token);
            }
        }
    }
}
