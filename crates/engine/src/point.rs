//! Whatever answers for calls: the engine of this process, or one over the wire. Enforcement points know nothing else.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use warrantor_decide::{Output, Presence, Snapshot};
use warrantor_model::{
    AgentId, DecisionId, Finding, MandateId, Refusal, ServerName, Timestamp, ToolName,
    record::{DefinitionsRecord, Outcome},
};
use warrantor_store::Store;

use crate::{
    Answer, Engine, Permit, Presented, Receipt, Refused, Release, Stop, Withheld, approvals::QuestionStanding,
};

/// Whatever answers for calls. Clones are the same decision point.
///
/// An implementation gives a [`Permit`] only from a commit of its own, or from a signed decision that it verified: there is no other way to one.
pub trait DecisionPoint: Clone + Send + Sync + 'static {
    /// The bundle whose manifests hold here.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Goes on with another bundle. A decision that has begun ends on the one that it began on.
    fn decide_on(&self, snapshot: Arc<Snapshot>);

    /// Decides a call. Never an error: what goes wrong ends as a refusal.
    fn authorize(&self, presented: &Presented) -> impl Future<Output = Answer> + Send;

    /// Whether a call would pass if it were made now; nothing is recorded, charged or permitted.
    fn would(&self, presented: &Presented) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// The tools of a server that a mandate's task could call now.
    fn listed(
        &self,
        mandate: &MandateId,
        presence: &Presence,
    ) -> impl Future<Output = BTreeSet<ToolName>> + Send;

    /// Whether whoever asks, a mandate, everybody who answers for it, and a server stand now. That it cannot be told is [`ReasonCode::DecisionUnavailable`].
    ///
    /// [`ReasonCode::DecisionUnavailable`]: warrantor_model::ReasonCode::DecisionUnavailable
    fn stands(
        &self,
        mandate: &MandateId,
        presence: &Presence,
    ) -> impl Future<Output = Result<(), Box<Finding>>> + Send;

    /// Where a question that was asked here stands; none where that cannot be told.
    fn standing_of(&self, question: &DecisionId) -> impl Future<Output = Option<QuestionStanding>> + Send;

    /// The agent that a mandate is for; none when it is not known.
    fn agent_of(&self, mandate: &MandateId) -> impl Future<Output = Option<AgentId>> + Send;

    /// The last look before an effect.
    ///
    /// # Errors
    /// The refusal, when something the permit rests on was stopped meanwhile, or that cannot be told any more.
    fn release(&self, permit: Permit) -> Result<Release, Box<Refused>>;

    /// Gives a permit up: nothing was sent under it.
    fn decline(&self, permit: Permit, finding: Finding) -> Refused;

    /// Records in the background what became of a released call of which nothing is shown.
    fn outcome_later(&self, receipt: Receipt, outcome: Outcome, took: Duration);

    /// Takes in a result before it is shown. What could not be taken in must not be shown.
    fn take_in(
        &self,
        receipt: &Receipt,
        outcome: Outcome,
        result: &[u8],
        output: &Output,
        took: Duration,
    ) -> impl Future<Output = Result<(), Withheld>> + Send;

    /// Takes in a part of an answer that is shown before its end, the `number`th of the call.
    fn take_in_part(
        &self,
        receipt: &Receipt,
        number: u32,
        part: &[u8],
        output: &Output,
    ) -> impl Future<Output = Result<(), Withheld>> + Send;

    /// Records that a protocol method was refused, or whoever asked.
    fn refuse_method(&self, presented: &Presented) -> impl Future<Output = Refused> + Send;

    /// Records in the background how a server's definitions compare with their pins, and keeps what it said.
    fn note_definitions(&self, server: &ServerName, definitions: DefinitionsRecord, said: String);

    /// What is stopped now, to be compared with what was; `None` when it cannot be told, which stops everything.
    fn stops(&self) -> Option<Vec<Stop>>;

    /// How many records wait to be written, and why; none when all are.
    fn unrecorded(&self) -> Option<(u64, String)>;

    /// Waits until everything in the background is recorded or kept.
    fn settle(&self) -> impl Future<Output = ()> + Send;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Seals a state that a client brings back, for this decision point alone. None when that fails.
    fn seal_state(&self, context: &str, state: &[u8]) -> Option<Vec<u8>>;

    /// Opens what [`DecisionPoint::seal_state`] sealed in the same context. None of anything else.
    fn open_state(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>>;

    /// A name that nobody can guess. None when there are no random bytes.
    fn unguessable(&self) -> Option<String>;
}

impl<S: Store> DecisionPoint for Engine<S> {
    fn snapshot(&self) -> Arc<Snapshot> {
        Self::snapshot(self)
    }

    fn decide_on(&self, snapshot: Arc<Snapshot>) {
        Self::decide_on(self, snapshot);
    }

    async fn authorize(&self, presented: &Presented) -> Answer {
        Self::authorize(self, presented).await
    }

    async fn would(&self, presented: &Presented) -> Result<(), Refusal> {
        Self::would(self, presented).await
    }

    async fn listed(&self, mandate: &MandateId, presence: &Presence) -> BTreeSet<ToolName> {
        Self::listed(self, mandate, presence).await
    }

    async fn stands(&self, mandate: &MandateId, presence: &Presence) -> Result<(), Box<Finding>> {
        Self::stands(self, mandate, presence).await
    }

    async fn standing_of(&self, question: &DecisionId) -> Option<QuestionStanding> {
        Self::standing_of(self, question).await
    }

    async fn agent_of(&self, mandate: &MandateId) -> Option<AgentId> {
        Self::agent_of(self, mandate).await
    }

    fn release(&self, permit: Permit) -> Result<Release, Box<Refused>> {
        Self::release(self, permit)
    }

    fn decline(&self, permit: Permit, finding: Finding) -> Refused {
        Self::decline(self, permit, finding)
    }

    fn outcome_later(&self, receipt: Receipt, outcome: Outcome, took: Duration) {
        Self::outcome_later(self, receipt, outcome, took);
    }

    async fn take_in(
        &self,
        receipt: &Receipt,
        outcome: Outcome,
        result: &[u8],
        output: &Output,
        took: Duration,
    ) -> Result<(), Withheld> {
        Self::take_in(self, receipt, outcome, result, output, took).await
    }

    async fn take_in_part(
        &self,
        receipt: &Receipt,
        number: u32,
        part: &[u8],
        output: &Output,
    ) -> Result<(), Withheld> {
        Self::take_in_part(self, receipt, number, part, output).await
    }

    async fn refuse_method(&self, presented: &Presented) -> Refused {
        Self::refuse_method(self, presented).await
    }

    fn note_definitions(&self, server: &ServerName, definitions: DefinitionsRecord, said: String) {
        Self::note_definitions(self, server, definitions, said);
    }

    fn stops(&self) -> Option<Vec<Stop>> {
        Self::stops(self)
    }

    fn unrecorded(&self) -> Option<(u64, String)> {
        Self::unrecorded(self)
    }

    async fn settle(&self) {
        Self::settle(self).await;
    }

    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn seal_state(&self, context: &str, state: &[u8]) -> Option<Vec<u8>> {
        Self::seal_state(self, context, state)
    }

    fn open_state(&self, context: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        Self::open_state(self, context, sealed)
    }

    fn unguessable(&self) -> Option<String> {
        Self::unguessable(self)
    }
}
