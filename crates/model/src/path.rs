//! Paths into JSON values, the same everywhere: segments joined by `/` with RFC 6901 escapes; `*` is any one member or element,
//! `**` any depth (none included), `@keys` the member names at this place; the empty path is the whole value.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Json;

/// Most segments in a path.
pub const MAX_SEGMENTS: usize = 32;

/// One segment of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The member of this name, or the element of this index.
    Name(String),
    /// Any one member or element.
    Any,
    /// Any depth, none included.
    Deep,
    /// The member names at this place.
    Keys,
}

/// A path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(try_from = "String", into = "String")]
pub struct Path(Vec<Segment>);

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathError {
    /// A `~` that is not `~0` or `~1`.
    #[error("{path:?} has a `~` that escapes nothing: write ~0 for `~` and ~1 for `/`")]
    Escape {
        /// The path.
        path: String,
    },
    /// `@keys` before the end.
    #[error("{path:?} goes on after @keys: names have no members")]
    AfterKeys {
        /// The path.
        path: String,
    },
    /// More than [`MAX_SEGMENTS`] segments.
    #[error("{path:?} has more than {MAX_SEGMENTS} segments")]
    TooLong {
        /// The path.
        path: String,
    },
}

/// One step from a container to what it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// To a member.
    Member(String),
    /// To an element.
    Index(usize),
}

/// Where a value stands: the steps from the root.
pub type Location = Vec<Step>;

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Path {
    /// A path of these segments.
    #[must_use]
    pub fn of(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    /// The segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// A location the path can lead to: an element of index 0 stands for `*`, and `**` for nothing between.
    #[must_use]
    pub fn sample_location(&self) -> Location {
        self.0
            .iter()
            .filter_map(|segment| match segment {
                Segment::Name(name) => Some(Step::Member(name.clone())),
                Segment::Any => Some(Step::Index(0)),
                Segment::Deep | Segment::Keys => None,
            })
            .collect()
    }

    /// A path of one literal member.
    #[must_use]
    pub fn member(name: &str) -> Self {
        Self(vec![Segment::Name(name.to_owned())])
    }

    /// Whether the path is `@keys` and nothing else: the member names of the whole value.
    #[must_use]
    pub fn is_keys(&self) -> bool {
        matches!(self.0.as_slice(), [Segment::Keys])
    }

    /// Whether the path is the whole value.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Every value the path selects, in document order. `@keys` selects nothing here: see [`Path::select_keys`].
    #[must_use]
    pub fn select<'a>(&self, root: &'a Json) -> Vec<&'a Json> {
        let mut found = Vec::new();
        walk(root, &mut Vec::new(), &mut |location, value| {
            if self.covers(location) == Some(Coverage::Itself) {
                found.push(value);
            }
        });
        found
    }

    /// The member names a path ending in `@keys` selects.
    #[must_use]
    pub fn select_keys<'a>(&self, root: &'a Json) -> Vec<&'a str> {
        let Some((Segment::Keys, rest)) = self.0.split_last() else { return Vec::new() };
        let holders = Self(rest.to_vec());
        holders
            .select(root)
            .into_iter()
            .filter_map(Json::as_object)
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Whether the path names the value at this location, or a container of it. `@keys` never does.
    #[must_use]
    pub fn covers(&self, location: &[Step]) -> Option<Coverage> {
        if covers(&self.0, location, true) {
            Some(Coverage::Itself)
        } else if covers(&self.0, location, false) {
            Some(Coverage::Container)
        } else {
            None
        }
    }

    /// Which of two paths that both cover a location is the more particular: the longer one, then the one with a literal name where the
    /// other has `*`, and `*` where the other has `**`, read from the left.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        let length = |path: &Self| path.0.iter().filter(|s| **s != Segment::Deep).count();
        let rank = |segment: &Segment| match segment {
            Segment::Name(_) => 3,
            Segment::Any | Segment::Keys => 2,
            Segment::Deep => 1,
        };
        length(self).cmp(&length(other)).then_with(|| self.0.iter().map(rank).cmp(other.0.iter().map(rank)))
    }
}

/// How a path covers a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// It names the value itself.
    Itself,
    /// It names a container of the value.
    Container,
}

/// Whether the segments name the location, or with `whole` off a container of it, which is as if `**` followed. On a mismatch only the last
/// `**` is made to reach further: the ones before it cannot help, so the work is bounded by the product of the lengths.
fn covers(segments: &[Segment], location: &[Step], whole: bool) -> bool {
    let segment = |at: usize| match segments.get(at) {
        None if at == segments.len() && !whole => Some(&Segment::Deep),
        found => found,
    };
    let (mut at, mut step) = (0usize, 0usize);
    let mut last_deep: Option<(usize, usize)> = None;
    while let Some(next) = location.get(step) {
        match segment(at) {
            Some(Segment::Deep) => {
                last_deep = Some((at, step));
                at = at.saturating_add(1);
            }
            Some(segment) if names(segment, next) => {
                at = at.saturating_add(1);
                step = step.saturating_add(1);
            }
            _ => match last_deep {
                None => return false,
                Some((deep, reached)) => {
                    last_deep = Some((deep, reached.saturating_add(1)));
                    at = deep.saturating_add(1);
                    step = reached.saturating_add(1);
                }
            },
        }
    }
    while segment(at) == Some(&Segment::Deep) {
        at = at.saturating_add(1);
    }
    segment(at).is_none()
}

fn names(segment: &Segment, step: &Step) -> bool {
    match (segment, step) {
        (Segment::Any, _) => true,
        (Segment::Name(name), Step::Member(member)) => name == member,
        (Segment::Name(name), Step::Index(index)) => *name == index.to_string(),
        (Segment::Deep | Segment::Keys, _) => false,
    }
}

/// Visits a value and everything in it, containers before what they hold.
pub fn walk<'a>(value: &'a Json, location: &mut Location, visit: &mut impl FnMut(&[Step], &'a Json)) {
    visit(location, value);
    match value {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                location.push(Step::Index(index));
                walk(item, location, visit);
                location.pop();
            }
        }
        Json::Object(members) => {
            for (name, member) in members {
                location.push(Step::Member(name.clone()));
                walk(member, location, visit);
                location.pop();
            }
        }
        _ => {}
    }
}

impl FromStr for Path {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut segments = Vec::new();
        for part in text.split('/') {
            if segments.last() == Some(&Segment::Keys) {
                return Err(PathError::AfterKeys { path: text.to_owned() });
            }
            segments.push(match part {
                "*" => Segment::Any,
                "**" => Segment::Deep,
                "@keys" => Segment::Keys,
                name => {
                    Segment::Name(unescape(name).ok_or_else(|| PathError::Escape { path: text.to_owned() })?)
                }
            });
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(PathError::TooLong { path: text.chars().take(80).collect() });
        }
        Ok(Self(segments))
    }
}

fn unescape(part: &str) -> Option<String> {
    let mut name = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        name.push(match c {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(name)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            match segment {
                Segment::Name(name) => f.write_str(&escape(name))?,
                Segment::Any => f.write_str("*")?,
                Segment::Deep => f.write_str("**")?,
                Segment::Keys => f.write_str("@keys")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Path {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_selects_what_it_says() {
        let value = r#"{"a":{"b":[1,{"c":2}],"x/y":3},"":4}"#;
        let cases: &[(&str, &[&str])] = &[
            ("a/b/0", &["1"]),
            ("a/b/*", &["1", r#"{"c":2}"#]),
            ("a/x~1y", &["3"]),
            ("**/c", &["2"]),
            ("a/b/1/c", &["2"]),
            ("nothing", &[]),
            ("a/b/2", &[]),
        ];
        for (path, expected) in cases {
            let selected: Vec<_> =
                path.parse::<Path>().unwrap().select(&json(value)).iter().map(ToString::to_string).collect();
            assert_eq!(selected, *expected, "{path}");
        }
        assert_eq!("".parse::<Path>().unwrap().select(&json(value)), [&json(value)]);
        assert_eq!("a/@keys".parse::<Path>().unwrap().select_keys(&json(value)), ["b", "x/y"]);
    }

    #[test]
    fn many_deep_segments_are_matched_in_bounded_time() {
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        let path: Path = format!("{}x", "**/".repeat(30)).parse().unwrap();
        let mut places = 0;
        walk(&json(&deep), &mut Vec::new(), &mut |location, _| {
            assert_eq!(path.covers(location), None);
            places += 1;
        });
        assert_eq!(places, 60);
    }

    #[test]
    fn a_container_is_covered_with_all_it_holds() {
        let steps = |text: &str| -> Location {
            text.split('/')
                .map(|s| s.parse().map_or_else(|_| Step::Member(s.to_owned()), Step::Index))
                .collect()
        };
        for (path, location, expected) in [
            ("a", "a", Some(Coverage::Itself)),
            ("a", "a/b/0", Some(Coverage::Container)),
            ("a/*/c", "a/0/c", Some(Coverage::Itself)),
            ("a/*/c", "a/0", None),
            ("**/c", "a/b/c", Some(Coverage::Itself)),
            ("**/c", "a/c/d", Some(Coverage::Container)),
            ("**/c/**/d", "c/x/c/d", Some(Coverage::Itself)),
            ("**/c/d", "c/c/d", Some(Coverage::Itself)),
            ("", "a/b", Some(Coverage::Container)),
            ("**", "a/b", Some(Coverage::Itself)),
            ("a/@keys", "a/b", None),
        ] {
            assert_eq!(
                path.parse::<Path>().unwrap().covers(&steps(location)),
                expected,
                "{path} on {location}"
            );
        }
    }

    #[test]
    fn the_more_particular_path_goes_before() {
        let order = ["**", "*", "a", "*/b", "a/*", "a/b"];
        for (i, less) in order.iter().enumerate() {
            for more in order.iter().skip(i + 1) {
                let (less, more): (Path, Path) = (less.parse().unwrap(), more.parse().unwrap());
                assert_eq!(more.precedence(&less), Ordering::Greater, "{more} before {less}");
            }
        }
    }

    #[test]
    fn a_path_survives_its_text_and_bad_ones_are_refused() {
        for text in ["", "a", "a/*/b", "**/x~0~1", "a/@keys"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
        for bad in ["a~2", "~", "@keys/a", &"a/".repeat(40)] {
            assert!(bad.parse::<Path>().is_err(), "{bad} was taken");
        }
    }
}
