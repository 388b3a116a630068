//! The files of a bundle: which there are, what each is, and the digest over them.
//!
//! A file that could have been meant as part of the bundle and is not read is told: a forbid in `policy/` instead of `policies/` must not be
//! missed quietly.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use warrantor_model::Digest;

use crate::{
    doc::{Format, whole},
    report::{Report, Severity},
};

/// Most bytes of one file.
pub const MAX_FILE_BYTES: u64 = 4 << 20;
/// Most bytes of all files together.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// Most files.
pub const MAX_FILES: usize = 10_000;

/// What a file of a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Config,
    People,
    Agents,
    Trackers,
    Manifest,
    Definitions,
    Policy,
    Mandate,
    Test,
}

/// Directories of a bundle.
const DIRECTORIES: [&str; 4] = ["tools", "policies", "mandates", "tests"];
/// Files at the top that have one name and several extensions.
const TOP: [(&str, Role); 3] =
    [("people", Role::People), ("agents", Role::Agents), ("trackers", Role::Trackers)];
const STRUCTURED: [&str; 3] = ["yaml", "yml", "json"];

/// What a path within a bundle is, by its name alone.
pub(crate) fn role(path: &str) -> Option<Role> {
    if path == "warrantor.toml" {
        return Some(Role::Config);
    }
    let structured = |name: &str| {
        name.rsplit_once('.')
            .is_some_and(|(stem, extension)| !stem.is_empty() && STRUCTURED.contains(&extension))
    };
    match path.split_once('/') {
        None => {
            let (stem, extension) = path.rsplit_once('.')?;
            TOP.iter()
                .find(|(name, _)| *name == stem && STRUCTURED.contains(&extension))
                .map(|(_, role)| *role)
        }
        Some((_, name)) if name.contains('/') || name.starts_with('.') => None,
        Some(("tools", name)) if name.ends_with(".tools.json") => Some(Role::Definitions),
        Some(("tools", name)) if structured(name) => Some(Role::Manifest),
        Some(("policies", name)) if name.ends_with(".cedar") && name != ".cedar" => Some(Role::Policy),
        Some(("mandates", name)) if structured(name) => Some(Role::Mandate),
        Some(("tests", name)) if structured(name) => Some(Role::Test),
        Some(_) => None,
    }
}

/// Whether a file plainly is no part of a bundle: notes, and what version control and editors leave.
fn is_beside(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".md") || name.ends_with(".cedarschema") || name.ends_with('~')
}

/// The files of a bundle by their path, `/` between directories.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    /// Reads a directory. What cannot be read is in the report.
    pub(crate) fn read(dir: &Path, report: &mut Report) -> Self {
        let mut reader = Walk { files: Self::default(), total: 0, report };
        reader.top(dir);
        reader.files
    }

    /// The digest over paths and contents, whatever the order they were found in.
    pub(crate) fn revision(&self) -> Digest {
        let mut lengths: Vec<[u8; 8]> = Vec::with_capacity(self.0.len().saturating_mul(2));
        for (path, contents) in &self.0 {
            lengths.push(length(path.len()));
            lengths.push(length(contents.len()));
        }
        let mut parts: Vec<&[u8]> = vec![b"warrantor bundle 1\n"];
        for ((path, contents), lengths) in self.0.iter().zip(lengths.chunks(2)) {
            // Each length stands before what it measures, so that no boundary can be moved.
            for (length, bytes) in lengths.iter().zip([path.as_bytes(), contents.as_slice()]) {
                parts.push(length);
                parts.push(bytes);
            }
        }
        Digest::of_parts(&parts)
    }

    /// Files of a role, by path.
    pub(crate) fn of(&self, wanted: Role) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .filter(move |(path, _)| role(path) == Some(wanted))
            .map(|(path, contents)| (path.as_str(), contents.as_slice()))
    }
}

fn length(bytes: usize) -> [u8; 8] {
    u64::try_from(bytes).unwrap_or(u64::MAX).to_be_bytes()
}

struct Walk<'a> {
    files: Files,
    total: u64,
    report: &'a mut Report,
}

impl Walk<'_> {
    fn error(&mut self, file: &str, message: impl Into<String>, cure: &str) {
        self.report.push(whole(file, Severity::Error, message, cure));
    }

    /// Names in a directory, sorted. Hidden ones and notes are left out.
    fn names(&mut self, dir: &Path, shown: &str) -> Vec<(String, PathBuf)> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(cause) => {
                let message = format!("{} cannot be read: {cause}", dir.display());
                self.error(shown, message, "name a directory that holds a bundle");
                return Vec::new();
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            match entry.map(|entry| (entry.file_name().into_string(), entry.path())) {
                Ok((Ok(name), path)) if !is_beside(&name) => names.push((name, path)),
                Ok((Ok(_), _)) => {}
                Ok((Err(name), _)) => {
                    let message = format!("the name {} is not UTF-8", name.display());
                    self.error(shown, message, "rename the file");
                }
                Err(cause) => self.error(shown, format!("the directory cannot be read: {cause}"), ""),
            }
        }
        names.sort();
        names
    }

    fn top(&mut self, dir: &Path) {
        for (name, path) in self.names(dir, "") {
            match (path.is_dir(), role(&name)) {
                (true, _) if DIRECTORIES.contains(&name.as_str()) => self.directory(&name, &path),
                (false, Some(_)) => self.file(&name, &path),
                (true, _) => {
                    let known = DIRECTORIES.join(", ");
                    let message = format!("the directory {name} is not read");
                    self.report.push(whole(
                        &name,
                        Severity::Warning,
                        message,
                        &format!("a bundle's directories are: {known}"),
                    ));
                }
                (false, None) if looks_meant(&name) => {
                    let message = format!("{name} is not read");
                    let cure =
                        "files at the top are: warrantor.toml, people.yaml, agents.yaml, trackers.yaml";
                    self.report.push(whole(&name, Severity::Warning, message, cure));
                }
                (false, None) => {}
            }
        }
        for (stem, wanted) in TOP {
            let several: Vec<String> = self.files.of(wanted).map(|(path, _)| path.to_owned()).collect();
            if let [_, .., last] = several.as_slice() {
                let message = format!("several files state {stem}: {}", several.join(", "));
                self.error(last, message, "keep one");
            }
        }
    }

    fn directory(&mut self, name: &str, dir: &Path) {
        for (file, path) in self.names(dir, name) {
            let relative = format!("{name}/{file}");
            if path.is_dir() {
                self.error(
                    &relative,
                    "a directory where only files are read",
                    &format!("move its files to {name}/"),
                );
            } else if role(&relative).is_some() {
                self.file(&relative, &path);
            } else {
                let cure = match name {
                    "policies" => "policies end in .cedar; move anything else away",
                    "tools" => {
                        "manifests end in .yaml or .json, definitions in .tools.json; move anything else away"
                    }
                    _ => "files here end in .yaml or .json; move anything else away",
                };
                self.error(&relative, "the file is not read", cure);
            }
        }
    }

    fn file(&mut self, relative: &str, path: &Path) {
        if self.files.0.len() >= MAX_FILES {
            self.error(relative, format!("more than {MAX_FILES} files"), "divide the bundle");
            return;
        }
        match read_bounded(path) {
            Ok(contents) => {
                let size = u64::try_from(contents.len()).unwrap_or(u64::MAX);
                self.total = self.total.saturating_add(size);
                if size > MAX_FILE_BYTES {
                    let message = format!("the file has more than {MAX_FILE_BYTES} bytes");
                    self.error(relative, message, "divide it");
                } else if self.total > MAX_TOTAL_BYTES {
                    let message = format!("the files have more than {MAX_TOTAL_BYTES} bytes together");
                    self.error(relative, message, "divide the bundle");
                } else {
                    self.files.0.insert(relative.to_owned(), contents);
                }
            }
            Err(cause) => self.error(relative, format!("the file cannot be read: {cause}"), ""),
        }
    }
}

/// One byte more than the bound at most, so that the caller sees what is too long.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut contents = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES.saturating_add(1)).read_to_end(&mut contents)?;
    Ok(contents)
}

/// A name that someone could have meant as a part of the bundle.
fn looks_meant(name: &str) -> bool {
    Format::of(name).is_some() || name.ends_with(".cedar")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_says_what_a_file_is() {
        for (path, wanted) in [
            ("warrantor.toml", Some(Role::Config)),
            ("people.yml", Some(Role::People)),
            ("agents.json", Some(Role::Agents)),
            ("trackers.yaml", Some(Role::Trackers)),
            ("tools/bank.yaml", Some(Role::Manifest)),
            ("tools/bank.json", Some(Role::Manifest)),
            ("tools/bank.tools.json", Some(Role::Definitions)),
            ("policies/base.cedar", Some(Role::Policy)),
            ("mandates/pay.yaml", Some(Role::Mandate)),
            ("tests/pay.yaml", Some(Role::Test)),
            ("persons.yaml", None),
            ("bundle/people.yaml", None),
            ("policies/base.txt", None),
            ("policies/a/b.cedar", None),
            ("policies/.cedar", None),
            ("tools/.yaml", None),
        ] {
            assert_eq!(role(path), wanted, "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_revision_does_not_depend_on_the_order_of_files(
            files in proptest::collection::vec(("[a-c/]{1,3}", proptest::collection::vec(any::<u8>(), 0..4)), 0..6)
        ) {
            let forward = Files(files.iter().cloned().collect());
            let mut contents: Vec<_> = forward.0.clone().into_iter().collect();
            contents.reverse();
            prop_assert_eq!(forward.revision(), Files(contents.into_iter().collect()).revision());
        }

        #[test]
        fn the_revision_tells_any_two_sets_of_files_apart(
            a in proptest::collection::btree_map("[ab]{1,2}", proptest::collection::vec(97u8..99, 0..3), 0..3),
            b in proptest::collection::btree_map("[ab]{1,2}", proptest::collection::vec(97u8..99, 0..3), 0..3),
        ) {
            prop_assert_eq!(a == b, Files(a).revision() == Files(b).revision());
        }
    }
}
