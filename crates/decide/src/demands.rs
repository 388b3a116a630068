//! What a mandate demands of where values come from, checked when it is compiled: every name leads somewhere, and an author is told what
//! would let more through than it looks like.

use warrantor_model::{
    Bounds, EffectSet, Kind, Path, RecordType, Selector, ServerName, Source, ToolRef, Writer, WriterRule,
    path::{Location, Segment, Step},
    source::{Compared, Comparison, RecordSource, ToolSource},
};

use crate::{
    places::{deepest, deepest_keys},
    snapshot::ToolFacts,
    terms::Checker,
};

impl Checker<'_> {
    /// The sources of one argument, and of the holes of its template.
    pub(crate) fn demands(
        &mut self,
        fields: &[&str],
        path: &Path,
        bounds: &Bounds,
        kind: Option<Kind>,
        tools: &[&ToolFacts],
    ) {
        let at = path.sample_location();
        let rule = |facts: &&ToolFacts| match path.segments().last() {
            Some(Segment::Keys) => facts.key_rule(&[at.clone(), vec![Step::Member(String::new())]].concat()),
            _ => facts.rule(&at),
        };
        let sensitive = tools.iter().any(|facts| rule(facts).is_some_and(|rule| rule.sensitive));
        self.sources(fields, bounds, sensitive);
        for (name, hole) in bounds.template.iter().flat_map(|template| &template.holes) {
            self.sources(&[fields, &[name.as_str()]].concat(), hole, sensitive);
        }
        let only_request = bounds.provenance.from.as_deref() == Some(&[Source::Request]);
        if only_request && kind == Some(Kind::Number) {
            let message =
                "a number of the request is any number that stands there: a date, a count, another amount";
            self.warn(
                &[fields, &["from"]].concat(),
                format!("{message}; bound it with `max` or name it with `equals`"),
            );
        }
        if bounds.provenance.otherwise.is_some() && !bounds.provenance.is_stated() && !sensitive {
            let message =
                "`otherwise` says nothing here: no source is listed and the argument is not sensitive";
            self.warn(&[fields, &["otherwise"]].concat(), message);
        }
    }

    fn sources(&mut self, fields: &[&str], bounds: &Bounds, sensitive: bool) {
        let lists = [("from", &bounds.provenance.from), ("also_from", &bounds.provenance.also_from)];
        for (name, sources) in lists {
            for (at, source) in sources.iter().flatten().enumerate() {
                let at = at.to_string();
                self.source(&[fields, &[name, at.as_str()]].concat(), source, sensitive);
            }
        }
    }

    fn source(&mut self, fields: &[&str], source: &Source, sensitive: bool) {
        match source {
            Source::Request if self.terms.request.is_none() && self.terms.parent.is_none() => {
                let cure = Some("add `request`, the person's own words".to_owned());
                self.error(fields, "the mandate has no request that a value could stand in", cure);
            }
            Source::Request | Source::Own | Source::Person | Source::Computed => {}
            Source::Any if sensitive => self.warn(
                fields,
                "the argument is sensitive, and `any` lets a value through that only a stranger wrote",
            ),
            Source::Any => {}
            Source::Slot(name) => self.slot(fields, name),
            Source::Record(source) => self.record(fields, source),
            Source::Tool(source) => self.tool_source(fields, source),
            Source::Call { tool, argument } => {
                self.known_tool(fields, tool);
                if let Some(facts) = self.snapshot.facts(tool)
                    && !facts.shape.has(argument)
                {
                    let cure = Some(format!("its arguments are: {}", facts.shape.names().join(", ")));
                    self.error(fields, format!("{argument} is no argument of {tool}"), cure);
                }
            }
        }
    }

    fn slot(&mut self, fields: &[&str], name: &str) {
        if !self.terms.slots.contains_key(name) {
            let known: Vec<&str> = self.terms.slots.keys().map(String::as_str).collect();
            let cure = if known.is_empty() {
                "add it to `slots`".to_owned()
            } else {
                format!("add it to `slots`, or use one of: {}", known.join(", "))
            };
            self.error(fields, format!("there is no slot {name:?}"), Some(cure));
        }
    }

    fn known_tool(&mut self, fields: &[&str], tool: &ToolRef) {
        if self.snapshot.facts(tool).is_none() {
            let cure = "correct the name, or describe the tool in its server's manifest".to_owned();
            self.error(fields, format!("{tool} is not a known tool"), Some(cure));
        }
    }

    fn record(&mut self, fields: &[&str], source: &RecordSource) {
        let snapshot = self.snapshot;
        let servers: Vec<&ServerName> = snapshot
            .servers()
            .filter(|server| source.server.as_ref().is_none_or(|wanted| wanted == *server))
            .filter(|server| {
                snapshot.manifest(server).is_some_and(|m| m.records.contains_key(&source.record))
            })
            .collect();
        let types: Vec<&RecordType> = servers
            .iter()
            .filter_map(|server| snapshot.manifest(server)?.records.get(&source.record))
            .collect();
        let Some(first) = types.first() else {
            let mut known: Vec<&str> = snapshot
                .servers()
                .filter_map(|s| snapshot.manifest(s))
                .flat_map(|m| m.records.keys())
                .map(String::as_str)
                .collect();
            known.dedup();
            let cure = if known.is_empty() {
                "describe it under `records` in a manifest".to_owned()
            } else {
                format!("the records are: {}", known.join(", "))
            };
            self.error(
                fields,
                format!("no manifest describes records of the type {}", source.record),
                Some(cure),
            );
            return;
        };
        if types.len() > 1 {
            let names: Vec<String> =
                servers.iter().map(|server| format!("record:{server}/{}#…", source.record)).collect();
            self.warn(
                fields,
                format!(
                    "several servers have records of this type, and all count: to mean one, write {}",
                    names.join(" or ")
                ),
            );
        }
        if !types.iter().any(|record| record.key.is_some())
            && !source.any_match
            && source.selector.0.is_empty()
        {
            self.warn(fields, "records of this type have no key, so every reading counts and two different values lead to a question");
        }
        let listed = types.iter().any(|record| is_listed(record, &source.path));
        if !listed {
            let names: Vec<String> = first.fields.keys().map(ToString::to_string).collect();
            self.warn(
                fields,
                format!(
                    "{} is no listed field of {}, so anyone may have written it; listed are: {}",
                    source.path,
                    source.record,
                    names.join(", ")
                ),
            );
        }
        self.selector(fields, &source.selector, |path| {
            types.iter().map(|record| weakest_writer(record, path)).min().unwrap_or(Writer::Anyone)
        });
    }

    fn tool_source(&mut self, fields: &[&str], source: &ToolSource) {
        self.known_tool(fields, &source.tool);
        let snapshot = self.snapshot;
        let Some(facts) = snapshot.facts(&source.tool) else { return };
        for Comparison { path, .. } in &source.arguments.0 {
            match path {
                Some(path) if facts.shape.has(path) => {}
                Some(path) => {
                    let cure = Some(format!("its arguments are: {}", facts.shape.names().join(", ")));
                    self.error(fields, format!("{path} is no argument of {}", source.tool), cure);
                }
                None => self.error(
                    fields,
                    "`.` compares an element, and a call's arguments are none",
                    Some("name an argument".to_owned()),
                ),
            }
        }
        self.references(fields, &source.arguments);
        let records = snapshot.manifest(&source.tool.server).map(|manifest| &manifest.records);
        let returned: Vec<&RecordType> =
            facts.tool.returns.iter().filter_map(|(_, name)| records?.get(name)).collect();
        self.selector(fields, &source.selector, |path| {
            let of_records = returned.iter().map(|record| weakest_writer(record, path)).min();
            of_records.unwrap_or(Writer::Anyone)
        });
    }

    /// A selector's references, and whether strangers can make their own record match.
    fn selector(&mut self, fields: &[&str], selector: &Selector, writer: impl Fn(Option<&Path>) -> Writer) {
        self.references(fields, selector);
        for Comparison { path, .. } in &selector.0 {
            if writer(path.as_ref()) == Writer::Anyone {
                let field = path.as_ref().map_or_else(|| ".".to_owned(), ToString::to_string);
                self.warn(
                    fields,
                    format!(
                        "anyone may write {field}, so anyone can make a record that this selector chooses"
                    ),
                );
            }
        }
    }

    fn references(&mut self, fields: &[&str], selector: &Selector) {
        for Comparison { value, .. } in &selector.0 {
            if let Compared::Slot(name) = value {
                self.slot(fields, name);
            }
        }
    }
}

fn is_listed(record: &RecordType, path: &Path) -> bool {
    match path.segments().split_last() {
        Some((Segment::Keys, above)) => {
            path.is_keys()
                || !deepest_keys(record.fields.iter(), &Path::of(above.to_vec()).sample_location()).is_empty()
        }
        _ => !deepest(record.fields.iter(), &path.sample_location()).is_empty(),
    }
}

/// Who at worst chooses the value of a field.
fn weakest_writer(record: &RecordType, path: Option<&Path>) -> Writer {
    let at: Location = path.map(Path::sample_location).unwrap_or_default();
    let speaking = deepest(record.fields.iter(), &at);
    let of_rule = |rule: &WriterRule| match rule {
        WriterRule::Always(writer) => *writer,
        WriterRule::Depends { when, otherwise } => {
            when.iter().map(|(_, writer)| *writer).min().unwrap_or(*otherwise).min(*otherwise)
        }
    };
    speaking.into_iter().map(|(_, rule)| of_rule(&rule.writer)).min().unwrap_or(Writer::Anyone)
}

/// Whether a tool is said to read only, and yet takes an address that data could leave by.
pub(crate) fn reads_that_carry(facts: &ToolFacts) -> Vec<&Path> {
    let only_read = facts.tool.effects == EffectSet::EMPTY.with(warrantor_model::Effect::Read);
    facts
        .tool
        .arguments
        .iter()
        .filter(|(_, rule)| only_read && matches!(rule.kind, Some(Kind::Url | Kind::Host | Kind::Mail)))
        .map(|(path, _)| path)
        .collect()
}
