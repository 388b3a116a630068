//! Agents of the registry: proposed, approved by somebody else, suspended, taken over, retired.
//!
//! Nobody approves what they proposed, and nobody approves it through another account of theirs. Whoever approves names the digest of what they saw, so
//! that nothing can change between looking and approving.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use warrantor_decide::administration::Resource;
use warrantor_engine::registry::{self, AgentState, Done, Risk, StoredAgent};
use warrantor_model::{
    Accountable, Agent, AgentId, AgentStatus, Digest, Effect, PersonId, ServerName, Subject, Timestamp,
};
use warrantor_store::Store;

use crate::{
    names,
    office::{Change, Office, OfficeError},
};

mod acts;

/// Most sponsors and most deputies of one agent.
const MAX_SPONSORS: usize = 16;
/// Most keys of one agent.
const MAX_AGENT_KEYS: usize = 16;

/// What is said of an agent by whoever proposes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// Who is accountable for it as an asset.
    #[schema(value_type = String)]
    pub owner: Accountable,
    /// Who is accountable for what it does.
    #[schema(value_type = Vec<String>)]
    pub sponsors: Vec<Accountable>,
    /// Who may take over.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub deputies: Vec<PersonId>,
    /// What it is for.
    pub purpose: String,
    /// How much harm it could do.
    #[schema(value_type = String)]
    pub risk: Risk,
    /// Servers it may reach.
    #[schema(value_type = Vec<String>)]
    pub servers: BTreeSet<ServerName>,
    /// Effects it may have.
    #[schema(value_type = Vec<String>)]
    pub effects: BTreeSet<Effect>,
    /// Whether it is a blueprint for a fleet.
    #[serde(default)]
    pub is_blueprint: bool,
}

impl AgentSpec {
    /// What an approval is bound to.
    fn digest(&self) -> Result<Digest, OfficeError> {
        Ok(Digest::of(&serde_json::to_vec(self)?))
    }
}

/// A change of an agent, or a new one, that nobody has approved yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredProposal {
    spec: AgentSpec,
    proposed: Done,
}

/// An agent as the office shows one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownAgent {
    /// The id.
    #[schema(value_type = String)]
    pub id: AgentId,
    /// Who is accountable for it as an asset.
    #[schema(value_type = String)]
    pub owner: Accountable,
    /// Who is accountable for what it does.
    #[schema(value_type = Vec<String>)]
    pub sponsors: Vec<Accountable>,
    /// Who may take over.
    #[schema(value_type = Vec<String>)]
    pub deputies: Vec<PersonId>,
    /// What it is for.
    pub purpose: String,
    /// How much harm it could do, where it was said.
    #[schema(value_type = Option<String>)]
    pub risk: Option<Risk>,
    /// Servers it may reach.
    #[schema(value_type = Vec<String>)]
    pub servers: BTreeSet<ServerName>,
    /// Effects it may have.
    #[schema(value_type = Vec<String>)]
    pub effects: BTreeSet<Effect>,
    /// Where it stands.
    pub standing: AgentStanding,
    /// Whether nobody live is accountable for it: its calls are refused.
    pub orphaned: bool,
    /// Whether it is a blueprint for a fleet.
    pub is_blueprint: bool,
    /// The blueprint it was made by.
    #[schema(value_type = Option<String>)]
    pub blueprint: Option<AgentId>,
    /// Names and thumbprints of its keys.
    pub keys: BTreeMap<String, String>,
    /// What waits for an approval.
    pub proposal: Option<Proposal>,
    /// Whether the bundle tells of it, rather than the registry.
    pub of_bundle: bool,
    /// Of the entry in the registry.
    pub version: Option<u64>,
    /// What was looked at: an act that was ruled on this changes this and nothing newer.
    #[serde(skip)]
    seen: Seen,
}

/// The versions of the entries that a view was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    agent: Option<u64>,
    proposal: Option<u64>,
}

/// What waits for an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Proposal {
    /// What it would be.
    pub spec: AgentSpec,
    /// What an approval has to name.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// Who proposed it.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
}

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStanding {
    /// Nobody has approved it yet.
    Proposed,
    /// It may act within mandates.
    Active,
    /// It, or the blueprint it was made by, was stopped.
    Suspended,
    /// Gone for good.
    Retired,
}

impl AgentStanding {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Retired => "retired",
        }
    }
}

/// Who is behind an act.
enum Behind {
    /// This person.
    Person(PersonId),
    /// Whoever runs commands on the host, from whom nothing can be kept.
    TheHost,
    /// It cannot be told.
    Unknown,
}

/// For what a deputy takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// For the owner.
    Owner,
    /// For the sponsors.
    Sponsor,
}

impl<S: Store> Office<S> {
    /// An agent.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when there is none.
    pub async fn agent(&self, id: &AgentId) -> Result<KnownAgent, OfficeError> {
        let snapshot = self.snapshot();
        if let Some(agent) = snapshot.agent(id) {
            return self.agent_of_bundle(agent).await;
        }
        let (version, stored) = self.stored_agent(id).await?;
        let found = self.proposal(id).await?;
        let seen = Seen { agent: Some(version), proposal: found.as_ref().map(|(version, _)| *version) };
        let stored = match stored.blueprint.clone() {
            Some(plan) => {
                let plan = registry::agent(&*self.store, &plan).await?;
                stored.of_fleet(plan.as_ref().map(|(_, plan)| plan))
            }
            None => stored,
        };
        let proposal = match found {
            Some((_, proposal)) => Some(Proposal {
                digest: proposal.spec.digest()?,
                spec: proposal.spec,
                by: proposal.proposed.by,
                at: proposal.proposed.at,
            }),
            None => None,
        };
        let agent = stored.agent(id);
        Ok(KnownAgent {
            id: id.clone(),
            standing: self.standing_of(&agent).await?,
            orphaned: self.is_orphaned(&agent).await?,
            owner: stored.owner,
            sponsors: stored.sponsors,
            deputies: stored.deputies,
            purpose: stored.purpose,
            risk: Some(stored.risk),
            servers: stored.servers,
            effects: stored.effects,
            is_blueprint: stored.is_blueprint,
            blueprint: stored.blueprint,
            keys: stored.keys.into_iter().map(|(name, key)| (name, key.thumbprint)).collect(),
            proposal,
            of_bundle: false,
            version: Some(version),
            seen,
        })
    }

    async fn agent_of_bundle(&self, agent: &Agent) -> Result<KnownAgent, OfficeError> {
        Ok(KnownAgent {
            id: agent.id.clone(),
            standing: self.standing_of(agent).await?,
            orphaned: self.is_orphaned(agent).await?,
            owner: agent.owner.clone(),
            sponsors: agent.sponsors.clone(),
            deputies: Vec::new(),
            purpose: agent.purpose.clone(),
            risk: None,
            servers: agent.ceiling.servers.clone(),
            effects: agent.ceiling.effects.iter().collect(),
            is_blueprint: false,
            blueprint: None,
            keys: BTreeMap::new(),
            proposal: None,
            of_bundle: true,
            version: None,
            seen: Seen::default(),
        })
    }

    async fn stored_agent(&self, id: &AgentId) -> Result<(u64, StoredAgent), OfficeError> {
        if self.snapshot().agent(id).is_some() {
            return Err(OfficeError::Conflict(format!(
                "{id} stands in the bundle: change agents.yaml and publish it"
            )));
        }
        let unknown = || OfficeError::Unknown { what: "agent", name: id.to_string() };
        registry::agent(&*self.store, id).await?.ok_or_else(unknown)
    }

    /// The entry, if it is still what was seen.
    async fn as_seen(&self, agent: &KnownAgent) -> Result<(u64, StoredAgent), OfficeError> {
        let (version, stored) = self.stored_agent(&agent.id).await?;
        if agent.seen.agent == Some(version) { Ok((version, stored)) } else { Err(OfficeError::Contended) }
    }

    async fn proposal(&self, id: &AgentId) -> Result<Option<(u64, StoredProposal)>, OfficeError> {
        self.entry(&names::proposal(id)?).await
    }

    async fn standing_of(&self, agent: &Agent) -> Result<AgentStanding, OfficeError> {
        let of = match agent.status {
            AgentStatus::Retired => return Ok(AgentStanding::Retired),
            AgentStatus::Suspended => return Ok(AgentStanding::Suspended),
            AgentStatus::Proposed => AgentStanding::Proposed,
            AgentStatus::Active => AgentStanding::Active,
        };
        for id in std::iter::once(&agent.id).chain(&agent.blueprint) {
            if self.is_stopped(&Subject::Agent(id.clone())).await? {
                return Ok(AgentStanding::Suspended);
            }
        }
        Ok(of)
    }

    /// Whether its calls would be refused because nobody live owns it or sponsors it.
    async fn is_orphaned(&self, agent: &Agent) -> Result<bool, OfficeError> {
        let owner = std::slice::from_ref(&agent.owner);
        Ok(!self.anyone_live(owner).await? || !self.anyone_live(&agent.sponsors).await?)
    }

    async fn anyone_live(&self, who: &[Accountable]) -> Result<bool, OfficeError> {
        for id in self.persons(who).await? {
            if self.actor(&id).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The persons, groups resolved. A group that has too many members to be accountable has none.
    async fn persons(&self, who: &[Accountable]) -> Result<BTreeSet<PersonId>, OfficeError> {
        let mut persons = BTreeSet::new();
        for who in who {
            match who {
                Accountable::Person(person) => drop(persons.insert(person.clone())),
                Accountable::Group(group) => {
                    persons.extend(self.group_members(group).await?.unwrap_or_default());
                }
            }
        }
        Ok(persons)
    }

    /// The agent as policies of administration see it. `looking` is whoever wants to act: if that may be the human who proposed it, it counts as one of
    /// the proposers.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn agent_resource(
        &self,
        agent: &KnownAgent,
        looking: Option<&PersonId>,
    ) -> Result<Resource, OfficeError> {
        let proposed_by = match (&agent.proposal, agent.of_bundle) {
            (Some(proposal), _) => Some(proposal.by.clone()),
            (None, true) => None,
            (None, false) => Some(self.stored_agent(&agent.id).await?.1.proposed.by),
        };
        Ok(Resource::Agent {
            id: agent.id.clone(),
            owners: self.persons(std::slice::from_ref(&agent.owner)).await?,
            sponsors: self.persons(&agent.sponsors).await?,
            deputies: agent.deputies.iter().cloned().collect(),
            proposers: self.proposers(proposed_by.as_deref(), looking).await?,
            risk: agent.risk.map_or("", risk_name).to_owned(),
            effects: agent.effects.iter().copied().collect(),
            state: agent.standing.as_str().to_owned(),
        })
    }

    /// Who proposed something, as far as it can be told, and whoever looks if that may be the same human.
    pub(crate) async fn proposers(
        &self,
        by: Option<&str>,
        looking: Option<&PersonId>,
    ) -> Result<BTreeSet<PersonId>, OfficeError> {
        let mut proposers = BTreeSet::new();
        match self.human_behind(by).await? {
            Behind::Person(proposer) => {
                if let Some(looking) = looking
                    && self.may_be_one_human(looking, &proposer).await?
                {
                    proposers.insert(looking.clone());
                }
                proposers.insert(proposer);
            }
            Behind::TheHost => {}
            // Who cannot be told may be whoever looks.
            Behind::Unknown => proposers.extend(looking.cloned()),
        }
        Ok(proposers)
    }

    /// Who is behind an act: of a client, whoever made it.
    async fn human_behind(&self, by: Option<&str>) -> Result<Behind, OfficeError> {
        let mut by = by.map(str::to_owned);
        if let Some(name) = by.as_deref().and_then(|by| by.strip_prefix("client:")) {
            by = self.client_named(name).await?.map(|client| client.made.by);
        }
        Ok(match by.as_deref() {
            Some("host") => Behind::TheHost,
            Some(by) => {
                let person = by.strip_prefix("person:").and_then(|id| id.parse().ok());
                person.map_or(Behind::Unknown, Behind::Person)
            }
            None => Behind::Unknown,
        })
    }

    /// An agent that is to be proposed, as policies of administration see it.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn proposed_resource(&self, id: &AgentId, spec: &AgentSpec) -> Result<Resource, OfficeError> {
        Ok(Resource::Agent {
            id: id.clone(),
            owners: self.persons(std::slice::from_ref(&spec.owner)).await?,
            sponsors: self.persons(&spec.sponsors).await?,
            deputies: spec.deputies.iter().cloned().collect(),
            proposers: BTreeSet::new(),
            risk: risk_name(spec.risk).to_owned(),
            effects: spec.effects.iter().copied().collect(),
            state: AgentStanding::Proposed.as_str().to_owned(),
        })
    }

    /// The agents after one, in the order of their ids.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn agents(
        &self,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<KnownAgent>, OfficeError> {
        let snapshot = self.snapshot();
        let mut ids: BTreeSet<AgentId> = snapshot.own_agents().map(|agent| agent.id.clone()).collect();
        ids.retain(|id| after.is_none_or(|after| id > after));
        ids.extend(self.ids(&names::agents()?, after.map(AsRef::as_ref), limit).await?);
        self.each_agent(ids, limit).await
    }

    /// The agents after one that a person is accountable for or a deputy of, by name or through a group.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn agents_of(
        &self,
        person: &PersonId,
        after: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<KnownAgent>, OfficeError> {
        let known = self.person(person).await?;
        let mut who = vec![Accountable::Person(person.clone())];
        who.extend(known.groups.into_iter().map(Accountable::Group));
        let snapshot = self.snapshot();
        let mut ids: BTreeSet<AgentId> = snapshot
            .own_agents()
            .filter(|agent| std::iter::once(&agent.owner).chain(&agent.sponsors).any(|one| who.contains(one)))
            .map(|agent| agent.id.clone())
            .collect();
        ids.retain(|id| after.is_none_or(|after| id > after));
        for one in &who {
            ids.extend(self.ids(&names::agents_of(one)?, after.map(AsRef::as_ref), limit).await?);
        }
        self.each_agent(ids, limit).await
    }

    async fn each_agent(&self, ids: BTreeSet<AgentId>, limit: usize) -> Result<Vec<KnownAgent>, OfficeError> {
        let mut agents = Vec::new();
        for id in ids.into_iter().take(limit) {
            agents.push(self.agent(&id).await?);
        }
        Ok(agents)
    }
}

fn risk_name(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
    }
}

fn of_spec(spec: &AgentSpec, proposed: Done, state: AgentState) -> StoredAgent {
    StoredAgent {
        owner: spec.owner.clone(),
        sponsors: spec.sponsors.clone(),
        deputies: spec.deputies.clone(),
        purpose: spec.purpose.clone(),
        risk: spec.risk,
        servers: spec.servers.clone(),
        effects: spec.effects.clone(),
        is_blueprint: spec.is_blueprint,
        blueprint: None,
        keys: BTreeMap::new(),
        proposed,
        state,
    }
}

/// Everybody under whose name an agent is found.
fn answering(spec: &AgentSpec) -> BTreeSet<Accountable> {
    let deputies = spec.deputies.iter().cloned().map(Accountable::Person);
    std::iter::once(&spec.owner).chain(&spec.sponsors).cloned().chain(deputies).collect()
}

fn answering_stored(stored: &StoredAgent) -> BTreeSet<Accountable> {
    let deputies = stored.deputies.iter().cloned().map(Accountable::Person);
    std::iter::once(&stored.owner).chain(&stored.sponsors).cloned().chain(deputies).collect()
}

fn index(
    change: &mut Change<'_>,
    id: &AgentId,
    before: &BTreeSet<Accountable>,
    after: &BTreeSet<Accountable>,
) -> Result<(), OfficeError> {
    for who in after.difference(before) {
        change.puts.push((names::agent_of(who, id)?, b"{}".to_vec()));
    }
    for who in before.difference(after) {
        change.deletes.push(names::agent_of(who, id)?);
    }
    Ok(())
}
