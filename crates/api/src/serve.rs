//! Listening: connections within bounds, TLS, and an end that waits for what is under way.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use warrantor_store::Store;

use crate::Api;

/// Most connections at once; beyond that they wait at the operating system.
const CONNECTIONS: usize = 1024;
/// How long a client may take for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests under way get at the end.
const GRACE: Duration = Duration::from_secs(20);
/// How long to wait when the operating system gives no connection.
const PAUSE: Duration = Duration::from_millis(100);
/// Most headers of a request, and most bytes of its head.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 << 10;

/// A server of the interface.
pub struct ApiServer {
    router: Router,
    tls: Option<Arc<ServerConfig>>,
}

impl ApiServer {
    /// A server of this interface.
    #[must_use]
    pub fn new<S: Store>(api: Arc<Api<S>>, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { router: crate::router(api), tls }
    }

    /// Serves until `stop` is ready, then lets what is under way end.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut stop = std::pin::pin!(stop);
        loop {
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
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (router, watcher) = (self.router.clone(), graceful.watcher());
            let acceptor = self.tls.clone().map(TlsAcceptor::from);
            tokio::spawn(async move {
                let ended = match acceptor {
                    None => converse(router, stream, watcher).await,
                    Some(acceptor) => match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => converse(router, stream, watcher).await,
                        Ok(Err(cause)) => Err(cause.to_string()),
                        Err(_) => Err("no TLS came about in time".to_owned()),
                    },
                };
                if let Err(cause) = ended {
                    tracing::debug!(cause, "a connection ended early");
                }
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way at the end");
        }
    }
}

async fn converse(
    router: Router,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    watcher: Watcher,
) -> Result<(), String> {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .half_close(false);
    // A client that does not read is let go of, and its place with it.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(PATIENCE));
    let stream = Box::pin(stream);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    watcher.watch(connection).await.map_err(|cause| cause.to_string())
}

/// Tells what was counted to whoever asks on this listener, as long as it is polled.
pub async fn serve_metrics<S: Store>(listener: TcpListener, api: Arc<Api<S>>) {
    let told = move || {
        let api = Arc::clone(&api);
        async move {
            let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(axum::http::header::CONTENT_TYPE, media)], api.counted())
        }
    };
    let router = Router::new().route("/metrics", axum::routing::get(told));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
            let _ = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
        });
    }
}
