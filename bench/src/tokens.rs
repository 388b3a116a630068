//! What tokens cost: signing, verifying, proofs, and a whole exchange, against the bare signatures.

use std::{hint::black_box, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::json;
use warrantor_bundle::{
    Loaded, load_files,
    serve::{ResourceConfig, TokensConfig},
};
use warrantor_control::{
    handover::Desk,
    keys::KeyDirectory,
    office::{Office, OfficeParts},
    tokens::{Asked, Grant, TokenService},
};
use warrantor_decide::{
    PolicySource,
    administration::{Administration, SHIPPED},
};
use warrantor_engine::{StopFile, bodies::SealKey};
use warrantor_model::{Clock, Timestamp};
use warrantor_store::MemoryStore;
use warrantor_tokens::{
    AccessToken, Actor, Actors, Algorithm, Binding, Expected, KeySet, MandateDetails, Nonce, ProofExpected,
    Purpose, Signer, SigningAlgorithm, key_set, verify, verify_proof,
};

use crate::{
    median,
    plane::{Counting, Wall},
    report::{Part, Row},
};

const SERVICE: &str = "https://control.example.com";
const BANK: &str = "https://tools.example.com/bank";
/// How often something is done in a round.
const CALLS: u32 = 400;

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Part> {
    let signer = signer()?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).map_err(|_| anyhow::anyhow!("no key"))?;
    let claims = access()?;
    let token = claims.sign(SERVICE, &signer)?;
    let (signed, _) = token.rsplit_once('.').context("a token has a signature")?;
    let signature = pair.sign(signed.as_bytes());
    let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
    let keys = KeySet::parse(key_set([&signer]).to_string().as_bytes())?;
    let audiences = [BANK.to_owned()];
    let expected = Expected {
        issuer: SERVICE,
        audiences: &audiences,
        algorithms: &[Algorithm::EdDSA, Algorithm::ES256],
        purpose: Purpose::Access,
        nonce: Nonce::Absent,
        leeway: std::time::Duration::ZERO,
        max_age: None,
    };
    let now = at(10);
    let proof = proof(&signer, "e1j3V_bKic8-LAEB", at(0))?;
    let endpoint = format!("{SERVICE}/oauth/token");
    let shown = ProofExpected { method: "POST", url: &endpoint, token: None, nonces: None };
    let bare_sign = || {
        let _ = black_box(pair.sign(signed.as_bytes()));
    };
    let bare_verify = || {
        let _ = black_box(public.verify(signed.as_bytes(), signature.as_ref()));
    };
    let mut rows = vec![
        row("make an access token", rounds, || drop(black_box(claims.sign(SERVICE, &signer))), bare_sign),
        row(
            "verify an access token and read it",
            rounds,
            || {
                let claims = verify(&token, &keys, &expected, now);
                drop(black_box(claims.map(|claims| AccessToken::read(&claims))));
            },
            bare_verify,
        ),
        row(
            "verify a proof of possession",
            rounds,
            || drop(black_box(verify_proof(&proof, &shown, now))),
            bare_verify,
        ),
    ];
    rows.extend(exchanges(rounds, &bare_sign, &bare_verify)?);
    Ok(Part {
        title: "Tokens",
        method: format!(
            "{rounds} alternating rounds of {CALLS} on one thread, Ed25519 throughout. The other side is the bare signature or verification of as many bytes. \
             Asked for: an agent's assertion is verified, its standing mandate and everybody who answers for it looked at, a token signed, \
             and that committed with its record to a store in memory, with or without a proof; against the bare signatures of it (the agent's own, which \
             make the request, are on neither side)."
        ),
        rows,
    })
}

fn row(what: &str, rounds: usize, mut ours: impl FnMut(), mut bare: impl FnMut()) -> Row {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        with.push(micros(&mut ours));
        without.push(micros(&mut bare));
    }
    let (with, without) = (median(with), median(without));
    Row {
        what: what.to_owned(),
        ours: format!("{with:.1} µs"),
        against: format!("{without:.1} µs"),
        ratio: format!("{:.2} ×", with / without),
        aim: "",
    }
}

fn micros(once: &mut impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..CALLS {
        once();
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

fn signer() -> anyhow::Result<Signer> {
    Ok(Signer::from_seed(SigningAlgorithm::EdDsa, &[5; 32])?)
}

/// So many seconds after the instant of the tokens.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_893_499_200 + seconds) * 1_000_000)
}

fn access() -> anyhow::Result<AccessToken> {
    let actor = Actor { issuer: SERVICE.to_owned(), subject: "bot".to_owned() };
    Ok(AccessToken {
        id: "k01a2254d3748-5a1148d045ce1d2a".parse()?,
        subject: "alice".to_owned(),
        agent: "bot".parse()?,
        audience: BANK.to_owned(),
        made: at(0),
        expires_at: at(300),
        actors: Actors::default().extended(actor)?,
        details: MandateDetails {
            mandate: "m01a2254d34db-01a2bc568d2f29dc".parse()?,
            locations: vec![BANK.to_owned()],
        },
        task: Some("t01a2254d34db-9d194167cfada991".to_owned()),
        bound_to: Some(Binding::Key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned())),
        made_from: Vec::new(),
        home: None,
    })
}

/// A proof for the token endpoint, made at an instant, with a name of its own.
fn proof(signer: &Signer, name: &str, made: Timestamp) -> anyhow::Result<String> {
    let mut key = signer.public().clone();
    if let Some(members) = key.as_object_mut() {
        members.retain(|name, _| ["kty", "crv", "x"].contains(&name.as_str()));
    }
    let header = json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": key });
    let seconds = made.as_micros() / 1_000_000;
    let claims =
        json!({ "htm": "POST", "htu": format!("{SERVICE}/oauth/token"), "iat": seconds, "jti": name });
    Ok(signer.sign_parts(&header, &claims)?)
}

/// An office in memory, a service, and an agent with a standing mandate.
struct World {
    office: Office<MemoryStore>,
    service: TokenService,
    agent: Signer,
    runtime: tokio::runtime::Runtime,
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let agent = signer()?;
        let bundle = bundle(&agent)?;
        let directory = tempfile::tempdir()?;
        let stop = Arc::new(StopFile::open(&directory.path().join("stop"))?);
        let (store, randomness) = (Arc::new(MemoryStore::new()), Arc::new(Counting::default()));
        let seal = SealKey::new([9; 32]);
        let desk = Desk {
            store: Arc::clone(&store),
            stop: &stop,
            bundle: &bundle,
            seal: &seal,
            clock: &Wall,
            randomness: &*randomness,
            evidence: "bench".to_owned(),
        };
        runtime.block_on(desk.hand_over(&"nightly".parse()?))?;
        let source = PolicySource { file: "shipped.cedar".into(), text: SHIPPED.to_owned() };
        let administration =
            Administration::build(&source).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let config = TokensConfig {
            trust_domains: Vec::new(),
            applications: Vec::new(),
            domains: Vec::new(),
            issuer: SERVICE.to_owned(),
            lifetime: std::time::Duration::from_secs(300),
            rotate_every: std::time::Duration::from_secs(86_400),
            endpoint_as_audience: false,
            resources: vec![ResourceConfig {
                uri: BANK.to_owned(),
                algorithm: SigningAlgorithm::EdDsa,
                bearer: true,
            }],
        };
        let keys =
            KeyDirectory::open(&directory.path().join("keys"), &"log.example.com".parse()?, 0, &*randomness)?;
        let keys = keys.tokens(&config.algorithms(), Wall.now(), &*randomness)?;
        let office = Office::new(OfficeParts {
            store,
            stop,
            clock: Arc::new(Wall),
            randomness,
            snapshot: bundle.snapshot,
            administration: Arc::new(administration),
        });
        let service = TokenService::new(config, keys);
        Ok(Self { office, service, agent, runtime, _directory: directory })
    }

    /// What an agent sends, made beforehand: an assertion and a proof for each request.
    fn requests(&self, round: usize) -> anyhow::Result<Vec<(String, String)>> {
        let now = Wall.now();
        let seconds = now.as_micros() / 1_000_000;
        (0..CALLS)
            .map(|nth| {
                let name = format!("number-{round}-{nth:08}");
                let claims =
                    json!({ "iss": "bot", "sub": "bot", "aud": SERVICE, "exp": seconds + 300, "jti": name });
                let assertion = self.agent.sign_parts(&json!({ "alg": "EdDSA" }), &claims)?;
                Ok((assertion, proof(&self.agent, &name, now)?))
            })
            .collect()
    }

    /// How long each request takes, in microseconds.
    fn answer(&self, requests: &[(String, String)], with_proof: bool) -> anyhow::Result<f64> {
        let endpoint = self.service.settings().endpoint();
        let begun = Instant::now();
        for (assertion, proof) in requests {
            let made = self.runtime.block_on(async {
                let client = self.service.client(&self.office, assertion, None).await?;
                let shown = ProofExpected { method: "POST", url: &endpoint, token: None, nonces: None };
                let proof = match with_proof {
                    true => verify_proof(proof, &shown, self.office.now()).ok(),
                    false => None,
                };
                let grant = Grant::ClientCredentials;
                self.service
                    .make(&self.office, Asked { grant, client, proof, audience: BANK, details: None })
                    .await
            })?;
            if made.says.bound_to.is_some() != with_proof {
                bail!("the token is bound to something else than it should be");
            }
        }
        Ok(begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS))
    }
}

fn bundle(agent: &Signer) -> anyhow::Result<Loaded> {
    let key = agent.public();
    let agents = format!(
        "agents: [{{ id: bot, owner: alice, sponsors: [alice], purpose: p, ceiling: {{ servers: [bank], effects: [read] }}, keys: {{ main: {{ kty: OKP, crv: Ed25519, x: {} }} }} }}]",
        key["x"]
    );
    let files = [
        ("people.yaml", "people: [{ id: alice, issuer: \"https://login.example.com\", subject: a }]".to_owned()),
        ("agents.yaml", agents),
        ("tools/bank.tools.json", r#"{"tools":[{"name":"payees","inputSchema":{"type":"object","properties":{}}}]}"#.to_owned()),
        ("tools/bank.yaml", "server: bank\ndefinitions: bank.tools.json\ntools:\n  payees: { effects: [read] }\n".to_owned()),
        ("policies/all.cedar", "permit(principal, action, resource);".to_owned()),
        (
            "mandates/nightly.yaml",
            "id: nightly\nkind: standing\nperson: alice\nsponsor: alice\nagent: bot\npurpose: p\nexpires_in: 24h\ngrants: [{ tool: bank/payees }]\n".to_owned(),
        ),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect();
    load_files(files).map_err(|report| anyhow::anyhow!("{report:?}"))
}

fn exchanges(rounds: usize, bare_sign: &impl Fn(), bare_verify: &impl Fn()) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, with_proof, verified) in
        [("asked for by a client, unbound", false, 1), ("asked for by a client, bound to its key", true, 2)]
    {
        let world = World::new()?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            with.push(world.answer(&world.requests(round)?, with_proof)?);
            without.push(micros(&mut || {
                (0..verified).for_each(|_| bare_verify());
                bare_sign();
            }));
        }
        let (with, without) = (median(with), median(without));
        rows.push(Row {
            what: what.to_owned(),
            ours: format!("{with:.1} µs"),
            against: format!("{without:.1} µs"),
            ratio: format!("{:.2} ×", with / without),
            aim: "",
        });
    }
    Ok(rows)
}
