//! The tree into the structures of files.
//!
//! Serde stops at the first fault of a document. Here the fault is noted, its place is taken out of the tree, and the document is read
//! again, so that one run tells every fault. What is only missing because it was taken out is not told.
//!
//! Null is not the same as absent: a field that is there without a value is refused, or `max:` with its number forgotten would
//! bound nothing. Fields that may be null say so with [`Nullable`](crate::values::Nullable).

use std::fmt;

use crate::{
    tree::{Content, Entry, Node, Pointer, Span, short},
    values::{NULLABLE, VALUE},
};
use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, Unexpected, VariantAccess,
        Visitor,
    },
};

/// Most faults told of one document.
const MAX_FAULTS: usize = 100;

/// A fault of shape, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShapeFault {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) cure: Option<String>,
}

/// Reads a structure. What is at fault is taken out of the tree, so that what is left can be judged further; without anything
/// left there is no structure.
pub(crate) fn read<T: DeserializeOwned>(root: &mut Node, faults: &mut Vec<ShapeFault>) -> Option<T> {
    let mut pruned: Vec<(Span, String)> = Vec::new();
    for _ in 0..MAX_FAULTS {
        let error = match T::deserialize(Reader(root)) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let pointer: Pointer = error.path.iter().rev().cloned().collect();
        let holder = root.at(&pointer).map_or_else(Span::default, |node| node.span);
        let follows =
            matches!(&error.kind, Kind::Missing(field) if pruned.contains(&(holder, field.clone())));
        if !follows {
            let span = match error.kind {
                Kind::Key => root.key_place(&pointer),
                Kind::Missing(_) | Kind::Value => root.place(&pointer),
            };
            faults.push(ShapeFault { span, message: error.message, cure: error.cure });
        }
        let (last, above) = pointer.split_last()?;
        pruned.push((root.at(above)?.span, last.clone()));
        if !root.prune(&pointer) {
            return None;
        }
    }
    None
}

/// What went wrong while a structure was read: where, from the inside out.
#[derive(Debug)]
struct ReadError {
    path: Vec<String>,
    kind: Kind,
    message: String,
    cure: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Value,
    Key,
    Missing(String),
}

impl ReadError {
    fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), kind: Kind::Value, message: message.into(), cure: None }
    }

    fn at(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }

    fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        match split_cure(&message.to_string()) {
            (what, Some(cure)) => Self::new(what).cure(cure),
            (what, None) => Self::new(what),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", unexpected(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(format!("{:?} is not known here", short(found)));
        match nearest(found, expected.iter().copied()) {
            Some(near) => error.cure(format!("did you mean {near:?}? Known are: {}", expected.join(", "))),
            None => error.cure(format!("known are: {}", expected.join(", "))),
        }
    }

    fn unknown_field(found: &str, expected: &'static [&'static str]) -> Self {
        let mut error = Self::new(format!("the field {:?} is not known here", short(found))).at(found);
        error.kind = Kind::Key;
        let known = expected.join(", ");
        match nearest(found, expected.iter().copied()) {
            Some(near) => error.cure(format!("did you mean {near:?}? Known fields are: {known}")),
            None if expected.is_empty() => error.cure("remove it"),
            None => error.cure(format!("known fields are: {known}")),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let mut error =
            Self::new(format!("the field {field:?} is missing")).cure(format!("add `{field}: …`"));
        error.kind = Kind::Missing(field.to_owned());
        error
    }
}

/// The model's errors say what is wrong, then a colon and the cure. A colon within quotes is a part of what is wrong.
pub(crate) fn split_cure(message: &str) -> (String, Option<String>) {
    let outside = |before: &str| ['"', '`'].iter().all(|quote| before.matches(*quote).count() % 2 == 0);
    let divided = message
        .match_indices(": ")
        .filter_map(|(at, colon)| Some((message.get(..at)?, message.get(at.checked_add(colon.len())?..)?)))
        .find(|(before, _)| outside(before));
    match divided {
        Some((what, cure)) => (what.to_owned(), Some(cure.to_owned())),
        None => (message.to_owned(), None),
    }
}

fn unexpected(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(b) => format!("{b}"),
        Unexpected::Unsigned(n) => format!("the number {n}"),
        Unexpected::Signed(n) => format!("the number {n}"),
        Unexpected::Float(n) => format!("the number {n}"),
        Unexpected::Str(text) => format!("the text {:?}", short(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// The known word that is nearest to what was written, when one is near.
pub(crate) fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = if found.chars().count() < 5 { 1 } else { 2 };
    known
        .into_iter()
        .map(|word| (distance(found, word), word))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for ((to, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let change = diagonal.saturating_add(usize::from(from != *to));
            left = change.min(above.saturating_add(1)).min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Reads from one node.
struct Reader<'a>(&'a Node);

impl Reader<'_> {
    fn wrong(&self, expected: &dyn de::Expected) -> ReadError {
        let error = ReadError::new(format!("expected {expected}, found {}", self.0.description()));
        match &self.0.content {
            Content::Number(literal) => error.cure(format!("write \"{}\" if it is text", short(literal))),
            Content::Null => error.cure("give it a value, or remove the line"),
            _ => error,
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match &self.0.content {
                Content::Number(literal) => match literal.parse::<$type>() {
                    Ok(n) => visitor.$visit(n),
                    Err(_) => Err(ReadError::new(format!(
                        "expected a whole number from {} to {}, found {}", <$type>::MIN, <$type>::MAX, short(literal)
                    ))),
                },
                _ => Err(self.wrong(&"a whole number")),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(b) => visitor.visit_bool(*b),
            Content::Number(literal) => match (literal.parse::<i64>(), literal.parse::<f64>()) {
                (Ok(n), _) => visitor.visit_i64(n),
                (_, Ok(n)) => visitor.visit_f64(n),
                _ => Err(self.wrong(&"a number")),
            },
            Content::String(text) => visitor.visit_str(text),
            Content::Seq(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Content::Map(entries) => visitor.visit_map(Members { entries: entries.iter(), value: None }),
        }
    }

    integers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::Bool(b) => visitor.visit_bool(*b),
            _ => Err(self.wrong(&"true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::String(text) => visitor.visit_str(text),
            _ => Err(self.wrong(&"text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::Null => Err(ReadError::new("the field is there but has no value")
                .cure("give it a value, or remove the line")),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match name {
            // The tree bounds depth, so the text is within the bounds of the reader that takes it.
            VALUE => match serde_json::to_string(&self.0.to_json()) {
                Ok(text) => visitor.visit_str(&text),
                Err(cause) => Err(ReadError::new(cause.to_string())),
            },
            NULLABLE if self.0.content == Content::Null => visitor.visit_none(),
            NULLABLE => visitor.visit_some(self),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::Seq(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            _ => Err(self.wrong(&"a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::Map(entries) => visitor.visit_map(Members { entries: entries.iter(), value: None }),
            _ => Err(self.wrong(&"a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.0.content {
            Content::String(word) => visitor.visit_enum(Word(word)),
            _ => Err(self.wrong(&"a word").cure(format!("known are: {}", variants.join(", ")))),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        match self.items.next() {
            Some((index, node)) => {
                seed.deserialize(Reader(node)).map(Some).map_err(|error| error.at(index.to_string()))
            }
            None => Ok(None),
        }
    }
}

struct Members<'a> {
    entries: std::slice::Iter<'a, Entry>,
    value: Option<&'a Entry>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = ReadError;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let key = de::value::StrDeserializer::<ReadError>::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|mut error| {
            // A field that is not known has put its name there already.
            if error.path.is_empty() {
                error.path.push(entry.key.clone());
                error.kind = Kind::Key;
            }
            error
        })
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        match self.value.take() {
            Some(entry) => {
                seed.deserialize(Reader(&entry.node)).map_err(|error| error.at(entry.key.as_str()))
            }
            None => Err(ReadError::new("a value was asked for before its key")),
        }
    }
}

/// A word that names a variant.
struct Word<'a>(&'a str);

impl<'de> EnumAccess<'de> for Word<'_> {
    type Error = ReadError;
    type Variant = Self;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ReadError> {
        let word = de::value::StrDeserializer::<ReadError>::new(self.0);
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'_> {
    type Error = ReadError;
    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ReadError> {
        Err(ReadError::new("expected a word"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ReadError> {
        Err(ReadError::new("expected a word"))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ReadError> {
        Err(ReadError::new("expected a word"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::{
        values::{Exact, Nullable, Value},
        yaml,
    };

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        items: Vec<Item>,
        #[serde(default)]
        named: BTreeMap<warrantor_model::ServerName, u32>,
        sum: Option<Exact>,
        #[serde(default)]
        parent: Nullable<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        id: String,
        value: Option<Value>,
        kind: Option<warrantor_model::Kind>,
    }

    fn faults(text: &str) -> Vec<String> {
        let mut root = yaml::parse(text).unwrap();
        let mut faults = Vec::new();
        let read: Option<Sample> = read(&mut root, &mut faults);
        assert_eq!(read.is_some() && faults.is_empty(), faults.is_empty());
        faults
            .iter()
            .map(|f| {
                let line = text.get(..f.span.start).unwrap().matches('\n').count() + 1;
                format!("{line}: {}", f.message)
            })
            .collect()
    }

    #[test]
    fn every_fault_of_a_document_is_told_once() {
        let text = "
items:
- id: 1
  valeu: 3
- id: a
  kind: mial
- {}
- id: b
  kind:
named:
  x y: 3
  ok: many
  fine: 7
sum: 123456789012345678901234567890
parent: null
extra: [1]
";
        assert_eq!(
            faults(text),
            [
                "3: expected text, found the number 1",
                "4: the field \"valeu\" is not known here",
                "6: \"mial\" is not known here",
                "7: the field \"id\" is missing",
                "9: the field is there but has no value",
                "11: a server's name has the character ' ' at byte 1",
                "12: expected a whole number, found the text \"many\"",
                "14: 123456789012345678901234567890 has too many digits to be compared exactly",
                "16: the field \"extra\" is not known here",
            ]
        );
        assert_eq!(faults("[]"), ["1: expected a map, found a list"]);
        assert_eq!(faults("{}"), ["1: the field \"items\" is missing"]);
        assert_eq!(faults("items: []"), Vec::<String>::new());
    }

    #[test]
    fn numbers_keep_their_digits() {
        let mut root =
            yaml::parse("items: [{id: a, value: [1.10, 12345678901234567890123]}]\nsum: 0.10").unwrap();
        let read: Sample = read(&mut root, &mut Vec::new()).unwrap();
        assert_eq!(read.items[0].value.as_ref().unwrap().0.to_string(), "[1.10,12345678901234567890123]");
        assert_eq!(read.sum.unwrap().0.to_string(), "0.10");
    }

    #[test]
    fn a_cure_follows_the_first_colon_that_is_not_quoted() {
        for (message, what, cure) in [
            ("x is wrong: write y", "x is wrong", Some("write y")),
            ("\"a: b\" is wrong: write `c: d`", "\"a: b\" is wrong", Some("write `c: d`")),
            ("no end: add `else: anyone`", "no end", Some("add `else: anyone`")),
            ("`a: b` is wrong", "`a: b` is wrong", None),
        ] {
            assert_eq!(split_cure(message), (what.to_owned(), cure.map(str::to_owned)));
        }
    }

    #[test]
    fn a_near_word_is_proposed() {
        let known = ["recipient", "amount", "max", "min"];
        for (found, near) in [
            ("recipent", Some("recipient")),
            ("amuont", Some("amount")),
            ("mx", Some("max")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, known), near, "{found}");
        }
    }
}
