//! Connections: an exchange with an upstream, and what keeps it going.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    process::{ChildStdin, ChildStdout},
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use warrantor_engine::DecisionPoint;
use warrantor_mcp::message::FrameLimits;
use warrantor_model::{Digest, MandateId, ServerName};

use crate::{
    approvals::Asking,
    exchange::{Exchange, SessionSettings, Shown, lock},
    launch::{Launch, Running},
    lines::{self, Incoming},
    metrics::Metrics,
    spans::Spans,
    upstream::{HttpTarget, Upstream},
};

/// A virtual server: a tool server of the bundle under a path of its own.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// The server as the bundle names it.
    pub server: ServerName,
    /// Its path.
    pub path: String,
    /// How it is reached.
    pub upstream: UpstreamSettings,
    /// The digest of everything that it was configured with: another one is another server.
    pub configured: Digest,
    /// How long a call may take.
    pub call_timeout: Duration,
    /// How long the handshake, a list or a ping may take.
    pub request_timeout: Duration,
    /// Bounds on the clients' messages.
    pub client_limits: FrameLimits,
    /// Bounds on the upstream's messages.
    pub upstream_limits: FrameLimits,
    /// How persons are asked.
    pub asking: Asking,
}

/// How an upstream is reached.
#[derive(Debug, Clone)]
pub enum UpstreamSettings {
    /// Over HTTP.
    Http(Arc<HttpTarget>),
    /// As a process of its own for each connection.
    Stdio(Arc<Launch>),
}

/// What connections have in common.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) spans: &'a Spans,
    /// Numbers what servers ask one client.
    pub(super) questions: &'a Arc<AtomicU64>,
}

/// An exchange that is kept going.
pub(super) struct Connection<P: DecisionPoint> {
    pub(super) exchange: Arc<Exchange<P>>,
    /// What the endpoint was configured with.
    pub(super) configured: Digest,
    /// Tasks that hear the upstream; they end with the connection.
    upkeep: Mutex<JoinSet<()>>,
    used: Mutex<Instant>,
    closing: watch::Sender<bool>,
}

impl<P: DecisionPoint> Connection<P> {
    /// Opens a connection for a mandate. Nothing is said yet.
    pub(super) fn open(
        engine: P,
        endpoint: &EndpointSettings,
        mandate: MandateId,
        evidence: Shown,
        held: Option<mpsc::Sender<Infallible>>,
        shared: Shared<'_>,
    ) -> io::Result<Self> {
        let Shared { metrics, spans, questions } = shared;
        let ready = |exchange: Exchange<P>| Arc::new(exchange.watched(metrics, spans).asking_with(questions));
        let settings = SessionSettings {
            mandate,
            server: endpoint.server.clone(),
            evidence,
            call_timeout: endpoint.call_timeout,
            request_timeout: endpoint.request_timeout,
            client_limits: endpoint.client_limits,
            upstream_limits: endpoint.upstream_limits,
            asking: endpoint.asking.clone(),
            trace: None,
        };
        let closing = watch::Sender::new(false);
        let mut upkeep = JoinSet::new();
        let exchange = match &endpoint.upstream {
            UpstreamSettings::Http(target) => {
                let upstream = Upstream::http(Arc::clone(target));
                ready(Exchange::new(engine, settings, upstream))
            }
            UpstreamSettings::Stdio(launch) => {
                let (running, stdin, stdout): (Running, ChildStdin, ChildStdout) = launch.start()?;
                let exchange = ready(Exchange::new(engine, settings, Upstream::lines(stdin)));
                let hearing = hear(Arc::clone(&exchange), running, stdout, closing.subscribe());
                upkeep.spawn(async move {
                    hearing.await;
                    // Whoever ends the gateway waits for its processes.
                    drop(held);
                });
                exchange
            }
        };
        Ok(Self {
            configured: endpoint.configured,
            exchange,
            upkeep: Mutex::new(upkeep),
            used: Mutex::new(Instant::now()),
            closing,
        })
    }

    /// Hears what an HTTP upstream says unasked, from now on.
    pub(super) fn listen(&self) {
        let exchange = Arc::clone(&self.exchange);
        lock(&self.upkeep).spawn(async move {
            exchange.upstream.listen(|line| exchange.hear(None, line)).await;
        });
    }

    /// Does something with the exchange until the connection is closed.
    pub(super) fn while_open<F>(&self, task: impl FnOnce(Arc<Exchange<P>>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut closing = self.closing.subscribe();
        let task = task(Arc::clone(&self.exchange));
        lock(&self.upkeep).spawn(async move {
            tokio::select! {
                () = task => {}
                _ = closing.wait_for(|closing| *closing) => {}
            }
        });
    }

    /// Lets go of what waited too long.
    pub(super) fn tidy(&self) {
        lock(&self.exchange.questions).expire();
    }

    /// Takes note that it is used.
    pub(super) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// Whether nobody has asked for it for so long.
    pub(super) fn is_idle(&self, patience: Duration) -> bool {
        lock(&self.used).elapsed() > patience
    }

    /// Whether the upstream is gone or has forgotten us.
    pub(super) fn is_lost(&self) -> bool {
        self.exchange.upstream.is_lost()
    }
}

impl<P: DecisionPoint> Connection<P> {
    /// Ends the connection: calls under way are told that the upstream ended, and a process is ended.
    pub(super) fn close(&self) {
        self.exchange.upstream.ended();
        self.exchange.upstream.close();
        self.closing.send_replace(true);
    }
}

impl<P: DecisionPoint> Drop for Connection<P> {
    fn drop(&mut self) {
        self.close();
        // The task that hears a process has been told, and ends it; it needs a moment for that.
        lock(&self.upkeep).detach_all();
    }
}

/// Hears a process until it ends or the connection does; then ends the process.
async fn hear<P: DecisionPoint>(
    exchange: Arc<Exchange<P>>,
    running: Running,
    stdout: ChildStdout,
    mut closing: watch::Receiver<bool>,
) {
    let mut lines = lines::read(stdout, exchange.settings.upstream_limits.bytes());
    let hearing = async {
        loop {
            match lines.recv().await {
                Some(Incoming::Line(line)) => exchange.hear(None, line),
                Some(Incoming::TooLong) => {
                    tracing::warn!("the tool server sent a line beyond the bound; it was dropped");
                }
                Some(Incoming::End) | None => break,
            }
        }
    };
    tokio::select! {
        () = hearing => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
    exchange.upstream.ended();
    exchange.upstream.close();
    drop(lines);
    running.end().await;
}
