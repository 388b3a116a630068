//! The line in which processes wait to write.
//!
//! SQLite waits for its write lock by trying again after ever longer sleeps, so a process that writes all the time can keep another waiting for seconds
//! (measured with two busy handles: 2.8 s). Here the handles of one database stand in line: whoever is about to begin a transaction holds a lock on a file
//! beside the database until it has begun, and meanwhile nobody else tries to. So a busy writer lets one that waits go first.
//!
//! Only fairness rests on this, never correctness: who cannot stand in line, or stands too long, goes on without.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::Path,
    time::Duration,
};

/// Between two looks at the line: less than a transaction takes.
const LOOK: Duration = Duration::from_millis(1);

/// A place to wait. Not opened again for another handle's sake: each handle has its own descriptor, as the lock is the descriptor's.
pub(crate) struct Line(Option<File>);

/// The front of the line, left when dropped.
pub(crate) struct Front<'l>(Option<&'l File>);

impl Line {
    /// The line beside this database. Where none can be had (a directory that takes no files), nobody stands in line.
    pub(crate) fn beside(database: &Path) -> Self {
        let mut name = database.file_name().unwrap_or_default().to_owned();
        name.push("-line");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Self(options.open(database.with_file_name(name)).ok())
    }

    /// Waits to be at the front, at most this long.
    pub(crate) fn front(&self, at_most: Duration) -> Front<'_> {
        let Some(file) = &self.0 else { return Front(None) };
        for _ in 0..=at_most.as_millis() {
            match file.try_lock() {
                Ok(()) => return Front(Some(file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
                // A file system without locks.
                Err(TryLockError::Error(_)) => break,
            }
        }
        Front(None)
    }
}

impl Drop for Front<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            // Should it fail, the lock ends with the descriptor, and until then others wait their time and go on without.
            let _ = file.unlock();
        }
    }
}
