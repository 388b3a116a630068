//! The office: where people, agents and credentials are administered, and where each act is ruled on and recorded.
//!
//! Whatever changes something takes an [`Authority`], and there are two ways to one: policies of administration that permit the act, or being whoever runs a
//! command on the host of the data directory. An act and its record are one commit.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use thiserror::Error;
use warrantor_decide::{
    Snapshot,
    administration::{Act, Actor, Administration, Resource, Ruling},
};
use warrantor_engine::{
    registry::{Done, RegistryError},
    stop::{StopError, StopFile},
};
use warrantor_model::{
    Clock, Digest, GroupName, PersonId, Randomness, Subject, Timestamp,
    record::{ActRecord, Event, Record},
    time::NoRandomness,
};
use warrantor_store::{Commit, CommitError, Expect, Key, KeyError, ReadError, Store, Wanted};

use crate::{
    commit_in_time, fresh_id, names,
    standing::{self, ReadStandingError, StandingError},
};

/// Where people, agents and credentials are administered.
pub struct Office<S> {
    pub(crate) store: Arc<S>,
    pub(crate) stop: Arc<StopFile>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    snapshot: RwLock<Arc<Snapshot>>,
    administration: RwLock<Arc<Administration>>,
}

/// What an office is made from.
pub struct OfficeParts<S> {
    /// The store.
    pub store: Arc<S>,
    /// The data directory's stop file.
    pub stop: Arc<StopFile>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub randomness: Arc<dyn Randomness>,
    /// The bundle, whose people and agents stand beside the registered ones.
    pub snapshot: Arc<Snapshot>,
    /// The policies of administration.
    pub administration: Arc<Administration>,
}

/// By whose hand something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hand {
    /// Who: `person:ID`, `client:NAME` or a user of the host.
    pub actor: String,
    /// How that is known.
    pub evidence: String,
}

/// That an act may be done. Made where policies permitted it, or for whoever runs a command on the host.
#[derive(Debug)]
pub struct Authority {
    act: Act,
    on: String,
    hand: Hand,
    policies: Vec<String>,
}

impl Authority {
    /// The authority of whoever can write to the data directory: there is nothing that could be kept from them.
    #[must_use]
    pub fn of_the_host(act: Act, on: impl Into<String>, evidence: &str) -> Self {
        let hand = Hand { actor: "host".to_owned(), evidence: evidence.to_owned() };
        Self { act, on: on.into(), hand, policies: Vec::new() }
    }

    /// The authority of a sign-in: what a provider said of a person whom it has just authenticated.
    #[must_use]
    pub fn of_sign_in(act: Act, evidence: &str) -> Self {
        let hand = Hand { actor: "sign-in".to_owned(), evidence: evidence.to_owned() };
        Self { act, on: "deployment".to_owned(), hand, policies: Vec::new() }
    }

    /// The authority of a person over a session of their own.
    #[must_use]
    pub fn of_person(act: Act, person: &PersonId, hand: Hand) -> Self {
        Self { act, on: format!("person:{person}"), hand, policies: Vec::new() }
    }

    /// By whose hand.
    #[must_use]
    pub fn hand(&self) -> &Hand {
        &self.hand
    }

    /// By whose hand, and by which policies, in a line.
    #[must_use]
    pub fn evidence(&self) -> String {
        match self.policies.as_slice() {
            [] => format!("{} ({})", self.hand.actor, self.hand.evidence),
            policies => {
                format!("{} ({}), permitted by {}", self.hand.actor, self.hand.evidence, policies.join(", "))
            }
        }
    }

    pub(crate) fn done(&self, now: Timestamp) -> Done {
        Done { at: now, by: self.hand.actor.clone() }
    }

    fn record(&self, change: &Change<'_>) -> ActRecord {
        ActRecord {
            act: self.act.as_str().to_owned(),
            on: self.on.clone(),
            actor: self.hand.actor.clone(),
            evidence: self.hand.evidence.clone(),
            policies: self.policies.clone(),
            refused: false,
            changes: change.said.clone(),
            reason: change.reason.map(str::to_owned),
            entry: change.puts.first().map(|(_, value)| Digest::of(value)),
        }
    }
}

/// An act that policies do not permit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} on {on} is not permitted to {}", act.as_str(), hand.actor)]
pub struct Denied {
    /// The act.
    pub act: Act,
    /// What it was to be done to.
    pub on: String,
    /// Who wanted to act.
    pub hand: Hand,
    /// Policies that forbid it; none where nothing permits it.
    pub forbidding: Vec<String>,
    /// Policies that erred.
    pub errors: Vec<String>,
}

/// Why something was not done.
#[derive(Debug, Error)]
pub enum OfficeError {
    /// There is nothing of this name.
    #[error("there is no {what} {name}")]
    Unknown {
        /// What sort of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// What was sent cannot be meant.
    #[error("{field}: {why}")]
    Invalid {
        /// Where.
        field: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
    /// It does not fit what there is.
    #[error("{0}")]
    Conflict(String),
    /// Others changed the same, again and again.
    #[error("others changed the same at the same time; look again and try again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error("it could not be recorded, so nothing was done: {0}")]
    Commit(CommitError),
    /// Somebody of the registry does not read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A standing does not read.
    #[error(transparent)]
    ReadStanding(#[from] ReadStandingError),
    /// It could not be stopped or lifted.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// The stop file.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// A name is too long for a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What was to be stored has no JSON form. Our fault; nothing is stored.
    #[error("it cannot be written: {0}")]
    Encoding(#[from] serde_json::Error),
}

impl From<CommitError> for OfficeError {
    fn from(cause: CommitError) -> Self {
        match cause {
            CommitError::Moved { .. } => Self::Contended,
            cause => Self::Commit(cause),
        }
    }
}

/// What an act changes.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    pub(crate) said: Vec<String>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) expect: Vec<(Key, Expect)>,
    /// The first is the entry that the act is about.
    pub(crate) puts: Vec<(Key, Vec<u8>)>,
    pub(crate) deletes: Vec<Key>,
}

impl Change<'_> {
    /// Writes an entry that must still be of this version, or must not be there.
    pub(crate) fn put<T: serde::Serialize>(
        &mut self,
        key: Key,
        version: Option<u64>,
        value: &T,
    ) -> Result<(), OfficeError> {
        self.expect.push((key.clone(), version.map_or(Expect::Absent, Expect::Version)));
        self.puts.push((key, serde_json::to_vec(value)?));
        Ok(())
    }
}

impl<S: Store> Office<S> {
    /// Opens an office.
    #[must_use]
    pub fn new(parts: OfficeParts<S>) -> Self {
        Self {
            store: parts.store,
            stop: parts.stop,
            clock: parts.clock,
            randomness: parts.randomness,
            snapshot: RwLock::new(parts.snapshot),
            administration: RwLock::new(parts.administration),
        }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The bundle.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with another bundle, and other policies of administration.
    pub fn go_on_with(&self, snapshot: Arc<Snapshot>, administration: Arc<Administration>) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        *self.administration.write().unwrap_or_else(PoisonError::into_inner) = administration;
    }

    /// Asks the policies whether an act may be done.
    ///
    /// # Errors
    /// [`Denied`]; [`Office::refused`] records it.
    pub fn rule(
        &self,
        actor: &Actor,
        hand: &Hand,
        act: Act,
        resource: &Resource,
    ) -> Result<Authority, Box<Denied>> {
        let administration = Arc::clone(&self.administration.read().unwrap_or_else(PoisonError::into_inner));
        let on = names::of_resource(resource);
        match administration.rule(actor, act, resource) {
            Ruling::Permitted(policies) => Ok(Authority { act, on, hand: hand.clone(), policies }),
            Ruling::Refused { forbidding, errors } => {
                Err(Box::new(Denied { act, on, hand: hand.clone(), forbidding, errors }))
            }
        }
    }

    /// Records that an act was refused. That it could not be recorded changes nothing for whoever was refused.
    pub async fn refused(&self, denied: &Denied) {
        let now = self.clock.now();
        let Ok(id) = fresh_id("a", now, &*self.randomness) else { return };
        let event = Event::Act(ActRecord {
            on: denied.on.clone(),
            policies: denied.forbidding.iter().chain(&denied.errors).cloned().collect(),
            refused: true,
            ..ActRecord::new(denied.act.as_str(), &denied.hand.actor, &denied.hand.evidence)
        });
        if let Err(cause) = self.commit(Commit::new(Record::new(id, now, event))).await {
            tracing::warn!(%cause, act = denied.act.as_str(), "a refused act could not be recorded");
        }
    }

    /// Does what an authority allows: the change and its record are one commit.
    pub(crate) async fn act(&self, authority: &Authority, change: Change<'_>) -> Result<u64, OfficeError> {
        let now = self.clock.now();
        let id = fresh_id("a", now, &*self.randomness)?;
        let mut commit = Commit::new(Record::new(id, now, Event::Act(authority.record(&change))));
        commit.expect = change.expect;
        commit.puts = change.puts;
        commit.deletes = change.deletes;
        Ok(self.commit(commit).await?)
    }

    /// Uses something up that counts once, such as a token.
    ///
    /// # Errors
    /// [`OfficeError::Contended`] when it was used before.
    pub async fn use_once(&self, what: &str, digest: &Digest) -> Result<(), OfficeError> {
        let now = self.clock.now();
        let evidence = format!("{what} {digest}");
        let event = Event::Act(ActRecord::new("sessions:use-once", "sign-in", &evidence));
        let key = names::used(digest)?;
        let mut commit = Commit::new(Record::new(fresh_id("a", now, &*self.randomness)?, now, event));
        commit.expect.push((key.clone(), Expect::Absent));
        commit.puts.push((key, serde_json::to_vec(&now)?));
        self.commit(commit).await?;
        Ok(())
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        commit_in_time(&*self.store, commit).await.map(|committed| committed.revision)
    }

    /// An entry and its version.
    pub(crate) async fn entry<T: serde::de::DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<(u64, T)>, OfficeError> {
        let view = self.store.read(&Wanted { entries: [key.clone()].into(), ..Wanted::default() }).await?;
        let entry = view.entries.get(key);
        let decoded = entry.map(|entry| Ok((entry.version, warrantor_engine::registry::decode(key, entry)?)));
        decoded.transpose().map_err(|cause: RegistryError| cause.into())
    }

    /// Whether a subject is stopped, by the store or by the stop file.
    pub(crate) async fn is_stopped(&self, subject: &Subject) -> Result<bool, OfficeError> {
        if self.stop.read()?.iter().any(|stop| stop.subject == *subject) {
            return Ok(true);
        }
        Ok(standing::stored(&*self.store, subject).await?.is_some_and(|standing| standing.stopped))
    }

    /// Stops a subject, in the words of an authority.
    pub(crate) async fn stop_it(
        &self,
        authority: &Authority,
        subject: &Subject,
        reason: Option<&str>,
    ) -> Result<standing::Stopped, OfficeError> {
        let evidence = authority.evidence();
        let act = standing::Act {
            evidence: &evidence,
            reason,
            now: self.clock.now(),
            randomness: &*self.randomness,
        };
        let stopped = standing::stop(&self.stop, Some(&*self.store), subject, &act).await?;
        // It stands: one of the two is enough. But whoever looks after the deployment should know.
        if let Err(cause) = &stopped.file {
            tracing::error!(%cause, %subject, "the stop file does not take a stop; the store has it");
        }
        if let Err(cause) = &stopped.record {
            tracing::error!(cause, %subject, "a stop is in force and not recorded yet");
        }
        Ok(stopped)
    }

    /// Lifts a stop, in the words of an authority.
    pub(crate) async fn lift_it(
        &self,
        authority: &Authority,
        subject: &Subject,
        reason: Option<&str>,
    ) -> Result<u64, OfficeError> {
        let evidence = authority.evidence();
        let act = standing::Act {
            evidence: &evidence,
            reason,
            now: self.clock.now(),
            randomness: &*self.randomness,
        };
        Ok(standing::lift(&self.stop, &*self.store, subject, &act).await?)
    }

    /// Everybody whom a group has, as the bundle and the registry tell; `None` when they are more than may be accountable.
    pub(crate) async fn group_members(
        &self,
        group: &GroupName,
    ) -> Result<Option<BTreeSet<PersonId>>, OfficeError> {
        use warrantor_engine::registry::{MAX_ACCOUNTABLE, members};
        let snapshot = self.snapshot();
        let own = snapshot.own_people().filter(|person| person.groups.contains(group));
        let mut all: BTreeSet<PersonId> = own.map(|person| person.id.clone()).collect();
        if snapshot.is_of_directory(group) {
            all.extend(members(&*self.store, group, None, MAX_ACCOUNTABLE.saturating_add(1)).await?);
        }
        Ok((all.len() <= MAX_ACCOUNTABLE).then_some(all))
    }
}
