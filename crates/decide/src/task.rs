//! What a decision reads of the task: its chain of mandates, what was counted, who stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use warrantor_model::{
    Approval, Call, Decimal, Digest, EffectSet, Evidence, Json, Kind, Limits, Mandate, Path, ServerName,
    Standing, Subject, Timestamp, decimal,
    path::{self, Coverage, Segment, Step},
};

use crate::{
    kind::{self, canonical},
    snapshot::{Snapshot, ToolFacts},
    terms::CompiledTerms,
    trace::{Handed, History, memory},
    tracking,
};

/// Most values of one path that one call may add to a set.
const MAX_COUNTED: usize = 1000;

/// One mandate of a chain with its compiled terms.
#[derive(Debug, Clone)]
pub struct Hop {
    /// The mandate that was handed over.
    pub mandate: Mandate,
    /// Its terms, compiled on the snapshot the decision is made on.
    pub terms: Arc<CompiledTerms>,
    /// The digest of the terms as handed over.
    pub terms_digest: Digest,
}

/// The state of a task as of the call's arrival.
#[derive(Debug, Clone)]
pub struct TaskState {
    /// Every hop, the root first. Empty when the mandate named is not known.
    pub chain: Vec<Hop>,
    /// Calls of the task that passed.
    pub calls: u64,
    /// Effects the task's passed calls had.
    pub effects: EffectSet,
    /// What every counter stands at that [`Snapshot::wanted`] names.
    pub counters: BTreeMap<String, Decimal>,
    /// Those of the wanted members that are there.
    pub members: BTreeSet<String>,
    /// What the task has seen and done.
    pub history: Arc<History>,
    /// Labels of what the task has touched.
    pub labels: BTreeSet<String>,
    /// The instant for which the counters of trackers were read.
    pub tracked_at: Timestamp,
}

impl TaskState {
    /// A task that has done nothing yet, as of an instant.
    #[must_use]
    pub fn begun(chain: Vec<Hop>, at: Timestamp) -> Self {
        Self {
            chain,
            calls: 0,
            effects: EffectSet::EMPTY,
            counters: BTreeMap::new(),
            members: BTreeSet::new(),
            history: Arc::default(),
            labels: BTreeSet::new(),
            tracked_at: at,
        }
    }
}

/// What was fetched from outside the snapshot.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What is stopped.
    pub standing: Standing,
    /// The time of the last record; a clock before it is not to be trusted.
    pub last_record_at: Timestamp,
    /// What persons have answered to a question about this very call. Whether it counts is decided.
    pub approval: Option<Arc<Approval>>,
}

/// What must be read for a call before it can be decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Counters.
    pub counters: BTreeSet<String>,
    /// Members of sets.
    pub members: BTreeSet<String>,
}

/// What a passed call adds to the counts, each conditionally.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Charge {
    /// Adds to a counter that may not go beyond a bound.
    Add {
        /// The counter.
        counter: String,
        /// How much.
        amount: Decimal,
        /// The bound; none in observe mode, which counts and does not limit.
        at_most: Option<Decimal>,
    },
    /// Adds a value to a set whose size may not go beyond a bound.
    Distinct {
        /// The member.
        member: String,
        /// Counts the members.
        counter: String,
        /// The bound.
        at_most: Option<Decimal>,
    },
    /// Adds a value to a set that may not have it yet.
    Unique {
        /// The member.
        member: String,
        /// Whether a second time is counted and let through, in observe mode.
        observed: bool,
    },
}

/// The limits that one line of one mandate sets.
pub(crate) struct Scope<'a> {
    /// `limit/MANDATE` or `limit/MANDATE/GRANT`.
    prefix: String,
    limits: &'a Limits,
}

impl<'a> Scope<'a> {
    pub(crate) fn of_mandate(mandate: &'a Mandate) -> Self {
        Self { prefix: format!("limit/{}", mandate.id), limits: &mandate.terms.limits }
    }

    pub(crate) fn of_grant(mandate: &'a Mandate, grant: usize, limits: &'a Limits) -> Self {
        Self { prefix: format!("limit/{}/{grant}", mandate.id), limits }
    }

    /// The charges a call makes here.
    ///
    /// # Errors
    /// A sentence when a value cannot be counted exactly.
    pub(crate) fn charges(&self, facts: &ToolFacts, arguments: &Json) -> Result<Vec<Charge>, String> {
        let mut charges = Vec::new();
        if let Some(most) = self.limits.calls {
            charges.push(Charge::Add {
                counter: format!("{}/calls", self.prefix),
                amount: Decimal::ONE,
                at_most: Some(Decimal::from(most)),
            });
        }
        for (path, most) in &self.limits.sum {
            let mut total = Decimal::ZERO;
            for value in path.select(arguments).into_iter().filter(|value| !value.is_null()) {
                let number =
                    value.as_decimal().ok_or_else(|| format!("{path} is not an exact number to add up"))?;
                if number.is_sign_negative() && !number.is_zero() {
                    return Err(format!("{path} is negative and so cannot be added up against a limit"));
                }
                total =
                    total.checked_add(number).ok_or_else(|| format!("{path} adds up to too many digits"))?;
            }
            if !total.is_zero() {
                charges.push(Charge::Add {
                    counter: format!("{}/sum/{path}", self.prefix),
                    amount: total,
                    at_most: Some(*most),
                });
            }
        }
        for (path, most) in &self.limits.distinct {
            let different: BTreeSet<String> = values(path, facts, arguments, false)?.into_iter().collect();
            charges.extend(different.into_iter().map(|value| Charge::Distinct {
                member: format!("{}/distinct/{path}/{value}", self.prefix),
                counter: format!("{}/distinct/{path}", self.prefix),
                at_most: Some(Decimal::from(*most)),
            }));
        }
        for path in &self.limits.unique {
            let used = values(path, facts, arguments, true)?;
            if used.iter().collect::<BTreeSet<_>>().len() < used.len() {
                return Err(format!("{path} has a value twice in one call, and each may be used once"));
            }
            charges.extend(used.into_iter().map(|value| Charge::Unique {
                member: format!("{}/unique/{path}/{value}", self.prefix),
                observed: false,
            }));
        }
        Ok(charges)
    }
}

/// The values at a path in the form in which they are compared, by digest: keys stay short and hold no personal value. A URL with and
/// without its scheme is one value where `any_scheme` is set, as it is for bounds.
fn values(path: &Path, facts: &ToolFacts, arguments: &Json, any_scheme: bool) -> Result<Vec<String>, String> {
    let (above, names) = match path.segments().split_last() {
        Some((Segment::Keys, above)) => (Path::of(above.to_vec()), true),
        _ => (path.clone(), false),
    };
    let mut found: Vec<Option<Json>> = Vec::new();
    path::walk(arguments, &mut Vec::new(), &mut |location, value| {
        if above.covers(location) != Some(Coverage::Itself) || found.len() > MAX_COUNTED {
            return;
        }
        match value {
            Json::Object(members) if names => found.extend(members.iter().map(|(name, _)| {
                let location = [location, &[Step::Member(name.clone())]].concat();
                let kind = facts.key_rule(&location).and_then(|rule| rule.kind);
                compared(&Json::String(name.clone()), kind, any_scheme)
            })),
            Json::Null => {}
            _ if names => {}
            // Each element counts by itself: the same ones in another order are no new value.
            Json::Array(items) => {
                let items = items.iter().filter(|item| !item.is_null());
                found.extend(items.map(|item| compared(item, facts.kind(location), any_scheme)));
            }
            value => found.push(compared(value, facts.kind(location), any_scheme)),
        }
    });
    if found.len() > MAX_COUNTED {
        return Err(format!("{path} has more than {MAX_COUNTED} values to count"));
    }
    let inexact = || format!("{path} has a number with too many digits to compare");
    found.into_iter().map(|value| value.map(|value| value.digest().hex()).ok_or_else(inexact)).collect()
}

/// A value in the form in which it is compared; `None` for a number that has none.
fn compared(value: &Json, kind: Option<Kind>, any_scheme: bool) -> Option<Json> {
    let number = |number: Decimal| Json::Number(number.normalize().to_string().into());
    Some(match value {
        // Where a schema takes both, an id is the same as a number and as a text.
        Json::Number(_) if kind == Some(Kind::Id) => {
            Json::String(value.as_decimal()?.normalize().to_string())
        }
        Json::Number(_) => number(value.as_decimal()?),
        Json::String(text) => {
            // What has no canonical form is refused by layer 3 where the manifest names a kind; as written it is some value.
            let form = kind.and_then(|kind| canonical(kind, text).ok()).unwrap_or_else(|| text.clone());
            match kind {
                Some(Kind::Number) => decimal::exact(&form).map_or(Json::String(form), number),
                Some(Kind::Url) if any_scheme => Json::String(kind::page(&form)),
                _ => Json::String(form),
            }
        }
        Json::Array(items) => {
            Json::Array(items.iter().map(|item| compared(item, kind, any_scheme)).collect::<Option<_>>()?)
        }
        Json::Object(members) => Json::Object(
            members
                .iter()
                .map(|(name, member)| Some((name.clone(), compared(member, kind, any_scheme)?)))
                .collect::<Option<_>>()?,
        ),
        Json::Null | Json::Bool(_) => value.clone(),
    })
}

/// The marker that a call satisfied the nth condition of a grant.
pub(crate) fn after_marker(mandate: &Mandate, grant: usize, nth: usize) -> String {
    format!("after/{}/{grant}/{nth}", mandate.id)
}

impl Snapshot {
    /// Everyone and everything whose standing a call to a server under this chain, by whoever shows this evidence, can rest on.
    #[must_use]
    pub fn subjects(&self, chain: &[Hop], server: &ServerName, evidence: &Evidence) -> BTreeSet<Subject> {
        let mut subjects = BTreeSet::from([Subject::Deployment, Subject::Server(server.clone())]);
        subjects.extend(evidence.tokens().iter().cloned().map(Subject::Token));
        for hop in chain {
            let terms = &hop.mandate.terms;
            subjects.insert(Subject::Mandate(hop.mandate.id.clone()));
            subjects.insert(Subject::Template(terms.template.clone()));
            subjects.insert(Subject::Agent(terms.agent.clone()));
            let mut people = vec![&terms.person, &terms.sponsor];
            if let Some(agent) = self.agent(&terms.agent) {
                subjects.extend(agent.blueprint.clone().map(Subject::Agent));
                people.extend(self.accountable(&agent.owner));
                people.extend(agent.sponsors.iter().flat_map(|sponsor| self.accountable(sponsor)));
            }
            subjects.extend(people.into_iter().flat_map(Subject::of_person));
        }
        subjects
    }

    /// The values of a call that are compared with what is remembered of its person, and remembered of it.
    pub(crate) fn handed(&self, chain: &[Hop], facts: &ToolFacts, call: &Call) -> Handed {
        let effects = self.effects(&facts.tool, &call.arguments);
        let grants = chain.iter().flat_map(|hop| hop.terms.grants());
        let matching: Vec<_> = grants.filter(|grant| grant.matches(&call.tool, effects)).collect();
        Handed::of(facts, &matching, &call.arguments)
    }

    /// What must be read before a call can be decided: every counter and member that a matching grant or a policy could look at, the trackers as of
    /// `at`.
    #[must_use]
    pub fn wanted(&self, chain: &[Hop], call: &Call, at: Timestamp) -> Wanted {
        let mut wanted = Wanted::default();
        let Some(facts) = self.facts(&call.tool) else { return wanted };
        wanted.counters.extend(tracking::wanted(self, chain, call, at));
        let effects = self.effects(&facts.tool, &call.arguments);
        if let Some(person) = chain.first().and_then(|root| self.person(&root.mandate.terms.person)) {
            let handed = self.handed(chain, facts, call);
            wanted.members.extend(memory::wanted(person, &handed));
        }
        for hop in chain {
            let mut scopes = vec![Scope::of_mandate(&hop.mandate)];
            for (at, grant) in
                hop.terms.grants().iter().enumerate().filter(|(_, g)| g.matches(&call.tool, effects))
            {
                scopes.push(Scope::of_grant(&hop.mandate, at, &grant.grant.limits));
                let markers = (0..grant.grant.after.len()).map(|nth| after_marker(&hop.mandate, at, nth));
                wanted.members.extend(markers);
            }
            for scope in scopes {
                for charge in scope.charges(facts, &call.arguments).unwrap_or_default() {
                    match charge {
                        Charge::Add { counter, .. } => drop(wanted.counters.insert(counter)),
                        Charge::Distinct { member, counter, .. } => {
                            wanted.counters.insert(counter);
                            wanted.members.insert(member);
                        }
                        Charge::Unique { member, .. } => drop(wanted.members.insert(member)),
                    }
                }
            }
        }
        wanted
    }
}
