//! Entries, counters and members.

use std::sync::Arc;

use warrantor_model::Decimal;

use super::{Harness, adding, check_log, commit, counted, decimal, key, putting, race, wanted};
use crate::{
    Add, Commit, CommitError, Committed, Entry, Expect, Insert, MAX_PAGE_BYTES, MAX_VALUE_BYTES, Remove,
    Store, View,
};

/// `Absent` and `Version` hold exactly when they are true; a failed one says what was found.
pub async fn an_entry_is_written_only_as_expected<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let expecting = |id: &str, expect: Expect| Commit {
        expect: vec![(key("a"), expect)],
        ..putting(id, "a", id.as_bytes())
    };
    let moved = async |id: &str, expect: Expect, stands: Option<u64>| {
        let answer = store.commit(expecting(id, expect)).await;
        let Err(CommitError::Moved { key: moved, expected, found }) = answer else {
            panic!("{id}: {answer:?}")
        };
        assert_eq!((moved, expected, found), (key("a"), expect, stands), "{id}");
    };

    moved("not yet there", Expect::Version(1), None).await;
    moved("never version 0", Expect::Version(0), None).await;
    assert_eq!(store.commit(expecting("first", Expect::Absent)).await.unwrap().revision, 1);
    moved("there already", Expect::Absent, Some(1)).await;
    moved("not that version", Expect::Version(2), Some(1)).await;
    assert_eq!(store.commit(expecting("second", Expect::Version(1))).await.unwrap().revision, 2);
    moved("no longer version 1", Expect::Version(1), Some(2)).await;

    let view = store.read(&wanted(&["a"])).await.unwrap();
    assert_eq!(view.entries[&key("a")], Entry { version: 2, value: b"second".to_vec() });

    store.commit(Commit { deletes: vec![key("a"), key("never")], ..commit("gone") }).await.unwrap();
    moved("gone again", Expect::Version(2), None).await;
    assert!(store.read(&wanted(&["a"])).await.unwrap().entries.is_empty());
    assert_eq!(store.commit(expecting("anew", Expect::Absent)).await.unwrap().revision, 4);
    moved("an old version never comes back", Expect::Version(2), Some(4)).await;
}

/// Of many tasks that want the last unit of a limit, one gets it.
pub async fn one_task_takes_the_last_unit<H: Harness>(harness: &H) {
    let store = Arc::new(harness.open().await);
    store.commit(adding("before", "calls", "9", Some("10"))).await.unwrap();
    let answers =
        race(&[Arc::clone(&store)], 64, |task| adding(format!("t{task}"), "calls", "1", Some("10"))).await;
    check_one_won(&answers);
    assert_eq!(store.read(&wanted(&["calls"])).await.unwrap().counter(&key("calls")), decimal("10"));
    assert_eq!(check_log(&*store).await.size, 2);
}

/// A handle knows at least what it has committed itself. A commit that rests on it is made as long as no other handle commits, and refused once one has.
pub async fn a_commit_on_a_recent_reading_is_refused_once_overtaken<H: Harness>(harness: &H) {
    let (store, other) = (harness.open().await, harness.open().await);
    let all = wanted(&["a", "n"]);
    for nth in 1..=40_u64 {
        let (view, _) = store.recent(&all).await.unwrap();
        assert_eq!((view.head.revision, view.counter(&key("n"))), (nth - 1, Decimal::from(nth - 1)));
        let commit = Commit {
            puts: vec![(key("a"), nth.to_string().into_bytes())],
            rests_on: Some(view.head.revision),
            ..adding(format!("own {nth}"), "n", "1", None)
        };
        store.commit(commit).await.unwrap();
        let (view, _) = store.recent(&all).await.unwrap();
        assert_eq!((view.head.revision, view.entries[&key("a")].version), (nth, nth));
        assert_eq!(view.entries[&key("a")].value, nth.to_string().into_bytes());
    }
    let before = store.recent(&all).await.unwrap().0.head.revision;
    other.commit(adding("other", "n", "1", None)).await.unwrap();
    let resting = |id: &str, on: u64| Commit { rests_on: Some(on), ..adding(id, "n", "1", None) };
    let answer = store.commit(resting("overtaken", before)).await;
    assert!(matches!(&answer, Err(CommitError::Overtaken { rests_on: 40, by: 41 })), "{answer:?}");
    // Read again, decide again: now it is known.
    for nth in 42..=80_u64 {
        let (view, _) = store.recent(&all).await.unwrap();
        assert_eq!((view.head.revision, view.counter(&key("n"))), (nth - 1, Decimal::from(nth - 1)));
        store.commit(resting(&format!("again {nth}"), view.head.revision)).await.unwrap();
    }
    assert_eq!(check_log(&other).await.size, 80);
}

/// The same through two handles on the same data.
pub async fn handles_share_every_counter<H: Harness>(harness: &H) {
    let handles = [Arc::new(harness.open().await), Arc::new(harness.open().await)];
    handles[0].commit(adding("before", "calls", "9", Some("10"))).await.unwrap();
    let answers = race(&handles, 64, |task| adding(format!("t{task}"), "calls", "1", Some("10"))).await;
    check_one_won(&answers);
    for store in &handles {
        assert_eq!(store.read(&wanted(&["calls"])).await.unwrap().counter(&key("calls")), decimal("10"));
        assert_eq!(check_log(&**store).await.size, 2);
    }
}

fn check_one_won(answers: &[Result<Committed, CommitError>]) {
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let CommitError::LimitReached { counter, stood_at, at_most } = answer else { panic!("{answer:?}") };
        assert_eq!((counter, *stood_at, *at_most), (&key("calls"), decimal("10"), decimal("10")));
    }
}

/// Ten times a tenth is one, and a limit is met to the last digit.
pub async fn decimals_are_exact<H: Harness>(harness: &H) {
    let store = harness.open().await;
    for tenth in 0..10 {
        store.commit(adding(format!("t{tenth}"), "sum", "0.10", Some("1.0"))).await.unwrap();
    }
    let over = store.commit(adding("over", "sum", "0.0000000000000000000000000001", Some("1"))).await;
    assert!(
        matches!(over, Err(CommitError::LimitReached { stood_at, .. }) if stood_at == Decimal::ONE),
        "{over:?}"
    );
    let nothing = store.commit(adding("nothing", "sum", "0", Some("0.99"))).await;
    assert!(
        matches!(nothing, Err(CommitError::LimitReached { .. })),
        "a charge of zero passed a limit that is exceeded"
    );
    store.commit(adding("free", "sum", "12345678901234567890.12345678", None)).await.unwrap();
    let view = store.read(&wanted(&["sum", "none"])).await.unwrap();
    assert_eq!(view.counter(&key("sum")), decimal("12345678901234567891.12345678"));
    assert_eq!(view.counter(&key("none")), Decimal::ZERO);
    assert_eq!(view.counters.len(), 1, "a counter that nobody touched was given");
}

/// More digits than a counter holds are refused, not rounded.
pub async fn a_sum_that_would_be_rounded_is_refused<H: Harness>(harness: &H) {
    let store = harness.open().await;
    store.commit(adding("all digits", "sum", "79228162514264337593543950335", None)).await.unwrap();
    for more in ["1", "0.1"] {
        let answer = store.commit(adding("more", "sum", more, None)).await;
        assert!(matches!(answer, Err(CommitError::NotExact { .. })), "{answer:?}");
    }
    store.commit(adding("less", "sum", "-79228162514264337593543950335", None)).await.unwrap();
    assert!(store.read(&wanted(&["sum"])).await.unwrap().counters.is_empty());
}

/// What is given back beyond zero is gone, and giving back meets no limit.
pub async fn giving_back_stops_at_zero<H: Harness>(harness: &H) {
    let store = harness.open().await;
    store.commit(adding("charge", "calls", "5", None)).await.unwrap();
    store.commit(adding("back", "calls", "-2", Some("1"))).await.unwrap();
    assert_eq!(store.read(&wanted(&["calls"])).await.unwrap().counter(&key("calls")), decimal("3"));
    store.commit(adding("more", "calls", "-4", None)).await.unwrap();
    store.commit(adding("untouched", "other", "-1", None)).await.unwrap();
    assert!(store.read(&wanted(&["calls", "other"])).await.unwrap().counters.is_empty());
    store.commit(adding("again", "calls", "1", Some("1"))).await.unwrap();
}

/// A replayed identifier passes once, however many present it at the same time.
pub async fn a_member_that_must_be_new_is_taken_once<H: Harness>(harness: &H) {
    let store = Arc::new(harness.open().await);
    let insert = Insert { member: key("jti/1"), must_be_new: true, counted: None };
    let answers = race(&[Arc::clone(&store)], 64, |task| Commit {
        inserts: vec![insert.clone()],
        ..commit(format!("t{task}"))
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(matches!(answer, CommitError::NotNew { member } if *member == key("jti/1")), "{answer:?}");
    }
    assert_eq!(store.read(&wanted(&["jti/1", "jti/2"])).await.unwrap().members, [key("jti/1")].into());
    let twice =
        Commit { inserts: vec![Insert { member: key("jti/2"), ..insert.clone() }; 2], ..commit("twice") };
    assert!(matches!(store.commit(twice).await, Err(CommitError::NotNew { .. })));
}

/// A set counts its members, not how often they come.
pub async fn distinct_members_are_counted_once<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let inserting = |id: &str, members: &[&str]| Commit {
        inserts: members.iter().map(|member| counted(member, "distinct", "2")).collect(),
        ..commit(id)
    };
    store.commit(inserting("a", &["set/a"])).await.unwrap();
    store.commit(inserting("a again", &["set/a", "set/a"])).await.unwrap();
    store.commit(inserting("b", &["set/b", "set/a"])).await.unwrap();
    let third = store.commit(inserting("c", &["set/c"])).await;
    assert!(
        matches!(&third, Err(CommitError::LimitReached { counter, .. }) if *counter == key("distinct")),
        "{third:?}"
    );
    store.commit(inserting("known ones still pass", &["set/a", "set/b"])).await.unwrap();
    let view = store.read(&wanted(&["distinct", "set/a", "set/b", "set/c"])).await.unwrap();
    assert_eq!(view.counter(&key("distinct")), decimal("2"));
    assert_eq!(view.members, [key("set/a"), key("set/b")].into());
}

/// Two calls used one value; when one of them gives it back, the other still counts.
pub async fn a_member_leaves_with_its_last_holder<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let insert =
        |id: &str, member: &str| Commit { inserts: vec![counted(member, "distinct", "1")], ..commit(id) };
    let remove = |id: &str| Commit {
        removes: vec![Remove { member: key("set/a"), counted: Some(key("distinct")) }],
        ..commit(id)
    };
    store.commit(insert("one", "set/a")).await.unwrap();
    store.commit(insert("two", "set/a")).await.unwrap();
    store.commit(remove("one gives back")).await.unwrap();
    let other = store.commit(insert("other", "set/b")).await;
    assert!(matches!(other, Err(CommitError::LimitReached { .. })), "{other:?}");
    store.commit(remove("two gives back")).await.unwrap();
    store.commit(remove("nobody gives back")).await.unwrap();
    let view = store.read(&wanted(&["distinct", "set/a"])).await.unwrap();
    assert!(view.members.is_empty() && view.counters.is_empty(), "{view:?}");
    store.commit(insert("room again", "set/b")).await.unwrap();
}

/// The order within a commit: removes, inserts, adds, each seeing the ones before; puts, then deletes.
pub async fn changes_within_a_commit_see_each_other<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let add = |amount: &str| Add { counter: key("n"), amount: decimal(amount), at_most: Some(decimal("2")) };
    let over = Commit { adds: vec![add("1"), add("1"), add("1")], ..commit("over") };
    assert!(
        matches!(store.commit(over).await, Err(CommitError::LimitReached { stood_at, .. }) if stood_at == decimal("2"))
    );
    store.commit(Commit { adds: vec![add("2"), add("-1"), add("1")], ..commit("exactly") }).await.unwrap();
    store.commit(Commit { inserts: vec![counted("s/a", "distinct", "1")], ..commit("a") }).await.unwrap();
    let swap = Commit {
        removes: vec![Remove { member: key("s/a"), counted: Some(key("distinct")) }],
        inserts: vec![counted("s/b", "distinct", "1")],
        puts: vec![(key("e"), b"1".to_vec()), (key("e"), b"2".to_vec()), (key("f"), vec![])],
        deletes: vec![key("f")],
        ..commit("swap")
    };
    store.commit(swap).await.unwrap();
    let view = store.read(&wanted(&["n", "distinct", "s/a", "s/b", "e", "f"])).await.unwrap();
    assert_eq!(view.members, [key("s/b")].into());
    assert_eq!(view.counters, [(key("n"), decimal("2")), (key("distinct"), decimal("1"))].into());
    assert_eq!(view.entries, [(key("e"), Entry { version: 3, value: b"2".to_vec() })].into());
}

/// Whatever condition fails, nothing of the commit is there afterwards.
pub async fn an_unmet_condition_leaves_no_trace<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let everything = |id: &str| Commit {
        expect: vec![(key("old"), Expect::Version(1))],
        puts: vec![(key("new"), b"x".to_vec()), (key("old"), b"y".to_vec())],
        deletes: vec![key("other")],
        adds: vec![Add { counter: key("n"), amount: decimal("1"), at_most: None }],
        inserts: vec![counted("s/a", "distinct", "9")],
        removes: vec![Remove { member: key("s/old"), counted: Some(key("distinct")) }],
        body: Some(body(id)),
        linked_to: Some("decision".into()),
        ..commit(id)
    };
    let before = Commit {
        puts: vec![(key("old"), b"1".to_vec()), (key("other"), b"2".to_vec())],
        inserts: vec![counted("s/old", "distinct", "9")],
        ..adding("before", "n", "1", None)
    };
    store.commit(before).await.unwrap();
    let all = wanted(&["old", "other", "new", "n", "distinct", "s/a", "s/old"]);
    let stood = store.read(&all).await.unwrap();

    let used = Insert { member: key("s/old"), must_be_new: true, counted: None };
    let full = Add { counter: key("n"), amount: decimal("1"), at_most: Some(decimal("1")) };
    let mut failing = [everything("0"), everything("1"), everything("2"), everything("before")];
    failing[0].expect.push((key("other"), Expect::Absent));
    failing[1].removes.clear();
    failing[1].inserts.push(used);
    failing[2].adds.push(full);
    for commit in failing {
        let id = commit.record.id.clone();
        store.commit(commit).await.unwrap_err();
        assert_eq!(store.read(&all).await.unwrap(), stood, "{id}");
        assert_eq!(store.body(&body(&id).commitment).await.unwrap(), None, "{id}");
        assert_eq!(store.linked("decision", 0, 9).await.unwrap(), [], "{id}");
    }
    assert_eq!(check_log(&store).await, stood.head);
    store.commit(everything("3")).await.unwrap();
    assert_ne!(store.read(&all).await.unwrap(), stood, "the commit would have changed nothing");
}

fn body(id: &str) -> crate::Body {
    let commitment = warrantor_model::Digest::of(id.as_bytes());
    crate::Body { commitment, owner: "alice".into(), sealed: b"sealed".to_vec() }
}

/// Readers see whole commits while writers go on.
pub async fn one_reading_is_of_one_head<H: Harness>(harness: &H) {
    const COMMITS: u64 = 60;
    let store = Arc::new(harness.open().await);
    let reader = Arc::new(harness.open().await);
    let writing = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 1..=COMMITS {
                let value = n.to_string().into_bytes();
                let puts = vec![(key("a"), value.clone()), (key("b"), value)];
                store.commit(Commit { puts, ..adding(format!("t{n}"), "n", "1", None) }).await.unwrap();
            }
        })
    };
    let all = wanted(&["a", "b", "n"]);
    let consistent = |view: &View| {
        let values = [key("a"), key("b")].map(|key| view.entries.get(&key).cloned());
        assert_eq!(values[0], values[1]);
        assert_eq!(view.counter(&key("n")), Decimal::from(view.head.revision));
        assert_eq!(values[0].as_ref().map_or(0, |entry| entry.version), view.head.revision);
        view.head.revision
    };
    let mut seen = 0;
    while seen < COMMITS {
        let now = consistent(&reader.read(&all).await.unwrap());
        assert!(now >= seen, "a reader went back from {seen} to {now}");
        seen = now;
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
}

/// A scan gives the keys under a key in order, in pages, and none beside them.
pub async fn a_scan_pages_through_whole_segments<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let inside: Vec<String> = (0..25).map(|n| format!("a/b/{n:02}/%_\"\\ä'")).collect();
    let beside = ["a", "a/b", "a/b!", "a/b!/x", "a/b0", "a/bc/d", "a/c", "A/b/x", "b"];
    let names = inside.iter().map(String::as_str).chain(beside);
    let puts = names.map(|name| (key(name), name.as_bytes().to_vec())).collect();
    store.commit(Commit { puts, ..commit("all") }).await.unwrap();

    let mut found = Vec::new();
    loop {
        let page = store.scan(&key("a/b"), found.last(), 10).await.unwrap();
        assert!(page.len() <= 10);
        if page.is_empty() {
            break;
        }
        assert!(page.iter().all(|(key, entry)| entry.value == key.as_str().as_bytes() && entry.version == 1));
        found.extend(page.into_iter().map(|(key, _)| key));
    }
    assert_eq!(found, inside.iter().map(|name| key(name)).collect::<Vec<_>>());
    for (under, after, limit, expected) in [
        ("a/b", Some("a/a"), 100, 25),
        ("a/b", Some("a/b/24"), 100, 1),
        ("a/b", Some("a/b0"), 100, 0),
        ("a/b", None, 0, 0),
        ("a/b/00", None, 100, 1),
        ("zzz", None, 100, 0),
        ("a", None, 100, 31),
    ] {
        let after = after.map(key);
        let page = store.scan(&key(under), after.as_ref(), limit).await.unwrap();
        assert_eq!(page.len(), expected, "under {under}, after {after:?}, limit {limit}");
    }
}

/// Many large values come in several pages, and all of them come.
pub async fn a_page_ends_at_its_bound_in_bytes<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let names = ["v/1", "v/2", "v/3", "v/4", "v/5", "v/6"];
    for name in names {
        store.commit(putting(name, name, &vec![7; MAX_VALUE_BYTES])).await.unwrap();
    }
    let fit = MAX_PAGE_BYTES / MAX_VALUE_BYTES;
    let first = store.scan(&key("v"), None, 100).await.unwrap();
    assert_eq!(first.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), names[..fit]);
    let rest = store.scan(&key("v"), first.last().map(|(key, _)| key), 100).await.unwrap();
    assert_eq!(rest.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), names[fit..]);
}

/// Empty values, every byte, and values of many pages.
pub async fn values_read_back_byte_for_byte<H: Harness>(harness: &H) {
    let store = harness.open().await;
    let every: Vec<u8> = (0..=255).collect();
    let values = [vec![], vec![0], every.clone(), every.repeat(4096)];
    let names = ["v/0", "v/1", "v/2", "v/3"];
    let puts = names.iter().zip(&values).map(|(name, value)| (key(name), value.clone())).collect();
    store.commit(Commit { puts, ..commit("all") }).await.unwrap();
    let view = store.read(&wanted(&names)).await.unwrap();
    for (name, value) in names.iter().zip(&values) {
        assert!(view.entries[&key(name)].value == *value, "{name}");
    }
}
