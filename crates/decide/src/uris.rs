//! Which resource a URI belongs to.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use warrantor_model::{Manifest, ToolName, UriRule};

use crate::parts::{Fault, Place, pointer};

/// Longest URI that is looked up, in bytes.
const MAX_URI_BYTES: usize = 2048;
/// Most memory of one compiled template.
const MAX_COMPILED: usize = 1 << 20;

/// The URIs of one server's resources.
#[derive(Debug, Default)]
pub(crate) struct Uris {
    exact: BTreeMap<String, ToolName>,
    templates: Vec<(ToolName, Regex)>,
}

impl Uris {
    pub(crate) fn build(manifest: &Manifest, faults: &mut Vec<Fault>) -> Self {
        let mut uris = Self::default();
        let mut templates = BTreeSet::new();
        for (name, rule) in &manifest.uris {
            let mut fault = |field: &str, message: String, cure: &str| {
                let place = Place::Manifest {
                    server: manifest.server.clone(),
                    pointer: pointer(&["resources", name.bare(), field]),
                };
                faults.push(Fault::error(place, message).cure(cure));
            };
            match rule {
                UriRule::Exact(uri) if !is_exact(uri) => {
                    fault("uri", format!("{uri:?} is no URI"), "write it with its scheme, in ASCII");
                }
                UriRule::Exact(uri) => {
                    if let Some(other) = uris.exact.insert(uri.clone(), name.clone()) {
                        fault("uri", format!("{} has the same URI", other.bare()), "keep one of the two");
                    }
                }
                UriRule::Template(template) if !templates.insert(template) => {
                    fault(
                        "template",
                        "another resource has the same template".to_owned(),
                        "keep one of the two",
                    );
                }
                UriRule::Template(template) => match compile(template) {
                    Ok(regex) => uris.templates.push((name.clone(), regex)),
                    Err(why) => {
                        fault("template", why, "use `{name}` for a segment and `{+name}` for several")
                    }
                },
            }
        }
        uris
    }

    /// The resource that a URI is one of: the one with exactly this URI, else the one whose template it fits. What fits two, or could be read as another
    /// one, belongs to none.
    pub(crate) fn find(&self, uri: &str) -> Option<&ToolName> {
        if let Some(name) = self.exact.get(uri) {
            return Some(name);
        }
        if !is_plain(uri) {
            return None;
        }
        // Where names of hosts stand, upper case reads as lower.
        let path = uri.find("://").and_then(|at| uri.get(at..)?.get(3..)?.find('/').map(|end| at + 3 + end));
        let fits = |regex: &Regex| {
            regex.captures(uri).is_some_and(|found| {
                found.iter().skip(1).flatten().all(|part| {
                    let in_path = path.is_some_and(|path| part.start() >= path);
                    part.as_str().split('/').all(is_certain)
                        && (in_path || !part.as_str().bytes().any(|b| b.is_ascii_uppercase()))
                })
            })
        };
        let mut fitting = self.templates.iter().filter(|(_, regex)| fits(regex));
        // One that fits two could be meant as either.
        let (name, _) = fitting.next()?;
        if fitting.next().is_some() { None } else { Some(name) }
    }
}

/// Printable ASCII, and not too long.
fn is_plain(uri: &str) -> bool {
    uri.len() <= MAX_URI_BYTES && uri.bytes().all(|b| b.is_ascii_graphic()) && !uri.contains('\\')
}

/// A segment that no server reads as another place: not empty, no dots that climb, no separator in disguise, and nothing encoded that could stand there
/// as it is.
fn is_certain(segment: &str) -> bool {
    let encoded = |at: usize| {
        let code = segment.get(at + 1..at + 3)?;
        u8::from_str_radix(code, 16).ok().filter(|_| code.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let disguised = segment.match_indices('%').any(|(at, _)| match encoded(at) {
        None => true,
        Some(byte) => byte.is_ascii_alphanumeric() || byte < 0x20 || b"-._~/\\%?#\x7f".contains(&byte),
    });
    !segment.is_empty() && segment != "." && segment != ".." && !disguised
}

fn is_exact(uri: &str) -> bool {
    is_plain(uri) && uri.contains(':')
}

/// Whether a URI, or a template of such where it has braces, could stand in a manifest.
#[must_use]
pub fn is_matched(text: &str) -> bool {
    if text.contains(['{', '}']) { compile(text).is_ok() } else { is_exact(text) }
}

fn compile(template: &str) -> Result<Regex, String> {
    if !is_plain(template) {
        return Err("the template holds what no URI may hold".to_owned());
    }
    let mut pattern = String::from("^");
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (hole, after) =
            after.split_once('}').ok_or_else(|| format!("{template:?} has a brace that does not close"))?;
        let (name, class) = match hole.strip_prefix('+') {
            Some(name) => (name, "([^?#{}]+)"),
            None => (hole, "([^/?#{}]+)"),
        };
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || after.starts_with('{') {
            return Err(format!("{{{hole}}} is no hole that can be matched with certainty"));
        }
        pattern.push_str(&regex::escape(literal));
        pattern.push_str(class);
        rest = after;
    }
    if rest.contains('}') {
        return Err(format!("{template:?} has a brace that does not open"));
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    if !template.split('{').next().is_some_and(|scheme| scheme.contains(':')) {
        return Err(format!("{template:?} begins with no scheme"));
    }
    regex::RegexBuilder::new(&pattern).size_limit(MAX_COMPILED).build().map_err(|cause| cause.to_string())
}

#[cfg(test)]
mod tests {
    use warrantor_model::{Digest, Offer};

    use super::*;

    fn uris(rules: &[(&str, &str)]) -> (Uris, Vec<Fault>) {
        let named = |name: &str| ToolName::of(Offer::Resource, name).unwrap();
        let rule = |text: &str| match text.contains('{') || text.contains('}') {
            true => UriRule::Template(text.to_owned()),
            false => UriRule::Exact(text.to_owned()),
        };
        let manifest = Manifest {
            server: "s".parse().unwrap(),
            records: BTreeMap::new(),
            tools: BTreeMap::new(),
            uris: rules.iter().map(|(name, text)| (named(name), rule(text))).collect(),
            definitions: Digest::of(b"definitions"),
            listed: BTreeMap::new(),
            instructions: None,
            launch: None,
        };
        let mut faults = Vec::new();
        (Uris::build(&manifest, &mut faults), faults)
    }

    #[test]
    fn a_uri_belongs_to_the_resource_that_names_it_or_whose_template_it_fits() {
        let (uris, faults) = uris(&[
            ("one", "notes://a/1"),
            ("item", "notes://{folder}/{id}"),
            ("deep", "file:///notes/{+path}"),
            ("data", "test://template/{id}/data"),
        ]);
        assert!(faults.is_empty(), "{faults:?}");
        for (uri, wanted) in [
            ("notes://a/1", Some("one")),
            ("notes://a/2", Some("item")),
            ("notes://a/2/3", None),
            ("file:///notes/x/y.md", Some("deep")),
            ("test://template/123/data", Some("data")),
            ("test://template/123/data/", None),
            ("other://a", None),
            ("", None),
        ] {
            assert_eq!(uris.find(uri).map(ToolName::bare), wanted, "{uri}");
        }
    }

    #[test]
    fn a_uri_that_reads_two_ways_belongs_to_none() {
        let (uris, _) = uris(&[("deep", "file:///notes/{+path}"), ("item", "notes://x/{id}")]);
        for uri in [
            "file:///notes/../secret",
            "file:///notes/a/./b",
            "file:///notes/%2e%2E/secret",
            "file:///notes/a%2f..%2fb",
            "file:///notes/a%255c",
            "file:///notes//a",
            "file:///notes/a\\b",
            "file:///notes/a b",
            "file:///notes/a\n",
            "file:///notes/\u{e4}",
            "file:///notes/a?x=1",
            "file:///notes/a#x",
            "file:///notes/",
            "FILE:///notes/a",
            "notes://x/..",
            "notes://x/%73ecret",
            "notes://x/%zz",
            "notes://x/%",
        ] {
            assert_eq!(uris.find(uri), None, "{uri:?}");
        }
        let long = format!("notes://x/{}", "a".repeat(MAX_URI_BYTES));
        assert_eq!(uris.find(&long), None);
    }

    #[test]
    fn templates_that_cannot_be_matched_with_certainty_are_refused() {
        for template in
            ["a{b}", "x:{", "x:}", "x:{}", "x:{?q}", "x:{/p}", "x:{a}{b}", "x:{a*}", "x:{a,b}", "x: {a}"]
        {
            assert_eq!(uris(&[("t", template)]).1.len(), 1, "{template}");
        }
        assert_eq!(uris(&[("a", "x:1"), ("b", "x:1"), ("c", "none")]).1.len(), 2);
        assert_eq!(uris(&[("a", "x:{i}"), ("b", "x:{i}")]).1.len(), 1);
        let (uris, _) = uris(&[("any", "n://{host}/{id}"), ("own", "n://own/{id}")]);
        for (uri, wanted) in [("n://a/1", Some("any")), ("n://own/1", None), ("n://Own/1", None)] {
            assert_eq!(uris.find(uri).map(ToolName::bare), wanted, "{uri}");
        }
    }
}
