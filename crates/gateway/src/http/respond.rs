//! Responses of the gateway itself.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
};
use warrantor_mcp::{Id, RpcError, envelope, rpc};

use super::stream::EventBody;

/// What a response holds.
pub(super) enum Answered {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// Events as they come.
    Events(Box<EventBody>),
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(whole) => Poll::Ready(whole.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => Pin::new(events.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => {
                let size = whole.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(size).unwrap_or(u64::MAX))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

pub(super) type Answer = Response<Answered>;

fn whole(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Answered::Whole(Some(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A message as JSON.
pub(super) fn json(status: StatusCode, message: impl Into<Bytes>) -> Answer {
    whole(status, "application/json", message)
}

/// What was counted, in the text format of OpenMetrics 1.0.
pub(super) fn metrics(text: String) -> Answer {
    whole(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
}

/// Plain text.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text)
}

/// No content.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Answered::Whole(None));
    *response.status_mut() = status;
    response
}

/// A fault of the request, in words that JSON-RPC clients read.
pub(super) fn fault(status: StatusCode, id: Option<&Id<'_>>, error: &RpcError) -> Answer {
    json(status, envelope::error(id, error))
}

/// A fault that has nothing to do with any message.
pub(super) fn refused(status: StatusCode, why: impl Into<String>) -> Answer {
    fault(status, None, &RpcError::new(rpc::INVALID_REQUEST, why))
}

/// A response that ends the work on a request. Boxed: it is large, and seldom.
pub(super) struct Refused(Box<Answer>);

impl Refused {
    /// As [`refused`].
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        refused(status, why).into()
    }

    pub(super) fn into_answer(self) -> Answer {
        *self.0
    }
}

impl From<Answer> for Refused {
    fn from(answer: Answer) -> Self {
        Self(Box::new(answer))
    }
}

/// Events.
pub(super) fn events(body: EventBody) -> Answer {
    let mut response = Response::new(Answered::Events(Box::new(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// With one more header.
pub(super) fn with(mut response: Answer, name: &'static str, value: HeaderValue) -> Answer {
    response.headers_mut().insert(HeaderName::from_static(name), value);
    response
}
