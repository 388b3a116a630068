//! What a task has seen and done: its calls with their arguments, and the results that were released to it, taken apart into places.
//!
//! An event never changes once it is taken in. A history is a list of shared events, so that one that goes on costs no copy of what was before.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use memchr::memmem::Finder;
use warrantor_model::{
    Digest, EffectSet, FieldRule, Json, Kind, Person, RecordKey, RecordType, TextForm, Tool, ToolRef, Writer,
    WriterRule,
    path::{Coverage, Location, Segment, Step, walk},
};

use super::{loose::push_loose, selecting};
use crate::{
    kind::canonical,
    places::{deepest, deepest_keys},
    snapshot::Snapshot,
};

/// Most places of one result that are kept; of a larger one it is known only that something was there.
const MAX_PLACES: usize = 200_000;
/// Most bytes of names on the ways to all places of one result: each place keeps its own way.
const MAX_WAYS: usize = 32 << 20;
/// Most leaves of one call's arguments that are kept.
const MAX_LEAVES: usize = 20_000;

/// The label of a task that has read a value whose writer is anyone.
pub const UNTRUSTED: &str = "untrusted";

/// Everything a task has seen and done, in the order in which it was released.
#[derive(Debug, Clone, Default)]
pub struct History {
    events: Vec<Arc<Event>>,
    forgotten: bool,
}

/// One call or one result.
#[derive(Debug)]
pub struct Event {
    pub(crate) id: String,
    pub(crate) tool: ToolRef,
    pub(crate) what: What,
}

/// A result as it is released.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// The structured content.
    pub structured: Option<Json>,
    /// The texts, in order.
    pub texts: Vec<String>,
    /// Whatever else it holds, as text: links, embedded resources, metadata. Anyone may have written it.
    pub others: Vec<String>,
    /// Whether it tells of a failure; then anyone may have written it.
    pub error: bool,
}

#[derive(Debug)]
pub(crate) enum What {
    Call(Call),
    Result(Outcome),
}

/// A call, whether it passed or not.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) arguments: Json,
    pub(crate) effects: EffectSet,
    pub(crate) passed: bool,
    /// The loose forms of its values, each ended by a line break.
    pub(crate) loose: String,
    /// Tells calls of the same arguments.
    pub(crate) form: Digest,
}

/// A result, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) values: Vec<Json>,
    pub(crate) places: Vec<Place>,
    pub(crate) records: Vec<Instance>,
    pub(crate) error: bool,
    pub(crate) labels: BTreeSet<String>,
    /// More was in it than is kept.
    pub(crate) cut: bool,
    loose: String,
    /// Where each place begins in `loose`.
    starts: Vec<usize>,
}

/// One value in a result.
#[derive(Debug)]
pub(crate) struct Place {
    /// Which of the result's values it stands in: the structured content, or a text.
    pub(crate) root: usize,
    pub(crate) at: Location,
    pub(crate) leaf: Json,
    pub(crate) kind: Option<Kind>,
    pub(crate) writer: Writer,
    /// The record that holds it.
    pub(crate) record: Option<usize>,
    /// It is the name of a member.
    pub(crate) is_name: bool,
}

/// One record in a result.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) root: usize,
    pub(crate) at: Location,
    pub(crate) record: String,
    pub(crate) key: Option<String>,
}

impl History {
    /// The history with one more event.
    #[must_use]
    pub fn with(mut self, event: Event) -> Self {
        self.push(event);
        self
    }

    /// A history of these events, in order.
    #[must_use]
    pub fn of(events: Vec<Arc<Event>>) -> Self {
        Self { events, forgotten: false }
    }

    /// Takes an event in, as the last one.
    pub fn push(&mut self, event: Event) {
        self.events.push(Arc::new(event));
    }

    /// Says that something the task has seen is not known any more.
    pub fn forget(&mut self) {
        self.forgotten = true;
    }

    /// How many events are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing is known to have happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.forgotten
    }

    /// Labels of the results that are known.
    #[must_use]
    pub fn labels(&self) -> BTreeSet<String> {
        self.results().flat_map(|(_, _, outcome)| outcome.labels.iter().cloned()).collect()
    }

    /// How many bytes a search goes through.
    pub(crate) fn searched_bytes(&self) -> usize {
        let bytes = |event: &Arc<Event>| match &event.what {
            What::Call(call) => call.loose.len(),
            What::Result(outcome) => outcome.loose.len(),
        };
        self.events.iter().map(bytes).fold(0, usize::saturating_add)
    }

    pub(crate) fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    /// Whether something the task has seen is not here.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.forgotten || self.results().any(|(_, _, outcome)| outcome.cut)
    }

    pub(crate) fn results(&self) -> impl DoubleEndedIterator<Item = (usize, &Event, &Outcome)> {
        self.events.iter().enumerate().filter_map(|(at, event)| match &event.what {
            What::Result(outcome) => Some((at, &**event, outcome)),
            What::Call(_) => None,
        })
    }

    /// The calls of a tool that passed, the last first: the decision and the arguments of each.
    pub fn passed_calls<'a>(&'a self, tool: &'a ToolRef) -> impl Iterator<Item = (&'a str, &'a Json)> {
        self.events.iter().rev().filter_map(move |event| match &event.what {
            What::Call(call) if call.passed && event.tool == *tool => {
                Some((event.id.as_str(), &call.arguments))
            }
            _ => None,
        })
    }

    /// The arguments of the call that a result answers.
    pub(crate) fn call_of(&self, result: &Event) -> Option<&Call> {
        self.events.iter().find_map(|event| match &event.what {
            What::Call(call) if event.id == result.id => Some(call),
            _ => None,
        })
    }
}

impl Event {
    /// The decision it belongs to.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The labels that a result brings to its task; none of a call.
    #[must_use]
    pub fn labels(&self) -> BTreeSet<String> {
        match &self.what {
            What::Call(_) => BTreeSet::new(),
            What::Result(outcome) => outcome.labels.clone(),
        }
    }
}

impl Outcome {
    /// The places in whose loose form one of these occurs.
    pub(crate) fn candidates(&self, needles: &[Finder<'_>]) -> Vec<usize> {
        let mut found = Vec::new();
        for needle in needles {
            for at in needle.find_iter(self.loose.as_bytes()) {
                found.push(self.starts.partition_point(|start| *start <= at).saturating_sub(1));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Snapshot {
    /// A call, to be taken into its task's history.
    #[must_use]
    pub fn call_event(&self, id: &str, tool: &ToolRef, arguments: &Json, passed: bool) -> Event {
        let effects = self.tool(tool).map(|known| self.effects(known, arguments)).unwrap_or_default();
        let mut loose = String::new();
        let mut leaves = 0usize;
        walk(arguments, &mut Vec::new(), &mut |location, value| {
            if let Some(Step::Member(name)) = location.last()
                && leaves < MAX_LEAVES
            {
                push_loose(name, &mut loose);
            }
            if leaves < MAX_LEAVES && !matches!(value, Json::Object(_) | Json::Array(_) | Json::Null) {
                push_loose(&scalar_text(value), &mut loose);
                leaves = leaves.saturating_add(1);
            }
        });
        let call = Call { arguments: arguments.clone(), effects, passed, loose, form: arguments.digest() };
        Event { id: id.to_owned(), tool: tool.clone(), what: What::Call(call) }
    }

    /// A result, to be taken into its task's history. `person` is whom the task acts for.
    #[must_use]
    pub fn result_event(&self, id: &str, tool: &ToolRef, output: &Output, person: Option<&Person>) -> Event {
        let facts = self.facts(tool);
        let empty = BTreeMap::new();
        let records = self.manifest(&tool.server).map_or(&empty, |manifest| &manifest.records);
        let outcome = Outcome { error: output.error, ..Outcome::default() };
        let mut taking = Taking {
            tool: facts.map(|facts| &facts.tool),
            records,
            person,
            outcome,
            found: HashMap::new(),
            is_undescribed: Cell::new(output.error),
            ways: 0,
        };
        taking.take(output);
        Event { id: id.to_owned(), tool: tool.clone(), what: What::Result(taking.outcome) }
    }

    /// A result of which only that it was is known: it brings every label that the tool could bring.
    #[must_use]
    pub fn lost_result_event(&self, id: &str, tool: &ToolRef) -> Event {
        let mut labels = BTreeSet::from([UNTRUSTED.to_owned()]);
        if let (Some(facts), Some(manifest)) = (self.facts(tool), self.manifest(&tool.server)) {
            labels.extend(possible_labels(&facts.tool, &manifest.records));
        }
        let outcome = Outcome { labels, cut: true, ..Outcome::default() };
        Event { id: id.to_owned(), tool: tool.clone(), what: What::Result(outcome) }
    }
}

/// Every label that a result of the tool could bring.
fn possible_labels(tool: &Tool, records: &BTreeMap<String, RecordType>) -> BTreeSet<String> {
    let outputs = tool.outputs.values().flat_map(|rule| &rule.labels);
    let returned = tool.returns.iter().filter_map(|(_, record)| records.get(record));
    let returned = returned
        .flat_map(|record| record.labels.iter().chain(record.fields.values().flat_map(|rule| &rule.labels)));
    outputs.chain(returned).cloned().collect()
}

/// A scalar as text: numbers as they compare.
pub(crate) fn scalar_text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(literal) => {
            value.as_decimal().map_or_else(|| literal.to_string(), |n| n.normalize().to_string())
        }
        other => other.to_string(),
    }
}

/// Takes one result apart.
struct Taking<'a> {
    tool: Option<&'a Tool>,
    records: &'a BTreeMap<String, RecordType>,
    person: Option<&'a Person>,
    outcome: Outcome,
    /// Records by where they are.
    found: HashMap<(usize, Location), usize>,
    /// Something in it is not where the manifest describes anything.
    is_undescribed: Cell<bool>,
    /// How many bytes the ways to its places have.
    ways: usize,
}

impl Taking<'_> {
    fn take(&mut self, output: &Output) {
        if let Some(structured) = &output.structured {
            self.value(structured.clone());
        }
        // What the texts may say again, so that it is looked up and not compared with everything.
        let said =
            output.structured.as_ref().filter(|_| !output.texts.is_empty()).map(Said::of).unwrap_or_default();
        for text in &output.texts {
            let parsed = Json::parse(text.as_bytes()).ok();
            if said.has(text, parsed.as_ref()) {
                continue;
            }
            match (self.tool.map(|tool| tool.text), parsed) {
                (Some(TextForm::Json), Some(value)) => self.value(value),
                (Some(TextForm::Json), None) => self.plain(text, Some(Writer::Anyone)),
                _ => self.plain(text, None),
            }
        }
        for other in &output.others {
            match Json::parse(other.as_bytes()) {
                Ok(value) => self.value_written(value, Some(Writer::Anyone)),
                Err(_) => self.plain(other, Some(Writer::Anyone)),
            }
        }
        // An error, or an answer in another form than the manifest says, may hold what the described one holds.
        if let Some(tool) = self.tool.filter(|_| self.is_undescribed.get() || self.outcome.cut) {
            self.outcome.labels.extend(possible_labels(tool, self.records));
        }
        if self.outcome.places.iter().any(|place| place.writer == Writer::Anyone && !place.leaf.is_null())
            || self.outcome.cut
        {
            self.outcome.labels.insert(UNTRUSTED.to_owned());
        }
    }

    fn plain(&mut self, text: &str, writer: Option<Writer>) {
        self.value_written(Json::String(text.to_owned()), writer);
    }

    fn value(&mut self, value: Json) {
        self.value_written(value, None);
    }

    fn value_written(&mut self, value: Json, writer: Option<Writer>) {
        let root = self.outcome.values.len();
        if !self.outcome.error && writer.is_none() {
            self.find_records(root, &value);
        }
        let mut found = Vec::new();
        walk(&value, &mut Vec::new(), &mut |location, leaf| {
            let way = location.iter().map(|step| match step {
                Step::Member(name) => name.len(),
                Step::Index(_) => 0,
            });
            let way = way.fold(0, usize::saturating_add);
            self.ways = self.ways.saturating_add(way.saturating_mul(2));
            if found.len() >= MAX_PLACES || self.ways > MAX_WAYS {
                self.outcome.cut = true;
                return;
            }
            if let Some(Step::Member(name)) = location.last() {
                found.extend(self.name(root, location, name, &value, writer));
            }
            let nothing = leaf.is_null() || leaf.is_empty_value();
            if !nothing && !matches!(leaf, Json::Object(_) | Json::Array(_)) {
                found.push(self.leaf(root, location, leaf, &value, writer));
            }
        });
        for (place, labels) in found {
            self.outcome.labels.extend(labels);
            self.outcome.starts.push(self.outcome.loose.len());
            push_loose(&scalar_text(&place.leaf), &mut self.outcome.loose);
            self.outcome.places.push(place);
        }
        self.outcome.values.push(value);
    }

    /// The records that a value holds, by what the manifest says the tool returns.
    fn find_records(&mut self, root: usize, value: &Json) {
        let Some(tool) = self.tool else { return };
        if tool.returns.is_empty() {
            return;
        }
        let mut found: Vec<Instance> = Vec::new();
        walk(value, &mut Vec::new(), &mut |location, here| {
            for (path, name) in
                tool.returns.iter().filter(|(path, _)| path.covers(location) == Some(Coverage::Itself))
            {
                let Some(record) = self.records.get(name) else { continue };
                let named = matches!(record.key, Some(RecordKey::Name));
                let instance = |at: Location, key| Instance { root, at, record: name.clone(), key };
                match (named, here, path.segments().last(), location.last()) {
                    // A map of records by name: each member is one, unless the path has gone down to the members itself.
                    (true, _, Some(Segment::Any | Segment::Deep), Some(Step::Member(key))) => {
                        found.push(instance(location.to_vec(), Some(key.clone())));
                    }
                    (true, Json::Object(members), ..) => found.extend(members.iter().map(|(key, _)| {
                        instance([location, &[Step::Member(key.clone())]].concat(), Some(key.clone()))
                    })),
                    _ => found.push(instance(location.to_vec(), key_of(record, here))),
                }
            }
        });
        if found.len() > MAX_PLACES {
            found.truncate(MAX_PLACES);
            self.outcome.cut = true;
        }
        for instance in found {
            if let Some(record) = self.records.get(&instance.record) {
                self.outcome.labels.extend(record.labels.iter().cloned());
            }
            self.found.insert((root, instance.at.clone()), self.outcome.records.len());
            self.outcome.records.push(instance);
        }
    }

    /// The innermost record that holds a location.
    fn record_at(&self, root: usize, location: &[Step]) -> Option<usize> {
        if self.found.is_empty() {
            return None;
        }
        (0..=location.len())
            .rev()
            .find_map(|length| self.found.get(&(root, location.get(..length)?.to_vec())).copied())
    }

    fn leaf(
        &self,
        root: usize,
        location: &[Step],
        leaf: &Json,
        value: &Json,
        writer: Option<Writer>,
    ) -> (Place, BTreeSet<String>) {
        let record = self.record_at(root, location);
        let (rules, below): (Option<&BTreeMap<_, FieldRule>>, &[Step]) = self.rules(record, location);
        let speaking: Vec<&FieldRule> = rules
            .map(|rules| deepest(rules.iter(), below).into_iter().map(|(_, rule)| rule).collect())
            .unwrap_or_default();
        let (writer, labels) = self.judge(&speaking, root, record, value, writer);
        let kind = speaking.iter().find_map(|rule| rule.kind);
        let place =
            Place { root, at: location.to_vec(), leaf: leaf.clone(), kind, writer, record, is_name: false };
        (place, labels)
    }

    /// The name of a member is a value too, unless the manifest names it: it says what somebody chose.
    fn name(
        &self,
        root: usize,
        location: &[Step],
        name: &str,
        value: &Json,
        writer: Option<Writer>,
    ) -> Option<(Place, BTreeSet<String>)> {
        let (_, holder) = location.split_last()?;
        // In a map of records by name, the name is the record's.
        let own = self.found.get(&(root, location.to_vec())).copied().filter(|at| {
            let instance = self.outcome.records.get(*at);
            instance.is_some_and(|i| i.key.as_deref() == Some(name) && self.keyed_by_name(&i.record))
        });
        let record = own.or_else(|| self.record_at(root, holder));
        let (rules, below) = match own {
            Some(_) => (self.rules(own, location).0, &[] as &[Step]),
            None => self.rules(record, holder),
        };
        let known = |rules: &BTreeMap<warrantor_model::Path, FieldRule>, at: &[Step]| {
            let here: Location = [at, &[Step::Member(name.to_owned())]].concat();
            rules.keys().any(|path| names_literally(path.segments(), &here))
        };
        let returned = |at: &[Step]| {
            let here: Location = [at, &[Step::Member(name.to_owned())]].concat();
            self.tool.is_some_and(|tool| {
                tool.returns.iter().any(|(path, _)| names_literally(path.segments(), &here))
            })
        };
        if rules.is_some_and(|rules| known(rules, below))
            || returned(holder)
            || self.is_field_name(root, location)
        {
            return None;
        }
        let speaking: Vec<&FieldRule> = match rules {
            Some(rules) => {
                let keys = deepest_keys(rules.iter(), below);
                let whole = || {
                    rules
                        .iter()
                        .filter(|(path, _)| covers_all(path.segments()))
                        .map(|(_, rule)| rule)
                        .collect()
                };
                if keys.is_empty() { whole() } else { keys }
            }
            None => Vec::new(),
        };
        let (writer, labels) = self.judge(&speaking, root, record, value, writer);
        let kind = speaking.iter().find_map(|rule| rule.kind);
        let leaf = Json::String(name.to_owned());
        Some((Place { root, at: location.to_vec(), leaf, kind, writer, record, is_name: true }, labels))
    }

    fn keyed_by_name(&self, record: &str) -> bool {
        self.records.get(record).is_some_and(|record| record.key == Some(RecordKey::Name))
    }

    /// Whether a member name is one that a record's type fixes: the key of a map of records is not.
    fn is_field_name(&self, root: usize, location: &[Step]) -> bool {
        let Some((Step::Member(name), holder)) = location.split_last() else { return false };
        let Some(instance) = self.record_at(root, holder).and_then(|at| self.outcome.records.get(at)) else {
            return false;
        };
        let Some(record) = self.records.get(&instance.record) else { return false };
        let below = holder.get(instance.at.len()..).unwrap_or_default();
        let here: Location = [below, &[Step::Member(name.clone())]].concat();
        record.fields.keys().any(|path| names_literally(path.segments(), &here))
    }

    /// The rules that speak for a location, and the location as they see it.
    fn rules<'b>(
        &self,
        record: Option<usize>,
        location: &'b [Step],
    ) -> (Option<&BTreeMap<warrantor_model::Path, FieldRule>>, &'b [Step]) {
        match record.and_then(|at| self.outcome.records.get(at)) {
            Some(instance) => {
                let fields = self.records.get(&instance.record).map(|record| &record.fields);
                (fields, location.get(instance.at.len()..).unwrap_or_default())
            }
            None => (self.tool.map(|tool| &tool.outputs), location),
        }
    }

    /// The weakest writer of the rules that speak, and their labels.
    fn judge(
        &self,
        speaking: &[&FieldRule],
        root: usize,
        record: Option<usize>,
        value: &Json,
        written: Option<Writer>,
    ) -> (Writer, BTreeSet<String>) {
        if self.outcome.error {
            return (Writer::Anyone, BTreeSet::new());
        }
        if speaking.is_empty() {
            self.is_undescribed.set(true);
        }
        let labels = speaking.iter().flat_map(|rule| rule.labels.iter().cloned()).collect();
        if let Some(writer) = written {
            return (writer, labels);
        }
        let writer = speaking.iter().map(|rule| self.writer(&rule.writer, root, record, value)).min();
        (writer.unwrap_or(Writer::Anyone), labels)
    }

    fn writer(&self, rule: &WriterRule, root: usize, record: Option<usize>, value: &Json) -> Writer {
        match rule {
            WriterRule::Always(writer) => *writer,
            WriterRule::Depends { when, otherwise } => {
                let instance = record
                    .and_then(|at| self.outcome.records.get(at))
                    .filter(|instance| instance.root == root);
                let held = instance.and_then(|instance| selecting::at(value, &instance.at)).unwrap_or(value);
                let rules = instance.and_then(|instance| self.records.get(&instance.record));
                let kind = |path: &[Step]| {
                    rules.and_then(|record| {
                        deepest(record.fields.iter(), path).into_iter().find_map(|(_, rule)| rule.kind)
                    })
                };
                let referred = selecting::Referred { person: self.person, slots: None };
                let chosen = when
                    .iter()
                    .find(|(selector, _)| selecting::holds(selector, held, None, &kind, &referred))
                    .map_or(*otherwise, |(_, writer)| *writer);
                // Whether a condition holds cannot be told of a field that is not there: it may be either.
                let untold = when.iter().filter(|(selector, _)| {
                    let mut paths = selector.0.iter().filter_map(|one| one.path.as_ref());
                    paths.any(|path| path.select(held).is_empty())
                });
                untold.map(|(_, writer)| *writer).chain([chosen]).min().unwrap_or(Writer::Anyone)
            }
        }
    }
}

/// Whether a path names a location by its last step literally.
fn names_literally(segments: &[Segment], location: &[Step]) -> bool {
    // A path that goes on below the location names it on its way.
    (1..=segments.len()).any(|length| {
        let head = segments.get(..length).unwrap_or_default();
        matches!(head.last(), Some(Segment::Name(_)))
            && warrantor_model::Path::of(head.to_vec()).covers(location) == Some(Coverage::Itself)
    })
}

fn covers_all(segments: &[Segment]) -> bool {
    segments.iter().all(|segment| *segment == Segment::Deep)
}

/// What tells a record apart, in the form of its field's kind.
fn key_of(record: &RecordType, value: &Json) -> Option<String> {
    let Some(RecordKey::Field(field)) = &record.key else { return None };
    let found = value.get(field)?;
    if matches!(found, Json::Null | Json::Object(_) | Json::Array(_)) {
        return None;
    }
    let kind = deepest(record.fields.iter(), &[Step::Member(field.clone())])
        .into_iter()
        .find_map(|(_, rule)| rule.kind);
    let text = scalar_text(found);
    Some(kind.and_then(|kind| canonical(kind, &text).ok()).unwrap_or(text))
}

/// What a value and its parts say: a text that only repeats one of them is not a second place.
#[derive(Default)]
struct Said {
    texts: HashSet<String>,
    values: HashSet<String>,
}

impl Said {
    fn of(structured: &Json) -> Self {
        let mut said = Self::default();
        walk(structured, &mut Vec::new(), &mut |_, value| {
            if let Json::String(text) = value {
                said.texts.insert(text.clone());
            }
            // Each part is written once more for each container around it; deep parts of large values are left out and count as said anew.
            if said.values.len() < MAX_SAID {
                said.values.insert(value.canonical());
            }
        });
        said
    }

    fn has(&self, text: &str, parsed: Option<&Json>) -> bool {
        self.texts.contains(text) || parsed.is_some_and(|parsed| self.values.contains(&parsed.canonical()))
    }
}

/// Most parts of a structured result that texts are compared with as JSON.
const MAX_SAID: usize = 50_000;
