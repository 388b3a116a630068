//! Credentials for the interface: sessions of persons who signed in, and clients with a credential of their own.
//!
//! Both are 256 random bits that are shown once. What is kept is their digest; whoever reads the store learns no token.

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use warrantor_decide::administration::Actor;
use warrantor_engine::registry::Done;
use warrantor_model::{Digest, PersonId, Timestamp};
use warrantor_store::{MAX_PAGE, Store};

use crate::{
    names,
    office::{Authority, Change, Hand, Office, OfficeError},
    people::{MAX_LIST, invalid, line},
};

/// What the token of a session begins with.
const SESSION: &str = "ws_";
/// What the token of a client begins with.
const CLIENT: &str = "wc_";
/// How long a session may last at most.
pub const LONGEST_SESSION: Duration = Duration::from_secs(24 * 60 * 60);
/// Most sessions of one person.
const MOST_SESSIONS: usize = 100;
/// How many of its characters name a session to its person.
const SHORT: usize = 12;

/// A session of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSession {
    /// Whose.
    pub person: PersonId,
    /// How the person was known.
    pub evidence: String,
    /// When it began.
    pub begun: Timestamp,
    /// When the person last proved who it is, if the provider tells.
    pub authenticated_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A client of the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredClient {
    /// Its name.
    pub name: String,
    /// What it may do, by roles.
    pub roles: BTreeSet<String>,
    /// What it provisions, for a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectorySettings>,
    /// When it was made, and by whose hand.
    #[schema(value_type = Object)]
    pub made: Done,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
}

/// Whose people a directory provisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectorySettings {
    /// The issuer that its people sign in with.
    pub issuer: String,
    /// Which attribute is the subject in that issuer's tokens.
    pub subject: SubjectAttribute,
}

/// Which attribute of a SCIM user is the subject in the issuer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SubjectAttribute {
    /// `externalId`, as Okta sends its own id.
    ExternalId,
    /// `userName`.
    UserName,
}

/// A new credential. The token is shown once and kept nowhere.
#[derive(Debug)]
pub struct Made<T> {
    /// The token.
    pub token: String,
    /// What stands behind it.
    pub what: T,
}

/// Who presents a credential.
#[derive(Debug, Clone)]
pub enum Presenter {
    /// A person, by a session.
    Person {
        /// As policies see the person.
        actor: Actor,
        /// Who.
        id: PersonId,
        /// For records.
        hand: Hand,
        /// The session; none where the person presents something else, such as a token of the provider.
        session: Option<Digest>,
        /// When the person last proved who it is.
        authenticated_at: Option<Timestamp>,
        /// When what was presented ends.
        expires_at: Timestamp,
    },
    /// A client.
    Client {
        /// As policies see it.
        actor: Actor,
        /// For records.
        hand: Hand,
        /// Itself.
        client: StoredClient,
    },
}

impl Presenter {
    /// As policies see it.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        match self {
            Self::Person { actor, .. } | Self::Client { actor, .. } => actor,
        }
    }

    /// For records.
    #[must_use]
    pub fn hand(&self) -> &Hand {
        match self {
            Self::Person { hand, .. } | Self::Client { hand, .. } => hand,
        }
    }
}

impl<S: Store> Office<S> {
    fn fresh_token(&self, prefix: &str) -> Result<(String, Digest), OfficeError> {
        let mut secret = [0; 32];
        self.randomness.fill(&mut secret)?;
        let token = format!("{prefix}{}", hex::encode(secret));
        let digest = Digest::of(token.as_bytes());
        Ok((token, digest))
    }

    /// Begins a session of a person.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn begin_session(
        &self,
        authority: &Authority,
        person: &PersonId,
        lasts: Duration,
        authenticated_at: Option<Timestamp>,
    ) -> Result<Made<StoredSession>, OfficeError> {
        self.person(person).await?;
        self.purge_sessions(authority, person).await?;
        let (token, digest) = self.fresh_token(SESSION)?;
        let now = self.now();
        let session = StoredSession {
            person: person.clone(),
            evidence: authority.hand().evidence.clone(),
            begun: now,
            authenticated_at: authenticated_at.map(|at| at.min(now)),
            expires_at: now.plus(lasts.min(LONGEST_SESSION)),
        };
        let said = vec![format!("session {} until {}", short(&digest), session.expires_at)];
        let mut change = Change { said, ..Change::default() };
        change.put(names::session(&digest)?, None, &session)?;
        change.puts.push((names::session_of(person, &digest)?, b"{}".to_vec()));
        self.act(authority, change).await?;
        Ok(Made { token, what: session })
    }

    /// Forgets the sessions of a person that have ended, and refuses another one to whoever has too many.
    async fn purge_sessions(&self, authority: &Authority, person: &PersonId) -> Result<(), OfficeError> {
        let digests = self.session_digests(person, MOST_SESSIONS).await?;
        if digests.len() < MOST_SESSIONS {
            return Ok(());
        }
        let (now, mut change) = (self.now(), Change::default());
        for digest in &digests {
            let session: Option<(u64, StoredSession)> = self.entry(&names::session(digest)?).await?;
            if session.is_none_or(|(_, session)| now >= session.expires_at) {
                change.deletes.extend([names::session(digest)?, names::session_of(person, digest)?]);
            }
        }
        if change.deletes.is_empty() {
            return Err(OfficeError::Conflict(format!(
                "{person} has {MOST_SESSIONS} sessions: end some of them"
            )));
        }
        change.said.push(format!("{} sessions that had ended were forgotten", change.deletes.len() / 2));
        self.act(authority, change).await.map(drop)
    }

    async fn session_digests(&self, person: &PersonId, limit: usize) -> Result<Vec<Digest>, OfficeError> {
        let names: Vec<String> = self.ids(&names::sessions_of(person)?, None, limit).await?;
        Ok(names.iter().filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect())
    }

    /// Ends every session of a person. Gives how many.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn end_sessions(&self, authority: &Authority, person: &PersonId) -> Result<usize, OfficeError> {
        let mut ended = 0usize;
        loop {
            let digests = self.session_digests(person, MOST_SESSIONS).await?;
            if digests.is_empty() {
                return Ok(ended);
            }
            let mut change = Change::default();
            for digest in &digests {
                change.said.push(format!("session {} ended", short(digest)));
                change.deletes.extend([names::session(digest)?, names::session_of(person, digest)?]);
            }
            self.act(authority, change).await?;
            ended = ended.saturating_add(digests.len());
        }
    }

    /// Ends one session.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn end_session(
        &self,
        authority: &Authority,
        person: &PersonId,
        session: &Digest,
    ) -> Result<(), OfficeError> {
        let said = vec![format!("session {} ended", short(session))];
        let mut change = Change { said, ..Change::default() };
        change.deletes = vec![names::session(session)?, names::session_of(person, session)?];
        self.act(authority, change).await.map(drop)
    }

    /// Whoever presents a token; none when nobody does who may act now.
    ///
    /// # Errors
    /// [`OfficeError`] when that cannot be told.
    pub async fn presenter(&self, token: &str) -> Result<Option<Presenter>, OfficeError> {
        let digest = Digest::of(token.as_bytes());
        let now = self.now();
        if token.starts_with(SESSION) {
            let Some((_, session)) = self.entry::<StoredSession>(&names::session(&digest)?).await? else {
                return Ok(None);
            };
            if now >= session.expires_at {
                return Ok(None);
            }
            let name = short(&digest);
            let hand = Hand {
                actor: format!("person:{}", session.person),
                evidence: format!("session {name}, {}", session.evidence),
            };
            let presenter = self
                .person_presents(
                    &session.person,
                    hand,
                    Some(digest),
                    session.authenticated_at,
                    session.expires_at,
                )
                .await?;
            return Ok(presenter);
        }
        if !token.starts_with(CLIENT) {
            return Ok(None);
        }
        let Some((_, client)) = self.entry::<StoredClient>(&names::client(&digest)?).await? else {
            return Ok(None);
        };
        if client.expires_at.is_some_and(|until| now >= until) {
            return Ok(None);
        }
        // What somebody made does not outlive them.
        if let Some(maker) = client.made.by.strip_prefix("person:").and_then(|id| id.parse().ok())
            && self.actor(&maker).await?.is_none()
        {
            return Ok(None);
        }
        let actor = Actor::Client { name: client.name.clone(), roles: client.roles.clone() };
        let hand =
            Hand { actor: format!("client:{}", client.name), evidence: format!("token {}", short(&digest)) };
        Ok(Some(Presenter::Client { actor, hand, client }))
    }

    /// A person who presents something else than a session: a token of the provider, verified.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn person_presents(
        &self,
        id: &PersonId,
        hand: Hand,
        session: Option<Digest>,
        authenticated_at: Option<Timestamp>,
        expires_at: Timestamp,
    ) -> Result<Option<Presenter>, OfficeError> {
        let actor = self.actor(id).await?;
        Ok(actor.map(|actor| Presenter::Person {
            actor,
            id: id.clone(),
            hand,
            session,
            authenticated_at,
            expires_at,
        }))
    }

    /// Makes a credential for a client.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] when the name is taken.
    pub async fn add_client(
        &self,
        authority: &Authority,
        name: &str,
        roles: BTreeSet<String>,
        directory: Option<DirectorySettings>,
        expires_at: Option<Timestamp>,
    ) -> Result<Made<StoredClient>, OfficeError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(invalid("name", "1 to 64 letters, digits and `._-` are needed"));
        }
        if roles.is_empty()
            || roles.len() > MAX_LIST
            || roles.iter().any(|role| role.is_empty() || role.len() > 64)
        {
            return Err(invalid("roles", "a client has 1 to 200 roles of 1 to 64 bytes each"));
        }
        directory.iter().try_for_each(|directory| line("directory.issuer", &directory.issuer))?;
        if self.entry::<Digest>(&names::client_name(name)?).await?.is_some() {
            return Err(OfficeError::Conflict(format!("there is a client {name} already")));
        }
        let (token, digest) = self.fresh_token(CLIENT)?;
        let client = StoredClient {
            name: name.to_owned(),
            roles,
            directory,
            made: authority.done(self.now()),
            expires_at,
        };
        let said = vec![format!("client {name}: token {}", short(&digest))];
        let mut change = Change { said, ..Change::default() };
        change.put(names::client(&digest)?, None, &client)?;
        change.put(names::client_name(name)?, None, &digest)?;
        self.act(authority, change).await?;
        Ok(Made { token, what: client })
    }

    /// The clients after one.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn clients(&self) -> Result<Vec<StoredClient>, OfficeError> {
        let page = self.store.scan(&names::clients()?, None, MAX_PAGE).await?;
        page.iter().map(|(key, entry)| Ok(warrantor_engine::registry::decode(key, entry)?)).collect()
    }

    /// Whether a directory provisions the people of an issuer.
    pub(crate) async fn has_directory(&self, issuer: &str) -> Result<bool, OfficeError> {
        let clients = self.clients().await?;
        Ok(clients.iter().any(|client| client.directory.as_ref().is_some_and(|one| one.issuer == issuer)))
    }

    /// The client of a name.
    pub(crate) async fn client_named(&self, name: &str) -> Result<Option<StoredClient>, OfficeError> {
        let Some((_, digest)) = self.entry::<Digest>(&names::client_name(name)?).await? else {
            return Ok(None);
        };
        Ok(self.entry::<StoredClient>(&names::client(&digest)?).await?.map(|(_, client)| client))
    }

    /// Ends a client's credential.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn remove_client(&self, authority: &Authority, name: &str) -> Result<(), OfficeError> {
        let unknown = || OfficeError::Unknown { what: "client", name: name.to_owned() };
        let key = names::client_name(name)?;
        let (_, digest) = self.entry::<Digest>(&key).await?.ok_or_else(unknown)?;
        let mut change = Change { said: vec![format!("client {name} removed")], ..Change::default() };
        change.deletes = vec![names::client(&digest)?, key];
        self.act(authority, change).await.map(drop)
    }
}

/// The part of a token's digest that names it where people read.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(SHORT).collect()
}
