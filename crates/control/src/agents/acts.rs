//! What is done with agents. Whatever was ruled on a view of an agent changes that view's entries and nothing newer.

use std::collections::{BTreeMap, BTreeSet};

use warrantor_engine::{
    keys,
    registry::{self, AgentKey, AgentState, StoredAgent},
};
use warrantor_model::{Accountable, AgentId, Digest, PersonId, Subject, Timestamp};
use warrantor_store::Store;

use super::{
    AgentSpec, AgentStanding, KnownAgent, MAX_AGENT_KEYS, MAX_SPONSORS, Seen, StoredProposal, TakeOver,
    answering, answering_stored, index, of_spec,
};
use crate::{
    names,
    office::{Authority, Change, Office, OfficeError},
    people::{invalid, line},
};

impl<S: Store> Office<S> {
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
