//! A batch: commits judged one after the other against what the store holds and what those before them in the batch changed.
//!
//! Every driver judges by this code, so that a limit or a version means the same everywhere: a driver loads what the batch touches, lets it judge, and
//! writes the changes in one transaction. A commit that fails leaves no trace in the batch.
//!
//! It does not know where things are stored. What the driver did not load counts as absent, so a driver loads exactly what [`Touched`] says.

use std::collections::{BTreeMap, BTreeSet};

use warrantor_ledger::Hash;
use warrantor_model::Decimal;

use crate::{Add, Body, CommitError, Committed, Expect, Head, Insert, Key, Prepared, Remove, commit::LastAt};

/// What a driver has to load to judge commits.
#[derive(Debug, Default)]
pub struct Touched {
    /// Entries of which the version counts.
    pub versions: BTreeSet<Key>,
    /// Counters.
    pub counters: BTreeSet<Key>,
    /// Members.
    pub members: BTreeSet<Key>,
    /// Ids of records.
    pub ids: BTreeSet<String>,
}

impl Touched {
    /// What these commits touch.
    #[must_use]
    pub fn by<'a>(commits: impl IntoIterator<Item = &'a Prepared>) -> Self {
        let mut touched = Self::default();
        for Prepared { commit, .. } in commits {
            touched.versions.extend(commit.expect.iter().map(|(key, _)| key.clone()));
            touched.counters.extend(commit.adds.iter().map(|add| add.counter.clone()));
            for Insert { member, counted, .. } in &commit.inserts {
                touched.members.insert(member.clone());
                touched.counters.extend(counted.iter().map(|counted| counted.counter.clone()));
            }
            for Remove { member, counted } in &commit.removes {
                touched.members.insert(member.clone());
                touched.counters.extend(counted.iter().cloned());
            }
            touched.ids.insert(commit.record.id.clone());
        }
        touched
    }
}

/// What the store holds of what was [`Touched`].
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Versions of the entries that exist.
    pub versions: BTreeMap<Key, u64>,
    /// Counters.
    pub counters: BTreeMap<Key, Decimal>,
    /// How many hold each member.
    pub holders: BTreeMap<Key, u64>,
    /// The ids that are in the log.
    pub ids: BTreeSet<String>,
}

/// A record to be appended.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Its place in the log.
    pub index: u64,
    /// Its id.
    pub id: String,
    /// What it is linked to.
    pub linked_to: Option<String>,
    /// Its leaf hash.
    pub leaf: Hash,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Everything a batch changes, as it is to stand afterwards.
#[derive(Debug, Default)]
pub struct Changes {
    /// Entries with the revision that wrote them; `None` where the entry goes.
    pub entries: BTreeMap<Key, Option<(u64, Vec<u8>)>>,
    /// Counters.
    pub counters: BTreeMap<Key, Decimal>,
    /// Holders of members; zero where the member goes.
    pub holders: BTreeMap<Key, u64>,
    /// Records, in order.
    pub records: Vec<Appended>,
    /// Bodies.
    pub bodies: Vec<Body>,
}

/// Commits being judged.
#[derive(Debug)]
pub struct Batch {
    head: Head,
    loaded: Loaded,
    /// The latest revision that may have been another handle's.
    others: u64,
    changes: Changes,
}

/// Counters and members as one commit would leave them.
#[derive(Default)]
struct Draft {
    counters: BTreeMap<Key, Decimal>,
    holders: BTreeMap<Key, u64>,
}

impl Batch {
    /// A batch on top of what the store holds. After revision `others` it was this handle alone that committed.
    #[must_use]
    pub fn new(head: Head, loaded: Loaded, others: u64) -> Self {
        Self { head, loaded, others, changes: Changes::default() }
    }

    /// Judges a commit made through a handle that was opened in epoch `held`, and takes it in when every condition holds.
    ///
    /// # Errors
    /// Whatever stands in the way; the batch is then as it was.
    pub fn apply(&mut self, held: u64, commit: Prepared) -> Result<Committed, CommitError> {
        let mut head = self.next_head(held, &commit)?;
        let Prepared { commit, bytes, leaf, .. } = commit;
        if self.loaded.ids.contains(&commit.record.id) {
            return Err(CommitError::AlreadyRecorded { id: commit.record.id });
        }
        // Beyond the head there is nothing to rest on: somebody has put an older store in its place.
        let moved = |rests_on: &u64| *rests_on < self.others || *rests_on > self.head.revision;
        if let Some(rests_on) = commit.rests_on.filter(moved) {
            return Err(CommitError::Overtaken { rests_on, by: self.others });
        }
        commit.expect.iter().try_for_each(|(key, expected)| self.expect(key, *expected))?;
        let mut draft = Draft::default();
        commit.removes.iter().try_for_each(|remove| self.remove(&mut draft, remove))?;
        commit.inserts.iter().try_for_each(|insert| self.insert(&mut draft, insert))?;
        commit.adds.iter().try_for_each(|add| self.add(&mut draft, add))?;

        let committed = Committed { revision: head.revision, index: self.head.size };
        head.frontier.push(leaf);
        head.root = head.frontier.root();
        self.head = head;
        self.loaded.counters.extend(draft.counters.clone());
        self.loaded.holders.extend(draft.holders.clone());
        self.changes.counters.extend(draft.counters);
        self.changes.holders.extend(draft.holders);
        for (key, value) in commit.puts {
            self.loaded.versions.insert(key.clone(), committed.revision);
            self.changes.entries.insert(key, Some((committed.revision, value)));
        }
        for key in commit.deletes {
            self.loaded.versions.remove(&key);
            self.changes.entries.insert(key, None);
        }
        self.loaded.ids.insert(commit.record.id.clone());
        let (index, id, linked_to) = (committed.index, commit.record.id, commit.linked_to);
        self.changes.records.push(Appended { index, id, linked_to, leaf, bytes });
        self.changes.bodies.extend(commit.body);
        Ok(committed)
    }

    /// Whether any commit was taken in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.records.is_empty()
    }

    /// The head after the batch, and the changes that lead there.
    #[must_use]
    pub fn finish(self) -> (Head, Changes) {
        (self.head, self.changes)
    }

    fn next_head(&self, held: u64, commit: &Prepared) -> Result<Head, CommitError> {
        let (held, step) = commit.begins_after.map_or((held, 0), |expected| (expected, 1));
        if self.head.epoch != held {
            return Err(CommitError::Fenced { held, stands: self.head.epoch });
        }
        let next = |number: u64, step: u64| {
            number.checked_add(step).ok_or_else(|| CommitError::unavailable("the store has no numbers left"))
        };
        Ok(Head {
            revision: next(self.head.revision, 1)?,
            size: next(self.head.size, 1)?,
            epoch: next(held, step)?,
            last_at: Some(match commit.last_at {
                LastAt::AtLeast(at) => self.head.last_at.map_or(at, |last| last.max(at)),
                LastAt::Confirmed(at) => at,
            }),
            root: self.head.root,
            frontier: self.head.frontier.clone(),
        })
    }

    fn expect(&self, key: &Key, expected: Expect) -> Result<(), CommitError> {
        let found = self.loaded.versions.get(key).copied();
        let wanted = match expected {
            Expect::Absent => None,
            Expect::Version(version) => Some(version),
        };
        if found == wanted {
            return Ok(());
        }
        Err(CommitError::Moved { key: key.clone(), expected, found })
    }

    fn counter(&self, draft: &Draft, key: &Key) -> Decimal {
        let drafted = draft.counters.get(key).or_else(|| self.loaded.counters.get(key));
        drafted.copied().unwrap_or(Decimal::ZERO)
    }

    fn holders(&self, draft: &Draft, key: &Key) -> u64 {
        draft.holders.get(key).or_else(|| self.loaded.holders.get(key)).copied().unwrap_or(0)
    }

    fn remove(&self, draft: &mut Draft, remove: &Remove) -> Result<(), CommitError> {
        let Some(left) = self.holders(draft, &remove.member).checked_sub(1) else { return Ok(()) };
        draft.holders.insert(remove.member.clone(), left);
        match &remove.counted {
            Some(counter) if left == 0 => self.charge(draft, counter, Decimal::NEGATIVE_ONE, None),
            _ => Ok(()),
        }
    }

    fn insert(&self, draft: &mut Draft, insert: &Insert) -> Result<(), CommitError> {
        let before = self.holders(draft, &insert.member);
        if before > 0 && insert.must_be_new {
            return Err(CommitError::NotNew { member: insert.member.clone() });
        }
        draft.holders.insert(insert.member.clone(), before.saturating_add(1));
        match &insert.counted {
            Some(counted) if before == 0 => {
                self.charge(draft, &counted.counter, Decimal::ONE, Some(counted.at_most))
            }
            _ => Ok(()),
        }
    }

    fn add(&self, draft: &mut Draft, add: &Add) -> Result<(), CommitError> {
        self.charge(draft, &add.counter, add.amount, add.at_most)
    }

    fn charge(
        &self,
        draft: &mut Draft,
        counter: &Key,
        amount: Decimal,
        at_most: Option<Decimal>,
    ) -> Result<(), CommitError> {
        let stood_at = self.counter(draft, counter);
        let sum = exact_sum(stood_at, amount).ok_or_else(|| CommitError::NotExact {
            counter: counter.clone(),
            stood_at,
            amount,
        })?;
        let gives_back = amount.is_sign_negative() && !amount.is_zero();
        match at_most {
            Some(at_most) if !gives_back && sum > at_most => {
                Err(CommitError::LimitReached { counter: counter.clone(), stood_at, at_most })
            }
            _ => {
                draft.counters.insert(counter.clone(), sum.max(Decimal::ZERO).normalize());
                Ok(())
            }
        }
    }
}

/// The sum, or `None` when 28 digits do not hold it: the library would round then, and says so only by a smaller scale.
fn exact_sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    let (a, b) = (a.normalize(), b.normalize());
    if a.is_zero() || b.is_zero() {
        return Some(if a.is_zero() { b } else { a });
    }
    let sum = a.checked_add(b)?;
    (sum.is_zero() || sum.scale() >= a.scale().max(b.scale())).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sum_is_exact_or_refused() {
        let cases = [
            ("0.1", "0.2", Some("0.3")),
            ("79228162514264337593543950335", "0.1", None),
            ("79228162514264337593543950335", "1", None),
            ("79228162514264337593543950335", "0", Some("79228162514264337593543950335")),
            ("7922816251426433759354395033.5", "0.05", None),
            ("0.0000000000000000000000000001", "1", Some("1.0000000000000000000000000001")),
            ("0.0000000000000000000000000001", "10", None),
            ("5.50", "-5.5", Some("0")),
        ];
        for (a, b, expected) in cases {
            let sum = exact_sum(a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(sum, expected.map(|text| text.parse().unwrap()), "{a} + {b}");
        }
    }

    proptest! {
        /// Checked against integers of 128 bits, which hold any sum of two such mantissas at one scale.
        #[test]
        fn a_sum_that_is_given_is_the_sum(
            a in -(1i128 << 95)..(1i128 << 95),
            b in -(1i128 << 95)..(1i128 << 95),
            scale_a in 0u32..6,
            scale_b in 0u32..6,
        ) {
            let at = |mantissa: i128, scale: u32| mantissa * 10i128.pow(6 - scale);
            let sum = exact_sum(
                Decimal::from_i128_with_scale(a, scale_a),
                Decimal::from_i128_with_scale(b, scale_b),
            );
            if let Some(sum) = sum {
                prop_assert_eq!(at(sum.mantissa(), sum.scale()), at(a, scale_a) + at(b, scale_b));
            }
        }
    }
}
