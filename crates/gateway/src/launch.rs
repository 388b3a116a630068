//! Starting a stdio server: its command, its environment, its end.
//!
//! The server gets an environment made for it: a few variables that programs need to run, those the bundle passes on, and those the
//! bundle sets. Secrets among them come from files or the environment of whoever starts us, never from the client's messages, and their
//! values are blotted out of what the server writes to its standard error.

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Variables every server gets when they are set: what programs need to find themselves, not what they are trusted with.
pub const BASIC_VARIABLES: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TERM",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
];
/// Secrets shorter than this are not blotted out: they would blot out ordinary words.
const MIN_BLOTTED: usize = 6;
/// How long a server may take to end once its input is closed.
const GRACE: Duration = Duration::from_secs(2);

/// How to start a server.
pub struct Launch {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Values of the environment that nobody may see.
    pub secrets: Vec<String>,
    /// Where it runs.
    pub directory: Option<PathBuf>,
}

/// A server that runs.
pub struct Running {
    child: Child,
    errors: Option<tokio::task::JoinHandle<()>>,
}

impl Launch {
    /// Starts the server. It ends with us, whatever happens.
    ///
    /// # Errors
    /// What the operating system says, when the program cannot be started.
    pub fn start(self) -> std::io::Result<(Running, ChildStdin, ChildStdout)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(self.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A group of its own: an interrupt at the terminal comes to us, and we end it in order.
        command.process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let mut child = command.spawn()?;
        let missing = || std::io::Error::other("the server was started without its pipes");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let errors = tokio::spawn(blot(stderr, self.secrets));
        Ok((Running { child, errors: Some(errors) }, stdin, stdout))
    }
}

impl Running {
    /// Waits for the server to end, and ends it if it does not. Its streams must have been dropped.
    pub async fn end(mut self) -> Option<std::process::ExitStatus> {
        let status = match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.start_kill();
                self.child.wait().await.ok()
            }
        };
        if let Some(errors) = self.errors.take() {
            // Grandchildren may hold the pipe open.
            let _ = tokio::time::timeout(Duration::from_millis(200), errors).await;
        }
        status
    }
}

/// Passes the server's standard error on, line by line, secrets blotted out.
async fn blot(stderr: tokio::process::ChildStderr, secrets: Vec<String>) {
    let secrets: Vec<String> = secrets.into_iter().filter(|secret| secret.len() >= MIN_BLOTTED).collect();
    let mut lines = BufReader::new(stderr).split(b'\n');
    let mut out = tokio::io::stderr();
    while let Ok(Some(line)) = lines.next_segment().await {
        let mut text = String::from_utf8_lossy(&line).into_owned();
        for secret in &secrets {
            text = text.replace(secret, "•••");
        }
        text.push('\n');
        if out.write_all(text.as_bytes()).await.is_err() {
            break;
        }
    }
}
