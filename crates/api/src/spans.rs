//! A span for each request, for whoever watches: it joins the trace of the caller. Of the request it holds the route and the status, and no name, body or
//! token.

use std::{borrow::Cow, sync::Arc};

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::{
    Context, KeyValue,
    global::BoxedTracer,
    trace::{SpanKind, Status, TraceContextExt, Tracer},
};
use warrantor_mcp::trace::TraceContext;

/// Makes spans, if anybody wants them.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<BoxedTracer>>);

impl Spans {
    /// Spans go to this tracer.
    #[must_use]
    pub fn to(tracer: BoxedTracer) -> Self {
        Self(Some(Arc::new(tracer)))
    }

    /// A request that begins.
    pub(crate) fn request(&self, method: &Method, route: &str, headers: &HeaderMap) -> Open {
        let Some(tracer) = &self.0 else { return Open(None) };
        // Of several none is the caller's.
        let one = |name: &str| {
            let mut all = headers.get_all(name).iter();
            match (all.next(), all.next()) {
                (Some(one), None) => one.to_str().ok().map(Cow::from),
                _ => None,
            }
        };
        let parent = TraceContext::read(one("traceparent"), None).and_then(|told| told.span());
        let parent = parent.map(|parent| Context::new().with_remote_span_context(parent)).unwrap_or_default();
        let attributes = [
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("http.route", route.to_owned()),
        ];
        let builder = tracer
            .span_builder(format!("{method} {route}"))
            .with_kind(SpanKind::Server)
            .with_attributes(attributes);
        Open(Some(parent.with_span(tracer.build_with_context(builder, &parent))))
    }
}

/// A span that is open. It ends when this is dropped; without a tracer it is none.
pub(crate) struct Open(Option<Context>);

impl Open {
    /// How the request was answered, and by which sort of problem.
    pub(crate) fn answered(&self, request: &str, status: StatusCode, problem: Option<&str>) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        span.set_attribute(KeyValue::new("warrantor.request", request.to_owned()));
        if let Some(problem) = problem {
            span.set_attribute(KeyValue::new("error.type", problem.to_owned()));
        }
        // What a caller asked for wrongly is no failure of ours.
        if status.is_server_error() {
            span.set_status(Status::error("the request could not be answered"));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}
