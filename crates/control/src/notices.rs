//! Notices of questions for programs elsewhere, such as a bridge to a chat system: that somebody is asked, and what came of it.
//!
//! They say which question it is and where it is answered, and nothing of the call but the names of agent and tool: whoever reads a channel is not whoever is
//! asked. They are made and signed as the Standard Webhooks specification says (version 1, symmetric), so that receivers need no code of ours. A notice is told
//! at least once, under one id: a control plane that began again tells anew what still waits.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use thiserror::Error;
use warrantor_engine::approvals::QuestionStanding;
use warrantor_model::{DecisionId, Timestamp};

use crate::approvals::AskedQuestion;

/// Fewest bytes of a secret.
const MIN_SECRET: usize = 24;
/// Most bytes of a secret.
const MAX_SECRET: usize = 512;
/// What secrets are written with.
const PREFIX: &str = "whsec_";

/// A secret that is none.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "a secret of notices is `whsec_` and {MIN_SECRET} to {MAX_SECRET} bytes in base64, such as `openssl rand -base64 32` gives"
)]
pub struct SecretError;

/// What notices to one receiver are signed with.
pub struct Signing(hmac::Key);

impl Signing {
    /// The secret as it is written: `whsec_` and base64.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn read(text: &str) -> Result<Self, SecretError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SecretError)?;
        let secret = BASE64_STANDARD.decode(encoded).map_err(|_| SecretError)?;
        match (MIN_SECRET..=MAX_SECRET).contains(&secret.len()) {
            true => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))),
            false => Err(SecretError),
        }
    }

    /// The signature of a notice that is sent at an instant, as its header says it. A receiver that compares the time takes no notice that is sent again later.
    #[must_use]
    pub fn signature(&self, notice: &Notice, sent_at: u64) -> String {
        let signed = format!("{}.{sent_at}.{}", notice.id, notice.body);
        format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&self.0, signed.as_bytes())))
    }
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its id, the same however often it is sent.
    pub id: String,
    /// JSON.
    pub body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    question: &'a str,
    state: QuestionStanding,
    agent: &'a str,
    tool: &'a str,
    /// Who has to answer still.
    asked: &'a [String],
    until: Timestamp,
    /// Where it is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// What was told of the questions that are open.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<DecisionId, QuestionStanding>);

impl Told {
    /// The notices that are due, now that these questions are open. What was told of and is open no more is to be looked at and told of with [`Told::settled`].
    pub fn open(
        &mut self,
        open: &[AskedQuestion],
        page: Option<&str>,
        now: Timestamp,
    ) -> (Vec<Notice>, Vec<DecisionId>) {
        let mut due = Vec::new();
        for question in open {
            if self.0.get(&question.id) != Some(&question.state) {
                due.extend(notice(question, page, now));
                self.0.insert(question.id.clone(), question.state);
            }
        }
        let open: BTreeSet<&DecisionId> = open.iter().map(|question| &question.id).collect();
        let gone = self.0.keys().filter(|id| !open.contains(id)).cloned().collect();
        (due, gone)
    }

    /// The notice of a question that is open no more.
    pub fn settled(
        &mut self,
        question: &AskedQuestion,
        page: Option<&str>,
        now: Timestamp,
    ) -> Option<Notice> {
        self.0.remove(&question.id)?;
        notice(question, page, now)
    }
}

fn notice(question: &AskedQuestion, page: Option<&str>, now: Timestamp) -> Option<Notice> {
    let kind = match question.state {
        QuestionStanding::Waiting => "approval.asked",
        _ => "approval.settled",
    };
    let body = Body {
        kind,
        timestamp: now,
        data: Data {
            question: question.id.as_str(),
            state: question.state,
            agent: &question.agent,
            tool: &question.tool,
            asked: &question.unanswered,
            until: question.until,
            url: page.map(|page| format!("{}/{}", page.trim_end_matches('/'), question.id)),
        },
    };
    let id = format!("{}.{}", question.id, question.state.as_str());
    Some(Notice { id, body: serde_json::to_string(&body).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: &str, state: QuestionStanding) -> AskedQuestion {
        let told = serde_json::json!({
            "id": id, "state": state, "agent": "bot", "person": "alice", "template": "pay", "mandate": "m1", "root_mandate": "m1",
            "task": "t1", "purpose": "the secret purpose", "tool": "bank/pay", "effects": ["pay"], "asked_at": "2026-11-29T12:00:00Z",
            "until": "2026-11-29T13:00:00Z", "askers": [], "asked": ["group:ops"], "unanswered": ["group:ops"], "given": []
        });
        serde_json::from_value(told).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-29T12:00:01Z".parse().unwrap()
    }

    #[test]
    fn a_signature_is_as_the_specification_has_it() {
        // The example of the specification's reference libraries.
        let signing = Signing::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let notice = Notice {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
            body: r#"{"test": 2432232314}"#.to_owned(),
        };
        assert_eq!(
            signing.signature(&notice, 1_614_265_330),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"] {
            assert!(Signing::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_question_is_told_once_when_it_is_asked_and_once_when_it_is_settled() {
        let page = Some("https://control.example.com/approvals");
        let mut told = Told::default();
        let waiting = [question("d1", QuestionStanding::Waiting), question("d2", QuestionStanding::Waiting)];
        let (due, gone) = told.open(&waiting, page, now());
        assert_eq!(
            due.iter().map(|notice| notice.id.as_str()).collect::<Vec<_>>(),
            ["d1.waiting", "d2.waiting"]
        );
        assert!(gone.is_empty());
        let body: serde_json::Value = serde_json::from_str(&due[0].body).unwrap();
        assert_eq!(
            (&body["type"], &body["data"]["url"]),
            (&"approval.asked".into(), &"https://control.example.com/approvals/d1".into())
        );
        assert!(!due[0].body.contains("secret purpose"), "{}", due[0].body);
        assert!(told.open(&waiting, page, now()).0.is_empty());
        let approved = [question("d1", QuestionStanding::Approved)];
        let (due, gone) = told.open(&approved, page, now());
        assert_eq!((due.len(), due[0].id.as_str()), (1, "d1.approved"));
        assert_eq!(gone, ["d2".parse().unwrap()]);
        let denied = question("d2", QuestionStanding::Denied);
        assert_eq!(told.settled(&denied, page, now()).unwrap().id, "d2.denied");
        assert_eq!(told.settled(&denied, page, now()), None);
        assert!(told.open(&approved, page, now()).1.is_empty());
    }
}
