//! The decision point itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet, time::Instant};
use warrantor_bundle::{Loaded, load_files};
use warrantor_decide::{Output, Presence, Snapshot};
use warrantor_engine::{
    Answer, DecisionPoint, Permit, Presented, Receipt, Refused, Release, Stop, Withheld,
    wire::{Answered, Question, Verified, WireCall, WireFinding},
};
use warrantor_model::{
    AgentId, DecisionId, Digest, EnforcementPoint, Finding, MandateId, Randomness, ReasonCode, Refusal,
    ServerName, Timestamp, ToolName,
    record::{DefinitionsRecord, Outcome},
};

use crate::asking::{Plane, PlaneError, PlaneSettings, is_done};

/// How long a decision may take: as long as the control plane's own record may.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long the bundle may take to arrive.
const BUNDLE_PATIENCE: Duration = Duration::from_secs(30);
/// How long it is waited before something is told again.
const AGAIN: Duration = Duration::from_secs(1);
/// Most outcomes that wait to be told. Of more only the number is known.
const MAX_WAITING: usize = 1024;
/// How long an end waits for what is not told yet.
const FAREWELL: Duration = Duration::from_secs(10);

/// The point's own settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a permit may be released, from the sending of its question.
    pub lease: Duration,
    /// How long the control plane may have been silent before nothing counts as standing.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lease: Duration::from_millis(800), silence: Duration::from_secs(5) }
    }
}

/// A decision point over the wire. Clones are the same.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    plane: Plane,
    point: EnforcementPoint,
    settings: Settings,
    randomness: Arc<dyn Randomness>,
    snapshot: RwLock<Arc<Snapshot>>,
    /// When the control plane was last asked something that it answered.
    contact: Mutex<Option<Instant>>,
    background: Mutex<JoinSet<()>>,
    untold: Mutex<Untold>,
    /// Told when the control plane decides by another bundle than this point has.
    moved: Notify,
}

/// Outcomes that were not told yet, or never will be.
#[derive(Default)]
struct Untold {
    waiting: usize,
    lost: u64,
    cause: String,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Remote {
    /// Reaches a control plane, and takes the bundle that holds at this point.
    ///
    /// # Errors
    /// [`PlaneError`]; without a control plane nothing is begun.
    pub async fn reach(
        settings: &PlaneSettings,
        own: Settings,
        randomness: Arc<dyn Randomness>,
    ) -> Result<(Self, Loaded), PlaneError> {
        let plane = Plane::new(settings)?;
        let question = Question::Bundle { have: None };
        let verified = plane.ask(question, &*randomness, BUNDLE_PATIENCE).await?;
        let bundle = taken(&verified)?.ok_or(PlaneError::Unexpected)?;
        let inner = Inner {
            plane,
            point: settings.point.clone(),
            settings: own,
            randomness,
            snapshot: RwLock::new(Arc::clone(&bundle.snapshot)),
            contact: Mutex::new(Some(Instant::now())),
            background: Mutex::default(),
            untold: Mutex::default(),
            moved: Notify::new(),
        };
        Ok((Self(Arc::new(inner)), bundle))
    }

    /// The bundle that holds at this point, if it is another than this.
    ///
    /// # Errors
    /// [`PlaneError`].
    pub async fn newer(&self, have: Digest) -> Result<Option<Loaded>, PlaneError> {
        let verified = self.ask(Question::Bundle { have: Some(have) }, BUNDLE_PATIENCE).await?;
        taken(&verified)
    }

    /// Ends when the control plane says that it decides by another bundle, or after a while.
    pub async fn moved(&self, patience: Duration) {
        let _ = tokio::time::timeout(patience, self.0.moved.notified()).await;
    }

    /// The agent of a mandate, and when it ends.
    ///
    /// # Errors
    /// Why nothing can be run under this name, in words for the caller.
    pub async fn mandate(&self, mandate: &MandateId) -> Result<(AgentId, Timestamp), String> {
        let question = Question::Mandate { mandate: mandate.clone() };
        match self.ask(question, PATIENCE).await.map_err(|cause| cause.to_string())?.answered() {
            Answered::Mandate { agent, expires_at } => Ok((agent.clone(), *expires_at)),
            Answered::NoMandate { why } => Err(why.clone()),
            _ => Err(PlaneError::Unexpected.to_string()),
        }
    }

    async fn ask(&self, question: Question, patience: Duration) -> Result<Verified, PlaneError> {
        let sent = Instant::now();
        let answer = self.0.plane.ask(question, &*self.0.randomness, patience).await;
        match &answer {
            Ok(verified) => {
                *lock(&self.0.contact) = Some(sent);
                if matches!(verified.answered(), Answered::Moved {}) {
                    self.0.moved.notify_one();
                }
            }
            Err(cause) => tracing::warn!(%cause, point = %self.0.point, "a question was not answered"),
        }
        answer
    }

    fn call(&self, presented: &Presented) -> Option<WireCall> {
        WireCall::of(presented, self.snapshot().revision())
    }

    /// Tells something in the background until it is taken.
    fn tell(&self, question: Question) {
        {
            let mut untold = lock(&self.0.untold);
            if untold.waiting >= MAX_WAITING {
                untold.lost = untold.lost.saturating_add(1);
                return;
            }
            untold.waiting = untold.waiting.saturating_add(1);
        }
        let remote = self.clone();
        let mut background = lock(&self.0.background);
        while background.try_join_next().is_some() {}
        background.spawn(async move {
            let lost = remote.told(question).await.err();
            let mut untold = lock(&remote.0.untold);
            untold.waiting = untold.waiting.saturating_sub(1);
            if let Some(cause) = lost {
                untold.lost = untold.lost.saturating_add(1);
                untold.cause = cause;
            }
        });
    }

    /// Tells until it is taken.
    async fn told(&self, question: Question) -> Result<(), String> {
        loop {
            match self.ask(question.clone(), PATIENCE).await {
                Ok(verified) if is_done(&verified) => return Ok(()),
                Ok(_) => return Err(PlaneError::Unexpected.to_string()),
                Err(PlaneError::Unreachable(cause)) => {
                    lock(&self.0.untold).cause = cause;
                    tokio::time::sleep(AGAIN).await;
                }
                Err(cause) => return Err(cause.to_string()),
            }
        }
    }

    /// Whether the control plane answered not long ago.
    fn is_in_contact(&self) -> bool {
        lock(&self.0.contact).is_some_and(|at| at.elapsed() < self.0.settings.silence)
    }
}

/// The bundle of an answer; none where the point has it.
fn taken(verified: &Verified) -> Result<Option<Loaded>, PlaneError> {
    let Answered::Bundle { revision, files } = verified.answered() else {
        return Err(PlaneError::Unexpected);
    };
    let Some(files) = files else { return Ok(None) };
    let files = files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect();
    let loaded = load_files(files).map_err(|report| {
        PlaneError::Settings(format!("the bundle of the control plane does not load here: {report}"))
    })?;
    if loaded.revision != *revision {
        return Err(PlaneError::Settings(format!("the bundle that came is not {revision}")));
    }
    Ok(Some(loaded))
}

/// A refusal that no decision gave.
fn refused(detail: String) -> Refused {
    let finding = Finding::new(ReasonCode::DecisionUnavailable, detail);
    Refused { decision: unnamed(), refusal: Refusal::new(vec![finding]) }
}

/// The name of a decision that nobody made; nothing is recorded under it.
fn unnamed() -> DecisionId {
    // A constant that parses; the fallback never runs and names nothing else.
    DecisionId::new("d0").unwrap_or_else(|_| unnamed())
}

fn all(findings: &[WireFinding]) -> Vec<Finding> {
    findings.iter().cloned().map(WireFinding::finding).collect()
}

impl DecisionPoint for Remote {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn decide_on(&self, snapshot: Arc<Snapshot>) {
        *self.0.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    async fn authorize(&self, presented: &Presented) -> Answer {
        let Some(call) = self.call(presented) else {
            return Answer::Refused(refused("the arguments are no text".to_owned()));
        };
        // From before it is sent: what was stopped before then counted.
        let until = Instant::now() + self.0.settings.lease;
        match self.ask(Question::Decide { call }, PATIENCE).await {
            Ok(verified) => match (verified.answer(presented, until), verified.answered()) {
                (Some(answer), _) => answer,
                (None, Answered::Moved {}) => Answer::Refused(refused(
                    "another bundle holds at this point by now: it is being taken".to_owned(),
                )),
                (None, _) => Answer::Refused(refused(PlaneError::Unexpected.to_string())),
            },
            Err(cause) => Answer::Refused(refused(cause.to_string())),
        }
    }

    async fn would(&self, presented: &Presented) -> Result<(), Refusal> {
        let unavailable = |detail: String| refused(detail).refusal;
        let call = self.call(presented).ok_or_else(|| unavailable("the arguments are no text".to_owned()))?;
        let verified = self.ask(Question::Would { call }, PATIENCE).await;
        match verified.map_err(|cause| unavailable(cause.to_string()))?.answered() {
            Answered::Hindered { findings } if findings.is_empty() => Ok(()),
            Answered::Hindered { findings } => Err(Refusal::new(all(findings))),
            _ => Err(unavailable(PlaneError::Unexpected.to_string())),
        }
    }

    async fn listed(&self, mandate: &MandateId, presence: &Presence) -> BTreeSet<ToolName> {
        let question = Question::List {
            mandate: mandate.clone(),
            server: presence.server.clone(),
            evidence: (&presence.evidence).into(),
        };
        match self.ask(question, PATIENCE).await.as_ref().map(Verified::answered) {
            Ok(Answered::Listed { tools }) => tools.iter().filter_map(|name| name.parse().ok()).collect(),
            _ => BTreeSet::new(),
        }
    }

    async fn stands(&self, mandate: &MandateId, server: &ServerName) -> Result<(), Box<Finding>> {
        let unavailable = |detail: String| Box::new(Finding::new(ReasonCode::DecisionUnavailable, detail));
        let question = Question::Stand { mandate: mandate.clone(), server: server.clone() };
        let verified = self.ask(question, PATIENCE).await;
        match verified.map_err(|cause| unavailable(cause.to_string()))?.answered() {
            Answered::Hindered { findings } => match all(findings).into_iter().next() {
                None => Ok(()),
                Some(finding) => Err(Box::new(finding)),
            },
            _ => Err(unavailable(PlaneError::Unexpected.to_string())),
        }
    }

    async fn agent_of(&self, mandate: &MandateId) -> Option<AgentId> {
        self.mandate(mandate).await.ok().map(|(agent, _)| agent)
    }

    fn release(&self, permit: Permit) -> Result<Release, Box<Refused>> {
        permit.release_by_age(Instant::now()).map_err(|late| {
            let detail = "the decision is older than what was stopped since can be known here".to_owned();
            let finding = Finding::new(ReasonCode::DecisionUnavailable, detail);
            Box::new(self.decline(*late, finding))
        })
    }

    fn decline(&self, permit: Permit, finding: Finding) -> Refused {
        let refused = Refused { decision: permit.decision().clone(), refusal: Refusal::new(vec![finding]) };
        if let Some(proof) = permit.receipt().proof() {
            self.tell(Question::Decline { permit: proof.clone() });
        }
        refused
    }

    fn outcome_later(&self, receipt: Receipt, outcome: Outcome, took: Duration) {
        if let Some(question) = Question::outcome(&receipt, outcome, took) {
            self.tell(question);
        }
    }

    async fn take_in(
        &self,
        receipt: &Receipt,
        outcome: Outcome,
        result: &[u8],
        output: &Output,
        took: Duration,
    ) -> Result<(), Withheld> {
        let question = Question::take_in(receipt, None, outcome, (result, output), took).ok_or(Withheld)?;
        match self.ask(question, PATIENCE).await {
            Ok(verified) if is_done(&verified) => Ok(()),
            Ok(_) => Err(Withheld),
            // It may have been taken in; what is recorded is recorded once.
            Err(_) => {
                self.outcome_later(receipt.clone(), Outcome::Withheld, took);
                Err(Withheld)
            }
        }
    }

    async fn take_in_part(
        &self,
        receipt: &Receipt,
        number: u32,
        part: &[u8],
        output: &Output,
    ) -> Result<(), Withheld> {
        let question =
            Question::take_in(receipt, Some(number), Outcome::Shown, (part, output), Duration::ZERO)
                .ok_or(Withheld)?;
        match self.ask(question, PATIENCE).await {
            Ok(verified) if is_done(&verified) => Ok(()),
            _ => Err(Withheld),
        }
    }

    async fn refuse_method(&self, presented: &Presented) -> Refused {
        let finding =
            Finding::new(ReasonCode::MethodNotAvailable, format!("{} is not let through", presented.method));
        let refused = |decision| Refused { decision, refusal: Refusal::new(vec![finding.clone()]) };
        let Some(call) = self.call(presented) else { return refused(unnamed()) };
        match self.ask(Question::RefuseMethod { call }, PATIENCE).await.as_ref().map(Verified::answered) {
            Ok(Answered::Refused { decision, .. }) => refused(decision.clone()),
            _ => refused(unnamed()),
        }
    }

    fn note_definitions(&self, server: &ServerName, definitions: DefinitionsRecord, said: String) {
        self.tell(Question::definitions(server, definitions, said));
    }

    fn stops(&self) -> Option<Vec<Stop>> {
        // What is stopped is asked of the control plane for each mandate and server (`stands`); here only that it answers.
        self.is_in_contact().then(Vec::new)
    }

    fn unrecorded(&self) -> Option<(u64, String)> {
        let untold = lock(&self.0.untold);
        let waiting = u64::try_from(untold.waiting).unwrap_or(u64::MAX);
        // What is on its way is nothing to speak of.
        let failing = untold.lost > 0 || (waiting > 0 && !untold.cause.is_empty() && !self.is_in_contact());
        failing.then(|| (waiting.saturating_add(untold.lost), untold.cause.clone()))
    }

    async fn settle(&self) {
        let all = std::mem::take(&mut *lock(&self.0.background));
        let told = async {
            let mut all = all;
            while all.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }

    fn unguessable(&self) -> Option<String> {
        let mut bytes = [0; 32];
        self.0.randomness.fill(&mut bytes).ok()?;
        Some(hex::encode(bytes))
    }
}
