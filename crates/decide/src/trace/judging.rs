//! A grant's demand on where a value comes from, judged.

use std::collections::{BTreeSet, HashMap};

use warrantor_model::{
    Answer, Json, Kind, Otherwise, Provenance, Source,
    path::{Coverage, Path, Segment, Step},
    source::{RecordSource, ToolSource},
};

use super::{
    Class, Hit, Traced, Tracer, Trust,
    history::{Call, Event, Instance, Outcome, Place, What},
    matching::Needle,
    selecting::{self, Referred},
};
use crate::{kind::comparable, places::deepest, task::Hop};

/// What a grant demands of one value.
pub(crate) struct Demand<'a> {
    /// Where it must come from.
    pub(crate) provenance: &'a Provenance,
    /// The value is one of those that the grant writes out.
    pub(crate) is_literal: bool,
    /// The manifest calls the argument sensitive.
    pub(crate) sensitive: bool,
    /// A text of a call that pays, shares, executes or touches credentials: a word of the request is no source.
    pub(crate) grave: bool,
}

/// How it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sourced {
    Pass,
    Ask(String),
    Deny(String),
}

impl Sourced {
    /// The better, the lower.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Ask(_) => 1,
            Self::Deny(_) => 2,
        }
    }
}

/// Whether one source has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    /// Several records match and say different things.
    Several,
    No,
}

impl Tracer<'_> {
    /// Judges where a value comes from, for one hop.
    pub(crate) fn judge(&self, hop: &Hop, demand: &Demand<'_>, value: &Json, kind: Option<Kind>) -> Sourced {
        let stated = demand.provenance.is_stated();
        if demand.is_literal && demand.provenance.also_from.is_none() {
            return Sourced::Pass;
        }
        if !stated && !demand.sensitive {
            return Sourced::Pass;
        }
        let (needle, traced) = self.trace(value, kind);
        let Some(needle) = needle else {
            return otherwise(demand, Class::Computed, "has no value that could be traced");
        };
        if needle.is_empty() && !demand.sensitive {
            return Sourced::Pass;
        }
        if !stated {
            return self.by_default(hop, demand, &needle, &traced);
        }
        let first = match &demand.provenance.from {
            Some(sources) if !demand.is_literal => self.any_of(hop, demand, sources, &needle, &traced),
            _ => Held::Yes,
        };
        let second = match &demand.provenance.also_from {
            Some(sources) => self.any_of(hop, demand, sources, &needle, &traced),
            None => Held::Yes,
        };
        match (first, second) {
            (Held::Yes, Held::Yes) => Sourced::Pass,
            (Held::No, _) | (_, Held::No) => otherwise(demand, traced.class(), &self.told(&traced)),
            (Held::Several, _) | (_, Held::Several) => {
                Sourced::Ask("comes from one of several records that match and differ".to_owned())
            }
        }
    }

    /// What a sensitive argument that is bounded without sources must come from.
    fn by_default(&self, hop: &Hop, demand: &Demand<'_>, needle: &Needle, traced: &Traced) -> Sourced {
        let request = if demand.grave { traced.request_plainly } else { traced.request };
        let slot = hop.mandate.terms.slots.values().any(|value| needle.is_in(value));
        let field = !needle.trivial && traced.hits.iter().any(|hit| hit.trust >= Trust::Organization);
        if request || slot || traced.own || field {
            return Sourced::Pass;
        }
        // A word of the request is where it stands, and not enough for what is at stake.
        let class = if demand.grave && !traced.own && traced.slots.is_empty() {
            traced.without_request()
        } else {
            traced.class()
        };
        otherwise(demand, class, &self.told(traced))
    }

    fn any_of(
        &self,
        hop: &Hop,
        demand: &Demand<'_>,
        sources: &[Source],
        needle: &Needle,
        traced: &Traced,
    ) -> Held {
        let mut several = false;
        for source in sources {
            match self.holds(hop, demand, source, needle, traced) {
                Held::Yes => return Held::Yes,
                Held::Several => several = true,
                Held::No => {}
            }
        }
        if several { Held::Several } else { Held::No }
    }

    pub(super) fn holds(
        &self,
        hop: &Hop,
        demand: &Demand<'_>,
        source: &Source,
        needle: &Needle,
        traced: &Traced,
    ) -> Held {
        let held = match source {
            Source::Any => true,
            Source::Request if demand.grave => traced.request_plainly,
            Source::Request => traced.request,
            Source::Own => traced.own,
            Source::Slot(name) => hop.mandate.terms.slots.get(name).is_some_and(|value| needle.is_in(value)),
            // Values that were put in are judged by `put_in_by_person`.
            Source::Person => false,
            Source::Computed => {
                traced.class() == Class::Computed
                    && !traced.suspected
                    && !traced.incomplete
                    && !self.leads_where_anyone_says(needle)
            }
            Source::Record(source) => return self.record_holds(hop, source, traced),
            Source::Tool(source) => {
                let mut selected = Selected::new(&source.selector);
                traced.hits.iter().any(|hit| self.is_of_tool(hop, source, hit, &mut selected))
            }
            Source::Call { tool, argument } => {
                self.task.history.events().iter().any(|event| match &event.what {
                    What::Call(call) if call.passed && event.tool == *tool => {
                        argument.select(&call.arguments).into_iter().any(|value| is_one_of(needle, value))
                    }
                    _ => false,
                })
            }
        };
        if held { Held::Yes } else { Held::No }
    }

    /// Whether it leads to a host that stands where anyone writes: then the rest of it may be the agent's, and where it leads is not.
    pub(super) fn leads_where_anyone_says(&self, needle: &Needle) -> bool {
        let Some(host) = needle.loose_host() else { return false };
        let hosts = [memchr::memmem::Finder::new(&host)];
        self.task.history.results().any(|(_, _, outcome)| {
            outcome.candidates(&hosts).into_iter().any(|at| {
                outcome.places.get(at).is_some_and(|place| place.writer == warrantor_model::Writer::Anyone)
            })
        })
    }

    fn record_holds(&self, hop: &Hop, source: &RecordSource, traced: &Traced) -> Held {
        let mut selected = Selected::new(&source.selector);
        let found = traced.hits.iter().filter(|hit| !hit.is_laundered()).any(|hit| {
            self.place(hit).is_some_and(|(event, outcome, place)| {
                let instance = place.record.and_then(|nth| Some((nth, outcome.records.get(nth)?)));
                let instance = instance.filter(|(_, instance)| {
                    instance.record == source.record
                        && source.server.as_ref().is_none_or(|server| *server == event.tool.server)
                });
                instance.is_some_and(|(nth, instance)| {
                    names_place(&source.path, instance, place)
                        && (instance.key.is_none() || self.is_latest(hit.event, nth))
                        && selected.or((hit.event, nth), || {
                            self.selects(hop, source, event, outcome, instance, Some(&place.leaf))
                        })
                })
            })
        });
        if !found {
            return Held::No;
        }
        if source.any_match || self.different_values(hop, source) <= 1 { Held::Yes } else { Held::Several }
    }

    /// How many different values the field has over all records that match. Two are enough to know.
    fn different_values(&self, hop: &Hop, source: &RecordSource) -> usize {
        let mut values = BTreeSet::new();
        let mut selected = Selected::new(&source.selector);
        for (at, event, outcome) in self.task.history.results() {
            if source.server.as_ref().is_some_and(|server| *server != event.tool.server) {
                continue;
            }
            for place in &outcome.places {
                let Some((nth, instance)) =
                    place.record.and_then(|nth| Some((nth, outcome.records.get(nth)?)))
                else {
                    continue;
                };
                if instance.record == source.record
                    && names_place(&source.path, instance, place)
                    && (instance.key.is_none() || self.is_latest(at, nth))
                    && selected.or((at, nth), || {
                        self.selects(hop, source, event, outcome, instance, Some(&place.leaf))
                    })
                {
                    let text = super::history::scalar_text(&place.leaf);
                    values.insert(comparable(place.kind.unwrap_or_default(), &text, false).unwrap_or(text));
                    if values.len() > 1 {
                        return values.len();
                    }
                }
            }
        }
        values.len()
    }

    fn selects(
        &self,
        hop: &Hop,
        source: &RecordSource,
        event: &Event,
        outcome: &Outcome,
        instance: &Instance,
        element: Option<&Json>,
    ) -> bool {
        if source.selector.0.is_empty() {
            return true;
        }
        let Some(record) =
            outcome.values.get(instance.root).and_then(|value| selecting::at(value, &instance.at))
        else {
            return false;
        };
        let types = self.snapshot.manifest(&event.tool.server).and_then(|m| m.records.get(&instance.record));
        let kind = |location: &[Step]| {
            types.and_then(|types| {
                deepest(types.fields.iter(), location).into_iter().find_map(|(_, rule)| rule.kind)
            })
        };
        // For a map by name the record's own name is no field of it.
        selecting::holds(&source.selector, record, element, &kind, &self.referred(hop))
            || instance.key.as_ref().is_some_and(|key| {
                let named = Json::Object(vec![("@keys".to_owned(), Json::String(key.clone()))]);
                source.selector.0.iter().all(|one| one.path.as_ref().is_some_and(Path::is_keys))
                    && selecting::holds(
                        &on_names(&source.selector),
                        &named,
                        element,
                        &|_| None,
                        &self.referred(hop),
                    )
            })
    }

    fn referred<'s>(&'s self, hop: &'s Hop) -> Referred<'s> {
        Referred { person: self.person, slots: Some(&hop.mandate.terms.slots) }
    }

    fn is_of_tool(&self, hop: &Hop, source: &ToolSource, hit: &Hit, selected: &mut Selected) -> bool {
        let Some((event, outcome, place)) = self.place(hit) else { return false };
        if event.tool != source.tool || outcome.error || hit.is_laundered() {
            return false;
        }
        let placed = match &source.path {
            None => true,
            Some(path) => names_location(path, &place.at, place.is_name),
        };
        placed
            && self.was_called_so(hop, source, event)
            && match place.record {
                Some(nth) => {
                    selected.or((hit.event, nth), || self.holder_selected(hop, source, event, outcome, place))
                }
                None => self.holder_selected(hop, source, event, outcome, place),
            }
    }

    fn was_called_so(&self, hop: &Hop, source: &ToolSource, event: &Event) -> bool {
        if source.arguments.0.is_empty() {
            return true;
        }
        let Some(Call { arguments, .. }) = self.task.history.call_of(event) else { return false };
        let facts = self.snapshot.facts(&source.tool);
        let kind = |location: &[Step]| facts.and_then(|facts| facts.kind(location));
        selecting::holds(&source.arguments, arguments, None, &kind, &self.referred(hop))
    }

    /// The selector of a place: on the record that holds it, else on the object it stands in.
    fn holder_selected(
        &self,
        hop: &Hop,
        source: &ToolSource,
        event: &Event,
        outcome: &Outcome,
        place: &Place,
    ) -> bool {
        if source.selector.0.is_empty() {
            return true;
        }
        let instance = place.record.and_then(|at| outcome.records.get(at));
        let parent = place.at.split_last().map(|(_, above)| above).unwrap_or_default();
        let at = instance.map_or(parent, |instance| &instance.at);
        let Some(holder) = outcome.values.get(place.root).and_then(|value| selecting::at(value, at)) else {
            return false;
        };
        let types = instance.and_then(|i| self.snapshot.manifest(&event.tool.server)?.records.get(&i.record));
        let kind = |location: &[Step]| {
            types.and_then(|types| {
                deepest(types.fields.iter(), location).into_iter().find_map(|(_, rule)| rule.kind)
            })
        };
        selecting::holds(&source.selector, holder, Some(&place.leaf), &kind, &self.referred(hop))
    }

    pub(crate) fn place(&self, hit: &Hit) -> Option<(&Event, &Outcome, &Place)> {
        let event = self.task.history.events().get(hit.event)?;
        match &event.what {
            What::Result(outcome) => Some((event, outcome, outcome.places.get(hit.place)?)),
            What::Call(_) => None,
        }
    }
}

/// Which records a selector holds on, by event and place: told once a record, unless it depends on the element.
struct Selected {
    by_element: bool,
    known: HashMap<(usize, usize), bool>,
}

impl Selected {
    fn new(selector: &warrantor_model::Selector) -> Self {
        let by_element = selector.0.iter().any(|comparison| comparison.path.is_none());
        Self { by_element, known: HashMap::new() }
    }

    fn or(&mut self, record: (usize, usize), judge: impl FnOnce() -> bool) -> bool {
        if self.by_element { judge() } else { *self.known.entry(record).or_insert_with(judge) }
    }
}

impl Traced {
    /// The class as if the person had not said the word.
    fn without_request(&self) -> Class {
        let mut without = self.clone();
        without.request = false;
        without.class()
    }
}

/// Judges a value that a person put in who approved the call. Where sources are stated `person` has to be one of them; else it is a value that comes from
/// elsewhere, and the person whose task it is may still be asked.
pub(crate) fn put_in_by_person(demand: &Demand<'_>) -> Sourced {
    let takes = |sources: &Option<Vec<Source>>| {
        sources.as_ref().is_none_or(|some| some.iter().any(|one| matches!(one, Source::Person | Source::Any)))
    };
    let Provenance { from, also_from, .. } = demand.provenance;
    if (demand.is_literal || takes(from)) && takes(also_from) {
        return Sourced::Pass;
    }
    otherwise(demand, Class::Elsewhere, "was put in by a person who approved this call")
}

fn otherwise(demand: &Demand<'_>, class: Class, told: &str) -> Sourced {
    let Otherwise { untrusted, elsewhere, computed } = demand.provenance.otherwise.unwrap_or_default();
    let (answer, why) = match class {
        Class::Untrusted => (untrusted, "occurs only where anyone may write"),
        Class::Elsewhere => (elsewhere, "comes from elsewhere in this task than it should"),
        Class::Computed => (computed, "was made by the agent"),
    };
    let text = cut_told(&format!("{why}: it {told}"));
    match answer {
        Answer::Pass => Sourced::Pass,
        Answer::Ask => Sourced::Ask(text),
        Answer::Deny => Sourced::Deny(text),
    }
}

fn cut_told(text: &str) -> String {
    match text.char_indices().nth(1200) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether a needle is the value, or one of its elements.
fn is_one_of(needle: &Needle, value: &Json) -> bool {
    match value {
        Json::Array(items) => items.iter().any(|item| is_one_of(needle, item)),
        value => needle.is_value(value),
    }
}

/// Whether a field's path names a place within its record.
fn names_place(path: &Path, instance: &Instance, place: &Place) -> bool {
    if place.root != instance.root {
        return false;
    }
    // In a map of records by name, `@keys` is the record's own name.
    if place.is_name && place.at == instance.at {
        return path.is_keys();
    }
    let below = place.at.get(instance.at.len()..).unwrap_or_default();
    names_location(path, below, place.is_name)
}

fn names_location(path: &Path, location: &[Step], is_name: bool) -> bool {
    match (path.segments().split_last(), is_name) {
        (Some((Segment::Keys, above)), true) => location
            .split_last()
            .is_some_and(|(_, holder)| Path::of(above.to_vec()).covers(holder) == Some(Coverage::Itself)),
        (Some((Segment::Keys, _)), false) | (_, true) => false,
        (_, false) => match path.covers(location) {
            Some(Coverage::Itself) => true,
            // A field that is a list is each of its elements.
            Some(Coverage::Container) => matches!(location.last(), Some(Step::Index(_))),
            None => false,
        },
    }
}

/// A selector on the names of records, as one on the member that stands for the name.
fn on_names(selector: &warrantor_model::Selector) -> warrantor_model::Selector {
    let member = Path::member("@keys");
    warrantor_model::Selector(
        selector
            .0
            .iter()
            .map(|one| warrantor_model::source::Comparison { path: Some(member.clone()), ..one.clone() })
            .collect(),
    )
}
