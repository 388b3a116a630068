//! What one transaction reads and writes, between its beginning and its end, each in one trip.

use serde::Serialize;
use sqlx::{Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};
use warrantor_store::{
    Body, Cause, Head, Key, ReadError,
    batch::{Appended, Changes, Loaded, Touched},
};

use crate::{
    read::{PARTS_HEAD, no_head},
    rows::{self, At},
    sql,
};

/// The head's row was not the one that was read in the same transaction.
#[derive(Debug, thiserror::Error)]
#[error("the head moved within a transaction that holds the write lock")]
struct HeadMoved;

/// Rows as a JSON array.
pub(crate) fn json<T: Serialize>(rows: &[T]) -> Result<String, serde_json::Error> {
    serde_json::to_string(rows)
}

/// The blobs of many rows in one buffer. It begins with a byte that no row uses: of an empty blob SQLite has no address, and `substr` would give NULL.
struct Blobs(Vec<u8>);

impl Blobs {
    fn new() -> Self {
        Self(vec![0])
    }

    /// Where the next blob will begin, as `substr` counts.
    fn next(&self) -> usize {
        self.0.len().saturating_add(1)
    }
}

/// Begins a transaction that may write and loads the head and whatever a batch touches.
pub(crate) async fn begin_and_load(
    connection: &mut SqliteConnection,
    touched: &Touched,
) -> Result<(Head, Loaded), Cause> {
    let keys = |keys: &mut dyn Iterator<Item = &Key>| {
        json(&keys.map(Key::as_str).collect::<Vec<_>>()).map_err(Cause::new)
    };
    let ids = json(&touched.ids.iter().collect::<Vec<_>>()).map_err(Cause::new)?;
    let found = sqlx::query(sql::BEGIN_AND_LOAD)
        .bind(keys(&mut touched.versions.iter())?)
        .bind(keys(&mut touched.counters.iter())?)
        .bind(keys(&mut touched.members.iter())?)
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(Cause::new)?;
    let read = || {
        let head = rows::head(found.first().ok_or_else(no_head)?, PARTS_HEAD)?;
        let mut loaded = Loaded::default();
        found.iter().skip(1).try_for_each(|row| take(&mut loaded, row))?;
        Ok::<_, ReadError>((head, loaded))
    };
    read().map_err(Cause::new)
}

fn take(loaded: &mut Loaded, row: &sqlx::sqlite::SqliteRow) -> Result<(), ReadError> {
    match At::new(row, "a batch", "a row").number("part", "part")? {
        1 => {
            let key = rows::key(row, "entries")?;
            let version = At::new(row, "entries", key.as_str()).number("a", "version")?;
            loaded.versions.insert(key, version);
        }
        2 => {
            let key = rows::key(row, "counters")?;
            let amount = At::new(row, "counters", key.as_str()).amount("a", "amount")?;
            loaded.counters.insert(key, amount);
        }
        3 => {
            let key = rows::key(row, "members")?;
            let holders = At::new(row, "members", key.as_str()).number("a", "holders")?;
            loaded.holders.insert(key, holders);
        }
        _ => {
            let id = At::new(row, "records", "a row").value("key", "id")?;
            loaded.ids.insert(id);
        }
    }
    Ok(())
}

/// Writes everything that a batch changes.
pub(crate) async fn changes(
    connection: &mut SqliteConnection,
    before: u64,
    head: &Head,
    changes: &Changes,
) -> Result<(), Cause> {
    let query = entries(sqlx::query(sql::CHANGE), changes)?;
    let query = counters(query, changes)?;
    let query = members(query, changes)?;
    let query = records(query, &changes.records)?;
    let query = bodies(query, &changes.bodies)?;
    let moved = query
        .bind(number(head.revision)?)
        .bind(number(head.size)?)
        .bind(number(head.epoch)?)
        .bind(head.last_at.map(warrantor_model::Timestamp::as_micros))
        .bind(head.frontier.to_bytes())
        .bind(number(before)?)
        .fetch_all(connection)
        .await
        .map_err(Cause::new)?;
    if moved.len() == 1 { Ok(()) } else { Err(Cause::new(HeadMoved)) }
}

fn number(number: u64) -> Result<i64, Cause> {
    i64::try_from(number).map_err(Cause::new)
}

type Change<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Binds rows.
fn over<'q, T: Serialize>(query: Change<'q>, rows: &[T]) -> Result<Change<'q>, Cause> {
    Ok(query.bind(json(rows).map_err(Cause::new)?))
}

fn entries<'q>(query: Change<'q>, changes: &Changes) -> Result<Change<'q>, Cause> {
    let mut blobs = Blobs::new();
    let (mut put, mut gone) = (Vec::new(), Vec::new());
    for (key, entry) in &changes.entries {
        match entry {
            Some((version, value)) => {
                put.push((key.as_str(), version, blobs.next(), value.len()));
                blobs.0.extend_from_slice(value);
            }
            None => gone.push(key.as_str()),
        }
    }
    over(over(query, &gone)?.bind(blobs.0), &put)
}

fn counters<'q>(query: Change<'q>, changes: &Changes) -> Result<Change<'q>, Cause> {
    let (zero, put): (Vec<_>, Vec<_>) = changes.counters.iter().partition(|(_, amount)| amount.is_zero());
    let zero: Vec<_> = zero.into_iter().map(|(key, _)| key.as_str()).collect();
    let put: Vec<_> = put.into_iter().map(|(key, amount)| (key.as_str(), amount.to_string())).collect();
    over(over(query, &zero)?, &put)
}

fn members<'q>(query: Change<'q>, changes: &Changes) -> Result<Change<'q>, Cause> {
    let (gone, put): (Vec<_>, Vec<_>) = changes.holders.iter().partition(|(_, holders)| **holders == 0);
    let gone: Vec<_> = gone.into_iter().map(|(key, _)| key.as_str()).collect();
    let put: Vec<_> = put.into_iter().map(|(key, holders)| (key.as_str(), holders)).collect();
    over(over(query, &gone)?, &put)
}

fn records<'q>(query: Change<'q>, records: &[Appended]) -> Result<Change<'q>, Cause> {
    let mut blobs = Blobs::new();
    let mut put = Vec::with_capacity(records.len());
    for record in records {
        let leaf = record.leaf.to_string();
        put.push((record.index, &record.id, &record.linked_to, leaf, blobs.next(), record.bytes.len()));
        blobs.0.extend_from_slice(&record.bytes);
    }
    over(query.bind(blobs.0), &put)
}

fn bodies<'q>(query: Change<'q>, bodies: &[Body]) -> Result<Change<'q>, Cause> {
    let mut blobs = Blobs::new();
    let mut put = Vec::with_capacity(bodies.len());
    for body in bodies {
        put.push((&body.owner, body.commitment.hex(), blobs.next(), body.sealed.len()));
        blobs.0.extend_from_slice(&body.sealed);
    }
    over(query.bind(blobs.0), &put)
}
