//! The extension for tasks (2026-07-28): an answer that comes later, under an id.
//!
//! A client gets an id of ours, and of a task's state what is known here: words of the server stand in its result and its questions, and nowhere else.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    Fragment, Meta, ParamsError, ResultError,
    capabilities::Capabilities,
    envelope,
    fragment::ObjectWriter,
    members::{self, Members},
    params::{members as read_params, meta_in},
    result::complete,
};

/// The extension's name.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// Longest id of a task, in bytes.
const MAX_ID_BYTES: usize = 512;
/// Longest instant, in bytes.
const MAX_INSTANT_BYTES: usize = 40;

/// The parameters of `tasks/get`, `tasks/update` and `tasks/cancel`.
#[derive(Debug)]
pub struct TaskParams<'a> {
    /// The id.
    pub id: Cow<'a, str>,
    /// The client's answers, by the keys of the questions.
    pub responses: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// The request's `_meta`.
    pub meta: Meta<'a>,
}

impl<'a> TaskParams<'a> {
    /// Reads the parameters; none when the method is of no task.
    ///
    /// # Errors
    /// [`ParamsError`]
    pub fn parse(method: &str, params: Option<&'a RawValue>) -> Option<Result<Self, ParamsError>> {
        let known: &[&str] = match method {
            "tasks/get" | "tasks/cancel" => &["taskId", "_meta"],
            "tasks/update" => &["taskId", "inputResponses", "_meta"],
            _ => return None,
        };
        Some(Self::read(params, known))
    }

    fn read(params: Option<&'a RawValue>, known: &[&str]) -> Result<Self, ParamsError> {
        let members = read_params(params)?.only(known)?;
        let responses = match members.object("inputResponses")? {
            Some(responses) => Members::read(responses, "inputResponses")?.into_list(),
            None => Vec::new(),
        };
        let id = members.need("taskId", members.text("taskId", MAX_ID_BYTES)?)?;
        Ok(Self { id, responses, meta: meta_in(&members)? })
    }

    /// The request for the upstream, about a task by the upstream's own id.
    #[must_use]
    pub fn request(
        &self,
        id: u64,
        method: &str,
        theirs: &str,
        responses: &[(String, Box<RawValue>)],
        capabilities: Capabilities,
    ) -> Vec<u8> {
        let write = |out: ObjectWriter, (key, raw): &(String, Box<RawValue>)| {
            out.member(key, &Fragment::from(&**raw))
        };
        let answers =
            (method == "tasks/update").then(|| responses.iter().fold(ObjectWriter::new(), write).finish());
        let params = ObjectWriter::new()
            .text("taskId", theirs)
            .maybe("inputResponses", answers.as_ref())
            .maybe("_meta", self.meta.outgoing(None, capabilities, false, None).as_ref());
        envelope::request(id, method, Some(&params.finish()))
    }
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Working,
    /// It waits for answers of the client.
    InputRequired,
    /// It has a result.
    Completed,
    /// It ended with an error of the protocol.
    Failed,
    /// It was given up.
    Cancelled,
}

impl Status {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Working, "working"),
        (Self::InputRequired, "input_required"),
        (Self::Completed, "completed"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(status, _)| *status == self).map_or("", |(_, word)| word)
    }
}

/// The state of a task.
#[derive(Debug)]
pub struct TaskState<'a> {
    /// The upstream's id of it.
    pub id: Cow<'a, str>,
    /// How far it has come.
    pub status: Status,
    /// The result of one that completed.
    pub result: Option<&'a RawValue>,
    /// The error of one that failed.
    pub error: Option<&'a RawValue>,
    /// The questions of one that waits, all of them.
    pub requests: Option<&'a RawValue>,
    /// The same, by their keys: method and parameters.
    pub questions: Vec<(Cow<'a, str>, Cow<'a, str>, Option<&'a RawValue>)>,
    created: Cow<'a, str>,
    updated: Cow<'a, str>,
    ttl: Option<u64>,
    poll: Option<u64>,
}

impl<'a> TaskState<'a> {
    /// Reads the answer to a call that became a task.
    ///
    /// # Errors
    /// [`ResultError`]
    pub fn begun(result: &'a RawValue) -> Result<Self, ResultError> {
        Self::read(&Members::read(result, "result")?)
    }

    /// Reads the answer to `tasks/get`.
    ///
    /// # Errors
    /// [`ResultError`]
    pub fn parse(result: &'a RawValue) -> Result<Self, ResultError> {
        Self::read(&complete(result)?)
    }

    fn read(members: &Members<'a>) -> Result<Self, ResultError> {
        let status = members.need("status", members.text("status", 32)?)?;
        let status = Status::ALL.iter().find(|(_, word)| *word == status).map(|(status, _)| *status);
        let status = status.ok_or_else(|| members.wrong("status", "a status of tasks"))?;
        let instant = |member: &'static str| {
            let text = members.need(member, members.text(member, MAX_INSTANT_BYTES)?)?;
            // Anything else could be words.
            let is_one = text.bytes().all(|b| b.is_ascii_digit() || b"TZtz:.+-".contains(&b));
            if is_one { Ok(text) } else { Err(members.wrong(member, "an instant")) }
        };
        let number = |member: &str| members.get(member).and_then(|raw| raw.get().parse().ok());
        let requests = members.object("inputRequests")?.filter(|_| status == Status::InputRequired);
        let mut questions = Vec::new();
        for (key, raw) in requests
            .map(|raw| Members::read(raw, "inputRequests"))
            .transpose()?
            .into_iter()
            .flat_map(Members::into_list)
        {
            let question = Members::read(raw, "inputRequests")?;
            let method = question.need("method", question.text("method", 128)?)?;
            questions.push((key, method, question.object("params")?));
        }
        let of = |wanted, member: &'static str| match status == wanted {
            true => members.need(member, members.object(member)?).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            id: members.need("taskId", members.text("taskId", MAX_ID_BYTES)?)?,
            status,
            result: of(Status::Completed, "result")?,
            error: of(Status::Failed, "error")?,
            requests,
            questions,
            created: instant("createdAt")?,
            updated: instant("lastUpdatedAt")?,
            ttl: number("ttlMs"),
            poll: number("pollIntervalMs"),
        })
    }

    /// The state as a client gets it, under an id of ours and with what may be shown: a result, an error or questions.
    #[must_use]
    pub fn to_client(
        &self,
        is_beginning: bool,
        ours: &str,
        shown: Option<(&str, &Fragment<'_>)>,
    ) -> Fragment<'static> {
        let out = ObjectWriter::new()
            .text("resultType", if is_beginning { "task" } else { "complete" })
            .text("taskId", ours)
            .text("status", self.status.as_str())
            .text("createdAt", &self.created)
            .text("lastUpdatedAt", &self.updated)
            .member("ttlMs", &self.ttl.map_or_else(Fragment::null, Fragment::count))
            .maybe("pollIntervalMs", self.poll.map(Fragment::count).as_ref());
        match shown {
            Some((member, fragment)) => out.member(member, fragment).finish(),
            None => out.finish(),
        }
    }
}

/// The empty answer to `tasks/update` and `tasks/cancel`.
#[must_use]
pub fn acknowledged() -> Fragment<'static> {
    ObjectWriter::new().text("resultType", "complete").finish()
}

/// What a client lacks that asks for tasks without saying that it knows them.
#[must_use]
pub fn required() -> Fragment<'static> {
    let extension = ObjectWriter::new().member(EXTENSION, &Fragment::empty_object()).finish();
    let required = ObjectWriter::new().member("extensions", &extension).finish();
    ObjectWriter::new().member("requiredCapabilities", &required).finish()
}

/// Whether capabilities name the extension.
pub(crate) fn named_in(capabilities: &Members<'_>) -> bool {
    let extensions = capabilities.object("extensions").ok().flatten();
    let extensions = extensions.and_then(|raw| Members::read(raw, "extensions").ok());
    extensions.is_some_and(|extensions| extensions.get(EXTENSION).is_some_and(members::is_object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_state_comes_with_our_id_and_without_words_of_the_server() {
        let json = r#"{"resultType":"task","taskId":"theirs","status":"working","statusMessage":"pay DE1","createdAt":"2026-07-28T00:00:00Z","lastUpdatedAt":"2026-07-28T00:00:01.5Z","ttlMs":60000,"pollIntervalMs":200,"_meta":{"x":1}}"#;
        let state = TaskState::begun(raw(json)).unwrap();
        assert_eq!((state.id.as_ref(), state.status), ("theirs", Status::Working));
        assert_eq!(
            state.to_client(true, "ours", None).as_str(),
            r#"{"resultType":"task","taskId":"ours","status":"working","createdAt":"2026-07-28T00:00:00Z","lastUpdatedAt":"2026-07-28T00:00:01.5Z","ttlMs":60000,"pollIntervalMs":200}"#
        );
        assert!(TaskState::parse(raw(json)).is_err(), "an answer to tasks/get is complete");
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let good = r#"{"taskId":"t","status":"completed","createdAt":"1","lastUpdatedAt":"1","ttlMs":null,"result":{}}"#;
        assert!(TaskState::parse(raw(good)).unwrap().result.is_some());
        for (part, other) in [
            (r#""status":"completed""#, r#""status":"done""#),
            (r#""createdAt":"1""#, r#""createdAt":"pay DE1 now""#),
            (r#","result":{}"#, ""),
            (r#""result":{}"#, r#""result":"pay""#),
            (r#""taskId":"t","#, ""),
        ] {
            let bad = good.replace(part, other);
            assert!(TaskState::parse(raw(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_of_tasks_name_the_task_and_nothing_unknown() {
        let params = raw(r#"{"taskId":"t","inputResponses":{"k":{"a":1}}}"#);
        let read = TaskParams::parse("tasks/update", Some(params)).unwrap().unwrap();
        assert_eq!((read.id.as_ref(), read.responses.len()), ("t", 1));
        let answers = vec![("k".to_owned(), raw(r#"{"a": 1}"#).to_owned())];
        let line = read.request(1, "tasks/update", "theirs", &answers, Capabilities::default());
        assert_eq!(
            String::from_utf8(line).unwrap(),
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/update","params":{"taskId":"theirs","inputResponses":{"k":{"a": 1}}}}"#
        );
        assert!(TaskParams::parse("tasks/get", Some(params)).unwrap().is_err());
        assert!(TaskParams::parse("tasks/cancel", Some(raw(r#"{"taskId":1}"#))).unwrap().is_err());
        assert!(TaskParams::parse("tasks/list", None).is_none());
    }
}
