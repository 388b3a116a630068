//! Use cases, floor 5: what people do with a deployment beside letting agents call.
//!
//! Handing over tasks, stopping and lifting, the ledger's keys and checkpoints, verifying it, explaining a decision. Each is one
//! function over the storage seam that says in its errors whose fault it was. Nothing here prints or parses arguments.

pub mod access;
pub mod agents;
pub mod approval_stats;
pub mod approvals;
pub mod audit;
pub mod bundles;
pub mod crossings;
pub mod difference;
pub mod directory;
pub mod enforcement;
pub mod explain;
mod files;
pub mod handover;
mod identity;
pub mod keeper;
pub mod keys;
pub mod mandates;
mod names;
pub mod notices;
pub mod office;
pub mod parts;
pub mod people;
pub mod replay;
pub mod secrets;
pub mod sentences;
pub mod servers;
pub mod standing;
pub mod tokens;
mod upgrade;
pub mod visible;

use warrantor_model::{Randomness, Timestamp, time::NoRandomness};
use warrantor_store::{Commit, CommitError, Committed, Store};

/// How long an act waits for its record.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
/// How often an act is tried again because somebody else changed the same.
pub(crate) const ATTEMPTS: usize = 5;

/// Commits, or says within [`DEADLINE`] that it is not known whether it was.
pub(crate) async fn commit_in_time<S: Store>(store: &S, commit: Commit) -> Result<Committed, CommitError> {
    match tokio::time::timeout(DEADLINE, store.commit(commit)).await {
        Ok(result) => result,
        Err(_) => Err(CommitError::unknown("the store did not answer in time")),
    }
}

/// An id that sorts by time, under a prefix that says what it names.
pub(crate) fn fresh_id(
    prefix: &str,
    now: Timestamp,
    randomness: &dyn Randomness,
) -> Result<String, NoRandomness> {
    let mut random = [0; 8];
    randomness.fill(&mut random)?;
    let millis = now.as_micros().max(0) / 1000;
    Ok(format!("{prefix}{millis:012x}-{:016x}", u64::from_be_bytes(random)))
}
