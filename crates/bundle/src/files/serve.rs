//! `serve.toml`: where the control plane listens, whom people sign in with, and which bundle decides.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use warrantor_model::{AgentId, ServerName};

use super::{
    gateway::{TlsEntry, TracesEntry},
    text::{DurationText, IdText, NameText},
};

/// Where the control plane listens, whom people sign in with, and which bundle decides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Serve")]
pub struct ServeFile {
    /// The bundle's directory, from this file's directory.
    pub bundle: String,
    /// This enforcement point's name, such as `gateway-eu`. With a name it follows what is published for it, or for every enforcement point: that decides in
    /// place of the directory's bundle from its publication on.
    pub point: Option<String>,
    /// The data directory, from this file's directory; by default that of the command line.
    pub data: Option<String>,
    /// Where to listen: an address and a port. By default `127.0.0.1:8421`.
    pub listen: Option<String>,
    /// Where to answer `GET /metrics`, in the clear: an address and a port. It is not answered if nothing is said.
    pub metrics: Option<String>,
    /// Where spans go. None are made if nothing is said.
    pub traces: Option<TracesEntry>,
    /// TLS. Without it the control plane listens on loopback only.
    pub tls: Option<TlsEntry>,
    /// A file of Cedar policies, from this file's directory, that say who may administer what. By default those that ship with the product.
    pub administration: Option<String>,
    /// Whom people sign in with. Without it sessions begin on the host only.
    pub provider: Option<ProviderEntry>,
    /// The token service. Without it no tokens are made.
    pub tokens: Option<TokensEntry>,
    /// The pages where people answer what agents ask. Without it there are some where there is a token service, at its address.
    pub approvals: Option<ApprovalPagesEntry>,
}

/// The pages where people answer what agents ask.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ApprovalPages")]
pub struct ApprovalPagesEntry {
    /// The address of this control plane as browsers know it, without a path, such as `https://control.example.com`. The identity provider has to know
    /// `/approvals/callback` under it as an address to send people back to. The issuer of `[tokens]` when nothing is said.
    pub url: Option<String>,
    /// Programs that are told of questions, such as a bridge to a chat system.
    #[serde(default)]
    pub notices: Vec<NoticesEntry>,
}

/// A program that is told of questions: that somebody is asked, and what came of it, signed as the Standard Webhooks specification says.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Notices")]
pub struct NoticesEntry {
    /// Where notices are sent: https, or http on this machine.
    pub url: String,
    /// A file with the secret that they are signed with, `whsec_` and 24 bytes or more in base64; from this file's directory.
    pub secret_file: String,
}

/// The token service: access tokens for agents, each for one mandate and one place.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tokens")]
pub struct TokensEntry {
    /// The address of this control plane as its clients know it, without a path, such as `https://control.example.com`: the issuer of the tokens.
    pub issuer: String,
    /// How long a token is valid; 5 minutes when nothing is said, an hour at most.
    #[schemars(with = "Option<DurationText>")]
    pub lifetime: Option<String>,
    /// After how long another key signs; 30 days when nothing is said.
    #[schemars(with = "Option<DurationText>")]
    pub rotate_every: Option<String>,
    /// Whether clients may name the address of the token endpoint as the audience of their assertions, as older libraries do, instead of the issuer.
    #[serde(default)]
    pub endpoint_as_audience: bool,
    /// Where tokens may be shown.
    #[serde(default)]
    pub resources: Vec<ResourceEntry>,
    /// Applications that people sign in with, such as an MCP client on a desk, each an agent of its own.
    #[serde(default)]
    pub applications: Vec<ApplicationEntry>,
    /// Trust domains of SPIFFE whose workloads are agents here.
    #[serde(default)]
    pub trust_domains: Vec<TrustDomainEntry>,
    /// Other domains: whose grants are taken here, and to whom some are given.
    #[serde(default)]
    pub domains: Vec<DomainEntry>,
}

/// A trust domain of SPIFFE. Its workloads prove which agent they are by their JWT-SVID, and need no key here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TrustDomain")]
pub struct TrustDomainEntry {
    /// Its name, such as `prod.example.com`.
    pub name: String,
    /// Its bundle in a file, from this file's directory, which is read again each minute. Exactly one of `bundle` and `endpoint` is given.
    pub bundle: Option<String>,
    /// Where its bundle is published over https (`https_web` of SPIFFE Federation).
    pub endpoint: Option<String>,
    /// A file of certificates, PEM, from this file's directory, that are trusted for the endpoint instead of the system's.
    pub certificates: Option<String>,
    /// The paths of its workloads that are agents: `/agent/{agent}` by the agent's id; `*` stands for any one segment, such as an instance.
    pub path: String,
    /// The agents that its workloads may be; every agent at that path when nothing is said, which one trust domain alone may leave out.
    #[schemars(with = "Option<Vec<IdText>>")]
    pub agents: Option<Vec<AgentId>>,
    /// Whether a workload may show one SVID several times. SPIRE gives out the same for some time; whoever finds one can use it for as long.
    #[serde(default)]
    pub reuse: bool,
}

/// An application that people sign in with. It acts as an agent, under mandates that whoever signs in has handed to that agent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Application")]
pub struct ApplicationEntry {
    /// Its name: the address of its client id metadata document, such as `https://app.example.com/oauth/client.json`, or any name that it was given here. An
    /// address that ends in `/` stands for every document under it.
    pub client_id: String,
    /// The agent that acts when people use it.
    #[schemars(with = "IdText")]
    pub agent: AgentId,
    /// What people know it by; a document says so itself.
    pub name: Option<String>,
    /// Where people are sent back to, for an application that was given its name here. Without them, and only then, its document is asked.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
}

/// Another domain: its token service, and what passes between it and this one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Domain")]
pub struct DomainEntry {
    /// The issuer of its tokens, exactly as they name it, such as `https://control.partner.example`.
    pub issuer: String,
    /// The algorithms that its grants may be signed with; RS256, PS256, ES256 and EdDSA when nothing is said.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// A file of certificates, PEM, from this file's directory, that are trusted for it instead of the system's.
    pub certificates: Option<String>,
    /// What it may say here. Nothing when this is left out.
    pub accepts: Option<AcceptsEntry>,
    /// What is said to it. Nothing when this is left out.
    pub gives: Option<GivesEntry>,
}

/// What a domain may say here: of people whom we know (`people`), or as an agent that stands for the whole domain and hands parts of its mandate on (`agent`
/// and `server`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Accepts")]
pub struct AcceptsEntry {
    /// The agents here that its grants may be for.
    #[schemars(with = "Vec<IdText>", length(min = 1))]
    pub clients: Vec<AgentId>,
    /// Whether its grants speak of people who are registered here with its issuer and their subject there. Tokens are then for their mandates.
    #[serde(default)]
    pub people: bool,
    /// The agent that stands for the domain: a grant is a part of the mandate that this agent has, and never more.
    #[schemars(with = "Option<IdText>")]
    pub agent: Option<AgentId>,
    /// The server whose tools its grants speak of.
    #[schemars(with = "Option<NameText>")]
    pub server: Option<ServerName>,
    /// The places its grants may be for; all of `resources` when nothing is said.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Issuers whose actors may stand in its chains beside its own.
    #[serde(default)]
    pub through: Vec<String>,
    /// How many actors a chain of its may have; 4 when nothing is said, 7 at most.
    #[schemars(range(min = 0, max = 7))]
    pub max_actors: Option<usize>,
}

/// What is said to a domain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Gives")]
pub struct GivesEntry {
    /// Its places that grants are made for. One that ends in `/` stands for everything under it.
    #[schemars(length(min = 1))]
    pub resources: Vec<String>,
    /// The name by which mandates here speak of those tools: a grant has what a mandate grants at this server.
    #[schemars(with = "NameText")]
    pub server: ServerName,
    /// As which clients our agents are known there.
    #[schemars(with = "BTreeMap<IdText, String>", length(min = 1))]
    pub clients: BTreeMap<AgentId, String>,
    /// What grants are signed with: `EdDSA` when nothing is said, or `ES256` for a domain that knows nothing newer.
    pub algorithm: Option<String>,
}

/// A place where tokens may be shown, such as a virtual server of a gateway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Resource")]
pub struct ResourceEntry {
    /// Its address, such as `https://tools.example.com/bank`. One that ends in `/` stands for everything under it.
    pub uri: String,
    /// What its tokens are signed with: `EdDSA` when nothing is said, or `ES256` for a peer that knows nothing newer.
    pub algorithm: Option<String>,
    /// Whether its tokens may be bound to no key, so that whoever finds one can use it. They may not when nothing is said.
    #[serde(default)]
    pub bearer: bool,
}

/// An OpenID provider.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Provider")]
pub struct ProviderEntry {
    /// The issuer, exactly as its tokens name it. Its metadata is asked for at `/.well-known/openid-configuration` under it.
    pub issuer: String,
    /// The name that Warrantor is registered under there: a public client that uses PKCE.
    pub client_id: String,
    /// Audiences of access tokens (RFC 9068) that applications may present here in a person's name. By default they may not.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The algorithms that its tokens may be signed with; RS256, PS256, ES256 and EdDSA when nothing is said.
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// The claim that names a person, `sub` when nothing is said. With a directory, one that the directory sends too, such as `oid`.
    pub subject_claim: Option<String>,
    /// The claim that lists a person's groups. None are told if nothing is said.
    pub groups_claim: Option<String>,
    /// What is asked for at sign-in; `openid profile email` when nothing is said.
    pub scope: Option<String>,
    /// Whether somebody who is not known yet is registered by signing in.
    #[serde(default)]
    pub register: bool,
    /// How far clocks may differ; 30 seconds when nothing is said.
    #[schemars(with = "Option<DurationText>")]
    pub leeway: Option<String>,
    /// A file of certificates, PEM, from this file's directory, that are trusted for the provider instead of the system's.
    pub certificates: Option<String>,
}
