//! People and agents that are registered in the store, beside those of the bundle.
//!
//! A decision reads the ones it has to do with, each by its key: what a decision costs does not grow with how many there are. Where the bundle knows an id
//! too, the bundle's entry counts; what stops somebody stops whoever has the id, wherever the entry is from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_decide::{Hop, Snapshot};
use warrantor_model::{
    Accountable, Agent, AgentId, AgentStatus, Ceiling, Effect, GroupName, Person, PersonId, PersonStatus,
    ServerName, Subject, Timestamp,
};
use warrantor_store::{Entry, Expect, Key, KeyError, ReadError, Recency, Store, Wanted};

use crate::keys;

/// Most persons that a group may have to be accountable for an agent. Where everybody answers nobody does; and each is looked at.
pub const MAX_ACCOUNTABLE: usize = 100;

/// A registered person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPerson {
    /// The identity provider.
    pub issuer: String,
    /// The provider's name for the person.
    pub subject: String,
    /// What the person is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Mail addresses.
    #[serde(default)]
    pub mail: BTreeSet<String>,
    /// Handles by system.
    #[serde(default)]
    pub handles: BTreeMap<String, String>,
    /// Groups that the provider's tokens told when the person signed in last.
    #[serde(default)]
    pub told_groups: BTreeSet<GroupName>,
    /// Groups that an administrator put the person in.
    #[serde(default)]
    pub given_groups: BTreeSet<GroupName>,
    /// Groups that the directory of the person's issuer put the person in.
    #[serde(default)]
    pub directory_groups: BTreeSet<GroupName>,
    /// Set when the person has left for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Done>,
    /// When the person was registered, and by whose hand.
    pub registered: Done,
}

/// That something was done: when, and by whose hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// When.
    pub at: Timestamp,
    /// By whose hand.
    pub by: String,
}

impl StoredPerson {
    /// Every group the person is in.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<GroupName> {
        let all = self.told_groups.iter().chain(&self.given_groups).chain(&self.directory_groups);
        all.cloned().collect()
    }

    /// The person as decisions see it. That somebody is stopped stands elsewhere ([`Subject::of_person`]).
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Person {
        Person {
            id: id.clone(),
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            mail: self.mail.iter().cloned().collect(),
            handles: self.handles.clone(),
            groups: self.groups(),
            status: if self.left.is_some() { PersonStatus::Left } else { PersonStatus::Active },
        }
    }
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredAgent {
    /// Who is accountable for the agent as an asset.
    pub owner: Accountable,
    /// Who is accountable for what it does.
    pub sponsors: Vec<Accountable>,
    /// Who may take over when an owner or sponsor is gone.
    #[serde(default)]
    pub deputies: Vec<PersonId>,
    /// What it is for.
    pub purpose: String,
    /// How much harm it could do, as whoever proposed it sees it.
    pub risk: Risk,
    /// Servers it may reach.
    pub servers: BTreeSet<ServerName>,
    /// Effects it may have.
    pub effects: BTreeSet<Effect>,
    /// Whether it is a blueprint: agents of its fleet are made by it, and what stops it stops them.
    #[serde(default)]
    pub is_blueprint: bool,
    /// The blueprint it was made by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blueprint: Option<AgentId>,
    /// Its public keys, by their names.
    #[serde(default)]
    pub keys: BTreeMap<String, AgentKey>,
    /// Who proposed it, or changed it so that it has to be approved again.
    pub proposed: Done,
    /// Where it stands.
    pub state: AgentState,
}

/// How much harm an agent could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// A public key of an agent (RFC 7517), by which the token service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentKey {
    /// The key's thumbprint (RFC 7638).
    pub thumbprint: String,
    /// The key, public members only, as JSON text.
    pub jwk: String,
    /// When it was registered, and by whose hand.
    pub registered: Done,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Where a registered agent stands. That it is suspended stands elsewhere ([`Subject::Agent`]), because that must reach everywhere at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentState {
    /// Nobody has approved it yet.
    Proposed,
    /// It may act within mandates.
    Active {
        /// Who approved it, and when.
        approved: Done,
    },
    /// Made by an approved blueprint, and so approved with it.
    OfBlueprint {
        /// By whose hand, and when.
        made: Done,
    },
    /// Gone for good.
    Retired {
        /// By whose hand, and when.
        retired: Done,
    },
}

impl StoredAgent {
    /// What one of a fleet is: as its blueprint stands now, and active only as long as that is an approved blueprint.
    #[must_use]
    pub fn of_fleet(self, plan: Option<&Self>) -> Self {
        let Some(plan) =
            plan.filter(|plan| plan.is_blueprint && matches!(plan.state, AgentState::Active { .. }))
        else {
            // Whoever looks at it sees one that nobody has approved.
            let state = match self.state {
                AgentState::OfBlueprint { .. } => AgentState::Proposed,
                other => other,
            };
            return Self { state, ..self };
        };
        Self {
            owner: plan.owner.clone(),
            sponsors: plan.sponsors.clone(),
            deputies: plan.deputies.clone(),
            purpose: plan.purpose.clone(),
            risk: plan.risk,
            servers: plan.servers.clone(),
            effects: plan.effects.clone(),
            ..self
        }
    }

    /// The agent as decisions see it.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Agent {
        Agent {
            id: id.clone(),
            owner: self.owner.clone(),
            sponsors: self.sponsors.clone(),
            purpose: self.purpose.clone(),
            blueprint: self.blueprint.clone(),
            keys: BTreeMap::new(),
            status: match self.state {
                AgentState::Proposed => AgentStatus::Proposed,
                AgentState::Active { .. } | AgentState::OfBlueprint { .. } => AgentStatus::Active,
                AgentState::Retired { .. } => AgentStatus::Retired,
            },
            ceiling: Ceiling {
                servers: self.servers.clone(),
                effects: self.effects.iter().copied().collect(),
            },
        }
    }
}

/// What an enforcement point saw a server offer that is not as reviewed: quarantined, until it is reviewed or is again what was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenDefinitions {
    /// When.
    pub at: Timestamp,
    /// By which enforcement point.
    pub point: String,
    /// What is defined differently.
    pub changed: Vec<String>,
    /// What no manifest knows.
    pub unknown: Vec<String>,
    /// What is not offered any more.
    pub missing: Vec<String>,
    /// Whether the server gives the model other instructions: they are withheld.
    pub instructions_withheld: bool,
    /// The server's own words, an object of its lists as a file of definitions has them; none where they are too long to be kept.
    pub definitions: Option<String>,
}

/// Why somebody cannot be read: a refusal for the caller of `authorize`.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The entry does not read.
    #[error("the entry {key} of the registry cannot be read: {cause}")]
    Unreadable {
        /// Which.
        key: Key,
        /// Why.
        cause: String,
    },
    /// A group that is to answer for an agent has too many members.
    #[error("the group {group} has more than {MAX_ACCOUNTABLE} members and cannot be accountable")]
    TooMany {
        /// Which.
        group: GroupName,
    },
}

/// Reads an entry of the registry.
///
/// # Errors
/// [`RegistryError::Unreadable`].
pub fn decode<T: serde::de::DeserializeOwned>(key: &Key, entry: &Entry) -> Result<T, RegistryError> {
    serde_json::from_slice(&entry.value)
        .map_err(|cause| RegistryError::Unreadable { key: key.clone(), cause: cause.to_string() })
}

/// A registered person, and the version of the entry.
///
/// # Errors
/// [`RegistryError`].
pub async fn person<S: Store>(
    store: &S,
    id: &PersonId,
) -> Result<Option<(u64, StoredPerson)>, RegistryError> {
    one(&Reading { store, at_least: Recency::Latest }, keys::person(id)?).await
}

/// A registered person as far as this handle knows; what others have committed since may be missing.
pub(crate) async fn known_person<S: Store>(
    store: &S,
    id: &PersonId,
) -> Result<Option<StoredPerson>, RegistryError> {
    let found = one(&Reading { store, at_least: Recency::AsKnown }, keys::person(id)?).await?;
    Ok(found.map(|(_, person)| person))
}

/// A registered agent, and the version of the entry.
///
/// # Errors
/// [`RegistryError`].
pub async fn agent<S: Store>(store: &S, id: &AgentId) -> Result<Option<(u64, StoredAgent)>, RegistryError> {
    one(&Reading { store, at_least: Recency::Latest }, keys::agent(id)?).await
}

async fn one<S: Store, T: serde::de::DeserializeOwned>(
    reading: &Reading<'_, S>,
    key: Key,
) -> Result<Option<(u64, T)>, RegistryError> {
    let entries = reading.entries(std::iter::once(key.clone())).await?;
    entries.get(&key).map(|entry| Ok((entry.version, decode(&key, entry)?))).transpose()
}

/// The members of a group whom the registry tells, in order; `after` the one, and `limit` at most.
///
/// # Errors
/// [`RegistryError`].
pub async fn members<S: Store>(
    store: &S,
    group: &GroupName,
    after: Option<&PersonId>,
    limit: usize,
) -> Result<Vec<PersonId>, RegistryError> {
    let under = keys::members(group)?;
    let after = after.map(|person| keys::member(group, person)).transpose()?;
    let page = store.scan(&under, after.as_ref(), limit).await?;
    let name = |key: &Key| key.as_str().rsplit_once('/').and_then(|(_, id)| PersonId::new(id).ok());
    Ok(page.iter().filter_map(|(key, _)| name(key)).collect())
}

/// Whom a chain has to do with and the bundle does not know.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    agents: Vec<(AgentId, StoredAgent)>,
    people: Vec<Person>,
    /// What each of them must still be when a pass is committed.
    pub(crate) expect: BTreeMap<Subject, (Key, Expect)>,
}

/// A reading of entries, as late as is asked for.
struct Reading<'a, S> {
    store: &'a S,
    at_least: Recency,
}

impl<S: Store> Reading<'_, S> {
    async fn entries(&self, keys: impl Iterator<Item = Key>) -> Result<BTreeMap<Key, Entry>, ReadError> {
        let wanted = Wanted { entries: keys.collect(), ..Wanted::default() };
        if wanted.entries.is_empty() {
            return Ok(BTreeMap::new());
        }
        let view = match self.at_least {
            Recency::Latest => self.store.read(&wanted).await?,
            Recency::AsKnown => self.store.recent(&wanted).await?.0,
        };
        Ok(view.entries)
    }
}

impl Registered {
    /// Reads the agents and the persons of a chain and these others, then whoever is accountable for the agents. Where the bundle knows everybody nothing is read.
    ///
    /// The readings are of no common head; that does not matter, since a pass is committed only if each entry still is what was read.
    pub(crate) async fn of<S: Store>(
        store: &S,
        snapshot: &Snapshot,
        chain: &[Hop],
        others: &BTreeSet<PersonId>,
        at_least: Recency,
    ) -> Result<Self, RegistryError> {
        let reading = Reading { store, at_least };
        let mut registered = Self::default();
        let terms = || chain.iter().map(|hop| &hop.mandate.terms);
        let agents: BTreeSet<&AgentId> =
            terms().map(|terms| &terms.agent).filter(|agent| snapshot.agent(agent).is_none()).collect();
        let of_chain = terms().flat_map(|terms| [terms.person.clone(), terms.sponsor.clone()]);
        let people: BTreeSet<PersonId> = of_chain.chain(others.iter().cloned()).collect();
        registered.read(&reading, snapshot, &agents, people).await?;
        registered.read_plans(&reading).await?;
        let mut accountable = BTreeSet::new();
        let mut groups = BTreeSet::new();
        for terms in terms() {
            let own = snapshot.agent(&terms.agent).map(|agent| (&agent.owner, &agent.sponsors));
            let mut agents = registered.agents.iter();
            let agent =
                agents.find(|(id, _)| *id == terms.agent).map(|(_, agent)| (&agent.owner, &agent.sponsors));
            let Some((owner, sponsors)) = own.or(agent) else { continue };
            for who in std::iter::once(owner).chain(sponsors) {
                match who {
                    Accountable::Person(person) => drop(accountable.insert(person.clone())),
                    Accountable::Group(group) => drop(groups.insert(group.clone())),
                }
            }
        }
        for group in groups.into_iter().filter(|group| snapshot.is_of_directory(group)) {
            let members = members(store, &group, None, MAX_ACCOUNTABLE.saturating_add(1)).await?;
            if members.len() > MAX_ACCOUNTABLE {
                return Err(RegistryError::TooMany { group });
            }
            accountable.extend(members);
        }
        registered.read(&reading, snapshot, &BTreeSet::new(), accountable).await?;
        Ok(registered)
    }

    /// Reads the blueprints of those of a fleet: what they are is what these say now.
    async fn read_plans<S: Store>(&mut self, reading: &Reading<'_, S>) -> Result<(), RegistryError> {
        let plans: BTreeSet<AgentId> =
            self.agents.iter().filter_map(|(_, agent)| agent.blueprint.clone()).collect();
        let wanted: Vec<(AgentId, Key)> = plans
            .into_iter()
            .map(|id| Ok((id.clone(), keys::agent(&id)?)))
            .collect::<Result<_, KeyError>>()?;
        let entries = reading.entries(wanted.iter().map(|(_, key)| key.clone())).await?;
        let mut plans = BTreeMap::new();
        for (id, key) in wanted {
            let entry = entries.get(&key);
            if let Some(entry) = entry {
                plans.insert(id.clone(), decode::<StoredAgent>(&key, entry)?);
            }
            let expected = entry.map_or(Expect::Absent, |entry| Expect::Version(entry.version));
            self.expect.insert(Subject::Agent(id), (key, expected));
        }
        for (_, agent) in &mut self.agents {
            if let Some(blueprint) = agent.blueprint.clone() {
                *agent = agent.clone().of_fleet(plans.get(&blueprint));
            }
        }
        Ok(())
    }

    /// Reads those who are not known yet.
    async fn read<S: Store>(
        &mut self,
        reading: &Reading<'_, S>,
        snapshot: &Snapshot,
        agents: &BTreeSet<&AgentId>,
        mut people: BTreeSet<PersonId>,
    ) -> Result<(), RegistryError> {
        people.retain(|person| {
            snapshot.person(person).is_none() && !self.expect.contains_key(&Subject::Person(person.clone()))
        });
        let mut wanted: Vec<(Subject, Key)> = Vec::new();
        for agent in agents {
            wanted.push((Subject::Agent((*agent).clone()), keys::agent(agent)?));
        }
        for person in &people {
            wanted.push((Subject::Person(person.clone()), keys::person(person)?));
        }
        let entries = reading.entries(wanted.iter().map(|(_, key)| key.clone())).await?;
        for (subject, key) in wanted {
            let entry = entries.get(&key);
            match (&subject, entry) {
                (Subject::Agent(id), Some(entry)) => {
                    self.agents.push((id.clone(), decode::<StoredAgent>(&key, entry)?));
                }
                (Subject::Person(id), Some(entry)) => {
                    self.people.push(decode::<StoredPerson>(&key, entry)?.person(id));
                }
                _ => {}
            }
            let expected = entry.map_or(Expect::Absent, |entry| Expect::Version(entry.version));
            self.expect.insert(subject, (key, expected));
        }
        Ok(())
    }

    /// The bundle with everybody who was read beside it.
    pub(crate) fn beside(&mut self, snapshot: &Snapshot) -> Snapshot {
        let agents = std::mem::take(&mut self.agents);
        let agents = agents.into_iter().map(|(id, agent)| agent.agent(&id)).collect();
        snapshot.registering(std::mem::take(&mut self.people), agents)
    }
}
