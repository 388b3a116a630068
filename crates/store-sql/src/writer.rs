//! The writer: the one thread of a handle that writes. It stores whatever is queued in one transaction.
//!
//! A thread and no task, since SQLite waits where it works: for its lock, and for the disk. Each commit is handed over once, and answered once.
//!
//! What it keeps true: a commit is answered as made only after `COMMIT` has returned; a refusal only after the transaction it was judged in has ended well, as it
//! may rest on commits before it in the batch; and `Unavailable` only where nothing can have been stored.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use warrantor_store::{
    Cause, CheckpointError, Closed, CommitError, Committed, Head, Prepared,
    batch::{Batch, Changes, Touched},
};

use crate::{
    file::{File, Side},
    line::Line,
    read,
    recent::{self, Recent},
    sql, write,
};

/// Most commits in one transaction.
const BATCH: usize = 256;
/// How many bytes end a batch: the commit that reaches them is its last.
const BATCH_BYTES: usize = 8 << 20;

/// The writer's thread has ended with the job in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store's writer ended before it answered")]
pub(crate) struct WriterEnded;

/// A commit and who waits for it.
pub(crate) struct Waiting {
    /// Boxed, as jobs move through the queue by value.
    pub(crate) prepared: Box<Prepared>,
    pub(crate) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// A checkpoint and who waits for it.
pub(crate) struct Signed {
    pub(crate) size: u64,
    pub(crate) note: String,
    pub(crate) answer: oneshot::Sender<Result<(), CheckpointError>>,
}

pub(crate) enum Job {
    Commit(Waiting),
    Checkpoint(Signed),
    Close(oneshot::Sender<()>),
}

/// Why a transaction came to nothing, as far as that is known.
enum Failure {
    /// Nothing of it is stored.
    NotStored(Cause),
    /// All of it may be stored.
    Unknown(Cause),
}

struct Writer {
    file: File,
    line: Line,
    /// `None` after a failure: the next transaction opens another.
    connection: Option<Connection>,
    /// The epoch this handle was opened in, or has begun.
    held: u64,
    /// The head that this handle left the store at, or found it at when it was opened.
    last: Head,
    /// The latest revision that may have been another handle's.
    others: u64,
    recent: Arc<Mutex<Recent>>,
}

/// Does the jobs of the queue until it is closed.
pub(crate) fn run(
    file: File,
    connection: Connection,
    head: Head,
    recent: Arc<Mutex<Recent>>,
    mut queue: mpsc::Receiver<Job>,
) {
    let mut writer = Writer {
        line: Line::beside(&file.path),
        file,
        connection: Some(connection),
        held: head.epoch,
        others: head.revision,
        last: head,
        recent,
    };
    let mut carried = None;
    loop {
        let job = match carried.take() {
            Some(job) => Some(job),
            None => queue.blocking_recv(),
        };
        match job {
            Some(Job::Commit(first)) => {
                let (batch, next) = gather(first, &mut queue);
                carried = next;
                writer.store(batch);
            }
            Some(Job::Checkpoint(signed)) => {
                let stored = writer.checkpoint(signed.size, &signed.note);
                // Whoever went away does not want to know.
                let _ = signed.answer.send(stored);
            }
            Some(Job::Close(answer)) => {
                writer.close();
                refuse(queue);
                let _ = answer.send(());
                return;
            }
            None => return writer.close(),
        }
    }
}

/// Takes what is queued, up to the bounds of a batch and to the next job of another kind.
fn gather(first: Waiting, queue: &mut mpsc::Receiver<Job>) -> (Vec<Waiting>, Option<Job>) {
    let mut bytes = first.prepared.weight();
    let mut batch = vec![first];
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        match queue.try_recv() {
            Ok(Job::Commit(next)) => {
                bytes = bytes.saturating_add(next.prepared.weight());
                batch.push(next);
            }
            Ok(other) => return (batch, Some(other)),
            Err(_) => break,
        }
    }
    (batch, None)
}

/// Answers what was queued behind the end.
fn refuse(mut queue: mpsc::Receiver<Job>) {
    queue.close();
    while let Some(job) = queue.blocking_recv() {
        match job {
            Job::Commit(waiting) => drop(waiting.answer.send(Err(CommitError::unavailable(Closed)))),
            Job::Checkpoint(signed) => {
                let cause = Cause::new(Closed);
                drop(signed.answer.send(Err(CheckpointError::Unavailable { cause })));
            }
            Job::Close(answer) => drop(answer.send(())),
        }
    }
}

type Verdicts = Vec<Result<Committed, CommitError>>;

/// A batch that was judged and written, and is not committed yet.
struct Judged {
    verdicts: Verdicts,
    /// The epoch that the handle is in afterwards.
    held: u64,
    /// The head afterwards.
    head: Head,
    /// What changed, if anything.
    changes: Option<Changes>,
}

fn locked(recent: &Mutex<Recent>) -> MutexGuard<'_, Recent> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Stores a batch and answers everyone in it.
    fn store(&mut self, batch: Vec<Waiting>) {
        let begun = self.begin();
        // Whoever gave up before the transaction began, which may take long, gets nothing stored behind their back.
        let waiting = batch.into_iter().filter(|waiting| !waiting.answer.is_closed());
        let (commits, answers): (Vec<_>, Vec<_>) =
            waiting.map(|waiting| (*waiting.prepared, waiting.answer)).unzip();
        let (mut verdicts, ended) = match begun {
            Ok(head) => self.transaction(head, commits),
            Err(cause) => {
                self.abandon();
                (Vec::new(), Err(Failure::NotStored(cause)))
            }
        };
        if let Err(failure) = ended {
            verdicts.resize_with(answers.len(), || Err(CommitError::unavailable(WriterEnded)));
            verdicts = verdicts.into_iter().map(|verdict| failure.answers(verdict.is_ok())).collect();
        }
        for (answer, verdict) in answers.into_iter().zip(verdicts) {
            // Whoever went away does not want to know.
            let _ = answer.send(verdict);
        }
    }

    /// Judges the commits and stores those that pass. The verdicts count only if it ends well.
    fn transaction(&mut self, head: Head, commits: Vec<Prepared>) -> (Verdicts, Result<(), Failure>) {
        match self.judge(head, commits) {
            Err(cause) => {
                self.abandon();
                (Vec::new(), Err(Failure::NotStored(cause)))
            }
            Ok(Judged { verdicts, held, head, changes }) => {
                let ended = self.commit();
                if ended.is_ok() {
                    self.held = held;
                    // Before anybody is answered: whoever acts on an answer reads what led to it.
                    if let Some(changes) = changes {
                        self.recent().wrote(&head, &changes);
                    }
                    self.last = head;
                } else {
                    self.recent().forget();
                }
                (verdicts, ended)
            }
        }
    }

    /// Everything before `COMMIT`. Nothing of it is stored when it fails: without the frame of a commit no reader and no recovery takes what it wrote.
    fn judge(&mut self, head: Head, commits: Vec<Prepared>) -> Result<Judged, Cause> {
        let touched = Touched::by(&commits);
        let mut held = self.held;
        let is_overtaken = !recent::is_same(&head, &self.last);
        let others = if is_overtaken { head.revision } else { self.others };
        let (mut loaded, rest) = {
            let mut recent = self.recent();
            recent.found(&head, is_overtaken);
            recent.load(&touched)
        };
        let connection = self.connection.as_ref().ok_or_else(|| Cause::new(WriterEnded))?;
        write::load(connection, &rest, &mut loaded)?;
        let before = head.revision;
        let mut batch = Batch::new(head.clone(), loaded, others);
        let mut verdicts = Vec::with_capacity(commits.len());
        for commit in commits {
            let begins = commit.begins_after();
            let verdict = batch.apply(held, commit);
            if let (Some(expected), Ok(_)) = (begins, &verdict) {
                held = expected.saturating_add(1);
            }
            verdicts.push(verdict);
        }
        let judged = if batch.is_empty() {
            Judged { verdicts, held, head, changes: None }
        } else {
            let (head, changes) = batch.finish();
            write::changes(connection, before, &head, &changes)?;
            Judged { verdicts, held, head, changes: Some(changes) }
        };
        self.others = others;
        Ok(judged)
    }

    fn checkpoint(&mut self, size: u64, note: &str) -> Result<(), CheckpointError> {
        let put = self.put_checkpoint(size, note);
        if let Err(error) = put {
            self.abandon();
            return Err(error);
        }
        self.commit().map_err(|failure| match failure {
            Failure::NotStored(cause) => CheckpointError::Unavailable { cause },
            Failure::Unknown(cause) => CheckpointError::Unknown { cause },
        })
    }

    fn put_checkpoint(&mut self, size: u64, note: &str) -> Result<(), CheckpointError> {
        let unavailable = |cause| CheckpointError::Unavailable { cause };
        let held = self.held;
        let head = self.begin().map_err(unavailable)?;
        let connection = self.connection.as_ref().ok_or_else(|| unavailable(Cause::new(WriterEnded)))?;
        let last = read::last_checkpoint(connection).map_err(|error| unavailable(Cause::new(error)))?;
        head.admits_checkpoint(held, last.map(|last| last.size), size)?;
        connection
            .prepare_cached(sql::PUT_CHECKPOINT)
            .and_then(|mut put| put.execute((i64::try_from(size).unwrap_or(i64::MAX), note)))
            .map_err(|error| unavailable(Cause::new(error)))?;
        Ok(())
    }

    /// Takes the write lock, on a new connection after a failure, and reads the head.
    fn begin(&mut self) -> Result<Head, Cause> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.connect(Side::Writer).map_err(Cause::new)?,
        };
        let connection = self.connection.insert(connection);
        let front = self.line.front(self.file.options.busy_timeout);
        let head = write::begin(connection)?;
        drop(front);
        Ok(head)
    }

    /// Makes the transaction durable.
    ///
    /// A failing write or sync leaves it unknown: a frame that reached the disk counts after a crash, whatever was said. A database that is full, busy or
    /// read-only did not write the last frame, which alone makes the others count, and has rolled back or does so when told.
    fn commit(&mut self) -> Result<(), Failure> {
        let Some(connection) = self.connection.take() else {
            return Err(Failure::NotStored(Cause::new(WriterEnded)));
        };
        match connection.execute_batch(sql::COMMIT) {
            Ok(_) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                let certain = was_refused(&error) && has_rolled_back(&connection);
                let cause = Cause::new(error);
                Err(if certain { Failure::NotStored(cause) } else { Failure::Unknown(cause) })
            }
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        locked(&self.recent)
    }

    /// Gives a transaction up before `COMMIT`, and the connection with it: what is wrong with it is not known.
    fn abandon(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Closing gives up the transaction too; this only lets others have the lock sooner.
            let _ = connection.execute_batch(sql::ROLLBACK);
        }
    }

    fn close(&mut self) {
        if let Some(connection) = mem::take(&mut self.connection) {
            // Everything acknowledged is durable; what closing would still do is moving the log into the file.
            let _ = connection.close();
        }
    }
}

impl Failure {
    /// The answer to a commit of the transaction that failed. One that was refused is certainly not stored, but its refusal may have rested on others that are
    /// not stored either.
    fn answers(&self, passed: bool) -> Result<Committed, CommitError> {
        Err(match self {
            Self::Unknown(cause) if passed => CommitError::Unknown { cause: cause.clone() },
            Self::Unknown(cause) | Self::NotStored(cause) => {
                CommitError::Unavailable { cause: cause.clone() }
            }
        })
    }
}

/// Rolls back, or finds that SQLite has done so by itself, as it does when the disk is full: `ROLLBACK` is an error then, and a transaction can begin.
fn has_rolled_back(connection: &Connection) -> bool {
    connection.execute_batch(sql::ROLLBACK).is_ok() || connection.execute_batch(sql::BEGIN_READING).is_ok()
}

/// Whether the database refused to write: busy, read-only or full.
fn was_refused(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DiskFull, ReadOnly};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DiskFull | ReadOnly))
}
