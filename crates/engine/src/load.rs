//! What a decision reads, in one consistent look at the store and one at the stop file.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_decide::{Facts, Hop, Presence, Snapshot, TaskState};
use warrantor_model::{
    Approval, Call, Decimal, Effect, Evidence, PersonId, ServerName, Standing, Subject, Timestamp,
};
use warrantor_store::{Entry, Expect, Key, KeyError, ReadError, Recency, Store, View, Wanted};

use crate::{
    history, keys,
    registry::{Registered, RegistryError},
    stop::{StopError, StopFile},
};

/// Whether a subject is stopped, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredStanding {
    /// Stopped, or let go on after it was.
    pub stopped: bool,
    /// Since when.
    pub since: Timestamp,
    /// Why, in the words of who did it.
    pub reason: Option<String>,
}

/// Why a decision cannot be prepared: a refusal for the caller.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stop file failed, which stops everything.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// A name is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Somebody who is registered cannot be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The standing of a subject does not read.
    #[error("the standing of {subject} cannot be read from the store: {cause}")]
    Standing {
        /// Whose.
        subject: Subject,
        /// Why.
        cause: String,
    },
}

/// Everything a decision reads.
pub(crate) struct Loaded {
    /// The bundle that it is decided on, and whoever is registered beside it and has to do with the call.
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) task: TaskState,
    pub(crate) facts: Facts,
    pub(crate) revision: u64,
    /// How late it was read. On what was only known nothing but a pass may come of it, and its commit says so.
    pub(crate) recency: Recency,
    /// How many events the task's history had had, and whether some are gone.
    pub(crate) events: (u64, bool),
    /// What each subject's standing, and its entry in the registry, must still be when the pass is committed.
    pub(crate) expect: BTreeMap<Subject, Vec<(Key, Expect)>>,
}

/// What is asked about a mandate.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// Whether this call passes.
    Call(&'a Call),
    /// Whether whoever asks could do anything with a server.
    Presence(&'a Presence),
}

impl<'a> Asked<'a> {
    pub(crate) fn server(self) -> &'a ServerName {
        match self {
            Self::Call(call) => &call.tool.server,
            Self::Presence(presence) => &presence.server,
        }
    }

    fn evidence(self) -> &'a Evidence {
        match self {
            Self::Call(call) => &call.evidence,
            Self::Presence(presence) => &presence.evidence,
        }
    }

    pub(crate) fn call(self) -> Option<&'a Call> {
        match self {
            Self::Call(call) => Some(call),
            Self::Presence(_) => None,
        }
    }
}

/// What persons have answered, and who else is to be known.
#[derive(Clone, Copy, Default)]
pub(crate) struct Answered<'a> {
    pub(crate) approval: Option<&'a Arc<Approval>>,
    /// Somebody who is about to answer.
    pub(crate) by: Option<&'a PersonId>,
}

impl Answered<'_> {
    fn people(&self) -> BTreeSet<PersonId> {
        let given = self.approval.into_iter().flat_map(|approval| approval.people());
        given.chain(self.by).cloned().collect()
    }
}

pub(crate) async fn load<S: Store>(
    store: &S,
    stop: &StopFile,
    (snapshot, chain): (Arc<Snapshot>, Vec<Hop>),
    asked: Asked<'_>,
    now: Timestamp,
    at_least: Recency,
    answered: Answered<'_>,
) -> Result<Loaded, LoadError> {
    let others = answered.people();
    let mut registered = Registered::of(store, &snapshot, &chain, &others, at_least).await?;
    let snapshot =
        if registered.expect.is_empty() { snapshot } else { Arc::new(registered.beside(&snapshot)) };
    let mut subjects = snapshot.subjects(&chain, asked.server(), asked.evidence());
    subjects.extend(others.iter().flat_map(Subject::of_person));
    let counted = asked.call().map(|call| snapshot.wanted(&chain, call, now)).unwrap_or_default();
    let mut wanted = Wanted::default();
    let mut standing_keys = BTreeMap::new();
    for subject in &subjects {
        let key = keys::standing(subject)?;
        wanted.entries.insert(key.clone());
        standing_keys.insert(subject.clone(), key);
    }
    for counter in &counted.counters {
        wanted.counters.insert(Key::new(counter.clone())?);
    }
    for member in &counted.members {
        wanted.members.insert(Key::new(member.clone())?);
    }
    let task = chain.last().map(|hop| hop.mandate.task.clone());
    let mut effect_keys = Vec::new();
    let labels = snapshot.known_labels();
    if let Some(task) = &task {
        history::want(task, labels, &mut wanted)?;
        wanted.counters.insert(keys::task_calls(task)?);
        for effect in Effect::ALL {
            let key = keys::task_effect(task, effect)?;
            wanted.members.insert(key.clone());
            effect_keys.push((effect, key));
        }
    }
    let (view, recency) = match at_least {
        Recency::Latest => (store.read(&wanted).await?, Recency::Latest),
        Recency::AsKnown => store.recent(&wanted).await?,
    };
    let (standing, mut expect) = standing(&view, &standing_keys, &chain)?;
    for (subject, entry) in registered.expect {
        expect.entry(subject).or_default().push(entry);
    }
    // The stop file is read after the store: a stop is written there first.
    let stops = stop.read()?.into_iter().filter(|stop| reaches(&chain, &stop.subject, stop.since));
    let standing = standing.and(stops.map(|stop| stop.subject));
    let calls = match &task {
        Some(task) => view.counter(&keys::task_calls(task)?),
        None => Decimal::ZERO,
    };
    let (events, touched) = match &task {
        Some(task) => {
            let touched =
                |label: &&String| keys::task_label(task, label).is_ok_and(|key| view.members.contains(&key));
            (history::stands(task, &view)?, labels.iter().filter(touched).cloned().collect())
        }
        None => ((0, false), BTreeSet::new()),
    };
    let state = TaskState {
        calls: u64::try_from(calls.trunc().mantissa()).unwrap_or(u64::MAX),
        effects: effect_keys
            .iter()
            .filter(|(_, key)| view.members.contains(key))
            .map(|(effect, _)| *effect)
            .collect(),
        counters: counted
            .counters
            .iter()
            .filter_map(|name| Key::new(name.clone()).ok().map(|key| (name.clone(), view.counter(&key))))
            .collect(),
        members: counted
            .members
            .iter()
            .filter(|name| Key::new((*name).clone()).is_ok_and(|key| view.members.contains(&key)))
            .cloned()
            .collect(),
        labels: touched,
        ..TaskState::begun(chain, now)
    };
    let last_record_at = view.head.last_at.unwrap_or(Timestamp::from_micros(0));
    Ok(Loaded {
        snapshot,
        task: state,
        facts: Facts { standing, last_record_at, approval: answered.approval.cloned() },
        revision: view.head.revision,
        recency,
        events,
        expect,
    })
}

type Expected = BTreeMap<Subject, Vec<(Key, Expect)>>;

/// Whether a stop reaches a chain. Revoking a mandate of the bundle ends what was handed over before; what a person hands over afterwards is
/// another act.
fn reaches(chain: &[Hop], subject: &Subject, since: Timestamp) -> bool {
    match subject {
        Subject::Template(template) => chain
            .iter()
            .any(|hop| hop.mandate.terms.template == *template && hop.mandate.handed_over_at <= since),
        _ => true,
    }
}

fn standing(
    view: &View,
    keys: &BTreeMap<Subject, Key>,
    chain: &[Hop],
) -> Result<(Standing, Expected), LoadError> {
    let mut stopped = BTreeSet::new();
    let mut expect = BTreeMap::new();
    for (subject, key) in keys {
        let expected = match view.entries.get(key) {
            None => Expect::Absent,
            Some(entry) => {
                let stored = decode(subject, entry)?;
                if stored.stopped && reaches(chain, subject, stored.since) {
                    stopped.insert(subject.clone());
                }
                Expect::Version(entry.version)
            }
        };
        expect.insert(subject.clone(), vec![(key.clone(), expected)]);
    }
    Ok((Standing::new(stopped), expect))
}

/// Reads a standing.
pub(crate) fn decode(subject: &Subject, entry: &Entry) -> Result<StoredStanding, LoadError> {
    serde_json::from_slice(&entry.value)
        .map_err(|cause| LoadError::Standing { subject: subject.clone(), cause: cause.to_string() })
}
