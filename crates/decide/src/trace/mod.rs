//! Where values came from: every argument value traced through what the task has seen.
//!
//! Trust needs an exact occurrence, suspicion only a loose one. A value can be trusted no more than it was when the agent last handed it out: what
//! comes back in a result that equals an argument of an earlier call carries the weaker of the two.

mod embedded;
mod history;
mod judging;
mod loose;
mod matching;
pub(crate) mod memory;
mod naming;
mod numbers;
mod selecting;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
};

use memchr::memmem::Finder;
use warrantor_model::{
    Digest, Json, Kind, Person, ServerName, ToolRef, Writer,
    path::{Location, Step, walk},
};

pub use history::{Event, History, Output, UNTRUSTED};
pub(crate) use judging::{Demand, Sourced, put_in_by_person};
pub(crate) use numbers::could_be_grouped;
pub(crate) use selecting::own_values;

use crate::{snapshot::Snapshot, task::TaskState};
use history::{Outcome, What};
use matching::Needle;
pub(crate) use memory::Handed;

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
    /// This task had handed the value out before, from a source that was not good.
    pub(crate) handed: bool,
}

impl Hit {
    /// Whether an earlier call may have brought the value there: it was handed out, and came from a worse source than the one who is said to write
    /// there. Where anyone writes none is worse, and what an answer repeats of the task's own calls is no source either.
    fn is_laundered(&self) -> bool {
        self.handed || self.trust < Trust::from(self.declared).min(Trust::Organization)
    }
}

/// A place as it can be read again: whatever stood in it before the task handed the value out was not put there by the task.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Spot<'t> {
    /// A field of a record with a key.
    Field(&'t ServerName, &'t str, &'t str, Location),
    /// A place in the answer of a tool to certain arguments.
    Answer(&'t ToolRef, Digest, usize, Location),
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
    /// The forms of the arguments that results answer, by the results' places in the history.
    calls: OnceCell<HashMap<usize, Digest>>,
    /// The call has more values than are compared with what is remembered for the person.
    beyond_memory: bool,
    /// Places whose values were put in by whoever approved the call.
    put_in: BTreeSet<String>,
}

/// Most bytes of histories that are searched for one call: a fraction of a second. What is not searched for counts as a stranger's.
const MAX_SEARCHED: usize = 2 << 30;

/// A traced value and what was looked for.
pub(crate) type Found = (Option<Rc<Needle>>, Rc<Traced>);

impl<'a> Tracer<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot, task: &'a TaskState, handed: &Handed) -> Self {
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
            calls: OnceCell::new(),
            beyond_memory: handed.is_beyond(),
            put_in: BTreeSet::new(),
        }
    }

    /// With values that were put in at these places.
    pub(crate) fn with_put_in(mut self, places: &BTreeSet<String>) -> Self {
        self.put_in.clone_from(places);
        self
    }

    /// Whether the value at a place was put in by whoever approved the call.
    pub(crate) fn is_put_in(&self, location: &[Step]) -> bool {
        !self.put_in.is_empty() && self.put_in.contains(&crate::places::pointer(location))
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
                .any(|words| needle.is_said_in(words) || needle.is_value(&Json::String(words.clone()))),
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
            finders: needle.finders(),
            sure: traced.is_sure(),
            echoed: self.echoed(needle),
            handed: false,
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
        self.clear_what_stood_there_before(&mut walk.traced.hits);
        walk.traced
    }

    /// A value that stood in a place before this task handed it out stands there by whoever wrote it, also when it is read again.
    fn clear_what_stood_there_before(&self, hits: &mut [Hit]) {
        if !hits.iter().any(|hit| hit.handed) {
            return;
        }
        let mut before = HashSet::new();
        for hit in hits {
            let spot = self.spot(hit);
            if !hit.handed && !hit.is_laundered() {
                before.extend(spot);
            } else if hit.handed && spot.is_some_and(|spot| before.contains(&spot)) {
                hit.handed = false;
                hit.trust = Trust::from(hit.declared);
            }
        }
    }

    fn spot(&self, hit: &Hit) -> Option<Spot<'_>> {
        let (event, outcome, place) = self.place(hit)?;
        let instance = place.record.and_then(|at| outcome.records.get(at));
        if let Some((instance, key)) =
            instance.and_then(|instance| Some((instance, instance.key.as_deref()?)))
        {
            let below = place.at.get(instance.at.len()..).unwrap_or_default().to_vec();
            return Some(Spot::Field(&event.tool.server, &instance.record, key, below));
        }
        let calls = self.calls.get_or_init(|| {
            let mut forms = HashMap::new();
            let mut answered = HashMap::new();
            for (at, event) in self.task.history.events().iter().enumerate() {
                match &event.what {
                    What::Call(call) => drop(forms.insert(event.id.as_str(), call.form)),
                    What::Result(_) => answered.extend(forms.get(event.id.as_str()).map(|form| (at, *form))),
                }
            }
            answered
        });
        let arguments = *calls.get(&hit.event)?;
        // Lists grow: which element it was does not matter.
        let place_in_lists = place.at.iter().map(|step| match step {
            Step::Index(_) => Step::Index(0),
            member @ Step::Member(_) => member.clone(),
        });
        Some(Spot::Answer(&event.tool, arguments, place.root, place_in_lists.collect()))
    }
}

/// One value on its way through the history.
struct Walk<'n> {
    needle: &'n Needle,
    finders: Vec<Finder<'n>>,
    sure: bool,
    /// The weakest trust with which the value was handed out so far, by whichever task.
    echoed: Option<Trust>,
    /// This task has handed it out, from a source that was not good.
    handed: bool,
    traced: Traced,
    /// Which characters of the value's loose form earlier calls have handed out in pieces.
    covered: Vec<bool>,
    pieces: usize,
}

/// Shortest piece that counts as one where it stands by itself.
const MIN_PIECE: usize = 4;
/// Shortest piece that counts as one in the middle of a text.
const MIN_PIECE_WITHIN: usize = 6;
/// Longest loose form that is looked for in pieces.
const MAX_ASSEMBLED: usize = 256;

impl Walk<'_> {
    fn call(&mut self, call: &history::Call) {
        // What the person said or is comes from no call, whoever repeats it.
        if self.sure || (self.needle.trivial && call.effects.is_pure_read()) {
            return;
        }
        if self.needle.is_among(&call.loose, &self.finders)
            || (self.needle.is_short() && self.stands_in(&call.arguments))
            || (!call.effects.is_pure_read() && self.is_assembled(&call.loose))
        {
            let trust = match self.traced.class() {
                Class::Elsewhere => Trust::Organization,
                Class::Computed => Trust::Computed,
                Class::Untrusted if self.traced.suspected || !self.traced.incomplete => Trust::Anyone,
                Class::Untrusted => Trust::Unknown,
            };
            self.echoed = Some(self.echoed.map_or(trust, |known| known.min(trust)));
            self.handed |= trust < Trust::Organization;
        }
    }

    /// Whether the value stands in a text of the arguments. For values whose loose form is too short to be looked for in the middle of others.
    fn stands_in(&self, arguments: &Json) -> bool {
        let mut found = false;
        walk(arguments, &mut Vec::new(), &mut |_, leaf| {
            found = found || (leaf.as_str().is_some() && self.needle.is_in(leaf));
        });
        found
    }

    /// Whether calls have handed out most of the value in two pieces or more: longer ones wherever they stand, shorter ones by themselves.
    fn is_assembled(&mut self, lines: &str) -> bool {
        let form =
            self.needle.loose.first().filter(|form| !self.needle.trivial && form.len() <= MAX_ASSEMBLED);
        let Some(form) = form.filter(|form| form.is_ascii()) else { return false };
        self.covered.resize(form.len(), false);
        let alone: HashSet<&str> =
            lines.lines().filter(|line| (MIN_PIECE..MIN_PIECE_WITHIN).contains(&line.len())).collect();
        let mut at = 0usize;
        while at < form.len() {
            match self.piece_at(form, at, lines, &alone) {
                Some(end) => {
                    let fresh = self.covered.iter().take(end).skip(at).any(|covered| !covered);
                    self.pieces = self.pieces.saturating_add(usize::from(fresh));
                    self.covered.iter_mut().take(end).skip(at).for_each(|covered| *covered = true);
                    at = end;
                }
                None => at = at.saturating_add(1),
            }
        }
        let known = self.covered.iter().filter(|covered| **covered).count();
        self.pieces >= 2 && known.saturating_mul(5) >= form.len().saturating_mul(4)
    }

    /// Where the longest piece ends that begins here and stands in the text.
    fn piece_at(&self, form: &str, at: usize, lines: &str, alone: &HashSet<&str>) -> Option<usize> {
        let piece = |end: usize| form.get(at..end);
        let least = at.saturating_add(MIN_PIECE_WITHIN);
        if piece(least).is_some_and(|piece| lines.contains(piece)) {
            let longest =
                (least..=form.len()).rev().find(|end| piece(*end).is_some_and(|p| lines.contains(p)));
            return longest;
        }
        (MIN_PIECE..MIN_PIECE_WITHIN)
            .rev()
            .filter_map(|length| at.checked_add(length))
            .find(|end| piece(*end).is_some_and(|piece| alone.contains(piece)))
    }

    fn result(&mut self, event: usize, outcome: &Outcome) {
        let candidates = match self.needle.loose.is_empty() {
            // Nothing but signs: there is no loose form to look for.
            true => (0..outcome.places.len()).collect(),
            false => outcome.candidates(&self.finders),
        };
        for at in candidates {
            let Some(place) = outcome.places.get(at) else { continue };
            let exact = self.needle.is_in_field(&place.leaf, place.kind);
            if !exact && (self.needle.loose.is_empty() || !self.needle.is_suspected_in(&place.leaf)) {
                continue;
            }
            if place.writer == Writer::Anyone {
                self.traced.suspected = true;
            }
            if exact {
                let declared = Trust::from(place.writer);
                let trust = self.echoed.map_or(declared, |echoed| declared.min(echoed));
                let handed = self.handed && !self.sure;
                self.traced.hits.push(Hit { event, place: at, declared: place.writer, trust, handed });
            }
        }
    }
}

/// Whether a text holds the value in any of its writings.
fn suspected(needle: &Needle, leaf: &Json) -> bool {
    let mut lines = String::new();
    loose::push_loose(&history::scalar_text(leaf), &mut lines);
    needle.is_among(&lines, &needle.finders())
}

/// The request without the spans that others wrote, however they lie in each other. What stands on two sides of one is not read together.
fn own_words(request: &str, quoted: &[String]) -> Vec<String> {
    let mut foreign: Vec<(usize, usize)> = quoted
        .iter()
        .filter(|span| !span.is_empty())
        .flat_map(|span| {
            // Overlapping occurrences as well.
            let begins = |at: &usize| request.get(*at..).is_some_and(|rest| rest.starts_with(span.as_str()));
            let places = request.char_indices().map(|(at, _)| at).filter(begins);
            places.map(|at| (at, at.saturating_add(span.len()))).collect::<Vec<_>>()
        })
        .collect();
    foreign.sort_unstable();
    let mut words = Vec::new();
    let mut from = 0usize;
    for (begin, end) in foreign {
        words.extend(request.get(from..begin.max(from)).map(str::to_owned));
        from = from.max(end);
    }
    words.extend(request.get(from..).map(str::to_owned));
    words.retain(|part| !part.is_empty());
    words
}
