//! Stopping: at once, in every process on the data directory, whatever the log does.
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

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::{Value, json};
use support::{Session, World, reason_of, run, text_of};

/// What is stopped, and the reason that its calls are refused with then.
const STOPS: &[(&[&str], &str)] = &[
    (&["revoke", "agent", "bot"], "agent_inactive"),
    (&["revoke", "person", "alice"], "person_inactive"),
    (&["revoke", "mandate", "work"], "mandate_revoked"),
    (&["revoke", "server", "fake"], "tool_not_available"),
    (&["lockdown"], "lockdown"),
];

fn tools_list_is_empty(session: &mut Session) -> bool {
    session.tools().is_empty()
}

#[test]
fn the_next_call_of_every_process_is_refused_until_the_stop_is_lifted() {
    for (words, reason) in STOPS {
        let world = World::new();
        let (mut one, mut two) = (world.session(), world.session());
        for session in [&mut one, &mut two] {
            session.passes("perform", r#"{"id":"before"}"#);
        }
        let answer = world.done(&[words, ["--reason", "a test"].as_slice()].concat());
        assert_eq!((&answer["stopped"], &answer["in_force"]), (&json!(true), &json!(true)), "{answer}");
        assert!(answer["revision"].is_u64(), "{answer}");
        for session in [&mut one, &mut two] {
            assert_eq!(session.refused("perform", r#"{"id":"after"}"#), *reason, "{words:?}");
            assert!(tools_list_is_empty(session), "{words:?}: what cannot be called is listed");
        }
        let lifted = world.control(&[words, ["--lift"].as_slice()].concat());
        if words.contains(&"mandate") {
            assert_eq!(lifted.code, 3, "{lifted:?}");
            assert!(lifted.stderr.contains("ends for good"), "{lifted:?}");
            assert_eq!(one.refused("perform", r#"{"id":"after"}"#), *reason);
        } else {
            assert_eq!(lifted.code, 0, "{lifted:?}");
            for session in [&mut one, &mut two] {
                session.passes("perform", r#"{"id":"lifted"}"#);
            }
        }
        drop((one, two));
        assert!(!world.upstream("effects").contains(&"after".to_owned()), "{words:?}");
        let standing = world.events("standing");
        assert_eq!((&standing[0]["change"], &standing[0]["reason"]), (&json!("stopped"), &json!("a test")));
        world.verified();
    }
}

#[test]
fn stopping_others_stops_nobody_else() {
    let world = World::new();
    let mut session = world.session();
    for words in [
        ["revoke", "agent", "other"],
        ["revoke", "person", "bob"],
        ["revoke", "mandate", "elsewhere"],
        ["revoke", "server", "elsewhere"],
    ] {
        world.done(&words);
        session.passes("perform", r#"{"id":"mine"}"#);
    }
}

#[test]
fn an_instance_can_be_revoked_by_its_own_id() {
    let world = World::new();
    let mut session = world.session();
    session.passes("echo", "{}");
    let list = world.done(&["mandate", "list"]);
    let id = list[0]["mandate"].as_str().unwrap_or_else(|| panic!("{list}"));
    world.done(&["revoke", "mandate", id]);
    assert_eq!(session.refused("echo", "{}"), "mandate_revoked");
}

#[test]
fn a_call_in_flight_is_finished_and_recorded_and_nothing_new_passes() {
    for (words, reason) in STOPS {
        let world = World::new();
        world.make_gate();
        let mut session = world.session();
        let id = session.request(
            "tools/call",
            r#"{"name":"slow","arguments":{"id":"in flight"},"_meta":{"progressToken":1}}"#,
        );
        // The server has it: it tells so by its progress.
        assert_eq!(session.json()["method"], "notifications/progress");
        world.done(words);
        assert_eq!(session.refused("perform", r#"{"id":"after"}"#), *reason);
        world.open_gate();
        let answer = session.json();
        assert_eq!((&answer["id"], text_of(&answer).as_deref()), (&json!(id), Some("at last")), "{answer}");
        assert_eq!(session.refused("perform", r#"{"id":"after"}"#), *reason);
        session.end();
        assert_eq!(world.upstream("effects"), ["began in flight", "in flight"]);
        let outcomes = world.events("outcome");
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0]["outcome"], "succeeded");
    }
}

#[test]
fn a_stop_holds_across_restarts_and_hand_overs() {
    for (words, reason) in STOPS {
        let world = World::new();
        world.session().passes("echo", "{}");
        world.done(words);
        let mut session = world.bare_session();
        if words.contains(&"mandate") || words.contains(&"server") {
            assert_eq!(session.line_or_end(), None, "{words:?}: it was resumed");
            let (status, stderr) = session.end();
            assert_ne!(status.code(), Some(0));
            assert!(stderr.contains("was revoked") || stderr.contains("is quarantined"), "{stderr}");
        } else {
            session.initialize();
            assert_eq!(session.refused("echo", "{}"), *reason);
        }
        let bundle = world.path("bundle");
        let handed = world.control(&["mandate", "handover", "work", "--bundle", bundle.to_str().unwrap()]);
        if words.contains(&"mandate") {
            // What was revoked stays so; another hand-over is another mandate, and a person's act.
            assert_eq!(handed.code, 0, "{handed:?}");
            world.session().passes("echo", "{}");
        } else if words.contains(&"server") {
            // A task may have to do with other servers too; this one stays where it is.
            assert_eq!(handed.code, 0, "{handed:?}");
            let (status, _) = world.bare_session().end();
            assert_ne!(status.code(), Some(0));
        } else {
            assert_eq!(handed.code, 1, "{words:?}: {handed:?}");
            assert!(handed.stderr.contains("is stopped"), "{words:?}: {handed:?}");
        }
    }
}

#[test]
fn what_is_no_subject_or_no_place_is_told_and_nothing_is_acknowledged() {
    let world = World::new();
    for (words, says) in [
        (vec!["revoke", "agent", "a b"], "an agent's id"),
        (vec!["revoke", "agent", ""], ""),
        (vec!["lockdown"], "no data directory"),
    ] {
        let answered = world.control(&words);
        assert_ne!(answered.code, 0, "{words:?}: {answered:?}");
        assert!(answered.stdout.is_empty(), "{answered:?}");
        assert!(answered.stderr.contains(says), "{answered:?}");
    }
}

/// A small file system of memory, mounted for one test.
struct Disk {
    directory: std::path::PathBuf,
}

impl Disk {
    fn mount(world: &World, size: &str) -> Self {
        let directory = world.data();
        fs::create_dir_all(&directory).unwrap();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"])
            .arg(&directory));
        Self { directory }
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = fs::File::create(self.directory.join("filler")).unwrap();
        let block = vec![0u8; 4096];
        while file.write_all(&block).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.directory.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(&self.directory).status();
    }
}

fn may_mount() -> bool {
    let probe = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(probe.path()).output();
    let may = mounted.is_ok_and(|output| output.status.success());
    if may {
        run(Command::new("umount").arg(probe.path()));
    }
    may
}

/// What must hold while nothing can be recorded: nothing passes, refusals go on, stops are acknowledged through the stop file.
fn check_while_the_log_fails(world: &World, session: &mut Session) {
    for _ in 0..3 {
        let answer = session.call("perform", r#"{"id":"unrecorded"}"#);
        assert_eq!(
            reason_of(&answer).as_deref(),
            Some("audit_unavailable"),
            "{answer}\n{}",
            session.stderr()
        );
        assert_eq!(session.refused("nothing", "{}"), "tool_not_available");
    }
    let answer = world.done(&["revoke", "agent", "bot", "--reason", "while the log fails"]);
    assert_eq!(
        (&answer["stopped"], &answer["in_force"], &answer["revision"]),
        (&json!(true), &json!(true), &Value::Null)
    );
    assert!(answer["not_recorded"].is_string(), "{answer}");
    let answer = session.call("perform", r#"{"id":"stopped"}"#);
    assert_eq!(reason_of(&answer).as_deref(), Some("agent_inactive"), "{answer}");
    assert_eq!(world.upstream("effects"), ["before"], "an effect without its record");
}

/// What must be in the ledger once it works again.
fn check_after(world: &World) {
    let standing = world.events("standing");
    assert_eq!(standing.len(), 1, "{standing:?}");
    assert_eq!((&standing[0]["subject"], &standing[0]["change"]), (&json!("agent:bot"), &json!("stopped")));
    let gaps = world.events("audit_gap");
    assert!(!gaps.is_empty(), "no gap was recorded");
    assert!(gaps.iter().all(|gap| gap["lost"] == 0), "{gaps:?}");
    let denied: Vec<Value> =
        world.events("decision").into_iter().filter(|decision| decision["verdict"] == "deny").collect();
    let code = |decision: &Value| decision["reasons"][0]["code"].as_str().unwrap().to_owned();
    for (reason, count) in [("audit_unavailable", 3), ("tool_not_available", 3), ("agent_inactive", 2)] {
        assert_eq!(
            denied.iter().filter(|decision| code(decision) == reason).count(),
            count,
            "{reason}: {denied:#?}"
        );
    }
    world.verified();
}

#[test]
fn on_a_full_disk_nothing_passes_and_stopping_works() {
    if !may_mount() {
        // Without the right to mount, the tests below show the same by bounds on the size of files.
        return;
    }
    let world = World::new();
    let disk = Disk::mount(&world, "4m");
    let mut session = world.session();
    session.passes("perform", r#"{"id":"before"}"#);
    disk.fill();
    check_while_the_log_fails(&world, &mut session);
    disk.empty();
    // Whatever is recorded next takes with it what was kept.
    assert_eq!(session.refused("nothing", "{}"), "tool_not_available");
    let (status, stderr) = session.end();
    assert!(status.success(), "{stderr}");
    check_after(&world);
    drop(disk);
}

#[test]
fn what_cannot_be_written_at_all_is_not_acknowledged() {
    let world = World::new();
    let disk = may_mount().then(|| Disk::mount(&world, "4m"));
    let mut session = world.session();
    session.passes("echo", "{}");
    session.end();
    match &disk {
        Some(_) => drop(run(Command::new("mount").args(["-o", "remount,ro"]).arg(world.data()))),
        None => {
            for (name, mode) in [("stop", 0o400), ("warrantor.db", 0o400), ("", 0o500)] {
                fs::set_permissions(world.data().join(name), fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
    for words in [["lockdown"].as_slice(), &["revoke", "agent", "bot"]] {
        let answered = world.control(words);
        assert_eq!(answered.code, 3, "{words:?}: {answered:?}");
        assert!(answered.stderr.contains("is NOT stopped"), "{words:?}: {answered:?}");
        assert!(answered.stdout.is_empty(), "{words:?}: {answered:?}");
    }
    let mut session = world.bare_session();
    assert_eq!(session.line_or_end(), None, "a session without a log");
    if disk.is_none() {
        fs::set_permissions(world.data(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

/// Lets a process write files up to a size only, or any.
fn bound_files(session: &Session, bytes: &str) {
    let pid = session.child.id().to_string();
    run(Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]));
}

/// A world whose sessions get an error, and not a signal, where a file may not grow.
fn bounded_world() -> World {
    let mut world = World::new();
    world.wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(str::to_owned).to_vec();
    world
}

#[test]
fn while_the_log_fails_nothing_passes_and_what_was_refused_is_recorded_later() {
    let world = bounded_world();
    let mut session = world.session();
    session.passes("perform", r#"{"id":"before"}"#);
    bound_files(&session, "512");
    for _ in 0..3 {
        let answer = session.call("perform", r#"{"id":"unrecorded"}"#);
        assert_eq!(reason_of(&answer).as_deref(), Some("audit_unavailable"), "{answer}");
        assert_eq!(session.refused("nothing", "{}"), "tool_not_available");
    }
    bound_files(&session, "unlimited");
    session.passes("perform", r#"{"id":"after"}"#);
    let (status, stderr) = session.end();
    assert!(status.success(), "{stderr}");
    assert_eq!(world.upstream("effects"), ["before", "after"]);
    let gaps = world.events("audit_gap");
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap["lost"] == 0), "{gaps:?}");
    let (passed, denied): (Vec<Value>, Vec<Value>) =
        world.events("decision").into_iter().partition(|decision| decision["verdict"] == "pass");
    assert_eq!((passed.len(), denied.len()), (2, 6), "{denied:#?}");
    world.verified();
}

#[test]
fn a_stop_that_cannot_be_recorded_is_in_force_and_recorded_by_who_can() {
    let world = World::new();
    let mut session = world.session();
    // The database and its log are longer then than a process may write that is bounded to the stop file's size.
    for _ in 0..20 {
        session.passes("echo", "{}");
    }
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_warrantor")]);
    command.args(["revoke", "agent", "bot", "-o", "json", "--data"]).arg(world.data());
    let output = run(&mut command);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["in_force"], &answer["revision"]), (&json!(true), &Value::Null), "{answer}");
    assert_eq!(session.refused("perform", r#"{"id":"after"}"#), "agent_inactive");
    session.end();
    let standing = world.events("standing");
    assert_eq!(standing.len(), 1, "{standing:?}");
    assert_eq!(standing[0]["reason"], "found in the stop file");
    world.verified();
}

#[test]
fn a_session_that_ends_while_the_log_fails_says_so_and_the_ledger_still_verifies() {
    let world = bounded_world();
    let mut session = world.session();
    session.passes("perform", r#"{"id":"before"}"#);
    bound_files(&session, "512");
    let answer = session.call("perform", r#"{"id":"unrecorded"}"#);
    assert_eq!(reason_of(&answer).as_deref(), Some("audit_unavailable"), "{answer}");
    let (_, stderr) = session.end();
    assert!(stderr.contains("could not be written and are lost"), "{stderr}");
    assert_eq!(world.upstream("effects"), ["before"]);
    world.verified();
    let mut session = world.session();
    session.passes("perform", r#"{"id":"after"}"#);
    session.end();
    world.verified();
}
