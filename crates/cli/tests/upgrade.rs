//! A data directory that the first version wrote: two sessions under a mandate, refusals, payments against a limit, and a stop. Its mandate has ended by now;
//! that its limits go on counting is tested at its own time (`control/tests/upgrade.rs`).
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

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use support::World;

fn first() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/first")
}

/// The fixture in a world's place for data, as private as it was written: version control does not keep that.
fn upgraded() -> World {
    let world = World::new();
    for directory in ["data", "data/keys"] {
        fs::create_dir(world.path(directory)).unwrap();
        fs::set_permissions(world.path(directory), fs::Permissions::from_mode(0o700)).unwrap();
    }
    for (from, to) in [("", "data"), ("keys", "data/keys")] {
        for entry in fs::read_dir(first().join(from)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let copied = world.path(to).join(path.file_name().unwrap());
                fs::copy(&path, &copied).unwrap();
                fs::set_permissions(&copied, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
    world
}

#[test]
fn what_the_first_version_recorded_verifies_and_is_explained() {
    let world = upgraded();
    let verified = world.verified();
    assert_eq!((verified["size"].as_u64(), verified["signed"].as_u64()), (Some(16), Some(16)), "{verified}");
    let decisions: Vec<serde_json::Value> = world
        .records()
        .into_iter()
        .map(|one| one["record"].clone())
        .filter(|record| record["event"]["event"] == "decision")
        .collect();
    assert_eq!(decisions.len(), 7, "every call, passed or refused");
    for decision in &decisions {
        let explained = world.done(&["explain", decision["id"].as_str().unwrap()]).to_string();
        assert!(explained.contains("alice") && explained.contains("work"), "{explained}");
    }
    let passed = decisions.iter().find(|one| one["event"]["tool"] == "fake/perform").unwrap();
    let explained = world.done(&["explain", passed["id"].as_str().unwrap()]).to_string();
    assert!(explained.contains("one"), "the arguments are opened with the keys of then: {explained}");
}

#[test]
fn a_data_directory_of_the_first_version_goes_on() {
    let world = upgraded();
    let mandates = world.done(&["mandate", "list"]);
    assert_eq!(mandates.as_array().unwrap().len(), 1, "{mandates}");
    // The stop of then stands until somebody lifts it.
    let lifted = world.done(&["revoke", "agent", "other", "--lift"]);
    assert_eq!(lifted["stopped"], false, "{lifted}");
    let bundle = world.path("bundle");
    world.done(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
    let mut session = world.session();
    session.passes("perform", r#"{"id":"three"}"#);
    assert_eq!(session.refused("pay", r#"{"amount":101}"#), "argument_out_of_bounds");
    session.end();
    let verified = world.verified();
    assert!(verified["size"].as_u64() > Some(16), "{verified}");
    // The office of today on the store of then.
    world.done(&[
        "person",
        "add",
        "--id",
        "anna",
        "--issuer",
        "https://login.example.com",
        "--subject",
        "7",
        "--role",
        "administrator",
    ]);
    world.done(&["bundle", "publish", bundle.to_str().unwrap(), "--reason", "from here on"]);
    world.verified();
}
