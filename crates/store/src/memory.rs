//! The store in memory: the seam's meaning without a disk, for tests and demonstrations. What it holds ends with the process.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use warrantor_ledger::{Frontier, Hash};
use warrantor_model::{Decimal, Digest, record::Record};

use crate::{
    Body, Cause, CheckpointError, Closed, Commit, CommitError, Committed, Entry, FIRST_EPOCH, Head, Key,
    MAX_PAGE_BYTES, Prepared, ReadError, Store, StoredCheckpoint, StoredRecord, View, Wanted,
    batch::{Appended, Batch, Changes, Loaded, Touched},
    check_note, page,
};

/// A store in memory. Handles made by [`MemoryStore::reopen`] share what it holds.
#[derive(Debug)]
pub struct MemoryStore {
    // One lock over everything: a commit is a few map operations, and one consistent reading is the point.
    state: Arc<Mutex<State>>,
    /// The epoch in which this handle was opened, or which it began.
    epoch: AtomicU64,
    closed: AtomicBool,
    /// Tells this handle from others.
    number: u64,
}

#[derive(Debug)]
struct State {
    head: Head,
    entries: BTreeMap<Key, Entry>,
    counters: BTreeMap<Key, Decimal>,
    holders: BTreeMap<Key, u64>,
    records: Vec<Appended>,
    by_id: BTreeMap<String, usize>,
    bodies: BTreeMap<Digest, Body>,
    checkpoints: BTreeMap<u64, String>,
    /// How many handles there were.
    handles: u64,
    /// The last revision of each handle that has committed.
    last_by: BTreeMap<u64, u64>,
}

/// A thread panicked while it held the store's lock.
#[derive(Debug, thiserror::Error)]
#[error("a thread failed while it changed the store in memory")]
struct Poisoned;

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let frontier = Frontier::empty();
        let head =
            Head { revision: 0, size: 0, root: frontier.root(), frontier, last_at: None, epoch: FIRST_EPOCH };
        let state = State {
            head,
            entries: BTreeMap::new(),
            counters: BTreeMap::new(),
            holders: BTreeMap::new(),
            records: Vec::new(),
            by_id: BTreeMap::new(),
            bodies: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            handles: 0,
            last_by: BTreeMap::new(),
        };
        Self::on(Arc::new(Mutex::new(state)), FIRST_EPOCH, 0)
    }

    /// Another handle on the same state, opened in the epoch that stands now.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when a thread failed in the middle of a change.
    pub fn reopen(&self) -> Result<Self, ReadError> {
        let mut state = self.state.lock().map_err(|_| ReadError::unavailable(Poisoned))?;
        state.handles = state.handles.saturating_add(1);
        Ok(Self::on(Arc::clone(&self.state), state.head.epoch, state.handles))
    }

    fn on(state: Arc<Mutex<State>>, epoch: u64, number: u64) -> Self {
        Self { state, epoch: AtomicU64::new(epoch), closed: AtomicBool::new(false), number }
    }

    fn locked(&self) -> Result<MutexGuard<'_, State>, Cause> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Cause::new(Closed));
        }
        self.state.lock().map_err(|_| Cause::new(Poisoned))
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, ReadError> {
        self.locked().map_err(|cause| ReadError::Unavailable { cause })
    }

    fn store(&self, prepared: Prepared) -> Result<Committed, CommitError> {
        let mut state = self.locked().map_err(|cause| CommitError::Unavailable { cause })?;
        let loaded = state.load(Touched::by([&prepared]));
        let others = state.last_by.iter().filter(|(by, _)| **by != self.number).map(|(_, last)| *last).max();
        let mut batch = Batch::new(state.head.clone(), loaded, others.unwrap_or(0));
        let committed = batch.apply(self.epoch.load(Ordering::Acquire), prepared)?;
        let (head, changes) = batch.finish();
        state.change(head, changes);
        state.last_by.insert(self.number, committed.revision);
        Ok(committed)
    }
}

impl State {
    fn load(&self, touched: Touched) -> Loaded {
        fn of<T: Clone>(
            map: &BTreeMap<Key, T>,
            keys: impl IntoIterator<Item = Key>,
        ) -> impl Iterator<Item = (Key, T)> {
            keys.into_iter().filter_map(|key| map.get(&key).cloned().map(|value| (key, value)))
        }
        let version =
            |key: Key| self.entries.get(&key).map(|entry| entry.version).map(|version| (key, version));
        Loaded {
            versions: touched.versions.into_iter().filter_map(version).collect(),
            counters: of(&self.counters, touched.counters).collect(),
            holders: of(&self.holders, touched.members).collect(),
            ids: touched.ids.into_iter().filter(|id| self.by_id.contains_key(id)).collect(),
        }
    }

    fn change(&mut self, head: Head, changes: Changes) {
        self.head = head;
        for (key, entry) in changes.entries {
            match entry {
                Some((version, value)) => self.entries.insert(key, Entry { version, value }),
                None => self.entries.remove(&key),
            };
        }
        self.counters.extend(changes.counters);
        self.holders.extend(changes.holders);
        for record in changes.records {
            self.by_id.insert(record.id.clone(), self.records.len());
            self.records.push(record);
        }
        for body in changes.bodies {
            self.bodies.entry(body.commitment).or_insert(body);
        }
    }

    fn from(&self, from: u64) -> impl Iterator<Item = &Appended> {
        self.records.iter().skip(usize::try_from(from).unwrap_or(usize::MAX))
    }
}

/// The first rows of a page, up to the one that reaches its bound in bytes.
fn within<T>(rows: impl Iterator<Item = T>, limit: usize, bytes: impl Fn(&T) -> usize) -> Vec<T> {
    let mut before = 0_usize;
    rows.take(page(limit))
        .take_while(|row| {
            let fits = before < MAX_PAGE_BYTES;
            before = before.saturating_add(bytes(row));
            fits
        })
        .collect()
}

fn stored(record: &Appended) -> StoredRecord {
    StoredRecord { index: record.index, bytes: record.bytes.clone(), leaf: record.leaf }
}

impl Store for MemoryStore {
    async fn head(&self) -> Result<Head, ReadError> {
        Ok(self.state()?.head.clone())
    }

    async fn read(&self, wanted: &Wanted) -> Result<View, ReadError> {
        let state = self.state()?;
        let entry = |key: &Key| state.entries.get(key).map(|entry| (key.clone(), entry.clone()));
        let counter = |key: &Key| state.counters.get(key).map(|amount| (key.clone(), *amount));
        let held = |key: &&Key| state.holders.get(key).is_some_and(|holders| *holders > 0);
        Ok(View {
            head: state.head.clone(),
            entries: wanted.entries.iter().filter_map(entry).collect(),
            counters: wanted
                .counters
                .iter()
                .filter_map(counter)
                .filter(|(_, amount)| !amount.is_zero())
                .collect(),
            members: wanted.members.iter().filter(held).cloned().collect(),
        })
    }

    async fn scan(
        &self,
        under: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<(Key, Entry)>, ReadError> {
        let state = self.state()?;
        let from = after.filter(|after| *after > under).unwrap_or(under);
        let range = state.entries.range((Bound::Excluded(from.clone()), Bound::Unbounded));
        // Between `a` and `a/…` may stand `a!…`, and after them `a0…`; the keys under `a` are in one piece.
        let found =
            range.skip_while(|(key, _)| !key.is_under(under)).take_while(|(key, _)| key.is_under(under));
        let found = within(found, limit, |(_, entry)| entry.value.len());
        Ok(found.into_iter().map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.store(Prepared::new(commit)?)
    }

    async fn records(&self, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        let state = self.state()?;
        Ok(within(state.from(from), limit, |record| record.bytes.len()).into_iter().map(stored).collect())
    }

    async fn find(&self, id: &str) -> Result<Option<StoredRecord>, ReadError> {
        let state = self.state()?;
        Ok(state.by_id.get(id).and_then(|at| state.records.get(*at)).map(stored))
    }

    async fn linked(&self, to: &str, from: u64, limit: usize) -> Result<Vec<StoredRecord>, ReadError> {
        let state = self.state()?;
        let linked = state.from(from).filter(|record| record.linked_to.as_deref() == Some(to));
        Ok(within(linked, limit, |record| record.bytes.len()).into_iter().map(stored).collect())
    }

    async fn leaves(&self, from: u64, limit: usize) -> Result<Vec<Hash>, ReadError> {
        Ok(self.state()?.from(from).take(page(limit)).map(|record| record.leaf).collect())
    }

    async fn body(&self, commitment: &Digest) -> Result<Option<Body>, ReadError> {
        Ok(self.state()?.bodies.get(commitment).cloned())
    }

    async fn put_checkpoint(&self, size: u64, note: String) -> Result<(), CheckpointError> {
        check_note(&note)?;
        let mut state = self.locked().map_err(|cause| CheckpointError::Unavailable { cause })?;
        let last = state.checkpoints.keys().next_back().copied();
        state.head.admits_checkpoint(self.epoch.load(Ordering::Acquire), last, size)?;
        state.checkpoints.insert(size, note);
        Ok(())
    }

    async fn checkpoints(&self, from: u64, limit: usize) -> Result<Vec<StoredCheckpoint>, ReadError> {
        let state = self.state()?;
        let range = state.checkpoints.range(from..);
        let stored = range.map(|(size, note)| StoredCheckpoint { size: *size, note: note.clone() });
        Ok(stored.take(page(limit)).collect())
    }

    async fn last_checkpoint(&self) -> Result<Option<StoredCheckpoint>, ReadError> {
        let state = self.state()?;
        let last = state.checkpoints.last_key_value();
        Ok(last.map(|(size, note)| StoredCheckpoint { size: *size, note: note.clone() }))
    }

    async fn begin_epoch(&self, expected: u64, record: Record) -> Result<Committed, CommitError> {
        let committed = self.store(Prepared::epoch(expected, record)?)?;
        self.epoch.store(expected.saturating_add(1), Ordering::Release);
        Ok(committed)
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}
