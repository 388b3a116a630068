//! JSON-RPC errors that this gateway itself answers with.

use serde_json::value::RawValue;

use crate::{Fragment, fragment::ObjectWriter, members::Members};

/// Not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, but no JSON-RPC message as MCP has them.
pub const INVALID_REQUEST: i64 = -32600;
/// A method that is not known, or not let through.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Parameters that the method does not take.
pub const INVALID_PARAMS: i64 = -32602;
/// The gateway failed.
pub const INTERNAL_ERROR: i64 = -32603;
/// Modern HTTP: a mirrored header is missing, malformed or differs from the body.
pub const HEADER_MISMATCH: i64 = -32020;
/// Modern: the request needs a capability that the client did not declare.
pub const MISSING_CAPABILITY: i64 = -32021;
/// Modern: the protocol version is not supported.
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// Legacy: no resource has this URI.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// 2025-11-25: an elicitation by URL has to come first.
pub const URL_ELICITATION_REQUIRED: i64 = -32042;
/// Our own, outside of what JSON-RPC reserves: the use of a prompt or another offer was refused; `data` says why. A tool's refusal is its result.
pub const REFUSED: i64 = -31_403;

/// The code of an error object; [`INTERNAL_ERROR`] for one without any.
#[must_use]
pub fn code_of(error: &RawValue) -> i64 {
    let members = Members::read(error, "error").ok();
    let code = members.and_then(|members| members.get("code")?.get().parse().ok());
    code.unwrap_or(INTERNAL_ERROR)
}

/// A JSON-RPC error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// One of the codes of this module.
    pub code: i64,
    /// What is wrong and the cure; read by developers and by language models.
    pub message: String,
    /// What programs may read.
    pub data: Option<Fragment<'static>>,
}

impl RpcError {
    /// An error without data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The error object of a response.
    #[must_use]
    pub fn to_fragment(&self) -> Fragment<'static> {
        ObjectWriter::new()
            .member("code", &Fragment::integer(self.code))
            .text("message", &self.message)
            .maybe("data", self.data.as_ref())
            .finish()
    }
}
