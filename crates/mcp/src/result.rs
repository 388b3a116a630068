//! What upstreams answer: the kinds of results, and the view of a tool's result that inspection needs.
//!
//! Views only read. A result that is let through is passed on as the slice that arrived.

use std::borrow::Cow;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    ShapeError,
    members::{self, Members},
};

/// Why an upstream's result is refused. The upstream's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ResultError {
    /// It does not have its method's shape.
    #[error("the upstream's answer is malformed: {0}")]
    Shape(#[from] ShapeError),
    /// A `resultType` that is not known.
    #[error("the upstream's answer has the unknown result type {found:?}")]
    UnknownType {
        /// What it says, cut to 80 characters.
        found: String,
    },
    /// A result of another type than `complete` where only that makes sense.
    #[error("the upstream's answer to this method must be complete")]
    NotComplete,
    /// A version that is not spoken here, or of the wrong era.
    #[error("the upstream answers with the protocol version {offered:?}, which is not supported")]
    Version {
        /// What it offers, cut to 80 characters.
        offered: String,
    },
    /// No version of its list is spoken here.
    #[error("the upstream supports no protocol version that is supported here")]
    NoCommonVersion,
    /// Two tools of one name: a call could mean either.
    #[error("the upstream lists the tool {name:?} twice")]
    DuplicateTool {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// A `serverInfo` over [`crate::meta::MAX_INFO_BYTES`].
    #[error("the upstream's `serverInfo` is longer than {} bytes", crate::meta::MAX_INFO_BYTES)]
    InfoTooLong,
}

/// What a result is. Results of legacy peers have no type and are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// The answer.
    Complete,
    /// The upstream asks the client for more first (elicitation, sampling, roots).
    InputRequired,
    /// The answer will come as a task.
    Task,
}

impl ResultKind {
    /// Reads the `resultType` of a result.
    ///
    /// # Errors
    /// [`ResultError`] when the result is no object or its type is not known.
    pub fn of(result: &RawValue) -> Result<Self, ResultError> {
        Self::read(&Members::read(result, "result")?)
    }

    pub(crate) fn read(members: &Members<'_>) -> Result<Self, ResultError> {
        match members.text("resultType", usize::MAX)?.as_deref() {
            None | Some("complete") => Ok(Self::Complete),
            Some("input_required") => Ok(Self::InputRequired),
            Some("task") => Ok(Self::Task),
            Some(other) => Err(ResultError::UnknownType { found: members::shown(other) }),
        }
    }
}

/// Splits a result that must be complete.
pub(crate) fn complete(result: &RawValue) -> Result<Members<'_>, ResultError> {
    let members = Members::read(result, "result")?;
    match ResultKind::read(&members)? {
        ResultKind::Complete => Ok(members),
        ResultKind::InputRequired | ResultKind::Task => Err(ResultError::NotComplete),
    }
}

/// The result of a completed `tools/call`.
#[derive(Debug)]
pub struct ToolResult<'a> {
    /// The content blocks, in order.
    pub content: Vec<ContentBlock<'a>>,
    /// The structured content, an object or, from 2026-07-28 on, any value.
    pub structured: Option<&'a RawValue>,
    /// Whether the tool says that it failed.
    pub is_error: bool,
    /// Whatever else is in it: metadata, and members that came later.
    pub others: Vec<&'a RawValue>,
}

/// One block of content.
#[derive(Debug)]
pub struct ContentBlock<'a> {
    /// Its type: `text`, `image`, `audio`, `resource_link`, `resource`, or one that came later.
    pub kind: Cow<'a, str>,
    /// Its text, unescaped, when its type is `text`.
    pub text: Option<Cow<'a, str>>,
    /// Whatever stands beside its type and its text.
    pub others: Vec<&'a RawValue>,
    /// All of it.
    pub raw: &'a RawValue,
}

impl<'a> ToolResult<'a> {
    /// Reads a completed result of `tools/call`.
    ///
    /// # Errors
    /// [`ResultError`] when it is not complete, or does not have the shape of a tool's result.
    pub fn parse(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let content = members.need("content", members.get("content"))?;
        let content = members::elements(content).ok_or_else(|| members.wrong("content", "an array"))?;
        let is_error = match members.get("isError").map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(members.wrong("isError", "a boolean").into()),
        };
        Ok(Self {
            content: content.into_iter().map(ContentBlock::read).collect::<Result<_, _>>()?,
            structured: members.get("structuredContent"),
            is_error,
            others: members.beside(&["content", "structuredContent", "isError", "resultType"]),
        })
    }
}

impl<'a> ContentBlock<'a> {
    fn read(raw: &'a RawValue) -> Result<Self, ResultError> {
        let members = Members::read(raw, "content")?;
        let kind = members.need("type", members.text("type", usize::MAX)?)?;
        let text = match kind.as_ref() {
            "text" => Some(members.need("text", members.text("text", usize::MAX)?)?),
            _ => None,
        };
        let others = members.beside(&["type", "text"]);
        Ok(Self { kind, text, others, raw })
    }

    /// Longest block that is told whole, in bytes: images and sounds are long and say nothing that could be compared.
    const MAX_DESCRIBED: usize = 256 << 10;

    /// The block as text that can be searched: all of it, but for the data of images and sounds.
    #[must_use]
    pub fn described(&self) -> String {
        let data = matches!(self.kind.as_ref(), "image" | "audio");
        if data && self.raw.get().len() > Self::MAX_DESCRIBED {
            return format!("[{} of {} bytes]", self.kind, self.raw.get().len());
        }
        self.raw.get().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_result_without_a_type_is_complete_and_an_unknown_type_is_refused() {
        for (json, kind) in [
            ("{}", Ok(ResultKind::Complete)),
            (r#"{"resultType":"complete"}"#, Ok(ResultKind::Complete)),
            (r#"{"resultType":"input_required"}"#, Ok(ResultKind::InputRequired)),
            (r#"{"resultType":"task"}"#, Ok(ResultKind::Task)),
            (r#"{"resultType":"Complete"}"#, Err(ResultError::UnknownType { found: "Complete".into() })),
        ] {
            assert_eq!(ResultKind::of(raw(json)), kind, "{json}");
        }
        assert!(ResultKind::of(raw(r#"{"resultType":null}"#)).is_err());
    }

    #[test]
    fn a_tool_s_result_shows_its_texts_and_its_structure() {
        let json = r#"{"content":[{"type":"text","text":"\u0061"},{"type":"image","data":"","mimeType":"image/png"}],
            "structuredContent":{"n":1.10},"isError":true}"#;
        let result = ToolResult::parse(raw(json)).unwrap();
        let blocks: Vec<_> = result.content.iter().map(|b| (b.kind.as_ref(), b.text.as_deref())).collect();
        assert_eq!(blocks, [("text", Some("a")), ("image", None)]);
        assert_eq!((result.structured.unwrap().get(), result.is_error), (r#"{"n":1.10}"#, true));
    }

    #[test]
    fn what_is_no_completed_tool_result_is_refused() {
        for json in [
            "{}",
            "[]",
            r#"{"content":{}}"#,
            r#"{"content":["text"]}"#,
            r#"{"content":[{"text":"a"}]}"#,
            r#"{"content":[{"type":"text"}]}"#,
            r#"{"content":[{"type":"text","text":1}]}"#,
            r#"{"content":[],"isError":"false"}"#,
            r#"{"content":[],"resultType":"input_required"}"#,
        ] {
            assert!(ToolResult::parse(raw(json)).is_err(), "{json} was taken");
        }
    }
}
