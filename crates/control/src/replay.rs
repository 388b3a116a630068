//! Replay: a trace decided call by call, as `run` would have decided it.
//!
//! The same core decides, on what calls before would have left in a store: limits, trackers, labels, history, what was handed out. Nothing is recorded and
//! nothing is sent. A task without a time stands alone, at one fixed instant; tasks with times share what they leave, and the clock stands where
//! the trace says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use thiserror::Error;
use warrantor_bundle::{
    Loaded, MandateTemplate, Report,
    files::trace::{TraceCall, TraceLine, TraceResult, TraceTask},
    trace_line,
    values::OneOrMany,
};
use warrantor_decide::{
    Charge, Decision, Facts, History, Hop, Obligation, Output, Tally, TaskState, Tracking, decide, redacted,
    redacted_text,
};
use warrantor_engine::mandates::MAX_HOPS;
use warrantor_model::{
    Call, Definition, Digest, EffectSet, Evidence, Failure, Finding, IdError, Json, Mandate, MandateId, Path,
    Standing, TaskId, TemplateId, Timestamp, ToolRef, record::Verdict, tracker::TrackedOutcome,
};

/// The instant of tasks that have none: 2026-01-01T00:00:00Z.
const NO_TIME: i64 = 1_767_225_600_000_000;

/// How asks and what did not pass are treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplaySettings {
    /// Whether every ask is answered with yes; its call counts as made then.
    pub approve_all: bool,
    /// Whether results of calls that did not pass enter the history all the same, as they did where nothing enforced.
    pub assume_executed: bool,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A line is at fault.
    #[error("{0}")]
    Line(Report),
    /// A mandate written out in the trace is at fault.
    #[error("the mandate of the task {task} is at fault: {report}")]
    Mandate {
        /// Which task.
        task: String,
        /// What is wrong.
        report: Report,
    },
    /// A call or a result before any task.
    #[error("{what} comes before any task: begin with a line of the type \"task\"")]
    NoTask {
        /// What.
        what: &'static str,
    },
    /// A result of a call that was not made, or was answered already.
    #[error("the result {id:?} answers no call of this task that waits for one")]
    NoCall {
        /// Which.
        id: String,
    },
    /// A call whose id another one of the task has.
    #[error("the id {id:?} stands twice in one task: give each call its own")]
    SameId {
        /// Which.
        id: String,
    },
    /// The bundle has no such mandate.
    #[error("the bundle has no mandate {template}; it has: {known}")]
    Unknown {
        /// Which.
        template: TemplateId,
        /// Those it has.
        known: String,
    },
    /// A chain of parents that is too long, or a circle.
    #[error("the mandates above {template} form a circle or more than {MAX_HOPS} hops")]
    Circle {
        /// Which.
        template: TemplateId,
    },
    /// A name is none.
    #[error(transparent)]
    Id(#[from] IdError),
}

/// One decided call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// The task's id in the trace.
    pub task: String,
    /// The call's id in the trace.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// `pass`, `ask` or `deny`.
    pub decision: Verdict,
    /// The codes of its reasons, each once.
    pub reasons: Vec<String>,
    /// Where the values of its arguments were found.
    pub sources: BTreeMap<String, Vec<String>>,
    /// The trace's label, echoed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<serde_json::Value>,
    /// How long it took to decide.
    pub micros: u64,
}

impl Replayed {
    /// Whether decision or reasons differ.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        self.decision != other.decision || self.reasons != other.reasons
    }
}

/// What calls leave behind for later ones.
#[derive(Debug, Default)]
struct Kept {
    tally: Tally,
    /// The time of the last event: a clock that stands before it is not trusted.
    last: Option<Timestamp>,
}

/// Replays traces on one bundle.
pub struct Replayer<'a> {
    bundle: &'a Loaded,
    settings: ReplaySettings,
    stopwatch: &'a dyn Fn() -> u64,
    /// What tasks with times share.
    shared: Kept,
    /// What the present task has for itself, when it has no time.
    alone: Kept,
    task: Option<Task>,
    /// Tasks with times that others came after, by their id: they can go on.
    before: BTreeMap<String, Task>,
    /// How many names were given out.
    named: u64,
}

/// The task that the trace is in.
struct Task {
    id: String,
    chain: Vec<Hop>,
    /// Whether it shares what it leaves.
    timed: bool,
    begun: Timestamp,
    now: Timestamp,
    calls: u64,
    effects: EffectSet,
    labels: BTreeSet<String>,
    history: Arc<History>,
    /// Calls by their id: what is owed for those that passed, what is known of those that did not.
    made: BTreeMap<String, Made>,
}

enum Made {
    Passed(Box<Owed>),
    NotPassed { event: String, tool: ToolRef, arguments: Box<Json>, assumed: bool },
    Answered,
}

/// What the outcome of a passed call decides.
struct Owed {
    event: String,
    tool: ToolRef,
    charges: Vec<Charge>,
    markers: BTreeSet<String>,
    tracking: Vec<Tracking>,
    obligations: BTreeSet<Obligation>,
}

impl<'a> Replayer<'a> {
    /// A replayer. `stopwatch` gives microseconds from some beginning.
    #[must_use]
    pub fn new(bundle: &'a Loaded, settings: ReplaySettings, stopwatch: &'a dyn Fn() -> u64) -> Self {
        let (shared, alone) = (Kept::default(), Kept::default());
        Self { bundle, settings, stopwatch, shared, alone, task: None, before: BTreeMap::new(), named: 0 }
    }

    /// Replays one line; a call gives its decision.
    ///
    /// # Errors
    /// [`ReplayError`]; the trace cannot be gone on with then.
    pub fn line(&mut self, line: &str) -> Result<Option<Replayed>, ReplayError> {
        match trace_line(line).map_err(ReplayError::Line)? {
            TraceLine::Task(task) => self.begin(task).map(|()| None),
            TraceLine::Call(call) => self.call(call).map(Some),
            TraceLine::Result(result) => self.result(result).map(|()| None),
        }
    }

    fn name(&mut self, prefix: &str) -> String {
        self.named = self.named.saturating_add(1);
        format!("{prefix}{}", self.named)
    }

    fn begin(&mut self, task: TraceTask) -> Result<(), ReplayError> {
        let begun = task.at.0.unwrap_or(Timestamp::from_micros(NO_TIME));
        if let Some(last) = self.task.take().filter(|last| last.timed) {
            self.before.insert(last.id.clone(), last);
        }
        if let Some(known) = task.at.0.and_then(|_| self.before.remove(&task.id)) {
            self.task = Some(Task { begun, now: begun, ..known });
            return Ok(());
        }
        let chain = match &task.mandate.0 {
            Json::String(template) => {
                let template = TemplateId::new(template.clone())?;
                self.chain(self.template(&template)?, begun)?
            }
            document => {
                let at_fault = |report| ReplayError::Mandate { task: task.id.clone(), report };
                let template = self.bundle.written_out(document).map_err(at_fault)?;
                self.chain(&template, begun)?
            }
        };
        self.alone = Kept::default();
        self.task = Some(Task {
            id: task.id,
            chain,
            timed: task.at.0.is_some(),
            begun,
            now: begun,
            calls: 0,
            effects: EffectSet::EMPTY,
            labels: BTreeSet::new(),
            history: Arc::default(),
            made: BTreeMap::new(),
        });
        Ok(())
    }

    fn template(&self, template: &TemplateId) -> Result<&'a MandateTemplate, ReplayError> {
        let bundle: &'a Loaded = self.bundle;
        bundle.templates.get(template).ok_or_else(|| ReplayError::Unknown {
            template: template.clone(),
            known: bundle.templates.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    /// The chain that a handover of the template would make.
    fn chain(&mut self, template: &MandateTemplate, at: Timestamp) -> Result<Vec<Hop>, ReplayError> {
        let mut line = vec![template];
        while let Some(parent) = line.last().and_then(|last| last.terms.parent.as_ref()) {
            if line.len() >= MAX_HOPS {
                return Err(ReplayError::Circle { template: template.terms.template.clone() });
            }
            line.push(self.template(parent)?);
        }
        let task = TaskId::new(self.name("t"))?;
        let mut chain: Vec<Hop> = Vec::new();
        while let Some(next) = line.pop() {
            let above = chain.last().map(|hop| &hop.mandate);
            let own_end = next.terms.lifetime.end(at);
            let mandate = Mandate {
                parent: above.map(|above| above.id.clone()),
                expires_at: above.map_or(own_end, |above| own_end.min(above.expires_at)),
                id: MandateId::new(self.name("m"))?,
                task: task.clone(),
                begins_task: false,
                terms: Arc::clone(next.compiled.terms()),
                handed_over_at: at,
            };
            let terms_digest = Digest::of(next.document.canonical().as_bytes());
            chain.push(Hop { mandate, terms: Arc::new(next.compiled.clone()), terms_digest });
        }
        Ok(chain)
    }

    fn call(&mut self, call: TraceCall) -> Result<Replayed, ReplayError> {
        let event = self.name("call-");
        let snapshot = &*self.bundle.snapshot;
        let task = self.task.as_mut().ok_or(ReplayError::NoTask { what: "a call" })?;
        let kept = if task.timed { &mut self.shared } else { &mut self.alone };
        if task.made.contains_key(&call.id) {
            return Err(ReplayError::SameId { id: call.id });
        }
        task.now = call.at.0.unwrap_or(task.begun);
        let Some(last) = task.chain.last() else { return Err(ReplayError::NoTask { what: "a call" }) };
        let presented = Call {
            mandate: last.mandate.id.clone(),
            tool: call.tool.clone(),
            arguments: call.arguments.0,
            evidence: Evidence::LocalUser { uid: 0, name: Some("replay".to_owned()) },
            definition: Definition::AsPinned,
            enforcement_point: "run".to_owned(),
        };
        let began = (self.stopwatch)();
        let (counters, members) = kept.tally.read(&snapshot.wanted(&task.chain, &presented, task.now));
        let state = TaskState {
            calls: task.calls,
            effects: task.effects,
            counters,
            members,
            history: Arc::clone(&task.history),
            labels: task.labels.clone(),
            ..TaskState::begun(std::mem::take(&mut task.chain), task.now)
        };
        let last_record_at = kept.last.unwrap_or(task.now);
        let facts = Facts { standing: Standing::default(), last_record_at, approval: None };
        let decision = decide(snapshot, &state, &facts, &presented, task.now);
        let micros = (self.stopwatch)().saturating_sub(began);
        task.chain = state.chain;
        kept.last = Some(last_record_at.max(task.now));
        let (verdict, findings, made) = match &decision {
            Decision::Pass(draft) => {
                kept.tally.charge(draft.charges());
                draft.echoes().iter().for_each(|member| kept.tally.insert(member.clone()));
                task.calls = task.calls.saturating_add(1);
                task.effects = task.effects.union(draft.grounds().effects);
                let owed = Owed {
                    event: event.clone(),
                    tool: call.tool.clone(),
                    charges: draft.charges().to_vec(),
                    markers: draft.markers().clone(),
                    tracking: draft.tracking().to_vec(),
                    obligations: draft.grounds().obligations.clone(),
                };
                (Verdict::Pass, &[] as &[Finding], Made::Passed(Box::new(owed)))
            }
            Decision::Ask(question, _) => {
                let made = not_passed(&event, &presented, self.settings.approve_all);
                (Verdict::Ask, question.question.findings.as_slice(), made)
            }
            Decision::Deny(refusal, _) => {
                (Verdict::Deny, refusal.findings(), not_passed(&event, &presented, false))
            }
        };
        task.happened(snapshot.call_event(
            &event,
            &call.tool,
            &presented.arguments,
            verdict == Verdict::Pass,
        ));
        task.made.insert(call.id.clone(), made);
        let mut reasons: Vec<String> = Vec::new();
        for code in findings.iter().map(|finding| finding.code.as_str()) {
            if !reasons.iter().any(|known| known == code) {
                reasons.push(code.to_owned());
            }
        }
        let sources = decision.grounds().sources.iter();
        Ok(Replayed {
            task: task.id.clone(),
            id: call.id,
            tool: call.tool.to_string(),
            decision: verdict,
            reasons,
            sources: sources.map(|(at, names)| (at.clone(), names.iter().cloned().collect())).collect(),
            label: call.label.and_then(|label| serde_json::to_value(label).ok()),
            micros,
        })
    }

    fn result(&mut self, result: TraceResult) -> Result<(), ReplayError> {
        let snapshot = &*self.bundle.snapshot;
        let task = self.task.as_mut().ok_or(ReplayError::NoTask { what: "a result" })?;
        let kept = if task.timed { &mut self.shared } else { &mut self.alone };
        let at = result.at.0.unwrap_or(task.begun);
        kept.last = Some(kept.last.map_or(at, |last| last.max(at)));
        let made = match task.made.get_mut(&result.id) {
            None | Some(Made::Answered) => return Err(ReplayError::NoCall { id: result.id }),
            Some(made) => std::mem::replace(made, Made::Answered),
        };
        let mut output = Output {
            structured: result.structured.0.map(|value| value.0),
            texts: result.text.0.map(|OneOrMany(texts)| texts).unwrap_or_default(),
            others: result.others,
            error: result.error,
        };
        let (event, tool) = match made {
            Made::Passed(owed) => {
                owed.end(result.error, snapshot.tool(&owed.tool).map(|tool| tool.failure), &mut kept.tally);
                task.labels.extend(owed.carry_out(&mut output));
                (owed.event, owed.tool)
            }
            Made::NotPassed { event, tool, arguments, assumed }
                if assumed || self.settings.assume_executed =>
            {
                // As if it had been made all the same: its arguments are now those of a call that was.
                let event = format!("{event}-made");
                task.happened(snapshot.call_event(&event, &tool, &arguments, true));
                (event, tool)
            }
            Made::NotPassed { .. } | Made::Answered => return Ok(()),
        };
        let person = task.chain.first().and_then(|root| snapshot.person(&root.mandate.terms.person));
        let answered = snapshot.result_event(&event, &tool, &output, person);
        task.labels.extend(answered.labels());
        task.happened(answered);
        Ok(())
    }
}

impl Task {
    fn happened(&mut self, event: warrantor_decide::Event) {
        Arc::make_mut(&mut self.history).push(event);
    }
}

impl Owed {
    /// Carries out what goes with the permit, as an enforcement point does. Gives the labels that the task takes on.
    fn carry_out(&self, output: &mut Output) -> BTreeSet<String> {
        let paths: Vec<&Path> = self
            .obligations
            .iter()
            .filter_map(|obligation| match obligation {
                Obligation::Redact(path) => Some(path),
                Obligation::Label(_) | Obligation::Cap(_) => None,
            })
            .collect();
        if !paths.is_empty() {
            output.structured = output.structured.take().map(|value| redacted(&value, &paths));
            output.texts = output.texts.iter().map(|text| redacted_text(text, &paths)).collect();
            output.others.clear();
        }
        let labels = self.obligations.iter().filter_map(|obligation| match obligation {
            Obligation::Label(label) => Some(label.clone()),
            Obligation::Redact(_) | Obligation::Cap(_) => None,
        });
        labels.collect()
    }

    /// What the outcome gives back, marks and counts, as the engine does.
    fn end(&self, error: bool, failure: Option<Failure>, tally: &mut Tally) {
        if error && failure == Some(Failure::Atomic) {
            tally.give_back(&self.charges);
        }
        if !error {
            self.markers.iter().for_each(|marker| tally.insert(marker.clone()));
        }
        let ended = if error { TrackedOutcome::Error } else { TrackedOutcome::Success };
        for tracking in self.tracking.iter().filter(|tracking| tracking.outcome == ended) {
            tally.charge(std::slice::from_ref(&tracking.charge));
        }
    }
}

fn not_passed(event: &str, call: &Call, assumed: bool) -> Made {
    Made::NotPassed {
        event: event.to_owned(),
        tool: call.tool.clone(),
        arguments: Box::new(call.arguments.clone()),
        assumed,
    }
}
