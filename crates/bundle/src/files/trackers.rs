//! `trackers.yaml`: counts and sums over windows of time, for policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use warrantor_model::{Effect, ToolRef};

use super::text::{DurationText, ToolRefText};

/// Trackers by name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "Trackers")]
pub struct TrackersFile(pub BTreeMap<String, TrackerEntry>);

/// One tracker: what is counted or added up, over which calls, in which window, for whom. Policies read it as
/// `context.tracked.NAME`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tracker")]
pub struct TrackerEntry {
    /// The numbers to add up: `arguments.` and a path, such as `arguments.amount`. Exactly one of `sum` and `count` is given.
    pub sum: Option<String>,
    /// Count calls.
    pub count: Option<bool>,
    /// Calls of these tools.
    #[schemars(with = "Option<Vec<ToolRefText>>")]
    pub tools: Option<Vec<ToolRef>>,
    /// Calls with any of these effects.
    pub effects: Option<Vec<Effect>>,
    /// Calls that ended so.
    pub outcome: Option<TrackedOutcome>,
    /// How far back. What left the window less than a 24th of it ago may still be counted.
    #[schemars(with = "DurationText")]
    pub window: String,
    /// What has a count of its own.
    pub per: TrackedPer,
}

/// How a tracked call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackedOutcome {
    /// With a result.
    Success,
    /// With an error.
    Error,
}

/// What has a count of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrackedPer {
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
