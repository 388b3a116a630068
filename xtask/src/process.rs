//! Running other programs: quietly, keeping what they say for the report, or openly, line by line.
//!
//! Standard input is always closed: no chore may wait for an answer that nobody is there to give.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail};

/// A finished program that ran quietly.
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Both streams, for a report; standard output first because tools put their findings there.
    pub(crate) fn said(&self) -> String {
        let mut text = self.stdout.trim_end().to_owned();
        if !text.is_empty() && !self.stderr.trim().is_empty() {
            text.push('\n');
        }
        text.push_str(self.stderr.trim_end());
        text
    }
}

/// The cargo that started us, so that a toolchain chosen with `cargo +…` is kept.
#[expect(clippy::disallowed_methods, reason = "cargo tells its own path through the environment only")]
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A program in the search path.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// Whether a program can be started and answers `--version`.
pub(crate) fn answers(command: &mut Command) -> bool {
    let quiet = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs quietly in `directory`; whether it succeeded is the caller's question.
pub(crate) fn quietly(command: &mut Command, directory: &Path) -> Result<Finished> {
    let output = command
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs quietly and gives standard output, or an error that carries what the program said.
pub(crate) fn answer(command: &mut Command, directory: &Path) -> Result<String> {
    let finished = quietly(command, directory)?;
    if !finished.status.success() {
        bail!("{} ended with {}:\n{}", describe(command), finished.status, finished.said());
    }
    Ok(finished.stdout)
}

/// Runs with every line of both streams printed as it comes, and gives the lines back as well.
///
/// The lines of the two streams are in the order of their arrival, which between the streams is only nearly the
/// order of their writing.
pub(crate) fn openly(command: &mut Command, directory: &Path) -> Result<(ExitStatus, Vec<String>)> {
    let mut child = command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", describe(command)))?;
    let (sender, lines) = mpsc::channel();
    let readers = [forward(child.stdout.take(), sender.clone()), forward(child.stderr.take(), sender)];
    let mut said = Vec::new();
    for line in lines {
        println!("{line}");
        said.push(line);
    }
    for reader in readers {
        reader.join().map_err(|_| anyhow::anyhow!("a reader of {} panicked", describe(command)))?;
    }
    Ok((child.wait().with_context(|| format!("cannot wait for {}", describe(command)))?, said))
}

fn forward(
    stream: Option<impl Read + Send + 'static>,
    sender: mpsc::Sender<String>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let Some(stream) = stream else { return };
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            // The receiver outlives both readers; were it gone, nobody would be left to tell.
            if sender.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    })
}

/// The command line as one would type it, without the environment.
pub(crate) fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
