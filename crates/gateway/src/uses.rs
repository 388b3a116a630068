//! What a client uses of a server: decided, and released or refused.
//!
//! Tools, prompts, resources, completions and the server's log all go this one way; what differs is what the arguments are. What goes on from a release
//! is the business of `answers`.

use std::borrow::Cow;

use serde_json::value::RawValue;
use warrantor_decide::Presence;
use warrantor_engine::{Answer as Decided, DecisionPoint, Presented, Refused};
use warrantor_mcp::{
    Era, Message,
    capabilities::Capabilities,
    envelope,
    refusal::{OutputSchema, Refusal},
    rpc,
    uses::{Completed, Named, Target, UseParams},
};
use warrantor_model::{
    DecisionId, Definition, Finding, NextStep, Offer, Question, ReasonCode, ToolName, ToolRef, UriRule,
};

use crate::{
    approvals::Try,
    exchange::{Asked, Exchange, Reply, lock},
    owed::take_in_aside,
};

/// What a client is told whose state belongs to nothing: one and the same, whatever was changed.
pub(crate) const WRONG_STATE: &str = "this state belongs to no call that waits: it was used, has expired, or was for another request. Call anew without it";

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

impl Use<'_> {
    /// Whether an error may send the client to a URL: the older era has that, for clients that can be asked so.
    pub(crate) fn can_be_sent_to_a_url(&self) -> bool {
        let url = RawValue::from_string(r#"{"mode":"url"}"#.to_owned()).ok();
        self.era == Era::Legacy && url.is_some_and(|url| self.client.can("elicitation", Some(&url)))
    }

    /// Whether its server may ask for more first: the newer era has that for these alone.
    pub(crate) fn can_wait(&self) -> bool {
        self.era == Era::Modern
            && matches!(self.asked.method, "tools/call" | "prompts/get" | "resources/read")
    }
}

impl<P: DecisionPoint> Exchange<P> {
    /// Answers a request that uses something.
    pub(crate) async fn use_offer(&self, asked: &Asked<'_>, params: UseParams<'_>, era: Era) -> Reply {
        let granted = self.granted_of_client(&params, era).await;
        let (client, log) = granted;
        let using = Use { asked, params, era, client, log };
        if asked.method == "resources/unsubscribe" {
            return self.unsubscribe(&using).await;
        }
        // Answers without a state answer nothing that was asked: the call is a new one.
        let mut nth = Try::First;
        if let Some(state) = using.params.retry.state.as_deref() {
            if !Self::is_of_question(state) {
                return self.resume(using).await;
            }
            match self.asked_again(&using).await {
                Some(again) => nth = again,
                None => return Reply::error(asked.id, rpc::INVALID_PARAMS, WRONG_STATE),
            }
        }
        let (offer, name) = self.offered(&using.params.target);
        let definition = self.definition(offer, &name).await;
        let presented = self.presented(asked.method, offer, &name, using.params.arguments(), definition);
        let decided = self.authorize_patiently(&using, &presented, nth).await;
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
            Decided::Asked(decision, question) => {
                return self.tell_question(&using, &decision, &question, nth).await;
            }
        };
        self.refuse(&using, &refused).await
    }

    /// Refuses a tool by a name that the server is not asked about, and records that.
    pub(crate) async fn refuse_unknown(&self, asked: &Asked<'_>, name: &str, era: Era) -> Reply {
        let params = match UseParams::parse(asked.method, asked.params) {
            Some(Ok(params)) => params,
            Some(Err(cause)) => return Reply::fault(asked.id, &cause.to_rpc()),
            None => return self.refuse_method(asked.id, asked.method).await,
        };
        let presented =
            self.presented(asked.method, Offer::Tool, name, params.arguments(), Definition::NotSeen);
        let using = Use { asked, params, era, client: Capabilities::default(), log: false };
        let refused = match self.authorize(&presented).await {
            Decided::Refused(refused) => from_refused(&refused),
            Decided::Asked(decision, question) => from_question(&decision, &question),
            // No name of a tool has a space in it, and none that was not seen passes: this does not happen.
            Decided::Permitted(permit) => {
                let detail = "the name is none of the set";
                from_refused(&self.engine.decline(permit, Finding::new(ReasonCode::ToolNotAvailable, detail)))
            }
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
        let (receipt, number) = lock(&self.last).as_mut()?.admit(params)?;
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
            evidence: self.settings.evidence.now(),
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

    /// Who asks, and where.
    pub(crate) fn presence(&self) -> Presence {
        Presence { server: self.settings.server.clone(), evidence: self.settings.evidence.now() }
    }

    /// Whether the mandate and the server stand: what is shown without a call of its own is shown only then.
    ///
    /// # Errors
    /// What does not stand.
    pub(crate) async fn stands(&self) -> Result<(), Box<Finding>> {
        self.engine.stands(&self.settings.mandate, &self.presence()).await
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
}

/// The list entry on which something rests that could change.
fn pinned(offer: Offer, name: &str) -> Option<(Offer, &str)> {
    match offer {
        Offer::Tool | Offer::Prompt => Some((offer, name)),
        Offer::Completion => name.strip_prefix("prompt/").map(|prompt| (Offer::Prompt, prompt)),
        Offer::Resource | Offer::Client => None,
    }
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
