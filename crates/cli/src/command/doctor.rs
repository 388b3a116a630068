//! `doctor`: looks at everything a gateway needs, and says what is wrong with the cure. Nothing is changed.

use std::{
    net::{TcpListener, ToSocketAddrs},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use warrantor_bundle::{
    Loaded, Report,
    gateway::{GatewayConfig, Reached, gateway_place, load_gateway, load_gateway_beside},
};
use warrantor_edge::Remote;
use warrantor_gateway::HttpTarget;
use warrantor_model::{Clock, ServerName, Subject};
use warrantor_store::Store;

use super::{
    block_on,
    control::tls,
    manifest::ask_server,
    secrets::{self, Sources},
    serving::upstream_bytes,
};
use crate::{
    args::{DoctorArgs, Place},
    deployment::{Deployment, Paths},
    output::{Exit, Output, render},
    system::SystemBytes,
};

/// The least room on the data directory's volume that raises no warning: some 100,000 records.
const ROOM: u64 = 256 << 20;
/// How long a server may take to be reached.
const PATIENCE: Duration = Duration::from_secs(5);

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Ok,
    Warning,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    standing: Standing,
    says: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    cure: &'static str,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn add(
        &mut self,
        what: impl Into<String>,
        standing: Standing,
        says: impl Into<String>,
        cure: &'static str,
    ) {
        self.findings.push(Finding { what: what.into(), standing, says: says.into(), cure });
    }

    fn ok(&mut self, what: impl Into<String>, says: impl Into<String>) {
        self.add(what, Standing::Ok, says, "");
    }

    fn warn(&mut self, what: impl Into<String>, says: impl Into<String>, cure: &'static str) {
        self.add(what, Standing::Warning, says, cure);
    }

    fn wrong(&mut self, what: impl Into<String>, says: impl Into<String>, cure: &'static str) {
        self.add(what, Standing::Wrong, says, cure);
    }
}

pub(crate) fn run(args: &DoctorArgs, out: Output) -> anyhow::Result<Exit> {
    let mut found = Findings::default();
    let config = block_on(async {
        let config = match args.config.as_deref() {
            Some(file) => configuration(file, &mut found).await,
            None => None,
        };
        let of_config = config.as_ref().and_then(|config| config.place.data.clone());
        let place = Place { data: args.place.data.clone().or(of_config), ..args.place.clone() };
        // Where a control plane elsewhere decides there is none here.
        let place_of = args.config.as_deref().and_then(|file| gateway_place(file).ok());
        let elsewhere = place_of.is_some_and(|place| place.plane.is_some());
        if !elsewhere {
            data_directory(&place, &mut found).await;
        }
        Ok(config)
    })?;
    if let (Some(config), Some(file)) = (&config, &args.config) {
        let base = file.parent().unwrap_or(Path::new(""));
        listening(config, &mut found);
        tokens(config, &mut found);
        for (server, upstream) in &config.servers {
            reached(config, base, server, &upstream.reached, &mut found);
        }
    }
    let wrong = found.findings.iter().any(|finding| finding.standing == Standing::Wrong);
    out.answer(&found, |table| {
        for Finding { what, standing, says, cure } in &found.findings {
            let word = match standing {
                Standing::Ok => "ok     ",
                Standing::Warning => "warning",
                Standing::Wrong => "WRONG  ",
            };
            writeln!(table, "{word}  {what}: {says}")?;
            if !cure.is_empty() {
                writeln!(table, "         {cure}")?;
            }
        }
        Ok(())
    })?;
    Ok(if wrong { Exit::Wrong } else { Exit::Done })
}

/// The settings beside the bundle that decides: the directory's, or the one that the control plane gives.
async fn loaded(file: &Path, found: &mut Findings) -> Option<Result<GatewayConfig, Report>> {
    let place = match gateway_place(file) {
        Ok(place) => place,
        Err(report) => return Some(Err(report)),
    };
    let Some(plane) = &place.plane else { return Some(load_gateway(file)) };
    let base = file.parent().unwrap_or(Path::new(""));
    let reached = async {
        let settings = super::gateway::remote::plane(plane, &place, base)?;
        anyhow::Ok(
            Remote::reach(&settings, super::gateway::remote::edge_settings(), Arc::new(SystemBytes::new()))
                .await?,
        )
    };
    match reached.await {
        Ok((_, bundle)) => {
            found.ok(
                "control plane",
                format!("{} answers, and is believed; the bundle is {}", plane.url, bundle.revision),
            );
            Some(load_gateway_beside(file, bundle))
        }
        Err(cause) => {
            found.wrong(
                "control plane",
                format!("{}: {cause:#}", plane.url),
                "see its address, this point's token (`warrantor client add NAME --role enforcement-point`), and `keys` as `warrantor serve` tells them",
            );
            None
        }
    }
}

async fn configuration(file: &Path, found: &mut Findings) -> Option<GatewayConfig> {
    let what = file.display().to_string();
    match loaded(file, found).await? {
        Ok(config) => {
            let servers = config.servers.len();
            let Loaded { templates, warnings, .. } = &config.bundle;
            let sets = match config.sets.len() {
                0 => String::new(),
                sets => format!(", {sets} sets of tools"),
            };
            found.ok(&what, format!("{servers} servers{sets}, {} mandates", templates.len()));
            if let (Some(point), None) = (&config.place.point, &config.place.plane) {
                let says = format!("{point} follows publications; this looks at the directory's bundle only");
                found.warn(&what, says, "`warrantor bundle history` shows what is published");
            }
            for warning in config.warnings.iter().chain(warnings) {
                found.warn(warning.place(), warning.to_string(), "");
            }
            Some(config)
        }
        Err(report) => {
            let told: Report = report;
            found.wrong(what, render(&told), "correct the file; `warrantor check` looks at bundles alone");
            None
        }
    }
}

async fn data_directory(place: &Place, found: &mut Findings) {
    let paths = match Paths::of(place) {
        Ok(paths) => paths,
        Err(cause) => return found.wrong("data directory", format!("{cause:#}"), "give --data DIR"),
    };
    let what = paths.data.display().to_string();
    let Ok(metadata) = std::fs::metadata(&paths.data) else {
        return found.warn(what, "it is not there yet", "the first `run` or `gateway` makes it");
    };
    if metadata.mode() & 0o077 != 0 {
        found.wrong(&what, "others of this machine may read it", "chmod 700 it");
    }
    match rustix::fs::statvfs(&paths.data) {
        Ok(volume) if volume.f_bavail.saturating_mul(volume.f_frsize) < ROOM => {
            let left = volume.f_bavail.saturating_mul(volume.f_frsize) >> 20;
            found.wrong(
                &what,
                format!("{left} MiB are left on its volume"),
                "make room: without, nothing passes",
            );
        }
        Ok(_) => {}
        Err(cause) => found.warn(&what, format!("its volume cannot be asked for room: {cause}"), ""),
    }
    if std::fs::metadata(&paths.keys).is_ok_and(|keys| keys.dev() == metadata.dev()) {
        let cure = "put the keys elsewhere (--keys), so that a copy of the database is no copy of its keys";
        found.warn(paths.keys.display().to_string(), "the keys are on the volume of what they seal", cure);
    }
    if !paths.database().exists() {
        return found.warn(what, "there is no ledger in it yet", "the first `run` or `gateway` makes it");
    }
    match Deployment::existing(place).await {
        Ok(deployment) => ledger(&deployment, &what, found).await,
        Err(cause) => found.wrong(what, format!("{cause:#}"), "see docs/operate/run.md"),
    }
}

async fn ledger(deployment: &Deployment, what: &str, found: &mut Findings) {
    let head = match deployment.store.head().await {
        Ok(head) => head,
        Err(cause) => return found.wrong(what, cause.to_string(), "see docs/operate/run.md"),
    };
    let signed = deployment.store.last_checkpoint().await.ok().flatten().map_or(0, |signed| signed.size);
    found.ok(what, format!("{} records, {signed} of them signed; durability settings hold", head.size));
    let now = deployment.clock.now();
    if head.last_at.is_some_and(|last| now < last) {
        let cure = "set the clock, or confirm it with `warrantor audit confirm-clock`";
        found.wrong("clock", format!("it stands at {now}, before the last record"), cure);
    }
    match deployment.stop.read() {
        Ok(stops) if stops.iter().any(|stop| stop.subject == Subject::Deployment) => {
            found.warn(
                "stop file",
                "a lockdown is in force: nothing passes",
                "lift it with `warrantor lockdown --lift`",
            );
        }
        Ok(stops) => found.ok("stop file", format!("it reads; {} stops are in force", stops.len())),
        Err(cause) => found.wrong("stop file", cause.to_string(), "see docs/operate/run.md"),
    }
    deployment.store.close().await;
}

fn listening(config: &GatewayConfig, found: &mut Findings) {
    for (what, address) in [("listen", Some(config.listen)), ("metrics", config.metrics)] {
        let Some(address) = address else { continue };
        match TcpListener::bind(address) {
            Ok(_) => found.ok(what, format!("{address} is free")),
            Err(cause) => {
                let cure = "if that is not the gateway itself, choose another address";
                found.warn(what, format!("{address} cannot be listened on now: {cause}"), cure);
            }
        }
    }
    if let Some((certificate, key)) = &config.tls {
        match tls(certificate, key) {
            Ok(_) => found.ok("tls", "certificate and key fit each other"),
            Err(cause) => found.wrong("tls", format!("{cause:#}"), "give the chain and its key as PEM"),
        }
    }
    let most = getrlimit(Resource::Nofile).maximum;
    let needed = u64::try_from(config.limits.connections).unwrap_or(u64::MAX).saturating_mul(2);
    if most.is_some_and(|most| most < needed) {
        let says = format!("{} files may be open, and {needed} may be needed", most.unwrap_or_default());
        found.warn("open files", says, "raise the limit (ulimit -Hn), or lower `connections`");
    }
}

fn tokens(config: &GatewayConfig, found: &mut Findings) {
    let now = crate::system::SystemClock.now();
    if config.tokens.is_empty() && config.oauth.is_none() {
        found.warn("tokens", "nobody may call", "make one with `warrantor token add`");
    }
    for token in config.tokens.values() {
        if token.expires_at.is_some_and(|until| until <= now) {
            found.warn(
                format!("token {}", token.name),
                "it has expired",
                "make another and take this one out",
            );
        }
    }
}

/// Whether a server is there, and is what was reviewed.
fn reached(config: &GatewayConfig, base: &Path, server: &ServerName, how: &Reached, found: &mut Findings) {
    let what = format!("server {server}");
    match how {
        Reached::Http { url, headers } => {
            let settings = config.bundle.config.servers.get(server).cloned().unwrap_or_default();
            let sealed = match config.secrets.as_ref().map(secrets::open).transpose() {
                Ok(sealed) => sealed,
                Err(cause) => return found.wrong("secrets", format!("{cause:#}"), "say where the key is"),
            };
            let sources = Sources { base, sealed: sealed.as_ref() };
            let given = headers.iter().map(|(name, entry)| Ok((name.clone(), sources.value(entry, name)?)));
            let given = match given.collect::<anyhow::Result<Vec<_>>>() {
                Ok(given) => given,
                Err(cause) => return found.wrong(what, format!("{cause:#}"), "set what it is taken from"),
            };
            if let Err(cause) = HttpTarget::new(url, &given, upstream_bytes(&settings)) {
                return found.wrong(what, cause.to_string(), "correct its URL or headers");
            }
            match connects(url) {
                Ok(()) => found.ok(what, format!("{url} takes connections")),
                Err(cause) => found.wrong(
                    what,
                    format!("{url} is not reached: {cause}"),
                    "start it, or correct its URL",
                ),
            }
        }
        Reached::Stdio { command, .. } => match block_on(ask_server(command)) {
            Err(cause) => found.wrong(what, format!("{cause:#}"), "try its command line by hand"),
            Ok((answer, instructions)) => {
                let pinned = warrantor_bundle::draft(server, &answer, instructions.as_deref(), None);
                match pinned.map(|draft| config.bundle.pins(server, draft.digest)) {
                    Ok(true) => found.ok(what, "it starts, and is as it was reviewed"),
                    Ok(false) => {
                        let cure = "see what differs with `warrantor manifest draft`; what was changed is not listed and not called";
                        found.warn(what, "it starts, and offers something else than was reviewed", cure);
                    }
                    Err(report) => found.wrong(what, render(&report), "what it lists cannot be read"),
                }
            }
        },
    }
}

fn connects(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let port = if scheme == "https" { ":443" } else { ":80" };
    let has_port =
        authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let authority = if has_port { authority.to_owned() } else { format!("{authority}{port}") };
    let mut addresses = authority.to_socket_addrs().map_err(|cause| cause.to_string())?;
    let address = addresses.next().ok_or("its name leads nowhere")?;
    std::net::TcpStream::connect_timeout(&address, PATIENCE).map(drop).map_err(|cause| cause.to_string())
}
