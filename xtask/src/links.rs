//! Links between our own Markdown files lead somewhere: to a file of the repository and, with a fragment, to one of
//! its headings. Addresses of other hosts are not visited; checks run without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::repository::Repository;

/// Checks every Markdown file; gives one finding a line.
pub(crate) fn check(repository: &Repository) -> Result<Vec<String>> {
    let mut known = Known::default();
    for file in repository.files()? {
        known.add(&file, || repository.text(&file))?;
    }
    Ok(known.broken())
}

/// The files links may lead to.
#[derive(Default)]
struct Known {
    /// Every file and every directory that holds one.
    paths: BTreeSet<PathBuf>,
    /// Markdown files with their prose: code taken out, line by line.
    pages: BTreeMap<PathBuf, Vec<String>>,
}

impl Known {
    fn add(&mut self, file: &Path, text: impl FnOnce() -> Result<String>) -> Result<()> {
        self.paths.extend(file.ancestors().map(Path::to_owned));
        if file.extension().is_some_and(|extension| extension == "md") {
            self.pages.insert(file.to_owned(), prose(&text()?));
        }
        Ok(())
    }

    fn broken(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for (page, lines) in &self.pages {
            for (index, line) in lines.iter().enumerate() {
                for target in targets(line) {
                    if let Some(complaint) = self.complaint(page, target) {
                        findings.push(format!("{}:{}: {complaint}", page.display(), index + 1));
                    }
                }
            }
        }
        findings
    }

    fn complaint(&self, page: &Path, target: &str) -> Option<String> {
        if target.starts_with("https://") || target.starts_with("http://") || target.starts_with("mailto:") {
            return None;
        }
        let (path, fragment) =
            target.split_once('#').map_or((target, None), |(path, rest)| (path, Some(rest)));
        let Some(file) = resolve(page, path) else {
            return Some(format!("({target}) leads out of the repository"));
        };
        if !self.paths.contains(&file) {
            return Some(format!("({target}) leads nowhere: there is no {}", file.display()));
        }
        let fragment = fragment.filter(|fragment| !fragment.is_empty())?;
        let lines = self.pages.get(&file)?;
        (!anchors(lines).contains(fragment))
            .then(|| format!("({target}): {} has no heading “{fragment}”", file.display()))
    }
}

/// The lines of a page with code blocks and code spans blanked, so that examples are no links.
fn prose(text: &str) -> Vec<String> {
    let mut fence: Option<String> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        let start = line.trim_start();
        let mark: String = ['`', '~']
            .into_iter()
            .map(|letter| start.chars().take_while(|other| *other == letter).collect::<String>())
            .find(|mark| mark.len() >= 3)
            .unwrap_or_default();
        match &fence {
            Some(open) if !open.is_empty() && mark.starts_with(open.as_str()) => fence = None,
            Some(_) => {}
            None if !mark.is_empty() => fence = Some(mark),
            None => {
                lines.push(without_spans(line));
                continue;
            }
        }
        lines.push(String::new());
    }
    lines
}

fn without_spans(line: &str) -> String {
    let mut kept = String::new();
    for (index, part) in line.split('`').enumerate() {
        // Outside a span the text is kept; inside it only for headings, whose anchors count code as well.
        if index % 2 == 0 || line.starts_with('#') {
            kept.push_str(part);
        }
    }
    kept
}

/// Link targets in a line of prose: `[text](target "title")` and `[label]: target`.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("](") {
        rest = after;
        found.extend(after.split_once(')').and_then(|(target, _)| target.split_whitespace().next()));
    }
    let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    found.extend(definition.and_then(|(_, target)| target.split_whitespace().next()));
    found.into_iter().map(|target| target.trim_start_matches('<').trim_end_matches('>')).collect()
}

/// The file a relative target means, seen from `page`; `None` when it is absolute or climbs out.
fn resolve(page: &Path, target: &str) -> Option<PathBuf> {
    if target.is_empty() {
        return Some(page.to_owned());
    }
    let mut file = page.parent()?.to_owned();
    for component in Path::new(target).components() {
        match component {
            Component::Normal(name) => file.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !file.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(file)
}

/// The fragments that headings answer to, as the usual hosts derive them.
fn anchors(lines: &[String]) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in lines {
        let marks = line.chars().take_while(|letter| *letter == '#').count();
        let Some(title) =
            line.get(marks..).filter(|title| (1..=6).contains(&marks) && title.starts_with(' '))
        else {
            continue;
        };
        let anchor = anchor(title.trim());
        let before = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

fn anchor(title: &str) -> String {
    title
        .chars()
        .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter))
        .flat_map(char::to_lowercase)
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(pages: &[(&str, &str)]) -> Vec<String> {
        let mut known = Known::default();
        for (page, text) in pages {
            known.add(Path::new(page), || Ok((*text).to_owned())).unwrap();
        }
        known.broken()
    }

    #[test]
    fn links_are_followed_to_files_directories_and_headings() {
        let other = "# Other things\n## `run` it: now!\n## Twice\n## Twice\n";
        let cases = [
            ("[a](other.md)", ""),
            ("[a](../README.md)", ""),
            ("[a](./sub)", ""),
            ("[a](sub/deep.txt \"title\")", ""),
            ("[a](<other.md>)", ""),
            ("[a](https://example.com/x) [b](mailto:x@example.com)", ""),
            ("[a](other.md#other-things)", ""),
            ("[a](other.md#run-it-now)", ""),
            ("[a](other.md#twice-1)", ""),
            ("# Here\n\n[a](#here)", ""),
            ("[a]: other.md#twice", ""),
            ("`[a](nowhere.md)`", ""),
            ("```md\n[a](nowhere.md)\n```", ""),
            ("~~~~\n```\n[a](nowhere.md)\n~~~~\n", ""),
            (
                "text\n[a](nowhere.md)",
                "docs/page.md:2: (nowhere.md) leads nowhere: there is no docs/nowhere.md",
            ),
            ("```\ncode\n```\n[a](nowhere.md)", "docs/page.md:4: "),
            ("[a](other.md) and [b](nowhere.md)", "docs/nowhere.md"),
            ("[a]: nowhere.md", "leads nowhere"),
            ("![picture](picture.svg)", "leads nowhere"),
            ("[a](other.md#thrice)", "has no heading “thrice”"),
            ("[a](other.md#twice-2)", "has no heading"),
            ("[a](#nowhere)", "has no heading"),
            ("[a](../../x.md)", "leads out of the repository"),
            ("[a](/docs/other.md)", "leads out of the repository"),
        ];
        for (text, expected) in cases {
            let pages = [
                ("docs/page.md", text),
                ("docs/other.md", other),
                ("README.md", ""),
                ("docs/sub/deep.txt", ""),
            ];
            let found = broken(&pages);
            if expected.is_empty() {
                assert_eq!(found, Vec::<String>::new(), "{text}");
            } else {
                assert_eq!(found.len(), 1, "{text}: {found:?}");
                assert!(found[0].contains(expected), "{text}: {found:?}");
            }
        }
    }
}
