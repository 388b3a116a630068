//! A collector of spans, as far as the tests look at them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value as Any, trace::v1::Span,
};
use prost::Message;

/// What was posted: path, credential and body.
type Posted = (String, String, Vec<u8>);

/// A collector of our own.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Posted>>>);

impl Collector {
    pub fn start() -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let collector = Self::default();
        let kept = collector.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut lines = Vec::new();
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                        break;
                    }
                    lines.push(line.trim_end().to_ascii_lowercase());
                }
                let header = |name: &str| lines.iter().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
                let mut body = vec![0; header("content-length: ").parse().unwrap_or(0)];
                stream.read_exact(&mut body).unwrap();
                let path = lines.first().cloned().unwrap_or_default();
                kept.0.lock().unwrap().push((path, header("x-key: ").to_owned(), body));
                stream
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .unwrap();
            }
        });
        (collector, port)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(|(_, _, body)| body.clone()).collect()
    }

    /// Every span that came.
    pub fn spans(&self) -> Vec<Seen> {
        let mut spans = Vec::new();
        for (path, key, body) in self.0.lock().unwrap().iter() {
            assert!(path.starts_with("post /v1/traces "), "{path}");
            assert_eq!(key, "k3y");
            let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
            for resource in request.resource_spans {
                let of = resource.resource.unwrap().attributes;
                assert!(of.iter().any(|attribute| attribute.key == "service.name"));
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans).map(Seen::of));
            }
        }
        spans
    }
}

/// A span, as far as it is looked at here.
#[derive(Debug, Clone)]
pub struct Seen {
    pub name: String,
    /// 1 is internal, 2 a server's, 3 a client's.
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub attributes: BTreeMap<String, String>,
    pub fails: bool,
}

impl Seen {
    fn of(span: Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = |value: Option<Any>| match value {
            Some(Any::StringValue(text)) => text,
            other => format!("{other:?}"),
        };
        Self {
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            attributes: span
                .attributes
                .into_iter()
                .map(|attribute| (attribute.key, text(attribute.value.unwrap().value)))
                .collect(),
            fails: span.status.is_some_and(|status| status.code == 2),
            name: span.name,
        }
    }
}
