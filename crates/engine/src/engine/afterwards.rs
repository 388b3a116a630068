//! After the decision: the last look, and what became of the call.

use std::time::Duration;

use warrantor_decide::{Charge, Output};
use warrantor_model::{
    Failure, Finding, ReasonCode, Refusal,
    record::{Event, Outcome, OutcomeRecord, Record},
};
use warrantor_store::{Commit, Insert, Key, Store};

use super::{Engine, Refused};
use crate::{
    charges,
    gap::abandoned,
    history::{StoredEvent, Written},
    keys,
    permit::{Permit, Receipt, Release},
};

impl<S: Store> Engine<S> {
    /// The last look: reads the stop file, and gives what can be sent.
    ///
    /// # Errors
    /// The refusal, when something the permit rests on was stopped meanwhile or the stop file cannot be read. The charges are given back.
    pub fn release(&self, permit: Permit) -> Result<Release, Box<Refused>> {
        let stopped = match self.0.parts.stop.read() {
            Ok(stops) => stops.into_iter().find(|stop| permit.is_stopped_by(stop)).map(|stop| stop.subject),
            Err(cause) => {
                let finding = Finding::new(ReasonCode::DecisionUnavailable, cause.to_string());
                return Err(Box::new(self.take_back(&permit, finding)));
            }
        };
        match stopped {
            None => Ok(Release { tool: permit.tool, arguments: permit.arguments, receipt: permit.receipt }),
            Some(subject) => {
                let detail = format!("{subject} was stopped after the decision");
                let finding = Finding::new(subject.reason(), detail).by(subject.to_string());
                Err(Box::new(self.take_back(&permit, finding)))
            }
        }
    }

    /// Gives a permit up: nothing was sent under it, and what it charged is given back.
    #[must_use]
    pub fn decline(&self, permit: Permit, finding: Finding) -> Refused {
        let refused = self.take_back(&permit, finding);
        // Used up: nothing can be released under it any more.
        drop(permit);
        refused
    }

    fn take_back(&self, permit: &Permit, finding: Finding) -> Refused {
        let refused = Refused { decision: permit.decision.clone(), refusal: Refusal::new(vec![finding]) };
        let commit = abandoned(permit.decision.as_str(), &permit.receipt.charges, self.0.parts.clock.now());
        let engine = self.clone();
        self.spawn(async move {
            engine.record_or_keep(commit, engine.0.parts.settings.commit_deadline).await;
        });
        refused
    }

    /// Records what became of a released call of which nothing is shown. Charges are given back when no byte was sent.
    pub async fn outcome(&self, receipt: &Receipt, outcome: Outcome, took: Duration) {
        self.record_outcome(receipt, outcome, &[], None, took).await;
    }

    /// Takes in a result before it is shown: records what became of the call, joins the labels that the result brings, and makes it a part of the
    /// task's history. Charges are given back when the tool reported a failure that its manifest calls atomic.
    ///
    /// # Errors
    /// [`Withheld`] when it could not be taken in. It must not be shown then: what the agent has seen and the history does not know would pass for the
    /// agent's own.
    pub async fn take_in(
        &self,
        receipt: &Receipt,
        outcome: Outcome,
        result: &[u8],
        output: &Output,
        took: Duration,
    ) -> Result<(), Withheld> {
        let event = StoredEvent::result(receipt.decision.as_str(), &receipt.tool, output);
        let written = self.written_of(receipt, &event).await;
        let known = written.is_some();
        let recorded = self.record_outcome(receipt, outcome, result, written, took).await;
        if known && recorded { Ok(()) } else { Err(Withheld) }
    }

    /// Takes in a part of the answer that is shown before its end, the `number`th of the call: what a server asks or tells meanwhile is as much a part
    /// of the history as its result.
    ///
    /// # Errors
    /// [`Withheld`] as in [`Engine::take_in`].
    pub async fn take_in_part(
        &self,
        receipt: &Receipt,
        number: u32,
        part: &[u8],
        output: &Output,
    ) -> Result<(), Withheld> {
        let name = format!("{}.part{number}", receipt.decision);
        let event = StoredEvent::result(&name, &receipt.tool, output);
        let written = self.written_of(receipt, &event).await.ok_or(Withheld)?;
        let patience = self.0.parts.settings.commit_deadline;
        let body = self.seal_if_possible(receipt.owner.as_ref(), part, patience).await;
        let record = OutcomeRecord {
            decision: receipt.decision.to_string(),
            outcome: Outcome::Shown,
            body: body.as_ref().map(|body| body.commitment),
            bytes: u64::try_from(part.len()).unwrap_or(u64::MAX),
            given_back: Vec::new(),
            micros: 0,
            labels: written.event.labels().into_iter().chain(receipt.labels().cloned()).collect(),
        };
        let mut commit = Commit::new(Record::new(name, self.0.parts.clock.now(), Event::Outcome(record)));
        commit.linked_to = Some(receipt.decision.to_string());
        commit.body = body;
        if self.commit_result(receipt, commit, Some(written)).await { Ok(()) } else { Err(Withheld) }
    }

    /// A result's event, ready to be committed.
    async fn written_of(&self, receipt: &Receipt, event: &StoredEvent) -> Option<Written> {
        let owner = receipt.owner.as_ref()?;
        let written = self.written_for(&receipt.task, owner, event);
        tokio::time::timeout(self.0.parts.settings.commit_deadline, written).await.ok()?.ok()
    }

    /// Whether everything is durable.
    async fn record_outcome(
        &self,
        receipt: &Receipt,
        outcome: Outcome,
        result: &[u8],
        written: Option<Written>,
        took: Duration,
    ) -> bool {
        let gives_back =
            outcome == Outcome::NotSent || (outcome == Outcome::Failed && receipt.failure == Failure::Atomic);
        let charges: &[Charge] = if gives_back { &receipt.charges } else { &[] };
        let patience = self.0.parts.settings.commit_deadline;
        let body = match result {
            [] => None,
            result => self.seal_if_possible(receipt.owner.as_ref(), result, patience).await,
        };
        let now = self.0.parts.clock.now();
        let mut labels = written.as_ref().map(|written| written.event.labels()).unwrap_or_default();
        labels.extend(written.iter().flat_map(|_| receipt.labels().cloned()));
        let event = Event::Outcome(OutcomeRecord {
            decision: receipt.decision.to_string(),
            outcome,
            body: body.as_ref().map(|body| body.commitment),
            bytes: u64::try_from(result.len()).unwrap_or(u64::MAX),
            given_back: charges::names(charges),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            labels: labels.into_iter().collect(),
        });
        let mut commit = Commit::new(Record::new(format!("{}.outcome", receipt.decision), now, event));
        commit.linked_to = Some(receipt.decision.to_string());
        commit.body = body;
        charges::give_back(charges, &mut commit);
        charges::count(&receipt.tracking, outcome, &mut commit);
        if outcome == Outcome::Succeeded {
            commit.inserts.extend(receipt.markers.iter().filter_map(|marker| {
                Some(Insert { member: Key::new(marker.clone()).ok()?, must_be_new: false, counted: None })
            }));
        }
        self.commit_result(receipt, commit, written).await
    }

    /// Commits what a result adds to its task's history. Whether everything is durable.
    async fn commit_result(&self, receipt: &Receipt, mut commit: Commit, written: Option<Written>) -> bool {
        let patience = self.0.parts.settings.commit_deadline;
        let _adding = written.as_ref().map(|_| self.adding(&receipt.task));
        let gone = match &written {
            Some(written) => {
                // A label that cannot be taken on keeps the result from being shown.
                for label in receipt.labels() {
                    let Ok(member) = keys::task_label(&receipt.task, label) else { return false };
                    commit.inserts.push(Insert { member, must_be_new: false, counted: None });
                }
                match self.add_event(&mut commit, &receipt.task, written) {
                    Ok(gone) => gone,
                    Err(_) => return false,
                }
            }
            None => Vec::new(),
        };
        let committed = self.record_or_keep(commit, patience).await;
        match (written, committed) {
            (Some(written), Some(committed)) => {
                self.happened(&receipt.task, committed.revision, written, &gone);
                true
            }
            (_, committed) => committed.is_some(),
        }
    }

    /// [`Engine::outcome`] in the background; [`Engine::settle`] waits for it.
    pub fn outcome_later(&self, receipt: Receipt, outcome: Outcome, took: Duration) {
        let engine = self.clone();
        self.spawn(async move { engine.outcome(&receipt, outcome, took).await });
    }
}

/// A result could not be taken into its task's history, and so must not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result could not be recorded")]
pub struct Withheld;
