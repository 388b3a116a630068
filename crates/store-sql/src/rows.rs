//! Rows to values. Whatever the store would not have written is named by table, column and key.

use std::{borrow::Cow, fmt::Display};

use rusqlite::{Connection, Params, Row, types::FromSql};
use warrantor_ledger::{Frontier, Hash, merkle::leaf_hash};
use warrantor_model::{Decimal, Timestamp};
use warrantor_store::{Head, ReadError, StoredRecord};

use crate::sql;

/// A row, and where it comes from as far as that is known.
pub(crate) struct At<'r> {
    row: &'r Row<'r>,
    table: &'static str,
    key: Cow<'r, str>,
}

impl<'r> At<'r> {
    pub(crate) fn new(row: &'r Row<'r>, table: &'static str, key: impl Into<Cow<'r, str>>) -> Self {
        Self { row, table, key: key.into() }
    }

    /// The damage of a column.
    pub(crate) fn corrupt(&self, column: &'static str, problem: impl Display) -> ReadError {
        let key = self.key.clone().into_owned();
        ReadError::Corrupt { table: self.table, column, key, problem: problem.to_string() }
    }

    pub(crate) fn value<T: FromSql>(&self, column: &'static str) -> Result<T, ReadError> {
        self.row.get(column).map_err(|error| self.corrupt(column, error))
    }

    fn bytes(&self, column: &'static str) -> Result<&'r [u8], ReadError> {
        let value = self.row.get_ref(column).map_err(|error| self.corrupt(column, error))?;
        value.as_blob().map_err(|error| self.corrupt(column, error))
    }

    pub(crate) fn number(&self, column: &'static str) -> Result<u64, ReadError> {
        let number: i64 = self.value(column)?;
        u64::try_from(number).map_err(|_| self.corrupt(column, format_args!("{number} is negative")))
    }

    pub(crate) fn amount(&self, column: &'static str) -> Result<Decimal, ReadError> {
        let value = self.row.get_ref(column).map_err(|error| self.corrupt(column, error))?;
        let text = value.as_str().map_err(|error| self.corrupt(column, error))?;
        Decimal::from_str_exact(text)
            .map_err(|error| self.corrupt(column, format_args!("{text:?} is no amount: {error}")))
    }

    pub(crate) fn hash(&self, column: &'static str) -> Result<Hash, ReadError> {
        let bytes = self.bytes(column)?;
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(Hash::from_bytes(bytes)),
            Err(_) => Err(self.corrupt(column, format_args!("a hash of {} bytes", bytes.len()))),
        }
    }
}

/// Runs a statement, and reads each row that it gives.
pub(crate) fn all<T>(
    connection: &Connection,
    statement: &str,
    parameters: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, ReadError> {
    let mut statement = connection.prepare_cached(statement).map_err(ReadError::unavailable)?;
    let mut rows = statement.query(parameters).map_err(ReadError::unavailable)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(ReadError::unavailable)? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Runs a statement that gives one row at most.
pub(crate) fn one<T>(
    connection: &Connection,
    statement: &str,
    parameters: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T, ReadError>,
) -> Result<Option<T>, ReadError> {
    Ok(all(connection, statement, parameters, read)?.pop())
}

/// The head.
pub(crate) fn head(connection: &Connection) -> Result<Head, ReadError> {
    one(connection, sql::HEAD, [], read_head)?.ok_or_else(|| ReadError::Corrupt {
        table: "head",
        column: "one",
        key: "the only row".into(),
        problem: "it is missing".into(),
    })
}

fn read_head(row: &Row<'_>) -> Result<Head, ReadError> {
    let at = At::new(row, "head", "the only row");
    let (revision, size) = (at.number("revision")?, at.number("size")?);
    let frontier =
        Frontier::from_bytes(at.bytes("frontier")?).map_err(|error| at.corrupt("frontier", error))?;
    if frontier.size() != size {
        let problem = format!("it covers {} records where the head has {size}", frontier.size());
        return Err(at.corrupt("frontier", problem));
    }
    let last_at: Option<i64> = at.value("last_at")?;
    Ok(Head {
        revision,
        size,
        root: frontier.root(),
        frontier,
        last_at: last_at.map(Timestamp::from_micros),
        epoch: at.number("epoch")?,
    })
}

/// A record as it is stored. Whether its leaf is that of its bytes is for an auditor to judge, who has to see both.
pub(crate) fn stored(row: &Row<'_>) -> Result<StoredRecord, ReadError> {
    let index = At::new(row, "records", "a row").number("place")?;
    let at = At::new(row, "records", index.to_string());
    Ok(StoredRecord { index, bytes: at.value("bytes")?, leaf: at.hash("leaf")? })
}

/// A record whose leaf is that of its bytes.
pub(crate) fn record(row: &Row<'_>) -> Result<StoredRecord, ReadError> {
    let record = stored(row)?;
    if record.leaf != leaf_hash(&record.bytes) {
        let at = At::new(row, "records", record.index.to_string());
        return Err(at.corrupt("bytes", "they do not hash to the leaf"));
    }
    Ok(record)
}
