//! What must hold of a whole text before any part of it is looked at: bounded nesting, and no member named twice.
//!
//! The nesting scan is one loop without recursion, so it is safe and linear on hostile input. The duplicate scan recurses
//! (a `serde` visitor, one stack frame a level) and must only see texts that the nesting scan let through.

use std::{borrow::Cow, cell::RefCell, collections::HashSet, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};

/// Whether no bracket stands more than `bound` deep. Brackets within strings do not count. On text that is not JSON the
/// answer means nothing, but it still bounds the recursion of whoever parses it.
pub(crate) fn nested_within(text: &str, bound: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                if depth > bound {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Why a text fails the full scan.
#[derive(Debug)]
pub(crate) enum ScanFault {
    /// Some object names this member (unescaped) twice.
    Duplicate(String),
    /// Not JSON in the strict reading: a lone surrogate, or a number beyond the range of a double, which two readers
    /// would take for two things.
    Syntax(serde_json::Error),
}

/// Reads all of the text, each string and number included. The caller has bounded the nesting.
pub(crate) fn unambiguous(text: &str) -> Result<(), ScanFault> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Unique(&duplicate).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (read, duplicate.into_inner()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(name)) => Err(ScanFault::Duplicate(name)),
        (Err(cause), None) => Err(ScanFault::Syntax(cause)),
    }
}

/// A value whose objects, at every depth, have distinct names. The cell carries the offending name past `serde`'s error.
struct Unique<'s>(&'s RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Unique(self.0))?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(Name(name)) = map.next_key()? {
            if seen.contains(name.as_ref()) {
                let error = A::Error::custom("duplicate member");
                *self.0.borrow_mut() = Some(name.into_owned());
                return Err(error);
            }
            seen.insert(name);
            map.next_value_seed(Unique(self.0))?;
        }
        Ok(())
    }
}

/// A member name, borrowed where it holds no escapes.
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_counts_containers_and_not_brackets_in_strings() {
        for (text, deepest) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{}]}"#, 3),
            (r#""[[[[""#, 0),
            (r#"["\"[[[["]"#, 1),
            (r#"["\\",[]]"#, 2),
            ("[[],[],[]]", 2),
        ] {
            assert!(nested_within(text, deepest), "{text} is {deepest} deep");
            assert!(deepest == 0 || !nested_within(text, deepest - 1), "{text} is no deeper than {deepest}");
        }
    }

    #[test]
    fn a_member_named_twice_is_found_at_any_depth_and_in_any_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[[{"x":{"b":1,"c":2,"b":3}}]]"#,
            r#"{"":0,"":0}"#,
            r#"{"/":0,"\/":0}"#,
            r#"{"😀":0,"\ud83d\ude00":0}"#,
        ] {
            assert!(matches!(unambiguous(text), Err(ScanFault::Duplicate(_))), "{text} was let through");
        }
    }

    #[test]
    fn distinct_names_pass_even_if_they_look_alike() {
        for text in [
            r#"{"a":1,"A":1}"#,
            r#"{"é":1,"e\u0301":2}"#,
            r#"{"a":{"a":{"a":1}}}"#,
            r#"[{"a":1},{"a":1}]"#,
            r#"{"a":1,"a\u0000":1}"#,
            "12345678901234567890123",
        ] {
            assert!(unambiguous(text).is_ok(), "{text} was refused");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [r#""\ud800""#, r#"{"\udc00":1}"#, "1e999", "01", "NaN", "[1,]", "1 2", "\"\n\"", "'a'"] {
            assert!(matches!(unambiguous(text), Err(ScanFault::Syntax(_))), "{text} was let through");
        }
    }
}
