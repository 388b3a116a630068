//! The upstream server: what was asked of it and is not answered yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
};
use warrantor_mcp::{Message, Outcome, ProgressToken, message::FrameLimits};

/// How long a write may take before the server counts as hanging.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How many lines may wait to be written. Half of them are for requests: our answers to a server that asks and does not read are dropped first.
const QUEUE: usize = 1024;

/// An answer of the upstream: the whole line, which is parsed again where it is used, so that nothing is copied out of it before.
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
    /// It was sent and no answer came in time.
    #[error("the tool server did not answer in time")]
    TimedOut,
    /// The client took the request back while the server had it.
    #[error("the call was cancelled")]
    Cancelled,
    /// The client took the request back, and no byte was sent.
    #[error("the call was cancelled before it was sent")]
    TakenBack,
}

/// Someone who waits for an answer.
struct Waiter {
    answer: oneshot::Sender<Result<Answer, NoAnswer>>,
    /// The client's token, when it wants progress.
    progress: Option<ProgressToken<'static>>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    ended: bool,
    waiting: HashMap<u64, Waiter>,
}

/// A handle on the upstream. One task writes, so that nobody who must not wait for the server waits for it.
pub(crate) struct Upstream {
    state: Arc<Mutex<State>>,
    queue: mpsc::Sender<Outgoing>,
    closing: watch::Sender<bool>,
}

/// A line to be written.
struct Outgoing {
    line: Vec<u8>,
    /// Our request, when it is one: it is not written once nobody waits for its answer.
    request: Option<u64>,
    written: oneshot::Sender<Result<(), NoAnswer>>,
}

/// A request that was announced: its id is known, it has not been sent.
pub(crate) struct Pending {
    pub(crate) id: u64,
    answer: oneshot::Receiver<Result<Answer, NoAnswer>>,
}

impl Upstream {
    pub(crate) fn new(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let (queue, lines) = mpsc::channel(QUEUE);
        let closing = watch::Sender::new(false);
        let state = Arc::default();
        tokio::spawn(write(writer, lines, Arc::clone(&state), closing.subscribe()));
        Self { state, queue, closing }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Announces a request, with the client's progress token if it wants progress.
    pub(crate) fn announce(&self, progress: Option<ProgressToken<'static>>) -> Pending {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state();
        state.next_id = state.next_id.saturating_add(1);
        let id = state.next_id;
        if !state.ended {
            state.waiting.insert(id, Waiter { answer, progress });
        }
        Pending { id, answer: receiver }
    }

    /// Sends an announced request and waits for its answer.
    pub(crate) async fn ask(
        &self,
        pending: Pending,
        line: Vec<u8>,
        patience: Duration,
    ) -> Result<Answer, NoAnswer> {
        let Pending { id, mut answer } = pending;
        let (written, told) = oneshot::channel();
        let sent = match self.queue.send(Outgoing { line, request: Some(id), written }).await {
            Ok(()) => told.await.unwrap_or(Err(NoAnswer::Ended)),
            Err(_) => Err(NoAnswer::NotSent),
        };
        if let Err(cause) = sent {
            self.state().waiting.remove(&id);
            let taken_back = matches!(answer.try_recv(), Ok(Err(NoAnswer::Cancelled)));
            return Err(if taken_back && cause == NoAnswer::NotSent { NoAnswer::TakenBack } else { cause });
        }
        let answer = tokio::time::timeout(patience, answer).await;
        self.state().waiting.remove(&id);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(NoAnswer::Ended),
            Err(_) => {
                // It may still be at work; asking it to stop costs nothing.
                self.post(warrantor_mcp::envelope::cancelled(id));
                Err(NoAnswer::TimedOut)
            }
        }
    }

    /// Has a line written in its turn, without waiting for it.
    pub(crate) fn post(&self, line: Vec<u8>) {
        let (written, _) = oneshot::channel();
        if self.queue.try_send(Outgoing { line, request: None, written }).is_err() {
            tracing::warn!("the tool server does not read what it is sent");
        }
    }

    /// [`Upstream::post`] for answers to what the server asks, which it may ask without end.
    pub(crate) fn post_answer(&self, line: Vec<u8>) {
        if self.queue.capacity() > QUEUE / 2 {
            self.post(line);
        }
    }

    /// Gives an answer to whoever waits for it. An answer to nothing, a second one, or one to another's request finds nobody.
    pub(crate) fn answered(&self, id: u64, line: Vec<u8>) -> bool {
        match self.state().waiting.remove(&id) {
            Some(Waiter { answer, .. }) => answer.send(Ok(Answer(line))).is_ok(),
            None => false,
        }
    }

    /// The client's token for progress on one of our requests.
    pub(crate) fn progress_token(&self, id: u64) -> Option<ProgressToken<'static>> {
        self.state().waiting.get(&id)?.progress.clone()
    }

    /// Gives up one request on the client's behalf.
    pub(crate) fn cancel(&self, id: u64) {
        let waiter = self.state().waiting.remove(&id);
        if let Some(Waiter { answer, .. }) = waiter {
            let _ = answer.send(Err(NoAnswer::Cancelled));
            self.post(warrantor_mcp::envelope::cancelled(id));
        }
    }

    /// The server ended: nobody will get an answer.
    pub(crate) fn ended(&self) {
        let mut state = self.state();
        state.ended = true;
        for (_, Waiter { answer, .. }) in state.waiting.drain() {
            let _ = answer.send(Err(NoAnswer::Ended));
        }
    }

    /// Closes the server's input, which asks it to end. What is not written yet never is.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes lines in their order until the server is gone or given up, and tells of each whether a byte of it may have left.
async fn write(
    mut writer: impl AsyncWrite + Send + Unpin,
    mut lines: mpsc::Receiver<Outgoing>,
    state: Arc<Mutex<State>>,
    mut closing: watch::Receiver<bool>,
) {
    loop {
        let next = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            next = lines.recv() => next,
        };
        let Some(Outgoing { mut line, request, written }) = next else { break };
        if request.is_some_and(|id| !lock(&state).waiting.contains_key(&id)) {
            let _ = written.send(Err(NoAnswer::NotSent));
            continue;
        }
        line.push(b'\n');
        let mut rest = line.as_slice();
        let whole = tokio::select! {
            biased;
            whole = tokio::time::timeout(WRITE_PATIENCE, put(&mut writer, &mut rest)) => matches!(whole, Ok(true)),
            _ = closing.wait_for(|closing| *closing) => false,
        };
        let outcome = match (whole, rest.len() == line.len()) {
            (true, _) => Ok(()),
            (false, true) => Err(NoAnswer::NotSent),
            (false, false) => Err(NoAnswer::Ended),
        };
        let broken = outcome.is_err();
        let _ = written.send(outcome);
        if broken {
            // Half a line was written at most: whatever followed would be read as its end.
            break;
        }
    }
    drop(writer);
    lines.close();
    while let Some(Outgoing { written, .. }) = lines.recv().await {
        let _ = written.send(Err(NoAnswer::NotSent));
    }
}

/// Writes all of it; `rest` is what was not written.
async fn put(writer: &mut (impl AsyncWrite + Unpin), rest: &mut &[u8]) -> bool {
    while !rest.is_empty() {
        match writer.write(rest).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
        }
    }
    writer.flush().await.is_ok()
}
