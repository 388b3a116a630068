//! Tampering with a stored ledger in every way we know of, and what the audit names.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod ledger;

use ledger::{Ledger, ORIGIN, SIGNED, key, tree};
use proptest::prelude::*;
use warrantor_ledger::{
    Finding, KeyName,
    audit::{MAX_FINDINGS, Source, StoredCheckpoint, StoredHead},
    checkpoint::CheckpointNoteError,
    merkle::{FrontierError, leaf_hash},
    note::NoteError,
};

fn replaced(note: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(note.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

fn rewritten(after: u64, until: u64, at: usize, checkpoints: u64) -> Finding {
    Finding::HistoryRewritten { after, until, first: Source::Stored { at }, checkpoints }
}

/// What was done, how, and everything that the audit finds.
type Case = (&'static str, fn(&mut Ledger), Vec<Finding>);

fn check(cases: Vec<Case>) {
    for (what, tamper, expected) in cases {
        let mut ledger = Ledger::signed();
        tamper(&mut ledger);
        let report = ledger.audit();
        assert_eq!(report.findings(), expected, "{what}");
        assert_eq!(report.is_intact(), expected.is_empty(), "{what}");
        for finding in report.findings() {
            assert!(!finding.to_string().is_empty(), "{what}");
        }
    }
}

#[test]
fn an_untouched_ledger_is_intact_and_says_how_far_it_is_signed() {
    let mut ledger = Ledger::signed();
    ledger.held = vec![ledger.checkpoints[1].note.clone()];
    let report = ledger.audit();
    assert_eq!(report.findings(), []);
    assert!(report.is_intact());
    assert_eq!((report.size(), report.signed_size(), report.root()), (12, 10, tree(&ledger.rows).root()));
    assert_eq!((report.checkpoints_verified(), report.checkpoints_unchecked()), (5, 0));
    let empty = Ledger::of(0).audit();
    assert!(empty.is_intact());
    assert_eq!((empty.size(), empty.signed_size()), (0, 0));
}

#[test]
fn changed_rows_are_named_with_what_was_changed() {
    check(vec![
        ("nothing", |_| {}, vec![]),
        ("a byte of an entry", |l| l.rows[5].1[0] ^= 1, vec![Finding::EntryChanged { index: 5 }]),
        (
            "two entries",
            |l| (l.rows[1].1[0], l.rows[8].1[0]) = (0, 0),
            vec![Finding::EntryChanged { index: 1 }, Finding::EntryChanged { index: 8 }],
        ),
        ("an entry emptied", |l| l.rows[0].1.clear(), vec![Finding::EntryChanged { index: 0 }]),
        (
            "an entry that only the head covers",
            |l| l.rows[11].1[0] ^= 1,
            vec![Finding::EntryChanged { index: 11 }],
        ),
        ("a stored leaf hash", |l| l.rows[5].2 = leaf_hash(b"x"), vec![Finding::LeafChanged { index: 5 }]),
        (
            "entries exchanged without their hashes",
            |l| {
                let entry = l.rows[5].1.clone();
                l.rows[5].1 = std::mem::replace(&mut l.rows[6].1, entry);
            },
            vec![Finding::EntryChanged { index: 5 }, Finding::EntryChanged { index: 6 }],
        ),
        (
            "an entry here and a leaf hash there, under one checkpoint",
            |l| {
                l.rows[4].1[0] ^= 1;
                l.rows[5].2 = leaf_hash(b"x");
            },
            vec![
                rewritten(4, 7, 1, 3),
                Finding::HeadRoot {
                    head: Ledger::signed().head.root,
                    computed: {
                        let mut rows = Ledger::signed().rows;
                        rows[4].2 = leaf_hash(b"dntry 4");
                        tree(&rows).root()
                    },
                },
                Finding::HeadFrontier,
                Finding::EntryOrLeafChanged { index: 4 },
                Finding::EntryOrLeafChanged { index: 5 },
            ],
        ),
        (
            "an entry and its head, after the last checkpoint",
            |l| {
                l.rows[11].2 = leaf_hash(b"x");
                l.forge_head();
                l.rows[11].2 = leaf_hash(b"y");
            },
            vec![
                Finding::HeadRoot {
                    head: {
                        let mut rows = Ledger::signed().rows;
                        rows[11].2 = leaf_hash(b"x");
                        tree(&rows).root()
                    },
                    computed: tree(&Ledger::signed().rows).root(),
                },
                Finding::HeadFrontier,
                Finding::EntryOrLeafChanged { index: 11 },
            ],
        ),
    ]);
}

#[test]
fn history_written_anew_is_bounded_by_the_checkpoints_around_it() {
    check(vec![
        (
            "an entry before the first checkpoint",
            |l| {
                l.rewrite(1, b"x");
                l.forge_head();
            },
            vec![rewritten(0, 4, 0, 4)],
        ),
        (
            "an entry between two checkpoints",
            |l| {
                l.rewrite(5, b"x");
                l.forge_head();
            },
            vec![rewritten(4, 7, 1, 3)],
        ),
        (
            "rows exchanged with their hashes",
            |l| {
                let (five, six) = (l.rows[5].1.clone(), l.rows[6].1.clone());
                l.rewrite(5, &six);
                l.rewrite(6, &five);
                l.forge_head();
            },
            vec![rewritten(4, 7, 1, 3)],
        ),
        (
            "an entry taken out and the later ones moved up",
            |l| {
                l.rows.remove(8);
                (8..).zip(&mut l.rows[8..]).for_each(|(index, row)| row.0 = index);
                l.forge_head();
            },
            vec![Finding::HistoryRewritten {
                after: 7,
                until: 10,
                first: Source::Stored { at: 2 },
                checkpoints: 2,
            }],
        ),
        (
            "rewritten, every stored checkpoint dropped, one kept apart",
            |l| {
                l.rewrite(5, b"x");
                l.forge_head();
                l.checkpoints.clear();
            },
            vec![Finding::HistoryRewritten {
                after: 0,
                until: 10,
                first: Source::LastSigned,
                checkpoints: 1,
            }],
        ),
        (
            "rewritten, nothing kept but by the auditor",
            |l| {
                l.held = vec![l.checkpoints[1].note.clone()];
                l.rewrite(5, b"x");
                l.forge_head();
                l.checkpoints.clear();
                l.last_signed = None;
            },
            vec![Finding::HistoryRewritten {
                after: 0,
                until: 7,
                first: Source::Held { at: 0 },
                checkpoints: 1,
            }],
        ),
        (
            "rewritten and signed again with the log's key, against the auditor's",
            |l| {
                l.held = vec![l.checkpoints[1].note.clone()];
                l.rewrite(5, b"x");
                l.forge_head();
                l.checkpoints = SIGNED.map(|size| l.sign(size, &key(ORIGIN, 1))).into();
                l.last_signed = Some(l.checkpoints[2].note.clone());
            },
            vec![Finding::SplitView {
                size: 7,
                one: Source::Stored { at: 1 },
                other: Source::Held { at: 0 },
            }],
        ),
        (
            "nothing signed is left at all",
            |l| {
                l.checkpoints.clear();
                l.last_signed = None;
            },
            vec![Finding::NothingSigned { size: 12 }],
        ),
    ]);
}

#[test]
fn missing_and_misplaced_rows_are_named() {
    let head = |rows| Finding::HeadSize { head: 12, rows };
    let truncated = |size, by| Finding::Truncated { size, signed: 10, by };
    check(vec![
        ("a row removed", |l| drop(l.rows.remove(5)), vec![Finding::Missing { from: 5, to: 5 }]),
        ("the first rows removed", |l| drop(l.rows.drain(..3)), vec![Finding::Missing { from: 0, to: 2 }]),
        (
            "two gaps",
            |l| {
                l.rows.drain(8..10);
                l.rows.remove(3);
            },
            vec![Finding::Missing { from: 3, to: 3 }, Finding::Missing { from: 8, to: 9 }],
        ),
        (
            "two rows in exchanged order",
            |l| l.rows.swap(5, 6),
            vec![Finding::OutOfOrder { index: 5, after: 6 }],
        ),
        (
            "rows late in the middle of a gap",
            |l| {
                let late = l.rows.drain(4..8).nth(1).unwrap();
                l.rows.push(late);
            },
            vec![
                Finding::OutOfOrder { index: 5, after: 11 },
                Finding::Missing { from: 4, to: 4 },
                Finding::Missing { from: 6, to: 7 },
            ],
        ),
        ("a row twice", |l| l.rows.insert(6, l.rows[5].clone()), vec![Finding::Repeated { index: 5 }]),
        ("unsigned rows cut off", |l| l.rows.truncate(10), vec![head(10)]),
        ("signed rows cut off", |l| l.rows.truncate(8), vec![truncated(8, Source::LastSigned), head(8)]),
        (
            "signed rows cut off and the head forged",
            |l| {
                l.rows.truncate(8);
                l.forge_head();
            },
            vec![truncated(8, Source::LastSigned)],
        ),
        (
            "the tail cut off with its checkpoints and the head forged, one kept apart",
            |l| {
                l.rows.truncate(8);
                l.forge_head();
                l.checkpoints.truncate(2);
            },
            vec![truncated(8, Source::LastSigned)],
        ),
        (
            "the tail cut off with all its checkpoints, one held by the auditor",
            |l| {
                l.held = vec![l.checkpoints[2].note.clone()];
                l.rows.truncate(8);
                l.forge_head();
                l.checkpoints.truncate(2);
                l.last_signed = Some(l.checkpoints[1].note.clone());
            },
            vec![
                Finding::RolledBack { source: Source::LastSigned, size: 7, after: 10 },
                truncated(8, Source::Held { at: 0 }),
            ],
        ),
        ("every row removed", |l| l.rows.clear(), vec![truncated(0, Source::LastSigned), head(0)]),
    ]);
}

#[test]
fn a_missing_row_leaves_later_checkpoints_unchecked_and_says_so() {
    let mut ledger = Ledger::signed();
    ledger.rows.remove(5);
    let report = ledger.audit();
    assert_eq!((report.checkpoints_verified(), report.checkpoints_unchecked()), (1, 3));
    assert_eq!((report.size(), report.signed_size()), (12, 4));
}

#[test]
fn checkpoints_that_are_not_the_logs_word_are_named() {
    let stored = |at| Source::Stored { at };
    let bad = || {
        let (name, id) = (ORIGIN.parse().unwrap(), key(ORIGIN, 1).verifier().id());
        CheckpointNoteError::Note(NoteError::BadSignature { name, id })
    };
    let unsigned = || CheckpointNoteError::Note(NoteError::NoTrustedSignature);
    let other: fn() -> KeyName = || "other.example".parse().unwrap();
    check(vec![
        (
            "a root changed under its signature",
            |l| {
                l.checkpoints[1].note = replaced(&l.checkpoints[1].note, "\n7\n", "\n8\n");
            },
            vec![Finding::CheckpointForged { source: stored(1), why: bad() }],
        ),
        (
            "signed by an unknown key of the log's name",
            |l| {
                l.checkpoints[1] = l.sign(7, &key(ORIGIN, 9));
            },
            vec![Finding::CheckpointForged { source: stored(1), why: unsigned() }],
        ),
        (
            "no note",
            |l| l.checkpoints[0].note.clear(),
            vec![Finding::CheckpointForged {
                source: stored(0),
                why: CheckpointNoteError::Note(NoteError::Unsigned),
            }],
        ),
        (
            "the one kept apart forged",
            |l| {
                l.last_signed = Some(l.sign(11, &key(ORIGIN, 9)).note);
            },
            vec![Finding::CheckpointForged { source: Source::LastSigned, why: unsigned() }],
        ),
        (
            "another log's, though of a like tree",
            |l| {
                l.checkpoints[1] = l.sign(7, &key("other.example", 1));
            },
            vec![Finding::CheckpointOfOtherOrigin { source: stored(1), origin: other() }],
        ),
        (
            "one stored under another size",
            |l| l.checkpoints[1].size = 8,
            vec![Finding::CheckpointMislabelled { at: 1, label: 8, signed: 7 }],
        ),
        (
            "an older one put in place of a newer",
            |l| {
                l.checkpoints[2] = l.checkpoints[0].clone();
            },
            vec![Finding::RolledBack { source: stored(2), size: 4, after: 7 }],
        ),
        (
            "two older ones after a newer",
            |l| {
                l.checkpoints[2] = l.checkpoints[0].clone();
                l.checkpoints.push(l.sign(5, &key(ORIGIN, 1)));
            },
            vec![
                Finding::RolledBack { source: stored(2), size: 4, after: 7 },
                Finding::RolledBack { source: stored(3), size: 5, after: 7 },
            ],
        ),
        (
            "the one kept apart put back",
            |l| {
                l.last_signed = Some(l.checkpoints[0].note.clone());
            },
            vec![Finding::RolledBack { source: Source::LastSigned, size: 4, after: 10 }],
        ),
        (
            "two histories signed, ours first",
            |l| {
                l.checkpoints.insert(2, l.sign_fork(7));
            },
            vec![Finding::SplitView { size: 7, one: stored(1), other: stored(2) }],
        ),
        (
            "two histories signed, ours last",
            |l| {
                l.checkpoints.insert(1, l.sign_fork(7));
            },
            vec![Finding::SplitView { size: 7, one: stored(1), other: stored(2) }],
        ),
        (
            "another history signed for a size of its own",
            |l| {
                l.checkpoints.insert(1, l.sign_fork(6));
            },
            vec![rewritten(4, 6, 1, 1)],
        ),
        (
            "a fork held by the auditor",
            |l| l.held = vec![l.sign_fork(10).note],
            vec![Finding::SplitView { size: 10, one: stored(2), other: Source::Held { at: 0 } }],
        ),
    ]);
}

#[test]
fn a_head_that_does_not_fit_its_rows_is_named() {
    let root = tree(&Ledger::signed().rows).root();
    let malformed = |why| vec![Finding::HeadFrontierMalformed { why }];
    check(vec![
        ("its size", |l| l.head.size = 13, vec![Finding::HeadSize { head: 13, rows: 12 }]),
        (
            "its root",
            |l| l.head.root = leaf_hash(b"x"),
            vec![Finding::HeadRoot { head: leaf_hash(b"x"), computed: root }],
        ),
        ("a hash of its frontier", |l| l.head.frontier[20] ^= 1, vec![Finding::HeadFrontier]),
        (
            "an older frontier",
            |l| l.head.frontier = tree(&l.rows[..9]).to_bytes(),
            vec![Finding::HeadFrontier],
        ),
        ("no frontier", |l| l.head.frontier.clear(), malformed(FrontierError::TooShort { found: 0 })),
        (
            "half a frontier",
            |l| l.head.frontier.truncate(40),
            malformed(FrontierError::WrongLength { size: 12, wanted: 64, found: 32 }),
        ),
    ]);
}

#[test]
fn findings_are_bounded_and_the_rest_is_counted() {
    let mut ledger = Ledger::of(1000);
    ledger.checkpoints = vec![ledger.sign(900, &key(ORIGIN, 1))];
    ledger.rows.iter_mut().for_each(|row| row.1.push(b'!'));
    let report = ledger.audit();
    assert_eq!(report.findings().len(), MAX_FINDINGS);
    assert_eq!(report.findings()[99], Finding::EntryChanged { index: 99 });
    assert_eq!(report.omitted(), 900);
    assert!(!report.is_intact());

    let mut ledger = Ledger::of(1000);
    ledger.checkpoints = vec![ledger.sign(900, &key(ORIGIN, 1))];
    ledger.rows.retain(|(index, ..)| index % 2 == 1);
    let report = ledger.audit();
    assert_eq!((report.findings().len(), report.omitted()), (MAX_FINDINGS, 400));
}

proptest! {
    #[test]
    fn no_change_to_a_signed_row_goes_unnoticed(
        index in 0..10_usize, entry in prop::collection::vec(any::<u8>(), 0..12), consistent: bool, forge_head: bool,
    ) {
        let mut ledger = Ledger::signed();
        let same = ledger.rows[index].1 == entry;
        if consistent { ledger.rewrite(index, &entry) } else { ledger.rows[index].1 = entry }
        if forge_head { ledger.forge_head() }
        prop_assert_eq!(ledger.audit().is_intact(), same);
    }

    #[test]
    fn no_order_of_rows_but_the_right_one_is_intact(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(), drop in 0..4_usize) {
        let mut ledger = Ledger::signed();
        let order = &order[drop..];
        ledger.rows = order.iter().map(|at| Ledger::signed().rows[*at].clone()).collect();
        prop_assert_eq!(ledger.audit().is_intact(), drop == 0 && order.is_sorted());
    }

    #[test]
    fn any_claims_and_rows_are_audited_to_the_end(
        rows in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..4)), 0..20),
        size: u64, frontier in prop::collection::vec(any::<u8>(), 0..80),
        notes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..4),
    ) {
        let mut ledger = Ledger::of(0);
        ledger.rows = rows.into_iter().map(|(index, entry)| (index, entry.clone(), leaf_hash(&entry))).collect();
        ledger.head = StoredHead { size, root: leaf_hash(b""), frontier };
        ledger.checkpoints = notes.into_iter().map(|note| StoredCheckpoint { size, note }).collect();
        prop_assert!(!ledger.audit().is_intact());
    }
}
