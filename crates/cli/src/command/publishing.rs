//! `bundle`: publishing from the host of the data directory; and following what was published, for commands that serve.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::Signal;
use warrantor_bundle::{Loaded, load};
use warrantor_control::{
    bundles::{Publication, PublishError, ToPublish},
    office::{Office, OfficeError},
};
use warrantor_decide::administration::Act;
use warrantor_model::EnforcementPoint;
use warrantor_store_sql::SqliteStore;

use super::{
    control::{administration, office},
    people::Opened,
};
use crate::{
    args::{BundleCommand, PublishArgs},
    command::block_on,
    deployment::Deployment,
    output::{Exit, Output, columns},
};

/// How often a command that serves looks for something newer.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn bundle(command: BundleCommand, out: Output) -> anyhow::Result<Exit> {
    block_on(async move {
        match command {
            BundleCommand::Publish(args) => publish(args, out).await,
            BundleCommand::History(args) => {
                let opened = Opened::at(&args.place).await?;
                let publications = opened.office.publications(args.before, args.limit.into()).await?;
                out.answer(&publications, |to| {
                    let mut rows = vec![
                        ["NUMBER", "AT", "BY", "POINTS", "REASON", "REVISION"].map(str::to_owned).to_vec(),
                    ];
                    rows.extend(publications.iter().map(row));
                    columns(to, &rows)
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
            BundleCommand::Difference(args) => {
                let opened = Opened::at(&args.place).await?;
                let differences = opened.office.compare(args.number, args.against).await?;
                out.answer(&differences, |to| {
                    if differences.is_empty() {
                        return writeln!(to, "They say the same.");
                    }
                    for difference in &differences {
                        writeln!(to, "{}", difference.about)?;
                        difference.gone.iter().try_for_each(|line| writeln!(to, "  - {line}"))?;
                        difference.new.iter().try_for_each(|line| writeln!(to, "  + {line}"))?;
                    }
                    Ok(())
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
            BundleCommand::RollBack(args) => {
                let opened = Opened::at(&args.place).await?;
                let authority = opened.authority(Act::RollBack, "deployment");
                let back = opened.office.roll_back(&authority, args.number, args.reason).await;
                told(&published(back)?, out)?;
                opened.close().await?;
                Ok(Exit::Done)
            }
        }
    })
}

async fn publish(args: PublishArgs, out: Output) -> anyhow::Result<Exit> {
    // Told with line and cure, before anything is opened.
    let bundle = load(&args.dir)?;
    let opened = Opened::at(&args.place).await?;
    let authority = opened.authority(Act::PublishBundle, "deployment");
    let files = bundle.archive.iter().map(|(path, bytes)| (path.clone(), bytes.to_vec())).collect();
    let new = ToPublish { files, reason: args.reason, points: args.point.into_iter().collect() };
    let publication = opened.office.publish(&authority, new).await;
    told(&published(publication)?, out)?;
    opened.close().await?;
    Ok(Exit::Done)
}

fn published(publication: Result<Publication, PublishError>) -> anyhow::Result<Publication> {
    publication.map_err(|cause| match cause {
        PublishError::Faults(report) => report.into(),
        PublishError::Office(cause) => cause.into(),
    })
}

fn told(publication: &Publication, out: Output) -> anyhow::Result<()> {
    out.answer(publication, |to| {
        writeln!(
            to,
            "Publication {} is {}. It decides at {} within seconds, where `point` is configured.",
            publication.number,
            publication.revision,
            points(publication)
        )
    })
}

fn points(publication: &Publication) -> String {
    if publication.points.is_empty() {
        return "every enforcement point".to_owned();
    }
    publication.points.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn row(publication: &Publication) -> Vec<String> {
    let back = publication.back_to.map_or_else(String::new, |earlier| format!(" (back to {earlier})"));
    vec![
        publication.number.to_string(),
        publication.published.at.to_string(),
        publication.published.by.to_string(),
        points(publication),
        format!("{}{back}", publication.reason),
        publication.revision.to_string(),
    ]
}

/// What is published for an enforcement point, for a command that serves there.
pub(super) struct Following {
    office: Office<SqliteStore>,
    point: Option<EnforcementPoint>,
    /// The publication that was taken, or tried, last.
    seen: Option<u64>,
}

impl Following {
    /// One that has seen nothing. Without a point it never sees anything.
    pub(super) fn at(
        deployment: &Deployment,
        own: &Loaded,
        point: Option<EnforcementPoint>,
    ) -> anyhow::Result<Self> {
        Ok(Self { office: office(deployment, own, administration(None)?), point, seen: None })
    }

    /// The published bundle that decides here, if there is one.
    pub(super) async fn bundle(&mut self) -> anyhow::Result<Option<Loaded>> {
        let Some(point) = &self.point else { return Ok(None) };
        let Some(number) = self.office.heads().await?.1.at(point) else { return Ok(None) };
        let publication = self.office.publication(number).await?;
        let published = self.office.published(&publication.revision).await;
        // What does not load is told once. A store that did not answer is asked again.
        if matches!(published, Ok(_) | Err(OfficeError::Conflict(_) | OfficeError::Unknown { .. })) {
            self.seen = Some(number);
        }
        Ok(Some(published?))
    }

    /// The bundle that decides here: what is published for it, or its own.
    pub(super) async fn first(&mut self, own: Loaded) -> anyhow::Result<Arc<Loaded>> {
        Ok(Arc::new(self.bundle().await?.unwrap_or(own)))
    }

    /// Follows another point from here on.
    pub(super) fn go_on_at(&mut self, point: Option<EnforcementPoint>) {
        self.point = point;
    }

    /// Waits until something newer is published or a hangup comes; false when neither can come any more.
    pub(super) async fn or_hangup(&self, hangups: &mut Signal) -> bool {
        tokio::select! {
            came = hangups.recv() => came.is_some(),
            () = self.moved() => true,
        }
    }

    /// Ends when something newer is published. A store that does not answer is asked again: calls ask it too, and are refused meanwhile.
    async fn moved(&self) {
        let Some(point) = &self.point else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK).await;
            match self.office.heads().await {
                Ok((_, heads)) if heads.at(point) != self.seen => return,
                Ok(_) => {}
                Err(cause) => tracing::warn!(%cause, "it cannot be told whether a bundle was published"),
            }
        }
    }
}
