//! What could not be recorded in time: kept, and recorded when the log works again.
//!
//! A refusal takes effect whether or not the log works; it waits here. A pass whose commit neither succeeded nor certainly failed gave no
//! permit; it waits here too, to be looked up and closed. What does not fit is counted, and the count is recorded.

use std::collections::VecDeque;

use warrantor_decide::Charge;
use warrantor_model::{
    Timestamp,
    record::{Event, GapRecord, Outcome, OutcomeRecord, Record, Verdict},
};
use warrantor_store::{Commit, Store};

use crate::charges;

/// Most commits kept. At 64 KiB each that bounds memory to what a process can spare.
const MAX_PENDING: usize = 512;

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
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.pending.push_back(pending);
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Puts back what could not be written, before what came meanwhile.
    pub(crate) fn restore(&mut self, mut older: Self) {
        older.lost = older.lost.saturating_add(self.lost);
        older.pending.append(&mut self.pending);
        while older.pending.len() > MAX_PENDING {
            older.pending.pop_front();
            older.lost = older.lost.saturating_add(1);
        }
        if older.since.is_none() {
            older.since = self.since;
        }
        *self = older;
    }

    /// Records the gap and everything kept. Stops at the first failure, with the rest still in the gap.
    pub(crate) async fn write<S: Store>(
        &mut self,
        store: &S,
        id: String,
        now: Timestamp,
    ) -> Result<(), String> {
        if let Some(since) = self.since {
            let event = Event::AuditGap(GapRecord {
                since,
                lost: self.lost,
                cause: self.cause.chars().take(500).collect(),
            });
            store
                .commit(Commit::new(Record::new(id, now, event)))
                .await
                .map_err(|cause| cause.to_string())?;
            self.since = None;
            self.lost = 0;
        }
        while let Some(pending) = self.pending.pop_front() {
            if let Err(cause) = write_one(store, &pending, now).await {
                self.pending.push_front(pending);
                self.since = Some(now);
                return Err(cause);
            }
        }
        Ok(())
    }
}

async fn write_one<S: Store>(store: &S, pending: &Pending, now: Timestamp) -> Result<(), String> {
    let commit = match pending {
        Pending::Plain(commit) => (**commit).clone(),
        Pending::Uncertain { commit, charges } => {
            let id = commit.record.id.clone();
            match store.find(&id).await.map_err(|cause| cause.to_string())? {
                Some(_) => abandoned(&id, charges, now),
                None => refused((**commit).clone()),
            }
        }
    };
    match store.commit(commit).await {
        Ok(_) | Err(warrantor_store::CommitError::AlreadyRecorded { .. }) => Ok(()),
        Err(cause) => Err(cause.to_string()),
    }
}

/// The outcome of a pass that was stored after all and never released.
pub(crate) fn abandoned(decision: &str, charges: &[Charge], now: Timestamp) -> Commit {
    let event = Event::Outcome(OutcomeRecord {
        decision: decision.to_owned(),
        outcome: Outcome::NotSent,
        body: None,
        bytes: 0,
        given_back: charges.iter().map(charges::name).collect(),
        micros: 0,
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
    }
    Commit { body: commit.body, linked_to: None, ..Commit::new(commit.record) }
}
