//! What a client uses of a server: decided, released, sent, and its answer taken in before it is shown.
//!
//! Tools, prompts, resources, completions and the server's log all go this one way; what differs is what the arguments are, and how an answer reads.

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use serde_json::value::RawValue;
use tokio::{sync::mpsc, time::Instant};
use warrantor_decide::{Obligation, Output};
use warrantor_engine::{Answer as Decided, Engine, Presented, Receipt, Refused, Release, Withheld};
use warrantor_mcp::{
    Era, Fragment, Id, Message, RpcError,
    capabilities::Capabilities,
    envelope,
    refusal::{OutputSchema, Refusal},
    result::{InputRequired, ResultError, ResultKind, Shown, ToolResult, made_private},
    rpc,
    uses::{Completed, Named, Onward, Target, UseParams},
};
use warrantor_model::{
    DecisionId, Definition, Finding, Json, NextStep, Offer, Question, ReasonCode, ToolName, ToolRef, UriRule,
    record::Outcome,
};
use warrantor_store::Store;

use crate::{
    exchange::{Asked, Exchange, Reply, lock, repeated_parameters},
    metrics::Stage,
    obligations, spans,
    upstream::{Answer, Mirror, NoAnswer, Parts, Request, Said},
};

/// Why an answer is not shown, in words that hold nothing of it. The log says more.
pub(crate) const WITHHELD: &str = "it is not as the protocol demands; the log says how";
/// Most questions and messages of a server that wait to be recorded, of one call.
pub(crate) const MAX_PARTS: usize = 32;
/// Most questions and messages of a server that are shown of one call, and most bytes of them.
const MAX_SHOWN: u32 = 200;
const MAX_SHOWN_BYTES: usize = 1 << 20;

/// The outcome that is owed for a call that was released. Whatever ends the task that has it, an outcome is told.
pub(crate) struct Owed<S: Store> {
    engine: Engine<S>,
    receipt: Option<Receipt>,
    aside: Aside,
}

impl<S: Store> Owed<S> {
    pub(crate) fn new(engine: Engine<S>, receipt: Receipt) -> Self {
        Self { engine, receipt: Some(receipt), aside: Aside::default() }
    }

    /// Tells the outcome in the background: nothing is shown.
    pub(crate) fn tell(mut self, outcome: Outcome, took: Duration) {
        if let Some(receipt) = self.receipt.take() {
            self.engine.outcome_later(receipt, outcome, took);
        }
    }

    /// Takes the result into the task's history, so that it can be shown.
    pub(crate) async fn take_in(
        &mut self,
        outcome: Outcome,
        body: &[u8],
        output: &Output,
        took: Duration,
    ) -> Result<(), Withheld> {
        let Some(receipt) = &self.receipt else { return Err(Withheld) };
        let taken = self.engine.take_in(receipt, outcome, body, output, took).await;
        self.receipt = None;
        taken
    }

    /// Whether what goes with the permit lets questions and messages be shown: of them it cannot be told what is to be left out.
    pub(crate) fn shows_parts(&self) -> bool {
        !self.receipt.as_ref().is_some_and(|receipt| obligations::redacts(receipt.obligations()))
    }

    /// Takes a part of the answer into the task's history, so that it can be shown before the end.
    pub(crate) async fn take_in_part(&mut self, part: &RawValue) -> Result<(), Withheld> {
        let Some(receipt) = &self.receipt else { return Err(Withheld) };
        let number = self.aside.admit(receipt.obligations(), part)?;
        take_in_aside(&self.engine, receipt, number, part).await
    }

    /// What has to be done with the answer.
    pub(crate) fn obligations(&self) -> BTreeSet<Obligation> {
        self.receipt.as_ref().map(|receipt| receipt.obligations().clone()).unwrap_or_default()
    }

    pub(crate) fn decision(&self) -> Option<DecisionId> {
        self.receipt.as_ref().map(|receipt| receipt.decision().clone())
    }

    /// The decision, for messages.
    pub(crate) fn name(&self) -> String {
        self.receipt.as_ref().map(|receipt| format!(" (decision {})", receipt.decision())).unwrap_or_default()
    }
}

impl<S: Store> Drop for Owed<S> {
    fn drop(&mut self) {
        // Without a runtime there is no log to tell it to.
        if let Some(receipt) = self.receipt.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.engine.outcome_later(receipt, Outcome::Unknown, Duration::ZERO);
        }
    }
}

/// What was shown of a call beside its answer: questions of the server and messages of its log, while it ran and after.
#[derive(Debug, Clone, Copy, Default)]
struct Aside {
    parts: u32,
    bytes: usize,
}

impl Aside {
    /// The number of one more part, if it may be shown. Of a part it cannot be told what is to be left out; and what a server says beside its answers must
    /// not push the task's history out.
    fn admit(&mut self, obligations: &BTreeSet<Obligation>, part: &RawValue) -> Result<u32, Withheld> {
        self.parts = self.parts.saturating_add(1);
        self.bytes = self.bytes.saturating_add(part.get().len());
        let is_owed = obligations::redacts(obligations) || obligations::caps(obligations, self.bytes);
        if is_owed || self.parts > MAX_SHOWN || self.bytes > MAX_SHOWN_BYTES {
            return Err(Withheld);
        }
        Ok(self.parts)
    }
}

async fn take_in_aside<S: Store>(
    engine: &Engine<S>,
    receipt: &Receipt,
    number: u32,
    part: &RawValue,
) -> Result<(), Withheld> {
    let output = Output { others: vec![part.get().to_owned()], ..Output::default() };
    engine.take_in_part(receipt, number, part.get().as_bytes(), &output).await
}

/// The latest call that has ended: what the server's log says after its answer is taken in as a part of it, under the same bounds.
pub(crate) struct Late {
    receipt: Receipt,
    aside: Aside,
}

/// One use under way: what is asked for, and in which words.
pub(crate) struct Use<'a> {
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) params: UseParams<'a>,
    pub(crate) era: Era,
    /// What the client can be asked on the way, as far as it is granted.
    pub(crate) client: Capabilities,
    /// Whether the server's log may be shown.
    pub(crate) log: bool,
}

/// What a use goes on with after it was released.
pub(crate) struct Going<'a, S: Store> {
    pub(crate) owed: Owed<S>,
    /// The bytes that were decided on.
    pub(crate) decided: Vec<u8>,
    pub(crate) tool: ToolRef,
    /// Answers of the client that were let through.
    pub(crate) responses: &'a [(String, Box<RawValue>)],
    /// The server's own state.
    pub(crate) state: Option<&'a str>,
    /// How often it was sent before. Once it was, it can never be said again that nothing was sent.
    pub(crate) rounds: u32,
}

/// A call that waits for its answer, and what is shown of it meanwhile.
pub(crate) struct Live<'a, S: Store> {
    pub(crate) owed: Owed<S>,
    /// Our request to the server.
    pub(crate) ours: u64,
    pub(crate) using: &'a Use<'a>,
    /// How often it was sent before.
    rounds: u32,
}

/// A call whose server asks the client for more first.
pub(crate) struct Asking<'a, S: Store> {
    pub(crate) owed: Owed<S>,
    pub(crate) rounds: u32,
    pub(crate) decided: &'a [u8],
    pub(crate) tool: &'a ToolRef,
    pub(crate) result: &'a RawValue,
    pub(crate) required: &'a InputRequired<'a>,
}

impl Use<'_> {
    /// Whether an error may send the client to a URL: the older era has that, for clients that can be asked so.
    fn can_be_sent_to_a_url(&self) -> bool {
        let url = RawValue::from_string(r#"{"mode":"url"}"#.to_owned()).ok();
        self.era == Era::Legacy && url.is_some_and(|url| self.client.can("elicitation", Some(&url)))
    }

    /// Whether its server may ask for more first: the newer era has that for these alone.
    fn can_wait(&self) -> bool {
        self.era == Era::Modern
            && matches!(self.asked.method, "tools/call" | "prompts/get" | "resources/read")
    }
}

/// How often one call may be sent again with answers.
const MAX_ROUNDS: u32 = 16;

impl<S: Store> Exchange<S> {
    /// Answers a request that uses something.
    pub(crate) async fn use_offer(&self, asked: &Asked<'_>, params: UseParams<'_>, era: Era) -> Reply {
        let granted = self.granted_of_client(&params, era).await;
        let (client, log) = granted;
        let using = Use { asked, params, era, client, log };
        if asked.method == "resources/unsubscribe" {
            return self.unsubscribe(&using).await;
        }
        // Answers without a state answer nothing that was asked: the call is a new one.
        if using.params.retry.state.is_some() {
            return self.resume(using).await;
        }
        let (offer, name) = self.offered(&using.params.target);
        let definition = self.definition(offer, &name).await;
        let presented = self.presented(asked.method, offer, &name, using.params.arguments(), definition);
        let decided = self.authorize(&presented).await;
        self.trace_call(&decided, &presented);
        let refused = match decided {
            Decided::Permitted(permit) if self.standing_definition(offer, &name).await != definition => {
                let detail = "the server changed what it offers while the call was decided";
                from_refused(&self.engine.decline(permit, Finding::new(ReasonCode::ToolChanged, detail)))
            }
            Decided::Permitted(permit) => match self.engine.release(permit) {
                Ok(release) => return self.forward(&using, release).await,
                Err(refused) => from_refused(&refused),
            },
            Decided::Refused(refused) => from_refused(&refused),
            Decided::Asked(decision, question) => from_question(&decision, &question),
        };
        self.refuse(&using, &refused).await
    }

    /// Takes in a message of the server's log that came when no call was under way.
    pub(crate) async fn late_message(&self, line: &[u8]) -> Option<Vec<u8>> {
        let Ok(Message::Notification { params: Some(params), .. }) =
            Message::parse(line, &self.settings.upstream_limits)
        else {
            return None;
        };
        let message = envelope::log_message(params).ok()?;
        // Decided each time, as a subscription is: what was allowed when the call was made may not be any more.
        if !self.may_log_unasked().await {
            return None;
        }
        let (receipt, number) = {
            let mut last = lock(&self.last);
            let late = last.as_mut()?;
            let number = late.aside.admit(late.receipt.obligations(), params).ok()?;
            (late.receipt.clone(), number)
        };
        let taken = take_in_aside(&self.engine, &receipt, number, params).await;
        taken.is_ok().then_some(message)
    }

    /// The call by which a URI is read.
    pub(crate) fn reading(&self, method: &str, uri: &str) -> Option<Presented> {
        let resource = self.engine.snapshot().resource(&self.settings.server, uri)?;
        let target = Target::Resource { uri: Cow::Borrowed(uri) };
        let params = UseParams { target, retry: Default::default(), meta: Default::default() };
        let name = resource.tool.bare();
        Some(self.presented(method, Offer::Resource, name, params.arguments(), Definition::AsPinned))
    }

    pub(crate) fn presented(
        &self,
        method: &str,
        offer: Offer,
        name: &str,
        arguments: Vec<u8>,
        definition: Definition,
    ) -> Presented {
        Presented {
            method: method.chars().take(128).collect(),
            mandate: self.settings.mandate.clone(),
            server: self.settings.server.clone(),
            offer,
            tool: name.to_owned(),
            arguments,
            evidence: self.settings.evidence.clone(),
            definition,
        }
    }

    /// What a target is by the manifest. Of what it does not know the name is empty, which is none.
    fn offered(&self, target: &Target<'_>) -> (Offer, String) {
        let (snapshot, server) = (self.engine.snapshot(), &self.settings.server);
        match target {
            Target::Tool(Named { name, .. }) => (Offer::Tool, name.to_string()),
            Target::Prompt(Named { name, .. }) => (Offer::Prompt, name.to_string()),
            Target::Resource { uri } => {
                let resource = snapshot.resource(server, uri);
                // With a space it is the name of nothing.
                let unknown = || format!("the URI {uri}");
                (Offer::Resource, resource.map_or_else(unknown, |tool| tool.tool.bare().to_owned()))
            }
            Target::Completion { of: Completed::Prompt(name), .. } => {
                (Offer::Completion, format!("prompt/{name}"))
            }
            Target::Completion { of: Completed::Template(template), .. } => {
                let known = snapshot.manifest(server).and_then(|manifest| {
                    let wanted = UriRule::Template(template.to_string());
                    manifest
                        .uris
                        .iter()
                        .find(|(_, rule)| **rule == wanted)
                        .map(|(name, _)| name.bare().to_owned())
                });
                (Offer::Completion, known.map(|name| format!("resource/{name}")).unwrap_or_default())
            }
            Target::Log { .. } => (Offer::Client, "logging".to_owned()),
        }
    }

    /// How the present definition stands, the server being asked if it is not known. Only tools and prompts have one that could change: a resource is its
    /// URI.
    pub(crate) async fn definition(&self, offer: Offer, name: &str) -> Definition {
        if pinned(offer, name).is_none() {
            return Definition::AsPinned;
        }
        // Unless the definitions are known it counts as not seen, which denies it.
        if let Err(why) = self.definitions_fresh().await {
            tracing::warn!(why, "the tool server's definitions could not be compared");
        }
        self.standing_definition(offer, name).await
    }

    async fn standing_definition(&self, offer: Offer, name: &str) -> Definition {
        match pinned(offer, name) {
            Some((offer, name)) => {
                self.definitions.lock().await.of(offer, name, self.engine.snapshot().revision())
            }
            None => Definition::AsPinned,
        }
    }

    /// What the client can be asked during this request, and whether it may see the server's log: what it can, as far as that is granted.
    async fn granted_of_client(&self, params: &UseParams<'_>, era: Era) -> (Capabilities, bool) {
        if !self.asks_clients() {
            return (Capabilities::default(), false);
        }
        let granted = self.granted().await;
        let is_granted =
            |name: &str| ToolName::of(Offer::Client, name).is_ok_and(|name| granted.contains(&name));
        let client = match (era, params.meta.modern()) {
            (Era::Modern, Some(modern)) => {
                Capabilities::read(modern.client_capabilities()).unwrap_or_default().only(is_granted)
            }
            _ => self.handshake().client,
        };
        let may_log = match (era, params.meta.log_level()) {
            // Without a level there is no log.
            (Era::Modern, None) => false,
            (Era::Modern, Some(level)) => self.may_log(Some(level.to_owned())).await,
            (Era::Legacy, _) => self.may_log_unasked().await,
        };
        (client, is_granted("logging") && may_log)
    }

    /// Of what a client can be asked only what is granted.
    pub(crate) async fn granted_only(&self, able: Capabilities) -> Capabilities {
        let granted = self.granted().await;
        able.only(|name| ToolName::of(Offer::Client, name).is_ok_and(|name| granted.contains(&name)))
    }

    /// Whether the server's log may be shown from the level on that the client of an older session wants.
    async fn may_log_unasked(&self) -> bool {
        let level = lock(&self.log_level).clone();
        self.may_log(level).await
    }

    /// Whether the server's log may be shown from this level on.
    async fn may_log(&self, level: Option<String>) -> bool {
        let arguments = match level {
            Some(level) => {
                let target = Target::Log { level: Cow::Owned(level) };
                UseParams { target, retry: Default::default(), meta: Default::default() }.arguments()
            }
            None => b"{}".to_vec(),
        };
        let presented = self.presented(
            "notifications/message",
            Offer::Client,
            "logging",
            arguments,
            Definition::AsPinned,
        );
        self.engine.would(&presented).await.is_ok()
    }

    /// Writes a decided call into the session's trace.
    fn trace_call(&self, decided: &Decided, presented: &Presented) {
        let Some(trace) = &self.settings.trace else { return };
        let decision = match decided {
            Decided::Permitted(permit) => permit.decision(),
            Decided::Asked(decision, _) => decision,
            Decided::Refused(refused) => &refused.decision,
        };
        if let Ok(name) = ToolName::of(presented.offer, &presented.tool) {
            let tool = ToolRef::new(presented.server.clone(), name).to_string();
            trace.call(decision.as_str(), &tool, &presented.arguments);
        }
    }

    /// Tells the client that a use was refused: a tool's refusal is a result, for models read those; any other's is an error.
    pub(crate) async fn refuse(&self, using: &Use<'_>, refused: &Told) -> Reply {
        let refusal = Refusal {
            decision: &refused.0,
            reason: refused.1.as_str(),
            sentence: &refused.2,
            next_step: refused.3.as_str(),
        };
        let Target::Tool(named) = &using.params.target else {
            let resource = match &using.params.target {
                Target::Resource { uri } => Some(uri.as_ref()),
                _ => None,
            };
            let code = match (refused.1, using.era, &using.params.target) {
                // As what is not there would be answered.
                (ReasonCode::ToolNotAvailable, Era::Legacy, Target::Resource { .. }) => {
                    rpc::RESOURCE_NOT_FOUND
                }
                (ReasonCode::ToolNotAvailable, ..) => rpc::INVALID_PARAMS,
                _ => rpc::REFUSED,
            };
            return Reply::fault(using.asked.id, &refusal.to_rpc(code, resource));
        };
        let declares = self.definitions.lock().await.declares_output(&named.name);
        // A tool that is not there for the caller declares nothing to it: a hidden one must answer as an unknown one does.
        let schema = match declares && refused.1 != ReasonCode::ToolNotAvailable {
            true => OutputSchema::Declared,
            false => OutputSchema::None,
        };
        Reply::Line(envelope::result(using.asked.id, &refusal.to_result(using.era, schema)))
    }

    /// Tells the client that its answer to the server was refused: the call that it belongs to was made, and goes no further.
    pub(crate) async fn refuse_answer(&self, using: &Use<'_>, refused: &Told) -> Reply {
        let sentence = format!(
            "What was answered to the server's question may not go to it, so the call goes no further: {}",
            refused.2
        );
        self.refuse(using, &(refused.0.clone(), refused.1, sentence, refused.3)).await
    }

    /// Sends a released call and brings back its answer.
    async fn forward(&self, using: &Use<'_>, release: Release) -> Reply {
        let decided = release.arguments().to_vec();
        let tool = release.tool().clone();
        let owed = Owed::new(self.engine.clone(), release.spend());
        self.go_on(using, Going { owed, decided, tool, responses: &[], state: None, rounds: 0 }).await
    }

    /// Sends what was released and brings back its answer, telling the client meanwhile what the server asks and says.
    pub(crate) async fn go_on(&self, using: &Use<'_>, going: Going<'_, S>) -> Reply {
        let Going { owed, decided, tool, responses, state, rounds } = going;
        let not_sent = if rounds > 0 { Outcome::Cancelled } else { Outcome::NotSent };
        let Use { asked, params, .. } = using;
        let own = match &params.target {
            Target::Tool(named) | Target::Prompt(named) => named.arguments.is_some(),
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
        let span = self.spans.upstream(&self.settings.server, asked.method, self.described(&params.target));
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
        if using.log
            && let Some(receipt) = &live.owed.receipt
        {
            *lock(&self.last) = Some(Late { receipt: receipt.clone(), aside: live.owed.aside });
        }
        let took = begun.elapsed();
        if let Err(cause) = &answer {
            span.failed(cause.word());
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
        live: Live<'_, S>,
        decided: &[u8],
        tool: &ToolRef,
        answer: &Answer,
        took: Duration,
    ) -> Reply {
        let Live { mut owed, using, rounds, .. } = live;
        let id = using.asked.id;
        let redacted;
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
                _ => match self.as_it_may_be_shown(using, tool, &owes, result) {
                    Ok(shown) => {
                        redacted = shown;
                        let read = self.read_result(using, redacted.as_deref().unwrap_or(result), rounds > 0);
                        // The record keeps all of it, sealed.
                        read.map(|brought| Brought { body: result.get().as_bytes(), ..brought })
                    }
                    Err(why) => Err(why),
                },
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

    /// A completed result, if it has to be another than it was: what the permit says is left out. What a tool promised of its result is held against
    /// it before.
    fn as_it_may_be_shown(
        &self,
        using: &Use<'_>,
        tool: &ToolRef,
        owes: &BTreeSet<Obligation>,
        result: &RawValue,
    ) -> Result<Option<Box<RawValue>>, String> {
        if let Target::Tool(_) = &using.params.target {
            let parsed = ToolResult::parse(result).map_err(|cause| cause.to_string())?;
            if !parsed.is_error {
                let structured = output_of(&parsed).structured;
                self.engine.snapshot().check_output(tool, structured.as_ref())?;
            }
        }
        obligations::shown(owes, &using.params.target, result)
    }

    /// A completed result, as it reads for what was used.
    fn read_result<'a>(
        &self,
        using: &Use<'_>,
        result: &'a RawValue,
        is_retry: bool,
    ) -> Result<Brought<'a>, String> {
        let id = using.asked.id;
        let plain = |shown: Result<Shown<'a>, ResultError>| {
            let shown = shown.map_err(|cause| cause.to_string())?;
            let texts = shown.texts.into_iter().map(Cow::into_owned).collect();
            Ok::<_, String>((Outcome::Succeeded, Output { texts, others: shown.others, ..Output::default() }))
        };
        let (outcome, output) = match (&using.params.target, using.asked.method) {
            (Target::Tool(_), _) => {
                let parsed = ToolResult::parse(result).map_err(|cause| cause.to_string())?;
                let output = output_of(&parsed);
                (if parsed.is_error { Outcome::Failed } else { Outcome::Succeeded }, output)
            }
            (Target::Prompt(_), _) => plain(Shown::prompt(result))?,
            (Target::Resource { .. }, "resources/read") => plain(Shown::resource(result))?,
            (Target::Completion { .. }, _) => plain(Shown::completion(result))?,
            (Target::Resource { .. } | Target::Log { .. }, _) => plain(Shown::nothing(result))?,
        };
        let fragment = match (using.asked.method, using.era) {
            ("resources/read", _) => {
                made_private(result, using.era, is_retry).map_err(|cause| cause.to_string())?
            }
            ("resources/subscribe" | "logging/setLevel", _) => Fragment::empty_object(),
            _ => Fragment::from(result),
        };
        let reply = Reply::Line(envelope::result(id, &fragment));
        Ok(Brought { outcome, reply, body: result.get().as_bytes(), output })
    }

    /// Ends a subscription: that takes nothing from anybody, so it is asked for only if there is one.
    async fn unsubscribe(&self, using: &Use<'_>) -> Reply {
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

/// What came back for a use, ready to be taken in and shown.
struct Brought<'a> {
    outcome: Outcome,
    reply: Reply,
    body: &'a [u8],
    output: Output,
}

/// A server's own error of a call, as it wrote it.
fn relayed(id: &Id<'_>, error: &RawValue) -> Reply {
    Reply::Fault(envelope::relayed_error(id, &Fragment::from(error)), rpc::code_of(error))
}

/// What goes with the permit keeps an answer from being shown. That is no fault of the server.
fn withheld_by_policy<S: Store>(id: &Id<'_>, owed: Owed<S>, why: &str, took: Duration) -> Reply {
    let name = owed.name();
    tracing::warn!(why, decision = name.trim(), obligations = ?owed.obligations(), "an answer was withheld by what goes with its permit");
    owed.tell(Outcome::Withheld, took);
    let message = format!("the organization's policy does not let this answer be shown: {why}{name}");
    Reply::fault(id, &RpcError::new(rpc::REFUSED, message))
}

fn withheld<S: Store>(id: &Id<'_>, owed: Owed<S>, why: &str, took: Duration) -> Reply {
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

/// The list entry on which something rests that could change.
fn pinned(offer: Offer, name: &str) -> Option<(Offer, &str)> {
    match offer {
        Offer::Tool | Offer::Prompt => Some((offer, name)),
        Offer::Completion => name.strip_prefix("prompt/").map(|prompt| (Offer::Prompt, prompt)),
        Offer::Resource | Offer::Client => None,
    }
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

/// What a client is told of a refusal: the decision, the reason, a sentence and the next step.
pub(crate) type Told = (String, ReasonCode, String, NextStep);

pub(crate) fn from_refused(refused: &Refused) -> Told {
    let (code, sentence, next) = refused.refusal.primary();
    (refused.decision.to_string(), code, sentence, next)
}

pub(crate) fn from_question(decision: &DecisionId, question: &Question) -> Told {
    let code = ReasonCode::ApprovalRequired;
    let asked = question.asked.join(" and ");
    (
        decision.to_string(),
        code,
        format!("{} Nothing was done. To be asked: {asked}.", code.sentence()),
        code.next_step(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_an_answer_no_more_is_shown_than_its_permit_and_the_bounds_allow() {
        let part = |bytes: usize| RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
        let small = part(10);
        let owes = |obligation| BTreeSet::from([obligation]);
        let redact = owes(Obligation::Redact("a".parse().unwrap()));
        assert!(Aside::default().admit(&redact, &small).is_err());
        let (cap, mut aside) = (owes(Obligation::Cap(25)), Aside::default());
        assert_eq!(aside.admit(&cap, &small).ok(), Some(1));
        assert_eq!(aside.admit(&cap, &small).ok(), Some(2));
        assert!(aside.admit(&cap, &small).is_err(), "the cap is on all parts together");
        let (none, mut aside) = (BTreeSet::new(), Aside::default());
        assert!((1..=MAX_SHOWN).all(|nth| aside.admit(&none, &small).ok() == Some(nth)));
        assert!(aside.admit(&none, &small).is_err());
        assert!(Aside::default().admit(&none, &part(MAX_SHOWN_BYTES + 1)).is_err());
    }
}
