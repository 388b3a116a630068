//! Who acts and who answers: persons, agents, owners, sponsors.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{AgentId, EffectSet, GroupName, IdError, PersonId, ServerName};

/// Where a person stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PersonStatus {
    /// May hand over, answer for agents, approve.
    Active,
    /// Suspended: nothing passes that this person answers for.
    Suspended,
    /// Gone for good.
    Left,
}

/// A human known from an identity provider. The key is issuer and subject; addresses and handles are attributes, never keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name within the bundle.
    pub id: PersonId,
    /// The identity provider.
    pub issuer: String,
    /// The provider's name for the person.
    pub subject: String,
    /// Mail addresses.
    pub mail: Vec<String>,
    /// Handles by system, such as `slack: alice`.
    pub handles: BTreeMap<String, String>,
    /// Groups the person is in.
    pub groups: BTreeSet<GroupName>,
    /// Where the person stands.
    pub status: PersonStatus,
}

/// Where an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// Announced, not yet approved: may do nothing.
    Proposed,
    /// May act within mandates.
    Active,
    /// Suspended: may do nothing.
    Suspended,
    /// Retired for good.
    Retired,
}

/// A registered non-human actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The name within the bundle.
    pub id: AgentId,
    /// Who is accountable for the agent as an asset.
    pub owner: Accountable,
    /// Who is accountable for what it does; at least one.
    pub sponsors: Vec<Accountable>,
    /// What it is for.
    pub purpose: String,
    /// Where it stands.
    pub status: AgentStatus,
    /// What no mandate can lift it above.
    pub ceiling: Ceiling,
    /// The agent it was made by, as one of a fleet: what stops that one stops this one.
    pub blueprint: Option<AgentId>,
    /// Its public keys (RFC 7517), by their names, as a bundle tells them. Those of a registered agent stand in the registry, with their ends.
    pub keys: BTreeMap<String, String>,
}

/// What an agent can be granted at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// Servers it may reach.
    pub servers: BTreeSet<ServerName>,
    /// Effects it may have.
    pub effects: EffectSet,
}

/// A person, or a group of persons, who is accountable: `alice` or `group:finance`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Accountable {
    /// One person.
    Person(PersonId),
    /// Any active person of a group.
    Group(GroupName),
}

impl FromStr for Accountable {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.strip_prefix("group:") {
            Some(group) => GroupName::new(group).map(Self::Group),
            None => PersonId::new(text).map(Self::Person),
        }
    }
}

impl TryFrom<String> for Accountable {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Accountable> for String {
    fn from(who: Accountable) -> Self {
        who.to_string()
    }
}

impl fmt::Display for Accountable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(person) => write!(f, "{person}"),
            Self::Group(group) => write!(f, "group:{group}"),
        }
    }
}
