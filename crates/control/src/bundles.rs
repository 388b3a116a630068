//! Published bundles: revisions with an author and a reason, a history that only grows, and which of them decides where.
//!
//! What is published has passed every check that a start would make of it. Going back is publishing an earlier revision again: nothing is taken out of
//! the history.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use warrantor_bundle::{Loaded, Report, ServerSettings, load_files};
use warrantor_engine::{
    keys,
    registry::{self, Done},
};
use warrantor_model::{
    Digest, EnforcementPoint, Randomness, ServerName, Timestamp,
    record::{BundleRecord, Event, Record},
};
use warrantor_store::{Commit, CommitError, Expect, Key, MAX_VALUE_BYTES, Store, Wanted};

use crate::{
    commit_in_time,
    difference::{Difference, difference},
    fresh_id,
    handover::HandoverError,
    identity, names,
    office::{Authority, Change, Office, OfficeError},
    people::invalid,
};

/// Most enforcement points that one publication names.
const MAX_POINTS: usize = 64;

/// One publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// Its number: the first is 1.
    pub number: u64,
    /// The digest of the bundle's files.
    #[schema(value_type = String)]
    pub revision: Digest,
    /// Who published it, and when.
    #[schema(value_type = Object)]
    pub published: Done,
    /// Why.
    pub reason: String,
    /// The enforcement points that it is for; every one where none is named.
    #[schema(value_type = Vec<String>)]
    pub points: BTreeSet<EnforcementPoint>,
    /// The publication that this one goes back to.
    pub back_to: Option<u64>,
    /// The publication that decided before at its points: of several the latest.
    #[serde(default)]
    pub replaces: Option<u64>,
}

/// Which publication decides where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// How many publications there were.
    last: u64,
    /// The last one that is for every enforcement point.
    everywhere: Option<u64>,
    /// The last one that names an enforcement point.
    points: BTreeMap<EnforcementPoint, u64>,
}

/// What a publication is made of.
pub(crate) struct Announced<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) reason: String,
    pub(crate) points: BTreeSet<EnforcementPoint>,
    pub(crate) back_to: Option<u64>,
}

impl Heads {
    /// The next publication, which decides from here on where it is meant to.
    fn next(&mut self, new: &Announced<'_>, published: Done) -> Publication {
        let replaces = match new.points.is_empty() {
            true => self.everywhere,
            false => new.points.iter().filter_map(|point| self.at(point)).max(),
        };
        self.last = self.last.saturating_add(1);
        match new.points.is_empty() {
            true => {
                self.everywhere = Some(self.last);
                // What was for some is older.
                self.points.clear();
            }
            false => self.points.extend(new.points.iter().map(|point| (point.clone(), self.last))),
        }
        Publication {
            number: self.last,
            revision: new.loaded.revision,
            published,
            reason: new.reason.clone(),
            points: new.points.clone(),
            back_to: new.back_to,
            replaces,
        }
    }

    /// Every publication that decides somewhere, with the points that it decides at: first the one for all of them, then those that came after it.
    #[must_use]
    pub fn stages(&self) -> Vec<(u64, BTreeSet<EnforcementPoint>)> {
        let mut later: BTreeMap<u64, BTreeSet<EnforcementPoint>> = BTreeMap::new();
        for (point, number) in self.points.iter().filter(|(_, number)| Some(**number) > self.everywhere) {
            later.entry(*number).or_default().insert(point.clone());
        }
        self.everywhere.map(|number| (number, BTreeSet::new())).into_iter().chain(later).collect()
    }

    /// The publication that decides at an enforcement point.
    #[must_use]
    pub fn at(&self, point: &EnforcementPoint) -> Option<u64> {
        self.everywhere.max(self.points.get(point).copied())
    }
}

/// What is to be published.
#[derive(Debug)]
pub struct ToPublish {
    /// The files, by their paths within the bundle.
    pub files: Vec<(String, Vec<u8>)>,
    /// Why.
    pub reason: String,
    /// The enforcement points that it is for; every one where none is named.
    pub points: BTreeSet<EnforcementPoint>,
    /// What becomes of servers of which no manifest was approved yet.
    pub unreviewed: Unreviewed,
}

/// What becomes of servers in a bundle of which no manifest was approved yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreviewed {
    /// Whoever publishes may vouch for them.
    Taken,
    /// They have to be reviewed first.
    Refused,
}

/// Why a bundle was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It does not pass its checks.
    #[error("the bundle does not pass its checks: {0}")]
    Faults(Report),
    /// Something else.
    #[error(transparent)]
    Office(#[from] OfficeError),
}

impl From<warrantor_store::KeyError> for PublishError {
    fn from(cause: warrantor_store::KeyError) -> Self {
        Self::Office(cause.into())
    }
}

/// What the registry of servers says of a bundle, and what it must still say when that is published.
#[derive(Debug, Default)]
pub(crate) struct Reviewed {
    /// Servers of which no manifest was approved yet.
    pub(crate) without: Vec<ServerName>,
    pub(crate) expect: Vec<(Key, Expect)>,
}

impl Reviewed {
    /// Whether whoever publishes may vouch for what nobody has reviewed.
    pub(crate) fn vouched_for(&self, unreviewed: Unreviewed) -> Result<(), OfficeError> {
        if unreviewed == Unreviewed::Taken || self.without.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = self.without.iter().map(AsRef::as_ref).collect();
        Err(invalid(
            "files",
            format!("no manifest of {} was approved yet: propose it first", names.join(", ")),
        ))
    }
}

impl<S: Store> Office<S> {
    /// Which publication decides where, and the version of the entry.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn heads(&self) -> Result<(Option<u64>, Heads), OfficeError> {
        let found = self.entry::<Heads>(&names::publication_heads()?).await?;
        Ok(found.map_or((None, Heads::default()), |(version, heads)| (Some(version), heads)))
    }

    /// Publishes a bundle.
    ///
    /// # Errors
    /// [`PublishError`]; nothing is published then.
    pub async fn publish(&self, authority: &Authority, new: ToPublish) -> Result<Publication, PublishError> {
        check_words(&new.reason, &new.points)?;
        if let Some((path, _)) = new.files.iter().find(|(path, _)| path.starts_with("tests/")) {
            let detail =
                format!("{path}: this version runs no tests of bundles, and publishes none untested");
            return Err(PublishError::Office(invalid("files", detail)));
        }
        let loaded = load_beside(new.files).await?.map_err(PublishError::Faults)?;
        let reviewed = self.as_approved(&loaded, new.unreviewed).await?;
        let new = Announced { loaded: &loaded, reason: new.reason, points: new.points, back_to: None };
        self.announce(authority, new, reviewed).await.map_err(Into::into)
    }

    /// Goes back to an earlier publication.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn roll_back(
        &self,
        authority: &Authority,
        number: u64,
        reason: String,
        unreviewed: Unreviewed,
    ) -> Result<Publication, PublishError> {
        let earlier = self.publication(number).await?;
        check_words(&reason, &earlier.points)?;
        let loaded = self.published(&earlier.revision).await?;
        let reviewed = self.as_once_approved(&loaded, unreviewed).await?;
        let new = Announced { loaded: &loaded, reason, points: earlier.points, back_to: Some(number) };
        self.announce(authority, new, reviewed).await.map_err(Into::into)
    }

    async fn announce(
        &self,
        authority: &Authority,
        new: Announced<'_>,
        reviewed: Reviewed,
    ) -> Result<Publication, OfficeError> {
        let (version, mut heads) = self.heads().await?;
        let mut change = Change { expect: reviewed.expect, ..Change::default() };
        let publication = self.add(authority, &new, &mut heads, &mut change).await?;
        change.put(names::publication_heads()?, version, &heads)?;
        let unreviewed = reviewed.without.iter();
        change.said.extend(unreviewed.map(|server| format!("no manifest of {server} was ever approved")));
        change.reason = Some(&new.reason);
        self.act(authority, change).await?;
        Ok(publication)
    }

    /// Adds a publication to what an act changes. Whoever calls puts the heads, once.
    pub(crate) async fn add(
        &self,
        authority: &Authority,
        new: &Announced<'_>,
        heads: &mut Heads,
        change: &mut Change<'_>,
    ) -> Result<Publication, OfficeError> {
        let (evidence, now, loaded) = (authority.evidence(), self.now(), new.loaded);
        nothing_of_a_host(loaded)?;
        // Also of an earlier bundle: somebody of it may have been registered since.
        self.nobody_who_is_registered(loaded).await?;
        if archived(loaded)?.is_none() {
            let detail = format!("a bundle of more than {MAX_VALUE_BYTES} bytes is not published");
            return Err(invalid("files", detail));
        }
        note(&*self.store, loaded, &evidence, now, &*self.randomness).await?;
        let publication = heads.next(new, authority.done(now));
        let number = publication.number;
        change.said.push(match new.back_to {
            Some(earlier) => format!("publication {number}: back to {earlier}, {}", loaded.revision),
            None => format!("publication {number}: {}", loaded.revision),
        });
        change.put(names::publication(number)?, None, &publication)?;
        Ok(publication)
    }

    /// A publication.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when there is none.
    pub async fn publication(&self, number: u64) -> Result<Publication, OfficeError> {
        let unknown = || OfficeError::Unknown { what: "publication", name: number.to_string() };
        Ok(self.entry(&names::publication(number)?).await?.ok_or_else(unknown)?.1)
    }

    /// The publications before one, the latest first.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn publications(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Publication>, OfficeError> {
        let last = self.heads().await?.1.last;
        let mut number = before.map_or(last, |before| before.saturating_sub(1).min(last));
        let mut all = Vec::new();
        while number > 0 && all.len() < limit {
            all.push(self.publication(number).await?);
            number = number.saturating_sub(1);
        }
        Ok(all)
    }

    /// A published bundle, loaded anew from the files that were kept.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Conflict`] when this version of the program does not load it.
    pub async fn published(&self, revision: &Digest) -> Result<Loaded, OfficeError> {
        let unknown = || OfficeError::Unknown { what: "bundle", name: revision.to_string() };
        let found: Option<(u64, Vec<(String, String)>)> = self.entry(&keys::bundle(revision)?).await?;
        let (_, files) = found.filter(|(_, files)| !files.is_empty()).ok_or_else(unknown)?;
        let files = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
        let loaded = load_beside(files)
            .await?
            .map_err(|report| OfficeError::Conflict(format!("{revision} does not load: {report}")))?;
        if loaded.revision != *revision {
            return Err(OfficeError::Conflict(format!(
                "what is kept of {revision} is not what was published"
            )));
        }
        Ok(loaded)
    }

    /// What a publication says differently from another. When none is named: from what decided before where it is for.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn compare(&self, number: u64, against: Option<u64>) -> Result<Differences, OfficeError> {
        let publication = self.publication(number).await?;
        let against = against.or(publication.replaces);
        let after = self.published(&publication.revision).await?;
        let before = match against {
            None => None,
            Some(other) => Some(self.published(&self.publication(other).await?.revision).await?),
        };
        let compared = spawn_blocking(move || difference(before.as_ref(), &after)).await;
        Ok(Differences { against, items: compared.map_err(|cause| stopped(&cause))? })
    }

    /// Of somebody who is registered only the registry tells: a bundle would stand above it, and above the directory that says who has left.
    async fn nobody_who_is_registered(&self, bundle: &Loaded) -> Result<(), OfficeError> {
        for person in bundle.snapshot.own_people() {
            if registry::person(&*self.store, &person.id).await?.is_some() {
                let detail =
                    format!("people.yaml: {} is registered; leave them out of the bundle", person.id);
                return Err(invalid("files", detail));
            }
        }
        Ok(())
    }
}

/// What a publication says differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Differences {
    /// The publication that it was compared with; none before the first.
    pub against: Option<u64>,
    /// Each difference, in words.
    pub items: Vec<Difference>,
}

/// Loads files on a thread of its own: schemas and policies take their time.
pub(crate) async fn load_beside(
    files: Vec<(String, Vec<u8>)>,
) -> Result<Result<Loaded, Report>, OfficeError> {
    spawn_blocking(move || load_files(files)).await.map_err(|cause| stopped(&cause))
}

pub(crate) fn stopped(cause: &tokio::task::JoinError) -> OfficeError {
    OfficeError::Conflict(format!("the bundle could not be looked at: {cause}"))
}

/// Whoever may publish says what is permitted, not which programs run on the machines of gateways and what those are given to read.
fn nothing_of_a_host(bundle: &Loaded) -> Result<(), OfficeError> {
    let of_a_host = |settings: &ServerSettings| {
        !settings.env.is_empty() || !settings.pass.is_empty() || settings.cwd.is_some()
    };
    match bundle.config.servers.iter().find(|(_, settings)| of_a_host(settings)) {
        None => Ok(()),
        Some((server, _)) => Err(invalid(
            "files",
            format!(
                "warrantor.toml: `env`, `pass` and `cwd` of {server} belong to the machine that starts it, and are not published"
            ),
        )),
    }
}

fn check_words(reason: &str, points: &BTreeSet<EnforcementPoint>) -> Result<(), OfficeError> {
    if reason.trim().is_empty() || reason.len() > 1000 || reason.chars().any(char::is_control) {
        return Err(invalid("reason", "say in a line of at most 1000 bytes why"));
    }
    if points.len() > MAX_POINTS {
        return Err(invalid("points", format!("at most {MAX_POINTS} are named at once")));
    }
    Ok(())
}

/// Makes a bundle's revision known: binds who is in it, and keeps its files, so that what is decided on it can be decided again.
pub(crate) async fn note<S: Store>(
    store: &S,
    bundle: &Loaded,
    evidence: &str,
    now: Timestamp,
    randomness: &dyn Randomness,
) -> Result<(), HandoverError> {
    // A mandate of one person must never become another's because two files give two people one name.
    identity::bind_bundle(store, &bundle.snapshot, evidence, now, randomness).await?;
    let key = keys::bundle(&bundle.revision)?;
    let wanted = Wanted { entries: [key.clone()].into(), ..Wanted::default() };
    if store.read(&wanted).await?.entries.contains_key(&key) {
        return Ok(());
    }
    let archive = archived(bundle)?;
    let event = Event::Bundle(BundleRecord {
        revision: bundle.revision,
        files: u64::try_from(bundle.archive.len()).unwrap_or(u64::MAX),
        kept: archive.is_some(),
        evidence: evidence.to_owned(),
    });
    let mut commit = Commit::new(Record::new(fresh_id("b", now, randomness)?, now, event));
    commit.expect.push((key.clone(), Expect::Absent));
    commit.puts.push((key, archive.unwrap_or_else(|| b"[]".to_vec())));
    match commit_in_time(store, commit).await {
        // Another process was first.
        Ok(_) | Err(CommitError::Moved { .. }) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

/// The files as they are kept; none of a bundle that is too large for it.
fn archived(bundle: &Loaded) -> Result<Option<Vec<u8>>, serde_json::Error> {
    let files: Vec<(&str, Cow<'_, str>)> =
        bundle.archive.iter().map(|(path, bytes)| (path.as_str(), String::from_utf8_lossy(bytes))).collect();
    let bytes = serde_json::to_vec(&files)?;
    Ok((bytes.len() <= MAX_VALUE_BYTES).then_some(bytes))
}
