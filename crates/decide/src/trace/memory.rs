//! What is remembered of a person's agents over all tasks: which values they have put somewhere, and from how bad a source each came.
//!
//! A value that a call hands out is remembered by the digest of its loose form; a value of a later call is compared with what is remembered if it
//! is among those that [`Handed`] lists. Both sides list by the same rules, so that what can be put somewhere can be recognized.

use std::collections::BTreeSet;

use warrantor_model::{
    Digest, Json, Kind, Person,
    path::{Step, walk},
};

use super::{Class, Needle, Tracer, Trust, embedded};
use crate::{places, snapshot::ToolFacts, terms::CompiledGrant};

/// Most values of one call that are compared with what is remembered. Of a call with more every value counts as put there from an unknown source: which
/// of them were compared would be for the agent to choose.
const MAX_COMPARED: usize = 8192;
/// Most values of one call that are remembered. A call with more has to be confirmed.
const MAX_REMEMBERED: usize = 8192;

/// What a value that was put somewhere is remembered as, weakest first. What is better needs no remembering.
const ECHOED: [(&str, Trust); 3] =
    [("unknown", Trust::Unknown), ("anyone", Trust::Anyone), ("computed", Trust::Computed)];

/// The member by which a person's agents are known to have put a value somewhere.
fn member(person: &Person, word: &str, form: &str) -> String {
    format!("echo/{}/{word}/{}", person.id, Digest::of(form.as_bytes()).hex())
}

/// The values of a call: texts, names of members, what leads somewhere within texts, and whatever could fill the holes of templates.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    values: Vec<(Json, Option<Kind>)>,
    /// There are more than are compared.
    more: bool,
}

impl Handed {
    pub(crate) fn of(facts: &ToolFacts, grants: &[&CompiledGrant], arguments: &Json) -> Self {
        let mut handed = Self::default();
        walk(arguments, &mut Vec::new(), &mut |location, value| {
            if let Some(Step::Member(name)) = location.last() {
                handed.add(Json::String(name.clone()), facts.key_rule(location).and_then(|rule| rule.kind));
            }
            let Json::String(text) = value else { return };
            if handed.more {
                return;
            }
            handed.add(value.clone(), facts.kind(location));
            handed.within(text);
            for grant in grants {
                let bounds = grant.arguments.iter().map(|(path, bounds)| (path, bounds));
                for (_, bounds) in places::deepest(bounds, location) {
                    let (fillings, all) = bounds.fillings(text, MAX_COMPARED);
                    fillings.into_iter().for_each(|filling| handed.add(filling, None));
                    handed.more |= !all;
                }
            }
        });
        handed
    }

    fn add(&mut self, value: Json, kind: Option<Kind>) {
        if self.values.len() < MAX_COMPARED {
            self.values.push((value, kind));
        } else {
            self.more = true;
        }
    }

    /// What leads somewhere within a text, and every word of it that could be a name, a path or a number of something.
    fn within(&mut self, text: &str) {
        for (kind, inner) in embedded::values(text).values {
            self.add(Json::String(inner), Some(kind));
        }
        let ends = |c: char| c.is_whitespace() || "\"'<>()[]{},;“”„«»‘’`|=".contains(c);
        let words =
            text.split(ends).map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/'));
        let telling = |word: &&str| {
            word.len() >= 4
                && word.len() < text.len()
                && word.contains(|c: char| {
                    c.is_numeric() || matches!(c, '/' | '.' | '@' | '_' | ':' | '-' | '#')
                })
        };
        words.filter(telling).for_each(|word| self.add(Json::String(word.to_owned()), None));
    }

    /// Whether there are more values than are compared.
    pub(crate) fn is_beyond(&self) -> bool {
        self.more
    }
}

/// The members that say whether a value was put somewhere by an earlier call.
fn members_of(person: &Person, value: &Json, kind: Option<Kind>) -> Vec<String> {
    let Some(needle) = Needle::of(value, kind).filter(|needle| !needle.trivial) else { return Vec::new() };
    let forms = needle.loose.iter();
    forms.flat_map(|form| ECHOED.iter().map(move |(word, _)| member(person, word, form))).collect()
}

/// The members that a call's values are compared by.
pub(crate) fn wanted(person: &Person, handed: &Handed) -> BTreeSet<String> {
    handed.values.iter().flat_map(|(value, kind)| members_of(person, value, *kind)).collect()
}

/// What is to be remembered of a call.
pub(crate) struct Remembered {
    /// The members to be stored.
    pub(crate) members: BTreeSet<String>,
    /// There are more values than are remembered.
    pub(crate) more: bool,
}

impl Tracer<'_> {
    /// The weakest trust with which the person's agents have put a value somewhere, in this task or an earlier one.
    pub(super) fn echoed(&self, needle: &Needle) -> Option<Trust> {
        let person = self.person?;
        let remembered = ECHOED.iter().find_map(|(word, trust)| {
            let is_known = |form: &String| self.task.members.contains(&member(person, word, form));
            needle.loose.iter().any(is_known).then_some(*trust)
        });
        remembered.or_else(|| (self.beyond_memory && !needle.trivial).then_some(Trust::Unknown))
    }

    /// What is to be remembered of the values that an effectful call puts somewhere: each that is worse than the organization's own.
    pub(crate) fn echoes(&self, handed: &Handed) -> Remembered {
        let mut remembered = Remembered { members: BTreeSet::new(), more: handed.more };
        let Some(person) = self.person else { return remembered };
        for (value, kind) in &handed.values {
            let (Some(needle), traced) = self.trace(value, *kind) else { continue };
            if needle.trivial {
                continue;
            }
            let word = match traced.class() {
                Class::Elsewhere => continue,
                Class::Computed => "computed",
                Class::Untrusted if traced.incomplete && !traced.suspected => "unknown",
                Class::Untrusted => "anyone",
            };
            if remembered.members.len() >= MAX_REMEMBERED {
                remembered.more = true;
                break;
            }
            remembered.members.extend(needle.loose.iter().map(|form| member(person, word, form)));
        }
        remembered
    }
}
