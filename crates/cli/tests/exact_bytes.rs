//! What was decided is what is forwarded, byte by byte; and results come back as they were given.
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

use serde_json::Value;
use support::{MODERN, Session, World, text_of};

/// The `arguments` in the line that the server received.
fn arguments_in(line: &str) -> &str {
    let (_, rest) = line.split_once(r#""arguments":"#).unwrap_or_else(|| panic!("no arguments in {line}"));
    // Whatever follows them in the envelope, `_meta` or its end, is rebuilt and known.
    rest.rsplit_once(r#","_meta""#)
        .map_or_else(|| rest.strip_suffix("}}").unwrap(), |(arguments, _)| arguments)
}

const ARGUMENTS: &[&str] = &[
    "{}",
    r#"{"text":"a"}"#,
    r#"{"amount":1.10}"#,
    r#"{"amount":1.1000000000000000000000000000000001}"#,
    r#"{"n":12345678901234567890123}"#,
    r#"{"n":-12345678901234567890123}"#,
    r#"{"n":1e2,"m":1E+2,"o":0.1e-7,"z":-0,"y":-0.0,"x":100000000000000000000.0}"#,
    r#"{"text":"\u00e9\/\ud83d\ude00\u0000\b\f\n\r\t\"\\"}"#,
    r#"{"t\u0065xt":"escaped name"}"#,
    "{ \"text\" :\t\"spaces\" , \"list\" : [ 1 ,2.50,  null ] }",
    r#"{"z":1,"a":2,"record":{"z":1,"a":2,"unknown":"x"}}"#,
    r#"{"unknown":true,"empty":{},"none":[],"nothing":null,"":"empty name"}"#,
    "{\"text\":\"é😀\u{2028}\u{feff}\u{202e}e\u{301}\"}",
    r#"{"__proto__":"x","constructor":1}"#,
];

#[test]
fn arguments_reach_the_server_byte_by_byte_in_both_eras() {
    let world = World::new();
    let mut legacy = world.session();
    let mut modern = world.bare_session();
    for arguments in ARGUMENTS {
        let line = legacy.passes("echo", arguments);
        assert_eq!(arguments_in(&line), *arguments, "in {line}");
        let answer =
            modern.ask("tools/call", &format!(r#"{{"name":"echo","arguments":{arguments},{MODERN}}}"#));
        let line = text_of(&answer).unwrap_or_else(|| panic!("{arguments}: {answer}"));
        assert_eq!(arguments_in(&line), *arguments, "in {line}");
    }
}

#[test]
fn a_call_without_arguments_is_forwarded_without_them() {
    let world = World::new();
    let mut session = world.session();
    let answer = session.ask("tools/call", r#"{"name":"echo"}"#);
    let line = text_of(&answer).unwrap_or_else(|| panic!("{answer}"));
    assert!(line.ends_with(r#""params":{"name":"echo"}}"#), "{line}");
}

#[test]
fn members_twice_in_one_object_are_refused_wherever_they_stand() {
    let world = World::new();
    let mut session = world.session();
    for params in [
        r#"{"name":"echo","arguments":{"a":1,"a":2}}"#,
        r#"{"name":"echo","arguments":{"a":1,"\u0061":2}}"#,
        r#"{"name":"echo","arguments":{"x":[{"deep":{"a":1,"b":2,"a":1}}]}}"#,
        r#"{"name":"echo","name":"hang","arguments":{}}"#,
        r#"{"name":"echo","arguments":{},"arguments":{}}"#,
        r#"{"name":"echo","arguments":{},"_meta":{"x":1,"x":2}}"#,
    ] {
        let answer = session.ask("tools/call", params);
        assert_eq!(answer["error"]["code"], -32600, "{params}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("twice"), "{params}: {answer}");
    }
    session.passes("echo", "{}");
    let calls = world.upstream("lines").iter().filter(|line| line.contains("tools/call")).count();
    assert_eq!(calls, 1, "a refused call reached the server");
}

/// The result as it stands in the line that the client got.
fn result_in(line: &str) -> &str {
    let (_, rest) = line.split_once(r#""result":"#).unwrap_or_else(|| panic!("no result in {line}"));
    rest.strip_suffix('}').unwrap()
}

#[test]
fn results_come_back_byte_by_byte() {
    let world = World::new();
    let mut session = world.session();
    for result in [
        r#"{"content":[]}"#,
        r#"{"content":[{"type":"text","text":"a"}],"structuredContent":{"amount":1.10,"n":12345678901234567890123}}"#,
        r#"{ "content" : [ { "text":"\u00e9\/\ud83d\ude00", "type":"text","unknown":1.0 } ] , "isError" : true }"#,
        r#"{"isError":false,"content":[{"type":"image","data":"AAAA","mimeType":"image/png"},{"type":"later","x":[]}]}"#,
        r#"{"content":[{"type":"resource_link","uri":"file:///a","name":"a"}],"_meta":{"com.example/x":-0.0},"later":{}}"#,
        "{\"content\":[{\"type\":\"text\",\"text\":\"é😀\u{2028}\u{feff}\"}]}",
    ] {
        world.write("upstream/result", result);
        session.request("tools/call", r#"{"name":"fixed","arguments":{}}"#);
        let line = session.line();
        assert_eq!(result_in(&line), result, "in {line}");
    }
}

#[test]
fn ids_come_back_as_they_were_written() {
    let world = World::new();
    let mut session = world.session();
    for id in [
        "0",
        "1",
        "-7",
        "9007199254740993",
        "123456789012345678901234567890",
        "\"\"",
        "\"1\"",
        r#""a\u00e9\/b""#,
        "\"é😀\"",
        r#""__proto__""#,
    ] {
        for (method, params) in [("tools/call", r#"{"name":"echo","arguments":{}}"#), ("prompts/list", "{}")]
        {
            session.send(
                format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).as_bytes(),
            );
            let line = session.line();
            assert!(line.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"#)), "{id}: {line}");
        }
    }
}

#[test]
fn the_servers_own_ids_and_the_clients_meta_stay_apart() {
    let world = World::new();
    let mut session = world.session();
    let meta = r#""_meta":{"com.example/secret":"out","progressToken":"mine"}"#;
    let answer = session.ask("tools/call", &format!(r#"{{"name":"echo","arguments":{{}},{meta}}}"#));
    let line = text_of(&answer).unwrap();
    assert!(!line.contains("secret") && !line.contains("mine"), "{line}");
    let received: Value = serde_json::from_str(&line).unwrap();
    assert!(received["id"].is_u64() && received["params"]["_meta"]["progressToken"].is_u64(), "{line}");
    assert_ne!(received["id"], answer["id"]);
    concurrent(&mut session);
}

/// Answers that come out of order find their requests.
fn concurrent(session: &mut Session) {
    let ids: Vec<u64> = (0..50)
        .map(|n| session.request("tools/call", &format!(r#"{{"name":"echo","arguments":{{"n":{n}}}}}"#)))
        .collect();
    for _ in &ids {
        let answer = session.json();
        let line = text_of(&answer).unwrap();
        let n = ids.iter().position(|id| answer["id"] == *id).unwrap();
        assert_eq!(arguments_in(&line), format!(r#"{{"n":{n}}}"#));
    }
}
