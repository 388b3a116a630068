//! Lists of tools, and the digests that pin their definitions.
//!
//! A list is cut down to the tools that the caller may see; each tool kept is passed on as it was written, so that its digest
//! at the client is the one that was reviewed.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};
use thiserror::Error;
use warrantor_model::{Digest, Json};

use crate::{
    Era, Fragment, ResultError,
    fragment::ObjectWriter,
    members::{self, Members},
    params::{MAX_CURSOR_BYTES, MAX_NAME_BYTES},
    result::complete,
};

/// One page of a `tools/list` answer.
#[derive(Debug)]
pub struct ToolList<'a> {
    tools: Vec<ListedTool<'a>>,
    next_cursor: Option<Cow<'a, str>>,
    members: Members<'a>,
}

/// One tool of a list.
#[derive(Debug)]
pub struct ListedTool<'a> {
    /// The upstream's name for it, unescaped, not empty.
    pub name: Cow<'a, str>,
    /// Its definition, as it was written.
    pub raw: &'a RawValue,
}

impl<'a> ToolList<'a> {
    /// Reads the result of a `tools/list`.
    ///
    /// # Errors
    /// [`ResultError`] when it does not have that shape, or names a tool twice.
    pub fn parse(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let tools = members.need("tools", members.get("tools"))?;
        let tools = members::elements(tools).ok_or_else(|| members.wrong("tools", "an array"))?;
        let tools = tools.into_iter().map(ListedTool::read).collect::<Result<Vec<_>, _>>()?;
        let mut names = std::collections::HashSet::with_capacity(tools.len());
        if let Some(twice) = tools.iter().find(|tool| !names.insert(tool.name.as_ref())) {
            return Err(ResultError::DuplicateTool { name: members::shown(&twice.name) });
        }
        Ok(Self { next_cursor: members.text("nextCursor", MAX_CURSOR_BYTES)?, tools, members })
    }

    /// The tools, in the upstream's order.
    #[must_use]
    pub fn tools(&self) -> &[ListedTool<'a>] {
        &self.tools
    }

    /// Where the list goes on, if it does.
    #[must_use]
    pub fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    /// The result with only the tools that `keep` wants; all else as it was written, except that a modern result is marked
    /// `private`: it was made for one caller, and peers take an absent `cacheScope` for `public`.
    #[must_use]
    pub fn filtered(&self, era: Era, mut keep: impl FnMut(&ListedTool<'a>) -> bool) -> Fragment<'static> {
        let kept =
            Fragment::array(self.tools.iter().filter(|tool| keep(tool)).map(|tool| Fragment::from(tool.raw)));
        let mut out = ObjectWriter::new();
        for (name, raw) in self.members.iter() {
            out = match (name, era) {
                ("tools", _) => out.member(name, &kept),
                ("cacheScope", Era::Modern) => out,
                _ => out.member(name, &Fragment::from(raw)),
            };
        }
        match era {
            Era::Modern => out.text("cacheScope", "private").finish(),
            Era::Legacy => out.finish(),
        }
    }
}

impl<'a> ListedTool<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, ResultError> {
        let members = Members::read(raw, "tool")?;
        let name = members.need("name", members.text("name", MAX_NAME_BYTES)?)?;
        if name.is_empty() {
            return Err(members.wrong("name", "a string that is not empty").into());
        }
        Ok(Self { name, raw })
    }
}

/// Why a definition has no digest.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// RFC 8785 reads numbers as doubles; this one is beyond their range. The upstream's fault.
    #[error("the definition holds a number beyond the range of a double, which has no canonical form")]
    Number,
    /// A tool without a name cannot be ordered. The upstream's fault.
    #[error("a tool's definition has no `name`")]
    NoName,
    /// The canonicalizer failed. Nobody's fault but ours.
    #[error("the definition could not be brought into canonical form")]
    Canonicalize(#[source] serde_json::Error),
}

/// The digest that pins one tool: SHA-256 of the RFC 8785 form of its object, all members included. Number literals count by
/// the double that they denote, so `1.0` and `1` are the same definition.
///
/// # Errors
/// [`DefinitionError`] when there is no canonical form.
pub fn definition_digest(tool: &Json) -> Result<Digest, DefinitionError> {
    canonical_digest(&tool.to_value().ok_or(DefinitionError::Number)?)
}

/// The digest that pins a server: SHA-256 of the RFC 8785 form of `{"instructions":…,"tools":[…]}`, the tools sorted by the
/// bytes of their names, `null` for a server without instructions.
///
/// # Errors
/// [`DefinitionError`] when there is no canonical form, or a tool has no name.
pub fn server_digest(tools: &[Json], instructions: Option<&str>) -> Result<Digest, DefinitionError> {
    let mut named = Vec::with_capacity(tools.len());
    for tool in tools {
        let name = tool.get("name").and_then(Json::as_str).ok_or(DefinitionError::NoName)?;
        named.push((name, tool.to_value().ok_or(DefinitionError::Number)?));
    }
    named.sort_by(|a, b| a.0.cmp(b.0));
    let tools = Value::Array(named.into_iter().map(|(_, tool)| tool).collect());
    let instructions = instructions.map_or(Value::Null, Value::from);
    canonical_digest(&Value::Object(
        [("instructions".to_owned(), instructions), ("tools".to_owned(), tools)].into_iter().collect(),
    ))
}

fn canonical_digest(value: &Value) -> Result<Digest, DefinitionError> {
    let canonical = serde_json_canonicalizer::to_vec(value).map_err(DefinitionError::Canonicalize)?;
    Ok(Digest::of(&canonical))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    const PAGE: &str = r#"{"ttlMs":1.50,"tools":[{"name":"b", "x":1.10},{"name":"\u0061","inputSchema":{}}],"nextCursor":"n","cacheScope":"public","com.example":{"k":[1 ]}}"#;

    #[test]
    fn a_filtered_list_keeps_what_is_left_as_it_was_written() {
        let list = ToolList::parse(raw(PAGE)).unwrap();
        let names: Vec<_> = list.tools().iter().map(|t| t.name.as_ref()).collect();
        assert_eq!((names, list.next_cursor()), (vec!["b", "a"], Some("n")));
        for (era, keep, wanted) in [
            (
                Era::Modern,
                "b",
                r#"{"ttlMs":1.50,"tools":[{"name":"b", "x":1.10}],"nextCursor":"n","com.example":{"k":[1 ]},"cacheScope":"private"}"#,
            ),
            (
                Era::Legacy,
                "a",
                r#"{"ttlMs":1.50,"tools":[{"name":"\u0061","inputSchema":{}}],"nextCursor":"n","cacheScope":"public","com.example":{"k":[1 ]}}"#,
            ),
            (
                Era::Legacy,
                "",
                r#"{"ttlMs":1.50,"tools":[],"nextCursor":"n","cacheScope":"public","com.example":{"k":[1 ]}}"#,
            ),
        ] {
            assert_eq!(list.filtered(era, |tool| tool.name == keep).as_str(), wanted);
        }
    }

    #[test]
    fn a_modern_list_without_a_scope_becomes_private_too() {
        let list = ToolList::parse(raw(r#"{"tools":[]}"#)).unwrap();
        assert_eq!(list.filtered(Era::Modern, |_| true).as_str(), r#"{"tools":[],"cacheScope":"private"}"#);
    }

    #[test]
    fn lists_that_leave_doubt_are_refused() {
        for page in [
            "{}",
            r#"{"tools":{}}"#,
            r#"{"tools":[1]}"#,
            r#"{"tools":[{}]}"#,
            r#"{"tools":[{"name":""}]}"#,
            r#"{"tools":[{"name":"a"},{"name":"\u0061"}]}"#,
            r#"{"tools":[],"nextCursor":7}"#,
            r#"{"tools":[],"resultType":"task"}"#,
        ] {
            assert!(ToolList::parse(raw(page)).is_err(), "{page} was taken");
        }
    }

    #[test]
    fn a_definition_s_digest_sees_values_and_not_spelling() {
        let digest = |text: &str| definition_digest(&json(text)).unwrap();
        let base = digest(r#"{"name":"t","inputSchema":{"maximum":1e2,"a":"\u20ac"}}"#);
        assert_eq!(base, Digest::of(r#"{"inputSchema":{"a":"€","maximum":100},"name":"t"}"#.as_bytes()));
        assert_eq!(base, digest(r#"{ "inputSchema": {"a":"€","maximum":100.0} , "name":"\u0074"}"#));
        for changed in [
            r#"{"name":"t","inputSchema":{"maximum":101,"a":"€"}}"#,
            r#"{"name":"t","inputSchema":{"maximum":100,"a":"€"},"annotations":{}}"#,
            r#"{"name":"t","inputSchema":{"maximum":"100","a":"€"}}"#,
            r#"{"name":"T","inputSchema":{"maximum":100,"a":"€"}}"#,
        ] {
            assert_ne!(base, digest(changed), "{changed}");
        }
        assert!(matches!(definition_digest(&json(r#"{"maximum":1e999}"#)), Err(DefinitionError::Number)));
    }

    #[test]
    fn a_server_s_digest_does_not_depend_on_the_order_of_its_tools() {
        let (a, b) = (json(r#"{"name":"a"}"#), json(r#"{"name":"b"}"#));
        let base = server_digest(&[a.clone(), b.clone()], None).unwrap();
        assert_eq!(base, Digest::of(br#"{"instructions":null,"tools":[{"name":"a"},{"name":"b"}]}"#));
        assert_eq!(base, server_digest(&[b, a.clone()], None).unwrap());
        let with = server_digest(std::slice::from_ref(&a), Some("be\nkind")).unwrap();
        assert_eq!(with, Digest::of(br#"{"instructions":"be\nkind","tools":[{"name":"a"}]}"#));
        assert!(matches!(server_digest(&[json("{}")], None), Err(DefinitionError::NoName)));
    }
}
