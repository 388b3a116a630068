//! Tasks that cross from one domain to another: grants that are made here for another domain, and grants of another that are redeemed here.

use axum::{Json, Router, routing::get};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use warrantor_bundle::serve::{Accepts, DomainConfig, Gives, Said};
use warrantor_model::{ReasonCode, record::TokenChange};
use warrantor_tokens::{CROSSING_TOKEN_TYPE, SigningAlgorithm, key_set, signed_digest};

use super::world::{ACCESS, Bot, EXCHANGE, Tokens, claims};
use crate::common::{Answered, BANK, Plane, SERVICE};

const PARTNER: &str = "https://control.partner.example";
const OTHER: &str = "https://control.other.example";
const THEIRS: &str = "https://tools.partner.example/ledger";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn gives() -> DomainConfig {
    gives_to(PARTNER, &["invoice-bot", "helper"])
}

fn gives_to(issuer: &str, agents: &[&str]) -> DomainConfig {
    DomainConfig {
        issuer: issuer.to_owned(),
        algorithms: Vec::new(),
        certificates: None,
        accepts: None,
        gives: Some(Gives {
            resources: vec!["https://tools.partner.example/".to_owned()],
            server: "bank".parse().unwrap(),
            clients: agents.iter().map(|agent| (agent.parse().unwrap(), "acme-bot".to_owned())).collect(),
            algorithm: SigningAlgorithm::EdDsa,
        }),
    }
}

fn payload(token: &str) -> Value {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

async fn asked(world: &Tokens, bot: &Bot, changes: &[(&str, Option<&str>)]) -> Answered {
    let details = Tokens::details(&world.pay);
    let basic = [
        ("grant_type", EXCHANGE),
        ("requested_token_type", CROSSING_TOKEN_TYPE),
        ("subject_token", world.alice.as_str()),
        ("subject_token_type", ACCESS),
        ("audience", PARTNER),
        ("resource", THEIRS),
        ("authorization_details", details.as_str()),
    ];
    let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let mut parameters: Vec<(&str, &str)> = basic.into_iter().filter(|(name, _)| !changed(name)).collect();
    parameters.extend(changes.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
    let proof = bot.proof(world, &json!({}));
    world.ask(bot, &parameters, Some(&proof)).await
}

#[tokio::test]
async fn a_grant_says_what_the_mandate_grants_at_the_other_domain_and_is_recorded() {
    let world = Tokens::among(None, vec![gives()]).await;
    let made = asked(&world, &world.bot, &[]).await.is(200);
    assert_eq!(
        (&made["issued_token_type"], &made["token_type"]),
        (&json!(CROSSING_TOKEN_TYPE), &json!("N_A"))
    );
    let grant = made["access_token"].as_str().unwrap();
    let (said, now) = (payload(grant), world.now());
    let terms = &said["authorization_details"][0]["terms"];
    assert_eq!(
        said,
        json!({
            "iss": SERVICE, "sub": "alice", "aud": PARTNER, "client_id": "acme-bot", "jti": said["jti"], "iat": now, "exp": now + 300,
            "resource": THEIRS, "txn": said["txn"], "cnf": { "jkt": world.bot.key.id() },
            "act": { "iss": SERVICE, "sub": "invoice-bot", "sub_profile": "ai_agent" },
            "authorization_details": [{ "type": "urn:warrantor:part", "identifier": world.pay, "actions": ["call"], "locations": [THEIRS], "terms": terms }],
        })
    );
    let named = |grant: &Value| grant["tool"].as_str().unwrap().to_owned();
    let tools: Vec<String> = terms["grants"].as_array().unwrap().iter().map(named).collect();
    assert!(!tools.is_empty() && tools.iter().all(|tool| !tool.contains('/')), "{tools:?}");
    let record = world.records().await.pop().unwrap();
    let crossing = record.crossing.unwrap();
    assert_eq!(crossing.grant, signed_digest(grant));
    assert_eq!((crossing.id.as_str(), crossing.client.as_str()), (said["jti"].as_str().unwrap(), "acme-bot"));
    assert_eq!(record.audience.as_deref(), Some(PARTNER));
    // Nobody here takes it, as a grant or as a token.
    let own = [("grant_type", JWT_BEARER), ("assertion", grant)];
    let proof = world.bot.proof(&world, &json!({}));
    let refused = world.ask(&world.bot, &own, Some(&proof)).await.is(400);
    assert_eq!(refused["error"], "invalid_grant");
    let refused = asked(&world, &world.bot, &[("subject_token", Some(grant))]).await.is(400);
    assert_eq!(refused["error"], "invalid_request");
    let described = world.plane.ask("", "GET", "/.well-known/oauth-authorization-server", None).await.is(200);
    assert_eq!(described["identity_chaining_requested_token_types_supported"], json!([CROSSING_TOKEN_TYPE]));
}

#[tokio::test]
async fn what_a_grant_is_not_made_for() {
    let world = Tokens::among(None, vec![gives(), gives_to(OTHER, &["helper"])]).await;
    let (other, wider) = (Tokens::details(&world.look), Tokens::details(&world.nightly));
    type Change<'a> = (&'a str, Option<&'a str>);
    let cases: Vec<(&str, Vec<Change<'_>>, &str)> = vec![
        ("another domain", vec![("audience", Some("https://evil.example"))], "invalid_target"),
        ("no domain", vec![("audience", None)], "invalid_request"),
        ("a domain that knows others of our agents", vec![("audience", Some(OTHER))], "unauthorized_client"),
        ("no place", vec![("resource", None)], "invalid_request"),
        (
            "a place elsewhere",
            vec![("resource", Some("https://tools.partner.example.evil/x"))],
            "invalid_target",
        ),
        ("a place of ours", vec![("resource", Some(BANK))], "invalid_target"),
        ("a scope", vec![("scope", Some("tools:call"))], "invalid_scope"),
        (
            "another agent's mandate",
            vec![("authorization_details", Some(&other))],
            "invalid_authorization_details",
        ),
        (
            "a standing mandate",
            vec![("authorization_details", Some(&wider))],
            "invalid_authorization_details",
        ),
        (
            "another kind of token",
            vec![("requested_token_type", Some("urn:ietf:params:oauth:token-type:saml2"))],
            "invalid_request",
        ),
    ];
    for (what, changes, error) in &cases {
        let refused = asked(&world, &world.bot, changes).await;
        assert_eq!(refused.body["error"], *error, "{what}: {}", refused.body);
    }
    let records = world.records().await;
    assert_eq!(records.iter().filter(|record| record.change == TokenChange::Refused).count(), cases.len());
    // A part of a part: what is above counts over it, and could not be counted there.
    let parent = world.token_for("helper").await;
    let part = [("subject_token", Some(parent.as_str())), ("authorization_details", Some(other.as_str()))];
    let refused = asked(&world, &world.helper, &part).await.is(400);
    assert_eq!(refused["error"], "invalid_authorization_details");
    // Bound to no key.
    let unbound = [
        ("grant_type", EXCHANGE),
        ("requested_token_type", CROSSING_TOKEN_TYPE),
        ("subject_token", world.alice.as_str()),
        ("subject_token_type", ACCESS),
        ("audience", PARTNER),
        ("resource", THEIRS),
    ];
    assert_eq!(world.ask(&world.bot, &unbound, None).await.is(400)["error"], "invalid_dpop_proof");
    // The server in whose place it stands here is stopped.
    let responder = world.plane.person("responder", &["responder", "administrator"]).await;
    world
        .plane
        .ask(&responder, "POST", "/v1/servers/bank/quarantine", Some(json!({ "reason": "drill" })))
        .await
        .is(200);
    assert_eq!(asked(&world, &world.bot, &[]).await.is(400)["error"], "invalid_grant");
    world.plane.ask(&responder, "POST", "/v1/servers/bank/release", Some(json!({}))).await.is(200);
    asked(&world, &world.bot, &[]).await.is(200);
    world
        .plane
        .ask(&world.alice, "POST", &format!("/v1/mandates/{}/revoke", world.pay), Some(json!({})))
        .await
        .is(200);
    assert_eq!(asked(&world, &world.bot, &[]).await.is(400)["error"], "invalid_grant");
}

/// Another domain: it answers with its metadata and its key.
struct Domain {
    issuer: String,
    key: Bot,
}

impl Domain {
    async fn new() -> Self {
        let key = Bot::new("domain", 77);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
        let keys = key_set([&key.key]);
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(move || async move { Json(metadata) }))
            .route("/keys", get(move || async move { Json(keys) }));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer, key }
    }

    fn accepted(&self, said: Said) -> DomainConfig {
        DomainConfig {
            issuer: self.issuer.clone(),
            algorithms: Vec::new(),
            certificates: None,
            accepts: Some(Accepts {
                clients: vec!["helper".parse().unwrap()],
                said,
                resources: vec![BANK.to_owned()],
                through: vec!["https://third.example".to_owned()],
                max_actors: 2,
            }),
            gives: None,
        }
    }

    fn parts(&self) -> DomainConfig {
        self.accepted(Said::Parts { agent: "acme".parse().unwrap(), server: "bank".parse().unwrap() })
    }

    fn part(terms: &Value) -> Value {
        json!([{ "type": "urn:warrantor:part", "identifier": "m-home", "actions": ["call"], "locations": [BANK], "terms": terms }])
    }

    /// A grant for `helper`, with changes.
    fn grant(&self, world: &Tokens, changes: &Value) -> String {
        let now = world.now();
        let header = json!({ "alg": "EdDSA", "typ": "oauth-id-jag+jwt", "kid": self.key.key.id() });
        let terms =
            json!({ "purpose": "look", "limits": { "calls": 2 }, "grants": [{ "tool": "list_payees" }] });
        let claims = json!({
            "iss": self.issuer, "sub": "carol", "aud": SERVICE, "client_id": "helper", "jti": world.fresh(), "iat": now, "exp": now + 300,
            "resource": BANK, "txn": "t-home", "cnf": { "jkt": world.helper.key.id() },
            "act": { "iss": self.issuer, "sub": "their-bot" },
            "authorization_details": Self::part(&terms),
        });
        self.key.sign(header, claims, changes)
    }
}

async fn redeemed(world: &Tokens, bot: &Bot, grant: &str) -> Answered {
    let proof = bot.proof(world, &json!({}));
    world.ask(bot, &[("grant_type", JWT_BEARER), ("assertion", grant)], Some(&proof)).await
}

#[tokio::test]
async fn a_part_that_arrives_is_handed_on_once_and_ends_with_what_it_is_a_part_of() {
    let domain = Domain::new().await;
    let world = Tokens::among(None, vec![domain.parts()]).await;
    let grant = domain.grant(&world, &json!({}));
    // Nothing was handed to whoever stands for the domain.
    assert_eq!(redeemed(&world, &world.helper, &grant).await.is(400)["error"], "invalid_grant");
    let partner = world.handed("partner", false).await;
    let made = redeemed(&world, &world.helper, &grant).await.is(200);
    let token = made["access_token"].as_str().unwrap();
    let said = claims(&world, token).await;
    let mandate = said["authorization_details"][0]["identifier"].as_str().unwrap().to_owned();
    assert_eq!(
        (&said["sub"], &said["home"], &said["act"]),
        (
            &json!("alice"),
            &json!({ "iss": domain.issuer, "sub": "carol" }),
            &json!({ "iss": SERVICE, "sub": "helper", "sub_profile": "ai_agent", "act": { "iss": domain.issuer, "sub": "their-bot" } }),
        )
    );
    assert_eq!(world.told(&world.helper, token).await["active"], true);
    let crossing = world.records().await.pop().unwrap().crossing.unwrap();
    assert_eq!(
        (crossing.issuer.as_str(), crossing.mandate.as_deref()),
        (domain.issuer.as_str(), Some("m-home"))
    );
    assert_eq!(crossing.grant, signed_digest(&grant));
    // It is a task of its own: what others of that domain have seen is nothing to it.
    let task = async |id: &str| {
        world.plane.ask(&world.alice, "GET", &format!("/v1/mandates/{id}"), None).await.is(200)["task"]
            .clone()
    };
    assert_ne!(task(&mandate).await, task(&partner).await);
    assert_eq!(said["txn"], task(&mandate).await);
    // Another grant of the same mandate is the same part: two calls are two calls.
    assert_eq!(world.plane.call(&mandate).await, None);
    let again = redeemed(&world, &world.helper, &domain.grant(&world, &json!({}))).await.is(200);
    assert_eq!(again["authorization_details"][0]["identifier"], json!(mandate));
    assert_eq!(world.plane.call(&mandate).await, None);
    assert_eq!(world.plane.call(&mandate).await, Some(ReasonCode::LimitReached));
    // The same grant counts once.
    let refused = redeemed(&world, &world.helper, &grant).await.is(400);
    assert_eq!(refused["error"], "invalid_grant");
    let end = format!("/v1/mandates/{partner}/revoke");
    world.plane.ask(&world.alice, "POST", &end, Some(json!({}))).await.is(200);
    assert_eq!(world.told(&world.helper, token).await, json!({ "active": false }));
    let refused = redeemed(&world, &world.helper, &domain.grant(&world, &json!({}))).await.is(400);
    assert_eq!(refused["error"], "invalid_grant");
    // Under another mandate nothing of it begins anew: another task at home does.
    world.plane.clock.advance(std::time::Duration::from_secs(1));
    world.handed("partner", false).await;
    let refused = redeemed(&world, &world.helper, &domain.grant(&world, &json!({}))).await.is(400);
    assert_eq!(refused["error"], "invalid_authorization_details");
    let mut other = Domain::part(&json!({ "purpose": "look", "grants": [{ "tool": "list_payees" }] }));
    other[0]["identifier"] = "m-other".into();
    let other = json!({ "claims": { "authorization_details": other } });
    redeemed(&world, &world.helper, &domain.grant(&world, &other)).await.is(200);
}

#[tokio::test]
async fn a_part_is_never_more_than_what_its_domain_has_here_nor_said_in_two_ways() {
    let domain = Domain::new().await;
    let world = Tokens::among(None, vec![domain.parts()]).await;
    world.handed("partner", false).await;
    for terms in [
        json!({ "purpose": "p", "grants": [{ "tool": "send_money", "arguments": { "recipient": { "in": ["DE1"] }, "amount": { "max": 1 } } }] }),
        json!({ "purpose": "p", "grants": [{ "tool": "list_payees" }], "limits": { "calls": 100 } }),
        json!({ "purpose": "p", "grants": [{ "effects": ["read"] }] }),
        json!({ "purpose": "p", "grants": [{ "tool": "no_such_tool" }] }),
        json!({ "purpose": "p", "grants": [] }),
        json!({ "purpose": "p", "grants": [{ "tool": "list_payees" }], "person": "bob" }),
        json!({ "purpose": "p", "grants": [{ "tool": "list_payees" }], "delegation": { "depth": 1 } }),
        json!({ "grants": [{ "tool": "list_payees" }] }),
        json!({}),
    ] {
        let changes = json!({ "claims": { "authorization_details": Domain::part(&terms) } });
        let refused = redeemed(&world, &world.helper, &domain.grant(&world, &changes)).await;
        assert_eq!(refused.body["error"], "invalid_authorization_details", "{terms}: {}", refused.body);
        let crossing = world.records().await.pop().unwrap().crossing.unwrap();
        assert_eq!((crossing.issuer.as_str(), crossing.subject.as_str()), (domain.issuer.as_str(), "carol"));
    }
    redeemed(&world, &world.helper, &domain.grant(&world, &json!({}))).await.is(200);
    let terms = json!({ "purpose": "something else", "grants": [{ "tool": "list_payees" }] });
    let changes = json!({ "claims": { "authorization_details": Domain::part(&terms) } });
    let refused = redeemed(&world, &world.helper, &domain.grant(&world, &changes)).await.is(400);
    assert_eq!(refused["error"], "invalid_authorization_details");
    // A second mandate leaves it open which one is meant.
    world.plane.clock.advance(std::time::Duration::from_secs(1));
    world.handed("partner", false).await;
    let refused = redeemed(&world, &world.helper, &domain.grant(&world, &json!({}))).await.is(400);
    assert_eq!(refused["error"], "invalid_grant");
}

#[tokio::test]
async fn what_a_grant_of_another_domain_is_refused_for() {
    let domain = Domain::new().await;
    let world = Tokens::among(None, vec![domain.parts(), gives()]).await;
    world.handed("partner", false).await;
    // Of a grant that others show it is recorded whose it is.
    let stolen = domain.grant(&world, &json!({}));
    redeemed(&world, &world.bot, &stolen).await.is(400);
    assert_eq!(world.records().await.pop().unwrap().crossing.unwrap().grant, signed_digest(&stolen));
    let now = world.now();
    let actor = |issuer: &str, inner: Option<Value>| {
        let mut actor = json!({ "iss": issuer, "sub": "someone" });
        if let Some(inner) = inner {
            actor["act"] = inner;
        }
        actor
    };
    let too_long = actor(
        &domain.issuer,
        Some(json!({ "iss": domain.issuer, "sub": "b", "act": { "iss": domain.issuer, "sub": "c" } })),
    );
    let head = |name: &str, value: Value| json!({ "header": { name: value } });
    let said = |name: &str, value: Value| json!({ "claims": { name: value } });
    let cases = [
        ("no algorithm", head("alg", json!("none")), "invalid_grant"),
        ("a secret for a key", head("alg", json!("HS256")), "invalid_grant"),
        ("an access token", head("typ", json!("at+jwt")), "invalid_grant"),
        ("any token", head("typ", json!("JWT")), "invalid_grant"),
        ("a path for a key", head("kid", json!("../../etc/passwd")), "invalid_grant"),
        ("an unknown issuer", said("iss", json!("https://evil.example")), "invalid_grant"),
        ("a domain that says nothing here", said("iss", json!(PARTNER)), "invalid_grant"),
        ("ourselves", said("iss", json!(SERVICE)), "invalid_grant"),
        ("for another", said("aud", json!("https://evil.example")), "invalid_grant"),
        ("for two", said("aud", json!([SERVICE, "https://evil.example"])), "invalid_grant"),
        ("for another client", said("client_id", json!("invoice-bot")), "invalid_grant"),
        ("ended", said("exp", json!(now - 60)), "invalid_grant"),
        ("for a day", said("exp", json!(now + 86_400)), "invalid_grant"),
        ("old", said("iat", json!(now - 3600)), "invalid_grant"),
        ("of the future", said("iat", json!(now + 600)), "invalid_grant"),
        ("without a name", said("jti", Value::Null), "invalid_grant"),
        ("of nobody", said("sub", Value::Null), "invalid_grant"),
        ("for no place", said("resource", Value::Null), "invalid_grant"),
        (
            "for two places",
            said("resource", json!([BANK, "https://tools.example.com/files"])),
            "invalid_grant",
        ),
        ("for another place", said("resource", json!("https://tools.example.com/files")), "invalid_target"),
        ("for a place that is none of ours", said("resource", json!(THEIRS)), "invalid_target"),
        ("of another key", said("cnf", json!({ "jkt": "x" })), "invalid_grant"),
        ("of a certificate", said("cnf", json!({ "x5t#S256": "x" })), "invalid_grant"),
        ("an actor of a third domain", said("act", actor("https://evil.example", None)), "invalid_grant"),
        ("an actor of ours", said("act", actor(SERVICE, None)), "invalid_grant"),
        (
            "an actor of ours within",
            said("act", actor(&domain.issuer, Some(actor(SERVICE, None)))),
            "invalid_grant",
        ),
        ("too long a chain", said("act", too_long), "invalid_grant"),
        ("a scope", said("scope", json!("read")), "invalid_grant"),
        ("a tenant", said("tenant", json!("other")), "invalid_grant"),
        ("no part", said("authorization_details", Value::Null), "invalid_authorization_details"),
        ("details of others", said("authorization_details", json!([{ "type": "payment" }])), "invalid_grant"),
    ];
    for (what, changes, error) in &cases {
        world.plane.clock.advance(std::time::Duration::from_millis(60));
        let refused = redeemed(&world, &world.helper, &domain.grant(&world, changes)).await;
        assert_eq!(refused.body["error"], *error, "{what}: {}", refused.body);
    }
    // As many as are recorded in a second; one whose part is refused says whose it was.
    let records = world.records().await;
    assert!(records.iter().filter(|record| record.change == TokenChange::Refused).count() >= 20);
    // Another client, another key, no proof, another place than was asked for, details beside the grant's.
    let grant = domain.grant(&world, &json!({}));
    let stranger = Bot { key: Bot::new("x", 5).key, ..Bot::new("helper", 22) };
    assert_eq!(redeemed(&world, &world.bot, &grant).await.is(400)["error"], "invalid_grant");
    assert_eq!(redeemed(&world, &stranger, &grant).await.is(401)["error"], "invalid_client");
    let form = [("grant_type", JWT_BEARER), ("assertion", grant.as_str())];
    assert_eq!(world.ask(&world.helper, &form, None).await.is(400)["error"], "invalid_grant");
    let details = Tokens::details(&world.pay);
    for (parameter, error) in [
        (("resource", "https://tools.example.com/files"), "invalid_target"),
        (("authorization_details", details.as_str()), "invalid_authorization_details"),
        (("scope", "all"), "invalid_scope"),
    ] {
        let proof = world.helper.proof(&world, &json!({}));
        let refused = world.ask(&world.helper, &[form[0], form[1], parameter], Some(&proof)).await.is(400);
        assert_eq!(refused["error"], error, "{parameter:?}");
    }
    // None of that has used it up, and an actor of whoever it may speak of is taken.
    redeemed(&world, &world.helper, &grant).await.is(200);
    let through = said("act", actor(&domain.issuer, Some(actor("https://third.example", None))));
    redeemed(&world, &world.helper, &domain.grant(&world, &through)).await.is(200);
}

#[tokio::test]
async fn a_domain_may_speak_of_people_who_are_known_here_by_its_name_for_them() {
    let domain = Domain::new().await;
    let world = Tokens::among(None, vec![domain.accepted(Said::People)]).await;
    let plain = |subject: &str| json!({ "claims": { "sub": subject, "act": null, "cnf": null, "authorization_details": null } });
    let redeem = async |subject: &str, details: Option<&str>| {
        let grant = domain.grant(&world, &plain(subject));
        let mut form = vec![("grant_type", JWT_BEARER), ("assertion", grant.as_str())];
        form.extend(details.map(|details| ("authorization_details", details)));
        let proof = world.helper.proof(&world, &json!({}));
        world.ask(&world.helper, &form, Some(&proof)).await
    };
    assert_eq!(redeem("carol", None).await.is(400)["error"], "invalid_grant");
    let dora = world.plane.person_of("dora", &domain.issuer, "subject-of-dora").await;
    // Such a domain hands nothing on.
    let part = json!({ "claims": { "sub": "subject-of-dora", "act": null } });
    let refused = redeemed(&world, &world.helper, &domain.grant(&world, &part)).await.is(400);
    assert_eq!(refused["error"], "invalid_authorization_details");
    // Known, and with no mandate.
    assert_eq!(redeem("subject-of-dora", None).await.is(400)["error"], "invalid_authorization_details");
    let mandate = world.plane.settle(&dora, "helper").await;
    let made = redeem("subject-of-dora", None).await.is(200);
    let said = claims(&world, made["access_token"].as_str().unwrap()).await;
    assert_eq!(
        (&said["sub"], &said["authorization_details"][0]["identifier"]),
        (&json!("dora"), &json!(mandate))
    );
    assert_eq!(said["home"], json!({ "iss": domain.issuer, "sub": "subject-of-dora" }));
    redeem("subject-of-dora", Some(&Tokens::details(&mandate))).await.is(200);
    // Somebody else's mandate is not hers, and a part is nothing that it hands on.
    let other = redeem("subject-of-dora", Some(&Tokens::details(&world.look))).await.is(400);
    assert_eq!(other["error"], "invalid_authorization_details");
    let host = Plane::host(warrantor_decide::administration::Act::SuspendPerson);
    world.plane.api.office().suspend_person(&host, &"dora".parse().unwrap(), None).await.unwrap();
    assert_eq!(redeem("subject-of-dora", None).await.is(400)["error"], "invalid_grant");
}

#[tokio::test]
async fn that_a_domain_does_not_answer_is_nobodys_fault_and_makes_no_token() {
    let domain = Domain { issuer: "http://127.0.0.1:1".to_owned(), key: Bot::new("domain", 77) };
    let world = Tokens::among(None, vec![domain.parts()]).await;
    world.handed("partner", false).await;
    let before = world.records().await.len();
    let refused = redeemed(&world, &world.helper, &domain.grant(&world, &json!({}))).await.is(503);
    assert_eq!(refused["error"], "temporarily_unavailable");
    assert_eq!(world.records().await.len(), before);
}
