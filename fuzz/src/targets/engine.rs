//! What goes between an enforcement point and the control plane: questions of points, and answers that anybody may
//! have put in their place.

use serde_json::{from_slice, to_string};
use warrantor_engine::wire::{Asked, Question, Signed, Verified, WireCall};
use warrantor_ledger::note::VerifierKey;
use warrantor_model::EnforcementPoint;

use crate::Reading;

/// The key that the seeds are signed with, to the point `eu` and the question [`QUESTION`]
/// (`fuzz/examples/seeds.rs`).
const KEY: &str = "example.com/decisions+5c22d2de+Af0XJDhaoMdbZPt4zWAvodmR/ev3axPFjtcC6sg16fYY";
/// The question that the seeds answer.
const QUESTION: &[u8] = br#"{"nonce":"1","question":{"ask":"bundle","have":null}}"#;

/// A question that is read says the same again, a call that is decided is the one that was asked about, and nothing
/// that is brought back is believed without a trusted key.
pub(crate) fn question(bytes: &[u8]) -> Reading {
    let read = from_slice::<Asked>(bytes);
    let Ok(asked) = &read else { return Reading::Refused };
    let written = to_string(asked).unwrap_or_default();
    let again = from_slice::<Asked>(written.as_bytes()).ok().and_then(|again| to_string(&again).ok());
    assert_eq!(again.as_deref(), Some(&*written), "a question reads back as another");
    match &asked.question {
        Question::Decide { call } | Question::Would { call } | Question::RefuseMethod { call } => {
            presented(call)
        }
        Question::Decline { permit } | Question::Outcome { permit, .. } | Question::TakeIn { permit, .. } => {
            if let Ok(point) = "eu".parse::<EnforcementPoint>() {
                assert!(
                    Verified::of_before(permit.clone(), &[], &point).is_err(),
                    "believed without a trusted key"
                );
            }
        }
        _ => {}
    }
    Reading::of(&read)
}

fn presented(call: &WireCall) {
    let Some(presented) = call.presented() else { return };
    let again = WireCall::of(&presented, call.bundle).and_then(|again| to_string(&again).ok());
    assert_eq!(again, to_string(call).ok(), "another call than was asked about would be decided");
}

/// An answer is believed only if its key is trusted, and then by its own point for its own question alone.
pub(crate) fn answer(bytes: &[u8]) -> Reading {
    let Ok(signed) = from_slice::<Signed>(bytes) else { return Reading::Refused };
    let (Ok(key), Ok(eu), Ok(us)) = (KEY.parse::<VerifierKey>(), "eu".parse(), "us".parse()) else {
        return Reading::Refused;
    };
    let trusted = [key];
    let signed_before = Verified::of_before(signed.clone(), &trusted, &eu).is_ok();
    assert!(Verified::of(signed.clone(), &[], &eu, QUESTION).is_err(), "believed without a trusted key");
    assert!(Verified::of_before(signed.clone(), &trusted, &us).is_err(), "believed by another point");
    assert!(Verified::of(signed.clone(), &trusted, &eu, b"{}").is_err(), "believed for another question");
    let text = signed.answer.clone();
    let verified = Verified::of(signed, &trusted, &eu, QUESTION);
    if let Ok(verified) = &verified {
        assert!(signed_before, "believed when it comes, and not when it is brought back");
        assert!(
            to_string(verified.answered()).is_ok_and(|said| said == text),
            "what is believed is not what was signed"
        );
    }
    Reading::of(&verified)
}
