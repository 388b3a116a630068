//! People, agents, servers and actions as Cedar entities.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use warrantor_model::{Accountable, Agent, AgentId, EffectSet, Person, PersonId, ToolRef};

/// Entity types, parsed once.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(super) agent: EntityTypeName,
    pub(super) person: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) server: EntityTypeName,
    pub(super) action: EntityTypeName,
}

impl Names {
    pub(crate) fn new() -> Option<Self> {
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
pub(crate) fn person_entities(person: &Person, names: &Names) -> Vec<Entity> {
    let parents = person.groups.iter().map(|group| names.uid(&names.group, group.as_str())).collect();
    let text = |s: &String| RestrictedExpression::new_string(s.clone());
    let attributes = HashMap::from([
        ("issuer".to_owned(), text(&person.issuer)),
        ("subject".to_owned(), text(&person.subject)),
        ("mail".to_owned(), RestrictedExpression::new_set(person.mail.iter().map(text))),
    ]);
    let uid = names.uid(&names.person, person.id.as_str());
    // Attributes are literals: they cannot fail to evaluate.
    let entity = Entity::new(uid.clone(), attributes, parents)
        .unwrap_or_else(|_| Entity::new_no_attrs(uid, HashSet::new()));
    std::iter::once(entity)
        .chain(person.groups.iter().map(|group| bare(&names.group, group.as_str())))
        .collect()
}

/// The agent; `persons` tells who is accountable.
pub(crate) fn agent_entity(
    agent: &Agent,
    persons: impl Fn(&Accountable) -> Vec<PersonId>,
    names: &Names,
) -> Entity {
    let persons =
        |who: &[Accountable]| {
            RestrictedExpression::new_set(who.iter().flat_map(&persons).map(|person| {
                RestrictedExpression::new_entity_uid(names.uid(&names.person, person.as_str()))
            }))
        };
    let attributes = HashMap::from([
        ("owners".to_owned(), persons(std::slice::from_ref(&agent.owner))),
        ("sponsors".to_owned(), persons(&agent.sponsors)),
        ("purpose".to_owned(), RestrictedExpression::new_string(agent.purpose.clone())),
    ]);
    let uid = names.uid(&names.agent, agent.id.as_str());
    Entity::new(uid.clone(), attributes, HashSet::new())
        .unwrap_or_else(|_| Entity::new_no_attrs(uid, HashSet::new()))
}
