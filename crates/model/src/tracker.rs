//! Counts and sums over windows of time, for policies.

use std::{collections::BTreeSet, time::Duration};

use crate::{EffectSet, Path, ToolRef};

/// A count or a sum over the calls of a window. It may count calls that left the window less than one bucket ago; never fewer than there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracker {
    /// Its name in policies.
    pub name: String,
    /// What is counted.
    pub what: Tracked,
    /// Calls of these tools; of any, when nothing is said.
    pub tools: Option<BTreeSet<ToolRef>>,
    /// Calls with any of these effects; with any at all, when nothing is said.
    pub effects: Option<EffectSet>,
    /// Calls that ended so; every call that passed, when nothing is said.
    pub outcome: Option<TrackedOutcome>,
    /// How far back.
    pub window: Duration,
    /// What has a count of its own.
    pub per: Per,
}

impl Tracker {
    /// Whether it looks at calls of this tool with these effects.
    #[must_use]
    pub fn matches(&self, tool: &ToolRef, effects: EffectSet) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.contains(tool))
            && self.effects.is_none_or(|any| any.iter().any(|effect| effects.contains(effect)))
    }
}

/// What a tracker counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tracked {
    /// Calls.
    Count,
    /// The values at a path of the arguments.
    Sum(Path),
}

/// How a tracked call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackedOutcome {
    /// With a result.
    Success,
    /// With an error of the tool or of its server.
    Error,
}

/// What has a count of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Each task.
    Task,
    /// Each mandate.
    Mandate,
    /// Each agent.
    Agent,
    /// Each person.
    Person,
    /// Each tool.
    Tool,
    /// All together.
    Organization,
}
