//! What is claimed about a ledger before its rows are read: its head, its checkpoints, and those that others kept.

use std::collections::HashMap;

use super::finding::{Finding, Findings, Source};
use crate::{
    checkpoint::{CheckpointNoteError, UnverifiedCheckpoint, VerifiedCheckpoint},
    merkle::Hash,
    note::{KeyName, VerifierKey},
};

/// What the store holds beside the rows. Nothing of it is trusted.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// The head row.
    pub head: StoredHead,
    /// The checkpoints in the order in which they were signed.
    pub checkpoints: &'a [StoredCheckpoint],
    /// The last signed checkpoint's note, which the signer keeps apart from the store, if it can be had.
    pub last_signed: Option<&'a [u8]>,
}

/// The stored head of the ledger.
#[derive(Debug, Clone)]
pub struct StoredHead {
    /// How many rows it says there are.
    pub size: u64,
    /// The root it says they have.
    pub root: Hash,
    /// The state from which the ledger grows, as [`crate::Frontier::to_bytes`] writes it.
    pub frontier: Vec<u8>,
}

/// One stored checkpoint.
#[derive(Debug, Clone)]
pub struct StoredCheckpoint {
    /// The size under which it is stored.
    pub size: u64,
    /// The signed note.
    pub note: Vec<u8>,
}

/// Where the auditor stands.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The log that is audited.
    pub origin: &'a KeyName,
    /// Its verifier keys, past ones included, obtained on another way than the store.
    pub keys: &'a [VerifierKey],
    /// Checkpoint notes that the auditor kept from before or had from others.
    pub held: &'a [Vec<u8>],
}

/// A signed root that the rows must lead to.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) source: Source,
    pub(super) size: u64,
    pub(super) root: Hash,
}

/// The checkpoints that are signed as they should be, by size; what is wrong with the others or between them is found.
pub(super) fn verified(claims: &Claims<'_>, trust: &Trust<'_>, findings: &mut Findings) -> Vec<Signed> {
    let stored =
        claims.checkpoints.iter().enumerate().map(|(at, c)| (Source::Stored { at }, c.note.as_slice()));
    let last = claims.last_signed.map(|note| (Source::LastSigned, note));
    let held = trust.held.iter().enumerate().map(|(at, note)| (Source::Held { at }, note.as_slice()));
    let all: Vec<_> = stored.chain(last).chain(held).collect();
    if all.is_empty() && claims.head.size > 0 {
        findings.add(Finding::NothingSigned { size: claims.head.size });
    }
    let mut signed = Vec::new();
    for (source, note) in all {
        match verify(note, trust) {
            Ok(checkpoint) => {
                let (size, root) = (checkpoint.checkpoint().size(), checkpoint.checkpoint().root());
                signed.push(Signed { source, size, root });
            }
            Err(CheckpointNoteError::OtherOrigin { found, .. }) => {
                findings.add(Finding::CheckpointOfOtherOrigin { source, origin: found });
            }
            Err(why) => findings.add(Finding::CheckpointForged { source, why }),
        }
    }
    mislabelled(&signed, claims.checkpoints, findings);
    rolled_back(&signed, findings);
    split(&signed, findings);
    // Stable: checkpoints of one size stay in the order stored, last signed, held.
    signed.sort_by_key(|signed| signed.size);
    signed
}

fn verify(note: &[u8], trust: &Trust<'_>) -> Result<VerifiedCheckpoint, CheckpointNoteError> {
    UnverifiedCheckpoint::parse(note)?.verify(trust.origin, trust.keys)
}

fn mislabelled(signed: &[Signed], stored: &[StoredCheckpoint], findings: &mut Findings) {
    for signed in signed {
        let Source::Stored { at } = signed.source else { continue };
        let label = stored.get(at).map_or(signed.size, |stored| stored.size);
        if label != signed.size {
            findings.add(Finding::CheckpointMislabelled { at, label, signed: signed.size });
        }
    }
}

/// The stored ones must not shrink, and the last signed one must be at least as large as all others: the log has signed those.
fn rolled_back(signed: &[Signed], findings: &mut Findings) {
    let mut largest = 0;
    for stored in signed.iter().filter(|signed| matches!(signed.source, Source::Stored { .. })) {
        if stored.size < largest {
            findings.add(Finding::RolledBack { source: stored.source, size: stored.size, after: largest });
        }
        largest = largest.max(stored.size);
    }
    let largest = signed.iter().map(|signed| signed.size).max().unwrap_or(0);
    let last = signed.iter().find(|signed| signed.source == Source::LastSigned && signed.size < largest);
    if let Some(last) = last {
        findings.add(Finding::RolledBack { source: last.source, size: last.size, after: largest });
    }
}

fn split(signed: &[Signed], findings: &mut Findings) {
    let mut first_of_size: HashMap<u64, (Source, Hash)> = HashMap::new();
    for signed in signed {
        let (one, root) = *first_of_size.entry(signed.size).or_insert((signed.source, signed.root));
        if root != signed.root {
            findings.add(Finding::SplitView { size: signed.size, one, other: signed.source });
        }
    }
}
