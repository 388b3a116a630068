//! Reading: each reading is of one snapshot and of bounded size.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use warrantor_ledger::Hash;
use warrantor_model::Digest;
use warrantor_store::{
    Body, Entry, Key, MAX_PAGE_BYTES, ReadError, StoredCheckpoint, StoredRecord, View, Wanted, page,
};

use crate::{
    rows::{self, At, all, one},
    sql,
};

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

pub(crate) fn view(connection: &Connection, wanted: &Wanted) -> Result<View, ReadError> {
    // Whatever comes of it, the transaction ends when this is dropped.
    let _snapshot = connection.unchecked_transaction().map_err(ReadError::unavailable)?;
    let mut view = View {
        head: rows::head(connection)?,
        entries: BTreeMap::new(),
        counters: BTreeMap::new(),
        members: BTreeSet::new(),
    };
    for key in &wanted.entries {
        let entry = one(connection, sql::ENTRY, [key.as_str()], |row| {
            let at = At::new(row, "entries", key.as_str());
            Ok(Entry { version: at.number("version")?, value: at.value("value")? })
        })?;
        view.entries.extend(entry.map(|entry| (key.clone(), entry)));
    }
    for key in &wanted.counters {
        let amount = counter(connection, key)?.filter(|amount| !amount.is_zero());
        view.counters.extend(amount.map(|amount| (key.clone(), amount)));
    }
    for key in &wanted.members {
        view.members.extend(holders(connection, key)?.map(|_| key.clone()));
    }
    Ok(view)
}

pub(crate) fn counter(
    connection: &Connection,
    key: &Key,
) -> Result<Option<warrantor_model::Decimal>, ReadError> {
    one(connection, sql::COUNTER, [key.as_str()], |row| {
        At::new(row, "counters", key.as_str()).amount("amount")
    })
}

pub(crate) fn holders(connection: &Connection, key: &Key) -> Result<Option<u64>, ReadError> {
    one(connection, sql::HOLDERS, [key.as_str()], |row| {
        At::new(row, "members", key.as_str()).number("holders")
    })
}

pub(crate) fn version(connection: &Connection, key: &Key) -> Result<Option<u64>, ReadError> {
    one(connection, sql::VERSION, [key.as_str()], |row| {
        At::new(row, "entries", key.as_str()).number("version")
    })
}

pub(crate) fn scan(
    connection: &Connection,
    under: &Key,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<(Key, Entry)>, ReadError> {
    // The keys under `a` begin with `a/`; `0` is the byte after `/`, so `a0` is the first text beyond them all.
    let (first, beyond) = (format!("{under}/"), format!("{under}0"));
    let from = after.map(Key::as_str).filter(|after| *after > first.as_str()).unwrap_or(&first);
    all(connection, sql::SCAN, (from, &beyond, limited(limit), page_bytes()), |row| {
        let text: String = At::new(row, "entries", "a row").value("key")?;
        let at = At::new(row, "entries", text.clone());
        let key = Key::new(text).map_err(|error| at.corrupt("key", error))?;
        Ok((key, Entry { version: at.number("version")?, value: at.value("value")? }))
    })
}

pub(crate) fn records(
    connection: &Connection,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    all(connection, sql::RECORDS, (bounded(from), limited(limit), page_bytes()), rows::stored)
}

pub(crate) fn linked(
    connection: &Connection,
    to: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredRecord>, ReadError> {
    all(connection, sql::LINKED, (bounded(from), limited(limit), page_bytes(), to), rows::record)
}

pub(crate) fn find(connection: &Connection, id: &str) -> Result<Option<StoredRecord>, ReadError> {
    one(connection, sql::FIND, [id], rows::record)
}

pub(crate) fn leaves(connection: &Connection, from: u64, limit: usize) -> Result<Vec<Hash>, ReadError> {
    all(connection, sql::LEAVES, (bounded(from), limited(limit)), |row| {
        let place = At::new(row, "records", "a row").number("place")?;
        At::new(row, "records", place.to_string()).hash("leaf")
    })
}

pub(crate) fn body(connection: &Connection, commitment: &Digest) -> Result<Option<Body>, ReadError> {
    one(connection, sql::BODY, [commitment.as_bytes().as_slice()], |row| {
        let at = At::new(row, "bodies", commitment.to_string());
        Ok(Body { commitment: *commitment, owner: at.value("owner")?, sealed: at.value("sealed")? })
    })
}

fn checkpoint(row: &rusqlite::Row<'_>) -> Result<StoredCheckpoint, ReadError> {
    let size = At::new(row, "checkpoints", "a row").number("size")?;
    Ok(StoredCheckpoint { size, note: At::new(row, "checkpoints", size.to_string()).value("note")? })
}

pub(crate) fn checkpoints(
    connection: &Connection,
    from: u64,
    limit: usize,
) -> Result<Vec<StoredCheckpoint>, ReadError> {
    all(connection, sql::CHECKPOINTS, (bounded(from), limited(limit)), checkpoint)
}

pub(crate) fn last_checkpoint(connection: &Connection) -> Result<Option<StoredCheckpoint>, ReadError> {
    one(connection, sql::LAST_CHECKPOINT, [], checkpoint)
}
