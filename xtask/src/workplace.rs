//! Nothing that is kept names the machine it was made on: no path of a home directory or build machine, no package
//! registry or mirror. What does would work in one place only, and tell more about that place than it should.
//!
//! The list of places is of usual ones; the checkout's own path and the caller's home directory are added when the
//! check runs. `Cargo.lock` is exempt, because cargo writes the registry's name into it.

use std::path::Path;

use anyhow::Result;

use crate::repository::Repository;

/// Directories under which people and build machines work. Written in halves: this file is checked as well.
const PLACES: &[(&str, &str)] =
    &[("/ro", "ot/"), ("/wo", "rk/"), ("/wo", "rkspace/"), ("/home/run", "ner/"), ("/Us", "ers/")];

/// Hosts that packages come from; a tool's own configuration chooses one, the repository does not.
const HOSTS: &[(&str, &str)] = &[
    ("registry.np", "mjs.org"),
    ("registry.yarn", "pkg.com"),
    ("files.python", "hosted.org"),
    ("pyp", "i.org/simple"),
    ("index.cra", "tes.io"),
    ("static.cra", "tes.io"),
    ("proxy.gol", "ang.org"),
];

/// Keys in package managers' files that carry an address.
const KEYS: &[(&str, &str)] = &[("\"resol", "ved\":"), ("--index", "-url"), ("--extra-index", "-url")];

/// Checks every file but `Cargo.lock`; gives one finding a line.
pub(crate) fn check(repository: &Repository) -> Result<Vec<String>> {
    let banned = banned(repository.root());
    let mut findings = Vec::new();
    for file in repository.files()? {
        if file != Path::new("Cargo.lock") {
            findings.extend(search(&file.display().to_string(), &repository.text(&file)?, &banned));
        }
    }
    Ok(findings)
}

fn banned(root: &Path) -> Vec<String> {
    let mut banned: Vec<String> =
        [PLACES, HOSTS, KEYS].concat().iter().map(|(one, other)| [*one, *other].concat()).collect();
    #[expect(clippy::disallowed_methods, reason = "the home directory is known from the environment only")]
    let home = std::env::var("HOME").unwrap_or_default();
    for own in [root.display().to_string(), home] {
        // `/` and the like would be found in every file.
        if Path::new(&own).components().count() > 2 {
            banned.push(own);
        }
    }
    banned
}

fn search(file: &str, text: &str, banned: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in banned.iter().filter(|word| names(line, word)) {
            findings.push(format!("{file}:{}: names “{word}”", index + 1));
        }
    }
    findings
}

/// Whether `line` holds `word`; a path only where a path begins, so that `/api/work/…` is none.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let within = before.is_some_and(|letter| letter.is_alphanumeric() || "._-~})]*>".contains(letter));
        !(word.starts_with('/') && within)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_registries_are_found_with_their_line() {
        let banned = banned(Path::new("/srv/build/warrantor"));
        let place = ["/ro", "ot/.cargo"].concat();
        let cases = [
            (format!("see {place}/config"), true),
            (format!("PATH=/bin:{place}"), true),
            (format!("file://{place}"), true),
            (format!("\"{place}\""), true),
            (format!("https://example.com{place}"), false),
            (format!("data{place}"), false),
            ("a log has one root / one tree".to_owned(), false),
            ("in /srv/build/warrantor/target".to_owned(), true),
            (["https://registry.np", "mjs.org/x"].concat(), true),
            (["  \"resol", "ved\": \"…\""].concat(), true),
        ];
        for (line, expected) in cases {
            let found = search("a.md", &format!("first\n{line}\n"), &banned);
            assert_eq!(!found.is_empty(), expected, "{line}: {found:?}");
            assert!(found.iter().all(|finding| finding.starts_with("a.md:2: names ")), "{found:?}");
        }
    }
}
