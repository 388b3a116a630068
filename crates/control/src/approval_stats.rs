//! How questions were answered: what they cost whom, and which of them could be spared.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use warrantor_engine::approvals::QuestionStanding;
use warrantor_model::{
    Decimal, Json, Timestamp,
    path::{Step, walk},
};

use crate::approvals::AskedQuestion;

/// An answer within this many seconds is one that nobody thought about.
const AT_ONCE: u64 = 3;
/// Fewest answers from which anything is concluded.
const ENOUGH: usize = 5;
/// Most different values that a list of them is made of.
const MAX_VALUES: usize = 12;

/// What came of questions that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Came {
    /// What they have in common: `all`, `policy:ID`, `grant:MANDATE#grants/2`, `agent:ID`, or who answered, `person:ID`.
    pub of: String,
    /// How many there were.
    pub asked: usize,
    /// Of how many tasks.
    pub tasks: usize,
    /// How many got every yes.
    pub approved: usize,
    /// How many got a no.
    pub denied: usize,
    /// How many were not answered in time, or not needed any more.
    pub unanswered: usize,
    /// How many still wait.
    pub waiting: usize,
    /// The share that was approved of those that were answered, in hundredths.
    pub approved_percent: Option<usize>,
    /// How many were approved within three seconds.
    pub at_once: usize,
    /// Half of the answers took no longer than this, in seconds.
    pub median_seconds: Option<u64>,
}

/// Something that asks although it would not have to, or too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sparing {
    /// What asks: `policy:ID` or `grant:MANDATE#grants/2`.
    pub of: String,
    /// Why.
    pub why: String,
    /// The questions that were approved, by tool.
    #[serde(skip)]
    pub approved: BTreeMap<String, Vec<String>>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// What came of the questions: of all, of each that asks, of each agent, and of each person who answered.
    pub came: Vec<Came>,
    /// What could be spared.
    pub sparing: Vec<Sparing>,
}

/// An answer as it counts for somebody.
enum Outcome {
    Approved(u64),
    Denied(u64),
    Unanswered,
    Waiting,
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_micros().saturating_sub(from.as_micros()) / 1_000_000).unwrap_or_default()
}

fn outcome(question: &AskedQuestion) -> Outcome {
    if let Some(denied) = &question.denied {
        return Outcome::Denied(seconds(question.asked_at, denied.at));
    }
    match (question.unanswered.is_empty(), question.given.iter().map(|given| given.at).max()) {
        (true, Some(last)) => Outcome::Approved(seconds(question.asked_at, last)),
        _ if question.state == QuestionStanding::Waiting => Outcome::Waiting,
        _ => Outcome::Unanswered,
    }
}

/// What came of some questions.
fn came<'a>(of: &str, questions: impl Iterator<Item = (&'a AskedQuestion, Outcome)>) -> Came {
    let mut told = Came {
        of: of.to_owned(),
        asked: 0,
        tasks: 0,
        approved: 0,
        denied: 0,
        unanswered: 0,
        waiting: 0,
        approved_percent: None,
        at_once: 0,
        median_seconds: None,
    };
    let (mut tasks, mut times) = (BTreeSet::new(), Vec::new());
    for (question, outcome) in questions {
        told.asked = told.asked.saturating_add(1);
        tasks.insert(question.task.as_str());
        let count = match outcome {
            Outcome::Approved(took) => {
                times.push(took);
                told.at_once = told.at_once.saturating_add(usize::from(took < AT_ONCE));
                &mut told.approved
            }
            Outcome::Denied(took) => {
                times.push(took);
                &mut told.denied
            }
            Outcome::Unanswered => &mut told.unanswered,
            Outcome::Waiting => &mut told.waiting,
        };
        *count = count.saturating_add(1);
    }
    told.tasks = tasks.len();
    let answered = told.approved.saturating_add(told.denied);
    told.approved_percent = told.approved.saturating_mul(100).checked_div(answered);
    times.sort_unstable();
    told.median_seconds = times.get(times.len().saturating_sub(1) / 2).copied();
    told
}

/// What came of questions.
#[must_use]
pub fn stats(questions: &[AskedQuestion]) -> Stats {
    let mut by: BTreeMap<String, Vec<&AskedQuestion>> = BTreeMap::new();
    let mut people: BTreeMap<String, Vec<(&AskedQuestion, Outcome)>> = BTreeMap::new();
    for question in questions {
        for asker in question.askers.iter().cloned().chain([format!("agent:{}", question.agent)]) {
            by.entry(asker).or_default().push(question);
        }
        let answered: BTreeMap<&str, Timestamp> =
            question.given.iter().map(|given| (given.by.as_str(), given.at)).collect();
        for (person, at) in answered {
            let outcome = Outcome::Approved(seconds(question.asked_at, at));
            people.entry(format!("person:{person}")).or_default().push((question, outcome));
        }
        if let Some(denied) = &question.denied {
            let outcome = Outcome::Denied(seconds(question.asked_at, denied.at));
            people.entry(format!("person:{}", denied.by)).or_default().push((question, outcome));
        }
    }
    let mut told = vec![came("all", questions.iter().map(|question| (question, outcome(question))))];
    let mut sparing = Vec::new();
    for (of, questions) in &by {
        let row = came(of, questions.iter().map(|question| (*question, outcome(question))));
        if let Some(why) = spared(&row).filter(|_| !of.starts_with("agent:")) {
            let mut approved: BTreeMap<String, Vec<String>> = BTreeMap::new();
            // What somebody denied may lie between what was approved; and where a value's source asks, no bound stands in for it.
            let may_be_granted =
                row.denied == 0 && !of.contains("/arguments/") && !of.starts_with("decision:");
            let yes = |one: &&&AskedQuestion| may_be_granted && matches!(outcome(one), Outcome::Approved(_));
            for question in questions.iter().filter(yes) {
                approved.entry(question.tool.clone()).or_default().push(question.id.to_string());
            }
            sparing.push(Sparing { of: of.clone(), why, approved });
        }
        told.push(row);
    }
    told.extend(people.into_iter().map(|(of, answers)| came(&of, answers.into_iter())));
    Stats { came: told, sparing }
}

fn spared(row: &Came) -> Option<String> {
    if row.approved >= ENOUGH && row.denied == 0 {
        return Some(format!("all {} that were answered were approved", row.approved));
    }
    let often = row.asked.checked_div(row.tasks).is_some_and(|a_task| a_task >= ENOUGH);
    often.then(|| format!("it asks {} times in {} tasks", row.asked, row.tasks))
}

/// A grant of a mandate within whose bounds all of these calls lay, as YAML; none where an argument had too many values to be bounded by them. It says what was
/// approved, and not what should be.
#[must_use]
pub fn grant_of(tool: &str, calls: &[Json]) -> Option<String> {
    let mut places: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for call in calls {
        walk(call, &mut Vec::new(), &mut |location, value| {
            if !location.is_empty() && !matches!(value, Json::Array(_) | Json::Object(_)) {
                places.entry(path(location)).or_default().push(value.clone());
            }
        });
    }
    let mut grant = format!("- tool: {tool}\n");
    if !places.is_empty() {
        grant.push_str("  arguments:\n");
    }
    for (place, values) in places {
        grant.push_str(&format!("    {}: {}\n", key(&place), bound(&values)?));
    }
    Some(grant)
}

fn path(location: &[Step]) -> String {
    let steps = location.iter().map(|step| match step {
        Step::Member(name) => name.replace('~', "~0").replace('/', "~1"),
        Step::Index(_) => "*".to_owned(),
    });
    steps.collect::<Vec<_>>().join("/")
}

/// A key as YAML takes it.
fn key(place: &str) -> String {
    let is_plain = place.chars().all(|c| c.is_ascii_alphanumeric() || "_/".contains(c));
    if is_plain && !place.is_empty() { place.to_owned() } else { Json::String(place.into()).canonical() }
}

fn bound(values: &[Json]) -> Option<String> {
    let numbers: Option<Vec<Decimal>> = values
        .iter()
        .map(|value| match value {
            Json::Number(literal) => literal.parse().ok(),
            _ => None,
        })
        .collect();
    if let Some(numbers) = numbers {
        let (least, most) = (numbers.iter().min()?, numbers.iter().max()?);
        return Some(format!("{{ min: {least}, max: {most} }}"));
    }
    let different: BTreeSet<String> = values.iter().map(Json::canonical).collect();
    (different.len() <= MAX_VALUES)
        .then(|| format!("{{ in: [{}] }}", different.into_iter().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approvals::{DeniedAnswer, GivenAnswer};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000 + seconds * 1_000_000)
    }

    /// A question of a task, asked by these, and approved or denied by alice after so many seconds.
    fn question(task: &str, askers: &[&str], answer: Option<(bool, i64)>) -> AskedQuestion {
        let yes = answer.filter(|(yes, _)| *yes);
        let no = answer.filter(|(yes, _)| !*yes);
        AskedQuestion {
            id: "d000000000000-1".parse().unwrap(),
            state: QuestionStanding::Expired,
            agent: "bot".into(),
            person: "alice".into(),
            template: "pay".into(),
            mandate: "m1".into(),
            root_mandate: "m1".into(),
            task: task.into(),
            purpose: "pay".into(),
            part: None,
            tool: "bank/pay".into(),
            effects: Vec::new(),
            asked_at: at(0),
            until: at(3600),
            askers: askers.iter().map(|&asker| asker.to_owned()).collect(),
            asked: vec!["person:alice".into()],
            unanswered: if yes.is_some() { Vec::new() } else { vec!["person:alice".into()] },
            given: yes
                .iter()
                .map(|(_, after)| GivenAnswer {
                    who: "person:alice".into(),
                    by: "alice".into(),
                    at: at(*after),
                })
                .collect(),
            denied: no.map(|(_, after)| DeniedAnswer { by: "alice".into(), at: at(after), reason: None }),
            used_by: None,
            withdrawn: None,
        }
    }

    #[test]
    fn what_is_always_approved_or_asked_too_often_could_be_spared() {
        let mut questions: Vec<AskedQuestion> =
            (0..5).map(|nth| question(&format!("t{nth}"), &["policy:large"], Some((true, nth)))).collect();
        questions.extend((0..6).map(|_| question("t9", &["grant:pay#grants/0"], None)));
        questions.push(question("t9", &["policy:never"], Some((false, 40))));
        let told = stats(&questions);
        let of = |of: &str| told.came.iter().find(|came| came.of == of).unwrap();
        let all = of("all");
        assert_eq!((all.asked, all.tasks, all.approved, all.denied, all.unanswered), (12, 6, 5, 1, 6));
        assert_eq!((all.approved_percent, all.at_once, all.median_seconds), (Some(83), 3, Some(2)));
        assert_eq!((of("person:alice").asked, of("agent:bot").asked), (6, 12));
        let spared: Vec<(&str, &str)> =
            told.sparing.iter().map(|one| (one.of.as_str(), one.why.as_str())).collect();
        assert_eq!(
            spared,
            [
                ("grant:pay#grants/0", "it asks 6 times in 1 tasks"),
                ("policy:large", "all 5 that were answered were approved"),
            ]
        );
        assert_eq!(told.sparing[1].approved["bank/pay"].len(), 5);
        // What is asked too often and was denied at times is named, without a grant; so is a value whose source asks.
        let mut often: Vec<AskedQuestion> =
            (0..5).map(|nth| question("t1", &["policy:often"], Some((nth > 0, 9)))).collect();
        often.extend((0..5).map(|_| question("t1", &["grant:pay#grants/0/arguments/to"], Some((true, 9)))));
        let told = stats(&often);
        assert_eq!(told.sparing.len(), 2);
        assert!(told.sparing.iter().all(|one| one.approved.is_empty()), "{told:?}");
        assert_eq!(stats(&[]).came[0].approved_percent, None);
    }

    #[test]
    fn a_grant_says_what_was_approved() {
        let calls: Vec<Json> = [
            r#"{"to":"DE1","amount":7.50,"lines":[{"n":1},{"n":3}],"a b":true}"#,
            r#"{"to":"DE2","amount":10,"lines":[{"n":2}],"note":null}"#,
        ]
        .iter()
        .map(|call| Json::parse(call.as_bytes()).unwrap())
        .collect();
        assert_eq!(
            grant_of("bank/pay", &calls),
            Some("- tool: bank/pay\n  arguments:\n    \"a b\": { in: [true] }\n    amount: { min: 7.50, max: 10 }\n    \"lines/*/n\": { min: 1, max: 3 }\n    note: { in: [null] }\n    to: { in: [\"DE1\", \"DE2\"] }\n".to_owned())
        );
        let many: Vec<Json> =
            (0..13).map(|n| Json::parse(format!(r#"{{"text":"{n}"}}"#).as_bytes()).unwrap()).collect();
        assert_eq!(grant_of("notes/add", &many), None, "nothing bounds what had many values");
        let none = grant_of("bank/close", &[Json::parse(b"{}").unwrap()]);
        assert_eq!(none.as_deref(), Some("- tool: bank/close\n"));
    }
}
