//! The published JSON Schemas, and reading one document of any kind by itself.
//!
//! A schema refuses nothing that the reader takes; the reader is stricter where a schema cannot say it (one of two fields, an amount that is
//! exact, a reference that leads somewhere).

use std::{fmt, str::FromStr};

use schemars::{SchemaGenerator, generate::SchemaSettings};
use thiserror::Error;
use warrantor_model::Json;

use crate::{
    config,
    definitions::Definitions,
    doc::{Doc, Format},
    files::{
        config::ConfigFile,
        gateway::{GatewayFile, TokensFile},
        mandate::MandateFile,
        manifest::ManifestFile,
        people::{AgentsFile, PeopleFile},
        serve::ServeFile,
        trace::{TraceCall, TraceLine, TraceResult, TraceTask},
        trackers::TrackersFile,
    },
    report::Report,
    terms,
};

/// A format of design section 4 that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `people.yaml`
    People,
    /// `agents.yaml`
    Agents,
    /// `trackers.yaml`
    Trackers,
    /// `tools/*.yaml`
    Manifest,
    /// `mandates/*.yaml`
    Mandate,
    /// `warrantor.toml`
    Config,
    /// A line of a trace.
    Trace,
    /// `gateway.toml`
    Gateway,
    /// A gateway's file of tokens.
    Tokens,
    /// `serve.toml`
    Serve,
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{found:?} is no format: there are people, agents, trackers, manifest, mandate, config, trace, gateway, tokens and serve"
)]
pub struct UnknownKind {
    found: String,
}

impl FileKind {
    /// Every format.
    pub const ALL: [Self; 10] = [
        Self::People,
        Self::Agents,
        Self::Trackers,
        Self::Manifest,
        Self::Mandate,
        Self::Config,
        Self::Trace,
        Self::Gateway,
        Self::Tokens,
        Self::Serve,
    ];

    /// The word for it on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Agents => "agents",
            Self::Trackers => "trackers",
            Self::Manifest => "manifest",
            Self::Mandate => "mandate",
            Self::Config => "config",
            Self::Trace => "trace",
            Self::Gateway => "gateway",
            Self::Tokens => "tokens",
            Self::Serve => "serve",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileKind {
    type Err = UnknownKind;
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind { found: text.chars().take(40).collect() })
    }
}

/// The JSON Schema (2020-12) of a format.
#[must_use]
pub fn schema(kind: FileKind) -> serde_json::Value {
    let generator = || SchemaGenerator::new(SchemaSettings::draft2020_12().for_deserialize());
    let schema = match kind {
        FileKind::People => generator().into_root_schema_for::<PeopleFile>(),
        FileKind::Agents => generator().into_root_schema_for::<AgentsFile>(),
        FileKind::Trackers => generator().into_root_schema_for::<TrackersFile>(),
        FileKind::Manifest => generator().into_root_schema_for::<ManifestFile>(),
        FileKind::Mandate => generator().into_root_schema_for::<MandateFile>(),
        FileKind::Config => generator().into_root_schema_for::<ConfigFile>(),
        FileKind::Trace => generator().into_root_schema_for::<TraceLine>(),
        FileKind::Gateway => generator().into_root_schema_for::<GatewayFile>(),
        FileKind::Tokens => generator().into_root_schema_for::<TokensFile>(),
        FileKind::Serve => generator().into_root_schema_for::<ServeFile>(),
    };
    schema.to_value()
}

/// Reads a document of a kind by itself and tells what is wrong with it: what editors and fuzzers use. Manifests are read without their
/// definitions, and nothing is checked against other files. Never panics, whatever the bytes are.
#[must_use]
pub fn parse_any(kind: FileKind, bytes: &[u8]) -> Report {
    let mut report = Report::default();
    let format = match kind {
        FileKind::Config | FileKind::Gateway | FileKind::Tokens | FileKind::Serve => Format::Toml,
        FileKind::Trace => Format::Json,
        _ => Format::Yaml,
    };
    let Some(mut doc) = Doc::parse(kind.as_str(), bytes, format, &mut report) else { return report };
    match kind {
        FileKind::People => drop(doc.read::<PeopleFile>(&mut report)),
        FileKind::Agents => drop(doc.read::<AgentsFile>(&mut report)),
        FileKind::Trackers => drop(doc.read::<TrackersFile>(&mut report)),
        FileKind::Manifest => drop(doc.read::<ManifestFile>(&mut report)),
        FileKind::Mandate => drop(terms::read_terms(&mut doc, &mut report)),
        FileKind::Config => {
            if let Some(file) = doc.read::<ConfigFile>(&mut report) {
                config::config(&doc, file, &mut report);
            }
        }
        FileKind::Trace => drop(read_trace_line(&mut doc, &mut report)),
        FileKind::Gateway => drop(doc.read::<GatewayFile>(&mut report)),
        FileKind::Tokens => drop(doc.read::<TokensFile>(&mut report)),
        FileKind::Serve => drop(doc.read::<ServeFile>(&mut report)),
    }
    report.sort();
    report
}

/// Reads the bytes of a `tools/list` answer and tells what is wrong with it. Never panics, whatever the bytes are.
#[must_use]
pub fn parse_definitions(bytes: &[u8]) -> Report {
    let mut report = Report::default();
    drop(Definitions::parse("definitions", bytes, &mut report));
    report
}

/// Reads one line of a trace.
///
/// # Errors
/// Everything that is wrong with the line; places count within the line.
pub fn trace_line(line: &str) -> Result<TraceLine, Report> {
    let mut report = Report::default();
    let read = Doc::parse("trace", line.as_bytes(), Format::Json, &mut report)
        .and_then(|mut doc| read_trace_line(&mut doc, &mut report));
    match read {
        Some(line) if report.is_passed() => Ok(line),
        _ => Err(report),
    }
}

fn read_trace_line(doc: &mut Doc, report: &mut Report) -> Option<TraceLine> {
    let tag = doc.tree.member("type").map(|node| node.to_json());
    match tag.as_ref().and_then(Json::as_str) {
        Some("task") => doc.read::<TraceTask>(report).map(TraceLine::Task),
        Some("call") => {
            let call = doc.read::<TraceCall>(report)?;
            if !matches!(call.arguments.0, Json::Object(_)) {
                let message = format!("the arguments are {}, not an object", call.arguments.0.type_name());
                doc.error(report, &["arguments"], message, "write the call's arguments as an object");
            }
            Some(TraceLine::Call(call))
        }
        Some("result") => doc.read::<TraceResult>(report).map(TraceLine::Result),
        _ => {
            let cure = "write \"type\": \"task\", \"call\" or \"result\"";
            doc.error(report, &["type"], "the line does not say what it is", cure);
            None
        }
    }
}
