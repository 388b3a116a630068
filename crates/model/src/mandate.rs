//! The task envelope: what one person hands one agent, and what narrows it hop by hop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, Decimal, EffectSet, GroupName, Json, MandateId, Offer, Path, PersonId, Provenance, ServerName,
    TaskId, TemplateId, Timestamp, ToolRef,
};

/// For whom the agent acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MandateKind {
    /// For the person, and never above the person.
    #[default]
    Delegated,
    /// On its own, under a sponsor who must be permitted to delegate.
    Standing,
}

impl MandateKind {
    /// The word used in files, policies and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delegated => "delegated",
            Self::Standing => "standing",
        }
    }
}

/// When a mandate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// So long after the handover.
    For(Duration),
    /// At this instant.
    Until(Timestamp),
}

impl Lifetime {
    /// The instant a mandate handed over at `from` ends.
    #[must_use]
    pub fn end(self, from: Timestamp) -> Timestamp {
        match self {
            Self::For(duration) => from.plus(duration),
            Self::Until(instant) => instant,
        }
    }
}

/// What a mandate says: the terms a person hands over.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// The mandate of the bundle these terms were written in.
    pub template: TemplateId,
    /// The mandate of the bundle this one narrows.
    pub parent: Option<TemplateId>,
    /// For whom the agent acts.
    pub kind: MandateKind,
    /// Who hands over the task.
    pub person: PersonId,
    /// Who acts.
    pub agent: AgentId,
    /// Who answers for what the agent does here.
    pub sponsor: PersonId,
    /// Why, in a line.
    pub purpose: String,
    /// The person's own words.
    pub request: Option<String>,
    /// Spans of the request that others wrote.
    pub quoted: Vec<String>,
    /// Typed values given at handover.
    pub slots: BTreeMap<String, Json>,
    /// When it ends.
    pub lifetime: Lifetime,
    /// How many further hops may follow.
    pub depth: u32,
    /// Limits over all calls.
    pub limits: Limits,
    /// What is granted.
    pub grants: Vec<Grant>,
}

/// One line of a mandate.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// Which tools.
    pub matches: Match,
    /// Bounds of arguments, by path.
    pub arguments: Vec<(Path, Bounds)>,
    /// Limits of this line.
    pub limits: Limits,
    /// Who must be asked, if someone.
    pub ask: Option<Asked>,
    /// Calls that must have succeeded before.
    pub after: Vec<Earlier>,
}

/// Which tools a grant matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This one.
    Tool(ToolRef),
    /// Every tool of these servers whose effects are all in the set, but not the excepted ones.
    Effects {
        /// The effects.
        effects: EffectSet,
        /// The servers.
        servers: BTreeSet<ServerName>,
        /// The exceptions.
        except: BTreeSet<ToolRef>,
    },
}

impl Match {
    /// Whether a call of this tool with these effects is meant. Effects grant tools alone: prompts, resources and what a server asks of clients are
    /// each granted by name, for nobody sees from a set of effects what they would bring along.
    #[must_use]
    pub fn reaches(&self, tool: &ToolRef, effects: EffectSet) -> bool {
        match self {
            Self::Tool(named) => named == tool,
            Self::Effects { effects: granted, servers, except } => {
                tool.tool.offer() == Offer::Tool
                    && servers.contains(&tool.server)
                    && effects.is_within(*granted)
                    && !except.contains(tool)
            }
        }
    }
}

/// Who is to be asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// The mandate's person.
    Person,
    /// Any person of a group.
    Group(GroupName),
}

/// A call that must have passed and succeeded earlier in the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// The tool.
    pub tool: ToolRef,
    /// Arguments it must have had, equal as JSON.
    pub arguments: Vec<(Path, Json)>,
}

/// Limits, counted over the chain below.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// How many calls.
    pub calls: Option<u64>,
    /// The most the values at a path may add up to.
    pub sum: BTreeMap<Path, Decimal>,
    /// How many different values a path may take.
    pub distinct: BTreeMap<Path, u64>,
    /// Paths whose every value may be used once only.
    pub unique: BTreeSet<Path>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Bounds of one argument. All that are given must hold. They skip what is absent, but for `required`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds {
    /// Equal to this.
    pub equals: Option<Json>,
    /// Equal to one of these.
    pub one_of: Option<Vec<Json>>,
    /// At least this: a number, or a date or time by kind.
    pub min: Option<Json>,
    /// At most this: a number, or a date or time by kind.
    pub max: Option<Json>,
    /// Begins with this.
    pub prefix: Option<String>,
    /// Matches this glob as written.
    pub glob: Option<String>,
    /// Matches this regular expression as written, anchored at both ends.
    pub matches: Option<String>,
    /// A path at or below one of these, lexically.
    pub within: Option<Vec<String>>,
    /// A host, or a URL of a host, that is one of these.
    pub host_in: Option<Vec<String>>,
    /// A mail address, host or URL at or below one of these domains.
    pub domain_in: Option<Vec<String>>,
    /// At most this many characters.
    pub max_length: Option<u64>,
    /// At most this many elements.
    pub max_items: Option<u64>,
    /// Absent or empty.
    pub absent: bool,
    /// Strings compare without regard to case.
    pub ignore_case: bool,
    /// Must be given.
    pub required: bool,
    /// Fits this text with holes.
    pub template: Option<TextTemplate>,
    /// Where the value must come from.
    pub provenance: Provenance,
}

/// A text with holes, `Dinner at {x}`, and the bounds of what fills them.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTemplate {
    /// The text; a hole is its name in braces.
    pub text: String,
    /// The bounds of each hole.
    pub holes: BTreeMap<String, Bounds>,
}

/// A mandate that was handed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Mandate {
    /// This instance.
    pub id: MandateId,
    /// The mandate it narrows.
    pub parent: Option<MandateId>,
    /// The run it belongs to.
    pub task: TaskId,
    /// Whether that run begins with it although it narrows another mandate: it was handed on from elsewhere, where the task began.
    pub begins_task: bool,
    /// What it says.
    pub terms: Arc<Terms>,
    /// When it was handed over.
    pub handed_over_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}
