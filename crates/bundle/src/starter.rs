//! The starter bundle of `warrantor init`: a real server, wrapped, with comments that teach.

use thiserror::Error;
use warrantor_decide::kind::canonical;
use warrantor_model::{Digest, IdError, Kind, PersonId};

use crate::{definitions::Definitions, report::Report, text::quoted};

/// The npm package that the starter's manifest describes, with its version.
pub const STARTER_PACKAGE: &str = "@modelcontextprotocol/server-filesystem@2026.8.31";
/// The server's name in the starter.
pub const STARTER_SERVER: &str = "files";
/// The mandate in the starter.
pub const STARTER_MANDATE: &str = "tidy-notes";
/// The directory below the root that the starter's mandate may write to.
pub const STARTER_NOTES: &str = "notes";

const DEFINITIONS: (&str, &str) =
    ("tools/files.tools.json", include_str!("../starter/tools/files.tools.json"));
const TEMPLATES: [(&str, &str); 7] = [
    ("warrantor.toml", include_str!("../starter/warrantor.toml")),
    ("people.yaml", include_str!("../starter/people.yaml")),
    ("agents.yaml", include_str!("../starter/agents.yaml")),
    ("tools/files.yaml", include_str!("../starter/tools/files.yaml")),
    ("policies/base.cedar", include_str!("../starter/policies/base.cedar")),
    ("policies/secrets.cedar", include_str!("../starter/policies/secrets.cedar")),
    ("mandates/tidy-notes.yaml", include_str!("../starter/mandates/tidy-notes.yaml")),
];

/// Why there is no starter for these arguments. The caller's fault, but for the last.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StarterError {
    /// The directory cannot be compared with paths.
    #[error("{root:?} {why}: give the directory as a plain absolute path")]
    Root {
        /// What was given.
        root: String,
        /// What is wrong with it.
        why: String,
    },
    /// The person cannot be named so.
    #[error(transparent)]
    Person(#[from] IdError),
    /// The definitions that were built in do not read. Our fault.
    #[error("the starter's own definitions are at fault: {0}")]
    Definitions(String),
}

/// The files of a starter bundle, by their paths: an agent that reads everything below `root` and writes only within its directory
/// [`STARTER_NOTES`], for this person.
///
/// # Errors
/// [`StarterError`] when `root` is no plain absolute path, or `person` no id.
pub fn starter(root: &str, person: &str) -> Result<Vec<(String, String)>, StarterError> {
    let wrong = |why: String| StarterError::Root { root: root.to_owned(), why };
    let canonical_root = canonical(Kind::Path, root).map_err(|cause| wrong(cause.to_string()))?;
    if !canonical_root.starts_with('/') {
        return Err(wrong("is a relative path".to_owned()));
    }
    let person = PersonId::new(person)?;
    let notes = format!("{}/{STARTER_NOTES}", canonical_root.trim_end_matches('/'));
    let values = [
        ("root", quoted(&canonical_root)),
        ("notes", quoted(&notes)),
        ("person", quoted(person.as_str())),
        ("digest", definitions_digest()?.to_string()),
    ];
    Ok(TEMPLATES
        .iter()
        .map(|(path, text)| ((*path).to_owned(), fill(text, &values)))
        .chain(std::iter::once((DEFINITIONS.0.to_owned(), DEFINITIONS.1.to_owned())))
        .collect())
}

/// Fills the holes in one pass, so that a value that looks like a hole stays what it is.
fn fill(text: &str, values: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        match values
            .iter()
            .find_map(|(hole, value)| Some((value, after.strip_prefix(*hole)?.strip_prefix("}}")?)))
        {
            Some((value, tail)) => {
                out.push_str(value);
                rest = tail;
            }
            None => {
                out.push_str("{{");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn definitions_digest() -> Result<Digest, StarterError> {
    let mut report = Report::default();
    match Definitions::parse(DEFINITIONS.0, DEFINITIONS.1.as_bytes(), &mut report) {
        Some((_, definitions)) => Ok(definitions.digest),
        None => Err(StarterError::Definitions(report.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Listed, load_files};

    fn files(root: &str, person: &str) -> Vec<(String, Vec<u8>)> {
        starter(root, person).unwrap().into_iter().map(|(path, text)| (path, text.into_bytes())).collect()
    }

    #[test]
    fn the_starter_passes_its_own_check_without_a_word() {
        for (root, person) in [
            ("/home/alice", "alice"),
            ("/", "a@b.example"),
            ("/tmp/a \"b\" {{person}} é/", "0"),
            ("/x: #y", "no"),
        ] {
            let loaded = load_files(files(root, person))
                .unwrap_or_else(|report| panic!("{root}\n{}", Listed(&report)));
            assert!(loaded.warnings.is_empty(), "{:#?}", loaded.warnings);
            let template = &loaded.templates[&STARTER_MANDATE.parse().unwrap()];
            assert_eq!(template.terms.person.as_str(), person);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_no_root() {
        for root in ["", "notes", "/a/../b", "~/notes", "C:\\notes", "/a\nb", "/a/%2e%2e"] {
            assert!(matches!(starter(root, "alice"), Err(StarterError::Root { .. })), "{root:?} was taken");
        }
        assert!(matches!(starter("/a", "al ice"), Err(StarterError::Person(_))));
    }
}
