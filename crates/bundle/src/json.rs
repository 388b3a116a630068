//! JSON into the tree, with places.
//!
//! The strict reader of the model judges the text first. The places are then read off the raw slices, which lie within the text.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use warrantor_model::{Json, json::JsonError};

use crate::{
    tree::{Content, Entry, Node, Span, short},
    yaml::SyntaxFault,
};

/// Reads one JSON document. All members that stand twice are told.
pub(crate) fn parse(text: &str) -> Result<Node, Vec<SyntaxFault>> {
    match Json::parse(text.as_bytes()) {
        Ok(_) | Err(JsonError::DuplicateMember { .. }) => {}
        Err(error) => return Err(vec![SyntaxFault::new(place_of_error(text), error.to_string())]),
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|cause| lexer(&cause))?;
    let mut reader = Reader { base: text.as_ptr().addr(), faults: Vec::new() };
    let root = reader.read(raw).map_err(|cause| lexer(&cause))?;
    if reader.faults.is_empty() { Ok(root) } else { Err(reader.faults) }
}

/// The text was well-formed a moment ago, so this is not met; it refuses all the same.
fn lexer(cause: &serde_json::Error) -> Vec<SyntaxFault> {
    vec![SyntaxFault::new(None, format!("not well-formed JSON: {cause}"))]
}

fn place_of_error(text: &str) -> Option<Span> {
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = before.saturating_add(error.column().saturating_sub(1)).min(text.len());
    Some(Span { start: at, end: at })
}

struct Reader {
    base: usize,
    faults: Vec<SyntaxFault>,
}

impl Reader {
    fn span(&self, slice: &str) -> Span {
        let start = slice.as_ptr().addr().saturating_sub(self.base);
        Span { start, end: start.saturating_add(slice.len()) }
    }

    /// Recursion is bounded: the model's reader took the text, so it is nested no deeper than its bound.
    fn read(&mut self, raw: &RawValue) -> Result<Node, serde_json::Error> {
        let text = raw.get();
        let span = self.span(text);
        let content = match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members<'_> = serde_json::from_str(text)?;
                let mut entries: Vec<Entry> = Vec::with_capacity(members.0.len());
                let mut keys = HashSet::with_capacity(members.0.len());
                for (key, raw) in members.0 {
                    let node = self.read(raw)?;
                    let key_span = match &key {
                        Cow::Borrowed(key) => self.span(key),
                        Cow::Owned(_) => node.span,
                    };
                    if !keys.insert(key.clone()) {
                        let message = format!("{:?} stands twice here: remove one of the two", short(&key));
                        self.faults.push(SyntaxFault::new(Some(key_span), message));
                    }
                    entries.push(Entry { key: key.into_owned(), key_span, node });
                }
                Content::Map(entries)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text)?;
                Content::Seq(items.into_iter().map(|raw| self.read(raw)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Content::String(serde_json::from_str(text)?),
            Some(b't' | b'f') => Content::Bool(serde_json::from_str(text)?),
            Some(b'n') => Content::Null,
            _ => Content::Number(text.into()),
        };
        Ok(Node { span, content })
    }
}

/// Members in order, duplicates kept.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<'de>(PhantomData<&'de ()>);
        impl<'de> Visitor<'de> for MembersVisitor<'de> {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_are_bytes_of_the_text() {
        let text = "{ \"é\": [1.10, {\"b\\u0063\" : \"two\"}],\n \"n\": null }";
        let root = parse(text).unwrap();
        let slice = |span: Span| text.get(span.start..span.end).unwrap();
        assert_eq!(slice(root.place(&["é", "0"])), "1.10");
        assert_eq!(slice(root.place(&["é", "1", "bc"])), "\"two\"");
        assert_eq!(slice(root.place(&["é"])), "é");
        assert_eq!(slice(root.key_place(&["n"])), "n");
    }

    #[test]
    fn faults_have_places() {
        for (text, start, message) in [
            ("{\"a\":1,\n\"a\":2}", 9, "\"a\" stands twice here"),
            ("{\"a\":\n 1,}", 9, "not well-formed JSON"),
            ("{\"a\": tru}", 9, "not well-formed JSON"),
            ("", 0, "not well-formed JSON"),
        ] {
            let faults = parse(text).unwrap_err();
            assert_eq!(faults.len(), 1, "{text:?}");
            assert!(faults[0].message.starts_with(message), "{faults:?}");
            assert_eq!(faults[0].span.unwrap().start, start, "{text:?} {faults:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_the_model_reads_it(text in "(?s)[\\[\\]{}:,\" \na0-9.e\\\\untrlfs-]{0,40}") {
            match (parse(&text), Json::parse(text.as_bytes())) {
                (Ok(node), Ok(json)) => prop_assert_eq!(node.to_json(), json),
                (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours, theirs),
            }
        }
    }
}
