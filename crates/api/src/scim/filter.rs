//! Filters (RFC 7644, section 3.4.2.2), as far as directories need them: attributes that equal texts, joined by `and`.
//!
//! Anything else is refused as `invalidFilter`: a filter that was half understood would find the wrong people.

use super::ScimError;

/// Most bytes of a filter.
const MAX_FILTER: usize = 2048;

/// One comparison: an attribute, in lower case, equals a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Equals {
    pub(super) attribute: String,
    pub(super) value: String,
}

/// Reads a filter.
pub(super) fn parse(text: &str) -> Result<Vec<Equals>, ScimError> {
    let refused = |why: &str| {
        ScimError::bad(
            "invalidFilter",
            format!("{why}: filters here are `attribute eq \"value\"`, joined by `and`"),
        )
    };
    if text.len() > MAX_FILTER {
        return Err(refused("the filter is too long"));
    }
    let mut all = Vec::new();
    let mut rest = text.trim();
    loop {
        let (attribute, after) = word(rest).ok_or_else(|| refused("an attribute is missing"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".:_-$".contains(c);
        if !attribute.chars().all(plain) {
            return Err(refused("an attribute has characters that none has"));
        }
        let (operator, after) = word(after).ok_or_else(|| refused("an operator is missing"))?;
        if !operator.eq_ignore_ascii_case("eq") {
            return Err(refused("the operator is not `eq`"));
        }
        // A JSON text: its escapes are those of JSON, and it ends where JSON says.
        let mut values = serde_json::Deserializer::from_str(after).into_iter::<serde_json::Value>();
        let value = match values.next() {
            Some(Ok(serde_json::Value::String(value))) => value,
            Some(Ok(serde_json::Value::Bool(value))) => value.to_string(),
            _ => return Err(refused("the value is no text in double quotes")),
        };
        let end = values.byte_offset();
        rest = after.get(end..).unwrap_or_default();
        all.push(Equals { attribute: attribute.to_ascii_lowercase(), value });
        if rest.trim().is_empty() {
            return Ok(all);
        }
        if !rest.starts_with(char::is_whitespace) {
            return Err(refused("something stands right behind a value"));
        }
        match word(rest) {
            Some((joint, after)) if joint.eq_ignore_ascii_case("and") => rest = after,
            _ => return Err(refused("comparisons are not joined by `and`")),
        }
    }
}

/// The next word, and what is behind it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace)?;
    text.split_at_checked(end).map(|(word, rest)| (word, rest.trim_start()))
}

/// The attribute without the schema's name before it (RFC 7644, section 3.10).
pub(super) fn short(attribute: &str) -> &str {
    attribute.strip_prefix("urn:ietf:params:scim:schemas:core:2.0:user:").unwrap_or(attribute)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_directories_send_is_read() {
        for (text, all) in [
            (r#"userName eq "alice@example.com""#, vec![("username", "alice@example.com")]),
            (r#"USERNAME EQ "Alice""#, vec![("username", "Alice")]),
            (r#"  externalId   eq  "00u1"  "#, vec![("externalid", "00u1")]),
            (r#"displayName eq "a \"b\" \u0041""#, vec![("displayname", r#"a "b" A"#)]),
            (r#"id eq "g-1" and members eq "x""#, vec![("id", "g-1"), ("members", "x")]),
            (r#"active eq true"#, vec![("active", "true")]),
            (r#"userName eq "x\" or userName eq \"y""#, vec![("username", r#"x" or userName eq "y"#)]),
        ] {
            let read = parse(text).unwrap_or_else(|cause| panic!("{text}: {cause:?}"));
            let read: Vec<_> = read.iter().map(|one| (one.attribute.as_str(), one.value.as_str())).collect();
            assert_eq!(read, all, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_whole_is_refused() {
        for text in [
            "",
            "userName",
            "userName eq",
            "userName eq alice",
            r#"userName co "a""#,
            r#"userName eq "a" or userName eq "b""#,
            r#"(userName eq "a")"#,
            r#"not userName eq "a""#,
            r#"userName eq "a" and"#,
            r#"userName eq "a"and id eq "b""#,
            r#"userName eq "a" "b""#,
            r#"userName eq "a"#,
            r#"emails[type eq "work"].value eq "a""#,
            r#"userName' eq "a""#,
            r#"userName eq 'a'"#,
            r#"userName eq {"a":1}"#,
        ] {
            assert!(parse(text).is_err(), "{text} was taken");
        }
        assert!(parse(&format!(r#"userName eq "{}""#, "a".repeat(3000))).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_value_is_read_as_it_was_written(value in ".{0,40}") {
            let text = format!("userName eq {}", serde_json::Value::String(value.clone()));
            prop_assert_eq!(&parse(&text).unwrap()[0].value, &value);
        }
    }
}
