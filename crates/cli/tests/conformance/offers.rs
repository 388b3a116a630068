//! What a server offers beside tools, and what it asks of clients: each is decided, and what was not let through goes nowhere.

use serde_json::{Value, json};

use crate::{
    behind, everything,
    support::{
        World,
        http::{Client, Gateway, LEGACY},
        reason_of,
    },
};

/// Asks in the newer era, as a client that can be asked these things; gives the answer, the last event of a stream.
pub(crate) fn ask(client: &mut Client, method: &str, params: &Value, able: &Value) -> Value {
    send(client, method, params, able);
    let head = client.head();
    if head.is_stream() {
        let mut last = None;
        while let Some((_, message)) = client.event() {
            last = Some(message);
        }
        return last.unwrap();
    }
    let length = head.headers["content-length"].parse().unwrap();
    let mut body = vec![0; length];
    std::io::Read::read_exact(client.stream(), &mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

pub(crate) fn send(client: &mut Client, method: &str, params: &Value, able: &Value) {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": able,
    });
    let name = params
        .get("name")
        .or_else(|| params.get("uri"))
        .or_else(|| params.get("taskId"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let body = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params }).to_string();
    let mut headers = LEGACY.to_vec();
    headers.extend([("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]);
    headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
    client.send("POST", &headers, &body);
}

fn client(gateway: &Gateway, token: &str) -> Client {
    let mut client = gateway.client(token);
    client.path = "/fixture".to_owned();
    client
}

fn names(answer: &Value, list: &str, member: &str) -> Vec<String> {
    let entries = answer["result"][list].as_array().unwrap_or_else(|| panic!("{answer}"));
    entries.iter().map(|entry| entry[member].as_str().unwrap().to_owned()).collect()
}

fn reason(answer: &Value) -> Option<String> {
    answer["error"]["data"]["reason"].as_str().map(str::to_owned)
}

#[test]
fn what_is_not_granted_is_not_listed_and_answers_like_what_is_not_there() {
    let grants = |_: &Value| {
        vec![
            json!({ "prompt": "fixture/test_simple_prompt" }),
            json!({ "resource": "fixture/r0" }),
            json!({ "resource": "fixture/t0", "arguments": { "uri": { "matches": "test://template/4[0-9]/data" } } }),
            json!({ "completion": "fixture/prompt/test_simple_prompt" }),
        ]
    };
    let (_runtime, world, mut gateway) = behind(grants, "");
    let mut client = client(&gateway, "suite");
    let none = json!({});
    let listed = ask(&mut client, "prompts/list", &none, &none);
    assert_eq!(names(&listed, "prompts", "name"), ["test_simple_prompt"]);
    assert_eq!(listed["result"]["cacheScope"], "private");
    let listed = ask(&mut client, "resources/list", &none, &none);
    assert_eq!(names(&listed, "resources", "uri"), ["test://static-text"]);
    let listed = ask(&mut client, "resources/templates/list", &none, &none);
    assert_eq!(names(&listed, "resourceTemplates", "uriTemplate").len(), 1);
    assert_eq!(names(&ask(&mut client, "tools/list", &none, &none), "tools", "name"), [""; 0]);

    let answer = ask(&mut client, "prompts/get", &json!({ "name": "test_simple_prompt" }), &none);
    assert!(answer["result"]["messages"].is_array(), "{answer}");
    let answer = ask(&mut client, "resources/read", &json!({ "uri": "test://template/42/data" }), &none);
    assert_eq!(answer["result"]["cacheScope"], "private", "{answer}");
    // What is hidden and what is not there differ in the decision's id alone.
    let hidden = |client: &mut Client, method: &str, params: Value| {
        let mut answer = ask(client, method, &params, &json!({}));
        assert!(answer["error"]["data"]["decision"].take().is_string(), "{answer}");
        answer["error"]["data"]["uri"].take();
        answer
    };
    for (method, known, unknown) in [
        ("prompts/get", json!({ "name": "test_prompt_with_image" }), json!({ "name": "nothing" })),
        (
            "prompts/get",
            json!({ "name": "test_prompt_with_image" }),
            json!({ "name": "prompt:test_simple_prompt" }),
        ),
        ("resources/read", json!({ "uri": "test://static-binary" }), json!({ "uri": "test://nothing" })),
        (
            "resources/read",
            json!({ "uri": "test://static-binary" }),
            json!({ "uri": "test://template/../data" }),
        ),
    ] {
        assert_eq!(
            hidden(&mut client, method, known),
            hidden(&mut client, method, unknown.clone()),
            "{unknown}"
        );
    }
    let answer = ask(&mut client, "resources/read", &json!({ "uri": "test://template/7/data" }), &none);
    assert_eq!(reason(&answer).as_deref(), Some("argument_out_of_bounds"), "{answer}");
    let answer = ask(&mut client, "tools/call", &json!({ "name": "prompt:test_simple_prompt" }), &none);
    assert_eq!(reason_of(&answer).as_deref(), Some("tool_not_available"));
    let complete = |of: &str| json!({ "ref": { "type": "ref/prompt", "name": of }, "argument": { "name": "arg1", "value": "t" } });
    let answer = ask(&mut client, "completion/complete", &complete("test_simple_prompt"), &none);
    assert!(answer.get("result").is_some() || answer["error"]["code"] == -32602, "{answer}");
    let answer = ask(&mut client, "completion/complete", &complete("test_prompt_with_arguments"), &none);
    assert_eq!(reason(&answer).as_deref(), Some("tool_not_available"), "{answer}");

    assert!(gateway.stop().success(), "{}", gateway.stderr());
    let decisions = world.events("decision");
    let of = |tool: &str, verdict: &str| {
        decisions.iter().filter(|d| d["tool"] == tool && d["verdict"] == verdict).count()
    };
    assert_eq!(of("fixture/prompt:test_simple_prompt", "pass"), 1, "{decisions:#?}");
    assert_eq!(of("fixture/resource:t0", "pass"), 1);
    assert_eq!(of("fixture/resource:t0", "deny"), 1);
    world.verified();
}

/// The grants of everything, but for answers to elicitations: this much of them.
fn answering(bounds: Value) -> impl FnOnce(&Value) -> Vec<Value> {
    move |manifest| {
        let mut grants = everything(manifest);
        grants.retain(|grant| grant["client"] != "fixture/elicitation");
        grants.push(json!({ "client": "fixture/elicitation", "arguments": bounds }));
        grants
    }
}

fn shown(world: &World) -> usize {
    world.events("outcome").iter().filter(|outcome| outcome["outcome"] == "shown").count()
}

#[test]
fn an_answer_goes_to_the_server_only_as_it_was_granted_and_a_state_is_good_for_one_use() {
    let bounds = json!({ "content": { "in": ["Alice"] }, "content/@keys": { "in": ["name"] } });
    let (_runtime, world, mut gateway) = behind(answering(bounds), "");
    let mut client = client(&gateway, "suite");
    let able = json!({ "elicitation": {} });
    let tool = "test_input_required_result_elicitation";
    let asked = |client: &mut Client| {
        let answer = ask(client, "tools/call", &json!({ "name": tool, "arguments": {} }), &able);
        assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
        answer["result"]["requestState"].as_str().unwrap().to_owned()
    };
    let retry = |state: &str, name: &str| {
        json!({ "name": tool, "arguments": {}, "requestState": state,
            "inputResponses": { "user_name": { "action": "accept", "content": { "name": name } } } })
    };
    let state = asked(&mut client);
    let answer = ask(&mut client, "tools/call", &retry(&state, "Mallory"), &able);
    assert_eq!(reason_of(&answer).as_deref(), Some("argument_out_of_bounds"), "{answer}");
    let state = asked(&mut client);
    let answer = ask(&mut client, "tools/call", &retry(&state, "Alice"), &able);
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert!(answer.to_string().contains("Alice"), "{answer}");
    let refused = |client: &mut Client, params: Value, why: &str| {
        let answer = ask(client, "tools/call", &params, &json!({ "elicitation": {} }));
        assert_eq!(answer["error"]["code"], -32602, "{why}: {answer}");
    };
    refused(&mut client, retry(&state, "Alice"), "used before");
    refused(&mut client, retry("forged", "Alice"), "forged");
    let state = asked(&mut client);
    let mut other = retry(&state, "Alice");
    other["name"] = json!("test_input_required_result_multi_round");
    refused(&mut client, other, "for another tool");
    refused(&mut client, retry(&state, "Alice"), "tried for another tool before");
    // Declining gives nothing away, and so needs no grant.
    let state = asked(&mut client);
    let mut declined = retry(&state, "Alice");
    declined["inputResponses"]["user_name"] =
        json!({ "action": "decline", "content": { "name": "Mallory" } });
    let answer = ask(&mut client, "tools/call", &declined, &able);
    assert!(answer.get("error").is_none() && !answer.to_string().contains("Mallory"), "{answer}");
    // A client that cannot be asked is not asked.
    let answer = ask(&mut client, "tools/call", &json!({ "name": tool, "arguments": {} }), &json!({}));
    assert_eq!(answer["error"]["code"], -32021, "{answer}");
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    assert!(shown(&world) >= 4, "questions are no part of the record");
    let outcomes: Vec<Value> = world.events("outcome");
    assert!(outcomes.iter().any(|outcome| outcome["outcome"] == "cancelled"), "{outcomes:?}");
    world.verified();
}

#[test]
fn in_the_older_era_a_question_comes_on_the_call_s_own_stream_and_its_answer_is_decided() {
    let bounds = json!({ "content": { "in": ["testuser", "test@example.com"] }, "content/@keys": { "in": ["username", "email"] } });
    let (_runtime, world, mut gateway) = behind(answering(bounds), "");
    let mut client = client(&gateway, "suite");
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"test","version":"1"}}}"#;
    let response = client.ask("POST", &LEGACY, initialize);
    client.session = Some(response.headers["mcp-session-id"].clone());
    let told = client.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(told.status, 202);
    for (email, expected) in [("test@example.com", Ok("test@example.com")), ("mallory@evil.example", Err(()))]
    {
        client.request("tools/call", r#"{"name":"test_elicitation","arguments":{"message":"Who?"}}"#);
        assert!(client.head().is_stream());
        let (_, question) = client.event().unwrap();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let answer = json!({ "jsonrpc": "2.0", "id": question["id"],
            "result": { "action": "accept", "content": { "username": "testuser", "email": email } } });
        let mut beside = self::client(&gateway, "suite");
        beside.session.clone_from(&client.session);
        assert_eq!(beside.ask("POST", &LEGACY, &answer.to_string()).status, 202);
        // The same answer again answers nothing.
        assert_eq!(beside.ask("POST", &LEGACY, &answer.to_string()).status, 202);
        let (_, end) = client.event().unwrap();
        match expected {
            Ok(part) => assert!(end["result"].to_string().contains(part), "{end}"),
            Err(()) => assert!(!end.to_string().contains(email), "{end}"),
        }
        while client.event().is_some() {}
    }
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    let answers = world.events("decision");
    let answers: Vec<_> = answers.iter().filter(|d| d["tool"] == "fixture/client:elicitation").collect();
    let verdicts: Vec<&str> = answers.iter().map(|d| d["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["pass", "deny"]);
    assert_eq!(shown(&world), 2);
    world.verified();
}

#[test]
fn a_subscription_tells_of_what_was_granted_and_ends_with_its_mandate() {
    let grants = |_: &Value| {
        vec![json!({ "resource": "fixture/r0" }), json!({ "effects": ["read"], "servers": ["fixture"] })]
    };
    let (_runtime, world, mut gateway) = behind(grants, "");
    let mut listener = client(&gateway, "suite");
    let wanted = json!({ "notifications": { "toolsListChanged": true,
        "resourceSubscriptions": ["test://static-text", "test://static-binary"] } });
    send(&mut listener, "subscriptions/listen", &wanted, &json!({}));
    assert!(listener.head().is_stream());
    let (_, acknowledged) = listener.event().unwrap();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
    let params = &acknowledged["params"];
    assert_eq!(params["_meta"]["io.modelcontextprotocol/subscriptionId"], "a");
    assert!(!params["notifications"].to_string().contains("static-binary"), "{params}");
    let mut other = client(&gateway, "suite");
    ask(
        &mut other,
        "tools/call",
        &json!({ "name": "test_trigger_tool_change", "arguments": {} }),
        &json!({}),
    );
    let (_, changed) = listener.event().unwrap();
    assert_eq!(changed["method"], "notifications/tools/list_changed", "{changed}");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "a");
    world.done(&["revoke", "mandate", "work"]);
    while listener.event().is_some() {}
    let denied: Vec<Value> =
        world.events("decision").into_iter().filter(|d| d["verdict"] == "deny").collect();
    assert!(denied.iter().any(|d| d["method"] == "subscriptions/listen"), "{denied:?}");
    assert!(gateway.is_running());
}

#[test]
fn what_goes_with_a_permit_is_carried_out_before_anything_is_shown() {
    let grants = |_: &Value| {
        vec![json!({ "effects": ["read"], "servers": ["fixture"] }), json!({ "resource": "fixture/t0" })]
    };
    let (_runtime, world, mut gateway) = behind(grants, "metrics = \"127.0.0.1:0\"");
    world.write(
        "bundle/policies/all.cedar",
        "@id(\"all\") permit (principal, action, resource);\n\
         @id(\"secret\") @redact(\"data, id\") @label(\"secret\") permit (principal, action in [Action::\"fixture/test_multiple_content_types\", Action::\"fixture/resource:t0\"], resource);\n\
         @id(\"short\") @cap(\"10\") permit (principal, action == Action::\"fixture/test_simple_text\", resource);\n",
    );
    crate::reloading::reload(&gateway, "taken", 1);
    let mut client = client(&gateway, "suite");
    let none = json!({});
    let answer = ask(
        &mut client,
        "tools/call",
        &json!({ "name": "test_multiple_content_types", "arguments": {} }),
        &none,
    );
    let texts: Vec<&str> =
        answer["result"]["content"].as_array().unwrap().iter().map(|b| b["text"].as_str().unwrap()).collect();
    // What is no JSON, a picture and an embedded resource cannot be told apart.
    assert_eq!(texts, ["[redacted]"; 3], "{answer}");
    let answer = ask(&mut client, "resources/read", &json!({ "uri": "test://template/42/data" }), &none);
    let text: Value =
        serde_json::from_str(answer["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&text["id"], &text["data"]), (&json!("[redacted]"), &json!("[redacted]")), "{answer}");
    assert!(text["templateTest"].is_boolean(), "more was left out: {answer}");
    let answer =
        ask(&mut client, "tools/call", &json!({ "name": "test_simple_text", "arguments": {} }), &none);
    assert!(answer["error"]["message"].as_str().unwrap().contains("larger than may be shown"), "{answer}");
    assert!(gateway.stop().success());
    let outcomes = world.events("outcome");
    assert_eq!(outcomes[0]["labels"], json!(["secret", "untrusted"]), "{outcomes:?}");
    assert_eq!(outcomes.last().unwrap()["outcome"], "withheld", "{outcomes:?}");
}

#[test]
fn a_task_is_its_caller_s_and_its_end_is_taken_in_like_any_result() {
    let bounds = json!({ "content": { "in": ["yes"] }, "content/@keys": { "in": ["confirm"] } });
    let (_runtime, world, mut gateway) = crate::behind_for(answering(bounds), "", &["suite", "other"]);
    let mut client = client(&gateway, "suite");
    let able = json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let begin = |client: &mut Client, name: &str, arguments: Value| {
        let answer = ask(client, "tools/call", &json!({ "name": name, "arguments": arguments }), &able);
        assert_eq!(answer["result"]["resultType"], "task", "{answer}");
        assert!(!answer.to_string().contains("Words of the server"), "{answer}");
        answer["result"]["taskId"].as_str().unwrap().to_owned()
    };
    let of = |client: &mut Client, method: &str, task: &str, more: &Value| {
        let mut params = json!({ "taskId": task });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ask(client, method, &params, &able)
    };
    let until = |client: &mut Client, task: &str, status: &str| {
        for () in crate::patiently() {
            let answer = of(client, "tasks/get", task, &json!({}));
            assert!(!answer.to_string().contains("Words of the server"), "{answer}");
            if answer["result"]["status"] == status {
                return answer;
            }
        }
        panic!("{task} never was {status}");
    };
    let none = json!({});
    let task = begin(&mut client, "slow_compute", json!({ "seconds": 0.1 }));
    let mut stranger = self::client(&gateway, "other");
    for (method, id) in
        [("tasks/get", task.as_str()), ("tasks/cancel", task.as_str()), ("tasks/get", "nothing")]
    {
        let answer = of(&mut stranger, method, id, &none);
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }
    let done = until(&mut client, &task, "completed");
    assert_eq!(done["result"]["result"]["content"][0]["text"], "Computed.", "{done}");
    assert_eq!(until(&mut client, &task, "completed"), done, "it says something else the second time");

    let task = begin(&mut client, "confirm_delete", json!({ "filename": "x" }));
    let asked = until(&mut client, &task, "input_required");
    assert_eq!(asked["result"]["inputRequests"]["confirm"]["method"], "elicitation/create", "{asked}");
    let answers = |word: &str| json!({ "inputResponses": { "confirm": { "action": "accept", "content": { "confirm": word } } } });
    let answer = of(&mut client, "tasks/update", &task, &answers("secret"));
    assert_eq!(reason(&answer).as_deref(), Some("argument_out_of_bounds"), "{answer}");
    let answer = of(&mut client, "tasks/update", &task, &answers("yes"));
    assert_eq!(answer["result"], json!({ "resultType": "complete" }), "{answer}");
    assert!(until(&mut client, &task, "completed").to_string().contains("yes"));

    let task = begin(&mut client, "slow_compute", json!({ "seconds": 60 }));
    assert!(of(&mut client, "tasks/cancel", &task, &none)["result"].is_object());
    until(&mut client, &task, "cancelled");
    let task = begin(&mut client, "slow_compute", json!({ "seconds": 60 }));
    world.done(&["lockdown"]);
    let answer = of(&mut client, "tasks/get", &task, &none);
    assert!(answer["error"].is_object(), "a task outlived a lockdown: {answer}");
    assert!(gateway.stop().success(), "{}", gateway.stderr());
    let outcomes: Vec<Value> =
        world.events("outcome").iter().map(|outcome| outcome["outcome"].clone()).collect();
    for (wanted, count) in [("cancelled", 1), ("unknown", 1), ("succeeded", 3), ("shown", 1)] {
        assert_eq!(
            outcomes.iter().filter(|outcome| **outcome == wanted).count(),
            count,
            "{wanted}: {outcomes:?}"
        );
    }
}
