//! Questions to persons as the store keeps them, from the asking to the use of the answers.
//!
//! One entry a question, under the id of the decision that asked. A second entry, under the task and the call, leads the agent's next try to it; it goes when
//! the answers are used, so that they can be used once. Arguments stand in neither in the clear: they are sealed under the key of the person whose task it is.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_decide::{Asking, NO_SELF_APPROVAL};
use warrantor_model::{
    AgentId, Approval, Approver, Asker, Binding, Call, Decimal, DecisionId, Digest, Given, PersonId, TaskId,
    TemplateId, Timestamp, ToolRef,
};
use warrantor_store::{Add, Commit, Key, KeyError, ReadError, Store, Wanted};

use crate::keys;

/// The longest that a question is open, the use of its answers included, whatever settings say.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredQuestion {
    /// The person whose task it is.
    pub person: PersonId,
    /// Who wants to call.
    pub agent: AgentId,
    /// The mandate of the bundle that it acts under.
    pub template: TemplateId,
    /// The task's purpose, in a line, as it was handed over.
    pub purpose: String,
    /// What the agent has to do of it, in the words of the agent that handed on a part.
    pub part: Option<String>,
    /// What it wants to call.
    pub tool: ToolRef,
    /// Where it was enforced.
    pub point: String,
    /// The bundle that it was asked on.
    pub bundle: Digest,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Until when it can be answered.
    pub until: Timestamp,
    /// What asks.
    pub askers: BTreeSet<Asker>,
    /// What an answer is bound to.
    pub binding: Binding,
    /// What an answer would have been bound to as it was asked: against this it is seen whether anything has become worse when others are put in its place.
    pub first: Binding,
    /// The call as it was presented, sealed, in hexadecimal.
    pub sealed: String,
    /// Where the entry is that leads to it.
    pub place: String,
    /// Who has said yes.
    pub given: Vec<Given>,
    /// What took the place of the arguments.
    pub edited: Option<Edited>,
    /// Where it stands.
    pub state: QuestionState,
}

/// Arguments that a person put in the place of those that were asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edited {
    /// Who.
    pub by: PersonId,
    /// The arguments, sealed, in hexadecimal.
    pub sealed: String,
    /// The places whose values are the person's.
    pub places: BTreeSet<String>,
}

/// Where a question stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum QuestionState {
    /// Not everybody who has to answer has.
    Waiting {},
    /// Everybody said yes, and nobody has used it.
    Approved {
        /// Until when it can be used.
        until: Timestamp,
    },
    /// Somebody said no.
    Denied {
        /// Who.
        by: PersonId,
        /// When.
        at: Timestamp,
        /// Why, in their words.
        reason: Option<String>,
    },
    /// The call was made.
    Used {
        /// The decision that used the answers.
        decision: DecisionId,
        /// When.
        at: Timestamp,
    },
    /// It counts no more.
    Withdrawn {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
}

/// Where a question stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionStanding {
    /// It waits for an answer.
    Waiting,
    /// It was approved, and the call can be made.
    Approved,
    /// Somebody said no.
    Denied,
    /// The call was made.
    Used,
    /// It counts no more.
    Withdrawn,
    /// Nobody answered in time, or the answer was not used in time.
    Expired,
}

impl QuestionStanding {
    /// Every standing.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Approved, Self::Denied, Self::Used, Self::Withdrawn, Self::Expired];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }
}

impl StoredQuestion {
    /// Where it stands at an instant.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> QuestionStanding {
        match &self.state {
            QuestionState::Waiting {} if now >= self.until => QuestionStanding::Expired,
            QuestionState::Waiting {} => QuestionStanding::Waiting,
            QuestionState::Approved { until } if now >= *until => QuestionStanding::Expired,
            QuestionState::Approved { .. } => QuestionStanding::Approved,
            QuestionState::Denied { .. } => QuestionStanding::Denied,
            QuestionState::Used { .. } => QuestionStanding::Used,
            QuestionState::Withdrawn { .. } => QuestionStanding::Withdrawn,
        }
    }

    /// Who has to answer, each of them.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<Approver> {
        self.askers.iter().map(|asker| asker.who.clone()).collect()
    }

    /// Who has still to answer.
    #[must_use]
    pub fn unanswered(&self) -> BTreeSet<Approver> {
        let mut asked = self.asked();
        asked.retain(|who| !self.given.iter().any(|given| given.who == *who));
        asked
    }

    /// Whether it has an effect of which nobody approves what is done for themselves, and of which whoever approves must have signed in just now.
    #[must_use]
    pub fn is_grave(&self) -> bool {
        is_grave(&self.binding)
    }

    /// Whether it is what is asked now.
    pub(crate) fn asks_the_same(&self, asking: &Asking) -> bool {
        self.edited.is_some()
            || (self.askers == asking.askers && self.binding.differs_from(&asking.binding).is_none())
    }

    /// The answers, for a decision to judge.
    pub(crate) fn approval(&self, id: &DecisionId, until: Timestamp) -> Approval {
        Approval {
            question: id.clone(),
            binding: self.binding.clone(),
            lifts: self.askers.clone(),
            given: self.given.clone(),
            replaced: self.edited.is_some(),
            edited: self.edited.as_ref().map(|edited| edited.places.clone()).unwrap_or_default(),
            until,
        }
    }
}

/// Whether a call has an effect of which whoever approves it must have signed in just now.
pub(crate) fn is_grave(binding: &Binding) -> bool {
    binding.effects.iter().any(|effect| NO_SELF_APPROVAL.contains(effect))
}

/// A question with its id and the version of its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownQuestion {
    /// The decision that asked.
    pub id: DecisionId,
    /// The version of the entry.
    pub version: u64,
    /// The question.
    pub question: StoredQuestion,
}

/// Why a question cannot be read.
#[derive(Debug, Error)]
pub enum QuestionError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An entry does not read.
    #[error("the question {id} cannot be read from the store: {cause}")]
    Unreadable {
        /// Which.
        id: String,
        /// Why.
        cause: String,
    },
}

/// Reads a question.
///
/// # Errors
/// [`QuestionError`].
pub async fn question<S: Store>(store: &S, id: &DecisionId) -> Result<Option<KnownQuestion>, QuestionError> {
    let key = keys::question(id)?;
    let view = store.read(&Wanted { entries: [key.clone()].into(), ..Wanted::default() }).await?;
    let Some(entry) = view.entries.get(&key) else { return Ok(None) };
    let question = serde_json::from_slice(&entry.value)
        .map_err(|cause| QuestionError::Unreadable { id: id.to_string(), cause: cause.to_string() })?;
    Ok(Some(KnownQuestion { id: id.clone(), version: entry.version, question }))
}

/// Where to begin with questions that can be open at an instant: none lives longer than [`LONGEST`], and ids are in the order of time.
#[must_use]
pub fn earliest_open(now: Timestamp) -> Option<DecisionId> {
    let millis = now.minus(LONGEST).as_micros().max(0) / 1000;
    DecisionId::new(format!("d{millis:012x}")).ok()
}

/// The ids of questions that are open, in the order in which they were asked; `after` the one, and `limit` at most. Some may have expired.
///
/// # Errors
/// [`QuestionError`].
pub async fn open<S: Store>(
    store: &S,
    after: Option<&DecisionId>,
    limit: usize,
) -> Result<Vec<DecisionId>, QuestionError> {
    let after = after.map(keys::open_question).transpose()?;
    ids(store, &keys::open_questions()?, after.as_ref(), limit).await
}

/// The ids of a task's questions that are open. Some may have expired.
///
/// # Errors
/// [`QuestionError`].
pub async fn open_of_task<S: Store>(
    store: &S,
    task: &TaskId,
    limit: usize,
) -> Result<Vec<DecisionId>, QuestionError> {
    ids(store, &keys::open_questions_of_task(task)?, None, limit).await
}

async fn ids<S: Store>(
    store: &S,
    under: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<DecisionId>, QuestionError> {
    let page = store.scan(under, after, limit).await?;
    let id = |key: &Key| key.as_str().rsplit_once('/').and_then(|(_, id)| DecisionId::new(id).ok());
    Ok(page.iter().filter_map(|(key, _)| id(key)).collect())
}

/// The questions of the past, in the order in which they were asked, open ones among them.
///
/// # Errors
/// [`QuestionError`].
pub async fn all<S: Store>(
    store: &S,
    after: Option<&DecisionId>,
    limit: usize,
) -> Result<Vec<KnownQuestion>, QuestionError> {
    let after = after.map(keys::question).transpose()?;
    let page = store.scan(&keys::questions()?, after.as_ref(), limit).await?;
    let mut found = Vec::new();
    for (key, entry) in &page {
        let unreadable = |cause: String| QuestionError::Unreadable { id: key.as_str().to_owned(), cause };
        let id = key.as_str().rsplit_once('/').map(|(_, id)| id).unwrap_or_default();
        let id = DecisionId::new(id).map_err(|cause| unreadable(cause.to_string()))?;
        let question = serde_json::from_slice(&entry.value).map_err(|cause| unreadable(cause.to_string()))?;
        found.push(KnownQuestion { id, version: entry.version, question });
    }
    Ok(found)
}

/// What one task asks about one call at one enforcement point, by the words of the call: the same call leads to the same question.
pub(crate) fn place(task: &TaskId, call: &Call) -> Result<Key, KeyError> {
    let words = format!(
        "{}\n{}\n{}\n{}",
        call.mandate,
        call.tool,
        call.enforcement_point,
        call.arguments.canonical()
    );
    keys::asked(task, &Digest::of(words.as_bytes()))
}

/// Adds to a commit that a question stands so from now on, if it still is what was read.
pub(crate) fn put(commit: &mut Commit, known: &KnownQuestion, now: &StoredQuestion) -> Result<(), String> {
    let key = keys::question(&known.id).map_err(|cause| cause.to_string())?;
    commit.expect.push((key.clone(), warrantor_store::Expect::Version(known.version)));
    commit.puts.push((key, serde_json::to_vec(now).map_err(|cause| cause.to_string())?));
    Ok(())
}

/// Adds to a commit that a question is open no more.
pub(crate) fn close(commit: &mut Commit, known: &KnownQuestion) -> Result<(), KeyError> {
    let task = &known.question.binding.task;
    commit.deletes.push(keys::open_question(&known.id)?);
    commit.deletes.push(keys::open_of_task(task, &known.id)?);
    commit.adds.push(Add { counter: keys::open_of_task_count(task)?, amount: -Decimal::ONE, at_most: None });
    Ok(())
}
