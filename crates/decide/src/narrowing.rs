//! Whether a mandate narrows the one above it in every respect, line by line.
//!
//! A chain is safe without this: every hop is judged for itself. This is for whoever writes a mandate below another and should learn at once which of its
//! lines promises more than the parent gives. It compares what is written, not what could be meant: two ways to write the same bound may
//! be told apart, and then the parent's way is the one to take.

use std::collections::BTreeMap;

use warrantor_model::{Bounds, Grant, Json, Limits, Match, Otherwise, Source, Terms, mandate::Lifetime};

use crate::{
    bounds::Compiled,
    kind::{canonical, path_within},
    parts::{Fault, Place, pointer},
    snapshot::Snapshot,
    terms::{CompiledGrant, CompiledTerms},
};

/// Every line in which a mandate is wider than the one above it.
#[must_use]
pub fn wider_lines(snapshot: &Snapshot, parent: &CompiledTerms, child: &CompiledTerms) -> Vec<Fault> {
    let mut narrowing =
        Narrowing { snapshot, parent: parent.terms(), child: child.terms(), faults: Vec::new() };
    narrowing.envelope();
    narrowing.limits(&["limits"], &child.terms().limits, &parent.terms().limits);
    for (at, grant) in child.grants().iter().enumerate() {
        narrowing.grant(at, grant, parent.grants());
    }
    narrowing.faults
}

struct Narrowing<'a> {
    snapshot: &'a Snapshot,
    parent: &'a Terms,
    child: &'a Terms,
    faults: Vec<Fault>,
}

impl Narrowing<'_> {
    fn wider(&mut self, fields: &[&str], message: impl Into<String>, cure: impl Into<String>) {
        let place = Place::Mandate { template: self.child.template.clone(), pointer: pointer(fields) };
        self.faults.push(Fault::error(place, message).cure(cure));
    }

    fn envelope(&mut self) {
        let (parent, child) = (self.parent, self.child);
        if child.person != parent.person {
            self.wider(
                &["person"],
                format!("the task is {}'s", parent.person),
                format!("write {}", parent.person),
            );
        }
        if child.sponsor != parent.sponsor {
            let message = format!("the mandate above is sponsored by {}", parent.sponsor);
            self.wider(&["sponsor"], message, format!("write `sponsor: {}`", parent.sponsor));
        }
        if child.kind != parent.kind {
            let kind = parent.kind.as_str();
            self.wider(&["kind"], format!("the mandate above is {kind}"), format!("write `kind: {kind}`"));
        }
        if child.depth >= parent.depth {
            let message =
                format!("the mandate above lets {} more hops follow, this one included", parent.depth);
            let cure = match parent.depth.checked_sub(1) {
                Some(most) => format!("write at most `depth: {most}`"),
                None => "give the mandate above a `delegation.depth`".to_owned(),
            };
            self.wider(&["delegation", "depth"], message, cure);
        }
        match (parent.lifetime, child.lifetime) {
            (Lifetime::For(most), Lifetime::For(wanted)) if wanted > most => {
                self.wider(
                    &["expires_in"],
                    "it outlives the mandate above",
                    "write no more than the mandate above has",
                );
            }
            (Lifetime::Until(end), Lifetime::Until(wanted)) if wanted > end => {
                self.wider(&["expires_at"], format!("the mandate above ends at {end}"), "end no later");
            }
            _ => {}
        }
    }

    fn limits(&mut self, fields: &[&str], child: &Limits, parent: &Limits) {
        if let Some(most) = parent.calls.filter(|most| child.calls.is_none_or(|wanted| wanted > *most)) {
            let at = if child.calls.is_some() { [fields, &["calls"]].concat() } else { fields.to_vec() };
            self.wider(
                &at,
                format!("the mandate above allows {most} calls here"),
                format!("write `calls: {most}` or less"),
            );
        }
        for (path, most) in &parent.sum {
            if child.sum.get(path).is_none_or(|wanted| wanted > most) {
                let cure = format!("write `sum: {{ {path}: {most} }}` or less");
                self.wider(fields, format!("the mandate above allows {path} to add up to {most}"), cure);
            }
        }
        for (path, most) in &parent.distinct {
            if child.distinct.get(path).is_none_or(|wanted| wanted > most) {
                let cure = format!("write `distinct: {{ {path}: {most} }}` or less");
                self.wider(
                    fields,
                    format!("the mandate above allows {most} different values of {path}"),
                    cure,
                );
            }
        }
        for path in parent.unique.iter().filter(|path| !child.unique.contains(*path)) {
            self.wider(
                fields,
                format!("the mandate above uses each value of {path} once"),
                format!("add {path} to `unique`"),
            );
        }
    }

    /// A line of the child lies within one line of the parent. Of several that could hold it, the one with the fewest differences is told.
    fn grant(&mut self, at: usize, child: &CompiledGrant, parents: &[CompiledGrant]) {
        let at = at.to_string();
        let mut best: Option<Vec<Fault>> = None;
        for parent in
            parents.iter().filter(|parent| self.reaches(&parent.grant.matches, &child.grant.matches))
        {
            let mut one = Narrowing {
                snapshot: self.snapshot,
                parent: self.parent,
                child: self.child,
                faults: Vec::new(),
            };
            one.line(&at, child, parent);
            if best.as_ref().is_none_or(|best| one.faults.len() < best.len()) {
                best = Some(one.faults);
            }
        }
        match best {
            Some(faults) => self.faults.extend(faults),
            None => {
                let field = if matches!(child.grant.matches, Match::Tool(_)) { "tool" } else { "effects" };
                let message = "no line of the mandate above grants this";
                self.wider(
                    &["grants", &at, field],
                    message,
                    "take the line out, or name what the mandate above grants",
                );
            }
        }
    }

    /// Whether whatever the child's line matches, the parent's matches too.
    fn reaches(&self, parent: &Match, child: &Match) -> bool {
        match (parent, child) {
            (Match::Tool(parent), Match::Tool(child)) => parent == child,
            (Match::Effects { .. }, Match::Tool(tool)) => {
                self.snapshot.tool(tool).is_some_and(|known| parent.reaches(tool, known.possible_effects()))
            }
            (
                Match::Effects { effects, servers, except },
                Match::Effects { effects: e, servers: s, except: x },
            ) => {
                e.is_within(*effects)
                    && s.is_subset(servers)
                    && except.iter().all(|tool| !s.contains(&tool.server) || x.contains(tool))
            }
            (Match::Tool(_), Match::Effects { .. }) => false,
        }
    }

    fn line(&mut self, at: &str, child: &CompiledGrant, parent: &CompiledGrant) {
        let (mine, above): (&Grant, &Grant) = (&child.grant, &parent.grant);
        self.limits(&["grants", at, "limits"], &mine.limits, &above.limits);
        if above.ask.is_some() && mine.ask != above.ask {
            let cure = "ask the same here, so that whoever reads this line knows";
            self.wider(&["grants", at, "ask"], "the mandate above asks a person here", cure);
        }
        for earlier in above.after.iter().filter(|earlier| !mine.after.contains(earlier)) {
            let message = format!("the mandate above waits for {} first", earlier.tool);
            self.wider(&["grants", at, "after"], message, "add it to `after`");
        }
        let only_reads = match &mine.matches {
            Match::Tool(tool) => {
                self.snapshot.tool(tool).is_some_and(|tool| tool.possible_effects().is_pure_read())
            }
            Match::Effects { effects, .. } => effects.is_pure_read(),
        };
        for (path, bounds) in &child.arguments {
            let text = path.to_string();
            let fields = ["grants", at, "arguments", text.as_str()];
            match parent.arguments.iter().find(|(known, _)| known == path) {
                Some((_, above)) => self.bounds(&fields, bounds, above),
                // A read may take what no line names.
                None if only_reads => {}
                None => self.wider(
                    &fields,
                    "the mandate above does not name this argument, so it must be absent",
                    "take it out",
                ),
            }
        }
        // What a read does not name is allowed; what an effectful call does not name must be absent, which is narrower still.
        for (path, _) in parent
            .arguments
            .iter()
            .filter(|(path, _)| only_reads && !child.arguments.iter().any(|(mine, _)| mine == path))
        {
            let message = format!("the mandate above bounds {path} here");
            self.wider(&["grants", at, "arguments"], message, format!("bound {path} here as well"));
        }
    }

    fn bounds(&mut self, fields: &[&str], child: &Compiled, parent: &Compiled) {
        // Values that are written out are judged by the parent's bounds as any value would be.
        let values: Vec<&Json> =
            child.bounds().equals.iter().chain(child.bounds().one_of.iter().flatten()).collect();
        let (mine, above) = (child.bounds(), parent.bounds());
        if above.required && !mine.required {
            self.wider(fields, "the mandate above requires this argument", "add `required: true`");
        }
        if !values.is_empty() {
            for value in values {
                if let Err(found) = parent.judge(value, parent.kind()) {
                    self.wider(
                        fields,
                        format!("{value} must {} by the mandate above", found.must),
                        "name values that it allows",
                    );
                }
            }
            if mine.ignore_case && !above.ignore_case {
                self.wider(
                    &[fields, &["ignore_case"]].concat(),
                    "the mandate above regards case",
                    "take it out",
                );
            }
        } else {
            self.ranges(fields, child, parent);
            self.texts(fields, mine, above);
            self.sources(fields, mine, above);
        }
        if let Some(also) = &above.provenance.also_from {
            let kept = mine.provenance.also_from.as_ref().is_some_and(|mine| self.within(mine, also));
            if !kept {
                self.wider(
                    &[fields, &["also_from"]].concat(),
                    "the mandate above has `also_from` here",
                    "repeat it, or a part of it",
                );
            }
        }
    }

    fn ranges(&mut self, fields: &[&str], child: &Compiled, parent: &Compiled) {
        let (mine, above) = (child.bounds(), parent.bounds());
        if above.equals.is_some() || above.one_of.is_some() {
            self.wider(
                fields,
                "the mandate above names the values here",
                "name values of them with `equals` or `in`",
            );
        }
        for (name, bound, wanted) in [("min", &above.min, &mine.min), ("max", &above.max, &mine.max)] {
            let Some(bound) = bound else { continue };
            let within = wanted.as_ref().is_some_and(|wanted| {
                // The child's own limit is a value that the parent's limit must let through.
                let only = Bounds {
                    min: above.min.clone().filter(|_| name == "min"),
                    max: above.max.clone().filter(|_| name == "max"),
                    ..Bounds::default()
                };
                Compiled::new(&only, parent.kind())
                    .is_ok_and(|only| only.judge(wanted, parent.kind()).is_ok())
            });
            if !within {
                self.wider(
                    &[fields, &[name]].concat(),
                    format!("the mandate above has `{name}: {bound}`"),
                    format!("write `{name}: {bound}` or tighter"),
                );
            }
        }
        for (name, bound, wanted) in [
            ("max_length", above.max_length, mine.max_length),
            ("max_items", above.max_items, mine.max_items),
        ] {
            if let Some(bound) = bound.filter(|bound| wanted.is_none_or(|wanted| wanted > *bound)) {
                self.wider(
                    &[fields, &[name]].concat(),
                    format!("the mandate above has `{name}: {bound}`"),
                    format!("write `{name}: {bound}` or less"),
                );
            }
        }
        if above.absent && !mine.absent {
            self.wider(fields, "the mandate above lets this argument only be absent", "write `absent: true`");
        }
    }

    fn texts(&mut self, fields: &[&str], mine: &Bounds, above: &Bounds) {
        if let Some(prefix) = &above.prefix
            && !mine.prefix.as_ref().is_some_and(|wanted| wanted.starts_with(prefix))
        {
            self.wider(
                &[fields, &["prefix"]].concat(),
                format!("the mandate above has `prefix: {prefix}`"),
                "begin with the same",
            );
        }
        for (name, bound, wanted) in
            [("glob", &above.glob, &mine.glob), ("matches", &above.matches, &mine.matches)]
        {
            if bound.is_some() && bound != wanted {
                let message =
                    format!("the mandate above has `{name}: {}`", bound.as_deref().unwrap_or_default());
                self.wider(
                    &[fields, &[name]].concat(),
                    message,
                    "write the same: patterns are not compared otherwise",
                );
            }
        }
        if above.template.is_some() && above.template != mine.template {
            self.wider(
                &[fields, &["template"]].concat(),
                "the mandate above has a template here",
                "write the same",
            );
        }
        let below = |wanted: &str, bases: &[String]| {
            canonical(warrantor_model::Kind::Path, wanted).is_ok_and(|wanted| {
                bases.iter().any(|base| {
                    canonical(warrantor_model::Kind::Path, base).is_ok_and(|base| path_within(&wanted, &base))
                })
            })
        };
        if let Some(bases) = &above.within
            && !mine.within.as_ref().is_some_and(|wanted| wanted.iter().all(|one| below(one, bases)))
        {
            self.wider(
                &[fields, &["within"]].concat(),
                format!("the mandate above has `within: [{}]`", bases.join(", ")),
                "stay within",
            );
        }
        let of_domain = |wanted: &String, domains: &[String]| {
            domains.iter().any(|domain| {
                wanted
                    .strip_suffix(domain.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        };
        if let Some(hosts) = &above.host_in
            && !mine.host_in.as_ref().is_some_and(|wanted| wanted.iter().all(|host| hosts.contains(host)))
        {
            self.wider(
                &[fields, &["host_in"]].concat(),
                format!("the mandate above has `host_in: [{}]`", hosts.join(", ")),
                "name hosts of these",
            );
        }
        if let Some(domains) = &above.domain_in {
            let by_domain = mine
                .domain_in
                .as_ref()
                .is_some_and(|wanted| wanted.iter().all(|one| of_domain(one, domains)));
            let by_host =
                mine.host_in.as_ref().is_some_and(|wanted| wanted.iter().all(|one| of_domain(one, domains)));
            if !by_domain && !by_host {
                self.wider(
                    &[fields, &["domain_in"]].concat(),
                    format!("the mandate above has `domain_in: [{}]`", domains.join(", ")),
                    "stay below these",
                );
            }
        }
        if mine.ignore_case && !above.ignore_case {
            self.wider(&[fields, &["ignore_case"]].concat(), "the mandate above regards case", "take it out");
        }
    }

    fn sources(&mut self, fields: &[&str], mine: &Bounds, above: &Bounds) {
        if let Some(from) = &above.provenance.from {
            match &mine.provenance.from {
                Some(wanted) if self.within(wanted, from) => {}
                Some(wanted) => {
                    let at = wanted
                        .iter()
                        .position(|one| !self.within(std::slice::from_ref(one), from))
                        .unwrap_or_default();
                    let listed: Vec<String> = from.iter().map(ToString::to_string).collect();
                    let at = at.to_string();
                    let fields = [fields, &["from", at.as_str()]].concat();
                    self.wider(
                        &fields,
                        "the mandate above does not take values from here",
                        format!("it takes them from: {}", listed.join(", ")),
                    );
                }
                None => self.wider(
                    fields,
                    "the mandate above says where the value comes from",
                    "add `from`, with sources of it",
                ),
            }
        } else if mine.provenance.from.as_ref().is_some_and(|from| from.contains(&Source::Any)) {
            // Without sources the parent still traces what is sensitive; `any` would say that it does not.
            self.wider(
                &[fields, &["from"]].concat(),
                "the mandate above does not let just any value through",
                "leave `any` out",
            );
        }
        let strict = above.provenance.otherwise.unwrap_or_default();
        let wanted = mine.provenance.otherwise.unwrap_or_default();
        if laxer(wanted, strict) {
            let message = "the mandate above is stricter with values from elsewhere";
            self.wider(&[fields, &["otherwise"]].concat(), message, "be as strict");
        }
    }

    /// Whether every source of a list is one of another, or selects from one.
    fn within(&self, wanted: &[Source], from: &[Source]) -> bool {
        wanted.iter().all(|one| from.iter().any(|known| self.source_within(one, known)))
    }

    fn source_within(&self, wanted: &Source, known: &Source) -> bool {
        let slots = |name: &String| -> (Option<&Json>, Option<&Json>) {
            (self.child.slots.get(name), self.parent.slots.get(name))
        };
        match (wanted, known) {
            (_, Source::Any) => true,
            (Source::Slot(mine), Source::Slot(above)) => {
                let (mine, above) = (slots(mine).0, slots(above).1);
                mine.is_some() && mine == above
            }
            (Source::Record(mine), Source::Record(above)) => {
                mine.record == above.record
                    && mine.path == above.path
                    && (above.server.is_none() || mine.server == above.server)
                    && (above.any_match || !mine.any_match)
                    && above.selector.0.iter().all(|one| mine.selector.0.contains(one))
                    && self.same_slots()
            }
            (Source::Tool(mine), Source::Tool(above)) => {
                mine.tool == above.tool
                    && (above.path.is_none() || mine.path == above.path)
                    && above.arguments.0.iter().all(|one| mine.arguments.0.contains(one))
                    && above.selector.0.iter().all(|one| mine.selector.0.contains(one))
                    && self.same_slots()
            }
            (mine, above) => mine == above,
        }
    }

    /// Selectors may refer to slots; they say the same only where the slots do.
    fn same_slots(&self) -> bool {
        let above: &BTreeMap<String, Json> = &self.parent.slots;
        self.child.slots.iter().all(|(name, value)| above.get(name).is_none_or(|known| known == value))
    }
}

fn laxer(wanted: Otherwise, strict: Otherwise) -> bool {
    wanted.untrusted < strict.untrusted
        || wanted.elsewhere < strict.elsewhere
        || wanted.computed < strict.computed
}
