//! Access tokens that the token service makes (RFC 9068): for one audience and one mandate, bound to a key.

use std::fmt;

use serde_json::{Value, json};
use thiserror::Error;
use warrantor_model::{AgentId, Home, Json, MandateId, Timestamp, TokenId};

use crate::{
    actors::{Actors, ActorsError},
    details::{DetailsError, MandateDetails},
    jwt::{Claims, instant},
    signer::{Signer, SignerError},
};

/// The type of an access token.
pub const ACCESS_TYPE: &str = "at+jwt";
/// The claim that names the tokens a token was made from, the nearest first: revoking one of them revokes it.
pub const MADE_FROM: &str = "made_from";
/// The claim that says from which other domain a task comes.
const HOME: &str = "home";

/// What a token is bound to: whoever presents it proves to have it (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// A key, by its thumbprint (RFC 9449, section 6.1).
    Key(String),
    /// A certificate, by the digest of its DER form (RFC 8705, section 3.1).
    Certificate(String),
}

/// As records name it.
impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(thumbprint) => write!(f, "key {thumbprint}"),
            Self::Certificate(digest) => write!(f, "certificate {digest}"),
        }
    }
}

/// An access token's claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// Its name (`jti`).
    pub id: TokenId,
    /// The person it acts for; of a standing mandate the agent itself.
    pub subject: String,
    /// The agent that it was made for (`client_id`).
    pub agent: AgentId,
    /// Where it may be shown.
    pub audience: String,
    /// When it was made.
    pub made: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Who acts for whom.
    pub actors: Actors,
    /// The mandate.
    pub details: MandateDetails,
    /// The task (`txn`).
    pub task: Option<String>,
    /// What it is bound to.
    pub bound_to: Option<Binding>,
    /// The tokens it was made from, the nearest first.
    pub made_from: Vec<TokenId>,
    /// The domain that the task comes from, where it is another (`home`: its issuer and the subject there).
    pub home: Option<Home>,
}

/// Why a token of ours does not read as one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccessError {
    /// A claim is missing, or has another form.
    #[error("its claim {0} is missing or has another form")]
    Claim(&'static str),
    /// The chain.
    #[error(transparent)]
    Actors(#[from] ActorsError),
    /// The details.
    #[error(transparent)]
    Details(#[from] DetailsError),
    /// The agent of the chain is not the one that it was made for.
    #[error("the actor in it is not the agent that it was made for")]
    Agent,
}

impl AccessToken {
    /// Signs it.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn sign(&self, issuer: &str, signer: &Signer) -> Result<String, SignerError> {
        signer.sign(ACCESS_TYPE, &self.claims(issuer))
    }

    /// All its claims.
    #[must_use]
    pub fn claims(&self, issuer: &str) -> Value {
        let seconds = |at: Timestamp| at.as_micros().div_euclid(1_000_000);
        let mut claims = json!({
            "iss": issuer, "sub": self.subject, "aud": self.audience, "client_id": self.agent, "jti": self.id,
            "iat": seconds(self.made), "nbf": seconds(self.made), "exp": seconds(self.expires_at),
            "authorization_details": self.details.claim(),
        });
        let confirmation = self.bound_to.as_ref().map(|binding| match binding {
            Binding::Key(thumbprint) => json!({ "jkt": thumbprint }),
            Binding::Certificate(digest) => json!({ "x5t#S256": digest }),
        });
        let made_from = (!self.made_from.is_empty()).then(|| json!(self.made_from));
        let optional = [
            ("act", self.actors.claim()),
            ("cnf", confirmation),
            ("txn", self.task.as_ref().map(|task| json!(task))),
            (MADE_FROM, made_from),
            (HOME, self.home.as_ref().map(|home| json!({ "iss": home.issuer, "sub": home.subject }))),
        ];
        if let Some(members) = claims.as_object_mut() {
            members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        claims
    }

    /// Reads the claims of a verified token.
    ///
    /// # Errors
    /// [`AccessError`]: whoever signed it did not make it here.
    pub fn read(claims: &Claims) -> Result<Self, AccessError> {
        let text = |name: &'static str| claims.text(name).ok_or(AccessError::Claim(name));
        let all = claims.all();
        let audience = match all.get("aud") {
            Some(Json::String(one)) => one.clone(),
            // One token is for one place.
            _ => return Err(AccessError::Claim("aud")),
        };
        let actors = Actors::read(all.get("act"))?;
        let agent: AgentId = text("client_id")?.parse().map_err(|_| AccessError::Claim("client_id"))?;
        let is_agent =
            |present: &crate::Actor| present.issuer == claims.issuer() && present.subject == agent.as_str();
        if !actors.present().is_none_or(is_agent) {
            return Err(AccessError::Agent);
        }
        let details = all.get("authorization_details").ok_or(AccessError::Claim("authorization_details"))?;
        let bound_to = match all.get("cnf") {
            None => None,
            Some(cnf) => {
                let text = |name: &str| cnf.get(name).and_then(Json::as_str).map(str::to_owned);
                match (text("jkt"), text("x5t#S256"), cnf.as_object().map(<[_]>::len)) {
                    (Some(thumbprint), None, Some(1)) => Some(Binding::Key(thumbprint)),
                    (None, Some(digest), Some(1)) => Some(Binding::Certificate(digest)),
                    // A binding that is not understood is not one that may be passed over.
                    _ => return Err(AccessError::Claim("cnf")),
                }
            }
        };
        let made_from = match all.get(MADE_FROM) {
            None => Vec::new(),
            Some(list) => {
                let unfit = || AccessError::Claim(MADE_FROM);
                let list = list.as_array().ok_or_else(unfit)?;
                let ids = list.iter().map(|id| id.as_str()?.parse().ok());
                ids.collect::<Option<_>>().ok_or_else(unfit)?
            }
        };
        let home = match all.get(HOME) {
            None => None,
            Some(home) => {
                let text = |name: &str| home.get(name).and_then(Json::as_str).map(str::to_owned);
                match (text("iss"), text("sub")) {
                    (Some(issuer), Some(subject)) => Some(Home { issuer, subject }),
                    _ => return Err(AccessError::Claim(HOME)),
                }
            }
        };
        Ok(Self {
            id: text("jti")?.parse().map_err(|_| AccessError::Claim("jti"))?,
            subject: claims.subject().to_owned(),
            agent,
            audience,
            made: instant(all, "iat").ok_or(AccessError::Claim("iat"))?,
            expires_at: claims.expires_at(),
            actors,
            details: MandateDetails::read(details)?,
            task: claims.text("txn").map(str::to_owned),
            bound_to,
            made_from,
            home,
        })
    }

    /// Itself and the tokens it was made from, the nearest first: what revokes one of them revokes it.
    pub fn lineage(&self) -> impl Iterator<Item = &TokenId> {
        std::iter::once(&self.id).chain(&self.made_from)
    }

    /// The mandate it is bound to.
    #[must_use]
    pub fn mandate(&self) -> &MandateId {
        &self.details.mandate
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Actor, Algorithm, Expected, KeySet, Nonce, Purpose, SigningAlgorithm, key_set, verify};

    const ISSUER: &str = "https://control.example.com";
    const AUDIENCE: &str = "https://tools.example.com/bank";

    fn token() -> AccessToken {
        let actor = |name: &str| Actor { issuer: ISSUER.to_owned(), subject: name.to_owned() };
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        AccessToken {
            id: "t1".parse().unwrap(),
            subject: "alice".to_owned(),
            agent: "helper".parse().unwrap(),
            audience: AUDIENCE.to_owned(),
            made: at(1_893_499_200),
            expires_at: at(1_893_499_500),
            actors: Actors::default().extended(actor("bot")).unwrap().extended(actor("helper")).unwrap(),
            details: MandateDetails { mandate: "m2".parse().unwrap(), locations: vec![AUDIENCE.to_owned()] },
            task: Some("k1".to_owned()),
            bound_to: Some(Binding::Key("abc".to_owned())),
            made_from: vec!["t0".parse().unwrap()],
            home: Some(Home { issuer: "https://acme.example".to_owned(), subject: "carol".to_owned() }),
        }
    }

    fn read(claims: &Value) -> Result<AccessToken, AccessError> {
        let signer = Signer::from_seed(SigningAlgorithm::EdDsa, &[6; 32]).unwrap();
        let keys = KeySet::parse(key_set([&signer]).to_string().as_bytes()).unwrap();
        let audiences = [AUDIENCE.to_owned()];
        let expected = Expected {
            issuer: ISSUER,
            audiences: &audiences,
            algorithms: &[Algorithm::EdDSA],
            purpose: Purpose::Access,
            nonce: Nonce::Absent,
            leeway: Duration::ZERO,
            max_age: None,
        };
        let token = signer.sign(ACCESS_TYPE, claims).unwrap();
        let claims = verify(&token, &keys, &expected, Timestamp::from_micros(1_893_499_210_000_000)).unwrap();
        AccessToken::read(&claims)
    }

    #[test]
    fn a_token_reads_as_it_was_made() {
        assert_eq!(read(&token().claims(ISSUER)), Ok(token()));
        let plain = AccessToken {
            actors: Actors::default(),
            task: None,
            bound_to: None,
            made_from: Vec::new(),
            home: None,
            ..token()
        };
        assert_eq!(read(&plain.claims(ISSUER)), Ok(plain));
    }

    #[test]
    fn what_was_not_made_here_does_not_read() {
        for (name, value, why) in [
            ("jti", Value::Null, AccessError::Claim("jti")),
            ("client_id", Value::Null, AccessError::Claim("client_id")),
            ("client_id", "bot".into(), AccessError::Agent),
            ("aud", json!([AUDIENCE, "https://evil.example"]), AccessError::Claim("aud")),
            ("cnf", json!({ "jwk": {} }), AccessError::Claim("cnf")),
            ("cnf", json!({ "jkt": "a", "x5t#S256": "b" }), AccessError::Claim("cnf")),
            ("cnf", json!({}), AccessError::Claim("cnf")),
            ("authorization_details", Value::Null, AccessError::Claim("authorization_details")),
            ("authorization_details", json!([]), AccessError::Details(DetailsError::Format)),
            ("act", json!({ "sub": "helper" }), AccessError::Actors(ActorsError::Format)),
            ("act", json!({ "iss": "https://evil.example", "sub": "helper" }), AccessError::Agent),
            (MADE_FROM, json!("t0"), AccessError::Claim(MADE_FROM)),
            (HOME, json!({ "iss": "https://acme.example" }), AccessError::Claim(HOME)),
            (MADE_FROM, json!([7]), AccessError::Claim(MADE_FROM)),
        ] {
            let mut claims = token().claims(ISSUER);
            match value.clone() {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value,
            }
            assert_eq!(read(&claims), Err(why), "{name}: {value}");
        }
    }
}
