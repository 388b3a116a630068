//! Lists of tools and of what else a server offers, and the digests that pin their definitions.
//!
//! A list is cut down to what the caller may see; each entry kept is passed on as it was written, so that its digest
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
    result::{complete, lifetime},
    uses::MAX_URI_BYTES,
};

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Tools.
    Tools,
    /// Prompts.
    Prompts,
    /// Resources.
    Resources,
    /// Templates of resources.
    Templates,
}

impl List {
    /// The method that asks for it.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The list that a method asks for.
    #[must_use]
    pub fn asked_by(method: &str) -> Option<Self> {
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates]
            .into_iter()
            .find(|list| list.method() == method)
    }

    /// The member of the result that holds it, and the member of each entry that tells it from others.
    #[must_use]
    pub fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Tools => ("tools", "name"),
            Self::Prompts => ("prompts", "name"),
            Self::Resources => ("resources", "uri"),
            Self::Templates => ("resourceTemplates", "uriTemplate"),
        }
    }
}

/// One page of the answer to a list method.
#[derive(Debug)]
pub struct OfferList<'a> {
    of: List,
    entries: Vec<Listed<'a>>,
    next_cursor: Option<Cow<'a, str>>,
    members: Members<'a>,
}

/// One entry of a list.
#[derive(Debug)]
pub struct Listed<'a> {
    /// The upstream's name for it, its URI or its template; unescaped, not empty.
    pub name: Cow<'a, str>,
    /// Its definition, as it was written.
    pub raw: &'a RawValue,
}

impl<'a> OfferList<'a> {
    /// Reads the result of a list method.
    ///
    /// # Errors
    /// [`ResultError`] when it does not have that shape, or names something twice.
    pub fn parse(of: List, result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let (member, key) = of.members();
        let entries = members.need(member, members.get(member))?;
        let entries = members::elements(entries).ok_or_else(|| members.wrong(member, "an array"))?;
        let entries = entries.into_iter().map(|raw| Listed::read(raw, key)).collect::<Result<Vec<_>, _>>()?;
        let mut names = std::collections::HashSet::with_capacity(entries.len());
        if let Some(twice) = entries.iter().find(|entry| !names.insert(entry.name.as_ref())) {
            return Err(ResultError::DuplicateTool { name: members::shown(&twice.name) });
        }
        Ok(Self { of, next_cursor: members.text("nextCursor", MAX_CURSOR_BYTES)?, entries, members })
    }

    /// What is listed, in the upstream's order.
    #[must_use]
    pub fn entries(&self) -> &[Listed<'a>] {
        &self.entries
    }

    /// Where the list goes on, if it does.
    #[must_use]
    pub fn next_cursor(&self) -> Option<&str> {
        self.next_cursor.as_deref()
    }

    /// How long it may be kept, in milliseconds; not at all when nothing is said.
    #[must_use]
    pub fn lifetime(&self) -> u64 {
        lifetime(&self.members)
    }

    /// The result with only the entries that `show` gives, as it gives them; all else as it was written, except that a modern result is marked
    /// `private`: it was made for one caller, and peers take an absent `cacheScope` for `public`.
    #[must_use]
    pub fn filtered(
        &self,
        era: Era,
        show: impl FnMut(&Listed<'a>) -> Option<Fragment<'a>>,
    ) -> Fragment<'static> {
        let kept = Fragment::array(self.entries.iter().filter_map(show));
        let (member, _) = self.of.members();
        let mut out = ObjectWriter::new();
        for (name, raw) in self.members.iter() {
            out = match (name, era) {
                (name, _) if name == member => out.member(name, &kept),
                ("cacheScope" | "ttlMs", Era::Modern) => out,
                _ => out.member(name, &Fragment::from(raw)),
            };
        }
        match era {
            Era::Modern => {
                out.member("ttlMs", &Fragment::count(self.lifetime())).text("cacheScope", "private").finish()
            }
            Era::Legacy => out.finish(),
        }
    }
}

/// What a server says of itself in one object, each entry as it was written: the form in which it is kept for a review.
#[must_use]
pub fn in_one_object<'a>(
    instructions: Option<&str>,
    lists: impl IntoIterator<Item = (List, Vec<&'a RawValue>)>,
) -> Fragment<'static> {
    let mut out = ObjectWriter::new();
    if let Some(text) = instructions {
        out = out.text("instructions", text);
    }
    for (list, entries) in lists {
        out = out.member(list.members().0, &Fragment::array(entries.into_iter().map(Fragment::from)));
    }
    out.finish()
}

impl<'a> Listed<'a> {
    fn read(raw: &'a RawValue, key: &'static str) -> Result<Self, ResultError> {
        let members = Members::read(raw, "entry")?;
        let bound = if key == "name" { MAX_NAME_BYTES } else { MAX_URI_BYTES };
        let name = members.need(key, members.text(key, bound)?)?;
        if name.is_empty() {
            return Err(members.wrong(key, "a string that is not empty").into());
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
    /// What has no name cannot be ordered. The upstream's fault.
    #[error("a definition has no `name`, `uri` or `uriTemplate`")]
    NoName,
    /// The canonicalizer failed. Nobody's fault but ours.
    #[error("the definition could not be brought into canonical form")]
    Canonicalize(#[source] serde_json::Error),
}

/// The digest that pins one tool, prompt, resource or template: SHA-256 of the RFC 8785 form of its object, all members included. Number literals count by
/// the double that they denote, so `1.0` and `1` are the same definition.
///
/// # Errors
/// [`DefinitionError`] when there is no canonical form.
pub fn definition_digest(tool: &Json) -> Result<Digest, DefinitionError> {
    canonical_digest(&tool.to_value().ok_or(DefinitionError::Number)?)
}

/// Everything a server says of what it offers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offered<'a> {
    /// Its tools.
    pub tools: &'a [Json],
    /// Its prompts.
    pub prompts: &'a [Json],
    /// Its resources.
    pub resources: &'a [Json],
    /// Its templates of resources.
    pub templates: &'a [Json],
    /// Its instructions.
    pub instructions: Option<&'a str>,
}

/// The digest that pins a server: SHA-256 of the RFC 8785 form of `{"instructions":…,"tools":[…]}`, the tools sorted by the
/// bytes of their names, `null` for a server without instructions. `prompts`, `resources` and `resourceTemplates` stand there too, sorted in the same
/// way, if there are any.
///
/// # Errors
/// [`DefinitionError`] when there is no canonical form, or something has no name.
pub fn server_digest(offered: &Offered<'_>) -> Result<Digest, DefinitionError> {
    let sorted = |list: &[Json], key: &str| -> Result<Value, DefinitionError> {
        let mut named = Vec::with_capacity(list.len());
        for entry in list {
            let name = entry.get(key).and_then(Json::as_str).ok_or(DefinitionError::NoName)?;
            named.push((name, entry.to_value().ok_or(DefinitionError::Number)?));
        }
        named.sort_by(|a, b| a.0.cmp(b.0));
        Ok(Value::Array(named.into_iter().map(|(_, entry)| entry).collect()))
    };
    let instructions = offered.instructions.map_or(Value::Null, Value::from);
    let mut whole = serde_json::Map::new();
    whole.insert("instructions".to_owned(), instructions);
    whole.insert("tools".to_owned(), sorted(offered.tools, "name")?);
    for (member, list, key) in [
        ("prompts", offered.prompts, "name"),
        ("resources", offered.resources, "uri"),
        ("resourceTemplates", offered.templates, "uriTemplate"),
    ] {
        if !list.is_empty() {
            whole.insert(member.to_owned(), sorted(list, key)?);
        }
    }
    canonical_digest(&Value::Object(whole))
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
        let list = OfferList::parse(List::Tools, raw(PAGE)).unwrap();
        let names: Vec<_> = list.entries().iter().map(|t| t.name.as_ref()).collect();
        assert_eq!((names, list.next_cursor()), (vec!["b", "a"], Some("n")));
        for (era, keep, wanted) in [
            (
                Era::Modern,
                "b",
                r#"{"tools":[{"name":"b", "x":1.10}],"nextCursor":"n","com.example":{"k":[1 ]},"ttlMs":0,"cacheScope":"private"}"#,
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
            assert_eq!(
                list.filtered(era, |tool| (tool.name == keep).then(|| Fragment::from(tool.raw))).as_str(),
                wanted
            );
        }
    }

    #[test]
    fn a_modern_list_without_a_scope_becomes_private_too() {
        let list = OfferList::parse(List::Tools, raw(r#"{"tools":[]}"#)).unwrap();
        assert_eq!(
            list.filtered(Era::Modern, |tool| Some(Fragment::from(tool.raw))).as_str(),
            r#"{"tools":[],"ttlMs":0,"cacheScope":"private"}"#
        );
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
            assert!(OfferList::parse(List::Tools, raw(page)).is_err(), "{page} was taken");
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
        let of = |tools: &[Json]| server_digest(&Offered { tools, ..Offered::default() });
        let base = of(&[a.clone(), b.clone()]).unwrap();
        assert_eq!(base, Digest::of(br#"{"instructions":null,"tools":[{"name":"a"},{"name":"b"}]}"#));
        assert_eq!(base, of(&[b, a.clone()]).unwrap());
        let tools = std::slice::from_ref(&a);
        let with =
            server_digest(&Offered { tools, instructions: Some("be\nkind"), ..Offered::default() }).unwrap();
        assert_eq!(with, Digest::of(br#"{"instructions":"be\nkind","tools":[{"name":"a"}]}"#));
        assert!(matches!(of(&[json("{}")]), Err(DefinitionError::NoName)));
        let resources = [json(r#"{"uri":"b:1","name":"n"}"#), json(r#"{"uri":"a:1","name":"n"}"#)];
        let all = Offered { tools, prompts: tools, resources: &resources, ..Offered::default() };
        assert_eq!(
            server_digest(&all).unwrap(),
            Digest::of(
                br#"{"instructions":null,"prompts":[{"name":"a"}],"resources":[{"name":"n","uri":"a:1"},{"name":"n","uri":"b:1"}],"tools":[{"name":"a"}]}"#
            )
        );
    }
}
