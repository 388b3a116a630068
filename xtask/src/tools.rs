//! Programs of other ecosystems that checks and tests need, installed under `target/tools` at the versions that
//! `xtask/tools` pins: Python packages in a virtual environment, npm packages in a directory of their own.
//!
//! Each installation keeps a copy of the list it was made from. Where the copy equals the list, nothing is done;
//! where it does not, the installation is made anew. The copy is written last, so a half-made one is never taken
//! for whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;
use crate::repository::Repository;

/// The copy of the list, within the installation.
const STAMP: &str = "installed-from";

/// The Python of the virtual environment, with all of `requirements.txt`.
pub(crate) fn python(repository: &Repository) -> Result<PathBuf> {
    let requirements = repository.root().join("xtask/tools/requirements.txt");
    let list = read(&requirements)?;
    let directory = repository.tools().join("venv");
    let python = directory.join("bin/python");
    if stamped(&directory, &list) && process::answers(&mut process::program(&python)) {
        return Ok(python);
    }
    if !process::answers(&mut process::program("python3")) {
        bail!("python3 is not in the search path; install Python 3.10 or newer with its venv module");
    }
    println!("installing Python packages into {}", shown(repository, &directory));
    empty(&directory)?;
    process::answer(process::program("python3").args(["-m", "venv"]).arg(&directory), repository.root())?;
    process::answer(
        process::program(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                "--no-deps",
            ])
            .arg("--requirement")
            .arg(&requirements),
        repository.root(),
    )?;
    // `--no-deps` installs exactly what is pinned; this tells when the list lacks something.
    process::answer(process::program(&python).args(["-m", "pip", "check"]), repository.root())?;
    stamp(&directory, &list)?;
    Ok(python)
}

/// The `node_modules` directory with all of `package-lock.json`.
pub(crate) fn node_modules(repository: &Repository) -> Result<PathBuf> {
    let source = repository.root().join("xtask/tools");
    let lists = ["package.json", "package-lock.json"];
    let list = lists.map(|name| read(&source.join(name))).into_iter().collect::<Result<Vec<_>>>()?.concat();
    let directory = repository.tools().join("node");
    let modules = directory.join("node_modules");
    if stamped(&directory, &list) && modules.is_dir() {
        return Ok(modules);
    }
    for name in ["node", "npm"] {
        if !process::answers(&mut process::program(name)) {
            bail!("{name} is not in the search path; install Node.js 20 or newer with npm");
        }
    }
    println!("installing npm packages into {}", shown(repository, &directory));
    empty(&directory)?;
    for name in lists {
        fs::copy(source.join(name), directory.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    process::answer(
        process::program("npm").args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]),
        &directory,
    )?;
    stamp(&directory, &list)?;
    Ok(modules)
}

/// Names that Chromium goes by.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The Chromium that is there.
#[expect(clippy::disallowed_methods, reason = "where programs are is known from the environment only")]
fn installed_browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places =
        std::env::split_paths(&path).flat_map(|directory| BROWSERS.map(|name| directory.join(name)));
    places.find(|place| place.is_file())
}

/// A Chromium: the one that is there, or Debian's, which is installed.
pub(crate) fn browser(repository: &Repository) -> Result<PathBuf> {
    if let Some(found) = installed_browser() {
        return Ok(found);
    }
    println!("installing chromium");
    let is_root =
        process::answer(process::program("id").arg("-u"), repository.root()).is_ok_and(|id| id.trim() == "0");
    let apt = |words: &[&str]| {
        let mut command = match is_root {
            true => process::program("apt-get"),
            false => process::program("sudo"),
        };
        let command = if is_root { &mut command } else { command.arg("apt-get") };
        process::answer(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"), repository.root())
    };
    // A machine that was just set up has no lists of packages.
    apt(&["update", "--quiet"])
        .and_then(|_| apt(&["install", "--yes", "--quiet", "--no-install-recommends", "chromium"]))
        .context("the tests of pages need a Chromium: install one, such as Debian's `chromium`")?;
    installed_browser().context("chromium was installed and is not in the search path")
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn stamped(directory: &Path, list: &str) -> bool {
    fs::read_to_string(directory.join(STAMP)).is_ok_and(|found| found == list)
}

fn stamp(directory: &Path, list: &str) -> Result<()> {
    fs::write(directory.join(STAMP), list)
        .with_context(|| format!("cannot write into {}", directory.display()))
}

fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

fn shown(repository: &Repository, path: &Path) -> String {
    path.strip_prefix(repository.root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_counts_only_when_made_from_this_very_list() {
        let directory = tempfile::tempdir().unwrap();
        let venv = directory.path().join("venv");
        assert!(!stamped(&venv, "mcp==1\n"));
        empty(&venv).unwrap();
        assert!(!stamped(&venv, "mcp==1\n"));
        stamp(&venv, "mcp==1\n").unwrap();
        assert!(stamped(&venv, "mcp==1\n"));
        assert!(!stamped(&venv, "mcp==2\n"));
        empty(&venv).unwrap();
        assert!(!stamped(&venv, "mcp==1\n"));
    }
}
