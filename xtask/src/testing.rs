//! `cargo xtask test`: installs what tests need, then runs them all.
//!
//! Tests that drive other people's programs find them through two environment variables and fail, naming this
//! command, where these are unset: a test that is skipped where its tool is missing is a test that nobody runs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::Ending;
use crate::metadata::Metadata;
use crate::process;
use crate::repository::Repository;
use crate::tools;

/// The Python that has the packages of `xtask/tools/requirements.txt`.
const PYTHON: &str = "WARRANTOR_TEST_PYTHON";
/// A Chromium.
const BROWSER: &str = "WARRANTOR_TEST_BROWSER";
/// The directory that has the packages of `xtask/tools/package-lock.json`.
const NODE_MODULES: &str = "WARRANTOR_TEST_NODE_MODULES";

#[expect(clippy::disallowed_methods, reason = "tells a person how long it took; nothing is decided by it")]
pub(crate) fn run(repository: &Repository, filter: Option<&str>, packages: &[String]) -> Result<Ending> {
    let began = Instant::now();
    let environment = [
        (PYTHON, tools::python(repository)?),
        (NODE_MODULES, tools::node_modules(repository)?),
        (BROWSER, tools::browser(repository)?),
    ];
    let mut passed = 0;
    let documented = documented(&Metadata::read(repository)?, packages);
    let commands = [Some(suite(filter, packages)), documented.map(|packages| doc_tests(filter, &packages))];
    for mut command in commands.into_iter().flatten() {
        println!("{}", process::describe(&command));
        match one(repository, &mut command, &environment)? {
            Some(count) => passed += count,
            None => {
                println!(
                    "test failed: {} ({:.1} s)",
                    process::describe(&command),
                    began.elapsed().as_secs_f64()
                );
                return Ok(Ending::Failed);
            }
        }
    }
    if passed == 0 {
        bail!("no test ran; a filter that matches nothing proves nothing");
    }
    println!(
        "test passed: {passed} tests, documentation examples included ({:.1} s)",
        began.elapsed().as_secs_f64()
    );
    Ok(Ending::Passed)
}

/// Unit and integration tests: under nextest where it is installed, because it runs each in a process of its own.
fn suite(filter: Option<&str>, packages: &[String]) -> Command {
    let mut command = process::cargo();
    if process::answers(process::cargo().arg("nextest")) {
        // Whether anything matched is judged at the end, over both runs.
        command.args(["nextest", "run", "--locked", "--no-tests=pass", "--no-fail-fast"]);
        select(&mut command, packages).args(filter);
    } else {
        command.args(["test", "--locked", "--all-targets", "--no-fail-fast"]);
        select(&mut command, packages).args(filter);
    }
    command
}

/// Those of the chosen packages that can have examples; cargo refuses the others. `None` when none of them can.
fn documented(metadata: &Metadata, packages: &[String]) -> Option<Vec<String>> {
    let can = |name: &String| {
        let package = metadata.members().find(|member| member.name == *name);
        // What cargo does not know, cargo shall refuse.
        package.is_none_or(|package| package.targets.iter().any(|target| target.doctest))
    };
    let chosen: Vec<String> = packages.iter().filter(|name| can(name)).cloned().collect();
    (packages.is_empty() || !chosen.is_empty()).then_some(chosen)
}

/// Examples in documentation, among them those that must not compile. Nextest does not run these.
fn doc_tests(filter: Option<&str>, packages: &[String]) -> Command {
    let mut command = process::cargo();
    command.args(["test", "--doc", "--locked", "--no-fail-fast"]);
    select(&mut command, packages).args(filter);
    command
}

fn select<'a>(command: &'a mut Command, packages: &[String]) -> &'a mut Command {
    if packages.is_empty() {
        return command.arg("--workspace");
    }
    packages.iter().fold(command, |command, package| command.args(["--package", package]))
}

/// Runs one command; gives how many tests passed, or `None` when any failed.
fn one(
    repository: &Repository,
    command: &mut Command,
    environment: &[(&str, PathBuf)],
) -> Result<Option<u64>> {
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let (status, lines) = process::openly(command, repository.root())?;
    Ok(status.success().then(|| lines.iter().filter_map(|line| counted(line)).sum()))
}

/// The number of passed tests in a summary line of nextest or of the test harness.
fn counted(line: &str) -> Option<u64> {
    let line = line.trim();
    if !line.starts_with("Summary [") && !line.starts_with("test result: ok.") {
        return None;
    }
    let (before, _) = line.split_once(" passed")?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passed_tests_are_counted_from_either_runner() {
        let cases = [
            ("     Summary [   0.012s] 12 tests run: 11 passed (1 slow), 0 skipped", Some(11)),
            ("     Summary [   0.012s] 12/20 tests run: 10 passed, 2 failed, 3 skipped", Some(10)),
            ("     Summary [   0.000s] 0 tests run: 0 passed, 0 skipped", Some(0)),
            ("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", Some(7)),
            ("test result: FAILED. 7 passed; 1 failed;", None),
            ("test the_summary_passed ... ok", None),
            ("all 3 passed", None),
        ];
        for (line, expected) in cases {
            assert_eq!(counted(line), expected, "{line}");
        }
    }

    #[test]
    fn packages_without_a_library_have_no_examples_to_run() {
        let package = |name: &str, doctest: bool| {
            json!({
                "id": name, "name": name, "version": "0.1.0", "license": null, "source": null,
                "manifest_path": "/r/Cargo.toml", "dependencies": [], "targets": [{"doctest": doctest}],
            })
        };
        let whole = json!({
            "packages": [package("lib", true), package("bin", false)], "workspace_members": ["lib", "bin"],
            "target_directory": "/r/target",
        });
        let metadata = serde_json::from_value(whole).unwrap();
        let chosen = |names: &[&str]| {
            documented(&metadata, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[]), Some(vec![]));
        assert_eq!(chosen(&["bin"]), None);
        assert_eq!(chosen(&["bin", "lib"]), Some(vec!["lib".to_owned()]));
        assert_eq!(chosen(&["missing"]), Some(vec!["missing".to_owned()]));
    }

    #[test]
    fn packages_narrow_both_runs_and_their_absence_means_all() {
        let typed = |packages: &[&str]| {
            let packages: Vec<String> = packages.iter().map(|package| (*package).to_owned()).collect();
            process::describe(&doc_tests(Some("links"), &packages))
        };
        assert!(typed(&[]).ends_with("test --doc --locked --no-fail-fast --workspace links"));
        assert!(typed(&["xtask", "warrantor"]).ends_with("--package xtask --package warrantor links"));
    }
}
