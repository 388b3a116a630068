//! Deciding for enforcement points elsewhere: each has an engine of its own here, on the bundle that holds at its point, and gets signed answers.
//!
//! A point is a client whose name is the point's. It is believed in what it says of its callers and of its servers' definitions, as an enforcement point on
//! this machine is; what it may do is decided here, and every answer is for it alone.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warrantor_bundle::Loaded;
use warrantor_engine::{
    Engine, EngineParts, Settings, StopFile,
    bodies::SealKey,
    mandates,
    wire::{Answered, Asked, NotOurs, Question, Signed, SigningError, sign},
};
use warrantor_ledger::SigningKey;
use warrantor_model::{Clock, Digest, EnforcementPoint, MandateId, Randomness, Timestamp};
use warrantor_store::Store;

use crate::{
    bundles,
    handover::{HandoverError, revoked},
    office::{Office, OfficeError},
};

/// How long a point may go on with the bundle that was published before: an enforcement point takes what is new within seconds.
const GRACE: Duration = Duration::from_secs(10);
/// Most questions under way, over all points.
const MAX_QUESTIONS: usize = 256;
/// Most permits that are remembered because their answers may not have arrived.
const MAX_ANSWERS: usize = 4096;
/// How long it is waited before what could not be recorded is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Most points with an engine at a time. One more takes the place of whichever was asked for the longest time ago.
const MAX_POINTS: usize = 256;

/// What deciding for points is put together from.
pub struct EnforcementParts<S> {
    /// The store.
    pub store: Arc<S>,
    /// The data directory's stop file.
    pub stop: Arc<StopFile>,
    /// The key that wraps the persons' keys.
    pub seal: SealKey,
    /// The key that signs answers.
    pub key: SigningKey,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
}

/// Decides for enforcement points elsewhere.
pub struct Enforcement<S> {
    parts: EnforcementParts<S>,
    points: Mutex<BTreeMap<EnforcementPoint, AtPoint<S>>>,
    /// Held by whoever makes an engine: one at a time, and nobody makes what another just made.
    making: tokio::sync::Mutex<()>,
    /// Permits that were given out a moment ago, and questions whose askers have given them up.
    answers: Mutex<Answers>,
    /// Places for questions under way.
    room: Arc<Semaphore>,
}

/// Permits by the questions that they answered, as long as somebody may not have got them.
#[derive(Default)]
struct Answers {
    given: VecDeque<(EnforcementPoint, Digest, Signed)>,
    abandoned: VecDeque<(EnforcementPoint, Digest)>,
}

/// What decides for one point.
struct AtPoint<S> {
    now: Deciding<S>,
    /// The publication that it is of; none of the bundle that holds where nothing is published. Publications never change.
    publication: Option<u64>,
    /// What decided before, and until when it may be asked for.
    before: Option<(Deciding<S>, Timestamp)>,
    asked: Timestamp,
}

struct Deciding<S> {
    bundle: Arc<Loaded>,
    engine: Engine<S>,
}

impl<S> Clone for Deciding<S> {
    fn clone(&self) -> Self {
        Self { bundle: Arc::clone(&self.bundle), engine: self.engine.clone() }
    }
}

/// Why a question was not answered.
#[derive(Debug, Error)]
pub enum EnforcementError {
    /// It is no question, or says what is not so.
    #[error("this is no question of an enforcement point: {0}")]
    Question(String),
    /// It cannot be told now.
    #[error("it cannot be told now: {0}")]
    Unavailable(String),
    /// Our own side.
    #[error(transparent)]
    Office(#[from] OfficeError),
    /// The bundle's identities.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// It could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl From<NotOurs> for EnforcementError {
    fn from(cause: NotOurs) -> Self {
        Self::Question(cause.to_string())
    }
}

impl<S: Store> Enforcement<S> {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: EnforcementParts<S>) -> Self {
        Self {
            parts,
            points: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            answers: Mutex::default(),
            room: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        }
    }

    /// A place among the questions under way; none when there are too many. To be had before a question is read.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Answers the question of these bytes for a point. `own` holds there as long as nothing is published for it.
    ///
    /// # Errors
    /// [`EnforcementError`].
    pub async fn answer(
        &self,
        office: &Office<S>,
        own: &Arc<Loaded>,
        point: &EnforcementPoint,
        bytes: &[u8],
    ) -> Result<Signed, EnforcementError> {
        let asked: Asked =
            serde_json::from_slice(bytes).map_err(|cause| EnforcementError::Question(cause.to_string()))?;
        if asked.nonce.len() != 64 || !asked.nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(EnforcementError::Question(
                "the nonce is no number of 64 hexadecimal digits".to_owned(),
            ));
        }
        let (now, before) = self.deciding(office, own, point).await?;
        let answered = match asked.question {
            Question::Bundle { have } => bundle(&now.bundle, have),
            Question::Mandate { mandate } => self.mandate(&now.engine, &mandate).await?,
            Question::Abandon { question } => {
                if let Some(permit) = self.abandon(point, question) {
                    let trusted = [self.parts.key.verifier().clone()];
                    now.engine.answer(Question::Decline { permit }, &trusted, point).await?;
                }
                Answered::Done {}
            }
            question => {
                let of = match &question {
                    Question::Decide { call } | Question::Would { call } => Some(call.bundle),
                    _ => None,
                };
                let engine = match (of, &before) {
                    (None, _) => Some(&now.engine),
                    (Some(of), _) if of == now.bundle.revision => Some(&now.engine),
                    (Some(of), Some(before)) if of == before.bundle.revision => Some(&before.engine),
                    (Some(_), _) => None,
                };
                match engine {
                    Some(engine) => {
                        let trusted = [self.parts.key.verifier().clone()];
                        engine.answer(question, &trusted, point).await?
                    }
                    None => Answered::Moved {},
                }
            }
        };
        let signed = sign(&self.parts.key, point, bytes, &answered)?;
        if matches!(answered, Answered::Permitted { .. }) && self.is_abandoned(point, bytes, &signed) {
            let trusted = [self.parts.key.verifier().clone()];
            now.engine.answer(Question::Decline { permit: signed.clone() }, &trusted, point).await?;
        }
        Ok(signed)
    }

    /// Notes that a permit was given out. Whether its asker had given the question up before.
    fn is_abandoned(&self, point: &EnforcementPoint, question: &[u8], signed: &Signed) -> bool {
        let question = Digest::of(question);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.abandoned.iter().any(|(of, known)| of == point && *known == question) {
            return true;
        }
        if answers.given.len() >= MAX_ANSWERS {
            answers.given.pop_front();
        }
        answers.given.push_back((point.clone(), question, signed.clone()));
        false
    }

    /// The permit that a question got, once; where it has got none yet, that it is given up.
    fn abandon(&self, point: &EnforcementPoint, question: Digest) -> Option<Signed> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let at = answers.given.iter().position(|(of, known, _)| of == point && *known == question);
        match at {
            Some(at) => answers.given.remove(at).map(|(_, _, permit)| permit),
            None => {
                if answers.abandoned.len() >= MAX_ANSWERS {
                    answers.abandoned.pop_front();
                }
                answers.abandoned.push_back((point.clone(), question));
                None
            }
        }
    }

    /// What decides for a point now, and what did shortly before.
    async fn deciding(
        &self,
        office: &Office<S>,
        own: &Arc<Loaded>,
        point: &EnforcementPoint,
    ) -> Result<(Deciding<S>, Option<Deciding<S>>), EnforcementError> {
        let publication = office.heads().await?.1.at(point);
        let is_known = |at: &AtPoint<S>| {
            at.publication == publication && (publication.is_some() || at.now.bundle.revision == own.revision)
        };
        if let Some(found) = self.known(point, publication, is_known) {
            return Ok(found);
        }
        let _making = self.making.lock().await;
        let revision = match publication {
            Some(number) => office.publication(number).await?.revision,
            None => own.revision,
        };
        // Somebody else may have made it meanwhile, or the bundle was published once more.
        if let Some(found) = self.known(point, publication, |at| at.now.bundle.revision == revision) {
            return Ok(found);
        }
        let bundle = match revision == own.revision {
            true => Arc::clone(own),
            false => Arc::new(office.published(&revision).await?),
        };
        // So that what is decided on it can be decided again. What was published is known already.
        let parts = &self.parts;
        let evidence = format!("enforcement point {point}");
        bundles::note(&*parts.store, &bundle, &evidence, parts.clock.now(), &*parts.randomness).await?;
        let engine = Engine::new(EngineParts {
            store: Arc::clone(&parts.store),
            snapshot: Arc::clone(&bundle.snapshot),
            stop: Arc::clone(&parts.stop),
            seal: parts.seal.clone(),
            clock: Arc::clone(&parts.clock),
            randomness: Arc::clone(&parts.randomness),
            settings: Settings::named(point.as_str()),
        });
        Ok(self.take(point, publication, Deciding { bundle, engine }))
    }

    /// What decides for a point, if it is that; of this publication from here on.
    fn known(
        &self,
        point: &EnforcementPoint,
        publication: Option<u64>,
        is_it: impl FnOnce(&AtPoint<S>) -> bool,
    ) -> Option<(Deciding<S>, Option<Deciding<S>>)> {
        let now = self.parts.clock.now();
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let at = points.get_mut(point).filter(|at| is_it(at))?;
        at.asked = now;
        at.publication = publication;
        if at.before.as_ref().is_some_and(|(_, until)| now >= *until) {
            at.before.take().into_iter().for_each(|(before, _)| let_go(before));
        }
        Some((at.now.clone(), at.before.as_ref().map(|(before, _)| before.clone())))
    }

    fn take(
        &self,
        point: &EnforcementPoint,
        publication: Option<u64>,
        new: Deciding<S>,
    ) -> (Deciding<S>, Option<Deciding<S>>) {
        let now = self.parts.clock.now();
        let mut points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let before = points.remove(point).map(|at| {
            at.before.into_iter().for_each(|(older, _)| let_go(older));
            (at.now, now.plus(GRACE))
        });
        if points.len() >= MAX_POINTS {
            let oldest = points.iter().min_by_key(|(_, at)| at.asked).map(|(point, _)| point.clone());
            if let Some(at) = oldest.and_then(|oldest| points.remove(&oldest)) {
                at.before.into_iter().map(|(before, _)| before).chain([at.now]).for_each(let_go);
            }
        }
        let known = before.as_ref().map(|(before, _)| before.clone());
        points.insert(point.clone(), AtPoint { now: new.clone(), publication, before, asked: now });
        (new, known)
    }

    /// A mandate's agent and its end, if it lives.
    async fn mandate(&self, engine: &Engine<S>, mandate: &MandateId) -> Result<Answered, EnforcementError> {
        let unknown = || Answered::NoMandate { why: format!("there is no mandate {mandate}") };
        let stored = mandates::load(&*self.parts.store, mandate).await;
        let stored = stored.map_err(|cause| EnforcementError::Unavailable(cause.to_string()))?;
        let (Some(stored), Some(agent)) = (stored, engine.agent_of(mandate).await) else {
            return Ok(unknown());
        };
        if self.parts.clock.now() >= stored.expires_at {
            return Ok(Answered::NoMandate { why: format!("the mandate {mandate} has ended") });
        }
        if revoked(&*self.parts.store, &self.parts.stop, mandate, &stored).await?.is_some() {
            return Ok(Answered::NoMandate { why: format!("the mandate {mandate} was revoked") });
        }
        Ok(Answered::Mandate { agent, expires_at: stored.expires_at })
    }

    /// Waits until everything that was answered is recorded or kept.
    pub async fn settle(&self) {
        let engines: Vec<Engine<S>> = {
            let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
            let of = |at: &AtPoint<S>| {
                let before = at.before.as_ref().map(|(before, _)| before.engine.clone());
                std::iter::once(at.now.engine.clone()).chain(before).collect::<Vec<_>>()
            };
            points.values().flat_map(of).collect()
        };
        for engine in engines {
            engine.settle().await;
        }
    }
}

/// Lets an engine go once everything that it answered is recorded: what waits for a log that fails must not go with it.
fn let_go<S: Store>(deciding: Deciding<S>) {
    tokio::spawn(async move {
        loop {
            deciding.engine.settle().await;
            if deciding.engine.unrecorded().is_none() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
}

/// The bundle that holds, with its files unless the point has them.
fn bundle(holds: &Loaded, have: Option<Digest>) -> Answered {
    let text =
        |(path, bytes): &(String, Vec<u8>)| (path.clone(), String::from_utf8_lossy(bytes).into_owned());
    let files = (have != Some(holds.revision)).then(|| holds.archive.iter().map(text).collect());
    Answered::Bundle { revision: holds.revision, files }
}
