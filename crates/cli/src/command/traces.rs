//! Sends spans to a collector, OTLP over HTTP. What fails loses spans and holds nothing up.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response,
    header::{HeaderName, HeaderValue},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{global::BoxedTracer, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tokio::runtime::Handle;
use warrantor_bundle::gateway::TracesSettings;

use super::secrets::Sources;
use crate::http::connector;

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a collector's answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Where spans go. Dropped without [`Traces::end`], the last of them may be lost.
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Spans of a service of this name for this collector; none when nothing is said.
    pub(super) fn to(
        service: &'static str,
        settings: Option<&TracesSettings>,
        base: &Path,
    ) -> anyhow::Result<Self> {
        let Some(settings) = settings else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(settings, base)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.endpoint)
            .with_timeout(PATIENCE)
            .build()
            .with_context(|| format!("no spans can be sent to {}", settings.endpoint))?;
        let sampler = Sampler::parent_based(Sampler::TraceIdRatioBased(settings.ratio));
        let resource = Resource::builder_empty().with_service_name(service);
        let resource = resource
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(Some(provider)))
    }

    /// What makes them; nothing where nobody wants any.
    pub(super) fn tracer(&self) -> Option<BoxedTracer> {
        self.0.as_ref().map(|provider| BoxedTracer::new(Box::new(provider.tracer("warrantor"))))
    }

    /// Sends what is left.
    pub(super) async fn end(self) {
        if let Some(provider) = self.0 {
            let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(PATIENCE)).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::warn!("the last spans could not be sent");
            }
        }
    }
}

/// A collector. Batches are sent from a thread of their own, which has no runtime: the request is made on ours.
struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    headers: HeaderMap,
    runtime: Handle,
    fails: AtomicBool,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its headers hold credentials.
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    fn new(settings: &TracesSettings, base: &Path) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, entry) in &settings.headers {
            let value = Sources::at(base).value(entry, name)?;
            let header: HeaderName =
                name.parse().with_context(|| format!("{name:?} is no name of a header"))?;
            let mut value = HeaderValue::from_str(&value)
                .with_context(|| format!("the value of the header {name} cannot be sent"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let client = Client::builder(TokioExecutor::new()).build(connector()?);
        Ok(Self { client, headers, runtime: Handle::current(), fails: AtomicBool::new(false) })
    }

    /// Says it once that the collector fails, and once that it works again.
    fn tell<T>(&self, sent: &Result<T, String>) {
        let fails = sent.is_err();
        if self.fails.swap(fails, Ordering::SeqCst) != fails {
            match sent {
                Ok(_) => tracing::warn!("the collector takes spans again"),
                Err(cause) => tracing::warn!(cause, "the collector takes no spans: they are lost"),
            }
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.clone());
        let sending = self.client.request(request.map(Full::new));
        let exchange = async move {
            let (head, body) = sending.await.map_err(|cause| cause.to_string())?.into_parts();
            let body =
                Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|cause| cause.to_string())?;
            Ok::<_, String>(Response::from_parts(head, body.to_bytes()))
        };
        let sent = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(PATIENCE, exchange).await;
            sent.unwrap_or_else(|_| Err("it did not answer in time".to_owned()))
        });
        let sent = sent.await.unwrap_or_else(|cause| Err(cause.to_string()));
        let sent = sent.and_then(|response| match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(format!("it answers with the status {status}")),
        });
        self.tell(&sent);
        sent.map_err(HttpError::from)
    }
}
