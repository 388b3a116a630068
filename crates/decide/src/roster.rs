//! Who there is: people and agents by their ids, groups by their members, and what policies see of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy::Entity;
use warrantor_model::{Accountable, Agent, AgentId, GroupName, Person, PersonId};

use crate::policy::{self, Names};

/// People and agents. One roster is the bundle's own; another may stand beside it, of those that a call has to do with and that are registered
/// elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    people: BTreeMap<PersonId, Person>,
    agents: BTreeMap<AgentId, Agent>,
    groups: BTreeMap<GroupName, BTreeSet<PersonId>>,
    person_entities: HashMap<PersonId, Vec<Entity>>,
    agent_entities: HashMap<AgentId, Entity>,
}

impl Roster {
    /// A roster of these; `also` finds members of groups that stand elsewhere.
    pub(crate) fn new(
        people: BTreeMap<PersonId, Person>,
        agents: BTreeMap<AgentId, Agent>,
        names: &Names,
        also: impl Fn(&GroupName) -> Vec<PersonId>,
    ) -> Self {
        let mut groups: BTreeMap<GroupName, BTreeSet<PersonId>> = BTreeMap::new();
        for person in people.values() {
            for group in &person.groups {
                groups.entry(group.clone()).or_default().insert(person.id.clone());
            }
        }
        let persons = |who: &Accountable| -> Vec<PersonId> {
            match who {
                Accountable::Person(person) => vec![person.clone()],
                Accountable::Group(group) => {
                    groups.get(group).into_iter().flatten().cloned().chain(also(group)).collect()
                }
            }
        };
        let person_entities =
            people.iter().map(|(id, person)| (id.clone(), policy::person_entities(person, names))).collect();
        let agent_entities = agents
            .iter()
            .map(|(id, agent)| (id.clone(), policy::agent_entity(agent, persons, names)))
            .collect();
        Self { people, agents, groups, person_entities, agent_entities }
    }

    pub(crate) fn person(&self, id: &PersonId) -> Option<&Person> {
        self.people.get(id)
    }

    pub(crate) fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.agents.get(id)
    }

    pub(crate) fn members(&self, group: &GroupName) -> impl Iterator<Item = &PersonId> {
        self.groups.get(group).into_iter().flatten()
    }

    /// The person first, then the groups.
    pub(crate) fn person_entities(&self, id: &PersonId) -> &[Entity] {
        self.person_entities.get(id).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn agent_entity(&self, id: &AgentId) -> Option<&Entity> {
        self.agent_entities.get(id)
    }

    pub(crate) fn people(&self) -> &BTreeMap<PersonId, Person> {
        &self.people
    }

    pub(crate) fn agents(&self) -> &BTreeMap<AgentId, Agent> {
        &self.agents
    }

    pub(crate) fn groups(&self) -> &BTreeMap<GroupName, BTreeSet<PersonId>> {
        &self.groups
    }
}
