//! A mandate's terms, checked against what the bundle knows and compiled.

use std::sync::Arc;

use warrantor_model::{
    Answer, Asked, EffectSet, Grant, Json, Limits, Match, Otherwise, Path, Terms, ToolRef, mandate::Earlier,
};

use crate::{
    bounds::Compiled,
    parts::{Fault, Place, Severity, pointer},
    snapshot::{Snapshot, ToolFacts},
};

/// Terms whose every name leads somewhere and whose bounds compile.
#[derive(Debug, Clone)]
pub struct CompiledTerms {
    terms: Arc<Terms>,
    grants: Vec<CompiledGrant>,
    warnings: Vec<Fault>,
}

/// One grant with compiled bounds, in the order of the mandate.
#[derive(Debug, Clone)]
pub(crate) struct CompiledGrant {
    pub(crate) grant: Grant,
    pub(crate) arguments: Vec<(Path, Compiled)>,
}

impl CompiledTerms {
    /// The terms as handed over.
    #[must_use]
    pub fn terms(&self) -> &Arc<Terms> {
        &self.terms
    }

    /// What their author should know.
    #[must_use]
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    pub(crate) fn grants(&self) -> &[CompiledGrant] {
        &self.grants
    }
}

impl CompiledGrant {
    /// Whether the grant speaks of a call to this tool with these effects.
    pub(crate) fn matches(&self, tool: &ToolRef, effects: EffectSet) -> bool {
        self.grant.matches.reaches(tool, effects)
    }
}

pub(crate) struct Checker<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) terms: &'a Terms,
    faults: Vec<Fault>,
}

/// What is wrong with whom the terms name.
pub(crate) fn actors(snapshot: &Snapshot, terms: &Terms) -> Vec<Fault> {
    let mut checker = Checker { snapshot, terms, faults: Vec::new() };
    checker.actors();
    checker.faults
}

pub(crate) fn compile(snapshot: &Snapshot, terms: Terms) -> Result<CompiledTerms, Vec<Fault>> {
    let mut checker = Checker { snapshot, terms: &terms, faults: Vec::new() };
    let grants: Vec<Option<CompiledGrant>> =
        terms.grants.iter().enumerate().map(|(at, grant)| checker.grant(at, grant)).collect();
    checker.mandate_limits();
    let faults = checker.faults;
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
    let Some(grants) = grants.into_iter().collect::<Option<Vec<_>>>() else { return Err(faults) };
    Ok(CompiledTerms { terms: Arc::new(terms), grants, warnings: faults })
}

/// Whether a line says that somebody is asked.
fn asks(otherwise: Otherwise) -> bool {
    let Otherwise { untrusted, elsewhere, computed } = otherwise;
    [untrusted, elsewhere, computed].contains(&Answer::Ask)
}

impl Checker<'_> {
    fn place(&self, fields: &[&str]) -> Place {
        Place::Mandate { template: self.terms.template.clone(), pointer: pointer(fields) }
    }

    pub(crate) fn error(&mut self, fields: &[&str], message: impl Into<String>, cure: Option<String>) {
        let mut fault = Fault::error(self.place(fields), message);
        fault.cure = cure;
        self.faults.push(fault);
    }

    pub(crate) fn warn(&mut self, fields: &[&str], message: impl Into<String>) {
        let fault = Fault::warning(self.place(fields), message);
        self.faults.push(fault);
    }

    fn actors(&mut self) {
        let people = "add them to people.yaml".to_owned();
        for (field, person) in [("person", &self.terms.person), ("sponsor", &self.terms.sponsor)] {
            if self.snapshot.person(person).is_none() {
                self.error(&[field], format!("{person} is not a known person"), Some(people.clone()));
            }
        }
        if self.snapshot.agent(&self.terms.agent).is_none() {
            let cure = Some("add it to agents.yaml".to_owned());
            self.error(&["agent"], format!("{} is not a known agent", self.terms.agent), cure);
        }
    }

    /// The tools a grant can match, whatever their arguments.
    fn tools(&self, grant: &Grant) -> Vec<ToolRef> {
        match &grant.matches {
            Match::Tool(tool) => vec![tool.clone()],
            Match::Effects { .. } => self
                .snapshot
                .tools()
                .iter()
                .filter(|(name, facts)| grant.matches.reaches(name, facts.tool.effects))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    fn grant(&mut self, at: usize, grant: &Grant) -> Option<CompiledGrant> {
        let at = at.to_string();
        self.matched_names(&at, grant);
        let tools: Vec<&ToolFacts> =
            self.tools(grant).iter().filter_map(|tool| self.snapshot.facts(tool)).collect();
        self.ceiling(&at, grant);
        self.limits(&["grants", &at, "limits"], &grant.limits, &tools);
        let asks_in_vain = !self.snapshot.anyone_may_approve();
        let in_vain = "no policy lets anybody answer, so it only denies: permit `Action::\"approve\"` to whoever is to answer";
        if asks_in_vain && grant.ask.is_some() {
            self.warn(&["grants", &at, "ask"], in_vain);
        }
        if let Some(Asked::Group(group)) = &grant.ask
            && !self.snapshot.has_group(group)
        {
            self.warn(
                &["grants", &at, "ask"],
                format!("nobody is in the group {group}, so nobody can answer"),
            );
        }
        for (nth, earlier) in grant.after.iter().enumerate() {
            self.earlier(&at, nth, earlier);
        }
        let mut arguments: Vec<(Path, Compiled)> = Vec::new();
        for (path, bounds) in &grant.arguments {
            let text = path.to_string();
            let fields = ["grants", at.as_str(), "arguments", text.as_str()];
            if asks_in_vain && bounds.provenance.otherwise.is_some_and(asks) {
                self.warn(&["grants", &at, "arguments", &text, "otherwise"], in_vain);
            }
            if arguments.iter().any(|(known, _)| known == path) {
                self.error(
                    &fields,
                    format!("{path} is bounded twice"),
                    Some("put its bounds together".into()),
                );
            }
            if !tools.is_empty() && !tools.iter().any(|facts| facts.shape.has(path)) {
                let names = tools.first().map(|facts| facts.shape.names().join(", ")).unwrap_or_default();
                self.error(
                    &fields,
                    format!("{path} is no argument here"),
                    Some(format!("the arguments are: {names}")),
                );
                continue;
            }
            let kind = tools.iter().find_map(|facts| facts.kind(&path.sample_location()));
            match Compiled::new(bounds, kind) {
                Ok(compiled) => {
                    let summed =
                        grant.limits.sum.contains_key(path) || self.terms.limits.sum.contains_key(path);
                    let compiled = if summed { compiled.counted_in_a_sum() } else { compiled };
                    self.demands(&fields, path, bounds, kind, &tools);
                    arguments.push((path.clone(), compiled));
                }
                Err(found) => {
                    for fault in found {
                        let inner: Vec<&str> = fault.pointer.iter().map(String::as_str).collect();
                        self.error(&[&fields[..], &inner].concat(), fault.message, None);
                    }
                }
            }
        }
        Some(CompiledGrant { grant: grant.clone(), arguments })
    }

    fn matched_names(&mut self, at: &str, grant: &Grant) {
        let snapshot = self.snapshot;
        match &grant.matches {
            Match::Tool(tool) => {
                if snapshot.facts(tool).is_none() {
                    let cure = if snapshot.manifest(&tool.server).is_some() {
                        format!("add it to the manifest of {}, reviewed", tool.server)
                    } else {
                        format!("add a manifest for {}: see `warrantor manifest draft`", tool.server)
                    };
                    let field = tool.tool.offer().prefix().trim_end_matches(':');
                    let (field, what) = if field.is_empty() { ("tool", "tool") } else { (field, field) };
                    let named = format!("{}/{}", tool.server, tool.tool.bare());
                    let message = format!("{named} is not a known {what}");
                    self.error(&["grants", at, field], message, Some(cure));
                }
            }
            Match::Effects { servers, except, .. } => {
                for server in servers.iter().filter(|server| snapshot.manifest(server).is_none()) {
                    let cure = Some("see `warrantor manifest draft`".to_owned());
                    self.error(
                        &["grants", at, "servers"],
                        format!("the server {server} has no manifest"),
                        cure,
                    );
                }
                for tool in except.iter().filter(|tool| snapshot.facts(tool).is_none()) {
                    self.error(&["grants", at, "except"], format!("{tool} is not a known tool"), None);
                }
            }
        }
    }

    /// A grant beyond the agent's ceiling can never pass; the author should know before the agent does.
    fn ceiling(&mut self, at: &str, grant: &Grant) {
        let Some(agent) = self.snapshot.agent(&self.terms.agent) else { return };
        let within = |tool: &ToolRef| {
            agent.ceiling.servers.contains(&tool.server)
                && self.snapshot.tool(tool).is_some_and(|tool| tool.effects.is_within(agent.ceiling.effects))
        };
        let tools = self.tools(grant);
        // One that is not known is told as that.
        let known = tools.iter().any(|tool| self.snapshot.facts(tool).is_some());
        if known && !tools.iter().any(within) {
            let agent = agent.id.clone();
            self.warn(
                &["grants", at],
                format!("this grant can never pass: it is beyond the ceiling of {agent}"),
            );
        } else if tools.is_empty() && matches!(grant.matches, Match::Effects { .. }) {
            self.warn(&["grants", at], "this grant matches no tool");
        }
    }

    fn earlier(&mut self, at: &str, nth: usize, earlier: &Earlier) {
        let nth = nth.to_string();
        let fields = ["grants", at, "after", nth.as_str()];
        let Some(facts) = self.snapshot.facts(&earlier.tool) else {
            self.error(&fields, format!("{} is not a known tool", earlier.tool), None);
            return;
        };
        for (path, _) in earlier.arguments.iter().filter(|(path, _)| !facts.shape.has(path)) {
            self.error(&fields, format!("{path} is no argument of {}", earlier.tool), None);
        }
    }

    fn mandate_limits(&mut self) {
        let tools: Vec<&ToolFacts> = self
            .terms
            .grants
            .iter()
            .flat_map(|grant| self.tools(grant))
            .filter_map(|tool| self.snapshot.facts(&tool))
            .collect();
        let limits = self.terms.limits.clone();
        self.limits(&["limits"], &limits, &tools);
    }

    fn limits(&mut self, fields: &[&str], limits: &Limits, tools: &[&ToolFacts]) {
        let counted = [
            ("sum", limits.sum.keys().collect::<Vec<_>>()),
            ("distinct", limits.distinct.keys().collect()),
            ("unique", limits.unique.iter().collect()),
        ];
        for (name, paths) in counted {
            for path in paths {
                if !tools.is_empty() && !tools.iter().any(|facts| facts.shape.has(path)) {
                    let message = format!("{path} is an argument of no tool that is granted");
                    self.error(&[fields, &[name]].concat(), message, None);
                }
            }
        }
    }
}

/// Whether an earlier call satisfies a condition.
pub(crate) fn satisfies(earlier: &Earlier, tool: &ToolRef, arguments: &Json) -> bool {
    earlier.tool == *tool
        && earlier
            .arguments
            .iter()
            .all(|(path, expected)| path.select(arguments).iter().any(|v| v.same(expected)))
}
