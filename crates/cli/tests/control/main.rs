//! The control plane from outside: the real program, a real OpenID provider, a person at a browser, SCIM as a directory sends it, and a gateway on the same
//! data directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

#[path = "../support/mod.rs"]
mod support;

mod applications;
mod approvals;
mod attacks;
mod crash;
mod domains;
mod elsewhere;
mod oauth;
mod plane;
mod publishing;
mod schema;
mod servers;
mod story;
