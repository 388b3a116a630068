//! Publishing: what is refused, the history, differences in words, going back, and stages by enforcement point.

use serde_json::{Value, json};
use warrantor_model::EnforcementPoint;
use warrantor_testkit::BundleFiles;

use crate::common::{Plane, files};

async fn plane() -> (Plane, String) {
    let plane = Plane::new();
    let publisher = plane.person("publisher", &["publisher"]).await;
    (plane, publisher)
}

fn body(files: &BundleFiles, points: &[&str]) -> Value {
    json!({ "files": files.texts(), "reason": "because", "points": points })
}

/// The same bundle, in which a payment may be twice as large and nobody may be invited.
fn changed() -> BundleFiles {
    files().with("mandates/pay.yaml", "amount: { max: 1200 }", "amount: { max: 2400 }").with(
        "agents.yaml",
        "purpose: settles invoices",
        "purpose: settles all invoices",
    )
}

async fn heads(plane: &Plane, point: &str) -> Option<u64> {
    let point: EnforcementPoint = point.parse().unwrap();
    plane.api.office().heads().await.unwrap().1.at(&point)
}

#[tokio::test]
async fn a_bundle_that_does_not_pass_its_checks_is_not_published_and_leaves_no_trace_in_the_history() {
    let (plane, publisher) = plane().await;
    let good = files();
    let mut not_a_file = body(&good, &[]);
    not_a_file["files"]["../people.yaml"] = "people: []".into();
    let mut no_reason = body(&good, &[]);
    no_reason["reason"] = " ".into();
    let cases = [
        (
            body(&good.clone().with("mandates/pay.yaml", "person: alice", "person: carol"), &[]),
            422,
            "files",
            "mandates/pay.yaml:2",
        ),
        (body(&good.clone().and("policies/all.cedar", "permit ("), &[]), 422, "files", "policies/all.cedar"),
        (
            body(&good.clone().with("tools/bank.tools.json", "Sends money", "Sends it to me"), &[]),
            422,
            "files",
            "tools/bank",
        ),
        (not_a_file, 422, "files", "no part of a bundle"),
        (
            body(&good.clone().and("tests/pay.yaml", "tests: []"), &[]),
            400,
            "files",
            "publishes none untested",
        ),
        (no_reason, 400, "reason", "why"),
        (body(&good, &["no name"]), 400, "", ""),
    ];
    for (body, status, field, part) in cases {
        let answered = plane.ask(&publisher, "POST", "/v1/bundles", Some(body)).await;
        assert_eq!(answered.status.as_u16(), status, "{}", answered.body);
        assert_eq!(answered.body["field"].as_str().unwrap_or_default(), field, "{}", answered.body);
        assert!(answered.body["detail"].as_str().unwrap().contains(part), "{part}: {}", answered.body);
    }
    let history = plane.ask(&publisher, "GET", "/v1/bundles", None).await.is(200);
    assert_eq!(history["items"], json!([]));
    assert_eq!(heads(&plane, "anywhere").await, None);
}

/// A bundle could otherwise give a known person's name, and with it what was handed over to them, to somebody else.
#[tokio::test]
async fn a_bundle_that_gives_a_known_id_to_another_person_is_not_published() {
    let (plane, publisher) = plane().await;
    plane.publish(&files()).await;
    let other = files().with("people.yaml", r#"subject: "1""#, r#"subject: "666""#);
    let answered = plane.ask(&publisher, "POST", "/v1/bundles", Some(body(&other, &[]))).await;
    assert!(answered.status.is_client_error(), "{}: {}", answered.status, answered.body);
    assert!(answered.body.to_string().contains("alice"), "{}", answered.body);
    assert_eq!(heads(&plane, "anywhere").await, Some(1));
}

#[tokio::test]
async fn the_history_says_who_published_what_and_why_and_going_back_is_a_publication_too() {
    let (plane, publisher) = plane().await;
    let ask = async |method, path: &str, body| plane.ask(&publisher, method, path, body).await;
    let first = ask("POST", "/v1/bundles", Some(body(&files(), &[]))).await.is(201);
    let second = ask("POST", "/v1/bundles", Some(body(&changed(), &[]))).await.is(201);
    assert_eq!((&first["number"], &second["number"]), (&json!(1), &json!(2)));
    assert_ne!(first["revision"], second["revision"]);
    let back = Some(json!({ "reason": "too much" }));
    let third = ask("POST", "/v1/bundles/1/roll-back", back.clone()).await.is(201);
    assert_eq!((&third["number"], &third["back_to"]), (&json!(3), &json!(1)));
    assert_eq!(third["revision"], first["revision"]);
    assert_eq!(heads(&plane, "anywhere").await, Some(3));
    ask("POST", "/v1/bundles/4/roll-back", back).await.is(404);
    ask("POST", "/v1/bundles/0/roll-back", Some(json!({ "reason": "x" }))).await.is(404);
    let page = ask("GET", "/v1/bundles?limit=2", None).await.is(200);
    assert_eq!(page["items"], json!([third, second]));
    let rest = ask("GET", &format!("/v1/bundles?limit=2&before={}", page["next"]), None).await.is(200);
    assert_eq!(rest["items"], json!([first]));
    assert_eq!(rest["next"], Value::Null);
    for path in ["before=0", "before=-1", "before=9223372036854775808", "limit=0", "limit=101", "after=1"] {
        ask("GET", &format!("/v1/bundles?{path}"), None).await.is(400);
    }
    assert_eq!(first["reason"], "because");
    assert_eq!(first["published"]["by"], "person:publisher", "{first}");
}

#[tokio::test]
async fn a_difference_is_told_in_the_words_of_what_changed() {
    let (plane, publisher) = plane().await;
    for files in [files(), changed(), changed()] {
        plane.publish(&files).await;
    }
    let compare = async |path: &str| plane.ask(&publisher, "GET", path, None).await.is(200)["items"].clone();
    let items = compare("/v1/bundles/2/difference").await;
    let about: Vec<&str> =
        items.as_array().unwrap().iter().map(|one| one["about"].as_str().unwrap()).collect();
    assert_eq!(about, ["agent invoice-bot", "mandate pay", "file agents.yaml", "file mandates/pay.yaml"]);
    assert_eq!(items[0]["gone"], json!(["is for: settles invoices"]));
    assert_eq!(items[0]["new"], json!(["is for: settles all invoices"]));
    assert!(items[1]["gone"].to_string().contains("1200"), "{items}");
    assert!(items[1]["new"].to_string().contains("2400"), "{items}");
    assert!(!items[1]["new"].to_string().contains("1200"), "{items}");
    assert_eq!(compare("/v1/bundles/3/difference").await, json!([]));
    // The other way round, and against nothing.
    let back = compare("/v1/bundles/1/difference?against=2").await;
    assert_eq!((&back[0]["gone"], &back[0]["new"]), (&items[0]["new"], &items[0]["gone"]));
    let all = compare("/v1/bundles/1/difference").await;
    assert!(all.as_array().unwrap().iter().all(|one| one["gone"] == json!([])), "{all}");
    let about = all.to_string();
    for name in [
        "person alice",
        "agent invoice-bot",
        "tool bank/send_money",
        "mandate settle",
        "file policies/all.cedar",
    ] {
        assert!(about.contains(name), "{name}: {about}");
    }
    plane.ask(&publisher, "GET", "/v1/bundles/9/difference", None).await.is(404);
}

/// What has no sentence is told by its line, and so are a line that moved and one of two that are alike.
#[tokio::test]
async fn no_change_of_a_bundle_goes_untold() {
    let plane = Plane::new();
    let two = "@id(\"one\") permit (principal, action, resource)\nwhen { true };\n@id(\"two\") permit (principal, action, resource)\nwhen { true };\n";
    let one = two.replacen("when { true };", ";", 1);
    let changes: [(BundleFiles, BundleFiles, &str); 5] = [
        (files(), files().with("tools/bank.yaml", "    failure: atomic\n", ""), "failure: atomic"),
        (files(), files().with("tools/bank.yaml", "text: { free: true }", "text: {}"), "free: true"),
        (
            files(),
            files().with("mandates/settle.yaml", "max_length: 10", "max_length: 9999"),
            "max_length: 9999",
        ),
        (files().and("policies/all.cedar", two), files().and("policies/all.cedar", &one), "when { true };"),
        (
            files(),
            files().and("agents.yaml", &files().texts()["agents.yaml"].replace("agents:", "# x\nagents:")),
            "# x",
        ),
    ];
    for (before, after, told) in changes {
        let before = plane.publish(&before).await;
        let after = plane.publish(&after).await;
        assert_ne!(before.revision, after.revision);
        let differences = plane.api.office().compare(after.number, None).await.unwrap();
        assert_eq!(differences.against, Some(before.number));
        let lines = serde_json::to_string(&differences.items).unwrap();
        assert!(lines.contains(told), "{told}: {lines}");
    }
}

/// A bundle for everybody is compared with what decided for everybody, not with what was tried at one point.
#[tokio::test]
async fn a_publication_is_compared_with_what_decided_where_it_will() {
    let (plane, publisher) = plane().await;
    for (files, points) in [(files(), &[][..]), (changed(), &["eu"]), (changed(), &["us"]), (changed(), &[])]
    {
        plane.ask(&publisher, "POST", "/v1/bundles", Some(body(&files, points))).await.is(201);
    }
    for (number, against) in [(1, None), (2, Some(1)), (3, Some(1)), (4, Some(1))] {
        let told =
            plane.ask(&publisher, "GET", &format!("/v1/bundles/{number}/difference"), None).await.is(200);
        assert_eq!(told["against"], json!(against), "{number}");
        assert_ne!(told["items"], json!([]), "{number}");
    }
}

/// Whoever publishes says what is permitted. What a machine runs, and who has left the company, is not theirs to say.
#[tokio::test]
async fn a_bundle_says_nothing_of_a_host_s_programs_and_of_registered_people() {
    let (plane, publisher) = plane().await;
    let with = |setting: &str| {
        let settings = format!("[directory]\ngroups = []\n[servers.bank]\n{setting}\n");
        files().and("warrantor.toml", &settings)
    };
    for (files, part) in [
        (with("env = { LD_PRELOAD = \"/tmp/x.so\" }"), "belong to the machine"),
        (with("pass = [\"SECRET\"]"), "belong to the machine"),
        (with("cwd = \"/\""), "belong to the machine"),
        (
            files().with("people.yaml", "people:\n", "people:\n  - { id: publisher, issuer: \"https://login.example.com\", subject: \"subject-of-publisher\", groups: [bosses] }\n"),
            "publisher is registered",
        ),
    ] {
        let answered = plane.ask(&publisher, "POST", "/v1/bundles", Some(body(&files, &[]))).await;
        assert_eq!(answered.status.as_u16(), 400, "{part}: {}", answered.body);
        assert!(answered.body["detail"].as_str().unwrap().contains(part), "{part}: {}", answered.body);
    }
    plane.ask(&publisher, "POST", "/v1/bundles", Some(body(&with("timeout = \"5s\""), &[]))).await.is(201);
}

/// Somebody of an earlier bundle may be of the registry by now, and have left since.
#[tokio::test]
async fn going_back_puts_no_bundle_above_what_the_registry_has_come_to_tell() {
    let (plane, publisher) = plane().await;
    let dave = "people:\n  - { id: dave, issuer: \"https://login.example.com\", subject: subject-of-dave }\n";
    plane.publish(&files().with("people.yaml", "people:\n", dave)).await;
    plane.publish(&files()).await;
    plane.person("dave", &[]).await;
    let back = Some(json!({ "reason": "back" }));
    let answered = plane.ask(&publisher, "POST", "/v1/bundles/1/roll-back", back.clone()).await;
    assert_eq!(answered.status.as_u16(), 400, "{}", answered.body);
    assert!(answered.body["detail"].as_str().unwrap().contains("dave is registered"), "{}", answered.body);
    assert_eq!(heads(&plane, "anywhere").await, Some(2));
    plane.ask(&publisher, "POST", "/v1/bundles/2/roll-back", back).await.is(201);
}

#[tokio::test]
async fn a_publication_for_some_points_decides_there_until_a_later_one_is_for_all() {
    let (plane, publisher) = plane().await;
    let publish = async |points: &[&str]| {
        plane.ask(&publisher, "POST", "/v1/bundles", Some(body(&files(), points))).await.is(201)
    };
    publish(&["eu"]).await;
    assert_eq!((heads(&plane, "eu").await, heads(&plane, "us").await), (Some(1), None));
    publish(&[]).await;
    assert_eq!((heads(&plane, "eu").await, heads(&plane, "us").await), (Some(2), Some(2)));
    publish(&["us", "asia"]).await;
    assert_eq!((heads(&plane, "eu").await, heads(&plane, "us").await), (Some(2), Some(3)));
    // Back for the points that it was for.
    plane.ask(&publisher, "POST", "/v1/bundles/1/roll-back", Some(json!({ "reason": "x" }))).await.is(201);
    assert_eq!((heads(&plane, "eu").await, heads(&plane, "us").await), (Some(4), Some(3)));
}

#[tokio::test]
async fn two_who_publish_at_once_are_both_in_the_history_or_one_is_told_to_try_again() {
    let (plane, publisher) = plane().await;
    let (one, other) = (body(&files(), &[]), body(&changed(), &[]));
    let (one, other) = tokio::join!(
        plane.ask(&publisher, "POST", "/v1/bundles", Some(one)),
        plane.ask(&publisher, "POST", "/v1/bundles", Some(other)),
    );
    let statuses = [one.status.as_u16(), other.status.as_u16()];
    let published = statuses.iter().filter(|status| **status == 201).count();
    assert!(published > 0 && statuses.iter().all(|status| [201, 409, 412].contains(status)), "{statuses:?}");
    let history = plane.ask(&publisher, "GET", "/v1/bundles", None).await.is(200);
    assert_eq!(history["items"].as_array().unwrap().len(), published);
}

#[tokio::test]
async fn a_bundle_may_be_larger_than_other_requests_and_not_without_bound() {
    let (plane, publisher) = plane().await;
    let nobody = plane.person("nobody", &[]).await;
    let with = |bytes: usize| {
        let comment = format!("# {}\n", "x".repeat(70)).repeat(bytes / 73);
        body(&files().and("policies/long.cedar", &comment.replace('#', "//")), &[])
    };
    let large = plane.ask(&publisher, "POST", "/v1/bundles", Some(with(12 << 20))).await;
    assert_eq!(large.status.as_u16(), 413, "{}", large.body);
    // What nobody may send is not even read.
    let unread = plane.ask(&nobody, "POST", "/v1/bundles", Some(with(12 << 20))).await;
    assert_eq!(unread.status.as_u16(), 403, "{}", unread.body);
    let user = json!({ "schemas": [], "userName": "x".repeat(2 << 20) });
    let okta = plane.client("okta", "provisioner").await;
    plane.ask(&okta, "POST", "/scim/v2/Users", Some(user)).await.is(413);
    let mut handover = json!({ "template": "x".repeat(2 << 20) });
    handover["agent"] = "bot".into();
    plane.ask(&publisher, "POST", "/v1/mandates", Some(handover)).await.is(413);
}
