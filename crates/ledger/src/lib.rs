//! The tamper-evident ledger, floor 1 of the workspace: an append-only Merkle tree over records, signed checkpoints of it,
//! proofs against them, and the audit that derives everything again.
//!
//! Hashing is that of RFC 6962 section 2.1; notes, checkpoints, tiles and proof files are those of C2SP (`signed-note`,
//! `tlog-checkpoint`, `tlog-tiles`, `tlog-proof`), so that others' verifiers and witnesses can read them.
//!
//! Kept true everywhere: what a parser takes has exactly one written form; sizes and counts are bounded before anything is
//! allocated for them; a `Verified…` value exists only where a signature was checked; a checkpoint is signed only as the
//! first one or after the last one was proven to be its past.
//!
//! Not known here: what an entry means, where it is stored, what time it is. This crate is pure; the caller supplies keys.

pub mod audit;
pub mod checkpoint;
pub mod evidence;
pub mod merkle;
pub mod note;
pub mod tile;

pub use audit::{AuditReport, Auditor, Finding};
pub use checkpoint::{Checkpoint, UnverifiedCheckpoint, VerifiedCheckpoint};
pub use evidence::{UnverifiedEvidence, VerifiedEntry};
pub use merkle::{Frontier, Hash, MAX_SIZE, Subtrees};
pub use note::{KeyId, KeyName, SigningKey, UnverifiedNote, VerifiedNote, VerifierKey};
pub use tile::Tile;
