//! `mandate handover`, `mandate delegate`, `mandate show`, `mandate list`.

use std::{fs, path::Path, sync::Arc};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;
use warrantor_bundle::{Loaded, MandateTemplate, load};
use warrantor_control::{
    handover::{Desk, revoked},
    sentences::{Section, sentences},
};
use warrantor_engine::{bodies::SealKey, keys, mandates};
use warrantor_model::{Clock, MandateId, TemplateId, Timestamp};
use warrantor_store::{MAX_PAGE, Store};
use warrantor_store_sql::SqliteStore;

use crate::{
    args::{DelegateArgs, HandoverArgs, ListArgs, MandateCommand, ShowArgs},
    command::block_on,
    deployment::Deployment,
    output::{Exit, Output, Usage, columns},
};

pub(crate) fn run(command: MandateCommand, out: Output) -> anyhow::Result<Exit> {
    match command {
        MandateCommand::Handover(args) => block_on(hand_over(args, out)),
        MandateCommand::Delegate(args) => block_on(delegate(args, out)),
        MandateCommand::Show(args) => show(&args, out),
        MandateCommand::List(args) => block_on(list(args, out)),
    }
}

#[derive(Serialize)]
struct HandedOver {
    mandate: String,
    template: String,
    task: String,
    expires_at: Timestamp,
}

async fn hand_over(args: HandoverArgs, out: Output) -> anyhow::Result<Exit> {
    let bundle = load(&args.bundle)?;
    let deployment = Deployment::open(&args.place, Some(&bundle)).await?;
    let seal = deployment.keys.seal()?;
    let desk = desk(&deployment, &bundle, &seal);
    desk.note_bundle().await?;
    let handed = desk.hand_over(&args.mandate).await?;
    let answer = HandedOver {
        mandate: handed.mandate.to_string(),
        template: args.mandate.to_string(),
        task: handed.task.to_string(),
        expires_at: handed.expires_at,
    };
    out.answer(&answer, |to| {
        writeln!(to, "Handed over {} as {}", answer.template, answer.mandate)?;
        writeln!(to, "task {}, until {}", answer.task, answer.expires_at)
    })?;
    deployment.close().await?;
    Ok(Exit::Done)
}

/// The mandate that was named: in a file, which then narrows one of the bundle's, or in the bundle.
fn named(bundle: &Loaded, name: &str) -> anyhow::Result<MandateTemplate> {
    if Path::new(name).is_file() {
        let bytes = fs::read(name).with_context(|| format!("{name} cannot be read"))?;
        return Ok(bundle.delegated(name, &bytes)?);
    }
    let known = || bundle.templates.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let template = TemplateId::new(name).ok().and_then(|id| bundle.templates.get(&id)).cloned();
    template.ok_or_else(|| {
        Usage(format!(
            "there is no file {name}, and the bundle has no mandate of this id; it has: {}",
            known()
        ))
        .into()
    })
}

async fn delegate(args: DelegateArgs, out: Output) -> anyhow::Result<Exit> {
    let bundle = load(&args.bundle)?;
    let template = named(&bundle, &args.mandate)?;
    if template.terms.parent.is_none() {
        return Err(Usage(format!("{} narrows nothing: name a mandate in `parent`", args.mandate)).into());
    }
    if let Some(report) = bundle.wider_lines(&template) {
        return Err(report.into());
    }
    let parent = template.terms.parent.as_ref().map(ToString::to_string).unwrap_or_default();
    if args.check {
        let answer = json!({ "narrows": parent, "mandate": template.terms.template.to_string() });
        out.answer(&answer, |to| {
            writeln!(to, "{} narrows {parent} in every respect", template.terms.template)
        })?;
        return Ok(Exit::Done);
    }
    let deployment = Deployment::open(&args.place, Some(&bundle)).await?;
    let seal = deployment.keys.seal()?;
    let desk = desk(&deployment, &bundle, &seal);
    desk.note_bundle().await?;
    let handed = desk.delegate(&template).await?;
    let answer = HandedOver {
        mandate: handed.mandate.to_string(),
        template: template.terms.template.to_string(),
        task: handed.task.to_string(),
        expires_at: handed.expires_at,
    };
    out.answer(&answer, |to| {
        writeln!(to, "Handed on {} as {}, a part of {parent}", answer.template, answer.mandate)?;
        writeln!(to, "task {}, until {}", answer.task, answer.expires_at)
    })?;
    deployment.close().await?;
    Ok(Exit::Done)
}

fn desk<'a>(deployment: &'a Deployment, bundle: &'a Loaded, seal: &'a SealKey) -> Desk<'a, SqliteStore> {
    Desk {
        store: Arc::clone(&deployment.store),
        stop: &deployment.stop,
        bundle,
        seal,
        clock: &*deployment.clock,
        randomness: &*deployment.randomness,
        evidence: deployment.hand.clone(),
    }
}

fn show(args: &ShowArgs, out: Output) -> anyhow::Result<Exit> {
    let bundle = load(&args.bundle)?;
    let template = named(&bundle, &args.mandate)?;
    let told = sentences(&bundle.snapshot, &template.terms);
    out.answer(&told, |to| {
        for Section { heading, lines } in &told {
            writeln!(to, "{heading}")?;
            for line in lines {
                writeln!(to, "  {line}")?;
            }
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Listed {
    mandate: String,
    template: String,
    task: String,
    person: String,
    handed_over_at: Timestamp,
    expires_at: Timestamp,
    state: &'static str,
}

async fn list(args: ListArgs, out: Output) -> anyhow::Result<Exit> {
    let deployment = Deployment::existing(&args.place).await?;
    let now = deployment.clock.now();
    let under = keys::mandates()?;
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = deployment.store.scan(&under, after.as_ref(), MAX_PAGE).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (key, entry) in &page {
            let id = MandateId::new(key.as_str().trim_start_matches("mandate/"))?;
            let mandate = mandates::decode(&id, &entry.value)?;
            let mut state = if now >= mandate.expires_at { "expired" } else { "live" };
            if revoked(&*deployment.store, &deployment.stop, &id, &mandate).await?.is_some() {
                state = "revoked";
            }
            listed.push(Listed {
                mandate: id.to_string(),
                template: mandate.template.to_string(),
                task: mandate.task.to_string(),
                person: mandate.person.to_string(),
                handed_over_at: mandate.handed_over_at,
                expires_at: mandate.expires_at,
                state,
            });
        }
    }
    out.answer(&listed, |to| {
        let mut rows = vec![["MANDATE", "INSTANCE", "PERSON", "STATE", "UNTIL"].map(str::to_owned).to_vec()];
        rows.extend(listed.iter().map(|one| {
            vec![
                one.template.clone(),
                one.mandate.clone(),
                one.person.clone(),
                one.state.to_owned(),
                one.expires_at.to_string(),
            ]
        }));
        columns(to, &rows)
    })?;
    Ok(Exit::Done)
}
