//! The permission matrix of the control plane: who may ask what, as one reviewed snapshot.
//!
//! Every endpoint of the OpenAPI document is asked by everybody, each time in a world of its own, with a request that would be done if it were
//! permitted. An endpoint that is new has to be given a request here and a look at its row.
use std::collections::BTreeMap;

use serde_json::{Value, json};
use warrantor_api::{OPEN, openapi};

use crate::{
    approvals,
    common::{Plane, spec},
};

/// Everybody who asks, and how they are known.
const ROLES: &[&str] = &[
    "nobody",
    "person",
    "owner",
    "deputy",
    "giver",
    "administrator",
    "auditor",
    "responder",
    "publisher",
    "provisioner",
    "point",
];

/// A world in which each of them could do something, and what a request needs to know of it.
async fn world(role: &str) -> (Plane, String, BTreeMap<&'static str, String>) {
    let plane = Plane::of(approvals::bundle());
    let mut tokens = BTreeMap::new();
    for (id, roles) in [
        ("person", &[][..]),
        ("owner", &[]),
        ("deputy", &[]),
        ("giver", &[]),
        ("administrator", &["administrator"]),
        ("auditor", &["auditor"]),
        ("responder", &["responder"]),
        ("publisher", &["publisher"]),
        ("somebody", &[]),
        ("gone", &[]),
    ] {
        tokens.insert(id, plane.person(id, roles).await);
    }
    tokens.insert("provisioner", plane.client("okta", "provisioner").await);
    tokens.insert("point", plane.client("eu", "enforcement-point").await);
    tokens.insert("nobody", String::new());
    plane.agent("bot", "owner", "owner", &["deputy"]).await;
    plane.agent("orphan", "gone", "gone", &["deputy"]).await;
    plane
        .api
        .office()
        .suspend_person(
            &Plane::host(warrantor_decide::administration::Act::SuspendPerson),
            &"gone".parse().unwrap(),
            None,
        )
        .await
        .unwrap();
    // Proposed by somebody who is none of those who ask.
    let office = plane.api.office();
    let proposer = warrantor_decide::administration::Act::ProposeAgent;
    let new = serde_json::from_value(spec("owner", "owner", &["deputy"])).unwrap();
    let proposed =
        office.propose(&Plane::host(proposer), &"new-bot".parse().unwrap(), None, new).await.unwrap();
    let mut fleet = spec("owner", "owner", &["deputy"]);
    fleet["is_blueprint"] = true.into();
    let fleet = serde_json::from_value(fleet).unwrap();
    let plan = office.propose(&Plane::host(proposer), &"plan".parse().unwrap(), None, fleet).await.unwrap();
    let approver = warrantor_decide::administration::Act::ApproveAgent;
    office.approve(&Plane::host(approver), &plan, &plan.proposal.as_ref().unwrap().digest).await.unwrap();
    let keys = warrantor_decide::administration::Act::ChangeKeys;
    let bot = office.agent(&"bot".parse().unwrap()).await.unwrap();
    office.add_key(&Plane::host(keys), &bot, "old", &key(1).to_string(), None).await.unwrap();
    plane.publish(&crate::common::files()).await;
    let manifest = plane.proposed(&crate::servers::stricter()).await;
    plane.saw(&crate::servers::leaking()).await;
    let mandate = plane.settle(&tokens["giver"], "bot").await;
    assert_eq!(plane.call(&mandate).await, None);
    let decision = last_decision(&plane).await;
    let bought = approvals::buy(&plane, &tokens["giver"], "bot").await;
    let (question, shown) = approvals::question(&plane, &bought, r#"{"recipient":"DE1","amount":5}"#).await;
    let known = BTreeMap::from([
        ("question", question),
        ("shown", shown),
        ("digest", proposed.proposal.unwrap().digest.to_string()),
        ("manifest", manifest.digest.to_string()),
        ("mandate", mandate),
        ("decision", decision),
    ]);
    let token = tokens[role].clone();
    (plane, token, known)
}

async fn last_decision(plane: &Plane) -> String {
    let records = warrantor_testkit::records(&*plane.store).await;
    let is_decision = |record: &&warrantor_model::record::Record| {
        matches!(record.event, warrantor_model::record::Event::Decision(_))
    };
    records.iter().rev().find(is_decision).unwrap().id.clone()
}

/// A public key of Ed25519, each number another one.
fn key(number: u8) -> Value {
    // Points of the curve: the encodings of small multiples of the base point, from RFC 8032's tests.
    let x = match number {
        1 => "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        _ => "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
    };
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
}

/// What is sent to an endpoint: the path with its names filled in, and the body.
fn request(endpoint: &str, known: &BTreeMap<&'static str, String>) -> (String, Option<Value>) {
    let handover =
        json!({ "template": "settle", "agent": "bot", "slots": { "vendor": "ACME", "note": "x" } });
    let (path, body) = match endpoint {
        "GET /v1/people/{id}" => ("/v1/people/somebody", None),
        "POST /v1/people" => ("/v1/people", Some(json!({ "issuer": "https://i.example", "subject": "s" }))),
        "PUT /v1/people/{id}/roles" => ("/v1/people/somebody/roles", Some(json!({ "roles": ["auditor"] }))),
        "PUT /v1/people/{id}/groups" => {
            ("/v1/people/somebody/groups", Some(json!({ "groups": ["accounting"] })))
        }
        "POST /v1/people/{id}/suspend" => ("/v1/people/somebody/suspend", None),
        "POST /v1/people/{id}/resume" => ("/v1/people/gone/resume", None),
        "POST /v1/people/{id}/leave" => ("/v1/people/somebody/leave", None),
        "DELETE /v1/people/{id}/sessions" => ("/v1/people/somebody/sessions", None),
        "POST /v1/clients" => ("/v1/clients", Some(json!({ "name": "ci", "roles": ["publisher"] }))),
        "DELETE /v1/clients/{name}" => ("/v1/clients/okta", None),
        "GET /v1/agents/{id}" => ("/v1/agents/bot", None),
        "PUT /v1/agents/{id}/proposal" => {
            ("/v1/agents/bot/proposal", Some(spec("owner", "owner", &["deputy"])))
        }
        "POST /v1/agents/{id}/approve" => {
            ("/v1/agents/new-bot/approve", Some(json!({ "digest": known["digest"] })))
        }
        "POST /v1/agents/{id}/fleet" => ("/v1/agents/plan/fleet", Some(json!({ "id": "one-of-many" }))),
        "POST /v1/agents/{id}/suspend" => ("/v1/agents/bot/suspend", None),
        "POST /v1/agents/{id}/resume" => ("/v1/agents/bot/resume", None),
        "POST /v1/agents/{id}/retire" => ("/v1/agents/bot/retire", None),
        "POST /v1/agents/{id}/take-over" => ("/v1/agents/orphan/take-over", Some(json!({ "take": "owner" }))),
        "PUT /v1/agents/{id}/keys/{name}" => ("/v1/agents/bot/keys/new", Some(json!({ "jwk": key(2) }))),
        "DELETE /v1/agents/{id}/keys/{name}" => ("/v1/agents/bot/keys/old", None),
        "GET /v1/templates/{id}" => ("/v1/templates/settle", None),
        "POST /v1/templates/{id}/revoke" => ("/v1/templates/settle/revoke", None),
        "POST /v1/mandates/preview" => ("/v1/mandates/preview", Some(handover)),
        "POST /v1/mandates" => ("/v1/mandates", Some(handover)),
        "GET /v1/mandates/{id}" => return (format!("/v1/mandates/{}", known["mandate"]), None),
        "POST /v1/mandates/{id}/revoke" => {
            return (format!("/v1/mandates/{}/revoke", known["mandate"]), None);
        }
        "POST /v1/mandates/{id}/complete" => {
            return (format!("/v1/mandates/{}/complete", known["mandate"]), None);
        }
        "GET /v1/approvals/{id}" => return (format!("/v1/approvals/{}", known["question"]), None),
        "POST /v1/approvals/{id}/approve" => {
            let body = json!({ "arguments_digest": known["shown"] });
            return (format!("/v1/approvals/{}/approve", known["question"]), Some(body));
        }
        "POST /v1/approvals/{id}/deny" => return (format!("/v1/approvals/{}/deny", known["question"]), None),
        "GET /approvals/{id}" | "POST /approvals/{id}" => {
            return (format!("/approvals/{}", known["question"]), None);
        }
        "GET /v1/decisions/{id}" => return (format!("/v1/decisions/{}", known["decision"]), None),
        "POST /v1/bundles" => {
            let files = crate::common::files().texts();
            ("/v1/bundles", Some(json!({ "files": files, "reason": "because" })))
        }
        "GET /v1/bundles/{number}/difference" => ("/v1/bundles/1/difference", None),
        "POST /v1/bundles/{number}/roll-back" => {
            ("/v1/bundles/1/roll-back", Some(json!({ "reason": "because" })))
        }
        "GET /v1/servers/{name}" => ("/v1/servers/bank", None),
        "GET /v1/servers/{name}/difference" => ("/v1/servers/bank/difference", None),
        "GET /v1/servers/{name}/manifests" => ("/v1/servers/bank/manifests", None),
        "POST /v1/servers/{name}/manifests" => {
            ("/v1/servers/bank/manifests", Some(json!({ "reason": "as it was seen" })))
        }
        "GET /v1/servers/{name}/manifests/{number}" => ("/v1/servers/bank/manifests/1", None),
        "GET /v1/servers/{name}/manifests/{number}/difference" => {
            ("/v1/servers/bank/manifests/1/difference", None)
        }
        "POST /v1/servers/{name}/manifests/{number}/approve" => {
            ("/v1/servers/bank/manifests/1/approve", Some(json!({ "digest": known["manifest"] })))
        }
        "POST /v1/servers/{name}/manifests/{number}/reject" => {
            ("/v1/servers/bank/manifests/1/reject", Some(json!({ "reason": "no" })))
        }
        "POST /v1/servers/{name}/quarantine" => ("/v1/servers/bank/quarantine", None),
        "POST /v1/servers/{name}/release" => ("/v1/servers/bank/release", None),
        "POST /v1/enforcement" => {
            let question = json!({ "ask": "bundle", "have": null });
            ("/v1/enforcement", Some(json!({ "nonce": "0".repeat(64), "question": question })))
        }
        "POST /v1/sessions" => {
            ("/v1/sessions", Some(json!({ "id_token": "a.b.c", "nonce": "0123456789abcdef" })))
        }
        other => {
            let (_, path) = other.split_once(' ').unwrap();
            assert!(
                !path.contains('{'),
                "{other} has no request here: give it one that would be done if it were permitted"
            );
            (path, None)
        }
    };
    (path.to_owned(), body)
}

fn endpoints() -> Vec<String> {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut endpoints = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        endpoints.extend(
            item.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())),
        );
    }
    endpoints.sort_by_key(|endpoint| {
        endpoint.split_once(' ').map(|(method, path)| (path.to_owned(), method.to_owned()))
    });
    endpoints
}

#[tokio::test]
async fn everybody_may_do_what_the_reviewed_matrix_says() {
    let mut table = String::new();
    let width = endpoints().iter().map(String::len).max().unwrap();
    let mut shared = BTreeMap::new();
    for role in ROLES {
        shared.insert(*role, world(role).await);
    }
    let heads: Vec<String> = ROLES.iter().map(|role| format!("{role:>13}")).collect();
    table.push_str(&format!("{:width$}{}\n", "", heads.concat()));
    for endpoint in endpoints().iter().filter(|endpoint| !OPEN.contains(&endpoint.as_str())) {
        let mut row = format!("{endpoint:width$}");
        for role in ROLES {
            let method = endpoint.split_once(' ').unwrap().0;
            // What only looks leaves the world as it is.
            let own = match method {
                "GET" => None,
                _ => Some(world(role).await),
            };
            let (plane, token, known) = own.as_ref().unwrap_or(&shared[role]);
            let (path, body) = request(endpoint, known);
            let answered = plane.ask(token, method, &path, body).await;
            assert!(!answered.status.is_server_error(), "{role} {endpoint}: {}", answered.body);
            let said = match answered.status.as_u16() {
                200 | 201 | 204 => "yes".to_owned(),
                401 => "sign in".to_owned(),
                403 => "no".to_owned(),
                404 => "not there".to_owned(),
                409 => "conflict".to_owned(),
                other => panic!("{role} {endpoint} was answered {other}: {}", answered.body),
            };
            row.push_str(&format!("{said:>13}"));
        }
        table.push_str(row.trim_end());
        table.push('\n');
    }
    insta::assert_snapshot!("permissions", table);
}

#[tokio::test]
async fn nobody_needs_a_credential_for_what_is_open_and_everybody_does_for_the_rest() {
    let (plane, _, known) = world("nobody").await;
    let mut open = Vec::new();
    for endpoint in endpoints() {
        let (path, body) = request(&endpoint, &known);
        let method = endpoint.split_once(' ').unwrap().0;
        for token in
            ["", "ws_0000000000000000000000000000000000000000000000000000000000000000", "a.b.c", "wc_x", "x"]
        {
            let answered = plane.ask(token, method, &path, body.clone()).await;
            let is_open = OPEN.contains(&endpoint.as_str());
            assert_eq!(
                answered.status.as_u16() != 401,
                is_open,
                "{endpoint} with {token:?}: {}",
                answered.body
            );
        }
        if OPEN.contains(&endpoint.as_str()) {
            open.push(endpoint);
        }
    }
    // What is excepted is there, but for the document itself, which does not describe itself.
    let excepted: Vec<&str> =
        OPEN.iter().copied().filter(|endpoint| *endpoint != "GET /openapi.json").collect();
    let mut excepted: Vec<String> = excepted.into_iter().map(str::to_owned).collect();
    excepted.sort();
    open.sort();
    assert_eq!(open, excepted);
}
