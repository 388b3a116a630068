//! Properties of the decision, and a naive model of it written straight from the design.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

#[path = "../common/mod.rs"]
mod common;

mod laws;
mod naive;
mod specs;
mod tracing;
