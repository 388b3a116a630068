//! Typed views of the parameters of the methods that the gateway speaks.
//!
//! A view names every member it knows. One that it does not know is refused by name (-32602): nobody could have decided on it.

use std::borrow::Cow;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    Era, Fragment, Id, Meta, ProgressToken, ProtocolVersion, RpcError, ShapeError, era,
    fragment::ObjectWriter,
    id::IdError,
    members::{Members, is_number},
    meta, rpc,
};

/// Longest tool name that is carried, in bytes. The protocol recommends at most 128 characters.
pub const MAX_NAME_BYTES: usize = 512;
/// Longest cursor that is carried, in bytes.
pub const MAX_CURSOR_BYTES: usize = 4096;

/// Why the parameters of a message are refused. The sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParamsError {
    /// The method needs parameters.
    #[error("the message lacks `params`")]
    Absent,
    /// They do not have the method's shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A progress token that is none.
    #[error("`progressToken` is malformed")]
    Token {
        /// Why.
        #[source]
        cause: IdError,
    },
    /// A request id within the parameters that is none.
    #[error("`requestId` is malformed")]
    RequestId {
        /// Why.
        #[source]
        cause: IdError,
    },
    /// A modern request without what every modern request carries.
    #[error("`_meta` lacks `{member}`, which every request of protocol version 2026-07-28 and later carries")]
    MissingMeta {
        /// The member.
        member: &'static str,
    },
    /// An info object that is no object.
    #[error("`{member}` must be an object")]
    WrongInfo {
        /// The member.
        member: &'static str,
    },
    /// An info object over [`meta::MAX_INFO_BYTES`].
    #[error("`{member}` is longer than {} bytes", meta::MAX_INFO_BYTES)]
    InfoTooLong {
        /// The member.
        member: &'static str,
    },
    /// The `_meta` of a modern request on a legacy `initialize`.
    #[error(
        "`initialize` carries the `_meta` of a modern request: use either the handshake or `server/discover`"
    )]
    MixedEras,
    /// A version in `_meta` that is not spoken here.
    #[error("the protocol version {requested:?} is not supported")]
    UnsupportedVersion {
        /// What was asked for, cut to 80 characters.
        requested: String,
    },
    /// A version in `initialize` that is not spoken here, or has no handshake.
    #[error("the protocol version {requested:?} cannot be initialized")]
    UnsupportedHandshake {
        /// What was asked for, cut to 80 characters.
        requested: String,
    },
}

impl ParamsError {
    /// The JSON-RPC error to answer with.
    #[must_use]
    pub fn to_rpc(&self) -> RpcError {
        let mut message = self.to_string();
        if let Self::Token { cause } | Self::RequestId { cause } = self {
            message = format!("{message}: {cause}");
        }
        let (code, data) = match self {
            Self::UnsupportedVersion { requested } => {
                (rpc::UNSUPPORTED_VERSION, Some(supported(Era::Modern, requested)))
            }
            Self::UnsupportedHandshake { requested } => {
                (rpc::INVALID_PARAMS, Some(supported(Era::Legacy, requested)))
            }
            // The newer era has no such method.
            Self::MixedEras => (rpc::METHOD_NOT_FOUND, None),
            _ => (rpc::INVALID_PARAMS, None),
        };
        RpcError { code, message, data }
    }
}

fn supported(era: Era, requested: &str) -> Fragment<'static> {
    ObjectWriter::new().member("supported", &era::names(era)).text("requested", requested).finish()
}

pub(crate) fn members<'a>(params: Option<&'a RawValue>) -> Result<Members<'a>, ParamsError> {
    Ok(Members::read(params.ok_or(ParamsError::Absent)?, "params")?)
}

pub(crate) fn meta_in<'a>(members: &Members<'a>) -> Result<Meta<'a>, ParamsError> {
    members.get("_meta").map_or_else(|| Ok(Meta::default()), Meta::parse)
}

/// The `_meta` of any request's parameters, whatever else they hold.
///
/// # Errors
/// [`ParamsError`] when the parameters are no object or `_meta` is refused.
pub fn meta_of(params: Option<&RawValue>) -> Result<Meta<'_>, ParamsError> {
    match params {
        Some(_) => meta_in(&members(params)?),
        None => Ok(Meta::default()),
    }
}

/// The parameters of a method that takes none but `_meta`: `ping`, `server/discover`, `notifications/initialized`.
///
/// # Errors
/// [`ParamsError`] when there are others.
pub fn only_meta(params: Option<&RawValue>) -> Result<Meta<'_>, ParamsError> {
    match params {
        Some(_) => meta_in(&members(params)?.only(&["_meta"])?),
        None => Ok(Meta::default()),
    }
}

/// The parameters of a list method.
#[derive(Debug)]
pub struct ListParams<'a> {
    /// Where to go on, at most [`MAX_CURSOR_BYTES`]. Opaque; the caller must make sure that the upstream gave it out.
    pub cursor: Option<Cow<'a, str>>,
    /// The request's `_meta`.
    pub meta: Meta<'a>,
}

impl<'a> ListParams<'a> {
    /// Reads the parameters of `tools/list` and the other lists.
    ///
    /// # Errors
    /// [`ParamsError`] for other members, or a cursor that is no string.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, ParamsError> {
        if params.is_none() {
            return Ok(Self { cursor: None, meta: Meta::default() });
        }
        let members = members(params)?.only(&["cursor", "_meta"])?;
        Ok(Self { cursor: members.text("cursor", MAX_CURSOR_BYTES)?, meta: meta_in(&members)? })
    }
}

/// The parameters of a legacy `initialize`.
#[derive(Debug, Clone, Copy)]
pub struct InitializeParams<'a> {
    /// The version, of the legacy era.
    pub version: ProtocolVersion,
    /// What the client says it can do.
    pub capabilities: &'a RawValue,
    /// What the client says it is; never an input to policy.
    pub client_info: &'a RawValue,
}

impl<'a> InitializeParams<'a> {
    /// Reads the parameters of an `initialize`.
    ///
    /// # Errors
    /// [`ParamsError`] for a version that is not spoken here or is modern, for missing or unknown members.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, ParamsError> {
        let members = members(params)?.only(&["protocolVersion", "capabilities", "clientInfo", "_meta"])?;
        if meta_in(&members)?.modern().is_some() {
            return Err(ParamsError::MixedEras);
        }
        let requested = members.need("protocolVersion", members.text("protocolVersion", usize::MAX)?)?;
        let version = requested.parse().ok().filter(|version: &ProtocolVersion| version.era() == Era::Legacy);
        let client_info = members.need("clientInfo", members.object("clientInfo")?)?;
        meta::info_within_bound(Some(client_info), "clientInfo")?;
        Ok(Self {
            version: version.ok_or_else(|| ParamsError::UnsupportedHandshake {
                requested: crate::members::shown(&requested),
            })?,
            capabilities: members.need("capabilities", members.object("capabilities")?)?,
            client_info,
        })
    }
}

/// The parameters of `notifications/cancelled`.
#[derive(Debug)]
pub struct CancelledParams<'a> {
    /// The request to give up.
    pub request_id: Id<'a>,
    /// Why, for the log; free text of the sender, which is never forwarded.
    pub reason: Option<Cow<'a, str>>,
}

impl<'a> CancelledParams<'a> {
    /// Reads the parameters of a `notifications/cancelled`.
    ///
    /// # Errors
    /// [`ParamsError`] for a missing or malformed request id, or unknown members.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, ParamsError> {
        let members = members(params)?.only(&["requestId", "reason", "_meta"])?;
        meta_in(&members)?;
        let raw = members.need("requestId", members.get("requestId"))?;
        let request_id = Id::read(raw).map_err(|cause| ParamsError::RequestId { cause })?;
        Ok(Self { request_id, reason: members.text("reason", usize::MAX)? })
    }
}

/// The parameters of `notifications/progress`.
#[derive(Debug)]
pub struct ProgressParams<'a> {
    /// The token that the progress is reported under.
    pub token: ProgressToken<'a>,
    /// How far, a number.
    pub progress: &'a RawValue,
    /// Out of how much, a number.
    pub total: Option<&'a RawValue>,
    /// What goes on, a string that the upstream wrote.
    pub message: Option<&'a RawValue>,
}

impl<'a> ProgressParams<'a> {
    /// Reads the parameters of a `notifications/progress`.
    ///
    /// # Errors
    /// [`ParamsError`] for missing, malformed or unknown members.
    pub fn parse(params: Option<&'a RawValue>) -> Result<Self, ParamsError> {
        let members = members(params)?.only(&["progressToken", "progress", "total", "message", "_meta"])?;
        let raw = members.need("progressToken", members.get("progressToken"))?;
        let number = |member: &'static str| match members.get(member) {
            Some(raw) if !is_number(raw) => Err(members.wrong(member, "a number")),
            found => Ok(found),
        };
        members.text("message", usize::MAX)?;
        Ok(Self {
            token: ProgressToken::read(raw).map_err(|cause| ParamsError::Token { cause })?,
            progress: members.need("progress", number("progress")?)?,
            total: number("total")?,
            message: members.get("message"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(params: Option<&RawValue>) -> Result<crate::uses::UseParams<'_>, ParamsError> {
        crate::uses::UseParams::parse("tools/call", params).unwrap()
    }

    fn raw(json: &str) -> Option<&RawValue> {
        Some(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_tool_call_keeps_its_arguments_as_they_were_written() {
        let params = raw(
            r#"{"arguments" : {"a": 1.10,"b":12345678901234567890123, "c":"\u00e9\/"} ,"name":"s\u0065nd"}"#,
        );
        let call = call(params).unwrap();
        assert_eq!(call.mirrored(), Some("send"));
        assert_eq!(
            String::from_utf8(call.arguments()).unwrap(),
            r#"{"a": 1.10,"b":12345678901234567890123, "c":"\u00e9\/"}"#
        );
    }

    #[test]
    fn what_a_tool_call_cannot_carry_is_named() {
        for (json, named) in [
            (r#"{"arguments":{}}"#, "`name`"),
            (r#"{"name":""}"#, "`name`"),
            (r#"{"name":7}"#, "`name`"),
            (r#"{"name":"a","arguments":[]}"#, "`arguments`"),
            (r#"{"name":"a","arguments":null}"#, "`arguments`"),
            (r#"{"name":"a","arguments":"{}"}"#, "`arguments`"),
            (r#"{"name":"a","task":{}}"#, "\"task\""),
            (r#"{"name":"a","inputResponses":{}}"#, "\"inputResponses\""),
            (r#"{"name":"a","requestState":"s"}"#, "\"requestState\""),
            (r#"{"name":"a","Arguments":{}}"#, "\"Arguments\""),
            (r#"{"name":"a","n\u0061me":"b"}"#, "\"name\""),
            (r#"{"name":"a","_meta":[]}"#, "`_meta`"),
        ] {
            let error = call(raw(json)).unwrap_err().to_rpc();
            assert_eq!(error.code, rpc::INVALID_PARAMS, "{json}");
            assert!(error.message.contains(named), "{json}: {}", error.message);
        }
        assert_eq!(call(None).unwrap_err(), ParamsError::Absent);
    }

    #[test]
    fn an_unsupported_version_is_answered_with_those_that_are() {
        let init = |version: &str| {
            let json = format!(r#"{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{}}}}"#);
            InitializeParams::parse(raw(&json))
                .map(|p| p.version)
                .map_err(|e| e.to_rpc().to_fragment().as_str().to_owned())
        };
        assert_eq!(init("2025-11-25"), Ok(ProtocolVersion::V2025_11_25));
        for version in ["2026-07-28", "1.0", ""] {
            let error = init(version).unwrap_err();
            let data = format!(
                r#""data":{{"supported":["2024-11-05","2025-03-26","2025-06-18","2025-11-25"],"requested":"{version}"}}}}"#
            );
            assert!(error.starts_with(r#"{"code":-32602,"#) && error.ends_with(&data), "{error}");
        }
    }

    #[test]
    fn views_refuse_what_they_do_not_know() {
        for (what, refused) in [
            ("list", ListParams::parse(raw(r#"{"filter":1}"#)).is_err()),
            ("cursor", ListParams::parse(raw(r#"{"cursor":1}"#)).is_err()),
            ("only meta", only_meta(raw(r#"{"x":1}"#)).is_err()),
            (
                "initialize",
                InitializeParams::parse(raw(r#"{"protocolVersion":"2025-06-18","capabilities":{}}"#))
                    .is_err(),
            ),
            ("cancel null", CancelledParams::parse(raw(r#"{"requestId":null}"#)).is_err()),
            ("cancel none", CancelledParams::parse(raw("{}")).is_err()),
            ("progress text", ProgressParams::parse(raw(r#"{"progressToken":1,"progress":"1"}"#)).is_err()),
            ("progress none", ProgressParams::parse(raw(r#"{"progressToken":1}"#)).is_err()),
            (
                "progress message",
                ProgressParams::parse(raw(r#"{"progressToken":1,"progress":1,"message":{}}"#)).is_err(),
            ),
        ] {
            assert!(refused, "{what} was taken");
        }
    }

    #[test]
    fn views_take_what_the_protocol_has() {
        assert_eq!(ListParams::parse(raw(r#"{"cursor":"c\n"}"#)).unwrap().cursor.as_deref(), Some("c\n"));
        assert!(ListParams::parse(None).unwrap().cursor.is_none());
        assert!(only_meta(None).is_ok() && only_meta(raw("{}")).is_ok());
        let cancelled = CancelledParams::parse(raw(r#"{"requestId":"a","reason":"r"}"#)).unwrap();
        assert_eq!((cancelled.request_id.raw(), cancelled.reason.as_deref()), ("\"a\"", Some("r")));
        let progress =
            ProgressParams::parse(raw(r#"{"progressToken":5,"progress":0.10,"total":1,"message":"m"}"#))
                .unwrap();
        assert_eq!((progress.token.as_u64(), progress.progress.get()), (Some(5), "0.10"));
    }
}
