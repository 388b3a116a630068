//! Approvals: a person's answer to one Ask, bound to the exact call (design section 3, "Ask").
//!
//! What was asked names everything that asked ([`Asker`]) and what the call was ([`Binding`]). An [`Approval`] is the answers to it. Whether it counts is
//! decided with the call, each time anew: nothing here is a permission by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{DecisionId, Digest, Effect, GroupName, IdError, MandateId, PersonId, TaskId, Timestamp};

/// Who has to answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Approver {
    /// One person.
    Person(PersonId),
    /// Anybody of a group.
    Group(GroupName),
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(person) => write!(f, "person:{person}"),
            Self::Group(group) => write!(f, "group:{group}"),
        }
    }
}

impl FromStr for Approver {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("group", group)) => GroupName::new(group).map(Self::Group),
            Some(("person", person)) => PersonId::new(person).map(Self::Person),
            _ => PersonId::new(text).map(Self::Person),
        }
    }
}

impl Serialize for Approver {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Approver {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One thing that asks: a policy, a line of a mandate, or a value in an argument.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// Who has to answer it.
    pub who: Approver,
    /// What asks: a policy's id, `grants/2`, `grants/2/arguments/recipient`.
    pub by: String,
    /// The hop of the chain whose mandate asks, the root being 0; none of a policy.
    pub hop: Option<u32>,
    /// The digest of the policy, or of the mandate's terms: an answer to what it said is none to what it says now.
    pub of: Digest,
}

/// What an answer is bound to: this call, as it was when it was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The mandates, the root first, each with the digest of its terms.
    pub chain: Vec<(MandateId, Digest)>,
    /// The task.
    pub task: TaskId,
    /// The tool, `server/tool`.
    pub tool: String,
    /// The digest of the tool's pinned definition.
    pub definition: Digest,
    /// The digest of the arguments, members sorted and number literals verbatim.
    pub arguments: Digest,
    /// The digest of what the call acts on, as policies see it: its name may be an argument's value.
    pub resource: Digest,
    /// Where the values of arguments were found, by argument.
    pub sources: BTreeMap<String, BTreeSet<String>>,
    /// Labels of what the task had touched.
    pub labels: BTreeSet<String>,
    /// The effects that it has.
    pub effects: Vec<Effect>,
}

/// Names of sources that are worse than none: what has them may be somebody else's choice, or the agent's.
const WEAK: [&str; 4] = ["anyone", "unknown", "computed", "quoted"];
/// Names of sources that vouch for a value. Slots do too.
const STRONG: [&str; 6] = ["request", "self", "person", "literal", "system", "organization"];

impl Binding {
    /// Why an answer to this is none to that call now; nothing where it is one. Sources may be no weaker than was shown, and labels no more.
    #[must_use]
    pub fn differs_from(&self, now: &Self) -> Option<String> {
        let Self { chain, task, tool, definition, arguments, resource, .. } = self;
        if *task != now.task || *chain != now.chain {
            return Some("it was given to another task or mandate".to_owned());
        }
        if *tool != now.tool || *arguments != now.arguments || *resource != now.resource {
            return Some("it was given to another call".to_owned());
        }
        if *definition != now.definition {
            return Some("the tool was defined otherwise when it was given".to_owned());
        }
        self.worsened(now, &BTreeSet::new())
    }

    /// In what a call is worse than this one, whatever its arguments are: it has other effects, the task has touched more, or values have weaker sources, but
    /// for the arguments that are named.
    #[must_use]
    pub fn worsened(&self, now: &Self, but: &BTreeSet<String>) -> Option<String> {
        let Self { sources, labels, effects, .. } = self;
        if let Some(label) = now.labels.difference(labels).next() {
            return Some(format!("the task has touched what is {label} since"));
        }
        if let Some(effect) = now.effects.iter().find(|effect| !effects.contains(effect)) {
            return Some(format!("it has the effect {} since", effect.as_str()));
        }
        let none = BTreeSet::new();
        for at in sources.keys().chain(now.sources.keys()).filter(|at| !but.contains(*at)) {
            let (shown, found) = (sources.get(at).unwrap_or(&none), now.sources.get(at).unwrap_or(&none));
            if let Some(worse) = found.difference(shown).find(|name| WEAK.contains(&name.as_str())) {
                return Some(format!("the value of {at} has the source {worse} since"));
            }
            let vouches = |name: &&String| STRONG.contains(&name.as_str()) || name.starts_with("slot:");
            if let Some(gone) = shown.difference(found).find(vouches) {
                return Some(format!("the value of {at} has lost the source {gone}"));
            }
        }
        None
    }
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Who was asked.
    pub who: Approver,
    /// Who answered.
    pub by: PersonId,
    /// When.
    pub at: Timestamp,
}

/// The answers to one question. That it exists says only that persons said yes: whether they may, and to what, is decided with the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The decision that asked.
    pub question: DecisionId,
    /// What it was about.
    pub binding: Binding,
    /// What asked.
    pub lifts: BTreeSet<Asker>,
    /// Who said yes.
    pub given: Vec<Given>,
    /// Whether a person put other arguments in the place of the agent's.
    pub replaced: bool,
    /// Arguments whose values a person put in, by place; none where they only left some out.
    pub edited: BTreeSet<String>,
    /// When it ends.
    pub until: Timestamp,
}

impl Approval {
    /// Everybody who said yes.
    pub fn people(&self) -> impl Iterator<Item = &PersonId> {
        self.given.iter().map(|given| &given.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding() -> Binding {
        let sources = [("to".to_owned(), ["computed", "request"].map(str::to_owned).into())];
        Binding {
            chain: vec![(MandateId::new("m1").unwrap(), Digest::of(b"terms"))],
            task: TaskId::new("t1").unwrap(),
            tool: "bank/send".to_owned(),
            definition: Digest::of(b"send"),
            arguments: Digest::of(b"{}"),
            resource: Digest::of(b"Server::\"bank\""),
            sources: sources.into(),
            labels: ["confidential".to_owned()].into(),
            effects: vec![Effect::Write],
        }
    }

    #[test]
    fn an_answer_is_for_one_call_with_sources_no_weaker_and_labels_no_more() {
        let check = |change: fn(&mut Binding), part: &str| {
            let mut now = binding();
            change(&mut now);
            let differs = binding().differs_from(&now);
            match part {
                "" => assert_eq!(differs, None),
                part => {
                    assert!(differs.as_deref().is_some_and(|why| why.contains(part)), "{part}: {differs:?}")
                }
            }
        };
        check(|_| {}, "");
        check(|now| now.chain[0].1 = Digest::of(b"other"), "another task or mandate");
        check(|now| now.chain.push(now.chain[0].clone()), "another task or mandate");
        check(|now| now.task = TaskId::new("t2").unwrap(), "another task or mandate");
        check(|now| now.tool.push('x'), "another call");
        check(|now| now.arguments = Digest::of(b"[]"), "another call");
        check(|now| now.resource = Digest::of(b"x"), "another call");
        check(|now| now.definition = Digest::of(b"x"), "defined otherwise");
        check(
            |now| {
                now.labels.insert("untrusted".to_owned());
            },
            "is untrusted since",
        );
        check(|now| now.labels.clear(), "");
        check(|now| now.effects.push(Effect::Pay), "has the effect pay since");
        check(|now| now.effects.clear(), "");
        check(
            |now| {
                now.sources.entry("to".into()).or_default().insert("system".into());
            },
            "",
        );
        check(
            |now| {
                now.sources.entry("to".into()).or_default().insert("anyone".into());
            },
            "source anyone since",
        );
        check(
            |now| {
                now.sources.entry("of".into()).or_default().insert("unknown".into());
            },
            "source unknown since",
        );
        check(
            |now| {
                now.sources.entry("to".into()).or_default().remove("request");
            },
            "lost the source request",
        );
        check(
            |now| {
                now.sources.entry("to".into()).or_default().remove("computed");
            },
            "",
        );
    }

    #[test]
    fn approvers_read_as_they_are_written() {
        for (text, written) in
            [("person:alice", "person:alice"), ("group:ops", "group:ops"), ("alice", "person:alice")]
        {
            assert_eq!(text.parse::<Approver>().unwrap().to_string(), written);
        }
        for text in ["group:", "", "person:"] {
            assert!(text.parse::<Approver>().is_err(), "{text}");
        }
    }
}
