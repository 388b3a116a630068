//! Revisions of the protocol and its two eras.
//!
//! *Legacy* revisions open with an `initialize` handshake and keep a session; *modern* ones are stateless, and every request
//! carries its version and the client's capabilities in `_meta`. A request tells its era by itself: see [`declared`].
//! A peer of one era is only ever connected with a peer of the same era; this crate does not bridge.

use std::{fmt, str::FromStr};

use serde_json::value::RawValue;
use thiserror::Error;

use crate::{Fragment, ParamsError, params, params::InitializeParams};

/// How a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize`, then a session.
    Legacy,
    /// Stateless, everything in each request's `_meta`.
    Modern,
}

/// The revisions that are spoken here. An unknown one is refused, never guessed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28, the first of the modern era
    V2026_07_28,
}

/// A revision that is not spoken here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the protocol version {requested:?} is not supported")]
pub struct UnknownVersion {
    /// What was asked for, cut to 80 characters.
    pub requested: String,
}

impl ProtocolVersion {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// Its name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Its era.
    #[must_use]
    pub fn era(self) -> Era {
        match self {
            Self::V2024_11_05 | Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }

    /// The revisions of one era, oldest first.
    pub fn of_era(era: Era) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |version| version.era() == era)
    }
}

impl FromStr for ProtocolVersion {
    type Err = UnknownVersion;
    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion { requested: crate::members::shown(text) })
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names of an era's revisions, for the `supported` of an error.
pub(crate) fn names(era: Era) -> Fragment<'static> {
    Fragment::array(ProtocolVersion::of_era(era).map(|version| Fragment::text(version.as_str())))
}

/// What a request says about its era.
#[derive(Debug)]
pub enum Declared<'a> {
    /// It is a legacy `initialize`: a session is to begin.
    Handshake(InitializeParams<'a>),
    /// It is a modern request of this version.
    Modern(ProtocolVersion),
    /// It says nothing, so it can only belong to a legacy session that already stands. Without one it must be refused.
    Nothing,
}

/// Tells the era of a request.
///
/// # Errors
/// [`ParamsError`] when the request contradicts itself: an `initialize` with the `_meta` of a modern request, modern `_meta`
/// without the version or the capabilities, a modern method without them, or a version that is not spoken here.
pub fn declared<'a>(method: &str, params: Option<&'a RawValue>) -> Result<Declared<'a>, ParamsError> {
    if method == "initialize" {
        return InitializeParams::parse(params).map(Declared::Handshake);
    }
    let meta = params::meta_of(params)?;
    match meta.modern() {
        Some(modern) => Ok(Declared::Modern(modern.version())),
        None if matches!(method, "server/discover" | "subscriptions/listen") => {
            Err(ParamsError::MissingMeta { member: crate::meta::PROTOCOL_VERSION })
        }
        None => Ok(Declared::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_has_one_name_and_an_era() {
        for version in ProtocolVersion::ALL {
            assert_eq!(version.as_str().parse(), Ok(version));
        }
        assert_eq!(ProtocolVersion::of_era(Era::Modern).collect::<Vec<_>>(), [ProtocolVersion::V2026_07_28]);
        for unknown in ["", "2026-07-29", "DRAFT-2026-v1", " 2025-06-18", "2025-06-18 "] {
            assert!(unknown.parse::<ProtocolVersion>().is_err(), "{unknown}");
        }
    }

    fn tell(method: &str, params: &str) -> String {
        let raw: Option<&RawValue> =
            if params.is_empty() { None } else { Some(serde_json::from_str(params).unwrap()) };
        match declared(method, raw) {
            Ok(Declared::Handshake(params)) => format!("handshake {}", params.version),
            Ok(Declared::Modern(version)) => format!("modern {version}"),
            Ok(Declared::Nothing) => "nothing".into(),
            Err(error) => error.to_rpc().code.to_string(),
        }
    }

    #[test]
    fn a_request_tells_its_era_or_is_refused() {
        let init =
            r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}"#;
        let both = r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"},"_meta":
            {"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#;
        let modern = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
            "io.modelcontextprotocol/clientCapabilities":{}}}"#;
        let no_capabilities = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        let no_version = r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#;
        let future = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2027-01-01",
            "io.modelcontextprotocol/clientCapabilities":{}}}"#;
        let legacy_in_meta = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2025-11-25",
            "io.modelcontextprotocol/clientCapabilities":{}}}"#;
        for (method, params, told) in [
            ("initialize", init, "handshake 2025-06-18"),
            ("initialize", both, "-32601"),
            ("initialize", modern, "-32601"),
            ("initialize", "", "-32602"),
            ("tools/list", "", "nothing"),
            ("tools/list", "{}", "nothing"),
            ("tools/list", r#"{"_meta":{"progressToken":1}}"#, "nothing"),
            ("tools/list", modern, "modern 2026-07-28"),
            ("server/discover", modern, "modern 2026-07-28"),
            ("server/discover", "{}", "-32602"),
            ("server/discover", "", "-32602"),
            ("tools/call", no_capabilities, "-32602"),
            ("tools/call", no_version, "-32602"),
            ("tools/call", future, "-32022"),
            ("tools/call", legacy_in_meta, "-32022"),
        ] {
            assert_eq!(tell(method, params), told, "{method} {params}");
        }
    }
}
