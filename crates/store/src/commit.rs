//! Commits: what is to change, on what conditions, and the record of it; one whole.

use std::fmt;

use warrantor_ledger::{Hash, merkle::leaf_hash};
use warrantor_model::{
    Decimal, Digest, Timestamp,
    record::{Event, LedgerRecord, Record},
};

use crate::{CommitError, Key, Malformed};

/// Most bytes a value or a body may have.
pub const MAX_VALUE_BYTES: usize = 4 << 20;
/// Most bytes that the values, the body and the record of one commit may have together.
pub const MAX_COMMIT_BYTES: usize = 16 << 20;
/// Most conditions and changes a commit may have.
pub const MAX_PARTS: usize = 1024;
/// Most bytes of a record's id, of the id it is linked to, and of a body's owner.
pub const MAX_ID_BYTES: usize = 512;

/// What an entry must be for a commit to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It must not exist.
    Absent,
    /// It must have been written last by this revision.
    Version(u64),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// An amount added to a counter. Counters that nobody added to stand at zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// The counter.
    pub counter: Key,
    /// How much; a negative amount gives back, and then the counter stops at zero and no limit counts.
    pub amount: Decimal,
    /// What the counter may stand at afterwards.
    pub at_most: Option<Decimal>,
}

/// One more holder of a member of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The member. Its set is the part of the key that the caller says it is; the store knows members only.
    pub member: Key,
    /// Whether it is an error that somebody holds it already.
    pub must_be_new: bool,
    /// The counter that goes up by one when the member is new.
    pub counted: Option<Counted>,
}

/// A counter of the members of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The counter.
    pub counter: Key,
    /// What it may stand at afterwards.
    pub at_most: Decimal,
}

/// One holder of a member fewer. The member leaves with its last holder: whoever else had inserted it still counts on it, so one who gives it back
/// must not make room for another. Removing what nobody holds changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove {
    /// The member.
    pub member: Key,
    /// The counter that goes down by one when the member leaves.
    pub counted: Option<Key>,
}

/// What a record refers to and does not hold: sealed for one owner, so that erasing a key leaves every proof valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The salted commitment by which the record names it.
    pub commitment: Digest,
    /// Whose key seals it.
    pub owner: String,
    /// The sealed bytes, at most [`MAX_VALUE_BYTES`].
    pub sealed: Vec<u8>,
}

/// A change of state and its record, made together or not at all.
///
/// Order within a commit: `rests_on`, `expect`, `removes`, `inserts`, `adds`, each in the order given and each seeing the ones before; then `puts` and after them
/// `deletes`. The first condition that does not hold is the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The revision of the reading that all of it rests on, when that need not have been the latest ([`crate::Store::recent`]): no other handle may have
    /// committed after it.
    pub rests_on: Option<u64>,
    /// What must still stand.
    pub expect: Vec<(Key, Expect)>,
    /// Entries written; their version becomes the commit's revision.
    pub puts: Vec<(Key, Vec<u8>)>,
    /// Entries removed; removing what is absent changes nothing.
    pub deletes: Vec<Key>,
    /// Counters charged and given back.
    pub adds: Vec<Add>,
    /// Members inserted.
    pub inserts: Vec<Insert>,
    /// Members given back.
    pub removes: Vec<Remove>,
    /// The record of it all. Its id must not be in the log yet.
    pub record: Record,
    /// The id of the decision that the record is linked to.
    pub linked_to: Option<String>,
    /// The body that the record refers to. A body whose commitment is stored already stays as it is.
    pub body: Option<Body>,
}

impl Commit {
    /// A commit of a record that changes nothing else yet.
    #[must_use]
    pub fn new(record: Record) -> Self {
        Self {
            rests_on: None,
            expect: Vec::new(),
            puts: Vec::new(),
            deletes: Vec::new(),
            adds: Vec::new(),
            inserts: Vec::new(),
            removes: Vec::new(),
            record,
            linked_to: None,
            body: None,
        }
    }
}

/// Where a commit went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The revision it made; the first is 1.
    pub revision: u64,
    /// The place of its record in the log; the first is 0.
    pub index: u64,
}

/// A commit within all bounds, with the bytes of its record: what drivers queue.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(crate) commit: Commit,
    pub(crate) bytes: Vec<u8>,
    pub(crate) leaf: Hash,
    pub(crate) last_at: LastAt,
    /// Set when the commit begins the epoch after this one.
    pub(crate) begins_after: Option<u64>,
}

/// What a record does to the log's last instant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LastAt {
    /// Never back: else many small steps back, each within the clock's bound, would add up to any step.
    AtLeast(Timestamp),
    /// An operator confirmed the clock.
    Confirmed(Timestamp),
}

impl Prepared {
    /// Checks the bounds and encodes the record.
    ///
    /// # Errors
    /// [`CommitError::Malformed`] and [`CommitError::Record`]; no other.
    pub fn new(commit: Commit) -> Result<Self, CommitError> {
        if matches!(commit.record.event, Event::Ledger(LedgerRecord::EpochBegun { .. })) {
            return Err(Malformed::Epoch.into());
        }
        Self::checked(commit, None)
    }

    /// The commit that begins the epoch after `expected`.
    ///
    /// # Errors
    /// [`Malformed::Epoch`] unless the record says the same; else as for [`Prepared::new`].
    pub fn epoch(expected: u64, record: Record) -> Result<Self, CommitError> {
        match record.event {
            Event::Ledger(LedgerRecord::EpochBegun { epoch, .. })
                if Some(epoch) == expected.checked_add(1) =>
            {
                Self::checked(Commit::new(record), Some(expected))
            }
            _ => Err(Malformed::Epoch.into()),
        }
    }

    /// How many bytes the commit brings, for drivers that bound a batch.
    #[must_use]
    pub fn weight(&self) -> usize {
        let values = self.commit.puts.iter().map(|(_, value)| value.len()).sum::<usize>();
        let body = self.commit.body.as_ref().map_or(0, |body| body.sealed.len());
        self.bytes.len().saturating_add(values).saturating_add(body)
    }

    /// The epoch after which the commit begins another, if it does.
    #[must_use]
    pub fn begins_after(&self) -> Option<u64> {
        self.begins_after
    }

    fn checked(commit: Commit, begins_after: Option<u64>) -> Result<Self, CommitError> {
        within_bounds(&commit)?;
        let bytes = commit.record.to_bytes()?;
        let last_at = match commit.record.event {
            Event::Ledger(LedgerRecord::ClockConfirmed { .. }) => LastAt::Confirmed(commit.record.at),
            _ => LastAt::AtLeast(commit.record.at),
        };
        let leaf = leaf_hash(&bytes);
        let prepared = Self { commit, bytes, leaf, last_at, begins_after };
        size(|| "the commit".into(), prepared.weight(), MAX_COMMIT_BYTES)?;
        Ok(prepared)
    }
}

fn within_bounds(commit: &Commit) -> Result<(), Malformed> {
    let parts = [
        commit.expect.len(),
        commit.puts.len(),
        commit.deletes.len(),
        commit.adds.len(),
        commit.inserts.len(),
        commit.removes.len(),
    ]
    .iter()
    .sum();
    if parts > MAX_PARTS {
        return Err(Malformed::TooMany { parts, at_most: MAX_PARTS });
    }
    text("the record's id", &commit.record.id)?;
    if let Some(linked_to) = &commit.linked_to {
        text("the id the record is linked to", linked_to)?;
    }
    if let Some(body) = &commit.body {
        text("the body's owner", &body.owner)?;
        size(|| format!("the body {}", body.commitment), body.sealed.len(), MAX_VALUE_BYTES)?;
    }
    commit
        .puts
        .iter()
        .try_for_each(|(key, value)| size(|| format!("the value of {key}"), value.len(), MAX_VALUE_BYTES))
}

fn text(what: &'static str, text: &str) -> Result<(), Malformed> {
    if text.is_empty() || text.len() > MAX_ID_BYTES || text.chars().any(char::is_control) {
        return Err(Malformed::Text { what, bytes: text.len(), at_most: MAX_ID_BYTES });
    }
    Ok(())
}

fn size(what: impl FnOnce() -> String, bytes: usize, at_most: usize) -> Result<(), Malformed> {
    if bytes > at_most {
        return Err(Malformed::TooLarge { what: what(), bytes, at_most });
    }
    Ok(())
}
