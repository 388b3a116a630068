//! JSON objects as lists of named raw slices: what every view of this crate is made of.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::{Fragment, scan::Name};

/// Why a JSON object does not have the shape that the protocol gives it. Whose fault it is depends on who sent the object;
/// the error that wraps this one says so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// Another kind of value stands where an object must.
    #[error("`{at}` must be an object")]
    NotAnObject {
        /// Where.
        at: &'static str,
    },
    /// Not readable as JSON; cannot happen for slices of a message that was parsed.
    #[error("`{at}` is not well-formed JSON: {cause}")]
    Syntax {
        /// Where.
        at: &'static str,
        /// What the lexer said.
        cause: String,
    },
    /// One name twice.
    #[error("`{at}` names the member {name:?} twice: remove one of the two")]
    DuplicateMember {
        /// Where.
        at: &'static str,
        /// The name, unescaped and cut to 80 characters.
        name: String,
    },
    /// A member that must be there is not.
    #[error("`{at}` lacks the member `{member}`")]
    Missing {
        /// Where.
        at: &'static str,
        /// The member.
        member: &'static str,
    },
    /// A member's value is of the wrong kind.
    #[error("`{member}` of `{at}` must be {expected}")]
    WrongType {
        /// Where.
        at: &'static str,
        /// The member.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A member's value is longer than this crate carries.
    #[error("`{member}` of `{at}` is longer than {bound} bytes")]
    TooLong {
        /// Where.
        at: &'static str,
        /// The member.
        member: &'static str,
        /// The bound, in bytes.
        bound: usize,
    },
    /// A member that is not known here, so that nobody decided on it.
    #[error("`{at}` has the member {name:?}, which is not supported: remove it")]
    UnknownMember {
        /// Where.
        at: &'static str,
        /// The name, unescaped and cut to 80 characters.
        name: String,
    },
}

/// What people are shown of a name that a stranger chose.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

/// One object's members in the order written, each a slice of the text it came from; no name twice.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    at: &'static str,
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Members<'a> {
    /// Splits the object called `at` in errors.
    pub(crate) fn read(raw: &'a RawValue, at: &'static str) -> Result<Self, ShapeError> {
        Self::read_text(raw.get(), at)
    }

    /// As [`Members::read`], of a text that stands by itself.
    pub(crate) fn read_text(text: &'a str, at: &'static str) -> Result<Self, ShapeError> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(ShapeError::NotAnObject { at });
        }
        let Listed(list) = serde_json::from_str(text)
            .map_err(|cause: serde_json::Error| ShapeError::Syntax { at, cause: cause.to_string() })?;
        let members = Self { at, list };
        match members.twice() {
            Some(name) => Err(ShapeError::DuplicateMember { at, name: shown(name) }),
            None => Ok(members),
        }
    }

    fn twice(&self) -> Option<&str> {
        let mut seen = HashSet::with_capacity(self.list.len());
        self.list.iter().map(|(name, _)| name.as_ref()).find(|name| !seen.insert(*name))
    }

    /// All members, in the order written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.list.iter().map(|(name, raw)| (name.as_ref(), *raw))
    }

    /// Refuses members beside these.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, ShapeError> {
        match self.list.iter().find(|(name, _)| !known.contains(&name.as_ref())) {
            Some((name, _)) => Err(ShapeError::UnknownMember { at: self.at, name: shown(name) }),
            None => Ok(self),
        }
    }

    /// The members, if none of these is among them.
    pub(crate) fn without(self, refused: &[&str]) -> Result<Self, ShapeError> {
        match self.list.iter().find(|(name, _)| refused.contains(&name.as_ref())) {
            Some((name, _)) => Err(ShapeError::UnknownMember { at: self.at, name: shown(name) }),
            None => Ok(self),
        }
    }

    /// All of them.
    pub(crate) fn into_list(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.list
    }

    /// The value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.list.iter().find(|(n, _)| n == name).map(|(_, raw)| *raw)
    }

    /// Members beside these, but for nulls, each as an object of its own: a name says as much as a value.
    pub(crate) fn beside(&self, known: &[&str]) -> Vec<String> {
        let others = self.iter().filter(|(name, raw)| !known.contains(name) && raw.get() != "null");
        others.map(|(name, raw)| format!("{{{}:{}}}", Fragment::text(name).as_str(), raw.get())).collect()
    }

    /// The object of this name.
    pub(crate) fn object(&self, member: &'static str) -> Result<Option<&'a RawValue>, ShapeError> {
        match self.get(member) {
            Some(raw) if !is_object(raw) => Err(self.wrong(member, "an object")),
            found => Ok(found),
        }
    }

    /// The string of this name, unescaped, of at most `bound` bytes.
    pub(crate) fn text(
        &self,
        member: &'static str,
        bound: usize,
    ) -> Result<Option<Cow<'a, str>>, ShapeError> {
        let Some(raw) = self.get(member) else { return Ok(None) };
        let text = text(raw).ok_or_else(|| self.wrong(member, "a string"))?;
        if text.len() > bound {
            return Err(ShapeError::TooLong { at: self.at, member, bound });
        }
        Ok(Some(text))
    }

    /// What `found` holds, or the error that the member is missing.
    pub(crate) fn need<T>(&self, member: &'static str, found: Option<T>) -> Result<T, ShapeError> {
        found.ok_or(ShapeError::Missing { at: self.at, member })
    }

    /// The error that the member is of the wrong kind.
    pub(crate) fn wrong(&self, member: &'static str, expected: &'static str) -> ShapeError {
        ShapeError::WrongType { at: self.at, member, expected }
    }
}

/// Whether the value is an object. A raw value never begins with white space.
pub(crate) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Whether the value is a number.
pub(crate) fn is_number(raw: &RawValue) -> bool {
    raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// The string, unescaped; borrowed where it holds no escapes. `None` when the value is no string, or holds a lone surrogate.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(raw.get()).ok().map(|Name(text)| text)
}

/// The elements, when the value is an array.
pub(crate) fn elements(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// Members as they stand, duplicates included, so that they can be named.
struct Listed<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Listed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ListedVisitor(PhantomData))
    }
}

struct ListedVisitor<'de>(PhantomData<&'de ()>);

impl<'de> Visitor<'de> for ListedVisitor<'de> {
    type Value = Listed<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            list.push((name, map.next_value()?));
        }
        Ok(Listed(list))
    }
}
