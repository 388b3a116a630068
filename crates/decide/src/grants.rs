//! Layer 4: every mandate of the chain grants the call, within every agent's ceiling.
//!
//! Grants are a union. Each that matches is judged whole, never mixed with another; passing beats asking beats denying, then the
//! order of the file decides, and the winner is charged.

use std::collections::BTreeMap;

use warrantor_model::{
    Approver, Asked, Call, Decimal, Effect, EffectSet, Finding, Json, Kind, ReasonCode,
    path::{self, Coverage, Step},
};

use crate::{
    bounds::Compiled,
    places::{cut, deepest, deepest_keys, reach, shown},
    shape::Declared,
    snapshot::ToolFacts,
    task::{Charge, Hop, Scope, TaskState, after_marker},
    terms::CompiledGrant,
    trace::{Demand, Sourced, Tracer, put_in_by_person},
};

/// Most findings about the arguments of one grant; one is enough to refuse.
const MAX_FINDINGS: usize = 8;
/// Most values that one question is about: nobody reads more. A call with more of them is refused.
const MAX_ASKS: usize = 64;

/// How one mandate judges a call.
pub(crate) struct HopVerdict {
    /// The winning grant, by its place; none when no grant matches.
    pub(crate) grant: Option<usize>,
    /// What it costs if it passes.
    pub(crate) charges: Vec<Charge>,
    /// What stands in the way for good.
    pub(crate) findings: Vec<Finding>,
    /// Who must be asked.
    pub(crate) asks: Vec<(Approver, Finding)>,
}

pub(crate) fn judge(
    tracer: &Tracer<'_>,
    facts: &ToolFacts,
    at: usize,
    hop: &Hop,
    call: &Call,
    effects: EffectSet,
) -> HopVerdict {
    let (snapshot, task) = (tracer.snapshot, tracer.task);
    let unavailable = |detail: String, subject: &str| {
        Finding::new(ReasonCode::ToolNotAvailable, detail).at_hop(at).by(subject.to_owned())
    };
    let matching: Vec<(usize, &CompiledGrant)> = hop
        .terms
        .grants()
        .iter()
        .enumerate()
        .filter(|(_, grant)| grant.matches(&call.tool, effects))
        .collect();
    let mut verdict = best(tracer, facts, hop, call, effects, &matching);
    if matching.is_empty() {
        let detail =
            format!("no grant of {} matches {} with the effects {effects}", hop.mandate.id, call.tool);
        verdict.findings.push(unavailable(detail, "grants"));
    }
    let ceiling = snapshot.agent(&hop.mandate.terms.agent).map(|agent| &agent.ceiling);
    let within =
        ceiling.is_some_and(|c| c.servers.contains(&call.tool.server) && effects.is_within(c.effects));
    if !within {
        let detail = format!(
            "the ceiling of {} does not reach {} with the effects {effects}",
            hop.mandate.terms.agent, call.tool
        );
        verdict.findings.push(unavailable(detail, "ceiling"));
    }
    match Scope::of_mandate(&hop.mandate).charges(facts, &call.arguments) {
        Ok(charges) => {
            verdict.findings.extend(exhausted(task, &charges, "limits"));
            verdict.charges.extend(charges);
        }
        Err(why) => verdict.findings.push(out_of_bounds(why, "limits")),
    }
    verdict.findings.iter_mut().for_each(|finding| finding.hop = u32::try_from(at).ok());
    verdict.asks.iter_mut().for_each(|(_, finding)| finding.hop = u32::try_from(at).ok());
    verdict
}

/// The grant that lets the call furthest through. Of several that deny, the one with the fewest obstacles is told: it came nearest.
fn best(
    tracer: &Tracer<'_>,
    facts: &ToolFacts,
    hop: &Hop,
    call: &Call,
    effects: EffectSet,
    matching: &[(usize, &CompiledGrant)],
) -> HopVerdict {
    let judged =
        matching.iter().map(|(nth, grant)| judge_grant(tracer, facts, hop, call, effects, *nth, grant));
    judged.min_by_key(|verdict| (verdict.findings.len(), verdict.asks.len().min(1))).unwrap_or(HopVerdict {
        grant: None,
        charges: Vec::new(),
        findings: Vec::new(),
        asks: Vec::new(),
    })
}

fn judge_grant(
    tracer: &Tracer<'_>,
    facts: &ToolFacts,
    hop: &Hop,
    call: &Call,
    effects: EffectSet,
    nth: usize,
    grant: &CompiledGrant,
) -> HopVerdict {
    let subject = format!("grants/{nth}");
    let task = tracer.task;
    let Judged { mut findings, asks: sources } =
        arguments(tracer, hop, facts, grant, &call.arguments, effects, &subject);
    for (condition, earlier) in grant.grant.after.iter().enumerate() {
        if !task.members.contains(&after_marker(&hop.mandate, nth, condition)) {
            let detail = format!("{} has not succeeded in this task as the grant demands", earlier.tool);
            let sentence = format!("{} has to succeed in this task first.", earlier.tool);
            findings.push(Finding::new(ReasonCode::NotYet, detail).by(subject.clone()).saying(sentence));
        }
    }
    let charges =
        match Scope::of_grant(&hop.mandate, nth, &grant.grant.limits).charges(facts, &call.arguments) {
            Ok(charges) => {
                findings.extend(exhausted(task, &charges, &subject));
                charges
            }
            Err(why) => {
                findings.push(out_of_bounds(why, &subject));
                Vec::new()
            }
        };
    let granted = grant.grant.ask.iter().map(|asked| {
        let who = match asked {
            Asked::Person => Approver::Person(hop.mandate.terms.person.clone()),
            Asked::Group(group) => Approver::Group(group.clone()),
        };
        let finding =
            Finding::new(ReasonCode::ApprovalRequired, format!("the grant asks {who}")).by(subject.clone());
        (who, finding)
    });
    let person = Approver::Person(hop.mandate.terms.person.clone());
    let asks = granted.chain(sources.into_iter().map(|finding| (person.clone(), finding))).collect();
    HopVerdict { grant: Some(nth), charges, findings, asks }
}

fn out_of_bounds(detail: String, subject: &str) -> Finding {
    let sentence = format!("An argument is outside what this task allows: {detail}.");
    Finding::new(ReasonCode::ArgumentOutOfBounds, detail).by(subject.to_owned()).saying(sentence)
}

/// Limits that the charges would break.
fn exhausted(task: &TaskState, charges: &[Charge], subject: &str) -> Vec<Finding> {
    let unread = |counter: &str| {
        Finding::new(ReasonCode::DecisionUnavailable, format!("the counter {counter} was not read"))
            .by(subject.to_owned())
    };
    let reached = |detail: String| Finding::new(ReasonCode::LimitReached, detail).by(subject.to_owned());
    let mut findings = Vec::new();
    // Values that are new, by counter: one call can bring several.
    let mut new: BTreeMap<&str, Decimal> = BTreeMap::new();
    for charge in charges {
        match charge {
            Charge::Add { counter, amount, at_most: Some(most) } => {
                match task.counters.get(counter) {
                    None => findings.push(unread(counter)),
                    Some(stood_at) => match stood_at.checked_add(*amount) {
                        Some(after) if after <= *most => {}
                        _ => {
                            let left = most.checked_sub(*stood_at).unwrap_or_default();
                            findings.push(reached(format!("{counter} stands at {stood_at} of {most}: {amount} is more than the {left} left")));
                        }
                    },
                }
            }
            Charge::Add { at_most: None, .. } => {}
            Charge::Distinct { member, .. } if task.members.contains(member) => {}
            Charge::Distinct { counter, at_most, .. } => {
                let Some(stood_at) = task.counters.get(counter) else {
                    findings.push(unread(counter));
                    continue;
                };
                let brought = new.entry(counter).or_default();
                *brought = brought.saturating_add(Decimal::ONE);
                let after = stood_at.saturating_add(*brought);
                let over = |count: Decimal| at_most.is_some_and(|most| count > most);
                // Said once: a call may bring very many.
                if over(after) && (*brought == Decimal::ONE || !over(after.saturating_sub(Decimal::ONE))) {
                    let detail = format!(
                        "{counter} stands at {stood_at} different values and this call brings new ones"
                    );
                    findings.push(reached(detail));
                }
            }
            Charge::Unique { member, .. } => {
                if task.members.contains(member) {
                    findings.push(reached(format!("{member} was used before")));
                }
            }
        }
    }
    findings
}

/// What one grant says of a call's arguments.
struct Judged {
    /// What stands in the way for good.
    findings: Vec<Finding>,
    /// Values of which a person has to be asked.
    asks: Vec<Finding>,
}

/// Judges every argument by the path that speaks of it.
fn arguments(
    tracer: &Tracer<'_>,
    hop: &Hop,
    facts: &ToolFacts,
    grant: &CompiledGrant,
    arguments: &Json,
    effects: EffectSet,
    subject: &str,
) -> Judged {
    let judged = Judged { findings: missing(grant, arguments, subject), asks: Vec::new() };
    let mut judge = Judge { tracer, hop, facts, grant, effects, subject, settled: None, judged };
    path::walk(arguments, &mut Vec::new(), &mut |location, value| judge.visit(location, value));
    judge.judged
}

/// Effects for which a word of the request says nothing about a text: it has to be quoted there.
const GRAVE: [Effect; 4] = [Effect::Pay, Effect::Credential, Effect::Share, Effect::Execute];

/// One grant looking at one call's arguments, containers before what they hold.
struct Judge<'a> {
    tracer: &'a Tracer<'a>,
    hop: &'a Hop,
    facts: &'a ToolFacts,
    grant: &'a CompiledGrant,
    effects: EffectSet,
    subject: &'a str,
    /// The last container that was judged as a whole.
    settled: Option<Vec<Step>>,
    judged: Judged,
}

impl Judge<'_> {
    fn visit(&mut self, location: &[Step], value: &Json) {
        if self.judged.findings.len() >= MAX_FINDINGS {
            return;
        }
        let empty = value.is_empty_value();
        if matches!(value, Json::Array(_) | Json::Object(_)) && !empty {
            self.container(location, value);
        } else if !location.is_empty() {
            self.leaf(location, value);
        } else {
            self.no_arguments(value);
        }
        self.undeclared_key(location);
    }

    /// The bounds of every path that names the container itself.
    fn container(&mut self, location: &[Step], value: &Json) {
        let grant = self.grant;
        for (_, bounds) in
            grant.arguments.iter().filter(|(path, _)| path.covers(location) == Some(Coverage::Itself))
        {
            if let Err(found) = bounds.judge_container(value) {
                self.violation(location, &found.must, value);
            }
            if bounds.settles_container(value) && !self.is_settled(location) {
                self.settled = Some(location.to_vec());
            }
        }
    }

    fn is_settled(&self, location: &[Step]) -> bool {
        self.settled.as_ref().is_some_and(|whole| location.starts_with(whole))
    }

    /// A scalar, or an empty container.
    fn leaf(&mut self, location: &[Step], value: &Json) {
        let grant = self.grant;
        let speaking = deepest(grant.arguments.iter().map(|(path, bounds)| (path, bounds)), location);
        if speaking.is_empty() {
            return self.unnamed(location, value);
        }
        // An element that is null is a value among others; a member that is null is absent.
        if value.is_null() && !is_element(location) {
            return;
        }
        let kind = self.facts.kind(location);
        let sensitive = self.facts.rule(location).is_some_and(|rule| rule.sensitive);
        let whole = self.settled.as_ref().filter(|whole| location.starts_with(whole)).map(Vec::len);
        for (path, bounds) in speaking {
            // What a container's equality has settled is judged again only by a path that goes on below it.
            if whole.is_some_and(|whole| reach(path, location).is_none_or(|steps| steps <= whole)) {
                continue;
            }
            self.bounded(location, &shown(location), bounds, value, kind, sensitive && whole.is_none());
        }
    }

    /// The bounds of a value, and where it comes from.
    fn bounded(
        &mut self,
        location: &[Step],
        at: &str,
        bounds: &Compiled,
        value: &Json,
        kind: Option<Kind>,
        sensitive: bool,
    ) {
        let grave = sensitive
            && kind.unwrap_or_default() == Kind::Text
            && GRAVE.iter().any(|effect| self.effects.contains(*effect));
        let put_in = self.tracer.is_put_in(location);
        let sourced = |bounds: &Compiled, value: &Json, kind: Option<Kind>, sensitive: bool| {
            let provenance = &bounds.bounds().provenance;
            let demand = Demand { provenance, is_literal: bounds.names_values(), sensitive, grave };
            match put_in {
                true => put_in_by_person(&demand),
                false => self.tracer.judge(self.hop, &demand, value, kind),
            }
        };
        let holes = |hole: &Compiled, value: &Json| sourced(hole, value, None, false);
        let filled = match bounds.judge_with(value, kind, &holes) {
            Err(found) => return self.violation(location, &found.must, value),
            Ok(filled) => filled,
        };
        // An empty list has no value that could come from anywhere.
        if matches!(value, Json::Array(_) | Json::Object(_)) {
            return;
        }
        let by_holes = bounds.states_sources() && !bounds.bounds().provenance.is_stated();
        let whole = if by_holes { Sourced::Pass } else { sourced(bounds, value, kind, sensitive) };
        let worst = if filled.rank() > whole.rank() { filled } else { whole };
        self.source(at, worst, value);
    }

    /// What a value's source comes to.
    fn source(&mut self, at: &str, sourced: Sourced, value: &Json) {
        let place = format!("{}/arguments/{at}", self.subject);
        let shown = shortened(value);
        match sourced {
            Sourced::Pass => {}
            Sourced::Ask(why) if self.judged.asks.len() < MAX_ASKS => {
                let sentence = format!("A person has to confirm the value of the argument {at}.");
                let finding = Finding::new(ReasonCode::ApprovalRequired, format!("{at} = {shown} {why}"));
                self.judged.asks.push(finding.by(place).saying(sentence));
            }
            Sourced::Ask(why) | Sourced::Deny(why) => {
                let sentence = format!(
                    "The value of the argument {at} does not come from where this task takes it from: use one that the person or a trusted record gave."
                );
                let finding = Finding::new(ReasonCode::SourceNotAllowed, format!("{at} = {shown} {why}"));
                self.judged.findings.push(finding.by(place).saying(sentence));
            }
        }
    }

    /// Bounds of the whole value where there is not one argument.
    fn no_arguments(&mut self, value: &Json) {
        let grant = self.grant;
        for (_, bounds) in grant.arguments.iter().filter(|(path, _)| path.is_root()) {
            if let Err(found) = bounds.judge(value, None) {
                self.violation(&[], &found.must, value);
            }
        }
    }

    fn violation(&mut self, location: &[Step], must: &str, value: &Json) {
        let at = if location.is_empty() { "the arguments".to_owned() } else { shown(location) };
        let detail = format!("{at} must {must}; it is {}", shortened(value));
        let sentence = match location {
            [] => format!("The arguments as a whole must {must}."),
            _ => format!("The argument {at} must {must}."),
        };
        let place = format!("{}/arguments/{}", self.subject, shown(location));
        self.judged
            .findings
            .push(Finding::new(ReasonCode::ArgumentOutOfBounds, detail).by(place).saying(sentence));
    }

    /// An argument that the grant does not name: absent if the call has any effect but reading, unless the manifest marks it free.
    fn unnamed(&mut self, location: &[Step], value: &Json) {
        let rule = self.facts.rule(location).unwrap_or_default();
        // A list of nothings still has a length: only members can be absent.
        let absent =
            !is_element(location) && (value.is_null() || (value.is_empty_value() && !rule.empty_acts));
        let allowed = if self.effects.is_pure_read() { !rule.sensitive } else { rule.free };
        if absent || allowed {
            return;
        }
        let at = shown(location);
        let detail =
            format!("{at} is not named by the grant and so must be absent; it is {}", shortened(value));
        let sentence = format!("The argument {at} must be left out.");
        self.judged
            .findings
            .push(Finding::new(ReasonCode::ArgumentOutOfBounds, detail).by(self.subject).saying(sentence));
    }

    /// A member name that the schema does not name carries data of its own: it is judged like a value that nothing names, unless the
    /// grant bounds names there with `@keys`.
    fn undeclared_key(&mut self, location: &[Step]) {
        let Some((Step::Member(name), holder)) = location.split_last() else { return };
        if self.facts.shape.declares(location) != Declared::Allowed {
            return;
        }
        let grant = self.grant;
        let rule = self.facts.key_rule(location).unwrap_or_default();
        let speaking = deepest_keys(grant.arguments.iter().map(|(path, bounds)| (path, bounds)), holder);
        let allowed = if self.effects.is_pure_read() { !rule.sensitive } else { rule.free };
        if speaking.is_empty() && !allowed {
            self.key_violation(location, "be bounded by a path that ends in @keys");
        }
        let name = Json::String(name.clone());
        for bounds in speaking {
            if let Err(found) = bounds.judge(&name, rule.kind) {
                self.key_violation(location, &found.must);
            } else {
                self.bounded(location, &shown(location), bounds, &name, rule.kind, rule.sensitive);
            }
        }
    }

    fn key_violation(&mut self, location: &[Step], must: &str) {
        let at = shown(location);
        self.judged.findings.push(
            Finding::new(ReasonCode::ArgumentOutOfBounds, format!("the name of {at} must {must}"))
                .by(format!("{}/arguments/{at}", self.subject))
                .saying(format!("The member name {at} is outside what this task allows.")),
        );
    }
}

fn is_element(location: &[Step]) -> bool {
    matches!(location.last(), Some(Step::Index(_)))
}

/// Arguments that are required and not given.
fn missing(grant: &CompiledGrant, arguments: &Json, subject: &str) -> Vec<Finding> {
    grant
        .arguments
        .iter()
        .filter(|(path, bounds)| {
            bounds.bounds().required
                && path.select_keys(arguments).is_empty()
                && path.select(arguments).iter().all(|value| value.is_null())
        })
        .map(|(path, _)| {
            Finding::new(ReasonCode::ArgumentOutOfBounds, format!("{path} is required and not given"))
                .by(format!("{subject}/arguments/{path}"))
                .saying(format!("The argument {path} must be given."))
        })
        .collect()
}

/// A value for the operator's eyes.
fn shortened(value: &Json) -> String {
    match value {
        Json::String(text) => Json::String(cut(text)).canonical(),
        value => cut(&value.canonical()),
    }
}
