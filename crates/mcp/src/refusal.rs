//! A refusal as a tool's result, for the agent that called.
//!
//! It is a result and not a protocol error because language models read results: the text says that the call was not made,
//! why, and what to do next. Programs read the same from the structured content.

use crate::{Era, Fragment, RpcError, fragment::ObjectWriter};

/// The member of `_meta` that carries the refusal where the structured content is not ours to fill.
pub const REFUSAL_META: &str = "dev.warrantor/refusal";

/// What the caller may know of a refusal. Plain fields; they are made on a higher floor.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// The decision's id, for the person who looks it up.
    pub decision: &'a str,
    /// The stable reason code.
    pub reason: &'a str,
    /// One sentence that leaks no policy.
    pub sentence: &'a str,
    /// The code of the next step: `narrow_call`, `request_approval`, `request_mandate`, `contact_owner` or `none`.
    pub next_step: &'a str,
}

/// Whether the called tool declares an `outputSchema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputSchema {
    /// It does, and clients hold structured content against it even in errors (the TypeScript SDK then throws, and the model never sees
    /// the refusal). So there is none; the refusal is in `_meta`.
    Declared,
    /// It does not.
    None,
}

impl Refusal<'_> {
    /// The result of a `tools/call` that was refused.
    #[must_use]
    pub fn to_result(&self, era: Era, schema: OutputSchema) -> Fragment<'static> {
        let block = ObjectWriter::new().text("type", "text").text("text", &self.text()).finish();
        let fields = ObjectWriter::new()
            .text("decision", self.decision)
            .text("reason", self.reason)
            .text("message", self.sentence)
            .text("next_step", self.next_step)
            .finish();
        let out = match era {
            Era::Modern => ObjectWriter::new().text("resultType", "complete"),
            Era::Legacy => ObjectWriter::new(),
        };
        let out = out.member("content", &Fragment::array([block]));
        let out = match schema {
            OutputSchema::None => out.member("structuredContent", &fields),
            OutputSchema::Declared => {
                out.member("_meta", &ObjectWriter::new().member(REFUSAL_META, &fields).finish())
            }
        };
        out.member("isError", &Fragment::boolean(true)).finish()
    }

    /// The error with which the use of anything but a tool is refused: what is hidden answers as what is not there.
    #[must_use]
    pub fn to_rpc(&self, code: i64, resource: Option<&str>) -> RpcError {
        let mut data = ObjectWriter::new()
            .text("decision", self.decision)
            .text("reason", self.reason)
            .text("next_step", self.next_step);
        if let Some(uri) = resource {
            data = data.text("uri", uri);
        }
        RpcError { code, message: one_line(self.sentence), data: Some(data.finish()) }
    }

    /// Two lines: what happened, and what to do.
    fn text(&self) -> String {
        let sentence = one_line(self.sentence);
        let first = format!("This call was refused and not made ({}): {sentence}", self.reason);
        format!("{first}\n{} Decision {}.", self.advice(), self.decision)
    }

    fn advice(&self) -> &'static str {
        match self.next_step {
            "narrow_call" => "Change the call so that it stays within what was granted, then call again.",
            "request_approval" => {
                "A person has to approve exactly this call: tell the user, and repeat it unchanged once they have."
            }
            "request_mandate" => {
                "Ask the user for a mandate that covers this; until then, do not repeat the call."
            }
            "contact_owner" => {
                "Tell the user that this agent's owner has to look into it; do not repeat the call."
            }
            _ => "Do not repeat the call; go on without it, or tell the user that it cannot be done.",
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: Refusal<'_> = Refusal {
        decision: "d-1",
        reason: "limit_reached",
        sentence: "The mandate allows\none payment.",
        next_step: "request_mandate",
    };

    const FIELDS: &str = r#"{"decision":"d-1","reason":"limit_reached","message":"The mandate allows\none payment.","next_step":"request_mandate"}"#;

    const CONTENT: &str = r#""content":[{"type":"text","text":"This call was refused and not made (limit_reached): The mandate allows one payment.\nAsk the user for a mandate that covers this; until then, do not repeat the call. Decision d-1."}]"#;

    #[test]
    fn a_refusal_is_a_failed_result_of_its_era() {
        for (era, schema, wanted) in [
            (
                Era::Legacy,
                OutputSchema::None,
                format!(r#"{{{CONTENT},"structuredContent":{FIELDS},"isError":true}}"#),
            ),
            (
                Era::Modern,
                OutputSchema::None,
                format!(
                    r#"{{"resultType":"complete",{CONTENT},"structuredContent":{FIELDS},"isError":true}}"#
                ),
            ),
            (
                Era::Legacy,
                OutputSchema::Declared,
                format!(r#"{{{CONTENT},"_meta":{{"dev.warrantor/refusal":{FIELDS}}},"isError":true}}"#),
            ),
        ] {
            assert_eq!(REFUSAL.to_result(era, schema).as_str(), wanted);
        }
    }

    #[test]
    fn every_next_step_says_what_to_do_in_two_lines() {
        let mut seen = std::collections::HashSet::new();
        for next_step in ["narrow_call", "request_approval", "request_mandate", "contact_owner", "none"] {
            let text = Refusal { next_step, ..REFUSAL }.text();
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(seen.insert(text), "{next_step} says nothing of its own");
        }
    }
}
