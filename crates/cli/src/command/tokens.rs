//! The token service of `serve`: its keys, and what is done for it beside requests; and the commands about its keys.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde::Serialize;
use warrantor_api::Api;
use warrantor_bundle::serve::{Said, TokensConfig};
use warrantor_control::{
    office::OfficeError,
    tokens::{OVERLAP, TokenService, note_keys},
};
use warrantor_model::{AgentId, Clock, ServerName};
use warrantor_store_sql::SqliteStore;
use warrantor_tokens::SigningAlgorithm;

use crate::{
    args::TokenRotateArgs,
    deployment::Deployment,
    output::{Exit, Output},
};

/// How often the keys are read again, so that a rotation on the host reaches a service that runs.
const TICK: Duration = Duration::from_secs(60);
/// After how many ticks what cannot count any more is forgotten.
const FORGET_EVERY: u64 = 60;

/// The service as it is configured, with its keys; made now where there are none.
pub(super) fn service(deployment: &Deployment, config: TokensConfig) -> anyhow::Result<TokenService> {
    let now = deployment.clock.now();
    let keys = deployment
        .keys
        .tokens(&config.algorithms(), now, &*deployment.randomness)
        .context("the keys that tokens are signed with cannot be used")?;
    Ok(TokenService::new(config, keys))
}

/// What of the service's settings leads nowhere now. Agents may be registered later, so it is told and no fault.
pub(super) async fn leads_nowhere(api: &Api<SqliteStore>) -> Vec<String> {
    let Some(service) = api.tokens() else { return Vec::new() };
    let settings = service.settings();
    let mut agents: Vec<(String, &AgentId)> = Vec::new();
    let mut servers: Vec<(String, &ServerName)> = Vec::new();
    for application in &settings.applications {
        agents.push((format!("the application {}", application.client_id), &application.agent));
    }
    for domain in &settings.trust_domains {
        let listed = domain.agents.iter().flatten();
        agents.extend(listed.map(|agent| (format!("the trust domain {}", domain.name), agent)));
    }
    for domain in &settings.domains {
        let what = format!("the domain {}", domain.issuer);
        if let Some(accepts) = &domain.accepts {
            agents.extend(accepts.clients.iter().map(|agent| (what.clone(), agent)));
            if let Said::Parts { agent, server } = &accepts.said {
                agents.push((what.clone(), agent));
                servers.push((what.clone(), server));
            }
        }
        if let Some(gives) = &domain.gives {
            agents.extend(gives.clients.keys().map(|agent| (what.clone(), agent)));
            servers.push((what.clone(), &gives.server));
        }
    }
    let mut found = Vec::new();
    for (of, agent) in agents {
        if let Err(OfficeError::Unknown { .. }) = api.office().agent(agent).await {
            found.push(format!("{of} names the agent {agent}, which is not known here"));
        }
    }
    let snapshot = api.office().snapshot();
    for (of, server) in servers {
        if snapshot.manifest(server).is_none() {
            found.push(format!("{of} names the server {server}, of which the bundle has no manifest"));
        }
    }
    found.extend(api.unreadable_bundles().await);
    found
}

/// Tends the service as long as it is polled. What fails is tried again at the next tick: the keys that are known go on.
pub(super) async fn tend(api: Arc<Api<SqliteStore>>, deployment: Arc<Deployment>) {
    let mut ticks = 0u64;
    loop {
        tokio::time::sleep(TICK).await;
        let Some(service) = api.tokens() else { return };
        if let Err(cause) = rotate_when_due(service, &deployment).await {
            tracing::warn!(
                cause = format!("{cause:#}"),
                "the keys that tokens are signed with could not be tended"
            );
        }
        ticks = ticks.saturating_add(1);
        if ticks.is_multiple_of(FORGET_EVERY)
            && let Err(cause) = api.office().forget_tokens().await
        {
            tracing::warn!(%cause, "what tokens left behind could not be forgotten");
        }
    }
}

async fn rotate_when_due(service: &TokenService, deployment: &Deployment) -> anyhow::Result<()> {
    let (now, config) = (deployment.clock.now(), service.settings());
    let mut keys = deployment.keys.tokens(&config.algorithms(), now, &*deployment.randomness)?;
    for algorithm in config.algorithms() {
        let is_due = |from: warrantor_model::Timestamp| now >= from.plus(config.rotate_every);
        if keys.newest(algorithm).is_some_and(|newest| is_due(newest.from())) {
            keys =
                deployment.keys.rotate_tokens(algorithm, now.plus(OVERLAP), now, &*deployment.randomness)?;
            let id = keys.newest(algorithm).map(|key| key.signer().id().to_owned()).unwrap_or_default();
            tracing::info!(algorithm = algorithm.name(), key = id, "another key signs tokens in an hour");
            let said =
                format!("key {id} signs tokens with {} in an hour, beside those before it", algorithm.name());
            note_keys(&*deployment.store, "it was due", said, now, &*deployment.randomness).await?;
        }
    }
    service.go_on_with(keys);
    Ok(())
}

/// A key that was added.
#[derive(Serialize)]
struct Rotated {
    /// Its name in tokens (`kid`).
    key: String,
    algorithm: &'static str,
    /// From when on it signs.
    from: String,
}

/// `token rotate`.
pub(super) fn rotate(args: &TokenRotateArgs, out: Output) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(rotated(args, out))
}

async fn rotated(args: &TokenRotateArgs, out: Output) -> anyhow::Result<Exit> {
    let deployment = Deployment::open(&args.place, None).await?;
    let now = deployment.clock.now();
    let algorithm = SigningAlgorithm::named(&args.algorithm).context("the algorithm is EdDSA or ES256")?;
    let from = if args.at_once { now } else { now.plus(OVERLAP) };
    let keys = match args.at_once {
        true => deployment.keys.replace_tokens(algorithm, now, &*deployment.randomness)?,
        false => deployment.keys.rotate_tokens(algorithm, from, now, &*deployment.randomness)?,
    };
    let key = keys.newest(algorithm).context("the key was not kept")?;
    let evidence = &deployment.hand;
    let words = if args.at_once { "at once, in place of those before it" } else { "beside those before it" };
    let said =
        format!("key {} signs tokens with {} from {from} on, {words}", key.signer().id(), algorithm.name());
    note_keys(&*deployment.store, evidence, said, now, &*deployment.randomness).await?;
    let rotated =
        Rotated { key: key.signer().id().to_owned(), algorithm: algorithm.name(), from: from.to_string() };
    out.answer(&rotated, |table| {
        writeln!(table, "The key {} signs tokens from {} on", rotated.key, rotated.from)?;
        writeln!(table, "A service that runs knows it within a minute")?;
        match args.at_once {
            true => writeln!(table, "Whatever the keys before it have signed counts no more then"),
            false => Ok(()),
        }
    })?;
    warrantor_store::Store::close(&*deployment.store).await;
    Ok(Exit::Done)
}
