//! What people and programs see, and with which code we end.

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use serde::Serialize;
use warrantor_bundle::Report;
use warrantor_control::{handover::HandoverError, visible::visible};
use warrantor_model::IdError;

use crate::args::Format;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Passed or done.
    Done,
    /// Denied, or something is wrong with what was looked at.
    Wrong,
    /// It was asked for wrongly.
    Usage,
    /// It cannot be decided or acknowledged.
    CannotDecide,
    /// It waits for a person.
    Waiting,
}

/// What was asked for does not make sense; the text says what would.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An answer to a question was not taken: the text says why.
#[derive(Debug)]
pub(crate) struct NotAnswered(pub(crate) String);

impl std::fmt::Display for NotAnswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAnswered {}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Wrong => 1,
            Exit::Usage => 2,
            Exit::CannotDecide => 3,
            Exit::Waiting => 4,
        })
    }
}

impl Exit {
    /// What a failure ends with: 1 when a bundle is at fault or a handover refused, 2 when it was asked for wrongly, 3 otherwise.
    pub(crate) fn of_error(cause: &anyhow::Error) -> Self {
        let handover = cause.downcast_ref::<HandoverError>();
        if cause.is::<Report>()
            || cause.is::<NotAnswered>()
            || matches!(handover, Some(HandoverError::Ended { .. } | HandoverError::Refused { .. }))
        {
            Self::Wrong
        } else if cause.is::<Usage>()
            || cause.is::<IdError>()
            || matches!(handover, Some(HandoverError::Unknown { .. }))
        {
            Self::Usage
        } else {
            Self::CannotDecide
        }
    }
}

/// Where answers go and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let json = match format {
            Format::Auto => !std::io::stdout().is_terminal(),
            Format::Table => false,
            Format::Json => true,
        };
        Self { json }
    }

    /// Whether programs read us.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Answers: as JSON, or as what `table` writes.
    pub(crate) fn answer<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = anstream::stdout().lock();
        let result = if self.json {
            serde_json::to_writer_pretty(&mut out, value)
                .map_err(std::io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
        } else {
            let mut told = Vec::new();
            table(&mut told).and_then(|()| out.write_all(visible(&String::from_utf8_lossy(&told)).as_bytes()))
        };
        pipe(result.and_then(|()| out.flush()))
    }

    /// Writes text as it is.
    pub(crate) fn text(self, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        pipe(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// A line on standard error: progress, hints.
    pub(crate) fn note(self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{text}");
    }

    /// A failure on standard error: a report with its places, or an error with its causes.
    pub(crate) fn failure(self, cause: &anyhow::Error) {
        let mut err = anstream::stderr();
        if let Some(report) = cause.downcast_ref::<Report>() {
            let _ = write!(err, "{}", render(report));
            let _ = writeln!(err, "{report}");
            return;
        }
        let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
        let _ = writeln!(err, "{style}error:{style:#} {cause}");
        let mut said = cause.to_string();
        for deeper in cause.chain().skip(1) {
            let text = deeper.to_string();
            // Transparent errors and those that quote their cause say it once.
            if !said.contains(&text) {
                let _ = writeln!(err, "  because {text}");
                said.push_str(&text);
            }
        }
    }
}

/// A reader that closed its pipe has read what it wanted.
fn pipe(result: std::io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A report with source lines and cures.
pub(crate) fn render(report: &Report) -> String {
    let plain =
        !std::io::stderr().is_terminal() || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let theme =
        if plain { miette::GraphicalTheme::unicode_nocolor() } else { miette::GraphicalTheme::unicode() };
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(100).without_cause_chain();
    let mut text = String::new();
    for diagnostic in report.diagnostics() {
        if handler.render_report(&mut text, diagnostic).is_err() {
            text.push_str(&format!("{}: {diagnostic}", diagnostic.place()));
        }
        text.push('\n');
    }
    if report.omitted() > 0 {
        text.push_str(&format!("… and {} more\n", report.omitted()));
    }
    text
}

/// Left-aligned columns.
pub(crate) fn columns(out: &mut dyn Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = width(column).saturating_sub(cell.chars().count()).saturating_add(2);
            line.push_str(cell);
            line.push_str(&" ".repeat(padding));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
