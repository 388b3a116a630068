//! The settings of a deployment, from `warrantor.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use warrantor_model::{GroupName, ServerName, time::parse_duration};

pub use crate::files::config::EnvEntry;
use crate::{
    doc::Doc,
    files::config::{ConfigFile, ServerEntry},
    read::split_cure,
    report::Report,
    tree::short,
};

/// How long a call may take when nothing is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Settings of tool servers; a server that is not here has the default ones.
    pub servers: BTreeMap<ServerName, ServerSettings>,
    /// The name under which the audit log signs its checkpoints.
    pub audit_origin: Option<String>,
    /// Groups whose members the registry tells.
    pub directory_groups: BTreeSet<GroupName>,
}

/// How a tool server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Whether calls outside the mandate are only observed.
    pub observe: bool,
    /// Environment variables the server gets.
    pub env: BTreeMap<String, EnvEntry>,
    /// Environment variables that are passed through.
    pub pass: Vec<String>,
    /// The directory it runs in, from the bundle's directory.
    pub cwd: Option<String>,
    /// How long a call may take.
    pub timeout: Duration,
    /// The most bytes a result may have; the enforcement point's own bound holds besides.
    pub max_result_bytes: Option<u64>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            observe: false,
            env: BTreeMap::new(),
            pass: Vec::new(),
            cwd: None,
            timeout: DEFAULT_TIMEOUT,
            max_result_bytes: None,
        }
    }
}

/// The settings a file states. What is wrong is in the report.
pub(crate) fn config(doc: &Doc, file: ConfigFile, report: &mut Report) -> Config {
    if let Some(origin) = &file.audit.origin
        && (origin.is_empty() || origin.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+'))
    {
        let message = format!("{:?} cannot be the origin of a log", short(origin));
        doc.error(
            report,
            &["audit", "origin"],
            message,
            "write a name without spaces and `+`, such as warrantor.example.com/log",
        );
    }
    let servers = file.servers.into_iter().map(|(name, entry)| {
        let settings = server(doc, &name, entry, report);
        (name, settings)
    });
    Config {
        servers: servers.collect(),
        audit_origin: file.audit.origin,
        directory_groups: file.directory.groups,
    }
}

fn server(doc: &Doc, name: &ServerName, entry: ServerEntry, report: &mut Report) -> ServerSettings {
    let here = ["servers", name.as_str()];
    let at = |fields: &[&str]| -> Vec<String> {
        here.iter().chain(fields).map(|step| (*step).to_owned()).collect()
    };
    check_environment(doc, &here, &entry.env, &entry.pass, report);
    if entry.max_result_bytes == Some(0) {
        doc.error(
            report,
            &at(&["max_result_bytes"]),
            "no result has no bytes",
            "write how many bytes a result may have",
        );
    }
    let timeout = match entry.timeout.as_deref().map(parse_duration) {
        None => DEFAULT_TIMEOUT,
        Some(Ok(timeout)) => timeout,
        Some(Err(cause)) => {
            let (what, cure) = split_cure(&cause.to_string());
            doc.error(report, &at(&["timeout"]), what, cure.unwrap_or_default());
            DEFAULT_TIMEOUT
        }
    };
    if entry.observe {
        let message = format!("{name} is in observe mode: mandates do not hold for it");
        doc.warn(report, &at(&["observe"]), message, "write `observe = false` to enforce them");
    }
    ServerSettings {
        observe: entry.observe,
        env: entry.env,
        pass: entry.pass,
        cwd: entry.cwd,
        timeout,
        max_result_bytes: entry.max_result_bytes,
    }
}

/// What is wrong with the environment that a server is started with.
pub(crate) fn check_environment(
    doc: &Doc,
    here: &[&str],
    env: &BTreeMap<String, EnvEntry>,
    pass: &[String],
    report: &mut Report,
) {
    let at = |fields: &[&str]| -> Vec<String> {
        here.iter().chain(fields).map(|step| (*step).to_owned()).collect()
    };
    for (variable, value) in env {
        let pointer = at(&["env", variable]);
        check_variable(doc, &pointer, variable, report);
        if pass.contains(variable) {
            doc.error_at_key(
                report,
                &pointer,
                format!("{variable} is set and passed through"),
                "keep one of the two",
            );
        }
        match value {
            EnvEntry::Literal(_) if looks_secret(variable) => {
                let message = format!("the value of {variable} stands in the file for everyone to read");
                doc.warn(report, &pointer, message, "write { file = \"…\" } or { env = \"…\" }");
            }
            EnvEntry::Literal(_) => {}
            EnvEntry::File(source) | EnvEntry::Env(source) | EnvEntry::Sealed(source)
                if source.is_empty() =>
            {
                doc.error(
                    report,
                    &pointer,
                    format!("the source of {variable} is empty"),
                    "name a file, a variable or a secret",
                );
            }
            EnvEntry::File(_) | EnvEntry::Sealed(_) => {}
            EnvEntry::Env(source) => check_variable(doc, &pointer, source, report),
        }
    }
    for (index, variable) in pass.iter().enumerate() {
        check_variable(doc, &at(&["pass", &index.to_string()]), variable, report);
    }
}

fn check_variable(doc: &Doc, pointer: &[String], name: &str, report: &mut Report) {
    if name.is_empty() || name.contains(['=', '\0']) {
        let message = format!("{:?} is no name of an environment variable", short(name));
        doc.error_at_key(report, pointer, message, "write a name without `=`");
    }
}

/// Whether the value of a variable or a header is one to keep to oneself, by its name.
pub(crate) fn looks_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    [
        "AUTHORIZATION",
        "COOKIE",
        "TOKEN",
        "SECRET",
        "PASSWORD",
        "PASSWD",
        "CREDENTIAL",
        "API_KEY",
        "APIKEY",
        "PRIVATE",
    ]
    .iter()
    .any(|word| upper.contains(word))
        || upper.ends_with("_KEY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_kept_to_oneself_is_known_by_its_name() {
        for (name, secret) in [
            ("BANK_TOKEN", true),
            ("SIGNING_KEY", true),
            ("Authorization", true),
            ("Proxy-Authorization", true),
            ("X-Api-Key", true),
            ("cookie", true),
            ("X-Tenant", false),
            ("LOG_LEVEL", false),
            ("KEYBOARD", false),
        ] {
            assert_eq!(looks_secret(name), secret, "{name}");
        }
    }
}
