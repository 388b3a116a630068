//! What tests of several crates need: a clock moved by hand, seeded bytes, a small bundle, a store that hangs or goes on by itself, and a world of all of it.
//!
//! A dependency of tests only. Everything here panics when the test that uses it is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod bundle;
mod rigged;
mod time;
mod world;

pub use bundle::BundleFiles;
pub use rigged::{Full, Rigged};
pub use time::{HandClock, SeededBytes};
pub use world::{World, decision, outcomes, records};
