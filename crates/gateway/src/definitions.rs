//! The server's present definitions against their pins.
//!
//! A tool that is not exactly as reviewed is quarantined: not listed, and its calls denied. Until the server has said what it
//! offers, no tool counts as seen.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;
use warrantor_mcp::tools::ToolList;
use warrantor_model::{Definition, Json, Manifest, ToolName, record::DefinitionsRecord};

/// Most pages of one listing.
pub(crate) const MAX_PAGES: usize = 64;
/// How often a listing begins again because the server said meanwhile that it changed.
pub(crate) const MAX_LISTINGS: usize = 4;

/// How often the server said that its list changed. Counted beside the definitions and not in them: those are held while a listing waits for its
/// answers, and whoever reads the server's news must not wait for whoever waits for the server.
#[derive(Debug, Clone)]
pub(crate) struct News(watch::Sender<u64>);

impl Default for News {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl News {
    /// The server says that its list changed.
    pub(crate) fn arrived(&self) {
        self.0.send_modify(|count| *count = count.saturating_add(1));
    }

    /// How often it said so.
    pub(crate) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    /// Tells from now on when it says so.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// What the server offers now.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    /// By name, how the definition stands, and whether it declares an output schema.
    seen: BTreeMap<String, (Definition, bool)>,
    news: News,
    /// How often the server had said that its list changed when the last whole listing began.
    listed_at: Option<u64>,
    /// Instructions were withheld.
    pub(crate) instructions_withheld: bool,
    noted: Option<DefinitionsRecord>,
}

/// One listing, page by page.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    seen: BTreeMap<String, (Definition, bool)>,
}

impl Listing {
    /// Compares a page with the pins.
    pub(crate) fn page(&mut self, manifest: Option<&Manifest>, list: &ToolList<'_>) {
        for tool in list.tools() {
            let name = tool.name.to_string();
            let definition = judge(manifest, &name, tool.raw.get());
            let output =
                Json::parse(tool.raw.get().as_bytes()).is_ok_and(|tool| tool.get("outputSchema").is_some());
            // The same name on two pages is two definitions of one tool.
            let twice = self.seen.contains_key(&name);
            self.seen.insert(name, (if twice { Definition::Changed } else { definition }, output));
        }
    }
}

impl Listing {
    /// Whether a tool of this listing is exactly as reviewed.
    pub(crate) fn is_as_pinned(&self, tool: &str) -> bool {
        self.seen.get(tool).is_some_and(|(definition, _)| *definition == Definition::AsPinned)
    }
}

/// How one tool's definition stands.
fn judge(manifest: Option<&Manifest>, name: &str, raw: &str) -> Definition {
    let pinned = ToolName::new(name)
        .ok()
        .and_then(|name| manifest.and_then(|manifest| manifest.tools.get(&name)))
        .map(|tool| tool.definition);
    let Some(pinned) = pinned else { return Definition::NotSeen };
    let present =
        Json::parse(raw.as_bytes()).ok().and_then(|tool| warrantor_mcp::tools::definition_digest(&tool).ok());
    if present == Some(pinned) { Definition::AsPinned } else { Definition::Changed }
}

impl Definitions {
    /// Nothing is known yet.
    pub(crate) fn new(news: News) -> Self {
        Self { news, ..Self::default() }
    }

    /// Whether the server has told all it offers, and has not changed since as far as can be known.
    pub(crate) fn is_fresh(&self) -> bool {
        self.listed_at == Some(self.news.count())
    }

    /// How often the server said that its list changed: to be read before a listing.
    pub(crate) fn news(&self) -> u64 {
        self.news.count()
    }

    /// How a tool's definition stands.
    pub(crate) fn of(&self, tool: &str) -> Definition {
        match self.seen.get(tool) {
            Some((definition, _)) if self.is_fresh() => *definition,
            _ => Definition::NotSeen,
        }
    }

    /// Takes note of a page that the client listed. One that says something else than the last whole listing makes that listing
    /// stale: the server changed without saying so, and no call passes until it was compared anew.
    pub(crate) fn see(&mut self, page: &Listing) {
        let known = |name: &String| self.seen.get(name).map(|(definition, _)| *definition);
        if page.seen.iter().any(|(name, (definition, _))| known(name) != Some(*definition)) {
            self.listed_at = None;
        }
    }

    /// Whether the tool declares an output schema.
    pub(crate) fn declares_output(&self, tool: &str) -> bool {
        self.seen.get(tool).is_some_and(|(_, output)| *output)
    }

    /// Takes over a whole listing that began when the server had said `news` times that its list changed. Gives what is worth a record, once.
    pub(crate) fn learn(
        &mut self,
        manifest: &Manifest,
        listing: Listing,
        news: u64,
    ) -> Option<DefinitionsRecord> {
        self.seen = listing.seen;
        self.listed_at = Some(news);
        let names = |wanted: Definition| -> Vec<String> {
            self.seen
                .iter()
                .filter(|(_, (d, _))| *d == wanted)
                .map(|(name, _)| name.chars().take(128).collect())
                .take(100)
                .collect()
        };
        let offered: BTreeSet<&str> = self.seen.keys().map(String::as_str).collect();
        let record = DefinitionsRecord {
            server: manifest.server.to_string(),
            changed: names(Definition::Changed),
            unknown: names(Definition::NotSeen),
            missing: manifest
                .tools
                .keys()
                .filter(|name| !offered.contains(name.as_str()))
                .map(ToString::to_string)
                .take(100)
                .collect(),
            instructions_withheld: self.instructions_withheld,
        };
        let clean = record.changed.is_empty()
            && record.unknown.is_empty()
            && record.missing.is_empty()
            && !record.instructions_withheld;
        if (clean && self.noted.is_none()) || self.noted.as_ref() == Some(&record) {
            return None;
        }
        self.noted = Some(record.clone());
        Some(record)
    }
}
