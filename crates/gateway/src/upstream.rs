//! The upstream server: what was asked of it and is not answered yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{Mutex as AsyncMutex, oneshot},
};
use warrantor_mcp::{Message, Outcome, ProgressToken, message::FrameLimits};

/// How long a write may take before the server counts as hanging.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

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
    /// The client took the request back.
    #[error("the call was cancelled")]
    Cancelled,
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

/// A handle on the upstream; clones are the same.
#[derive(Clone)]
pub(crate) struct Upstream {
    state: Arc<Mutex<State>>,
    writer: Arc<AsyncMutex<Option<Box<dyn AsyncWrite + Send + Unpin>>>>,
}

/// A request that was announced: its id is known, it has not been sent.
pub(crate) struct Pending {
    pub(crate) id: u64,
    answer: oneshot::Receiver<Result<Answer, NoAnswer>>,
}

impl Upstream {
    pub(crate) fn new(writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { state: Arc::default(), writer: Arc::new(AsyncMutex::new(Some(Box::new(writer)))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let id = pending.id;
        if let Err(cause) = self.send(line).await {
            self.state().waiting.remove(&id);
            return Err(cause);
        }
        let answer = tokio::time::timeout(patience, pending.answer).await;
        self.state().waiting.remove(&id);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(NoAnswer::Ended),
            Err(_) => {
                // It may still be at work; asking it to stop costs nothing.
                let _ = self.send(warrantor_mcp::envelope::cancelled(id)).await;
                Err(NoAnswer::TimedOut)
            }
        }
    }

    /// Sends a line. Tells whether a byte of it may have left.
    pub(crate) async fn send(&self, mut line: Vec<u8>) -> Result<(), NoAnswer> {
        line.push(b'\n');
        let mut guard = self.writer.lock().await;
        let Some(writer) = guard.as_mut() else { return Err(NoAnswer::NotSent) };
        let mut rest = line.as_slice();
        let result = tokio::time::timeout(WRITE_PATIENCE, async {
            while !rest.is_empty() {
                match writer.write(rest).await {
                    Ok(0) | Err(_) => return false,
                    Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                }
            }
            writer.flush().await.is_ok()
        })
        .await;
        if matches!(result, Ok(true)) {
            return Ok(());
        }
        let untouched = rest.len() == line.len();
        // Half a line was written at most: whatever followed would be read as its end.
        *guard = None;
        Err(if untouched { NoAnswer::NotSent } else { NoAnswer::Ended })
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
    pub(crate) async fn cancel(&self, id: u64) {
        let waiter = self.state().waiting.remove(&id);
        if let Some(Waiter { answer, .. }) = waiter {
            let _ = answer.send(Err(NoAnswer::Cancelled));
            let _ = self.send(warrantor_mcp::envelope::cancelled(id)).await;
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

    /// Closes the server's input, which asks it to end.
    pub(crate) async fn close(&self) {
        *self.writer.lock().await = None;
    }
}
