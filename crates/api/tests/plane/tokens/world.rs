//! Agents with keys, mandates of theirs, and what they ask the token service.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use warrantor_api::provider::Provider;
use warrantor_bundle::{Loaded, serve::DomainConfig};
use warrantor_control::handover::Desk;
use warrantor_model::{
    Clock,
    record::{Event, TokenRecord},
};
use warrantor_store::MemoryStore;
use warrantor_testkit::{BundleFiles, SeededBytes, World};
use warrantor_tokens::{
    ASSERTION_TYPE, Algorithm, Expected, KeySet, Nonce, Purpose, Signer, SigningAlgorithm, claimed, verify,
};

use crate::common::{Answered, BANK, Plane, SERVICE, files};

pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

const LOOK: &str = r#"id: look
person: alice
agent: helper
parent: pay
purpose: look up payees
expires_in: 10h
grants:
  - tool: bank/list_payees
"#;

const NIGHTLY: &str = r#"id: nightly
kind: standing
person: alice
sponsor: alice
agent: invoice-bot
purpose: look at the payees every night
expires_in: 720h
grants:
  - tool: bank/list_payees
"#;

/// What another domain may hand on here.
const PARTNER: &str = r#"id: partner
person: alice
agent: acme
purpose: what acme's agents may do here
delegation: { depth: 1 }
expires_in: 10h
limits: { calls: 5 }
grants:
  - tool: bank/list_payees
"#;

/// An agent with a key.
pub(crate) struct Bot {
    pub(crate) id: &'static str,
    pub(crate) key: Signer,
}

impl Bot {
    pub(crate) fn new(id: &'static str, seed: u8) -> Self {
        Self { id, key: Signer::from_seed(SigningAlgorithm::EdDsa, &[seed; 32]).unwrap() }
    }

    pub(crate) fn yaml(&self) -> String {
        let public = self.key.public();
        format!("keys: {{ main: {{ kty: OKP, crv: Ed25519, x: {}, kid: {} }} }}", public["x"], public["kid"])
    }

    /// Signs something with some of its members changed: `null` takes one away.
    pub(crate) fn sign(&self, header: Value, claims: Value, changes: &Value) -> String {
        let (mut header, mut claims) = (header, claims);
        for (into, name) in [(&mut header, "header"), (&mut claims, "claims")] {
            for (name, value) in changes[name].as_object().cloned().unwrap_or_default() {
                match value {
                    Value::Null => drop(into.as_object_mut().unwrap().remove(&name)),
                    value => into[name.as_str()] = value,
                }
            }
        }
        self.key.sign_parts(&header, &claims).unwrap()
    }

    pub(crate) fn assertion(&self, world: &Tokens, changes: &Value) -> String {
        let now = world.now();
        let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.key.id() });
        let claims = json!({ "iss": self.id, "sub": self.id, "aud": SERVICE, "iat": now, "exp": now + 60, "jti": world.fresh() });
        self.sign(header, claims, changes)
    }

    pub(crate) fn proof(&self, world: &Tokens, changes: &Value) -> String {
        let mut key = self.key.public().clone();
        key.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x"].contains(&name.as_str()));
        let header = json!({ "alg": "EdDSA", "typ": "dpop+jwt", "jwk": key });
        let claims = json!({ "htm": "POST", "htu": format!("{SERVICE}/oauth/token"), "iat": world.now(), "jti": world.fresh() });
        self.sign(header, claims, changes)
    }
}

/// A plane on which alice has handed `pay` to `invoice-bot`, which may hand `look` on to `helper`.
pub(crate) struct Tokens {
    pub(crate) plane: Plane,
    bundle: Arc<Loaded>,
    pub(crate) bot: Bot,
    pub(crate) helper: Bot,
    pub(crate) alice: String,
    pub(crate) pay: String,
    pub(crate) look: String,
    pub(crate) nightly: String,
    last: std::cell::Cell<u64>,
}

impl Tokens {
    pub(crate) async fn new() -> Self {
        Self::signing_in(None).await
    }

    pub(crate) async fn signing_in(provider: Option<Provider>) -> Self {
        Self::among(provider, Vec::new()).await
    }

    pub(crate) async fn among(provider: Option<Provider>, domains: Vec<DomainConfig>) -> Self {
        let (bot, helper) = (Bot::new("invoice-bot", 21), Bot::new("helper", 22));
        let agents = format!(
            "agents:\n  - {{ id: invoice-bot, owner: alice, sponsors: [alice], purpose: p, ceiling: {{ servers: [bank], effects: [read, pay, write, share, destroy] }}, {} }}\n  - {{ id: helper, owner: alice, sponsors: [alice], purpose: p, ceiling: {{ servers: [bank], effects: [read] }}, {} }}\n  - {{ id: acme, owner: alice, sponsors: [alice], purpose: stands for another domain, ceiling: {{ servers: [bank], effects: [read] }} }}\n",
            bot.yaml(),
            helper.yaml(),
        );
        let files: BundleFiles = files()
            .and("agents.yaml", &agents)
            .and("mandates/look.yaml", LOOK)
            .and("mandates/nightly.yaml", NIGHTLY)
            .and("mandates/partner.yaml", PARTNER);
        let bundle = Arc::new(files.load());
        let plane = Plane::among(Arc::clone(&bundle), provider, domains);
        let alice = plane.session("alice").await;
        let (pay, look, nightly) = Default::default();
        let last = std::cell::Cell::new(0);
        let mut world = Self { plane, bundle, bot, helper, alice, pay, look, nightly, last };
        world.pay = world.handed("pay", false).await;
        world.look = world.handed("look", true).await;
        world.nightly = world.handed("nightly", false).await;
        world
    }

    /// Hands a template over, or what it is a part of on, and gives the mandate.
    pub(crate) async fn handed(&self, template: &str, delegated: bool) -> String {
        let seal = World::<MemoryStore>::seal();
        let randomness = SeededBytes::new(template.bytes().map(u64::from).sum());
        let desk = Desk {
            store: Arc::clone(&self.plane.store),
            stop: &self.plane.stop,
            bundle: &self.bundle,
            seal: &seal,
            clock: &*self.plane.clock,
            randomness: &randomness,
            evidence: "test".to_owned(),
        };
        let name = template.parse().unwrap();
        let handed = match delegated {
            true => desk.delegate(&self.bundle.templates[&name]).await,
            false => desk.hand_over(&name).await,
        };
        handed.unwrap().mandate.to_string()
    }

    pub(crate) fn now(&self) -> i64 {
        self.plane.clock.now().as_micros() / 1_000_000
    }

    /// A name that was never used.
    pub(crate) fn fresh(&self) -> String {
        self.last.set(self.last.get() + 1);
        format!("number-{:08}", self.last.get())
    }

    pub(crate) fn details(mandate: &str) -> String {
        json!([{ "type": "urn:warrantor:mandate", "identifier": mandate }]).to_string()
    }

    /// Asks for a token as an agent: with parameters beside its assertion, and a proof where there is one.
    pub(crate) async fn ask(&self, bot: &Bot, parameters: &[(&str, &str)], proof: Option<&str>) -> Answered {
        self.ask_with(&bot.assertion(self, &json!({})), parameters, proof).await
    }

    pub(crate) async fn ask_with(
        &self,
        assertion: &str,
        parameters: &[(&str, &str)],
        proof: Option<&str>,
    ) -> Answered {
        let mut form = vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
        form.extend(parameters);
        let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", *proof)).collect();
        self.plane.form("/oauth/token", &form, &headers).await
    }

    /// The token of `invoice-bot` for alice's task.
    pub(crate) async fn token_for(&self, audience: &str) -> String {
        let details = Self::details(&self.pay);
        let parameters = [
            ("grant_type", EXCHANGE),
            ("subject_token", self.alice.as_str()),
            ("subject_token_type", ACCESS),
            ("resource", audience),
            ("authorization_details", details.as_str()),
        ];
        let proof = self.bot.proof(self, &json!({}));
        let made = self.ask(&self.bot, &parameters, Some(&proof)).await.is(200);
        made["access_token"].as_str().unwrap().to_owned()
    }

    /// The token of `helper` for the part that was handed on to it.
    pub(crate) async fn handed_on(&self, token: &str) -> Answered {
        let details = Self::details(&self.look);
        let parameters = [
            ("grant_type", EXCHANGE),
            ("subject_token", token),
            ("subject_token_type", ACCESS),
            ("resource", BANK),
            ("authorization_details", details.as_str()),
        ];
        let proof = self.helper.proof(self, &json!({}));
        self.ask(&self.helper, &parameters, Some(&proof)).await
    }

    pub(crate) async fn records(&self) -> Vec<TokenRecord> {
        let records = warrantor_testkit::records(&*self.plane.store).await;
        let of = |event| match event {
            Event::Token(record) => Some(*record),
            _ => None,
        };
        records.into_iter().filter_map(|record| of(record.event)).collect()
    }

    /// What is known of a token, asked by whom it was made for.
    pub(crate) async fn told(&self, bot: &Bot, token: &str) -> Value {
        let assertion = bot.assertion(self, &json!({}));
        let form = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
            ("token", token),
        ];
        self.plane.form("/oauth/introspect", &form, &[]).await.is(200)
    }
}

/// The claims of a token whose signature holds.
pub(crate) async fn claims(world: &Tokens, token: &str) -> Value {
    let keys = world.plane.ask("", "GET", "/oauth/jwks", None).await.is(200);
    let keys = KeySet::parse(keys.to_string().as_bytes()).unwrap();
    let audiences = [claimed(token, "aud").unwrap().unwrap()];
    let expected = Expected {
        issuer: SERVICE,
        audiences: &audiences,
        algorithms: &[Algorithm::EdDSA, Algorithm::ES256],
        purpose: Purpose::Access,
        nonce: Nonce::Absent,
        leeway: Duration::ZERO,
        max_age: None,
    };
    verify(token, &keys, &expected, world.plane.clock.now()).unwrap();
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
