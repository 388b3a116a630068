//! The checkout: where it is, which files belong to it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;

/// The root of the checkout.
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The checkout whose `cargo xtask` was called.
    pub(crate) fn open() -> Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "cargo tells where the manifest is through the environment only"
        )]
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .context("CARGO_MANIFEST_DIR is not set: call this program as `cargo xtask`")?;
        let root =
            Path::new(&manifest).parent().context("CARGO_MANIFEST_DIR has no parent directory")?.to_owned();
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where installed tools are kept: under `target/`, so that they are never tracked.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// The files that are tracked or would be if added, relative to the root, sorted.
    ///
    /// New files count, so that a finding comes before the commit and not after it. A file that is tracked but
    /// deleted in the work tree does not.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let listing = process::answer(
            process::program("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]),
            &self.root,
        )
        .context("the list of files comes from git: check in a clone, not in an unpacked archive")?;
        let mut files: Vec<PathBuf> = listing.split_terminator('\0').map(PathBuf::from).collect();
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The content of a file of [`Self::files`]; bytes that are not UTF-8 become replacement characters.
    pub(crate) fn text(&self, file: &Path) -> Result<String> {
        let bytes =
            fs::read(self.root.join(file)).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
