//! Applications that people sign in with: what somebody agreed to, the code that says so to the application once (RFC 6749, section 4.1, with PKCE, RFC 7636),
//! and the refresh tokens that go on from there, each once.
//!
//! Everything that was made of one agreement has one ancestor, a name that no token has. Stopping that ends all of it, and whoever shows a code or a refresh token a
//! second time stops it: somebody else has a copy, and nobody can tell who.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use warrantor_model::{
    AgentId, Digest, MandateId, MandateKind, PersonId, Subject, Timestamp, TokenId,
    record::{ActRecord, Event, Record, TokenChange, TokenRecord},
};
use warrantor_store::{Commit, CommitError, Expect, Key, MAX_PAGE, Store};
use warrantor_tokens::{Actor, Actors, VerifiedProof};
use zeroize::Zeroizing;

use super::{
    Client, Code, TokenError, TokenService,
    making::{Basis, chain, live, refused},
    status::revoked,
};
use crate::{
    agents::AgentStanding,
    fresh_id,
    mandates::{KnownMandate, MandateStanding, MandatesOf},
    names,
    office::{Hand, Office, OfficeError},
};

/// How long a code counts: it goes from a browser to its application and straight on to us.
const CODE: Duration = Duration::from_secs(60);
/// How long a refresh token counts. It is shorter than revocations of tokens are remembered, so that none comes back to life.
const REFRESH: Duration = Duration::from_secs(12 * 60 * 60);
/// How long after its first use a refresh token gives the same answer again. Once somebody has gone on from there it ends everything instead.
const MOMENTS: Duration = Duration::from_secs(30);
/// What codes and refresh tokens begin with.
const CODE_BEGINS: &str = "wac_";
const REFRESH_BEGINS: &str = "war_";

/// What a person agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consented {
    /// Which application.
    pub client_id: String,
    /// Where its answer goes.
    pub redirect_uri: String,
    /// The challenge of PKCE: S256.
    pub challenge: String,
    /// Where the token may be shown.
    pub resource: String,
    /// As which agent it acts.
    pub agent: AgentId,
    /// For whom.
    pub person: PersonId,
    /// Under which mandate.
    pub mandate: MandateId,
}

/// A code or a refresh token, as it is kept under its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    family: TokenId,
    consented: Consented,
    /// The thumbprint of the key that whoever shows it has to have.
    key: Option<String>,
    expires_at: Timestamp,
    /// When it was used first.
    used: Option<Timestamp>,
    /// What the refresh tokens that follow are made of, with the one before: whoever has that one alone cannot make them.
    secret: String,
}

/// A code or a refresh token that counts, and is used up by what is made of it. There is no way to one but [`TokenService::kept`].
#[derive(Debug)]
pub struct Kept {
    key: Key,
    version: u64,
    stored: Stored,
    text: Zeroizing<String>,
    is_code: bool,
}

/// What an application shows.
#[derive(Debug, Clone, Copy)]
pub enum Shown<'a> {
    /// A code, with what it was asked for.
    Code {
        /// The code.
        code: &'a str,
        /// Where it was sent, if that is said: the verifier shows that whoever asks is whoever asked (OAuth 2.1 leaves it out).
        redirect_uri: Option<&'a str>,
        /// What the challenge was made of.
        verifier: &'a str,
    },
    /// A refresh token.
    Refresh(&'a str),
}

fn unfit(why: &str) -> TokenError {
    refused(Code::InvalidGrant, why)
}

impl Kept {
    /// What was agreed to.
    #[must_use]
    pub fn consented(&self) -> &Consented {
        &self.stored.consented
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_code { "authorization_code" } else { "refresh_token" }
    }

    pub(super) fn basis(&self, actor: Actor) -> Result<Basis, TokenError> {
        let person = self.stored.consented.person.clone();
        Ok(Basis {
            subject: person.to_string(),
            person: Some(person),
            actors: Actors::default().extended(actor).map_err(chain)?,
            parent: None,
            made_from: vec![self.stored.family.clone()],
            until: None,
            shown: vec![Digest::of(self.text.as_bytes())],
            home: None,
        })
    }

    /// Uses it up, and keeps the refresh token that comes after it: the same whenever it is shown within moments, and only while nobody has gone on from there.
    /// Gives the keys that show whether either was used meanwhile, and the refresh token.
    pub(super) async fn use_up<S: Store>(
        &self,
        office: &Office<S>,
        commit: &mut Commit,
        key: Option<String>,
        until: Timestamp,
    ) -> Result<([Key; 2], String), TokenError> {
        let first = self.stored.used.unwrap_or_else(|| office.now());
        let used = Stored { used: Some(first), ..self.stored.clone() };
        commit.expect.push((self.key.clone(), Expect::Version(self.version)));
        commit.puts.push((self.key.clone(), encoded(&used)?));
        let expires_at = first.plus(REFRESH).min(until);
        let (text, kept_as) = self.stored.next(&self.text, expires_at)?;
        if self.stored.used.is_none() {
            let next = Stored { key, expires_at, used: None, ..self.stored.clone() };
            commit.expect.push((kept_as.clone(), Expect::Absent));
            commit.puts.push((kept_as.clone(), encoded(&next)?));
            return Ok(([self.key.clone(), kept_as], text));
        }
        let found: Option<(u64, Stored)> = office.entry(&kept_as).await?;
        let (version, next) =
            found.ok_or_else(|| unfit("it was used before, and what came of it has ended"))?;
        // Between the look at it and this one: whoever looks again finds that somebody has gone on.
        if next.used.is_some() {
            return Err(TokenError::Contended);
        }
        if next.key != key {
            return Err(refused(Code::InvalidDpopProof, "what came of the token is bound to another key"));
        }
        commit.expect.push((kept_as.clone(), Expect::Version(version)));
        Ok(([self.key.clone(), kept_as], text))
    }
}

impl Stored {
    /// The refresh token that comes after this text, which ends then, and the key that it is kept under.
    fn next(&self, text: &str, until: Timestamp) -> Result<(String, Key), TokenError> {
        let made = Digest::of_parts(&[self.secret.as_bytes(), b"\n", text.as_bytes()]);
        named(REFRESH_BEGINS, made.as_bytes(), until)
    }
}

fn encoded(stored: &Stored) -> Result<Vec<u8>, TokenError> {
    serde_json::to_vec(stored).map_err(|cause| TokenError::Office(cause.into()))
}

/// A text that nobody can guess, and the key that what it stands for is kept under. The hour in which it ends is in it, so that it is found where everything is
/// that ends then.
fn fresh<S: Store>(office: &Office<S>, begins: &str, until: Timestamp) -> Result<(String, Key), TokenError> {
    named(begins, &random(office)?, until)
}

fn random<S: Store>(office: &Office<S>) -> Result<[u8; 32], TokenError> {
    let mut random = [0; 32];
    office.randomness.fill(&mut random).map_err(|cause| TokenError::Office(cause.into()))?;
    Ok(random)
}

fn named(begins: &str, bytes: &[u8], until: Timestamp) -> Result<(String, Key), TokenError> {
    let text = format!("{begins}{}_{}", names::replay_hour(until), BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let key = names::replay(&Digest::of(text.as_bytes()), until).map_err(OfficeError::from)?;
    Ok((text, key))
}

/// The key that a text's entry is kept under; none for a text that is not ours.
fn kept_under(text: &str, begins: &str) -> Option<Key> {
    let (hour, random) = text.strip_prefix(begins)?.split_once('_')?;
    let is_hour = hour.len() == 12 && hour.bytes().all(|byte| byte.is_ascii_digit());
    let fits = is_hour && random.len() == 43;
    fits.then(|| names::kept(hour, &Digest::of(text.as_bytes())).ok()).flatten()
}

/// A page is answered once.
fn answered(commit: &mut Commit, page: &Digest, now: Timestamp) -> Result<(), TokenError> {
    let key = names::replay(page, now.plus(REFRESH)).map_err(OfficeError::from)?;
    commit.expect.push((key.clone(), Expect::Absent));
    commit.puts.push((key, b"{}".to_vec()));
    Ok(())
}

/// Whether a text can be the verifier of PKCE (RFC 7636, section 4.1), or a challenge made of one.
#[must_use]
pub fn is_verifier(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(fits)
}

impl TokenService {
    /// The agent that an application acts as. An application proves nothing of itself: a code is worth something with its verifier alone, and a refresh token
    /// once.
    ///
    /// # Errors
    /// [`TokenError::Refused`] with [`Code::InvalidClient`].
    pub async fn application<S: Store>(
        &self,
        office: &Office<S>,
        client_id: &str,
    ) -> Result<Client, TokenError> {
        let unknown =
            || refused(Code::InvalidClient, "the application is not known here: see `applications`");
        let application = self.settings.application(client_id).ok_or_else(unknown)?;
        let agent = match office.agent(&application.agent).await {
            Ok(agent) => agent,
            Err(OfficeError::Unknown { .. }) => {
                return Err(refused(
                    Code::InvalidClient,
                    "the agent that the application acts as is not known here",
                ));
            }
            Err(cause) => return Err(cause.into()),
        };
        if agent.standing != AgentStanding::Active || agent.orphaned {
            let why = "the agent that the application acts as is not active, or nobody live answers for it";
            return Err(refused(Code::InvalidClient, why));
        }
        let evidence = format!("the application {}, which proves nothing of itself", super::cut(client_id));
        Ok(Client { agent: application.agent.clone(), evidence, once: None })
    }

    /// The mandates that a person can let an application act under: their own for this agent, that are live now.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn choices<S: Store>(
        &self,
        office: &Office<S>,
        person: &PersonId,
        agent: &AgentId,
    ) -> Result<Vec<KnownMandate>, OfficeError> {
        let (mut choices, mut after) = (Vec::new(), None);
        loop {
            let page = office.mandates(&MandatesOf::Person(person.clone()), after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { return Ok(choices) };
            after = Some(last.id.clone());
            choices.extend(page.into_iter().filter(|mandate| {
                mandate.agent == *agent
                    && mandate.person == *person
                    && mandate.kind == MandateKind::Delegated
                    && mandate.parent.is_none()
                    && mandate.standing == MandateStanding::Live
            }));
        }
    }

    /// Keeps what somebody agreed to, and gives the code that says so. `page` is what they were shown: it is agreed to once.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn consent<S: Store>(
        &self,
        office: &Office<S>,
        hand: &Hand,
        consented: Consented,
        page: &Digest,
    ) -> Result<String, TokenError> {
        let now = office.now();
        let choices = self.choices(office, &consented.person, &consented.agent).await?;
        let mandate = choices.into_iter().find(|choice| choice.id == consented.mandate);
        let mandate = mandate.ok_or_else(|| unfit("the mandate has ended, or is another's"))?;
        live(office, &mandate).await?;
        let family: TokenId = fresh_id("k", now, &*office.randomness)
            .map_err(OfficeError::from)?
            .parse()
            .map_err(|_| TokenError::Signing("its name is none".to_owned()))?;
        let expires_at = now.plus(CODE);
        let (text, key) = fresh(office, CODE_BEGINS, expires_at)?;
        let event = Event::Act(ActRecord {
            on: format!("mandate:{}", consented.mandate),
            changes: vec![format!(
                "the application {} acts as {} at {}, its answer goes to {}; what is made of it comes of {family}",
                super::cut(&consented.client_id),
                consented.agent,
                super::cut(&consented.resource),
                super::cut(&consented.redirect_uri)
            )],
            ..ActRecord::new("tokens:consent", &hand.actor, &hand.evidence)
        });
        let id = fresh_id("a", now, &*office.randomness).map_err(OfficeError::from)?;
        let mut commit = Commit::new(Record::new(id, now, event));
        let secret = BASE64_URL_SAFE_NO_PAD.encode(random(office)?);
        let stored = Stored { family, consented, key: None, expires_at, used: None, secret };
        commit.expect.push((key.clone(), Expect::Absent));
        commit.puts.push((key, encoded(&stored)?));
        answered(&mut commit, page, now)?;
        match office.commit(commit).await {
            Ok(_) => Ok(text),
            Err(CommitError::Moved { .. }) => Err(unfit("this page was answered before")),
            Err(cause) => Err(OfficeError::from(cause).into()),
        }
    }

    /// Records that a person said no, to a page that is answered by that.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn deny<S: Store>(
        &self,
        office: &Office<S>,
        hand: &Hand,
        (client_id, resource): (&str, &str),
        agent: &AgentId,
        page: &Digest,
    ) -> Result<(), TokenError> {
        let now = office.now();
        let event = Event::Act(ActRecord {
            on: format!("agent:{agent}"),
            refused: true,
            changes: vec![format!(
                "the application {} does not act as {agent} at {}",
                super::cut(client_id),
                super::cut(resource)
            )],
            ..ActRecord::new("tokens:consent", &hand.actor, &hand.evidence)
        });
        let id = fresh_id("a", now, &*office.randomness).map_err(OfficeError::from)?;
        let mut commit = Commit::new(Record::new(id, now, event));
        answered(&mut commit, page, now)?;
        match office.commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Moved { .. }) => Err(unfit("this page was answered before")),
            Err(cause) => Err(OfficeError::from(cause).into()),
        }
    }

    /// A code or a refresh token that this application shows, if it counts for it here. One that was used before ends everything that was made of the agreement.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn kept<S: Store>(
        &self,
        office: &Office<S>,
        client_id: &str,
        shown: Shown<'_>,
        place: Option<&str>,
        proof: Option<&VerifiedProof>,
    ) -> Result<Kept, TokenError> {
        let unknown =
            || unfit("the code or token is unknown, has ended, or was made for another application");
        let (text, begins) = match shown {
            Shown::Code { code, .. } => (code, CODE_BEGINS),
            Shown::Refresh(token) => (token, REFRESH_BEGINS),
        };
        let key = kept_under(text, begins).ok_or_else(unknown)?;
        let found: Option<(u64, Stored)> = office.entry(&key).await?;
        let (version, stored) = found.ok_or_else(unknown)?;
        if stored.consented.client_id != client_id {
            return Err(unknown());
        }
        let now = office.now();
        // An answer that was lost, or two windows of one application, show a refresh token twice within moments.
        let is_code = matches!(shown, Shown::Code { .. });
        let again = |at: Timestamp| is_code || now >= at.plus(MOMENTS);
        let gone_on = match stored.used {
            Some(first) => again(first) || self.has_gone_on(office, text, &stored, first).await?,
            None => false,
        };
        if gone_on {
            self.end_family(office, &stored, "it was shown a second time").await?;
            return Err(unfit(
                "it was used before: everything that was made of it has ended, ask the person again",
            ));
        }
        if now >= stored.expires_at {
            return Err(unknown());
        }
        if let Shown::Code { redirect_uri, verifier, .. } = shown {
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes());
            if !is_verifier(verifier) || challenge != stored.consented.challenge {
                return Err(unfit("the code_verifier is not what the code_challenge was made of"));
            }
            if redirect_uri.is_some_and(|uri| uri != stored.consented.redirect_uri) {
                return Err(unfit("the redirect_uri is another than the code was sent to"));
            }
        }
        if place.is_some_and(|place| place != stored.consented.resource) {
            return Err(refused(Code::InvalidTarget, "the person agreed to another place (`resource`)"));
        }
        if stored.key.is_some() && stored.key.as_deref() != proof.map(VerifiedProof::thumbprint) {
            return Err(refused(
                Code::InvalidDpopProof,
                "the token is bound to another key than the proof's",
            ));
        }
        if office.is_stopped(&Subject::Token(stored.family.clone())).await? {
            return Err(unfit("what it was made of was revoked"));
        }
        Ok(Kept { key, version, stored, text: Zeroizing::new(text.to_owned()), is_code })
    }

    /// Whether somebody has used the refresh token that came of this one: then there are two of them.
    async fn has_gone_on<S: Store>(
        &self,
        office: &Office<S>,
        text: &str,
        stored: &Stored,
        first: Timestamp,
    ) -> Result<bool, TokenError> {
        let mandate = office.mandate(&stored.consented.mandate).await?;
        let (_, key) = stored.next(text, first.plus(REFRESH).min(mandate.expires_at))?;
        let next: Option<(u64, Stored)> = office.entry(&key).await?;
        Ok(next.is_none_or(|(_, next)| next.used.is_some()))
    }

    /// Ends everything that was made of an agreement, by a refresh token of it: whoever has that may (RFC 7009). A text that is none is no error.
    ///
    /// # Errors
    /// [`TokenError::Office`] when it is not ended.
    pub async fn revoke_kept<S: Store>(
        &self,
        office: &Office<S>,
        client_id: &str,
        token: &str,
    ) -> Result<(), TokenError> {
        if self.settings.application(client_id).is_none() {
            return Err(refused(
                Code::InvalidClient,
                "the application is not known here: see `applications`",
            ));
        }
        let Some(key) = kept_under(token, REFRESH_BEGINS) else {
            if self.verified(token, office.now()).is_ok() {
                let why = "give the refresh token back: with it ends every access token that was made of it";
                return Err(refused(Code::UnsupportedTokenType, why));
            }
            return Ok(());
        };
        let found: Option<(u64, Stored)> = office.entry(&key).await?;
        match found {
            Some((_, stored)) if stored.consented.client_id == client_id => {
                self.end_family(office, &stored, "its application has given it back").await
            }
            _ => Ok(()),
        }
    }

    async fn end_family<S: Store>(
        &self,
        office: &Office<S>,
        stored: &Stored,
        why: &str,
    ) -> Result<(), TokenError> {
        if office.is_stopped(&Subject::Token(stored.family.clone())).await? {
            return Ok(());
        }
        let now = office.now();
        let consented = &stored.consented;
        let record = TokenRecord {
            token: Some(stored.family.to_string()),
            agent: Some(consented.agent.to_string()),
            person: Some(consented.person.to_string()),
            mandate: Some(consented.mandate.to_string()),
            audience: Some(consented.resource.clone()),
            reason: Some(why.to_owned()),
            ..TokenRecord::new(
                TokenChange::Revoked,
                "revocation".to_owned(),
                format!("the application {}", super::cut(&consented.client_id)),
            )
        };
        let id = fresh_id("a", now, &*office.randomness).map_err(OfficeError::from)?;
        let mut commit = Commit::new(Record::new(id, now, Event::Token(Box::new(record))));
        commit.puts.push(revoked(&stored.family, now)?);
        office.commit(commit).await.map(drop).map_err(|cause| OfficeError::from(cause).into())
    }
}
