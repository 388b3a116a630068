//! What is said to a client about one request, or unasked: kept until it is read, and a while longer where it can be resumed.
//!
//! A client reads one [`EventStream`] at a time through one [`EventBody`]; a newer reader takes the older one's place. A client that does
//! not read is never waited for: progress beyond the bound is dropped, an answer never is.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Interval, MissedTickBehavior},
};
use warrantor_mcp::sse;

/// Most messages that are kept for a reader, its answer beside them.
const MAX_MESSAGES: usize = 256;
/// Most bytes of them.
const MAX_BYTES: usize = 1 << 20;
/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Messages in their order, and whether more will come.
#[derive(Default)]
pub(super) struct EventStream(Mutex<State>);

#[derive(Default)]
struct State {
    /// The number of the first message that is kept.
    first: u64,
    /// Messages as they are sent, framing aside.
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Everything up to here was given to a reader once.
    read: u64,
    ended: bool,
    reader: u64,
    /// Whether that reader is there.
    is_read: bool,
    wakers: Vec<Waker>,
}

impl State {
    fn next(&self) -> u64 {
        self.first.saturating_add(u64::try_from(self.messages.len()).unwrap_or(u64::MAX))
    }

    fn get(&self, number: u64) -> Option<&Bytes> {
        self.messages.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= MAX_MESSAGES || self.bytes >= MAX_BYTES
    }

    fn add(&mut self, message: Vec<u8>) {
        // What was read already is kept for resuming only as long as there is room.
        while self.is_full() && self.first < self.read {
            self.drop_first();
        }
        self.bytes = self.bytes.saturating_add(message.len());
        self.messages.push_back(message.into());
    }

    fn drop_first(&mut self) {
        if let Some(gone) = self.messages.pop_front() {
            self.bytes = self.bytes.saturating_sub(gone.len());
            self.first = self.first.saturating_add(1);
        }
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    /// Wakes this task as well when something comes.
    fn wait(&mut self, context: &Context<'_>) {
        if !self.wakers.iter().any(|known| known.will_wake(context.waker())) {
            self.wakers.push(context.waker().clone());
        }
    }
}

/// What a stream begins with.
pub(super) enum Beginning {
    /// Its one message, the answer.
    Answer(Bytes),
    /// It ended without any.
    Nothing,
    /// More than an answer, or nothing for a while.
    Stream,
}

impl EventStream {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message that a client which does not read may miss.
    pub(super) fn tell(&self, message: Vec<u8>) {
        let mut state = self.lock();
        let full_of_unread = state.is_full() && state.first >= state.read;
        if !state.ended && !full_of_unread {
            state.add(message);
            state.wake();
        }
    }

    /// Adds the last message, if there is one, and ends the stream.
    pub(super) fn end(&self, answer: Option<Vec<u8>>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        if let Some(answer) = answer {
            state.add(answer);
        }
        state.ended = true;
        state.wake();
    }

    /// Whether no more will come.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Whether somebody reads it.
    pub(super) fn has_reader(&self) -> bool {
        self.lock().is_read
    }

    /// What it begins with: told as soon as that is known, or after a while that it is a stream.
    pub(super) async fn beginning(&self, patience: Duration) -> Beginning {
        let first = std::future::poll_fn(|context| {
            let mut state = self.lock();
            match (state.ended, state.messages.len()) {
                (true, 0) => Poll::Ready(Beginning::Nothing),
                (true, 1) => {
                    state.read = state.next();
                    Poll::Ready(state.messages.front().cloned().map_or(Beginning::Nothing, Beginning::Answer))
                }
                (_, 0) => {
                    state.wait(context);
                    Poll::Pending
                }
                _ => Poll::Ready(Beginning::Stream),
            }
        });
        tokio::time::timeout(patience, first).await.unwrap_or(Beginning::Stream)
    }
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// With what nobody has read yet.
    Unread,
    /// Behind the message of this number.
    After(u64),
}

/// A stream as the body of a response.
pub(super) struct EventBody {
    stream: Arc<EventStream>,
    /// What ids of events begin with, where the stream can be resumed.
    name: Option<u64>,
    reader: u64,
    at: u64,
    alive: Interval,
    /// Something to be sent first.
    first: Option<Bytes>,
    /// What is done when the client goes before the end.
    on_leave: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// Its place among the caller's requests.
    place: Option<OwnedSemaphorePermit>,
}

impl EventBody {
    /// Reads a stream. With a name its events have ids to resume at.
    pub(super) fn new(stream: Arc<EventStream>, name: Option<u64>, from: From) -> Self {
        let (reader, at) = {
            let mut state = stream.lock();
            state.reader = state.reader.saturating_add(1);
            state.is_read = true;
            state.wake();
            let at = match from {
                From::Unread => state.read,
                From::After(number) => number.saturating_add(1).min(state.next()),
            };
            (state.reader, at.max(state.first))
        };
        let mut alive = tokio::time::interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { stream, name, reader, at, alive, first: None, on_leave: None, place: None }
    }

    /// Shows at once that the stream is open.
    #[must_use]
    pub(super) fn opening(mut self) -> Self {
        self.first = Some(Bytes::from_static(b": open\n\n"));
        self
    }

    /// Holds a place among its caller's requests as long as it is read.
    #[must_use]
    pub(super) fn holding(mut self, place: OwnedSemaphorePermit) -> Self {
        self.place = Some(place);
        self
    }

    /// Does this when the client goes before the stream has ended.
    #[must_use]
    pub(super) fn on_leave(mut self, act: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_leave = Some(Box::new(act));
        self
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let stream = Arc::clone(&self.stream);
        let mut state = stream.lock();
        if state.reader != self.reader {
            // Another reader took over: what is left is for it.
            self.on_leave = None;
            return Poll::Ready(None);
        }
        self.at = self.at.max(state.first);
        if let Some(message) = state.get(self.at) {
            let id = self.name.map(|name| format!("{name}-{}", self.at));
            let event = sse::write_event(id.as_deref(), message);
            self.at = self.at.saturating_add(1);
            state.read = state.read.max(self.at);
            drop(state);
            self.alive.reset();
            return Poll::Ready(Some(Ok(Frame::data(event.into()))));
        }
        if state.ended {
            self.on_leave = None;
            return Poll::Ready(None);
        }
        state.wait(context);
        drop(state);
        match self.alive.poll_tick(context) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n"))))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        if state.reader == self.reader {
            state.is_read = false;
        }
        drop(state);
        if let Some(act) = self.on_leave.take() {
            act();
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn frame(body: &mut EventBody) -> Option<String> {
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.to_vec()).unwrap())
    }

    fn stream() -> Arc<EventStream> {
        Arc::new(EventStream::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_one_answer_is_no_stream() {
        let (one, none, more) = (stream(), stream(), stream());
        one.end(Some(b"a".to_vec()));
        none.end(None);
        more.tell(b"p".to_vec());
        let wait = Duration::from_secs(5);
        assert!(matches!(one.beginning(wait).await, Beginning::Answer(answer) if answer == "a"));
        assert!(matches!(none.beginning(wait).await, Beginning::Nothing));
        assert!(matches!(more.beginning(wait).await, Beginning::Stream));
        assert!(matches!(stream().beginning(wait).await, Beginning::Stream));
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_in_order_with_ids_and_a_silent_stream_shows_that_it_lives() {
        let stream = stream();
        stream.tell(b"one".to_vec());
        let mut body = EventBody::new(Arc::clone(&stream), Some(7), From::Unread).opening();
        assert_eq!(frame(&mut body).await.unwrap(), ": open\n\n");
        assert_eq!(frame(&mut body).await.unwrap(), "id: 7-0\ndata: one\n\n");
        assert_eq!(frame(&mut body).await.unwrap(), ":\n\n");
        stream.end(Some(b"two".to_vec()));
        assert_eq!(frame(&mut body).await.unwrap(), "id: 7-1\ndata: two\n\n");
        assert_eq!(frame(&mut body).await, None);
    }

    #[tokio::test]
    async fn a_stream_is_resumed_where_the_client_was_and_an_older_reader_ends() {
        let stream = stream();
        for n in 0..3 {
            stream.tell(format!("m{n}").into_bytes());
        }
        let mut lost = EventBody::new(Arc::clone(&stream), Some(1), From::Unread);
        frame(&mut lost).await;
        frame(&mut lost).await;
        let mut again = EventBody::new(Arc::clone(&stream), Some(1), From::After(0));
        assert_eq!(frame(&mut lost).await, None);
        assert_eq!(frame(&mut again).await.unwrap(), "id: 1-1\ndata: m1\n\n");
        assert_eq!(frame(&mut again).await.unwrap(), "id: 1-2\ndata: m2\n\n");
        // Nobody can resume behind what was never said.
        let mut forged = EventBody::new(Arc::clone(&stream), Some(1), From::After(u64::MAX));
        stream.end(Some(b"end".to_vec()));
        assert_eq!(frame(&mut forged).await.unwrap(), "id: 1-3\ndata: end\n\n");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_the_answer_is_never_dropped() {
        let stream = stream();
        for _ in 0..10_000 {
            stream.tell(vec![b'x'; 1000]);
        }
        stream.end(Some(b"answer".to_vec()));
        assert!(stream.lock().messages.len() <= MAX_MESSAGES + 1);
        let mut body = EventBody::new(Arc::clone(&stream), None, From::Unread);
        let mut last = None;
        while let Some(event) = frame(&mut body).await {
            last = Some(event);
        }
        assert_eq!(last.unwrap(), "data: answer\n\n");
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_the_end_is_noticed_and_one_that_stays_is_not() {
        let told = Arc::new(Mutex::new(0));
        let leave = |body: EventBody| {
            let told = Arc::clone(&told);
            body.on_leave(move || *told.lock().unwrap() += 1)
        };
        let (left, ended, replaced) = (stream(), stream(), stream());
        drop(leave(EventBody::new(left, None, From::Unread)));
        assert_eq!(*told.lock().unwrap(), 1);
        ended.end(Some(b"a".to_vec()));
        let mut body = leave(EventBody::new(ended, None, From::Unread));
        while frame(&mut body).await.is_some() {}
        drop(body);
        let mut older = leave(EventBody::new(Arc::clone(&replaced), None, From::Unread));
        let _newer = EventBody::new(replaced, None, From::Unread);
        assert_eq!(frame(&mut older).await, None);
        drop(older);
        assert_eq!(*told.lock().unwrap(), 1);
    }
}
