//! SCIM as Okta and Entra ID send it, and what a directory's word does to calls.

use serde_json::{Value, json};
use warrantor_model::ReasonCode;

use crate::common::{ISSUER, Plane};

/// A user as Okta creates one.
fn okta(name: &str, external: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": format!("{name}@example.com"),
        "name": { "givenName": name, "familyName": "Example" },
        "emails": [{ "primary": true, "value": format!("{name}@example.com"), "type": "work" }],
        "displayName": format!("{name} Example"),
        "locale": "en-US",
        "externalId": external,
        "groups": [],
        "active": true,
    })
}

async fn created(plane: &Plane, okta_token: &str, name: &str) -> String {
    let user =
        plane.ask(okta_token, "POST", "/scim/v2/Users", Some(okta(name, &format!("00u-{name}")))).await;
    assert_eq!(user.headers["content-type"], "application/scim+json");
    user.is(201)["id"].as_str().unwrap().to_owned()
}

fn active(value: impl Into<Value>) -> Value {
    let value: Value = value.into();
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "value": { "active": value } }],
    })
}

#[tokio::test]
async fn a_directory_creates_finds_changes_and_deletes_a_user() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let none = plane.ask(
        &token,
        "GET",
        "/scim/v2/Users?filter=userName%20eq%20%22carol@example.com%22&startIndex=1&count=100",
        None,
    );
    assert_eq!(none.await.is(200)["totalResults"], 0);
    let id = created(&plane, &token, "carol").await;
    plane.ask(&token, "POST", "/scim/v2/Users", Some(okta("carol", "00u-carol"))).await.is(409);
    plane.ask(&token, "POST", "/scim/v2/Users", Some(okta("CAROL", "00u-other"))).await.is(409);
    let found = plane
        .ask(&token, "GET", "/scim/v2/Users?filter=userName%20eq%20%22CAROL@example.com%22", None)
        .await
        .is(200);
    assert_eq!(found["Resources"][0]["id"], id);
    assert_eq!(found["Resources"][0]["displayName"], "carol Example");
    let mut changed = okta("carol", "00u-carol");
    changed["userName"] = "carol.b@example.com".into();
    let changed = plane.ask(&token, "PUT", &format!("/scim/v2/Users/{id}"), Some(changed)).await.is(200);
    assert_eq!(changed["userName"], "carol.b@example.com");
    // The old name is free again, and the new one is not.
    let gone = plane
        .ask(&token, "GET", "/scim/v2/Users?filter=userName%20eq%20%22carol@example.com%22", None)
        .await
        .is(200);
    assert_eq!(gone["totalResults"], 0);
    let mut rekeyed = okta("carol", "00u-mallory");
    rekeyed["userName"] = "carol.b@example.com".into();
    plane.ask(&token, "PUT", &format!("/scim/v2/Users/{id}"), Some(rekeyed)).await.is(400);
    plane.ask(&token, "DELETE", &format!("/scim/v2/Users/{id}"), None).await.is(204);
    plane.ask(&token, "GET", &format!("/scim/v2/Users/{id}"), None).await.is(404);
    // Who comes back is the same person.
    let again = created(&plane, &token, "carol").await;
    assert_eq!(again, id);
}

#[tokio::test]
async fn a_deactivated_person_is_refused_at_the_very_next_call_and_only_the_directory_lifts_that() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let anna = plane.person("anna", &["administrator"]).await;
    plane.person("owner", &[]).await;
    plane.agent("bot", "owner", "owner", &[]).await;
    let id = created(&plane, &token, "carol").await;
    let carol = plane.session(&id).await;
    let mandate = plane.settle(&carol, "bot").await;
    assert_eq!(plane.call(&mandate).await, None);
    let path = format!("/scim/v2/Users/{id}");
    plane.ask(&token, "PATCH", &path, Some(active(false))).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::PersonInactive));
    plane.ask(&carol, "GET", "/v1/me", None).await.is(401);
    let shown = plane.ask(&anna, "GET", &format!("/v1/people/{id}"), None).await.is(200);
    assert_eq!(shown["standing"], "inactive_in_directory");
    // An administrator's resume lifts what an administrator stopped, and nothing else.
    plane.ask(&anna, "POST", &format!("/v1/people/{id}/resume"), None).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::PersonInactive));
    // And the directory does not lift what an administrator stopped.
    plane.ask(&anna, "POST", &format!("/v1/people/{id}/suspend"), None).await.is(200);
    plane.ask(&token, "PATCH", &path, Some(active("True"))).await.is(200);
    assert_eq!(plane.call(&mandate).await, Some(ReasonCode::PersonInactive));
    plane.ask(&anna, "POST", &format!("/v1/people/{id}/resume"), None).await.is(200);
    assert_eq!(plane.call(&mandate).await, None);
}

#[tokio::test]
async fn a_person_of_the_bundle_is_stopped_by_the_directory_too() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    // alice of people.yaml has subject "1" at this issuer.
    let mut alice = okta("alice", "1");
    alice["active"] = false.into();
    let user = plane.ask(&token, "POST", "/scim/v2/Users", Some(alice)).await.is(201);
    assert_eq!((user["id"].as_str(), user["active"].as_bool()), (Some("alice"), Some(false)));
    let anna = plane.person("anna", &["administrator"]).await;
    let shown = plane.ask(&anna, "GET", "/v1/people/alice", None).await.is(200);
    assert_eq!(
        (shown["standing"].as_str(), shown["of_bundle"].as_bool()),
        (Some("inactive_in_directory"), Some(true))
    );
}

#[tokio::test]
async fn groups_come_and_go_and_policies_know_them_by_name() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let anna = plane.person("anna", &["administrator"]).await;
    let (carol, dave) = (created(&plane, &token, "carol").await, created(&plane, &token, "dave").await);
    let group = json!({ "displayName": "accounting", "members": [{ "value": carol }] });
    let group = plane.ask(&token, "POST", "/scim/v2/Groups", Some(group.clone())).await.is(201);
    let id = group["id"].as_str().unwrap().to_owned();
    let path = format!("/scim/v2/Groups/{id}");
    let groups = async |who: &str| {
        let person = plane.ask(&anna, "GET", &format!("/v1/people/{who}"), None).await.is(200);
        person["groups"].as_array().unwrap().len()
    };
    assert_eq!((groups(&carol).await, groups(&dave).await), (1, 0));
    let patch = |operations: Value| json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
    let add = patch(json!([{ "op": "Add", "path": "members", "value": [{ "value": dave }] }]));
    plane.ask(&token, "PATCH", &path, Some(add)).await.is(200);
    let remove = patch(json!([{ "op": "Remove", "path": format!("members[value eq \"{carol}\"]") }]));
    plane.ask(&token, "PATCH", &path, Some(remove)).await.is(200);
    assert_eq!((groups(&carol).await, groups(&dave).await), (0, 1));
    let found = plane
        .ask(
            &token,
            "GET",
            "/scim/v2/Groups?filter=displayName%20eq%20%22Accounting%22&excludedAttributes=members",
            None,
        )
        .await
        .is(200);
    assert_eq!((found["totalResults"].as_u64(), found["Resources"][0].get("members")), (Some(1), None));
    plane.ask(&token, "POST", "/scim/v2/Groups", Some(json!({ "displayName": "accounting" }))).await.is(409);
    plane.ask(&token, "PUT", &path, Some(json!({ "displayName": "administrators" }))).await.is(400);
    plane
        .ask(
            &token,
            "PUT",
            &path,
            Some(json!({ "displayName": "accounting", "members": [{ "value": "nobody" }] })),
        )
        .await
        .is(400);
    plane.ask(&token, "POST", "/scim/v2/Groups", Some(json!({ "displayName": "$accounting" }))).await.is(400);
    // Without a value, or with none that says anything, everybody goes.
    let all = patch(json!([{ "op": "remove", "path": "members", "value": null }]));
    plane.ask(&token, "PATCH", &path, Some(all)).await.is(200);
    assert_eq!(groups(&dave).await, 0);
    // Whom others put in is not the directory's to see, or to take out.
    let by_hand = json!({ "groups": ["accounting"] });
    plane.ask(&anna, "PUT", &format!("/v1/people/{carol}/groups"), Some(by_hand)).await.is(200);
    assert_eq!(plane.ask(&token, "GET", &path, None).await.is(200)["members"], json!([]));
    plane
        .ask(&token, "PUT", &path, Some(json!({ "displayName": "accounting", "members": [] })))
        .await
        .is(200);
    assert_eq!(groups(&carol).await, 1);
    plane.ask(&token, "DELETE", &path, None).await.is(204);
    assert_eq!((groups(&carol).await, groups(&dave).await), (1, 0));
    plane.ask(&token, "GET", &path, None).await.is(404);
}

#[tokio::test]
async fn a_user_who_is_deleted_comes_back_without_groups() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let anna = plane.person("anna", &["administrator"]).await;
    let carol = created(&plane, &token, "carol").await;
    let group = json!({ "displayName": "accounting", "members": [{ "value": carol }] });
    plane.ask(&token, "POST", "/scim/v2/Groups", Some(group)).await.is(201);
    plane.ask(&token, "DELETE", &format!("/scim/v2/Users/{carol}"), None).await.is(204);
    assert_eq!(created(&plane, &token, "carol").await, carol);
    let shown = plane.ask(&anna, "GET", &format!("/v1/people/{carol}"), None).await.is(200);
    assert_eq!((shown["groups"].clone(), shown["standing"].as_str()), (json!([]), Some("active")));
}

#[tokio::test]
async fn a_replacement_that_says_nothing_of_activity_lifts_nothing() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let carol = created(&plane, &token, "carol").await;
    let path = format!("/scim/v2/Users/{carol}");
    plane.ask(&token, "PATCH", &path, Some(active(false))).await.is(200);
    let mut silent = okta("carol", "00u-carol");
    silent.as_object_mut().unwrap().remove("active");
    assert_eq!(plane.ask(&token, "PUT", &path, Some(silent)).await.is(200)["active"], false);
}

#[tokio::test]
async fn what_a_directory_says_last_is_what_stands_however_its_requests_meet() {
    let plane = std::sync::Arc::new(Plane::new());
    let token = plane.client("okta", "provisioner").await;
    let anna = plane.person("anna", &["administrator"]).await;
    let carol = created(&plane, &token, "carol").await;
    let path = format!("/scim/v2/Users/{carol}");
    for _ in 0..40 {
        let mut at_once = Vec::new();
        for body in [active(false), active(true), active(false), active(true)] {
            let (plane, token, path) = (std::sync::Arc::clone(&plane), token.clone(), path.clone());
            at_once.push(tokio::spawn(async move {
                plane.ask(&token, "PATCH", &path, Some(body)).await.status.as_u16()
            }));
        }
        for one in at_once {
            let status = one.await.unwrap();
            assert!([200, 503].contains(&status), "{status}");
        }
        let told = plane.ask(&token, "GET", &path, None).await.is(200)["active"].as_bool().unwrap();
        let shown = plane.ask(&anna, "GET", &format!("/v1/people/{carol}"), None).await.is(200);
        assert_eq!(shown["standing"] == "active", told, "{shown}");
    }
}

#[tokio::test]
async fn what_is_refused_of_a_known_user_stops_nobody() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let anna = plane.person("anna", &["administrator"]).await;
    let carol = created(&plane, &token, "carol").await;
    let mut again = okta("carol", "00u-carol");
    again["active"] = false.into();
    plane.ask(&token, "POST", "/scim/v2/Users", Some(again)).await.is(409);
    let shown = plane.ask(&anna, "GET", &format!("/v1/people/{carol}"), None).await.is(200);
    assert_eq!(shown["standing"], "active");
}

#[tokio::test]
async fn a_directory_sees_nobody_of_another() {
    let plane = Plane::new();
    let okta_token = plane.client("okta", "provisioner").await;
    let id = created(&plane, &okta_token, "carol").await;
    let host = Plane::host(warrantor_decide::administration::Act::AddClient);
    let made = plane.api.office().add_client(
        &host,
        "other",
        ["provisioner".to_owned()].into(),
        Some(warrantor_control::access::DirectorySettings {
            issuer: "https://other.example".into(),
            subject: warrantor_control::access::SubjectAttribute::ExternalId,
        }),
        None,
    );
    let other = made.await.unwrap().token;
    let path = format!("/scim/v2/Users/{id}");
    plane.ask(&other, "GET", &path, None).await.is(404);
    plane.ask(&other, "PATCH", &path, Some(active(false))).await.is(404);
    plane.ask(&other, "DELETE", &path, None).await.is(404);
    assert_eq!(plane.ask(&other, "GET", "/scim/v2/Users", None).await.is(200)["totalResults"], 0);
    let group = json!({ "displayName": "accounting", "members": [{ "value": id }] });
    plane.ask(&other, "POST", "/scim/v2/Groups", Some(group)).await.is(400);
    // The same names there are other people: a mail address is nobody's key.
    let theirs = plane.ask(&other, "POST", "/scim/v2/Users", Some(okta("carol", "00u-carol"))).await.is(201);
    assert_ne!(theirs["id"], id);
}

#[tokio::test]
async fn what_a_directory_may_not_say_changes_nothing() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    let id = created(&plane, &token, "carol").await;
    let anna = plane.person("anna", &["administrator"]).await;
    let path = format!("/scim/v2/Users/{id}");
    let mut grand = okta("carol", "00u-carol");
    grand["roles"] = json!([{ "value": "administrator" }]);
    grand["id"] = "anna".into();
    grand["groups"] = json!([{ "value": "administrators" }]);
    plane.ask(&token, "PUT", &path, Some(grand)).await.is(200);
    let shown = plane.ask(&anna, "GET", &format!("/v1/people/{id}"), None).await.is(200);
    assert_eq!((shown["roles"].clone(), shown["groups"].clone()), (json!([]), json!([])));
    for (filter, status) in [
        ("userName%20eq%20%22a%22%20or%20userName%20eq%20%22b%22", 400),
        ("userName%20co%20%22a%22", 400),
        ("userName%20eq%20%22*%22", 200),
        ("password%20eq%20%22a%22", 400),
        ("userName%20eq%20%22%22%20or%201=1%20--", 400),
        ("", 400),
    ] {
        let answered = plane.ask(&token, "GET", &format!("/scim/v2/Users?filter={filter}"), None).await;
        assert_eq!(answered.status.as_u16(), status, "{filter}: {}", answered.body);
        if status == 400 {
            assert_eq!(answered.body["scimType"], "invalidFilter", "{filter}");
        } else {
            assert_eq!(answered.body["totalResults"], 0, "{filter}");
        }
    }
    plane.ask(&token, "GET", "/scim/v2/Users/..%2f..%2fclient", None).await.is(404);
    plane.ask(&anna, "GET", "/scim/v2/Users", None).await.is(403);
    plane.ask("", "GET", "/scim/v2/Users", None).await.is(401);
    let auditor = plane.client("reader", "auditor").await;
    plane.ask(&auditor, "GET", "/scim/v2/Users", None).await.is(403);
}

#[tokio::test]
async fn a_user_who_signed_in_before_is_the_same_person() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    plane.person("earlier", &[]).await;
    let user = plane
        .ask(&token, "POST", "/scim/v2/Users", Some(okta("earlier", "subject-of-earlier")))
        .await
        .is(201);
    assert_eq!(user["id"], "earlier");
    let _ = ISSUER;
}

#[tokio::test]
async fn lists_have_a_window_and_a_total() {
    let plane = Plane::new();
    let token = plane.client("okta", "provisioner").await;
    for name in ["a", "b", "c", "d", "e"] {
        created(&plane, &token, name).await;
    }
    let page = async |query: &str| {
        let list = plane.ask(&token, "GET", &format!("/scim/v2/Users?{query}"), None).await.is(200);
        (list["totalResults"].as_u64().unwrap(), list["Resources"].as_array().unwrap().len())
    };
    assert_eq!(page("").await, (5, 5));
    assert_eq!(page("startIndex=2&count=2").await, (5, 2));
    assert_eq!(page("startIndex=5&count=2").await, (5, 1));
    assert_eq!(page("startIndex=0&count=0").await, (5, 0));
    assert_eq!(page("startIndex=-7").await, (5, 5));
    assert_eq!(page("startIndex=99999999999").await, (5, 0));
    plane.ask(&token, "GET", "/scim/v2/Users?count=many", None).await.is(400);
    for path in ["ServiceProviderConfig", "ResourceTypes", "Schemas"] {
        plane.ask(&token, "GET", &format!("/scim/v2/{path}"), None).await.is(200);
    }
}
