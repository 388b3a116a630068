//! A set of tools: tools of several servers under one endpoint, each under the name that the configuration gives it.
//!
//! A set decides nothing and holds nothing. It answers by asking the exchange of each server as a client would, so whatever a server's own path
//! refuses is refused here; and it lets nothing through but tools: of the rest of what servers offer it would not be clear whose it is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::value::RawValue;
use tokio::sync::watch;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Era, Fragment, Id, Message, Outcome, envelope,
    era::{Declared, declared},
    handshake::{DiscoverResult, InitializeResult},
    joined::{self, Identity},
    message::FrameLimits,
    params::{ListParams, only_meta},
    rpc,
    tasks::TaskParams,
    tools::{List, OfferList},
    uses::{ListenParams, Target, UseParams},
};
use warrantor_model::{ServerName, ToolRef};

use crate::{
    definitions::MAX_PAGES,
    exchange::{Asked, Exchange, Flight, Outlet, Reply, lock},
};

/// How long servers get once one of them has answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which tools a set has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSet {
    /// Its name.
    pub name: ServerName,
    /// Its tools by the names that clients see.
    pub tools: BTreeMap<String, ToolRef>,
}

impl ToolSet {
    fn identity(&self) -> Identity<'_> {
        Identity { name: self.name.as_str(), version: env!("CARGO_PKG_VERSION") }
    }
}

/// A set before one client: its tools, and an exchange with each of its servers that could be reached.
pub(crate) struct Set<P: DecisionPoint> {
    pub(crate) tools: Arc<ToolSet>,
    pub(crate) members: Vec<Arc<Exchange<P>>>,
}

impl<P: DecisionPoint> Set<P> {
    /// Answers one request.
    pub(crate) async fn answer(&self, asked: &Asked<'_>) -> Reply {
        let Asked { id, method, params, .. } = *asked;
        let era = match declared(method, params) {
            Ok(Declared::Handshake(_)) => return self.initialize(asked).await,
            Ok(Declared::Modern(_)) => Era::Modern,
            Ok(Declared::Nothing) => Era::Legacy,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        match method {
            "server/discover" => self.discover(asked).await,
            "tools/list" => self.list(asked, era).await,
            "tools/call" => self.call(asked, era).await,
            "subscriptions/listen" if era == Era::Modern => self.listen(asked).await,
            "ping" if era == Era::Legacy => match only_meta(params) {
                Ok(_) => Reply::Line(envelope::result(id, &Fragment::empty_object())),
                Err(cause) => Reply::fault(id, &cause.to_rpc()),
            },
            method => {
                let task = TaskParams::parse(method, params).filter(|_| era == Era::Modern);
                let task = task.and_then(Result::ok).map(|params| params.id.into_owned());
                // Whose task it is only we know; an id that is nobody's is answered by whoever comes first, as any that is not known.
                let is_asked = |member: &&Arc<Exchange<P>>| match &task {
                    Some(task) => lock(&member.tasks).contains_key(task),
                    None => false,
                };
                match (self.members.iter().find(is_asked).or(self.members.first()), task) {
                    (Some(member), Some(_)) => member.answer(asked).await,
                    (Some(member), None) => member.refuse_method(id, method).await,
                    (None, _) => none_reached(id),
                }
            }
        }
    }

    /// The client of an older session answers a question: it goes to the server that asked.
    pub(crate) async fn answered_by_client(&self, line: &[u8], limits: &FrameLimits) {
        let Ok(Message::Response { id: Some(id), .. }) = Message::parse(line, limits) else { return };
        let has_asked = |member: &&Arc<Exchange<P>>| {
            id.as_u64().is_some_and(|number| lock(&member.questions).has_open(number))
        };
        match self.members.iter().find(has_asked) {
            Some(member) => member.answered_by_client(line).await,
            None => tracing::debug!("the client answered what nobody asked"),
        }
    }

    async fn initialize(&self, asked: &Asked<'_>) -> Reply {
        let replies = self.answers(asked).await;
        self.joined(asked.id, &replies, |results| {
            let answers: Vec<_> = results.iter().filter_map(|r| InitializeResult::parse(r).ok()).collect();
            joined::initialized(self.tools.identity(), &answers).ok_or_else(|| "there is none".to_owned())
        })
    }

    async fn discover(&self, asked: &Asked<'_>) -> Reply {
        let replies = self.answers(asked).await;
        self.joined(asked.id, &replies, |results| {
            let answers: Vec<_> = results.iter().filter_map(|r| DiscoverResult::parse(r).ok()).collect();
            joined::discovered(self.tools.identity(), &answers).map_err(|cause| cause.to_string())
        })
    }

    /// What each server answers.
    async fn answers(&self, asked: &Asked<'_>) -> Vec<Reply> {
        let asking = self.members.iter().map(|member| async move {
            let reply = member.answer(asked).await;
            let is_answer = result_of(&reply, &member.settings.upstream_limits).is_some();
            (reply, is_answer)
        });
        together(asking).await.into_iter().map(|reply| reply.unwrap_or_else(|| too_slow(asked.id))).collect()
    }

    /// One answer made of what the servers answered. A server that does not answer as it should takes no part, and the log says so; without any, its
    /// error is the answer.
    fn joined(
        &self,
        id: &Id<'_>,
        replies: &[Reply],
        join: impl FnOnce(&[&RawValue]) -> Result<Fragment<'static>, String>,
    ) -> Reply {
        let (mut results, mut without) = (Vec::new(), Vec::new());
        let mut refused = None;
        for (member, reply) in self.members.iter().zip(replies) {
            match result_of(reply, &member.settings.upstream_limits) {
                Some(result) => results.push(result),
                None => {
                    without.push(member);
                    refused = refused.or(Some(reply));
                }
            }
        }
        // That none answers is told to the client: it may only have tried the other era.
        if !results.is_empty() {
            without.iter().for_each(|member| self.takes_no_part(member));
        }
        match (results.is_empty(), refused) {
            (true, Some(refused)) => refused.clone(),
            (true, None) => none_reached(id),
            (false, _) => match join(&results) {
                Ok(answer) => Reply::Line(envelope::result(id, &answer)),
                Err(why) => {
                    Reply::error(id, rpc::INTERNAL_ERROR, format!("the servers have no common answer: {why}"))
                }
            },
        }
    }

    fn takes_no_part(&self, member: &Exchange<P>) {
        tracing::warn!(set = %self.tools.name, server = %member.settings.server, "a server of the set takes no part");
    }

    /// All tools of the set that the task could use, on one page and in the order of their names.
    async fn list(&self, asked: &Asked<'_>, era: Era) -> Reply {
        match ListParams::parse(asked.params) {
            Ok(ListParams { cursor: None, .. }) => {}
            Ok(_) => {
                let why = "this cursor was not given out: list from the start";
                return Reply::error(asked.id, rpc::INVALID_PARAMS, why);
            }
            Err(cause) => return Reply::fault(asked.id, &cause.to_rpc()),
        }
        let listing = self.members.iter().map(|member| async move {
            let shown = self.shown(member, asked).await;
            let is_answer = shown.is_ok();
            (shown, is_answer)
        });
        let listings = together(listing).await;
        let (mut tools, mut without) = (BTreeMap::new(), Vec::new());
        let (mut lifetime, mut refused) = (None, None);
        for (member, listing) in self.members.iter().zip(listings) {
            match listing.unwrap_or_else(|| Err(too_slow(asked.id))) {
                Ok(Shown { tools: shown, lifetime: lives }) => {
                    tools.extend(shown);
                    lifetime = Some(lifetime.map_or(lives, |lifetime: u64| lifetime.min(lives)));
                }
                Err(reply) => {
                    without.push(member);
                    refused = refused.or(Some(reply));
                }
            }
        }
        if lifetime.is_some() {
            without.iter().for_each(|member| self.takes_no_part(member));
        }
        match (lifetime, refused) {
            (Some(lifetime), _) => {
                let listed = joined::listed(era, tools.into_values().collect(), lifetime);
                Reply::Line(envelope::result(asked.id, &listed))
            }
            (None, Some(refused)) => refused,
            (None, None) => none_reached(asked.id),
        }
    }

    /// The tools that one server shows, under the set's names. Of each page nothing else is kept, however much a server says in it.
    async fn shown(&self, member: &Exchange<P>, asked: &Asked<'_>) -> Result<Shown, Reply> {
        let limits = &member.settings.upstream_limits;
        let internal = |why: String| Reply::error(asked.id, rpc::INTERNAL_ERROR, why);
        let mut shown = Shown { tools: BTreeMap::new(), lifetime: u64::MAX };
        let (mut cursor, mut bytes) = (None::<String>, 0usize);
        for _ in 0..MAX_PAGES {
            let params = cursor
                .as_deref()
                .map(|cursor| joined::params_with(asked.params, "cursor", &Fragment::text(cursor)))
                .transpose()
                .map_err(|cause| Reply::fault(asked.id, &cause.to_rpc()))?;
            let params = params.as_deref().or(asked.params);
            let reply = member.answer(&Asked { params, ..*asked }).await;
            let Some(result) = result_of(&reply, limits) else { return Err(reply) };
            let page = OfferList::parse(List::Tools, result).map_err(|cause| internal(cause.to_string()))?;
            for entry in page.entries() {
                let named = self.tools.tools.iter().filter(|(_, tool)| {
                    tool.server == member.settings.server && tool.tool.as_str() == entry.name
                });
                for (name, _) in named {
                    let tool =
                        joined::renamed(entry.raw, name).map_err(|cause| internal(cause.to_string()))?;
                    bytes = bytes.saturating_add(tool.as_str().len());
                    shown.tools.insert(name.clone(), tool);
                }
            }
            if bytes > limits.bytes() {
                return Err(internal("the tool server lists more than may be read".to_owned()));
            }
            shown.lifetime = shown.lifetime.min(page.lifetime());
            cursor = page.next_cursor().map(str::to_owned);
            if cursor.is_none() {
                return Ok(shown);
            }
        }
        Err(internal(format!("the tool server's list has more than {MAX_PAGES} pages")))
    }

    /// A call of a tool, under the name that its server knows.
    async fn call(&self, asked: &Asked<'_>, era: Era) -> Reply {
        let Asked { id, method, params, .. } = *asked;
        let named = match UseParams::parse(method, params) {
            Some(Ok(UseParams { target: Target::Tool(named), .. })) => named.name.into_owned(),
            Some(Err(cause)) => return Reply::fault(id, &cause.to_rpc()),
            _ => return Reply::error(id, rpc::INVALID_PARAMS, "the call names no tool"),
        };
        let Some(tool) = self.tools.tools.get(&named) else {
            return match self.members.first() {
                Some(member) => {
                    member.refuse_unknown(asked, &format!("{named} of {}", self.tools.name), era).await
                }
                None => none_reached(id),
            };
        };
        let member = self.members.iter().find(|member| member.settings.server == tool.server);
        let took_part =
            |member: &&Arc<Exchange<P>>| era == Era::Modern || member.handshake().era == Some(Era::Legacy);
        let Some(member) = member.filter(took_part) else {
            let why = "the tool server could not be reached when this began: begin anew, or tell whoever runs the gateway";
            return Reply::error(id, rpc::INTERNAL_ERROR, why);
        };
        let params = match joined::params_with(params, "name", &Fragment::text(tool.tool.as_str())) {
            Ok(params) => params,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        let flight = without_log(asked.flight);
        member.answer(&Asked { id, method, params: Some(&params), flight: &flight }).await
    }

    /// Tells the client when a list of tools changes, until one of the two sides ends it.
    async fn listen(&self, asked: &Asked<'_>) -> Reply {
        let wanted = match ListenParams::parse(asked.params) {
            Ok(wanted) => wanted,
            Err(cause) => return Reply::fault(asked.id, &cause.to_rpc()),
        };
        let wanted = ListenParams { prompts: false, resources: false, uris: Vec::new(), ..wanted };
        let params = joined::params_with(asked.params, "notifications", &wanted.wanted(&[]));
        let params = match params {
            Ok(params) => params,
            Err(cause) => return Reply::fault(asked.id, &cause.to_rpc()),
        };
        let flight = acknowledged_once(asked.flight, envelope::acknowledged(&wanted.wanted(&[]), asked.id));
        let asked = Asked { params: Some(&params), flight: &flight, ..*asked };
        let replies = join_all(self.members.iter().map(|member| member.answer(&asked))).await;
        let limits = |member: &Arc<Exchange<P>>| member.settings.upstream_limits;
        let ended = self
            .members
            .iter()
            .zip(&replies)
            .find(|(member, reply)| result_of(reply, &limits(member)).is_some());
        match (ended, replies.first()) {
            (Some((_, reply)), _) | (None, Some(reply)) => reply.clone(),
            (None, None) => none_reached(asked.id),
        }
    }
}

fn none_reached(id: &Id<'_>) -> Reply {
    Reply::error(id, rpc::INTERNAL_ERROR, "no tool server of the set could be reached")
}

/// The result that a reply holds.
fn result_of<'a>(reply: &'a Reply, limits: &FrameLimits) -> Option<&'a RawValue> {
    let Reply::Line(line) = reply else { return None };
    match Message::parse(line, limits) {
        Ok(Message::Response { outcome: Outcome::Result(result), .. }) => Some(result),
        _ => None,
    }
}

fn too_slow(id: &Id<'_>) -> Reply {
    Reply::error(id, rpc::INTERNAL_ERROR, "the tool server did not answer in time")
}

/// What one server shows.
struct Shown {
    tools: BTreeMap<String, Fragment<'static>>,
    /// How long that may be kept, in milliseconds.
    lifetime: u64,
}

/// What each of these gives, with whether it is an answer. Once one has answered, the others get so much longer and no more: a server that hangs must not keep
/// the others from the client.
async fn together<T>(asking: impl Iterator<Item = impl Future<Output = (T, bool)>>) -> Vec<Option<T>> {
    let answered = watch::Sender::new(false);
    let each = asking.map(|asking| {
        let (mut first, answered) = (answered.subscribe(), &answered);
        async move {
            let patience = async {
                // The sender outlives this, so nothing else ends the wait.
                let _ = first.wait_for(|answered| *answered).await;
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                (given, is_answer) = asking => {
                    answered.send_if_modified(|answered| std::mem::replace(answered, *answered || is_answer) != *answered);
                    Some(given)
                }
                () = patience => None,
            }
        }
    });
    join_all(each).await
}

/// A flight whose client is told nothing of logs: a set has none.
fn without_log(flight: &Flight) -> Flight {
    told_otherwise(flight, "notifications/message", || None)
}

/// A flight whose client is told once, in these words, that it is heard, however many servers say so.
fn acknowledged_once(flight: &Flight, words: Vec<u8>) -> Flight {
    let told = AtomicBool::new(false);
    told_otherwise(flight, "notifications/subscriptions/acknowledged", move || {
        (!told.swap(true, Ordering::SeqCst)).then(|| words.clone())
    })
}

/// A flight whose client is told this, or nothing, in place of notifications of a method.
fn told_otherwise(
    flight: &Flight,
    method: &'static str,
    otherwise: impl Fn() -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Flight {
    let client = flight.clone();
    let outlet: Outlet = Arc::new(move |line: Vec<u8>| {
        let is_method = matches!(
            Message::parse(&line, &FrameLimits::default()),
            Ok(Message::Notification { method: said, .. }) if said == method
        );
        match is_method {
            true => otherwise().into_iter().for_each(|line| client.tell(line)),
            false => client.tell(line),
        }
    });
    flight.told_through(outlet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_keeps_the_others_no_longer_than_is_said() {
        let after = |seconds: u64, is_answer: bool| async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            (seconds, is_answer)
        };
        let begun = tokio::time::Instant::now();
        let given = together([after(1, true), after(9, true), after(600, true)].into_iter()).await;
        assert_eq!((given, begun.elapsed()), (vec![Some(1), Some(9), None], Duration::from_secs(11)));
        // What is no answer lets nobody be left out.
        let given = together([after(1, false), after(60, true), after(65, true)].into_iter()).await;
        assert_eq!(given, [Some(1), Some(60), Some(65)]);
    }
}
