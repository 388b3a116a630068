//! The identity provider that people sign in with (OpenID Connect Discovery 1.0): its metadata and keys, fetched within bounds and kept for a while.
//!
//! The issuer is configured; nothing that a caller sends chooses where a request goes. What the provider's own document names must be https, unless the
//! provider itself is plain http on loopback and what it names is too. Redirects are not followed.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex;
use url::{Host, Url};
use warrantor_bundle::serve::ProviderConfig;
use warrantor_model::Timestamp;
use warrantor_tokens::{
    ALGORITHMS, Algorithm, Claims, Expected, KeySet, MAX_KEY_SET_BYTES, Nonce, Purpose, Refusal, verify,
};

/// Most bytes of a provider's metadata.
const MAX_METADATA_BYTES: usize = 256 << 10;
/// How long a request to the provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long metadata and keys are kept.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// How long keys are kept at least, whoever asks for one that is not among them.
const KEPT_AT_LEAST: Duration = Duration::from_secs(60);
/// How long a provider that failed is left alone.
const PAUSE: Duration = Duration::from_secs(10);
/// How old an ID token may be when it is presented.
const ID_TOKEN_AGE: Duration = Duration::from_secs(10 * 60);
/// The algorithms that are allowed when nothing is said: those that a provider of today signs with.
const DEFAULT_ALGORITHMS: [&str; 4] = ["RS256", "PS256", "ES256", "EdDSA"];

/// Why a provider cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The issuer is no URL that could be one.
    #[error("the issuer {0:?} is no https URL without user, query and fragment (http only on loopback)")]
    Issuer(String),
    /// An algorithm that is not known, or not asymmetric.
    #[error("the algorithm {0:?} is none that can be allowed; known are {known}", known = ALGORITHMS.map(|(name, _)| name).join(", "))]
    Algorithm(String),
    /// The file of certificates.
    #[error("the certificates in {file} cannot be used: {cause}")]
    Certificates {
        /// Which file.
        file: String,
        /// Why.
        cause: String,
    },
    /// The system's certificates.
    #[error("the system's certificates cannot be read: {0}")]
    Roots(#[from] std::io::Error),
}

/// Why a token is not taken, or cannot be judged.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The provider does not answer as one should.
    #[error("{what} of the identity provider cannot be had: {cause}")]
    Unavailable {
        /// What.
        what: &'static str,
        /// Why.
        cause: String,
    },
}

/// What a provider says of itself, as far as it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    issuer: String,
    /// Where people are sent.
    pub authorization_endpoint: String,
    /// Where codes become tokens.
    pub token_endpoint: String,
    /// Where devices ask for codes.
    pub device_authorization_endpoint: Option<String>,
    jwks_uri: String,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// An identity provider.
pub struct Provider {
    settings: ProviderConfig,
    algorithms: Vec<Algorithm>,
    client: HttpClient,
    kept: std::sync::Mutex<Kept>,
    /// Held by whoever asks the provider.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    metadata: Option<(Timestamp, Arc<Metadata>)>,
    keys: Option<(Timestamp, Arc<KeySet>)>,
    /// When the provider last failed to give its keys, and why.
    failed: Option<(Timestamp, String)>,
}

/// Whether an instant is at most so long past. One in the future is not: the clock went back.
fn is_within(now: Timestamp, at: Timestamp, lasts: Duration) -> bool {
    now >= at && now < at.plus(lasts)
}

impl Provider {
    /// Makes ready to ask a provider. It is asked when it is needed first.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: ProviderConfig) -> Result<Self, SettingsError> {
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
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(PATIENCE));
        plain.enforce_http(false);
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let connector = match settings.certificates.as_deref() {
            None => builder.with_native_roots()?,
            Some(file) => builder.with_tls_config(trusting(file)?),
        };
        let connector = connector.https_or_http().enable_http1().wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Ok(Self {
            settings,
            algorithms,
            client,
            kept: std::sync::Mutex::default(),
            fetching: Mutex::default(),
        })
    }

    /// As it is configured.
    #[must_use]
    pub fn settings(&self) -> &ProviderConfig {
        &self.settings
    }

    /// The subject that a token's claims name a person by.
    #[must_use]
    pub fn subject(&self, claims: &Claims) -> Option<String> {
        match self.settings.subject_claim.as_str() {
            "sub" => Some(claims.subject().to_owned()),
            other => claims.text(other).filter(|text| !text.is_empty()).map(str::to_owned),
        }
    }

    /// What the provider says of itself.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`].
    pub async fn metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, ProviderError> {
        if let Some((at, metadata)) = &self.kept().metadata
            && is_within(now, *at, KEPT)
        {
            return Ok(Arc::clone(metadata));
        }
        let _fetching = self.fetching.lock().await;
        self.fetch_metadata(now).await
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Fetches the metadata, unless somebody else just did. Whoever calls holds `fetching`.
    async fn fetch_metadata(&self, now: Timestamp) -> Result<Arc<Metadata>, ProviderError> {
        const WHAT: &str = "the metadata";
        let unavailable = |cause: String| ProviderError::Unavailable { what: WHAT, cause };
        if let Some((at, metadata)) = &self.kept().metadata
            && is_within(now, *at, KEPT)
        {
            return Ok(Arc::clone(metadata));
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let bytes = self.get(WHAT, &url, MAX_METADATA_BYTES).await?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|cause| unavailable(cause.to_string()))?;
        // OpenID Connect Discovery 1.0, section 4.3.
        if metadata.issuer != self.settings.issuer {
            return Err(unavailable(format!("it is the metadata of {:?}", metadata.issuer)));
        }
        let named = [
            ("authorization_endpoint", Some(&metadata.authorization_endpoint)),
            ("token_endpoint", Some(&metadata.token_endpoint)),
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

    /// Whether a provider may name this address.
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

    /// The provider's keys; fetched again where they are old, or where one is missing and they are not quite new. Known keys are given without waiting for
    /// anybody, so that a slow provider holds up nobody whose key is known.
    async fn keys(&self, now: Timestamp, missing: bool) -> Result<Arc<KeySet>, ProviderError> {
        let lasts = if missing { KEPT_AT_LEAST } else { KEPT };
        let known = |kept: &Kept| {
            kept.keys.as_ref().filter(|(at, _)| is_within(now, *at, lasts)).map(|(_, keys)| Arc::clone(keys))
        };
        if let Some(keys) = known(&self.kept()) {
            return Ok(keys);
        }
        // Whoever comes meanwhile waits, so that many with a bad token ask the provider once.
        let _fetching = self.fetching.lock().await;
        if let Some(keys) = known(&self.kept()) {
            return Ok(keys);
        }
        // A provider that just failed is not asked by everybody again.
        let failed = self.kept().failed.clone().filter(|(at, _)| is_within(now, *at, PAUSE));
        let fetched = match failed {
            Some((_, cause)) => Err(ProviderError::Unavailable { what: "the keys", cause }),
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
                // Keys that were there an hour ago are better than nobody being able to sign in; a day is the end.
                match old.filter(|(at, _)| is_within(now, *at, KEPT * 24)) {
                    Some((_, keys)) => {
                        tracing::warn!(%cause, "the provider's keys are not fresh");
                        Ok(keys)
                    }
                    None => Err(cause),
                }
            }
        }
    }

    async fn fetch_keys(&self, now: Timestamp) -> Result<KeySet, ProviderError> {
        const WHAT: &str = "the keys";
        let metadata = self.fetch_metadata(now).await?;
        let bytes = self.get(WHAT, &metadata.jwks_uri, MAX_KEY_SET_BYTES).await?;
        KeySet::parse(&bytes)
            .map_err(|cause| ProviderError::Unavailable { what: WHAT, cause: cause.to_string() })
    }

    /// Checks a token of the provider.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn verify(
        &self,
        token: &str,
        purpose: Purpose,
        nonce: Nonce<'_>,
        now: Timestamp,
    ) -> Result<Claims, ProviderError> {
        let own = [self.settings.client_id.clone()];
        let expected = Expected {
            issuer: &self.settings.issuer,
            audiences: match purpose {
                Purpose::Id => &own,
                Purpose::Access => &self.settings.audiences,
            },
            algorithms: &self.algorithms,
            purpose,
            nonce,
            leeway: self.settings.leeway,
            max_age: (purpose == Purpose::Id).then_some(ID_TOKEN_AGE),
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

    async fn get(&self, what: &'static str, url: &str, bound: usize) -> Result<Bytes, ProviderError> {
        let unavailable = |cause: String| ProviderError::Unavailable { what, cause };
        let uri: Uri = url.parse().map_err(|_| unavailable(format!("{url:?} is no address")))?;
        let asked = async {
            let response = self.client.get(uri).await.map_err(|cause| cause.to_string())?;
            if response.status() != StatusCode::OK {
                return Err(format!("it answered {}", response.status()));
            }
            let body = Limited::new(response.into_body(), bound).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|cause| cause.to_string())
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer.map_err(unavailable),
            Err(_) => Err(unavailable("it did not answer in time".to_owned())),
        }
    }
}

/// Whether a URL leads to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// TLS that trusts these certificates and no others.
fn trusting(file: &Path) -> Result<ClientConfig, SettingsError> {
    let wrong = |cause: String| SettingsError::Certificates { file: file.display().to_string(), cause };
    let bytes = fs::read(file).map_err(|cause| wrong(cause.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|cause| wrong(cause.to_string()))?;
        roots.add(certificate).map_err(|cause| wrong(cause.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it has none".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| wrong(cause.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
