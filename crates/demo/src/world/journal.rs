//! What the world performed, one line of JSON a call: the witness beside the ledger.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call that was performed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Performed {
    /// The tool.
    pub(crate) tool: String,
    /// Its arguments.
    pub(crate) arguments: Value,
}

/// A journal that is open for more.
#[derive(Debug)]
pub(crate) struct Journal(File);

impl Journal {
    /// Opens a journal, a new one or one that is there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Appends a call.
    pub(crate) fn write(&mut self, performed: &Performed) -> io::Result<()> {
        let mut line = serde_json::to_vec(performed).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}

/// Reads a journal; one that is not there has no lines.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Performed>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_journal_reads_back_what_two_servers_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert_eq!(read(&path).unwrap(), []);
        let calls: Vec<Performed> = ["a", "b"]
            .map(|tool| Performed { tool: tool.to_owned(), arguments: json!({ "x": "line\nbreak" }) })
            .into();
        for call in &calls {
            Journal::open(&path).unwrap().write(call).unwrap();
        }
        assert_eq!(read(&path).unwrap(), calls);
        std::fs::write(&path, "{}").unwrap();
        assert!(read(&path).is_err());
    }
}
