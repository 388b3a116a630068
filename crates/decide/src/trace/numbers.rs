//! Numbers in texts: plain ones that stand alone can be trusted, grouped ones only ever raise suspicion.

use std::sync::LazyLock;

use regex::Regex;
use warrantor_model::{Decimal, decimal};

use super::matching::{begins_clean, ends_clean, is_continuing, is_inner};

/// Numbers as they stand in texts; those with grouping signs are one token that is no plain number.
static NUMBERS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[0-9][0-9.,'’_\u{a0}\u{202f}]*").ok());

/// Longest run of digits and signs that is read as a number, in bytes.
const MAX_TOKEN: usize = 64;

/// Whether a number stands alone in a text. Numbers in texts that do not hold its digits are not looked at.
pub(super) fn has_number(text: &str, number: Decimal) -> bool {
    let digits = number.abs().trunc().normalize().to_string();
    if !text.contains(&digits) {
        return false;
    }
    tokens(text).any(|found| {
        found.as_str().starts_with(&digits)
            && plain_number(text, found.start(), found.as_str()) == Some(number)
    })
}

/// What could be numbers. A longer run of digits and signs is none that could be compared.
fn tokens(text: &str) -> impl Iterator<Item = regex::Match<'_>> {
    NUMBERS.iter().flat_map(|numbers| numbers.find_iter(text)).filter(|found| found.len() <= MAX_TOKEN)
}

/// The value of a number that stands alone and is not grouped.
fn plain_number(text: &str, at: usize, token: &str) -> Option<Decimal> {
    let token = token.trim_end_matches(GROUPING);
    let (before, after) = (text.get(..at)?, text.get(at.checked_add(token.len())?..)?);
    let (before, negative) = match before.strip_suffix('-') {
        Some(rest) if !rest.ends_with(|c: char| is_continuing(c) || is_inner(c)) => (rest, true),
        _ => (before, false),
    };
    let plain = !token.contains(|c| c != '.' && GROUPING.contains(&c)) && !could_be_grouped(token);
    let alone = plain && begins_clean(before) && !goes_on(before, token) && ends_number(after);
    let number = decimal::exact(token).filter(|_| alone)?;
    Some(if negative { -number } else { number })
}

/// Whether points may part groups of three digits: `10.000` is ten to one reader and ten thousand to another.
pub(crate) fn could_be_grouped(token: &str) -> bool {
    let mut groups = token.split('.');
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && !rest.is_empty()
        && rest.iter().all(|group| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a number before this one goes on in it: a grouping sign after a digit, or a space before what could be a group.
fn goes_on(before: &str, token: &str) -> bool {
    let mut back = before.chars().rev();
    let digit_before = |sign: Option<char>| sign.is_some_and(|c| c.is_ascii_digit());
    match back.next() {
        Some(' ') => token.chars().take_while(char::is_ascii_digit).count() == 3 && digit_before(back.next()),
        Some(c) if GROUPING.contains(&c) || c == ':' => digit_before(back.next()),
        _ => false,
    }
}

/// Signs that group digits or end a sentence.
const GROUPING: [char; 7] = ['.', ',', '\'', '’', '_', '\u{a0}', '\u{202f}'];

/// Whether a number stands in a text in any reading: with commas, points or other signs between its groups.
pub(super) fn has_number_in_any_reading(text: &str, number: Decimal) -> bool {
    let number = number.abs();
    tokens(text).any(|found| {
        let token = found.as_str().trim_end_matches(GROUPING);
        let without = |dropped: char, point: char| -> String {
            let kept = token.chars().filter(|c| *c == point || *c == dropped || c.is_ascii_digit());
            kept.filter(|c| *c != dropped).map(|c| if c == point { '.' } else { c }).collect()
        };
        let all: String = token.chars().filter(char::is_ascii_digit).collect();
        let spaced: String = format!("{all}{}", following_groups(text, found.end()));
        [without(',', '.'), without('.', ','), all, spaced].iter().any(|reading| {
            decimal::exact(reading.trim_start_matches('0').trim_start_matches('.')) == Some(number)
                || decimal::exact(reading) == Some(number)
        })
    })
}

/// Groups of three digits after spaces.
fn following_groups(text: &str, from: usize) -> String {
    let mut groups = String::new();
    let mut rest = text.get(from..).unwrap_or_default();
    while let Some(after) = rest.strip_prefix(' ').filter(|_| groups.len() < MAX_TOKEN) {
        let group: String = after.chars().take_while(char::is_ascii_digit).collect();
        if group.len() != 3 {
            break;
        }
        rest = after.get(3..).unwrap_or_default();
        groups.push_str(&group);
    }
    groups
}

/// A number is not continued by what reads as its unit or as the end of a sentence, but by a letter, a sign of grouping or a further digit.
fn ends_number(after: &str) -> bool {
    let mut on = after.chars();
    match on.next() {
        None => true,
        // `1 200`: a group may follow.
        Some(' ') => {
            let group: String = on.by_ref().take_while(char::is_ascii_digit).collect();
            group.len() != 3
        }
        Some(',' | '\'' | '’' | ':') => !on.next().is_some_and(|c| c.is_ascii_digit()),
        Some('%') => true,
        Some(_) => ends_clean(after),
    }
}
