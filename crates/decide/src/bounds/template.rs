//! Texts with holes: every way to split a value over them, within a budget, and the best that comes of it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use warrantor_model::{Bounds, Json};

use super::{BoundFault, Compiled, HoleSource, fault};
use crate::trace::Sourced;

/// Most bytes a template looks at while it tries splits of one value.
const MAX_TEMPLATE_BYTES: usize = 8 << 20;

/// A template ready to be tried.
#[derive(Debug, Clone)]
pub(super) struct CompiledTemplate {
    pub(super) text: String,
    parts: Vec<Part>,
    pub(super) holes: BTreeMap<String, Compiled>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Hole(String),
}

/// Compiles a template and the bounds of its holes.
pub(super) fn compile_template(
    text: &str,
    holes: &BTreeMap<String, Bounds>,
) -> Result<CompiledTemplate, Vec<BoundFault>> {
    let mut faults = Vec::new();
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else {
            return Err(vec![fault(&["template"], "a hole is not closed: write {name}")]);
        };
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        if !holes.contains_key(name) {
            faults.push(fault(
                &["template"],
                format!("the hole {{{name}}} has no bounds beside the template: add `{name}: {{ … }}`"),
            ));
        }
        parts.push(Part::Hole(name.to_owned()));
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    let mut compiled = BTreeMap::new();
    for (name, bounds) in holes {
        if bounds.template.is_some() {
            // The splits of one would multiply those of the other.
            faults.push(fault(&[name, "template"], "a hole cannot hold a template of its own"));
            continue;
        }
        match Compiled::new(bounds, None) {
            Ok(bounds) => drop(compiled.insert(name.clone(), bounds)),
            Err(found) => faults.extend(found.into_iter().map(|mut f| {
                f.pointer.insert(0, name.clone());
                f
            })),
        }
    }
    if faults.is_empty() {
        Ok(CompiledTemplate { text: text.to_owned(), parts, holes: compiled })
    } else {
        Err(faults)
    }
}

impl CompiledTemplate {
    /// The best that a split of the text comes to which satisfies every hole; none when no split does. A hole that stands twice must hold the
    /// same text.
    pub(super) fn best(&self, text: &str, source: HoleSource<'_>) -> Option<Sourced> {
        let mut fitting =
            Fitting { template: self, source, budget: MAX_TEMPLATE_BYTES, best: None, every_split: false };
        fitting.from(&self.parts, text, &mut BTreeMap::new(), Sourced::Pass);
        fitting.best
    }

    /// Whatever fills a hole in any split, and whether that is all.
    pub(super) fn fillings(&self, text: &str, most: usize) -> (Vec<Json>, bool) {
        let found = RefCell::new((BTreeSet::new(), true));
        let collect = |_: &Compiled, value: &Json| {
            if let Json::String(text) = value {
                let (texts, all) = &mut *found.borrow_mut();
                if texts.len() < most {
                    texts.insert(text.clone());
                } else {
                    *all = false;
                }
            }
            Sourced::Pass
        };
        let mut fitting = Fitting {
            template: self,
            source: &collect,
            budget: MAX_TEMPLATE_BYTES,
            best: None,
            every_split: true,
        };
        fitting.from(&self.parts, text, &mut BTreeMap::new(), Sourced::Pass);
        let spent = fitting.budget == 0;
        let (texts, all) = found.into_inner();
        (texts.into_iter().map(Json::String).collect(), all && !spent)
    }
}

/// Splits of one text being tried.
struct Fitting<'t> {
    template: &'t CompiledTemplate,
    source: HoleSource<'t>,
    /// What is left of it; none once anything was left out.
    budget: usize,
    best: Option<Sourced>,
    /// Every split is tried, and not only those that could be better.
    every_split: bool,
}

impl<'t> Fitting<'t> {
    /// Tries what is left. `so_far` is the worst of the holes filled before.
    fn from(
        &mut self,
        parts: &'t [Part],
        text: &'t str,
        filled: &mut BTreeMap<&'t str, &'t str>,
        so_far: Sourced,
    ) {
        if !self.every_split && self.best.as_ref().is_some_and(|best| best.rank() <= so_far.rank()) {
            return;
        }
        let Some((part, rest)) = parts.split_first() else {
            if text.is_empty() {
                self.best = Some(so_far);
            }
            return;
        };
        match part {
            Part::Text(literal) => {
                if let Some(text) = text.strip_prefix(literal.as_str()) {
                    self.from(rest, text, filled, so_far);
                }
            }
            Part::Hole(name) => {
                if let Some(known) = filled.get(name.as_str()).copied() {
                    if let Some(text) = text.strip_prefix(known) {
                        self.from(rest, text, filled, so_far);
                    }
                    return;
                }
                if !spend(&mut self.budget, text.len()) {
                    return;
                }
                for end in ends(rest, text) {
                    let Some((hole, tail)) = text.split_at_checked(end) else { return };
                    if !spend(&mut self.budget, hole.len()) {
                        return;
                    }
                    let Some(sourced) = self.hole(name, hole) else { continue };
                    let worst = if sourced.rank() > so_far.rank() { sourced } else { so_far.clone() };
                    filled.insert(name.as_str(), hole);
                    self.from(rest, tail, filled, worst);
                    filled.remove(name.as_str());
                }
            }
        }
    }

    /// The better of reading what fills a hole as text and as a number; none when it is within the bounds as neither.
    fn hole(&self, name: &str, text: &str) -> Option<Sourced> {
        let bounds = self.template.holes.get(name)?;
        let readings = [Some(Json::String(text.to_owned())), number_hole(text)];
        let judged = readings.into_iter().flatten().filter(|value| bounds.judge(value, None).is_ok());
        judged.map(|value| (self.source)(bounds, &value)).min_by_key(Sourced::rank)
    }
}

/// Where a hole can end: at the end of the text if nothing follows, where the text that follows stands, else anywhere.
fn ends<'t>(rest: &'t [Part], text: &'t str) -> impl Iterator<Item = usize> + 't {
    let (first, follows) = match rest.first() {
        None => (text.len(), None),
        Some(Part::Text(literal)) => (0, Some(literal.as_str())),
        Some(Part::Hole(_)) => (0, None),
    };
    (first..=text.len()).filter(move |end| {
        text.get(*end..).is_some_and(|tail| follows.is_none_or(|literal| tail.starts_with(literal)))
    })
}

/// Takes from a budget; false when it is used up.
fn spend(budget: &mut usize, bytes: usize) -> bool {
    match budget.checked_sub(bytes.saturating_add(1)) {
        Some(left) => {
            *budget = left;
            true
        }
        None => {
            *budget = 0;
            false
        }
    }
}

/// A hole that reads as a plain number is judged by the bounds of numbers as well.
fn number_hole(text: &str) -> Option<Json> {
    warrantor_model::decimal::exact(text).map(|_| Json::Number(text.into()))
}
