//! Questions to persons from end to end: the official SDKs as clients of a gateway elsewhere, a control plane with its pages, a real provider, and a person at a
//! real browser.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    oauth::free,
    plane::{Plane, Running, node, provider},
    support::{World, fixture, http::Gateway, node_modules, python, reason_of, run, script, warrantor},
};

/// A control plane with pages, a gateway that it decides for, and a provider that people sign in with.
struct Place {
    world: World,
    issuer: String,
    _provider: Running,
    plane: Plane,
    control: String,
    gateway: Gateway,
    mandate: String,
}

impl Place {
    fn new(hold: &str) -> Self {
        Self::telling(hold, "")
    }

    /// With notices.
    fn telling(hold: &str, notices: &str) -> Self {
        let mandate = fixture("mandate.yaml").replace(
            "    limits: { calls: 3, sum: { amount: 100 } }\n",
            "    limits: { calls: 3, sum: { amount: 100 } }\n    ask: person\n",
        );
        assert!(mandate.contains("ask: person"));
        let world = World::with_mandate(&mandate);
        let (provider, issuer) = provider(&world);
        let people = fixture("people.yaml").replace("https://login.example.com", &issuer);
        world.write("bundle/people.yaml", &people);
        let control = format!("http://127.0.0.1:{}", free());
        world.write(
            "serve.toml",
            &format!(
                "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{}\"\n[provider]\nissuer = \"{issuer}\"\nclient_id = \"warrantor\"\n[approvals]\nurl = \"{control}\"\n{notices}",
                control.trim_start_matches("http://"),
            ),
        );
        let plane = Self::serve(&world);
        let key = plane.said["key"].as_str().unwrap().to_owned();
        let made = world.done(&["client", "add", "eu", "--role", "enforcement-point"]);
        world.write("plane-token", made["token"].as_str().unwrap());
        let bundle = world.path("bundle");
        let handed = world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
        let mandate = handed["mandate"].as_str().unwrap().to_owned();
        let command = json!([python(), "-I", "-S", script("upstream.py"), world.path("upstream"), "both"]);
        let config = format!(
            "listen = \"127.0.0.1:0\"\npoint = \"eu\"\n[plane]\nurl = \"{control}\"\ntoken = {{ file = \"plane-token\" }}\nkeys = [\"{key}\"]\n{hold}[servers.fake]\ncommand = {command}\n",
        );
        let gateway = Gateway::configured(&world, &[("laptop", "bot", &[&mandate])], &config);
        Self { world, issuer, _provider: provider, plane: Plane::of(plane), control, gateway, mandate }
    }

    fn serve(world: &World) -> Running {
        let mut serve = warrantor();
        serve
            .args(["serve", "-o", "json", "--config"])
            .arg(world.path("serve.toml"))
            .env("WARRANTOR_LOG", "info");
        Running::start(&mut serve, &world.path(""))
    }

    /// A client of the official Python SDK.
    fn client(&self, mode: &str) -> Asker {
        let order = json!({
            "url": format!("http://{}/fake", self.gateway.address), "token": self.gateway.token("laptop"), "mode": mode,
        });
        let mut asker = Asker::start(Command::new(python()).arg(script("asker.py")));
        asker.say(&order);
        assert!(asker.heard()["version"].is_string(), "{}", self.gateway.stderr());
        asker
    }

    /// A client of the official TypeScript SDK.
    fn typescript(&self, era: &str) -> Asker {
        let order = json!({
            "url": format!("http://{}/fake", self.gateway.address),
            "token": self.gateway.token("laptop"),
            "modules": node_modules(),
            "era": era,
        });
        let mut asker = Asker::start(&mut node("asker.mjs"));
        asker.say(&order);
        assert!(asker.heard()["version"].is_string(), "{}", self.gateway.stderr());
        asker
    }

    /// A person opens a page in a browser, signs in and answers.
    fn person(&self, order: &Value) -> Value {
        let mut all = json!({ "modules": node_modules(), "browser": browser(), "account": "alice" });
        for (name, value) in order.as_object().unwrap() {
            all[name.as_str()] = value.clone();
        }
        let mut command = node("pages.mjs");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(all.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(told["failed"], Value::Null, "{told}\n{said}\n{}", self.plane.running.stderr());
        told
    }

    fn questions(&self) -> Vec<Value> {
        let listed = self.world.done(&["approvals", "list", "--all"]);
        listed.as_array().unwrap().clone()
    }

    /// Answers on the host.
    fn on_host(&self, words: &[&str]) -> Value {
        self.world.done(&[&["approvals"], words].concat())
    }
}

fn browser() -> String {
    std::env::var("WARRANTOR_TEST_BROWSER").expect("no Chromium: run the tests with `cargo xtask test`")
}

/// A client that goes on as it is told.
struct Asker {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Asker {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    fn say(&mut self, value: &Value) {
        writeln!(self.to, "{value}").unwrap();
        self.to.flush().unwrap();
    }

    fn heard(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client ended"))
    }

    fn pay(&mut self, arguments: &Value) -> Value {
        self.say(&json!({ "call": ["pay", arguments] }));
        self.heard()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn paid(place: &Place) -> usize {
    place.world.upstream("effects").len()
}

/// What a model reads of an answer.
fn told_of(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn question_of(answer: &Value) -> String {
    assert_eq!(reason_of(answer).as_deref(), Some("approval_required"), "{answer}");
    answer["result"]["structuredContent"]["decision"].as_str().unwrap().to_owned()
}

#[test]
fn a_client_is_sent_to_the_page_where_a_person_at_a_browser_says_yes_and_the_call_is_made_once() {
    let place = Place::new("");
    let mut client = place.client("auto");
    client.say(&json!({ "call": ["pay", { "amount": 10 }] }));
    let page = client.heard()["page"].clone();
    let url = page["url"].as_str().unwrap_or_else(|| panic!("{page}"));
    assert!(url.starts_with(&format!("{}/approvals/d", place.control)), "{url}");
    assert!(!page.to_string().contains("amount"), "a notice holds no argument: {page}");
    let shots = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&shots).unwrap();
    let told = place.person(&json!({ "url": url, "answer": "keys", "shots": shots }));
    let before = told["before"].as_str().unwrap();
    for part in [
        "bot wants to call fake/pay",
        "Do what the test says.",
        "amount",
        "10",
        "the grant asks person:alice",
    ] {
        assert!(before.contains(part), "{part}: {before}");
    }
    assert_eq!(told["violations"], json!([]), "{told}");
    assert_eq!(told["shots"].as_array().unwrap().len(), 4);
    assert!(told["after"].as_str().unwrap().contains("Approved, once"), "{told}");
    client.say(&json!({ "action": "accept" }));
    let made = client.heard();
    assert_eq!(made["result"]["isError"], json!(false), "{made}\n{}", place.gateway.stderr());
    assert_eq!(paid(&place), 1);
    // Another amount is another call.
    client.say(&json!({ "call": ["pay", { "amount": 11 }] }));
    let next = client.heard();
    assert_ne!(next["page"]["url"], page["url"], "{next}");
    client.say(&json!({ "action": "decline" }));
    assert_eq!(reason_of(&client.heard()).as_deref(), Some("approval_required"));
    assert_eq!(paid(&place), 1);
    // What happened can be shown from the records alone.
    let answered = place.world.events("approval");
    assert_eq!(
        (answered.len(), &answered[0]["change"], &answered[0]["by"]),
        (1, &json!("approved"), &json!("person:alice"))
    );
    assert!(answered[0]["evidence"].as_str().unwrap().contains("signed in with http"), "{answered:?}");
    let used = place.world.events("decision").into_iter().find(|one| one["verdict"] == "pass").unwrap();
    assert_eq!(used["approval"]["used"], true, "{used}");
    place.world.verified();
}

#[test]
fn an_older_client_is_told_where_to_go_and_a_no_comes_back_with_its_reason() {
    let place = Place::new("");
    let mut client = place.client("legacy");
    let sent = client.pay(&json!({ "amount": 10 }));
    let url = match sent["error"]["code"].as_i64() {
        Some(-32042) => sent["error"]["data"]["elicitations"][0]["url"].as_str().unwrap().to_owned(),
        _ => {
            let id = question_of(&sent);
            assert!(told_of(&sent).contains("/approvals/"), "{sent}");
            format!("{}/approvals/{id}", place.control)
        }
    };
    let told = place.person(&json!({ "url": url, "answer": "deny", "reason": "Ask the supplier first" }));
    assert!(told["after"].as_str().unwrap().contains("Ask the supplier first"), "{told}");
    let denied = client.pay(&json!({ "amount": 10 }));
    assert_eq!(reason_of(&denied).as_deref(), Some("approval_denied"), "{denied}");
    assert!(told_of(&denied).contains("Ask the supplier first"), "{denied}");
    assert_eq!(paid(&place), 0);
    // Somebody else sees nothing of it.
    let other = place.person(&json!({ "url": url, "account": "bob", "answer": "look" }));
    assert!(
        other["before"].as_str().unwrap().contains("no such question")
            || other["before"].as_str().unwrap().contains("not registered"),
        "{other}"
    );
}

#[test]
fn the_other_sdk_has_its_calls_made_once_they_were_approved_in_both_eras() {
    let place = Place::new("");
    let mut client = place.typescript("modern");
    client.say(&json!({ "call": ["pay", { "amount": 10 }] }));
    let page = client.heard();
    let id = page["page"]["url"]
        .as_str()
        .and_then(|url| url.rsplit('/').next())
        .unwrap_or_else(|| panic!("{page}"));
    place.on_host(&["approve", id]);
    client.say(&json!({ "action": "accept" }));
    let made = client.heard();
    assert_eq!(made["result"]["content"][0]["type"], "text", "{made}\n{}", place.gateway.stderr());
    assert_ne!(made["result"]["isError"], json!(true), "{made}");
    assert_eq!(paid(&place), 1);
    // Another amount is another call, and a no is told with its reason.
    client.say(&json!({ "call": ["pay", { "amount": 11 }] }));
    let next = client.heard();
    let url = next["page"]["url"].as_str().unwrap_or_else(|| panic!("{next}"));
    let id = url.rsplit('/').next().unwrap().to_owned();
    place.on_host(&["deny", &id, "--as", "alice", "--reason", "not this one"]);
    client.say(&json!({ "action": "accept" }));
    let denied = client.heard();
    assert_eq!(reason_of(&denied).as_deref(), Some("approval_denied"), "{denied}");
    assert!(told_of(&denied).contains("not this one"), "{denied}");

    let mut client = place.typescript("legacy");
    let sent = client.pay(&json!({ "amount": 12 }));
    assert_eq!(sent["error"]["code"], -32042, "{sent}");
    let id = sent["error"]["data"]["elicitations"][0]["elicitationId"].as_str().unwrap();
    place.on_host(&["approve", id]);
    let made = client.pay(&json!({ "amount": 12 }));
    assert_ne!(made["result"]["isError"], json!(true), "{made}");
    assert_eq!(paid(&place), 2);
    place.world.verified();
}

#[test]
fn what_a_person_put_in_is_made_after_both_processes_began_again_in_between() {
    let mut place = Place::new("");
    let mut client = place.client("2026-07-28");
    client.say(&json!({ "call": ["pay", { "amount": 10 }] }));
    let url = client.heard()["page"]["url"].as_str().unwrap().to_owned();
    let told = place.person(&json!({ "url": url, "answer": "change", "arguments": "{\"amount\":7.50}" }));
    assert!(told["after"].as_str().unwrap().contains("put these in the place of"), "{told}");
    assert!(place.plane.running.stop().success());
    place.plane = Plane::of(Place::serve(&place.world));
    client.say(&json!({ "action": "accept" }));
    let made = client.heard();
    let content =
        made["result"]["content"].as_array().unwrap_or_else(|| panic!("{made}\n{}", place.gateway.stderr()));
    assert!(content.last().unwrap()["text"].as_str().unwrap().contains(r#"{"amount":7.50}"#), "{made}");
    assert_eq!(paid(&place), 1);
    assert_eq!(place.questions()[0]["state"], "used");
}

#[test]
fn programs_elsewhere_are_told_of_questions_and_of_what_came_of_them() {
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let mut command = Command::new(python());
    let mut receiver = Asker::start(command.arg(script("notices.py")).arg(secret));
    let port = receiver.heard()["port"].clone();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("notices-{port}"));
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let notices =
        format!("[[approvals.notices]]\nurl = \"http://127.0.0.1:{port}/hook\"\nsecret_file = {file:?}\n");
    let place = Place::telling("", &notices);
    let mut client = place.client("legacy");
    let id = place_question(&place, &mut client, 10);
    // It was not taken at first, and is sent again.
    let asked = receiver.heard();
    assert_eq!((&asked["ok"], &asked["id"]), (&json!(true), &json!(format!("{id}.waiting"))), "{asked}");
    let told = &asked["said"]["data"];
    assert_eq!(asked["said"]["type"], "approval.asked");
    assert_eq!(told["url"], format!("{}/approvals/{id}", place.control));
    assert_eq!((&told["tool"], &told["asked"]), (&json!("fake/pay"), &json!(["person:alice"])));
    assert!(!asked.to_string().contains("amount"), "{asked}");
    place.on_host(&["deny", &id, "--reason", "no"]);
    let settled = receiver.heard();
    assert_eq!(settled["said"]["type"], "approval.settled");
    assert_eq!(
        (&settled["ok"], &settled["said"]["data"]["state"]),
        (&json!(true), &json!("denied")),
        "{settled}"
    );
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_call_waits_for_its_answer_and_goes_on_with_it() {
    let place = Place::new("[approvals]\nhold = \"30s\"\n");
    let mut client = place.client("legacy");
    client.say(&json!({ "call": ["pay", { "amount": 10 }] }));
    let question = crate::elsewhere::until("a question", || place.questions().first().cloned());
    let id = question["id"].as_str().unwrap();
    let refused = place.world.control(&["approvals", "approve", id, "--as", "bob"]);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let shown = place.on_host(&["show", id]);
    assert_eq!(shown["arguments"], json!({ "amount": 10 }));
    assert_eq!(place.on_host(&["approve", id])["state"], "approved");
    let made = client.heard();
    assert_eq!(made["result"]["isError"], json!(false), "{made}");
    assert_eq!(paid(&place), 1);
}

#[test]
fn the_command_line_answers_at_a_control_plane_as_whoever_has_signed_in() {
    let place = Place::new("");
    let mut client = place.client("legacy");
    let id = place_question(&place, &mut client, 10);
    let ours = |words: &[&str]| place.plane.command("alice", words);
    let unknown = ours(&["approvals", "list"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2), "{}", String::from_utf8_lossy(&unknown.stderr));
    assert_eq!(place.plane.sign_in("alice", false), "alice");
    let listed: Value =
        serde_json::from_slice(&run(&mut ours(&["approvals", "list", "--mine"])).stdout).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["agent"]), (&json!(id), &json!("bot")));
    let stale = format!("sha256:{}", "0".repeat(64));
    let refused = ours(&["approvals", "approve", &id, "--shown", &stale]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let other = ours(&["approvals", "approve", "d000000000000-0000000000000000"]).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    let approved: Value =
        serde_json::from_slice(&run(&mut ours(&["approvals", "approve", &id])).stdout).unwrap();
    assert_eq!(approved["state"], "approved");
    assert_eq!(client.pay(&json!({ "amount": 10 }))["result"]["isError"], json!(false));
    let next = place_question(&place, &mut client, 20);
    let denied: Value =
        serde_json::from_slice(&run(&mut ours(&["approvals", "deny", &next, "--end-mandate"])).stdout)
            .unwrap();
    assert_eq!(denied["state"], "denied");
    let ended = client.pay(&json!({ "amount": 20 }));
    assert_eq!(reason_of(&ended).as_deref(), Some("mandate_revoked"), "{ended}");
    let stats: Value = serde_json::from_slice(&run(&mut ours(&["approvals", "stats"])).stdout).unwrap();
    let all = &stats["came"][0];
    assert_eq!(
        (&all["asked"], &all["approved"], &all["denied"]),
        (&json!(2), &json!(1), &json!(1)),
        "{stats}"
    );
    let grant = stats["came"].as_array().unwrap().iter().find(|came| came["of"] == "grant:work#grants/3");
    assert!(grant.is_some() && stats["sparing"] == json!([]), "{stats}");
    assert!(!place.mandate.is_empty() && place.issuer.starts_with("http"));
}

/// Asks about a payment, and gives the question.
fn place_question(place: &Place, client: &mut Asker, amount: u32) -> String {
    client.pay(&json!({ "amount": amount }));
    let open: Vec<Value> = place.questions().into_iter().filter(|one| one["state"] == "waiting").collect();
    open.last().unwrap()["id"].as_str().unwrap().to_owned()
}
