//! Files that the program itself writes: kept in the repository so that reviewers see what changed in them, and
//! compared on every check so that they are never stale.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::Ending;
use crate::formats;
use crate::metadata::Metadata;
use crate::process;
use crate::repository::Repository;

/// What to ask `warrantor`, and the file that keeps its answer.
const DERIVED: &[(&[&str], &str)] = &[
    (&["schema", "mandate"], "docs/reference/schemas/mandate.json"),
    (&["schema", "manifest"], "docs/reference/schemas/manifest.json"),
    (&["schema", "people"], "docs/reference/schemas/people.json"),
    (&["schema", "agents"], "docs/reference/schemas/agents.json"),
    (&["schema", "trackers"], "docs/reference/schemas/trackers.json"),
    (&["schema", "config"], "docs/reference/schemas/config.json"),
    (&["schema", "trace"], "docs/reference/schemas/trace.json"),
    (&["schema", "gateway"], "docs/reference/schemas/gateway.json"),
    (&["schema", "tokens"], "docs/reference/schemas/tokens.json"),
    (&["schema", "serve"], "docs/reference/schemas/serve.json"),
    (&["help-markdown"], "docs/reference/cli.md"),
    (&["api-document"], "docs/reference/api/openapi.json"),
    (&["api-markdown"], "docs/reference/api/README.md"),
];

/// The references in Markdown that are rendered from the schemas above.
const FORMATS: &[(&str, &str)] = &[
    ("mandate", "docs/reference/formats/mandate.md"),
    ("manifest", "docs/reference/formats/manifest.md"),
    ("people", "docs/reference/formats/people.md"),
    ("agents", "docs/reference/formats/agents.md"),
    ("trackers", "docs/reference/formats/trackers.md"),
    ("config", "docs/reference/formats/config.md"),
    ("trace", "docs/reference/formats/trace.md"),
    ("gateway", "docs/reference/formats/gateway.md"),
    ("tokens", "docs/reference/formats/tokens.md"),
    ("serve", "docs/reference/formats/serve.md"),
];

/// Directories that hold derived files only; anything else in them has outlived its source.
const DERIVED_ONLY: &[&str] = &["docs/reference/schemas", "docs/reference/formats", "docs/reference/api"];

/// Writes every derived file anew.
pub(crate) fn write(repository: &Repository) -> Result<Ending> {
    for (file, text) in derive(repository)? {
        let path = repository.root().join(file);
        let unchanged = fs::read_to_string(&path).is_ok_and(|found| found == text);
        if !unchanged {
            let directory = path.parent().context("a derived file has a directory")?;
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
            fs::write(&path, text).with_context(|| format!("cannot write {file}"))?;
        }
        println!("{} {file}", if unchanged { "kept   " } else { "written" });
    }
    for file in outlived(repository.root())? {
        fs::remove_file(repository.root().join(&file)).with_context(|| format!("cannot remove {file}"))?;
        println!("removed {file}");
    }
    Ok(Ending::Passed)
}

/// Tells which derived files differ, changing nothing.
pub(crate) fn compare(repository: &Repository) -> Result<Ending> {
    let findings = check(repository)?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() { Ending::Passed } else { Ending::Failed })
}

/// Compares; gives one finding a line.
pub(crate) fn check(repository: &Repository) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (file, text) in derive(repository)? {
        findings.extend(differs(
            file,
            fs::read_to_string(repository.root().join(file)).ok().as_deref(),
            &text,
        ));
    }
    let outlived = outlived(repository.root())?;
    findings
        .extend(outlived.into_iter().map(|file| format!("{file}: derived from nothing any more; run regen")));
    Ok(findings)
}

fn differs(file: &str, kept: Option<&str>, text: &str) -> Option<String> {
    let Some(kept) = kept else { return Some(format!("{file}: is missing; run cargo xtask regen")) };
    if kept == text {
        return None;
    }
    let same = kept.lines().zip(text.lines()).take_while(|(one, other)| one == other).count();
    Some(format!("{file}: stale from line {}; run cargo xtask regen", same + 1))
}

/// Every file with its present text, asked from a freshly built program.
fn derive(repository: &Repository) -> Result<Vec<(&'static str, String)>> {
    let metadata = Metadata::read(repository)?;
    process::answer(
        process::cargo().args(["build", "--quiet", "--locked", "--package", "warrantor"]),
        repository.root(),
    )?;
    let program = metadata.target_directory.join("debug").join("warrantor");
    let mut files: Vec<(&'static str, String)> = Vec::new();
    for (question, file) in DERIVED {
        files.push((file, ask(repository, &program, question)?));
    }
    for (kind, file) in FORMATS {
        let schema = ask(repository, &program, &["schema", kind])?;
        let schema =
            serde_json::from_str(&schema).with_context(|| format!("the schema {kind} is no JSON"))?;
        files.push((file, formats::render(kind, &schema)));
    }
    Ok(files)
}

fn ask(repository: &Repository, program: &Path, question: &[&str]) -> Result<String> {
    // A fixed environment: width and colour of the terminal must not show in a file.
    let mut command = process::program(program);
    command.args(question).env_clear().env("NO_COLOR", "1").env("COLUMNS", "100");
    let text = process::answer(&mut command, repository.root())?;
    if text.trim().is_empty() {
        bail!("warrantor {} printed nothing", question.join(" "));
    }
    Ok(format!("{}\n", text.trim_end()))
}

fn outlived(root: &Path) -> Result<Vec<String>> {
    let known: BTreeSet<&str> =
        DERIVED.iter().map(|(_, file)| *file).chain(FORMATS.iter().map(|(_, file)| *file)).collect();
    let mut files = Vec::new();
    for directory in DERIVED_ONLY.iter().filter(|directory| root.join(directory).is_dir()) {
        for entry in fs::read_dir(root.join(directory)).with_context(|| format!("cannot list {directory}"))? {
            let file = format!("{directory}/{}", entry?.file_name().to_string_lossy());
            if !known.contains(file.as_str()) {
                files.push(file);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_named_with_the_first_line_that_differs() {
        assert_eq!(differs("a", Some("1\n2\n"), "1\n2\n"), None);
        let cases = [
            (None, "a: is missing"),
            (Some("1\nx\n"), "a: stale from line 2"),
            (Some("1\n"), "a: stale from line 2"),
            (Some("1\n2\n3\n"), "a: stale from line 3"),
        ];
        for (kept, expected) in cases {
            assert!(
                differs("a", kept, "1\n2\n").is_some_and(|finding| finding.starts_with(expected)),
                "{kept:?}"
            );
        }
    }

    #[test]
    fn a_file_that_nothing_derives_any_more_is_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(outlived(root.path()).unwrap(), Vec::<String>::new());
        let schemas = root.path().join("docs/reference/schemas");
        fs::create_dir_all(&schemas).unwrap();
        for name in ["mandate.json", "warrant.json"] {
            fs::write(schemas.join(name), "{}").unwrap();
        }
        assert_eq!(outlived(root.path()).unwrap(), ["docs/reference/schemas/warrant.json"]);
    }
}
