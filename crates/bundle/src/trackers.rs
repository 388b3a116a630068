//! The file of trackers into trackers. Whether the tools they name are there is judged with the rest of the bundle.

use std::time::Duration;

use warrantor_model::{
    Path,
    time::parse_duration,
    tracker::{Per, Tracked, TrackedOutcome, Tracker},
};

use crate::{
    doc::Doc,
    files::trackers::{self, TrackedPer, TrackerEntry},
    read,
    report::Report,
    tree::short,
};

/// Longest window: counts of a year and more are reports.
const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 3600);
/// Shortest window, so that a bucket is not shorter than clocks of one machine differ.
const MIN_WINDOW: Duration = Duration::from_secs(60);

/// Reads one tracker. What is wrong is in the report; then there is none.
pub(crate) fn tracker(doc: &Doc, name: &str, entry: &TrackerEntry, report: &mut Report) -> Option<Tracker> {
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !word {
        let cure = "begin with a letter, then letters, digits and `_`, so that policies can name it";
        doc.error_at_key(report, &[name], format!("{:?} is no name of a tracker", short(name)), cure);
        return None;
    }
    let what = what(doc, name, entry, report)?;
    let window = match parse_duration(&entry.window) {
        Ok(window) if window > MAX_WINDOW || window < MIN_WINDOW => {
            let cure = "write a window between a minute and 366 days";
            doc.error(
                report,
                &[name, "window"],
                format!("{:?} is no window of a tracker", short(&entry.window)),
                cure,
            );
            return None;
        }
        Ok(window) => window,
        Err(cause) => {
            let (what, cure) = read::split_cure(&cause.to_string());
            doc.error(report, &[name, "window"], what, cure.unwrap_or_default());
            return None;
        }
    };
    for (field, empty) in [
        ("tools", entry.tools.as_ref().is_some_and(Vec::is_empty)),
        ("effects", entry.effects.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if empty {
            doc.error(
                report,
                &[name, field],
                format!("`{field}` is empty, so nothing is counted"),
                "name at least one",
            );
            return None;
        }
    }
    Some(Tracker {
        name: name.to_owned(),
        what,
        tools: entry.tools.as_ref().map(|tools| tools.iter().cloned().collect()),
        effects: entry.effects.as_ref().map(|effects| effects.iter().copied().collect()),
        outcome: entry.outcome.map(|outcome| match outcome {
            trackers::TrackedOutcome::Success => TrackedOutcome::Success,
            trackers::TrackedOutcome::Error => TrackedOutcome::Error,
        }),
        window,
        per: match entry.per {
            TrackedPer::Task => Per::Task,
            TrackedPer::Mandate => Per::Mandate,
            TrackedPer::Agent => Per::Agent,
            TrackedPer::Person => Per::Person,
            TrackedPer::Tool => Per::Tool,
            TrackedPer::Organization => Per::Organization,
        },
    })
}

fn what(doc: &Doc, name: &str, entry: &TrackerEntry, report: &mut Report) -> Option<Tracked> {
    match (&entry.sum, entry.count) {
        (None, Some(true)) => Some(Tracked::Count),
        (Some(sum), None) => {
            let path = sum.strip_prefix("arguments.").and_then(|path| path.parse::<Path>().ok());
            if path.is_none() {
                let message = format!("{:?} is no argument", short(sum));
                doc.error(
                    report,
                    &[name, "sum"],
                    message,
                    "write `arguments.` and a path, such as arguments.amount",
                );
            }
            path.map(Tracked::Sum)
        }
        _ => {
            let message = format!("the tracker {name} does not say what it counts");
            doc.error(
                report,
                &[name],
                message,
                "give `count: true`, or `sum: arguments.PATH`, one of the two",
            );
            None
        }
    }
}
