//! The real binary as a process: a call through `run` against the direct connection, start, memory.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::{
    median,
    report::{Part, Row},
};

const CALLS: usize = 200;

pub(crate) fn measure(binary: &Path, rounds: usize) -> anyhow::Result<Part> {
    let directory = tempfile::tempdir_in(".").context("the benchmark needs a directory on a real disk")?;
    let bundle = directory.path().join("bundle");
    warrantor_demo::bundle::write(&bundle)?;
    roomy(&bundle)?;
    let through = |data: &str| {
        let mut command = Command::new(binary);
        command.args([
            "run",
            "--server",
            warrantor_demo::bundle::SERVER,
            "--mandate",
            warrantor_demo::bundle::MANDATE,
        ]);
        command.arg("--bundle").arg(&bundle).arg("--data").arg(directory.path().join(data));
        command.arg("--").arg(binary).arg("demo-world");
        command
    };
    let direct = || {
        let mut command = Command::new(binary);
        command.arg("demo-world");
        command
    };
    let (mut ours, mut bare, mut start, mut bare_start) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut memory = 0.0f64;
    for round in 0..rounds {
        let begun = Instant::now();
        let mut peer = Peer::start(direct())?;
        peer.hello()?;
        peer.call()?;
        bare_start.push(begun.elapsed().as_secs_f64() * 1e3);
        bare.push(peer.sequential()?);
        let begun = Instant::now();
        // Each round has its own data directory: the mandate's budget of calls is for one.
        let mut peer = Peer::start(through(&format!("data-{round}")))?;
        peer.hello()?;
        peer.call()?;
        start.push(begun.elapsed().as_secs_f64() * 1e3);
        memory = memory.max(peer.resident()?);
        ours.push(peer.sequential()?);
    }
    let (ours, bare, start, bare_start) = (median(ours), median(bare), median(start), median(bare_start));
    Ok(Part {
        title: "Through `run`",
        method: format!(
            "{rounds} alternating rounds, each a fresh process. A call: the median of {CALLS} sequential `tools/call` of the demonstration's \
             `list_files` over stdio, first direct, then through `run` with its decision durable before it is sent and its outcome recorded. \
             Start: from starting the process to the first answered call, handshake and comparison of definitions included; a data \
             directory is made first. Memory: resident set after the first call."
        ),
        rows: vec![
            Row {
                what: "sequential call".into(),
                ours: format!("{ours:.0} µs"),
                against: format!("{bare:.0} µs"),
                ratio: format!("{:.1} ×", ours / bare),
                aim: "",
            },
            Row {
                what: "start to first decision".into(),
                ours: format!("{start:.0} ms"),
                against: format!("{bare_start:.0} ms"),
                ratio: format!("{:.1} ×", start / bare_start),
                aim: "< 300 ms",
            },
            Row {
                what: "idle memory".into(),
                ours: format!("{memory:.1} MB"),
                against: "—".into(),
                ratio: "—".into(),
                aim: "< 40 MB",
            },
        ],
    })
}

/// The demonstration's mandate with a budget of calls that measuring does not use up.
fn roomy(bundle: &Path) -> anyhow::Result<()> {
    let path = bundle.join("mandates").join(format!("{}.yaml", warrantor_demo::bundle::MANDATE));
    let text = std::fs::read_to_string(&path)?;
    let roomy = text.replace("limits: { calls: 40 }", "limits: { calls: 1000000 }");
    if roomy == text {
        bail!("the demonstration's mandate has no budget of 40 calls any more");
    }
    Ok(std::fs::write(path, roomy)?)
}

struct Peer {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    next: u64,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdin = child.stdin.take().context("no pipe")?;
        let stdout = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, stdin, stdout, next: 0 })
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.stdin.write_all(format!("{message}\n").as_bytes())?;
        Ok(self.stdin.flush()?)
    }

    fn ask(&mut self, method: &str, params: &Value) -> anyhow::Result<String> {
        self.next = self.next.saturating_add(1);
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }))?;
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("the process ended");
        }
        Ok(line)
    }

    fn hello(&mut self) -> anyhow::Result<()> {
        let client = json!({ "name": "bench", "version": "0" });
        self.ask(
            "initialize",
            &json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client }),
        )?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
    }

    fn call(&mut self) -> anyhow::Result<()> {
        let arguments = json!({ "directory": "/invoices/brightwell" });
        let line = self.ask("tools/call", &json!({ "name": "list_files", "arguments": arguments }))?;
        if line.contains("\"isError\":true") || line.contains("\"error\"") {
            bail!("the measured call did not pass: {line}");
        }
        Ok(())
    }

    /// The median call of a run of them, in microseconds.
    fn sequential(&mut self) -> anyhow::Result<f64> {
        let mut taken = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let begun = Instant::now();
            self.call()?;
            taken.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(median(taken))
    }

    /// Resident memory of the process, in megabytes.
    fn resident(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kilobytes / 1024.0)
    }
}
