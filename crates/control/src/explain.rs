//! One decision, whole: its record, its body, what became of it, and where it stands in the ledger.

use serde::Serialize;
use thiserror::Error;
use warrantor_engine::{bodies::SealKey, keys};
use warrantor_model::{
    Digest, PersonId,
    record::{Event, OutcomeRecord, Record, RecordError},
};
use warrantor_store::{ReadError, Store, Wanted};

/// Why a decision cannot be explained.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// There is no record of this id.
    #[error("there is no record {id:?} here")]
    Unknown {
        /// Which.
        id: String,
    },
    /// The stored bytes are no record.
    #[error("record {index} does not read: {cause}")]
    Unreadable {
        /// Its place.
        index: u64,
        /// Why.
        cause: RecordError,
    },
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A decision and all that belongs to it.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Its place in the ledger.
    pub index: u64,
    /// Up to which record a checkpoint was signed; the decision is provable if its place is below.
    pub signed: u64,
    /// The record.
    pub record: Record,
    /// Arguments and details with values.
    pub body: Kept,
    /// What became of it.
    pub outcomes: Vec<Outcome>,
}

/// What became of a permitted call.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The record's place.
    pub index: u64,
    /// When.
    pub at: String,
    /// What it says.
    pub outcome: OutcomeRecord,
    /// The result.
    pub result: Kept,
}

/// A body, as far as it can be shown.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Kept {
    /// Opened, and it is the one that the record commits to.
    Shown {
        /// What it holds.
        content: serde_json::Value,
    },
    /// Nothing was kept: there was no person, or it was too large.
    NotKept,
    /// The person's key is gone, and with it the body.
    Erased,
    /// It does not open or does not match.
    Damaged {
        /// Why.
        why: String,
    },
}

/// Explains the record of this id.
///
/// # Errors
/// [`ExplainError`].
pub async fn explain<S: Store>(
    store: &S,
    seal: Option<&SealKey>,
    id: &str,
) -> Result<Explanation, ExplainError> {
    let stored = store.find(id).await?.ok_or_else(|| ExplainError::Unknown { id: id.to_owned() })?;
    let read = |index: u64, bytes: &[u8]| {
        Record::from_bytes(bytes).map_err(|cause| ExplainError::Unreadable { index, cause })
    };
    let record = read(stored.index, &stored.bytes)?;
    let (commitment, owner) = match &record.event {
        Event::Decision(decision) => (decision.body, decision.body_of.clone()),
        Event::Outcome(outcome) => (outcome.body, None),
        _ => (None, None),
    };
    let body = kept(store, seal, commitment, owner.as_deref()).await?;
    let mut outcomes = Vec::new();
    for linked in store.linked(id, 0, warrantor_store::MAX_PAGE).await? {
        let record = read(linked.index, &linked.bytes)?;
        if let Event::Outcome(outcome) = record.event {
            let result = kept(store, seal, outcome.body, owner.as_deref()).await?;
            outcomes.push(Outcome { index: linked.index, at: record.at.to_string(), outcome, result });
        }
    }
    let signed = store.last_checkpoint().await?.map_or(0, |checkpoint| checkpoint.size);
    Ok(Explanation { index: stored.index, signed, record, body, outcomes })
}

async fn kept<S: Store>(
    store: &S,
    seal: Option<&SealKey>,
    commitment: Option<Digest>,
    owner: Option<&str>,
) -> Result<Kept, ExplainError> {
    let (Some(commitment), Some(seal)) = (commitment, seal) else { return Ok(Kept::NotKept) };
    let body = store.body(&commitment).await?;
    let Some(owner) = body.as_ref().map(|body| body.owner.as_str()).or(owner) else {
        return Ok(Kept::Erased);
    };
    let damaged = |why: String| Ok(Kept::Damaged { why });
    let key = match PersonId::new(owner.to_owned()).map(|person| keys::body_key(&person)) {
        Ok(Ok(key)) => key,
        Ok(Err(cause)) => return damaged(cause.to_string()),
        Err(cause) => return damaged(cause.to_string()),
    };
    let view = store.read(&Wanted { entries: [key.clone()].into(), ..Wanted::default() }).await?;
    let Some(wrapped) = view.entries.get(&key) else { return Ok(Kept::Erased) };
    // Erasing takes the key; whoever takes only the body hides something.
    let Some(body) = body else {
        return damaged("the body is gone, and the key that seals it is not".into());
    };
    let opened = seal.unwrap_key(&body.owner, &wrapped.value).and_then(|key| key.open_body(&body));
    match opened {
        Err(cause) => damaged(cause.to_string()),
        Ok(plain) => {
            let content = serde_json::from_slice(&plain)
                .unwrap_or_else(|_| serde_json::Value::String(String::from_utf8_lossy(&plain).into_owned()));
            Ok(Kept::Shown { content })
        }
    }
}
