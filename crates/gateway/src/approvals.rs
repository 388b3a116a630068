//! What a client is told of a question to persons, and how it comes to the answer.
//!
//! A question stands at the decision point; nothing of it is kept here. The same call, made again, is let through
//! once it was approved: by a client that was sent to the page where it is answered, by one that waited here, or by a model that was told to repeat it.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use warrantor_engine::{Answer as Decided, DecisionPoint, Presented, approvals::QuestionStanding};
use warrantor_mcp::{
    Era,
    capabilities::Capabilities,
    envelope,
    params::ProgressParams,
    result::{PageToOpen, is_accepted},
};
use warrantor_model::{DecisionId, Digest, Question, Timestamp};

use crate::{
    exchange::{Exchange, Reply, lock},
    uses::{Use, from_question},
};

/// How often it is looked whether somebody has answered.
const LOOK: Duration = Duration::from_millis(500);
/// After how many looks a client that wants it is told that it still waits.
const LOOKS_A_NEWS: u32 = 6;
/// How long a call waits at least whose client has opened the page.
const AFTER_OPENING: Duration = Duration::from_secs(20);
/// How long a state counts: as long as a question waits at most.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How persons are asked.
#[derive(Debug, Clone, Default)]
pub struct Asking {
    /// Where questions are answered: the address of each is this and its id. None where that is no page.
    pub page: Option<String>,
    /// How long a call waits for its answer before its client is told that it waits.
    pub hold: Duration,
}

impl Asking {
    fn address(&self, question: &DecisionId) -> Option<String> {
        self.page.as_ref().map(|page| format!("{}/{question}", page.trim_end_matches('/')))
    }
}

/// What stands before a state of ours that belongs to a question: other states are names of calls that wait here.
const PREFIX: &str = "q.";
/// What states are sealed for, and nothing else.
const CONTEXT: &str = "the state of a request that waits for a person";
/// Most questions of one connection of which it is remembered that its client was sent to them.
const MAX_SENT: usize = 256;

/// What a state says, sealed: for which request it was given out, by whom it may be brought back, and until when. It is no permission: that it is good for one
/// use follows from its question, whose answers are used up once. The request is named by a digest, so that it is short whatever was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    question: DecisionId,
    request: Digest,
    until: Timestamp,
}

/// How a request has come to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Try {
    /// Nobody was asked yet, as far as it says.
    First,
    /// Its client has opened the page, or says so.
    Opened,
    /// Its client would not open it.
    NotOpened,
}

impl<P: DecisionPoint> Exchange<P> {
    /// Decides a use, and waits a while for persons where they are asked.
    pub(crate) async fn authorize_patiently(
        &self,
        using: &Use<'_>,
        presented: &Presented,
        nth: Try,
    ) -> Decided {
        let decided = self.authorize(presented).await;
        let Decided::Asked(question, _) = &decided else { return decided };
        let hold = match nth {
            Try::First if !self.was_sent(using, question) => self.settings.asking.hold,
            Try::First | Try::Opened => self.settings.asking.hold.max(AFTER_OPENING),
            Try::NotOpened => Duration::ZERO,
        };
        let is_answered = self.held(using, question, hold).await;
        // Nobody would have anything of a call whose client has gone, and the answers would be used up.
        match is_answered && !using.asked.flight.is_taken_back() {
            true => self.authorize(presented).await,
            false => decided,
        }
    }

    /// Whether a client of the older era was sent to a question's page before: it tells that it comes back from there by calling again.
    fn was_sent(&self, using: &Use<'_>, question: &DecisionId) -> bool {
        using.era == Era::Legacy && lock(&self.questions).sent.contains(question)
    }

    /// Waits until a question waits no more. Whether it does so now.
    async fn held(&self, using: &Use<'_>, question: &DecisionId, hold: Duration) -> bool {
        if hold.is_zero() {
            return false;
        }
        let token = using.params.meta.progress_token().map(|token| token.clone().into_owned());
        let until = Instant::now() + hold;
        let mut looking = tokio::time::interval(LOOK);
        looking.tick().await;
        let mut looks = 0u32;
        while Instant::now() < until && !using.asked.flight.is_taken_back() {
            looking.tick().await;
            looks = looks.saturating_add(1);
            match self.engine.standing_of(question).await {
                Some(QuestionStanding::Waiting) | None => {}
                Some(_) => return true,
            }
            if let Some(token) = token.as_ref().filter(|_| looks.is_multiple_of(LOOKS_A_NEWS)) {
                // Small, so that whatever the server counts goes on from there.
                let progress = RawValue::from_string(format!("{:.3}", f64::from(looks) / 1000.0));
                if let Ok(progress) = progress {
                    let params = ProgressParams {
                        token: token.clone(),
                        progress: &progress,
                        total: None,
                        message: None,
                    };
                    using.asked.flight.tell(envelope::progress(&params, token));
                }
            }
        }
        false
    }

    /// Tells the client that persons have to answer: by sending it to the page where it can be sent there, else as a refusal with the same words.
    pub(crate) async fn tell_question(
        &self,
        using: &Use<'_>,
        decision: &DecisionId,
        question: &Question,
        nth: Try,
    ) -> Reply {
        let mut told = from_question(decision, question);
        let Some(address) = self.settings.asking.address(decision) else {
            return self.refuse(using, &told).await;
        };
        let able = self.able(using);
        let url = RawValue::from_string(r#"{"mode":"url"}"#.to_owned()).ok();
        let opens =
            nth == Try::First && !self.was_sent(using, decision) && able.can("elicitation", url.as_deref());
        let message = format!("A person has to approve a call before it is made ({decision}).");
        let page = PageToOpen { id: decision.as_str(), url: &address, message: &message };
        if opens && using.era == Era::Legacy {
            let sent = &mut lock(&self.questions).sent;
            if sent.len() >= MAX_SENT {
                sent.clear();
            }
            sent.insert(decision.clone());
            return Reply::fault(using.asked.id, &page.to_rpc());
        }
        if opens
            && using.can_wait()
            && let Some(state) = self.state_for(using, decision)
        {
            return Reply::Line(envelope::result(using.asked.id, &page.to_result(&state)));
        }
        told.2 = format!("{} It is answered at {address}", told.2);
        self.refuse(using, &told).await
    }

    fn state_of(&self, using: &Use<'_>, question: &DecisionId, until: Timestamp) -> State {
        let arguments = Digest::of(&using.params.arguments()).to_string();
        let words = [
            self.settings.mandate.as_str(),
            self.settings.server.as_str(),
            using.asked.method,
            using.params.mirrored().unwrap_or_default(),
            &arguments,
        ];
        // As JSON, so that no two requests read alike.
        let request = Digest::of(serde_json::json!(words).to_string().as_bytes());
        State { question: question.clone(), request, until }
    }

    fn state_for(&self, using: &Use<'_>, question: &DecisionId) -> Option<String> {
        let until = self.engine.now().plus(PATIENCE);
        let state = serde_json::to_vec(&self.state_of(using, question, until)).ok()?;
        let sealed = self.engine.seal_state(CONTEXT, &state)?;
        Some(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Whether a state belongs to a question.
    pub(crate) fn is_of_question(state: &str) -> bool {
        state.starts_with(PREFIX)
    }

    /// How a request goes on that brings back the state of a question. None where the state was forged, was given out for another request or to somebody else,
    /// or where its question waits no more and was not approved.
    pub(crate) async fn asked_again(&self, using: &Use<'_>) -> Option<Try> {
        let state = using.params.retry.state.as_deref()?.strip_prefix(PREFIX)?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(state).ok()?;
        let state: State = serde_json::from_slice(&self.engine.open_state(CONTEXT, &sealed)?).ok()?;
        if state != self.state_of(using, &state.question, state.until) || self.engine.now() >= state.until {
            return None;
        }
        match self.engine.standing_of(&state.question).await {
            Some(QuestionStanding::Waiting | QuestionStanding::Approved | QuestionStanding::Denied) => {}
            Some(_) | None => return None,
        }
        let answers = &using.params.retry.responses;
        let answer = answers.iter().find(|(key, _)| key == PageToOpen::KEY);
        Some(match answer.is_some_and(|(_, answer)| is_accepted(answer)) {
            true => Try::Opened,
            false => Try::NotOpened,
        })
    }

    /// What the client can be asked, whatever of it is granted to the server: the question is ours.
    fn able(&self, using: &Use<'_>) -> Capabilities {
        match (using.era, using.params.meta.modern()) {
            (Era::Modern, Some(modern)) => {
                Capabilities::read(modern.client_capabilities()).unwrap_or_default()
            }
            _ => self.handshake().able,
        }
    }
}
