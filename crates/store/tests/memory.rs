//! The store in memory passes the contract, and stores that fail on purpose fail as planned.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use warrantor_store::{
    CommitError, MemoryStore, Store,
    contract::{Harness, adding, check_log, decimal, key, wanted},
    faults::{Fault, Faulty},
};

struct Memory(MemoryStore);

impl Harness for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        self.0.reopen().unwrap()
    }
}

warrantor_store::contract_tests!(Memory(MemoryStore::new()));

#[tokio::test]
async fn a_planned_fault_strikes_once_and_is_stored_only_when_it_says_so() {
    for (fault, stored) in [(Fault::Lost, "1"), (Fault::Refused, "1"), (Fault::StoredAfterAll, "2")] {
        let store = Faulty::new(MemoryStore::new());
        store.commit(adding("first", "n", "1", None)).await.unwrap();
        store.plan(1, fault);
        let failed = store.commit(adding("second", "n", "1", Some("2"))).await;
        let unknown = matches!(failed, Err(CommitError::Unknown { .. }));
        let unavailable = matches!(failed, Err(CommitError::Unavailable { .. }));
        assert_eq!((unknown, unavailable), (fault != Fault::Refused, fault == Fault::Refused), "{fault:?}");
        let view = store.read(&wanted(&["n"])).await.unwrap();
        assert_eq!(view.counter(&key("n")), decimal(stored), "{fault:?}");

        let again = store.commit(adding("second", "n", "1", Some("2"))).await;
        let recorded = matches!(again, Err(CommitError::AlreadyRecorded { .. }));
        assert_eq!(recorded, fault == Fault::StoredAfterAll, "{fault:?}: {again:?}");
        assert_eq!(check_log(&store).await.size, 2);
    }
}

#[tokio::test]
async fn a_hanging_commit_goes_on_when_released() {
    let store = std::sync::Arc::new(Faulty::new(MemoryStore::new()));
    store.plan(1, Fault::Hang);
    let hanging = tokio::spawn({
        let store = std::sync::Arc::clone(&store);
        async move { store.commit(adding("hangs", "n", "1", None)).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(store.head().await.unwrap().size, 0);
    assert!(!hanging.is_finished());
    store.release();
    assert_eq!(hanging.await.unwrap().unwrap().revision, 1);
}
