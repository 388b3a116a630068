//! What a server asks of the client: elicitation, sampling, roots; and the messages of its log.
//!
//! A question is a part of the call that it belongs to: it is taken into the task's history before it is shown. The answer is a way out for
//! data, and is decided like a call: its arguments are the answer. In the older era the server asks while the call runs; in the newer one it ends the
//! request with its questions, and the client sends it again with the answers and a state. That state is a name of ours for what is kept here (the
//! call that goes on, what the server wants back, what was asked), good for one use: the server's own state never leaves.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::time::Instant;
use warrantor_engine::{Answer as Decided, DecisionPoint};
use warrantor_mcp::{
    Id, Message, Outcome as Said, RpcError, capabilities::asked_by, envelope, rpc, uses::UseParams,
};
use warrantor_model::{DecisionId, Definition, Digest, Offer, ReasonCode, ToolRef, record::Outcome};

use crate::{
    answers::{Asking, Going, Live, Unsent},
    exchange::{Exchange, Reply, lock},
    owed::Owed,
    uses::{Told, Use, WRONG_STATE, from_question, from_refused},
};

/// Most questions that may be open, and most calls that may wait for a client.
const MAX_OPEN: usize = 64;
/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What waits for answers of the client.
pub(crate) struct Questions<P: DecisionPoint> {
    /// The number of the last question to the client; shared where several servers ask one.
    last: Arc<AtomicU64>,
    open: HashMap<u64, Open>,
    suspended: HashMap<String, Suspended<P>>,
    /// Questions to persons to whose page the client was sent.
    pub(crate) sent: HashSet<DecisionId>,
}

impl<P: DecisionPoint> Default for Questions<P> {
    fn default() -> Self {
        Self { last: Arc::default(), open: HashMap::new(), suspended: HashMap::new(), sent: HashSet::new() }
    }
}

impl<P: DecisionPoint> Questions<P> {
    /// Questions to a client that others ask too.
    pub(crate) fn counted_by(last: &Arc<AtomicU64>) -> Self {
        Self { last: Arc::clone(last), ..Self::default() }
    }

    /// Whether a question of this number is open.
    pub(crate) fn has_open(&self, number: u64) -> bool {
        self.open.contains_key(&number)
    }

    /// Lets go of calls whose client did not answer in time: their outcomes are told.
    pub(crate) fn expire(&mut self) {
        let now = Instant::now();
        self.suspended.retain(|_, waiting| now < waiting.until);
    }

    /// Nobody answers any more.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.suspended.clear();
    }

    /// A call has ended: nobody waits for its answers any more.
    pub(crate) fn forget(&mut self, call: u64) {
        self.open.retain(|_, open| open.call != call);
    }
}

/// A question that was put to the client of an older session.
struct Open {
    /// Our request to the server that it belongs to.
    call: u64,
    /// The server's id of it.
    id: Id<'static>,
    /// What is asked, by the manifest's name.
    asked: &'static str,
}

/// A call that goes on when the client has answered.
struct Suspended<P: DecisionPoint> {
    owed: Owed<P>,
    /// How often it was sent.
    rounds: u32,
    /// What it was: the client must ask for the same again.
    method: String,
    target: Option<String>,
    arguments: Digest,
    /// What was released, which a person may have put in the place of that.
    decided: Vec<u8>,
    tool: ToolRef,
    state: Option<String>,
    asked: BTreeMap<String, &'static str>,
    until: Instant,
}

impl<P: DecisionPoint> Exchange<P> {
    /// Shows the client what the server asks or tells while a call of its runs.
    pub(crate) async fn show_part(&self, live: &mut Live<'_, P>, line: &[u8]) {
        if self.stands().await.is_err() {
            return;
        }
        match Message::parse(line, &self.settings.upstream_limits) {
            Ok(Message::Notification { params: Some(params), .. }) if live.using.log => {
                if let Ok(message) = envelope::log_message(params)
                    && live.owed.take_in_part(params).await.is_ok()
                {
                    live.using.asked.flight.tell(message);
                }
            }
            Ok(Message::Request { id, method, params }) => {
                if let Err(why) = self.put(live, &id, &method, params).await {
                    let error = RpcError::new(rpc::INVALID_REQUEST, why);
                    self.upstream.post_answer(envelope::error(Some(&id), &error));
                }
            }
            _ => tracing::debug!("a message of the tool server was not passed on"),
        }
    }

    async fn put(
        &self,
        live: &mut Live<'_, P>,
        id: &Id<'_>,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<(), &'static str> {
        let asked = asked_by(method).filter(|asked| live.using.client.can(asked, params));
        let asked = asked.ok_or("the client cannot be asked this")?;
        if lock(&self.questions).open.len() >= MAX_OPEN {
            return Err("too many questions are open");
        }
        let question = match params {
            Some(params) => {
                let question = envelope::question(params).map_err(|_| "the question cannot be read")?;
                live.owed.take_in_part(params).await.map_err(|_| "the question could not be recorded")?;
                Some(question)
            }
            None => None,
        };
        let ours = {
            let mut questions = lock(&self.questions);
            let ours = questions.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            questions.open.insert(ours, Open { call: live.ours, id: id.clone().into_owned(), asked });
            ours
        };
        live.using.asked.flight.tell(envelope::request(ours, method, question.as_ref()));
        Ok(())
    }

    /// The client of an older session answers a question. What is not let through the server does not get.
    pub(crate) async fn answered_by_client(&self, line: &[u8]) {
        let Ok(Message::Response { id: Some(id), outcome }) =
            Message::parse(line, &self.settings.client_limits)
        else {
            return;
        };
        let open = id.as_u64().and_then(|id| lock(&self.questions).open.remove(&id));
        let Some(Open { id, asked, .. }) = open else {
            tracing::debug!("the client answered what nobody asked");
            return;
        };
        let mut owed = None;
        let line = match outcome {
            Said::Error(_) => {
                envelope::error(Some(&id), &RpcError::new(rpc::INVALID_REQUEST, "the client does not answer"))
            }
            Said::Result(answer) => match self.let_through(asked, answer).await {
                Ok((answer, owes)) => {
                    owed = owes;
                    envelope::result(&id, &(&*answer).into())
                }
                Err((decision, reason, ..)) => {
                    let why =
                        format!("the client's answer was not let through ({reason}, decision {decision})");
                    envelope::error(Some(&id), &RpcError::new(rpc::INVALID_REQUEST, why))
                }
            },
        };
        self.upstream.post_answer(line);
        // It is on its way; what the server makes of it is told by the call.
        if let Some(owed) = owed {
            owed.tell(Outcome::Succeeded, Duration::ZERO);
        }
    }

    /// Decides on an answer of the client. Gives the bytes that were decided on, and what is owed for them once they were sent.
    pub(crate) async fn let_through(
        &self,
        asked: &str,
        answer: &RawValue,
    ) -> Result<(Box<RawValue>, Option<Owed<P>>), Told> {
        // That a person declines says nothing that could be decided on.
        if let Some(declined) = envelope::declined(asked, answer) {
            return Ok((declined, None));
        }
        let arguments = answer.get().as_bytes().to_vec();
        let method = match asked {
            "elicitation" => "elicitation/create",
            "sampling" => "sampling/createMessage",
            _ => "roots/list",
        };
        let presented = self.presented(method, Offer::Client, asked, arguments, Definition::AsPinned);
        let refused = match self.authorize(&presented).await {
            Decided::Permitted(permit) => match self.engine.release(permit) {
                Ok(release) => {
                    let decided = String::from_utf8(release.arguments().to_vec()).ok();
                    let raw = decided.and_then(|text| RawValue::from_string(text).ok());
                    let owed = Owed::new(self.engine.clone(), release.spend());
                    let Some(raw) = raw else {
                        owed.tell(Outcome::NotSent, Duration::ZERO);
                        return Err(unreadable());
                    };
                    return Ok((raw, Some(owed)));
                }
                Err(refused) => from_refused(&refused),
            },
            Decided::Refused(refused) => from_refused(&refused),
            Decided::Asked(decision, question) => from_question(&decision, &question),
        };
        tracing::warn!(decision = refused.0, reason = %refused.1, asked, "an answer of the client was not let through");
        Err(refused)
    }

    /// Keeps a call until the client has answered what the server asks (2026-07-28).
    pub(crate) async fn suspend(&self, using: &Use<'_>, asking: Asking<'_, P>) -> Reply {
        let Asking { mut owed, rounds, decided, tool, result, required } = asking;
        let id = using.asked.id;
        let mut asked = BTreeMap::new();
        for (key, method, params) in &required.questions {
            let Some(known) = asked_by(method).filter(|known| using.client.can(known, *params)) else {
                let name = owed.name();
                tracing::warn!(method = %method, decision = name.trim(), "the tool server asked what the client cannot be asked");
                owed.tell(Outcome::Withheld, Duration::ZERO);
                let why =
                    format!("the tool server asks for something that this client cannot be asked{name}");
                return Reply::error(id, rpc::INTERNAL_ERROR, why);
            };
            asked.insert(key.to_string(), known);
        }
        if !owed.shows_parts() {
            tracing::warn!(
                decision = owed.name().trim(),
                "a question was withheld: what goes with its permit leaves parts out, and of a question none can be told"
            );
            let why = format!(
                "the organization's policy does not let what the tool server asks be shown{}",
                owed.name()
            );
            owed.tell(Outcome::Withheld, Duration::ZERO);
            return Reply::error(id, rpc::REFUSED, why);
        }
        if owed.take_in_part(result).await.is_err() {
            let why =
                format!("the tool server's question was withheld: it could not be recorded{}", owed.name());
            return Reply::error(id, rpc::INTERNAL_ERROR, why);
        }
        let Some(state) = self.engine.unguessable() else {
            return Reply::error(id, rpc::INTERNAL_ERROR, "no random bytes for the call's state");
        };
        let suspended = Suspended {
            owed,
            rounds: rounds.saturating_add(1),
            method: using.asked.method.to_owned(),
            target: using.params.mirrored().map(str::to_owned),
            arguments: Digest::of(&using.params.arguments()),
            decided: decided.to_vec(),
            tool: tool.clone(),
            state: required.state.as_deref().map(str::to_owned),
            asked,
            until: Instant::now() + PATIENCE,
        };
        let shown = envelope::result(id, &required.to_client(&state));
        let mut questions = lock(&self.questions);
        questions.expire();
        if questions.suspended.len() >= MAX_OPEN {
            return Reply::error(id, rpc::INTERNAL_ERROR, "too many calls wait for answers");
        }
        questions.suspended.insert(state, suspended);
        Reply::Line(shown)
    }

    /// Goes on with a call that waited for the client.
    pub(crate) async fn resume(&self, using: Use<'_>) -> Reply {
        let id = using.asked.id;
        let retry = &using.params.retry;
        let waiting = retry.state.as_deref().and_then(|state| lock(&self.questions).suspended.remove(state));
        // Whatever was changed, the answer is one and the same.
        let Some(waiting) = waiting.filter(|waiting| waiting.is_same(&using.params, using.asked.method))
        else {
            return Reply::error(id, rpc::INVALID_PARAMS, WRONG_STATE);
        };
        let decision = waiting.owed.decision().map(|decision| decision.to_string()).unwrap_or_default();
        let end = |waiting: Suspended<P>, code: ReasonCode| {
            waiting.owed.tell(Outcome::Cancelled, Duration::ZERO);
            (decision.clone(), code, code.sentence().to_owned(), code.next_step())
        };
        if let Err(why) = self.stands().await {
            tracing::warn!(why = why.detail, "a call that waited for its client is ended");
            let told = end(waiting, why.code);
            return self.refuse(&using, &told).await;
        }
        // What it was decided on must be what it was.
        if self.definition(waiting.tool.tool.offer(), waiting.tool.tool.bare()).await != Definition::AsPinned
        {
            let told = end(waiting, ReasonCode::ToolChanged);
            return self.refuse(&using, &told).await;
        }
        let mut responses = Vec::new();
        // Dropped on the way, they went nowhere.
        let mut answers = Unsent(Vec::new());
        for (key, answer) in &retry.responses {
            // What nobody asked goes nowhere.
            let Some(asked) = waiting.asked.get(key.as_ref()) else { continue };
            match self.let_through(asked, answer).await {
                Ok((raw, owed)) => {
                    responses.push((key.to_string(), raw));
                    answers.0.extend(owed);
                }
                Err(refused) => {
                    match (refused.1, &retry.state) {
                        // A person can still be asked: the same answers may come again.
                        (ReasonCode::ApprovalRequired, Some(state)) => {
                            lock(&self.questions).suspended.insert(state.to_string(), waiting);
                        }
                        _ => waiting.owed.tell(Outcome::Cancelled, Duration::ZERO),
                    }
                    return self.refuse_answer(&using, &refused).await;
                }
            }
        }
        let Suspended { owed, rounds, decided, tool, state, .. } = waiting;
        let state = state.as_deref();
        let going = Going { owed, decided, tool, responses: &responses, answers, state, rounds };
        self.go_on(&using, going).await
    }
}

impl<P: DecisionPoint> Suspended<P> {
    /// Whether a request is the one that waits.
    fn is_same(&self, params: &UseParams<'_>, method: &str) -> bool {
        self.method == method
            && self.target.as_deref() == params.mirrored()
            && self.arguments == Digest::of(&params.arguments())
            && Instant::now() < self.until
    }
}

fn unreadable() -> Told {
    let code = ReasonCode::DecisionUnavailable;
    (String::new(), code, code.sentence().to_owned(), code.next_step())
}
