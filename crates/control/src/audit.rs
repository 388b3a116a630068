//! Verifying the ledger from its stored bytes, and exporting it.

use std::io::Write;

use serde::Serialize;
use thiserror::Error;
use warrantor_ledger::{
    Auditor, KeyName, VerifierKey,
    audit::{Claims, Row, StoredCheckpoint, StoredHead, Trust},
};
use warrantor_model::record::Record;
use warrantor_store::{MAX_PAGE, ReadError, Store};

/// Most findings about records that do not read.
const MAX_UNREADABLE: usize = 100;

/// What verifying needs beside the store.
pub struct Evidence<'a> {
    /// The log's name.
    pub origin: &'a KeyName,
    /// The keys to trust, had on another way than the store.
    pub keys: &'a [VerifierKey],
    /// The last signed checkpoint from the key directory.
    pub last_signed: Option<&'a str>,
    /// Checkpoints that the auditor kept.
    pub held: &'a [Vec<u8>],
}

/// What an audit came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Nothing is wrong.
    pub ok: bool,
    /// How many records there are.
    pub size: u64,
    /// Their root.
    pub root: String,
    /// Up to which record a signed checkpoint vouches.
    pub signed: u64,
    /// How many checkpoints hold.
    pub checkpoints: u64,
    /// What is wrong, and where.
    pub findings: Vec<Found>,
    /// How many findings are not listed.
    pub omitted: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The record it concerns, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// What is wrong.
    pub message: String,
}

/// Reads every record, derives the tree anew and compares it with everything that was stored and signed.
///
/// # Errors
/// [`ReadError`] when the store cannot be read at all; a store that reads as damaged is a finding.
pub async fn verify<S: Store>(
    store: &S,
    evidence: &Evidence<'_>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, ReadError> {
    // Checkpoints before the head: what is signed meanwhile is not missed among the records.
    let checkpoints = all_checkpoints(store).await?;
    let head = store.head().await?;
    let claims = Claims {
        head: StoredHead { size: head.size, root: head.root, frontier: head.frontier.to_bytes() },
        checkpoints: &checkpoints,
        last_signed: evidence.last_signed.map(str::as_bytes),
    };
    let trust = Trust { origin: evidence.origin, keys: evidence.keys, held: evidence.held };
    let mut auditor = Auditor::new(claims, &trust);
    let mut unreadable = Vec::new();
    let mut from = 0u64;
    loop {
        let page = match store.records(from, MAX_PAGE).await {
            Ok(page) => page,
            Err(ReadError::Corrupt { table, column, key, problem }) => {
                let message = format!("{table}.{column} of {key} cannot be read: {problem}");
                unreadable.push(Found { index: key.parse().ok(), message });
                break;
            }
            Err(cause) => return Err(cause),
        };
        let Some(last) = page.last() else { break };
        let next = last.index.saturating_add(1);
        for row in &page {
            // Rows beyond the head that was read were written since, unless the head has not moved.
            if row.index >= head.size && store.head().await?.size > head.size {
                break;
            }
            auditor.row(Row { index: row.index, entry: &row.bytes, leaf: row.leaf });
            if let Err(cause) = Record::from_bytes(&row.bytes)
                && unreadable.len() < MAX_UNREADABLE
            {
                unreadable.push(Found {
                    index: Some(row.index),
                    message: format!("record {} does not read: {cause}", row.index),
                });
            }
        }
        progress(next.min(head.size), head.size);
        if next <= from {
            break;
        }
        from = next;
        if from >= head.size && store.head().await?.size > head.size {
            break;
        }
    }
    let report = auditor.finish();
    let mut findings: Vec<Found> = report
        .findings()
        .iter()
        .map(|finding| Found { index: finding.index(), message: finding.to_string() })
        .collect();
    let ok = findings.is_empty() && unreadable.is_empty() && report.omitted() == 0;
    findings.extend(unreadable);
    Ok(Verified {
        ok,
        size: report.size(),
        root: report.root().to_string(),
        signed: report.signed_size(),
        checkpoints: report.checkpoints_verified(),
        findings,
        omitted: report.omitted(),
    })
}

async fn all_checkpoints<S: Store>(store: &S) -> Result<Vec<StoredCheckpoint>, ReadError> {
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let page = store.checkpoints(from, MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        from = last.size.saturating_add(1);
        all.extend(
            page.into_iter().map(|one| StoredCheckpoint { size: one.size, note: one.note.into_bytes() }),
        );
    }
}

/// Why an export stopped.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Whoever reads the export.
    #[error("the export cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// One line of an export.
#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    leaf: String,
    /// The canonical bytes, so that the tree can be derived from the export alone.
    bytes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a Record>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// Writes records as JSON Lines, from an index on. Gives how many.
///
/// # Errors
/// [`ExportError`].
pub async fn export<S: Store>(store: &S, from: u64, out: &mut impl Write) -> Result<u64, ExportError> {
    let (mut next, mut count) = (from, 0u64);
    loop {
        let page = store.records(next, MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(count) };
        next = last.index.saturating_add(1);
        for row in &page {
            let read = Record::from_bytes(&row.bytes);
            let line = Line {
                index: row.index,
                leaf: row.leaf.to_string(),
                bytes: hex::encode(&row.bytes),
                record: read.as_ref().ok(),
                unreadable: read.as_ref().err().map(ToString::to_string),
            };
            serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
            count = count.saturating_add(1);
        }
    }
}
