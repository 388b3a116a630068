//! Writes the seeds that no editor writes: records, trees, signatures. Run after a change of their formats, from
//! anywhere: `cargo run -p warrantor-fuzz --example seeds`. The same program writes the same bytes.

#![allow(clippy::unwrap_used, reason = "a tool for developers: whatever goes wrong ends it")]

use std::fs;
use std::path::Path;

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
