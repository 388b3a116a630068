use proptest::prelude::*;

use super::*;

fn parse(line: &[u8]) -> Result<Message<'_>, FrameError> {
    Message::parse(line, &FrameLimits::default())
}

/// The answer's code and id, of a line that must be refused.
fn refused(line: &[u8]) -> (i64, String) {
    let error = parse(line).expect_err("was taken");
    let answer: serde_json::Value = serde_json::from_slice(&error.to_response()).unwrap();
    assert_eq!(answer["jsonrpc"], "2.0");
    (answer["error"]["code"].as_i64().unwrap(), answer["id"].to_string())
}

/// A message on one line, for comparing.
fn told(line: &str) -> String {
    let raw = |params: Option<&RawValue>| params.map_or("-".to_owned(), |p| p.get().to_owned());
    match parse(line.as_bytes()) {
        Ok(Message::Request { id, method, params }) => {
            format!("request {} {method} {}", id.raw(), raw(params))
        }
        Ok(Message::Notification { method, params }) => format!("notification {method} {}", raw(params)),
        Ok(Message::Response { id, outcome }) => {
            let id = id.as_ref().map_or("-", |id| id.raw());
            match outcome {
                Outcome::Result(raw) => format!("result {id} {}", raw.get()),
                Outcome::Error(raw) => format!("error {id} {}", raw.get()),
            }
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn messages_are_told_apart_and_their_parts_kept_as_written() {
    for (line, wanted) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request 1 ping -"),
        (
            r#" { "method" : "p\u0069ng" , "id" : "\u0061" , "jsonrpc" : "\u0032.0" } "#,
            r#"request "\u0061" ping -"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":12345678901234567890123,"method":"m","params":{"a": 1.10,"b":[1e2 ,-0.0],"\u0063":"\/"}}"#,
            r#"request 12345678901234567890123 m {"a": 1.10,"b":[1e2 ,-0.0],"\u0063":"\/"}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"m","params":{"x":{"method":1}}}"#,
            r#"notification m {"x":{"method":1}}"#,
        ),
        (r#"{"jsonrpc":"2.0","id":7,"result":{"unknown":1.0}}"#, r#"result 7 {"unknown":1.0}"#),
        (
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"m","data":[1.10]}}"#,
            r#"error "x" {"code":-32601,"message":"m","data":[1.10]}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
            r#"error - {"code":1,"message":""}"#,
        ),
        (r#"{"jsonrpc":"2.0","error":{"code":1,"message":""}}"#, r#"error - {"code":1,"message":""}"#),
    ] {
        assert_eq!(told(line), wanted);
    }
}

#[test]
fn what_is_no_message_is_answered_with_its_code_and_the_id_if_it_could_be_told() {
    for (line, code, id) in [
        // Not JSON.
        ("", -32700, "null"),
        ("   ", -32700, "null"),
        ("{", -32700, "null"),
        ("nonsense", -32700, "null"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m"} {}"#, -32700, "null"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m",}"#, -32700, "null"),
        ("\u{feff}{}", -32700, "null"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\ud800"}}"#, -32700, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"\udfff":1}}"#, -32700, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e999}}"#, -32700, "1"),
        // JSON, but no message.
        ("[]", -32600, "null"),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"m"}]"#, -32600, "null"),
        ("1", -32600, "null"),
        ("null", -32600, "null"),
        ("{}", -32600, "null"),
        (r#"{"id":1,"method":"m"}"#, -32600, "1"),
        (r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, -32600, "1"),
        (r#"{"jsonrpc":2.0,"id":1,"method":"m"}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"m"}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","id":[],"method":"m"}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","id":"a","method":7}"#, -32600, "\"a\""),
        (r#"{"jsonrpc":"2.0","id":"a","method":""}"#, -32600, "\"a\""),
        (r#"{"jsonrpc":"2.0","id":"a"}"#, -32600, "\"a\""),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","result":{}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","result":{}}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","trace":1}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","Params":{}}"#, -32600, "1"),
        // Twice.
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#, -32600, "null"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"\u0061":2}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":[{"y":{"a":1,"a":1}}]}}"#, -32600, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":1}}"#, -32600, "1"),
        // Parameters.
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#, -32602, "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#, -32602, "1"),
        (r#"{"jsonrpc":"2.0","id":"\u0031","method":"m","params":"{}"}"#, -32602, "\"1\""),
    ] {
        assert_eq!(refused(line.as_bytes()), (code, id.to_owned()), "{line}");
    }
}

#[test]
fn a_batch_has_a_fault_of_its_own() {
    assert_eq!(*parse(b" [1,2] ").unwrap_err().fault(), FrameFault::Batch);
    assert!(matches!(parse(b"[1,2").unwrap_err().fault(), FrameFault::Syntax { .. }));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_wherever_they_stand() {
    for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"] {
        let line = [br#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":""#, bad, br#""}}"#].concat();
        assert_eq!(refused(&line), (-32700, "null".into()));
        assert!(matches!(parse(&line).unwrap_err().fault(), FrameFault::NotUtf8 { valid: 52 }));
    }
}

#[test]
fn a_raw_line_break_within_a_string_is_no_json() {
    for line in [
        "{\"jsonrpc\":\"2.0\",\"method\":\"a\nb\"}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":{\"x\":\"\r\"}}",
    ] {
        assert_eq!(refused(line.as_bytes()).0, -32700);
    }
}

fn nested(depth: usize, open: &str, close: &str) -> Vec<u8> {
    let (open, close) = (open.repeat(depth), close.repeat(depth));
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{open}0{close}}}}}"#).into_bytes()
}

#[test]
fn nesting_is_bounded_before_anything_recurses() {
    // The message and its parameters are two levels.
    assert!(parse(&nested(62, "[", "]")).is_ok());
    for (depth, open, close) in
        [(63, "[", "]"), (10_000, "[", "]"), (10_000, r#"{"a":"#, "}"), (1_000_000, "[", "]")]
    {
        let line = nested(depth, open, close);
        assert_eq!(*parse(&line).unwrap_err().fault(), FrameFault::TooDeep { bound: 64 });
        assert_eq!(refused(&line), (-32600, "1".into()), "{depth}");
    }
    // Never closed, so not even JSON.
    assert_eq!(refused("[".repeat(1_000_000).as_bytes()).0, -32700);
    assert_eq!(refused(r#"{"a":"#.repeat(10_000).as_bytes()).0, -32700);
}

#[test]
fn the_bounds_are_the_caller_s_but_never_above_what_the_model_reads() {
    let limits = FrameLimits::default().with_depth(1000).with_bytes(60);
    assert_eq!((limits.bytes(), limits.depth()), (60, json::MAX_DEPTH));
    let flat = br#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[]}}"#;
    assert!(Message::parse(flat, &limits).is_ok());
    assert_eq!(
        *Message::parse(flat, &limits.with_depth(2)).unwrap_err().fault(),
        FrameFault::TooDeep { bound: 2 }
    );
    assert_eq!(
        *Message::parse(flat, &limits.with_bytes(50)).unwrap_err().fault(),
        FrameFault::TooLarge { bytes: flat.len(), bound: 50 }
    );
}

#[test]
fn ten_megabytes_are_refused_by_default_and_read_under_a_higher_bound() {
    let line =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":"{}"}}}}"#, "x".repeat(10 << 20));
    assert_eq!(refused(line.as_bytes()), (-32600, "null".into()));
    assert!(Message::parse(line.as_bytes(), &FrameLimits::default().with_bytes(11 << 20)).is_ok());
}

#[test]
fn an_id_or_method_over_its_bound_is_refused() {
    let id = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"m"}}"#, "x".repeat(255));
    assert_eq!(refused(id.as_bytes()), (-32600, "null".into()));
    let method = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "x".repeat(129));
    assert_eq!(refused(method.as_bytes()), (-32600, "1".into()));
}

proptest! {
    #[test]
    fn parsing_never_panics_and_every_refusal_can_be_answered(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Err(error) = parse(&line) {
            let answer = error.to_response();
            prop_assert!(!answer.contains(&b'\n'));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&answer).is_ok());
        }
    }

    #[test]
    fn parsing_never_panics_on_what_nearly_is_a_message(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0061", "\\ud83d", "\"jsonrpc\":\"2.0\"", "\"id\":1", "\"id\":\"a\"",
            "\"method\":\"tools/call\"", "\"params\":{", "\"result\":{}", "\"error\":{\"code\":1,\"message\":\"\"}", "1.10", "null",
            "\n", " ", "é",
        ]), 0..40),
    ) {
        let line = parts.concat();
        if let Err(error) = parse(line.as_bytes()) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&error.to_response()).is_ok());
        }
    }
}
