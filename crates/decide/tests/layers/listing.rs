//! What a task shows of a server.

use warrantor_decide::{Presence, listed};
use warrantor_model::Evidence;

use crate::common::{World, bundle};

fn shown(world: &World, server: &str) -> Vec<String> {
    let snapshot = world.snapshot();
    let task = world.task(&snapshot);
    let presence = Presence { server: server.parse().unwrap(), evidence: world.call.evidence.clone() };
    listed(&snapshot, &task, &world.facts, &presence, world.now).iter().map(ToString::to_string).collect()
}

#[test]
fn a_task_shows_what_some_arguments_could_pass() {
    let files = r#"[{"effects":["read"],"servers":["files"]},{"tool":"files/delete"}]"#;
    let cases: Vec<(&str, World, &str, &[&str])> = vec![
        ("granted", World::new(files), "files", &["delete", "read"]),
        ("another server", World::new(files), "mail", &[]),
        ("an unknown server", World::new(files), "nowhere", &[]),
        ("by the least effects", World::new(r#"[{"effects":["write"],"servers":["mail"]}]"#), "mail", &["create_event"]),
        ("excepted", World::new(r#"[{"effects":["read"],"servers":["files"],"except":["files/read"]}]"#), "files", &[]),
        ("no evidence", World::new(files).with(|w| w.call.evidence = Evidence::Failed { why: "x".into() }), "files", &[]),
        ("revoked", World::new(files).stopped("mandate:m0"), "files", &[]),
        ("no mandate", World::new(files).with(|w| { w.chain.clear(); w.mandates.clear(); }), "files", &[]),
        ("no policies", World::new(files).policies(""), "files", &[]),
        ("forbidden for good", World::new(files).and_policies("forbid(principal is Person, action == Action::\"files/read\", resource);"), "files", &["delete"]),
        ("forbidden under a condition", World::new(files).and_policies("forbid(principal, action, resource) when { context.task.calls > 0 };"), "files", &["delete", "read"]),
        ("asked", World::new(files).and_policies("@ask(\"ops\") forbid(principal, action, resource);"), "files", &["delete", "read"]),
        ("the ceiling", World::new(files).with(|w| w.parts.agents[0].ceiling.effects = crate::common::effects(&["read"])), "files", &["read"]),
        (
            "forbidden on another server or for an effect it need not have",
            World::new(r#"[{"effects":["write","egress"],"servers":["mail"]}]"#).and_policies(
                r#"forbid(principal, action in [Action::"server:bank", Action::"effect:egress"], resource);"#,
            ),
            "mail",
            &["create_event", "send"],
        ),
        (
            "observed",
            World::new("[]").with(|w| w.parts.observe = bundle::servers(&["files"])),
            "files",
            &["delete", "read", "write"],
        ),
        (
            "a group's permit",
            World::new(files).policies(r#"permit(principal is Agent, action, resource); permit(principal in Group::"finance", action == Action::"files/read", resource);"#),
            "files",
            &["read"],
        ),
    ];
    for (name, world, server, expected) in cases {
        assert_eq!(shown(&world, server), expected, "{name}");
    }
}

#[test]
fn every_hop_of_a_chain_narrows_what_is_shown() {
    let world = World::new("[]").hops(&[
        r#"{"id":"root","depth":1,"agent":"helper","grants":[{"tool":"files/read"},{"tool":"files/delete"}]}"#,
        r#"{"id":"sub","grants":[{"tool":"files/read"},{"tool":"files/write"}]}"#,
    ]);
    assert_eq!(shown(&world, "files"), ["read"]);
}
