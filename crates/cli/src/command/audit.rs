//! `audit verify`, `export`, `rotate-key`, `begin-epoch`, `confirm-clock`.

use std::{
    fs::File,
    io::{BufWriter, IsTerminal, Write},
    path::Path,
};

use anyhow::Context;
use serde_json::json;
use warrantor_control::{
    audit::{Evidence, Found, Verified, export, verify},
    crossings::{CompareError, Compared, Receipt, Side, compared, receipts},
    keys::KeyDirectory,
};
use warrantor_ledger::VerifierKey;
use warrantor_model::{
    Clock,
    record::{Event, LedgerRecord, Record},
};
use warrantor_store::{Commit, ReadError, Store};
use warrantor_store_sql::{OpenError, Options, SqliteStore};

use crate::{
    args::{AuditCommand, CrossingsArgs, EpochArgs, ExportArgs, Place, VerifyArgs},
    command::block_on,
    deployment::{Deployment, Paths},
    output::{Exit, Output, Usage},
};

pub(crate) fn run(command: AuditCommand, out: Output) -> anyhow::Result<Exit> {
    match command {
        AuditCommand::Verify(args) => block_on(verify_ledger(args, out)),
        AuditCommand::Export(args) => block_on(export_ledger(args, out)),
        AuditCommand::Crossings(args) => block_on(crossings(args, out)),
        AuditCommand::RotateKey(args) => block_on(rotate(args.place, out)),
        AuditCommand::BeginEpoch(args) => block_on(begin_epoch(args, out)),
        AuditCommand::ConfirmClock(args) => block_on(confirm_clock(args, out)),
    }
}

/// The store alone: verifying makes no keys and signs nothing.
async fn store_at(place: &Place) -> anyhow::Result<SqliteStore> {
    let paths = Paths::of(place)?;
    if !paths.database().exists() {
        return Err(Usage(format!("there is no ledger at {}: give --data DIR", paths.data.display())).into());
    }
    Ok(SqliteStore::open(paths.database(), Options::default()).await?)
}

/// What an audit comes to when not even the head reads: the records cannot be held against anything.
fn damaged_head(cause: &ReadError) -> Verified {
    let finding = Found { index: None, message: cause.to_string() };
    Verified {
        ok: false,
        size: 0,
        root: String::new(),
        signed: 0,
        checkpoints: 0,
        findings: vec![finding],
        omitted: 0,
    }
}

async fn verify_ledger(args: VerifyArgs, out: Output) -> anyhow::Result<Exit> {
    let paths = Paths::of(&args.place)?;
    let store = match store_at(&args.place).await {
        Ok(store) => store,
        Err(cause) => {
            let Some(OpenError::Head(damage @ ReadError::Corrupt { .. })) = cause.downcast_ref() else {
                return Err(cause);
            };
            let verified = damaged_head(damage);
            out.answer(&verified, |to| tell(&verified, to))?;
            return Ok(Exit::Wrong);
        }
    };
    let directory = KeyDirectory::existing(&paths.keys);
    let keys: Vec<VerifierKey> = if args.key.is_empty() {
        let directory = directory
            .as_ref()
            .map_err(|cause| anyhow::anyhow!("{cause}"))
            .context("no keys to trust: give --key or --keys")?;
        directory.trusted()?
    } else {
        args.key
            .iter()
            .map(|key| key.parse().with_context(|| format!("{key:?} is no verifier key")))
            .collect::<anyhow::Result<_>>()?
    };
    let origin = keys.first().map(|key| key.name().clone()).context("no keys to trust: give --key")?;
    let last = match &directory {
        Ok(directory) => directory.last_signed()?,
        Err(_) => None,
    };
    let held = args
        .checkpoint
        .iter()
        .map(|path| std::fs::read(path).with_context(|| format!("{} cannot be read", path.display())))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let evidence = Evidence { origin: &origin, keys: &keys, last_signed: last.as_deref(), held: &held };
    let shows = std::io::stderr().is_terminal();
    let verified = verify(&store, &evidence, |done, all| {
        if shows && all > 10_000 {
            let _ = write!(std::io::stderr(), "\r{done} of {all} records");
        }
    })
    .await?;
    if shows && verified.size > 10_000 {
        let _ = writeln!(std::io::stderr());
    }
    out.answer(&verified, |to| tell(&verified, to))?;
    store.close().await;
    Ok(if verified.ok { Exit::Done } else { Exit::Wrong })
}

fn tell(verified: &Verified, to: &mut dyn Write) -> std::io::Result<()> {
    writeln!(to, "{} records, root {}", verified.size, verified.root)?;
    writeln!(
        to,
        "{} signed checkpoints hold, the last over {} records",
        verified.checkpoints, verified.signed
    )?;
    if verified.ok {
        return writeln!(to, "Nothing was changed, removed, reordered or rolled back.");
    }
    writeln!(to, "The ledger was tampered with or damaged:")?;
    for found in &verified.findings {
        writeln!(to, "  {}", found.message)?;
    }
    if verified.omitted > 0 {
        writeln!(to, "  … and {} more", verified.omitted)?;
    }
    Ok(())
}

async fn export_ledger(args: ExportArgs, out: Output) -> anyhow::Result<Exit> {
    let store = store_at(&args.place).await?;
    let exported = match &args.file {
        Some(path) => {
            let mut file = BufWriter::new(create(path)?);
            let count = export(&store, args.from, &mut file).await?;
            file.flush()?;
            out.answer(&json!({ "records": count, "file": path }), |to| {
                writeln!(to, "{count} records in {}", path.display())
            })
        }
        None => match export(&store, args.from, &mut std::io::stdout().lock()).await {
            Err(warrantor_control::audit::ExportError::Write(cause))
                if cause.kind() == std::io::ErrorKind::BrokenPipe =>
            {
                Ok(())
            }
            other => other.map(drop).map_err(Into::into),
        },
    };
    store.close().await;
    exported.map(|()| Exit::Done)
}

async fn crossings(args: CrossingsArgs, out: Output) -> anyhow::Result<Exit> {
    let store = store_at(&args.place).await?;
    let ours = receipts(&store, args.domain.as_deref()).await?;
    store.close().await;
    let Some(file) = args.compare else {
        out.answer(&ours, |to| tell_receipts(&ours, to))?;
        return Ok(Exit::Done);
    };
    let theirs = std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let domain = args.domain.unwrap_or_default();
    let found = serde_json::from_slice::<Vec<Receipt<serde_json::Value>>>(&theirs)
        .map_err(CompareError::from)
        .and_then(|theirs| compared(&domain, &ours, &theirs))
        .map_err(|cause| Usage(format!("{} cannot be compared: {cause}", file.display())))?;
    out.answer(&found, |to| tell_compared(&found, to))?;
    Ok(if found.ok { Exit::Done } else { Exit::Wrong })
}

fn tell_receipts(receipts: &[Receipt], to: &mut dyn Write) -> std::io::Result<()> {
    if receipts.is_empty() {
        return writeln!(to, "Nothing crossed.");
    }
    for receipt in receipts {
        let crossing = &receipt.crossing;
        let side = match receipt.side {
            Side::Gave => format!("given to {}", crossing.audience),
            Side::Took => format!("taken of {}", crossing.issuer),
            Side::Refused => format!("refused of {}", crossing.issuer),
        };
        writeln!(to, "{}  {side}", receipt.at)?;
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        writeln!(to, "  {} for {} at {}", crossing.client, crossing.subject, or_none(&crossing.resource))?;
        writeln!(to, "  grant {} {}", crossing.id, crossing.grant)?;
        match receipt.side {
            Side::Gave => writeln!(to, "  mandate {}", or_none(&crossing.mandate))?,
            Side::Took | Side::Refused => {
                writeln!(
                    to,
                    "  mandate there {}, here {}",
                    or_none(&crossing.mandate),
                    or_none(&receipt.mandate)
                )?;
            }
        }
        if let Some(reason) = &receipt.reason {
            writeln!(to, "  {reason}")?;
        }
        writeln!(to, "  record {}, leaf {}", receipt.index, receipt.leaf)?;
    }
    Ok(())
}

fn tell_compared(found: &Compared, to: &mut dyn Write) -> std::io::Result<()> {
    writeln!(to, "{} grants were made by one and taken by the other, in the same words", found.matching)?;
    for (what, names) in [
        ("was made and not taken", &found.unused),
        ("WAS TAKEN AND NEVER MADE", &found.never_made),
        ("IS RECORDED DIFFERENTLY", &found.differing),
        ("WAS MADE OR TAKEN TWICE", &found.twice),
    ] {
        for name in names {
            writeln!(to, "  {name} {what}")?;
        }
    }
    if found.ok {
        Ok(())
    } else {
        writeln!(
            to,
            "The two have not recorded the same: one of them has a key that is not its own, or keeps other books."
        )
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    File::create(path).with_context(|| format!("{} cannot be written", path.display()))
}

async fn rotate(place: Place, out: Output) -> anyhow::Result<Exit> {
    let deployment = Deployment::existing(&place).await?;
    let key =
        deployment.keeper().rotate(&*deployment.clock, &*deployment.randomness, &deployment.hand).await?;
    out.answer(&json!({ "key": key }), |to| {
        writeln!(to, "Checkpoints are signed by a new key from now on:\n\n  {key}\n")?;
        writeln!(to, "Give it to whoever verifies; the old key stays trusted for what it signed.")
    })?;
    deployment.store.close().await;
    Ok(Exit::Done)
}

async fn begin_epoch(args: EpochArgs, out: Output) -> anyhow::Result<Exit> {
    let deployment = Deployment::existing(&args.place).await?;
    let epoch = deployment
        .keeper()
        .begin_epoch(&*deployment.clock, &*deployment.randomness, &deployment.hand)
        .await?;
    out.answer(&json!({ "epoch": epoch }), |to| {
        writeln!(to, "Epoch {epoch} has begun, and the ledger says what was lost")
    })?;
    deployment.store.close().await;
    Ok(Exit::Done)
}

async fn confirm_clock(args: EpochArgs, out: Output) -> anyhow::Result<Exit> {
    let deployment = Deployment::existing(&args.place).await?;
    let now = deployment.clock.now();
    let was = deployment.store.head().await?.last_at.unwrap_or(now);
    let event = Event::Ledger(LedgerRecord::ClockConfirmed { evidence: deployment.hand.clone(), was });
    let id = format!("c{:012x}", now.as_micros().max(0) / 1000);
    deployment.store.commit(Commit::new(Record::new(id, now, event))).await?;
    out.answer(&json!({ "confirmed": now, "was": was }), |to| {
        writeln!(to, "It is {now}; the last record was of {was}")
    })?;
    deployment.close().await?;
    Ok(Exit::Done)
}
