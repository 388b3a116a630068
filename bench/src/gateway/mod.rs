//! The gateway between a client and a server on HTTP, against the direct connection and a bare passthrough.

mod peers;

use std::{
    cell::Cell,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use self::peers::{Speaks, Wire};
use crate::{
    median,
    report::{Part, Row},
};

/// Sequential calls a round.
const CALLS: usize = 300;
/// How many tasks there are. One that has made thousands of calls is slower: its history is searched for every value.
const MANDATES: usize = 400;
/// How many tasks there are where they are decided elsewhere.
const TASKS_ELSEWHERE: usize = 100;
/// What each of them allows.
const TERMS: &str = "person: ann\nagent: bot\npurpose: measuring\nrequest: Say it again.\nexpires_in: 8h\nlimits: { calls: 100000000 }\ngrants:\n  - effects: [read]\n    servers: [echo]\n    arguments: { text: { max_length: 1000 }, amount: { max: 100 } }\n";
/// How long concurrent calls go on, a round.
const WHILE: Duration = Duration::from_millis(700);

/// What a process of this program serves instead of measuring.
pub(crate) fn serve(what: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match what.split_once(':') {
        Some(("echo", tools)) => runtime.block_on(peers::serve_echo(tools.parse()?)),
        Some(("passthrough", to)) => runtime.block_on(peers::serve_passthrough(to.parse()?)),
        _ => bail!("{what:?} is nothing that can be served"),
    }
}

/// A process that said where it listens.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn own(what: &str) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--serve", what]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("no pipe")?).read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, child })
    }

    /// A command of ours that serves, and what it said when it was ready.
    fn of(binary: &Path, what: &str, config: &Path) -> anyhow::Result<(Self, Value)> {
        let mut command = Command::new(binary);
        command.args([what, "-o", "json", "--config"]).arg(config);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no pipe")?);
        let mut said = String::new();
        let listening: Value = loop {
            if out.read_line(&mut said)? == 0 {
                bail!("no {what} came up");
            }
            if let Ok(listening) = serde_json::from_str(&said) {
                break listening;
            }
        };
        let url = listening.get("url").and_then(Value::as_str).context("no url")?;
        let address = url.trim_start_matches("http://").parse()?;
        Ok((Self { address, child }, listening))
    }

    /// Time on processors so far, in microseconds.
    fn processor_micros(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |nth: usize| fields.get(nth).and_then(|field| field.parse::<f64>().ok());
        // In hundredths of a second, as Linux counts for user space.
        Ok((ticks(11).context("no utime")? + ticks(12).context("no stime")?) * 1e4)
    }

    fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kilobytes / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One way to the server.
struct Way {
    address: SocketAddr,
    path: &'static str,
    token: String,
    /// The mandates of tasks.
    tasks: Vec<String>,
    /// The task that the next client works on.
    task: Cell<usize>,
}

impl Way {
    fn new(address: SocketAddr, path: &'static str, token: &str) -> Self {
        let tasks = (0..MANDATES).map(|nth| format!("work-{nth}")).collect();
        Self { address, path, token: token.to_owned(), tasks, task: Cell::new(0) }
    }

    /// A client on a task of its own.
    async fn open(&self, speaks: Speaks) -> anyhow::Result<Wire> {
        let task = self.task.get();
        self.task.set((task + 1) % self.tasks.len());
        let mandate = self.tasks.get(task).context("no task")?;
        Wire::open(self.address, self.path, &self.token, mandate, speaks).await
    }
}

/// A gateway with its bundle and its data in a directory.
struct Deployed {
    server: Server,
    token: String,
}

impl Deployed {
    fn start(
        binary: &Path,
        directory: &Path,
        data: &Path,
        upstream: SocketAddr,
        tools: usize,
    ) -> anyhow::Result<Self> {
        let bundle = directory.join("bundle");
        for part in ["tools", "policies", "mandates"] {
            fs::create_dir_all(bundle.join(part))?;
        }
        let files = [
            (
                "people.yaml",
                "people:\n  - { id: ann, issuer: \"https://login.example.com\", subject: u1, mail: [ann@example.com], groups: [staff], status: active }\n",
            ),
            (
                "agents.yaml",
                "agents:\n  - { id: bot, owner: ann, sponsors: [ann], purpose: measuring, status: active, ceiling: { servers: [echo], effects: [read, write] } }\n",
            ),
            (
                "policies/p.cedar",
                "@id(\"all\") permit(principal, action in Action::\"server:echo\", resource) when { context.arguments.text like \"*\" };\n@id(\"large\") forbid(principal, action in Action::\"server:echo\", resource) when { context.arguments has amount && context.arguments.amount.greaterThan(decimal(\"1000.0\")) };\n@id(\"never\") forbid(principal, action in Action::\"server:echo\", resource) when { context.task.labels.contains(\"untrusted\") && context.task.calls < 0 };\n",
            ),
            (
                "mandates/work.yaml",
                "id: work\nperson: ann\nagent: bot\npurpose: measuring\nrequest: Say it again.\nexpires_in: 8h\nlimits: { calls: 100000000 }\ngrants:\n  - effects: [read]\n    servers: [echo]\n    arguments: { text: { max_length: 1000 }, amount: { max: 100 } }\n",
            ),
        ];
        for (name, text) in files {
            fs::write(bundle.join(name), text)?;
        }
        for nth in 0..MANDATES {
            let mandate = format!("id: work-{nth}\n{TERMS}");
            fs::write(bundle.join(format!("mandates/work-{nth}.yaml")), mandate)?;
        }
        fs::write(bundle.join("tools/echo.tools.json"), peers::definitions(tools)?)?;
        let names = (1..tools).map(|nth| format!("  echo_{nth}: {{ effects: [read] }}\n"));
        let rules: String =
            std::iter::once("  echo: { effects: [read] }\n".to_owned()).chain(names).collect();
        let manifest = format!("server: echo\ndefinitions: echo.tools.json\ntools:\n{rules}");
        fs::write(bundle.join("tools/echo.yaml"), manifest)?;
        let tokens = directory.join("tokens.toml");
        let _ = fs::remove_file(&tokens);
        let made = Command::new(binary)
            .args(["token", "add", "bench", "--agent", "bot", "-o", "json", "--file"])
            .arg(&tokens)
            .args((0..MANDATES).flat_map(|nth| ["--mandate".to_owned(), format!("work-{nth}")]))
            .output()?;
        let made: Value = serde_json::from_slice(&made.stdout)?;
        let token = made.get("token").and_then(Value::as_str).context("no token")?.to_owned();
        let config = directory.join("gateway.toml");
        fs::write(
            &config,
            format!(
                "bundle = \"bundle\"\ndata = {:?}\ntokens = \"tokens.toml\"\nlisten = \"127.0.0.1:0\"\n[limits]\nrequests_per_second = 1000000\nrequests = 100000\n[servers.echo]\nurl = \"http://{upstream}/\"\n",
                data.display().to_string()
            ),
        )?;
        Ok(Self { server: Server::of(binary, "gateway", &config)?.0, token })
    }

    fn way(&self) -> Way {
        Way::new(self.server.address, "/echo", &self.token)
    }
}

/// A gateway whose calls a control plane decides, and that control plane.
struct Elsewhere {
    deployed: Deployed,
    tasks: Vec<String>,
    _plane: Server,
}

impl Elsewhere {
    /// Beside the bundle of a gateway in `directory`, on a data directory of its own.
    fn start(binary: &Path, directory: &Path, data: &Path, upstream: SocketAddr) -> anyhow::Result<Self> {
        let run = |words: &[&str]| -> anyhow::Result<Value> {
            let said = Command::new(binary).args(words).args(["-o", "json", "--data"]).arg(data).output()?;
            if !said.status.success() {
                bail!("{words:?}: {}", String::from_utf8_lossy(&said.stderr));
            }
            Ok(serde_json::from_slice(&said.stdout)?)
        };
        let bundle = directory.join("bundle").display().to_string();
        let mut tasks = Vec::new();
        for nth in 0..TASKS_ELSEWHERE {
            let handed = run(&["mandate", "handover", &format!("work-{nth}"), "--bundle", &bundle])?;
            tasks.push(handed.get("mandate").and_then(Value::as_str).context("no mandate")?.to_owned());
        }
        let made = run(&["client", "add", "bench", "--role", "enforcement-point"])?;
        fs::write(
            directory.join("plane-token"),
            made.get("token").and_then(Value::as_str).context("no token")?,
        )?;
        let serve = directory.join("serve.toml");
        fs::write(
            &serve,
            format!(
                "bundle = \"bundle\"\ndata = {:?}\nlisten = \"127.0.0.1:0\"\n",
                data.display().to_string()
            ),
        )?;
        let (plane, said) = Server::of(binary, "serve", &serve)?;
        let key = said.get("key").and_then(Value::as_str).context("no key")?;
        let tokens = directory.join("tokens-elsewhere.toml");
        let made = Command::new(binary)
            .args(["token", "add", "bench", "--agent", "bot", "--handed-over", "-o", "json", "--file"])
            .arg(&tokens)
            .output()?;
        let made: Value = serde_json::from_slice(&made.stdout)?;
        let token = made.get("token").and_then(Value::as_str).context("no token")?.to_owned();
        let config = directory.join("gateway-elsewhere.toml");
        fs::write(
            &config,
            format!(
                "point = \"bench\"\ntokens = \"tokens-elsewhere.toml\"\nlisten = \"127.0.0.1:0\"\n[plane]\nurl = \"http://{}\"\ntoken = {{ file = \"plane-token\" }}\nkeys = [{key:?}]\n[limits]\nrequests_per_second = 1000000\nrequests = 100000\n[servers.echo]\nurl = \"http://{upstream}/\"\n",
                plane.address
            ),
        )?;
        let (server, _) = Server::of(binary, "gateway", &config)?;
        Ok(Self { deployed: Deployed { server, token }, tasks, _plane: plane })
    }

    fn way(&self) -> Way {
        Way { tasks: self.tasks.clone(), ..self.deployed.way() }
    }
}

/// How many streams are idle when their memory is looked at. A system may let a process have no more than 1024 files open.
const STREAMS: usize = 1000;

/// The median of sequential calls, in microseconds.
async fn sequential(way: &Way, speaks: Speaks) -> anyhow::Result<f64> {
    let mut wire = way.open(speaks).await?;
    for _ in 0..20 {
        wire.call().await?;
    }
    let mut taken = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        wire.call().await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(taken))
}

/// The median of sequential lists, in microseconds.
async fn lists(way: &Way) -> anyhow::Result<f64> {
    let mut wire = way.open(Speaks::Modern).await?;
    wire.list().await?;
    let mut taken = Vec::new();
    for _ in 0..40 {
        let begun = Instant::now();
        wire.list().await?;
        taken.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(taken))
}

/// Calls a second of so many clients at once.
async fn concurrent(way: &Way, clients: usize, speaks: Speaks) -> anyhow::Result<f64> {
    let mut wires = Vec::new();
    for _ in 0..clients {
        let mut wire = way.open(speaks).await?;
        wire.call().await?;
        wires.push(wire);
    }
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut wire in wires {
        tasks.spawn(async move {
            let mut calls = 0u32;
            while begun.elapsed() < WHILE {
                wire.call().await?;
                calls = calls.saturating_add(1);
            }
            anyhow::Ok(calls)
        });
    }
    let mut calls = 0.0;
    while let Some(done) = tasks.join_next().await {
        calls += f64::from(done??);
    }
    Ok(calls / begun.elapsed().as_secs_f64())
}

/// Figures of one way, round by round.
#[derive(Default)]
struct Figures {
    sequential: Vec<f64>,
    legacy: Vec<f64>,
    sixteen: Vec<f64>,
    many: Vec<f64>,
}

impl Figures {
    async fn round(&mut self, way: &Way) -> anyhow::Result<()> {
        self.sequential.push(sequential(way, Speaks::Modern).await?);
        self.legacy.push(sequential(way, Speaks::Legacy).await?);
        self.sixteen.push(concurrent(way, 16, Speaks::Modern).await?);
        self.many.push(concurrent(way, 64, Speaks::Modern).await?);
        Ok(())
    }
}

pub(crate) fn measure(binary: &Path, rounds: usize) -> anyhow::Result<Part> {
    let directory = tempfile::tempdir_in(".").context("the benchmark needs a directory on a real disk")?;
    let memory = tempfile::tempdir_in("/dev/shm").context("the benchmark needs a directory in memory")?;
    let upstream = Server::own("echo:1")?;
    let passthrough = Server::own(&format!("passthrough:{}", upstream.address))?;
    let place = |name: &str| -> anyhow::Result<PathBuf> {
        let place = directory.path().join(name);
        fs::create_dir_all(&place)?;
        Ok(place)
    };
    let durable_place = place("durable")?;
    let durable = Deployed::start(
        binary,
        &durable_place,
        &fs::canonicalize(&durable_place)?.join("data"),
        upstream.address,
        1,
    )?;
    let volatile_place = place("volatile")?;
    let volatile =
        Deployed::start(binary, &volatile_place, &memory.path().join("data"), upstream.address, 1)?;
    let elsewhere =
        Elsewhere::start(binary, &volatile_place, &memory.path().join("elsewhere"), upstream.address)?;
    let direct = Way::new(upstream.address, "/", "none");
    let bare = Way::new(passthrough.address, "/", "none");
    let (in_memory, on_disk, over_the_wire) = (volatile.way(), durable.way(), elsewhere.way());
    let idle = durable.server.resident()?;
    // The client has one thread, so that it takes no more of the machine than it must.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let with_streams = runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut wire = on_disk.open(Speaks::Modern).await?;
            wire.listen().await?;
            streams.push(wire);
        }
        durable.server.resident()
    })?;
    let (mut of_direct, mut of_bare) = (Figures::default(), Figures::default());
    let (mut of_volatile, mut of_durable) = (Figures::default(), Figures::default());
    let mut of_elsewhere = Figures::default();
    let mut processor = Vec::new();
    runtime.block_on(async {
        for _ in 0..rounds {
            of_direct.round(&direct).await?;
            of_bare.round(&bare).await?;
            of_volatile.round(&in_memory).await?;
            of_durable.round(&on_disk).await?;
            of_elsewhere.round(&over_the_wire).await?;
            let before = volatile.server.processor_micros()?;
            let mut wire = in_memory.open(Speaks::Modern).await?;
            for _ in 0..500 {
                wire.call().await?;
            }
            processor.push((volatile.server.processor_micros()? - before) / 500.0);
        }
        anyhow::Ok(())
    })?;
    let loaded = durable.server.resident()?;
    let mut rows = rows(
        &of_direct,
        [
            ("passthrough", of_bare),
            ("record in memory", of_volatile),
            ("durable", of_durable),
            ("decided elsewhere, record in memory", of_elsewhere),
        ],
    );
    let micros = median(processor);
    let alone = |what: &str, ours: String, aim| Row {
        what: what.into(),
        ours,
        against: "—".into(),
        ratio: "—".into(),
        aim,
    };
    rows.push(alone("processor time a call, record in memory", format!("{micros:.0} µs"), "≤ 250 µs"));
    rows.push(alone("memory, idle", format!("{idle:.1} MB"), "≤ 40 MB"));
    rows.push(alone("memory, with 1,000 idle streams", format!("{with_streams:.1} MB"), ""));
    rows.push(alone("memory, after all of this", format!("{loaded:.1} MB"), ""));
    for tools in [1usize, 10, 100, 1000] {
        let upstream = Server::own(&format!("echo:{tools}"))?;
        let name = format!("list-{tools}");
        let ours =
            Deployed::start(binary, &place(&name)?, &memory.path().join(&name), upstream.address, tools)?;
        let direct = Way::new(upstream.address, "/", "none");
        let way = ours.way();
        let (mine, theirs) = runtime.block_on(async {
            let (mut mine, mut theirs) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                theirs.push(lists(&direct).await?);
                mine.push(lists(&way).await?);
            }
            anyhow::Ok((median(mine), median(theirs)))
        })?;
        rows.push(Row {
            what: format!("list of {tools} tools"),
            ours: format!("{mine:.0} µs"),
            against: format!("{theirs:.0} µs"),
            ratio: format!("{:.2} ×", mine / theirs),
            aim: "",
        });
    }
    Ok(Part {
        title: "Through the gateway",
        method: format!(
            "{rounds} alternating rounds; the client, the server and what stands between are processes of their own on this machine. Against: the direct connection to \
             the same server (Rust, rmcp). Passthrough: a proxy on hyper that passes everything on and looks at nothing, which is the floor. Every call has two arguments, \
             which are validated, bounded by a grant and read by policies. Record in memory: the data directory on a file system in memory, to see what durability \
             costs; durable: on the disk; decided elsewhere: by a control plane that is another process, over HTTP in the clear. Sequential: the median of {CALLS} calls on one connection. At once: calls a second of so many clients, each on a task of its own, over {} ms. \
             Idle streams: `subscriptions/listen`, each on a connection of its own, here and at the server, of a gateway that has done nothing else yet. \
             2026-07-28 unless it says otherwise.",
            WHILE.as_millis()
        ),
        rows,
    })
}

fn rows(direct: &Figures, ways: [(&str, Figures); 4]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, figures) in ways {
        let aims = match name {
            "record in memory" => ["≤ 2.0 ×", "", "≥ 0.5 ×", ""],
            "durable" => ["", "", "≥ 0.35 ×", "≥ 0.45 ×"],
            _ => [""; 4],
        };
        let micros = |what: &str, ours: &[f64], against: &[f64], aim| {
            let (ours, against) = (median(ours.to_vec()), median(against.to_vec()));
            Row {
                what: format!("{name}: {what}"),
                ours: format!("{ours:.0} µs"),
                against: format!("{against:.0} µs"),
                ratio: format!("{:.2} ×", ours / against),
                aim,
            }
        };
        let a_second = |what: &str, ours: &[f64], against: &[f64], aim| {
            let (ours, against) = (median(ours.to_vec()), median(against.to_vec()));
            Row {
                what: format!("{name}: {what}"),
                ours: format!("{ours:.0}/s"),
                against: format!("{against:.0}/s"),
                ratio: format!("{:.2} ×", ours / against),
                aim,
            }
        };
        let [first, second, third, fourth] = aims;
        rows.push(micros("sequential", &figures.sequential, &direct.sequential, first));
        rows.push(micros("sequential, 2025-11-25", &figures.legacy, &direct.legacy, second));
        rows.push(a_second("16 at once", &figures.sixteen, &direct.sixteen, third));
        rows.push(a_second("64 at once", &figures.many, &direct.many, fourth));
    }
    rows
}
