//! Questions to persons over the interface and on the pages: who sees them, who answers, and what is taken of an answer.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::{Value, json};
use warrantor_bundle::Loaded;
use warrantor_engine::{Answer, Permit};
use warrantor_model::MandateId;
use warrantor_store::MemoryStore;
use warrantor_testkit::{BundleFiles, World};

use crate::common::{Answered, Plane, files};

const BUY: &str = r#"id: buy
purpose: buy <b>paper</b>
request: "Buy paper for at most 1200."
takes: { note: { max_length: 10 } }
expires_in: 3h
grants:
  - tool: bank/send_money
    arguments: { recipient: { in: [DE1, DE2, "<script>x</script>"] }, amount: { max: 1200 } }
    ask: person
  - tool: bank/list_payees
"#;

const PAY: &str = r#"{"recipient":"DE1","amount":900}"#;

/// The bundle of [`asking`].
pub(crate) fn bundle() -> Arc<Loaded> {
    static BUNDLE: OnceLock<Arc<Loaded>> = OnceLock::new();
    Arc::clone(BUNDLE.get_or_init(|| Arc::new(asking().load())))
}

/// The files of a bundle whose mandate `buy` asks its person about each payment, and the controllers about large ones.
pub(crate) fn asking() -> BundleFiles {
    files().and("mandates/buy.yaml", BUY).and(
        "policies/large.cedar",
        "@id(\"large\") @ask(\"accounting\") forbid (principal is Agent, action == Action::\"bank/send_money\", resource)\n\
         when { context.arguments has amount && context.arguments.amount.greaterThan(decimal(\"1000.0\")) };\n",
    )
}

/// A plane on which ann has handed over a task, and others.
struct Asked {
    plane: Plane,
    ann: String,
    ben: String,
    mandate: MandateId,
}

/// Hands over `buy` in the name of whoever's token it is.
pub(crate) async fn buy(plane: &Plane, token: &str, agent: &str) -> MandateId {
    let body = json!({ "template": "buy", "agent": agent, "slots": { "note": "x" } });
    let handed = plane.ask(token, "POST", "/v1/mandates", Some(body)).await.is(201);
    handed["id"].as_str().unwrap().parse().unwrap()
}

/// Asks about a payment; the question and the digest of what was asked about.
pub(crate) async fn question(plane: &Plane, mandate: &MandateId, arguments: &str) -> (String, String) {
    let call = World::<MemoryStore>::call(mandate, "send_money", arguments);
    let Answer::Asked(id, _) = plane.engine.authorize(&call).await else { panic!("not asked") };
    let shown = plane.engine.question(&id).await.unwrap().arguments.unwrap().digest();
    (id.to_string(), shown.to_string())
}

impl Asked {
    async fn new() -> Self {
        let plane = Plane::of(bundle());
        let ann = plane.person("ann", &[]).await;
        let ben = plane.person("ben", &[]).await;
        let office = plane.api.office();
        let change = Plane::host(warrantor_decide::administration::Act::ChangePerson);
        let groups = ["accounting".parse().unwrap()].into();
        office.put_in_groups(&change, &"ben".parse().unwrap(), groups).await.unwrap();
        plane.agent("bot", "ann", "ann", &["ben"]).await;
        let mandate = buy(&plane, &ann, "bot").await;
        Self { plane, ann, ben, mandate }
    }

    async fn question(&self, arguments: &str) -> (String, String) {
        question(&self.plane, &self.mandate, arguments).await
    }

    async fn permitted(&self, arguments: &str) -> Option<Permit> {
        let call = World::<MemoryStore>::call(&self.mandate, "send_money", arguments);
        match self.plane.engine.authorize(&call).await {
            Answer::Permitted(permit) => Some(permit),
            _ => None,
        }
    }

    async fn approve(&self, token: &str, id: &str, body: Value) -> Answered {
        self.plane.ask(token, "POST", &format!("/v1/approvals/{id}/approve"), Some(body)).await
    }
}

#[tokio::test]
async fn whoever_is_asked_sees_everything_and_lets_exactly_this_call_be_made_once() {
    let world = Asked::new().await;
    let (id, shown) = world.question(PAY).await;
    let listed = world.plane.ask(&world.ann, "GET", "/v1/approvals?mine=true", None).await.is(200);
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["state"]), (&json!(id), &json!("waiting")));
    let whole = world.plane.ask(&world.ann, "GET", &format!("/v1/approvals/{id}"), None).await.is(200);
    for (name, value) in [
        ("arguments", json!({ "recipient": "DE1", "amount": 900 })),
        ("arguments_digest", json!(shown)),
        ("arguments_text", json!(r#"{"amount":900,"recipient":"DE1"}"#)),
        ("request", json!("Buy paper for at most 1200.")),
        ("agent", json!("bot")),
        ("person", json!("ann")),
        ("asked", json!(["person:ann"])),
        ("effects", json!(["pay"])),
        ("grave", json!(true)),
        ("earlier", json!([])),
    ] {
        assert_eq!(whole[name], value, "{name}");
    }
    assert!(whole["why"][0]["detail"].as_str().unwrap().contains("the grant asks"), "{whole}");
    assert!(whole["sources"]["recipient"].is_string(), "{whole}");
    let approved = world.approve(&world.ann, &id, json!({ "arguments_digest": shown })).await.is(200);
    assert_eq!(approved["state"], "approved");
    assert!(world.permitted(PAY).await.is_some());
    assert!(world.permitted(PAY).await.is_none());
    let all = world.plane.ask(&world.ann, "GET", "/v1/approvals?state=all", None).await.is(200);
    assert_eq!((&all["items"][0]["state"], all["items"].as_array().unwrap().len()), (&json!("used"), 2));
    // The next question shows what was made before, and what differs.
    let (next, _) = world.question(r#"{"recipient":"DE2","amount":900}"#).await;
    let whole = world.plane.ask(&world.ann, "GET", &format!("/v1/approvals/{next}"), None).await.is(200);
    assert_eq!(whole["earlier"][0]["changed"], json!(["recipient"]));
}

#[tokio::test]
async fn nobody_else_sees_or_answers_and_an_answer_has_to_be_to_what_was_shown() {
    let world = Asked::new().await;
    let (id, shown) = world.question(PAY).await;
    let body = || json!({ "arguments_digest": shown });
    let stranger = world.plane.person("eve", &[]).await;
    let auditor = world.plane.person("audrey", &["auditor"]).await;
    let client = world.plane.client("ci", "administrator").await;
    world.plane.ask(&stranger, "GET", &format!("/v1/approvals/{id}"), None).await.is(404);
    world.approve(&stranger, &id, body()).await.is(404);
    assert_eq!(world.plane.ask(&stranger, "GET", "/v1/approvals", None).await.is(200)["items"], json!([]));
    world.plane.ask(&auditor, "GET", &format!("/v1/approvals/{id}"), None).await.is(200);
    let refused = world.approve(&auditor, &id, body()).await.is(403);
    assert!(refused["detail"].as_str().unwrap().contains("ann is asked"), "{refused}");
    world.approve(&client, &id, body()).await.is(403);
    world.approve("", &id, body()).await.is(401);
    for (what, body, status) in [
        ("another digest", json!({ "arguments_digest": format!("sha256:{}", "0".repeat(64)) }), 409),
        ("no digest", json!({}), 400),
        ("nonsense", json!({ "arguments_digest": "x" }), 400),
        ("an unknown member", json!({ "arguments_digest": shown, "force": true }), 400),
        (
            "beyond the bounds",
            json!({ "arguments_digest": shown, "arguments": { "recipient": "DE1", "amount": 5000 } }),
            409,
        ),
    ] {
        let refused = world.approve(&world.ann, &id, body).await;
        assert_eq!(refused.status.as_u16(), status, "{what}: {}", refused.body);
    }
    world.approve(&world.ann, "d000000000000-0000000000000000", body()).await.is(404);
    world.approve(&world.ann, "..%2f", body()).await.is(404);
    world.plane.ask(&world.ann, "GET", "/v1/approvals?state=some", None).await.is(400);
    world.plane.ask(&world.ann, "GET", "/v1/approvals?limit=0", None).await.is(400);
    assert!(world.permitted(PAY).await.is_none());
}

#[tokio::test]
async fn a_grave_yes_needs_a_sign_in_of_a_moment_ago_and_a_no_does_not() {
    let world = Asked::new().await;
    let (id, shown) = world.question(PAY).await;
    // A provider that does not say when somebody signed in says nothing of a moment ago.
    let null = json!({ "arguments_digest": shown, "arguments": null });
    assert!(world.approve(&world.ann, &id, null).await.status.is_client_error(), "null is no yes");
    let unknown = world.plane.session_since("ann", None).await;
    world.approve(&unknown, &id, json!({ "arguments_digest": shown })).await.is(401);
    world.plane.clock.advance(Duration::from_secs(301));
    let refused = world.approve(&world.ann, &id, json!({ "arguments_digest": shown })).await;
    assert!(
        refused.headers["www-authenticate"].to_str().unwrap().contains("insufficient_user_authentication")
    );
    assert_eq!(refused.is(401)["type"], "urn:warrantor:problem:sign-in-again");
    let path = format!("/v1/approvals/{id}/deny");
    let denied =
        world.plane.ask(&world.ann, "POST", &path, Some(json!({ "reason": "too dear" }))).await.is(200);
    assert_eq!(denied["denied"]["reason"], "too dear");
}

#[tokio::test]
async fn a_no_may_end_the_mandate_for_whoever_may_end_it() {
    let world = Asked::new().await;
    let large = r#"{"recipient":"DE1","amount":1100}"#;
    let (id, _) = world.question(large).await;
    let path = format!("/v1/approvals/{id}/deny");
    // Ben is asked as one of accounting, and has nothing to do with the mandate.
    let refused = world.plane.ask(&world.ben, "POST", &path, Some(json!({ "end_mandate": true }))).await;
    assert_eq!(refused.status.as_u16(), 403, "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("Your no was taken"), "{}", refused.body);
    let (id, _) = world.question(r#"{"recipient":"DE2","amount":1100}"#).await;
    let path = format!("/v1/approvals/{id}/deny");
    // What was left of it can be done after a no, and a no is not said twice.
    world.plane.ask(&world.ann, "POST", &path, Some(json!({}))).await.is(200);
    world.plane.ask(&world.ann, "POST", &path, Some(json!({}))).await.is(409);
    world.plane.ask(&world.ann, "POST", &path, Some(json!({ "end_mandate": true }))).await.is(200);
    let mandate = format!("/v1/mandates/{}", world.mandate);
    assert_eq!(
        world.plane.ask(&world.ann, "GET", &mandate, None).await.is(200)["standing"]["state"],
        "ended"
    );
}

#[tokio::test]
async fn several_who_are_asked_each_have_to_say_yes() {
    let world = Asked::new().await;
    let large = r#"{"recipient":"DE1","amount":1100}"#;
    let (id, shown) = world.question(large).await;
    let one = world.approve(&world.ann, &id, json!({ "arguments_digest": shown })).await.is(200);
    assert_eq!((&one["state"], &one["unanswered"]), (&json!("waiting"), &json!(["group:accounting"])));
    assert!(world.permitted(large).await.is_none());
    let two = world.approve(&world.ben, &id, json!({ "arguments_digest": shown })).await.is(200);
    assert_eq!(two["state"], "approved");
    assert!(world.permitted(large).await.is_some());
}

#[tokio::test]
async fn other_arguments_can_be_put_in_their_place_with_numbers_as_they_are_written() {
    let world = Asked::new().await;
    let (id, shown) = world.question(PAY).await;
    let raw = format!(r#"{{"arguments_digest":"{shown}","arguments":{{"recipient":"DE2","amount":7.50}}}}"#);
    let sent = world.plane.ask_text(&world.ann, "POST", &format!("/v1/approvals/{id}/approve"), &raw).await;
    sent.is(200);
    let permit = world.permitted(PAY).await.unwrap();
    assert_eq!(permit.receipt().edited(), Some(r#"{"recipient":"DE2","amount":7.50}"#));
}

/// What a browser does.
struct Browser<'a> {
    plane: &'a Plane,
    cookie: String,
}

impl Browser<'_> {
    async fn get(&self, path: &str) -> Answered {
        self.plane.send("", "GET", path, None, &[("cookie", &self.cookie)]).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], origin: &str) -> Answered {
        self.plane.form(path, form, &[("cookie", &self.cookie), ("origin", origin)]).await
    }

    /// What is sealed in the page.
    async fn page(&self, id: &str) -> String {
        let page = self.get(&format!("/approvals/{id}")).await.is(200);
        let text = page.as_str().unwrap();
        let (_, rest) = text.split_once("name=\"page\" value=\"").unwrap_or_else(|| panic!("{text}"));
        rest.split_once('"').unwrap().0.to_owned()
    }
}

const HERE: &str = "https://control.example.com";

#[tokio::test]
async fn the_page_shows_the_call_and_takes_the_answer() {
    let world = Asked::new().await;
    let (id, _) = world.question(r#"{"recipient":"<script>x</script>","amount":900}"#).await;
    let browser = Browser { plane: &world.plane, cookie: format!("warrantor_session={}", world.ann) };
    let list = browser.get("/approvals").await.is(200);
    assert!(list.as_str().unwrap().contains(&format!("/approvals/{id}")), "{list}");
    let shown = browser.get(&format!("/approvals/{id}")).await;
    let policy = shown.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("script"),
        "{policy}"
    );
    let text = shown.is(200).as_str().unwrap().to_owned();
    for part in
        ["&#60;script&#62;x", "buy &#60;b&#62;paper", "Buy paper for at most 1200.", "bank/send_money", "pay"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<script"), "{text}");
    let page = browser.page(&id).await;
    let form = [("page", page.as_str()), ("answer", "approve")];
    let taken = browser.post(&format!("/approvals/{id}"), &form, HERE).await;
    assert_eq!(taken.headers["location"], format!("/approvals/{id}"));
    assert_eq!(taken.status.as_u16(), 303);
    let after = browser.get(&format!("/approvals/{id}")).await.is(200);
    assert!(after.as_str().unwrap().contains("Approved, once"), "{after}");
    let after = after.as_str().unwrap();
    assert!(!after.contains("value=\"approve") && after.contains("Take the yes back"), "{after}");
}

#[tokio::test]
async fn a_page_is_answered_by_whoever_it_was_shown_to_from_here_and_about_what_it_showed() {
    let world = Asked::new().await;
    let large = r#"{"recipient":"DE1","amount":1100}"#;
    let (id, shown) = world.question(large).await;
    let (other, _) = world.question(r#"{"recipient":"DE2","amount":1100}"#).await;
    let ann = Browser { plane: &world.plane, cookie: format!("warrantor_session={}", world.ann) };
    let ben = Browser { plane: &world.plane, cookie: format!("a=b; warrantor_session={}", world.ben) };
    let page = ann.page(&id).await;
    let path = format!("/approvals/{id}");
    let yes = [("page", page.as_str()), ("answer", "approve")];
    for (what, answered) in [
        ("another person's", ben.post(&path, &yes, HERE).await),
        ("from elsewhere", ann.post(&path, &yes, "https://evil.example.com").await),
        ("from nowhere", ann.post(&path, &yes, "null").await),
        ("of another question", ann.post(&format!("/approvals/{other}"), &yes, HERE).await),
        ("forged", ann.post(&path, &[("page", "AAAA"), ("answer", "approve")], HERE).await),
        ("without the page", ann.post(&path, &[("answer", "approve")], HERE).await),
        ("without a choice", ann.post(&path, &[("page", page.as_str())], HERE).await),
        ("twice", ann.post(&path, &[("page", &page), ("answer", "approve"), ("answer", "deny")], HERE).await),
        ("with more", ann.post(&path, &[("page", &page), ("answer", "approve"), ("force", "1")], HERE).await),
    ] {
        assert_eq!(answered.status.as_u16(), 400, "{what}: {}", answered.body);
        assert!(answered.body.as_str().unwrap().contains("<h1>"), "{what}");
    }
    // Ben puts other arguments in: what ann was shown is not what she would say yes to.
    let body = json!({ "arguments_digest": shown, "arguments": { "recipient": "DE1", "amount": 1050 } });
    world.approve(&world.ben, &id, body).await.is(200);
    ann.post(&path, &yes, HERE).await.is(409);
    let page = ann.page(&id).await;
    let seen = ann.get(&path).await.is(200);
    let seen = seen.as_str().unwrap();
    for part in
        ["ben</strong> put these in the place of", "1050</span><br><span class=\"small\">was put in by ben<"]
    {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert_eq!(ann.post(&path, &[("page", &page), ("answer", "approve")], HERE).await.status.as_u16(), 303);
    assert_eq!(
        world.permitted(large).await.unwrap().receipt().edited(),
        Some(r#"{"recipient":"DE1","amount":1050}"#)
    );
}

#[tokio::test]
async fn whoever_is_not_signed_in_or_not_for_long_enough_ago_is_sent_to_sign_in() {
    let world = Asked::new().await;
    let (id, _) = world.question(PAY).await;
    let nobody = Browser { plane: &world.plane, cookie: "warrantor_session=nothing".to_owned() };
    for (path, to) in [
        ("/approvals".to_owned(), "/approvals/sign-in".to_owned()),
        (format!("/approvals/{id}"), format!("/approvals/sign-in?to={id}")),
    ] {
        let sent = nobody.get(&path).await;
        assert_eq!((sent.status.as_u16(), sent.headers["location"].to_str().unwrap()), (303, to.as_str()));
    }
    let cut_off = nobody.get("/approvals/d").await;
    assert_eq!(cut_off.status.as_u16(), 303);
    let cut_off = nobody.get("/approvals/not%20one").await;
    assert!(cut_off.is(404).as_str().unwrap().contains("There is no such question"));
    // A client is nobody who could answer.
    let client = world.plane.client("ci", "administrator").await;
    let client = Browser { plane: &world.plane, cookie: format!("warrantor_session={client}") };
    assert_eq!(client.get("/approvals").await.status.as_u16(), 303);
    let ann = Browser { plane: &world.plane, cookie: format!("warrantor_session={}", world.ann) };
    let page = ann.page(&id).await;
    world.plane.clock.advance(Duration::from_secs(301));
    let sent = ann.post(&format!("/approvals/{id}"), &[("page", &page), ("answer", "approve")], HERE).await;
    assert_eq!(sent.headers["location"], format!("/approvals/sign-in?to={id}&again=yes"));
    // A page is not answered an hour later, and a session ends where its browser signs out.
    world.plane.clock.advance(Duration::from_secs(3600));
    ann.post(&format!("/approvals/{id}"), &[("page", &page), ("answer", "deny")], HERE).await.is(400);
    ann.post("/approvals/sign-out", &[], "https://evil.example.com").await.is(400);
    ann.post("/approvals/sign-out", &[], HERE).await.is(200);
    assert_eq!(ann.get("/approvals").await.status.as_u16(), 303);
    for path in ["/approvals/sign-in", "/approvals/callback?state=x&code=y"] {
        let refused = ann.get(path).await;
        assert!(refused.status.is_client_error(), "{path}: {}", refused.status);
    }
}
