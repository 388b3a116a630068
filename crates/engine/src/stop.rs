//! The stop file: how stopping reaches every process on a data directory at once, also when the log fails or the disk is full.
//!
//! A file of fixed size, allocated when the data directory is made. Stopping overwrites a free slot in place and syncs it, so it needs
//! no space. Every process reads the file last, between a durable record and the effect it permits. What cannot be read, or
//! reads as neither empty nor whole, stops everything: a torn write is a stop that somebody meant. So does a file that is not the one
//! at its path any more: whoever stops writes to the path. Whoever writes a slot holds the file's lock, but for the lockdown, whose slot
//! is its own and which waits for nobody; readers hold none.
//!
//! A slot says that a subject is stopped. The store says so too, and for good; the file only bridges the time until the
//! store has it, so slots are reused once the store has had their subject for a while. Lifting a stop clears its slots, after the store
//! has lifted it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;
use warrantor_model::{Digest, Subject, Timestamp};

/// Bytes a slot takes: a mark, a time, a length, the subject, padding, and a checksum.
const SLOT: usize = 256;
/// How many slots there are.
const SLOTS: usize = 256;
/// The file's size.
const SIZE: usize = SLOT * SLOTS;
/// What a used slot begins with; the last byte is the format's version.
const MARK: [u8; 8] = *b"WRNTSTP1";
/// How long a slot stays after the store has its subject: longer than any call that was released before may take to be noticed.
const KEEP: Duration = Duration::from_secs(15 * 60);

/// The stop file of a data directory.
#[derive(Debug)]
pub struct StopFile {
    path: PathBuf,
    file: File,
    /// The file's lock keeps processes apart, this one the threads that share a handle.
    writing: Mutex<()>,
    seen: Mutex<Seen>,
}

/// What the file said when it was read last.
#[derive(Debug, Default)]
struct Seen {
    /// What is being read.
    now: Vec<u8>,
    /// What was read whole and sound; empty before that.
    last: Vec<u8>,
    stops: Vec<Stop>,
}

/// Held while slots are read and written again.
struct Writing<'a> {
    file: &'a File,
    _threads: MutexGuard<'a, ()>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        // Closing the file would let go of it too.
        let _ = flock(self.file, FlockOperation::Unlock);
    }
}

/// One stop that the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Who or what.
    pub subject: Subject,
    /// Since when.
    pub since: Timestamp,
}

/// Why the file cannot be used, or a stop not be made.
#[derive(Debug, Error)]
pub enum StopError {
    /// The operating system refused.
    #[error("the stop file {} cannot be used: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is not one of ours, or torn. Everything is stopped until it is mended.
    #[error("the stop file {} is damaged at byte {at}: everything is stopped; find out why, move the file away, and lift the lockdown that the next start sets", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        at: usize,
    },
    /// The file at the path is not the one that was opened. Everything is stopped until the process is started anew.
    #[error(
        "the stop file {} was moved or replaced: everything is stopped; find out why, end every process on this data directory, and lift the lockdown that the next start sets",
        path.display()
    )]
    Replaced {
        /// Which file.
        path: PathBuf,
    },
    /// No slot is free.
    #[error("all {SLOTS} slots of the stop file are in use: use a lockdown, which always has its own")]
    Full,
    /// A subject's name does not fit a slot.
    #[error("{subject} is too long for a slot of the stop file")]
    TooLong {
        /// Which.
        subject: Subject,
    },
}

impl StopFile {
    /// Makes the file, allocated and synced, unless it is there; then opens it.
    ///
    /// # Errors
    /// [`StopError`]; without the file nothing may be permitted.
    pub fn open(path: &Path) -> Result<Self, StopError> {
        let io = |cause| StopError::Io { path: path.to_owned(), cause };
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => {
                // Written rather than reserved, so that no file system has to find space later.
                file.write_all_at(&[0; SIZE], 0).map_err(io)?;
                file.sync_all().map_err(io)?;
                if let Some(directory) = path.parent() {
                    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
                }
            }
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(io(cause)),
        }
        let file =
            OpenOptions::new().read(true).write(true).open(path).or_else(|_| File::open(path)).map_err(io)?;
        Ok(Self { path: path.to_owned(), file, writing: Mutex::default(), seen: Mutex::default() })
    }

    /// Everything that is stopped.
    ///
    /// # Errors
    /// [`StopError::Io`] and [`StopError::Damaged`]; the caller must treat both as everything stopped.
    pub fn read(&self) -> Result<Vec<Stop>, StopError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Seen { now, last, stops } = &mut *seen;
        self.bytes(now)?;
        // The same bytes say the same as the last time: most often nothing was stopped since.
        if now != last || last.is_empty() {
            last.clear();
            *stops = self.decoded(now)?.into_iter().flatten().map(|(stop, _)| stop).collect();
            last.clone_from(now);
        }
        Ok(stops.clone())
    }

    /// Stops a subject; durable when it returns. Stopping what is stopped renews nothing and succeeds.
    ///
    /// # Errors
    /// [`StopError`]: the stop is not acknowledged.
    pub fn stop(&self, subject: &Subject, now: Timestamp) -> Result<(), StopError> {
        let _writing = match subject {
            Subject::Deployment => None,
            _ => Some(self.writing()?),
        };
        let slots = match self.slots() {
            Ok(slots) => slots,
            // A lockdown must work on a damaged file as well: its slot is its own.
            Err(StopError::Damaged { .. }) if *subject == Subject::Deployment => Vec::new(),
            Err(cause) => return Err(cause),
        };
        let known =
            slots.iter().position(|slot| slot.as_ref().is_some_and(|(stop, _)| stop.subject == *subject));
        if let Some(index) = known {
            // What was handed over since the last time has to be stopped as well.
            let since =
                slots.get(index).and_then(Option::as_ref).map_or(now, |(stop, _)| now.max(stop.since));
            if let (Subject::Template(_), Some(slot)) = (subject, encode(subject, since, false)) {
                self.write(index, &slot)?;
            }
            self.file.sync_data().map_err(|cause| self.io(cause))?;
            return self.in_place();
        }
        // Slot 0 is kept for the lockdown.
        let index = if *subject == Subject::Deployment {
            0
        } else {
            let free = slots.iter().enumerate().skip(1).find(|(_, slot)| slot.is_none());
            free.or_else(|| {
                slots
                    .iter()
                    .enumerate()
                    .skip(1)
                    .find(|(_, slot)| slot.as_ref().is_some_and(|s| reusable(s, now)))
            })
            .map(|(index, _)| index)
            .ok_or(StopError::Full)?
        };
        let slot =
            encode(subject, now, false).ok_or_else(|| StopError::TooLong { subject: subject.clone() })?;
        self.write(index, &slot)
    }

    /// Notes that the store has a stop of this instant, so that its slot may be reused in time. A later one of the same subject it may not have yet.
    ///
    /// # Errors
    /// [`StopError`]; nothing is lost by it but the slot.
    pub fn absorbed(&self, subject: &Subject, since: Timestamp) -> Result<(), StopError> {
        let _writing = self.writing()?;
        for (index, slot) in self.slots()?.into_iter().enumerate() {
            if let Some((stop, false)) = slot
                && stop.subject == *subject
                && stop.since <= since
                && let Some(slot) = encode(subject, stop.since, true)
            {
                self.write(index, &slot)?;
            }
        }
        Ok(())
    }

    /// The stops that the store may not have yet.
    ///
    /// # Errors
    /// As [`StopFile::read`].
    pub fn unabsorbed(&self) -> Result<Vec<Stop>, StopError> {
        Ok(self
            .slots()?
            .into_iter()
            .flatten()
            .filter(|(_, absorbed)| !absorbed)
            .map(|(stop, _)| stop)
            .collect())
    }

    /// Clears a subject's slots. Only after the store has lifted the stop.
    ///
    /// # Errors
    /// [`StopError`]: the stop may stand.
    pub fn clear(&self, subject: &Subject) -> Result<(), StopError> {
        let _writing = self.writing()?;
        for (index, slot) in self.slots()?.into_iter().enumerate() {
            if slot.is_some_and(|(stop, _)| stop.subject == *subject) {
                self.write(index, &[0; SLOT])?;
            }
        }
        Ok(())
    }

    fn write(&self, index: usize, slot: &[u8; SLOT]) -> Result<(), StopError> {
        let offset = u64::try_from(index.saturating_mul(SLOT)).unwrap_or(u64::MAX);
        self.file.write_all_at(slot, offset).map_err(|cause| self.io(cause))?;
        self.file.sync_data().map_err(|cause| self.io(cause))?;
        self.in_place()
    }

    fn writing(&self) -> Result<Writing<'_>, StopError> {
        let threads = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        flock(&self.file, FlockOperation::LockExclusive).map_err(|cause| self.io(cause.into()))?;
        Ok(Writing { file: &self.file, _threads: threads })
    }

    /// Whether others who open the path get this file.
    fn in_place(&self) -> Result<(), StopError> {
        let ours = self.file.metadata().map_err(|cause| self.io(cause))?;
        match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Ok(()),
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(self.io(cause)),
            Ok(_) | Err(_) => Err(StopError::Replaced { path: self.path.clone() }),
        }
    }

    fn slots(&self) -> Result<Vec<Option<(Stop, bool)>>, StopError> {
        let mut bytes = Vec::new();
        self.bytes(&mut bytes)?;
        self.decoded(&bytes)
    }

    /// The whole file as it stands.
    fn bytes(&self, bytes: &mut Vec<u8>) -> Result<(), StopError> {
        bytes.resize(SIZE, 0);
        self.file.read_exact_at(bytes, 0).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => StopError::Damaged { path: self.path.clone(), at: 0 },
            _ => self.io(cause),
        })?;
        // After reading: what was written to the path before this is in what was read.
        self.in_place()
    }

    fn decoded(&self, bytes: &[u8]) -> Result<Vec<Option<(Stop, bool)>>, StopError> {
        bytes
            .chunks_exact(SLOT)
            .enumerate()
            .map(|(index, slot)| {
                decode(slot).map_err(|()| StopError::Damaged {
                    path: self.path.clone(),
                    at: index.saturating_mul(SLOT),
                })
            })
            .collect()
    }

    fn io(&self, cause: io::Error) -> StopError {
        StopError::Io { path: self.path.clone(), cause }
    }
}

fn reusable((stop, absorbed): &(Stop, bool), now: Timestamp) -> bool {
    *absorbed && stop.since.plus(KEEP) < now
}

/// Layout: mark 8, time 8, absorbed 1, length 1, subject, zeros, checksum 16 over all before it.
fn encode(subject: &Subject, since: Timestamp, absorbed: bool) -> Option<[u8; SLOT]> {
    let text = subject.to_string();
    let length = u8::try_from(text.len()).ok()?;
    let mut body = Vec::with_capacity(SLOT);
    body.extend(MARK);
    body.extend(since.as_micros().to_be_bytes());
    body.push(u8::from(absorbed));
    body.push(length);
    body.extend(text.as_bytes());
    if body.len() > SLOT.saturating_sub(16) {
        return None;
    }
    body.resize(SLOT.saturating_sub(16), 0);
    let sum = Digest::of(&body);
    body.extend(sum.as_bytes().iter().take(16));
    body.try_into().ok()
}

fn decode(slot: &[u8]) -> Result<Option<(Stop, bool)>, ()> {
    // Most slots are, at every decision: compared at once, not byte by byte.
    if slot == [0; SLOT] {
        return Ok(None);
    }
    let (body, sum) = slot.split_at_checked(SLOT.saturating_sub(16)).ok_or(())?;
    if Digest::of(body).as_bytes().get(..16) != Some(sum) {
        return Err(());
    }
    let (mark, rest) = body.split_at_checked(8).ok_or(())?;
    let (time, rest) = rest.split_first_chunk::<8>().ok_or(())?;
    let ([absorbed, length], rest) = rest.split_first_chunk::<2>().ok_or(())?;
    let text = rest.get(..usize::from(*length)).and_then(|text| std::str::from_utf8(text).ok()).ok_or(())?;
    if mark != MARK || *absorbed > 1 {
        return Err(());
    }
    let subject = text.parse().map_err(|_| ())?;
    Ok(Some((Stop { subject, since: Timestamp::from_micros(i64::from_be_bytes(*time)) }, *absorbed == 1)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn subject(text: &str) -> Subject {
        text.parse().unwrap()
    }

    fn subjects(file: &StopFile) -> Vec<String> {
        file.read().unwrap().into_iter().map(|stop| stop.subject.to_string()).collect()
    }

    #[test]
    fn a_stop_is_seen_by_every_handle_at_once_and_survives_reopening() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop");
        let (one, two) = (StopFile::open(&path).unwrap(), StopFile::open(&path).unwrap());
        assert!(two.read().unwrap().is_empty());
        one.stop(&subject("agent:bot"), at(7)).unwrap();
        one.stop(&subject("agent:bot"), at(9)).unwrap();
        one.stop(&Subject::Deployment, at(8)).unwrap();
        assert_eq!(subjects(&two), ["deployment", "agent:bot"]);
        assert_eq!(subjects(&StopFile::open(&path).unwrap()), ["deployment", "agent:bot"]);
        two.clear(&Subject::Deployment).unwrap();
        assert_eq!(subjects(&one), ["agent:bot"]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_torn_short_or_foreign_stops_everything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop");
        let file = StopFile::open(&path).unwrap();
        file.stop(&subject("person:alice"), at(7)).unwrap();
        for (offset, byte) in [(SLOT + 3, 0u8), (SLOT + 20, b'x'), (SLOT * 3, 1), (SIZE - 1, 1)] {
            let mut before = [0];
            file.file.read_exact_at(&mut before, offset as u64).unwrap();
            file.file.write_all_at(&[byte], offset as u64).unwrap();
            assert!(matches!(file.read(), Err(StopError::Damaged { .. })), "byte {offset} went unnoticed");
            file.stop(&Subject::Deployment, at(8)).unwrap();
            file.file.write_all_at(&before, offset as u64).unwrap();
        }
        file.file.set_len(10).unwrap();
        assert!(matches!(file.read(), Err(StopError::Damaged { .. })));
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_stops_everything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stop");
        let file = StopFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        StopFile::open(&path).unwrap();
        assert!(matches!(file.read(), Err(StopError::Replaced { .. })));
        let lockdown = file.stop(&Subject::Deployment, at(1));
        assert!(matches!(lockdown, Err(StopError::Replaced { .. })), "nobody would see this lockdown");
    }

    #[test]
    fn slots_are_reused_only_when_the_store_has_had_them_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let file = StopFile::open(&directory.path().join("stop")).unwrap();
        for n in 1..SLOTS {
            file.stop(&subject(&format!("agent:a{n}")), at(0)).unwrap();
        }
        let one_more = subject("agent:more");
        let later = at(0).plus(KEEP).plus(Duration::from_secs(1));
        assert!(
            matches!(file.stop(&one_more, later), Err(StopError::Full)),
            "an unabsorbed stop was overwritten"
        );
        file.absorbed(&subject("agent:a9"), at(0)).unwrap();
        assert_eq!(file.unabsorbed().unwrap().len(), SLOTS - 2);
        assert!(matches!(file.stop(&one_more, at(5)), Err(StopError::Full)), "a fresh stop was overwritten");
        file.stop(&one_more, later).unwrap();
        assert!(subjects(&file).contains(&"agent:more".to_owned()));
        file.stop(&Subject::Deployment, at(0)).unwrap();
        assert_eq!(file.read().unwrap().len(), SLOTS, "the lockdown has its own slot");
    }
}
