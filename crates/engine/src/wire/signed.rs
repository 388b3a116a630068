//! Signed answers: made by a control plane for one question of one point, and verified by that point before anything comes of them.

use std::{str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::Instant;
use warrantor_ledger::{
    SigningKey, VerifierKey,
    note::{self, NoteError, SignError, UnverifiedNote},
};
use warrantor_model::{Digest, EnforcementPoint, Question as Questioned, Refusal, Subject};

use super::{Answered, WireFinding, WirePermit};
use crate::{Answer, Permit, Presented, Refused};

/// What the first line of the signed text says: the format and its version.
const FIRST: &str = "warrantor.answer/1";

/// An answer and the note that signs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The note (C2SP signed note): to whom, to which question, and the digest of the answer.
    pub note: String,
    /// The answer: JSON of [`Answered`].
    pub answer: String,
}

/// Why an answer is not one.
#[derive(Debug, Error)]
pub enum SignatureError {
    /// The note is malformed, or nobody who is trusted signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The signed text is of another form or version.
    #[error("what was signed is no answer of this version")]
    Form,
    /// It is made out to another enforcement point.
    #[error("the answer is made out to another enforcement point")]
    Point,
    /// It answers another question.
    #[error("the answer is to another question")]
    Question,
    /// The answer is not what was signed, or does not read.
    #[error("the answer is not what was signed: {0}")]
    Answer(String),
}

/// Why an answer could not be signed.
#[derive(Debug, Error)]
pub enum SigningError {
    /// The note.
    #[error(transparent)]
    Note(#[from] SignError),
    /// The answer has no JSON form. Our fault.
    #[error(transparent)]
    Encoding(#[from] serde_json::Error),
}

/// Signs an answer to the question of these bytes, for one point.
///
/// # Errors
/// [`SigningError`]; nothing is answered then.
pub fn sign(
    key: &SigningKey,
    point: &EnforcementPoint,
    question: &[u8],
    answered: &Answered,
) -> Result<Signed, SigningError> {
    let answer = serde_json::to_string(answered)?;
    let note = note::sign(&text(point, &Digest::of(question), &Digest::of(answer.as_bytes())), &[key])?;
    Ok(Signed { note, answer })
}

fn text(point: &EnforcementPoint, question: &Digest, answer: &Digest) -> String {
    format!("{FIRST}\n{point}\n{question}\n{answer}\n")
}

/// An answer whose signature, addressee and question were checked. There is no way to one but [`Verified::of`] and [`Verified::of_before`].
#[derive(Debug)]
pub struct Verified {
    answered: Answered,
    signed: Arc<Signed>,
}

impl Verified {
    /// Checks the answer to a question that this point just asked.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn of(
        signed: Signed,
        trusted: &[VerifierKey],
        point: &EnforcementPoint,
        question: &[u8],
    ) -> Result<Self, SignatureError> {
        let asked = Digest::of(question);
        Self::checked(signed, trusted, point, |question| *question == asked)
    }

    /// Checks an answer that was given out before, whatever it had answered: what a point brings back.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn of_before(
        signed: Signed,
        trusted: &[VerifierKey],
        point: &EnforcementPoint,
    ) -> Result<Self, SignatureError> {
        Self::checked(signed, trusted, point, |_| true)
    }

    fn checked(
        signed: Signed,
        trusted: &[VerifierKey],
        point: &EnforcementPoint,
        asked: impl FnOnce(&Digest) -> bool,
    ) -> Result<Self, SignatureError> {
        let note = UnverifiedNote::parse(signed.note.as_bytes())?.verify(trusted)?;
        let lines: Vec<&str> = note.text().lines().collect();
        let [FIRST, to, question, answer] = lines.as_slice() else { return Err(SignatureError::Form) };
        if *to != point.as_str() {
            return Err(SignatureError::Point);
        }
        let digest = |text: &str| Digest::from_str(text).map_err(|_| SignatureError::Form);
        if !asked(&digest(question)?) {
            return Err(SignatureError::Question);
        }
        if Digest::of(signed.answer.as_bytes()) != digest(answer)? {
            return Err(SignatureError::Answer("its digest is another".to_owned()));
        }
        let answered = serde_json::from_str(&signed.answer)
            .map_err(|cause| SignatureError::Answer(cause.to_string()))?;
        Ok(Self { answered, signed: Arc::new(signed) })
    }

    /// What was answered.
    #[must_use]
    pub fn answered(&self) -> &Answered {
        &self.answered
    }

    /// The permit that an answer gave out.
    pub(super) fn permit(&self) -> Option<&WirePermit> {
        match &self.answered {
            Answered::Permitted { permit } => Some(permit),
            _ => None,
        }
    }

    /// The answer to a call that was presented: a permit for the bytes that were presented and no others, good until an instant. None where it answers
    /// something else, or speaks of another tool.
    #[must_use]
    pub fn answer(&self, presented: &Presented, until: Instant) -> Option<Answer> {
        let findings = |all: &[WireFinding]| all.iter().cloned().map(WireFinding::finding).collect();
        match &self.answered {
            Answered::Permitted { permit } => {
                let named = permit.tool.server == presented.server
                    && permit.tool.tool.offer() == presented.offer
                    && permit.tool.tool.bare() == presented.tool;
                let uses = permit.uses.iter().map(|subject| subject.parse::<Subject>().ok());
                let (Some(uses), true) = (uses.collect(), named) else { return None };
                let mut receipt = permit.receipt();
                receipt.proof = Some(Arc::clone(&self.signed));
                Some(Answer::Permitted(Permit {
                    decision: permit.decision.clone(),
                    tool: permit.tool.clone(),
                    arguments: presented.arguments.clone(),
                    receipt: Box::new(receipt),
                    uses,
                    handed_over: permit.handed_over.clone(),
                    until: Some(until),
                }))
            }
            Answered::Asked { decision, asked, findings: all } => Some(Answer::Asked(
                decision.clone(),
                Questioned { asked: asked.clone(), findings: findings(all) },
            )),
            Answered::Refused { decision, findings: all } => Some(Answer::Refused(Refused {
                decision: decision.clone(),
                refusal: Refusal::new(findings(all)),
            })),
            _ => None,
        }
    }
}
