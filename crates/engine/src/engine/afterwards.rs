//! After the decision: the last look, and what became of the call.

use std::time::Duration;

use warrantor_decide::Charge;
use warrantor_model::{
    Failure, Finding, PersonId, ReasonCode, Refusal, Subject,
    record::{Event, Outcome, OutcomeRecord, Record},
};
use warrantor_store::{Commit, Insert, Key, Store};

use super::{Engine, Refused};
use crate::{
    charges,
    gap::abandoned,
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
                let code = match &subject {
                    Subject::Deployment => ReasonCode::Lockdown,
                    Subject::Agent(_) => ReasonCode::AgentInactive,
                    Subject::Person(_) => ReasonCode::PersonInactive,
                    Subject::Mandate(_) | Subject::Template(_) => ReasonCode::MandateRevoked,
                };
                let finding = Finding::new(code, format!("{subject} was stopped after the decision"))
                    .by(subject.to_string());
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

    /// Records what became of a released call. Charges are given back when no byte was sent, or when the tool reported a failure that its manifest
    /// calls atomic.
    pub async fn outcome(&self, receipt: &Receipt, outcome: Outcome, result: &[u8], took: Duration) {
        let gives_back =
            outcome == Outcome::NotSent || (outcome == Outcome::Failed && receipt.failure == Failure::Atomic);
        let charges: &[Charge] = if gives_back { &receipt.charges } else { &[] };
        let owner = receipt.owner.as_deref().and_then(|owner| PersonId::new(owner).ok());
        let patience = self.0.parts.settings.commit_deadline;
        let body = match result {
            [] => None,
            result => self.seal_if_possible(owner.as_ref(), result, patience).await,
        };
        let now = self.0.parts.clock.now();
        let event = Event::Outcome(OutcomeRecord {
            decision: receipt.decision.to_string(),
            outcome,
            body: body.as_ref().map(|body| body.commitment),
            bytes: u64::try_from(result.len()).unwrap_or(u64::MAX),
            given_back: charges::names(charges),
            micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        });
        let mut commit = Commit::new(Record::new(format!("{}.outcome", receipt.decision), now, event));
        commit.linked_to = Some(receipt.decision.to_string());
        commit.body = body;
        charges::give_back(charges, &mut commit);
        if outcome == Outcome::Succeeded {
            commit.inserts.extend(receipt.markers.iter().filter_map(|marker| {
                Some(Insert { member: Key::new(marker.clone()).ok()?, must_be_new: false, counted: None })
            }));
        }
        self.record_or_keep(commit, self.0.parts.settings.commit_deadline).await;
    }

    /// [`Engine::outcome`] in the background; [`Engine::settle`] waits for it.
    pub fn outcome_later(&self, receipt: Receipt, outcome: Outcome, result: Vec<u8>, took: Duration) {
        let engine = self.clone();
        self.spawn(async move { engine.outcome(&receipt, outcome, &result, took).await });
    }
}
