//! A set of tools from several servers under one path: names of its own, and no way around what each server's own path refuses.
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

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use support::{
    Answered, World, fixture,
    http::{Client, Gateway, LEGACY, modern},
    python, reason_of, run, script, text_of, warrantor,
};

/// Another name for each tool, and `perform` of both servers.
const OFFICE: &str = r#"
[sets.office]
tools = { say = "fake/echo", do_here = "fake/perform", do_there = "twin/perform", far = "twin/slow", steps = "twin/progress", tell = "twin/announce", pay = "twin/pay", ungranted = "twin/babble" }
"#;

/// A world of two servers that offer the same; what the twin must remember is in a directory of its own.
fn world() -> World {
    let world = World::new();
    fs::create_dir(world.path("twin")).unwrap();
    for (name, text) in [
        ("bundle/tools/twin.tools.json", fixture("tools.json")),
        ("twin/tools.json", fixture("tools.json")),
        (
            "bundle/tools/twin.yaml",
            fs::read_to_string(world.path("bundle/tools/fake.yaml")).unwrap().replace("fake", "twin"),
        ),
        ("bundle/agents.yaml", fixture("agents.yaml").replace("[fake]", "[fake, twin]")),
        (
            "bundle/mandates/work.yaml",
            format!(
                "{}  - tool: twin/perform\n    arguments: {{ id: {{ max_length: 5 }} }}\n  - tool: twin/progress\n  - tool: twin/announce\n  - tool: twin/slow\n    arguments: {{ id: {{}} }}\n",
                fixture("mandate.yaml")
            ),
        ),
    ] {
        world.write(name, &text);
    }
    world
}

fn server(world: &World, name: &str, directory: &str) -> String {
    let command = json!([python(), "-I", "-S", script("upstream.py"), world.path(directory), world.era]);
    format!("[servers.{name}]\ncommand = {command}\n")
}

fn servers(world: &World) -> String {
    server(world, "fake", "upstream") + &server(world, "twin", "twin")
}

fn start(world: &World) -> Gateway {
    Gateway::start(world, &[("laptop", "bot", &["work"])], &(servers(world) + OFFICE))
}

fn office(gateway: &Gateway) -> Client {
    let mut client = gateway.client("laptop");
    client.path = "/office".to_owned();
    client
}

fn lines(file: PathBuf) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

const LISTED: [&str; 6] = ["do_here", "do_there", "far", "say", "steps", "tell"];

#[test]
fn a_set_shows_and_calls_tools_by_its_own_names_in_both_eras() {
    let world = world();
    let mut gateway = start(&world);
    let mut older = office(&gateway);
    older.initialize();
    older.request("tools/list", "{}");
    let listed = older.response().json();
    assert_eq!(names(&listed), LISTED, "{listed}");
    let exact = r#"{ "text" : "\u00e9\/", "list":[1.10 ,true]}"#;
    assert!(text_of(&older.call("say", exact)).unwrap().contains(exact));
    assert_eq!(text_of(&older.call("do_here", r#"{"id":"a"}"#)).as_deref(), Some("did a"));
    assert_eq!(text_of(&older.call("do_there", r#"{"id":"b"}"#)).as_deref(), Some("did b"));

    let mut newer = office(&gateway);
    newer.send_modern("server/discover", None, "");
    let discovered = newer.response().json();
    assert_eq!(discovered["result"]["supportedVersions"], json!(["2026-07-28"]), "{discovered}");
    assert_eq!(discovered["result"]["capabilities"], json!({ "tools": { "listChanged": true } }));
    newer.send_modern("tools/list", None, "");
    let listed = newer.response().json();
    assert_eq!((names(&listed), &listed["result"]["cacheScope"]), (LISTED.to_vec(), &json!("private")));
    let schema = &listed["result"]["tools"][1]["inputSchema"];
    assert_eq!(schema["required"], json!(["id"]), "{listed}");
    assert!(text_of(&newer.call_modern("say", exact)).unwrap().contains(exact));
    assert_eq!(text_of(&newer.call_modern("do_there", r#"{"id":"c"}"#)).as_deref(), Some("did c"));
    assert_eq!(lines(world.path("upstream/effects")), ["a"]);
    assert_eq!(lines(world.path("twin/effects")), ["b", "c"]);
    // Headers speak of the name that the client knows.
    newer.send_modern("tools/call", Some("perform"), r#""name":"do_there","arguments":{"id":"d"}"#);
    assert_eq!(newer.response().status, 400);

    gateway.stop();
    let tools: Vec<_> = world
        .events("decision")
        .iter()
        .map(|decision| decision["tool"].as_str().unwrap().to_owned())
        .collect();
    let wanted = ["fake/echo", "fake/perform", "twin/perform", "fake/echo", "twin/perform"];
    assert_eq!(tools, wanted, "records know a tool by its server's name");
    world.verified();
}

#[test]
fn what_a_set_does_not_name_or_the_task_does_not_grant_is_refused_as_ever() {
    let world = world();
    let mut gateway = start(&world);
    let (mut older, mut newer) = (office(&gateway), office(&gateway));
    older.initialize();
    for (tool, arguments) in [
        // A tool of the first server, granted there, that is not in the set.
        ("environment", "{}"),
        ("perform", r#"{"id":"x"}"#),
        ("fake/perform", r#"{"id":"x"}"#),
        ("twin/perform", r#"{"id":"x"}"#),
        ("ungranted", r#"{"kind":"x"}"#),
        ("pay", r#"{"amount":1}"#),
    ] {
        for answer in [older.call(tool, arguments), newer.call_modern(tool, arguments)] {
            assert_eq!(reason_of(&answer).as_deref(), Some("tool_not_available"), "{tool}: {answer}");
        }
    }
    // Bounds are those of the server's tool.
    let answer = older.call("do_there", r#"{"id":"longer"}"#);
    assert_eq!(reason_of(&answer).as_deref(), Some("argument_out_of_bounds"), "{answer}");
    assert_eq!(text_of(&older.call("do_here", r#"{"id":"longer"}"#)).as_deref(), Some("did longer"));
    for (method, params) in [
        ("resources/list", "{}"),
        ("prompts/get", r#"{"name":"x"}"#),
        ("resources/read", r#"{"uri":"x:y"}"#),
        ("completion/complete", "{}"),
        ("logging/setLevel", r#"{"level":"debug"}"#),
        ("tasks/list", "{}"),
        ("nonsense", "{}"),
    ] {
        older.request(method, params);
        assert_eq!(older.response().json()["error"]["code"], -32601, "{method}");
    }
    older.request("tools/list", r#"{"cursor":"mine"}"#);
    assert_eq!(older.response().json()["error"]["code"], -32602);
    older.request("ping", "{}");
    assert_eq!(older.response().json()["result"], json!({}));
    gateway.stop();
    let refused = world.events("decision").iter().filter(|decision| decision["verdict"] != "pass").count();
    // Twice six calls, one out of bounds, seven methods.
    assert_eq!(refused, 20);
    assert_eq!(lines(world.path("twin/effects")), Vec::<String>::new());
}

#[test]
fn progress_news_and_cancelling_reach_the_server_that_has_the_tool() {
    let world = world();
    let gateway = start(&world);
    let mut client = office(&gateway);
    client.initialize();
    let token = r#"{"name":"steps","arguments":{},"_meta":{"progressToken":"p"}}"#;
    client.request("tools/call", token);
    assert!(client.head().is_stream());
    let steps: Vec<Value> = std::iter::from_fn(|| client.event()).map(|(_, message)| message).collect();
    assert_eq!(steps.len(), 3, "{steps:?}");
    assert_eq!(steps[0]["params"]["progressToken"], "p");

    let mut news = office(&gateway);
    news.join(&client);
    news.send("GET", &[("accept", "text/event-stream")], "");
    assert_eq!(news.head().status, 200);
    assert_eq!(text_of(&client.call("tell", "{}")).as_deref(), Some("told"));
    assert_eq!(news.event().unwrap().1["method"], "notifications/tools/list_changed");

    // One acknowledgement, though two servers give one; and the client that goes has cancelled at both.
    let mut listener = office(&gateway);
    listener.send_modern("tools/list", None, "");
    listener.response();
    listener.send_modern(
        "subscriptions/listen",
        None,
        r#""notifications":{"toolsListChanged":true,"resourceSubscriptions":["x:y"]}"#,
    );
    let answer = listener.response();
    assert!(answer.body.contains("no such method") || answer.body.contains("this error"), "{answer:?}");

    let mut going = office(&gateway);
    let body = modern("tools/call", r#""name":"far","arguments":{"id":"s"}"#)
        .replace(r#""_meta":{"#, r#""_meta":{"progressToken":1,"#);
    let headers = [
        LEGACY.as_slice(),
        &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "far")],
    ]
    .concat();
    going.send("POST", &headers, &body);
    assert!(going.head().is_stream());
    assert!(going.event().is_some(), "the call did not arrive");
    drop(going);
    let begun = std::time::Instant::now();
    while !lines(world.path("twin/lines")).iter().any(|line| line.contains("notifications/cancelled")) {
        assert!(begun.elapsed().as_secs() < 20, "the server was not told");
    }
    assert!(!lines(world.path("upstream/lines")).iter().any(|line| line.contains("notifications/cancelled")));
}

#[test]
fn a_token_for_the_set_alone_reaches_its_servers_through_it_alone() {
    let world = world();
    let gateway = start(&world);
    change(&world, &gateway, "tokens.toml", |tokens| format!("{tokens}servers = [\"office\"]\n"));
    let mut client = office(&gateway);
    for path in ["/fake", "/twin", "/elsewhere"] {
        client.path = path.to_owned();
        assert_eq!(client.ask("POST", &LEGACY, "{}").status, 404, "{path}");
    }
    client.path = "/office".to_owned();
    assert_eq!(text_of(&client.call_modern("do_here", r#"{"id":"a"}"#)).as_deref(), Some("did a"));
}

/// Changes the configuration and has it read.
fn change(world: &World, gateway: &Gateway, file: &str, change: impl Fn(String) -> String) {
    world.write(file, &change(fs::read_to_string(world.path(file)).unwrap()));
    gateway.reread();
}

#[test]
fn what_is_changed_while_a_request_arrives_counts_for_it_and_for_sessions_that_are_open() {
    let world = world();
    let gateway = start(&world);
    let mut open = office(&gateway);
    open.initialize();
    assert!(text_of(&open.call("do_here", r#"{"id":"a"}"#)).is_some());
    // Headers now, the body after the change.
    let mut begun = office(&gateway);
    let body = support::http::modern("tools/call", r#""name":"do_here","arguments":{"id":"late"}"#);
    let (early, late) = body.as_bytes().split_at(10);
    begun.raw(
        format!(
            "POST /office HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: do_here\r\ncontent-length: {}\r\n\r\n",
            gateway.address,
            gateway.token("laptop"),
            body.len()
        )
        .as_bytes(),
    );
    begun.raw(early);
    change(&world, &gateway, "gateway.toml", |text| text.replace("do_here = \"fake/perform\", ", ""));
    begun.raw(late);
    assert_eq!(reason_of(&begun.response().json()).as_deref(), Some("tool_not_available"));
    open.request("tools/call", r#"{"name":"say","arguments":{}}"#);
    assert_eq!(open.response().status, 404, "a session of the set as it was goes on");
    assert_eq!(lines(world.path("upstream/effects")), ["a"]);
    // A server under another's path is another, though all else is the same.
    let mut fake = office(&gateway);
    change(&world, &gateway, "gateway.toml", |text| {
        let text = text.split("[sets.office]").next().unwrap().to_owned();
        text.replace("[servers.fake]", "[servers.other]\npath = \"/one\"")
            .replace("[servers.twin]", "[servers.fake]\npath = \"/two\"")
            .replace("[servers.other]", "[servers.twin]")
    });
    fake.path = "/two".to_owned();
    assert_eq!(
        text_of(&fake.call_modern("perform", r#"{"id":"longer than five"}"#)).as_deref(),
        Some("did longer than five")
    );
    change(&world, &gateway, "gateway.toml", |text| {
        text.replace("/two", "/three").replace("/one", "/two").replace("/three", "/one")
    });
    // The bounds are those of `twin` there now.
    let answer = fake.call_modern("perform", r#"{"id":"longer than five"}"#);
    assert_eq!(reason_of(&answer).as_deref(), Some("argument_out_of_bounds"), "{answer}");
}

#[test]
fn a_stream_ends_with_its_token() {
    let world = world();
    let gateway = start(&world);
    let mut listener = office(&gateway);
    listener.path = "/fake".to_owned();
    let until = jiff::Timestamp::now() + std::time::Duration::from_secs(2);
    change(&world, &gateway, "tokens.toml", |text| format!("{text}expires_at = \"{until}\"\n"));
    listener.send_modern("tools/call", Some("hang"), r#""name":"hang","arguments":{}"#);
    let ended = listener.response();
    assert!(ended.body.contains("ended before it answered"), "{ended:?}");
    listener.send_modern("tools/list", None, "");
    assert_eq!(listener.response().status, 401);
}

#[test]
fn a_set_goes_without_a_server_that_cannot_be_reached_and_ends_with_one_that_dies() {
    let world = world();
    let dead = "[servers.twin]\ncommand = [\"/nowhere/at/all\"]\n";
    let more = server(&world, "fake", "upstream") + dead + OFFICE;
    let gateway = Gateway::start(&world, &[("laptop", "bot", &["work"])], &more);
    let (mut older, mut newer) = (office(&gateway), office(&gateway));
    older.initialize();
    older.request("tools/list", "{}");
    assert_eq!(names(&older.response().json()), ["do_here", "say"]);
    assert_eq!(text_of(&older.call("do_here", r#"{"id":"a"}"#)).as_deref(), Some("did a"));
    older.request("tools/call", r#"{"name":"do_there","arguments":{"id":"b"}}"#);
    let answer = older.response().json();
    assert!(answer["error"]["message"].as_str().unwrap().contains("could not be reached"), "{answer}");
    newer.send_modern("tools/list", None, "");
    assert_eq!(names(&newer.response().json()), ["do_here", "say"]);
    newer.send_modern("tools/call", Some("do_there"), r#""name":"do_there","arguments":{"id":"b"}"#);
    assert_eq!(newer.response().status, 502);
    drop(gateway);

    // The session ends with a server, so that its client begins anew with both.
    let set = OFFICE.replace("tell = ", "die = \"fake/crash\", tell = ");
    let gateway = Gateway::start(&world, &[("laptop", "bot", &["work"])], &(servers(&world) + &set));
    let mut client = office(&gateway);
    client.initialize();
    client.request("tools/call", r#"{"name":"die","arguments":{}}"#);
    assert!(client.response().body.contains("ended before it answered"));
    client.request("tools/call", r#"{"name":"say","arguments":{}}"#);
    assert_eq!(client.response().status, 404);
    client.session = None;
    client.initialize();
    assert!(text_of(&client.call("say", "{}")).is_some());
}

#[test]
fn a_set_goes_on_without_a_server_that_is_quarantined() {
    let world = world();
    let gateway = Gateway::start(&world, &[("laptop", "bot", &["work"])], &(servers(&world) + OFFICE));
    let mut client = office(&gateway);
    client.initialize();
    client.request("tools/list", "{}");
    let listed = client.response().json();
    let all = names(&listed);
    assert!(all.contains(&"do_there"), "{all:?}");
    world.done(&["revoke", "server", "twin"]);
    // The stop is seen within a tenth of a second.
    let begun = std::time::Instant::now();
    loop {
        client.request("tools/list", "{}");
        if client.response().status == 404 {
            break;
        }
        assert!(begun.elapsed().as_secs() < 20, "the session goes on with a server that is quarantined");
    }
    client.session = None;
    client.initialize();
    client.request("tools/list", "{}");
    assert_eq!(names(&client.response().json()), ["do_here", "say"]);
    assert_eq!(text_of(&client.call("do_here", r#"{"id":"a"}"#)).as_deref(), Some("did a"));
    let mut newer = office(&gateway);
    newer.send_modern("tools/list", None, "");
    assert_eq!(names(&newer.response().json()), ["do_here", "say"]);
    world.done(&["revoke", "server", "twin", "--lift"]);
    client.session = None;
    client.initialize();
    client.request("tools/list", "{}");
    assert_eq!(names(&client.response().json()), all);
}

#[test]
fn a_set_that_names_what_is_not_there_is_told_with_its_place() {
    let world = world();
    Gateway::start(&world, &[("laptop", "bot", &["work"])], &servers(&world)).stop();
    let config = fs::read_to_string(world.path("gateway.toml")).unwrap();
    for (set, told) in [
        ("[sets.s]\ntools = {}\n", "the set has no tools"),
        ("[sets.fake]\ntools = { a = \"fake/echo\" }\n", "fake is a server too"),
        ("[sets.s]\npath = \"/twin\"\ntools = { a = \"fake/echo\" }\n", "twin has the path /twin too"),
        ("[sets.s]\npath = \"/healthz\"\ntools = { a = \"fake/echo\" }\n", "answers /healthz itself"),
        ("[sets.s]\ntools = { a = \"fake/ecko\" }\n", "did you mean fake/echo?"),
        ("[sets.s]\ntools = { a = \"none/echo\" }\n", "the gateway has no server none"),
        ("[sets.s]\ntools = { a = \"echo\" }\n", "write it as server/tool"),
        ("[sets.s]\ntools = { a = \"fake/prompt:x\" }\n", "is no tool"),
        ("[sets.s]\ntools = { \"a b\" = \"fake/echo\" }\n", "is no name of a tool"),
        ("[sets.s]\ntools = { a = \"fake/echo\", a = \"fake/pay\" }\n", "duplicate key"),
    ] {
        world.write("gateway.toml", &format!("{config}{set}"));
        let mut command = warrantor();
        command.args(["gateway", "--config"]).arg(world.path("gateway.toml"));
        let Answered { code, stderr, .. } = Answered::of(&command.output().unwrap());
        assert_eq!(code, 1, "{set}: {stderr}");
        assert!(stderr.contains(told) && stderr.contains("gateway.toml:"), "{set}: {stderr}");
    }
    let doctor = warrantor().args(["doctor", "--config"]).arg(world.path("gateway.toml")).output().unwrap();
    assert_eq!(doctor.status.code(), Some(1));
    world.write("gateway.toml", &format!("{config}{OFFICE}"));
    run(warrantor().args(["doctor", "--config"]).arg(world.path("gateway.toml")));
}
