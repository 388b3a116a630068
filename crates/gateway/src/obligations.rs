//! Obligations of a permit, carried out on a result before it is taken in or shown.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::value::RawValue;
use warrantor_decide::{Obligation, redacted, redacted_text};
use warrantor_mcp::uses::{Named, Target};
use warrantor_model::{Json, Path};

/// Why a result is not shown.
pub(crate) const TOO_LARGE: &str = "it is larger than may be shown";

/// Whether parts of results are not shown: then nothing is shown of which the parts cannot be told.
pub(crate) fn redacts(obligations: &BTreeSet<Obligation>) -> bool {
    obligations.iter().any(|obligation| matches!(obligation, Obligation::Redact(_)))
}

/// Whether so much may be shown.
pub(crate) fn caps(obligations: &BTreeSet<Obligation>, bytes: usize) -> bool {
    obligations.iter().any(|obligation| matches!(obligation, Obligation::Cap(most) if bytes > *most))
}

/// [`shown`] for the result of a tool.
pub(crate) fn shown_of_tool(
    obligations: &BTreeSet<Obligation>,
    result: &RawValue,
) -> Result<Option<Box<RawValue>>, String> {
    let target = Target::Tool(Named { name: Cow::Borrowed(""), arguments: None });
    shown(obligations, &target, result)
}

/// The result as it may be shown, if it is another than it was.
pub(crate) fn shown(
    obligations: &BTreeSet<Obligation>,
    target: &Target<'_>,
    result: &RawValue,
) -> Result<Option<Box<RawValue>>, String> {
    let paths: Vec<&Path> = obligations
        .iter()
        .filter_map(|obligation| match obligation {
            Obligation::Redact(path) => Some(path),
            Obligation::Label(_) | Obligation::Cap(_) => None,
        })
        .collect();
    if paths.is_empty() {
        return Ok(None);
    }
    let Ok(Json::Object(members)) = Json::parse(result.get().as_bytes()) else {
        return Err("the result cannot be read, so that nothing could be left out of it".to_owned());
    };
    // Members that are not known could hold anything.
    let kept = members.into_iter().filter_map(|(name, value)| {
        let value = match (name.as_str(), target) {
            ("structuredContent", Target::Tool(_)) => redacted(&value, &paths),
            ("content", Target::Tool(_)) => each(&value, |block| content(block, &paths)),
            ("messages", Target::Prompt(_)) => each(&value, |message| inner(message, "content", &paths)),
            ("contents", Target::Resource { .. }) => each(&value, |part| resource(part, &paths)),
            ("completion", Target::Completion { .. }) => {
                Json::Object(vec![("values".to_owned(), Json::Array(vec![]))])
            }
            ("isError" | "resultType" | "ttlMs" | "cacheScope", _) => value,
            _ => return None,
        };
        Some((name, value))
    });
    let text = Json::Object(kept.collect()).canonical();
    RawValue::from_string(text).map(Some).map_err(|cause| cause.to_string())
}

fn each(list: &Json, shown: impl Fn(&Json) -> Json) -> Json {
    Json::Array(list.as_array().unwrap_or_default().iter().map(shown).collect())
}

/// One block of content. What is no text cannot be told apart.
fn content(block: &Json, paths: &[&Path]) -> Json {
    let text = block
        .get("text")
        .and_then(Json::as_str)
        .filter(|_| block.get("type").and_then(Json::as_str) == Some("text"));
    let text = redacted_text(text.unwrap_or_default(), paths);
    Json::Object(vec![
        ("type".to_owned(), Json::String("text".to_owned())),
        ("text".to_owned(), Json::String(text)),
    ])
}

fn inner(message: &Json, member: &str, paths: &[&Path]) -> Json {
    let role = message.get("role").cloned().unwrap_or(Json::Null);
    let block = message.get(member).map_or(Json::Null, |block| content(block, paths));
    Json::Object(vec![("role".to_owned(), role), (member.to_owned(), block)])
}

fn resource(part: &Json, paths: &[&Path]) -> Json {
    let uri = part.get("uri").cloned().unwrap_or(Json::Null);
    let text = redacted_text(part.get("text").and_then(Json::as_str).unwrap_or_default(), paths);
    Json::Object(vec![("uri".to_owned(), uri), ("text".to_owned(), Json::String(text))])
}
