//! The opening of a connection, rebuilt in both directions.
//!
//! Towards the upstream the client has the capabilities that are granted: it is never asked for other sampling, elicitation or roots. Towards
//! the client the upstream has what its manifest describes; extensions are not let through, so they are not announced. Instructions go straight into a model's context, and pass only if they are the ones that were reviewed.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    Era, Fragment, ProtocolVersion, ResultError,
    capabilities::Capabilities,
    envelope,
    fragment::ObjectWriter,
    members::{self, Members},
    meta::{MAX_INFO_BYTES, SERVER_INFO},
    params::InitializeParams,
    result::complete,
    tasks,
};

/// Whether an upstream's instructions reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// They equal the text that was reviewed and pinned.
    Pinned,
    /// They do not, or nothing is pinned: they are left out.
    Withheld,
}

/// An `initialize` towards the upstream: version and client info as they came, these capabilities.
#[must_use]
pub fn initialize_request(id: u64, params: &InitializeParams<'_>, capabilities: Capabilities) -> Vec<u8> {
    let params = ObjectWriter::new()
        .text("protocolVersion", params.version.as_str())
        .member("capabilities", &capabilities.fragment())
        .member("clientInfo", &Fragment::from(params.client_info))
        .finish();
    envelope::request(id, "initialize", Some(&params))
}

/// What an upstream answers to `initialize`.
#[derive(Debug)]
pub struct InitializeResult<'a> {
    version: ProtocolVersion,
    offers: Offers<'a>,
    server_info: &'a RawValue,
    instructions: Option<Cow<'a, str>>,
}

impl<'a> InitializeResult<'a> {
    /// Reads the result of an `initialize`.
    ///
    /// # Errors
    /// [`ResultError`] when it does not have that shape, or its version is not a legacy one that is spoken here.
    pub fn parse(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let offered = members.need("protocolVersion", members.text("protocolVersion", usize::MAX)?)?;
        let version = offered.parse().ok().filter(|version: &ProtocolVersion| version.era() == Era::Legacy);
        let server_info = members.need("serverInfo", members.object("serverInfo")?)?;
        info_within_bound(server_info)?;
        Ok(Self {
            version: version.ok_or_else(|| ResultError::Version { offered: members::shown(&offered) })?,
            offers: Offers::of(&members)?,
            server_info,
            instructions: members.text("instructions", usize::MAX)?,
        })
    }

    /// The version of the session.
    #[must_use]
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// What the upstream would have a model read, to be compared with the pinned text.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// The result for the client.
    #[must_use]
    pub fn to_client(&self, instructions: Instructions, announced: &[&str]) -> Fragment<'static> {
        let out = ObjectWriter::new()
            .text("protocolVersion", self.version.as_str())
            .member("capabilities", &self.offers.fragment(announced))
            .member("serverInfo", &Fragment::from(self.server_info));
        with_instructions(out, self.instructions(), instructions).finish()
    }
}

/// What an upstream answers to `server/discover`.
#[derive(Debug)]
pub struct DiscoverResult<'a> {
    versions: Vec<ProtocolVersion>,
    offers: Offers<'a>,
    server_info: Option<&'a RawValue>,
    instructions: Option<Cow<'a, str>>,
    ttl_ms: Option<&'a RawValue>,
}

impl<'a> DiscoverResult<'a> {
    /// Reads the result of a `server/discover`.
    ///
    /// # Errors
    /// [`ResultError`] when it does not have that shape, or shares no modern version with us.
    pub fn parse(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let ttl_ms = members.get("ttlMs");
        if ttl_ms.is_some_and(|raw| !raw.get().bytes().all(|b| b.is_ascii_digit())) {
            return Err(members.wrong("ttlMs", "an integer that is not negative").into());
        }
        let server_info = match members.object("_meta")? {
            Some(meta) => Members::read(meta, "_meta")?.object(SERVER_INFO)?,
            None => None,
        };
        server_info.map_or(Ok(()), info_within_bound)?;
        Ok(Self {
            versions: common_versions(&members)?,
            offers: Offers::of(&members)?,
            server_info,
            instructions: members.text("instructions", usize::MAX)?,
            ttl_ms,
        })
    }

    /// The versions that both sides speak, in the upstream's order; a modern one is among them.
    #[must_use]
    pub fn versions(&self) -> &[ProtocolVersion] {
        &self.versions
    }

    /// What the upstream would have a model read, to be compared with the pinned text.
    #[must_use]
    pub fn instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    /// How long it may be kept, in milliseconds; not at all when nothing is said.
    #[must_use]
    pub fn lifetime(&self) -> u64 {
        self.ttl_ms.and_then(|raw| raw.get().parse().ok()).unwrap_or_default()
    }

    /// Whether answers may come as tasks.
    #[must_use]
    pub fn has_tasks(&self) -> bool {
        self.offers.tasks
    }

    /// The result for the client. An upstream that names no lifetime gets none.
    #[must_use]
    pub fn to_client(&self, instructions: Instructions, announced: &[&str]) -> Fragment<'static> {
        let versions = self.versions.iter().map(|version| Fragment::text(version.as_str()));
        let out = ObjectWriter::new()
            .text("resultType", "complete")
            .member("supportedVersions", &Fragment::array(versions))
            .member("capabilities", &self.offers.fragment(announced));
        let out = with_instructions(out, self.instructions(), instructions)
            .member("ttlMs", &self.ttl_ms.map_or_else(|| Fragment::count(0), Fragment::from))
            .text("cacheScope", "private");
        let meta = self
            .server_info
            .map(|info| ObjectWriter::new().member(SERVER_INFO, &Fragment::from(info)).finish());
        out.maybe("_meta", meta.as_ref()).finish()
    }
}

/// What a server says it offers, in the order in which it is announced.
const OFFERS: [&str; 5] = ["completions", "logging", "prompts", "resources", "tools"];

/// The server's capabilities that are known here.
#[derive(Debug)]
struct Offers<'a> {
    named: Vec<(&'static str, &'a RawValue)>,
    tasks: bool,
}

impl<'a> Offers<'a> {
    fn of(members: &Members<'a>) -> Result<Self, ResultError> {
        let capabilities = members.need("capabilities", members.object("capabilities")?)?;
        let capabilities = Members::read(capabilities, "capabilities")?;
        let mut offers = Vec::new();
        for name in OFFERS {
            offers.extend(capabilities.object(name)?.map(|raw| (name, raw)));
        }
        Ok(Self { named: offers, tasks: tasks::named_in(&capabilities) })
    }

    fn fragment(&self, announced: &[&str]) -> Fragment<'static> {
        let kept = self.named.iter().filter(|(name, _)| announced.contains(name));
        let out = kept.fold(ObjectWriter::new(), |out, (name, raw)| out.member(name, &Fragment::from(*raw)));
        let tasks = (self.tasks && announced.contains(&"tasks"))
            .then(|| ObjectWriter::new().member(tasks::EXTENSION, &Fragment::empty_object()).finish());
        out.maybe("extensions", tasks.as_ref()).finish()
    }
}

fn with_instructions(out: ObjectWriter, text: Option<&str>, instructions: Instructions) -> ObjectWriter {
    match (text, instructions) {
        (Some(text), Instructions::Pinned) => out.text("instructions", text),
        (None, _) | (_, Instructions::Withheld) => out,
    }
}

fn info_within_bound(info: &RawValue) -> Result<(), ResultError> {
    if info.get().len() > MAX_INFO_BYTES { Err(ResultError::InfoTooLong) } else { Ok(()) }
}

fn common_versions(members: &Members<'_>) -> Result<Vec<ProtocolVersion>, ResultError> {
    let list = members.need("supportedVersions", members.get("supportedVersions"))?;
    let wrong = || members.wrong("supportedVersions", "an array of strings");
    let mut common: Vec<ProtocolVersion> = Vec::new();
    for raw in members::elements(list).ok_or_else(wrong)? {
        let name = members::text(raw).ok_or_else(wrong)?;
        // A version that is not known here is no fault: newer servers list them.
        if let Some(version) = name.parse().ok().filter(|version| !common.contains(version)) {
            common.push(version);
        }
    }
    if common.iter().any(|version| version.era() == Era::Modern) {
        Ok(common)
    } else {
        Err(ResultError::NoCommonVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_upstream_sees_a_client_without_capabilities() {
        let params = r#"{"protocolVersion":"2025-06-18","capabilities":{"sampling":{},"roots":{"listChanged":true},"elicitation":{}},"clientInfo":{"name":"c", "v":1.0},"_meta":{"x":1}}"#;
        let params = InitializeParams::parse(Some(raw(params))).unwrap();
        assert_eq!(
            String::from_utf8(initialize_request(1, &params, Capabilities::default())).unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c", "v":1.0}}}"#
        );
    }

    #[test]
    fn the_client_sees_an_upstream_with_tools_only() {
        let result = r#"{"protocolVersion":"2025-03-26","capabilities":{"prompts":{},"tools":{"listChanged":true },"logging":{}},
            "serverInfo":{"name":"s"},"instructions":"obey \u0061","_meta":{"x":1},"extra":1}"#;
        let result = InitializeResult::parse(raw(result)).unwrap();
        assert_eq!(result.instructions(), Some("obey a"));
        let without = r#"{"protocolVersion":"2025-03-26","capabilities":{"tools":{"listChanged":true }},"serverInfo":{"name":"s"}"#;
        assert_eq!(result.to_client(Instructions::Withheld, &["tools"]).as_str(), format!("{without}}}"));
        assert_eq!(
            result.to_client(Instructions::Pinned, &["tools"]).as_str(),
            format!(r#"{without},"instructions":"obey a"}}"#)
        );
    }

    #[test]
    fn a_discovery_is_cut_down_and_private() {
        let result = r#"{"resultType":"complete","supportedVersions":["2027-01-01","2026-07-28","2025-11-25","2026-07-28"],
            "capabilities":{"resources":{},"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}},"instructions":"obey",
            "ttlMs":3600000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"},"x":1}}"#;
        let result = DiscoverResult::parse(raw(result)).unwrap();
        assert_eq!(result.versions(), [ProtocolVersion::V2026_07_28, ProtocolVersion::V2025_11_25]);
        assert_eq!(
            result.to_client(Instructions::Withheld, &["tools"]).as_str(),
            concat!(
                r#"{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"#,
                r#""ttlMs":3600000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#
            )
        );
        assert!(
            result.to_client(Instructions::Pinned, &["tools"]).as_str().contains(r#""instructions":"obey""#)
        );
    }

    #[test]
    fn a_discovery_without_lifetime_is_not_kept() {
        let result = raw(r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#);
        assert_eq!(
            DiscoverResult::parse(result).unwrap().to_client(Instructions::Pinned, &["tools"]).as_str(),
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{},"ttlMs":0,"cacheScope":"private"}"#
        );
    }

    #[test]
    fn openings_that_cannot_be_relayed_are_refused() {
        for json in [
            "{}",
            r#"{"protocolVersion":"2026-07-28","capabilities":{},"serverInfo":{}}"#,
            r#"{"protocolVersion":"1","capabilities":{},"serverInfo":{}}"#,
            r#"{"protocolVersion":"2025-06-18","capabilities":[],"serverInfo":{}}"#,
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":true},"serverInfo":{}}"#,
            r#"{"protocolVersion":"2025-06-18","capabilities":{}}"#,
            r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{},"instructions":1}"#,
        ] {
            assert!(InitializeResult::parse(raw(json)).is_err(), "{json} was taken");
        }
        for json in [
            "{}",
            r#"{"supportedVersions":["2025-11-25"],"capabilities":{}}"#,
            r#"{"supportedVersions":[],"capabilities":{}}"#,
            r#"{"supportedVersions":[1],"capabilities":{}}"#,
            r#"{"supportedVersions":["2026-07-28"]}"#,
            r#"{"supportedVersions":["2026-07-28"],"capabilities":{},"ttlMs":-1}"#,
            r#"{"supportedVersions":["2026-07-28"],"capabilities":{},"ttlMs":"1"}"#,
            r#"{"supportedVersions":["2026-07-28"],"capabilities":{},"resultType":"input_required"}"#,
        ] {
            assert!(DiscoverResult::parse(raw(json)).is_err(), "{json} was taken");
        }
    }
}
