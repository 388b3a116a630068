//! Which resource a URI belongs to.

use std::collections::BTreeMap;

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
        for (name, rule) in &manifest.uris {
            let mut fault = |field: &str, message: String, cure: &str| {
                let place = Place::Manifest {
                    server: manifest.server.clone(),
                    pointer: pointer(&["resources", name.bare(), field]),
                };
                faults.push(Fault::error(place, message).cure(cure));
            };
            match rule {
                UriRule::Exact(uri) if !is_plain(uri) || !uri.contains(':') => {
                    fault("uri", format!("{uri:?} is no URI"), "write it with its scheme, in ASCII");
                }
                UriRule::Exact(uri) => {
                    if let Some(other) = uris.exact.insert(uri.clone(), name.clone()) {
                        fault("uri", format!("{} has the same URI", other.bare()), "keep one of the two");
                    }
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

    /// The resource that a URI is one of: the one with exactly this URI, else the first by name whose template it fits. What could be read as another
    /// one fits none.
    pub(crate) fn find(&self, uri: &str) -> Option<&ToolName> {
        if let Some(name) = self.exact.get(uri) {
            return Some(name);
        }
        if !is_plain(uri) {
            return None;
        }
        let fits = |regex: &Regex| {
            regex.captures(uri).is_some_and(|found| {
                found.iter().skip(1).flatten().all(|part| part.as_str().split('/').all(is_certain))
            })
        };
        self.templates.iter().find(|(_, regex)| fits(regex)).map(|(name, _)| name)
    }
}

/// Printable ASCII, and not too long.
fn is_plain(uri: &str) -> bool {
    uri.len() <= MAX_URI_BYTES && uri.bytes().all(|b| b.is_ascii_graphic()) && !uri.contains('\\')
}

/// A segment that no server reads as another place: not empty, no dots that climb, no separator in disguise.
fn is_certain(segment: &str) -> bool {
    let lower = segment.to_ascii_lowercase();
    let decoded = lower.replace("%2e", ".");
    let disguised = ["%2f", "%5c", "%25", "%00", "%3f", "%23"].iter().any(|code| lower.contains(code));
    !decoded.is_empty() && decoded != "." && decoded != ".." && !disguised
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
    use warrantor_model::Offer;

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
    }
}
