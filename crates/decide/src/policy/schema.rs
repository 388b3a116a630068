//! The Cedar schema, generated from the pinned tools.

use std::collections::{BTreeMap, BTreeSet};

use warrantor_model::{
    Effect, Manifest, ServerName, ToolRef,
    tracker::{Tracked, Tracker},
};

use super::{APPROVE, DELEGATE, entities::action_parents};
use crate::{shape::quoted, snapshot::ToolFacts};

/// The Cedar schema, in the language of schemas, from the pinned tools.
pub(super) fn schema_text(
    manifests: &BTreeMap<ServerName, Manifest>,
    tools: &BTreeMap<ToolRef, ToolFacts>,
    trackers: &[Tracker],
) -> String {
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
         type Task = { id: String, calls: Long, effects: Set<String>, labels: Set<String> };\n\
         type Approval = { by: Set<Person>, at: datetime };\n\
         type Environment = { time: datetime, enforcement_point: String };\n\
         type Token = { issuer: String, subject: String, client: String, scopes: Set<String>, bound: Bool, home?: { issuer: String, subject: String } };\n",
    );
    let tracked: Vec<String> = trackers.iter().map(tracked_attribute).collect();
    text.push_str(&format!("type Tracked = {{ {} }};\n", tracked.join(", ")));
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
             arguments: {}, sources: {{ {} }}, mandate: Mandate, person: Person, task: Task, tracked: Tracked, \
             environment: Environment, token?: Token, approval?: Approval }} }};\n",
            quoted(&tool.to_string()),
            parents.join(", "),
            facts.shape.cedar_record(),
            sources(facts),
        ));
    }
    let resources: Vec<&str> = types.into_iter().chain(std::iter::once("Server")).collect();
    let resources = resources.join(", ");
    text.push_str(&format!(
        "action \"{DELEGATE}\" appliesTo {{ principal: [Person], resource: [{resources}], context: {{ tool: String, \
         effects: Set<String>, agent: Agent, mandate: Mandate, person: Person, task: Task, tracked: Tracked, \
         environment: Environment, token?: Token, approval?: Approval }} }};\n"
    ));
    text.push_str(&format!(
        "action \"{APPROVE}\" appliesTo {{ principal: [Person], resource: [{resources}], context: {{ tool: String, \
         effects: Set<String>, asked: Set<String>, answered: Set<Person>, agent: Agent, mandate: Mandate, person: Person, \
         sponsor: Person, task: Task, environment: Environment, token?: Token }} }};\n"
    ));
    text
}

/// One set of source names for each argument at the top; empty where the call has no such argument.
fn sources(facts: &ToolFacts) -> String {
    let names = facts.shape.names();
    names.iter().map(|name| format!("{}: Set<String>", quoted(name))).collect::<Vec<_>>().join(", ")
}

fn tracked_attribute(tracker: &Tracker) -> String {
    let sort = match tracker.what {
        Tracked::Count => "Long",
        Tracked::Sum(_) => "decimal",
    };
    format!("{}: {sort}", quoted(&tracker.name))
}
