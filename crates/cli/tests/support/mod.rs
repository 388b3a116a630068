//! What the end-to-end tests share: a bundle in front of a scripted tool server, and a client of raw lines.
//!
//! Everything runs as real processes. A wait ends by an answer; only a test that fails meets the deadline.
#![allow(dead_code, unreachable_pub, reason = "every test uses a part of it")]

pub mod collector;
pub mod http;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a process may take to answer before the test has failed.
const DEADLINE: Duration = Duration::from_secs(20);
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
const INITIALIZE: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}"#;
/// The `_meta` of a modern request.
pub const MODERN: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// The program under test.
pub fn warrantor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warrantor"));
    command.env_remove("WARRANTOR_DATA").env_remove("WARRANTOR_KEYS").env_remove("WARRANTOR_LOG");
    command
}

fn tool(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(value) => value.into(),
        None => panic!(
            "{variable} is not set: run these tests with `cargo xtask test`, which installs what they need"
        ),
    }
}

/// A Python with the official SDK.
pub fn python() -> PathBuf {
    tool("WARRANTOR_TEST_PYTHON")
}

/// The directory with the official file server.
pub fn node_modules() -> PathBuf {
    tool("WARRANTOR_TEST_NODE_MODULES")
}

/// A script beside the tests.
pub fn script(name: &str) -> PathBuf {
    Path::new(SCRIPTS).join(name)
}

/// Runs a command to its end; what it says is in the panic if it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A bundle, a data directory and the directory of the scripted server.
pub struct World {
    directory: TempDir,
    /// The era that the scripted server speaks: `legacy`, `modern` or `both`.
    pub era: &'static str,
    /// Variables of whoever starts `run`.
    pub environment: Vec<(String, String)>,
    /// What stands before the command of `run`, to run it in other circumstances.
    pub wrapper: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        Self::with_mandate(&fixture("mandate.yaml"))
    }

    pub fn with_mandate(mandate: &str) -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            era: "both",
            environment: Vec::new(),
            wrapper: Vec::new(),
        };
        for directory in ["bundle/tools", "bundle/policies", "bundle/mandates", "upstream"] {
            fs::create_dir_all(world.path(directory)).unwrap();
        }
        for name in ["people.yaml", "agents.yaml"] {
            world.write(&format!("bundle/{name}"), &fixture(name));
        }
        world.write("bundle/policies/all.cedar", &fixture("policy.cedar"));
        world.write("bundle/mandates/work.yaml", mandate);
        world.write("bundle/tools/fake.tools.json", &fixture("tools.json"));
        world.write("upstream/tools.json", &fixture("tools.json"));
        let digest = draft_digest(&world.path("upstream/tools.json"));
        world.write("bundle/tools/fake.yaml", &fixture("manifest.yaml").replace("{{digest}}", &digest));
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The lines of a file of the scripted server; none if there is no file.
    pub fn upstream(&self, name: &str) -> Vec<String> {
        let bytes = fs::read(self.path("upstream").join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// `run` with the scripted server behind it.
    pub fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_warrantor").to_owned();
        let mut words = self.wrapper.clone();
        words.push(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.arg("run").arg("--bundle").arg(self.path("bundle")).args([
            "--server",
            "fake",
            "--mandate",
            "work",
        ]);
        command.arg("--data").arg(self.data()).arg("--").arg(python()).args(["-I", "-S"]);
        command.arg(script("upstream.py")).arg(self.path("upstream")).arg(self.era);
        command.env_remove("WARRANTOR_DATA").env_remove("WARRANTOR_KEYS").env_remove("WARRANTOR_LOG");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A session that has begun in the older era.
    pub fn session(&self) -> Session {
        let mut session = self.bare_session();
        session.initialize();
        session
    }

    /// A session before its first message.
    pub fn bare_session(&self) -> Session {
        Session::start(self.command(), self.directory.path())
    }

    /// A command about the data directory, with its JSON.
    pub fn control(&self, words: &[&str]) -> Answered {
        let output = warrantor()
            .args(words)
            .arg("--data")
            .arg(self.data())
            .args(["-o", "json"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Answered::of(&output)
    }

    /// A command that must succeed.
    pub fn done(&self, words: &[&str]) -> Value {
        let answered = self.control(words);
        assert_eq!(answered.code, 0, "{words:?}: {}{}", answered.stdout, answered.stderr);
        answered.json()
    }

    /// Every record with its place, as the export has it.
    pub fn records(&self) -> Vec<Value> {
        let answered = self.control(&["audit", "export"]);
        assert_eq!(answered.code, 0, "{}", answered.stderr);
        answered.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The events of one kind.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let event = |line: &Value| line["record"]["event"].clone();
        self.records().iter().map(event).filter(|event| event["event"] == kind).collect()
    }

    /// The ledger must verify; gives what was said.
    pub fn verified(&self) -> Value {
        let verified = self.done(&["audit", "verify"]);
        assert_eq!(verified["ok"], true, "{verified}");
        verified
    }

    /// Makes the pipe on which `slow` waits.
    pub fn make_gate(&self) {
        run(Command::new("mkfifo").arg(self.path("upstream/gate")));
    }

    /// Lets one call of `slow` go on.
    pub fn open_gate(&self) {
        // Opening waits for the reader, so nothing is lost if it is not there yet.
        drop(fs::OpenOptions::new().write(true).open(self.path("upstream/gate")).unwrap());
    }
}

/// What a command answered.
#[derive(Debug)]
pub struct Answered {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answered {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|cause| panic!("{cause}: {}{}", self.stdout, self.stderr))
    }
}

pub fn fixture(name: &str) -> String {
    fs::read_to_string(Path::new(FIXTURES).join(name)).unwrap()
}

/// The digest that pins definitions, as `manifest draft` gives it.
pub fn draft_digest(tools: &Path) -> String {
    let output = run(warrantor().args(["manifest", "draft", "fake", "--from"]).arg(tools));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("digest: "));
    line.unwrap_or_else(|| panic!("no digest in\n{text}")).to_owned()
}

/// A client: it sends lines and gets lines.
pub struct Session {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    stderr: PathBuf,
    next: u64,
}

impl Session {
    pub fn start(mut command: Command, directory: &Path) -> Self {
        let (file, stderr) =
            tempfile::Builder::new().prefix("stderr-").tempfile_in(directory).unwrap().keep().unwrap();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                // A line that was cut off is no answer.
                if !matches!(stdout.read_until(b'\n', &mut line), Ok(count) if count > 0)
                    || line.pop() != Some(b'\n')
                {
                    return;
                }
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, lines, stderr, next: 100 }
    }

    pub fn initialize(&mut self) {
        let answer = self.ask("initialize", INITIALIZE);
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}\n{}", self.stderr());
        self.send(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }

    /// Sends one line, as it is. A process that has ended is found out by whoever waits for the answer.
    pub fn send(&mut self, line: &[u8]) {
        let stdin = self.stdin.as_mut().expect("the input was closed");
        let _ = stdin.write_all(line).and_then(|()| stdin.write_all(b"\n")).and_then(|()| stdin.flush());
    }

    /// Sends bytes without the end of a line.
    pub fn send_cut(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("the input was closed");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).unwrap();
    }

    /// The next line.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => String::from_utf8(line).expect("a line that is not UTF-8"),
            Err(RecvTimeoutError::Timeout) => panic!("no answer in time\n{}", self.stderr()),
            Err(RecvTimeoutError::Disconnected) => panic!("the process ended\n{}", self.stderr()),
        }
    }

    /// The next line, if the process still answers.
    pub fn line_or_end(&mut self) -> Option<String> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(String::from_utf8(line).expect("a line that is not UTF-8")),
            Err(RecvTimeoutError::Timeout) => panic!("no answer in time\n{}", self.stderr()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// The next line, if it comes before the moment. An error: the process ended.
    pub fn line_until(&mut self, moment: Instant) -> Result<Option<String>, ()> {
        match self.lines.recv_timeout(moment.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(String::from_utf8(line).expect("a line that is not UTF-8"))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    pub fn json(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|cause| panic!("{cause}: {line}"))
    }

    /// Sends a request; gives its id.
    pub fn request(&mut self, method: &str, params: &str) -> u64 {
        self.next += 1;
        let id = self.next;
        self.send(
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#).as_bytes(),
        );
        id
    }

    /// The answer to a request, which must be the next line.
    pub fn ask(&mut self, method: &str, params: &str) -> Value {
        let id = self.request(method, params);
        let answer = self.json();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool with arguments as they are.
    pub fn call(&mut self, tool: &str, arguments: &str) -> Value {
        self.ask("tools/call", &format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#))
    }

    /// The text of a call that succeeds.
    pub fn passes(&mut self, tool: &str, arguments: &str) -> String {
        let answer = self.call(tool, arguments);
        text_of(&answer).unwrap_or_else(|| panic!("{tool} {arguments}: {answer}\n{}", self.stderr()))
    }

    /// The reason for which a call is refused.
    pub fn refused(&mut self, tool: &str, arguments: &str) -> String {
        let answer = self.call(tool, arguments);
        reason_of(&answer)
            .unwrap_or_else(|| panic!("{tool} {arguments} was not refused: {answer}\n{}", self.stderr()))
    }

    pub fn tools(&mut self) -> Vec<String> {
        let answer = self.ask("tools/list", "{}");
        let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// Closes the input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// Closes the input and waits for the end. Gives the status and what was said on standard error.
    pub fn end(mut self) -> (ExitStatus, String) {
        self.close();
        let status = self.child.wait().unwrap();
        (status, self.stderr())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text of a result that is no failure.
pub fn text_of(answer: &Value) -> Option<String> {
    let result = answer.get("result")?;
    if result.get("isError").is_some_and(|failed| *failed != json!(false)) {
        return None;
    }
    Some(result["content"][0]["text"].as_str()?.to_owned())
}

/// The reason code of a refusal.
pub fn reason_of(answer: &Value) -> Option<String> {
    let result = answer.get("result")?;
    let refusal = result.get("structuredContent").or_else(|| result["_meta"].get("dev.warrantor/refusal"))?;
    if result["isError"] != true {
        return None;
    }
    Some(refusal["reason"].as_str()?.to_owned())
}

/// The id of the decision that refused a call.
pub fn decision_of(answer: &Value) -> String {
    let result = &answer["result"];
    let refusal = result.get("structuredContent").unwrap_or(&result["_meta"]["dev.warrantor/refusal"]);
    refusal["decision"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}
