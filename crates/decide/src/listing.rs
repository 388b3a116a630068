//! Which tools a task shows: those that some arguments could pass now, judged by the same layers.
//!
//! Sound: a tool that is not listed is denied for all arguments. Not complete: a listed tool may be denied for every argument
//! that occurs.

use std::collections::BTreeSet;

use warrantor_model::{Evidence, MandateKind, ServerName, Timestamp, ToolName};

use crate::{
    accountability,
    policy::{DELEGATE, Principal},
    snapshot::{Snapshot, ToolFacts},
    task::{Facts, Hop, TaskState},
};

/// The tools of a server that the task could call now.
#[must_use]
pub fn listed(
    snapshot: &Snapshot,
    task: &TaskState,
    facts: &Facts,
    call_as: &Presence,
    now: Timestamp,
) -> BTreeSet<ToolName> {
    let Some(manifest) = snapshot.manifest(&call_as.server) else { return BTreeSet::new() };
    let Some(last) = task.chain.last() else { return BTreeSet::new() };
    if !accountability::standing(snapshot, task, facts, (&last.mandate.id, call_as), now).is_empty() {
        return BTreeSet::new();
    }
    manifest
        .tools
        .keys()
        .filter(|name| {
            let tool = warrantor_model::ToolRef::new(call_as.server.clone(), (*name).clone());
            let Some(known) = snapshot.facts(&tool) else { return false };
            let observed = snapshot.observes(&call_as.server);
            task.chain.iter().all(|hop| observed || could_grant(snapshot, known, hop, &tool))
                && task.chain.iter().all(|hop| could_permit(snapshot, hop, &tool))
        })
        .cloned()
        .collect()
}

/// Who asks for the list, and of which server.
#[derive(Debug, Clone)]
pub struct Presence {
    /// The server.
    pub server: ServerName,
    /// Layer 1.
    pub evidence: Evidence,
}

fn could_grant(snapshot: &Snapshot, facts: &ToolFacts, hop: &Hop, tool: &warrantor_model::ToolRef) -> bool {
    let least = facts.tool.effects;
    let granted = hop.mandate.terms.grants.iter().any(|grant| grant.matches.reaches(tool, least));
    let ceiling = snapshot.agent(&hop.mandate.terms.agent).map(|agent| &agent.ceiling);
    granted && ceiling.is_some_and(|c| c.servers.contains(&tool.server) && least.is_within(c.effects))
}

fn could_permit(snapshot: &Snapshot, last: &Hop, tool: &warrantor_model::ToolRef) -> bool {
    let policies = snapshot.policies();
    let action = tool.to_string();
    let terms = &last.mandate.terms;
    let second = match terms.kind {
        MandateKind::Delegated => policies.could_permit(snapshot, &action, Principal::Person(&terms.person)),
        MandateKind::Standing => policies.could_permit(snapshot, DELEGATE, Principal::Person(&terms.sponsor)),
    };
    policies.could_permit(snapshot, &action, Principal::Agent(&terms.agent)) && second
}
