//! `gateway.toml` and its file of tokens: where a gateway listens, what stands behind it, and who may call.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use warrantor_model::{AgentId, ServerName, TemplateId};

use super::{
    config::EnvEntry,
    text::{DurationText, IdText, NameText, TimestampText, ToolRefText, ToolText},
};

/// Where a gateway listens, what stands behind it, and which bundle decides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Gateway")]
pub struct GatewayFile {
    /// The bundle's directory, from this file's directory. With `plane` there is none: the control plane gives the bundle.
    pub bundle: Option<String>,
    /// A control plane elsewhere that decides. Without it calls are decided here, on the data directory.
    pub plane: Option<PlaneEntry>,
    /// This enforcement point's name, such as `gateway-eu`. With a name it follows what is published for it, or for every enforcement point: that decides in
    /// place of the directory's bundle from its publication on.
    pub point: Option<String>,
    /// The data directory, from this file's directory; by default that of the command line.
    pub data: Option<String>,
    /// The file of tokens, from this file's directory. Without it only access tokens count: see `oauth`.
    pub tokens: Option<String>,
    /// Whose access tokens count, beside the tokens of the file.
    pub oauth: Option<OAuthEntry>,
    /// Where to listen: an address and a port. By default `127.0.0.1:8420`.
    pub listen: Option<String>,
    /// Where to answer `GET /metrics`, in the clear: an address and a port. It is not answered if nothing is said.
    pub metrics: Option<String>,
    /// Where spans go. None are made if nothing is said.
    pub traces: Option<TracesEntry>,
    /// How persons are asked, where a call waits for one.
    pub approvals: Option<ApprovalsEntry>,
    /// Where sealed secrets are, which headers and environments of servers name by `{ sealed = "…" }`.
    pub secrets: Option<SecretsEntry>,
    /// Names that clients may reach the gateway by, as in the header `Host`, without a port. The listening address is one, and on loopback
    /// `localhost`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Origins of web pages that may call, such as `https://app.example.com`. By default no page may.
    #[serde(default)]
    pub origins: Vec<String>,
    /// TLS. Without it the gateway listens on loopback only.
    pub tls: Option<TlsEntry>,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsEntry,
    /// Tool servers, by their names in the bundle. Each is a virtual server with a path of its own.
    #[schemars(with = "BTreeMap<NameText, UpstreamEntry>")]
    pub servers: BTreeMap<ServerName, UpstreamEntry>,
    /// Sets of tools from several servers, each under a path of its own. A set's name is that of no server.
    #[serde(default)]
    #[schemars(with = "BTreeMap<NameText, SetEntry>")]
    pub sets: BTreeMap<ServerName, SetEntry>,
}

/// Whose access tokens count: each virtual server is an OAuth resource (RFC 9728), and its address is what a token has to be for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OAuth")]
pub struct OAuthEntry {
    /// The address of this gateway as its clients know it, without a path, such as `https://tools.example.com`.
    pub url: String,
    /// The token service whose tokens count: its `issuer`, such as `https://control.example.com`.
    pub issuer: String,
    /// A file of certificates to trust for it instead of the system's, PEM, from this file's directory.
    pub certificates: Option<String>,
    /// Whether tokens count that are bound to no key, so that whoever finds one can use it. They do not when nothing is said.
    #[serde(default)]
    pub bearer: bool,
    /// Other issuers whose access tokens say who calls, such as the identity provider's for its applications.
    #[serde(default)]
    pub issuers: Vec<ForeignIssuerEntry>,
}

/// An issuer whose access tokens (RFC 9068) say who calls. What they say beside that policies may read; none of it lets a call pass.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ForeignIssuer")]
pub struct ForeignIssuerEntry {
    /// Its name, exactly as its tokens have it.
    pub issuer: String,
    /// The algorithms that its tokens may be signed with; RS256, PS256, ES256 and EdDSA when nothing is said.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// A file of certificates to trust for it instead of the system's, PEM, from this file's directory.
    pub certificates: Option<String>,
    /// Its clients that are agents here, by their `client_id` there (or `azp`).
    #[schemars(length(min = 1))]
    pub clients: BTreeMap<String, ForeignClientEntry>,
}

/// A client of another issuer that is an agent here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ForeignClient")]
pub struct ForeignClientEntry {
    /// The agent.
    #[schemars(with = "IdText")]
    pub agent: AgentId,
    /// The mandates that it may run, as for a token of the file.
    #[serde(default)]
    #[schemars(with = "Vec<NameText>")]
    pub mandates: Vec<TemplateId>,
    /// Whether it may run every mandate that was handed over to its agent, each named in the header `Warrantor-Mandate`.
    #[serde(default)]
    pub handed_over: bool,
    /// Of whom its tokens may speak, by the `sub` of their issuer. When nothing is said they speak of the client itself: `sub` is its own name. Whoever is
    /// listed runs these mandates, so list the people who handed them over.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// The servers and sets it reaches; all of the gateway when nothing is said.
    #[schemars(with = "Option<Vec<NameText>>")]
    pub servers: Option<Vec<ServerName>>,
}

/// A control plane elsewhere.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Plane")]
pub struct PlaneEntry {
    /// Its address, such as `https://warrantor.example.com`; plain http on loopback only.
    pub url: String,
    /// The token of the client that this gateway is to it. The client's name is this gateway's `point`.
    pub token: EnvEntry,
    /// The keys whose answers are believed, as `warrantor serve` tells them when it starts. Two while they change.
    #[schemars(length(min = 1))]
    pub keys: Vec<String>,
    /// A file of certificates to trust instead of the system's, PEM, from this file's directory.
    pub certificates: Option<String>,
}

/// How persons are asked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Approvals")]
pub struct ApprovalsEntry {
    /// Where questions are answered, such as `https://warrantor.example.com/approvals`: the address of each is this and its id. With `plane` it is that of the
    /// control plane when nothing is said; without one there is no page, and `warrantor approvals` answers.
    pub page: Option<String>,
    /// How long a call waits for its answer before its client is told that it waits, at most `10m`; not at all when nothing is said.
    #[schemars(with = "Option<DurationText>")]
    pub hold: Option<String>,
}

/// A file of sealed secrets (`warrantor secret`), and where the key is that opens it: one of `key_file`, `key_env` and `key_command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Secrets")]
pub struct SecretsEntry {
    /// The file, from this file's directory.
    pub file: String,
    /// A file with the key, from this file's directory, which nobody else may read.
    pub key_file: Option<String>,
    /// The environment variable with the key.
    pub key_env: Option<String>,
    /// A command that prints the key, such as one that has a key service unwrap it. It is run when the configuration is read.
    pub key_command: Option<Vec<String>>,
}

/// The gateway's certificate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub struct TlsEntry {
    /// The certificate with its chain, PEM, from this file's directory.
    pub certificate: String,
    /// Its private key, PEM, from this file's directory.
    pub key: String,
}

/// A collector of spans.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Traces")]
pub struct TracesEntry {
    /// Where it takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// Headers that go with everything that is sent to it, such as its credential.
    #[serde(default)]
    pub headers: BTreeMap<String, EnvEntry>,
    /// Which part of the requests that belong to no trace yet is traced, from 0 to 1; all by default. One that belongs to a trace is traced if that is.
    #[schemars(range(min = 0, max = 1))]
    pub ratio: Option<f64>,
}

/// Bounds of a gateway.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct LimitsEntry {
    /// Most connections at a time; 16384 by default.
    #[schemars(range(min = 1))]
    pub connections: Option<u64>,
    /// Most sessions of the older protocol versions at a time; 4096 by default.
    #[schemars(range(min = 1))]
    pub sessions: Option<u64>,
    /// Most requests under way of one token; 256 by default.
    #[schemars(range(min = 1))]
    pub requests: Option<u64>,
    /// Most requests a second of one token, over a short while twice as many; 200 by default.
    #[schemars(range(min = 1))]
    pub requests_per_second: Option<u64>,
    /// Most bytes of a request; 4 MiB by default, which is the most.
    #[schemars(range(min = 1))]
    pub request_bytes: Option<u64>,
    /// How long a request may take to arrive; 30 seconds by default.
    #[schemars(with = "Option<DurationText>")]
    pub receive: Option<String>,
    /// How long a session may be idle; 30 minutes by default.
    #[schemars(with = "Option<DurationText>")]
    pub idle: Option<String>,
}

/// A tool server and how to reach it: either `url` or `command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub struct UpstreamEntry {
    /// The URL of its endpoint, for a server behind Streamable HTTP.
    pub url: Option<String>,
    /// Headers that go with every request to it, such as its credential.
    #[serde(default)]
    pub headers: BTreeMap<String, EnvEntry>,
    /// Its command line, for a server that is spoken to on standard input and output. Each session and each mandate gets a process of its own.
    pub command: Option<Vec<String>>,
    /// Environment variables of its program, beside those of the bundle and in place of them; files are named from this file's directory. What a machine
    /// gives to a program belongs here: a bundle that is published has none.
    #[serde(default)]
    pub env: BTreeMap<String, EnvEntry>,
    /// Environment variables that are passed through to its program.
    #[serde(default)]
    pub pass: Vec<String>,
    /// The directory that its program runs in, from this file's directory.
    pub cwd: Option<String>,
    /// The path of the virtual server; by default its name.
    pub path: Option<String>,
}

/// Tools of several servers under one path, and nothing but those.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Set")]
pub struct SetEntry {
    /// Its path; by default its name.
    pub path: Option<String>,
    /// Its tools by the names that clients see, each as `server/tool`. Bundle, mandates, policies and records know the tool by its server's name alone.
    #[schemars(with = "BTreeMap<ToolText, ToolRefText>")]
    pub tools: BTreeMap<String, String>,
}

/// Who may call: bearer tokens, each bound to one agent and to the mandates that it may run.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tokens")]
pub struct TokensFile {
    /// Tokens by a name for records and logs.
    #[serde(default)]
    #[schemars(with = "BTreeMap<NameText, TokenEntry>")]
    pub tokens: BTreeMap<String, TokenEntry>,
}

/// One token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Token")]
pub struct TokenEntry {
    /// The SHA-256 digest of the token, in hexadecimal. `warrantor token add` makes tokens that cannot be guessed; the token itself is kept nowhere.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// The agent that calls with it.
    #[schemars(with = "IdText")]
    pub agent: AgentId,
    /// The mandates of the bundle that it may run, or instances that were handed over or delegated. With more than one the client names one in
    /// the header `Warrantor-Mandate`.
    #[serde(default)]
    #[schemars(with = "Vec<NameText>")]
    pub mandates: Vec<TemplateId>,
    /// Whether it may run every mandate that was handed over to its agent, each named by its instance in the header `Warrantor-Mandate`: for agents of the
    /// control plane.
    #[serde(default)]
    pub handed_over: bool,
    /// The servers and sets it reaches; all of the gateway when nothing is said. A token that reaches a set and not its servers reaches what is in the
    /// set.
    #[schemars(with = "Option<Vec<NameText>>")]
    pub servers: Option<Vec<ServerName>>,
    /// When it ends; never when nothing is said.
    #[schemars(with = "Option<TimestampText>")]
    pub expires_at: Option<String>,
}
