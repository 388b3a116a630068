//! A small invented bundle, mandates written as JSON, and one check function for cases as data.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the builders")]

pub mod bundle;
pub mod mandates;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use warrantor_decide::{
    Charge, Decision, Draft, Facts, Fault, History, Hop, Output, Parts, Snapshot, TaskState, decide,
};
use warrantor_model::{
    Call, Decimal, Definition, Digest, Effect, EffectSet, Evidence, Json, Mandate, ReasonCode, Standing,
    Subject, Terms, Timestamp,
};

pub use bundle::parts;
pub use mandates::terms;

/// The instant of every decision, unless a case moves it.
pub const NOON: &str = "2026-10-05T12:00:00Z";

pub fn json(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or_else(|cause| panic!("{text}: {cause}"))
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Everything a decision reads, each part open to a case's change.
#[derive(Clone)]
pub struct World {
    pub parts: Parts,
    /// One mandate a hop, the root first.
    pub chain: Vec<Terms>,
    /// What cannot be said in terms: ids, parents, expiry.
    pub mandates: Vec<Mandate>,
    pub call: Call,
    pub now: Timestamp,
    pub facts: Facts,
    /// Counters that do not stand at zero, by key.
    pub counters: BTreeMap<String, Decimal>,
    /// Members that are there.
    pub members: BTreeSet<String>,
    pub calls: u64,
    pub effects: EffectSet,
    /// What the task has seen and done.
    pub history: Vec<Happened>,
    pub labels: BTreeSet<String>,
}

/// One event of a history.
#[derive(Clone)]
pub enum Happened {
    /// A call, and whether it passed.
    Call { id: String, tool: String, arguments: String, passed: bool },
    /// What came back.
    Result { id: String, tool: String, output: Output },
}

impl World {
    /// Alice handed bot one task; everything is permitted to everyone by policy.
    pub fn new(grants: &str) -> Self {
        let mut world = Self {
            parts: parts(),
            chain: Vec::new(),
            mandates: Vec::new(),
            call: call("files/read", "{}"),
            now: at(NOON),
            facts: Facts { standing: Standing::default(), last_record_at: at(NOON), approval: None },
            counters: BTreeMap::new(),
            members: BTreeSet::new(),
            calls: 0,
            effects: EffectSet::EMPTY,
            history: Vec::new(),
            labels: BTreeSet::new(),
        };
        world.hop(&format!(r#"{{"id":"root","grants":{grants}}}"#));
        world
    }

    /// Adds a hop from a mandate written as JSON.
    pub fn hop(&mut self, text: &str) -> &mut Self {
        let terms = terms(&json(text));
        let before = self.mandates.last();
        self.mandates.push(Mandate {
            id: format!("m{}", self.mandates.len()).parse().unwrap(),
            parent: before.map(|mandate| mandate.id.clone()),
            task: "task-1".parse().unwrap(),
            begins_task: false,
            terms: Arc::new(terms.clone()),
            handed_over_at: at("2026-10-05T11:00:00Z"),
            expires_at: at("2026-10-05T13:00:00Z"),
        });
        self.chain.push(terms);
        self.call.mandate = self.mandates.last().unwrap().id.clone();
        self
    }

    /// Replaces the chain by these mandates.
    pub fn hops(mut self, texts: &[&str]) -> Self {
        self.chain.clear();
        self.mandates.clear();
        for text in texts {
            self.hop(text);
        }
        self
    }

    pub fn call(mut self, tool: &str, arguments: &str) -> Self {
        self.call.tool = tool.parse().unwrap();
        self.call.arguments = json(arguments);
        self
    }

    pub fn policies(mut self, text: &str) -> Self {
        self.parts.policies =
            vec![warrantor_decide::PolicySource { file: "test.cedar".into(), text: text.into() }];
        self
    }

    /// With these policies beside the one that permits everything.
    pub fn and_policies(self, text: &str) -> Self {
        self.policies(&format!("@id(\"all\")\npermit(principal, action, resource);\n{text}"))
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn stopped(self, subject: &str) -> Self {
        let subject: Subject = subject.parse().unwrap();
        self.with(|w| w.facts.standing = std::mem::take(&mut w.facts.standing).and([subject]))
    }

    pub fn counter(self, key: &str, value: &str) -> Self {
        self.with(|w| w.counters.extend([(key.into(), value.parse().unwrap())]))
    }

    pub fn snapshot(&self) -> Snapshot {
        match Snapshot::build(self.parts.clone()) {
            Ok(built) => built.snapshot,
            Err(faults) => panic!("the bundle does not build: {}", show(&faults)),
        }
    }

    pub fn task(&self, snapshot: &Snapshot) -> TaskState {
        let chain: Vec<Hop> = self
            .chain
            .iter()
            .zip(&self.mandates)
            .map(|(terms, mandate)| {
                let compiled = snapshot
                    .compile(terms.clone())
                    .unwrap_or_else(|faults| panic!("the mandate does not compile: {}", show(&faults)));
                Hop {
                    mandate: mandate.clone(),
                    terms: Arc::new(compiled),
                    terms_digest: Digest::of(b"terms"),
                }
            })
            .collect();
        let wanted = snapshot.wanted(&chain, &self.call, self.now);
        let counters = wanted
            .counters
            .into_iter()
            .map(|key| {
                let value = self.counters.get(&key).copied().unwrap_or_default();
                (key, value)
            })
            .collect();
        let members = wanted.members.into_iter().filter(|member| self.members.contains(member)).collect();
        let history = Arc::new(self.history_on(snapshot));
        let labels = self.labels.clone();
        TaskState {
            chain,
            calls: self.calls,
            effects: self.effects,
            counters,
            members,
            history,
            labels,
            tracked_at: self.now,
        }
    }

    fn history_on(&self, snapshot: &Snapshot) -> History {
        let person = self.chain.first().and_then(|terms| snapshot.person(&terms.person));
        self.history.iter().fold(History::default(), |history, happened| {
            history.with(match happened {
                Happened::Call { id, tool, arguments, passed } => {
                    snapshot.call_event(id, &tool.parse().unwrap(), &json(arguments), *passed)
                }
                Happened::Result { id, tool, output } => {
                    snapshot.result_event(id, &tool.parse().unwrap(), output, person)
                }
            })
        })
    }

    /// A call that passed, and its structured answer.
    pub fn saw(self, tool: &str, arguments: &str, structured: &str) -> Self {
        let output = Output { structured: Some(json(structured)), ..Output::default() };
        self.called(tool, arguments, true).answered(tool, output)
    }

    /// A call that passed, and its answer as text.
    pub fn read(self, tool: &str, arguments: &str, text: &str) -> Self {
        let output = Output { texts: vec![text.into()], ..Output::default() };
        self.called(tool, arguments, true).answered(tool, output)
    }

    pub fn called(self, tool: &str, arguments: &str, passed: bool) -> Self {
        self.with(|w| {
            let id = format!("d{}", w.history.len());
            w.history.push(Happened::Call { id, tool: tool.into(), arguments: arguments.into(), passed });
        })
    }

    /// An answer to the last call.
    pub fn answered(self, tool: &str, output: Output) -> Self {
        self.with(|w| {
            let id = format!("d{}", w.history.len() - 1);
            w.history.push(Happened::Result { id, tool: tool.into(), output });
        })
    }

    pub fn decide(&self) -> Decision {
        self.decide_on(&self.snapshot())
    }

    /// Decides on a snapshot of this world's parts.
    pub fn decide_on(&self, snapshot: &Snapshot) -> Decision {
        let task = self.task(snapshot);
        decide(snapshot, &task, &self.facts, &self.call, self.now)
    }
}

/// A call by bot under the first mandate, as the gateway presents it.
pub fn call(tool: &str, arguments: &str) -> Call {
    Call {
        mandate: "m0".parse().unwrap(),
        tool: tool.parse().unwrap(),
        arguments: json(arguments),
        evidence: Evidence::LocalUser { uid: 1000, name: Some("alice".into()) },
        definition: Definition::AsPinned,
        enforcement_point: "gateway-1".into(),
    }
}

pub fn show(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What a case expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    Pass,
    /// These are asked, in order.
    Ask(Vec<String>),
    /// Exactly these reasons, whoever may see them.
    Deny(BTreeSet<String>),
}

pub fn pass() -> Expect {
    Expect::Pass
}

pub fn ask(who: &[&str]) -> Expect {
    Expect::Ask(who.iter().map(|who| (*who).to_owned()).collect())
}

/// Refused for exactly these reasons, given by their codes.
pub fn deny(codes: &[&str]) -> Expect {
    for code in codes {
        assert!(ReasonCode::ALL.iter().any(|known| known.as_str() == *code), "{code} is no reason code");
    }
    Expect::Deny(codes.iter().map(|code| (*code).to_owned()).collect())
}

pub fn outcome(decision: &Decision) -> Expect {
    match decision {
        Decision::Pass(_) => Expect::Pass,
        Decision::Ask(question, _) => Expect::Ask(question.question.asked.clone()),
        Decision::Deny(refusal, _) => {
            Expect::Deny(refusal.findings().iter().map(|f| f.code.as_str().to_owned()).collect())
        }
    }
}

/// A decision in words, for a failing case.
pub fn explain(decision: &Decision) -> String {
    let lines = |findings: &[warrantor_model::Finding]| {
        findings
            .iter()
            .map(|f| format!("\n  {} [{}] {}", f.code, f.subject.as_deref().unwrap_or("-"), f.detail))
            .collect::<String>()
    };
    match decision {
        Decision::Pass(_) => "pass".into(),
        Decision::Ask(question, _) => {
            format!("ask {:?}{}", question.question.asked, lines(&question.question.findings))
        }
        Decision::Deny(refusal, _) => format!("deny{}", lines(refusal.findings())),
    }
}

/// Decides every case, and names all that came out otherwise.
pub fn check(cases: Vec<(&str, World, Expect)>) {
    let mut wrong = Vec::new();
    // Most cases share one bundle, and building it is most of the work.
    let mut built: BTreeMap<String, Snapshot> = BTreeMap::new();
    for (name, world, expected) in cases {
        let snapshot = built.entry(format!("{:?}", world.parts)).or_insert_with(|| world.snapshot());
        let decision = world.decide_on(snapshot);
        if outcome(&decision) != expected {
            wrong.push(format!("{name}: expected {expected:?}, was {}", explain(&decision)));
        }
    }
    assert!(wrong.is_empty(), "{} cases came out otherwise\n{}", wrong.len(), wrong.join("\n"));
}

/// A task that keeps what its passed calls charged, as a store would.
pub struct Run {
    pub world: World,
    snapshot: Snapshot,
}

impl Run {
    pub fn new(world: World) -> Self {
        let snapshot = world.snapshot();
        Self { world, snapshot }
    }

    /// Decides, and commits what passed; the call then succeeds.
    pub fn call(&mut self, tool: &str, arguments: &str) -> Decision {
        self.world.call.tool = tool.parse().unwrap();
        self.world.call.arguments = json(arguments);
        let task = self.world.task(&self.snapshot);
        let decision = decide(&self.snapshot, &task, &self.world.facts, &self.world.call, self.world.now);
        if let Decision::Pass(draft) = &decision {
            self.commit(draft);
        }
        decision
    }

    fn commit(&mut self, draft: &Draft) {
        for charge in draft.charges() {
            match charge {
                Charge::Add { counter, amount, at_most } => {
                    let counter = self.world.counters.entry(counter.clone()).or_default();
                    *counter += *amount;
                    assert!(
                        at_most.is_none_or(|most| *counter <= most),
                        "a pass broke its own charge {charge:?}"
                    );
                }
                Charge::Distinct { member, counter, at_most } => {
                    if self.world.members.insert(member.clone()) {
                        let counter = self.world.counters.entry(counter.clone()).or_default();
                        *counter += Decimal::ONE;
                        assert!(
                            at_most.is_none_or(|most| *counter <= most),
                            "a pass broke its own charge {charge:?}"
                        );
                    }
                }
                Charge::Unique { member, observed } => {
                    let new = self.world.members.insert(member.clone());
                    assert!(new || *observed, "a pass broke its own charge {charge:?}");
                }
            }
        }
        self.world.members.extend(draft.markers().iter().cloned());
        self.world.calls += 1;
        self.world.effects = self.world.effects.union(draft.grounds().effects);
    }
}

/// Makes the calls of one task after another, each with what it has to come to.
pub fn check_run(name: &str, world: World, steps: &[(&str, &str, Expect)]) {
    let mut run = Run::new(world);
    for (nth, (tool, arguments, expected)) in steps.iter().enumerate() {
        let decision = run.call(tool, arguments);
        assert_eq!(
            outcome(&decision),
            *expected,
            "{name}, call {nth} ({tool} {arguments}): {}",
            explain(&decision)
        );
    }
}

pub fn effects(words: &[&str]) -> EffectSet {
    words
        .iter()
        .map(|word| Effect::ALL.into_iter().find(|effect| effect.as_str() == *word).unwrap())
        .collect()
}
