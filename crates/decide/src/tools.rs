//! Layer 3: the tool as pinned, and arguments that are valid and read one way only.

use warrantor_model::{
    Call, Definition, Finding, Json, Kind, ReasonCode,
    path::{self, Step},
};

use crate::{
    kind::canonical,
    places::{cut, shown},
    shape::Declared,
    snapshot::{Snapshot, ToolFacts},
};

/// Most findings about arguments; one is enough to refuse.
const MAX_FINDINGS: usize = 8;

pub(crate) fn judge(snapshot: &Snapshot, call: &Call) -> Vec<Finding> {
    let Some(facts) = snapshot.facts(&call.tool) else {
        let detail = format!("{} is in no manifest", call.tool);
        return vec![Finding::new(ReasonCode::ToolNotAvailable, detail).by(call.tool.to_string())];
    };
    let mut findings = match call.definition {
        Definition::AsPinned => Vec::new(),
        Definition::Changed => {
            vec![
                Finding::new(ReasonCode::ToolChanged, "the server's definition differs from the pinned one")
                    .by(call.tool.to_string()),
            ]
        }
        Definition::NotSeen => {
            let detail = "the server does not offer the tool, or has not said what it offers";
            vec![Finding::new(ReasonCode::ToolNotAvailable, detail).by(call.tool.to_string())]
        }
    };
    findings.extend(arguments(facts, &call.arguments));
    findings
}

fn arguments(facts: &ToolFacts, arguments: &Json) -> Vec<Finding> {
    let invalid = |detail: String| Finding::new(ReasonCode::ArgumentsInvalid, detail);
    if arguments.as_object().is_none() {
        return vec![invalid(format!("the arguments are {}, not an object", arguments.type_name()))];
    }
    let mut findings = Vec::new();
    match arguments.to_value() {
        None => findings.push(
            invalid("a number is beyond the range of a double".into())
                .saying("A number in the arguments is out of range."),
        ),
        Some(value) => findings.extend(facts.validator.iter_errors(&value).take(MAX_FINDINGS).map(|error| {
            let place = error.instance_path().to_string();
            // The message quotes the value, which may be as long as the call.
            let error = cut(&error.to_string());
            invalid(error.clone())
                .by(cut(place.trim_start_matches('/')))
                .saying(format!("The arguments are not valid for this tool: {error}."))
        })),
    }
    path::walk(arguments, &mut Vec::new(), &mut |location, value| {
        if findings.len() < MAX_FINDINGS
            && let Some(finding) = place(facts, location, value)
        {
            findings.push(finding);
        }
    });
    findings
}

/// What is wrong with the value at one place.
fn place(facts: &ToolFacts, location: &[Step], value: &Json) -> Option<Finding> {
    match facts.shape.declares(location) {
        Declared::Not => undeclared(facts, location),
        Declared::Allowed => {
            ambiguous_name(facts, location).or_else(|| ambiguous_value(facts, location, value))
        }
        Declared::Named => ambiguous_value(facts, location, value),
    }
}

fn undeclared(facts: &ToolFacts, location: &[Step]) -> Option<Finding> {
    // Below an undeclared member everything is undeclared; its own finding is enough.
    let (_, above) = location.split_last()?;
    if !above.is_empty() && facts.shape.declares(above) == Declared::Not {
        return None;
    }
    let at = shown(location);
    let detail = format!("{at} is not named by the tool's input schema");
    let sentence = format!("There is no argument {at} here.");
    Some(Finding::new(ReasonCode::ArgumentsInvalid, detail).by(at).saying(sentence))
}

/// A name that the schema leaves open, where the manifest gives names a kind.
fn ambiguous_name(facts: &ToolFacts, location: &[Step]) -> Option<Finding> {
    let Some(Step::Member(name)) = location.last() else { return None };
    unreadable("name", location, name, facts.key_rule(location)?.kind?)
}

fn ambiguous_value(facts: &ToolFacts, location: &[Step], value: &Json) -> Option<Finding> {
    let Json::String(text) = value else { return None };
    unreadable("argument", location, text, facts.kind(location)?)
}

fn unreadable(what: &str, location: &[Step], text: &str, kind: Kind) -> Option<Finding> {
    // An empty string is absent or judged by bounds; it cannot be read two ways.
    if text.is_empty() {
        return None;
    }
    let why = canonical(kind, text).err()?;
    let at = shown(location);
    let word = match kind {
        Kind::Text => String::new(),
        kind => format!(" as a {}", format!("{kind:?}").to_lowercase()),
    };
    let sentence = format!("The {what} {at} cannot be read with certainty{word}: it {why}.");
    let detail = format!("{:?} {why}", cut(text));
    Some(Finding::new(ReasonCode::ArgumentsInvalid, detail).by(at).saying(sentence))
}
