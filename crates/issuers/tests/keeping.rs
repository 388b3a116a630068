//! How long an issuer's keys are kept, when they are asked for again, and when they are let go. Real requests on loopback; time is an argument.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use warrantor_issuers::{Discovery, Issuer, IssuerError, IssuerSettings};
use warrantor_model::Timestamp;
use warrantor_tokens::{Nonce, Purpose, Refusal, Signer, SigningAlgorithm, key_set};

const KEEP: Duration = Duration::from_secs(300);
const KEEP_UNANSWERED: Duration = Duration::from_secs(3600);

/// What an issuer says at the moment, and how often its keys were asked for.
struct Said {
    metadata: Value,
    keys: Option<Value>,
    asked: usize,
}

/// An issuer on loopback, and somebody who asks it.
struct World {
    said: Arc<Mutex<Said>>,
    issuer: Issuer,
    name: String,
}

fn signer(seed: u8) -> Signer {
    Signer::from_seed(SigningAlgorithm::EdDsa, &[seed; 32]).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_893_499_200_000_000).plus(Duration::from_secs(seconds))
}

impl World {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({ "issuer": name, "jwks_uri": format!("{name}/jwks") });
        let keys = Some(key_set([&signer(1)]));
        let said = Arc::new(Mutex::new(Said { metadata, keys, asked: 0 }));
        let answers = Arc::clone(&said);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { continue };
                while lines.next().is_some_and(|line| !line.unwrap_or_default().is_empty()) {}
                let mut said = answers.lock().unwrap();
                let answer = match first.split(' ').nth(1) {
                    Some("/.well-known/oauth-authorization-server") => Some(said.metadata.clone()),
                    Some("/jwks") => {
                        said.asked += 1;
                        said.keys.clone()
                    }
                    _ => None,
                };
                let (status, body) = match answer {
                    Some(value) => ("200 OK", value.to_string()),
                    None => ("503 Service Unavailable", String::new()),
                };
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        let issuer = Issuer::new(IssuerSettings {
            issuer: name.clone(),
            algorithms: vec!["EdDSA".to_owned()],
            discovery: Discovery::OAuth,
            certificates: None,
            keep: KEEP,
            keep_unanswered: KEEP_UNANSWERED,
            leeway: Duration::ZERO,
        });
        Self { said, issuer: issuer.unwrap(), name }
    }

    fn says(&self, keys: Option<Value>) {
        self.said.lock().unwrap().keys = keys;
    }

    fn asked(&self) -> usize {
        self.said.lock().unwrap().asked
    }

    /// Whether a token of this signer counts then.
    async fn judged(&self, signer: &Signer, now: Timestamp) -> Result<(), IssuerError> {
        let seconds = now.as_micros() / 1_000_000;
        let claims =
            json!({ "iss": self.name, "sub": "s", "aud": "here", "iat": seconds, "exp": seconds + 60 });
        let token = signer.sign("at+jwt", &claims).unwrap();
        let audiences = ["here".to_owned()];
        self.issuer.verify(&token, (Purpose::Access, &audiences), Nonce::Absent, now).await.map(drop)
    }
}

#[tokio::test]
async fn keys_are_asked_for_once_and_again_when_they_are_old() {
    let world = World::new();
    for (now, asked) in [(0, 1), (1, 1), (299, 1), (300, 2), (599, 2), (600, 3)] {
        world.judged(&signer(1), at(now)).await.unwrap();
        assert_eq!(world.asked(), asked, "at {now} s");
    }
}

#[tokio::test]
async fn a_key_that_is_missing_is_asked_for_and_not_more_than_once_a_minute() {
    let world = World::new();
    world.judged(&signer(1), at(0)).await.unwrap();
    for (now, asked) in [(1, 1), (59, 1), (60, 2), (119, 2), (120, 3)] {
        let refused = world.judged(&signer(2), at(now)).await;
        assert!(matches!(refused, Err(IssuerError::Refused(Refusal::UnknownKey))), "at {now} s");
        assert_eq!(world.asked(), asked, "at {now} s");
    }
    world.says(Some(key_set([&signer(1), &signer(2)])));
    world.judged(&signer(2), at(180)).await.unwrap();
}

#[tokio::test]
async fn a_key_that_was_taken_away_counts_no_longer_than_keys_are_kept() {
    let world = World::new();
    world.judged(&signer(1), at(0)).await.unwrap();
    world.says(Some(key_set([&signer(2)])));
    world.judged(&signer(1), at(299)).await.unwrap();
    let refused = world.judged(&signer(1), at(300)).await;
    assert!(matches!(refused, Err(IssuerError::Refused(Refusal::UnknownKey))));
}

#[tokio::test]
async fn while_the_issuer_does_not_answer_its_keys_go_on_for_so_long_and_no_longer() {
    let world = World::new();
    world.judged(&signer(1), at(0)).await.unwrap();
    world.says(None);
    // Whoever failed is left alone for ten seconds.
    for (now, asked) in [(300, 2), (309, 2), (310, 3), (3599, 4)] {
        world.judged(&signer(1), at(now)).await.unwrap();
        assert_eq!(world.asked(), asked, "at {now} s");
    }
    let refused = world.judged(&signer(1), at(3600)).await;
    assert!(matches!(refused, Err(IssuerError::Unavailable { .. })), "{refused:?}");
    assert!(matches!(world.judged(&signer(1), at(4000)).await, Err(IssuerError::Unavailable { .. })));
    world.says(Some(key_set([&signer(1)])));
    world.judged(&signer(1), at(4020)).await.unwrap();
}

#[tokio::test]
async fn metadata_of_another_issuer_or_that_leads_elsewhere_is_not_believed() {
    for (member, value) in [
        ("issuer", json!("https://evil.example")),
        ("jwks_uri", json!("http://evil.example/jwks")),
        ("jwks_uri", json!("http://user:word@127.0.0.1/jwks")),
        ("jwks_uri", json!("file:///etc/keys")),
        ("jwks_uri", Value::Null),
        ("token_endpoint", json!("http://evil.example/token")),
    ] {
        let world = World::new();
        world.said.lock().unwrap().metadata[member] = value.clone();
        let refused = world.judged(&signer(1), at(0)).await;
        assert!(matches!(refused, Err(IssuerError::Unavailable { .. })), "{member} {value}: {refused:?}");
        assert_eq!(world.asked(), 0, "{member} {value}");
    }
}
