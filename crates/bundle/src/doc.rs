//! One file of a bundle: its text, its tree, and the diagnostics about it.

use serde::de::DeserializeOwned;
use warrantor_model::Json;

use crate::{
    json, read,
    report::{Diagnostic, Report, Severity, Source, about},
    toml,
    tree::{Node, Span},
    yaml,
    yaml::SyntaxFault,
};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
    Toml,
}

impl Format {
    /// By the file's extension.
    pub(crate) fn of(file: &str) -> Option<Self> {
        match file.rsplit_once('.')?.1 {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// A file that was read into a tree.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    file: String,
    /// Absent for documents from a store, which have no lines.
    source: Option<Source>,
    pub(crate) tree: Node,
}

impl Doc {
    /// Reads a file. What cannot be read is in the report then.
    pub(crate) fn parse(file: &str, bytes: &[u8], format: Format, report: &mut Report) -> Option<Self> {
        let text = utf8(file, bytes, report)?;
        let source = Source::new(file, text);
        let parsed = match format {
            Format::Yaml => yaml::parse(text),
            Format::Json => json::parse(text),
            Format::Toml => toml::parse(text),
        };
        match parsed {
            Ok(tree) => Some(Self { file: file.to_owned(), source: Some(source), tree }),
            Err(faults) => {
                for SyntaxFault { span, message, cure } in faults {
                    report.push(source.diagnostic(Severity::Error, span, message, cure));
                }
                None
            }
        }
    }

    /// A document from a store.
    pub(crate) fn of_json(name: &str, json: &Json) -> Self {
        Self { file: name.to_owned(), source: None, tree: Node::from_json(json) }
    }

    /// Reads the structure. What is at fault is in the report and no longer in the tree.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, report: &mut Report) -> Option<T> {
        let mut faults = Vec::new();
        let read = read::read(&mut self.tree, &mut faults);
        for fault in faults {
            self.tell(report, Severity::Error, fault.span, fault.message, fault.cure);
        }
        read
    }

    pub(crate) fn tell(
        &self,
        report: &mut Report,
        severity: Severity,
        span: Span,
        message: impl Into<String>,
        cure: Option<String>,
    ) {
        report.push(match &self.source {
            Some(source) => source.diagnostic(severity, Some(span), message, cure),
            None => about(severity, &self.file, message, cure),
        });
    }

    pub(crate) fn error<S: AsRef<str>>(
        &self,
        report: &mut Report,
        pointer: &[S],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.tell(report, Severity::Error, self.tree.place(pointer), message, some(cure));
    }

    /// An error about something secret, whose text is not repeated.
    pub(crate) fn error_unshown<S: AsRef<str>>(
        &self,
        report: &mut Report,
        pointer: &[S],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        let span = self.tree.place(pointer);
        let told = match &self.source {
            Some(source) => source.diagnostic(Severity::Error, Some(span), message, some(cure)),
            None => about(Severity::Error, &self.file, message, some(cure)),
        };
        report.push(told.unshown());
    }

    /// An error about a name and not about what it names.
    pub(crate) fn error_at_key<S: AsRef<str>>(
        &self,
        report: &mut Report,
        pointer: &[S],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.tell(report, Severity::Error, self.tree.key_place(pointer), message, some(cure));
    }

    pub(crate) fn warn<S: AsRef<str>>(
        &self,
        report: &mut Report,
        pointer: &[S],
        message: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.tell(report, Severity::Warning, self.tree.place(pointer), message, some(cure));
    }
}

fn some(cure: impl Into<String>) -> Option<String> {
    Some(cure.into()).filter(|cure| !cure.is_empty())
}

/// The text of a file.
pub(crate) fn utf8<'a>(file: &str, bytes: &'a [u8], report: &mut Report) -> Option<&'a str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(cause) => {
            let before = bytes.get(..cause.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok());
            let source = Source::new(file, before.unwrap_or_default());
            let at = Span { start: cause.valid_up_to(), end: cause.valid_up_to() };
            let cure = Some("save the file as UTF-8".to_owned());
            report.push(source.diagnostic(Severity::Error, Some(at), "the file is not UTF-8", cure));
            None
        }
    }
}

/// Whether a report gained no error while something was done.
pub(crate) fn without_error(report: &mut Report, work: impl FnOnce(&mut Report)) -> bool {
    let before = report.weight();
    work(report);
    report.weight() == before
}

/// A diagnostic about a file as a whole.
pub(crate) fn whole(file: &str, severity: Severity, message: impl Into<String>, cure: &str) -> Diagnostic {
    about(severity, file, message, some(cure))
}
