//! Starting a stdio server: its command, its environment, its end.
//!
//! The server gets an environment made for it: a few variables that programs need to run, those the bundle passes on, and those the
//! bundle sets. Secrets among them come from files or the environment of whoever starts us, never from the client's messages, and their
//! values are blotted out of what the server writes to its standard error.

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use warrantor_mcp::LineSplitter;

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
/// Most bytes of one line on the server's standard error.
const MAX_ERROR_LINE: usize = 64 << 10;
/// How long a server may take to end once its input is closed.
const GRACE: Duration = Duration::from_secs(2);

/// How to start a server, once or again.
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
    /// Its name in our log, where several are. What it says on its standard error goes into the log then, else it is passed on as it is.
    pub name: Option<String>,
}

/// Its environment may hold secrets, so it is not shown.
impl std::fmt::Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
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
    pub fn start(&self) -> std::io::Result<(Running, ChildStdin, ChildStdout)> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
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
        let out = match &self.name {
            None => Out::AsItIs(tokio::io::stderr()),
            Some(server) => Out::Log(server.clone()),
        };
        let errors = tokio::spawn(blot(stderr, out, self.secrets.clone()));
        Ok((Running { child, errors: Some(errors) }, stdin, stdout))
    }
}

impl Running {
    /// Waits for the server to end, and ends it if it does not. Its streams must have been dropped.
    pub async fn end(mut self) -> Option<std::process::ExitStatus> {
        let status = match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                // With what it started: wrappers such as npx leave the server itself behind. It has not been waited for, so the group is still its own.
                let group = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL);
                }
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

/// Where goes what a server says on its standard error.
enum Out<W> {
    AsItIs(W),
    /// Into our log, under this name of the server.
    Log(String),
}

impl<W: AsyncWrite + Unpin> Out<W> {
    /// Whether it was taken.
    async fn say(&mut self, mut line: String) -> bool {
        match self {
            Self::AsItIs(out) => {
                line.push('\n');
                out.write_all(line.as_bytes()).await.is_ok()
            }
            Self::Log(server) => {
                tracing::warn!(server, said = line, "from a tool server's standard error");
                true
            }
        }
    }
}

/// Passes the server's standard error on, line by line, secrets blotted out, as long as somebody takes it. A line beyond the bound is dropped: what is held to find a secret in must
/// end somewhere, and half a line may end in half a secret.
async fn blot<W: AsyncWrite + Unpin>(
    mut errors: impl AsyncRead + Unpin,
    mut out: Out<W>,
    secrets: Vec<String>,
) {
    // A key of several lines comes line by line.
    let secrets: Vec<&str> = secrets
        .iter()
        .flat_map(|secret| std::iter::once(secret.as_str()).chain(secret.lines()))
        .map(str::trim)
        .filter(|secret| secret.len() >= MIN_BLOTTED)
        .collect();
    let mut splitter = LineSplitter::new(MAX_ERROR_LINE);
    let mut chunk = vec![0; 16 << 10];
    loop {
        let ended = match errors.read(&mut chunk).await {
            Ok(0) | Err(_) => {
                splitter.push(b"\n");
                true
            }
            Ok(count) => {
                splitter.push(chunk.get(..count).unwrap_or_default());
                false
            }
        };
        while let Some(line) = splitter.next_line() {
            let mut text = match line {
                Ok(line) => String::from_utf8_lossy(line).into_owned(),
                Err(_) => format!("(a line of more than {MAX_ERROR_LINE} bytes was dropped)"),
            };
            for secret in &secrets {
                text = text.replace(secret, "•••");
            }
            if !out.say(text).await {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_are_blotted_out_of_what_the_server_says_and_endless_lines_are_dropped() {
        let secrets =
            vec!["hunter2-long".to_owned(), "short".to_owned(), "-BEGIN KEY\nline-of-key\n".to_owned()];
        let endless = "x".repeat(MAX_ERROR_LINE * 3);
        let said = format!("token=hunter2-long!\n\nshort line-of-key\n{endless}\nend hunter2-long");
        let mut heard = Vec::new();
        blot(said.as_bytes(), Out::AsItIs(&mut heard), secrets).await;
        let heard = String::from_utf8(heard).unwrap();
        let dropped = format!("(a line of more than {MAX_ERROR_LINE} bytes was dropped)");
        assert_eq!(heard, format!("token=•••!\nshort •••\n{dropped}\nend •••\n"));
    }
}
