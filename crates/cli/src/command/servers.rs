//! `server`: manifests reviewed by whoever has the data directory. Quarantine is `revoke`.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use warrantor_control::{
    bundles::PublishError,
    difference::Difference,
    servers::{Differs, KnownManifest, KnownServer, NewManifest},
};
use warrantor_decide::administration::Act;

use super::{control::administration, people::Opened};
use crate::{
    args::{
        OfficePlace, ServerApproveArgs, ServerCommand, ServerDifferenceArgs, ServerProposeArgs,
        ServerShowArgs,
    },
    command::block_on,
    output::{Exit, Output, columns},
};

/// How many are read at a time.
const PAGE: usize = 200;

pub(crate) fn server(command: ServerCommand, out: Output) -> anyhow::Result<Exit> {
    block_on(async move {
        match command {
            ServerCommand::List(place) => list(&place, out).await,
            ServerCommand::Show(args) => show(args, out).await,
            ServerCommand::Difference(args) => difference(args, out).await,
            ServerCommand::Propose(args) => propose(args, out).await,
            ServerCommand::Approve(args) => approve(args, out).await,
            ServerCommand::Reject(args) => {
                let opened = opened(&args.place).await?;
                let authority = opened.authority(Act::RejectManifest, format!("server:{}", args.name));
                let manifest = opened.office.manifest(&args.name, args.number).await?;
                let manifest = opened.office.reject_manifest(&authority, &manifest, &args.reason).await?;
                tell_manifest(&manifest, out)?;
                opened.close().await?;
                Ok(Exit::Done)
            }
        }
    })
}

/// Where no bundle is named, servers are looked at as the bundle describes them that is published for every point.
async fn opened(place: &OfficePlace) -> anyhow::Result<Opened> {
    let opened = Opened::at(place).await?;
    if place.bundle.is_none()
        && let Some((number, _)) = opened.office.heads().await?.1.stages().first()
    {
        let publication = opened.office.publication(*number).await?;
        let bundle = opened.office.published(&publication.revision).await?;
        opened.office.go_on_with(bundle.snapshot, administration(None)?);
    }
    Ok(opened)
}

async fn list(place: &OfficePlace, out: Output) -> anyhow::Result<Exit> {
    let opened = opened(place).await?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = opened.office.servers(after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        all.extend(page);
    }
    out.answer(&all, |to| {
        let mut rows =
            vec![["SERVER", "STANDING", "APPROVED", "TOOLS", "DIFFERS"].map(str::to_owned).to_vec()];
        rows.extend(all.iter().map(row));
        columns(to, &rows)
    })?;
    opened.close().await?;
    Ok(Exit::Done)
}

fn row(server: &KnownServer) -> Vec<String> {
    let standing = match (server.quarantined, server.definitions.is_some()) {
        (true, _) => "QUARANTINED",
        (false, true) => "active",
        (false, false) => "not published",
    };
    vec![
        server.name.to_string(),
        standing.to_owned(),
        server.approved.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        server.tools.len().to_string(),
        server.differs.as_ref().map_or_else(|| "-".to_owned(), words),
    ]
}

/// What was seen, in a line.
fn words(differs: &Differs) -> String {
    let mut all = Vec::new();
    for (what, names) in
        [("changed", &differs.changed), ("new", &differs.unknown), ("gone", &differs.missing)]
    {
        if !names.is_empty() {
            all.push(format!("{what}: {}", names.join(", ")));
        }
    }
    if differs.instructions {
        all.push("other instructions".to_owned());
    }
    all.join("; ")
}

async fn show(args: ServerShowArgs, out: Output) -> anyhow::Result<Exit> {
    let opened = opened(&args.place).await?;
    let server = opened.office.server(&args.name).await?;
    let number = match (args.manifest, &args.into) {
        (Some(number), _) => Some(number),
        (None, None) => None,
        (None, Some(_)) => match server.approved {
            Some(number) => Some(number),
            None => bail!("no manifest of {} was approved yet: name one with --manifest", args.name),
        },
    };
    match (number, &args.into) {
        (Some(number), Some(into)) => {
            let manifest = opened.office.manifest(&args.name, number).await?;
            for (path, text) in &manifest.files {
                write(&into.join(path), text)?;
            }
            let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
            out.answer(&serde_json::json!({ "manifest": number, "written": paths }), |to| {
                writeln!(to, "Manifest {number} of {} is in {}.", args.name, into.display())
            })?;
        }
        (Some(number), None) => {
            let manifest = opened.office.manifest(&args.name, number).await?;
            out.answer(&manifest, |to| {
                heading(to, &manifest)?;
                manifest
                    .files
                    .iter()
                    .try_for_each(|(path, text)| writeln!(to, "\n--- {path}\n{}", text.trim_end()))
            })?;
        }
        (None, _) => {
            let manifests = match server.last {
                Some(_) => opened.office.manifests(&args.name, None, PAGE).await?,
                None => Vec::new(),
            };
            out.answer(&serde_json::json!({ "server": server, "manifests": manifests }), |to| {
                columns(to, &[row(&server)])?;
                manifests.iter().try_for_each(|manifest| heading(to, manifest))
            })?;
        }
    }
    opened.close().await?;
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    }
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

fn heading(to: &mut dyn std::io::Write, manifest: &KnownManifest) -> std::io::Result<()> {
    let KnownManifest { number, server, standing, proposed, reason, digest, .. } = manifest;
    writeln!(to, "manifest {number} of {server}: {}, {digest}", standing.as_str())?;
    writeln!(to, "  proposed by {} at {}: {reason}", proposed.by, proposed.at)?;
    if manifest.guesses > 0 {
        writeln!(to, "  {} guesses in it wait for somebody to look at them", manifest.guesses)?;
    }
    if let Some(answered) = &manifest.answered {
        let why = manifest.rejection.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        writeln!(to, "  {} by {} at {}{why}", standing.as_str(), answered.by, answered.at)?;
    }
    Ok(())
}

fn tell_manifest(manifest: &KnownManifest, out: Output) -> anyhow::Result<()> {
    out.answer(manifest, |to| heading(to, manifest))
}

async fn difference(args: ServerDifferenceArgs, out: Output) -> anyhow::Result<Exit> {
    let opened = opened(&args.place).await?;
    let differences = match args.manifest {
        Some(number) => opened.office.compare_manifests(&args.name, number, args.against).await?,
        None => opened.office.compare_seen(&args.name).await?,
    };
    out.answer(&differences, |to| tell_differences(to, &differences.items))?;
    opened.close().await?;
    Ok(Exit::Done)
}

/// Differences as `bundle difference` tells them too.
pub(super) fn tell_differences(to: &mut dyn std::io::Write, items: &[Difference]) -> std::io::Result<()> {
    if items.is_empty() {
        return writeln!(to, "They are the same, to the byte.");
    }
    for difference in items {
        writeln!(to, "{}", difference.about)?;
        difference.gone.iter().try_for_each(|line| writeln!(to, "  - {line}"))?;
        difference.new.iter().try_for_each(|line| writeln!(to, "  + {line}"))?;
    }
    Ok(())
}

async fn propose(args: ServerProposeArgs, out: Output) -> anyhow::Result<Exit> {
    let read =
        |path: &Path| fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    let (manifest, definitions) = match (&args.from, &args.definitions) {
        (Some(dir), _) => {
            let tools = dir.join("tools");
            let manifest = read(&tools.join(format!("{}.yaml", args.name)))?;
            (Some(manifest), Some(read(&tools.join(format!("{}.tools.json", args.name)))?))
        }
        (None, Some(file)) => (None, Some(read(file)?)),
        (None, None) => (None, None),
    };
    let opened = opened(&args.place).await?;
    let authority = opened.authority(Act::ProposeManifest, format!("server:{}", args.name));
    let new = NewManifest { manifest, definitions, reason: args.reason };
    let manifest = done(opened.office.propose_manifest(&authority, &args.name, new).await)?;
    tell_manifest(&manifest, out)?;
    opened.close().await?;
    Ok(Exit::Done)
}

async fn approve(args: ServerApproveArgs, out: Output) -> anyhow::Result<Exit> {
    let opened = opened(&args.place).await?;
    let authority = opened.authority(Act::ApproveManifest, format!("server:{}", args.name));
    let manifest = opened.office.manifest(&args.name, args.number).await?;
    let approved = done(opened.office.approve_manifest(&authority, &manifest, &args.digest).await)?;
    out.answer(&approved, |to| {
        heading(to, &approved.manifest)?;
        if approved.publications.is_empty() {
            return writeln!(
                to,
                "No bundle is published yet. Publish one that has it: `warrantor server show {} --into DIR`",
                args.name
            );
        }
        approved.publications.iter().try_for_each(|publication| {
            writeln!(to, "publication {} is {}", publication.number, publication.revision)
        })
    })?;
    opened.close().await?;
    Ok(Exit::Done)
}

/// What is wrong with files is told with line and cure.
pub(super) fn done<T>(result: Result<T, PublishError>) -> anyhow::Result<T> {
    result.map_err(|cause| match cause {
        PublishError::Faults(report) => report.into(),
        PublishError::Office(cause) => cause.into(),
    })
}
