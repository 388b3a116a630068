//! What came of a step, as it really was, and whether that is what the story expects.

use rmcp::model::CallToolResult;
use serde::Serialize;
use serde_json::Value;

use super::steps::{Expected, Shows};

/// Where a refusal stands when the tool's own schema claims the structured content.
const REFUSAL_META: &str = "dev.warrantor/refusal";
/// The reason that stands for waiting for a person.
const APPROVAL: &str = "approval_required";

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// The tools that were shown, and those that the office has besides.
    Tools {
        /// Shown to the agent.
        shown: Vec<String>,
        /// Not shown.
        hidden: Vec<String>,
    },
    /// The call took effect and the tool answered.
    Passed {
        /// The part of the result that is told.
        told: Option<String>,
        /// The structured result.
        result: Value,
    },
    /// The call was refused, or waits for a person.
    Refused(Refused),
    /// A person said yes to a call.
    Approved {
        /// The decision that asked.
        question: String,
        /// The person.
        person: String,
        /// The program's own answer.
        answer: Value,
    },
    /// A person is suspended.
    Suspended {
        /// The person.
        person: String,
        /// The program's own answer.
        answer: Value,
    },
    /// The office performed exactly what passed.
    Witnessed {
        /// How many calls.
        calls: usize,
        /// The ones of them that were no reading, in words.
        acts: Vec<String>,
    },
    /// Why an earlier call ended as it did.
    Explained {
        /// The decision.
        decision_id: String,
        /// The place of its record in the log.
        index: u64,
        /// Who handed what to whom, and who answers.
        chain: Vec<String>,
        /// Each reason, with values.
        findings: Vec<String>,
        /// The program's own answer.
        answer: Value,
    },
    /// The log is as it was written.
    Intact {
        /// How many records.
        size: u64,
        /// Up to which a signed checkpoint vouches.
        signed: u64,
        /// The root over them.
        root: String,
        /// The program's own answer.
        answer: Value,
    },
    /// The log is not as it was written.
    Tampered {
        /// What was done to it, if it was us.
        tampering: Option<Tampering>,
        /// What was found, first what was found at the record that we changed.
        findings: Vec<String>,
        /// Whether the changed record is among what was found.
        located: bool,
        /// The program's own answer.
        answer: Value,
    },
    /// It could not be done.
    Failed {
        /// Why, with every cause.
        why: String,
    },
}

/// A refusal as it reached the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The decision's id.
    pub decision_id: String,
    /// The stable reason code.
    pub reason: String,
    /// What the agent was told.
    pub sentence: String,
    /// What it can do.
    pub next_step: String,
}

/// What was done to a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tampering {
    /// The place of the record in the log.
    pub record: u64,
    /// The change.
    pub change: String,
}

impl Refused {
    /// Whether the call waits for a person.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.reason == APPROVAL
    }
}

impl Answer {
    /// A tool's result.
    pub(crate) fn of_call(result: CallToolResult, shows: Option<Shows>) -> Self {
        let text = || result.content.first().and_then(|block| block.as_text()).map(|text| text.text.clone());
        if result.is_error != Some(true) {
            let Some(result) = result.structured_content else {
                let why = "the result has no structured content".to_owned();
                return Self::Failed { why };
            };
            let told = shows.and_then(|shows| told(&result, shows));
            return Self::Passed { told, result };
        }
        let meta = result.meta.as_ref().and_then(|meta| meta.get(REFUSAL_META));
        match result.structured_content.as_ref().or(meta).and_then(refused) {
            Some(refused) => Self::Refused(refused),
            None => {
                Self::Failed { why: text().unwrap_or_else(|| "the tool failed and said nothing".to_owned()) }
            }
        }
    }

    /// `warrantor explain ID -o json`.
    pub(crate) fn of_explanation(answer: Value) -> Self {
        match explained(&answer) {
            Some((decision_id, index, chain, findings)) if !findings.is_empty() => {
                Self::Explained { decision_id, index, chain, findings, answer }
            }
            _ => Self::Failed { why: format!("the explanation says too little: {answer}") },
        }
    }

    /// `warrantor audit verify -o json`, perhaps after tampering.
    pub(crate) fn of_verification(tampering: Option<Tampering>, answer: Value) -> Self {
        let number = |name| answer.get(name).and_then(Value::as_u64);
        let root = answer.get("root").and_then(Value::as_str).map(str::to_owned);
        let sizes = number("size").zip(number("signed")).zip(root);
        match (answer.get("ok").and_then(Value::as_bool), found(&answer), sizes) {
            (Some(true), Some(found), Some(((size, signed), root))) if found.is_empty() => {
                Self::Intact { size, signed, root, answer }
            }
            (Some(false), Some(mut found), _) if !found.is_empty() => {
                let record = tampering.as_ref().map(|tampering| tampering.record);
                found.sort_by_key(|(index, _)| index.is_none() || *index != record);
                let located = found.iter().any(|(index, _)| index.is_some() && *index == record);
                let findings = found.into_iter().map(|(_, message)| message).collect();
                Self::Tampered { tampering, findings, located, answer }
            }
            _ => Self::Failed { why: format!("the verification contradicts itself: {answer}") },
        }
    }

    /// Whether this is what the story expects.
    pub(crate) fn is(&self, expected: Expected) -> bool {
        match (self, expected) {
            (Self::Tools { hidden, .. }, Expected::AllToolsBut(but)) => hidden == but,
            (Self::Passed { told, .. }, Expected::Pass) => told.as_ref().is_none_or(|told| !told.is_empty()),
            (Self::Refused(refused), Expected::Deny(reason)) => !refused.asks() && refused.reason == reason,
            (Self::Refused(refused), Expected::Ask) => refused.asks(),
            (Self::Explained { findings, .. }, Expected::Explained(wanted)) => {
                wanted.iter().all(|word| findings.iter().any(|finding| finding.contains(word)))
            }
            (Self::Approved { .. } | Self::Suspended { .. } | Self::Witnessed { .. }, Expected::InOrder) => {
                true
            }
            (Self::Intact { size, signed, .. }, Expected::InOrder) => *size > 0 && signed == size,
            (Self::Tampered { located, .. }, Expected::Found) => *located,
            _ => false,
        }
    }

    /// The decision's word, where there was one.
    #[must_use]
    pub fn decision(&self) -> Option<&'static str> {
        match self {
            Self::Passed { .. } => Some("pass"),
            Self::Refused(refused) if refused.asks() => Some("ask"),
            Self::Refused(_) => Some("deny"),
            _ => None,
        }
    }
}

/// Decision, place, chain and findings of an explanation.
fn explained(answer: &Value) -> Option<(String, u64, Vec<String>, Vec<String>)> {
    let text = |of: &Value, name| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let hop = |hop: &Value| {
        let (person, mandate, agent) = (text(hop, "person")?, text(hop, "template")?, text(hop, "agent")?);
        Some(format!("{person} handed {mandate} to {agent}, {} answers for it", text(hop, "sponsor")?))
    };
    let finding = |finding: &Value| Some(format!("{}: {}", text(finding, "code")?, text(finding, "detail")?));
    let list = |pointer| answer.pointer(pointer).and_then(Value::as_array);
    Some((
        text(answer.get("record")?, "id")?,
        answer.get("index")?.as_u64()?,
        list("/record/event/chain")?.iter().map(hop).collect::<Option<_>>()?,
        list("/body/content/findings")?.iter().map(finding).collect::<Option<_>>()?,
    ))
}

/// The findings of a verification, each with the place it names.
fn found(answer: &Value) -> Option<Vec<(Option<u64>, String)>> {
    let finding = |finding: &Value| {
        let message = finding.get("message")?.as_str()?.to_owned();
        Some((finding.get("index").and_then(Value::as_u64), message))
    };
    answer.get("findings")?.as_array()?.iter().map(finding).collect()
}

fn refused(fields: &Value) -> Option<Refused> {
    let text = |name| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Refused {
        decision_id: text("decision")?,
        reason: text("reason")?,
        sentence: text("message").or_else(|| text("sentence"))?,
        next_step: text("next_step")?,
    })
}

/// The part of a result that is told, on one line. Empty when it is not where the story looks for it.
fn told(result: &Value, shows: Shows) -> Option<String> {
    let line = result.pointer(shows.pointer).map(brief).unwrap_or_default();
    let part = line.find(shows.from).and_then(|at| line.get(at..)).unwrap_or_default();
    Some(if part.is_empty() { String::new() } else { format!("{}{part}", shows.label) })
}

/// A value on one line: of records the names, of texts the words without markup.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => words(text),
        Value::Array(items) => items.iter().map(brief).collect::<Vec<_>>().join(" · "),
        Value::Object(members) => {
            let name = ["subject", "name", "id"].iter().find_map(|field| members.get(*field));
            name.map_or_else(|| value.to_string(), brief)
        }
        other => other.to_string(),
    }
}

fn words(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                plain.push(' ');
            }
            _ if inside => {}
            c => plain.push(c),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(value: Value) -> CallToolResult {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn refusals_are_read_from_either_place_and_tell_asks_from_denials() {
        let fields = |reason: &str| json!({ "decision": "d-1", "reason": reason, "message": "No.", "next_step": "none" });
        for (reason, word) in [("limit_reached", "deny"), ("approval_required", "ask")] {
            for refusal in [
                json!({ "isError": true, "content": [], "structuredContent": fields(reason) }),
                json!({ "isError": true, "content": [], "_meta": { "dev.warrantor/refusal": fields(reason) } }),
            ] {
                let answer = Answer::of_call(result(refusal), None);
                assert_eq!(answer.decision(), Some(word), "{answer:?}");
                assert_eq!(answer.is(Expected::Ask), word == "ask");
                assert_eq!(answer.is(Expected::Deny(reason)), word == "deny");
                assert!(!answer.is(Expected::Pass) && !answer.is(Expected::Deny("other")));
            }
        }
    }

    #[test]
    fn a_tool_s_own_failure_is_neither_a_refusal_nor_a_pass() {
        let failed = Answer::of_call(
            result(json!({ "isError": true, "content": [{ "type": "text", "text": "no such mail" }] })),
            None,
        );
        assert_eq!(failed, Answer::Failed { why: "no such mail".into() });
        assert!(
            !failed.is(Expected::Pass) && !failed.is(Expected::Deny("x")) && !failed.is(Expected::InOrder)
        );
    }

    #[test]
    fn what_is_told_of_a_result_is_one_line_and_missing_parts_are_not_passed_over() {
        let structured = json!({ "mail": { "body": "<p>Hello,</p>\n<b>note:  pay</b> now" }, "list": [{ "id": "a", "name": "A" }, { "id": "b" }] });
        for (pointer, from, wanted) in [
            ("/mail/body", "", "Hello, note: pay now"),
            ("/mail/body", "note", "note: pay now"),
            ("/list", "", "A · b"),
            ("/mail/body", "absent", ""),
            ("/none", "", ""),
        ] {
            let answer = Answer::of_call(
                result(json!({ "content": [], "structuredContent": structured })),
                Some(Shows { label: "", pointer, from }),
            );
            let Answer::Passed { told, .. } = &answer else { panic!("{answer:?}") };
            assert_eq!(told.as_deref(), Some(wanted), "{pointer} {from}");
            assert_eq!(answer.is(Expected::Pass), !wanted.is_empty());
        }
    }

    #[test]
    fn a_verification_is_believed_only_if_it_agrees_with_itself_and_with_the_tampering() {
        let at = |index: u64| json!([{ "message": "the tail was cut" }, { "index": index, "message": "it was changed" }]);
        let nowhere = json!([{ "message": "something" }]);
        let intact = json!({ "ok": true, "size": 4, "signed": 4, "root": "r", "findings": [] });
        for (answer, expected) in [
            (intact, Some(Expected::InOrder)),
            (json!({ "ok": true, "size": 4, "signed": 3, "root": "r", "findings": [] }), None),
            (json!({ "ok": true, "size": 0, "signed": 0, "root": "r", "findings": [] }), None),
            (json!({ "ok": true, "size": 4, "signed": 4, "root": "r", "findings": nowhere }), None),
            (
                json!({ "ok": false, "size": 4, "signed": 4, "root": "r", "findings": at(3) }),
                Some(Expected::Found),
            ),
            (json!({ "ok": false, "size": 4, "signed": 4, "root": "r", "findings": at(2) }), None),
            (json!({ "ok": false, "size": 4, "signed": 4, "root": "r", "findings": nowhere }), None),
            (json!({ "ok": false, "size": 4, "signed": 4, "root": "r", "findings": [] }), None),
            (json!({ "ok": true }), None),
        ] {
            let tampering = Tampering { record: 3, change: "x".into() };
            let told = Answer::of_verification(Some(tampering), answer.clone());
            for kind in [Expected::InOrder, Expected::Found] {
                assert_eq!(told.is(kind), expected == Some(kind), "{answer}");
            }
            if let Answer::Tampered { findings, located: true, .. } = told {
                assert_eq!(findings, ["it was changed", "the tail was cut"]);
            }
        }
    }

    #[test]
    fn an_explanation_has_to_name_what_the_story_speaks_of() {
        let hop = json!({ "person": "a", "template": "m", "agent": "b", "sponsor": "c" });
        let findings = json!([{ "code": "argument_out_of_bounds", "detail": "recipient must be …" }]);
        let answer = json!({
            "index": 3,
            "record": { "id": "d-1", "event": { "chain": [hop] } },
            "body": { "content": { "findings": findings } }
        });
        let told = Answer::of_explanation(answer.clone());
        assert!(told.is(Expected::Explained(&["recipient"])));
        assert!(!told.is(Expected::Explained(&["recipient", "guard"])));
        for missing in ["index", "record", "body"] {
            let mut answer = answer.clone();
            answer.as_object_mut().unwrap().remove(missing);
            assert!(matches!(Answer::of_explanation(answer), Answer::Failed { .. }), "{missing}");
        }
    }
}
