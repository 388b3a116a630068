//! `serve` and `dev`: the control plane.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use warrantor_api::{Api, ApiParts, ApiServer, Browser, OAuth, Spans, provider::Provider};
use warrantor_bundle::{
    Loaded, Report, load,
    serve::{DEFAULT_LISTEN, ServeConfig, load_serve, load_serve_beside, serve_place},
};
use warrantor_control::{
    handover::Desk,
    office::{Authority, Office, OfficeParts},
    tokens::TokenService,
};
use warrantor_decide::{
    PolicySource,
    administration::{Act, Administration, ROLES, SHIPPED},
};
use warrantor_model::Clock;
use warrantor_store_sql::SqliteStore;

use super::{
    notices::Teller,
    publishing::{Following, open},
    serving::{interrupted, keep, log},
    tokens,
    traces::Traces,
};
use crate::{
    args::{DevArgs, Place, ServeArgs},
    deployment::Deployment,
    output::{Exit, Output, render},
};

/// How long the sessions of `dev` last.
const DEV_SESSION: Duration = Duration::from_secs(8 * 60 * 60);

/// TLS 1.2 and 1.3 with this certificate and key.
pub(super) fn tls(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let unreadable = |file: &Path| format!("{} cannot be read as PEM", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| unreadable(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| unreadable(key))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate cannot be used")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The policies of administration: those of a file, or those that ship.
pub(super) fn administration(file: Option<&Path>) -> anyhow::Result<Arc<Administration>> {
    let source = match file {
        None => PolicySource { file: "shipped.cedar".to_owned(), text: SHIPPED.to_owned() },
        Some(file) => PolicySource {
            file: file.display().to_string(),
            text: fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?,
        },
    };
    let name = source.file.clone();
    Administration::build(&source).map(Arc::new).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{name} does not hold policies of administration: {}", faults.join("; "))
    })
}

/// An office on a deployment.
pub(super) fn office(
    deployment: &Deployment,
    bundle: &Loaded,
    administration: Arc<Administration>,
) -> Office<SqliteStore> {
    Office::new(OfficeParts {
        store: Arc::clone(&deployment.store),
        stop: Arc::clone(&deployment.stop),
        clock: Arc::clone(&deployment.clock) as _,
        randomness: Arc::clone(&deployment.randomness) as _,
        snapshot: Arc::clone(&bundle.snapshot),
        administration,
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

pub(crate) fn serve(args: &ServeArgs, out: Output) -> anyhow::Result<Exit> {
    log();
    runtime()?.block_on(serve_config(args, out))
}

/// Where the control plane is, for whoever started it.
#[derive(Serialize)]
struct Listening {
    /// Its address.
    url: String,
    /// Where metrics are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    /// The key by which gateways elsewhere know its answers.
    key: String,
    /// Whether somebody can administer it: false on a new data directory.
    has_administrator: bool,
}

async fn serve_config(args: &ServeArgs, out: Output) -> anyhow::Result<Exit> {
    let followed = serve_place(&args.config)?;
    let place = Place { data: args.place.data.clone().or(followed.data), ..args.place.clone() };
    let own = load_serve(&args.config);
    let (deployment, own) = open(&place, followed.point.as_ref(), own, |config| &config.bundle).await?;
    let deployment = Arc::new(deployment);
    let mut following = Following::at(&deployment, followed.point)?;
    let (number, config) =
        following.config(|| own, |published| load_serve_beside(&args.config, published)).await?;
    following.took(number);
    for warning in &config.warnings {
        tracing::warn!(place = warning.place(), "{warning}");
    }
    let ServeConfig {
        bundle,
        listen,
        metrics,
        tls: certificate,
        administration: policies,
        provider: entry,
        tokens: tokens_config,
        pages,
        notices,
        traces,
        ..
    } = config;
    let bundle = Arc::new(bundle);
    let administration = administration(policies.as_deref())?;
    let tls = certificate.map(|(certificate, key)| tls(&certificate, &key)).transpose()?;
    let provider = entry.clone().map(Provider::new).transpose()?;
    let listener = bind("listen", listen).await?;
    let metrics = match metrics {
        Some(address) => Some(bind("metrics", address).await?),
        None => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let base = args.config.parent().unwrap_or(Path::new(""));
    let traces = Traces::to("warrantor", traces.as_ref(), base)?;
    let spans = traces.tracer().map(Spans::to).unwrap_or_default();
    let service = tokens_config.map(|config| tokens::service(&deployment, config)).transpose()?;
    let service = service
        .map(|service| OAuth::new(service, &*deployment.randomness))
        .transpose()
        .context("[tokens] of serve.toml")?;
    let page = pages.as_ref().map(|url| format!("{url}/approvals"));
    let teller = Teller::to(&notices, page, Arc::clone(&deployment.clock) as _)?;
    let browser = pages.map(|url| Browser::new(url, &*deployment.randomness)).transpose()?;
    let api = api(&deployment, &bundle, administration, provider, (service, browser), spans).await?;
    let listening = Listening {
        url: format!("{scheme}://{}", listener.local_addr()?),
        metrics: match &metrics {
            Some(metrics) => Some(format!("http://{}/metrics", metrics.local_addr()?)),
            None => None,
        },
        key: deployment.keys.decisions(&deployment.origin, &*deployment.randomness)?.verifier().to_string(),
        has_administrator: has_administrator(api.office()).await?,
    };
    let reloading = tokio::spawn(reload(
        args.config.clone(),
        Arc::clone(&api),
        Arc::clone(&deployment),
        following,
        signal(SignalKind::hangup())?,
        out,
    ));
    let interrupted = interrupted()?;
    out.answer(&listening, |table| {
        writeln!(table, "The control plane listens on {}", listening.url)?;
        writeln!(table, "Gateways elsewhere know its answers by the key {}", listening.key)?;
        listening.metrics.iter().try_for_each(|url| writeln!(table, "Metrics are told at {url}"))
    })?;
    if !listening.has_administrator {
        out.note(&format!(
            "warrantor: nobody administers this deployment yet. On this host, with this data directory, run\n  warrantor person add --id ID --issuer {} --subject SUBJECT --role administrator",
            entry.as_ref().map_or("URL", |entry| entry.issuer.as_str())
        ));
    }
    let telling = metrics.map(|listener| tokio::spawn(tell(listener, Arc::clone(&api))));
    let keeping = tokio::spawn(keep(Arc::clone(&deployment)));
    for warning in tokens::leads_nowhere(&api).await {
        out.note(&format!("warrantor: [tokens]: {warning}"));
    }
    let tending = tokio::spawn(tokens::tend(Arc::clone(&api), Arc::clone(&deployment)));
    let noticing = teller.map(|teller| tokio::spawn(teller.tell(Arc::clone(&api))));
    ApiServer::new(Arc::clone(&api), tls).serve(listener, interrupted).await;
    api.settle().await;
    reloading.abort();
    if let Some(telling) = telling {
        telling.abort();
    }
    keeping.abort();
    tending.abort();
    if let Some(noticing) = noticing {
        noticing.abort();
    }
    traces.end().await;
    end(&deployment, out).await;
    Ok(Exit::Done)
}

async fn bind(what: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{what}: {address} cannot be listened on"))
}

/// The interface on a deployment, everything that a start does done.
async fn api(
    deployment: &Arc<Deployment>,
    bundle: &Arc<Loaded>,
    administration: Arc<Administration>,
    provider: Option<Provider>,
    (tokens, browser): (Option<OAuth>, Option<Browser>),
    spans: Spans,
) -> anyhow::Result<Arc<Api<SqliteStore>>> {
    deployment.absorb().await;
    deployment.keeper().sign().await.context("nothing is done on a ledger that cannot be signed")?;
    let seal = deployment.keys.seal()?;
    desk(deployment, bundle, &seal).note_bundle().await?;
    let office = office(deployment, bundle, administration);
    let indexed = office.index_mandates(&deployment.hand).await?;
    if indexed > 0 {
        tracing::info!(indexed, "mandates of an earlier version can be listed by person and agent now");
    }
    Ok(Arc::new(Api::new(ApiParts {
        office,
        store: Arc::clone(&deployment.store),
        stop: Arc::clone(&deployment.stop),
        bundle: Arc::clone(bundle),
        seal,
        clock: Arc::clone(&deployment.clock) as _,
        randomness: Arc::clone(&deployment.randomness) as _,
        provider,
        tokens,
        browser,
        decisions: deployment.keys.decisions(&deployment.origin, &*deployment.randomness)?,
        spans,
    })))
}

fn desk<'a>(
    deployment: &'a Deployment,
    bundle: &'a Loaded,
    seal: &'a warrantor_engine::bodies::SealKey,
) -> Desk<'a, SqliteStore> {
    Desk {
        store: Arc::clone(&deployment.store),
        stop: &deployment.stop,
        bundle,
        seal,
        clock: &*deployment.clock,
        randomness: &*deployment.randomness,
        evidence: deployment.hand.clone(),
    }
}

/// Whether somebody live has the role, as far as a look at everybody tells.
async fn has_administrator(office: &Office<SqliteStore>) -> anyhow::Result<bool> {
    let mut after = None;
    loop {
        let page = office.people(after.as_ref(), 200).await?;
        let Some(last) = page.last() else { return Ok(false) };
        after = Some(last.id.clone());
        if page.iter().any(|person| person.roles.contains("administrator")) {
            return Ok(true);
        }
    }
}

/// Reads the configuration anew at every hangup, and when a bundle is published for this point. One that is at fault changes nothing.
async fn reload(
    file: std::path::PathBuf,
    api: Arc<Api<SqliteStore>>,
    deployment: Arc<Deployment>,
    mut following: Following,
    mut hangups: Signal,
    out: Output,
) {
    while let Some(why) = following.or_hangup(&mut hangups).await {
        let read = async {
            let (number, config) = following
                .config(|| load_serve(&file), |published| load_serve_beside(&file, published))
                .await?;
            let administration = administration(config.administration.as_deref())?;
            following.warn_of(config.place.point.as_ref());
            if api.tokens().map(TokenService::settings) != config.tokens.as_ref() {
                out.note("warrantor: what changed in [tokens] takes effect at the next start");
            }
            let bundle = Arc::new(config.bundle);
            desk(&deployment, &bundle, &deployment.keys.seal()?).note_bundle().await?;
            let revision = bundle.revision;
            api.go_on_with(bundle, administration);
            anyhow::Ok((number, revision))
        };
        match read.await {
            Ok((number, revision)) => {
                following.took(number);
                out.note(&format!("warrantor: the configuration was read anew; the bundle is {revision}"));
            }
            Err(cause) => {
                let told = cause.downcast_ref::<Report>().map_or_else(|| format!("{cause:#}"), render);
                if following.failed(why, &told) {
                    out.note(&format!(
                        "warrantor: the new configuration is at fault, and nothing was changed:\n{told}"
                    ));
                }
            }
        }
    }
}

/// Tells what was counted to whoever asks.
async fn tell(listener: TcpListener, api: Arc<Api<SqliteStore>>) {
    warrantor_api::serve_metrics(listener, api).await;
}

async fn end(deployment: &Deployment, out: Output) {
    deployment.absorb().await;
    if let Err(cause) = deployment.keeper().sign().await {
        out.note(&format!("warrantor: no checkpoint could be signed: {cause}"));
    }
    warrantor_store::Store::close(&*deployment.store).await;
}

/// What a developer needs to begin.
#[derive(Serialize)]
struct Ready {
    /// The address of the control plane.
    url: String,
    /// The data directory.
    data: String,
    /// The bundle.
    bundle: String,
    /// Sessions to act with.
    sessions: Vec<DevSession>,
}

#[derive(Serialize)]
struct DevSession {
    person: String,
    roles: Vec<String>,
    token: String,
}

pub(crate) fn dev(args: &DevArgs, out: Output) -> anyhow::Result<Exit> {
    log();
    runtime()?.block_on(dev_world(args, out))
}

async fn dev_world(args: &DevArgs, out: Output) -> anyhow::Result<Exit> {
    let scratch = Scratch::new()?;
    let bundle_dir = match &args.bundle {
        Some(dir) => dir.clone(),
        None => {
            let dir = scratch.0.join("bundle");
            warrantor_demo::bundle::write(&dir).context("the example bundle cannot be written")?;
            dir
        }
    };
    let bundle = Arc::new(load(&bundle_dir)?);
    let data = scratch.0.join("data");
    let place = Place { data: Some(data.clone()), keys: None };
    let deployment = Arc::new(Deployment::open(&place, Some(&bundle)).await?);
    let mut listen = DEFAULT_LISTEN;
    listen.set_port(args.port);
    let listener = bind("--port", listen).await?;
    let api = api(&deployment, &bundle, administration(None)?, None, (None, None), Spans::default()).await?;
    let sessions = seed(api.office(), &bundle, &deployment).await?;
    let ready = Ready {
        url: format!("http://{}", listener.local_addr()?),
        data: data.display().to_string(),
        bundle: bundle_dir.display().to_string(),
        sessions,
    };
    let interrupted = interrupted()?;
    out.note("warrantor: NOT FOR PRODUCTION: an example world with open sessions, on this machine only, gone when it ends");
    out.answer(&ready, |table| {
        writeln!(table, "The control plane listens on {}", ready.url)?;
        writeln!(table, "Open {}/openapi.json, or ask as somebody:", ready.url)?;
        for session in &ready.sessions {
            let roles =
                if session.roles.is_empty() { "no role".to_owned() } else { session.roles.join(", ") };
            writeln!(table, "\n  # {} ({roles})", session.person)?;
            writeln!(table, "  curl -H 'Authorization: Bearer {}' {}/v1/me", session.token, ready.url)?;
        }
        writeln!(table, "\nCommands on this world take --data {}", ready.data)
    })?;
    let keeping = tokio::spawn(keep(Arc::clone(&deployment)));
    ApiServer::new(api, None).serve(listener, interrupted).await;
    keeping.abort();
    end(&deployment, out).await;
    Ok(Exit::Done)
}

/// Sessions for everybody of the bundle; the first is the administrator.
async fn seed(
    office: &Office<SqliteStore>,
    bundle: &Loaded,
    deployment: &Deployment,
) -> anyhow::Result<Vec<DevSession>> {
    let mut sessions = Vec::new();
    for person in bundle.snapshot.own_people() {
        let on = format!("person:{}", person.id);
        let authority = |act| Authority::of_the_host(act, on.clone(), &deployment.hand);
        let roles: Vec<String> =
            ROLES.iter().take(1).filter(|_| sessions.is_empty()).map(|role| (*role).to_owned()).collect();
        if !roles.is_empty() {
            let all = roles.iter().cloned().collect();
            office.give_roles(&authority(Act::ChangePerson), &person.id, all).await?;
        }
        let now = deployment.clock.now();
        let made =
            office.begin_session(&authority(Act::ReadPerson), &person.id, DEV_SESSION, Some(now)).await?;
        sessions.push(DevSession { person: person.id.to_string(), roles, token: made.token });
    }
    Ok(sessions)
}

/// A directory that goes away with the process.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0u8; 8];
        warrantor_model::Randomness::fill(&crate::system::SystemBytes::new(), &mut random)?;
        let path = std::env::temp_dir().join(format!("warrantor-dev-{}", hex::encode(random)));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
