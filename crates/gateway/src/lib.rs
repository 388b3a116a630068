//! Enforces decisions on MCP traffic, floor 6.
//!
//! One [`Session`] stands between one client and one upstream server, both on byte streams (stdio). It presents every call to the
//! engine and sends only what a [`Release`](warrantor_engine::Release) allows, around the exact argument bytes that were decided. What it does not
//! know it refuses; what an upstream sends unasked stays here.
//!
//! It does not decide anything, and does not know policies, mandates or the store.

mod answers;
mod approvals;
mod calls;
mod definitions;
mod exchange;
pub mod http;
pub mod launch;
mod lines;
mod listening;
mod lists;
mod metrics;
mod obligations;
mod owed;
mod questions;
mod set;
mod spans;
mod stdio;
mod tasks;
mod tidings;
mod trace;
mod upstream;
mod uses;

pub use approvals::Asking;
pub use exchange::{SessionSettings, Shown};
pub use set::ToolSet;
pub use spans::Spans;
pub use stdio::{Ended, Session};
pub use trace::TraceWriter;
pub use upstream::{HttpTarget, TargetError};
