//! What policies read of a call, as Cedar expressions.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::RestrictedExpression;
use warrantor_model::{
    Call, Decimal, EffectSet, Evidence, Finding, Given, ReasonCode, Timestamp, tracker::Tracked,
};

use super::Obstacles;
use crate::{
    policy, shape,
    snapshot::{Snapshot, ToolFacts},
    task::{Hop, TaskState},
};

/// Context that every action has.
pub(crate) fn shared_context(
    task: &TaskState,
    root: &Hop,
    hop: &Hop,
    depth: usize,
    now: Timestamp,
    call: &Call,
) -> Vec<(String, RestrictedExpression)> {
    let text = |s: &str| RestrictedExpression::new_string(s.to_owned());
    let terms = &hop.mandate.terms;
    let number = |n: u64| RestrictedExpression::new_long(i64::try_from(n).unwrap_or(i64::MAX));
    let depth = u64::try_from(depth).unwrap_or(u64::MAX);
    let mandate = record(vec![
        ("id", text(terms.template.as_str())),
        ("instance", text(hop.mandate.id.as_str())),
        ("root", text(root.mandate.terms.template.as_str())),
        ("purpose", text(&terms.purpose)),
        ("kind", text(terms.kind.as_str())),
        ("depth", number(depth)),
    ]);
    let state = record(vec![
        ("id", text(hop.mandate.task.as_str())),
        ("calls", number(task.calls)),
        ("effects", effect_set(task.effects)),
        ("labels", text_set(&task.labels)),
    ]);
    let environment = record(vec![
        ("time", RestrictedExpression::new_datetime(now.to_millis_text())),
        ("enforcement_point", text(&call.enforcement_point)),
    ]);
    let mut context = vec![
        ("mandate".to_owned(), mandate),
        ("task".to_owned(), state),
        ("environment".to_owned(), environment),
    ];
    if let Evidence::AccessToken(token) = &call.evidence {
        let home = token.home.as_ref().map(|home| {
            let home = vec![("issuer", text(&home.issuer)), ("subject", text(&home.subject))];
            ("home", record(home))
        });
        let mut claims = vec![
            ("issuer", text(&token.issuer)),
            ("subject", text(&token.subject)),
            ("client", text(&token.client)),
            ("scopes", text_set(&token.scopes)),
            ("bound", RestrictedExpression::new_bool(token.bound)),
        ];
        claims.extend(home);
        context.push(("token".to_owned(), record(claims)));
    }
    context
}

/// A record of distinct names, which is all that a record asks.
fn record<N: Into<String>>(fields: Vec<(N, RestrictedExpression)>) -> RestrictedExpression {
    let fields: Vec<(String, _)> = fields.into_iter().map(|(name, value)| (name.into(), value)).collect();
    RestrictedExpression::new_record(fields).unwrap_or_else(|_| RestrictedExpression::new_bool(false))
}

pub(crate) fn text_set<'a>(texts: impl IntoIterator<Item = &'a String>) -> RestrictedExpression {
    RestrictedExpression::new_set(
        texts.into_iter().map(|text| RestrictedExpression::new_string(text.clone())),
    )
}

/// Who has approved the call and when the last of them did; nothing where nobody has.
pub(super) fn approval_value(given: &[Given]) -> Option<RestrictedExpression> {
    let at = given.iter().map(|given| given.at).max()?;
    let by = given.iter().filter_map(|given| policy::person_value(&given.by));
    Some(record(vec![
        ("by", RestrictedExpression::new_set(by)),
        ("at", RestrictedExpression::new_datetime(at.to_millis_text())),
    ]))
}

/// The names of sources by argument at the top; what stands deeper counts with it.
pub(super) fn source_sets(
    facts: &ToolFacts,
    sources: &BTreeMap<String, BTreeSet<String>>,
) -> RestrictedExpression {
    let names = facts.shape.names();
    record(
        names
            .into_iter()
            .map(|name| {
                let top = warrantor_model::Path::member(name).to_string();
                let of = |at: &String| {
                    *at == top || at.strip_prefix(&top).is_some_and(|rest| rest.starts_with('/'))
                };
                let found: BTreeSet<String> = sources
                    .iter()
                    .filter(|(at, _)| of(at))
                    .flat_map(|(_, names)| names.iter().cloned())
                    .collect();
                (name, text_set(&found))
            })
            .collect(),
    )
}

/// What trackers stand at, typed. A sum that Cedar cannot hold exactly denies: policies read it, or it was not looked at.
pub(super) fn tracked(
    snapshot: &Snapshot,
    totals: &[(String, Decimal)],
    obstacles: &mut Obstacles,
) -> RestrictedExpression {
    let mut fields = Vec::new();
    for (name, total) in totals {
        let tracker = snapshot.trackers().iter().find(|tracker| tracker.name == *name);
        let value = match tracker.map(|tracker| &tracker.what) {
            Some(Tracked::Sum(_)) => shape::cedar_decimal(*total).map(RestrictedExpression::new_decimal),
            _ => i64::try_from(total.trunc().mantissa()).ok().map(RestrictedExpression::new_long),
        };
        match value {
            Some(value) => fields.push((name.clone(), value)),
            None => {
                let detail =
                    format!("the tracker {name} stands at {total}, which no policy can compare exactly");
                obstacles.hard.push(Finding::new(ReasonCode::FactsUnavailable, detail).by(name.clone()));
            }
        }
    }
    record(fields)
}

pub(crate) fn effect_set(effects: EffectSet) -> RestrictedExpression {
    RestrictedExpression::new_set(
        effects.iter().map(|e| RestrictedExpression::new_string(e.as_str().to_owned())),
    )
}
