//! The control plane's side: questions about calls, answered by its engine.

use std::time::Duration;

use thiserror::Error;
use warrantor_decide::Presence;
use warrantor_ledger::VerifierKey;
use warrantor_model::{
    EnforcementPoint, Evidence, Finding, ReasonCode,
    record::{DefinitionsRecord, Outcome},
};
use warrantor_store::Store;

use super::{
    Answered, MAX_NAMES, MAX_TOOL, Question, Signed, Verified, WireCall, WirePermit, findings, outcome_of,
};
use crate::{Answer, Engine, Presented, Receipt, Stop};

/// A question that says something which is not so: it is the asker's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotOurs(String);

/// Whose permits a point may bring back.
struct Known<'a> {
    trusted: &'a [VerifierKey],
    point: &'a EnforcementPoint,
}

impl Known<'_> {
    /// The receipt, and whether what the permit rested on was stopped meanwhile, or that cannot be told.
    fn standing(&self, signed: Signed, stops: Option<Vec<Stop>>) -> Result<(Receipt, bool), NotOurs> {
        let verified = Verified::of_before(signed, self.trusted, self.point)
            .map_err(|cause| NotOurs(format!("the permit was not given out here: {cause}")))?;
        let permit =
            verified.permit().ok_or_else(|| NotOurs("what was given out here is no permit".to_owned()))?;
        let stopped = stops.is_none_or(|stops| stops.iter().any(|stop| permit.is_stopped_by(stop)));
        Ok((permit.receipt(), stopped))
    }

    /// The receipt of a permit that was given out to this very point.
    fn receipt(&self, signed: Signed) -> Result<Receipt, NotOurs> {
        self.standing(signed, None).map(|(receipt, _)| receipt)
    }
}

fn presented(call: &WireCall) -> Result<Presented, NotOurs> {
    call.presented().ok_or_else(|| NotOurs("there is no such sort of thing".to_owned()))
}

impl<S: Store> Engine<S> {
    /// Answers a question of an enforcement point about calls; those about bundles and mandates are answered elsewhere.
    ///
    /// # Errors
    /// [`NotOurs`]; nothing was done then.
    pub async fn answer(
        &self,
        question: Question,
        trusted: &[VerifierKey],
        point: &EnforcementPoint,
    ) -> Result<Answered, NotOurs> {
        let known = Known { trusted, point };
        Ok(match question {
            Question::Decide { call } => match self.authorize(&presented(&call)?).await {
                Answer::Permitted(permit) => match self.still(&permit) {
                    None => Answered::Permitted { permit: Box::new(WirePermit::of(&permit)) },
                    Some(finding) => Answered::from(&self.decline(permit, finding)),
                },
                Answer::Asked(decision, question) => Answered::Asked {
                    decision,
                    asked: question.asked,
                    findings: findings(&question.findings),
                },
                Answer::Refused(refused) => Answered::from(&refused),
            },
            Question::Would { call } => {
                let hindered = self.would(&presented(&call)?).await.err();
                let all = hindered.map(|refusal| findings(refusal.findings())).unwrap_or_default();
                Answered::Hindered { findings: all }
            }
            Question::List { mandate, server, evidence } => {
                let presence = Presence { server, evidence: Evidence::from(evidence) };
                let tools = self.listed(&mandate, &presence).await;
                Answered::Listed { tools: tools.iter().map(ToString::to_string).collect() }
            }
            Question::Stand { mandate, server, evidence } => {
                let presence = Presence { server, evidence: Evidence::from(evidence) };
                let hindered = self.stands(&mandate, &presence).await.err();
                Answered::Hindered { findings: hindered.iter().map(|finding| (&**finding).into()).collect() }
            }
            Question::Standing { question } => {
                let standing = self.standing_of(&question).await;
                Answered::Standing { standing: standing.map(|standing| standing.as_str().to_owned()) }
            }
            Question::Decline { permit } => {
                let receipt = known.receipt(permit)?;
                self.outcome(&receipt, Outcome::NotSent, Duration::ZERO).await;
                Answered::Done {}
            }
            Question::Outcome { permit, outcome, micros } => {
                let outcome =
                    outcome_of(&outcome).ok_or_else(|| NotOurs("there is no such outcome".to_owned()))?;
                let receipt = known.receipt(permit)?;
                self.outcome(&receipt, outcome, Duration::from_micros(micros)).await;
                Answered::Done {}
            }
            Question::TakeIn { permit, part, outcome, result, output, micros } => {
                let outcome =
                    outcome_of(&outcome).ok_or_else(|| NotOurs("there is no such outcome".to_owned()))?;
                if outcome == Outcome::NotSent || (outcome == Outcome::Shown) != part.is_some() {
                    return Err(NotOurs("a result is no such outcome".to_owned()));
                }
                let (receipt, stopped) = known.standing(permit, self.stops())?;
                let output =
                    output.output().ok_or_else(|| NotOurs("the structured content is no JSON".to_owned()))?;
                let took = Duration::from_micros(micros);
                if stopped {
                    // What it rested on was stopped while it ran: as at a gateway of this machine, nothing of it is shown any more.
                    if part.is_none() {
                        self.outcome(&receipt, Outcome::Withheld, took).await;
                    }
                    return Ok(Answered::Withheld {});
                }
                let taken = match part {
                    Some(number) => self.take_in_part(&receipt, number, result.as_bytes(), &output).await,
                    None => self.take_in(&receipt, outcome, result.as_bytes(), &output, took).await,
                };
                match taken {
                    Ok(()) => Answered::Done {},
                    Err(_) => Answered::Withheld {},
                }
            }
            Question::RefuseMethod { call } => Answered::from(&self.refuse_method(&presented(&call)?).await),
            Question::Definitions { server, changed, unknown, missing, instructions_withheld, said } => {
                if self.snapshot().manifest(&server).is_none() {
                    return Err(NotOurs(format!("the bundle describes no server {server}")));
                }
                for names in [&changed, &unknown, &missing] {
                    if names.len() > MAX_NAMES || names.iter().any(|name| name.len() > MAX_TOOL) {
                        return Err(NotOurs("these are more names than are recorded".to_owned()));
                    }
                }
                let record = DefinitionsRecord {
                    server: server.to_string(),
                    changed,
                    unknown,
                    missing,
                    instructions_withheld,
                };
                self.note_definitions(&server, record, said);
                Answered::Done {}
            }
            Question::Gap { since, lost, cause } => {
                self.note_gap(since, lost, &cause);
                Answered::Done {}
            }
            Question::Bundle { .. } | Question::Mandate { .. } | Question::Abandon { .. } => {
                return Err(NotOurs("this is no question about calls".to_owned()));
            }
        })
    }

    /// What took a permit back since it was decided, as far as this process knows: the last look at the stop file is made here, where the file is.
    fn still(&self, permit: &crate::Permit) -> Option<Finding> {
        match self.stops() {
            None => Some(Finding::new(ReasonCode::DecisionUnavailable, "the stop file cannot be read")),
            Some(stops) => stops.iter().find(|stop| permit.is_stopped_by(stop)).map(|stop| {
                Finding::new(
                    stop.subject.reason(),
                    format!("{} was stopped after the decision", stop.subject),
                )
                .by(stop.subject.to_string())
            }),
        }
    }
}
