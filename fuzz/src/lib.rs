//! Fuzz targets: one plain function for each parser of untrusted bytes, asserting what its module promises.
//!
//! The same functions run in two ways: for some seconds under our own driver on the stable toolchain, as part of
//! `cargo xtask check`; and for as long as one likes under libFuzzer, guided by coverage (see `fuzz/README.md`).
//!
//! Kept true: a target has no state, so that an input fails alone or not at all; every target has seeds in
//! `fuzz/seeds/NAME/`, of which its parser takes at least one, or the search would never get past the door.

pub mod mutate;
mod targets;

/// What a parser made of an input. Nothing is decided by it; it tells how far the search gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The input was well-formed, and what was promised of it was asserted.
    Taken,
    /// The input was refused.
    Refused,
}

impl Reading {
    /// `Taken` for any value.
    fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Taken } else { Self::Refused }
    }
}

/// A fuzz target. It panics when a promise is broken.
pub type Target = fn(&[u8]) -> Reading;

/// Every target by its name. To add one: a function, a line here, seeds in `fuzz/seeds/NAME/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("bundle_agents", targets::bundle::agents),
    ("bundle_config", targets::bundle::config),
    ("bundle_definitions", targets::bundle::definitions),
    ("bundle_gateway", targets::bundle::gateway),
    ("bundle_mandate", targets::bundle::mandate),
    ("bundle_manifest", targets::bundle::manifest),
    ("bundle_people", targets::bundle::people),
    ("bundle_serve", targets::bundle::serve),
    ("bundle_tokens", targets::bundle::tokens),
    ("bundle_trace", targets::bundle::trace),
    ("bundle_trackers", targets::bundle::trackers),
    ("decide_source", targets::decide::source),
    ("decide_trace", targets::decide::trace),
    ("engine_answer", targets::engine::answer),
    ("engine_question", targets::engine::question),
    ("ledger_checkpoint", targets::ledger::checkpoint),
    ("ledger_evidence", targets::ledger::evidence),
    ("ledger_frontier", targets::ledger::frontier),
    ("ledger_key", targets::ledger::key),
    ("ledger_note", targets::ledger::note),
    ("ledger_tile", targets::ledger::tile),
    ("mcp_events", targets::mcp::events),
    ("mcp_framing", targets::mcp::framing),
    ("mcp_headers", targets::mcp::headers),
    ("mcp_lines", targets::mcp::lines),
    ("mcp_params", targets::mcp::params),
    ("mcp_results", targets::mcp::results),
    ("model_json", targets::model::json),
    ("model_path", targets::model::path),
    ("model_record", targets::model::record),
    ("tokens_access", targets::tokens::access),
    ("tokens_assertion", targets::tokens::assertion),
    ("tokens_crossing", targets::tokens::crossing),
    ("tokens_details", targets::tokens::details),
    ("tokens_key", targets::tokens::key),
    ("tokens_proof", targets::tokens::proof),
    ("tokens_token", targets::tokens::token),
    ("tokens_trust", targets::tokens::trust),
    ("tokens_workload", targets::tokens::workload),
];
