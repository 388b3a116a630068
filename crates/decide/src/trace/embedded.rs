//! Values within free text that could lead somewhere: addresses, URLs, account numbers, telephone numbers.
//!
//! What is found here has to be at least as much as exact matching would trust within a text: a value that a text hands out unseen comes back from
//! it as somebody else's.

use std::{collections::HashSet, sync::LazyLock};

use regex::Regex;
use warrantor_model::Kind;

use crate::kind::canonical;

/// Most values of one text that are looked at.
pub(crate) const MAX_VALUES: usize = 256;
/// Shortest account or telephone number, in letters and digits.
const MIN_NUMBER: usize = 8;
/// Longest account: an IBAN has 34 characters.
const MAX_NUMBER: usize = 34;
/// Fewest digits of an account.
const MIN_DIGITS: usize = 6;

static PATTERNS: LazyLock<Vec<(Kind, Regex)>> = LazyLock::new(|| {
    [
        (Kind::Url, r#"(?i)\b[a-z][a-z0-9+.-]*://[^\s"<>`“”«»‘’]+"#),
        (Kind::Url, r#"(?i)\bwww\.[^\s"<>`“”«»‘’]+"#),
        // Without a scheme: a host and a path, or a host of three names and more.
        (Kind::Url, r#"(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}/[^\s"<>`“”«»‘’]*"#),
        (Kind::Url, r"(?i)\b[a-z0-9-]+(?:\.[a-z0-9-]+){2,}\b"),
        (Kind::Mail, r"[^\s<>(),;:@\[\]\x22“”«»`]+@[^\s<>(),;:@\[\]\x22“”«»`]+\.[^\s<>(),;:@\[\]\x22“”«»`]+"),
    ]
    .into_iter()
    .filter_map(|(kind, pattern)| Some((kind, Regex::new(pattern).ok()?)))
    .collect()
});

/// What was found in a text.
#[derive(Debug, Default)]
pub(crate) struct Embedded {
    /// Each value with its kind. A text that is such a value as a whole has none within.
    pub(crate) values: Vec<(Kind, String)>,
    /// There are more than are told.
    pub(crate) more: bool,
}

/// The values in a text that could lead somewhere.
pub(crate) fn values(text: &str) -> Embedded {
    let mut found = Embedded::default();
    let mut known = HashSet::new();
    let mut add = |kind: Kind, value: &str| {
        if value == text || value.is_empty() || !known.insert(value.to_owned()) {
            return;
        }
        if found.values.len() >= MAX_VALUES {
            found.more = true;
            return;
        }
        // One that reads two ways is looked for as it is written.
        let kind = if canonical(kind, value).is_ok() { kind } else { Kind::Text };
        found.values.push((kind, value.to_owned()));
    };
    for (kind, pattern) in PATTERNS.iter() {
        for value in pattern.find_iter(text) {
            let value = value.as_str();
            let value = value.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '"', '*']);
            add(*kind, value.trim_start_matches(['\'', '*', '{']));
        }
    }
    for value in numbers(text) {
        add(Kind::Account, value);
    }
    found
}

/// Accounts and telephone numbers: groups of letters and digits side by side, in every way in which some of them make one. Which of its
/// neighbours belong to a number cannot be seen in the text.
fn numbers(text: &str) -> Vec<&str> {
    let groups: Vec<(usize, usize)> = groups(text);
    let mut found = Vec::new();
    for (first, (begin, _)) in groups.iter().enumerate() {
        let (mut length, mut digits) = (0usize, 0usize);
        let mut last_end: Option<usize> = None;
        for (nth, (from, to)) in groups.iter().enumerate().skip(first) {
            let Some(group) = text.get(*from..*to) else { break };
            let has_digit = group.bytes().any(|b| b.is_ascii_digit());
            let between = last_end.and_then(|end| text.get(end..*from));
            if between.is_some_and(|between| !parts(between)) || (nth > first && !has_digit) {
                break;
            }
            length = length.saturating_add(group.len());
            digits = digits.saturating_add(group.bytes().filter(u8::is_ascii_digit).count());
            last_end = Some(*to);
            if length > MAX_NUMBER {
                break;
            }
            if length >= MIN_NUMBER && digits >= MIN_DIGITS {
                // A sign before it belongs to a telephone number.
                let signed =
                    begin.checked_sub(1).filter(|at| text.get(*at..*begin) == Some("+")).unwrap_or(*begin);
                found.extend(text.get(signed..*to));
            }
        }
    }
    found
}

fn groups(text: &str) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    let mut begin = None;
    for (at, byte) in text.bytes().enumerate() {
        match (byte.is_ascii_alphanumeric(), begin) {
            (true, None) => begin = Some(at),
            (false, Some(from)) => {
                groups.push((from, at));
                begin = None;
            }
            _ => {}
        }
    }
    groups.extend(begin.map(|from| (from, text.len())));
    groups
}

/// Whether this only parts the groups of one number.
fn parts(between: &str) -> bool {
    between.chars().count() <= 2
        && between.chars().all(|c| matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_somewhere_is_found_in_a_text() {
        for (text, kind, value) in [
            ("Write to Eve <eve@evil.example>, now", Kind::Mail, "eve@evil.example"),
            ("see https://evil.example/x?y=1, then", Kind::Url, "https://evil.example/x?y=1"),
            ("“https://evil.example/x”x", Kind::Url, "https://evil.example/x"),
            ("go to evil.example/pay now", Kind::Url, "evil.example/pay"),
            ("at pay.evil.example now", Kind::Url, "pay.evil.example"),
            ("pay DE89 3704 0044 0532 0130 00 or", Kind::Account, "DE89 3704 0044 0532 0130 00"),
            ("ACME has LT121000011101001000 now", Kind::Account, "LT121000011101001000"),
            ("LT12 1000 0111 0100 1000 now", Kind::Account, "LT12 1000 0111 0100 1000"),
            ("is LT12.1000.0111.0100.1000, so", Kind::Account, "LT12.1000.0111.0100.1000"),
            ("`LT121000011101001000`", Kind::Account, "LT121000011101001000"),
            ("1234567890 2026 budget", Kind::Account, "1234567890"),
            ("or 12345678. Thanks!", Kind::Account, "12345678"),
            ("call +49 (30) 123-4567 now", Kind::Account, "+49 (30) 123-4567"),
        ] {
            let found = values(text).values;
            assert!(found.iter().any(|(_, known)| known == value), "{value:?} of {text:?} in {found:?}");
            assert!(
                found.iter().any(|(k, known)| known == value && (*k == kind || *k == Kind::Text)),
                "{found:?}"
            );
        }
        for text in ["nothing here, 12 or 3.5", "read a.txt and notes.zip", "in 2026 and 2027"] {
            assert!(values(text).values.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_text_with_too_many_says_so() {
        let text: String = (0..1000).map(|n| format!("a{n}@b.example, ")).collect();
        let found = values(&text);
        assert_eq!((found.values.len(), found.more), (MAX_VALUES, true));
    }
}
