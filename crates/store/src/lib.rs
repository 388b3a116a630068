//! The storage seam, floor 3: what everything above may ask of a store, and what every store must keep true.
//!
//! The seam is shaped like a log. State changes only by [`Store::commit`], which makes a change and the record of it together, on conditions, or not at
//! all. This crate holds the seam ([`Store`]), the code by which every driver judges commits ([`batch`]), a store in memory ([`MemoryStore`]), and under
//! the feature `contract` the suite that every driver passes and stores that fail on purpose.
//!
//! What every store keeps true:
//!
//! - A commit is atomic. A condition that does not hold leaves nothing of it.
//! - Revisions and the places of records in the log have no gap; every commit takes one of each, under one head.
//! - When `commit` answers with [`Committed`], state and record are durable.
//! - The head's frontier and root are those of the stored records.
//! - The id of a record is in the log once.
//! - What is absent is `None`; what failed is an error, and says whether the commit may have been stored.
//! - A handle opened in one epoch commits nothing once another has begun.
//!
//! It does not know what keys, values and records mean, nor what time it is.

use std::future::Future;

use warrantor_ledger::Hash;
use warrantor_model::{Digest, record::Record};

pub mod batch;
mod commit;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
#[cfg(feature = "contract")]
pub mod faults;
mod key;
mod memory;
mod view;

pub use commit::{
    Add, Body, Commit, Committed, Counted, Expect, Insert, MAX_COMMIT_BYTES, MAX_ID_BYTES, MAX_PARTS,
    MAX_VALUE_BYTES, Prepared, Remove,
};
pub use error::{Cause, CheckpointError, CommitError, Malformed, ReadError};
pub use key::{Key, KeyError, MAX_KEY_BYTES};
pub use memory::MemoryStore;
pub use view::{Entry, Head, Recency, StoredCheckpoint, StoredRecord, View, Wanted};

/// Most rows one reading gives, whatever was asked for: a reader of a long log pages on.
pub const MAX_PAGE: usize = 1024;
/// How many bytes of values or records end a page: the row that reaches them is its last.
pub const MAX_PAGE_BYTES: usize = 16 << 20;
/// Most bytes of a checkpoint's note.
pub const MAX_NOTE_BYTES: usize = 64 << 10;
/// The epoch of a store that was never restored.
pub const FIRST_EPOCH: u64 = 1;

/// The storage seam.
///
/// Rows come in pages of at most the smaller of `limit` and [`MAX_PAGE`], which end early at [`MAX_PAGE_BYTES`]: an empty page is the end, a short
/// one is not.
pub trait Store: Send + Sync + 'static {
    /// Where the store stands.
    ///
    /// # Errors
    /// [`ReadError`], as for every reading below.
    fn head(&self) -> impl Future<Output = Result<Head, ReadError>> + Send;

    /// Reads entries, counters and members, all as of one head.
    fn read(&self, wanted: &Wanted) -> impl Future<Output = Result<View, ReadError>> + Send;

    /// As [`Store::read`], of a head that may be an earlier one, though of no earlier one than this handle's last commit: what other handles have
    /// committed since may be missing. Cheaper where a driver remembers what it wrote. Who rests a commit on it says so ([`Commit::rests_on`]).
    fn recent(&self, wanted: &Wanted) -> impl Future<Output = Result<(View, Recency), ReadError>> + Send {
        async { self.read(wanted).await.map(|view| (view, Recency::Latest)) }
    }

    /// The entries whose keys lie under `under` ([`Key::is_under`]) and after `after`, in the order of their keys.
    fn scan(
        &self,
        under: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Key, Entry)>, ReadError>> + Send;

    /// Makes a commit. Once it answers, state and record are durable.
    ///
    /// Whoever drops the future does not learn whether the commit was stored.
    ///
    /// # Errors
    /// [`CommitError`]: a condition that does not hold, a malformed commit, or a failing store.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<Committed, CommitError>> + Send;

    /// The records from this place on, in order, as they are stored: whether a leaf is that of its bytes is for an auditor to judge.
    fn records(
        &self,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, ReadError>> + Send;

    /// The record of this id.
    fn find(&self, id: &str) -> impl Future<Output = Result<Option<StoredRecord>, ReadError>> + Send;

    /// The records linked to this decision, from this place of the log on, in order.
    fn linked(
        &self,
        to: &str,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, ReadError>> + Send;

    /// The leaf hashes from this place on, in order.
    fn leaves(&self, from: u64, limit: usize) -> impl Future<Output = Result<Vec<Hash>, ReadError>> + Send;

    /// The body of this commitment.
    fn body(&self, commitment: &Digest) -> impl Future<Output = Result<Option<Body>, ReadError>> + Send;

    /// Stores a signed checkpoint. Once it answers, the checkpoint is durable and may be published.
    ///
    /// # Errors
    /// [`CheckpointError`] when the size does not grow beyond the last stored one or lies beyond the head, and when the store fails.
    fn put_checkpoint(
        &self,
        size: u64,
        note: String,
    ) -> impl Future<Output = Result<(), CheckpointError>> + Send;

    /// The checkpoints of this size and more, by size.
    fn checkpoints(
        &self,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<StoredCheckpoint>, ReadError>> + Send;

    /// The checkpoint of the greatest size.
    fn last_checkpoint(&self) -> impl Future<Output = Result<Option<StoredCheckpoint>, ReadError>> + Send;

    /// Begins the epoch after `expected`, with the record that says so. From then on every other handle is fenced; this one goes on.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] when `expected` is not the epoch that stands, [`CommitError::Malformed`] when the record begins another epoch; else as
    /// for a commit.
    fn begin_epoch(
        &self,
        expected: u64,
        record: Record,
    ) -> impl Future<Output = Result<Committed, CommitError>> + Send;

    /// Finishes the commits that were given before and lets go of the store. Whatever is asked of this handle later is `Unavailable`.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// This handle was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store has been closed: open it anew")]
pub struct Closed;

/// How many rows a page has when `limit` are asked for.
#[must_use]
pub fn page(limit: usize) -> usize {
    limit.min(MAX_PAGE)
}

/// Whether a checkpoint's note is within its bounds.
///
/// # Errors
/// [`Malformed`] when it is empty or too large.
pub fn check_note(note: &str) -> Result<(), Malformed> {
    match note.len() {
        0 => Err(Malformed::Text { what: "the checkpoint's note", bytes: 0, at_most: MAX_NOTE_BYTES }),
        1..=MAX_NOTE_BYTES => Ok(()),
        bytes => {
            Err(Malformed::TooLarge { what: "the checkpoint's note".into(), bytes, at_most: MAX_NOTE_BYTES })
        }
    }
}
