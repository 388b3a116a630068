//! What a decision says when it does not pass: reasons, and what the agent can do next.
//!
//! A finding is one obstacle one layer found. The caller sees a stable code and a sentence that leaks no policy; the operator
//! sees where it came from and the clause that was false, with values.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

/// The layers of the decision (design section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Encode, Decode)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Layer {
    /// Who presents the call.
    #[n(1)]
    Evidence,
    /// Whether someone live answers for it.
    #[n(2)]
    Accountability,
    /// The tool and its arguments as such.
    #[n(3)]
    Tool,
    /// Every mandate of the chain and every agent's ceiling.
    #[n(4)]
    Mandate,
    /// The organization's policies.
    #[n(5)]
    Policy,
    /// Recording and releasing.
    #[n(6)]
    Record,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $index:literal $name:ident $code:literal $layer:ident $next:ident $sentence:literal;)*) => {
        /// Why a call did not pass: stable codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum ReasonCode {
            $($(#[$doc])* #[n($index)] $name,)*
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it stands in answers and records.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The layer that gives it.
            #[must_use]
            pub fn layer(self) -> Layer {
                match self { $(Self::$name => Layer::$layer),* }
            }

            /// What the caller can do, unless the finding knows better.
            #[must_use]
            pub fn next_step(self) -> NextStep {
                match self { $(Self::$name => NextStep::$next),* }
            }

            /// A sentence for the caller that leaks no policy.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence),* }
            }
        }
    };
}

reasons! {
    /// The presented evidence did not verify.
    1 CredentialInvalid "credential_invalid" Evidence ContactOwner "Who is calling could not be verified.";
    /// The agent is not registered or not active.
    2 AgentInactive "agent_inactive" Accountability ContactOwner "This agent is not active.";
    /// A person of the chain is not active.
    3 PersonInactive "person_inactive" Accountability ContactOwner "The person this task belongs to is not active.";
    /// No active person sponsors the agent.
    4 NoLiveSponsor "no_live_sponsor" Accountability ContactOwner "Nobody active answers for what this agent does.";
    /// No active person owns the agent.
    5 NoLiveOwner "no_live_owner" Accountability ContactOwner "Nobody active owns this agent.";
    /// A mandate of the chain is unknown or its chain does not hold together.
    6 MandateInvalid "mandate_invalid" Accountability RequestMandate "There is no valid mandate for this call.";
    /// A mandate of the chain has ended.
    7 MandateExpired "mandate_expired" Accountability RequestMandate "The mandate for this task has expired.";
    /// A mandate of the chain was revoked.
    8 MandateRevoked "mandate_revoked" Accountability RequestMandate "The mandate for this task was revoked.";
    /// The clock stands before the last record.
    9 ClockUntrusted "clock_untrusted" Accountability ContactOwner "The clock of this system cannot be trusted at present.";
    /// Everything is stopped.
    10 Lockdown "lockdown" Accountability None "All agents are stopped at present.";
    /// Unknown, ungranted or not offered: one and the same reason.
    11 ToolNotAvailable "tool_not_available" Tool RequestMandate "This is not available for this task.";
    /// The tool's definition differs from the reviewed one.
    12 ToolChanged "tool_changed" Tool ContactOwner "What is offered under this name has changed since it was reviewed.";
    /// The arguments do not fit the tool's schema, or read two ways.
    13 ArgumentsInvalid "arguments_invalid" Tool NarrowCall "The arguments are not valid here.";
    /// An argument is outside what the mandate allows.
    14 ArgumentOutOfBounds "argument_out_of_bounds" Mandate NarrowCall "An argument is outside what this task allows.";
    /// A limit of the mandate is used up.
    15 LimitReached "limit_reached" Mandate RequestMandate "A limit of this task is used up.";
    /// A call that must succeed before has not.
    16 NotYet "not_yet" Mandate NarrowCall "Another call of this task has to succeed before this one.";
    /// A person has to be asked, and nobody has answered.
    17 ApprovalRequired "approval_required" Mandate RequestApproval "A person has to approve this call.";
    /// No policy permits the agent.
    18 NoPolicyPermits "no_policy_permits" Policy ContactOwner "The organization's policy does not allow this call.";
    /// A policy forbids it.
    19 PolicyForbids "policy_forbids" Policy ContactOwner "The organization's policy does not allow this call.";
    /// The person acted for may not do this either.
    20 PersonNotPermitted "person_not_permitted" Policy ContactOwner "The person this task belongs to may not do this.";
    /// A policy failed while it was evaluated.
    21 PolicyError "policy_error" Policy ContactOwner "The organization's policy could not be evaluated for this call.";
    /// Something a policy refers to is not there.
    22 FactsUnavailable "facts_unavailable" Policy ContactOwner "Facts needed to decide this call are not available.";
    /// The record could not be made durable.
    23 AuditUnavailable "audit_unavailable" Record ContactOwner "The call could not be recorded, so it was not made.";
    /// Nothing that decides could be reached, or it met a bound of its own.
    24 DecisionUnavailable "decision_unavailable" Record ContactOwner "The call could not be decided, so it was not made.";
    /// A protocol method that is not let through.
    25 MethodNotAvailable "method_not_available" Tool None "This method is not available here.";
    /// A value does not come from where the mandate takes it from.
    26 SourceNotAllowed "source_not_allowed" Mandate NarrowCall "A value in this call does not come from where this task takes it from.";
    /// The credential, or one that it was made from, was revoked.
    27 CredentialRevoked "credential_revoked" Evidence ContactOwner "The credential of this agent was revoked.";
    /// A person was asked about this call and said no.
    28 ApprovalDenied "approval_denied" Mandate None "A person was asked about this call and said no.";
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ReasonCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The one thing a refused agent can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Call again with less.
    NarrowCall,
    /// Have a person approve this call.
    RequestApproval,
    /// Have a person hand over a task that covers it.
    RequestMandate,
    /// Tell the agent's owner.
    ContactOwner,
    /// Nothing.
    None,
}

impl NextStep {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NarrowCall => "narrow_call",
            Self::RequestApproval => "request_approval",
            Self::RequestMandate => "request_mandate",
            Self::ContactOwner => "contact_owner",
            Self::None => "none",
        }
    }
}

/// One obstacle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub code: ReasonCode,
    /// The hop of the chain it concerns, the root being 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<u32>,
    /// What gave it: a grant (`grants/2`), a policy's id, a person, a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// A sentence for the caller, when the finding can say more than its code.
    #[serde(skip)]
    pub safe: Option<String>,
    /// What exactly was false, with values: for the operator only.
    pub detail: String,
}

impl Finding {
    /// A finding with its detail.
    #[must_use]
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        Self { code, hop: None, subject: None, safe: None, detail: detail.into() }
    }

    /// At this hop of the chain.
    #[must_use]
    pub fn at_hop(mut self, hop: usize) -> Self {
        self.hop = u32::try_from(hop).ok();
        self
    }

    /// Given by this.
    #[must_use]
    pub fn by(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With this sentence for the caller.
    #[must_use]
    pub fn saying(mut self, sentence: impl Into<String>) -> Self {
        self.safe = Some(sentence.into());
        self
    }
}

/// The call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    findings: Vec<Finding>,
}

impl Refusal {
    /// A refusal for these reasons. Without one it still refuses, as a decision that could not be made.
    #[must_use]
    pub fn new(mut findings: Vec<Finding>) -> Self {
        if findings.is_empty() {
            findings
                .push(Finding::new(ReasonCode::DecisionUnavailable, "a refusal was made without a reason"));
        }
        findings.sort_by_key(|finding| finding.code.layer());
        Self { findings }
    }

    /// All reasons, lowest layer first: for the operator.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The reasons the caller may see. Where a tool is not available nothing else is told, or an agent could learn from the rest
    /// that it exists.
    #[must_use]
    pub fn safe(&self) -> Vec<&Finding> {
        let hidden = |finding: &&Finding| {
            matches!(
                finding.code,
                ReasonCode::ToolNotAvailable | ReasonCode::MethodNotAvailable | ReasonCode::CredentialInvalid
            )
        };
        match self.findings.iter().find(hidden) {
            Some(only) => vec![only],
            None => self.findings.iter().collect(),
        }
    }

    /// The codes the caller may see, each once.
    #[must_use]
    pub fn codes(&self) -> Vec<ReasonCode> {
        let mut codes = Vec::new();
        for finding in self.safe() {
            if !codes.contains(&finding.code) {
                codes.push(finding.code);
            }
        }
        codes
    }

    /// The first reason the caller may see: its code, its sentence, and the next step.
    #[must_use]
    pub fn primary(&self) -> (ReasonCode, String, NextStep) {
        match self.safe().first() {
            Some(finding) => {
                let sentence = finding.safe.clone().unwrap_or_else(|| finding.code.sentence().to_owned());
                (finding.code, sentence, finding.code.next_step())
            }
            None => {
                let code = ReasonCode::DecisionUnavailable;
                (code, code.sentence().to_owned(), code.next_step())
            }
        }
    }
}

/// The call waits for a person: everything that stands in the way can be lifted by an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who must answer, each of them: groups, or the mandate's person.
    pub asked: Vec<String>,
    /// What asked.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unavailable_tool_hides_every_other_reason() {
        let refusal = Refusal::new(vec![
            Finding::new(ReasonCode::PolicyForbids, "p"),
            Finding::new(ReasonCode::ToolNotAvailable, "t"),
        ]);
        assert_eq!(refusal.codes(), [ReasonCode::ToolNotAvailable]);
        assert_eq!(refusal.findings().len(), 2);
    }

    #[test]
    fn a_refusal_without_reasons_is_still_one() {
        assert_eq!(Refusal::new(Vec::new()).primary().0, ReasonCode::DecisionUnavailable);
    }

    #[test]
    fn codes_are_distinct_words() {
        let mut words: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ReasonCode::ALL.len());
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
