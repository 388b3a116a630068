//! The ledger: whatever is changed in it is found, with where; and what it says can be derived by others.
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

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::{Value, json};
use support::{Answered, World, decision_of, python, run, script, warrantor};

/// A ledger with records of several sessions, and a checkpoint after each.
fn ledger() -> World {
    let world = World::new();
    for round in 0..3 {
        let mut session = world.session();
        session.passes("perform", &format!(r#"{{"id":"round {round}"}}"#));
        session.passes("pay", r#"{"amount":1.5}"#);
        session.refused("nothing", "{}");
        let (status, stderr) = session.end();
        assert!(status.success(), "{stderr}");
    }
    world
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn tamper(data: &Path, change: &str) {
    run(Command::new(python())
        .args(["-I", "-S"])
        .arg(script("tamper.py"))
        .arg(data.join("warrantor.db"))
        .arg(change));
}

fn verify(data: &Path, more: &[&str]) -> Answered {
    Answered::of(
        &warrantor().args(["audit", "verify", "-o", "json", "--data"]).arg(data).args(more).output().unwrap(),
    )
}

/// The ledger must be found to be wrong, and one of the findings must be at this place or say this.
fn found(data: &Path, more: &[&str], what: &str, index: Option<u64>, says: &str) {
    let answered = verify(data, more);
    assert_eq!(answered.code, 1, "{what}: {answered:?}");
    let verified = answered.json();
    assert_eq!(verified["ok"], false, "{what}: {verified}");
    let findings = verified["findings"].as_array().unwrap();
    let fits = |finding: &&Value| {
        let message = finding["message"].as_str().unwrap();
        message.contains(says) && index.is_none_or(|index| finding["index"] == index)
    };
    assert!(findings.iter().any(|finding| fits(&finding)), "{what}: {verified:#}");
}

/// What is changed in the database alone, the place that is told, and what is said.
const CHANGES: &[(&str, Option<u64>, &str)] = &[
    ("changed_byte", Some(5), "entry 5 was changed"),
    ("changed_leaf", Some(5), "the leaf hash stored with entry 5 was changed"),
    ("changed_record_with_its_leaf", Some(1), "history was rewritten between size 1 and size"),
    ("removed_record", Some(5), "entry 5 is missing"),
    ("removed_record_and_closed_the_gap", None, "it covers 19 records where the head has 18"),
    ("truncated_tail", Some(16), "its tail was cut off"),
    ("truncated_tail_with_the_head", None, "it covers 19 records where the head has 16"),
    ("swapped_records", Some(1), "history was rewritten between size 1 and size"),
    ("appended_record", None, "the head claims 19 entries, the rows end at 20"),
    ("longer_head", None, "it covers 19 records where the head has 20"),
    ("changed_frontier", None, "the head's frontier is not that of the entries"),
    ("forged_root", None, "changed or forged"),
    ("forged_size", None, "changed or forged"),
    ("forged_signature", None, "changed or forged"),
    ("unsigned_checkpoint", None, "the note has no signatures"),
    ("moved_checkpoint", None, "stands under size 18, but was signed for 19"),
    ("rolled_back_to_the_first_checkpoint", None, "it covers 19 records where the head has 1"),
    ("emptied", None, "it covers 19 records where the head has 0"),
    ("unreadable_record", Some(5), "record 5 does not read"),
];

#[test]
fn every_change_of_the_database_is_found_with_its_place() {
    let world = ledger();
    assert_eq!(world.verified()["size"], 19);
    for (change, index, says) in CHANGES {
        let data = world.path(&format!("tampered-{change}"));
        copy(&world.data(), &data);
        tamper(&data, change);
        found(&data, &[], change, *index, says);
        let table = Answered::of(
            &warrantor().args(["audit", "verify", "-o", "table", "--data"]).arg(&data).output().unwrap(),
        );
        assert_eq!(table.code, 1, "{change}: {table:?}");
        assert!(
            table.stdout.contains("tampered with or damaged") && table.stdout.contains(says),
            "{change}: {table:?}"
        );
        fs::remove_dir_all(&data).unwrap();
    }
    world.verified();
}

#[test]
fn checkpoints_that_were_removed_are_missed_only_by_who_has_none_beside_the_database() {
    let world = ledger();
    let key = fs::read_to_string(world.data().join("keys/ledger.vkeys")).unwrap();
    tamper(&world.data(), "removed_checkpoints");
    // The last one is kept in the key directory as well, and vouches for everything.
    assert_eq!(world.verified()["signed"], 19);
    let keys = world.path("no-keys");
    fs::create_dir(&keys).unwrap();
    let more = ["--keys", keys.to_str().unwrap(), "--key", key.trim()];
    found(&world.data(), &more, "removed", None, "no checkpoint covers any");
}

/// The database of an earlier time, beside keys of now.
fn roll_back(world: &World, change: impl FnOnce()) {
    let earlier = world.path("earlier");
    copy(&world.data(), &earlier);
    change();
    for name in ["warrantor.db", "warrantor.db-wal", "warrantor.db-shm"] {
        let _ = fs::remove_file(world.data().join(name));
        if earlier.join(name).exists() {
            fs::copy(earlier.join(name), world.data().join(name)).unwrap();
        }
    }
}

#[test]
fn a_database_that_was_rolled_back_is_found_and_not_signed_again_until_a_person_says_so() {
    let world = ledger();
    roll_back(&world, || {
        let mut session = world.session();
        session.passes("perform", r#"{"id":"later"}"#);
        session.end();
    });
    found(&world.data(), &[], "rolled back", Some(19), "its tail was cut off");
    // Its limits would count anew, so nothing goes on with it.
    let mut session = world.bare_session();
    assert_eq!(session.line_or_end(), None);
    let (status, stderr) = session.end();
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert!(
        stderr.contains("cut or restored from a backup") && stderr.contains("audit begin-epoch"),
        "{stderr}"
    );
}

#[test]
fn a_restored_backup_goes_on_in_a_new_epoch_that_says_what_was_lost() {
    let world = ledger();
    roll_back(&world, || {
        let mut session = world.session();
        session.passes("perform", r#"{"id":"later"}"#);
        session.end();
    });
    let begun = world.done(&["audit", "begin-epoch", "--yes"]);
    assert_eq!(begun["epoch"], 2, "{begun}");
    let ledger = world.events("ledger");
    let epoch = ledger.last().unwrap();
    assert_eq!((&epoch["kind"], &epoch["lost_from"]), (&json!("epoch_begun"), &json!(21)), "{epoch}");
    let mut session = world.session();
    session.passes("perform", r#"{"id":"later"}"#);
    session.end();
    world.verified();
}

#[test]
fn database_and_keys_rolled_back_together_are_found_by_a_checkpoint_that_was_kept() {
    let world = ledger();
    let key = fs::read_to_string(world.data().join("keys/ledger.vkeys")).unwrap();
    let earlier = world.path("earlier");
    copy(&world.data(), &earlier);
    let mut session = world.session();
    session.passes("perform", r#"{"id":"later"}"#);
    session.end();
    let kept = world.path("kept.note");
    fs::copy(world.data().join("keys/checkpoint"), &kept).unwrap();
    let more = ["--key", key.trim(), "--checkpoint", kept.to_str().unwrap()];
    assert_eq!(verify(&world.data(), &more).code, 0);
    assert_eq!(verify(&earlier, &[]).code, 0, "on its own it is whole");
    found(&earlier, &more, "rolled back with its keys", Some(19), "");
    // A checkpoint of another log proves nothing about this one.
    let other = ledger();
    let foreign = other.data().join("keys/checkpoint");
    let more = ["--key", key.trim(), "--checkpoint", foreign.to_str().unwrap()];
    let answered = verify(&world.data(), &more);
    assert_eq!(answered.code, 1, "{answered:?}");
}

#[test]
fn files_that_others_may_use_are_refused_and_not_repaired() {
    let world = ledger();
    for (name, mode, says) in [
        ("keys/ledger.key", 0o640, "may be read or written by others"),
        ("keys/ledger.key", 0o604, "may be read or written by others"),
        ("keys/bodies.key", 0o644, "may be read or written by others"),
        ("keys", 0o755, "may be read or written by others"),
        ("warrantor.db", 0o622, "may be written by others"),
        ("", 0o777, "may be written by others"),
    ] {
        let path = world.data().join(name);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let mut session = world.bare_session();
        assert_eq!(session.line_or_end(), None, "{name} with mode {mode:o} was taken");
        let (status, stderr) = session.end();
        assert_eq!(status.code(), Some(3), "{name}: {stderr}");
        assert!(stderr.contains(says), "{name}: {stderr}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{name} was changed");
        fs::set_permissions(&path, before).unwrap();
    }
    world.session().passes("echo", "{}");
    for (name, owner) in [
        ("keys", 0o700),
        ("keys/ledger.key", 0o600),
        ("keys/bodies.key", 0o600),
        ("warrantor.db", 0o600),
        ("stop", 0o600),
    ] {
        let mode = fs::metadata(world.data().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, owner, "{name}");
    }
}

#[test]
fn keys_that_are_lost_are_not_made_anew_for_a_log_that_has_records() {
    let world = ledger();
    let elsewhere = world.path("elsewhere");
    for lost in ["keys/ledger.key", "keys/bodies.key", "keys"] {
        fs::rename(world.data().join(lost), &elsewhere).unwrap();
        let mut session = world.bare_session();
        assert_eq!(session.line_or_end(), None, "without {lost}");
        let (status, stderr) = session.end();
        assert_eq!(status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("restore the key directory"), "{stderr}");
        if lost != "keys" {
            fs::rename(&elsewhere, world.data().join(lost)).unwrap();
        }
    }
    let _ = fs::remove_dir_all(world.data().join("keys"));
    let mut command = world.command();
    command.env("WARRANTOR_KEYS", &elsewhere);
    let mut session = support::Session::start(command, &world.path("."));
    session.initialize();
    session.passes("echo", "{}");
}

#[test]
fn a_rotated_key_signs_from_then_on_also_for_processes_that_run() {
    let world = ledger();
    let first = fs::read_to_string(world.data().join("keys/ledger.vkeys")).unwrap();
    let mut session = world.session();
    session.passes("echo", "{}");
    let answer = world.done(&["audit", "rotate-key"]);
    let new = answer["key"].as_str().unwrap().to_owned();
    session.passes("echo", "{}");
    session.end();
    world.verified();
    let trusted = fs::read_to_string(world.data().join("keys/ledger.vkeys")).unwrap();
    assert_eq!(trusted, format!("{first}{new}\n"));
    let rotated = world.events("ledger");
    assert_eq!(
        (&rotated[1]["kind"], &rotated[1]["key"]),
        (&json!("key_rotated"), &json!(new)),
        "{rotated:?}"
    );
    assert_eq!(verify(&world.data(), &["--key", first.trim(), "--key", &new]).code, 0);
    // The old key alone does not vouch for what the new one signed.
    let old = verify(&world.data(), &["--key", first.trim()]);
    assert_eq!(old.code, 1, "{old:?}");
}

#[test]
fn a_decision_is_explained_whole_and_what_is_not_there_is_said() {
    let world = World::new();
    let mut session = world.session();
    session.passes("perform", r#"{"id":"explain me"}"#);
    let refusal = decision_of(&session.call("perform", r#"{"id":7}"#));
    session.end();
    let records = world.records();
    let passed = records.iter().find(|line| line["record"]["event"]["verdict"] == "pass").unwrap();
    let told = world.done(&["explain", passed["record"]["id"].as_str().unwrap()]);
    assert_eq!(told["body"]["content"]["arguments"], r#"{"id":"explain me"}"#, "{told:#}");
    let outcome = &told["outcomes"][0];
    assert_eq!(
        (&outcome["outcome"]["outcome"], &outcome["result"]["state"]),
        (&json!("succeeded"), &json!("shown")),
        "{told:#}"
    );
    assert_eq!(outcome["result"]["content"]["content"][0]["text"], "did explain me", "{told:#}");
    assert!(told["index"].as_u64().unwrap() < told["signed"].as_u64().unwrap(), "{told:#}");
    let told = world.done(&["explain", &refusal]);
    assert_eq!(told["record"]["event"]["reasons"][0]["code"], "arguments_invalid", "{told:#}");
    assert_eq!(told["outcomes"], json!([]));
    let unknown = world.control(&["explain", "d000000000000-0000000000000000"]);
    assert_ne!(unknown.code, 0);
    assert!(unknown.stderr.contains("there is no record"), "{unknown:?}");
    // No argument and no result stands in the records or the database in the clear.
    for file in ["warrantor.db", "warrantor.db-wal"] {
        let bytes = fs::read(world.data().join(file)).unwrap_or_default();
        assert!(
            !bytes.windows(10).any(|window| window == b"explain me"),
            "{file} holds an argument in the clear"
        );
    }
}

/// RFC 6962, written down anew.
fn root_of(leaves: &[Vec<u8>]) -> Vec<u8> {
    let sha = |bytes: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec();
    match leaves {
        [] => sha(b""),
        [entry] => sha(&[&[0], entry.as_slice()].concat()),
        many => {
            let left = many.len().next_power_of_two() / 2;
            sha(&[&[1], root_of(&many[..left]).as_slice(), &root_of(&many[left..])].concat())
        }
    }
}

#[test]
fn the_root_can_be_derived_from_the_export_alone() {
    let world = ledger();
    let verified = world.verified();
    let records = world.records();
    let entries: Vec<Vec<u8>> =
        records.iter().map(|line| hex::decode(line["bytes"].as_str().unwrap()).unwrap()).collect();
    assert_eq!(hex::encode(root_of(&entries)), verified["root"].as_str().unwrap());
    for (place, (line, entry)) in records.iter().zip(&entries).enumerate() {
        assert_eq!(line["index"], place);
        assert_eq!(line["leaf"], hex::encode(root_of(std::slice::from_ref(entry))));
        assert!(line["record"]["id"].is_string() && line.get("unreadable").is_none(), "{line}");
    }
    let file = world.path("export.jsonl");
    let told = world.done(&["audit", "export", "--from", "10", "--file", file.to_str().unwrap()]);
    assert_eq!(told["records"], 9);
    let lines = fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count(), 9);
    assert!(lines.starts_with(r#"{"index":10,"#), "{lines}");
    // The checkpoint in the key directory names the same root.
    let note = fs::read_to_string(world.data().join("keys/checkpoint")).unwrap();
    assert_eq!(note.lines().take(2).collect::<Vec<_>>(), ["warrantor.local/log", "19"]);
}

#[test]
fn verifying_changes_nothing_and_needs_no_signing_key() {
    let world = ledger();
    fs::remove_file(world.data().join("keys/ledger.key")).unwrap();
    fs::remove_file(world.data().join("keys/bodies.key")).unwrap();
    let before = fs::read(world.data().join("warrantor.db")).unwrap();
    world.verified();
    assert_eq!(fs::read(world.data().join("warrantor.db")).unwrap(), before);
    assert!(!world.data().join("keys/ledger.key").exists());
}
