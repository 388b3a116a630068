//! Tampering: a copy of a data directory in which one byte of one record is another.
//!
//! It knows no more of the store than whoever gets at the file: it looks for the decision's id and changes the case of a letter in
//! the name of the tool that follows it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

/// How far behind the id the tool's name is looked for. A record has less than 64 KiB, and the name stands in its first part.
const REACH: usize = 4096;

/// Why nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum TamperError {
    /// The directory cannot be copied.
    #[error("{} cannot be copied or changed", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// No file holds the record as text.
    #[error("no file of the data directory holds the record of {decision}")]
    NoRecord { decision: String },
}

/// The byte that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The file's name within the data directory.
    pub(crate) file: String,
    /// The place of the byte in the file.
    pub(crate) offset: usize,
    /// What the tool's name was.
    pub(crate) before: String,
    /// What it reads now.
    pub(crate) after: String,
}

/// Copies a data directory and changes one byte of a decision's record in the copy. The tool is named as the record names it,
/// `server/tool`.
pub(crate) fn copy_and_change(
    from: &Path,
    to: &Path,
    decision: &str,
    tool: &str,
) -> Result<Changed, TamperError> {
    copy(from, to)?;
    let mut candidates = Vec::new();
    for path in files(to)? {
        let bytes = fs::read(&path).map_err(|cause| TamperError::File { path: path.clone(), cause })?;
        if let Some((offset, distance)) = nearest(&bytes, decision.as_bytes(), tool.as_bytes()) {
            candidates.push((distance, offset, path, bytes));
        }
    }
    // An index may hold the id too, with something else's record behind it: the nearest name is the record's own.
    let Some((_, offset, path, mut bytes)) = candidates.into_iter().min_by_key(|(distance, ..)| *distance)
    else {
        return Err(TamperError::NoRecord { decision: decision.to_owned() });
    };
    let at = offset.saturating_add(tool.rfind('/').map_or(0, |slash| slash.saturating_add(1)));
    let Some(byte) = bytes.get_mut(at) else {
        return Err(TamperError::NoRecord { decision: decision.to_owned() });
    };
    *byte ^= 0x20;
    let after = bytes.get(offset..offset.saturating_add(tool.len())).unwrap_or_default();
    let after = String::from_utf8_lossy(after).into_owned();
    let file = path.strip_prefix(to).unwrap_or(&path).display().to_string();
    fs::write(&path, &bytes).map_err(|cause| TamperError::File { path, cause })?;
    Ok(Changed { file, offset: at, before: tool.to_owned(), after })
}

/// Where the tool's name stands closest behind the id, and how far behind.
fn nearest(bytes: &[u8], id: &[u8], tool: &[u8]) -> Option<(usize, usize)> {
    positions(bytes, id)
        .filter_map(|at| {
            let behind = at.saturating_add(id.len());
            let end = behind.saturating_add(REACH).min(bytes.len());
            let distance = positions(bytes.get(behind..end)?, tool).next()?;
            Some((behind.saturating_add(distance), distance))
        })
        .min_by_key(|(_, distance)| *distance)
}

fn positions<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes
        .windows(wanted.len().max(1))
        .enumerate()
        .filter(move |(_, window)| *window == wanted)
        .map(|(at, _)| at)
}

fn copy(from: &Path, to: &Path) -> Result<(), TamperError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| TamperError::File { path, cause }
    };
    fs::create_dir_all(to).map_err(failed(to))?;
    for path in files(from)? {
        let Ok(below) = path.strip_prefix(from) else { continue };
        let target = to.join(below);
        if let Some(above) = target.parent() {
            fs::create_dir_all(above).map_err(failed(above))?;
        }
        fs::copy(&path, &target).map_err(failed(&path))?;
    }
    Ok(())
}

/// All regular files below a directory, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, TamperError> {
    let failed = |cause| TamperError::File { path: directory.to_owned(), cause };
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_of_the_record_is_changed_and_the_original_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("data"), dir.path().join("copy"));
        fs::create_dir_all(from.join("deep")).unwrap();
        let index = [b"d-7".as_slice(), &[0; 40], b"office/pay"].concat();
        let record = [b"xx d-7".as_slice(), &[1; 9], b"office/pay d-8 office/pay"].concat();
        fs::write(from.join("a"), &index).unwrap();
        fs::write(from.join("deep/b"), &record).unwrap();
        let changed = copy_and_change(&from, &to, "d-7", "office/pay").unwrap();
        assert_eq!((changed.after.as_str(), changed.offset), ("office/Pay", 22));
        assert_eq!(fs::read(from.join("deep/b")).unwrap(), record);
        assert_eq!(fs::read(to.join("a")).unwrap(), index);
        let copied = fs::read(to.join("deep/b")).unwrap();
        let differing: Vec<usize> = (0..record.len()).filter(|at| copied[*at] != record[*at]).collect();
        assert_eq!(differing, [22]);
    }

    #[test]
    fn a_record_that_is_not_there_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("data");
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("a"), [b"d-7".as_slice(), &[0; REACH], b"office/pay"].concat()).unwrap();
        let refused = copy_and_change(&from, &dir.path().join("copy"), "d-7", "office/pay");
        assert!(matches!(refused, Err(TamperError::NoRecord { .. })), "{refused:?}");
    }
}
