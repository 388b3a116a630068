//! Notes, checkpoints and evidence: published vectors, an independent implementation, and everything that must be refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use signed_note as other;
use signed_note::Signer as _;
use warrantor_ledger::{
    Checkpoint, Frontier, KeyName, SigningKey, Tile, UnverifiedCheckpoint, UnverifiedEvidence,
    UnverifiedNote, VerifiedCheckpoint, VerifierKey,
    checkpoint::{CheckpointError, CheckpointNoteError, CheckpointSignError},
    evidence::{self, EvidenceError},
    merkle::{Hash, consistency_proof, empty_root, inclusion_proof, leaf_hash, root_of},
    note::{self, MAX_NOTE_BYTES, NoteError, SignError, VerifierKeyError},
};
use zeroize::Zeroizing;

const ORIGIN: &str = "audit.example.com/tenant1";
const VECTOR_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const VECTOR_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn key(of: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name(of), Zeroizing::new([seed; 32])).unwrap()
}

fn verify(note: &str, trusted: &[VerifierKey]) -> Result<String, NoteError> {
    Ok(UnverifiedNote::parse(note.as_bytes())?.verify(trusted)?.text().to_owned())
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn checkpoint_of(origin: &str, leaves: &[Hash]) -> Checkpoint {
    let mut tree = Frontier::empty();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    Checkpoint::of(name(origin), &tree)
}

fn verified(note: &str, by: &SigningKey) -> Result<VerifiedCheckpoint, CheckpointNoteError> {
    UnverifiedCheckpoint::parse(note.as_bytes())?.verify(&name(ORIGIN), &[by.verifier().clone()])
}

#[test]
fn the_published_note_verifies_with_the_published_key() {
    let key: VerifierKey = VECTOR_KEY.parse().unwrap();
    assert_eq!(key.to_string(), VECTOR_KEY);
    assert_eq!(verify(VECTOR_NOTE, &[key]).unwrap(), "This is an example message.\n");
}

#[test]
fn a_key_signs_as_rfc_8032_has_it() {
    let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let key = SigningKey::from_seed(name(ORIGIN), Zeroizing::new(seed.try_into().unwrap())).unwrap();
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(hex::encode(key.verifier().public()), public);
    assert!(!format!("{key:?}").contains("9d61"), "the debug form shows the seed");
}

#[test]
fn while_keys_rotate_the_old_and_the_new_one_verify() {
    let (old, new, stranger) = (key(ORIGIN, 1), key(ORIGIN, 2), key(ORIGIN, 3));
    let note = note::sign("text\n\nwith an empty line\n", &[&old, &new]).unwrap();
    for trusted in [&old, &new] {
        assert_eq!(verify(&note, &[trusted.verifier().clone()]).unwrap(), "text\n\nwith an empty line\n");
    }
    let both = [old.verifier().clone(), new.verifier().clone()];
    assert_eq!(UnverifiedNote::parse(note.as_bytes()).unwrap().verify(&both).unwrap().signers(), both);
    assert_eq!(verify(&note, &[stranger.verifier().clone()]), Err(NoteError::NoTrustedSignature));
    assert_eq!(verify(&note, &[]), Err(NoteError::NoTrustedSignature));
}

#[test]
fn a_bad_signature_of_a_trusted_key_outweighs_a_good_one() {
    let (good, bad) = (key("good", 1), key("bad", 2));
    let note = note::sign("text\n", &[&good]).unwrap();
    let line = note::sign("other\n", &[&bad]).unwrap();
    let forged = note.clone() + line.strip_prefix("other\n\n").unwrap();
    assert_eq!(verify(&forged, &[good.verifier().clone()]).unwrap(), "text\n");
    let both = [good.verifier().clone(), bad.verifier().clone()];
    let refused = NoteError::BadSignature { name: name("bad"), id: bad.verifier().id() };
    assert_eq!(verify(&forged, &both), Err(refused));
    let renamed = line.strip_prefix("other\n\n").unwrap().replace("bad", "good");
    let unknown_id = verify(&(note.clone() + &renamed), &[good.verifier().clone()]);
    assert_eq!(unknown_id.unwrap(), "text\n", "a trusted name does not make another key known");
    let elsewhere = note::sign("other\n", &[&good]).unwrap();
    let twice = note + elsewhere.strip_prefix("other\n\n").unwrap();
    let refused = NoteError::BadSignature { name: name("good"), id: good.verifier().id() };
    assert_eq!(verify(&twice, &[good.verifier().clone()]), Err(refused));
}

#[test]
fn a_trusted_id_on_anothers_signature_is_refused() {
    let (log, thief) = (key(ORIGIN, 1), key(ORIGIN, 2));
    let note = note::sign("text\n", &[&thief]).unwrap();
    let encoded = note.trim_end().rsplit_once(' ').unwrap().1;
    let mut bytes = STANDARD.decode(encoded).unwrap();
    bytes[..4].copy_from_slice(log.verifier().id().as_bytes());
    let forged = note.replace(encoded, &STANDARD.encode(bytes));
    let refused = NoteError::BadSignature { name: name(ORIGIN), id: log.verifier().id() };
    assert_eq!(verify(&forged, &[log.verifier().clone()]), Err(refused));
}

#[test]
fn two_trusted_keys_that_share_name_and_id_are_refused_rather_than_chosen_from() {
    // Two public keys, small numbers, found by trying; ids have four bytes only.
    let [one, other] = [47393_u32, 106532].map(|n| {
        let public = [[1].as_slice(), &[0; 28], &n.to_be_bytes()].concat();
        format!("{ORIGIN}+539bb472+{}", STANDARD.encode(public)).parse::<VerifierKey>().unwrap()
    });
    let (log, id) = (key(ORIGIN, 1), one.id());
    let note = note::sign("text\n", &[&log]).unwrap();
    let signed = [id.as_bytes(), &[0; 64]].concat();
    let note = format!("{note}\u{2014} {ORIGIN} {}\n", STANDARD.encode(signed));
    let log = log.verifier().clone();
    let ambiguous = NoteError::AmbiguousKey { name: name(ORIGIN), id };
    assert_eq!(verify(&note, &[log.clone(), one.clone(), other]), Err(ambiguous));
    let bad = NoteError::BadSignature { name: name(ORIGIN), id };
    assert_eq!(verify(&note, &[log.clone(), one.clone(), one]), Err(bad), "one key named twice is one key");
    assert_eq!(verify(&note, &[log]).unwrap(), "text\n");
}

#[test]
fn malformed_notes_are_refused_by_name() {
    let good = note::sign("text\n", &[&key("k", 1)]).unwrap();
    let line = good.strip_prefix("text\n\n").unwrap();
    let cases = [
        (String::new(), NoteError::Unsigned),
        ("text\n".into(), NoteError::Unsigned),
        ("text\n\n".into(), NoteError::Unsigned),
        (good.trim_end().into(), NoteError::Unsigned),
        (format!("text\n{line}"), NoteError::Unsigned),
        (format!("{good}\n"), NoteError::Unsigned),
        (good.replace("text", "te\txt"), NoteError::NotText { at: 2 }),
        (good.replace('\n', "\r\n"), NoteError::NotText { at: 4 }),
        (good.replace('\u{2014}', "-"), NoteError::SignatureLine { line: 1 }),
        (good.replace(" k ", "  "), NoteError::SignatureLine { line: 1 }),
        (good.replace(" k ", " k+k "), NoteError::SignatureLine { line: 1 }),
        (good.replace(" k ", " k\u{a0} "), NoteError::SignatureLine { line: 1 }),
        (good.replace(" k ", " k  "), NoteError::SignatureLine { line: 1 }),
        (good.replace("=\n", "\n"), NoteError::SignatureLine { line: 1 }),
        (format!("text\n\n{line}\u{2014} k AAAAAA==\n"), NoteError::SignatureLine { line: 2 }),
        (format!("text\n\n{}", line.repeat(65)), NoteError::TooManySignatures),
        (
            format!("{}\n\n{line}", "x".repeat(MAX_NOTE_BYTES)),
            NoteError::TooLong { found: MAX_NOTE_BYTES + good.len() - 4 },
        ),
    ];
    for (note, error) in cases {
        let shown: String = note.chars().take(60).collect();
        assert_eq!(UnverifiedNote::parse(note.as_bytes()).unwrap_err(), error, "{shown:?}");
    }
    assert_eq!(UnverifiedNote::parse(b"text\xff\n\n").unwrap_err(), NoteError::NotText { at: 4 });
    assert!(UnverifiedNote::parse(format!("text\n\n{}", line.repeat(64)).as_bytes()).is_ok());
}

#[test]
fn what_would_not_be_read_is_not_signed() {
    let key = key("k", 1);
    for (text, keys, error) in [
        ("", vec![&key], SignError::Text),
        ("text", vec![&key], SignError::Text),
        ("te\rxt\n", vec![&key], SignError::Text),
        ("text\n", vec![], SignError::Keys { found: 0 }),
        ("text\n", vec![&key; 65], SignError::Keys { found: 65 }),
    ] {
        assert_eq!(note::sign(text, &keys), Err(error), "{text:?}");
    }
    let long = "x".repeat(MAX_NOTE_BYTES - 1) + "\n";
    assert!(matches!(note::sign(&long, &[&key]), Err(SignError::TooLong { .. })));
}

#[test]
fn a_verifier_key_has_one_written_form() {
    let short = |key: &str, cut: &str| key.replace(cut, "");
    let ecdsa = VECTOR_KEY.replace("+Aek", "+Auk");
    for (text, refused) in [
        (VECTOR_KEY.replace("530d903a", "530D903A"), "form"),
        (VECTOR_KEY.replace("530d903a", "0530d903a"), "form"),
        (short(VECTOR_KEY, "example.com/foo"), "name"),
        (VECTOR_KEY.replace("example.com/foo", "example.com/ foo"), "name"),
        (VECTOR_KEY.replace("example.com/foo", "example.com/bar"), "id"),
        (VECTOR_KEY.replace("530d903a", "530d903b"), "id"),
        (short(VECTOR_KEY, "3U2k"), "form"),
        (ecdsa, "algorithm"),
        ("name+530d903a+".into(), "form"),
        ("name".into(), "form"),
        (format!("{}+00000000+AQ==", "x".repeat(256)), "name"),
    ] {
        let error = match text.parse::<VerifierKey>().unwrap_err() {
            VerifierKeyError::Form => "form",
            VerifierKeyError::Name(_) => "name",
            VerifierKeyError::Algorithm { .. } => "algorithm",
            VerifierKeyError::Id { .. } => "id",
        };
        assert_eq!(error, refused, "{text}");
    }
}

#[test]
fn a_checkpoint_has_one_written_form() {
    let good = checkpoint_of(ORIGIN, &leaves(3)).to_string();
    assert_eq!(Checkpoint::parse(good.as_bytes()).unwrap().to_string(), good);
    let root = root_of(&leaves(3)).to_base64();
    let size = |found: &str| CheckpointError::Size { found: found.into() };
    for (text, error) in [
        (format!("{good}extension\n"), CheckpointError::Lines { found: 4 }),
        (good.trim_end().to_owned(), CheckpointError::Lines { found: 3 }),
        (format!("{ORIGIN}\n3\n"), CheckpointError::Lines { found: 2 }),
        (good.replace("\n3\n", "\n03\n"), size("03")),
        (good.replace("\n3\n", "\n+3\n"), size("+3")),
        (good.replace("\n3\n", "\n-3\n"), size("-3")),
        (good.replace("\n3\n", "\n\n"), size("")),
        (good.replace("\n3\n", "\n4611686018427387905\n"), size("4611686018427387905")),
        (good.replace("\n3\n", "\n18446744073709551616\n"), size("18446744073709551616")),
        (good.replace("\n3\n", "\n0\n"), CheckpointError::EmptyRoot { root: root_of(&leaves(3)) }),
    ] {
        assert_eq!(Checkpoint::parse(text.as_bytes()).unwrap_err(), error, "{text:?}");
    }
    assert!(matches!(
        Checkpoint::parse(good.replace(&root, "AAAA").as_bytes()),
        Err(CheckpointError::Root(_))
    ));
    assert!(matches!(
        Checkpoint::parse(good.replace("/t", "+t").as_bytes()),
        Err(CheckpointError::Origin(_))
    ));
    assert!(matches!(Checkpoint::parse(b"\xff\n3\n\n"), Err(CheckpointError::NotText(_))));
    assert_eq!(checkpoint_of(ORIGIN, &[]).root(), empty_root());
}

#[test]
fn a_checkpoint_is_signed_only_after_its_past() {
    let (log, all) = (key(ORIGIN, 1), leaves(8));
    let last = checkpoint_of(ORIGIN, &all[..5]);
    let last = verified(&last.sign_first(&[&log]).unwrap(), &log).unwrap();
    let next = checkpoint_of(ORIGIN, &all);
    let proof = consistency_proof(all.as_slice(), 5, 8).unwrap();
    let note = next.sign_after(&last, &proof, &[&log]).unwrap();
    assert_eq!(verified(&note, &log).unwrap().checkpoint(), &next);

    let mut rewritten = all.clone();
    rewritten[2] = leaf_hash(b"another");
    let forked = checkpoint_of(ORIGIN, &rewritten);
    let fork_proof = consistency_proof(rewritten.as_slice(), 5, 8).unwrap();
    for (checkpoint, proof) in [
        (&forked, &fork_proof),
        (&forked, &proof),
        (&next, &vec![]),
        (&checkpoint_of(ORIGIN, &all[..4]), &vec![]),
    ] {
        let refused = checkpoint.sign_after(&last, proof, &[&log]);
        assert!(matches!(refused, Err(CheckpointSignError::NotExtended(_))), "{refused:?}");
    }
    let other_log = checkpoint_of("other", &all).sign_after(&last, &proof, &[&key("other", 1)]);
    assert!(matches!(other_log, Err(CheckpointSignError::OtherLog { .. })));
    let other_key = next.sign_after(&last, &proof, &[&log, &key("other", 1)]);
    assert!(matches!(other_key, Err(CheckpointSignError::OtherKey { .. })));
}

#[test]
fn a_checkpoint_is_its_logs_word_or_refused() {
    let (log, cosigner) = (key(ORIGIN, 1), key("witness.example", 2));
    let checkpoint = checkpoint_of(ORIGIN, &leaves(3));
    let note = checkpoint.sign_first(&[&log]).unwrap();
    assert_eq!(verified(&note, &log).unwrap().checkpoint(), &checkpoint);
    let grown = verified(&note.replace("\n3\n", "\n4\n"), &log);
    assert!(matches!(grown, Err(CheckpointNoteError::Note(NoteError::BadSignature { .. }))));
    let elsewhere = checkpoint_of("other", &leaves(3)).sign_first(&[&key("other", 1)]).unwrap();
    let expected = CheckpointNoteError::OtherOrigin { found: name("other"), expected: name(ORIGIN) };
    assert_eq!(verified(&elsewhere, &log), Err(expected));
    let cosigned = note::sign(&checkpoint.to_string(), &[&cosigner]).unwrap();
    assert_eq!(verified(&cosigned, &cosigner), Err(CheckpointNoteError::NotByLog { origin: name(ORIGIN) }));
    let extended = note::sign(&format!("{checkpoint}extension\n"), &[&log]).unwrap();
    assert!(matches!(
        verified(&extended, &log),
        Err(CheckpointNoteError::Checkpoint(CheckpointError::Lines { .. }))
    ));
}

#[test]
fn evidence_shows_the_entry_that_was_logged_and_no_other() {
    let (log, all) = (key(ORIGIN, 1), leaves(11));
    let trusted = [log.verifier().clone()];
    let note = checkpoint_of(ORIGIN, &all).sign_first(&[&log]).unwrap();
    let text = evidence::write(7, &inclusion_proof(all.as_slice(), 7, 11).unwrap(), &note);
    let show = |text: &str, entry: u64| {
        UnverifiedEvidence::parse(text.as_bytes())?.verify(
            entry.to_be_bytes().to_vec(),
            &name(ORIGIN),
            &trusted,
        )
    };
    let shown = show(&text, 7).unwrap();
    assert_eq!((shown.index(), shown.entry()), (7, 7_u64.to_be_bytes().as_slice()));
    assert_eq!(shown.checkpoint().checkpoint().size(), 11);
    assert!(matches!(show(&text, 8), Err(EvidenceError::Inclusion(_))));
    assert!(matches!(show(&text.replace("index 7", "index 6"), 7), Err(EvidenceError::Inclusion(_))));
    assert!(matches!(show(&text.replace("\n11\n", "\n12\n"), 7), Err(EvidenceError::Checkpoint(_))));
    let alone = checkpoint_of(ORIGIN, &all[..1]).sign_first(&[&log]).unwrap();
    assert_eq!(show(&evidence::write(0, &[], &alone), 0).unwrap().index(), 0);
    let hash = text.lines().nth(2).unwrap();
    for bad in [
        text.replace("index 7", "index 07"),
        text.replace("@v1", "@v2"),
        text.replace("index 7\n", ""),
        text.replace("index 7\n", "extra AAAA\nindex 7\n"),
        text.replace("index 7\n", &format!("index 7\n{}", format!("{hash}\n").repeat(64))),
        text.split_once("\n\n").unwrap().0.to_owned(),
    ] {
        assert!(matches!(show(&bad, 7), Err(EvidenceError::Form)), "{bad}");
    }
    assert!(matches!(show(&text.replace(hash, "AAAA"), 7), Err(EvidenceError::Hash(_))));
    assert!(matches!(show(&text.repeat(300), 7), Err(EvidenceError::TooLong { .. })));
}

fn other_verifiers(key: &SigningKey) -> other::VerifierList {
    let verifier = other::StandardVerifier::new(&key.verifier().to_string()).unwrap();
    other::VerifierList::new(vec![Box::new(verifier)])
}

fn other_signer(key: &SigningKey, seed: u8) -> other::StandardSigner {
    let seed = STANDARD.encode([[1].as_slice(), &[seed; 32]].concat());
    let (name, id) = (key.verifier().name(), key.verifier().id());
    other::StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id}+{seed}")).unwrap()
}

/// A well-formed document of some kind with a few bytes changed, or noise.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let log = key(ORIGIN, 1);
    let note = checkpoint_of(ORIGIN, &leaves(9)).sign_first(&[&log]).unwrap();
    let proof = inclusion_proof(leaves(9).as_slice(), 3, 9).unwrap();
    let whole = vec![
        note.clone(),
        evidence::write(3, &proof, &note),
        log.verifier().to_string(),
        checkpoint_of(ORIGIN, &leaves(9)).to_string(),
        "tile/0/x001/x234/067.p/17".to_owned(),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4);
    let edited = (prop::sample::select(whole), edits).prop_map(|(text, edits)| {
        let mut bytes = text.into_bytes();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    });
    prop_oneof![4 => edited, 1 => prop::collection::vec(any::<u8>(), 0..300)]
}

proptest! {
    #[test]
    fn each_implementation_takes_what_the_other_signed(text in "[^\u{0}-\u{1f}]{0,40}(\n[^\u{0}-\u{1f}]{0,40}){0,3}", seed: u8) {
        let (text, key) = (text + "\n", key(ORIGIN, seed));
        let ours = note::sign(&text, &[&key]).unwrap();
        let parsed = other::Note::from_bytes(ours.as_bytes()).unwrap();
        prop_assert_eq!(parsed.verify(&other_verifiers(&key)).unwrap().0.len(), 1);
        prop_assert_eq!(parsed.text(), text.as_bytes());

        let signer = other_signer(&key, seed);
        let mut theirs = other::Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&signer]).unwrap();
        prop_assert_eq!(&theirs.to_bytes(), ours.as_bytes(), "Ed25519 signs one way only");
        prop_assert_eq!(signer.name(), ORIGIN);
        prop_assert_eq!(verify(&ours, &[key.verifier().clone()]).unwrap(), text);
    }

    #[test]
    fn nothing_is_verified_that_the_other_implementation_refuses(bytes in damaged()) {
        let log = key(ORIGIN, 1);
        let verified = UnverifiedNote::parse(&bytes).and_then(|note| note.verify(&[log.verifier().clone()]));
        if let Ok(note) = verified {
            let theirs = other::Note::from_bytes(&bytes).unwrap();
            theirs.verify(&other_verifiers(&log)).unwrap();
            prop_assert_eq!(theirs.text(), note.text().as_bytes());
        }
    }

    #[test]
    fn no_damage_to_a_signed_checkpoint_changes_what_is_verified(bytes in damaged()) {
        let log = key(ORIGIN, 1);
        let read = UnverifiedCheckpoint::parse(&bytes);
        let verified = read.and_then(|read| read.verify(&name(ORIGIN), &[log.verifier().clone()]));
        if let Ok(verified) = verified {
            prop_assert_eq!(verified.checkpoint(), &checkpoint_of(ORIGIN, &leaves(9)));
        }
    }

    #[test]
    fn every_parser_refuses_or_gives_back_the_same_bytes(bytes in damaged()) {
        let _ = UnverifiedCheckpoint::parse(&bytes);
        let _ = UnverifiedEvidence::parse(&bytes);
        if let Ok(checkpoint) = Checkpoint::parse(&bytes) {
            prop_assert_eq!(checkpoint.to_string().into_bytes(), bytes.clone());
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            if let Ok(key) = text.parse::<VerifierKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
            if let Ok(tile) = text.parse::<Tile>() {
                prop_assert_eq!(tile.to_string(), text);
            }
        }
    }
}
