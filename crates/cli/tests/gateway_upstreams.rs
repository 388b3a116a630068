//! `warrantor gateway` before servers on HTTP: the official SDK on both sides, and servers that fail in every way.
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

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use support::{
    World, draft_digest, fixture,
    http::{Caller, Gateway},
    python, run, script, text_of,
};

const BOT: Caller<'static> = ("laptop", "bot", &["work"]);

/// A server of the SDK that runs.
struct SdkServer {
    child: Child,
    port: u16,
}

impl SdkServer {
    fn start() -> Self {
        let mut child =
            Command::new(python()).arg(script("http_server.py")).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().expect("the server said no port") }
    }
}

impl Drop for SdkServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A world whose server is the SDK's.
fn sdk_world() -> World {
    let world = World::new();
    let listed = run(Command::new(python()).arg(script("http_server.py")).arg("tools")).stdout;
    fs::write(world.path("bundle/tools/fake.tools.json"), &listed).unwrap();
    let digest = draft_digest(&world.path("bundle/tools/fake.tools.json"));
    let manifest = format!(
        "server: fake\ndefinitions: fake.tools.json\ndigest: {digest}\ntools:\n  greet: {{ effects: [read] }}\n  count: {{ effects: [read] }}\n  fail: {{ effects: [read] }}\n"
    );
    world.write("bundle/tools/fake.yaml", &manifest);
    world.write(
        "bundle/mandates/work.yaml",
        "id: work\nperson: alice\nagent: bot\npurpose: tests\nrequest: \"Greet.\"\nexpires_in: 1h\ngrants:\n  - tool: fake/greet\n    arguments: { name: { in: [Ann, Bob] } }\n  - tool: fake/count\n  - tool: fake/fail\n",
    );
    world
}

#[test]
fn the_official_sdk_reaches_its_own_server_through_the_gateway_in_both_eras() {
    let world = sdk_world();
    let server = SdkServer::start();
    let mut gateway = Gateway::start(
        &world,
        &[BOT],
        &format!("[servers.fake]\nurl = \"http://127.0.0.1:{}/mcp\"\n", server.port),
    );
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let order = json!({
            "url": format!("http://{}/fake", gateway.address), "token": gateway.token("laptop"), "mode": mode,
            "steps": [["list"], ["call", "greet", {"name": "Ann"}], ["call", "greet", {"name": "Eve"}],
                      ["call", "count", {"to": 3}], ["call", "fail", {}], ["call", "nothing", {}]],
        });
        let mut client = Command::new(python())
            .arg(script("client.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        client.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        assert!(output.status.success(), "{mode}: {}", gateway.stderr());
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let steps = said["steps"].as_array().unwrap();
        assert_eq!(said["version"], version, "{said}");
        let names: Vec<&str> =
            steps[0]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["greet", "count", "fail"], "{mode}");
        let texts: Vec<&str> =
            steps[1..].iter().map(|step| step["content"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(texts[0], "Hello, Ann", "{mode}");
        assert!(texts[1].contains("argument_out_of_bounds"), "{mode}: {texts:?}");
        assert_eq!(texts[2], "counted to 3", "{mode}");
        assert!(texts[3].contains("Error executing tool fail"), "{mode}: {texts:?}");
        assert!(texts[4].contains("tool_not_available"), "{mode}: {texts:?}");
        assert_eq!(said["progress"], json!([[0.0, 3.0, null], [1.0, 3.0, null], [2.0, 3.0, null]]), "{mode}");
    }
    assert!(gateway.stop().success());
    let outcomes: Vec<Value> =
        world.events("outcome").iter().map(|outcome| outcome["outcome"].clone()).collect();
    assert_eq!(outcomes, ["succeeded", "succeeded", "failed", "succeeded", "succeeded", "failed"]);
    world.verified();
}

/// A server on HTTP that answers a call as its argument `text` says, and everything else as it should.
struct Scripted {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Scripted {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || converse(stream, &heard));
            }
        });
        Self { address, asked }
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|(_, message)| message["method"] == "tools/call").count()
    }
}

fn whole(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn converse(mut stream: TcpStream, heard: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut length) = (String::new(), 0usize);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let message: Value = serde_json::from_slice(&body).unwrap_or_default();
        heard.lock().unwrap().push((head.clone(), message.clone()));
        let id = &message["id"];
        let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string();
        let answer = match message["method"].as_str() {
            Some("initialize") => {
                let told = result(
                    json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": { "name": "s", "version": "1" } }),
                );
                whole("application/json\r\nmcp-session-id: s1", &told)
            }
            Some("tools/list") => {
                let tools: Value = serde_json::from_str(&fixture("tools.json")).unwrap();
                whole("application/json", &result(tools))
            }
            Some("tools/call") => {
                call(&message, &result(json!({ "content": [{ "type": "text", "text": "the answer" }] })))
            }
            _ if head.starts_with("GET") => "HTTP/1.1 405 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).is_err()
            || answer.is_empty()
            || answer.contains("connection: close")
        {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// What a call is answered with, by its argument.
fn call(message: &Value, right: &str) -> String {
    let events = |body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
    };
    let others = right.replacen(&format!("\"id\":{}", message["id"]), "\"id\":9999", 1);
    let asks = r#"{"jsonrpc":"2.0","id":"mine","method":"sampling/createMessage","params":{"secret":true}}"#;
    match message["params"]["arguments"]["text"].as_str().unwrap() {
        "json" => whole("application/json; charset=utf-8", right),
        "stream" => events(&format!(": hello\n\nevent: message\ndata: {right}\n\n")),
        "lines" => events(&format!("data: {}\n\n", right.replace(',', ",\ndata: "))),
        "asks" => events(&format!("data: {asks}\n\ndata: {right}\n\n")),
        "twice" => events(&format!("data: {right}\n\ndata: {right}\n\n")),
        "others" => events(&format!("data: {others}\n\n")),
        "others first" => events(&format!("data: {others}\n\ndata: {right}\n\n")),
        "garbage" => whole("application/json", "{\"jsonrpc\":\"2.0\",\"id\":1,"),
        "injected" => events("data: {\"jsonrpc\":\"2.0\"}\n\ndata: not json\n\n"),
        "html" => whole("text/html", "<h1>Welcome</h1>"),
        "hangs up" => String::new(),
        "cut" => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\nconnection: close\r\n\r\n{\"jsonrpc\"".to_owned(),
        "cut stream" => events(&format!("data: {}", right.split_at(20).0)),
        "fault" => "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "refused" => "HTTP/1.1 401 No\r\nwww-authenticate: Bearer\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "redirect" => "HTTP/1.1 307 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "error" => {
            let error = json!({ "jsonrpc": "2.0", "id": message["id"], "error": { "code": -32000, "message": "no" } });
            let text = error.to_string();
            format!("HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        }
        "bomb" => whole("application/json", &format!("{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"content\":[],\"x\":\"{}\"}}}}", message["id"], "x".repeat(200_000))),
        other => panic!("{other}"),
    }
}

/// Whatever a server does, the client gets an answer, the ledger an outcome, and nothing of another's or of what was asked gets through.
#[test]
fn servers_that_fail_leave_an_answer_and_an_outcome() {
    let world = World::new();
    world.write("bundle/warrantor.toml", "[servers.fake]\nmax_result_bytes = 100000\n");
    let server = Scripted::start();
    let mut gateway = Gateway::start(
        &world,
        &[BOT],
        &format!("[servers.fake]\nurl = \"http://{}/mcp\"\nheaders = {{ Authorization = {{ env = \"SECRET\" }} }}\n", server.address)
            .replace("{ env = \"SECRET\" }", "\"Bearer upstream-secret\""),
    );
    let mut client = gateway.session("laptop");
    let cases = [
        ("json", "the answer", "succeeded"),
        ("stream", "the answer", "succeeded"),
        ("lines", "the answer", "succeeded"),
        ("asks", "the answer", "succeeded"),
        ("twice", "the answer", "succeeded"),
        ("others first", "the answer", "succeeded"),
        ("others", "ended before it answered", "unknown"),
        ("garbage", "withheld", "withheld"),
        ("injected", "withheld", "withheld"),
        ("html", "neither JSON nor a stream", "unknown"),
        ("hangs up", "ended before it answered", "unknown"),
        ("cut", "ended before it answered", "unknown"),
        ("cut stream", "ended before it answered", "unknown"),
        ("fault", "500", "unknown"),
        ("refused", "credential", "unknown"),
        ("redirect", "307", "unknown"),
        ("error", "no", "refused"),
        ("bomb", "more than 100000 bytes", "unknown"),
    ];
    for (text, part, _) in cases {
        let before = server.calls();
        let answer = client.call("echo", &json!({ "text": text }).to_string());
        let said = text_of(&answer).unwrap_or_else(|| answer["error"]["message"].to_string());
        assert!(said.contains(part), "{text}: {answer}");
        assert!(!answer.to_string().contains("secret"), "{text}: {answer}");
        assert_eq!(server.calls(), before + 1, "{text}: it was sent again");
    }
    assert!(gateway.stop().success());
    let outcomes: Vec<Value> =
        world.events("outcome").iter().map(|outcome| outcome["outcome"].clone()).collect();
    assert_eq!(outcomes, cases.map(|case| case.2));
    world.verified();
    let asked = server.asked.lock().unwrap();
    let refused =
        asked.iter().find(|(_, message)| message["id"] == "mine").expect("its request was not answered");
    assert_eq!(refused.1["error"]["code"], -32601, "{refused:?}");
    let heads: Vec<&String> = asked.iter().map(|(head, _)| head).collect();
    assert!(heads.iter().all(|head| head.contains("authorization: Bearer upstream-secret")), "{heads:?}");
    assert!(heads[1..].iter().all(|head| head.contains("mcp-session-id: s1")), "{heads:?}");
    assert!(!heads.iter().any(|head| head.contains(gateway.token("laptop"))), "the caller's token left");
    assert!(heads.last().unwrap().starts_with("DELETE"), "the session was not ended: {heads:?}");
}

#[test]
fn a_server_that_is_not_there_costs_nothing() {
    let world = World::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&world, &[BOT], &format!("[servers.fake]\nurl = \"http://{nobody}/mcp\"\n"));
    let mut client = gateway.client("laptop");
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let response = client.ask("POST", &support::http::LEGACY, body);
    assert!(response.body.contains("not running"), "{response:?}");
    assert!(!response.headers.contains_key("mcp-session-id"), "{response:?}");
    assert!(world.events("outcome").is_empty());
}

/// A command about sealed secrets, with what it is given on standard input.
fn secret(world: &World, words: &[&str], given: &str) -> (i32, String) {
    let mut command = support::warrantor();
    command.arg("secret").args(words).args(["-o", "json"]).current_dir(world.path(""));
    let mut child = command
        .env("THE_KEY", "11".repeat(32))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code().unwrap(), said)
}

#[test]
fn a_sealed_credential_reaches_the_server_and_stands_nowhere_else() {
    const SECRET: &str = "Bearer of-the-bank-alone";
    let world = World::new();
    let server = Scripted::start();
    let place = ["--store", "secrets.json", "--key-file", "secrets.key"];
    let with = |words: &[&'static str]| [words, place.as_slice()].concat();
    assert_eq!(secret(&world, &["key", "--file", "secrets.key"], "").0, 0);
    // A key is made once.
    assert_ne!(secret(&world, &["key", "--file", "secrets.key"], "").0, 0);
    let (code, said) = secret(&world, &with(&["put", "bank"]), &format!("{SECRET}\n"));
    assert!(code == 0 && !said.contains("of-the-bank"), "{said}");
    let (_, listed) = secret(&world, &with(&["list"]), "");
    assert!(listed.contains("\"bank\"") && !listed.contains("of-the-bank"), "{listed}");
    assert!(!std::fs::read_to_string(world.path("secrets.json")).unwrap().contains("of-the-bank"));
    let config = |secrets: &str| {
        format!(
            "{secrets}[servers.fake]\nurl = \"http://{}/mcp\"\nheaders = {{ Authorization = {{ sealed = \"bank\" }} }}\n",
            server.address
        )
    };
    let by_file = config("[secrets]\nfile = \"secrets.json\"\nkey_file = \"secrets.key\"\n");
    let mut gateway = Gateway::start(&world, &[BOT], &by_file);
    let mut client = gateway.session("laptop");
    let answered = client.call("echo", r#"{"text":"json"}"#);
    assert!(text_of(&answered).unwrap().contains("the answer"), "{answered}");
    let heads: Vec<String> =
        server.asked.lock().unwrap().iter().map(|(head, _)| head.to_ascii_lowercase()).collect();
    let header = format!("authorization: {SECRET}").to_ascii_lowercase();
    assert!(heads.iter().all(|head| head.contains(&header)), "{heads:?}");
    // Another one is put on once it was read, and what used the old one has ended.
    assert_eq!(secret(&world, &with(&["put", "bank"]), "Bearer of-the-bank-alone too").0, 0);
    gateway.reread();
    client.request("tools/list", "{}");
    assert_eq!(client.response().status, 404, "a session goes on that had another credential");
    let answered = gateway.session("laptop").call("echo", r#"{"text":"json"}"#);
    assert!(text_of(&answered).unwrap().contains("the answer"), "{answered}");
    let asked = server.asked.lock().unwrap().clone();
    let (head, _) = asked.iter().rfind(|(_, message)| message["method"] == "tools/call").unwrap();
    assert!(head.to_ascii_lowercase().contains(&format!("{header} too\r\n")), "{head}");
    assert!(gateway.stop().success());
    // Not with the agent, not in the log, not in a record, not in any file of ours.
    assert!(!gateway.stderr().contains("of-the-bank"));
    assert!(!world.records().iter().any(|record| record.to_string().contains("of-the-bank")));
    let mut left = vec![world.path("")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(11).any(|window| window == b"of-the-bank"), "{}", path.display());
        }
    }
    // With another key, from other places, and what is told where it does not open.
    let (code, said) = secret(&world, &[&with(&["rewrap"])[..], &["--new-key-env", "THE_KEY"]].concat(), "");
    assert_eq!(code, 0, "{said}");
    let printed = json!(["printf", "11".repeat(32)]);
    let by_command = config(&format!("[secrets]\nfile = \"secrets.json\"\nkey_command = {printed}\n"));
    let mut gateway = Gateway::start(&world, &[BOT], &by_command);
    let mut client = gateway.session("laptop");
    assert!(text_of(&client.call("echo", r#"{"text":"json"}"#)).unwrap().contains("the answer"));
    assert!(gateway.stop().success());
    for (what, text, part) in [
        ("the old key", by_file.clone(), "does not open"),
        (
            "no secret",
            by_command.replace("sealed = \"bank\"", "sealed = \"mail\""),
            "there is no secret mail",
        ),
        ("no secrets", config(""), "only gateway.toml with [secrets]"),
        (
            "two keys",
            by_file.replace("[secrets]\n", "[secrets]\nkey_env = \"X\"\n"),
            "one of key_file, key_env and key_command",
        ),
        ("no key", by_command.replace("printf", "false"), "ended with exit status: 1"),
        ("a key that is none", by_command.replace("1111", "zz"), "64 hexadecimal digits"),
    ] {
        let whole = format!(
            "tokens = \"tokens.toml\"\nbundle = \"bundle\"\ndata = \"data\"\nlisten = \"127.0.0.1:0\"\n{text}"
        );
        world.write("gateway.toml", &whole);
        let mut command = support::warrantor();
        command.args(["gateway", "--config"]).arg(world.path("gateway.toml")).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{what}: {said}");
        assert!(!said.contains("of-the-bank") && !said.contains("111111"), "{what}: {said}");
    }
    // Whoever can read the key of others has them open it.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(world.path("secrets.key"), open).unwrap();
    let (code, said) = secret(&world, &with(&["list"]), "");
    assert!(code != 0 && said.contains("others than its owner"), "{said}");
}
