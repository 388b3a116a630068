//! Publishing from outside: gateways and control planes that follow what is published for their point.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    plane::{Running, ask},
    support::{
        World,
        http::{Caller, Gateway},
        python, reason_of, script, text_of, warrantor,
    },
};

const BOT: Caller<'static> = ("laptop", "bot", &["work"]);
const NO: &str = "@id(\"no\")\nforbid (principal, action, resource);\n";

/// Asks until it is so, within reason.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come about in time");
    }
}

fn publish(world: &World, reason: &str, more: &[&str]) -> Value {
    let bundle = world.path("bundle");
    let words = ["bundle", "publish", bundle.to_str().unwrap(), "--reason", reason];
    world.done(&[&words, more].concat())
}

#[test]
fn a_gateway_decides_on_what_is_published_for_its_point_while_sessions_go_on() {
    let world = World::new();
    let mut gateway = Gateway::before(&world, &[BOT], "point = \"eu\"\n");
    let mut client = gateway.session("laptop");
    let mut reason = || reason_of(&client.call("echo", r#"{"text":"hello"}"#));
    assert_eq!(reason(), None);
    let first = publish(&world, "as it is", &[]);
    world.write("bundle/policies/no.cedar", NO);
    publish(&world, "nothing in the US", &["--point", "us"]);
    let second = publish(&world, "nothing in the EU", &["--point", "eu"]);
    until("the publication", || reason().is_some());
    assert_eq!(reason().as_deref(), Some("policy_forbids"));
    // The differences are told, and the history.
    let differences = world.done(&["bundle", "difference", "3", "--against", "1"]);
    assert_eq!(differences["against"], 1);
    assert_eq!(differences["items"][0]["about"], "file policies/no.cedar", "{differences}");
    // Back again. The directory still has the other policy: what is published stands above it, also after a start.
    let third = world.done(&["bundle", "roll-back", "1", "--reason", "too much"]);
    until("the way back", || reason().is_none());
    let history = world.done(&["bundle", "history"]);
    let reasons: Vec<&str> =
        history.as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["too much", "nothing in the EU", "nothing in the US", "as it is"]);
    assert_eq!((&third["revision"], &third["back_to"]), (&first["revision"], &json!(1)));
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    // Nor does it harm.
    world.write("bundle/people.yaml", "people: [");
    let mut gateway = Gateway::before(&world, &[BOT], "point = \"eu\"\n");
    assert_eq!(reason_of(&gateway.session("laptop").call("echo", r#"{"text":"hello"}"#)), None);
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    // Every decision says on which of them it was made, and where.
    let decisions = world.events("decision");
    assert!(decisions.iter().all(|one| one["enforcement_point"] == "eu"), "{decisions:?}");
    for one in &decisions {
        let expected = if one["verdict"] == "pass" { &first } else { &second };
        assert_eq!(one["bundle"], expected["revision"], "{one}");
    }
    let acts = world.events("act");
    let told = |act: &str| acts.iter().filter(|one| one["act"] == act).count();
    assert_eq!((told("bundles:publish"), told("bundles:roll-back")), (3, 1), "{acts:?}");
    world.verified();
}

#[test]
fn a_publication_that_does_not_fit_a_gateways_settings_changes_nothing_there_and_no_start_goes_past_it() {
    let world = World::new();
    let mut gateway = Gateway::before(&world, &[BOT], "point = \"eu\"\n");
    let mut client = gateway.session("laptop");
    for file in ["tools/fake.yaml", "tools/fake.tools.json", "mandates/work.yaml"] {
        fs::rename(world.path("bundle").join(file), world.path(file.rsplit('/').next().unwrap())).unwrap();
    }
    let agents = fs::read_to_string(world.path("bundle/agents.yaml")).unwrap();
    world.write("bundle/agents.yaml", &agents.replace("servers: [fake]", "servers: []"));
    publish(&world, "without the server", &[]);
    until("the refusal", || gateway.stderr().contains("nothing was changed"));
    assert!(gateway.stderr().contains("the bundle has no manifest for fake"), "{}", gateway.stderr());
    assert_eq!(reason_of(&client.call("echo", r#"{"text":"hello"}"#)), None);
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    assert_eq!(gateway.stderr().matches("nothing was changed").count(), 1, "{}", gateway.stderr());
    for file in ["tools/fake.yaml", "tools/fake.tools.json", "mandates/work.yaml"] {
        fs::rename(world.path(file.rsplit('/').next().unwrap()), world.path("bundle").join(file)).unwrap();
    }
    world.write("bundle/agents.yaml", &agents);
    // Where something is published, the directory's bundle does not help.
    let started = warrantor().args(["gateway", "--config"]).arg(world.path("gateway.toml")).output().unwrap();
    assert_eq!(started.status.code(), Some(1), "{started:?}");
    assert!(String::from_utf8_lossy(&started.stderr).contains("no manifest for fake"), "{started:?}");
}

/// What a published bundle may not say the gateway's own file does.
#[test]
fn a_gateway_gives_its_programs_what_its_own_file_says_beside_a_published_bundle() {
    let mut world = World::new();
    world.environment.push(("OURS".to_owned(), "from-our-environment".to_owned()));
    world.environment.push(("KEPT_BACK".to_owned(), "y".to_owned()));
    publish_first(&world);
    fs::create_dir(world.path("secrets")).unwrap();
    world.write("secrets/token", "from-a-file\n");
    let host = "pass = [\"OURS\"]\ncwd = \"secrets\"\nenv = { FILE_TOKEN = { file = \"secrets/token\" }, PLAIN = \"x\" }\n";
    let command = json!([python(), "-I", "-S", script("upstream.py"), world.path("upstream"), "both"]);
    let more = format!("point = \"eu\"\n[servers.fake]\ncommand = {command}\n{host}");
    let mut gateway = Gateway::start(&world, &[BOT], &more);
    let answer = gateway.session("laptop").call("environment", "{}");
    let seen: Value = serde_json::from_str(&text_of(&answer).unwrap()).unwrap();
    assert_eq!((&seen["FILE_TOKEN"], &seen["PLAIN"]), (&json!("from-a-file".len()), &json!(1)), "{seen}");
    assert_eq!(seen["OURS"], "from-our-environment".len());
    assert!(seen.get("KEPT_BACK").is_none(), "{seen}");
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    // For a server over HTTP they mean nothing, and that is said.
    let http = format!("point = \"eu\"\n[servers.fake]\nurl = \"http://127.0.0.1:1\"\n{host}");
    world.write(
        "gateway.toml",
        &format!("bundle = \"bundle\"\ndata = \"data\"\ntokens = \"tokens.toml\"\n{http}"),
    );
    let started = warrantor().args(["gateway", "--config"]).arg(world.path("gateway.toml")).output().unwrap();
    let stderr = String::from_utf8_lossy(&started.stderr);
    for field in ["env", "pass", "cwd"] {
        assert!(stderr.contains(&format!("`{field}` is for programs")), "{field}: {stderr}");
    }
}

fn publish_first(world: &World) {
    Gateway::before(world, &[BOT], "").stop();
    publish(world, "as it is", &[]);
}

/// The keys of a data directory bear a name that the bundle gives them: one at fault must not leave a directory with another.
#[test]
fn nothing_is_made_where_the_first_configuration_is_at_fault() {
    let world = World::new();
    world.write("bundle/people.yaml", "people: [");
    world.write("tokens.toml", "");
    for point in ["", "point = \"eu\"\n"] {
        for (command, more) in
            [("serve", ""), ("gateway", "tokens = \"tokens.toml\"\n[servers.fake]\ncommand = [\"true\"]\n")]
        {
            let text = format!("bundle = \"bundle\"\ndata = \"data\"\n{point}{more}");
            world.write("faulty.toml", &text);
            let started =
                warrantor().args([command, "--config"]).arg(world.path("faulty.toml")).output().unwrap();
            assert_eq!(started.status.code(), Some(1), "{command}: {started:?}");
            assert!(
                String::from_utf8_lossy(&started.stderr).contains("people.yaml"),
                "{command}: {started:?}"
            );
            assert!(!world.data().exists(), "{command} {point}");
        }
    }
}

#[test]
fn a_control_plane_hands_over_by_what_a_pipeline_published() {
    let world = World::new();
    world.write(
        "serve.toml",
        "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"127.0.0.1:0\"\npoint = \"plane\"\n",
    );
    let mut command = warrantor();
    command.args(["serve", "-o", "json", "--config"]).arg(world.path("serve.toml"));
    let mut running = Running::start(&mut command, &world.path(""));
    let url = running.said["url"].as_str().unwrap().to_owned();
    let made = world.done(&["client", "add", "pipeline", "--role", "publisher"]);
    let token = made["token"].as_str().unwrap();
    let templates = || ask(&url, token, "GET", "/v1/templates", None).1.to_string();
    assert!(!templates().contains("\"look\""), "{}", templates());
    world.write(
        "bundle/mandates/look.yaml",
        "id: look\npurpose: look around\nexpires_in: 30m\ngrants: [{ tool: fake/echo }]\n",
    );
    let mut files = serde_json::Map::new();
    for directory in ["", "tools", "policies", "mandates"] {
        for entry in fs::read_dir(world.path("bundle").join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(world.path("bundle")).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap().into());
            }
        }
    }
    let body = json!({ "files": files, "reason": "commit 1234", "points": ["plane"] });
    let (status, published) = ask(&url, token, "POST", "/v1/bundles", Some(&body));
    assert_eq!(
        (status, published["published"]["by"].as_str()),
        (201, Some("client:pipeline")),
        "{published}"
    );
    until("the new template", || templates().contains("\"look\""));
    assert!(running.stop().success(), "{}", running.stderr());
    world.verified();
}
