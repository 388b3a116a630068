//! `warrantor.toml`: how this deployment of the bundle runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use warrantor_model::{GroupName, ServerName};

use super::text::{DurationText, IdText, NameText};

/// How this deployment of the bundle runs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Configuration")]
pub struct ConfigFile {
    /// Tool servers by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<NameText, ServerEntry>")]
    pub servers: BTreeMap<ServerName, ServerEntry>,
    /// The audit log.
    #[serde(default)]
    pub audit: AuditEntry,
    /// What is known of people elsewhere.
    #[serde(default)]
    pub directory: DirectoryEntry,
}

/// What is known of people elsewhere: in the registry of the control plane, as an identity provider or a directory tells it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Directory")]
pub struct DirectoryEntry {
    /// Groups whose members the registry tells. Policies, mandates and agents may name them beside the groups of people.yaml.
    #[serde(default)]
    #[schemars(with = "BTreeSet<IdText>")]
    pub groups: BTreeSet<GroupName>,
}

/// How a tool server runs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Server")]
pub struct ServerEntry {
    /// Calls outside the mandate are let through and recorded with what would have been said. Never for pay, destroy, credential, share and execute.
    #[serde(default)]
    pub observe: bool,
    /// Environment variables the server gets, which its client never sees.
    #[serde(default)]
    pub env: BTreeMap<String, EnvEntry>,
    /// Environment variables that are passed through to the server.
    #[serde(default)]
    pub pass: Vec<String>,
    /// The directory the server runs in, from the bundle's directory.
    pub cwd: Option<String>,
    /// How long a call may take; 60 seconds when nothing is said.
    #[schemars(with = "Option<DurationText>")]
    pub timeout: Option<String>,
    /// The most bytes a result may have.
    #[schemars(range(min = 1))]
    pub max_result_bytes: Option<u64>,
}

/// Where the value of an environment variable comes from: the text itself, `{ file = "…" }`, `{ env = "…" }` or, in `gateway.toml`, `{ sealed = "…" }`.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvEntry {
    /// This text.
    Literal(String),
    /// The contents of a file, the last line break dropped.
    File(String),
    /// Another environment variable.
    Env(String),
    /// A sealed secret of the gateway's own.
    Sealed(String),
}

/// A literal may be a secret, so it is not shown.
impl fmt::Debug for EnvEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::File(file) => write!(f, "File({file:?})"),
            Self::Env(variable) => write!(f, "Env({variable:?})"),
            Self::Sealed(name) => write!(f, "Sealed({name:?})"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvSource {
    file: Option<String>,
    env: Option<String>,
    sealed: Option<String>,
}

impl<'de> Deserialize<'de> for EnvEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvVisitor;
        impl<'de> Visitor<'de> for EnvVisitor {
            type Value = EnvEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, { file = \"…\" }, { env = \"…\" } or { sealed = \"…\" }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<EnvEntry, E> {
                Ok(EnvEntry::Literal(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvEntry, A::Error> {
                match EnvSource::deserialize(de::value::MapAccessDeserializer::new(map))? {
                    EnvSource { file: Some(file), env: None, sealed: None } => Ok(EnvEntry::File(file)),
                    EnvSource { file: None, env: Some(env), sealed: None } => Ok(EnvEntry::Env(env)),
                    EnvSource { file: None, env: None, sealed: Some(name) } => Ok(EnvEntry::Sealed(name)),
                    _ => Err(de::Error::custom(
                        "the value has no one source: give either `file`, `env` or `sealed`",
                    )),
                }
            }
        }
        deserializer.deserialize_any(EnvVisitor)
    }
}

impl JsonSchema for EnvEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnvironmentValue".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let source = |name: &str, description: &str| {
            serde_json::json!({
                "type": "object",
                "properties": { name: { "type": "string", "description": description } },
                "required": [name],
                "additionalProperties": false
            })
        };
        schemars::json_schema!({
            "description": "The value itself, or where it comes from.",
            "anyOf": [
                { "type": "string" },
                source("file", "A file that holds the value, from the bundle's directory; its last line break is dropped."),
                source("env", "The environment variable that holds the value."),
                source("sealed", "A sealed secret, in gateway.toml and among what its `secrets` names.")
            ]
        })
    }
}

/// The audit log.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Audit")]
pub struct AuditEntry {
    /// The name under which this log signs its checkpoints, such as `warrantor.example.com/log`.
    pub origin: Option<String>,
}
