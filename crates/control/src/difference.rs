//! What two bundles say differently, in words: for whoever publishes one, and whoever looks at the history.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use similar::{ChangeTag, TextDiff};
use warrantor_bundle::Loaded;
use warrantor_model::{FieldRule, Json, Path, Tool, WriterRule};

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

/// Most characters of a line that is told; a longer one is told in parts, so that nothing of it is left out.
const MAX_LINE: usize = 200;
/// How long the lines of a file are compared before a coarser answer does.
const PATIENCE: Duration = Duration::from_millis(200);

/// Things by their names, each with what is said of it.
type Told = BTreeMap<String, BTreeSet<String>>;

/// What `after` says differently from `before`, or from nothing: first in words by what it is about, then by the lines of each file that changed, so that
/// no change is passed over.
#[must_use]
pub fn difference(before: Option<&Loaded>, after: &Loaded) -> Vec<Difference> {
    let files = |bundle: &Loaded| bundle.archive.iter().cloned().collect::<BTreeMap<_, _>>();
    let (was, is) = (before.map(files).unwrap_or_default(), files(after));
    let paths: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let of = |files: &BTreeMap<String, Vec<u8>>, path: &String| files.get(path).cloned().unwrap_or_default();
    let changed = paths.into_iter().filter(|path| was.get(*path) != is.get(*path));
    let changed = changed.map(|path| lines(path, &of(&was, path), &of(&is, path)));
    words(before, after).into_iter().chain(changed).collect()
}

/// What is said differently of people, agents, tools and mandates.
fn words(before: Option<&Loaded>, after: &Loaded) -> Vec<Difference> {
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
                let free = if rule.free { ", free" } else { "" };
                let empty = if rule.empty_acts { ", acts when empty" } else { "" };
                lines.insert(format!("takes {path}: {kind}{sensitive}{free}{empty}"));
            }
            lines.extend(more_of(tool));
            told.insert(format!("tool {}/{name}", manifest.server), lines);
        }
        for (name, record) in &manifest.records {
            let mut lines: BTreeSet<String> =
                record.fields.iter().map(|(path, rule)| field(path, rule)).collect();
            if !record.labels.is_empty() {
                lines.insert(format!("brings the labels {}", joined(&record.labels)));
            }
            lines.insert(format!("is told apart by {:?}", record.key).to_lowercase());
            told.insert(format!("record {}/{name}", manifest.server), lines);
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
    told
}

/// What is said of a tool beside its effects and arguments.
fn more_of(tool: &Tool) -> Vec<String> {
    let mut lines: Vec<String> = tool
        .effects_when
        .iter()
        .map(|(path, effects)| {
            let words: Vec<&str> = effects.iter().map(warrantor_model::Effect::as_str).collect();
            format!("may {} where {path} is given", words.join(", "))
        })
        .collect();
    lines.extend(tool.returns.iter().map(|(path, record)| format!("returns {record} at {}", place(path))));
    lines.extend(tool.outputs.iter().map(|(path, rule)| field(path, rule)));
    lines.extend(
        tool.resource.iter().map(|resource| format!("acts on {} {}", resource.entity_type, resource.id)),
    );
    lines.push(format!("its text is read as {:?}", tool.text).to_lowercase());
    lines.push(format!("failing it leaves {:?} behind", tool.failure).to_lowercase());
    lines
}

/// What is said of one place of a result.
fn field(path: &Path, rule: &FieldRule) -> String {
    let writer = match &rule.writer {
        WriterRule::Always(writer) => writer.as_str().to_owned(),
        WriterRule::Depends { when, otherwise } => {
            let cases: Vec<String> =
                when.iter().map(|(selector, writer)| format!("{} if {selector}", writer.as_str())).collect();
            format!("{}, else {}", cases.join(", "), otherwise.as_str())
        }
    };
    let kind = rule.kind.map_or_else(String::new, |kind| format!(", {kind:?}").to_lowercase());
    let labels = match rule.labels.is_empty() {
        true => String::new(),
        false => format!(", brings {}", joined(&rule.labels)),
    };
    format!("{} is written by {writer}{kind}{labels}", place(path))
}

fn place(path: &Path) -> String {
    match path.to_string() {
        whole if whole.is_empty() => "the whole".to_owned(),
        path => path,
    }
}

fn joined(labels: &BTreeSet<String>) -> String {
    labels.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What the files say differently, line by line: the proof beside the words, and the only word on what has none.
fn lines(path: &str, before: &[u8], after: &[u8]) -> Difference {
    let (mut before, mut after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    // What a server says of itself may be one line. Where only its form differs, that is told.
    if path.ends_with(".tools.json")
        && let (Some(was), Some(is)) = (set_out(&before), set_out(&after))
        && was != is
    {
        (before, after) = (was.into(), is.into());
    }
    let (before, after) = (in_parts(&before), in_parts(&after));
    let compared = TextDiff::configure().timeout(PATIENCE).diff_lines(&*before, &*after);
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    for change in compared.iter_all_changes() {
        match change.tag() {
            ChangeTag::Equal => {}
            ChangeTag::Delete => gone.push(change.value().trim_end().to_owned()),
            ChangeTag::Insert => new.push(change.value().trim_end().to_owned()),
        }
    }
    Difference { about: format!("file {path}"), gone, new }
}

/// A text whose long lines are cut into parts of one length, each but the last one ending in `…`.
fn in_parts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut in_line = 0usize;
        for c in line.chars() {
            if in_line == MAX_LINE && c != '\n' {
                out.push_str("…\n");
                in_line = 0;
            }
            out.push(c);
            in_line = in_line.saturating_add(1);
        }
    }
    out
}

/// Definitions on lines of their own, each list in the order of its names.
fn set_out(text: &str) -> Option<String> {
    let mut json = Json::parse(text.as_bytes()).ok()?;
    let Json::Object(members) = &mut json else { return None };
    for (_, list) in members {
        if let Json::Array(entries) = list {
            let name = |entry: &Json| {
                let named = ["name", "uri", "uriTemplate"].into_iter().find_map(|key| entry.get(key));
                named.and_then(Json::as_str).unwrap_or_default().to_owned()
            };
            entries.sort_by_cached_key(name);
        }
    }
    serde_json::to_string_pretty(&json).ok()
}
