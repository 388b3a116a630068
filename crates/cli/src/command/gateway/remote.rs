//! A gateway whose calls are decided by a control plane elsewhere.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use warrantor_bundle::{
    Loaded,
    gateway::{PlaneConfig, ServingPlace, gateway_place, load_gateway_beside},
    load_files,
};
use warrantor_edge::{PlaneSettings, Remote, Settings};
use warrantor_gateway::http::{Handle, Mandates};
use warrantor_ledger::VerifierKey;
use warrantor_model::{Digest, MandateId, TemplateId, Timestamp};
use zeroize::Zeroizing;

use super::{Face, base_of, serving, tell_fault, tell_taken, told, warn_of_address};
use crate::{
    args::GatewayArgs,
    command::secrets::Sources,
    output::{Exit, Output, Usage},
    system::{SystemBytes, SystemClock, uptime},
};

/// Most bytes of a result where a control plane elsewhere takes it in.
pub(super) const MAX_RESULT: usize = 4 << 20;
/// How often it is asked whether another bundle holds here.
const LOOK: Duration = Duration::from_secs(1);
/// How long it is waited before one that does not fit is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// How the control plane of a configuration is reached.
pub(in crate::command) fn plane(
    config: &PlaneConfig,
    place: &ServingPlace,
    base: &std::path::Path,
) -> anyhow::Result<PlaneSettings> {
    let keys = config.keys.iter().map(|key| {
        key.parse::<VerifierKey>()
            .map_err(|cause| Usage(format!("{key:?} is no key of a control plane: {cause}")).into())
    });
    Ok(PlaneSettings {
        url: config.url.clone(),
        token: Zeroizing::new(Sources::at(base).value(&config.token, "plane.token")?),
        point: place.point.clone().context("a gateway with [plane] has a `point`")?,
        keys: keys.collect::<anyhow::Result<_>>()?,
        certificates: config.certificates.clone(),
    })
}

/// The point's own settings.
pub(in crate::command) fn edge_settings() -> Settings {
    Settings::new(uptime, Arc::new(SystemClock))
}

pub(super) async fn serve(
    args: &GatewayArgs,
    place: &ServingPlace,
    config: PlaneConfig,
    out: Output,
) -> anyhow::Result<Exit> {
    if args.place.data.is_some() {
        return Err(Usage(
            "a control plane elsewhere decides: this gateway has no data directory".to_owned(),
        )
        .into());
    }
    let base = base_of(&args.config);
    let settings = plane(&config, place, &base)?;
    let (remote, bundle) = Remote::reach(&settings, edge_settings(), Arc::new(SystemBytes::new())).await?;
    let taken = Taken { revision: bundle.revision, files: bundle.archive.clone() };
    let config = load_gateway_beside(&args.config, bundle)?;
    let face = Face::bind(&config, &base).await?;
    let serving = serving(config, &base, |_| Elsewhere(remote.clone()))?;
    let following =
        Follow { file: args.config.clone(), base, listen: face.listen, remote: remote.clone(), out };
    let hangups = signal(SignalKind::hangup())?;
    let reloading = |handle| tokio::spawn(following.follow(handle, taken, hangups));
    face.serve(remote, serving, Arc::new(SystemClock), reloading, out).await?;
    Ok(Exit::Done)
}

/// The bundle that is decided on here, to be taken again with other settings.
struct Taken {
    revision: Digest,
    files: Vec<(String, Vec<u8>)>,
}

/// Takes what the control plane publishes for this point, and the settings anew at a hangup. What is at fault changes nothing.
struct Follow {
    file: PathBuf,
    base: PathBuf,
    listen: std::net::SocketAddr,
    remote: Remote,
    out: Output,
}

impl Follow {
    async fn follow(self, gateway: Handle<Remote, Elsewhere>, mut taken: Taken, mut hangups: Signal) {
        let mut fault: Option<String> = None;
        loop {
            // With one that does not fit, each refused call says that another holds: that is known.
            let next = async {
                match fault {
                    Some(_) => tokio::time::sleep(TRY_AGAIN).await,
                    None => self.remote.moved(LOOK).await,
                }
            };
            let is_hangup = tokio::select! {
                came = hangups.recv() => match came {
                    Some(()) => true,
                    None => return,
                },
                () = next => false,
            };
            match self.now(&gateway, &taken, is_hangup).await {
                Ok(Some(new)) => {
                    tell_taken(new.revision, self.out);
                    taken = new;
                    fault = None;
                }
                Ok(None) => fault = None,
                Err(cause) => {
                    let told = told(&cause);
                    if is_hangup || fault.as_ref() != Some(&told) {
                        tell_fault(&told, self.out);
                        gateway.not_replaced();
                    }
                    fault = Some(told);
                }
            }
        }
    }

    async fn now(
        &self,
        gateway: &Handle<Remote, Elsewhere>,
        taken: &Taken,
        is_hangup: bool,
    ) -> anyhow::Result<Option<Taken>> {
        if is_hangup {
            let place = gateway_place(&self.file)?;
            let config = place.plane.as_ref().context(
                "a gateway with [plane] stays one until its next start: take `bundle` out and put [plane] back",
            )?;
            self.remote.reach_by(&plane(config, &place, &self.base)?)?;
        }
        let newer: Option<Loaded> = match self.remote.newer(taken.revision).await {
            Ok(newer) => newer,
            // That it does not answer is told where calls are refused for it; the settings may be read all the same.
            Err(_) if !is_hangup => return Ok(None),
            Err(cause) => return Err(cause.into()),
        };
        let bundle = match newer {
            Some(newer) => newer,
            None if is_hangup => load_files(taken.files.clone())?,
            None => return Ok(None),
        };
        let new = Taken { revision: bundle.revision, files: bundle.archive.clone() };
        let config = load_gateway_beside(&self.file, bundle)?;
        warn_of_address(config.listen, self.listen);
        let snapshot = Arc::clone(&config.bundle.snapshot);
        let serving = serving(config, &self.base, |_| Elsewhere(self.remote.clone()))?;
        gateway.replace(serving, snapshot);
        Ok(Some(new))
    }
}

/// Mandates are handed over elsewhere; here they are named.
struct Elsewhere(Remote);

impl Mandates for Elsewhere {
    async fn resolve(&self, name: &TemplateId) -> Result<(MandateId, Timestamp), String> {
        let mandate = MandateId::new(name.as_str()).ok().filter(|_| MandateId::is_like(name.as_str()));
        let mandate = mandate.ok_or_else(|| {
            format!("{name} is no mandate that was handed over: hand it over at the control plane")
        })?;
        let (_, expires_at) = self.0.mandate(&mandate).await?;
        Ok((mandate, expires_at))
    }
}
