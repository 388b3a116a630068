//! Agents of the registry: proposed, approved by somebody else, suspended, taken over, retired.
//!
//! Nobody approves what they proposed, and nobody approves it through another account of theirs. Whoever approves names the digest of what they saw, so
//! that nothing can change between looking and approving.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use warrantor_decide::administration::Resource;
use warrantor_engine::{
    keys,
    registry::{self, AgentKey, AgentState, Done, Risk, StoredAgent},
};
use warrantor_model::{
    Accountable, Agent, AgentId, AgentStatus, Digest, Effect, PersonId, ServerName, Subject, Timestamp,
};
use warrantor_store::Store;

use crate::{
    names,
    office::{Authority, Change, Office, OfficeError},
    people::{invalid, line},
};

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
        let mut proposers = BTreeSet::new();
        let proposed_by = match (&agent.proposal, agent.of_bundle) {
            (Some(proposal), _) => Some(proposal.by.clone()),
            (None, true) => None,
            (None, false) => Some(self.stored_agent(&agent.id).await?.1.proposed.by),
        };
        match self.human_behind(proposed_by.as_deref()).await? {
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
        Ok(Resource::Agent {
            id: agent.id.clone(),
            owners: self.persons(std::slice::from_ref(&agent.owner)).await?,
            sponsors: self.persons(&agent.sponsors).await?,
            deputies: agent.deputies.iter().cloned().collect(),
            proposers,
            risk: agent.risk.map_or("", risk_name).to_owned(),
            effects: agent.effects.iter().copied().collect(),
            state: agent.standing.as_str().to_owned(),
        })
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

    /// Proposes an agent, or another form of one that there is, as it was `seen`. Either waits for an approval; until then what was approved before stands.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn propose(
        &self,
        authority: &Authority,
        id: &AgentId,
        seen: Option<&KnownAgent>,
        spec: AgentSpec,
    ) -> Result<KnownAgent, OfficeError> {
        self.check(&spec).await?;
        if self.snapshot().agent(id).is_some() {
            return Err(OfficeError::Conflict(format!("the bundle has an agent {id}")));
        }
        let proposed = authority.done(self.now());
        let mut change = Change::default();
        match registry::agent(&*self.store, id).await? {
            Some((_, StoredAgent { state: AgentState::Retired { .. }, .. })) => {
                return Err(OfficeError::Conflict(format!("{id} was retired: its name is not given again")));
            }
            Some((version, stored)) => {
                if seen.and_then(|seen| seen.seen.agent) != Some(version) {
                    return Err(OfficeError::Contended);
                }
                if stored.blueprint.is_some() {
                    return Err(OfficeError::Conflict(format!("{id} is as its blueprint says: change that")));
                }
                change.said.push("proposed another form".to_owned());
                // What is approved must still be what this was proposed for.
                change.expect.push((keys::agent(id)?, warrantor_store::Expect::Version(version)));
            }
            None => {
                change.said.push("proposed".to_owned());
                let stored = of_spec(&spec, proposed.clone(), AgentState::Proposed);
                change.put(keys::agent(id)?, None, &stored)?;
                index(&mut change, id, &BTreeSet::new(), &answering(&spec))?;
            }
        }
        let before = self.proposal(id).await?.map(|(version, _)| version);
        change.put(names::proposal(id)?, before, &StoredProposal { spec, proposed })?;
        self.act(authority, change).await?;
        self.agent(id).await
    }

    async fn check(&self, spec: &AgentSpec) -> Result<(), OfficeError> {
        line("purpose", &spec.purpose)?;
        if spec.sponsors.is_empty() || spec.sponsors.len() > MAX_SPONSORS {
            return Err(invalid("sponsors", format!("1 to {MAX_SPONSORS} have to answer for what it does")));
        }
        if spec.deputies.len() > MAX_SPONSORS {
            return Err(invalid("deputies", format!("at most {MAX_SPONSORS} can be named")));
        }
        let snapshot = self.snapshot();
        if let Some(server) = spec.servers.iter().find(|server| snapshot.manifest(server).is_none()) {
            return Err(invalid("servers", format!("the server {server} has no manifest")));
        }
        if spec.effects.is_empty() {
            return Err(invalid("effects", "an agent without an effect could do nothing"));
        }
        let named = std::iter::once(("owner", &spec.owner))
            .chain(spec.sponsors.iter().map(|sponsor| ("sponsors", sponsor)));
        for (field, who) in named {
            match who {
                Accountable::Person(person) => {
                    if self.actor(person).await?.is_none() {
                        return Err(invalid(field, format!("there is no active person {person}")));
                    }
                }
                Accountable::Group(group) => match self.group_members(group).await? {
                    Some(members) if members.is_empty() => {
                        return Err(invalid(field, format!("nobody is in the group {group}")));
                    }
                    Some(_) => {}
                    None => {
                        let most = registry::MAX_ACCOUNTABLE;
                        let why = format!("the group {group} has more than {most} members");
                        return Err(invalid(field, why));
                    }
                },
            }
        }
        for deputy in &spec.deputies {
            if self.actor(deputy).await?.is_none() {
                return Err(invalid("deputies", format!("there is no active person {deputy}")));
            }
        }
        Ok(())
    }

    /// Approves what was proposed: the agent as it was seen, and the proposal of this digest.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] when something else is proposed by now.
    pub async fn approve(
        &self,
        authority: &Authority,
        agent: &KnownAgent,
        approved: &Digest,
    ) -> Result<KnownAgent, OfficeError> {
        let id = &agent.id;
        let (version, stored) = self.stored_agent(id).await?;
        let Some((proposed_at, proposal)) = self.proposal(id).await? else {
            return Err(OfficeError::Conflict(format!("nothing of {id} waits for an approval")));
        };
        // Whether it may be approved was ruled on what was seen: another proposer is another question.
        if agent.seen != (Seen { agent: Some(version), proposal: Some(proposed_at) }) {
            return Err(OfficeError::Contended);
        }
        if proposal.spec.digest()? != *approved {
            return Err(OfficeError::Conflict(format!(
                "what is proposed for {id} is not what was seen: look at it again"
            )));
        }
        if matches!(stored.state, AgentState::Retired { .. }) {
            return Err(OfficeError::Conflict(format!("{id} was retired")));
        }
        // Somebody may have gone since it was proposed.
        self.check(&proposal.spec).await?;
        let before = answering_stored(&stored);
        let approved = AgentState::Active { approved: authority.done(self.now()) };
        let keys_before = stored.keys;
        let mut after = of_spec(&proposal.spec, proposal.proposed, approved);
        after.keys = keys_before;
        let mut change = Change { said: vec!["approved".to_owned()], ..Change::default() };
        change.put(keys::agent(id)?, Some(version), &after)?;
        let key = names::proposal(id)?;
        change.expect.push((key.clone(), warrantor_store::Expect::Version(proposed_at)));
        change.deletes.push(key);
        index(&mut change, id, &before, &answering_stored(&after))?;
        self.act(authority, change).await?;
        self.agent(id).await
    }

    /// Makes an agent of a fleet: as its blueprint says, and approved with it.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn make_of_fleet(
        &self,
        authority: &Authority,
        blueprint: &AgentId,
        id: &AgentId,
    ) -> Result<KnownAgent, OfficeError> {
        let (version, plan) = self.stored_agent(blueprint).await?;
        if !plan.is_blueprint || !matches!(plan.state, AgentState::Active { .. }) {
            return Err(OfficeError::Conflict(format!("{blueprint} is no approved blueprint")));
        }
        if self.snapshot().agent(id).is_some() || registry::agent(&*self.store, id).await?.is_some() {
            return Err(OfficeError::Conflict(format!("there is an agent {id} already")));
        }
        let made = authority.done(self.now());
        let stored = StoredAgent {
            is_blueprint: false,
            blueprint: Some(blueprint.clone()),
            keys: BTreeMap::new(),
            proposed: made.clone(),
            state: AgentState::OfBlueprint { made },
            ..plan
        };
        let mut change =
            Change { said: vec![format!("made by the blueprint {blueprint}")], ..Change::default() };
        change.put(keys::agent(id)?, None, &stored)?;
        change.expect.push((keys::agent(blueprint)?, warrantor_store::Expect::Version(version)));
        index(&mut change, id, &BTreeSet::new(), &answering_stored(&stored))?;
        self.act(authority, change).await?;
        self.agent(id).await
    }

    /// Stops an agent; a blueprint with its whole fleet.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn suspend_agent(
        &self,
        authority: &Authority,
        id: &AgentId,
        reason: Option<&str>,
    ) -> Result<KnownAgent, OfficeError> {
        self.agent(id).await?;
        self.stop_it(authority, &Subject::Agent(id.clone()), reason).await?;
        self.agent(id).await
    }

    /// Lets a stopped agent go on.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn resume_agent(
        &self,
        authority: &Authority,
        id: &AgentId,
        reason: Option<&str>,
    ) -> Result<KnownAgent, OfficeError> {
        if self.agent(id).await?.standing == AgentStanding::Retired {
            return Err(OfficeError::Conflict(format!("{id} was retired, for good")));
        }
        self.lift_it(authority, &Subject::Agent(id.clone()), reason).await?;
        self.agent(id).await
    }

    /// Retires an agent for good.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn retire(
        &self,
        authority: &Authority,
        id: &AgentId,
        reason: Option<&str>,
    ) -> Result<KnownAgent, OfficeError> {
        self.stored_agent(id).await?;
        // The stop first: it reaches everywhere at once, also what is under way.
        self.stop_it(authority, &Subject::Agent(id.clone()), reason).await?;
        let (version, mut stored) = self.stored_agent(id).await?;
        if !matches!(stored.state, AgentState::Retired { .. }) {
            stored.state = AgentState::Retired { retired: authority.done(self.now()) };
            stored.keys.clear();
            let said = vec!["retired; its keys are gone".to_owned()];
            let mut change = Change { said, reason, ..Change::default() };
            change.put(keys::agent(id)?, Some(version), &stored)?;
            change.deletes.push(names::proposal(id)?);
            self.act(authority, change).await?;
        }
        self.agent(id).await
    }

    /// A deputy takes over for an owner or for the sponsors, where nobody live is left.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] as long as somebody live is accountable.
    pub async fn take_over(
        &self,
        authority: &Authority,
        agent: &KnownAgent,
        deputy: &PersonId,
        what: TakeOver,
        reason: Option<&str>,
    ) -> Result<KnownAgent, OfficeError> {
        let id = &agent.id;
        let (version, mut stored) = self.as_seen(agent).await?;
        if !stored.deputies.contains(deputy) {
            return Err(OfficeError::Conflict(format!("{deputy} is no deputy of {id}")));
        }
        if stored.blueprint.is_some() {
            return Err(OfficeError::Conflict(format!("{id} is as its blueprint says: take that over")));
        }
        let before = answering_stored(&stored);
        let now = Accountable::Person(deputy.clone());
        let said = match what {
            TakeOver::Owner if !self.anyone_live(std::slice::from_ref(&stored.owner)).await? => {
                let said = format!("{deputy} owns it in place of {}", stored.owner);
                stored.owner = now;
                said
            }
            TakeOver::Sponsor if !self.anyone_live(&stored.sponsors).await? => {
                let gone: Vec<String> = stored.sponsors.iter().map(ToString::to_string).collect();
                stored.sponsors = vec![now];
                format!("{deputy} sponsors it in place of {}", gone.join(", "))
            }
            TakeOver::Owner | TakeOver::Sponsor => {
                return Err(OfficeError::Conflict(format!("somebody live is accountable for {id}")));
            }
        };
        let mut change = Change { said: vec![said], reason, ..Change::default() };
        change.put(keys::agent(id)?, Some(version), &stored)?;
        index(&mut change, id, &before, &answering_stored(&stored))?;
        self.act(authority, change).await?;
        self.agent(id).await
    }

    /// Registers a public key of an agent under a name. Two keys at a time let it change from one to the other without a break.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] for a key that another agent has.
    pub async fn add_key(
        &self,
        authority: &Authority,
        agent: &KnownAgent,
        name: &str,
        jwk: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<KnownAgent, OfficeError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(invalid("name", "1 to 64 letters, digits and `._-` are needed"));
        }
        let key = warrantor_tokens::PublicKey::parse(jwk.as_bytes())
            .map_err(|cause| invalid("jwk", cause.to_string()))?;
        let id = &agent.id;
        let (version, mut stored) = self.as_seen(agent).await?;
        if matches!(stored.state, AgentState::Retired { .. }) {
            return Err(OfficeError::Conflict(format!("{id} was retired")));
        }
        if stored.keys.len() >= MAX_AGENT_KEYS {
            return Err(OfficeError::Conflict(format!("{id} has {MAX_AGENT_KEYS} keys already")));
        }
        let held = names::key_holder(key.thumbprint())?;
        if stored.keys.contains_key(name) || self.entry::<AgentId>(&held).await?.is_some() {
            return Err(OfficeError::Conflict(
                "there is a key of this name, or this key is in use".to_owned(),
            ));
        }
        let registered = authority.done(self.now());
        let thumbprint = key.thumbprint().to_owned();
        let said = vec![format!("key {name} registered: {thumbprint}")];
        let entry = AgentKey { thumbprint, jwk: key.canonical().to_owned(), registered, expires_at };
        stored.keys.insert(name.to_owned(), entry);
        let mut change = Change { said, ..Change::default() };
        change.put(keys::agent(id)?, Some(version), &stored)?;
        change.put(held, None, id)?;
        self.act(authority, change).await?;
        self.agent(id).await
    }

    /// Removes a key of an agent.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn remove_key(
        &self,
        authority: &Authority,
        agent: &KnownAgent,
        name: &str,
    ) -> Result<KnownAgent, OfficeError> {
        let id = &agent.id;
        let (version, mut stored) = self.as_seen(agent).await?;
        let unknown = || OfficeError::Unknown { what: "key", name: name.to_owned() };
        let removed = stored.keys.remove(name).ok_or_else(unknown)?;
        let said = vec![format!("key {name} removed: {}", removed.thumbprint)];
        let mut change = Change { said, ..Change::default() };
        change.put(keys::agent(id)?, Some(version), &stored)?;
        change.deletes.push(names::key_holder(&removed.thumbprint)?);
        self.act(authority, change).await?;
        self.agent(id).await
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
