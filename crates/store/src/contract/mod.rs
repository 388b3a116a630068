//! The suite that every store passes: one function per property, called by [`crate::contract_tests!`] with the driver's harness.
//!
//! A property that holds for one driver only (reopening a file, a full disk) is tested beside that driver.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test code: the suite's assertions are what it is for"
)]

use std::{future::Future, sync::Arc};

use warrantor_ledger::{Frontier, merkle::leaf_hash};
use warrantor_model::{
    Decimal, Timestamp,
    record::{Event, GapRecord, LedgerRecord, Record},
};

use crate::{
    Add, Commit, CommitError, Committed, Counted, Head, Insert, Key, MAX_PAGE, Store, StoredRecord, Wanted,
};

mod log;
mod state;

pub use log::{
    a_closed_handle_does_nothing_more, a_new_epoch_fences_every_other_handle,
    a_record_reads_back_byte_for_byte, an_id_is_recorded_once, bodies_are_found_by_their_commitment,
    checkpoints_only_grow_and_never_pass_the_head, linked_records_are_found_by_what_they_are_linked_to,
    malformed_commits_are_refused_whole, revisions_and_places_have_no_gap,
    the_frontier_is_that_of_the_records, the_last_instant_goes_back_only_when_confirmed,
};
pub use state::{
    a_commit_on_a_recent_reading_is_refused_once_overtaken, a_member_leaves_with_its_last_holder,
    a_member_that_must_be_new_is_taken_once, a_page_ends_at_its_bound_in_bytes,
    a_scan_pages_through_whole_segments, a_sum_that_would_be_rounded_is_refused,
    an_entry_is_written_only_as_expected, an_unmet_condition_leaves_no_trace,
    changes_within_a_commit_see_each_other, decimals_are_exact, distinct_members_are_counted_once,
    giving_back_stops_at_zero, handles_share_every_counter, one_reading_is_of_one_head,
    one_task_takes_the_last_unit, values_read_back_byte_for_byte,
};

/// Makes handles for the suite. Each property gets a harness of its own.
pub trait Harness: Send + Sync {
    /// The driver.
    type Store: Store;

    /// A handle on this harness's data, which is empty at first; every call gives another handle on the same data.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;
}

/// One test per property of the contract. The argument is an expression that makes a [`contract::Harness`](crate::contract::Harness); it is evaluated
/// anew for every test.
#[macro_export]
macro_rules! contract_tests {
    ($harness:expr) => {
        $crate::contract_tests! { @each $harness;
            a_closed_handle_does_nothing_more
            a_commit_on_a_recent_reading_is_refused_once_overtaken
            a_member_leaves_with_its_last_holder
            a_member_that_must_be_new_is_taken_once
            a_new_epoch_fences_every_other_handle
            a_page_ends_at_its_bound_in_bytes
            a_record_reads_back_byte_for_byte
            a_scan_pages_through_whole_segments
            a_sum_that_would_be_rounded_is_refused
            an_entry_is_written_only_as_expected
            an_id_is_recorded_once
            an_unmet_condition_leaves_no_trace
            bodies_are_found_by_their_commitment
            changes_within_a_commit_see_each_other
            checkpoints_only_grow_and_never_pass_the_head
            decimals_are_exact
            distinct_members_are_counted_once
            giving_back_stops_at_zero
            handles_share_every_counter
            linked_records_are_found_by_what_they_are_linked_to
            malformed_commits_are_refused_whole
            one_reading_is_of_one_head
            one_task_takes_the_last_unit
            revisions_and_places_have_no_gap
            the_frontier_is_that_of_the_records
            the_last_instant_goes_back_only_when_confirmed
            values_read_back_byte_for_byte
        }
    };
    (@each $harness:expr; $($property:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $property() {
            $crate::contract::$property(&$harness).await;
        }
    )*};
}

/// A key that is known to be one.
pub fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A number that is known to be one.
pub fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// A small record of this id, made this many microseconds after 1970.
pub fn record_at(id: impl Into<String>, micros: i64) -> Record {
    let at = Timestamp::from_micros(micros);
    Record::new(id, at, Event::AuditGap(GapRecord { since: at, lost: 0, cause: "a test".into() }))
}

/// A small record of this id.
pub fn record(id: impl Into<String>) -> Record {
    record_at(id, 1_000_000)
}

/// A commit of a small record and nothing else.
pub fn commit(id: impl Into<String>) -> Commit {
    Commit::new(record(id))
}

/// The record that begins this epoch.
pub fn epoch_record(id: impl Into<String>, epoch: u64) -> Record {
    let event = LedgerRecord::EpochBegun { epoch, lost_from: 0, evidence: "a test".into() };
    Record::new(id, Timestamp::from_micros(1), Event::Ledger(event))
}

/// A commit that adds to a counter.
pub fn adding(id: impl Into<String>, counter: &str, amount: &str, at_most: Option<&str>) -> Commit {
    let add = Add { counter: key(counter), amount: decimal(amount), at_most: at_most.map(decimal) };
    Commit { adds: vec![add], ..commit(id) }
}

/// A commit that writes an entry.
pub fn putting(id: impl Into<String>, entry: &str, value: &[u8]) -> Commit {
    Commit { puts: vec![(key(entry), value.to_vec())], ..commit(id) }
}

/// A member, counted up to `at_most`.
pub fn counted(member: &str, counter: &str, at_most: &str) -> Insert {
    let counted = Counted { counter: key(counter), at_most: decimal(at_most) };
    Insert { member: key(member), must_be_new: false, counted: Some(counted) }
}

/// Everything that these keys name, as entry, counter and member.
pub fn wanted(keys: &[&str]) -> Wanted {
    let keys = || keys.iter().map(|text| key(text)).collect();
    Wanted { entries: keys(), counters: keys(), members: keys() }
}

/// Reads the whole log.
pub async fn whole_log<S: Store>(store: &S) -> Vec<StoredRecord> {
    let mut log = Vec::new();
    loop {
        let page = store.records(log.len() as u64, MAX_PAGE).await.unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// Checks that the head is the one that the stored bytes give.
pub async fn check_log<S: Store>(store: &S) -> Head {
    let head = store.head().await.unwrap();
    let log = whole_log(store).await;
    let mut frontier = Frontier::empty();
    for (place, stored) in log.iter().enumerate() {
        assert_eq!(stored.index, place as u64, "the log has a gap");
        assert_eq!(stored.leaf, leaf_hash(&stored.bytes), "at {place}");
        Record::from_bytes(&stored.bytes).unwrap();
        frontier.push(stored.leaf);
    }
    assert_eq!(head.size, log.len() as u64);
    assert_eq!(head.revision, head.size, "every commit has one record");
    assert_eq!(head.root, frontier.root());
    assert_eq!(head.frontier, frontier);
    head
}

/// Runs this many commits at once, each in its own task, spread over the handles.
pub async fn race<S: Store>(
    handles: &[Arc<S>],
    tasks: usize,
    commit: impl Fn(usize) -> Commit,
) -> Vec<Result<Committed, CommitError>> {
    let running: Vec<_> = handles
        .iter()
        .cycle()
        .take(tasks)
        .enumerate()
        .map(|(task, store)| {
            let (store, commit) = (Arc::clone(store), commit(task));
            tokio::spawn(async move { store.commit(commit).await })
        })
        .collect();
    let mut answers = Vec::new();
    for task in running {
        answers.push(task.await.unwrap());
    }
    answers
}
