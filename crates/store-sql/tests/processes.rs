//! Several processes on one file, and one killed in the middle of its work.
//!
//! The other processes are this test program again, told by its environment what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test code"
)]

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use tempfile::TempDir;
use warrantor_store::{
    Commit, Store,
    contract::{adding, check_log, commit, decimal, key, race, wanted},
};
use warrantor_store_sql::{Options, SqliteStore};

const PATH: &str = "WARRANTOR_TEST_PATH";
const NAME: &str = "WARRANTOR_TEST_NAME";
const WORK: &str = "WARRANTOR_TEST_WORK";

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "no test by itself: what the other processes do"]
async fn other_process() {
    let [path, name, work] = [PATH, NAME, WORK].map(|variable| env::var(variable).unwrap());
    let store = Arc::new(open(path.as_ref()).await);
    match work.as_str() {
        "race" => {
            let answers =
                race(&[Arc::clone(&store)], 40, |n| adding(format!("{name}-{n}"), "n", "1", Some("100")))
                    .await;
            println!("\npassed {}", answers.iter().filter(|answer| answer.is_ok()).count());
        }
        _ => {
            for round in 0_u64.. {
                let answers =
                    race(&[Arc::clone(&store)], 8, |n| adding(format!("{name}-{round}-{n}"), "n", "1", None))
                        .await;
                for answer in answers {
                    println!("\nstored {}", answer.unwrap().index);
                }
            }
        }
    }
}

fn start(path: &Path, name: &str, work: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "other_process", "--ignored", "--nocapture", "--test-threads", "1"])
        .envs([(NAME, name), (WORK, work)])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn numbers(child: &mut Child, word: &'static str) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.filter_map(move |line| line.unwrap().strip_prefix(word)?.trim().parse().ok())
}

#[tokio::test]
async fn processes_share_every_counter() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("warrantor.db");
    let mut children: Vec<_> = ["a", "b", "c"].iter().map(|name| start(&path, name, "race")).collect();
    let mut passed = 0;
    for child in &mut children {
        passed += numbers(child, "passed ").sum::<u64>();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(passed, 100, "120 tried for 100 units");
    let store = open(&path).await;
    assert_eq!(store.read(&wanted(&["n"])).await.unwrap().counter(&key("n")), decimal("100"));
    assert_eq!(check_log(&store).await.size, 100);
}

#[tokio::test]
async fn a_process_killed_at_any_instant_loses_nothing_it_acknowledged() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("warrantor.db");
    let store = open(&path).await;
    for victim in [1, 30, 77] {
        let before = store.head().await.unwrap().size;
        let mut child = start(&path, &format!("victim-{victim}"), "until killed");
        let mut stored = numbers(&mut child, "stored ");
        let acknowledged = stored.by_ref().take(victim).max().unwrap();
        child.kill().unwrap();
        let acknowledged = stored.max().unwrap_or(0).max(acknowledged);
        child.wait().unwrap();

        let head = check_log(&store).await;
        assert!(head.size > acknowledged && acknowledged >= before, "{} of {acknowledged}", head.size);
        let charged = store.read(&wanted(&["n"])).await.unwrap().counter(&key("n"));
        let ours = store.linked("ours", 0, 9).await.unwrap().len() as u64;
        assert_eq!(charged, (head.size - ours).into(), "state and record parted");
        let linked = Commit { linked_to: Some("ours".into()), ..commit(format!("after {victim}")) };
        store.commit(linked).await.unwrap();
    }
}
