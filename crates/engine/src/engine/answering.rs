//! The engine's side of answering: what somebody is shown who is asked, and what their answer comes to.
//!
//! An answer is judged on the call as it stands now: nobody says yes to what would be refused all the same, to what has become worse since it was shown, or for
//! somebody they are not.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use thiserror::Error;
use warrantor_decide::{
    Answering, Decision, MayNot, changed_places, decide, may_approve, place_text, source_key,
};
use warrantor_model::{
    Approval, Approver, Asker, Binding, Call, DecisionId, Digest, Finding, Given, Json, Offer, PersonId,
    Timestamp,
    path::walk,
    record::{ApprovalChange, ApprovalRecord, Event, Record},
};
use warrantor_store::{Commit, CommitError, Recency, Store};

use super::{Engine, Presented};
use crate::{
    approvals::{
        self, Edited, KnownQuestion, QuestionError, QuestionStanding, QuestionState, StoredQuestion, close,
        is_grave, put,
    },
    bodies::SealKey,
    load::{Answered, Asked, Loaded},
    wire::WireCall,
};

/// How long answers that are only imagined last.
const A_MOMENT: Duration = Duration::from_secs(60);
/// Most bytes of a reason.
const MAX_REASON: usize = 1000;

/// Who answers.
#[derive(Debug, Clone, Copy)]
pub struct Answerer<'a> {
    /// The person.
    pub person: &'a PersonId,
    /// How that is known, for records.
    pub evidence: &'a str,
    /// Whether they proved who they are just now: nobody approves something grave without.
    pub is_fresh: bool,
}

/// What somebody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerTo {
    /// Yes, to the arguments of this digest: those that were shown.
    Approve {
        /// The digest of the arguments that were shown.
        shown: Digest,
        /// Other arguments, to be used instead.
        edited: Option<Vec<u8>>,
    },
    /// No.
    Deny {
        /// Why, for the agent.
        reason: Option<String>,
    },
}

/// A question as it is shown to somebody who is asked.
#[derive(Debug, Clone)]
pub struct ShownQuestion {
    /// The question.
    pub known: KnownQuestion,
    /// The arguments as they would be used: those that were presented, or what somebody has put in their place. None where the person's key was erased.
    pub arguments: Option<Json>,
    /// The arguments as they were presented, where others took their place.
    pub presented: Option<Json>,
    /// Where it stands.
    pub standing: QuestionStanding,
}

/// What an answer has come to.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The question as it stands now.
    pub question: StoredQuestion,
    /// As whom the answer counts.
    pub answers: BTreeSet<Approver>,
    /// The revision that recorded it.
    pub revision: u64,
}

/// Why an answer was not taken.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// There is no such question.
    #[error("there is no question {0}")]
    Unknown(DecisionId),
    /// It does not wait any more.
    #[error("the question {id} waits no more: it is {}", standing.as_str())]
    Settled {
        /// Which.
        id: DecisionId,
        /// Where it stands.
        standing: QuestionStanding,
    },
    /// What was shown is not what would be approved.
    #[error("what would be approved is not what was shown: {0}")]
    Stale(String),
    /// It would be refused all the same.
    #[error("the call would be refused all the same: {}", findings.iter().map(|one| one.detail.as_str()).collect::<Vec<_>>().join("; "))]
    Refused {
        /// Why.
        findings: Vec<Finding>,
    },
    /// This person may not answer.
    #[error("{person} may not answer this: {why}")]
    MayNot {
        /// Who.
        person: PersonId,
        /// Why not.
        why: String,
    },
    /// It is grave, and who this person is was proved too long ago.
    #[error("{person} signed in too long ago to approve this: sign in again")]
    SignInAgain {
        /// Who.
        person: PersonId,
    },
    /// What was sent is no answer.
    #[error("{0}")]
    Invalid(String),
    /// Somebody else answered at the same time.
    #[error("somebody else answered at the same time: look again")]
    Contended,
    /// It cannot be told whether it was recorded.
    #[error("it cannot be told whether the answer was taken: look again ({0})")]
    Uncertain(String),
    /// It could not be told or recorded.
    #[error("it could not be done, and nothing was answered: {0}")]
    Unavailable(String),
}

impl From<QuestionError> for AnswerError {
    fn from(cause: QuestionError) -> Self {
        Self::Unavailable(cause.to_string())
    }
}

/// The arguments, as sources name them, of which every value was put in.
fn wholly_put_in(arguments: &Json, places: &BTreeSet<String>) -> BTreeSet<String> {
    let (mut put_in, mut others) = (BTreeSet::new(), BTreeSet::new());
    walk(arguments, &mut Vec::new(), &mut |location, value| {
        if !matches!(value, Json::Array(_) | Json::Object(_)) {
            let of = if places.contains(&place_text(location)) { &mut put_in } else { &mut others };
            of.insert(source_key(location));
        }
    });
    put_in.difference(&others).cloned().collect()
}

/// Arguments that are imagined to be used.
#[derive(Clone, Copy)]
struct Imagined<'a> {
    /// What the agent gave.
    original: &'a Json,
    /// What somebody has put in its place.
    arguments: Option<&'a (Vec<u8>, Json)>,
    /// Whether that is new with this answer.
    is_new: bool,
}

/// A call as it would be made if everybody said yes.
struct Foreseen {
    loaded: Loaded,
    call: Call,
    askers: BTreeSet<Asker>,
    binding: Binding,
    places: BTreeSet<String>,
}

impl<S: Store> Engine<S> {
    /// A question as it is shown to somebody who is asked.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn question(&self, id: &DecisionId) -> Result<ShownQuestion, AnswerError> {
        let known = self.known_question(id).await?;
        let standing = known.question.standing(self.0.parts.clock.now());
        let Ok(presented) = self.presented_of(&known).await else {
            return Ok(ShownQuestion { known, arguments: None, presented: None, standing });
        };
        let presented = Json::parse(&presented.arguments).ok();
        let edited = self.edited(id, &known.question).await.map_err(AnswerError::Unavailable)?;
        Ok(match edited {
            Some((_, edited)) => ShownQuestion { known, arguments: Some(edited), presented, standing },
            None => ShownQuestion { known, arguments: presented, presented: None, standing },
        })
    }

    /// Where a question that was asked at this enforcement point stands; none where that cannot be told.
    pub async fn standing_of(&self, id: &DecisionId) -> Option<QuestionStanding> {
        let asked = self.known_question(id);
        let known = tokio::time::timeout(self.0.parts.settings.commit_deadline, asked).await.ok()?.ok()?;
        let here = known.question.point == self.0.parts.settings.enforcement_point;
        here.then(|| known.question.standing(self.0.parts.clock.now()))
    }

    async fn known_question(&self, id: &DecisionId) -> Result<KnownQuestion, AnswerError> {
        let known = approvals::question(&*self.0.parts.store, id).await?;
        known.ok_or_else(|| AnswerError::Unknown(id.clone()))
    }

    /// The call as it was presented when it was asked about.
    async fn presented_of(&self, known: &KnownQuestion) -> Result<Presented, AnswerError> {
        let unavailable = |cause: String| AnswerError::Unavailable(cause);
        let key = self.seal_key(&known.question.person).await.map_err(unavailable)?;
        let opened =
            hex::decode(&known.question.sealed).map_err(|cause| cause.to_string()).and_then(|sealed| {
                key.open_value(&format!("question/{}", known.id), &sealed).map_err(|cause| cause.to_string())
            });
        let wire: WireCall = serde_json::from_slice(&opened.map_err(unavailable)?)
            .map_err(|cause| unavailable(cause.to_string()))?;
        wire.presented().ok_or_else(|| unavailable("the stored call does not read".to_owned()))
    }

    /// Takes an answer. It is recorded before it counts.
    ///
    /// # Errors
    /// [`AnswerError`]; nothing has changed then.
    pub async fn answer_question(
        &self,
        id: &DecisionId,
        by: Answerer<'_>,
        answer: &AnswerTo,
    ) -> Result<Settled, AnswerError> {
        let known = self.known_question(id).await?;
        let now = self.0.parts.clock.now();
        let standing = known.question.standing(now);
        let may_still_be_denied =
            standing == QuestionStanding::Approved && matches!(answer, AnswerTo::Deny { .. });
        if standing != QuestionStanding::Waiting && !may_still_be_denied {
            return Err(AnswerError::Settled { id: id.clone(), standing });
        }
        match answer {
            AnswerTo::Approve { shown, edited } => {
                self.approve(&known, by, shown, edited.as_deref(), now).await
            }
            AnswerTo::Deny { reason } => self.deny(&known, by, reason.as_deref(), now).await,
        }
    }

    async fn approve(
        &self,
        known: &KnownQuestion,
        by: Answerer<'_>,
        shown: &Digest,
        edited: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Settled, AnswerError> {
        let id = &known.id;
        let presented = self.presented_of(known).await?;
        let before = self.edited(id, &known.question).await.map_err(AnswerError::Unavailable)?;
        let original =
            Json::parse(&presented.arguments).map_err(|cause| AnswerError::Unavailable(cause.to_string()))?;
        let current = before.as_ref().map_or(&original, |(_, arguments)| arguments);
        if current.digest() != *shown {
            return Err(AnswerError::Stale("its arguments are others".to_owned()));
        }
        let put_in = match edited {
            None => None,
            Some(bytes) => {
                let arguments = Json::parse(bytes).map_err(|cause| {
                    AnswerError::Invalid(format!("the arguments cannot be read: {cause}"))
                })?;
                let new = arguments.digest() != *shown;
                if new && !matches!(presented.offer, Offer::Tool | Offer::Prompt) {
                    let why = "what it acts on cannot be changed: the arguments of tools and prompts can";
                    return Err(AnswerError::Invalid(why.to_owned()));
                }
                Some((bytes.to_vec(), arguments)).filter(|_| new)
            }
        };
        let is_new = put_in.is_some();
        let arguments = put_in.or_else(|| before.clone());
        let wanted = Imagined { original: &original, arguments: arguments.as_ref(), is_new };
        let foreseen = self.foresee(known, &presented, &wanted, by, now).await?;
        if is_grave(&foreseen.binding) && !by.is_fresh {
            return Err(AnswerError::SignInAgain { person: by.person.clone() });
        }
        let given_before: &[Given] = if is_new { &[] } else { &known.question.given };
        let (answers, policies) = match self.may_answer(&foreseen, by.person, given_before, now) {
            Ok(may) => may,
            Err(MayNot { why, policies }) => {
                self.record_may_not(known, by, policies).await;
                return Err(AnswerError::MayNot { person: by.person.clone(), why });
            }
        };
        let mut question = known.question.clone();
        question.given = given_before.to_vec();
        let new = answers.iter().map(|who| Given { who: who.clone(), by: by.person.clone(), at: now });
        question.given.extend(new);
        question.askers = foreseen.askers;
        question.binding = foreseen.binding;
        let mut commitment = None;
        if let (true, Some((bytes, _))) = (is_new, &arguments) {
            let key = self.seal_key(&question.person).await.map_err(AnswerError::Unavailable)?;
            let (edited, salted) = self.seal_edited(&key, id, bytes, by.person, foreseen.places)?;
            question.edited = Some(edited);
            commitment = Some(salted);
        }
        let complete = question.unanswered().is_empty();
        if complete {
            let ends = foreseen.loaded.task.chain.iter().map(|hop| hop.mandate.expires_at).min();
            let until = now.plus(self.0.parts.settings.approval_life.min(approvals::LONGEST / 2));
            question.state = QuestionState::Approved { until: ends.map_or(until, |ends| until.min(ends)) };
        }
        let record = ApprovalRecord {
            answers: answers.iter().map(ToString::to_string).collect(),
            policies,
            more_wanted: !complete,
            edited: commitment,
            ..self.approval_record(id, ApprovalChange::Approved, by)
        };
        let revision = self.settle_question(known, &question, record, false).await?;
        Ok(Settled { question, answers, revision })
    }

    fn seal_edited(
        &self,
        key: &SealKey,
        id: &DecisionId,
        bytes: &[u8],
        by: &PersonId,
        places: BTreeSet<String>,
    ) -> Result<(Edited, Digest), AnswerError> {
        let randomness = &*self.0.parts.randomness;
        let sealed = key
            .seal_value(randomness, &format!("edited/{id}"), bytes)
            .map_err(|cause| AnswerError::Unavailable(cause.to_string()))?;
        // The sealed bytes begin with random ones: their digest tells nothing of what they seal.
        let commitment = Digest::of(&sealed);
        Ok((Edited { by: by.clone(), sealed: hex::encode(&sealed), places }, commitment))
    }

    /// Decides the call as it would be made if everybody had said yes, but for the answers.
    async fn foresee(
        &self,
        known: &KnownQuestion,
        presented: &Presented,
        imagined: &Imagined<'_>,
        by: Answerer<'_>,
        now: Timestamp,
    ) -> Result<Foreseen, AnswerError> {
        let Imagined { original, arguments, is_new } = *imagined;
        let question = &known.question;
        let places = arguments.map(|(_, edited)| changed_places(original, edited)).unwrap_or_default();
        let arguments = arguments.map_or_else(|| original.clone(), |(_, edited)| edited.clone());
        let call =
            self.call(presented, arguments).map_err(|cause| AnswerError::Unavailable(cause.to_string()))?;
        let call = Call { enforcement_point: question.point.clone(), ..call };
        let is_edited = call.arguments != *original;
        // Nobody has said yes to anything, so that everything which asks is seen; what is put in counts as a person's.
        let unanswered = Approval {
            given: Vec::new(),
            replaced: is_edited,
            edited: places.clone(),
            ..question.approval(&known.id, now.plus(A_MOMENT))
        };
        let unanswered = Arc::new(unanswered);
        let answered = Answered { approval: is_edited.then_some(&unanswered), by: Some(by.person) };
        let loaded = self.load(&call.mandate, Asked::Call(&call), now, Recency::Latest, answered).await;
        let loaded = loaded.map_err(AnswerError::Unavailable)?;
        let mut facts = loaded.facts.clone();
        if is_edited {
            facts.approval = self.rebound(&loaded, &call, &unanswered, now);
        }
        let (askers, binding) = match decide(&loaded.snapshot, &loaded.task, &facts, &call, now) {
            Decision::Ask(asking, _) => (asking.askers, asking.binding),
            Decision::Deny(refusal, _) => {
                return Err(AnswerError::Refused { findings: refusal.findings().to_vec() });
            }
            // Nothing asks any more: of what was edited, because of that.
            Decision::Pass(draft) if is_edited => {
                let binding = draft.grounds().binding.clone();
                let binding =
                    binding.ok_or_else(|| AnswerError::Unavailable("the call has no name".to_owned()))?;
                // The yes to what was put in is still somebody's who was asked.
                (question.askers.clone(), binding)
            }
            Decision::Pass(_) => {
                return Err(AnswerError::Stale(
                    "nothing asks about this call any more: it passes".to_owned(),
                ));
            }
        };
        if is_new {
            // What was asked may not have become worse, but for what is put in and what that does.
            let first = Binding { effects: binding.effects.clone(), ..question.first.clone() };
            if let Some(why) = first.worsened(&binding, &wholly_put_in(&call.arguments, &places)) {
                return Err(AnswerError::Stale(why));
            }
            // A yes is none to what nobody has read.
            if !askers.is_subset(&question.askers) {
                let why = "with these arguments more would have to be asked than was: say no, and let the agent ask";
                return Err(AnswerError::Stale(why.to_owned()));
            }
        } else if let Some(why) = question.binding.differs_from(&binding) {
            return Err(AnswerError::Stale(why));
        } else if askers != question.askers {
            return Err(AnswerError::Stale("what asks about the call has changed".to_owned()));
        }
        Ok(Foreseen { loaded, call, askers, binding, places })
    }

    /// The same without answers, bound to the call as it is with what was put in.
    fn rebound(
        &self,
        loaded: &Loaded,
        call: &Call,
        unanswered: &Approval,
        now: Timestamp,
    ) -> Option<Arc<Approval>> {
        let mut facts = loaded.facts.clone();
        let of = |binding: Binding| Arc::new(Approval { binding, ..unanswered.clone() });
        facts.approval = Some(of(unanswered.binding.clone()));
        let binding = decide(&loaded.snapshot, &loaded.task, &facts, call, now).grounds().binding.clone()?;
        Some(of(binding))
    }

    /// As whom somebody may answer, and by which policies.
    fn may_answer(
        &self,
        foreseen: &Foreseen,
        by: &PersonId,
        before: &[Given],
        now: Timestamp,
    ) -> Result<(BTreeSet<Approver>, Vec<String>), MayNot> {
        let Foreseen { loaded, call, askers, .. } = foreseen;
        let answered: BTreeSet<Approver> = before.iter().map(|given| given.who.clone()).collect();
        let asked: BTreeSet<&Approver> = askers.iter().map(|asker| &asker.who).collect();
        let (mut answers, mut policies) = (BTreeSet::new(), BTreeSet::new());
        let mut refused = MayNot {
            why: "everybody they could answer for has been answered for".to_owned(),
            policies: Vec::new(),
        };
        // As they will be judged when they are used: each after the others.
        let mut before = before.to_vec();
        for who in asked.into_iter().filter(|who| !answered.contains(who)) {
            let answering = Answering { who, by, before: &before };
            match may_approve(&loaded.snapshot, &loaded.task, &loaded.facts, call, now, &answering) {
                Ok(permits) => {
                    answers.insert(who.clone());
                    before.push(Given { who: who.clone(), by: by.clone(), at: now });
                    policies.extend(permits);
                }
                Err(may_not) => refused = may_not,
            }
        }
        if answers.is_empty() { Err(refused) } else { Ok((answers, policies.into_iter().collect())) }
    }

    async fn deny(
        &self,
        known: &KnownQuestion,
        by: Answerer<'_>,
        reason: Option<&str>,
        now: Timestamp,
    ) -> Result<Settled, AnswerError> {
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        if reason.is_some_and(|reason| {
            reason.len() > MAX_REASON || reason.chars().any(|c| c.is_control() && c != '\n')
        }) {
            return Err(AnswerError::Invalid(format!("a reason is a text of at most {MAX_REASON} bytes")));
        }
        let presented = self.presented_of(known).await?;
        let original =
            Json::parse(&presented.arguments).map_err(|cause| AnswerError::Unavailable(cause.to_string()))?;
        let call =
            self.call(&presented, original).map_err(|cause| AnswerError::Unavailable(cause.to_string()))?;
        let call = Call { enforcement_point: known.question.point.clone(), ..call };
        let answered = Answered { approval: None, by: Some(by.person) };
        let loaded = self.load(&call.mandate, Asked::Call(&call), now, Recency::Latest, answered).await;
        let loaded = loaded.map_err(AnswerError::Unavailable)?;
        let foreseen = Foreseen {
            askers: known.question.askers.clone(),
            binding: known.question.binding.clone(),
            places: BTreeSet::new(),
            loaded,
            call,
        };
        // What is done for somebody they may always refuse.
        let (answers, policies) = match self.may_answer(&foreseen, by.person, &[], now) {
            Ok(may) => may,
            Err(_) if known.question.person == *by.person => (BTreeSet::new(), Vec::new()),
            Err(MayNot { why, policies }) => {
                self.record_may_not(known, by, policies).await;
                return Err(AnswerError::MayNot { person: by.person.clone(), why });
            }
        };
        let mut question = known.question.clone();
        question.state =
            QuestionState::Denied { by: by.person.clone(), at: now, reason: reason.map(str::to_owned) };
        let record = ApprovalRecord {
            answers: answers.iter().map(ToString::to_string).collect(),
            policies,
            reason: reason.map(str::to_owned),
            ..self.approval_record(&known.id, ApprovalChange::Denied, by)
        };
        let revision = self.settle_question(known, &question, record, true).await?;
        Ok(Settled { question, answers, revision })
    }

    /// Withdraws a question that nobody has to answer any more.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn withdraw(&self, known: &KnownQuestion, why: &str) -> Result<u64, AnswerError> {
        let now = self.0.parts.clock.now();
        let mut question = known.question.clone();
        question.state = QuestionState::Withdrawn { at: now, why: why.to_owned() };
        let nobody = known.question.person.clone();
        let by = Answerer { person: &nobody, evidence: "the engine", is_fresh: false };
        let record = ApprovalRecord {
            by: "engine".to_owned(),
            reason: Some(why.to_owned()),
            ..self.approval_record(&known.id, ApprovalChange::Withdrawn, by)
        };
        self.settle_question(known, &question, record, true).await
    }

    fn approval_record(&self, id: &DecisionId, change: ApprovalChange, by: Answerer<'_>) -> ApprovalRecord {
        ApprovalRecord {
            question: id.to_string(),
            change,
            by: format!("person:{}", by.person),
            evidence: by.evidence.to_owned(),
            answers: Vec::new(),
            policies: Vec::new(),
            more_wanted: false,
            edited: None,
            reason: None,
            bundle: self.snapshot().revision(),
        }
    }

    /// That somebody wanted to answer who may not. It changes nothing whether that can be recorded.
    async fn record_may_not(&self, known: &KnownQuestion, by: Answerer<'_>, policies: Vec<String>) {
        let now = self.0.parts.clock.now();
        let Ok(name) = self.fresh_id(now) else { return };
        let record =
            ApprovalRecord { policies, ..self.approval_record(&known.id, ApprovalChange::Refused, by) };
        let mut commit = Commit::new(Record::new(name.as_str(), now, Event::Approval(record)));
        commit.linked_to = Some(known.id.to_string());
        self.record_or_keep(commit, self.0.parts.settings.commit_deadline).await;
    }

    async fn settle_question(
        &self,
        known: &KnownQuestion,
        question: &StoredQuestion,
        record: ApprovalRecord,
        closes: bool,
    ) -> Result<u64, AnswerError> {
        let unavailable = |cause: String| AnswerError::Unavailable(cause);
        let now = self.0.parts.clock.now();
        let name = self.fresh_id(now).map_err(|()| unavailable("no random bytes".to_owned()))?;
        let mut commit = Commit::new(Record::new(name.as_str(), now, Event::Approval(record)));
        commit.linked_to = Some(known.id.to_string());
        put(&mut commit, known, question).map_err(unavailable)?;
        if closes {
            close(&mut commit, known).map_err(|cause| unavailable(cause.to_string()))?;
        }
        match self.commit_within(commit, self.0.parts.settings.commit_deadline).await {
            Ok(committed) => Ok(committed.revision),
            Err(CommitError::Moved { .. }) => Err(AnswerError::Contended),
            Err(cause @ CommitError::Unknown { .. }) => Err(AnswerError::Uncertain(cause.to_string())),
            Err(cause) => Err(unavailable(cause.to_string())),
        }
    }
}
