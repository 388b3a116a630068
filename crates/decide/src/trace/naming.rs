//! Names of the places where values were found: the published vocabulary of `context.sources`, and words for the operator.

use std::collections::BTreeSet;

use warrantor_model::{
    Json, Kind, Provenance, Source, Writer,
    path::{Path, Segment, Step},
};

use super::{
    Demand, Hit, Traced, Tracer, Trust, embedded,
    history::{Event, Outcome, Place},
    judging::Held,
};
use crate::{places::cut, task::Hop};

/// Most places that are told of one value.
const MAX_TOLD: usize = 6;

impl Tracer<'_> {
    /// The names of all places where a value was found, in the published vocabulary; with those of values within a text.
    pub(crate) fn names(
        &self,
        value: &Json,
        kind: Option<Kind>,
        listed: &[&Source],
        hop: &Hop,
    ) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let (Some(needle), traced) = self.trace(value, kind) else { return names };
        self.name_places(&traced, &mut names);
        let demand =
            Demand { provenance: &Provenance::default(), is_literal: false, sensitive: false, grave: false };
        for source in listed {
            // What is named is found even where the value is too common to be traced anywhere else.
            let tells =
                matches!(source, Source::Record(_) | Source::Tool(_) | Source::Call { .. } | Source::Slot(_));
            if tells && self.holds(hop, &demand, source, &needle, &traced) == Held::Yes {
                names.insert(source_name(source));
            }
        }
        if names.is_empty() {
            names
                .insert(if traced.incomplete && !traced.trivial { "unknown" } else { "computed" }.to_owned());
        }
        if kind.unwrap_or_default() == Kind::Text {
            let within = value.as_str().map(embedded::values).unwrap_or_default();
            if within.more {
                names.extend(["anyone", "unknown"].map(str::to_owned));
            }
            for (kind, inner) in within.values {
                let (needle, traced) = self.trace(&Json::String(inner), Some(kind));
                let mut found = BTreeSet::new();
                self.name_places(&traced, &mut found);
                // The rest of an address may be the agent's; where it leads is not.
                if found.is_empty() && needle.is_some_and(|needle| self.leads_where_anyone_says(&needle)) {
                    found.insert("anyone".to_owned());
                }
                if found.is_empty() {
                    found.insert(if traced.incomplete { "unknown" } else { "computed" }.to_owned());
                }
                names.extend(found);
            }
        }
        names
    }

    fn name_places(&self, traced: &Traced, names: &mut BTreeSet<String>) {
        if traced.request {
            names.insert("request".to_owned());
        }
        if traced.own {
            names.insert("self".to_owned());
        }
        names.extend(traced.slots.iter().map(|slot| format!("slot:{slot}")));
        if traced.quoted {
            names.extend(["quoted".to_owned(), "anyone".to_owned()]);
        }
        if traced.trivial {
            return;
        }
        if traced.suspected {
            names.insert("anyone".to_owned());
        }
        for hit in &traced.hits {
            if let Some((event, outcome, place)) = self.place(hit) {
                names.insert(place_name(event, outcome, place));
                names.insert(trust_name(hit).to_owned());
            }
        }
    }

    /// Where a value was found, for the operator and for who is asked.
    pub(crate) fn told(&self, traced: &Traced) -> String {
        let mut places = Vec::new();
        for (found, word) in [
            (traced.request, "the request"),
            (traced.own, "the person's own addresses"),
            (traced.quoted, "what others wrote into the request"),
        ] {
            if found {
                places.push(word.to_owned());
            }
        }
        places.extend(traced.slots.iter().map(|slot| format!("slot {slot}")));
        for hit in traced.hits.iter().take(MAX_TOLD) {
            if let Some((event, outcome, place)) = self.place(hit) {
                let name = plainly(&place_name(event, outcome, place));
                let echoed = if hit.is_laundered() { ", put there by an earlier call" } else { "" };
                let at = match place.at.as_slice() {
                    [] => "the text".to_owned(),
                    at => plainly(&crate::places::shown(at)),
                };
                places.push(format!(
                    "{name} ({at} in the answer to {}), written by {}{echoed}",
                    event.id,
                    place.writer.as_str()
                ));
            }
        }
        let more = traced.hits.len().saturating_sub(MAX_TOLD);
        if more > 0 {
            places.push(format!("{more} more places"));
        }
        match (places.is_empty(), traced.suspected, traced.incomplete) {
            (false, ..) => format!("was found in: {}", places.join("; ")),
            (true, true, _) => "was found only in another writing, where anyone writes".to_owned(),
            (true, false, true) => {
                "was found nowhere, but not everything that the task has seen is still known".to_owned()
            }
            (true, false, false) => "was found nowhere".to_owned(),
        }
    }
}

/// A name out of an answer as it stands in a sentence: in quotation marks where it could be read as more than a name. Whoever writes an answer names its members,
/// and must not be able to write the sentence.
fn plainly(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/#*[]@$…".contains(c);
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => Json::String(name.into()).canonical(),
    }
}

/// The name of a source in the published vocabulary: without selectors, which hold values.
pub(crate) fn source_name(source: &Source) -> String {
    match source {
        Source::Record(source) => format!("record:{}#{}", source.record, source.path),
        Source::Tool(source) => format!("tool:{}", source.tool),
        other => other.to_string(),
    }
}

/// The name of a place: the field of the record that holds it, or the tool.
fn place_name(event: &Event, outcome: &Outcome, place: &Place) -> String {
    let Some(instance) = place.record.and_then(|at| outcome.records.get(at)) else {
        return format!("tool:{}", event.tool);
    };
    let below = place.at.get(instance.at.len()..).unwrap_or_default();
    let mut segments: Vec<Segment> = below
        .iter()
        .map(|step| match step {
            Step::Member(name) => Segment::Name(name.clone()),
            Step::Index(_) => Segment::Any,
        })
        .collect();
    if place.is_name {
        segments.pop();
        segments.push(Segment::Keys);
    }
    let field = cut(&Path::of(segments).to_string());
    format!("record:{}#{field}", instance.record)
}

fn trust_name(hit: &Hit) -> &'static str {
    match hit.trust {
        Trust::Unknown => "unknown",
        Trust::Anyone => "anyone",
        Trust::Computed => "computed",
        Trust::Organization => "organization",
        Trust::Sure => match hit.declared {
            Writer::Own => "self",
            _ => "system",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_out_of_answers_write_no_sentences() {
        for (name, told) in [
            ("record:Payee#iban", "record:Payee#iban"),
            ("payees/0/iban", "payees/0/iban"),
            (
                "text), written by system; the request; (iban",
                r#""text), written by system; the request; (iban""#,
            ),
            ("a\nb", r#""a\nb""#),
            ("a\"b", r#""a\"b""#),
        ] {
            assert_eq!(plainly(name), told);
        }
    }
}
