//! The engine's side of asking: a question is recorded before anybody is told of it, and answers are used up in the commit of the pass that they let through.

use std::sync::Arc;

use warrantor_decide::{Asking, Decision, Grounds};
use warrantor_model::{
    Call, Decimal, DecisionId, Finding, Json, ReasonCode, Refusal, Timestamp,
    record::{ApprovalUse, GivenRecord, Verdict},
};
use warrantor_store::{Add, Commit, CommitError, Expect, Key, Recency, Store, Wanted};

use super::{Answer, Attempt, Engine, Presented, Refused};
use crate::{
    approvals::{self, KnownQuestion, QuestionStanding, QuestionState, StoredQuestion, close, place, put},
    keys,
    load::{Answered, Asked, Loaded},
    recording::Decided,
    wire::WireCall,
};

/// Most questions of one task that are open at a time: nobody answers more, and an agent that asks about everything needs another mandate.
const MAX_OPEN: u32 = 20;
/// Most questions that one task asks in all: a call is made another one by a trifle, and nobody reads the hundredth.
const MAX_ASKED: u32 = 200;
/// Most expired questions that are put away where there are too many.
const MAX_SWEPT: usize = 64;

/// A call that is under way.
#[derive(Clone, Copy)]
pub(super) struct UnderWay<'a> {
    pub(super) id: &'a DecisionId,
    pub(super) presented: &'a Presented,
    pub(super) call: &'a Call,
    pub(super) now: Timestamp,
}

impl<'a> UnderWay<'a> {
    /// What the record is made from of a decision that found nothing and asks nobody.
    pub(super) fn decided(self, verdict: Verdict, loaded: &'a Loaded, grounds: &'a Grounds) -> Decided<'a> {
        let Self { id, presented, call, now } = self;
        Decided {
            id,
            at: now,
            verdict,
            snapshot: &loaded.snapshot,
            method: &presented.method,
            call: Some(call),
            evidence: &call.evidence,
            enforcement_point: &call.enforcement_point,
            task: Some(&loaded.task),
            revision: loaded.revision,
            grounds,
            findings: &[],
            asked: &[],
            approval: None,
        }
    }
}

/// Answers about to be used: the question, as it was read, and where the entry is that leads to it.
pub(super) struct Using<'a> {
    pub(super) known: &'a KnownQuestion,
    pub(super) place: &'a Key,
}

/// What leads from a call to its question.
struct Led {
    place: Key,
    /// What the entry must still be.
    expect: Expect,
    known: Option<KnownQuestion>,
}

/// A question as a decision has to do with it.
pub(crate) fn approval_use(id: &DecisionId, question: &StoredQuestion, used: bool) -> ApprovalUse {
    let given = question.given.iter().map(|given| GivenRecord {
        who: given.who.to_string(),
        by: given.by.to_string(),
        at: given.at,
    });
    ApprovalUse {
        question: id.to_string(),
        given: given.collect(),
        used,
        edited: question.edited.iter().flat_map(|edited| edited.places.iter().cloned()).collect(),
    }
}

impl<S: Store> Engine<S> {
    /// Goes on from a decision that asks: with the answers, if there are any; with the question that was asked before; or with a new one.
    pub(super) async fn ask(
        &self,
        under_way: UnderWay<'_>,
        loaded: &Loaded,
        asking: &Asking,
        grounds: &Grounds,
    ) -> Attempt {
        let UnderWay { id, presented, call, now } = under_way;
        let led = match self.led_to(&asking.binding.task, call).await {
            Ok(led) => led,
            Err(why) => {
                let finding = Finding::new(ReasonCode::DecisionUnavailable, why);
                return Attempt::done(self.refuse(id, presented, Some(call), finding).await);
            }
        };
        if let Some(known) = &led.known {
            match known.question.standing(now) {
                QuestionStanding::Waiting if known.question.asks_the_same(asking) => {
                    let mut decided = self.asked(under_way, loaded, asking, grounds);
                    decided.approval = Some(approval_use(&known.id, &known.question, false));
                    self.record_refusal(&decided, presented).await;
                    return Attempt::done(Answer::Asked(known.id.clone(), asking.question.clone()));
                }
                QuestionStanding::Denied => {
                    return self.refuse_denied(under_way, loaded, grounds, known).await;
                }
                QuestionStanding::Approved => {
                    let using = Using { known, place: &led.place };
                    if let Some(attempt) = self.use_answers(under_way, &using).await {
                        return attempt;
                    }
                    // They do not count any more: somebody has to look at it again.
                }
                _ => {}
            }
        }
        self.begin_question(under_way, loaded, asking, grounds, &led).await
    }

    fn asked<'a>(
        &self,
        under_way: UnderWay<'a>,
        loaded: &'a Loaded,
        asking: &'a Asking,
        grounds: &'a Grounds,
    ) -> Decided<'a> {
        let Asking { question, .. } = asking;
        Decided {
            findings: &question.findings,
            asked: &question.asked,
            ..under_way.decided(Verdict::Ask, loaded, grounds)
        }
    }

    /// The question that a call leads to.
    async fn led_to(&self, task: &warrantor_model::TaskId, call: &Call) -> Result<Led, String> {
        let place = place(task, call).map_err(|cause| cause.to_string())?;
        let wanted = Wanted { entries: [place.clone()].into(), ..Wanted::default() };
        let view = self.0.parts.store.read(&wanted).await.map_err(|cause| cause.to_string())?;
        let Some(entry) = view.entries.get(&place) else {
            return Ok(Led { place, expect: Expect::Absent, known: None });
        };
        let id: DecisionId = serde_json::from_slice::<String>(&entry.value)
            .map_err(|cause| cause.to_string())?
            .parse()
            .map_err(|cause: warrantor_model::IdError| cause.to_string())?;
        let known =
            approvals::question(&*self.0.parts.store, &id).await.map_err(|cause| cause.to_string())?;
        Ok(Led { place, expect: Expect::Version(entry.version), known })
    }

    /// A person said no to this very call: the agent is told so, as often as it asks.
    async fn refuse_denied(
        &self,
        under_way: UnderWay<'_>,
        loaded: &Loaded,
        grounds: &Grounds,
        known: &KnownQuestion,
    ) -> Attempt {
        let UnderWay { id, presented, .. } = under_way;
        let reason = match &known.question.state {
            QuestionState::Denied { reason, .. } => reason.as_deref(),
            _ => None,
        };
        let mut finding =
            Finding::new(ReasonCode::ApprovalDenied, format!("{} was answered with no", known.id))
                .by(known.id.to_string());
        if let Some(reason) = reason {
            finding = finding.saying(format!("{} They say: {reason}", ReasonCode::ApprovalDenied.sentence()));
        }
        let findings = vec![finding];
        let decided = Decided {
            findings: &findings,
            approval: Some(approval_use(&known.id, &known.question, false)),
            ..under_way.decided(Verdict::Deny, loaded, grounds)
        };
        self.record_refusal(&decided, presented).await;
        let refusal = Refusal::new(findings);
        Attempt::done(Answer::Refused(Refused { decision: id.clone(), refusal }))
    }

    /// Decides anew with the answers. None where they do not count and the question has to be asked again.
    async fn use_answers(&self, under_way: UnderWay<'_>, using: &Using<'_>) -> Option<Attempt> {
        let UnderWay { id, presented, call, now } = under_way;
        let question = &using.known.question;
        let QuestionState::Approved { until } = question.state else { return None };
        let unavailable = |why: String| Finding::new(ReasonCode::DecisionUnavailable, why);
        let edited = match self.edited(&using.known.id, question).await {
            Ok(edited) => edited,
            Err(why) => {
                let answer = self.refuse(id, presented, Some(call), unavailable(why)).await;
                return Some(Attempt::done(answer));
            }
        };
        let (presented, call) = match edited {
            None => (presented.clone(), call.clone()),
            Some((bytes, arguments)) => {
                (Presented { arguments: bytes, ..presented.clone() }, Call { arguments, ..call.clone() })
            }
        };
        let approval = Arc::new(question.approval(&using.known.id, until));
        let answered = Answered { approval: Some(&approval), by: None };
        let loaded = self.load(&call.mandate, Asked::Call(&call), now, Recency::Latest, answered).await;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                let answer = self.refuse(id, &presented, Some(&call), unavailable(why)).await;
                return Some(Attempt::done(answer));
            }
        };
        let decision = warrantor_decide::decide(&loaded.snapshot, &loaded.task, &loaded.facts, &call, now);
        let under_way = UnderWay { presented: &presented, call: &call, ..under_way };
        let decided = |verdict, findings, used| Decided {
            findings,
            approval: Some(approval_use(&using.known.id, question, used)),
            ..under_way.decided(verdict, &loaded, decision.grounds())
        };
        match &decision {
            Decision::Pass(draft) => {
                let decided = decided(Verdict::Pass, &[], true);
                Some(self.commit_pass(&decided, &presented, &call, &loaded, draft, (None, Some(using))).await)
            }
            Decision::Ask(..) => None,
            Decision::Deny(refusal, _)
                if refusal.findings().iter().all(|one| one.code == ReasonCode::ApprovalRequired) =>
            {
                None
            }
            Decision::Deny(refusal, _) => {
                self.record_refusal(&decided(Verdict::Deny, refusal.findings(), false), &presented).await;
                let refused = Refused { decision: id.clone(), refusal: refusal.clone() };
                Some(Attempt::done(Answer::Refused(refused)))
            }
        }
    }

    /// The arguments that a person put in the place of those that were asked about.
    pub(super) async fn edited(
        &self,
        id: &DecisionId,
        question: &StoredQuestion,
    ) -> Result<Option<(Vec<u8>, Json)>, String> {
        let Some(edited) = &question.edited else { return Ok(None) };
        let sealed = hex::decode(&edited.sealed).map_err(|cause| cause.to_string())?;
        let key = self.seal_key(&question.person).await?;
        let opened = key.open_value(&format!("edited/{id}"), &sealed).map_err(|cause| cause.to_string())?;
        let arguments = Json::parse(&opened).map_err(|cause| cause.to_string())?;
        Ok(Some((opened.to_vec(), arguments)))
    }

    /// Adds to the commit of a pass that it uses the answers up.
    pub(super) fn use_up(
        commit: &mut Commit,
        id: &DecisionId,
        at: Timestamp,
        using: &Using<'_>,
    ) -> Result<(), String> {
        let used = StoredQuestion {
            state: QuestionState::Used { decision: id.clone(), at },
            ..using.known.question.clone()
        };
        put(commit, using.known, &used)?;
        close(commit, using.known).map_err(|cause| cause.to_string())?;
        commit.deletes.push(using.place.clone());
        Ok(())
    }

    /// Asks anew, in place of what was asked before about this call. Nobody is told of a question whose record is not durable.
    async fn begin_question(
        &self,
        under_way: UnderWay<'_>,
        loaded: &Loaded,
        asking: &Asking,
        grounds: &Grounds,
        led: &Led,
    ) -> Attempt {
        let UnderWay { id, presented, call, .. } = under_way;
        let mut decided = self.asked(under_way, loaded, asking, grounds);
        let deadline = self.0.parts.settings.commit_deadline;
        let prepared = tokio::time::timeout(deadline, self.question_of(under_way, loaded, asking, led)).await;
        let prepared = prepared.unwrap_or_else(|_| Err("the store did not answer in time".to_owned()));
        let unavailable = |why: String| Finding::new(ReasonCode::AuditUnavailable, why);
        let question = match prepared {
            Ok(question) => question,
            Err(why) => {
                return Attempt::done(self.refuse(id, presented, Some(call), unavailable(why)).await);
            }
        };
        decided.approval = Some(approval_use(id, &question, false));
        let body = self.seal(Some(&question.person), &decided.body(&presented.arguments)).await;
        let Ok(Some(body)) = body else {
            let detail = "nobody could be shown the arguments: they are too large to be kept";
            return Attempt::done(
                self.refuse(id, presented, Some(call), unavailable(detail.to_owned())).await,
            );
        };
        let mut commit = Commit::new(decided.record(Some(&body)));
        commit.body = Some(body);
        if let Err(why) = question_commit(&mut commit, id, &question, led, under_way.now) {
            return Attempt::done(self.refuse(id, presented, Some(call), unavailable(why)).await);
        }
        let event = self.refused_event(&decided, deadline).await;
        let _adding = event.as_ref().map(|(task, _)| self.adding(task));
        let gone = event
            .as_ref()
            .map(|(task, written)| self.add_event(&mut commit, task, written).unwrap_or_default());
        match self.commit_within(commit, deadline).await {
            Ok(committed) => {
                if let Some((task, written)) = event {
                    self.happened(&task, committed.revision, written, &gone.unwrap_or_default());
                }
                self.write_gap_later();
                Attempt::done(Answer::Asked(id.clone(), asking.question.clone()))
            }
            Err(CommitError::Moved { .. } | CommitError::Overtaken { .. } | CommitError::NotNew { .. }) => {
                Attempt::Moved
            }
            Err(CommitError::LimitReached { at_most, .. }) if at_most == MAX_ASKED.into() => {
                let detail = format!("this task has asked {MAX_ASKED} questions");
                let sentence = "This task has asked a person as often as a task may.";
                let finding = Finding::new(ReasonCode::LimitReached, detail).by("questions").saying(sentence);
                Attempt::done(self.refuse(id, presented, Some(call), finding).await)
            }
            Err(CommitError::LimitReached { .. }) => {
                if self.sweep(&question, under_way.now).await {
                    return Attempt::Moved;
                }
                let detail = format!("{MAX_OPEN} questions of this task wait for an answer");
                let sentence = "Too many calls of this task wait for a person: wait for the answers.";
                let finding = Finding::new(ReasonCode::LimitReached, detail).by("questions").saying(sentence);
                Attempt::done(self.refuse(id, presented, Some(call), finding).await)
            }
            Err(cause) => {
                if let (Some((task, _)), CommitError::Unknown { .. }) = (&event, &cause) {
                    self.missed(task);
                }
                let finding = unavailable(cause.to_string());
                Attempt::done(match cause {
                    // It may be stored: then it waits for an answer that is used by the next try.
                    CommitError::Unknown { .. } => Answer::Refused(Refused {
                        decision: id.clone(),
                        refusal: Refusal::new(vec![finding]),
                    }),
                    _ => self.refuse(id, presented, Some(call), finding).await,
                })
            }
        }
    }

    /// A question as it is stored.
    async fn question_of(
        &self,
        under_way: UnderWay<'_>,
        loaded: &Loaded,
        asking: &Asking,
        led: &Led,
    ) -> Result<StoredQuestion, String> {
        let UnderWay { id, presented, call, now } = under_way;
        let (root, last) = loaded
            .task
            .chain
            .first()
            .zip(loaded.task.chain.last())
            .ok_or_else(|| "the call is made under no mandate".to_owned())?;
        let wire = WireCall::of(presented, loaded.snapshot.revision())
            .ok_or_else(|| "the arguments are no text".to_owned())?;
        let wire = serde_json::to_vec(&wire).map_err(|cause| cause.to_string())?;
        let person = root.mandate.terms.person.clone();
        let key = self.seal_key(&person).await?;
        let sealed = key.seal_value(&*self.0.parts.randomness, &format!("question/{id}"), &wire);
        let ends = loaded.task.chain.iter().map(|hop| hop.mandate.expires_at).min();
        let until = now.plus(self.0.parts.settings.question_life.min(approvals::LONGEST / 2));
        Ok(StoredQuestion {
            person,
            agent: last.mandate.terms.agent.clone(),
            template: last.mandate.terms.template.clone(),
            purpose: root.mandate.terms.purpose.clone(),
            part: (loaded.task.chain.len() > 1).then(|| last.mandate.terms.purpose.clone()),
            tool: call.tool.clone(),
            point: call.enforcement_point.clone(),
            bundle: loaded.snapshot.revision(),
            asked_at: now,
            until: ends.map_or(until, |ends| until.min(ends)),
            askers: asking.askers.clone(),
            binding: asking.binding.clone(),
            first: asking.binding.clone(),
            sealed: hex::encode(sealed.map_err(|cause| cause.to_string())?),
            place: led.place.as_str().to_owned(),
            given: Vec::new(),
            edited: None,
            state: QuestionState::Waiting {},
        })
    }

    /// Puts away what has expired of a task's questions. Whether anything had.
    async fn sweep(&self, of: &StoredQuestion, now: Timestamp) -> bool {
        let store = &*self.0.parts.store;
        let Ok(open) = approvals::open_of_task(store, &of.binding.task, MAX_SWEPT).await else {
            return false;
        };
        let mut swept = false;
        for id in open {
            let Ok(Some(known)) = approvals::question(store, &id).await else { continue };
            if known.question.standing(now) == QuestionStanding::Expired {
                swept |= self
                    .withdraw(&known, "nobody answered, or the answer was not used, in time")
                    .await
                    .is_ok();
            }
        }
        swept
    }
}

fn question_commit(
    commit: &mut Commit,
    id: &DecisionId,
    question: &StoredQuestion,
    led: &Led,
    now: Timestamp,
) -> Result<(), String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    if let Some(before) = &led.known {
        let is_open =
            matches!(before.question.state, QuestionState::Waiting {} | QuestionState::Approved { .. });
        if is_open {
            let why = format!("it was asked anew as {id}");
            let overtaken = StoredQuestion {
                state: QuestionState::Withdrawn { at: now, why },
                ..before.question.clone()
            };
            put(commit, before, &overtaken)?;
            close(commit, before).map_err(|cause| text(&cause))?;
        }
    }
    let task = &question.binding.task;
    let key = keys::question(id).map_err(|cause| text(&cause))?;
    commit.expect.push((led.place.clone(), led.expect));
    commit.expect.push((key.clone(), Expect::Absent));
    commit.puts.push((key, serde_json::to_vec(question).map_err(|cause| text(&cause))?));
    commit.puts.push((led.place.clone(), serde_json::to_vec(id.as_str()).map_err(|cause| text(&cause))?));
    commit.puts.push((keys::open_question(id).map_err(|cause| text(&cause))?, b"{}".to_vec()));
    commit.puts.push((keys::open_of_task(task, id).map_err(|cause| text(&cause))?, b"{}".to_vec()));
    commit.adds.push(Add {
        counter: keys::open_of_task_count(task).map_err(|cause| text(&cause))?,
        amount: Decimal::ONE,
        at_most: Some(MAX_OPEN.into()),
    });
    commit.adds.push(Add {
        counter: keys::asked_of_task_count(task).map_err(|cause| text(&cause))?,
        amount: Decimal::ONE,
        at_most: Some(MAX_ASKED.into()),
    });
    Ok(())
}
