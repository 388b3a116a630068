//! The exchanges of a request: alone in the newer era, within a session in the older one.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{StatusCode, header::HeaderValue};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{Era, Id, Message, ProtocolVersion, RpcError, headers, message::FrameLimits, rpc};
use warrantor_model::{MandateId, ReasonCode};

use super::{BEFORE_STREAMING, Front, Known, MANDATE_HEADER, Mandates, Whose};
use crate::{
    exchange::{Asked, Flight, Outlet, Reply, lock},
    http::{
        behind::Behind,
        checks::{accepts, is_modern, modern_status},
        connection::{Connection, EndpointSettings},
        respond::{self, Answer, Refused},
        sessions::Session,
        stream::{Beginning, EventBody, EventStream, From},
    },
};

impl<P: DecisionPoint, M: Mandates> Front<P, M> {
    /// Answers a modern request: nothing but the request itself says what it belongs to.
    pub(super) async fn answer_modern(
        self: &Arc<Self>,
        known: &Known<'_, P, M>,
        body: &Bytes,
        (method, params): (&str, Option<&RawValue>),
        place: OwnedSemaphorePermit,
    ) -> Answer {
        let behind = match self.modern_connections(known, method, params).await {
            Ok(behind) => behind,
            Err(refused) => return refused.into_answer(),
        };
        let stream = Arc::new(EventStream::default());
        let told = Arc::clone(&stream);
        let outlet: Outlet = Arc::new(move |message| told.tell(message));
        let flight = Flight::new(outlet).within(known.trace());
        let ending = Arc::clone(&stream);
        let limits = known.endpoint.client_limits;
        let (body, asked) = (body.clone(), flight.clone());
        let (status, mut told) = tokio::sync::oneshot::channel();
        let begun = self.begin(async move {
            let reply = reply(&behind, &body, &limits, &asked).await;
            let _ = status.send(match &reply {
                Reply::Fault(_, code) => modern_status(*code),
                Reply::Line(_) | Reply::Nothing => StatusCode::OK,
            });
            ending.end(reply.into_line());
            drop(place);
        });
        if begun == Begun::Stopping {
            return stopping();
        }
        let leave = move || flight.take_back();
        // Dropped when the client goes before the response has begun.
        let going = OnDrop::new(leave.clone());
        let beginning = stream.beginning(BEFORE_STREAMING).await;
        going.disarm();
        match beginning {
            Beginning::Answer(message) => respond::json(told.try_recv().unwrap_or(StatusCode::OK), message),
            Beginning::Nothing => {
                tracing::debug!(method, "a request was taken back");
                respond::empty(StatusCode::ACCEPTED)
            }
            Beginning::Stream => {
                respond::events(EventBody::new(stream, None, From::Unread).opening().on_leave(leave))
            }
        }
    }

    /// The connections that a modern request needs, each shared with whatever else the caller does there under the mandate.
    async fn modern_connections(
        &self,
        known: &Known<'_, P, M>,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Behind<P>, Refused> {
        let (_, mandate) = self.mandate(known).await?;
        let mut asked = Vec::new();
        let mut refused = None;
        for server in known.endpoint.asked(method, params) {
            // What is quarantined is not started for a request of which nothing would come. Where something runs, the call is refused and recorded.
            let runs = lock(&self.modern).contains_key(&Whose::of(known.caller, &mandate, &server.server));
            let standing = match runs {
                true => Ok(()),
                false => self.engine.stands(&mandate, &known.presence(&server.server)).await,
            };
            match standing {
                Err(why) if why.code == ReasonCode::ToolNotAvailable => refused = Some(why),
                Ok(()) | Err(_) => asked.push(server),
            }
        }
        if let (Some(why), true) = (refused, asked.is_empty()) {
            return Err(Refused::new(StatusCode::FORBIDDEN, why.code.sentence()));
        }
        self.connect(known, asked.into_iter(), |server| self.modern_connection(known, server, &mandate))
    }

    /// Connections to these servers. A set goes without a server that cannot be reached, unless it is the only one that is asked.
    fn connect<'e>(
        &self,
        known: &Known<'_, P, M>,
        servers: impl Iterator<Item = &'e EndpointSettings>,
        open: impl Fn(&EndpointSettings) -> Result<Arc<Connection<P>>, Refused>,
    ) -> Result<Behind<P>, Refused> {
        let mut connections = Vec::new();
        let mut failed = None;
        for server in servers {
            match open(server) {
                Ok(connection) => connections.push(connection),
                Err(cause) => failed = Some(cause),
            }
        }
        match failed {
            Some(cause) if connections.is_empty() => Err(cause),
            _ => Ok(Behind::new(known.endpoint, connections)),
        }
    }

    fn modern_connection(
        &self,
        known: &Known<'_, P, M>,
        server: &EndpointSettings,
        mandate: &MandateId,
    ) -> Result<Arc<Connection<P>>, Refused> {
        let whose = Whose::of(known.caller, mandate, &server.server);
        let mut modern = lock(&self.modern);
        let of_today =
            |connection: &Connection<P>| !connection.is_lost() && connection.configured == server.configured;
        if let Some((_, connection)) = modern.get(&whose).filter(|(_, connection)| of_today(connection)) {
            connection.touch();
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.open(known, server, mandate.clone(), &Arc::default())?);
        if let Some((_, before)) =
            modern.insert(whose.clone(), (Arc::clone(known.caller), Arc::clone(&connection)))
            && before.configured != server.configured
        {
            before.close();
        }
        // Whoever configures anew looks at what is open after that counts: what was opened on the old is seen by one of the two.
        if !self.now().keeps(&server.server, server.configured, known.caller) {
            modern.remove(&whose);
            return Err(configured_anew());
        }
        Ok(connection)
    }

    /// Begins a session.
    pub(super) async fn initialize(
        self: &Arc<Self>,
        known: &Known<'_, P, M>,
        body: &Bytes,
        id: &Id<'_>,
    ) -> Answer {
        if lock(&self.under_way).is_none() {
            return stopping();
        }
        // A place first: what it stands for is a connection to the server, and maybe a process.
        let Ok(room) = Arc::clone(&self.session_room).try_acquire_owned() else {
            let error = RpcError::new(rpc::INTERNAL_ERROR, "the gateway has no room for another session");
            return respond::fault(StatusCode::SERVICE_UNAVAILABLE, Some(id), &error);
        };
        let (named, mandate) = match self.mandate(known).await {
            Ok(found) => found,
            Err(refused) => return refused.into_answer(),
        };
        // A program would be started for it, and nothing would pass.
        let mut standing = Vec::new();
        let mut refused = None;
        for server in &known.endpoint.servers {
            match self.engine.stands(&mandate, &known.presence(&server.server)).await {
                Ok(()) => standing.push(server),
                Err(why) => refused = Some(why),
            }
        }
        if let (Some(why), true) = (refused, standing.is_empty()) {
            return respond::refused(StatusCode::FORBIDDEN, why.code.sentence());
        }
        let questions = Arc::default();
        let opened = self.connect(known, standing.into_iter(), |server| {
            self.open(known, server, mandate.clone(), &questions).map(Arc::new)
        });
        let behind = match opened {
            Ok(behind) => behind,
            Err(refused) => return refused.into_answer(),
        };
        let flight = Flight::new(Arc::new(|_| {})).within(known.trace());
        let reply = reply(&behind, body, &known.endpoint.client_limits, &flight).await;
        if !behind.has_begun() {
            let line = reply.into_line().unwrap_or_default();
            return respond::json(StatusCode::OK, line);
        }
        let Some(name) = self.engine.unguessable() else {
            let error = RpcError::new(rpc::INTERNAL_ERROR, "no random bytes for the session's id");
            return respond::fault(StatusCode::INTERNAL_SERVER_ERROR, Some(id), &error);
        };
        let configured = known.endpoint.configured;
        let session = Session::new(Arc::clone(known.caller), (named, mandate), behind, configured, room);
        lock(&self.sessions).insert(name.clone(), (known.endpoint.name.clone(), session));
        if !self.now().keeps(&known.endpoint.name, configured, known.caller) {
            self.end_session(&name);
            return configured_anew().into_answer();
        }
        let answer = respond::json(StatusCode::OK, reply.into_line().unwrap_or_default());
        match HeaderValue::from_str(&name) {
            Ok(name) => respond::with(answer, headers::SESSION, name),
            Err(_) => answer,
        }
    }

    /// The session that a request belongs to. One of another caller, another server or another mandate is as good as none.
    pub(super) fn of_session(
        &self,
        known: &Known<'_, P, M>,
        version: Option<&str>,
        id: Option<&Id<'_>>,
    ) -> Result<(String, Arc<Session<P>>), Refused> {
        let refused =
            |status, code, why: &str| Refused::from(respond::fault(status, id, &RpcError::new(code, why)));
        match version.map(str::parse::<ProtocolVersion>) {
            None => {}
            Some(Ok(version)) if version.era() == Era::Legacy => {}
            Some(Ok(_)) => {
                let why = "the request lacks the `_meta` that its protocol version demands";
                return Err(refused(StatusCode::BAD_REQUEST, rpc::INVALID_PARAMS, why));
            }
            Some(Err(cause)) => {
                return Err(refused(StatusCode::BAD_REQUEST, rpc::INVALID_REQUEST, &cause.to_string()));
            }
        }
        let Some(name) = known.header(headers::SESSION) else {
            let why = "the header Mcp-Session-Id is missing: begin with `initialize`";
            return Err(refused(StatusCode::BAD_REQUEST, rpc::INVALID_REQUEST, why));
        };
        let session = lock(&self.sessions).get(name).cloned();
        let mandate = known.header(MANDATE_HEADER);
        let session = session.filter(|(server, session)| {
            *server == known.endpoint.name
                && session.configured == known.endpoint.configured
                && session.caller.settings == known.caller.settings
                && (mandate.is_none() || known.caller.mandate(mandate).as_ref() == Some(&session.named))
        });
        match session {
            Some((_, session)) if session.behind.is_lost() => {
                self.end_session(name);
                Err(refused(StatusCode::NOT_FOUND, rpc::INVALID_REQUEST, "the session has ended: begin anew"))
            }
            Some((_, session)) => {
                session.touch();
                Ok((name.to_owned(), session))
            }
            None => Err(refused(
                StatusCode::NOT_FOUND,
                rpc::INVALID_REQUEST,
                "there is no such session: begin anew",
            )),
        }
    }

    pub(super) async fn answer_in_session(
        self: &Arc<Self>,
        known: &Known<'_, P, M>,
        session: Arc<Session<P>>,
        body: Bytes,
        id: &Id<'_>,
        place: OwnedSemaphorePermit,
    ) -> Answer {
        let (key, limits) = (id.key().clone(), known.endpoint.client_limits);
        let begun = match session.begin(&key, known.trace()) {
            Ok(begun) => begun,
            Err(why) => {
                return respond::fault(StatusCode::OK, Some(id), &RpcError::new(rpc::INVALID_REQUEST, why));
            }
        };
        let answered = Arc::clone(&session);
        let (stream, flight) = (Arc::clone(&begun.stream), begun.flight);
        let started = self.begin(async move {
            let reply = reply(&session.behind, &body, &limits, &flight).await;
            session.done(&key);
            stream.end(reply.into_line());
            drop(place);
        });
        if started == Begun::Stopping {
            return stopping();
        }
        match begun.stream.beginning(BEFORE_STREAMING).await {
            Beginning::Answer(message) => {
                // Without ids of events it cannot be resumed.
                answered.forget(begun.name);
                respond::json(StatusCode::OK, message)
            }
            Beginning::Nothing => respond::empty(StatusCode::ACCEPTED),
            Beginning::Stream => {
                respond::events(EventBody::new(begun.stream, Some(begun.name), From::Unread).opening())
            }
        }
    }

    /// A stream of what is said unasked, or of what a client missed.
    pub(super) fn listen(&self, known: &Known<'_, P, M>, place: OwnedSemaphorePermit) -> Answer {
        if !accepts(known.headers, "text/event-stream") {
            return respond::refused(StatusCode::NOT_ACCEPTABLE, "`Accept` must list text/event-stream");
        }
        let version = known.header(headers::PROTOCOL_VERSION);
        if is_modern(version) {
            let refused = respond::refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "this protocol version has no streams but those of requests",
            );
            return respond::with(refused, "allow", HeaderValue::from_static("POST"));
        }
        match self.of_session(known, version, None) {
            Ok((_, session)) => match session.read(known.header(headers::LAST_EVENT)) {
                Some(body) => respond::events(body.holding(place)),
                None => respond::refused(StatusCode::NOT_FOUND, "there is no such event to resume at"),
            },
            Err(refused) => refused.into_answer(),
        }
    }

    /// Ends a session.
    pub(super) fn end(&self, known: &Known<'_, P, M>) -> Answer {
        let version = known.header(headers::PROTOCOL_VERSION);
        if is_modern(version) {
            let refused =
                respond::refused(StatusCode::METHOD_NOT_ALLOWED, "this protocol version has no sessions");
            return respond::with(refused, "allow", HeaderValue::from_static("POST"));
        }
        match self.of_session(known, version, None) {
            Ok((name, _)) => {
                self.end_session(&name);
                respond::empty(StatusCode::NO_CONTENT)
            }
            Err(refused) => refused.into_answer(),
        }
    }

    pub(super) fn end_session(&self, name: &str) {
        let session = lock(&self.sessions).remove(name);
        if let Some((_, session)) = session {
            session.end();
        }
    }

    /// Runs something that outlives its client.
    pub(super) fn begin(&self, task: impl Future<Output = ()> + Send + 'static) -> Begun {
        let Some(held) = lock(&self.under_way).clone() else { return Begun::Stopping };
        tokio::spawn(async move {
            task.await;
            drop(held);
        });
        Begun::Running
    }
}

fn configured_anew() -> Refused {
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway was configured anew meanwhile: try again")
}

/// Whether something was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    Running,
    /// While we stop nothing new begins.
    Stopping,
}

pub(super) fn stopping() -> Answer {
    respond::refused(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping")
}

/// Answers a message that has been parsed before; what borrows from it lives here.
async fn reply<P: DecisionPoint>(
    behind: &Behind<P>,
    body: &[u8],
    limits: &FrameLimits,
    flight: &Flight,
) -> Reply {
    match Message::parse(body, limits) {
        Ok(Message::Request { id, method, params }) => {
            behind.answer(&Asked { id: &id, method: &method, params, flight }).await
        }
        _ => Reply::Nothing,
    }
}

/// Does something when it is dropped, unless it was disarmed.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    fn new(act: F) -> Self {
        Self(Some(act))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}
