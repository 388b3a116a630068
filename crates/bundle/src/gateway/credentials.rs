//! Credentials: those that are shown to the gateway, and those that it keeps for servers.

use std::path::{Path, PathBuf};

use crate::{
    doc::Doc,
    files::gateway::{OAuthEntry, SecretsEntry},
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
}

pub(super) fn oauth(doc: &Doc, entry: &OAuthEntry, base: &Path, report: &mut Report) -> OAuthConfig {
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
