//! A world: a bundle, a stop file, keys and time around a store.

use std::{sync::Arc, time::Duration};

use warrantor_bundle::Loaded;
use warrantor_control::handover::{Desk, Handed, HandoverError};
use warrantor_engine::{Engine, EngineParts, Presented, Settings, StopFile, bodies::SealKey};
use warrantor_model::{
    Definition, Evidence, MandateId, Offer,
    record::{DecisionRecord, Event, OutcomeRecord, Record},
};
use warrantor_store::{MAX_PAGE, Store};

use crate::{BundleFiles, HandClock, SeededBytes};

/// Everything around a store that an engine needs.
pub struct World<S> {
    /// The store.
    pub store: Arc<S>,
    /// The bundle.
    pub bundle: Loaded,
    /// The stop file.
    pub stop: Arc<StopFile>,
    /// The time.
    pub clock: Arc<HandClock>,
    /// Random bytes.
    pub randomness: Arc<SeededBytes>,
    /// Where the stop file is.
    pub directory: tempfile::TempDir,
}

impl<S: Store> World<S> {
    /// A world on a store with the bank's bundle.
    pub fn new(store: S) -> Self {
        Self::of(store, &BundleFiles::new())
    }

    /// A world on a store with a bundle.
    pub fn of(store: S, files: &BundleFiles) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: Arc::new(store),
            bundle: files.load(),
            stop: Arc::new(StopFile::open(&directory.path().join("stop")).unwrap()),
            clock: Arc::new(HandClock::at("2030-01-01T12:00:00Z")),
            randomness: Arc::new(SeededBytes::new(7)),
            directory,
        }
    }

    /// The key that wraps the persons' keys.
    #[must_use]
    pub fn seal() -> SealKey {
        SealKey::new([9; 32])
    }

    /// Runs something at the desk where mandates are handed over.
    pub async fn hand_over(&self, template: &str) -> Handed {
        self.at_desk(async |desk| desk.resume_or_begin(&template.parse().unwrap()).await).await.unwrap()
    }

    /// Runs something at the desk where mandates are handed over.
    ///
    /// # Errors
    /// What the desk says.
    pub async fn at_desk<T>(
        &self,
        run: impl AsyncFnOnce(Desk<'_, S>) -> Result<T, HandoverError>,
    ) -> Result<T, HandoverError> {
        let seal = Self::seal();
        run(Desk {
            store: Arc::clone(&self.store),
            stop: &self.stop,
            bundle: &self.bundle,
            seal: &seal,
            clock: &*self.clock,
            randomness: &*self.randomness,
            evidence: "local user tester (1000)".to_owned(),
        })
        .await
    }

    /// An engine with short deadlines.
    pub fn engine(&self, files: &BundleFiles) -> Engine<S> {
        let settings = Settings {
            commit_deadline: Duration::from_secs(5),
            refusal_patience: Duration::from_millis(250),
            ..Settings::named("test")
        };
        Engine::new(EngineParts {
            store: Arc::clone(&self.store),
            snapshot: files.load().snapshot,
            stop: Arc::clone(&self.stop),
            seal: Self::seal(),
            clock: Arc::clone(&self.clock) as _,
            randomness: Arc::clone(&self.randomness) as _,
            settings,
        })
    }

    /// A call of one of the bank's tools.
    #[must_use]
    pub fn call(mandate: &MandateId, tool: &str, arguments: &str) -> Presented {
        Presented {
            offer: Offer::Tool,
            method: "tools/call".to_owned(),
            mandate: mandate.clone(),
            server: "bank".parse().unwrap(),
            tool: tool.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
            evidence: Evidence::LocalUser { uid: 1000, name: Some("tester".to_owned()) },
            definition: Definition::AsPinned,
        }
    }
}

/// Every record of a store, in order.
pub async fn records<S: Store>(store: &S) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let page = store.records(all.len() as u64, MAX_PAGE).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|row| Record::from_bytes(&row.bytes).unwrap()));
    }
}

/// The decision of this id, if it is recorded.
pub async fn decision<S: Store>(store: &S, id: &str) -> Option<DecisionRecord> {
    match Record::from_bytes(&store.find(id).await.unwrap()?.bytes).unwrap().event {
        Event::Decision(decision) => Some(*decision),
        other => panic!("{id} is no decision: {other:?}"),
    }
}

/// The recorded outcomes of a decision.
pub async fn outcomes<S: Store>(store: &S, decision: &str) -> Vec<OutcomeRecord> {
    let linked = store.linked(decision, 0, MAX_PAGE).await.unwrap();
    let outcome = |bytes: &[u8]| match Record::from_bytes(bytes).unwrap().event {
        Event::Outcome(outcome) => outcome,
        other => panic!("no outcome: {other:?}"),
    };
    linked.iter().map(|row| outcome(&row.bytes)).collect()
}
