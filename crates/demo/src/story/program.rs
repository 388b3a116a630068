//! Running the program as an operator does, and reading its answer as data.

use std::{ffi::OsStr, path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use thiserror::Error;
use tokio::{process::Command, time::timeout};

const PATIENCE: Duration = Duration::from_secs(10);

/// Why a command gave no answer.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    /// The process does not start or its output cannot be read.
    #[error("`warrantor {command}` could not be run")]
    Run {
        command: String,
        #[source]
        cause: std::io::Error,
    },
    /// No end.
    #[error("`warrantor {command}` did not end within {} seconds", PATIENCE.as_secs())]
    Silent { command: String },
    /// An answer that is no JSON.
    #[error("`warrantor {command}` ended with {code} and without an answer: {said}")]
    Answer {
        command: String,
        code: String,
        said: String,
        #[source]
        cause: serde_json::Error,
    },
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) answer: Value,
}

/// Runs a command with `--data DIR -o json` and reads its answer, whatever the exit code.
pub(crate) async fn run(program: &Path, words: &[&str], data: &Path) -> Result<Ran, ProgramError> {
    let command = || words.join(" ");
    let running = Command::new(program)
        .args(words)
        .args([OsStr::new("--data"), data.as_os_str(), OsStr::new("-o"), OsStr::new("json")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match timeout(PATIENCE, running).await {
        Err(_) => return Err(ProgramError::Silent { command: command() }),
        Ok(Err(cause)) => return Err(ProgramError::Run { command: command(), cause }),
        Ok(Ok(output)) => output,
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(answer) => Ok(Ran { code: output.status.code(), answer }),
        Err(cause) => Err(ProgramError::Answer {
            command: command(),
            code: output.status.to_string(),
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            cause,
        }),
    }
}
