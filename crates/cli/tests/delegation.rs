//! Parts of a task handed on: no wider than the whole, a part of the same task, and gone with it.

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

use std::{fs, path::PathBuf, process::Stdio};

use support::{Answered, World, fixture, warrantor};

fn world() -> World {
    let whole = fixture("mandate.yaml").replace("expires_in:", "delegation: { depth: 1 }\nexpires_in:");
    assert!(whole.contains("depth: 1"), "{whole}");
    World::with_mandate(&whole)
}

fn part(world: &World, text: &str) -> PathBuf {
    let path = world.path("part.yaml");
    fs::write(&path, text).unwrap();
    path
}

fn delegate(world: &World, file: &str, more: &[&str]) -> Answered {
    let output = warrantor()
        .args(["mandate", "delegate", file, "--bundle"])
        .arg(world.path("bundle"))
        .args(more)
        .arg("--data")
        .arg(world.data())
        .args(["-o", "json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Answered::of(&output)
}

const PART: &str = "id: part\nparent: work\nperson: alice\nagent: bot\npurpose: a part\nexpires_in: 5m\ngrants:\n  - tool: fake/echo\n    arguments: { text: { max_length: 20 } }\n";

#[test]
fn a_part_belongs_to_the_live_task_and_runs_by_its_instance() {
    let world = world();
    let file = part(&world, PART).display().to_string();
    // Nothing was handed over yet: a task begins with a person.
    let early = delegate(&world, &file, &[]);
    assert_eq!(early.code, 1, "{}", early.stderr);
    assert!(early.stderr.contains("never handed over"), "{}", early.stderr);
    let bundle = world.path("bundle").display().to_string();
    let whole = world.done(&["mandate", "handover", "work", "--bundle", &bundle]);
    let handed = delegate(&world, &file, &[]);
    assert_eq!(handed.code, 0, "{}", handed.stderr);
    let handed = handed.json();
    assert_eq!(handed["task"], whole["task"]);
    assert!(handed["expires_at"].as_str() <= whole["expires_at"].as_str());

    let instance = handed["mandate"].as_str().unwrap().to_owned();
    let mut command = world.command();
    let words: Vec<_> = command
        .get_args()
        .map(|word| if word == "work" { instance.clone().into() } else { word.to_owned() })
        .collect();
    command = std::process::Command::new(command.get_program());
    command.args(words);
    let mut session = support::Session::start(command, &world.path("."));
    session.initialize();
    session.passes("echo", r#"{"text":"short"}"#);
    assert_eq!(
        session.refused("echo", r#"{"text":"much longer than the part allows"}"#),
        "argument_out_of_bounds"
    );
    session.end();
    // What ends the whole ends the part.
    world.done(&["revoke", "mandate", whole["mandate"].as_str().unwrap()]);
    let after = delegate(&world, &file, &[]);
    assert_eq!(after.code, 1, "{}", after.stderr);
}

#[test]
fn a_line_that_is_wider_is_told_with_its_place() {
    let world = world();
    for (right, wrong, place) in [
        ("expires_in: 5m", "expires_in: 30d", "6:"),
        ("person: alice", "kind: standing\nperson: alice", "3:"),
        ("tool: fake/echo", "tool: fake/hidden", "8:"),
        ("purpose: a part", "purpose: a part\ndelegation: { depth: 1 }", "6:"),
        ("parent: work", "parent: nothing", "2:"),
    ] {
        assert!(PART.contains(right), "{right}");
        let file = part(&world, &PART.replace(right, wrong)).display().to_string();
        let answered = delegate(&world, &file, &["--check"]);
        assert_eq!(answered.code, 1, "{wrong}: {}{}", answered.stdout, answered.stderr);
        assert!(answered.stderr.contains(&format!("part.yaml:{place}")), "{wrong}: {}", answered.stderr);
    }
    let file = part(&world, PART).display().to_string();
    assert_eq!(delegate(&world, &file, &["--check"]).code, 0);
    assert_eq!(delegate(&world, "nowhere", &[]).code, 2);
}

#[test]
fn a_mandate_is_told_in_plain_sentences() {
    let world = world();
    let output = warrantor()
        .args(["mandate", "show", "work", "-o", "table", "--bundle"])
        .arg(world.path("bundle"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["hands bot a task", "It ends", "may, without asking:", "Everything else is refused."] {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
}
