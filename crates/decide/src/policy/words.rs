//! Words that policies compare labels and sources with. Both come from closed vocabularies, so a word that is in neither is a misspelling, and a
//! condition on it would never hold: a forbid would forbid nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use warrantor_model::{Manifest, ServerName, ToolRef};

/// Names of sources that stand for themselves.
const SOURCES: [&str; 10] = [
    "request",
    "quoted",
    "self",
    "person",
    "literal",
    "system",
    "organization",
    "anyone",
    "computed",
    "unknown",
];

/// What is wrong with a policy's words, in sentences.
pub(super) fn unknown_words(
    policy: &Value,
    labels: &BTreeSet<String>,
    manifests: &BTreeMap<ServerName, Manifest>,
) -> Vec<String> {
    let mut found = Vec::new();
    look(policy, &mut |path, word| match path {
        ["task", "labels"] if !labels.contains(word) => {
            let known: Vec<&str> = labels.iter().map(String::as_str).collect();
            found.push(format!("no result is labelled {word:?}; there are: {}", known.join(", ")));
        }
        ["sources", _] if !is_source(word, manifests) => {
            found.push(format!("{word:?} is no name of a source, so no value could come from it"));
        }
        _ => {}
    });
    found
}

/// Gives each text that something below `context` is compared with, and the way to that.
fn look(json: &Value, found: &mut impl FnMut(&[&str], &str)) {
    match json {
        Value::Object(members) => {
            for operator in ["contains", "containsAny", "containsAll"] {
                let Some(operand) = members.get(operator) else { continue };
                let (Some(left), Some(right)) = (operand.get("left"), operand.get("right")) else { continue };
                // Either side may be what is written out.
                for (side, other) in [(left, right), (right, left)] {
                    if let Some(path) = below_context(side) {
                        texts(other).into_iter().for_each(|text| found(&path, text));
                    }
                }
            }
            members.values().for_each(|member| look(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| look(item, found)),
        _ => {}
    }
}

/// The names by which an expression goes down from `context`.
fn below_context(expression: &Value) -> Option<Vec<&str>> {
    if expression.get("Var").and_then(Value::as_str) == Some("context") {
        return Some(Vec::new());
    }
    let access = expression.get(".")?;
    let mut path = below_context(access.get("left")?)?;
    path.push(access.get("attr")?.as_str()?);
    Some(path)
}

/// The texts that an expression writes out.
fn texts(expression: &Value) -> Vec<&str> {
    if let Some(text) = expression.get("Value").and_then(Value::as_str) {
        return vec![text];
    }
    let items = expression.get("Set").and_then(Value::as_array);
    items.into_iter().flatten().flat_map(texts).collect()
}

fn is_source(word: &str, manifests: &BTreeMap<ServerName, Manifest>) -> bool {
    let has_tool = |tool: &str| {
        tool.parse::<ToolRef>().is_ok_and(|tool| {
            manifests.get(&tool.server).is_some_and(|manifest| manifest.tools.contains_key(&tool.tool))
        })
    };
    match word.split_once(':') {
        None => SOURCES.contains(&word),
        Some(("slot", name)) => !name.is_empty(),
        Some(("record", rest)) => rest.split_once('#').is_some_and(|(record, _)| {
            manifests.values().any(|manifest| manifest.records.contains_key(record))
        }),
        Some(("tool", tool)) => has_tool(tool),
        Some(("call", rest)) => rest.split_once('#').is_some_and(|(tool, _)| has_tool(tool)),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn misspelt_labels_and_sources_are_told_and_others_are_not() {
        let labels = BTreeSet::from(["untrusted".to_owned(), "confidential".to_owned()]);
        for (condition, told) in [
            (r#"context.task.labels.contains("confidential")"#, 0),
            (r#"context.task.labels.contains("classified")"#, 1),
            (r#"context.task.labels.containsAny(["untrusted", "secret"])"#, 1),
            (r#"!context.task.labels.containsAll(["a", "b"])"#, 2),
            (r#"["organization", "nobody"].containsAll(context.sources.to)"#, 1),
            (r#"context.sources.body.contains("anyone") || context.sources.to.contains("slot:vendor")"#, 0),
            (r#"context.sources.body.contains("anyon")"#, 1),
            (r#"context.sources.body.contains("record:Mial#body")"#, 1),
            (r#"context.sources.body.contains("tool:bank/none")"#, 1),
            (r#"context.task.effects.contains("nothing") && context.person.mail.contains("x")"#, 0),
        ] {
            let text = format!("forbid(principal, action, resource) when {{ {condition} }};");
            let policy = cedar_policy::Policy::from_str(&text).unwrap().to_json().unwrap();
            assert_eq!(unknown_words(&policy, &labels, &BTreeMap::new()).len(), told, "{condition}");
        }
    }
}
