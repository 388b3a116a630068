//! Codes and refresh tokens of applications that people sign in with: what they are worth, to whom, and how often.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use warrantor_control::{office::Hand, tokens::Consented};
use warrantor_model::{Digest, record::TokenChange};

use super::world::{Tokens, claims};
use crate::common::{Answered, BACK, SERVICE};

/// Where tokens may be bound to no key.
const OLD: &str = "https://old.example.com/mcp";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn consented(world: &Tokens, mandate: &str) -> Consented {
    Consented {
        client_id: "desk".to_owned(),
        redirect_uri: BACK.to_owned(),
        challenge: BASE64_URL_SAFE_NO_PAD.encode(Digest::of(VERIFIER.as_bytes()).as_bytes()),
        resource: OLD.to_owned(),
        agent: world.bot.id.parse().unwrap(),
        person: "alice".parse().unwrap(),
        mandate: mandate.parse().unwrap(),
    }
}

async fn agreed(world: &Tokens, what: Consented, page: &str) -> Result<String, String> {
    let hand = Hand { actor: "person:alice".to_owned(), evidence: "test".to_owned() };
    let service = world.plane.api.tokens().unwrap();
    let page = Digest::of(page.as_bytes());
    service.consent(world.plane.api.office(), &hand, what, &page).await.map_err(|cause| cause.to_string())
}

/// A code that alice's agreement gave.
async fn code(world: &Tokens) -> String {
    agreed(world, consented(world, &world.pay), &world.fresh()).await.unwrap()
}

async fn asked(world: &Tokens, basic: &[(&str, &str)], changes: &[(&str, Option<&str>)]) -> Answered {
    let changed = |name: &str| changes.iter().any(|(other, _)| *other == name);
    let mut form: Vec<(&str, &str)> = basic.iter().copied().filter(|(name, _)| !changed(name)).collect();
    form.extend(changes.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
    world.plane.form("/oauth/token", &form, &[]).await
}

async fn redeemed(world: &Tokens, code: &str, changes: &[(&str, Option<&str>)]) -> Answered {
    let basic = [
        ("grant_type", "authorization_code"),
        ("client_id", "desk"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
        ("resource", OLD),
    ];
    asked(world, &basic, changes).await
}

async fn refreshed(world: &Tokens, token: &str, changes: &[(&str, Option<&str>)]) -> Answered {
    let basic = [("grant_type", "refresh_token"), ("client_id", "desk"), ("refresh_token", token)];
    asked(world, &basic, changes).await
}

fn text<'a>(made: &'a Value, name: &str) -> &'a str {
    made[name].as_str().unwrap()
}

#[tokio::test]
async fn a_code_becomes_a_token_for_what_was_agreed_to_and_goes_on_from_there() {
    let world = Tokens::new().await;
    let made = redeemed(&world, &code(&world).await, &[]).await.is(200);
    let said = claims(&world, text(&made, "access_token")).await;
    assert_eq!(
        (&said["sub"], &said["aud"], &said["client_id"]),
        (&json!("alice"), &json!(OLD), &json!("invoice-bot"))
    );
    assert_eq!(said["act"], json!({ "iss": SERVICE, "sub": "invoice-bot", "sub_profile": "ai_agent" }));
    assert_eq!(said["authorization_details"][0]["identifier"], json!(world.pay));
    assert_eq!((&made["token_type"], &made["expires_in"]), (&json!("Bearer"), &json!(300)));
    world.plane.clock.advance(Duration::from_secs(240));
    let next = refreshed(&world, text(&made, "refresh_token"), &[]).await.is(200);
    let said_next = claims(&world, text(&next, "access_token")).await;
    assert_eq!(said_next["made_from"], said["made_from"]);
    assert_ne!(next["refresh_token"], made["refresh_token"]);
    // Where the redirection stood nowhere it need not be said again.
    redeemed(&world, &code(&world).await, &[("redirect_uri", None), ("resource", None)]).await.is(200);
    // No scope is given, whatever is asked for.
    let made = redeemed(&world, &code(&world).await, &[("scope", Some("all"))]).await.is(200);
    assert!(made.get("scope").is_none());
}

#[tokio::test]
async fn what_a_code_is_refused_for() {
    let world = Tokens::new().await;
    let code = code(&world).await;
    let other = "A".repeat(43);
    let forged =
        code.chars().rev().skip(1).collect::<Vec<_>>().into_iter().rev().chain(['-']).collect::<String>();
    for (what, changes, error) in [
        ("another code", vec![("code", Some(forged.as_str()))], "invalid_grant"),
        ("no code at all", vec![("code", Some("wac_"))], "invalid_grant"),
        (
            "a code of another hour",
            vec![("code", Some("wac_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))],
            "invalid_grant",
        ),
        ("another verifier", vec![("code_verifier", Some(other.as_str()))], "invalid_grant"),
        (
            "the challenge itself",
            vec![("code_verifier", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"))],
            "invalid_grant",
        ),
        ("a short verifier", vec![("code_verifier", Some("a"))], "invalid_grant"),
        ("no verifier", vec![("code_verifier", None)], "invalid_request"),
        ("another address", vec![("redirect_uri", Some("http://127.0.0.1/other"))], "invalid_grant"),
        ("another place", vec![("resource", Some("https://tools.example.com/bank"))], "invalid_target"),
        ("another application", vec![("client_id", Some("other"))], "invalid_client"),
        ("no application", vec![("client_id", None)], "invalid_request"),
        ("a secret", vec![("client_secret", Some("hunter2"))], "invalid_client"),
        (
            "as a refresh token",
            vec![("grant_type", Some("refresh_token")), ("refresh_token", Some(code.as_str()))],
            "invalid_grant",
        ),
    ] {
        let refused = redeemed(&world, &code, &changes).await;
        assert_eq!(refused.body["error"], error, "{what}: {}", refused.body);
    }
    // None of that has used it up; a minute has.
    world.plane.clock.advance(Duration::from_secs(60));
    assert_eq!(redeemed(&world, &code, &[]).await.is(400)["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_that_is_shown_twice_ends_everything_that_was_made_of_it() {
    let world = Tokens::new().await;
    let code = code(&world).await;
    let made = redeemed(&world, &code, &[]).await.is(200);
    let point = world.plane.client("eu", "enforcement-point").await;
    let counts = async |token: &str| {
        let header = format!("Bearer {point}");
        let headers = [("authorization", header.as_str())];
        let told = world.plane.form("/oauth/introspect", &[("token", token)], &headers).await.is(200);
        told["active"].clone()
    };
    assert_eq!(counts(text(&made, "access_token")).await, json!(true));
    assert_eq!(redeemed(&world, &code, &[]).await.is(400)["error"], "invalid_grant");
    assert_eq!(counts(text(&made, "access_token")).await, json!(false));
    assert_eq!(refreshed(&world, text(&made, "refresh_token"), &[]).await.is(400)["error"], "invalid_grant");
    let revoked = world.records().await.into_iter().filter(|one| one.change == TokenChange::Revoked).count();
    assert_eq!(revoked, 1);
}

#[tokio::test]
async fn a_refresh_token_gives_one_answer_within_moments_and_ends_everything_when_two_have_gone_on() {
    let world = Tokens::new().await;
    let made = redeemed(&world, &code(&world).await, &[]).await.is(200);
    let first = text(&made, "refresh_token").to_owned();
    let next = refreshed(&world, &first, &[]).await.is(200);
    // An answer that was lost, or another window: there is one refresh token after it, whoever asks.
    world.plane.clock.advance(Duration::from_secs(29));
    let again = refreshed(&world, &first, &[]).await.is(200);
    assert_eq!(next["refresh_token"], again["refresh_token"]);
    assert_ne!(next["access_token"], again["access_token"]);
    // It is the first use that counts.
    world.plane.clock.advance(Duration::from_secs(1));
    assert_eq!(refreshed(&world, &first, &[]).await.is(400)["error"], "invalid_grant");
    let refused = refreshed(&world, text(&next, "refresh_token"), &[]).await.is(400);
    assert_eq!(refused["error"], "invalid_grant");
    // Somebody has gone on from there, so whoever shows the one before is another.
    let made = redeemed(&world, &code(&world).await, &[]).await.is(200);
    let first = text(&made, "refresh_token").to_owned();
    let second = text(&refreshed(&world, &first, &[]).await.is(200), "refresh_token").to_owned();
    let third = text(&refreshed(&world, &second, &[]).await.is(200), "refresh_token").to_owned();
    assert_eq!(refreshed(&world, &first, &[]).await.is(400)["error"], "invalid_grant");
    assert_eq!(refreshed(&world, &third, &[]).await.is(400)["error"], "invalid_grant");
    // At the same moment.
    let made = redeemed(&world, &code(&world).await, &[]).await.is(200);
    let first = text(&made, "refresh_token");
    let (one, other) = tokio::join!(refreshed(&world, first, &[]), refreshed(&world, first, &[]));
    assert_eq!(one.is(200)["refresh_token"], other.is(200)["refresh_token"]);
    // Twelve hours without use, and it is over, however long the mandate is.
    let made = redeemed(&world, &code(&world).await, &[]).await.is(200);
    let refused =
        refreshed(&world, text(&made, "refresh_token"), &[("client_id", Some("other"))]).await.is(401);
    assert_eq!(refused["error"], "invalid_client");
    world.plane.clock.advance(Duration::from_secs(12 * 60 * 60));
    assert_eq!(refreshed(&world, text(&made, "refresh_token"), &[]).await.is(400)["error"], "invalid_grant");
}

#[tokio::test]
async fn an_agreement_is_worth_no_more_than_what_it_is_about() {
    let world = Tokens::new().await;
    let made = redeemed(&world, &code(&world).await, &[]).await.is(200);
    // A page is answered once; and nobody agrees for others, to what is no mandate of theirs or of that agent's.
    agreed(&world, consented(&world, &world.pay), "page").await.unwrap();
    assert!(
        agreed(&world, consented(&world, &world.pay), "page").await.unwrap_err().contains("answered before")
    );
    for (what, wrong) in [
        ("a part of another agent's", consented(&world, &world.look)),
        ("a standing one", consented(&world, &world.nightly)),
        ("of nobody", consented(&world, "m00000000000-0000000000000000")),
        ("another person's", Consented { person: "bob".parse().unwrap(), ..consented(&world, &world.pay) }),
        ("another agent's", Consented { agent: "helper".parse().unwrap(), ..consented(&world, &world.pay) }),
    ] {
        let why = agreed(&world, wrong, what).await.unwrap_err();
        assert!(why.contains("the mandate has ended, or is another's"), "{what}: {why}");
    }
    let waiting = code(&world).await;
    world
        .plane
        .ask(&world.alice, "POST", &format!("/v1/mandates/{}/revoke", world.pay), Some(json!({})))
        .await
        .is(200);
    assert_eq!(redeemed(&world, &waiting, &[]).await.is(400)["error"], "invalid_grant");
    assert_eq!(refreshed(&world, text(&made, "refresh_token"), &[]).await.is(400)["error"], "invalid_grant");
    assert!(agreed(&world, consented(&world, &world.pay), "late").await.is_err());
}

#[tokio::test]
async fn an_application_that_has_a_key_keeps_it() {
    let world = Tokens::new().await;
    let code = code(&world).await;
    let show = async |form: &[(&str, &str)], proof: Option<&str>| {
        let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", *proof)).collect();
        world.plane.form("/oauth/token", form, &headers).await
    };
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "desk"),
        ("code", code.as_str()),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
    ];
    let proof = world.helper.proof(&world, &json!({}));
    let made = show(&form, Some(&proof)).await.is(200);
    assert_eq!(made["token_type"], "DPoP");
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "desk"),
        ("refresh_token", text(&made, "refresh_token")),
    ];
    assert_eq!(show(&refresh, None).await.is(400)["error"], "invalid_dpop_proof");
    let other = world.bot.proof(&world, &json!({}));
    assert_eq!(show(&refresh, Some(&other)).await.is(400)["error"], "invalid_dpop_proof");
    let proof = world.helper.proof(&world, &json!({}));
    assert_eq!(show(&refresh, Some(&proof)).await.is(200)["token_type"], "DPoP");
    // One that was bound to no key is bound by whoever goes on from it, and then by nobody else.
    let code = self::code(&world).await;
    let made = redeemed(&world, &code, &[]).await.is(200);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("client_id", "desk"),
        ("refresh_token", text(&made, "refresh_token")),
    ];
    let proof = world.helper.proof(&world, &json!({}));
    assert_eq!(show(&refresh, Some(&proof)).await.is(200)["token_type"], "DPoP");
    let other = world.bot.proof(&world, &json!({}));
    assert_eq!(show(&refresh, Some(&other)).await.is(400)["error"], "invalid_dpop_proof");
}
