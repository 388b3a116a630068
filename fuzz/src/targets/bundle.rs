//! The files of a bundle: each is read, or refused at a place that it has, with what to do about it.

use warrantor_bundle::{FileKind, Report, parse_any, parse_definitions};

use crate::Reading;

pub(crate) fn people(bytes: &[u8]) -> Reading {
    file(FileKind::People, bytes)
}

pub(crate) fn agents(bytes: &[u8]) -> Reading {
    file(FileKind::Agents, bytes)
}

pub(crate) fn trackers(bytes: &[u8]) -> Reading {
    file(FileKind::Trackers, bytes)
}

pub(crate) fn manifest(bytes: &[u8]) -> Reading {
    file(FileKind::Manifest, bytes)
}

pub(crate) fn mandate(bytes: &[u8]) -> Reading {
    file(FileKind::Mandate, bytes)
}

pub(crate) fn serve(bytes: &[u8]) -> Reading {
    file(FileKind::Serve, bytes)
}

pub(crate) fn config(bytes: &[u8]) -> Reading {
    file(FileKind::Config, bytes)
}

pub(crate) fn trace(bytes: &[u8]) -> Reading {
    file(FileKind::Trace, bytes)
}

pub(crate) fn gateway(bytes: &[u8]) -> Reading {
    file(FileKind::Gateway, bytes)
}

pub(crate) fn tokens(bytes: &[u8]) -> Reading {
    file(FileKind::Tokens, bytes)
}

pub(crate) fn definitions(bytes: &[u8]) -> Reading {
    judge(&parse_definitions(bytes), bytes)
}

fn file(kind: FileKind, bytes: &[u8]) -> Reading {
    judge(&parse_any(kind, bytes), bytes)
}

fn judge(report: &Report, bytes: &[u8]) -> Reading {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    for diagnostic in report.diagnostics() {
        assert!(!diagnostic.message.is_empty(), "nothing is said: {diagnostic:?}");
        assert!(
            diagnostic.line.is_none_or(|line| (1..=lines).contains(&line)),
            "no such line among {lines}: {diagnostic:?}"
        );
        assert!(diagnostic.column.is_none_or(|column| column >= 1), "no such column: {diagnostic:?}");
        if let Some((start, length)) = diagnostic.span() {
            assert!(start + length <= bytes.len(), "no such span: {diagnostic:?}");
        }
    }
    if report.is_passed() { Reading::Taken } else { Reading::Refused }
}
