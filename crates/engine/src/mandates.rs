//! Mandates as the store keeps them: the terms as they were handed over, whatever the files say since.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_decide::{Fault, Hop, Snapshot};
use warrantor_model::{Digest, Json, Mandate, MandateId, PersonId, TaskId, TemplateId, Timestamp};
use warrantor_store::{KeyError, ReadError, Store, Wanted};

use crate::keys;

/// Longest chain that is followed. `delegation.depth` is checked by the decision; this bounds the work before it.
pub const MAX_HOPS: usize = 16;

/// A mandate as it was handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredMandate {
    /// The mandate of the bundle it is an instance of.
    pub template: TemplateId,
    /// The mandate it narrows.
    pub parent: Option<MandateId>,
    /// The run it belongs to.
    pub task: TaskId,
    /// Who handed it over.
    pub person: PersonId,
    /// When.
    pub handed_over_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The digest of the document.
    pub terms: Digest,
    /// The terms in the format of mandates, as canonical JSON text: numbers stay as they were written.
    pub document: String,
    /// How whoever handed it over agreed to it; none where `run` or a command on the host did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// When its sponsor has to look at it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_at: Option<Timestamp>,
    /// Whether its task begins with it although it narrows another mandate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub begins_task: bool,
}

/// How somebody agreed to a mandate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Who agreed, and how that is known.
    pub by: String,
    /// The digest of the sentences that were shown.
    pub shown: Digest,
}

/// Why a chain cannot be loaded. Each is a refusal for the caller of `authorize`.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The stored mandate does not read.
    #[error("mandate {mandate} cannot be read from the store: {cause}")]
    Unreadable {
        /// Which.
        mandate: MandateId,
        /// Why.
        cause: String,
    },
    /// The terms do not fit the bundle any more.
    #[error("mandate {mandate} does not fit the bundle: {}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unfit {
        /// Which.
        mandate: MandateId,
        /// Why.
        faults: Vec<Fault>,
    },
    /// More than [`MAX_HOPS`], or a circle.
    #[error("the chain of mandate {mandate} has more than {MAX_HOPS} hops")]
    TooLong {
        /// Its last mandate.
        mandate: MandateId,
    },
}

/// Loads the chain that ends at a mandate, the root first. Empty when a mandate of it is not known.
///
/// # Errors
/// [`ChainError`].
pub async fn load_chain<S: Store>(
    store: &S,
    snapshot: &Snapshot,
    last: &MandateId,
) -> Result<Vec<Hop>, ChainError> {
    let mut hops = Vec::new();
    let mut next = Some(last.clone());
    while let Some(id) = next {
        if hops.len() >= MAX_HOPS {
            return Err(ChainError::TooLong { mandate: last.clone() });
        }
        let Some(stored) = load(store, &id).await? else { return Ok(Vec::new()) };
        next = stored.parent.clone();
        hops.push(hop(snapshot, id, &stored)?);
    }
    hops.reverse();
    Ok(hops)
}

/// Reads one mandate.
///
/// # Errors
/// [`ChainError`].
pub async fn load<S: Store>(store: &S, id: &MandateId) -> Result<Option<StoredMandate>, ChainError> {
    let key = keys::mandate(id)?;
    let view = store.read(&Wanted { entries: [key.clone()].into(), ..Wanted::default() }).await?;
    view.entries.get(&key).map(|entry| decode(id, &entry.value)).transpose()
}

/// Reads a mandate from the bytes of its entry.
///
/// # Errors
/// [`ChainError::Unreadable`].
pub fn decode(id: &MandateId, bytes: &[u8]) -> Result<StoredMandate, ChainError> {
    let unreadable = |cause: String| ChainError::Unreadable { mandate: id.clone(), cause };
    let stored: StoredMandate =
        serde_json::from_slice(bytes).map_err(|cause| unreadable(cause.to_string()))?;
    if Digest::of(stored.document.as_bytes()) != stored.terms {
        return Err(unreadable("its terms are not those that were handed over".into()));
    }
    Ok(stored)
}

fn hop(snapshot: &Snapshot, id: MandateId, stored: &StoredMandate) -> Result<Hop, ChainError> {
    let unreadable = |cause: String| ChainError::Unreadable { mandate: id.clone(), cause };
    let document = Json::parse(stored.document.as_bytes()).map_err(|cause| unreadable(cause.to_string()))?;
    let terms =
        warrantor_bundle::terms_from_document(&document).map_err(|cause| unreadable(cause.to_string()))?;
    let compiled =
        snapshot.compile(terms).map_err(|faults| ChainError::Unfit { mandate: id.clone(), faults })?;
    Ok(Hop {
        mandate: Mandate {
            id,
            parent: stored.parent.clone(),
            task: stored.task.clone(),
            begins_task: stored.begins_task,
            terms: Arc::clone(compiled.terms()),
            handed_over_at: stored.handed_over_at,
            expires_at: stored.expires_at,
        },
        terms: Arc::new(compiled),
        terms_digest: stored.terms,
    })
}
