//! Whether a value stands in a text: exactly, in the canonical form of its kind, and between characters that cannot continue it.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use regex::Regex;
use unicode_normalization::char::is_combining_mark;
use warrantor_model::{Decimal, Json, Kind, decimal};

use crate::kind::{canonical, comparable, host_of, is_invisible, same_comparable};

use super::{
    loose::{as_written, base64_within, loose},
    numbers::{could_be_grouped, has_number, has_number_in_any_reading},
};

/// Fewest characters of a text that is not trivial.
const TRIVIAL_BELOW: usize = 8;
/// Shortest loose form that is suspected wherever its letters stand, and not only as a word.
const MIN_WITHIN: usize = 6;

/// A value that is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Needle {
    pub(crate) kind: Kind,
    form: Form,
    /// Its loose forms; any of them raises suspicion.
    pub(crate) loose: Vec<String>,
    /// Too common for an occurrence to say where it came from.
    pub(crate) trivial: bool,
}

#[derive(Debug, Clone)]
enum Form {
    Number(Decimal),
    Bool(bool),
    Text(String),
    /// A number that cannot be compared exactly: it is found nowhere.
    Inexact,
}

impl Needle {
    /// A scalar to look for. `null` and containers are none.
    pub(crate) fn of(value: &Json, kind: Option<Kind>) -> Option<Self> {
        let kind = kind.unwrap_or_default();
        let number = |number: Option<Decimal>, written: &str| match number {
            Some(number) => (Form::Number(number.normalize()), number.normalize().to_string()),
            None => (Form::Inexact, written.to_owned()),
        };
        let (form, shown) = match value {
            Json::Null | Json::Array(_) | Json::Object(_) => return None,
            Json::Bool(b) => (Form::Bool(*b), b.to_string()),
            Json::Number(literal) => number(value.as_decimal(), literal),
            // What has no canonical form is refused by layer 3 where the manifest names a kind; elsewhere it is what it is.
            Json::String(text) => match canonical(kind, text) {
                Ok(form) if kind == Kind::Number => number(decimal::exact(&form), text),
                Ok(form) => (Form::Text(form), text.clone()),
                Err(_) => (Form::Text(text.clone()), text.clone()),
            },
        };
        let trivial = match &form {
            Form::Number(_) | Form::Bool(_) | Form::Inexact => true,
            Form::Text(form) => matches!(kind, Kind::Date | Kind::Time) || is_trivial(kind, form),
        };
        let mut forms = vec![loose(&shown), as_written(&shown)];
        forms.extend(base64_within(&shown).iter().map(|inner| loose(inner)));
        if let Form::Text(form) = &form {
            forms.push(loose(form));
            // A URL may stand without its scheme.
            forms.extend(form.split_once("//").filter(|_| kind == Kind::Url).map(|(_, rest)| loose(rest)));
        }
        forms.retain(|form| !form.is_empty());
        forms.sort_unstable();
        forms.dedup();
        Some(Self { kind, form, loose: forms, trivial })
    }

    /// Whether nothing is to be found: the empty text.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.form, Form::Text(form) if form.is_empty())
    }

    /// Whether it stands in a leaf: as the whole value, or within its text.
    pub(crate) fn is_in(&self, leaf: &Json) -> bool {
        match leaf {
            Json::String(text) => self.is_whole_text(text) || self.occurs(text),
            other => self.is_value(other),
        }
    }

    /// Whether it is this value as a whole.
    pub(crate) fn is_value(&self, leaf: &Json) -> bool {
        match (&self.form, leaf) {
            (Form::Number(number), Json::Number(_)) => leaf.as_decimal() == Some(*number),
            (Form::Bool(a), Json::Bool(b)) => a == b,
            (Form::Text(form), Json::Number(literal)) => **literal == **form,
            (_, Json::String(text)) => self.is_whole_text(text),
            _ => false,
        }
    }

    fn is_whole_text(&self, text: &str) -> bool {
        match &self.form {
            Form::Text(form) => comparable(self.kind, text, false)
                .is_some_and(|other| same_comparable(self.kind, form, &other)),
            Form::Number(number) => !could_be_grouped(text) && decimal::exact(text) == Some(*number),
            Form::Bool(_) | Form::Inexact => false,
        }
    }

    /// Whether it stands within a text between characters that cannot continue it.
    pub(crate) fn occurs(&self, text: &str) -> bool {
        match &self.form {
            Form::Bool(_) | Form::Inexact => false,
            Form::Number(number) => has_number(text, *number),
            Form::Text(form) if form.is_empty() => false,
            Form::Text(form) => match self.kind {
                Kind::Text | Kind::Id | Kind::Date | Kind::Number => stands_in(text, form, Edge::Plain),
                Kind::Path => stands_in(text, form, Edge::Path),
                Kind::Handle => stands_in(text, form, Edge::Handle),
                Kind::Mail | Kind::Host | Kind::Url => has_token(self.kind, text, form),
                Kind::Account => has_compact(text, form, Compact::Account),
                Kind::Phone => has_compact(text, form, Compact::Phone),
                Kind::Time => has_time(text, form),
            },
        }
    }

    /// Whether a person's words say it: it stands in them, and they say it as a value of its kind. A word such as `account` is no account, and
    /// `README.md` is no web page, however they could be read; in quotation marks they are.
    pub(crate) fn is_said_in(&self, words: &str) -> bool {
        if !self.occurs(words) {
            return false;
        }
        let Form::Text(form) = &self.form else { return true };
        let has_digit = || form.chars().any(char::is_numeric);
        let plainly = match self.kind {
            Kind::Account => has_digit(),
            Kind::Path => form.contains(['/', '.']) || has_digit(),
            Kind::Host => form.contains('.'),
            Kind::Url => {
                let rest = form.split_once("//").map_or(form.as_str(), |(_, rest)| rest);
                let words = words.to_lowercase();
                rest.contains(['/', '?', '#'])
                    || rest.starts_with("www.")
                    || words.contains(&format!("//{}", rest.to_lowercase()))
            }
            _ => true,
        };
        plainly || quoted_spans(words).any(|span| self.is_whole_text(span))
    }

    /// Whether a leaf in whose loose form one of ours was found could be meant: short forms have to be a word of it.
    pub(crate) fn is_suspected_in(&self, leaf: &Json) -> bool {
        if self.loose.iter().any(|form| form.len() >= MIN_WITHIN) {
            return true;
        }
        let text = super::history::scalar_text(leaf);
        match &self.form {
            Form::Number(number) => has_number_in_any_reading(&text, *number),
            _ => text
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| !word.is_empty() && self.loose.contains(&loose(word))),
        }
    }

    /// Whether it stands in a field of a kind of its own. Such a field is one value: a part of it is another one.
    pub(crate) fn is_in_field(&self, leaf: &Json, kind: Option<Kind>) -> bool {
        match kind {
            None | Some(Kind::Text | Kind::Mail) => self.is_in(leaf),
            Some(Kind::Url) if self.kind == Kind::Host => leaf
                .as_str()
                .and_then(|url| host_of(Kind::Url, url).ok())
                .is_some_and(|host| self.is_whole_text(&host)),
            Some(_) => self.is_value(leaf),
        }
    }

    /// Whether its loose forms are too short to be looked for in the middle of others.
    pub(crate) fn is_short(&self) -> bool {
        self.loose.iter().all(|form| form.len() < MIN_WITHIN)
    }

    /// The loose form of the host that it leads to.
    pub(crate) fn loose_host(&self) -> Option<String> {
        let Form::Text(form) = &self.form else { return None };
        let leads = matches!(self.kind, Kind::Url | Kind::Mail | Kind::Host) || form.contains("://");
        let host = leads.then(|| host_of(self.kind, form).ok()).flatten()?;
        Some(loose(&host)).filter(|host| !host.is_empty())
    }

    /// Whether the values of a call, in their loose forms a line each, hold it.
    pub(crate) fn is_among(&self, lines: &str, finders: &[Finder<'_>]) -> bool {
        finders.iter().any(|finder| {
            let form = finder.needle();
            if form.len() >= MIN_WITHIN {
                finder.find(lines.as_bytes()).is_some()
            } else {
                lines.lines().any(|line| line.as_bytes() == form)
            }
        })
    }

    /// What looks for its loose forms: made once for a whole history.
    pub(crate) fn finders(&self) -> Vec<Finder<'_>> {
        self.loose.iter().map(|form| Finder::new(form.as_str())).collect()
    }

    /// Whether it is what a quoted span of a text says, or an identifier with a digit that stands in it.
    pub(crate) fn is_quoted_or_identifier_in(&self, text: &str) -> bool {
        let Form::Text(form) = &self.form else { return self.occurs(text) };
        let identifier = form.chars().any(|c| c.is_numeric()) && !form.chars().any(char::is_whitespace);
        (identifier && self.occurs(text)) || quoted_spans(text).any(|span| self.is_whole_text(span))
    }
}

fn is_trivial(kind: Kind, form: &str) -> bool {
    let one_word = !form.chars().any(|c| matches!(c, '@' | '/' | ':'))
        && !matches!(kind, Kind::Mail | Kind::Url | Kind::Host);
    one_word && form.chars().count() < TRIVIAL_BELOW
}

/// What stands between two quotation marks of one sort.
fn quoted_spans(text: &str) -> impl Iterator<Item = &str> {
    const PAIRS: [(char, char); 6] =
        [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’'), ('«', '»'), ('`', '`')];
    PAIRS.iter().flat_map(move |(open, close)| {
        text.match_indices(*open).filter_map(move |(at, mark)| {
            // An apostrophe within a word opens nothing.
            let before = text.get(..at)?.chars().next_back();
            if before.is_some_and(char::is_alphanumeric) {
                return None;
            }
            let rest = text.get(at.checked_add(mark.len())?..)?;
            rest.split_once(*close).map(|(span, _)| span)
        })
    })
}

/// What may stand at the edges of a value of a kind beside what ends any value.
#[derive(Clone, Copy, PartialEq)]
enum Edge {
    Plain,
    /// A slash after a path is a part of it that says nothing.
    Path,
    /// A sign before a handle is not a part of it.
    Handle,
}

fn stands_in(text: &str, form: &str, edge: Edge) -> bool {
    text.match_indices(form).any(|(at, found)| {
        let (Some(before), Some(after)) =
            (text.get(..at), at.checked_add(found.len()).and_then(|end| text.get(end..)))
        else {
            return false;
        };
        let before = match edge {
            Edge::Handle => before.strip_suffix(['@', '#']).unwrap_or(before),
            _ => before,
        };
        let after = match edge {
            Edge::Path => after.strip_prefix('/').filter(|rest| !rest.starts_with('/')).unwrap_or(after),
            _ => after,
        };
        begins_clean(before) && ends_clean(after)
    })
}

/// Characters by which a value can go on where a letter or digit follows on the other side.
pub(super) fn is_inner(c: char) -> bool {
    matches!(c, '_' | '-' | '@' | '.' | '/' | '+' | '%' | '&' | '~' | '\\')
}

pub(super) fn is_continuing(c: char) -> bool {
    // Characters that show nothing end no value.
    c.is_alphanumeric() || is_combining_mark(c) || is_invisible(c)
}

/// Whether a value can begin after this text.
pub(super) fn begins_clean(before: &str) -> bool {
    let mut back = before.chars().rev();
    match back.next() {
        None => true,
        Some(c) if is_continuing(c) => false,
        Some('_' | '@' | '/' | '\\' | '~') => false,
        Some(c) if is_inner(c) => !back.next().is_some_and(|c| is_continuing(c) || is_inner(c)),
        Some(_) => true,
    }
}

/// Whether a value can end before this text.
pub(super) fn ends_clean(after: &str) -> bool {
    let mut on = after.chars();
    match on.next() {
        None => true,
        Some(c) if is_continuing(c) || c == '_' => false,
        Some(c) if is_inner(c) => {
            !on.next().is_some_and(|c| is_continuing(c) || matches!(c, '_' | '@' | '/' | '~' | '\\'))
        }
        Some(_) => true,
    }
}

/// Whether a token of a text is the address, host or URL.
fn has_token(kind: Kind, text: &str, form: &str) -> bool {
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '<' | '>' | '“' | '”' | '«' | '»' | '`')
            || (kind == Kind::Mail && matches!(c, ',' | ';' | ':' | '(' | ')' | '[' | ']'))
    };
    let edge = |c: char| {
        matches!(
            c,
            '.' | ','
                | ';'
                | ':'
                | '!'
                | '?'
                | '\''
                | '('
                | ')'
                | '['
                | ']'
                | '{'
                | '}'
                | '‘'
                | '’'
                | '…'
                | '*'
        )
    };
    text.split(ends)
        .map(|token| token.trim_matches(edge))
        .filter(|token| !token.is_empty())
        .any(|token| comparable(kind, token, false).is_some_and(|token| same_comparable(kind, form, &token)))
}

/// Longest account or number that is looked for within a text, in characters; a longer one is none, and has to be the whole value.
const MAX_COMPACT: usize = 128;

/// How a kind drops what stands between its characters.
#[derive(Clone, Copy, PartialEq)]
enum Compact {
    Account,
    Phone,
}

/// Whether a value stands in a text that separates its parts.
fn has_compact(text: &str, form: &str, how: Compact) -> bool {
    let dropped = |c: char| match how {
        Compact::Account => matches!(c, ' ' | '-' | '.' | '/' | '\u{a0}'),
        Compact::Phone => matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'),
    };
    // Each kept character with the place where it begins in the text.
    let kept: Vec<(usize, char)> = text
        .char_indices()
        .filter(|(_, c)| !dropped(*c))
        .flat_map(|(at, c)| c.to_uppercase().map(move |upper| (at, upper)))
        .collect();
    let wanted: Vec<char> = form.chars().collect();
    let (Some(first), true) = (wanted.first(), wanted.len() <= kept.len()) else { return false };
    if wanted.len() > MAX_COMPACT {
        return false;
    }
    let spaced_at_all = form.chars().any(|c| c.is_numeric());
    kept.windows(wanted.len()).any(|window| {
        if window.first().map(|(_, c)| c) != Some(first) || !window.iter().map(|(_, c)| c).eq(&wanted) {
            return false;
        }
        let (Some((begin, _)), Some((last, _))) = (window.first(), window.last()) else { return false };
        let end = text.get(*last..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let (Some(before), Some(found), Some(after)) = (
            text.get(..*begin),
            last.checked_add(end).and_then(|end| text.get(*begin..end)),
            last.checked_add(end).and_then(|end| text.get(end..)),
        ) else {
            return false;
        };
        // Words side by side are no account; numbers in groups are.
        let in_groups = found.chars().any(char::is_whitespace);
        begins_clean(before) && ends_clean(after) && (!in_groups || spaced_at_all)
    })
}

static TIMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?").ok()
});

fn has_time(text: &str, form: &str) -> bool {
    TIMES.iter().flat_map(|times| times.find_iter(text)).any(|found| {
        let edges = text.get(..found.start()).is_some_and(begins_clean)
            && text.get(found.end()..).is_some_and(|after| ends_clean(after) && !after.starts_with(':'));
        edges && canonical(Kind::Time, found.as_str()).is_ok_and(|time| time == form)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needle(kind: Kind, json: &str) -> Needle {
        Needle::of(&Json::parse(json.as_bytes()).unwrap(), Some(kind)).unwrap()
    }

    #[test]
    fn a_value_stands_in_a_text_between_what_cannot_continue_it() {
        let iban = r#""DE89370400440532013000""#;
        let cases: &[(Kind, &str, &[&str], &[&str])] = &[
            (
                Kind::Account,
                iban,
                &[
                    "to DE89 3704 0044 0532 0130 00.",
                    "IBAN:DE89370400440532013000",
                    "(de89-3704-0044-0532-0130-00)",
                ],
                &[
                    "XDE89370400440532013000",
                    "DE893704004405320130001",
                    "DE8937040044053201300",
                    "DE89370400440532013000/7",
                ],
            ),
            (Kind::Account, r#""PAYME""#, &["PAYME", "the code payme!"], &["please pay me", "pay-me-now"]),
            (
                Kind::Mail,
                r#""bob@example.com""#,
                &[
                    "Bob <Bob@Example.com>, Eve",
                    "write to bob@example.com.",
                    "'bob@example.com'",
                    "mail:bob@example.com",
                ],
                &[
                    "x+bob@example.com",
                    "bob@example.com.evil.example",
                    "abob@example.com",
                    "bob@example.company",
                    "bob@\u{430}example.com",
                ],
            ),
            (
                Kind::Url,
                r#""https://example.com/a""#,
                &["see https://example.com/a/.", "(https://EXAMPLE.com/a)", "see example.com/a"],
                &[
                    "https://example.com/a/b",
                    "https://example.com/ab",
                    "https://example.com.evil.example/a",
                    "https://example.com/a,b",
                ],
            ),
            (
                Kind::Text,
                r#""Pizza party""#,
                &["the Pizza party.", "\"Pizza party\"", "Pizza party's over"],
                &["Pizza parties", "xPizza party", "Pizza party-2"],
            ),
            (
                Kind::Id,
                r#""INV-2024-7""#,
                &["pay INV-2024-7 now", "(INV-2024-7)"],
                &["INV-2024-71", "XINV-2024-7", "INV-2024-7-b", "a/INV-2024-7"],
            ),
            (
                Kind::Path,
                r#""docs/plan.txt""#,
                &["read 'docs/plan.txt'.", "docs/plan.txt/"],
                &["/docs/plan.txt", "docs/plan.txt.old", "docs/plan.txt/x"],
            ),
            (
                Kind::Handle,
                r#""alice""#,
                &["ask @alice.", "#alice", "alice"],
                &["@alice_2", "malice", "bob@alice"],
            ),
            (Kind::Phone, r#""+49301234567""#, &["call +49 (30) 1234567"], &["call +49 30 12345678"]),
            (Kind::Date, r#""2026-01-31""#, &["on 2026-01-31."], &["2026-01-31T10:00", "12026-01-31"]),
            (
                Kind::Time,
                r#""2026-01-31T10:00""#,
                &["at 2026-01-31 10:00.", "2026-01-31T10:00:00"],
                &["2026-01-31 10:00:01", "2026-01-31T10:00Z"],
            ),
            (
                Kind::Number,
                "98.7",
                &["98.70", "Total\t\t98.70\n", "€98.70.", "98.70 EUR", "98.70%"],
                &["198.70", "98.705", "98,70", "1.98.70", "x98.7"],
            ),
            (
                Kind::Number,
                "10000",
                &["10000", "10000.00"],
                &["10,000", "10.000", "10'000", "10 000", "110000"],
            ),
            (Kind::Number, "200", &["200 each"], &["1,200", "1.200,50", "200,000", "200 000", "2022-200"]),
            (Kind::Number, "-5", &["it is -5."], &["3-5", "5"]),
        ];
        for (kind, value, inside, outside) in cases {
            let needle = needle(*kind, value);
            for text in *inside {
                assert!(needle.is_in(&Json::String((*text).into())), "{value} was not found in {text}");
            }
            for text in *outside {
                assert!(!needle.is_in(&Json::String((*text).into())), "{value} was found in {text}");
            }
        }
    }

    #[test]
    fn a_word_is_no_account_and_a_file_no_page_unless_it_is_quoted() {
        for (kind, value, words, said) in [
            (Kind::Account, "\"invoice\"", "pay the invoice", false),
            (Kind::Account, "\"PAYME\"", "pay to \"PAYME\"", true),
            (Kind::Account, "\"DE89370400440532013000\"", "to DE89 3704 0044 0532 0130 00", true),
            (Kind::Url, "\"https://README.md\"", "read README.md", false),
            (Kind::Url, "\"https://readme.md\"", "read https://readme.md", true),
            (Kind::Url, "\"https://example.com/a\"", "read example.com/a", true),
            (Kind::Url, "\"https://www.example.com\"", "read www.example.com", true),
            (Kind::Path, "\"account\"", "their account", false),
            (Kind::Path, "\"notes.txt\"", "read notes.txt", true),
            (Kind::Host, "\"account\"", "their account", false),
            (Kind::Handle, "\"alice\"", "write to alice", true),
        ] {
            assert_eq!(needle(kind, value).is_said_in(words), said, "{value} in {words}");
        }
    }

    #[test]
    fn hidden_characters_and_marks_continue_a_value() {
        let needle = needle(Kind::Text, r#""Payment""#);
        for text in ["Payment\u{301}", "Payment\u{200b}", "\u{200d}Payment"] {
            assert!(!needle.is_in(&Json::String(text.into())), "{text:?}");
        }
    }

    #[test]
    fn short_words_numbers_dates_and_booleans_are_trivial() {
        for (kind, value, trivial) in [
            (Kind::Number, "5", true),
            (Kind::Number, "\"5\"", true),
            (Kind::Text, "true", true),
            (Kind::Text, "\"general\"", true),
            (Kind::Text, "\"generals\"", false),
            (Kind::Date, "\"2026-01-31\"", true),
            (Kind::Mail, "\"a@b.de\"", false),
            (Kind::Id, "\"24\"", true),
        ] {
            assert_eq!(needle(kind, value).trivial, trivial, "{value}");
        }
    }

    #[test]
    fn a_quoted_span_or_an_identifier_counts_for_what_is_grave() {
        let request =
            "Change my password to \"correct horse\" and the id to AB12, not 'staple'. It's Bob's bill";
        for (value, counts) in [
            ("\"correct horse\"", true),
            ("\"AB12\"", true),
            ("\"staple\"", true),
            ("\"password\"", false),
            ("\"bill\"", false),
            ("\"correct\"", false),
        ] {
            assert_eq!(needle(Kind::Text, value).is_quoted_or_identifier_in(request), counts, "{value}");
        }
    }
}
