//! The control plane in memory, asked over its router.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod agents;
mod approvals;
mod bundles;
mod common;
mod enforcement;
mod mandates;
mod matrix;
mod people;
mod scim;
mod servers;
mod tokens;
