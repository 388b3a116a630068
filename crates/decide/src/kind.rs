//! Canonical forms: the one form in which two strings of a kind are compared, or the reason why a string has none.
//!
//! A form that two readers could read as two values is refused rather than repaired: control and zero-width characters, text that is
//! not NFC, hosts of mixed script, user information in URLs, encoded separators, dot segments. The upstream sees the value as written, so
//! a repair here would decide on another value than the one that takes effect.

use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use unicode_script::{Script, UnicodeScript};
use warrantor_model::{Decimal, Kind, decimal};

use crate::trace::could_be_grouped;

/// Longest host name that is looked at, in bytes: more than any name can have, before its labels are encoded.
const MAX_HOST_BYTES: usize = 1024;

/// Why a string has no canonical form of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct Ambiguous {
    why: String,
}

fn ambiguous<T>(why: impl Into<String>) -> Result<T, Ambiguous> {
    Err(Ambiguous { why: why.into() })
}

/// The canonical form of a string of this kind.
///
/// # Errors
/// [`Ambiguous`] when its reading is not certain.
pub fn canonical(kind: Kind, text: &str) -> Result<String, Ambiguous> {
    characters(kind, text)?;
    match kind {
        Kind::Text => Ok(text.to_owned()),
        Kind::Id => untrimmed(text).map(str::to_owned),
        Kind::Mail => mail(text),
        Kind::Url => url(text).map(|url| url.canonical),
        Kind::Host => host(text),
        Kind::Path => path(text),
        Kind::Account => account(text),
        Kind::Handle => handle(text),
        Kind::Phone => phone(text),
        Kind::Date => match text.parse::<jiff::civil::Date>() {
            Ok(date) if text.len() == 10 => Ok(date.to_string()),
            _ => ambiguous("is not a date of the form 2026-01-31"),
        },
        Kind::Time => time(text),
        Kind::Number => match number(text) {
            Some(number) => Ok(number.normalize().to_string()),
            None => ambiguous("is not a plain decimal number"),
        },
    }
}

/// A number as JSON writes it: signs, points, zeros and separators elsewhere are read in several ways.
fn number(text: &str) -> Option<Decimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.split('.').next().unwrap_or_default();
    // Exponents are read by some and cut off by others; `12.000` is twelve to some and twelve thousand to others.
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.ends_with(|c: char| c.is_ascii_digit())
        && !could_be_grouped(digits)
        && (whole == "0" || digits.starts_with(|c: char| c.is_ascii_digit() && c != '0'));
    plain.then(|| decimal::exact(text)).flatten()
}

fn account(text: &str) -> Result<String, Ambiguous> {
    // Some letters beyond ASCII have an upper case within it, so that two accounts would become one.
    if text.chars().any(|c| !c.is_ascii() && c.to_uppercase().any(|upper| upper.is_ascii())) {
        return ambiguous("has a letter whose upper case is another letter");
    }
    let form: String = text
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '.' | '/' | '\u{a0}'))
        .flat_map(char::to_uppercase)
        .collect();
    // Upper case, and letters that a separator kept apart from their marks, can leave the normal form that the text was in.
    if !is_nfc(&form) || form.chars().flat_map(char::to_uppercase).ne(form.chars()) {
        return ambiguous("has letters whose upper case reads two ways");
    }
    Ok(form)
}

/// A handle without its sign. Systems differ on which of two signs is a part of the name.
fn handle(text: &str) -> Result<String, Ambiguous> {
    let name = untrimmed(text)?;
    let name = name.strip_prefix(['@', '#']).unwrap_or(name);
    if name.starts_with(['@', '#']) || name.trim() != name {
        return ambiguous("is a handle with two signs, or with space after its sign");
    }
    Ok(name.to_owned())
}

/// Whether two strings of a kind are the same value. A URL without scheme is the same as with http or https.
#[must_use]
pub fn same(kind: Kind, a: &str, b: &str, ignore_case: bool) -> bool {
    match (comparable(kind, a, ignore_case), comparable(kind, b, ignore_case)) {
        (Some(a), Some(b)) => same_comparable(kind, &a, &b),
        _ => false,
    }
}

/// The form in which strings of a kind are compared; `None` for one that equals nothing.
pub(crate) fn comparable(kind: Kind, text: &str, ignore_case: bool) -> Option<String> {
    let form = canonical(kind, text).ok()?;
    Some(if ignore_case { form.to_lowercase() } else { form })
}

/// Whether two strings in the form of [`comparable`] are the same value.
pub(crate) fn same_comparable(kind: Kind, a: &str, b: &str) -> bool {
    let bare = |url: &str| url.starts_with("//");
    if a == b || kind != Kind::Url || bare(a) == bare(b) {
        return a == b;
    }
    let (bare, whole) = if bare(a) { (a, b) } else { (b, a) };
    whole.strip_prefix("https:").or_else(|| whole.strip_prefix("http:")) == Some(bare)
}

/// What a canonical URL gets from its server, for counting: whatever its scheme, without the fragment, which stays with the client, without an empty
/// query, and with escapes that stand for plain letters undone.
pub(crate) fn page(url: &str) -> String {
    let bare = url.strip_prefix("https:").or_else(|| url.strip_prefix("http:")).unwrap_or(url);
    let bare = bare.split('#').next().unwrap_or_default();
    let bare = bare.strip_suffix('?').unwrap_or(bare).trim_end_matches('/');
    let mut out = String::with_capacity(bare.len());
    let mut rest = bare;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '~') => {
                out.push(c);
                rest = after.get(2..).unwrap_or_default();
            }
            Some(_) => {
                out.push('%');
                out.push_str(&after.get(..2).unwrap_or_default().to_ascii_uppercase());
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The host a string of this kind leads to: of a URL, a mail address, or the host itself.
///
/// # Errors
/// [`Ambiguous`] when it leads to none for certain.
pub fn host_of(kind: Kind, text: &str) -> Result<String, Ambiguous> {
    match kind {
        Kind::Mail => {
            let mail = canonical(Kind::Mail, text)?;
            Ok(mail.rsplit_once('@').map(|(_, host)| host.to_owned()).unwrap_or_default())
        }
        Kind::Host => canonical(Kind::Host, text),
        Kind::Url => url_host(text),
        _ if text.contains("://") => url_host(text),
        // `evil.example/@example.com` is an address to one reader and a URL to another.
        _ if text.contains(['/', '?', '#']) => ambiguous("is no plain host or address"),
        _ if text.contains('@') => host_of(Kind::Mail, text),
        _ => canonical(Kind::Host, text),
    }
}

fn url_host(text: &str) -> Result<String, Ambiguous> {
    characters(Kind::Url, text)?;
    url(text).map(|url| url.host)
}

fn characters(kind: Kind, text: &str) -> Result<(), Ambiguous> {
    let prose = kind == Kind::Text;
    for c in text.chars() {
        let allowed = prose && matches!(c, '\t' | '\n' | '\r');
        if c.is_control() && !allowed {
            return ambiguous(format!("has the control character {}", c.escape_unicode()));
        }
        if is_invisible(c) {
            return ambiguous(format!("has the invisible character {}", c.escape_unicode()));
        }
    }
    if !is_nfc(text) {
        return ambiguous("is not in Unicode normalization form C");
    }
    Ok(())
}

/// Characters that show nothing or turn the direction of what follows (Unicode default ignorable and bidirectional controls).
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn untrimmed(text: &str) -> Result<&str, Ambiguous> {
    if text.trim() == text { Ok(text) } else { ambiguous("has space around it") }
}

fn mail(text: &str) -> Result<String, Ambiguous> {
    let Some((local, domain)) = text.rsplit_once('@') else { return ambiguous("has no @") };
    // `%` and `!` route through the domain to another address at some relays.
    let plain = |c: char| c.is_ascii_alphanumeric() || "#$&'*+-/=?^_`{|}~.".contains(c);
    if local.is_empty() || !local.chars().all(plain) {
        return ambiguous("has a local part that is quoted or not plain ASCII");
    }
    // RFC 5321 lets the local part keep its case; no provider in use tells two people apart by it.
    Ok(format!("{}@{}", local.to_ascii_lowercase(), host(domain)?))
}

fn host(text: &str) -> Result<String, Ambiguous> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > MAX_HOST_BYTES {
        return ambiguous("is longer than a host name can be");
    }
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || "/\\@:%?#".contains(c)) {
        return ambiguous("is no host name");
    }
    let Ok(ascii) = idna::domain_to_ascii_strict(name) else { return ambiguous("is no valid host name") };
    let (unicode, _) = idna::domain_to_unicode(&ascii);
    // What the upstream resolves is what was written; only case may differ from the form that is compared here.
    let lower = name.to_lowercase();
    if lower != ascii && lower != unicode {
        return ambiguous("is a host name with characters that stand for others");
    }
    for label in unicode.split('.') {
        one_script(label)?;
    }
    match url::Host::parse(&ascii) {
        Ok(url::Host::Ipv4(address)) if address.to_string() != ascii => {
            ambiguous("is an address in an unusual notation")
        }
        Ok(_) => Ok(ascii),
        Err(_) => ambiguous("is no valid host name"),
    }
}

/// Refuses a label that mixes scripts, but for the mixtures that Japanese and Korean are written in.
fn one_script(label: &str) -> Result<(), Ambiguous> {
    let mut scripts: Vec<Script> = label
        .chars()
        .map(|c| c.script())
        .filter(|s| !matches!(s, Script::Common | Script::Inherited))
        .map(|s| match s {
            Script::Hiragana | Script::Katakana | Script::Hangul | Script::Bopomofo => Script::Han,
            s => s,
        })
        .collect();
    scripts.sort_by_key(|s| s.short_name());
    scripts.dedup();
    if scripts.len() > 1 { ambiguous("has a label that mixes scripts") } else { Ok(()) }
}

struct Url {
    canonical: String,
    host: String,
}

fn url(text: &str) -> Result<Url, Ambiguous> {
    if text.chars().any(char::is_whitespace) || text.contains('\\') {
        return ambiguous("is a URL with white space or backslashes");
    }
    let (with_scheme, bare) = if has_scheme(text) {
        (text.to_owned(), false)
    } else {
        (format!("https://{}", text.strip_prefix("//").unwrap_or(text)), true)
    };
    let Ok(parsed) = url::Url::parse(&with_scheme) else { return ambiguous("is no URL") };
    let authority = authority(&with_scheme);
    if !parsed.username().is_empty() || parsed.password().is_some() || authority.contains('@') {
        return ambiguous("is a URL with user information");
    }
    let host = url_host_as_written(&parsed, without_port(authority))?;
    path_of_url(&with_scheme)?;
    let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = parsed.path().trim_end_matches('/');
    let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
    let fragment = parsed.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
    let scheme = if bare { String::new() } else { format!("{}:", parsed.scheme()) };
    Ok(Url { canonical: format!("{scheme}//{host}{port}{path}{query}{fragment}"), host })
}

/// The host as it was written, judged for scripts and notation: the parser repairs what other readers take as it stands.
fn url_host_as_written(parsed: &url::Url, written: &str) -> Result<String, Ambiguous> {
    let Some(named) = parsed.host_str() else { return ambiguous("is a URL without a host") };
    match parsed.host() {
        Some(url::Host::Domain(name)) => {
            let host = host(written)?;
            if name.is_ascii()
                && !name.contains('%')
                && !name.trim_end_matches('.').eq_ignore_ascii_case(&host)
            {
                return ambiguous("is a URL whose host reads two ways");
            }
            Ok(host)
        }
        Some(url::Host::Ipv4(_)) if written != named => {
            ambiguous("is a URL whose address is in an unusual notation")
        }
        Some(url::Host::Ipv6(_)) if !written.starts_with('[') => ambiguous("is a URL without a host"),
        _ => Ok(named.to_owned()),
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

fn path_of_url(url: &str) -> Result<(), Ambiguous> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let segments = path.split('/').skip(1);
    encoded_separators(path)?;
    // Some servers cut a segment off at its first `;`.
    let mut bare = segments.clone().map(|segment| segment.split(';').next().unwrap_or_default());
    if bare.any(|segment| matches!(segment, "." | "..")) {
        return ambiguous("is a URL with dot segments");
    }
    Ok(())
}

fn encoded_separators(text: &str) -> Result<(), Ambiguous> {
    let lower = text.to_ascii_lowercase();
    // The later ones are overlong, non-standard or full-width escapes of the same signs, which honest text has no use for.
    match [
        "%2f",
        "%5c",
        "%2e",
        "%25",
        "%00",
        "%c0",
        "%c1",
        "%u00",
        "%e0%80",
        "%e0%81",
        "%f0%80",
        "%ef%bc%8e",
        "%ef%bc%8f",
        "%ef%bc%bc",
    ]
    .iter()
    .find(|code| lower.contains(**code))
    {
        Some(code) => ambiguous(format!("has the encoded separator {code}")),
        None => Ok(()),
    }
}

fn path(text: &str) -> Result<String, Ambiguous> {
    // A store that folds compatibility forms would see separators and dots where the text has other characters.
    let folded: String = text.nfkc().collect();
    encoded_separators(&folded)?;
    if folded.matches('/').count() != text.matches('/').count() || folded.contains('\\') {
        return ambiguous("is a path with backslashes or characters that stand for separators");
    }
    if folded.split('/').any(|segment| !segment.is_empty() && segment.bytes().all(|b| b == b'.')) {
        return ambiguous("is a path with dot segments");
    }
    if folded.contains(['*', '$']) {
        return ambiguous("is a path with `*` or `$`, which some readers expand");
    }
    if text.is_empty() {
        return ambiguous("is an empty path");
    }
    if text.starts_with('~') || text.starts_with("//") || text.contains("://") {
        return ambiguous("is a path with a home sign, two slashes at its start, or a scheme");
    }
    let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| segment.trim() != *segment) {
        return ambiguous("is a path with space around a segment");
    }
    let joined = segments.join("/");
    Ok(if text.starts_with('/') { format!("/{joined}") } else { joined })
}

/// Whether a path stands at or below a directory; both in canonical form.
pub(crate) fn path_within(path: &str, base: &str) -> bool {
    let below =
        |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if base == "/" { path.starts_with('/') } else { below(base) }
}

fn phone(text: &str) -> Result<String, Ambiguous> {
    let text = untrimmed(text)?;
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
    let number = digits.strip_prefix('+').unwrap_or(&digits);
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return ambiguous("is no telephone number");
    }
    Ok(digits)
}

/// Local instants and zoned ones keep apart: `…T12:00:00` is not `…T12:00:00Z`.
fn time(text: &str) -> Result<String, Ambiguous> {
    // The parser would drop a zone's name and make a leap second the one before.
    if text.contains('[') || text.contains(":60") {
        return ambiguous("is a time with a zone's name or a leap second");
    }
    if let Ok(zoned) = text.parse::<jiff::Timestamp>() {
        return Ok(zoned.to_string());
    }
    match text.parse::<jiff::civil::DateTime>() {
        Ok(local) if text.len() > 10 => Ok(local.to_string()),
        _ => ambiguous("is no date and time of the form 2026-01-31T12:00, with or without an offset"),
    }
}

/// A value that can be ordered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ordered {
    Number(Decimal),
    /// A date, or a local date and time.
    Local(jiff::civil::DateTime),
    Zoned(jiff::Timestamp),
}

impl Ordered {
    /// Reads a string of a kind that has an order.
    pub(crate) fn read(kind: Kind, text: &str) -> Option<Self> {
        match kind {
            Kind::Number => number(text).map(Self::Number),
            Kind::Date | Kind::Time | Kind::Text => {
                if let Ok(form) = canonical(Kind::Date, text) {
                    return form.parse::<jiff::civil::Date>().ok().map(|d| Self::Local(d.at(0, 0, 0, 0)));
                }
                let form = canonical(Kind::Time, text).ok()?;
                match form.parse::<jiff::Timestamp>() {
                    Ok(zoned) => Some(Self::Zoned(zoned)),
                    Err(_) => form.parse::<jiff::civil::DateTime>().ok().map(Self::Local),
                }
            }
            _ => None,
        }
    }

    /// Orders two values of one sort; `None` for two sorts, which nobody may order.
    pub(crate) fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => Some(a.cmp(b)),
            (Self::Local(a), Self::Local(b)) => Some(a.cmp(b)),
            (Self::Zoned(a), Self::Zoned(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certain_form_is_brought_to_its_canonical_one() {
        let cases = [
            (Kind::Text, "Hello\tworld\n", "Hello\tworld\n"),
            (Kind::Mail, "Alice.B+x@Example.COM", "alice.b+x@example.com"),
            (Kind::Url, "HTTPS://Example.com:443/a/", "https://example.com/a"),
            (Kind::Url, "http://example.com:8080", "http://example.com:8080"),
            (Kind::Url, "example.com/a?q=1", "//example.com/a?q=1"),
            (Kind::Host, "Example.COM.", "example.com"),
            (Kind::Host, "münchen.de", "xn--mnchen-3ya.de"),
            (Kind::Path, "/a//b/", "/a/b"),
            (Kind::Path, "a/b c", "a/b c"),
            (Kind::Account, "de89 3704-0044.0532", "DE89370400440532"),
            (Kind::Handle, "@Alice", "Alice"),
            (Kind::Handle, "#general", "general"),
            (Kind::Phone, "+49 (30) 12-34", "+49301234"),
            (Kind::Date, "2026-01-31", "2026-01-31"),
            (Kind::Time, "2026-01-31T12:00", "2026-01-31T12:00:00"),
            (Kind::Time, "2026-01-31T12:00+02:00", "2026-01-31T10:00:00Z"),
            (Kind::Number, "1200.00", "1200"),
        ];
        for (kind, text, expected) in cases {
            assert_eq!(canonical(kind, text).as_deref(), Ok(expected), "{kind:?} {text}");
        }
    }

    #[test]
    fn a_form_that_reads_two_ways_is_refused() {
        let cases: &[(Kind, &[&str])] = &[
            (Kind::Text, &["a\u{200b}b", "a\u{0}b", "e\u{301}", "\u{202e}abc", "\u{feff}a"]),
            (Kind::Id, &[" a", "a ", "a\n"]),
            (
                Kind::Mail,
                &[
                    "alice",
                    "a b@example.com",
                    "\"a\"@example.com",
                    "ålice@example.com",
                    "a@exa mple.com",
                    "@x.com",
                    "Bob <b@x.com>",
                    "a@b@\u{430}pple.com",
                ],
            ),
            (
                Kind::Url,
                &[
                    "https://u@example.com",
                    "https://example.com@evil.com/",
                    "https://e.com/a%2fb",
                    "https://e.com/../a",
                    "https://e.com\\a",
                    "https:///",
                    "http://0x7f.1/",
                    "https://e.com/%2e%2e/a",
                    "https://\u{430}pple.com/",
                ],
            ),
            (Kind::Host, &["a/b", "0x7f.0.0.1", "", "exa mple.com", "\u{430}pple.com", "a..b", "a:80"]),
            (
                Kind::Path,
                &[
                    "/a/../b",
                    "./a",
                    "~/a",
                    "a\\b",
                    "/a%2Fb",
                    "//srv/a",
                    "file:///a",
                    "",
                    "/a/ b",
                    "/a\0b",
                    "/%2e%2e/b",
                ],
            ),
            (Kind::Account, &["\u{390}", "e.\u{301}", "\u{131}b"]),
            (Kind::Handle, &["@@alice", "@ alice", " alice"]),
            (Kind::Phone, &["call me", "12 34x", ""]),
            (Kind::Date, &["31/01/2026", "2026-13-01", "tomorrow", "2026-01-31T12:00"]),
            (Kind::Time, &["2026-01-31", "12:00", "soon"]),
            (Kind::Number, &["10,000", "1 000", "", "0x10", "1e99"]),
        ];
        for (kind, texts) in cases {
            for text in *texts {
                assert!(canonical(*kind, text).is_err(), "{kind:?} {text:?} was taken");
            }
        }
    }

    #[test]
    fn urls_compare_after_host_port_slash_and_scheme() {
        for (a, b, equal) in [
            ("https://Example.com/", "https://example.com:443", true),
            ("example.com/a", "https://example.com/a/", true),
            ("http://example.com/a", "example.com/a", true),
            ("http://example.com/a", "https://example.com/a", false),
            ("ftp://example.com/a", "example.com/a", false),
            ("https://example.com/a", "https://example.com/A", false),
        ] {
            assert_eq!(same(Kind::Url, a, b, false), equal, "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own_canonical_form(text in "\\PC{0,24}", pick in 0usize..12) {
            let kinds = [Kind::Text, Kind::Id, Kind::Mail, Kind::Url, Kind::Host, Kind::Path, Kind::Account,
                Kind::Phone, Kind::Date, Kind::Time, Kind::Number, Kind::Handle];
            let kind = kinds[pick];
            if let Ok(form) = canonical(kind, &text)
                && !form.is_empty()
            {
                let again = canonical(kind, &form);
                prop_assert_eq!(again, Ok(form), "{:?} {}", kind, text);
            }
        }
    }
}
