//! What goes on from a release: the call is sent, what the server says meanwhile is shown, and its answer is taken in before it is shown.

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::Instant};
use warrantor_decide::{Obligation, Output};
use warrantor_engine::{DecisionPoint, Release};
use warrantor_mcp::{
    Fragment, Id, RpcError, envelope,
    result::{InputRequired, ResultError, ResultKind, Shown, ToolResult, made_private, with_text},
    rpc,
    uses::{Onward, Target},
};
use warrantor_model::{Json, ToolRef, record::Outcome};

use crate::{
    exchange::{Exchange, Reply, lock, repeated_parameters},
    metrics::Stage,
    obligations,
    owed::Owed,
    spans,
    upstream::{Answer, Mirror, NoAnswer, Parts, Request, Said},
    uses::Use,
};

/// Why an answer is not shown, in words that hold nothing of it. The log says more.
pub(crate) const WITHHELD: &str = "it is not as the protocol demands; the log says how";
/// Most questions and messages of a server that wait to be recorded, of one call.
pub(crate) const MAX_PARTS: usize = 32;
/// How often one call may be sent again with answers.
const MAX_ROUNDS: u32 = 16;

/// What a use goes on with after it was released.
pub(crate) struct Going<'a, P: DecisionPoint> {
    pub(crate) owed: Owed<P>,
    /// The bytes that were decided on.
    pub(crate) decided: Vec<u8>,
    pub(crate) tool: ToolRef,
    /// Answers of the client that were let through.
    pub(crate) responses: &'a [(String, Box<RawValue>)],
    /// What is owed for them.
    pub(crate) answers: Unsent<P>,
    /// The server's own state.
    pub(crate) state: Option<&'a str>,
    /// How often it was sent before. Once it was, it can never be said again that nothing was sent.
    pub(crate) rounds: u32,
}

/// A call that waits for its answer, and what is shown of it meanwhile.
pub(crate) struct Live<'a, P: DecisionPoint> {
    pub(crate) owed: Owed<P>,
    /// Our request to the server.
    pub(crate) ours: u64,
    pub(crate) using: &'a Use<'a>,
    /// How often it was sent before.
    rounds: u32,
}

/// A call whose server asks the client for more first.
pub(crate) struct Asking<'a, P: DecisionPoint> {
    pub(crate) owed: Owed<P>,
    pub(crate) rounds: u32,
    pub(crate) decided: &'a [u8],
    pub(crate) tool: &'a ToolRef,
    pub(crate) result: &'a RawValue,
    pub(crate) required: &'a InputRequired<'a>,
}

impl<P: DecisionPoint> Exchange<P> {
    /// Sends a released call and brings back its answer.
    pub(crate) async fn forward(&self, using: &Use<'_>, release: Release) -> Reply {
        let decided = release.arguments().to_vec();
        let tool = release.tool().clone();
        let owed = Owed::new(self.engine.clone(), release.spend());
        self.go_on(
            using,
            Going {
                owed,
                decided,
                tool,
                responses: &[],
                answers: Unsent(Vec::new()),
                state: None,
                rounds: 0,
            },
        )
        .await
    }

    /// Sends what was released and brings back its answer, telling the client meanwhile what the server asks and says.
    pub(crate) async fn go_on(&self, using: &Use<'_>, going: Going<'_, P>) -> Reply {
        let Going { owed, decided, tool, responses, answers, state, rounds } = going;
        let not_sent = if rounds > 0 { Outcome::Cancelled } else { Outcome::NotSent };
        let Use { asked, params, .. } = using;
        let own = match &params.target {
            // A person may have put arguments where there were none.
            Target::Tool(named) | Target::Prompt(named) => {
                named.arguments.is_some() || decided != params.arguments()
            }
            // Of anything else what is decided is what was asked for: nobody can put anything else in its place.
            _ => false,
        };
        let arguments: Option<&RawValue> = match own.then(|| serde_json::from_slice(&decided)) {
            None => None,
            Some(Ok(arguments)) => Some(arguments),
            // They were read before, so this does not happen; sending the call without them would be another call.
            Some(Err(cause)) => {
                owed.tell(not_sent, Duration::ZERO);
                return Reply::error(asked.id, rpc::INTERNAL_ERROR, cause.to_string());
            }
        };
        let progress = params.meta.progress_token().map(|token| token.clone().into_owned());
        let wants_progress = progress.is_some();
        let (sender, mut parts) = mpsc::channel(MAX_PARTS);
        let Some(pending) = asked.flight.take_off(&self.upstream, progress, Parts { sender, listens: false })
        else {
            owed.tell(not_sent, Duration::ZERO);
            return Reply::Nothing;
        };
        let ours = pending.id;
        let span = self.spans.upstream(&self.settings.server, asked.method, self.told_of(&params.target));
        let onward = Onward {
            progress: wants_progress.then_some(ours),
            capabilities: using.client,
            log: using.log,
            parent: span.traceparent(),
            responses,
            state,
        };
        let Some(method) = method(asked.method) else {
            owed.tell(not_sent, Duration::ZERO);
            return Reply::error(asked.id, rpc::METHOD_NOT_FOUND, "the method is not known");
        };
        let line = params.request(ours, method, arguments, &onward);
        let modern = params.meta.modern().map(|modern| modern.version());
        let parameters = match modern {
            // Where headers count, marks that are not valid have refused the call before it was decided.
            Some(_) => repeated_parameters(&self.engine.snapshot(), &tool, &decided).unwrap_or_default(),
            None => Vec::new(),
        };
        let mirror = Mirror { method, name: params.mirrored().map(str::to_owned), parameters, modern };
        let begun = Instant::now();
        let mut live = Live { owed, ours, using, rounds };
        let answer = {
            let asking = self.ask(pending, Request { line, mirror }, self.settings.call_timeout);
            let mut asking = std::pin::pin!(asking);
            loop {
                tokio::select! {
                    Some(part) = parts.recv() => self.show_part(&mut live, &part).await,
                    answer = &mut asking => break answer,
                }
            }
        };
        while let Ok(part) = parts.try_recv() {
            self.show_part(&mut live, &part).await;
        }
        lock(&self.questions).forget(ours);
        if let Some(late) = live.owed.late().filter(|_| using.log) {
            *lock(&self.last) = Some(late);
        }
        let took = begun.elapsed();
        if let Err(cause) = &answer {
            span.failed(cause.word());
        }
        if !matches!(answer, Err(NoAnswer::NotSent | NoAnswer::TakenBack)) {
            // What the server makes of them is told by the call.
            answers.sent();
        }
        drop(span);
        match answer {
            Ok(answer) => self.bring_back(live, &decided, &tool, &answer, took).await,
            Err(cause) => {
                let outcome = match &cause {
                    NoAnswer::NotSent | NoAnswer::TakenBack => not_sent,
                    NoAnswer::Ended | NoAnswer::Stopped(_) | NoAnswer::TimedOut | NoAnswer::Broken(_) => {
                        Outcome::Unknown
                    }
                    NoAnswer::Cancelled => Outcome::Cancelled,
                };
                let message = format!("{cause}{}", live.owed.name());
                live.owed.tell(outcome, took);
                // A client that took its request back expects no answer.
                match cause {
                    NoAnswer::Cancelled | NoAnswer::TakenBack => Reply::Nothing,
                    _ => Reply::error(asked.id, rpc::INTERNAL_ERROR, message),
                }
            }
        }
    }

    async fn bring_back(
        &self,
        live: Live<'_, P>,
        decided: &[u8],
        tool: &ToolRef,
        answer: &Answer,
        took: Duration,
    ) -> Reply {
        let Live { mut owed, using, rounds, .. } = live;
        let id = using.asked.id;
        let said = answer.said(&self.settings.upstream_limits);
        let owes = owed.obligations();
        if let Ok(Said::Result(told) | Said::Error(told)) = &said {
            if obligations::caps(&owes, told.get().len()) {
                return withheld_by_policy(id, owed, obligations::TOO_LARGE, took);
            }
            if matches!(said, Ok(Said::Error(_))) && obligations::redacts(&owes) {
                return withheld_by_policy(
                    id,
                    owed,
                    "it is an error, of which nothing can be left out",
                    took,
                );
            }
        }
        let brought = match said {
            // It brings a question past what was granted.
            Ok(Said::Error(error))
                if rpc::code_of(error) == rpc::URL_ELICITATION_REQUIRED && !using.can_be_sent_to_a_url() =>
            {
                Err("the server asks for an elicitation by URL, which is not granted".to_owned())
            }
            Ok(Said::Error(error)) => Ok(Brought {
                outcome: Outcome::Refused,
                reply: relayed(id, error),
                body: error.get().as_bytes(),
                output: Output { others: vec![error.get().to_owned()], error: true, ..Output::default() },
            }),
            Ok(Said::Result(result)) => match ResultKind::of(result) {
                Ok(ResultKind::InputRequired) if using.can_wait() && rounds < MAX_ROUNDS => {
                    return match InputRequired::parse(result) {
                        Ok(required) => {
                            self.suspend(
                                using,
                                Asking { owed, rounds, decided, tool, result, required: &required },
                            )
                            .await
                        }
                        Err(cause) => withheld(id, owed, &cause.to_string(), took),
                    };
                }
                Ok(ResultKind::Task) if using.client.has("tasks") && using.asked.method == "tools/call" => {
                    return self.begin_task(using, owed, tool, result).await;
                }
                _ => self.read(using, tool, (&owes, owed.edited().as_deref()), result, rounds > 0),
            },
            Err(why) => Err(why),
        };
        // What is wrong with it may quote it, and nothing of a withheld answer is shown.
        let brought = match brought {
            Ok(brought) => brought,
            Err(why) => return withheld(id, owed, &why, took),
        };
        let (name, decision) = (owed.name(), owed.decision());
        let begun = Instant::now();
        let span = self.spans.step("take in");
        let taken = owed.take_in(brought.outcome, brought.body, &brought.output, took).await;
        drop(span);
        self.metrics.took(&self.settings.server, Stage::TakeIn, begun.elapsed());
        match taken {
            Ok(()) => {
                if let (Some(trace), Some(decision)) = (&self.settings.trace, decision) {
                    trace.result(decision.as_str(), &brought.output);
                }
                if let ("resources/subscribe", Target::Resource { uri }) =
                    (using.asked.method, &using.params.target)
                {
                    lock(&self.subscribed).insert(uri.to_string());
                }
                if let Target::Log { level } = &using.params.target {
                    *lock(&self.log_level) = Some(level.to_string());
                }
                if brought.outcome == Outcome::Failed {
                    spans::note("error.type", "tool_error");
                }
                brought.reply
            }
            Err(cause) => {
                tracing::warn!(%cause, decision = name.trim(), "an answer of the tool server was withheld");
                let message = format!("the tool server's answer was withheld: {cause}{name}");
                Reply::error(id, rpc::INTERNAL_ERROR, message)
            }
        }
    }

    /// A completed result, as it may be shown: what the permit says is left out. The record keeps all of it, sealed.
    fn read<'a>(
        &self,
        using: &Use<'_>,
        tool: &ToolRef,
        (owes, edited): (&BTreeSet<Obligation>, Option<&str>),
        result: &'a RawValue,
        is_retry: bool,
    ) -> Result<Brought<'a>, String> {
        let id = using.asked.id;
        let body = result.get().as_bytes();
        if let Target::Tool(_) = &using.params.target {
            let ToolAnswer { outcome, shown, output } = self.tool_answer(tool, (owes, edited), result)?;
            let fragment = Fragment::from(shown.as_deref().unwrap_or(result));
            return Ok(Brought {
                outcome,
                reply: Reply::Line(envelope::result(id, &fragment)),
                body,
                output,
            });
        }
        let shown = obligations::shown(owes, &using.params.target, result)?;
        let result = shown.as_deref().unwrap_or(result);
        let read = match (&using.params.target, using.asked.method) {
            (Target::Prompt(_), _) => Shown::prompt(result),
            (Target::Resource { .. }, "resources/read") => Shown::resource(result),
            (Target::Completion { .. }, _) => Shown::completion(result),
            (Target::Tool(_) | Target::Resource { .. } | Target::Log { .. }, _) => Shown::nothing(result),
        };
        let read = read.map_err(|cause: ResultError| cause.to_string())?;
        let texts = read.texts.into_iter().map(Cow::into_owned).collect();
        let output = Output { texts, others: read.others, ..Output::default() };
        let fragment = match using.asked.method {
            "resources/read" => {
                made_private(result, using.era, is_retry).map_err(|cause| cause.to_string())?
            }
            "resources/subscribe" | "logging/setLevel" => Fragment::empty_object(),
            _ => Fragment::from(result),
        };
        let reply = Reply::Line(envelope::result(id, &fragment));
        Ok(Brought { outcome: Outcome::Succeeded, reply, body, output })
    }

    /// A result of a tool, as it may be shown, and what it says. What the tool promised of its results it is held against first.
    pub(crate) fn tool_answer(
        &self,
        tool: &ToolRef,
        (owes, edited): (&BTreeSet<Obligation>, Option<&str>),
        result: &RawValue,
    ) -> Result<ToolAnswer, String> {
        let parsed = ToolResult::parse(result).map_err(|cause| cause.to_string())?;
        let mut output = output_of(&parsed);
        if !parsed.is_error {
            self.engine.snapshot().check_output(tool, output.structured.as_ref())?;
        }
        let outcome = if parsed.is_error { Outcome::Failed } else { Outcome::Succeeded };
        let mut shown = obligations::shown_of_tool(owes, result)?;
        if let Some(shown) = &shown {
            output = output_of(&ToolResult::parse(shown).map_err(|cause| cause.to_string())?);
        }
        // Our own words are no part of what the tool said.
        if let Some(arguments) = edited {
            let told = with_text(shown.as_deref().unwrap_or(result), &edited_text(arguments))
                .map_err(|cause| cause.to_string())?;
            shown = Some(told.into_raw().map_err(|cause| cause.to_string())?);
        }
        Ok(ToolAnswer { outcome, shown, output })
    }

    /// Ends a subscription: that takes nothing from anybody, so it is asked for only if there is one.
    pub(crate) async fn unsubscribe(&self, using: &Use<'_>) -> Reply {
        let id = using.asked.id;
        let Target::Resource { uri } = &using.params.target else {
            return Reply::error(id, rpc::INVALID_PARAMS, "a subscription is to a resource");
        };
        if !lock(&self.subscribed).remove(uri.as_ref()) {
            return Reply::error(id, rpc::INVALID_PARAMS, "there is no such subscription");
        }
        let pending = self.upstream.announce(None, None);
        let line = using.params.request(pending.id, "resources/unsubscribe", None, &Onward::default());
        let mirror = Mirror { method: "resources/unsubscribe", ..Mirror::default() };
        let answer = self.ask(pending, Request { line, mirror }, self.settings.request_timeout).await;
        match self.relay(id, &answer, |_| Ok((Fragment::empty_object(), ()))) {
            Ok((line, ())) => Reply::Line(line),
            Err(reply) => reply,
        }
    }
}

/// What is owed for answers of the client until they were sent.
pub(crate) struct Unsent<P: DecisionPoint>(pub(crate) Vec<Owed<P>>);

impl<P: DecisionPoint> Unsent<P> {
    /// They are on their way.
    pub(crate) fn sent(mut self) {
        self.0.drain(..).for_each(|owed| owed.tell(Outcome::Succeeded, Duration::ZERO));
    }
}

impl<P: DecisionPoint> Drop for Unsent<P> {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|owed| owed.tell(Outcome::NotSent, Duration::ZERO));
    }
}

/// What came back for a use, ready to be taken in and shown.
struct Brought<'a> {
    outcome: Outcome,
    reply: Reply,
    body: &'a [u8],
    output: Output,
}

/// A result of a tool that may be shown.
pub(crate) struct ToolAnswer {
    pub(crate) outcome: Outcome,
    /// It, if it has to be another than it was.
    pub(crate) shown: Option<Box<RawValue>>,
    /// What of it is shown, for the task's history.
    pub(crate) output: Output,
}

/// A server's own error of a call, as it wrote it.
fn relayed(id: &Id<'_>, error: &RawValue) -> Reply {
    Reply::Fault(envelope::relayed_error(id, &Fragment::from(error)), rpc::code_of(error))
}

/// What goes with the permit keeps an answer from being shown. That is no fault of the server.
fn withheld_by_policy<P: DecisionPoint>(id: &Id<'_>, owed: Owed<P>, why: &str, took: Duration) -> Reply {
    let name = owed.name();
    tracing::warn!(why, decision = name.trim(), obligations = ?owed.obligations(), "an answer was withheld by what goes with its permit");
    owed.tell(Outcome::Withheld, took);
    let message = format!("the organization's policy does not let this answer be shown: {why}{name}");
    Reply::fault(id, &RpcError::new(rpc::REFUSED, message))
}

fn withheld<P: DecisionPoint>(id: &Id<'_>, owed: Owed<P>, why: &str, took: Duration) -> Reply {
    let name = owed.name();
    tracing::warn!(why, decision = name.trim(), "an answer of the tool server was withheld");
    owed.tell(Outcome::Withheld, took);
    Reply::fault(
        id,
        &RpcError::new(
            rpc::INTERNAL_ERROR,
            format!("the tool server's answer was withheld: {WITHHELD}{name}"),
        ),
    )
}

/// What an agent is told whose call was made with other arguments than its own.
fn edited_text(arguments: &str) -> String {
    format!("The person who approved this call changed its arguments. It was made with: {arguments}")
}

/// The methods that use something, as constants.
fn method(name: &str) -> Option<&'static str> {
    [
        "tools/call",
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "completion/complete",
        "logging/setLevel",
    ]
    .into_iter()
    .find(|known| *known == name)
}

/// What a result says, for the task's history. Nothing of it may be missing: what is no text and no structure counts as anyone's.
pub(crate) fn output_of(result: &ToolResult<'_>) -> Output {
    let mut output = Output { error: result.is_error, ..Output::default() };
    match result.structured.map(|raw| (Json::parse(raw.get().as_bytes()), raw)) {
        Some((Ok(structured), _)) => output.structured = Some(structured),
        Some((Err(_), raw)) => output.others.push(raw.get().to_owned()),
        None => {}
    }
    for block in &result.content {
        match &block.text {
            Some(text) => {
                output.texts.push(text.to_string());
                output.others.extend(block.others.iter().cloned());
            }
            None => output.others.push(block.described()),
        }
    }
    output.others.extend(result.others.iter().cloned());
    output
}
