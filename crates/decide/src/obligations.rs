//! What an enforcement point must do when it lets a call through: annotations on the permits that decided.

use std::{collections::BTreeSet, fmt, str::FromStr};

use cedar_policy::{Policy, PolicySet};
use serde::{Deserialize, Serialize};
use warrantor_model::{
    Json, Path,
    path::{Coverage, Location, Segment, Step},
};

use crate::parts::PolicySource;

/// One thing that must be done with a result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obligation {
    /// What stands at this path, and below it, is not shown: `@redact("customer/phone")`, several paths separated by commas.
    Redact(Path),
    /// The task takes on this label: `@label("confidential")`.
    Label(String),
    /// A result of more bytes is not shown: `@cap("65536")`.
    Cap(usize),
}

impl fmt::Display for Obligation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redact(path) => write!(f, "@redact(\"{path}\")"),
            Self::Label(label) => write!(f, "@label(\"{label}\")"),
            Self::Cap(bytes) => write!(f, "@cap(\"{bytes}\")"),
        }
    }
}

/// What stands in the place of a text that is not shown.
const REDACTED: &str = "[redacted]";

/// A value without what stands at these paths: texts say that they were redacted, anything else is null. A path may lead nowhere.
#[must_use]
pub fn redacted(value: &Json, paths: &[&Path]) -> Json {
    fn walk(value: &Json, at: &mut Location, paths: &[&Path]) -> Json {
        if paths.iter().any(|path| path.covers(at) == Some(Coverage::Itself)) {
            return match value {
                Json::String(_) => Json::String(REDACTED.to_owned()),
                _ => Json::Null,
            };
        }
        match value {
            Json::Array(items) => Json::Array(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        at.push(Step::Index(index));
                        let shown = walk(item, at, paths);
                        at.pop();
                        shown
                    })
                    .collect(),
            ),
            Json::Object(members) => Json::Object(
                members
                    .iter()
                    .map(|(name, member)| {
                        at.push(Step::Member(name.clone()));
                        let shown = walk(member, at, paths);
                        at.pop();
                        (name.clone(), shown)
                    })
                    .collect(),
            ),
            value => value.clone(),
        }
    }
    walk(value, &mut Location::new(), paths)
}

/// A text without what stands at these paths, if it is JSON; one that is not cannot be told apart, and is not shown at all.
#[must_use]
pub fn redacted_text(text: &str, paths: &[&Path]) -> String {
    match Json::parse(text.as_bytes()) {
        Ok(value @ (Json::Array(_) | Json::Object(_))) => redacted(&value, paths).canonical(),
        _ => REDACTED.to_owned(),
    }
}

/// The obligations of a policy, or what is wrong with them.
pub(crate) fn read(policy: &Policy) -> Result<Vec<Obligation>, String> {
    let mut obligations = Vec::new();
    if let Some(paths) = policy.annotation("redact") {
        for text in paths.split(',').map(str::trim) {
            obligations.push(Obligation::Redact(redactable(text)?));
        }
    }
    if let Some(label) = policy.annotation("label") {
        let is_word = label.len() <= 64
            && label.starts_with(|c: char| c.is_ascii_alphabetic())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if !is_word {
            return Err(format!(
                "@label({label:?}) is no label: begin with a letter, then letters, digits, `_` and `-`"
            ));
        }
        obligations.push(Obligation::Label(label.to_owned()));
    }
    if let Some(bytes) = policy.annotation("cap") {
        let bytes = bytes.parse().ok().filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or("@cap takes a number of bytes, such as @cap(\"65536\")")?;
        obligations.push(Obligation::Cap(bytes));
    }
    Ok(obligations)
}

/// A path that can lead to something: what never could is refused, for it would be believed to be left out.
fn redactable(text: &str) -> Result<Path, String> {
    let wrong = |why: &str| Err(format!("@redact({text:?}) would leave nothing out: {why}"));
    let path: Path = text.parse().map_err(|cause| format!("@redact({text:?}) is no path: {cause}"))?;
    if text.starts_with('/') || text.ends_with('/') {
        return wrong("a path begins and ends with a name; leave the slash out");
    }
    if text.contains(['[', ']', ';']) {
        return wrong("there are no selectors here, and several paths are separated by commas");
    }
    if path.segments().iter().any(|segment| matches!(segment, Segment::Keys)) {
        return wrong("names of members cannot be left out; name what holds them");
    }
    if matches!(path.segments().first(), Some(Segment::Name(name)) if name == "structuredContent" || name == "content")
    {
        return wrong("paths begin within the structured content");
    }
    Ok(path)
}

/// Every label that a policy can bring. Files that do not parse have none; they are refused elsewhere.
pub(crate) fn labels(sources: &[PolicySource]) -> BTreeSet<String> {
    let sets = sources.iter().filter_map(|source| PolicySet::from_str(&source.text).ok());
    sets.flat_map(|set| {
        set.policies().filter_map(|policy| policy.annotation("label").map(str::to_owned)).collect::<Vec<_>>()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_leads_to_is_not_shown_and_all_else_is() {
        let value = |text: &str| Json::parse(text.as_bytes()).unwrap();
        let given = r#"[{"name":"Ann","phone":"1","cards":[{"pan":4111,"ok":true}]},{"name":"Bo"}]"#;
        for (paths, wanted) in [
            (
                vec!["*/phone", "*/cards/*/pan"],
                r#"[{"name":"Ann","phone":"[redacted]","cards":[{"pan":null,"ok":true}]},{"name":"Bo"}]"#,
            ),
            (
                vec!["**/name"],
                r#"[{"name":"[redacted]","phone":"1","cards":[{"pan":4111,"ok":true}]},{"name":"[redacted]"}]"#,
            ),
            (vec!["*/cards"], r#"[{"name":"Ann","phone":"1","cards":null},{"name":"Bo"}]"#),
            (vec!["nothing"], given),
            (vec![""], "null"),
        ] {
            let paths: Vec<Path> = paths.iter().map(|path| path.parse().unwrap()).collect();
            let paths: Vec<&Path> = paths.iter().collect();
            assert_eq!(redacted(&value(given), &paths), value(wanted), "{paths:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_json_is_not_shown_at_all() {
        let path: Path = "a".parse().unwrap();
        for (text, wanted) in [
            (r#"{"a":"x","b":1}"#, r#"{"a":"[redacted]","b":1}"#),
            ("a is x", "[redacted]"),
            (r#""x""#, "[redacted]"),
            (r#"{"a":"x","a":"y"}"#, "[redacted]"),
        ] {
            assert_eq!(redacted_text(text, &[&path]), wanted, "{text}");
        }
    }
}
