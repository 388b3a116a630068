//! A snapshot: everything central that a decision reads, checked as a whole and compiled once.
//!
//! A snapshot that exists is consistent: every name in it leads somewhere, every schema compiles, every policy is valid against the
//! schema generated from the pinned tools. What could not be made consistent was never built.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::Entity;
use jsonschema::{PatternOptions, Validator};
use warrantor_model::{
    Accountable, Agent, AgentId, ArgumentRule, Digest, EffectSet, GroupName, Json, Kind, Manifest, Path,
    Person, PersonId, ServerName, Terms, Tool, ToolRef, WriterRule,
    path::{Segment, Step},
    source::{Compared, Selector},
    tracker::Tracker,
};

use crate::{
    demands::reads_that_carry,
    obligations,
    parts::{Fault, Parts, Place, Severity, pointer},
    places::{deepest, deepest_keys},
    policy::{Known, Names, Policies},
    roster::Roster,
    shape::Shape,
    terms::{self, CompiledTerms},
    trace::UNTRUSTED,
    tracking,
    uris::Uris,
};

/// Names that resource types may not take: the schema has its own types of these names, and an entity type of a built-in's name would
/// take its place everywhere.
const RESERVED_TYPES: &[&str] = &[
    "Agent",
    "Person",
    "Group",
    "Server",
    "Action",
    "Mandate",
    "Task",
    "Environment",
    "Token",
    "String",
    "Long",
    "Bool",
    "Boolean",
    "Set",
    "Record",
    "Entity",
    "Extension",
    "decimal",
    "datetime",
    "duration",
    "ipaddr",
];

/// A consistent bundle, ready to decide on.
#[derive(Debug)]
pub struct Snapshot {
    bundle: Arc<Bundle>,
    /// Whoever stands beside the bundle's own people and agents.
    registered: Roster,
}

/// What the files say.
#[derive(Debug)]
struct Bundle {
    revision: Digest,
    roster: Roster,
    directory_groups: BTreeSet<GroupName>,
    names: Names,
    manifests: BTreeMap<ServerName, Manifest>,
    tools: BTreeMap<ToolRef, ToolFacts>,
    uris: BTreeMap<ServerName, Uris>,
    observe: BTreeSet<ServerName>,
    policies: Policies,
    trackers: Vec<Tracker>,
    labels: BTreeSet<String>,
}

/// What is compiled of one tool.
#[derive(Debug)]
pub(crate) struct ToolFacts {
    pub(crate) tool: Tool,
    pub(crate) shape: Shape,
    pub(crate) validator: Validator,
    output: Option<Validator>,
}

/// A snapshot and what its author should know.
#[derive(Debug)]
pub struct Built {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Faults that do not keep it from loading.
    pub warnings: Vec<Fault>,
}

impl Snapshot {
    /// Checks the parts against one another and compiles them.
    ///
    /// # Errors
    /// Every fault found, when one of them is an error; nothing is loaded then.
    pub fn build(parts: Parts) -> Result<Built, Vec<Fault>> {
        let mut faults = Vec::new();
        let Some(names) = Names::new() else {
            return Err(vec![Fault::error(Place::Bundle, "the types of Cedar's entities cannot be named")]);
        };
        let people = index_people(&parts.people, &mut faults);
        let agents = index_agents(&parts, &people, &mut faults);
        let roster = Roster::new(people, agents, &names, |_| Vec::new());
        let manifests = index_manifests(parts.manifests, &mut faults);
        let tools = compile_tools(&manifests, &mut faults);
        let uris = manifests
            .iter()
            .map(|(server, manifest)| (server.clone(), Uris::build(manifest, &mut faults)))
            .collect();
        let mut labels = known_labels(&manifests);
        labels.extend(obligations::labels(&parts.policies));
        for server in parts.observe.iter().filter(|server| !manifests.contains_key(*server)) {
            faults.push(Fault::error(
                Place::Bundle,
                format!("observe mode is set for {server:?}, which has no manifest"),
            ));
        }
        tracking::check(&parts.trackers, &tools, &mut faults);
        check_results(&manifests, &tools, &mut faults);
        let known = Known {
            roster: &roster,
            directory_groups: &parts.directory_groups,
            manifests: &manifests,
            labels: &labels,
        };
        let policies = Policies::build(&parts.policies, &known, &tools, &parts.trackers, &mut faults);
        match policies {
            Some(policies) if !faults.iter().any(|fault| fault.severity == Severity::Error) => {
                let bundle = Bundle {
                    revision: parts.revision,
                    roster,
                    directory_groups: parts.directory_groups,
                    names,
                    manifests,
                    tools,
                    uris,
                    observe: parts.observe,
                    policies,
                    trackers: parts.trackers,
                    labels,
                };
                let snapshot = Self { bundle: Arc::new(bundle), registered: Roster::default() };
                Ok(Built { snapshot, warnings: faults })
            }
            _ => Err(faults),
        }
    }

    /// What is wrong with the persons and the agent that terms name: somebody who is not known here.
    #[must_use]
    pub fn actors(&self, terms: &Terms) -> Vec<Fault> {
        terms::actors(self, terms)
    }

    /// Checks a mandate's terms against the tools and compiles their bounds. Whether somebody stands behind its names is for each decision to see, and
    /// for [`Snapshot::actors`].
    ///
    /// # Errors
    /// Every fault found, when one of them is an error.
    pub fn compile(&self, terms: Terms) -> Result<CompiledTerms, Vec<Fault>> {
        terms::compile(self, terms)
    }

    /// The bundle's digest.
    #[must_use]
    pub fn revision(&self) -> Digest {
        self.bundle.revision
    }

    /// The Cedar schema that policies are validated against, generated from the pinned tools.
    #[must_use]
    pub fn cedar_schema(&self) -> &str {
        self.bundle.policies.schema_text()
    }

    /// How many policies there are.
    #[must_use]
    pub fn policy_count(&self) -> usize {
        self.bundle.policies.count()
    }

    /// The same bundle with these people and agents beside its own, who are registered elsewhere. Where both know an id, the bundle's own counts.
    #[must_use]
    pub fn registering(&self, people: Vec<Person>, agents: Vec<Agent>) -> Self {
        let own = &self.bundle.roster;
        let people =
            people.into_iter().filter(|person| own.person(&person.id).is_none()).map(|mut person| {
                // A group that the bundle does not leave to the directory is the bundle's own, whoever else has the name.
                person.groups.retain(|group| self.is_of_directory(group));
                person
            });
        let mut agents: BTreeMap<AgentId, Agent> = agents
            .into_iter()
            .filter(|agent| own.agent(&agent.id).is_none())
            .map(|agent| (agent.id.clone(), agent))
            .collect();
        // Who is accountable for an agent of the bundle may be told by the directory; policies see them.
        let through_directory = |agent: &&Agent| {
            let mut accountable = std::iter::once(&agent.owner).chain(&agent.sponsors);
            accountable.any(|who| matches!(who, Accountable::Group(group) if self.is_of_directory(group)))
        };
        let own_agents = own.agents().values().filter(through_directory);
        agents.extend(own_agents.map(|agent| (agent.id.clone(), agent.clone())));
        let registered = Roster::new(
            people.map(|person| (person.id.clone(), person)).collect(),
            agents,
            &self.bundle.names,
            |group| own.members(group).cloned().collect(),
        );
        Self { bundle: Arc::clone(&self.bundle), registered }
    }

    /// Whether the directory tells who is in a group.
    #[must_use]
    pub fn is_of_directory(&self, group: &GroupName) -> bool {
        self.bundle.directory_groups.contains(group)
    }

    /// A person: of the bundle, or else of those that are registered beside it.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<&Person> {
        self.bundle.roster.person(id).or_else(|| self.registered.person(id))
    }

    /// An agent: of the bundle, or else of those that are registered beside it.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<&Agent> {
        self.bundle.roster.agent(id).or_else(|| self.registered.agent(id))
    }

    /// The bundle's own people, in order.
    pub fn own_people(&self) -> impl Iterator<Item = &Person> {
        self.bundle.roster.people().values()
    }

    /// The bundle's own agents, in order.
    pub fn own_agents(&self) -> impl Iterator<Item = &Agent> {
        self.bundle.roster.agents().values()
    }

    /// What policies see of a person: the person, then the groups.
    pub(crate) fn person_entities(&self, id: &PersonId) -> &[Entity] {
        match self.bundle.roster.person_entities(id) {
            [] => self.registered.person_entities(id),
            entities => entities,
        }
    }

    /// What policies see of an agent.
    pub(crate) fn agent_entity(&self, id: &AgentId) -> Option<&Entity> {
        // One of the bundle's own that stands in both has persons here that the bundle does not know.
        self.registered.agent_entity(id).or_else(|| self.bundle.roster.agent_entity(id))
    }

    /// A server's manifest.
    #[must_use]
    pub fn manifest(&self, server: &ServerName) -> Option<&Manifest> {
        self.bundle.manifests.get(server)
    }

    /// The servers, in order.
    pub fn servers(&self) -> impl Iterator<Item = &ServerName> {
        self.bundle.manifests.keys()
    }

    /// A reviewed tool.
    #[must_use]
    pub fn tool(&self, tool: &ToolRef) -> Option<&Tool> {
        self.bundle.tools.get(tool).map(|facts| &facts.tool)
    }

    /// Whether the structured content of a result is what the tool's pinned definition promises.
    ///
    /// # Errors
    /// What is wrong with it, for the operator; it quotes nothing of the result.
    pub fn check_output(&self, tool: &ToolRef, structured: Option<&Json>) -> Result<(), String> {
        let Some(output) = self.facts(tool).and_then(|facts| facts.output.as_ref()) else { return Ok(()) };
        let structured =
            structured.ok_or("the result lacks the structured content that the tool declares")?;
        let value = structured.to_value().ok_or("a number of the result is beyond the range of a double")?;
        match output.iter_errors(&value).next() {
            None => Ok(()),
            Some(error) => {
                let at = error.instance_path().to_string();
                Err(format!(
                    "the structured content does not fit the tool's output schema at {at:?}: {}",
                    error.masked()
                ))
            }
        }
    }

    /// The resource of a server that a URI is one of. Of one that could be read as another there is none.
    #[must_use]
    pub fn resource(&self, server: &ServerName, uri: &str) -> Option<ToolRef> {
        let name = self.bundle.uris.get(server)?.find(uri)?;
        Some(ToolRef::new(server.clone(), name.clone()))
    }

    pub(crate) fn facts(&self, tool: &ToolRef) -> Option<&ToolFacts> {
        self.bundle.tools.get(tool)
    }

    pub(crate) fn tools(&self) -> &BTreeMap<ToolRef, ToolFacts> {
        &self.bundle.tools
    }

    /// Every label that results of this bundle's servers can bring.
    #[must_use]
    pub fn known_labels(&self) -> &BTreeSet<String> {
        &self.bundle.labels
    }

    pub(crate) fn trackers(&self) -> &[Tracker] {
        &self.bundle.trackers
    }

    /// Whether any policy lets anybody answer a question.
    pub(crate) fn anyone_may_approve(&self) -> bool {
        self.policies().anyone_may_approve()
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.bundle.policies
    }

    /// Whether anybody can be in a group.
    pub(crate) fn has_group(&self, group: &GroupName) -> bool {
        self.is_of_directory(group) || self.bundle.roster.groups().contains_key(group)
    }

    /// The persons who are accountable: the one, or all of the group.
    pub(crate) fn accountable<'a>(&'a self, who: &'a Accountable) -> Vec<&'a PersonId> {
        match who {
            Accountable::Person(person) => vec![person],
            Accountable::Group(group) => {
                self.bundle.roster.members(group).chain(self.registered.members(group)).collect()
            }
        }
    }

    /// Whether a server is in observe mode.
    pub(crate) fn observes(&self, server: &ServerName) -> bool {
        self.bundle.observe.contains(server)
    }

    /// The effects a call has, counting those that hang on an argument being present.
    #[must_use]
    pub fn effects(&self, tool: &Tool, arguments: &Json) -> EffectSet {
        tool.effects_when.iter().fold(tool.effects, |effects, (path, more)| {
            if is_present(path, arguments) { effects.union(*more) } else { effects }
        })
    }
}

/// Whether a path leads to something that is neither `null` nor empty.
fn is_present(path: &Path, arguments: &Json) -> bool {
    if matches!(path.segments().last(), Some(Segment::Keys)) {
        return !path.select_keys(arguments).is_empty();
    }
    path.select(arguments).iter().any(|value| !value.is_null() && !value.is_empty_value())
}

impl ToolFacts {
    /// The rule of the deepest path that covers a location. Of several equally deep ones the stricter side of each counts.
    pub(crate) fn rule(&self, location: &[Step]) -> Option<ArgumentRule> {
        deepest(self.tool.arguments.iter(), location).into_iter().map(|(_, rule)| *rule).reduce(stricter)
    }

    /// The rule for a member name: of the deepest path that ends in `@keys` there, else of the member. A sensitive name has a kind.
    pub(crate) fn key_rule(&self, location: &[Step]) -> Option<ArgumentRule> {
        let (_, holder) = location.split_last()?;
        let named = deepest_keys(self.tool.arguments.iter(), holder).into_iter().copied().reduce(stricter);
        let rule = match named {
            Some(rule) => rule,
            // The member's kind is that of its value, not of its name.
            None => ArgumentRule { kind: None, ..self.rule(location)? },
        };
        Some(ArgumentRule { kind: rule.kind.or(rule.sensitive.then_some(Kind::Text)), ..rule })
    }

    /// The kind of the value at a location, when the manifest names one or the argument is sensitive.
    pub(crate) fn kind(&self, location: &[Step]) -> Option<Kind> {
        let rule = self.rule(location)?;
        rule.kind.or(rule.sensitive.then_some(Kind::Text))
    }
}

fn stricter(a: ArgumentRule, b: ArgumentRule) -> ArgumentRule {
    ArgumentRule {
        sensitive: a.sensitive || b.sensitive,
        kind: a.kind.or(b.kind),
        free: a.free && b.free,
        empty_acts: a.empty_acts || b.empty_acts,
    }
}

fn index_people(people: &[Person], faults: &mut Vec<Fault>) -> BTreeMap<PersonId, Person> {
    let mut index = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for (at, person) in people.iter().enumerate() {
        let place = |field: &str| Place::People { pointer: pointer(&["people", &at.to_string(), field]) };
        if !keys.insert((&person.issuer, &person.subject)) {
            faults.push(Fault::error(
                place("subject"),
                format!(
                    "issuer and subject of {} are those of another person: they are a person's key",
                    person.id
                ),
            ));
        }
        if index.insert(person.id.clone(), person.clone()).is_some() {
            faults.push(Fault::error(place("id"), format!("the person {} stands twice", person.id)));
        }
    }
    index
}

fn index_agents(
    parts: &Parts,
    people: &BTreeMap<PersonId, Person>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<AgentId, Agent> {
    let mut index = BTreeMap::new();
    for (at, agent) in parts.agents.iter().enumerate() {
        let place = |fields: &[&str]| Place::Agents {
            pointer: pointer(&[&["agents", &at.to_string()], fields].concat()),
        };
        let known = |who: &Accountable| match who {
            Accountable::Person(person) => people.contains_key(person),
            Accountable::Group(group) => {
                parts.directory_groups.contains(group)
                    || people.values().any(|person| person.groups.contains(group))
            }
        };
        if !known(&agent.owner) {
            faults.push(Fault::error(
                place(&["owner"]),
                format!("the owner {} is not in people.yaml", agent.owner),
            ));
        }
        if agent.sponsors.is_empty() {
            faults.push(
                Fault::error(place(&["sponsors"]), format!("nobody sponsors {}", agent.id))
                    .cure("name at least one person who answers for what the agent does"),
            );
        }
        for (nth, sponsor) in agent.sponsors.iter().enumerate().filter(|(_, sponsor)| !known(sponsor)) {
            let place = place(&["sponsors", &nth.to_string()]);
            faults.push(Fault::error(place, format!("the sponsor {sponsor} is not in people.yaml")));
        }
        for server in &agent.ceiling.servers {
            if !parts.manifests.iter().any(|manifest| manifest.server == *server) {
                let place = place(&["ceiling", "servers"]);
                faults.push(Fault::warning(place, format!("the server {server} has no manifest")));
            }
        }
        if index.insert(agent.id.clone(), agent.clone()).is_some() {
            faults.push(Fault::error(place(&["id"]), format!("the agent {} stands twice", agent.id)));
        }
    }
    index
}

fn index_manifests(manifests: Vec<Manifest>, faults: &mut Vec<Fault>) -> BTreeMap<ServerName, Manifest> {
    let mut index = BTreeMap::new();
    for manifest in manifests {
        let server = manifest.server.clone();
        if index.insert(server.clone(), manifest).is_some() {
            let place = Place::Manifest { server: server.clone(), pointer: pointer(&["server"]) };
            faults.push(Fault::error(place, format!("the server {server} has two manifests")));
        }
    }
    index
}

fn known_labels(manifests: &BTreeMap<ServerName, Manifest>) -> BTreeSet<String> {
    let mut labels = BTreeSet::from([UNTRUSTED.to_owned()]);
    for manifest in manifests.values() {
        labels.extend(manifest.records.values().flat_map(|record| record.labels.iter().cloned()));
        let fields = manifest.records.values().flat_map(|record| record.fields.values());
        let outputs = manifest.tools.values().flat_map(|tool| tool.outputs.values());
        labels.extend(fields.chain(outputs).flat_map(|rule| rule.labels.iter().cloned()));
    }
    labels
}

/// Conditions on writers should compare fields that there are: of one that is misspelt it can never be told whether it holds.
fn check_conditions(manifest: &Manifest, faults: &mut Vec<Fault>) {
    for (name, record) in &manifest.records {
        for (path, field) in &record.fields {
            let WriterRule::Depends { when, .. } = &field.writer else { continue };
            let compared =
                when.iter().flat_map(|(selector, _)| &selector.0).filter_map(|one| one.path.as_ref());
            let listed = |path: &Path| {
                let steps = path.segments().iter().map(|segment| match segment {
                    Segment::Name(name) => Step::Member(name.clone()),
                    _ => Step::Index(0),
                });
                let steps: Vec<Step> = steps.collect();
                record.fields.keys().any(|field| field.covers(&steps).is_some())
            };
            for unknown in compared.filter(|path| !path.is_keys() && !listed(path)) {
                let fields = ["records", name, "fields", &path.to_string(), "writer"];
                let place = Place::Manifest { server: manifest.server.clone(), pointer: pointer(&fields) };
                let message = format!(
                    "the condition compares {unknown}, which is no listed field of {name}: where it is not there, the worse writer counts"
                );
                faults.push(Fault::warning(place, message).cure("list the field, or correct its name"));
            }
        }
    }
}

/// What manifests say of results: selectors refer to nothing that is not there, and reads do not carry data out unnoticed.
fn check_results(
    manifests: &BTreeMap<ServerName, Manifest>,
    tools: &BTreeMap<ToolRef, ToolFacts>,
    faults: &mut Vec<Fault>,
) {
    for manifest in manifests.values() {
        check_conditions(manifest, faults);
        let place =
            |fields: &[&str]| Place::Manifest { server: manifest.server.clone(), pointer: pointer(fields) };
        let mut no_slots = |fields: &[&str], rule: &WriterRule| {
            let WriterRule::Depends { when, .. } = rule else { return };
            let slots =
                |selector: &Selector| selector.0.iter().any(|one| matches!(one.value, Compared::Slot(_)));
            if when.iter().any(|(selector, _)| slots(selector)) {
                let message = "a manifest holds for every mandate, and slots belong to one";
                faults.push(Fault::error(place(fields), message).cure("write the value itself, or $self"));
            }
        };
        for (name, record) in &manifest.records {
            for (path, field) in &record.fields {
                no_slots(&["records", name, "fields", &path.to_string(), "writer"], &field.writer);
            }
        }
        for (name, tool) in &manifest.tools {
            for (path, field) in &tool.outputs {
                no_slots(&["tools", name.as_str(), "outputs", &path.to_string(), "writer"], &field.writer);
            }
        }
    }
    for (tool, facts) in tools {
        for path in reads_that_carry(facts) {
            let text = path.to_string();
            let fields = ["tools", tool.tool.as_str(), "arguments", &text];
            let place = Place::Manifest { server: tool.server.clone(), pointer: pointer(&fields) };
            let message = format!(
                "{tool} is said to read only, and takes an address: what stands in {path} leaves with it"
            );
            faults.push(
                Fault::warning(place, message)
                    .cure("add `egress` to its effects, unless the address cannot lead out"),
            );
        }
    }
}

fn compile_tools(
    manifests: &BTreeMap<ServerName, Manifest>,
    faults: &mut Vec<Fault>,
) -> BTreeMap<ToolRef, ToolFacts> {
    let mut tools = BTreeMap::new();
    for manifest in manifests.values() {
        for (name, tool) in &manifest.tools {
            if let Some(facts) = compile_tool(&manifest.server, tool, faults) {
                tools.insert(ToolRef::new(manifest.server.clone(), name.clone()), facts);
            }
        }
    }
    tools
}

fn compile_tool(server: &ServerName, tool: &Tool, faults: &mut Vec<Fault>) -> Option<ToolFacts> {
    let place = |fields: &[&str]| Place::Manifest {
        server: server.clone(),
        pointer: pointer(&[&["tools", tool.name.as_str()], fields].concat()),
    };
    let shape = Shape::of(&tool.input_schema);
    let mut lost = |fields: &[&str], path: &Path| {
        if !shape.has(path) {
            let names = shape.names().join(", ");
            let message = format!("{path} is no argument of {server}/{}", tool.name);
            faults.push(Fault::error(place(fields), message).cure(format!("its arguments are: {names}")));
        }
    };
    for path in tool.arguments.keys() {
        lost(&["arguments", &path.to_string()], path);
    }
    for (path, _) in &tool.effects_when {
        lost(&["effects_when", &path.to_string()], path);
    }
    if let Some(resource) = &tool.resource {
        lost(&["resource", "id"], &resource.id);
        if resource.id.segments().iter().any(|segment| !matches!(segment, Segment::Name(_))) {
            let message = format!("{} can lead to several values, and a call has one resource", resource.id);
            faults.push(
                Fault::error(place(&["resource", "id"]), message).cure("write the path without wildcards"),
            );
        }
        if RESERVED_TYPES.contains(&resource.entity_type.as_str()) || !is_type_name(&resource.entity_type) {
            let message = format!("{:?} cannot be a resource type", resource.entity_type);
            let cure = format!("use letters, digits and _, not one of {}", RESERVED_TYPES.join(", "));
            faults.push(Fault::error(place(&["resource", "type"]), message).cure(cure));
        }
    }
    if tool.effects.is_empty() {
        faults.push(
            Fault::error(place(&["effects"]), format!("{server}/{} has no effects", tool.name))
                .cure("name at least one"),
        );
    }
    let mut compile = |which: &str, schema: &Json| match validator(schema) {
        Ok(validator) => Some(validator),
        Err(cause) => {
            let message = format!("the {which} schema of {server}/{} does not compile: {cause}", tool.name);
            faults.push(Fault::error(Place::Definitions { server: server.clone() }, message));
            None
        }
    };
    let validator = compile("input", &tool.input_schema);
    let output = tool.output_schema.as_ref().and_then(|schema| compile("output", schema));
    Some(ToolFacts { tool: tool.clone(), shape, validator: validator?, output })
}

fn is_type_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Patterns run on a linear engine, so that no argument can make validation slow; references out of the document fail.
fn validator(schema: &Json) -> Result<Validator, String> {
    let schema = schema.to_value().ok_or("it holds a number beyond the range of a double")?;
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex().size_limit(1 << 20))
        .offline()
        .build(&schema)
        .map_err(|cause| cause.to_string())
}
