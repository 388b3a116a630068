//! Stores that fail on purpose: every failure of a commit comes twice, once lost and once stored after all.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;
use warrantor_ledger::Hash;
use warrantor_model::{Digest, record::Record};

use crate::{
    Body, CheckpointError, Commit, CommitError, Committed, Entry, Head, Key, ReadError, Store,
    StoredCheckpoint, StoredRecord, View, Wanted,
};

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is stored, and the answer is `Unknown`.
    Lost,
    /// The commit is stored when its conditions hold, and the answer is `Unknown` all the same.
    StoredAfterAll,
    /// Nothing is stored, and the answer is `Unavailable`.
    Refused,
    /// Nothing happens until [`Faulty::release`]; then the commit is made.
    Hang,
}

/// The plan said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the commit was planned to fail: {0:?}")]
pub struct Planned(pub Fault);

/// A store of which some commits fail by plan, each once. Everything else is the store's own.
#[derive(Debug)]
pub struct Faulty<S> {
    store: S,
    plan: Mutex<Plan>,
    released: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Plan {
    /// How many commits there were.
    commits: u64,
    faults: BTreeMap<u64, Fault>,
}

impl<S: Store> Faulty<S> {
    /// A store without any plan yet.
    pub fn new(store: S) -> Self {
        Self { store, plan: Mutex::default(), released: watch::Sender::new(false) }
    }

    /// Plans a fault for the `nth` commit from now on; the next one is the first, number 1.
    pub fn plan(&self, nth: u64, fault: Fault) {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let at = plan.commits.saturating_add(nth);
        plan.faults.insert(at, fault);
    }

    /// Lets every commit that hangs, now or later, go on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// The store behind.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.commits = plan.commits.saturating_add(1);
        let commit = plan.commits;
        plan.faults.remove(&commit)
    }

    async fn with_fault(
        &self,
        commit: impl Future<Output = Result<Committed, CommitError>>,
    ) -> Result<Committed, CommitError> {
        match self.next() {
            None => commit.await,
            Some(fault @ Fault::Lost) => Err(CommitError::unknown(Planned(fault))),
            Some(fault @ Fault::Refused) => Err(CommitError::unavailable(Planned(fault))),
            Some(fault @ Fault::StoredAfterAll) => {
                // A condition that does not hold is answered as such: only the answer to a stored commit gets lost.
                commit.await?;
                Err(CommitError::unknown(Planned(fault)))
            }
            Some(Fault::Hang) => {
                let mut released = self.released.subscribe();
                released.wait_for(|released| *released).await.map_err(CommitError::unavailable)?;
                commit.await
            }
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    async fn head(&self) -> Result<Head, ReadError> {
        self.store.head().await
    }

    async fn read(&self, wanted: &Wanted) -> Result<View, ReadError> {
        self.store.read(wanted).await
    }

    async fn scan(
        &self,
        under: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, ReadError> {
        self.store.scan(under, after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.with_fault(self.store.commit(commit)).await
    }

    async fn records(&self, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        self.store.records(from, limit).await
    }

    async fn find(&self, id: &str) -> Result<Option<StoredRecord>, ReadError> {
        self.store.find(id).await
    }

    async fn linked(&self, to: &str, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        self.store.linked(to, from, limit).await
    }

    async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<Hash>, ReadError> {
        self.store.leaves(from, limit).await
    }

    async fn body(&self, commitment: &Digest) -> Result<Option<Body>, ReadError> {
        self.store.body(commitment).await
    }

    async fn put_checkpoint(&self, size: u64, note: String) -> Result<(), CheckpointError> {
        self.store.put_checkpoint(size, note).await
    }

    async fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<StoredCheckpoint>, ReadError> {
        self.store.checkpoints(from, limit).await
    }

    async fn last_checkpoint(&self) -> Result<Option<StoredCheckpoint>, ReadError> {
        self.store.last_checkpoint().await
    }

    async fn begin_epoch(&self, expected: u64, record: Record) -> Result<Committed, CommitError> {
        self.with_fault(self.store.begin_epoch(expected, record)).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
