//! Which path speaks for a place, and how a place is written for people.
//!
//! Of several paths that cover a leaf the deepest speaks: the one whose last literal or `*` reaches furthest towards the leaf, then the
//! more particular by [`Path::precedence`]. Where two are equal in both, both speak.

use std::cmp::Ordering;

use warrantor_model::path::{Coverage, Path, Segment, Step};

/// Longest text of a place, in characters: names are the caller's and may be as long as the call.
const MAX_SHOWN: usize = 120;

/// Those of the paths that speak for a location; none where none covers it.
pub(crate) fn deepest<'a, T>(
    paths: impl IntoIterator<Item = (&'a Path, T)>,
    location: &[Step],
) -> Vec<(&'a Path, T)> {
    let mut best: Vec<(usize, &Path, T)> = Vec::new();
    for (path, what) in paths {
        let Some(depth) = reach(path, location) else { continue };
        let order = best.first().map_or(Ordering::Greater, |(deep, known, _)| {
            depth.cmp(deep).then_with(|| path.precedence(known))
        });
        match order {
            Ordering::Greater => best = vec![(depth, path, what)],
            Ordering::Equal => best.push((depth, path, what)),
            Ordering::Less => {}
        }
    }
    best.into_iter().map(|(_, path, what)| (path, what)).collect()
}

/// Those of the paths ending in `@keys` that speak for the member names of a container.
pub(crate) fn deepest_keys<'a, T>(paths: impl IntoIterator<Item = (&'a Path, T)>, holder: &[Step]) -> Vec<T> {
    let above: Vec<(Path, T)> = paths
        .into_iter()
        .filter_map(|(path, what)| {
            let (Segment::Keys, above) = path.segments().split_last()? else { return None };
            let above = Path::of(above.to_vec());
            (above.covers(holder) == Some(Coverage::Itself)).then_some((above, what))
        })
        .collect();
    let speaking = deepest(above.iter().enumerate().map(|(nth, (path, _))| (path, nth)), holder);
    let speaking: Vec<usize> = speaking.into_iter().map(|(_, nth)| nth).collect();
    above
        .into_iter()
        .enumerate()
        .filter_map(|(nth, (_, what))| speaking.contains(&nth).then_some(what))
        .collect()
}

/// How many steps of the location a path accounts for; `None` when it does not cover it. A `**` at the end accounts for none.
pub(crate) fn reach(path: &Path, location: &[Step]) -> Option<usize> {
    path.covers(location)?;
    let literal = path.segments().iter().rposition(|segment| *segment != Segment::Deep);
    let head = path.segments().get(..literal.map_or(0, |last| last.saturating_add(1)))?;
    let head = Path::of(head.to_vec());
    let ends = |steps: &usize| {
        location.get(..*steps).is_some_and(|above| head.covers(above) == Some(Coverage::Itself))
    };
    (0..=location.len()).rev().find(ends)
}

/// A location as text, whole: a JSON Pointer without its first slash (RFC 6901).
#[must_use]
pub fn pointer(location: &[Step]) -> String {
    let steps = location.iter().map(|step| match step {
        Step::Member(name) => name.replace('~', "~0").replace('/', "~1"),
        Step::Index(index) => index.to_string(),
    });
    steps.collect::<Vec<_>>().join("/")
}

/// A location as text, cut where it would fill a screen.
pub(crate) fn shown(location: &[Step]) -> String {
    let mut text = String::new();
    for (nth, step) in location.iter().enumerate() {
        if nth > 0 {
            text.push('/');
        }
        match step {
            Step::Member(name) => {
                for c in name.chars().take(MAX_SHOWN.saturating_add(1)) {
                    match c {
                        '~' => text.push_str("~0"),
                        '/' => text.push_str("~1"),
                        c => text.push(c),
                    }
                }
            }
            Step::Index(index) => text.push_str(&index.to_string()),
        }
        if text.len() > MAX_SHOWN {
            return cut(&text);
        }
    }
    cut(&text)
}

/// A text, cut where it would fill a screen.
#[must_use]
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Vec<Step> {
        text.split('/').map(|name| Step::Member(name.into())).collect()
    }

    #[test]
    fn the_path_that_reaches_furthest_speaks() {
        let cases: &[(&[&str], &str, &[&str])] = &[
            (&["a", "**/c"], "a/b/c", &["**/c"]),
            (&["a", "**"], "a/b/c", &["a"]),
            (&["a/b", "a/**"], "a/b/c", &["a/b"]),
            (&["a/*", "a/b"], "a/b", &["a/b"]),
            (&["*/b", "a/*"], "a/b", &["a/*"]),
            (&["**/a/**/c", "**/b/**/c"], "a/b/c", &["**/a/**/c", "**/b/**/c"]),
            (&["", "**"], "a", &["**"]),
            (&["x"], "a", &[]),
            (&["a/@keys"], "a/b", &[]),
        ];
        for (paths, place, expected) in cases {
            let paths: Vec<Path> = paths.iter().map(|path| path.parse().unwrap()).collect();
            let found = deepest(paths.iter().map(|path| (path, ())), &location(place));
            let found: Vec<String> = found.iter().map(|(path, ())| path.to_string()).collect();
            assert_eq!(found, *expected, "{place}");
        }
    }

    #[test]
    fn a_place_is_cut_however_long_its_names_are() {
        assert_eq!(shown(&location("a/b")), "a/b");
        assert_eq!(shown(&[Step::Member("x/~".into()), Step::Index(3)]), "x~1~0/3");
        let long = vec![Step::Member("ä".repeat(1 << 20)); 64];
        assert_eq!(shown(&long).chars().count(), MAX_SHOWN + 1);
    }
}
