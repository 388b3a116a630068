//! The store on SQLite, floor 4.
//!
//! One file holds everything, and any number of processes may share it: nothing that decides is kept in memory, as every write transaction takes the
//! write lock first (`BEGIN IMMEDIATE`) and reads the head anew. One thread a handle does all its writing and stores whatever is queued in one
//! transaction, so that many commits share one wait for the disk; readers have connections of their own, which in WAL mode neither wait for the
//! writer nor hold it up.
//!
//! What it keeps true beside the contract of [`Store`]:
//!
//! - A handle opens only on a file that is ours, of a known version, writable by its owner alone, in WAL mode with `synchronous=FULL`; settings are read
//!   back, not believed.
//! - An error of the database before `COMMIT` is `Unavailable`; at `COMMIT` it is `Unknown`, unless the database says that it is full, busy or read-only
//!   and then rolls back.
//! - After any error a connection is opened anew.
//!
//! It does not know what is stored, nor what time it is. PostgreSQL comes beside it.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{mpsc, oneshot};
use warrantor_ledger::Hash;
use warrantor_model::{Digest, record::Record};
use warrantor_store::{
    Body, CheckpointError, Closed, Commit, CommitError, Committed, Entry, Head, Key, Prepared, ReadError,
    Recency, Store, StoredCheckpoint, StoredRecord, View, Wanted, check_note,
};

mod file;
mod line;
mod read;
mod readers;
mod recent;
mod rows;
mod sql;
mod write;
mod writer;

pub use file::{OpenError, Options};

use file::{File, Side};
use readers::Readers;
use recent::Recent;
use writer::{Job, WriterEnded};

/// Commits that may wait for the writer; whoever comes then waits for a place.
const QUEUE: usize = 1024;

/// A handle on a database file. Dropping it lets the writer finish what was queued; [`Store::close`] waits for that.
#[derive(Debug)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    readers: Readers,
    recent: Arc<Mutex<Recent>>,
}

impl SqliteStore {
    /// Opens the store at this path, and makes it first if nothing is there. The directory must exist. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`] when the file is not what it must be or a setting is not in force.
    pub async fn open(path: impl Into<PathBuf>, options: Options) -> Result<Self, OpenError> {
        let file = File { path: path.into(), options };
        let opening = file.clone();
        let opened = tokio::task::spawn_blocking(move || {
            opening.prepare()?;
            opening.connect(Side::Writer)
        });
        let connection = opened.await.map_err(|cause| file.failed(std::io::Error::other(cause)))??;
        let readers = Readers::new(file.clone());
        let head = readers.read(rows::head).await?;
        let recent: Arc<Mutex<Recent>> = Arc::default();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let writer = {
            let (file, recent) = (file.clone(), Arc::clone(&recent));
            move || writer::run(file, connection, head, recent, queue)
        };
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(writer)
            .map_err(|cause| file.failed(cause))?;
        Ok(Self { jobs, readers, recent })
    }

    /// Hands a job to the writer and waits for its answer. The outer error means that the job never reached the writer, the inner one that the
    /// writer went away with it.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> Job,
    ) -> Result<Result<T, WriterEnded>, Closed> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_| Closed)?;
        Ok(answered.await.map_err(|_| WriterEnded))
    }

    fn known(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store(&self, prepared: Prepared) -> Result<Committed, CommitError> {
        let prepared = Box::new(prepared);
        match self.ask(|answer| Job::Commit(writer::Waiting { prepared, answer })).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => Err(CommitError::unknown(ended)),
            Err(closed) => Err(CommitError::unavailable(closed)),
        }
    }
}

impl Store for SqliteStore {
    async fn head(&self) -> Result<Head, ReadError> {
        self.readers.read(rows::head).await
    }

    async fn read(&self, wanted: &Wanted) -> Result<View, ReadError> {
        let wanted = wanted.clone();
        self.readers.read(move |connection| read::view(connection, &wanted)).await
    }

    async fn recent(&self, wanted: &Wanted) -> Result<(View, Recency), ReadError> {
        if self.jobs.is_closed() {
            return Err(ReadError::unavailable(Closed));
        }
        let known = self.known().view(wanted);
        if let Some(view) = known {
            return Ok((view, Recency::AsKnown));
        }
        let view = self.read(wanted).await?;
        self.known().read(wanted, &view);
        Ok((view, Recency::Latest))
    }

    async fn scan(
        &self,
        under: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, ReadError> {
        let (under, after) = (under.clone(), after.cloned());
        self.readers.read(move |connection| read::scan(connection, &under, after.as_ref(), limit)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.store(Prepared::new(commit)?).await
    }

    async fn records(&self, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        self.readers.read(move |connection| read::records(connection, from, limit)).await
    }

    async fn find(&self, id: &str) -> Result<Option<StoredRecord>, ReadError> {
        let id = id.to_owned();
        self.readers.read(move |connection| read::find(connection, &id)).await
    }

    async fn linked(&self, to: &str, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        let to = to.to_owned();
        self.readers.read(move |connection| read::linked(connection, &to, from, limit)).await
    }

    async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<Hash>, ReadError> {
        self.readers.read(move |connection| read::leaves(connection, from, limit)).await
    }

    async fn body(&self, commitment: &Digest) -> Result<Option<Body>, ReadError> {
        let commitment = *commitment;
        self.readers.read(move |connection| read::body(connection, &commitment)).await
    }

    async fn put_checkpoint(&self, size: u64, note: String) -> Result<(), CheckpointError> {
        check_note(&note)?;
        match self.ask(|answer| Job::Checkpoint(writer::Signed { size, note, answer })).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => Err(CheckpointError::Unknown { cause: warrantor_store::Cause::new(ended) }),
            Err(closed) => Err(CheckpointError::Unavailable { cause: warrantor_store::Cause::new(closed) }),
        }
    }

    async fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<StoredCheckpoint>, ReadError> {
        self.readers.read(move |connection| read::checkpoints(connection, from, limit)).await
    }

    async fn last_checkpoint(&self) -> Result<Option<StoredCheckpoint>, ReadError> {
        self.readers.read(read::last_checkpoint).await
    }

    async fn begin_epoch(&self, expected: u64, record: Record) -> Result<Committed, CommitError> {
        self.store(Prepared::epoch(expected, record)?).await
    }

    async fn close(&self) {
        // The readers first: whoever closes last moves the log into the file, and that is for the writer's thread.
        self.readers.close().await;
        // That the writer has gone already is what was wanted.
        let _ = self.ask(Job::Close).await;
    }
}
