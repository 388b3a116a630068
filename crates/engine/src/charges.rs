//! Charges as changes of the store, there and back.

use warrantor_decide::{Charge, Tracking};
use warrantor_model::{Decimal, record::Outcome, tracker::TrackedOutcome};
use warrantor_store::{Add, Commit, Counted, Insert, Key, KeyError, Remove};

/// Adds the charges to a commit, each with its condition.
pub(crate) fn charge(charges: &[Charge], commit: &mut Commit) -> Result<(), KeyError> {
    for charge in charges {
        match charge {
            Charge::Add { counter, amount, at_most } => commit.adds.push(Add {
                counter: Key::new(counter.clone())?,
                amount: *amount,
                at_most: *at_most,
            }),
            Charge::Distinct { member, counter, at_most } => commit.inserts.push(Insert {
                member: Key::new(member.clone())?,
                must_be_new: false,
                counted: Some(Counted {
                    counter: Key::new(counter.clone())?,
                    at_most: at_most.unwrap_or(Decimal::MAX),
                }),
            }),
            Charge::Unique { member, observed } => commit.inserts.push(Insert {
                member: Key::new(member.clone())?,
                must_be_new: !observed,
                counted: None,
            }),
        }
    }
    Ok(())
}

/// Adds giving the charges back to a commit. A name that was a key when it was charged is one still.
pub(crate) fn give_back(charges: &[Charge], commit: &mut Commit) {
    for charge in charges {
        match charge {
            Charge::Add { counter, amount, .. } => {
                if let Ok(counter) = Key::new(counter.clone()) {
                    commit.adds.push(Add { counter, amount: -*amount, at_most: None });
                }
            }
            Charge::Distinct { member, counter, .. } => {
                if let Ok(member) = Key::new(member.clone()) {
                    commit.removes.push(Remove { member, counted: Key::new(counter.clone()).ok() });
                }
            }
            Charge::Unique { member, .. } => {
                if let Ok(member) = Key::new(member.clone()) {
                    commit.removes.push(Remove { member, counted: None });
                }
            }
        }
    }
}

/// Adds what trackers count of calls that ended so.
pub(crate) fn count(tracking: &[Tracking], outcome: Outcome, commit: &mut Commit) {
    let ended = match outcome {
        Outcome::Succeeded => TrackedOutcome::Success,
        Outcome::Failed | Outcome::Refused => TrackedOutcome::Error,
        // Nobody knows: it counts as whatever is counted.
        Outcome::Unknown | Outcome::Cancelled | Outcome::Withheld => {
            return tracking.iter().for_each(|tracking| charge_outcome(tracking, commit));
        }
        Outcome::NotSent | Outcome::Shown => return,
    };
    tracking
        .iter()
        .filter(|tracking| tracking.outcome == ended)
        .for_each(|tracking| charge_outcome(tracking, commit));
}

fn charge_outcome(tracking: &Tracking, commit: &mut Commit) {
    // A name that was a key when it was read is one still.
    let _ = charge(std::slice::from_ref(&tracking.charge), commit);
}

/// Most charges that a record names; a record has 64 KiB, and one call may charge a thousand.
const MAX_NAMES: usize = 64;

/// What a record says was given back.
pub(crate) fn names(charges: &[Charge]) -> Vec<String> {
    let rest = charges.len().saturating_sub(MAX_NAMES);
    let more = (rest > 0).then(|| format!("and {rest} more"));
    charges.iter().take(MAX_NAMES).map(name).chain(more).collect()
}

fn name(charge: &Charge) -> String {
    match charge {
        Charge::Add { counter, amount, .. } => format!("{counter} {amount}"),
        Charge::Distinct { member, .. } | Charge::Unique { member, .. } => without_value(member).to_owned(),
    }
}

/// The set a member belongs to. A member's name ends in a digest of its value; short values could be guessed from it, so records, which are
/// never erased, do not carry it.
pub(crate) fn without_value(member: &str) -> &str {
    member.rsplit_once('/').map_or(member, |(set, _)| set)
}
