//! The starter does what its comments say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::sync::Arc;

use warrantor_bundle::{Loaded, STARTER_MANDATE, STARTER_SERVER, load_files, starter};
use warrantor_decide::{Decision, Facts, Hop, TaskState, decide};
use warrantor_model::{
    Call, Decimal, Definition, Digest, Evidence, Json, Mandate, MandateId, Standing, TaskId, Timestamp,
};

fn load() -> Loaded {
    let files = starter("/home/alice", "alice").unwrap();
    load_files(files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect()).unwrap()
}

fn decided(loaded: &Loaded, tool: &str, arguments: &str) -> Vec<String> {
    let now = Timestamp::from_micros(1_900_000_000_000_000);
    let template = &loaded.templates[&STARTER_MANDATE.parse().unwrap()];
    let mandate = Mandate {
        id: MandateId::new("m1").unwrap(),
        parent: None,
        task: TaskId::new("t1").unwrap(),
        begins_task: false,
        terms: Arc::clone(template.compiled.terms()),
        handed_over_at: now,
        expires_at: template.terms.lifetime.end(now),
    };
    let hop = Hop { mandate, terms: Arc::new(template.compiled.clone()), terms_digest: Digest::of(b"terms") };
    let call = Call {
        mandate: MandateId::new("m1").unwrap(),
        tool: format!("{STARTER_SERVER}/{tool}").parse().unwrap(),
        arguments: Json::parse(arguments.as_bytes()).unwrap(),
        evidence: Evidence::LocalUser { uid: 1000, name: None },
        definition: Definition::AsPinned,
        enforcement_point: "test".to_owned(),
    };
    let mut task = TaskState::begun(vec![hop], now);
    let wanted = loaded.snapshot.wanted(&task.chain, &call, now);
    task.counters = wanted.counters.into_iter().map(|counter| (counter, Decimal::ZERO)).collect();
    let facts = Facts { standing: Standing::default(), last_record_at: now, approval: None };
    match decide(&loaded.snapshot, &task, &facts, &call, now) {
        Decision::Pass(_) => vec!["pass".to_owned()],
        Decision::Ask(..) => vec!["ask".to_owned()],
        Decision::Deny(refusal, ..) => refusal
            .findings()
            .iter()
            .map(|f| format!("{} {}", f.code, f.subject.as_deref().unwrap_or("")))
            .collect(),
    }
}

#[test]
fn reading_is_wide_writing_is_narrow_and_secrets_stay_closed() {
    let loaded = load();
    for (tool, arguments, expected) in [
        ("read_text_file", r#"{"path":"/home/alice/plan.txt"}"#, "pass"),
        ("read_text_file", r#"{"path":"/home/alice/plan.txt","head":10}"#, "pass"),
        ("list_directory", r#"{"path":"/home/alice"}"#, "pass"),
        ("list_allowed_directories", "{}", "pass"),
        ("read_text_file", r#"{"path":"/etc/passwd"}"#, "argument_out_of_bounds"),
        ("read_text_file", r#"{"path":"/home/alice2/x"}"#, "argument_out_of_bounds"),
        ("read_text_file", r#"{"path":"/home/alice/../bob/x"}"#, "arguments_invalid"),
        ("read_text_file", r#"{"path":"/home/alice/app/.env"}"#, "policy_forbids secrets-stay-closed"),
        ("directory_tree", r#"{"path":"/home/alice/.ssh"}"#, "policy_forbids secrets-stay-closed"),
        ("read_multiple_files", r#"{"paths":["/home/alice/a"]}"#, "policy_forbids one-file-at-a-time"),
        ("write_file", r#"{"path":"/home/alice/notes/a.md","content":"x"}"#, "pass"),
        ("write_file", r#"{"path":"/home/alice/a.md","content":"x"}"#, "argument_out_of_bounds"),
        (
            "write_file",
            r#"{"path":"/home/alice/a.md","content":"x"}"#,
            "policy_forbids nothing-leaves-and-nothing-is-lost",
        ),
        ("edit_file", r#"{"path":"/home/alice/notes/a.md","edits":[{"oldText":"a","newText":"b"}]}"#, "pass"),
        (
            "edit_file",
            r#"{"path":"/home/alice/notes/a.md","edits":[{"oldText":"a","newText":"b"}],"dryRun":true}"#,
            "pass",
        ),
        ("create_directory", r#"{"path":"/home/alice/notes/2026"}"#, "pass"),
        ("move_file", r#"{"source":"/home/alice/notes/a","destination":"/home/alice/notes/b"}"#, "pass"),
        (
            "move_file",
            r#"{"source":"/home/alice/notes/a","destination":"/home/alice/b"}"#,
            "argument_out_of_bounds",
        ),
        ("delete_everything", "{}", "tool_not_available"),
    ] {
        let found = decided(&loaded, tool, arguments);
        assert!(
            found.iter().any(|reason| reason.starts_with(expected)),
            "{tool} {arguments}: wanted {expected}, found {found:?}"
        );
    }
}
