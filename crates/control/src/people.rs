//! People of the registry: registered by hand, by signing in, or by a directory.
//!
//! A person's key is issuer and subject. The id is a name of our own: it is never given twice, and never one that the bundle has for somebody else. Mail
//! addresses and handles are attributes; nobody becomes anybody by one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use warrantor_decide::administration::Actor;
use warrantor_engine::registry::{self, StoredPerson};
use warrantor_model::{GroupName, Person, PersonId, PersonStatus, Subject};
use warrantor_store::{Key, MAX_PAGE, Store};

use crate::{
    identity::{self, Bound},
    names,
    office::{Authority, Change, Office, OfficeError},
};

/// Most bytes of an issuer, a subject, a name, an address.
pub const MAX_TEXT: usize = 512;
/// Most addresses, handles, groups, roles of one person.
pub const MAX_LIST: usize = 200;

/// A person as the office shows one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownPerson {
    /// The id.
    #[schema(value_type = String)]
    pub id: PersonId,
    /// The identity provider.
    pub issuer: String,
    /// The provider's name for the person.
    pub subject: String,
    /// What the person is called.
    pub name: Option<String>,
    /// Mail addresses.
    pub mail: Vec<String>,
    /// Groups, of the bundle or of the registry.
    #[schema(value_type = Vec<String>)]
    pub groups: BTreeSet<GroupName>,
    /// Roles in administration.
    pub roles: BTreeSet<String>,
    /// Where the person stands.
    pub standing: PersonStanding,
    /// Whether the bundle tells of the person, rather than the registry.
    pub of_bundle: bool,
    /// Of the entry in the registry; none for a person of the bundle.
    pub version: Option<u64>,
}

/// Where a person stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonStanding {
    /// Everything the person answers for may go on.
    Active,
    /// Somebody here stopped the person.
    Suspended,
    /// The directory says that the person is not active.
    InactiveInDirectory,
    /// Gone for good.
    Left,
}

/// A person to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPerson {
    /// The id; made from the name when none is given.
    pub id: Option<PersonId>,
    /// The identity provider.
    pub issuer: String,
    /// The provider's name for the person.
    pub subject: String,
    /// What the person is called.
    pub name: Option<String>,
    /// Mail addresses.
    pub mail: BTreeSet<String>,
    /// Groups that somebody here puts the person in.
    pub groups: BTreeSet<GroupName>,
}

/// What a sign-in tells of a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// What the person is called.
    pub name: Option<String>,
    /// A mail address that the provider has verified.
    pub mail: Option<String>,
    /// Groups.
    pub groups: BTreeSet<GroupName>,
    /// The name a new id is made from.
    pub handle: Option<String>,
}

/// A version and an entry.
type Versioned<T> = (u64, T);

impl<S: Store> Office<S> {
    /// A person.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when there is none.
    pub async fn person(&self, id: &PersonId) -> Result<KnownPerson, OfficeError> {
        let snapshot = self.snapshot();
        let unknown = || OfficeError::Unknown { what: "person", name: id.to_string() };
        match snapshot.person(id) {
            Some(person) => self.shown(person, None, None).await,
            None => {
                let (version, stored) = registry::person(&*self.store, id).await?.ok_or_else(unknown)?;
                self.shown(&stored.person(id), stored.name.clone(), Some(version)).await
            }
        }
    }

    async fn shown(
        &self,
        person: &Person,
        name: Option<String>,
        version: Option<u64>,
    ) -> Result<KnownPerson, OfficeError> {
        let [by_hand, by_directory] = Subject::of_person(&person.id);
        let standing = match person.status {
            PersonStatus::Left => PersonStanding::Left,
            PersonStatus::Suspended => PersonStanding::Suspended,
            PersonStatus::Active if self.is_stopped(&by_hand).await? => PersonStanding::Suspended,
            PersonStatus::Active if self.is_stopped(&by_directory).await? => {
                PersonStanding::InactiveInDirectory
            }
            PersonStatus::Active => PersonStanding::Active,
        };
        Ok(KnownPerson {
            id: person.id.clone(),
            issuer: person.issuer.clone(),
            subject: person.subject.clone(),
            name,
            mail: person.mail.clone(),
            groups: match version {
                None => person.groups.clone(),
                // A group that the bundle does not leave to the directory is the bundle's own, as in decisions.
                Some(_) => {
                    let snapshot = self.snapshot();
                    person.groups.iter().filter(|group| snapshot.is_of_directory(group)).cloned().collect()
                }
            },
            roles: self.roles(&person.id).await?.1,
            standing,
            of_bundle: version.is_none(),
            version,
        })
    }

    /// The people after one, in the order of their ids.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn people(
        &self,
        after: Option<&PersonId>,
        limit: usize,
    ) -> Result<Vec<KnownPerson>, OfficeError> {
        let snapshot = self.snapshot();
        let mut ids: BTreeSet<PersonId> = snapshot.own_people().map(|person| person.id.clone()).collect();
        ids.retain(|id| after.is_none_or(|after| id > after));
        ids.extend(self.ids(&names::people()?, after.map(AsRef::as_ref), limit).await?);
        let mut people = Vec::new();
        for id in ids.into_iter().take(limit) {
            people.push(self.person(&id).await?);
        }
        Ok(people)
    }

    /// The last segments of the keys under one, after one, `limit` at most.
    pub(crate) async fn ids<T: std::str::FromStr>(
        &self,
        under: &Key,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<T>, OfficeError> {
        let mut after = after.map(|after| Key::new(format!("{under}/{after}"))).transpose()?;
        let mut ids = Vec::new();
        while ids.len() < limit {
            let page =
                self.store.scan(under, after.as_ref(), MAX_PAGE.min(limit.saturating_sub(ids.len()))).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let name = |key: &Key| key.as_str().rsplit_once('/').and_then(|(_, id)| id.parse().ok());
            ids.extend(page.iter().filter_map(|(key, _)| name(key)));
        }
        Ok(ids)
    }

    /// Who has a subject of an issuer, or had it: an id is bound to it for good.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn who(&self, issuer: &str, subject: &str) -> Result<Option<PersonId>, OfficeError> {
        if let Some((_, id)) = self.entry::<PersonId>(&names::who(issuer, subject)?).await? {
            return Ok(Some(id));
        }
        let snapshot = self.snapshot();
        let own = snapshot.own_people().find(|person| person.issuer == issuer && person.subject == subject);
        Ok(own.map(|person| person.id.clone()))
    }

    /// A person's roles, and the version of the entry.
    pub(crate) async fn roles(&self, id: &PersonId) -> Result<(Option<u64>, BTreeSet<String>), OfficeError> {
        let entry: Option<Versioned<BTreeSet<String>>> = self.entry(&names::roles(id)?).await?;
        Ok(entry.map_or((None, BTreeSet::new()), |(version, roles)| (Some(version), roles)))
    }

    /// The person as whoever acts, if the person is live.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn actor(&self, id: &PersonId) -> Result<Option<Actor>, OfficeError> {
        match self.person(id).await {
            Ok(KnownPerson { id, groups, roles, standing: PersonStanding::Active, .. }) => {
                Ok(Some(Actor::Person { id, groups, roles }))
            }
            Ok(_) | Err(OfficeError::Unknown { .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    /// Registers a person.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] when somebody has the id, or the issuer and subject, already.
    pub async fn register(&self, authority: &Authority, new: NewPerson) -> Result<KnownPerson, OfficeError> {
        check(&new)?;
        let known = self.who(&new.issuer, &new.subject).await?;
        let id = match (new.id, known) {
            (Some(id), Some(known)) if id != known => {
                return Err(OfficeError::Conflict(format!("{known} has this issuer and subject already")));
            }
            (_, Some(id)) | (Some(id), None) => id,
            (None, None) => self.fresh_person(new.name.as_deref())?,
        };
        if self.snapshot().person(&id).is_some() || registry::person(&*self.store, &id).await?.is_some() {
            return Err(OfficeError::Conflict(format!("there is a person {id} already")));
        }
        let stored = StoredPerson {
            issuer: new.issuer,
            subject: new.subject,
            name: new.name,
            mail: new.mail,
            handles: BTreeMap::new(),
            told_groups: BTreeSet::new(),
            given_groups: new.groups,
            directory_groups: BTreeSet::new(),
            left: None,
            registered: authority.done(self.now()),
        };
        let mut change = Change { said: vec![format!("registered as {id}")], ..Change::default() };
        change.put(warrantor_engine::keys::person(&id)?, None, &stored)?;
        self.bind(&mut change, &id, &stored.issuer, &stored.subject).await?;
        for group in stored.groups() {
            change.puts.push((warrantor_engine::keys::member(&group, &id)?, b"{}".to_vec()));
        }
        self.act(authority, change).await?;
        self.person(&id).await
    }

    /// Binds an id and a key to each other, if that is not done yet.
    pub(crate) async fn bind(
        &self,
        change: &mut Change<'_>,
        id: &PersonId,
        issuer: &str,
        subject: &str,
    ) -> Result<(), OfficeError> {
        match identity::bound(&*self.store, id, issuer, subject).await? {
            Bound::Together(expect) => change.expect.extend(expect),
            Bound::Free(free) => {
                change.expect.extend(free.expect);
                change.puts.extend(free.puts);
            }
            Bound::IdTaken => {
                return Err(OfficeError::Conflict(format!(
                    "{id} is or was somebody else: an id is never given twice"
                )));
            }
            Bound::KeyHas(known) => {
                return Err(OfficeError::Conflict(format!("{known} has this issuer and subject already")));
            }
        }
        Ok(())
    }

    /// A new id, made from what a person is called.
    pub(crate) fn fresh_person(&self, name: Option<&str>) -> Result<PersonId, OfficeError> {
        let mut random = [0; 4];
        self.randomness.fill(&mut random)?;
        let local = name.unwrap_or_default().split('@').next().unwrap_or_default();
        let plain: String = local
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .take(32)
            .collect();
        let plain = plain.trim_matches('-');
        let plain = if plain.is_empty() { "person" } else { plain };
        let id = format!("{plain}-{:08x}", u32::from_be_bytes(random));
        PersonId::new(id).map_err(|cause| OfficeError::Conflict(cause.to_string()))
    }

    /// Says which roles a person has.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn give_roles(
        &self,
        authority: &Authority,
        id: &PersonId,
        roles: BTreeSet<String>,
    ) -> Result<KnownPerson, OfficeError> {
        if roles.len() > MAX_LIST || roles.iter().any(|role| role.is_empty() || role.len() > 64) {
            return Err(invalid("roles", "a role has 1 to 64 bytes, and nobody has more than 200"));
        }
        self.person(id).await?;
        let (version, before) = self.roles(id).await?;
        let said = difference("role", &before, &roles);
        let mut change = Change { said, ..Change::default() };
        change.put(names::roles(id)?, version, &roles)?;
        self.act(authority, change).await?;
        self.person(id).await
    }

    /// Says which groups a person is in, beside those that the provider's tokens tell.
    ///
    /// # Errors
    /// [`OfficeError`]; the groups of a person of the bundle stand in the bundle.
    pub async fn put_in_groups(
        &self,
        authority: &Authority,
        id: &PersonId,
        groups: BTreeSet<GroupName>,
    ) -> Result<KnownPerson, OfficeError> {
        if groups.len() > MAX_LIST {
            return Err(invalid("groups", "nobody is in more than 200 groups"));
        }
        self.change_person(authority, id, |stored| {
            let said = difference("group", &stored.given_groups, &groups);
            stored.given_groups.clone_from(&groups);
            said
        })
        .await?;
        self.person(id).await
    }

    /// Changes the entry of a person, with the index of groups.
    pub(crate) async fn change_person(
        &self,
        authority: &Authority,
        id: &PersonId,
        mut change_it: impl FnMut(&mut StoredPerson) -> Vec<String>,
    ) -> Result<(), OfficeError> {
        if self.snapshot().person(id).is_some() {
            return Err(OfficeError::Conflict(format!(
                "{id} stands in the bundle: change people.yaml and publish it"
            )));
        }
        for attempt in 1.. {
            let (version, mut stored) = registry::person(&*self.store, id)
                .await?
                .ok_or_else(|| OfficeError::Unknown { what: "person", name: id.to_string() })?;
            let before = stored.clone();
            let said = change_it(&mut stored);
            if stored == before {
                return Ok(());
            }
            let mut change = Change { said, ..Change::default() };
            change.put(warrantor_engine::keys::person(id)?, Some(version), &stored)?;
            index_groups(&mut change, id, &before.groups(), &stored.groups())?;
            match self.act(authority, change).await {
                Err(OfficeError::Contended) if attempt < crate::ATTEMPTS => {}
                other => return other.map(drop),
            }
        }
        Err(OfficeError::Contended)
    }

    /// Takes note of what a sign-in told of a person; a person who is not known yet is registered where that is allowed.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] for one who is not known and may not be registered so.
    pub async fn signed_in(
        &self,
        authority: &Authority,
        issuer: &str,
        subject: &str,
        told: Told,
        may_register: bool,
    ) -> Result<KnownPerson, OfficeError> {
        let known = self.who(issuer, subject).await?;
        let is_there = match &known {
            Some(id) => {
                self.snapshot().person(id).is_some() || registry::person(&*self.store, id).await?.is_some()
            }
            None => false,
        };
        let id = match known {
            Some(id) if is_there => id,
            // Where a directory says who there is, signing in makes nobody: the two might name people differently.
            known if may_register && !self.has_directory(issuer).await? => {
                let fresh = || self.fresh_person(told.handle.as_deref().or(told.name.as_deref()));
                let new = NewPerson {
                    id: Some(known.map_or_else(fresh, Ok)?),
                    issuer: issuer.to_owned(),
                    subject: subject.to_owned(),
                    name: told.name.clone(),
                    mail: told.mail.iter().cloned().collect(),
                    groups: BTreeSet::new(),
                };
                self.register(authority, new).await?.id
            }
            _ => return Err(OfficeError::Unknown { what: "person", name: format!("{subject} of {issuer}") }),
        };
        if self.snapshot().person(&id).is_none() {
            self.change_person(authority, &id, |stored| {
                stored.name = told.name.clone().or(stored.name.take());
                stored.mail.extend(told.mail.clone());
                stored.told_groups.clone_from(&told.groups);
                vec!["what the provider told at sign-in".to_owned()]
            })
            .await?;
        }
        self.person(&id).await
    }

    /// Stops a person, and with the person everything the person answers for.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn suspend_person(
        &self,
        authority: &Authority,
        id: &PersonId,
        reason: Option<&str>,
    ) -> Result<KnownPerson, OfficeError> {
        self.person(id).await?;
        self.stop_it(authority, &Subject::Person(id.clone()), reason).await?;
        self.person(id).await
    }

    /// Lets a person go on whom somebody here stopped. What the directory says stands.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn resume_person(
        &self,
        authority: &Authority,
        id: &PersonId,
        reason: Option<&str>,
    ) -> Result<KnownPerson, OfficeError> {
        self.person(id).await?;
        self.lift_it(authority, &Subject::Person(id.clone()), reason).await?;
        self.person(id).await
    }

    /// Says that a person has left for good.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn person_leaves(
        &self,
        authority: &Authority,
        id: &PersonId,
        reason: Option<&str>,
    ) -> Result<KnownPerson, OfficeError> {
        if self.snapshot().person(id).is_some() {
            return Err(OfficeError::Conflict(format!(
                "{id} stands in the bundle: suspend the person, and publish people.yaml without"
            )));
        }
        // The stop first: it reaches everywhere at once.
        self.suspend_person(authority, id, reason).await?;
        let done = authority.done(self.now());
        self.change_person(authority, id, |stored| {
            stored.left.get_or_insert_with(|| done.clone());
            vec!["left for good".to_owned()]
        })
        .await?;
        self.person(id).await
    }

    /// Whether two accounts may be of one human: they share a mail address, or a subject. Used only to refuse, never to give.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn may_be_one_human(&self, one: &PersonId, other: &PersonId) -> Result<bool, OfficeError> {
        if one == other {
            return Ok(true);
        }
        let (one, other) = (self.person(one).await?, self.person(other).await?);
        let addresses = |person: &KnownPerson| -> BTreeSet<String> {
            person.mail.iter().map(|mail| mail.trim().to_lowercase()).collect()
        };
        Ok(one.subject == other.subject || !addresses(&one).is_disjoint(&addresses(&other)))
    }
}

pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> OfficeError {
    OfficeError::Invalid { field, why: why.into() }
}

/// Whether a text is one line within bounds.
pub(crate) fn line(field: &'static str, text: &str) -> Result<(), OfficeError> {
    if text.trim().is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(invalid(field, format!("a line of 1 to {MAX_TEXT} bytes is needed")));
    }
    Ok(())
}

fn check(new: &NewPerson) -> Result<(), OfficeError> {
    line("issuer", &new.issuer)?;
    line("subject", &new.subject)?;
    new.name.iter().try_for_each(|name| line("name", name))?;
    new.mail.iter().try_for_each(|mail| line("mail", mail))?;
    if new.mail.len() > MAX_LIST || new.groups.len() > MAX_LIST {
        return Err(invalid("groups", "at most 200 addresses and 200 groups are kept"));
    }
    Ok(())
}

/// What was added and what was taken away.
pub(crate) fn difference<T: Ord + std::fmt::Display>(
    what: &str,
    before: &BTreeSet<T>,
    after: &BTreeSet<T>,
) -> Vec<String> {
    let added = after.difference(before).map(|one| format!("{what} {one} given"));
    let taken = before.difference(after).map(|one| format!("{what} {one} taken away"));
    added.chain(taken).collect()
}

/// Keeps the index of a group's members as the person's entry has it.
pub(crate) fn index_groups(
    change: &mut Change<'_>,
    id: &PersonId,
    before: &BTreeSet<GroupName>,
    after: &BTreeSet<GroupName>,
) -> Result<(), OfficeError> {
    for group in after.difference(before) {
        change.puts.push((warrantor_engine::keys::member(group, id)?, b"{}".to_vec()));
    }
    for group in before.difference(after) {
        change.deletes.push(warrantor_engine::keys::member(group, id)?);
    }
    Ok(())
}
