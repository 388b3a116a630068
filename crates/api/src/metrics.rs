//! What the interface counts. Labels are patterns of paths and words of closed lists: no caller can make more series than there are.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of how long requests take, in seconds.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfRequest {
    path: String,
    method: String,
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfPath {
    path: String,
}

/// Counters of one interface.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<OfRequest, Counter>,
    took: Family<OfPath, Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("warrantor_api");
        let requests = Family::<OfRequest, Counter>::default();
        let took = Family::<OfPath, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("requests", "Requests by path, method and status", requests.clone());
        registry.register_with_unit("request", "How long requests took", Unit::Seconds, took.clone());
        Self { registry, requests, took }
    }

    /// Counts a request. `path` is the pattern that matched; `unmatched` where none did.
    pub(crate) fn request(&self, path: &str, method: &axum::http::Method, status: u16, took: Duration) {
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        let method = known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        let (path, method) = (path.to_owned(), method.to_owned());
        self.took.get_or_create(&OfPath { path: path.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&OfRequest { path, method, status }).inc();
    }

    /// What was counted, in OpenMetrics' text.
    pub(crate) fn told(&self) -> String {
        let mut text = String::new();
        // Writing to a text fails only where a label fails to encode, and then the rest is told.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
