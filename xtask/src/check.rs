//! `cargo xtask check`: every step that needs no test run, each one line, all of them even when some fail.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::Ending;
use crate::process;
use crate::repository::Repository;
use crate::{dependencies, derived, floors, lengths, links, tools, workplace};

/// What a step came to.
enum Verdict {
    /// The note is worth reading but nothing to be mended at once.
    Passed {
        note: String,
    },
    Failed {
        report: String,
    },
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Repository) -> Result<Verdict>,
}

/// In the order of running: what is quick to say no comes first.
const STEPS: &[Step] = &[
    Step { name: "format", about: "rustfmt has nothing to change", run: format },
    Step { name: "floors", about: "crates import only what their floor allows", run: floors },
    Step { name: "lengths", about: "source files are short", run: lengths },
    Step { name: "links", about: "links between Markdown files lead somewhere", run: links },
    Step { name: "workplace", about: "nothing names the machine it was made on", run: workplace },
    Step { name: "dependencies", about: "deny.toml: licences, bans, sources, wildcards", run: dependencies },
    Step { name: "spelling", about: "typos finds none", run: spelling },
    Step { name: "clippy", about: "lints of the whole workspace, all targets", run: clippy },
    Step { name: "docs", about: "documentation builds without a warning", run: docs },
    Step { name: "fuzz", about: "a short run of every fuzz target", run: fuzz },
    Step { name: "regen", about: "derived files are up to date", run: regen },
];

/// The names `--only` takes.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the steps named in `only`, or all.
#[expect(clippy::disallowed_methods, reason = "tells a person how long it took; nothing is decided by it")]
pub(crate) fn run(repository: &Repository, only: &[String]) -> Result<Ending> {
    let began = Instant::now();
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect();
    let mut failed = Vec::new();
    for step in &chosen {
        let start = Instant::now();
        // A step that cannot be carried out has not passed.
        let verdict =
            (step.run)(repository).unwrap_or_else(|error| Verdict::Failed { report: format!("{error:#}") });
        let (word, text) = match verdict {
            Verdict::Passed { note } => ("ok    ", note),
            Verdict::Failed { report } => {
                failed.push(step.name);
                ("FAILED", report)
            }
        };
        println!("{word} {:<13}{:>7.1} s  {}", step.name, start.elapsed().as_secs_f64(), step.about);
        print!("{}", indented(&text));
    }
    let seconds = began.elapsed().as_secs_f64();
    if failed.is_empty() {
        println!("check passed: {} steps ({seconds:.1} s)", chosen.len());
        return Ok(Ending::Passed);
    }
    println!("check failed: {} ({seconds:.1} s)", failed.join(", "));
    Ok(Ending::Failed)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("       {line}\n")).collect()
}

fn format(repository: &Repository) -> Result<Verdict> {
    // The names suffice: the cure is the same for every line.
    let verdict = tool(repository, process::cargo().args(["fmt", "--all", "--", "--check", "-l"]))?;
    Ok(match verdict {
        Verdict::Failed { report } => Verdict::Failed { report: format!("{report}\nrun cargo fmt --all") },
        passed @ Verdict::Passed { .. } => passed,
    })
}

fn clippy(repository: &Repository) -> Result<Verdict> {
    let command =
        ["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    tool(repository, process::cargo().args(command))
}

fn floors(repository: &Repository) -> Result<Verdict> {
    Ok(verdict(&floors::check(repository)?))
}

fn lengths(repository: &Repository) -> Result<Verdict> {
    let lengths = lengths::measure(repository)?;
    if lengths.too_long.is_empty() {
        return Ok(Verdict::Passed { note: lengths.long.join("\n") });
    }
    Ok(Verdict::Failed { report: [lengths.too_long, lengths.long].concat().join("\n") })
}

fn links(repository: &Repository) -> Result<Verdict> {
    Ok(verdict(&links::check(repository)?))
}

fn workplace(repository: &Repository) -> Result<Verdict> {
    Ok(verdict(&workplace::check(repository)?))
}

fn dependencies(repository: &Repository) -> Result<Verdict> {
    Ok(verdict(&dependencies::check(repository)?))
}

fn spelling(repository: &Repository) -> Result<Verdict> {
    let typos = tools::python(repository)?.with_file_name("typos");
    tool(repository, process::program(typos).args(["--format", "brief", "--color", "never"]))
}

fn docs(repository: &Repository) -> Result<Verdict> {
    let mut command = process::cargo();
    command
        .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    tool(repository, &mut command)
}

fn fuzz(repository: &Repository) -> Result<Verdict> {
    let finished = process::quietly(
        process::cargo().args(["run", "--quiet", "--locked", "--package", "warrantor-fuzz"]),
        repository.root(),
    )?;
    Ok(if finished.status.success() {
        Verdict::Passed { note: finished.stdout }
    } else {
        Verdict::Failed { report: finished.said() }
    })
}

fn regen(repository: &Repository) -> Result<Verdict> {
    Ok(verdict(&derived::check(repository)?))
}

fn verdict(findings: &[String]) -> Verdict {
    match findings {
        [] => Verdict::Passed { note: String::new() },
        findings => Verdict::Failed { report: findings.join("\n") },
    }
}

/// A step that is one program: what it says is the report.
fn tool(repository: &Repository, command: &mut Command) -> Result<Verdict> {
    let finished = process::quietly(command, repository.root())?;
    Ok(if finished.status.success() {
        Verdict::Passed { note: String::new() }
    } else {
        Verdict::Failed { report: finished.said() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_fail_a_step_and_none_pass_it() {
        assert!(matches!(verdict(&[]), Verdict::Passed { note } if note.is_empty()));
        let findings = ["one".to_owned(), "two".to_owned()];
        assert!(matches!(verdict(&findings), Verdict::Failed { report } if report == "one\ntwo"));
    }

    #[test]
    fn every_step_has_its_own_name() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }
}
