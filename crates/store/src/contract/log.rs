//! Records, bodies, checkpoints and epochs.

use std::sync::Arc;

use warrantor_model::{
    Decimal, Digest, Timestamp,
    record::{Event, GapRecord, LedgerRecord, Record},
};

use super::{
    Harness, adding, check_log, commit, epoch_record, key, putting, race, record_at, wanted, whole_log,
};
use crate::{
    Body, CheckpointError, Commit, CommitError, Committed, MAX_PARTS, MAX_VALUE_BYTES, ReadError, Store,
    StoredRecord,
};

/// Records of every size come back as they were written, by place and by id.
pub async fn a_record_reads_back_byte_for_byte<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let mut expected = Vec::new();
    for (place, length) in [0, 1, 300, 5_000, 60_000].into_iter().enumerate() {
        let event =
            GapRecord { since: Timestamp::from_micros(0), lost: 1, cause: "ä\0'".repeat(length / 4) };
        let record = Record::new(format!("r'\"%{place}"), Timestamp::from_micros(1), Event::AuditGap(event));
        let committed = store.commit(Commit::new(record.clone())).await.unwrap();
        assert_eq!(committed, Committed { revision: place as u64 + 1, index: place as u64 });
        expected.push(record);
    }
    for (stored, record) in whole_log(&store).await.iter().zip(&expected) {
        assert_eq!(stored.bytes, record.to_bytes().unwrap());
        assert_eq!(store.find(&record.id).await.unwrap().as_ref(), Some(stored));
    }
    assert_eq!(check_log(&store).await.size, 5);
    for missing in ["", "r'\"%", "r'\"%5", "R'\"%0", "a\0b"] {
        assert_eq!(store.find(missing).await.unwrap(), None, "{missing:?}");
    }
    let places = |page: Vec<StoredRecord>| page.iter().map(|stored| stored.index).collect::<Vec<_>>();
    assert_eq!(places(store.records(1, 2).await.unwrap()), [1, 2]);
    assert_eq!(places(store.records(4, 2).await.unwrap()), [4]);
    assert_eq!(places(store.records(5, 2).await.unwrap()), [0; 0]);
    assert_eq!(places(store.records(u64::MAX, 2).await.unwrap()), [0; 0]);
    assert_eq!(places(store.records(0, 0).await.unwrap()), [0; 0]);
}

/// However many commit at once, through however many handles.
pub async fn revisions_and_places_have_no_gap<H: Harness>(harness: &H) {
    let handles = [Arc::new(harness.open().await), Arc::new(harness.open().await)];
    let answers = race(&handles, 96, |task| match task % 3 {
        0 => adding(format!("t{task}"), "few", "1", Some("7")),
        1 => putting(format!("t{task}"), "entry", &[1]),
        _ => commit(format!("t{}", task - 1)),
    })
    .await;
    let mut made: Vec<Committed> =
        answers.iter().filter_map(|answer| answer.as_ref().ok().copied()).collect();
    made.sort_by_key(|committed| committed.revision);
    assert_eq!(made.len(), 7 + 32, "seven of the limited, and one of each pair of the same id");
    for (place, committed) in made.iter().enumerate() {
        assert_eq!(*committed, Committed { revision: place as u64 + 1, index: place as u64 });
    }
    assert_eq!(check_log(&*handles[0]).await, check_log(&*handles[1]).await);
}

/// The head and the leaves, page by page, re-derived from the stored bytes.
pub async fn the_frontier_is_that_of_the_records<H: Harness>(harness: &H) {
    let store = Arc::new(harness.open().await);
    let empty = check_log(&*store).await;
    assert_eq!((empty.revision, empty.size, empty.last_at, empty.epoch), (0, 0, None, crate::FIRST_EPOCH));
    for rounds in 1..=3 {
        race(&[Arc::clone(&store)], 19, |task| commit(format!("r{rounds}t{task}"))).await;
        assert_eq!(check_log(&*store).await.size, rounds * 19);
    }
    let mut leaves = Vec::new();
    loop {
        let page = store.leaves(leaves.len() as u64, 10).await.unwrap();
        if page.is_empty() {
            break;
        }
        leaves.extend(page);
    }
    let expected: Vec<_> = whole_log(&*store).await.iter().map(|stored| stored.leaf).collect();
    assert_eq!(leaves, expected);
}

/// The second record of an id is refused, so that a commit whose fate is unknown can be made again.
pub async fn an_id_is_recorded_once<H: Harness>(harness: &H) {
    let store = harness.open().await;
    store.commit(adding("once", "n", "1", None)).await.unwrap();
    let again = store.commit(adding("once", "n", "1", None)).await;
    assert!(matches!(&again, Err(CommitError::AlreadyRecorded { id }) if id == "once"), "{again:?}");
    assert_eq!(store.read(&wanted(&["n"])).await.unwrap().counter(&key("n")), Decimal::ONE);
    assert_eq!(check_log(&store).await.size, 1);
}

/// An outcome is found from its decision.
pub async fn linked_records_are_found_by_what_they_are_linked_to<H: Harness>(harness: &H) {
    let store = harness.open().await;
    for (id, to) in [("d1", None), ("o1", Some("d1")), ("d2", None), ("o2", Some("d1")), ("o3", Some("d2"))] {
        store.commit(Commit { linked_to: to.map(str::to_owned), ..commit(id) }).await.unwrap();
    }
    let linked = async |to: &str, from: u64, limit: usize| {
        let page = store.linked(to, from, limit).await.unwrap();
        page.iter().map(|stored| Record::from_bytes(&stored.bytes).unwrap().id).collect::<Vec<_>>()
    };
    assert_eq!(linked("d1", 0, 9).await, ["o1", "o2"]);
    assert_eq!(linked("d1", 0, 1).await, ["o1"]);
    assert_eq!(linked("d1", 2, 9).await, ["o2"]);
    assert_eq!(linked("d2", 0, 9).await, ["o3"]);
    assert_eq!(linked("o1", 0, 9).await, [""; 0]);
}

/// A body is found by the commitment in its record, and never replaced.
pub async fn bodies_are_found_by_their_commitment<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let body = |of: &[u8], sealed: &[u8]| Body {
        commitment: Digest::of(of),
        owner: "alice".into(),
        sealed: sealed.to_vec(),
    };
    let (first, empty, second) = (body(b"1", b"\0sealed"), body(b"2", b""), body(b"1", b"other"));
    for (id, body) in [("1", &first), ("2", &empty), ("3", &second)] {
        store.commit(Commit { body: Some(body.clone()), ..commit(id) }).await.unwrap();
    }
    assert_eq!(store.body(&first.commitment).await.unwrap(), Some(first));
    assert_eq!(store.body(&empty.commitment).await.unwrap(), Some(empty));
    assert_eq!(store.body(&Digest::of(b"3")).await.unwrap(), None);
}

/// No checkpoint is replaced, goes back, or speaks of records that are not there.
pub async fn checkpoints_only_grow_and_never_pass_the_head<H: Harness>(harness: &H) {
    let store = harness.open().await;
    assert_eq!(store.last_checkpoint().await.unwrap(), None);
    for id in ["1", "2", "3"] {
        store.commit(commit(id)).await.unwrap();
    }
    let put = async |size: u64| store.put_checkpoint(size, format!("note of {size}\n")).await;
    put(1).await.unwrap();
    for size in [0, 1] {
        let answer = put(size).await;
        assert!(matches!(answer, Err(CheckpointError::NotGrowing { last: 1, .. })), "{answer:?}");
    }
    let beyond = put(4).await;
    assert!(matches!(beyond, Err(CheckpointError::BeyondHead { size: 4, head: 3 })), "{beyond:?}");
    let nothing = store.put_checkpoint(2, String::new()).await;
    assert!(matches!(nothing, Err(CheckpointError::Malformed(_))), "{nothing:?}");
    put(3).await.unwrap();

    let other = harness.open().await;
    let sizes = async |from: u64, limit: usize| {
        let page = other.checkpoints(from, limit).await.unwrap();
        assert!(page.iter().all(|stored| stored.note == format!("note of {}\n", stored.size)));
        page.iter().map(|stored| stored.size).collect::<Vec<_>>()
    };
    assert_eq!(sizes(0, 9).await, [1, 3]);
    assert_eq!(sizes(2, 9).await, [3]);
    assert_eq!(sizes(0, 1).await, [1]);
    assert_eq!(sizes(4, 9).await, [0; 0]);
    assert_eq!(other.last_checkpoint().await.unwrap().map(|last| last.size), Some(3));
}

/// Many small steps back must not add up; an operator's word moves the instant where it says.
pub async fn the_last_instant_goes_back_only_when_confirmed<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let confirmed = |id: &str, micros: i64| {
        let event =
            LedgerRecord::ClockConfirmed { evidence: "a test".into(), was: Timestamp::from_micros(9) };
        Record::new(id, Timestamp::from_micros(micros), Event::Ledger(event))
    };
    for (record, expected) in [
        (record_at("1", 50), 50),
        (record_at("2", 40), 50),
        (record_at("3", 60), 60),
        (confirmed("4", 20), 20),
        (record_at("5", 30), 30),
        (confirmed("6", 70), 70),
        (record_at("7", -5), 70),
    ] {
        let id = record.id.clone();
        store.commit(Commit::new(record)).await.unwrap();
        let head = store.head().await.unwrap();
        assert_eq!(head.last_at, Some(Timestamp::from_micros(expected)), "after {id}");
    }
}

/// Whoever missed the new epoch changes nothing; whoever began it goes on.
pub async fn a_new_epoch_fences_every_other_handle<H: Harness>(harness: &H) {
    let (old, new) = (harness.open().await, harness.open().await);
    old.commit(commit("in the first epoch")).await.unwrap();
    let wrong = new.begin_epoch(1, epoch_record("wrong", 3)).await;
    assert!(matches!(wrong, Err(CommitError::Malformed(_))), "{wrong:?}");
    let smuggled = new.commit(Commit::new(epoch_record("smuggled", 2))).await;
    assert!(matches!(smuggled, Err(CommitError::Malformed(_))), "{smuggled:?}");
    let early = new.begin_epoch(2, epoch_record("early", 3)).await;
    assert!(matches!(early, Err(CommitError::Fenced { held: 2, stands: 1 })), "{early:?}");

    assert_eq!(new.begin_epoch(1, epoch_record("begun", 2)).await.unwrap().revision, 2);
    assert_eq!(new.head().await.unwrap().epoch, 2);
    let late = old.commit(commit("late")).await;
    assert!(matches!(late, Err(CommitError::Fenced { held: 1, stands: 2 })), "{late:?}");
    let signed = old.put_checkpoint(1, "note\n".into()).await;
    assert!(matches!(signed, Err(CheckpointError::Fenced { held: 1, stands: 2 })), "{signed:?}");
    let again = old.begin_epoch(1, epoch_record("again", 2)).await;
    assert!(matches!(again, Err(CommitError::Fenced { held: 1, stands: 2 })), "{again:?}");
    assert_eq!(old.head().await.unwrap().revision, 2, "a fenced handle still reads");

    new.commit(commit("in the second epoch")).await.unwrap();
    new.put_checkpoint(3, "note\n".into()).await.unwrap();
    harness.open().await.commit(commit("opened later")).await.unwrap();
    assert_eq!(check_log(&new).await.size, 4);
}

/// What no store would keep right is refused before it gets there.
pub async fn malformed_commits_are_refused_whole<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let body = |owner: &str, sealed: Vec<u8>| {
        Some(Body { commitment: Digest::of(b""), owner: owner.into(), sealed })
    };
    let malformed = [
        ("no id", commit("")),
        ("a long id", commit("x".repeat(crate::MAX_ID_BYTES + 1))),
        ("a control character", commit("a\0b")),
        ("an empty link", Commit { linked_to: Some(String::new()), ..commit("1") }),
        ("no owner", Commit { body: body("", vec![]), ..commit("1") }),
        ("a large body", Commit { body: body("alice", vec![0; MAX_VALUE_BYTES + 1]), ..commit("1") }),
        ("a large value", putting("1", "a", &vec![0; MAX_VALUE_BYTES + 1])),
        (
            "too large as a whole",
            Commit { puts: vec![(key("a"), vec![0; MAX_VALUE_BYTES]); 4], ..commit("1") },
        ),
        ("too many parts", Commit { deletes: vec![key("a"); MAX_PARTS + 1], ..commit("1") }),
    ];
    for (case, commit) in malformed {
        let answer = store.commit(commit).await;
        assert!(matches!(answer, Err(CommitError::Malformed(_))), "{case}: {answer:?}");
    }
    let event = GapRecord { since: Timestamp::from_micros(0), lost: 1, cause: "x".repeat(70_000) };
    let large = Record::new("1", Timestamp::from_micros(0), Event::AuditGap(event));
    assert!(matches!(store.commit(Commit::new(large)).await, Err(CommitError::Record(_))));
    assert_eq!(check_log(&store).await.size, 0);
    store.commit(Commit { deletes: vec![key("a"); MAX_PARTS], ..commit("1") }).await.unwrap();
}

/// Closing keeps what was committed and refuses what comes later.
pub async fn a_closed_handle_does_nothing_more<H: Harness>(harness: &H) {
    let (closed, other) = (harness.open().await, harness.open().await);
    closed.commit(commit("before")).await.unwrap();
    closed.close().await;
    let late = closed.commit(commit("late")).await;
    assert!(matches!(late, Err(CommitError::Unavailable { .. })), "{late:?}");
    let signed = closed.put_checkpoint(1, "note\n".into()).await;
    assert!(matches!(signed, Err(CheckpointError::Unavailable { .. })), "{signed:?}");
    let read = closed.head().await;
    assert!(matches!(read, Err(ReadError::Unavailable { .. })), "{read:?}");
    closed.close().await;
    assert_eq!(check_log(&other).await.size, 1);
    other.commit(commit("after")).await.unwrap();
}
