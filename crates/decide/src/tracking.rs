//! Trackers: counts and sums over a window, in buckets.
//!
//! A window is 24 buckets long. Its count is that of all buckets it touches, so a call may count up to one bucket longer than the window and never
//! shorter. The bucket after the present one is read too: another process's clock may stand there already. A pass on what a
//! tracker stood at is committed only while it stands no higher.

use std::time::Duration;

use warrantor_model::{
    Call, Decimal, EffectSet, Json, Timestamp, ToolRef,
    tracker::{Per, Tracked, TrackedOutcome, Tracker},
};

use crate::{
    parts::{Fault, Place, pointer},
    snapshot::{Snapshot, ToolFacts},
    task::{Charge, Hop, TaskState},
};

/// Buckets of a window.
const BUCKETS: i64 = 24;

/// What a call does to one tracker once it has ended so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracking {
    /// How it has to end.
    pub outcome: TrackedOutcome,
    /// What is counted then.
    pub charge: Charge,
}

/// What trackers say of a call and what the call does to them.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What policies read, by name.
    pub(crate) totals: Vec<(String, Decimal)>,
    /// What a pass charges, and on what condition.
    pub(crate) charges: Vec<Charge>,
    /// What its outcome charges.
    pub(crate) later: Vec<Tracking>,
    /// Why it cannot be told.
    pub(crate) faults: Vec<String>,
}

/// The counters of the buckets that a window touches at an instant, the present one and the next last.
fn buckets(tracker: &Tracker, chain: &[Hop], tool: &ToolRef, at: Timestamp) -> Option<Vec<String>> {
    let (root, last) = (&chain.first()?.mandate, &chain.last()?.mandate);
    let whose = match tracker.per {
        Per::Task => last.task.to_string(),
        Per::Mandate => last.id.to_string(),
        Per::Agent => last.terms.agent.to_string(),
        Per::Person => root.terms.person.to_string(),
        Per::Tool => tool.to_string(),
        Per::Organization => "all".to_owned(),
    };
    let seconds = tracker.window.as_secs().max(1);
    let length = Duration::from_secs(seconds).as_micros().div_ceil(BUCKETS.unsigned_abs().into());
    let present = at.as_micros().div_euclid(i64::try_from(length).ok()?.max(1));
    let first = present.saturating_sub(BUCKETS);
    let name = |bucket: i64| format!("tracker/{}/{seconds}s/{whose}/{bucket}", tracker.name);
    Some((first..=present.saturating_add(1)).map(name).collect())
}

/// The counters that must be read for trackers that policies could look at.
pub(crate) fn wanted(snapshot: &Snapshot, chain: &[Hop], call: &Call, at: Timestamp) -> Vec<String> {
    let read = snapshot
        .trackers()
        .iter()
        .filter(|tracker| snapshot.policies().reads_tracker(&call.tool, &tracker.name));
    read.filter_map(|tracker| buckets(tracker, chain, &call.tool, at)).flatten().collect()
}

/// Reads every tracker that policies could look at, and says what the call does to those that look at it.
pub(crate) fn read(snapshot: &Snapshot, task: &TaskState, call: &Call, effects: EffectSet) -> Reading {
    let mut reading = Reading::default();
    for tracker in snapshot.trackers() {
        let is_read = snapshot.policies().reads_tracker(&call.tool, &tracker.name);
        let counts = tracker.matches(&call.tool, effects);
        if !is_read && !counts {
            continue;
        }
        let Some(keys) = buckets(tracker, &task.chain, &call.tool, task.tracked_at) else { continue };
        let amount = match counts.then(|| amount(tracker, &call.arguments)) {
            None => Decimal::ZERO,
            Some(Ok(amount)) => amount,
            Some(Err(why)) => {
                reading.faults.push(why);
                continue;
            }
        };
        let [.., present, next] = keys.as_slice() else { continue };
        let mut guards = [None, None];
        if is_read {
            let mut total = Some(Decimal::ZERO);
            for key in &keys {
                total = total.zip(task.counters.get(key)).and_then(|(sum, more)| sum.checked_add(*more));
            }
            let Some(total) = total else {
                reading.faults.push(format!("the tracker {} was not read", tracker.name));
                continue;
            };
            reading.totals.push((tracker.name.clone(), total));
            guards = [present, next].map(|key| task.counters.get(key).copied());
        }
        let now = if tracker.outcome.is_none() { amount } else { Decimal::ZERO };
        for (key, guard, amount) in [(present, guards[0], now), (next, guards[1], Decimal::ZERO)] {
            if guard.is_some() || !amount.is_zero() {
                let at_most = guard.and_then(|stood_at| stood_at.checked_add(amount));
                reading.charges.push(Charge::Add { counter: key.clone(), amount, at_most });
            }
        }
        if let Some(outcome) = tracker.outcome.filter(|_| !amount.is_zero()) {
            let charge = Charge::Add { counter: present.clone(), amount, at_most: None };
            reading.later.push(Tracking { outcome, charge });
        }
    }
    reading
}

/// What a call adds to a tracker.
fn amount(tracker: &Tracker, arguments: &Json) -> Result<Decimal, String> {
    let Tracked::Sum(path) = &tracker.what else { return Ok(Decimal::ONE) };
    let mut total = Decimal::ZERO;
    for value in path.select(arguments).into_iter().filter(|value| !value.is_null()) {
        let number = match value {
            Json::String(text) => warrantor_model::decimal::exact(text),
            other => other.as_decimal(),
        };
        let sum = number.and_then(|number| total.checked_add(number.max(Decimal::ZERO)));
        total = sum.ok_or_else(|| {
            format!("{path} is not an exact number that the tracker {} could add up", tracker.name)
        })?;
    }
    Ok(total)
}

/// Checks trackers against the tools that there are.
pub(crate) fn check(
    trackers: &[Tracker],
    tools: &std::collections::BTreeMap<ToolRef, ToolFacts>,
    faults: &mut Vec<Fault>,
) {
    for tracker in trackers {
        let place = |field: &str| Place::Trackers { pointer: pointer(&[&tracker.name, field]) };
        for tool in tracker.tools.iter().flatten().filter(|tool| !tools.contains_key(*tool)) {
            faults.push(Fault::error(place("tools"), format!("{tool} is not a known tool")));
        }
        if let Tracked::Sum(path) = &tracker.what {
            let matching =
                tools.iter().filter(|(name, facts)| tracker.matches(name, facts.tool.possible_effects()));
            if !matching.clone().any(|(_, facts)| facts.shape.has(path)) {
                let message = format!("{path} is an argument of no tool that is counted");
                faults.push(Fault::error(place("sum"), message).cure("name tools that have it"));
            }
        }
    }
}
