//! Input that no client should send: a clear error of the protocol each, and the process goes on serving.
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

use serde_json::{Value, json};
use support::{MODERN, Session, World};

/// Bytes of a line, the expected code, a part of the message, and the id of the answer.
struct Case {
    line: Vec<u8>,
    code: i64,
    says: &'static str,
    id: Value,
}

fn case(line: impl Into<Vec<u8>>, code: i64, says: &'static str, id: impl Into<Value>) -> Case {
    Case { line: line.into(), code, says, id: id.into() }
}

fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth))
}

fn call_with(arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
    )
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#)
}

fn not_json() -> Vec<Case> {
    let null = Value::Null;
    vec![
        case("{nonsense", -32700, "not well-formed JSON", null.clone()),
        case("nonsense", -32700, "not well-formed JSON", null.clone()),
        case(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}}"#, -32700, "not well-formed JSON", null.clone()),
        case(r#"{"jsonrpc":"2.0","id":7,"method":"ping"} {}"#, -32700, "not well-formed JSON", null.clone()),
        case(r#"{"jsonrpc":"2.0","id":7,"method":"ping","#, -32700, "not well-formed JSON", null.clone()),
        case("\u{feff}{}", -32700, "not well-formed JSON", null.clone()),
        case(
            b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"pi\xffng\"}".to_vec(),
            -32700,
            "not UTF-8",
            null.clone(),
        ),
        case(b"\xed\xa0\x80".to_vec(), -32700, "not UTF-8", null.clone()),
        case(call_with(r#"{"a":"\ud83d"}"#), -32700, "not well-formed JSON", 7),
        case(call_with(r#"{"a":1e999}"#), -32700, "not well-formed JSON", 7),
        case(call_with(r#"{"a":01}"#), -32700, "not well-formed JSON", null.clone()),
        case(call_with(r#"{"a":NaN}"#), -32700, "not well-formed JSON", null.clone()),
        case(call_with("{\"a\":\"\u{1}\"}"), -32700, "not well-formed JSON", null),
    ]
}

fn no_message() -> Vec<Case> {
    let null = Value::Null;
    vec![
        case("null", -32600, "a message is a JSON object", null.clone()),
        case("7", -32600, "a message is a JSON object", null.clone()),
        case(r#""ping""#, -32600, "a message is a JSON object", null.clone()),
        case("[]", -32600, "batches are not supported", null.clone()),
        case(
            r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#,
            -32600,
            "batches are not supported",
            null.clone(),
        ),
        case("{}", -32600, "`jsonrpc` must be", null.clone()),
        case(r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32600, "`jsonrpc` must be", 7),
        case(r#"{"jsonrpc":2.0,"id":7,"method":"ping"}"#, -32600, "`jsonrpc` must be", 7),
        case(r#"{"jsonrpc":"2.0","id":7}"#, -32600, "neither request nor notification nor response", 7),
        case(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, "id is malformed", null.clone()),
        case(r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, -32600, "id is malformed", null.clone()),
        case(r#"{"jsonrpc":"2.0","id":[7],"method":"ping"}"#, -32600, "id is malformed", null.clone()),
        case(
            format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(300)),
            -32600,
            "id is malformed",
            null.clone(),
        ),
        case(r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}"#, -32600, "stands twice", null.clone()),
        case(
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"x"}"#,
            -32600,
            "stands twice",
            null.clone(),
        ),
        case(r#"{"jsonrpc":"2.0","id":7,"method":7}"#, -32600, "neither request nor notification", 7),
        case(
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#,
            -32600,
            "neither request nor notification",
            7,
        ),
        case(r#"{"jsonrpc":"2.0","id":7,"method":"ping","extra":1}"#, -32600, "extra", 7),
        case(
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":[1]}"#,
            -32602,
            "must be an object",
            null,
        ),
        case(r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":[]}"#, -32602, "must be an object", 7),
        case(r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":null}"#, -32602, "must be an object", 7),
    ]
}

fn too_much() -> Vec<Case> {
    let big = format!(r#"{{"text":"{}"}}"#, "x".repeat(10 << 20));
    vec![
        case(call_with(&big), -32600, "more than the 4194304 bytes", Value::Null),
        case("x".repeat(10 << 20), -32600, "more than the 4194304 bytes", Value::Null),
        case(call_with(&nested(10_000)), -32600, "nested more than 64 deep", 7),
        case(
            call_with(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))),
            -32600,
            "nested more than 64 deep",
            7,
        ),
        // Not closed, so it is not even JSON; nothing may recurse to find out.
        case(call_with(&"[".repeat(100_000)), -32700, "not well-formed JSON", Value::Null),
        case(request(&"m".repeat(10_000), "{}"), -32600, "", 7),
    ]
}

fn wrong_parameters() -> Vec<Case> {
    vec![
        case(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#, -32602, "lacks `params`", 7),
        case(request("tools/call", "{}"), -32602, "`name`", 7),
        case(request("tools/call", r#"{"name":7}"#), -32602, "`name`", 7),
        case(request("tools/call", r#"{"name":""}"#), -32602, "`name`", 7),
        case(request("tools/call", &format!(r#"{{"name":"{}"}}"#, "n".repeat(5000))), -32602, "`name`", 7),
        case(request("tools/call", r#"{"name":"echo","arguments":[]}"#), -32602, "`arguments`", 7),
        case(request("tools/call", r#"{"name":"echo","arguments":"{}"}"#), -32602, "`arguments`", 7),
        case(request("tools/call", r#"{"name":"echo","arguments":null}"#), -32602, "`arguments`", 7),
        case(request("tools/call", r#"{"name":"echo","task":{"ttl":1}}"#), -32602, "task", 7),
        case(request("tools/call", r#"{"name":"echo","requestState":"x"}"#), -32602, "requestState", 7),
        case(request("tools/call", r#"{"name":"echo","_meta":7}"#), -32602, "_meta", 7),
        case(
            request("tools/call", r#"{"name":"echo","_meta":{"progressToken":{}}}"#),
            -32602,
            "progressToken",
            7,
        ),
        case(request("tools/list", r#"{"cursor":7}"#), -32602, "cursor", 7),
        case(request("tools/list", r#"{"cursor":"made up"}"#), -32602, "not given out", 7),
        case(request("tools/list", r#"{"filter":"x"}"#), -32602, "filter", 7),
        case(request("ping", r#"{"x":1}"#), -32602, "x", 7),
    ]
}

fn not_available() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "prompts/list",
        "prompts/get",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "resources/subscribe",
        "completion/complete",
        "logging/setLevel",
        "tasks/list",
        "tasks/get",
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "tools/Call",
        "tools/call ",
        "x",
        "notifications/initialized",
    ]
    .iter()
    .map(|method| case(request(method, "{}"), -32601, "decision d0", 7))
    .collect();
    let initialize =
        r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#;
    cases.push(case(request("initialize", initialize), -32600, "has been initialized", 7));
    cases.push(case(request("tools/list", &format!("{{{MODERN}}}")), -32600, "other era", 7));
    cases.push(case(request("server/discover", &format!("{{{MODERN}}}")), -32600, "older era", 7));
    cases.push(case(
        request("tools/list", &format!("{{{}}}", MODERN.replace("2026-07-28", "2031-01-01"))),
        -32022,
        "not supported",
        7,
    ));
    cases
}

/// Each line is answered as its case says, and a good call passes after it.
fn check(session: &mut Session, cases: Vec<Case>) {
    for Case { line, code, says, id } in cases {
        let shown: String = String::from_utf8_lossy(&line).chars().take(200).collect();
        session.send(&line);
        let answer = session.json();
        assert_eq!(answer["error"]["code"], code, "{shown}\n{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{shown}\nsays {message}");
        assert!(message.len() < 1000, "{shown}\nis answered with {} bytes", message.len());
        assert_eq!(answer["id"], id, "{shown}\n{answer}");
        assert_eq!(answer["jsonrpc"], "2.0");
        session.passes("echo", r#"{"text":"still here"}"#);
    }
}

#[test]
fn malformed_messages_get_a_clear_error_and_the_process_goes_on() {
    let world = World::new();
    let mut session = world.session();
    for cases in [not_json(), no_message(), too_much(), wrong_parameters()] {
        check(&mut session, cases);
    }
    let (status, stderr) = session.end();
    assert!(status.success(), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    // Nothing of it was a decision, and nothing of it reached the server.
    let methods: std::collections::BTreeSet<String> = world
        .upstream("lines")
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["method"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        methods.into_iter().collect::<Vec<_>>(),
        ["initialize", "notifications/initialized", "tools/call", "tools/list"]
    );
    assert!(world.events("decision").iter().all(|decision| decision["verdict"] == "pass"));
}

#[test]
fn methods_that_are_not_let_through_are_refused_and_recorded() {
    let world = World::new();
    let mut session = world.session();
    let cases = not_available();
    let methods = cases.iter().filter(|case| case.code == -32601).count();
    check(&mut session, cases);
    session.end();
    let refused: Vec<Value> =
        world.events("decision").into_iter().filter(|decision| decision["verdict"] == "deny").collect();
    assert_eq!(refused.len(), methods);
    assert!(
        refused.iter().all(|decision| decision["reasons"][0]["code"] == "method_not_available"),
        "{refused:?}"
    );
    assert!(
        world.upstream("lines").iter().all(|line| !line.contains("prompts") && !line.contains("sampling"))
    );
}

#[test]
fn nothing_is_done_before_the_session_has_begun() {
    let world = World::new();
    let mut session = world.bare_session();
    let early = "begins with `initialize`";
    for (method, params, code, says) in [
        ("tools/list", "{}", -32600, early),
        ("tools/call", r#"{"name":"echo","arguments":{}}"#, -32600, early),
        ("ping", "{}", -32600, early),
        ("prompts/list", "{}", -32600, early),
        ("initialize", "{}", -32602, "protocolVersion"),
        (
            "initialize",
            r#"{"protocolVersion":"1999-01-01","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#,
            -32602,
            "1999-01-01",
        ),
        (
            "initialize",
            r#"{"protocolVersion":"2026-07-28","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#,
            -32602,
            "2026-07-28",
        ),
        (
            "initialize",
            r#"{"protocolVersion":7,"capabilities":{},"clientInfo":{}}"#,
            -32602,
            "protocolVersion",
        ),
        ("initialize", r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#, -32602, "clientInfo"),
        ("server/discover", "{}", -32602, "protocolVersion"),
    ] {
        let answer = session.ask(method, params);
        assert_eq!(answer["error"]["code"], code, "{method} {params}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(says), "{method} {params}: {answer}");
    }
    assert!(world.upstream("lines").is_empty(), "{:?}", world.upstream("lines"));
    session.initialize();
    session.passes("echo", "{}");
}

#[test]
fn an_unknown_version_is_answered_with_those_that_are_known() {
    let world = World::new();
    let mut session = world.bare_session();
    let answer = session.ask(
        "initialize",
        r#"{"protocolVersion":"2","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#,
    );
    let known = json!(["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]);
    assert_eq!(answer["error"]["data"], json!({ "supported": known, "requested": "2" }), "{answer}");
    let answer =
        session.ask("server/discover", &format!("{{{}}}", MODERN.replace("2026-07-28", "2027-01-01")));
    assert_eq!(answer["error"]["code"], -32022);
    assert_eq!(
        answer["error"]["data"],
        json!({ "supported": ["2026-07-28"], "requested": "2027-01-01" }),
        "{answer}"
    );
    let answer = session.ask("server/discover", &format!("{{{MODERN}}}"));
    assert_eq!(answer["result"]["supportedVersions"], json!(["2026-07-28"]), "{answer}");
}

#[test]
fn modern_requests_say_their_version_each_time() {
    let world = World::new();
    let mut session = world.bare_session();
    for (params, code) in [
        (format!("{{{MODERN}}}"), None),
        (r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#.to_owned(), Some(-32602)),
        (r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#.to_owned(), Some(-32602)),
        (format!("{{{}}}", MODERN.replace("2026-07-28", "2025-11-25")), Some(-32022)),
        (format!("{{{}}}", MODERN.replace(":{}}", ":[]}")), Some(-32602)),
        ("{}".to_owned(), Some(-32600)),
        (format!("{{{MODERN}}}"), None),
    ] {
        let answer = session.ask("tools/list", &params);
        match code {
            None => assert!(answer["result"]["tools"].is_array(), "{params}: {answer}"),
            Some(code) => assert_eq!(answer["error"]["code"], code, "{params}: {answer}"),
        }
    }
}

#[test]
fn an_id_in_flight_cannot_be_used_again_until_it_is_answered() {
    let world = World::new();
    world.make_gate();
    let mut session = world.session();
    let slow = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"slow","arguments":{{"id":"s"}}}}}}"#
        )
    };
    session.send(slow("7").as_bytes());
    for line in [slow("7"), r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#.to_owned()] {
        session.send(line.as_bytes());
        let answer = session.json();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32600)), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("still unanswered"), "{answer}");
    }
    // The text "7" is another id than the number 7.
    session.send(
        r#"{"jsonrpc":"2.0","id":"7","method":"tools/call","params":{"name":"echo","arguments":{}}}"#
            .as_bytes(),
    );
    assert_eq!(session.json()["id"], "7");
    world.open_gate();
    let answer = session.json();
    assert_eq!(
        (&answer["id"], support::text_of(&answer).as_deref()),
        (&json!(7), Some("at last")),
        "{answer}"
    );
    session.send(br#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
    assert!(session.json()["result"]["tools"].is_array());
}

#[test]
fn notifications_and_answers_of_the_client_are_never_answered_or_passed_on() {
    let world = World::new();
    let mut session = world.session();
    session.passes("echo", "{}");
    let before = world.upstream("lines").len();
    for line in [
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":424242}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/nonsense","params":{"a":{"b":1}}}"#,
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"perform","arguments":{"id":"x"}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}"#,
        "",
        "   \t ",
    ] {
        session.send(line.as_bytes());
    }
    session.passes("echo", r#"{"text":"the next line is the answer to this"}"#);
    assert_eq!(world.upstream("lines").len(), before + 1, "{:?}", world.upstream("lines"));
    assert!(world.upstream("effects").is_empty(), "a call without an id was made");
}

#[test]
fn a_line_that_was_cut_off_is_not_read() {
    let world = World::new();
    let mut session = world.session();
    let whole = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"perform","arguments":{"id":"x"}}}"#;
    session.send_cut(whole.as_bytes());
    let (status, _) = session.end();
    assert!(status.success());
    assert!(world.upstream("effects").is_empty());
}
