//! The data directory and what is in it.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use warrantor_bundle::Loaded;
use warrantor_control::{
    keeper::Keeper,
    keys::KeyDirectory,
    standing::{self, Act},
};
use warrantor_engine::{StopError, StopFile, evidence_text};
use warrantor_ledger::KeyName;
use warrantor_model::{Clock, Subject};
use warrantor_store::Store;
use warrantor_store_sql::{Options, SqliteStore};

use crate::{
    args::Place,
    output::Usage,
    system::{SystemBytes, SystemClock, local_user},
};

/// The log's name when the bundle gives none.
const DEFAULT_ORIGIN: &str = "warrantor.local/log";

/// Everything on one data directory.
pub(crate) struct Deployment {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) stop: Arc<StopFile>,
    pub(crate) keys: KeyDirectory,
    pub(crate) origin: KeyName,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) randomness: Arc<SystemBytes>,
    /// By whose hand.
    pub(crate) hand: String,
}

/// Where things are.
pub(crate) struct Paths {
    pub(crate) data: PathBuf,
    pub(crate) keys: PathBuf,
}

impl Paths {
    pub(crate) fn of(place: &Place) -> anyhow::Result<Self> {
        let data = match &place.data {
            Some(data) => data.clone(),
            None => default_data()?,
        };
        let keys = place.keys.clone().unwrap_or_else(|| data.join("keys"));
        Ok(Self { data, keys })
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("warrantor.db")
    }

    pub(crate) fn stop(&self) -> PathBuf {
        self.data.join("stop")
    }
}

fn default_data() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(base) = set("XDG_DATA_HOME") {
        return Ok(base.join("warrantor"));
    }
    match set("HOME") {
        Some(home) => Ok(home.join(".local/share/warrantor")),
        None => bail!("no data directory: give --data DIR, or set WARRANTOR_DATA"),
    }
}

impl Deployment {
    /// Opens a data directory, making it if it is not there.
    pub(crate) async fn open(place: &Place, bundle: Option<&Loaded>) -> anyhow::Result<Self> {
        let paths = Paths::of(place)?;
        make_private(&paths.data)?;
        Self::open_at(&paths, bundle).await
    }

    /// Opens a data directory that must be there.
    pub(crate) async fn existing(place: &Place) -> anyhow::Result<Self> {
        let paths = Paths::of(place)?;
        if !paths.database().exists() {
            return Err(Usage(format!(
                "there is no data directory of Warrantor at {}: give --data DIR",
                paths.data.display()
            ))
            .into());
        }
        Self::open_at(&paths, None).await
    }

    async fn open_at(paths: &Paths, bundle: Option<&Loaded>) -> anyhow::Result<Self> {
        let stop = Arc::new(stop_file(paths)?);
        let store = SqliteStore::open(paths.database(), Options::default())
            .await
            .with_context(|| format!("the store in {} cannot be opened", paths.data.display()))?;
        let store = Arc::new(store);
        let randomness = Arc::new(SystemBytes::new());
        let clock = Arc::new(SystemClock);
        let origin = origin(&paths.keys, bundle)?;
        let size = store.head().await?.size;
        let keys = KeyDirectory::open(&paths.keys, &origin, size, &*randomness)?;
        let deployment =
            Self { store, stop, keys, origin, clock, randomness, hand: evidence_text(&local_user()) };
        deployment.keeper().begin(&*deployment.clock).await?;
        Ok(deployment)
    }

    /// Signs this deployment's checkpoints.
    pub(crate) fn keeper(&self) -> Keeper<SqliteStore> {
        Keeper::new(Arc::clone(&self.store), self.keys.clone(), self.origin.clone())
    }

    /// An act of administration, now.
    pub(crate) fn act<'a>(&'a self, reason: Option<&'a str>) -> Act<'a> {
        Act { evidence: &self.hand, reason, now: self.clock.now(), randomness: &*self.randomness }
    }

    /// Records stops that only the stop file has. They are in force in any case.
    pub(crate) async fn absorb(&self) {
        if let Err(cause) =
            standing::absorb(&self.stop, &*self.store, &self.act(Some("found in the stop file"))).await
        {
            tracing::warn!(%cause, "a stop could not be recorded yet; it is in force");
        }
    }

    /// Signs what is recorded and closes.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        let signed = self.keeper().sign().await;
        self.store.close().await;
        signed.map(drop).map_err(Into::into)
    }
}

/// Opens the stop file. One that is missing where there is a store was lost, and whatever it stopped with it: the new one begins with a
/// lockdown.
pub(crate) fn stop_file(paths: &Paths) -> Result<StopFile, StopError> {
    let lost = paths.database().exists() && !paths.stop().exists();
    let file = StopFile::open(&paths.stop())?;
    if lost {
        tracing::error!("the stop file was lost: everything is stopped until `warrantor lockdown --lift`");
        file.stop(&Subject::Deployment, SystemClock.now())?;
    }
    Ok(file)
}

/// The log's name: of its keys once it has some, else as the bundle says.
pub(crate) fn origin(keys: &Path, bundle: Option<&Loaded>) -> anyhow::Result<KeyName> {
    if let Ok(directory) = KeyDirectory::existing(keys)
        && let Ok(trusted) = directory.trusted()
        && let Some(first) = trusted.first()
    {
        return Ok(first.name().clone());
    }
    let name = bundle.and_then(|bundle| bundle.config.audit_origin.as_deref()).unwrap_or(DEFAULT_ORIGIN);
    name.parse().with_context(|| format!("{name:?} cannot be the origin of a log"))
}

fn make_private(directory: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    let mode = fs::metadata(directory)?.mode() & 0o777;
    if mode & 0o022 != 0 {
        bail!(
            "{} may be written by others than its owner (mode {mode:o}): `chmod go-w` it or choose another data directory",
            directory.display()
        );
    }
    Ok(())
}
