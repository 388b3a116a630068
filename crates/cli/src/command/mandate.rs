//! `mandate handover`, `mandate list`.

use std::sync::Arc;

use serde::Serialize;
use warrantor_bundle::load;
use warrantor_control::handover::{Desk, revoked};
use warrantor_engine::{keys, mandates};
use warrantor_model::{Clock, MandateId, Timestamp};
use warrantor_store::{MAX_PAGE, Store};

use crate::{
    args::{HandoverArgs, ListArgs, MandateCommand},
    command::block_on,
    deployment::Deployment,
    output::{Exit, Output, columns},
};

pub(crate) fn run(command: MandateCommand, out: Output) -> anyhow::Result<Exit> {
    match command {
        MandateCommand::Handover(args) => block_on(hand_over(args, out)),
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
    let desk = Desk {
        store: Arc::clone(&deployment.store),
        stop: &deployment.stop,
        bundle: &bundle,
        seal: &seal,
        clock: &*deployment.clock,
        randomness: &*deployment.randomness,
        evidence: deployment.hand.clone(),
    };
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
