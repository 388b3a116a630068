//! `run`: a stdio MCP server that stands before another.

use std::{ffi::OsString, fs, os::unix::fs::OpenOptionsExt, path::Path, process, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::DuplexStream,
    signal::unix::{SignalKind, signal},
};
use warrantor_bundle::{EnvEntry, Loaded, ServerSettings, launch_digest, load};
use warrantor_control::handover::{Desk, Handed};
use warrantor_engine::{Engine, EngineParts, Settings};
use warrantor_gateway::{
    Ended, Session, SessionSettings, TraceWriter,
    launch::{BASIC_VARIABLES, Launch},
};
use warrantor_mcp::message::FrameLimits;
use warrantor_model::Clock;
use warrantor_store_sql::SqliteStore;

use crate::{
    args::RunArgs,
    deployment::Deployment,
    output::{Exit, Output, Usage},
    system::local_user,
};

/// How often checkpoints are signed and stops recorded.
const TICK: Duration = Duration::from_secs(1);
/// How long the handshake, a list or a ping may take. Some servers install themselves first.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes between standard input and the session.
const PIPE_BYTES: usize = 64 << 10;
/// Most bytes of an upstream's message when the bundle says nothing.
const UPSTREAM_BYTES: usize = 32 << 20;

pub(crate) fn run(args: RunArgs, out: Output) -> anyhow::Result<Exit> {
    // Logs go to standard error: standard output is the protocol's.
    let level = match std::env::var("WARRANTOR_LOG").as_deref() {
        Ok("debug") => tracing::Level::DEBUG,
        Ok("info") => tracing::Level::INFO,
        _ => tracing::Level::WARN,
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level)
        .with_ansi(false)
        .without_time()
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(serve(args, out))
}

async fn serve(args: RunArgs, out: Output) -> anyhow::Result<Exit> {
    let bundle = load(&args.bundle)?;
    pinned_launch(&args, &bundle)?;
    let settings = bundle.config.servers.get(&args.server).cloned().unwrap_or_default();
    if settings.observe {
        out.note(&format!(
            "warrantor: OBSERVE MODE for {}: calls outside the mandate are recorded and let through, but for those that pay, destroy, share, execute or touch credentials",
            args.server
        ));
    }
    let launch = launch(&args, &settings)?;
    let deployment = Deployment::open(&args.place, Some(&bundle)).await?;
    deployment.absorb().await;
    // On a database that was rolled back the limits would count anew; until a person has said what happened to it, nothing is permitted on it.
    deployment.keeper().sign().await.context("nothing is permitted on a ledger that cannot be signed")?;
    let handed = mandate(&args, &deployment, &bundle).await?;
    if handed.file_differs {
        out.note(&format!(
            "warrantor: mandate {} keeps the terms it was handed over with; the file says something else by now. To hand over anew: warrantor mandate handover {} --bundle {}",
            handed.mandate,
            args.mandate,
            args.bundle.display()
        ));
    }
    tracing::info!(mandate = %handed.mandate, task = %handed.task, until = %handed.expires_at, new = handed.new, "mandate");
    let engine = Engine::new(EngineParts {
        store: Arc::clone(&deployment.store),
        snapshot: bundle.snapshot,
        stop: Arc::clone(&deployment.stop),
        seal: deployment.keys.seal()?,
        clock: Arc::clone(&deployment.clock) as _,
        randomness: Arc::clone(&deployment.randomness) as _,
        settings: Settings::named("run"),
    });
    let deployment = Arc::new(deployment);
    let keeping = tokio::spawn(keep(Arc::clone(&deployment)));
    let (running, upstream_in, upstream_out) =
        launch.start().with_context(|| format!("{} cannot be started", args.command.join(" ")))?;
    let trace = args.trace.as_deref().map(|path| trace(path, &deployment, &handed)).transpose()?;
    let session = session(&args, &settings, engine.clone(), &handed, trace);
    let ended =
        session.serve(client_until_interrupted(), tokio::io::stdout(), upstream_in, upstream_out).await;
    engine.settle().await;
    if let Some((records, cause)) = engine.unrecorded() {
        out.note(&format!(
            "warrantor: {records} records of refusals and outcomes could not be written and are lost: {cause}"
        ));
    }
    let status = running.end().await;
    keeping.abort();
    // A stop that came while the log failed is recorded now, and not only when the next process starts.
    deployment.absorb().await;
    let signed = deployment.keeper().sign().await;
    warrantor_store::Store::close(&*deployment.store).await;
    if let Err(cause) = signed {
        out.note(&format!("warrantor: no checkpoint could be signed: {cause}"));
    }
    // The runtime would wait for a read of standard input that may never return.
    let exit = match ended {
        Ended::ByClient => 0,
        Ended::ByUpstream => {
            let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
            out.note(&format!("warrantor: the tool server ended{status}"));
            1
        }
    };
    process::exit(exit)
}

/// The file that the session is written down in, for this process alone: lines of two sessions must not mix.
fn trace(path: &Path, deployment: &Deployment, handed: &Handed) -> anyhow::Result<Arc<TraceWriter>> {
    let wrong = || format!("the trace {} cannot be written", path.display());
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).with_context(wrong)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another process writes the trace {}: give each its own", path.display()))?;
    let clock = Arc::clone(&deployment.clock) as _;
    let writer =
        TraceWriter::begin(Box::new(file), clock, &handed.task, &handed.template).with_context(wrong)?;
    Ok(Arc::new(writer))
}

/// Standard input, which ends when we are told to end: so calls under way get their outcomes either way.
fn client_until_interrupted() -> DuplexStream {
    let (client, mut feed) = tokio::io::duplex(PIPE_BYTES);
    tokio::spawn(async move {
        let mut input = tokio::io::stdin();
        tokio::select! {
            _ = tokio::io::copy(&mut input, &mut feed) => {}
            () = interrupted() => {}
        }
    });
    client
}

async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn session(
    args: &RunArgs,
    settings: &ServerSettings,
    engine: Engine<SqliteStore>,
    handed: &Handed,
    trace: Option<Arc<TraceWriter>>,
) -> Session<SqliteStore> {
    let bytes =
        settings.max_result_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(UPSTREAM_BYTES);
    Session::new(
        engine,
        SessionSettings {
            mandate: handed.mandate.clone(),
            server: args.server.clone(),
            evidence: local_user(),
            call_timeout: settings.timeout,
            request_timeout: REQUEST_TIMEOUT,
            client_limits: FrameLimits::default(),
            upstream_limits: FrameLimits::default().with_bytes(bytes),
            trace,
        },
    )
}

/// Signs a checkpoint within a second of what it covers, and at least every minute, so that silence is provable.
async fn keep(deployment: Arc<Deployment>) {
    let keeper = deployment.keeper();
    let mut said = String::new();
    loop {
        tokio::time::sleep(TICK).await;
        deployment.absorb().await;
        let kept = async {
            keeper.note_quiet(deployment.clock.now()).await?;
            keeper.sign().await
        };
        match kept.await {
            Ok(_) => said.clear(),
            Err(cause) => {
                let text = cause.to_string();
                if text != said {
                    tracing::warn!(%cause, "no checkpoint could be signed");
                    said = text;
                }
            }
        }
    }
}

async fn mandate(args: &RunArgs, deployment: &Deployment, bundle: &Loaded) -> anyhow::Result<Handed> {
    let seal = deployment.keys.seal()?;
    let desk = Desk {
        store: Arc::clone(&deployment.store),
        stop: &deployment.stop,
        bundle,
        seal: &seal,
        clock: &*deployment.clock,
        randomness: &*deployment.randomness,
        evidence: deployment.hand.clone(),
    };
    desk.note_bundle().await?;
    Ok(match &args.task {
        Some(task) => desk.resume_task(&args.mandate, task).await?,
        None => desk.resume_or_begin(&args.mandate).await?,
    })
}

/// A pinned command line must be the one given.
fn pinned_launch(args: &RunArgs, bundle: &Loaded) -> anyhow::Result<()> {
    let Some(manifest) = bundle.snapshot.manifest(&args.server) else {
        let known: Vec<String> = bundle.snapshot.servers().map(ToString::to_string).collect();
        return Err(Usage(format!(
            "the bundle has no manifest for the server {}; it has: {}",
            args.server,
            known.join(", ")
        ))
        .into());
    };
    let present = launch_digest(&args.command);
    match manifest.launch {
        Some(pinned) if pinned != present => bail!(
            "the command line is not the one pinned for {}: if it was reviewed, write `launch: {present}` in its manifest",
            args.server
        ),
        _ => Ok(()),
    }
}

fn launch(args: &RunArgs, settings: &ServerSettings) -> anyhow::Result<Launch> {
    let (program, arguments) = args.command.split_first().context("no command was given")?;
    let mut environment: Vec<(OsString, OsString)> = BASIC_VARIABLES
        .iter()
        .copied()
        .chain(settings.pass.iter().map(String::as_str))
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
        .collect();
    let mut secrets = Vec::new();
    for (name, entry) in &settings.env {
        let value = match entry {
            EnvEntry::Literal(text) => text.clone(),
            EnvEntry::File(file) => secret_file(&args.bundle, file)?,
            EnvEntry::Env(variable) => std::env::var(variable).with_context(|| {
                format!(
                    "warrantor.toml takes {name} from the environment variable {variable}, which is not set"
                )
            })?,
        };
        if !matches!(entry, EnvEntry::Literal(_)) {
            secrets.push(value.clone());
        }
        environment.retain(|(known, _)| known != name.as_str());
        environment.push((name.into(), value.into()));
    }
    Ok(Launch {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment,
        secrets,
        directory: settings.cwd.as_ref().map(|cwd| args.bundle.join(cwd)),
    })
}

fn secret_file(bundle: &Path, file: &str) -> anyhow::Result<String> {
    let path = bundle.join(file);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("the secret file {} cannot be read", path.display()))?;
    Ok(text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text))
        .to_owned())
}
