//! The decision: all layers, all reasons, one answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy::RestrictedExpression;
use warrantor_model::{
    Approval, Approver, Asker, Binding, Call, Decimal, Digest, Effect, EffectSet, Finding, Given, Json,
    MandateKind, PersonId, Question, ReasonCode, Refusal, Source, Subject, Timestamp,
    path::{self, Coverage},
    record::PolicyRecord,
};

use crate::{
    accountability,
    approving::{self, Counting, Judged},
    grants, kind,
    obligations::Obligation,
    places,
    policy::{self, Circumstances, Evaluation, Principal},
    snapshot::{Snapshot, ToolFacts},
    task::{Charge, Facts, Hop, TaskState, after_marker},
    terms, tools,
    trace::Tracer,
    tracking::{self, Tracking},
};

pub(crate) mod context;

use context::{approval_value, effect_set, shared_context, source_sets, tracked};

/// Effects that observe mode never lets through: their harm is done before anybody has looked at what was observed.
pub(crate) const NEVER_OBSERVED: [Effect; 5] =
    [Effect::Pay, Effect::Destroy, Effect::Credential, Effect::Share, Effect::Execute];

/// The answer to a call. There is no way from a boolean to it, and none from it to an effect: a pass is a draft until its
/// record is durable.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Every layer lets it through.
    Pass(Draft),
    /// Only persons who have not answered stand in the way.
    Ask(Box<Asking>, Grounds),
    /// Something stands in the way.
    Deny(Refusal, Grounds),
}

impl Decision {
    /// What the decision rests on.
    #[must_use]
    pub fn grounds(&self) -> &Grounds {
        match self {
            Self::Pass(draft) => &draft.grounds,
            Self::Ask(_, grounds) | Self::Deny(_, grounds) => grounds,
        }
    }
}

/// A question to persons: who has to answer, what asks, and which call an answer would be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// As enforcement points see it.
    pub question: Question,
    /// What asks.
    pub askers: BTreeSet<Asker>,
    /// What an answer would be bound to.
    pub binding: Binding,
}

/// What a decision rests on, whichever way it went: for records and explanations.
#[derive(Debug, Clone, Default)]
pub struct Grounds {
    /// The effects the call has.
    pub effects: EffectSet,
    /// The winning grant of each hop, by its place.
    pub grants: Vec<Option<usize>>,
    /// Policies that held.
    pub policies: Vec<PolicyRecord>,
    /// The charges that were looked at, and what their counters stood at.
    pub limits: Vec<(Charge, Decimal)>,
    /// What observe mode lifted: what would have been said.
    pub observed: Vec<Finding>,
    /// Where the values of arguments were found, by argument: names of the published vocabulary.
    pub sources: BTreeMap<String, BTreeSet<String>>,
    /// The same with places and values, for the operator.
    pub told_sources: BTreeMap<String, String>,
    /// What has to be done with the result of a call that passes.
    pub obligations: BTreeSet<Obligation>,
    /// What trackers stood at that policies could look at.
    pub tracked: Vec<(String, Decimal)>,
    /// Answers of persons that lifted something.
    pub given: Vec<Given>,
    /// What an answer to a question about the call is bound to. None where nobody is asked and nobody has answered, and of a tool that is not known.
    pub binding: Option<Binding>,
}

impl Grounds {
    /// Adds a policy that held; once, though several hops name the same principal.
    fn add_policy(&mut self, policy: PolicyRecord) {
        if !self.policies.contains(&policy) {
            self.policies.push(policy);
        }
    }
}

/// A pass that has not been committed. Only [`decide`] makes one.
#[derive(Debug, Clone)]
pub struct Draft {
    grounds: Grounds,
    charges: Vec<Charge>,
    uses: BTreeSet<Subject>,
    markers: BTreeSet<String>,
    echoes: BTreeSet<String>,
    tracking: Vec<Tracking>,
    approval: Option<Arc<Approval>>,
}

impl Draft {
    /// What the decision rests on.
    #[must_use]
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// What the pass adds to the counts; each must hold when it is committed.
    #[must_use]
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// Whose standing the pass rests on: it may only be committed while none of them was stopped.
    #[must_use]
    pub fn uses(&self) -> &BTreeSet<Subject> {
        &self.uses
    }

    /// What is remembered of the values that the call puts somewhere, for all later tasks of the person.
    #[must_use]
    pub fn echoes(&self) -> &BTreeSet<String> {
        &self.echoes
    }

    /// What trackers count once the call has ended.
    #[must_use]
    pub fn tracking(&self) -> &[Tracking] {
        &self.tracking
    }

    /// The answers that the pass uses up: it may only be committed while nobody else has used them.
    #[must_use]
    pub fn approval(&self) -> Option<&Arc<Approval>> {
        self.approval.as_ref()
    }

    /// What is marked once the call has succeeded, for grants that wait for it.
    #[must_use]
    pub fn markers(&self) -> &BTreeSet<String> {
        &self.markers
    }
}

/// Decides a call. Pure: the same inputs give the same answer.
#[must_use]
pub fn decide(snapshot: &Snapshot, task: &TaskState, facts: &Facts, call: &Call, now: Timestamp) -> Decision {
    let mut obstacles = Obstacles::default();
    let mut grounds = Grounds::default();
    obstacles.hard.extend(accountability::credential(facts, &call.evidence));
    let accountability = accountability::judge(snapshot, task, facts, &call.mandate, now);
    obstacles.hard.extend(accountability.findings);
    obstacles.hard.extend(accountability::quarantined(facts, &call.tool.server));
    obstacles.hard.extend(tools::judge(snapshot, call));
    let mut passing = Passing { uses: accountability.uses, ..Passing::default() };
    passing.uses.insert(Subject::Server(call.tool.server.clone()));
    passing.uses.extend(call.evidence.tokens().iter().cloned().map(Subject::Token));
    if let Some(tool) = snapshot.facts(&call.tool) {
        let handed = snapshot.handed(&task.chain, tool, call);
        let judged = Judged {
            snapshot,
            tool,
            task,
            facts,
            call,
            effects: snapshot.effects(&tool.tool, &call.arguments),
            now,
        };
        let approval = facts.approval.as_ref();
        let mut counting =
            approval.map(|approval| approving::counting(&judged, approval)).unwrap_or_default();
        let mut tracer = Tracer::new(snapshot, task, &handed);
        if let Some(approval) = approval.filter(|_| counting.is_whole()) {
            tracer = tracer.with_put_in(&approval.edited);
        }
        grounds.effects = judged.effects;
        passing.charges = mandates(&tracer, tool, call, &mut obstacles, &mut grounds);
        sources(&tracer, tool, call, &mut grounds);
        passing.tracking = trackers(snapshot, task, call, &mut passing.charges, &mut obstacles, &mut grounds);
        if let Some(approval) = approval {
            grounds.binding = approving::binding(&judged, &grounds.sources);
            counting = counting.bound_to(approval, grounds.binding.as_ref());
            if let Some(why) = counting.void.as_ref().filter(|_| approval.replaced) {
                let detail = format!("what a person put in does not count: {why}");
                obstacles.hard.push(Finding::new(ReasonCode::ApprovalRequired, detail).by("approval"));
            }
        }
        policies(&judged, &counting.given, &mut obstacles, &mut grounds);
        passing.markers = success_markers(task, call);
        // Whatever is answered or not: what passes leaves the same behind.
        if obstacles.hard.is_empty() && !grounds.effects.is_pure_read() {
            let remembered = tracer.echoes(&handed);
            if let (true, Some(root)) = (remembered.more, task.chain.first()) {
                let detail = "it hands out more values that could lead somewhere than can be remembered";
                let finding = Finding::new(ReasonCode::ApprovalRequired, detail).by("arguments");
                obstacles.ask(
                    Approver::Person(root.mandate.terms.person.clone()),
                    root.terms_digest,
                    finding,
                );
            }
            passing.echoes = remembered.members;
        }
        // A call with what a person put in rests on them also where nothing asks about it any more.
        let rests_on_them = approval.is_some_and(|approval| approval.replaced) && counting.is_whole();
        if obstacles.lift(&counting) || rests_on_them {
            passing.uses.extend(counting.uses);
            passing.approval.clone_from(&facts.approval);
            grounds.given = counting.given;
        }
        // Of most calls nobody is asked, and nothing has to be bound.
        if grounds.binding.is_none() && obstacles.asks_alone() {
            grounds.binding = approving::binding(&judged, &grounds.sources);
        }
    }
    obstacles.into_decision(grounds, passing)
}

/// What a pass brings with it.
#[derive(Default)]
struct Passing {
    charges: Vec<Charge>,
    uses: BTreeSet<Subject>,
    markers: BTreeSet<String>,
    echoes: BTreeSet<String>,
    tracking: Vec<Tracking>,
    approval: Option<Arc<Approval>>,
}

/// Where the values of sensitive and named arguments were found; of all, where a policy could ask.
fn sources(tracer: &Tracer<'_>, facts: &ToolFacts, call: &Call, grounds: &mut Grounds) {
    let Some(last) = tracer.task.chain.last() else { return };
    let asked_for = tracer.snapshot.policies().names_attribute(&call.tool, "sources");
    let effects = grounds.effects;
    let grants: Vec<_> = tracer
        .task
        .chain
        .iter()
        .flat_map(|hop| hop.terms.grants())
        .filter(|grant| grant.matches(&call.tool, effects))
        .collect();
    let mut found = 0usize;
    path::walk(&call.arguments, &mut Vec::new(), &mut |location, value| {
        let scalar = !matches!(value, Json::Null | Json::Array(_) | Json::Object(_));
        if location.is_empty() || !scalar {
            return;
        }
        let speaking: Vec<_> = grants
            .iter()
            .flat_map(|grant| places::deepest(grant.arguments.iter().map(|(path, b)| (path, b)), location))
            .collect();
        let sensitive = facts.rule(location).is_some_and(|rule| rule.sensitive);
        if !asked_for && !sensitive && speaking.is_empty() {
            return;
        }
        if found >= MAX_SOURCES {
            // Which values are looked at is for the agent to choose, by their order: the others count as the worst there is.
            let worst = ["anyone", "unknown"].map(str::to_owned);
            grounds.sources.entry(generalized(location)).or_default().extend(worst);
            return;
        }
        found = found.saturating_add(1);
        let listed: Vec<&Source> = speaking
            .iter()
            .flat_map(|(_, bounds)| [&bounds.bounds().provenance.from, &bounds.bounds().provenance.also_from])
            .flatten()
            .flatten()
            .collect();
        if tracer.is_put_in(location) {
            let told = format!("{} was put in by who approved the call", places::cut(&value.canonical()));
            grounds.told_sources.entry(places::pointer(location)).or_insert(told);
        }
        let kind = facts.kind(location);
        let mut names = tracer.names(value, kind, &listed, last);
        if speaking.iter().any(|(_, bounds)| bounds.names_values() && bounds.judge(value, kind).is_ok()) {
            names.insert("literal".to_owned());
        }
        // A stranger's words in what a person put in are still a stranger's; nothing in it is the agent's.
        if tracer.is_put_in(location) {
            names.remove("computed");
            names.insert("person".to_owned());
        }
        let at = generalized(location);
        let (_, traced) = tracer.trace(value, kind);
        let told = format!("{} {}", places::cut(&value.canonical()), tracer.told(&traced));
        grounds.told_sources.entry(places::pointer(location)).or_insert(told);
        grounds.sources.entry(at).or_default().extend(names);
    });
}

/// Most values of one call whose sources are told.
pub const MAX_SOURCES: usize = 200;

/// A location with `*` for the place in a list.
#[must_use]
pub fn generalized(location: &[path::Step]) -> String {
    let segments = location.iter().map(|step| match step {
        path::Step::Member(name) => path::Segment::Name(name.clone()),
        path::Step::Index(_) => path::Segment::Any,
    });
    places::cut(&warrantor_model::Path::of(segments.collect()).to_string())
}

/// What trackers say, and what the call adds to them.
fn trackers(
    snapshot: &Snapshot,
    task: &TaskState,
    call: &Call,
    charges: &mut Vec<Charge>,
    obstacles: &mut Obstacles,
    grounds: &mut Grounds,
) -> Vec<Tracking> {
    let reading = tracking::read(snapshot, task, call, grounds.effects);
    obstacles.hard.extend(
        reading.faults.into_iter().map(|why| Finding::new(ReasonCode::FactsUnavailable, why).by("trackers")),
    );
    charges.extend(reading.charges);
    grounds.tracked = reading.totals;
    reading.later
}

/// What stands in the way, by what could lift it.
#[derive(Default)]
struct Obstacles {
    hard: Vec<Finding>,
    asks: Vec<(Asker, Finding)>,
    /// Why answers that were given do not count.
    void: Option<String>,
}

impl Obstacles {
    /// Adds what stands in the way of a hop; once, though it stands in the way of several.
    fn add(&mut self, finding: Finding, at: usize) {
        let known = |other: &Finding| other.code == finding.code && other.detail == finding.detail;
        if !self.hard.iter().any(known) {
            self.hard.push(if at == 0 { finding } else { finding.at_hop(at) });
        }
    }

    /// Adds what a person's answer would lift, asked by what has this digest.
    fn ask(&mut self, who: Approver, of: Digest, finding: Finding) {
        let by = finding.subject.clone().unwrap_or_default();
        let asked = (Asker { who, by, hop: finding.hop, of }, finding);
        if !self.asks.contains(&asked) {
            self.asks.push(asked);
        }
    }

    /// Lifts what was answered, and nothing else. Whether anything was.
    fn lift(&mut self, counting: &Counting) -> bool {
        let before = self.asks.len();
        self.asks.retain(|(asker, _)| !counting.lifts.contains(asker));
        self.void.clone_from(&counting.void);
        self.asks.len() < before
    }

    /// Whether nothing but persons who have not answered stands in the way.
    fn asks_alone(&self) -> bool {
        self.hard.is_empty() && !self.asks.is_empty()
    }

    fn into_decision(mut self, grounds: Grounds, passing: Passing) -> Decision {
        if !self.hard.is_empty() {
            self.hard.extend(self.asks.into_iter().map(|(_, finding)| finding));
            return Decision::Deny(Refusal::new(self.hard), grounds);
        }
        if !self.asks.is_empty() {
            let (askers, mut findings): (BTreeSet<Asker>, Vec<Finding>) = self.asks.into_iter().unzip();
            if let Some(why) = self.void {
                let detail = format!("answers that were given do not count: {why}");
                findings.push(Finding::new(ReasonCode::ApprovalRequired, detail).by("approval"));
            }
            let Some(binding) = grounds.binding.clone() else {
                // Nobody can be asked about what cannot be named.
                return Decision::Deny(Refusal::new(findings), grounds);
            };
            let asked: BTreeSet<String> = askers.iter().map(|asker| asker.who.to_string()).collect();
            let question = Question { asked: asked.into_iter().collect(), findings };
            return Decision::Ask(Box::new(Asking { question, askers, binding }), grounds);
        }
        let Passing { mut charges, uses, markers, echoes, tracking, approval } = passing;
        charges.sort();
        Decision::Pass(Draft { grounds, charges, uses, markers, echoes, tracking, approval })
    }
}

/// Layer 4 over every hop. Returns what the winners charge.
fn mandates(
    tracer: &Tracer<'_>,
    facts: &ToolFacts,
    call: &Call,
    obstacles: &mut Obstacles,
    grounds: &mut Grounds,
) -> Vec<Charge> {
    let (snapshot, task) = (tracer.snapshot, tracer.task);
    let observed = snapshot.observes(&call.tool.server)
        && !NEVER_OBSERVED.iter().any(|effect| grounds.effects.contains(*effect));
    let mut charges = Vec::new();
    if task.chain.is_empty() {
        // Without this an agent without a mandate could tell known tools from unknown ones.
        let detail = format!("no mandate grants {}", call.tool);
        obstacles.hard.push(Finding::new(ReasonCode::ToolNotAvailable, detail).by("grants"));
    }
    for (at, hop) in task.chain.iter().enumerate() {
        let verdict = grants::judge(tracer, facts, at, hop, call, grounds.effects);
        grounds.grants.push(verdict.grant);
        for charge in &verdict.charges {
            let stood_at = match charge {
                Charge::Add { counter, .. } | Charge::Distinct { counter, .. } => task.counters.get(counter),
                Charge::Unique { .. } => None,
            };
            grounds.limits.push((charge.clone(), stood_at.copied().unwrap_or_default()));
        }
        if observed {
            grounds.observed.extend(verdict.findings);
            grounds.observed.extend(verdict.asks.into_iter().map(|(_, finding)| finding));
            charges.extend(verdict.charges.into_iter().map(unlimited));
        } else {
            obstacles.hard.extend(verdict.findings);
            verdict.asks.into_iter().for_each(|(who, finding)| obstacles.ask(who, hop.terms_digest, finding));
            charges.extend(verdict.charges);
        }
    }
    charges
}

/// Observed calls are charged, but no limit stops them.
fn unlimited(charge: Charge) -> Charge {
    match charge {
        Charge::Add { counter, amount, .. } => Charge::Add { counter, amount, at_most: None },
        Charge::Distinct { member, counter, .. } => Charge::Distinct { member, counter, at_most: None },
        Charge::Unique { member, .. } => Charge::Unique { member, observed: true },
    }
}

/// Layer 5 for both principals of every hop: what an agent may not do it cannot have done by another, and no mandate says for another whose task,
/// purpose or sponsor it is.
fn policies(judged: &Judged<'_>, given: &[Given], obstacles: &mut Obstacles, grounds: &mut Grounds) {
    let Judged { snapshot, tool: facts, task, call, now, .. } = *judged;
    let Some(root) = task.chain.first() else { return };
    let mut inexact = Vec::new();
    let arguments = facts.shape.cedar_object(&call.arguments, &mut inexact);
    for number in inexact {
        if snapshot.policies().names_attribute(&call.tool, &number.attribute) {
            let detail = format!(
                "{} = {} does not convert exactly to a Cedar number",
                number.attribute, number.literal
            );
            obstacles.hard.push(Finding::new(ReasonCode::FactsUnavailable, detail).by(number.attribute));
        }
    }
    let unavailable = |detail: String| Finding::new(ReasonCode::DecisionUnavailable, detail).by("policies");
    let (Some(arguments), Some(person)) = (arguments, policy::person_value(&root.mandate.terms.person))
    else {
        obstacles.hard.push(unavailable("the arguments make no Cedar record".into()));
        return;
    };
    let resource = match resource(facts, call) {
        Ok(resource) => resource,
        Err(why) => {
            obstacles.hard.push(Finding::new(ReasonCode::FactsUnavailable, why).by("resource"));
            return;
        }
    };
    let mut circumstances = circumstances(task, call, grounds.effects, resource);
    circumstances.people.extend(given.iter().map(|given| &given.by));
    let tracked = tracked(snapshot, &grounds.tracked, obstacles);
    let own = [("arguments", arguments), ("sources", source_sets(facts, &grounds.sources))];
    for (at, hop) in task.chain.iter().enumerate() {
        let mut context = shared_context(task, root, hop, at, now, call);
        context.push(("tracked".to_owned(), tracked.clone()));
        context.push(("person".to_owned(), person.clone()));
        context.extend(approval_value(given).map(|value| ("approval".to_owned(), value)));
        let judged =
            judge_agent(snapshot, &circumstances, &context, own.clone(), hop).and_then(|(agent, second)| {
                let second = match second {
                    Some(evaluation) => evaluation,
                    None => judge_sponsor(snapshot, &circumstances, &context, call, hop)?,
                };
                Ok((agent, second))
            });
        match judged {
            Ok((agent, second)) => {
                let principal = Principal::Agent(&hop.mandate.terms.agent);
                collect(snapshot, at, principal, agent, ReasonCode::NoPolicyPermits, obstacles, grounds);
                let principal = Principal::Person(second_person(hop));
                collect(snapshot, at, principal, second, ReasonCode::PersonNotPermitted, obstacles, grounds);
            }
            Err(why) => obstacles.hard.push(unavailable(why).at_hop(at)),
        }
    }
}

/// The second principal: the person acted for, or the sponsor of a standing mandate.
fn second_person(hop: &Hop) -> &PersonId {
    match hop.mandate.terms.kind {
        MandateKind::Delegated => &hop.mandate.terms.person,
        MandateKind::Standing => &hop.mandate.terms.sponsor,
    }
}

/// The agent's evaluation, and the person's on the same action where the mandate is delegated.
fn judge_agent(
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    context: &[(String, RestrictedExpression)],
    own: [(&str, RestrictedExpression); 2],
    hop: &Hop,
) -> Result<(Evaluation, Option<Evaluation>), String> {
    let mut context = context.to_vec();
    context.extend(own.map(|(name, value)| (name.to_owned(), value)));
    let policies = snapshot.policies();
    let prepared = policies.prepare(snapshot, circumstances, context)?;
    let agent = policies.evaluate(&prepared, Principal::Agent(&hop.mandate.terms.agent))?;
    let person = match hop.mandate.terms.kind {
        MandateKind::Delegated => {
            Some(policies.evaluate(&prepared, Principal::Person(&hop.mandate.terms.person))?)
        }
        MandateKind::Standing => None,
    };
    Ok((agent, person))
}

/// The sponsor's, on `delegate` with the same resource.
fn judge_sponsor(
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    context: &[(String, RestrictedExpression)],
    call: &Call,
    hop: &Hop,
) -> Result<Evaluation, String> {
    let mut context = context.to_vec();
    context.push(("tool".to_owned(), RestrictedExpression::new_string(call.tool.to_string())));
    context.push(("effects".to_owned(), effect_set(circumstances.effects)));
    let agent = policy::agent_value(&hop.mandate.terms.agent).ok_or("the agent makes no Cedar entity")?;
    context.push(("agent".to_owned(), agent));
    let prepared = snapshot.policies().prepare_action(snapshot, policy::DELEGATE, circumstances, context)?;
    snapshot.policies().evaluate(&prepared, Principal::Person(&hop.mandate.terms.sponsor))
}

fn circumstances<'a>(
    task: &'a TaskState,
    call: &'a Call,
    effects: EffectSet,
    resource: Option<(&'a str, String)>,
) -> Circumstances<'a> {
    let agents = task.chain.iter().map(|hop| &hop.mandate.terms.agent).collect();
    // Owners and sponsors of agents can be compared with, and nothing more: no policy can look into them, however many they are.
    let people =
        task.chain.iter().flat_map(|hop| [&hop.mandate.terms.person, &hop.mandate.terms.sponsor]).collect();
    Circumstances { tool: &call.tool, effects, resource, agents, people }
}

/// The type and id of what the call acts on, where the manifest names it and the call has it.
///
/// # Errors
/// A sentence when the argument is no id, or several.
pub(crate) fn resource<'a>(facts: &'a ToolFacts, call: &Call) -> Result<Option<(&'a str, String)>, String> {
    let Some(rule) = &facts.tool.resource else { return Ok(None) };
    let mut found = Vec::new();
    path::walk(&call.arguments, &mut Vec::new(), &mut |location, value| {
        if !value.is_null() && rule.id.covers(location) == Some(Coverage::Itself) {
            found.push((facts.kind(location).unwrap_or_default(), value));
        }
    });
    let id = match found.as_slice() {
        [] => return Ok(None),
        // What has no canonical form is refused by layer 3 where the manifest names a kind.
        [(kind, Json::String(text))] => kind::canonical(*kind, text).unwrap_or_else(|_| text.clone()),
        [(_, number @ Json::Number(literal))] => match number.as_decimal() {
            Some(number) => number.normalize().to_string(),
            None => return Err(format!("the resource {} = {literal} has too many digits", rule.id)),
        },
        [(_, Json::Bool(id))] => id.to_string(),
        [(_, other)] => {
            return Err(format!("the resource {} is {}, not an id", rule.id, other.type_name()));
        }
        several => return Err(format!("the resource {} has {} values", rule.id, several.len())),
    };
    Ok(Some((rule.entity_type.as_str(), id)))
}

/// Sorts what one principal's evaluation found into obstacles and grounds.
fn collect(
    snapshot: &Snapshot,
    at: usize,
    principal: Principal<'_>,
    evaluation: Evaluation,
    unpermitted: ReasonCode,
    obstacles: &mut Obstacles,
    grounds: &mut Grounds,
) {
    let who = snapshot.policies().principal_text(principal);
    let hit = |policy: &str, effect: &str| PolicyRecord {
        policy: policy.to_owned(),
        principal: who.clone(),
        effect: effect.to_owned(),
    };
    for failure in &evaluation.errors {
        let code = if failure.missing { ReasonCode::FactsUnavailable } else { ReasonCode::PolicyError };
        let detail = format!("policy {} failed for {who}: {}", failure.policy, failure.message);
        obstacles.add(Finding::new(code, detail).by(failure.policy.clone()), at);
    }
    if evaluation.permits.is_empty() {
        let detail = format!("no policy permits {who}");
        obstacles.add(Finding::new(unpermitted, detail).by(who.clone()), at);
    }
    for policy in &evaluation.permits {
        grounds.add_policy(hit(policy, "permit"));
        grounds.obligations.extend(snapshot.policies().obligations(policy).iter().cloned());
    }
    for policy in &evaluation.forbids {
        let detail = format!("policy {policy} forbids it to {who}");
        obstacles.add(Finding::new(ReasonCode::PolicyForbids, detail).by(policy.clone()), at);
        grounds.add_policy(hit(policy, "forbid"));
    }
    for (policy, group) in evaluation.asks {
        let detail =
            format!("policy {policy} forbids it to {who} unless a person of {group} approves this call");
        grounds.add_policy(hit(&policy, "forbid"));
        let digest = snapshot.policies().digest(&policy);
        let finding = Finding::new(ReasonCode::ApprovalRequired, detail).by(policy);
        obstacles.ask(Approver::Group(group), digest, finding);
    }
    lift_observed(&who, &evaluation.observed, obstacles, grounds);
}

/// A forbid in observe mode is recorded and does not forbid, except where the effect is one whose harm is done at once.
fn lift_observed(who: &str, policies: &[String], obstacles: &mut Obstacles, grounds: &mut Grounds) {
    let stands = NEVER_OBSERVED.iter().any(|effect| grounds.effects.contains(*effect));
    for policy in policies {
        let detail = format!("policy {policy}, in observe mode, forbids it to {who}");
        let finding = Finding::new(ReasonCode::PolicyForbids, detail).by(policy.clone());
        grounds.add_policy(PolicyRecord {
            policy: policy.clone(),
            principal: who.to_owned(),
            effect: "forbid".into(),
        });
        let told = if stands { &mut obstacles.hard } else { &mut grounds.observed };
        if !told.contains(&finding) {
            told.push(finding);
        }
    }
}

/// What grants of the chain wait for that this call would satisfy by succeeding.
fn success_markers(task: &TaskState, call: &Call) -> BTreeSet<String> {
    let mut markers = BTreeSet::new();
    for hop in &task.chain {
        for (at, grant) in hop.terms.grants().iter().enumerate() {
            for (nth, earlier) in grant.grant.after.iter().enumerate() {
                if terms::satisfies(earlier, &call.tool, &call.arguments) {
                    markers.insert(after_marker(&hop.mandate, at, nth));
                }
            }
        }
    }
    markers
}
