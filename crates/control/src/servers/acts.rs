//! What is done with servers. Whatever was ruled on a view of a manifest changes that view's entries and nothing newer.

use serde::Serialize;
use tokio::task::spawn_blocking;
use warrantor_bundle::draft;
use warrantor_model::{Digest, ServerName, Subject};
use warrantor_store::{Expect, Store};

use super::{
    KnownManifest, KnownServer, ManifestStanding, ManifestState, StoredManifest, StoredServer, effects_of,
    files_of, paths,
};
use crate::{
    bundles::{Announced, Publication, PublishError, load_beside, stopped},
    names,
    office::{Authority, Change, Office, OfficeError},
    people::{invalid, line},
};

/// Most bytes of a manifest and of its definitions.
const MAX_TEXT: usize = 1 << 20;

/// A manifest to be proposed. What is left out is taken from what describes the server now.
#[derive(Debug, Default)]
pub struct NewManifest {
    /// The manifest. Without one the rules of now are drafted over the definitions; of a server that nothing describes everything is guessed.
    pub manifest: Option<String>,
    /// The server's own definitions. With neither of the two it is drafted over what the server was seen to offer.
    pub definitions: Option<String>,
    /// Why.
    pub reason: String,
}

/// A manifest that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Approved {
    /// The manifest.
    pub manifest: KnownManifest,
    /// What was published with it; nothing as long as no bundle is.
    pub publications: Vec<Publication>,
}

impl<S: Store> Office<S> {
    /// Proposes a manifest. Until it is approved, what was approved or published before stands.
    ///
    /// # Errors
    /// [`PublishError::Faults`] for one that does not pass its checks.
    pub async fn propose_manifest(
        &self,
        authority: &Authority,
        name: &ServerName,
        new: NewManifest,
    ) -> Result<KnownManifest, PublishError> {
        line("reason", &new.reason)?;
        let texts = [("manifest", &new.manifest), ("definitions", &new.definitions)];
        if let Some((field, _)) =
            texts.iter().find(|(_, text)| text.as_ref().is_some_and(|t| t.len() > MAX_TEXT))
        {
            return Err(invalid(field, format!("at most {MAX_TEXT} bytes are taken")).into());
        }
        let (manifest, definitions) = self.texts(name, new.manifest, new.definitions).await?;
        let loaded = load_beside(files_of(name, &manifest, &definitions).into()).await?;
        let loaded = loaded.map_err(PublishError::Faults)?;
        let Some(described) =
            loaded.snapshot.manifest(name).filter(|_| loaded.described.get(name) == Some(&paths(name)))
        else {
            let detail = format!("it has to say `server: {name}` and `definitions: {name}.tools.json`");
            return Err(invalid("manifest", detail).into());
        };
        let effects = effects_of(described).union(self.effects_so_far(name).await?);
        let (version, mut server) = match self.stored_server(name).await? {
            Some((version, server)) => (Some(version), server),
            None => (None, StoredServer::default()),
        };
        server.last = server.last.saturating_add(1);
        let number = server.last;
        let stored = StoredManifest {
            manifest,
            definitions,
            proposed: authority.done(self.now()),
            reason: new.reason.clone(),
            effects: effects.iter().collect(),
            base: server.approved,
            state: ManifestState::Proposed,
        };
        let said = vec![format!("manifest {number} proposed: {}", stored.digest()?)];
        let mut change = Change { said, reason: Some(&new.reason), ..Change::default() };
        change.put(names::manifest(name, number)?, None, &stored)?;
        change.put(names::server(name)?, version, &server)?;
        self.act(authority, change).await?;
        Ok(self.manifest(name, number).await?)
    }

    /// The two texts of a proposal, what was left out filled in.
    async fn texts(
        &self,
        name: &ServerName,
        manifest: Option<String>,
        definitions: Option<String>,
    ) -> Result<(String, String), PublishError> {
        let current = match (&manifest, &definitions) {
            (Some(_), Some(_)) => None,
            _ => self.current(name).await?,
        };
        Ok(match (manifest, definitions, current) {
            (Some(manifest), Some(definitions), _) => (manifest, definitions),
            (Some(manifest), None, Some((_, _, definitions))) => (manifest, definitions),
            (Some(_), None, None) => {
                let detail =
                    format!("nothing describes {name} yet: send what it answers to `tools/list` too");
                return Err(invalid("definitions", detail).into());
            }
            (None, Some(said), Some((_, manifest, definitions))) => {
                self.redraft(name, manifest, definitions, said).await?
            }
            (None, Some(said), None) => {
                let server = name.clone();
                let drafted = spawn_blocking(move || draft(&server, said.as_bytes(), None, None)).await;
                let drafted = drafted.map_err(|cause| PublishError::Office(stopped(&cause)))?;
                let drafted = drafted.map_err(PublishError::Faults)?;
                (drafted.manifest, drafted.definitions)
            }
            (None, None, _) => self.redrafted(name).await?,
        })
    }

    /// Approves a manifest as it was seen, of this digest: it takes the place of what described the server, wherever a bundle is published that did. Of a
    /// server that none describes it is added to every bundle that decides somewhere.
    ///
    /// # Errors
    /// [`PublishError::Faults`] when a bundle does not pass its checks with it; nothing is approved then.
    pub async fn approve_manifest(
        &self,
        authority: &Authority,
        seen: &KnownManifest,
        approved: &Digest,
    ) -> Result<Approved, PublishError> {
        let (name, number) = (&seen.server, seen.number);
        let mut stored = self.as_seen_manifest(seen).await?;
        if stored.digest()? != *approved {
            let detail = format!("manifest {number} of {name} is not what was seen: look at it again");
            return Err(OfficeError::Conflict(detail).into());
        }
        match seen.standing {
            ManifestStanding::Review => {}
            ManifestStanding::Draft => {
                let detail = format!(
                    "{} guesses in manifest {number} of {name} wait for somebody to look at them: propose it again without the marks",
                    seen.guesses
                );
                return Err(OfficeError::Conflict(detail).into());
            }
            ManifestStanding::Approved | ManifestStanding::Rejected => {
                let detail = format!("manifest {number} of {name} was {}", seen.standing.as_str());
                return Err(OfficeError::Conflict(detail).into());
            }
        }
        let (_, mut server) = self.stored_server(name).await?.ok_or(OfficeError::Contended)?;
        // What anybody saw of its differences was against what had been approved then.
        if let Some(later) = server.approved.filter(|_| server.approved != stored.base) {
            let detail = format!("manifest {later} of {name} was approved since: propose this one again");
            return Err(OfficeError::Conflict(detail).into());
        }
        server.approved = Some(number);
        stored.state = ManifestState::Approved { approved: authority.done(self.now()) };
        let reason = format!("manifest {number} of {name} was approved: {}", stored.reason);
        let said = vec![format!("manifest {number} approved: {approved}")];
        let mut change = Change { said, reason: Some(&reason), ..Change::default() };
        change.put(names::manifest(name, number)?, Some(seen.seen.manifest), &stored)?;
        change.put(names::server(name)?, Some(seen.seen.server), &server)?;
        let publications = self.with_manifest(authority, name, &stored, &reason, &mut change).await?;
        self.act(authority, change).await?;
        Ok(Approved { manifest: self.manifest(name, number).await?, publications })
    }

    /// Publishes every bundle anew that the manifest belongs into.
    async fn with_manifest(
        &self,
        authority: &Authority,
        name: &ServerName,
        stored: &StoredManifest,
        reason: &str,
        change: &mut Change<'_>,
    ) -> Result<Vec<Publication>, PublishError> {
        let (version, mut heads) = self.heads().await?;
        let mut stages = Vec::new();
        for (number, points) in heads.stages() {
            let bundle = self.published(&self.publication(number).await?.revision).await?;
            stages.push((points, bundle));
        }
        let is_new = !stages.iter().any(|(_, bundle)| bundle.described.contains_key(name));
        let mut publications = Vec::new();
        // A publication for every point takes the place of those for some: they are published again.
        let mut again = false;
        for (points, before) in stages {
            let belongs = is_new || before.described.contains_key(name);
            if !belongs && !again {
                continue;
            }
            again |= points.is_empty();
            let taken = before.described.iter().find(|(other, described)| {
                *other != name
                    && [&described.manifest, &described.definitions]
                        .iter()
                        .any(|path| **path == paths(name).manifest || **path == paths(name).definitions)
            });
            if let Some((other, _)) = taken.filter(|_| belongs) {
                let detail = format!(
                    "a bundle has the manifest of {other} in the files of {name}: give it files of its own name first"
                );
                return Err(OfficeError::Conflict(detail).into());
            }
            let mut files = before.archive;
            if belongs {
                let old = before.described.get(name);
                let replaced = |path: &str| {
                    old.is_some_and(|old| path == old.manifest || path == old.definitions)
                        || path == paths(name).manifest
                        || path == paths(name).definitions
                };
                files.retain(|(path, _)| !replaced(path));
                files.extend(files_of(name, &stored.manifest, &stored.definitions));
            }
            let loaded = load_beside(files).await?.map_err(PublishError::Faults)?;
            let new = Announced { loaded: &loaded, reason: reason.to_owned(), points, back_to: None };
            publications.push(self.add(authority, &new, &mut heads, change).await?);
        }
        let key = names::publication_heads()?;
        match publications.is_empty() {
            false => change.put(key, version, &heads)?,
            // What is published meanwhile is not what was looked at.
            true => change.expect.push((key, version.map_or(Expect::Absent, Expect::Version))),
        }
        Ok(publications)
    }

    /// Turns a manifest down.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn reject_manifest(
        &self,
        authority: &Authority,
        seen: &KnownManifest,
        reason: &str,
    ) -> Result<KnownManifest, OfficeError> {
        line("reason", reason)?;
        let mut stored = self.as_seen_manifest(seen).await?;
        let (name, number) = (&seen.server, seen.number);
        if !matches!(stored.state, ManifestState::Proposed) {
            return Err(OfficeError::Conflict(format!(
                "manifest {number} of {name} was {}",
                seen.standing.as_str()
            )));
        }
        let rejected = authority.done(self.now());
        stored.state = ManifestState::Rejected { rejected, reason: reason.to_owned() };
        let said = vec![format!("manifest {number} rejected")];
        let mut change = Change { said, reason: Some(reason), ..Change::default() };
        change.put(names::manifest(name, number)?, Some(seen.seen.manifest), &stored)?;
        self.act(authority, change).await?;
        self.manifest(name, number).await
    }

    /// The manifest, if it and the server are still what was seen.
    async fn as_seen_manifest(&self, seen: &KnownManifest) -> Result<StoredManifest, OfficeError> {
        let (version, stored) = self.stored_manifest(&seen.server, seen.number).await?;
        let server = self.stored_server(&seen.server).await?.map(|(version, _)| version);
        if version != seen.seen.manifest || server != Some(seen.seen.server) {
            return Err(OfficeError::Contended);
        }
        Ok(stored)
    }

    /// Quarantines a server: nothing of it can be used, at the next call of every process.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn quarantine(
        &self,
        authority: &Authority,
        name: &ServerName,
        reason: Option<&str>,
    ) -> Result<KnownServer, OfficeError> {
        // Also one that only other enforcement points know: it must be possible to stop it from here.
        self.stop_it(authority, &Subject::Server(name.clone()), reason).await?;
        self.server(name).await
    }

    /// Lets a quarantined server be used again.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn release_server(
        &self,
        authority: &Authority,
        name: &ServerName,
        reason: Option<&str>,
    ) -> Result<KnownServer, OfficeError> {
        let server = self.server(name).await?;
        self.lift_it(authority, &Subject::Server(name.clone()), reason).await?;
        // One that nothing but its quarantine told of is gone with that.
        Ok(KnownServer { quarantined: false, ..server })
    }
}
