//! Writes the seeds that no editor writes: records, trees, signatures. Run after a change of their formats, from
//! anywhere: `cargo run -p warrantor-fuzz --example seeds`. The same program writes the same bytes.

#![allow(clippy::unwrap_used, reason = "a tool for developers: whatever goes wrong ends it")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use warrantor_engine::wire::{self, Answered};
use warrantor_ledger::checkpoint::Checkpoint;
use warrantor_ledger::merkle::{inclusion_proof, leaf_hash};
use warrantor_ledger::note::{KeyName, SigningKey};
use warrantor_ledger::{Frontier, Hash, evidence};
use warrantor_model::record::{Event, GapRecord, LedgerRecord, Outcome, OutcomeRecord, Record};
use warrantor_model::{Digest, Timestamp};
use zeroize::Zeroizing;

fn main() {
    for (name, event) in records() {
        let at = Timestamp::from_micros(1_790_000_000_000_000);
        let record = Record::new("0192f0c1-0000-7000-8000-000000000001", at, event);
        write(&format!("model_record/{name}"), &record.to_bytes().unwrap());
    }
    let leaves: Vec<Hash> = (0..11_u8).map(|number| leaf_hash(&[number])).collect();
    for size in [0, 1, 7, 8, 11] {
        write(&format!("ledger_frontier/{size}"), &frontier(leaves.iter().take(size)).to_bytes());
    }
    let origin: KeyName = "example.com/log".parse().unwrap();
    let key = SigningKey::from_seed(origin.clone(), Zeroizing::new([7; 32])).unwrap();
    let checkpoint = Checkpoint::of(origin, &frontier(leaves.iter()));
    let signed = checkpoint.sign_first(&[&key]).unwrap();
    let proof = inclusion_proof(leaves.as_slice(), 4, 11).unwrap();
    write("ledger_key/ed25519", key.verifier().to_string().as_bytes());
    write("ledger_checkpoint/alone", checkpoint.to_string().as_bytes());
    write("ledger_checkpoint/signed", signed.as_bytes());
    write("ledger_note/checkpoint", signed.as_bytes());
    write("ledger_evidence/leaf-4", evidence::write(4, &proof, &signed).as_bytes());
    answers_and_questions();
}

/// Signed answers of a control plane to the point `eu`, and questions that bring one of them back.
fn answers_and_questions() {
    let key =
        SigningKey::from_seed("example.com/decisions".parse().unwrap(), Zeroizing::new([9; 32])).unwrap();
    let eu = "eu".parse().unwrap();
    let asked = br#"{"nonce":"1","question":{"ask":"bundle","have":null}}"#;
    let permit = json!({
        "decision": "0192f0c1-0000-7000-8000-000000000000", "task": "t1", "tool": "bank/send_money",
        "owner": "alice", "charges": [{ "add": { "counter": "limit/m1", "amount": "1.10", "at_most": "7" } }],
        "markers": ["m"], "tracking": [[true, { "unique": { "member": "x", "observed": false } }]],
        "failure": "atomic", "obligations": [{ "redact": "a/b" }, { "label": "x" }, { "cap": 7 }],
        "uses": ["agent:bot", "server:bank", "deployment"], "handed_over": [["pay", "2030-01-01T00:00:00Z"]],
    });
    let finding =
        json!({ "code": "denied", "hop": 1, "subject": "m1", "safe": "not today", "detail": "policy" });
    let sign = |answered: Value| {
        wire::sign(&key, &eu, asked, &serde_json::from_value::<Answered>(answered).unwrap()).unwrap()
    };
    let permitted = sign(json!({ "answer": "permitted", "permit": permit }));
    let answers = [
        ("permitted", permitted.clone()),
        ("refused", sign(json!({ "answer": "refused", "decision": "d1", "findings": [finding] }))),
        ("listed", sign(json!({ "answer": "listed", "tools": ["a", "b"] }))),
        (
            "mandate",
            sign(json!({ "answer": "mandate", "agent": "bot", "expires_at": "2030-01-01T00:00:00Z" })),
        ),
    ];
    for (name, signed) in answers {
        write(&format!("engine_answer/{name}"), &serde_json::to_vec(&signed).unwrap());
    }
    let call = json!({
        "bundle": Digest::of(b"bundle"), "method": "tools/call", "mandate": "m1", "server": "bank",
        "offer": "", "tool": "send_money", "arguments": "{\"amount\": 1}",
        "evidence": { "kind": "token", "name": "laptop" }, "definition": "as_pinned",
    });
    let output = json!({ "structured": null, "texts": ["paid"], "others": [], "error": false });
    let questions = [
        ("decide", json!({ "ask": "decide", "call": call })),
        ("bundle", json!({ "ask": "bundle", "have": Digest::of(b"bundle") })),
        ("decline", json!({ "ask": "decline", "permit": permitted })),
        (
            "take-in",
            json!({
                "ask": "take_in", "permit": permitted, "part": 2, "outcome": "succeeded", "result": "{}",
                "output": output, "micros": 1_500,
            }),
        ),
        ("gap", json!({ "ask": "gap", "since": "2030-01-01T00:00:00Z", "lost": 3, "cause": "no route" })),
    ];
    for (name, question) in questions {
        let asked = json!({ "nonce": "1", "question": question });
        write(&format!("engine_question/{name}"), asked.to_string().as_bytes());
    }
}

fn records() -> [(&'static str, Event); 3] {
    let outcome = OutcomeRecord {
        decision: "0192f0c1-0000-7000-8000-000000000000".to_owned(),
        outcome: Outcome::Succeeded,
        body: Some(Digest::of(b"body")),
        bytes: 4_096,
        given_back: vec!["calls".to_owned()],
        micros: 1_500,
        labels: Vec::new(),
    };
    let gap = GapRecord {
        since: Timestamp::from_micros(1_789_999_999_000_000),
        lost: 3,
        cause: "no space left".to_owned(),
    };
    let created =
        LedgerRecord::Created { origin: "example.com/log".to_owned(), key: "example.com/log+key".to_owned() };
    [("outcome", Event::Outcome(outcome)), ("gap", Event::AuditGap(gap)), ("created", Event::Ledger(created))]
}

fn frontier<'a>(leaves: impl Iterator<Item = &'a Hash>) -> Frontier {
    leaves.fold(Frontier::empty(), |mut frontier, leaf| {
        frontier.push(*leaf);
        frontier
    })
}

fn write(name: &str, bytes: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, bytes).unwrap();
}
