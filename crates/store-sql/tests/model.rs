//! Random commits: SQLite, memory and a naive model give equal answers and stand equal afterwards.
//!
//! The model shares no code with the stores: numbers are integers of tenths, state is copied whole before each commit and put back when a condition fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*};
use tempfile::TempDir;
use warrantor_ledger::merkle::root_of;
use warrantor_model::{Decimal, record::Record};
use warrantor_store::{
    Add, Commit, CommitError, Committed, Counted, Entry, Expect, Insert, Key, MemoryStore, Remove, Store,
    View, Wanted,
    contract::{key, record_at},
};
use warrantor_store_sql::{Options, SqliteStore};

/// Few names, so that commits meet.
const NAMES: [&str; 4] = ["a", "a/b", "a/c", "d"];

fn name() -> impl Strategy<Value = Key> {
    prop::sample::select(NAMES.to_vec()).prop_map(key)
}

fn tenths(range: std::ops::Range<i64>) -> impl Strategy<Value = Decimal> {
    range.prop_map(|tenths| Decimal::new(tenths, 1))
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![Just(Expect::Absent), (1..12_u64).prop_map(Expect::Version)]
}

fn add() -> impl Strategy<Value = Add> {
    (name(), tenths(-15..25), option::of(tenths(0..60))).prop_map(|(counter, amount, at_most)| Add {
        counter,
        amount,
        at_most,
    })
}

fn insert() -> impl Strategy<Value = Insert> {
    let counted = (name(), tenths(0..40)).prop_map(|(counter, at_most)| Counted { counter, at_most });
    (name(), prop::bool::weighted(0.2), option::of(counted))
        .prop_map(|(member, must_be_new, counted)| Insert { member, must_be_new, counted })
}

fn remove() -> impl Strategy<Value = Remove> {
    (name(), option::of(name())).prop_map(|(member, counted)| Remove { member, counted })
}

prop_compose! {
    fn a_commit()(
        id in 0..120_u32,
        at in -50..50_i64,
        expect in vec((name(), expect()), 0..2),
        puts in vec((name(), vec(any::<u8>(), 0..5)), 0..3),
        deletes in vec(name(), 0..2),
        adds in vec(add(), 0..3),
        inserts in vec(insert(), 0..3),
        removes in vec(remove(), 0..2),
        linked_to in option::of((0..3_u32).prop_map(|n| n.to_string())),
    ) -> Commit {
        let record = record_at(id.to_string(), at);
        Commit { expect, puts, deletes, adds, inserts, removes, linked_to, ..Commit::new(record) }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    entries: BTreeMap<Key, Entry>,
    tenths: BTreeMap<Key, i64>,
    members: Vec<Key>,
    log: Vec<Record>,
    links: Vec<Option<String>>,
}

fn in_tenths(amount: Decimal) -> i64 {
    (amount * Decimal::TEN).try_into().unwrap()
}

impl Model {
    fn commit(&mut self, commit: &Commit) -> Result<Committed, String> {
        let before = self.clone();
        self.try_commit(commit).inspect_err(|_| *self = before)
    }

    fn try_commit(&mut self, commit: &Commit) -> Result<Committed, String> {
        if self.log.iter().any(|record| record.id == commit.record.id) {
            return Err(format!("recorded {}", commit.record.id));
        }
        for (key, expect) in &commit.expect {
            let stands = self.entries.get(key).map_or(Expect::Absent, |entry| Expect::Version(entry.version));
            if stands != *expect {
                return Err(format!("moved {key}"));
            }
        }
        for remove in &commit.removes {
            if let Some(at) = self.members.iter().position(|member| *member == remove.member) {
                self.members.remove(at);
                let gone = !self.members.contains(&remove.member);
                if let Some(counter) = remove.counted.as_ref().filter(|_| gone) {
                    self.add(counter, -10, None)?;
                }
            }
        }
        for insert in &commit.inserts {
            let new = !self.members.contains(&insert.member);
            if !new && insert.must_be_new {
                return Err(format!("not new {}", insert.member));
            }
            self.members.push(insert.member.clone());
            if let Some(counted) = insert.counted.as_ref().filter(|_| new) {
                self.add(&counted.counter, 10, Some(in_tenths(counted.at_most)))?;
            }
        }
        for add in &commit.adds {
            self.add(&add.counter, in_tenths(add.amount), add.at_most.map(in_tenths))?;
        }
        let revision = self.log.len() as u64 + 1;
        for (key, value) in &commit.puts {
            self.entries.insert(key.clone(), Entry { version: revision, value: value.clone() });
        }
        for key in &commit.deletes {
            self.entries.remove(key);
        }
        self.log.push(commit.record.clone());
        self.links.push(commit.linked_to.clone());
        Ok(Committed { revision, index: revision - 1 })
    }

    fn add(&mut self, counter: &Key, tenths: i64, at_most: Option<i64>) -> Result<(), String> {
        let stands = self.tenths.entry(counter.clone()).or_default();
        if tenths >= 0 && at_most.is_some_and(|at_most| *stands + tenths > at_most) {
            return Err(format!("limit {counter} {}", Decimal::new(*stands, 1).normalize()));
        }
        *stands = (*stands + tenths).max(0);
        Ok(())
    }

    fn counters(&self) -> BTreeMap<Key, Decimal> {
        let nonzero = self.tenths.iter().filter(|(_, tenths)| **tenths != 0);
        nonzero.map(|(key, tenths)| (key.clone(), Decimal::new(*tenths, 1))).collect()
    }
}

fn said(answer: Result<Committed, CommitError>) -> Result<Committed, String> {
    answer.map_err(|error| match error {
        CommitError::Moved { key, .. } => format!("moved {key}"),
        CommitError::LimitReached { counter, stood_at, .. } => {
            format!("limit {counter} {}", stood_at.normalize())
        }
        CommitError::NotNew { member } => format!("not new {member}"),
        CommitError::AlreadyRecorded { id } => format!("recorded {id}"),
        CommitError::Overtaken { rests_on, by } => format!("overtaken {rests_on} {by}"),
        other => panic!("{other}"),
    })
}

async fn whole<S: Store>(store: &S) -> View {
    let keys: BTreeSet<Key> = NAMES.into_iter().map(key).collect();
    store.read(&Wanted { entries: keys.clone(), counters: keys.clone(), members: keys }).await.unwrap()
}

async fn check_equal<S: Store>(model: &Model, store: &S) {
    let view = whole(store).await;
    assert_eq!(view.entries, model.entries);
    assert_eq!(view.counters, model.counters());
    assert_eq!(view.members, model.members.iter().cloned().collect());
    let (size, latest) = (model.log.len() as u64, model.log.iter().map(|record| record.at).max());
    assert_eq!((view.head.revision, view.head.size, view.head.last_at), (size, size, latest));

    let stored = store.records(0, 1000).await.unwrap();
    let read: Vec<_> = stored.iter().map(|stored| Record::from_bytes(&stored.bytes).unwrap()).collect();
    assert_eq!(read, model.log);
    assert_eq!(view.head.root, root_of(&store.leaves(0, 1000).await.unwrap()));
    let under = store.scan(&key("a"), None, 1000).await.unwrap();
    let expected = model.entries.iter().filter(|(key, _)| key.as_str().starts_with("a/"));
    assert_eq!(under, expected.map(|(key, entry)| (key.clone(), entry.clone())).collect::<Vec<_>>());
    for to in ["0", "1", "2"] {
        let linked = store.linked(to, 0, 1000).await.unwrap();
        let linked: Vec<_> = linked.iter().map(|stored| usize::try_from(stored.index).unwrap()).collect();
        let expected = (0..model.links.len()).filter(|at| model.links[*at].as_deref() == Some(to));
        assert_eq!(linked, expected.collect::<Vec<_>>());
    }
}

async fn open(directory: &TempDir) -> SqliteStore {
    SqliteStore::open(directory.path().join("warrantor.db"), Options::default()).await.unwrap()
}

async fn check_one_by_one(commits: Vec<Commit>) {
    let directory = TempDir::new().unwrap();
    let (sqlite, memory, mut model) = (open(&directory).await, MemoryStore::new(), Model::default());
    for commit in commits {
        let expected = model.commit(&commit);
        assert_eq!(said(memory.commit(commit.clone()).await), expected, "memory: {commit:?}");
        assert_eq!(said(sqlite.commit(commit.clone()).await), expected, "sqlite: {commit:?}");
    }
    check_equal(&model, &memory).await;
    check_equal(&model, &sqlite).await;
    assert_eq!(whole(&sqlite).await.head, whole(&memory).await.head);
    sqlite.close().await;
    check_equal(&model, &open(&directory).await).await;
}

/// All at once, hence in batches: on one thread tasks run in the order in which they were spawned, and so do their commits.
async fn check_in_batches(commits: Vec<Commit>) {
    let directory = TempDir::new().unwrap();
    let (sqlite, mut model) = (Arc::new(open(&directory).await), Model::default());
    let running: Vec<_> = commits
        .iter()
        .map(|commit| {
            let (store, commit) = (Arc::clone(&sqlite), commit.clone());
            tokio::spawn(async move { store.commit(commit).await })
        })
        .collect();
    for (task, commit) in running.into_iter().zip(&commits) {
        assert_eq!(said(task.await.unwrap()), model.commit(commit), "{commit:?}");
    }
    check_equal(&model, &*sqlite).await;
}

/// One step of a handle: which of two it is, whether it looks at what it knows first, and whether its commit rests on what it saw last.
type Step = (bool, bool, bool, Commit);

/// What a handle knows without asking is what stood at the head that it says, and nothing of its own is missing; a commit that rests on it is refused if the other
/// handle has committed since.
async fn check_two_handles(steps: Vec<Step>) {
    let directory = TempDir::new().unwrap();
    let handles = [open(&directory).await, open(&directory).await];
    let mut stood = vec![Model::default()];
    let (mut own, mut seen) = ([0_u64; 2], [0_u64; 2]);
    for (second, looks, rests, commit) in steps {
        let (this, other) = (usize::from(second), usize::from(!second));
        if looks {
            let keys: BTreeSet<Key> = NAMES.into_iter().map(key).collect();
            let all = Wanted { entries: keys.clone(), counters: keys.clone(), members: keys };
            let (view, _) = handles[this].recent(&all).await.unwrap();
            let revision = view.head.revision;
            assert!(revision >= own[this], "its own {} is missing at {revision}", own[this]);
            let then = &stood[usize::try_from(revision).unwrap()];
            assert_eq!(view.entries, then.entries);
            assert_eq!(view.counters, then.counters());
            assert_eq!(view.members, then.members.iter().cloned().collect());
            seen[this] = revision;
        }
        let commit = Commit { rests_on: rests.then_some(seen[this]), ..commit };
        let mut model = stood.last().unwrap().clone();
        let is_recorded = model.log.iter().any(|record| record.id == commit.record.id);
        let overtaken = commit.rests_on.filter(|rests_on| *rests_on < own[other] && !is_recorded);
        let expected = match overtaken {
            Some(rests_on) => Err(format!("overtaken {rests_on} {}", own[other])),
            None => model.commit(&commit),
        };
        assert_eq!(said(handles[this].commit(commit.clone()).await), expected, "{commit:?}");
        if let Ok(committed) = expected {
            own[this] = committed.revision;
            stood.push(model);
        }
    }
    check_equal(stood.last().unwrap(), &handles[0]).await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn commits_one_by_one_are_those_of_the_model(commits in vec(a_commit(), 1..40)) {
        runtime().block_on(check_one_by_one(commits));
    }

    #[test]
    fn what_a_handle_knows_is_what_stood_and_a_commit_on_it_is_refused_once_overtaken(
        steps in vec((prop::bool::weighted(0.3), prop::bool::weighted(0.6), any::<bool>(), a_commit()), 1..90),
    ) {
        runtime().block_on(check_two_handles(steps));
    }

    #[test]
    fn commits_in_batches_are_those_of_the_model(commits in vec(a_commit(), 1..80)) {
        runtime().block_on(check_in_batches(commits));
    }
}
