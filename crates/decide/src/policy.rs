//! Layer 5: the organization's Cedar policies.
//!
//! Three differences from Cedar alone, all towards refusal. A policy that errs denies, where Cedar skips it. A policy that names an
//! entity that is not there does not load. And permits and forbids are evaluated apart, so that it is known whether something
//! permits even where something forbids: an answer to an `@ask` lifts exactly the forbid that asked.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    str::FromStr,
};

use cedar_policy::{
    ActionConstraint, Authorizer, Context, Effect as CedarEffect, Entities, Entity, EntityTypeName,
    EntityUid, EvaluationError, Policy, PolicyId, PolicySet, PrincipalConstraint, Request,
    RestrictedExpression, Schema,
};
use warrantor_model::{
    AgentId, Digest, EffectSet, GroupName, PersonId, ServerName, ToolRef, tracker::Tracker,
};

use crate::{
    obligations::Obligation,
    parts::{Fault, Place, PolicySource},
    roster::Roster,
    snapshot::{Snapshot, ToolFacts},
};

mod entities;
mod files;
mod schema;
mod words;

pub(crate) use entities::{Names, agent_entity, agent_value, person_entities, person_value};
use entities::{action_parents, bare};
pub(crate) use files::{Known, in_order, located};
use files::{Rule, read_policies};
use schema::schema_text;

/// The action that a sponsor of a standing mandate must be permitted.
pub(crate) const DELEGATE: &str = "delegate";
/// The action that whoever answers a question must be permitted.
pub(crate) const APPROVE: &str = "approve";

/// All policies, validated.
#[derive(Debug)]
pub(crate) struct Policies {
    schema_text: String,
    rules: HashMap<PolicyId, Rule>,
    /// The policies that could apply to an action, by its id.
    slices: HashMap<String, Slice>,
    names: Names,
    servers: HashMap<ServerName, Entity>,
}

#[derive(Debug, Default)]
struct Slice {
    permits: PolicySet,
    forbids: PolicySet,
    /// Attributes that any of them names.
    attributes: BTreeSet<String>,
    /// Persons and agents that any of them names, with their groups: they are looked at even where the call has nothing to do with them.
    named: Vec<Entity>,
}

/// One principal's evaluation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evaluation {
    /// Permits that hold.
    pub(crate) permits: Vec<String>,
    /// Forbids that hold and that no answer lifts.
    pub(crate) forbids: Vec<String>,
    /// Forbids that hold unless a person of the group answers.
    pub(crate) asks: Vec<(String, GroupName)>,
    /// Forbids in observe mode that would hold.
    pub(crate) observed: Vec<String>,
    /// Policies that erred.
    pub(crate) errors: Vec<PolicyFailure>,
}

/// A policy that erred.
#[derive(Debug, Clone)]
pub(crate) struct PolicyFailure {
    pub(crate) policy: String,
    pub(crate) message: String,
    /// It referred to something that is not there.
    pub(crate) missing: bool,
}

/// Who is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Principal<'a> {
    Agent(&'a AgentId),
    Person(&'a PersonId),
}

/// What both principals of one call share.
pub(crate) struct Prepared {
    action: EntityUid,
    slice: String,
    resource: EntityUid,
    entities: Entities,
    context: Context,
}

/// What policies see of a call beside principal and arguments.
pub(crate) struct Circumstances<'a> {
    pub(crate) tool: &'a ToolRef,
    pub(crate) effects: EffectSet,
    /// The type and id of the resource, when the manifest names one and the call has it.
    pub(crate) resource: Option<(&'a str, String)>,
    pub(crate) agents: Vec<&'a AgentId>,
    pub(crate) people: BTreeSet<&'a PersonId>,
}

impl Policies {
    pub(crate) fn build(
        sources: &[PolicySource],
        known: &Known<'_>,
        tools: &BTreeMap<ToolRef, ToolFacts>,
        trackers: &[Tracker],
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let manifests = known.manifests;
        let schema_text = schema_text(manifests, tools, trackers);
        let names = Names::new()?;
        let schema = match Schema::from_cedarschema_str(&schema_text) {
            Ok((schema, _)) => schema,
            Err(cause) => {
                let message = format!("the tool definitions make no valid Cedar schema: {cause}");
                faults.push(Fault::error(Place::Bundle, message));
                return None;
            }
        };
        let rules = read_policies(sources, &schema, known, faults);
        let mut policies = Self {
            schema_text,
            slices: HashMap::new(),
            servers: manifests.keys().map(|s| (s.clone(), bare(&names.server, s.as_str()))).collect(),
            rules,
            names,
        };
        let mut slices = HashMap::new();
        for (tool, facts) in tools {
            let parents = action_parents(tool, facts.tool.possible_effects());
            slices.insert(tool.to_string(), policies.slice(known.roster, &tool.to_string(), &parents));
        }
        for action in [DELEGATE, APPROVE] {
            slices.insert(action.to_owned(), policies.slice(known.roster, action, &[]));
        }
        policies.slices = slices;
        if !policies.anyone_may_approve() {
            for rule in policies.rules.values().filter(|rule| rule.ask.is_some()) {
                let message = "it asks, and no policy lets anybody answer: it only forbids";
                let cure = "permit `Action::\"approve\"` to whoever is to answer";
                faults.push(Fault::warning(rule.place.clone(), message).cure(cure));
            }
        }
        Some(policies)
    }

    pub(crate) fn schema_text(&self) -> &str {
        &self.schema_text
    }

    pub(crate) fn count(&self) -> usize {
        self.rules.len()
    }

    /// The policies whose action scope could match.
    fn slice(&self, roster: &Roster, action: &str, parents: &[String]) -> Slice {
        let matches = |uid: &EntityUid| {
            let id = uid.id().unescaped();
            id == action || parents.iter().any(|parent| parent == id)
        };
        let mut slice = Slice::default();
        // In order of their ids, so that the same bundle makes the same slices.
        let mut rules: Vec<_> = self.rules.values().collect();
        rules.sort_by(|a, b| a.policy.id().cmp(b.policy.id()));
        for rule in rules {
            let applies = match rule.policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(uid) => matches(&uid),
                ActionConstraint::In(uids) => uids.iter().any(matches),
            };
            if !applies {
                continue;
            }
            slice.attributes.extend(rule.attributes.iter().cloned());
            for uid in rule.policy.entity_literals() {
                slice.named.extend(self.entities_of(roster, &uid));
            }
            let set = match rule.policy.effect() {
                CedarEffect::Permit => &mut slice.permits,
                CedarEffect::Forbid => &mut slice.forbids,
            };
            // Ids are unique: `read_policies` refuses the second of a name.
            let _ = set.add(rule.policy.clone());
        }
        slice
    }

    /// A person with the groups, or an agent; nothing else has attributes or ancestors.
    fn entities_of(&self, roster: &Roster, uid: &EntityUid) -> Vec<Entity> {
        let id = uid.id().unescaped();
        if *uid.type_name() == self.names.person {
            PersonId::new(id).map(|id| roster.person_entities(&id).to_vec()).unwrap_or_default()
        } else if *uid.type_name() == self.names.agent {
            AgentId::new(id).ok().and_then(|id| roster.agent_entity(&id)).into_iter().cloned().collect()
        } else {
            Vec::new()
        }
    }

    /// Whether a policy that could apply to the tool names an attribute.
    pub(crate) fn names_attribute(&self, tool: &ToolRef, attribute: &str) -> bool {
        self.slices.get(&tool.to_string()).is_none_or(|slice| slice.attributes.contains(attribute))
    }

    /// Whether a policy that could apply to a call of the tool could look at a tracker.
    pub(crate) fn reads_tracker(&self, tool: &ToolRef, tracker: &str) -> bool {
        let reads = |action: &str| {
            let names = |slice: &Slice, name: &str| slice.attributes.contains(name);
            self.slices.get(action).is_none_or(|slice| names(slice, "tracked") && names(slice, tracker))
        };
        reads(&tool.to_string()) || reads(DELEGATE)
    }

    /// Builds what both principals share: entities, resource, context.
    pub(crate) fn prepare(
        &self,
        snapshot: &Snapshot,
        circumstances: &Circumstances<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<Prepared, String> {
        self.prepare_action(snapshot, &circumstances.tool.to_string(), circumstances, context)
    }

    /// The same for an action beside a call: a sponsor's `delegate`, or the `approve` of whoever answers.
    pub(crate) fn prepare_action(
        &self,
        snapshot: &Snapshot,
        action: &str,
        circumstances: &Circumstances<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<Prepared, String> {
        let server = &circumstances.tool.server;
        let parents = match action {
            DELEGATE | APPROVE => Vec::new(),
            _ => action_parents(circumstances.tool, circumstances.effects),
        };
        let action_uid = self.names.uid(&self.names.action, action);
        let groups: HashSet<EntityUid> =
            parents.iter().map(|parent| self.names.uid(&self.names.action, parent)).collect();
        let mut entities = vec![Entity::new_no_attrs(action_uid.clone(), groups)];
        entities.extend(parents.iter().map(|parent| bare(&self.names.action, parent)));
        let agents = circumstances.agents.iter().filter_map(|agent| snapshot.agent_entity(agent));
        let people = circumstances.people.iter().flat_map(|person| snapshot.person_entities(person));
        let named = self.slices.get(action).into_iter().flat_map(|slice| &slice.named);
        let mut seen = HashSet::new();
        for entity in agents.chain(people).chain(named) {
            if seen.insert(entity.uid()) {
                entities.push(entity.clone());
            }
        }
        entities.extend(self.servers.get(server).cloned());
        let resource = match &circumstances.resource {
            Some((entity_type, id)) => {
                let name = EntityTypeName::from_str(entity_type).map_err(|cause| cause.to_string())?;
                let resource = bare(&name, id);
                let uid = resource.uid();
                entities.push(resource);
                uid
            }
            None => self.names.uid(&self.names.server, server.as_str()),
        };
        Ok(Prepared {
            action: action_uid,
            slice: action.to_owned(),
            resource,
            entities: Entities::from_entities(entities, None).map_err(|cause| cause.to_string())?,
            context: Context::from_pairs(context).map_err(|cause| cause.to_string())?,
        })
    }

    /// Evaluates every policy that could apply, for one principal.
    pub(crate) fn evaluate(
        &self,
        prepared: &Prepared,
        principal: Principal<'_>,
    ) -> Result<Evaluation, String> {
        let Some(slice) = self.slices.get(&prepared.slice) else {
            return Err(format!("no policies were prepared for {}", prepared.slice));
        };
        let request = Request::new(
            self.principal_uid(principal),
            prepared.action.clone(),
            prepared.resource.clone(),
            prepared.context.clone(),
            None,
        )
        .map_err(|cause| cause.to_string())?;
        let mut evaluation = Evaluation::default();
        let authorizer = Authorizer::new();
        for set in [&slice.permits, &slice.forbids] {
            if set.is_empty() {
                continue;
            }
            let response = authorizer.is_authorized(&request, set, &prepared.entities);
            for policy in response.diagnostics().reason() {
                self.sort(policy, &mut evaluation);
            }
            for error in response.diagnostics().errors() {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
                evaluation.errors.push(PolicyFailure {
                    policy: error.policy_id().to_string(),
                    message: error.inner().to_string(),
                    missing: matches!(error.inner(), EvaluationError::EntityDoesNotExist(_)),
                });
            }
        }
        for list in [&mut evaluation.permits, &mut evaluation.forbids, &mut evaluation.observed] {
            list.sort();
        }
        evaluation.asks.sort();
        Ok(evaluation)
    }

    fn sort(&self, policy: &PolicyId, evaluation: &mut Evaluation) {
        let id = policy.to_string();
        match self.rules.get(policy) {
            Some(rule) if rule.policy.effect() == CedarEffect::Permit => evaluation.permits.push(id),
            Some(Rule { observe: true, .. }) => evaluation.observed.push(id),
            Some(Rule { ask: Some(group), .. }) => evaluation.asks.push((id, group.clone())),
            // A policy nobody knows is one that forbids.
            Some(_) | None => evaluation.forbids.push(id),
        }
    }

    /// What goes with a policy when it permits.
    pub(crate) fn obligations(&self, policy: &str) -> &[Obligation] {
        self.rules.get(&PolicyId::new(policy)).map(|rule| rule.obligations.as_slice()).unwrap_or_default()
    }

    /// Whether any policy lets anybody answer a question.
    pub(crate) fn anyone_may_approve(&self) -> bool {
        self.slices.get(APPROVE).is_some_and(|slice| !slice.permits.is_empty())
    }

    /// The digest of a policy as it is written.
    pub(crate) fn digest(&self, policy: &str) -> Digest {
        let rule = self.rules.get(&PolicyId::new(policy));
        Digest::of(rule.map(|rule| rule.policy.to_string()).unwrap_or_default().as_bytes())
    }

    /// Whether a policy lets people approve what is done for them, of the effects for which that is off otherwise.
    pub(crate) fn allows_self_approval(&self, policy: &str) -> bool {
        self.rules.get(&PolicyId::new(policy)).is_some_and(|rule| rule.self_approval)
    }

    /// How a principal is written in records.
    pub(crate) fn principal_text(&self, principal: Principal<'_>) -> String {
        self.principal_uid(principal).to_string()
    }

    fn principal_uid(&self, principal: Principal<'_>) -> EntityUid {
        match principal {
            Principal::Agent(agent) => self.names.uid(&self.names.agent, agent.as_str()),
            Principal::Person(person) => self.names.uid(&self.names.person, person.as_str()),
        }
    }

    /// Whether some arguments could be permitted as far as scopes tell: a permit's scope fits, and no unconditional forbid does. Sound, not
    /// complete: what this hides is denied for all arguments.
    pub(crate) fn could_permit(&self, snapshot: &Snapshot, action: &str, principal: Principal<'_>) -> bool {
        let Some(slice) = self.slices.get(action) else { return false };
        let uid = self.principal_uid(principal);
        let ancestors: HashSet<EntityUid> = match principal {
            Principal::Agent(_) => HashSet::new(),
            Principal::Person(person) => {
                snapshot.person_entities(person).iter().skip(1).map(Entity::uid).collect()
            }
        };
        let fits = |policy: &Policy| match policy.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(wanted) => wanted == uid,
            PrincipalConstraint::In(wanted) => wanted == uid || ancestors.contains(&wanted),
            PrincipalConstraint::Is(wanted) => wanted == *uid.type_name(),
            PrincipalConstraint::IsIn(kind, wanted) => {
                kind == *uid.type_name() && (wanted == uid || ancestors.contains(&wanted))
            }
        };
        let always = |policy: &Policy| {
            !policy.has_non_scope_constraint()
                && matches!(policy.resource_constraint(), cedar_policy::ResourceConstraint::Any)
                && self.rules.get(policy.id()).is_some_and(|rule| rule.ask.is_none() && !rule.observe)
                && self.scope_is_certain(policy, action)
        };
        slice.permits.policies().any(&fits) && !slice.forbids.policies().any(|p| fits(p) && always(p))
    }

    /// Slices hold policies for effects a call may have; a forbid on such an effect forbids only calls that have it.
    fn scope_is_certain(&self, policy: &Policy, action: &str) -> bool {
        let server = action.split_once('/').map(|(server, _)| format!("server:{server}"));
        match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid.id().unescaped() == action,
            ActionConstraint::In(uids) => uids.iter().any(|uid| {
                let id = uid.id().unescaped();
                id == action || server.as_deref() == Some(id)
            }),
        }
    }
}
