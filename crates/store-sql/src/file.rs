//! The database file: made whole or not at all, opened only as what it must be.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, types::FromSql};
use thiserror::Error;
use warrantor_ledger::Frontier;
use warrantor_store::{Cause, FIRST_EPOCH, ReadError};

use crate::sql;

/// SQLite's default, which is also that of the machines we meet.
const PAGE_BYTES: u32 = 4096;
/// What the write-ahead log is cut to once a reader no longer holds it at a greater length.
const WAL_BYTES: i64 = 64 << 20;

/// Most statements that a connection keeps prepared; there are fewer.
const STATEMENTS: usize = 64;

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
    pub(crate) fn prepare(&self) -> Result<(), OpenError> {
        // Looked at by name only. To open and close it here would drop the locks that other handles of this process hold on it: POSIX
        // record locks belong to the process and end with any descriptor.
        match fs::metadata(&self.path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create()?,
            Err(cause) => return Err(self.failed(cause)),
        }
        let found = fs::metadata(&self.path).map_err(|cause| self.failed(cause))?;
        if !found.is_file() {
            return Err(OpenError::NotAFile { path: self.path.clone() });
        }
        self.check_mode(&found)
    }

    /// Opens a connection and refuses it unless every setting is in force.
    pub(crate) fn connect(&self, side: Side) -> Result<Connection, OpenError> {
        let connection = self.open(side).map_err(|error| self.database(error))?;
        self.check(&connection, side)?;
        Ok(connection)
    }

    fn open(&self, side: Side) -> Result<Connection, rusqlite::Error> {
        // What is handed from thread to thread is used by one at a time.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.options.busy_timeout)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // Where the system's fsync does not reach the platter, this one does; elsewhere it means nothing.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        match (side, self.options.max_bytes) {
            (Side::Reader, _) => connection.pragma_update(None, "query_only", true)?,
            (Side::Writer, Some(bytes)) => {
                let pages = (bytes / u64::from(PAGE_BYTES)).clamp(1, i64::MAX.unsigned_abs());
                connection.pragma_update(None, "max_page_count", pages.cast_signed())?;
            }
            (Side::Writer, None) => {}
        }
        Ok(connection)
    }

    fn check(&self, connection: &Connection, side: Side) -> Result<(), OpenError> {
        let found: i64 = self.pragma(connection, "application_id")?;
        if found != sql::APPLICATION_ID {
            return Err(OpenError::NotOurs { path: self.path.clone(), found });
        }
        let found: i64 = self.pragma(connection, "user_version")?;
        if found != sql::USER_VERSION {
            return Err(OpenError::Version { path: self.path.clone(), found });
        }
        let found: String = self.pragma(connection, "journal_mode")?;
        self.same("journal_mode", "wal".into(), found)?;
        let wait = i64::try_from(self.options.busy_timeout.as_millis()).unwrap_or(i64::MAX);
        let numbers = [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("busy_timeout", wait),
            ("fullfsync", 1),
            ("query_only", i64::from(side == Side::Reader)),
        ];
        for (name, expected) in numbers {
            let found: i64 = self.pragma(connection, name)?;
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

    fn pragma<T: FromSql>(&self, connection: &Connection, name: &str) -> Result<T, OpenError> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| self.database(error))
    }

    /// Makes a whole database beside the path and then links it there, so that no process ever meets half of one, whoever else makes one
    /// at the same time and wherever this process ends.
    fn create(&self) -> Result<(), OpenError> {
        let draft = Draft::new(&self.path).map_err(|cause| self.failed(cause))?;
        fill(&draft.0).map_err(|error| self.database(error))?;
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

    pub(crate) fn failed(&self, cause: io::Error) -> OpenError {
        OpenError::File { path: self.path.clone(), cause }
    }

    fn database(&self, error: rusqlite::Error) -> OpenError {
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

fn fill(draft: &Path) -> Result<(), rusqlite::Error> {
    let connection = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(sql::CREATE)?;
    let epoch = i64::try_from(FIRST_EPOCH).unwrap_or(i64::MAX);
    connection.execute(sql::CREATE_HEAD, (epoch, Frontier::empty().to_bytes()))?;
    // Moves the write-ahead log into the file, which then stands for itself. Closing would do so too, and not say if it failed.
    let busy: bool = connection.query_row(sql::EMPTY_LOG, [], |row| row.get(0))?;
    if busy {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, None));
    }
    connection.close().map_err(|(_, error)| error)
}
