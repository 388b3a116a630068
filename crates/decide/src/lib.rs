//! The decision core of Warrantor, floor 2: pure, synchronous, without clock, randomness or I/O.
//!
//! A [`Snapshot`] holds what is central: people, agents, tools, policies, checked as a whole. A [`TaskState`] holds what one task has
//! done. [`decide`] answers one [`Call`](warrantor_model::Call) on both, the same for the gateway, the command line, tests and explanations, so
//! that a preview can never differ from what is enforced.
//!
//! Default is deny. Every layer must let a call through; all layers are evaluated and all reasons kept. A [`Decision::Pass`] is only a
//! [`Draft`]: what makes it count is its durable record, which the engine commits.

mod accountability;
pub mod administration;
mod approving;
mod bounds;
mod decision;
mod demands;
mod grants;
pub mod kind;
mod listing;
mod narrowing;
mod obligations;
mod parts;
mod places;
mod policy;
mod roster;
mod shape;
mod snapshot;
mod tally;
mod task;
mod terms;
mod tools;
mod trace;
mod tracking;
mod uris;

pub use accountability::standing;
pub use approving::{Answering, MayNot, NO_SELF_APPROVAL, changed_places, may_approve};
pub use decision::{Asking, Decision, Draft, Grounds, MAX_SOURCES, decide, generalized as source_key};
pub use listing::{Presence, listed};
pub use narrowing::wider_lines;
pub use obligations::{Obligation, redacted, redacted_text};
pub use parts::{Fault, Parts, Place, PolicySource, Severity};
pub use places::{cut as value_text, pointer as place_text};
pub use snapshot::{Built, Snapshot};
pub use tally::Tally;
pub use task::{Charge, Facts, Hop, TaskState, Wanted};
pub use terms::CompiledTerms;
pub use trace::{Event, History, Output, UNTRUSTED};
pub use tracking::Tracking;
pub use uris::is_matched;
