//! Agents that hand on a part of their task.

use serde_json::{Value, json};
use warrantor_tokens::token_hash;

use super::world::{ACCESS, Bot, EXCHANGE, Tokens};
use crate::common::{BANK, SERVICE};

#[tokio::test]
async fn an_agent_hands_on_a_part_of_its_task_to_another_and_never_more_than_it_has() {
    let world = Tokens::new().await;
    let token = world.token_for(SERVICE).await;
    let url = format!("{SERVICE}/v1/delegations");
    let send = async |bot: &Bot, token: &str, body: &Value, changes: &Value| {
        let mut all = json!({ "claims": { "htu": url, "ath": token_hash(token) } });
        for (name, value) in changes.as_object().unwrap() {
            all["claims"][name.as_str()] = value.clone();
        }
        let (proof, dpop) = (bot.proof(&world, &all), format!("DPoP {token}"));
        let headers = [("authorization", dpop.as_str()), ("dpop", proof.as_str())];
        world.plane.send("", "POST", "/v1/delegations", Some(body.clone()), &headers).await
    };
    let part = json!({ "agent": "helper", "mandate": { "purpose": "look", "grants": [{ "tool": "bank/list_payees" }] } });
    let made = send(&world.bot, &token, &part, &json!({})).await.is(201);
    let mandate = made["id"].as_str().unwrap();
    assert_eq!(world.plane.call(mandate).await, None, "what was handed on can be done");
    // The other agent is given a token for it, by one that is made for that.
    let parent = world.token_for("helper").await;
    let details = Tokens::details(mandate);
    let parameters = [
        ("grant_type", EXCHANGE),
        ("subject_token", parent.as_str()),
        ("subject_token_type", ACCESS),
        ("resource", BANK),
        ("authorization_details", details.as_str()),
    ];
    let proof = world.helper.proof(&world, &json!({}));
    world.ask(&world.helper, &parameters, Some(&proof)).await.is(200);
    // Nothing wider, nothing longer, nothing as somebody else.
    let with = |name: &str, value: Value| {
        let mut body = part.clone();
        body["mandate"][name] = value;
        body
    };
    for (what, body) in [
        (
            "another tool",
            with(
                "grants",
                json!([{ "tool": "bank/send_money", "arguments": { "recipient": { "in": ["DE9"] }, "amount": { "max": 5 } } }]),
            ),
        ),
        (
            "a larger bound",
            with(
                "grants",
                json!([{ "tool": "bank/send_money", "arguments": { "recipient": { "in": ["DE1"] }, "amount": { "max": 5000 } } }]),
            ),
        ),
        ("a larger limit", with("limits", json!({ "calls": 1000 }))),
        ("another person", with("person", json!("bob"))),
        ("an id of its own", with("id", json!("pay"))),
        ("another parent", with("parent", json!("look"))),
        ("no such tool", with("grants", json!([{ "tool": "bank/nothing" }]))),
        ("no such agent", json!({ "agent": "nobody", "mandate": part["mandate"] })),
        ("a hop too many", with("delegation", json!({ "depth": 1 }))),
    ] {
        let refused = send(&world.bot, &token, &body, &json!({})).await;
        assert!([400, 409].contains(&refused.status.as_u16()), "{what}: {} {}", refused.status, refused.body);
    }
    // Nobody else, and not by another token or proof.
    let elsewhere = world.token_for(BANK).await;
    send(&world.bot, &elsewhere, &part, &json!({})).await.is(401);
    send(&world.helper, &token, &part, &json!({})).await.is(401);
    for changes in [json!({ "htu": SERVICE }), json!({ "ath": token_hash("x") }), json!({ "htm": "GET" })] {
        send(&world.bot, &token, &part, &changes).await.is(401);
    }
    let once = json!({ "jti": "the-same-number" });
    send(&world.bot, &token, &part, &once).await.is(201);
    send(&world.bot, &token, &part, &once).await.is(401);
    world.plane.ask(&world.alice, "POST", "/v1/delegations", Some(part.clone())).await.is(401);
    // What was handed on ends with what it was handed on from.
    world
        .plane
        .ask(&world.alice, "POST", &format!("/v1/mandates/{}/revoke", world.pay), Some(json!({})))
        .await
        .is(200);
    assert_eq!(world.plane.call(mandate).await, Some(warrantor_model::ReasonCode::MandateRevoked));
    send(&world.bot, &token, &part, &json!({})).await.is(401);
}
