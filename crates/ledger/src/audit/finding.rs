//! What an audit can find wrong. Each finding names what and where, for a person who has to act on it.

use std::{error::Error, fmt};

use crate::{
    checkpoint::CheckpointNoteError,
    merkle::{FrontierError, Hash},
    note::KeyName,
};

/// How many findings are kept; the rest is counted.
pub const MAX_FINDINGS: usize = 100;

/// Where a checkpoint came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the store.
    Stored {
        /// Its position among the stored ones, from 0.
        at: usize,
    },
    /// The one that the signer keeps apart.
    LastSigned,
    /// From the auditor.
    Held {
        /// Its position among the auditor's, from 0.
        at: usize,
    },
}

/// Something in the ledger that does not fit. Sizes count entries, indices start at 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The entry is not the one whose leaf hash is stored, and a root shows that the hash is right.
    EntryChanged {
        /// The row.
        index: u64,
    },
    /// The stored leaf hash is not the entry's, and a root shows that the entry is right.
    LeafChanged {
        /// The row.
        index: u64,
    },
    /// Entry and stored leaf hash disagree, and no root shows which of them is right.
    EntryOrLeafChanged {
        /// The row.
        index: u64,
    },
    /// No rows have these indices.
    Missing {
        /// The first index.
        from: u64,
        /// The last index.
        to: u64,
    },
    /// A row stands behind one of a higher index.
    OutOfOrder {
        /// The row.
        index: u64,
        /// The highest index before it.
        after: u64,
    },
    /// A row has an index that another one had before.
    Repeated {
        /// The row.
        index: u64,
    },
    /// A signed checkpoint covers more entries than there are: the tail was cut off.
    Truncated {
        /// How many entries there are.
        size: u64,
        /// How many were signed.
        signed: u64,
        /// The checkpoint that says so, the largest.
        by: Source,
    },
    /// The entries do not lead to a signed root, though each may fit its stored hash: history was written anew.
    HistoryRewritten {
        /// The size up to which a signed root confirms the entries; 0 if none does.
        after: u64,
        /// The size of the first checkpoint that contradicts them. The change lies between these two.
        until: u64,
        /// The first checkpoint that contradicts them.
        first: Source,
        /// How many checkpoints one after the other do.
        checkpoints: u64,
    },
    /// A checkpoint is malformed or not signed by the log.
    CheckpointForged {
        /// The checkpoint.
        source: Source,
        /// Why it was refused.
        why: CheckpointNoteError,
    },
    /// A checkpoint is another log's.
    CheckpointOfOtherOrigin {
        /// The checkpoint.
        source: Source,
        /// The log that it names; not verified.
        origin: KeyName,
    },
    /// A stored checkpoint stands under another size than it was signed for.
    CheckpointMislabelled {
        /// Its position among the stored ones.
        at: usize,
        /// The size stored beside it.
        label: u64,
        /// The size signed.
        signed: u64,
    },
    /// A checkpoint is smaller than one that was signed before it.
    RolledBack {
        /// The checkpoint.
        source: Source,
        /// Its size.
        size: u64,
        /// The size signed before.
        after: u64,
    },
    /// The log signed two roots for one size: it shows different histories to different readers.
    SplitView {
        /// The size.
        size: u64,
        /// The first checkpoint of this size.
        one: Source,
        /// The one with another root.
        other: Source,
    },
    /// There are entries and not one checkpoint: nothing proves anything.
    NothingSigned {
        /// The head's size.
        size: u64,
    },
    /// The stored head has another size than the rows.
    HeadSize {
        /// The head's size.
        head: u64,
        /// One above the highest index among the rows.
        rows: u64,
    },
    /// The stored head has another root than the rows.
    HeadRoot {
        /// The head's root.
        head: Hash,
        /// The root of the rows.
        computed: Hash,
    },
    /// The stored frontier is not that of the rows: the ledger would grow into another tree.
    HeadFrontier,
    /// The stored frontier cannot be read.
    HeadFrontierMalformed {
        /// What is wrong with it.
        why: FrontierError,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { at } => write!(f, "stored checkpoint {at}"),
            Self::LastSigned => f.write_str("the last signed checkpoint"),
            Self::Held { at } => write!(f, "the auditor's checkpoint {at}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EntryChanged { index } => write!(f, "entry {index} was changed after it was logged"),
            Self::LeafChanged { index } => write!(f, "the leaf hash stored with entry {index} was changed"),
            Self::EntryOrLeafChanged { index } => {
                write!(f, "entry {index} or its stored leaf hash was changed")
            }
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::OutOfOrder { index, after } => write!(f, "entry {index} stands after entry {after}"),
            Self::Repeated { index } => write!(f, "entry {index} is there more than once"),
            Self::Truncated { size, signed, by } => {
                write!(
                    f,
                    "the log ends at {size} entries, {by} was signed for {signed}: its tail was cut off"
                )
            }
            Self::HistoryRewritten { after, until, first, checkpoints } => write!(
                f,
                "history was rewritten between size {after} and size {until}: {first} has another root \
                 ({checkpoints} in a row contradict the entries)"
            ),
            Self::NothingSigned { size } => {
                write!(f, "the head claims {size} entries and no checkpoint covers any")
            }
            Self::HeadSize { head, rows } => {
                write!(f, "the head claims {head} entries, the rows end at {rows}")
            }
            Self::HeadRoot { head, computed } => {
                write!(f, "the head claims root {head}, the entries have {computed}")
            }
            Self::HeadFrontier => f.write_str("the head's frontier is not that of the entries"),
            Self::HeadFrontierMalformed { why } => write!(f, "the head's frontier cannot be read: {why}"),
            Self::CheckpointForged { source, why } => {
                write!(f, "{source} is not the log's word: {why}")?;
                write_causes(why, f)
            }
            Self::CheckpointOfOtherOrigin { source, origin } => {
                write!(f, "{source} is of another log, {origin}")
            }
            Self::CheckpointMislabelled { at, label, signed } => {
                write!(f, "stored checkpoint {at} stands under size {label}, but was signed for {signed}")
            }
            Self::RolledBack { source, size, after } => {
                write!(
                    f,
                    "{source} has size {size}, though size {after} was signed before it: it was rolled back"
                )
            }
            Self::SplitView { size, one, other } => {
                write!(
                    f,
                    "{one} and {other} have different roots for size {size}: the log shows two histories"
                )
            }
        }
    }
}

fn write_causes(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut cause = error.source();
    while let Some(deeper) = cause {
        write!(f, ": {deeper}")?;
        cause = deeper.source();
    }
    Ok(())
}

/// Findings up to the bound, and how many more there were.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    omitted: u64,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        if self.kept.len() < MAX_FINDINGS { self.kept.push(finding) } else { self.omitted += 1 }
    }

    /// Adds these and counts `more` that nobody kept.
    pub(super) fn add_all(&mut self, findings: impl Iterator<Item = Finding>, more: u64) {
        findings.for_each(|finding| self.add(finding));
        self.omitted += more;
    }

    pub(super) fn into_parts(self) -> (Vec<Finding>, u64) {
        (self.kept, self.omitted)
    }
}

impl Finding {
    /// The entry it concerns, or the first of several; none when it concerns the head or a checkpoint.
    #[must_use]
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::EntryChanged { index }
            | Self::LeafChanged { index }
            | Self::EntryOrLeafChanged { index }
            | Self::Repeated { index }
            | Self::OutOfOrder { index, .. } => Some(*index),
            Self::Missing { from, .. } => Some(*from),
            Self::HistoryRewritten { after, .. } => Some(*after),
            Self::Truncated { size, .. } => Some(*size),
            _ => None,
        }
    }
}
