//! What is known of a token (RFC 7662), ending one (RFC 7009), and forgetting what need not be remembered any more.

use std::time::Duration;

use warrantor_engine::{StoredStanding, keys};
use warrantor_model::{
    AgentId, Subject, Timestamp, TokenId,
    record::{ActRecord, Event, Record, TokenChange},
};
use warrantor_store::{Commit, CommitError, Key, MAX_PAGE, Store};
use warrantor_tokens::{AccessToken, VerifiedProof};

use super::{Client, Code, TokenError, TokenService, assertion_used, making::live, record_of, use_up};
use crate::{
    fresh_id, names,
    office::{Office, OfficeError},
};

/// How much is forgotten by one commit.
const FORGOTTEN_AT_ONCE: usize = 500;
/// How long the revocation of a token is remembered: longer than any token is valid.
const REVOKED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of a token.
#[derive(Debug)]
pub enum Standing {
    /// It counts now.
    Active(Box<AccessToken>),
    /// It does not, or it is none of ours.
    Inactive,
}

impl TokenService {
    /// Whether a token counts now: it is ours, has not ended, and neither it nor anything or anybody that it rests on was stopped.
    ///
    /// # Errors
    /// [`OfficeError`] when that cannot be told.
    pub async fn standing<S: Store>(&self, office: &Office<S>, token: &str) -> Result<Standing, OfficeError> {
        let Ok(says) = self.verified(token, office.now()) else { return Ok(Standing::Inactive) };
        if office.is_stopped(&Subject::Deployment).await? {
            return Ok(Standing::Inactive);
        }
        for id in says.lineage() {
            if office.is_stopped(&Subject::Token(id.clone())).await? {
                return Ok(Standing::Inactive);
            }
        }
        let mandate = match office.mandate(says.mandate()).await {
            Ok(mandate) => mandate,
            Err(OfficeError::Unknown { .. }) => return Ok(Standing::Inactive),
            Err(cause) => return Err(cause),
        };
        match live(office, &mandate).await {
            Ok(()) => Ok(Standing::Active(Box::new(says))),
            Err(TokenError::Office(cause)) => Err(cause),
            Err(_) => Ok(Standing::Inactive),
        }
    }

    /// Ends a token for the client that it was made for, and with it every token that was made from it. A token that is none, or has ended, is no error.
    ///
    /// # Errors
    /// [`TokenError::Refused`] for a token of another client; [`TokenError::Office`] when it is not ended.
    pub async fn revoke<S: Store>(
        &self,
        office: &Office<S>,
        client: &Client,
        token: &str,
    ) -> Result<(), TokenError> {
        let Ok(says) = self.verified(token, office.now()) else { return Ok(()) };
        if says.agent != client.agent {
            let why = "the token was made for another client, who may revoke it";
            return Err(TokenError::refused(Code::UnauthorizedClient, why));
        }
        if office.is_stopped(&Subject::Token(says.id.clone())).await? {
            return Ok(());
        }
        let now = office.now();
        let record = record_of(&says, TokenChange::Revoked, "revocation", client);
        let id = fresh_id("a", now, &*office.randomness).map_err(OfficeError::from)?;
        let mut commit = Commit::new(Record::new(id, now, Event::Token(Box::new(record))));
        commit.puts.push(revoked(&says.id, now)?);
        client.once.as_ref().map(|once| use_up(&mut commit, once)).transpose()?;
        office.commit(commit).await.map(drop).map_err(|cause| match cause {
            CommitError::Moved { .. } => assertion_used(),
            cause => OfficeError::from(cause).into(),
        })
    }
}

/// What says that a token was revoked.
pub(super) fn revoked(id: &TokenId, now: Timestamp) -> Result<(Key, Vec<u8>), OfficeError> {
    let stored = StoredStanding { stopped: true, since: now, reason: None };
    Ok((keys::standing(&Subject::Token(id.clone()))?, serde_json::to_vec(&stored)?))
}

impl<S: Store> Office<S> {
    /// Remembers a proof that an agent has shown beside a token, so that it counts once.
    ///
    /// # Errors
    /// [`OfficeError::Contended`] when it was shown before.
    pub async fn show_once(
        &self,
        proof: &VerifiedProof,
        agent: &AgentId,
        evidence: &str,
    ) -> Result<(), OfficeError> {
        let now = self.now();
        let event = Event::Act(ActRecord::new("tokens:show", &format!("agent:{agent}"), evidence));
        let mut commit = Commit::new(Record::new(fresh_id("a", now, &*self.randomness)?, now, event));
        use_up(&mut commit, &proof.once())?;
        self.commit(commit).await?;
        Ok(())
    }

    /// Forgets what was remembered so that it counts once, where it could not count any more anyway, and revocations of tokens that have ended long since.
    ///
    /// # Errors
    /// [`OfficeError`]; what was forgotten before stays forgotten.
    pub async fn forget_tokens(&self) -> Result<usize, OfficeError> {
        let now = self.now();
        let mut forgotten = 0usize;
        loop {
            let page = self.store.scan(&names::replays()?, None, FORGOTTEN_AT_ONCE.min(MAX_PAGE)).await?;
            let over = names::replay_hour(now);
            let is_over = |key: &Key| key.as_str().split('/').nth(1).is_some_and(|hour| hour < over.as_str());
            let gone: Vec<Key> = page.into_iter().map(|(key, _)| key).take_while(is_over).collect();
            if gone.is_empty() {
                break;
            }
            forgotten = forgotten.saturating_add(self.forget(gone, now).await?);
        }
        let under = Key::new("standing")?;
        let mut after = Some(Key::new("standing/token:")?);
        loop {
            let page = self.store.scan(&under, after.as_ref(), MAX_PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let is_token = |key: &Key| key.as_str().starts_with("standing/token:");
            let ended = page.iter().all(|(key, _)| is_token(key));
            let gone: Vec<Key> = page
                .into_iter()
                .filter(|(key, entry)| {
                    let stored: Option<StoredStanding> = serde_json::from_slice(&entry.value).ok();
                    is_token(key) && stored.is_some_and(|stored| now > stored.since.plus(REVOKED_FOR))
                })
                .map(|(key, _)| key)
                .collect();
            for part in gone.chunks(FORGOTTEN_AT_ONCE) {
                forgotten = forgotten.saturating_add(self.forget(part.to_vec(), now).await?);
            }
            if !ended {
                break;
            }
        }
        Ok(forgotten)
    }

    async fn forget(&self, gone: Vec<Key>, now: Timestamp) -> Result<usize, OfficeError> {
        let count = gone.len();
        let event = Event::Act(ActRecord {
            changes: vec![format!("{count} entries that cannot count any more are gone")],
            ..ActRecord::new("tokens:forget", "host", "the token service")
        });
        let mut commit = Commit::new(Record::new(fresh_id("a", now, &*self.randomness)?, now, event));
        commit.deletes = gone;
        self.commit(commit).await?;
        Ok(count)
    }
}
