//! What reading gives.

use std::collections::{BTreeMap, BTreeSet};

use warrantor_ledger::{Frontier, Hash};
use warrantor_model::{Decimal, Timestamp};

use crate::{CheckpointError, Key};

/// A value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The revision that wrote it.
    pub version: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// Where the store stands: the one row that every commit moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many commits there were: the revision of the last one, 0 before the first.
    pub revision: u64,
    /// How many records the log has.
    pub size: u64,
    /// The log's root hash.
    pub root: Hash,
    /// What it takes to append to the log.
    pub frontier: Frontier,
    /// The latest instant of any record; a record of a confirmed clock sets it back to its own. `None` before the first record.
    pub last_at: Option<Timestamp>,
    /// The fencing epoch; the first is 1.
    pub epoch: u64,
}

impl Head {
    /// Whether a checkpoint of this size may follow the last stored one, for a handle opened in epoch `held`.
    ///
    /// # Errors
    /// [`CheckpointError`] that says what stands in the way.
    pub fn admits_checkpoint(&self, held: u64, last: Option<u64>, size: u64) -> Result<(), CheckpointError> {
        if held != self.epoch {
            return Err(CheckpointError::Fenced { held, stands: self.epoch });
        }
        if size > self.size {
            return Err(CheckpointError::BeyondHead { size, head: self.size });
        }
        match last {
            Some(last) if size <= last => Err(CheckpointError::NotGrowing { size, last }),
            _ => Ok(()),
        }
    }
}

/// What to read at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Entries.
    pub entries: BTreeSet<Key>,
    /// Counters.
    pub counters: BTreeSet<Key>,
    /// Members.
    pub members: BTreeSet<Key>,
}

/// One consistent reading: everything as of `head`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Where the store stood.
    pub head: Head,
    /// The wanted entries that exist.
    pub entries: BTreeMap<Key, Entry>,
    /// The wanted counters that are not zero.
    pub counters: BTreeMap<Key, Decimal>,
    /// The wanted members that somebody holds.
    pub members: BTreeSet<Key>,
}

/// How late a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recency {
    /// It was made just now.
    Latest,
    /// It is what this handle knew: what others have committed since may be missing.
    AsKnown,
}

impl View {
    /// What a wanted counter stands at.
    #[must_use]
    pub fn counter(&self, key: &Key) -> Decimal {
        self.counters.get(key).copied().unwrap_or(Decimal::ZERO)
    }
}

/// A record as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the log.
    pub index: u64,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
    /// Their leaf hash (RFC 6962).
    pub leaf: Hash,
}

/// A signed checkpoint as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// How many records it covers.
    pub size: u64,
    /// The signed note.
    pub note: String,
}
