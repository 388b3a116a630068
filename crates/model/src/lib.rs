//! The nouns of Warrantor, floor 0 of the workspace.
//!
//! What stands here is data and the rules that keep it well-formed: identifiers that parse or are refused, JSON kept
//! exactly as it was written, exact decimals, instants, and the shapes of people, agents, tools, mandates, calls,
//! decisions and records. Nothing here decides, reads a file, or knows the time.

pub mod actors;
pub mod approval;
pub mod call;
pub mod decimal;
pub mod decision;
pub mod digest;
pub mod id;
pub mod json;
pub mod mandate;
pub mod path;
pub mod record;
pub mod source;
pub mod standing;
pub mod time;
pub mod tool;
pub mod tracker;

pub use actors::{Accountable, Agent, AgentStatus, Ceiling, Person, PersonStatus};
pub use approval::{Approval, Approver, Asker, Binding, Given};
pub use call::{Call, Definition, Evidence, Home, TokenEvidence};
pub use decimal::Decimal;
pub use decision::{Finding, Layer, NextStep, Question, ReasonCode, Refusal};
pub use digest::Digest;
pub use id::{
    AgentId, DecisionId, EnforcementPoint, GroupName, IdError, MandateId, Offer, PersonId, ServerName,
    TaskId, TemplateId, TokenId, ToolName, ToolRef,
};
pub use json::Json;
pub use mandate::{Asked, Bounds, Grant, Limits, Mandate, MandateKind, Match, Terms};
pub use path::Path;
pub use source::{Answer, Otherwise, Provenance, Selector, Source};
pub use standing::{Standing, Subject};
pub use time::{Clock, Randomness, Timestamp};
pub use tool::{
    ArgumentRule, Effect, EffectSet, Failure, FieldRule, Kind, Manifest, RecordKey, RecordType, TextForm,
    Tool, UriRule, Writer, WriterRule,
};
