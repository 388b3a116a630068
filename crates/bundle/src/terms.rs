//! A mandate's document into terms.

use std::collections::BTreeMap;

use warrantor_model::{
    AgentId, Answer, Bounds, EffectSet, Grant, GroupName, Json, Limits, Match, Offer, Otherwise, Path,
    PersonId, Provenance, Source, Terms, ToolName, ToolRef,
    mandate::{Asked, Lifetime, TextTemplate},
    time::parse_duration,
};

use crate::{
    doc::{Doc, without_error},
    earlier,
    files::mandate::{BoundsEntry, GrantEntry, LimitsEntry, MandateFile},
    open::{Open, SOME_AGENT, SOMEBODY, Taken},
    read::{self, nearest},
    report::{Report, Severity},
    tree::{Content, Entry, Node, Pointer, short},
    values::{OneOrMany, Value},
};

/// The fields of bounds. Whatever else stands beside a template is a hole.
pub(crate) const BOUND_FIELDS: [&str; 19] = [
    "equals",
    "in",
    "min",
    "max",
    "prefix",
    "glob",
    "matches",
    "within",
    "host_in",
    "domain_in",
    "max_length",
    "max_items",
    "absent",
    "ignore_case",
    "required",
    "template",
    "from",
    "also_from",
    "otherwise",
];

/// The terms a mandate's document states. Checked against nothing but themselves: `decide` compiles them against tools and people.
///
/// # Errors
/// Everything that is wrong with the document; without lines, for a document from a store has none.
pub fn terms_from_document(document: &Json) -> Result<Terms, Report> {
    let mut report = Report::default();
    let mut doc = Doc::of_json("mandate", document);
    let terms = read_closed(&mut doc, &mut report);
    match terms {
        Some(terms) if report.is_passed() => Ok(terms),
        _ => Err(report),
    }
}

/// Reads the document of a mandate that leaves nothing open.
pub(crate) fn read_closed(doc: &mut Doc, report: &mut Report) -> Option<Terms> {
    let (terms, open) = read_terms(doc, report)?;
    if open.is_closed() {
        return Some(terms);
    }
    let message = format!("the mandate leaves open: {}", open.words());
    doc.error(report, &[] as &[&str], message, "say it");
    None
}

/// Reads the document of a mandate, and what it leaves open. What is wrong is in the report; then there are no terms.
pub(crate) fn read_terms(doc: &mut Doc, report: &mut Report) -> Option<(Terms, Open)> {
    let mut terms = None;
    let sound = without_error(report, |report| {
        terms = doc
            .read::<MandateFile>(report)
            .and_then(|file| Reader { doc, report, slots: BTreeMap::new() }.terms(file));
    });
    terms.filter(|_| sound)
}

struct Reader<'a> {
    doc: &'a Doc,
    report: &'a mut Report,
    /// The values of slots, for what refers to them.
    slots: BTreeMap<String, Json>,
}

/// A pointer one step longer.
fn below(pointer: &[String], steps: &[&str]) -> Pointer {
    pointer.iter().cloned().chain(steps.iter().map(|step| (*step).to_owned())).collect()
}

impl Reader<'_> {
    fn error(&mut self, pointer: &[String], message: impl Into<String>, cure: impl Into<String>) {
        self.doc.error(self.report, pointer, message, cure);
    }

    fn terms(&mut self, file: MandateFile) -> Option<(Terms, Open)> {
        if file.purpose.trim().is_empty() {
            self.error(
                &below(&[], &["purpose"]),
                "the purpose is empty",
                "say in a line what the task is for",
            );
        }
        let words = file.request.as_deref().unwrap_or_default();
        for (at, span) in file.quoted.iter().enumerate() {
            if span.trim().is_empty() || !words.contains(span.as_str()) {
                let pointer = below(&[], &["quoted", &at.to_string()]);
                let message = "the span does not stand in the request as it is written here";
                self.error(&pointer, message, "copy it from the request, character by character");
            }
        }
        if file.grants.is_empty() {
            self.doc.warn(
                self.report,
                &["grants"],
                "nothing is granted, so every call is denied",
                "add a grant",
            );
        }
        let lifetime = self.lifetime(&file);
        let limits = self.limits(&[], file.limits);
        let slots: BTreeMap<String, Json> =
            file.slots.into_iter().map(|(name, Value(value))| (name, value)).collect();
        self.slots = slots;
        let mut open =
            Open { person: file.person.is_none(), agent: file.agent.is_none(), takes: BTreeMap::new() };
        for (name, entry) in file.takes {
            match Taken::of(entry) {
                Ok(_) if self.slots.contains_key(&name) => {
                    let message = format!("the slot {name} has a value already");
                    self.error(&below(&[], &["takes", &name]), message, "keep one of the two");
                }
                Ok(taken) => {
                    self.slots.insert(name.clone(), taken.sample());
                    open.takes.insert(name, taken);
                }
                Err((field, why)) => {
                    self.error(&below(&[], &["takes", &name, field]), why, "correct it, or leave it out");
                }
            }
        }
        let person = match file.person {
            Some(person) => person,
            None => PersonId::new(SOMEBODY).ok()?,
        };
        let agent = match file.agent {
            Some(agent) => agent,
            None => AgentId::new(SOME_AGENT).ok()?,
        };
        let grants: Vec<Option<Grant>> =
            file.grants.into_iter().enumerate().map(|(at, grant)| self.grant(at, grant)).collect();
        let terms = Terms {
            template: file.id,
            parent: file.parent.0,
            kind: file.kind,
            sponsor: file.sponsor.unwrap_or_else(|| person.clone()),
            person,
            agent,
            purpose: file.purpose,
            request: file.request,
            quoted: file.quoted,
            slots: std::mem::take(&mut self.slots),
            lifetime: lifetime?,
            depth: file.delegation.depth,
            limits,
            grants: grants.into_iter().collect::<Option<_>>()?,
        };
        Some((terms, open))
    }

    fn lifetime(&mut self, file: &MandateFile) -> Option<Lifetime> {
        match (&file.expires_in, file.expires_at) {
            (Some(text), None) => match parse_duration(text) {
                Ok(duration) => Some(Lifetime::For(duration)),
                Err(cause) => {
                    let (what, cure) = read::split_cure(&cause.to_string());
                    self.error(&below(&[], &["expires_in"]), what, cure.unwrap_or_default());
                    None
                }
            },
            (None, Some(instant)) => Some(Lifetime::Until(instant)),
            (Some(_), Some(_)) => {
                let message = "the mandate ends twice: `expires_in` and `expires_at` are both given";
                self.error(&below(&[], &["expires_at"]), message, "keep one of the two");
                None
            }
            (None, None) => {
                self.error(
                    &[],
                    "the mandate has no end",
                    "add `expires_in: 30m` or `expires_at: …`: no authority is standing",
                );
                None
            }
        }
    }

    fn limits(&mut self, above: &[String], entry: LimitsEntry) -> Limits {
        for (path, most) in &entry.sum {
            if most.0.is_sign_negative() && !most.0.is_zero() {
                let pointer = below(above, &["limits", "sum", &path.to_string()]);
                self.error(
                    &pointer,
                    format!("a sum of at most {} admits nothing", most.0),
                    "write a number that is not negative",
                );
            }
        }
        Limits {
            calls: entry.calls,
            sum: entry.sum.into_iter().map(|(path, most)| (path, most.0)).collect(),
            distinct: entry.distinct,
            unique: entry.unique.into_iter().collect(),
        }
    }

    fn grant(&mut self, at: usize, entry: GrantEntry) -> Option<Grant> {
        let here = below(&[], &["grants", &at.to_string()]);
        let matches = self.matches(&here, &entry);
        let arguments: Vec<Option<(Path, Bounds)>> =
            entry.arguments.keys().map(|path| self.argument(&here, path)).collect();
        let ask = match &entry.ask {
            Some(text) => Some(self.asked(&here, text)?),
            None => None,
        };
        let mut after = Vec::new();
        for (nth, text) in entry.after.iter().enumerate() {
            match earlier::parse(text, &self.slots) {
                Ok(call) => after.push(call),
                Err(cause) => {
                    self.error(&below(&here, &["after", &nth.to_string()]), cause.message, cause.cure);
                }
            }
        }
        let limits = self.limits(&here, entry.limits);
        Some(Grant {
            matches: matches?,
            arguments: arguments.into_iter().collect::<Option<_>>()?,
            limits,
            ask,
            after,
        })
    }

    fn matches(&mut self, here: &[String], entry: &GrantEntry) -> Option<Match> {
        let named = self.named(here, entry)?;
        match (named, &entry.effects, &entry.servers) {
            (Some(tool), None, None) => match &entry.except {
                None => Some(Match::Tool(tool)),
                Some(_) => {
                    self.error(
                        &below(here, &["except"]),
                        "`except` takes tools out of an effects grant, and this grant names one tool",
                        "remove it",
                    );
                    None
                }
            },
            (None, Some(effects), Some(servers)) => {
                for (field, empty) in [("effects", effects.is_empty()), ("servers", servers.is_empty())] {
                    if empty {
                        self.error(
                            &below(here, &[field]),
                            format!("`{field}` is empty, so the grant matches nothing"),
                            "name at least one",
                        );
                    }
                }
                Some(Match::Effects {
                    effects: effects.iter().copied().collect::<EffectSet>(),
                    servers: servers.iter().cloned().collect(),
                    except: entry.except.iter().flatten().cloned().collect(),
                })
            }
            (Some(_), _, _) => {
                self.error(
                    here,
                    "the grant names a tool and effects or servers",
                    "make two grants of it: one with `tool`, one with `effects` and `servers`",
                );
                None
            }
            (None, Some(_), None) => {
                self.error(here, "the grant names effects but no servers", "add `servers: […]`");
                None
            }
            (None, None, Some(_)) => {
                self.error(here, "the grant names servers but no effects", "add `effects: […]`");
                None
            }
            (None, None, None) => {
                self.error(
                    here,
                    "the grant does not say which tools it grants",
                    "add `tool: server/tool`, or `effects: […]` and `servers: […]`",
                );
                None
            }
        }
    }

    /// The one tool or other offer that a grant names, if it names one.
    fn named(&mut self, here: &[String], entry: &GrantEntry) -> Option<Option<ToolRef>> {
        let given = [
            ("tool", Offer::Tool, &entry.tool),
            ("prompt", Offer::Prompt, &entry.prompt),
            ("resource", Offer::Resource, &entry.resource),
            ("completion", Offer::Completion, &entry.completion),
            ("client", Offer::Client, &entry.client),
        ];
        let mut given =
            given.into_iter().filter_map(|(field, offer, tool)| Some((field, offer, tool.as_ref()?)));
        let Some((field, offer, tool)) = given.next() else { return Some(None) };
        if let Some((second, ..)) = given.next() {
            let message = format!("the grant names a {field} and a {second}");
            self.error(here, message, "make two grants of it");
            return None;
        }
        match ToolName::of(offer, tool.tool.as_str()) {
            Ok(name) => Some(Some(ToolRef::new(tool.server.clone(), name))),
            Err(_) => {
                let (sort, name) = (tool.tool.offer().prefix(), tool.tool.bare());
                let cure = format!("write `{sort} {}/{name}`", tool.server);
                self.error(&below(here, &[field]), format!("{tool} is no {field}"), cure);
                None
            }
        }
    }

    fn asked(&mut self, here: &[String], text: &str) -> Option<Asked> {
        let asked = match text.strip_prefix("group:") {
            None if text == "person" => return Some(Asked::Person),
            None => None,
            Some(group) => GroupName::new(group).ok(),
        };
        if asked.is_none() {
            let message = format!("{:?} is nobody who could be asked", short(text));
            self.error(&below(here, &["ask"]), message, "write `person`, or `group:NAME`");
        }
        asked.map(Asked::Group)
    }

    fn argument(&mut self, here: &[String], path: &Path) -> Option<(Path, Bounds)> {
        let pointer = below(here, &["arguments", &path.to_string()]);
        let doc = self.doc;
        let Some(node) = doc.tree.at(&pointer) else {
            self.error(
                &pointer,
                format!("the path {path} is written in an unusual form"),
                "write it without needless escapes",
            );
            return None;
        };
        Some((path.clone(), self.bounds(&pointer, node)?))
    }

    /// Bounds, and where there is a template its holes. Recursion is bounded by the depth of the tree.
    fn bounds(&mut self, here: &[String], node: &Node) -> Option<Bounds> {
        let Content::Map(entries) = &node.content else {
            let message = format!("expected bounds, found {}", node.description());
            self.error(here, message, "write `{ equals: … }`, or `{}` for any value");
            return None;
        };
        let (known, others): (Vec<Entry>, Vec<Entry>) =
            entries.iter().cloned().partition(|entry| BOUND_FIELDS.contains(&entry.key.as_str()));
        let mut bounds_node = Node { span: node.span, content: Content::Map(known) };
        let mut faults = Vec::new();
        let entry = read::read::<BoundsEntry>(&mut bounds_node, &mut faults);
        let sound = faults.is_empty();
        for fault in faults {
            self.doc.tell(self.report, Severity::Error, fault.span, fault.message, fault.cure);
        }
        let entry = entry?;
        let provenance = self.provenance(here, &entry);
        let template = self.template(here, entry.template.as_deref(), &others);
        let mentions_slots =
            |value: &Option<Value>| value.as_ref().and_then(|v| v.0.as_str()).is_some_and(is_reference);
        if mentions_slots(&entry.equals)
            || entry.one_of.iter().flatten().any(|v| v.0.as_str().is_some_and(is_reference))
        {
            let message = "the text is compared as it is written: slots are not filled in here";
            self.doc.warn(self.report, here, message, "write the value itself");
        }
        let many = |several: Option<OneOrMany>| several.map(|OneOrMany(texts)| texts);
        sound.then(|| Bounds {
            equals: entry.equals.map(|Value(value)| value),
            one_of: entry.one_of.map(|values| values.into_iter().map(|Value(value)| value).collect()),
            min: entry.min.map(|Value(value)| value),
            max: entry.max.map(|Value(value)| value),
            prefix: entry.prefix,
            glob: entry.glob,
            matches: entry.matches,
            within: many(entry.within),
            host_in: many(entry.host_in),
            domain_in: many(entry.domain_in),
            max_length: entry.max_length,
            max_items: entry.max_items,
            absent: entry.absent,
            ignore_case: entry.ignore_case,
            required: entry.required,
            template,
            provenance,
        })
    }

    /// Where a value must come from.
    fn provenance(&mut self, here: &[String], entry: &BoundsEntry) -> Provenance {
        if entry.one_of.as_ref().is_some_and(Vec::is_empty) {
            self.error(
                &below(here, &["in"]),
                "an empty list admits nothing",
                "name at least one value, or write `absent: true`",
            );
        }
        Provenance {
            from: self.sources(&below(here, &["from"]), entry.from.as_deref()),
            also_from: self.sources(&below(here, &["also_from"]), entry.also_from.as_deref()),
            otherwise: entry.otherwise.as_ref().and_then(|file| self.otherwise(here, &file.0.0)),
        }
    }

    fn sources(&mut self, here: &[String], texts: Option<&[String]>) -> Option<Vec<Source>> {
        let texts = texts?;
        if texts.is_empty() {
            self.error(here, "an empty list admits no value", "name at least one source, or leave it out");
        }
        let mut sources = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let pointer = below(here, &[&at.to_string()]);
            match text.parse::<Source>() {
                Ok(source) => sources.push(source),
                Err(cause) => {
                    let (what, cure) = read::split_cure(&cause.to_string());
                    self.error(&pointer, what, cure.unwrap_or_default());
                }
            }
        }
        Some(sources)
    }

    /// One word for all cases, or a word for some; the others keep their defaults.
    fn otherwise(&mut self, here: &[String], value: &Json) -> Option<Otherwise> {
        let pointer = below(here, &["otherwise"]);
        let word = |value: &Json| match value.as_str() {
            Some("pass") => Some(Answer::Pass),
            Some("ask") => Some(Answer::Ask),
            Some("deny") => Some(Answer::Deny),
            _ => None,
        };
        let words = "write pass, ask or deny, or one of them under untrusted, elsewhere and computed";
        let Some(cases) = value.as_object() else {
            let Some(all) = word(value) else {
                self.error(&pointer, format!("{value} is no answer"), words);
                return None;
            };
            return Some(Otherwise { untrusted: all, elsewhere: all, computed: all });
        };
        let mut otherwise = Otherwise::default();
        for (name, value) in cases {
            let at = below(&pointer, &[name]);
            let case = match name.as_str() {
                "untrusted" => &mut otherwise.untrusted,
                "elsewhere" => &mut otherwise.elsewhere,
                "computed" => &mut otherwise.computed,
                _ => {
                    self.error(&at, format!("{:?} is no case", short(name)), words);
                    return None;
                }
            };
            match word(value) {
                Some(answer) => *case = answer,
                None => {
                    self.error(&at, format!("{value} is no answer"), words);
                    return None;
                }
            }
        }
        if otherwise.untrusted < otherwise.elsewhere.max(otherwise.computed) {
            let message = "`untrusted` is laxer than another case: a value that only strangers wrote would be let through more easily";
            self.error(&pointer, message, "make `untrusted` as strict as the strictest of the others");
            return None;
        }
        Some(otherwise)
    }

    fn template(&mut self, here: &[String], text: Option<&str>, others: &[Entry]) -> Option<TextTemplate> {
        let Some(text) = text else {
            for other in others {
                let message = format!("the bound {:?} is not known here", short(&other.key));
                let known = BOUND_FIELDS.join(", ");
                let cure = match nearest(&other.key, BOUND_FIELDS) {
                    Some(near) => format!("did you mean {near:?}? Known bounds are: {known}"),
                    None => format!("known bounds are: {known}"),
                };
                self.doc.tell(self.report, Severity::Error, other.key_span, message, Some(cure));
            }
            return None;
        };
        let names = hole_names(text);
        for name in names.iter().filter(|name| BOUND_FIELDS.contains(name)) {
            let message = format!("the hole {{{name}}} has the name of a bound");
            self.error(&below(here, &["template"]), message, "give the hole another name");
        }
        let mut holes = BTreeMap::new();
        for other in others {
            if !names.contains(&other.key.as_str()) {
                let message =
                    format!("{:?} is no bound, and the template has no hole of that name", short(&other.key));
                let cure = format!("its holes are: {}", names.join(", "));
                self.doc.tell(self.report, Severity::Error, other.key_span, message, Some(cure));
            } else if let Some(bounds) = self.bounds(&below(here, &[&other.key]), &other.node) {
                holes.insert(other.key.clone(), bounds);
            }
        }
        Some(TextTemplate { text: text.to_owned(), holes })
    }
}

fn is_reference(text: &str) -> bool {
    text.contains("$slot.") || text.contains("$self")
}

/// The names in braces.
fn hole_names(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
}
