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
use warrantor_tokens::{ASSERTION_TYPE, Signer, SigningAlgorithm, token_hash};

use crate::{
    plane::{Running, node, provider},
    support::{
        World, fixture,
        http::{Client, LEGACY, Response},
        node_modules, python, reason_of, run, script, text_of, warrantor,
    },
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
pub(crate) fn free() -> u16 {
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
pub(crate) struct Place {
    pub(crate) world: World,
    issuer: String,
    _provider: Running,
    pub(crate) plane: Running,
    pub(crate) gateway: Running,
    pub(crate) tools: String,
    pub(crate) mandate: String,
}

/// What differs from one place to another.
#[derive(Default)]
pub(crate) struct Different<'a> {
    /// Beside the rest of `gateway.toml`.
    pub(crate) gateway: &'a str,
    /// Whether tokens may be bound to no key.
    pub(crate) bearer: bool,
    /// Beside the rest of `serve.toml`.
    pub(crate) serve: &'a str,
    /// The address of the control plane, where it has to be known before.
    pub(crate) control: Option<&'a str>,
    /// The address of the gateway.
    pub(crate) tools: Option<&'a str>,
    /// Beside the rest of `agents.yaml`.
    pub(crate) agents: &'a str,
    /// Beside the mandates.
    pub(crate) mandate: Option<(&'a str, &'a str)>,
}

impl Place {
    fn new() -> Self {
        Self::with(&Different::default())
    }

    pub(crate) fn with(different: &Different<'_>) -> Self {
        let world = World::with_mandate(&format!("{}delegation: {{ depth: 1 }}\n", fixture("mandate.yaml")));
        let (provider, issuer) = provider(&world);
        let address =
            |known: Option<&str>| known.map_or_else(|| format!("http://127.0.0.1:{}", free()), str::to_owned);
        let (control, tools) = (address(different.control), address(different.tools));
        let agents = fixture("agents.yaml");
        let mut with_keys = String::new();
        for (line, seed) in agents.split_inclusive("effects: [read, write, pay] }\n").zip([31, 32]) {
            let key = keys(seed).0;
            with_keys +=
                &format!("{line}    keys: {{ main: {{ kty: OKP, crv: Ed25519, x: {} }} }}\n", key["x"]);
        }
        world.write("bundle/agents.yaml", &format!("{with_keys}{}", different.agents));
        if let Some((name, text)) = different.mandate {
            world.write(&format!("bundle/mandates/{name}.yaml"), text);
        }
        world.write(
            "bundle/people.yaml",
            &fixture("people.yaml").replace("https://login.example.com", &issuer),
        );
        world.write("bundle/mandates/watch.yaml", STANDING);
        world.write("bundle/mandates/part.yaml", PART);
        world.write(
            "serve.toml",
            &format!(
                "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{}\"\n[provider]\nissuer = \"{issuer}\"\nclient_id = \"warrantor\"\naudiences = [\"urn:warrantor:api\"]\n[tokens]\nissuer = \"{control}\"\n[[tokens.resources]]\nuri = \"{tools}/\"\nbearer = {}\n{}",
                control.trim_start_matches("http://"),
                different.bearer,
                different.serve,
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
                "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{}\"\n[oauth]\nurl = \"{tools}\"\nissuer = \"{control}\"\nbearer = {}\n{}[servers.fake]\ncommand = {command}\n",
                tools.trim_start_matches("http://"),
                different.bearer,
                different.gateway.replace("{provider}", &issuer),
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
    pub(crate) fn signed_in(&self, who: &str) -> Value {
        let mut command = node("tokens.mjs");
        command.args([&self.issuer, "warrantor", who, "0123456789abcdef0123", "urn:warrantor:api"]);
        serde_json::from_slice(&run(command.arg(node_modules())).stdout).unwrap()
    }

    /// Has an agent do something.
    pub(crate) fn agent(&self, agent: &str, order: &Value) -> Value {
        let seed = if agent == "bot" { 31 } else { 32 };
        let mut all = json!({ "url": format!("{}/fake", self.tools), "agent": agent, "key": keys(seed).1, "mandate": self.mandate, "steps": [] });
        for (name, value) in order.as_object().unwrap() {
            match value {
                Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
                value => all[name.as_str()] = value.clone(),
            }
        }
        self.python("agent.py", &all)
    }

    /// Has a script of ours do something.
    pub(crate) fn python(&self, name: &str, order: &Value) -> Value {
        let mut child = Command::new(python())
            .arg(script(name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(order.to_string().as_bytes()).unwrap();
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

/// An agent of our own, which sends what a test says.
struct Attacker<'p> {
    place: &'p Place,
    key: Signer,
    agent: &'static str,
    last: std::cell::Cell<u64>,
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
        .unwrap()
}

fn with(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().cloned().unwrap_or_default() {
        match change {
            Value::Null => drop(value.as_object_mut().unwrap().remove(&name)),
            change => value[name.as_str()] = change,
        }
    }
    value
}

impl<'p> Attacker<'p> {
    fn new(place: &'p Place, agent: &'static str, seed: u8) -> Self {
        let key = Signer::from_seed(SigningAlgorithm::EdDsa, &[seed; 32]).unwrap();
        Self { place, key, agent, last: std::cell::Cell::new(0) }
    }

    fn fresh(&self) -> String {
        self.last.set(self.last.get() + 1);
        format!("{}-number-{:08}", self.key.id(), self.last.get())
    }

    fn proof(&self, claims: &Value, changes: &Value) -> String {
        let mut key = self.key.public().clone();
        key.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x"].contains(&name.as_str()));
        let header = with(json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": key }), &changes["header"]);
        let claims = with(claims.clone(), &json!({ "iat": now(), "jti": self.fresh() }));
        self.key.sign_parts(&header, &with(claims, &changes["claims"])).unwrap()
    }

    /// A token of the service, by an exchange of a session of alice's.
    fn token(&self, audience: &str, mandate: &str) -> String {
        let issuer = self.place.plane.said["url"].as_str().unwrap();
        let session = self.place.session();
        let claims = json!({ "iss": self.agent, "sub": self.agent, "aud": issuer, "exp": now() + 60, "jti": self.fresh() });
        let assertion = self.key.sign_parts(&json!({ "alg": "EdDSA" }), &claims).unwrap();
        let details = json!([{ "type": "urn:warrantor:mandate", "identifier": mandate }]).to_string();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", &assertion),
                ("subject_token", &session),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("resource", audience),
                ("authorization_details", &details),
            ])
            .finish();
        let proof = self.proof(&json!({ "htm": "POST", "htu": format!("{issuer}/oauth/token") }), &json!({}));
        let mut client = Client::to(issuer.trim_start_matches("http://").parse().unwrap());
        "/oauth/token".clone_into(&mut client.path);
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("dpop", proof.as_str())];
        let made = client.ask("POST", &headers, &form);
        assert_eq!(made.status, 200, "{made:?}");
        made.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks the gateway for something, with these headers.
    fn ask(&self, headers: &[(&str, &str)]) -> Response {
        let mut client = Client::to(self.place.tools.trim_start_matches("http://").parse().unwrap());
        let all: Vec<(&str, &str)> = LEGACY.iter().chain(headers).copied().collect();
        client.ask("POST", &all, INITIALIZE)
    }

    /// Asks with a token and a proof of it, some of whose parts are changed.
    fn show(&self, token: &str, changes: &Value) -> Response {
        let url = format!("{}/fake", self.place.tools);
        let nonce = self.nonce();
        let claims = json!({ "htm": "POST", "htu": url, "ath": token_hash(token), "nonce": nonce });
        let proof = self.proof(&claims, changes);
        self.ask(&[("authorization", &format!("DPoP {token}")), ("dpop", &proof)])
    }

    fn nonce(&self) -> String {
        let refused = self.ask(&[("dpop", "x")]);
        refused.headers["dpop-nonce"].clone()
    }
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

impl Place {
    /// A session of alice's, begun on the host.
    fn session(&self) -> String {
        let home = tempfile::tempdir().unwrap();
        let url = self.plane.said["url"].as_str().unwrap();
        let mut command = warrantor();
        command.args(["login", "--as", "alice", "--server", url, "-o", "json", "--data"]);
        command.arg(self.world.data()).arg("--bundle").arg(self.world.path("bundle"));
        run(command.env("XDG_CONFIG_HOME", home.path()));
        let kept = std::fs::read_to_string(home.path().join("warrantor/sessions.json")).unwrap();
        let kept: Value = serde_json::from_str(&kept).unwrap();
        kept[url]["token"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_token_counts_for_nobody_else_nowhere_else_and_no_second_time() {
    let place = Place::new();
    let bot = Attacker::new(&place, "bot", 31);
    let thief = Attacker::new(&place, "bot", 99);
    let fake = format!("{}/fake", place.tools);
    let token = bot.token(&fake, &place.mandate);
    assert_eq!(bot.show(&token, &json!({})).status, 200);
    let refused = |response: &Response, error: &str, what: &str| {
        assert_eq!(response.status, 401, "{what}: {response:?}");
        let challenge = &response.headers["www-authenticate"];
        let described =
            format!("resource_metadata=\"{}/.well-known/oauth-protected-resource/fake\"", place.tools);
        assert!(challenge.contains(&described), "{what}: {challenge}");
        assert!(challenge.contains(error), "{what}: {challenge}");
        assert!(!challenge.contains("eyJ") && !response.body.contains("eyJ"), "{what}: the token is told");
    };
    // Nothing, or too much.
    let nothing = bot.ask(&[]);
    refused(&nothing, "DPoP algs=", "nothing");
    assert!(!nothing.headers["www-authenticate"].contains("error"), "{nothing:?}");
    let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(bot.ask(&two).status, 400);
    let bearer = format!("Bearer {token}");
    let dpop = format!("DPoP {token}");
    refused(&bot.ask(&[("authorization", &bearer)]), "invalid_token", "as if it were bound to nothing");
    refused(&bot.ask(&[("authorization", &dpop)]), "invalid_dpop_proof", "without a proof");
    let twice = [("authorization", dpop.as_str()), ("dpop", "a"), ("dpop", "b")];
    refused(&bot.ask(&twice), "invalid_dpop_proof", "with two proofs");
    // Proofs of something else.
    for (what, changes, error) in [
        ("no nonce", json!({ "claims": { "nonce": null } }), "use_dpop_nonce"),
        ("an old nonce", json!({ "claims": { "nonce": "AAAAAAAAAAAAAAAAAAAAAA" } }), "use_dpop_nonce"),
        ("another method", json!({ "claims": { "htm": "GET" } }), "invalid_dpop_proof"),
        (
            "another place",
            json!({ "claims": { "htu": format!("{}/other", place.tools) } }),
            "invalid_dpop_proof",
        ),
        ("another token", json!({ "claims": { "ath": token_hash("x") } }), "invalid_dpop_proof"),
        ("no token", json!({ "claims": { "ath": null } }), "invalid_dpop_proof"),
        ("too old", json!({ "claims": { "iat": now() - 600 } }), "invalid_dpop_proof"),
        ("of the future", json!({ "claims": { "iat": now() + 600 } }), "invalid_dpop_proof"),
        ("no algorithm", json!({ "header": { "alg": "none" } }), "invalid_dpop_proof"),
        ("another type", json!({ "header": { "typ": "JWT" } }), "invalid_dpop_proof"),
    ] {
        refused(&bot.show(&token, &changes), error, what);
    }
    refused(&thief.show(&token, &json!({})), "invalid_token", "a stolen token");
    // A proof that was used.
    let nonce = bot.nonce();
    let claims = json!({ "htm": "POST", "htu": fake, "ath": token_hash(&token), "nonce": nonce });
    let proof = bot.proof(&claims, &json!({}));
    let once = [("authorization", dpop.as_str()), ("dpop", proof.as_str())];
    assert_eq!(bot.ask(&once).status, 200);
    refused(&bot.ask(&once), "invalid_dpop_proof", "once more");
    // Tokens of others, and for others.
    let issuer = place.plane.said["url"].as_str().unwrap().to_owned();
    let elsewhere = bot.token(&format!("{}/other", place.tools), &place.mandate);
    refused(&bot.show(&elsewhere, &json!({})), "invalid_token", "for another server");
    let for_service = bot.token(&issuer, &place.mandate);
    refused(&bot.show(&for_service, &json!({})), "invalid_token", "for the token service");
    let payload = token.split('.').nth(1).unwrap();
    let said: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let forged =
        |header: Value, changes: &Value| thief.key.sign_parts(&header, &with(said.clone(), changes)).unwrap();
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt" });
    let alice = place.signed_in("alice");
    let oversized = format!("{}{}", forged(header.clone(), &json!({})), "A".repeat(20_000));
    for (what, token) in [
        ("signed by somebody", forged(header, &json!({}))),
        ("not signed", forged(json!({ "alg": "none", "typ": "at+jwt" }), &json!({}))),
        ("signed with a secret", forged(json!({ "alg": "HS256", "typ": "at+jwt" }), &json!({}))),
        (
            "with a key at an address",
            forged(json!({ "alg": "EdDSA", "typ": "at+jwt", "jku": "http://127.0.0.1:1/" }), &json!({})),
        ),
        (
            "with a key in it",
            forged(json!({ "alg": "EdDSA", "typ": "at+jwt", "jwk": thief.key.public() }), &json!({})),
        ),
        ("an ID token", alice["id_token"].as_str().unwrap().to_owned()),
        ("the person's own token", alice["access_token"].as_str().unwrap().to_owned()),
        ("no token", "a.b.c".to_owned()),
        ("much too long", oversized),
    ] {
        refused(&thief.show(&token, &json!({})), "invalid_token", what);
    }
    // Where nobody looks for one, none is.
    let mut client = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
    client.path = format!("/fake?access_token={token}");
    assert_eq!(client.ask("POST", &LEGACY, INITIALIZE).status, 401);
    // A mandate that it does not name.
    let mut named = vec![("warrantor-mandate", "work")];
    let proof = bot.proof(
        &json!({ "htm": "POST", "htu": fake, "ath": token_hash(&token), "nonce": bot.nonce() }),
        &json!({}),
    );
    named.extend([("authorization", dpop.as_str()), ("dpop", proof.as_str())]);
    assert_eq!(bot.ask(&named).status, 403);
    // What was recorded is what somebody did with a real token.
    let denied: Vec<Value> =
        place.world.events("decision").into_iter().filter(|one| one["verdict"] == "deny").collect();
    assert!(!denied.is_empty());
    for record in &denied {
        assert_eq!(record["reasons"][0]["code"], "credential_invalid", "{record}");
        assert!(record["evidence"].as_str().unwrap().contains("of bot was refused"), "{record}");
    }
    for what in ["another key", "its audience is another"] {
        assert!(denied.iter().any(|one| one["evidence"].to_string().contains(what)), "{what}: {denied:?}");
    }
    // What describes the place is open to everybody, and of other places there is nothing.
    for (path, status) in [("/fake", 200), ("/nothing", 404), ("", 404)] {
        client.path = format!("/.well-known/oauth-protected-resource{path}");
        let described = client.ask("GET", &[], "");
        assert_eq!(described.status, status, "{path}: {described:?}");
    }
    place.world.verified();
}

#[test]
fn a_session_outlives_its_first_token_and_ends_with_the_revocation_of_its_last() {
    let place = Place::new();
    let bot = Attacker::new(&place, "bot", 31);
    let fake = format!("{}/fake", place.tools);
    let mut client = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
    let ask = |client: &mut Client, token: &str, method: &str, body: &str| {
        let claims = json!({ "htm": method, "htu": fake, "ath": token_hash(token), "nonce": bot.nonce() });
        let (proof, dpop) = (bot.proof(&claims, &json!({})), format!("DPoP {token}"));
        let mut headers = LEGACY.to_vec();
        headers.extend([("authorization", dpop.as_str()), ("dpop", proof.as_str())]);
        client.send(method, &headers, body);
    };
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"on"}}}"#;
    let first = bot.token(&fake, &place.mandate);
    ask(&mut client, &first, "POST", INITIALIZE);
    let begun = client.response();
    assert_eq!(begun.status, 200, "{begun:?}");
    client.session = Some(begun.headers["mcp-session-id"].clone());
    ask(&mut client, &first, "POST", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(client.response().status, 202);
    ask(&mut client, &first, "POST", call);
    assert!(client.response().body.contains("on"));
    // Another token of the same agent, mandate and key goes on with the session.
    let second = bot.token(&fake, &place.mandate);
    ask(&mut client, &second, "POST", call);
    assert!(client.response().body.contains("on"));
    let id = |token: &str| {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&payload).unwrap()["jti"].as_str().unwrap().to_owned()
    };
    let decisions = place.world.events("decision");
    let shown: Vec<&str> = decisions.iter().map(|one| one["evidence"].as_str().unwrap()).collect();
    assert!(shown[0].contains(&id(&first)) && shown[1].contains(&id(&second)), "{shown:?}");
    // A stream is open while the token is revoked.
    let mut listening = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
    listening.join(&client);
    ask(&mut listening, &second, "GET", "");
    assert!(listening.head().is_stream());
    place.world.done(&["revoke", "token", &id(&second)]);
    ask(&mut client, &second, "POST", call);
    let refused = client.response();
    if refused.status == 200 {
        assert_eq!(reason_of(&refused.json()).as_deref(), Some("credential_revoked"), "{refused:?}");
    } else {
        // The revocation may have ended the session before.
        assert_eq!(refused.status, 404, "{refused:?}");
    }
    assert_eq!(listening.event(), None, "the stream went on");
    place.world.verified();
}

/// What the provider gives an application of its own for a place.
fn of_provider(place: &Place, client: &str, who: &str, resource: &str) -> String {
    let mut command = node("tokens.mjs");
    command.args([&place.issuer, client, who, "0123456789abcdef0123", resource]);
    let told: Value = serde_json::from_slice(&run(command.arg(node_modules())).stdout).unwrap();
    told["access_token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[test]
fn a_token_of_another_issuer_says_who_calls_and_lets_nothing_pass() {
    let issuers = "[[oauth.issuers]]\nissuer = \"{provider}\"\n[oauth.issuers.clients.other-app]\nagent = \"bot\"\nmandates = [\"work\"]\nsubjects = [\"alice\", \"bob\"]\n";
    let place = Place::with(&Different { gateway: issuers, bearer: true, ..Different::default() });
    let fake = format!("{}/fake", place.tools);
    let mut client = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
    "/fake".clone_into(&mut client.path);
    let mut ask = |token: &str, session: Option<&str>, body: &str| {
        let bearer = format!("Bearer {token}");
        let mut headers: Vec<(&str, &str)> =
            LEGACY.iter().chain(&[("authorization", bearer.as_str())]).copied().collect();
        headers.extend(session.map(|session| ("mcp-session-id", session)));
        client.ask("POST", &headers, body)
    };
    let token = of_provider(&place, "other-app", "alice", &fake);
    let begun = ask(&token, None, INITIALIZE);
    assert_eq!(begun.status, 200, "{begun:?}\n{}", place.gateway.stderr());
    let session = begun.headers["mcp-session-id"].clone();
    // It goes on with the next token of the same client and person.
    let next = of_provider(&place, "other-app", "alice", &fake);
    let call = |tool: &str| {
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": tool, "arguments": {} } }).to_string()
    };
    let echoed = ask(&next, Some(&session), &call("echo"));
    assert!(echoed.body.contains("tools/call") && !echoed.body.contains("\"isError\":true"), "{echoed:?}");
    // Whatever scopes it has: what is not granted does not pass.
    let refused = ask(&next, Some(&session), &call("nothing"));
    assert!(refused.body.contains("tool_not_available"), "{refused:?}");
    let passed = place.world.events("decision").into_iter().find(|one| one["verdict"] == "pass").unwrap();
    let evidence = passed["evidence"].as_str().unwrap();
    assert!(
        evidence
            .ends_with(&format!(" of {} for other-app, speaking of alice, bound to no key", place.issuer)),
        "{evidence}"
    );
    // Nor is anybody decided on what another's token says, in the era that has no sessions.
    for who in ["alice", "bob", "alice"] {
        let token = format!("Bearer {}", of_provider(&place, "other-app", who, &fake));
        let mut client = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
        "/fake".clone_into(&mut client.path);
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo", "arguments": {}, "_meta": meta } });
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("authorization", token.as_str()),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "echo"),
        ];
        let answer = client.ask("POST", &headers, &call.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        let last = place.world.events("decision").pop().unwrap();
        assert!(last["evidence"].as_str().unwrap().contains(&format!("speaking of {who},")), "{last}");
    }
    // For another place, of another client, of somebody else.
    let elsewhere = of_provider(&place, "other-app", "alice", "urn:warrantor:api");
    let stranger = of_provider(&place, "warrantor", "alice", &fake);
    let cut = token.get(..token.len() - 8).unwrap();
    let unlisted = of_provider(&place, "other-app", "carol", &fake);
    for (what, token) in [
        ("for another place", elsewhere.as_str()),
        ("of another client", &stranger),
        ("of somebody who is not listed", &unlisted),
        ("without its signature", cut),
    ] {
        let refused = ask(token, None, INITIALIZE);
        assert_eq!(refused.status, 401, "{what}: {refused:?}");
        assert!(refused.headers["www-authenticate"].contains("invalid_token"), "{what}");
    }
    let mut describing = Client::to(place.tools.trim_start_matches("http://").parse().unwrap());
    "/.well-known/oauth-protected-resource/fake".clone_into(&mut describing.path);
    let told = describing.ask("GET", &[], "").json();
    assert_eq!(told["authorization_servers"], json!([place.plane.said["url"], place.issuer]));
    place.world.verified();
}
