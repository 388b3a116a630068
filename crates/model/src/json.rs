//! JSON exactly as it was written.
//!
//! A call's arguments are decided on and forwarded as the bytes that arrived. So this tree keeps number literals verbatim
//! (`1.10` is not `1.1`, and a 23-digit integer is no float), keeps members in their order, and refuses what two readers could
//! read as two things: duplicate members, lone surrogates, more nesting or bytes than the bounds allow. `serde_json` does the lexing; its
//! raw values give each leaf's slice.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize, Serialize, Serializer,
    de::{self, Deserializer, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeSeq},
};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{Decimal, Digest, decimal};

/// Deepest nesting that is read, in containers.
pub const MAX_DEPTH: usize = 64;
/// Most bytes that are read, unless the caller sets its own bound: 4 MiB.
pub const MAX_BYTES: usize = 4 << 20;

/// A JSON value, its numbers as literals.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as the literal that was written.
    Number(Box<str>),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object: members in the order written, no name twice.
    Object(Vec<(String, Json)>),
}

/// Why a text is not taken as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON, or not UTF-8.
    #[error("not well-formed JSON: {cause}")]
    Syntax {
        /// What the lexer said, with line and column of the slice it looked at.
        cause: String,
    },
    /// An object names a member twice.
    #[error("the member {name:?} stands twice in one object: remove one of the two")]
    DuplicateMember {
        /// The name, unescaped.
        name: String,
    },
    /// Nested more than [`MAX_DEPTH`] deep.
    #[error("nested more than {MAX_DEPTH} deep: flatten the value")]
    TooDeep,
    /// More bytes than the bound.
    #[error("{bytes} bytes are more than the bound of {bound}")]
    TooLarge {
        /// How many there were.
        bytes: usize,
        /// How many are allowed.
        bound: usize,
    },
}

impl Json {
    /// Reads a JSON text of at most [`MAX_BYTES`].
    ///
    /// # Errors
    /// [`JsonError`] for anything that is not exactly one well-formed value within the bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        Self::parse_within(bytes, MAX_BYTES)
    }

    /// Reads a JSON text of at most `bound` bytes.
    ///
    /// # Errors
    /// As [`Json::parse`].
    pub fn parse_within(bytes: &[u8], bound: usize) -> Result<Self, JsonError> {
        if bytes.len() > bound {
            return Err(JsonError::TooLarge { bytes: bytes.len(), bound });
        }
        depth_within_bounds(bytes)?;
        let raw: &RawValue = serde_json::from_slice(bytes).map_err(syntax)?;
        read(raw.get(), 0)
    }

    /// The value from one of `serde_json`'s own; its numbers become their shortest literal.
    #[must_use]
    pub fn from_value(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(b) => Self::Bool(*b),
            serde_json::Value::Number(n) => Self::Number(n.to_string().into()),
            serde_json::Value::String(s) => Self::String(s.clone()),
            serde_json::Value::Array(items) => Self::Array(items.iter().map(Self::from_value).collect()),
            serde_json::Value::Object(members) => {
                Self::Object(members.iter().map(|(k, v)| (k.clone(), Self::from_value(v))).collect())
            }
        }
    }

    /// The value for validators that work on `serde_json`'s tree. `None` when a number is beyond the range of a double, for
    /// then the validator would see another number.
    #[must_use]
    pub fn to_value(&self) -> Option<serde_json::Value> {
        Some(match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(b) => serde_json::Value::Bool(*b),
            Self::Number(literal) => serde_json::Value::Number(number(literal)?),
            Self::String(s) => serde_json::Value::String(s.clone()),
            Self::Array(items) => {
                serde_json::Value::Array(items.iter().map(Self::to_value).collect::<Option<_>>()?)
            }
            Self::Object(members) => serde_json::Value::Object(
                members.iter().map(|(k, v)| Some((k.clone(), v.to_value()?))).collect::<Option<_>>()?,
            ),
        })
    }

    /// The member of this name, when this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(k, _)| k == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, when this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// The elements, when this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members, when this is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The number's exact value; `None` when this is no number or has too many digits to compare exactly.
    #[must_use]
    pub fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Self::Number(literal) => decimal::exact(literal),
            _ => None,
        }
    }

    /// Whether this is `null`, which is absent wherever arguments are judged.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether this is `""`, `[]` or `{}`.
    #[must_use]
    pub fn is_empty_value(&self) -> bool {
        match self {
            Self::String(s) => s.is_empty(),
            Self::Array(items) => items.is_empty(),
            Self::Object(members) => members.is_empty(),
            _ => false,
        }
    }

    /// What kind of value this is, in JSON's words.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Whether the two are equal as JSON: numbers by value where both are exact, members in any order.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => {
                a == b || matches!((decimal::exact(a), decimal::exact(b)), (Some(a), Some(b)) if a == b)
            }
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Self::Object(a), Self::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(name, value)| other.get(name).is_some_and(|v| value.same(v)))
            }
            (a, b) => a == b,
        }
    }

    /// The text that digests are taken of: members sorted by name, no white space, number literals verbatim.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        write_canonical(self, &mut out);
        out
    }

    /// The digest of [`Json::canonical`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.canonical().as_bytes())
    }
}

/// Refuses deeper nesting before anything recurses. Brackets within strings do not count.
fn depth_within_bounds(bytes: &[u8]) -> Result<(), JsonError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'{' | b'[') => {
                depth = depth.saturating_add(1);
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands over the error")]
fn syntax(cause: serde_json::Error) -> JsonError {
    JsonError::Syntax { cause: cause.to_string() }
}

/// Each level is lexed again by the level above it, so the work is bytes times depth; both are bounded.
fn read(text: &str, depth: usize) -> Result<Json, JsonError> {
    if depth > MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(text).map_err(syntax)?;
            let mut seen = HashSet::with_capacity(members.0.len());
            let mut object = Vec::with_capacity(members.0.len());
            for (name, raw) in &members.0 {
                if !seen.insert(name.as_ref()) {
                    return Err(JsonError::DuplicateMember { name: name.clone().into_owned() });
                }
                object.push((name.clone().into_owned(), read(raw.get(), depth.saturating_add(1))?));
            }
            Ok(Json::Object(object))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
            items
                .iter()
                .map(|raw| read(raw.get(), depth.saturating_add(1)))
                .collect::<Result<_, _>>()
                .map(Json::Array)
        }
        Some(b'"') => serde_json::from_str(text).map(Json::String).map_err(syntax),
        Some(b't' | b'f') => serde_json::from_str(text).map(Json::Bool).map_err(syntax),
        Some(b'n') => Ok(Json::Null),
        _ => Ok(Json::Number(text.into())),
    }
}

/// The members of one object with their raw values, duplicates kept so that they can be refused.
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
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn number(literal: &str) -> Option<serde_json::Number> {
    if let Ok(n) = literal.parse::<i64>() {
        return Some(n.into());
    }
    if let Ok(n) = literal.parse::<u64>() {
        return Some(n.into());
    }
    literal.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
}

fn write_canonical(json: &Json, out: &mut String) {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Number(literal) => out.push_str(literal),
        Json::String(s) => write_string(s, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            out.push('{');
            for (i, (name, value)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    // `Value`'s display cannot fail and escapes minimally.
    out.push_str(&serde_json::Value::String(text.to_owned()).to_string());
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Number(literal) => RawValue::from_string(literal.to_string())
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
            Self::String(s) => serializer.serialize_str(s),
            Self::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

/// From bundle files, where a number is what a person typed: YAML gives integers and doubles, and a double's shortest literal is
/// the one typed up to 17 digits. Wire bytes go through [`Json::parse`] instead.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E: de::Error>(self, b: bool) -> Result<Json, E> {
        Ok(Json::Bool(b))
    }
    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Json, E> {
        Ok(Json::Number(n.to_string().into()))
    }
    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Json, E> {
        Ok(Json::Number(n.to_string().into()))
    }
    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Json, E> {
        serde_json::Number::from_f64(n)
            .map(|n| Json::Number(n.to_string().into()))
            .ok_or_else(|| E::custom("a number that JSON cannot write"))
    }
    fn visit_str<E: de::Error>(self, s: &str) -> Result<Json, E> {
        Ok(Json::String(s.to_owned()))
    }
    fn visit_string<E: de::Error>(self, s: String) -> Result<Json, E> {
        Ok(Json::String(s))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Json>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom(format!("the member {name:?} stands twice in one object")));
            }
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

impl schemars::JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "Any JSON value." })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Json, JsonError> {
        Json::parse(text.as_bytes())
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        for literal in ["1.10", "12345678901234567890123", "-0", "1e400", "0.1E-7"] {
            assert_eq!(parse(literal).unwrap(), Json::Number(literal.into()));
            assert_eq!(parse(&format!("[{literal}]")).unwrap().canonical(), format!("[{literal}]"));
            assert_eq!(serde_json::to_string(&parse(literal).unwrap()).unwrap(), literal);
        }
        assert_eq!(parse("1e400").unwrap().to_value(), None, "a validator would see infinity");
    }

    #[test]
    fn what_two_readers_could_read_as_two_things_is_refused() {
        let duplicate = |name: &str| JsonError::DuplicateMember { name: name.into() };
        assert_eq!(parse(r#"{"a":1,"a":2}"#), Err(duplicate("a")));
        assert_eq!(parse(r#"{"a":1,"\u0061":2}"#), Err(duplicate("a")), "an escape hides the second");
        assert_eq!(parse(r#"[{"b":{"":1,"":1}}]"#), Err(duplicate("")));
        for bad in
            ["", "{", "[1,]", "01", "+1", "1 2", "\"\\ud800\"", "{\"a\" 1}", "nul", "'a'", "\u{feff}1", "NaN"]
        {
            assert!(matches!(parse(bad), Err(JsonError::Syntax { .. })), "{bad:?} was taken");
        }
        assert!(Json::parse(b"\"\xff\"").is_err(), "invalid UTF-8 was taken");
    }

    #[test]
    fn bounds_hold_without_recursion() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&deep(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
        assert_eq!(parse(&deep(1_000_000)), Err(JsonError::TooDeep));
        assert_eq!(Json::parse_within(b"[1]", 2), Err(JsonError::TooLarge { bytes: 3, bound: 2 }));
        assert!(parse(&format!("\"{}\"", "[".repeat(1000))).is_ok(), "brackets in a string are no nesting");
    }

    #[test]
    fn the_digest_ignores_order_and_space_but_no_digit() {
        let digest = |text: &str| parse(text).unwrap().digest();
        assert_eq!(digest(r#"{ "b": [1, 2], "a": "x" }"#), digest(r#"{"a":"x","b":[1,2]}"#));
        assert_ne!(digest(r#"{"a":1.10}"#), digest(r#"{"a":1.1}"#));
    }

    #[test]
    fn equality_as_json_compares_numbers_by_value() {
        for (a, b, same) in [
            ("1.10", "1.1", true),
            ("1e2", "100", true),
            ("12345678901234567890123", "12345678901234567890124", false),
            (r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1}"#, true),
            ("[1,2]", "[2,1]", false),
            ("1", "\"1\"", false),
            ("null", "false", false),
        ] {
            assert_eq!(parse(a).unwrap().same(&parse(b).unwrap()), same, "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&bytes);
        }

        #[test]
        fn canonical_text_reads_back_as_the_same_value(text in "[\\[\\]{}:,\"a-c0-9.eE+\\- ]{0,40}") {
            if let Ok(json) = parse(&text) {
                let again = parse(&json.canonical()).unwrap();
                prop_assert!(again.same(&json));
                prop_assert_eq!(again.canonical(), json.canonical());
            }
        }
    }
}
