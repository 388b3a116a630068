//! One question, one verified answer.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use opentelemetry::trace::TraceContextExt;
use thiserror::Error;
use warrantor_engine::wire::{Answered, Asked, MAX_BYTES, Question, SignatureError, Signed, Verified};
use warrantor_issuers::trusting;
use warrantor_ledger::VerifierKey;
use warrantor_mcp::trace::traceparent;
use warrantor_model::{EnforcementPoint, Randomness};
use zeroize::Zeroizing;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(2);
/// Idle connections that are kept.
const IDLE: usize = 64;
/// Where questions are answered, below the control plane's address.
const PATH: &str = "/v1/enforcement";

/// How a control plane is reached, and what is believed of it.
pub struct PlaneSettings {
    /// Its address, such as `https://warrantor.example.com`.
    pub url: String,
    /// The token of the client that this point is.
    pub token: Zeroizing<String>,
    /// This point: the client's name.
    pub point: EnforcementPoint,
    /// The keys whose answers are believed.
    pub keys: Vec<VerifierKey>,
    /// Certificates to trust instead of the system's, PEM.
    pub certificates: Option<PathBuf>,
}

/// Why a question has no answer.
#[derive(Debug, Error)]
pub enum PlaneError {
    /// The settings cannot be used. The author's fault.
    #[error("{0}")]
    Settings(String),
    /// The control plane cannot be reached, or not in time.
    #[error("the control plane does not answer: {0}")]
    Unreachable(String),
    /// It refuses to answer this point.
    #[error("the control plane refuses this enforcement point ({status}): {detail}")]
    Refused {
        /// The status of HTTP.
        status: StatusCode,
        /// Its own words.
        detail: String,
    },
    /// What came is no answer that could be believed.
    #[error("what came from the control plane is not believed: {0}")]
    NotBelieved(#[from] SignatureError),
    /// The question cannot be written, or there are no random bytes for it.
    #[error("the question cannot be asked: {0}")]
    Question(String),
    /// The answer is to something else.
    #[error("the control plane answers something else than was asked")]
    Unexpected,
}

/// A control plane as this point asks it.
pub(crate) struct Plane {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    token: HeaderValue,
    point: EnforcementPoint,
    keys: Vec<VerifierKey>,
}

impl Plane {
    pub(crate) fn new(settings: &PlaneSettings) -> Result<Self, PlaneError> {
        let wrong = |cause: String| PlaneError::Settings(cause);
        let uri: Uri = format!("{}{PATH}", settings.url.trim_end_matches('/'))
            .parse()
            .map_err(|_| wrong(format!("{:?} is no address of a control plane", settings.url)))?;
        let loopback = |host: &str| matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        let is_secure = uri.scheme_str() == Some("https")
            || (uri.scheme_str() == Some("http") && uri.host().is_some_and(loopback));
        if !is_secure {
            return Err(wrong(format!("{:?} is no https address (http only on loopback)", settings.url)));
        }
        if settings.keys.is_empty() {
            return Err(wrong(
                "no key is trusted: nothing of the control plane could be believed".to_owned(),
            ));
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", settings.token.trim()))
            .map_err(|_| wrong("the token cannot be sent in a header".to_owned()))?;
        token.set_sensitive(true);
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(CONNECT));
        plain.set_nodelay(true);
        plain.enforce_http(false);
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let builder = match &settings.certificates {
            None => builder
                .with_native_roots()
                .map_err(|cause| wrong(format!("the system's certificates cannot be read: {cause}")))?,
            Some(file) => builder.with_tls_config(trusting(file).map_err(|cause| wrong(cause.to_string()))?),
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE)
            .build(connector);
        Ok(Self { client, uri, token, point: settings.point.clone(), keys: settings.keys.clone() })
    }

    /// Makes a question of bytes of its own.
    pub(crate) fn question(question: Question, randomness: &dyn Randomness) -> Result<Bytes, PlaneError> {
        let mut nonce = [0; 32];
        randomness.fill(&mut nonce).map_err(|cause| PlaneError::Question(cause.to_string()))?;
        let asked = Asked { nonce: hex::encode(nonce), question };
        let bytes = serde_json::to_vec(&asked).map_err(|cause| PlaneError::Question(cause.to_string()))?;
        if bytes.len() > MAX_BYTES {
            return Err(PlaneError::Question(format!("it has more than {MAX_BYTES} bytes")));
        }
        Ok(Bytes::from(bytes))
    }

    /// Asks, and gives the answer once it is verified.
    pub(crate) async fn ask(&self, bytes: Bytes, patience: Duration) -> Result<Verified, PlaneError> {
        let signed = tokio::time::timeout(patience, self.send(bytes.clone()))
            .await
            .map_err(|_| PlaneError::Unreachable(format!("not within {} ms", patience.as_millis())))??;
        Ok(Verified::of(signed, &self.keys, &self.point, &bytes)?)
    }

    async fn send(&self, body: Bytes) -> Result<Signed, PlaneError> {
        let unreachable = |cause: &dyn std::fmt::Display| PlaneError::Unreachable(cause.to_string());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.uri)
            .header(AUTHORIZATION, &self.token)
            .header(CONTENT_TYPE, "application/json");
        // The control plane's span joins the trace of the call.
        let context = opentelemetry::Context::current();
        if let Some(parent) = traceparent(context.span().span_context()) {
            request = request.header("traceparent", parent);
        }
        let request =
            request.body(Full::new(body)).map_err(|cause| PlaneError::Question(cause.to_string()))?;
        let response = self.client.request(request).await.map_err(|cause| {
            // The cause of a cause says what happened.
            let deeper = std::error::Error::source(&cause).map(ToString::to_string);
            unreachable(&deeper.unwrap_or_else(|| cause.to_string()))
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|cause| unreachable(&cause))?.to_bytes();
        if status != StatusCode::OK {
            let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
            let detail =
                problem.as_ref().and_then(|problem| problem.get("detail")?.as_str()).unwrap_or_default();
            let detail: String = detail.chars().take(200).collect();
            // Its own trouble passes, or may.
            return Err(match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => PlaneError::Unreachable(format!("{status} {detail}")),
                false => PlaneError::Refused { status, detail },
            });
        }
        serde_json::from_slice(&body).map_err(|cause| unreachable(&format!("no signed answer: {cause}")))
    }
}

/// Whether the control plane said that something is done.
pub(crate) fn is_done(verified: &Verified) -> bool {
    matches!(verified.answered(), Answered::Done {})
}
