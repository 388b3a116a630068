//! Traces: JSON Lines of tasks, calls and results, for replay and tests and from other systems' logs.

use schemars::JsonSchema;
use serde::Deserialize;
use warrantor_model::{Timestamp, ToolRef};

use super::{
    mandate::MandateFile,
    text::{TimestampText, ToolRefText},
};
use crate::values::{Nullable, OneOrMany, Value};

/// One line of a trace.
#[derive(Debug, Clone, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "TraceLine")]
pub enum TraceLine {
    /// A task begins.
    Task(TraceTask),
    /// A call is made.
    Call(TraceCall),
    /// A call has ended.
    Result(TraceResult),
}

/// A task begins: its mandate is handed over. With a time and the id of a task that began before, that one goes on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceTask {
    /// Always `task`.
    #[serde(rename = "type")]
    pub tag: TaskTag,
    /// The task's name within the trace.
    pub id: String,
    /// A mandate of the bundle by its id, or a mandate written out.
    #[schemars(with = "MandateReference")]
    pub mandate: Value,
    /// When; without it the task runs by itself at one fixed instant.
    #[serde(default)]
    #[schemars(with = "Option<TimestampText>")]
    pub at: Nullable<Timestamp>,
    /// Echoed in the answer, never used.
    pub label: Option<Value>,
}

/// A mandate's id, or a mandate written out: for the schema.
#[derive(Debug, Clone, JsonSchema)]
#[serde(untagged)]
pub enum MandateReference {
    /// By its id.
    Id(String),
    /// Written out.
    Written(Box<MandateFile>),
}

/// A call is made, in the task that began last.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceCall {
    /// Always `call`.
    #[serde(rename = "type")]
    pub tag: CallTag,
    /// The call's name within its task.
    pub id: String,
    /// The tool.
    #[schemars(with = "ToolRefText")]
    pub tool: ToolRef,
    /// The full arguments.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub arguments: Value,
    /// When; without it the task's start.
    #[serde(default)]
    #[schemars(with = "Option<TimestampText>")]
    pub at: Nullable<Timestamp>,
    /// Echoed in the answer, never used.
    pub label: Option<Value>,
}

/// A call has ended.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceResult {
    /// Always `result`.
    #[serde(rename = "type")]
    pub tag: ResultTag,
    /// The call that ended.
    pub id: String,
    /// The structured result.
    #[serde(default)]
    #[schemars(with = "Option<Value>")]
    pub structured: Nullable<Value>,
    /// The text of the result, or its texts in order.
    #[serde(default)]
    #[schemars(with = "Option<OneOrMany>")]
    pub text: Nullable<OneOrMany>,
    /// Whatever else it held, as text: links, embedded resources, metadata. Anyone may have written it.
    #[serde(default)]
    pub others: Vec<String>,
    /// Whether the tool reported an error.
    #[serde(default)]
    pub error: bool,
    /// When; without it the task's start.
    #[serde(default)]
    #[schemars(with = "Option<TimestampText>")]
    pub at: Nullable<Timestamp>,
    /// Echoed in the answer, never used.
    pub label: Option<Value>,
}

/// The type of a task's line.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskTag {
    /// `task`
    Task,
}

/// The type of a call's line.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallTag {
    /// `call`
    Call,
}

/// The type of a result's line.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResultTag {
    /// `result`
    Result,
}
