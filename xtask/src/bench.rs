//! Long runs in release mode: benchmarks and the soak test. Neither is part of `check` or `test`.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use crate::Ending;
use crate::process;
use crate::repository::Repository;

/// Runs the benchmark program with `arguments`.
pub(crate) fn bench(repository: &Repository, arguments: &[OsString]) -> Result<Ending> {
    let mut command = process::cargo();
    command.args(["run", "--release", "--locked", "--package", "warrantor-bench", "--"]).args(arguments);
    hand_over(repository, &mut command)
}

/// Runs the crash test with `kills` kills; the tests themselves do 20.
pub(crate) fn soak(repository: &Repository, kills: u32) -> Result<Ending> {
    let mut command = process::cargo();
    command
        .args(["test", "--release", "--locked", "--package", "warrantor", "--test", "crash"])
        .args(["--", "--nocapture"])
        .env("WARRANTOR_CRASHES", kills.to_string());
    hand_over(repository, &mut command)
}

/// Runs with our own terminal, so that progress shows as it does without us.
fn hand_over(repository: &Repository, command: &mut Command) -> Result<Ending> {
    let status = command.current_dir(repository.root()).status();
    let status = status.with_context(|| format!("cannot start {}", process::describe(command)))?;
    Ok(if status.success() { Ending::Passed } else { Ending::Failed })
}
