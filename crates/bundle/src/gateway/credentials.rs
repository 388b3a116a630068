//! Credentials: those that are shown to the gateway, and those that it keeps for servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use warrantor_model::ServerName;

use super::Token;
use crate::{
    doc::Doc,
    files::gateway::{ForeignIssuerEntry, OAuthEntry, SecretsEntry},
    report::Report,
    serve::is_origin,
    tree::short,
};

/// A file of sealed secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsConfig {
    /// The file.
    pub file: PathBuf,
    /// Where the key is that opens it.
    pub key: KeySource,
}

/// Where a key is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
    /// A command prints it.
    Command(Vec<String>),
}

/// Whose access tokens count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthConfig {
    /// The gateway's address as clients know it, without a path.
    pub url: String,
    /// The token service.
    pub issuer: String,
    /// Certificates to trust for it instead of the system's.
    pub certificates: Option<PathBuf>,
    /// Whether tokens count that are bound to no key.
    pub bearer: bool,
    /// Other issuers whose tokens say who calls.
    pub issuers: Vec<ForeignIssuer>,
}

/// An issuer whose access tokens say who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignIssuer {
    /// Its name.
    pub issuer: String,
    /// The algorithms that are allowed; empty for the default ones.
    pub algorithms: Vec<String>,
    /// Certificates to trust for it instead of the system's.
    pub certificates: Option<PathBuf>,
    /// Its clients that are agents here, and of whom their tokens may speak; of themselves where nobody is listed.
    pub clients: BTreeMap<String, (Token, Vec<String>)>,
}

pub(super) fn oauth(
    doc: &Doc,
    entry: &OAuthEntry,
    base: &Path,
    endpoints: &BTreeSet<ServerName>,
    report: &mut Report,
) -> OAuthConfig {
    for (field, text) in [("url", &entry.url), ("issuer", &entry.issuer)] {
        if !is_origin(text) {
            let message = format!("{:?} is no address of a server", short(text));
            let cure =
                "write one such as https://tools.example.com: https (http only on loopback), a host, no path";
            doc.error(report, &["oauth", field], message, cure);
        }
    }
    if entry.bearer {
        let message = "tokens that are bound to no key count: whoever finds one can use it";
        doc.warn(report, &["oauth", "bearer"], message, "have clients prove possession of their keys (DPoP)");
    }
    OAuthConfig {
        url: entry.url.clone(),
        issuer: entry.issuer.clone(),
        certificates: entry.certificates.as_ref().map(|file| base.join(file)),
        bearer: entry.bearer,
        issuers: entry
            .issuers
            .iter()
            .enumerate()
            .map(|(at, one)| foreign(doc, (at, entry), one, base, endpoints, report))
            .collect(),
    }
}

fn foreign(
    doc: &Doc,
    (at, of): (usize, &OAuthEntry),
    entry: &ForeignIssuerEntry,
    base: &Path,
    endpoints: &BTreeSet<ServerName>,
    report: &mut Report,
) -> ForeignIssuer {
    let nth = at.to_string();
    let pointer = |field| ["oauth", "issuers", nth.as_str(), field];
    let before = of.issuers.iter().take(at).any(|before| before.issuer == entry.issuer);
    if entry.issuer == of.issuer || before {
        let message = format!("{:?} is an issuer whose tokens count already", short(&entry.issuer));
        doc.error(report, &pointer("issuer"), message, "say all of its clients in one place");
    }
    if entry.clients.is_empty() {
        doc.error(report, &pointer("issuer"), "its tokens are nobody's here", "list its `clients`");
    }
    let clients = entry.clients.iter().map(|(client, entry)| {
        let at = ["oauth", "issuers", nth.as_str(), "clients", client.as_str()];
        if entry.mandates.is_empty() && !entry.handed_over {
            doc.error(
                report,
                &at,
                "the client may run nothing",
                "name a mandate, or write `handed_over = true`",
            );
        }
        let servers: BTreeSet<ServerName> = match &entry.servers {
            None => endpoints.clone(),
            Some(named) => named.iter().cloned().collect(),
        };
        for unknown in servers.difference(endpoints) {
            let message = format!("the gateway has no server or set {unknown}");
            doc.error(report, &at, message, "name one of its servers or sets");
        }
        let token = Token {
            name: client.clone(),
            agent: entry.agent.clone(),
            mandates: entry.mandates.clone(),
            handed_over: entry.handed_over,
            servers,
            expires_at: None,
        };
        (client.clone(), (token, entry.subjects.clone()))
    });
    ForeignIssuer {
        clients: clients.collect(),
        issuer: entry.issuer.clone(),
        algorithms: entry.algorithms.clone(),
        certificates: entry.certificates.as_ref().map(|file| base.join(file)),
    }
}

pub(super) fn secrets(
    doc: &Doc,
    entry: &SecretsEntry,
    base: &Path,
    report: &mut Report,
) -> Option<SecretsConfig> {
    let key = match (&entry.key_file, &entry.key_env, &entry.key_command) {
        (Some(file), None, None) => KeySource::File(base.join(file)),
        (None, Some(variable), None) => KeySource::Env(variable.clone()),
        (None, None, Some(command)) if !command.is_empty() => KeySource::Command(command.clone()),
        _ => {
            let message = "there is no one place of the key that opens the secrets";
            doc.error(report, &["secrets"], message, "write one of key_file, key_env and key_command");
            return None;
        }
    };
    Some(SecretsConfig { file: base.join(&entry.file), key })
}
