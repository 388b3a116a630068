//! Authorizes calls, floor 4: snapshot, state, decision, conditional commit, permit.
//!
//! The order is fixed. Read the store, then the stop file; decide, purely; commit the pass with its record, on the condition that
//! what it rests on still stands and its limits still hold; only then is there a [`Permit`]. Last, [`Engine::release`] reads the stop file
//! once more, and only a [`Release`] can be sent. A refusal takes effect at once and is recorded as soon as the log can.
//!
//! It knows nothing of sockets, protocols or files of configuration, and takes time and randomness as arguments.

pub mod approvals;
pub mod bodies;
mod charges;
mod engine;
mod gap;
pub mod history;
pub mod keys;
mod load;
pub mod mandates;
mod permit;
mod point;
mod recording;
pub mod registry;
pub mod stop;
pub mod wire;

pub use engine::{
    Answer, AnswerError, AnswerTo, Answerer, Engine, EngineParts, Presented, Refused, Settings, Settled,
    ShownQuestion, Withheld,
};
pub use load::{LoadError, StoredStanding};
pub use permit::{Permit, Receipt, Release};
pub use point::DecisionPoint;
pub use recording::evidence_text;
pub use stop::{Stop, StopError, StopFile};
