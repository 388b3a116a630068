//! What is particular to a file: reopening, foreign files, settings, damage, a full disk, a file that may only be read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use tempfile::TempDir;
use warrantor_model::Digest;
use warrantor_store::{
    Body, CheckpointError, Commit, CommitError, ReadError, Store,
    contract::{adding, check_log, commit, counted, decimal, key, putting, race, wanted},
};
use warrantor_store_sql::{OpenError, Options, SqliteStore};

fn place(directory: &TempDir) -> PathBuf {
    directory.path().join("warrantor.db")
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options::default()).await.unwrap()
}

async fn refused(path: &Path) -> OpenError {
    SqliteStore::open(path, Options::default()).await.expect_err("it was opened")
}

/// A connection past the store, as another program would have it.
fn past(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

fn change(path: &Path, statement: &str) {
    let connection = past(path);
    connection.execute_batch(statement).unwrap();
    connection.close().unwrap();
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let all = wanted(&["a", "n", "s/a"]);
    let store = open(&path).await;
    let everything = Commit {
        puts: vec![(key("a"), b"value".to_vec())],
        inserts: vec![counted("s/a", "n", "3")],
        ..adding("1", "n", "0.5", None)
    };
    store.commit(everything).await.unwrap();
    store.put_checkpoint(1, "note\n".into()).await.unwrap();
    let (view, head) = (store.read(&all).await.unwrap(), check_log(&store).await);
    store.close().await;

    let again = open(&path).await;
    assert_eq!(again.read(&all).await.unwrap(), view);
    assert_eq!(check_log(&again).await, head);
    assert_eq!(again.last_checkpoint().await.unwrap().unwrap().note, "note\n");
    assert_eq!(again.commit(commit("2")).await.unwrap().revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_that_make_the_database_at_the_same_time_get_the_same_one() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move { Arc::new(open(&path).await) })
        })
        .collect();
    let mut handles = Vec::new();
    for opened in opening {
        handles.push(opened.await.unwrap());
    }
    let answers = race(&handles, 32, |task| commit(format!("t{task}"))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(check_log(&*handles[0]).await.size, 32);
    let strays = fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".new-"));
    assert_eq!(strays.count(), 0, "unfinished databases were left");
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let store = open(&path).await;
    store.commit(commit("1")).await.unwrap();
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", file.file_name());
    }
    store.close().await;
    for (mode, taken) in [(0o620, false), (0o602, false), (0o640, true), (0o644, true), (0o600, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match SqliteStore::open(&path, Options::default()).await {
            Ok(_) => assert!(taken, "{mode:o} was taken"),
            Err(OpenError::Writable { mode: found, .. }) => assert!(!taken && found == mode, "{mode:o}"),
            Err(error) => panic!("{mode:o}: {error}"),
        }
    }
}

#[tokio::test]
async fn what_is_not_our_database_is_refused() {
    let directory = TempDir::new().unwrap();
    assert!(matches!(refused(directory.path()).await, OpenError::NotAFile { .. }));
    assert!(matches!(refused(&directory.path().join("none/x.db")).await, OpenError::File { .. }));

    let text = directory.path().join("text");
    fs::write(&text, "not a database ".repeat(100)).unwrap();
    fs::set_permissions(&text, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(&text).await, OpenError::Database { .. }));

    let empty = directory.path().join("empty");
    fs::write(&empty, "").unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(&empty).await, OpenError::NotOurs { found: 0, .. }));

    let path = place(&directory);
    open(&path).await.close().await;
    change(&path, "PRAGMA application_id = 7");
    assert!(matches!(refused(&path).await, OpenError::NotOurs { found: 7, .. }));
    change(&path, "PRAGMA application_id = 1463898706; PRAGMA user_version = 2");
    assert!(matches!(refused(&path).await, OpenError::Version { found: 2, .. }));
    change(&path, "PRAGMA user_version = 1");
    open(&path).await.close().await;
    change(&path, "PRAGMA journal_mode = DELETE");
    let error = refused(&path).await;
    assert!(
        matches!(&error, OpenError::Setting { name: "journal_mode", found, .. } if found == "delete"),
        "{error}"
    );
}

#[tokio::test]
async fn damage_is_named_by_table_column_and_key() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let store = open(&path).await;
    let commitment = Digest::of(b"");
    let body = Some(Body { commitment, owner: "alice".into(), sealed: vec![1] });
    store.commit(Commit { body, ..adding("1", "n", "1", None) }).await.unwrap();
    for (damage, table, column, row, reading) in [
        ("UPDATE counters SET amount = 'much'", "counters", "amount", "n", "read"),
        ("UPDATE records SET bytes = x'00'", "records", "bytes", "0", "find"),
        ("UPDATE head SET frontier = x'00'", "head", "frontier", "the only row", "head"),
        ("DELETE FROM head", "head", "one", "the only row", "head"),
    ] {
        change(&path, damage);
        let error = match reading {
            "read" => store.read(&wanted(&["n"])).await.unwrap_err(),
            "find" => store.find("1").await.unwrap_err(),
            _ => store.head().await.unwrap_err(),
        };
        let ReadError::Corrupt { table: found_table, column: found_column, key, .. } = &error else {
            panic!("{damage}: {error}")
        };
        assert_eq!((*found_table, *found_column, key.as_str()), (table, column, row), "{damage}");
    }
    let answer = store.commit(commit("2")).await;
    assert!(
        matches!(&answer, Err(CommitError::Unavailable { cause }) if cause.to_string().contains("head")),
        "{answer:?}"
    );
}

/// The header says "may be read, not written" to SQLite: the same to it as a medium that takes no writes, and true for every user.
#[tokio::test]
async fn a_file_that_may_only_be_read_is_read() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let store = open(&path).await;
    store.commit(putting("1", "a", b"value")).await.unwrap();
    store.close().await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[18] = 3;
    fs::write(&path, bytes).unwrap();

    let store = open(&path).await;
    for id in ["2", "3"] {
        let answer = store.commit(commit(id)).await;
        assert!(matches!(answer, Err(CommitError::Unavailable { .. })), "{answer:?}");
        let signed = store.put_checkpoint(1, "note\n".into()).await;
        assert!(matches!(signed, Err(CheckpointError::Unavailable { .. })), "{signed:?}");
        assert_eq!(store.read(&wanted(&["a"])).await.unwrap().entries[&key("a")].value, b"value");
        assert_eq!(check_log(&store).await.size, 1);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_commits_until_space_returns() {
    const LARGE: usize = 1 << 20;
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let unbounded = open(&path).await;
    let mut options = Options::default();
    options.max_bytes = Some(2 * LARGE as u64);
    let store = Arc::new(SqliteStore::open(&path, options).await.unwrap());
    store.commit(putting("fits", "large/1", &vec![1; LARGE])).await.unwrap();

    let answers =
        race(&[Arc::clone(&store)], 8, |task| putting(format!("t{task}"), "large/2", &vec![2; LARGE])).await;
    for answer in &answers {
        assert!(matches!(answer, Err(CommitError::Unavailable { .. })), "{answer:?}");
    }
    assert_eq!(check_log(&*store).await.size, 1, "reads go on, and nothing was stored");
    store.commit(adding("small ones still fit", "n", "1", None)).await.unwrap();

    unbounded.commit(Commit { deletes: vec![key("large/1")], ..commit("space") }).await.unwrap();
    store.commit(putting("fits again", "large/2", &vec![2; LARGE])).await.unwrap();
    assert_eq!(check_log(&*store).await.size, 4);
    assert_eq!(store.read(&wanted(&["n"])).await.unwrap().counter(&key("n")), decimal("1"));
}

#[tokio::test]
async fn a_lock_held_too_long_refuses_the_commit_and_no_more() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let mut options = Options::default();
    options.busy_timeout = Duration::from_millis(1);
    let store = SqliteStore::open(&path, options).await.unwrap();
    let other = past(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = store.commit(commit("1")).await;
    assert!(matches!(answer, Err(CommitError::Unavailable { .. })), "{answer:?}");
    assert_eq!(store.head().await.unwrap().size, 0, "reads wait for no writer");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(commit("1")).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stays_does_not_hold_up_the_writer() {
    let directory = TempDir::new().unwrap();
    let path = place(&directory);
    let store = open(&path).await;
    store.commit(commit("1")).await.unwrap();
    let slow = past(&path);
    let count = || slow.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0)).unwrap();
    slow.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), 1);
    for n in 2..20 {
        store.commit(commit(n.to_string())).await.unwrap();
    }
    assert_eq!(count(), 1, "the slow reader's snapshot moved");
    assert_eq!(check_log(&store).await.size, 19);
}
