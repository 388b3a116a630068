//! A control plane in memory: people of every role, an agent of each sort, mandates, and requests to its router.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use warrantor_api::{Api, ApiParts, OAuth, provider::Provider, router};
use warrantor_bundle::{
    Loaded,
    serve::{
        ApplicationConfig, BundleSource, DomainConfig, ResourceConfig, TokensConfig, TrustDomainConfig,
        WorkloadPath,
    },
};
use warrantor_control::{
    access::{DirectorySettings, SubjectAttribute},
    keys::KeyDirectory,
    office::{Authority, Office, OfficeParts},
    people::NewPerson,
    tokens::TokenService,
};
use warrantor_decide::{
    PolicySource,
    administration::{Act, Administration, SHIPPED},
};
use warrantor_engine::{Answer, Engine, EngineParts, Settings, StopFile};
use warrantor_model::{Clock, MandateId, ReasonCode, Timestamp};
use warrantor_store::MemoryStore;
use warrantor_testkit::{BundleFiles, HandClock, SeededBytes, World};
use warrantor_tokens::{Signer, SigningAlgorithm};

pub(crate) const ISSUER: &str = "https://login.example.com";

const SETTLE: &str = r#"id: settle
purpose: settle a vendor's invoice
takes:
  vendor: { in: [ACME, Brightwell], description: whose invoice }
  note: { max_length: 10 }
expires_in: 30m
limits: { calls: 10 }
grants:
  - tool: bank/list_payees
"#;

const WATCH: &str = r#"id: watch
kind: standing
agent: invoice-bot
purpose: watch the payees
expires_in: 720h
grants:
  - tool: bank/list_payees
"#;

pub(crate) fn files() -> BundleFiles {
    BundleFiles::new()
        .and("mandates/settle.yaml", SETTLE)
        .and("mandates/watch.yaml", WATCH)
        .and("warrantor.toml", "[directory]\ngroups = [\"accounting\", \"everybody\"]\n")
}

fn bundle() -> Arc<Loaded> {
    static BUNDLE: OnceLock<Arc<Loaded>> = OnceLock::new();
    Arc::clone(BUNDLE.get_or_init(|| Arc::new(files().load())))
}

/// Where the token service of the tests is known.
pub(crate) const SERVICE: &str = "https://control.example.com";
/// Where the application `desk` has people sent back to.
pub(crate) const BACK: &str = "http://127.0.0.1/callback";
/// Where its tokens are shown.
pub(crate) const BANK: &str = "https://tools.example.com/bank";

/// The key of the trust domains of the tests, and the file of their bundle.
pub(crate) fn trust_key() -> Signer {
    Signer::from_seed(SigningAlgorithm::Es256, &[91; 32]).unwrap()
}

fn trust_bundle() -> PathBuf {
    static BUNDLE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let made = || {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("bundle.json");
        let mut key = trust_key().public().clone();
        key["use"] = "jwt-svid".into();
        std::fs::write(&file, json!({ "keys": [key] }).to_string()).unwrap();
        (directory, file)
    };
    BUNDLE.get_or_init(made).1.clone()
}

fn tokens_service(
    randomness: &SeededBytes,
    now: warrantor_model::Timestamp,
    domains: Vec<DomainConfig>,
) -> TokenService {
    let resource = |uri: &str, algorithm, bearer| ResourceConfig { uri: uri.to_owned(), algorithm, bearer };
    let config = TokensConfig {
        issuer: SERVICE.to_owned(),
        lifetime: Duration::from_secs(300),
        rotate_every: Duration::from_secs(30 * 86_400),
        endpoint_as_audience: false,
        resources: vec![
            resource("https://tools.example.com/", SigningAlgorithm::EdDsa, false),
            resource("https://old.example.com/mcp", SigningAlgorithm::Es256, true),
        ],
        trust_domains: [("prod.example.com", false), ("cached.example.com", true)]
            .map(|(name, reuse)| TrustDomainConfig {
                name: name.to_owned(),
                source: BundleSource::File(trust_bundle()),
                path: WorkloadPath::parse("/agent/{agent}").unwrap(),
                agents: Some(vec!["invoice-bot".parse().unwrap(), "nobody".parse().unwrap()]),
                reuse,
            })
            .into(),
        applications: vec![ApplicationConfig {
            client_id: "desk".to_owned(),
            agent: "invoice-bot".parse().unwrap(),
            name: None,
            redirect_uris: vec![BACK.to_owned()],
        }],
        domains,
    };
    let directory = tempfile::tempdir().unwrap();
    let origin = "log.example.com".parse().unwrap();
    let keys = KeyDirectory::open(&directory.path().join("keys"), &origin, 0, randomness).unwrap();
    let keys = keys.tokens(&config.algorithms(), now, randomness).unwrap();
    TokenService::new(config, keys)
}

fn administration() -> Arc<Administration> {
    static SHIPPED_ONES: OnceLock<Arc<Administration>> = OnceLock::new();
    let built = || {
        let source = PolicySource { file: "shipped.cedar".to_owned(), text: SHIPPED.to_owned() };
        Arc::new(Administration::build(&source).unwrap())
    };
    Arc::clone(SHIPPED_ONES.get_or_init(built))
}

pub(crate) struct Plane {
    pub(crate) api: Arc<Api<MemoryStore>>,
    pub(crate) router: Router,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) stop: Arc<StopFile>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) engine: Engine<MemoryStore>,
    _directory: tempfile::TempDir,
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answered {
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

impl Plane {
    pub(crate) fn new() -> Self {
        Self::of(bundle())
    }

    pub(crate) fn of(bundle: Arc<Loaded>) -> Self {
        Self::signing_in(bundle, None)
    }

    /// A plane whose people sign in with this provider.
    pub(crate) fn signing_in(bundle: Arc<Loaded>, provider: Option<Provider>) -> Self {
        Self::among(bundle, provider, Vec::new())
    }

    /// A plane that knows other domains.
    pub(crate) fn among(bundle: Arc<Loaded>, provider: Option<Provider>, domains: Vec<DomainConfig>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new());
        let stop = Arc::new(StopFile::open(&directory.path().join("stop")).unwrap());
        let clock = Arc::new(HandClock::at("2030-01-01T12:00:00Z"));
        let randomness = Arc::new(SeededBytes::new(7));
        let office = Office::new(OfficeParts {
            store: Arc::clone(&store),
            stop: Arc::clone(&stop),
            clock: Arc::clone(&clock) as _,
            randomness: Arc::clone(&randomness) as _,
            snapshot: Arc::clone(&bundle.snapshot),
            administration: administration(),
        });
        let seal = World::<MemoryStore>::seal();
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&store),
            snapshot: Arc::clone(&bundle.snapshot),
            stop: Arc::clone(&stop),
            seal: seal.clone(),
            clock: Arc::clone(&clock) as _,
            randomness: Arc::clone(&randomness) as _,
            settings: Settings::named("test"),
        });
        let api = Arc::new(Api::new(ApiParts {
            office,
            store: Arc::clone(&store),
            stop: Arc::clone(&stop),
            bundle,
            seal,
            clock: Arc::clone(&clock) as _,
            randomness,
            provider,
            tokens: Some(
                OAuth::new(
                    tokens_service(&SeededBytes::new(11), clock.now(), domains),
                    &SeededBytes::new(12),
                )
                .unwrap(),
            ),
            browser: Some(
                warrantor_api::Browser::new("https://control.example.com".to_owned(), &SeededBytes::new(13))
                    .unwrap(),
            ),
            decisions: decisions(),
            spans: warrantor_api::Spans::default(),
        }));
        Self { router: router(Arc::clone(&api)), api, store, stop, clock, engine, _directory: directory }
    }

    pub(crate) fn host(act: Act) -> Authority {
        Authority::of_the_host(act, "test", "tester")
    }

    /// Registers a person under this id, with these roles, and begins a session.
    pub(crate) async fn person(&self, id: &str, roles: &[&str]) -> String {
        let session = self.person_of(id, ISSUER, &format!("subject-of-{id}")).await;
        let office = self.api.office();
        if !roles.is_empty() {
            let roles = roles.iter().map(|role| (*role).to_owned()).collect();
            office.give_roles(&Self::host(Act::ChangePerson), &id.parse().unwrap(), roles).await.unwrap();
        }
        session
    }

    /// Registers a person whom this issuer knows by this subject, and begins a session.
    pub(crate) async fn person_of(&self, id: &str, issuer: &str, subject: &str) -> String {
        let new = NewPerson {
            id: Some(id.parse().unwrap()),
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            name: Some(id.to_owned()),
            mail: BTreeSet::from([format!("{id}@example.com")]),
            groups: BTreeSet::new(),
        };
        self.api.office().register(&Self::host(Act::RegisterPerson), new).await.unwrap();
        self.session(id).await
    }

    /// Begins a session of a person who is there.
    pub(crate) async fn session(&self, id: &str) -> String {
        self.session_since(id, Some(self.clock.now())).await
    }

    /// Begins one of somebody who proved who they are then, or nobody knows when.
    pub(crate) async fn session_since(&self, id: &str, authenticated_at: Option<Timestamp>) -> String {
        let office = self.api.office();
        let authority = Self::host(Act::ReadPerson);
        let lasts = Duration::from_secs(8 * 3600);
        let made = office.begin_session(&authority, &id.parse().unwrap(), lasts, authenticated_at).await;
        made.unwrap().token
    }

    pub(crate) async fn client(&self, name: &str, role: &str) -> String {
        let directory =
            DirectorySettings { issuer: ISSUER.to_owned(), subject: SubjectAttribute::ExternalId };
        let made = self
            .api
            .office()
            .add_client(&Self::host(Act::AddClient), name, [role.to_owned()].into(), Some(directory), None)
            .await;
        made.unwrap().token
    }

    pub(crate) async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answered {
        self.send(token, method, path, body, &[]).await
    }

    pub(crate) async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answered {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                let text = body.to_string();
                request = request
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::CONTENT_LENGTH, text.len());
                Body::from(text)
            }
            None => Body::empty(),
        };
        self.answered(request.body(body).unwrap()).await
    }

    /// Sends JSON as it is written.
    pub(crate) async fn ask_text(&self, token: &str, method: &str, path: &str, body: &str) -> Answered {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json");
        self.answered(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn answered(&self, request: Request<Body>) -> Answered {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::String(text));
        Answered { status, headers, body }
    }

    /// Sends a form.
    pub(crate) async fn form(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answered {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(form);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answered(request.body(Body::from(text.finish())).unwrap()).await
    }

    /// Proposes an agent of an owner and has it approved.
    pub(crate) async fn agent(&self, id: &str, owner: &str, sponsor: &str, deputies: &[&str]) {
        let office = self.api.office();
        let spec = serde_json::from_value(spec(owner, sponsor, deputies)).unwrap();
        let proposed =
            office.propose(&Self::host(Act::ProposeAgent), &id.parse().unwrap(), None, spec).await.unwrap();
        let digest = proposed.proposal.as_ref().unwrap().digest;
        office.approve(&Self::host(Act::ApproveAgent), &proposed, &digest).await.unwrap();
    }

    /// Publishes a bundle from the host.
    pub(crate) async fn publish(&self, files: &BundleFiles) -> warrantor_control::bundles::Publication {
        let new = warrantor_control::bundles::ToPublish {
            files: files.texts().into_iter().map(|(path, text)| (path, text.into_bytes())).collect(),
            reason: "because".to_owned(),
            points: BTreeSet::new(),
            unreviewed: warrantor_control::bundles::Unreviewed::Taken,
        };
        self.api.office().publish(&Self::host(Act::PublishBundle), new).await.unwrap()
    }

    /// Proposes the bank's manifest of a bundle from the host.
    pub(crate) async fn proposed(&self, files: &BundleFiles) -> warrantor_control::servers::KnownManifest {
        let mut texts = files.texts();
        let new = warrantor_control::servers::NewManifest {
            manifest: texts.remove("tools/bank.yaml"),
            definitions: texts.remove("tools/bank.tools.json"),
            reason: "because".to_owned(),
        };
        let host = Self::host(Act::ProposeManifest);
        self.api.office().propose_manifest(&host, &"bank".parse().unwrap(), new).await.unwrap()
    }

    /// A gateway sees the bank say something that is not as reviewed.
    pub(crate) async fn saw(&self, said: &str) {
        let record = warrantor_model::record::DefinitionsRecord {
            server: "bank".to_owned(),
            changed: vec!["send_money".to_owned()],
            unknown: Vec::new(),
            missing: Vec::new(),
            instructions_withheld: false,
        };
        self.engine.note_definitions(&"bank".parse().unwrap(), record, said.to_owned());
        self.engine.settle().await;
    }

    /// How a reading call under a mandate is answered: the reason, or none when it passes and is released.
    pub(crate) async fn call(&self, mandate: &str) -> Option<ReasonCode> {
        let mandate: MandateId = mandate.parse().unwrap();
        match self.engine.authorize(&World::<MemoryStore>::call(&mandate, "list_payees", "{}")).await {
            Answer::Permitted(permit) => {
                self.engine.release(permit).err().map(|refused| refused.refusal.primary().0)
            }
            Answer::Refused(refused) => Some(refused.refusal.primary().0),
            Answer::Asked(..) => Some(ReasonCode::ApprovalRequired),
        }
    }

    /// Hands over `settle` in the name of whoever's token it is, and gives the mandate.
    pub(crate) async fn settle(&self, token: &str, agent: &str) -> String {
        let body =
            json!({ "template": "settle", "agent": agent, "slots": { "vendor": "ACME", "note": "x" } });
        let handed = self.ask(token, "POST", "/v1/mandates", Some(body)).await.is(201);
        handed["id"].as_str().unwrap().to_owned()
    }
}

/// The key that signs answers to enforcement points.
pub(crate) fn decisions() -> warrantor_ledger::SigningKey {
    warrantor_ledger::SigningKey::from_seed("test/decisions".parse().unwrap(), [9; 32].into()).unwrap()
}

pub(crate) fn spec(owner: &str, sponsor: &str, deputies: &[&str]) -> Value {
    json!({
        "owner": owner,
        "sponsors": [sponsor],
        "deputies": deputies,
        "purpose": "settles invoices",
        "risk": "low",
        "servers": ["bank"],
        "effects": ["read", "pay"],
    })
}
