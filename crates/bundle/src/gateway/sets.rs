//! Sets of tools from several servers.

use std::collections::BTreeMap;

use warrantor_model::{Offer, ServerName, ToolName, ToolRef};

use super::{Paths, UpstreamSettings};
use crate::{Loaded, doc::Doc, files::gateway::GatewayFile, read::nearest, report::Report, tree::short};

/// A set of tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSet {
    /// Its path.
    pub path: String,
    /// Its tools by the names that clients see.
    pub tools: BTreeMap<String, ToolRef>,
}

pub(super) fn sets(
    doc: &Doc,
    config: &GatewayFile,
    servers: &BTreeMap<ServerName, UpstreamSettings>,
    paths: &mut Paths,
    report: &mut Report,
) -> BTreeMap<ServerName, ToolSet> {
    let mut sets = BTreeMap::new();
    for (name, entry) in &config.sets {
        let here = ["sets", name.as_str()];
        if config.servers.contains_key(name) {
            let message = format!("{name} is a server too");
            doc.error_at_key(report, &here, message, "give the set a name of its own");
        }
        let path = paths.take(doc, "sets", name, entry.path.as_deref(), report);
        if entry.tools.is_empty() {
            doc.error(report, &here, "the set has no tools", "write [sets.NAME.tools]");
        }
        let mut tools = BTreeMap::new();
        for (shown, text) in &entry.tools {
            let at = ["sets", name.as_str(), "tools", shown.as_str()];
            if ToolName::of(Offer::Tool, shown).is_err() {
                let message = format!("{:?} is no name of a tool", short(shown));
                doc.error_at_key(report, &at, message, "use letters, digits, `_`, `-`, `.` and `/`");
            }
            match text.parse::<ToolRef>() {
                Ok(tool) if tool.tool.offer() != Offer::Tool => {
                    let message = format!("{tool} is no tool, and a set has tools alone");
                    doc.error(report, &at, message, "clients reach it on its server's own path");
                }
                Ok(tool) if !servers.contains_key(&tool.server) => {
                    let message = format!("the gateway has no server {}", tool.server);
                    doc.error(report, &at, message, "name one of its servers");
                }
                Ok(tool) => drop(tools.insert(shown.clone(), tool)),
                Err(cause) => doc.error(report, &at, cause.to_string(), "write it as server/tool"),
            }
        }
        sets.insert(name.clone(), ToolSet { path, tools });
    }
    sets
}

/// Tools of sets must be in the bundle.
pub(super) fn known(doc: &Doc, sets: &BTreeMap<ServerName, ToolSet>, bundle: &Loaded, report: &mut Report) {
    for (name, set) in sets {
        for (shown, tool) in &set.tools {
            let Some(manifest) = bundle.snapshot.manifest(&tool.server) else { continue };
            if !manifest.tools.contains_key(&tool.tool) {
                let tools = manifest.tools.keys().filter(|tool| tool.offer() == Offer::Tool);
                let near = nearest(tool.tool.as_str(), tools.map(ToolName::as_str));
                let cure = match near {
                    Some(near) => format!("did you mean {}/{near}?", tool.server),
                    None => format!("name a tool of the manifest of {}", tool.server),
                };
                let at = ["sets", name.as_str(), "tools", shown.as_str()];
                doc.error(report, &at, format!("the bundle has no tool {tool}"), cure);
            }
        }
    }
}
