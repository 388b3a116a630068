//! `people.yaml` and `agents.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use warrantor_model::{
    Accountable, AgentId, AgentStatus, Effect, GroupName, PersonId, PersonStatus, ServerName,
};

use super::text::{AccountableText, IdText, NameText};

/// The people who hand work to agents and answer for them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "People")]
pub struct PeopleFile {
    /// One entry a person.
    pub people: Vec<PersonEntry>,
}

/// One person. The key is issuer and subject together; mail addresses and handles are attributes, never keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Person")]
pub struct PersonEntry {
    /// The name by which the bundle speaks of the person.
    #[schemars(with = "IdText")]
    pub id: PersonId,
    /// The identity provider that knows the person, as a URL.
    pub issuer: String,
    /// The identity provider's name for the person (`sub`).
    pub subject: String,
    /// The person's own mail addresses.
    #[serde(default)]
    pub mail: Vec<String>,
    /// The person's handles by system, such as `slack: alice`.
    #[serde(default)]
    pub handles: BTreeMap<String, String>,
    /// Groups the person is in.
    #[serde(default)]
    #[schemars(with = "Vec<IdText>")]
    pub groups: BTreeSet<GroupName>,
    /// Where the person stands. Nothing passes that only a suspended or gone person answers for.
    #[serde(default = "active_person")]
    pub status: PersonStatus,
}

fn active_person() -> PersonStatus {
    PersonStatus::Active
}

/// The agents that may act.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Agents")]
pub struct AgentsFile {
    /// One entry an agent.
    pub agents: Vec<AgentEntry>,
}

/// One agent: a registered non-human actor.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Agent")]
pub struct AgentEntry {
    /// The name by which the bundle speaks of the agent.
    #[schemars(with = "IdText")]
    pub id: AgentId,
    /// Who is accountable for the agent as an asset.
    #[schemars(with = "AccountableText")]
    pub owner: Accountable,
    /// Who is accountable for what it does; at least one.
    #[schemars(with = "Vec<AccountableText>", length(min = 1))]
    pub sponsors: Vec<Accountable>,
    /// What it is for, in a line.
    pub purpose: String,
    /// Where it stands. Only an active agent may act.
    #[serde(default = "active_agent")]
    pub status: AgentStatus,
    /// What no mandate can lift it above.
    pub ceiling: CeilingEntry,
    /// Its public keys as JSON Web Keys, by names of your own: with one of them it proves to the token service who it is. Private members are refused.
    #[serde(default)]
    pub keys: BTreeMap<String, BTreeMap<String, String>>,
}

fn active_agent() -> AgentStatus {
    AgentStatus::Active
}

/// What an agent can be granted at most.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Ceiling")]
pub struct CeilingEntry {
    /// Servers it may reach.
    #[schemars(with = "Vec<NameText>")]
    pub servers: BTreeSet<ServerName>,
    /// Effects it may have.
    pub effects: Vec<Effect>,
}
