//! People: who acts, sessions, the shape of every answer, and what gets nobody anywhere.

use std::time::Duration;

use serde_json::{Value, json};
use warrantor_model::{ReasonCode, record::Event};
use warrantor_testkit::records;

use crate::common::{ISSUER, Plane};

#[tokio::test]
async fn every_problem_has_its_sort_its_status_and_the_id_of_its_request() {
    let plane = Plane::new();
    let token = plane.person("anna", &["administrator"]).await;
    for (method, path, body, status, sort) in [
        ("GET", "/v1/people/nobody", None, 404, "not-found"),
        ("GET", "/v1/people/a%20b", None, 404, "not-found"),
        ("GET", "/nothing", None, 404, "not-found"),
        ("PATCH", "/v1/people", None, 405, "method-not-allowed"),
        ("GET", "/v1/people?limit=9999", None, 400, "invalid"),
        ("GET", "/v1/people?x=1", None, 400, "malformed"),
        ("POST", "/v1/people", Some(json!({})), 400, "malformed"),
        ("POST", "/v1/people", Some(json!({ "issuer": "", "subject": "x" })), 400, "invalid"),
        (
            "POST",
            "/v1/people",
            Some(json!({ "issuer": ISSUER, "subject": "x", "roles": ["administrator"] })),
            400,
            "malformed",
        ),
        (
            "POST",
            "/v1/people",
            Some(json!({ "issuer": ISSUER, "subject": "subject-of-anna" })),
            409,
            "conflict",
        ),
        (
            "POST",
            "/v1/people",
            Some(json!({ "issuer": ISSUER, "subject": "y", "id": "alice" })),
            409,
            "conflict",
        ),
        ("GET", "/v1/sign-in", None, 404, "no-provider"),
    ] {
        let answered = plane.send(&token, method, path, body, &[("x-request-id", "mine-1")]).await;
        assert_eq!(answered.headers["x-request-id"], "mine-1");
        assert_eq!(answered.headers["content-type"], "application/problem+json", "{path}");
        assert_eq!(answered.headers["cache-control"], "no-store");
        let problem = answered.is(status);
        assert_eq!(problem["type"], format!("urn:warrantor:problem:{sort}"), "{method} {path}: {problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["instance"], "urn:warrantor:request:mine-1");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_id_of_a_request_is_taken_only_if_it_is_one() {
    let plane = Plane::new();
    for bad in ["", "two words", &"x".repeat(129), "t\u{e4}b"] {
        let answered = plane.send("", "GET", "/healthz", None, &[("x-request-id", bad)]).await;
        let given = answered.headers["x-request-id"].to_str().unwrap();
        assert!(
            given.len() == 24 && given.bytes().all(|b| b.is_ascii_hexdigit()),
            "{bad:?} became {given:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_none_is_refused_as_what_it_is() {
    let plane = Plane::new();
    let token = plane.person("anna", &["administrator"]).await;
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;
    for (media, body, status) in [
        ("text/plain", "{}".to_owned(), 415),
        ("application/json", "{".to_owned(), 400),
        ("application/json", r#"{"issuer":"a","issuer":"b","subject":"c"}"#.to_owned(), 400),
        ("application/json", "[".repeat(100_000), 400),
        ("application/json", format!(r#"{{"issuer":"{}"}}"#, "x".repeat(2 << 20)), 413),
        ("application/json", "\u{0}".to_owned(), 400),
    ] {
        let request = Request::post("/v1/people")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", media)
            .body(Body::from(body))
            .unwrap();
        let response = plane.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{media}");
    }
}

#[tokio::test]
async fn a_credential_counts_only_as_a_single_bearer_token() {
    let plane = Plane::new();
    let token = plane.person("anna", &[]).await;
    for (headers, status) in [
        (vec![("authorization", format!("Bearer {token}"))], 200),
        (vec![("authorization", format!("bearer  {token}"))], 200),
        (vec![("authorization", format!("Basic {token}"))], 401),
        (vec![("authorization", token.clone())], 401),
        (vec![("authorization", format!("Bearer {token}x"))], 401),
        (
            vec![("authorization", format!("Bearer {token}")), ("authorization", format!("Bearer {token}"))],
            401,
        ),
        (vec![("authorization", "Bearer ".to_owned())], 401),
        (vec![("cookie", format!("authorization=Bearer {token}"))], 401),
        (vec![], 401),
    ] {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answered = plane.send("", "GET", "/v1/me", None, &headers).await;
        assert_eq!(answered.status.as_u16(), status, "{headers:?}");
    }
    let in_query = plane.ask("", "GET", &format!("/v1/me?access_token={token}"), None).await;
    in_query.is(401);
}

#[tokio::test]
async fn a_session_ends_with_its_time_its_person_and_its_end() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let bea = plane.person("bea", &[]).await;
    let other = plane.session("bea").await;
    plane.ask(&bea, "DELETE", "/v1/sessions/current", None).await.is(204);
    plane.ask(&bea, "GET", "/v1/me", None).await.is(401);
    plane.ask(&other, "GET", "/v1/me", None).await.is(200);
    plane.ask(&anna, "POST", "/v1/people/bea/suspend", None).await.is(200);
    plane.ask(&other, "GET", "/v1/me", None).await.is(401);
    plane.ask(&anna, "POST", "/v1/people/bea/resume", None).await.is(200);
    plane.ask(&other, "GET", "/v1/me", None).await.is(200);
    let ended = plane.ask(&anna, "DELETE", "/v1/people/bea/sessions", None).await.is(200);
    assert_eq!(ended["ended"], 1);
    plane.ask(&other, "GET", "/v1/me", None).await.is(401);
    plane.clock.advance(Duration::from_secs(8 * 3600));
    plane.ask(&anna, "GET", "/v1/me", None).await.is(401);
}

#[tokio::test]
async fn a_person_who_is_suspended_takes_every_mandate_along_and_one_who_left_does_not_come_back() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let owner = plane.person("owner", &[]).await;
    let bea = plane.person("bea", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let (hers, his) = (plane.settle(&bea, "bot").await, plane.settle(&owner, "bot").await);
    plane.ask(&anna, "POST", "/v1/people/bea/suspend", Some(json!({ "reason": "leave" }))).await.is(200);
    assert_eq!(plane.call(&hers).await, Some(ReasonCode::PersonInactive));
    assert_eq!(plane.call(&his).await, None);
    plane.ask(&anna, "POST", "/v1/people/bea/resume", None).await.is(200);
    assert_eq!(plane.call(&hers).await, None);
    plane.ask(&anna, "POST", "/v1/people/bea/leave", None).await.is(200);
    plane.ask(&anna, "POST", "/v1/people/bea/resume", None).await.is(200);
    assert_eq!(plane.call(&hers).await, Some(ReasonCode::PersonInactive));
    let shown = plane.ask(&anna, "GET", "/v1/people/bea", None).await.is(200);
    assert_eq!(shown["standing"], "left");
}

#[tokio::test]
async fn every_act_and_every_refused_act_is_in_the_ledger_with_whoever_did_it() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let bea = plane.person("bea", &[]).await;
    let roles = json!({ "roles": ["auditor"] });
    plane.ask(&anna, "PUT", "/v1/people/bea/roles", Some(roles.clone())).await.is(200);
    plane.ask(&bea, "PUT", "/v1/people/bea/roles", Some(json!({ "roles": ["administrator"] }))).await.is(403);
    let acts: Vec<_> = records(&*plane.store)
        .await
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Act(act) if act.act == "people:change" && act.actor.starts_with("person:") => Some(act),
            _ => None,
        })
        .collect();
    let told: Vec<_> = acts
        .iter()
        .map(|act| (act.actor.as_str(), act.on.as_str(), act.refused, act.changes.join(";")))
        .collect();
    assert_eq!(
        told,
        [
            ("person:anna", "person:bea", false, "role auditor given".to_owned()),
            ("person:bea", "person:bea", true, String::new()),
        ]
    );
    assert_eq!(acts[0].policies, ["administrators-run-the-deployment"]);
    assert!(acts[0].evidence.starts_with("session "), "{}", acts[0].evidence);
}

#[tokio::test]
async fn a_lockdown_stops_every_call_and_not_those_who_have_to_lift_it() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let resp = plane.person("resp", &["responder"]).await;
    let owner = plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let mandate = plane.settle(&owner, "bot").await;
    plane.ask(&resp, "PUT", "/v1/lockdown", Some(json!({ "reason": "incident" }))).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::Lockdown));
    assert_eq!(plane.ask(&owner, "GET", "/v1/lockdown", None).await.is(200)["in_force"], true);
    plane.ask(&resp, "DELETE", "/v1/lockdown", None).await.is(403);
    plane.ask(&anna, "DELETE", "/v1/lockdown", None).await.is(200);
    assert_eq!(plane.call(&mandate).await, None);
}

#[tokio::test]
async fn lists_of_people_concatenate_to_everybody() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    for nth in 0..7 {
        plane.person(&format!("p{nth}"), &[]).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/people?limit=3".to_owned());
    loop {
        let page = plane.ask(&anna, "GET", &path, None).await.is(200);
        let ids = page["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/people?limit=3&after={next}");
    }
    // alice and bob are the bundle's, and stand where their names do.
    assert_eq!(seen, ["alice", "anna", "bob", "p0", "p1", "p2", "p3", "p4", "p5", "p6"]);
}

#[tokio::test]
async fn the_document_is_served_as_it_is_generated() {
    let plane = Plane::new();
    let served = plane.ask("", "GET", "/openapi.json", None).await.is(200);
    let generated: Value = serde_json::to_value(warrantor_api::openapi()).unwrap();
    assert_eq!(served, generated);
}

#[tokio::test]
async fn an_id_is_one_persons_for_good() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    let host = Plane::host(warrantor_decide::administration::Act::ChangePerson);
    // Somebody who stood in people.yaml before, with a role.
    let desk = warrantor_control::people::NewPerson {
        id: Some("zoe".parse().unwrap()),
        issuer: ISSUER.into(),
        subject: "zoe-1".into(),
        name: None,
        mail: Default::default(),
        groups: Default::default(),
    };
    plane.api.office().register(&host, desk).await.unwrap();
    let other = json!({ "id": "zoe", "issuer": ISSUER, "subject": "zoe-2" });
    plane.ask(&anna, "POST", "/v1/people", Some(other)).await.is(409);
    let again = json!({ "id": "zoe-again", "issuer": ISSUER, "subject": "zoe-1" });
    plane.ask(&anna, "POST", "/v1/people", Some(again)).await.is(409);
}

#[tokio::test]
async fn everybody_has_a_bound_on_sessions_and_signing_out_ends_all_of_them() {
    let plane = Plane::new();
    let anna = plane.person("anna", &["administrator"]).await;
    plane.person("bea", &[]).await;
    let mut last = String::new();
    for _ in 0..99 {
        last = plane.session("bea").await;
    }
    let office = plane.api.office();
    let host = Plane::host(warrantor_decide::administration::Act::ReadPerson);
    let (id, lasts) = ("bea".parse().unwrap(), Duration::from_secs(60));
    let now = warrantor_model::Clock::now(&*plane.clock);
    assert!(office.begin_session(&host, &id, lasts, Some(now)).await.is_err(), "the hundred and first began");
    plane.ask(&last, "DELETE", "/v1/sessions/current", None).await.is(204);
    plane.ask(&last, "GET", "/v1/me", None).await.is(401);
    assert_eq!(plane.ask(&anna, "DELETE", "/v1/people/bea/sessions", None).await.is(200)["ended"], 99);
    // Those that have ended make room for new ones.
    for _ in 0..100 {
        plane.session("bea").await;
    }
    plane.clock.advance(Duration::from_secs(9 * 3600));
    plane.session("bea").await;
}
