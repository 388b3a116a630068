//! What can go wrong, by operation. Each enum tells the caller's mistakes, the state's answers and the store's failures apart.

use std::{error::Error as StdError, fmt, sync::Arc};

use thiserror::Error;
use warrantor_model::{Decimal, record::RecordError};

use crate::{Expect, Key};

/// Why the store itself failed. Shared, because one failing transaction answers every commit that was in it.
#[derive(Clone)]
pub struct Cause(Arc<dyn StdError + Send + Sync>);

impl Cause {
    /// Keeps an error as the cause of another.
    #[must_use]
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Why something could not be read. That it is not there is no error but `None`.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// The store does not answer.
    #[error("the store cannot be read: {cause}")]
    Unavailable {
        /// Why.
        #[source]
        cause: Cause,
    },
    /// What stands in the store is not what the store wrote.
    #[error(
        "the store is damaged at {table}.{column} of {key}: {problem}; stop all writers, keep the files and restore a backup"
    )]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        key: String,
        /// What is wrong with the value.
        problem: String,
    },
}

impl ReadError {
    /// The store does not answer, and why.
    #[must_use]
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable { cause: Cause::new(cause) }
    }
}

/// Why a commit was not made, or may not have been.
///
/// [`CommitError::Unknown`] is the only variant after which the commit may stand in the store. Whoever must know looks for the record's id with
/// [`crate::Store::find`] once the store answers again; committing the same record again is safe, as ids are unique.
#[derive(Debug, Error)]
pub enum CommitError {
    /// An entry is not what it was expected to be: read again, decide again.
    #[error("{key} has moved: expected {expected}, found {}", found.map_or_else(|| "none".to_owned(), |v| format!("version {v}")))]
    Moved {
        /// Which.
        key: Key,
        /// What the commit rested on.
        expected: Expect,
        /// The version that stands now.
        found: Option<u64>,
    },
    /// Another handle has committed since what the commit rests on was read: read again, decide again.
    #[error("another handle committed revision {by}, and this rests on revision {rests_on}")]
    Overtaken {
        /// What the commit rests on.
        rests_on: u64,
        /// What may have been missed.
        by: u64,
    },
    /// A counter would exceed its limit.
    #[error("{counter} stands at {stood_at} and may reach at most {at_most}")]
    LimitReached {
        /// Which.
        counter: Key,
        /// What it stood at before this commit.
        stood_at: Decimal,
        /// The limit.
        at_most: Decimal,
    },
    /// A counter cannot hold the sum exactly (28 digits); a rounded amount is another amount.
    #[error("{counter} stands at {stood_at} and cannot take {amount} exactly")]
    NotExact {
        /// Which.
        counter: Key,
        /// What it stood at.
        stood_at: Decimal,
        /// What was to be added.
        amount: Decimal,
    },
    /// A member that had to be new is there already.
    #[error("{member} has been used before")]
    NotNew {
        /// Which.
        member: Key,
    },
    /// A record of this id is in the log already: this commit, or another of the same id, was stored before.
    #[error("a record {id:?} is in the log already")]
    AlreadyRecorded {
        /// The id.
        id: String,
    },
    /// A newer epoch has begun since this handle was opened.
    #[error("this store was opened in epoch {held} and epoch {stands} has begun since: open it anew")]
    Fenced {
        /// The epoch this handle knows.
        held: u64,
        /// The epoch that stands.
        stands: u64,
    },
    /// The commit itself is at fault.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The record has no bytes.
    #[error("the record cannot be stored: {0}")]
    Record(#[from] RecordError),
    /// The store failed. The commit is certainly not stored.
    #[error("the store did not take the commit: {cause}")]
    Unavailable {
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The store failed, and the commit may have been stored.
    #[error("it is unknown whether the store took the commit: {cause}")]
    Unknown {
        /// Why.
        #[source]
        cause: Cause,
    },
}

impl CommitError {
    /// The commit is certainly not stored, and why.
    #[must_use]
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unavailable { cause: Cause::new(cause) }
    }

    /// The commit may have been stored, and why that is not known.
    #[must_use]
    pub fn unknown(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Unknown { cause: Cause::new(cause) }
    }
}

/// What is wrong with a commit, whatever the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A text that is to be looked up by is empty, too long, or has a control character.
    #[error("{what} is {bytes} bytes or has a control character: use 1 to {at_most} printable bytes")]
    Text {
        /// Which text.
        what: &'static str,
        /// How long it was.
        bytes: usize,
        /// How long it may be.
        at_most: usize,
    },
    /// A value that is too large.
    #[error("{what} has {bytes} bytes; at most {at_most} are allowed")]
    TooLarge {
        /// Which value.
        what: String,
        /// How long it was.
        bytes: usize,
        /// How long it may be.
        at_most: usize,
    },
    /// More conditions and changes than one commit may have.
    #[error("a commit of {parts} conditions and changes; at most {at_most} are allowed")]
    TooMany {
        /// How many there were.
        parts: usize,
        /// How many there may be.
        at_most: usize,
    },
    /// An epoch is begun by `begin_epoch` with a record of exactly the next epoch, and by nothing else.
    #[error("the record does not begin the epoch that the commit begins")]
    Epoch,
}

/// Why a checkpoint was not stored.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// A checkpoint of this size or a greater one is stored.
    #[error("a checkpoint of size {size} does not grow beyond the stored one of size {last}")]
    NotGrowing {
        /// The size that was offered.
        size: u64,
        /// The size that stands.
        last: u64,
    },
    /// The log has fewer records than the checkpoint says.
    #[error("a checkpoint of size {size} lies beyond the log, which has {head} records")]
    BeyondHead {
        /// The size that was offered.
        size: u64,
        /// The log's size.
        head: u64,
    },
    /// The note is at fault.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A newer epoch has begun since this handle was opened.
    #[error("this store was opened in epoch {held} and epoch {stands} has begun since: open it anew")]
    Fenced {
        /// The epoch this handle knows.
        held: u64,
        /// The epoch that stands.
        stands: u64,
    },
    /// The store failed. The checkpoint is certainly not stored.
    #[error("the store did not take the checkpoint: {cause}")]
    Unavailable {
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The store failed, and the checkpoint may have been stored: it must not be published before it is read back.
    #[error("it is unknown whether the store took the checkpoint: {cause}")]
    Unknown {
        /// Why.
        #[source]
        cause: Cause,
    },
}
