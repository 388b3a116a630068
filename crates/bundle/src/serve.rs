//! The settings of the control plane, from `serve.toml`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use url::{Host, Url};
use warrantor_model::time::parse_duration;

mod applications;
mod tokens;
mod trust;

pub use applications::{ApplicationConfig, may_go_back_to};
pub use tokens::{Accepts, DomainConfig, Gives, ResourceConfig, Said, TokensConfig};
pub use trust::{BundleSource, TrustDomainConfig, WorkloadPath};

use crate::{
    Loaded,
    doc::Doc,
    files::serve::{NoticesEntry, ProviderEntry, ServeFile},
    gateway::{ServingPlace, TracesSettings, place, point, read, traces},
    load,
    read::split_cure,
    report::{Diagnostic, Report},
    tree::short,
};

/// Where the control plane listens when nothing is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8421);
/// How far clocks may differ when nothing is said.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// How far clocks may differ at most: beyond that a token's own end means nothing.
const MOST_LEEWAY: Duration = Duration::from_secs(300);

/// Everything the control plane is configured with.
#[derive(Debug)]
pub struct ServeConfig {
    /// The bundle.
    pub bundle: Loaded,
    /// Where it serves.
    pub place: ServingPlace,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where metrics are told.
    pub metrics: Option<SocketAddr>,
    /// Where spans go.
    pub traces: Option<TracesSettings>,
    /// Files of certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The policies of administration, when they are not those that ship.
    pub administration: Option<PathBuf>,
    /// Whom people sign in with.
    pub provider: Option<ProviderConfig>,
    /// The token service.
    pub tokens: Option<TokensConfig>,
    /// The address of the pages where people answer, an origin.
    pub pages: Option<String>,
    /// Who is told of questions.
    pub notices: Vec<NoticesConfig>,
    /// What its author should know.
    pub warnings: Vec<Diagnostic>,
}

/// Who is told of questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticesConfig {
    /// Where.
    pub url: String,
    /// The file of the secret.
    pub secret: PathBuf,
}

/// An OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// The issuer, exactly as its tokens name it.
    pub issuer: String,
    /// Our name there: the audience of ID tokens.
    pub client_id: String,
    /// Audiences of access tokens that applications may present here in a person's name; none means that they may not.
    pub audiences: Vec<String>,
    /// The algorithms that are allowed; empty for the default ones.
    pub algorithms: Vec<String>,
    /// The claim that names a person: `sub`, or the one that a directory sends too.
    pub subject_claim: String,
    /// The claim that tells a person's groups, if one does.
    pub groups_claim: Option<String>,
    /// What is asked for at sign-in.
    pub scope: String,
    /// Whether somebody who is not known yet is registered by signing in.
    pub register: bool,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
}

/// Loads the control plane's settings and its bundle.
///
/// # Errors
/// Everything that is wrong with any of them; nothing is loaded then.
pub fn load_serve(file: &Path) -> Result<ServeConfig, Report> {
    loaded(file, None)
}

/// Loads the control plane's settings beside a bundle that it hands over by in place of the directory's.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load_serve_beside(file: &Path, published: Loaded) -> Result<ServeConfig, Report> {
    loaded(file, Some(published))
}

/// What of the control plane's settings has to be known before its bundle is.
///
/// # Errors
/// What is wrong with the file itself.
pub fn serve_place(file: &Path) -> Result<ServingPlace, Report> {
    let mut report = Report::default();
    let read: Option<(Doc, ServeFile)> = read(file, &mut report);
    place(file, read.map(|(doc, config)| (doc, config.point, config.data)), report)
}

fn loaded(file: &Path, published: Option<Loaded>) -> Result<ServeConfig, Report> {
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

fn load_into(file: &Path, published: Option<Loaded>, report: &mut Report) -> Option<ServeConfig> {
    let (doc, config): (_, ServeFile) = read(file, report)?;
    let base = file.parent().unwrap_or(Path::new(""));
    let bundle = match published.map_or_else(|| load(&base.join(&config.bundle)), Ok) {
        Ok(bundle) => Some(bundle),
        Err(faults) => {
            faults.into_diagnostics().into_iter().for_each(|fault| report.push(fault));
            None
        }
    };
    let listen = match &config.listen {
        None => DEFAULT_LISTEN,
        Some(text) => address(&doc, "listen", text, report).unwrap_or(DEFAULT_LISTEN),
    };
    if config.tls.is_none() && !listen.ip().is_loopback() {
        let message = format!(
            "{listen} can be reached from elsewhere, and tokens would cross the network in the clear"
        );
        doc.error(report, &["listen"], message, "add [tls], or listen on 127.0.0.1");
    }
    let metrics = config.metrics.as_ref().and_then(|text| address(&doc, "metrics", text, report));
    let traces = traces(&doc, config.traces.as_ref(), report);
    let point = point(&doc, config.point.as_deref(), report);
    let provider = config.provider.map(|entry| provider(&doc, entry, base, report));
    let tokens = config.tokens.map(|entry| tokens::read(&doc, entry, base, report));
    if let (Some(provider), Some(tokens)) = (&provider, &tokens)
        && provider.issuer == tokens.issuer
    {
        let message = "the token service has the name of the identity provider";
        doc.error(report, &["tokens", "issuer"], message, "write the address of this control plane");
    }
    if provider.is_none() && tokens.as_ref().is_some_and(|tokens| !tokens.applications.is_empty()) {
        let message = "people cannot sign in with an application when they cannot sign in at all";
        doc.error(report, &["tokens", "applications"], message, "add [provider]");
    }
    let url = config.approvals.as_ref().and_then(|entry| entry.url.as_ref());
    if let Some(url) = url.filter(|url| !is_origin(url)) {
        let message = format!("{:?} is no address of a server", short(url));
        let cure = "write one such as https://control.example.com, without a path; http on this machine only";
        doc.error(report, &["approvals", "url"], message, cure);
    }
    if provider.is_none() && url.is_some() {
        let message = "people cannot answer on a page when they cannot sign in";
        doc.error(report, &["approvals"], message, "add [provider]");
    }
    let (pages, notices) = config.approvals.map(|entry| (entry.url, entry.notices)).unwrap_or_default();
    let notices = told(&doc, &notices, base, report);
    let pages = pages.or_else(|| Some(tokens.as_ref()?.issuer.clone())).filter(|_| provider.is_some());
    Some(ServeConfig {
        bundle: bundle?,
        place: ServingPlace { point, data: config.data.map(|data| base.join(data)), plane: None },
        traces,
        listen,
        metrics,
        tls: config.tls.map(|tls| (base.join(tls.certificate), base.join(tls.key))),
        administration: config.administration.map(|file| base.join(file)),
        provider,
        tokens,
        pages,
        notices,
        warnings: Vec::new(),
    })
}

fn address(doc: &Doc, field: &str, text: &str, report: &mut Report) -> Option<SocketAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!("{:?} is no address with a port", short(text));
        doc.error(report, &[field], message, "write one such as 127.0.0.1:8421 or [::1]:8421");
    }
    address
}

/// Whether a text is the address of a server and nothing more, as it is compared: in lower case, without a slash at its end.
pub(crate) fn is_origin(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| is_secure(&url) && url.origin().ascii_serialization() == text)
}

/// Whether nobody on the way reads what is sent there: https, or http on this machine.
pub(crate) fn is_secure(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

/// Who is told of questions.
fn told(doc: &Doc, entries: &[NoticesEntry], base: &Path, report: &mut Report) -> Vec<NoticesConfig> {
    let mut config = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let fits = |url: &Url| {
            is_secure(url)
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        };
        let url = Url::parse(&entry.url).ok().filter(fits);
        if let Some(url) = &url {
            config.push(NoticesConfig { url: url.to_string(), secret: base.join(&entry.secret_file) });
        } else {
            // It is not repeated: the address of a hook can be a secret.
            let message = "this is no address that notices could be sent to";
            let cure =
                "write one such as https://chat.example.com/hooks/warrantor; http on this machine only";
            doc.error(report, &["approvals", "notices", &at.to_string(), "url"], message, cure);
        }
    }
    config
}

fn provider(doc: &Doc, entry: ProviderEntry, base: &Path, report: &mut Report) -> ProviderConfig {
    for (field, text) in [("issuer", &entry.issuer), ("client_id", &entry.client_id)] {
        if text.trim().is_empty() {
            doc.error(report, &["provider", field], format!("the {field} is empty"), "the provider tells it");
        }
    }
    let leeway = match entry.leeway.as_deref().map(parse_duration) {
        None => DEFAULT_LEEWAY,
        Some(Ok(leeway)) if leeway <= MOST_LEEWAY => leeway,
        Some(Ok(_)) => {
            let message = "clocks that differ by more than five minutes cannot be reckoned with";
            doc.error(report, &["provider", "leeway"], message, "set the clocks; 30s is plenty");
            DEFAULT_LEEWAY
        }
        Some(Err(cause)) => {
            let text = cause.to_string();
            let (what, cure) = split_cure(&text);
            doc.error(report, &["provider", "leeway"], what, cure.unwrap_or_default());
            DEFAULT_LEEWAY
        }
    };
    // An address or a handle can be given to somebody else tomorrow.
    const CHANGING: [&str; 6] = ["email", "preferred_username", "upn", "unique_name", "name", "nickname"];
    if entry.subject_claim.as_ref().is_some_and(|claim| CHANGING.contains(&claim.as_str())) {
        let message = "the claim can come to name somebody else";
        doc.error(report, &["provider", "subject_claim"], message, "use `sub`, or an id such as `oid`");
    }
    let scope = entry.scope.unwrap_or_else(|| "openid profile email".to_owned());
    if !scope.split(' ').any(|one| one == "openid") {
        let message = "the scope lacks `openid`, without which there is no ID token";
        doc.error(report, &["provider", "scope"], message, "add it");
    }
    ProviderConfig {
        issuer: entry.issuer,
        client_id: entry.client_id,
        audiences: entry.audiences,
        algorithms: entry.algorithms,
        subject_claim: entry.subject_claim.unwrap_or_else(|| "sub".to_owned()),
        groups_claim: entry.groups_claim,
        scope,
        register: entry.register,
        leeway,
        certificates: entry.certificates.map(|file| base.join(file)),
    }
}
