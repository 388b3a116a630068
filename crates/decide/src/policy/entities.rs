//! People, agents, servers and actions as Cedar entities.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    str::FromStr,
};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use warrantor_model::{Accountable, Agent, AgentId, EffectSet, GroupName, Person, PersonId, ToolRef};

/// Entity types, parsed once.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) agent: EntityTypeName,
    pub(super) person: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) server: EntityTypeName,
    pub(super) action: EntityTypeName,
}

impl Names {
    pub(super) fn new() -> Option<Self> {
        let name = |text| EntityTypeName::from_str(text).ok();
        Some(Self {
            agent: name("Agent")?,
            person: name("Person")?,
            group: name("Group")?,
            server: name("Server")?,
            action: name("Action")?,
        })
    }

    pub(super) fn uid(&self, name: &EntityTypeName, id: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
    }
}

/// The person as a Cedar value.
pub(crate) fn person_value(person: &PersonId) -> Option<RestrictedExpression> {
    entity_value("Person", person.as_str())
}

/// The agent as a Cedar value.
pub(crate) fn agent_value(agent: &AgentId) -> Option<RestrictedExpression> {
    entity_value("Agent", agent.as_str())
}

pub(super) fn entity_value(entity_type: &str, id: &str) -> Option<RestrictedExpression> {
    let name = EntityTypeName::from_str(entity_type).ok()?;
    Some(RestrictedExpression::new_entity_uid(EntityUid::from_type_name_and_id(name, EntityId::new(id))))
}

pub(super) fn bare(name: &EntityTypeName, id: &str) -> Entity {
    Entity::new_no_attrs(EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id)), HashSet::new())
}

/// The action groups of a tool that has these effects.
pub(super) fn action_parents(tool: &ToolRef, effects: EffectSet) -> Vec<String> {
    effects
        .iter()
        .map(|effect| format!("effect:{effect}"))
        .chain(std::iter::once(format!("server:{}", tool.server)))
        .collect()
}

/// The person first, then the groups.
pub(super) fn person_entities(
    people: &BTreeMap<PersonId, Person>,
    groups: &BTreeMap<GroupName, BTreeSet<PersonId>>,
    names: &Names,
) -> HashMap<PersonId, Vec<Entity>> {
    let mut all = HashMap::new();
    for (id, person) in people {
        let member: Vec<&GroupName> =
            groups.iter().filter(|(_, who)| who.contains(id)).map(|(name, _)| name).collect();
        let parents = member.iter().map(|group| names.uid(&names.group, group.as_str())).collect();
        let text = |s: &String| RestrictedExpression::new_string(s.clone());
        let attributes = HashMap::from([
            ("issuer".to_owned(), text(&person.issuer)),
            ("subject".to_owned(), text(&person.subject)),
            ("mail".to_owned(), RestrictedExpression::new_set(person.mail.iter().map(text))),
        ]);
        let uid = names.uid(&names.person, id.as_str());
        // Attributes are literals: they cannot fail to evaluate.
        let entity = Entity::new(uid.clone(), attributes, parents)
            .unwrap_or_else(|_| Entity::new_no_attrs(uid, HashSet::new()));
        let mut entities = vec![entity];
        entities.extend(member.iter().map(|group| bare(&names.group, group.as_str())));
        all.insert(id.clone(), entities);
    }
    all
}

pub(super) fn agent_entities(
    agents: &BTreeMap<AgentId, Agent>,
    groups: &BTreeMap<GroupName, BTreeSet<PersonId>>,
    names: &Names,
) -> HashMap<AgentId, Entity> {
    let mut all = HashMap::new();
    for (id, agent) in agents {
        let persons = |who: &[Accountable]| {
            let mut persons: Vec<PersonId> = Vec::new();
            for accountable in who {
                match accountable {
                    Accountable::Person(person) => persons.push(person.clone()),
                    Accountable::Group(group) => {
                        persons.extend(groups.get(group).into_iter().flatten().cloned())
                    }
                }
            }
            RestrictedExpression::new_set(persons.iter().map(|person| {
                RestrictedExpression::new_entity_uid(names.uid(&names.person, person.as_str()))
            }))
        };
        let attributes = HashMap::from([
            ("owners".to_owned(), persons(std::slice::from_ref(&agent.owner))),
            ("sponsors".to_owned(), persons(&agent.sponsors)),
            ("purpose".to_owned(), RestrictedExpression::new_string(agent.purpose.clone())),
        ]);
        let uid = names.uid(&names.agent, id.as_str());
        let entity = Entity::new(uid.clone(), attributes, HashSet::new())
            .unwrap_or_else(|_| Entity::new_no_attrs(uid, HashSet::new()));
        all.insert(id.clone(), entity);
    }
    all
}
