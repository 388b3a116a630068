//! What a decision, a handover and a stop cost where very much is registered, against the same where little is.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, bail};
use warrantor_bundle::Loaded;
use warrantor_control::{
    handover::{Agreed, Desk},
    standing::{self, Act},
};
use warrantor_engine::{
    Engine, EngineParts, Presented, Settings, StopFile,
    bodies::SealKey,
    keys,
    mandates::StoredMandate,
    registry::{AgentState, Done, Risk, StoredAgent, StoredPerson},
};
use warrantor_model::{
    Clock, Definition, Digest, Evidence, MandateId, Offer, Randomness, Subject, Timestamp,
    record::{ActRecord, Event, Record},
    time::NoRandomness,
};
use warrantor_store::{Commit, Key, Store};
use warrantor_store_sql::{Options, SqliteStore};

use crate::{
    median,
    report::{Part, Row},
};

/// Entries of one commit while filling.
const AT_ONCE: usize = 900;
/// Mandates that are handed over in earnest and called under.
const CALLED: usize = 40;

/// How much is registered.
#[derive(Clone, Copy)]
struct Size {
    agents: usize,
    people: usize,
    mandates: usize,
}

const LITTLE: Size = Size { agents: 100, people: 100, mandates: 100 };
const MUCH: Size = Size { agents: 100_000, people: 10_000, mandates: 1_000_000 };

pub(crate) struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Numbers in order do where nobody guesses.
#[derive(Default)]
pub(crate) struct Counting(std::sync::atomic::AtomicU64);

impl Randomness for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        for chunk in buffer.chunks_mut(8) {
            let next =
                self.0.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed).to_be_bytes();
            for (to, from) in chunk.iter_mut().zip(next) {
                *to = from;
            }
        }
        Ok(())
    }
}

/// A store that is filled, and everything around it.
struct World {
    store: Arc<SqliteStore>,
    stop: Arc<StopFile>,
    bundle: Arc<Loaded>,
    engine: Engine<SqliteStore>,
    randomness: Arc<Counting>,
    mandates: Vec<MandateId>,
}

pub(crate) fn measure(binary: &Path, rounds: usize) -> anyhow::Result<Part> {
    let directory = tempfile::tempdir_in(".").context("the benchmark needs a directory on a real disk")?;
    let bundle_dir = directory.path().join("bundle");
    warrantor_demo::bundle::write(&bundle_dir)?;
    std::fs::write(bundle_dir.join("policies/bench.cedar"), "permit (principal, action, resource);\n")?;
    let bundle = Arc::new(warrantor_bundle::load(&bundle_dir).map_err(|report| anyhow::anyhow!("{report}"))?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (little, much) = (directory.path().join("little"), directory.path().join("much"));
    let little_world = runtime.block_on(World::fill(&little, &bundle, LITTLE))?;
    let begun = Instant::now();
    // Keys of the program's own, so that it can be started on what is there.
    let made = Command::new(binary).args(["person", "list", "-o", "json", "--data"]).arg(&much).output()?;
    if !made.status.success() {
        bail!("no data directory was made: {}", String::from_utf8_lossy(&made.stderr));
    }
    let much_world = runtime.block_on(World::fill(&much, &bundle, MUCH))?;
    println!("filled in {:.0} s", begun.elapsed().as_secs_f64());
    let figures = |world: &World| -> anyhow::Result<[f64; 3]> {
        runtime.block_on(async { Ok([world.decide().await?, world.hand_over().await?, world.stop().await?]) })
    };
    let mut all: [(Vec<f64>, Vec<f64>); 3] = Default::default();
    for _ in 0..rounds {
        for (at, (few, many)) in figures(&little_world)?.into_iter().zip(figures(&much_world)?).enumerate() {
            if let Some((little, much)) = all.get_mut(at) {
                little.push(few);
                much.push(many);
            }
        }
    }
    let names = ["decide", "hand over a task, durable", "stop an agent, durable"];
    let aims = ["≤ 1.2 ×", "", ""];
    let mut rows = Vec::new();
    for ((what, aim), (few, many)) in names.into_iter().zip(aims).zip(all) {
        let (few, many) = (median(few), median(many));
        rows.push(Row {
            what: what.to_owned(),
            ours: format!("{many:.0} µs"),
            against: format!("{few:.0} µs"),
            ratio: format!("{:.2} ×", many / few),
            aim,
        });
    }
    runtime.block_on(async {
        little_world.store.close().await;
        much_world.store.close().await;
    });
    drop((little_world, much_world));
    let memory = resident(binary, &bundle_dir, &much)?;
    rows.push(Row {
        what: "memory of `warrantor serve` that has just begun".to_owned(),
        ours: format!("{memory:.1} MB"),
        against: "—".to_owned(),
        ratio: "—".to_owned(),
        aim: "",
    });
    Ok(Part {
        title: "Where very much is registered",
        method: format!(
            "{rounds} alternating rounds over two SQLite stores on the disk: {} agents, {} people and {} mandates in one, {} of each in the other. \
             Decide: `Engine::would` for a reading call of an agent, a person, an owner and a sponsor who are all in the registry, everything read anew from \
             the store each time, the median over {CALLED} mandates in turn. Hand over: a mandate written out, its record durable. Stop: stop file and record.",
            MUCH.agents, MUCH.people, MUCH.mandates, LITTLE.agents
        ),
        rows,
    })
}

impl World {
    async fn fill(directory: &Path, bundle: &Arc<Loaded>, size: Size) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let store = Arc::new(SqliteStore::open(directory.join("warrantor.db"), Options::default()).await?);
        let stop = Arc::new(StopFile::open(&directory.join("stop"))?);
        let randomness = Arc::new(Counting(std::sync::atomic::AtomicU64::new(1)));
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&store),
            snapshot: Arc::clone(&bundle.snapshot),
            stop: Arc::clone(&stop),
            seal: SealKey::new([9; 32]),
            clock: Arc::new(Wall),
            randomness: Arc::clone(&randomness) as _,
            settings: Settings::named("bench"),
        });
        let mut filling = Filling { store: &store, puts: Vec::new(), commits: 0 };
        for nth in 0..size.people {
            filling.put(keys::person(&format!("p{nth}").parse()?)?, &person(nth)).await?;
        }
        for nth in 0..size.agents {
            filling.put(keys::agent(&format!("a{nth}").parse()?)?, &agent(nth, size)?).await?;
        }
        for nth in 0..size.mandates {
            let mandate = mandate(nth, size)?;
            let id: MandateId = format!("m{nth:012x}-{nth:016x}").parse()?;
            let of_person = Key::new(format!("mandates/person/{}/{id}", mandate.person))?;
            filling.put(keys::mandate(&id)?, &mandate).await?;
            filling.put(of_person, &()).await?;
        }
        filling.flush().await?;
        let mut world =
            Self { store, stop, bundle: Arc::clone(bundle), engine, randomness, mandates: Vec::new() };
        for nth in 0..CALLED {
            let mandate = world.hand(nth.saturating_mul(size.people / CALLED)).await?;
            world.mandates.push(mandate);
        }
        Ok(world)
    }

    /// Hands a task of one of the people to one of the agents.
    async fn hand(&self, nth: usize) -> anyhow::Result<MandateId> {
        let document = document(nth, nth);
        let document = warrantor_model::Json::parse(document.as_bytes())?;
        let template = self.bundle.written_out(&document).map_err(|report| anyhow::anyhow!("{report}"))?;
        let seal = SealKey::new([9; 32]);
        let desk = Desk {
            store: Arc::clone(&self.store),
            stop: &self.stop,
            bundle: &self.bundle,
            seal: &seal,
            clock: &Wall,
            randomness: &*self.randomness,
            evidence: "bench".to_owned(),
        };
        Ok(desk.hand_over_agreed(&template, &Agreed::default()).await?.mandate)
    }

    async fn decide(&self) -> anyhow::Result<f64> {
        let mut took = Vec::new();
        for _ in 0..5 {
            for mandate in &self.mandates {
                let call = Presented {
                    method: "tools/call".to_owned(),
                    mandate: mandate.clone(),
                    server: warrantor_demo::bundle::SERVER.parse()?,
                    offer: Offer::Tool,
                    tool: "list_files".to_owned(),
                    arguments: b"{}".to_vec(),
                    evidence: Evidence::LocalUser { uid: 0, name: None },
                    definition: Definition::AsPinned,
                };
                let begun = Instant::now();
                let would = self.engine.would(&call).await;
                took.push(begun.elapsed().as_secs_f64() * 1e6);
                if let Err(refusal) = would {
                    bail!("a call would not pass: {:?}", refusal.findings());
                }
            }
        }
        Ok(median(took))
    }

    async fn hand_over(&self) -> anyhow::Result<f64> {
        let mut took = Vec::new();
        for nth in 0..30 {
            let begun = Instant::now();
            self.hand(nth).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        Ok(median(took))
    }

    async fn stop(&self) -> anyhow::Result<f64> {
        let mut took = Vec::new();
        for nth in 0..10 {
            let subject = Subject::Agent(format!("stopped-{nth}").parse()?);
            let act = Act { evidence: "bench", reason: None, now: Wall.now(), randomness: &*self.randomness };
            let begun = Instant::now();
            standing::stop(&self.stop, Some(&*self.store), &subject, &act).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e6);
            standing::lift(&self.stop, &*self.store, &subject, &act).await?;
        }
        Ok(median(took))
    }
}

struct Filling<'a> {
    store: &'a SqliteStore,
    puts: Vec<(Key, Vec<u8>)>,
    commits: u64,
}

impl Filling<'_> {
    async fn put<T: serde::Serialize>(&mut self, key: Key, value: &T) -> anyhow::Result<()> {
        self.puts.push((key, serde_json::to_vec(value)?));
        if self.puts.len() >= AT_ONCE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let event = Event::Act(ActRecord {
            act: "bench:fill".to_owned(),
            on: "deployment".to_owned(),
            actor: "host".to_owned(),
            evidence: String::new(),
            policies: Vec::new(),
            refused: false,
            changes: Vec::new(),
            reason: None,
            entry: None,
        });
        let mut commit = Commit::new(Record::new(format!("fill-{}", self.commits), Wall.now(), event));
        commit.puts = std::mem::take(&mut self.puts);
        self.store.commit(commit).await?;
        self.commits = self.commits.saturating_add(1);
        Ok(())
    }
}

fn done() -> Done {
    Done { at: Wall.now(), by: "host".to_owned() }
}

fn person(nth: usize) -> StoredPerson {
    StoredPerson {
        issuer: "https://login.example.com".to_owned(),
        subject: format!("00u{nth}"),
        name: Some(format!("Person {nth}")),
        mail: [format!("p{nth}@example.com")].into(),
        handles: Default::default(),
        told_groups: Default::default(),
        given_groups: Default::default(),
        directory_groups: Default::default(),
        left: None,
        registered: done(),
    }
}

fn agent(nth: usize, size: Size) -> anyhow::Result<StoredAgent> {
    Ok(StoredAgent {
        owner: format!("p{}", nth % size.people).parse()?,
        sponsors: vec![format!("p{}", (nth + 1) % size.people).parse()?],
        deputies: Vec::new(),
        purpose: "measures".to_owned(),
        risk: Risk::Low,
        servers: [warrantor_demo::bundle::SERVER.parse()?].into(),
        effects: [warrantor_model::Effect::Read].into(),
        is_blueprint: false,
        blueprint: None,
        keys: Default::default(),
        proposed: done(),
        state: AgentState::Active { approved: done() },
    })
}

fn document(person: usize, agent: usize) -> String {
    format!(
        r#"{{"id":"look","person":"p{person}","agent":"a{agent}","purpose":"look around","expires_in":"8h","grants":[{{"tool":"{}/list_files"}}]}}"#,
        warrantor_demo::bundle::SERVER
    )
}

fn mandate(nth: usize, size: Size) -> anyhow::Result<StoredMandate> {
    let document = document(nth % size.people, nth % size.agents);
    Ok(StoredMandate {
        template: "look".parse()?,
        parent: None,
        task: format!("t{nth}").parse()?,
        person: format!("p{}", nth % size.people).parse()?,
        handed_over_at: Wall.now(),
        expires_at: Wall.now().plus(std::time::Duration::from_secs(8 * 3600)),
        terms: Digest::of(document.as_bytes()),
        document,
        consent: None,
        review_at: None,
        begins_task: false,
    })
}

/// What the control plane holds in memory on a data directory, once it listens.
fn resident(binary: &Path, bundle: &Path, data: &Path) -> anyhow::Result<f64> {
    let config = data.join("serve.toml");
    let text =
        format!("bundle = {:?}\nlisten = \"127.0.0.1:0\"\n", bundle.canonicalize()?.display().to_string());
    std::fs::write(&config, text)?;
    let mut child = Command::new(binary)
        .args(["serve", "-o", "json", "--config"])
        .arg(&config)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let out = child.stdout.take().context("no output")?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    let begun = Instant::now();
    let ready = lines.any(|line| line.is_ok_and(|line| line.contains("\"url\"")));
    println!("serve is ready after {:.1} s", begun.elapsed().as_secs_f64());
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = resident.trim().trim_end_matches(" kB").trim().parse()?;
    child.kill()?;
    child.wait()?;
    if !ready {
        bail!("the control plane did not come up on what was registered");
    }
    Ok(kilobytes / 1024.0)
}
