//! Signed answers: made by a control plane for one question of one point, and verified by that point before anything comes of them.

use std::{str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
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

    /// The answer to a call that was presented: a permit for the bytes that were presented and no others, good until then on the clock of the point's leases. None where it answers
    /// something else, or speaks of another tool.
    #[must_use]
    pub fn answer(&self, presented: &Presented, until: Duration) -> Option<Answer> {
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
                    arguments: match &permit.edited {
                        Some(edited) => edited.clone().into_bytes(),
                        None => presented.arguments.clone(),
                    },
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

#[cfg(test)]
mod tests {
    use warrantor_model::{Definition, Evidence, MandateId, Offer};

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("test/decisions".parse().unwrap(), [seed; 32].into()).unwrap()
    }

    fn point(name: &str) -> EnforcementPoint {
        name.parse().unwrap()
    }

    const QUESTION: &[u8] = br#"{"nonce":"1","question":{"ask":"bundle","have":null}}"#;

    fn signed() -> Signed {
        sign(&key(1), &point("eu"), QUESTION, &Answered::Done {}).unwrap()
    }

    #[test]
    fn an_answer_is_believed_by_its_point_for_its_question_as_it_was_signed() {
        let trusted = [key(1).verifier().clone()];
        let verified = Verified::of(signed(), &trusted, &point("eu"), QUESTION).unwrap();
        assert_eq!(*verified.answered(), Answered::Done {});
        // While keys change both are trusted.
        let both = [key(2).verifier().clone(), key(1).verifier().clone()];
        assert!(Verified::of(signed(), &both, &point("eu"), QUESTION).is_ok());
    }

    #[test]
    fn whatever_is_another_than_what_was_signed_is_not_believed() {
        let good = signed();
        let other = sign(&key(1), &point("eu"), QUESTION, &Answered::Withheld {}).unwrap();
        let trusted = [key(1).verifier().clone()];
        let check = |signed: Signed, trusted: &[VerifierKey], to: &str, question: &[u8], part: &str| {
            let cause = Verified::of(signed, trusted, &point(to), question).unwrap_err().to_string();
            assert!(cause.contains(part), "{cause}");
        };
        check(good.clone(), &trusted, "us", QUESTION, "another enforcement point");
        check(good.clone(), &trusted, "eu", b"{}", "another question");
        check(good.clone(), &[key(2).verifier().clone()], "eu", QUESTION, "no trusted key");
        check(good.clone(), &[], "eu", QUESTION, "no trusted key");
        let swapped = Signed { answer: other.answer, ..good.clone() };
        check(swapped, &trusted, "eu", QUESTION, "its digest is another");
        let edited = Signed { note: good.note.replacen("eu", "us", 1), ..good.clone() };
        check(edited, &trusted, "us", QUESTION, "changed or forged");
        let unsigned = Signed { note: String::new(), ..good.clone() };
        check(unsigned, &trusted, "eu", QUESTION, "no signatures");
        // Another text that the same key signed is no answer, whatever it says.
        for text in ["warrantor.answer/2\neu\na\nb\n", "warrantor.answer/1\neu\nx\ny\n", "log\n1\nabc\n"] {
            let note = note::sign(text, &[&key(1)]).unwrap();
            check(Signed { note, ..good.clone() }, &trusted, "eu", QUESTION, "no answer of this version");
        }
        let text = text(&point("eu"), &Digest::of(QUESTION), &Digest::of(b"{\"answer\":\"later\"}"));
        let note = note::sign(&text, &[&key(1)]).unwrap();
        let later = Signed { note, answer: "{\"answer\":\"later\"}".to_owned() };
        check(later, &trusted, "eu", QUESTION, "unknown variant");
    }

    fn permit() -> WirePermit {
        serde_json::from_value(serde_json::json!({
            "decision": "d1", "task": "t1", "tool": "bank/send_money", "owner": "alice",
            "charges": [{ "add": { "counter": "limit/m1", "amount": "1.10", "at_most": "7" } }],
            "markers": [], "tracking": [[true, { "unique": { "member": "x", "observed": false } }]],
            "failure": "atomic", "obligations": [{ "redact": "a/b" }, { "label": "x" }, { "cap": 7 }],
            "uses": ["agent:bot", "server:bank", "deployment"], "handed_over": [["pay", "2030-01-01T00:00:00Z"]],
        }))
        .unwrap()
    }

    fn presented(tool: &str) -> Presented {
        Presented {
            method: "tools/call".to_owned(),
            mandate: MandateId::new("m1").unwrap(),
            server: "bank".parse().unwrap(),
            offer: Offer::Tool,
            tool: tool.to_owned(),
            arguments: b"{}".to_vec(),
            evidence: Evidence::Token { name: "laptop".to_owned() },
            definition: Definition::AsPinned,
        }
    }

    fn verified(permit: WirePermit) -> Verified {
        let trusted = [key(1).verifier().clone()];
        let signed =
            sign(&key(1), &point("eu"), QUESTION, &Answered::Permitted { permit: Box::new(permit) }).unwrap();
        Verified::of(signed, &trusted, &point("eu"), QUESTION).unwrap()
    }

    #[test]
    fn a_permit_is_for_the_bytes_that_were_presented_and_for_a_moment() {
        let verified = verified(permit());
        let now = Duration::from_secs(7);
        let until = now + Duration::from_millis(800);
        for other in ["list_payees", "prompt:send_money", ""] {
            assert!(verified.answer(&presented(other), until).is_none(), "{other}");
        }
        let Some(Answer::Permitted(permit)) = verified.answer(&presented("send_money"), until) else {
            panic!("no permit")
        };
        assert_eq!(permit.receipt().obligations().len(), 3);
        assert!(permit.receipt().proof().is_some());
        let late = permit.release_by_age(until).unwrap_err();
        let release = late.release_by_age(now).unwrap();
        assert_eq!(
            (release.arguments(), release.tool().to_string()),
            (&b"{}"[..], "bank/send_money".to_owned())
        );
    }

    #[test]
    fn a_permit_comes_back_as_it_went_out() {
        let text = serde_json::to_string(&permit()).unwrap();
        assert_eq!(serde_json::from_str::<WirePermit>(&text).unwrap(), permit());
        let nothing = WirePermit { uses: ["nobody:x".to_owned()].into(), ..permit() };
        let until = Duration::from_secs(7);
        assert!(
            verified(nothing).answer(&presented("send_money"), until).is_none(),
            "a subject that is not known"
        );
    }
}
