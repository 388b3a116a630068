//! What two bundles say differently, in words: for whoever publishes one, and whoever looks at the history.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use warrantor_bundle::Loaded;

use crate::sentences::sentences;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Difference {
    /// What it is about, such as `mandate pay-october`.
    pub about: String,
    /// What is said no more.
    pub gone: Vec<String>,
    /// What is said anew.
    pub new: Vec<String>,
}

/// Things by their names, each with what is said of it.
type Told = BTreeMap<String, BTreeSet<String>>;

/// What `after` says differently from `before`, or from nothing, by what it is about.
#[must_use]
pub fn difference(before: Option<&Loaded>, after: &Loaded) -> Vec<Difference> {
    let (before, after) = (before.map(told).unwrap_or_default(), told(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = BTreeSet::new();
    let differs = |name: &String| {
        let (was, is) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
        let gone: Vec<String> = was.difference(is).cloned().collect();
        let new: Vec<String> = is.difference(was).cloned().collect();
        (!gone.is_empty() || !new.is_empty()).then(|| Difference { about: name.clone(), gone, new })
    };
    names.into_iter().filter_map(differs).collect()
}

fn told(bundle: &Loaded) -> Told {
    let snapshot = &bundle.snapshot;
    let mut told = Told::new();
    for person in snapshot.own_people() {
        let groups: Vec<&str> = person.groups.iter().map(AsRef::as_ref).collect();
        let lines = [
            format!("{} of {}", person.subject, person.issuer),
            format!("is {:?}", person.status).to_lowercase(),
            format!("is in {}", if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") }),
            format!("has the addresses {}", person.mail.join(", ")),
        ];
        told.insert(format!("person {}", person.id), lines.into());
    }
    for agent in snapshot.own_agents() {
        let servers: Vec<&str> = agent.ceiling.servers.iter().map(AsRef::as_ref).collect();
        let effects: Vec<&str> = agent.ceiling.effects.iter().map(warrantor_model::Effect::as_str).collect();
        let sponsors: Vec<String> = agent.sponsors.iter().map(ToString::to_string).collect();
        let lines = [
            format!("is owned by {}", agent.owner),
            format!("is sponsored by {}", sponsors.join(", ")),
            format!("is {:?}", agent.status).to_lowercase(),
            format!("is for: {}", agent.purpose),
            format!("may reach {}", servers.join(", ")),
            format!("may {}", effects.join(", ")),
        ];
        told.insert(format!("agent {}", agent.id), lines.into());
    }
    for manifest in snapshot.servers().filter_map(|server| snapshot.manifest(server)) {
        for (name, tool) in &manifest.tools {
            let effects: Vec<&str> =
                tool.possible_effects().iter().map(warrantor_model::Effect::as_str).collect();
            let mut lines = BTreeSet::from([
                format!("may {}", effects.join(", ")),
                format!("is pinned as {}", tool.definition),
            ]);
            for (path, rule) in &tool.arguments {
                let sensitive = if rule.sensitive { ", sensitive" } else { "" };
                let kind = rule
                    .kind
                    .map_or_else(|| "anything".to_owned(), |kind| format!("{kind:?}").to_lowercase());
                lines.insert(format!("takes {path}: {kind}{sensitive}"));
            }
            told.insert(format!("tool {}/{name}", manifest.server), lines);
        }
    }
    for (id, template) in &bundle.templates {
        let mut lines = BTreeSet::new();
        for section in sentences(snapshot, &template.terms) {
            lines.extend(section.lines.iter().map(|line| format!("{} {line}", section.heading)));
            lines.insert(section.heading);
        }
        if !template.open.is_closed() {
            lines.insert(format!("leaves open: {}", template.open.words()));
        }
        told.insert(format!("mandate {id}"), lines);
    }
    // Of what has no sentences the text tells.
    for (path, bytes) in &bundle.archive {
        let of_its_own = path.starts_with("mandates/")
            || path.starts_with("tools/")
            || path == "people.yaml"
            || path == "agents.yaml";
        if !of_its_own {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned);
            told.insert(format!("file {path}"), lines.collect());
        }
    }
    told
}
