//! The settings of the token service, within `serve.toml`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;
use warrantor_model::{AgentId, ServerName, time::parse_duration};
use warrantor_tokens::{MAX_ACTORS, SigningAlgorithm};

use super::{
    applications::{self, ApplicationConfig, may_go_back_to},
    is_origin,
    trust::{self, TrustDomainConfig},
};
use crate::{
    doc::Doc,
    files::serve::{ApplicationEntry, DomainEntry, TokensEntry, TrustDomainEntry},
    read::split_cure,
    report::Report,
    tree::short,
};

/// How many actors a chain of another domain may have when nothing is said.
const FEW_ACTORS: usize = 4;
/// How long a token is valid when nothing is said, and at most.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// After how long another key signs when nothing is said, and at least.
const ROTATE_EVERY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const LEAST_ROTATE: Duration = Duration::from_secs(24 * 60 * 60);

/// The token service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensConfig {
    /// Its own name: the address under which clients know it, without a path.
    pub issuer: String,
    /// How long a token is valid.
    pub lifetime: Duration,
    /// After how long another key signs.
    pub rotate_every: Duration,
    /// Whether the address of the token endpoint does for the audience of an assertion, as in RFC 7523 before its revision.
    pub endpoint_as_audience: bool,
    /// Where tokens may be shown.
    pub resources: Vec<ResourceConfig>,
    /// Applications that people sign in with.
    pub applications: Vec<ApplicationConfig>,
    /// Trust domains of SPIFFE.
    pub trust_domains: Vec<TrustDomainConfig>,
    /// Other domains.
    pub domains: Vec<DomainConfig>,
}

/// A place where tokens may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Its address; one that ends in `/` stands for everything under it.
    pub uri: String,
    /// What its tokens are signed with.
    pub algorithm: SigningAlgorithm,
    /// Whether tokens for it may be bound to no key.
    pub bearer: bool,
}

impl TokensConfig {
    /// Where tokens are asked for.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}/oauth/token", self.issuer)
    }

    /// The algorithms that are needed.
    #[must_use]
    pub fn algorithms(&self) -> Vec<SigningAlgorithm> {
        let needed = |one: &SigningAlgorithm| {
            *one == SigningAlgorithm::EdDsa
                || self.resources.iter().any(|resource| resource.algorithm == *one)
                || self
                    .domains
                    .iter()
                    .any(|domain| domain.gives.as_ref().is_some_and(|gives| gives.algorithm == *one))
        };
        SigningAlgorithm::ALL.into_iter().filter(needed).collect()
    }

    /// The place that an address is of.
    #[must_use]
    pub fn resource(&self, uri: &str) -> Option<&ResourceConfig> {
        self.resources.iter().find(|resource| covers(&resource.uri, uri))
    }

    /// The application of a name.
    #[must_use]
    pub fn application(&self, client_id: &str) -> Option<&ApplicationConfig> {
        self.applications.iter().find(|application| application.is(client_id))
    }

    /// Where the identity provider sends people back to.
    #[must_use]
    pub fn callback(&self) -> String {
        format!("{}/oauth/callback", self.issuer)
    }

    /// A trust domain of SPIFFE.
    #[must_use]
    pub fn trust_domain(&self, name: &str) -> Option<&TrustDomainConfig> {
        self.trust_domains.iter().find(|domain| domain.name == name)
    }

    /// Whether an agent stands for another domain: it hands on, and never asks for a token itself.
    #[must_use]
    pub fn stands_for_domain(&self, agent: &AgentId) -> bool {
        let accepts = self.domains.iter().filter_map(|domain| domain.accepts.as_ref());
        accepts
            .into_iter()
            .any(|accepts| matches!(&accepts.said, Said::Parts { agent: of, .. } if of == agent))
    }

    /// Another domain.
    #[must_use]
    pub fn domain(&self, issuer: &str) -> Option<&DomainConfig> {
        self.domains.iter().find(|domain| domain.issuer == issuer)
    }
}

/// Whether an address is this one, or under it where it ends in `/`.
pub(super) fn covers(of: &str, uri: &str) -> bool {
    of == uri || (of.ends_with('/') && uri.starts_with(of))
}

/// Another domain: its token service, and what passes between it and this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainConfig {
    /// The issuer of its tokens.
    pub issuer: String,
    /// The algorithms that its grants may be signed with; empty for the default ones.
    pub algorithms: Vec<String>,
    /// Certificates to trust instead of the system's.
    pub certificates: Option<PathBuf>,
    /// What it may say here.
    pub accepts: Option<Accepts>,
    /// What is said to it.
    pub gives: Option<Gives>,
}

/// What a domain may say here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepts {
    /// The agents here that its grants may be for.
    pub clients: Vec<AgentId>,
    /// Of whom, or as whom, it speaks.
    pub said: Said,
    /// The places its grants may be for; empty for all.
    pub resources: Vec<String>,
    /// Issuers whose actors may stand in its chains beside its own.
    pub through: Vec<String>,
    /// How many actors a chain of its may have.
    pub max_actors: usize,
}

impl Accepts {
    /// Whether a grant may be for this place.
    #[must_use]
    pub fn is_for(&self, uri: &str) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|of| covers(of, uri))
    }
}

/// Of whom, or as whom, a domain speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Of people who are known here, too.
    People,
    /// As an agent that stands for it, and that hands parts of its mandate on: of this server's tools.
    Parts {
        /// The agent.
        agent: AgentId,
        /// The server.
        server: ServerName,
    },
}

/// What is said to a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gives {
    /// Its places that grants are made for.
    pub resources: Vec<String>,
    /// The name by which mandates here speak of those tools.
    pub server: ServerName,
    /// As which clients our agents are known there.
    pub clients: BTreeMap<AgentId, String>,
    /// What grants are signed with.
    pub algorithm: SigningAlgorithm,
}

impl Gives {
    /// Whether grants are made for this place.
    #[must_use]
    pub fn is_for(&self, uri: &str) -> bool {
        self.resources.iter().any(|of| covers(of, uri))
    }
}

pub(super) fn read(doc: &Doc, entry: TokensEntry, base: &Path, report: &mut Report) -> TokensConfig {
    if !is_origin(&entry.issuer) {
        let message = format!("the issuer {:?} is no address of a server", short(&entry.issuer));
        let cure =
            "write one such as https://control.example.com: https (http only on loopback), a host, no path";
        doc.error(report, &["tokens", "issuer"], message, cure);
    }
    let lifetime = duration(doc, "lifetime", entry.lifetime.as_deref(), LIFETIME, report);
    if lifetime > LONGEST_LIFETIME || lifetime < Duration::from_secs(1) {
        let message = "a token is valid for a second at least and an hour at most";
        doc.error(report, &["tokens", "lifetime"], message, "5m is plenty: an agent asks for another");
    }
    let rotate_every = duration(doc, "rotate_every", entry.rotate_every.as_deref(), ROTATE_EVERY, report);
    if rotate_every < LEAST_ROTATE {
        let message = "keys that change more than once a day are not known everywhere when they sign";
        doc.error(report, &["tokens", "rotate_every"], message, "write a day at least, such as 30d");
    }
    let resources = entry.resources.into_iter().enumerate().map(|(at, resource)| {
        let at = at.to_string();
        let pointer = |field| ["tokens", "resources", at.as_str(), field];
        must_be_place(doc, &pointer("uri"), &resource.uri, report);
        let algorithm = algorithm(doc, &pointer("algorithm"), resource.algorithm.as_deref(), report);
        ResourceConfig { uri: resource.uri, algorithm, bearer: resource.bearer }
    });
    let resources: Vec<ResourceConfig> = resources.collect();
    look_at_all(doc, (&entry.applications, &entry.domains, &entry.trust_domains), &resources, report);
    let applications = entry.applications.into_iter().enumerate();
    let applications =
        applications.map(|(at, one)| applications::read(doc, at, one, &entry.issuer, report)).collect();
    let trust_domains = entry.trust_domains.into_iter().enumerate();
    let trust_domains =
        trust_domains.filter_map(|(at, one)| trust::read(doc, at, one, base, report)).collect();
    let domains = entry.domains.into_iter().enumerate();
    let domains = domains
        .map(|(at, domain)| read_domain(doc, (at, &entry.issuer, &resources), domain, base, report))
        .collect();
    TokensConfig {
        resources,
        applications,
        trust_domains,
        domains,
        issuer: entry.issuer,
        lifetime,
        rotate_every,
        endpoint_as_audience: entry.endpoint_as_audience,
    }
}

fn algorithm(doc: &Doc, pointer: &[&str], name: Option<&str>, report: &mut Report) -> SigningAlgorithm {
    let Some(name) = name else { return SigningAlgorithm::EdDsa };
    SigningAlgorithm::named(name).unwrap_or_else(|| {
        let message = format!("{:?} is no algorithm that tokens are signed with", short(name));
        doc.error(report, pointer, message, "write EdDSA or ES256");
        SigningAlgorithm::EdDsa
    })
}

/// What is wrong with applications and domains as a whole.
fn look_at_all(
    doc: &Doc,
    (applications, domains, trusted): (&[ApplicationEntry], &[DomainEntry], &[TrustDomainEntry]),
    resources: &[ResourceConfig],
    report: &mut Report,
) {
    for (at, one) in applications.iter().enumerate() {
        let twice = applications
            .iter()
            .take(at)
            .any(|before| before.client_id == one.client_id || covers(&before.client_id, &one.client_id));
        if twice {
            let message = format!(
                "{:?} stands twice, or is covered by an application before it",
                short(&one.client_id)
            );
            let cure = "keep one of the two, or write the narrower one first";
            doc.error(report, &["tokens", "applications", &at.to_string(), "client_id"], message, cure);
        }
    }
    if !applications.is_empty() && !resources.iter().any(|resource| resource.bearer) {
        let message =
            "no place takes tokens that are bound to no key, and few applications can prove to have one";
        let cure = "write `bearer = true` for the places that people's applications use, here and in the gateway's [oauth]";
        doc.warn(report, &["tokens", "applications"], message, cure);
    }
    for (at, one) in trusted.iter().enumerate() {
        let pointer = ["tokens", "trust_domains", &at.to_string(), "name"];
        if trusted.iter().take(at).any(|before| before.name == one.name) {
            let message = format!("{:?} stands twice among the trust domains", short(&one.name));
            doc.error(
                report,
                &pointer,
                message,
                "keep one of the two; `*` stands for any one segment of its path",
            );
        }
        if trusted.len() > 1 && one.agents.is_none() {
            let message = format!(
                "the workloads of {:?} could be any agent, another trust domain's too",
                short(&one.name)
            );
            doc.error(report, &pointer, message, "list which, in `agents`");
        }
    }
    for (at, domain) in domains.iter().enumerate() {
        if domains.iter().take(at).any(|before| before.issuer == domain.issuer) {
            let cure = "say both what it accepts and what it gives in one entry";
            let message = format!("{:?} stands twice among the domains", short(&domain.issuer));
            doc.error(report, &["tokens", "domains", &at.to_string(), "issuer"], message, cure);
        }
    }
}

fn must_be_place(doc: &Doc, pointer: &[&str], uri: &str, report: &mut Report) {
    let is_place =
        Url::parse(uri).is_ok_and(|url| url.fragment().is_none() && url.query().is_none() && url.has_host());
    if !is_place {
        let message = format!("{:?} is no address of a place", short(uri));
        doc.error(report, pointer, message, "write one such as https://tools.example.com/bank");
    }
}

fn read_domain(
    doc: &Doc,
    (at, own, places): (usize, &str, &[ResourceConfig]),
    entry: DomainEntry,
    base: &Path,
    report: &mut Report,
) -> DomainConfig {
    let at = at.to_string();
    let pointer = |field| ["tokens", "domains", at.as_str(), field];
    if entry.issuer == own {
        let cure = "a domain is another one: leave this out";
        doc.error(report, &pointer("issuer"), "the domain is this one itself", cure);
    }
    let is_issuer = Url::parse(&entry.issuer)
        .is_ok_and(|url| url.query().is_none() && url.fragment().is_none())
        && may_go_back_to(&entry.issuer)
        && (entry.issuer.starts_with("https://") || entry.issuer.starts_with("http://"));
    if !is_issuer {
        let message = format!("{:?} is no issuer of tokens", short(&entry.issuer));
        doc.error(
            report,
            &pointer("issuer"),
            message,
            "write it as its tokens do: https (http only on loopback)",
        );
    }
    if entry.accepts.is_none() && entry.gives.is_none() {
        let message = "nothing passes between this domain and ours";
        doc.error(report, &pointer("issuer"), message, "say what it `accepts` or `gives`, or leave it out");
    }
    let accepts = entry.accepts.and_then(|accepts| {
        let pointer = pointer("accepts");
        let said = match (accepts.people, accepts.agent, accepts.server) {
            (true, None, None) => Some(Said::People),
            (false, Some(agent), Some(server)) => Some(Said::Parts { agent, server }),
            _ => {
                let message = "a domain speaks either of people, or as an agent that stands for it";
                let cure = "write `people = true`, or `agent` and `server`";
                doc.error(report, &pointer, message, cure);
                None
            }
        };
        let max_actors = accepts.max_actors.unwrap_or(FEW_ACTORS);
        // One actor more is the agent that the token is made for.
        if max_actors >= MAX_ACTORS {
            let message = format!("a chain of another domain has {} actors at most", MAX_ACTORS - 1);
            doc.error(report, &[&pointer[..], &["max_actors"]].concat(), message, "4 is plenty");
        }
        if accepts.clients.is_empty() {
            let message = "its grants are for nobody";
            doc.error(report, &pointer, message, "list the agents here that they may be for, in `clients`");
        }
        for uri in &accepts.resources {
            let at = [&pointer[..], &["resources"]].concat();
            must_be_place(doc, &at, uri, report);
            if !places.iter().any(|place| covers(&place.uri, uri) || covers(uri, &place.uri)) {
                let message = format!("no tokens are made for {:?}", short(uri));
                doc.error(
                    report,
                    &at,
                    message,
                    "add it to `resources` of the token service, or leave it out",
                );
            }
        }
        if accepts.through.iter().any(|issuer| issuer == own) {
            let message = "only we speak of our own actors";
            doc.error(report, &[&pointer[..], &["through"]].concat(), message, "leave our issuer out");
        }
        if let Some(Said::Parts { agent, .. }) = &said
            && accepts.clients.contains(agent)
        {
            let message = format!("{agent} stands for the domain, and would ask for tokens itself");
            doc.error(
                report,
                &[&pointer[..], &["agent"]].concat(),
                message,
                "let another agent stand for it",
            );
        }
        Some(Accepts {
            clients: accepts.clients,
            said: said?,
            resources: accepts.resources,
            through: accepts.through,
            max_actors,
        })
    });
    let gives = entry.gives.map(|gives| {
        let pointer = pointer("gives");
        for uri in &gives.resources {
            must_be_place(doc, &[&pointer[..], &["resources"]].concat(), uri, report);
        }
        if gives.resources.is_empty() || gives.clients.is_empty() {
            let message = "grants are made for no place, or for no agent";
            doc.error(
                report,
                &pointer,
                message,
                "list its places in `resources`, and our agents in `clients`",
            );
        }
        let at = [&pointer[..], &["algorithm"]].concat();
        Gives {
            algorithm: algorithm(doc, &at, gives.algorithm.as_deref(), report),
            resources: gives.resources,
            server: gives.server,
            clients: gives.clients,
        }
    });
    DomainConfig {
        issuer: entry.issuer,
        algorithms: entry.algorithms,
        certificates: entry.certificates.map(|file| base.join(file)),
        accepts,
        gives,
    }
}

fn duration(
    doc: &Doc,
    field: &str,
    text: Option<&str>,
    otherwise: Duration,
    report: &mut Report,
) -> Duration {
    match text.map(parse_duration) {
        None => otherwise,
        Some(Ok(duration)) => duration,
        Some(Err(cause)) => {
            let text = cause.to_string();
            let (what, cure) = split_cure(&text);
            doc.error(report, &["tokens", field], what, cure.unwrap_or_default());
            otherwise
        }
    }
}
