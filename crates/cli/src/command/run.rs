//! `run`: a stdio MCP server that stands before another.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path, process, sync::Arc};

use anyhow::{Context, bail};
use tokio::io::DuplexStream;
use warrantor_bundle::{Loaded, ServerSettings, launch_digest, load};
use warrantor_control::handover::{Desk, Handed};
use warrantor_decide::Presence;
use warrantor_engine::{Engine, EngineParts, Settings};
use warrantor_gateway::{Asking, Ended, Session, SessionSettings, TraceWriter};
use warrantor_mcp::message::FrameLimits;
use warrantor_store_sql::SqliteStore;

use super::secrets::Sources;
use super::serving::{REQUEST_TIMEOUT, interrupted, keep, launch, log, upstream_bytes};
use crate::{
    args::RunArgs,
    deployment::Deployment,
    output::{Exit, Output, Usage},
    system::local_user,
};

/// Bytes between standard input and the session.
const PIPE_BYTES: usize = 64 << 10;
pub(crate) fn run(args: RunArgs, out: Output) -> anyhow::Result<Exit> {
    log();
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
    let launch = launch(&args.command, &settings, Sources::at(&args.bundle))?;
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
    let presence = Presence { server: args.server.clone(), evidence: local_user() };
    // What is quarantined is not started.
    if let Err(why) = engine.stands(&handed.mandate, &presence).await
        && why.code == warrantor_model::ReasonCode::ToolNotAvailable
    {
        anyhow::bail!("{}: nothing is started", why.detail);
    }
    let deployment = Arc::new(deployment);
    let keeping = tokio::spawn(keep(Arc::clone(&deployment)));
    let client = client_until(interrupted()?);
    let (running, upstream_in, upstream_out) =
        launch.start().with_context(|| format!("{} cannot be started", args.command.join(" ")))?;
    let trace = args.trace.as_deref().map(|path| trace(path, &deployment, &handed)).transpose()?;
    let session = session(&args, &settings, engine.clone(), &handed, trace);
    let ended = session.serve(client, tokio::io::stdout(), upstream_in, upstream_out).await;
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
fn client_until(interrupted: impl Future<Output = ()> + Send + 'static) -> DuplexStream {
    let (client, mut feed) = tokio::io::duplex(PIPE_BYTES);
    tokio::spawn(async move {
        let mut input = tokio::io::stdin();
        tokio::select! {
            _ = tokio::io::copy(&mut input, &mut feed) => {}
            () = interrupted => {}
        }
    });
    client
}

fn session(
    args: &RunArgs,
    settings: &ServerSettings,
    engine: Engine<SqliteStore>,
    handed: &Handed,
    trace: Option<Arc<TraceWriter>>,
) -> Session<Engine<SqliteStore>> {
    Session::new(
        engine,
        SessionSettings {
            mandate: handed.mandate.clone(),
            server: args.server.clone(),
            evidence: local_user().into(),
            call_timeout: settings.timeout,
            request_timeout: REQUEST_TIMEOUT,
            client_limits: FrameLimits::default(),
            upstream_limits: FrameLimits::default().with_bytes(upstream_bytes(settings)),
            asking: Asking { page: None, hold: args.hold.unwrap_or_default() },
            trace,
        },
    )
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
