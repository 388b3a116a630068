//! Agents: four eyes, deputies, fleets, keys, and what a suspension does to calls.

use serde_json::{Value, json};
use warrantor_model::ReasonCode;
use warrantor_store::MemoryStore;
use warrantor_testkit::records;

use crate::common::{Plane, spec};

/// Proposes, and gives the digest to approve.
async fn proposed(plane: &Plane, token: &str, id: &str, spec: Value) -> String {
    let answered = plane.ask(token, "PUT", &format!("/v1/agents/{id}/proposal"), Some(spec)).await.is(200);
    answered["proposal"]["digest"].as_str().unwrap().to_owned()
}

async fn approve(plane: &Plane, token: &str, id: &str, digest: &str) -> crate::common::Answered {
    plane.ask(token, "POST", &format!("/v1/agents/{id}/approve"), Some(json!({ "digest": digest }))).await
}

#[tokio::test]
async fn an_agent_works_once_somebody_else_has_approved_it_and_no_sooner() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let anna = plane.person("anna", &["administrator"]).await;
    let digest = proposed(&plane, &owner, "bot", spec("owner", "owner", &[])).await;
    let body = json!({ "template": "settle", "agent": "bot", "slots": { "vendor": "ACME", "note": "x" } });
    let early = plane.ask(&owner, "POST", "/v1/mandates", Some(body)).await.is(409);
    assert!(early["detail"].as_str().unwrap().contains("not active"), "{early}");
    approve(&plane, &owner, "bot", &digest).await.is(403);
    approve(&plane, &anna, "bot", &digest).await.is(200);
    let mandate = plane.settle(&owner, "bot").await;
    assert_eq!(plane.call(&mandate).await, None);
    // Twice is nothing to approve.
    approve(&plane, &anna, "bot", &digest).await.is(409);
}

#[tokio::test]
async fn nobody_approves_their_own_proposal_through_another_account_of_theirs() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let digest = proposed(&plane, &anna, "bot", spec("anna", "anna", &[])).await;
    approve(&plane, &anna, "bot", &digest).await.is(403);
    // The same human under another issuer, with the same address in other letters.
    let office = plane.api.office();
    let host = Plane::host(warrantor_decide::administration::Act::RegisterPerson);
    let twin = warrantor_control::people::NewPerson {
        id: Some("anna-private".parse().unwrap()),
        issuer: "https://other.example".into(),
        subject: "whatever".into(),
        name: None,
        mail: [" ANNA@Example.com ".to_owned()].into(),
        groups: Default::default(),
    };
    office.register(&host, twin).await.unwrap();
    let roles = ["administrator".to_owned()].into();
    office.give_roles(&host, &"anna-private".parse().unwrap(), roles).await.unwrap();
    let twin = plane.session("anna-private").await;
    approve(&plane, &twin, "bot", &digest).await.is(403);
    let other = plane.person("otto", &["administrator"]).await;
    approve(&plane, &other, "bot", &digest).await.is(200);
}

#[tokio::test]
async fn an_approval_counts_for_what_was_seen_and_nothing_else() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let anna = plane.person("anna", &["administrator"]).await;
    let seen = proposed(&plane, &owner, "bot", spec("owner", "owner", &[])).await;
    let mut wider = spec("owner", "owner", &[]);
    wider["effects"] = json!(["read", "pay", "destroy"]);
    let other = proposed(&plane, &owner, "bot", wider).await;
    assert_ne!(seen, other);
    approve(&plane, &anna, "bot", &seen).await.is(409);
    let agent = plane.ask(&anna, "GET", "/v1/agents/bot", None).await.is(200);
    assert_eq!(agent["standing"], "proposed");
    approve(&plane, &anna, "bot", &other).await.is(200);
}

#[tokio::test]
async fn a_proposed_change_waits_while_what_was_approved_goes_on() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let anna = plane.person("anna", &["administrator"]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let mandate = plane.settle(&owner, "bot").await;
    let mut narrower = spec("owner", "owner", &[]);
    narrower["effects"] = json!(["pay"]);
    let digest = proposed(&plane, &owner, "bot", narrower).await;
    assert_eq!(plane.call(&mandate).await, None);
    approve(&plane, &anna, "bot", &digest).await.is(200);
    assert_eq!(
        plane.call(&mandate).await,
        Some(ReasonCode::ToolNotAvailable),
        "the ceiling has no read any more"
    );
}

#[tokio::test]
async fn another_persons_agent_cannot_be_taken_by_proposing_it_as_ones_own() {
    let plane = Plane::new();
    let mallory = plane.person("mallory", &[]).await;
    plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let taken = spec("mallory", "mallory", &[]);
    plane.ask(&mallory, "PUT", "/v1/agents/bot/proposal", Some(taken)).await.is(403);
    let bundles = spec("mallory", "mallory", &[]);
    let conflict = plane.ask(&mallory, "PUT", "/v1/agents/invoice-bot/proposal", Some(bundles)).await;
    assert_eq!(conflict.status.as_u16(), 403, "{}", conflict.body);
}

#[tokio::test]
async fn a_suspended_agent_is_refused_at_the_very_next_call_and_goes_on_when_it_is_resumed() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let resp = plane.person("resp", &["responder"]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let mandate = plane.settle(&owner, "bot").await;
    assert_eq!(plane.call(&mandate).await, None);
    let why = json!({ "reason": "acts oddly" });
    let stopped = plane.ask(&resp, "POST", "/v1/agents/bot/suspend", Some(why)).await.is(200);
    assert_eq!(stopped["standing"], "suspended");
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::AgentInactive));
    // Whom a responder stopped, neither the responder nor the owner lets go on.
    plane.ask(&resp, "POST", "/v1/agents/bot/resume", None).await.is(403);
    plane.ask(&owner, "POST", "/v1/agents/bot/resume", None).await.is(403);
    let anna = plane.person("anna", &["administrator"]).await;
    plane.ask(&anna, "POST", "/v1/agents/bot/resume", None).await.is(200);
    assert_eq!(plane.call(&mandate).await, None);
}

#[tokio::test]
async fn what_stops_a_blueprint_stops_its_fleet() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let anna = plane.person("anna", &["administrator"]).await;
    let mut plan = spec("owner", "owner", &[]);
    plan["is_blueprint"] = true.into();
    let digest = proposed(&plane, &owner, "plan", plan).await;
    plane.ask(&owner, "POST", "/v1/agents/plan/fleet", Some(json!({ "id": "one" }))).await.is(409);
    approve(&plane, &anna, "plan", &digest).await.is(200);
    for id in ["one", "two"] {
        let made =
            plane.ask(&owner, "POST", "/v1/agents/plan/fleet", Some(json!({ "id": id }))).await.is(201);
        assert_eq!((made["standing"].as_str(), made["blueprint"].as_str()), (Some("active"), Some("plan")));
    }
    let (one, two) = (plane.settle(&owner, "one").await, plane.settle(&owner, "two").await);
    plane.ask(&owner, "POST", "/v1/agents/one/suspend", None).await.is(200);
    assert_eq!(plane.call(&one).await, Some(ReasonCode::AgentInactive));
    assert_eq!(plane.call(&two).await, None);
    plane.ask(&anna, "POST", "/v1/agents/plan/suspend", None).await.is(200);
    assert_eq!(plane.call(&two).await, Some(ReasonCode::AgentInactive));
    let shown = plane.ask(&owner, "GET", "/v1/agents/two", None).await.is(200);
    assert_eq!(shown["standing"], "suspended");
}

#[tokio::test]
async fn an_orphan_is_refused_listed_and_works_again_under_its_deputy() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let dora = plane.person("dora", &[]).await;
    let alice = plane.person("giver", &[]).await;
    plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &["dora"]).await;
    let mandate = plane.settle(&alice, "bot").await;
    assert_eq!(plane.call(&mandate).await, None);
    plane.ask(&dora, "POST", "/v1/agents/bot/take-over", Some(json!({ "take": "owner" }))).await.is(409);
    plane.ask(&anna, "POST", "/v1/people/owner/suspend", None).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::NoLiveOwner));
    let orphans = plane.ask(&anna, "GET", "/v1/agents?orphaned=true", None).await.is(200);
    let ids: Vec<&str> =
        orphans["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["bot"]);
    // Nobody but a named deputy can.
    plane.ask(&anna, "POST", "/v1/agents/bot/take-over", Some(json!({ "take": "owner" }))).await.is(409);
    plane.ask(&dora, "POST", "/v1/agents/bot/take-over", Some(json!({ "take": "owner" }))).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::NoLiveSponsor));
    let both = plane.ask(
        &dora,
        "POST",
        "/v1/agents/bot/take-over",
        Some(json!({ "take": "sponsor", "reason": "owner left" })),
    );
    assert_eq!(both.await.is(200)["sponsors"], json!(["dora"]));
    assert_eq!(plane.call(&mandate).await, None);
    let recorded = records::<MemoryStore>(&plane.store).await;
    let text = format!("{recorded:?}");
    assert!(text.contains("dora sponsors it in place of owner") && text.contains("owner left"), "{text}");
}

#[tokio::test]
async fn a_key_is_one_agents_alone_and_two_of_them_let_it_change_without_a_break() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    plane.agent("other", "owner", "owner", &[]).await;
    let key = |x: &str| json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x } });
    let (one, two) =
        ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
    plane.ask(&owner, "PUT", "/v1/agents/bot/keys/a", Some(key(one))).await.is(200);
    plane.ask(&owner, "PUT", "/v1/agents/bot/keys/a", Some(key(two))).await.is(409);
    plane.ask(&owner, "PUT", "/v1/agents/other/keys/a", Some(key(one))).await.is(409);
    let both = plane.ask(&owner, "PUT", "/v1/agents/bot/keys/b", Some(key(two))).await.is(200);
    assert_eq!(both["keys"].as_object().unwrap().len(), 2);
    let left = plane.ask(&owner, "DELETE", "/v1/agents/bot/keys/a", None).await.is(200);
    assert_eq!(left["keys"].as_object().unwrap().keys().collect::<Vec<_>>(), ["b"]);
    plane.ask(&owner, "DELETE", "/v1/agents/bot/keys/a", None).await.is(404);
    for (jwk, why) in [
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": one, "d": one }), "private"),
        (json!({ "kty": "oct", "k": "AAAA" }), "private"),
        (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }), "algorithm"),
        (json!(7), "object"),
    ] {
        let refused =
            plane.ask(&owner, "PUT", "/v1/agents/bot/keys/c", Some(json!({ "jwk": jwk }))).await.is(400);
        assert!(refused["detail"].as_str().unwrap().contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_retired_agent_is_gone_for_good_with_its_name() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let mandate = plane.settle(&owner, "bot").await;
    plane.ask(&owner, "POST", "/v1/agents/bot/retire", None).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::AgentInactive));
    let anna = plane.person("anna", &["administrator"]).await;
    plane.ask(&anna, "POST", "/v1/agents/bot/resume", None).await.is(409);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::AgentInactive));
    plane.ask(&owner, "PUT", "/v1/agents/bot/proposal", Some(spec("owner", "owner", &[]))).await.is(409);
}

#[tokio::test]
async fn a_proposal_that_could_not_work_is_refused_with_the_field_at_fault() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let crowd: Vec<String> = (0..101).map(|n| format!("p{n}")).collect();
    for id in &crowd {
        plane.person(id, &[]).await;
        let host = Plane::host(warrantor_decide::administration::Act::ChangePerson);
        let groups = ["everybody".parse().unwrap()].into();
        plane.api.office().put_in_groups(&host, &id.parse().unwrap(), groups).await.unwrap();
    }
    for (member, value, field) in [
        ("sponsors", json!([]), "sponsors"),
        ("sponsors", json!(["nobody-here"]), "sponsors"),
        ("sponsors", json!(["group:everybody"]), "sponsors"),
        ("sponsors", json!(["group:accounting"]), "sponsors"),
        ("deputies", json!(["nobody-here"]), "deputies"),
        ("servers", json!(["nowhere"]), "servers"),
        ("effects", json!([]), "effects"),
        ("purpose", json!(" "), "purpose"),
        ("purpose", json!("two\nlines"), "purpose"),
    ] {
        let mut wrong = spec("owner", "owner", &[]);
        wrong[member] = value;
        let refused = plane.ask(&owner, "PUT", "/v1/agents/bot/proposal", Some(wrong.clone())).await.is(400);
        assert_eq!(refused["field"], field, "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn nobody_approves_what_their_own_client_proposed_and_a_client_ends_with_its_maker() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let otto = plane.person("otto", &["administrator"]).await;
    let new = json!({ "name": "ci", "roles": ["administrator"] });
    let client = plane.ask(&anna, "POST", "/v1/clients", Some(new)).await.is(201);
    let client = client["token"].as_str().unwrap().to_owned();
    let digest = proposed(&plane, &client, "bot", spec("anna", "anna", &[])).await;
    approve(&plane, &anna, "bot", &digest).await.is(403);
    approve(&plane, &otto, "bot", &digest).await.is(200);
    plane.ask(&otto, "POST", "/v1/people/anna/suspend", None).await.is(200);
    plane.ask(&client, "GET", "/v1/me", None).await.is(401);
}

#[tokio::test]
async fn an_approval_that_was_ruled_on_another_proposal_changes_nothing() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let office = plane.api.office();
    let host = |act| Plane::host(act);
    use warrantor_decide::administration::Act;
    let seen_digest = proposed(&plane, &owner, "bot", spec("owner", "owner", &[])).await;
    let seen = office.agent(&"bot".parse().unwrap()).await.unwrap();
    // Between the ruling and the act the same is proposed by somebody else.
    proposed(&plane, &owner, "bot", spec("owner", "owner", &[])).await;
    let raced = office.approve(&host(Act::ApproveAgent), &seen, &seen_digest.parse().unwrap()).await;
    assert!(matches!(raced, Err(warrantor_control::office::OfficeError::Contended)), "{raced:?}");
    let shown = plane.ask(&owner, "GET", "/v1/agents/bot", None).await.is(200);
    assert_eq!(shown["standing"], "proposed");
}

#[tokio::test]
async fn a_fleet_is_what_its_blueprint_is_now_and_nothing_without_it() {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    let anna = plane.person("anna", &["administrator"]).await;
    let mut plan = spec("owner", "owner", &[]);
    plan["is_blueprint"] = true.into();
    let digest = proposed(&plane, &owner, "plan", plan.clone()).await;
    approve(&plane, &anna, "plan", &digest).await.is(200);
    plane.ask(&owner, "POST", "/v1/agents/plan/fleet", Some(json!({ "id": "one" }))).await.is(201);
    let mandate = plane.settle(&owner, "one").await;
    assert_eq!(plane.call(&mandate).await, None);
    let mut narrower = plan.clone();
    narrower["effects"] = json!(["pay"]);
    let digest = proposed(&plane, &owner, "plan", narrower).await;
    approve(&plane, &anna, "plan", &digest).await.is(200);
    assert_eq!(
        plane.call(&mandate).await,
        Some(ReasonCode::ToolNotAvailable),
        "the fleet kept the wider ceiling"
    );
    let mut no_plan = plan.clone();
    no_plan["is_blueprint"] = false.into();
    let digest = proposed(&plane, &owner, "plan", no_plan).await;
    approve(&plane, &anna, "plan", &digest).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::AgentInactive));
    let digest = proposed(&plane, &owner, "plan", plan).await;
    approve(&plane, &anna, "plan", &digest).await.is(200);
    assert_eq!(plane.call(&mandate).await, None);
    plane.ask(&owner, "POST", "/v1/agents/plan/retire", None).await.is(200);
    plane.ask(&anna, "POST", "/v1/agents/plan/resume", None).await.is(409);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::AgentInactive));
}
