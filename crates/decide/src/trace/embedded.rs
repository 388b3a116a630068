//! Sensitive values within free text: addresses, URLs, account numbers.

use std::sync::LazyLock;

use regex::Regex;
use warrantor_model::Kind;

use crate::kind::canonical;

/// Most values of one text that are looked at.
const MAX_VALUES: usize = 64;

static PATTERNS: LazyLock<Vec<(Kind, Regex)>> = LazyLock::new(|| {
    [
        (Kind::Url, r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s"<>`]+"#),
        (Kind::Url, r#"(?i)\bwww\.[^\s"<>`]+"#),
        (Kind::Mail, r"[^\s<>(),;:@\[\]\x22]+@[^\s<>(),;:@\[\]\x22]+\.[^\s<>(),;:@\[\]\x22]+"),
        // IBAN-like: two letters, two digits, groups of letters and digits.
        (Kind::Account, r"\b[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,4})?\b"),
        // Numbers of eight digits and more, in groups or not.
        (Kind::Account, r"\b[0-9](?:[ -]?[0-9]){7,33}\b"),
    ]
    .into_iter()
    .filter_map(|(kind, pattern)| Some((kind, Regex::new(pattern).ok()?)))
    .collect()
});

/// The values in a text that could lead somewhere, each with its kind. A text that is such a value as a whole has none within.
pub(crate) fn values(text: &str) -> Vec<(Kind, String)> {
    let mut found: Vec<(Kind, String)> = Vec::new();
    for (kind, pattern) in PATTERNS.iter() {
        for value in pattern.find_iter(text) {
            let value = value
                .as_str()
                .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '"', '*']);
            let value = value.trim_start_matches(['\'', '*', '{']);
            if value == text || found.iter().any(|(_, known)| known == value) {
                continue;
            }
            if found.len() >= MAX_VALUES {
                return found;
            }
            // One that reads two ways is looked for as it is written.
            let kind = if canonical(*kind, value).is_ok() { *kind } else { Kind::Text };
            found.push((kind, value.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_somewhere_is_found_in_a_text() {
        let text = "Write to Eve <eve@evil.example>, see https://evil.example/x?y=1, pay DE89 3704 0044 0532 0130 00 or 12345678. Thanks!";
        let found = values(text);
        for expected in [
            (Kind::Url, "https://evil.example/x?y=1"),
            (Kind::Mail, "eve@evil.example"),
            (Kind::Account, "DE89 3704 0044 0532 0130 00"),
            (Kind::Account, "12345678"),
        ] {
            assert!(found.contains(&(expected.0, expected.1.to_owned())), "{expected:?} in {found:?}");
        }
        assert!(values("nothing here, 12 or 3.5").is_empty());
    }
}
