//! Workloads of trust domains that are agents here, by their SVIDs.

use serde_json::{Value, json};
use warrantor_tokens::{ASSERTION_TYPE, Signer, SigningAlgorithm};

use super::world::{Tokens, claims};
use crate::common::{Answered, BANK, SERVICE, trust_key};

const WORKLOAD: &str = "spiffe://prod.example.com/agent/invoice-bot";
const SVID_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

fn svid(world: &Tokens, key: &Signer, subject: &str, changes: &Value) -> String {
    let now = world.now();
    let mut header = json!({ "alg": "ES256", "kid": key.id(), "typ": "JWT" });
    let mut claims =
        json!({ "sub": subject, "aud": [SERVICE], "iat": now, "exp": now + 300, "jti": world.fresh() });
    for (into, name) in [(&mut header, "header"), (&mut claims, "claims")] {
        for (name, value) in changes[name].as_object().cloned().unwrap_or_default() {
            match value {
                Value::Null => drop(into.as_object_mut().unwrap().remove(&name)),
                value => into[name.as_str()] = value,
            }
        }
    }
    key.sign_parts(&header, &claims).unwrap()
}

async fn asked(world: &Tokens, svid: &str, kind: &str, client_id: Option<&str>) -> Answered {
    let mut form = vec![
        ("client_assertion_type", kind),
        ("client_assertion", svid),
        ("grant_type", "client_credentials"),
        ("resource", BANK),
    ];
    form.extend(client_id.map(|id| ("client_id", id)));
    let proof = world.bot.proof(world, &json!({}));
    world.plane.form("/oauth/token", &form, &[("dpop", &proof)]).await
}

#[tokio::test]
async fn a_workload_is_the_agent_that_its_path_names_and_needs_no_key_of_ours() {
    let world = Tokens::new().await;
    for (kind, client_id) in
        [(ASSERTION_TYPE, None), (SVID_TYPE, Some(WORKLOAD)), (SVID_TYPE, Some("invoice-bot"))]
    {
        world.plane.clock.advance(std::time::Duration::from_millis(1));
        let made =
            asked(&world, &svid(&world, &trust_key(), WORKLOAD, &json!({})), kind, client_id).await.is(200);
        let said = claims(&world, made["access_token"].as_str().unwrap()).await;
        assert_eq!(
            (&said["client_id"], &said["cnf"]["jkt"]),
            (&json!("invoice-bot"), &json!(world.bot.key.id()))
        );
    }
    let record = world.records().await.pop().unwrap();
    assert_eq!(record.evidence, format!("a JWT-SVID of {WORKLOAD}"));
}

#[tokio::test]
async fn an_svid_counts_once_unless_its_domain_is_known_to_give_one_out_twice() {
    let world = Tokens::new().await;
    for (domain, again) in [("prod.example.com", 401), ("cached.example.com", 200)] {
        world.plane.clock.advance(std::time::Duration::from_millis(1));
        let id = format!("spiffe://{domain}/agent/invoice-bot");
        let svid = svid(&world, &trust_key(), &id, &json!({}));
        asked(&world, &svid, SVID_TYPE, None).await.is(200);
        world.plane.clock.advance(std::time::Duration::from_millis(1));
        asked(&world, &svid, SVID_TYPE, None).await.is(again);
    }
}

#[tokio::test]
async fn what_a_workload_is_refused_for_is_told_to_nobody() {
    let world = Tokens::new().await;
    let now = world.now();
    let other = Signer::from_seed(SigningAlgorithm::Es256, &[92; 32]).unwrap();
    let said = |name: &str, value: Value| json!({ "claims": { name: value } });
    let head = |name: &str, value: Value| json!({ "header": { name: value } });
    let id = |path: &str| format!("spiffe://prod.example.com{path}");
    let none = json!({});
    let cases = [
        ("a foreign domain", svid(&world, &trust_key(), "spiffe://evil.example/agent/invoice-bot", &none)),
        ("the key of a foreign domain", svid(&world, &other, WORKLOAD, &none)),
        ("a path of no agent", svid(&world, &trust_key(), &id("/worker/invoice-bot"), &none)),
        ("a path beyond", svid(&world, &trust_key(), &id("/agent/invoice-bot/x"), &none)),
        ("an agent that is not listed", svid(&world, &trust_key(), &id("/agent/helper"), &none)),
        ("an unknown agent", svid(&world, &trust_key(), &id("/agent/nobody"), &none)),
        ("the domain itself", svid(&world, &trust_key(), &id(""), &none)),
        ("no id", svid(&world, &trust_key(), "spiffe://PROD.example.com/agent/invoice-bot", &none)),
        (
            "for another",
            svid(&world, &trust_key(), WORKLOAD, &said("aud", json!(["https://other.example.com"]))),
        ),
        (
            "for two",
            svid(&world, &trust_key(), WORKLOAD, &said("aud", json!([SERVICE, "https://other.example.com"]))),
        ),
        ("for nobody", svid(&world, &trust_key(), WORKLOAD, &said("aud", Value::Null))),
        ("ended", svid(&world, &trust_key(), WORKLOAD, &said("exp", json!(now - 60)))),
        ("endless", svid(&world, &trust_key(), WORKLOAD, &said("exp", Value::Null))),
        ("no algorithm", svid(&world, &trust_key(), WORKLOAD, &head("alg", json!("none")))),
        ("an access token", svid(&world, &trust_key(), WORKLOAD, &head("typ", json!("at+jwt")))),
        (
            "a key at an address",
            svid(&world, &trust_key(), WORKLOAD, &head("jku", json!("https://evil.example/k"))),
        ),
        ("no key", svid(&world, &trust_key(), WORKLOAD, &head("kid", Value::Null))),
    ];
    let mut told = std::collections::BTreeSet::new();
    for (what, svid) in &cases {
        world.plane.clock.advance(std::time::Duration::from_millis(1));
        let refused = asked(&world, svid, SVID_TYPE, None).await;
        assert_eq!(refused.body["error"], "invalid_client", "{what}: {}", refused.body);
        told.insert(refused.is(401)["error_description"].as_str().unwrap().to_owned());
    }
    let named = svid(&world, &trust_key(), WORKLOAD, &none);
    told.insert(
        asked(&world, &named, SVID_TYPE, Some("helper")).await.is(401)["error_description"]
            .as_str()
            .unwrap()
            .to_owned(),
    );
    assert_eq!(told.len(), 1, "what stood in the way is told to strangers: {told:?}");
}
