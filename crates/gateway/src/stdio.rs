//! A session: one client and one upstream on byte streams, from their first byte to their last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinSet,
};
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Era, IdKey, Message, RpcError, envelope, message::FrameLimits, params::CancelledParams, rpc,
};

use crate::{
    exchange::{Asked, Exchange, Flight, Outlet, SessionSettings, lock},
    lines::{self, Incoming},
    upstream::Upstream,
};

/// Most requests of a client that may be unanswered; one more is refused.
const MAX_IN_FLIGHT: usize = 256;
/// How long the upstream may take to end after its input was closed.
const GRACE: Duration = Duration::from_secs(2);
/// How long a decision under way may take at the end: longer than the engine waits for anything.
const LAST: Duration = Duration::from_secs(20);

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed its stream.
    ByClient,
    /// The upstream ended while the client was still there.
    ByUpstream,
}

/// State that the tasks of a session share.
struct Shared<P: DecisionPoint> {
    exchange: Exchange<P>,
    client: mpsc::Sender<Vec<u8>>,
    /// The client's unanswered requests.
    in_flight: Mutex<HashMap<IdKey, Flight>>,
}

/// Waits for tasks, so long.
async fn finish(tasks: &mut JoinSet<()>, patience: Duration) {
    let _ = tokio::time::timeout(patience, async { while tasks.join_next().await.is_some() {} }).await;
}

/// A session that has not begun.
pub struct Session<P> {
    engine: P,
    settings: SessionSettings,
}

impl<P: DecisionPoint> Session<P> {
    /// A session under these settings.
    #[must_use]
    pub fn new(engine: P, settings: SessionSettings) -> Self {
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
        let shared = Arc::new(Shared {
            exchange: Exchange::new(self.engine, self.settings, Upstream::lines(upstream_in)),
            client,
            in_flight: Mutex::default(),
        });
        // In sets, so that they end with us.
        let mut hearing = JoinSet::new();
        hearing.spawn(Arc::clone(&shared).hear_upstream(from_upstream));
        let mut telling = JoinSet::new();
        telling.spawn(Arc::clone(&shared).tell_news());
        let mut tasks = JoinSet::new();
        let ended = tokio::select! {
            biased;
            _ = hearing.join_next() => Ended::ByUpstream,
            () = shared.hear_client(&mut from_client, &mut tasks) => Ended::ByClient,
        };
        telling.shutdown().await;
        shared.wind_down(&mut hearing, &mut tasks, &writing).await;
        lock(&shared.exchange.questions).clear();
        shared.exchange.engine.settle().await;
        drop((shared, hearing, tasks));
        if tokio::time::timeout(GRACE, &mut writing).await.is_err() {
            writing.abort();
        }
        ended
    }
}

impl<P: DecisionPoint> Shared<P> {
    /// Sends a line to the client; a client that is gone needs none.
    async fn reply(&self, line: Vec<u8>) {
        let _ = self.client.send(line).await;
    }

    async fn too_long(&self) {
        let bound = self.limits().bytes();
        let error = RpcError::new(
            rpc::INVALID_REQUEST,
            format!("the message has more than the {bound} bytes that are allowed"),
        );
        self.reply(envelope::error(None, &error)).await;
    }

    fn limits(&self) -> &FrameLimits {
        &self.exchange.settings.client_limits
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
                Some(Incoming::Line(line)) => self.exchange.hear(None, line),
                Some(Incoming::TooLong) => {
                    tracing::warn!("the tool server sent a line beyond the bound; it was dropped");
                }
                Some(Incoming::End) | None => break,
            }
        }
        self.exchange.upstream.ended();
    }

    /// News must come to the client, each once; how often it came while the client did not read does not matter.
    async fn tell_news(self: Arc<Self>) {
        loop {
            for told in self.exchange.news.next().await {
                let is_legacy = self.exchange.handshake().era == Some(Era::Legacy);
                if is_legacy && let Some(line) = self.exchange.told(&told).await {
                    self.reply(line).await;
                }
            }
        }
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
        self.exchange.upstream.ended();
        self.exchange.upstream.close();
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
        let (id, key) = match Message::parse(&line, self.limits()) {
            Ok(Message::Request { id, .. }) => (id.clone().into_owned(), id.key().clone()),
            Ok(Message::Notification { method, params }) => {
                self.notified(&method, params);
                return;
            }
            Ok(Message::Response { .. }) => {
                let shared = Arc::clone(self);
                tasks.spawn(async move { shared.exchange.answered_by_client(&line).await });
                return;
            }
            Err(cause) => {
                self.reply(cause.to_response()).await;
                return;
            }
        };
        let client = self.client.clone();
        // A client that does not read misses some of it.
        let outlet: Outlet = Arc::new(move |line| drop(client.try_send(line)));
        let flight = Flight::new(outlet);
        let refused = {
            let mut in_flight = lock(&self.in_flight);
            if in_flight.contains_key(&key) {
                Some("a request with this id is still unanswered")
            } else if in_flight.len() >= MAX_IN_FLIGHT {
                Some("too many requests are unanswered")
            } else {
                in_flight.insert(key.clone(), flight.clone());
                None
            }
        };
        if let Some(why) = refused {
            self.reply(envelope::error(Some(&id), &RpcError::new(rpc::INVALID_REQUEST, why))).await;
            return;
        }
        let shared = Arc::clone(self);
        tasks.spawn(async move {
            shared.request(&line, &flight).await;
            lock(&shared.in_flight).remove(&key);
        });
    }

    async fn request(&self, line: &[u8], flight: &Flight) {
        // It parsed before; what borrows from the line lives in this task.
        let Ok(Message::Request { id, method, params }) = Message::parse(line, self.limits()) else {
            return;
        };
        let reply = self.exchange.answer(&Asked { id: &id, method: &method, params, flight }).await;
        if let Some(line) = reply.into_line() {
            self.reply(line).await;
        }
    }

    fn notified(&self, method: &str, params: Option<&RawValue>) {
        match method {
            "notifications/initialized" if self.exchange.handshake().era == Some(Era::Legacy) => {
                self.exchange.upstream.post(envelope::notification("notifications/initialized", None));
            }
            "notifications/cancelled" => {
                let Ok(cancelled) = CancelledParams::parse(params) else { return };
                let flight = lock(&self.in_flight).get(cancelled.request_id.key()).cloned();
                if let Some(flight) = flight {
                    flight.take_back();
                }
            }
            "notifications/roots/list_changed" => self.exchange.roots_changed(),
            other => tracing::debug!(method = other, "a notification of the client was not passed on"),
        }
    }
}
