//! Every layer and every reason: what is absent, wrong or unknown is refused, and its honest twin passes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    missing_docs,
    reason = "test code"
)]

#[path = "../common/mod.rs"]
mod common;

mod accountability;
mod approvals;
mod arguments;
mod asks;
mod credentials;
mod limits;
mod listing;
mod mandates;
mod policies;
mod registered;
mod secrecy;
mod sources;
mod tools;
mod trackers;
