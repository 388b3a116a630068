//! People and groups as a directory provisions them (SCIM 2.0): what RFC 7643 and 7644 mean here. The protocol itself is the interface's.
//!
//! A directory speaks for one issuer and sees nobody of another. That it deactivates somebody is a stop of its own ([`Subject::InDirectory`]): it reaches
//! every process at once, and is lifted by nobody but the directory.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use warrantor_engine::{
    StoredStanding,
    registry::{self, StoredPerson},
};
use warrantor_model::{GroupName, PersonId, Subject, Timestamp};
use warrantor_store::{Expect, Key, MAX_PAGE, Store, Wanted};

use crate::{
    ATTEMPTS,
    access::{DirectorySettings, SubjectAttribute},
    names,
    office::{Authority, Change, Office, OfficeError},
    people::{MAX_LIST, index_groups, invalid, line},
};

/// Most members whose groups are changed in one commit.
const MEMBERS_AT_ONCE: usize = 100;
/// Most members that one request may name.
pub const MAX_MEMBERS: usize = 10_000;

/// A person as a directory tells one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserDraft {
    /// `userName`.
    pub user_name: String,
    /// `externalId`.
    pub external_id: Option<String>,
    /// `displayName`, or what `name` makes of it.
    pub display_name: Option<String>,
    /// `emails`, the primary one first.
    pub mail: Vec<String>,
    /// `active`.
    pub active: bool,
}

/// A person as a directory provisioned one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredUser {
    /// The issuer that the directory speaks for.
    pub issuer: String,
    /// What it told.
    pub told: UserDraft,
    /// When it first did.
    pub created: Timestamp,
    /// When it last did.
    pub changed: Timestamp,
}

/// A group as a directory provisioned one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredGroup {
    /// The issuer that the directory speaks for.
    pub issuer: String,
    /// `displayName`.
    pub display_name: String,
    /// `externalId`.
    pub external_id: Option<String>,
    /// The name that policies have for it.
    pub name: GroupName,
    /// When it was first told.
    pub created: Timestamp,
    /// When it was last changed.
    pub changed: Timestamp,
}

/// The version, the id, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned<I, T> {
    /// The id.
    pub id: I,
    /// The version of the entry.
    pub version: u64,
    /// What stands there.
    pub what: T,
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserBy {
    /// `userName`, without regard to case.
    UserName(String),
    /// `externalId`.
    ExternalId(String),
}

impl DirectorySettings {
    fn subject(&self, draft: &UserDraft) -> Result<String, OfficeError> {
        let subject = match self.subject {
            SubjectAttribute::UserName => Some(draft.user_name.clone()),
            SubjectAttribute::ExternalId => draft.external_id.clone(),
        };
        subject
            .ok_or_else(|| invalid("externalId", "it is the person's key here: the directory must send it"))
    }
}

impl<S: Store> Office<S> {
    /// A person of a directory.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn directory_user(
        &self,
        directory: &DirectorySettings,
        id: &PersonId,
    ) -> Result<Provisioned<PersonId, StoredUser>, OfficeError> {
        let unknown = || OfficeError::Unknown { what: "user", name: id.to_string() };
        let entry: Option<(u64, StoredUser)> = self.entry(&names::directory_user(id)?).await?;
        let (version, what) =
            entry.filter(|(_, user)| user.issuer == directory.issuer).ok_or_else(unknown)?;
        Ok(Provisioned { id: id.clone(), version, what })
    }

    /// The person of a directory that has a name; none when there is none.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn directory_user_by(
        &self,
        directory: &DirectorySettings,
        by: &UserBy,
    ) -> Result<Option<Provisioned<PersonId, StoredUser>>, OfficeError> {
        let key = match by {
            UserBy::UserName(name) => names::user_name(&directory.issuer, name)?,
            UserBy::ExternalId(id) => names::external_id(&directory.issuer, id)?,
        };
        let Some((_, id)) = self.entry::<PersonId>(&key).await? else { return Ok(None) };
        self.directory_user(directory, &id).await.map(Some)
    }

    /// Every person of a directory from a place on, and how many there are.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn directory_users(
        &self,
        directory: &DirectorySettings,
        from: usize,
        count: usize,
    ) -> Result<(usize, Vec<Provisioned<PersonId, StoredUser>>), OfficeError> {
        self.listed(&names::directory_users()?, from, count, |_, user: &StoredUser| {
            user.issuer == directory.issuer
        })
        .await
    }

    /// Those of a directory's entries that are its own, from a place on, and how many there are.
    async fn listed<I: std::str::FromStr, T: serde::de::DeserializeOwned>(
        &self,
        under: &Key,
        from: usize,
        count: usize,
        is_own: impl Fn(&str, &T) -> bool,
    ) -> Result<(usize, Vec<Provisioned<I, T>>), OfficeError> {
        let (mut total, mut found, mut after) = (0usize, Vec::new(), None);
        loop {
            let page = self.store.scan(under, after.as_ref(), MAX_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok((total, found)) };
            after = Some(last.clone());
            for (key, entry) in &page {
                let what: T = registry::decode(key, entry)?;
                let name = key.as_str().rsplit_once('/').map_or("", |(_, name)| name);
                if let Some(id) = name.parse().ok().filter(|_| is_own(name, &what)) {
                    if total >= from && found.len() < count {
                        found.push(Provisioned { id, version: entry.version, what });
                    }
                    total = total.saturating_add(1);
                }
            }
        }
    }

    /// Takes in a person whom a directory did not tell of before. One who signed in earlier, or stands in the bundle, is the same person.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] when the directory has told of the person, or of the name, already.
    pub async fn provision(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        draft: UserDraft,
    ) -> Result<Provisioned<PersonId, StoredUser>, OfficeError> {
        check(&draft)?;
        let subject = directory.subject(&draft)?;
        line("subject", &subject)?;
        let taken = || {
            OfficeError::Conflict(
                "there is a user of this userName, externalId or subject already".to_owned(),
            )
        };
        let now = self.now();
        let id = match self.who(&directory.issuer, &subject).await? {
            Some(id) => id,
            None => self.fresh_person(Some(&draft.user_name))?,
        };
        // Looked at before anybody is stopped: what is refused changes nothing.
        if self.entry::<StoredUser>(&names::directory_user(&id)?).await?.is_some() {
            return Err(taken());
        }
        for by in [
            Some(UserBy::UserName(draft.user_name.clone())),
            draft.external_id.clone().map(UserBy::ExternalId),
        ] {
            if let Some(by) = by
                && self.directory_user_by(directory, &by).await?.is_some()
            {
                return Err(taken());
            }
        }
        let mut change = Change { said: vec![told_words(&id, None, &draft)], ..Change::default() };
        let user = StoredUser { issuer: directory.issuer.clone(), told: draft, created: now, changed: now };
        change.put(names::directory_user(&id)?, None, &user)?;
        claim_names(&mut change, directory, &id, None, &user.told)?;
        let is_there =
            self.snapshot().person(&id).is_some() || registry::person(&*self.store, &id).await?.is_some();
        if !is_there {
            let person = StoredPerson {
                issuer: directory.issuer.clone(),
                subject: subject.clone(),
                name: user.told.display_name.clone(),
                mail: user.told.mail.iter().cloned().collect(),
                handles: BTreeMap::new(),
                told_groups: BTreeSet::new(),
                given_groups: BTreeSet::new(),
                directory_groups: BTreeSet::new(),
                left: None,
                registered: authority.done(now),
            };
            change.put(warrantor_engine::keys::person(&id)?, None, &person)?;
        }
        self.bind(&mut change, &id, &directory.issuer, &subject).await?;
        self.stand(authority, &id, user.told.active, change, "not active in the directory").await?;
        self.tell_person(authority, &id, &user.told).await?;
        self.directory_user(directory, &id).await
    }

    /// Takes in what a directory tells of a person now: what `become_it` makes of what it told before.
    ///
    /// # Errors
    /// [`OfficeError`], those of `become_it` among them.
    pub async fn provision_again<E: From<OfficeError>>(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        id: &PersonId,
        become_it: impl Fn(&UserDraft) -> Result<UserDraft, E>,
    ) -> Result<Provisioned<PersonId, StoredUser>, E> {
        for _ in 0..ATTEMPTS {
            let before = self.directory_user(directory, id).await?;
            let draft = become_it(&before.what.told)?;
            check(&draft)?;
            if directory.subject(&draft)? != directory.subject(&before.what.told)? {
                let field = match directory.subject {
                    SubjectAttribute::ExternalId => "externalId",
                    SubjectAttribute::UserName => "userName",
                };
                return Err(invalid(
                    field,
                    "it is the person's key here and cannot change: provision another user",
                )
                .into());
            }
            if names_moved(&before.what.told, &draft) {
                self.names_are_free(directory, id, &draft).await?;
            }
            let said = told_words(id, Some(&before.what.told), &draft);
            let mut change = Change { said: vec![said], ..Change::default() };
            let user = StoredUser { told: draft.clone(), changed: self.now(), ..before.what.clone() };
            change.put(names::directory_user(id).map_err(OfficeError::from)?, Some(before.version), &user)?;
            claim_names(&mut change, directory, id, Some(&before.what.told), &draft)?;
            match self.stand(authority, id, draft.active, change, "deactivated in the directory").await {
                Ok(()) => {
                    self.tell_person(authority, id, &draft).await?;
                    return Ok(self.directory_user(directory, id).await?);
                }
                Err(OfficeError::Contended) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Err(OfficeError::Contended.into())
    }

    async fn names_are_free(
        &self,
        directory: &DirectorySettings,
        id: &PersonId,
        draft: &UserDraft,
    ) -> Result<(), OfficeError> {
        let by = [
            Some(UserBy::UserName(draft.user_name.clone())),
            draft.external_id.clone().map(UserBy::ExternalId),
        ];
        for by in by.into_iter().flatten() {
            if self.directory_user_by(directory, &by).await?.is_some_and(|other| other.id != *id) {
                return Err(OfficeError::Conflict("another user has this userName or externalId".to_owned()));
            }
        }
        Ok(())
    }

    /// Commits a change together with where the person stands in the directory, so that the two never tell different things. A stop goes to the stop
    /// file first: it reaches every process at once.
    async fn stand(
        &self,
        authority: &Authority,
        id: &PersonId,
        active: bool,
        mut change: Change<'_>,
        reason: &str,
    ) -> Result<(), OfficeError> {
        let subject = Subject::InDirectory(id.clone());
        let key = warrantor_engine::keys::standing(&subject)?;
        let before: Option<(u64, StoredStanding)> = self.entry(&key).await?;
        let now = self.now();
        if !active {
            self.stop_in_file(&subject, now);
        }
        match before {
            // Nobody was ever stopped, and nobody is.
            None if active => change.expect.push((key, Expect::Absent)),
            before => {
                let same = before.as_ref().is_some_and(|(_, before)| before.stopped != active);
                let since = before.as_ref().filter(|_| same).map_or(now, |(_, before)| before.since);
                let reason = Some(if active { "active in the directory" } else { reason }.to_owned());
                let standing = StoredStanding { stopped: !active, since, reason };
                change.put(key, before.map(|(version, _)| version), &standing)?;
            }
        }
        self.act(authority, change).await?;
        match active {
            // Only now: as long as the file has it, it stands.
            true => self.stop.clear(&subject)?,
            // Once more: whoever lifted an earlier stop may have cleared this one too. Then it may go when there is no room.
            false => {
                self.stop_in_file(&subject, now);
                if let Err(cause) = self.stop.absorbed(&subject, now) {
                    tracing::warn!(%cause, "a stop stays in the stop file");
                }
            }
        }
        Ok(())
    }

    /// A stop that the file does not take stands all the same once it is committed; what is on its way out by then is not held.
    fn stop_in_file(&self, subject: &Subject, now: Timestamp) {
        if let Err(cause) = self.stop.stop(subject, now) {
            tracing::error!(%cause, %subject, "the stop file does not take a stop; the store will");
        }
    }

    /// A directory does not know a person any more. The person is stopped until it does.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn deprovision(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        id: &PersonId,
    ) -> Result<(), OfficeError> {
        for _ in 0..ATTEMPTS {
            let user = self.directory_user(directory, id).await?;
            let mut change = Change { said: vec![format!("{id} deleted")], ..Change::default() };
            let key = names::directory_user(id)?;
            change.expect.push((key.clone(), Expect::Version(user.version)));
            change.deletes.push(key);
            change.deletes.push(names::user_name(&directory.issuer, &user.what.told.user_name)?);
            if let Some(external) = &user.what.told.external_id {
                change.deletes.push(names::external_id(&directory.issuer, external)?);
            }
            // Whoever comes back is put in groups anew.
            if let Some((version, mut person)) = registry::person(&*self.store, id).await? {
                let before = person.groups();
                person.directory_groups.clear();
                change.put(warrantor_engine::keys::person(id)?, Some(version), &person)?;
                index_groups(&mut change, id, &before, &person.groups())?;
            }
            match self.stand(authority, id, false, change, "deleted in the directory").await {
                Err(OfficeError::Contended) => {}
                other => return other,
            }
        }
        Err(OfficeError::Contended)
    }

    /// What a directory tells of a person of the registry; what the bundle says of its own people stands.
    async fn tell_person(
        &self,
        authority: &Authority,
        id: &PersonId,
        told: &UserDraft,
    ) -> Result<(), OfficeError> {
        if self.snapshot().person(id).is_some() {
            return Ok(());
        }
        self.change_person(authority, id, |stored| {
            stored.name = told.display_name.clone().or(stored.name.take());
            stored.mail = told.mail.iter().cloned().collect();
            vec!["what the directory told".to_owned()]
        })
        .await
    }

    /// A group of a directory.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn directory_group(
        &self,
        directory: &DirectorySettings,
        id: &str,
    ) -> Result<Provisioned<String, StoredGroup>, OfficeError> {
        let unknown = || OfficeError::Unknown { what: "group", name: id.to_owned() };
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(unknown());
        }
        let entry: Option<(u64, StoredGroup)> = self.entry(&names::directory_group(id)?).await?;
        let (version, what) =
            entry.filter(|(_, group)| group.issuer == directory.issuer).ok_or_else(unknown)?;
        Ok(Provisioned { id: id.to_owned(), version, what })
    }

    /// Every group of a directory from a place on, and how many there are.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn directory_groups(
        &self,
        directory: &DirectorySettings,
        from: usize,
        count: usize,
        matches: impl Fn(&str, &StoredGroup) -> bool,
    ) -> Result<(usize, Vec<Provisioned<String, StoredGroup>>), OfficeError> {
        self.listed(&names::directory_groups()?, from, count, |id, group: &StoredGroup| {
            group.issuer == directory.issuer && matches(id, group)
        })
        .await
    }

    /// Whom a directory has put in a group. What others put in, administrators or tokens, is not the directory's to see.
    ///
    /// # Errors
    /// [`OfficeError`]; a group of more than [`MAX_MEMBERS`] members is not told.
    pub async fn members(
        &self,
        directory: &DirectorySettings,
        group: &GroupName,
    ) -> Result<BTreeSet<PersonId>, OfficeError> {
        let limit = MAX_MEMBERS.saturating_add(1);
        let ids: Vec<PersonId> = self.ids(&warrantor_engine::keys::members(group)?, None, limit).await?;
        if ids.len() > MAX_MEMBERS {
            return Err(invalid("members", format!("the group has more than {MAX_MEMBERS} members")));
        }
        let mut members = BTreeSet::new();
        for some in ids.chunks(MEMBERS_AT_ONCE) {
            let keys: BTreeMap<Key, &PersonId> = some
                .iter()
                .map(|id| Ok((warrantor_engine::keys::person(id)?, id)))
                .collect::<Result<_, OfficeError>>()?;
            let wanted = Wanted { entries: keys.keys().cloned().collect(), ..Wanted::default() };
            let view = self.store.read(&wanted).await?;
            for (key, id) in keys {
                let Some(entry) = view.entries.get(&key) else { continue };
                let person: StoredPerson = registry::decode(&key, entry)?;
                if person.issuer == directory.issuer && person.directory_groups.contains(group) {
                    members.insert(id.clone());
                }
            }
        }
        Ok(members)
    }

    /// Takes in a group.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] when a group has the name already, or one that policies could not tell from it.
    pub async fn provision_group(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        display_name: &str,
        external_id: Option<String>,
        members: &BTreeSet<PersonId>,
    ) -> Result<Provisioned<String, StoredGroup>, OfficeError> {
        line("displayName", display_name)?;
        external_id.iter().try_for_each(|id| line("externalId", id))?;
        let name = group_name(display_name)?;
        self.known_members(directory, members).await?;
        let mut random = [0; 8];
        self.randomness.fill(&mut random)?;
        let id = format!("g-{}", hex::encode(random));
        let now = self.now();
        let group = StoredGroup {
            issuer: directory.issuer.clone(),
            display_name: display_name.to_owned(),
            external_id,
            name: name.clone(),
            created: now,
            changed: now,
        };
        let mut change = Change { said: vec![format!("group {name} provisioned")], ..Change::default() };
        change.put(names::directory_group(&id)?, None, &group)?;
        change.put(names::group_name(name.as_str())?, None, &id)?;
        match self.act(authority, change).await {
            Err(OfficeError::Contended) => {
                return Err(OfficeError::Conflict(format!("there is a group {name} already")));
            }
            other => other?,
        };
        self.change_members(authority, directory, &name, members, &BTreeSet::new()).await?;
        self.directory_group(directory, &id).await
    }

    /// Changes what a group is called. The name that policies have for it stays: they would quietly mean another group else.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn rename_group(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        id: &str,
        display_name: &str,
        external_id: Option<String>,
    ) -> Result<(), OfficeError> {
        line("displayName", display_name)?;
        external_id.iter().try_for_each(|id| line("externalId", id))?;
        let before = self.directory_group(directory, id).await?;
        let what = StoredGroup {
            display_name: display_name.to_owned(),
            external_id,
            changed: self.now(),
            ..before.what.clone()
        };
        if what.display_name == before.what.display_name && what.external_id == before.what.external_id {
            return Ok(());
        }
        if group_name(display_name)? != what.name {
            return Err(invalid(
                "displayName",
                format!("policies know the group as {}: provision another group", what.name),
            ));
        }
        let mut change = Change { said: vec![format!("group {} changed", what.name)], ..Change::default() };
        change.put(names::directory_group(id)?, Some(before.version), &what)?;
        self.act(authority, change).await.map(drop)
    }

    /// A directory does not know a group any more: nobody is in it.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn deprovision_group(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        id: &str,
    ) -> Result<(), OfficeError> {
        let group = self.directory_group(directory, id).await?;
        let members = self.members(directory, &group.what.name).await?;
        self.change_members(authority, directory, &group.what.name, &BTreeSet::new(), &members).await?;
        let mut change =
            Change { said: vec![format!("group {} deleted", group.what.name)], ..Change::default() };
        let key = names::directory_group(id)?;
        change.expect.push((key.clone(), Expect::Version(group.version)));
        change.deletes = vec![key, names::group_name(group.what.name.as_str())?];
        self.act(authority, change).await.map(drop)
    }

    /// Every member that is named must be one of the directory.
    async fn known_members(
        &self,
        directory: &DirectorySettings,
        members: &BTreeSet<PersonId>,
    ) -> Result<(), OfficeError> {
        if members.len() > MAX_MEMBERS {
            return Err(invalid("members", format!("at most {MAX_MEMBERS} can be named at once")));
        }
        for member in members {
            self.directory_user(directory, member).await.map_err(|cause| match cause {
                OfficeError::Unknown { .. } => invalid("members", format!("there is no user {member}")),
                cause => cause,
            })?;
        }
        Ok(())
    }

    /// Takes persons out of a group and puts others in, out first. Each of the commits is whole; a failure between them is told, and asking again goes on.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn change_members(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        group: &GroupName,
        add: &BTreeSet<PersonId>,
        remove: &BTreeSet<PersonId>,
    ) -> Result<(), OfficeError> {
        self.known_members(directory, add).await?;
        for (who, put_in) in [(remove, false), (add, true)] {
            let who: Vec<&PersonId> = who.iter().collect();
            for some in who.chunks(MEMBERS_AT_ONCE) {
                self.change_some(authority, directory, group, some, put_in).await?;
            }
        }
        Ok(())
    }

    async fn change_some(
        &self,
        authority: &Authority,
        directory: &DirectorySettings,
        group: &GroupName,
        who: &[&PersonId],
        put_in: bool,
    ) -> Result<(), OfficeError> {
        for attempt in 1.. {
            let mut change = Change::default();
            for id in who {
                // The groups of the bundle's own people stand in the bundle.
                let Some((version, mut stored)) = registry::person(&*self.store, id).await? else { continue };
                if stored.issuer != directory.issuer {
                    continue;
                }
                let before = stored.clone();
                if put_in {
                    stored.directory_groups.insert(group.clone());
                } else {
                    stored.directory_groups.remove(group);
                }
                if stored == before {
                    continue;
                }
                change.said.push(format!("{id} {} {group}", if put_in { "put in" } else { "taken out of" }));
                change.put(warrantor_engine::keys::person(id)?, Some(version), &stored)?;
                index_groups(&mut change, id, &before.groups(), &stored.groups())?;
            }
            if change.puts.is_empty() {
                return Ok(());
            }
            match self.act(authority, change).await {
                Err(OfficeError::Contended) if attempt < ATTEMPTS => {}
                other => return other.map(drop),
            }
        }
        Err(OfficeError::Contended)
    }
}

fn check(draft: &UserDraft) -> Result<(), OfficeError> {
    line("userName", &draft.user_name)?;
    draft.external_id.iter().try_for_each(|id| line("externalId", id))?;
    draft.display_name.iter().try_for_each(|name| line("displayName", name))?;
    draft.mail.iter().try_for_each(|mail| line("emails", mail))?;
    if draft.mail.len() > MAX_LIST {
        return Err(invalid("emails", format!("at most {MAX_LIST} are kept")));
    }
    Ok(())
}

/// Claims the names that a person has in a directory, and lets go of those of before.
fn claim_names(
    change: &mut Change<'_>,
    directory: &DirectorySettings,
    id: &PersonId,
    before: Option<&UserDraft>,
    now: &UserDraft,
) -> Result<(), OfficeError> {
    let issuer = &directory.issuer;
    let keys = |draft: &UserDraft| -> Result<BTreeSet<Key>, OfficeError> {
        let mut keys = BTreeSet::from([names::user_name(issuer, &draft.user_name)?]);
        if let Some(external) = &draft.external_id {
            keys.insert(names::external_id(issuer, external)?);
        }
        Ok(keys)
    };
    let before = before.map(keys).transpose()?.unwrap_or_default();
    let now = keys(now)?;
    for key in now.difference(&before) {
        change.put(key.clone(), None, id)?;
    }
    change.deletes.extend(before.difference(&now).cloned());
    Ok(())
}

fn names_moved(before: &UserDraft, now: &UserDraft) -> bool {
    before.user_name != now.user_name || before.external_id != now.external_id
}

/// The name that policies have for a group: spaces become `-`. A name with anything else in it that no name has is refused rather than bent: two groups
/// must not become one.
fn group_name(display_name: &str) -> Result<GroupName, OfficeError> {
    GroupName::new(display_name.trim().replace(' ', "-"))
        .map_err(|cause| invalid("displayName", cause.to_string()))
}

/// What changed of a person, in words.
fn told_words(id: &PersonId, before: Option<&UserDraft>, now: &UserDraft) -> String {
    match (before.map(|before| before.active), now.active) {
        (None, true) => format!("{id} provisioned"),
        (None, false) => format!("{id} provisioned, not active"),
        (Some(true), false) => format!("{id} deactivated"),
        (Some(false), true) => format!("{id} active again"),
        (Some(_), _) if before == Some(now) => format!("{id} told again"),
        (Some(_), _) => format!("{id} changed"),
    }
}
