//! An upstream behind Streamable HTTP.
//!
//! Every request is a POST of its own; its answer comes as one JSON body, or in an event stream among what else the upstream has to say
//! about it. In the legacy era a session spans them, and one more stream brings what is said unasked. Connections are pooled per
//! target, and redirects are not followed: where a server lives is configured, and its credential goes nowhere else.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request as HttpRequest, Response, StatusCode, Uri,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use warrantor_mcp::{ProtocolVersion, headers, sse::EventReader};

use super::{Mirror, NoAnswer, Request, Waiting};

/// How long connecting may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a notification, or the end of a session, may take.
const POST_PATIENCE: Duration = Duration::from_secs(10);
/// Most notifications under way to one upstream; beyond that they are dropped.
const POSTS: usize = 64;
/// How often a stream that ended before its answer is resumed.
const RESUMES: usize = 8;
/// How long to wait before a stream is opened anew when the server does not say.
const RETRY: Duration = Duration::from_secs(1);
/// The shortest wait that a server can ask for.
const SHORTEST_RETRY: Duration = Duration::from_millis(500);
/// The longest wait that a server can ask for.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Most bytes of an answer that is no answer of the protocol.
const FAULT_BYTES: usize = 64 << 10;
/// How long an idle connection is kept: shorter than most servers keep theirs.
const IDLE: Duration = Duration::from_secs(15);

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An HTTP server and how to reach it. Shared by everything that speaks with it, connections included.
pub struct HttpTarget {
    uri: Uri,
    headers: HeaderMap,
    client: HttpClient,
    /// Most bytes of one message.
    max_bytes: usize,
}

impl std::fmt::Debug for HttpTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its headers hold credentials.
        f.debug_struct("HttpTarget").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Why a target cannot be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// No URL of a server.
    #[error("{url:?} is no http or https URL of a server, or holds a user, a password or a fragment")]
    Url {
        /// What was given.
        url: String,
    },
    /// A header that cannot be sent, or that is ours to send.
    #[error("the header {name:?} cannot be sent: {why}")]
    Header {
        /// Its name.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// No roots of trust.
    #[error("the system's certificates cannot be read: {0}")]
    Roots(#[from] std::io::Error),
}

impl HttpTarget {
    /// A target with headers that go with every request, such as its credential.
    ///
    /// # Errors
    /// [`TargetError`]: what is wrong with the URL or a header, or that the system has no certificates to trust.
    pub fn new(url: &str, given: &[(String, String)], max_bytes: usize) -> Result<Self, TargetError> {
        // A password that stands in it is not repeated.
        let shown = match url.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => url.to_owned(),
        };
        let wrong = || TargetError::Url { url: shown.clone() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if !matches!(uri.scheme_str(), Some("http" | "https"))
            || authority.as_str().contains('@')
            || url.contains('#')
        {
            return Err(wrong());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let fault = |why| TargetError::Header { name: name.clone(), why };
            let header: HeaderName = name.parse().map_err(|_| fault("it is no header's name"))?;
            let ours = [ACCEPT, CONTENT_TYPE, hyper::header::HOST, hyper::header::CONTENT_LENGTH];
            if ours.contains(&header)
                || header.as_str().starts_with("mcp-")
                || header == hyper::header::TRANSFER_ENCODING
            {
                return Err(fault("the protocol sets it"));
            }
            let mut value: HeaderValue =
                value.parse().map_err(|_| fault("its value has characters that no header may have"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_PATIENCE));
        connector.set_nodelay(true);
        connector.enforce_http(false);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { uri, headers, client, max_bytes })
    }
}

/// One client's way to an HTTP server.
pub(super) struct HttpCarrier(Arc<Inner>);

struct Inner {
    target: Arc<HttpTarget>,
    session: Mutex<Session>,
    waiting: Waiting,
    /// The server does not know the session any more.
    lost: AtomicBool,
    posts: Semaphore,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct Session {
    id: Option<HeaderValue>,
    version: Option<ProtocolVersion>,
}

/// What a stream said of how to go on.
#[derive(Default)]
struct Left {
    id: Option<String>,
    retry: Option<Duration>,
}

impl HttpCarrier {
    pub(super) fn new(target: Arc<HttpTarget>, waiting: Waiting) -> Self {
        Self(Arc::new(Inner {
            target,
            session: Mutex::default(),
            waiting,
            lost: AtomicBool::new(false),
            posts: Semaphore::new(POSTS),
            closing: watch::Sender::new(false),
        }))
    }

    pub(super) fn speaks(&self, version: ProtocolVersion) {
        self.0.session().version = Some(version);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::SeqCst)
    }

    /// Sends a request and hears all that comes back for it. Whether the answer was among it, whoever waits for it knows.
    pub(super) async fn exchange(
        &self,
        id: u64,
        request: Request,
        hear: &(impl Fn(Vec<u8>) + Send + Sync),
    ) -> Result<(), NoAnswer> {
        let inner = &self.0;
        let message = inner.message(Method::POST, Some(request.line), Some(&request.mirror), None);
        let response = inner.target.client.request(message).await.map_err(|cause| {
            tracing::warn!(cause = %chain(&cause), "the tool server was not reached or hung up");
            if cause.is_connect() { NoAnswer::NotSent } else { NoAnswer::Ended }
        })?;
        if request.mirror.method == "initialize" && response.status().is_success() {
            inner.session().id = response.headers().get(headers::SESSION).cloned();
        }
        inner.bring(id, response, hear).await
    }

    /// Opens the stream on which a legacy server says what it was not asked, and again when it ends.
    pub(super) async fn listen(&self, hear: &(impl Fn(Vec<u8>) + Send + Sync)) {
        let inner = &self.0;
        let mut closing = inner.closing.subscribe();
        let listening = async {
            let mut left = Left::default();
            let mut patience = RETRY;
            loop {
                let message = inner.message(Method::GET, None, None, left.id.as_deref());
                match inner.target.client.request(message).await {
                    Ok(response) if is_events(&response) => {
                        patience = RETRY;
                        if let Ok(now) = inner.events(response, hear, &|| true).await {
                            left = Left { id: now.id.or(left.id.take()), retry: now.retry };
                        }
                    }
                    // It has none.
                    Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => return,
                    Ok(response) => inner.note_loss(response.status()),
                    Err(cause) => tracing::debug!(cause = %chain(&cause), "no stream from the tool server"),
                }
                if inner.lost.load(Ordering::SeqCst) {
                    return;
                }
                tokio::time::sleep(left.retry.unwrap_or(patience)).await;
                patience = patience.saturating_mul(2).min(LONGEST_RETRY);
            }
        };
        tokio::select! {
            () = listening => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }

    /// Sends a notification or an answer, without waiting for it.
    pub(super) fn post(&self, line: Vec<u8>) {
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            let Ok(_permit) = inner.posts.try_acquire() else {
                tracing::warn!("the tool server does not take what it is sent");
                return;
            };
            let message = inner.message(Method::POST, Some(line), None, None);
            match tokio::time::timeout(POST_PATIENCE, inner.target.client.request(message)).await {
                Ok(Ok(response)) => inner.note_loss(response.status()),
                Ok(Err(cause)) => tracing::debug!(cause = %chain(&cause), "a notification was not taken"),
                Err(_) => tracing::debug!("a notification was not taken in time"),
            }
        });
    }

    /// Tells the server that nobody waits for this request any more. A modern one knows by the end of the stream.
    pub(super) fn give_up(&self, id: u64) {
        if self.0.session().version.is_some() {
            self.post(warrantor_mcp::envelope::cancelled(id));
        }
    }

    /// Ends the session at the server.
    pub(super) fn close(&self) {
        self.0.closing.send_replace(true);
        let inner = Arc::clone(&self.0);
        // Without a runtime nothing can be sent; the server ends idle sessions itself.
        if inner.session().id.is_none() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let message = inner.message(Method::DELETE, None, None, None);
        inner.session().id = None;
        tokio::spawn(async move {
            let _ = tokio::time::timeout(POST_PATIENCE, inner.target.client.request(message)).await;
        });
    }
}

impl Inner {
    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn message(
        &self,
        method: Method,
        body: Option<Vec<u8>>,
        mirror: Option<&Mirror>,
        resume: Option<&str>,
    ) -> HttpRequest<Full<Bytes>> {
        let has_body = body.is_some();
        let mut message = HttpRequest::new(Full::new(Bytes::from(body.unwrap_or_default())));
        let accepted =
            if method == Method::GET { "text/event-stream" } else { "application/json, text/event-stream" };
        *message.method_mut() = method;
        *message.uri_mut() = self.target.uri.clone();
        let headers = message.headers_mut();
        headers.extend(self.target.headers.clone());
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("warrantor/", env!("CARGO_PKG_VERSION"))));
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut set = |name: &str, value: &str| {
            // A value that no header can have would have been encoded.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.insert(name, value);
            }
        };
        match mirror {
            Some(mirror) if mirror.modern.is_some() => {
                set(headers::PROTOCOL_VERSION, mirror.modern.map_or("", ProtocolVersion::as_str));
                set(headers::METHOD, mirror.method);
                if let Some(name) = &mirror.name {
                    set(headers::NAME, &headers::encode(name));
                }
                for (name, value) in &mirror.parameters {
                    set(name, &headers::encode(value));
                }
            }
            _ => {
                let session = self.session();
                if let Some(version) = session.version {
                    set(headers::PROTOCOL_VERSION, version.as_str());
                }
                if let Some(id) = session.id.clone() {
                    drop(session);
                    headers.insert(HeaderName::from_static(headers::SESSION), id);
                }
            }
        }
        if let Some(id) = resume.and_then(|id| id.parse::<HeaderValue>().ok()) {
            headers.insert(HeaderName::from_static(headers::LAST_EVENT), id);
        }
        message
    }

    /// Hears a response: one message, or a stream of them that is resumed as long as its answer is waited for.
    async fn bring(
        &self,
        id: u64,
        response: Response<Incoming>,
        hear: &(impl Fn(Vec<u8>) + Send + Sync),
    ) -> Result<(), NoAnswer> {
        let status = response.status();
        self.note_loss(status);
        if !status.is_success() {
            return self.fault(response, hear).await;
        }
        if is_json(&response) {
            hear(collect(response, self.target.max_bytes).await?);
            return Ok(());
        }
        if !is_events(&response) {
            return Err(NoAnswer::Broken(format!("status {status} and neither JSON nor a stream of events")));
        }
        let wanted = || self.waiting.wants(id);
        let mut left = self.events(response, hear, &wanted).await?;
        for _ in 0..RESUMES {
            let Some(last) = left.id.take().filter(|_| wanted()) else { return Ok(()) };
            tokio::time::sleep(left.retry.unwrap_or(RETRY)).await;
            let message = self.message(Method::GET, None, None, Some(&last));
            let Ok(response) = self.target.client.request(message).await else { return Err(NoAnswer::Ended) };
            if !is_events(&response) {
                return Err(NoAnswer::Ended);
            }
            let now = self.events(response, hear, &wanted).await?;
            left = Left { id: now.id.or(Some(last)), retry: now.retry.or(left.retry) };
        }
        Ok(())
    }

    /// What a refusing server says, if it says it in a message of the protocol.
    async fn fault(
        &self,
        response: Response<Incoming>,
        hear: &(impl Fn(Vec<u8>) + Send + Sync),
    ) -> Result<(), NoAnswer> {
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(NoAnswer::Broken(format!(
                "status {status}: its credential is missing or was refused"
            )));
        }
        if is_json(&response)
            && let Ok(body) = collect(response, FAULT_BYTES).await
        {
            hear(body);
        }
        Err(NoAnswer::Broken(format!("status {status}")))
    }

    /// Hears a stream of events to its end, or until what comes is not wanted any more.
    async fn events(
        &self,
        response: Response<Incoming>,
        hear: &(impl Fn(Vec<u8>) + Send + Sync),
        wanted: &(impl Fn() -> bool + Sync),
    ) -> Result<Left, NoAnswer> {
        let mut body = response.into_body();
        let mut reader = EventReader::new(self.target.max_bytes);
        let mut retry = None;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { break };
            let Some(chunk) = frame.data_ref() else { continue };
            for event in reader.push(chunk) {
                match event {
                    Ok(event) => {
                        retry = event.retry.map(Duration::from_millis).or(retry);
                        if !event.data.is_empty() {
                            hear(event.data);
                        }
                    }
                    Err(cause) => tracing::warn!(%cause, "an event of the tool server was dropped"),
                }
            }
            if !wanted() {
                break;
            }
        }
        let retry = retry.map(|retry| retry.clamp(SHORTEST_RETRY, LONGEST_RETRY));
        Ok(Left { id: reader.last_id().map(str::to_owned), retry })
    }

    fn note_loss(&self, status: StatusCode) {
        if status == StatusCode::NOT_FOUND && self.session().id.is_some() {
            self.lost.store(true, Ordering::SeqCst);
        }
    }
}

fn has_type(response: &Response<Incoming>, wanted: &str) -> bool {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

fn is_json(response: &Response<Incoming>) -> bool {
    has_type(response, "application/json")
}

fn is_events(response: &Response<Incoming>) -> bool {
    response.status().is_success() && has_type(response, "text/event-stream")
}

async fn collect(response: Response<Incoming>, bound: usize) -> Result<Vec<u8>, NoAnswer> {
    let body = Limited::new(response.into_body(), bound).collect().await.map_err(|cause| {
        if cause.is::<LengthLimitError>() {
            NoAnswer::Broken(format!("more than {bound} bytes"))
        } else {
            NoAnswer::Ended
        }
    })?;
    Ok(body.to_bytes().into())
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
