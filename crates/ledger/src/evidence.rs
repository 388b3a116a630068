//! C2SP proof files (`.tlog-proof`): that an entry stands in a log, as one small text to be checked offline.
//!
//! Kept true: what is taken has one written form; a [`VerifiedEntry`] stands at its index under a checkpoint that its log
//! signed. The entry itself travels beside the file. The optional `extra` line is refused: nothing here makes or reads it.

use thiserror::Error;

use crate::{
    checkpoint::{CheckpointNoteError, UnverifiedCheckpoint, VerifiedCheckpoint, decimal},
    merkle::{Hash, HashError, InclusionError},
    note::{KeyName, MAX_NOTE_BYTES, VerifierKey},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The way from a leaf to the root has at most one hash for each bit of the index.
const MAX_HASHES: usize = 64;
/// The header, the index and the hashes come to less than 4 KiB.
const MAX_BYTES: usize = MAX_NOTE_BYTES + 4096;

/// Why evidence was refused. Whoever made or changed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// Over the bound.
    #[error(
        "evidence of {found} bytes is over the bound of {MAX_BYTES}: send the proof alone, the entry beside it"
    )]
    TooLong {
        /// The bytes there were.
        found: usize,
    },
    /// Not UTF-8.
    #[error("the evidence is not UTF-8: read it as it was exported")]
    NotText(#[from] std::str::Utf8Error),
    /// The lines are not those of a proof file.
    #[error(
        "the evidence is not of the form: `{HEADER}`, `index N`, hashes, an empty line, a checkpoint; export it again"
    )]
    Form,
    /// A proof line is no hash.
    #[error("a proof line of the evidence is malformed")]
    Hash(#[from] HashError),
    /// The checkpoint was refused.
    #[error("the checkpoint in the evidence was refused")]
    Checkpoint(#[from] CheckpointNoteError),
    /// The entry is not the one that was logged.
    #[error("the evidence does not show that the entry was logged")]
    Inclusion(#[from] InclusionError),
}

/// Writes evidence for the entry at `index`. `checkpoint` is the note as it was published; `proof` leads from the entry to
/// that checkpoint's root.
#[must_use]
pub fn write(index: u64, proof: &[Hash], checkpoint: &str) -> String {
    let hashes: String = proof.iter().map(|hash| hash.to_base64() + "\n").collect();
    format!("{HEADER}\nindex {index}\n{hashes}\n{checkpoint}")
}

/// Evidence of which nothing was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedEvidence {
    index: u64,
    proof: Vec<Hash>,
    checkpoint: UnverifiedCheckpoint,
}

/// An entry that was shown to stand in the log. Only [`UnverifiedEvidence::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEntry {
    index: u64,
    entry: Vec<u8>,
    checkpoint: VerifiedCheckpoint,
}

impl UnverifiedEvidence {
    /// Reads what [`write()`] writes.
    ///
    /// # Errors
    /// [`EvidenceError`] for what is over a bound or not of the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_BYTES {
            return Err(EvidenceError::TooLong { found: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)?;
        // Neither header nor hashes have empty lines; a checkpoint's note has its own later.
        let (head, checkpoint) = text.split_once("\n\n").ok_or(EvidenceError::Form)?;
        let mut lines = head.split('\n');
        let (Some(HEADER), Some(index)) = (lines.next(), lines.next()) else {
            return Err(EvidenceError::Form);
        };
        let index = index.strip_prefix("index ").and_then(decimal).ok_or(EvidenceError::Form)?;
        if lines.clone().count() > MAX_HASHES {
            return Err(EvidenceError::Form);
        }
        let proof = lines.map(Hash::from_base64).collect::<Result<_, _>>()?;
        Ok(Self { index, proof, checkpoint: UnverifiedCheckpoint::parse(checkpoint.as_bytes())? })
    }

    /// Shows that `entry` stands in the log `origin`, on the word of the trusted keys.
    ///
    /// # Errors
    /// [`EvidenceError`] for a refused checkpoint and for another entry than the one logged.
    pub fn verify(
        self,
        entry: Vec<u8>,
        origin: &KeyName,
        trusted: &[VerifierKey],
    ) -> Result<VerifiedEntry, EvidenceError> {
        let checkpoint = self.checkpoint.verify(origin, trusted)?;
        checkpoint.includes(&entry, self.index, &self.proof)?;
        Ok(VerifiedEntry { index: self.index, entry, checkpoint })
    }
}

impl VerifiedEntry {
    /// Where the entry stands in the log.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The entry's bytes.
    #[must_use]
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }

    /// The checkpoint that covers it.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}
