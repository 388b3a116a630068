//! The parts of `cargo metadata` that the checks read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;
use crate::repository::Repository;

/// Every package of the workspace and of its dependencies, on every platform.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) target_directory: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Absent for a package that lies in a directory.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) doctest: bool,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// The package's name, also where it is renamed on import.
    pub(crate) name: String,
    pub(crate) req: String,
    pub(crate) kind: Option<String>,
    pub(crate) path: Option<PathBuf>,
}

impl Dependency {
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Metadata {
    /// Asks cargo. `Cargo.lock` must be up to date.
    pub(crate) fn read(repository: &Repository) -> Result<Self> {
        let text = process::answer(
            process::cargo().args(["metadata", "--format-version", "1", "--locked"]),
            repository.root(),
        )?;
        serde_json::from_str(&text).context("cannot read the answer of cargo metadata")
    }

    /// The packages of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The packages that others wrote.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| !self.workspace_members.contains(&package.id))
    }
}

impl Package {
    /// The directory of the manifest relative to `root`, or `None` when it lies elsewhere.
    pub(crate) fn directory<'a>(&'a self, root: &Path) -> Option<&'a Path> {
        self.manifest_path.parent()?.strip_prefix(root).ok()
    }
}
