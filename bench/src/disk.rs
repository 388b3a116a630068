//! Durable records a second against appending and syncing the same bytes.
//!
//! Two floors. Each writer on its own: so many threads that append a record's bytes to one file and call `fdatasync`, which is what a log
//! without a queue does. And the best any log could do on this disk: one thread that appends the bytes of that many records at once and
//! syncs once for all of them. Ours is the store as the engine uses it: state and record in one transaction, group commit over whatever is queued.

use std::{
    fs::File,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use warrantor_model::{
    Decimal, Timestamp,
    record::{Event, Outcome, OutcomeRecord, Record},
};
use warrantor_store::{Add, Commit, Key, Store};
use warrantor_store_sql::{Options, SqliteStore};

use crate::{
    median,
    report::{Part, Row},
};

/// How long a round measures.
const ROUND: Duration = Duration::from_millis(700);

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Part> {
    let directory = tempfile::tempdir_in(".").context("the benchmark needs a directory on a real disk")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bytes = record(0).to_bytes()?.len();
    let mut rows = Vec::new();
    for writers in [1usize, 16, 256] {
        let (mut ours, mut each, mut batched) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let path = directory.path().join(format!("store-{writers}-{round}"));
            ours.push(runtime.block_on(store(path, writers))?);
            each.push(append_each(
                &directory.path().join(format!("each-{writers}-{round}")),
                writers,
                bytes,
            )?);
            batched.push(append(
                &directory.path().join(format!("batched-{writers}-{round}")),
                writers,
                bytes,
            )?);
        }
        let (ours, each, batched) = (median(ours), median(each), median(batched));
        for (what, floor, aim) in
            [("each syncs its own", each, "≥ 60 % at 256"), ("perfect batches", batched, "")]
        {
            rows.push(Row {
                what: format!("{writers} writers, against: {what}"),
                ours: format!("{ours:.0}/s"),
                against: format!("{floor:.0}/s"),
                ratio: format!("{:.0} %", 100.0 * ours / floor),
                aim: if writers == 256 { aim } else { "" },
            });
        }
    }
    Ok(Part {
        title: "Durable records",
        method: format!(
            "{rounds} alternating rounds of {} ms. Warrantor: one commit a record through the SQLite store (WAL, `synchronous=FULL`), with one \
             counter charged, each writer waiting for its own to be durable. Against the same {bytes} bytes appended to one file and made durable by \
             `fdatasync`, a log without state, index, hash tree or conditions: once by as many threads that each sync their own record, once by one \
             thread that appends a record for each writer and syncs once for all of them, which no log that answers its writers can reach.",
            ROUND.as_millis()
        ),
        rows,
    })
}

fn record(n: u64) -> Record {
    let event = Event::Outcome(OutcomeRecord {
        decision: format!("d{n:028}"),
        outcome: Outcome::Succeeded,
        body: None,
        bytes: 2000,
        given_back: vec!["x".repeat(800)],
        micros: 1500,
        labels: Vec::new(),
    });
    Record::new(format!("d{n:028}.outcome"), Timestamp::from_micros(1_790_000_000_000_000), event)
}

async fn store(path: std::path::PathBuf, writers: usize) -> anyhow::Result<f64> {
    let store = Arc::new(SqliteStore::open(path, Options::default()).await?);
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut count = 0u64;
            while begun.elapsed() < ROUND {
                let number = u64::try_from(writer).unwrap_or(0).saturating_mul(1 << 40).saturating_add(count);
                let mut commit = Commit::new(record(number));
                let counter = Key::new(format!("limit/m{}/calls", writer % 8))?;
                commit.adds.push(Add { counter, amount: Decimal::ONE, at_most: None });
                store.commit(commit).await?;
                count = count.saturating_add(1);
            }
            anyhow::Ok(count)
        });
    }
    let mut total = 0u64;
    while let Some(count) = tasks.join_next().await {
        total = total.saturating_add(count??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    store.close().await;
    Ok(f64::from(u32::try_from(total)?) / seconds)
}

/// As many threads as writers, each appending and syncing its own records.
fn append_each(path: &std::path::Path, writers: usize, bytes: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let path = path.to_owned();
            std::thread::spawn(move || -> anyhow::Result<u32> {
                let mut file = File::options().create(true).append(true).open(path)?;
                let record = vec![7u8; bytes];
                let mut count = 0u32;
                while begun.elapsed() < ROUND {
                    file.write_all(&record)?;
                    rustix::fs::fdatasync(&file)?;
                    count = count.saturating_add(1);
                }
                Ok(count)
            })
        })
        .collect();
    let mut total = 0u32;
    for thread in threads {
        let count = thread.join().map_err(|_| anyhow::anyhow!("a writer of the floor panicked"))??;
        total = total.saturating_add(count);
    }
    Ok(f64::from(total) / begun.elapsed().as_secs_f64())
}

/// One thread that appends for all writers at once.
fn append(path: &std::path::Path, writers: usize, bytes: usize) -> anyhow::Result<f64> {
    let mut file = File::create(path)?;
    let batch = vec![7u8; bytes.saturating_mul(writers)];
    let begun = Instant::now();
    let mut batches = 0u32;
    while begun.elapsed() < ROUND {
        file.write_all(&batch)?;
        rustix::fs::fdatasync(&file)?;
        batches = batches.saturating_add(1);
    }
    Ok(f64::from(batches) * f64::from(u32::try_from(writers)?) / begun.elapsed().as_secs_f64())
}
