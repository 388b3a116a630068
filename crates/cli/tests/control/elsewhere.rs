//! A gateway on another machine, as it were: it has no data directory, and a control plane decides its calls over the wire.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    plane::Running,
    support::{
        World,
        collector::Collector,
        http::{Client, Gateway},
        python, reason_of, script, text_of, warrantor,
    },
};

/// A control plane on a world's data directory, a client of it that is an enforcement point, and a mandate that was handed over.
struct Elsewhere {
    world: World,
    plane: Running,
    listen: String,
    key: String,
    mandate: String,
}

impl Elsewhere {
    fn new() -> Self {
        let world = World::new();
        let (plane, listen) = serve(&world, "127.0.0.1:0");
        let key = plane.said["key"].as_str().unwrap().to_owned();
        let made = world.done(&["client", "add", "eu", "--role", "enforcement-point"]);
        world.write("plane-token", made["token"].as_str().unwrap());
        let bundle = world.path("bundle");
        let handed = world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
        let mandate = handed["mandate"].as_str().unwrap().to_owned();
        Self { world, plane, listen, key, mandate }
    }

    fn config(&self) -> String {
        let command =
            json!([python(), "-I", "-S", script("upstream.py"), self.world.path("upstream"), "both"]);
        format!(
            "listen = \"127.0.0.1:0\"\npoint = \"eu\"\n\n[plane]\nurl = \"http://{}\"\ntoken = {{ file = \"plane-token\" }}\nkeys = [\"{}\"]\n\n[servers.fake]\ncommand = {command}\n",
            self.listen, self.key
        )
    }

    fn gateway(&self) -> Gateway {
        Gateway::configured(&self.world, &[("laptop", "bot", &[&self.mandate])], &self.config())
    }
}

fn serve(world: &World, listen: &str) -> (Running, String) {
    let running = serve_with(world, listen, "");
    let url = running.said["url"].as_str().unwrap();
    let listen = url.rsplit('/').next().unwrap().to_owned();
    (running, listen)
}

fn serve_with(world: &World, listen: &str, more: &str) -> Running {
    world.write(
        "serve.toml",
        &format!("bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{listen}\"\npoint = \"plane\"\n{more}"),
    );
    let mut command = warrantor();
    command.args(["serve", "-o", "json", "--config"]).arg(world.path("serve.toml"));
    Running::start(&mut command, &world.path(""))
}

fn echo(client: &mut Client) -> Value {
    client.call("echo", r#"{"text":"hello"}"#)
}

/// Asks until it is so, within reason.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} did not come about in time");
    }
}

#[test]
fn a_gateway_without_a_data_directory_has_its_calls_decided_recorded_and_explained_elsewhere() {
    let at = Elsewhere::new();
    let mut gateway = at.gateway();
    let mut client = gateway.session("laptop");
    client.request("tools/list", "{}");
    let listed = client.response().json();
    assert!(
        listed["result"]["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "echo"),
        "{listed}"
    );
    assert!(text_of(&echo(&mut client)).unwrap().contains("hello"));
    let refused = client.call("perform", r#"{"nth":"first"}"#);
    assert_eq!(reason_of(&refused).as_deref(), Some("arguments_invalid"), "{refused}");
    let unknown = client.call("not_there", "{}");
    assert_eq!(reason_of(&unknown).as_deref(), Some("tool_not_available"), "{unknown}");
    let mut newer = gateway.client("laptop");
    assert!(text_of(&newer.call_modern("echo", r#"{"text":"newer"}"#)).unwrap().contains("newer"));
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    let decisions = at.world.events("decision");
    let verdicts: Vec<&str> = decisions.iter().map(|one| one["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["pass", "deny", "deny", "pass"], "{decisions:?}");
    assert!(decisions.iter().all(|one| one["enforcement_point"] == "eu"), "{decisions:?}");
    assert_eq!(at.world.events("outcome").len(), 2, "each pass has its outcome");
    let records = at.world.records();
    let denied = records.iter().map(|one| &one["record"]).find(|record| record["event"]["verdict"] == "deny");
    let explained = at.world.done(&["explain", denied.unwrap()["id"].as_str().unwrap()]);
    assert!(explained.to_string().contains("arguments_invalid"), "{explained}");
    at.world.verified();
}

#[test]
fn what_is_stopped_and_published_at_the_control_plane_holds_at_the_gateway() {
    let at = Elsewhere::new();
    let mut gateway = at.gateway();
    let mut client = gateway.session("laptop");
    assert_eq!(reason_of(&echo(&mut client)), None);
    at.world.done(&["revoke", "agent", "bot"]);
    // The next call is refused, by its decision or because its session has ended meanwhile.
    client.request("tools/call", r#"{"name":"echo","arguments":{}}"#);
    let answered = client.response();
    assert!(answered.status == 404 || answered.body.contains("agent_inactive"), "{answered:?}");
    until("the end of the session", || {
        client.request("tools/list", "{}");
        (client.response().status == 404).then_some(())
    });
    at.world.done(&["revoke", "agent", "bot", "--lift"]);
    let mut client = gateway.session("laptop");
    assert_eq!(reason_of(&echo(&mut client)), None);

    at.world.write("bundle/policies/no.cedar", "@id(\"no\")\nforbid (principal, action, resource);\n");
    let bundle = at.world.path("bundle");
    at.world.done(&[
        "bundle",
        "publish",
        bundle.to_str().unwrap(),
        "--reason",
        "nothing in the EU",
        "--point",
        "eu",
    ]);
    until("the publication", || reason_of(&echo(&mut client)).filter(|reason| reason == "policy_forbids"));
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    at.world.verified();
}

#[test]
fn without_the_control_plane_nothing_passes_and_with_it_again_everything_is_recorded() {
    let mut at = Elsewhere::new();
    let mut gateway = at.gateway();
    let mut client = gateway.session("laptop");
    assert_eq!(reason_of(&echo(&mut client)), None);
    at.plane.child.kill().unwrap();
    at.plane.child.wait().unwrap();
    let before = at.world.upstream("lines").iter().filter(|line| line.contains("tools/call")).count();
    let refused = echo(&mut client);
    assert_eq!(reason_of(&refused).as_deref(), Some("decision_unavailable"), "{refused}");
    let after = at.world.upstream("lines").iter().filter(|line| line.contains("tools/call")).count();
    assert_eq!(before, after, "what was refused was not sent");
    let listen = at.listen.clone();
    (at.plane, _) = serve(&at.world, &listen);
    // Where the gateway was out of touch for long its sessions have ended; a new one does.
    let mut client = until("the way back", || {
        let mut client = gateway.client("laptop");
        client.initialize();
        (reason_of(&echo(&mut client)).is_none()).then_some(client)
    });
    assert!(text_of(&echo(&mut client)).is_some());
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    let passes = at.world.events("decision").iter().filter(|one| one["verdict"] == "pass").count();
    assert_eq!(at.world.events("outcome").len(), passes);
    // What was refused meanwhile is known as a number.
    let gaps = at.world.events("audit_gap");
    assert!(gaps.iter().any(|gap| gap["lost"].as_u64() >= Some(1)), "{gaps:?}");
    at.world.verified();
}

#[test]
fn a_call_that_runs_when_the_control_plane_goes_is_told_of_when_it_is_back() {
    let mut at = Elsewhere::new();
    let mut gateway = at.gateway();
    let mut client = gateway.session("laptop");
    at.world.make_gate();
    client.request("tools/call", r#"{"name":"slow","arguments":{"id":"a"}}"#);
    until("the call", || at.world.upstream("effects").contains(&"began a".to_owned()).then_some(()));
    at.plane.child.kill().unwrap();
    at.plane.child.wait().unwrap();
    at.world.open_gate();
    let answered = client.response();
    assert!(answered.json()["error"].is_object(), "what could not be taken in was shown: {answered:?}");
    let listen = at.listen.clone();
    (at.plane, _) = serve(&at.world, &listen);
    until("the outcome", || {
        let outcomes = at.world.events("outcome");
        outcomes.iter().any(|one| one["outcome"] == "withheld").then_some(())
    });
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    at.world.verified();
}

#[test]
fn another_key_and_another_token_are_taken_at_a_hangup_and_no_other_point() {
    let at = Elsewhere::new();
    let mut gateway = at.gateway();
    let mut client = gateway.session("laptop");
    assert_eq!(reason_of(&echo(&mut client)), None);
    let again = |text: String, told: &str| {
        at.world.write("gateway.toml", &format!("tokens = \"tokens.toml\"\n{text}"));
        gateway.hangup();
        until(told, || gateway.stderr().contains(told).then_some(()));
    };
    again(at.config().replace("point = \"eu\"", "point = \"us\""), "takes effect at the next start");
    // Whoever has lost a key believes it no more from there on.
    let stranger = World::new();
    let (other, _) = serve(&stranger, "127.0.0.1:0");
    again(at.config().replace(&at.key, other.said["key"].as_str().unwrap()), "no trusted key signed");
    assert_eq!(reason_of(&echo(&mut client)).as_deref(), Some("decision_unavailable"));
    again(at.config(), "was read anew");
    let mut client = gateway.session("laptop");
    assert_eq!(reason_of(&echo(&mut client)), None);
    assert!(gateway.stop().success(), "{}", gateway.stderr());
}

/// One trace from the client through the gateway to the control plane.
#[test]
fn the_control_plane_s_spans_join_the_trace_of_the_call() {
    let (collector, port) = Collector::start();
    let traces = format!(
        "[traces]\nendpoint = \"http://127.0.0.1:{port}/v1/traces\"\nheaders = {{ X-Key = \"k3y\" }}\n"
    );
    let mut at = Elsewhere::new();
    assert!(at.plane.stop().success());
    at.plane = serve_with(&at.world, &at.listen, &traces);
    let config = at.config().replace("\n[plane]", &format!("\n{traces}\n[plane]"));
    let mut gateway = Gateway::configured(&at.world, &[("laptop", "bot", &[&at.mandate])], &config);
    let mut client = gateway.session("laptop");
    assert_eq!(reason_of(&echo(&mut client)), None);
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    assert!(at.plane.stop().success(), "{}", at.plane.stderr());
    let spans = collector.spans();
    let call = spans.iter().find(|span| span.name == "tools/call echo" && span.kind == 2).unwrap();
    let asked: Vec<_> = spans.iter().filter(|span| span.name == "POST /v1/enforcement").collect();
    assert!(asked.iter().any(|span| span.parent == call.id && span.trace == call.trace), "{spans:#?}");
    for span in asked {
        assert_eq!(span.attributes["http.route"], "/v1/enforcement");
        assert!(span.attributes.contains_key("warrantor.request") && !span.fails, "{span:?}");
    }
    let bytes = collector.bytes();
    for word in ["hello", "alice", &fs::read_to_string(at.world.path("plane-token")).unwrap()] {
        assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} is in a span");
    }
}

#[test]
fn nobody_is_believed_who_does_not_sign_for_this_very_point() {
    let at = Elsewhere::new();
    let config = at.config();
    let other = at.world.done(&["client", "add", "us", "--role", "enforcement-point"]);
    at.world.write("other-token", other["token"].as_str().unwrap());
    let nobody = at.world.done(&["client", "add", "auditors", "--role", "auditor"]);
    at.world.write("auditor-token", nobody["token"].as_str().unwrap());
    at.world.write("no-token", "wc_nothing");
    at.world.write("tokens.toml", "");
    let (name, _) = at.key.split_once('+').unwrap();
    // The key of another: well-formed, and not the control plane's.
    let second = World::new();
    let (_plane, _) = serve(&second, "127.0.0.1:0");
    let stranger = _plane.said["key"].as_str().unwrap().to_owned();
    assert_ne!(stranger, at.key);
    for (from, to, told) in [
        (at.key.as_str(), stranger.as_str(), "no trusted key signed"),
        ("\"plane-token\"", "\"other-token\"", "made out to another enforcement point"),
        ("\"plane-token\"", "\"auditor-token\"", "decisions:make is not permitted"),
        ("\"plane-token\"", "\"no-token\"", "401"),
        (at.key.as_str(), name, "is no key of a control plane"),
        ("point = \"eu\"\n", "", "which enforcement point it is"),
        ("point = \"eu\"\n", "point = \"eu\"\nbundle = \"bundle\"\n", "take one of the two out"),
        (at.listen.as_str(), "127.0.0.1:1", "does not answer"),
        ("http://", "http://example.com", "no https address"),
    ] {
        assert!(config.contains(from), "{from}");
        let text = format!("tokens = \"tokens.toml\"\n{}", config.replacen(from, to, 1));
        at.world.write("gateway.toml", &text);
        let started =
            warrantor().args(["gateway", "--config"]).arg(at.world.path("gateway.toml")).output().unwrap();
        let stderr = String::from_utf8_lossy(&started.stderr);
        assert!(!started.status.success(), "{from} {to}");
        assert!(stderr.contains(told), "{told}: {stderr}");
    }
    // A mandate of a bundle is handed over by nobody here.
    at.world.write(
        "tokens.toml",
        &format!("[tokens.a]\nsha256 = \"{}\"\nagent = \"bot\"\nmandates = [\"work\"]\n", "0".repeat(64)),
    );
    at.world.write("gateway.toml", &format!("tokens = \"tokens.toml\"\n{config}"));
    let started =
        warrantor().args(["gateway", "--config"]).arg(at.world.path("gateway.toml")).output().unwrap();
    assert!(
        String::from_utf8_lossy(&started.stderr).contains("hand it over at the control plane"),
        "{started:?}"
    );
    // And the doctor sees all of it.
    fs::write(at.world.path("tokens.toml"), "").unwrap();
    let seen = warrantor()
        .args(["doctor", "-o", "json", "--config"])
        .arg(at.world.path("gateway.toml"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains("answers, and is believed"), "{seen:?}");
}
