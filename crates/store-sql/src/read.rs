//! Reading: each reading is one statement, hence of one snapshot, and of bounded size.

use sqlx::{
    Sqlite, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use warrantor_ledger::Hash;
use warrantor_model::Digest;
use warrantor_store::{
    Body, Entry, Head, Key, MAX_PAGE_BYTES, ReadError, StoredCheckpoint, StoredRecord, View, Wanted, page,
};

use crate::{
    rows::{self, At},
    sql,
    write::json,
};

/// Names of the head's columns in a statement of parts.
pub(crate) const PARTS_HEAD: [&str; 5] = ["a", "b", "c", "d", "bytes"];
const HEAD: [&str; 5] = ["revision", "size", "epoch", "last_at", "frontier"];

/// The head's row is not there.
pub(crate) fn no_head() -> ReadError {
    ReadError::Corrupt {
        table: "head",
        column: "one",
        key: "the only row".into(),
        problem: "it is missing".into(),
    }
}

/// Runs a statement. A connection that fails is closed; the next reading opens another.
async fn rows(
    readers: &SqlitePool,
    query: Query<'_, Sqlite, SqliteArguments>,
) -> Result<Vec<SqliteRow>, ReadError> {
    let mut connection = readers.acquire().await.map_err(ReadError::unavailable)?;
    let rows = query.fetch_all(&mut *connection).await;
    if rows.is_err() {
        connection.close_on_drop();
    }
    rows.map_err(ReadError::unavailable)
}

/// A place or size as the database counts: none lies beyond its greatest.
fn bounded(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn limited(limit: usize) -> i64 {
    i64::try_from(page(limit)).unwrap_or(i64::MAX)
}

fn page_bytes() -> i64 {
    i64::try_from(MAX_PAGE_BYTES).unwrap_or(i64::MAX)
}

pub(crate) async fn head(readers: &SqlitePool) -> Result<Head, ReadError> {
    let found = rows(readers, sqlx::query(sql::HEAD)).await?;
    rows::head(found.first().ok_or_else(no_head)?, HEAD)
}

pub(crate) async fn view(readers: &SqlitePool, wanted: &Wanted) -> Result<View, ReadError> {
    let keys = |keys: &mut dyn Iterator<Item = &Key>| {
        json(&keys.map(Key::as_str).collect::<Vec<_>>()).map_err(ReadError::unavailable)
    };
    let query = sqlx::query(sql::READ)
        .bind(keys(&mut wanted.entries.iter())?)
        .bind(keys(&mut wanted.counters.iter())?)
        .bind(keys(&mut wanted.members.iter())?);
    let found = rows(readers, query).await?;
    let head = rows::head(found.first().ok_or_else(no_head)?, PARTS_HEAD)?;
    let mut view = View {
        head,
        entries: std::collections::BTreeMap::new(),
        counters: std::collections::BTreeMap::new(),
        members: std::collections::BTreeSet::new(),
    };
    for row in found.iter().skip(1) {
        take(&mut view, row)?;
    }
    Ok(view)
}

fn take(view: &mut View, row: &SqliteRow) -> Result<(), ReadError> {
    match At::new(row, "a reading", "a row").number("part", "part")? {
        1 => {
            let key = rows::key(row, "entries")?;
            let at = At::new(row, "entries", key.as_str());
            let entry = Entry { version: at.number("a", "version")?, value: at.value("bytes", "value")? };
            view.entries.insert(key, entry);
        }
        2 => {
            let key = rows::key(row, "counters")?;
            let amount = At::new(row, "counters", key.as_str()).amount("a", "amount")?;
            if !amount.is_zero() {
                view.counters.insert(key, amount);
            }
        }
        _ => {
            view.members.insert(rows::key(row, "members")?);
        }
    }
    Ok(())
}

pub(crate) async fn scan(
    readers: &SqlitePool,
    under: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<(Key, Entry)>, ReadError> {
    // The keys under `a` begin with `a/`; `0` is the byte after `/`, so `a0` is the first text beyond them all.
    let (first, beyond) = (format!("{under}/"), format!("{under}0"));
    let from = after.map(Key::as_str).filter(|after| *after > first.as_str()).unwrap_or(&first);
    let query = sqlx::query(sql::SCAN).bind(from).bind(&beyond).bind(limited(limit)).bind(page_bytes());
    rows(readers, query)
        .await?
        .iter()
        .map(|row| {
            let key = rows::key(row, "entries")?;
            let at = At::new(row, "entries", key.as_str());
            let entry =
                Entry { version: at.number("version", "version")?, value: at.value("value", "value")? };
            Ok((key, entry))
        })
        .collect()
}

pub(crate) async fn records(
    readers: &SqlitePool,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    let query = sqlx::query(sql::RECORDS).bind(bounded(from)).bind(limited(limit)).bind(page_bytes());
    rows(readers, query).await?.iter().map(rows::stored).collect()
}

pub(crate) async fn linked(
    readers: &SqlitePool,
    to: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    let query = sqlx::query(sql::LINKED).bind(bounded(from)).bind(limited(limit)).bind(page_bytes()).bind(to);
    rows(readers, query).await?.iter().map(rows::record).collect()
}

pub(crate) async fn find(readers: &SqlitePool, id: &str) -> Result<Option<StoredRecord>, ReadError> {
    rows(readers, sqlx::query(sql::FIND).bind(id)).await?.first().map(rows::record).transpose()
}

pub(crate) async fn leaves(readers: &SqlitePool, from: u64, limit: usize) -> Result<Vec<Hash>, ReadError> {
    let query = sqlx::query(sql::LEAVES).bind(bounded(from)).bind(limited(limit));
    rows(readers, query)
        .await?
        .iter()
        .map(|row| {
            let place = At::new(row, "records", "a row").number("place", "place")?;
            At::new(row, "records", place.to_string()).hash("leaf", "leaf")
        })
        .collect()
}

pub(crate) async fn body(readers: &SqlitePool, commitment: &Digest) -> Result<Option<Body>, ReadError> {
    let found = rows(readers, sqlx::query(sql::BODY).bind(commitment.as_bytes().as_slice())).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let at = At::new(row, "bodies", commitment.to_string());
    let (owner, sealed) = (at.value("owner", "owner")?, at.value("sealed", "sealed")?);
    Ok(Some(Body { commitment: *commitment, owner, sealed }))
}

fn checkpoint(row: &SqliteRow) -> Result<StoredCheckpoint, ReadError> {
    let size = At::new(row, "checkpoints", "a row").number("size", "size")?;
    Ok(StoredCheckpoint { size, note: At::new(row, "checkpoints", size.to_string()).value("note", "note")? })
}

pub(crate) async fn checkpoints(
    readers: &SqlitePool,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredCheckpoint>, ReadError> {
    let query = sqlx::query(sql::CHECKPOINTS).bind(bounded(from)).bind(limited(limit));
    rows(readers, query).await?.iter().map(checkpoint).collect()
}

pub(crate) async fn last_checkpoint(readers: &SqlitePool) -> Result<Option<StoredCheckpoint>, ReadError> {
    rows(readers, sqlx::query(sql::LAST_CHECKPOINT)).await?.first().map(checkpoint).transpose()
}
