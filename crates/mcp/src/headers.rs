//! What HTTP headers repeat of a message, and whether they agree with it.
//!
//! Modern requests carry the version, the method, the name of what is asked for, and the parameters that a tool's definition marks with
//! `x-mcp-header` in headers as well (SEP-2243), so that intermediaries can route without reading bodies. Here the body is what
//! is decided on; headers must agree with it or the request is refused, since whoever stands before or behind us may have gone by them.

use std::{borrow::Cow, collections::BTreeSet, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;
use warrantor_model::{Decimal, Json};

use crate::members::shown;

/// The header that carries the protocol version.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The header that repeats the method.
pub const METHOD: &str = "mcp-method";
/// The header that repeats what is asked for by name.
pub const NAME: &str = "mcp-name";
/// What the headers of marked parameters begin with.
pub const PARAMETER_PREFIX: &str = "mcp-param-";
/// The header that names a legacy session.
pub const SESSION: &str = "mcp-session-id";
/// The header that says where a legacy stream is to be resumed.
pub const LAST_EVENT: &str = "last-event-id";

const SENTINEL: (&str, &str) = ("=?base64?", "?=");

/// Why a request's headers are refused. The sender's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// A header that must be there is not.
    #[error("the header {header} is missing: it must repeat {what} of the body")]
    Missing {
        /// Which.
        header: String,
        /// What it must repeat.
        what: String,
    },
    /// A header stands twice.
    #[error("the header {header} stands twice")]
    Twice {
        /// Which.
        header: String,
    },
    /// A value that has no reading.
    #[error("the header {header} is malformed")]
    Malformed {
        /// Which.
        header: String,
    },
    /// What the headers have to say cannot be told.
    #[error(transparent)]
    Marks(#[from] MarkError),
    /// A header says something else than the body.
    #[error("the header {header} says {found:?} and the body {wanted:?}")]
    Mismatch {
        /// Which.
        header: String,
        /// What it says, cut to 80 characters.
        found: String,
        /// What the body says, cut to 80 characters.
        wanted: String,
    },
}

/// Encodes a text as a header's value: as it is where that is safe, else as base64 between markers.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    let safe = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim_matches(' ').len() == text.len()
        && !text.starts_with(SENTINEL.0);
    if safe {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{}{}{}", SENTINEL.0, STANDARD.encode(text), SENTINEL.1))
    }
}

/// Decodes a header's value; `None` when it has no reading.
#[must_use]
pub fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value).ok()?;
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return None;
    }
    // One mark without the other is text like any other.
    match text.strip_prefix(SENTINEL.0).and_then(|rest| rest.strip_suffix(SENTINEL.1)) {
        None => Some(Cow::Borrowed(text)),
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded).ok()?;
            String::from_utf8(bytes).ok().map(Cow::Owned)
        }
    }
}

/// A header of a request: its name in lower case, and its value's bytes.
pub type Header<'a> = (&'a str, &'a [u8]);

/// The one value of a header, decoded.
///
/// # Errors
/// [`HeaderError`] when it stands twice or has no reading.
pub fn one<'a>(headers: &[Header<'a>], name: &str) -> Result<Option<Cow<'a, str>>, HeaderError> {
    let mut values = headers.iter().filter(|(header, _)| *header == name);
    let Some((_, value)) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeaderError::Twice { header: name.to_owned() });
    }
    decode(value).map(Some).ok_or_else(|| HeaderError::Malformed { header: name.to_owned() })
}

/// Checks that a header repeats a text of the body.
///
/// # Errors
/// [`HeaderError`] when it is missing, stands twice, has no reading or says something else.
pub fn repeats(headers: &[Header<'_>], name: &str, what: &str, wanted: &str) -> Result<(), HeaderError> {
    match one(headers, name)? {
        None => Err(HeaderError::Missing { header: name.to_owned(), what: what.to_owned() }),
        Some(found) if found == wanted => Ok(()),
        Some(found) => Err(HeaderError::Mismatch {
            header: name.to_owned(),
            found: shown(&found),
            wanted: shown(wanted),
        }),
    }
}

/// A parameter that a tool's definition wants repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The header, in lower case, prefix included.
    pub header: String,
    /// Where the parameter stands: names of members from the root of the arguments.
    pub path: Vec<String>,
}

/// Why a tool's marks are not valid: such a tool is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the mark `x-mcp-header` at {at} is not valid: {why}")]
pub struct MarkError {
    /// Where in the schema.
    pub at: String,
    /// Why.
    pub why: &'static str,
}

/// The parameters that an input schema marks.
///
/// # Errors
/// [`MarkError`] for a mark that is not as SEP-2243 has it: no token, used twice, on a type other than string, integer or boolean, or at a
/// place that `properties` alone do not lead to.
pub fn marked(schema: &Json) -> Result<Vec<Marked>, MarkError> {
    let mut found = Vec::new();
    let mut places = vec![(schema, Vec::<String>::new())];
    while let Some((place, path)) = places.pop() {
        let Some(members) = place.as_object() else { continue };
        let wrong = |why| MarkError { at: format!("/{}", path.join("/")), why };
        if let Some(mark) = place.get("x-mcp-header") {
            let name = mark.as_str().filter(|name| is_token(name)).ok_or_else(|| wrong("it is no token"))?;
            let typed = place.get("type").and_then(Json::as_str);
            if !matches!(typed, Some("string" | "integer" | "boolean")) || path.is_empty() {
                return Err(wrong("only a string, an integer or a boolean can be repeated"));
            }
            let header = format!("{PARAMETER_PREFIX}{}", name.to_ascii_lowercase());
            found.push(Marked { header, path: path.clone() });
        }
        for (name, member) in members {
            match name.as_str() {
                "properties" => {
                    for (name, property) in member.as_object().unwrap_or_default() {
                        let mut path = path.clone();
                        path.push(name.clone());
                        places.push((property, path));
                    }
                }
                // Data, not schemas.
                "const" | "default" | "enum" | "examples" => {}
                _ if holds_mark(member) => {
                    return Err(wrong("a marked parameter must be reached by `properties` alone"));
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| (&a.header, &a.path).cmp(&(&b.header, &b.path)));
    let mut names = BTreeSet::new();
    match found.iter().find(|marked| !names.insert(marked.header.as_str())) {
        Some(twice) => {
            Err(MarkError { at: format!("/{}", twice.path.join("/")), why: "the same name is used twice" })
        }
        None => Ok(found),
    }
}

/// Whether a mark stands anywhere in this part of a schema. The schema's depth is bounded by its reader.
fn holds_mark(schema: &Json) -> bool {
    match schema {
        Json::Object(members) => {
            members.iter().any(|(name, member)| name == "x-mcp-header" || holds_mark(member))
        }
        Json::Array(items) => items.iter().any(holds_mark),
        _ => false,
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What the headers of a call's marked parameters must say: header and text. A parameter that is absent or null has none.
#[must_use]
pub fn repeated(marked: &[Marked], arguments: &Json) -> Vec<(String, String)> {
    let value = |path: &[String]| path.iter().try_fold(arguments, |value, name| value.get(name));
    marked.iter().filter_map(|mark| Some((mark.header.clone(), text_of(value(&mark.path)?)?))).collect()
}

fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Number(_) => {
            let mut text = String::new();
            write!(text, "{}", value.as_decimal()?).ok()?;
            Some(text)
        }
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Checks the headers of marked parameters against what they must say. Headers of parameters that are not marked, or that the body does not
/// have, say nothing that was decided on: they are ignored, and nothing of them is forwarded.
///
/// # Errors
/// [`HeaderError`] when one is missing, stands twice, is malformed or differs.
pub fn parameters_agree(headers: &[Header<'_>], wanted: &[(String, String)]) -> Result<(), HeaderError> {
    for (header, text) in wanted {
        let found = one(headers, header)?
            .ok_or_else(|| HeaderError::Missing { header: header.clone(), what: "a parameter".to_owned() })?;
        // Integers compare as numbers, whatever their spelling.
        let number = |text: &str| text.parse::<Decimal>().ok();
        let same = found == *text || (number(text).is_some() && number(text) == number(&found));
        if !same {
            return Err(HeaderError::Mismatch {
                header: header.clone(),
                found: shown(&found),
                wanted: shown(text),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_are_plain_where_that_is_safe_and_base64_otherwise() {
        for (text, encoded) in [
            ("send_money", "send_money"),
            ("a b", "a b"),
            ("", ""),
            (" a", "=?base64?IGE=?="),
            ("é", "=?base64?w6k=?="),
            ("a\r\nX: y", "=?base64?YQ0KWDogeQ==?="),
            ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
        ] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded.as_bytes()).as_deref(), Some(text));
        }
        for malformed in ["=?base64?w6k?=", "=?base64?_w==?=", "=?base64?/w==?=", "\u{e9}", "a\u{7f}"] {
            assert_eq!(decode(malformed.as_bytes()), None, "{malformed}");
        }
        // The markers are case-sensitive: this is a plain value.
        assert_eq!(decode(b"=?BASE64?w6k=?=").as_deref(), Some("=?BASE64?w6k=?="));
    }

    #[test]
    fn a_header_must_be_there_once_and_say_the_same() {
        let check =
            |headers: &[Header<'_>]| repeats(headers, NAME, "the name", "send").map_err(|e| e.to_string());
        assert_eq!(check(&[(NAME, b"send")]), Ok(()));
        for (headers, why) in [
            (vec![], "the header mcp-name is missing: it must repeat the name of the body"),
            (vec![(NAME, &b"send"[..]), (NAME, b"send")], "the header mcp-name stands twice"),
            (vec![(NAME, b"Send")], r#"the header mcp-name says "Send" and the body "send""#),
            (vec![(NAME, b"=?base64?!?=")], "the header mcp-name is malformed"),
        ] {
            assert_eq!(check(&headers), Err(why.to_owned()));
        }
    }

    #[test]
    fn marks_are_found_by_properties_alone() {
        let schema = json(
            r#"{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"Region"},
            "b":{"type":"object","properties":{"c":{"type":"integer","x-mcp-header":"Count"}}},
            "x-mcp-header":{"type":"string"},"d":{"enum":[{"x-mcp-header":"E"}]}}}"#,
        );
        let found: Vec<_> =
            marked(&schema).unwrap().into_iter().map(|m| (m.header, m.path.join("/"))).collect();
        assert_eq!(
            found,
            [("mcp-param-count".into(), "b/c".into()), ("mcp-param-region".into(), "a".into())]
        );
    }

    #[test]
    fn a_mark_that_is_not_valid_is_an_error() {
        for (properties, why) in [
            (r#""a":{"type":"string","x-mcp-header":""}"#, "no token"),
            (r#""a":{"type":"string","x-mcp-header":"a b"}"#, "no token"),
            (r#""a":{"type":"string","x-mcp-header":7}"#, "no token"),
            (r#""a":{"type":"number","x-mcp-header":"A"}"#, "only a string"),
            (r#""a":{"x-mcp-header":"A"}"#, "only a string"),
            (r#""a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}"#, "twice"),
            (r#""a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}"#, "`properties` alone"),
            (r#""a":{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#, "`properties` alone"),
        ] {
            let schema = json(&format!(r#"{{"type":"object","properties":{{{properties}}}}}"#));
            let error = marked(&schema).unwrap_err().to_string();
            assert!(error.contains(why), "{properties}: {error}");
        }
    }

    #[test]
    fn the_headers_of_marked_parameters_agree_with_the_arguments() {
        let schema = json(
            r#"{"properties":{"r":{"type":"string","x-mcp-header":"R"},"n":{"type":"integer","x-mcp-header":"N"},"b":{"type":"boolean","x-mcp-header":"B"}}}"#,
        );
        let marks = marked(&schema).unwrap();
        let check = |arguments: &str, headers: &[Header<'_>]| {
            parameters_agree(headers, &repeated(&marks, &json(arguments))).map_err(|error| error.to_string())
        };
        let all: &[Header<'_>] =
            &[("mcp-param-r", b"eu"), ("mcp-param-n", b"42.0"), ("mcp-param-b", b"true")];
        assert_eq!(check(r#"{"r":"eu","n":42,"b":true}"#, all), Ok(()));
        assert_eq!(check(r#"{"r":null}"#, &[]), Ok(()));
        assert_eq!(check("{}", &[("host", b"x"), ("mcp-param-zone", b"eu")]), Ok(()));
        for (arguments, headers, why) in [
            (r#"{"r":"eu"}"#, &[][..], "missing"),
            (r#"{"r":"eu"}"#, &[("mcp-param-r", &b"us"[..])][..], "says"),
            (r#"{"n":42}"#, &[("mcp-param-n", b"43")], "says"),
            (r#"{"b":true}"#, &[("mcp-param-b", b"True")], "says"),
            (r#"{"r":"eu"}"#, &[("mcp-param-r", b"eu"), ("mcp-param-r", b"us")], "twice"),
        ] {
            let error = check(arguments, headers).unwrap_err();
            assert!(error.contains(why), "{arguments}: {error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_a_safe_value_and_comes_back(text in any::<String>()) {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let decoded = decode(encoded.as_bytes());
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
    }
}
