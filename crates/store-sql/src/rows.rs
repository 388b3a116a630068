//! Rows to values. Whatever the store would not have written is named by table, column and key.

use std::fmt::Display;

use sqlx::{Decode, Row, Sqlite, Type, sqlite::SqliteRow};
use warrantor_ledger::{Frontier, Hash, merkle::leaf_hash};
use warrantor_model::{Decimal, Timestamp};
use warrantor_store::{Head, Key, ReadError, StoredRecord};

/// A row, and where it comes from as far as that is known.
pub(crate) struct At<'r> {
    pub(crate) row: &'r SqliteRow,
    pub(crate) table: &'static str,
    pub(crate) key: String,
}

impl<'r> At<'r> {
    pub(crate) fn new(row: &'r SqliteRow, table: &'static str, key: impl Into<String>) -> Self {
        Self { row, table, key: key.into() }
    }

    /// The damage of a column.
    pub(crate) fn corrupt(&self, column: &'static str, problem: impl Display) -> ReadError {
        ReadError::Corrupt { table: self.table, column, key: self.key.clone(), problem: problem.to_string() }
    }

    /// The value selected as `name`, which is the table's `column`.
    pub(crate) fn value<T>(&self, name: &str, column: &'static str) -> Result<T, ReadError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        self.row.try_get(name).map_err(|error| self.corrupt(column, error))
    }

    pub(crate) fn number(&self, name: &str, column: &'static str) -> Result<u64, ReadError> {
        let number: i64 = self.value(name, column)?;
        u64::try_from(number).map_err(|_| self.corrupt(column, format_args!("{number} is negative")))
    }

    pub(crate) fn amount(&self, name: &str, column: &'static str) -> Result<Decimal, ReadError> {
        let text: &str = self.value(name, column)?;
        Decimal::from_str_exact(text)
            .map_err(|error| self.corrupt(column, format_args!("{text:?} is no amount: {error}")))
    }

    pub(crate) fn hash(&self, name: &str, column: &'static str) -> Result<Hash, ReadError> {
        let bytes: &[u8] = self.value(name, column)?;
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) => Ok(Hash::from_bytes(bytes)),
            Err(_) => Err(self.corrupt(column, format_args!("a hash of {} bytes", bytes.len()))),
        }
    }
}

/// A key of this table.
pub(crate) fn key(row: &SqliteRow, table: &'static str) -> Result<Key, ReadError> {
    let at = At::new(row, table, "a row");
    let text: String = at.value("key", "key")?;
    Key::new(text.clone()).map_err(|error| At::new(row, table, text).corrupt("key", error))
}

/// The head, from columns of these names.
pub(crate) fn head(row: &SqliteRow, names: [&str; 5]) -> Result<Head, ReadError> {
    let [revision, size, epoch, last_at, frontier] = names;
    let at = At::new(row, "head", "the only row");
    let (revision, size) = (at.number(revision, "revision")?, at.number(size, "size")?);
    let bytes: &[u8] = at.value(frontier, "frontier")?;
    let frontier = Frontier::from_bytes(bytes).map_err(|error| at.corrupt("frontier", error))?;
    if frontier.size() != size {
        let problem = format!("it covers {} records where the head has {size}", frontier.size());
        return Err(at.corrupt("frontier", problem));
    }
    let last_at: Option<i64> = at.value(last_at, "last_at")?;
    Ok(Head {
        revision,
        size,
        root: frontier.root(),
        frontier,
        last_at: last_at.map(Timestamp::from_micros),
        epoch: at.number(epoch, "epoch")?,
    })
}

/// A record as it is stored. Whether its leaf is that of its bytes is for an auditor to judge, who has to see both.
pub(crate) fn stored(row: &SqliteRow) -> Result<StoredRecord, ReadError> {
    let index = At::new(row, "records", "a row").number("place", "place")?;
    let at = At::new(row, "records", index.to_string());
    let (leaf, bytes) = (at.hash("leaf", "leaf")?, at.value::<Vec<u8>>("bytes", "bytes")?);
    Ok(StoredRecord { index, bytes, leaf })
}

/// A record whose leaf is that of its bytes.
pub(crate) fn record(row: &SqliteRow) -> Result<StoredRecord, ReadError> {
    let record = stored(row)?;
    if record.leaf != leaf_hash(&record.bytes) {
        let at = At::new(row, "records", record.index.to_string());
        return Err(at.corrupt("bytes", "they do not hash to the leaf"));
    }
    Ok(record)
}
