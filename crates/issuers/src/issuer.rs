//! One issuer (OpenID Connect Discovery 1.0, RFC 8414).

use std::{
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;
use warrantor_model::Timestamp;
use warrantor_tokens::{
    ALGORITHMS, Algorithm, Claims, Expected, KeySet, MAX_KEY_SET_BYTES, Nonce, Purpose, Refusal, verify,
};

use crate::fetch::{Fetcher, TrustError, is_loopback};

/// Most bytes of an issuer's metadata.
const MAX_METADATA_BYTES: usize = 256 << 10;
/// How long metadata is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// How long keys are kept at least, whoever asks for one that is not among them.
const KEPT_AT_LEAST: Duration = Duration::from_secs(60);
/// How long an issuer that failed is left alone.
const PAUSE: Duration = Duration::from_secs(10);
/// How old an ID token or a grant may be when it is presented.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// The algorithms that are allowed when nothing is said: those that an issuer of today signs with.
const DEFAULT_ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

/// How an issuer is to be asked for its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// As an OpenID provider.
    OpenId,
    /// As an authorization server, and as an OpenID provider where it says nothing as that.
    OAuth,
}

/// How an issuer is configured.
#[derive(Debug, Clone)]
pub struct IssuerSettings {
    /// Its name, exactly as its tokens have it.
    pub issuer: String,
    /// The algorithms that are allowed; empty for the default ones.
    pub algorithms: Vec<String>,
    /// How it is asked for its metadata.
    pub discovery: Discovery,
    /// Certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
    /// How long its keys are kept.
    pub keep: Duration,
    /// How long they go on, from when they were fetched, while it cannot be asked for newer ones.
    pub keep_unanswered: Duration,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Why an issuer cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The issuer is no URL that could be one.
    #[error("the issuer {0:?} is no https URL without user, query and fragment (http only on loopback)")]
    Issuer(String),
    /// An algorithm that is not known, or not asymmetric.
    #[error("the algorithm {0:?} is none that can be allowed; known are {known}", known = ALGORITHMS.map(|(name, _)| name).join(", "))]
    Algorithm(String),
    /// What is trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Why a token is not taken, or cannot be judged.
#[derive(Debug, Error)]
pub enum IssuerError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The issuer does not answer as one should.
    #[error("{what} of {issuer} cannot be had: {cause}")]
    Unavailable {
        /// What.
        what: &'static str,
        /// Which issuer.
        issuer: String,
        /// Why.
        cause: String,
    },
}

/// What an issuer says of itself, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: Option<String>,
    /// Where codes become tokens.
    pub token_endpoint: Option<String>,
    /// Where devices ask for codes.
    pub device_authorization_endpoint: Option<String>,
    jwks_uri: String,
}

/// A code that an issuer gave a person for us.
#[derive(Debug, Clone, Copy)]
pub struct CodeSent<'a> {
    /// The code.
    pub code: &'a str,
    /// Where the person was sent back to.
    pub redirect_uri: &'a str,
    /// Our name there.
    pub client_id: &'a str,
    /// What the challenge was made of (RFC 7636).
    pub verifier: &'a str,
}

/// An issuer of tokens.
pub struct Issuer {
    settings: IssuerSettings,
    algorithms: Vec<Algorithm>,
    fetcher: Fetcher,
    kept: std::sync::Mutex<Kept>,
    /// Held by whoever asks the issuer.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    metadata: Option<(Timestamp, Arc<Metadata>)>,
    keys: Option<(Timestamp, Arc<KeySet>)>,
    /// When the issuer last failed to give its keys, and why.
    failed: Option<(Timestamp, String)>,
}

/// Whether an instant is at most so long past. One in the future is not: the clock went back.
fn is_within(now: Timestamp, at: Timestamp, lasts: Duration) -> bool {
    now >= at && now < at.plus(lasts)
}

impl Issuer {
    /// Makes ready to ask an issuer. It is asked when it is needed first.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: IssuerSettings) -> Result<Self, SettingsError> {
        let issuer = || SettingsError::Issuer(settings.issuer.clone());
        let url = Url::parse(&settings.issuer).map_err(|_| issuer())?;
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let is_secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if !is_plain || !is_secure || url.password().is_some() {
            return Err(issuer());
        }
        let named: Vec<&str> = match settings.algorithms.as_slice() {
            [] => DEFAULT_ALGORITHMS.to_vec(),
            some => some.iter().map(String::as_str).collect(),
        };
        let algorithm = |name: &&str| {
            let known = ALGORITHMS.iter().find(|(known, _)| known == name).map(|(_, algorithm)| *algorithm);
            known.ok_or_else(|| SettingsError::Algorithm((*name).to_owned()))
        };
        let algorithms = named.iter().map(algorithm).collect::<Result<_, _>>()?;
        let fetcher = Fetcher::trusting(settings.certificates.as_deref())?;
        Ok(Self {
            settings,
            algorithms,
            fetcher,
            kept: std::sync::Mutex::default(),
            fetching: Mutex::default(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.issuer
    }

    /// What the issuer says of itself.
    ///
    /// # Errors
    /// [`IssuerError::Unavailable`].
    pub async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, IssuerError> {
        if let Some((at, metadata)) = &self.kept().metadata
            && is_within(now, *at, KEPT)
        {
            return Ok(Arc::clone(metadata));
        }
        let _fetching = self.fetching.lock().await;
        self.fetch_metadata(now).await
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches the metadata, unless somebody else just did. Whoever calls holds `fetching`.
    async fn fetch_metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, IssuerError> {
        const WHAT: &str = "the metadata";
        let unavailable = |cause: String| self.unavailable(WHAT, cause);
        if let Some((at, metadata)) = &self.kept().metadata
            && is_within(now, *at, KEPT)
        {
            return Ok(Arc::clone(metadata));
        }
        let mut addresses = self.addresses().into_iter();
        let bytes = loop {
            let Some(url) = addresses.next() else { return Err(unavailable("it has no address".to_owned())) };
            match self.fetcher.get(&url, MAX_METADATA_BYTES).await {
                Ok(bytes) => break bytes,
                Err(cause) if addresses.len() == 0 => return Err(unavailable(cause)),
                Err(_) => {}
            }
        };
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|cause| unavailable(cause.to_string()))?;
        // OpenID Connect Discovery 1.0, section 4.3.
        if metadata.issuer != self.settings.issuer {
            return Err(unavailable(format!("it is the metadata of {:?}", metadata.issuer)));
        }
        let named = [
            ("authorization_endpoint", metadata.authorization_endpoint.as_ref()),
            ("token_endpoint", metadata.token_endpoint.as_ref()),
            ("jwks_uri", Some(&metadata.jwks_uri)),
            ("device_authorization_endpoint", metadata.device_authorization_endpoint.as_ref()),
        ];
        for (member, address) in named {
            if !address.is_none_or(|address| self.may_name(address)) {
                // The address itself is not repeated: it may hold a password.
                return Err(unavailable(format!("its {member} is no address that may be asked")));
            }
        }
        let metadata = Arc::new(metadata);
        self.kept().metadata = Some((now, Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// Whether an issuer may name this address.
    fn may_name(&self, text: &str) -> bool {
        let (Ok(url), Ok(own)) = (Url::parse(text), Url::parse(&self.settings.issuer)) else { return false };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return false;
        }
        // One that lives on this machine may name this machine; no other may.
        match (own.scheme(), url.scheme()) {
            ("http", "http") => is_loopback(&url),
            (_, "https") => is_loopback(&own) || !is_loopback(&url),
            _ => false,
        }
    }

    /// The issuer's keys; fetched again where they are old, or where one is missing and they are not quite new. Known keys are given without waiting for
    /// anybody, so that a slow issuer holds up nobody whose key is known.
    ///
    /// # Errors
    /// [`IssuerError::Unavailable`].
    pub async fn keys(&self, now: Timestamp, missing: bool) -> Result<Arc<KeySet>, IssuerError> {
        let lasts = if missing { KEPT_AT_LEAST.min(self.settings.keep) } else { self.settings.keep };
        let known = |kept: &Kept| {
            kept.keys.as_ref().filter(|(at, _)| is_within(now, *at, lasts)).map(|(_, keys)| Arc::clone(keys))
        };
        if let Some(keys) = known(&self.kept()) {
            return Ok(keys);
        }
        // Whoever comes meanwhile waits, so that many with a bad token ask the issuer once.
        let _fetching = self.fetching.lock().await;
        if let Some(keys) = known(&self.kept()) {
            return Ok(keys);
        }
        // An issuer that just failed is not asked by everybody again.
        let failed = self.kept().failed.clone().filter(|(at, _)| is_within(now, *at, PAUSE));
        let fetched = match failed {
            Some((_, cause)) => Err(self.unavailable("the keys", cause)),
            None => self.fetch_keys(now).await,
        };
        let mut kept = self.kept();
        match (fetched, kept.keys.clone()) {
            (Ok(keys), _) => {
                let keys = Arc::new(keys);
                kept.keys = Some((now, Arc::clone(&keys)));
                kept.failed = None;
                Ok(keys)
            }
            (Err(cause), old) => {
                if kept.failed.as_ref().is_none_or(|(at, _)| !is_within(now, *at, PAUSE)) {
                    kept.failed = Some((now, cause.to_string()));
                }
                match old.filter(|(at, _)| is_within(now, *at, self.settings.keep_unanswered)) {
                    Some((_, keys)) => {
                        tracing::warn!(%cause, "the issuer's keys are not fresh");
                        Ok(keys)
                    }
                    None => Err(cause),
                }
            }
        }
    }

    async fn fetch_keys(&self, now: Timestamp) -> Result<KeySet, IssuerError> {
        const WHAT: &str = "the keys";
        let metadata = self.fetch_metadata(now).await?;
        let fetched = self.fetcher.get(&metadata.jwks_uri, MAX_KEY_SET_BYTES).await;
        let bytes = fetched.map_err(|cause| self.unavailable(WHAT, cause))?;
        KeySet::parse(&bytes).map_err(|cause| self.unavailable(WHAT, cause.to_string()))
    }

    /// Where its metadata may be, in the order in which it is asked for (RFC 8414, section 5; MCP authorization, 2026-07-28).
    fn addresses(&self) -> Vec<String> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let appended = format!("{issuer}/.well-known/openid-configuration");
        let Some(url) = Url::parse(issuer).ok().filter(|_| self.settings.discovery == Discovery::OAuth)
        else {
            return vec![appended];
        };
        let (origin, path) = (url.origin().ascii_serialization(), url.path().trim_end_matches('/'));
        let mut all: Vec<String> = ["oauth-authorization-server", "openid-configuration"]
            .map(|name| format!("{origin}/.well-known/{name}{path}"))
            .into();
        all.push(appended);
        all.dedup();
        all
    }

    fn unavailable(&self, what: &'static str, cause: String) -> IssuerError {
        IssuerError::Unavailable { what, issuer: self.settings.issuer.clone(), cause }
    }

    /// The ID token that a code becomes at the issuer's token endpoint (OpenID Connect Core 1.0, section 3.1.3), not verified yet.
    ///
    /// # Errors
    /// [`IssuerError::Unavailable`], also when the issuer refuses the code.
    pub async fn redeem(&self, sent: &CodeSent<'_>, now: Timestamp) -> Result<String, IssuerError> {
        const WHAT: &str = "a token for the code";
        #[derive(Deserialize)]
        struct Answer {
            id_token: String,
        }
        let metadata = self.metadata(now).await?;
        let unavailable = |cause: String| self.unavailable(WHAT, cause);
        let endpoint = metadata.token_endpoint.as_deref();
        let endpoint = endpoint.ok_or_else(|| unavailable("it has no token endpoint".to_owned()))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "authorization_code"),
                ("code", sent.code),
                ("redirect_uri", sent.redirect_uri),
                ("client_id", sent.client_id),
                ("code_verifier", sent.verifier),
            ])
            .finish();
        let answered = self.fetcher.post(endpoint, form, MAX_METADATA_BYTES).await.map_err(unavailable)?;
        // What else it says is nobody's business, an error's text included: it may repeat the code.
        let answer: Answer = serde_json::from_slice(&answered)
            .map_err(|_| self.unavailable(WHAT, "it gave no ID token".to_owned()))?;
        Ok(answer.id_token)
    }

    /// Checks a token of the issuer.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn verify(
        &self,
        token: &str,
        (purpose, audiences): (Purpose, &[String]),
        nonce: Nonce<'_>,
        now: Timestamp,
    ) -> Result<Claims, IssuerError> {
        let expected = Expected {
            issuer: &self.settings.issuer,
            audiences,
            algorithms: &self.algorithms,
            purpose,
            nonce,
            leeway: self.settings.leeway,
            max_age: matches!(purpose, Purpose::Id | Purpose::Crossing).then_some(FRESH),
        };
        let keys = self.keys(now, false).await?;
        match verify(token, &keys, &expected, now) {
            Err(Refusal::UnknownKey) => {
                let keys = self.keys(now, true).await?;
                Ok(verify(token, &keys, &expected, now)?)
            }
            other => Ok(other?),
        }
    }
}
