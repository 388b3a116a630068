//! The engine itself.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use warrantor_decide::{
    Decision, Draft, Grounds, Hop, Presence, Snapshot, TaskState, decide, listed, standing,
};
use warrantor_model::{
    AgentId, Call, Clock, DecisionId, Definition, Digest, Evidence, Failure, Finding, IdError, Json,
    MandateId, Offer, PersonId, Question, Randomness, ReasonCode, Refusal, ServerName, TaskId, TemplateId,
    Timestamp, ToolName, ToolRef,
    record::{DefinitionsRecord, Event, GapRecord, Record, Verdict},
};
use warrantor_store::{Body, Commit, CommitError, Committed, Insert, Key, Recency, Store, Wanted};

use crate::{
    bodies::SealKey,
    charges,
    gap::{Gap, Pending, Sink},
    history::{Known, StoredEvent},
    keys,
    load::{Answered, Asked, Loaded, load},
    mandates::{self, ChainError},
    permit::{Permit, Receipt},
    recording::Decided,
    registry::SeenDefinitions,
    stop::{Stop, StopFile},
};

mod afterwards;
mod answering;
mod asking;
mod histories;

pub use afterwards::Withheld;
pub use answering::{AnswerError, AnswerTo, Answerer, Settled, ShownQuestion};
use asking::{UnderWay, Using};

/// How often a pass is decided again because what it rests on moved: a stop, or a counter that a limit or a policy looked at.
const ATTEMPTS: usize = 8;
/// From this attempt on a call takes turns with the others of this process: calls that read one tracker would move it under each other for ever.
const IN_TURN_FROM: usize = 2;
/// Most bytes of what a server was seen to offer that are kept: quoted once more they fit an entry of the store.
const MAX_SEEN_BYTES: usize = 1 << 20;
/// Most chains, and most persons' keys, that are held in memory.
const MAX_CACHED: usize = 1024;

/// The engine's own bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the enforcement point, in records and policies.
    pub enforcement_point: String,
    /// How long a pass waits for its record to be durable.
    pub commit_deadline: Duration,
    /// How long a refusal waits for its record before it goes ahead without.
    pub refusal_patience: Duration,
    /// Most bytes of a body that are kept; of a larger one only the size is recorded.
    pub kept_body_bytes: usize,
    /// How long a question waits for answers, at most as long as its mandates live.
    pub question_life: Duration,
    /// How long answers can be used.
    pub approval_life: Duration,
}

impl Settings {
    /// Settings for an enforcement point of this name.
    #[must_use]
    pub fn named(enforcement_point: impl Into<String>) -> Self {
        Self {
            enforcement_point: enforcement_point.into(),
            commit_deadline: Duration::from_secs(5),
            refusal_patience: Duration::from_millis(250),
            kept_body_bytes: 256 << 10,
            question_life: Duration::from_secs(60 * 60),
            approval_life: Duration::from_secs(15 * 60),
        }
    }
}

/// A call as an enforcement point presents it.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The protocol method.
    pub method: String,
    /// The mandate it is made under.
    pub mandate: MandateId,
    /// The server.
    pub server: warrantor_model::ServerName,
    /// What sort of thing is used: a tool, or something else that a server offers.
    pub offer: Offer,
    /// Its name as it arrived; what is no name is no tool.
    pub tool: String,
    /// The arguments' bytes as they arrived. What is decided is read from these bytes and nothing else.
    pub arguments: Vec<u8>,
    /// Layer 1.
    pub evidence: Evidence,
    /// What is known of the tool's present definition.
    pub definition: Definition,
}

impl Presented {
    /// Why it is refused where nothing of it is decided: whoever asks did not verify, or the method is not let through.
    #[must_use]
    pub fn refused_for(&self) -> Finding {
        match &self.evidence {
            Evidence::Failed { why } => Finding::new(ReasonCode::CredentialInvalid, why.clone()),
            _ => Finding::new(ReasonCode::MethodNotAvailable, format!("{} is not let through", self.method)),
        }
    }
}

/// The answer to a presented call.
#[derive(Debug)]
pub enum Answer {
    /// It may be released.
    Permitted(Permit),
    /// A person has to be asked; nothing takes effect.
    Asked(DecisionId, Question),
    /// It is refused.
    Refused(Refused),
}

/// A refusal with the id of its decision.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The decision.
    pub decision: DecisionId,
    /// Why.
    pub refusal: Refusal,
}

/// The parts an engine is put together from.
pub struct EngineParts<S> {
    /// The store.
    pub store: Arc<S>,
    /// The bundle.
    pub snapshot: Arc<Snapshot>,
    /// The data directory's stop file.
    pub stop: Arc<StopFile>,
    /// The key that wraps the persons' keys.
    pub seal: SealKey,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
    /// Bounds.
    pub settings: Settings,
}

/// Authorizes calls. Cheap to clone; clones are the same engine.
pub struct Engine<S>(Arc<Inner<S>>);

impl<S> Clone for Engine<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The mandates from the root to the one that a call is made under.
type Chain = Arc<Vec<Hop>>;

struct Inner<S> {
    parts: EngineParts<S>,
    /// What decides now: the parts' own, or what took its place.
    snapshot: RwLock<Arc<Snapshot>>,
    /// Chains by their last mandate, as compiled on the bundle of this digest. What was handed over never changes, so they are read once; what may
    /// change is read for each call.
    chains: Mutex<HashMap<MandateId, (Digest, Chain)>>,
    seals: Mutex<HashMap<String, SealKey>>,
    /// Histories, read by the rules of the bundle of this digest.
    histories: Mutex<HashMap<TaskId, (Digest, Known)>>,
    /// How many commits of this engine are under way that add to a task's history.
    adding: Mutex<HashMap<TaskId, usize>>,
    /// Told whenever one of them is done.
    added: tokio::sync::Notify,
    task_keys: Mutex<HashMap<TaskId, SealKey>>,
    gap: Mutex<Gap>,
    background: Mutex<JoinSet<()>>,
    turn: tokio::sync::Mutex<()>,
}

/// A lock whose holder panicked guards data that every step leaves consistent.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps something that can be read again. A full cache starts over: what is in use comes back with the next call.
fn remember<K: Eq + Hash, V>(cache: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut cache = lock(cache);
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.insert(key, value);
}

/// How one attempt ended.
enum Attempt {
    Done(Box<Answer>),
    /// What it rested on moved before the commit, or may have: it is decided again.
    Moved,
}

impl Attempt {
    fn done(answer: Answer) -> Self {
        Self::Done(Box::new(answer))
    }
}

impl<S: Store> Engine<S> {
    /// Puts an engine together.
    #[must_use]
    pub fn new(parts: EngineParts<S>) -> Self {
        Self(Arc::new(Inner {
            snapshot: RwLock::new(Arc::clone(&parts.snapshot)),
            parts,
            chains: Mutex::default(),
            seals: Mutex::default(),
            histories: Mutex::default(),
            adding: Mutex::default(),
            added: tokio::sync::Notify::new(),
            task_keys: Mutex::default(),
            gap: Mutex::default(),
            background: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// The bundle it decides on now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides on another bundle from here on. A decision that has begun ends on the bundle that it began on.
    pub fn decide_on(&self, snapshot: Arc<Snapshot>) {
        *self.0.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The store it commits to.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.0.parts.store
    }

    /// Decides a call and, when it passes, makes its record durable. Never an error: what goes wrong ends as a refusal.
    pub async fn authorize(&self, presented: &Presented) -> Answer {
        let now = self.0.parts.clock.now();
        let Ok(id) = self.fresh_id(now) else {
            let finding =
                Finding::new(ReasonCode::DecisionUnavailable, "no random bytes for the decision's id");
            return Answer::Refused(Refused {
                decision: DecisionId::unrecorded(),
                refusal: Refusal::new(vec![finding]),
            });
        };
        let arguments = match Json::parse(&presented.arguments) {
            Ok(arguments) => arguments,
            Err(cause) => {
                let finding = Finding::new(ReasonCode::ArgumentsInvalid, cause.to_string())
                    .saying(format!("The arguments cannot be read: {cause}."));
                return self.refuse(&id, presented, None, finding).await;
            }
        };
        let Ok(call) = self.call(presented, arguments) else {
            let detail =
                format!("{:?} is no tool's name", presented.tool.chars().take(200).collect::<String>());
            return self
                .refuse(&id, presented, None, Finding::new(ReasonCode::ToolNotAvailable, detail))
                .await;
        };
        // What this process knows is most often all there is; a refusal is given only on what stands.
        if let Attempt::Done(answer) = self.attempt(&id, presented, &call, Recency::AsKnown).await {
            return *answer;
        }
        let mut turn = None;
        for attempt in 0..ATTEMPTS {
            if attempt == IN_TURN_FROM {
                turn = Some(self.0.turn.lock().await);
            }
            match self.attempt(&id, presented, &call, Recency::Latest).await {
                Attempt::Done(answer) => return *answer,
                Attempt::Moved => {}
            }
        }
        drop(turn);
        let detail = format!("what the decision rests on moved {ATTEMPTS} times while it was committed");
        self.refuse(&id, presented, Some(&call), Finding::new(ReasonCode::DecisionUnavailable, detail)).await
    }

    fn call(&self, presented: &Presented, arguments: Json) -> Result<Call, IdError> {
        Ok(Call {
            mandate: presented.mandate.clone(),
            tool: ToolRef::new(presented.server.clone(), ToolName::of(presented.offer, &presented.tool)?),
            arguments,
            evidence: presented.evidence.clone(),
            definition: presented.definition,
            enforcement_point: self.0.parts.settings.enforcement_point.clone(),
        })
    }

    /// Whether a call would pass if it were made now. Nothing is recorded or charged, and nothing can be sent: this is for lists, and for what was
    /// permitted once and goes on.
    ///
    /// # Errors
    /// Why it would not; a person who would have to be asked has not answered.
    pub async fn would(&self, presented: &Presented) -> Result<(), Refusal> {
        let unavailable = |code, detail: String| Refusal::new(vec![Finding::new(code, detail)]);
        let arguments = Json::parse(&presented.arguments)
            .map_err(|cause| unavailable(ReasonCode::ArgumentsInvalid, cause.to_string()))?;
        let call = self
            .call(presented, arguments)
            .map_err(|cause| unavailable(ReasonCode::ToolNotAvailable, cause.to_string()))?;
        let now = self.0.parts.clock.now();
        let loaded =
            self.load(&call.mandate, Asked::Call(&call), now, Recency::Latest, Answered::default()).await;
        let loaded = loaded.map_err(|why| unavailable(ReasonCode::DecisionUnavailable, why))?;
        match decide(&loaded.snapshot, &loaded.task, &loaded.facts, &call, now) {
            Decision::Pass(_) => Ok(()),
            Decision::Ask(asking, _) => Err(Refusal::new(asking.question.findings)),
            Decision::Deny(refusal, _) => Err(refusal),
        }
    }

    async fn attempt(
        &self,
        id: &DecisionId,
        presented: &Presented,
        call: &Call,
        at_least: Recency,
    ) -> Attempt {
        let now = self.0.parts.clock.now();
        let answered = Answered::default();
        let loaded = match self.load(&call.mandate, Asked::Call(call), now, at_least, answered).await {
            Ok(loaded) => loaded,
            Err(why) => {
                let finding = Finding::new(ReasonCode::DecisionUnavailable, why);
                return Attempt::done(self.refuse(id, presented, Some(call), finding).await);
            }
        };
        let snapshot = &*loaded.snapshot;
        let decision = decide(snapshot, &loaded.task, &loaded.facts, call, now);
        let under_way = UnderWay { id, presented, call, now };
        let decided = |verdict, findings| Decided {
            findings,
            ..under_way.decided(verdict, &loaded, decision.grounds())
        };
        match &decision {
            Decision::Pass(draft) => {
                let rests_on = (loaded.recency == Recency::AsKnown).then_some(loaded.revision);
                let decided = decided(Verdict::Pass, &[]);
                self.commit_pass(&decided, presented, call, &loaded, draft, (rests_on, None)).await
            }
            Decision::Ask(..) | Decision::Deny(..) if loaded.recency == Recency::AsKnown => Attempt::Moved,
            Decision::Ask(asking, grounds) => self.ask(under_way, &loaded, asking, grounds).await,
            Decision::Deny(refusal, _) => {
                self.record_refusal(&decided(Verdict::Deny, refusal.findings()), presented).await;
                Attempt::done(Answer::Refused(Refused { decision: id.clone(), refusal: refusal.clone() }))
            }
        }
    }

    async fn load(
        &self,
        mandate: &MandateId,
        asked: Asked<'_>,
        now: Timestamp,
        at_least: Recency,
        answered: Answered<'_>,
    ) -> Result<Loaded, String> {
        let parts = &self.0.parts;
        let deadline = parts.settings.commit_deadline;
        let snapshot = self.snapshot();
        let loaded = async {
            let chain = self.chain(&snapshot, mandate).await.map_err(|cause| cause.to_string())?;
            let of = (Arc::clone(&snapshot), chain.to_vec());
            let mut loaded = load(&*parts.store, &parts.stop, of, asked, now, at_least, answered)
                .await
                .map_err(|cause| cause.to_string())?;
            if asked.call().is_some() {
                loaded.task.history =
                    Arc::new(self.history(&loaded).await.map_err(|cause| cause.to_string())?);
            }
            Ok(loaded)
        };
        tokio::time::timeout(deadline, loaded)
            .await
            .map_err(|_| format!("the store did not answer within {} ms", deadline.as_millis()))?
    }

    /// The chain that ends at a mandate; empty when it is not known.
    async fn chain(&self, snapshot: &Snapshot, last: &MandateId) -> Result<Arc<Vec<Hop>>, ChainError> {
        let revision = snapshot.revision();
        if let Some((_, chain)) = lock(&self.0.chains).get(last).filter(|(of, _)| *of == revision) {
            return Ok(Arc::clone(chain));
        }
        let chain = Arc::new(mandates::load_chain(&*self.0.parts.store, snapshot, last).await?);
        if !chain.is_empty() {
            remember(&self.0.chains, last.clone(), (revision, Arc::clone(&chain)));
        }
        Ok(chain)
    }

    /// Commits a pass with its record. The only place where a permit is made.
    async fn commit_pass(
        &self,
        decided: &Decided<'_>,
        presented: &Presented,
        call: &Call,
        loaded: &Loaded,
        draft: &Draft,
        (rests_on, using): (Option<u64>, Option<&Using<'_>>),
    ) -> Attempt {
        let unavailable = |detail: String| Finding::new(ReasonCode::AuditUnavailable, detail);
        let owner = loaded.task.chain.first().map(|hop| hop.mandate.terms.person.clone());
        // A pass that left nothing to decide again with would pass unseen.
        let plain = decided.body(&presented.arguments);
        let sealed =
            tokio::time::timeout(self.0.parts.settings.commit_deadline, self.seal(owner.as_ref(), &plain));
        let sealed = sealed.await.unwrap_or_else(|_| Err("the store did not answer in time".to_owned()));
        let event = StoredEvent::call(decided.id.as_str(), &call.tool, &call.arguments, true);
        let written = self.written(&loaded.task.chain, &event).await.map_err(|cause| cause.to_string());
        let prepared =
            sealed.and_then(|body| pass_commit(decided, loaded, draft, body)).and_then(|mut commit| {
                let Some((task, written)) = written? else {
                    return Err("the call belongs to no task".to_owned());
                };
                let gone = self.add_event(&mut commit, &task, &written).map_err(|cause| cause.to_string())?;
                if let Some(using) = using {
                    Self::use_up(&mut commit, decided.id, decided.at, using)?;
                }
                commit.rests_on = rests_on;
                Ok((commit, task, written, gone))
            });
        let (commit, task, written, gone) = match prepared {
            Ok(prepared) => prepared,
            Err(why) => {
                return Attempt::done(self.refuse(decided.id, presented, Some(call), unavailable(why)).await);
            }
        };
        let _adding = self.adding(&task);
        let uncertain =
            Pending::Uncertain { commit: Box::new(commit.clone()), charges: draft.charges().to_vec() };
        match self.commit_within(commit, self.0.parts.settings.commit_deadline).await {
            Ok(committed) => {
                self.happened(&task, committed.revision, written, &gone);
                self.write_gap_later();
                Attempt::done(Answer::Permitted(Permit {
                    decision: decided.id.clone(),
                    tool: call.tool.clone(),
                    arguments: presented.arguments.clone(),
                    receipt: Box::new(Receipt {
                        decision: decided.id.clone(),
                        task,
                        tool: call.tool.clone(),
                        owner,
                        charges: draft.charges().to_vec(),
                        markers: draft.markers().clone(),
                        tracking: draft.tracking().to_vec(),
                        failure: self.failure(&call.tool),
                        obligations: draft.grounds().obligations.clone(),
                        edited: using
                            .filter(|using| using.known.question.edited.is_some())
                            .map(|_| String::from_utf8_lossy(&presented.arguments).into()),
                        proof: None,
                    }),
                    uses: draft.uses().clone(),
                    handed_over: handed_over(&loaded.task.chain),
                    until: None,
                }))
            }
            Err(
                CommitError::Moved { .. }
                | CommitError::Overtaken { .. }
                | CommitError::LimitReached { .. }
                | CommitError::NotNew { .. },
            ) => Attempt::Moved,
            Err(CommitError::Unknown { cause }) => {
                self.missed(&task);
                lock(&self.0.gap).keep(uncertain, decided.at, cause.to_string());
                let finding = unavailable(cause.to_string());
                Attempt::done(Answer::Refused(Refused {
                    decision: decided.id.clone(),
                    refusal: Refusal::new(vec![finding]),
                }))
            }
            Err(cause) => Attempt::done(
                self.refuse(decided.id, presented, Some(call), unavailable(cause.to_string())).await,
            ),
        }
    }

    fn failure(&self, tool: &ToolRef) -> Failure {
        self.snapshot().tool(tool).map(|tool| tool.failure).unwrap_or_default()
    }

    /// A refusal that no decision gave: something failed before or after it.
    async fn refuse(
        &self,
        id: &DecisionId,
        presented: &Presented,
        call: Option<&Call>,
        finding: Finding,
    ) -> Answer {
        let findings = vec![finding];
        let grounds = Grounds::default();
        // The chain is told if it is known without asking the store again.
        let chain = lock(&self.0.chains).get(&presented.mandate).map(|(_, chain)| Arc::clone(chain));
        let snapshot = self.snapshot();
        let now = self.0.parts.clock.now();
        let task = chain.map(|chain| TaskState::begun(chain.to_vec(), now));
        let decided = Decided {
            id,
            at: now,
            verdict: Verdict::Deny,
            snapshot: &snapshot,
            method: &presented.method,
            call,
            evidence: &presented.evidence,
            enforcement_point: &self.0.parts.settings.enforcement_point,
            task: task.as_ref(),
            revision: 0,
            grounds: &grounds,
            findings: &findings,
            asked: &[],
            approval: None,
        };
        self.record_refusal(&decided, presented).await;
        Answer::Refused(Refused { decision: id.clone(), refusal: Refusal::new(findings) })
    }

    /// Records a refusal, and waits for it a little: it takes effect in any case.
    async fn record_refusal(&self, decided: &Decided<'_>, presented: &Presented) {
        let owner =
            decided.task.and_then(|task| task.chain.first()).map(|hop| hop.mandate.terms.person.clone());
        let (patience, begun) = (self.0.parts.settings.refusal_patience, Instant::now());
        let body = self.seal_if_possible(owner.as_ref(), &decided.body(&presented.arguments), patience).await;
        let mut commit = Commit::new(decided.record(body.as_ref()));
        commit.body = body;
        let event = self.refused_event(decided, patience.saturating_sub(begun.elapsed())).await;
        let _adding = event.as_ref().map(|(task, _)| self.adding(task));
        let gone = event
            .as_ref()
            .map(|(task, written)| self.add_event(&mut commit, task, written).unwrap_or_default());
        let committed = self.record_or_keep(commit, patience.saturating_sub(begun.elapsed())).await;
        match (event, committed) {
            (Some((task, written)), Some(committed)) => {
                self.happened(&task, committed.revision, written, &gone.unwrap_or_default());
            }
            (Some((task, _)), None) => self.missed(&task),
            (None, _) => {}
        }
    }

    /// Records something now, or keeps it until the log works again: then it is none.
    async fn record_or_keep(&self, commit: Commit, patience: Duration) -> Option<Committed> {
        let kept = Pending::Plain(Box::new(commit.clone()));
        let at = commit.record.at;
        match self.commit_within(commit, patience).await {
            Ok(committed) => {
                self.write_gap_later();
                Some(committed)
            }
            // What was told before stands as it was told.
            Err(CommitError::AlreadyRecorded { .. }) => {
                self.write_gap_later();
                None
            }
            Err(cause) => {
                lock(&self.0.gap).keep(kept, at, cause.to_string());
                None
            }
        }
    }

    async fn commit_within(&self, commit: Commit, deadline: Duration) -> Result<Committed, CommitError> {
        match tokio::time::timeout(deadline, self.0.parts.store.commit(commit)).await {
            Ok(result) => result,
            Err(_) => Err(CommitError::unknown(format!("no answer within {} ms", deadline.as_millis()))),
        }
    }

    /// Records a gap in the background once the log works again.
    fn write_gap_later(&self) {
        if !lock(&self.0.gap).is_open() {
            return;
        }
        let engine = self.clone();
        self.spawn(async move { engine.write_gap().await });
    }

    /// Runs something that [`Engine::settle`] waits for. What is done is let go of, else it would pile up as long as the engine lives.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut background = lock(&self.0.background);
        while background.try_join_next().is_some() {}
        background.spawn(task);
    }

    async fn write_gap(&self) {
        let now = self.0.parts.clock.now();
        let Ok(id) = self.fresh_id(now) else { return };
        let mut gap = lock(&self.0.gap).take();
        let deadline = self.0.parts.settings.commit_deadline;
        let result = gap.write(&Sink { store: &*self.0.parts.store, deadline, now }, id.as_str()).await;
        if result.is_err() || gap.is_open() {
            lock(&self.0.gap).restore(gap);
        }
    }

    /// Records that a protocol method was refused, or whoever asked. Returns the decision's id.
    pub async fn refuse_method(&self, presented: &Presented) -> Refused {
        let now = self.0.parts.clock.now();
        let finding = presented.refused_for();
        let Ok(id) = self.fresh_id(now) else {
            return Refused { decision: DecisionId::unrecorded(), refusal: Refusal::new(vec![finding]) };
        };
        match self.refuse(&id, presented, None, finding.clone()).await {
            Answer::Refused(refused) => refused,
            Answer::Permitted(_) | Answer::Asked(..) => {
                Refused { decision: id, refusal: Refusal::new(vec![finding]) }
            }
        }
    }

    /// Records how a server's definitions compare with their pins, in the background, and keeps what it said for whoever reviews it. That a server is as
    /// reviewed is recorded only where something else had been seen.
    pub fn note_definitions(&self, server: &ServerName, definitions: DefinitionsRecord, said: String) {
        let (engine, server) = (self.clone(), server.clone());
        self.spawn(async move { engine.note_definitions_now(&server, definitions, said).await });
    }

    async fn note_definitions_now(&self, server: &ServerName, definitions: DefinitionsRecord, said: String) {
        let now = self.0.parts.clock.now();
        let (Ok(id), Ok(key)) = (self.fresh_id(now), keys::seen(server)) else { return };
        let differs = !definitions.is_clean();
        let patience = self.0.parts.settings.commit_deadline;
        if !differs {
            let wanted = Wanted { entries: [key.clone()].into(), ..Wanted::default() };
            let view = tokio::time::timeout(patience, self.0.parts.store.read(&wanted)).await;
            if !matches!(view, Ok(Ok(view)) if view.entries.contains_key(&key)) {
                return;
            }
        }
        let seen = SeenDefinitions {
            at: now,
            point: self.0.parts.settings.enforcement_point.clone(),
            changed: definitions.changed.clone(),
            unknown: definitions.unknown.clone(),
            missing: definitions.missing.clone(),
            instructions_withheld: definitions.instructions_withheld,
            definitions: (said.len() <= MAX_SEEN_BYTES).then_some(said),
        };
        let plain = Commit::new(Record::new(id.as_str(), now, Event::Definitions(definitions)));
        let mut commit = plain.clone();
        match serde_json::to_vec(&seen) {
            _ if !differs => commit.deletes.push(key),
            Ok(value) => commit.puts.push((key, value)),
            // What was known before still differs.
            Err(_) => {}
        }
        match self.commit_within(commit, patience).await {
            Ok(_) => self.write_gap_later(),
            // What it said is not kept until the log works: it says it again.
            Err(cause) => lock(&self.0.gap).keep(Pending::Plain(Box::new(plain)), now, cause.to_string()),
        }
    }

    /// Records that an enforcement point elsewhere was cut off: what it refused meanwhile, and outcomes that it lost.
    pub fn note_gap(&self, since: Timestamp, lost: u64, cause: &str) {
        let now = self.0.parts.clock.now();
        let Ok(id) = self.fresh_id(now) else { return };
        let point = &self.0.parts.settings.enforcement_point;
        let cause: String = format!("{point} was cut off: {cause}").chars().take(500).collect();
        let event = Event::AuditGap(GapRecord { since, lost, cause });
        let commit = Commit::new(Record::new(id.as_str(), now, event));
        let engine = self.clone();
        self.spawn(async move {
            engine.record_or_keep(commit, engine.0.parts.settings.commit_deadline).await;
        });
    }

    /// The tools that the mandate's task could call now. None when that cannot be told.
    pub async fn listed(&self, mandate: &MandateId, presence: &Presence) -> BTreeSet<ToolName> {
        let now = self.0.parts.clock.now();
        let answered = Answered::default();
        match self.load(mandate, Asked::Presence(presence), now, Recency::Latest, answered).await {
            Ok(Loaded { snapshot, task, facts, .. }) => listed(&snapshot, &task, &facts, presence, now),
            Err(_) => BTreeSet::new(),
        }
    }

    /// What the stop file holds now, to be compared with what it held; `None` when it cannot be read, which stops everything.
    #[must_use]
    pub fn stops(&self) -> Option<Vec<Stop>> {
        self.0.parts.stop.read().ok()
    }

    /// The agent that a mandate is for; none when the mandate is not known.
    pub async fn agent_of(&self, mandate: &MandateId) -> Option<AgentId> {
        let snapshot = self.snapshot();
        let chain =
            tokio::time::timeout(self.0.parts.settings.commit_deadline, self.chain(&snapshot, mandate));
        chain.await.ok()?.ok()?.last().map(|hop| hop.mandate.terms.agent.clone())
    }

    /// Whether whoever asks, everybody who answers for a mandate, every mandate of its chain, and a server that it is used with stand now.
    ///
    /// # Errors
    /// What does not. That it cannot be told is no standing.
    pub async fn stands(&self, mandate: &MandateId, presence: &Presence) -> Result<(), Box<Finding>> {
        let now = self.0.parts.clock.now();
        let unknown = |why| Box::new(Finding::new(ReasonCode::DecisionUnavailable, why));
        let Loaded { snapshot, task, facts, .. } = self
            .load(mandate, Asked::Presence(presence), now, Recency::Latest, Answered::default())
            .await
            .map_err(unknown)?;
        match standing(&snapshot, &task, &facts, (mandate, presence), now).into_iter().next() {
            None => Ok(()),
            Some(finding) => Err(Box::new(finding)),
        }
    }

    /// Waits until everything in the background is recorded or kept.
    pub async fn settle(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *lock(&self.0.background));
            if tasks.is_empty() {
                break;
            }
            while tasks.join_next().await.is_some() {}
        }
        if lock(&self.0.gap).is_open() {
            self.write_gap().await;
        }
    }

    /// How many records are not written, and what was failing; none when all are. After [`Engine::settle`] these are lost with the process.
    #[must_use]
    pub fn unrecorded(&self) -> Option<(u64, String)> {
        lock(&self.0.gap).missing()
    }

    /// Seals a body for its person. None when there is no person, or too much to keep: then the record stands alone.
    async fn seal(&self, owner: Option<&PersonId>, plain: &[u8]) -> Result<Option<Body>, String> {
        let Some(owner) = owner.filter(|_| plain.len() <= self.0.parts.settings.kept_body_bytes) else {
            return Ok(None);
        };
        let key = self.seal_key(owner).await?;
        let sealed = key.seal_body(&*self.0.parts.randomness, owner.as_str(), plain);
        sealed.map(Some).map_err(|cause| cause.to_string())
    }

    /// [`Engine::seal`] for a record that is made with its body or without.
    async fn seal_if_possible(
        &self,
        owner: Option<&PersonId>,
        plain: &[u8],
        patience: Duration,
    ) -> Option<Body> {
        tokio::time::timeout(patience, self.seal(owner, plain)).await.ok()?.ok()?
    }

    async fn seal_key(&self, owner: &PersonId) -> Result<SealKey, String> {
        if let Some(key) = lock(&self.0.seals).get(owner.as_str()) {
            return Ok(key.clone());
        }
        let key = keys::body_key(owner).map_err(|cause| cause.to_string())?;
        let wanted = Wanted { entries: [key.clone()].into(), ..Wanted::default() };
        let view = self.0.parts.store.read(&wanted).await.map_err(|cause| cause.to_string())?;
        let entry = view.entries.get(&key).ok_or_else(|| format!("{owner} has no key to seal with"))?;
        let opened = self
            .0
            .parts
            .seal
            .unwrap_key(owner.as_str(), &entry.value)
            .map_err(|cause| format!("the key of {owner} does not open: {cause}"))?;
        remember(&self.0.seals, owner.to_string(), opened.clone());
        Ok(opened)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }

    /// Seals a state that a client brings back. None when that fails.
    #[must_use]
    pub fn seal_state(&self, context: &str, state: &[u8]) -> Option<Vec<u8>> {
        self.0.parts.seal.seal_value(&*self.0.parts.randomness, &format!("state/{context}"), state).ok()
    }

    /// Opens what [`Engine::seal_state`] sealed in the same context. None of anything else.
    #[must_use]
    pub fn open_state(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let opened = self.0.parts.seal.open_value(&format!("state/{context}"), sealed).ok()?;
        Some(opened.to_vec())
    }

    /// A name that nobody can guess: 256 random bits, in hexadecimal. None when there are no random bytes.
    #[must_use]
    pub fn unguessable(&self) -> Option<String> {
        let mut bytes = [0; 32];
        self.0.parts.randomness.fill(&mut bytes).ok()?;
        Some(hex::encode(bytes))
    }

    /// An id that sorts by time: 12 digits of milliseconds, 16 of randomness.
    fn fresh_id(&self, now: Timestamp) -> Result<DecisionId, ()> {
        let mut random = [0; 8];
        self.0.parts.randomness.fill(&mut random).map_err(|_| ())?;
        let millis = now.as_micros().max(0) / 1000;
        DecisionId::new(format!("d{millis:012x}-{:016x}", u64::from_be_bytes(random))).map_err(|_| ())
    }
}

/// When each mandate of a chain was handed over.
fn handed_over(chain: &[Hop]) -> Vec<(TemplateId, Timestamp)> {
    chain.iter().map(|hop| (hop.mandate.terms.template.clone(), hop.mandate.handed_over_at)).collect()
}

fn pass_commit(
    decided: &Decided<'_>,
    loaded: &Loaded,
    draft: &Draft,
    body: Option<Body>,
) -> Result<Commit, String> {
    let mut commit = Commit::new(decided.record(body.as_ref()));
    commit.body = body;
    for subject in draft.uses() {
        let expected =
            loaded.expect.get(subject).ok_or_else(|| format!("the standing of {subject} was not read"))?;
        commit.expect.extend(expected.iter().cloned());
    }
    charges::charge(draft.charges(), &mut commit).map_err(|cause| cause.to_string())?;
    if let Some(last) = loaded.task.chain.last() {
        let task = &last.mandate.task;
        let calls = keys::task_calls(task).map_err(|cause| cause.to_string())?;
        commit.adds.push(warrantor_store::Add {
            counter: calls,
            amount: warrantor_model::Decimal::ONE,
            at_most: None,
        });
        for echo in draft.echoes() {
            let member = Key::new(echo.clone()).map_err(|cause| cause.to_string())?;
            commit.inserts.push(Insert { member, must_be_new: false, counted: None });
        }
        for effect in draft.grounds().effects.iter() {
            let member = keys::task_effect(task, effect).map_err(|cause| cause.to_string())?;
            commit.inserts.push(Insert { member, must_be_new: false, counted: None });
        }
    }
    Ok(commit)
}
