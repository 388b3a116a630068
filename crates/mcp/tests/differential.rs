//! Our framing and our writers, against the model types of `rmcp` as the other opinion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use proptest::prelude::*;
use rmcp::model as other;
use serde_json::{Map, Value, json, value::RawValue};
use warrantor_mcp::{
    Era, Fragment, FrameLimits, Id, Message, Outcome, RpcError,
    capabilities::Capabilities,
    envelope,
    handshake::InitializeResult,
    handshake::{DiscoverResult, Instructions, initialize_request},
    params::InitializeParams,
    refusal::{OutputSchema, Refusal},
    tools::{List, OfferList},
    uses::{Onward, Target, UseParams},
};

/// What `rmcp` makes of a line, the method's payload left as it is.
type Untyped = other::JsonRpcMessage<Map<String, Value>, Map<String, Value>, Map<String, Value>>;

/// The call as the upstream gets it.
fn sent_call(call: &UseParams<'_>, id: u64, progress: Option<u64>) -> Vec<u8> {
    let Target::Tool(named) = &call.target else { panic!("no tool") };
    call.request(id, "tools/call", named.arguments, &Onward { progress, ..Onward::default() })
}

fn value() -> impl Strategy<Value = Value> + Clone {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300f64).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[a-z\"\\\\\n\u{0}\u{2028}/]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> + Clone {
    proptest::collection::btree_map("\\PC{0,8}", value(), 0..6)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

fn id() -> impl Strategy<Value = Value> {
    prop_oneof![any::<i64>().prop_map(Value::from), "\\PC{0,20}".prop_map(Value::from)]
}

fn message() -> impl Strategy<Value = Value> {
    let method = prop_oneof!["[a-z]{1,8}(/[a-z_]{1,8})?", Just("tools/call".to_owned())];
    let params = proptest::option::of(object());
    // `rmcp` drops a `data` of null, one of the losses that it is not used for.
    let data = proptest::option::of(value().prop_filter("null", |data| !data.is_null()));
    let with = |mut message: Value, name: &str, value: Option<Value>| {
        if let Some(value) = value {
            message[name] = value;
        }
        message
    };
    prop_oneof![
        (id(), method.clone(), params.clone()).prop_map(move |(id, method, params)| {
            with(json!({"jsonrpc": "2.0", "id": id, "method": method}), "params", params)
        }),
        (method, params).prop_map(move |(method, params)| {
            with(json!({"jsonrpc": "2.0", "method": method}), "params", params)
        }),
        (id(), object()).prop_map(|(id, result)| json!({"jsonrpc": "2.0", "id": id, "result": result})),
        (id(), any::<i32>(), "\\PC{0,20}", data).prop_map(move |(id, code, text, data)| {
            let error = with(json!({"code": code, "message": text}), "data", data);
            json!({"jsonrpc": "2.0", "id": id, "error": error})
        }),
    ]
}

fn tree(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap()
}

fn id_value(id: &Id<'_>) -> Value {
    serde_json::from_str(id.raw()).unwrap()
}

/// Our reading, in the form of the other's.
fn ours(line: &[u8]) -> Value {
    let call = |method: &str, params: Option<&RawValue>| {
        let mut payload = json!({"method": method});
        if let Some(params) = params {
            payload["params"] = tree(params);
        }
        payload
    };
    match Message::parse(line, &FrameLimits::default()).unwrap() {
        Message::Request { id, method, params } => json!(["request", id_value(&id), call(&method, params)]),
        Message::Notification { method, params } => json!(["notification", call(&method, params)]),
        Message::Response { id, outcome: Outcome::Result(raw) } => {
            json!(["result", id.as_ref().map(id_value), tree(raw)])
        }
        Message::Response { id, outcome: Outcome::Error(raw) } => {
            json!(["error", id.as_ref().map(id_value), tree(raw)])
        }
    }
}

fn theirs(line: &[u8]) -> Value {
    match serde_json::from_slice::<Untyped>(line).unwrap() {
        Untyped::Request(r) => json!(["request", r.id, r.request]),
        Untyped::Notification(n) => json!(["notification", n.notification]),
        Untyped::Response(r) => json!(["result", r.id, r.result]),
        Untyped::Error(e) => json!(["error", e.id, e.error]),
    }
}

/// JSON text in odd but well-formed spellings.
fn spelled() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1.10",
        "1e2",
        "-0",
        "-0.0",
        "12345678901234567890123",
        "1E+5",
        "0.1000000000000000055511151231257827",
        "true",
        "null",
        r#""\u0061""#,
        r#""\/""#,
        r#""/""#,
        r#""\ud83d\ude00""#,
        r#""😀""#,
        r#""\u2028""#,
        "\"\u{2028}\"",
        r#""""#,
        "[]",
        "{ }",
    ])
    .prop_map(str::to_owned);
    let space = prop::sample::select(vec!["", "", " ", "\t", "  "]);
    leaf.prop_recursive(4, 30, 4, move |inner| {
        let list = proptest::collection::vec((space.clone(), inner, space.clone()), 0..4);
        prop_oneof![
            list.clone().prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(a, item, b)| format!("{a}{item}{b}")).collect();
                format!("[{}]", items.join(","))
            }),
            list.prop_map(|items| members(&items)),
        ]
    })
}

fn members(items: &[(&str, String, &str)]) -> String {
    let names = [r#""\u0061""#, r#""b c""#, r#""""#, r#""ä""#];
    let members: Vec<_> =
        items.iter().zip(names).map(|((a, item, b), name)| format!("{a}{name}{b}:{a}{item}{b}")).collect();
    format!("{{{}}}", members.join(","))
}

proptest! {
    #[test]
    fn well_formed_messages_are_read_as_rmcp_reads_them(message in message(), pretty in any::<bool>()) {
        let line = if pretty { serde_json::to_vec_pretty(&message) } else { serde_json::to_vec(&message) }.unwrap();
        prop_assert_eq!(ours(&line), theirs(&line));
    }

    #[test]
    fn arguments_leave_as_the_bytes_that_arrived(items in proptest::collection::vec((Just(" "), spelled(), Just("")), 0..4)) {
        let arguments = members(&items);
        let line = format!(r#"{{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{{"arguments":{arguments},"name":"t"}}}}"#);
        let Message::Request { params, .. } = Message::parse(line.as_bytes(), &FrameLimits::default()).unwrap() else {
            panic!("no request")
        };
        let call = UseParams::parse("tools/call", params).unwrap().unwrap();
        let sent = sent_call(&call, 1, None);
        let wanted = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#
        );
        prop_assert_eq!(String::from_utf8(sent).unwrap(), wanted);
    }

    #[test]
    fn results_return_as_the_bytes_that_arrived_but_for_line_breaks_between_tokens(result in object(), id in id()) {
        let pretty = serde_json::to_string_pretty(&result).unwrap();
        let id = id.to_string();
        let raw: &RawValue = serde_json::from_str(&pretty).unwrap();
        let sent = envelope::result(&Id::read(serde_json::from_str(&id).unwrap()).unwrap(), &Fragment::from(raw));
        prop_assert!(!sent.contains(&b'\n'));
        let wanted = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, pretty.replace('\n', " "));
        prop_assert_eq!(String::from_utf8(sent).unwrap(), wanted);
    }
}

#[test]
fn of_all_sets_of_a_few_members_those_that_we_take_rmcp_takes_and_reads_alike() {
    let pool = [
        r#""jsonrpc":"2.0""#,
        r#""jsonrpc":2.0"#,
        r#""id":1"#,
        r#""id":"\u0061""#,
        r#""id":null"#,
        r#""id":1.5"#,
        r#""method":"m""#,
        r#""m\u0065thod":"n""#,
        r#""method":1"#,
        r#""params":{"a":1}"#,
        r#""params":[]"#,
        r#""result":{}"#,
        r#""result":1"#,
        r#""error":{"code":1,"message":"m"}"#,
        r#""error":{}"#,
        r#""other":1"#,
    ];
    let mut taken = 0;
    for set in 0u32..1 << pool.len() {
        if set.count_ones() > 5 {
            continue;
        }
        let members: Vec<_> =
            pool.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, m)| *m).collect();
        let line = format!("{{{}}}", members.join(","));
        if Message::parse(line.as_bytes(), &FrameLimits::default()).is_ok() {
            taken += 1;
            assert_eq!(ours(line.as_bytes()), theirs(line.as_bytes()), "{line}");
        }
    }
    // Two spellings of a method, each with three kinds of id (none, two given) and with or without parameters; a result under
    // two ids; an error under these, under null, and under none.
    assert_eq!(taken, 2 * 3 * 2 + 2 + 4);
}

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn client_request(line: &[u8]) -> other::ClientRequest {
    match serde_json::from_slice::<other::ClientJsonRpcMessage>(line).unwrap() {
        other::ClientJsonRpcMessage::Request(request) => request.request,
        message => panic!("{message:?} is no request"),
    }
}

#[test]
fn rmcp_reads_the_tool_calls_that_we_write() {
    let params = raw(r#"{"name":"send","arguments":{"amount":12.5},"_meta":{"progressToken":"t",
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}}"#);
    let call = UseParams::parse("tools/call", Some(params)).unwrap().unwrap();
    let line = sent_call(&call, 4, Some(9));
    let other::ClientRequest::CallToolRequest(read) = client_request(&line) else { panic!("no tool call") };
    assert_eq!(read.params.name, "send");
    assert_eq!(read.params.arguments, json!({"amount": 12.5}).as_object().cloned());
}

#[test]
fn rmcp_reads_the_opening_that_we_write() {
    let params = raw(
        r#"{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}},"clientInfo":{"name":"c","version":"1"}}"#,
    );
    let line =
        initialize_request(1, &InitializeParams::parse(Some(params)).unwrap(), Capabilities::default());
    let other::ClientRequest::InitializeRequest(read) = client_request(&line) else {
        panic!("no initialize")
    };
    assert_eq!((read.params.capabilities, read.params.client_info.name.as_str()), (Default::default(), "c"));

    let result =
        raw(r#"{"protocolVersion":"2025-11-25","capabilities":{"prompts":{},"tools":{"listChanged":true}},
        "serverInfo":{"name":"s","version":"1"},"instructions":"i"}"#);
    let sent = InitializeResult::parse(result).unwrap().to_client(Instructions::Pinned, &["tools"]);
    let read: other::InitializeResult = serde_json::from_str(sent.as_str()).unwrap();
    assert!(read.capabilities.tools.is_some() && read.capabilities.prompts.is_none());
    assert_eq!((read.server_info.name.as_str(), read.instructions.as_deref()), ("s", Some("i")));
}

#[test]
fn rmcp_reads_the_discovery_and_the_lists_that_we_write() {
    let result = raw(
        r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":5,
        "cacheScope":"public"}"#,
    );
    let sent = DiscoverResult::parse(result).unwrap().to_client(Instructions::Withheld, &["tools"]);
    let read: other::DiscoverResult = serde_json::from_str(sent.as_str()).unwrap();
    assert_eq!((read.ttl_ms, read.cache_scope), (5, other::CacheScope::Private));

    let page = raw(
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"b","inputSchema":{"type":"object"}}],"ttlMs":5}"#,
    );
    let sent = OfferList::parse(List::Tools, page)
        .unwrap()
        .filtered(Era::Modern, |tool| (tool.name == "b").then(|| Fragment::from(tool.raw)));
    let read: other::ListToolsResult = serde_json::from_str(sent.as_str()).unwrap();
    assert_eq!(read.tools.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(read.cache_scope, Some(other::CacheScope::Private));
}

#[test]
fn rmcp_reads_refusals_and_errors_that_we_write() {
    let refusal = Refusal { decision: "d", reason: "r", sentence: "S.", next_step: "none" };
    for (era, schema) in [(Era::Legacy, OutputSchema::None), (Era::Modern, OutputSchema::Declared)] {
        let read: other::CallToolResult =
            serde_json::from_str(refusal.to_result(era, schema).as_str()).unwrap();
        assert_eq!((read.is_error, read.content.len()), (Some(true), 1));
        assert_eq!(read.structured_content.is_some(), schema == OutputSchema::None);
    }
    let line = envelope::error(None, &RpcError::new(-32700, "m"));
    let Untyped::Error(read) = serde_json::from_slice(&line).unwrap() else { panic!("no error") };
    assert_eq!((read.error.code.0, read.id), (-32700, None));
}
