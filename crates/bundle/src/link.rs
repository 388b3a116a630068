//! The seam to the decision core: it judges what the files mean, and its places become lines here.

use std::collections::BTreeMap;

use warrantor_decide::{CompiledTerms, Fault, Parts, Place, Snapshot};
use warrantor_model::{ServerName, TemplateId, Terms};

use crate::{
    doc::{Doc, whole},
    open::Open,
    report::{Report, Severity, Source},
    tree::Span,
};

/// The documents that faults can be in.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) people: Option<Doc>,
    pub(crate) agents: Option<Doc>,
    pub(crate) trackers: Option<Doc>,
    pub(crate) manifests: BTreeMap<ServerName, Doc>,
    pub(crate) definitions: BTreeMap<ServerName, Doc>,
    pub(crate) policies: BTreeMap<String, Source>,
    pub(crate) mandates: BTreeMap<TemplateId, Doc>,
}

/// Builds the snapshot. What is wrong, and what an author should know, is in the report.
pub(crate) fn snapshot(parts: Parts, places: &Places, report: &mut Report) -> Option<Snapshot> {
    match Snapshot::build(parts) {
        Ok(built) => {
            places.tell_all(&built.warnings, report);
            Some(built.snapshot)
        }
        Err(faults) => {
            places.tell_all(&faults, report);
            None
        }
    }
}

/// Whether the bundle knows whom a mandate names; whoever is left open is nobody yet. Who is not known is in the report.
pub(crate) fn knows_actors(
    snapshot: &Snapshot,
    terms: &Terms,
    open: &Open,
    places: &Places,
    report: &mut Report,
) -> bool {
    let mut strangers = snapshot.actors(terms);
    strangers.retain(|fault| match &fault.place {
        Place::Mandate { pointer, .. } => match pointer.first().map(String::as_str) {
            Some("person") => !open.person,
            Some("sponsor") => !open.person || terms.sponsor != terms.person,
            Some("agent") => !open.agent,
            _ => true,
        },
        _ => true,
    });
    places.tell_all(&strangers, report);
    strangers.is_empty()
}

/// Compiles a mandate's terms. What is wrong, and what an author should know, is in the report.
pub(crate) fn compile(
    snapshot: &Snapshot,
    terms: Terms,
    places: &Places,
    report: &mut Report,
) -> Option<CompiledTerms> {
    match snapshot.compile(terms) {
        Ok(compiled) => {
            places.tell_all(compiled.warnings(), report);
            Some(compiled)
        }
        Err(faults) => {
            places.tell_all(&faults, report);
            None
        }
    }
}

impl Places {
    pub(crate) fn tell_all(&self, faults: &[Fault], report: &mut Report) {
        for fault in faults {
            self.tell(fault, report);
        }
    }

    fn tell(&self, fault: &Fault, report: &mut Report) {
        let severity = match fault.severity {
            warrantor_decide::Severity::Error => Severity::Error,
            warrantor_decide::Severity::Warning => Severity::Warning,
        };
        let (doc, pointer): (Option<&Doc>, &[String]) = match &fault.place {
            Place::Bundle => (None, &[]),
            Place::People { pointer } => (self.people.as_ref(), pointer),
            Place::Agents { pointer } => (self.agents.as_ref(), pointer),
            Place::Trackers { pointer } => (self.trackers.as_ref(), pointer),
            Place::Manifest { server, pointer } => (self.manifests.get(server), pointer),
            Place::Definitions { server } => (self.definitions.get(server), &[]),
            Place::Mandate { template, pointer } => (self.mandates.get(template), pointer),
            Place::Policy { file, offset, length } => {
                if let Some(source) = self.policies.get(file) {
                    let span = Span { start: *offset, end: offset.saturating_add(*length) };
                    report.push(source.diagnostic(severity, Some(span), &fault.message, fault.cure.clone()));
                    return;
                }
                (None, &[])
            }
        };
        match doc {
            Some(doc) => {
                doc.tell(report, severity, doc.tree.place(pointer), &fault.message, fault.cure.clone())
            }
            None => {
                let cure = fault.cure.as_deref().unwrap_or_default();
                report.push(whole("", severity, &fault.message, cure));
            }
        }
    }
}
