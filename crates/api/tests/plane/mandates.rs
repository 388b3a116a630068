//! Handing over: templates with slots, mandates written out, consent, idempotency, and the end of it.

use std::time::Duration;

use serde_json::{Value, json};
use warrantor_model::ReasonCode;

use crate::common::Plane;

fn settle() -> Value {
    json!({ "template": "settle", "agent": "bot", "slots": { "vendor": "ACME", "note": "x" } })
}

async fn plane() -> (Plane, String) {
    let plane = Plane::new();
    let owner = plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    (plane, owner)
}

#[tokio::test]
async fn whoever_hands_over_fills_in_what_a_template_leaves_open_and_nothing_else() {
    let (plane, owner) = plane().await;
    let with = |change: Value| {
        let mut body = settle();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (change, status, field) in [
        (json!({}), 201, ""),
        (json!({ "slots": { "vendor": "Brightwell", "note": "y" } }), 201, ""),
        (json!({ "slots": { "vendor": "Mallory Ltd", "note": "x" } }), 400, "slots/vendor"),
        (json!({ "slots": { "vendor": 7, "note": "x" } }), 400, "slots/vendor"),
        (json!({ "slots": { "vendor": "ACME" } }), 400, "slots/note"),
        (json!({ "slots": { "vendor": "ACME", "note": "more than ten characters" } }), 400, "slots/note"),
        (json!({ "slots": { "vendor": "ACME", "note": "x", "amount": 5 } }), 400, "slots/amount"),
        (json!({ "agent": null }), 400, "agent"),
        (json!({ "template": "nothing" }), 404, ""),
        (json!({ "template": "pay" }), 400, "person"),
        (json!({ "expires_at": "2030-01-01T11:00:00Z" }), 400, "expires_at"),
        (json!({ "expires_at": "soon" }), 400, "expires_at"),
        (json!({ "mandate": {} }), 400, "template"),
        (json!({ "person": "alice" }), 400, ""),
        (json!({ "grants": [] }), 400, ""),
    ] {
        let answered = plane.ask(&owner, "POST", "/v1/mandates", Some(with(change.clone()))).await;
        assert_eq!(answered.status.as_u16(), status, "{change}: {}", answered.body);
        assert_eq!(answered.body["field"].as_str().unwrap_or_default(), field, "{change}: {}", answered.body);
    }
}

#[tokio::test]
async fn an_end_can_be_earlier_than_the_template_says_and_never_later() {
    let (plane, owner) = plane().await;
    let mut body = settle();
    body["expires_at"] = "2030-01-01T12:05:00Z".into();
    let handed = plane.ask(&owner, "POST", "/v1/mandates", Some(body.clone())).await.is(201);
    assert_eq!(handed["expires_at"], "2030-01-01T12:05:00.000000Z");
    body["expires_at"] = "2031-01-01T12:05:00Z".into();
    let handed = plane.ask(&owner, "POST", "/v1/mandates", Some(body)).await.is(201);
    assert_eq!(handed["expires_at"], "2030-01-01T12:30:00.000000Z");
}

#[tokio::test]
async fn a_second_request_under_one_key_makes_no_second_mandate() {
    let (plane, owner) = plane().await;
    let key = [("idempotency-key", "k-1")];
    let first = plane.send(&owner, "POST", "/v1/mandates", Some(settle()), &key).await.is(201);
    plane.clock.advance(Duration::from_secs(60));
    let again = plane.send(&owner, "POST", "/v1/mandates", Some(settle()), &key).await.is(200);
    assert_eq!(first["id"], again["id"]);
    let mut other = settle();
    other["slots"]["vendor"] = "Brightwell".into();
    let reused = plane.send(&owner, "POST", "/v1/mandates", Some(other), &key).await.is(422);
    assert_eq!(reused["type"], "urn:warrantor:problem:key-reused");
    // Another's key of the same name is another key.
    let bea = plane.person("bea", &[]).await;
    let hers = plane.send(&bea, "POST", "/v1/mandates", Some(settle()), &key).await.is(201);
    assert_ne!(first["id"], hers["id"]);
    for bad in ["", "two words", &"x".repeat(129)] {
        plane.send(&owner, "POST", "/v1/mandates", Some(settle()), &[("idempotency-key", bad)]).await.is(400);
    }
    let without = plane.ask(&owner, "POST", "/v1/mandates", Some(settle())).await.is(201);
    assert_ne!(first["id"], without["id"]);
}

#[tokio::test]
async fn what_was_agreed_to_is_what_is_handed_over() {
    let (plane, owner) = plane().await;
    let shown = plane.ask(&owner, "POST", "/v1/mandates/preview", Some(settle())).await.is(200);
    let mut body = settle();
    body["agreed"] = shown["agreed"].clone();
    let handed = plane.ask(&owner, "POST", "/v1/mandates", Some(body.clone())).await.is(201);
    assert!(handed["agreed_by"].as_str().unwrap().starts_with("person:owner (session "), "{handed}");
    body["slots"]["note"] = "z".into();
    let told =
        plane.ask(&owner, "GET", &format!("/v1/mandates/{}", handed["id"].as_str().unwrap()), None).await;
    assert_eq!(told.is(200)["sentences"], shown["sentences"]);
    body["agreed"] = format!("sha256:{}", "0".repeat(64)).into();
    let refused = plane.ask(&owner, "POST", "/v1/mandates", Some(body)).await.is(409);
    assert_eq!(refused["type"], "urn:warrantor:problem:not-as-shown");
}

#[tokio::test]
async fn a_standing_mandate_needs_a_sponsor_of_the_agent_their_agreement_and_a_date_of_review() {
    let plane = Plane::new();
    let bob = plane.session("bob").await;
    let alice = plane.session("alice").await;
    let watch = json!({ "template": "watch", "review_in": "30d" });
    // alice sponsors invoice-bot by the bundle, and bob does not.
    plane.ask(&bob, "POST", "/v1/mandates", Some(watch.clone())).await.is(403);
    let unagreed = plane.ask(&alice, "POST", "/v1/mandates", Some(watch.clone())).await.is(400);
    assert_eq!(unagreed["field"], "agreed");
    let shown = plane.ask(&alice, "POST", "/v1/mandates/preview", Some(watch.clone())).await.is(200);
    let mut body = watch;
    body["agreed"] = shown["agreed"].clone();
    body["review_in"] = Value::Null;
    assert_eq!(
        plane.ask(&alice, "POST", "/v1/mandates", Some(body.clone())).await.is(400)["field"],
        "review_in"
    );
    body["review_in"] = "400d".into();
    assert_eq!(
        plane.ask(&alice, "POST", "/v1/mandates", Some(body.clone())).await.is(400)["field"],
        "review_in"
    );
    body["review_in"] = "1d".into();
    let handed = plane.ask(&alice, "POST", "/v1/mandates", Some(body)).await.is(201);
    assert_eq!((handed["kind"].as_str(), handed["review_due"].as_bool()), (Some("standing"), Some(false)));
    plane.clock.advance(Duration::from_secs(25 * 3600));
    let alice = plane.session("alice").await;
    let path = format!("/v1/mandates/{}", handed["id"].as_str().unwrap());
    assert_eq!(plane.ask(&alice, "GET", &path, None).await.is(200)["review_due"], true);
}

#[tokio::test]
async fn a_mandate_that_is_written_out_is_checked_as_one_of_the_bundle_and_passes_for_none() {
    let (plane, owner) = plane().await;
    let mandate = json!({
        "id": "look-up", "agent": "bot", "purpose": "look up a payee", "expires_in": "10m",
        "grants": [{ "tool": "bank/list_payees" }],
    });
    let handed = plane.ask(&owner, "POST", "/v1/mandates", Some(json!({ "mandate": mandate }))).await.is(201);
    assert_eq!(plane.call(handed["id"].as_str().unwrap()).await, None);
    for (member, value) in [
        ("person", json!("alice")),
        ("id", json!("pay")),
        ("expires_in", Value::Null),
        ("grants", json!([{ "tool": "bank/no_such_tool" }])),
        ("unknown", json!(1)),
        ("parent", json!("pay")),
    ] {
        let mut wrong = mandate.clone();
        wrong[member] = value;
        let answered = plane.ask(&owner, "POST", "/v1/mandates", Some(json!({ "mandate": wrong }))).await;
        assert!([400, 409].contains(&answered.status.as_u16()), "{member}: {}", answered.body);
    }
    // Nobody is made a sponsor by somebody else.
    let mut sponsored = mandate;
    sponsored["sponsor"] = "alice".into();
    plane.ask(&owner, "POST", "/v1/mandates", Some(json!({ "mandate": sponsored }))).await.is(403);
}

#[tokio::test]
async fn a_mandate_ends_when_it_is_revoked_or_completed_and_says_why() {
    let (plane, owner) = plane().await;
    for (what, reason) in [("revoke", "changed my mind"), ("complete", "completed: changed my mind")] {
        let mandate = plane.settle(&owner, "bot").await;
        assert_eq!(plane.call(&mandate).await, None);
        let why = json!({ "reason": "changed my mind" });
        let ended =
            plane.ask(&owner, "POST", &format!("/v1/mandates/{mandate}/{what}"), Some(why)).await.is(200);
        assert_eq!(ended["standing"]["state"], "ended");
        assert_eq!(ended["standing"]["reason"], reason);
        assert_eq!(plane.call(&mandate).await, Some(ReasonCode::MandateRevoked));
    }
}

#[tokio::test]
async fn lists_show_their_own_to_everybody_page_by_page() {
    let (plane, owner) = plane().await;
    let bea = plane.person("bea", &[]).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(plane.settle(&owner, "bot").await);
        plane.clock.advance(Duration::from_secs(1));
    }
    plane.settle(&bea, "bot").await;
    let (mut seen, mut path) = (Vec::new(), "/v1/mandates?limit=2".to_owned());
    loop {
        let page = plane.ask(&owner, "GET", &path, None).await.is(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        seen.extend(items.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/mandates?limit=2&after={next}");
    }
    assert_eq!(seen, all);
    // The sponsor of the agent sees those of others too; others see nothing of them.
    let of_agent = plane.ask(&owner, "GET", "/v1/mandates?agent=bot", None).await.is(200);
    assert_eq!(of_agent["items"].as_array().unwrap().len(), 6);
    plane.ask(&bea, "GET", "/v1/mandates?person=owner", None).await.is(403);
    plane.ask(&bea, "GET", "/v1/mandates?agent=bot", None).await.is(404);
    let own = plane.ask(&bea, "GET", "/v1/mandates?person=bea", None).await.is(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    for bad in ["limit=0", "limit=201", "limit=x", "after=a%20b", "unknown=1", "person=owner&agent=bot"] {
        plane.ask(&owner, "GET", &format!("/v1/mandates?{bad}"), None).await.is(400);
    }
}
