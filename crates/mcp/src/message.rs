//! One JSON-RPC 2.0 message, strictly.
//!
//! What [`Message::parse`] lets through is UTF-8 within the bounds, names no member twice at any depth, holds no lone
//! surrogate and no number beyond a double's range, and has exactly the members of one kind of message. Every slice in it can be
//! forwarded as it stands and means the same to every reader. Methods are not judged here.

use std::borrow::Cow;

use serde_json::value::RawValue;
use thiserror::Error;
use warrantor_model::json;

use crate::{
    Id, RpcError, ShapeError, envelope,
    id::IdError,
    members::{self, Members},
    rpc, scan,
};

/// Longest method name that is carried, in bytes. The longest of the protocol has less than half.
pub const MAX_METHOD_BYTES: usize = 128;

/// How much of a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    bytes: usize,
    depth: usize,
}

impl Default for FrameLimits {
    /// 4 MiB, 64 containers deep: the bounds of the model's own JSON.
    fn default() -> Self {
        Self { bytes: json::MAX_BYTES, depth: json::MAX_DEPTH }
    }
}

impl FrameLimits {
    /// These limits with another bound on the size, in bytes.
    #[must_use]
    pub fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// These limits with another bound on nesting, in containers. At most [`json::MAX_DEPTH`] counts, for beyond that the model would
    /// not read the value.
    #[must_use]
    pub fn with_depth(self, depth: usize) -> Self {
        Self { depth: depth.min(json::MAX_DEPTH), ..self }
    }

    /// The bound on the size, in bytes; also the right bound for lines.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bound on nesting, in containers.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }
}

/// A message.
#[derive(Debug)]
pub enum Message<'a> {
    /// A call that wants an answer.
    Request {
        /// The caller's id.
        id: Id<'a>,
        /// The method, unescaped.
        method: Cow<'a, str>,
        /// The parameters, an object.
        params: Option<&'a RawValue>,
    },
    /// A call that wants none.
    Notification {
        /// The method, unescaped.
        method: Cow<'a, str>,
        /// The parameters, an object.
        params: Option<&'a RawValue>,
    },
    /// An answer.
    Response {
        /// The id of the request that it answers. `None` only for an error whose sender could not tell the id: it answers
        /// nothing that can be named.
        id: Option<Id<'a>>,
        /// The answer.
        outcome: Outcome<'a>,
    },
}

/// What an answer says.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// The result, an object.
    Result(&'a RawValue),
    /// The error, an object with an integer `code` and a string `message`.
    Error(&'a RawValue),
}

/// Why bytes are no message. The sender's fault.
#[derive(Debug, Clone, Error)]
#[error("{fault}")]
pub struct FrameError {
    fault: FrameFault,
    id: Option<Id<'static>>,
}

/// What is wrong with bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameFault {
    /// More bytes than the bound.
    #[error("the message has {bytes} bytes, more than the bound of {bound}")]
    TooLarge {
        /// How many there were.
        bytes: usize,
        /// How many are allowed.
        bound: usize,
    },
    /// Not UTF-8.
    #[error("the message is not UTF-8 after {valid} bytes")]
    NotUtf8 {
        /// How many bytes were.
        valid: usize,
    },
    /// Not JSON, or JSON that readers disagree on: a lone surrogate, or a number beyond the range of a double.
    #[error("the message is not well-formed JSON: {cause}")]
    Syntax {
        /// What the lexer said, with line and column.
        cause: String,
    },
    /// An array of messages. The protocol had these in one revision only.
    #[error("batches are not supported: send each message by itself")]
    Batch,
    /// Another JSON value.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// Nested too deeply.
    #[error("the message is nested more than {bound} deep: flatten it")]
    TooDeep {
        /// How deep is allowed.
        bound: usize,
    },
    /// An object within the message names a member twice.
    #[error("the member {name:?} stands twice in one object: remove one of the two")]
    DuplicateMember {
        /// The name, unescaped and cut to 80 characters.
        name: String,
    },
    /// `jsonrpc` is missing or not `"2.0"`.
    #[error("`jsonrpc` must be \"2.0\"")]
    Version,
    /// The id is missing from a result, or malformed.
    #[error("the id is malformed: {cause}")]
    Id {
        /// Why.
        #[source]
        cause: IdError,
    },
    /// The members do not make a request, a notification, a result or an error.
    #[error("the message is neither request nor notification nor response: {why}")]
    Shape {
        /// What is missing or too much.
        why: &'static str,
    },
    /// A member that is none of JSON-RPC's.
    #[error("the message has the member {name:?}, which JSON-RPC does not have: remove it")]
    UnknownMember {
        /// The name, unescaped and cut to 80 characters.
        name: String,
    },
    /// The parameters are no object.
    #[error("`params` must be an object")]
    Params,
}

impl FrameError {
    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> &FrameFault {
        &self.fault
    }

    /// The id of the broken message, when it could be told for certain.
    #[must_use]
    pub fn id(&self) -> Option<&Id<'static>> {
        self.id.as_ref()
    }

    /// The JSON-RPC error to answer with.
    #[must_use]
    pub fn to_rpc(&self) -> RpcError {
        let code = match self.fault {
            FrameFault::NotUtf8 { .. } | FrameFault::Syntax { .. } => rpc::PARSE_ERROR,
            FrameFault::Params => rpc::INVALID_PARAMS,
            _ => rpc::INVALID_REQUEST,
        };
        RpcError::new(code, self.to_string())
    }

    /// The answer, on one line: with the message's id where it could be told, else `null`. For messages from a client; what an
    /// upstream sends is not answered.
    #[must_use]
    pub fn to_response(&self) -> Vec<u8> {
        envelope::error(self.id.as_ref(), &self.to_rpc())
    }
}

impl From<FrameFault> for FrameError {
    fn from(fault: FrameFault) -> Self {
        Self { fault, id: None }
    }
}

impl<'a> Message<'a> {
    /// Reads one message. The bytes are gone over a fixed number of times, whatever they are.
    ///
    /// # Errors
    /// [`FrameError`] for anything that is not exactly one message within the limits.
    pub fn parse(line: &'a [u8], limits: &FrameLimits) -> Result<Self, FrameError> {
        if line.len() > limits.bytes {
            return Err(FrameFault::TooLarge { bytes: line.len(), bound: limits.bytes }.into());
        }
        let text =
            std::str::from_utf8(line).map_err(|cause| FrameFault::NotUtf8 { valid: cause.valid_up_to() })?;
        let members = top_level(text)?;
        // From here on the sender can be told which message was wrong.
        let id = members.get("id").and_then(|raw| Id::read(raw).ok()).map(Id::into_owned);
        unambiguous(text, limits).and_then(|()| classify(&members)).map_err(|fault| FrameError { fault, id })
    }
}

/// The members of the message itself. Values are lexed but not descended into, so depth does not matter yet.
fn top_level(text: &str) -> Result<Members<'_>, FrameFault> {
    Members::read_text(text, "message").map_err(|error| match error {
        ShapeError::DuplicateMember { name, .. } => FrameFault::DuplicateMember { name },
        ShapeError::Syntax { cause, .. } => FrameFault::Syntax { cause },
        // It does not begin as an object; tell apart what does not even parse.
        _ => match serde_json::from_str::<&RawValue>(text) {
            Err(cause) => FrameFault::Syntax { cause: cause.to_string() },
            Ok(raw) if raw.get().starts_with('[') => FrameFault::Batch,
            Ok(_) => FrameFault::NotAnObject,
        },
    })
}

fn unambiguous(text: &str, limits: &FrameLimits) -> Result<(), FrameFault> {
    if !scan::nested_within(text, limits.depth) {
        return Err(FrameFault::TooDeep { bound: limits.depth });
    }
    scan::unambiguous(text).map_err(|fault| match fault {
        scan::ScanFault::Duplicate(name) => FrameFault::DuplicateMember { name: members::shown(&name) },
        scan::ScanFault::Syntax(cause) => FrameFault::Syntax { cause: cause.to_string() },
    })
}

fn classify<'a>(members: &Members<'a>) -> Result<Message<'a>, FrameFault> {
    if members.get("jsonrpc").and_then(members::text).as_deref() != Some("2.0") {
        return Err(FrameFault::Version);
    }
    let known = ["jsonrpc", "id", "method", "params", "result", "error"];
    if let Some((name, _)) = members.iter().find(|(name, _)| !known.contains(name)) {
        return Err(FrameFault::UnknownMember { name: members::shown(name) });
    }
    let answer = (members.get("result"), members.get("error"));
    match (members.get("method"), answer) {
        (Some(method), (None, None)) => call(members, method),
        (None, (Some(result), None)) => answer_of(members, Outcome::Result(result)),
        (None, (None, Some(error))) => answer_of(members, Outcome::Error(error)),
        (Some(_), _) => Err(FrameFault::Shape { why: "`method` stands beside `result` or `error`" }),
        (None, (Some(_), Some(_))) => Err(FrameFault::Shape { why: "`result` stands beside `error`" }),
        (None, (None, None)) => Err(FrameFault::Shape { why: "`method`, `result` and `error` are missing" }),
    }
}

fn call<'a>(members: &Members<'a>, method: &'a RawValue) -> Result<Message<'a>, FrameFault> {
    let method = members::text(method).ok_or(FrameFault::Shape { why: "`method` is no string" })?;
    if method.is_empty() || method.len() > MAX_METHOD_BYTES {
        return Err(FrameFault::Shape { why: "`method` is empty or longer than 128 bytes" });
    }
    let params = members.object("params").map_err(|_| FrameFault::Params)?;
    match members.get("id") {
        Some(raw) => {
            let id = Id::read(raw).map_err(|cause| FrameFault::Id { cause })?;
            Ok(Message::Request { id, method, params })
        }
        None => Ok(Message::Notification { method, params }),
    }
}

fn answer_of<'a>(members: &Members<'a>, outcome: Outcome<'a>) -> Result<Message<'a>, FrameFault> {
    if members.get("params").is_some() {
        return Err(FrameFault::Shape { why: "`params` stands beside `result` or `error`" });
    }
    let id = members.get("id").filter(|raw| raw.get() != "null");
    let id = id.map(Id::read).transpose().map_err(|cause| FrameFault::Id { cause })?;
    match outcome {
        Outcome::Result(raw) if !members::is_object(raw) => {
            Err(FrameFault::Shape { why: "`result` is no object" })
        }
        Outcome::Result(_) if id.is_none() => Err(FrameFault::Shape { why: "a result has no id" }),
        Outcome::Error(raw) if !is_error_object(raw) => Err(FrameFault::Shape {
            why: "`error` is no object of an integer `code`, a string `message` and maybe `data`",
        }),
        outcome => Ok(Message::Response { id, outcome }),
    }
}

fn is_error_object(raw: &RawValue) -> bool {
    let Ok(members) = Members::read(raw, "error").and_then(|m| m.only(&["code", "message", "data"])) else {
        return false;
    };
    members.get("code").is_some_and(|code| code.get().parse::<i64>().is_ok())
        && members.get("message").and_then(members::text).is_some()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
