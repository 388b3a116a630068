//! What commands that serve have in common: their log, their deployment's upkeep, their end, the secrets of upstreams.

use std::{ffi::OsString, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use warrantor_bundle::{EnvEntry, ServerSettings};
use warrantor_gateway::launch::{BASIC_VARIABLES, Launch};
use warrantor_model::Clock;

use super::secrets::Sources;
use crate::deployment::Deployment;

/// How often checkpoints are signed and stops recorded.
const TICK: Duration = Duration::from_secs(1);
/// How long the handshake, a list or a ping may take. Some servers install themselves first.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes of an upstream's message when the bundle says nothing.
const UPSTREAM_BYTES: usize = 32 << 20;

/// Logs go to standard error: standard output is the protocol's, or the answer's. What may be logged is decided where it is said: no arguments, results
/// or secrets.
pub(super) fn log() {
    let level = match std::env::var("WARRANTOR_LOG").as_deref() {
        Ok("debug") => tracing::Level::DEBUG,
        Ok("info") => tracing::Level::INFO,
        _ => tracing::Level::WARN,
    };
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_ansi(false);
    match std::env::var("WARRANTOR_LOG_FORMAT").as_deref() {
        // For programs that collect logs, and seldom know when a line was said.
        Ok("json") => lines.json().flatten_event(true).init(),
        _ => lines.without_time().init(),
    }
}

/// Ends when we are told to end. From this call on the signals are ours, so whoever is told that we serve can end us in order.
pub(super) fn interrupted() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Signs a checkpoint within a second of what it covers, and at least every minute, so that silence is provable.
pub(super) async fn keep(deployment: Arc<Deployment>) {
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

/// Most bytes of a server's message.
pub(super) fn upstream_bytes(settings: &ServerSettings) -> usize {
    settings.max_result_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(UPSTREAM_BYTES)
}

/// How a server is started: with an environment made for it. Files of secrets are named from the bundle's directory.
pub(super) fn launch(
    command: &[String],
    settings: &ServerSettings,
    sources: Sources<'_>,
) -> anyhow::Result<Launch> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let mut environment: Vec<(OsString, OsString)> = BASIC_VARIABLES
        .iter()
        .copied()
        .chain(settings.pass.iter().map(String::as_str))
        .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
        .collect();
    let mut secrets = Vec::new();
    for (name, entry) in &settings.env {
        let value = sources.value(entry, name)?;
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
        directory: settings.cwd.as_ref().map(|cwd| sources.base.join(cwd)),
        name: None,
    })
}
