//! Trust domains of SPIFFE, whose workloads are agents here.

use std::path::{Path, PathBuf};

use url::Url;
use warrantor_model::AgentId;
use warrantor_tokens::SpiffeId;

use super::may_go_back_to;
use crate::{doc::Doc, files::serve::TrustDomainEntry, report::Report, tree::short};

/// A trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomainConfig {
    /// Its name.
    pub name: String,
    /// Where its bundle is.
    pub source: BundleSource,
    /// Which of its workloads are agents.
    pub path: WorkloadPath,
    /// The agents that its workloads may be; every one where none is listed.
    pub agents: Option<Vec<AgentId>>,
    /// Whether a workload may show one SVID several times.
    pub reuse: bool,
}

impl TrustDomainConfig {
    /// The agent that a workload is.
    #[must_use]
    pub fn agent(&self, id: &SpiffeId) -> Option<AgentId> {
        let agent = self.path.agent(id)?;
        self.agents.as_ref().is_none_or(|agents| agents.contains(&agent)).then_some(agent)
    }
}

/// Where a trust domain's bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSource {
    /// In a file.
    File(PathBuf),
    /// At an address, over https.
    Endpoint {
        /// The address.
        url: String,
        /// Certificates to trust instead of the system's.
        certificates: Option<PathBuf>,
    },
}

/// Paths of workloads, with the agent's id in one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadPath(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Exactly(String),
    Any,
    Agent,
}

impl WorkloadPath {
    /// Reads one: segments after slashes, one of which is `{agent}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<Segment> = text
            .strip_prefix('/')?
            .split('/')
            .map(|segment| match segment {
                "{agent}" => Segment::Agent,
                "*" => Segment::Any,
                exactly => Segment::Exactly(exactly.to_owned()),
            })
            .collect();
        let agents = segments.iter().filter(|segment| **segment == Segment::Agent).count();
        // What stands exactly has to be what a SPIFFE ID can have.
        let plain = text.replace("{agent}", "a").replace('*', "a");
        let fits = agents == 1 && format!("spiffe://a{plain}").parse::<SpiffeId>().is_ok();
        fits.then_some(Self(segments))
    }

    /// The agent that a workload is, by its SPIFFE ID.
    #[must_use]
    pub fn agent(&self, id: &SpiffeId) -> Option<AgentId> {
        let mut given = id.path().strip_prefix('/')?.split('/');
        let mut agent = None;
        for segment in &self.0 {
            let given = given.next()?;
            match segment {
                Segment::Exactly(exactly) if exactly == given => {}
                Segment::Any => {}
                Segment::Agent => agent = Some(given.parse().ok()?),
                Segment::Exactly(_) => return None,
            }
        }
        if given.next().is_some() { None } else { agent }
    }
}

pub(super) fn read(
    doc: &Doc,
    at: usize,
    entry: TrustDomainEntry,
    base: &Path,
    report: &mut Report,
) -> Option<TrustDomainConfig> {
    let at = at.to_string();
    let pointer = |field| ["tokens", "trust_domains", at.as_str(), field];
    let is_name = format!("spiffe://{}", entry.name).parse::<SpiffeId>().is_ok_and(|id| id.path().is_empty());
    if !is_name {
        let message = format!("{:?} is no name of a trust domain", short(&entry.name));
        doc.error(report, &pointer("name"), message, "write it as its ids have it, such as prod.example.com");
    }
    let path = WorkloadPath::parse(&entry.path);
    if path.is_none() {
        let message = format!("{:?} is no path of workloads", short(&entry.path));
        doc.error(
            report,
            &pointer("path"),
            message,
            "write one such as /agent/{agent} or /ns/agents/{agent}/*",
        );
    }
    let source = match (entry.bundle, entry.endpoint) {
        (Some(file), None) => Some(BundleSource::File(base.join(file))),
        (None, Some(url)) => {
            if !may_go_back_to(&url) || !Url::parse(&url).is_ok_and(|url| url.scheme().starts_with("http")) {
                let message = format!("{:?} is no address of a bundle", short(&url));
                doc.error(report, &pointer("endpoint"), message, "write https (http only on loopback)");
            }
            let certificates = entry.certificates.map(|file| base.join(file));
            Some(BundleSource::Endpoint { url, certificates })
        }
        _ => {
            let message = "a trust domain has its bundle in a file or at an address";
            doc.error(report, &pointer("name"), message, "write one of `bundle` and `endpoint`");
            None
        }
    };
    if entry.reuse {
        let message =
            "an SVID can be shown several times: whoever finds one has tokens made for a key of their own";
        doc.warn(report, &pointer("reuse"), message, "have each request fetch its own, where that can be");
    }
    Some(TrustDomainConfig {
        name: entry.name,
        source: source?,
        path: path?,
        agents: entry.agents,
        reuse: entry.reuse,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_the_agent_that_its_path_names_and_no_other_path_names_any() {
        for (path, id, agent) in [
            ("/agent/{agent}", "spiffe://a/agent/bot", Some("bot")),
            ("/agent/{agent}", "spiffe://a/agent/bot/1", None),
            ("/agent/{agent}", "spiffe://a/agent", None),
            ("/agent/{agent}", "spiffe://a/agents/bot", None),
            ("/agent/{agent}", "spiffe://a/x/agent/bot", None),
            ("/agent/{agent}", "spiffe://a", None),
            ("/ns/prod/{agent}/*", "spiffe://a/ns/prod/bot/7", Some("bot")),
            ("/ns/prod/{agent}/*", "spiffe://a/ns/dev/bot/7", None),
            ("/{agent}", "spiffe://a/-bot", None),
        ] {
            let found = WorkloadPath::parse(path).unwrap().agent(&id.parse().unwrap());
            assert_eq!(found.as_ref().map(AsRef::as_ref), agent, "{path} {id}");
        }
        for path in [
            "",
            "agent/{agent}",
            "/agent",
            "/{agent}/{agent}",
            "/agent/{agent}/",
            "/a b/{agent}",
            "/../{agent}",
        ] {
            assert!(WorkloadPath::parse(path).is_none(), "{path}");
        }
    }
}
