//! Mandates written as JSON, with the words of the format.

use std::time::Duration;

use warrantor_model::{
    Answer, Asked, Bounds, Decimal, Grant, Json, Limits, MandateKind, Match, Otherwise, Path, Source, Terms,
    mandate::{Earlier, Lifetime, TextTemplate},
};

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Json) -> u64 {
    value.to_string().parse().unwrap()
}

fn members(value: Option<&Json>) -> &[(String, Json)] {
    value.map_or(&[], |value| value.as_object().unwrap())
}

fn items(value: Option<&Json>) -> &[Json] {
    value.map_or(&[], |value| value.as_array().unwrap())
}

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

pub fn terms(value: &Json) -> Terms {
    known(
        value,
        &[
            "id", "kind", "person", "agent", "sponsor", "purpose", "depth", "limits", "grants", "request",
            "slots", "quoted",
        ],
    );
    let word = |name: &str, default: &'static str| value.get(name).map_or(default, text).to_owned();
    let person = word("person", "alice");
    Terms {
        template: word("id", "root").parse().unwrap(),
        parent: None,
        kind: match word("kind", "delegated").as_str() {
            "delegated" => MandateKind::Delegated,
            "standing" => MandateKind::Standing,
            other => panic!("{other} is no kind of mandate"),
        },
        sponsor: value.get("sponsor").map_or(person.as_str(), text).parse().unwrap(),
        person: person.parse().unwrap(),
        agent: word("agent", "bot").parse().unwrap(),
        purpose: word("purpose", "an invented task"),
        request: value.get("request").map(|words| text(words).to_owned()),
        quoted: items(value.get("quoted")).iter().map(|span| text(span).to_owned()).collect(),
        slots: members(value.get("slots")).iter().cloned().collect(),
        lifetime: Lifetime::For(Duration::from_secs(7200)),
        depth: value.get("depth").map_or(0, |d| u32::try_from(number(d)).unwrap()),
        limits: limits(value.get("limits")),
        grants: items(value.get("grants")).iter().map(grant).collect(),
    }
}

pub fn grant(value: &Json) -> Grant {
    known(value, &["tool", "effects", "servers", "except", "arguments", "limits", "ask", "after"]);
    let list = |name: &str| items(value.get(name)).iter().map(text).collect::<Vec<_>>();
    Grant {
        matches: match value.get("tool") {
            Some(tool) => Match::Tool(text(tool).parse().unwrap()),
            None => Match::Effects {
                effects: super::effects(&list("effects")),
                servers: super::bundle::servers(&list("servers")),
                except: list("except").into_iter().map(|tool| tool.parse().unwrap()).collect(),
            },
        },
        arguments: members(value.get("arguments")).iter().map(|(at, b)| (path(at), bounds(b))).collect(),
        limits: limits(value.get("limits")),
        ask: value.get("ask").map(text).map(|who| match who.strip_prefix("group:") {
            Some(group) => Asked::Group(group.parse().unwrap()),
            None => Asked::Person,
        }),
        after: items(value.get("after"))
            .iter()
            .map(|earlier| Earlier {
                tool: text(earlier.get("tool").unwrap()).parse().unwrap(),
                arguments: members(earlier.get("arguments"))
                    .iter()
                    .map(|(at, value)| (path(at), value.clone()))
                    .collect(),
            })
            .collect(),
    }
}

pub fn limits(value: Option<&Json>) -> Limits {
    let Some(value) = value else { return Limits::default() };
    known(value, &["calls", "sum", "distinct", "unique"]);
    Limits {
        calls: value.get("calls").map(number),
        sum: members(value.get("sum"))
            .iter()
            .map(|(at, most)| (path(at), most.to_string().parse::<Decimal>().unwrap()))
            .collect(),
        distinct: members(value.get("distinct")).iter().map(|(at, most)| (path(at), number(most))).collect(),
        unique: items(value.get("unique")).iter().map(|at| path(text(at))).collect(),
    }
}

pub fn bounds(value: &Json) -> Bounds {
    let mut bounds = Bounds::default();
    let words = |value: &Json| Some(items(Some(value)).iter().map(|v| text(v).to_owned()).collect());
    let mut holes = std::collections::BTreeMap::new();
    let template = value.get("template").map(|t| text(t).to_owned());
    for (name, value) in value.as_object().unwrap() {
        match name.as_str() {
            "equals" => bounds.equals = Some(value.clone()),
            "in" => bounds.one_of = Some(items(Some(value)).to_vec()),
            "min" => bounds.min = Some(value.clone()),
            "max" => bounds.max = Some(value.clone()),
            "prefix" => bounds.prefix = Some(text(value).into()),
            "glob" => bounds.glob = Some(text(value).into()),
            "matches" => bounds.matches = Some(text(value).into()),
            "within" => bounds.within = words(value),
            "host_in" => bounds.host_in = words(value),
            "domain_in" => bounds.domain_in = words(value),
            "max_length" => bounds.max_length = Some(number(value)),
            "max_items" => bounds.max_items = Some(number(value)),
            "absent" => bounds.absent = true,
            "ignore_case" => bounds.ignore_case = true,
            "required" => bounds.required = true,
            "from" => bounds.provenance.from = Some(sources(value)),
            "also_from" => bounds.provenance.also_from = Some(sources(value)),
            "otherwise" => bounds.provenance.otherwise = Some(otherwise(value)),
            "template" => {}
            hole if template.is_some() => drop(holes.insert(hole.to_owned(), self::bounds(value))),
            other => panic!("{other} is no bound"),
        }
    }
    bounds.template = template.map(|text| TextTemplate { text, holes });
    bounds
}

fn known(value: &Json, names: &[&str]) {
    for (name, _) in value.as_object().unwrap() {
        assert!(names.contains(&name.as_str()), "{name} is no member here");
    }
}

fn sources(value: &Json) -> Vec<Source> {
    items(Some(value)).iter().map(|source| text(source).parse().unwrap()).collect()
}

fn otherwise(value: &Json) -> Otherwise {
    let word = |value: &Json| match text(value) {
        "pass" => Answer::Pass,
        "ask" => Answer::Ask,
        "deny" => Answer::Deny,
        other => panic!("{other} is no answer"),
    };
    match value {
        Json::Object(_) => {
            let case = |name: &str, default| value.get(name).map_or(default, word);
            let default = Otherwise::default();
            Otherwise {
                untrusted: case("untrusted", default.untrusted),
                elsewhere: case("elsewhere", default.elsewhere),
                computed: case("computed", default.computed),
            }
        }
        all => Otherwise { untrusted: word(all), elsewhere: word(all), computed: word(all) },
    }
}
