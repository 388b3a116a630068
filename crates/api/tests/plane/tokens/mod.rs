//! The token service: who is given a token and for what, what tokens say, how they end, and everything that is refused.

mod applications;
mod crossing;
mod handing_on;
mod workloads;
mod world;

use std::time::Duration;

use serde_json::{Value, json};
use warrantor_api::provider::Provider;
use warrantor_bundle::serve::ProviderConfig;
use warrantor_model::record::TokenChange;
use warrantor_tokens::{ASSERTION_TYPE, claimed, token_hash};

use self::world::{ACCESS, Bot, EXCHANGE, Tokens, claims};
use crate::common::{BANK, SERVICE};

#[tokio::test]
async fn an_agent_is_given_a_token_for_one_task_of_a_person_at_one_place_bound_to_its_key() {
    let world = Tokens::new().await;
    let token = world.token_for(BANK).await;
    let said = claims(&world, &token).await;
    let now = world.now();
    assert_eq!(
        said,
        json!({
            "iss": SERVICE, "sub": "alice", "aud": BANK, "client_id": "invoice-bot", "jti": said["jti"],
            "iat": now, "nbf": now, "exp": now + 300, "txn": said["txn"],
            "act": { "iss": SERVICE, "sub": "invoice-bot", "sub_profile": "ai_agent" },
            "cnf": { "jkt": world.bot.key.id() },
            "authorization_details": [{ "type": "urn:warrantor:mandate", "identifier": world.pay, "actions": ["call"], "locations": [BANK] }],
        })
    );
    let [record] = world.records().await.try_into().unwrap();
    assert_eq!((record.change, record.token.as_deref()), (TokenChange::Made, said["jti"].as_str()));
    assert_eq!((record.person.as_deref(), record.mandate.as_ref()), (Some("alice"), Some(&world.pay)));
    let text = format!("{record:?}");
    assert!(!text.contains(&token) && !text.contains(&world.alice), "a token is recorded: {text}");
    // What it says is told to whoever it was made for.
    let told = world.told(&world.bot, &token).await;
    assert_eq!(
        (&told["active"], &told["cnf"], &told["token_type"]),
        (&json!(true), &said["cnf"], &json!("DPoP"))
    );
    assert_eq!(world.told(&world.helper, &token).await, json!({ "active": false }));
}

#[tokio::test]
async fn a_token_for_a_standing_mandate_needs_no_person_and_one_for_a_person_does() {
    let world = Tokens::new().await;
    let proof = world.bot.proof(&world, &json!({}));
    let parameters = [("grant_type", "client_credentials"), ("resource", BANK)];
    // The only standing mandate is the one that is meant.
    let made = world.ask(&world.bot, &parameters, Some(&proof)).await.is(200);
    assert!(made.get("issued_token_type").is_none());
    let said = claims(&world, made["access_token"].as_str().unwrap()).await;
    assert_eq!((&said["sub"], &said["client_id"]), (&json!("invoice-bot"), &json!("invoice-bot")));
    assert!(said.get("act").is_none());
    assert_eq!(said["authorization_details"][0]["identifier"], json!(world.nightly));
    let details = Tokens::details(&world.pay);
    let proof = world.bot.proof(&world, &json!({}));
    let named = [parameters[0], parameters[1], ("authorization_details", details.as_str())];
    let refused = world.ask(&world.bot, &named, Some(&proof)).await.is(400);
    assert_eq!(refused["error"], "unauthorized_client");
}

#[tokio::test]
async fn a_sub_agent_exchanges_what_was_made_for_it_and_the_chain_grows_by_one() {
    let world = Tokens::new().await;
    for audience in [SERVICE, "helper"] {
        let parent = world.token_for(audience).await;
        let made = world.handed_on(&parent).await.is(200);
        assert_eq!(made["issued_token_type"], ACCESS);
        let said = claims(&world, made["access_token"].as_str().unwrap()).await;
        assert_eq!(said["sub"], "alice");
        assert_eq!(
            said["act"],
            json!({ "iss": SERVICE, "sub": "helper", "sub_profile": "ai_agent",
                "act": { "iss": SERVICE, "sub": "invoice-bot", "sub_profile": "ai_agent" } })
        );
        assert_eq!(said["cnf"]["jkt"], json!(world.helper.key.id()));
        assert_eq!(said["made_from"], json!([claims(&world, &parent).await["jti"]]));
        world.plane.clock.advance(std::time::Duration::from_secs(1));
    }
    // One that was made for a gateway is no use here, and neither is one for somebody else.
    let elsewhere = world.token_for(BANK).await;
    let refused = world.handed_on(&elsewhere).await.is(400);
    assert_eq!(refused["error"], "invalid_request");
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_and_so_does_what_was_made_from_it() {
    let world = Tokens::new().await;
    let parent = world.token_for(SERVICE).await;
    let child = world.handed_on(&parent).await.is(200)["access_token"].as_str().unwrap().to_owned();
    let revoke = async |bot: &Bot, token: &str| {
        let assertion = bot.assertion(&world, &json!({}));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
            ("token", token),
        ];
        world.plane.form("/oauth/revoke", &form, &[]).await
    };
    // Nobody ends what was made for another, and what is no token has ended.
    assert_eq!(revoke(&world.helper, &parent).await.is(400)["error"], "unauthorized_client");
    revoke(&world.helper, "no-token").await.is(200);
    assert_eq!(world.told(&world.helper, &child).await["active"], true);
    revoke(&world.bot, &parent).await.is(200);
    revoke(&world.bot, &parent).await.is(200);
    assert_eq!(world.told(&world.bot, &parent).await, json!({ "active": false }));
    assert_eq!(world.told(&world.helper, &child).await, json!({ "active": false }));
    let refused = world.handed_on(&parent).await.is(400);
    assert_eq!(refused["error"], "invalid_grant");
    let revoked =
        world.records().await.into_iter().filter(|record| record.change == TokenChange::Revoked).count();
    assert_eq!(revoked, 1);
}

#[tokio::test]
async fn a_token_counts_no_more_than_whoever_and_whatever_it_rests_on() {
    type How = fn(&Tokens) -> (String, Option<Value>);
    let stopped: [(&str, How); 4] = [
        ("the mandate", |world| (format!("/v1/mandates/{}/revoke", world.pay), Some(json!({})))),
        ("the agent", |_| ("/v1/agents/invoice-bot/suspend".to_owned(), None)),
        ("the person", |_| ("/v1/people/alice/suspend".to_owned(), None)),
        ("everything", |_| ("/v1/lockdown".to_owned(), Some(json!({ "reason": "drill" })))),
    ];
    for (what, how) in stopped {
        let world = Tokens::new().await;
        let token = world.token_for(BANK).await;
        let point = world.plane.client("eu", "enforcement-point").await;
        let told = async || {
            let header = format!("Bearer {point}");
            let headers = [("authorization", header.as_str())];
            world.plane.form("/oauth/introspect", &[("token", token.as_str())], &headers).await.is(200)
        };
        assert_eq!(told().await["active"], true, "{what}");
        let responder = world.plane.person("responder", &["responder", "administrator"]).await;
        let (path, body) = how(&world);
        let method = if path == "/v1/lockdown" { "PUT" } else { "POST" };
        let answered = world.plane.ask(&responder, method, &path, body).await;
        assert!(answered.status.is_success(), "{what}: {}", answered.body);
        assert_eq!(told().await, json!({ "active": false }), "{what}");
    }
    let world = Tokens::new().await;
    let token = world.token_for(BANK).await;
    world.plane.clock.advance(std::time::Duration::from_secs(300));
    assert_eq!(world.told(&world.bot, &token).await, json!({ "active": false }));
}

#[tokio::test]
async fn nothing_lasts_longer_than_what_it_is_made_from() {
    let world = Tokens::new().await;
    let parent = world.token_for("helper").await;
    world.plane.clock.advance(std::time::Duration::from_secs(250));
    let made = world.handed_on(&parent).await.is(200);
    assert_eq!(made["expires_in"], 50);
    world.plane.clock.advance(std::time::Duration::from_secs(50));
    let refused = world.handed_on(&parent).await.is(400);
    assert_eq!(refused["error"], "invalid_request");
    // The mandate ends after half an hour.
    world.plane.clock.advance(std::time::Duration::from_secs(1400));
    let token = world.token_for(BANK).await;
    let said = claims(&world, &token).await;
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 100);
}

#[tokio::test]
async fn what_the_client_is_refused_for_is_recorded() {
    let world = Tokens::new().await;
    let now = world.now();
    let stranger = Bot { id: "invoice-bot", ..Bot::new("x", 99) };
    let cases = [
        ("no algorithm", json!({ "header": { "alg": "none" } })),
        ("a secret for a key", json!({ "header": { "alg": "HS256" } })),
        ("an access token", json!({ "header": { "typ": "at+jwt" } })),
        ("a proof", json!({ "header": { "typ": "dpop+jwt" } })),
        ("a path for a key", json!({ "header": { "kid": "../../../etc/passwd" } })),
        ("SQL for a key", json!({ "header": { "kid": "' or 1=1 --" } })),
        ("a key at an address", json!({ "header": { "jku": "https://evil.example/keys", "kid": "evil" } })),
        ("ended", json!({ "claims": { "exp": now - 60 } })),
        ("of the future", json!({ "claims": { "iat": now + 120, "exp": now + 180 } })),
        ("for a year", json!({ "claims": { "exp": now + 31_536_000 } })),
        ("for another", json!({ "claims": { "aud": "https://other.example.com" } })),
        ("for two", json!({ "claims": { "aud": [SERVICE, "https://other.example.com"] } })),
        ("for the endpoint", json!({ "claims": { "aud": format!("{SERVICE}/oauth/token") } })),
        ("of another issuer", json!({ "claims": { "iss": "https://evil.example" } })),
        ("of nobody", json!({ "claims": { "sub": null } })),
        ("of an unknown agent", json!({ "claims": { "sub": "nobody", "iss": "nobody" } })),
        ("of another agent", json!({ "claims": { "sub": "helper", "iss": "helper" } })),
        ("without a name", json!({ "claims": { "jti": null } })),
    ];
    let parameters = [("grant_type", "client_credentials"), ("resource", BANK)];
    let mut told = std::collections::BTreeSet::new();
    for (what, changes) in &cases {
        world.plane.clock.advance(std::time::Duration::from_millis(1));
        let refused = world.ask_with(&world.bot.assertion(&world, changes), &parameters, None).await;
        assert_eq!(refused.body["error"], "invalid_client", "{what}");
        told.insert(refused.is(401)["error_description"].as_str().unwrap().to_owned());
    }
    let refused = world.ask_with(&stranger.assertion(&world, &json!({})), &parameters, None).await;
    told.insert(refused.is(401)["error_description"].as_str().unwrap().to_owned());
    assert_eq!(told.len(), 1, "what stood in the way is told to strangers: {told:?}");
    let records = world.records().await;
    assert_eq!(records.len(), cases.len() + 1);
    assert!(records.iter().all(|record| record.change == TokenChange::Refused && record.token.is_none()));
    // Parts that are missing, or too many.
    let assertion = world.bot.assertion(&world, &json!({}));
    for form in [
        vec![
            ("grant_type", "client_credentials"),
            ("client_id", "invoice-bot"),
            ("client_secret", "hunter2"),
        ],
        vec![("grant_type", "client_credentials"), ("client_assertion", assertion.as_str())],
        vec![
            ("grant_type", "client_credentials"),
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"),
        ],
        vec![
            ("grant_type", "client_credentials"),
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_id", "helper"),
        ],
    ] {
        assert_eq!(world.plane.form("/oauth/token", &form, &[]).await.is(401)["error"], "invalid_client");
    }
}

#[tokio::test]
async fn an_assertion_and_a_proof_count_once() {
    let world = Tokens::new().await;
    let parameters = [("grant_type", "client_credentials"), ("resource", BANK)];
    let (assertion, proof) = (world.bot.assertion(&world, &json!({})), world.bot.proof(&world, &json!({})));
    world.ask_with(&assertion, &parameters, Some(&proof)).await.is(200);
    let other = world.bot.proof(&world, &json!({}));
    let refused = world.ask_with(&assertion, &parameters, Some(&other)).await.is(401);
    assert_eq!(refused["error"], "invalid_client");
    let refused = world.ask(&world.bot, &parameters, Some(&proof)).await.is(400);
    assert_eq!(refused["error"], "invalid_dpop_proof");
}

#[tokio::test]
async fn what_a_request_is_refused_for() {
    let world = Tokens::new().await;
    let (pay, look) = (Tokens::details(&world.pay), Tokens::details(&world.look));
    let elsewhere = json!([{ "type": "urn:warrantor:mandate", "identifier": world.pay, "locations": ["https://tools.example.com/files"] }]).to_string();
    let wider = json!([{ "type": "urn:warrantor:mandate", "identifier": world.pay, "actions": ["call", "administer"] }]).to_string();
    let other = json!([{ "type": "payment", "identifier": world.pay }]).to_string();
    let unknown = Tokens::details("m00000000000-0000000000000000");
    let basic = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", world.alice.as_str()),
        ("subject_token_type", ACCESS),
        ("resource", BANK),
        ("authorization_details", pay.as_str()),
    ];
    let bob = world.plane.session("bob").await;
    let client = world.plane.client("eu", "enforcement-point").await;
    type Change<'a> = (&'a str, Option<&'a str>);
    let cases: Vec<(&str, Vec<Change<'_>>, &str)> = vec![
        ("another grant", vec![("grant_type", Some("password"))], "unsupported_grant_type"),
        ("no grant", vec![("grant_type", None)], "invalid_request"),
        ("a scope", vec![("scope", Some("tools:call"))], "invalid_scope"),
        ("no place", vec![("resource", None)], "invalid_target"),
        ("two places", vec![("audience", Some("https://tools.example.com/files"))], "invalid_target"),
        ("another place", vec![("resource", Some("https://evil.example/bank"))], "invalid_target"),
        (
            "a place that only begins alike",
            vec![("resource", Some("https://tools.example.com.evil/"))],
            "invalid_target",
        ),
        ("no subject", vec![("subject_token", None)], "invalid_request"),
        ("no type of the subject", vec![("subject_token_type", None)], "invalid_request"),
        (
            "a refresh token",
            vec![("subject_token_type", Some("urn:ietf:params:oauth:token-type:refresh_token"))],
            "invalid_request",
        ),
        ("an actor's token", vec![("actor_token", Some("x"))], "invalid_request"),
        ("an actor's type", vec![("actor_token_type", Some(ACCESS))], "invalid_request"),
        (
            "another kind of token",
            vec![("requested_token_type", Some("urn:ietf:params:oauth:token-type:jwt"))],
            "invalid_request",
        ),
        ("a session that is none", vec![("subject_token", Some("ws_0000"))], "invalid_request"),
        ("a client for a person", vec![("subject_token", Some(client.as_str()))], "invalid_request"),
        ("another person", vec![("subject_token", Some(bob.as_str()))], "invalid_authorization_details"),
        (
            "another place in the details",
            vec![("authorization_details", Some(elsewhere.as_str()))],
            "invalid_authorization_details",
        ),
        (
            "wider details",
            vec![("authorization_details", Some(wider.as_str()))],
            "invalid_authorization_details",
        ),
        (
            "another type of details",
            vec![("authorization_details", Some(other.as_str()))],
            "invalid_authorization_details",
        ),
        (
            "another agent's mandate",
            vec![("authorization_details", Some(look.as_str()))],
            "invalid_authorization_details",
        ),
        (
            "a mandate that is none",
            vec![("authorization_details", Some(unknown.as_str()))],
            "invalid_authorization_details",
        ),
    ];
    for (what, changes, error) in cases {
        let mut parameters = basic.clone();
        for (name, value) in changes {
            let keeps = name == "audience";
            parameters.retain(|(known, _)| keeps || *known != name);
            parameters.extend(value.map(|value| (name, value)));
        }
        let proof = world.bot.proof(&world, &json!({}));
        let refused = world.ask(&world.bot, &parameters, Some(&proof)).await;
        assert_eq!(refused.status.as_u16(), 400, "{what}: {}", refused.body);
        assert_eq!(refused.body["error"], error, "{what}: {}", refused.body);
        let description = refused.body["error_description"].as_str().unwrap();
        assert!(
            description.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'),
            "{description}"
        );
    }
    let records = world.records().await;
    assert!(records.iter().all(|record| record.change == TokenChange::Refused), "something was made");
}

#[tokio::test]
async fn that_the_identity_provider_does_not_answer_is_nobodys_fault_and_makes_no_token() {
    let provider = Provider::new(ProviderConfig {
        // Nobody listens there.
        issuer: "http://127.0.0.1:1".to_owned(),
        client_id: "warrantor".to_owned(),
        audiences: Vec::new(),
        algorithms: Vec::new(),
        subject_claim: "sub".to_owned(),
        groups_claim: None,
        scope: "openid".to_owned(),
        register: false,
        leeway: Duration::ZERO,
        certificates: None,
    });
    let world = Tokens::signing_in(Some(provider.unwrap())).await;
    let claims = json!({ "iss": "http://127.0.0.1:1", "sub": "alice", "aud": "warrantor" });
    let token = world.bot.sign(json!({ "alg": "EdDSA" }), claims, &json!({}));
    let parameters = [
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("resource", BANK),
    ];
    let proof = world.bot.proof(&world, &json!({}));
    let told = world.ask(&world.bot, &parameters, Some(&proof)).await.is(503);
    assert_eq!(told["error"], "temporarily_unavailable");
    assert!(world.records().await.is_empty());
}

#[tokio::test]
async fn what_a_proof_is_refused_for() {
    let world = Tokens::new().await;
    let now = world.now();
    let parameters = [("grant_type", "client_credentials"), ("resource", BANK)];
    for (what, changes) in [
        ("no algorithm", json!({ "header": { "alg": "none" } })),
        ("another type", json!({ "header": { "typ": "JWT" } })),
        ("no key", json!({ "header": { "jwk": null } })),
        (
            "another's key",
            json!({ "header": { "jwk": { "kty": "OKP", "crv": "Ed25519", "x": world.helper.key.public()["x"] } } }),
        ),
        ("another method", json!({ "claims": { "htm": "GET" } })),
        ("another address", json!({ "claims": { "htu": format!("{SERVICE}/oauth/revoke") } })),
        ("too old", json!({ "claims": { "iat": now - 600 } })),
        ("of the future", json!({ "claims": { "iat": now + 600 } })),
        ("of a token", json!({ "claims": { "ath": token_hash("x") } })),
    ] {
        let proof = world.bot.proof(&world, &changes);
        let refused = world.ask(&world.bot, &parameters, Some(&proof)).await.is(400);
        assert_eq!(refused["error"], "invalid_dpop_proof", "{what}");
    }
    // None, where a token has to be bound; and where it need not.
    let refused = world.ask(&world.bot, &parameters, None).await.is(400);
    assert_eq!(refused["error"], "invalid_dpop_proof");
    let old = [parameters[0], ("resource", "https://old.example.com/mcp")];
    let made = world.ask(&world.bot, &old, None).await.is(200);
    assert_eq!(made["token_type"], "Bearer");
    let header = made["access_token"].as_str().unwrap().split('.').next().unwrap();
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    // Its own holder exchanges what is bound to its key with that key.
    let own = world.token_for(SERVICE).await;
    let details = Tokens::details(&world.pay);
    let again = [
        ("grant_type", EXCHANGE),
        ("subject_token", own.as_str()),
        ("subject_token_type", ACCESS),
        ("resource", BANK),
        ("authorization_details", details.as_str()),
    ];
    let stolen = world.helper.proof(&world, &json!({}));
    let refused = world.ask(&world.bot, &again, Some(&stolen)).await.is(400);
    assert_eq!(refused["error"], "invalid_dpop_proof");
    let proof = world.bot.proof(&world, &json!({}));
    let made = world.ask(&world.bot, &again, Some(&proof)).await.is(200);
    let said = claims(&world, made["access_token"].as_str().unwrap()).await;
    assert_eq!(said["act"]["sub"], "invoice-bot");
    assert!(said["act"].get("act").is_none(), "the same actor stands in the chain once");
}

#[tokio::test]
async fn no_token_that_was_changed_is_exchanged() {
    let world = Tokens::new().await;
    let token = world.token_for("helper").await;
    let said = claims(&world, &token).await;
    let forger = Bot::new("x", 77);
    let header = json!({ "alg": "EdDSA", "typ": "at+jwt" });
    for (what, changes) in [
        ("by another key", json!({})),
        ("another inner actor", json!({ "claims": { "act": { "iss": SERVICE, "sub": "helper" } } })),
        ("no actor", json!({ "claims": { "act": null } })),
        ("longer", json!({ "claims": { "exp": world.now() + 9000 } })),
        (
            "another mandate",
            json!({ "claims": { "authorization_details": [{ "type": "urn:warrantor:mandate", "identifier": world.nightly }] } }),
        ),
        ("no algorithm", json!({ "header": { "alg": "none" } })),
    ] {
        let forged = forger.sign(header.clone(), said.clone(), &changes);
        let refused = world.handed_on(&forged).await.is(400);
        assert_eq!(refused["error"], "invalid_request", "{what}");
        assert_eq!(world.told(&world.bot, &forged).await, json!({ "active": false }), "{what}");
    }
    // A token whose payload was changed under a signature that was right.
    let parts: Vec<&str> = token.split('.').collect();
    let other = world.token_for(BANK).await;
    let mixed = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
    assert_eq!(claimed(&mixed, "aud").unwrap().as_deref(), Some(BANK));
    assert_eq!(world.told(&world.bot, &mixed).await, json!({ "active": false }));
    // None of it acts here as a person or a client would.
    world.plane.ask(&token, "GET", "/v1/me", None).await.is(401);
}

#[tokio::test]
async fn what_counts_once_is_forgotten_when_it_could_not_count_any_more() {
    let world = Tokens::new().await;
    let parameters = [("grant_type", "client_credentials"), ("resource", BANK)];
    let (assertion, proof) = (world.bot.assertion(&world, &json!({})), world.bot.proof(&world, &json!({})));
    let token = world.ask_with(&assertion, &parameters, Some(&proof)).await.is(200)["access_token"].clone();
    let again = world.bot.assertion(&world, &json!({}));
    let form = [
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", again.as_str()),
        ("token", token.as_str().unwrap()),
    ];
    world.plane.form("/oauth/revoke", &form, &[]).await.is(200);
    let office = world.plane.api.office();
    assert_eq!(office.forget_tokens().await.unwrap(), 0);
    world.plane.clock.advance(std::time::Duration::from_secs(2 * 3600));
    assert_eq!(office.forget_tokens().await.unwrap(), 3, "two assertions and a proof");
    world.plane.clock.advance(std::time::Duration::from_secs(24 * 3600));
    assert_eq!(office.forget_tokens().await.unwrap(), 1, "a revocation");
    assert_eq!(office.forget_tokens().await.unwrap(), 0);
}

#[tokio::test]
async fn the_service_describes_itself_as_it_is() {
    let world = Tokens::new().await;
    let told = world.plane.ask("", "GET", "/.well-known/oauth-authorization-server", None).await.is(200);
    assert_eq!(told["issuer"], SERVICE);
    for (member, path) in [
        ("token_endpoint", "/oauth/token"),
        ("introspection_endpoint", "/oauth/introspect"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("jwks_uri", "/oauth/jwks"),
    ] {
        assert_eq!(told[member], format!("{SERVICE}{path}"));
    }
    let keys = world.plane.ask("", "GET", "/oauth/jwks", None).await.is(200);
    let kinds: Vec<&str> =
        keys["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["EdDSA", "ES256"]);
    assert!(!keys.to_string().contains("\"d\""));
    // A form is a form.
    let body = Some(json!({ "grant_type": "client_credentials" }));
    let refused = world.plane.ask("", "POST", "/oauth/token", body).await.is(400);
    assert_eq!(refused["error"], "invalid_request");
}
