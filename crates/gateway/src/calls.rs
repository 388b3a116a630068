//! The client's requests, one by one: the opening, and whose business each of the others is.

use std::{collections::BTreeSet, time::Duration};

use opentelemetry::context::FutureExt;
use serde_json::value::RawValue;
use tokio::time::Instant;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Era, Fragment, Id, Meta, ParamsError, RpcError,
    capabilities::Capabilities,
    envelope,
    era::{Declared, declared},
    handshake::{DiscoverResult, InitializeResult, Instructions, initialize_request},
    params::{InitializeParams, only_meta},
    rpc,
    tasks::TaskParams,
    tools::List,
    uses::{Target, UseParams},
};
use warrantor_model::{Definition, Offer, ReasonCode, ToolName};

use crate::{
    answers::WITHHELD,
    exchange::{Asked, Exchange, Reply},
    metrics::Stage,
    upstream::{Answer, Mirror, NoAnswer, Pending, Request, Said},
};

impl<P: DecisionPoint> Exchange<P> {
    /// Answers one request.
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Reply {
        if !self.spans.are_wanted() {
            return self.answer_it(asked).await;
        }
        let meta = warrantor_mcp::params::meta_of(asked.params).ok();
        let trace = meta.as_ref().and_then(Meta::trace).or(asked.flight.trace());
        let used = UseParams::parse(asked.method, asked.params).and_then(Result::ok);
        let target = used.as_ref().and_then(|used| self.told_of(&used.target));
        let span = self.spans.request(&self.settings.server, asked.method, target, trace);
        let reply = Box::pin(self.answer_it(asked)).with_context(span.context()).await;
        span.answered(&reply);
        reply
    }

    /// What a span may tell of a target, if anybody wants spans: its name, if the manifest has it. Others could say anything.
    pub(crate) fn told_of<'a>(&self, target: &'a Target<'_>) -> Option<(Offer, &'a str)> {
        if !self.spans.are_wanted() {
            return None;
        }
        let (offer, name) = match target {
            Target::Tool(named) => (Offer::Tool, named.name.as_ref()),
            Target::Prompt(named) => (Offer::Prompt, named.name.as_ref()),
            Target::Resource { .. } | Target::Completion { .. } | Target::Log { .. } => return None,
        };
        let known = ToolName::of(offer, name).ok()?;
        let snapshot = self.engine.snapshot();
        let is_described = snapshot.manifest(&self.settings.server)?.tools.contains_key(&known);
        is_described.then_some((offer, name))
    }

    /// What is large and soon over is boxed: a subscription waits here for hours, and would have room for all of it.
    async fn answer_it(&self, asked: &Asked<'_>) -> Reply {
        let Asked { id, method, params, .. } = *asked;
        let era = match declared(method, params) {
            Ok(Declared::Handshake(params)) => return Box::pin(self.initialize(id, &params)).await,
            Ok(Declared::Modern(_)) => Era::Modern,
            Ok(Declared::Nothing) => Era::Legacy,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        if method == "server/discover" {
            return Box::pin(self.discover(id, params)).await;
        }
        if let Err(error) = Box::pin(self.same_era(era, params)).await {
            return Reply::fault(id, &error);
        }
        if let Some(list) = List::asked_by(method).filter(|list| self.has(*list)) {
            return Box::pin(self.list(id, era, list, params)).await;
        }
        if let Some(params) =
            TaskParams::parse(method, params).filter(|_| era == Era::Modern && self.has_tasks())
        {
            return match params {
                Ok(params) => Box::pin(self.task(asked, &params)).await,
                Err(cause) => Reply::fault(id, &cause.to_rpc()),
            };
        }
        match method {
            "ping" if era == Era::Legacy => Box::pin(self.ping(id, params)).await,
            "subscriptions/listen" if era == Era::Modern => self.listen_for(asked).await,
            // What the newer era has given up is no method of it.
            "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" if era == Era::Modern => {
                Box::pin(self.refuse_method(id, method)).await
            }
            method => match UseParams::parse(method, params).filter(|_| self.is_described(method)) {
                Some(Ok(params)) => Box::pin(self.use_offer(asked, params, era)).await,
                Some(Err(cause)) => Reply::fault(id, &cause.to_rpc()),
                None => Box::pin(self.refuse_method(id, method)).await,
            },
        }
    }

    /// Whether the manifest describes anything that this method uses. Tools are always told of as such.
    fn is_described(&self, method: &str) -> bool {
        match method {
            "tools/call" => true,
            "prompts/get" => self.has(List::Prompts),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => self.has(List::Resources),
            "completion/complete" => self.describes(|name| name.offer() == Offer::Completion),
            _ => self.describes(|name| name.as_str() == "client:logging"),
        }
    }

    /// Whether the manifest describes entries of this list.
    pub(crate) fn has(&self, list: List) -> bool {
        match list {
            List::Tools => true,
            List::Prompts => self.describes(|name| name.offer() == Offer::Prompt),
            List::Resources | List::Templates => self.describes(|name| name.offer() == Offer::Resource),
        }
    }

    /// Whether the server may ask anything of clients, or tell them its log.
    pub(crate) fn asks_clients(&self) -> bool {
        self.describes(|name| name.offer() == Offer::Client)
    }

    /// Whether the server's log may be shown to anybody.
    pub(crate) fn logs(&self) -> bool {
        self.is_described("logging/setLevel")
    }

    /// Whether answers may come as tasks.
    fn has_tasks(&self) -> bool {
        self.describes(|name| name.as_str() == "client:tasks")
    }

    fn describes(&self, wanted: impl Fn(&ToolName) -> bool) -> bool {
        let snapshot = self.engine.snapshot();
        let manifest = snapshot.manifest(&self.settings.server);
        manifest.is_some_and(|manifest| manifest.tools.keys().any(wanted))
    }

    /// What of the server's capabilities the client is told of: what the manifest describes.
    fn announced(&self) -> Vec<&'static str> {
        let described = [
            ("tools", true),
            ("prompts", self.has(List::Prompts)),
            ("resources", self.has(List::Resources)),
            ("completions", self.is_described("completion/complete")),
            ("logging", self.is_described("logging/setLevel")),
            ("tasks", self.has_tasks()),
        ];
        described.into_iter().filter(|(_, described)| *described).map(|(name, _)| name).collect()
    }

    /// What the task could use of the server now.
    pub(crate) async fn granted(&self) -> BTreeSet<ToolName> {
        self.engine.listed(&self.settings.mandate, &self.presence()).await
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
        let granted = self.granted().await;
        let is_granted =
            |name: &str| ToolName::of(Offer::Client, name).is_ok_and(|name| granted.contains(&name));
        let (client, able) = match Capabilities::read(params.capabilities) {
            Ok(able) => (able.only(is_granted), able),
            Err(cause) => {
                self.handshake().initializing = false;
                return Reply::fault(id, &ParamsError::from(cause).to_rpc());
            }
        };
        let pending = self.upstream.announce(None, None);
        let line = initialize_request(pending.id, params, client);
        let mirror = Mirror { method: "initialize", ..Mirror::default() };
        let answer = self.ask(pending, Request { line, mirror }, self.settings.request_timeout).await;
        let reply = self.relay(id, &answer, |result| {
            let result = InitializeResult::parse(result).map_err(|cause| cause.to_string())?;
            let instructions = self.instructions(result.instructions());
            let given = result.instructions().map(str::to_owned);
            let learnt = (instructions, given, result.version());
            Ok((result.to_client(instructions, &self.announced()), learnt))
        });
        match reply {
            Ok((line, (instructions, given, version))) => {
                self.note_instructions(instructions, given).await;
                self.upstream.speaks(version);
                let mut handshake = self.handshake();
                handshake.era = Some(Era::Legacy);
                handshake.client = client;
                handshake.able = able;
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
            let given = result.instructions().map(str::to_owned);
            Ok((result.to_client(instructions, &self.announced()), (instructions, given)))
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
    pub(crate) async fn ask(
        &self,
        pending: Pending,
        request: Request,
        patience: Duration,
    ) -> Result<Answer, NoAnswer> {
        let about = pending.id;
        let (begun, lasts) = (Instant::now(), request.mirror.method == "subscriptions/listen");
        let answer = self.upstream.ask(pending, request, patience, |line| self.hear(Some(about), line)).await;
        self.metrics.answered(&self.settings.server, &answer);
        if !lasts {
            self.metrics.took(&self.settings.server, Stage::Upstream, begun.elapsed());
        }
        answer
    }

    /// Asks something that has no parameters but `_meta`.
    async fn ask_plainly(&self, method: &'static str, meta: &Meta<'_>) -> Result<Answer, NoAnswer> {
        self.ask_page(method, None, meta).await
    }

    /// Asks for a page of a list.
    pub(crate) async fn ask_page(
        &self,
        method: &'static str,
        cursor: Option<&str>,
        meta: &Meta<'_>,
    ) -> Result<Answer, NoAnswer> {
        let pending = self.upstream.announce(None, None);
        let line = envelope::list(pending.id, method, cursor, meta);
        let mirror = Mirror { method, modern: meta.modern().map(|m| m.version()), ..Mirror::default() };
        self.ask(pending, Request { line, mirror }, self.settings.request_timeout).await
    }

    /// The line for the client from an upstream's answer: the rebuilt result, or an error as the upstream gave it.
    pub(crate) fn relay<T>(
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
                tracing::info!(code = rpc::code_of(error), "the tool server answered with an error");
                Err(Reply::error(id, rpc::code_of(error), "the tool server answered with this error"))
            }
            Said::Result(result) => {
                let (fragment, learnt) = rebuild(result).map_err(internal)?;
                Ok((envelope::result(id, &fragment), learnt))
            }
        }
    }

    /// Whether the server's instructions are the pinned ones.
    fn instructions(&self, present: Option<&str>) -> Instructions {
        let snapshot = self.engine.snapshot();
        let pinned = snapshot.manifest(&self.settings.server).and_then(|m| m.instructions.as_deref());
        if present.is_some() && present == pinned { Instructions::Pinned } else { Instructions::Withheld }
    }

    async fn note_instructions(&self, instructions: Instructions, given: Option<String>) {
        self.definitions.lock().await.withheld = given.filter(|_| instructions == Instructions::Withheld);
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

    pub(crate) async fn refuse_method(&self, id: &Id<'_>, method: &str) -> Reply {
        let presented = self.presented(method, Offer::Tool, "", b"{}".to_vec(), Definition::NotSeen);
        let refused = self.engine.refuse_method(&presented).await;
        self.metrics.refused_method(&self.settings.server);
        let message =
            format!("{} (decision {})", ReasonCode::MethodNotAvailable.sentence(), refused.decision);
        Reply::error(id, rpc::METHOD_NOT_FOUND, message)
    }
}
