//! What an attacker or bad luck tries on a gateway in front of a real server: it stays up, nothing gets through, and the record agrees.

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::{
    behind, behind_for, everything, fixture,
    support::{
        http::{Client, Gateway, LEGACY},
        reason_of,
    },
    world,
};

/// Listens in the newer era, so many times over.
const STREAMS: usize = 2000;
/// Connections of one caller that each want a stream.
const FLOOD: usize = 10_000;

fn client(gateway: &Gateway, path: &str) -> Client {
    let mut client = gateway.client("suite");
    client.path = path.to_owned();
    client
}

fn reads(_: &Value) -> Vec<Value> {
    vec![json!({ "effects": ["read"], "servers": ["fixture"] })]
}

/// Sends a modern request without waiting for its answer.
fn send(client: &mut Client, method: &str, params: &Value) {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let headers =
        [LEGACY.as_slice(), &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]].concat();
    client.send("POST", &headers, &body);
}

#[test]
fn a_tool_of_the_same_name_at_another_server_and_names_that_look_alike_are_other_tools() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(fixture::serve());
    let world = world(reads);
    crate::with_twin(&world);
    let servers =
        ["fixture", "twin"].map(|name| format!("[servers.{name}]\nurl = \"http://{server}/mcp\"\n")).concat();
    let mut gateway = Gateway::start(&world, &[("suite", "bot", &["work"])], &servers);
    let mut own = client(&gateway, "/fixture");
    own.initialize();
    assert!(own.call("test_simple_text", "{}")["result"]["content"].is_array());
    let mut twin = client(&gateway, "/twin");
    twin.initialize();
    assert_eq!(reason_of(&twin.call("test_simple_text", "{}")).as_deref(), Some("tool_not_available"));
    twin.request("tools/list", "{}");
    assert_eq!(twin.response().json()["result"]["tools"], json!([]));
    for alike in [
        "test_simple_te\u{445}t",
        "test_simple_text\u{200b}",
        "TEST_SIMPLE_TEXT",
        "test_simple_text ",
        "fixture/test_simple_text",
    ] {
        let answer = own.call(alike, "{}");
        assert_eq!(reason_of(&answer).as_deref(), Some("tool_not_available"), "{alike:?}: {answer}");
    }
    assert!(gateway.stop().success());
    let passes = world.events("decision").iter().filter(|decision| decision["verdict"] == "pass").count();
    assert_eq!(passes, 1);
    world.verified();
}

#[test]
fn bytes_that_could_be_two_requests_are_one_or_none() {
    let (_runtime, world, mut gateway) = behind(reads, "");
    let call = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": { "name": "test_simple_text" } }).to_string();
    let smuggled = format!(
        "POST /fixture HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: */*\r\ncontent-length: {}\r\n\r\n{call}",
        gateway.address,
        call.len()
    );
    let head = format!(
        "POST /fixture HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n",
        gateway.address,
        gateway.token("suite")
    );
    for framing in [
        format!(
            "content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
            smuggled.len() + 5
        ),
        format!("content-length: 0\r\ncontent-length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("content-length: +0\r\n\r\n{smuggled}"),
    ] {
        let mut client = client(&gateway, "/fixture");
        client.raw(format!("{head}{framing}").as_bytes());
        let mut said = Vec::new();
        // Whatever is made of it, it ends, and what had no token of its own is refused.
        let _ = std::io::Read::take(client.stream(), 4096).read_until_refused(&mut said);
        let text = String::from_utf8_lossy(&said);
        assert!(!text.contains("simple text response"), "{framing:?}: {text}");
    }
    let mut after = client(&gateway, "/fixture");
    after.initialize();
    assert!(after.call("test_simple_text", "{}")["result"]["content"].is_array());
    assert!(gateway.stop().success());
    assert_eq!(world.events("decision").iter().filter(|d| d["verdict"] == "pass").count(), 1);
}

/// Reads responses until one refuses, or the other side ends.
trait ReadUntilRefused {
    fn read_until_refused(self, into: &mut Vec<u8>) -> std::io::Result<()>;
}

impl<R: std::io::Read> ReadUntilRefused for R {
    fn read_until_refused(mut self, into: &mut Vec<u8>) -> std::io::Result<()> {
        let mut chunk = [0; 1024];
        loop {
            let count = self.read(&mut chunk)?;
            into.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(into);
            if count == 0 || text.contains(" 401 ") || text.contains(" 400 ") {
                return Ok(());
            }
        }
    }
}

/// [`FLOOD`], or as many files as this system lets a process open.
fn flood() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let most =
        limit.maximum.map_or(FLOOD, |most| usize::try_from(most).unwrap_or(FLOOD).saturating_sub(1000));
    if most < FLOOD {
        eprintln!("this system lets a process open {most} files: no more connections are tried");
    }
    FLOOD.min(most)
}

#[test]
fn ten_thousand_connections_of_one_caller_get_its_share_and_leave_the_others_theirs() {
    let (_runtime, world, mut gateway) = behind_for(reads, "", &["suite", "flood"]);
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let mut others = client(&gateway, "/fixture");
    others.initialize();
    let mut held: Vec<Client> = Vec::new();
    for nth in 0..flood() {
        let mut flooding = gateway.client("flood");
        flooding.path = "/fixture".to_owned();
        send(&mut flooding, "subscriptions/listen", &wanted);
        held.push(flooding);
        if nth % 2500 == 2499 {
            assert!(others.call("test_simple_text", "{}")["result"]["content"].is_array());
        }
    }
    let (mut streams, mut refused) = (0, 0);
    for flooding in &mut held {
        match flooding.head() {
            head if head.is_stream() => streams += 1,
            head if head.status == 429 => refused += 1,
            head => panic!("{head:?}"),
        }
    }
    // So many requests under way a token may have, when nothing else is said.
    assert!(streams > 0 && streams <= 256, "{streams} streams, {refused} refused");
    assert!(others.call("test_simple_text", "{}")["result"]["content"].is_array());
    drop(held);
    for () in crate::patiently() {
        let mut again = gateway.client("flood");
        again.path = "/fixture".to_owned();
        send(&mut again, "subscriptions/listen", &wanted);
        if again.head().is_stream() {
            break;
        }
    }
    assert!(gateway.is_running() && gateway.stop().success());
    world.verified();
}

#[test]
fn thousands_of_idle_streams_leave_the_gateway_answering_and_their_places_come_back() {
    let limits = "metrics = \"127.0.0.1:0\"\n[limits]\nrequests = 100000\nrequests_per_second = 100000\n";
    let (_runtime, world, mut gateway) = behind(reads, limits);
    let wanted = json!({ "notifications": { "toolsListChanged": true } });
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut listener = client(&gateway, "/fixture");
        send(&mut listener, "subscriptions/listen", &wanted);
        streams.push(listener);
    }
    for listener in &mut streams {
        assert!(listener.head().is_stream());
        let (_, first) = listener.event().unwrap();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    }
    let mut other = client(&gateway, "/fixture");
    other.initialize();
    assert!(other.call("test_simple_text", "{}")["result"]["content"].is_array());
    drop(streams);
    assert!(other.call("test_simple_text", "{}")["result"]["content"].is_array());
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    world.verified();
}

#[test]
fn a_gateway_that_is_killed_under_load_loses_nothing_that_it_answered() {
    let (_runtime, world, mut gateway) = behind(everything, "");
    let config = fs::read_to_string(world.path("gateway.toml")).unwrap();
    let more = config.split_once("listen = \"127.0.0.1:0\"\n").unwrap().1.to_owned();
    let answered = AtomicUsize::new(0);
    for round in 1..=3_usize {
        thread::scope(|scope| {
            for _ in 0..4 {
                let mut client = client(&gateway, "/fixture");
                client.initialize();
                let answered = &answered;
                scope.spawn(move || {
                    // Ends when the gateway is killed: then there is no answer any more.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        loop {
                            let answer = client.call("test_simple_text", "{}");
                            assert!(answer["result"]["content"].is_array(), "{answer}");
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                    }));
                });
            }
            while answered.load(Ordering::SeqCst) < round * 100 {
                thread::yield_now();
            }
            gateway.kill();
        });
        gateway = Gateway::start(&world, &[("suite", "bot", &["work"])], &more);
    }
    let ended = gateway.stop();
    assert!(ended.success(), "{ended}: {}", gateway.stderr());
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in world.events("outcome") {
        *outcomes.entry(outcome["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let answered = answered.load(Ordering::SeqCst);
    assert!(outcomes["succeeded"] >= answered, "{answered} answers, and {outcomes:?}");
    let passes = world.events("decision").iter().filter(|decision| decision["verdict"] == "pass").count();
    assert!(passes >= outcomes["succeeded"], "{passes} passes, and {outcomes:?}");
    world.verified();
}
