//! SQLite passes the contract.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use tempfile::TempDir;
use warrantor_store::contract::Harness;
use warrantor_store_sql::{Options, SqliteStore};

/// A directory of its own, and one database in it.
struct Directory(TempDir);

impl Harness for Directory {
    type Store = SqliteStore;

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.0.path().join("warrantor.db"), Options::default()).await.unwrap()
    }
}

warrantor_store::contract_tests!(Directory(TempDir::new().unwrap()));
