//! The token service: access tokens that are made for one agent, one mandate and one place, bound to a key, and that die with the task.
//!
//! A token is evidence and nothing more: whoever shows it is asked for everything else at each call. What is checked when one is made is checked again
//! whenever one is shown, so that a token that was made a moment too late for a revocation is worth nothing.

mod asked;
mod client;
mod consent;
mod crossing;
mod keys;
mod making;
mod status;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use thiserror::Error;
use warrantor_bundle::serve::TokensConfig;
use warrantor_model::{
    Digest, Randomness, Timestamp,
    record::{ActRecord, CrossingRecord, Event, Record, TokenChange, TokenRecord},
};
use warrantor_store::{Commit, Expect, Key, Store};
use warrantor_tokens::{AccessToken, Once};

pub use asked::{Asked, Grant, Made, SubjectToken};
pub use client::Client;
pub use consent::{Consented, Kept, Shown, is_verifier};
pub use crossing::{Arrived, For, Given, receipt};
pub use keys::{OVERLAP, TokenKey, TokenKeys};
pub use status::Standing;

use crate::{
    commit_in_time, fresh_id, names,
    office::{Office, OfficeError},
};

/// How far clocks may differ.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Makes tokens, and knows its own.
pub struct TokenService {
    settings: TokensConfig,
    keys: RwLock<Arc<TokenKeys>>,
}

/// Why no token was made, in OAuth's own words (RFC 6749, section 5.2, and what extends it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A parameter is missing, stands twice or has another form.
    InvalidRequest,
    /// The client did not prove who it is.
    InvalidClient,
    /// What was shown does not hold, or not for this.
    InvalidGrant,
    /// The client may not ask for this.
    UnauthorizedClient,
    /// A grant that is not known.
    UnsupportedGrantType,
    /// Tokens are not made for this place (RFC 8707).
    InvalidTarget,
    /// No scope is given out here.
    InvalidScope,
    /// Details that are not known, or not covered (RFC 9396).
    InvalidAuthorizationDetails,
    /// The proof of possession does not hold (RFC 9449).
    InvalidDpopProof,
    /// Whoever acts may not act for this subject (actor profile).
    ActorUnauthorized,
    /// Such tokens are not revoked (RFC 7009).
    UnsupportedTokenType,
}

impl Code {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidAuthorizationDetails => "invalid_authorization_details",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::ActorUnauthorized => "actor_unauthorized",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why no token was made.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It is refused.
    #[error("{code}: {why}")]
    Refused {
        /// In OAuth's words.
        code: Code,
        /// For whoever asked.
        why: String,
        /// For the operator, where that is more.
        detail: Option<String>,
    },
    /// It could not be recorded, or not be told.
    #[error(transparent)]
    Office(#[from] OfficeError),
    /// There is no key to sign with, or it does not sign.
    #[error("no token can be signed: {0}")]
    Signing(String),
    /// Somebody else used the same at this very moment: look again.
    #[error("somebody else used the same at this moment: try again")]
    Contended,
    /// What was shown cannot be judged now, because somebody else does not answer.
    #[error("{0}")]
    Unavailable(String),
}

impl TokenError {
    /// A refusal.
    #[must_use]
    pub fn refused(code: Code, why: impl Into<String>) -> Self {
        Self::Refused { code, why: why.into(), detail: None }
    }

    fn but_for_the_operator(code: Code, why: &str, detail: impl Into<String>) -> Self {
        Self::Refused { code, why: why.to_owned(), detail: Some(detail.into()) }
    }
}

/// What a refused request is recorded as, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// How a token was asked for.
    pub grant: String,
    /// The agent, as it was claimed or proved.
    pub agent: Option<String>,
    /// How it proved who it is.
    pub evidence: String,
    /// The mandate that was named.
    pub mandate: Option<String>,
    /// The place that was named.
    pub audience: Option<String>,
    /// What was shown.
    pub shown: Vec<Digest>,
    /// The grant of another domain, where one was shown that holds.
    pub crossing: Option<CrossingRecord>,
}

/// Most characters of what a stranger said that a record repeats.
const MAX_SAID: usize = 300;

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

impl TokenService {
    /// A service with these keys.
    #[must_use]
    pub fn new(settings: TokensConfig, keys: TokenKeys) -> Self {
        Self { settings, keys: RwLock::new(Arc::new(keys)) }
    }

    /// As it is configured.
    #[must_use]
    pub fn settings(&self) -> &TokensConfig {
        &self.settings
    }

    /// Its keys.
    #[must_use]
    pub fn keys(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with other keys.
    pub fn go_on_with(&self, keys: TokenKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Records that none was made. That it could not be recorded changes nothing for whoever was refused.
    pub async fn refused<S: Store>(&self, office: &Office<S>, attempt: &Attempt, why: &TokenError) {
        let reason = match why {
            TokenError::Refused { code, why, detail } => {
                let detail = detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                format!("{code}: {why}{detail}")
            }
            other => other.to_string(),
        };
        let record = TokenRecord {
            agent: attempt.agent.as_deref().map(cut),
            mandate: attempt.mandate.as_deref().map(cut),
            audience: attempt.audience.as_deref().map(cut),
            shown: attempt.shown.clone(),
            crossing: attempt.crossing.clone(),
            reason: Some(cut(&reason)),
            ..TokenRecord::new(TokenChange::Refused, cut(&attempt.grant), cut(&attempt.evidence))
        };
        let now = office.now();
        let Ok(id) = fresh_id("a", now, &*office.randomness) else { return };
        let commit = Commit::new(Record::new(id, now, Event::Token(Box::new(record))));
        if let Err(cause) = office.commit(commit).await {
            tracing::warn!(%cause, reason, "a refused token could not be recorded");
        }
    }
}

/// Records that the keys changed that tokens are signed with.
///
/// # Errors
/// [`OfficeError`]; the keys have changed all the same.
pub async fn note_keys<S: Store>(
    store: &S,
    evidence: &str,
    said: String,
    now: Timestamp,
    randomness: &dyn Randomness,
) -> Result<(), OfficeError> {
    let event = Event::Act(ActRecord {
        changes: vec![said],
        ..ActRecord::new("tokens:rotate-key", "host", evidence)
    });
    let record = Record::new(fresh_id("a", now, randomness)?, now, event);
    commit_in_time(store, Commit::new(record)).await?;
    Ok(())
}

/// Something that counts once, such as an assertion or a proof: a key that must be absent, and is put.
fn use_up(commit: &mut Commit, once: &Once) -> Result<Key, OfficeError> {
    let key = names::replay(&once.replay(), once.until())?;
    commit.expect.push((key.clone(), Expect::Absent));
    commit.puts.push((key.clone(), serde_json::to_vec(&once.until())?));
    Ok(key)
}

fn assertion_used() -> TokenError {
    TokenError::refused(Code::InvalidClient, "the assertion was used before: make one for each request")
}

fn proof_used() -> TokenError {
    TokenError::refused(Code::InvalidDpopProof, "the proof was used before: make one for each request")
}

/// What is recorded of a token of ours.
fn record_of(says: &AccessToken, change: TokenChange, grant: &str, client: &Client) -> TokenRecord {
    let actors = says.actors.list().iter();
    TokenRecord {
        token: Some(says.id.to_string()),
        agent: Some(says.agent.to_string()),
        mandate: Some(says.details.mandate.to_string()),
        audience: Some(says.audience.clone()),
        actors: actors.map(|actor| format!("{} {}", actor.issuer, actor.subject)).collect(),
        bound_to: says.bound_to.as_ref().map(ToString::to_string),
        made_from: says.made_from.iter().map(ToString::to_string).collect(),
        expires_at: Some(says.expires_at),
        ..TokenRecord::new(change, grant.to_owned(), client.evidence.clone())
    }
}
