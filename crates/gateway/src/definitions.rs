//! The server's present definitions against their pins.
//!
//! A tool or a prompt that is not exactly as reviewed is quarantined: not listed, and its calls denied. Until the server has said what it
//! offers, no tool counts as seen.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use warrantor_mcp::tools::{List, OfferList, in_one_object};
use warrantor_model::{Definition, Digest, Json, Manifest, Offer, ToolName, record::DefinitionsRecord};

use crate::tidings::Tidings;

/// Most pages of one listing.
pub(crate) const MAX_PAGES: usize = 64;
/// How often a listing begins again because the server said meanwhile that it changed.
pub(crate) const MAX_LISTINGS: usize = 4;

/// Lists whose entries are pinned one by one, and what they are of.
pub(crate) const PINNED: [(List, Offer); 2] = [(List::Tools, Offer::Tool), (List::Prompts, Offer::Prompt)];

/// What the server offers now.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    /// By name, how the definition stands, and whether it declares an output schema.
    seen: BTreeMap<(Offer, String), (Definition, bool)>,
    news: Tidings,
    /// How often the server had said that its list changed when the last whole listing began, and the bundle that it was compared with.
    listed_at: Option<(u64, Digest)>,
    /// Instructions that were withheld.
    pub(crate) withheld: Option<String>,
    /// What was recorded last, and the digest of what the server had said.
    noted: Option<(DefinitionsRecord, Digest)>,
}

/// One listing, page by page.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    seen: BTreeMap<(Offer, String), (Definition, bool)>,
    /// What the server said, word for word, in its order.
    said: Vec<(Offer, Box<RawValue>)>,
}

impl Listing {
    /// Compares a page with the pins.
    pub(crate) fn page(&mut self, manifest: Option<&Manifest>, offer: Offer, list: &OfferList<'_>) {
        for tool in list.entries() {
            let name = (offer, tool.name.to_string());
            let definition = judge(manifest, offer, &tool.name, tool.raw.get());
            let output =
                Json::parse(tool.raw.get().as_bytes()).is_ok_and(|tool| tool.get("outputSchema").is_some());
            // The same name on two pages is two definitions of one tool.
            let twice = self.seen.contains_key(&name);
            self.seen.insert(name, (if twice { Definition::Changed } else { definition }, output));
            self.said.push((offer, tool.raw.to_owned()));
        }
    }

    /// What the server said, as a file of definitions has it.
    fn in_words(&self, instructions: Option<&str>) -> String {
        let of = |wanted: Offer| {
            let said = self.said.iter().filter(move |(offer, _)| *offer == wanted);
            said.map(|(_, raw)| &**raw).collect()
        };
        let lists = PINNED.map(|(list, offer)| (list, of(offer)));
        in_one_object(instructions, lists).as_str().to_owned()
    }
}

impl Listing {
    /// Whether something in this listing is exactly as reviewed.
    pub(crate) fn is_as_pinned(&self, offer: Offer, name: &str) -> bool {
        self.seen
            .get(&(offer, name.to_owned()))
            .is_some_and(|(definition, _)| *definition == Definition::AsPinned)
    }
}

/// How one tool's definition stands.
fn judge(manifest: Option<&Manifest>, offer: Offer, name: &str, raw: &str) -> Definition {
    let pinned = ToolName::of(offer, name)
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
    pub(crate) fn new(news: Tidings) -> Self {
        Self { news, ..Self::default() }
    }

    /// Whether the server has told all it offers, and has not changed since as far as can be known.
    pub(crate) fn is_fresh(&self, bundle: Digest) -> bool {
        self.listed_at == Some((self.news.count(), bundle))
    }

    /// How often the server said that its list changed: to be read before a listing.
    pub(crate) fn news(&self) -> u64 {
        self.news.count()
    }

    /// How a tool's definition stands.
    pub(crate) fn of(&self, offer: Offer, name: &str, bundle: Digest) -> Definition {
        match self.seen.get(&(offer, name.to_owned())) {
            Some((definition, _)) if self.is_fresh(bundle) => *definition,
            _ => Definition::NotSeen,
        }
    }

    /// Takes note of a page that the client listed. One that says something else than the last whole listing makes that listing
    /// stale: the server changed without saying so, and no call passes until it was compared anew.
    pub(crate) fn see(&mut self, page: &Listing) {
        let known = |name: &(Offer, String)| self.seen.get(name).map(|(definition, _)| *definition);
        if page.seen.iter().any(|(name, (definition, _))| known(name) != Some(*definition)) {
            self.listed_at = None;
        }
    }

    /// Whether the tool declares an output schema.
    pub(crate) fn declares_output(&self, tool: &str) -> bool {
        self.seen.get(&(Offer::Tool, tool.to_owned())).is_some_and(|(_, output)| *output)
    }

    /// Takes over a whole listing that began when the server had said `news` times that its list changed. Gives what is worth a record, once, and what
    /// the server said.
    pub(crate) fn learn(
        &mut self,
        manifest: &Manifest,
        mut listing: Listing,
        (news, bundle): (u64, Digest),
    ) -> Option<(DefinitionsRecord, String)> {
        let pinned = manifest.instructions.as_deref();
        // They may be pinned since they were withheld.
        let withheld = self.withheld.as_deref().filter(|text| Some(*text) != pinned);
        let instructions_withheld = withheld.is_some();
        let instructions = withheld.or(pinned).map(str::to_owned);
        self.seen = std::mem::take(&mut listing.seen);
        self.listed_at = Some((news, bundle));
        let names = |wanted: Definition| -> Vec<String> {
            self.seen
                .iter()
                .filter(|(_, (d, _))| *d == wanted)
                .map(|((offer, name), _)| format!("{}{name}", offer.prefix()).chars().take(128).collect())
                .take(100)
                .collect()
        };
        let offered: BTreeSet<String> =
            self.seen.keys().map(|(offer, name)| format!("{}{name}", offer.prefix())).collect();
        let record = DefinitionsRecord {
            server: manifest.server.to_string(),
            changed: names(Definition::Changed),
            unknown: names(Definition::NotSeen),
            missing: manifest
                .tools
                .keys()
                .filter(|name| PINNED.iter().any(|(_, offer)| *offer == name.offer()))
                .filter(|name| !offered.contains(name.as_str()))
                .map(ToString::to_string)
                .take(100)
                .collect(),
            instructions_withheld,
        };
        let words = listing.in_words(instructions.as_deref());
        let noted = (record.clone(), Digest::of(words.as_bytes()));
        if self.noted.as_ref() == Some(&noted) {
            return None;
        }
        self.noted = Some(noted);
        Some((record, words))
    }
}
