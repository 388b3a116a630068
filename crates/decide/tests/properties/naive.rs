//! The layers 4 and 5 as the design tells them, simple and slow: values as trees of their places, counts from all of history.

use std::collections::BTreeSet;

use warrantor_model::{Asked, Bounds, EffectSet, Grant, Json, Limits, Match, Terms};

use crate::{
    common,
    specs::{FORBIDS, Step},
};

/// What the model says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// With the winning grant of each hop.
    Pass(Vec<usize>),
    Ask(BTreeSet<String>),
    Deny,
}

/// A passed call: its step, and for each hop the grant that let it through.
pub struct Past {
    pub step: Step,
    pub winners: Vec<usize>,
}

/// Where a value stands: names of members, and `#n` for elements.
type Place = Vec<String>;

fn places(value: &Json) -> Vec<(Place, Json)> {
    let mut all = vec![(Vec::new(), value.clone())];
    let children: Vec<(String, &Json)> = match value {
        Json::Array(items) => items.iter().enumerate().map(|(n, item)| (format!("#{n}"), item)).collect(),
        Json::Object(members) => members.iter().map(|(name, member)| (name.clone(), member)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        for (mut place, value) in places(child) {
            place.insert(0, step.clone());
            all.push((place, value));
        }
    }
    all
}

/// Every number of steps that a pattern can account for at the beginning of a place.
fn reaches(pattern: &[&str], place: &[String]) -> BTreeSet<usize> {
    match pattern {
        [] => BTreeSet::from([0]),
        ["**", rest @ ..] => {
            // A `**` at the end accounts for nothing.
            if rest.is_empty() {
                return BTreeSet::from([0]);
            }
            (0..=place.len())
                .flat_map(|skip| reaches(rest, &place[skip..]).into_iter().map(move |n| n + skip))
                .collect()
        }
        [segment, rest @ ..] => match place {
            [step, below @ ..] if *segment == "*" || step.trim_start_matches('#') == *segment => {
                reaches(rest, below).into_iter().map(|n| n + 1).collect()
            }
            _ => BTreeSet::new(),
        },
    }
}

fn split(path: &str) -> Vec<&str> {
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

/// Whether the path names this very place.
fn names(path: &str, place: &[String]) -> bool {
    let pattern = split(path);
    let open = pattern.last() == Some(&"**");
    reaches(&pattern, place).iter().any(|n| *n == place.len() || open)
}

/// How deep the path reaches at this place, and how particular it is; `None` where it does not speak of it.
fn depth(path: &str, place: &[String]) -> Option<(usize, usize, Vec<u8>)> {
    let pattern = split(path);
    let deepest = reaches(&pattern, place).into_iter().max()?;
    let rank = |segment: &&str| match *segment {
        "**" => 1,
        "*" => 2,
        _ => 3,
    };
    let concrete = pattern.iter().filter(|segment| **segment != "**").count();
    Some((deepest, concrete, pattern.iter().map(rank).collect()))
}

fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a.parse::<f64>().unwrap() == b.parse::<f64>().unwrap(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(n, v)| b.iter().any(|(m, w)| n == m && equal(v, w)))
        }
        (a, b) => a == b,
    }
}

fn container(value: &Json) -> bool {
    matches!(value, Json::Array(_) | Json::Object(_))
}

fn empty(value: &Json) -> bool {
    matches!(value.to_string().as_str(), "\"\"" | "[]" | "{}")
}

fn length(value: &Json) -> usize {
    match value {
        Json::Array(items) => items.len(),
        Json::Object(members) => members.len(),
        _ => 0,
    }
}

/// A container that holds something, against the bounds of a path that names it.
fn container_fits(value: &Json, bounds: &Bounds) -> bool {
    bounds.max_items.is_none_or(|most| length(value) as u64 <= most)
        && !bounds.absent
        && bounds.equals.as_ref().is_none_or(|e| !container(e) || equal(e, value))
}

fn leaf_fits(value: &Json, bounds: &Bounds) -> bool {
    let text = value.as_str();
    bounds.equals.as_ref().is_none_or(|e| equal(e, value))
        && bounds.one_of.as_ref().is_none_or(|list| list.iter().any(|e| equal(e, value)))
        && bounds.max.as_ref().is_none_or(|max| {
            let number = |json: &Json| json.to_string().parse::<f64>().ok();
            number(value).is_some_and(|n| (0.0..=number(max).unwrap()).contains(&n))
        })
        && bounds.prefix.as_ref().is_none_or(|prefix| text.is_some_and(|t| t.starts_with(prefix)))
        && bounds.max_length.is_none_or(|most| text.is_some_and(|t| t.len() as u64 <= most))
        && (!bounds.absent || empty(value) || value.is_null())
}

fn arguments_fit(grant: &Grant, arguments: &Json, reading: bool) -> bool {
    let all = places(arguments);
    let bounded: Vec<(String, &Bounds)> = grant.arguments.iter().map(|(p, b)| (p.to_string(), b)).collect();
    let required = bounded
        .iter()
        .filter(|(_, b)| b.required)
        .all(|(path, _)| all.iter().any(|(place, value)| !value.is_null() && names(path, place)));
    // Containers that a path settles by equality, with their places.
    let mut settled: Vec<Place> = Vec::new();
    let mut fits = required;
    for (place, value) in &all {
        let holds = container(value) && !empty(value);
        if holds {
            for (_, bounds) in bounded.iter().filter(|(path, _)| names(path, place)) {
                fits &= container_fits(value, bounds);
                let listed = bounds.one_of.iter().flatten().any(|e| equal(e, value));
                if listed || bounds.equals.as_ref().is_some_and(container) {
                    settled.push(place.clone());
                }
            }
        } else if !place.is_empty() {
            fits &= place_fits(&bounded, &settled, place, value, reading);
        }
    }
    fits
}

fn place_fits(
    bounded: &[(String, &Bounds)],
    settled: &[Place],
    place: &Place,
    value: &Json,
    reading: bool,
) -> bool {
    let element = place.last().is_some_and(|step| step.starts_with('#'));
    let best =
        bounded.iter().filter_map(|(path, b)| Some((depth(path, place)?, *b))).max_by(|a, b| a.0.cmp(&b.0));
    let Some(((deep, ..), bounds)) = best else {
        // `c` and all below it is free; an empty `b` acts.
        let (free, acts) = (place[0] == "c", place[0] == "b");
        let absent = !element && (value.is_null() || (empty(value) && !acts));
        return absent || reading || free;
    };
    if value.is_null() && !element {
        return true;
    }
    let whole = settled.iter().filter(|whole| place.starts_with(whole)).map(Vec::len).min();
    whole.is_some_and(|whole| deep <= whole) || leaf_fits(value, bounds)
}

fn selected(path: &str, arguments: &Json) -> Vec<Json> {
    places(arguments)
        .into_iter()
        .filter(|(place, value)| names(path, place) && !value.is_null())
        .map(|(_, value)| value)
        .collect()
}

fn different(values: Vec<Json>) -> Vec<Json> {
    let mut kept: Vec<Json> = Vec::new();
    for value in values {
        if !kept.iter().any(|known| equal(known, &value)) {
            kept.push(value);
        }
    }
    kept
}

/// What is counted at a path: a list counts by its elements.
fn counted(path: &str, arguments: &Json) -> Vec<Json> {
    let elements = |value: Json| match value {
        Json::Array(items) => items.into_iter().filter(|item| !item.is_null()).collect(),
        value => vec![value],
    };
    selected(path, arguments).into_iter().flat_map(elements).collect()
}

/// Whether the limits hold with this call on top of the calls that were charged before.
fn within(limits: &Limits, before: &[&Json], now: &Json) -> bool {
    let calls = limits.calls.is_none_or(|most| (before.len() as u64) < most);
    let sums = limits.sum.iter().all(|(path, most)| {
        let values: Option<Vec<f64>> = selected(&path.to_string(), now)
            .iter()
            .map(|v| matches!(v, Json::Number(_)).then(|| v.to_string().parse().unwrap()))
            .collect();
        let Some(values) = values.filter(|v| v.iter().all(|n| *n >= 0.0)) else { return false };
        let mine: f64 = values.iter().sum();
        let spent: f64 = before
            .iter()
            .flat_map(|past| selected(&path.to_string(), past))
            .filter_map(|v| v.to_string().parse::<f64>().ok())
            .sum();
        mine == 0.0 || spent + mine <= most.to_string().parse().unwrap()
    });
    let distinct = limits.distinct.iter().all(|(path, most)| {
        let past = different(before.iter().flat_map(|past| counted(&path.to_string(), past)).collect());
        let new = different(counted(&path.to_string(), now))
            .into_iter()
            .filter(|value| !past.iter().any(|known| equal(known, value)))
            .count();
        new == 0 || (past.len() + new) as u64 <= *most
    });
    let unique = limits.unique.iter().all(|path| {
        let mine = counted(&path.to_string(), now);
        let past: Vec<Json> = before.iter().flat_map(|past| counted(&path.to_string(), past)).collect();
        different(mine.clone()).len() == mine.len()
            && mine.iter().all(|value| !past.iter().any(|known| equal(known, value)))
    });
    calls && sums && distinct && unique
}

pub fn effects(step: &Step) -> EffectSet {
    let present = step.arguments.get("a").is_some_and(|a| !a.is_null() && !empty(a));
    common::effects(match step.tool {
        "look" => &["read"],
        "change" => &["write"],
        "both" if present => &["write", "egress"],
        "both" => &["write"],
        _ => &["pay", "write"],
    })
}

fn matching(grant: &Grant, step: &Step) -> bool {
    match &grant.matches {
        Match::Tool(tool) => tool.tool.as_str() == step.tool,
        Match::Effects { effects: granted, except, .. } => {
            effects(step).is_within(*granted) && !except.iter().any(|tool| tool.tool.as_str() == step.tool)
        }
    }
}

/// One hop: the winner and who it asks, or nothing where it denies.
fn hop(nth: usize, terms: &Terms, history: &[Past], step: &Step) -> Option<(usize, Option<String>)> {
    let reading = effects(step) == common::effects(&["read"]);
    let ceiling = match terms.agent.as_str() {
        "reader" => common::effects(&["read", "write"]),
        _ => warrantor_model::Effect::ALL.into_iter().collect(),
    };
    let everything: Vec<&Json> = history.iter().map(|past| &past.step.arguments).collect();
    if !effects(step).is_within(ceiling) || !within(&terms.limits, &everything, &step.arguments) {
        return None;
    }
    let mut best: Option<(usize, Option<String>)> = None;
    for (at, grant) in terms.grants.iter().enumerate().filter(|(_, grant)| matching(grant, step)) {
        let charged: Vec<&Json> =
            history.iter().filter(|past| past.winners[nth] == at).map(|past| &past.step.arguments).collect();
        let after = grant.after.iter().all(|earlier| {
            history.iter().any(|past| {
                past.step.tool == earlier.tool.tool.as_str()
                    && earlier.arguments.iter().all(|(p, e)| {
                        selected(&p.to_string(), &past.step.arguments).iter().any(|v| equal(v, e))
                    })
            })
        });
        let fits = after
            && arguments_fit(grant, &step.arguments, reading)
            && within(&grant.limits, &charged, &step.arguments);
        let asks = grant.ask.as_ref().map(|asked| match asked {
            Asked::Person => "person:alice".to_owned(),
            Asked::Group(group) => format!("group:{group}"),
        });
        if fits && best.as_ref().is_none_or(|(_, before)| before.is_some() && asks.is_none()) {
            best = Some((at, asks));
        }
    }
    best
}

pub fn decide(hops: &[Terms], forbids: u8, history: &[Past], step: &Step) -> Said {
    let mut asked = BTreeSet::new();
    let mut winners = Vec::new();
    for (nth, terms) in hops.iter().enumerate() {
        let Some((winner, asks)) = hop(nth, terms, history, step) else { return Said::Deny };
        winners.push(winner);
        asked.extend(asks);
    }
    for (_, forbid) in FORBIDS.iter().enumerate().filter(|(nth, _)| forbids & (1 << nth) != 0) {
        let egress = effects(step).contains(warrantor_model::Effect::Egress);
        let speaks = forbid.tools.contains(&step.tool) && (!forbid.only_egress || egress);
        // Alice, in finance, is the person of every mandate; each forbid speaks of agents, of persons, or of both.
        if speaks && (forbid.agent || forbid.person) {
            match forbid.ask {
                Some(group) => drop(asked.insert(format!("group:{group}"))),
                None => return Said::Deny,
            }
        }
    }
    if asked.is_empty() { Said::Pass(winners) } else { Said::Ask(asked) }
}
