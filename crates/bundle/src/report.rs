//! What is wrong with a bundle: every fault of every file, each with its place and its cure.
//!
//! A report is data (it serializes) and every diagnostic can be printed with the line it is about (`miette`).

use std::{fmt, sync::Arc};

use miette::{LabeledSpan, NamedSource, SourceCode};
use serde::Serialize;
use thiserror::Error;

use crate::tree::Span;

/// Most diagnostics a report keeps. What is wrong beyond that is counted, not listed.
pub const MAX_DIAGNOSTICS: usize = 500;

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The bundle does not load.
    Error,
    /// The bundle loads; its author should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing wrong with a bundle.
#[derive(Debug, Clone, Serialize, Error)]
#[error("{message}")]
pub struct Diagnostic {
    /// How much it weighs.
    pub severity: Severity,
    /// The file within the bundle, `/` between directories; empty when it concerns the directory.
    pub file: String,
    /// The line, counted from 1; absent when the fault has no place within the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in characters, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    #[serde(skip)]
    span: Option<Span>,
    #[serde(skip)]
    named: Option<Arc<NamedSource<Arc<str>>>>,
}

impl Diagnostic {
    /// The bytes of the file it is about: offset and length.
    #[must_use]
    pub fn span(&self) -> Option<(usize, usize)> {
        self.span.map(|span| (span.start, span.end.saturating_sub(span.start)))
    }

    /// `file:line:column`, as much of it as is known.
    #[must_use]
    pub fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }
}

impl Diagnostic {
    /// The same without the text that it is about, which has a secret in it: reports go to logs. The place is said in words.
    pub(crate) fn unshown(mut self) -> Self {
        let line = self.line.map(|line| format!(", line {line}")).unwrap_or_default();
        self.message = format!("{} ({}{line}, which is not shown)", self.message, self.file);
        (self.span, self.named) = (None, None);
        self
    }
}

impl miette::Diagnostic for Diagnostic {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.cure.as_ref().map(|cure| Box::new(cure) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.named.as_deref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (offset, length) = self.span()?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, offset, length))))
    }
}

/// Everything that is wrong with a bundle, files in order, and within a file from top to bottom.
#[derive(Debug, Clone, Default, Serialize, Error)]
#[error("{}", self.summary())]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    /// How many more there are than are listed.
    omitted: usize,
    #[serde(skip)]
    told_errors: usize,
}

impl Report {
    /// What is wrong, in the order of files and lines.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many diagnostics are not listed because there are more than [`MAX_DIAGNOSTICS`].
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// How many listed errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    /// How many listed warnings there are.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// Whether the bundle loads.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.told_errors == 0
    }

    /// Grows with every error, also with those that are not listed.
    pub(crate) fn weight(&self) -> usize {
        self.told_errors
    }

    /// How much is wrong, and the first of it, in a line.
    fn summary(&self) -> String {
        let counts =
            format!("{} and {}", counted(self.errors(), "error"), counted(self.warnings(), "warning"));
        let error = self.diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error);
        match error.or(self.diagnostics.first()) {
            Some(first) => format!("{counts}; the first is {}: {}", first.place(), first.message),
            None => counts,
        }
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// Errors come before warnings when there are too many to keep: what keeps a bundle from loading must not be crowded out.
    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if diagnostic.severity == Severity::Error {
            self.told_errors = self.told_errors.saturating_add(1);
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
            return;
        }
        self.omitted = self.omitted.saturating_add(1);
        if diagnostic.severity == Severity::Error
            && let Some(lesser) = self.diagnostics.iter_mut().rev().find(|d| d.severity == Severity::Warning)
        {
            *lesser = diagnostic;
        }
    }

    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    pub(crate) fn sort(&mut self) {
        self.diagnostics.sort_by(|a, b| (&a.file, a.span, a.severity).cmp(&(&b.file, b.span, b.severity)));
        self.diagnostics.dedup_by(|a, b| {
            (&a.file, a.span, &a.message, a.severity) == (&b.file, b.span, &b.message, b.severity)
        });
    }
}

fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.0.diagnostics {
            writeln!(f, "{}: {}: {}", diagnostic.place(), diagnostic.severity, diagnostic.message)?;
            if let Some(cure) = &diagnostic.cure {
                writeln!(f, "  {cure}")?;
            }
        }
        match self.0.omitted {
            0 => Ok(()),
            omitted => writeln!(f, "{omitted} more are not listed"),
        }
    }
}

/// A report as plain lines, `file:line:column: error: message`, for logs and tests.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a>(pub &'a Report);

/// The text of a file, for places in it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    file: String,
    text: Arc<str>,
    named: Arc<NamedSource<Arc<str>>>,
}

impl Source {
    pub(crate) fn new(file: &str, text: &str) -> Self {
        let text: Arc<str> = text.into();
        let named = Arc::new(NamedSource::new(file, Arc::clone(&text)));
        Self { file: file.to_owned(), text, named }
    }

    /// A diagnostic at these bytes; without them, about the file as a whole.
    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        span: Option<Span>,
        message: impl Into<String>,
        cure: Option<String>,
    ) -> Diagnostic {
        let span = span.map(|span| self.within(span));
        let place = span.map(|span| self.line_and_column(span.start));
        Diagnostic {
            severity,
            file: self.file.clone(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message: message.into(),
            cure,
            span,
            named: span.map(|_| Arc::clone(&self.named)),
        }
    }

    fn within(&self, span: Span) -> Span {
        let start = self.boundary(span.start);
        Span { start, end: self.boundary(span.end).max(start) }
    }

    /// The nearest character boundary at or before the offset.
    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset = offset.saturating_sub(1);
        }
        offset
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.chars().rev().take_while(|c| *c != '\n').count().saturating_add(1);
        (line, column)
    }
}

/// A diagnostic about the directory, or about a file whose text could not be read.
pub(crate) fn about(
    severity: Severity,
    file: &str,
    message: impl Into<String>,
    cure: Option<String>,
) -> Diagnostic {
    Diagnostic {
        severity,
        file: file.to_owned(),
        line: None,
        column: None,
        message: message.into(),
        cure,
        span: None,
        named: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new("people.yaml", "a: ü\nbé: x\r\nc");
        for (offset, place) in [
            (0, "people.yaml:1:1"),
            (3, "people.yaml:1:4"),
            (4, "people.yaml:1:4"),
            (5, "people.yaml:1:5"),
            (6, "people.yaml:2:1"),
            (9, "people.yaml:2:3"),
            (14, "people.yaml:3:1"),
            (99, "people.yaml:3:2"),
        ] {
            let found =
                source.diagnostic(Severity::Error, Some(Span { start: offset, end: offset }), "m", None);
            assert_eq!(found.place(), place, "offset {offset}");
        }
    }

    #[test]
    fn errors_are_kept_before_warnings_when_there_are_too_many() {
        let mut report = Report::default();
        for index in 0..MAX_DIAGNOSTICS {
            report.push(about(Severity::Warning, "f", format!("w{index}"), None));
        }
        report.push(about(Severity::Error, "f", "e", None));
        report.push(about(Severity::Warning, "f", "one more", None));
        assert_eq!((report.errors(), report.omitted()), (1, 2));
        assert!(!report.is_passed());
        assert!(Listed(&report).to_string().ends_with("2 more are not listed\n"));
    }
}
