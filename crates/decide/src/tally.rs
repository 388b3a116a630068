//! What a store holds of limits, trackers and marks, kept in memory: for replays and tests, where nothing else commits.

use std::collections::{BTreeMap, BTreeSet};

use warrantor_model::Decimal;

use crate::task::{Charge, Wanted};

/// Counters and members as the charges of one caller after the other leave them. It checks no bound: `decide` has.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counters: BTreeMap<String, Decimal>,
    /// How many hold each member: one that gives it back makes no room while another holds it.
    holders: BTreeMap<String, u64>,
}

impl Tally {
    /// What is wanted of it: every counter asked for, and the members that are there.
    #[must_use]
    pub fn read(&self, wanted: &Wanted) -> (BTreeMap<String, Decimal>, BTreeSet<String>) {
        let counter = |name: &String| self.counters.get(name).copied().unwrap_or_default();
        let counters = wanted.counters.iter().map(|name| (name.clone(), counter(name))).collect();
        let members = wanted.members.iter().filter(|member| self.has(member)).cloned().collect();
        (counters, members)
    }

    /// Whether somebody holds a member.
    #[must_use]
    pub fn has(&self, member: &str) -> bool {
        self.holders.get(member).is_some_and(|holders| *holders > 0)
    }

    /// Sets a counter.
    pub fn set(&mut self, counter: impl Into<String>, value: Decimal) {
        self.counters.insert(counter.into(), value);
    }

    /// Adds a member.
    pub fn insert(&mut self, member: impl Into<String>) {
        let holders = self.holders.entry(member.into()).or_default();
        *holders = holders.saturating_add(1);
    }

    /// Charges what a pass charges.
    pub fn charge(&mut self, charges: &[Charge]) {
        for charge in charges {
            match charge {
                Charge::Add { counter, amount, .. } => self.add(counter, *amount),
                Charge::Distinct { member, counter, .. } => {
                    if !self.has(member) {
                        self.add(counter, Decimal::ONE);
                    }
                    self.insert(member);
                }
                Charge::Unique { member, .. } => self.insert(member),
            }
        }
    }

    /// Gives back what a pass charged.
    pub fn give_back(&mut self, charges: &[Charge]) {
        for charge in charges {
            match charge {
                Charge::Add { counter, amount, .. } => self.add(counter, -*amount),
                Charge::Distinct { member, counter, .. } => {
                    self.remove(member);
                    if !self.has(member) {
                        self.add(counter, -Decimal::ONE);
                    }
                }
                Charge::Unique { member, .. } => self.remove(member),
            }
        }
    }

    fn add(&mut self, counter: &str, amount: Decimal) {
        if amount.is_zero() {
            return;
        }
        let stands = self.counters.entry(counter.to_owned()).or_default();
        *stands = stands.saturating_add(amount).max(Decimal::ZERO);
    }

    fn remove(&mut self, member: &str) {
        if let Some(holders) = self.holders.get_mut(member) {
            *holders = holders.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_makes_room_only_when_nobody_else_holds_it() {
        let distinct = |value: &str| Charge::Distinct {
            member: format!("set/{value}"),
            counter: "set".into(),
            at_most: None,
        };
        let mut tally = Tally::default();
        let wanted = Wanted { counters: ["set".into()].into(), members: ["set/a".into()].into() };
        tally.charge(&[distinct("a"), distinct("b")]);
        tally.charge(&[distinct("a")]);
        assert_eq!(tally.read(&wanted).0["set"], Decimal::TWO);
        tally.give_back(&[distinct("a")]);
        assert_eq!((tally.read(&wanted).0["set"], tally.read(&wanted).1.len()), (Decimal::TWO, 1));
        tally.give_back(&[distinct("a")]);
        assert_eq!((tally.read(&wanted).0["set"], tally.read(&wanted).1.len()), (Decimal::ONE, 0));
    }
}
