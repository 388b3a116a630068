//! Who may import whom, checked against what cargo says.
//!
//! Each crate under `crates/` stands on a floor and imports only from lower ones; neighbours never meet. Some
//! libraries are fenced into the crates that exist to hold them. The tables below are the law; ARCHITECTURE.md tells
//! its reasons.
//!
//! Dependencies for tests obey the same rules, `testkit` excepted: a test that needs a higher floor usually belongs
//! up there. Where it does not, the edge is listed in [`TEST_EXCEPTIONS`] with its reason, and an entry that is no
//! longer needed is a finding too.
//!
//! Packages outside `crates/` (`xtask`, `fuzz`, `bench`) are tools: they may import any floor and nobody imports
//! them. Of the fences, they keep only that of the command line.

use std::path::Path;

use anyhow::Result;

use crate::metadata::{Dependency, Metadata, Package};
use crate::process;
use crate::repository::Repository;

/// Where a crate stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Floor(u8),
    /// Imported by tests only.
    Tests,
}

/// Directory under `crates/`, and its place.
const PLACES: &[(&str, Place)] = &[
    ("model", Place::Floor(0)),
    ("mcp", Place::Floor(1)),
    ("tokens", Place::Floor(1)),
    ("ledger", Place::Floor(1)),
    ("decide", Place::Floor(2)),
    ("bundle", Place::Floor(3)),
    ("store", Place::Floor(3)),
    ("engine", Place::Floor(4)),
    ("store-sql", Place::Floor(4)),
    ("facts", Place::Floor(4)),
    ("client", Place::Floor(4)),
    ("issuers", Place::Floor(4)),
    ("control", Place::Floor(5)),
    ("edge", Place::Floor(5)),
    ("api", Place::Floor(6)),
    ("gateway", Place::Floor(6)),
    ("demo", Place::Floor(6)),
    ("cli", Place::Floor(7)),
    ("testkit", Place::Tests),
];

/// Libraries that only the listed crates (or tools) import. A name covers its companions: `sqlx` also `sqlx-core`.
const FENCES: &[(&str, &[&str])] = &[
    ("cedar-policy", &["decide"]),
    ("rusqlite", &["store-sql", "facts"]),
    ("sqlx", &["store-sql", "facts"]),
    ("axum", &["api", "gateway"]),
    ("clap", &["cli", "xtask", "bench"]),
    ("anyhow", &["cli", "xtask", "bench"]),
];

/// Fences that tools keep as well; the others bound the product only (a benchmark compares with bare Cedar).
const FENCES_FOR_TOOLS: &[&str] = &["clap", "anyhow"];

/// Test dependencies that break a rule above: directory, imported package, reason.
const TEST_EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Up to this floor nothing waits and nothing is async: tokio must not appear, not even behind a dependency.
const PURE_UP_TO: u8 = 2;

/// Checks the workspace; gives one finding a line.
pub(crate) fn check(repository: &Repository) -> Result<Vec<String>> {
    let metadata = Metadata::read(repository)?;
    let mut findings = imports(&metadata, repository.root(), TEST_EXCEPTIONS);
    for package in metadata.members() {
        let Some(Home::Crate { directory, place: Place::Floor(floor) }) = home(package, repository.root())
        else {
            continue;
        };
        if floor <= PURE_UP_TO {
            findings.extend(waits(directory, &tree(repository, &package.name)?));
        }
    }
    Ok(findings)
}

/// Where a package of the workspace belongs.
enum Home<'a> {
    Crate { directory: &'a str, place: Place },
    Unknown { directory: &'a str },
    Tool { directory: &'a str },
}

impl Home<'_> {
    fn directory(&self) -> &str {
        match self {
            Self::Crate { directory, .. } | Self::Unknown { directory } | Self::Tool { directory } => {
                directory
            }
        }
    }
}

fn home<'a>(package: &'a Package, root: &Path) -> Option<Home<'a>> {
    let path = package.directory(root)?;
    let directory = path.file_name()?.to_str()?;
    if path.parent() != Some(Path::new("crates")) {
        return Some(Home::Tool { directory });
    }
    let place = PLACES.iter().find(|(name, _)| *name == directory);
    Some(match place {
        Some((_, place)) => Home::Crate { directory, place: *place },
        None => Home::Unknown { directory },
    })
}

/// Every rule that can be seen in the manifests.
fn imports(metadata: &Metadata, root: &Path, exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut used = Vec::new();
    for package in metadata.members() {
        let Some(home) = home(package, root) else {
            findings.push(format!("{}: lies outside the repository", package.name));
            continue;
        };
        findings.extend(named(package, &home));
        for dependency in &package.dependencies {
            let Some(complaint) = complaint(metadata, root, &home, dependency) else { continue };
            let excepted = exceptions.iter().find(|(directory, imported, _)| {
                dependency.is_dev() && *directory == home.directory() && *imported == dependency.name
            });
            match excepted {
                Some(exception) => used.push(exception),
                None => findings.push(format!("{}: {complaint}", home.directory())),
            }
        }
    }
    for exception in exceptions.iter().filter(|exception| !used.contains(exception)) {
        let (directory, imported, _) = exception;
        findings.push(format!("{directory}: the exception for {imported} is no longer needed; remove it"));
    }
    findings
}

/// A crate is known and called after its directory.
fn named(package: &Package, home: &Home<'_>) -> Option<String> {
    match home {
        Home::Unknown { directory } => Some(format!(
            "{directory}: stands on no floor; give crates/{directory} a line in xtask/src/floors.rs"
        )),
        Home::Crate { directory, .. } => {
            let expected =
                if *directory == "cli" { "warrantor".to_owned() } else { format!("warrantor-{directory}") };
            (package.name != expected)
                .then(|| format!("{directory}: the package is called {}, not {expected}", package.name))
        }
        Home::Tool { .. } => None,
    }
}

/// What is wrong with one dependency, if anything.
fn complaint(metadata: &Metadata, root: &Path, home: &Home<'_>, dependency: &Dependency) -> Option<String> {
    if dependency.path.is_none() {
        return fenced(home, &dependency.name);
    }
    let imported = metadata.members().find(|member| member.name == dependency.name)?;
    let name = &imported.name;
    match (home, self::home(imported, root)?) {
        // A crate may switch on its own features for its tests.
        (_, other) if other.directory() == home.directory() && dependency.is_dev() => None,
        (_, Home::Tool { .. }) => Some(format!("imports {name}, a tool; nobody imports tools")),
        (_, Home::Crate { place: Place::Tests, .. }) => (!dependency.is_dev())
            .then(|| format!("imports {name}, which is for tests only (dev-dependencies)")),
        (Home::Crate { place: Place::Floor(own), .. }, Home::Crate { place: Place::Floor(other), .. })
            if other >= *own =>
        {
            let relation = if other == *own { "a neighbour" } else { "from above" };
            Some(format!("floor {own} imports {name} of floor {other}, {relation}; only lower floors may be"))
        }
        _ => None,
    }
}

fn fenced(home: &Home<'_>, dependency: &str) -> Option<String> {
    let (fence, inside) = FENCES.iter().find(|(fence, _)| covers(fence, dependency))?;
    let bound = match home {
        Home::Tool { .. } => FENCES_FOR_TOOLS.contains(fence),
        Home::Crate { .. } | Home::Unknown { .. } => true,
    };
    (bound && !inside.contains(&home.directory()))
        .then(|| format!("imports {dependency}, which is fenced into {}", inside.join(", ")))
}

fn covers(fence: &str, dependency: &str) -> bool {
    dependency.strip_prefix(fence).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

/// The names of all packages that `package` is built with, whatever its features and on any platform.
///
/// Asked per package: `cargo metadata` shows the features that the whole workspace switches on together, and would
/// find tokio behind a library that only the gateway uses so.
fn tree(repository: &Repository, package: &str) -> Result<String> {
    process::answer(
        process::cargo()
            .args(["tree", "--locked", "--package", package, "--all-features", "--target", "all"])
            .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]),
        repository.root(),
    )
}

fn waits(directory: &str, tree: &str) -> Option<String> {
    let tokio = tree.lines().filter_map(|line| line.split(' ').next()).find(|name| covers("tokio", name))?;
    Some(format!(
        "{directory}: is built with {tokio}; floors 0 to {PURE_UP_TO} stay without (cargo tree -i {tokio})"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A dependency as (name, kind).
    type Edges<'a> = &'a [(&'a str, &'a str)];

    /// A workspace of packages given as (directory, dependencies).
    fn workspace(packages: &[(&str, Edges<'_>)]) -> Metadata {
        let name = |path: &str| match path.strip_prefix("crates/") {
            Some("cli") => "warrantor".to_owned(),
            Some(directory) => format!("warrantor-{directory}"),
            None => path.to_owned(),
        };
        let names: Vec<String> = packages.iter().map(|(path, _)| name(path)).collect();
        let dependency = |(imported, kind): &(&str, &str)| {
            json!({
                "name": imported, "req": "*", "kind": if *kind == "normal" { Value::Null } else { json!(kind) },
                "path": names.iter().any(|name| name == imported).then_some("/r/somewhere"),
            })
        };
        let packages: Vec<Value> = packages
            .iter()
            .map(|(path, dependencies)| {
                json!({
                    "id": name(path), "name": name(path), "version": "0.1.0", "license": null, "source": null,
                    "manifest_path": format!("/r/{path}/Cargo.toml"),
                    "dependencies": dependencies.iter().map(dependency).collect::<Vec<_>>(), "targets": [],
                })
            })
            .collect();
        let whole =
            json!({"packages": packages, "workspace_members": names, "target_directory": "/r/target"});
        serde_json::from_value(whole).unwrap()
    }

    fn findings(packages: &[(&str, Edges<'_>)], exceptions: &[(&str, &str, &str)]) -> Vec<String> {
        imports(&workspace(packages), Path::new("/r"), exceptions)
    }

    #[test]
    fn imports_keep_to_lower_floors_and_fences() {
        let model = ("crates/model", &[] as &[_]);
        let cases: &[(&str, Edges<'_>, &str)] = &[
            ("crates/decide", &[("warrantor-model", "normal")], ""),
            ("crates/model", &[("warrantor-decide", "normal")], "from above"),
            ("crates/model", &[("warrantor-decide", "dev")], "from above"),
            ("crates/model", &[("warrantor-decide", "build")], "from above"),
            ("crates/ledger", &[("warrantor-mcp", "normal")], "a neighbour"),
            ("crates/ledger", &[("warrantor-mcp", "dev")], "a neighbour"),
            ("crates/ledger", &[("warrantor-ledger", "dev")], ""),
            ("crates/decide", &[("warrantor-testkit", "dev")], ""),
            ("crates/decide", &[("warrantor-testkit", "normal")], "for tests only"),
            ("crates/cli", &[("xtask", "dev")], "nobody imports tools"),
            ("xtask", &[("warrantor-decide", "normal")], ""),
            ("crates/decide", &[("cedar-policy", "normal")], ""),
            ("crates/engine", &[("cedar-policy", "normal")], "fenced into decide"),
            ("crates/engine", &[("cedar-policy-core", "dev")], "fenced into decide"),
            ("bench", &[("cedar-policy", "normal")], ""),
            ("bench", &[("clap", "normal")], ""),
            ("crates/store", &[("sqlx", "normal")], "fenced into store-sql, facts"),
            ("crates/store-sql", &[("sqlx", "normal")], ""),
            ("crates/gateway", &[("axum-extra", "normal")], ""),
            ("crates/control", &[("axum", "normal")], "fenced into api, gateway"),
            ("crates/cli", &[("clap_complete", "normal"), ("anyhow", "normal")], ""),
            ("crates/gateway", &[("anyhow", "build")], "fenced into cli, xtask, bench"),
            ("crates/gateway", &[("clapboard", "normal")], ""),
            ("crates/attic", &[], "stands on no floor"),
        ];
        let others: [(&str, Edges<'_>); 6] = [
            model,
            ("crates/mcp", &[]),
            ("crates/decide", &[]),
            ("crates/testkit", &[]),
            ("crates/engine", &[]),
            ("xtask", &[]),
        ];
        for (path, dependencies, expected) in cases {
            let mut packages = vec![(*path, *dependencies)];
            packages.extend(others.iter().filter(|(other, _)| other != path));
            let found = findings(&packages, &[]);
            if expected.is_empty() {
                assert_eq!(found, Vec::<String>::new(), "{path} {dependencies:?}");
            } else {
                assert_eq!(found.len(), 1, "{path} {dependencies:?}: {found:?}");
                assert!(found[0].contains(expected), "{path} {dependencies:?}: {found:?}");
            }
        }
    }

    #[test]
    fn an_exception_covers_tests_only_and_may_not_outlive_its_need() {
        let exception = [("ledger", "warrantor-mcp", "differential test")];
        let mcp: (&str, Edges<'_>) = ("crates/mcp", &[]);
        assert!(findings(&[("crates/ledger", &[("warrantor-mcp", "dev")]), mcp], &exception).is_empty());
        let normal = findings(&[("crates/ledger", &[("warrantor-mcp", "normal")]), mcp], &exception);
        assert!(normal.iter().any(|finding| finding.contains("a neighbour")), "{normal:?}");
        let outlived = findings(&[("crates/ledger", &[]), mcp], &exception);
        assert!(outlived.iter().any(|finding| finding.contains("no longer needed")), "{outlived:?}");
    }

    #[test]
    fn a_package_is_called_after_its_directory() {
        let mut metadata = workspace(&[("crates/model", &[])]);
        metadata.packages[0].name = "nouns".to_owned();
        let found = imports(&metadata, Path::new("/r"), &[]);
        assert!(
            found.iter().any(|finding| finding.contains("called nouns, not warrantor-model")),
            "{found:?}"
        );
    }

    #[test]
    fn tokio_is_found_anywhere_in_a_tree() {
        assert_eq!(waits("mcp", "warrantor-mcp v0.1.0 (/r)\nserde v1.0.0\ntokenizer v1.0.0"), None);
        for tree in ["a v1\ntokio v1.54.0 (*)", "a v1\ntokio-util v0.7.1"] {
            assert!(
                waits("mcp", tree).is_some_and(|finding| finding.starts_with("mcp: is built with tokio"))
            );
        }
    }
}
