//! A data directory that the first version wrote, at its own time: its mandate goes on with the budget that is left of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use warrantor_bundle::{Loaded, load_files};
use warrantor_control::{
    handover::Desk,
    keys::KeyDirectory,
    mandates::MandateStanding,
    office::{Office, OfficeParts},
};
use warrantor_decide::{
    PolicySource,
    administration::{Administration, SHIPPED},
};
use warrantor_engine::{Answer, Engine, EngineParts, Presented, Settings, StopFile, keys};
use warrantor_model::{Definition, Digest, Evidence, MandateId, Offer, ReasonCode, TaskId};
use warrantor_store::{Store, Wanted};
use warrantor_store_sql::{Options, SqliteStore};
use warrantor_testkit::{HandClock, SeededBytes};

/// When its sessions were, and a mandate of an hour with them.
const THEN: &str = "2025-01-15T12:10:00Z";

struct First {
    store: Arc<SqliteStore>,
    stop: Arc<StopFile>,
    keys: KeyDirectory,
    bundle: Loaded,
    clock: Arc<HandClock>,
    mandate: MandateId,
    _directory: tempfile::TempDir,
}

/// The fixture, copied: opening it writes to it.
async fn first() -> First {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/fixtures/first");
    let directory = tempfile::tempdir().unwrap();
    for place in ["", "keys"] {
        let to = directory.path().join(place);
        fs::create_dir_all(&to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o700)).unwrap();
        for entry in fs::read_dir(fixture.join(place)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let copied = to.join(path.file_name().unwrap());
                fs::copy(&path, &copied).unwrap();
                fs::set_permissions(&copied, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
    }
    let store = SqliteStore::open(directory.path().join("warrantor.db"), Options::default()).await.unwrap();
    let page = store.scan(&keys::mandates().unwrap(), None, 10).await.unwrap();
    let [(key, _)] = page.as_slice() else { panic!("{page:?}") };
    let mandate = key.as_str().rsplit('/').next().unwrap().parse().unwrap();
    First {
        bundle: kept(&store).await,
        store: Arc::new(store),
        stop: Arc::new(StopFile::open(&directory.path().join("stop")).unwrap()),
        keys: KeyDirectory::existing(&directory.path().join("keys")).unwrap(),
        clock: Arc::new(HandClock::at(THEN)),
        mandate,
        _directory: directory,
    }
}

/// The bundle as it was kept with its revision.
async fn kept(store: &SqliteStore) -> Loaded {
    let under = warrantor_store::Key::new("bundle").unwrap();
    let page = store.scan(&under, None, 10).await.unwrap();
    let [(key, entry)] = page.as_slice() else { panic!("{page:?}") };
    let files: Vec<(String, String)> = serde_json::from_slice(&entry.value).unwrap();
    let bundle =
        load_files(files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect()).unwrap();
    let revision: Digest = format!("sha256:{}", key.as_str().rsplit('/').next().unwrap()).parse().unwrap();
    assert_eq!(bundle.revision, revision, "what was kept is what decided");
    bundle
}

impl First {
    fn engine(&self) -> Engine<SqliteStore> {
        Engine::new(EngineParts {
            store: Arc::clone(&self.store),
            snapshot: Arc::clone(&self.bundle.snapshot),
            stop: Arc::clone(&self.stop),
            seal: self.keys.seal().unwrap(),
            clock: Arc::clone(&self.clock) as _,
            randomness: Arc::new(SeededBytes::new(7)),
            settings: Settings::named("run"),
        })
    }

    /// Resumes its mandate, as `run` does. Gives the task.
    async fn resume(&self) -> TaskId {
        let (seal, randomness) = (self.keys.seal().unwrap(), SeededBytes::new(8));
        let desk = Desk {
            store: Arc::clone(&self.store),
            stop: &self.stop,
            bundle: &self.bundle,
            seal: &seal,
            clock: &*self.clock,
            randomness: &randomness,
            evidence: "tester".to_owned(),
        };
        desk.note_bundle().await.unwrap();
        let resumed = desk.resume_or_begin(&"work".parse().unwrap()).await.unwrap();
        assert_eq!((resumed.mandate, resumed.new), (self.mandate.clone(), false));
        resumed.task
    }

    /// The reason that a call is refused with; none when it passes.
    async fn call(&self, engine: &Engine<SqliteStore>, tool: &str, arguments: &str) -> Option<ReasonCode> {
        let presented = Presented {
            method: "tools/call".to_owned(),
            mandate: self.mandate.clone(),
            server: "fake".parse().unwrap(),
            offer: Offer::Tool,
            tool: tool.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
            evidence: Evidence::Token { name: "test".to_owned() },
            definition: Definition::AsPinned,
        };
        match engine.authorize(&presented).await {
            Answer::Permitted(permit) => {
                engine.release(permit).err().map(|refused| refused.refusal.primary().0)
            }
            Answer::Refused(refused) => Some(refused.refusal.primary().0),
            Answer::Asked(..) => Some(ReasonCode::ApprovalRequired),
        }
    }
}

#[tokio::test]
async fn a_mandate_of_the_first_version_goes_on_with_what_is_left_of_its_budget() {
    let first = first().await;
    let engine = first.engine();
    first.resume().await;
    assert_eq!(first.call(&engine, "perform", r#"{"id":"three"}"#).await, None);
    // Three payments are granted, and two were made.
    assert_eq!(first.call(&engine, "pay", r#"{"amount":5}"#).await, None);
    assert_eq!(first.call(&engine, "pay", r#"{"amount":5}"#).await, Some(ReasonCode::LimitReached));
    first.clock.advance(std::time::Duration::from_secs(3600));
    assert_eq!(first.call(&engine, "perform", r#"{"id":"late"}"#).await, Some(ReasonCode::MandateExpired));
}

#[tokio::test]
async fn a_task_of_the_first_version_is_resumed_and_found_by_its_person() {
    let first = first().await;
    first.resume().await;
    // Of what it saw before nothing is known: every label counts as brought.
    let label = keys::task_label(&first.resume().await, "untrusted").unwrap();
    let wanted = Wanted { members: [label].into(), ..Wanted::default() };
    assert_eq!(first.store.read(&wanted).await.unwrap().members.len(), 1);
    let source = PolicySource { file: "shipped.cedar".to_owned(), text: SHIPPED.to_owned() };
    let office = Office::new(OfficeParts {
        store: Arc::clone(&first.store),
        stop: Arc::clone(&first.stop),
        clock: Arc::clone(&first.clock) as _,
        randomness: Arc::new(SeededBytes::new(9)),
        snapshot: Arc::clone(&first.bundle.snapshot),
        administration: Arc::new(Administration::build(&source).unwrap()),
    });
    assert_eq!(office.index_mandates("tester").await.unwrap(), 1);
    let known = office.mandate(&first.mandate).await.unwrap();
    assert_eq!((known.person.as_str(), known.standing), ("alice", MandateStanding::Live));
    let wanted = Wanted {
        entries: [keys::standing(&"agent:other".parse().unwrap()).unwrap()].into(),
        ..Wanted::default()
    };
    assert_eq!(first.store.read(&wanted).await.unwrap().entries.len(), 1, "the stop of then stands");
}
