//! What the caller is told: unknown and ungranted tools read alike, whatever else stands in the way.

use warrantor_decide::{Decision, Parts};
use warrantor_model::{Definition, Digest, Evidence, NextStep, ReasonCode};

use crate::common::{World, at};

/// Everything the caller may see of a refusal.
fn seen(world: &World) -> (Vec<ReasonCode>, (ReasonCode, String, NextStep)) {
    match world.decide() {
        Decision::Deny(refusal, _) => (refusal.codes(), refusal.primary()),
        other => panic!("no refusal: {}", crate::common::explain(&other)),
    }
}

#[test]
fn an_unknown_tool_reads_like_an_ungranted_one() {
    let grants = r#"[{"tool":"files/read"}]"#;
    let worlds: Vec<(&str, World)> = vec![
        ("plainly", World::new(grants)),
        ("without grants", World::new("[]")),
        (
            "without a mandate",
            World::new(grants).with(|w| {
                w.chain.clear();
                w.mandates.clear();
            }),
        ),
        ("expired", World::new(grants).with(|w| w.now = at("2026-10-05T14:00:00Z"))),
        ("revoked", World::new(grants).stopped("mandate:m0")),
        ("in lockdown", World::new(grants).stopped("deployment")),
        ("agent stopped", World::new(grants).stopped("agent:bot")),
        ("definition changed", World::new(grants).with(|w| w.call.definition = Definition::Changed)),
        ("definition not seen", World::new(grants).with(|w| w.call.definition = Definition::NotSeen)),
        ("without policies", World::new(grants).policies("")),
        ("forbidden", World::new(grants).and_policies("forbid(principal, action, resource);")),
        ("asked", World::new(grants).and_policies("@ask(\"finance\") forbid(principal, action, resource);")),
        (
            "evidence failed",
            World::new(grants).with(|w| w.call.evidence = Evidence::Failed { why: "x".into() }),
        ),
        ("with a broken chain", World::new(grants).with(|w| w.call.mandate = "m9".parse().unwrap())),
    ];
    let arguments =
        ["{}", r#"{"path":"/a"}"#, r#"{"nothing":1}"#, r#"{"path":5}"#, "[]", r#"{"to":["a@x.com"]}"#];
    for (name, world) in worlds {
        for arguments in arguments {
            let unknown = seen(&world.clone().call("nowhere/nothing", arguments));
            for known in ["files/write", "files/delete", "mail/send", "bank/send_money", "files/nothing"] {
                let ungranted = seen(&world.clone().call(known, arguments));
                assert_eq!(ungranted, unknown, "{name}: {known} {arguments}");
            }
        }
    }
}

#[test]
fn an_empty_bundle_denies_everything_alike() {
    let empty = |world: World| {
        world.with(|w| {
            w.parts = Parts::empty(Digest::of(b"empty"));
            w.chain.clear();
            w.mandates.clear();
        })
    };
    let (codes, _) = seen(&empty(World::new("[]")).call("files/read", "{}"));
    assert_eq!(codes, [ReasonCode::ToolNotAvailable]);
    assert_eq!(
        seen(&empty(World::new("[]")).call("files/read", "{}")),
        seen(&empty(World::new("[]")).call("x/y", "[]"))
    );
}

#[test]
fn the_caller_reads_nothing_of_policies_or_people() {
    let world = World::new(r#"[{"tool":"files/read"}]"#)
        .and_policies(
            "@id(\"secret-rule\") forbid(principal, action, resource) when { context.task.calls == 0 };",
        )
        .call("files/read", "{}");
    let Decision::Deny(refusal, _) = world.decide() else { panic!("no refusal") };
    for finding in refusal.safe() {
        let said = finding.safe.clone().unwrap_or_else(|| finding.code.sentence().to_owned());
        for word in ["secret", "alice", "bot", "calls"] {
            assert!(!said.contains(word), "{said:?} tells {word}");
        }
    }
    assert!(
        refusal.findings().iter().any(|f| f.detail.contains("secret-rule")),
        "the operator reads which policy"
    );
}

#[test]
fn no_finding_grows_with_the_call() {
    let long = "x".repeat(1 << 20);
    let cases = [
        format!(r#"{{"path":"{long}"}}"#),
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"lines":"{long}"}}"#),
        format!(r#"{{"path":["{long}"]}}"#),
        format!(r#"{{"path":"/a\u0000{long}"}}"#),
        format!(r#"{{"{long}":{{"{long}":[1,2,3]}}}}"#),
    ];
    for arguments in cases {
        let world = World::new(r#"[{"tool":"files/read","arguments":{"path":{"within":["/a"]}}}]"#)
            .call("files/read", &arguments);
        let Decision::Deny(refusal, _) = world.decide() else { panic!("passed") };
        for f in refusal.findings() {
            let texts = [Some(&f.detail), f.safe.as_ref(), f.subject.as_ref()];
            for text in texts.into_iter().flatten() {
                assert!(text.len() < 1000, "{} characters of {}", text.len(), f.code);
            }
        }
        assert!(refusal.findings().len() < 30);
    }
}
