//! `replay`.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;
use warrantor_bundle::load;
use warrantor_control::replay::{ReplayError, ReplaySettings, Replayed, Replayer};
use warrantor_model::record::Verdict;

use crate::{
    args::{Approve, ReplayArgs},
    output::{Exit, Output, Usage},
};

/// Longest line of a trace: a result and what is around it.
const MAX_LINE: usize = 16 << 20;
/// Lines between two signs of progress.
const PROGRESS: u64 = 5000;

#[expect(clippy::disallowed_methods, reason = "tells how long decisions take; nothing is decided by it")]
pub(crate) fn replay(args: &ReplayArgs, out: Output) -> anyhow::Result<Exit> {
    let bundle = load(&args.bundle)?;
    let other = args.against.as_deref().map(load).transpose()?;
    let settings =
        ReplaySettings { approve_all: args.approve == Approve::All, assume_executed: args.assume_executed };
    let began = Instant::now();
    let stopwatch = move || u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let new = |bundle| Replayer::new(bundle, settings, &stopwatch);
    let mut told = Told { out, writer: BufWriter::new(std::io::stdout()), counts: Counts::default() };
    for trace in &args.traces {
        // Each file is a trace of its own.
        let (mut one, mut two) = (new(&bundle), other.as_ref().map(new));
        let mut lines = Lines::open(trace)?;
        while let Some(line) = lines.next()? {
            if line.trim().is_empty() {
                continue;
            }
            let at_fault = |cause: ReplayError| at_fault(trace, lines.read, cause);
            let before = one.line(&line).map_err(at_fault)?;
            let after = two.as_mut().map(|two| two.line(&line)).transpose().map_err(at_fault)?.flatten();
            if let Some(before) = before {
                told.call(&before, after.as_ref(), other.is_some())?;
            }
            if lines.read.is_multiple_of(PROGRESS) && std::io::stderr().is_terminal() {
                out.note(&format!("{}: {} lines", trace.display(), lines.read));
            }
        }
    }
    told.counts.micros = stopwatch();
    told.finish(other.is_some())
}

/// What stops a replay: usage where the trace is at fault.
fn at_fault(trace: &Path, line: u64, cause: ReplayError) -> anyhow::Error {
    let place = format!("{}, line {line}", trace.display());
    match cause {
        ReplayError::Line(report) => {
            let text: Vec<String> = report.diagnostics().iter().map(|one| one.message.clone()).collect();
            Usage(format!("{place}: {}", text.join("; "))).into()
        }
        cause => Usage(format!("{place}: {cause}")).into(),
    }
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    calls: u64,
    pass: u64,
    ask: u64,
    deny: u64,
    differ: u64,
    micros: u64,
}

struct Told {
    out: Output,
    writer: BufWriter<std::io::Stdout>,
    counts: Counts,
}

impl Told {
    fn call(&mut self, before: &Replayed, after: Option<&Replayed>, comparing: bool) -> anyhow::Result<()> {
        self.counts.calls = self.counts.calls.saturating_add(1);
        let count = match before.decision {
            Verdict::Pass => &mut self.counts.pass,
            Verdict::Ask => &mut self.counts.ask,
            Verdict::Deny => &mut self.counts.deny,
        };
        *count = count.saturating_add(1);
        if !comparing {
            return self.line(
                &before,
                &format!("{}  {} {}  {}", word(before.decision), before.task, before.id, before.tool),
                before,
            );
        }
        let Some(after) = after.filter(|after| after.differs(before)) else { return Ok(()) };
        self.counts.differ = self.counts.differ.saturating_add(1);
        let said = |one: &Replayed| json!({ "decision": one.decision, "reasons": one.reasons, "sources": one.sources });
        let value = json!({
            "task": before.task, "id": before.id, "tool": before.tool, "label": before.label,
            "before": said(before), "after": said(after),
        });
        let head = format!(
            "{} -> {}  {} {}  {}",
            word(before.decision).trim(),
            word(after.decision).trim(),
            before.task,
            before.id,
            before.tool
        );
        self.line(&value, &head, after)
    }

    fn line<T: Serialize>(&mut self, value: &T, head: &str, one: &Replayed) -> anyhow::Result<()> {
        if self.out.is_json() {
            serde_json::to_writer(&mut self.writer, value)?;
            writeln!(self.writer)?;
            return Ok(());
        }
        writeln!(self.writer, "{head}  {}", one.reasons.join(", "))?;
        if one.decision != Verdict::Pass {
            for (argument, names) in &one.sources {
                writeln!(self.writer, "        {argument}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }

    fn finish(mut self, comparing: bool) -> anyhow::Result<Exit> {
        let Counts { calls, pass, ask, deny, differ, micros } = self.counts;
        if self.out.is_json() {
            serde_json::to_writer(&mut self.writer, &json!({ "summary": self.counts }))?;
            writeln!(self.writer)?;
        } else {
            let differ = if comparing { format!(", {differ} differ") } else { String::new() };
            writeln!(
                self.writer,
                "{calls} calls: {pass} pass, {ask} ask, {deny} deny{differ} ({:.1} s)",
                seconds(micros)
            )?;
        }
        self.writer.flush()?;
        Ok(if differ > 0 { Exit::Wrong } else { Exit::Done })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, to one decimal place")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Ask => "ask ",
        Verdict::Deny => "deny",
    }
}

/// The lines of a trace, each within its bound.
struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    read: u64,
}

impl Lines {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let reader: Box<dyn BufRead> = if path == Path::new("-") {
            Box::new(BufReader::new(std::io::stdin()))
        } else {
            let file = File::open(path)
                .map_err(|cause| Usage(format!("{} cannot be read: {cause}", path.display())))?;
            Box::new(BufReader::new(file))
        };
        Ok(Self { path: path.to_owned(), reader, read: 0 })
    }

    fn next(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = Vec::new();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut bounded = std::io::Read::take(&mut self.reader, most);
        let bytes = bounded
            .read_until(b'\n', &mut line)
            .with_context(|| format!("{} cannot be read", self.path.display()))?;
        if bytes == 0 {
            return Ok(None);
        }
        self.read = self.read.saturating_add(1);
        let place = || format!("{}, line {}", self.path.display(), self.read);
        if bytes >= MAX_LINE {
            return Err(Usage(format!("{}: a line of more than {MAX_LINE} bytes", place())).into());
        }
        String::from_utf8(line).map(Some).map_err(|_| Usage(format!("{}: not UTF-8", place())).into())
    }
}
