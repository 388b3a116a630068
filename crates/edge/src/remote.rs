//! The decision point itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::{sync::Notify, task::JoinSet};
use warrantor_bundle::{Loaded, load_files};
use warrantor_decide::{Output, Presence, Snapshot};
use warrantor_engine::{
    Answer, DecisionPoint, Permit, Presented, Receipt, Refused, Release, Stop, Withheld,
    approvals::QuestionStanding,
    bodies::SealKey,
    wire::{Answered, Question, Verified, WireCall, WireFinding},
};
use warrantor_model::{
    AgentId, Clock, DecisionId, Digest, EnforcementPoint, Finding, MandateId, Randomness, ReasonCode,
    Refusal, ServerName, Timestamp, ToolName,
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
#[derive(Clone)]
pub struct Settings {
    /// The clock of leases: time since some instant, running through suspend (`CLOCK_BOOTTIME`).
    pub uptime: fn() -> Duration,
    /// The time, for records.
    pub clock: Arc<dyn Clock>,
    /// How long a permit may be released, from the sending of its question.
    pub lease: Duration,
    /// How long the control plane may have been silent before nothing counts as standing.
    pub silence: Duration,
}

impl Settings {
    /// What holds when nothing is said.
    #[must_use]
    pub fn new(uptime: fn() -> Duration, clock: Arc<dyn Clock>) -> Self {
        Self { uptime, clock, lease: Duration::from_millis(800), silence: Duration::from_secs(5) }
    }
}

/// A decision point over the wire. Clones are the same.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    plane: RwLock<Arc<Plane>>,
    point: EnforcementPoint,
    settings: Settings,
    randomness: Arc<dyn Randomness>,
    /// What states of clients are sealed with: another one after each start, so that a client calls anew then.
    states: SealKey,
    snapshot: RwLock<Arc<Snapshot>>,
    /// When the control plane was last asked something that it answered.
    contact: Mutex<Option<Duration>>,
    background: Mutex<JoinSet<()>>,
    untold: Mutex<Untold>,
    /// Told when the control plane decides by another bundle than this point has.
    moved: Notify,
}

/// Outcomes that were not told yet, and what never will be.
#[derive(Default)]
struct Untold {
    waiting: usize,
    /// Since when, how many, and why: calls that were refused because nobody answered, and outcomes that could not be told. Told as a gap once somebody
    /// answers again.
    gap: Option<(Timestamp, u64)>,
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
        let question = Plane::question(Question::Bundle { have: None }, &*randomness)?;
        let verified = plane.ask(question, BUNDLE_PATIENCE).await?;
        let bundle = taken(&verified)?.ok_or(PlaneError::Unexpected)?;
        let states =
            SealKey::generate(&*randomness).map_err(|cause| PlaneError::Question(cause.to_string()))?;
        let inner = Inner {
            states,
            plane: RwLock::new(Arc::new(plane)),
            point: settings.point.clone(),
            contact: Mutex::new(Some((own.uptime)())),
            settings: own,
            randomness,
            snapshot: RwLock::new(Arc::clone(&bundle.snapshot)),
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

    /// Reaches the control plane otherwise from here on: by another token, or believing other keys.
    ///
    /// # Errors
    /// [`PlaneError::Settings`]; nothing is changed then. Another point is another gateway.
    pub fn reach_by(&self, settings: &PlaneSettings) -> Result<(), PlaneError> {
        if settings.point != self.0.point {
            return Err(PlaneError::Settings("another `point` takes effect at the next start".to_owned()));
        }
        let plane = Arc::new(Plane::new(settings)?);
        *self.0.plane.write().unwrap_or_else(PoisonError::into_inner) = plane;
        Ok(())
    }

    fn plane(&self) -> Arc<Plane> {
        Arc::clone(&self.0.plane.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Duration {
        (self.0.settings.uptime)()
    }

    async fn ask(&self, question: Question, patience: Duration) -> Result<Verified, PlaneError> {
        self.ask_bytes(Plane::question(question, &*self.0.randomness)?, patience).await
    }

    async fn ask_bytes(&self, bytes: Bytes, patience: Duration) -> Result<Verified, PlaneError> {
        let sent = self.now();
        let answer = self.plane().ask(bytes, patience).await;
        match &answer {
            Ok(verified) => {
                {
                    let mut contact = lock(&self.0.contact);
                    *contact = (*contact).max(Some(sent));
                }
                if matches!(verified.answered(), Answered::Moved {}) {
                    self.0.moved.notify_one();
                }
                self.tell_gap();
            }
            Err(cause) => tracing::warn!(%cause, point = %self.0.point, "a question was not answered"),
        }
        answer
    }

    /// Something that is in no record, and will not be but as one of a number.
    fn missed(&self, cause: String) {
        let now = self.0.settings.clock.now();
        let mut untold = lock(&self.0.untold);
        let (since, lost) = untold.gap.unwrap_or((now, 0));
        untold.gap = Some((since, lost.saturating_add(1)));
        untold.cause = cause;
    }

    /// Tells of what was missed, now that somebody answers.
    fn tell_gap(&self) {
        let (gap, cause) = {
            let mut untold = lock(&self.0.untold);
            (untold.gap.take(), untold.cause.clone())
        };
        if let Some((since, lost)) = gap {
            self.tell(Question::Gap { since, lost, cause });
        }
    }

    fn call(&self, presented: &Presented) -> Option<WireCall> {
        WireCall::of(presented, self.snapshot().revision())
    }

    /// Tells something in the background until it is taken.
    fn tell(&self, question: Question) {
        {
            let mut untold = lock(&self.0.untold);
            if untold.waiting < MAX_WAITING {
                untold.waiting = untold.waiting.saturating_add(1);
            } else {
                drop(untold);
                return self.missed("more waited to be told than is kept".to_owned());
            }
        }
        let remote = self.clone();
        let mut background = lock(&self.0.background);
        while background.try_join_next().is_some() {}
        background.spawn(async move {
            let lost = remote.told(question).await.err();
            {
                let mut untold = lock(&remote.0.untold);
                untold.waiting = untold.waiting.saturating_sub(1);
            }
            if let Some(cause) = lost {
                remote.missed(cause);
            }
        });
    }

    /// Tells until it is taken. What the control plane does not understand it will never take; everything else may pass: a token that is being changed, a
    /// balancer that has nobody behind it.
    async fn told(&self, question: Question) -> Result<(), String> {
        loop {
            match self.ask(question.clone(), PATIENCE).await {
                Ok(verified) if is_done(&verified) => return Ok(()),
                Ok(_) => return Err(PlaneError::Unexpected.to_string()),
                Err(
                    cause @ (PlaneError::Refused { status: StatusCode::BAD_REQUEST, .. }
                    | PlaneError::Question(_)),
                ) => {
                    return Err(cause.to_string());
                }
                Err(cause) => {
                    lock(&self.0.untold).cause = cause.to_string();
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// Whether the control plane answered not long ago.
    fn is_in_contact(&self) -> bool {
        lock(&self.0.contact).is_some_and(|at| self.now().saturating_sub(at) < self.0.settings.silence)
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
    Refused { decision: DecisionId::unrecorded(), refusal: Refusal::new(vec![finding]) }
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
        let refuse = |detail: String| {
            self.missed(detail.clone());
            Answer::Refused(refused(detail))
        };
        let Some(call) = self.call(presented) else { return refuse("the arguments are no text".to_owned()) };
        let bytes = match Plane::question(Question::Decide { call }, &*self.0.randomness) {
            Ok(bytes) => bytes,
            Err(cause) => return refuse(cause.to_string()),
        };
        let question = Digest::of(&bytes);
        // From before it is sent: what was stopped before then counted.
        let until = self.now().saturating_add(self.0.settings.lease);
        let detail = match self.ask_bytes(bytes, PATIENCE).await {
            Ok(verified) => match (verified.answer(presented, until), verified.answered()) {
                (Some(answer), _) => return answer,
                (None, Answered::Moved {}) => {
                    return refuse("another bundle holds at this point by now: it is being taken".to_owned());
                }
                (None, _) => PlaneError::Unexpected.to_string(),
            },
            Err(cause) => cause.to_string(),
        };
        // It may have been decided: whatever was permitted is given up.
        self.tell(Question::Abandon { question });
        refuse(detail)
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

    async fn stands(&self, mandate: &MandateId, presence: &Presence) -> Result<(), Box<Finding>> {
        let unavailable = |detail: String| Box::new(Finding::new(ReasonCode::DecisionUnavailable, detail));
        let question = Question::Stand {
            mandate: mandate.clone(),
            server: presence.server.clone(),
            evidence: (&presence.evidence).into(),
        };
        let verified = self.ask(question, PATIENCE).await;
        match verified.map_err(|cause| unavailable(cause.to_string()))?.answered() {
            Answered::Hindered { findings } => match all(findings).into_iter().next() {
                None => Ok(()),
                Some(finding) => Err(Box::new(finding)),
            },
            _ => Err(unavailable(PlaneError::Unexpected.to_string())),
        }
    }

    async fn standing_of(&self, question: &DecisionId) -> Option<QuestionStanding> {
        let question = Question::Standing { question: question.clone() };
        match self.ask(question, PATIENCE).await.as_ref().map(Verified::answered) {
            Ok(Answered::Standing { standing: Some(standing) }) => {
                QuestionStanding::ALL.into_iter().find(|known| known.as_str() == standing)
            }
            _ => None,
        }
    }

    async fn agent_of(&self, mandate: &MandateId) -> Option<AgentId> {
        self.mandate(mandate).await.ok().map(|(agent, _)| agent)
    }

    fn release(&self, permit: Permit) -> Result<Release, Box<Refused>> {
        permit.release_by_age(self.now()).map_err(|late| {
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
        let finding = presented.refused_for();
        let refused = |decision| Refused { decision, refusal: Refusal::new(vec![finding.clone()]) };
        let Some(call) = self.call(presented) else { return refused(DecisionId::unrecorded()) };
        match self.ask(Question::RefuseMethod { call }, PATIENCE).await.as_ref().map(Verified::answered) {
            Ok(Answered::Refused { decision, .. }) => refused(decision.clone()),
            _ => {
                self.missed("a method was refused and not recorded".to_owned());
                refused(DecisionId::unrecorded())
            }
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
        let lost = untold.gap.map_or(0, |(_, lost)| lost);
        // What is on its way is nothing to speak of as long as somebody answers.
        let all = waiting.saturating_add(lost);
        (all > 0 && !self.is_in_contact()).then(|| (all, untold.cause.clone()))
    }

    async fn settle(&self) {
        let all = std::mem::take(&mut *lock(&self.0.background));
        let told = async {
            let mut all = all;
            while all.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(FAREWELL, told).await;
    }

    fn now(&self) -> Timestamp {
        self.0.settings.clock.now()
    }

    fn seal_state(&self, context: &str, state: &[u8]) -> Option<Vec<u8>> {
        self.0.states.seal_value(&*self.0.randomness, context, state).ok()
    }

    fn open_state(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.states.open_value(context, sealed).ok()?.to_vec())
    }

    fn unguessable(&self) -> Option<String> {
        let mut bytes = [0; 32];
        self.0.randomness.fill(&mut bytes).ok()?;
        Some(hex::encode(bytes))
    }
}
