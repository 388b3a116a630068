//! Tokens from end to end: a person signs in at a real provider, an agent of authlib and the official SDK exchanges the person's token, and calls a tool
//! through a gateway, proving its key each time.

use std::{
    io::Write,
    net::TcpListener,
    process::{Command, Stdio},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    plane::{Running, node, provider},
    support::{World, fixture, node_modules, python, reason_of, run, script, text_of, warrantor},
};

const STANDING: &str = r#"id: watch
kind: standing
person: alice
sponsor: alice
agent: bot
purpose: look around
expires_in: 1h
grants:
  - tool: fake/echo
"#;

const PART: &str = r#"id: part
person: alice
agent: other
parent: work
purpose: echo something
expires_in: 1h
grants:
  - tool: fake/echo
"#;

/// A port that nobody listens on.
fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A key pair, public and private, as JSON Web Keys.
fn keys(seed: u8) -> (Value, Value) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let public = json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref()) });
    let mut private = public.clone();
    private["d"] = encoded(&[seed; 32]).into();
    (public, private)
}

/// A control plane with a token service, a gateway whose tokens are made there, a provider, and two agents with keys.
struct Place {
    world: World,
    issuer: String,
    _provider: Running,
    plane: Running,
    gateway: Running,
    tools: String,
    mandate: String,
}

impl Place {
    fn new() -> Self {
        Self::with("")
    }

    fn with(gateway_more: &str) -> Self {
        let world = World::with_mandate(&format!("{}delegation: {{ depth: 1 }}\n", fixture("mandate.yaml")));
        let (provider, issuer) = provider(&world);
        let (control, tools) =
            (format!("http://127.0.0.1:{}", free()), format!("http://127.0.0.1:{}", free()));
        let agents = fixture("agents.yaml");
        let mut with_keys = String::new();
        for (line, seed) in agents.split_inclusive("effects: [read, write, pay] }\n").zip([31, 32]) {
            let key = keys(seed).0;
            with_keys +=
                &format!("{line}    keys: {{ main: {{ kty: OKP, crv: Ed25519, x: {} }} }}\n", key["x"]);
        }
        world.write("bundle/agents.yaml", &with_keys);
        world.write(
            "bundle/people.yaml",
            &fixture("people.yaml").replace("https://login.example.com", &issuer),
        );
        world.write("bundle/mandates/watch.yaml", STANDING);
        world.write("bundle/mandates/part.yaml", PART);
        world.write(
            "serve.toml",
            &format!(
                "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{}\"\n[provider]\nissuer = \"{issuer}\"\nclient_id = \"warrantor\"\naudiences = [\"urn:warrantor:api\"]\n[tokens]\nissuer = \"{control}\"\n[[tokens.resources]]\nuri = \"{tools}/\"\n",
                control.trim_start_matches("http://")
            ),
        );
        let mut serve = warrantor();
        serve
            .args(["serve", "-o", "json", "--config"])
            .arg(world.path("serve.toml"))
            .env("WARRANTOR_LOG", "info");
        let plane = Running::start(&mut serve, &world.path(""));
        let bundle = world.path("bundle");
        let handed = world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
        let command = json!([python(), "-I", "-S", script("upstream.py"), world.path("upstream"), "both"]);
        world.write(
            "gateway.toml",
            &format!(
                "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{}\"\n[oauth]\nurl = \"{tools}\"\nissuer = \"{control}\"\n{gateway_more}[servers.fake]\ncommand = {command}\n",
                tools.trim_start_matches("http://")
            ),
        );
        let mut gateway = warrantor();
        gateway
            .args(["gateway", "-o", "json", "--config"])
            .arg(world.path("gateway.toml"))
            .env("WARRANTOR_LOG", "info");
        let gateway = Running::start(&mut gateway, &world.path(""));
        let mandate = handed["mandate"].as_str().unwrap().to_owned();
        Self { world, issuer, _provider: provider, plane, gateway, tools, mandate }
    }

    /// What somebody's sign-in at the provider gives an application.
    fn signed_in(&self, who: &str) -> Value {
        let mut command = node("tokens.mjs");
        command.args([&self.issuer, "warrantor", who, "0123456789abcdef0123", "urn:warrantor:api"]);
        serde_json::from_slice(&run(command.arg(node_modules())).stdout).unwrap()
    }

    /// Has an agent do something.
    fn agent(&self, agent: &str, order: &Value) -> Value {
        let seed = if agent == "bot" { 31 } else { 32 };
        let mut all = json!({ "url": format!("{}/fake", self.tools), "agent": agent, "key": keys(seed).1, "mandate": self.mandate, "steps": [] });
        for (name, value) in order.as_object().unwrap() {
            match value {
                Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
                value => all[name.as_str()] = value.clone(),
            }
        }
        let mut child = Command::new(python())
            .arg(script("agent.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(all.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = serde_json::from_slice(&output.stdout);
        told.unwrap_or_else(|_| panic!("{said}\n{}\n{}", self.plane.stderr(), self.gateway.stderr()))
    }
}

#[test]
fn an_agent_finds_the_service_exchanges_its_persons_token_and_calls_with_proofs() {
    let place = Place::new();
    let alice = place.signed_in("alice");
    let steps =
        json!([["list"], ["call", "echo", { "text": "hello" }], ["call", "perform", { "nth": "first" }]]);
    for (mode, kind, subject) in
        [("legacy", "access_token", &alice["access_token"]), ("auto", "id_token", &alice["id_token"])]
    {
        let order = json!({ "subject": subject, "subject_type": kind, "steps": steps, "mode": mode });
        let told = place.agent("bot", &order);
        assert_eq!(told["token"]["token_type"], "DPoP", "{told}");
        assert_eq!(told["resource"]["dpop_bound_access_tokens_required"], true);
        let [listed, echoed, refused] = told["steps"].as_array().unwrap().as_slice() else {
            panic!("{told}")
        };
        assert!(listed["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "echo"), "{listed}");
        assert!(text_of(&json!({ "result": echoed })).unwrap().contains("hello"), "{echoed}");
        let reason = reason_of(&json!({ "result": refused }));
        assert_eq!(reason.as_deref(), Some("arguments_invalid"), "{refused}");
        assert_eq!(told["nonces"], 1, "the nonce was asked for more than once");
    }
    // What passed says by which token of whom.
    let passed = place.world.events("decision").into_iter().find(|one| one["verdict"] == "pass").unwrap();
    let evidence = passed["evidence"].as_str().unwrap();
    let tokens = place.world.events("token");
    let made: Vec<&str> = tokens.iter().map(|one| one["token"].as_str().unwrap()).collect();
    assert!(evidence.starts_with(&format!("access token {} of http", made[0])), "{evidence}");
    assert!(evidence.ends_with("for bot, bound to its key"), "{evidence}");
    let told = place.world.records().iter().map(Value::to_string).collect::<String>();
    assert!(!told.contains("eyJ"), "a token is recorded");
    assert!(
        !place.gateway.stderr().contains("eyJ") && !place.plane.stderr().contains("eyJ"),
        "a token is logged"
    );
    // A standing mandate needs nobody at hand.
    let watch = place.world.done(&[
        "mandate",
        "handover",
        "watch",
        "--bundle",
        place.world.path("bundle").to_str().unwrap(),
    ]);
    let order = json!({ "mandate": watch["mandate"], "steps": [["call", "echo", { "text": "alone" }]] });
    let told = place.agent("bot", &order);
    assert!(text_of(&json!({ "result": told["steps"][0] })).unwrap().contains("alone"), "{told}");
    place.world.verified();
}

#[test]
fn a_sub_agent_works_by_what_its_parent_handed_on_until_that_is_revoked() {
    let place = Place::new();
    let alice = place.signed_in("alice");
    let part = place.world.path("bundle/mandates/part.yaml");
    let bundle = place.world.path("bundle");
    let handed = place.world.done(&[
        "mandate",
        "delegate",
        part.to_str().unwrap(),
        "--bundle",
        bundle.to_str().unwrap(),
    ]);
    let order =
        json!({ "subject": alice["access_token"], "subject_type": "access_token", "audience": "other" });
    let parent = place.agent("bot", &order)["token"]["access_token"].clone();
    let steps =
        json!([["call", "echo", { "text": "handed on" }], ["call", "pay", { "id": "1", "amount": 1 }]]);
    let order = json!({ "subject": parent, "subject_type": "access_token", "mandate": handed["mandate"], "steps": steps });
    let told = place.agent("other", &order);
    assert!(text_of(&json!({ "result": told["steps"][0] })).unwrap().contains("handed on"), "{told}");
    let reason = reason_of(&json!({ "result": told["steps"][1] }));
    assert_eq!(reason.as_deref(), Some("tool_not_available"), "{told}");
    // Another's mandate is none of its own, and neither is another's token.
    let wrong = place.agent("other", &json!({ "subject": parent, "subject_type": "access_token" }));
    assert_eq!(wrong["code"], "invalid_authorization_details", "{wrong}");
    let stolen = json!({ "subject": alice["access_token"], "subject_type": "access_token", "mandate": handed["mandate"] });
    assert_eq!(place.agent("other", &stolen)["code"], "invalid_authorization_details");
    // Its parent's token is revoked on the host.
    let tokens = place.world.events("token");
    let of_parent = tokens.iter().find(|one| one["audience"] == "other").unwrap();
    place.world.done(&["revoke", "token", of_parent["token"].as_str().unwrap()]);
    let refused = place.agent("other", &order);
    assert_eq!(refused["code"], "invalid_grant", "{refused}");
    place.world.verified();
}
