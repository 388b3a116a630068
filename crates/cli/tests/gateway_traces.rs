//! Spans of the gateway at a collector: they join the trace of the client, the server is told to join them, and nothing confidential is in them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod support;

use std::net::TcpListener;

use serde_json::Value;
use support::{
    World,
    collector::{Collector, Seen},
    http::{Gateway, LEGACY, modern},
    reason_of, text_of,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn gateway(world: &World, port: u16, ratio: &str) -> Gateway {
    let more = format!(
        "[traces]\nendpoint = \"http://127.0.0.1:{port}/v1/traces\"\nheaders = {{ X-Key = \"k3y\" }}\nratio = {ratio}\n"
    );
    Gateway::before(world, &[("laptop", "bot", &["work"])], &more)
}

fn call_within(client: &mut support::http::Client, tool: &str, arguments: &str, parent: &str) -> Value {
    let params = format!(r#""name":"{tool}","arguments":{arguments}"#);
    let body = modern("tools/call", &params).replace(
        r#""_meta":{"#,
        &format!(r#""_meta":{{"traceparent":"{parent}","tracestate":"v=quicksilver","#),
    );
    let headers = [
        LEGACY.as_slice(),
        &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", tool)],
    ]
    .concat();
    client.send("POST", &headers, &body);
    client.response().json()
}

#[test]
fn spans_join_the_client_s_trace_and_the_server_is_told_to_join_them() {
    let (collector, port) = Collector::start();
    let world = World::new();
    let mut gateway = gateway(&world, port, "1.0");
    let mut client = gateway.client("laptop");
    let answer = call_within(&mut client, "echo", r#"{"text":"quicksilver"}"#, PARENT);
    let got: Value = serde_json::from_str(&text_of(&answer).unwrap()).unwrap();
    let told = got["params"]["_meta"]["traceparent"].as_str().unwrap().to_owned();
    assert_eq!(got["params"]["_meta"]["tracestate"], "v=quicksilver");
    let refused = call_within(&mut client, "pay", r#"{"amount":4711}"#, PARENT);
    assert_eq!(reason_of(&refused).as_deref(), Some("argument_out_of_bounds"));
    call_within(&mut client, "no_such_tool_at_all", "{}", PARENT);
    // In the older era the trace may be told by the header.
    let mut older = gateway.session("laptop");
    let request = r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"babble","arguments":{"kind":"failed"}}}"#;
    older.ask("POST", &[LEGACY.as_slice(), &[("traceparent", PARENT)]].concat(), request);
    let begun = r#"{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"crash","arguments":{}}}"#;
    older.ask("POST", &LEGACY, begun);
    assert!(gateway.stop().success());

    let spans = collector.spans();
    let named = |name: &str, kind: i32| -> Vec<&Seen> {
        spans.iter().filter(|span| span.name == name && span.kind == kind).collect()
    };
    let server = named("tools/call echo", 2)[0];
    assert_eq!((server.trace.as_str(), server.parent.as_str()), (TRACE, "b7ad6b7169203331"));
    assert_eq!(server.attributes["mcp.method.name"], "tools/call");
    assert_eq!(server.attributes["gen_ai.tool.name"], "echo");
    let within: Vec<&Seen> = spans.iter().filter(|span| span.parent == server.id).collect();
    let names: Vec<&str> = within.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["decide", "tools/call echo", "take in"], "{within:?}");
    assert_eq!(within[0].attributes["warrantor.verdict"], "pass");
    assert_eq!(told, format!("00-{TRACE}-{}-01", within[1].id), "the server joins another span");
    // A decision is found by its span.
    let records = world.records();
    let decision = records.iter().find(|line| line["record"]["event"]["event"] == "decision").unwrap();
    assert_eq!(within[0].attributes["warrantor.decision"], decision["record"]["id"].as_str().unwrap());

    let refused = named("tools/call pay", 2)[0];
    let decide = spans.iter().find(|span| span.parent == refused.id).unwrap();
    assert_eq!(decide.attributes["warrantor.reason"], "argument_out_of_bounds");
    assert!(named("tools/call pay", 3).is_empty(), "a refused call has a server's span");
    let failed = named("tools/call babble", 2)[0];
    assert_eq!((failed.trace.as_str(), &*failed.attributes["error.type"]), (TRACE, "tool_error"));
    let ended = named("tools/call crash", 3)[0];
    assert!(ended.fails && ended.attributes["error.type"] == "ended" && ended.trace != TRACE, "{ended:?}");
    let bytes = collector.bytes();
    let token = gateway.token("laptop").to_owned();
    for word in ["quicksilver", "4711", "no_such_tool", "alice", token.as_str()] {
        let found = bytes.windows(word.len()).any(|part| part == word.as_bytes());
        assert!(!found, "{word} is in a span");
    }
}

#[test]
fn what_belongs_to_no_trace_is_sampled_and_a_trace_that_is_not_kept_is_not() {
    let (collector, port) = Collector::start();
    let world = World::new();
    let mut gateway = gateway(&world, port, "0.0");
    let mut client = gateway.client("laptop");
    client.call_modern("echo", "{}");
    call_within(&mut client, "echo", "{}", &PARENT.replace("-01", "-00"));
    call_within(&mut client, "fixed", "{}", "00-nonsense");
    assert_eq!(collector.spans().len(), 0);
    call_within(&mut client, "echo", "{}", PARENT);
    gateway.stop();
    assert!(collector.spans().iter().all(|span| span.trace == TRACE));
    assert!(collector.spans().iter().any(|span| span.name == "tools/call echo"));
}

#[test]
fn a_collector_that_is_not_there_holds_nothing_up_and_is_told_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut world = World::new();
    world.environment.push(("WARRANTOR_LOG_FORMAT".to_owned(), "json".to_owned()));
    world.environment.push(("OTEL_BSP_SCHEDULE_DELAY".to_owned(), "50".to_owned()));
    let mut gateway = gateway(&world, port, "1");
    let mut client = gateway.client("laptop");
    let begun = std::time::Instant::now();
    while !gateway.stderr().contains("they are lost") {
        assert!(text_of(&client.call_modern("echo", r#"{"text":"quicksilver"}"#)).is_some());
        assert!(begun.elapsed().as_secs() < 60, "{}", gateway.stderr());
    }
    client.call_modern("environment", "{}");
    assert!(gateway.stop().success());
    let stderr = gateway.stderr();
    // What a server says beside the protocol is a line of the log, under its name.
    assert!(stderr.contains(r#""server":"fake","said":"the tokens are"#), "{stderr}");
    assert_eq!(stderr.matches("they are lost").count(), 1, "{stderr}");
    assert!(!stderr.contains("quicksilver") && !stderr.contains("k3y"), "{stderr}");
    for line in stderr.lines() {
        let told: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"));
        for member in ["timestamp", "level", "message", "target"] {
            assert!(told[member].is_string(), "{told}");
        }
    }
    world.verified();
}
