//! The upstream server: what was asked of it and is not answered yet, whatever carries the messages.

mod http;
mod lines;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::AsyncWrite,
    sync::{mpsc, oneshot},
};
use warrantor_mcp::{Message, Outcome, ProgressToken, ProtocolVersion, message::FrameLimits};

pub use self::http::{HttpTarget, TargetError};
use self::{http::HttpCarrier, lines::LineCarrier};
use crate::exchange::Outlet;

/// An answer of the upstream: the whole message, which is parsed again where it is used, so that nothing is copied out of it before.
#[derive(Debug)]
pub(crate) struct Answer(Vec<u8>);

/// What an answer says.
pub(crate) enum Said<'a> {
    Result(&'a serde_json::value::RawValue),
    Error(&'a serde_json::value::RawValue),
}

impl Answer {
    pub(crate) fn said(&self, limits: &FrameLimits) -> Result<Said<'_>, String> {
        match Message::parse(&self.0, limits) {
            Ok(Message::Response { outcome: Outcome::Result(result), .. }) => Ok(Said::Result(result)),
            Ok(Message::Response { outcome: Outcome::Error(error), .. }) => Ok(Said::Error(error)),
            Ok(Message::Request { .. } | Message::Notification { .. }) => {
                Err("the answer is no response".to_owned())
            }
            Err(cause) => Err(cause.to_string()),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum NoAnswer {
    /// No byte was sent.
    #[error("the tool server is not running")]
    NotSent,
    /// It was sent, at least in part, and the server ended.
    #[error("the tool server ended before it answered")]
    Ended,
    /// It was sent, and what came back is no answer of the protocol.
    #[error("the tool server did not answer as the protocol demands: {0}")]
    Broken(String),
    /// It was sent and no answer came in time.
    #[error("the tool server did not answer in time")]
    TimedOut,
    /// It was sent, and whoever it rests on was stopped meanwhile.
    #[error("{0} The call was under way: what came of it is not known")]
    Stopped(&'static str),
    /// The client took the request back while the server had it.
    #[error("the call was cancelled")]
    Cancelled,
    /// The client took the request back, and no byte was sent.
    #[error("the call was cancelled before it was sent")]
    TakenBack,
}

impl NoAnswer {
    /// In a word, for those who count.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NotSent | Self::TakenBack => "not_sent",
            Self::Ended => "ended",
            Self::Stopped(_) => "stopped",
            Self::Broken(_) => "broken",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Someone who waits for an answer.
struct Waiter {
    answer: oneshot::Sender<Result<Answer, NoAnswer>>,
    /// The client's token and where progress goes, when it wants any.
    progress: Option<(ProgressToken<'static>, Outlet)>,
    /// Where goes what the server asks and tells before it answers, when that is wanted.
    parts: Option<Parts>,
}

/// Where goes what a server says before it answers.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) sender: mpsc::Sender<Vec<u8>>,
    /// Whether it is a subscription that waits, and no call.
    pub(crate) listens: bool,
}

/// Who heard what a server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    ByOne,
    /// Somebody would have, but it was too much.
    Dropped,
    ByNobody,
}

/// Longest question or message of a server, in bytes.
const MAX_PART_BYTES: usize = 128 << 10;

#[derive(Default)]
struct State {
    next_id: u64,
    ended: bool,
    waiting: HashMap<u64, Waiter>,
}

/// What waits for answers, shared with the carrier.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<State>>);

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody still waits for the answer to this request.
    fn wants(&self, id: u64) -> bool {
        self.lock().waiting.contains_key(&id)
    }
}

/// A handle on the upstream.
pub(crate) struct Upstream {
    waiting: Waiting,
    carrier: Carrier,
}

enum Carrier {
    /// Newline-delimited messages on a byte stream.
    Lines(LineCarrier),
    /// Streamable HTTP.
    Http(HttpCarrier),
}

/// A request towards the upstream.
pub(crate) struct Request {
    /// The message.
    pub(crate) line: Vec<u8>,
    /// What HTTP headers repeat of it.
    pub(crate) mirror: Mirror,
}

/// What the headers of a modern HTTP request repeat of its body.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// The method.
    pub(crate) method: &'static str,
    /// The tool, the prompt or the resource that is named.
    pub(crate) name: Option<String>,
    /// Parameters that the tool's definition wants repeated: header name and encoded value.
    pub(crate) parameters: Vec<(String, String)>,
    /// The version, when the request is modern.
    pub(crate) modern: Option<ProtocolVersion>,
}

/// A request that was announced: its id is known, it has not been sent.
pub(crate) struct Pending {
    pub(crate) id: u64,
    answer: oneshot::Receiver<Result<Answer, NoAnswer>>,
}

impl Upstream {
    /// An upstream that reads lines.
    pub(crate) fn lines(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let waiting = Waiting::default();
        let carrier = Carrier::Lines(LineCarrier::new(writer, waiting.clone()));
        Self { waiting, carrier }
    }

    /// An upstream behind HTTP: one session of it in the legacy era, any number of requests in the modern one.
    pub(crate) fn http(target: Arc<HttpTarget>) -> Self {
        let waiting = Waiting::default();
        let carrier = Carrier::Http(HttpCarrier::new(target, waiting.clone()));
        Self { waiting, carrier }
    }

    /// Announces a request, with the client's progress token if it wants progress, and with where the server's questions and messages go.
    pub(crate) fn announce(
        &self,
        progress: Option<(ProgressToken<'static>, Outlet)>,
        parts: Option<Parts>,
    ) -> Pending {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.waiting.lock();
        state.next_id = state.next_id.saturating_add(1);
        let id = state.next_id;
        if !state.ended {
            state.waiting.insert(id, Waiter { answer, progress, parts });
        }
        Pending { id, answer: receiver }
    }

    /// Sends an announced request and waits for its answer. What else the upstream says on the way is given to `hear`.
    pub(crate) async fn ask(
        &self,
        pending: Pending,
        request: Request,
        patience: Duration,
        hear: impl Fn(Vec<u8>) + Send + Sync,
    ) -> Result<Answer, NoAnswer> {
        let Pending { id, mut answer } = pending;
        let _forget = Forget { waiting: &self.waiting, id };
        match &self.carrier {
            Carrier::Lines(lines) => {
                if let Err(cause) = lines.send(id, request.line).await {
                    let taken_back = matches!(answer.try_recv(), Ok(Err(NoAnswer::Cancelled)));
                    return Err(if taken_back && cause == NoAnswer::NotSent {
                        NoAnswer::TakenBack
                    } else {
                        cause
                    });
                }
                match tokio::time::timeout(patience, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Err(NoAnswer::Ended),
                    Err(_) => {
                        // It may still be at work; asking it to stop costs nothing.
                        self.post(warrantor_mcp::envelope::cancelled(id));
                        Err(NoAnswer::TimedOut)
                    }
                }
            }
            Carrier::Http(http) => {
                if !self.waiting.wants(id) {
                    return Err(NoAnswer::NotSent);
                }
                let exchange = http.exchange(id, request, &hear);
                tokio::select! {
                    biased;
                    answer = &mut answer => answer.unwrap_or(Err(NoAnswer::Ended)),
                    exchanged = tokio::time::timeout(patience, exchange) => match exchanged {
                        // What was heard last may be the answer.
                        Ok(exchanged) => match answer.try_recv() {
                            Ok(answer) => answer,
                            Err(_) => Err(exchanged.err().unwrap_or(NoAnswer::Ended)),
                        },
                        Err(_) => {
                            http.give_up(id);
                            Err(NoAnswer::TimedOut)
                        }
                    },
                }
            }
        }
    }

    /// Has a notification sent in its turn, without waiting for it.
    pub(crate) fn post(&self, line: Vec<u8>) {
        match &self.carrier {
            Carrier::Lines(lines) => lines.post(line),
            Carrier::Http(http) => http.post(line),
        }
    }

    /// [`Upstream::post`] for answers to what the server asks, which it may ask without end.
    pub(crate) fn post_answer(&self, line: Vec<u8>) {
        match &self.carrier {
            Carrier::Lines(lines) => lines.post_answer(line),
            Carrier::Http(http) => http.post(line),
        }
    }

    /// Gives an answer to whoever waits for it. An answer to nothing, a second one, or one to another's request finds nobody.
    pub(crate) fn answered(&self, id: u64, line: Vec<u8>) -> bool {
        match self.waiting.lock().waiting.remove(&id) {
            Some(Waiter { answer, .. }) => answer.send(Ok(Answer(line))).is_ok(),
            None => false,
        }
    }

    /// Gives what the server asks or tells to whoever waits for its answer: to the request that it is `about`, or, when that is not said, to the latest
    /// call. Never waits: a server that asks faster than can be recorded is not heard.
    pub(crate) fn part(&self, about: Option<u64>, line: Vec<u8>) -> Heard {
        let state = self.waiting.lock();
        let parts = match about {
            Some(id) => state.waiting.get(&id).and_then(|waiter| waiter.parts.as_ref()),
            None => {
                let parts =
                    state.waiting.iter().filter_map(|(id, waiter)| Some((id, waiter.parts.as_ref()?)));
                let calls = parts.filter(|(_, parts)| !parts.listens);
                calls.max_by_key(|(id, _)| **id).map(|(_, parts)| parts)
            }
        };
        match parts {
            None => Heard::ByNobody,
            Some(_) if line.len() > MAX_PART_BYTES => Heard::Dropped,
            Some(parts) => match parts.sender.try_send(line) {
                Ok(()) => Heard::ByOne,
                Err(_) => Heard::Dropped,
            },
        }
    }

    /// The client's token for progress on one of our requests, and where progress goes.
    pub(crate) fn progress_of(&self, id: u64) -> Option<(ProgressToken<'static>, Outlet)> {
        self.waiting.lock().waiting.get(&id)?.progress.clone()
    }

    /// Gives up one request on the client's behalf.
    pub(crate) fn cancel(&self, id: u64) {
        let waiter = self.waiting.lock().waiting.remove(&id);
        if let Some(Waiter { answer, .. }) = waiter {
            let _ = answer.send(Err(NoAnswer::Cancelled));
            match &self.carrier {
                Carrier::Lines(lines) => lines.post(warrantor_mcp::envelope::cancelled(id)),
                Carrier::Http(http) => http.give_up(id),
            }
        }
    }

    /// The server ended: nobody will get an answer.
    pub(crate) fn ended(&self) {
        self.end(&NoAnswer::Ended);
    }

    /// Nobody gets an answer any more, because somebody was stopped.
    pub(crate) fn stopped(&self, sentence: &'static str) {
        self.end(&NoAnswer::Stopped(sentence));
    }

    /// [`Upstream::stopped`] for whoever waits now: something is still to be said to the server.
    pub(crate) fn let_go(&self, sentence: &'static str) {
        for (_, Waiter { answer, .. }) in self.waiting.lock().waiting.drain() {
            let _ = answer.send(Err(NoAnswer::Stopped(sentence)));
        }
    }

    fn end(&self, why: &NoAnswer) {
        let mut state = self.waiting.lock();
        state.ended = true;
        for (_, Waiter { answer, .. }) in state.waiting.drain() {
            let _ = answer.send(Err(why.clone()));
        }
    }

    /// Ends the connection: closes a server's input, which asks it to end, or the session at an HTTP server. What is not written yet never is.
    pub(crate) fn close(&self) {
        match &self.carrier {
            Carrier::Lines(lines) => lines.close(),
            Carrier::Http(http) => http.close(),
        }
    }

    /// Both sides speak this version from now on.
    pub(crate) fn speaks(&self, version: ProtocolVersion) {
        if let Carrier::Http(http) = &self.carrier {
            http.speaks(version);
        }
    }

    /// Hears what an HTTP upstream says unasked, until it has no more to say. A stream of lines is heard by whoever reads it.
    pub(crate) async fn listen(&self, hear: impl Fn(Vec<u8>) + Send + Sync) {
        if let Carrier::Http(http) = &self.carrier {
            http.listen(&hear).await;
        }
    }

    /// Whether an HTTP upstream has forgotten the session.
    pub(crate) fn is_lost(&self) -> bool {
        match &self.carrier {
            Carrier::Lines(_) => self.waiting.lock().ended,
            Carrier::Http(http) => http.is_lost(),
        }
    }
}

/// Forgets a request when nobody asks for its answer any more, however that came.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().waiting.remove(&self.id);
    }
}
