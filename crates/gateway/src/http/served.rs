//! What is served, to whom, under which names: a configuration, and what of the one before it goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use hyper::{
    HeaderMap, StatusCode,
    header::{HOST, HeaderValue, ORIGIN},
};
use warrantor_mcp::headers;
use warrantor_model::{Digest, ServerName};

use super::{
    behind::{Endpoint, SetSettings},
    callers::{Caller, CallerSettings, Callers},
    checks::without_port,
    connection::EndpointSettings,
    front::MANDATE_HEADER,
    resource::{ResourceServer, ResourceSettings},
    respond::Refused,
};

/// What a gateway serves, and to whom. It can be replaced while the gateway runs.
pub struct Serving<M> {
    /// The virtual servers.
    pub endpoints: Vec<EndpointSettings>,
    /// Sets of their tools.
    pub sets: Vec<SetSettings>,
    /// Who may call.
    pub callers: Vec<CallerSettings>,
    /// Whose access tokens count.
    pub resource: Option<ResourceSettings>,
    /// Finds mandates.
    pub mandates: M,
    /// Names in the header `Host` that are answered to.
    pub hosts: BTreeSet<String>,
    /// Origins of web pages that may call.
    pub origins: BTreeSet<String>,
    /// TLS, if there is any.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Bounds. Those of connections and sessions hold from the start on.
    pub limits: GatewayLimits,
}

/// Bounds of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayLimits {
    /// Most connections at a time.
    pub connections: usize,
    /// Most sessions at a time.
    pub sessions: usize,
    /// Most requests under way of one caller.
    pub requests: usize,
    /// Most requests a second of one caller; over a short while twice as many.
    pub requests_per_second: NonZeroU32,
    /// How long a request may take to arrive.
    pub receive: Duration,
    /// How long a session may be idle.
    pub idle: Duration,
}

/// What is served now.
pub(super) struct Now<M> {
    pub(super) endpoints: BTreeMap<String, Endpoint>,
    pub(super) callers: Callers,
    pub(super) resource: Option<Arc<ResourceServer>>,
    pub(super) mandates: M,
    pub(super) hosts: BTreeSet<String>,
    origins: BTreeSet<String>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) limits: GatewayLimits,
}

impl<M> Now<M> {
    /// What is unchanged goes on as it is: a caller with what it does right now, a server with its connections.
    pub(super) fn of(serving: Serving<M>, before: Option<&Self>) -> Self {
        let limits = serving.limits;
        let servers: Vec<EndpointSettings> = serving
            .endpoints
            .into_iter()
            .map(|server| {
                let same = before
                    .and_then(|before| before.endpoints.get(&server.path))
                    .filter(|same| same.set.is_none() && same.configured == server.configured)
                    .filter(|same| same.name == server.server);
                same.and_then(|same| same.servers.first()).cloned().unwrap_or(server)
            })
            .collect();
        let sets = serving.sets.into_iter().filter_map(|set| Endpoint::of_set(set, &servers));
        let endpoints: Vec<Endpoint> = servers.iter().cloned().map(Endpoint::of).chain(sets).collect();
        // Bounds are a caller's own: others begin anew.
        let known = before.filter(|before| before.limits == limits).map(|before| &before.callers);
        // What it has seen goes on counting as seen, for as long as it is the same.
        let resource = serving.resource.map(|settings| {
            let same = before.and_then(|before| before.resource.as_ref());
            match same.filter(|same| same.settings.configured == settings.configured) {
                Some(same) => Arc::clone(same),
                None => Arc::new(ResourceServer::new(settings)),
            }
        });
        let callers = Callers::new(serving.callers, limits.requests_per_second, limits.requests, known);
        if let (Some(now), Some(before)) = (&resource, before)
            && before.resource.as_ref().is_some_and(|before| Arc::ptr_eq(before, now))
        {
            callers.keep_issued(&before.callers);
        }
        Self {
            resource,
            endpoints: endpoints.into_iter().map(|one| (one.path.clone(), one)).collect(),
            callers,
            mandates: serving.mandates,
            hosts: serving.hosts,
            origins: serving.origins,
            tls: serving.tls,
            limits,
        }
    }

    /// Whether the request is meant for us, and comes from no page that may not call: a page that was given our address by its own name server sends
    /// its own name.
    pub(super) fn is_addressed(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        // Whoever stands before us may have gone by the other one.
        for name in ["host", "origin", "content-type", headers::SESSION, headers::LAST_EVENT, MANDATE_HEADER]
        {
            let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
            if values.len() > 1 || values.iter().any(|value| value.to_str().is_err()) {
                let why = format!("the header {name} stands twice or is not plain ASCII");
                return Err(Refused::new(StatusCode::BAD_REQUEST, why));
            }
        }
        let host = text(HOST).unwrap_or_default().to_ascii_lowercase();
        if !self.hosts.contains(without_port(&host)) {
            return Err(Refused::new(
                StatusCode::FORBIDDEN,
                "this gateway is not known by the name in `Host`: add it to `hosts` of its configuration",
            ));
        }
        match text(ORIGIN) {
            Some(origin) if !self.origins.contains(&origin.to_ascii_lowercase()) => Err(Refused::new(
                StatusCode::FORBIDDEN,
                "pages of this origin may not call: add it to `origins` of the gateway's configuration",
            )),
            _ => Ok(()),
        }
    }

    /// Whether a connection that was opened for a caller before may go on.
    pub(super) fn keeps(&self, server: &ServerName, configured: Digest, caller: &Caller) -> bool {
        let endpoint = self.endpoints.values().find(|endpoint| endpoint.name == *server);
        endpoint.is_some_and(|endpoint| endpoint.configured == configured)
            && self.callers.has(&caller.settings)
    }
}
