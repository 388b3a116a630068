//! Replay: a trace decided call by call, as `run` would have decided it.
//!
//! The same engine decides on a store in memory; nothing is sent anywhere. A task without a time has a store of its own and one fixed
//! instant; tasks with times share one store, whose clock stands where the trace says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use serde::Serialize;
use thiserror::Error;
use warrantor_bundle::{
    Loaded, Report,
    files::trace::{TraceCall, TraceLine, TraceResult, TraceTask},
    trace_line,
};
use warrantor_decide::Output;
use warrantor_engine::{
    Answer, Engine, EngineParts, Presented, Receipt, Settings, StopFile, Withheld, bodies::SealKey,
};
use warrantor_model::{
    Clock, DecisionId, Definition, Digest, Evidence, IdError, Json, MandateId, Randomness, TemplateId, Timestamp, ToolRef,
    record::{DecisionRecord, Event, Outcome, Record, RecordError, Verdict},
    time::NoRandomness,
};
use warrantor_store::{MemoryStore, ReadError, Store};

use crate::handover::{Desk, HandoverError};

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
    /// The task could not be handed over.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// A name is none.
    #[error(transparent)]
    Id(#[from] IdError),
    /// The store in memory.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record does not read. Our fault.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A result could not be taken in. Our fault.
    #[error(transparent)]
    Withheld(#[from] Withheld),
    /// A decision that has no record. Our fault.
    #[error("the decision {id} was not recorded")]
    Unrecorded {
        /// Which.
        id: DecisionId,
    },
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

/// Where a trace's clock stands.
#[derive(Debug)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Bytes that are different each time and the same in every replay. Nothing that is kept is sealed with them.
#[derive(Debug, Default)]
struct Repeatable(AtomicU64);

impl Randomness for Repeatable {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        for chunk in buffer.chunks_mut(32) {
            let nth = self.0.fetch_add(1, Ordering::Relaxed);
            for (to, from) in chunk.iter_mut().zip(Digest::of(&nth.to_be_bytes()).as_bytes()) {
                *to = *from;
            }
        }
        Ok(())
    }
}

/// Replays traces on one bundle.
pub struct Replayer<'a> {
    bundle: &'a Loaded,
    stop: Arc<StopFile>,
    settings: ReplaySettings,
    stopwatch: &'a (dyn Fn() -> u64 + Sync),
    /// Tasks that have times.
    shared: Option<Arc<World>>,
    task: Option<Task>,
}

/// A store, a clock, and the engine on them.
struct World {
    store: Arc<MemoryStore>,
    clock: Arc<SetClock>,
    randomness: Arc<Repeatable>,
    engine: Engine<MemoryStore>,
}

/// The task that the trace is in.
struct Task {
    id: String,
    world: Arc<World>,
    mandate: MandateId,
    begun: Timestamp,
    /// Calls by their id: what is owed for those that passed, what is known of those that did not.
    calls: BTreeMap<String, Made>,
}

enum Made {
    Passed(Box<Receipt>),
    NotPassed { decision: DecisionId, tool: ToolRef, arguments: Box<Json>, assumed: bool },
    Answered,
}

impl<'a> Replayer<'a> {
    /// A replayer. `stop` is an empty stop file; `stopwatch` gives microseconds from some beginning.
    #[must_use]
    pub fn new(
        bundle: &'a Loaded,
        stop: Arc<StopFile>,
        settings: ReplaySettings,
        stopwatch: &'a (dyn Fn() -> u64 + Sync),
    ) -> Self {
        Self { bundle, stop, settings, stopwatch, shared: None, task: None }
    }

    /// Replays one line; a call gives its decision.
    ///
    /// # Errors
    /// [`ReplayError`]; the trace cannot be gone on with then.
    pub async fn line(&mut self, line: &str) -> Result<Option<Replayed>, ReplayError> {
        match trace_line(line).map_err(ReplayError::Line)? {
            TraceLine::Task(task) => self.begin(task).await.map(|()| None),
            TraceLine::Call(call) => self.call(call).await.map(Some),
            TraceLine::Result(result) => self.result(result).await.map(|()| None),
        }
    }

    fn world(&self) -> World {
        let clock = Arc::new(SetClock(AtomicI64::new(NO_TIME)));
        let randomness = Arc::new(Repeatable::default());
        let store = Arc::new(MemoryStore::new());
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&store),
            snapshot: Arc::clone(&self.bundle.snapshot),
            stop: Arc::clone(&self.stop),
            seal: seal(),
            clock: Arc::clone(&clock) as _,
            randomness: Arc::clone(&randomness) as _,
            settings: Settings::named("run"),
        });
        World { store, clock, randomness, engine }
    }

    async fn begin(&mut self, task: TraceTask) -> Result<(), ReplayError> {
        let world = match task.at.0 {
            None => Arc::new(self.world()),
            Some(at) => {
                let shared = self.shared.take().unwrap_or_else(|| Arc::new(self.world()));
                shared.clock.0.store(at.as_micros(), Ordering::Relaxed);
                self.shared = Some(Arc::clone(&shared));
                shared
            }
        };
        let (seal, begun) = (seal(), world.clock.now());
        let desk = Desk {
            store: Arc::clone(&world.store),
            stop: &self.stop,
            bundle: self.bundle,
            seal: &seal,
            clock: &*world.clock,
            randomness: &*world.randomness,
            evidence: "replay".to_owned(),
        };
        let handed = match &task.mandate.0 {
            Json::String(template) => desk.hand_over(&TemplateId::new(template.clone())?).await?,
            document => {
                let at_fault = |report| ReplayError::Mandate { task: task.id.clone(), report };
                desk.hand_over_written(&self.bundle.written_out(document).map_err(at_fault)?).await?
            }
        };
        self.task =
            Some(Task { id: task.id, world, mandate: handed.mandate, begun, calls: BTreeMap::new() });
        Ok(())
    }

    async fn call(&mut self, call: TraceCall) -> Result<Replayed, ReplayError> {
        let settings = self.settings;
        let task = self.task.as_mut().ok_or(ReplayError::NoTask { what: "a call" })?;
        if task.calls.contains_key(&call.id) {
            return Err(ReplayError::SameId { id: call.id });
        }
        task.world.clock.0.store(call.at.0.unwrap_or(task.begun).as_micros(), Ordering::Relaxed);
        let presented = Presented {
            method: "tools/call".to_owned(),
            mandate: task.mandate.clone(),
            server: call.tool.server.clone(),
            tool: call.tool.tool.to_string(),
            arguments: call.arguments.0.canonical().into_bytes(),
            evidence: Evidence::LocalUser { uid: 0, name: Some("replay".to_owned()) },
            definition: Definition::AsPinned,
        };
        let engine = &task.world.engine;
        let began = (self.stopwatch)();
        let answer = engine.authorize(&presented).await;
        let micros = (self.stopwatch)().saturating_sub(began);
        let (decision, made) = match answer {
            Answer::Permitted(permit) => {
                let decision = permit.decision().clone();
                match engine.release(permit) {
                    Ok(release) => (decision, Made::Passed(Box::new(release.spend()))),
                    Err(refused) => (refused.decision.clone(), not_passed(refused.decision, &call, false)),
                }
            }
            Answer::Asked(decision, _) => (decision.clone(), not_passed(decision, &call, settings.approve_all)),
            Answer::Refused(refused) => (refused.decision.clone(), not_passed(refused.decision, &call, false)),
        };
        let record = record(&task.world.store, &decision).await?;
        task.calls.insert(call.id.clone(), made);
        let mut reasons: Vec<String> = Vec::new();
        for reason in record.reasons.iter().filter(|reason| !reason.observed) {
            let code = reason.code.as_str();
            if !reasons.iter().any(|known| known == code) {
                reasons.push(code.to_owned());
            }
        }
        Ok(Replayed {
            task: task.id.clone(),
            id: call.id,
            tool: call.tool.to_string(),
            decision: record.verdict,
            reasons,
            sources: record.sources.into_iter().map(|source| (source.argument, source.names)).collect(),
            label: call.label.and_then(|label| serde_json::to_value(label).ok()),
            micros,
        })
    }

    async fn result(&mut self, result: TraceResult) -> Result<(), ReplayError> {
        let task = self.task.as_mut().ok_or(ReplayError::NoTask { what: "a result" })?;
        task.world.clock.0.store(result.at.0.unwrap_or(task.begun).as_micros(), Ordering::Relaxed);
        let made = match task.calls.get_mut(&result.id) {
            None | Some(Made::Answered) => return Err(ReplayError::NoCall { id: result.id }),
            Some(made) => std::mem::replace(made, Made::Answered),
        };
        let output = Output {
            structured: result.structured.0.map(|value| value.0),
            texts: result.text.0.into_iter().collect(),
            others: Vec::new(),
            error: result.error,
        };
        let outcome = if result.error { Outcome::Failed } else { Outcome::Succeeded };
        match made {
            Made::Passed(receipt) => {
                task.world.engine.take_in(&receipt, outcome, b"", &output, std::time::Duration::ZERO).await?;
            }
            Made::NotPassed { decision, tool, arguments, assumed } if assumed || self.settings.assume_executed => {
                task.world.engine.assume_made(&decision, &task.mandate, &tool, &arguments, &output).await?;
            }
            Made::NotPassed { .. } | Made::Answered => {}
        }
        Ok(())
    }
}

fn seal() -> SealKey {
    SealKey::new([7; 32])
}

fn not_passed(decision: DecisionId, call: &TraceCall, assumed: bool) -> Made {
    Made::NotPassed { decision, tool: call.tool.clone(), arguments: Box::new(call.arguments.0.clone()), assumed }
}

async fn record(store: &MemoryStore, decision: &DecisionId) -> Result<DecisionRecord, ReplayError> {
    let unrecorded = || ReplayError::Unrecorded { id: decision.clone() };
    let stored = store.find(decision.as_str()).await?.ok_or_else(unrecorded)?;
    match Record::from_bytes(&stored.bytes)?.event {
        Event::Decision(record) => Ok(*record),
        _ => Err(unrecorded()),
    }
}
