//! C2SP checkpoints: a log's signed word that its first `size` entries have this root.
//!
//! Kept true: a [`VerifiedCheckpoint`] was signed by a trusted key named like its log; a checkpoint is signed only as a log's
//! first one or with the proof that the last signed one is its past. Persist a signed checkpoint before anyone sees it, or
//! a crash lets the log sign two that contradict each other.
//!
//! Extension lines are refused: the specification advises against them, and what nobody here reads must not be signed.

use std::fmt;

use thiserror::Error;

use crate::{
    merkle::{
        ConsistencyError, Frontier, Hash, HashError, InclusionError, MAX_SIZE, empty_root, leaf_hash,
        verify_consistency, verify_inclusion,
    },
    note::{self, KeyName, KeyNameError, NoteError, SignError, SigningKey, UnverifiedNote, VerifierKey},
};

/// What a log commits to: its first `size` entries, by their root. Its written form is the text that a note signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: KeyName,
    size: u64,
    root: Hash,
}

/// Why a text is no checkpoint. Whoever wrote or changed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// Not UTF-8.
    #[error("the checkpoint is not UTF-8: read it as it was published")]
    NotText(#[from] std::str::Utf8Error),
    /// Not three lines, each ended by a line feed.
    #[error(
        "the checkpoint has {found} lines: it has three, origin, size and root, each ended by a line feed"
    )]
    Lines {
        /// How many whole lines there were; a last one without line feed counts.
        found: usize,
    },
    /// Line 1 is no origin.
    #[error("line 1 of the checkpoint is no origin")]
    Origin(#[from] KeyNameError),
    /// Line 2 is no size.
    #[error(
        "line 2 of the checkpoint, {found:?}, is no size: write decimal digits without leading zeros, up to {MAX_SIZE}"
    )]
    Size {
        /// What stood there, at most 80 characters of it.
        found: String,
    },
    /// Line 3 is no root.
    #[error("line 3 of the checkpoint is no root")]
    Root(#[from] HashError),
    /// Size 0 with the root of something.
    #[error("the checkpoint has size 0 and root {root}: the empty tree has the root {}", empty_root())]
    EmptyRoot {
        /// The root it has.
        root: Hash,
    },
}

/// Why a signed checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointNoteError {
    /// The note is malformed, forged, or signed by nobody trusted.
    #[error("the note of the checkpoint was refused")]
    Note(#[from] NoteError),
    /// What was signed is no checkpoint.
    #[error("the note holds no checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is another log's. Whoever delivered it.
    #[error("the checkpoint is of {found}, not of {expected}: ask the log that it should be of")]
    OtherOrigin {
        /// The origin it has.
        found: KeyName,
        /// The origin asked for.
        expected: KeyName,
    },
    /// Trusted keys signed it, but none that is named like the log: a cosigner alone cannot speak for it.
    #[error("no trusted key of {origin} itself signed the checkpoint: get the log's verifier key")]
    NotByLog {
        /// The log's origin.
        origin: KeyName,
    },
}

/// Why a checkpoint was not signed. The log's own fault; nothing may be published then.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CheckpointSignError {
    /// A key is named differently from the log.
    #[error("the key {key} does not sign for {origin}: a log's key has the log's origin as its name")]
    OtherKey {
        /// The key's name.
        key: KeyName,
        /// The checkpoint's origin.
        origin: KeyName,
    },
    /// The last signed checkpoint is another log's.
    #[error("the last checkpoint is of {last}, the next one of {next}: a log follows itself only")]
    OtherLog {
        /// The origin of the last one.
        last: KeyName,
        /// The origin of the next one.
        next: KeyName,
    },
    /// The last signed checkpoint is not shown to be this one's past: history changed, or a backup was restored.
    #[error(
        "the last signed checkpoint is not the past of this one: audit the log, and start a new epoch if it was restored"
    )]
    NotExtended(#[from] ConsistencyError),
    /// The note could not be signed.
    #[error("the checkpoint's note could not be signed")]
    Note(#[from] SignError),
}

impl Checkpoint {
    /// What this log commits to by this tree.
    #[must_use]
    pub fn of(origin: KeyName, tree: &Frontier) -> Self {
        Self { origin, size: tree.size(), root: tree.root() }
    }

    /// Reads a checkpoint's text, without signatures.
    ///
    /// # Errors
    /// [`CheckpointError`] for anything that the `Display` form would not give back byte for byte.
    pub fn parse(text: &[u8]) -> Result<Self, CheckpointError> {
        let text = std::str::from_utf8(text)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [origin, size, root, ""] = *lines.as_slice() else {
            return Err(CheckpointError::Lines { found: text.lines().count() });
        };
        let origin = origin.parse()?;
        let wrong_size = || CheckpointError::Size { found: crate::merkle::shown(size) };
        let size = decimal(size).filter(|size| *size <= MAX_SIZE).ok_or_else(wrong_size)?;
        let root = Hash::from_base64(root)?;
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyRoot { root });
        }
        Ok(Self { origin, size, root })
    }

    /// Signs the first checkpoint of a log or of a new epoch of it. Every later one goes through
    /// [`Checkpoint::sign_after`]; signing a second first one is how a log comes to contradict itself.
    ///
    /// # Errors
    /// [`CheckpointSignError`], for keys of another name and when the note cannot be signed.
    pub fn sign_first(&self, keys: &[&SigningKey]) -> Result<String, CheckpointSignError> {
        if let Some(key) = keys.iter().find(|key| *key.verifier().name() != self.origin) {
            let key = key.verifier().name().clone();
            return Err(CheckpointSignError::OtherKey { key, origin: self.origin.clone() });
        }
        Ok(note::sign(&self.to_string(), keys)?)
    }

    /// Signs a checkpoint after checking that the last signed one is its past.
    ///
    /// # Errors
    /// [`CheckpointSignError`]; with `OtherLog` and `NotExtended` the log must stop signing until it was audited.
    pub fn sign_after(
        &self,
        last: &VerifiedCheckpoint,
        proof: &[Hash],
        keys: &[&SigningKey],
    ) -> Result<String, CheckpointSignError> {
        let last = &last.checkpoint;
        if last.origin != self.origin {
            return Err(CheckpointSignError::OtherLog {
                last: last.origin.clone(),
                next: self.origin.clone(),
            });
        }
        verify_consistency(last.size, self.size, &last.root, &self.root, proof)?;
        self.sign_first(keys)
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// How many entries it covers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }
}

/// Decimal digits without sign and leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with(['0', '+']) && !text.is_empty());
    if canonical { text.parse().ok() } else { None }
}

/// A checkpoint in its note, of which no signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedCheckpoint {
    note: UnverifiedNote,
    checkpoint: Checkpoint,
}

impl UnverifiedCheckpoint {
    /// Reads a signed checkpoint.
    ///
    /// # Errors
    /// [`CheckpointNoteError`] for a malformed note or a text that is no checkpoint.
    pub fn parse(note: &[u8]) -> Result<Self, CheckpointNoteError> {
        let note = UnverifiedNote::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text().as_bytes())?;
        Ok(Self { note, checkpoint })
    }

    /// What it claims, unchecked. For finding out whom to ask, never for deciding.
    #[must_use]
    pub fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Checks that this is a checkpoint of `origin`, signed by a trusted key of that name and badly by no trusted key.
    ///
    /// # Errors
    /// [`CheckpointNoteError`].
    pub fn verify(
        self,
        origin: &KeyName,
        trusted: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, CheckpointNoteError> {
        if self.checkpoint.origin != *origin {
            let found = self.checkpoint.origin;
            return Err(CheckpointNoteError::OtherOrigin { found, expected: origin.clone() });
        }
        let verified = self.note.verify(trusted)?;
        if !verified.signers().iter().any(|key| key.name() == origin) {
            return Err(CheckpointNoteError::NotByLog { origin: origin.clone() });
        }
        Ok(VerifiedCheckpoint { checkpoint: self.checkpoint })
    }
}

/// A checkpoint that its log signed. Only [`UnverifiedCheckpoint::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
}

impl VerifiedCheckpoint {
    /// What the log committed to.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Shows that the log has this entry at this index.
    ///
    /// # Errors
    /// [`InclusionError`].
    pub fn includes(&self, entry: &[u8], index: u64, proof: &[Hash]) -> Result<(), InclusionError> {
        verify_inclusion(&leaf_hash(entry), index, self.checkpoint.size, proof, &self.checkpoint.root)
    }
}
