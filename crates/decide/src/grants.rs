//! Layer 4: every mandate of the chain grants the call, within every agent's ceiling.
//!
//! Grants are a union. Each that matches is judged whole, never mixed with another; passing beats asking beats denying, then the
//! order of the file decides, and the winner is charged.

use std::collections::BTreeSet;

use warrantor_model::{
    Asked, Call, EffectSet, Finding, Json, Path, ReasonCode,
    path::{self, Coverage, Step, location_text},
};

use crate::{
    bounds::Compiled,
    shape::Declared,
    snapshot::{Snapshot, ToolFacts},
    task::{Charge, Hop, Scope, TaskState, after_marker},
    terms::CompiledGrant,
};

/// How one mandate judges a call.
pub(crate) struct HopVerdict {
    /// The winning grant, by its place; none when no grant matches.
    pub(crate) grant: Option<usize>,
    /// What it costs if it passes.
    pub(crate) charges: Vec<Charge>,
    /// What stands in the way for good.
    pub(crate) findings: Vec<Finding>,
    /// Who must be asked.
    pub(crate) asks: Vec<(String, Finding)>,
}

pub(crate) fn judge(
    snapshot: &Snapshot,
    facts: &ToolFacts,
    task: &TaskState,
    at: usize,
    hop: &Hop,
    call: &Call,
    effects: EffectSet,
) -> HopVerdict {
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
    let mut verdict = best(facts, task, hop, call, effects, &matching);
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
    match Scope::of_mandate(&hop.mandate).charges(&call.arguments) {
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
    facts: &ToolFacts,
    task: &TaskState,
    hop: &Hop,
    call: &Call,
    effects: EffectSet,
    matching: &[(usize, &CompiledGrant)],
) -> HopVerdict {
    let judged =
        matching.iter().map(|(nth, grant)| judge_grant(facts, task, hop, call, effects, *nth, grant));
    judged.min_by_key(|verdict| (verdict.findings.len(), verdict.asks.len().min(1))).unwrap_or(HopVerdict {
        grant: None,
        charges: Vec::new(),
        findings: Vec::new(),
        asks: Vec::new(),
    })
}

fn judge_grant(
    facts: &ToolFacts,
    task: &TaskState,
    hop: &Hop,
    call: &Call,
    effects: EffectSet,
    nth: usize,
    grant: &CompiledGrant,
) -> HopVerdict {
    let subject = format!("grants/{nth}");
    let mut findings = arguments(facts, grant, &call.arguments, effects, &subject);
    for (condition, earlier) in grant.grant.after.iter().enumerate() {
        if !task.members.contains(&after_marker(&hop.mandate, nth, condition)) {
            let detail = format!("{} has not succeeded in this task as the grant demands", earlier.tool);
            let sentence = format!("{} has to succeed in this task first.", earlier.tool);
            findings.push(Finding::new(ReasonCode::NotYet, detail).by(subject.clone()).saying(sentence));
        }
    }
    let charges = match Scope::of_grant(&hop.mandate, nth, &grant.grant.limits).charges(&call.arguments) {
        Ok(charges) => {
            findings.extend(exhausted(task, &charges, &subject));
            charges
        }
        Err(why) => {
            findings.push(out_of_bounds(why, &subject));
            Vec::new()
        }
    };
    let asks = grant.grant.ask.iter().map(|asked| {
        let who = match asked {
            Asked::Person => format!("person:{}", hop.mandate.terms.person),
            Asked::Group(group) => format!("group:{group}"),
        };
        let finding =
            Finding::new(ReasonCode::ApprovalRequired, format!("the grant asks {who}")).by(subject.clone());
        (who, finding)
    });
    HopVerdict { grant: Some(nth), charges, findings, asks: asks.collect() }
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
            Charge::Distinct { member, counter, at_most } => match (task.counters.get(counter), at_most) {
                (None, _) => findings.push(unread(counter)),
                (Some(stood_at), Some(most)) if !task.members.contains(member) && stood_at >= most => {
                    findings
                        .push(reached(format!("{counter} stands at {stood_at} of {most} different values")));
                }
                _ => {}
            },
            Charge::Unique { member, .. } => {
                if task.members.contains(member) {
                    findings.push(reached(format!("{member} was used before")));
                }
            }
        }
    }
    findings
}

/// Judges every argument by the path that speaks of it.
fn arguments(
    facts: &ToolFacts,
    grant: &CompiledGrant,
    arguments: &Json,
    effects: EffectSet,
    subject: &str,
) -> Vec<Finding> {
    let mut findings = missing(grant, arguments, subject);
    let violation = |at: &str, must: &str, value: &Json| {
        let detail = format!("{at} must {must}; it is {}", shortened(value));
        let sentence = format!("The argument {at} must {must}.");
        Finding::new(ReasonCode::ArgumentOutOfBounds, detail)
            .by(format!("{subject}/arguments/{at}"))
            .saying(sentence)
    };
    let mut settled: BTreeSet<Vec<Step>> = BTreeSet::new();
    path::walk(arguments, &mut Vec::new(), &mut |location, value| {
        if location.is_empty() {
            return;
        }
        let at = location_text(location);
        let container = matches!(value, Json::Array(_) | Json::Object(_)) && !value.is_empty_value();
        if container {
            for (_, bounds) in
                named(grant, location).filter(|(path, _)| path.covers(location) == Some(Coverage::Itself))
            {
                if let Err(found) = bounds.judge_container(value) {
                    findings.push(violation(&at, &found.must, value));
                }
                if bounds.settles_container() {
                    settled.insert(location.to_vec());
                }
            }
        } else if !settled.iter().any(|whole| location.starts_with(whole)) {
            match deepest(grant, location) {
                Some((_, bounds)) => {
                    if let Err(found) = bounds.judge(value, facts.kind(location)) {
                        findings.push(violation(&at, &found.must, value));
                    }
                }
                None => findings.extend(unnamed(facts, location, value, effects, subject)),
            }
        }
        findings.extend(undeclared_key(facts, grant, location, effects, subject));
    });
    findings
}

fn named<'a>(grant: &'a CompiledGrant, location: &'a [Step]) -> impl Iterator<Item = &'a (Path, Compiled)> {
    grant.arguments.iter().filter(|(path, _)| path.covers(location).is_some())
}

fn deepest<'a>(grant: &'a CompiledGrant, location: &'a [Step]) -> Option<&'a (Path, Compiled)> {
    named(grant, location).max_by(|(a, _), (b, _)| a.precedence(b))
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

/// An argument that the grant does not name: absent if the call has any effect but reading, unless the manifest marks it free.
fn unnamed(
    facts: &ToolFacts,
    location: &[Step],
    value: &Json,
    effects: EffectSet,
    subject: &str,
) -> Option<Finding> {
    let rule = facts.rule(location).unwrap_or_default();
    let absent = value.is_null() || (value.is_empty_value() && !rule.empty_acts);
    let allowed = if effects.is_pure_read() { !rule.sensitive } else { rule.free };
    if absent || allowed {
        return None;
    }
    let at = location_text(location);
    let detail = format!("{at} is not named by the grant and so must be absent; it is {}", shortened(value));
    let sentence = format!("The argument {at} must be left out.");
    Some(Finding::new(ReasonCode::ArgumentOutOfBounds, detail).by(subject.to_owned()).saying(sentence))
}

/// A member name that the schema does not name carries data of its own: it is judged like a value that nothing names, unless the grant bounds
/// names there with `@keys`.
fn undeclared_key(
    facts: &ToolFacts,
    grant: &CompiledGrant,
    location: &[Step],
    effects: EffectSet,
    subject: &str,
) -> Option<Finding> {
    let (Step::Member(name), holder) = location.split_last()? else { return None };
    if facts.shape.declares(location) != Declared::Allowed {
        return None;
    }
    let at = location_text(location);
    let keys = grant.arguments.iter().find(|(path, _)| {
        path.segments().split_last().is_some_and(|(last, above)| {
            *last == warrantor_model::path::Segment::Keys
                && Path::of(above.to_vec()).covers(holder) == Some(Coverage::Itself)
        })
    });
    let finding = |must: &str| {
        Finding::new(ReasonCode::ArgumentOutOfBounds, format!("the name of {at} must {must}"))
            .by(format!("{subject}/arguments/{at}"))
            .saying(format!("The member name {at} is outside what this task allows."))
    };
    match keys {
        Some((_, bounds)) => {
            bounds.judge(&Json::String(name.clone()), None).err().map(|found| finding(&found.must))
        }
        None if effects.is_pure_read() => None,
        None if facts.rule(location).is_some_and(|rule| rule.free) => None,
        None => Some(finding("be bounded by a path that ends in @keys")),
    }
}

/// A value for the operator's eyes, cut where it would fill a screen.
fn shortened(value: &Json) -> String {
    let text = value.canonical();
    if text.chars().count() <= 120 {
        text
    } else {
        format!("{}…", text.chars().take(120).collect::<String>())
    }
}
