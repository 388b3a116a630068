//! The dependency policy of `deny.toml`: licences, bans, sources, wildcards.
//!
//! Checked here rather than by cargo-deny, because every fresh clone would have to build that first: four minutes and
//! some three hundred crates for a question that `cargo metadata` answers at once. What this check does not do:
//! advisories, which need a database from the network; licence texts, where it believes the manifest; version ranges
//! and features in bans.

use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::licences;
use crate::metadata::{Metadata, Package};
use crate::repository::Repository;

/// The one registry; cargo writes its name so whatever mirror serves it.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// `deny.toml`. A key that is not listed is an error: what is not enforced must not look as if it were.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    licenses: Licences,
    bans: Bans,
    #[serde(rename = "sources")]
    _sources: Sources,
    #[serde(rename = "advisories")]
    _advisories: toml::Table,
    #[serde(rename = "graph")]
    _graph: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    allow: Vec<String>,
    exceptions: Vec<LicenceException>,
    #[serde(rename = "private")]
    _private: Private,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LicenceException {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

/// Our own crates are held to the same licences.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    #[serde(rename = "ignore")]
    _ignore: Fixed<false>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    #[serde(rename = "multiple-versions")]
    _multiple_versions: Allow,
    #[serde(rename = "wildcards")]
    _wildcards: Deny,
    #[serde(rename = "allow-wildcard-paths")]
    _allow_wildcard_paths: Fixed<true>,
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    #[serde(rename = "unknown-registry")]
    _unknown_registry: Deny,
    #[serde(rename = "unknown-git")]
    _unknown_git: Deny,
}

/// A level that is only ever enforced as `deny`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deny {
    Deny,
}

/// A level that is not enforced, and must say so.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Allow {
    Allow,
}

/// A switch that has one supported value.
struct Fixed<const VALUE: bool>;

impl<'de, const VALUE: bool> Deserialize<'de> for Fixed<VALUE> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match bool::deserialize(deserializer)? {
            value if value == VALUE => Ok(Self),
            _ => Err(serde::de::Error::custom(format!("only {VALUE} is supported"))),
        }
    }
}

/// Checks every package of every platform; gives one finding a line.
pub(crate) fn check(repository: &Repository) -> Result<Vec<String>> {
    let text = fs::read_to_string(repository.root().join("deny.toml")).context("cannot read deny.toml")?;
    judge(&policy(&text)?, &Metadata::read(repository)?)
}

fn policy(text: &str) -> Result<Policy> {
    toml::from_str(text).context("deny.toml says what xtask/src/dependencies.rs does not enforce")
}

fn judge(policy: &Policy, metadata: &Metadata) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        findings.extend(licence(policy, package)?);
    }
    for package in metadata.foreign() {
        findings.extend(source(package));
        findings.extend(ban(policy, package));
    }
    for member in metadata.members() {
        for dependency in member.dependencies.iter().filter(|dependency| dependency.path.is_none()) {
            if dependency.req.contains('*') {
                findings.push(format!("{}: {} has no version; give one", member.name, dependency.name));
            }
        }
    }
    findings.extend(outlived(policy, metadata));
    Ok(findings)
}

fn outlived(policy: &Policy, metadata: &Metadata) -> Vec<String> {
    let names = policy.licenses.exceptions.iter().map(|exception| &exception.name);
    names
        .filter(|name| !metadata.packages.iter().any(|package| package.name == **name))
        .map(|name| format!("the licence exception for {name} is no longer needed; remove it"))
        .collect()
}

fn licence(policy: &Policy, package: &Package) -> Result<Option<String>> {
    let whole = format!("{} {}", package.name, package.version);
    let Some(expression) = &package.license else {
        return Ok(Some(format!("{whole}: names no licence")));
    };
    let mut allowed = policy.licenses.allow.clone();
    let exceptions = policy.licenses.exceptions.iter().filter(|exception| exception.name == package.name);
    allowed.extend(exceptions.flat_map(|exception| exception.allow.iter().cloned()));
    let satisfied = licences::satisfied(expression, &allowed).with_context(|| whole.clone())?;
    Ok((!satisfied).then(|| format!("{whole}: licence “{expression}” is not allowed")))
}

fn source(package: &Package) -> Option<String> {
    let from = package.source.as_deref().unwrap_or("a directory outside the workspace");
    (from != REGISTRY).then(|| {
        format!("{} {}: comes from {from}; only crates.io is allowed", package.name, package.version)
    })
}

fn ban(policy: &Policy, package: &Package) -> Option<String> {
    let ban = policy.bans.deny.iter().find(|ban| ban.name == package.name)?;
    Some(format!(
        "{} {}: banned: {} (cargo tree --target all -i {0})",
        package.name, package.version, ban.reason
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Value {
        json!({
            "id": name, "name": name, "version": "1.0.0", "license": license, "source": source,
            "manifest_path": "/r/Cargo.toml", "dependencies": [], "targets": [],
        })
    }

    fn findings(packages: &[Value]) -> Vec<String> {
        let whole =
            json!({"packages": packages, "workspace_members": ["ours"], "target_directory": "/r/target"});
        let mut policy = policy(include_str!("../../deny.toml")).unwrap();
        policy
            .licenses
            .exceptions
            .retain(|exception| packages.iter().any(|package| package["name"] == exception.name));
        judge(&policy, &serde_json::from_value(whole).unwrap()).unwrap()
    }

    #[test]
    fn each_breach_of_the_policy_is_found() {
        let cases = [
            (package("fine", Some("MIT OR Apache-2.0"), Some(REGISTRY)), ""),
            (package("ours", Some("Apache-2.0"), None), ""),
            (package("ours", Some("AGPL-3.0"), None), "licence “AGPL-3.0” is not allowed"),
            (package("copyleft", Some("GPL-3.0-only"), Some(REGISTRY)), "is not allowed"),
            (package("unlicensed", None, Some(REGISTRY)), "names no licence"),
            (package("forked", Some("MIT"), Some("git+https://example.com/x")), "only crates.io"),
            (package("mirrored", Some("MIT"), Some("registry+https://example.com/index")), "only crates.io"),
            (package("vendored", Some("MIT"), None), "a directory outside the workspace"),
            (package("openssl", Some("MIT"), Some(REGISTRY)), "banned: one TLS"),
        ];
        for (package, expected) in cases {
            let found = findings(std::slice::from_ref(&package));
            if expected.is_empty() {
                assert_eq!(found, Vec::<String>::new(), "{package}");
            } else {
                assert_eq!(found.len(), 1, "{package}: {found:?}");
                assert!(found[0].contains(expected), "{package}: {found:?}");
            }
        }
    }

    #[test]
    fn a_dependency_needs_a_version_unless_it_lies_in_the_workspace() {
        let mut ours = package("ours", Some("MIT"), None);
        ours["dependencies"] = json!([
            {"name": "theirs", "req": "*", "kind": null, "path": null},
            {"name": "neighbour", "req": "*", "kind": null, "path": "/r/neighbour"},
            {"name": "pinned", "req": "^1", "kind": null, "path": null},
        ]);
        assert_eq!(findings(&[ours]), ["ours: theirs has no version; give one"]);
    }

    #[test]
    fn a_licence_exception_holds_for_its_crate_and_may_not_outlive_it() {
        let packages = [package("minicbor", Some("BlueOak-1.0.0"), Some(REGISTRY))];
        assert_eq!(findings(&packages), Vec::<String>::new());
        assert_eq!(findings(&[package("other", Some("BlueOak-1.0.0"), Some(REGISTRY))]).len(), 1);
        let metadata = json!({"packages": [], "workspace_members": [], "target_directory": "/r/target"});
        let policy = policy(include_str!("../../deny.toml")).unwrap();
        let found = judge(&policy, &serde_json::from_value(metadata).unwrap()).unwrap();
        assert!(
            found.contains(&"the licence exception for minicbor is no longer needed; remove it".to_owned())
        );
    }

    #[test]
    fn what_is_not_enforced_may_not_be_written() {
        let text = include_str!("../../deny.toml");
        for (from, to) in [
            ("unknown-git = \"deny\"", "unknown-git = \"warn\""),
            ("multiple-versions = \"allow\"", "multiple-versions = \"deny\""),
            ("exceptions = [", "copyleft = \"deny\"\nexceptions = ["),
            ("ignore = false", "ignore = true"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(policy(&text.replace(from, to)).is_err(), "{to}");
        }
    }
}
