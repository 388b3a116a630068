//! One client's dealings with one upstream, whatever carries their messages.
//!
//! An [`Exchange`] knows how far the two have come, what the upstream offers, and what was asked of it. It answers requests one by
//! one ([`Exchange::answer`], in `calls`) and hears what the upstream says unasked. Reading from the client and writing to it is the
//! business of whoever holds the exchange: a stdio session, or the HTTP front.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{sync::Mutex as AsyncMutex, time::Instant};
use warrantor_decide::Snapshot;
use warrantor_engine::{Answer as Decided, DecisionPoint, Presented};
use warrantor_mcp::{
    Era, Fragment, Id, Message, ProgressToken, RpcError,
    capabilities::{Capabilities, asked_by},
    envelope,
    headers::{self, MarkError},
    message::FrameLimits,
    params::ProgressParams,
    rpc,
    tools::List,
    trace::TraceContext,
    uses::{subscription_of, uri_of},
};
use warrantor_model::{Evidence, Json, MandateId, ServerName, Timestamp, ToolRef};

use crate::{
    approvals::Asking,
    definitions::Definitions,
    metrics::{Metrics, verdict},
    owed::Late,
    questions::Questions,
    spans::Spans,
    tasks::Tasks,
    tidings::{Changed, Tidings, Told},
    trace::TraceWriter,
    upstream::{Heard, Parts, Pending, Upstream},
};

/// Most cursors that are remembered; an older one has to be listed anew.
const MAX_CURSORS: usize = 256;

/// Longest number of a progress notification that is passed on, as it is written.
const MAX_PROGRESS_DIGITS: usize = 24;

/// What an exchange needs to know.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The mandate that every call is made under.
    pub mandate: MandateId,
    /// The server as the bundle names it.
    pub server: ServerName,
    /// Layer 1.
    pub evidence: Shown,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// How long the handshake, a list or a ping may take.
    pub request_timeout: Duration,
    /// Bounds on the client's messages.
    pub client_limits: FrameLimits,
    /// Bounds on the upstream's messages.
    pub upstream_limits: FrameLimits,
    /// How persons are asked.
    pub asking: Asking,
    /// Where the session is written down, if anywhere.
    pub trace: Option<Arc<TraceWriter>>,
}

/// What a caller has shown last, and when that ends. Tokens are short-lived and what was begun with one goes on with the next, so this changes while exchanges
/// last. Clones are the same caller's.
#[derive(Debug, Clone)]
pub struct Shown(Arc<RwLock<(Evidence, Option<Timestamp>)>>);

impl Shown {
    /// What it is now.
    #[must_use]
    pub fn now(&self) -> Evidence {
        self.0.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// What was shown, and when it ends.
    pub(crate) fn until(evidence: Evidence, until: Option<Timestamp>) -> Self {
        Self(Arc::new(RwLock::new((evidence, until))))
    }

    /// Something else was shown.
    pub(crate) fn renew(&self, evidence: Evidence, until: Timestamp) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (evidence, Some(until));
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self, now: Timestamp) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).1.is_some_and(|until| now >= until)
    }
}

impl From<Evidence> for Shown {
    fn from(evidence: Evidence) -> Self {
        Self::until(evidence, None)
    }
}

/// How far the two have come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handshake {
    /// Set by a successful `initialize` or `server/discover`.
    pub(crate) era: Option<Era>,
    /// An `initialize` is under way or done: there is only one.
    pub(crate) initializing: bool,
    /// The `_meta` of the last modern request: what our own requests carry.
    pub(crate) modern_meta: Option<String>,
    /// What the client of an older session can be asked, as far as it is granted.
    pub(crate) client: Capabilities,
    /// The same, whatever is granted.
    pub(crate) able: Capabilities,
}

/// What the tasks that serve one client share.
pub(crate) struct Exchange<P: DecisionPoint> {
    pub(crate) engine: P,
    pub(crate) settings: SessionSettings,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) handshake: Mutex<Handshake>,
    pub(crate) definitions: AsyncMutex<Definitions>,
    pub(crate) news: Tidings,
    cursors: Mutex<VecDeque<(List, String)>>,
    /// Resources that the client of an older session is told about.
    pub(crate) subscribed: Mutex<BTreeSet<String>>,
    pub(crate) questions: Mutex<Questions<P>>,
    pub(crate) tasks: Mutex<Tasks<P>>,
    pub(crate) last: Mutex<Option<Late>>,
    /// From which level on the client of an older session wants the log.
    pub(crate) log_level: Mutex<Option<String>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) spans: Spans,
}

/// One request of the client.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a Id<'a>,
    pub(crate) method: &'a str,
    pub(crate) params: Option<&'a RawValue>,
    pub(crate) flight: &'a Flight,
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A result, or the error of an upstream as it wrote it.
    Line(Vec<u8>),
    /// An error of our own, and its code.
    Fault(Vec<u8>, i64),
    /// Nothing: the client took the request back.
    Nothing,
}

impl Reply {
    /// An error of our own.
    pub(crate) fn fault(id: &Id<'_>, error: &RpcError) -> Self {
        Self::Fault(envelope::error(Some(id), error), error.code)
    }

    /// An error of our own, without data.
    pub(crate) fn error(id: &Id<'_>, code: i64, message: impl Into<String>) -> Self {
        Self::fault(id, &RpcError::new(code, message))
    }

    /// The line to be sent, if any.
    pub(crate) fn into_line(self) -> Option<Vec<u8>> {
        match self {
            Self::Line(line) | Self::Fault(line, _) => Some(line),
            Self::Nothing => None,
        }
    }
}

/// Where notifications about a request go while it is unanswered. Never waits: a client that does not read misses some.
pub(crate) type Outlet = Arc<dyn Fn(Vec<u8>) + Send + Sync>;

/// A request of the client while it is unanswered. Cheap to clone; clones are the same flight.
#[derive(Clone)]
pub(crate) struct Flight {
    stage: Arc<Mutex<Stage>>,
    outlet: Outlet,
    trace: Option<Arc<TraceContext<'static>>>,
}

/// How far a request of the client has come.
enum Stage {
    /// The requests that were sent for it, each with whom it was sent to and under which id of ours.
    Sent(Vec<(Arc<Upstream>, u64)>),
    /// The client took it back.
    TakenBack,
}

impl Flight {
    /// A request that has just come.
    pub(crate) fn new(outlet: Outlet) -> Self {
        Self { stage: Arc::new(Mutex::new(Stage::Sent(Vec::new()))), outlet, trace: None }
    }

    /// A request that says beside itself which trace it belongs to.
    pub(crate) fn within(self, trace: Option<TraceContext<'static>>) -> Self {
        Self { trace: trace.map(Arc::new), ..self }
    }

    /// The same request, of which the client is told this way.
    pub(crate) fn told_through(&self, outlet: Outlet) -> Self {
        Self { stage: Arc::clone(&self.stage), outlet, trace: self.trace.clone() }
    }

    /// Announces the upstream's request for this one of the client's, unless the client has taken it back.
    pub(crate) fn take_off(
        &self,
        upstream: &Arc<Upstream>,
        progress: Option<ProgressToken<'static>>,
        parts: Parts,
    ) -> Option<Pending> {
        let mut stage = lock(&self.stage);
        let Stage::Sent(sent) = &mut *stage else { return None };
        let pending = upstream.announce(progress.map(|token| (token, Arc::clone(&self.outlet))), Some(parts));
        sent.push((Arc::clone(upstream), pending.id));
        Some(pending)
    }

    /// The trace that it belongs to, when that was said beside the request.
    pub(crate) fn trace(&self) -> Option<&TraceContext<'static>> {
        self.trace.as_deref()
    }

    /// Tells the client something about the request.
    pub(crate) fn tell(&self, line: Vec<u8>) {
        (self.outlet)(line);
    }

    /// Whether the client has taken the request back.
    pub(crate) fn is_taken_back(&self) -> bool {
        matches!(*lock(&self.stage), Stage::TakenBack)
    }

    /// The client takes the request back.
    pub(crate) fn take_back(&self) {
        let before = std::mem::replace(&mut *lock(&self.stage), Stage::TakenBack);
        if let Stage::Sent(sent) = before {
            sent.iter().for_each(|(upstream, ours)| upstream.cancel(*ours));
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: DecisionPoint> Exchange<P> {
    pub(crate) fn new(engine: P, settings: SessionSettings, upstream: Upstream) -> Self {
        let news = Tidings::default();
        Self {
            engine,
            settings,
            upstream: Arc::new(upstream),
            handshake: Mutex::default(),
            definitions: AsyncMutex::new(Definitions::new(news.clone())),
            news,
            cursors: Mutex::default(),
            subscribed: Mutex::default(),
            questions: Mutex::default(),
            tasks: Mutex::default(),
            last: Mutex::default(),
            log_level: Mutex::default(),
            metrics: Arc::default(),
            spans: Spans::default(),
        }
    }

    /// Counts what happens here, and tells of it in spans.
    pub(crate) fn watched(self, metrics: &Arc<Metrics>, spans: &Spans) -> Self {
        Self { metrics: Arc::clone(metrics), spans: spans.clone(), ..self }
    }

    /// Numbers its questions together with others that ask the same client.
    pub(crate) fn asking_with(self, questions: &Arc<AtomicU64>) -> Self {
        Self { questions: Mutex::new(Questions::counted_by(questions)), ..self }
    }

    /// Has a use decided, and counts how.
    pub(crate) async fn authorize(&self, presented: &Presented) -> Decided {
        let begun = Instant::now();
        let span = self.spans.step("decide");
        let decided = self.engine.authorize(presented).await;
        self.metrics.decided(&self.settings.server, presented.offer, &decided, begun.elapsed());
        if self.spans.are_wanted() {
            let (verdict, reason) = verdict(&decided);
            let decision = match &decided {
                Decided::Permitted(permit) => permit.decision(),
                Decided::Asked(decision, _) => decision,
                Decided::Refused(refused) => &refused.decision,
            };
            span.note("warrantor.decision", decision.to_string());
            span.note("warrantor.verdict", verdict);
            if !reason.is_empty() {
                span.note("warrantor.reason", reason);
            }
        }
        decided
    }

    pub(crate) fn handshake(&self) -> MutexGuard<'_, Handshake> {
        lock(&self.handshake)
    }

    /// Takes a message of the upstream. Waits for nobody. Where a request has a stream of its own it is `about`: nothing else is answered there.
    pub(crate) fn hear(&self, about: Option<u64>, line: Vec<u8>) {
        let answered = match Message::parse(&line, &self.settings.upstream_limits) {
            Ok(Message::Response { id: None, .. }) => about,
            Ok(Message::Response { id: Some(id), .. }) => {
                id.as_u64().filter(|id| about.is_none_or(|about| about == *id))
            }
            Ok(Message::Notification { method, params }) => {
                if self.upstream_notified(&method, params) == Notified::IsPart {
                    let about = about.or_else(|| subscription_of(params));
                    let is_late = about.is_none() && method == "notifications/message";
                    let heard = self.upstream.part(about, line.clone());
                    // Only a session of the older era has a stream for what is said unasked.
                    if heard == Heard::ByNobody && is_late && self.handshake().era == Some(Era::Legacy) {
                        self.news.message(line);
                    }
                }
                return;
            }
            Ok(Message::Request { id, method, .. }) => {
                if let Some(line) = self.upstream_asked(&id, &method) {
                    self.upstream.post_answer(line);
                } else if self.upstream.part(about, line.clone()) != Heard::ByOne {
                    let why = "nothing that this could be about is under way";
                    let error = RpcError::new(rpc::INVALID_REQUEST, why);
                    self.upstream.post_answer(envelope::error(Some(&id), &error));
                }
                return;
            }
            // A broken answer still ends the wait of whoever asked; it is judged there.
            Err(cause) => {
                tracing::warn!(%cause, "the tool server sent what is no message");
                about.or_else(|| cause.id().and_then(Id::as_u64))
            }
        };
        if let Some(id) = answered
            && !self.upstream.answered(id, line)
        {
            tracing::warn!(id, "the tool server answered a request that is not open");
        }
    }

    fn upstream_notified(&self, method: &str, params: Option<&RawValue>) -> Notified {
        match method {
            "notifications/progress" => {
                let Ok(progress) = ProgressParams::parse(params) else { return Notified::Done };
                // A number that says how far it is needs no more digits; others could say anything.
                let longest = [Some(progress.progress), progress.total].into_iter().flatten();
                if longest.map(|number| number.get().len()).max().unwrap_or_default() > MAX_PROGRESS_DIGITS {
                    return Notified::Done;
                }
                if let Some((token, outlet)) =
                    progress.token.as_u64().and_then(|id| self.upstream.progress_of(id))
                {
                    outlet(envelope::progress(&progress, &token));
                }
            }
            "notifications/message" if !self.logs() => {}
            "notifications/message" | "notifications/subscriptions/acknowledged" => return Notified::IsPart,
            "notifications/resources/updated" => {
                let subscribed = subscription_of(params).is_some();
                if let Some(uri) = uri_of(params).filter(|uri| !subscribed && self.is_subscribed(uri)) {
                    self.news.updated(uri);
                }
                return if subscribed { Notified::IsPart } else { Notified::Done };
            }
            other => match Changed::said_by(other) {
                Some(changed) if changed.lists().iter().any(|list| self.has(*list)) => {
                    self.news.changed(changed);
                    return if subscription_of(params).is_some() { Notified::IsPart } else { Notified::Done };
                }
                _ => {
                    tracing::debug!(method = other, "a notification of the tool server was not passed on");
                }
            },
        }
        Notified::Done
    }

    /// The client's roots changed: the upstream is told if it may ask for them.
    pub(crate) fn roots_changed(&self) {
        if self.handshake().client.has("roots") {
            self.upstream.post(envelope::notification("notifications/roots/list_changed", None));
        }
    }

    pub(crate) fn is_subscribed(&self, uri: &str) -> bool {
        lock(&self.subscribed).contains(uri)
    }

    /// The answer to a request of the upstream; none for one that asks the client for something, which is a matter of the call it belongs to.
    fn upstream_asked(&self, id: &Id<'_>, method: &str) -> Option<Vec<u8>> {
        match method {
            "ping" => Some(envelope::result(id, &Fragment::empty_object())),
            method if asked_by(method).is_some_and(|asked| self.handshake().client.has(asked)) => None,
            _ => {
                let error = RpcError::new(rpc::METHOD_NOT_FOUND, "not available here");
                Some(envelope::error(Some(id), &error))
            }
        }
    }

    /// What the client of an older session is told of what the upstream says unasked. A subscription is decided on each time.
    pub(crate) async fn told(&self, told: &Told) -> Option<Vec<u8>> {
        self.stands().await.ok()?;
        match told {
            Told::Changed(changed) => Some(envelope::notification(changed.method(), None)),
            Told::Message(_, line) => self.late_message(line).await,
            Told::Updated(uri) => {
                let reading = self.reading("resources/subscribe", uri)?;
                match self.engine.would(&reading).await {
                    Ok(()) => Some(envelope::updated(uri, None)),
                    Err(_) => {
                        lock(&self.subscribed).remove(uri);
                        None
                    }
                }
            }
        }
    }

    /// Remembers a cursor that the upstream gave out.
    pub(crate) fn remember_cursor(&self, list: List, cursor: &str) {
        let mut cursors = lock(&self.cursors);
        if cursors.len() >= MAX_CURSORS {
            cursors.pop_front();
        }
        cursors.push_back((list, cursor.to_owned()));
    }

    /// Whether the upstream gave this cursor out for this list.
    pub(crate) fn gave_out(&self, list: List, cursor: &str) -> bool {
        lock(&self.cursors).iter().any(|(known, given)| *known == list && given == cursor)
    }
}

/// What was done about a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notified {
    /// All that is to be done.
    Done,
    /// Nothing: it is for whoever waits for an answer.
    IsPart,
}

/// The parameters that a tool's pinned definition wants repeated in headers: header and text. A tool that is not pinned has none, and is denied
/// where calls are decided.
///
/// # Errors
/// [`MarkError`] when its marks are not valid: then it cannot be told what the headers have to say.
pub(crate) fn repeated_parameters(
    snapshot: &Snapshot,
    tool: &ToolRef,
    arguments: &[u8],
) -> Result<Vec<(String, String)>, MarkError> {
    let Some(tool) = snapshot.tool(tool) else { return Ok(Vec::new()) };
    let marked = headers::marked(&tool.input_schema)?;
    // Arguments that do not read are denied where they are decided; without marks they need not be read here.
    let arguments = if marked.is_empty() { None } else { Json::parse(arguments).ok() };
    Ok(arguments.map(|arguments| headers::repeated(&marked, &arguments)).unwrap_or_default())
}
