//! Questions to persons: seen and answered.
//!
//! Who may answer is ruled by the policies of the bundle that asked, on `Action::"approve"`; what is done with an answer is the engine's. Here a question is
//! put together for whoever reads it, and answers are taken from whoever has proved who they are.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_bundle::Loaded;
use warrantor_decide::{changed_places, place_text, value_text};
use warrantor_engine::{
    AnswerError, AnswerTo, Answerer, Engine, EngineParts, Settings, ShownQuestion, StopFile,
    approvals::{self, Edited, QuestionError, QuestionStanding, QuestionState, StoredQuestion},
    bodies::SealKey,
};
use warrantor_model::{
    Approver, Asker, Clock, DecisionId, Digest, Effect, GroupName, Json, PersonId, Randomness, Timestamp,
    path::walk,
};
use warrantor_store::Store;

use crate::{
    explain::{ExplainError, Kept, explain},
    office::{Hand, Office, OfficeError},
};

/// How long ago whoever approves something grave may have signed in.
pub const FRESH: Duration = Duration::from_secs(5 * 60);
/// Most bundles that are held to judge answers on.
const MAX_ENGINES: usize = 8;

/// What answering is put together from.
pub struct ApprovalsParts<S> {
    /// The store.
    pub store: Arc<S>,
    /// The data directory's stop file.
    pub stop: Arc<StopFile>,
    /// The key that wraps the persons' keys.
    pub seal: SealKey,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
}

/// Where questions are seen and answered.
pub struct Approvals<S> {
    parts: ApprovalsParts<S>,
    engines: Mutex<HashMap<(Digest, String), Engine<S>>>,
}

/// Why a question cannot be seen or answered.
#[derive(Debug, Error)]
pub enum ApprovalError {
    /// The answer was not taken.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// The store, or a bundle that is not kept.
    #[error(transparent)]
    Office(#[from] OfficeError),
    /// What was asked cannot be read.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// A question cannot be read.
    #[error(transparent)]
    Question(#[from] QuestionError),
}

/// A question, in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AskedQuestion {
    /// Its id: the decision that asked.
    #[schema(value_type = String)]
    pub id: DecisionId,
    /// `waiting`, `approved`, `denied`, `used`, `withdrawn` or `expired`.
    #[schema(value_type = String)]
    pub state: QuestionStanding,
    /// Who wants to call.
    pub agent: String,
    /// Whose task it is.
    pub person: String,
    /// The mandate of the bundle that it acts under.
    pub template: String,
    /// The mandate that it acts under.
    pub mandate: String,
    /// The mandate that the person handed over, of which that is a part or the same.
    pub root_mandate: String,
    /// The task.
    pub task: String,
    /// The task's purpose, as it was handed over.
    pub purpose: String,
    /// What the agent has to do of it, in the words of the agent that handed on a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// What it wants to call.
    pub tool: String,
    /// The effects that has.
    #[schema(value_type = Vec<String>)]
    pub effects: Vec<Effect>,
    /// When it was asked.
    #[schema(value_type = String)]
    pub asked_at: Timestamp,
    /// Until when it can be answered, or the answer used.
    #[schema(value_type = String)]
    pub until: Timestamp,
    /// What asks: `policy:ID`, `grant:MANDATE#LINE` of a mandate, or `decision:arguments` where a call has more values than are remembered.
    pub askers: Vec<String>,
    /// Who has to answer, each of them: `person:ID` or `group:NAME`.
    pub asked: Vec<String>,
    /// Who has still to answer.
    pub unanswered: Vec<String>,
    /// Who has said yes.
    pub given: Vec<GivenAnswer>,
    /// Who said no, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<DeniedAnswer>,
    /// The decision that used the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_by: Option<String>,
    /// Why it counts no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
}

/// Somebody's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GivenAnswer {
    /// Who was asked.
    pub who: String,
    /// Who answered.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
}

/// Somebody's no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeniedAnswer {
    /// Who.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// A question with all that whoever answers has to know.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct WholeQuestion {
    /// In a line.
    #[serde(flatten)]
    pub question: AskedQuestion,
    /// The arguments as they would be used. None where they were erased, or hold a number that has no form here.
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<serde_json::Value>,
    /// The arguments as they would be used, as they were written.
    pub arguments_text: Option<String>,
    /// The digest of the arguments, which a yes names.
    #[schema(value_type = Option<String>)]
    pub arguments_digest: Option<Digest>,
    /// The arguments that the agent gave, where somebody has put others in their place.
    #[schema(value_type = Option<Object>)]
    pub presented: Option<serde_json::Value>,
    /// The arguments that the agent gave, as they were written.
    pub presented_text: Option<String>,
    /// Who put others in their place.
    pub edited_by: Option<String>,
    /// The person's own words, as they handed the task over.
    pub request: Option<String>,
    /// Why it is asked.
    pub why: Vec<Why>,
    /// Where the values of arguments were found, by argument.
    pub sources: BTreeMap<String, String>,
    /// What the task has touched.
    pub labels: Vec<String>,
    /// Earlier calls of the same tool in this task, the last first.
    pub earlier: Vec<EarlierCall>,
    /// Whether whoever approves it has to have signed in just now, and be somebody else than the person it is done for where a group is asked.
    pub grave: bool,
}

/// One thing that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Why {
    /// What: a policy, or a line of the mandate.
    pub by: Option<String>,
    /// In words.
    pub detail: String,
}

/// An earlier call of the same tool.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct EarlierCall {
    /// Its decision.
    pub decision: String,
    /// Its arguments. None where they hold a number that has no form here.
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<serde_json::Value>,
    /// Its arguments, as they were written.
    pub arguments_text: String,
    /// Arguments whose values are others now, by place.
    pub changed: Vec<String>,
}

/// What somebody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Yes, to arguments of this digest, or to others in their place.
    Approve {
        /// The digest of the arguments that were shown.
        shown: Digest,
        /// Other arguments, as JSON.
        arguments: Option<Vec<u8>>,
    },
    /// No.
    Deny {
        /// Why, for the agent.
        reason: Option<String>,
    },
}

/// Whoever answers.
#[derive(Debug, Clone)]
pub struct Replying<'a> {
    /// The person.
    pub person: &'a PersonId,
    /// By whose hand, for records.
    pub hand: &'a Hand,
    /// Whether they proved who they are just now.
    pub is_fresh: bool,
}

fn line(id: &DecisionId, question: &StoredQuestion, now: Timestamp) -> AskedQuestion {
    let (root, last) = (question.binding.chain.first(), question.binding.chain.last());
    let until = match &question.state {
        QuestionState::Approved { until } => *until,
        _ => question.until,
    };
    AskedQuestion {
        id: id.clone(),
        state: question.standing(now),
        agent: question.agent.to_string(),
        person: question.person.to_string(),
        template: question.template.to_string(),
        mandate: last.map(|(mandate, _)| mandate.to_string()).unwrap_or_default(),
        root_mandate: root.map(|(mandate, _)| mandate.to_string()).unwrap_or_default(),
        task: question.binding.task.to_string(),
        purpose: question.purpose.clone(),
        part: question.part.clone(),
        tool: question.tool.to_string(),
        effects: question.binding.effects.clone(),
        asked_at: question.asked_at,
        until,
        askers: question.askers.iter().map(|asker| name_of(question, asker)).collect(),
        asked: question.asked().iter().map(ToString::to_string).collect(),
        unanswered: question.unanswered().iter().map(ToString::to_string).collect(),
        given: question
            .given
            .iter()
            .map(|given| GivenAnswer { who: given.who.to_string(), by: given.by.to_string(), at: given.at })
            .collect(),
        denied: match &question.state {
            QuestionState::Denied { by, at, reason } => {
                Some(DeniedAnswer { by: by.to_string(), at: *at, reason: reason.clone() })
            }
            _ => None,
        },
        used_by: match &question.state {
            QuestionState::Used { decision, .. } => Some(decision.to_string()),
            _ => None,
        },
        withdrawn: match &question.state {
            QuestionState::Withdrawn { why, .. } => Some(why.clone()),
            _ => None,
        },
    }
}

/// What asks, by the name that its author knows: a policy, a line of a mandate, or the decision itself, which asks about more values than it can remember.
fn name_of(question: &StoredQuestion, asker: &Asker) -> String {
    let chain = &question.binding.chain;
    match (asker.hop.map(usize::try_from), &asker.who) {
        (None, Approver::Group(_)) => format!("policy:{}", asker.by),
        (None, Approver::Person(_)) => format!("decision:{}", asker.by),
        (Some(hop), _) => {
            let above =
                hop.ok().filter(|hop| hop.saturating_add(1) < chain.len()).and_then(|hop| chain.get(hop));
            let mandate =
                above.map_or_else(|| question.template.to_string(), |(mandate, _)| mandate.to_string());
            format!("grant:{mandate}#{}", asker.by)
        }
    }
}

/// Whether a person is asked, by name or by a group.
#[must_use]
pub fn is_asked(question: &AskedQuestion, person: &PersonId, groups: &BTreeSet<GroupName>) -> bool {
    question.asked.iter().filter_map(|who| who.parse().ok()).any(|who| match who {
        Approver::Person(asked) => asked == *person,
        Approver::Group(group) => groups.contains(&group),
    })
}

impl<S: Store> Approvals<S> {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: ApprovalsParts<S>) -> Self {
        Self { parts, engines: Mutex::default() }
    }

    /// The questions that are open, in the order in which they were asked: each waits for an answer, or its answer for its use. Some of a page may be left out.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn open(
        &self,
        after: Option<&DecisionId>,
        limit: usize,
    ) -> Result<(Vec<AskedQuestion>, Option<DecisionId>), ApprovalError> {
        let earliest = approvals::earliest_open(self.parts.clock.now());
        let after = after.max(earliest.as_ref());
        let ids = approvals::open(&*self.parts.store, after, limit).await?;
        let next = (ids.len() >= limit).then(|| ids.last().cloned()).flatten();
        let now = self.parts.clock.now();
        let mut found = Vec::new();
        for id in ids {
            let known = match approvals::question(&*self.parts.store, &id).await {
                Ok(Some(known)) => known,
                Ok(None) => continue,
                // The others can be answered all the same.
                Err(cause @ QuestionError::Unreadable { .. }) => {
                    tracing::error!(question = %id, %cause, "a question is left out of the list");
                    continue;
                }
                Err(cause) => return Err(cause.into()),
            };
            let told = line(&id, &known.question, now);
            if matches!(told.state, QuestionStanding::Waiting | QuestionStanding::Approved) {
                found.push(told);
            }
        }
        Ok((found, next))
    }

    /// Every question, in the order in which they were asked.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn all(
        &self,
        after: Option<&DecisionId>,
        limit: usize,
    ) -> Result<(Vec<AskedQuestion>, Option<DecisionId>), ApprovalError> {
        let page = approvals::all(&*self.parts.store, after, limit).await?;
        let next = (page.len() >= limit).then(|| page.last().map(|known| known.id.clone())).flatten();
        let now = self.parts.clock.now();
        Ok((page.iter().map(|known| line(&known.id, &known.question, now)).collect(), next))
    }

    /// A question in a line.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn question(&self, id: &DecisionId) -> Result<AskedQuestion, ApprovalError> {
        let known = approvals::question(&*self.parts.store, id).await?;
        let known = known.ok_or_else(|| AnswerError::Unknown(id.clone()))?;
        Ok(line(id, &known.question, self.parts.clock.now()))
    }

    /// A question with all that whoever answers has to know.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn whole(
        &self,
        office: &Office<S>,
        own: &Arc<Loaded>,
        id: &DecisionId,
    ) -> Result<WholeQuestion, ApprovalError> {
        let question = approvals::question(&*self.parts.store, id).await?;
        let question = question.ok_or_else(|| AnswerError::Unknown(id.clone()))?.question;
        let engine = self.engine(office, own, &question).await?;
        let ShownQuestion { known, arguments, presented, .. } = engine.question(id).await?;
        let explained = explain(&*self.parts.store, Some(&self.parts.seal), id.as_str()).await?;
        let body = match explained.body {
            Kept::Shown { content } => content,
            _ => serde_json::Value::Null,
        };
        let text = |value: &serde_json::Value, name: &str| {
            value.get(name).and_then(|value| value.as_str()).map(str::to_owned)
        };
        let list =
            |name: &str| body.get(name).and_then(|value| value.as_array()).cloned().unwrap_or_default();
        let (findings, earlier) = (list("findings"), list("earlier"));
        let why = findings.iter().map(|finding| Why {
            by: text(finding, "subject"),
            detail: text(finding, "detail").unwrap_or_default(),
        });
        let earlier = earlier.iter().filter_map(|call| {
            let before = Json::parse(text(call, "arguments")?.as_bytes()).ok()?;
            let changed = arguments.as_ref().map(|now| changed_places(&before, now)).unwrap_or_default();
            Some(EarlierCall {
                decision: text(call, "decision")?,
                arguments: plain(&before),
                arguments_text: before.canonical(),
                changed: changed.into_iter().collect(),
            })
        });
        let sources = body.get("sources").and_then(|value| value.as_object()).cloned().unwrap_or_default();
        let mut sources: BTreeMap<String, String> =
            sources.into_iter().filter_map(|(at, told)| Some((at, told.as_str()?.to_owned()))).collect();
        if let (Some(edited), Some(arguments)) = (&known.question.edited, &arguments) {
            put_in(&mut sources, edited, arguments);
        }
        let mandate = known.question.binding.chain.first().map(|(mandate, _)| mandate.clone());
        let request = match mandate {
            Some(root) => office.mandate_document(&root).await?.1.request,
            None => None,
        };
        Ok(WholeQuestion {
            arguments: arguments.as_ref().and_then(plain),
            arguments_text: arguments.as_ref().map(Json::canonical),
            arguments_digest: arguments.as_ref().map(Json::digest),
            presented: presented.as_ref().and_then(plain),
            presented_text: presented.as_ref().map(Json::canonical),
            edited_by: known.question.edited.as_ref().map(|edited| edited.by.to_string()),
            request,
            why: why.collect(),
            sources,
            labels: known.question.binding.labels.iter().cloned().collect(),
            earlier: earlier.collect(),
            grave: known.question.is_grave(),
            question: line(id, &known.question, self.parts.clock.now()),
        })
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// [`ApprovalError`]; nothing was answered then.
    pub async fn reply(
        &self,
        office: &Office<S>,
        own: &Arc<Loaded>,
        id: &DecisionId,
        by: &Replying<'_>,
        reply: Reply,
    ) -> Result<AskedQuestion, ApprovalError> {
        let question = approvals::question(&*self.parts.store, id).await?;
        let question = question.ok_or_else(|| AnswerError::Unknown(id.clone()))?.question;
        let evidence = format!("{} ({})", by.hand.actor, by.hand.evidence);
        let answerer = Answerer { person: by.person, evidence: &evidence, is_fresh: by.is_fresh };
        let answer = match reply {
            Reply::Approve { shown, arguments } => AnswerTo::Approve { shown, edited: arguments },
            Reply::Deny { reason } => AnswerTo::Deny { reason },
        };
        let engine = self.engine(office, own, &question).await?;
        let settled = engine.answer_question(id, answerer, &answer).await;
        engine.settle().await;
        Ok(line(id, &settled?.question, self.parts.clock.now()))
    }

    /// An engine that judges answers as the point's would that asked: on the bundle it asked on.
    async fn engine(
        &self,
        office: &Office<S>,
        own: &Arc<Loaded>,
        question: &StoredQuestion,
    ) -> Result<Engine<S>, ApprovalError> {
        let key = (question.bundle, question.point.clone());
        let lock = || self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = lock().get(&key) {
            return Ok(engine.clone());
        }
        let snapshot = match question.bundle == own.revision {
            true => Arc::clone(&own.snapshot),
            false => office.published(&question.bundle).await?.snapshot,
        };
        let parts = &self.parts;
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&parts.store),
            snapshot,
            stop: Arc::clone(&parts.stop),
            seal: parts.seal.clone(),
            clock: Arc::clone(&parts.clock),
            randomness: Arc::clone(&parts.randomness),
            settings: Settings::named(question.point.as_str()),
        });
        let mut engines = lock();
        if engines.len() >= MAX_ENGINES {
            engines.clear();
        }
        engines.insert(key, engine.clone());
        Ok(engine)
    }
}

/// What was told of the values that the agent gave says nothing of what somebody put in their place.
fn put_in(sources: &mut BTreeMap<String, String>, edited: &Edited, arguments: &Json) {
    let mut seen = BTreeSet::new();
    walk(arguments, &mut Vec::new(), &mut |location, value| {
        let at = place_text(location);
        if edited.places.contains(&at) {
            let told = format!("{} was put in by {}", value_text(&value.canonical()), edited.by);
            sources.insert(at.clone(), told);
        }
        seen.insert(at);
    });
    sources.retain(|at, _| seen.contains(at));
}

/// A value as others read JSON. Numbers that have no exact form there are still what was decided on: the text has them.
fn plain(value: &Json) -> Option<serde_json::Value> {
    serde_json::from_str(&value.canonical()).ok()
}
