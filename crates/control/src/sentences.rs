//! A mandate in plain sentences, for the person who must answer for it.

use serde::Serialize;
use warrantor_decide::Snapshot;
use warrantor_model::{
    Answer, Asked, Bounds, EffectSet, Grant, Json, Limits, MandateKind, Match, Path, Selector, Source, Terms,
    ToolRef,
    mandate::Lifetime,
    source::{Compared, Operator},
};

/// A heading and what stands under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Section {
    /// What the lines are about; a sentence of its own.
    pub heading: String,
    /// The lines.
    pub lines: Vec<String>,
}

/// What a mandate allows, sentence by sentence.
#[must_use]
pub fn sentences(snapshot: &Snapshot, terms: &Terms) -> Vec<Section> {
    let mut sections = vec![who(terms)];
    let (asked, free): (Vec<&Grant>, Vec<&Grant>) =
        terms.grants.iter().partition(|grant| grant.ask.is_some());
    if !free.is_empty() {
        sections.push(Section {
            heading: format!("{} may, without asking:", terms.agent),
            lines: free.iter().flat_map(|grant| line(snapshot, terms, grant)).collect(),
        });
    }
    for grant in asked {
        let whom = match &grant.ask {
            Some(Asked::Group(group)) => format!("a person of {group}"),
            _ => terms.person.to_string(),
        };
        sections.push(Section {
            heading: format!("Only after {whom} has approved the very call:"),
            lines: line(snapshot, terms, grant),
        });
    }
    let over_all = limits(&terms.limits);
    if !over_all.is_empty() {
        sections.push(Section { heading: "Over the whole task:".to_owned(), lines: over_all });
    }
    sections.push(Section { heading: "Everything else is refused.".to_owned(), lines: Vec::new() });
    sections
}

fn who(terms: &Terms) -> Section {
    let heading = match terms.kind {
        MandateKind::Delegated => {
            format!("{} hands {} a task: {}.", terms.person, terms.agent, terms.purpose)
        }
        MandateKind::Standing => format!(
            "{} acts on its own, and {} answers for it: {}.",
            terms.agent, terms.sponsor, terms.purpose
        ),
    };
    let mut lines = Vec::new();
    if let Some(request) = &terms.request {
        lines.push(format!("In the person's words: “{request}”"));
    }
    for span in &terms.quoted {
        lines.push(format!("Of these words others wrote: “{span}”"));
    }
    for (name, value) in &terms.slots {
        lines.push(format!("{name} is {}.", plain(value)));
    }
    if terms.sponsor != terms.person {
        lines.push(format!("{} answers for what the agent does.", terms.sponsor));
    }
    lines.push(match terms.lifetime {
        Lifetime::For(duration) => format!("It ends {} after it is handed over.", length(duration.as_secs())),
        Lifetime::Until(instant) => format!("It ends at {instant}."),
    });
    if let Some(parent) = &terms.parent {
        lines.push(format!("It is a part of {parent}, and can do no more than that."));
    }
    match terms.depth {
        0 => lines.push("The agent may hand nothing on.".to_owned()),
        1 => lines.push(
            "The agent may hand parts of it on to another agent, which may not hand them on.".to_owned(),
        ),
        depth => lines.push(format!("The agent may hand parts of it on, {depth} times over.")),
    }
    Section { heading, lines }
}

fn length(seconds: u64) -> String {
    let units = [(86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, name) in units {
        let count = rest.checked_div(size).unwrap_or_default();
        rest = rest.checked_rem(size).unwrap_or_default();
        if count > 0 {
            parts.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    parts.join(" ")
}

/// One grant: the tools, then a line for each argument.
fn line(snapshot: &Snapshot, terms: &Terms, grant: &Grant) -> Vec<String> {
    let mut lines = vec![format!("• {}{}", tools(snapshot, &grant.matches), ending(&grant.limits))];
    for (path, bounds) in &grant.arguments {
        lines.push(format!("    {}: {}", argument(path), bounded(terms, bounds)));
    }
    for earlier in &grant.after {
        lines.push(format!(
            "    but only once {} has succeeded",
            call_text(&earlier.tool, &earlier.arguments)
        ));
    }
    lines
}

fn call_text(tool: &ToolRef, arguments: &[(Path, Json)]) -> String {
    if arguments.is_empty() {
        return tool.to_string();
    }
    let said: Vec<String> =
        arguments.iter().map(|(path, value)| format!("{path} {}", plain(value))).collect();
    format!("{tool} with {}", said.join(" and "))
}

fn tools(snapshot: &Snapshot, matches: &Match) -> String {
    match matches {
        Match::Tool(tool) => {
            let does = snapshot.tool(tool).map(|known| does(known.possible_effects()));
            format!("call {tool}, which {}", does.unwrap_or_else(|| "is not known".to_owned()))
        }
        Match::Effects { effects, servers, except } => {
            let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
            let except = match except.len() {
                0 => String::new(),
                _ => format!(
                    ", but not {}",
                    except.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
                ),
            };
            format!("call every tool of {} that only {}{except}", servers.join(" and "), does(*effects))
        }
    }
}

/// Effects as a person would say them.
fn does(effects: EffectSet) -> String {
    let words: Vec<&str> = effects
        .iter()
        .map(|effect| match effect.as_str() {
            "read" => "reads",
            "write" => "changes something",
            "egress" => "sends data out",
            "share" => "lets someone in",
            "destroy" => "removes something for good",
            "pay" => "moves money",
            "credential" => "touches passwords or keys",
            "execute" => "runs code",
            other => other,
        })
        .collect();
    words.join(" and ")
}

fn ending(limits: &Limits) -> String {
    let said = self::limits(limits);
    if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
}

fn limits(limits: &Limits) -> Vec<String> {
    let mut said = Vec::new();
    match limits.calls {
        Some(1) => said.push("once".to_owned()),
        Some(most) => said.push(format!("at most {most} times")),
        None => {}
    }
    said.extend(limits.sum.iter().map(|(path, most)| format!("{} at most {most} in all", argument(path))));
    said.extend(
        limits
            .distinct
            .iter()
            .map(|(path, most)| format!("at most {most} different values of {}", argument(path))),
    );
    said.extend(limits.unique.iter().map(|path| format!("each value of {} once", argument(path))));
    said
}

fn argument(path: &Path) -> String {
    if path.is_root() { "the arguments".to_owned() } else { path.to_string() }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("“{text}”"))
}

fn list(values: &[Json]) -> String {
    values.iter().map(plain).collect::<Vec<_>>().join(" or ")
}

/// The bounds of one argument and where its value has to come from.
fn bounded(terms: &Terms, bounds: &Bounds) -> String {
    let mut said = Vec::new();
    said.extend(bounds.equals.as_ref().map(|value| format!("exactly {}", plain(value))));
    said.extend(bounds.one_of.as_ref().map(|values| format!("one of {}", list(values))));
    said.extend(bounds.min.as_ref().map(|value| format!("at least {}", plain(value))));
    said.extend(bounds.max.as_ref().map(|value| format!("at most {}", plain(value))));
    said.extend(bounds.prefix.as_ref().map(|text| format!("beginning with “{text}”")));
    said.extend(bounds.glob.as_ref().map(|text| format!("fitting the pattern {text}")));
    said.extend(bounds.matches.as_ref().map(|text| format!("matching {text}")));
    said.extend(bounds.within.as_ref().map(|bases| format!("within {}", bases.join(" or "))));
    said.extend(bounds.host_in.as_ref().map(|hosts| format!("leading to {}", hosts.join(" or "))));
    said.extend(bounds.domain_in.as_ref().map(|domains| format!("of {}", domains.join(" or "))));
    said.extend(bounds.max_length.map(|most| format!("of at most {most} characters")));
    said.extend(bounds.max_items.map(|most| format!("with at most {most} entries")));
    if bounds.absent {
        said.push("left out or empty".to_owned());
    }
    if let Some(template) = &bounds.template {
        let holes = template.holes.iter().map(|(name, hole)| format!("{name} is {}", bounded(terms, hole)));
        said.push(format!("reading “{}”, where {}", template.text, holes.collect::<Vec<_>>().join(" and ")));
    }
    if bounds.required {
        said.push("always given".to_owned());
    }
    let mut text = if said.is_empty() { "anything".to_owned() } else { said.join(", ") };
    if let Some(from) = &bounds.provenance.from {
        text.push_str(&format!(", taken from {}", sources(terms, from)));
    }
    if let Some(also) = &bounds.provenance.also_from {
        text.push_str(&format!(", and found in {} as well", sources(terms, also)));
    }
    let any = bounds.provenance.from.as_ref().is_some_and(|from| from.contains(&Source::Any));
    if bounds.provenance.is_stated() && !any {
        text.push_str(&format!("; {}", otherwise(bounds)));
    }
    text
}

fn otherwise(bounds: &Bounds) -> String {
    let otherwise = bounds.provenance.otherwise.unwrap_or_default();
    let word = |answer: Answer| match answer {
        Answer::Pass => "let through",
        Answer::Ask => "asked about",
        Answer::Deny => "refused",
    };
    if otherwise.untrusted == otherwise.elsewhere && otherwise.elsewhere == otherwise.computed {
        return format!("anything else is {}", word(otherwise.untrusted));
    }
    format!(
        "what only strangers wrote is {}, what stands elsewhere in the task is {}, what the agent made is {}",
        word(otherwise.untrusted),
        word(otherwise.elsewhere),
        word(otherwise.computed)
    )
}

fn sources(terms: &Terms, sources: &[Source]) -> String {
    sources.iter().map(|source| source_text(terms, source)).collect::<Vec<_>>().join(" or ")
}

fn source_text(terms: &Terms, source: &Source) -> String {
    match source {
        Source::Request => "the person's words".to_owned(),
        Source::Slot(name) => match terms.slots.get(name) {
            Some(value) => format!("{name} ({})", plain(value)),
            None => name.clone(),
        },
        Source::Own => "the person's own addresses".to_owned(),
        Source::Person => "the person who approves the call".to_owned(),
        Source::Record(source) => {
            let which = if source.any_match { "any" } else { "the one" };
            format!("{} of {which} {}{}", source.path, source.record, selected(terms, &source.selector))
        }
        Source::Tool(source) => {
            let called = if source.arguments.0.is_empty() {
                String::new()
            } else {
                format!(" called with {}", compared(terms, &source.arguments))
            };
            let place = source
                .path
                .as_ref()
                .filter(|path| !path.is_root())
                .map(|path| format!("{path} in "))
                .unwrap_or_default();
            format!("{place}the answer of {}{called}{}", source.tool, selected(terms, &source.selector))
        }
        Source::Call { tool, argument } => format!("{argument} of an earlier call of {tool}"),
        Source::Computed => "the agent's own reckoning".to_owned(),
        Source::Any => "anywhere".to_owned(),
    }
}

fn selected(terms: &Terms, selector: &Selector) -> String {
    if selector.0.is_empty() { String::new() } else { format!(" whose {}", compared(terms, selector)) }
}

fn compared(terms: &Terms, selector: &Selector) -> String {
    let one = selector.0.iter().map(|comparison| {
        let field = comparison.path.as_ref().map_or_else(|| "value".to_owned(), ToString::to_string);
        let how = match comparison.operator {
            Operator::Equal => "is",
            Operator::Begins => "begins with",
            Operator::Contains => "contains",
            Operator::Host => "leads to",
        };
        let value = match &comparison.value {
            Compared::Text(text) => format!("“{text}”"),
            Compared::Own => "the person's own".to_owned(),
            Compared::Slot(name) => terms.slots.get(name).map_or_else(|| name.clone(), plain),
        };
        format!("{field} {how} {value}")
    });
    one.collect::<Vec<_>>().join(" and ")
}
