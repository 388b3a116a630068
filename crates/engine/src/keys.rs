//! The names under which the engine keeps state in the store.

use warrantor_model::{Effect, MandateId, PersonId, Subject, TaskId, TemplateId};
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
