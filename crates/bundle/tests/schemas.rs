//! The published schemas against the reader: what a schema refuses the reader refuses, and both take what the design writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use warrantor_bundle::{FileKind, Listed, parse_any, schema};

/// Documents that are right. Those the reader refuses only as not supported yet are so marked.
const GOOD: [(FileKind, &str); 12] = [
    (FileKind::People, include_str!("documents/people.yaml")),
    (FileKind::People, "{people: []}"),
    (FileKind::Agents, include_str!("documents/agents.yaml")),
    (FileKind::Trackers, "{}"),
    (FileKind::Trackers, include_str!("documents/trackers.yaml")),
    (FileKind::Manifest, include_str!("documents/manifest.yaml")),
    (FileKind::Mandate, include_str!("documents/mandate.yaml")),
    (FileKind::Mandate, include_str!("documents/mandate-of-the-design.yaml")),
    (FileKind::Config, include_str!("documents/warrantor.toml")),
    (FileKind::Trace, r#"{"type":"task","id":"t","mandate":"pay-october","at":null,"label":{"any":1}}"#),
    (FileKind::Trace, r#"{"type":"call","id":"1","tool":"bank/send_money","arguments":{"amount":1.10}}"#),
    (FileKind::Trace, r#"{"type":"result","id":"1","structured":null,"text":"done","error":false}"#),
];

/// Documents that both refuse, by what is put in the place of what.
const BAD: [(FileKind, &str, &str); 34] = [
    (FileKind::People, "id: alice", "id: 1"),
    (FileKind::People, "id: alice", "id: \"al ice\""),
    (FileKind::People, "id: alice", "idd: alice"),
    (FileKind::People, "status: active", "status: asleep"),
    (FileKind::People, "groups: [finance]", "groups: finance"),
    (FileKind::People, "slack: alice", "slack: [alice]"),
    (FileKind::Agents, "owner: alice", "owner: \"group: x\""),
    (FileKind::Agents, "effects: [read, pay]", "effects: [reed]"),
    (FileKind::Agents, "servers: [bank]", "server: [bank]"),
    (FileKind::Trackers, "window: 24h", "window: 24"),
    (FileKind::Trackers, "per: person", "per: galaxy"),
    (FileKind::Manifest, "server: bank", "server: \"ba nk\""),
    (FileKind::Manifest, "effects: [pay]", "effects: pay"),
    (FileKind::Manifest, "writer: system", "writer: nobody"),
    (FileKind::Manifest, "else: anyone", "\"[a]\": anyone"),
    (FileKind::Manifest, "failure: atomic", "failure: maybe"),
    (FileKind::Manifest, "kind: account", "kind: acount"),
    (FileKind::Manifest, "text: plain", "text: xml"),
    (FileKind::Manifest, "digest: sha256:", "digest: sha512:"),
    (FileKind::Mandate, "id: pay-october", "id: \"pay/october\""),
    (FileKind::Mandate, "purpose: settle", "purposes: settle"),
    (FileKind::Mandate, "calls: 40", "calls: -40"),
    (FileKind::Mandate, "calls: 40", "calls: 1.5"),
    (FileKind::Mandate, "amount: 1200", "amount: many"),
    (FileKind::Mandate, "servers: [bank]", "servers: bank"),
    (FileKind::Mandate, "tool: bank/send_money", "tool: send_money"),
    (FileKind::Mandate, "max_length: 140", "max_lenght: 140"),
    (FileKind::Mandate, "max_length: 140", "max_length: long"),
    (FileKind::Mandate, "ask: group:finance", "ask: everyone"),
    (FileKind::Mandate, "depth: 1", "depth: deep"),
    (FileKind::Config, "observe = false", "observe = \"no\""),
    (FileKind::Config, "observe = false", "observes = false"),
    (FileKind::Config, "file = \"secrets/token\"", "path = \"secrets/token\""),
    (FileKind::Config, "max_result_bytes = 1000000", "max_result_bytes = \"1 MB\""),
];

fn value(kind: FileKind, text: &str) -> serde_json::Value {
    match kind {
        FileKind::Config => toml::from_str(text).unwrap(),
        _ => serde_saphyr::from_str(text).unwrap(),
    }
}

fn refusals(kind: FileKind, text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema(kind)).unwrap();
    validator
        .iter_errors(&value(kind, text))
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect()
}

#[test]
fn the_schemas_take_what_the_design_writes() {
    for (kind, text) in GOOD {
        let refused = refusals(kind, text);
        assert!(refused.is_empty(), "{kind}: {refused:#?}\n{text}");
        let report = parse_any(kind, text.as_bytes());
        let really: Vec<_> = report
            .diagnostics()
            .iter()
            .filter(|d| {
                d.severity == warrantor_bundle::Severity::Error && !d.message.starts_with("not supported yet")
            })
            .collect();
        assert!(really.is_empty(), "{kind}: {}", Listed(&report));
    }
}

#[test]
fn what_a_schema_refuses_the_reader_refuses() {
    for (kind, right, wrong) in BAD {
        let mut met = false;
        for (_, text) in GOOD.iter().filter(|(k, text)| *k == kind && text.contains(right)) {
            met = true;
            let text = text.replacen(right, wrong, 1);
            assert!(!refusals(kind, &text).is_empty(), "the schema of {kind} takes {wrong:?}");
            assert!(!parse_any(kind, text.as_bytes()).is_passed(), "the reader of {kind} takes {wrong:?}");
        }
        assert!(met, "no document of {kind} has {right:?}");
    }
}

#[test]
fn every_field_of_every_schema_is_described() {
    fn walk(at: &str, value: &serde_json::Value, bare: &mut Vec<String>) {
        let Some(object) = value.as_object() else { return };
        if let Some(properties) = object.get("properties").and_then(|p| p.as_object()) {
            for (name, property) in properties {
                let described = property.get("description").is_some() || property.get("$ref").is_some();
                if !described && name != "else" {
                    bare.push(format!("{at}/{name}"));
                }
                walk(&format!("{at}/{name}"), property, bare);
            }
        }
        if let Some(defs) = object.get("$defs").and_then(|p| p.as_object()) {
            for (name, def) in defs {
                walk(name, def, bare);
            }
        }
    }
    for kind in FileKind::ALL {
        let mut bare = Vec::new();
        walk(kind.as_str(), &schema(kind), &mut bare);
        assert!(bare.is_empty(), "{bare:?}");
    }
}
