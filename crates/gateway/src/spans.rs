//! Spans for whoever watches, by OpenTelemetry's conventions for MCP: a request of a client, and within it the decision, the server's part, and taking
//! the answer in.
//!
//! They join the trace that the client names in `_meta` or in the header `traceparent`, and the server is told to join them. A span holds names of the
//! configuration and the bundle, words of closed lists and the decision's id; no argument, result, person, URI or token.

use std::sync::Arc;

use opentelemetry::{
    Context, KeyValue,
    global::BoxedTracer,
    trace::{SpanKind, Status, TraceContextExt, Tracer},
};
use warrantor_mcp::trace::{TraceContext, traceparent};
use warrantor_model::{Offer, ServerName};

use crate::exchange::Reply;

/// Methods that are told of by their names.
const METHODS: [&str; 18] = [
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/update",
    "tools/call",
    "tools/list",
];

/// Makes spans, if anybody wants them.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<BoxedTracer>>);

/// A span that is open. It ends when this is dropped; without a tracer it is none.
pub(crate) struct Open(Option<Context>);

impl Spans {
    /// Spans go to this tracer.
    #[must_use]
    pub fn to(tracer: BoxedTracer) -> Self {
        Self(Some(Arc::new(tracer)))
    }

    /// Whether anybody wants spans.
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// A request of a client.
    pub(crate) fn request(
        &self,
        server: &ServerName,
        method: &str,
        target: Option<(Offer, &str)>,
        parent: Option<&TraceContext<'_>>,
    ) -> Open {
        let parent =
            parent.and_then(TraceContext::span).map(|parent| Context::new().with_remote_span_context(parent));
        self.open(SpanKind::Server, server, method, target, &parent.unwrap_or_default())
    }

    /// The server's part of the request under way.
    pub(crate) fn upstream(&self, server: &ServerName, method: &str, target: Option<(Offer, &str)>) -> Open {
        self.open(SpanKind::Client, server, method, target, &Context::current())
    }

    /// A step of ours of the request under way.
    pub(crate) fn step(&self, name: &'static str) -> Open {
        Open(self.0.as_ref().map(|tracer| {
            let parent = Context::current();
            let builder = tracer.span_builder(name).with_kind(SpanKind::Internal);
            parent.with_span(tracer.build_with_context(builder, &parent))
        }))
    }

    fn open(
        &self,
        kind: SpanKind,
        server: &ServerName,
        method: &str,
        target: Option<(Offer, &str)>,
        parent: &Context,
    ) -> Open {
        Open(self.0.as_ref().map(|tracer| {
            let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("_OTHER");
            let name = match target {
                Some((_, target)) => format!("{method} {target}"),
                None => method.to_owned(),
            };
            let mut attributes = vec![
                KeyValue::new("mcp.method.name", method),
                KeyValue::new("warrantor.server", server.to_string()),
            ];
            match target {
                Some((Offer::Tool, name)) => {
                    attributes.push(KeyValue::new("gen_ai.operation.name", "execute_tool"));
                    attributes.push(KeyValue::new("gen_ai.tool.name", name.to_owned()));
                }
                Some((Offer::Prompt, name)) => {
                    attributes.push(KeyValue::new("gen_ai.prompt.name", name.to_owned()));
                }
                _ => {}
            }
            let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
            parent.with_span(tracer.build_with_context(builder, parent))
        }))
    }
}

impl Open {
    /// What everything within it has to know.
    pub(crate) fn context(&self) -> Context {
        self.0.clone().unwrap_or_default()
    }

    /// What the server is told, so that its spans are within this one.
    pub(crate) fn traceparent(&self) -> Option<String> {
        traceparent(self.0.as_ref()?.span().span_context())
    }

    pub(crate) fn note(&self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// It went wrong, in a word of a closed list.
    pub(crate) fn failed(&self, why: &'static str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", why));
            context.span().set_status(Status::error(why));
        }
    }

    /// What the request was answered with.
    pub(crate) fn answered(&self, reply: &Reply) {
        if let (Some(context), Reply::Fault(_, code)) = (&self.0, reply) {
            // A server may choose any other, and say something by it.
            let code =
                if (-32_999..=-32_000).contains(code) { code.to_string() } else { "_OTHER".to_owned() };
            context.span().set_attribute(KeyValue::new("rpc.response.status_code", code.clone()));
            context.span().set_attribute(KeyValue::new("error.type", code));
            context.span().set_status(Status::error("the request was answered with an error"));
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

/// Notes something about the request under way.
pub(crate) fn note(name: &'static str, value: impl Into<opentelemetry::Value>) {
    let context = Context::current();
    if context.has_active_span() {
        context.span().set_attribute(KeyValue::new(name, value));
    }
}
