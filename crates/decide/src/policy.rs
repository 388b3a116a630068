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
    ActionConstraint, Authorizer, Context, Effect as CedarEffect, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, EvaluationError, Policy, PolicyId, PolicySet, PrincipalConstraint, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use miette::Diagnostic;
use warrantor_model::{
    Accountable, Agent, AgentId, Effect, EffectSet, GroupName, Manifest, Person, PersonId, ServerName,
    ToolRef,
};

use crate::{
    parts::{Fault, Place, PolicySource},
    shape::quoted,
    snapshot::ToolFacts,
};

/// The annotations a policy may carry. Others are refused: a misspelt `@ask` would be a plain forbid at best.
const ANNOTATIONS: [&str; 4] = ["id", "ask", "mode", "description"];
/// The action that a sponsor of a standing mandate must be permitted.
pub(crate) const DELEGATE: &str = "delegate";

/// All policies, validated, and the entities of the bundle.
#[derive(Debug)]
pub(crate) struct Policies {
    schema_text: String,
    rules: HashMap<PolicyId, Rule>,
    /// The policies that could apply to an action, by its id.
    slices: HashMap<String, Slice>,
    names: Names,
    people: HashMap<PersonId, Vec<Entity>>,
    agents: HashMap<AgentId, Entity>,
    servers: HashMap<ServerName, Entity>,
}

/// What is known of one policy beside its text.
#[derive(Debug)]
struct Rule {
    policy: Policy,
    ask: Option<String>,
    observe: bool,
    /// Every attribute its conditions name.
    attributes: BTreeSet<String>,
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

/// Entity types, parsed once.
#[derive(Debug, Clone)]
struct Names {
    agent: EntityTypeName,
    person: EntityTypeName,
    group: EntityTypeName,
    server: EntityTypeName,
    action: EntityTypeName,
}

/// One principal's evaluation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evaluation {
    /// Permits that hold.
    pub(crate) permits: Vec<String>,
    /// Forbids that hold and that no answer lifts.
    pub(crate) forbids: Vec<String>,
    /// Forbids that hold unless a person of the group answers.
    pub(crate) asks: Vec<(String, String)>,
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
        people: &BTreeMap<PersonId, Person>,
        agents: &BTreeMap<AgentId, Agent>,
        groups: &BTreeMap<GroupName, BTreeSet<PersonId>>,
        manifests: &BTreeMap<ServerName, Manifest>,
        tools: &BTreeMap<ToolRef, ToolFacts>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let schema_text = schema_text(manifests, tools);
        let names = Names::new()?;
        let schema = match Schema::from_cedarschema_str(&schema_text) {
            Ok((schema, _)) => schema,
            Err(cause) => {
                let message = format!("the tool definitions make no valid Cedar schema: {cause}");
                faults.push(Fault::error(Place::Bundle, message));
                return None;
            }
        };
        let known = Known { people, agents, groups, manifests };
        let rules = read_policies(sources, &schema, &known, faults);
        let mut policies = Self {
            schema_text,
            slices: HashMap::new(),
            people: person_entities(people, groups, &names),
            agents: agent_entities(agents, groups, &names),
            servers: manifests.keys().map(|s| (s.clone(), bare(&names.server, s.as_str()))).collect(),
            rules,
            names,
        };
        let mut slices = HashMap::new();
        for (tool, facts) in tools {
            let parents = action_parents(tool, facts.tool.possible_effects());
            slices.insert(tool.to_string(), policies.slice(&tool.to_string(), &parents));
        }
        slices.insert(DELEGATE.to_owned(), policies.slice(DELEGATE, &[]));
        policies.slices = slices;
        Some(policies)
    }

    pub(crate) fn schema_text(&self) -> &str {
        &self.schema_text
    }

    pub(crate) fn count(&self) -> usize {
        self.rules.len()
    }

    /// The policies whose action scope could match.
    fn slice(&self, action: &str, parents: &[String]) -> Slice {
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
                slice.named.extend(self.entities_of(&uid).iter().cloned());
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
    fn entities_of(&self, uid: &EntityUid) -> &[Entity] {
        let id = uid.id().unescaped();
        if *uid.type_name() == self.names.person {
            PersonId::new(id).ok().and_then(|id| self.people.get(&id)).map_or(&[], Vec::as_slice)
        } else if *uid.type_name() == self.names.agent {
            AgentId::new(id).ok().and_then(|id| self.agents.get(&id)).map_or(&[], std::slice::from_ref)
        } else {
            &[]
        }
    }

    /// Whether a policy that could apply to the tool names an attribute.
    pub(crate) fn names_attribute(&self, tool: &ToolRef, attribute: &str) -> bool {
        self.slices.get(&tool.to_string()).is_none_or(|slice| slice.attributes.contains(attribute))
    }

    /// Builds what both principals share: entities, resource, context.
    pub(crate) fn prepare(
        &self,
        circumstances: &Circumstances<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<Prepared, String> {
        self.prepare_action(&circumstances.tool.to_string(), circumstances, context)
    }

    /// The same for the sponsor's `delegate`.
    pub(crate) fn prepare_delegate(
        &self,
        circumstances: &Circumstances<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<Prepared, String> {
        self.prepare_action(DELEGATE, circumstances, context)
    }

    fn prepare_action(
        &self,
        action: &str,
        circumstances: &Circumstances<'_>,
        context: Vec<(String, RestrictedExpression)>,
    ) -> Result<Prepared, String> {
        let server = &circumstances.tool.server;
        let parents = if action == DELEGATE {
            Vec::new()
        } else {
            action_parents(circumstances.tool, circumstances.effects)
        };
        let action_uid = self.names.uid(&self.names.action, action);
        let groups: HashSet<EntityUid> =
            parents.iter().map(|parent| self.names.uid(&self.names.action, parent)).collect();
        let mut entities = vec![Entity::new_no_attrs(action_uid.clone(), groups)];
        entities.extend(parents.iter().map(|parent| bare(&self.names.action, parent)));
        let agents = circumstances.agents.iter().filter_map(|agent| self.agents.get(*agent));
        let people = circumstances.people.iter().filter_map(|person| self.people.get(*person)).flatten();
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
    pub(crate) fn could_permit(&self, action: &str, principal: Principal<'_>) -> bool {
        let Some(slice) = self.slices.get(action) else { return false };
        let uid = self.principal_uid(principal);
        let ancestors = self.ancestors(principal);
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

    fn ancestors(&self, principal: Principal<'_>) -> HashSet<EntityUid> {
        match principal {
            Principal::Agent(_) => HashSet::new(),
            Principal::Person(person) => {
                self.people.get(person).into_iter().flatten().skip(1).map(Entity::uid).collect()
            }
        }
    }
}

impl Names {
    fn new() -> Option<Self> {
        let name = |text| EntityTypeName::from_str(text).ok();
        Some(Self {
            agent: name("Agent")?,
            person: name("Person")?,
            group: name("Group")?,
            server: name("Server")?,
            action: name("Action")?,
        })
    }

    fn uid(&self, name: &EntityTypeName, id: &str) -> EntityUid {
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

fn entity_value(entity_type: &str, id: &str) -> Option<RestrictedExpression> {
    let name = EntityTypeName::from_str(entity_type).ok()?;
    Some(RestrictedExpression::new_entity_uid(EntityUid::from_type_name_and_id(name, EntityId::new(id))))
}

fn bare(name: &EntityTypeName, id: &str) -> Entity {
    Entity::new_no_attrs(EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id)), HashSet::new())
}

/// The action groups of a tool that has these effects.
fn action_parents(tool: &ToolRef, effects: EffectSet) -> Vec<String> {
    effects
        .iter()
        .map(|effect| format!("effect:{effect}"))
        .chain(std::iter::once(format!("server:{}", tool.server)))
        .collect()
}

/// The person first, then the groups.
fn person_entities(
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

fn agent_entities(
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

/// The Cedar schema, in the language of schemas, from the pinned tools.
fn schema_text(manifests: &BTreeMap<ServerName, Manifest>, tools: &BTreeMap<ToolRef, ToolFacts>) -> String {
    let types: BTreeSet<&str> = tools
        .values()
        .filter_map(|facts| facts.tool.resource.as_ref())
        .map(|resource| resource.entity_type.as_str())
        .collect();
    let mut text = String::from(
        "entity Group;\n\
         entity Person in [Group] { issuer: String, subject: String, mail: Set<String> };\n\
         entity Agent { owners: Set<Person>, sponsors: Set<Person>, purpose: String };\n\
         entity Server;\n\
         type Mandate = { id: String, instance: String, root: String, purpose: String, kind: String, depth: Long };\n\
         type Task = { id: String, calls: Long, effects: Set<String> };\n\
         type Environment = { time: datetime, enforcement_point: String };\n",
    );
    for name in &types {
        text.push_str(&format!("entity {name};\n"));
    }
    for effect in Effect::ALL {
        text.push_str(&format!("action \"effect:{effect}\";\n"));
    }
    for server in manifests.keys() {
        text.push_str(&format!("action {};\n", quoted(&format!("server:{server}"))));
    }
    for (tool, facts) in tools {
        let parents: Vec<String> =
            action_parents(tool, facts.tool.possible_effects()).iter().map(|p| quoted(p)).collect();
        let resource = match &facts.tool.resource {
            // A call may lack the argument that names the resource; then the server stands in.
            Some(resource) => format!("{}, Server", resource.entity_type),
            None => "Server".to_owned(),
        };
        text.push_str(&format!(
            "action {} in [{}] appliesTo {{ principal: [Agent, Person], resource: [{resource}], context: {{ \
             arguments: {}, mandate: Mandate, person: Person, task: Task, environment: Environment }} }};\n",
            quoted(&tool.to_string()),
            parents.join(", "),
            facts.shape.cedar_record(),
        ));
    }
    let resources: Vec<&str> = types.into_iter().chain(std::iter::once("Server")).collect();
    text.push_str(&format!(
        "action \"{DELEGATE}\" appliesTo {{ principal: [Person], resource: [{}], context: {{ tool: String, effects: Set<String>, \
         agent: Agent, mandate: Mandate, person: Person, task: Task, environment: Environment }} }};\n",
        resources.join(", ")
    ));
    text
}

/// What policies may name.
struct Known<'a> {
    people: &'a BTreeMap<PersonId, Person>,
    agents: &'a BTreeMap<AgentId, Agent>,
    groups: &'a BTreeMap<GroupName, BTreeSet<PersonId>>,
    manifests: &'a BTreeMap<ServerName, Manifest>,
}

impl Known<'_> {
    fn has(&self, uid: &EntityUid) -> bool {
        let id = uid.id().unescaped();
        match uid.type_name().to_string().as_str() {
            "Person" => self.people.keys().any(|known| known.as_str() == id),
            "Agent" => self.agents.keys().any(|known| known.as_str() == id),
            "Group" => self.groups.keys().any(|known| known.as_str() == id),
            "Server" => self.manifests.keys().any(|known| known.as_str() == id),
            // Actions are the validator's business; resources live outside the bundle.
            _ => true,
        }
    }
}

fn read_policies(
    sources: &[PolicySource],
    schema: &Schema,
    known: &Known<'_>,
    faults: &mut Vec<Fault>,
) -> HashMap<PolicyId, Rule> {
    let validator = Validator::new(schema.clone());
    let mut rules: HashMap<PolicyId, Rule> = HashMap::new();
    for source in sources {
        let set = match PolicySet::from_str(&source.text) {
            Ok(set) => set,
            Err(cause) => {
                faults.extend(cause.iter().map(|one| located(source, one)));
                continue;
            }
        };
        if set.templates().next().is_some() {
            let message = "policy templates are not supported: write the principal and resource out";
            faults.push(Fault::error(whole(source), message));
        }
        let result = validator.validate(&set, ValidationMode::Strict);
        faults.extend(result.validation_errors().map(|error| located(source, error)));
        faults.extend(result.validation_warnings().map(|warning| {
            let mut fault = located(source, warning);
            fault.severity = crate::parts::Severity::Warning;
            fault
        }));
        for (nth, policy) in in_order(&set).into_iter().enumerate() {
            if let Some(rule) = read_policy(source, nth, policy, known, faults)
                && let Some(twin) = rules.insert(rule.policy.id().clone(), rule)
            {
                let message = format!("two policies have the id {:?}", twin.policy.id().to_string());
                faults.push(
                    Fault::error(place_of(source, &twin.policy), message).cure("give each its own @id"),
                );
            }
        }
    }
    rules
}

/// Policies in the order of the file: the parser numbers them.
fn in_order(set: &PolicySet) -> Vec<&Policy> {
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| {
        policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
    });
    policies
}

fn read_policy(
    source: &PolicySource,
    nth: usize,
    policy: &Policy,
    known: &Known<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Rule> {
    let place = || place_of(source, policy);
    let before = faults.len();
    for (name, _) in policy.annotations().filter(|(name, _)| !ANNOTATIONS.contains(name)) {
        let message = match name {
            "redact" | "label" | "notify" => {
                format!("not supported yet: the obligation @{name} cannot be carried out by this version")
            }
            _ => format!("@{name} is no annotation that Warrantor knows"),
        };
        faults.push(Fault::error(place(), message).cure(format!("known are: @{}", ANNOTATIONS.join(", @"))));
    }
    for uid in policy.entity_literals().iter().filter(|uid| !known.has(uid)) {
        let message = format!("{uid} is not in this bundle, so the policy could never mean it");
        faults.push(Fault::error(place(), message).cure("correct the name, or add it to the bundle"));
    }
    let forbids = policy.effect() == CedarEffect::Forbid;
    let ask = policy.annotation("ask").map(str::to_owned);
    if let Some(group) = &ask {
        if !forbids {
            faults.push(Fault::error(
                place(),
                "@ask stands on a permit; it belongs on a forbid, which an answer lifts",
            ));
        }
        if !known.groups.keys().any(|name| name.as_str() == group) {
            faults.push(Fault::error(place(), format!("@ask names the group {group:?}, which nobody is in")));
        }
    }
    let observe = match policy.annotation("mode") {
        None => false,
        Some("observe") if forbids => true,
        Some("observe") => {
            faults.push(Fault::error(place(), "@mode(\"observe\") stands on a permit; it lifts a forbid"));
            false
        }
        Some(other) => {
            faults.push(
                Fault::error(place(), format!("@mode({other:?}) is no mode"))
                    .cure("the only mode is \"observe\""),
            );
            false
        }
    };
    let attributes = match policy.to_json() {
        Ok(json) => {
            let mut names = BTreeSet::new();
            attribute_names(&json, &mut names);
            names
        }
        Err(cause) => {
            faults.push(Fault::error(place(), format!("the policy cannot be read back: {cause}")));
            BTreeSet::new()
        }
    };
    if faults.len() > before {
        return None;
    }
    let id = match policy.annotation("id") {
        Some(id) => id.to_owned(),
        None => format!("{}#{nth}", source.file),
    };
    Some(Rule { policy: policy.new_id(PolicyId::new(id)), ask, observe, attributes })
}

/// Every attribute that `.` or `has` names, anywhere in a policy's JSON form.
fn attribute_names(json: &serde_json::Value, names: &mut BTreeSet<String>) {
    match json {
        serde_json::Value::Object(members) => {
            for operator in [".", "has"] {
                let operand = members.get(operator);
                if let Some(name) = operand.and_then(|o| o.get("attr")) {
                    match name {
                        serde_json::Value::String(name) => drop(names.insert(name.clone())),
                        serde_json::Value::Array(path) => {
                            names.extend(path.iter().filter_map(|part| part.as_str()).map(str::to_owned));
                        }
                        _ => {}
                    }
                }
            }
            // A record that is written out is compared as a whole, and so names what it holds.
            if let Some(record) = members.get("Record").and_then(serde_json::Value::as_object) {
                names.extend(record.keys().cloned());
            }
            members.values().for_each(|member| attribute_names(member, names));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| attribute_names(item, names)),
        _ => {}
    }
}

fn whole(source: &PolicySource) -> Place {
    Place::Policy { file: source.file.clone(), offset: 0, length: source.text.len().min(1) }
}

/// A policy's own place: its text, searched in the file, since the parser does not tell.
fn place_of(source: &PolicySource, policy: &Policy) -> Place {
    let text = policy.to_string();
    match source.text.find(text.trim()) {
        Some(offset) => Place::Policy { file: source.file.clone(), offset, length: text.trim().len() },
        None => whole(source),
    }
}

/// A fault of Cedar's, with its place and its help.
fn located(source: &PolicySource, error: &dyn Diagnostic) -> Fault {
    let label = error.labels().and_then(|mut labels| labels.next());
    let place = match label {
        Some(label) => {
            Place::Policy { file: source.file.clone(), offset: label.offset(), length: label.len() }
        }
        None => whole(source),
    };
    let mut fault = Fault::error(place, error.to_string());
    fault.cure = error.help().map(|help| help.to_string());
    fault
}
