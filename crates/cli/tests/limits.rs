//! Limits: counted exactly, across processes and restarts, until a person hands over again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod support;

use serde_json::json;
use support::{World, fixture, reason_of, run, text_of};

/// The usual mandate with something else in it.
fn mandate(from: &str, to: &str) -> World {
    let text = fixture("mandate.yaml");
    assert!(text.contains(from));
    World::with_mandate(&text.replace(from, to))
}

#[test]
fn of_two_processes_that_race_for_the_last_unit_exactly_one_passes() {
    for round in 0..5 {
        let world = mandate("limits: { calls: 3, sum: { amount: 100 } }", "limits: { calls: 1 }");
        let mut sessions = [world.session(), world.session()];
        // Both have asked before either is answered, several calls each.
        for session in &mut sessions {
            for _ in 0..4 {
                session.request("tools/call", r#"{"name":"pay","arguments":{"amount":1}}"#);
            }
        }
        let mut passed = 0;
        for session in &mut sessions {
            for _ in 0..4 {
                let answer = session.json();
                match reason_of(&answer) {
                    Some(reason) => assert_eq!(reason, "limit_reached", "round {round}: {answer}"),
                    None => {
                        assert!(text_of(&answer).is_some(), "round {round}: {answer}");
                        passed += 1;
                    }
                }
            }
        }
        assert_eq!(passed, 1, "round {round}");
        assert_eq!(world.upstream("effects").len(), 1, "round {round}");
        drop(sessions);
        world.verified();
    }
}

#[test]
fn sums_are_counted_exactly_and_to_the_last_digit() {
    let world = World::new();
    let mut session = world.session();
    session.passes("pay", r#"{"amount":33.33}"#);
    session.passes("pay", r#"{"amount":66.6699999999999999999999}"#);
    assert_eq!(session.refused("pay", r#"{"amount":0.0000000000000000000002}"#), "limit_reached");
    session.passes("pay", r#"{"amount":1e-22}"#);
    assert_eq!(session.refused("pay", r#"{"amount":0}"#), "limit_reached", "the calls are used up as well");
    for (amount, reason) in [
        ("-1", "argument_out_of_bounds"),
        ("-0.01", "argument_out_of_bounds"),
        ("100.01", "argument_out_of_bounds"),
        ("1e300", "argument_out_of_bounds"),
        ("\"5\"", "arguments_invalid"),
        ("[5]", "arguments_invalid"),
        ("null", "arguments_invalid"),
    ] {
        assert_eq!(session.refused("pay", &format!(r#"{{"amount":{amount}}}"#)), reason, "{amount}");
    }
}

#[test]
fn budgets_survive_a_restart_and_a_new_hand_over_begins_them_anew() {
    let world = World::new();
    for amount in [40, 40] {
        let mut session = world.session();
        session.passes("pay", &format!(r#"{{"amount":{amount}}}"#));
        session.end();
    }
    let mut session = world.session();
    assert_eq!(session.refused("pay", r#"{"amount":21}"#), "limit_reached");
    session.passes("pay", r#"{"amount":20}"#);
    session.end();
    let bundle = world.path("bundle");
    world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
    let mut session = world.session();
    session.passes("pay", r#"{"amount":100}"#);
    session.end();
    let handovers = world.events("handover");
    assert_eq!(handovers.len(), 2, "a run handed over again: {handovers:?}");
    assert_ne!(handovers[0]["task"], handovers[1]["task"]);
    world.verified();
}

#[test]
fn a_process_that_runs_keeps_its_mandate_when_another_is_handed_over() {
    let world = mandate("limits: { calls: 3, sum: { amount: 100 } }", "limits: { calls: 1 }");
    let mut old = world.session();
    old.passes("pay", r#"{"amount":1}"#);
    let bundle = world.path("bundle");
    world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
    assert_eq!(old.refused("pay", r#"{"amount":1}"#), "limit_reached");
    world.session().passes("pay", r#"{"amount":1}"#);
}

#[test]
fn what_has_ended_is_refused_at_the_start_until_a_person_hands_over_again() {
    let used_up = ("expires_in: 1h", "expires_in: 1h\nlimits: { calls: 2 }");
    let short = ("expires_in: 1h", "expires_in: 1s");
    for ((from, to), says, reason) in [
        (used_up, "has used all of its 2 calls", "limit_reached"),
        (short, "expired at", "mandate_expired"),
        (("work", "work"), "was revoked (template:work)", "mandate_revoked"),
    ] {
        let world = mandate(from, to);
        let mut session = world.session();
        match reason {
            "limit_reached" => {
                session.passes("echo", "{}");
                session.passes("echo", "{}");
            }
            "mandate_revoked" => drop(world.done(&["revoke", "mandate", "work"])),
            // It ends by itself; until then the calls pass.
            _ => while text_of(&session.call("echo", "{}")).is_some() {},
        }
        assert_eq!(session.refused("echo", "{}"), reason);
        session.end();
        let mut session = world.bare_session();
        assert_eq!(session.line_or_end(), None, "{reason}: an ended mandate was resumed");
        let (status, stderr) = session.end();
        assert!(!status.success(), "{stderr}");
        assert!(stderr.contains(says) && stderr.contains("warrantor mandate handover work"), "{stderr}");
        let bundle = world.path("bundle");
        let handed = world.control(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
        // Whatever ended it: another hand-over is another mandate, and a person's act.
        assert_eq!(handed.code, 0, "{handed:?}");
        world.session().passes("echo", "{}");
    }
}

#[test]
fn a_mandate_keeps_the_terms_it_was_handed_over_with() {
    let world = World::new();
    world.session().passes("pay", r#"{"amount":10}"#);
    world.write(
        "bundle/mandates/work.yaml",
        &fixture("mandate.yaml").replace("calls: 3, sum: { amount: 100 }", "calls: 300"),
    );
    let mut session = world.session();
    assert_eq!(session.refused("pay", r#"{"amount":91}"#), "limit_reached");
    session.passes("pay", r#"{"amount":90}"#);
    let (_, stderr) = session.end();
    assert!(stderr.contains("keeps the terms it was handed over with"), "{stderr}");
}

#[test]
fn a_task_is_gone_on_with_by_its_name_only_if_it_lives() {
    let world = World::new();
    world.session().passes("pay", r#"{"amount":10}"#);
    let task = world.events("handover")[0]["task"].as_str().unwrap().to_owned();
    for (name, goes_on) in [(task.as_str(), true), ("t000000000000-0000000000000000", false)] {
        let mut command = support::warrantor();
        command.arg("run").arg("--bundle").arg(world.path("bundle")).args([
            "--server",
            "fake",
            "--mandate",
            "work",
        ]);
        command.args(["--task", name]).arg("--data").arg(world.data()).args(["--", "cat"]);
        let answered = support::Answered::of(&command.stdin(std::process::Stdio::null()).output().unwrap());
        assert_eq!(answered.code == 0, goes_on, "{name}: {answered:?}");
    }
    assert_eq!(world.events("handover").len(), 1);
}

#[test]
fn a_refused_call_is_charged_nothing_and_its_decision_is_explained() {
    let world = World::new();
    let mut session = world.session();
    let refusal = session.call("pay", r#"{"amount":101}"#);
    let decision = support::decision_of(&refusal);
    session.passes("pay", r#"{"amount":100}"#);
    session.end();
    let told = world.done(&["explain", &decision]);
    assert_eq!(told["record"]["event"]["verdict"], "deny", "{told}");
    assert_eq!(told["body"]["content"]["arguments"], r#"{"amount":101}"#, "{told}");
    let found = &told["record"]["event"];
    assert_eq!((&found["tool"], &found["effects"]), (&json!("fake/pay"), &json!(["pay"])), "{told}");
    let table =
        run(support::warrantor().args(["explain", &decision, "-o", "table", "--data"]).arg(world.data()));
    let table = String::from_utf8(table.stdout).unwrap();
    for part in ["DENIED  tools/call  fake/pay", "alice hands work to bot", "argument_out_of_bounds", "101"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
}
