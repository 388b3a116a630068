//! Approvals: what an Ask is bound to, who may answer it, and whether answers count for a call now.
//!
//! An answer is no permission that is stored. Each time it is used the call is decided anew, and with it whether whoever answered may still do so: a person
//! who has left, or is in the group no more, has answered nothing.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::RestrictedExpression;
use warrantor_model::{
    Approval, Approver, Asker, Binding, Call, Digest, Effect, EffectSet, Given, Json, PersonId, PersonStatus,
    Subject, Timestamp, path::walk,
};

use crate::{
    decision::{
        NEVER_OBSERVED,
        context::{effect_set, shared_context, text_set},
        resource,
    },
    places::pointer,
    policy::{self, APPROVE, Circumstances, Principal},
    snapshot::{Snapshot, ToolFacts},
    task::{Facts, TaskState},
};

/// Effects of which nobody approves what is done for themselves, unless a policy says that they may.
pub const NO_SELF_APPROVAL: [Effect; 4] = [Effect::Pay, Effect::Destroy, Effect::Credential, Effect::Share];

/// One answer to be judged: who was asked, who answers, and who has answered before.
#[derive(Debug, Clone, Copy)]
pub struct Answering<'a> {
    /// Who was asked.
    pub who: &'a Approver,
    /// Who answers.
    pub by: &'a PersonId,
    /// Who has answered before.
    pub before: &'a [Given],
}

/// Why somebody may not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MayNot {
    /// In words, for whoever wanted to answer.
    pub why: String,
    /// Policies that keep them from it; none where nothing lets them.
    pub policies: Vec<String>,
}

impl MayNot {
    fn because(why: impl Into<String>) -> Self {
        Self { why: why.into(), policies: Vec::new() }
    }
}

/// A call as it is judged whether somebody may approve it.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) tool: &'a ToolFacts,
    pub(crate) task: &'a TaskState,
    pub(crate) facts: &'a Facts,
    pub(crate) call: &'a Call,
    pub(crate) effects: EffectSet,
    pub(crate) now: Timestamp,
}

/// What answers come to for a call.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// What they lift.
    pub(crate) lifts: BTreeSet<Asker>,
    /// The answers that count.
    pub(crate) given: Vec<Given>,
    /// Whose standing that rests on.
    pub(crate) uses: BTreeSet<Subject>,
    /// Why some do not.
    pub(crate) void: Option<String>,
}

impl Counting {
    fn void(why: String) -> Self {
        Self { void: Some(why), ..Self::default() }
    }

    /// Whether every answer counts: only then does what a person put in.
    pub(crate) fn is_whole(&self) -> bool {
        self.void.is_none()
    }

    /// The answers, as far as they were given to this call.
    pub(crate) fn bound_to(self, approval: &Approval, now: Option<&Binding>) -> Self {
        let Some(now) = now else {
            return Self::void("the call acts on something that has no name".to_owned());
        };
        match approval.binding.differs_from(now) {
            Some(why) => Self::void(why),
            None => self,
        }
    }
}

/// The places of values that arguments have and others had not: what a person put in.
#[must_use]
pub fn changed_places(before: &Json, after: &Json) -> BTreeSet<String> {
    let mut known = BTreeMap::new();
    walk(before, &mut Vec::new(), &mut |location, value| {
        drop(known.insert(pointer(location), value.clone()))
    });
    let mut changed = BTreeSet::new();
    walk(after, &mut Vec::new(), &mut |location, value| {
        let scalar = !matches!(value, Json::Array(_) | Json::Object(_));
        let at = pointer(location);
        if scalar && known.get(&at).is_none_or(|known| known.canonical() != value.canonical()) {
            changed.insert(at);
        }
    });
    changed
}

/// What a question about a call is bound to. None of a call that acts on something without a name.
pub(crate) fn binding(judged: &Judged<'_>, sources: &BTreeMap<String, BTreeSet<String>>) -> Option<Binding> {
    let Judged { tool, task, call, effects, .. } = judged;
    let resource = match resource(tool, call).ok()? {
        Some((entity_type, id)) => format!("{entity_type}::{id:?}"),
        None => format!("Server::{:?}", call.tool.server.as_str()),
    };
    Some(Binding {
        chain: task.chain.iter().map(|hop| (hop.mandate.id.clone(), hop.terms_digest)).collect(),
        task: task.chain.last()?.mandate.task.clone(),
        tool: call.tool.to_string(),
        definition: tool.tool.definition,
        arguments: call.arguments.digest(),
        resource: Digest::of(resource.as_bytes()),
        sources: sources.clone(),
        labels: task.labels.clone(),
        effects: effects.iter().collect(),
    })
}

/// Which of the answers that were given are by persons who may give them now. What they were given to is another question: [`Counting::bound_to`].
pub(crate) fn counting(judged: &Judged<'_>, approval: &Approval) -> Counting {
    if judged.now >= approval.until {
        return Counting::void(format!("they were given until {}", approval.until));
    }
    let mut counting = Counting::default();
    for (nth, given) in approval.given.iter().enumerate() {
        let before = approval.given.get(..nth).unwrap_or_default();
        match may(judged, &Answering { who: &given.who, by: &given.by, before }) {
            Ok(_) => {
                counting.given.push(given.clone());
                counting.uses.extend(Subject::of_person(&given.by));
            }
            Err(MayNot { why, .. }) => counting.void = Some(why),
        }
    }
    let answered: BTreeSet<&Approver> = counting.given.iter().map(|given| &given.who).collect();
    counting.lifts = approval.lifts.iter().filter(|asker| answered.contains(&asker.who)).cloned().collect();
    counting
}

/// Whether somebody may answer for a call, as far as the call can be known: the policies that let them.
///
/// # Errors
/// [`MayNot`].
pub fn may_approve(
    snapshot: &Snapshot,
    task: &TaskState,
    facts: &Facts,
    call: &Call,
    now: Timestamp,
    answering: &Answering<'_>,
) -> Result<Vec<String>, MayNot> {
    let tool = snapshot.facts(&call.tool).ok_or_else(|| MayNot::because("the tool is not known any more"))?;
    let effects = snapshot.effects(&tool.tool, &call.arguments);
    may(&Judged { snapshot, tool, task, facts, call, effects, now }, answering)
}

fn may(judged: &Judged<'_>, answering: &Answering<'_>) -> Result<Vec<String>, MayNot> {
    let Answering { who, by, .. } = answering;
    let person = judged.snapshot.person(by).filter(|person| person.status == PersonStatus::Active);
    let stopped = Subject::of_person(by).iter().any(|subject| judged.facts.standing.is_stopped(subject));
    let Some(person) = person.filter(|_| !stopped) else {
        return Err(MayNot::because(format!("{by} is not active")));
    };
    match who {
        Approver::Person(asked) if asked == *by => {}
        Approver::Person(asked) => return Err(MayNot::because(format!("{asked} is asked, and not {by}"))),
        Approver::Group(group) if person.groups.contains(group) => {}
        Approver::Group(group) => return Err(MayNot::because(format!("{by} is not in the group {group}"))),
    }
    let policies = judged.snapshot.policies();
    let evaluation = evaluate(judged, answering).map_err(MayNot::because)?;
    // A forbid that asks says nothing here: what it forbids is the call, and asking whether somebody may be asked would never end.
    let errors = evaluation.errors.iter().map(|failure| &failure.policy);
    // What observe mode does not let through it does not let anybody approve.
    let stands = NEVER_OBSERVED.iter().any(|effect| judged.effects.contains(*effect));
    let observed = evaluation.observed.iter().filter(|_| stands);
    let against: Vec<String> = evaluation.forbids.iter().chain(errors).chain(observed).cloned().collect();
    if !against.is_empty() {
        return Err(MayNot { why: format!("policy does not let {by} approve this"), policies: against });
    }
    if evaluation.permits.is_empty() {
        return Err(MayNot::because(format!("no policy lets {by} approve this")));
    }
    let acted_for = judged.task.chain.iter().any(|hop| hop.mandate.terms.person == **by);
    let grave = NO_SELF_APPROVAL.iter().any(|effect| judged.effects.contains(*effect));
    let allowed = evaluation.permits.iter().any(|policy| policies.allows_self_approval(policy));
    // A mandate that asks its own person means that person.
    if grave && acted_for && !allowed && matches!(who, Approver::Group(_)) {
        return Err(MayNot::because(format!("it is done for {by}, and somebody else has to approve it")));
    }
    Ok(evaluation.permits)
}

fn evaluate(judged: &Judged<'_>, answering: &Answering<'_>) -> Result<policy::Evaluation, String> {
    let Judged { snapshot, tool, task, call, effects, now, .. } = judged;
    let (Some(root), Some(last)) = (task.chain.first(), task.chain.last()) else {
        return Err("the call is made under no mandate".to_owned());
    };
    let people = |of: &PersonId| policy::person_value(of).ok_or("a person makes no Cedar entity");
    let terms = &last.mandate.terms;
    let depth = task.chain.len().saturating_sub(1);
    let mut context = shared_context(task, root, last, depth, *now, call);
    let agent = policy::agent_value(&terms.agent).ok_or("the agent makes no Cedar entity")?;
    let asked = [answering.who.to_string()];
    let before: BTreeSet<&PersonId> = answering.before.iter().map(|given| &given.by).collect();
    let answered = before.iter().map(|person| people(person)).collect::<Result<Vec<_>, _>>()?;
    for (name, value) in [
        ("tool", RestrictedExpression::new_string(call.tool.to_string())),
        ("effects", effect_set(*effects)),
        ("asked", text_set(&asked)),
        ("answered", RestrictedExpression::new_set(answered)),
        ("agent", agent),
        ("person", people(&root.mandate.terms.person)?),
        ("sponsor", people(&terms.sponsor)?),
    ] {
        context.push((name.to_owned(), value));
    }
    let mut involved: BTreeSet<&PersonId> = before;
    involved.insert(answering.by);
    involved
        .extend(task.chain.iter().flat_map(|hop| [&hop.mandate.terms.person, &hop.mandate.terms.sponsor]));
    let circumstances = Circumstances {
        tool: &call.tool,
        effects: *effects,
        resource: resource(tool, call)?,
        agents: task.chain.iter().map(|hop| &hop.mandate.terms.agent).collect(),
        people: involved,
    };
    let policies = snapshot.policies();
    let prepared = policies.prepare_action(snapshot, APPROVE, &circumstances, context)?;
    policies.evaluate(&prepared, Principal::Person(answering.by))
}
