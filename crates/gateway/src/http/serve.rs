//! Listening: connections, TLS, and the gateway's end.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, mpsc},
    time::MissedTickBehavior,
};
use tokio_rustls::TlsAcceptor;
use warrantor_decide::Snapshot;
use warrantor_engine::DecisionPoint;

use super::{
    front::{Front, GatewayParts, Mandates},
    patient::Patient,
    respond,
    served::Serving,
};

/// How long a client may take for the handshake of TLS.
const TLS_PATIENCE: Duration = Duration::from_secs(10);
/// How long requests under way get when the gateway stops.
const GRACE: Duration = Duration::from_secs(20);
/// How long connections get to end after that.
const LAST: Duration = Duration::from_secs(5);
/// How often the stop file is looked at. A stopped call is refused at its release in any case; this ends streams.
const WATCH: Duration = Duration::from_millis(100);
/// How often everything that runs is looked over: what expired, and what was revoked elsewhere.
const TIDY: Duration = Duration::from_secs(1);
/// Most headers of a request.
const MAX_HEADERS: usize = 100;
/// Most bytes of a request's headers, and of what is read ahead.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// A gateway that has not begun.
pub struct Gateway<P: DecisionPoint, M> {
    front: Arc<Front<P, M>>,
    under_way: mpsc::Receiver<Infallible>,
    upkeep: mpsc::Receiver<Infallible>,
}

impl<P: DecisionPoint, M: Mandates> Gateway<P, M> {
    /// Puts a gateway together.
    #[must_use]
    pub fn new(parts: GatewayParts<P, M>) -> Self {
        let (held, under_way) = mpsc::channel(1);
        let (kept, upkeep) = mpsc::channel(1);
        Self { front: Arc::new(Front::new(parts, held, kept)), under_way, upkeep }
    }

    /// A handle on it, for as long as it serves.
    #[must_use]
    pub fn handle(&self) -> Handle<P, M> {
        Handle(Arc::clone(&self.front))
    }

    /// Serves until `stop` is ready, then lets what is under way end. Every effect has its outcome recorded or kept when this returns.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(self.front.now().limits.connections.min(Semaphore::MAX_PERMITS)));
        let watching = tokio::spawn(watch(Arc::clone(&self.front)));
        let mut stop = std::pin::pin!(stop);
        loop {
            // A place first: connections beyond the bound wait at the operating system, and not with us.
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = async {
                    let place = Arc::clone(&room).acquire_owned().await;
                    listener.accept().await.map(|(stream, _)| (place, stream))
                } => accepted,
            };
            let (place, stream) = match accepted {
                Ok(accepted) => accepted,
                Err(cause) => {
                    tracing::warn!(%cause, "a connection could not be taken");
                    // Out of file descriptors, most likely: some come back when connections end.
                    if !is_of_one_connection(&cause) {
                        tokio::time::sleep(WATCH).await;
                    }
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (front, watcher, acceptor) =
                (Arc::clone(&self.front), graceful.watcher(), self.front.now().tls.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => converse(front, watcher, stream).await,
                    Some(tls) => {
                        let acceptor = TlsAcceptor::from(tls);
                        match tokio::time::timeout(TLS_PATIENCE, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => converse(front, watcher, stream).await,
                            Ok(Err(cause)) => tracing::debug!(%cause, "no TLS came about"),
                            Err(_) => tracing::debug!("no TLS came about in time"),
                        }
                    }
                }
                drop(place);
            });
        }
        drop(listener);
        self.front.stop();
        if tokio::time::timeout(GRACE, self.under_way.recv()).await.is_err() {
            tracing::warn!(
                "requests were still under way at the end: their outcomes are recorded as unknown"
            );
        }
        self.front.end_all();
        let _ = tokio::time::timeout(LAST, async { while self.under_way.recv().await.is_some() {} }).await;
        let _ = tokio::time::timeout(LAST, async { while self.upkeep.recv().await.is_some() {} }).await;
        let _ = tokio::time::timeout(LAST, graceful.shutdown()).await;
        watching.abort();
        self.front.engine.settle().await;
    }
}

/// What a gateway that serves can be told.
pub struct Handle<P: DecisionPoint, M>(Arc<Front<P, M>>);

impl<P: DecisionPoint, M: Mandates> Handle<P, M> {
    /// Serves something else from here on, and decides on this bundle. What a caller that is what it was does with a server that is what it was goes
    /// on; everything else that runs is ended.
    pub fn replace(&self, serving: Serving<M>, snapshot: Arc<Snapshot>) {
        self.0.replace(serving, snapshot);
        self.0.metrics.reloaded(true);
    }

    /// Takes note that a configuration was at fault.
    pub fn not_replaced(&self) {
        self.0.metrics.reloaded(false);
    }

    /// Tells what was counted to whoever asks on this listener, as long as it is polled.
    pub async fn serve_metrics(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(WATCH).await;
                continue;
            };
            let front = Arc::clone(&self.0);
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let answer = match (request.method(), request.uri().path()) {
                    (&hyper::Method::GET, "/metrics") => respond::metrics(front.counted()),
                    _ => respond::refused(hyper::StatusCode::NOT_FOUND, "only GET /metrics is answered here"),
                };
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(async move {
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(TLS_PATIENCE).keep_alive(false);
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

/// One connection, request after request.
async fn converse<P: DecisionPoint, M: Mandates>(
    front: Arc<Front<P, M>>,
    watcher: hyper_util::server::graceful::Watcher,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) {
    let receive = front.now().limits.receive;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let front = Arc::clone(&front);
        // Boxed, or a connection would have room for it as long as it lives, a stream that waits included.
        async move { Ok::<_, Infallible>(Box::pin(front.answer(request)).await) }
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(receive)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    let connection = server.serve_connection(TokioIo::new(Patient::new(stream, receive)), service);
    if let Err(cause) = watcher.watch(connection).await {
        tracing::debug!(%cause, "a connection ended early");
    }
}

/// Ends what must not go on, as long as the gateway lives.
async fn watch<P: DecisionPoint, M: Mandates>(front: Arc<Front<P, M>>) {
    let mut known = front.engine.stops();
    let mut last = tokio::time::Instant::now();
    let mut tick = tokio::time::interval(WATCH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let stops = front.engine.stops();
        let changed = stops != known;
        known = stops;
        if changed || last.elapsed() >= TIDY {
            last = tokio::time::Instant::now();
            front.revoke().await;
            front.tidy();
        }
    }
}

fn is_of_one_connection(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
