//! What upstreams answer: the kinds of results, and the view of a tool's result that inspection needs.
//!
//! Views only read. A result that is let through is passed on as the slice that arrived.

use std::borrow::Cow;

use serde_json::value::RawValue;
use thiserror::Error;

use crate::{
    Era, Fragment, RpcError, ShapeError,
    fragment::ObjectWriter,
    members::{self, Members},
    rpc,
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
    pub others: Vec<String>,
}

/// One block of content.
#[derive(Debug)]
pub struct ContentBlock<'a> {
    /// Its type: `text`, `image`, `audio`, `resource_link`, `resource`, or one that came later.
    pub kind: Cow<'a, str>,
    /// Its text, unescaped, when its type is `text`.
    pub text: Option<Cow<'a, str>>,
    /// Whatever stands beside its type and its text.
    pub others: Vec<String>,
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

/// What the result of using something says, for inspection.
#[derive(Debug, Default)]
pub struct Shown<'a> {
    /// Texts, unescaped, in order.
    pub texts: Vec<Cow<'a, str>>,
    /// Whatever else is in it.
    pub others: Vec<String>,
}

impl<'a> Shown<'a> {
    /// Reads a completed result of `prompts/get`.
    ///
    /// # Errors
    /// [`ResultError`] when it is not complete, or does not have that shape.
    pub fn prompt(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let messages = members.need("messages", members.get("messages"))?;
        let messages = members::elements(messages).ok_or_else(|| members.wrong("messages", "an array"))?;
        let mut shown = Self { others: members.beside(&["messages", "resultType"]), ..Self::default() };
        for message in messages {
            let message = Members::read(message, "message")?;
            let block = ContentBlock::read(message.need("content", message.get("content"))?)?;
            match block.text {
                Some(text) => {
                    shown.texts.push(text);
                    shown.others.extend(block.others);
                }
                None => shown.others.push(block.described()),
            }
            shown.others.extend(message.beside(&["content"]));
        }
        Ok(shown)
    }

    /// Reads a completed result of `resources/read`.
    ///
    /// # Errors
    /// As [`Shown::prompt`].
    pub fn resource(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let contents = members.need("contents", members.get("contents"))?;
        let contents = members::elements(contents).ok_or_else(|| members.wrong("contents", "an array"))?;
        let beside = members.beside(&["contents", "resultType", "ttlMs", "cacheScope"]);
        let mut shown = Self { others: beside, ..Self::default() };
        for content in contents {
            let content = Members::read(content, "content")?;
            shown.texts.extend(content.text("text", usize::MAX)?);
            shown.others.extend(content.beside(&["text", "blob"]));
            shown.others.extend(content.get("blob").map(|blob| match blob.get().len() {
                long if long > ContentBlock::MAX_DESCRIBED => format!("[blob of {long} bytes]"),
                _ => blob.get().to_owned(),
            }));
        }
        Ok(shown)
    }

    /// Reads a completed result of `completion/complete`.
    ///
    /// # Errors
    /// As [`Shown::prompt`].
    pub fn completion(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = complete(result)?;
        let completion = members.need("completion", members.object("completion")?)?;
        let completion = Members::read(completion, "completion")?;
        let values = completion.need("values", completion.get("values"))?;
        let texts = members::elements(values)
            .and_then(|values| values.into_iter().map(members::text).collect::<Option<Vec<_>>>())
            .ok_or_else(|| completion.wrong("values", "an array of strings"))?;
        let others = [members.beside(&["completion", "resultType"]), completion.beside(&["values"])].concat();
        Ok(Self { texts, others })
    }

    /// Reads a completed result that says nothing.
    ///
    /// # Errors
    /// [`ResultError`] when it is not complete.
    pub fn nothing(result: &'a RawValue) -> Result<Self, ResultError> {
        Ok(Self { others: complete(result)?.beside(&["resultType"]), ..Self::default() })
    }
}

/// The result of `resources/read`, for one caller alone. What is said of caching is written anew: in the older era nothing, in the newer one that it is
/// private, and how long it may be kept; not at all when it answers a retry.
///
/// # Errors
/// [`ResultError`] when it is no object.
pub fn made_private(result: &RawValue, era: Era, is_retry: bool) -> Result<Fragment<'static>, ResultError> {
    let members = Members::read(result, "result")?;
    let kept = members.iter().filter(|(name, _)| !matches!(*name, "cacheScope" | "ttlMs"));
    let out = kept.fold(ObjectWriter::new(), |out, (name, raw)| out.member(name, &Fragment::from(raw)));
    Ok(match era {
        Era::Legacy => out.finish(),
        Era::Modern => {
            let lasts = if is_retry { 0 } else { lifetime(&members) };
            out.member("ttlMs", &Fragment::count(lasts)).text("cacheScope", "private").finish()
        }
    })
}

/// A result of a tool with one more text at the end of its content.
///
/// # Errors
/// [`ResultError`] when it is no tool's result.
pub fn with_text(result: &RawValue, text: &str) -> Result<Fragment<'static>, ResultError> {
    let members = Members::read(result, "result")?;
    let content = members.need("content", members.get("content"))?;
    let content = members::elements(content).ok_or_else(|| members.wrong("content", "an array"))?;
    let block = ObjectWriter::new().text("type", "text").text("text", text).finish();
    let content = Fragment::array(content.into_iter().map(Fragment::from).chain([block]));
    let out = members.iter().fold(ObjectWriter::new(), |out, (name, raw)| match name {
        "content" => out.member(name, &content),
        _ => out.member(name, &Fragment::from(raw)),
    });
    Ok(out.finish())
}

/// What a client is sent to a page for: an elicitation by URL of our own.
#[derive(Debug, Clone, Copy)]
pub struct PageToOpen<'a> {
    /// Names it.
    pub id: &'a str,
    /// The page.
    pub url: &'a str,
    /// What for, in words without secrets.
    pub message: &'a str,
}

impl PageToOpen<'_> {
    fn params(&self) -> ObjectWriter {
        ObjectWriter::new()
            .text("mode", "url")
            .text("elicitationId", self.id)
            .text("url", self.url)
            .text("message", self.message)
    }

    /// The result that asks the client to open it and then to ask again with this state (2026-07-28).
    #[must_use]
    pub fn to_result(&self, state: &str) -> Fragment<'static> {
        let asked = ObjectWriter::new()
            .text("method", "elicitation/create")
            .member("params", &self.params().finish())
            .finish();
        let requests = ObjectWriter::new().member(Self::KEY, &asked).finish();
        ObjectWriter::new()
            .text("resultType", "input_required")
            .member("inputRequests", &requests)
            .text("requestState", state)
            .finish()
    }

    /// The error that asks the client to open it and then to ask again (2025-11-25).
    #[must_use]
    pub fn to_rpc(&self) -> RpcError {
        let elicitations = Fragment::array([self.params().finish()]);
        let data = ObjectWriter::new().member("elicitations", &elicitations).finish();
        RpcError { code: rpc::URL_ELICITATION_REQUIRED, message: self.message.to_owned(), data: Some(data) }
    }

    /// The key under which the client answers.
    pub const KEY: &'static str = "approval";
}

/// Whether a client's answer to an elicitation is that it was accepted.
#[must_use]
pub fn is_accepted(answer: &RawValue) -> bool {
    let members = Members::read(answer, "answer").ok();
    members
        .is_some_and(|members| matches!(members.text("action", 16), Ok(Some(action)) if action == "accept"))
}

/// How long a result may be kept, in milliseconds: not at all when nothing is said that can be read.
pub(crate) fn lifetime(members: &Members<'_>) -> u64 {
    members.get("ttlMs").and_then(|raw| raw.get().parse().ok()).unwrap_or_default()
}

/// A result that asks the client for more first (2026-07-28).
#[derive(Debug)]
pub struct InputRequired<'a> {
    /// The questions by their keys: method and parameters.
    pub questions: Vec<(Cow<'a, str>, Cow<'a, str>, Option<&'a RawValue>)>,
    /// The state that the upstream wants back.
    pub state: Option<Cow<'a, str>>,
    requests: Option<&'a RawValue>,
}

impl<'a> InputRequired<'a> {
    /// Most questions of one result.
    const MAX_QUESTIONS: usize = 32;
    /// Longest state of an upstream, in bytes.
    const MAX_STATE_BYTES: usize = 1 << 20;

    /// Reads such a result.
    ///
    /// # Errors
    /// [`ResultError`] when it does not have that shape.
    pub fn parse(result: &'a RawValue) -> Result<Self, ResultError> {
        let members = Members::read(result, "result")?;
        let requests = members.object("inputRequests")?;
        let list = match requests {
            Some(requests) => Members::read(requests, "inputRequests")?.into_list(),
            None => Vec::new(),
        };
        let state = members.text("requestState", Self::MAX_STATE_BYTES)?;
        if list.len() > Self::MAX_QUESTIONS || (list.is_empty() && state.is_none()) {
            return Err(members.wrong("inputRequests", "an object of at most 32 questions").into());
        }
        let mut questions = Vec::new();
        for (key, raw) in list {
            let question = Members::read(raw, "inputRequests")?;
            let method = question.need("method", question.text("method", 128)?)?;
            questions.push((key, method, question.object("params")?));
        }
        Ok(Self { questions, state, requests })
    }

    /// What the client gets: the questions as they were written, and a state of ours.
    #[must_use]
    pub fn to_client(&self, state: &str) -> Fragment<'static> {
        ObjectWriter::new()
            .text("resultType", "input_required")
            .maybe("inputRequests", self.requests.map(Fragment::from).as_ref())
            .text("requestState", state)
            .finish()
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
        match Members::read(self.raw, "content") {
            Ok(members) if data && self.raw.get().len() > Self::MAX_DESCRIBED => {
                let beside = members.beside(&["data"]).join(" ");
                format!("[{} of {} bytes] {beside}", self.kind, self.raw.get().len())
            }
            _ => self.raw.get().to_owned(),
        }
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
    fn other_results_show_their_texts_and_all_that_stands_beside() {
        let prompt = r#"{"description":"d","messages":[{"role":"user","content":{"type":"text","text":"\u0061"}},
            {"role":"user","content":{"type":"resource","resource":{"uri":"x:a","text":"inner"}}}]}"#;
        let shown = Shown::prompt(raw(prompt)).unwrap();
        assert_eq!(shown.texts, ["a"]);
        assert!(shown.others.iter().any(|other| other == r#"{"description":"d"}"#));
        assert!(shown.others.iter().any(|other| other.contains("inner")));
        let read = r#"{"contents":[{"uri":"x:a","text":"t","mimeType":"m"},{"uri":"x:b","blob":"QQ=="}],"ttlMs":1,"cacheScope":"public"}"#;
        let shown = Shown::resource(raw(read)).unwrap();
        assert_eq!(
            (shown.texts, shown.others),
            (
                vec!["t".into()],
                [r#"{"uri":"x:a"}"#, r#"{"mimeType":"m"}"#, r#"{"uri":"x:b"}"#, r#""QQ==""#]
                    .map(str::to_owned)
                    .to_vec()
            )
        );
        let shown = Shown::completion(raw(r#"{"completion":{"values":["a","b"],"total":2}}"#)).unwrap();
        assert_eq!((shown.texts.len(), shown.others), (2, vec![r#"{"total":2}"#.to_owned()]));
        for bad in ["{}", r#"{"messages":[{}]}"#, r#"{"contents":[1]}"#, r#"{"completion":{"values":[1]}}"#] {
            assert!(
                Shown::prompt(raw(bad)).is_err()
                    && Shown::resource(raw(bad)).is_err()
                    && Shown::completion(raw(bad)).is_err(),
                "{bad}"
            );
        }
        assert!(Shown::nothing(raw(r#"{"resultType":"task"}"#)).is_err());
        for (era, is_retry, json, wanted) in [
            (
                Era::Modern,
                false,
                r#"{"cacheScope":"public","ttlMs":5}"#,
                r#"{"ttlMs":5,"cacheScope":"private"}"#,
            ),
            (Era::Modern, true, r#"{"ttlMs":5}"#, r#"{"ttlMs":0,"cacheScope":"private"}"#),
            (Era::Modern, false, r#"{"ttlMs":"pay DE1"}"#, r#"{"ttlMs":0,"cacheScope":"private"}"#),
            (Era::Legacy, false, r#"{"a":1,"cacheScope":"pay DE1"}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(made_private(raw(json), era, is_retry).unwrap().as_str(), wanted);
        }
    }

    #[test]
    fn a_question_goes_to_the_client_with_our_own_state() {
        let json = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":{"a": 1}}},"requestState":"theirs","_meta":{}}"#;
        let required = InputRequired::parse(raw(json)).unwrap();
        assert_eq!((required.questions.len(), required.state.as_deref()), (1, Some("theirs")));
        assert_eq!(
            required.to_client("ours").as_str(),
            r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":{"a": 1}}},"requestState":"ours"}"#
        );
        for bad in [
            "{}",
            r#"{"inputRequests":[]}"#,
            r#"{"inputRequests":{}}"#,
            r#"{"inputRequests":{"k":{}}}"#,
            r#"{"requestState":1}"#,
        ] {
            assert!(InputRequired::parse(raw(bad)).is_err(), "{bad}");
        }
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
