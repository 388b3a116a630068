//! The loose form: what is left of a text when everything is dropped by which one writing of a value differs from another.
//!
//! Two texts that a model could take for the same value should have the same loose form: letter case, compatibility forms, separators, look-alike
//! letters, percent escapes, entities, JSON escapes and base64 all fall away. It is for suspicion only; nothing is ever trusted by it.

use std::{borrow::Cow, fmt::Write};

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use unicode_normalization::UnicodeNormalization;

/// How often escapes within escapes are undone.
const ROUNDS: usize = 3;
/// Shortest run of letters that is tried as base64.
const MIN_BASE64: usize = 12;

/// The loose form: lower-case letters and digits only.
pub(crate) fn loose(text: &str) -> String {
    if text.is_ascii() && !text.bytes().any(|b| matches!(b, b'%' | b'&' | b'\\')) {
        return text
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|b| char::from(b.to_ascii_lowercase()))
            .collect();
    }
    let mut plain = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        match unescaped(&plain) {
            Some(next) => plain = Cow::Owned(next),
            None => break,
        }
    }
    fold(&plain)
}

/// The loose form with escapes left as they are written: to one reader they are none.
pub(crate) fn as_written(text: &str) -> String {
    fold(text)
}

/// The loose form of a text, also as it is written, and of what stands in it in base64, each ended by a line break so that nothing is found across two.
pub(crate) fn push_loose(text: &str, out: &mut String) {
    out.push_str(&loose(text));
    out.push('\n');
    if text.contains(['%', '&', '\\']) {
        out.push_str(&as_written(text));
        out.push('\n');
    }
    for inner in base64_within(text) {
        out.push_str(&loose(&inner));
        out.push('\n');
    }
}

/// Texts that stand in base64 within a text.
pub(crate) fn base64_within(text: &str) -> Vec<String> {
    // Letters of both alphabets; padding and what follows is cut off, for decoding does without.
    let run = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    text.split(|c| !run(c)).filter(|run| run.len() >= MIN_BASE64).filter_map(decoded).collect()
}

fn decoded(run: &str) -> Option<String> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let alphabet =
        if run.contains(['-', '_']) { &base64::alphabet::URL_SAFE } else { &base64::alphabet::STANDARD };
    let bytes = GeneralPurpose::new(alphabet, config).decode(run).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    // A word of eight letters decodes as well as anything; what it means has no control characters.
    (!text.chars().any(|c| c.is_control() && !c.is_whitespace())).then_some(text)
}

fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.nfkc().flat_map(char::to_lowercase) {
        if c.is_ascii() {
            if c.is_ascii_alphanumeric() {
                out.push(c);
            }
        } else if c.is_alphanumeric() {
            // Accents are no difference that a reader could be relied on to see.
            for part in c.nfd().filter(|part| part.is_alphanumeric()) {
                out.push(look_alike(part));
            }
        }
    }
    out
}

/// The Latin letter that a letter of another script is mistaken for.
fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' => 'a',
        'в' | 'β' => 'b',
        'с' | 'ϲ' | 'ç' => 'c',
        'ԁ' | 'ɗ' => 'd',
        'е' | 'ε' | 'ҽ' => 'e',
        'ƒ' | 'ғ' => 'f',
        'ɡ' | 'ց' => 'g',
        'һ' | 'н' | 'η' => 'h',
        'і' | 'ι' | 'ı' | 'ӏ' => 'i',
        'ј' | 'ϳ' => 'j',
        'к' | 'κ' => 'k',
        'ⅼ' => 'l',
        'м' | 'μ' => 'm',
        'п' | 'ո' => 'n',
        'о' | 'ο' | 'օ' | 'σ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' | 'զ' => 'q',
        'г' => 'r',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' => 'u',
        'ν' | 'ѵ' => 'v',
        'ѡ' | 'ω' | 'ԝ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' => 'y',
        'ᴢ' | 'ζ' => 'z',
        c => c,
    }
}

/// The text with percent escapes, entities and JSON escapes undone once; none when there are none.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text;
    while let Some(at) = rest.find(['%', '&', '\\']) {
        let (before, from) = rest.split_at_checked(at)?;
        out.extend_from_slice(before.as_bytes());
        match escape(from) {
            Some((bytes, after)) => {
                out.extend_from_slice(&bytes);
                rest = after;
                changed = true;
            }
            None => {
                let mut chars = from.chars();
                chars.next();
                out.extend_from_slice(from.as_bytes().get(..1)?);
                rest = chars.as_str();
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    changed.then(|| String::from_utf8_lossy(&out).into_owned())
}

/// What an escape at the beginning stands for, and what follows it.
fn escape(text: &str) -> Option<(Vec<u8>, &str)> {
    let character = |code: u32| {
        let mut text = String::new();
        char::from_u32(code).map(|c| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{c}");
            text.into_bytes()
        })
    };
    if let Some(rest) = text.strip_prefix('%') {
        let (digits, after) = rest.split_at_checked(2)?;
        return Some((vec![u8::from_str_radix(digits, 16).ok()?], after));
    }
    if let Some(rest) = text.strip_prefix("\\u") {
        let (digits, after) = rest.split_at_checked(4)?;
        return Some((character(u32::from_str_radix(digits, 16).ok()?)?, after));
    }
    if let Some(rest) = text.strip_prefix("&#") {
        let (code, after) = entity(rest)?;
        let code = match code.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => code.parse().ok()?,
        };
        return Some((character(code)?, after));
    }
    let rest = text.strip_prefix('&')?;
    let (name, after) = entity(rest)?;
    let named = match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        "nbsp" => " ",
        "commat" => "@",
        "period" => ".",
        "sol" => "/",
        "colon" => ":",
        "hyphen" | "dash" => "-",
        "lowbar" => "_",
        "shy" | "zwnj" | "zwj" => "",
        _ => return None,
    };
    Some((named.as_bytes().to_vec(), after))
}

/// What stands before a semicolon that is near enough to end an entity.
fn entity(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take(9).position(|byte| byte == b';')?;
    let (name, after) = text.split_at_checked(end)?;
    Some((name, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writings_of_one_value_have_one_loose_form() {
        let value = loose("DE89 3704 0044 0532 0130 00");
        for writing in [
            "de89-3704-0044-0532-0130-00",
            "ＤＥ８９３７０４００４４０５３２０１３０００",
            "DE89\u{200b}37040044\u{ad}0532013000",
            "%44E89370400440532013000",
            "%2544E89370400440532013000",
            "&#68;E89370400440532013000",
            "\\u0044E89370400440532013000",
            "DЕ89370400440532013000",
        ] {
            assert_eq!(loose(writing), value, "{writing}");
        }
        assert_eq!(loose("attаcker@exаmple.com"), loose("Attacker@Example.com"));
        assert_ne!(loose("a"), loose("b"));
    }

    #[test]
    fn base64_is_looked_into() {
        let mut out = String::new();
        push_loose("see REU4OTM3MDQwMDQ0MDUzMjAxMzAwMA== there", &mut out);
        assert!(out.contains(&loose("DE89370400440532013000")), "{out}");
    }

    proptest! {
        #[test]
        fn no_text_panics_and_the_form_has_letters_and_digits_only(text in ".{0,60}") {
            prop_assert!(loose(&text).chars().all(char::is_alphanumeric));
            push_loose(&text, &mut String::new());
        }
    }
}
