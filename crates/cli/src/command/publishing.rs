//! `bundle`: publishing from the host of the data directory; and following what was published, for commands that serve.

use std::time::Duration;

use tokio::signal::unix::Signal;
use warrantor_bundle::{Loaded, Report, load, load_files};
use warrantor_control::{
    bundles::{Publication, ToPublish, Unreviewed},
    office::Office,
};
use warrantor_decide::administration::Act;
use warrantor_model::EnforcementPoint;
use warrantor_store_sql::SqliteStore;

use super::{
    control::{administration, office},
    people::Opened,
    servers::{done, tell_differences},
};
use crate::{
    args::{BundleCommand, Place, PublishArgs},
    command::block_on,
    deployment::Deployment,
    output::{Exit, Output, Usage, columns},
};

/// How often a command that serves looks for something newer.
const LOOK: Duration = Duration::from_secs(1);
/// How long it waits before it tries again to take what it could not.
const TRY_AGAIN: Duration = Duration::from_secs(5);

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
                    match differences.against {
                        None => writeln!(to, "Nothing decided before it.")?,
                        Some(other) => writeln!(to, "Compared with publication {other}:")?,
                    }
                    tell_differences(to, &differences.items)
                })?;
                opened.close().await?;
                Ok(Exit::Done)
            }
            BundleCommand::RollBack(args) => {
                let opened = Opened::at(&args.place).await?;
                let authority = opened.authority(Act::RollBack, "deployment");
                let back =
                    opened.office.roll_back(&authority, args.number, args.reason, Unreviewed::Taken).await;
                told(&done(back)?, out)?;
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
    let new = ToPublish {
        files,
        reason: args.reason,
        points: args.point.into_iter().collect(),
        unreviewed: Unreviewed::Taken,
    };
    let publication = opened.office.publish(&authority, new).await;
    told(&done(publication)?, out)?;
    opened.close().await?;
    Ok(Exit::Done)
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

/// Opens the data directory of a command that serves. Where its own settings and bundle are at fault, something that is published may still decide; but a
/// data directory that is not there yet holds nothing that is, and none is made: its keys would not bear the name that the bundle gives them.
pub(super) async fn open<C>(
    place: &Place,
    point: Option<&EnforcementPoint>,
    own: Result<C, Report>,
    bundle: impl FnOnce(&C) -> &Loaded,
) -> anyhow::Result<(Deployment, Result<C, Report>)> {
    match own {
        Ok(config) => Ok((Deployment::open(place, Some(bundle(&config))).await?, Ok(config))),
        Err(faults) if point.is_none() => Err(faults.into()),
        Err(faults) => match Deployment::existing(place).await {
            Ok(deployment) => Ok((deployment, Err(faults))),
            Err(cause) if cause.is::<Usage>() => Err(faults.into()),
            Err(cause) => Err(cause),
        },
    }
}

/// What is published for an enforcement point, for a command that serves there.
pub(super) struct Following {
    office: Office<SqliteStore>,
    point: Option<EnforcementPoint>,
    /// The publication that is decided on.
    taken: Option<u64>,
    /// Why the last one could not be taken, until one can.
    fault: Option<String>,
}

/// Why a command that serves looks at its configuration anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It was told to.
    Hangup,
    /// Something newer is published, or what is published could not be taken yet.
    Published,
}

impl Following {
    /// One that has taken nothing. Without a point it never will.
    pub(super) fn at(deployment: &Deployment, point: Option<EnforcementPoint>) -> anyhow::Result<Self> {
        let nobody = load_files(Vec::new())?;
        let office = office(deployment, &nobody, administration(None)?);
        Ok(Self { office, point, taken: None, fault: None })
    }

    /// The published bundle that decides here, if there is one, and its number: to be given to [`Following::took`] once it does.
    async fn bundle(&self) -> anyhow::Result<Option<(u64, Loaded)>> {
        let Some(point) = &self.point else { return Ok(None) };
        let Some(number) = self.office.heads().await?.1.at(point) else { return Ok(None) };
        let publication = self.office.publication(number).await?;
        Ok(Some((number, self.office.published(&publication.revision).await?)))
    }

    /// The settings beside what is published, with its number; or beside the directory's bundle where nothing is.
    pub(super) async fn config<C>(
        &self,
        own: impl FnOnce() -> Result<C, Report>,
        beside: impl FnOnce(Loaded) -> Result<C, Report>,
    ) -> anyhow::Result<(Option<u64>, C)> {
        match self.bundle().await? {
            Some((number, published)) => Ok((Some(number), beside(published)?)),
            None => Ok((None, own()?)),
        }
    }

    /// From here on this is decided on.
    pub(super) fn took(&mut self, number: Option<u64>) {
        self.taken = number;
        self.fault = None;
    }

    /// That something could not be taken. True when it is to be told: a fault that stays is told once.
    pub(super) fn failed(&mut self, why: Why, told: &str) -> bool {
        let is_new = self.fault.as_deref() != Some(told);
        self.fault = Some(told.to_owned());
        why == Why::Hangup || is_new
    }

    /// Warns of a name that takes effect at the next start: it stands in the records of this one.
    pub(super) fn warn_of(&self, point: Option<&EnforcementPoint>) {
        if point != self.point.as_ref() {
            tracing::warn!("the new `point` takes effect at the next start");
        }
    }

    /// Waits until the configuration is to be looked at anew; none when that cannot be any more.
    pub(super) async fn or_hangup(&self, hangups: &mut Signal) -> Option<Why> {
        tokio::select! {
            came = hangups.recv() => came.map(|()| Why::Hangup),
            () = self.moved() => Some(Why::Published),
        }
    }

    /// Ends when something newer is published. A store that does not answer is asked again: calls ask it too, and are refused meanwhile. What could not be
    /// taken is tried again: it may have been the store, or a file that somebody mends.
    async fn moved(&self) {
        let Some(point) = &self.point else { return std::future::pending().await };
        let patience = if self.fault.is_some() { TRY_AGAIN } else { LOOK };
        loop {
            tokio::time::sleep(patience).await;
            match self.office.heads().await {
                Ok((_, heads)) if heads.at(point) != self.taken => return,
                Ok(_) => {}
                Err(cause) => tracing::warn!(%cause, "it cannot be told whether a bundle was published"),
            }
        }
    }
}
