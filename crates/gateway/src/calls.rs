//! The client's requests, one by one.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use warrantor_decide::{Output, Presence};
use warrantor_engine::{Answer as Decided, Engine, Presented, Receipt, Refused, Release, Withheld};
use warrantor_mcp::{
    Era, Fragment, Id, Meta, RpcError, envelope,
    era::{Declared, declared},
    handshake::{DiscoverResult, InitializeResult, Instructions, initialize_request},
    params::{InitializeParams, ListParams, ToolCallParams, only_meta},
    refusal::{OutputSchema, Refusal},
    result::ToolResult,
    rpc,
    tools::ToolList,
};
use warrantor_model::{
    DecisionId, Definition, Finding, Json, Manifest, NextStep, Question, ReasonCode, ToolName, ToolRef,
    record::Outcome,
};
use warrantor_store::Store;

use crate::{
    definitions::{Listing, MAX_LISTINGS, MAX_PAGES},
    exchange::{Asked, Exchange, Reply, repeated_parameters},
    upstream::{Answer, Mirror, NoAnswer, Pending, Request, Said},
};

/// Why an answer is not shown, in words that hold nothing of it. The log says more.
const WITHHELD: &str = "it is not as the protocol demands; the log says how";

/// The outcome that is owed for a call that was released. Whatever ends the task that has it, an outcome is told.
struct Owed<S: Store> {
    engine: Engine<S>,
    receipt: Option<Receipt>,
}

impl<S: Store> Owed<S> {
    /// Tells the outcome in the background: nothing is shown.
    fn tell(mut self, outcome: Outcome, took: Duration) {
        if let Some(receipt) = self.receipt.take() {
            self.engine.outcome_later(receipt, outcome, took);
        }
    }

    /// Takes the result into the task's history, so that it can be shown.
    async fn take_in(
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

    fn decision(&self) -> Option<DecisionId> {
        self.receipt.as_ref().map(|receipt| receipt.decision().clone())
    }

    /// The decision, for messages.
    fn name(&self) -> String {
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

impl<S: Store> Exchange<S> {
    /// Answers one request.
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Reply {
        let Asked { id, method, params, .. } = *asked;
        let era = match declared(method, params) {
            Ok(Declared::Handshake(params)) => return self.initialize(id, &params).await,
            Ok(Declared::Modern(_)) => Era::Modern,
            Ok(Declared::Nothing) => Era::Legacy,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        if method == "server/discover" {
            return self.discover(id, params).await;
        }
        if let Err(error) = self.same_era(era, params).await {
            return Reply::fault(id, &error);
        }
        match method {
            "ping" if era == Era::Legacy => self.ping(id, params).await,
            "tools/list" => self.list(id, era, params).await,
            "tools/call" => self.call(asked, era).await,
            other => self.refuse_method(id, other).await,
        }
    }

    /// Refuses a request of another era than the one both sides speak. A modern client that did not probe is probed for.
    async fn same_era(&self, era: Era, params: Option<&RawValue>) -> Result<(), RpcError> {
        let spoken = self.handshake().era;
        match (spoken, era) {
            (Some(spoken), era) if spoken == era => {}
            (None, Era::Modern) => {
                let meta = warrantor_mcp::params::meta_of(params).map_err(|cause| cause.to_rpc())?;
                self.probe(&meta).await?;
            }
            (None, Era::Legacy) => {
                return Err(RpcError::new(rpc::INVALID_REQUEST, "the session begins with `initialize`"));
            }
            (Some(_), _) => {
                return Err(RpcError::new(
                    rpc::INVALID_REQUEST,
                    "this connection speaks the other era of the protocol",
                ));
            }
        }
        if era == Era::Modern {
            let meta = params.and_then(|params| {
                serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(params.get()).ok()
            });
            self.handshake().modern_meta = meta.and_then(|m| m.get("_meta").map(ToString::to_string));
        }
        Ok(())
    }

    async fn probe(&self, meta: &Meta<'_>) -> Result<(), RpcError> {
        let modern = match &self.ask_plainly("server/discover", meta).await {
            Ok(answer) => {
                matches!(answer.said(&self.settings.upstream_limits), Ok(Said::Result(result)) if DiscoverResult::parse(result).is_ok())
            }
            Err(cause) => return Err(RpcError::new(rpc::INTERNAL_ERROR, cause.to_string())),
        };
        if !modern {
            return Err(RpcError::new(
                rpc::INVALID_REQUEST,
                "the tool server speaks the older era: begin with `initialize`",
            ));
        }
        self.handshake().era = Some(Era::Modern);
        Ok(())
    }

    async fn initialize(&self, id: &Id<'_>, params: &InitializeParams<'_>) -> Reply {
        let begun = {
            let mut handshake = self.handshake();
            std::mem::replace(&mut handshake.initializing, true) || handshake.era.is_some()
        };
        if begun {
            return Reply::error(id, rpc::INVALID_REQUEST, "this connection has been initialized");
        }
        let pending = self.upstream.announce(None);
        let line = initialize_request(pending.id, params);
        let mirror = Mirror { method: "initialize", ..Mirror::default() };
        let answer = self.ask(pending, Request { line, mirror }, self.settings.request_timeout).await;
        let reply = self.relay(id, &answer, |result| {
            let result = InitializeResult::parse(result).map_err(|cause| cause.to_string())?;
            let instructions = self.instructions(result.instructions());
            let learnt = (instructions, result.instructions().is_some(), result.version());
            Ok((result.to_client(instructions), learnt))
        });
        match reply {
            Ok((line, (instructions, given, version))) => {
                self.note_instructions(instructions, given).await;
                self.upstream.speaks(version);
                self.handshake().era = Some(Era::Legacy);
                Reply::Line(line)
            }
            Err(reply) => {
                self.handshake().initializing = false;
                reply
            }
        }
    }

    async fn discover(&self, id: &Id<'_>, params: Option<&RawValue>) -> Reply {
        if self.handshake().era == Some(Era::Legacy) {
            return Reply::error(
                id,
                rpc::INVALID_REQUEST,
                "this connection speaks the older era of the protocol",
            );
        }
        let meta = match only_meta(params) {
            Ok(meta) => meta,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        let answer = self.ask_plainly("server/discover", &meta).await;
        let reply = self.relay(id, &answer, |result| {
            let result = DiscoverResult::parse(result).map_err(|cause| cause.to_string())?;
            let instructions = self.instructions(result.instructions());
            Ok((result.to_client(instructions), (instructions, result.instructions().is_some())))
        });
        match reply {
            Ok((line, (instructions, given))) => {
                self.note_instructions(instructions, given).await;
                self.handshake().era = Some(Era::Modern);
                Reply::Line(line)
            }
            Err(reply) => reply,
        }
    }

    /// Sends an announced request and waits for its answer.
    async fn ask(&self, pending: Pending, request: Request, patience: Duration) -> Result<Answer, NoAnswer> {
        let about = pending.id;
        self.upstream.ask(pending, request, patience, |line| self.hear(Some(about), line)).await
    }

    /// Asks something that has no parameters but `_meta`.
    async fn ask_plainly(&self, method: &'static str, meta: &Meta<'_>) -> Result<Answer, NoAnswer> {
        self.ask_page(method, None, meta).await
    }

    /// Asks for a page of a list.
    async fn ask_page(
        &self,
        method: &'static str,
        cursor: Option<&str>,
        meta: &Meta<'_>,
    ) -> Result<Answer, NoAnswer> {
        let pending = self.upstream.announce(None);
        let line = envelope::list(pending.id, method, cursor, meta);
        let mirror = Mirror { method, modern: meta.modern().map(|m| m.version()), ..Mirror::default() };
        self.ask(pending, Request { line, mirror }, self.settings.request_timeout).await
    }

    /// The line for the client from an upstream's answer: the rebuilt result, or an error as the upstream gave it.
    fn relay<T>(
        &self,
        id: &Id<'_>,
        answer: &Result<Answer, NoAnswer>,
        rebuild: impl FnOnce(&RawValue) -> Result<(Fragment<'static>, T), String>,
    ) -> Result<(Vec<u8>, T), Reply> {
        let answer =
            answer.as_ref().map_err(|cause| Reply::error(id, rpc::INTERNAL_ERROR, cause.to_string()))?;
        let internal = |why: String| {
            tracing::warn!(why, "an answer of the tool server was withheld");
            let message = format!("the tool server's answer was withheld: {WITHHELD}");
            Reply::error(id, rpc::INTERNAL_ERROR, message)
        };
        match answer.said(&self.settings.upstream_limits).map_err(internal)? {
            // Its words stay here: they would be read by whoever reads results, and are in no history.
            Said::Error(error) => {
                tracing::info!(error = error.get(), "the tool server answered with an error");
                let code = serde_json::from_str::<serde_json::Value>(error.get());
                let code = code.ok().and_then(|error| error.get("code")?.as_i64());
                let error = RpcError::new(
                    code.unwrap_or(rpc::INTERNAL_ERROR),
                    "the tool server answered with this error",
                );
                Err(Reply::Line(envelope::error(Some(id), &error)))
            }
            Said::Result(result) => {
                let (fragment, learnt) = rebuild(result).map_err(internal)?;
                Ok((envelope::result(id, &fragment), learnt))
            }
        }
    }

    /// Whether the server's instructions are the pinned ones.
    fn instructions(&self, present: Option<&str>) -> Instructions {
        let pinned =
            self.engine.snapshot().manifest(&self.settings.server).and_then(|m| m.instructions.as_deref());
        if present.is_some() && present == pinned { Instructions::Pinned } else { Instructions::Withheld }
    }

    async fn note_instructions(&self, instructions: Instructions, given: bool) {
        self.definitions.lock().await.instructions_withheld = given && instructions == Instructions::Withheld;
    }

    async fn ping(&self, id: &Id<'_>, params: Option<&RawValue>) -> Reply {
        let meta = match only_meta(params) {
            Ok(meta) => meta,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        match self.ask_plainly("ping", &meta).await {
            Ok(_) => Reply::Line(envelope::result(id, &Fragment::empty_object())),
            Err(cause) => Reply::error(id, rpc::INTERNAL_ERROR, cause.to_string()),
        }
    }

    /// `tools/list`: the upstream's page, filtered by what the task could call and what is exactly as reviewed.
    async fn list(&self, id: &Id<'_>, era: Era, params: Option<&RawValue>) -> Reply {
        let params = match ListParams::parse(params) {
            Ok(params) => params,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        if let Some(cursor) = params.cursor.as_deref()
            && !self.gave_out(cursor)
        {
            return Reply::error(
                id,
                rpc::INVALID_PARAMS,
                "this cursor was not given out: list from the start",
            );
        }
        if let Err(why) = self.definitions_fresh().await {
            return Reply::error(id, rpc::INTERNAL_ERROR, why);
        }
        let presence =
            Presence { server: self.settings.server.clone(), evidence: self.settings.evidence.clone() };
        let granted = self.engine.listed(&self.settings.mandate, &presence).await;
        let answer = self.ask_page("tools/list", params.cursor.as_deref(), &params.meta).await;
        let mut definitions = self.definitions.lock().await;
        let reply = self.relay(id, &answer, |result| {
            let list = ToolList::parse(result).map_err(|cause| cause.to_string())?;
            if let Some(cursor) = list.next_cursor() {
                self.remember_cursor(cursor);
            }
            // The page is judged itself, so that nothing slips in between two listings.
            let mut page = Listing::default();
            page.page(self.engine.snapshot().manifest(&self.settings.server), &list);
            let fragment = list.filtered(era, |tool| {
                ToolName::new(tool.name.to_string()).is_ok_and(|name| granted.contains(&name))
                    && page.is_as_pinned(&tool.name)
                    && definitions.of(&tool.name) == Definition::AsPinned
            });
            definitions.see(&page);
            Ok((fragment, ()))
        });
        drop(definitions);
        reply.map_or_else(|reply| reply, |(line, ())| Reply::Line(line))
    }

    /// Sees to it that the server's definitions have been compared with their pins.
    async fn definitions_fresh(&self) -> Result<(), String> {
        // Everybody waits for one listing, and none longer than for an answer: a server that does not answer must not keep a queue of them.
        tokio::time::timeout(self.settings.request_timeout, self.make_definitions_fresh())
            .await
            .unwrap_or_else(|_| Err("the tool server did not list its tools in time".to_owned()))
    }

    async fn make_definitions_fresh(&self) -> Result<(), String> {
        let mut definitions = self.definitions.lock().await;
        let snapshot = self.engine.snapshot();
        let Some(manifest) = snapshot.manifest(&self.settings.server) else { return Ok(()) };
        for _ in 0..MAX_LISTINGS {
            if definitions.is_fresh() {
                return Ok(());
            }
            let news = definitions.news();
            let listing = self.whole_listing(manifest).await?;
            if let Some(record) = definitions.learn(manifest, listing, news) {
                tracing::warn!(changed = ?record.changed, unknown = ?record.unknown, missing = ?record.missing, "the tool server's definitions differ from the manifest");
                self.engine.note_definitions(record);
            }
        }
        if definitions.is_fresh() {
            return Ok(());
        }
        Err(format!(
            "the tool server said {MAX_LISTINGS} times that its tools changed while they were listed"
        ))
    }

    /// Every page of the server's tools, compared with the pins.
    async fn whole_listing(&self, manifest: &Manifest) -> Result<Listing, String> {
        let meta_text = self.handshake().modern_meta.clone();
        let raw: Option<Box<RawValue>> = meta_text.and_then(|text| RawValue::from_string(text).ok());
        let meta = match &raw {
            Some(raw) => Meta::parse(raw).map_err(|cause| cause.to_string())?,
            None => Meta::default(),
        };
        let mut listing = Listing::default();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let answer =
                self.ask_page("tools/list", cursor.as_deref(), &meta).await.map_err(|c| c.to_string())?;
            let result = match answer.said(&self.settings.upstream_limits)? {
                Said::Result(result) => result,
                Said::Error(error) => {
                    tracing::warn!(error = error.get(), "the tool server does not list its tools");
                    return Err("the tool server does not list its tools".to_owned());
                }
            };
            let list = ToolList::parse(result).map_err(|cause| {
                tracing::warn!(%cause, "the tool server's list was not taken");
                "the tool server's list of tools is not as the protocol demands".to_owned()
            })?;
            listing.page(Some(manifest), &list);
            cursor = list.next_cursor().map(str::to_owned);
            if cursor.is_none() {
                return Ok(listing);
            }
        }
        Err(format!("the tool server lists its tools on more than {MAX_PAGES} pages"))
    }

    async fn call(&self, asked: &Asked<'_>, era: Era) -> Reply {
        let id = asked.id;
        let params = match ToolCallParams::parse(asked.params) {
            Ok(params) => params,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        // Unless the definitions are known the tool counts as not seen, which denies it.
        if let Err(why) = self.definitions_fresh().await {
            tracing::warn!(why, "the tool server's definitions could not be compared");
        }
        let (definition, schema) = {
            let definitions = self.definitions.lock().await;
            let schema = if definitions.declares_output(&params.name) {
                OutputSchema::Declared
            } else {
                OutputSchema::None
            };
            (definitions.of(&params.name), schema)
        };
        let presented = Presented {
            method: "tools/call".to_owned(),
            mandate: self.settings.mandate.clone(),
            server: self.settings.server.clone(),
            tool: params.name.to_string(),
            arguments: params.arguments.map_or_else(|| b"{}".to_vec(), |raw| raw.get().as_bytes().to_vec()),
            evidence: self.settings.evidence.clone(),
            definition,
        };
        let decided = self.engine.authorize(&presented).await;
        self.trace_call(&decided, &presented);
        let refused = match decided {
            Decided::Permitted(permit) if self.definitions.lock().await.of(&params.name) != definition => {
                let detail = "the server changed its tools while the call was decided";
                from_refused(&self.engine.decline(permit, Finding::new(ReasonCode::ToolChanged, detail)))
            }
            Decided::Permitted(permit) => match self.engine.release(permit) {
                Ok(release) => return self.forward(asked, &params, release).await,
                Err(refused) => from_refused(&refused),
            },
            Decided::Refused(refused) => from_refused(&refused),
            Decided::Asked(decision, question) => from_question(&decision, &question),
        };
        // A tool that is not there for the caller declares nothing to it: a hidden one must answer as an unknown one does.
        let schema = if refused.1 == ReasonCode::ToolNotAvailable { OutputSchema::None } else { schema };
        let refusal = Refusal {
            decision: &refused.0,
            reason: refused.1.as_str(),
            sentence: &refused.2,
            next_step: refused.3.as_str(),
        };
        Reply::Line(envelope::result(id, &refusal.to_result(era, schema)))
    }

    /// Writes a decided call into the session's trace.
    fn trace_call(&self, decided: &Decided, presented: &Presented) {
        let Some(trace) = &self.settings.trace else { return };
        let decision = match decided {
            Decided::Permitted(permit) => permit.decision(),
            Decided::Asked(decision, _) => decision,
            Decided::Refused(refused) => &refused.decision,
        };
        let tool = format!("{}/{}", presented.server, presented.tool);
        if tool.parse::<ToolRef>().is_ok() {
            trace.call(decision.as_str(), &tool, &presented.arguments);
        }
    }

    /// Sends a released call and brings back its answer.
    async fn forward(&self, asked: &Asked<'_>, params: &ToolCallParams<'_>, release: Release) -> Reply {
        let id = asked.id;
        let wants_progress = params.meta.progress_token().map(|token| token.clone().into_owned());
        let sent = release.arguments().to_vec();
        let tool = release.tool().clone();
        let owed = Owed { engine: self.engine.clone(), receipt: Some(release.spend()) };
        let arguments: Option<&RawValue> = match params.arguments.map(|_| serde_json::from_slice(&sent)) {
            None => None,
            Some(Ok(arguments)) => Some(arguments),
            // They were read before, so this does not happen; sending the call without them would be another call.
            Some(Err(cause)) => {
                owed.tell(Outcome::NotSent, Duration::ZERO);
                return Reply::error(id, rpc::INTERNAL_ERROR, cause.to_string());
            }
        };
        let Some(pending) = asked.flight.take_off(&self.upstream, wants_progress.clone()) else {
            owed.tell(Outcome::NotSent, Duration::ZERO);
            return Reply::Nothing;
        };
        let ours = pending.id;
        let name = tool.tool.as_str();
        let line = envelope::tool_call(ours, name, arguments, &params.meta, wants_progress.map(|_| ours));
        let modern = params.meta.modern().map(|modern| modern.version());
        let parameters = match modern {
            // Where headers count, marks that are not valid have refused the call before it was decided.
            Some(_) => repeated_parameters(self.engine.snapshot(), &tool, &sent).unwrap_or_default(),
            None => Vec::new(),
        };
        let mirror = Mirror { method: "tools/call", name: Some(name.to_owned()), parameters, modern };
        let begun = Instant::now();
        let answer = self.ask(pending, Request { line, mirror }, self.settings.call_timeout).await;
        let took = begun.elapsed();
        match answer {
            Ok(answer) => self.bring_back(id, owed, &answer, took).await,
            Err(cause) => {
                let outcome = match &cause {
                    NoAnswer::NotSent | NoAnswer::TakenBack => Outcome::NotSent,
                    NoAnswer::Ended | NoAnswer::TimedOut | NoAnswer::Broken(_) => Outcome::Unknown,
                    NoAnswer::Cancelled => Outcome::Cancelled,
                };
                let message = format!("{cause}{}", owed.name());
                owed.tell(outcome, took);
                // A client that took its request back expects no answer.
                match cause {
                    NoAnswer::Cancelled | NoAnswer::TakenBack => Reply::Nothing,
                    _ => Reply::error(id, rpc::INTERNAL_ERROR, message),
                }
            }
        }
    }

    async fn bring_back(&self, id: &Id<'_>, mut owed: Owed<S>, answer: &Answer, took: Duration) -> Reply {
        // What is wrong with it may quote it, and nothing of a withheld answer is shown.
        let withheld = |why: &str, name: String| {
            tracing::warn!(why, decision = name.trim(), "an answer of the tool server was withheld");
            let message = format!("the tool server's answer was withheld: {WITHHELD}{name}");
            Reply::error(id, rpc::INTERNAL_ERROR, message)
        };
        let (outcome, line, body, output) = match answer.said(&self.settings.upstream_limits) {
            Ok(Said::Error(error)) => (
                Outcome::Refused,
                envelope::relayed_error(id, &Fragment::from(error)),
                error.get().as_bytes(),
                Output { others: vec![error.get().to_owned()], error: true, ..Output::default() },
            ),
            Ok(Said::Result(result)) => match ToolResult::parse(result) {
                Err(cause) => {
                    let reply = withheld(&cause.to_string(), owed.name());
                    owed.tell(Outcome::Withheld, took);
                    return reply;
                }
                Ok(parsed) => {
                    let outcome = if parsed.is_error { Outcome::Failed } else { Outcome::Succeeded };
                    let line = envelope::result(id, &Fragment::from(result));
                    (outcome, line, result.get().as_bytes(), output_of(&parsed))
                }
            },
            Err(why) => {
                let reply = withheld(&why, owed.name());
                owed.tell(Outcome::Withheld, took);
                return reply;
            }
        };
        let (name, decision) = (owed.name(), owed.decision());
        match owed.take_in(outcome, body, &output, took).await {
            Ok(()) => {
                if let (Some(trace), Some(decision)) = (&self.settings.trace, decision) {
                    trace.result(decision.as_str(), &output);
                }
                Reply::Line(line)
            }
            Err(cause) => {
                tracing::warn!(%cause, decision = name.trim(), "an answer of the tool server was withheld");
                let message = format!("the tool server's answer was withheld: {cause}{name}");
                Reply::error(id, rpc::INTERNAL_ERROR, message)
            }
        }
    }

    async fn refuse_method(&self, id: &Id<'_>, method: &str) -> Reply {
        let presented = Presented {
            method: method.chars().take(128).collect(),
            mandate: self.settings.mandate.clone(),
            server: self.settings.server.clone(),
            tool: String::new(),
            arguments: b"{}".to_vec(),
            evidence: self.settings.evidence.clone(),
            definition: Definition::NotSeen,
        };
        let refused = self.engine.refuse_method(&presented).await;
        let message =
            format!("{} (decision {})", ReasonCode::MethodNotAvailable.sentence(), refused.decision);
        Reply::error(id, rpc::METHOD_NOT_FOUND, message)
    }
}

/// What a result says, for the task's history. Nothing of it may be missing: what is no text and no structure counts as anyone's.
fn output_of(result: &ToolResult<'_>) -> Output {
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
                output.others.extend(block.others.iter().map(|raw| raw.get().to_owned()));
            }
            None => output.others.push(block.described()),
        }
    }
    output.others.extend(result.others.iter().map(|raw| raw.get().to_owned()));
    output
}

fn from_refused(refused: &Refused) -> (String, ReasonCode, String, NextStep) {
    let (code, sentence, next) = refused.refusal.primary();
    (refused.decision.to_string(), code, sentence, next)
}

fn from_question(decision: &DecisionId, question: &Question) -> (String, ReasonCode, String, NextStep) {
    let code = ReasonCode::ApprovalRequired;
    let asked = question.asked.join(" and ");
    (
        decision.to_string(),
        code,
        format!("{} Nothing was done. To be asked: {asked}.", code.sentence()),
        code.next_step(),
    )
}
