//! What servers of a set ask of its client, and what goes on after their answers: each comes back to the server that it belongs to.

use std::fs;

use serde_json::{Value, json};

use crate::{
    fixture,
    offers::{ask, send},
    support::http::{Client, Gateway, LEGACY},
    world,
};

/// Each server may be told something else.
fn grants(_: &Value) -> Vec<Value> {
    let mut grants = Vec::new();
    for server in ["fixture", "twin"] {
        grants.push(json!({ "effects": ["read"], "servers": [server] }));
        grants.push(json!({ "client": format!("{server}/tasks") }));
        let names = json!({ "in": ["username", "email", "name"] });
        let content = json!({ "in": if server == "twin" { ["b", "x"] } else { ["a", "x"] } });
        grants.push(json!({ "client": format!("{server}/elicitation"),
            "arguments": { "content": content, "content/@keys": names } }));
    }
    grants
}

const SET: &str = r#"
[sets.office.tools]
ask_here = "fixture/test_elicitation"
ask_there = "twin/test_elicitation"
wait_here = "fixture/test_input_required_result_elicitation"
wait_there = "twin/test_input_required_result_elicitation"
later = "twin/slow_compute"
change = "twin/test_trigger_tool_change"
"#;

fn start() -> (tokio::runtime::Runtime, crate::World, Gateway) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let servers = ["fixture", "twin"].map(|name| {
        let server = runtime.block_on(fixture::serve());
        format!("[servers.{name}]\nurl = \"http://{server}/mcp\"\n")
    });
    let world = world(grants);
    crate::with_twin(&world);
    let agents = fs::read_to_string(world.path("bundle/agents.yaml")).unwrap();
    world.write("bundle/agents.yaml", &agents.replace("[fixture]", "[fixture, twin]"));
    let more = servers.concat() + SET;
    let gateway = Gateway::start(&world, &[("suite", "bot", &["work"])], &more);
    (runtime, world, gateway)
}

fn client(gateway: &Gateway) -> Client {
    let mut client = gateway.client("suite");
    client.path = "/office".to_owned();
    client
}

#[test]
fn questions_of_two_servers_are_told_apart_and_each_answer_goes_to_the_one_that_asked() {
    let (_runtime, world, mut gateway) = start();
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"test","version":"1"}}}"#;
    let mut first = client(&gateway);
    let response = first.ask("POST", &LEGACY, initialize);
    assert_eq!(response.json()["result"]["serverInfo"]["name"], "office", "{response:?}");
    assert_eq!(response.json()["result"]["instructions"], Value::Null);
    first.session = Some(response.headers["mcp-session-id"].clone());
    assert_eq!(
        first.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).status,
        202
    );
    let mut second = client(&gateway);
    second.join(&first);
    let question = |client: &mut Client, tool: &str| {
        client.request("tools/call", &format!(r#"{{"name":"{tool}","arguments":{{"message":"Who?"}}}}"#));
        assert!(client.head().is_stream());
        let (_, question) = client.event().unwrap();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        question["id"].clone()
    };
    let (here, there) = (question(&mut first, "ask_here"), question(&mut second, "ask_there"));
    assert_ne!(here, there, "two questions of one number");
    // The other way round, so that it matters which is which; what the one server may be told the other may not.
    let mut beside = client(&gateway);
    beside.session.clone_from(&first.session);
    for (id, value) in [(&there, "b"), (&here, "a")] {
        let answer = json!({ "jsonrpc": "2.0", "id": id,
            "result": { "action": "accept", "content": { "username": value, "email": "x" } } });
        assert_eq!(beside.ask("POST", &LEGACY, &answer.to_string()).status, 202);
    }
    for client in [&mut first, &mut second] {
        let (_, end) = client.event().unwrap();
        assert!(end["result"]["content"].is_array() && end["result"]["isError"] != true, "{end}");
    }
    gateway.stop();
    let answered: Vec<(String, String)> = world
        .events("decision")
        .iter()
        .filter(|decision| decision["tool"].as_str().is_some_and(|tool| tool.contains("client:elicitation")))
        .map(|decision| (decision["tool"].to_string(), decision["verdict"].to_string()))
        .collect();
    assert_eq!(answered.len(), 2, "{answered:?}");
    assert!(answered.iter().all(|(_, verdict)| verdict == "\"pass\""), "{answered:?}");
    assert_ne!(answered[0].0, answered[1].0);
    world.verified();
}

#[test]
fn what_waits_for_a_client_goes_on_at_its_server_and_at_no_other() {
    let (_runtime, world, mut gateway) = start();
    let mut client = client(&gateway);
    let able = json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let discovered = ask(&mut client, "server/discover", &json!({}), &able);
    let extensions = &discovered["result"]["capabilities"]["extensions"];
    assert!(extensions["io.modelcontextprotocol/tasks"].is_object(), "{discovered}");
    let call = |client: &mut Client, tool: &str, more: Value| {
        let mut params = json!({ "name": tool, "arguments": {} });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask(client, "tools/call", &params, &able)
    };
    let answers = |state: &Value| {
        json!({ "requestState": state,
            "inputResponses": { "user_name": { "action": "accept", "content": { "name": "b" } } } })
    };
    let asked = call(&mut client, "wait_there", json!({}));
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let state = &asked["result"]["requestState"];
    let elsewhere = call(&mut client, "wait_here", answers(state));
    assert_eq!(elsewhere["error"]["code"], -32602, "{elsewhere}");
    let done = call(&mut client, "wait_there", answers(state));
    assert_eq!(done["result"]["resultType"], "complete", "{done}");

    let begun =
        ask(&mut client, "tools/call", &json!({ "name": "later", "arguments": { "seconds": 0.1 } }), &able);
    let task = &begun["result"]["taskId"];
    let mut end = Value::Null;
    for () in crate::patiently() {
        end = ask(&mut client, "tasks/get", &json!({ "taskId": task }), &able);
        if end["result"]["status"] != "working" {
            break;
        }
    }
    assert_eq!(end["result"]["status"], "completed", "{end}");
    let nobody_s = ask(&mut client, "tasks/get", &json!({ "taskId": "nothing" }), &able);
    assert!(nobody_s["error"].is_object(), "{nobody_s}");

    // One acknowledgement, though two servers give one; and nothing but lists of tools.
    let mut listener = self::client(&gateway);
    let wanted = json!({ "notifications": { "toolsListChanged": true, "promptsListChanged": true,
        "resourceSubscriptions": ["test://static-text"] } });
    send(&mut listener, "subscriptions/listen", &wanted, &json!({}));
    assert!(listener.head().is_stream());
    let (_, acknowledged) = listener.event().unwrap();
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({ "toolsListChanged": true }),
        "{acknowledged}"
    );
    // The second server may be slower to listen than the first: it is told until it is heard.
    let (told, heard) = std::sync::mpsc::channel();
    let listening = std::thread::spawn(move || told.send(listener.event().unwrap().1).unwrap());
    let mut changed = None;
    for () in crate::patiently() {
        call(&mut client, "change", json!({}));
        changed = heard.try_recv().ok();
        if changed.is_some() {
            break;
        }
    }
    listening.join().unwrap();
    let changed = changed.unwrap();
    assert_eq!(changed["method"], "notifications/tools/list_changed", "{changed}");
    assert!(gateway.stop().success());
    world.verified();
}
