//! `warrantor gateway` from outside: raw HTTP of both eras, whoever calls, and what must not get through.
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
use support::{
    World, fixture,
    http::{Caller, Client, Gateway, LEGACY, modern},
    reason_of, text_of,
};

const BOT: Caller<'static> = ("laptop", "bot", &["work"]);

/// A world with a second mandate of the same agent, and one of another agent.
fn world() -> World {
    let world = World::new();
    world.write("bundle/mandates/more.yaml", &fixture("mandate.yaml").replace("id: work", "id: more"));
    let other =
        fixture("mandate.yaml").replace("id: work", "id: others").replace("agent: bot", "agent: other");
    world.write("bundle/mandates/others.yaml", &other);
    world
}

fn outcomes(world: &World) -> Vec<String> {
    world.events("outcome").iter().map(|outcome| outcome["outcome"].as_str().unwrap().to_owned()).collect()
}

/// Does something until something holds, within reason.
fn until<T>(mut act: impl FnMut() -> T, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed().as_secs() < 20, "it did not come about in time");
        act();
    }
}

fn has_line(world: &World, file: &str, part: &str) -> bool {
    world.upstream(file).iter().any(|line| line.contains(part))
}

/// Waits until the ledger says so many outcomes: they come beside the answers.
fn outcomes_of(world: &World, count: usize) -> Vec<String> {
    for _ in 0..400 {
        let outcomes = outcomes(world);
        if outcomes.len() >= count {
            return outcomes;
        }
    }
    panic!("no {count} outcomes: {:?}", outcomes(world));
}

#[test]
fn both_eras_are_answered_on_one_path_and_each_call_is_decided_and_recorded() {
    let world = world();
    let mut gateway = Gateway::before(&world, &[BOT], "");
    let mut client = gateway.session("laptop");
    let exact = r#"{ "text" : "\u00e9\/", "list":[1.10 ,true]}"#;
    let answer = client.call("echo", exact);
    assert!(text_of(&answer).unwrap().contains(exact), "{answer}");
    assert_eq!(
        reason_of(&client.call("pay", r#"{"amount":101}"#)).as_deref(),
        Some("argument_out_of_bounds")
    );
    let mut newer = gateway.client("laptop");
    let answer = newer.call_modern("echo", exact);
    assert!(text_of(&answer).unwrap().contains(exact), "{answer}");
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(reason_of(&newer.call_modern("nothing", "{}")).as_deref(), Some("tool_not_available"));
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    assert_eq!(outcomes(&world), ["succeeded", "succeeded"]);
    let decisions = world.events("decision");
    let verdicts: Vec<&str> = decisions.iter().map(|d| d["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["pass", "deny", "pass", "deny"]);
    assert!(decisions.iter().all(|d| d["evidence"] == "bearer token laptop"), "{decisions:?}");
    world.verified();
}

#[test]
fn a_budget_is_one_for_all_sessions_of_a_mandate() {
    let world = world();
    let gateway = Gateway::before(&world, &[BOT], "");
    let mut clients = [gateway.session("laptop"), gateway.session("laptop")];
    for (nth, reason) in [(0, None), (1, None), (0, None), (1, Some("limit_reached"))] {
        let answer = clients[nth].call("pay", r#"{"amount":1}"#);
        assert_eq!(reason_of(&answer).as_deref(), reason, "{answer}");
    }
}

/// What is no request of a known caller to this gateway gets no further, and the gateway stays up.
#[test]
fn requests_that_are_wrong_are_refused_with_a_status_and_a_sentence() {
    let world = world();
    let mut gateway = Gateway::before(
        &world,
        &[BOT],
        "origins = [\"https://app.example.com\"]\n[limits]\nrequest_bytes = 2000\n",
    );
    let token = format!("Bearer {}", gateway.token("laptop"));
    let host = gateway.address.to_string();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let newer = modern("tools/list", "");
    let long = format!("\"{}\"", "x".repeat(3000));
    // Method, path, headers without the host, body, status, a part of the answer.
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a str, u16, &'a str);
    let good = vec![("authorization", token.as_str()), LEGACY[0], LEGACY[1]];
    let and = |more: &[(&'static str, &'static str)]| [good.as_slice(), more].concat();
    let instead = |name: &str, value: &'static str| {
        let others = good.iter().filter(|(known, _)| *known != name).copied();
        let mut headers: Vec<(&str, &str)> = others.collect();
        if !value.is_empty() {
            headers.push((Box::leak(name.to_owned().into_boxed_str()), value));
        }
        headers
    };
    let cases: Vec<Case<'_>> = vec![
        ("POST", "/fake", instead("authorization", ""), list, 401, "bearer token"),
        ("POST", "/fake", instead("authorization", "Bearer wt_0000"), list, 401, "bearer token"),
        ("POST", "/fake", instead("authorization", "Basic eDp5"), list, 401, "bearer token"),
        ("POST", "/fake", and(&[("authorization", "Bearer x")]), list, 400, "stands twice"),
        ("POST", "/other", good.clone(), list, 404, "no server"),
        ("PUT", "/fake", good.clone(), list, 405, "POST, GET or DELETE"),
        ("POST", "/fake", instead("content-type", "text/plain"), list, 415, "application/json"),
        ("POST", "/fake", instead("accept", "application/json"), list, 406, "event-stream"),
        ("POST", "/fake", good.clone(), &long, 413, "2000 bytes"),
        ("POST", "/fake", good.clone(), "{", 400, "-32700"),
        ("POST", "/fake", good.clone(), "[]", 400, "batches"),
        ("POST", "/fake", good.clone(), r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, "twice"),
        ("POST", "/fake", good.clone(), list, 400, "Mcp-Session-Id"),
        ("POST", "/fake", and(&[("mcp-session-id", "0")]), list, 404, "no such session"),
        ("GET", "/fake", and(&[("mcp-session-id", "0")]), "", 404, "no such session"),
        ("DELETE", "/fake", and(&[("mcp-session-id", "0")]), "", 404, "no such session"),
        ("GET", "/fake", and(&[("mcp-protocol-version", "2026-07-28")]), "", 405, "no streams"),
        ("POST", "/fake", and(&[("origin", "https://evil.example")]), list, 403, "origin"),
        ("POST", "/fake", and(&[("origin", "null")]), list, 403, "origin"),
        ("POST", "/fake", and(&[("origin", "https://app.example.com")]), initialize, 200, "serverInfo"),
        ("OPTIONS", "/fake", vec![("origin", "https://app.example.com")], "", 204, ""),
        ("POST", "/fake", and(&[("warrantor-mandate", "others")]), initialize, 403, "not bound"),
        ("POST", "/fake", and(&[("mcp-protocol-version", "1999-01-01")]), list, 400, "not supported"),
        ("POST", "/fake", and(&[("mcp-protocol-version", "2026-07-28")]), list, 400, "_meta"),
        ("POST", "/fake", good.clone(), &newer, 400, "-32020"),
    ];
    for (method, path, headers, body, status, part) in cases {
        let mut client = Client::to(gateway.address);
        client.path = path.to_owned();
        let response = client.ask(method, &headers, body);
        assert_eq!(response.status, status, "{method} {path} {headers:?} {body}: {response:?}");
        assert!(response.body.contains(part), "{method} {path} {headers:?} {body}: {response:?}");
    }
    for (name, status) in [("evil.example", 403), ("127.0.0.1.evil.example:80", 403), ("", 403), (&host, 401)]
    {
        let mut client = Client::to(gateway.address);
        client.raw(format!("GET /fake HTTP/1.1\r\nhost: {name}\r\n\r\n").as_bytes());
        assert_eq!(client.response().status, status, "{name}");
    }
    let health = {
        let mut client = Client::to(gateway.address);
        client.path = "/healthz".into();
        client.ask("GET", &[], "")
    };
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let ready = || {
        let mut client = Client::to(gateway.address);
        client.path = "/readyz".to_owned();
        let ready = client.ask("GET", &[], "");
        (ready.status, ready.body)
    };
    assert_eq!(ready(), (200, "ready\n".to_owned()));
    // Without its stop file nothing could be stopped, so nothing passes.
    std::fs::rename(world.data().join("stop"), world.data().join("elsewhere")).unwrap();
    assert_eq!(ready().0, 503);
    std::fs::rename(world.data().join("elsewhere"), world.data().join("stop")).unwrap();
    assert_eq!(ready().0, 200);
    assert!(gateway.is_running(), "{}", gateway.stderr());
    assert!(world.upstream("effects").is_empty());
}

/// Whoever stands before or behind the gateway may go by the headers, so they say what the body says or nothing passes.
#[test]
fn headers_that_say_something_else_than_the_body_are_refused() {
    let world = world();
    let gateway = Gateway::before(&world, &[BOT], "");
    let call = modern("tools/call", r#""name":"echo","arguments":{"text":"x"}"#);
    let right = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "echo")];
    let with = |changed: &[(&'static str, &'static str)], dropped: &str| {
        let mut headers = LEGACY.to_vec();
        let kept =
            |(name, _): &(&str, &str)| *name != dropped && !changed.iter().any(|(known, _)| known == name);
        headers.extend(right.iter().copied().filter(kept));
        headers.extend(changed);
        headers
    };
    let mut client = gateway.client("laptop");
    for (headers, status) in [
        (with(&[], ""), 200),
        (with(&[("mcp-name", "=?base64?ZWNobw==?=")], ""), 200),
        (with(&[("mcp-param-region", "eu")], ""), 200),
        (with(&[], "mcp-name"), 400),
        (with(&[], "mcp-method"), 400),
        (with(&[], "mcp-protocol-version"), 400),
        (with(&[("mcp-name", "pay")], ""), 400),
        (with(&[("mcp-name", "Echo")], ""), 400),
        (with(&[("mcp-name", "=?base64?!?=")], ""), 400),
        (with(&[("mcp-method", "tools/list")], ""), 400),
        (with(&[("mcp-protocol-version", "2025-11-25")], ""), 400),
    ] {
        let response = client.ask("POST", &headers, &call);
        assert_eq!(response.status, status, "{headers:?}: {response:?}");
        assert!(status == 200 || response.json()["error"]["code"] == -32020, "{headers:?}: {response:?}");
    }
    let mut twice = with(&[], "");
    twice.push(("mcp-name", "echo"));
    assert_eq!(client.ask("POST", &twice, &call).status, 400);
    // A modern method that is not let through, and one that does not exist.
    for method in ["resources/read", "no/such"] {
        let headers =
            [&LEGACY[..], &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]].concat();
        let response = client.ask("POST", &headers, &modern(method, ""));
        assert_eq!(
            (response.status, &response.json()["error"]["code"]),
            (404, &json!(-32601)),
            "{response:?}"
        );
    }
}

#[test]
fn a_session_is_its_callers_and_a_token_runs_only_what_it_is_bound_to() {
    let world = world();
    let callers: [Caller<'_>; 4] = [
        BOT,
        ("second", "bot", &["work"]),
        ("several", "bot", &["work", "more"]),
        ("theirs", "other", &["others"]),
    ];
    let gateway = Gateway::before(&world, &callers, "");
    let session = gateway.session("laptop").session.unwrap();
    for caller in ["second", "several", "theirs"] {
        let mut client = gateway.client(caller);
        client.session = Some(session.clone());
        for method in ["POST", "GET", "DELETE"] {
            let body =
                if method == "POST" { r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"# } else { "" };
            assert_eq!(client.ask(method, &LEGACY, body).status, 404, "{caller} {method}");
        }
    }
    let mut owner = gateway.client("laptop");
    owner.session = Some(session);
    assert!(owner.call("echo", "{}")["result"].is_object());

    // Of several mandates one is named.
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    for (mandate, status) in [(None, 403), (Some("others"), 403), (Some("more"), 200), (Some("work"), 200)] {
        let mut client = gateway.client("several");
        let headers: Vec<(&str, &str)> =
            LEGACY.into_iter().chain(mandate.map(|mandate| ("warrantor-mandate", mandate))).collect();
        assert_eq!(client.ask("POST", &headers, initialize).status, status, "{mandate:?}");
    }
    let mut ended = gateway.session("second");
    assert_eq!(ended.ask("DELETE", &[], "").status, 204);
    assert_eq!(ended.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).status, 404);
}

#[test]
fn progress_comes_as_a_stream_that_an_older_client_can_resume() {
    let world = world();
    let gateway = Gateway::before(&world, &[BOT], "");
    let params = r#""name":"progress","arguments":{},"_meta":{"progressToken":"p"}"#;
    let mut client = gateway.session("laptop");
    client.request("tools/call", &format!("{{{params}}}"));
    assert!(client.head().is_stream());
    let mut events = Vec::new();
    while let Some(event) = client.event() {
        events.push(event);
    }
    let told: Vec<&Value> = events.iter().map(|(_, message)| &message["params"]["progress"]).collect();
    assert_eq!(told, [&json!(1), &json!(2), &Value::Null], "{events:?}");
    assert_eq!(text_of(&events[2].1).as_deref(), Some("done"));
    // Whoever lost the connection behind the first event gets the others.
    let mut again = gateway.client("laptop");
    again.join(&client);
    again.send("GET", &[("accept", "text/event-stream"), ("last-event-id", events[0].0.as_str())], "");
    assert!(again.head().is_stream());
    assert_eq!([again.event().unwrap(), again.event().unwrap()], events[1..]);
    assert_eq!(again.event(), None);
    for made_up in ["9-0", "1-", "x", "1-0-0", "-1"] {
        let mut client = gateway.client("laptop");
        client.session = again.session.clone();
        let response = client.ask("GET", &[("accept", "text/event-stream"), ("last-event-id", made_up)], "");
        assert_eq!(response.status, 404, "{made_up}");
    }
    // A modern stream has no ids, for it cannot be resumed.
    let mut newer = gateway.client("laptop");
    let body = modern("tools/call", r#""name":"progress","arguments":{}"#)
        .replace(r#""_meta":{"#, r#""_meta":{"progressToken":7,"#);
    let headers = [
        &LEGACY[..],
        &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "progress")],
    ];
    newer.send("POST", &headers.concat(), &body);
    assert!(newer.head().is_stream());
    let (id, first) = newer.event().unwrap();
    assert_eq!((id.as_str(), &first["params"]["progressToken"]), ("", &json!(7)));
}

#[test]
fn news_of_a_changed_list_reaches_the_stream_of_the_session() {
    let world = world();
    let gateway = Gateway::before(&world, &[BOT], "");
    let mut client = gateway.session("laptop");
    let mut listening = gateway.client("laptop");
    listening.join(&client);
    listening.send("GET", &[("accept", "text/event-stream")], "");
    assert!(listening.head().is_stream());
    client.call("announce", "{}");
    assert_eq!(listening.event().unwrap().1["method"], "notifications/tools/list_changed");
}

#[test]
fn a_client_that_goes_cancels_its_call_in_the_newer_era_and_not_in_the_older() {
    let world = world();
    let gateway = Gateway::before(&world, &[BOT], "");
    let mut newer = gateway.client("laptop");
    newer.call_modern("echo", "{}");
    newer.send_modern("tools/call", Some("hang"), r#""name":"hang","arguments":{}"#);
    let mut other = gateway.client("laptop");
    until(|| other.call_modern("echo", "{}"), || has_line(&world, "lines", "\"hang\""));
    drop(newer);
    until(|| other.call_modern("echo", "{}"), || has_line(&world, "lines", "notifications/cancelled"));
    assert!(outcomes(&world).iter().any(|outcome| outcome == "cancelled"));

    world.make_gate();
    let mut older = gateway.session("laptop");
    older.request("tools/call", r#"{"name":"slow","arguments":{"id":"kept"}}"#);
    let mut watching = gateway.client("laptop");
    watching.join(&older);
    until(|| watching.call("echo", "{}"), || has_line(&world, "lines", "\"kept\""));
    drop(older);
    world.open_gate();
    until(|| watching.call("echo", "{}"), || has_line(&world, "effects", "kept"));
}

#[test]
fn a_stop_ends_streams_and_calls_under_way_at_once() {
    for (stop, lifted) in [
        (vec!["revoke", "mandate", "work"], None),
        (vec!["lockdown"], Some(vec!["lockdown", "--lift"])),
        (vec!["revoke", "server", "fake"], Some(vec!["revoke", "server", "fake", "--lift"])),
    ] {
        let world = world();
        let gateway = Gateway::before(&world, &[BOT], "");
        let mut client = gateway.session("laptop");
        client.call("echo", "{}");
        let mut listening = gateway.client("laptop");
        listening.join(&client);
        listening.send("GET", &[("accept", "text/event-stream")], "");
        assert!(listening.head().is_stream());
        client.request("tools/call", r#"{"name":"hang","arguments":{}}"#);
        until(|| (), || has_line(&world, "lines", "\"hang\""));
        world.done(&stop);
        assert_eq!(listening.event(), None, "{stop:?}: the stream went on");
        let answer = client.response();
        assert!(answer.json()["error"].is_object(), "{stop:?}: {answer:?}");
        let refused = client.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","id":9,"method":"tools/list"}"#);
        assert_eq!(refused.status, 404, "{stop:?}: {refused:?}");
        assert_eq!(outcomes_of(&world, 2), ["succeeded", "unknown"], "{stop:?}");
        if let Some(lifted) = lifted {
            world.done(&lifted);
            assert!(gateway.session("laptop").call("echo", "{}")["result"].is_object());
        }
    }
}

#[test]
fn a_caller_that_asks_too_often_waits() {
    let world = world();
    let callers: [Caller<'_>; 2] = [BOT, ("other", "bot", &["more"])];
    let gateway = Gateway::before(&world, &callers, "[limits]\nrequests_per_second = 5\n");
    let mut client = gateway.client("laptop");
    let statuses: Vec<u16> = (0..40)
        .map(|_| client.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).status)
        .collect();
    assert_eq!(statuses[0], 400);
    assert!(statuses.contains(&429), "{statuses:?}");
    // Others do not wait for it.
    assert!(gateway.session("other").call("echo", "{}")["result"].is_object());
}

#[test]
fn tokens_end_and_configurations_that_are_wrong_are_told_with_their_place() {
    let world = world();
    let refused = |config: &str, tokens: &str| {
        world.write("gateway.toml", config);
        world.write("tokens.toml", tokens);
        let mut command = support::warrantor();
        command.args(["gateway", "--config"]).arg(world.path("gateway.toml"));
        let answered = support::Answered::of(&command.output().unwrap());
        assert_eq!(answered.code, 1, "{config}: {answered:?}");
        answered.stderr
    };
    let base = "bundle = \"bundle\"\ntokens = \"tokens.toml\"\n";
    let sha = "a".repeat(64);
    let token = format!("[tokens.x]\nsha256 = \"{sha}\"\nagent = \"bot\"\nmandates = [\"work\"]\n");
    let server = "[servers.fake]\nurl = \"http://127.0.0.1:1/mcp\"\n";
    for (config, tokens, part) in [
        (
            format!("{base}[servers.none]\nurl = \"http://127.0.0.1:1\"\n"),
            token.clone(),
            "no manifest for none",
        ),
        (format!("{base}listen = \"0.0.0.0:1\"\n{server}"), token.clone(), "in the clear"),
        (format!("{base}listen = \"here\"\n{server}"), token.clone(), "no address"),
        (format!("{base}{server}command = [\"x\"]\n"), token.clone(), "no one way"),
        (format!("{base}[servers.fake]\n"), token.clone(), "no one way"),
        (format!("{base}{server}path = \"/healthz\"\n"), token.clone(), "itself"),
        (format!("{base}{server}path = \"fake\"\n"), token.clone(), "no path"),
        (format!("{base}origins = [\"*\"]\n{server}"), token.clone(), "no origin"),
        (format!("{base}nothing = 1\n{server}"), token.clone(), "nothing"),
        (format!("{base}{server}"), token.replace("bot", "nobody"), "no agent of the bundle"),
        (format!("{base}{server}"), token.replace("\"bot\"", "\"other\""), "for bot"),
        (format!("{base}{server}"), token.replace(&sha, "short"), "no SHA-256"),
        (format!("{base}{server}"), format!("{token}servers = [\"bank\"]\n"), "no server or set bank"),
    ] {
        let told = refused(&config, &tokens);
        assert!(told.contains(part), "{config}{tokens}: {told}");
        assert!(told.contains("gateway.toml") || told.contains("tokens.toml"), "{told}");
    }
    let gateway = Gateway::before(&world, &[BOT], "");
    let tokens = std::fs::read_to_string(world.path("tokens.toml")).unwrap();
    assert!(!tokens.contains(gateway.token("laptop")), "the token stands in its file");
}

#[test]
fn over_tls_the_gateway_shows_its_certificate_and_answers_nobody_in_the_clear() {
    let world = world();
    let script = support::script("tls.py");
    support::run(std::process::Command::new(support::python()).arg(&script).arg("make").arg(world.path("")));
    let mut gateway =
        Gateway::before(&world, &[BOT], "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    let get = |directory: &std::path::Path| {
        let mut command = std::process::Command::new(support::python());
        command.arg(&script).arg("get").arg(gateway.address.to_string()).arg(directory);
        String::from_utf8(support::run(&mut command).stdout).unwrap()
    };
    assert_eq!(get(&world.path("")), "ok\n");
    let stranger = tempfile::tempdir().unwrap();
    support::run(std::process::Command::new(support::python()).arg(&script).arg("make").arg(stranger.path()));
    assert!(get(stranger.path()).contains("CERTIFICATE_VERIFY_FAILED"));
    let mut plain = Client::to(gateway.address);
    plain.raw(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
    let mut said = Vec::new();
    std::io::Read::read_to_end(plain.stream(), &mut said).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/1.1"), "{said:?}");
    assert!(gateway.stop().success());
}

/// An instance is not in the bundle, so whom it is for is known only when it is looked up; it is held against the token each time.
#[test]
fn an_instance_is_run_by_its_agent_alone_whoever_looked_it_up_first() {
    let world = world();
    let bundle = world.path("bundle");
    let handed = world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
    let instance = handed["mandate"].as_str().unwrap();
    let mandates = [instance];
    let callers: [Caller<'_>; 2] = [("laptop", "bot", &mandates), ("evil", "other", &mandates)];
    let gateway = Gateway::before(&world, &callers, "");
    let list = modern("tools/list", "");
    let headers =
        [&LEGACY[..], &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")]].concat();
    for (caller, status) in [("evil", 403), ("laptop", 200), ("evil", 403)] {
        let response = gateway.client(caller).ask("POST", &headers, &list);
        assert_eq!(response.status, status, "{caller}: {response:?}");
    }
}

#[test]
fn sessions_are_bounded_and_their_places_come_back() {
    let world = world();
    let mut gateway = Gateway::before(&world, &[BOT], "[limits]\nsessions = 2\n");
    let mut first = gateway.session("laptop");
    let _second = gateway.session("laptop");
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    assert_eq!(gateway.client("laptop").ask("POST", &LEGACY, initialize).status, 503);
    assert_eq!(first.ask("DELETE", &[], "").status, 204);
    until(|| (), || gateway.client("laptop").ask("POST", &LEGACY, initialize).status == 200);
    assert!(gateway.stop().success());
}

/// Whoever stands before the gateway may have gone by the other one of two.
#[test]
fn headers_that_count_stand_once() {
    let world = world();
    let gateway = Gateway::before(&world, &[BOT], "");
    let session = gateway.session("laptop").session.unwrap();
    for (name, value) in [
        ("host", "127.0.0.1"),
        ("mcp-session-id", session.as_str()),
        ("warrantor-mandate", "others"),
        ("content-type", "text/plain"),
    ] {
        let mut client = gateway.client("laptop");
        client.session = Some(session.clone());
        let mut headers = LEGACY.to_vec();
        headers.push((name, value));
        if name == "warrantor-mandate" {
            headers.push((name, "work"));
        }
        let response = client.ask("POST", &headers, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert_eq!(response.status, 400, "{name}: {response:?}");
    }
    let mut client = Client::to(gateway.address);
    client.raw(
        format!("GET http://evil.example/files HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address).as_bytes(),
    );
    assert_eq!(client.response().status, 403);
}
