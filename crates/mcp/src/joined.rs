//! One server made of several: what a client is told of a set of tools, from what each server told of itself.
//!
//! Only names change. Definitions, arguments and results stay as they were written. What servers say of themselves and of how their tools are used
//! (`serverInfo`, `instructions`) is left out: it speaks of tools by names that the client does not see.

use serde_json::value::RawValue;

use crate::{
    Era, Fragment, ParamsError, ProtocolVersion, ResultError, ShapeError,
    fragment::ObjectWriter,
    handshake::{DiscoverResult, InitializeResult},
    members::Members,
    meta::SERVER_INFO,
    tasks,
};

/// Who the set says it is.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Its name.
    pub name: &'a str,
    /// The version of whoever put it together.
    pub version: &'a str,
}

impl Identity<'_> {
    fn fragment(self) -> Fragment<'static> {
        ObjectWriter::new().text("name", self.name).text("version", self.version).finish()
    }
}

/// The parameters of a request with this member as given; all else as it was written.
///
/// # Errors
/// [`ParamsError`] when the parameters are no object.
pub fn params_with(
    params: Option<&RawValue>,
    member: &str,
    value: &Fragment<'_>,
) -> Result<Box<RawValue>, ParamsError> {
    let members = params.map(|params| Members::read(params, "params")).transpose()?;
    let text = replaced(members.as_ref(), member, value).as_str().to_owned();
    let syntax = |cause: serde_json::Error| ShapeError::Syntax { at: "params", cause: cause.to_string() };
    Ok(RawValue::from_string(text).map_err(syntax)?)
}

/// A definition under another name; all else as it was written.
///
/// # Errors
/// [`ShapeError`] when it is no object.
pub fn renamed(definition: &RawValue, name: &str) -> Result<Fragment<'static>, ShapeError> {
    let members = Members::read(definition, "tool")?;
    Ok(replaced(Some(&members), "name", &Fragment::text(name)))
}

fn replaced(members: Option<&Members<'_>>, member: &str, value: &Fragment<'_>) -> Fragment<'static> {
    let kept = members.into_iter().flat_map(Members::iter).filter(|(name, _)| *name != member);
    let out = kept.fold(ObjectWriter::new(), |out, (name, raw)| out.member(name, &Fragment::from(raw)));
    out.member(member, value).finish()
}

/// The answer to `initialize`, in the oldest of the versions that the servers chose: a server of a newer one says nothing that an older client could not
/// pass over. None without a server.
#[must_use]
pub fn initialized(identity: Identity<'_>, answers: &[InitializeResult<'_>]) -> Option<Fragment<'static>> {
    let version = answers.iter().map(InitializeResult::version).min()?;
    Some(
        ObjectWriter::new()
            .text("protocolVersion", version.as_str())
            .member("capabilities", &capabilities(false))
            .member("serverInfo", &identity.fragment())
            .finish(),
    )
}

/// The answer to `server/discover`: versions that all servers speak. None without a server, or without such a version.
///
/// # Errors
/// [`ResultError::NoCommonVersion`]
pub fn discovered(
    identity: Identity<'_>,
    answers: &[DiscoverResult<'_>],
) -> Result<Fragment<'static>, ResultError> {
    let first = answers.first().ok_or(ResultError::NoCommonVersion)?;
    let spoken = |version: &&ProtocolVersion| answers.iter().all(|one| one.versions().contains(version));
    let versions: Vec<&ProtocolVersion> = first.versions().iter().filter(spoken).collect();
    if versions.iter().all(|version| version.era() != Era::Modern) {
        return Err(ResultError::NoCommonVersion);
    }
    let lifetime = answers.iter().map(DiscoverResult::lifetime).min().unwrap_or_default();
    let meta = ObjectWriter::new().member(SERVER_INFO, &identity.fragment()).finish();
    let versions = Fragment::array(versions.into_iter().map(|version| Fragment::text(version.as_str())));
    Ok(ObjectWriter::new()
        .text("resultType", "complete")
        .member("supportedVersions", &versions)
        .member("capabilities", &capabilities(answers.iter().any(DiscoverResult::has_tasks)))
        .member("ttlMs", &Fragment::count(lifetime))
        .text("cacheScope", "private")
        .member("_meta", &meta)
        .finish())
}

fn capabilities(has_tasks: bool) -> Fragment<'static> {
    let tools = ObjectWriter::new().member("listChanged", &Fragment::boolean(true)).finish();
    let extensions =
        has_tasks.then(|| ObjectWriter::new().member(tasks::EXTENSION, &Fragment::empty_object()).finish());
    ObjectWriter::new().member("tools", &tools).maybe("extensions", extensions.as_ref()).finish()
}

/// The answer to `tools/list`, all on one page that may be kept for so many milliseconds.
#[must_use]
pub fn listed(era: Era, tools: Vec<Fragment<'_>>, lifetime: u64) -> Fragment<'static> {
    let tools = Fragment::array(tools);
    match era {
        Era::Legacy => ObjectWriter::new().member("tools", &tools).finish(),
        Era::Modern => ObjectWriter::new()
            .text("resultType", "complete")
            .member("tools", &tools)
            .member("ttlMs", &Fragment::count(lifetime))
            .text("cacheScope", "private")
            .finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: Identity<'_> = Identity { name: "office", version: "1" };

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn only_the_named_member_is_written_anew() {
        let params = r#"{"name":"pay","arguments":{"amount": 1.10},"_meta":{"x":1}}"#;
        let changed = params_with(Some(raw(params)), "name", &Fragment::text("send_money")).unwrap();
        assert_eq!(changed.get(), r#"{"arguments":{"amount": 1.10},"_meta":{"x":1},"name":"send_money"}"#);
        assert_eq!(params_with(None, "cursor", &Fragment::text("c")).unwrap().get(), r#"{"cursor":"c"}"#);
        // A name that is written twice, or with escapes, is one name.
        let escaped = params_with(Some(raw(r#"{"n\u0061me":"pay"}"#)), "name", &Fragment::text("x")).unwrap();
        assert_eq!(escaped.get(), r#"{"name":"x"}"#);
        assert!(
            params_with(Some(raw(r#"{"name":"a","n\u0061me":"b"}"#)), "name", &Fragment::null()).is_err()
        );
        assert!(params_with(Some(raw("[]")), "name", &Fragment::null()).is_err());
        let tool = r#"{"name":"a","inputSchema":{"maximum":1.0},"x":[ ]}"#;
        assert_eq!(
            renamed(raw(tool), "b\"").unwrap().as_str(),
            r#"{"inputSchema":{"maximum":1.0},"x":[ ],"name":"b\""}"#
        );
    }

    #[test]
    fn a_set_begins_in_the_oldest_version_and_says_nothing_of_its_servers() {
        let answer = |version: &str| {
            format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{"prompts":{{}},"tools":{{}}}},"serverInfo":{{"name":"s"}},"instructions":"obey"}}"#
            )
        };
        let (new, old) = (answer("2025-11-25"), answer("2025-03-26"));
        let answers = [&new, &old].map(|answer| InitializeResult::parse(raw(answer)).unwrap());
        assert_eq!(
            initialized(OFFICE, &answers).unwrap().as_str(),
            r#"{"protocolVersion":"2025-03-26","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"office","version":"1"}}"#
        );
        assert!(initialized(OFFICE, &[]).is_none());
    }

    #[test]
    fn a_set_speaks_what_all_of_its_servers_speak() {
        let answer = |versions: &str, ttl: u32, extensions: &str| {
            format!(
                r#"{{"supportedVersions":[{versions}],"capabilities":{{"tools":{{}},"extensions":{{{extensions}}}}},"instructions":"obey","ttlMs":{ttl}}}"#
            )
        };
        let one = answer(r#""2026-07-28","2025-11-25""#, 500, "");
        let other = answer(r#""2026-07-28""#, 20, r#""io.modelcontextprotocol/tasks":{}"#);
        let answers = [&one, &other].map(|answer| DiscoverResult::parse(raw(answer)).unwrap());
        assert_eq!(
            discovered(OFFICE, &answers).unwrap().as_str(),
            concat!(
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"#,
                r#""extensions":{"io.modelcontextprotocol/tasks":{}}},"ttlMs":20,"cacheScope":"private","#,
                r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"office","version":"1"}}}"#
            )
        );
        assert!(discovered(OFFICE, &[]).is_err());
    }

    #[test]
    fn a_list_is_one_private_page() {
        assert_eq!(
            listed(Era::Modern, vec![Fragment::empty_object()], 7).as_str(),
            r#"{"resultType":"complete","tools":[{}],"ttlMs":7,"cacheScope":"private"}"#
        );
        assert_eq!(listed(Era::Legacy, vec![], 7).as_str(), r#"{"tools":[]}"#);
    }
}
