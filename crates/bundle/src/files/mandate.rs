//! `mandates/*.yaml`: what a person hands an agent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use warrantor_model::{
    AgentId, Effect, MandateKind, Path, PersonId, ServerName, TemplateId, Timestamp, ToolRef,
};

use super::text::{
    AskedText, DurationText, EarlierText, IdText, NameText, PathText, SourceText, TimestampText, ToolRefText,
};
use crate::values::{Exact, Nullable, OneOrMany, Value};

/// A mandate: one person hands one agent one task, with grants, limits and an end. In a bundle it is a template; a recorded handover makes a
/// mandate of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mandate")]
pub struct MandateFile {
    /// The mandate's name within the bundle.
    #[schemars(with = "NameText")]
    pub id: TemplateId,
    /// For whom the agent acts: `delegated` for the person and never above the person, `standing` on its own under a sponsor.
    #[serde(default)]
    pub kind: MandateKind,
    /// Who hands over the task. In a bundle it may be left open: then it is whoever hands it over.
    #[schemars(with = "Option<IdText>")]
    pub person: Option<PersonId>,
    /// Who acts. In a bundle it may be left open: then whoever hands it over says which agent.
    #[schemars(with = "Option<IdText>")]
    pub agent: Option<AgentId>,
    /// Who answers for what the agent does here; the person when nothing is said.
    #[schemars(with = "Option<IdText>")]
    pub sponsor: Option<PersonId>,
    /// The mandate this one narrows.
    #[serde(default)]
    #[schemars(with = "Option<NameText>")]
    pub parent: Nullable<TemplateId>,
    /// Why, in a line.
    pub purpose: String,
    /// The person's own words.
    pub request: Option<String>,
    /// Parts of the request that others wrote, such as a pasted mail: each as it stands there. What is in them anyone may have written.
    #[serde(default)]
    pub quoted: Vec<String>,
    /// Values given at handover, by name.
    #[serde(default)]
    pub slots: BTreeMap<String, Value>,
    /// Slots that whoever hands it over fills, by name, and what each may hold.
    #[serde(default)]
    pub takes: BTreeMap<String, TakenEntry>,
    /// How long after the handover it ends. Exactly one of `expires_in` and `expires_at` is given.
    #[schemars(with = "Option<DurationText>")]
    pub expires_in: Option<String>,
    /// When it ends.
    #[schemars(with = "Option<TimestampText>")]
    pub expires_at: Option<Timestamp>,
    /// Whether the agent may hand on parts of the task.
    #[serde(default)]
    pub delegation: DelegationEntry,
    /// Limits over all calls of the mandate.
    #[serde(default)]
    pub limits: LimitsEntry,
    /// What is granted: a call passes by one line that matches it whole.
    pub grants: Vec<GrantEntry>,
}

/// What a slot may hold that whoever hands over fills.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Taken")]
pub struct TakenEntry {
    /// What it is; a text when nothing is said.
    #[serde(default, rename = "type")]
    pub kind: TakenKind,
    /// What to tell whoever fills it.
    pub description: Option<String>,
    /// It is one of these.
    #[serde(rename = "in")]
    pub one_of: Option<Vec<Value>>,
    /// The most characters of a text; 200 when nothing is said.
    #[schemars(range(min = 1))]
    pub max_length: Option<u64>,
    /// The least a number may be.
    pub min: Option<Exact>,
    /// The most a number may be.
    pub max: Option<Exact>,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "TakenType")]
pub enum TakenKind {
    /// A text.
    #[default]
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// Whether the agent may hand on parts of the task.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Delegation")]
pub struct DelegationEntry {
    /// How many further hops may follow.
    #[serde(default)]
    pub depth: u32,
}

/// Limits, counted over the whole chain below.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limits")]
pub struct LimitsEntry {
    /// How many calls.
    pub calls: Option<u64>,
    /// The most that the values at a path may add up to.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, Exact>")]
    pub sum: BTreeMap<Path, Exact>,
    /// How many different values a path may take.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, u64>")]
    pub distinct: BTreeMap<Path, u64>,
    /// Paths whose every value may be used once only.
    #[serde(default)]
    #[schemars(with = "Vec<PathText>")]
    pub unique: Vec<Path>,
}

/// One line of a mandate: one tool (`tool`), one other offer of a server (`prompt`, `resource`, `completion`, `client`), or every tool of some servers whose effects are all in a set (`effects` and `servers`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Grant")]
pub struct GrantEntry {
    /// This tool.
    #[schemars(with = "Option<ToolRefText>")]
    pub tool: Option<ToolRef>,
    /// Every tool whose effects are all in this set.
    #[schemars(length(min = 1))]
    pub effects: Option<Vec<Effect>>,
    /// Of these servers.
    #[schemars(with = "Option<Vec<NameText>>", length(min = 1))]
    pub servers: Option<Vec<ServerName>>,
    /// But not these tools.
    #[schemars(with = "Option<Vec<ToolRefText>>")]
    pub except: Option<Vec<ToolRef>>,
    /// This prompt.
    #[schemars(with = "Option<ToolRefText>")]
    pub prompt: Option<ToolRef>,
    /// This resource of the manifest; its argument is `uri`.
    #[schemars(with = "Option<ToolRefText>")]
    pub resource: Option<ToolRef>,
    /// Completion of the arguments of a prompt or a template: `server/prompt/NAME` or `server/resource/NAME`.
    #[schemars(with = "Option<ToolRefText>")]
    pub completion: Option<ToolRef>,
    /// An answer to what this server asks of the client: `server/elicitation`, `server/sampling`, `server/roots`; or `server/logging`.
    #[schemars(with = "Option<ToolRefText>")]
    pub client: Option<ToolRef>,
    /// Bounds of arguments, by path. What is not named must be absent, if the call has any effect but `read`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, BoundsEntry>")]
    pub arguments: BTreeMap<Path, Value>,
    /// Limits of this line.
    #[serde(default)]
    pub limits: LimitsEntry,
    /// Who is asked about each call, if someone.
    #[schemars(with = "Option<AskedText>")]
    pub ask: Option<String>,
    /// Calls that must have passed and succeeded before in this task.
    #[serde(default)]
    #[schemars(with = "Vec<EarlierText>")]
    pub after: Vec<String>,
}

/// Bounds of one argument. All that are given must hold; they skip what is absent, but for `required`. Beside `template` stand its
/// holes by name, each with bounds of its own.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bounds", transform = holes_beside_the_template)]
pub struct BoundsEntry {
    /// Equal to this.
    pub equals: Option<Value>,
    /// Equal to one of these.
    #[serde(rename = "in")]
    #[schemars(length(min = 1))]
    pub one_of: Option<Vec<Value>>,
    /// At least this: a number, or a date or time for an argument of that kind.
    pub min: Option<Value>,
    /// At most this: a number, or a date or time for an argument of that kind. On a number it implies `min: 0`.
    pub max: Option<Value>,
    /// Begins with this.
    pub prefix: Option<String>,
    /// Fits this glob, as written.
    pub glob: Option<String>,
    /// Matches this regular expression as written, from beginning to end.
    pub matches: Option<String>,
    /// A path at or below this one, or one of these; judged by its text.
    pub within: Option<OneOrMany>,
    /// A host, or a URL or mail address of a host, that is one of these.
    pub host_in: Option<OneOrMany>,
    /// A host, URL or mail address at or below one of these domains.
    pub domain_in: Option<OneOrMany>,
    /// At most so many characters.
    pub max_length: Option<u64>,
    /// At most so many elements.
    pub max_items: Option<u64>,
    /// Absent or empty.
    #[serde(default)]
    pub absent: bool,
    /// Texts compare without regard to case.
    #[serde(default)]
    pub ignore_case: bool,
    /// Must be given.
    #[serde(default)]
    pub required: bool,
    /// Reads like this text; a name in braces is a hole, whose bounds stand beside: `template: "Dinner at {place}"`, `place: { max_length: 40 }`.
    pub template: Option<String>,
    /// Where the value must come from: it must occur in any of these.
    #[schemars(with = "Option<Vec<SourceText>>", length(min = 1))]
    pub from: Option<Vec<String>>,
    /// And in any of these too.
    #[schemars(with = "Option<Vec<SourceText>>", length(min = 1))]
    pub also_from: Option<Vec<String>>,
    /// What to do with a value that is in no listed source; by default `{ untrusted: deny, elsewhere: ask, computed: ask }`.
    pub otherwise: Option<Otherwise>,
}

/// Holes are bounds; without a template there are none.
fn holes_beside_the_template(schema: &mut schemars::Schema) {
    let names: Vec<serde_json::Value> = schema
        .get("properties")
        .and_then(serde_json::Value::as_object)
        .map(|properties| properties.keys().map(|name| name.as_str().into()).collect())
        .unwrap_or_default();
    schema.insert("additionalProperties".into(), serde_json::json!({ "$ref": "#/$defs/Bounds" }));
    schema.insert("if".into(), serde_json::json!({ "not": { "required": ["template"] } }));
    schema.insert("then".into(), serde_json::json!({ "propertyNames": { "enum": names } }));
}

/// What is done with a value from no listed source: one word for all, or a word for each case.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Otherwise(#[schemars(with = "OtherwiseForm")] pub Value);

/// The forms of `otherwise`, for the schema.
#[derive(Debug, Clone, JsonSchema)]
#[serde(untagged)]
pub enum OtherwiseForm {
    /// For all cases.
    All(OtherwiseWord),
    /// By case.
    ByCase {
        /// It occurs only where anyone writes.
        untrusted: Option<OtherwiseWord>,
        /// It occurs elsewhere in this task.
        elsewhere: Option<OtherwiseWord>,
        /// It occurs nowhere.
        computed: Option<OtherwiseWord>,
    },
}

/// What is done.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherwiseWord {
    /// The call passes.
    Pass,
    /// A person is asked.
    Ask,
    /// The call is refused.
    Deny,
}
