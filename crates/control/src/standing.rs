//! Stopping, lifting, and seeing to it that the store knows every stop.
//!
//! A stop goes to the stop file first: it needs no space and every process reads it before an effect. Then it is recorded. If only one of the
//! two succeeds the stop is in force; if neither does, it is not acknowledged, and the caller is told so.

use std::time::Duration;

use thiserror::Error;
use warrantor_engine::{
    StoredStanding, keys,
    mandates::StoredMandate,
    stop::{StopError, StopFile},
};
use warrantor_model::{
    Json, Randomness, ServerName, Subject, Timestamp,
    record::{Event, Record, StandingChange, StandingRecord},
    time::NoRandomness,
};
use warrantor_store::{Commit, CommitError, Key, KeyError, MAX_PAGE, ReadError, Store, Wanted};

use crate::fresh_id;

/// How long stopping waits for its record; the stop is in force before.
const DEADLINE: Duration = Duration::from_secs(5);

/// Who acts, and when.
pub struct Act<'a> {
    /// By whose hand.
    pub evidence: &'a str,
    /// Why, in their words.
    pub reason: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
    /// Unpredictable bytes.
    pub randomness: &'a dyn Randomness,
}

/// Where a stop is in force.
#[derive(Debug)]
pub struct Stopped {
    /// In the stop file, so at the very next call of every process; or why not.
    pub file: Result<(), StopError>,
    /// In the store, with its record; or why not. It will be recorded when the log works again, if the file has it.
    pub record: Result<u64, String>,
}

/// Why nothing was stopped or lifted.
#[derive(Debug, Error)]
pub enum StandingError {
    /// Neither the stop file nor the store took it.
    #[error("{subject} is NOT stopped: the stop file failed ({file}) and so did the store ({store})")]
    NotAcknowledged {
        /// Who.
        subject: Subject,
        /// Why the file failed.
        file: StopError,
        /// Why the store failed.
        store: String,
    },
    /// Mandates end for good.
    #[error(
        "{subject} cannot be lifted: what was revoked ends for good; hand the mandate over again, or ask for another token"
    )]
    Final {
        /// Which.
        subject: Subject,
    },
    /// The store failed.
    #[error("{0}")]
    Store(String),
    /// The stop file failed.
    #[error(transparent)]
    Stop(#[from] StopError),
}

/// Stops a subject. `store` is none when it cannot even be opened.
///
/// # Errors
/// [`StandingError::NotAcknowledged`].
pub async fn stop<S: Store>(
    file: &StopFile,
    store: Option<&S>,
    subject: &Subject,
    act: &Act<'_>,
) -> Result<Stopped, StandingError> {
    let by_file = file.stop(subject, act.now);
    let record = match store {
        Some(store) => record(store, subject, StandingChange::Stopped, act, act.now).await,
        None => Err("the store could not be opened".to_owned()),
    };
    match (by_file, record) {
        (Err(file), Err(store)) => {
            Err(StandingError::NotAcknowledged { subject: subject.clone(), file, store })
        }
        (file_result, record) => {
            if file_result.is_ok() && record.is_ok() {
                // Only makes room sooner; the stop stands either way.
                let _ = file.absorbed(subject, act.now);
            }
            Ok(Stopped { file: file_result, record })
        }
    }
}

/// Lifts the stop of an agent, a person, a server or the deployment. The store first: as long as the file has it, it stands.
///
/// # Errors
/// [`StandingError`]; the stop stands then.
pub async fn lift<S: Store>(
    file: &StopFile,
    store: &S,
    subject: &Subject,
    act: &Act<'_>,
) -> Result<u64, StandingError> {
    if matches!(subject, Subject::Mandate(_) | Subject::Template(_) | Subject::Token(_)) {
        return Err(StandingError::Final { subject: subject.clone() });
    }
    let revision =
        record(store, subject, StandingChange::Lifted, act, act.now).await.map_err(StandingError::Store)?;
    file.clear(subject)?;
    Ok(revision)
}

/// Records the stops that the file has and the store does not. Gives how many.
///
/// # Errors
/// [`StandingError`]; they are in force all the same.
pub async fn absorb<S: Store>(file: &StopFile, store: &S, act: &Act<'_>) -> Result<usize, StandingError> {
    let mut absorbed = 0usize;
    for stop in file.unabsorbed()? {
        let known =
            stored(store, &stop.subject).await.map_err(|cause| StandingError::Store(cause.to_string()))?;
        if !known.is_some_and(|standing| standing.stopped && standing.since >= stop.since) {
            record(store, &stop.subject, StandingChange::Stopped, act, stop.since)
                .await
                .map_err(StandingError::Store)?;
            absorbed = absorbed.saturating_add(1);
        }
        file.absorbed(&stop.subject, stop.since)?;
    }
    Ok(absorbed)
}

/// Whether a mandate that was handed over here names the subject. A stop of a name that none names may be a slip of the pen: it is in force,
/// and whoever made it should look again.
///
/// # Errors
/// [`ReadStandingError`].
pub async fn is_named<S: Store>(store: &S, subject: &Subject) -> Result<bool, ReadStandingError> {
    if let Subject::Token(token) = subject {
        return Ok(store.find(token.as_str()).await?.is_some());
    }
    let under = keys::mandates()?;
    let mut after = None;
    loop {
        let page = store.scan(&under, after.as_ref(), MAX_PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(false) };
        after = Some(last.clone());
        for (key, entry) in &page {
            let Ok(mandate) = serde_json::from_slice::<StoredMandate>(&entry.value) else { continue };
            let document = Json::parse(mandate.document.as_bytes()).ok();
            let says = |member: &str, name: &str| {
                document.as_ref().and_then(|d| d.get(member)).and_then(Json::as_str) == Some(name)
            };
            let named = match subject {
                Subject::Deployment | Subject::Token(_) => true,
                Subject::Agent(agent) => says("agent", agent.as_str()),
                Subject::Person(person) | Subject::InDirectory(person) => {
                    mandate.person == *person || says("sponsor", person.as_str())
                }
                Subject::Mandate(id) => key.as_str() == format!("mandate/{id}"),
                Subject::Template(template) => mandate.template == *template,
                Subject::Server(server) => {
                    document.as_ref().is_some_and(|document| reaches(document, server))
                }
            };
            if named {
                return Ok(true);
            }
        }
    }
}

/// Whether a grant of a mandate names a server.
fn reaches(document: &Json, server: &ServerName) -> bool {
    let items = |of: &Json, member: &str| match of.get(member) {
        Some(Json::Array(items)) => items.clone(),
        _ => Vec::new(),
    };
    items(document, "grants").iter().any(|grant| {
        let tool = grant.get("tool").and_then(Json::as_str).and_then(|tool| tool.split_once('/'));
        tool.is_some_and(|(of, _)| of == server.as_str())
            || items(grant, "servers").iter().any(|one| one.as_str() == Some(server.as_str()))
    })
}

/// Why a standing cannot be read.
#[derive(Debug, Error)]
pub enum ReadStandingError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name too long for a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The entry does not read.
    #[error("the standing of {subject} cannot be read from the store: {cause}")]
    Unreadable {
        /// Whose.
        subject: Subject,
        /// Why.
        cause: String,
    },
}

impl From<ReadStandingError> for crate::handover::HandoverError {
    fn from(cause: ReadStandingError) -> Self {
        match cause {
            ReadStandingError::Read(cause) => Self::Read(cause),
            ReadStandingError::Key(cause) => Self::Key(cause),
            ReadStandingError::Unreadable { subject, cause } => Self::Read(ReadError::Corrupt {
                table: "entries",
                column: "value",
                key: format!("standing/{subject}"),
                problem: cause,
            }),
        }
    }
}

/// What the store says of a subject.
///
/// # Errors
/// [`ReadStandingError`].
pub async fn stored<S: Store>(
    store: &S,
    subject: &Subject,
) -> Result<Option<StoredStanding>, ReadStandingError> {
    let key = keys::standing(subject)?;
    let view = store.read(&Wanted { entries: [key.clone()].into(), ..Wanted::default() }).await?;
    view.entries
        .get(&key)
        .map(|entry| {
            serde_json::from_slice(&entry.value).map_err(|cause| ReadStandingError::Unreadable {
                subject: subject.clone(),
                cause: cause.to_string(),
            })
        })
        .transpose()
}

async fn record<S: Store>(
    store: &S,
    subject: &Subject,
    change: StandingChange,
    act: &Act<'_>,
    effective_at: Timestamp,
) -> Result<u64, String> {
    let commit = standing_commit(subject, change, act, effective_at)?;
    match tokio::time::timeout(DEADLINE, store.commit(commit)).await {
        Ok(Ok(committed)) => Ok(committed.revision),
        Ok(Err(cause @ CommitError::Unknown { .. })) => Err(cause.to_string()),
        Ok(Err(cause)) => Err(cause.to_string()),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

fn standing_commit(
    subject: &Subject,
    change: StandingChange,
    act: &Act<'_>,
    effective_at: Timestamp,
) -> Result<Commit, String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    let id = fresh_id("s", act.now, act.randomness).map_err(|cause: NoRandomness| text(&cause))?;
    let event = Event::Standing(StandingRecord {
        subject: subject.to_string(),
        change,
        evidence: act.evidence.to_owned(),
        reason: act.reason.map(str::to_owned),
        effective_at,
    });
    let mut commit = Commit::new(Record::new(id, act.now, event));
    let key: Key = keys::standing(subject).map_err(|cause| text(&cause))?;
    let value = StoredStanding {
        stopped: change == StandingChange::Stopped,
        since: effective_at,
        reason: act.reason.map(str::to_owned),
    };
    commit.puts.push((key, serde_json::to_vec(&value).map_err(|cause| text(&cause))?));
    Ok(commit)
}
