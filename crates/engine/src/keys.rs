//! The names under which the engine keeps state in the store.

use warrantor_model::{
    AgentId, DecisionId, Digest, Effect, GroupName, MandateId, PersonId, ServerName, Subject, TaskId,
    TemplateId,
};
use warrantor_store::{Key, KeyError};

/// The standing of a subject: present when it was ever stopped.
///
/// # Errors
/// [`KeyError`] when the subject's name is too long for a key; the caller refuses.
pub fn standing(subject: &Subject) -> Result<Key, KeyError> {
    Key::new(format!("standing/{subject}"))
}

/// A mandate that was handed over.
///
/// # Errors
/// As [`standing`], for every name below.
pub fn mandate(id: &MandateId) -> Result<Key, KeyError> {
    Key::new(format!("mandate/{id}"))
}

/// The last instance of a template and its slots, which `run` resumes.
///
/// # Errors
/// As [`standing`].
pub fn instance(template: &TemplateId, slots: &str) -> Result<Key, KeyError> {
    Key::new(format!("instance/{template}/{slots}"))
}

/// All mandates.
///
/// # Errors
/// As [`standing`].
pub fn mandates() -> Result<Key, KeyError> {
    Key::new("mandate")
}

/// A registered person.
///
/// # Errors
/// As [`standing`].
pub fn person(id: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("person/{id}"))
}

/// A registered agent.
///
/// # Errors
/// As [`standing`].
pub fn agent(id: &AgentId) -> Result<Key, KeyError> {
    Key::new(format!("agent/{id}"))
}

/// What a server was last seen to offer that is not as reviewed.
///
/// # Errors
/// As [`standing`].
pub fn seen(server: &ServerName) -> Result<Key, KeyError> {
    Key::new(format!("seen/{server}"))
}

/// The members of a group, as far as the registry tells them.
///
/// # Errors
/// As [`standing`].
pub fn members(group: &GroupName) -> Result<Key, KeyError> {
    Key::new(format!("member/{group}"))
}

/// That a person is a member of a group.
///
/// # Errors
/// As [`standing`].
pub fn member(group: &GroupName, person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("member/{group}/{person}"))
}

/// All standings.
///
/// # Errors
/// As [`standing`].
pub fn standings() -> Result<Key, KeyError> {
    Key::new("standing")
}

/// How many calls of a task passed.
///
/// # Errors
/// As [`standing`].
pub fn task_calls(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/calls"))
}

/// That a passed call of a task had an effect.
///
/// # Errors
/// As [`standing`].
pub fn task_effect(task: &TaskId, effect: Effect) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/effect/{effect}"))
}

/// How many events a task's history has had.
///
/// # Errors
/// As [`standing`].
pub fn task_events_count(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/events"))
}

/// That some events of a task's history are gone.
///
/// # Errors
/// As [`standing`].
pub fn task_forgotten(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/forgotten"))
}

/// That a task has touched what has this label.
///
/// # Errors
/// As [`standing`].
pub fn task_label(task: &TaskId, label: &str) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/label/{label}"))
}

/// All events of a task's history.
///
/// # Errors
/// As [`standing`].
pub fn task_events(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("history/{task}"))
}

/// One event of a task's history: the call of a decision, or its result.
///
/// # Errors
/// As [`standing`].
pub fn task_event(task: &TaskId, decision: &str, is_result: bool) -> Result<Key, KeyError> {
    let part = if is_result { "result" } else { "call" };
    Key::new(format!("history/{task}/{decision}/{part}"))
}

/// The key that seals a task's history, wrapped under its person's.
///
/// # Errors
/// As [`standing`].
pub fn task_key(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("taskkey/{task}"))
}

/// A person's key, wrapped.
///
/// # Errors
/// As [`standing`].
pub fn body_key(person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("bodykey/{person}"))
}

/// A bundle's files as they were decided on.
///
/// # Errors
/// As [`standing`].
pub fn bundle(revision: &warrantor_model::Digest) -> Result<Key, KeyError> {
    Key::new(format!("bundle/{}", revision.hex()))
}

/// A question to persons, by the decision that asked.
///
/// # Errors
/// As [`standing`].
pub fn question(id: &DecisionId) -> Result<Key, KeyError> {
    Key::new(format!("question/{id}"))
}

/// All questions.
///
/// # Errors
/// As [`standing`].
pub fn questions() -> Result<Key, KeyError> {
    Key::new("question")
}

/// That a question is open.
///
/// # Errors
/// As [`standing`].
pub fn open_question(id: &DecisionId) -> Result<Key, KeyError> {
    Key::new(format!("openquestion/{id}"))
}

/// All that are open.
///
/// # Errors
/// As [`standing`].
pub fn open_questions() -> Result<Key, KeyError> {
    Key::new("openquestion")
}

/// That a question of a task is open.
///
/// # Errors
/// As [`standing`].
pub fn open_of_task(task: &TaskId, id: &DecisionId) -> Result<Key, KeyError> {
    Key::new(format!("opentask/{task}/{id}"))
}

/// Those of a task that are open.
///
/// # Errors
/// As [`standing`].
pub fn open_questions_of_task(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("opentask/{task}"))
}

/// How many questions of a task are open.
///
/// # Errors
/// As [`standing`].
pub fn open_of_task_count(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/open"))
}

/// How many questions of a task were ever asked.
///
/// # Errors
/// As [`standing`].
pub fn asked_of_task_count(task: &TaskId) -> Result<Key, KeyError> {
    Key::new(format!("task/{task}/asked"))
}

/// Which question a call of a task leads to, by the digest of the call.
///
/// # Errors
/// As [`standing`].
pub fn asked(task: &TaskId, call: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("asked/{task}/{}", call.hex()))
}
