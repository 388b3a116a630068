//! What stands behind an endpoint: one server, or the servers of a set; and the connections through which one client reaches them.

use std::sync::Arc;

use serde_json::value::RawValue;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Era,
    message::FrameLimits,
    uses::{Target, UseParams},
};
use warrantor_model::{Digest, Offer, ServerName, ToolName, ToolRef};

use super::connection::{Connection, EndpointSettings};
use crate::{
    ToolSet,
    exchange::{Asked, Exchange, Reply},
    set::Set,
};

/// A set of tools from several servers, under a path of its own.
#[derive(Debug, Clone)]
pub struct SetSettings {
    /// Its path.
    pub path: String,
    /// Its tools. Their servers have endpoints of their own.
    pub tools: Arc<ToolSet>,
}

/// A path that clients reach.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The server's name, or the set's: no two endpoints have one.
    pub(super) name: ServerName,
    pub(super) path: String,
    /// The server, or those of the set.
    pub(super) servers: Vec<EndpointSettings>,
    pub(super) set: Option<Arc<ToolSet>>,
    /// The digest of everything that it was configured with.
    pub(super) configured: Digest,
    pub(super) client_limits: FrameLimits,
}

impl Endpoint {
    /// One server.
    pub(super) fn of(server: EndpointSettings) -> Self {
        Self {
            name: server.server.clone(),
            path: server.path.clone(),
            configured: server.configured,
            client_limits: server.client_limits,
            set: None,
            servers: vec![server],
        }
    }

    /// A set. None when it has no server among these.
    pub(super) fn of_set(settings: SetSettings, servers: &[EndpointSettings]) -> Option<Self> {
        let SetSettings { path, tools } = settings;
        let has = |server: &ServerName| tools.tools.values().any(|tool| tool.server == *server);
        let servers: Vec<EndpointSettings> =
            servers.iter().filter(|server| has(&server.server)).cloned().collect();
        let client_limits = servers.first()?.client_limits;
        let configured: Vec<Digest> = servers.iter().map(|server| server.configured).collect();
        Some(Self {
            name: tools.name.clone(),
            configured: Digest::of(format!("{path} {tools:?} {configured:?}").as_bytes()),
            path,
            client_limits,
            servers,
            set: Some(tools),
        })
    }

    /// The tool that a client means by this name.
    pub(super) fn tool(&self, name: &str) -> Option<ToolRef> {
        match (&self.set, self.servers.as_slice()) {
            (Some(set), _) => set.tools.get(name).cloned(),
            (None, [server]) => {
                let name = ToolName::of(Offer::Tool, name).ok()?;
                Some(ToolRef::new(server.server.clone(), name))
            }
            (None, _) => None,
        }
    }

    /// The servers that answer a request: of a set's calls the one that has the tool.
    pub(super) fn asked(
        &self,
        method: &str,
        params: Option<&RawValue>,
    ) -> impl Iterator<Item = &EndpointSettings> {
        // Of one server there is nothing to choose, and so nothing to read.
        let used = self.set.as_ref().and_then(|_| UseParams::parse(method, params)?.ok());
        let tool = used.and_then(|used| match used.target {
            Target::Tool(named) => self.tool(&named.name),
            _ => None,
        });
        self.servers.iter().filter(move |one| tool.as_ref().is_none_or(|tool| tool.server == one.server))
    }
}

/// The connections of one client to what stands behind an endpoint.
pub(super) struct Behind<P: DecisionPoint> {
    pub(super) connections: Vec<Arc<Connection<P>>>,
    set: Option<Arc<ToolSet>>,
}

impl<P: DecisionPoint> Behind<P> {
    pub(super) fn new(endpoint: &Endpoint, connections: Vec<Arc<Connection<P>>>) -> Self {
        Self { connections, set: endpoint.set.clone() }
    }

    /// The servers that are reached.
    pub(super) fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.exchanges().map(|exchange| &exchange.settings.server)
    }

    fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange<P>>> {
        self.connections.iter().map(|connection| &connection.exchange)
    }

    fn set(&self, tools: &Arc<ToolSet>) -> Set<P> {
        Set { tools: Arc::clone(tools), members: self.exchanges().cloned().collect() }
    }

    /// Answers one request.
    pub(super) async fn answer(&self, asked: &Asked<'_>) -> Reply {
        match (&self.set, self.connections.as_slice()) {
            (None, [only]) => only.exchange.answer(asked).await,
            (Some(tools), _) => self.set(tools).answer(asked).await,
            (None, _) => Reply::Nothing,
        }
    }

    /// The client of an older session answers a question.
    pub(super) async fn answered_by_client(&self, line: &[u8], limits: &FrameLimits) {
        match (&self.set, self.connections.as_slice()) {
            (None, [only]) => only.exchange.answered_by_client(line).await,
            (Some(tools), _) => self.set(tools).answered_by_client(line, limits).await,
            (None, _) => {}
        }
    }

    /// Whether a session of the older era has begun with any of them.
    pub(super) fn has_begun(&self) -> bool {
        self.exchanges().any(|exchange| exchange.handshake().era == Some(Era::Legacy))
    }

    /// Those that the session has begun with.
    pub(super) fn begun(&self) -> impl Iterator<Item = &Arc<Connection<P>>> {
        self.connections.iter().filter(|one| one.exchange.handshake().era == Some(Era::Legacy))
    }

    /// Whether one of those is gone, or has forgotten us.
    pub(super) fn is_lost(&self) -> bool {
        self.begun().any(|connection| connection.is_lost())
    }

    /// Whether nothing but lists of tools is told unasked.
    pub(super) fn is_set(&self) -> bool {
        self.set.is_some()
    }

    /// Nobody gets an answer any more, because somebody was stopped.
    pub(super) fn stopped(&self, sentence: &'static str) {
        self.exchanges().for_each(|exchange| exchange.upstream.stopped(sentence));
    }

    pub(super) fn close(&self) {
        self.connections.iter().for_each(|connection| connection.close());
    }
}
