//! A manifest and a server's definitions into what is known of its tools.
//!
//! Records, returns, outputs and writers are checked for shape and references; what they say about results is not used yet.

use std::collections::BTreeMap;

use warrantor_model::{
    ArgumentRule, EffectSet, FieldRule, Manifest, Offer, Path, RecordKey, RecordType, Tool, ToolName,
    path::Segment, tool::ResourceRule,
};

use crate::{
    definitions::{Definition, Definitions},
    doc::{Doc, without_error},
    files::manifest::{
        ArgumentEntry, EmptyValue, FieldEntry, ManifestFile, RecordEntry, ToolEntry, WriterEntry,
    },
    read::nearest,
    report::Report,
    tree::short,
};

/// The manifest a file states over its definitions. What is wrong is in the report; then there is none.
pub(crate) fn manifest(
    doc: &Doc,
    file: &ManifestFile,
    definitions: &Definitions,
    report: &mut Report,
) -> Option<Manifest> {
    let mut tools = BTreeMap::new();
    let mut records = BTreeMap::new();
    let mut uris = BTreeMap::new();
    let sound = without_error(report, |report| {
        pin(doc, file, definitions, report);
        for (name, entry) in &file.records {
            check_record(doc, name, entry, report);
            records.insert(name.clone(), record(entry));
        }
        let unlisted: Vec<&str> =
            definitions.tools.keys().map(String::as_str).filter(|name| !is_listed(file, name)).collect();
        if !unlisted.is_empty() {
            let message = format!("not listed here, so they can never be called: {}", unlisted.join(", "));
            doc.warn(report, &["tools"], message, "describe them, or leave it at that");
        }
        let offers = crate::offers::offers(doc, file, definitions, report);
        tools.extend(offers.tools);
        uris = offers.uris;
        for (name, entry) in &file.tools {
            let here = ["tools", name.as_str()];
            if name.offer() != Offer::Tool {
                let message = format!("{name} is no name of a tool");
                let cure = "describe prompts, resources, completions and what is asked of clients under their own heads";
                doc.error_at_key(report, &here, message, cure);
                continue;
            }
            check_tool(doc, file, name, entry, report);
            match definitions.tools.get(name.as_str()) {
                Some(definition) => drop(tools.insert(name.clone(), tool(name, entry, definition))),
                None => {
                    let message = format!("the server defines no tool {name}");
                    let cure = match nearest(name.as_str(), definitions.tools.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("take it out, or renew {}", file.definitions),
                    };
                    doc.error_at_key(report, &here, message, cure);
                }
            }
        }
    });
    sound.then(|| Manifest {
        server: file.server.clone(),
        records,
        tools,
        uris,
        definitions: definitions.digest,
        listed: definitions.listed.clone(),
        instructions: definitions.instructions.clone(),
        launch: file.launch,
    })
}

fn is_listed(file: &ManifestFile, name: &str) -> bool {
    file.tools.keys().any(|listed| listed.as_str() == name)
}

fn pin(doc: &Doc, file: &ManifestFile, definitions: &Definitions, report: &mut Report) {
    let found = definitions.digest;
    match &file.digest {
        None => {
            let message = format!("the definitions in {} are not pinned", file.definitions);
            let cure = format!("once they are reviewed, add `digest: {found}`");
            doc.warn(report, &["definitions"], message, cure);
        }
        Some(pin) if pin.holds(found) => {}
        Some(_) => {
            let message =
                format!("the definitions in {} are not the ones that were pinned", file.definitions);
            let cure = format!("review what has changed, then write `digest: {found}`");
            doc.error_at_key(report, &["digest"], message, cure);
        }
    }
}

fn tool(name: &ToolName, entry: &ToolEntry, definition: &Definition) -> Tool {
    let set = |effects: &[warrantor_model::Effect]| effects.iter().copied().collect::<EffectSet>();
    Tool {
        name: name.clone(),
        definition: definition.digest,
        input_schema: definition.input_schema.clone(),
        output_schema: definition.json.get("outputSchema").cloned(),
        effects: set(&entry.effects),
        effects_when: entry.effects_when.iter().map(|(path, effects)| (path.clone(), set(effects))).collect(),
        resource: entry
            .resource
            .as_ref()
            .map(|r| ResourceRule { entity_type: r.entity_type.clone(), id: r.id.clone() }),
        arguments: arguments(&entry.arguments),
        failure: entry.failure,
        returns: returns(&entry.returns),
        text: entry.text,
        outputs: outputs(&entry.outputs),
    }
}

pub(crate) fn arguments(entries: &BTreeMap<Path, ArgumentEntry>) -> BTreeMap<Path, ArgumentRule> {
    let rule = |rule: &ArgumentEntry| ArgumentRule {
        sensitive: rule.sensitive,
        kind: rule.kind,
        free: rule.free,
        empty_acts: rule.empty == EmptyValue::Acts,
    };
    entries.iter().map(|(path, entry)| (path.clone(), rule(entry))).collect()
}

pub(crate) fn returns(entries: &BTreeMap<Path, String>) -> Vec<(Path, String)> {
    entries.iter().map(|(path, record)| (path.clone(), record.clone())).collect()
}

pub(crate) fn outputs(entries: &BTreeMap<Path, FieldEntry>) -> BTreeMap<Path, FieldRule> {
    entries.iter().map(|(path, field)| (path.clone(), rule(field))).collect()
}

fn rule(entry: &FieldEntry) -> FieldRule {
    FieldRule {
        kind: entry.kind,
        writer: entry.writer.clone().map(|WriterEntry(rule)| rule).unwrap_or_default(),
        labels: entry.labels.iter().cloned().collect(),
    }
}

fn record(entry: &RecordEntry) -> RecordType {
    RecordType {
        key: entry.key.as_deref().map(|key| match key {
            "@keys" => RecordKey::Name,
            field => RecordKey::Field(field.to_owned()),
        }),
        labels: entry.labels.iter().cloned().collect(),
        fields: entry.fields.iter().map(|(path, field)| (path.clone(), rule(field))).collect(),
    }
}

fn check_tool(doc: &Doc, file: &ManifestFile, name: &ToolName, entry: &ToolEntry, report: &mut Report) {
    let name = name.as_str();
    if entry.effects.is_empty() {
        let cure = "say what it does: read, write, egress, share, destroy, pay, credential, execute";
        doc.error(report, &["tools", name, "effects"], format!("{name} has no effect"), cure);
    }
    for (path, effects) in &entry.effects_when {
        if effects.is_empty() {
            let pointer = ["tools", name, "effects_when", &path.to_string()];
            doc.error(
                report,
                &pointer,
                format!("{path} adds no effect"),
                "name at least one, or remove the line",
            );
        }
    }
    check_results(doc, file, &["tools", name], &entry.returns, &entry.outputs, report);
}

/// What is said of a result: paths that lead somewhere, and records that there are.
pub(crate) fn check_results(
    doc: &Doc,
    file: &ManifestFile,
    above: &[&str],
    returns: &BTreeMap<Path, String>,
    outputs: &BTreeMap<Path, FieldEntry>,
    report: &mut Report,
) {
    let of_returns = returns.keys().map(|path| ("returns", path));
    for (field, path) in of_returns.chain(outputs.keys().map(|path| ("outputs", path))) {
        if !path.is_root() && path.to_string().starts_with('/') {
            let text = path.to_string();
            let pointer = [above, &[field, &text]].concat();
            let message = format!("{path} begins with a member without a name");
            doc.error_at_key(report, &pointer, message, "leave the first `/` out");
        }
    }
    for (path, record) in returns {
        if !file.records.contains_key(record) {
            let text = path.to_string();
            let pointer = [above, &["returns", &text]].concat();
            let message = format!("there is no record {:?} here", short(record));
            let cure = match nearest(record, file.records.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "describe it under `records`".to_owned(),
            };
            doc.error(report, &pointer, message, cure);
        }
    }
    for (path, output) in outputs {
        let text = path.to_string();
        check_field(doc, &[above, &["outputs", &text]].concat(), output, report);
    }
}

fn check_record(doc: &Doc, name: &str, record: &RecordEntry, report: &mut Report) {
    if !is_word(name) {
        let cure = "begin with a letter, then letters, digits, `_` and `-`";
        doc.error_at_key(
            report,
            &["records", name],
            format!("{:?} is no name of a record", short(name)),
            cure,
        );
    }
    if let Some(key) = record.key.as_deref().filter(|key| *key != "@keys") {
        let is_field = record
            .fields
            .keys()
            .any(|path| matches!(path.segments(), [Segment::Name(field)] if field == key));
        if !is_field {
            let message = format!("the key {:?} is no field of {name}", short(key));
            let cure = "list it under `fields`, or write \"@keys\" for maps by name";
            doc.error(report, &["records", name, "key"], message, cure);
        }
    }
    check_labels(doc, &["records", name, "labels"], &record.labels, report);
    for (path, field) in &record.fields {
        check_field(doc, &["records", name, "fields", &path.to_string()], field, report);
    }
}

fn check_field(doc: &Doc, pointer: &[&str], field: &FieldEntry, report: &mut Report) {
    check_labels(doc, &[pointer, &["labels"]].concat(), &field.labels, report);
}

fn check_labels(doc: &Doc, pointer: &[&str], labels: &[String], report: &mut Report) {
    for (at, label) in labels.iter().enumerate().filter(|(_, label)| !is_word(label)) {
        let at = at.to_string();
        let pointer = [pointer, &[at.as_str()]].concat();
        let cure = "begin with a letter, then letters, digits, `_` and `-`";
        doc.error(report, &pointer, format!("{:?} is no label", short(label)), cure);
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}
