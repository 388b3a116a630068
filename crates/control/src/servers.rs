//! The registry of tool servers: manifests proposed, reviewed, approved by somebody else; quarantine; what a server was seen to offer that is not as reviewed.
//!
//! A manifest takes effect by being published, so that a decision has one revision to rest on. Once a manifest of a server was approved, no bundle is
//! published with another one. Nobody approves what they proposed, and whoever approves names the digest of what they saw.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use warrantor_bundle::{Compared, Described, Loaded, compare, guesses};
use warrantor_decide::administration::Resource;
use warrantor_engine::{
    keys,
    registry::{Done, SeenDefinitions},
};
use warrantor_model::{
    Digest, Effect, EffectSet, Manifest, PersonId, ServerName, Subject, Timestamp, ToolName,
};
use warrantor_store::{Expect, Store};

use crate::{
    bundles::{PublishError, Reviewed, Unreviewed, load_beside, stopped},
    difference::{Difference, difference},
    names,
    office::{Office, OfficeError},
    people::invalid,
};

mod acts;

/// Most names of one sort that are told of a server that differs.
const MAX_NAMES: usize = 100;

pub use acts::{Approved, NewManifest};

/// A server as the store keeps it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredServer {
    /// How many manifests were proposed.
    last: u64,
    /// The one that was approved last.
    approved: Option<u64>,
}

/// A manifest as the store keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredManifest {
    manifest: String,
    definitions: String,
    proposed: Done,
    reason: String,
    /// Effects of its tools, and of those that described the server wherever something was published: to say less of a tool is no way round whoever has to
    /// look at the more.
    effects: BTreeSet<Effect>,
    /// The manifest that had been approved last when it was proposed: what it was compared with.
    base: Option<u64>,
    state: ManifestState,
}

/// What became of a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
enum ManifestState {
    /// Nothing yet.
    Proposed,
    /// It is published, and what comes after it has to be approved too.
    Approved {
        /// By whose hand, and when.
        approved: Done,
    },
    /// It was turned down.
    Rejected {
        /// By whose hand, and when.
        rejected: Done,
        /// Why.
        reason: String,
    },
}

impl StoredManifest {
    /// What an approval is bound to.
    fn digest(&self) -> Result<Digest, OfficeError> {
        Ok(Digest::of(&serde_json::to_vec(&(&self.manifest, &self.definitions))?))
    }
}

/// Where a manifest stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ManifestStanding {
    /// It has guesses that nobody has looked at: lines marked `# guess:`.
    Draft,
    /// It waits for an approval.
    Review,
    /// It was approved.
    Approved,
    /// It was turned down.
    Rejected,
}

impl ManifestStanding {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Review => "review",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// A manifest of a server, as it was proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownManifest {
    /// The server.
    #[schema(value_type = String)]
    pub server: ServerName,
    /// Its number: the first is 1.
    pub number: u64,
    /// Where it stands.
    pub standing: ManifestStanding,
    /// What an approval has to name: the digest of both files.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// How many guesses in it nobody has looked at.
    pub guesses: usize,
    /// Why it was proposed.
    pub reason: String,
    /// Who proposed it, and when.
    #[schema(value_type = Object)]
    pub proposed: Done,
    /// Who approved or rejected it, and when.
    #[schema(value_type = Option<Object>)]
    pub answered: Option<Done>,
    /// Why it was turned down.
    pub rejection: Option<String>,
    /// The two files, by their paths within a bundle; none in a list.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Effects that its tools may have, or those had that it takes the place of.
    #[schema(value_type = Vec<String>)]
    pub effects: BTreeSet<Effect>,
    /// The manifest that had been approved last when it was proposed.
    pub base: Option<u64>,
    /// What was looked at: an act that was ruled on this changes this and nothing newer.
    #[serde(skip)]
    seen: Seen,
}

/// The versions of the entries that a view was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    server: u64,
    manifest: u64,
}

/// Something that a server offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownTool {
    /// Its name.
    pub name: String,
    /// The effects it may have.
    #[schema(value_type = Vec<String>)]
    pub effects: Vec<Effect>,
}

/// A server that a bundle describes, or the registry knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownServer {
    /// Its name.
    #[schema(value_type = String)]
    pub name: ServerName,
    /// The digest that its definitions are pinned to here; none where the bundle that decides here does not describe it.
    #[schema(value_type = Option<String>)]
    pub definitions: Option<Digest>,
    /// What it offers according to that bundle, with the effects that each may have.
    pub tools: Vec<KnownTool>,
    /// Whether it is quarantined: nothing of it can be used.
    pub quarantined: bool,
    /// The manifest that was approved last; none as long as whoever publishes vouches for it.
    pub approved: Option<u64>,
    /// The manifest that was proposed last.
    pub last: Option<u64>,
    /// What was seen that is not as described: that much of it is quarantined.
    pub differs: Option<Differs>,
}

/// What a server offers that is not as described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Differs {
    /// When it was seen.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// By which enforcement point.
    pub point: String,
    /// What is defined differently: its calls are refused.
    pub changed: Vec<String>,
    /// What is not described: it cannot be called.
    pub unknown: Vec<String>,
    /// What is not offered any more.
    pub missing: Vec<String>,
    /// Whether the server gives the model other instructions: they are withheld.
    pub instructions: bool,
    /// Whether what it says cannot be compared word for word: it is too long, or is no list of definitions. The names are those that were recorded.
    pub unreadable: bool,
}

/// What a manifest, or a server, says differently from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ManifestDifferences {
    /// The manifest that it was compared with; none where that is the one of the bundle, or there is none.
    pub against: Option<u64>,
    /// Each difference, in words and by the lines of the files.
    pub items: Vec<Difference>,
}

/// The two files of a server, under the names that the registry gives them.
fn files_of(server: &ServerName, manifest: &str, definitions: &str) -> [(String, Vec<u8>); 2] {
    let Described { manifest: path, definitions: beside } = paths(server);
    [(path, manifest.as_bytes().to_vec()), (beside, definitions.as_bytes().to_vec())]
}

/// Where the files of a server stand in a bundle.
fn paths(server: &ServerName) -> Described {
    Described { manifest: format!("tools/{server}.yaml"), definitions: format!("tools/{server}.tools.json") }
}

impl<S: Store> Office<S> {
    /// A server.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when neither the bundle nor the registry has it.
    pub async fn server(&self, name: &ServerName) -> Result<KnownServer, OfficeError> {
        let stored = self.stored_server(name).await?;
        let snapshot = self.snapshot();
        let described = snapshot.manifest(name);
        let quarantined = self.is_stopped(&Subject::Server(name.clone())).await?;
        if described.is_none() && stored.is_none() && !quarantined {
            return Err(OfficeError::Unknown { what: "server", name: name.to_string() });
        }
        let tool = |(name, tool): (&ToolName, &warrantor_model::Tool)| KnownTool {
            name: name.to_string(),
            effects: tool.possible_effects().iter().collect(),
        };
        Ok(KnownServer {
            name: name.clone(),
            definitions: described.map(|manifest| manifest.definitions),
            tools: described.map(|manifest| manifest.tools.iter().map(tool).collect()).unwrap_or_default(),
            quarantined,
            approved: stored.as_ref().and_then(|(_, server)| server.approved),
            last: stored.as_ref().map(|(_, server)| server.last),
            differs: self.differs(name).await?,
        })
    }

    /// What was seen of a server that is not as it is described here.
    async fn differs(&self, name: &ServerName) -> Result<Option<Differs>, OfficeError> {
        let Some(seen) = self.seen(name).await? else { return Ok(None) };
        let (snapshot, name) = (self.snapshot(), name.clone());
        let compared =
            spawn_blocking(move || snapshot.manifest(&name).and_then(|manifest| differs(manifest, seen)))
                .await;
        compared.map_err(|cause| stopped(&cause))
    }

    /// The servers after one, in the order of their names.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn servers(
        &self,
        after: Option<&ServerName>,
        limit: usize,
    ) -> Result<Vec<KnownServer>, OfficeError> {
        let snapshot = self.snapshot();
        let mut names: BTreeSet<ServerName> = snapshot.servers().cloned().collect();
        names.retain(|name| after.is_none_or(|after| name > after));
        names.extend(self.ids(&names::servers()?, after.map(AsRef::as_ref), limit).await?);
        let mut servers = Vec::new();
        for name in names.into_iter().take(limit) {
            servers.push(self.server(&name).await?);
        }
        Ok(servers)
    }

    async fn stored_server(&self, name: &ServerName) -> Result<Option<(u64, StoredServer)>, OfficeError> {
        self.entry(&names::server(name)?).await
    }

    async fn stored_manifest(
        &self,
        name: &ServerName,
        number: u64,
    ) -> Result<(u64, StoredManifest), OfficeError> {
        let unknown = || OfficeError::Unknown { what: "manifest", name: format!("{name} {number}") };
        self.entry(&names::manifest(name, number)?).await?.ok_or_else(unknown)
    }

    async fn seen(&self, name: &ServerName) -> Result<Option<SeenDefinitions>, OfficeError> {
        Ok(self.entry(&keys::seen(name)?).await?.map(|(_, seen)| seen))
    }

    /// A manifest of a server, with its files.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when there is none.
    pub async fn manifest(&self, name: &ServerName, number: u64) -> Result<KnownManifest, OfficeError> {
        let unknown = || OfficeError::Unknown { what: "server", name: name.to_string() };
        let (server_version, _) = self.stored_server(name).await?.ok_or_else(unknown)?;
        let (version, stored) = self.stored_manifest(name, number).await?;
        let guesses = guesses(&stored.manifest);
        let (standing, answered, rejection) = match &stored.state {
            ManifestState::Proposed if guesses > 0 => (ManifestStanding::Draft, None, None),
            ManifestState::Proposed => (ManifestStanding::Review, None, None),
            ManifestState::Approved { approved } => {
                (ManifestStanding::Approved, Some(approved.clone()), None)
            }
            ManifestState::Rejected { rejected, reason } => {
                (ManifestStanding::Rejected, Some(rejected.clone()), Some(reason.clone()))
            }
        };
        let digest = stored.digest()?;
        let Described { manifest, definitions } = paths(name);
        Ok(KnownManifest {
            server: name.clone(),
            number,
            standing,
            digest,
            guesses,
            reason: stored.reason,
            proposed: stored.proposed,
            answered,
            rejection,
            files: BTreeMap::from([(manifest, stored.manifest), (definitions, stored.definitions)]),
            effects: stored.effects,
            base: stored.base,
            seen: Seen { server: server_version, manifest: version },
        })
    }

    /// The manifests of a server before one, the latest first, without their files.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when the registry does not know the server.
    pub async fn manifests(
        &self,
        name: &ServerName,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<KnownManifest>, OfficeError> {
        let last = self.server(name).await?.last.unwrap_or_default();
        let mut number = before.map_or(last, |before| before.saturating_sub(1).min(last));
        let mut all = Vec::new();
        while number > 0 && all.len() < limit {
            all.push(KnownManifest { files: BTreeMap::new(), ..self.manifest(name, number).await? });
            number = number.saturating_sub(1);
        }
        Ok(all)
    }

    /// A server, or a manifest of it, as policies of administration see it. `looking` is whoever wants to act.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn server_resource(
        &self,
        name: &ServerName,
        manifest: Option<&KnownManifest>,
        looking: Option<&PersonId>,
    ) -> Result<Resource, OfficeError> {
        Ok(match manifest {
            Some(manifest) => Resource::Server {
                name: name.clone(),
                proposers: self.proposers(Some(&manifest.proposed.by), looking).await?,
                effects: manifest.effects.iter().copied().collect(),
                state: manifest.standing.as_str().to_owned(),
            },
            None => {
                let snapshot = self.snapshot();
                let described = snapshot.manifest(name);
                let quarantined = self.is_stopped(&Subject::Server(name.clone())).await?;
                let state = match (quarantined, described) {
                    (true, _) => "quarantined",
                    (false, Some(_)) => "active",
                    (false, None) => "unregistered",
                };
                Resource::Server {
                    name: name.clone(),
                    proposers: BTreeSet::new(),
                    effects: described.map(effects_of).unwrap_or_default(),
                    state: state.to_owned(),
                }
            }
        })
    }

    /// A manifest alone, as a bundle that describes nothing else.
    async fn alone(&self, name: &ServerName, manifest: &KnownManifest) -> Result<Loaded, OfficeError> {
        let files = manifest.files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes()));
        let loaded = load_beside(files.collect()).await?;
        loaded.map_err(|report| {
            OfficeError::Conflict(format!("manifest {} of {name} does not load: {report}", manifest.number))
        })
    }

    /// The files by which a server is described now: of the manifest that was approved last, else of the bundle that is published for every point.
    async fn current(&self, name: &ServerName) -> Result<Option<(Option<u64>, String, String)>, OfficeError> {
        if let Some(number) = self.stored_server(name).await?.and_then(|(_, server)| server.approved) {
            let (_, stored) = self.stored_manifest(name, number).await?;
            return Ok(Some((Some(number), stored.manifest, stored.definitions)));
        }
        for (number, _) in self.heads().await?.1.stages() {
            let bundle = self.published(&self.publication(number).await?.revision).await?;
            let Some(described) = bundle.described.get(name) else { continue };
            let text = |path: &str| bundle.text(path).unwrap_or_default().to_owned();
            return Ok(Some((None, text(&described.manifest), text(&described.definitions))));
        }
        Ok(None)
    }

    /// What a manifest says differently from another one; when none is named, from what describes the server now.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn compare_manifests(
        &self,
        name: &ServerName,
        number: u64,
        against: Option<u64>,
    ) -> Result<ManifestDifferences, OfficeError> {
        let manifest = self.manifest(name, number).await?;
        let after = self.alone(name, &manifest).await?;
        let (against, before) = match against {
            Some(other) => {
                let before = self.alone(name, &self.manifest(name, other).await?).await?;
                (Some(other), Some(before))
            }
            None => self.current_alone(name).await?,
        };
        compared(against, before, after).await
    }

    /// The effects of a server's tools wherever it is described: by what was approved last, and by everything that decides somewhere.
    async fn effects_so_far(&self, name: &ServerName) -> Result<EffectSet, OfficeError> {
        let mut effects = EffectSet::EMPTY;
        if let Some(number) = self.stored_server(name).await?.and_then(|(_, server)| server.approved) {
            let (_, approved) = self.stored_manifest(name, number).await?;
            let files = files_of(name, &approved.manifest, &approved.definitions);
            let loaded = load_beside(files.into()).await?;
            let described = loaded.as_ref().ok().and_then(|loaded| loaded.snapshot.manifest(name));
            // What does not load any more is taken for all that was told of it.
            effects = described.map_or_else(|| approved.effects.iter().copied().collect(), effects_of);
        }
        for (number, _) in self.heads().await?.1.stages() {
            let bundle = self.published(&self.publication(number).await?.revision).await?;
            effects =
                bundle.snapshot.manifest(name).map_or(effects, |known| effects.union(effects_of(known)));
        }
        Ok(effects)
    }

    async fn current_alone(&self, name: &ServerName) -> Result<(Option<u64>, Option<Loaded>), OfficeError> {
        let Some((number, manifest, definitions)) = self.current(name).await? else {
            return Ok((None, None));
        };
        let loaded = load_beside(files_of(name, &manifest, &definitions).into()).await?;
        // What does not load any more is no reason to show less: compared with nothing, everything is new.
        Ok((number, loaded.ok()))
    }

    /// What a server was seen to offer differently from what describes it now.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when nothing was seen that differs.
    pub async fn compare_seen(&self, name: &ServerName) -> Result<ManifestDifferences, OfficeError> {
        self.server(name).await?;
        let (manifest, definitions) = self.redrafted(name).await?;
        let after = load_beside(files_of(name, &manifest, &definitions).into()).await?.map_err(|report| {
            OfficeError::Conflict(format!("what was seen of {name} does not load: {report}"))
        })?;
        let (against, before) = self.current_alone(name).await?;
        compared(against, before, after).await
    }

    /// The server's manifest over what it was seen to say.
    async fn redrafted(&self, name: &ServerName) -> Result<(String, String), OfficeError> {
        let unknown = || OfficeError::Unknown { what: "difference that was seen of", name: name.to_string() };
        let seen = self.seen(name).await?.ok_or_else(unknown)?;
        let Some(said) = seen.definitions else {
            let detail = format!("{name} says more than is kept: ask it with `warrantor manifest draft`");
            return Err(OfficeError::Conflict(detail));
        };
        let Some((_, manifest, definitions)) = self.current(name).await? else {
            let detail = format!(
                "nothing that is published describes {name}: propose its manifest with its definitions"
            );
            return Err(OfficeError::Conflict(detail));
        };
        self.redraft(name, manifest, definitions, said).await.map_err(|cause| match cause {
            OfficeError::Invalid { why, .. } => {
                OfficeError::Conflict(format!("what was seen cannot be reviewed as it is: {why}"))
            }
            other => other,
        })
    }

    async fn redraft(
        &self,
        name: &ServerName,
        manifest: String,
        definitions: String,
        said: String,
    ) -> Result<(String, String), OfficeError> {
        let server = name.clone();
        let drafted =
            spawn_blocking(move || warrantor_bundle::redraft(&server, &manifest, &definitions, &said)).await;
        let drafted = drafted.map_err(|cause| stopped(&cause))?.map_err(|report| {
            invalid("definitions", format!("the manifest of {name} cannot be drafted over them: {report}"))
        })?;
        Ok((drafted.manifest, drafted.definitions))
    }

    /// That a bundle has, of each server of which a manifest was approved, the one that was approved last.
    pub(crate) async fn as_approved(
        &self,
        bundle: &Loaded,
        unreviewed: Unreviewed,
    ) -> Result<Reviewed, PublishError> {
        let mut reviewed = Reviewed::default();
        for (name, described) in &bundle.described {
            let Some(number) = self.review(name, &mut reviewed).await? else { continue };
            let (_, stored) = self.stored_manifest(name, number).await?;
            if !is_of(bundle, name, described, &stored) {
                let detail = format!(
                    "{} is not the manifest of {name} that was approved last, {number}: take that (`warrantor server show {name} --into DIR`), or propose this one",
                    described.manifest
                );
                return Err(PublishError::Office(invalid("files", detail)));
            }
        }
        reviewed.vouched_for(unreviewed)?;
        Ok(reviewed)
    }

    /// The same of a bundle that was published before: a manifest that was approved at any time will do.
    pub(crate) async fn as_once_approved(
        &self,
        bundle: &Loaded,
        unreviewed: Unreviewed,
    ) -> Result<Reviewed, OfficeError> {
        let mut reviewed = Reviewed::default();
        for (name, described) in &bundle.described {
            let Some(last) = self.review(name, &mut reviewed).await? else { continue };
            let mut number = last;
            loop {
                let (_, stored) = self.stored_manifest(name, number).await?;
                let approved = matches!(stored.state, ManifestState::Approved { .. });
                if approved && is_of(bundle, name, described, &stored) {
                    break;
                }
                number = number.saturating_sub(1);
                if number == 0 {
                    return Err(OfficeError::Conflict(format!(
                        "the manifest of {name} in it was never approved, and others were since"
                    )));
                }
            }
        }
        reviewed.vouched_for(unreviewed)?;
        Ok(reviewed)
    }

    /// The manifest of a server that was approved last, to be that still when the bundle is published.
    async fn review(&self, name: &ServerName, reviewed: &mut Reviewed) -> Result<Option<u64>, OfficeError> {
        let found = self.stored_server(name).await?;
        let expected = found.as_ref().map_or(Expect::Absent, |(version, _)| Expect::Version(*version));
        reviewed.expect.push((names::server(name)?, expected));
        let approved = found.and_then(|(_, server)| server.approved);
        if approved.is_none() {
            reviewed.without.push(name.clone());
        }
        Ok(approved)
    }
}

/// Effects that the tools of a manifest may have.
fn effects_of(manifest: &Manifest) -> EffectSet {
    manifest.tools.values().fold(EffectSet::EMPTY, |all, tool| all.union(tool.possible_effects()))
}

/// Whether a bundle describes a server by these very files.
fn is_of(bundle: &Loaded, name: &ServerName, described: &Described, stored: &StoredManifest) -> bool {
    *described == paths(name)
        && bundle.text(&described.manifest) == Some(&stored.manifest)
        && bundle.text(&described.definitions) == Some(&stored.definitions)
}

/// What was seen against what describes the server here; none where they agree by now.
fn differs(manifest: &Manifest, seen: SeenDefinitions) -> Option<Differs> {
    let read = seen.definitions.as_deref().map(|said| compare(manifest, said));
    let (compared, unreadable) = match read {
        Some(Ok(compared)) => (compared?, false),
        Some(Err(_)) | None => {
            let recorded = Compared {
                changed: seen.changed,
                unknown: seen.unknown,
                missing: seen.missing,
                instructions: seen.instructions_withheld,
            };
            (recorded, true)
        }
    };
    let shown = |names: Vec<String>| names.into_iter().take(MAX_NAMES).collect();
    Some(Differs {
        at: seen.at,
        point: seen.point,
        changed: shown(compared.changed),
        unknown: shown(compared.unknown),
        missing: shown(compared.missing),
        instructions: compared.instructions,
        unreadable,
    })
}

async fn compared(
    against: Option<u64>,
    before: Option<Loaded>,
    after: Loaded,
) -> Result<ManifestDifferences, OfficeError> {
    let items = spawn_blocking(move || difference(before.as_ref(), &after)).await;
    Ok(ManifestDifferences { against, items: items.map_err(|cause| stopped(&cause))? })
}
