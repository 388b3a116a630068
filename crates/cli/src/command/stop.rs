//! `revoke` and `lockdown`: never held up by a failing log or a full disk.

use serde::Serialize;
use warrantor_control::standing::{self, Act, Stopped};
use warrantor_engine::evidence_text;
use warrantor_model::{Clock, Subject, Timestamp};
use warrantor_store::Store;
use warrantor_store_sql::SqliteStore;

use crate::{
    args::{LockdownArgs, Place, RevokeArgs},
    command::block_on,
    deployment::{Deployment, Paths, stop_file},
    output::{Exit, Output, Usage},
    system::{SystemBytes, SystemClock, local_user},
};

pub(crate) fn revoke(args: &RevokeArgs, out: Output) -> anyhow::Result<Exit> {
    let subject = args.subject()?;
    if args.lift {
        block_on(lift(&args.place, &subject, args.reason.as_deref(), out))
    } else {
        block_on(stop(&args.place, &subject, args.reason.as_deref(), out))
    }
}

pub(crate) fn lockdown(args: &LockdownArgs, out: Output) -> anyhow::Result<Exit> {
    if args.lift {
        block_on(lift(&args.place, &Subject::Deployment, args.reason.as_deref(), out))
    } else {
        block_on(stop(&args.place, &Subject::Deployment, args.reason.as_deref(), out))
    }
}

#[derive(Serialize)]
struct Answer {
    subject: String,
    stopped: bool,
    at: Timestamp,
    /// Every process sees it before its next effect.
    in_force: bool,
    /// The revision that recorded it; none when the log failed.
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_recorded: Option<String>,
}

/// The stop file comes first and alone: opening the store may fail or take long.
async fn stop(place: &Place, subject: &Subject, reason: Option<&str>, out: Output) -> anyhow::Result<Exit> {
    let paths = Paths::of(place)?;
    if !paths.data.exists() {
        return Err(Usage(format!(
            "there is no data directory at {}: give --data DIR",
            paths.data.display()
        ))
        .into());
    }
    let randomness = SystemBytes::new();
    let hand = evidence_text(&local_user());
    let now = SystemClock.now();
    let act = Act { evidence: &hand, reason, now, randomness: &randomness };
    let file = stop_file(&paths)?;
    if let Ok(()) = file.stop(subject, now) {
        tracing::debug!("the stop file has it");
    }
    let deployment = Deployment::existing(place).await;
    let store: Option<&SqliteStore> = deployment.as_ref().ok().map(|deployment| &*deployment.store);
    let Stopped { file: by_file, record } = standing::stop(&file, store, subject, &act).await?;
    let answer = Answer {
        subject: subject.to_string(),
        stopped: true,
        at: now,
        in_force: true,
        revision: record.as_ref().ok().copied(),
        not_recorded: record.as_ref().err().cloned(),
    };
    out.answer(&answer, |to| match (&record, &by_file) {
        (Ok(revision), _) => writeln!(to, "{subject} is stopped, as of revision {revision}"),
        (Err(why), _) => writeln!(to, "{subject} is stopped, and not recorded yet: {why}"),
    })?;
    if let Some(store) = store
        && matches!(standing::is_named(store, subject).await, Ok(false))
    {
        out.note(&format!("note: no mandate that was handed over here names {subject}; if that is not the one you meant, stop the right one"));
    }
    if let Ok(deployment) = deployment {
        let signed = deployment.keeper().sign().await;
        if let Err(cause) = signed {
            out.note(&format!("no checkpoint could be signed: {cause}"));
        }
        deployment.store.close().await;
    }
    Ok(Exit::Done)
}

async fn lift(place: &Place, subject: &Subject, reason: Option<&str>, out: Output) -> anyhow::Result<Exit> {
    let deployment = Deployment::existing(place).await?;
    let revision =
        standing::lift(&deployment.stop, &*deployment.store, subject, &deployment.act(reason)).await?;
    let answer = Answer {
        subject: subject.to_string(),
        stopped: false,
        at: deployment.clock.now(),
        in_force: true,
        revision: Some(revision),
        not_recorded: None,
    };
    out.answer(&answer, |to| writeln!(to, "{subject} may go on, as of revision {revision}"))?;
    deployment.close().await?;
    Ok(Exit::Done)
}
