//! The database file: made whole or not at all, opened only as what it must be.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use thiserror::Error;
use warrantor_ledger::Frontier;
use warrantor_store::{Cause, FIRST_EPOCH, ReadError};

use crate::sql;

/// SQLite's default, which is also that of the machines we meet.
const PAGE_BYTES: u64 = 4096;
/// What the write-ahead log is cut to once a reader no longer holds it at a greater length.
const WAL_BYTES: u64 = 64 << 20;

/// How a store is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long to wait for another process that writes.
    pub busy_timeout: Duration,
    /// Most bytes the database file may grow to through this handle; `None` leaves it to the disk. Commits beyond are `Unavailable`.
    pub max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5), max_bytes: None }
    }
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file could not be made or looked at.
    #[error("cannot use {}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Something that is no file stands there.
    #[error("{} is no regular file: name the path of a store, or of none yet", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// Others may write to the file.
    #[error("{} may be written by others (mode {mode:03o}): run `chmod 600` on it once its content is known to be good", path.display())]
    Writable {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A database of another program.
    #[error("{} is not a store of Warrantor (application id {found:#x}): name another path", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// What its header says.
        found: i64,
    },
    /// Tables of a version that this program does not know.
    #[error("{} has tables of version {found}; this program knows version {}: use the program that fits", path.display(), sql::USER_VERSION)]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A setting is not in force although it was asked for.
    #[error("{}: {name} is {found}, and must be {expected} for records to be durable; restore the file or its setting", path.display())]
    Setting {
        /// Which file.
        path: PathBuf,
        /// The setting.
        name: &'static str,
        /// What it must be.
        expected: String,
        /// What was read back.
        found: String,
    },
    /// The database does not answer.
    #[error("cannot open the database {}: {cause}", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// The head cannot be read.
    #[error(transparent)]
    Head(#[from] ReadError),
}

/// Which side of the store a connection serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Writer,
    Reader,
}

/// A database file and how to open it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
}

impl File {
    /// Makes the file unless it is there, and checks that only its owner may write it.
    pub(crate) async fn prepare(&self) -> Result<(), OpenError> {
        // Looked at by name only. To open and close it here would drop the locks that other handles of this process hold on it: POSIX
        // record locks belong to the process and end with any descriptor.
        match fs::metadata(&self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create().await?,
            Err(cause) => return Err(self.failed(cause)),
        }
        let found = fs::metadata(&self.path).map_err(|cause| self.failed(cause))?;
        if !found.is_file() {
            return Err(OpenError::NotAFile { path: self.path.clone() });
        }
        self.check_mode(&found)
    }

    /// Opens a connection and refuses it unless every setting is in force.
    pub(crate) async fn connect(&self, side: Side) -> Result<SqliteConnection, OpenError> {
        let mut connection = self.settings(side).connect().await.map_err(|error| self.database(error))?;
        self.check(&mut connection, side).await?;
        Ok(connection)
    }

    pub(crate) fn settings(&self, side: Side) -> SqliteConnectOptions {
        let settings = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(false)
            .busy_timeout(self.options.busy_timeout)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Where the system's fsync does not reach the platter, this one does; elsewhere it means nothing.
            .pragma("fullfsync", "1")
            .pragma("trusted_schema", "0")
            .pragma("cell_size_check", "1")
            .pragma("temp_store", "2")
            .pragma("journal_size_limit", WAL_BYTES.to_string())
            .disable_statement_logging();
        match (side, self.options.max_bytes) {
            (Side::Reader, _) => settings.pragma("query_only", "1"),
            (Side::Writer, Some(bytes)) => {
                settings.pragma("max_page_count", (bytes / PAGE_BYTES).max(1).to_string())
            }
            (Side::Writer, None) => settings,
        }
    }

    pub(crate) async fn check(&self, connection: &mut SqliteConnection, side: Side) -> Result<(), OpenError> {
        let found: i64 = self.pragma(connection, "PRAGMA application_id").await?;
        if found != sql::APPLICATION_ID {
            return Err(OpenError::NotOurs { path: self.path.clone(), found });
        }
        let found: i64 = self.pragma(connection, "PRAGMA user_version").await?;
        if found != sql::USER_VERSION {
            return Err(OpenError::Version { path: self.path.clone(), found });
        }
        let found: String = self.pragma(connection, "PRAGMA journal_mode").await?;
        self.same("journal_mode", "wal".into(), found)?;
        let wait = i64::try_from(self.options.busy_timeout.as_millis()).unwrap_or(i64::MAX);
        let numbers = [
            ("synchronous", "PRAGMA synchronous", 2),
            ("foreign_keys", "PRAGMA foreign_keys", 1),
            ("busy_timeout", "PRAGMA busy_timeout", wait),
            ("fullfsync", "PRAGMA fullfsync", 1),
            ("query_only", "PRAGMA query_only", i64::from(side == Side::Reader)),
        ];
        for (name, statement, expected) in numbers {
            let found: i64 = self.pragma(connection, statement).await?;
            self.same(name, expected.to_string(), found.to_string())?;
        }
        Ok(())
    }

    fn same(&self, name: &'static str, expected: String, found: String) -> Result<(), OpenError> {
        if expected == found {
            return Ok(());
        }
        Err(OpenError::Setting { path: self.path.clone(), name, expected, found })
    }

    async fn pragma<T>(
        &self,
        connection: &mut SqliteConnection,
        statement: &'static str,
    ) -> Result<T, OpenError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let row = sqlx::query(statement).fetch_one(connection).await.map_err(|error| self.database(error))?;
        row.try_get(0).map_err(|error| self.database(error))
    }

    /// Makes a whole database beside the path and then links it there, so that no process ever meets half of one, whoever else makes one
    /// at the same time and wherever this process ends.
    async fn create(&self) -> Result<(), OpenError> {
        let draft = Draft::new(&self.path).map_err(|cause| self.failed(cause))?;
        fill(&draft.0).await.map_err(|error| self.database(error))?;
        let linked = fs::File::open(&draft.0)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::hard_link(&draft.0, &self.path));
        match linked {
            // Another process was faster; its database is as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(cause) => Err(self.failed(cause)),
            Ok(()) => {
                drop(draft);
                fs::File::open(parent(&self.path))
                    .and_then(|directory| directory.sync_all())
                    .map_err(|cause| self.failed(cause))
            }
        }
    }

    #[cfg(unix)]
    fn check_mode(&self, found: &fs::Metadata) -> Result<(), OpenError> {
        use std::os::unix::fs::PermissionsExt as _;

        let mode = found.permissions().mode() & 0o777;
        if mode & 0o022 != 0 {
            return Err(OpenError::Writable { path: self.path.clone(), mode });
        }
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_mode(&self, _: &fs::Metadata) -> Result<(), OpenError> {
        Ok(())
    }

    fn failed(&self, cause: io::Error) -> OpenError {
        OpenError::File { path: self.path.clone(), cause }
    }

    fn database(&self, error: sqlx::Error) -> OpenError {
        OpenError::Database { path: self.path.clone(), cause: Cause::new(error) }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file beside the path that nobody else has, removed in the end.
struct Draft(PathBuf);

impl Draft {
    fn new(path: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Names may be taken by a process of the same number in another container, or by one that was killed here.
        for _ in 0..1000 {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".new-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            let draft = path.with_file_name(name);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            match options.open(&draft) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(_) => return Ok(Self(draft)),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a thousand unfinished databases lie beside it: remove them",
        ))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed is a stray file of a few pages that nothing ever opens.
        let _ = fs::remove_file(&self.0);
    }
}

async fn fill(draft: &Path) -> Result<(), sqlx::Error> {
    let settings = SqliteConnectOptions::new()
        .filename(draft)
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("page_size", PAGE_BYTES.to_string())
        .disable_statement_logging();
    let mut connection = settings.connect().await?;
    sqlx::raw_sql(sql::CREATE).execute(&mut connection).await?;
    sqlx::query(sql::CREATE_HEAD)
        .bind(i64::try_from(FIRST_EPOCH).unwrap_or(i64::MAX))
        .bind(Frontier::empty().to_bytes())
        .execute(&mut connection)
        .await?;
    // Moves the write-ahead log into the file, which then stands for itself.
    connection.close().await
}
