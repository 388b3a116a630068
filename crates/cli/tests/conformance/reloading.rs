//! A hangup reads the configuration anew. What is unchanged goes on, what is at fault changes nothing, and the counters tell.

use serde_json::{Value, json};

use crate::{
    behind,
    support::{
        World,
        http::{Client, Gateway},
        reason_of,
    },
};

fn grants(_: &Value) -> Vec<Value> {
    vec![json!({ "effects": ["read"], "servers": ["fixture"] })]
}

fn session(gateway: &Gateway) -> Client {
    let mut client = gateway.client("suite");
    client.path = "/fixture".to_owned();
    client.initialize();
    client
}

fn metrics(gateway: &Gateway) -> String {
    let mut client = Client::to(gateway.metrics.unwrap());
    client.path = "/metrics".to_owned();
    let response = client.ask("GET", &[], "");
    assert_eq!(response.status, 200);
    response.body
}

/// Has the configuration read, and waits until the counters tell that it was.
pub(crate) fn reload(gateway: &Gateway, result: &str, count: u32) {
    gateway.hangup();
    let line = format!("warrantor_reloads_total{{result=\"{result}\"}} {count}");
    for () in crate::patiently() {
        if metrics(gateway).contains(&line) {
            return;
        }
    }
    panic!("no {line}: {}", gateway.stderr());
}

fn change(world: &World, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(world.path(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    world.write(file, &text.replace(from, to));
}

#[test]
fn a_new_bundle_decides_in_sessions_that_go_on_and_a_wrong_one_changes_nothing() {
    let (_runtime, world, mut gateway) = behind(grants, "metrics = \"127.0.0.1:0\"");
    let mut client = session(&gateway);
    assert_ne!(client.call("test_simple_text", "{}")["result"]["isError"], true);
    change(&world, "bundle/policies/all.cedar", "permit (", "permit )");
    reload(&gateway, "refused", 1);
    assert!(gateway.stderr().contains("policies/all.cedar"), "{}", gateway.stderr());
    assert_ne!(
        client.call("test_simple_text", "{}")["result"]["isError"],
        true,
        "a wrong bundle took effect"
    );
    world.write(
        "bundle/policies/all.cedar",
        "@id(\"all\")\npermit (principal, action, resource);\n@id(\"no\")\nforbid (principal, action == Action::\"fixture/test_simple_text\", resource);\n",
    );
    reload(&gateway, "taken", 1);
    assert_eq!(reason_of(&client.call("test_simple_text", "{}")).as_deref(), Some("policy_forbids"));
    assert!(client.call("test_error_handling", "{}")["result"]["isError"] == true);
    let told = metrics(&gateway);
    for line in [
        "warrantor_decisions_total{server=\"fixture\",offer=\"tool\",verdict=\"deny\",reason=\"policy_forbids\"} 1",
        "warrantor_sessions 1",
        "warrantor_ready 1",
        "warrantor_reloads_total{result=\"refused\"} 1",
    ] {
        assert!(told.lines().any(|said| said == line), "{line} is not in\n{told}");
    }
    assert!(gateway.stop().success());
    let revisions = world.events("bundle");
    assert_eq!(revisions.len(), 2, "{revisions:?}");
    world.verified();
}

#[test]
fn a_token_that_is_taken_away_ends_its_sessions_and_the_others_go_on() {
    let (_runtime, world, gateway) = behind(grants, "metrics = \"127.0.0.1:0\"");
    let tokens = std::fs::read_to_string(world.path("tokens.toml")).unwrap();
    let mut client = session(&gateway);
    assert!(client.call("test_simple_text", "{}")["result"].is_object());
    world.write("tokens.toml", "");
    reload(&gateway, "taken", 1);
    client.request("tools/call", r#"{"name":"test_simple_text","arguments":{}}"#);
    assert_eq!(client.response().status, 401);
    world.write("tokens.toml", &tokens);
    reload(&gateway, "taken", 2);
    client.request("tools/call", r#"{"name":"test_simple_text","arguments":{}}"#);
    assert_eq!(client.response().status, 404, "the session outlived its token");
    let mut other = session(&gateway);
    reload(&gateway, "taken", 3);
    assert!(other.call("test_simple_text", "{}")["result"].is_object(), "an unchanged session was ended");
}
