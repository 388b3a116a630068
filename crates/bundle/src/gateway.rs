//! The settings of a gateway, from `gateway.toml` and its file of tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;
use warrantor_model::{
    AgentId, Digest, EnforcementPoint, MandateId, ServerName, TemplateId, Timestamp, json::MAX_BYTES,
    time::parse_duration,
};

use crate::{
    Loaded,
    archive::MAX_FILE_BYTES,
    config::{EnvEntry, check_environment, looks_secret},
    doc::{Doc, Format, whole},
    files::gateway::{GatewayFile, LimitsEntry, TokenEntry, TokensFile, TracesEntry, UpstreamEntry},
    load,
    read::split_cure,
    report::{Diagnostic, Report, Severity},
    tree::short,
};

mod asking;
mod credentials;
mod sets;

pub use asking::AskingConfig;
pub use credentials::{ForeignIssuer, KeySource, OAuthConfig, SecretsConfig};
pub use sets::ToolSet;

/// Where a gateway listens when nothing is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420);
/// Paths that the gateway answers itself.
const OWN_PATHS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// What the gateway answers itself begins with.
const OWN_PREFIX: &str = "/.well-known";

/// Everything a gateway is configured with.
#[derive(Debug)]
pub struct GatewayConfig {
    /// The bundle.
    pub bundle: Loaded,
    /// Where it was loaded from.
    pub bundle_dir: PathBuf,
    /// Where it serves.
    pub place: ServingPlace,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where metrics are told.
    pub metrics: Option<SocketAddr>,
    /// Where spans go.
    pub traces: Option<TracesSettings>,
    /// Names of the header `Host` that are answered to, in lower case, without ports.
    pub hosts: BTreeSet<String>,
    /// Origins of web pages that may call.
    pub origins: BTreeSet<String>,
    /// Files of certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Bounds.
    pub limits: GatewayLimits,
    /// What stands behind it.
    pub servers: BTreeMap<ServerName, UpstreamSettings>,
    /// Sets of tools from several of them.
    pub sets: BTreeMap<ServerName, ToolSet>,
    /// Who may call, by the token's digest.
    pub tokens: BTreeMap<Digest, Token>,
    /// Whose access tokens count.
    pub oauth: Option<OAuthConfig>,
    /// How persons are asked.
    pub asking: AskingConfig,
    /// Where sealed secrets are.
    pub secrets: Option<SecretsConfig>,
    /// What its author should know.
    pub warnings: Vec<Diagnostic>,
}

/// A collector of spans.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesSettings {
    /// Where it takes OTLP over HTTP.
    pub endpoint: String,
    /// What goes with everything that is sent to it.
    pub headers: BTreeMap<String, EnvEntry>,
    /// Which part of the requests that belong to no trace yet is traced, from 0 to 1.
    pub ratio: f64,
}

/// Bounds of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Most connections.
    pub connections: usize,
    /// Most sessions.
    pub sessions: usize,
    /// Most requests under way of one token.
    pub requests: usize,
    /// Most requests a second of one token.
    pub requests_per_second: u32,
    /// Most bytes of a request.
    pub request_bytes: usize,
    /// How long a request may take to arrive.
    pub receive: Duration,
    /// How long a session may be idle.
    pub idle: Duration,
}

/// A tool server of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// The path of the virtual server.
    pub path: String,
    /// How it is reached.
    pub reached: Reached,
}

/// How a tool server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Over HTTP.
    Http {
        /// Its endpoint.
        url: String,
        /// What goes with every request.
        headers: BTreeMap<String, EnvEntry>,
    },
    /// As a process.
    Stdio {
        /// The command line.
        command: Vec<String>,
        /// What this machine gives to the program.
        host: HostSettings,
    },
}

/// What a machine gives to a program that it starts, beside what the bundle says and in place of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostSettings {
    /// Environment variables.
    pub env: BTreeMap<String, EnvEntry>,
    /// Environment variables that are passed through.
    pub pass: Vec<String>,
    /// The directory it runs in.
    pub cwd: Option<PathBuf>,
}

/// A bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, for records and logs.
    pub name: String,
    /// Who calls with it.
    pub agent: AgentId,
    /// The mandates that it may run.
    pub mandates: Vec<TemplateId>,
    /// Whether it may run every mandate that was handed over to its agent.
    pub handed_over: bool,
    /// The servers and sets it reaches.
    pub servers: BTreeSet<ServerName>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// Loads a gateway's settings, its tokens and its bundle.
///
/// # Errors
/// Everything that is wrong with any of them; nothing is loaded then.
pub fn load_gateway(file: &Path) -> Result<GatewayConfig, Report> {
    loaded(file, None)
}

/// Loads a gateway's settings and its tokens beside a bundle that decides in place of the directory's.
///
/// # Errors
/// Everything that is wrong with any of them, also where the settings name what this bundle does not have.
pub fn load_gateway_beside(file: &Path, published: Loaded) -> Result<GatewayConfig, Report> {
    loaded(file, Some(published))
}

/// What of a gateway's settings has to be known before its bundle is.
///
/// # Errors
/// What is wrong with the file itself.
pub fn gateway_place(file: &Path) -> Result<ServingPlace, Report> {
    let mut report = Report::default();
    let read: Option<(Doc, GatewayFile)> = read(file, &mut report);
    let plane = read.as_ref().and_then(|(doc, config)| plane(doc, config, file, &mut report));
    let place = place(file, read.map(|(doc, config)| (doc, config.point, config.data)), report)?;
    Ok(ServingPlace { plane, ..place })
}

/// A control plane elsewhere decides in place of everything that would decide here.
fn plane(doc: &Doc, config: &GatewayFile, file: &Path, report: &mut Report) -> Option<PlaneConfig> {
    let Some(entry) = &config.plane else {
        if config.bundle.is_none() {
            doc.error::<&str>(
                report,
                &[],
                "there is no bundle",
                "write `bundle = \"DIR\"`, or `[plane]` for a control plane elsewhere",
            );
        }
        return None;
    };
    for (name, is_there) in [("bundle", config.bundle.is_some()), ("data", config.data.is_some())] {
        if is_there {
            let message = format!("the control plane in [plane] decides, so `{name}` means nothing");
            doc.error_at_key(report, &[name], message, "take one of the two out");
        }
    }
    if config.point.is_none() {
        let message = "a gateway with [plane] has to say which enforcement point it is";
        doc.error_at_key(report, &["plane"], message, "write `point = \"NAME\"`: the name of its client");
    }
    if matches!(entry.token, EnvEntry::Literal(_)) {
        let message = "the credential stands in the file for everyone to read";
        doc.warn(report, &["plane", "token"], message, "write { file = \"…\" } or { env = \"…\" }");
    }
    let base = file.parent().unwrap_or(Path::new(""));
    Some(PlaneConfig {
        url: entry.url.clone(),
        token: entry.token.clone(),
        keys: entry.keys.clone(),
        certificates: entry.certificates.as_ref().map(|file| base.join(file)),
    })
}

/// Where something serves, and by whose publications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingPlace {
    /// Its name, when it follows what is published for it.
    pub point: Option<EnforcementPoint>,
    /// The data directory, when the file names one.
    pub data: Option<PathBuf>,
    /// The control plane elsewhere that decides, if one does.
    pub plane: Option<PlaneConfig>,
}

/// A control plane elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneConfig {
    /// Its address.
    pub url: String,
    /// The token of the client that the gateway is to it.
    pub token: EnvEntry,
    /// The keys whose answers are believed.
    pub keys: Vec<String>,
    /// A file of certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
}

pub(crate) fn place(
    file: &Path,
    read: Option<(Doc, Option<String>, Option<String>)>,
    mut report: Report,
) -> Result<ServingPlace, Report> {
    let Some((doc, name, data)) = read else { return Err(report) };
    let point = point(&doc, name.as_deref(), &mut report);
    let data = data.map(|data| file.parent().unwrap_or(Path::new("")).join(data));
    if report.is_passed() { Ok(ServingPlace { point, data, plane: None }) } else { Err(report) }
}

fn loaded(file: &Path, published: Option<Loaded>) -> Result<GatewayConfig, Report> {
    let mut report = Report::default();
    let config = load_into(file, published, &mut report);
    report.sort();
    match config {
        Some(mut config) if report.is_passed() => {
            config.warnings = report.into_diagnostics();
            Ok(config)
        }
        _ => Err(report),
    }
}

fn load_into(file: &Path, published: Option<Loaded>, report: &mut Report) -> Option<GatewayConfig> {
    let (doc, config): (_, GatewayFile) = read(file, report)?;
    let base = file.parent().unwrap_or(Path::new(""));
    let plane = plane(&doc, &config, file, report);
    // What a bundle of elsewhere starts is started in the directory of the settings.
    let bundle_dir = config.bundle.as_ref().map_or_else(|| base.to_owned(), |bundle| base.join(bundle));
    let bundle = match published.map_or_else(|| load(&bundle_dir), Ok) {
        Ok(bundle) => Some(bundle),
        Err(faults) => {
            faults.into_diagnostics().into_iter().for_each(|fault| report.push(fault));
            None
        }
    };
    let listen = listen(&doc, &config, report);
    let mut paths = Paths::default();
    let servers = servers(&doc, &config, base, &mut paths, report);
    let sets = sets::sets(&doc, &config, &servers, &mut paths, report);
    let limits = limits(&doc, &config.limits, report);
    let point = point(&doc, config.point.as_deref(), report);
    let endpoints: BTreeSet<ServerName> = servers.keys().chain(sets.keys()).cloned().collect();
    let tokens = match &config.tokens {
        Some(file) => tokens(&base.join(file), &endpoints, report),
        None if config.oauth.is_some() => BTreeMap::new(),
        None => {
            let message = "nobody could call: there is no file of tokens, and no access token counts";
            doc.error::<&str>(report, &[], message, "write `tokens = \"FILE\"`, or `[oauth]`");
            BTreeMap::new()
        }
    };
    let oauth = config.oauth.as_ref().map(|entry| credentials::oauth(&doc, entry, base, &endpoints, report));
    let secrets = config.secrets.as_ref().and_then(|entry| credentials::secrets(&doc, entry, base, report));
    let asking = asking::asking(&doc, config.approvals.as_ref(), plane.as_ref(), report);
    let bundle = bundle?;
    known(&doc, &config, &bundle, report);
    sets::known(&doc, &sets, &bundle, report);
    let own = file.display().to_string();
    let issuers = oauth.iter().flat_map(|oauth| &oauth.issuers);
    let foreign: Vec<&Token> =
        issuers.flat_map(|issuer| issuer.clients.values().map(|(token, _)| token)).collect();
    let of_file: Vec<&Token> = tokens.values().collect();
    for (tokens, file) in [(&of_file, config.tokens.as_deref().unwrap_or_default()), (&foreign, own.as_str())]
    {
        match &plane {
            None => bound(tokens, &bundle, file, report),
            Some(_) => bound_elsewhere(tokens, file, report),
        }
    }
    Some(GatewayConfig {
        bundle_dir,
        place: ServingPlace { point, data: config.data.as_ref().map(|data| base.join(data)), plane },
        hosts: hosts(&doc, &config, listen, report),
        origins: origins(&doc, &config, report),
        metrics: metrics(&doc, &config, report),
        traces: traces(&doc, config.traces.as_ref(), report),
        tls: config.tls.map(|tls| (base.join(tls.certificate), base.join(tls.key))),
        listen,
        limits,
        servers,
        sets,
        tokens,
        oauth,
        asking,
        secrets,
        bundle,
        warnings: Vec::new(),
    })
}

/// The name of an enforcement point.
pub(crate) fn point(doc: &Doc, name: Option<&str>, report: &mut Report) -> Option<EnforcementPoint> {
    match name?.parse() {
        Ok(point) => Some(point),
        Err(cause) => {
            let message = format!("{:?} names no enforcement point: {cause}", short(name?));
            doc.error(report, &["point"], message, "write a name such as gateway-eu");
            None
        }
    }
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(file: &Path, report: &mut Report) -> Option<(Doc, T)> {
    let name = file.display().to_string();
    let fault = |message: String, cure: &str| whole(&name, Severity::Error, message, cure);
    match fs::read(file) {
        Ok(bytes) if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_FILE_BYTES) => {
            report.push(fault(format!("the file has more than {MAX_FILE_BYTES} bytes"), "make it smaller"));
            None
        }
        Ok(bytes) => {
            let mut doc = Doc::parse(&name, &bytes, Format::Toml, report)?;
            let read = doc.read(report)?;
            Some((doc, read))
        }
        Err(cause) => {
            report.push(fault(format!("{name} cannot be read: {cause}"), ""));
            None
        }
    }
}

fn listen(doc: &Doc, config: &GatewayFile, report: &mut Report) -> SocketAddr {
    let Some(text) = &config.listen else { return DEFAULT_LISTEN };
    let Ok(address) = text.parse::<SocketAddr>() else {
        let message = format!("{:?} is no address with a port", short(text));
        doc.error(report, &["listen"], message, "write one such as 127.0.0.1:8420 or [::1]:8420");
        return DEFAULT_LISTEN;
    };
    if config.tls.is_none() && !address.ip().is_loopback() {
        let message = format!(
            "{address} can be reached from elsewhere, and tokens would cross the network in the clear"
        );
        doc.error(report, &["listen"], message, "add [tls], or listen on 127.0.0.1");
    }
    address
}

fn metrics(doc: &Doc, config: &GatewayFile, report: &mut Report) -> Option<SocketAddr> {
    let text = config.metrics.as_ref()?;
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!("{:?} is no address with a port", short(text));
        doc.error(report, &["metrics"], message, "write one such as 127.0.0.1:9464");
    }
    address
}

pub(crate) fn traces(doc: &Doc, entry: Option<&TracesEntry>, report: &mut Report) -> Option<TracesSettings> {
    let entry = entry?;
    let rest = entry.endpoint.strip_prefix("https://").or_else(|| entry.endpoint.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(['@', '#', ' '])) {
        let message = format!("{:?} is no URL of a collector", short(&entry.endpoint));
        let cure = "write one such as http://127.0.0.1:4318/v1/traces; a credential stands in `headers`";
        doc.error(report, &["traces", "endpoint"], message, cure);
    }
    let ratio = entry.ratio.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&ratio) {
        doc.error(report, &["traces", "ratio"], "the ratio must be between 0 and 1", "write 0.1 for a tenth");
    }
    warn_of_secrets(doc, "traces", None, &entry.headers, report);
    Some(TracesSettings { endpoint: entry.endpoint.clone(), headers: entry.headers.clone(), ratio })
}

/// Warns of credentials that stand in the file.
fn warn_of_secrets(
    doc: &Doc,
    part: &str,
    name: Option<&ServerName>,
    headers: &BTreeMap<String, EnvEntry>,
    report: &mut Report,
) {
    for (header, value) in headers {
        if matches!(value, EnvEntry::Literal(_)) && looks_secret(header) {
            let pointer: Vec<&str> =
                [part].into_iter().chain(name.map(ServerName::as_str)).chain(["headers", header]).collect();
            let message = "the credential stands in the file for everyone to read";
            doc.warn(report, &pointer, message, "write { file = \"…\" } or { env = \"…\" }");
        }
    }
}

fn hosts(doc: &Doc, config: &GatewayFile, listen: SocketAddr, report: &mut Report) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for (index, host) in config.hosts.iter().enumerate() {
        let plain = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'[' | b']' | b':'));
        if !plain || (host.contains(':') && !host.starts_with('[')) {
            let message = format!("{:?} is no name of a host", short(host));
            doc.error(report, &["hosts", &index.to_string()], message, "write it without scheme and port");
        }
        hosts.insert(host.to_ascii_lowercase());
    }
    if !listen.ip().is_unspecified() {
        hosts.insert(match listen.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    if listen.ip().is_loopback() {
        hosts.insert("localhost".to_owned());
    }
    // Clients are told this name as that of the place where their tokens count.
    let told = config.oauth.as_ref().and_then(|entry| Url::parse(&entry.url).ok());
    hosts.extend(told.as_ref().and_then(Url::host_str).map(str::to_ascii_lowercase));
    if hosts.is_empty() {
        let message = "nobody could reach the gateway: it listens on every address and is told no name";
        doc.error(report, &["listen"], message, "write the names that clients use under `hosts`");
    }
    hosts
}

fn origins(doc: &Doc, config: &GatewayFile, report: &mut Report) -> BTreeSet<String> {
    for (index, origin) in config.origins.iter().enumerate() {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['/', '?', '#', '@', '*', ' '])) {
            let message = format!("{:?} is no origin", short(origin));
            let cure = "write scheme, host and port alone, such as https://app.example.com";
            doc.error(report, &["origins", &index.to_string()], message, cure);
        }
    }
    config.origins.iter().map(|origin| origin.to_ascii_lowercase()).collect()
}

fn servers(
    doc: &Doc,
    config: &GatewayFile,
    base: &Path,
    paths: &mut Paths,
    report: &mut Report,
) -> BTreeMap<ServerName, UpstreamSettings> {
    let mut servers = BTreeMap::new();
    if config.servers.is_empty() {
        doc.error(report, &["servers"], "no server stands behind the gateway", "add [servers.NAME]");
    }
    for (name, entry) in &config.servers {
        let path = paths.take(doc, "servers", name, entry.path.as_deref(), report);
        if let Some(reached) = reached(doc, name, entry, base, report) {
            servers.insert(name.clone(), UpstreamSettings { path, reached });
        }
    }
    servers
}

/// The paths of virtual servers and sets, each of one.
#[derive(Default)]
struct Paths(BTreeMap<String, ServerName>);

impl Paths {
    /// The path of a server or set: what is said, or its name.
    fn take(
        &mut self,
        doc: &Doc,
        kind: &str,
        name: &ServerName,
        said: Option<&str>,
        report: &mut Report,
    ) -> String {
        let path = said.map_or_else(|| format!("/{name}"), str::to_owned);
        let here = [kind, name.as_str(), "path"];
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
        if !path.starts_with('/') || path.ends_with('/') || path.contains("//") || !path.bytes().all(plain) {
            let cure = "write one such as /files: letters, digits, `-`, `_` and `.`";
            doc.error(report, &here, format!("{:?} is no path of a virtual server", short(&path)), cure);
        } else if OWN_PATHS.contains(&path.as_str()) || path.starts_with(OWN_PREFIX) {
            doc.error(report, &here, format!("the gateway answers {path} itself"), "choose another path");
        } else if let Some(other) = self.0.insert(path.clone(), name.clone()) {
            doc.error(report, &here, format!("{other} has the path {path} too"), "choose another path");
        }
        path
    }
}

/// A path from this file's directory as one from anywhere.
fn whole_path(base: &Path, path: &str) -> PathBuf {
    let joined = base.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}

fn reached(
    doc: &Doc,
    name: &ServerName,
    entry: &UpstreamEntry,
    base: &Path,
    report: &mut Report,
) -> Option<Reached> {
    let here = ["servers", name.as_str()];
    match (&entry.url, &entry.command) {
        (Some(url), None) => {
            warn_of_secrets(doc, "servers", Some(name), &entry.headers, report);
            for (field, is_there) in [
                ("env", !entry.env.is_empty()),
                ("pass", !entry.pass.is_empty()),
                ("cwd", entry.cwd.is_some()),
            ] {
                if is_there {
                    let pointer = ["servers", name.as_str(), field];
                    let message = format!("`{field}` is for programs, and this server is reached over HTTP");
                    doc.error_at_key(report, &pointer, message, "take it out");
                }
            }
            let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
            if url.starts_with("http://") && !loopback.iter().any(|local| url.starts_with(local)) {
                let message = "what goes to this server crosses the network in the clear";
                doc.warn(report, &["servers", name.as_str(), "url"], message, "use https");
            }
            Some(Reached::Http { url: url.clone(), headers: entry.headers.clone() })
        }
        (None, Some(command)) if !command.is_empty() => {
            if !entry.headers.is_empty() {
                let pointer = ["servers", name.as_str(), "headers"];
                doc.error(report, &pointer, "a process is sent no headers", "leave `headers` out");
            }
            check_environment(doc, &here, &entry.env, &entry.pass, report);
            let from_here = |entry: &EnvEntry| match entry {
                EnvEntry::File(file) => EnvEntry::File(whole_path(base, file).display().to_string()),
                other => other.clone(),
            };
            let host = HostSettings {
                env: entry.env.iter().map(|(name, entry)| (name.clone(), from_here(entry))).collect(),
                pass: entry.pass.clone(),
                cwd: entry.cwd.as_ref().map(|cwd| whole_path(base, cwd)),
            };
            Some(Reached::Stdio { command: command.clone(), host })
        }
        _ => {
            let message = format!("{name} is reached in no one way");
            doc.error(report, &here, message, "give either `url` or a `command` with a program");
            None
        }
    }
}

fn limits(doc: &Doc, entry: &LimitsEntry, report: &mut Report) -> GatewayLimits {
    let mut count = |name: &str, value: Option<u64>, default: usize, most: usize| -> usize {
        let Some(value) = value else { return default };
        match usize::try_from(value) {
            Ok(value) if value > 0 && value <= most => value,
            _ => {
                let message = format!("{name} must be between 1 and {most}");
                doc.error(report, &["limits", name], message, "write a number in between");
                default
            }
        }
    };
    let connections = count("connections", entry.connections, 16_384, 1 << 20);
    let sessions = count("sessions", entry.sessions, 4096, 1 << 20);
    let requests = count("requests", entry.requests, 256, 1 << 20);
    let rate = count("requests_per_second", entry.requests_per_second, 200, 1 << 20);
    let request_bytes = count("request_bytes", entry.request_bytes, MAX_BYTES, MAX_BYTES);
    let mut length =
        |name: &str, text: &Option<String>, default: Duration| match text.as_deref().map(parse_duration) {
            None => default,
            Some(Ok(length)) => length,
            Some(Err(cause)) => {
                let (what, cure) = split_cure(&cause.to_string());
                doc.error(report, &["limits", name], what, cure.unwrap_or_default());
                default
            }
        };
    GatewayLimits {
        connections,
        sessions,
        requests,
        requests_per_second: u32::try_from(rate).unwrap_or(u32::MAX),
        request_bytes,
        receive: length("receive", &entry.receive, Duration::from_secs(30)),
        idle: length("idle", &entry.idle, Duration::from_secs(30 * 60)),
    }
}

fn tokens(file: &Path, endpoints: &BTreeSet<ServerName>, report: &mut Report) -> BTreeMap<Digest, Token> {
    let Some((doc, read)) = read::<TokensFile>(file, report) else { return BTreeMap::new() };
    let mut tokens: BTreeMap<Digest, Token> = BTreeMap::new();
    for (name, entry) in &read.tokens {
        let at = |field| ["tokens", name.as_str(), field];
        let Ok(digest) = format!("sha256:{}", entry.sha256).parse::<Digest>() else {
            let message = "this is no SHA-256 digest in hexadecimal";
            doc.error(report, &at("sha256"), message, "make the token with `warrantor token add`");
            continue;
        };
        if entry.mandates.is_empty() && !entry.handed_over {
            doc.error(report, &at("mandates"), "the token may run nothing", "name a mandate");
        }
        if let Some(other) = tokens.insert(digest, token(&doc, name, entry, endpoints, report)) {
            let message = format!("{} is the same token", other.name);
            doc.error(report, &at("sha256"), message, "give each caller its own");
        }
    }
    tokens
}

fn token(
    doc: &Doc,
    name: &str,
    entry: &TokenEntry,
    endpoints: &BTreeSet<ServerName>,
    report: &mut Report,
) -> Token {
    let expires_at = entry.expires_at.as_deref().and_then(|text| match text.parse::<Timestamp>() {
        Ok(at) => Some(at),
        Err(cause) => {
            let (what, cure) = split_cure(&cause.to_string());
            doc.error(report, &["tokens", name, "expires_at"], what, cure.unwrap_or_default());
            None
        }
    });
    let reaches: BTreeSet<ServerName> = match &entry.servers {
        None => endpoints.clone(),
        Some(named) => named.iter().cloned().collect(),
    };
    for unknown in reaches.difference(endpoints) {
        let message = format!("the gateway has no server or set {unknown}");
        doc.error(report, &["tokens", name, "servers"], message, "name one of its servers or sets");
    }
    Token {
        name: name.to_owned(),
        agent: entry.agent.clone(),
        mandates: entry.mandates.clone(),
        handed_over: entry.handed_over,
        servers: reaches,
        expires_at,
    }
}

/// Servers must have a manifest, and be the ones that it pins.
fn known(doc: &Doc, config: &GatewayFile, bundle: &Loaded, report: &mut Report) {
    for (name, entry) in &config.servers {
        let Some(manifest) = bundle.snapshot.manifest(name) else {
            let message = format!("the bundle has no manifest for {name}");
            doc.error_at_key(report, &["servers", name.as_str()], message, "name a server of the bundle");
            continue;
        };
        let present = match (&entry.url, &entry.command) {
            (Some(url), _) => crate::launch_digest(std::slice::from_ref(url)),
            (_, Some(command)) => crate::launch_digest(command),
            (None, None) => continue,
        };
        if manifest.launch.is_some_and(|pinned| pinned != present) {
            let message = format!("this is not the command line or URL that the manifest of {name} pins");
            let cure = format!("if it was reviewed, write `launch: {present}` in the manifest");
            doc.error(report, &["servers", name.as_str()], message, cure);
        }
    }
}

/// Where a control plane elsewhere decides, what runs is what was handed over there.
fn bound_elsewhere(tokens: &[&Token], file: &str, report: &mut Report) {
    for token in tokens {
        let templates = token.mandates.iter().filter(|mandate| !MandateId::is_like(mandate.as_str()));
        for mandate in templates {
            let message = format!(
                "the token {} is for the mandate {mandate} of a bundle, and nothing is handed over at a gateway with [plane]",
                token.name
            );
            let cure = "hand it over at the control plane, and write `handed_over = true` or the instance";
            report.push(whole(file, Severity::Error, message, cure));
        }
    }
}

/// Agents and mandates of tokens must be in the bundle and belong together. Instances are looked up when they are used.
fn bound(tokens: &[&Token], bundle: &Loaded, file: &str, report: &mut Report) {
    for token in tokens {
        // One that runs what is handed over to it may be registered beside the bundle; each call sees to that.
        if bundle.snapshot.agent(&token.agent).is_none() && !token.handed_over {
            let message =
                format!("the token {} is for {}, which is no agent of the bundle", token.name, token.agent);
            report.push(whole(
                file,
                Severity::Error,
                message,
                "name an agent of agents.yaml, or write `handed_over = true`",
            ));
        }
        for mandate in &token.mandates {
            let Some(template) = bundle.templates.get(mandate) else {
                if !MandateId::is_like(mandate.as_str()) {
                    let message = format!(
                        "the token {} is for the mandate {mandate}, which the bundle does not have",
                        token.name
                    );
                    report.push(whole(
                        file,
                        Severity::Error,
                        message,
                        "name a mandate of the bundle, or an instance",
                    ));
                }
                continue;
            };
            if template.terms.agent != token.agent {
                let message = format!(
                    "the token {} is for {}, and the mandate {mandate} for {}",
                    token.name, token.agent, template.terms.agent
                );
                report.push(whole(file, Severity::Error, message, "bind the token to that agent's mandates"));
            }
        }
    }
}
