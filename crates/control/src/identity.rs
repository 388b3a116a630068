//! Who has which id, for good.
//!
//! A person's key is issuer and subject; the id is our own name for that key. The two are bound to each other the first time they are seen together,
//! whether in people.yaml, at a sign-in or by a directory, and never again to anything else: mandates, sessions and roles stay under the id.

use serde::{Deserialize, Serialize};
use warrantor_decide::Snapshot;
use warrantor_engine::registry;
use warrantor_model::{
    PersonId, Randomness, Timestamp,
    record::{ActRecord, Event, Record},
};
use warrantor_store::{Commit, CommitError, Expect, Key, Store, Wanted};

use crate::{ATTEMPTS, commit_in_time, fresh_id, handover::HandoverError, names};

/// How many are bound by one commit.
const AT_ONCE: usize = 200;

/// The key of a person, as an id is bound to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

/// How an id and a key stand to each other.
#[derive(Debug)]
pub(crate) enum Bound {
    /// To each other: both entries, with their versions, are as they have to be.
    Together(Vec<(Key, Expect)>),
    /// Neither was ever seen.
    Free(Box<Free>),
    /// The id is of another key.
    IdTaken,
    /// The key has another id.
    KeyHas(PersonId),
}

/// What binds an id and a key that are free.
#[derive(Debug)]
pub(crate) struct Free {
    pub(crate) puts: Vec<(Key, Vec<u8>)>,
    pub(crate) expect: Vec<(Key, Expect)>,
}

/// Looks how an id and a key stand to each other.
pub(crate) async fn bound<S: Store>(
    store: &S,
    id: &PersonId,
    issuer: &str,
    subject: &str,
) -> Result<Bound, HandoverError> {
    let (of_id, of_key) = (names::identity(id)?, names::who(issuer, subject)?);
    let wanted = Wanted { entries: [of_id.clone(), of_key.clone()].into(), ..Wanted::default() };
    let view = store.read(&wanted).await?;
    let identity: Option<(u64, Identity)> = view
        .entries
        .get(&of_id)
        .map(|entry| Ok::<_, HandoverError>((entry.version, registry::decode(&of_id, entry)?)))
        .transpose()?;
    let holder: Option<(u64, PersonId)> = view
        .entries
        .get(&of_key)
        .map(|entry| Ok::<_, HandoverError>((entry.version, registry::decode(&of_key, entry)?)))
        .transpose()?;
    let ours = Identity { issuer: issuer.to_owned(), subject: subject.to_owned() };
    Ok(match (identity, holder) {
        (Some((_, other)), _) if other != ours => Bound::IdTaken,
        (_, Some((_, other))) if other != *id => Bound::KeyHas(other),
        (Some((one, _)), Some((other, _))) => {
            Bound::Together(vec![(of_id, Expect::Version(one)), (of_key, Expect::Version(other))])
        }
        (identity, holder) => {
            let expected = |version: Option<u64>| version.map_or(Expect::Absent, Expect::Version);
            Bound::Free(Box::new(Free {
                expect: vec![
                    (of_id.clone(), expected(identity.map(|(version, _)| version))),
                    (of_key.clone(), expected(holder.map(|(version, _)| version))),
                ],
                puts: vec![(of_id, serde_json::to_vec(&ours)?), (of_key, serde_json::to_vec(id)?)],
            }))
        }
    })
}

/// Binds everybody of a bundle, once for each revision.
///
/// # Errors
/// [`HandoverError::AnotherPerson`] for a bundle that gives somebody an id which is not theirs.
pub(crate) async fn bind_bundle<S: Store>(
    store: &S,
    snapshot: &Snapshot,
    evidence: &str,
    now: Timestamp,
    randomness: &dyn Randomness,
) -> Result<(), HandoverError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match bind_once(store, snapshot, evidence, now, randomness).await {
            // Another process bound somebody at the same time, or somebody registered: perhaps under the same id.
            Err(HandoverError::Commit(CommitError::Moved { .. })) if attempts < ATTEMPTS => {}
            other => return other,
        }
    }
}

async fn bind_once<S: Store>(
    store: &S,
    snapshot: &Snapshot,
    evidence: &str,
    now: Timestamp,
    randomness: &dyn Randomness,
) -> Result<(), HandoverError> {
    let marker = names::bound(&snapshot.revision())?;
    let wanted = Wanted { entries: [marker.clone()].into(), ..Wanted::default() };
    if store.read(&wanted).await?.entries.contains_key(&marker) {
        return Ok(());
    }
    let mut new = Vec::new();
    for person in snapshot.own_people() {
        match bound(store, &person.id, &person.issuer, &person.subject).await? {
            Bound::Together(_) => {}
            Bound::Free(free) => new.push(*free),
            Bound::IdTaken => return Err(HandoverError::AnotherPerson { person: person.id.clone() }),
            Bound::KeyHas(other) => {
                return Err(HandoverError::OtherId { person: person.id.clone(), known: other });
            }
        }
    }
    let (mut puts, mut expect) = (Vec::new(), Vec::new());
    for (nth, free) in new.into_iter().enumerate() {
        puts.extend(free.puts);
        expect.extend(free.expect);
        if nth % AT_ONCE == AT_ONCE - 1 {
            let (puts, expect) = (std::mem::take(&mut puts), std::mem::take(&mut expect));
            commit(store, evidence, now, randomness, puts, expect).await?;
        }
    }
    puts.push((marker, serde_json::to_vec(&now)?));
    commit(store, evidence, now, randomness, puts, expect).await
}

async fn commit<S: Store>(
    store: &S,
    evidence: &str,
    now: Timestamp,
    randomness: &dyn Randomness,
    puts: Vec<(Key, Vec<u8>)>,
    expect: Vec<(Key, Expect)>,
) -> Result<(), HandoverError> {
    let event = Event::Act(ActRecord {
        changes: vec![format!("{} entries bind ids of people.yaml to issuers and subjects", puts.len())],
        ..ActRecord::new("people:bind", "host", evidence)
    });
    let mut commit = Commit::new(Record::new(fresh_id("a", now, randomness)?, now, event));
    commit.puts = puts;
    commit.expect = expect;
    commit_in_time(store, commit).await.map(drop).map_err(HandoverError::Commit)
}

/// What the office makes of it.
impl From<HandoverError> for crate::office::OfficeError {
    fn from(cause: HandoverError) -> Self {
        match cause {
            HandoverError::Read(cause) => Self::Read(cause),
            HandoverError::Commit(cause) => cause.into(),
            HandoverError::Registry(cause) => Self::Registry(cause),
            HandoverError::Key(cause) => Self::Key(cause),
            HandoverError::Randomness(cause) => Self::Randomness(cause),
            HandoverError::Encoding(cause) => Self::Encoding(cause),
            cause => Self::Conflict(cause.to_string()),
        }
    }
}
