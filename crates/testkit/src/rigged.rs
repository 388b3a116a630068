//! A store whose commits go on when nobody waits for them, and whose reads and commits can be held.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Mutex, watch};
use warrantor_ledger::Hash;
use warrantor_model::{
    Digest,
    record::{Event, Record},
};
use warrantor_store::{
    Body, CheckpointError, Commit, CommitError, Committed, Entry, Head, Key, ReadError, Store,
    StoredCheckpoint, StoredRecord, View, Wanted,
};

/// A store as a real one behaves whose writer has a queue of its own: a commit that was given is made even if nobody waits for it any more. Reads and
/// commits can be held and let go.
#[derive(Debug)]
pub struct Rigged<S> {
    store: Arc<S>,
    commits_held: watch::Sender<bool>,
    decisions_held: watch::Sender<bool>,
    reads_held: watch::Sender<bool>,
    commits_fail: AtomicBool,
    all: Arc<Mutex<()>>,
    decisions: Arc<Mutex<()>>,
}

/// The test said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no space left")]
pub struct Full;

impl<S: Store> Rigged<S> {
    /// A store with nothing held.
    pub fn new(store: S) -> Self {
        Self {
            store: Arc::new(store),
            commits_held: watch::Sender::new(false),
            decisions_held: watch::Sender::new(false),
            reads_held: watch::Sender::new(false),
            commits_fail: AtomicBool::new(false),
            all: Arc::default(),
            decisions: Arc::default(),
        }
    }

    /// The store behind.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Holds commits, or lets them go.
    pub fn hold_commits(&self, held: bool) {
        self.commits_held.send_replace(held);
    }

    /// Holds commits of decisions, or lets them go.
    pub fn hold_decisions(&self, held: bool) {
        self.decisions_held.send_replace(held);
    }

    /// Refuses commits as a full disk does, or takes them again.
    pub fn fail_commits(&self, fail: bool) {
        self.commits_fail.store(fail, Ordering::SeqCst);
    }

    /// Holds reads, or lets them go.
    pub fn hold_reads(&self, held: bool) {
        self.reads_held.send_replace(held);
    }

    async fn readable(&self) {
        free(&self.reads_held).await;
    }
}

async fn free(held: &watch::Sender<bool>) {
    held.subscribe().wait_for(|held| !held).await.unwrap();
}

impl<S: Store> Store for Rigged<S> {
    async fn head(&self) -> Result<Head, ReadError> {
        self.readable().await;
        self.store.head().await
    }

    async fn read(&self, wanted: &Wanted) -> Result<View, ReadError> {
        self.readable().await;
        self.store.read(wanted).await
    }

    async fn scan(
        &self,
        under: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, ReadError> {
        self.readable().await;
        self.store.scan(under, after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        if self.commits_fail.load(Ordering::SeqCst) {
            return Err(CommitError::unavailable(Full));
        }
        let (store, all, decisions) =
            (Arc::clone(&self.store), Arc::clone(&self.all), Arc::clone(&self.decisions));
        let (all_held, decisions_held) = (self.commits_held.clone(), self.decisions_held.clone());
        let made = tokio::spawn(async move {
            // In the order given, as from a queue: whoever is let go at once would otherwise go in any order.
            if matches!(commit.record.event, Event::Decision(_)) {
                let _turn = decisions.lock().await;
                free(&decisions_held).await;
            }
            let _turn = all.lock().await;
            free(&all_held).await;
            store.commit(commit).await
        });
        made.await.unwrap()
    }

    async fn records(&self, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        self.store.records(from, limit).await
    }

    async fn find(&self, id: &str) -> Result<Option<StoredRecord>, ReadError> {
        self.readable().await;
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
        self.store.begin_epoch(expected, record).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}
