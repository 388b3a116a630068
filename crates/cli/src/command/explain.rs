//! `explain`.

use std::io::Write;

use serde_json::Value;
use warrantor_control::explain::{Explanation, Kept, explain as explain_record};
use warrantor_model::record::{DecisionRecord, Event, Verdict};

use crate::{
    args::ExplainArgs,
    command::block_on,
    deployment::Deployment,
    output::{Exit, Output},
};

pub(crate) fn explain(args: &ExplainArgs, out: Output) -> anyhow::Result<Exit> {
    block_on(async {
        let deployment = Deployment::existing(&args.place).await?;
        let seal = deployment.keys.seal()?;
        let explanation = explain_record(&*deployment.store, Some(&seal), &args.id).await?;
        out.answer(&explanation, |to| tell(&explanation, to))?;
        Ok(Exit::Done)
    })
}

fn tell(explanation: &Explanation, to: &mut dyn Write) -> std::io::Result<()> {
    let record = &explanation.record;
    let proven = if explanation.index < explanation.signed {
        "under a signed checkpoint"
    } else {
        "not under a checkpoint yet"
    };
    writeln!(to, "{}   {}   record {} ({proven})", record.id, record.at, explanation.index)?;
    match &record.event {
        Event::Decision(decision) => tell_decision(decision, explanation, to),
        other => writeln!(to, "{}", serde_json::to_string_pretty(other).unwrap_or_default()),
    }
}

fn tell_decision(
    decision: &DecisionRecord,
    explanation: &Explanation,
    to: &mut dyn Write,
) -> std::io::Result<()> {
    let verdict = match decision.verdict {
        Verdict::Pass => "PASSED",
        Verdict::Ask => "ASKED",
        Verdict::Deny => "DENIED",
    };
    writeln!(to, "\n{verdict}  {}  {}", decision.method, decision.tool.as_deref().unwrap_or("(no tool)"))?;
    writeln!(to, "\nwho")?;
    for (at, hop) in decision.chain.iter().enumerate() {
        let indent = "  ".repeat(at);
        writeln!(
            to,
            "  {indent}{} hands {} to {}, answered for by {}",
            hop.person, hop.template, hop.agent, hop.sponsor
        )?;
        let grant = hop.grant.map_or("no grant matched".to_owned(), |grant| format!("grants/{grant}"));
        writeln!(to, "  {indent}  mandate {}, {grant}", hop.mandate)?;
    }
    writeln!(to, "  presented by {} at {}", decision.evidence, decision.enforcement_point)?;
    writeln!(to, "\nwhat")?;
    writeln!(to, "  effects   {}", listed(&decision.effects))?;
    tell_body(&explanation.body, to)?;
    tell_sources(decision, &explanation.body, to)?;
    if !decision.reasons.is_empty() {
        writeln!(to, "\nwhy not")?;
        let details = details(&explanation.body);
        for (nth, reason) in decision.reasons.iter().enumerate() {
            let observed = if reason.observed { " (observed only)" } else { "" };
            let by = reason.subject.as_deref().map(|subject| format!("  [{subject}]")).unwrap_or_default();
            writeln!(to, "  {}{observed}{by}", reason.code)?;
            if let Some(detail) = details.get(nth) {
                writeln!(to, "      {detail}")?;
            }
        }
    }
    if !decision.asked.is_empty() {
        writeln!(to, "\nto be asked\n  {}", listed(&decision.asked))?;
    }
    writeln!(to, "\npolicies")?;
    for policy in &decision.policies {
        writeln!(to, "  {:7} {}  for {}", policy.effect, policy.policy, policy.principal)?;
    }
    if !decision.limits.is_empty() {
        writeln!(to, "\nlimits")?;
        for limit in &decision.limits {
            let charged =
                limit.charged.as_deref().map(|charged| format!(", charged {charged}")).unwrap_or_default();
            writeln!(to, "  {} stood at {}{charged}", limit.counter, limit.stood_at)?;
        }
    }
    writeln!(to, "\ndecided on\n  bundle    {}\n  revision  {}", decision.bundle, decision.revision)?;
    for outcome in &explanation.outcomes {
        let micros = outcome.outcome.micros;
        writeln!(
            to,
            "\noutcome\n  {:?} at {} after {micros} µs, {} bytes (record {})",
            outcome.outcome.outcome, outcome.at, outcome.outcome.bytes, outcome.index
        )?;
        if !outcome.outcome.given_back.is_empty() {
            writeln!(to, "  given back: {}", listed(&outcome.outcome.given_back))?;
        }
    }
    Ok(())
}

/// Where each traced value was found, and what the task had touched.
fn tell_sources(decision: &DecisionRecord, body: &Kept, to: &mut dyn Write) -> std::io::Result<()> {
    if !decision.sources.is_empty() {
        writeln!(to, "\nwhere from")?;
    }
    for source in &decision.sources {
        writeln!(to, "  {}: {}", source.argument, listed(&source.names))?;
    }
    if let Kept::Shown { content } = body {
        for (argument, told) in content.get("sources").and_then(Value::as_object).into_iter().flatten() {
            writeln!(to, "      {argument} = {}", told.as_str().unwrap_or_default())?;
        }
    }
    if !decision.task_labels.is_empty() {
        writeln!(to, "  the task had touched what is {}", listed(&decision.task_labels))?;
    }
    for obligation in &decision.obligations {
        writeln!(to, "  {obligation} goes with the permit")?;
    }
    for tracked in &decision.tracked {
        writeln!(to, "  tracker {} stood at {}", tracked.tracker, tracked.stood_at)?;
    }
    Ok(())
}

fn tell_body(body: &Kept, to: &mut dyn Write) -> std::io::Result<()> {
    match body {
        Kept::Shown { content } => {
            let arguments = content.get("arguments").and_then(Value::as_str).unwrap_or_default();
            writeln!(to, "  arguments {arguments}")
        }
        Kept::NotKept => writeln!(to, "  arguments not kept"),
        Kept::Erased => writeln!(to, "  arguments erased"),
        Kept::Damaged { why } => writeln!(to, "  arguments cannot be shown: {why}"),
    }
}

/// The details of findings, in the order of the record's reasons: those that counted, then those observed.
fn details(body: &Kept) -> Vec<String> {
    let Kept::Shown { content } = body else { return Vec::new() };
    ["findings", "observed"]
        .iter()
        .filter_map(|list| content.get(*list).and_then(Value::as_array))
        .flatten()
        .map(|finding| finding.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned())
        .collect()
}

fn listed(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
