//! Checkpoints through restarts, losses, rotations and restored backups; the audit of what they vouch for; explaining and exporting.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};

use warrantor_control::{
    audit::{Evidence, Verified, export, verify},
    explain::{ExplainError, Kept as Body, explain},
    keeper::{KeepError, Keeper, Kept, QUIET},
    keys::{KeyDirectory, KeyError},
};
use warrantor_decide::Output;
use warrantor_engine::{Answer, bodies::SealKey, keys};
use warrantor_ledger::{
    KeyName, UnverifiedCheckpoint,
    merkle::{leaf_hash, root_of},
};
use warrantor_model::{
    Clock, PersonId,
    record::{Event, LedgerRecord, Outcome, Record},
};
use warrantor_store::{Commit, MemoryStore, Store};
use warrantor_testkit::{BundleFiles, HandClock, Rigged, SeededBytes, World, records};

struct Log<S> {
    store: Arc<S>,
    directory: tempfile::TempDir,
    clock: HandClock,
    randomness: SeededBytes,
    origin: KeyName,
}

impl<S: Store> Log<S> {
    fn new(store: S) -> Self {
        Self {
            store: Arc::new(store),
            directory: tempfile::tempdir().unwrap(),
            clock: HandClock::at("2030-01-01T12:00:00Z"),
            randomness: SeededBytes::new(5),
            origin: "log.example.com/test".parse().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    fn keys(&self, size: u64) -> KeyDirectory {
        KeyDirectory::open(&self.path(), &self.origin, size, &self.randomness).unwrap()
    }

    async fn keeper(&self) -> Keeper<S> {
        let size = self.store.head().await.unwrap().size;
        Keeper::new(Arc::clone(&self.store), self.keys(size), self.origin.clone())
    }

    /// Another store in the place of this one: a backup restored, or a forger's.
    fn with<T: Store>(self, store: T) -> Log<T> {
        let Self { directory, clock, randomness, origin, .. } = self;
        Log { store: Arc::new(store), directory, clock, randomness, origin }
    }

    async fn append(&self, count: usize) {
        for _ in 0..count {
            let event = Event::Ledger(LedgerRecord::Quiet { since: self.clock.now() });
            let id = format!("n{:x}", self.randomness.number());
            self.store.commit(Commit::new(Record::new(id, self.clock.now(), event))).await.unwrap();
        }
    }

    async fn audit(&self) -> Verified {
        let keys = self.keys(self.store.head().await.unwrap().size);
        let (trusted, last) = (keys.trusted().unwrap(), keys.last_signed().unwrap());
        let evidence =
            Evidence { origin: &self.origin, keys: &trusted, last_signed: last.as_deref(), held: &[] };
        verify(&*self.store, &evidence, |_, _| {}).await.unwrap()
    }
}

/// A copy of the first records of a store, as a backup would have them.
async fn backup<S: Store>(store: &S, size: usize) -> MemoryStore {
    let copy = MemoryStore::new();
    for record in records(store).await.into_iter().take(size) {
        copy.commit(Commit::new(record)).await.unwrap();
    }
    for checkpoint in store.checkpoints(0, 1000).await.unwrap() {
        if checkpoint.size <= size as u64 {
            copy.put_checkpoint(checkpoint.size, checkpoint.note).await.unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn a_log_is_signed_as_it_grows_and_nothing_is_signed_twice() {
    let log = Log::new(MemoryStore::new());
    let keeper = log.keeper().await;
    assert_eq!(keeper.sign().await.unwrap(), Kept::Empty);
    keeper.begin(&log.clock).await.unwrap();
    keeper.begin(&log.clock).await.unwrap();
    assert_eq!(log.store.head().await.unwrap().size, 1);
    for (more, size) in [(0, 1), (1, 2), (5, 7), (1, 8), (300, 308), (0, 308)] {
        log.append(more).await;
        // A process of its own each time; once without the kept frontier, which is only a shortcut.
        let _ = if size == 308 { fs::remove_file(log.path().join("checkpoint.frontier")) } else { Ok(()) };
        let kept = log.keeper().await.sign().await.unwrap();
        assert_eq!(kept, if more == 0 { Kept::Covered(size) } else { Kept::Signed(size) });
        let audit = log.audit().await;
        assert!(audit.ok && audit.signed == size, "{audit:?}");
    }
    let garbled = log.path().join("checkpoint.frontier");
    fs::write(garbled, b"nonsense").unwrap();
    log.append(3).await;
    assert_eq!(log.keeper().await.sign().await.unwrap(), Kept::Signed(311));
    assert_eq!(log.audit().await.checkpoints, 7, "six stored ones and the kept one");
}

#[tokio::test]
async fn a_log_that_was_cut_or_changed_is_not_signed() {
    let log = Log::new(MemoryStore::new());
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(9).await;
    log.keeper().await.sign().await.unwrap();
    let cut = backup(&*log.store, 6).await;
    let log = log.with(cut);
    let shorter = log.keeper().await.sign().await;
    assert!(matches!(shorter, Err(KeepError::Shorter { size: 6, signed: 10 })), "{shorter:?}");
    // Grown to the signed size, and beyond it, with other records.
    log.append(4).await;
    assert!(matches!(log.keeper().await.sign().await, Err(KeepError::PastChanged { size: 10 })));
    log.append(4).await;
    assert!(matches!(log.keeper().await.sign().await, Err(KeepError::PastChanged { .. })));
    let audit = log.audit().await;
    assert!(!audit.ok && !audit.findings.is_empty());
    // A forged last checkpoint, or one of another key, is refused.
    let forged = log.path().join("checkpoint");
    let note = fs::read_to_string(&forged).unwrap();
    fs::write(&forged, note.replace("\n10\n", "\n14\n")).unwrap();
    assert!(matches!(log.keeper().await.sign().await, Err(KeepError::LastSigned(_))));
}

/// Without the kept checkpoint the stored ones still bind.
#[tokio::test]
async fn a_lost_last_checkpoint_does_not_let_the_log_forget_what_was_signed() {
    let log = Log::new(MemoryStore::new());
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(9).await;
    log.keeper().await.sign().await.unwrap();
    log.append(1).await;
    for name in ["checkpoint", "checkpoint.frontier"] {
        fs::remove_file(log.path().join(name)).unwrap();
    }
    assert_eq!(log.keeper().await.sign().await.unwrap(), Kept::Signed(11));
    assert!(log.audit().await.ok);
    // The same with another history under the stored checkpoints.
    let other = MemoryStore::new();
    let stored = log.store.checkpoints(0, 10).await.unwrap();
    let log = log.with(other);
    log.append(12).await;
    for checkpoint in stored {
        log.store.put_checkpoint(checkpoint.size, checkpoint.note).await.unwrap();
    }
    for name in ["checkpoint", "checkpoint.frontier"] {
        fs::remove_file(log.path().join(name)).unwrap();
    }
    assert!(matches!(log.keeper().await.sign().await, Err(KeepError::PastChanged { .. })));
    assert!(log.keeper().await.begin(&log.clock).await.is_err(), "a start signs no second first one");
}

#[tokio::test]
async fn a_kept_checkpoint_that_was_not_stored_is_stored_again() {
    let log = Log::new(MemoryStore::new());
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(4).await;
    log.keeper().await.sign().await.unwrap();
    // As after a crash between keeping and storing: the store has the records and not the last note.
    let without = backup(&*log.store, 4).await;
    let last = records(&*log.store).await.pop().unwrap();
    without.commit(Commit::new(last)).await.unwrap();
    assert_eq!(without.last_checkpoint().await.unwrap().unwrap().size, 1);
    let log = log.with(without);
    assert_eq!(log.keeper().await.sign().await.unwrap(), Kept::Covered(5));
    assert_eq!(log.store.last_checkpoint().await.unwrap().unwrap().size, 5);
    assert!(log.audit().await.ok);
}

#[tokio::test]
async fn a_rotation_is_recorded_first_and_signed_by_both_keys() {
    let log = Log::new(Rigged::new(MemoryStore::new()));
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(2).await;
    log.keeper().await.sign().await.unwrap();
    let before = log.keys(3).trusted().unwrap();
    // A rotation whose record fails is none.
    log.store.fail_commits(true);
    assert!(log.keeper().await.rotate(&log.clock, &log.randomness, "tester").await.is_err());
    log.store.fail_commits(false);
    assert_eq!(log.keys(3).signing(&log.origin).unwrap().verifier(), &before[0], "rotated without a record");

    let new = log.keeper().await.rotate(&log.clock, &log.randomness, "tester").await.unwrap();
    let trusted = log.keys(4).trusted().unwrap();
    assert!(trusted.len() >= 2 && trusted[0] == before[0], "old checkpoints verify by the old key");
    assert_eq!(log.keys(4).signing(&log.origin).unwrap().verifier().to_string(), new);
    let note = log.store.last_checkpoint().await.unwrap().unwrap().note;
    let parsed = || UnverifiedCheckpoint::parse(note.as_bytes()).unwrap();
    let new_key = trusted.iter().find(|key| key.to_string() == new).unwrap().clone();
    for key in [before[0].clone(), new_key.clone()] {
        parsed().verify(&log.origin, &[key]).unwrap();
    }
    let rotated = records(&*log.store).await.pop().unwrap();
    assert!(matches!(rotated.event, Event::Ledger(LedgerRecord::KeyRotated { key, .. }) if key == new));
    log.append(1).await;
    log.keeper().await.sign().await.unwrap();
    let note = log.store.last_checkpoint().await.unwrap().unwrap().note;
    let next = UnverifiedCheckpoint::parse(note.as_bytes()).unwrap();
    assert!(next.clone().verify(&log.origin, &before).is_err(), "the old key signs no more");
    next.verify(&log.origin, &[new_key]).unwrap();
    assert!(log.audit().await.ok);
}

#[tokio::test]
async fn an_epoch_after_a_restored_backup_goes_on_from_what_the_backup_vouches_for() {
    let log = Log::new(MemoryStore::new());
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(5).await;
    log.keeper().await.sign().await.unwrap();
    log.append(6).await;
    log.keeper().await.sign().await.unwrap();
    let lost = log.keys(1).last_signed().unwrap().unwrap();
    let restored = backup(&*log.store, 8).await;
    let old_handle = restored.reopen().unwrap();
    let log = log.with(restored);
    assert!(matches!(log.keeper().await.sign().await, Err(KeepError::Shorter { size: 8, signed: 12 })));
    assert_eq!(log.keeper().await.begin_epoch(&log.clock, &log.randomness, "tester").await.unwrap(), 2);
    assert_eq!(log.store.head().await.unwrap().epoch, 2);
    let begun = records(&*log.store).await.pop().unwrap();
    assert!(matches!(begun.event, Event::Ledger(LedgerRecord::EpochBegun { epoch: 2, lost_from: 12, .. })));
    let event = Event::Ledger(LedgerRecord::Quiet { since: log.clock.now() });
    let fenced = old_handle.commit(Commit::new(Record::new("late", log.clock.now(), event))).await;
    assert!(fenced.is_err(), "a process that ran through the restore goes on");
    let audit = log.audit().await;
    assert!(audit.ok && audit.signed == 9, "{audit:?}");
    log.append(10).await;
    log.keeper().await.sign().await.unwrap();
    assert!(log.audit().await.ok);
    // Who kept the lost checkpoint sees that history was lost.
    let keys = log.keys(1);
    let held = [lost.into_bytes()];
    let (trusted, last) = (keys.trusted().unwrap(), keys.last_signed().unwrap());
    let evidence =
        Evidence { origin: &log.origin, keys: &trusted, last_signed: last.as_deref(), held: &held };
    assert!(!verify(&*log.store, &evidence, |_, _| {}).await.unwrap().ok);
}

/// An epoch excuses what a backup lost, not what somebody rewrote.
#[tokio::test]
async fn an_epoch_does_not_cover_up_a_past_that_its_own_checkpoints_contradict() {
    let log = Log::new(MemoryStore::new());
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(9).await;
    log.keeper().await.sign().await.unwrap();
    let stored = log.store.checkpoints(0, 10).await.unwrap();
    let log = log.with(MemoryStore::new());
    log.append(12).await;
    for checkpoint in stored {
        log.store.put_checkpoint(checkpoint.size, checkpoint.note).await.unwrap();
    }
    let begun = log.keeper().await.begin_epoch(&log.clock, &log.randomness, "tester").await;
    assert!(matches!(begun, Err(KeepError::PastChanged { .. })), "{begun:?}");
    assert_eq!(log.store.head().await.unwrap().epoch, 1, "the epoch began all the same");
}

#[tokio::test]
async fn silence_is_recorded_once_a_minute() {
    let log = Log::new(MemoryStore::new());
    let keeper = log.keeper().await;
    keeper.note_quiet(log.clock.now()).await.unwrap();
    keeper.begin(&log.clock).await.unwrap();
    for _ in 0..3 {
        keeper.note_quiet(log.clock.now()).await.unwrap();
    }
    assert_eq!(log.store.head().await.unwrap().size, 1);
    log.clock.advance(QUIET);
    for _ in 0..3 {
        keeper.note_quiet(log.clock.now()).await.unwrap();
    }
    assert_eq!(log.store.head().await.unwrap().size, 2);
}

#[test]
fn open_lost_or_garbled_keys_are_refused() {
    let origin: KeyName = "log.example.com/test".parse().unwrap();
    let randomness = SeededBytes::new(5);
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("keys");
    let open = |size| KeyDirectory::open(&path, &origin, size, &randomness);
    assert!(matches!(open(3), Err(KeyError::Lost { size: 3, .. })), "new keys for a log that has records");
    assert!(KeyDirectory::existing(&base.path().join("none")).is_err());
    let keys = open(0).unwrap();
    let first = keys.trusted().unwrap();
    assert_eq!(open(3).unwrap().trusted().unwrap(), first, "opening again made other keys");
    let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
    let names = ["", "ledger.key", "ledger.vkeys", "bodies.key"];
    assert_eq!(names.map(mode), [0o700, 0o600, 0o600, 0o600]);
    let set =
        |name: &str, mode| fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
    // What is trusted may be read by others, as on an auditor's copy; written it may be by the owner only, and secrets are the owner's alone.
    for (name, wide, right, copy_is_read) in [
        ("", 0o750, 0o700, true),
        ("", 0o770, 0o700, false),
        ("ledger.vkeys", 0o644, 0o600, true),
        ("ledger.vkeys", 0o620, 0o600, false),
        ("ledger.key", 0o640, 0o600, false),
        ("bodies.key", 0o604, 0o600, false),
    ] {
        set(name, wide);
        let start = open(3);
        assert!(matches!(start, Err(KeyError::Open { .. })), "{name:?} with mode {wide:o} was opened");
        let existing = KeyDirectory::existing(&path).and_then(|keys| {
            keys.trusted()?;
            keys.signing(&origin)?;
            keys.seal()
        });
        match existing {
            Ok(_) => assert!(copy_is_read, "{name:?} with mode {wide:o} was used"),
            Err(KeyError::Open { .. }) => assert!(!copy_is_read, "{name:?} with mode {wide:o} was refused"),
            Err(other) => panic!("{name:?} with mode {wide:o}: {other}"),
        }
        set(name, right);
    }
    fs::write(path.join("ledger.key"), "00").unwrap();
    assert!(matches!(keys.signing(&origin), Err(KeyError::Malformed { .. })));
    fs::write(path.join("ledger.vkeys"), "no key\n").unwrap();
    assert!(matches!(keys.trusted(), Err(KeyError::Malformed { .. })));
    for name in ["ledger.key", "bodies.key"] {
        let whole = tempfile::tempdir().unwrap();
        let path = whole.path().join("keys");
        KeyDirectory::open(&path, &origin, 0, &randomness).unwrap();
        fs::remove_file(path.join(name)).unwrap();
        let lost = KeyDirectory::open(&path, &origin, 3, &randomness);
        assert!(matches!(lost, Err(KeyError::Lost { .. })), "{name}");
    }
}

/// Two tasks of one thread sign at once, as a command that is interrupted by its own tick does.
#[tokio::test]
async fn signing_twice_at_once_on_one_thread_ends() {
    let log = Log::new(Rigged::new(MemoryStore::new()));
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(3).await;
    let (one, two) = (log.keeper().await, log.keeper().await);
    log.store.hold_reads(true);
    let one = tokio::spawn(async move { one.sign().await });
    let two = tokio::spawn(async move { two.sign().await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    log.store.hold_reads(false);
    let kept = [one.await.unwrap().unwrap(), two.await.unwrap().unwrap()];
    assert!(kept.contains(&Kept::Signed(4)) && kept.contains(&Kept::Covered(4)), "{kept:?}");
}

#[tokio::test]
async fn an_export_derives_the_root_from_its_lines_alone() {
    let log = Log::new(MemoryStore::new());
    log.keeper().await.begin(&log.clock).await.unwrap();
    log.append(40).await;
    let mut out = Vec::new();
    assert_eq!(export(&*log.store, 0, &mut out).await.unwrap(), 41);
    let lines: Vec<serde_json::Value> = out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let leaves: Vec<_> =
        lines.iter().map(|line| leaf_hash(&hex::decode(line["bytes"].as_str().unwrap()).unwrap())).collect();
    assert_eq!(root_of(&leaves), log.store.head().await.unwrap().root);
    assert!(lines.iter().enumerate().all(|(at, line)| line["index"] == at && line["record"].is_object()));
    let mut tail = Vec::new();
    assert_eq!(export(&*log.store, 38, &mut tail).await.unwrap(), 3);
    assert_eq!(export(&*log.store, 99, &mut tail).await.unwrap(), 0);
}

#[tokio::test]
async fn a_decision_is_explained_with_its_body_as_far_as_the_keys_open_it() {
    let files = BundleFiles::new();
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    let call =
        World::<MemoryStore>::call(&handed.mandate, "send_money", r#"{"recipient":"DE1","amount":1.10}"#);
    let Answer::Permitted(permit) = engine.authorize(&call).await else { panic!("not permitted") };
    let id = permit.decision().to_string();
    let receipt = engine.release(permit).unwrap().spend();
    engine
        .take_in(
            &receipt,
            Outcome::Succeeded,
            br#"{"paid":true}"#,
            &Output::default(),
            Duration::from_millis(2),
        )
        .await
        .unwrap();
    let seal = World::<MemoryStore>::seal();
    let explained = explain(&*world.store, Some(&seal), &id).await.unwrap();
    let Body::Shown { content } = &explained.body else { panic!("{:?}", explained.body) };
    assert_eq!(content["arguments"], r#"{"recipient":"DE1","amount":1.10}"#);
    let [outcome] = explained.outcomes.as_slice() else { panic!("{:?}", explained.outcomes) };
    assert!(matches!(&outcome.result, Body::Shown { content } if content["paid"] == true));
    assert_eq!((explained.index, explained.signed), (1, 0));

    let other = explain(&*world.store, Some(&SealKey::new([3; 32])), &id).await.unwrap();
    assert!(matches!(other.body, Body::Damaged { .. }), "{:?}", other.body);
    let without = explain(&*world.store, None, &id).await.unwrap();
    assert!(matches!(without.body, Body::NotKept));
    assert!(matches!(explain(&*world.store, Some(&seal), "d-none").await, Err(ExplainError::Unknown { .. })));

    // Records alone, as after somebody removed the bodies: gone is not erased as long as the key is there.
    let without_bodies = MemoryStore::new();
    for record in records(&*world.store).await {
        let mut commit = Commit::new(record);
        if commit.record.id == id {
            let key = keys::body_key(&PersonId::new("alice").unwrap()).unwrap();
            commit.puts.push((key, b"the key of alice".to_vec()));
        }
        without_bodies.commit(commit).await.unwrap();
    }
    let gone = explain(&without_bodies, Some(&seal), &id).await.unwrap();
    assert!(matches!(gone.body, Body::Damaged { .. }), "{:?}", gone.body);

    let mut erase = Commit::new(Record::new(
        "erase",
        world.clock.now(),
        Event::Ledger(LedgerRecord::Quiet { since: world.clock.now() }),
    ));
    erase.deletes.push(keys::body_key(&PersonId::new("alice").unwrap()).unwrap());
    world.store.commit(erase).await.unwrap();
    let erased = explain(&*world.store, Some(&seal), &id).await.unwrap();
    assert!(matches!(erased.body, Body::Erased), "{:?}", erased.body);
}
