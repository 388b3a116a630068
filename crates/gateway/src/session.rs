//! One client, one upstream, one mandate.
//!
//! The client's lines are read in order; each request is answered by a task of its own, so that a call that waits for its record or its
//! tool holds nobody up. The upstream's lines are read by a task that waits for nobody: a client that does not read, or an upstream that does not, stops
//! itself only. Nothing of the client's reaches the upstream but what is rebuilt here, and nothing of the upstream's reaches the client
//! but answers to its requests, their progress, and the news that the list of tools changed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Mutex as AsyncMutex, mpsc},
    task::JoinSet,
};
use warrantor_engine::Engine;
use warrantor_mcp::{
    Era, Id, IdKey, Message, RpcError, envelope,
    message::FrameLimits,
    params::{CancelledParams, ProgressParams},
    rpc,
};
use warrantor_model::{Evidence, MandateId, ServerName};
use warrantor_store::Store;

use crate::{
    definitions::{Definitions, News},
    lines::{self, Incoming},
    trace::TraceWriter,
    upstream::Upstream,
};

/// Most requests of a client that may be unanswered; one more is refused.
const MAX_IN_FLIGHT: usize = 256;
/// Most cursors that are remembered; an older one has to be listed anew.
const MAX_CURSORS: usize = 256;
/// How long the upstream may take to end after its input was closed.
const GRACE: Duration = Duration::from_secs(2);
/// How long a decision under way may take at the end: longer than the engine waits for anything.
const LAST: Duration = Duration::from_secs(20);

/// What a session needs to know.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The mandate that every call is made under.
    pub mandate: MandateId,
    /// The server as the bundle names it.
    pub server: ServerName,
    /// Layer 1.
    pub evidence: Evidence,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// How long the handshake, a list or a ping may take.
    pub request_timeout: Duration,
    /// Bounds on the client's messages.
    pub client_limits: FrameLimits,
    /// Bounds on the upstream's messages.
    pub upstream_limits: FrameLimits,
    /// Where the session is written down, if anywhere.
    pub trace: Option<Arc<TraceWriter>>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed its stream.
    ByClient,
    /// The upstream ended while the client was still there.
    ByUpstream,
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
}

/// State that the tasks of a session share.
pub(crate) struct Shared<S> {
    pub(crate) engine: Engine<S>,
    pub(crate) settings: SessionSettings,
    pub(crate) upstream: Upstream,
    pub(crate) client: mpsc::Sender<Vec<u8>>,
    pub(crate) handshake: Mutex<Handshake>,
    pub(crate) definitions: AsyncMutex<Definitions>,
    pub(crate) news: News,
    /// The client's unanswered requests.
    pub(crate) in_flight: Mutex<HashMap<IdKey, Flight>>,
    pub(crate) cursors: Mutex<VecDeque<String>>,
    /// News of a changed list waits for the client to read.
    news_waits: AtomicBool,
}

/// How far a request of the client has come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flight {
    /// Nothing was sent for it.
    Deciding,
    /// It was sent under this id of ours.
    Sent(u64),
    /// The client took it back before anything was sent.
    TakenBack,
}

/// Waits for tasks, so long.
async fn finish(tasks: &mut JoinSet<()>, patience: Duration) {
    let _ = tokio::time::timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session that has not begun.
pub struct Session<S> {
    engine: Engine<S>,
    settings: SessionSettings,
}

impl<S: Store> Session<S> {
    /// A session under these settings.
    #[must_use]
    pub fn new(engine: Engine<S>, settings: SessionSettings) -> Self {
        Self { engine, settings }
    }

    /// Serves the client until it closes its stream or the upstream ends. Every effect has its outcome recorded or kept when this returns. Whoever
    /// drops it instead leaves calls under way with the outcome unknown: to end early, end the client's stream.
    pub async fn serve(
        self,
        client_in: impl AsyncRead + Unpin + Send + 'static,
        client_out: impl AsyncWrite + Unpin + Send + 'static,
        upstream_in: impl AsyncWrite + Unpin + Send + 'static,
        upstream_out: impl AsyncRead + Unpin + Send + 'static,
    ) -> Ended {
        let mut from_client = lines::read(client_in, self.settings.client_limits.bytes());
        let from_upstream = lines::read(upstream_out, self.settings.upstream_limits.bytes());
        let (client, mut writing) = lines::write(client_out);
        let news = News::default();
        let shared = Arc::new(Shared {
            engine: self.engine,
            settings: self.settings,
            upstream: Upstream::new(upstream_in),
            client,
            handshake: Mutex::default(),
            definitions: AsyncMutex::new(Definitions::new(news.clone())),
            news,
            in_flight: Mutex::default(),
            cursors: Mutex::default(),
            news_waits: AtomicBool::new(false),
        });
        // In a set, so that it ends with us.
        let mut hearing = JoinSet::new();
        hearing.spawn(Arc::clone(&shared).hear_upstream(from_upstream));
        let mut tasks = JoinSet::new();
        let ended = tokio::select! {
            biased;
            _ = hearing.join_next() => Ended::ByUpstream,
            () = shared.hear_client(&mut from_client, &mut tasks) => Ended::ByClient,
        };
        shared.wind_down(&mut hearing, &mut tasks, &writing).await;
        shared.engine.settle().await;
        drop((shared, hearing, tasks));
        if tokio::time::timeout(GRACE, &mut writing).await.is_err() {
            writing.abort();
        }
        ended
    }
}

impl<S: Store> Shared<S> {
    pub(crate) fn handshake(&self) -> MutexGuard<'_, Handshake> {
        lock(&self.handshake)
    }

    /// Sends a line to the client; a client that is gone needs none.
    pub(crate) async fn reply(&self, line: Vec<u8>) {
        let _ = self.client.send(line).await;
    }

    pub(crate) async fn reply_error(&self, id: &Id<'_>, code: i64, message: impl Into<String>) {
        self.reply(envelope::error(Some(id), &RpcError::new(code, message))).await;
    }

    async fn too_long(&self) {
        let bound = self.settings.client_limits.bytes();
        let error = RpcError::new(
            rpc::INVALID_REQUEST,
            format!("the message has more than the {bound} bytes that are allowed"),
        );
        self.reply(envelope::error(None, &error)).await;
    }

    /// Hears the client until its stream ends. May wait for a client that does not read; nothing but the client's next line waits with it.
    async fn hear_client(
        self: &Arc<Self>,
        from_client: &mut mpsc::Receiver<Incoming>,
        tasks: &mut JoinSet<()>,
    ) {
        loop {
            match from_client.recv().await {
                Some(Incoming::Line(line)) => self.from_client(line, tasks).await,
                Some(Incoming::TooLong) => self.too_long().await,
                Some(Incoming::End) | None => return,
            }
            while tasks.try_join_next().is_some() {}
        }
    }

    /// Hears the upstream until its stream ends. Waits for nobody: answers are taken and outcomes recorded however slow the client is.
    async fn hear_upstream(self: Arc<Self>, mut from_upstream: mpsc::Receiver<Incoming>) {
        loop {
            match from_upstream.recv().await {
                Some(Incoming::Line(line)) => self.from_upstream(line),
                Some(Incoming::TooLong) => {
                    tracing::warn!("the tool server sent a line beyond the bound; it was dropped");
                }
                Some(Incoming::End) | None => break,
            }
        }
        self.upstream.ended();
    }

    /// The client is gone or the upstream is: calls under way get what time there is, then everybody is told.
    async fn wind_down(
        &self,
        hearing: &mut JoinSet<()>,
        tasks: &mut JoinSet<()>,
        writing: &tokio::task::JoinHandle<()>,
    ) {
        if !hearing.is_empty() {
            tokio::select! {
                () = finish(tasks, GRACE) => {}
                _ = hearing.join_next() => {}
            }
        }
        self.upstream.ended();
        self.upstream.close();
        finish(tasks, GRACE).await;
        if !tasks.is_empty() {
            // Whoever waits for the client to read waits no longer; whoever waits for a record gets the time that one may take.
            writing.abort();
            finish(tasks, LAST).await;
        }
        tasks.shutdown().await;
        hearing.shutdown().await;
    }

    async fn from_client(self: &Arc<Self>, line: Vec<u8>, tasks: &mut JoinSet<()>) {
        let (id, key) = match Message::parse(&line, &self.settings.client_limits) {
            Ok(Message::Request { id, .. }) => (id.clone().into_owned(), id.key().clone()),
            Ok(Message::Notification { method, params }) => {
                self.notified(&method, params);
                return;
            }
            // Nothing is ever asked of the client, so this answers nothing.
            Ok(Message::Response { .. }) => return,
            Err(cause) => {
                self.reply(cause.to_response()).await;
                return;
            }
        };
        let refused = {
            let mut in_flight = lock(&self.in_flight);
            if in_flight.contains_key(&key) {
                Some("a request with this id is still unanswered")
            } else if in_flight.len() >= MAX_IN_FLIGHT {
                Some("too many requests are unanswered")
            } else {
                in_flight.insert(key.clone(), Flight::Deciding);
                None
            }
        };
        if let Some(why) = refused {
            self.reply_error(&id, rpc::INVALID_REQUEST, why).await;
            return;
        }
        let shared = Arc::clone(self);
        tasks.spawn(async move {
            shared.request(&line).await;
            lock(&shared.in_flight).remove(&key);
        });
    }

    async fn request(&self, line: &[u8]) {
        // It parsed before; what borrows from the line lives in this task.
        let Ok(Message::Request { id, method, params }) = Message::parse(line, &self.settings.client_limits)
        else {
            return;
        };
        self.dispatch(&id, &method, params).await;
    }

    fn notified(&self, method: &str, params: Option<&serde_json::value::RawValue>) {
        match method {
            "notifications/initialized" if self.handshake().era == Some(Era::Legacy) => {
                self.upstream.post(envelope::notification("notifications/initialized", None));
            }
            "notifications/cancelled" => {
                let Ok(cancelled) = CancelledParams::parse(params) else { return };
                let sent = match lock(&self.in_flight).get_mut(cancelled.request_id.key()) {
                    Some(Flight::Sent(ours)) => *ours,
                    Some(flight) => return *flight = Flight::TakenBack,
                    None => return,
                };
                self.upstream.cancel(sent);
            }
            other => tracing::debug!(method = other, "a notification of the client was not passed on"),
        }
    }

    fn from_upstream(self: &Arc<Self>, line: Vec<u8>) {
        let answered = match Message::parse(&line, &self.settings.upstream_limits) {
            Ok(Message::Response { id, .. }) => id.as_ref().and_then(Id::as_u64),
            Ok(Message::Notification { method, params }) => {
                return self.upstream_notified(&method, params);
            }
            Ok(Message::Request { id, method, .. }) => return self.upstream_asked(&id, &method),
            // A broken answer still ends the wait of whoever asked; it is judged there.
            Err(cause) => {
                tracing::warn!(%cause, "the tool server sent what is no message");
                cause.id().and_then(Id::as_u64)
            }
        };
        if let Some(id) = answered
            && !self.upstream.answered(id, line)
        {
            tracing::warn!(id, "the tool server answered a request that is not open");
        }
    }

    fn upstream_notified(self: &Arc<Self>, method: &str, params: Option<&serde_json::value::RawValue>) {
        match method {
            "notifications/progress" => {
                let Ok(progress) = ProgressParams::parse(params) else { return };
                let token = progress.token.as_u64().and_then(|id| self.upstream.progress_token(id));
                if let Some(token) = token {
                    // A client that does not read misses some of it.
                    let _ = self.client.try_send(envelope::progress(&progress, &token));
                }
            }
            "notifications/tools/list_changed" => {
                self.news.arrived();
                if self.handshake().era == Some(Era::Legacy) {
                    self.pass_on_news(envelope::notification(method, None));
                }
            }
            other => tracing::debug!(method = other, "a notification of the tool server was not passed on"),
        }
    }

    /// News that the list changed must come to the client, once; how often it changed meanwhile does not matter.
    fn pass_on_news(self: &Arc<Self>, line: Vec<u8>) {
        if let Err(mpsc::error::TrySendError::Full(line)) = self.client.try_send(line)
            && !self.news_waits.swap(true, Ordering::SeqCst)
        {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                shared.reply(line).await;
                shared.news_waits.store(false, Ordering::SeqCst);
            });
        }
    }

    /// Requests of the upstream (sampling, elicitation, roots) are ways out for data and are not relayed.
    fn upstream_asked(&self, id: &Id<'_>, method: &str) {
        let line = match method {
            "ping" => envelope::result(id, &warrantor_mcp::Fragment::empty_object()),
            _ => envelope::error(Some(id), &RpcError::new(rpc::METHOD_NOT_FOUND, "not available here")),
        };
        self.upstream.post_answer(line);
    }

    /// Remembers a cursor that the upstream gave out.
    pub(crate) fn remember_cursor(&self, cursor: &str) {
        let mut cursors = lock(&self.cursors);
        if cursors.len() >= MAX_CURSORS {
            cursors.pop_front();
        }
        cursors.push_back(cursor.to_owned());
    }

    /// Whether the upstream gave this cursor out.
    pub(crate) fn gave_out(&self, cursor: &str) -> bool {
        lock(&self.cursors).iter().any(|known| known == cursor)
    }
}
