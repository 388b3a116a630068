//! How long source files are. A long file is usually two ideas that have not been told apart.

use anyhow::Result;

use crate::repository::Repository;

/// Above this a file is reported.
const LONG: usize = 500;
/// Above this it is a finding.
const TOO_LONG: usize = 900;

/// Files over the two bounds, longest first.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Lengths {
    pub(crate) too_long: Vec<String>,
    pub(crate) long: Vec<String>,
}

/// Measures every Rust file.
pub(crate) fn measure(repository: &Repository) -> Result<Lengths> {
    let mut counted = Vec::new();
    for file in repository.files()? {
        if file.extension().is_some_and(|extension| extension == "rs") {
            counted.push((repository.text(&file)?.lines().count(), file.display().to_string()));
        }
    }
    Ok(sort(counted))
}

fn sort(mut counted: Vec<(usize, String)>) -> Lengths {
    counted.sort_by(|one, other| other.cmp(one));
    let mut lengths = Lengths::default();
    for (lines, file) in counted {
        if lines > TOO_LONG {
            lengths
                .too_long
                .push(format!("{file}: {lines} lines, more than {TOO_LONG}; find the second idea in it"));
        } else if lines > LONG {
            lengths.long.push(format!("{file}: {lines} lines"));
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_the_longest_comes_first() {
        let counted = [(500, "a"), (501, "b"), (900, "c"), (901, "d"), (1200, "e")];
        let lengths = sort(counted.map(|(lines, file)| (lines, file.to_owned())).to_vec());
        assert_eq!(lengths.long, ["c: 900 lines", "b: 501 lines"]);
        assert_eq!(lengths.too_long.len(), 2);
        assert!(lengths.too_long[0].starts_with("e: 1200 lines, more than 900"));
    }
}
