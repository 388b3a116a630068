//! A task's history as the store keeps it: one entry an event, sealed under the task's own key, ordered by the revision that wrote it.
//!
//! An event is written with the record of what it belongs to: a call with its decision, a result with its outcome and before it is released. What an
//! engine has read or written it keeps, and reads again only when another process has added something. Bounded: the oldest events
//! go first, and from then on what is found nowhere may have been in one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_decide::{Event, History, Output, Snapshot};
use warrantor_model::{Digest, Json, Person, Randomness, TaskId, ToolRef};
use warrantor_store::{Commit, Insert, Key, KeyError, MAX_PAGE, ReadError, Store, View, Wanted};

use crate::{
    bodies::{SealError, SealKey},
    keys,
};

/// Most events of a task that are kept.
pub(crate) const MAX_EVENTS: usize = 4096;
/// Most bytes of a task's events that are kept, sealed.
pub(crate) const MAX_BYTES: usize = 48 << 20;
/// Most bytes of one event. Of a larger result it is known only that it was there.
const MAX_EVENT_BYTES: usize = 3 << 20;
/// Most events that one commit lets go of.
const MAX_DROPPED: usize = 256;

/// Why a history cannot be read or written: a refusal for the caller.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An event does not open or does not read.
    #[error("an event of the task {task} cannot be read: {cause}")]
    Unreadable {
        /// Whose.
        task: TaskId,
        /// Why.
        cause: String,
    },
    /// An event cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An event has no JSON form. Our fault.
    #[error("an event cannot be written: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// An event as it is stored, before it is sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredEvent {
    /// The decision.
    id: String,
    tool: ToolRef,
    what: StoredWhat,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum StoredWhat {
    /// A call: its arguments as canonical JSON text, numbers as they were written.
    Call { arguments: String, passed: bool },
    /// A result.
    Result { structured: Option<String>, texts: Vec<String>, others: Vec<String>, error: bool },
    /// A result of which nothing more is kept.
    Lost,
}

impl StoredEvent {
    pub(crate) fn call(id: &str, tool: &ToolRef, arguments: &Json, passed: bool) -> Self {
        let what = StoredWhat::Call { arguments: arguments.canonical(), passed };
        Self { id: id.to_owned(), tool: tool.clone(), what }
    }

    pub(crate) fn result(id: &str, tool: &ToolRef, output: &Output) -> Self {
        let what = StoredWhat::Result {
            structured: output.structured.as_ref().map(Json::canonical),
            texts: output.texts.clone(),
            others: output.others.clone(),
            error: output.error,
        };
        Self { id: id.to_owned(), tool: tool.clone(), what }
    }

    fn lost(&self) -> Self {
        Self { id: self.id.clone(), tool: self.tool.clone(), what: StoredWhat::Lost }
    }

    /// The event, taken apart.
    fn read(&self, snapshot: &Snapshot, person: Option<&Person>) -> Result<Event, String> {
        let parse = |text: &str| Json::parse(text.as_bytes()).map_err(|cause| cause.to_string());
        Ok(match &self.what {
            StoredWhat::Call { arguments, passed } => {
                snapshot.call_event(&self.id, &self.tool, &parse(arguments)?, *passed)
            }
            StoredWhat::Result { structured, texts, others, error } => {
                let structured = structured.as_deref().map(parse).transpose()?;
                let output =
                    Output { structured, texts: texts.clone(), others: others.clone(), error: *error };
                snapshot.result_event(&self.id, &self.tool, &output, person)
            }
            StoredWhat::Lost => snapshot.lost_result_event(&self.id, &self.tool),
        })
    }
}

/// An event about to be committed.
pub(crate) struct Written {
    /// The bundle by whose rules it was read.
    pub(crate) of: Digest,
    pub(crate) event: Arc<Event>,
    pub(crate) key: Key,
    pub(crate) sealed: Vec<u8>,
}

/// Seals an event. One that is too large is kept as lost.
pub(crate) fn write(
    snapshot: &Snapshot,
    person: Option<&Person>,
    task: &TaskId,
    stored: &StoredEvent,
    task_key: &SealKey,
    randomness: &dyn Randomness,
) -> Result<Written, HistoryError> {
    let is_result = !matches!(stored.what, StoredWhat::Call { .. });
    let mut plain = serde_json::to_vec(stored)?;
    let mut kept = stored.clone();
    if plain.len() > MAX_EVENT_BYTES {
        kept = stored.lost();
        plain = serde_json::to_vec(&kept)?;
    }
    let unreadable = |cause| HistoryError::Unreadable { task: task.clone(), cause };
    let event = Arc::new(kept.read(snapshot, person).map_err(unreadable)?);
    let sealed = task_key.seal_value(randomness, task.as_str(), &plain)?;
    Ok(Written {
        of: snapshot.revision(),
        event,
        key: keys::task_event(task, &stored.id, is_result)?,
        sealed,
    })
}

/// What an engine knows of one task's history.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Events by the revision that wrote them, with the bytes they take and their key.
    events: BTreeMap<u64, (Arc<Event>, usize, Key)>,
    /// Up to this revision all events are known, and how many there had been by then.
    as_of: u64,
    count: u64,
    bytes: usize,
    forgotten: bool,
}

impl Known {
    /// Takes in an event that this engine has committed.
    pub(crate) fn add(&mut self, revision: u64, written: Written) {
        self.bytes = self.bytes.saturating_add(written.sealed.len());
        let bytes = written.sealed.len();
        if let Some((_, before, _)) = self.events.insert(revision, (written.event, bytes, written.key)) {
            self.bytes = self.bytes.saturating_sub(before);
        }
    }

    /// Lets go of what is known, so that it is read anew; that something is missing stays known.
    pub(crate) fn reread(&mut self) {
        *self = Self { forgotten: self.forgotten, ..Self::default() };
    }

    /// Says that something happened that could not be kept.
    pub(crate) fn forget(&mut self) {
        self.forgotten = true;
    }

    pub(crate) fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// The history as of a reading of the store; none when another process has added to it.
    pub(crate) fn as_of(&mut self, revision: u64, count: u64, forgotten: bool) -> Option<History> {
        // Up to `as_of` everything is known; beyond it everything is if as many events are known as were counted.
        if let Some(first) = self.as_of.checked_add(1).filter(|first| *first <= revision) {
            let since = self.events.range(first..=revision).count();
            if self.count.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)) != count {
                return None;
            }
            (self.as_of, self.count) = (revision, count);
        }
        let events = self.events.range(..=revision).map(|(_, (event, ..))| Arc::clone(event));
        let mut history = History::of(events.collect());
        if forgotten || self.forgotten {
            history.forget();
        }
        Some(history)
    }

    /// What a commit lets go of so that the bounds hold with one more event.
    pub(crate) fn let_go(&self, more: usize) -> Vec<(u64, Key)> {
        let (mut events, mut bytes) = (self.events.len().saturating_add(1), self.bytes.saturating_add(more));
        let mut gone = Vec::new();
        // Only what is known to be complete goes, so that what is counted since stays countable.
        for (revision, (_, size, key)) in self.events.range(..=self.as_of) {
            if (events <= MAX_EVENTS && bytes <= MAX_BYTES) || gone.len() >= MAX_DROPPED {
                break;
            }
            gone.push((*revision, key.clone()));
            events = events.saturating_sub(1);
            bytes = bytes.saturating_sub(*size);
        }
        gone
    }

    /// Forgets what a commit let go of.
    pub(crate) fn dropped(&mut self, gone: &[(u64, Key)]) {
        for (revision, _) in gone {
            if let Some((_, size, _)) = self.events.remove(revision) {
                self.bytes = self.bytes.saturating_sub(size);
            }
            self.forgotten = true;
        }
    }
}

/// What must be read with every decision to know how a task's history stands.
pub(crate) fn want(task: &TaskId, labels: &BTreeSet<String>, wanted: &mut Wanted) -> Result<(), KeyError> {
    wanted.counters.insert(keys::task_events_count(task)?);
    wanted.members.insert(keys::task_forgotten(task)?);
    for label in labels {
        wanted.members.insert(keys::task_label(task, label)?);
    }
    Ok(())
}

/// How a task's history stands by a reading: how many events there were, and whether some are gone.
pub(crate) fn stands(task: &TaskId, view: &View) -> Result<(u64, bool), KeyError> {
    let count = view.counter(&keys::task_events_count(task)?);
    let count = u64::try_from(count.trunc().mantissa()).unwrap_or(u64::MAX);
    Ok((count, view.members.contains(&keys::task_forgotten(task)?)))
}

/// Adds an event to a commit, and lets go of those in its way.
pub(crate) fn add(
    commit: &mut Commit,
    task: &TaskId,
    written: &Written,
    gone: &[(u64, Key)],
) -> Result<(), KeyError> {
    commit.puts.push((written.key.clone(), written.sealed.clone()));
    commit.adds.push(warrantor_store::Add {
        counter: keys::task_events_count(task)?,
        amount: warrantor_model::Decimal::ONE,
        at_most: None,
    });
    if !gone.is_empty() {
        commit.deletes.extend(gone.iter().map(|(_, key)| key.clone()));
        commit.inserts.push(Insert {
            member: keys::task_forgotten(task)?,
            must_be_new: false,
            counted: None,
        });
    }
    for label in written.event.labels() {
        commit.inserts.push(Insert {
            member: keys::task_label(task, &label)?,
            must_be_new: false,
            counted: None,
        });
    }
    Ok(())
}

/// Reads the whole history of a task anew.
pub(crate) async fn read<S: Store>(
    store: &S,
    snapshot: &Snapshot,
    person: Option<&Person>,
    task: &TaskId,
    task_key: &SealKey,
    as_of: (u64, u64, bool),
) -> Result<Known, HistoryError> {
    let (revision, count, forgotten) = as_of;
    let mut known = Known { as_of: revision, count, forgotten, ..Known::default() };
    let under = keys::task_events(task)?;
    let mut after = None;
    loop {
        let page = store.scan(&under, after.as_ref(), MAX_PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, entry) in page {
            let unreadable = |cause: String| HistoryError::Unreadable { task: task.clone(), cause };
            let plain = task_key.open_value(task.as_str(), &entry.value)?;
            let stored: StoredEvent =
                serde_json::from_slice(&plain).map_err(|cause| unreadable(cause.to_string()))?;
            let event = Arc::new(stored.read(snapshot, person).map_err(unreadable)?);
            known.add(entry.version, Written { of: snapshot.revision(), event, key, sealed: entry.value });
        }
    }
    // Read later than they were counted: what a commit in between let go of, or somebody removed, is missing, and nothing can be told of it.
    let read = u64::try_from(known.events.range(..=revision).count()).unwrap_or(u64::MAX);
    if read < count {
        known.forget();
    }
    Ok(known)
}
