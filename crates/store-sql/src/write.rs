//! What one transaction reads and writes, between its beginning and its end.

use rusqlite::{Connection, Params};
use warrantor_store::{
    Cause, Head, ReadError,
    batch::{Changes, Loaded, Touched},
};

use crate::{
    read,
    rows::{self, one},
    sql,
};

/// The head's row was not the one that was read in the same transaction.
#[derive(Debug, thiserror::Error)]
#[error("the head moved within a transaction that holds the write lock")]
struct HeadMoved;

/// Begins a transaction that may write: takes the write lock and reads the head.
pub(crate) fn begin(connection: &Connection) -> Result<Head, Cause> {
    run(connection, sql::BEGIN, [])?;
    rows::head(connection).map_err(Cause::new)
}

/// Loads whatever a batch touches.
pub(crate) fn load(connection: &Connection, touched: &Touched, loaded: &mut Loaded) -> Result<(), Cause> {
    let mut read = || {
        for key in &touched.versions {
            loaded.versions.extend(read::version(connection, key)?.map(|version| (key.clone(), version)));
        }
        for key in &touched.counters {
            loaded.counters.extend(read::counter(connection, key)?.map(|amount| (key.clone(), amount)));
        }
        for key in &touched.members {
            loaded.holders.extend(read::holders(connection, key)?.map(|holders| (key.clone(), holders)));
        }
        for id in &touched.ids {
            loaded.ids.extend(one(connection, sql::HAS_RECORD, [id], |_| Ok(id.clone()))?);
        }
        Ok::<_, ReadError>(())
    };
    read().map_err(Cause::new)
}

/// Writes everything that a batch changes.
pub(crate) fn changes(
    connection: &Connection,
    before: u64,
    head: &Head,
    changes: &Changes,
) -> Result<(), Cause> {
    for (key, entry) in &changes.entries {
        match entry {
            Some((version, value)) => {
                run(connection, sql::PUT_ENTRY, (key.as_str(), number(*version)?, value))?
            }
            None => run(connection, sql::DELETE_ENTRY, [key.as_str()])?,
        };
    }
    for (key, amount) in &changes.counters {
        match amount.is_zero() {
            true => run(connection, sql::DELETE_COUNTER, [key.as_str()])?,
            false => run(connection, sql::PUT_COUNTER, (key.as_str(), amount.to_string()))?,
        };
    }
    for (key, holders) in &changes.holders {
        match holders {
            0 => run(connection, sql::DELETE_MEMBER, [key.as_str()])?,
            holders => run(connection, sql::PUT_MEMBER, (key.as_str(), number(*holders)?))?,
        };
    }
    for record in &changes.records {
        let row =
            (number(record.index)?, &record.id, &record.linked_to, record.leaf.as_bytes(), &record.bytes);
        run(connection, sql::PUT_RECORD, row)?;
    }
    for body in &changes.bodies {
        let commitment = body.commitment.as_bytes().as_slice();
        run(connection, sql::PUT_BODY, (commitment, &body.owner, &body.sealed))?;
    }
    let moved = run(
        connection,
        sql::MOVE_HEAD,
        (
            number(head.revision)?,
            number(head.size)?,
            number(head.epoch)?,
            head.last_at.map(warrantor_model::Timestamp::as_micros),
            head.frontier.to_bytes(),
            number(before)?,
        ),
    )?;
    if moved == 1 { Ok(()) } else { Err(Cause::new(HeadMoved)) }
}

fn run(connection: &Connection, statement: &str, parameters: impl Params) -> Result<usize, Cause> {
    let mut statement = connection.prepare_cached(statement).map_err(Cause::new)?;
    statement.execute(parameters).map_err(Cause::new)
}

fn number(number: u64) -> Result<i64, Cause> {
    i64::try_from(number).map_err(Cause::new)
}
