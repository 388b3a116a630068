//! `gateway`: streamable HTTP before one or many tool servers; and the tokens of its callers.

use std::{
    fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use warrantor_bundle::{
    Loaded, Report,
    gateway::{
        GatewayConfig, OAuthConfig, Reached, ServingPlace, ToolSet, UpstreamSettings as Upstream,
        gateway_place, load_gateway, load_gateway_beside,
    },
};
use warrantor_control::handover::{Desk, HandoverError};
use warrantor_engine::{DecisionPoint, Engine, EngineParts, Settings};
use warrantor_gateway::{
    Asking, HttpTarget, Spans,
    http::{
        CallerSettings, EndpointSettings, ForeignClient, ForeignIssuer, Gateway, GatewayLimits, GatewayParts,
        Handle, Mandates, ResourceSettings, Serving, SetSettings, UpstreamSettings,
    },
    launch::Launch,
};
use warrantor_issuers::{Discovery, Issuer, IssuerSettings};
use warrantor_mcp::message::FrameLimits;
use warrantor_model::{Clock, Digest, MandateId, Randomness, ServerName, TemplateId, Timestamp};

use super::{
    control::tls,
    publishing::{Following, open},
    secrets::{self, Sources},
    serving::{REQUEST_TIMEOUT, interrupted, keep, launch, log, upstream_bytes},
    traces::Traces,
};
use crate::{
    args::{GatewayArgs, Place, TokenAddArgs},
    deployment::Deployment,
    output::{Exit, Output, Usage, render},
    system::SystemBytes,
};

pub(super) mod remote;

pub(crate) fn run(args: &GatewayArgs, out: Output) -> anyhow::Result<Exit> {
    log();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(args, out))
}

/// Where the gateway is, for whoever started it.
#[derive(Serialize)]
struct Listening {
    /// Its own address.
    url: String,
    /// The endpoint of each server.
    servers: Vec<Endpoint>,
    /// The endpoint of each set of tools.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sets: Vec<SetEndpoint>,
    /// Where metrics are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
}

#[derive(Serialize)]
struct Endpoint {
    server: ServerName,
    url: String,
}

#[derive(Serialize)]
struct SetEndpoint {
    set: ServerName,
    url: String,
}

async fn serve(args: &GatewayArgs, out: Output) -> anyhow::Result<Exit> {
    let place = gateway_place(&args.config)?;
    match place.plane.clone() {
        Some(plane) => remote::serve(args, &place, plane, out).await,
        None => local(args, place, out).await,
    }
}

/// Decides here, on the data directory.
async fn local(args: &GatewayArgs, followed: ServingPlace, out: Output) -> anyhow::Result<Exit> {
    let base = base_of(&args.config);
    let place = Place { data: args.place.data.clone().or(followed.data), ..args.place.clone() };
    let own = load_gateway(&args.config);
    let (deployment, own) = open(&place, followed.point.as_ref(), own, |config| &config.bundle).await?;
    let deployment = Arc::new(deployment);
    let mut following = Following::at(&deployment, followed.point)?;
    let (number, config) =
        following.config(|| own, |published| load_gateway_beside(&args.config, published)).await?;
    following.took(number);
    deployment.absorb().await;
    deployment.keeper().sign().await.context("nothing is permitted on a ledger that cannot be signed")?;
    let engine = Engine::new(EngineParts {
        store: Arc::clone(&deployment.store),
        snapshot: Arc::clone(&config.bundle.snapshot),
        stop: Arc::clone(&deployment.stop),
        seal: deployment.keys.seal()?,
        clock: Arc::clone(&deployment.clock) as _,
        randomness: Arc::clone(&deployment.randomness) as _,
        settings: Settings::named(config.place.point.as_ref().map_or("gateway", AsRef::as_ref)),
    });
    let face = Face::bind(&config, &base).await?;
    let handing = |bundle| Handing { deployment: Arc::clone(&deployment), bundle };
    let serving = serving(config, &base, handing)?;
    serving.mandates.note_bundle().await?;
    let keeping = tokio::spawn(keep(Arc::clone(&deployment)));
    let reload = Reload {
        file: args.config.clone(),
        base,
        listen: face.listen,
        deployment: Arc::clone(&deployment),
        out,
    };
    let hangups = signal(SignalKind::hangup())?;
    let clock = Arc::clone(&deployment.clock) as _;
    let reloading = |handle| tokio::spawn(self::reload(reload, handle, following, hangups));
    face.serve(engine, serving, clock, reloading, out).await?;
    keeping.abort();
    deployment.absorb().await;
    if let Err(cause) = deployment.keeper().sign().await {
        out.note(&format!("warrantor: no checkpoint could be signed: {cause}"));
    }
    warrantor_store::Store::close(&*deployment.store).await;
    Ok(Exit::Done)
}

fn base_of(config: &Path) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).to_owned()
}

/// What of a gateway is the same wherever its calls are decided.
struct Face {
    listen: SocketAddr,
    listener: TcpListener,
    metrics: Option<TcpListener>,
    traces: Traces,
}

impl Face {
    /// Takes the addresses, before anything else is begun.
    async fn bind(config: &GatewayConfig, base: &Path) -> anyhow::Result<Self> {
        for warning in &config.warnings {
            tracing::warn!(place = warning.place(), "{warning}");
        }
        let metrics = match config.metrics {
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.with_context(|| format!("metrics cannot be told on {address}"))?)
            }
            None => None,
        };
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the gateway cannot listen on {listen}"))?;
        raise_file_limit();
        let traces = Traces::to("warrantor-gateway", config.traces.as_ref(), base)?;
        Ok(Self { listen, listener, metrics, traces })
    }

    /// Serves until it is told to end.
    async fn serve<P: DecisionPoint, M: Mandates>(
        self,
        engine: P,
        serving: Serving<M>,
        clock: Arc<dyn Clock>,
        reloading: impl FnOnce(Handle<P, M>) -> JoinHandle<()>,
        out: Output,
    ) -> anyhow::Result<()> {
        let mut listening = listening(&serving, self.listener.local_addr()?);
        if let Some(metrics) = &self.metrics {
            listening.metrics = Some(format!("http://{}/metrics", metrics.local_addr()?));
        }
        let spans = self.traces.tracer().map(Spans::to).unwrap_or_default();
        let gateway = Gateway::new(GatewayParts { engine: engine.clone(), serving, clock, spans });
        let reloading = reloading(gateway.handle());
        let interrupted = interrupted()?;
        out.answer(&listening, |table| {
            writeln!(table, "The gateway listens on {}", listening.url)?;
            listening
                .servers
                .iter()
                .map(|endpoint| (&endpoint.server, &endpoint.url))
                .chain(listening.sets.iter().map(|endpoint| (&endpoint.set, &endpoint.url)))
                .try_for_each(|(name, url)| writeln!(table, "  {name}  {url}"))?;
            listening.metrics.iter().try_for_each(|url| writeln!(table, "Metrics are told at {url}"))
        })?;
        let telling = self.metrics.map(|listener| tokio::spawn(gateway.handle().serve_metrics(listener)));
        gateway.serve(self.listener, interrupted).await;
        reloading.abort();
        if let Some(telling) = telling {
            telling.abort();
        }
        if let Some((records, cause)) = engine.unrecorded() {
            out.note(&format!(
                "warrantor: {records} records of refusals and outcomes could not be written and are lost: {cause}"
            ));
        }
        self.traces.end().await;
        Ok(())
    }
}

/// What a hangup reads anew.
struct Reload {
    file: PathBuf,
    base: PathBuf,
    listen: SocketAddr,
    deployment: Arc<Deployment>,
    out: Output,
}

/// Reads the configuration anew at every hangup, and when a bundle is published for this point. One that is at fault changes nothing.
async fn reload(
    reload: Reload,
    gateway: Handle<Engine<warrantor_store_sql::SqliteStore>, Handing>,
    mut following: Following,
    mut hangups: Signal,
) {
    while let Some(why) = following.or_hangup(&mut hangups).await {
        match reload.now(&gateway, &mut following).await {
            Ok(revision) => tell_taken(revision, reload.out),
            Err(cause) => {
                let told = told(&cause);
                if following.failed(why, &told) {
                    tell_fault(&told, reload.out);
                    // Told first: whoever counts finds it told.
                    gateway.not_replaced();
                }
            }
        }
    }
}

fn told(cause: &anyhow::Error) -> String {
    cause.downcast_ref::<Report>().map_or_else(|| format!("{cause:#}"), render)
}

fn tell_taken(revision: Digest, out: Output) {
    out.note(&format!("warrantor: the configuration was read anew; the bundle is {revision}"));
}

fn tell_fault(told: &str, out: Output) {
    out.note(&format!("warrantor: the new configuration is at fault, and nothing was changed:\n{told}"));
}

impl Reload {
    async fn now(
        &self,
        gateway: &Handle<Engine<warrantor_store_sql::SqliteStore>, Handing>,
        following: &mut Following,
    ) -> anyhow::Result<Digest> {
        let file = &self.file;
        let (number, config) =
            following.config(|| load_gateway(file), |published| load_gateway_beside(file, published)).await?;
        following.warn_of(config.place.point.as_ref());
        warn_of_address(config.listen, self.listen);
        let (revision, snapshot) = (config.bundle.revision, Arc::clone(&config.bundle.snapshot));
        let handing = |bundle| Handing { deployment: Arc::clone(&self.deployment), bundle };
        let serving = serving(config, &self.base, handing)?;
        // Before anything is decided on it.
        serving.mandates.note_bundle().await?;
        gateway.replace(serving, snapshot);
        following.took(number);
        Ok(revision)
    }
}

fn warn_of_address(configured: SocketAddr, now: SocketAddr) {
    if configured != now {
        tracing::warn!(%now, "the new address takes effect at the next start");
    }
}

/// What is served by a configuration.
fn serving<M: Mandates>(
    config: GatewayConfig,
    base: &Path,
    mandates: impl FnOnce(Loaded) -> M,
) -> anyhow::Result<Serving<M>> {
    let tls = config.tls.as_ref().map(|(certificate, key)| tls(certificate, key)).transpose()?;
    let endpoints = endpoints(&config, base)?;
    let callers = callers(&config);
    let resource = config.oauth.as_ref().map(resource).transpose()?;
    let set = |(name, set): (&ServerName, &ToolSet)| SetSettings {
        path: set.path.clone(),
        tools: Arc::new(warrantor_gateway::ToolSet { name: name.clone(), tools: set.tools.clone() }),
    };
    let sets = config.sets.iter().map(set).collect();
    let limits = GatewayLimits {
        connections: config.limits.connections,
        sessions: config.limits.sessions,
        requests: config.limits.requests,
        requests_per_second: NonZeroU32::new(config.limits.requests_per_second).unwrap_or(NonZeroU32::MIN),
        receive: config.limits.receive,
        idle: config.limits.idle,
    };
    Ok(Serving {
        endpoints,
        sets,
        callers,
        resource,
        mandates: mandates(config.bundle),
        hosts: config.hosts,
        origins: config.origins,
        tls,
        limits,
    })
}

fn endpoints(config: &GatewayConfig, base: &Path) -> anyhow::Result<Vec<EndpointSettings>> {
    let sealed = config.secrets.as_ref().map(secrets::open).transpose()?;
    let sources = Sources { base, sealed: sealed.as_ref() };
    config.servers.iter().map(|(server, upstream)| endpoint(config, sources, server, upstream)).collect()
}

fn endpoint(
    config: &GatewayConfig,
    sources: Sources<'_>,
    server: &ServerName,
    upstream: &Upstream,
) -> anyhow::Result<EndpointSettings> {
    let settings = config.bundle.config.servers.get(server).cloned().unwrap_or_default();
    // What is shown has to fit a question, quoted and taken apart.
    let most = config.place.plane.as_ref().map_or(usize::MAX, |_| remote::MAX_RESULT);
    let bytes = upstream_bytes(&settings).min(most);
    let mut told = format!("{upstream:?} {settings:?} {:?}", config.limits.request_bytes);
    let reached = match &upstream.reached {
        Reached::Http { url, headers } => {
            let headers: Vec<(String, String)> = headers
                .iter()
                .map(|(name, entry)| Ok((name.clone(), sources.value(entry, name)?)))
                .collect::<anyhow::Result<_>>()?;
            // A credential that was changed is another way to the server.
            told.push_str(&format!("{headers:?}"));
            let target =
                HttpTarget::new(url, &headers, bytes).map_err(|cause| Usage(format!("{server}: {cause}")))?;
            UpstreamSettings::Http(Arc::new(target))
        }
        Reached::Stdio { command, host } => {
            let mut settings = settings.clone();
            settings.pass.retain(|name| !host.env.contains_key(name));
            settings.pass.extend(host.pass.iter().cloned());
            settings.env.retain(|name, _| !host.pass.contains(name));
            settings.env.extend(host.env.clone());
            if let Some(cwd) = &host.cwd {
                settings.cwd = Some(cwd.display().to_string());
            }
            // Files of secrets that the bundle names are named from its directory; those of this machine by their whole paths.
            let here = std::path::absolute(&config.bundle_dir)?;
            let launch = Launch {
                name: Some(server.to_string()),
                ..launch(command, &settings, Sources { base: &here, ..sources })?
            };
            told.push_str(&format!("{:?} {:?}", launch.environment, launch.directory));
            UpstreamSettings::Stdio(Arc::new(launch))
        }
    };
    Ok(EndpointSettings {
        server: server.clone(),
        path: upstream.path.clone(),
        upstream: reached,
        configured: Digest::of(told.as_bytes()),
        call_timeout: settings.timeout,
        request_timeout: REQUEST_TIMEOUT,
        client_limits: FrameLimits::default().with_bytes(config.limits.request_bytes),
        upstream_limits: FrameLimits::default().with_bytes(bytes),
        asking: Asking { page: config.asking.page.clone(), hold: config.asking.hold },
    })
}

/// How long the keys of the token service are kept. A key that is taken away, because somebody else may have it, counts for so long still.
const KEPT_KEYS: Duration = Duration::from_secs(5 * 60);
/// How long keys go on while the token service does not answer: it makes no tokens then, and none that it made lasts longer.
const KEPT_UNANSWERED: Duration = Duration::from_secs(60 * 60);
/// How far the clocks of the gateway and of the token service may differ.
const LEEWAY: Duration = Duration::from_secs(30);

fn resource(config: &OAuthConfig) -> anyhow::Result<ResourceSettings> {
    let issuer = Issuer::new(IssuerSettings {
        issuer: config.issuer.clone(),
        algorithms: ["EdDSA", "ES256"].map(str::to_owned).into(),
        discovery: Discovery::OAuth,
        certificates: config.certificates.clone(),
        keep: KEPT_KEYS,
        keep_unanswered: KEPT_UNANSWERED,
        leeway: LEEWAY,
    })?;
    let foreign = config.issuers.iter().map(|one| {
        let issuer = Issuer::new(IssuerSettings {
            issuer: one.issuer.clone(),
            algorithms: one.algorithms.clone(),
            discovery: Discovery::OAuth,
            certificates: one.certificates.clone(),
            keep: KEPT_KEYS,
            keep_unanswered: KEPT_UNANSWERED,
            leeway: LEEWAY,
        })
        .with_context(|| format!("[[oauth.issuers]] {}", one.issuer))?;
        let client =
            |(name, (token, subjects)): (&String, &(warrantor_bundle::gateway::Token, Vec<String>))| {
                let client = ForeignClient {
                    subjects: subjects.iter().cloned().collect(),
                    agent: token.agent.clone(),
                    mandates: token.mandates.clone(),
                    handed_over: token.handed_over,
                    servers: token.servers.clone(),
                };
                (name.clone(), client)
            };
        Ok(ForeignIssuer { issuer: Arc::new(issuer), clients: one.clients.iter().map(client).collect() })
    });
    let foreign = foreign.collect::<anyhow::Result<_>>()?;
    let mut nonce_key = [0; 32];
    Randomness::fill(&SystemBytes::new(), &mut nonce_key)
        .map_err(|_| anyhow::anyhow!("the system has no random bytes"))?;
    Ok(ResourceSettings {
        url: config.url.clone(),
        issuer: Arc::new(issuer),
        bearer: config.bearer,
        foreign,
        configured: Digest::of(format!("{config:?}").as_bytes()),
        nonce_key,
    })
}

fn callers(config: &GatewayConfig) -> Vec<CallerSettings> {
    let caller = |(token, entry): (&Digest, &warrantor_bundle::gateway::Token)| CallerSettings {
        name: entry.name.clone(),
        token: *token,
        agent: entry.agent.clone(),
        mandates: entry.mandates.clone(),
        handed_over: entry.handed_over,
        servers: entry.servers.clone(),
        expires_at: entry.expires_at,
    };
    config.tokens.iter().map(caller).collect()
}

fn listening<M>(serving: &Serving<M>, address: SocketAddr) -> Listening {
    let scheme = if serving.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    let servers = serving
        .endpoints
        .iter()
        .map(|endpoint| Endpoint { server: endpoint.server.clone(), url: format!("{url}{}", endpoint.path) })
        .collect();
    let sets = serving
        .sets
        .iter()
        .map(|set| SetEndpoint { set: set.tools.name.clone(), url: format!("{url}{}", set.path) })
        .collect();
    Listening { url, servers, sets, metrics: None }
}

/// Streams that wait cost a file descriptor each.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(cause) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%cause, "the limit on open files stays as it is");
    }
}

/// Hands over what tokens name.
struct Handing {
    deployment: Arc<Deployment>,
    bundle: Loaded,
}

impl Handing {
    async fn note_bundle(&self) -> anyhow::Result<()> {
        let seal = self.deployment.keys.seal()?;
        Ok(self.desk(&seal).note_bundle().await?)
    }

    fn desk<'a>(
        &'a self,
        seal: &'a warrantor_engine::bodies::SealKey,
    ) -> Desk<'a, warrantor_store_sql::SqliteStore> {
        Desk {
            store: Arc::clone(&self.deployment.store),
            stop: &self.deployment.stop,
            bundle: &self.bundle,
            seal,
            clock: &*self.deployment.clock,
            randomness: &*self.deployment.randomness,
            evidence: self.deployment.hand.clone(),
        }
    }
}

impl Mandates for Handing {
    async fn resolve(&self, name: &TemplateId) -> Result<(MandateId, Timestamp), String> {
        let seal = self.deployment.keys.seal().map_err(|cause| cause.to_string())?;
        let handed = self.desk(&seal).resume_or_begin(name).await.map_err(|cause| match cause {
            // Which others there are is nobody's business who has no token for them.
            HandoverError::Unknown { template, .. } => format!("there is no mandate {template}"),
            cause => cause.to_string(),
        })?;
        tracing::info!(mandate = %handed.mandate, task = %handed.task, until = %handed.expires_at, new = handed.new, "mandate");
        Ok((handed.mandate, handed.expires_at))
    }
}

/// A token that was made; it is shown this once.
#[derive(Serialize)]
struct Made<'a> {
    name: &'a str,
    token: String,
    sha256: String,
}

pub(super) fn add_token(args: &TokenAddArgs, out: Output) -> anyhow::Result<Exit> {
    let text = match fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(cause) => {
            return Err(cause).with_context(|| format!("{} cannot be read", args.file.display()));
        }
    };
    let mut secret = [0u8; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| anyhow::anyhow!("the system has no random bytes"))?;
    let token = format!("wt_{}", hex::encode(secret));
    let digest = Digest::of(token.as_bytes()).to_string();
    let sha256 = digest.trim_start_matches("sha256:").to_owned();
    let mandates: Vec<String> =
        args.mandate.iter().map(|mandate| format!("{:?}", mandate.as_str())).collect();
    let handed_over = if args.handed_over { "handed_over = true\n" } else { "" };
    let entry = format!(
        "{}[tokens.{}]\nsha256 = \"{sha256}\"\nagent = \"{}\"\nmandates = [{}]\n{handed_over}",
        if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" },
        serde_json::Value::String(args.name.to_string()),
        args.agent,
        mandates.join(", ")
    );
    let whole = format!("{text}{entry}");
    let report = warrantor_bundle::parse_any(warrantor_bundle::FileKind::Tokens, whole.as_bytes());
    if !report.is_passed() {
        out.note(&render(&report));
        return Err(Usage(format!(
            "{} would not be a file of tokens any more: nothing was written",
            args.file.display()
        ))
        .into());
    }
    fs::write(&args.file, whole).with_context(|| format!("{} cannot be written", args.file.display()))?;
    let made = Made { name: args.name.as_str(), token, sha256 };
    out.answer(&made, |table| {
        writeln!(table, "{}", made.token)?;
        writeln!(table, "It is shown this once. Send it as `Authorization: Bearer …`; the gateway reads the file when it starts.")
    })?;
    Ok(Exit::Done)
}
