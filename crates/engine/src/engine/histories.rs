//! The engine's side of histories: what it knows of each task, and what it adds with every commit.

use std::time::Duration;

use warrantor_decide::{History, Hop};
use warrantor_model::{PersonId, TaskId};
use warrantor_store::{Commit, Key, KeyError, Store, Wanted};

use super::{Engine, lock, remember};
use crate::{
    bodies::SealKey,
    history::{self, HistoryError, Known, StoredEvent, Written},
    keys,
    load::Loaded,
    recording::Decided,
    registry::{self, RegistryError},
};

/// A commit under way that adds to a task's history.
pub(super) struct Adding<S> {
    engine: Engine<S>,
    task: TaskId,
}

impl<S> Drop for Adding<S> {
    fn drop(&mut self) {
        let mut adding = lock(&self.engine.0.adding);
        let left = adding.get(&self.task).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            adding.remove(&self.task);
        } else {
            adding.insert(self.task.clone(), left);
        }
        drop(adding);
        self.engine.0.added.notify_waiters();
    }
}

impl<S: Store> Engine<S> {
    /// The task's history as of what was loaded.
    pub(super) async fn history(&self, loaded: &Loaded) -> Result<History, HistoryError> {
        let Some(last) = loaded.task.chain.last() else { return Ok(History::default()) };
        let task = &last.mandate.task;
        let (count, forgotten) = loaded.events;
        let snapshot = &*loaded.snapshot;
        loop {
            // Asked for before looking, so that nothing is missed in between.
            let added = self.0.added.notified();
            let known = lock(&self.0.histories)
                .get_mut(task)
                .filter(|(of, _)| *of == snapshot.revision())
                .and_then(|(_, known)| known.as_of(loaded.revision, count, forgotten));
            if let Some(history) = known {
                return Ok(history);
            }
            // What the store has and we do not know yet is most likely being taken in by another call of this process.
            if !lock(&self.0.adding).contains_key(task) {
                break;
            }
            added.await;
        }
        let mut known = Known::default();
        if count > 0 {
            let person = snapshot.person(&last.mandate.terms.person);
            let key = self.task_key(task, &last.mandate.terms.person).await?;
            let as_of = (loaded.revision, count, forgotten);
            known = history::read(&*self.0.parts.store, snapshot, person, task, &key, as_of).await?;
        }
        // What could not be written yet is still missing.
        let missed = lock(&self.0.histories).get(task).is_some_and(|(_, known)| known.is_forgotten())
            && lock(&self.0.gap).is_open();
        if missed {
            known.forget();
        }
        let history = known.as_of(loaded.revision, count, forgotten);
        remember(&self.0.histories, task.clone(), (snapshot.revision(), known));
        history.ok_or_else(|| HistoryError::Unreadable {
            task: task.clone(),
            cause: "it has fewer events than were counted".to_owned(),
        })
    }

    /// The key that seals a task's history.
    pub(super) async fn task_key(&self, task: &TaskId, person: &PersonId) -> Result<SealKey, HistoryError> {
        if let Some(key) = lock(&self.0.task_keys).get(task) {
            return Ok(key.clone());
        }
        let unreadable = |cause: String| HistoryError::Unreadable { task: task.clone(), cause };
        let key = keys::task_key(task)?;
        let wanted = Wanted { entries: [key.clone()].into(), ..Wanted::default() };
        let view = self.0.parts.store.read(&wanted).await?;
        let entry = view.entries.get(&key).ok_or_else(|| unreadable("it has no key".to_owned()))?;
        let opened =
            self.seal_key(person).await.map_err(unreadable)?.unwrap_key(task.as_str(), &entry.value)?;
        remember(&self.0.task_keys, task.clone(), opened.clone());
        Ok(opened)
    }

    /// An event ready to be committed.
    pub(super) async fn written(
        &self,
        chain: &[Hop],
        event: &StoredEvent,
    ) -> Result<Option<(TaskId, Written)>, HistoryError> {
        let Some(last) = chain.last() else { return Ok(None) };
        let (task, person) = (&last.mandate.task, &last.mandate.terms.person);
        self.written_for(task, person, event).await.map(|written| Some((task.clone(), written)))
    }

    pub(super) async fn written_for(
        &self,
        task: &TaskId,
        person: &PersonId,
        event: &StoredEvent,
    ) -> Result<Written, HistoryError> {
        let key = self.task_key(task, person).await?;
        let snapshot = self.snapshot();
        let registered = match snapshot.person(person) {
            Some(_) => None,
            None => {
                let found = registry::known_person(&*self.0.parts.store, person).await;
                let unreadable = |cause: RegistryError| HistoryError::Unreadable {
                    task: task.clone(),
                    cause: cause.to_string(),
                };
                found.map_err(unreadable)?.map(|stored| stored.person(person))
            }
        };
        let person = snapshot.person(person).or(registered.as_ref());
        history::write(&snapshot, person, task, event, &key, &*self.0.parts.randomness)
    }

    /// Adds an event to a commit; what has to go for it is told.
    pub(super) fn add_event(
        &self,
        commit: &mut Commit,
        task: &TaskId,
        written: &Written,
    ) -> Result<Vec<(u64, Key)>, KeyError> {
        let gone = lock(&self.0.histories)
            .get(task)
            .map(|(_, known)| known.let_go(written.sealed.len()))
            .unwrap_or_default();
        history::add(commit, task, written, &gone)?;
        Ok(gone)
    }

    /// Says that a commit under way adds to a task's history, until what comes of it was taken in.
    pub(super) fn adding(&self, task: &TaskId) -> Adding<S> {
        let mut adding = lock(&self.0.adding);
        let count = adding.entry(task.clone()).or_default();
        *count = count.saturating_add(1);
        Adding { engine: self.clone(), task: task.clone() }
    }

    /// Takes in what was committed.
    pub(super) fn happened(&self, task: &TaskId, revision: u64, written: Written, gone: &[(u64, Key)]) {
        if let Some((of, known)) = lock(&self.0.histories).get_mut(task) {
            known.dropped(gone);
            // What was read by the rules of another bundle is read again by those of this one.
            match *of == written.of {
                true => known.add(revision, written),
                false => known.reread(),
            }
        }
    }

    /// Something happened in a task that its history does not tell.
    pub(super) fn missed(&self, task: &TaskId) {
        let of = self.snapshot().revision();
        lock(&self.0.histories).entry(task.clone()).or_insert_with(|| (of, Known::default())).1.forget();
    }

    /// What the task's history tells of a refused call: a model that was refused may still say again what it tried to say.
    pub(super) async fn refused_event(
        &self,
        decided: &Decided<'_>,
        patience: Duration,
    ) -> Option<(TaskId, Written)> {
        let (call, chain) = (decided.call?, &decided.task?.chain);
        let event = StoredEvent::call(decided.id.as_str(), &call.tool, &call.arguments, false);
        match tokio::time::timeout(patience, self.written(chain, &event)).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) | Err(_) => {
                if let Some(last) = chain.last() {
                    self.missed(&last.mandate.task);
                }
                None
            }
        }
    }
}
