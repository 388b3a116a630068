//! Bounds of arguments: compiled once, judged on the canonical form of the argument's kind.
//!
//! A bound that cannot judge a value (a prefix of a number, a comparison of a date with an instant) fails: what cannot be shown
//! to be within bounds is outside.

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use warrantor_model::{Bounds, Decimal, Json, Kind};

use crate::{
    kind::{Ordered, canonical, comparable, host_of, path_within, same_comparable},
    trace::Sourced,
};

mod template;

use template::{CompiledTemplate, compile_template};

/// Judges where the text in a hole comes from, by the hole's bounds.
pub(crate) type HoleSource<'a> = &'a dyn Fn(&Compiled, &Json) -> Sourced;

/// Most bytes a compiled regular expression may take.
const REGEX_BYTES: usize = 1 << 20;

/// Bounds ready to judge.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    bounds: Bounds,
    glob: Option<GlobMatcher>,
    matches: Option<Regex>,
    template: Option<CompiledTemplate>,
    /// The kind that the bounds were compiled for, and the strings of `in` in the form of that kind: a list is long, and so may be what
    /// is held against it.
    kind: Kind,
    listed: Vec<Option<String>>,
    /// `max`, or a `sum`, on a number implies that it is not negative.
    not_negative: bool,
}

/// A bound that does not compile: which, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundFault {
    pub(crate) pointer: Vec<String>,
    pub(crate) message: String,
}

/// A bound that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// What the value has to be, for the caller: mandates may be told, policies not.
    pub(crate) must: String,
}

fn must<T>(text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { must: text.into() })
}

fn fault(pointer: &[&str], message: impl Into<String>) -> BoundFault {
    BoundFault { pointer: crate::parts::pointer(pointer), message: message.into() }
}

impl Compiled {
    /// Compiles bounds for an argument of a kind.
    pub(crate) fn new(bounds: &Bounds, kind: Option<Kind>) -> Result<Self, Vec<BoundFault>> {
        let mut faults = Vec::new();
        let glob = bounds.glob.as_ref().and_then(|text| {
            GlobBuilder::new(text)
                .literal_separator(true)
                .case_insensitive(bounds.ignore_case)
                .build()
                .map(|glob| glob.compile_matcher())
                .map_err(|cause| faults.push(fault(&["glob"], cause.to_string())))
                .ok()
        });
        let matches = bounds.matches.as_ref().and_then(|text| {
            // By itself first: `a)|(b` compiles only between the anchors, and undoes them.
            Regex::new(text)
                .and_then(|_| {
                    RegexBuilder::new(&format!(r"\A(?:{text})\z"))
                        .case_insensitive(bounds.ignore_case)
                        .size_limit(REGEX_BYTES)
                        .build()
                })
                .map_err(|cause| faults.push(fault(&["matches"], cause.to_string())))
                .ok()
        });
        let template = bounds.template.as_ref().and_then(|template| {
            compile_template(&template.text, &template.holes).map_err(|found| faults.extend(found)).ok()
        });
        faults.extend(unjudgeable(bounds, kind));
        if !faults.is_empty() {
            return Err(faults);
        }
        let kind = kind.unwrap_or_default();
        let form = |value: &Json| value.as_str().and_then(|text| comparable(kind, text, bounds.ignore_case));
        let listed = bounds.one_of.iter().flatten().map(form).collect();
        let not_negative = bounds.max.is_some();
        Ok(Self { bounds: bounds.clone(), glob, matches, template, kind, listed, not_negative })
    }

    /// The bounds as written.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The kind that they were compiled for.
    pub(crate) fn kind(&self) -> Option<Kind> {
        (self.kind != Kind::Text).then_some(self.kind)
    }

    /// With the lower bound that a limit on the sum implies.
    pub(crate) fn counted_in_a_sum(mut self) -> Self {
        self.not_negative = true;
        self
    }

    /// Whether `equals` or `in` names the values, which makes them sources of their own.
    pub(crate) fn names_values(&self) -> bool {
        self.bounds.equals.is_some() || self.bounds.one_of.is_some() || self.bounds.absent
    }

    /// Judges the value that a path names, where it is a container: the bounds that hold for it as a whole.
    pub(crate) fn judge_container(&self, value: &Json) -> Result<(), Violation> {
        let length = match value {
            Json::Array(items) => items.len(),
            Json::Object(members) => members.len(),
            _ => 0,
        };
        if let Some(most) = self.bounds.max_items
            && u64::try_from(length).unwrap_or(u64::MAX) > most
        {
            return must(format!("have at most {most} elements"));
        }
        if self.bounds.absent && length > 0 {
            return must("be absent or empty");
        }
        if let Some(expected @ (Json::Array(_) | Json::Object(_))) = &self.bounds.equals
            && !value.same(expected)
        {
            return must(format!("equal {expected}"));
        }
        Ok(())
    }

    /// Whether these bounds judge the container as a whole, so that its leaves are settled by it.
    pub(crate) fn settles_container(&self, value: &Json) -> bool {
        matches!(self.bounds.equals, Some(Json::Array(_) | Json::Object(_)))
            || self.bounds.one_of.iter().flatten().any(|listed| listed.same(value))
    }

    /// Whether the bounds say where the value comes from: by sources, or by a template each of whose holes says so or names its values.
    pub(crate) fn states_sources(&self) -> bool {
        let holes = |template: &CompiledTemplate| {
            template.holes.values().all(|hole| hole.states_sources() || hole.names_values())
        };
        self.bounds.provenance.is_stated() || self.template.as_ref().is_some_and(holes)
    }

    /// Judges one leaf by its bounds alone.
    pub(crate) fn judge(&self, value: &Json, kind: Option<Kind>) -> Result<(), Violation> {
        self.judge_with(value, kind, &|_, _| Sourced::Pass).map(drop)
    }

    /// Judges one leaf: a scalar, an empty container, or a `null` that is not absent. Tells where what fills the holes of a template comes
    /// from, by the best way to read it.
    pub(crate) fn judge_with(
        &self,
        value: &Json,
        kind: Option<Kind>,
        source: HoleSource<'_>,
    ) -> Result<Sourced, Violation> {
        if matches!(value, Json::Null | Json::Array(_) | Json::Object(_)) {
            self.judge_container(value)?;
            self.judge_values(value, kind)?;
            let scalar = self.bounds.min.is_some() || self.bounds.max.is_some() || self.judges_text();
            return if scalar { must("be a single value") } else { Ok(Sourced::Pass) };
        }
        if self.bounds.absent && !value.is_empty_value() {
            return must("be absent or empty");
        }
        self.judge_values(value, kind)?;
        self.judge_order(value, kind)?;
        self.judge_text(value, kind, source)
    }

    fn judge_values(&self, value: &Json, kind: Option<Kind>) -> Result<(), Violation> {
        let kind = kind.unwrap_or_default();
        let ignore_case = self.bounds.ignore_case;
        let form = |text: &str| comparable(kind, text, ignore_case);
        let mine = value.as_str().map(form);
        let equal = |expected: &Json, known: Option<&str>| match (&mine, expected) {
            (Some(Some(mine)), Json::String(text)) => match known {
                Some(known) => same_comparable(kind, mine, known),
                None => form(text).is_some_and(|form| same_comparable(kind, mine, &form)),
            },
            (Some(_), _) => false,
            (None, expected) => value.same(expected),
        };
        if let Some(expected) = &self.bounds.equals
            && !equal(expected, None)
        {
            return must(format!("equal {expected}"));
        }
        let Some(several) = &self.bounds.one_of else { return Ok(()) };
        let known = self.listed.iter().map(|form| form.as_deref().filter(|_| kind == self.kind));
        if several.iter().zip(known).any(|(expected, known)| equal(expected, known)) {
            return Ok(());
        }
        let listed: Vec<_> = several.iter().map(ToString::to_string).collect();
        must(format!("be one of {}", listed.join(", ")))
    }

    fn judge_order(&self, value: &Json, kind: Option<Kind>) -> Result<(), Violation> {
        let number = |value: &Json| match ordered(value, kind) {
            Some(Ordered::Number(number)) => Some(number),
            _ => None,
        };
        if self.not_negative && self.bounds.min.as_ref().and_then(number).is_none() {
            match (value, number(value)) {
                (_, Some(number)) if number < Decimal::ZERO => return must("not be negative"),
                (Json::Number(_), None) => return must("be an exact number"),
                _ => {}
            }
        }
        let sides = [(&self.bounds.min, "at least"), (&self.bounds.max, "at most")];
        for (bound, side) in sides {
            let Some(bound) = bound else { continue };
            let order = match (ordered(value, kind), ordered(bound, kind)) {
                (Some(value), Some(bound)) => value.compare(&bound),
                _ => None,
            };
            let holds = match (order, side) {
                (Some(order), "at least") => order.is_ge(),
                (Some(order), _) => order.is_le(),
                (None, _) => false,
            };
            if !holds {
                return must(format!("be {side} {bound}"));
            }
        }
        Ok(())
    }

    /// Whether any of the bounds can only hold for a string.
    fn judges_text(&self) -> bool {
        let b = &self.bounds;
        b.prefix.is_some()
            || self.glob.is_some()
            || self.matches.is_some()
            || b.within.is_some()
            || b.host_in.is_some()
            || b.domain_in.is_some()
            || b.max_length.is_some()
            || self.template.is_some()
    }

    /// Whatever could fill the holes of a text's template, within its bounds, and whether that is all; none without a template.
    pub(crate) fn fillings(&self, text: &str, most: usize) -> (Vec<Json>, bool) {
        self.template.as_ref().map_or((Vec::new(), true), |template| template.fillings(text, most))
    }

    fn judge_text(
        &self,
        value: &Json,
        kind: Option<Kind>,
        source: HoleSource<'_>,
    ) -> Result<Sourced, Violation> {
        if !self.judges_text() {
            return Ok(Sourced::Pass);
        }
        let b = &self.bounds;
        let Json::String(text) = value else {
            return must("be a string");
        };
        if let Some(most) = b.max_length
            && u64::try_from(text.chars().count()).unwrap_or(u64::MAX) > most
        {
            return must(format!("have at most {most} characters"));
        }
        if let Some(prefix) = &b.prefix
            && !begins_with(kind.unwrap_or_default(), text, prefix, b.ignore_case)
        {
            return must(format!("begin with {prefix:?}"));
        }
        if let (Some(glob), Some(pattern)) = (&self.glob, &b.glob)
            && !glob.is_match(text)
        {
            return must(format!("fit the pattern {pattern:?}"));
        }
        if let (Some(regex), Some(pattern)) = (&self.matches, &b.matches)
            && !regex.is_match(text)
        {
            return must(format!("match {pattern:?}"));
        }
        self.judge_places(text, kind)?;
        let Some(template) = &self.template else { return Ok(Sourced::Pass) };
        match template.best(text, source) {
            Some(sourced) => Ok(sourced),
            None => must(format!("read {:?}", template.text)),
        }
    }

    fn judge_places(&self, text: &str, kind: Option<Kind>) -> Result<(), Violation> {
        let b = &self.bounds;
        let list = |several: &[String]| several.join(", ");
        if let Some(bases) = &b.within {
            let inside = canonical(Kind::Path, text).is_ok_and(|path| {
                bases
                    .iter()
                    .any(|base| canonical(Kind::Path, base).is_ok_and(|base| path_within(&path, &base)))
            });
            if !inside {
                return must(format!("be a plain path within {}", list(bases)));
            }
        }
        let kind = kind.unwrap_or_default();
        // A host is reached by the web; another scheme is another service on it, or none.
        let by_web = |text: &str| {
            text.split_once("://").is_none_or(|(scheme, _)| {
                ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
            })
        };
        if let Some(hosts) = &b.host_in {
            let known = by_web(text)
                && host_of(kind, text).is_ok_and(|host| {
                    hosts.iter().any(|known| canonical(Kind::Host, known).is_ok_and(|known| known == host))
                });
            if !known {
                return must(format!("lead to {}", list(hosts)));
            }
        }
        if let Some(domains) = &b.domain_in {
            let below = |host: &str, domain: &str| {
                host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let known = by_web(text)
                && host_of(kind, text).is_ok_and(|host| {
                    domains
                        .iter()
                        .any(|domain| canonical(Kind::Host, domain).is_ok_and(|domain| below(&host, &domain)))
                });
            if !known {
                return must(format!("belong to {}", list(domains)));
            }
        }
        Ok(())
    }
}

fn ordered(value: &Json, kind: Option<Kind>) -> Option<Ordered> {
    match value {
        Json::Number(_) => value.as_decimal().map(Ordered::Number),
        Json::String(text) => Ordered::read(kind.unwrap_or_default(), text),
        _ => None,
    }
}

fn begins_with(kind: Kind, text: &str, prefix: &str, ignore_case: bool) -> bool {
    let Ok(text) = canonical(kind, text) else { return false };
    // A prefix is no whole value: only the parts of canonicalization that hold for each character apply to it.
    let prefix = match kind {
        Kind::Account => canonical(kind, prefix).unwrap_or_else(|_| prefix.to_owned()),
        Kind::Mail | Kind::Host => prefix.to_lowercase(),
        _ => prefix.to_owned(),
    };
    if ignore_case {
        text.to_lowercase().starts_with(&prefix.to_lowercase())
    } else {
        text.starts_with(&prefix)
    }
}

/// Bounds that no value of the kind could meet for certain.
fn unjudgeable(bounds: &Bounds, kind: Option<Kind>) -> Vec<BoundFault> {
    let mut faults = Vec::new();
    for (name, bound) in [("min", &bounds.min), ("max", &bounds.max)] {
        if let Some(bound) = bound
            && ordered(bound, kind).is_none()
        {
            faults.push(fault(
                &[name],
                format!("{bound} has no order here: write an exact number, or a date or time for an argument of that kind"),
            ));
        }
    }
    let listed = [
        ("within", Kind::Path, &bounds.within),
        ("host_in", Kind::Host, &bounds.host_in),
        ("domain_in", Kind::Host, &bounds.domain_in),
    ];
    for (name, kind, several) in listed {
        for text in several.iter().flatten() {
            if let Err(cause) = canonical(kind, text) {
                faults.push(fault(&[name], format!("{text:?} {cause}")));
            }
        }
        if several.as_ref().is_some_and(Vec::is_empty) {
            faults.push(fault(&[name], "an empty list admits nothing: name at least one"));
        }
    }
    let named = [("equals", bounds.equals.as_slice()), ("in", bounds.one_of.as_deref().unwrap_or_default())];
    for (name, values) in named {
        for text in values.iter().filter_map(Json::as_str) {
            if let Some(kind) = kind
                && let Err(cause) = canonical(kind, text)
            {
                faults.push(fault(&[name], format!("{text:?} {cause}, so no value can equal it")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes()).unwrap()
    }

    fn check(bounds: &Bounds, kind: Option<Kind>, inside: &[&str], outside: &[&str]) {
        let compiled = Compiled::new(bounds, kind).unwrap();
        for value in inside {
            assert_eq!(compiled.judge(&json(value), kind), Ok(()), "{value} against {bounds:?}");
        }
        for value in outside {
            assert!(compiled.judge(&json(value), kind).is_err(), "{value} passed {bounds:?}");
        }
    }

    fn with(set: impl FnOnce(&mut Bounds)) -> Bounds {
        let mut bounds = Bounds::default();
        set(&mut bounds);
        bounds
    }

    #[test]
    fn numbers_are_bounded_exactly_and_not_negative() {
        let most = with(|b| b.max = Some(json("1200")));
        check(
            &most,
            None,
            &["0", "1200", "1200.00", "1.2e3"],
            &[
                "1200.01",
                "-1",
                "1200.0000000000000000000001",
                "1e400",
                "\"5\"",
                "true",
                "123456789012345678901234567890",
            ],
        );
        let range = with(|b| {
            b.min = Some(json("-5"));
            b.max = Some(json("5"));
        });
        check(&range, None, &["-5", "5"], &["-6", "6"]);
        let dates = with(|b| b.max = Some(json("\"2026-12-31\"")));
        check(&dates, Some(Kind::Date), &["\"2026-12-31\""], &["\"2027-01-01\"", "\"31.12.2026\"", "5"]);
        let local = with(|b| b.min = Some(json("\"2026-01-01T09:00\"")));
        check(
            &local,
            Some(Kind::Time),
            &["\"2026-01-01T09:00:00\""],
            &["\"2026-01-01T08:59\"", "\"2026-01-01T10:00Z\""],
        );
    }

    #[test]
    fn a_path_is_within_a_directory_only_in_a_plain_form() {
        let within = with(|b| b.within = Some(vec!["/srv/notes".into()]));
        check(
            &within,
            Some(Kind::Path),
            &["\"/srv/notes\"", "\"/srv/notes/a.txt\"", "\"/srv//notes/b/\""],
            &[
                "\"/srv/notes2\"",
                "\"/srv/notes/../etc\"",
                "\"/srv/notes/..\"",
                "\"srv/notes/a\"",
                "\"/srv/notes/%2e%2e/a\"",
                "\"/srv/notes\\\\..\\\\a\"",
                "\"/etc/passwd\"",
                "\"~/notes\"",
                "\"\"",
                "5",
                "\"/srv/notes/\\u0000\"",
            ],
        );
    }

    #[test]
    fn hosts_and_domains_are_taken_from_urls_and_addresses() {
        let hosts = with(|b| b.host_in = Some(vec!["api.example.com".into()]));
        check(
            &hosts,
            Some(Kind::Url),
            &["\"https://api.example.com/x\"", "\"API.EXAMPLE.com\""],
            &[
                "\"https://evil.com/api.example.com\"",
                "\"https://api.example.com@evil.com\"",
                "\"https://api.example.com.evil.com\"",
                "\"https://xapi.example.com\"",
            ],
        );
        let domains = with(|b| b.domain_in = Some(vec!["example.com".into()]));
        check(
            &domains,
            Some(Kind::Mail),
            &["\"a@example.com\"", "\"a@mail.Example.com\""],
            &[
                "\"a@notexample.com\"",
                "\"a@example.com.evil.com\"",
                "\"example.com\"",
                "\"a@evil.com <a@example.com>\"",
            ],
        );
    }

    #[test]
    fn texts_are_bounded_by_length_prefix_glob_expression_and_values() {
        check(&with(|b| b.max_length = Some(2)), None, &["\"ää\"", "\"\""], &["\"abc\"", "5"]);
        check(&with(|b| b.prefix = Some("ab".into())), None, &["\"abc\""], &["\"ac\"", "\"\"", "\"ABc\""]);
        check(
            &with(|b| {
                b.prefix = Some("ab".into());
                b.ignore_case = true;
            }),
            None,
            &["\"ABc\""],
            &["\"ac\""],
        );
        check(&with(|b| b.glob = Some("*.txt".into())), None, &["\"a.txt\""], &["\"a/b.txt\"", "\"a.txtx\""]);
        check(
            &with(|b| b.matches = Some("a|b".into())),
            None,
            &["\"a\"", "\"b\""],
            &["\"ab\"", "\"xa\"", "\"a\\n\""],
        );
        check(
            &with(|b| b.equals = Some(json("\"DE89 3704\""))),
            Some(Kind::Account),
            &["\"de893704\""],
            &["\"de893705\"", "893704"],
        );
        check(
            &with(|b| b.one_of = Some(vec![json("1"), json("\"x\"")])),
            None,
            &["1.0", "\"x\""],
            &["2", "\"1\"", "\"X\""],
        );
        check(&with(|b| b.absent = true), None, &["\"\"", "[]", "null"], &["\"x\"", "0", "[1]"]);
    }

    #[test]
    fn a_template_fits_by_any_split_and_no_other() {
        let hole = with(|b| b.matches = Some("[A-Z][a-z]+( [A-Z][a-z]+)?".into()));
        let count = with(|b| b.max = Some(json("8")));
        let bounds = with(|b| {
            b.template = Some(warrantor_model::mandate::TextTemplate {
                text: "Dinner at {x} for {n}".into(),
                holes: [("x".to_owned(), hole), ("n".to_owned(), count)].into(),
            });
        });
        check(
            &bounds,
            None,
            &["\"Dinner at Luigi for 4\"", "\"Dinner at Casa Mia for 8\""],
            &[
                "\"Dinner at luigi for 4\"",
                "\"Dinner at Luigi for 9\"",
                "\"Dinner at Luigi for 4!\"",
                "\"Lunch at Luigi for 4\"",
                "\"Dinner at Luigi for -1\"",
            ],
        );
        let hole = with(|b| b.matches = Some("a+".into()));
        let overlapping = with(|b| {
            b.template = Some(warrantor_model::mandate::TextTemplate {
                text: "{x}aa{y}".into(),
                holes: [("x".to_owned(), hole.clone()), ("y".to_owned(), hole)].into(),
            });
        });
        check(&overlapping, None, &["\"aaaa\"", "\"aaaaaaa\""], &["\"aaa\"", "\"aaäa\"", "\"\""]);
        let unclosed = with(|b| {
            b.template =
                Some(warrantor_model::mandate::TextTemplate { text: "a {x".into(), holes: BTreeMap::new() })
        });
        assert!(Compiled::new(&unclosed, None).is_err());
    }

    #[test]
    fn a_template_that_splits_in_too_many_ways_fails() {
        let any = Bounds::default();
        let bounds = with(|b| {
            b.template = Some(warrantor_model::mandate::TextTemplate {
                text: "{a}{b}{c}{d}!".into(),
                holes: ["a", "b", "c", "d"].map(|n| (n.to_owned(), any.clone())).into(),
            });
        });
        let compiled = Compiled::new(&bounds, None).unwrap();
        assert!(compiled.judge(&Json::String("x".repeat(5000)), None).is_err());
    }

    #[test]
    fn bounds_that_nothing_could_meet_are_faults() {
        for bounds in [
            with(|b| b.matches = Some("(".into())),
            with(|b| b.matches = Some("a)|(?:b".into())),
            with(|b| b.glob = Some("[".into())),
            with(|b| b.min = Some(json("\"soon\""))),
            with(|b| b.max = Some(json("1e300"))),
            with(|b| b.within = Some(vec!["../x".into()])),
            with(|b| b.host_in = Some(vec![])),
        ] {
            assert!(Compiled::new(&bounds, None).is_err(), "{bounds:?} compiled");
        }
    }
}
