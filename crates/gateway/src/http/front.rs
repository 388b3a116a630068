//! The HTTP face: what a request must be before anything of it is decided, and which exchange answers it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Incoming,
    header::{HeaderValue, ORIGIN},
    http::request::Parts,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use warrantor_decide::Presence;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Declared, Message, ProtocolVersion,
    era::declared,
    headers::{self, Header, HeaderError},
    tasks::TaskParams,
    trace::TraceContext,
    uses::{Target, UseParams},
};
use warrantor_model::{AgentId, Clock, MandateId, ServerName, Subject, TemplateId, Timestamp};

mod admitting;
mod answering;
mod upkeep;

use answering::{Begun, stopping};

use super::{
    behind::Endpoint,
    callers::Caller,
    checks::{
        accepts, for_page, is_json, is_modern, mismatch, preflight, too_busy, undeclared, without_port,
    },
    connection::{Connection, EndpointSettings, Shared},
    resource::DESCRIPTION,
    respond::{self, Answer, Refused},
    served::{Now, Serving},
    sessions::Session,
};
use crate::{
    exchange::lock,
    metrics::{Metrics, Standing},
    spans::Spans,
};

/// The header in which a client with several mandates names the one that a request runs.
pub const MANDATE_HEADER: &str = "warrantor-mandate";
/// How long an answer is waited for before the response begins as a stream.
const BEFORE_STREAMING: Duration = Duration::from_secs(10);

/// Tells which mandate a name stands for now: a mandate of the bundle is resumed, or handed over the first time; an instance stands for itself.
pub trait Mandates: Send + Sync + 'static {
    /// The mandate, and when it ends.
    ///
    /// # Errors
    /// Why nothing can be run under this name, in words for the caller.
    fn resolve(
        &self,
        name: &TemplateId,
    ) -> impl Future<Output = Result<(MandateId, Timestamp), String>> + Send;
}

/// What a gateway is put together from.
pub struct GatewayParts<P, M> {
    /// Decides.
    pub engine: P,
    /// What it serves.
    pub serving: Serving<M>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where spans go.
    pub spans: Spans,
}

/// Whose something is that goes on, such as a connection of the modern era: what one caller's mandate has said to a server is nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Whose {
    server: ServerName,
    caller: String,
    mandate: MandateId,
}

impl Whose {
    fn of(caller: &Caller, mandate: &MandateId, server: &ServerName) -> Self {
        Self { server: server.clone(), caller: caller.settings.name.clone(), mandate: mandate.clone() }
    }
}

/// Connections of the modern era, each with whom it serves.
type Modern<P> = BTreeMap<Whose, (Arc<Caller>, Arc<Connection<P>>)>;

/// What a name of a mandate stands for.
#[derive(Clone)]
struct Resolved {
    mandate: MandateId,
    /// Whom it is for: whoever names it has to be that agent, each time.
    agent: AgentId,
    until: Timestamp,
}

/// Sessions by their names, each with its server.
type Sessions<P> = HashMap<String, (ServerName, Arc<Session<P>>)>;

/// The HTTP face of a gateway.
pub(super) struct Front<P: DecisionPoint, M> {
    pub(super) engine: P,
    serving: RwLock<Arc<Now<M>>>,
    pub(super) metrics: Arc<Metrics>,
    spans: Spans,
    clock: Arc<dyn Clock>,
    /// What names of mandates stand for, until that ends.
    resolved: Mutex<HashMap<TemplateId, Resolved>>,
    /// Since when it cannot be told whether something stands.
    doubts: Mutex<BTreeMap<Whose, Instant>>,
    sessions: Mutex<Sessions<P>>,
    session_room: Arc<Semaphore>,
    modern: Mutex<Modern<P>>,
    /// Held by everything under way: when all are gone, the receiver's wait ends.
    under_way: Mutex<Option<mpsc::Sender<Infallible>>>,
    /// The same for processes of servers.
    upkeep: Mutex<Option<mpsc::Sender<Infallible>>>,
}

/// A request whose caller is known.
struct Known<'a, P, M> {
    engine: &'a P,
    now: &'a Now<M>,
    endpoint: &'a Endpoint,
    caller: &'a Arc<Caller>,
    headers: &'a HeaderMap,
}

impl<P, M> Known<'_, P, M> {
    /// Who asks, at a server.
    fn presence(&self, server: &ServerName) -> Presence {
        Presence { server: server.clone(), evidence: self.caller.shown.now() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The trace that the request says it belongs to.
    fn trace(&self) -> Option<TraceContext<'static>> {
        let text = |name| self.header(name).map(Cow::Borrowed);
        TraceContext::read(text("traceparent"), text("tracestate")).map(TraceContext::into_owned)
    }

    fn pairs(&self) -> Vec<Header<'_>> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
    }
}

fn no_such_path() -> Answer {
    respond::refused(StatusCode::NOT_FOUND, "no server has this path")
}

impl<P: DecisionPoint, M: Mandates> Front<P, M> {
    pub(super) fn new(
        parts: GatewayParts<P, M>,
        under_way: mpsc::Sender<Infallible>,
        upkeep: mpsc::Sender<Infallible>,
    ) -> Self {
        let sessions = parts.serving.limits.sessions;
        Self {
            engine: parts.engine,
            serving: RwLock::new(Arc::new(Now::of(parts.serving, None))),
            session_room: Arc::new(Semaphore::new(sessions.min(Semaphore::MAX_PERMITS))),
            metrics: Arc::default(),
            spans: parts.spans,
            clock: parts.clock,
            resolved: Mutex::default(),
            doubts: Mutex::default(),
            sessions: Mutex::default(),
            modern: Mutex::default(),
            under_way: Mutex::new(Some(under_way)),
            upkeep: Mutex::new(Some(upkeep)),
        }
    }

    /// What is served now.
    pub(super) fn now(&self) -> Arc<Now<M>> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that was counted.
    pub(super) fn counted(&self) -> String {
        let standing = Standing {
            sessions: lock(&self.sessions).len(),
            connections: lock(&self.modern).len(),
            unrecorded: self.engine.unrecorded().map_or(0, |(records, _)| records),
            is_ready: self.unready().is_none(),
        };
        self.metrics.text(standing)
    }

    /// Answers a request. Never fails: what goes wrong is a response.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let metrics = Arc::clone(&self.metrics);
        let answer = self.answer_to(request).await;
        metrics.responded(answer.status().as_u16());
        answer
    }

    async fn answer_to(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        // Whoever looks after us may know us by any name, and learns nothing.
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/healthz") => return respond::text(StatusCode::OK, "ok\n"),
            (&Method::GET, "/readyz") => return self.readiness(),
            _ => {}
        }
        let now = self.now();
        let origin = request.headers().get(ORIGIN).cloned();
        let authority = request.uri().authority().map(|authority| authority.as_str().to_ascii_lowercase());
        if authority.is_some_and(|authority| !now.hosts.contains(without_port(&authority))) {
            return respond::refused(
                StatusCode::FORBIDDEN,
                "this gateway is not known by the name in the request",
            );
        }
        let answer = match now.is_addressed(request.headers()) {
            Err(refused) => return refused.into_answer(),
            Ok(()) => {
                let shows_proof = request.headers().contains_key("dpop");
                let answer = self.route(&now, request).await;
                match now.resource.as_ref().filter(|_| shows_proof) {
                    // The next request repeats it, so that none is refused for its age.
                    Some(resource) => match resource.nonce(self.clock.now()) {
                        Some(nonce) => respond::with(answer, "dpop-nonce", nonce),
                        None => answer,
                    },
                    None => answer,
                }
            }
        };
        match origin {
            Some(origin) => for_page(answer, origin),
            None => answer,
        }
    }

    async fn route(self: &Arc<Self>, serving: &Now<M>, request: Request<Incoming>) -> Answer {
        if let Some(path) = request.uri().path().strip_prefix(DESCRIPTION) {
            return match (&serving.resource, request.method()) {
                (Some(resource), &Method::GET) if serving.endpoints.contains_key(path) => {
                    resource.description(path)
                }
                (Some(_), &Method::OPTIONS) => preflight(),
                _ => no_such_path(),
            };
        }
        if !serving.endpoints.contains_key(request.uri().path()) {
            return no_such_path();
        }
        match *request.method() {
            Method::POST | Method::GET | Method::DELETE => {}
            Method::OPTIONS => return preflight(),
            _ => {
                let refused = respond::refused(StatusCode::METHOD_NOT_ALLOWED, "use POST, GET or DELETE");
                return respond::with(refused, "allow", HeaderValue::from_static("POST, GET, DELETE"));
            }
        }
        let (head, body) = request.into_parts();
        let caller = match self.caller(serving, &head).await {
            Ok(caller) => caller,
            // Whoever is to repeat the nonce does so on this connection, if nothing of the first request is left on it.
            Err(refused) if admitting::is_drained(body).await => return refused.into_answer(),
            Err(refused) => {
                return respond::with(refused.into_answer(), "connection", HeaderValue::from_static("close"));
            }
        };
        let known = match self.known(serving, &head, &caller) {
            Ok(known) => known,
            Err(refused) => return refused.into_answer(),
        };
        let place = match known.caller.begin() {
            Ok(place) => place,
            Err(busy) => return too_busy(busy),
        };
        match head.method {
            Method::POST => match self.receive(&known, body).await {
                // A body may take its time, and what was configured anew meanwhile counts for it.
                Ok(body) => match self.known(&self.now(), &head, &caller) {
                    Ok(known) => self.post(&known, body, place).await,
                    Err(refused) => refused.into_answer(),
                },
                Err(refused) => refused.into_answer(),
            },
            Method::GET => self.listen(&known, place),
            _ => self.end(&known),
        }
    }

    /// Who asks for what, as it is configured now.
    fn known<'a>(
        &'a self,
        serving: &'a Now<M>,
        head: &'a Parts,
        caller: &'a Arc<Caller>,
    ) -> Result<Known<'a, P, M>, Refused> {
        let endpoint = serving.endpoints.get(head.uri.path()).ok_or_else(|| Refused::from(no_such_path()))?;
        if caller.has_ended(self.clock.now()) || !serving.callers.has(&caller.settings) {
            let refused = respond::refused(StatusCode::UNAUTHORIZED, "the token has ended: send another");
            return Err(respond::with(refused, "www-authenticate", HeaderValue::from_static("Bearer")).into());
        }
        if !caller.settings.servers.contains(&endpoint.name) {
            // As if there were no such server: what a token does not reach it need not know.
            return Err(no_such_path().into());
        }
        Ok(Known { engine: &self.engine, now: serving, endpoint, caller, headers: &head.headers })
    }

    fn readiness(&self) -> Answer {
        match self.unready() {
            None => respond::text(StatusCode::OK, "ready\n"),
            Some(why) => respond::text(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }

    /// Why no call could pass, if none could: the stop file does not read, or something waits for a log that fails.
    fn unready(&self) -> Option<&'static str> {
        let stopping = lock(&self.under_way).is_none();
        match (self.engine.stops(), self.engine.unrecorded()) {
            _ if stopping => Some("the gateway is stopping\n"),
            (None, _) => Some("it cannot be told what is stopped, so everything is\n"),
            (Some(stops), _) if stops.iter().any(|stop| stop.subject == Subject::Deployment) => {
                Some("a lockdown is in force: nothing passes\n")
            }
            (_, Some(_)) => Some("records wait for a log that fails: nothing passes\n"),
            (Some(_), None) => None,
        }
    }

    /// The body of a request.
    async fn receive(&self, known: &Known<'_, P, M>, body: Incoming) -> Result<Bytes, Refused> {
        if !is_json(known.headers) {
            let why = "a message is sent as `Content-Type: application/json`";
            return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        if !accepts(known.headers, "application/json") || !accepts(known.headers, "text/event-stream") {
            let why = "`Accept` must list application/json and text/event-stream";
            return Err(Refused::new(StatusCode::NOT_ACCEPTABLE, why));
        }
        let bound = known.endpoint.client_limits.bytes();
        let received = Limited::new(body, bound).collect();
        match tokio::time::timeout(known.now.limits.receive, received).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(Refused::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the message has more than the {bound} bytes that are allowed"),
            )),
            Ok(Err(_)) => Err(Refused::new(StatusCode::BAD_REQUEST, "the message was cut off")),
            Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the message took too long to arrive")),
        }
    }

    async fn post(
        self: &Arc<Self>,
        known: &Known<'_, P, M>,
        body: Bytes,
        place: OwnedSemaphorePermit,
    ) -> Answer {
        let limits = known.endpoint.client_limits;
        let message = match Message::parse(&body, &limits) {
            Ok(message) => message,
            Err(cause) => return respond::json(StatusCode::BAD_REQUEST, cause.to_response()),
        };
        let version = match headers::one(&known.pairs(), headers::PROTOCOL_VERSION) {
            Ok(version) => version.map(Cow::into_owned),
            Err(cause) => return mismatch(None, &cause),
        };
        match message {
            Message::Request { id, method, params } => {
                let declared = match declared(&method, params) {
                    Ok(declared) => declared,
                    Err(cause) => return undeclared(&id, version.as_deref(), &cause),
                };
                match declared {
                    Declared::Modern(declared) => {
                        if let Err(cause) = self.agrees(known, &method, params, declared) {
                            return mismatch(Some(&id), &cause);
                        }
                        self.answer_modern(known, &body, (&method, params), place).await
                    }
                    Declared::Handshake(_) => self.initialize(known, &body, &id).await,
                    Declared::Nothing => match self.of_session(known, version.as_deref(), Some(&id)) {
                        Ok((_, session)) => {
                            self.answer_in_session(known, session, body.clone(), &id, place).await
                        }
                        Err(refused) => refused.into_answer(),
                    },
                }
            }
            Message::Notification { method, params } => {
                if is_modern(version.as_deref()) {
                    // Nothing that a modern client says unasked is of use; but it must not contradict itself.
                    let named = headers::repeats(&known.pairs(), headers::METHOD, "the method", &method);
                    return named.map_or_else(
                        |cause| mismatch(None, &cause),
                        |()| respond::empty(StatusCode::ACCEPTED),
                    );
                }
                match self.of_session(known, version.as_deref(), None) {
                    Ok((_, session)) => {
                        session.notified(&method, params);
                        respond::empty(StatusCode::ACCEPTED)
                    }
                    Err(refused) => refused.into_answer(),
                }
            }
            Message::Response { .. } => match self.of_session(known, version.as_deref(), None) {
                Ok((_, session)) => {
                    let body = body.clone();
                    let begun = self.begin(async move {
                        session.behind.answered_by_client(&body, &limits).await;
                        drop(place);
                    });
                    match begun {
                        Begun::Running => respond::empty(StatusCode::ACCEPTED),
                        Begun::Stopping => stopping(),
                    }
                }
                Err(refused) => refused.into_answer(),
            },
        }
    }

    /// Whether the headers of a modern request repeat its body.
    fn agrees(
        &self,
        known: &Known<'_, P, M>,
        method: &str,
        params: Option<&serde_json::value::RawValue>,
        version: ProtocolVersion,
    ) -> Result<(), HeaderError> {
        let pairs = known.pairs();
        headers::repeats(&pairs, headers::PROTOCOL_VERSION, "the protocol version", version.as_str())?;
        headers::repeats(&pairs, headers::METHOD, "the method", method)?;
        if let Some(Ok(task)) = TaskParams::parse(method, params) {
            return headers::repeats(&pairs, headers::NAME, "the task's id", &task.id);
        }
        // What is no use of anything is refused as such where it is read.
        let Some(Ok(used)) = UseParams::parse(method, params) else { return Ok(()) };
        if let Some(name) = used.mirrored() {
            headers::repeats(&pairs, headers::NAME, "the name or URI", name)?;
        }
        let Target::Tool(named) = &used.target else { return Ok(()) };
        let Some(tool) = known.endpoint.tool(&named.name) else { return Ok(()) };
        let arguments = used.arguments();
        let wanted = crate::exchange::repeated_parameters(&known.engine.snapshot(), &tool, &arguments)?;
        headers::parameters_agree(&pairs, &wanted)
    }

    /// The mandate that a request runs, which its token must be bound to, and the name that it was asked for by.
    async fn mandate(&self, known: &Known<'_, P, M>) -> Result<(TemplateId, MandateId), Refused> {
        let forbidden = |why: String| {
            tracing::warn!(token = known.caller.settings.name, endpoint = %known.endpoint.name, why, "a caller was refused");
            Refused::new(StatusCode::FORBIDDEN, why)
        };
        let named = known.header(MANDATE_HEADER);
        let Some(name) = known.caller.mandate(named) else {
            return Err(forbidden(match named {
                Some(_) => format!("the token is not bound to the mandate in `{MANDATE_HEADER}`"),
                None => format!("the token is bound to several mandates: name one in `{MANDATE_HEADER}`"),
            }));
        };
        let now = self.clock.now();
        let resolved = lock(&self.resolved).get(&name).filter(|resolved| now < resolved.until).cloned();
        let resolved = match resolved {
            Some(resolved) => resolved,
            None => {
                let (mandate, until) = known.now.mandates.resolve(&name).await.map_err(forbidden)?;
                let Some(agent) = self.engine.agent_of(&mandate).await else {
                    return Err(forbidden(format!("the mandate {name} is not known")));
                };
                let resolved = Resolved { mandate, agent, until };
                lock(&self.resolved).insert(name.clone(), resolved.clone());
                resolved
            }
        };
        if resolved.agent != known.caller.settings.agent {
            return Err(forbidden(format!("the mandate {name} is not one of the token's agent")));
        }
        Ok((name, resolved.mandate))
    }

    fn open(
        &self,
        known: &Known<'_, P, M>,
        server: &EndpointSettings,
        mandate: MandateId,
        questions: &Arc<AtomicU64>,
    ) -> Result<Connection<P>, Refused> {
        let held = lock(&self.upkeep).clone();
        let shared = Shared { metrics: &self.metrics, spans: &self.spans, questions };
        let engine = self.engine.clone();
        Connection::open(engine, server, mandate, known.caller.shown.clone(), held, shared).map_err(|cause| {
            tracing::error!(server = %server.server, %cause, "the tool server could not be started");
            Refused::new(StatusCode::BAD_GATEWAY, "the tool server could not be started")
        })
    }
}
