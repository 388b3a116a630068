//! A call that asks a person, as its client sees it: told to repeat it, sent to a page, or left waiting; and made once when it was approved.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Rig, text};
use warrantor_engine::{AnswerTo, Answerer};
use warrantor_gateway::Asking;
use warrantor_model::DecisionId;
use warrantor_store::MemoryStore;
use warrantor_testkit::BundleFiles;

const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"serverInfo":{"name":"bank","version":"1"},"ttlMs":0,"cacheScope":"private"}"#;
const LARGE: &str = r#"{"recipient":"DE1","amount":900}"#;

fn files() -> BundleFiles {
    BundleFiles::new()
        .with("mandates/pay.yaml", "sum: { amount: 1200 }", "sum: { amount: 1600 }")
        .with("people.yaml", r#"subject: "2" }"#, r#"subject: "2", groups: [ops] }"#)
        .and(
            "policies/money.cedar",
            r#"@id("large") @ask("ops")
forbid (principal is Agent, action == Action::"bank/send_money", resource)
when { context.arguments has amount && context.arguments.amount.greaterThan(decimal("500.0")) };
"#,
        )
}

async fn rig(page: Option<&str>, hold: u64) -> Rig<MemoryStore> {
    let asking = Asking { page: page.map(str::to_owned), hold: Duration::from_secs(hold) };
    Rig::asking(MemoryStore::new(), &files(), 1 << 20, asking).await
}

const PAGE: Option<&str> = Some("https://control.example.com/approvals/");

async fn approve(rig: &Rig<MemoryStore>, id: &str, edited: Option<&str>) {
    let id: DecisionId = id.parse().unwrap();
    let shown = rig.engine.question(&id).await.unwrap().arguments.unwrap().digest();
    let edited = edited.map(|edited| edited.as_bytes().to_vec());
    answer(rig, &id, &AnswerTo::Approve { shown, edited }).await;
}

async fn deny(rig: &Rig<MemoryStore>, id: &str) {
    let reason = Some("ask the supplier first".to_owned());
    answer(rig, &id.parse().unwrap(), &AnswerTo::Deny { reason }).await;
}

/// Bob is asked.
async fn answer(rig: &Rig<MemoryStore>, id: &DecisionId, answer: &AnswerTo) {
    let person = "bob".parse().unwrap();
    let by = Answerer { person: &person, evidence: "test", is_fresh: true };
    rig.engine.answer_question(id, by, answer).await.unwrap();
}

/// What a model reads of an answer.
fn told(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"))
}

fn question(answer: &Value) -> String {
    let result = &answer["result"];
    let told = result.get("structuredContent").unwrap_or(&result["_meta"]["dev.warrantor/refusal"]);
    assert_eq!(told["reason"], "approval_required", "{answer}");
    told["decision"].as_str().unwrap().to_owned()
}

/// A session of the older era whose definitions are known.
async fn legacy(page: Option<&str>, hold: u64) -> Rig<MemoryStore> {
    let mut rig = rig(page, hold).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    let asked = rig.server.next().await;
    rig.answer(&asked, &text("none")).await;
    rig.client.next().await;
    rig
}

#[tokio::test(start_paused = true)]
async fn a_model_is_told_to_repeat_the_call_and_the_repeated_call_is_made_once() {
    let mut rig = legacy(None, 0).await;
    rig.call("2", "send_money", LARGE).await;
    let pending = rig.client.next().await;
    assert!(told(&pending).contains("repeat it unchanged"), "{pending}");
    let id = question(&pending);
    assert!(told(&pending).contains(&id));
    rig.call("3", "send_money", LARGE).await;
    assert_eq!(question(&rig.client.next().await), id, "the same question");
    approve(&rig, &id, None).await;
    rig.call("4", "send_money", LARGE).await;
    let asked = rig.server.next().await;
    assert_eq!(asked["params"]["arguments"], json!({"recipient": "DE1", "amount": 900}));
    rig.answer(&asked, &text("sent")).await;
    assert_eq!(told(&rig.client.next().await), "sent");
    rig.call("5", "send_money", LARGE).await;
    assert_eq!(rig.client.next().await["result"]["structuredContent"]["reason"], "limit_reached");
    assert!(rig.server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_no_is_told_with_its_reason() {
    let mut rig = legacy(None, 0).await;
    rig.call("2", "send_money", LARGE).await;
    let id = question(&rig.client.next().await);
    deny(&rig, &id).await;
    rig.call("3", "send_money", LARGE).await;
    let refused = rig.client.next().await;
    assert_eq!(refused["result"]["structuredContent"]["reason"], "approval_denied");
    assert!(
        told(&refused).contains("ask the supplier first") && told(&refused).contains("Do not repeat"),
        "{refused}"
    );
    assert!(rig.server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_in_is_made_and_the_agent_is_told() {
    let mut rig = legacy(None, 0).await;
    rig.call("2", "send_money", LARGE).await;
    let id = question(&rig.client.next().await);
    approve(&rig, &id, Some(r#"{"recipient":"DE2","amount":700}"#)).await;
    rig.call("3", "send_money", LARGE).await;
    let asked = rig.server.next().await;
    assert_eq!(asked["params"]["arguments"], json!({"recipient": "DE2", "amount": 700}));
    rig.answer(&asked, r#"{"content":[{"type":"text","text":"sent"}],"structuredContent":{"n":1.10},"x":1}"#)
        .await;
    let line = rig.client.line().await.unwrap();
    assert!(line.contains(r#""structuredContent":{"n":1.10},"x":1"#), "{line}");
    let made: Value = serde_json::from_str(&line).unwrap();
    let content = made["result"]["content"].as_array().unwrap();
    assert_eq!((content.len(), content[0]["text"].as_str()), (2, Some("sent")));
    let told = content[1]["text"].as_str().unwrap();
    assert!(
        told.contains("changed its arguments") && told.contains(r#"{"recipient":"DE2","amount":700}"#),
        "{told}"
    );
}

#[tokio::test(start_paused = true)]
async fn arguments_are_put_in_also_where_there_were_none() {
    let files = files().with("mandates/pay.yaml", "    after: [\"bank/list_payees\"]\n", "").and(
        "policies/notes.cedar",
        "@id(\"notes\") @ask(\"ops\") forbid (principal, action == Action::\"bank/add_note\", resource);",
    );
    let mut rig = Rig::asking(MemoryStore::new(), &files, 1 << 20, Asking::default()).await.legacy().await;
    rig.client.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_note"}}"#).await;
    rig.list_definitions().await;
    let id = question(&rig.client.next().await);
    approve(&rig, &id, Some(r#"{"text":"as agreed"}"#)).await;
    rig.client.send(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add_note"}}"#).await;
    assert_eq!(rig.server.next().await["params"]["arguments"], json!({"text": "as agreed"}));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_as_long_as_is_said_and_goes_on_with_the_answer() {
    let mut rig = legacy(None, 30).await;
    rig.client
        .send(&format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"send_money","arguments":{LARGE},"_meta":{{"progressToken":"p"}}}}}}"#
        ))
        .await;
    let progress = rig.client.next().await;
    assert_eq!(
        (&progress["method"], &progress["params"]["progressToken"]),
        (&json!("notifications/progress"), &json!("p"))
    );
    let open = warrantor_engine::approvals::open(&*rig.world.store, None, 9).await.unwrap();
    approve(&rig, open[0].as_str(), None).await;
    let asked = loop {
        let line = rig.server.next().await;
        if line["method"] == "tools/call" {
            break line;
        }
    };
    rig.answer(&asked, &text("sent")).await;
    let last = loop {
        let line = rig.client.next().await;
        if line["id"] == 2 {
            break line;
        }
    };
    assert_eq!(told(&last), "sent");
    // Nobody answers: it is told so in the end.
    rig.call("3", "send_money", r#"{"recipient":"DE2","amount":600}"#).await;
    assert!(rig.client.is_quiet().await);
    tokio::time::advance(Duration::from_secs(31)).await;
    question(&rig.client.next().await);
}

#[tokio::test(start_paused = true)]
async fn an_older_client_that_can_open_a_page_is_sent_there_and_others_are_told_where_it_is() {
    let mut rig = legacy(PAGE, 0).await;
    rig.call("2", "send_money", LARGE).await;
    let pending = rig.client.next().await;
    let id = question(&pending);
    assert!(told(&pending).contains(&format!("https://control.example.com/approvals/{id}")), "{pending}");

    let mut rig = self::rig(PAGE, 0).await;
    rig.client.send(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{"url":{}}},"clientInfo":{"name":"agent","version":"1"}}}"#).await;
    let asked = rig.server.next().await;
    assert_eq!(asked["params"]["capabilities"], json!({}), "the server may ask nothing");
    rig.answer(&asked, support::INITIALIZED).await;
    rig.client.next().await;
    rig.call("1", "send_money", LARGE).await;
    rig.list_definitions().await;
    let sent = rig.client.next().await;
    assert_eq!(sent["error"]["code"], -32042);
    let page = &sent["error"]["data"]["elicitations"][0];
    let id = page["elicitationId"].as_str().unwrap();
    assert_eq!(page["url"], format!("https://control.example.com/approvals/{id}"));
    assert_eq!(page["mode"], "url");
    assert!(!sent.to_string().contains("900"), "{sent}");
    // It comes back before anybody has answered: it waits a while, and is told in words then.
    rig.call("9", "send_money", LARGE).await;
    assert!(rig.client.is_quiet().await);
    tokio::time::advance(Duration::from_secs(25)).await;
    assert_eq!(question(&rig.client.next().await), id);
    approve(&rig, id, None).await;
    rig.call("2", "send_money", LARGE).await;
    let asked = rig.server.next().await;
    rig.answer(&asked, &text("sent")).await;
    assert_eq!(told(&rig.client.next().await), "sent");
}

fn modern(id: usize, arguments: &str, capabilities: &str, retry: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"send_money","arguments":{arguments}{retry},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"agent","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{capabilities}}}}}}}"#
    )
}

const URL: &str = r#"{"elicitation":{"url":{}}}"#;

async fn modern_rig(page: Option<&str>) -> Rig<MemoryStore> {
    let mut rig = rig(page, 0).await;
    rig.client.send(r#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"agent","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#).await;
    let asked = rig.server.next().await;
    rig.answer(&asked, DISCOVERED).await;
    assert_eq!(rig.client.next().await["result"]["resultType"], "complete");
    rig
}

/// The state of an answer that sends its client to the page, and the question.
fn sent_there(answer: &Value) -> (String, String) {
    let result = &answer["result"];
    assert_eq!(result["resultType"], "input_required", "{answer}");
    let asked = &result["inputRequests"]["approval"];
    assert_eq!((&asked["method"], &asked["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
    let id = asked["params"]["elicitationId"].as_str().unwrap().to_owned();
    assert_eq!(asked["params"]["url"], format!("https://control.example.com/approvals/{id}"));
    let state = result["requestState"].as_str().unwrap().to_owned();
    assert!(state.len() < 512, "{state}");
    (state, id)
}

fn retry(state: &str, action: &str) -> String {
    format!(r#","requestState":"{state}","inputResponses":{{"approval":{{"action":"{action}"}}}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_newer_client_is_sent_to_the_page_and_its_retry_is_let_through_once() {
    let mut rig = modern_rig(PAGE).await;
    rig.client.send(&modern(1, LARGE, URL, "")).await;
    rig.list_definitions().await;
    let (state, id) = sent_there(&rig.client.next().await);
    approve(&rig, &id, None).await;
    let again = modern(2, LARGE, URL, &retry(&state, "accept"));
    rig.client.send(&again).await;
    let asked = rig.server.next().await;
    assert!(asked["params"].get("requestState").is_none(), "ours stays here: {asked}");
    rig.answer(&asked, r#"{"resultType":"complete","content":[{"type":"text","text":"sent"}]}"#).await;
    assert_eq!(told(&rig.client.next().await), "sent");
    // Brought back a second time it is refused.
    rig.client.send(&again).await;
    assert_eq!(rig.client.next().await["error"]["code"], -32602);
    assert!(rig.server.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_was_forged_stolen_or_is_for_another_request_is_refused() {
    let mut rig = modern_rig(PAGE).await;
    rig.client.send(&modern(1, LARGE, URL, "")).await;
    rig.list_definitions().await;
    let (state, id) = sent_there(&rig.client.next().await);
    approve(&rig, &id, None).await;
    let other = rig.world.at_desk(async |desk| desk.hand_over(&"pay".parse().unwrap()).await).await.unwrap();
    assert_ne!(other.mandate.to_string(), rig.mandate);
    let flipped = |at: usize| {
        let mut bytes = state.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let cases = [
        (LARGE, flipped(10)),
        (LARGE, flipped(state.len() - 3)),
        (LARGE, format!("q.{}", state.split_at(20).1)),
        (LARGE, "q.".to_owned()),
        (LARGE, format!("q.{}", "A".repeat(9000))),
        (r#"{"recipient":"DE1","amount":901}"#, state.clone()),
        (r#"{"amount":900,"recipient":"DE1"}"#, state.clone()),
    ];
    for (nth, (arguments, state)) in cases.iter().enumerate() {
        rig.client.send(&modern(10 + nth, arguments, URL, &retry(state, "accept"))).await;
        assert_eq!(rig.client.next().await["error"]["code"], -32602, "{arguments} {state}");
    }
    // Another process, on another task: the state names whose it is.
    let settings = Asking { page: PAGE.map(str::to_owned), hold: Duration::ZERO };
    let mut thief = Rig::asking(MemoryStore::new(), &files(), 1 << 20, settings).await;
    thief.client.send(r#"{"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"agent","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#).await;
    let asked = thief.server.next().await;
    thief.answer(&asked, DISCOVERED).await;
    thief.client.next().await;
    thief.client.send(&modern(1, LARGE, URL, &retry(&state, "accept"))).await;
    assert_eq!(thief.client.next().await["error"]["code"], -32602);
    // Whoever has it rightly still goes on.
    rig.client.send(&modern(99, LARGE, URL, &retry(&state, "accept"))).await;
    assert_eq!(rig.server.next().await["method"], "tools/call");
}

#[tokio::test(start_paused = true)]
async fn a_newer_client_that_cannot_or_would_not_open_a_page_is_told_where_it_is() {
    let mut rig = modern_rig(PAGE).await;
    rig.client.send(&modern(1, LARGE, r#"{"elicitation":{"form":{}}}"#, "")).await;
    rig.list_definitions().await;
    let id = question(&rig.client.next().await);
    rig.client.send(&modern(2, LARGE, URL, "")).await;
    let (state, same) = sent_there(&rig.client.next().await);
    assert_eq!(same, id);
    rig.client.send(&modern(3, LARGE, URL, &retry(&state, "decline"))).await;
    let pending = rig.client.next().await;
    assert_eq!(question(&pending), id);
    assert!(told(&pending).contains("/approvals/"), "{pending}");
    // One that has opened it waits a while, and is then told so too.
    rig.client.send(&modern(4, LARGE, URL, &retry(&state, "accept"))).await;
    assert!(rig.client.is_quiet().await);
    tokio::time::advance(Duration::from_secs(25)).await;
    assert_eq!(question(&rig.client.next().await), id);
    let mut rig = modern_rig(None).await;
    rig.client.send(&modern(1, LARGE, URL, "")).await;
    rig.list_definitions().await;
    question(&rig.client.next().await);
}
