//! The HTTP face of the control plane, floor 6.
//!
//! Every endpoint stands once in the table of `routes`, which makes both the router and the OpenAPI document. An endpoint takes a [`request::Caller`], or
//! it is open to everybody and says so there. What it does is asked of the policies of administration before it is done (`Api::may`); what they refuse is
//! recorded and told as a problem of the catalogue.

mod agents;
mod approvals;
mod bundles;
mod clients;
mod cookies;
mod delegations;
mod deployment;
mod enforcement;
mod mandates;
mod metrics;
mod oauth;
mod pages;
mod people;
pub mod problem;
pub mod provider;
mod reference;
pub mod request;
mod routes;
mod scim;
mod serve;
mod servers;
mod sessions;
mod signing_in;
mod spans;

use std::sync::{Arc, PoisonError, RwLock};

use warrantor_bundle::Loaded;
use warrantor_control::{
    approvals::{Approvals, ApprovalsParts},
    enforcement::{Enforcement, EnforcementParts},
    handover::Desk,
    office::{Authority, Office, OfficeError},
    servers::KnownManifest,
    tokens::TokenService,
};
use warrantor_decide::administration::{Act, Administration, Resource};
use warrantor_engine::{StopFile, bodies::SealKey};
use warrantor_ledger::SigningKey;
use warrantor_model::{Clock, PersonId, Randomness, ServerName};
use warrantor_store::Store;

pub use approvals::browser::Browser;
pub use oauth::{OAuth, OAuthUnready};
pub use reference::reference;
pub use routes::{OPEN, openapi, router};
pub use serve::{ApiServer, serve_metrics};
pub use spans::Spans;

use crate::{
    problem::{Kind, Problem},
    provider::Provider,
    request::Caller,
};

/// What the interface is made from.
pub struct ApiParts<S> {
    /// Where people, agents and credentials are administered.
    pub office: Office<S>,
    /// The store.
    pub store: Arc<S>,
    /// The stop file.
    pub stop: Arc<StopFile>,
    /// The bundle.
    pub bundle: Arc<Loaded>,
    /// The key that wraps the persons' keys.
    pub seal: SealKey,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
    /// Whom people sign in with.
    pub provider: Option<Provider>,
    /// The token service.
    pub tokens: Option<OAuth>,
    /// The pages where people answer.
    pub browser: Option<Browser>,
    /// The key that signs answers to enforcement points.
    pub decisions: SigningKey,
    /// Where spans go.
    pub spans: Spans,
}

/// The interface. Every handler has it.
pub struct Api<S> {
    pub(crate) office: Office<S>,
    store: Arc<S>,
    stop: Arc<StopFile>,
    bundle: RwLock<Arc<Loaded>>,
    seal: SealKey,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    pub(crate) provider: Option<Provider>,
    pub(crate) oauth: Option<OAuth>,
    pub(crate) browser: Option<Browser>,
    pub(crate) enforcement: Enforcement<S>,
    pub(crate) approvals: Approvals<S>,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) spans: Spans,
}

impl<S: Store> Api<S> {
    /// Puts the interface together.
    #[must_use]
    pub fn new(parts: ApiParts<S>) -> Self {
        let enforcement = Enforcement::new(EnforcementParts {
            store: Arc::clone(&parts.store),
            stop: Arc::clone(&parts.stop),
            seal: parts.seal.clone(),
            key: parts.decisions,
            clock: Arc::clone(&parts.clock),
            randomness: Arc::clone(&parts.randomness),
        });
        let approvals = Approvals::new(ApprovalsParts {
            store: Arc::clone(&parts.store),
            stop: Arc::clone(&parts.stop),
            seal: parts.seal.clone(),
            clock: Arc::clone(&parts.clock),
            randomness: Arc::clone(&parts.randomness),
        });
        Self {
            enforcement,
            approvals,
            office: parts.office,
            store: parts.store,
            stop: parts.stop,
            bundle: RwLock::new(parts.bundle),
            seal: parts.seal,
            clock: parts.clock,
            randomness: parts.randomness,
            provider: parts.provider,
            oauth: parts.tokens,
            browser: parts.browser,
            metrics: metrics::Metrics::new(),
            spans: parts.spans,
        }
    }

    /// Waits until everything that was answered to enforcement points is recorded or kept.
    pub async fn settle(&self) {
        self.enforcement.settle().await;
    }

    /// The token service, where there is one.
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenService> {
        self.oauth.as_ref().map(OAuth::service)
    }

    /// What is wrong with the bundles of trust domains now: in words, for whoever starts it.
    pub async fn unreadable_bundles(&self) -> Vec<String> {
        match &self.oauth {
            Some(oauth) => oauth.unreadable_bundles(self.office.now()).await,
            None => Vec::new(),
        }
    }

    /// Where questions are seen and answered.
    #[must_use]
    pub fn approvals(&self) -> &Approvals<S> {
        &self.approvals
    }

    /// The office behind it.
    #[must_use]
    pub fn office(&self) -> &Office<S> {
        &self.office
    }

    pub(crate) fn fresh_request_id(&self) -> String {
        let mut random = [0; 12];
        // Without random bytes nothing else can be done either; the id then only says so.
        match self.randomness.fill(&mut random) {
            Ok(()) => hex::encode(random),
            Err(_) => "no-random-bytes".to_owned(),
        }
    }

    /// What was counted, in OpenMetrics' text.
    #[must_use]
    pub fn counted(&self) -> String {
        self.metrics.told()
    }

    /// Goes on with another bundle, and other policies of administration. What is under way ends on what it began with.
    pub fn go_on_with(&self, bundle: Arc<Loaded>, administration: Arc<Administration>) {
        self.office.go_on_with(Arc::clone(&bundle.snapshot), administration);
        *self.bundle.write().unwrap_or_else(PoisonError::into_inner) = bundle;
    }

    pub(crate) fn bundle(&self) -> Arc<Loaded> {
        Arc::clone(&self.bundle.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn seal(&self) -> &SealKey {
        &self.seal
    }

    /// The authority to act, or the refusal: recorded, and told without a word of which policy stood in the way.
    pub(crate) async fn may(
        &self,
        caller: &Caller,
        act: Act,
        resource: &Resource,
    ) -> Result<Authority, Problem> {
        let denied = match self.office.rule(caller.actor(), caller.hand(), act, resource) {
            Ok(authority) => return Ok(authority),
            Err(denied) => denied,
        };
        self.office.refused(&denied).await;
        // What somebody may not even see is not there for them.
        let seen = match resource {
            Resource::Person { .. } => Some((Act::ReadPerson, "person")),
            Resource::Agent { .. } if act != Act::ProposeAgent => Some((Act::ReadAgent, "agent")),
            Resource::Mandate { .. } if act != Act::HandOver => Some((Act::ReadMandate, "mandate")),
            Resource::Agent { .. }
            | Resource::Mandate { .. }
            | Resource::Template(_)
            | Resource::Server { .. }
            | Resource::Deployment => None,
        };
        if let Some((read, what)) = seen
            && (act == read || self.office.rule(caller.actor(), caller.hand(), read, resource).is_err())
        {
            let name = denied.on.split_once(':').map_or("", |(_, name)| name);
            return Err(Problem::unknown(what, name));
        }
        Err(Problem::new(Kind::NotPermitted, format!("{} is not permitted to you here", act.as_str())))
    }

    /// Whether something may be seen, for lists: what may not is left out, which is no refusal.
    pub(crate) fn sees(&self, caller: &Caller, act: Act, resource: &Resource) -> bool {
        self.office.rule(caller.actor(), caller.hand(), act, resource).is_ok()
    }

    /// Runs something at the desk where mandates are handed over.
    pub(crate) fn desk<'a>(&'a self, bundle: &'a Loaded, evidence: String) -> Desk<'a, S> {
        Desk {
            store: Arc::clone(&self.store),
            stop: &self.stop,
            bundle,
            seal: &self.seal,
            clock: &*self.clock,
            randomness: &*self.randomness,
            evidence,
        }
    }

    /// A person as policies see one. Somebody who is not there is in nothing, so that nothing is told of whether there is somebody.
    pub(crate) async fn person_resource(&self, id: &PersonId) -> Result<Resource, Problem> {
        let (groups, roles) = match self.office.person(id).await {
            Ok(person) => (person.groups, person.roles),
            Err(OfficeError::Unknown { .. }) => Default::default(),
            Err(cause) => return Err(cause.into()),
        };
        Ok(Resource::Person { id: id.clone(), groups, roles })
    }

    /// A manifest that is to be answered, and the authority to. Whether there is one is told to whoever may answer.
    pub(crate) async fn answering(
        &self,
        caller: &Caller,
        act: Act,
        server: &ServerName,
        number: u64,
    ) -> Result<(KnownManifest, Authority), Problem> {
        let found = match self.office.manifest(server, number).await {
            Ok(manifest) => Ok(manifest),
            Err(cause @ OfficeError::Unknown { .. }) => Err(cause),
            Err(cause) => return Err(cause.into()),
        };
        let resource = self.office.server_resource(server, found.as_ref().ok(), caller.person()).await?;
        let authority = self.may(caller, act, &resource).await?;
        Ok((found?, authority))
    }

    /// An agent as policies see it, with an eye on who looks.
    pub(crate) async fn agent_seen_by(
        &self,
        caller: &Caller,
        id: &warrantor_model::AgentId,
    ) -> Result<(warrantor_control::agents::KnownAgent, Resource), Problem> {
        let looking: Option<&PersonId> = caller.person();
        let agent = self.office.agent(id).await?;
        let resource = self.office.agent_resource(&agent, looking).await?;
        Ok((agent, resource))
    }
}
