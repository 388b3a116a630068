//! What could not be recorded in time: kept, and recorded when the log works again.
//!
//! A refusal takes effect whether or not the log works; it waits here. A pass whose commit neither succeeded nor certainly failed gave no
//! permit; it waits here too, to be looked up and closed. What does not fit is counted, and the count is recorded.

use std::{collections::VecDeque, time::Duration};

use warrantor_decide::Charge;
use warrantor_model::{
    Timestamp,
    record::{Event, GapRecord, Outcome, OutcomeRecord, Record, Verdict},
};
use warrantor_store::{Commit, CommitError, Store};

use crate::charges;

/// Most commits kept. A commit is a record of at most 64 KiB and a body within the engine's bound.
const MAX_PENDING: usize = 512;

/// Where the gap is written, and how long each write may take.
pub(crate) struct Sink<'a, S> {
    pub(crate) store: &'a S,
    pub(crate) deadline: Duration,
    pub(crate) now: Timestamp,
}

/// Why something kept was not written.
enum Failure {
    /// The store fails now.
    Later(String),
    /// No store will ever take it.
    Never(String),
}

impl<S: Store> Sink<'_, S> {
    async fn commit(&self, commit: Commit) -> Result<(), Failure> {
        match tokio::time::timeout(self.deadline, self.store.commit(commit)).await {
            Err(_) => Err(Failure::Later("the store did not answer in time".to_owned())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(
                cause @ (CommitError::Unavailable { .. }
                | CommitError::Unknown { .. }
                | CommitError::Fenced { .. }),
            )) => Err(Failure::Later(cause.to_string())),
            Ok(Err(cause)) => Err(Failure::Never(cause.to_string())),
        }
    }

    /// Commits what may have been committed before.
    async fn commit_once(&self, commit: Commit) -> Result<(), Failure> {
        match self.find(&commit.record.id).await? {
            Some(_) => Ok(()),
            None => self.commit(commit).await,
        }
    }

    /// The verdict under which a decision is recorded; `None` when it is not.
    async fn find(&self, id: &str) -> Result<Option<Option<Verdict>>, Failure> {
        let found = tokio::time::timeout(self.deadline, self.store.find(id))
            .await
            .map_err(|_| Failure::Later("the store did not answer in time".to_owned()))?
            .map_err(|cause| Failure::Later(cause.to_string()))?;
        let verdict = |bytes: &[u8]| match Record::from_bytes(bytes).map(|record| record.event) {
            Ok(Event::Decision(decision)) => Some(decision.verdict),
            _ => None,
        };
        Ok(found.map(|stored| verdict(&stored.bytes)))
    }

    async fn write(&self, pending: &Pending) -> Result<(), Failure> {
        let (commit, charges) = match pending {
            Pending::Plain(commit) => return self.commit_once((**commit).clone()).await,
            Pending::Uncertain { commit, charges } => (commit, charges),
        };
        let id = &commit.record.id;
        if self.find(id).await?.is_none()
            && let Err(cause) = self.commit(refused((**commit).clone())).await
            // The pass may have arrived between the look and the commit.
            && (matches!(cause, Failure::Later(_)) || self.find(id).await?.is_none())
        {
            return Err(cause);
        }
        // Only a pass charged anything. A refusal of this id is one that was written here before, when the answer got lost.
        match self.find(id).await? {
            Some(Some(Verdict::Pass)) => self.commit_once(abandoned(id, charges, self.now)).await,
            _ => Ok(()),
        }
    }
}

/// Something to record later.
#[derive(Debug, Clone)]
pub(crate) enum Pending {
    /// As it is.
    Plain(Box<Commit>),
    /// A pass that may have been stored: if it was, it is closed as not sent and its charges given back; if not, it is recorded as the refusal
    /// that the caller got.
    Uncertain {
        /// The commit that was tried.
        commit: Box<Commit>,
        /// What it charged.
        charges: Vec<Charge>,
    },
}

impl Pending {
    fn is_refusal(&self) -> bool {
        match self {
            Self::Plain(commit) => matches!(commit.record.event, Event::Decision(_)),
            Self::Uncertain { .. } => false,
        }
    }
}

/// The gap, when there is one.
#[derive(Debug, Default)]
pub(crate) struct Gap {
    since: Option<Timestamp>,
    cause: String,
    lost: u64,
    pending: VecDeque<Pending>,
}

impl Gap {
    pub(crate) fn is_open(&self) -> bool {
        self.since.is_some()
    }

    /// How many records are missing, and what was failing; none when nothing is.
    pub(crate) fn missing(&self) -> Option<(u64, String)> {
        let kept = u64::try_from(self.pending.len()).unwrap_or(u64::MAX);
        self.is_open().then(|| (kept.saturating_add(self.lost), self.cause.clone()))
    }

    pub(crate) fn keep(&mut self, pending: Pending, at: Timestamp, cause: String) {
        self.since.get_or_insert(at);
        self.cause = cause;
        self.pending.push_back(pending);
        self.bound();
    }

    /// Drops what does not fit: refusals first, which changed nothing, so that no flood of them pushes out what became of an effect.
    fn bound(&mut self) {
        while self.pending.len() > MAX_PENDING {
            let refusal = self.pending.iter().position(Pending::is_refusal);
            self.pending.remove(refusal.unwrap_or(0));
            self.lost = self.lost.saturating_add(1);
        }
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Puts back what could not be written, before what came meanwhile.
    pub(crate) fn restore(&mut self, mut older: Self) {
        older.lost = older.lost.saturating_add(self.lost);
        older.pending.append(&mut self.pending);
        older.bound();
        if older.since.is_none() {
            older.since = self.since;
        }
        *self = older;
    }

    /// Records the gap and everything kept. Stops at the first failure of the store, with the rest still in the gap; what no store would
    /// take is counted as lost.
    pub(crate) async fn write<S: Store>(&mut self, sink: &Sink<'_, S>, id: &str) -> Result<(), String> {
        if self.since.is_some() {
            self.tell(sink, id).await?;
        }
        while let Some(pending) = self.pending.pop_front() {
            match sink.write(&pending).await {
                Ok(()) => {}
                Err(Failure::Never(cause)) => {
                    self.lost = self.lost.saturating_add(1);
                    self.cause = cause;
                    self.since.get_or_insert(sink.now);
                }
                Err(Failure::Later(cause)) => {
                    self.pending.push_front(pending);
                    self.since = Some(sink.now);
                    return Err(cause);
                }
            }
        }
        if self.lost > 0 { self.tell(sink, &format!("{id}.lost")).await } else { Ok(()) }
    }

    async fn tell<S: Store>(&mut self, sink: &Sink<'_, S>, id: &str) -> Result<(), String> {
        let event = Event::AuditGap(GapRecord {
            since: self.since.unwrap_or(sink.now),
            lost: self.lost,
            cause: self.cause.chars().take(500).collect(),
        });
        match sink.commit(Commit::new(Record::new(id, sink.now, event))).await {
            Ok(()) => {
                self.since = None;
                self.lost = 0;
                Ok(())
            }
            Err(Failure::Later(cause) | Failure::Never(cause)) => {
                self.since.get_or_insert(sink.now);
                Err(cause)
            }
        }
    }
}

/// The outcome of a pass that was stored after all and never released.
pub(crate) fn abandoned(decision: &str, charges: &[Charge], now: Timestamp) -> Commit {
    let event = Event::Outcome(OutcomeRecord {
        decision: decision.to_owned(),
        outcome: Outcome::NotSent,
        body: None,
        bytes: 0,
        given_back: charges::names(charges),
        micros: 0,
        labels: Vec::new(),
    });
    let mut commit = Commit::new(Record::new(format!("{decision}.outcome"), now, event));
    commit.linked_to = Some(decision.to_owned());
    charges::give_back(charges, &mut commit);
    commit
}

/// The refusal that a caller got whose pass was not stored.
fn refused(mut commit: Commit) -> Commit {
    if let Event::Decision(decision) = &mut commit.record.event {
        decision.verdict = Verdict::Deny;
        decision.reasons.push(warrantor_model::record::ReasonRecord {
            code: warrantor_model::ReasonCode::AuditUnavailable,
            hop: None,
            subject: None,
            observed: false,
        });
        decision.limits.iter_mut().for_each(|limit| limit.charged = None);
        decision.approval.iter_mut().for_each(|approval| approval.used = false);
    }
    Commit { body: commit.body, linked_to: None, ..Commit::new(commit.record) }
}

#[cfg(test)]
mod tests {
    use warrantor_model::record::LedgerRecord;
    use warrantor_store::MemoryStore;

    use super::*;

    fn plain(id: String) -> Pending {
        let at = Timestamp::from_micros(1);
        Pending::Plain(Box::new(Commit::new(Record::new(
            id,
            at,
            Event::Ledger(LedgerRecord::Quiet { since: at }),
        ))))
    }

    #[tokio::test]
    async fn what_no_store_takes_is_counted_and_keeps_nothing_else_from_being_written() {
        let (store, now) = (MemoryStore::new(), Timestamp::from_micros(9));
        let mut gap = Gap::default();
        for id in ["before".to_owned(), "x".repeat(70_000), "after".to_owned()] {
            gap.keep(plain(id), now, "the disk is full".to_owned());
        }
        let sink = Sink { store: &store, deadline: Duration::from_secs(1), now };
        gap.write(&sink, "g1").await.unwrap();
        assert!(!gap.is_open() && gap.pending.is_empty() && gap.lost == 0);
        let rows = store.records(0, 10).await.unwrap();
        let written = rows.iter().map(|row| Record::from_bytes(&row.bytes).unwrap());
        let written: Vec<(String, Option<u64>)> = written
            .map(|record| match record.event {
                Event::AuditGap(gap) => (record.id, Some(gap.lost)),
                _ => (record.id, None),
            })
            .collect();
        let expected = [("g1", Some(0)), ("before", None), ("after", None), ("g1.lost", Some(1))];
        assert_eq!(written, expected.map(|(id, lost)| (id.to_owned(), lost)));
    }
}
