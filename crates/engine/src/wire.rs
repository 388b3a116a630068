//! Deciding over the wire: what an enforcement point asks a control plane, and the signed answers.
//!
//! A question is JSON with a nonce of its own. The answer is JSON and a signed note (C2SP) over the digests of both, made out to the point that asked: it
//! cannot be another question's, another point's, or an earlier one's. A [`Permit`](crate::Permit) comes of a verified answer in one place, [`Verified::answer`]. What the
//! control plane needs again later (what a pass charged) travels as its own signed answer, so that it keeps nothing for a point that never comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use warrantor_decide::{Charge, Obligation, Output, Tracking};
use warrantor_model::{
    AgentId, DecisionId, Definition, Digest, Evidence, Failure, Finding, Home, Json, MandateId, Offer,
    PersonId, ReasonCode, ServerName, Subject, TaskId, TemplateId, Timestamp, TokenEvidence, TokenId,
    ToolRef,
    record::{DefinitionsRecord, Outcome},
    tracker::TrackedOutcome,
};

use crate::{Presented, Receipt, Refused, Stop};

mod answering;
mod signed;

pub use answering::NotOurs;
pub use signed::{SignatureError, Signed, SigningError, Verified, sign};

/// Most bytes of a question or an answer: a result within the gateway's bound, quoted, with room beside it.
pub const MAX_BYTES: usize = 32 << 20;

/// Most bytes of a method's name, and of the name of something that differs.
const MAX_NAME: usize = 128;
/// Most bytes of a tool's name as it arrived.
const MAX_TOOL: usize = 4096;
/// Most bytes of what is said of evidence: a token has no more.
const MAX_EVIDENCE: usize = 16 << 10;
/// Most names of one sort in a comparison of definitions.
const MAX_NAMES: usize = 100;

/// One question of an enforcement point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// A number that was never used: 64 hexadecimal digits. Binds the answer to this very question.
    pub nonce: String,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// The bundle that holds at this point, unless it is this one.
    Bundle {
        /// The one that the point has.
        have: Option<Digest>,
    },
    /// Decide a call, and record it.
    Decide {
        /// The call.
        call: WireCall,
    },
    /// Whether a call would pass; nothing is recorded.
    Would {
        /// The call.
        call: WireCall,
    },
    /// The tools of a server that a task could call now.
    List {
        /// The task's mandate.
        mandate: MandateId,
        /// The server.
        server: ServerName,
        /// Layer 1.
        evidence: WireEvidence,
    },
    /// Whether whoever asks, a mandate, everybody who answers for it, and a server stand.
    Stand {
        /// The mandate.
        mandate: MandateId,
        /// The server.
        server: ServerName,
        /// Layer 1.
        evidence: WireEvidence,
    },
    /// Where a question to persons stands that was asked at this point.
    Standing {
        /// The decision that asked.
        question: DecisionId,
    },
    /// The agent of a mandate, and until when it lives.
    Mandate {
        /// The mandate.
        mandate: MandateId,
    },
    /// A permit is given up: nothing was sent under it.
    Decline {
        /// The permit.
        permit: Signed,
    },
    /// What became of a released call of which nothing is shown.
    Outcome {
        /// The permit.
        permit: Signed,
        /// What.
        outcome: String,
        /// How long it took, in microseconds.
        micros: u64,
    },
    /// Take a result, or a part of it, into the task's history, so that it may be shown.
    TakeIn {
        /// The permit.
        permit: Signed,
        /// The number of the part; none for the result itself.
        part: Option<u32>,
        /// What became of the call.
        outcome: String,
        /// The result's text.
        result: String,
        /// The result, taken apart.
        output: WireOutput,
        /// How long it took, in microseconds.
        micros: u64,
    },
    /// The answer to another question did not arrive: whatever it permitted, nothing was sent under it.
    Abandon {
        /// The digest of that question.
        question: Digest,
    },
    /// Calls were refused, or outcomes lost, while the control plane could not be reached.
    Gap {
        /// Since when.
        since: Timestamp,
        /// How many.
        lost: u64,
        /// What was failing.
        cause: String,
    },
    /// Record that a protocol method was refused.
    RefuseMethod {
        /// The call.
        call: WireCall,
    },
    /// Record how a server's definitions compare with their pins.
    Definitions {
        /// The server.
        server: ServerName,
        /// What is defined differently.
        changed: Vec<String>,
        /// What no manifest knows.
        unknown: Vec<String>,
        /// What is not offered any more.
        missing: Vec<String>,
        /// Whether instructions are withheld.
        instructions_withheld: bool,
        /// What the server said.
        said: String,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answered {
    /// The bundle that holds at the point.
    Bundle {
        /// Its digest.
        revision: Digest,
        /// Its files; none where the point has them.
        files: Option<BTreeMap<String, String>>,
    },
    /// The point decides by another bundle than holds there now: it has to take that first.
    Moved {},
    /// The call passed, and its record is durable.
    Permitted {
        /// What was permitted.
        permit: Box<WirePermit>,
    },
    /// A person has to be asked.
    Asked {
        /// The decision.
        decision: DecisionId,
        /// Who must answer.
        asked: Vec<String>,
        /// What asks.
        findings: Vec<WireFinding>,
    },
    /// The call is refused.
    Refused {
        /// The decision.
        decision: DecisionId,
        /// Why.
        findings: Vec<WireFinding>,
    },
    /// What stands in the way; nothing where it is empty.
    Hindered {
        /// Each obstacle.
        findings: Vec<WireFinding>,
    },
    /// The names of tools.
    Listed {
        /// Each.
        tools: BTreeSet<String>,
    },
    /// Where a question to persons stands; none where that cannot be told.
    Standing {
        /// Its standing.
        standing: Option<String>,
    },
    /// A mandate.
    Mandate {
        /// Its agent.
        agent: AgentId,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// There is no such mandate, or it has ended.
    NoMandate {
        /// Why, in words for whoever named it.
        why: String,
    },
    /// It is done.
    Done {},
    /// A result was not taken in: it must not be shown.
    Withheld {},
    /// The question cannot be answered.
    Not {
        /// Why.
        why: String,
    },
}

/// A call as it goes over the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireCall {
    /// The bundle by whose manifests the point judged the definition.
    pub bundle: Digest,
    method: String,
    mandate: MandateId,
    server: ServerName,
    offer: String,
    tool: String,
    /// The arguments' bytes as they arrived, which are JSON and so text.
    arguments: String,
    evidence: WireEvidence,
    definition: WireDefinition,
}

/// Layer 1 as it goes over the wire: what the point verified, and its own word for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WireEvidence {
    /// A local user.
    LocalUser {
        /// The numeric user id.
        uid: u32,
        /// The name.
        name: Option<String>,
    },
    /// A token of the point's own.
    Token {
        /// Its name.
        name: String,
    },
    /// An access token.
    AccessToken {
        /// Who made it.
        issuer: String,
        /// Its name in records.
        name: String,
        /// Of a token of the token service, itself and those it was made from.
        tokens: Vec<TokenId>,
        /// Whom it speaks of.
        subject: String,
        /// The client that it was made for.
        client: String,
        /// Its scopes.
        scopes: BTreeSet<String>,
        /// Whether it was presented by whoever has its key.
        bound: bool,
        /// The domain that the task comes from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<Home>,
    },
    /// It did not verify.
    Failed {
        /// Why.
        why: String,
    },
}

impl WireEvidence {
    /// How many bytes of text it brings.
    fn bytes(&self) -> usize {
        match self {
            Self::LocalUser { name, .. } => name.as_deref().unwrap_or_default().len(),
            Self::Token { name } => name.len(),
            Self::AccessToken { issuer, name, tokens, subject, client, scopes, bound: _, home } => {
                let home = home.iter().flat_map(|home| [home.issuer.as_str(), home.subject.as_str()]);
                let listed = tokens.iter().map(AsRef::as_ref).chain(scopes.iter().map(String::as_str));
                let single = [issuer, name, subject, client].into_iter().map(String::as_str);
                single.chain(listed).chain(home).map(str::len).fold(0, usize::saturating_add)
            }
            Self::Failed { why } => why.len(),
        }
    }
}

/// How a definition stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireDefinition {
    AsPinned,
    Changed,
    NotSeen,
}

/// A result, taken apart.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireOutput {
    structured: Option<String>,
    texts: Vec<String>,
    others: Vec<String>,
    error: bool,
}

/// A finding, with the sentence that its caller may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireFinding {
    code: String,
    hop: Option<u32>,
    subject: Option<String>,
    safe: Option<String>,
    detail: String,
}

/// A permit as the control plane gives it out, with all that it needs again to record what became of the call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WirePermit {
    decision: DecisionId,
    task: TaskId,
    tool: ToolRef,
    owner: Option<PersonId>,
    charges: Vec<Charge>,
    markers: BTreeSet<String>,
    tracking: Vec<(bool, Charge)>,
    failure: Failure,
    obligations: BTreeSet<Obligation>,
    uses: BTreeSet<String>,
    handed_over: Vec<(TemplateId, Timestamp)>,
    /// The arguments that are permitted, where whoever approved the call put others in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited: Option<String>,
}

impl WireCall {
    /// A call as it is presented. None of arguments that are no text: nothing that is JSON is.
    #[must_use]
    pub fn of(presented: &Presented, bundle: Digest) -> Option<Self> {
        Some(Self {
            bundle,
            method: presented.method.clone(),
            mandate: presented.mandate.clone(),
            server: presented.server.clone(),
            offer: presented.offer.prefix().to_owned(),
            tool: presented.tool.clone(),
            arguments: String::from_utf8(presented.arguments.clone()).ok()?,
            evidence: (&presented.evidence).into(),
            definition: match presented.definition {
                Definition::AsPinned => WireDefinition::AsPinned,
                Definition::Changed => WireDefinition::Changed,
                Definition::NotSeen => WireDefinition::NotSeen,
            },
        })
    }

    /// The call to be decided. None of a sort of thing that nobody offers, and of names that no record would hold.
    #[must_use]
    pub fn presented(&self) -> Option<Presented> {
        if self.method.len() > MAX_NAME || self.tool.len() > MAX_TOOL || self.evidence.bytes() > MAX_EVIDENCE
        {
            return None;
        }
        let offer = Offer::ALL.into_iter().find(|offer| offer.prefix() == self.offer)?;
        Some(Presented {
            method: self.method.clone(),
            mandate: self.mandate.clone(),
            server: self.server.clone(),
            offer,
            tool: self.tool.clone(),
            arguments: self.arguments.clone().into_bytes(),
            evidence: self.evidence.clone().into(),
            definition: match self.definition {
                WireDefinition::AsPinned => Definition::AsPinned,
                WireDefinition::Changed => Definition::Changed,
                WireDefinition::NotSeen => Definition::NotSeen,
            },
        })
    }
}

impl From<&Evidence> for WireEvidence {
    fn from(evidence: &Evidence) -> Self {
        match evidence {
            Evidence::LocalUser { uid, name } => Self::LocalUser { uid: *uid, name: name.clone() },
            Evidence::Token { name } => Self::Token { name: name.clone() },
            Evidence::AccessToken(token) => {
                let TokenEvidence { issuer, name, tokens, subject, client, scopes, bound, home } = &**token;
                Self::AccessToken {
                    issuer: issuer.clone(),
                    name: name.clone(),
                    tokens: tokens.clone(),
                    subject: subject.clone(),
                    client: client.clone(),
                    scopes: scopes.clone(),
                    bound: *bound,
                    home: home.clone(),
                }
            }
            Evidence::Failed { why } => Self::Failed { why: why.clone() },
        }
    }
}

impl From<WireEvidence> for Evidence {
    fn from(evidence: WireEvidence) -> Self {
        match evidence {
            WireEvidence::LocalUser { uid, name } => Self::LocalUser { uid, name },
            WireEvidence::Token { name } => Self::Token { name },
            WireEvidence::AccessToken { issuer, name, tokens, subject, client, scopes, bound, home } => {
                let token = TokenEvidence { issuer, name, tokens, subject, client, scopes, bound, home };
                Self::AccessToken(Box::new(token))
            }
            WireEvidence::Failed { why } => Self::Failed { why },
        }
    }
}

impl From<&Output> for WireOutput {
    fn from(output: &Output) -> Self {
        Self {
            structured: output.structured.as_ref().map(Json::canonical),
            texts: output.texts.clone(),
            others: output.others.clone(),
            error: output.error,
        }
    }
}

impl WireOutput {
    /// The output. None where the structured content is no JSON.
    fn output(&self) -> Option<Output> {
        let structured = self.structured.as_deref().map(|text| Json::parse(text.as_bytes()));
        Some(Output {
            structured: structured.transpose().ok()?,
            texts: self.texts.clone(),
            others: self.others.clone(),
            error: self.error,
        })
    }
}

impl From<&Finding> for WireFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code.as_str().to_owned(),
            hop: finding.hop,
            subject: finding.subject.clone(),
            safe: finding.safe.clone(),
            detail: finding.detail.clone(),
        }
    }
}

impl WireFinding {
    /// The finding. A code that is not known here refuses all the same.
    #[must_use]
    pub fn finding(self) -> Finding {
        let known = ReasonCode::ALL.iter().find(|code| code.as_str() == self.code).copied();
        Finding {
            code: known.unwrap_or(ReasonCode::DecisionUnavailable),
            hop: self.hop,
            subject: self.subject,
            safe: self.safe,
            detail: self.detail,
        }
    }
}

/// Findings as they go over the wire.
#[must_use]
pub fn findings(all: &[Finding]) -> Vec<WireFinding> {
    all.iter().map(Into::into).collect()
}

impl From<&Refused> for Answered {
    fn from(refused: &Refused) -> Self {
        Self::Refused { decision: refused.decision.clone(), findings: findings(refused.refusal.findings()) }
    }
}

/// The outcome of this name.
fn outcome_of(name: &str) -> Option<Outcome> {
    Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == name)
}

impl Question {
    /// Tells what became of a call by its receipt. None of a receipt that this control plane did not give out over the wire.
    #[must_use]
    pub fn outcome(receipt: &Receipt, outcome: Outcome, took: Duration) -> Option<Self> {
        Some(Self::Outcome {
            permit: receipt.proof.as_deref()?.clone(),
            outcome: outcome.as_str().to_owned(),
            micros: micros(took),
        })
    }

    /// Takes in a result, or a part of it. None as in [`Question::outcome`], and of a result that is no text.
    #[must_use]
    pub fn take_in(
        receipt: &Receipt,
        part: Option<u32>,
        outcome: Outcome,
        (result, output): (&[u8], &Output),
        took: Duration,
    ) -> Option<Self> {
        Some(Self::TakeIn {
            permit: receipt.proof.as_deref()?.clone(),
            part,
            outcome: outcome.as_str().to_owned(),
            result: std::str::from_utf8(result).ok()?.to_owned(),
            output: output.into(),
            micros: micros(took),
        })
    }

    /// Records how a server's definitions compare with their pins.
    #[must_use]
    pub fn definitions(server: &ServerName, record: DefinitionsRecord, said: String) -> Self {
        let DefinitionsRecord { server: _, changed, unknown, missing, instructions_withheld } = record;
        Self::Definitions { server: server.clone(), changed, unknown, missing, instructions_withheld, said }
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

impl WirePermit {
    fn of(permit: &crate::Permit) -> Self {
        let receipt = &*permit.receipt;
        let tracked =
            |tracking: &Tracking| (tracking.outcome == TrackedOutcome::Success, tracking.charge.clone());
        Self {
            decision: permit.decision.clone(),
            task: receipt.task.clone(),
            tool: permit.tool.clone(),
            owner: receipt.owner.clone(),
            charges: receipt.charges.clone(),
            markers: receipt.markers.clone(),
            tracking: receipt.tracking.iter().map(tracked).collect(),
            failure: receipt.failure,
            obligations: receipt.obligations.clone(),
            uses: permit.uses.iter().map(ToString::to_string).collect(),
            handed_over: permit.handed_over.clone(),
            edited: receipt.edited.as_deref().map(str::to_owned),
        }
    }

    /// Whether a stop takes it back.
    fn is_stopped_by(&self, stop: &Stop) -> bool {
        self.uses.contains(&stop.subject.to_string())
            && match &stop.subject {
                Subject::Template(template) => {
                    self.handed_over.iter().any(|(known, at)| known == template && *at <= stop.since)
                }
                _ => true,
            }
    }

    fn receipt(&self) -> Receipt {
        let tracking = |(success, charge): &(bool, Charge)| Tracking {
            outcome: if *success { TrackedOutcome::Success } else { TrackedOutcome::Error },
            charge: charge.clone(),
        };
        Receipt {
            decision: self.decision.clone(),
            task: self.task.clone(),
            tool: self.tool.clone(),
            owner: self.owner.clone(),
            charges: self.charges.clone(),
            markers: self.markers.clone(),
            tracking: self.tracking.iter().map(tracking).collect(),
            failure: self.failure,
            obligations: self.obligations.clone(),
            edited: self.edited.as_deref().map(Into::into),
            proof: None,
        }
    }
}
