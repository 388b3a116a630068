//! The gateway as an OAuth resource server (RFC 6750, RFC 9449, RFC 9728; MCP authorization, 2026-07-28).
//!
//! A token counts at one virtual server, whose address is its audience, and for whoever proves to have the key that it is bound to. It says which agent
//! calls under which mandate, and nothing more: whether the call passes is decided as ever. What is sent on never has it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
};
use serde_json::json;
use warrantor_issuers::{Issuer, IssuerError};
use warrantor_model::{Digest, Evidence, Timestamp, TokenEvidence, TokenId};
use warrantor_tokens::{
    AccessToken, Binding, MANDATE_DETAILS, Nonce, Nonces, PROOF_ALGORITHMS, ProofExpected, ProofRefusal,
    Purpose, Refusal, VerifiedProof, claimed, verify_proof,
};

use super::{
    foreign::{ForeignIssuer, ForeignToken},
    remembered::Remembered,
    respond::{self, Answer},
};
use crate::exchange::lock;

/// Where the description of a resource is, before its path (RFC 9728, section 3.1).
pub(super) const DESCRIPTION: &str = "/.well-known/oauth-protected-resource";
/// How long a rejection is not recorded again that is the same, of the same token: whoever has one cannot fill the log with it.
const SAME_FOR: Duration = Duration::from_secs(60);
/// Most rejections that are remembered as recorded.
const MAX_RECORDED: usize = 4096;
/// Most proofs of one slot of time that are remembered.
const MAX_PROOFS: usize = 1 << 20;

/// Whose access tokens count, and where.
#[derive(Clone)]
pub struct ResourceSettings {
    /// The gateway's address as clients know it, without a path.
    pub url: String,
    /// The token service.
    pub issuer: Arc<Issuer>,
    /// Whether tokens count that are bound to no key.
    pub bearer: bool,
    /// Other issuers whose tokens say who calls.
    pub foreign: Vec<ForeignIssuer>,
    /// The digest of everything that it was configured with.
    pub configured: Digest,
    /// What nonces are made with. One of each process: no proof that an earlier process has seen counts at the next one.
    pub nonce_key: [u8; 32],
}

/// The resource server.
pub(super) struct ResourceServer {
    pub(super) settings: ResourceSettings,
    nonces: Nonces,
    proofs: Mutex<Proofs>,
    verified: Remembered<AccessToken>,
    foreign: Remembered<ForeignToken>,
    recorded: Mutex<HashMap<(TokenId, Rejection), Timestamp>>,
}

/// Proofs that were seen. One counts for as long as its nonce does, which is two slots of time; so the third slot can be forgotten.
#[derive(Default)]
struct Proofs(BTreeMap<i64, HashSet<Digest>>);

impl Proofs {
    /// Whether a proof was not seen before; remembered from now on.
    fn admit(&mut self, proof: &VerifiedProof, now: Timestamp) -> Result<(), Rejection> {
        let (slot, replay) = (Nonces::slot(now), proof.once().replay());
        self.0.retain(|of, _| *of >= slot.saturating_sub(2));
        if self.0.values().any(|seen| seen.contains(&replay)) {
            return Err(Rejection::proof("the proof was used before: make one for each request"));
        }
        let seen = self.0.entry(slot).or_default();
        if seen.len() >= MAX_PROOFS {
            return Err(Rejection::Unavailable("too many proofs were seen".to_owned()));
        }
        seen.insert(replay);
        Ok(())
    }
}

/// What a request proves itself with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// Nothing.
    Nothing,
    /// More than one thing, which is worse than none.
    Several,
    /// A token that whoever has it may use.
    Bearer(&'a str),
    /// A token with a proof of possession.
    Dpop(&'a str),
}

impl<'a> Credential<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), rest) = (values.next(), values.next()) else { return Self::Nothing };
        if rest.is_some() {
            return Self::Several;
        }
        let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
            return Self::Nothing;
        };
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Self::Bearer(token.trim()),
            "dpop" => Self::Dpop(token.trim()),
            _ => Self::Nothing,
        }
    }
}

/// Whoever is let in, by what they have shown.
pub(super) enum Admitted {
    /// A token of the token service.
    Ours(Arc<AccessToken>),
    /// A token of another issuer, by its place among those.
    Foreign(usize, Arc<ForeignToken>),
}

fn unavailable(cause: IssuerError) -> Rejection {
    match cause {
        IssuerError::Refused(cause) => Rejection::token(cause.to_string()),
        cause @ IssuerError::Unavailable { .. } => Rejection::Unavailable(cause.to_string()),
    }
}

/// Why a token does not count here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Rejection {
    /// There is none.
    Missing,
    /// It does not hold, or not here.
    Token(String),
    /// The proof does not hold.
    Proof(String),
    /// The proof has to repeat the present nonce.
    Nonce,
    /// It cannot be judged.
    Unavailable(String),
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is none",
            Self::Token(why) | Self::Proof(why) | Self::Unavailable(why) => why,
            Self::Nonce => "the proof does not repeat the nonce",
        })
    }
}

impl Rejection {
    pub(super) fn token(why: impl Into<String>) -> Self {
        Self::Token(why.into())
    }

    fn proof(why: impl Into<String>) -> Self {
        Self::Proof(why.into())
    }
}

/// A token that was rejected, and whose it is, where that is sure.
pub(super) struct Rejected {
    pub(super) why: Rejection,
    /// What it says, if its signature held: then somebody has it who should not, or uses it wrongly, and that is recorded.
    pub(super) token: Option<Arc<AccessToken>>,
}

impl From<Rejection> for Rejected {
    fn from(why: Rejection) -> Self {
        Self { why, token: None }
    }
}

impl ResourceServer {
    pub(super) fn new(settings: ResourceSettings) -> Self {
        Self {
            nonces: Nonces::new(&settings.nonce_key),
            settings,
            proofs: Mutex::default(),
            verified: Remembered::default(),
            foreign: Remembered::default(),
            recorded: Mutex::default(),
        }
    }

    /// The name of the resource at a path: what tokens for it have as their audience.
    pub(super) fn resource(&self, path: &str) -> String {
        format!("{}{path}", self.settings.url)
    }

    /// The nonce that proofs repeat now.
    pub(super) fn nonce(&self, now: Timestamp) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.nonces.current(now)).ok()
    }

    /// What a token says, if it counts for this request.
    pub(super) async fn admit(
        &self,
        path: &str,
        method: &str,
        credential: Credential<'_>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Admitted, Rejected> {
        let (token, with_proof) = match credential {
            Credential::Bearer(token) => (token, false),
            Credential::Dpop(token) => (token, true),
            Credential::Nothing | Credential::Several => return Err(Rejection::Missing.into()),
        };
        let resource = self.resource(path);
        // Whose keys it is verified with; by whom it says to be made is believed after that alone.
        let has_foreign = !self.settings.foreign.is_empty();
        let of = has_foreign.then(|| claimed(token, "iss").ok().flatten()).flatten();
        if let Some(nth) =
            self.settings.foreign.iter().position(|one| of.as_deref() == Some(one.issuer.name()))
        {
            let says = self.foreign_token(nth, token, &resource, now).await?;
            self.holds(says.bound_to.as_ref(), with_proof, (method, &resource, token), headers, now)?;
            return Ok(Admitted::Foreign(nth, says));
        }
        let says = self.verified(token, now).await?;
        let rejected = |why| Rejected { why, token: Some(Arc::clone(&says)) };
        if says.audience != resource {
            return Err(rejected(Rejection::token(Refusal::Audience.to_string())));
        }
        // To the second: a token has no grace after its end.
        if now >= says.expires_at {
            return Err(rejected(Rejection::token("it has ended")));
        }
        self.holds(says.bound_to.as_ref(), with_proof, (method, &resource, token), headers, now)
            .map_err(rejected)?;
        Ok(Admitted::Ours(says))
    }

    /// Whether whoever shows a token has what it is bound to.
    fn holds(
        &self,
        bound_to: Option<&Binding>,
        with_proof: bool,
        (method, resource, token): (&str, &str, &str),
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        match (bound_to, with_proof) {
            (Some(Binding::Key(thumbprint)), true) => {
                let proof = self.proof(method, resource, token, headers, now)?;
                if proof.thumbprint() != thumbprint {
                    return Err(Rejection::token("it is bound to another key than the proof's"));
                }
                lock(&self.proofs).admit(&proof, now)
            }
            (Some(Binding::Key(_)), false) => {
                Err(Rejection::token("it is bound to a key: send it as `DPoP` and with a proof"))
            }
            (Some(Binding::Certificate(_)), _) => {
                Err(Rejection::token("it is bound to a certificate, which is not asked for here"))
            }
            (None, false) if self.settings.bearer => Ok(()),
            (None, _) => Err(Rejection::token("it is bound to no key, and such tokens do not count here")),
        }
    }

    /// What a token of another issuer says, if it is for this place and of one of its clients that are agents here.
    async fn foreign_token(
        &self,
        nth: usize,
        token: &str,
        resource: &str,
        now: Timestamp,
    ) -> Result<Arc<ForeignToken>, Rejection> {
        let none = || Rejection::token("its issuer is not known here");
        let of = self.settings.foreign.get(nth).ok_or_else(none)?;
        let keys = of.issuer.keys(now, false).await.map_err(unavailable)?;
        let digest = Digest::of_parts(&[resource.as_bytes(), b" ", token.as_bytes()]);
        let says = match self.foreign.get(&digest, &keys) {
            Some(says) => says,
            None => {
                let audiences = [resource.to_owned()];
                let verified =
                    of.issuer.verify(token, (Purpose::Access, &audiences), Nonce::Absent, now).await;
                let says = Arc::new(ForeignToken::read(&verified.map_err(unavailable)?, token, now)?);
                let keys = of.issuer.keys(now, false).await.map_err(unavailable)?;
                self.foreign.put(digest, keys, Arc::clone(&says), says.expires_at, now);
                says
            }
        };
        if now >= says.expires_at {
            return Err(Rejection::token("it has ended"));
        }
        match of.clients.get(&says.client) {
            None => Err(Rejection::token("the client that it was made for is no agent here")),
            Some(client) if !client.may_speak_of(&says) => {
                Err(Rejection::token("it speaks of somebody whom this client does not act for here"))
            }
            Some(_) => Ok(says),
        }
    }

    /// A token whose signature holds, wherever it may be shown. That is remembered for as long as the issuer's keys are the same.
    async fn verified(&self, token: &str, now: Timestamp) -> Result<Arc<AccessToken>, Rejection> {
        let issuer = &self.settings.issuer;
        let keys = issuer.keys(now, false).await.map_err(unavailable)?;
        let digest = Digest::of(token.as_bytes());
        if let Some(known) = self.verified.get(&digest, &keys) {
            return Ok(known);
        }
        // Whoever asks compares it with this place: a token that was made for another one has an owner who should know.
        let audience = claimed(token, "aud").map_err(|cause| Rejection::token(cause.to_string()))?;
        let audiences = [audience.ok_or_else(|| Rejection::token(Refusal::Audience.to_string()))?];
        let claims = issuer.verify(token, (Purpose::Access, &audiences), Nonce::Absent, now).await;
        let claims = claims.map_err(unavailable)?;
        let says = AccessToken::read(&claims).map_err(|cause| Rejection::token(cause.to_string()))?;
        let says = Arc::new(says);
        // They may have been asked for anew, for this very token.
        let keys = issuer.keys(now, false).await.map_err(unavailable)?;
        self.verified.put(digest, keys, Arc::clone(&says), says.expires_at, now);
        Ok(says)
    }

    fn proof(
        &self,
        method: &str,
        resource: &str,
        token: &str,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<VerifiedProof, Rejection> {
        let mut sent = headers.get_all("dpop").iter();
        let proof = match (sent.next(), sent.next()) {
            (Some(proof), None) => proof.to_str().map_err(|_| Rejection::proof("the proof is no token"))?,
            (None, _) => return Err(Rejection::proof("there is no proof in the header DPoP")),
            (Some(_), Some(_)) => return Err(Rejection::proof("the header DPoP stands twice")),
        };
        let expected =
            ProofExpected { method, url: resource, token: Some(token), nonces: Some(&self.nonces) };
        verify_proof(proof, &expected, now).map_err(|cause| match cause {
            ProofRefusal::Nonce => Rejection::Nonce,
            cause => Rejection::proof(cause.to_string()),
        })
    }

    /// Layer 1 of whoever shows a token that counts.
    pub(super) fn evidence(&self, token: &AccessToken) -> Evidence {
        Evidence::AccessToken(Box::new(TokenEvidence {
            issuer: self.settings.issuer.name().to_owned(),
            name: token.id.to_string(),
            tokens: token.lineage().cloned().collect(),
            subject: token.subject.clone(),
            client: token.agent.to_string(),
            scopes: Default::default(),
            bound: token.bound_to.is_some(),
            home: token.home.clone(),
        }))
    }

    /// What a resource says of itself (RFC 9728, section 2).
    pub(super) fn description(&self, path: &str) -> Answer {
        let foreign = self.settings.foreign.iter().map(|one| one.issuer.name());
        let servers: Vec<&str> = std::iter::once(self.settings.issuer.name()).chain(foreign).collect();
        let described = json!({
            "resource": self.resource(path),
            "authorization_servers": servers,
            "bearer_methods_supported": ["header"],
            "dpop_bound_access_tokens_required": !self.settings.bearer,
            "dpop_signing_alg_values_supported": PROOF_ALGORITHMS,
            "authorization_details_types_supported": [MANDATE_DETAILS],
        });
        respond::json(StatusCode::OK, described.to_string())
    }

    /// The answer to a request whose token does not count.
    pub(super) fn challenge(&self, path: &str, why: &Rejection, now: Timestamp) -> Answer {
        let told = match why {
            Rejection::Unavailable(cause) => {
                tracing::warn!(cause, "whether a token counts cannot be told");
                let answer = respond::refused(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "whether the token counts cannot be told now",
                );
                return respond::with(answer, "retry-after", HeaderValue::from_static("5"));
            }
            Rejection::Missing => "an access token for this place is needed in `Authorization`".to_owned(),
            Rejection::Token(why) => format!("the access token does not count here: {why}"),
            Rejection::Proof(why) => why.clone(),
            Rejection::Nonce => "the proof has to repeat the nonce in `DPoP-Nonce`".to_owned(),
        };
        let error = match why {
            Rejection::Token(_) => Some("invalid_token"),
            Rejection::Proof(_) => Some("invalid_dpop_proof"),
            Rejection::Nonce => Some("use_dpop_nonce"),
            Rejection::Missing | Rejection::Unavailable(_) => None,
        };
        let described = format!("resource_metadata=\"{}{DESCRIPTION}{path}\"", self.settings.url);
        let error = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
        let dpop = format!("DPoP algs=\"{}\", {described}{error}", PROOF_ALGORITHMS.join(" "));
        let mut answer = respond::refused(StatusCode::UNAUTHORIZED, told);
        let headers = answer.headers_mut();
        // Clients that know no DPoP look for this one, and for where to ask.
        let bearer = format!(
            "Bearer {described}{}",
            if matches!(why, Rejection::Token(_)) { error.as_str() } else { "" }
        );
        for challenge in [bearer, dpop] {
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                headers.append(WWW_AUTHENTICATE, challenge);
            }
        }
        headers.extend(
            self.nonce(now).map(|nonce| (hyper::header::HeaderName::from_static("dpop-nonce"), nonce)),
        );
        answer
    }

    /// Whether a rejected token is recorded now: the first time in a while that it is rejected for this.
    pub(super) fn is_news(&self, token: &TokenId, why: &Rejection, now: Timestamp) -> bool {
        let mut recorded = lock(&self.recorded);
        recorded.retain(|_, at| now < at.plus(SAME_FOR));
        if recorded.len() >= MAX_RECORDED {
            return false;
        }
        match recorded.entry((token.clone(), why.clone())) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(now);
                true
            }
        }
    }

    /// Forgets tokens that have ended.
    pub(super) fn tidy(&self, now: Timestamp) {
        self.verified.tidy(now);
        self.foreign.tidy(now);
    }
}

#[cfg(test)]
mod tests {
    use warrantor_issuers::{Discovery, IssuerSettings};
    use warrantor_tokens::{Signer, SigningAlgorithm};

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_893_499_200_000_000).plus(Duration::from_secs(seconds))
    }

    fn server() -> ResourceServer {
        let issuer = Issuer::new(IssuerSettings {
            issuer: "https://control.example.com".to_owned(),
            algorithms: Vec::new(),
            discovery: Discovery::OAuth,
            certificates: None,
            keep: Duration::ZERO,
            keep_unanswered: Duration::ZERO,
            leeway: Duration::ZERO,
        });
        ResourceServer::new(ResourceSettings {
            url: "https://tools.example.com".to_owned(),
            issuer: Arc::new(issuer.unwrap()),
            bearer: false,
            foreign: Vec::new(),
            configured: Digest::of(b""),
            nonce_key: [1; 32],
        })
    }

    fn proof(id: &str, now: Timestamp) -> VerifiedProof {
        let url = "https://tools.example.com/bank";
        let signer = Signer::from_seed(SigningAlgorithm::EdDsa, &[3; 32]).unwrap();
        let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": signer.public() });
        let claims = json!({ "jti": id, "htm": "POST", "htu": url, "iat": now.as_micros() / 1_000_000 });
        let proof = signer.sign_parts(&header, &claims).unwrap();
        verify_proof(&proof, &ProofExpected { method: "POST", url, token: None, nonces: None }, now).unwrap()
    }

    #[test]
    fn a_proof_counts_once_for_as_long_as_its_nonce_does() {
        let mut proofs = Proofs::default();
        let first = proof("the-first", at(0));
        assert_eq!(proofs.admit(&first, at(0)), Ok(()));
        assert_eq!(proofs.admit(&proof("the-second", at(0)), at(0)), Ok(()));
        // A nonce of the first slot counts until the second one has ended.
        for later in [0, 1, 119, 120, 239] {
            let again = proofs.admit(&first, at(later));
            assert!(matches!(again, Err(Rejection::Proof(_))), "after {later} s: {again:?}");
        }
        // What cannot count any more is forgotten.
        assert_eq!(proofs.admit(&proof("the-third", at(600)), at(600)), Ok(()));
        assert_eq!(proofs.0.values().map(HashSet::len).sum::<usize>(), 1);
    }

    #[test]
    fn the_same_rejection_of_a_token_is_recorded_once_a_minute_and_all_of_them_within_bounds() {
        let server = server();
        let token = |nth: usize| format!("t{nth}").parse::<TokenId>().unwrap();
        let (stolen, used) = (Rejection::token("stolen"), Rejection::proof("used"));
        for (nth, why, now, is_news) in [
            (0, &stolen, 0, true),
            (0, &stolen, 1, false),
            (0, &stolen, 59, false),
            (0, &used, 59, true),
            (1, &stolen, 59, true),
            (0, &stolen, 60, true),
        ] {
            assert_eq!(server.is_news(&token(nth), why, at(now)), is_news, "{nth} {why} after {now} s");
        }
        let recorded =
            (0..2 * MAX_RECORDED).filter(|nth| server.is_news(&token(*nth), &stolen, at(300))).count();
        assert_eq!(recorded, MAX_RECORDED);
    }
}
