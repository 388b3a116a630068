//! Signs checkpoints: the log's word that its first so many records have this root.
//!
//! A checkpoint is signed only with the proof that the last signed one is its past, made from the records themselves. It is kept in the
//! key directory first, then in the store. A log that cannot prove its past is not signed any more: it was changed, or restored from a backup,
//! and a person has to say which.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use warrantor_ledger::{
    Checkpoint, Frontier, Hash, KeyName, SigningKey, Subtrees, UnverifiedCheckpoint, VerifiedCheckpoint,
    checkpoint::{CheckpointNoteError, CheckpointSignError},
    merkle::{ProveError, consistency_proof},
};
use warrantor_model::{
    Clock, Randomness, Timestamp,
    record::{Event, LedgerRecord, Record},
    time::NoRandomness,
};
use warrantor_store::{CheckpointError, Commit, CommitError, MAX_PAGE, ReadError, Store};

use crate::{
    fresh_id,
    keys::{KeyDirectory, KeyError, KeyLock},
};

/// How long nothing may be recorded before that is recorded.
pub const QUIET: Duration = Duration::from_secs(60);

/// Why no checkpoint was signed.
#[derive(Debug, Error)]
pub enum KeepError {
    /// The key directory.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The store did not take a record.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The last signed checkpoint in the key directory does not verify.
    #[error("the last signed checkpoint in the key directory was refused: {0}")]
    LastSigned(#[from] CheckpointNoteError),
    /// The log is shorter than what was signed: restored from a backup, or cut.
    #[error(
        "the log has {size} records and {signed} were signed: it was cut or restored from a backup; see `warrantor audit verify`, and `warrantor audit begin-epoch` if it was restored"
    )]
    Shorter {
        /// How many there are.
        size: u64,
        /// How many were signed.
        signed: u64,
    },
    /// The records before the last signed checkpoint are not those that were signed.
    #[error("the first {size} records are not those that were signed: see `warrantor audit verify`")]
    PastChanged {
        /// How many.
        size: u64,
    },
    /// The proof could not be made.
    #[error("no proof of the past could be made: {0}")]
    Proof(String),
    /// Signing was refused.
    #[error(transparent)]
    Sign(#[from] CheckpointSignError),
    /// No random bytes for an id.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Keeps one log's checkpoints.
pub struct Keeper<S> {
    store: Arc<S>,
    keys: KeyDirectory,
    origin: KeyName,
}

/// What a checkpoint attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A checkpoint of this size was signed.
    Signed(u64),
    /// The last one covers all there is.
    Covered(u64),
    /// There is nothing to sign.
    Empty,
}

/// The last signed state, and the leaves since: enough for any proof between the two.
struct Growth {
    signed: u64,
    peaks: Vec<Hash>,
    since: Vec<Hash>,
}

impl Subtrees for Growth {
    type Error = String;

    fn subtree(&self, level: u32, index: u64) -> Result<Hash, String> {
        let width = 1u64.checked_shl(level).ok_or("too high a level")?;
        let start = index.checked_mul(width).ok_or("too far an index")?;
        if start >= self.signed {
            let from =
                usize::try_from(start.saturating_sub(self.signed)).map_err(|cause| cause.to_string())?;
            let to = from
                .checked_add(usize::try_from(width).map_err(|cause| cause.to_string())?)
                .ok_or("too wide")?;
            let leaves = self.since.get(from..to).ok_or("a leaf is missing")?;
            return Ok(warrantor_ledger::merkle::root_of(leaves));
        }
        // A perfect subtree of the signed part that a proof asks for is one of its peaks.
        let mut at = 0u64;
        let mut peaks = self.peaks.iter();
        for bit in (0..u64::BITS).rev() {
            let peak_width = 1u64 << bit;
            if self.signed & peak_width == 0 {
                continue;
            }
            let peak = peaks.next().ok_or("a peak is missing")?;
            if at == start && peak_width == width {
                return Ok(*peak);
            }
            at = at.saturating_add(peak_width);
        }
        Err(format!("level {level}, index {index} is no peak of the signed tree"))
    }
}

impl<S: Store> Keeper<S> {
    /// Keeps the checkpoints of this store with these keys.
    #[must_use]
    pub fn new(store: Arc<S>, keys: KeyDirectory, origin: KeyName) -> Self {
        Self { store, keys, origin }
    }

    /// Writes the first record of a log, which names its key, and signs the first checkpoint. Does nothing for a log that has both.
    ///
    /// The checkpoint does not wait for the first tick: a process that ends before it would leave a log that nothing vouches for, and an audit
    /// could not tell that from one whose checkpoints were removed.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn begin(&self, clock: &dyn Clock) -> Result<(), KeepError> {
        if self.store.head().await?.size == 0 {
            let key = self.keys.signing(&self.origin)?.verifier().to_string();
            let event = Event::Ledger(LedgerRecord::Created { origin: self.origin.to_string(), key });
            // One name for the first record: of two processes that begin, one finds that it has been done.
            match self.store.commit(Commit::new(Record::new("ledger-created", clock.now(), event))).await {
                Ok(_) | Err(CommitError::AlreadyRecorded { .. }) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        if self.keys.last_signed()?.is_none() {
            self.sign().await?;
        }
        Ok(())
    }

    /// Records that nothing happened for [`QUIET`], so that the next checkpoint proves the silence. Of several processes one does it.
    ///
    /// # Errors
    /// [`KeepError`].
    pub async fn note_quiet(&self, now: Timestamp) -> Result<(), KeepError> {
        let Some(since) = self.store.head().await?.last_at.filter(|last| last.plus(QUIET) <= now) else {
            return Ok(());
        };
        let event = Event::Ledger(LedgerRecord::Quiet { since });
        let minute = now.as_micros().max(0) / i64::try_from(QUIET.as_micros()).unwrap_or(i64::MAX);
        match self.store.commit(Commit::new(Record::new(format!("quiet-{minute}"), now, event))).await {
            Ok(_) | Err(CommitError::AlreadyRecorded { .. }) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Signs a checkpoint over everything that is recorded, if the last one does not cover it.
    ///
    /// # Errors
    /// [`KeepError`]; nothing was signed then, or it was signed, kept, and not stored.
    pub async fn sign(&self) -> Result<Kept, KeepError> {
        let lock = self.lock().await?;
        let key = self.keys.signing(&self.origin)?;
        self.sign_with(&[&key], &lock).await
    }

    /// Waits for the lock beside the runtime's threads: whoever holds it may need the one that would wait here.
    async fn lock(&self) -> Result<KeyLock, KeepError> {
        let keys = self.keys.clone();
        let waiting = tokio::task::spawn_blocking(move || keys.lock());
        let failed = |cause| KeyError::Io { path: self.keys.path().to_owned(), cause };
        Ok(waiting.await.map_err(|cause| failed(std::io::Error::other(cause)))??)
    }

    /// Rotates the signing key: recorded first, and the next checkpoint signed by both.
    ///
    /// # Errors
    /// [`KeepError`]; the old key stays in force, unless only the checkpoint failed.
    pub async fn rotate(
        &self,
        clock: &dyn Clock,
        randomness: &dyn Randomness,
        evidence: &str,
    ) -> Result<String, KeepError> {
        let lock = self.lock().await?;
        let old = self.keys.signing(&self.origin)?;
        let new = self.keys.draft(&self.origin, randomness)?;
        let key = new.key().verifier().to_string();
        let event =
            Event::Ledger(LedgerRecord::KeyRotated { key: key.clone(), evidence: evidence.to_owned() });
        let now = clock.now();
        let record = Record::new(fresh_id("k", now, randomness)?, now, event);
        self.store.commit(Commit::new(record)).await?;
        self.keys.install(&new, &lock)?;
        self.sign_with(&[&old, new.key()], &lock).await?;
        Ok(key)
    }

    /// Begins a new epoch of a log that was restored from a backup: recorded, with what was lost, and signed as what follows the last checkpoint that
    /// the backup has.
    ///
    /// An epoch excuses that records are gone, never that others stand in their place: the restored records must lead to the restored checkpoint.
    ///
    /// # Errors
    /// [`KeepError`]; with `PastChanged` and `Shorter` no epoch has begun, and the backup is not one of this log as it was signed.
    pub async fn begin_epoch(
        &self,
        clock: &dyn Clock,
        randomness: &dyn Randomness,
        evidence: &str,
    ) -> Result<u64, KeepError> {
        let lock = self.lock().await?;
        let head = self.store.head().await?;
        let kept = self.last_signed()?;
        let past = self.last_stored().await?.map(|(checkpoint, _)| checkpoint);
        self.follows(past.as_ref(), &head.frontier).await?;
        let epoch = head.epoch.saturating_add(1);
        let lost_from = kept.as_ref().or(past.as_ref()).map_or(0, |last| last.checkpoint().size());
        let event =
            Event::Ledger(LedgerRecord::EpochBegun { epoch, lost_from, evidence: evidence.to_owned() });
        let now = clock.now();
        self.store.begin_epoch(head.epoch, Record::new(fresh_id("e", now, randomness)?, now, event)).await?;
        let key = self.keys.signing(&self.origin)?;
        let head = self.store.head().await?;
        let checkpoint = Checkpoint::of(self.origin.clone(), &head.frontier);
        let proof = self.follows(past.as_ref(), &head.frontier).await?;
        let note = match &past {
            Some(past) => checkpoint.sign_after(past, &proof, &[&key])?,
            None => checkpoint.sign_first(&[&key])?,
        };
        self.keys.keep_signed(&note, &head.frontier.to_bytes(), &lock)?;
        self.store.put_checkpoint(head.size, note).await?;
        Ok(epoch)
    }

    /// The proof that what was signed last is the past of a tree, and that the stored leaves lead to both. Empty when nothing was signed.
    async fn follows(
        &self,
        last: Option<&VerifiedCheckpoint>,
        now: &Frontier,
    ) -> Result<Vec<Hash>, KeepError> {
        match last {
            Some(last) if last.checkpoint().size() > now.size() => {
                Err(KeepError::Shorter { size: now.size(), signed: last.checkpoint().size() })
            }
            Some(last) => self.proof(last, now).await,
            None if self.derive(Frontier::empty(), now.size()).await?.0 == *now => Ok(Vec::new()),
            None => Err(KeepError::PastChanged { size: now.size() }),
        }
    }

    async fn sign_with(&self, keys: &[&SigningKey], lock: &KeyLock) -> Result<Kept, KeepError> {
        let head = self.store.head().await?;
        if head.size == 0 {
            return Ok(Kept::Empty);
        }
        // If the key directory lost what was signed last, the store still says it: nothing but a log without any is signed as a new one.
        let (last, stored) = match self.last_signed()? {
            Some(kept) => (Some(kept), None),
            None => self.last_stored().await?.unzip(),
        };
        let proof = self.follows(last.as_ref(), &head.frontier).await?;
        let next = Checkpoint::of(self.origin.clone(), &head.frontier);
        let note = match &last {
            Some(last) if last.checkpoint().size() == head.size => {
                match stored {
                    Some(note) => self.keys.keep_signed(&note, &head.frontier.to_bytes(), lock)?,
                    None => self.store_again(head.size).await?,
                }
                return Ok(Kept::Covered(head.size));
            }
            Some(last) => next.sign_after(last, &proof, keys)?,
            None => next.sign_first(keys)?,
        };
        self.keys.keep_signed(&note, &head.frontier.to_bytes(), lock)?;
        self.store.put_checkpoint(head.size, note).await?;
        Ok(Kept::Signed(head.size))
    }

    /// A checkpoint that was kept and whose storing failed is stored when it is met again.
    async fn store_again(&self, size: u64) -> Result<(), KeepError> {
        let stored = self.store.last_checkpoint().await?.map_or(0, |checkpoint| checkpoint.size);
        if stored < size
            && let Some(note) = self.keys.last_signed()?
        {
            self.store.put_checkpoint(size, note).await?;
        }
        Ok(())
    }

    fn last_signed(&self) -> Result<Option<VerifiedCheckpoint>, KeepError> {
        let Some(note) = self.keys.last_signed()? else { return Ok(None) };
        let trusted = self.keys.trusted()?;
        Ok(Some(UnverifiedCheckpoint::parse(note.as_bytes())?.verify(&self.origin, &trusted)?))
    }

    /// What the store says was signed last.
    async fn last_stored(&self) -> Result<Option<(VerifiedCheckpoint, String)>, KeepError> {
        let Some(stored) = self.store.last_checkpoint().await? else { return Ok(None) };
        let trusted = self.keys.trusted()?;
        let checkpoint =
            UnverifiedCheckpoint::parse(stored.note.as_bytes())?.verify(&self.origin, &trusted)?;
        Ok(Some((checkpoint, stored.note)))
    }

    /// The proof that the signed tree is the past of what the store holds now.
    async fn proof(&self, last: &VerifiedCheckpoint, now: &Frontier) -> Result<Vec<Hash>, KeepError> {
        let signed = last.checkpoint();
        let kept = self.keys.last_frontier()?.and_then(|bytes| Frontier::from_bytes(&bytes).ok());
        // The kept frontier is only a way to save reading: it counts if its root is the signed one.
        let tree = match kept {
            Some(tree) if tree.size() == signed.size() && tree.root() == signed.root() => tree,
            _ => self.derive(Frontier::empty(), signed.size()).await?.0,
        };
        if tree.root() != signed.root() {
            return Err(KeepError::PastChanged { size: signed.size() });
        }
        let peaks = tree.peaks().to_vec();
        let (grown, since) = self.derive(tree, now.size()).await?;
        if grown != *now {
            return Err(KeepError::PastChanged { size: now.size() });
        }
        let growth = Growth { signed: signed.size(), peaks, since };
        consistency_proof(&growth, signed.size(), now.size()).map_err(|cause| match cause {
            ProveError::Source(why) => KeepError::Proof(why),
            other => KeepError::Proof(other.to_string()),
        })
    }

    /// Grows a tree up to a size from the stored leaves, and gives the leaves it grew by.
    async fn derive(&self, mut tree: Frontier, size: u64) -> Result<(Frontier, Vec<Hash>), KeepError> {
        let mut since = Vec::new();
        while tree.size() < size {
            let wanted = usize::try_from(size.saturating_sub(tree.size())).unwrap_or(MAX_PAGE).min(MAX_PAGE);
            let page = self.store.leaves(tree.size(), wanted).await?;
            if page.is_empty() {
                return Err(KeepError::PastChanged { size });
            }
            for leaf in page {
                tree.push(leaf);
                since.push(leaf);
            }
        }
        Ok((tree, since))
    }
}

#[cfg(test)]
mod tests {
    use warrantor_ledger::merkle::{leaf_hash, root_of, verify_consistency};

    use super::*;

    #[test]
    fn proofs_from_peaks_and_new_leaves_verify_for_every_pair_of_sizes() {
        let leaves: Vec<Hash> = (0u32..70).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        for new in 1..=leaves.len() {
            for old in 1..=new {
                let mut tree = Frontier::empty();
                leaves[..old].iter().for_each(|leaf| tree.push(*leaf));
                let growth = Growth {
                    signed: old as u64,
                    peaks: tree.peaks().to_vec(),
                    since: leaves[old..new].to_vec(),
                };
                let proof = consistency_proof(&growth, old as u64, new as u64).unwrap();
                let (before, after) = (root_of(&leaves[..old]), root_of(&leaves[..new]));
                verify_consistency(old as u64, new as u64, &before, &after, &proof)
                    .unwrap_or_else(|cause| panic!("{old} to {new}: {cause}"));
            }
        }
    }
}
