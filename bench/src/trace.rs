//! What tracing costs: a decision that traces two arguments through a history, taking a result in, replaying, and bytes at rest.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use warrantor_bundle::{Loaded, load_files};
use warrantor_control::replay::{ReplaySettings, Replayer};
use warrantor_decide::{Decision, Facts, History, Hop, Output, TaskState, decide};
use warrantor_model::{
    Call, Decimal, Definition, Digest, Evidence, Json, Mandate, Standing, TemplateId, Timestamp,
};

use crate::{
    median,
    report::{Part, Row},
};

const FILES: [(&str, &str); 7] = [
    (
        "people.yaml",
        "people: [{ id: alice, issuer: \"https://login.example.com\", subject: a, mail: [alice@example.com] }]",
    ),
    (
        "agents.yaml",
        "agents: [{ id: bot, owner: alice, sponsors: [alice], purpose: pays, ceiling: { servers: [bank], effects: [read, pay] } }]",
    ),
    (
        "tools/bank.tools.json",
        r#"{"tools":[{"name":"pay","inputSchema":{"type":"object","properties":{"recipient":{"type":"string"},"amount":{"type":"number"}}}},
        {"name":"payees","inputSchema":{"type":"object","properties":{}}},{"name":"mails","inputSchema":{"type":"object","properties":{}}}]}"#,
    ),
    (
        "tools/bank.yaml",
        "server: bank\ndefinitions: bank.tools.json\nrecords:\n  Payee: { key: iban, fields: { iban: { kind: account, writer: self }, name: { writer: self } } }\ntools:\n  pay: { effects: [pay], arguments: { recipient: { sensitive: true, kind: account }, amount: { sensitive: true, kind: number } } }\n  payees: { effects: [read], returns: { \"*\": Payee } }\n  mails: { effects: [read] }\n",
    ),
    ("policies/all.cedar", "permit(principal, action, resource);"),
    (
        "mandates/traced.yaml",
        "id: traced\nperson: alice\nagent: bot\npurpose: pays\nrequest: \"Pay ACME 120.50 EUR.\"\nexpires_in: 1h\ngrants:\n  - { effects: [read], servers: [bank] }\n  - tool: bank/pay\n    arguments:\n      recipient: { from: [\"record:Payee#iban[name=ACME GmbH]\"] }\n      amount: { max: 1200, from: [request, \"tool:bank/mails\"] }\n",
    ),
    (
        "mandates/plain.yaml",
        "id: plain\nperson: alice\nagent: bot\npurpose: pays\nexpires_in: 1h\ngrants:\n  - { effects: [read], servers: [bank] }\n  - tool: bank/pay\n    arguments: { recipient: { in: [DE89370400440532013000] }, amount: { in: [120.5] } }\n",
    ),
];

const NOW: &str = "2026-06-01T12:00:00Z";

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Part> {
    let bundle = load()?;
    let plain = Side::new(&bundle, "plain", 0)?;
    let mut rows = Vec::new();
    for (results, aim) in [(50, "≤ 5 ×"), (500, ""), (4000, "")] {
        let traced = Side::new(&bundle, "traced", results)?;
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            with.push(micros(400, || traced.once()));
            without.push(micros(400, || plain.once()));
        }
        let (with, without) = (median(with), median(without));
        rows.push(Row {
            what: format!("decide, {results} results of 2 kB"),
            ours: format!("{with:.1} µs"),
            against: format!("{without:.1} µs"),
            ratio: format!("{:.2} ×", with / without),
            aim,
        });
    }
    rows.push(ingest(&bundle, rounds)?);
    rows.push(replay(&bundle, rounds)?);
    rows.push(at_rest(&bundle)?);
    Ok(Part {
        title: "Tracing",
        method: format!(
            "{rounds} alternating rounds on one thread. Decide: a payment whose account is traced to a record chosen by a selector and whose amount to the \
             request, through a history of mails of 2 kB and one list of payees; against the same call on an empty history with the values written out in the \
             mandate. Ingest: one result of 1 MB, a list of 4000 records of four fields, taken apart and indexed; against a plain copy of its text. Replay: a trace of \
             20,000 calls, each with a small result, ten calls a task, through `replay`'s own reader; calls a second. At rest: what the history of a task with \
             50 such mails would take, before it is sealed (28 bytes more an event), against the bytes of the results."
        ),
        rows,
    })
}

fn load() -> anyhow::Result<Loaded> {
    let files = FILES.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    load_files(files).map_err(|report| anyhow::anyhow!("{report:?}"))
}

fn micros(calls: u32, mut once: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        once();
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

/// A mail of about 2 kB, each with other words and numbers.
fn mail(nth: usize) -> String {
    let line = format!(
        "Dear Alice, about order {nth}-{:05}: the parcel of {} pieces left on 2026-05-{:02}, reference R{nth}X. ",
        nth * 7919 % 99_991,
        nth % 40,
        nth % 28 + 1
    );
    line.repeat(19)
}

struct Side<'a> {
    bundle: &'a Loaded,
    task: TaskState,
    call: Call,
    now: Timestamp,
}

impl<'a> Side<'a> {
    fn new(bundle: &'a Loaded, template: &str, results: usize) -> anyhow::Result<Self> {
        let now: Timestamp = NOW.parse()?;
        let template = bundle.templates.get(&template.parse::<TemplateId>()?).context("no such mandate")?;
        let mandate = Mandate {
            id: "m1".parse()?,
            parent: None,
            task: "t1".parse()?,
            begins_task: false,
            terms: Arc::clone(template.compiled.terms()),
            handed_over_at: now,
            expires_at: now.plus(Duration::from_secs(3600)),
        };
        let hop =
            Hop { mandate, terms: Arc::new(template.compiled.clone()), terms_digest: Digest::of(b"terms") };
        let call = Call {
            mandate: "m1".parse()?,
            tool: "bank/pay".parse()?,
            arguments: Json::parse(br#"{"recipient":"DE89370400440532013000","amount":120.50}"#)?,
            evidence: Evidence::LocalUser { uid: 1000, name: None },
            definition: Definition::AsPinned,
            enforcement_point: "bench".into(),
        };
        let mut history = History::default();
        let (snapshot, mails, payees) = (&bundle.snapshot, "bank/mails".parse()?, "bank/payees".parse()?);
        for nth in 0..results {
            let output = Output { texts: vec![mail(nth)], ..Output::default() };
            history.push(snapshot.call_event(&format!("c{nth}"), &mails, &Json::Object(Vec::new()), true));
            history.push(snapshot.result_event(&format!("c{nth}"), &mails, &output, None));
        }
        if results > 0 {
            let structured = Json::parse(br#"[{"iban":"DE89 3704 0044 0532 0130 00","name":"ACME GmbH"},{"iban":"GB29NWBK60161331926819","name":"Bob"}]"#)?;
            let output = Output { structured: Some(structured), ..Output::default() };
            history.push(snapshot.call_event("p", &payees, &Json::Object(Vec::new()), true));
            history.push(snapshot.result_event("p", &payees, &output, None));
        }
        let chain = vec![hop];
        let wanted = snapshot.wanted(&chain, &call, now);
        let counters = wanted.counters.into_iter().map(|name| (name, Decimal::ZERO)).collect();
        let task = TaskState { counters, history: Arc::new(history), ..TaskState::begun(chain, now) };
        let side = Self { bundle, task, call, now };
        match side.decide() {
            Decision::Pass(_) => Ok(side),
            other => bail!("the measured call does not pass: {other:?}"),
        }
    }

    fn decide(&self) -> Decision {
        let facts = Facts { standing: Standing::default(), last_record_at: self.now, approval: None };
        decide(&self.bundle.snapshot, &self.task, &facts, &self.call, self.now)
    }

    fn once(&self) {
        black_box(self.decide());
    }
}

fn ingest(bundle: &Loaded, rounds: usize) -> anyhow::Result<Row> {
    let record = |nth: usize| {
        format!(
            r#"{{"iban":"DE{nth:020}","name":"Payee number {nth} of many","note":"{}","since":"2026-05-01"}}"#,
            "paid every month without fail, ".repeat(5)
        )
    };
    let records: Vec<String> = (0..4000).map(record).collect();
    let text = format!("[{}]", records.join(","));
    let structured = Some(Json::parse_within(text.as_bytes(), 8 << 20)?);
    let output = Output { structured, ..Output::default() };
    let tool = "bank/payees".parse()?;
    let (mut taken, mut copied) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        taken.push(micros(3, || {
            black_box(bundle.snapshot.result_event("r", &tool, &output, None));
        }));
        copied.push(micros(50, || {
            black_box(black_box(text.as_str()).to_owned());
        }));
    }
    let (taken, copied) = (median(taken), median(copied));
    Ok(Row {
        what: format!("ingest of {} kB", text.len() / 1000),
        ours: format!("{:.1} ms", taken / 1000.0),
        against: format!("{:.2} ms", copied / 1000.0),
        ratio: format!("{:.0} ×", taken / copied),
        aim: "",
    })
}

fn replay(bundle: &Loaded, rounds: usize) -> anyhow::Result<Row> {
    let mut lines = Vec::new();
    for task in 0..2000 {
        lines.push(format!(r#"{{"type":"task","id":"t{task}","mandate":"traced"}}"#));
        for call in 0..10 {
            lines.push(format!(r#"{{"type":"call","id":"{call}","tool":"bank/payees","arguments":{{}}}}"#));
            lines.push(format!(r#"{{"type":"result","id":"{call}","structured":[{{"iban":"DE89370400440532013000","name":"ACME GmbH"}}]}}"#));
        }
    }
    let mut seconds = Vec::new();
    for _ in 0..rounds.min(5) {
        let stopwatch = || 0;
        let begun = Instant::now();
        let mut replayer = Replayer::new(bundle, ReplaySettings::default(), &stopwatch);
        for line in &lines {
            black_box(replayer.line(line)?);
        }
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let rate = 20_000.0 / median(seconds);
    Ok(Row {
        what: "replay of small traces".into(),
        ours: format!("{rate:.0}/s"),
        against: "—".into(),
        ratio: "—".into(),
        aim: "≥ 20,000/s a core",
    })
}

fn at_rest(bundle: &Loaded) -> anyhow::Result<Row> {
    let side = Side::new(bundle, "traced", 50)?;
    let results: usize = (0..50).map(|nth| mail(nth).len()).sum();
    // The stored form is JSON of id, tool and text; the names are those of the engine's own entries.
    let stored: usize = (0..50)
        .map(|nth| {
            let entry = serde_json::json!({ "id": "d019a2b3c4d5e-0123456789abcdef", "tool": "bank/mails",
                "what": { "result": { "structured": null, "texts": [mail(nth)], "others": [], "error": false } } });
            let call = serde_json::json!({ "id": "d019a2b3c4d5e-0123456789abcdef", "tool": "bank/mails",
                "what": { "call": { "arguments": "{}", "passed": true } } });
            entry.to_string().len() + call.to_string().len()
        })
        .sum();
    black_box(side.task.history.len());
    Ok(Row {
        what: "bytes at rest of a task with 50 mails".into(),
        ours: format!("{} kB", stored / 1000),
        against: format!("{} kB", results / 1000),
        ratio: format!("{:.2} ×", as_f64(stored) / as_f64(results)),
        aim: "",
    })
}

#[expect(clippy::cast_precision_loss, reason = "for a ratio of two decimal places")]
fn as_f64(bytes: usize) -> f64 {
    bytes as f64
}
