//! Where values came from: every argument value traced through what the task has seen.
//!
//! Trust needs an exact occurrence, suspicion only a loose one. A value can be trusted no more than it was when the agent last handed it out: what
//! comes back in a result that equals an argument of an earlier call carries the weaker of the two.

mod embedded;
mod history;
mod judging;
mod loose;
mod matching;
mod naming;
mod numbers;
mod selecting;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use warrantor_model::{Digest, Json, Kind, Person, Writer};

pub use history::{Event, History, Output, UNTRUSTED};
pub(crate) use judging::{Demand, Sourced};
pub(crate) use selecting::own_values;

use crate::{snapshot::Snapshot, task::TaskState};
use history::{Outcome, What};
use matching::Needle;

/// How far a value can be trusted by where it was found, weakest first (design section 4, order of trust).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// What it came from was forgotten.
    Unknown,
    /// Anyone may have written it.
    Anyone,
    /// The agent made it.
    Computed,
    /// Somebody of the organization wrote it.
    Organization,
    /// The person, or the system itself.
    Sure,
}

impl From<Writer> for Trust {
    fn from(writer: Writer) -> Self {
        match writer {
            Writer::Anyone => Self::Anyone,
            Writer::Organization => Self::Organization,
            Writer::Own | Writer::System => Self::Sure,
        }
    }
}

/// One place where a value stands, and how far it can be trusted there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) event: usize,
    pub(crate) place: usize,
    pub(crate) declared: Writer,
    pub(crate) trust: Trust,
}

impl Hit {
    /// Whether an earlier call brought the value there, from a worse source than the one who is said to write there.
    fn is_laundered(&self) -> bool {
        self.trust < Trust::from(self.declared).min(Trust::Organization)
    }
}

/// Where one value was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traced {
    pub(crate) request: bool,
    /// As a quoted span of the request, or an identifier in it.
    pub(crate) request_plainly: bool,
    /// In what others wrote into the request.
    pub(crate) quoted: bool,
    pub(crate) own: bool,
    /// Slots of the root mandate.
    pub(crate) slots: BTreeSet<String>,
    pub(crate) hits: Vec<Hit>,
    /// It stands, exactly or nearly, where anyone may write.
    pub(crate) suspected: bool,
    /// It may have stood in something that was forgotten.
    pub(crate) incomplete: bool,
    pub(crate) trivial: bool,
}

/// Where a value stands that is in no listed source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Untrusted,
    Elsewhere,
    Computed,
}

impl Traced {
    fn is_sure(&self) -> bool {
        self.request || self.own || !self.slots.is_empty()
    }

    /// The strongest trust that any exact place gives.
    fn strongest(&self) -> Option<Trust> {
        if self.is_sure() {
            return Some(Trust::Sure);
        }
        self.hits.iter().map(|hit| hit.trust).max()
    }

    pub(crate) fn class(&self) -> Class {
        if self.is_sure() {
            return Class::Elsewhere;
        }
        if self.trivial {
            return Class::Computed;
        }
        match self.strongest() {
            Some(Trust::Organization | Trust::Sure) => Class::Elsewhere,
            Some(Trust::Anyone | Trust::Unknown) => Class::Untrusted,
            _ if self.suspected || self.incomplete => Class::Untrusted,
            Some(Trust::Computed) | None => Class::Computed,
        }
    }
}

/// Traces the values of one call.
pub(crate) struct Tracer<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) task: &'a TaskState,
    pub(crate) person: Option<&'a Person>,
    own: Vec<Json>,
    /// The person's own words, without what others wrote into them.
    request: Vec<String>,
    quoted: Vec<Json>,
    known: RefCell<HashMap<(Option<Kind>, Json), Found>>,
    /// How many more bytes of the history are searched for this call.
    budget: Cell<usize>,
    /// Events and places of records that no later reading has again.
    latest: OnceCell<HashSet<(usize, usize)>>,
}

/// Most bytes of histories that are searched for one call: a fraction of a second. What is not searched for counts as a stranger's.
const MAX_SEARCHED: usize = 2 << 30;

/// A traced value and what was looked for.
pub(crate) type Found = (Option<Rc<Needle>>, Rc<Traced>);

impl<'a> Tracer<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, task: &'a TaskState) -> Self {
        let root = task.chain.first().map(|hop| &hop.mandate.terms);
        let person = root.and_then(|terms| snapshot.person(&terms.person));
        let quoted: Vec<String> = root.map(|terms| terms.quoted.clone()).unwrap_or_default();
        let request = root.and_then(|terms| terms.request.clone()).unwrap_or_default();
        Self {
            snapshot,
            task,
            person,
            own: person.map(own_values).unwrap_or_default().into_iter().map(Json::String).collect(),
            request: own_words(&request, &quoted),
            quoted: quoted.into_iter().map(Json::String).collect(),
            known: RefCell::default(),
            budget: Cell::new(MAX_SEARCHED),
            latest: OnceCell::new(),
        }
    }

    /// Where a value was found. The kind sets the form in which it is compared.
    pub(crate) fn trace(&self, value: &Json, kind: Option<Kind>) -> Found {
        let key = (kind, value.clone());
        if let Some(found) = self.known.borrow().get(&key) {
            return found.clone();
        }
        let needle = Needle::of(value, kind).map(Rc::new);
        let traced = needle.as_ref().map(|needle| self.search(needle)).unwrap_or_default();
        let found = (needle, Rc::new(traced));
        self.known.borrow_mut().insert(key, found.clone());
        found
    }

    /// Whether no later reading has a record with this key again, in this result or another.
    pub(crate) fn is_latest(&self, event: usize, nth: usize) -> bool {
        let latest = self.latest.get_or_init(|| {
            let mut latest = HashMap::new();
            for (at, event, outcome) in self.task.history.results() {
                for (nth, instance) in outcome.records.iter().enumerate() {
                    if let Some(key) = &instance.key {
                        latest
                            .insert((&event.tool.server, instance.record.as_str(), key.as_str()), (at, nth));
                    }
                }
            }
            latest.into_values().collect()
        });
        latest.contains(&(event, nth))
    }

    fn search(&self, needle: &Needle) -> Traced {
        let slots = self.task.chain.first().map(|hop| &hop.mandate.terms.slots);
        let mut traced = Traced {
            request: self
                .request
                .iter()
                .any(|words| needle.occurs(words) || needle.is_value(&Json::String(words.clone()))),
            request_plainly: self.request.iter().any(|words| needle.is_quoted_or_identifier_in(words)),
            own: self.own.iter().any(|own| needle.is_value(own)),
            slots: slots
                .into_iter()
                .flatten()
                .filter(|(_, value)| needle.is_in(value))
                .map(|(name, _)| name.clone())
                .collect(),
            incomplete: self.task.history.is_incomplete(),
            trivial: needle.trivial,
            ..Traced::default()
        };
        if needle.is_empty() {
            return traced;
        }
        let Some(left) = self.budget.get().checked_sub(self.task.history.searched_bytes()) else {
            return Traced { incomplete: true, ..traced };
        };
        self.budget.set(left);
        traced.quoted = self.quoted.iter().any(|span| needle.is_in(span) || suspected(needle, span));
        traced.suspected = traced.quoted;
        let mut walk = Walk {
            needle,
            sure: traced.is_sure(),
            echoed: self.echoed(needle),
            traced,
            covered: Vec::new(),
            pieces: 0,
        };
        for (at, event) in self.task.history.events().iter().enumerate() {
            match &event.what {
                What::Call(call) => walk.call(call),
                What::Result(outcome) => walk.result(at, outcome),
            }
        }
        walk.traced
    }

    /// The weakest trust with which the person's agents have put a value somewhere, in this task or an earlier one.
    fn echoed(&self, needle: &Needle) -> Option<Trust> {
        let person = self.person?;
        ECHOED.iter().find_map(|(word, trust)| {
            let remembered = |form: &String| self.task.members.contains(&echo_member(person, word, form));
            needle.loose.iter().any(remembered).then_some(*trust)
        })
    }
}

/// What a value that was put somewhere is remembered as, weakest first. What is better needs no remembering.
const ECHOED: [(&str, Trust); 3] =
    [("unknown", Trust::Unknown), ("anyone", Trust::Anyone), ("computed", Trust::Computed)];

/// The member by which a person's agents are known to have put a value somewhere.
fn echo_member(person: &Person, word: &str, form: &str) -> String {
    format!("echo/{}/{word}/{}", person.id, Digest::of(form.as_bytes()).hex())
}

/// The members that say whether, and from how bad a source, a value was put somewhere by an earlier call.
pub(crate) fn echo_members(person: &Person, value: &Json, kind: Option<Kind>) -> Vec<String> {
    let Some(needle) = Needle::of(value, kind).filter(|needle| !needle.trivial) else { return Vec::new() };
    let forms = needle.loose.iter();
    forms.flat_map(|form| ECHOED.iter().map(move |(word, _)| echo_member(person, word, form))).collect()
}

impl Tracer<'_> {
    /// What is to be remembered of the values that an effectful call puts somewhere: each that is worse than the organization's own, and the
    /// addresses, URLs and numbers within texts.
    pub(crate) fn echoes(&self, arguments: &Json) -> BTreeSet<String> {
        let mut members = BTreeSet::new();
        let Some(person) = self.person else { return members };
        let mut remember = |value: &Json, kind: Option<Kind>| {
            if members.len() >= MAX_ECHOES {
                return;
            }
            let (Some(needle), traced) = self.trace(value, kind) else { return };
            if needle.trivial {
                return;
            }
            let trust = match traced.class() {
                Class::Elsewhere => return,
                Class::Computed => "computed",
                Class::Untrusted if traced.incomplete && !traced.suspected => "unknown",
                Class::Untrusted => "anyone",
            };
            members.extend(needle.loose.iter().map(|form| echo_member(person, trust, form)));
        };
        warrantor_model::path::walk(arguments, &mut Vec::new(), &mut |_, value| {
            if matches!(value, Json::String(_) | Json::Number(_)) {
                remember(value, None);
                for (kind, inner) in value.as_str().map(embedded::values).unwrap_or_default() {
                    remember(&Json::String(inner), Some(kind));
                }
            }
        });
        members
    }
}

/// Most values of one call that are remembered.
const MAX_ECHOES: usize = 512;

/// One value on its way through the history.
struct Walk<'n> {
    needle: &'n Needle,
    sure: bool,
    /// The weakest trust with which the value was handed out so far.
    echoed: Option<Trust>,
    traced: Traced,
    /// Which characters of the value's loose form earlier calls have handed out in pieces.
    covered: Vec<bool>,
    pieces: usize,
}

/// Shortest piece that counts as one.
const MIN_PIECE: usize = 4;

impl Walk<'_> {
    fn call(&mut self, call: &history::Call) {
        // What the person said or is comes from no call, whoever repeats it.
        if self.sure || (self.needle.trivial && call.effects.is_pure_read()) {
            return;
        }
        if self.needle.is_among(&call.loose)
            || (!call.effects.is_pure_read() && self.is_assembled(&call.loose))
        {
            let trust = match self.traced.class() {
                Class::Elsewhere => Trust::Organization,
                Class::Computed => Trust::Computed,
                Class::Untrusted if self.traced.suspected || !self.traced.incomplete => Trust::Anyone,
                Class::Untrusted => Trust::Unknown,
            };
            self.echoed = Some(self.echoed.map_or(trust, |known| known.min(trust)));
        }
    }

    /// Whether calls have handed out most of the value in two pieces or more.
    fn is_assembled(&mut self, lines: &str) -> bool {
        let Some(form) = self.needle.loose.first().filter(|_| !self.needle.trivial) else { return false };
        self.covered.resize(form.len(), false);
        for piece in lines.lines().filter(|line| (MIN_PIECE..form.len()).contains(&line.len())) {
            for (at, _) in form.match_indices(piece) {
                let end = at.saturating_add(piece.len());
                let fresh = self.covered.iter().take(end).skip(at).any(|covered| !covered);
                self.pieces = self.pieces.saturating_add(usize::from(fresh));
                self.covered.iter_mut().take(end).skip(at).for_each(|covered| *covered = true);
            }
        }
        let known = self.covered.iter().filter(|covered| **covered).count();
        self.pieces >= 2 && known.saturating_mul(5) >= form.len().saturating_mul(4)
    }

    fn result(&mut self, event: usize, outcome: &Outcome) {
        let candidates = match self.needle.loose.is_empty() {
            // Nothing but signs: there is no loose form to look for.
            true => (0..outcome.places.len()).collect(),
            false => outcome.candidates(&self.needle.loose),
        };
        for at in candidates {
            let Some(place) = outcome.places.get(at) else { continue };
            let exact = self.needle.is_in(&place.leaf);
            if !exact && (self.needle.loose.is_empty() || !self.needle.is_suspected_in(&place.leaf)) {
                continue;
            }
            if place.writer == Writer::Anyone {
                self.traced.suspected = true;
            }
            if exact {
                let declared = Trust::from(place.writer);
                let trust = self.echoed.map_or(declared, |echoed| declared.min(echoed));
                self.traced.hits.push(Hit { event, place: at, declared: place.writer, trust });
            }
        }
    }
}

/// Whether a text holds the value in any of its writings.
fn suspected(needle: &Needle, leaf: &Json) -> bool {
    let mut lines = String::new();
    loose::push_loose(&history::scalar_text(leaf), &mut lines);
    needle.is_among(&lines)
}

/// The request without the spans that others wrote. What stands on two sides of one is not read together.
fn own_words(request: &str, quoted: &[String]) -> Vec<String> {
    let mut words = vec![request.to_owned()];
    for span in quoted.iter().filter(|span| !span.is_empty()) {
        words = words.iter().flat_map(|part| part.split(span.as_str())).map(str::to_owned).collect();
    }
    words
}
