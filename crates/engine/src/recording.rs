//! Records of decisions, and the bodies beside them.

use std::collections::BTreeMap;

use serde::Serialize;
use warrantor_decide::{Charge, Grounds, Hop, Snapshot, TaskState};
use warrantor_model::{
    Call, Decimal, DecisionId, EffectSet, Evidence, Finding, Timestamp, TokenEvidence,
    record::{
        ApprovalUse, DecisionRecord, Event, HopRecord, LimitRecord, MAX_REASONS, ReasonRecord, Record,
        SourceRecord, TrackedRecord, Verdict,
    },
};
use warrantor_store::Body;

/// Most characters of each name in the words about a token.
const MAX_NAME_CHARS: usize = 200;
/// The version that records name.
pub(crate) const ENGINE: &str = concat!("warrantor ", env!("CARGO_PKG_VERSION"));

/// What a decision's record is made from.
pub(crate) struct Decided<'a> {
    pub(crate) id: &'a DecisionId,
    pub(crate) at: Timestamp,
    pub(crate) verdict: Verdict,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) method: &'a str,
    pub(crate) call: Option<&'a Call>,
    pub(crate) evidence: &'a Evidence,
    pub(crate) enforcement_point: &'a str,
    pub(crate) task: Option<&'a TaskState>,
    pub(crate) revision: u64,
    pub(crate) grounds: &'a Grounds,
    pub(crate) findings: &'a [Finding],
    pub(crate) asked: &'a [String],
    /// The question that it asks or waits for, or the answers that it uses.
    pub(crate) approval: Option<ApprovalUse>,
}

/// What the body of a decision holds: everything with values in it.
#[derive(Serialize)]
struct DecisionBody<'a> {
    arguments: &'a str,
    findings: &'a [Finding],
    observed: &'a [Finding],
    sources: &'a BTreeMap<String, String>,
    /// Earlier calls of the same tool in this task, for whoever is asked about this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Earlier<'a>>,
}

/// An earlier call that passed.
#[derive(Serialize)]
struct Earlier<'a> {
    decision: &'a str,
    arguments: String,
}

/// Most earlier calls that are shown with a question.
const MAX_EARLIER: usize = 3;

impl Decided<'_> {
    /// The plain bytes of the body.
    pub(crate) fn body(&self, arguments: &[u8]) -> Vec<u8> {
        let arguments = String::from_utf8_lossy(arguments);
        let asks = self.verdict == Verdict::Ask;
        let passed = self.task.zip(self.call).filter(|_| asks).map(|(task, call)| {
            let earlier = task.history.passed_calls(&call.tool);
            earlier
                .take(MAX_EARLIER)
                .map(|(decision, arguments)| Earlier { decision, arguments: arguments.canonical() })
        });
        let body = DecisionBody {
            arguments: &arguments,
            findings: self.findings,
            observed: &self.grounds.observed,
            sources: &self.grounds.told_sources,
            earlier: passed.into_iter().flatten().collect(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The record.
    pub(crate) fn record(&self, body: Option<&Body>) -> Record {
        let passed = self.verdict == Verdict::Pass;
        let reasons = self
            .findings
            .iter()
            .map(|finding| ReasonRecord::of(finding, false))
            .chain(self.grounds.observed.iter().map(|finding| ReasonRecord::of(finding, true)))
            .take(MAX_REASONS)
            .collect();
        // A pass names everything it rests on, or its record is too large and it is refused. A refusal is recorded in any case.
        let listed = if passed { usize::MAX } else { MAX_REASONS };
        let record = DecisionRecord {
            verdict: self.verdict,
            task: self.task.and_then(|task| task.chain.last()).map(|hop| hop.mandate.task.to_string()),
            chain: self.hops(),
            method: self.method.to_owned(),
            tool: self.call.map(|call| call.tool.to_string()),
            effects: words(self.grounds.effects),
            definition: self.call.and_then(|call| self.snapshot.tool(&call.tool)).map(|tool| tool.definition),
            body: body.map(|body| body.commitment),
            body_of: body.map(|body| body.owner.clone()),
            evidence: evidence_text(self.evidence),
            enforcement_point: self.enforcement_point.to_owned(),
            bundle: self.snapshot.revision(),
            revision: self.revision,
            reasons,
            policies: self.grounds.policies.iter().take(listed).cloned().collect(),
            limits: self
                .grounds
                .limits
                .iter()
                .take(listed)
                .map(|(charge, stood_at)| limit(charge, *stood_at, passed))
                .collect(),
            asked: self.asked.to_vec(),
            task_effects: self.task.map(|task| words(task.effects)).unwrap_or_default(),
            task_calls: self.task.map_or(0, |task| task.calls),
            engine: ENGINE.to_owned(),
            sources: self
                .grounds
                .sources
                .iter()
                .map(|(argument, names)| SourceRecord {
                    argument: argument.clone(),
                    names: names.iter().cloned().collect(),
                })
                .take(listed)
                .collect(),
            task_labels: self.task.map(|task| task.labels.iter().cloned().collect()).unwrap_or_default(),
            tracked: self
                .grounds
                .tracked
                .iter()
                .map(|(tracker, stood_at)| TrackedRecord {
                    tracker: tracker.clone(),
                    stood_at: stood_at.to_string(),
                })
                .collect(),
            obligations: self.grounds.obligations.iter().map(ToString::to_string).collect(),
            approval: self.approval.clone(),
            events_seen: self.task.map_or(0, |task| u64::try_from(task.history.len()).unwrap_or(u64::MAX)),
        };
        Record::new(self.id.as_str(), self.at, Event::Decision(Box::new(record)))
    }

    fn hops(&self) -> Vec<HopRecord> {
        let chain: &[Hop] = self.task.map_or(&[], |task| &task.chain);
        chain
            .iter()
            .enumerate()
            .map(|(at, hop)| HopRecord {
                mandate: hop.mandate.id.to_string(),
                template: hop.mandate.terms.template.to_string(),
                terms: hop.terms_digest,
                person: hop.mandate.terms.person.to_string(),
                agent: hop.mandate.terms.agent.to_string(),
                sponsor: hop.mandate.terms.sponsor.to_string(),
                grant: self
                    .grounds
                    .grants
                    .get(at)
                    .copied()
                    .flatten()
                    .and_then(|grant| u32::try_from(grant).ok()),
            })
            .collect()
    }
}

/// Who presented a call, in a line.
#[must_use]
pub fn evidence_text(evidence: &Evidence) -> String {
    match evidence {
        Evidence::LocalUser { uid, name: Some(name) } => format!("local user {name} ({uid})"),
        Evidence::LocalUser { uid, name: None } => format!("local user {uid}"),
        Evidence::Token { name } => format!("bearer token {name}"),
        Evidence::AccessToken(token) => {
            let TokenEvidence { issuer, name, client, bound, home, tokens, subject, .. } = &**token;
            let bound = if *bound { ", bound to its key" } else { ", bound to no key" };
            let short = |text: &str| text.chars().take(MAX_NAME_CHARS).collect::<String>();
            let home = home
                .as_ref()
                .map(|home| format!(", for {} of {}", short(&home.subject), short(&home.issuer)));
            // Of our own, the mandate says who it speaks of.
            let whom =
                if tokens.is_empty() { format!(", speaking of {}", short(subject)) } else { String::new() };
            let home = home.unwrap_or_default() + &whom;
            format!("access token {} of {} for {}{home}{bound}", short(name), short(issuer), short(client))
        }
        Evidence::Failed { why } => format!("not verified: {why}"),
    }
}

fn words(effects: EffectSet) -> Vec<String> {
    effects.iter().map(|effect| effect.as_str().to_owned()).collect()
}

fn limit(charge: &Charge, stood_at: Decimal, passed: bool) -> LimitRecord {
    let (counter, amount) = match charge {
        Charge::Add { counter, amount, .. } => (counter.clone(), amount.to_string()),
        Charge::Distinct { counter, .. } => (counter.clone(), "1 if new".to_owned()),
        Charge::Unique { member, .. } => (crate::charges::without_value(member).to_owned(), "1".to_owned()),
    };
    LimitRecord { counter, stood_at: stood_at.to_string(), charged: passed.then_some(amount) }
}
