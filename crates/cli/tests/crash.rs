//! `kill -9` at any moment: no acknowledged record is lost, no effect is without its durable record, the ledger verifies.
//!
//! `WARRANTOR_CRASHES` says how often (20 by default; `cargo xtask soak` says 500), `WARRANTOR_SEED` begins the same moments again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod support;

use std::{
    collections::BTreeSet,
    fs::File,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Session, World, decision_of, fixture, reason_of, text_of};

/// Calls that are unanswered at any time.
const IN_FLIGHT: u64 = 16;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|cause| panic!("{variable}: {cause}")))
}

/// SplitMix64: moments that can be had again.
struct Moments(u64);

impl Moments {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// What the client was told, over all rounds.
#[derive(Default)]
struct Told {
    /// Ids of calls that were answered with their effect.
    done: BTreeSet<String>,
    /// Decisions that refused a call.
    refused: BTreeSet<String>,
}

/// Every call has an id of its own, which may be used once, and a number of its own, which is added up: what is charged for it stands in the record of
/// its pass.
fn world() -> World {
    let mandate = fixture("mandate.yaml").replacen(
        "arguments: { id: { max_length: 100 } }",
        "arguments: { id: { max_length: 100 }, nth: { required: true } }\n    limits: { unique: [id], sum: { nth: 1000000000000000 } }",
        1,
    );
    World::with_mandate(&mandate)
}

/// Calls until the moment has come, and kills the process.
fn round(world: &World, round: u64, moments: &mut Moments, told: &mut Told) {
    let mut session = world.bare_session();
    let end = Instant::now() + Duration::from_micros(moments.next(600_000));
    if load(&mut session, round, end, told).is_none() {
        panic!("the process ended by itself\n{}", session.stderr());
    }
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    // What was answered before the end counts as well, wherever it was under way.
    while let Some(line) = session.line_or_end() {
        note(&line, told);
    }
    // The server performs what reached it before the end; only then is all of it known.
    File::create(world.path("upstream/alive")).unwrap().lock().unwrap();
}

/// Asks and hears until the moment has come. `None`: the process ended before.
fn load(session: &mut Session, round: u64, end: Instant, told: &mut Told) -> Option<()> {
    session.request(
        "initialize",
        r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}"#,
    );
    match session.line_until(end) {
        Err(()) => return None,
        Ok(None) => return Some(()),
        Ok(Some(line)) => assert!(line.contains("\"result\""), "{line}"),
    }
    for call in 0.. {
        ask(session, round, call);
        if call < IN_FLIGHT {
            continue;
        }
        match session.line_until(end) {
            Err(()) => return None,
            Ok(None) => break,
            Ok(Some(line)) => note(&line, told),
        }
    }
    Some(())
}

/// One call in eight is of a tool that is not there.
fn ask(session: &mut Session, round: u64, call: u64) {
    let params = if call % 8 == 7 {
        r#"{"name":"nothing","arguments":{}}"#.to_owned()
    } else {
        let nth = named(&format!("r{round}c{call}"));
        format!(r#"{{"name":"perform","arguments":{{"id":"r{round}c{call}","nth":{nth}}}}}"#)
    };
    session.request("tools/call", &params);
}

fn note(line: &str, told: &mut Told) {
    let answer: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"));
    if reason_of(&answer).is_some() {
        told.refused.insert(decision_of(&answer));
    } else if let Some(text) = text_of(&answer) {
        told.done.insert(text.strip_prefix("did ").unwrap_or_else(|| panic!("{line}")).to_owned());
    }
}

/// The number of a call by its id: what the record of its pass was charged.
fn named(id: &str) -> String {
    let (round, call) = id.strip_prefix('r').and_then(|rest| rest.split_once('c')).unwrap();
    let (round, call): (u64, u64) = (round.parse().unwrap(), call.parse().unwrap());
    ((round + 1) * 10_000_000 + call).to_string()
}

/// What the ledger says: numbers of calls that passed, and decisions that refused.
fn recorded(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut passed, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for (place, line) in world.records().iter().enumerate() {
        assert_eq!(line["index"], place, "the places are not gapless");
        let (record, event) = (&line["record"], &line["record"]["event"]);
        if event["event"] != "decision" {
            continue;
        }
        if event["verdict"] == "pass" {
            let limits = event["limits"].as_array().unwrap();
            let sum = limits.iter().find(|limit| limit["counter"].as_str().unwrap().ends_with("/sum/nth"));
            let nth = sum.and_then(|sum| sum["charged"].as_str()).unwrap_or_else(|| panic!("{event}"));
            assert!(passed.insert(nth.to_owned()), "{nth} passed twice");
        } else {
            refused.insert(record["id"].as_str().unwrap().to_owned());
        }
    }
    (passed, refused)
}

fn check(world: &World, told: &Told) {
    world.verified();
    let (passed, refused) = recorded(world);
    let effects: Vec<String> = world.upstream("effects");
    let once: BTreeSet<String> = effects.iter().cloned().collect();
    assert_eq!(once.len(), effects.len(), "an effect happened twice");
    let unrecorded: Vec<_> = once.iter().filter(|id| !passed.contains(&named(id))).collect();
    assert!(unrecorded.is_empty(), "effects without a record: {unrecorded:?}");
    let lost: Vec<_> = told.done.iter().filter(|id| !passed.contains(&named(id))).collect();
    assert!(lost.is_empty(), "answered calls without a record: {lost:?}");
    let lost: Vec<_> = told.refused.difference(&refused).collect();
    assert!(lost.is_empty(), "answered refusals without a record: {lost:?}");
    let undone: Vec<_> = told.done.difference(&once).collect();
    assert!(undone.is_empty(), "answered calls without an effect: {undone:?}");
}

fn crash(times: u64) {
    let seed = number("WARRANTOR_SEED").unwrap_or(20_260_728);
    println!("{times} crashes, seed {seed}");
    let (world, mut moments, mut told) = (world(), Moments(seed), Told::default());
    for n in 0..times {
        round(&world, n, &mut moments, &mut told);
        // Looking opens the store, which mends it; so most rounds begin on what the kill left.
        let begun = world.data().join("warrantor.db").exists();
        if moments.next(4) == 0 && begun {
            world.verified();
        }
        if n % 50 == 49 {
            println!("{} crashes, {} effects", n + 1, world.upstream("effects").len());
        }
    }
    check(&world, &told);
    println!(
        "{} effects, {} answered, {} refusals",
        world.upstream("effects").len(),
        told.done.len(),
        told.refused.len()
    );
    assert!(
        told.done.len() > 10 && told.refused.len() > 1,
        "the moments were all too early to prove anything"
    );
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_process_is_killed() {
    crash(number("WARRANTOR_CRASHES").unwrap_or(20));
}
