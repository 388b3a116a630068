//! Layer 2: whether someone live answers for the call.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use warrantor_model::{
    Accountable, AgentStatus, Evidence, Finding, MandateId, MandateKind, PersonId, PersonStatus, ReasonCode,
    ServerName, Subject, Timestamp,
};

use crate::{
    listing::Presence,
    snapshot::Snapshot,
    task::{Facts, Hop, TaskState},
};

/// How far the clock may stand before the last record's time. More than writers of one machine can differ; less than any expiry.
const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// Findings of the layer, and whose standing they rest on.
pub(crate) struct Accountability {
    pub(crate) findings: Vec<Finding>,
    pub(crate) uses: BTreeSet<Subject>,
}

/// What stands in the way of every call under a mandate to a server: whoever asks is not known, or not any more, someone of the chain is not there any more, a
/// mandate of it has ended, or the server is quarantined.
#[must_use]
pub fn standing(
    snapshot: &Snapshot,
    task: &TaskState,
    facts: &Facts,
    (mandate, presence): (&MandateId, &Presence),
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = credential(facts, &presence.evidence);
    findings.extend(judge(snapshot, task, facts, mandate, now).findings);
    findings.extend(quarantined(facts, &presence.server));
    findings
}

/// Layer 1: whether the evidence verified, and everything that it rests on stands.
pub(crate) fn credential(facts: &Facts, evidence: &Evidence) -> Vec<Finding> {
    if let Evidence::Failed { why } = evidence {
        return vec![Finding::new(ReasonCode::CredentialInvalid, why.clone())];
    }
    let tokens = evidence.tokens().iter().cloned().map(Subject::Token);
    let revoked = tokens.filter(|token| facts.standing.is_stopped(token));
    revoked
        .map(|token| {
            Finding::new(ReasonCode::CredentialRevoked, format!("{token} was revoked")).by(token.to_string())
        })
        .collect()
}

/// That a server is quarantined. Whoever calls is told what is told of every tool that is not there.
pub(crate) fn quarantined(facts: &Facts, server: &ServerName) -> Option<Finding> {
    let subject = Subject::Server(server.clone());
    facts.standing.is_stopped(&subject).then(|| {
        Finding::new(ReasonCode::ToolNotAvailable, format!("the server {server} is quarantined"))
            .by(subject.to_string())
    })
}

pub(crate) fn judge(
    snapshot: &Snapshot,
    task: &TaskState,
    facts: &Facts,
    mandate: &MandateId,
    now: Timestamp,
) -> Accountability {
    let mut layer = Accountability { findings: Vec::new(), uses: BTreeSet::from([Subject::Deployment]) };
    if facts.standing.is_stopped(&Subject::Deployment) {
        layer.find(Finding::new(ReasonCode::Lockdown, "a lockdown is in force").by("deployment"));
    }
    if now.plus(CLOCK_SLACK) < facts.last_record_at {
        let detail = format!("it is {now} by the clock and the last record is of {}", facts.last_record_at);
        layer.find(Finding::new(ReasonCode::ClockUntrusted, detail));
    }
    if task.chain.is_empty() {
        let detail = format!("no mandate {} was handed over", mandate);
        layer.find(Finding::new(ReasonCode::MandateInvalid, detail).by(mandate.to_string()));
    }
    layer.chain_holds(&task.chain, mandate);
    for (at, hop) in task.chain.iter().enumerate() {
        layer.mandate(facts, at, hop, now);
        // People first: when one person is all of it, that the person is gone says more than that an agent lacks an owner.
        for person in [&hop.mandate.terms.person, &hop.mandate.terms.sponsor] {
            layer.person(snapshot, facts, at, hop, person);
        }
        layer.agent(snapshot, facts, at, hop);
    }
    layer
}

impl Accountability {
    fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Each mandate names the one before it, serves the same task and person, and was allowed to follow it. One that was handed on from another domain begins a
    /// task of its own: what one of that domain's tasks has seen is nothing to another.
    fn chain_holds(&mut self, chain: &[Hop], mandate: &MandateId) {
        if chain.last().is_some_and(|last| last.mandate.id != *mandate) {
            self.find(Finding::new(
                ReasonCode::MandateInvalid,
                "the chain does not end at the mandate of the call",
            ));
        }
        if chain.first().is_some_and(|root| root.mandate.parent.is_some()) {
            self.find(
                Finding::new(ReasonCode::MandateInvalid, "the chain does not begin at a root").at_hop(0),
            );
        }
        for (at, pair) in chain.windows(2).enumerate() {
            let [parent, child] = pair else { continue };
            let at = at.saturating_add(1);
            let wrong = if child.mandate.parent.as_ref() != Some(&parent.mandate.id) {
                Some("does not narrow the mandate before it")
            } else if child.mandate.task != parent.mandate.task && !child.mandate.begins_task {
                Some("belongs to another task")
            } else if child.mandate.terms.person != parent.mandate.terms.person {
                Some("belongs to another person")
            } else if parent.mandate.terms.depth == 0 {
                Some("follows a mandate that may not be delegated")
            } else if child.mandate.terms.depth >= parent.mandate.terms.depth {
                Some("may be delegated as far as the mandate before it, or further")
            } else if child.mandate.terms.kind != parent.mandate.terms.kind {
                Some("is of another kind than the mandate before it")
            } else if child.mandate.terms.kind == MandateKind::Standing
                && child.mandate.terms.sponsor != parent.mandate.terms.sponsor
            {
                Some("has another sponsor than the mandate before it")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                let detail = format!("mandate {} {wrong}", child.mandate.id);
                self.find(
                    Finding::new(ReasonCode::MandateInvalid, detail)
                        .at_hop(at)
                        .by(child.mandate.id.to_string()),
                );
            }
        }
    }

    fn mandate(&mut self, facts: &Facts, at: usize, hop: &Hop, now: Timestamp) {
        let mandate = &hop.mandate;
        let subjects =
            [Subject::Mandate(mandate.id.clone()), Subject::Template(mandate.terms.template.clone())];
        for subject in subjects {
            if facts.standing.is_stopped(&subject) {
                let finding = Finding::new(ReasonCode::MandateRevoked, format!("{subject} was revoked"));
                self.find(finding.at_hop(at).by(subject.to_string()));
            }
            self.uses.insert(subject);
        }
        let compiled = hop.terms.terms();
        if !Arc::ptr_eq(compiled, &mandate.terms) && **compiled != *mandate.terms {
            let detail = format!("the terms of mandate {} are not those that were compiled", mandate.id);
            self.find(Finding::new(ReasonCode::MandateInvalid, detail).at_hop(at).by(mandate.id.to_string()));
        }
        if now >= mandate.expires_at {
            let detail = format!("mandate {} ended at {}", mandate.id, mandate.expires_at);
            self.find(Finding::new(ReasonCode::MandateExpired, detail).at_hop(at).by(mandate.id.to_string()));
        }
    }

    fn agent(&mut self, snapshot: &Snapshot, facts: &Facts, at: usize, hop: &Hop) {
        let id = &hop.mandate.terms.agent;
        let subject = Subject::Agent(id.clone());
        let stopped = facts.standing.is_stopped(&subject);
        self.uses.insert(subject);
        let inactive = |detail: String| {
            Finding::new(ReasonCode::AgentInactive, detail).at_hop(at).by(format!("agent:{id}"))
        };
        let Some(agent) = snapshot.agent(id) else {
            self.find(inactive(format!("agent {id} is not registered")));
            return;
        };
        if let Some(blueprint) = &agent.blueprint {
            let subject = Subject::Agent(blueprint.clone());
            if facts.standing.is_stopped(&subject) {
                self.find(inactive(format!(
                    "the fleet of {blueprint}, which agent {id} belongs to, was stopped"
                )));
            }
            self.uses.insert(subject);
        }
        if stopped {
            self.find(inactive(format!("agent {id} was stopped")));
        } else if agent.status != AgentStatus::Active {
            self.find(inactive(format!("agent {id} is {:?}", agent.status).to_lowercase()));
        }
        let owner = std::slice::from_ref(&agent.owner);
        if !self.anyone_live(snapshot, facts, owner) {
            let detail = format!("the owner of {id}, {}, is not active", agent.owner);
            self.find(Finding::new(ReasonCode::NoLiveOwner, detail).at_hop(at).by(format!("agent:{id}")));
        }
        let sponsor = &hop.mandate.terms.sponsor;
        let answers = agent.sponsors.iter().any(|known| snapshot.accountable(known).contains(&sponsor));
        // Beyond the root it is the sponsor of the mandate before it, which the chain sees to.
        if at == 0 && hop.mandate.terms.kind == MandateKind::Standing && !answers {
            let detail = format!("{sponsor} is no sponsor of {id}");
            self.find(
                Finding::new(ReasonCode::NoLiveSponsor, detail).at_hop(at).by(format!("person:{sponsor}")),
            );
        }
        if !self.anyone_live(snapshot, facts, &agent.sponsors) {
            let detail = format!("no sponsor of {id} is active");
            self.find(Finding::new(ReasonCode::NoLiveSponsor, detail).at_hop(at).by(format!("agent:{id}")));
        }
    }

    fn person(&mut self, snapshot: &Snapshot, facts: &Facts, at: usize, hop: &Hop, person: &PersonId) {
        let live = is_live(snapshot, facts, person);
        self.uses.extend(Subject::of_person(person));
        if live {
            return;
        }
        let sponsors = *person == hop.mandate.terms.sponsor;
        let code = if sponsors
            && (*person != hop.mandate.terms.person || hop.mandate.terms.kind == MandateKind::Standing)
        {
            ReasonCode::NoLiveSponsor
        } else {
            ReasonCode::PersonInactive
        };
        let subject = format!("person:{person}");
        if self.findings.iter().any(|f| {
            f.code == code && f.subject.as_ref() == Some(&subject) && f.hop == u32::try_from(at).ok()
        }) {
            return;
        }
        self.find(Finding::new(code, format!("{person} is not active")).at_hop(at).by(subject));
    }

    /// Whether one of them is active. The first who is carries the decision, so only that standing is used.
    fn anyone_live(&mut self, snapshot: &Snapshot, facts: &Facts, who: &[Accountable]) -> bool {
        let live = who
            .iter()
            .flat_map(|who| snapshot.accountable(who))
            .find(|person| is_live(snapshot, facts, person));
        if let Some(person) = live {
            self.uses.extend(Subject::of_person(person));
        }
        live.is_some()
    }
}

fn is_live(snapshot: &Snapshot, facts: &Facts, person: &PersonId) -> bool {
    snapshot.person(person).is_some_and(|person| person.status == PersonStatus::Active)
        && !Subject::of_person(person).iter().any(|subject| facts.standing.is_stopped(subject))
}
