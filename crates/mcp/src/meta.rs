//! The `_meta` of a request.
//!
//! Only what is named here is read, and only that can be forwarded. Everything else in `_meta` is data that nobody decided
//! on, and a way out for it; so it stays here. Of the client's capabilities only those are announced whose use was granted:
//! sampling, elicitation and roots let an upstream ask the client for data.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    Era, Fragment, ParamsError, ProgressToken, ProtocolVersion,
    capabilities::Capabilities,
    fragment::ObjectWriter,
    members::{Members, is_object},
    trace::TraceContext,
};

/// The member that makes a request modern.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client says it is; nobody verified it.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the client can do; required on modern requests.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// What the server says it is; nobody verified it.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// From which level on the client wants the server's log.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// The levels of RFC 5424. Any other text is no level, and stays here.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Longest name of a level, in bytes.
const MAX_LEVEL_BYTES: usize = 32;

/// Longest `clientInfo` or `serverInfo` that is relayed, in bytes as written. Icons can be data URLs, hence no less.
pub const MAX_INFO_BYTES: usize = 16 << 10;

/// The `_meta` of a request, as far as it is known here.
#[derive(Debug, Default)]
pub struct Meta<'a> {
    progress_token: Option<ProgressToken<'a>>,
    modern: Option<ModernMeta<'a>>,
    log_level: Option<Cow<'a, str>>,
    trace: Option<TraceContext<'a>>,
}

/// What makes a request modern. Its version is one that is spoken here.
#[derive(Debug, Clone, Copy)]
pub struct ModernMeta<'a> {
    version: ProtocolVersion,
    client_info: Option<&'a RawValue>,
    client_capabilities: &'a RawValue,
}

impl<'a> ModernMeta<'a> {
    /// The version, of the modern era.
    #[must_use]
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What the client says it is; never an input to policy.
    #[must_use]
    pub fn client_info(&self) -> Option<&'a RawValue> {
        self.client_info
    }

    /// What the client says it can do.
    #[must_use]
    pub fn client_capabilities(&self) -> &'a RawValue {
        self.client_capabilities
    }

    fn read(members: &Members<'a>) -> Result<Option<Self>, ParamsError> {
        let version = members.text(PROTOCOL_VERSION, usize::MAX)?;
        let client_info = members.object(CLIENT_INFO)?;
        let client_capabilities = members.object(CLIENT_CAPABILITIES)?;
        let (version, client_capabilities) = match (version, client_capabilities) {
            (None, None) if client_info.is_none() => return Ok(None),
            (None, _) => return Err(ParamsError::MissingMeta { member: PROTOCOL_VERSION }),
            (Some(version), capabilities) => (modern_version(&version)?, capabilities),
        };
        let client_capabilities =
            client_capabilities.ok_or(ParamsError::MissingMeta { member: CLIENT_CAPABILITIES })?;
        info_within_bound(client_info, CLIENT_INFO)?;
        Ok(Some(Self { version, client_info, client_capabilities }))
    }
}

impl<'a> Meta<'a> {
    /// Reads the `_meta` member of a request's parameters.
    ///
    /// # Errors
    /// [`ParamsError`] when it is no object, when a member that is known here is of the wrong kind, or when it is half
    /// modern.
    pub fn parse(raw: &'a RawValue) -> Result<Self, ParamsError> {
        let members = Members::read(raw, "_meta")?;
        let progress_token = members
            .get("progressToken")
            .map(ProgressToken::read)
            .transpose()
            .map_err(|cause| ParamsError::Token { cause })?;
        Ok(Self {
            progress_token,
            modern: ModernMeta::read(&members)?,
            log_level: members
                .text(LOG_LEVEL, MAX_LEVEL_BYTES)?
                .filter(|level| LEVELS.contains(&level.as_ref())),
            trace: TraceContext::read(
                members.get("traceparent").and_then(crate::members::text),
                members.get("tracestate").and_then(crate::members::text),
            ),
        })
    }

    /// The token that the client wants progress under.
    #[must_use]
    pub fn progress_token(&self) -> Option<&ProgressToken<'a>> {
        self.progress_token.as_ref()
    }

    /// From which level on the client wants the server's log, if it does.
    #[must_use]
    pub fn log_level(&self) -> Option<&str> {
        self.log_level.as_deref()
    }

    /// What makes the request modern, if it is.
    #[must_use]
    pub fn modern(&self) -> Option<&ModernMeta<'a>> {
        self.modern.as_ref()
    }

    /// The era, as far as `_meta` tells: without modern members it can only be legacy.
    #[must_use]
    pub fn era(&self) -> Era {
        if self.modern.is_some() { Era::Modern } else { Era::Legacy }
    }

    /// The trace that the client's request belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext<'a>> {
        self.trace.as_ref()
    }

    /// The `_meta` that an upstream gets: version and client info as they came, these capabilities, our own progress token if
    /// the client wanted progress, its log level if that is passed on, the trace context with this parent in place of the client's. `None` when nothing is left.
    #[must_use]
    pub fn outgoing(
        &self,
        progress: Option<u64>,
        capabilities: Capabilities,
        log: bool,
        parent: Option<&str>,
    ) -> Option<Fragment<'static>> {
        let parent = parent.or(self.trace.as_ref().map(TraceContext::parent));
        let progress = self.progress_token.as_ref().and(progress).map(Fragment::count);
        if progress.is_none() && self.modern.is_none() && parent.is_none() {
            return None;
        }
        let mut out = ObjectWriter::new();
        if let Some(modern) = &self.modern {
            out = out
                .text(PROTOCOL_VERSION, modern.version.as_str())
                .maybe(CLIENT_INFO, modern.client_info.map(Fragment::from).as_ref())
                .member(CLIENT_CAPABILITIES, &capabilities.fragment());
            if let Some(level) = self.log_level.as_deref().filter(|_| log) {
                out = out.text(LOG_LEVEL, level);
            }
        }
        out = out.maybe("progressToken", progress.as_ref());
        if let Some(parent) = parent {
            out = out.text("traceparent", parent);
        }
        if let Some(state) = self.trace.as_ref().and_then(TraceContext::state) {
            out = out.text("tracestate", state);
        }
        Some(out.finish())
    }
}

/// Refuses an info object that is large enough to be a way out for data.
pub(crate) fn info_within_bound(info: Option<&RawValue>, member: &'static str) -> Result<(), ParamsError> {
    match info {
        Some(raw) if !is_object(raw) => Err(ParamsError::WrongInfo { member }),
        Some(raw) if raw.get().len() > MAX_INFO_BYTES => Err(ParamsError::InfoTooLong { member }),
        _ => Ok(()),
    }
}

/// A version in `_meta` must be modern: a legacy one there is a peer that mixes the eras.
fn modern_version(text: &str) -> Result<ProtocolVersion, ParamsError> {
    match text.parse::<ProtocolVersion>() {
        Ok(version) if version.era() == Era::Modern => Ok(version),
        Ok(_) | Err(_) => Err(ParamsError::UnsupportedVersion { requested: crate::members::shown(text) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn outgoing(json: &str) -> Option<String> {
        let meta = Meta::parse(serde_json::from_str(json).unwrap()).unwrap();
        meta.outgoing(Some(9), Capabilities::default(), false, None)
            .map(|fragment| fragment.as_str().to_owned())
    }

    #[test]
    fn only_what_is_known_leaves() {
        let traced = format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=1","baggage":"secret=1"}}"#);
        let traced_out = format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=1"}}"#);
        for (meta, left) in [
            ("{}", None),
            (r#"{"com.example/leak":"secret"}"#, None),
            (r#"{"progressToken":"abc"}"#, Some(r#"{"progressToken":9}"#)),
            (r#"{"tracestate":"a=1"}"#, None),
            (r#"{"traceparent":"not one","tracestate":"a=1"}"#, None),
            (&traced, Some(traced_out.as_str())),
            (
                r#"{"io.modelcontextprotocol/clientInfo":{"name" : "c","n":1.10},"x":1,
                   "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/logLevel":"debug",
                   "io.modelcontextprotocol/clientCapabilities":{"sampling":{},"elicitation":{"url":{}}}}"#,
                Some(concat!(
                    r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
                    r#""io.modelcontextprotocol/clientInfo":{"name" : "c","n":1.10},"#,
                    r#""io.modelcontextprotocol/clientCapabilities":{}}"#
                )),
            ),
        ] {
            assert_eq!(outgoing(meta).as_deref(), left, "{meta}");
        }
    }

    #[test]
    fn members_of_the_wrong_kind_are_refused() {
        let long = format!(
            r#"{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},
            "io.modelcontextprotocol/clientInfo":{{"name":"{}"}}}}"#,
            "x".repeat(MAX_INFO_BYTES)
        );
        for meta in [
            "[]",
            "null",
            r#"{"progressToken":null}"#,
            r#"{"progressToken":1.5}"#,
            r#"{"progressToken":{}}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"io.modelcontextprotocol/protocolVersion":1}"#,
            r#"{"io.modelcontextprotocol/clientInfo":{}}"#,
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}"#,
            &long,
        ] {
            let error = Meta::parse(serde_json::from_str(meta).unwrap()).unwrap_err();
            assert_eq!(error.to_rpc().code, crate::rpc::INVALID_PARAMS, "{meta}");
        }
    }

    #[test]
    fn no_progress_is_asked_for_unless_the_client_wants_it() {
        let raw: &RawValue = serde_json::from_str(r#"{"progressToken":"t"}"#).unwrap();
        assert_eq!(Meta::parse(raw).unwrap().outgoing(None, Capabilities::default(), false, None), None);
    }
}
