//! What this handle knows of the store without asking: what it read or wrote, as of its own last commit.
//!
//! The store may be written by other handles at any time, so what is known here is what stood at a head, and that head need not be the latest. Two things
//! keep that harmless. The writer looks at the head before each of its transactions: if somebody else has moved it, everything is forgotten, and commits that
//! rest on an earlier head are refused. And nothing is taken in but at the head that is known here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use warrantor_model::Decimal;
use warrantor_store::{
    Entry, Head, Key, View, Wanted,
    batch::{Changes, Loaded, Touched},
};

/// Most keys that are remembered; beyond that everything is forgotten, and comes back as it is used.
const MOST: usize = 1 << 16;
/// The longest value that is remembered, in bytes.
const LONGEST: usize = 4096;
/// After somebody else has written, nothing is remembered for so many transactions of our own: where two handles write in turn, remembering would only
/// make each of them decide twice.
const PAUSE: u32 = 16;

/// How many hold a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    By(u64),
    /// At least one: a reading tells no more.
    BySomebody,
}

/// What is known. Absent is known too.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The head that all of it stands at; none when nothing is known.
    head: Option<Head>,
    /// No reading of an earlier revision is taken note of: it would miss what this handle has written.
    at_least: u64,
    entries: HashMap<Key, Option<Entry>>,
    counters: HashMap<Key, Decimal>,
    members: HashMap<Key, Held>,
    /// Transactions to go until something is remembered again.
    pause: u32,
}

impl Recent {
    /// All that is wanted, if all of it is known.
    pub(crate) fn view(&self, wanted: &Wanted) -> Option<View> {
        let mut view = View {
            head: self.head.clone()?,
            entries: BTreeMap::new(),
            counters: BTreeMap::new(),
            members: BTreeSet::new(),
        };
        for key in &wanted.entries {
            view.entries.extend(self.entries.get(key)?.clone().map(|entry| (key.clone(), entry)));
        }
        for key in &wanted.counters {
            let amount = *self.counters.get(key)?;
            if !amount.is_zero() {
                view.counters.insert(key.clone(), amount);
            }
        }
        for key in &wanted.members {
            if *self.members.get(key)? != Held::By(0) {
                view.members.insert(key.clone());
            }
        }
        Some(view)
    }

    /// Takes note of a reading of what was wanted, unless it is of another head than the one known here: then some of it may be older, or newer.
    pub(crate) fn read(&mut self, wanted: &Wanted, view: &View) {
        let revision = view.head.revision;
        let is_other = self.head.as_ref().is_some_and(|known| known.revision != revision);
        if self.pause > 0 || revision < self.at_least || is_other {
            return;
        }
        if self.entries.len() + self.counters.len() + self.members.len() > MOST {
            self.forget();
        }
        self.head = Some(view.head.clone());
        for key in &wanted.entries {
            let entry = view.entries.get(key);
            if entry.is_none_or(|entry| entry.value.len() <= LONGEST) {
                self.entries.insert(key.clone(), entry.cloned());
            }
        }
        for key in &wanted.counters {
            self.counters.insert(key.clone(), view.counter(key));
        }
        for key in &wanted.members {
            match view.members.contains(key) {
                true => drop(self.members.entry(key.clone()).or_insert(Held::BySomebody)),
                false => drop(self.members.insert(key.clone(), Held::By(0))),
            }
        }
    }

    /// Of what a batch touches, what is known; and what is not, which is to be loaded. Which records there are is never known here.
    pub(crate) fn load(&self, touched: &Touched) -> (Loaded, Touched) {
        let (mut known, mut rest) = (Loaded::default(), Touched::default());
        for key in &touched.versions {
            match self.entries.get(key) {
                Some(entry) => {
                    known.versions.extend(entry.as_ref().map(|entry| (key.clone(), entry.version)))
                }
                None => drop(rest.versions.insert(key.clone())),
            }
        }
        for key in &touched.counters {
            match self.counters.get(key) {
                Some(amount) => drop(known.counters.insert(key.clone(), *amount)),
                None => drop(rest.counters.insert(key.clone())),
            }
        }
        for key in &touched.members {
            match self.members.get(key) {
                Some(Held::By(holders)) => drop(known.holders.insert(key.clone(), *holders)),
                Some(Held::BySomebody) | None => drop(rest.members.insert(key.clone())),
            }
        }
        rest.ids.clone_from(&touched.ids);
        (known, rest)
    }

    /// The store was found at this head by whoever holds its write lock; another handle may have brought it there.
    pub(crate) fn found(&mut self, head: &Head, is_overtaken: bool) {
        self.at_least = self.at_least.max(head.revision);
        if is_overtaken {
            self.pause = PAUSE;
        }
        if self.head.as_ref().is_some_and(|known| !is_same(known, head)) {
            self.forget();
        }
    }

    /// This handle has committed these changes, which led to this head.
    pub(crate) fn wrote(&mut self, head: &Head, changes: &Changes) {
        self.at_least = self.at_least.max(head.revision);
        self.pause = self.pause.saturating_sub(1);
        // A reading of a later head was taken in between the commit and now: that is somebody else's, and what is known is neither of the two.
        let is_mixed = self.head.as_ref().is_some_and(|known| known.revision > head.revision);
        if self.pause > 0 || is_mixed {
            return self.forget();
        }
        for (key, entry) in &changes.entries {
            let entry = entry.as_ref().map(|(version, value)| (*version, value.as_slice()));
            match (self.entries.get_mut(key), entry) {
                (None, _) => {}
                (Some(_), Some((_, value))) if value.len() > LONGEST => drop(self.entries.remove(key)),
                (Some(known), entry) => {
                    *known = entry.map(|(version, value)| Entry { version, value: value.to_vec() });
                }
            }
        }
        for (key, amount) in &changes.counters {
            if let Some(known) = self.counters.get_mut(key) {
                *known = *amount;
            }
        }
        for (key, holders) in &changes.holders {
            if let Some(known) = self.members.get_mut(key) {
                *known = Held::By(*holders);
            }
        }
        self.head = Some(head.clone());
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        self.head = None;
        self.entries.clear();
        self.counters.clear();
        self.members.clear();
    }
}

/// Whether two heads are one: an older store that was put in place may come to the same revision, and not to the same root.
pub(crate) fn is_same(one: &Head, other: &Head) -> bool {
    (one.revision, one.epoch, one.root) == (other.revision, other.epoch, other.root)
}

#[cfg(test)]
mod tests {
    use warrantor_ledger::Frontier;

    use super::*;

    fn head(revision: u64) -> Head {
        let frontier = Frontier::empty();
        Head { revision, size: revision, root: frontier.root(), frontier, last_at: None, epoch: 1 }
    }

    fn key() -> Key {
        Key::new("n").unwrap()
    }

    fn at(revision: u64, amount: i64) -> (Wanted, View) {
        let wanted = Wanted { counters: [key()].into(), ..Wanted::default() };
        let view = View {
            head: head(revision),
            entries: BTreeMap::new(),
            counters: [(key(), Decimal::from(amount))].into(),
            members: BTreeSet::new(),
        };
        (wanted, view)
    }

    fn adding(amount: i64) -> Changes {
        Changes { counters: [(key(), Decimal::from(amount))].into(), ..Changes::default() }
    }

    #[test]
    fn what_is_known_stands_at_one_head_however_readings_and_commits_meet() {
        let known = |recent: &Recent, wanted: &Wanted| {
            recent.view(wanted).map(|view| (view.head.revision, view.counter(&key()).mantissa()))
        };
        // A reading from before a commit of ours that has been taken note of is passed over.
        let (wanted, early) = at(4, 40);
        let mut recent = Recent::default();
        recent.wrote(&head(5), &adding(50));
        recent.read(&wanted, &early);
        assert_eq!(known(&recent, &wanted), None);
        // One of the same head is taken in, and our next commit is laid over it.
        recent.read(&wanted, &at(5, 50).1);
        recent.wrote(&head(6), &adding(60));
        assert_eq!(known(&recent, &wanted), Some((6, 60)));
        // One from between our commit and the note of it holds what somebody else wrote after: neither of the two heads is what is known then.
        let mut recent = Recent::default();
        recent.read(&wanted, &at(8, 80).1);
        recent.wrote(&head(7), &adding(70));
        assert_eq!(known(&recent, &wanted), None);
        // An older store in place of this one may come to the same revision.
        let mut recent = Recent::default();
        recent.read(&wanted, &at(8, 80).1);
        recent.found(&Head { epoch: 2, ..head(8) }, true);
        assert_eq!(known(&recent, &wanted), None);
    }

    #[test]
    fn after_somebody_else_wrote_nothing_is_remembered_for_a_while() {
        let (wanted, view) = at(1, 1);
        let mut recent = Recent::default();
        recent.found(&head(1), true);
        for nth in 2..=u64::from(PAUSE) {
            recent.read(&wanted, &at(nth - 1, 1).1);
            assert!(recent.view(&wanted).is_none(), "{nth}");
            recent.wrote(&head(nth), &Changes::default());
        }
        recent.wrote(&head(u64::from(PAUSE) + 1), &Changes::default());
        recent.read(&wanted, &view);
        assert!(recent.view(&wanted).is_none(), "it is of an earlier head");
        recent.read(&wanted, &at(u64::from(PAUSE) + 1, 1).1);
        assert!(recent.view(&wanted).is_some());
    }
}
